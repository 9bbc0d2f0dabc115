/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The back-end channel: our requests to the front-end, and its answers.
 * vhost-user.rst, "Back-end communication" and "Back-end message types".
 *
 * Nobody waits for an answer: it is noted when it comes. What a front-end
 * owes us stays bounded. A channel that ends or makes no sense is closed; the
 * connection goes on without it.
 *
 * When a SHMEM_MAP may go out stands in map.h. VRING_CALL and VRING_ERR take
 * the place of descriptors with INBAND_NOTIFICATIONS; one of each at a time
 * per ring, so that a front-end that is slow gets one for many.
 */
#ifndef BACKEND_H
#define BACKEND_H

#include "proto/wire.h"

#include <stdbool.h>
#include <stddef.h>

struct vus_session;

/*
 * Send a request with payload of len bytes and, unless -1, a descriptor. If
 * answers were negotiated it asks for one, and remembers index till then; if
 * the front-end owes too many already, a SHMEM_MAP goes out without.
 * Returns 0; -EAGAIN if there is no room at present; -EBUSY if as many
 * descriptors as may lie unread do so in this channel, or -ETOOMANYREFS if they
 * do in those of all front-ends together: nothing will tell when that changes;
 * or another negative errno, when the channel is of no more use: -EDQUOT if so
 * many lie in those before this one.
 */
int vus_backend_send(struct vus_session *s, enum vus_backend_request request,
    unsigned index, const void *payload, size_t len, int fd)
    __attribute__((warn_unused_result));

/* Note if the front-end has read all that was sent. */
void vus_backend_look(struct vus_session *s);

/* The channel will be closed: what lies in it unread, if it does, is on its way
 * until the front-end closes its end. */
void vus_backend_leave(struct vus_session *s);

/* Answers have come in: read and note them. */
void vus_backend_readable(struct vus_session *s);

/* Tell the front-end that ring has used buffers or (err) is broken, by its
 * descriptor or else by a message, if it may be told. */
void vus_backend_call(struct vus_session *s, unsigned ring);
void vus_backend_err(struct vus_session *s, unsigned ring);

/* Send the calls that had no room, or had to wait for an answer. */
void vus_backend_continue(struct vus_session *s);
/* Whether there are such that only wait for room. */
bool vus_backend_calls_wait(const struct vus_session *s);

#endif
