/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The event loop of either program: libevent, by epoll. */
#ifndef LOOP_H
#define LOOP_H

#include <stdint.h>

struct event_base;

/* Make an event loop that no environment variable can change: one may choose
 * other system calls than the worker's filter knows. NULL on failure. */
struct event_base *loop_new(void);

/* Milliseconds of a clock that nobody sets. */
uint64_t loop_now(void);

#endif
