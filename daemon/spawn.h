/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Starting worker programs. Supervisor only.
 */
#ifndef SPAWN_H
#define SPAWN_H

#include <sys/types.h>

/*
 * Open the worker program at path, for spawn_worker(). All workers of one
 * supervisor run this file, also when the path gets a newer one meanwhile.
 * Returns the descriptor, the caller's, or a negative errno: -EACCES if it
 * is not an executable file.
 */
int spawn_open(const char *path) __attribute__((warn_unused_result));

/*
 * Start a worker: a new program with an empty environment whose descriptors
 * are /dev/null and, at PRIV_WORKER_FD, one end of a SOCK_SEQPACKET pair. The
 * other end goes to *chan, the caller's. Returns the process id or a negative
 * errno; *chan is -1 then.
 */
pid_t spawn_worker(int program, int *chan) __attribute__((warn_unused_result));

#endif
