/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The raw device; see raw.h. */
#include "config.h"

#include "daemon/worker/raw.h"

#include "proto/session.h"

#include <string.h>

static uint32_t
raw_serve(
    struct vus_session *session, unsigned ring, const struct vus_chain *chain)
{
	(void)chain;
	vus_log(
	    session, VUS_LOG_DEBUG, "ring %u: a buffer goes back unused", ring);
	return 0;
}

const struct vus_device_type raw_type = {
	.name = "raw",
	.num_queues = 1,
	.serve = raw_serve,
};

void
raw_configure(struct vus_device_type *type, struct vus_device *device,
    unsigned queues, const unsigned char *config, unsigned config_size)
{
	type->num_queues = queues;
	type->config_size = config_size;
	memcpy(device->config, config, config_size);
}
