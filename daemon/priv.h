/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Messages between the supervisor and a worker, and the supervisor and the
 * spawner: fixed size, typed, over a SOCK_SEQPACKET pair. How many descriptors
 * a message carries is fixed by its type and content; a message of another
 * size, of a type that does not go this way, or with a descriptor too many or
 * too few is malformed. The supervisor ends a worker that sends one.
 *
 *   supervisor -> worker   SETUP, REGIONS (an fd each) until there are
 *                          setup.nregions, CONNECT (one fd)
 *   worker -> supervisor   READY once it is confined, LOG at any time
 *   supervisor -> spawner  SPAWN (one fd, the new worker's channel)
 *   spawner -> supervisor  SPAWNED, once at start and after each SPAWN
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
	PRIV_REGIONS,
	PRIV_CONNECT,
	PRIV_READY,
	PRIV_LOG,
	PRIV_SPAWN,
	PRIV_SPAWNED,
	PRIV_TYPE_END
};

/* Which way a message goes. */
enum priv_way {
	PRIV_TO_WORKER,
	PRIV_TO_SUPERVISOR,
	PRIV_TO_SPAWNER,
	PRIV_FROM_SPAWNER
};

/* Where the worker finds its end of the pair. */
#define PRIV_WORKER_FD 3

/* Changes with each change of a struct below: programs of two builds do not
 * talk to each other. */
#define PRIV_VERSION 3U

struct priv_setup {
	uint64_t virtio_without; /* virtio features that are not offered */
	uint32_t change_ids;	 /* boolean: become uid and gid */
	uint32_t strict;	 /* boolean: end if a layer is missing */
	uint32_t uid, gid;
	uint32_t log_level;	  /* enum log_level */
	uint32_t profile;	  /* index in the table of profiles */
	uint32_t device;	  /* enum device_id */
	uint32_t message_timeout; /* seconds that half a message may last */
	uint32_t nregions;
	uint32_t padding;
};

/* Regions in one message, so that those of every device fit into the socket's
 * buffer at once. */
#define PRIV_REGIONS_MAX 32U

struct priv_region {
	uint64_t size; /* bytes */
	uint32_t shmid;
	uint32_t access; /* enum memory_access: what the worker makes of it */
};

struct priv_regions {
	uint32_t n; /* 1 to PRIV_REGIONS_MAX, and as many descriptors */
	uint32_t padding;
	struct priv_region region[PRIV_REGIONS_MAX];
};

struct priv_log {
	uint32_t level;
	char text[256]; /* ends with NUL; escaped by the reader */
};

struct priv_ready {
	uint32_t rules;	  /* seccomp rules that are loaded */
	uint32_t missing; /* of sandbox/layers.h: a bit for each */
};

/* SPAWN has the number of the order alone, and SPAWNED repeats it. */
struct priv_spawned {
	uint32_t order; /* from 1; 0: the spawner is there */
	int32_t pid;	/* of the worker; 0; or a negative errno */
	char stage[28]; /* of sandbox_enter_spawner(), where it failed */
};

struct priv_msg {
	uint32_t version;
	uint32_t type;
	union {
		struct priv_setup setup;
		struct priv_regions regions;
		struct priv_log log;
		struct priv_ready ready;
		struct priv_spawned spawned;
	} u;
};

/*
 * Send a message of this type, the rest of *msg filled in, with the
 * descriptors that it has to carry, which stay the caller's; fds may be
 * NULL if there are none. Does not block.
 * Returns 0 or a negative errno: -EAGAIN if there is no room now, -EINVAL for
 * a wrong number of descriptors.
 */
int priv_send(int sock, enum priv_type type, struct priv_msg *msg,
    const int *fds, unsigned nfds) __attribute__((warn_unused_result));

/*
 * Receive one message that goes this way; waits for it if wait. Returns 1
 * and the message, and the descriptors that belong to it in fds, the caller's
 * now; 0 at end of file; -EAGAIN; -EBADMSG for a malformed message; another
 * negative errno. Entries of fds without a descriptor are -1.
 */
int priv_recv(int sock, enum priv_way way, bool wait, struct priv_msg *msg,
    int fds[static PRIV_REGIONS_MAX]) __attribute__((warn_unused_result));

#endif
