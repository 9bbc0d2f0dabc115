/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Confinement, of five processes.
 *
 * Theory of operation. The supervisor is started with the privileges of whoever
 * starts it. It forks the spawner, which does nothing but start workers, and
 * the builder, which makes regions and sockets, and then enters its own
 * sandbox: it cannot start a program or open a file any more.
 *
 *           hears           holds                keeps          filter
 *   supervisor
 *           numbers of      regions, sockets,    KILL           supervisor.def
 *           all, operator   channels
 *   spawner
 *           the supervisor  the worker's         SYS_ADMIN,     spawner.def
 *                           program              SETPCAP,
 *                                                SETUID, SETGID
 *   builder
 *           the supervisor  locks                parents.c      none
 *   flusher
 *           workers,        one file             nothing        flusher.def
 *           8 bytes
 *   worker
 *           guest,          regions, guest       nothing        worker.def
 *           front-end       memory
 *
 * The builder has no filter. A reload looks up users, which the C library does
 * by whatever modules and services the host is set up with: what calls that
 * takes cannot be measured here. And what a list would have to allow, to open
 * any file as root, is all that somebody who took it over would want. What
 * keeps that out is that it hears the supervisor alone, in numbers.
 *
 * An ordinary user's supervisor and builder have no capability, and the spawner
 * has two in a user namespace of its own, where the host permits that.
 *
 * A worker parses what a hostile guest and front-end send. It starts as a
 * fresh program with an empty environment and the few descriptors that were
 * put in their places, under the spawner's filter. It makes its event loop and
 * then calls sandbox_enter(), before regions and the socket of the front-end
 * have even been handed to it. From there on:
 *
 *   stage     should                            must not
 *   session   be in a session of its own, in /  get a terminal's signals
 *   isolation see nothing of the host           (layers.h: where permitted)
 *   ids       be another user than root and     keep a group
 *             than the front-end
 *   user      have no name in its user          (layers.h)
 *             namespace
 *   caps                                        keep a capability in any set
 *   limits    hold as many descriptors as       make a process, dump core
 *             memory slots need
 *   privs     be closed to ptrace of its user   gain a privilege by exec
 *   filter    make the calls of worker.def      make any other
 *
 * Each stage fails closed: the process ends and no front-end is served. There
 * is no switch to leave one out. The exception are the layers of layers.h,
 * which not every host permits: without one the worker goes on and tells,
 * unless the policy is strict.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

/* Where the spawner holds the worker's program, to be executed. */
#define SANDBOX_PROGRAM_FD 4

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

/*
 * The same for the others. sandbox_enter_spawner() is called with root if root
 * has started us. The builder keeps what it needs to open files for the
 * operator, and has no filter: it hears the supervisor alone.
 */
int sandbox_enter_supervisor(const char **stage)
    __attribute__((warn_unused_result));
int sandbox_enter_spawner(bool root, const char **stage)
    __attribute__((warn_unused_result));
int sandbox_enter_builder(const char **stage)
    __attribute__((warn_unused_result));
/* Of the policy: ids and max_fds. */
int sandbox_enter_flusher(const struct sandbox_policy *policy,
    const char **stage) __attribute__((warn_unused_result));

/*
 * The capabilities without which root can start no worker, or end none, that
 * this process lacks: "CAP_SETGID, CAP_SETUID"; NULL if it has them all.
 */
const char *sandbox_lacks(void);

/* Which layers of layers.h are missing: a bit for each. */
unsigned sandbox_missing(void);

/* Rules of the worker's filter that are loaded on this CPU, for the log. */
unsigned sandbox_rules(void);

/* Print the filters of all four, with the reason for each line. */
void sandbox_print(FILE *out);

#endif
