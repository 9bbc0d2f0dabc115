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

#include "session.h"

#include <stdbool.h>

/* Begin with a session that has been initialised and is not connected. */
void model_start(const struct vus_session *s);

/* The session's calls of its host. */
void model_watch(enum vus_watch what, unsigned ring, int fd);
int model_watched(enum vus_watch what, unsigned ring);

/* Around each call of a vus_session_ function. front: it is one for the
 * front-end's socket, and may carry out messages. */
void model_enter(bool front);
void model_leave(enum vus_next next);

/* Around vus_session_close(). */
void model_closing(void);
void model_closed(void);

/* What the model has come to, for the harness's own decisions. */
bool model_started(void);
/* Answers to SHMEM_MAP that the session waits for. */
unsigned model_answers_due(void);
void model_answered(void);

#endif
