/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A second opinion on a session: what a vhost-user back-end has to be like,
 * written from vhost-user.rst and map.h, not from proto/'s code.
 *
 * It listens at the system calls. From what the session receives on the
 * front-end's socket it makes messages of its own, and for those that start
 * and stop the device it decides itself whether they are to be accepted. So it
 * knows, at the very moment that a SHMEM_MAP leaves, whether one may, and
 * which reply is due next. Of the session it reads how many messages it has
 * carried out, and compares the rest.
 */
#ifndef MODEL_H
#define MODEL_H

#include "proto/session.h"

#include <stdbool.h>

struct model_file {
	dev_t dev;
	ino_t ino;
	uint64_t size;
	bool mappable; /* a regular file, for reading and writing */
	int use;       /* of the model's own */
};

/* What the front-end has said of its memory, and the session has accepted. */
struct model_region {
	uint64_t guest, user, size, offset;
	struct model_file file;
};
struct model_ring {
	bool has_addr, logged;
	uint64_t desc, used, log;
};
struct model_view {
	unsigned changes; /* another number after each change of what is here */
	bool logging;	  /* LOG_ALL was accepted */
	bool packed, by_guest;
	struct model_file log;	       /* the dirty log ... */
	uint64_t log_offset, log_size; /* ... if this is not 0 */
	struct model_file inflight;    /* the last buffer */
	struct model_ring ring[VUS_RINGS_MAX];
	unsigned nregions;
	struct model_region region[VUS_MEM_SLOTS_MAX];
};

/* Begin with a session that has been initialised and is not connected. */
void model_start(const struct vus_session *s);

/* The session's calls of its host. */
void model_watch(enum vus_watch what, unsigned ring, int fd);
int model_watched(enum vus_watch what, unsigned ring);

/* Around each call of a vus_session_ function. front: it may carry out
 * messages of the front-end. */
void model_enter(bool front);
void model_leave(enum vus_next next);

/* Around vus_session_close(). */
void model_closing(void);
void model_closed(void);

/* What the model has come to, for the harness's own decisions. */
bool model_started(void);
/* Requests on the channel that wait for their answers, what the i-th of them
 * is, and the next one: SHMEM_MAP if there is none. */
unsigned model_answers_due(void);
uint32_t model_due(unsigned i);
uint32_t model_next_answer(void);
/* Whether CHECK_DEVICE_STATE was answered since the last time, and how; and
 * whether it waits for the harness to go on. */
bool model_checked(uint64_t *value);
bool model_waits_for_state(void);
const struct model_view *model_view(void);

#endif
