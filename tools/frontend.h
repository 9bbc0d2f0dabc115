/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A front-end that asks a back-end what it offers, and starts nothing. What
 * comes back is a stranger's: sizes are those of the specification, or it is an
 * error.
 */
#ifndef FRONTEND_H
#define FRONTEND_H

#include "proto/wire.h"
#include "tools/ctl.h"

#define FRONTEND_CONFIG_ASK_ALL 0U

struct frontend_offer {
	/* What is found out, in this order; each is 0 if it is not offered. */
	uint64_t features;
	uint64_t protocol_features;
	uint64_t queues;
	uint64_t mem_slots;
	unsigned nregions; /* what the back-end says */
	uint64_t shmem[VUS_SHMEM_MAX];
	unsigned config_size;
	uint8_t config[VUS_CONFIG_MAX];
};

/*
 * Ask the back-end at path, within seconds. config_size is how many bytes of
 * configuration space to ask for, or FRONTEND_CONFIG_ASK_ALL. After an error,
 * which has been said, offer has what came before it; an answer that is not
 * there in time is CTL_UNREACHABLE.
 */
enum ctl_status frontend_ask(const char *path, unsigned seconds,
    unsigned config_size, struct frontend_offer *offer);

#endif
