/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Starting worker programs. Supervisor only.
 *
 * The spawner is a process that does nothing else: it holds the worker's
 * program and the privileges that a worker's set-up needs, so that the
 * supervisor can be without them. It hears the supervisor alone, in orders
 * without content, and holds no region. Workers are children of the
 * supervisor, which waits for them.
 */
#ifndef SPAWN_H
#define SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct spawner {
	pid_t pid;	 /* 0: there is none */
	int sock;	 /* owned */
	uint32_t orders; /* given so far */
};

/*
 * Open the worker program at path, for spawner_start(). All workers of one
 * supervisor run this file, also when the path gets a newer one meanwhile.
 * Returns the descriptor, the caller's, or a negative errno: -EACCES if it
 * is not an executable file.
 */
int spawn_open(const char *path) __attribute__((warn_unused_result));

/*
 * Fork the spawner and wait until it is confined. program stays the caller's,
 * who needs it no more; root: root has started us. It holds no descriptor that
 * is open now but the program. Returns 0; or a negative errno, and what failed
 * in *what.
 */
int spawner_start(struct spawner *spawner, int program, bool root,
    const char **what) __attribute__((warn_unused_result));

/* End the spawner. Workers that run are not touched. */
void spawner_stop(struct spawner *spawner);

/*
 * Start a worker: a new program with an empty environment whose descriptors
 * are /dev/null and, at PRIV_WORKER_FD, one end of a SOCK_SEQPACKET pair. The
 * other end goes to *chan, the caller's. Returns the process id or a negative
 * errno; *chan is -1 then. Waits for the spawner, for as long as a clone takes
 * and a second at most: -EAGAIN then.
 */
pid_t spawn_worker(struct spawner *spawner, int *chan)
    __attribute__((warn_unused_result));

#endif
