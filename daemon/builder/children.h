/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Work that takes long, done by forks of this process: as many at a time as it
 * has CPUs. It waits for them, and goes on answering others meanwhile.
 *
 * A child is the first that the kernel kills where memory runs out, and it
 * dies with its parent. Nothing else may reap it: no waitpid(-1), SIGCHLD not
 * ignored.
 */
#ifndef CHILDREN_H
#define CHILDREN_H

#include "daemon/builder/reason.h"

#include <stdbool.h>
#include <stdint.h>

/* What else to look after while waiting. */
struct idle {
	int fd; /* polled for reading; -1: nothing */
	/* Called when fd has something to read or was hung up. A negative
	 * errno: give up, the work is not wanted any more. */
	int (*ready)(void *ctx);
	void *ctx;
};

/* A piece of work. */
struct child_job {
	/* Runs in the child. Returns 0; or a negative errno, with why in
	 * *reason. */
	int (*work)(const struct child_job *job, struct reason *reason);
	const void *arg;    /* for work() */
	uint64_t from, len; /* bytes [from, from + len) of something */
	unsigned owner;	    /* for the caller: whose work it is */
};

/*
 * Do all the jobs, or as many as work until one fails; the others are stopped
 * then. How far they are goes to the log each 10 percent, but no more often
 * than each 2 seconds: "DOING: 40% of 64G".
 * Returns 0; or the negative errno of the job that failed, with its owner and
 * why; or what idle has returned. idle may be NULL. No child is left.
 */
int children_run(const struct child_job *jobs, unsigned njobs,
    const char *doing, const struct idle *idle, unsigned *owner,
    struct reason *reason) __attribute__((warn_unused_result));

/* In work(): that many bytes of job->len more are done. Outside of a child it
 * does nothing. */
void children_done(uint64_t bytes);

/* How many run at a time at most: the CPUs that this process may use. */
unsigned children_most(void);

/* Call idle->ready() if there is something for it now. Returns what it
 * returns, or 0. */
int idle_look(const struct idle *idle) __attribute__((warn_unused_result));

#endif
