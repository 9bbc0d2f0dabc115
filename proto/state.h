/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The transfer of a stopped device's state to or from the front-end, through
 * a pipe. vhost-user.rst, "Migrating back-end state"; SET_DEVICE_STATE_FD,
 * CHECK_DEVICE_STATE.
 *
 * The state is what a device of ours is made of: its kind, its regions, and
 * their contents. It travels in records of 4096 bytes, which a pipe takes
 * whole or not at all: a header that a device must agree with to load it; for
 * each piece of 64 pages that are not all zero a record that says which are
 * not, and these pages; an end. Loading makes all other pages zero. Pages are
 * copied with pread and pwrite, so that what nobody has touched takes up no
 * memory afterwards either.
 *
 * Nothing blocks: each call moves a bounded share, as the pipe allows. The
 * front-end is told the outcome when it asks.
 *
 * Threat model: what is loaded is the front-end's word. Records name a place
 * in a region of this device, in rising order, or the transfer fails; a
 * region that the front-end may not write is not loaded.
 */
#ifndef STATE_H
#define STATE_H

#include <stdbool.h>
#include <stdint.h>

/* Also in sandbox/worker.def: a worker may read and write nothing larger. */
#define VUS_STATE_RECORD 4096U

struct vus_device;
struct vus_session;

enum vus_transfer_phase {
	VUS_TRANSFER_IDLE,
	VUS_TRANSFER_HEADER, /* the next record is this ... */
	VUS_TRANSFER_PIECE,
	VUS_TRANSFER_PAGE,
	VUS_TRANSFER_CLEAR, /* loading: pages are made zero up to clear_to */
	VUS_TRANSFER_END,   /* saving: the end is to be written; loading: it
			       has come, and nothing may follow */
	VUS_TRANSFER_DONE,
	VUS_TRANSFER_FAILED
};

/* A place in the regions: a page of one of them. */
struct vus_place {
	unsigned shmid;	 /* VUS_SHMEM_MAX: behind all */
	uint64_t offset; /* bytes */
};

struct vus_transfer {
	enum vus_transfer_phase phase;
	bool load;
	bool check_due; /* CHECK_DEVICE_STATE waits for the end */
	int fd;		/* owned; -1: none */
	struct vus_place at;
	struct vus_place clear_to;
	uint64_t present; /* pages of the piece that are yet to come */
	bool ended;	  /* loading: the end record has come */
	unsigned have;	  /* bytes in buf */
	unsigned char buf[2 * VUS_STATE_RECORD];
	unsigned char page[VUS_STATE_RECORD]; /* a look at one */
};

void vus_state_init(struct vus_session *s);

/*
 * Begin to save into fd, or load from it; fd must be a pipe, and is taken
 * over also on error. Returns NULL or why not.
 */
const char *vus_state_begin(struct vus_session *s, bool load, int fd);

/* The pipe is ready: move a share. */
void vus_state_ready(struct vus_session *s);

/* Whether vus_state_ready() is to be called without waiting for the pipe. */
static inline bool
vus_state_busy(const struct vus_transfer *t)
{
	return t->phase == VUS_TRANSFER_CLEAR;
}

static inline bool
vus_state_active(const struct vus_transfer *t)
{
	return t->fd >= 0;
}

/* Give up what is under way; a CHECK_DEVICE_STATE then says that it failed. */
void vus_state_cancel(struct vus_session *s, const char *why);

#endif
