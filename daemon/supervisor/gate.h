/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The gate: front-ends that have connected go through it to the supervisor,
 * at once or, by the rules of pace.h, after a wait. Supervisor only.
 *
 * Who waits is a socket that is held, and delays nobody but itself: a timer
 * lets each through when its time has come, in the order of arrival. One
 * whose peer hangs up meanwhile is gone and has cost no worker. As few as
 * common/limits.h says may wait; more are hung up on.
 */
#ifndef GATE_H
#define GATE_H

#include "daemon/common/limits.h"
#include "daemon/supervisor/pace.h"

#include <event2/event_struct.h>

/* Called for each front-end whose time has come, with what gate_admit() was
 * told of it. What is left in *fd the gate closes afterwards. */
typedef void gate_serve(
    void *ctx, int *fd, const struct front_end *who, uint32_t device);
/* Whether this device can be served now. If not, its front-ends wait. */
typedef bool gate_ready(void *ctx, uint32_t device);

struct gate_waiter {
	int fd; /* owned; -1: an unused entry */
	struct front_end who;
	uint32_t device;
	uint64_t place; /* in the order of arrival, from 1 */
	struct event hung_up;
};

struct gate {
	struct event_base *base;
	gate_serve *serve;
	gate_ready *ready;
	void *ctx;
	uid_t worker_uid;
	bool own_uid;
	bool same_uid_told;
	struct pace pace;
	uint64_t arrivals;
	uint64_t turned_away_second; /* of the last line about it */
	unsigned turned_away;	     /* since then */
	struct event timer;
	struct gate_waiter waiters[GATE_WAITING_MAX];
};

/* worker_uid is the user of the workers, and own_uid says whether it is ours:
 * the log warns of the first front-end that is the same user. */
void gate_init(struct gate *g, struct event_base *base, uid_t worker_uid,
    bool own_uid, gate_serve *serve, gate_ready *ready, void *ctx);

/* Who a front-end is, by SO_PEERCRED. */
void gate_who(int fd, struct front_end *who);

/* A front-end has connected to this device; takes fd. Calls serve now, later
 * or never. */
void gate_admit(
    struct gate *g, int fd, const struct front_end *who, uint32_t device);

/* The worker of this front-end has crashed. */
void gate_crashed(struct gate *g, const struct front_end *who);

/* Hang up on all who wait. The gate can be closed twice. */
void gate_close(struct gate *g);

#endif
