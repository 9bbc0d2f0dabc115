/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Messages between the supervisor and a worker: fixed size, typed, over a
 * SOCK_SEQPACKET pair. Whether a message carries a descriptor is fixed by its
 * type; a message of another size, of a type that does not go this way, or
 * with a descriptor too many or too few is malformed. The supervisor ends a
 * worker that sends one.
 *
 *   supervisor -> worker   SETUP, REGION (fd) x setup.nregions, CONNECT (fd)
 *   worker -> supervisor   READY once it is confined, LOG at any time
 *
 * Numbers only, never a path, a name to open or a flag to open with.
 */
#ifndef PRIV_H
#define PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum priv_type {
	PRIV_SETUP = 1,
	PRIV_REGION,
	PRIV_CONNECT,
	PRIV_READY,
	PRIV_LOG,
	PRIV_TYPE_END
};

/* Which way a message goes. */
enum priv_way { PRIV_TO_WORKER, PRIV_TO_SUPERVISOR };

/* Where the worker finds its end of the pair. */
#define PRIV_WORKER_FD 3

/* Changes with each change of a struct below: programs of two builds do not
 * talk to each other. */
#define PRIV_VERSION 1U

struct priv_setup {
	uint32_t change_ids; /* boolean: become uid and gid */
	uint32_t uid, gid;
	uint32_t log_level; /* enum log_level */
	uint32_t profile;   /* index in the table of profiles */
	uint32_t nregions;
};

struct priv_region {
	uint64_t size; /* bytes */
	uint32_t shmid;
	uint32_t writable; /* boolean */
};

struct priv_log {
	uint32_t level;
	char text[256]; /* ends with NUL; escaped by the reader */
};

struct priv_ready {
	uint32_t rules; /* seccomp rules that are loaded */
};

struct priv_msg {
	uint32_t version;
	uint32_t type;
	union {
		struct priv_setup setup;
		struct priv_region region;
		struct priv_log log;
		struct priv_ready ready;
	} u;
};

/*
 * Send a message of this type, the rest of *msg filled in. Passes fd, which
 * stays the caller's, if the type has one, else fd is -1. Does not block.
 * Returns 0 or a negative errno: -EAGAIN if there is no room now.
 */
int priv_send(int sock, enum priv_type type, struct priv_msg *msg, int fd)
    __attribute__((warn_unused_result));

/*
 * Receive one message that goes this way; waits for it if wait. Returns 1
 * and the message, and its descriptor in *fd (the caller's now) or -1; 0 at
 * end of file; -EAGAIN; -EBADMSG for a malformed message; another negative
 * errno.
 */
int priv_recv(int sock, enum priv_way way, bool wait, struct priv_msg *msg,
    int *fd) __attribute__((warn_unused_result));

#endif
