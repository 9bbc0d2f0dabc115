/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The virtio-pmem device; see pmem.h. */
#include "config.h"

#include "daemon/worker/pmem.h"

#include "proto/session.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>

#define PMEM_F_SHMEM_REGION 0 /* 5.19.3 */
#define PMEM_REQ_FLUSH 0U     /* 5.19.6 */
#define PMEM_OK 0U
#define PMEM_ERROR 1U /* any other value: 5.19.6.3 */

static uint32_t
answer(const struct vus_chain *chain, uint32_t ret)
{
	ret = htole32(ret);
	return (uint32_t)vus_chain_write(chain, &ret, sizeof(ret));
}

static uint32_t
pmem_serve(
    struct vus_session *session, unsigned ring, const struct vus_chain *chain)
{
	uint64_t size = vus_chain_readable(chain);
	uint32_t type;

	/* Exactly: a request of a disk driver begins like a FLUSH. */
	if (size != sizeof(type) ||
	    vus_chain_read(chain, &type, sizeof(type)) != sizeof(type)) {
		vus_log(session, VUS_LOG_WARN,
		    "ring %u: a request of %" PRIu64 " bytes, and those of "
		    "pmem have %zu: is the driver one for another device?",
		    ring, size, sizeof(type));
		/* Disks find their status there: it must not look good. */
		vus_chain_write_last(chain, UINT8_MAX);
		return answer(chain, PMEM_ERROR);
	}
	if (le32toh(type) != PMEM_REQ_FLUSH) {
		vus_log(session, VUS_LOG_WARN,
		    "ring %u: unknown request type %u", ring, le32toh(type));
		return answer(chain, PMEM_ERROR);
	}
	vus_log(session, VUS_LOG_DEBUG, "ring %u: FLUSH", ring);
	if (vus_session_syncs(session))
		return VUS_LATER;
	/* The memory is the storage: what was written is there. */
	session->counters.flushes++;
	return answer(chain, PMEM_OK);
}

/* 5.19.6.3: what was written is in storage, or it may not be. */
static uint32_t
pmem_finish(struct vus_session *session, unsigned ring,
    const struct vus_chain *chain, int rc)
{
	vus_log(session, VUS_LOG_DEBUG, "ring %u: FLUSH: %s", ring,
	    rc == 0 ? "synced" : strerror(-rc));
	return answer(chain, rc == 0 ? PMEM_OK : PMEM_ERROR);
}

const struct vus_device_type pmem_type = {
	.name = "pmem",
	.features = VUS_BIT(PMEM_F_SHMEM_REGION),
	.expected = VUS_BIT(PMEM_F_SHMEM_REGION),
	.unaccepted = "SHMEM_REGION was not accepted, so no memory will be "
		      "found: the guest is older than Linux 6.8, or the "
		      "front-end is for another device than pmem",
	.config_size = 16,
	.num_queues = 1,
	.serve = pmem_serve,
	.finish = pmem_finish,
};

void
pmem_configure(struct vus_device *device, uint64_t size)
{
	/* 5.19.4: start, which with SHMEM_REGION is not used; size. */
	uint64_t config[2] = { 0, htole64(size) };

	memcpy(device->config, config, sizeof(config));
}
