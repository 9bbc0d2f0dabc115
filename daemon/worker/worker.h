/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The worker: serves one front-end connection, confined. Everything that
 * parses what a peer has sent runs here.
 */
#ifndef WORKER_H
#define WORKER_H

/* Run as the worker at the other end of PRIV_WORKER_FD. Does not return. */
void worker_run(void) __attribute__((noreturn));

#endif
