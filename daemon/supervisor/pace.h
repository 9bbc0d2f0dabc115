/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * How often a front-end may have a worker: the rules alone, without a clock,
 * a socket or an event. Supervisor only; gate.c applies them.
 *
 * Threat model: a front-end in the hands of its guest connects, or makes its
 * worker crash, again and again. Each worker costs the host some milliseconds
 * of CPU time, whether it ends well or not, so what ends well counts, too.
 *
 *   a process  whose workers crash: nothing for the first crash; from the
 *              second on it waits 1 s, then twice as long each time, up to
 *              32 s. A minute without a wait and without a crash, and all is
 *              forgotten.
 *   a user     128 connections at once, which is as many virtual machines as
 *              may start together, then 32 a second: a sixth of one CPU if a
 *              worker costs 5 ms.
 *
 * A process that is not known, of another pid namespace, has the limits of
 * its user only: others that are not known would pay for its crashes.
 *
 * The tables are bounded. Who is not in them is known nothing bad of; the
 * entry that matters least makes room for a new one.
 */
#ifndef PACE_H
#define PACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Who is at the other end of a socket, as the kernel says: SO_PEERCRED. */
struct front_end {
	pid_t pid; /* 0: not known */
	uid_t uid;
	gid_t gid; /* its first one */
};

#define PACE_BURST 128U	  /* connections of a user at once, */
#define PACE_INTERVAL 31U /* then one in so many ms */
#define PACE_DELAY 1000U  /* ms, after the second crash */
#define PACE_DELAY_MAX 32000U
#define PACE_QUIET 60000U /* ms after which crashes are forgotten */
#define PACE_PROCESSES 256U
#define PACE_USERS 64U

enum pace_reason { PACE_NONE, PACE_CRASHES, PACE_RATE };

/* A process whose workers have crashed. */
struct pace_process {
	struct front_end who;
	unsigned crashes; /* 0: an unused entry */
	uint64_t until;	  /* it waits */
	bool told;	  /* that it waits */
};

struct pace_user {
	bool used;
	uid_t uid;
	uint64_t full_at; /* when it may have PACE_BURST at once again */
	uint64_t tell_at; /* not before this is told again that it waits */
};

/* All zeros: nobody is known. */
struct pace {
	struct pace_process processes[PACE_PROCESSES];
	struct pace_user users[PACE_USERS];
};

/* How many ms a front-end has to wait at the time now, in ms: 0 if it may
 * have a worker. *reason: what for. */
uint64_t pace_wait(const struct pace *pace, const struct front_end *who,
    uint64_t now, enum pace_reason *reason);

/* It has got a worker. */
void pace_served(struct pace *pace, const struct front_end *who, uint64_t now);

/* A worker of it has crashed. */
void pace_crashed(struct pace *pace, const struct front_end *who, uint64_t now);

/* How many in a row. */
unsigned pace_crashes(const struct pace *pace, const struct front_end *who);

/* Whether the log should say that it waits for this reason: for crashes once
 * after each, for a user once a minute. A yes counts as told. */
bool pace_tell(struct pace *pace, const struct front_end *who, uint64_t now,
    enum pace_reason reason);

#endif
