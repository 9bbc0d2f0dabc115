/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The gate between accept() and a worker; see gate.h. */
#include "config.h"

#include "daemon/supervisor/gate.h"

#include "daemon/common/log.h"
#include "daemon/common/loop.h"
#include "daemon/supervisor/discard.h"
#include "proto/fd.h"

#include <event2/event.h>
#include <stddef.h>
#include <sys/socket.h>

/* ms after which to look whether a device that was not ready is. */
#define LOOK_AGAIN 20U

static void
leave(struct gate_waiter *w)
{
	if (w->fd < 0)
		return;
	(void)event_del(&w->hung_up);
	discard(&w->fd);
}

static void
hung_up_ready(evutil_socket_t fd, short what, void *arg)
{
	struct gate_waiter *w = arg;

	(void)fd;
	(void)what;
	log_debug("front-end pid %d, uid %u: hung up while it was held back",
	    (int)w->who.pid, w->who.uid);
	leave(w);
}

/* Who comes behind this place, or NULL. */
static struct gate_waiter *
next(struct gate *g, uint64_t place)
{
	struct gate_waiter *found = NULL;

	for (unsigned i = 0; i < GATE_WAITING_MAX; i++) {
		struct gate_waiter *w = &g->waiters[i];

		if (w->fd >= 0 && w->place > place &&
		    (found == NULL || w->place < found->place))
			found = w;
	}
	return found;
}

static void
let_through(struct gate *g, int *fd, const struct front_end *who,
    uint32_t device, uint64_t now)
{
	pace_served(&g->pace, who, now);
	g->serve(g->ctx, fd, who, device);
}

/* How long to wait, ms; 0: not. */
static uint64_t
wait_of(const struct gate *g, const struct front_end *who, uint32_t device,
    uint64_t now, enum pace_reason *reason)
{
	uint64_t wait = pace_wait(&g->pace, who, now, reason);

	return wait == 0 && !g->ready(g->ctx, device) ? LOOK_AGAIN : wait;
}

/* Let everybody through whose time has come, and set the timer for the
 * others. */
static void
let_waiters_through(struct gate *g, uint64_t now)
{
	uint64_t soonest = UINT64_MAX, place = 0;
	struct gate_waiter *w;
	struct timeval after;

	while ((w = next(g, place)) != NULL) {
		enum pace_reason reason;
		uint64_t wait = wait_of(g, &w->who, w->device, now, &reason);

		place = w->place;
		if (wait == 0) {
			(void)event_del(&w->hung_up);
			let_through(g, &w->fd, &w->who, w->device, now);
			discard(&w->fd);
		} else if (wait < soonest) {
			soonest = wait;
		}
	}
	(void)event_del(&g->timer);
	if (soonest == UINT64_MAX)
		return;
	after.tv_sec = (time_t)(soonest / 1000);
	after.tv_usec = (suseconds_t)(soonest % 1000 * 1000);
	(void)event_add(&g->timer, &after);
}

static void
timer_ready(evutil_socket_t fd, short what, void *arg)
{
	struct gate *g = arg;

	(void)fd;
	(void)what;
	let_waiters_through(g, loop_now());
}

/* A free entry for who, or NULL if it may not wait. */
static struct gate_waiter *
free_entry(struct gate *g, const struct front_end *who)
{
	struct gate_waiter *found = NULL;
	unsigned of_user = 0, of_process = 0;

	for (unsigned i = 0; i < GATE_WAITING_MAX; i++) {
		struct gate_waiter *w = &g->waiters[i];

		if (w->fd < 0) {
			found = w;
			continue;
		}
		of_user += w->who.uid == who->uid;
		of_process += w->who.uid == who->uid && who->pid != 0 &&
			      w->who.pid == who->pid;
	}
	return of_user < GATE_WAITING_USER && of_process < GATE_WAITING_PROCESS
		   ? found
		   : NULL;
}

/* A flood makes one line a second. */
static void
tell_turned_away(struct gate *g, const struct front_end *who, uint64_t now)
{
	g->turned_away++;
	if (now / 1000 == g->turned_away_second)
		return;
	log_warn("front-end pid %d, uid %u: turned away: too many of its "
		 "connections are held back (%u turned away)",
	    (int)who->pid, who->uid, g->turned_away);
	g->turned_away_second = now / 1000;
	g->turned_away = 0;
}

static void
tell_held_back(struct gate *g, const struct front_end *who, uint64_t now,
    uint64_t wait, enum pace_reason reason)
{
	enum log_level level =
	    pace_tell(&g->pace, who, now, reason) ? LOG_WARN : LOG_DEBUG;

	if (reason == PACE_NONE)
		log_debug("front-end pid %d, uid %u: waits until its region "
			  "has been erased",
		    (int)who->pid, who->uid);
	else if (reason == PACE_CRASHES)
		log_line(level,
		    "front-end pid %d, uid %u: its last %u workers crashed: "
		    "held back for %llu s",
		    (int)who->pid, who->uid, pace_crashes(&g->pace, who),
		    (unsigned long long)((wait + 999) / 1000));
	else
		log_line(level,
		    "front-end pid %d, uid %u: its user connects too often: "
		    "held back, as all of uid %u, to %u connections a second",
		    (int)who->pid, who->uid, who->uid, 1000 / PACE_INTERVAL);
}

/* What users can do to their own processes they can do to workers. */
static void
tell_same_uid(struct gate *g, const struct front_end *who)
{
	if (who->uid != g->worker_uid || g->same_uid_told)
		return;
	g->same_uid_told = true;
	if (g->own_uid)
		log_warn("front-end pid %d runs as uid %u, and so do "
			 "vhost-shmemd and its workers: every program of that "
			 "user can stop and end them; start it as root to "
			 "prevent that",
		    (int)who->pid, who->uid);
	else
		log_warn("front-end pid %d runs as uid %u, and so do the "
			 "workers: every program of that user can stop and "
			 "kill the workers of all front-ends; choose a user "
			 "for --user that runs nothing else",
		    (int)who->pid, who->uid);
}

void
gate_init(struct gate *g, struct event_base *base, uid_t worker_uid,
    bool own_uid, gate_serve *serve, gate_ready *ready, void *ctx)
{
	g->base = base;
	g->worker_uid = worker_uid;
	g->own_uid = own_uid;
	g->serve = serve;
	g->ready = ready;
	g->ctx = ctx;
	for (unsigned i = 0; i < GATE_WAITING_MAX; i++)
		g->waiters[i].fd = -1;
	(void)event_assign(&g->timer, base, -1, 0, timer_ready, g);
}

void
gate_who(int fd, struct front_end *who)
{
	struct ucred peer = { .pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	socklen_t len = sizeof(peer);

	/* It does not fail: listener.c takes UNIX sockets only. */
	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	who->pid = peer.pid;
	who->uid = peer.uid;
	who->gid = peer.gid;
}

void
gate_admit(struct gate *g, int fd, const struct front_end *who, uint32_t device)
{
	AUTO_DISCARD int owned = fd;
	enum pace_reason reason;
	struct gate_waiter *w;
	uint64_t wait, now = loop_now();

	tell_same_uid(g, who);

	/* Those before it first, so that it overtakes nobody: who waits then
	 * still waits for another reason than this one's. */
	let_waiters_through(g, now);
	wait = wait_of(g, who, device, now, &reason);
	if (wait == 0) {
		let_through(g, &owned, who, device, now);
		return;
	}
	w = free_entry(g, who);
	if (w == NULL) {
		tell_turned_away(g, who, now);
		return;
	}
	tell_held_back(g, who, now, wait, reason);
	w->fd = fd_steal(&owned);
	w->who = *who;
	w->device = device;
	w->place = ++g->arrivals;
	/* Without it that one's peer has hung up is only found by a worker. */
	(void)event_assign(
	    &w->hung_up, g->base, w->fd, EV_CLOSED, hung_up_ready, w);
	(void)event_add(&w->hung_up, NULL);
	let_waiters_through(g, now); /* sets the timer */
}

void
gate_crashed(struct gate *g, const struct front_end *who)
{
	pace_crashed(&g->pace, who, loop_now());
}

void
gate_close(struct gate *g)
{
	if (g->base == NULL)
		return;
	for (unsigned i = 0; i < GATE_WAITING_MAX; i++)
		leave(&g->waiters[i]);
	(void)event_del(&g->timer);
}
