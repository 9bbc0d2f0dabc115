/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Confinement of a worker.
 *
 * Theory of operation. A worker parses what a hostile guest and front-end
 * send. It starts as a fresh program with an empty environment and the few
 * descriptors that the supervisor has put in their places, takes its regions,
 * makes its event loop, and then calls sandbox_enter(), before the socket of
 * the front-end has even been handed to it. From there on:
 *
 *   stage     should                            must not
 *   session   be in a session of its own, in /  get a terminal's signals
 *   isolation see nothing of the host           (layers.h: where permitted)
 *   ids       be another user than root and     keep a group or a capability
 *             than the front-end                in any set
 *   limits    hold as many descriptors as       make a process, dump core
 *             memory slots need
 *   privs     be closed to ptrace of its user   gain a privilege by exec
 *   filter    make the calls of worker.def      make any other
 *
 * Each stage fails closed: the worker ends and no front-end is served. There
 * is no switch to leave one out. The exception are the layers of layers.h,
 * which not every host permits: without one the worker goes on and tells,
 * unless the policy is strict.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

struct sandbox_policy {
	bool strict;	 /* end if one of layers.h is missing */
	bool change_ids; /* root: become uid and gid; else stay who we are */
	uid_t uid;
	gid_t gid;
	unsigned max_fds; /* descriptors open at a time, at least 16 */
	/*
	 * Descriptors that all processes of this user may have sent and nobody
	 * has received yet: the kernel counts them together, and holds each
	 * sender's limit of open descriptors against the sum. With too low a
	 * limit one front-end could keep others from getting theirs.
	 */
	unsigned max_fds_on_way;
};

/* Close every descriptor from first on. Returns 0 or a negative errno. */
int sandbox_close_fds(int first) __attribute__((warn_unused_result));

/*
 * Enter the sandbox, all stages in order. Returns 0; or a negative errno, and
 * the name of the stage that failed in *stage: the caller must then end.
 */
int sandbox_enter(const struct sandbox_policy *policy, const char **stage)
    __attribute__((warn_unused_result));

/* Which layers of layers.h are missing: a bit for each. */
unsigned sandbox_missing(void);

/* Lines of the allow list, for the log. */
unsigned sandbox_rules(void);

#endif
