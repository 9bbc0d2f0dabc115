/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Requests that a device does not end at once: a FLUSH whose memory is a file
 * waits until the host has brought the file to storage, which is called a sync.
 *
 * Syncs serve groups. One runs at a time; it is for all requests that waited
 * when it began, and what comes while it runs waits for the next one: whoever
 * asks for a FLUSH means what was written before, and a sync that runs already
 * may have passed that by.
 *
 * Each ring's requests are completed in the order in which they came. So what
 * is answered at once behind one that waits is held as well, until its turn.
 *
 * A held request points into guest memory. Whenever its ring stops or may lie
 * elsewhere, it is put back: to whoever looks at the ring next it was never
 * taken. To ask for a FLUSH twice does no harm.
 */
#ifndef HELD_H
#define HELD_H

#include "proto/virtq.h"

#include <stdbool.h>
#include <stdint.h>

/* Requests of all rings that may be held. Further ones stay in their rings. */
#define VUS_HELD_MAX 64U

struct vus_session;

struct vus_held {
	struct vus_chain chain;
	unsigned ring;
	bool later;	/* the device ends it; else it waits for its turn ... */
	uint32_t len;	/* ... and so many bytes were written */
	uint64_t since; /* the host's time: ns */
};

struct vus_held_list {
	/* The oldest first. Into the one behind them the next request is
	 * popped, so that nothing has to be copied. */
	struct vus_held item[VUS_HELD_MAX];
	unsigned n;
	unsigned in_sync; /* the sync that runs is for the first so many */
	bool syncing;	  /* the host has not said yet what became of one */
};

/* Hold the request of a ring that was popped last; len is VUS_LATER, or how
 * many bytes were written by who waits for its turn. */
void vus_held_add(struct vus_session *s, unsigned ring, uint32_t len);

/* Begin a sync if requests wait and none runs. */
void vus_held_begin(struct vus_session *s);

/* A sync has ended, with 0 or a negative errno: complete what it was for. */
void vus_held_end(struct vus_session *s, int rc);

/* Put back what is held of a ring, which is then resolved anew, or stopped. */
void vus_held_put_back(struct vus_session *s, unsigned ring);

#endif
