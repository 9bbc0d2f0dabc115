/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The worker: serves one front-end connection, confined. Everything that
 * parses what a peer has sent runs here.
 */
#ifndef WORKER_H
#define WORKER_H

/* Workers of one supervisor at a time: connections, and a spare. */
#define WORKERS_MAX 1024U

/* How a worker ends when nothing kills it: its exit status. */
enum worker_exit_status {
	WORKER_EXIT_DONE = 0,  /* the front-end has hung up, or never came */
	WORKER_EXIT_SETUP = 1, /* it could not start or not be confined */
	WORKER_EXIT_BROKEN = 2 /* the front-end broke the protocol */
};

/* Run as the worker at the other end of PRIV_WORKER_FD. Does not return. */
void worker_run(void) __attribute__((noreturn));

#endif
