/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The flusher; see flusher.h. */
#include "config.h"

#include "daemon/flusher/flusher.h"

#include "daemon/common/limits.h"
#include "daemon/common/log.h"
#include "daemon/common/loop.h"
#include "daemon/common/peerfd.h"
#include "daemon/common/priv.h"
#include "proto/fd.h"
#include "sandbox/sandbox.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where it has what it needs. */
#define CHAN_FD 3
#define FILE_FD 4

struct client {
	int fd; /* owned; -1: an unused entry */
	struct event ready;
	bool asks;
	uint32_t number;
	/* A flush costs it an interval; so far ahead of now that a second is
	 * spent, it waits. 0: no limit. */
	uint64_t interval_us, paid_until_us;
};

struct flusher {
	const char *name;
	struct event_base *base;
	struct event chan_ready, round;
	bool chan_open;
	unsigned nclients;
	int failed; /* 0 or a negative errno */
	struct client clients[WORKERS_MAX];
};

/* One per process. */
static struct flusher the_flusher;

static void
leave_if_alone(struct flusher *f)
{
	if (!f->chan_open && f->nclients == 0)
		(void)event_base_loopbreak(f->base);
}

static void
drop(struct flusher *f, struct client *c)
{
	(void)event_del(&c->ready);
	peerfd_closep(&c->fd);
	c->asks = false;
	f->nclients--;
	leave_if_alone(f);
}

/* --- rounds -------------------------------------------------------------- */

static bool
may_now(const struct client *c, uint64_t now)
{
	return c->interval_us == 0 || c->paid_until_us <= now + 1000000;
}

/* Begin a round as soon as somebody who asks may have one. */
static void
plan_round(struct flusher *f)
{
	uint64_t now = loop_now() * 1000, soonest = UINT64_MAX;
	struct timeval after;

	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		const struct client *c = &f->clients[i];
		uint64_t wait;

		if (!c->asks)
			continue;
		wait = may_now(c, now) ? 0 : c->paid_until_us - now - 1000000;
		if (wait < soonest)
			soonest = wait;
	}
	(void)event_del(&f->round);
	if (soonest == UINT64_MAX)
		return;
	/* By a timeout, so that all who ask now are read before. */
	after.tv_sec = (time_t)(soonest / 1000000);
	after.tv_usec = (suseconds_t)(soonest % 1000000);
	(void)event_add(&f->round, &after);
}

static void
fail(struct flusher *f, int rc)
{
	struct priv_msg msg = { .u.about_region.rc = rc };

	f->failed = rc;
	log_error("region %s: fdatasync: %s: what front-ends have written may "
		  "be lost; they are told so until this region is made anew",
	    f->name, strerror(-rc));
	if (f->chan_open)
		(void)!priv_send(CHAN_FD, PRIV_FAILED, &msg, NULL, 0);
}

static void
answer(struct flusher *f, struct client *c, uint64_t now)
{
	struct priv_flush message = {
		.number = c->number,
		.rc = f->failed,
	};

	c->asks = false;
	if (c->interval_us != 0) {
		if (c->paid_until_us < now)
			c->paid_until_us = now;
		c->paid_until_us += c->interval_us;
	}
	/* Who does not read its answers asks once too often. */
	if (write(c->fd, &message, sizeof(message)) != sizeof(message))
		drop(f, c);
}

static void
round_ready(evutil_socket_t fd, short what, void *arg)
{
	struct flusher *f = arg;
	uint64_t now = loop_now() * 1000;
	bool served[WORKERS_MAX] = { false };

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		served[i] = f->clients[i].asks && may_now(&f->clients[i], now);
	if (f->failed == 0 && fdatasync(FILE_FD) < 0)
		fail(f, -errno);
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (served[i])
			answer(f, &f->clients[i], now);
	plan_round(f);
}

/* --- clients ------------------------------------------------------------- */

static void
client_ready(evutil_socket_t fd, short what, void *arg)
{
	struct flusher *f = &the_flusher;
	struct client *c = arg;
	struct priv_flush message;
	ssize_t n;

	(void)what;
	/* Descriptors that it sends are closed by the read. */
	peerfd_begin();
	n = read(fd, &message, sizeof(message));
	peerfd_end();
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(message) || c->asks) {
		drop(f, c);
		return;
	}
	c->asks = true;
	c->number = message.number;
	plan_round(f);
}

static void
admit(struct flusher *f, int fd, unsigned max_flushes)
{
	struct client *c = f->clients;

	while (c < f->clients + WORKERS_MAX && c->fd >= 0)
		c++;
	if (c == f->clients + WORKERS_MAX) {
		(void)close(fd);
		return;
	}
	c->fd = fd;
	c->asks = false;
	c->paid_until_us = 0;
	c->interval_us = max_flushes == 0 ? 0 : 1000000 / max_flushes;
	f->nclients++;
	(void)event_assign(
	    &c->ready, f->base, fd, EV_READ | EV_PERSIST, client_ready, c);
	if (event_add(&c->ready, NULL) < 0)
		drop(f, c);
}

static void
chan_ready(evutil_socket_t fd, short what, void *arg)
{
	struct flusher *f = arg;
	struct priv_msg msg;
	int fds[PRIV_REGIONS_MAX];
	int rc = priv_recv(fd, PRIV_TO_FLUSHER, false, &msg, fds);

	(void)what;
	if (rc == -EAGAIN)
		return;
	if (rc == 1) {
		admit(f, fds[0], msg.u.client.max_flushes);
		return;
	}
	(void)event_del(&f->chan_ready);
	f->chan_open = false;
	leave_if_alone(f);
}

/* --- its life ------------------------------------------------------------ */

static int
place(int file, int chan)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	file = fcntl(file, F_DUPFD_CLOEXEC, FILE_FD + 1);
	chan = fcntl(chan, F_DUPFD_CLOEXEC, FILE_FD + 1);
	if (null < 0 || file < 0 || chan < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(null, STDOUT_FILENO) < 0 ||
	    dup3(chan, CHAN_FD, O_CLOEXEC) < 0 ||
	    dup3(file, FILE_FD, O_CLOEXEC) < 0)
		return -errno;
	return sandbox_close_fds(FILE_FD + 1);
}

static void __attribute__((noreturn))
flusher_run(int file, const char *name, const struct flusher_ids *ids, int chan)
{
	struct sandbox_policy policy = {
		.change_ids = ids->change,
		.uid = ids->uid,
		.gid = ids->gid,
		.max_fds = WORKERS_MAX + 16,
	};
	struct flusher *f = &the_flusher;
	const char *stage = "descriptors";
	int rc;

	(void)prctl(PR_SET_NAME, "shmemd-flusher", 0, 0, 0);
	f->name = name;
	f->chan_open = true;
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		f->clients[i].fd = -1;
	rc = place(file, chan);
	if (rc == 0)
		rc = peerfd_init();
	f->base = rc == 0 ? loop_new() : NULL;
	if (rc == 0 && f->base != NULL)
		rc = sandbox_enter_flusher(&policy, &stage);
	if (rc == 0 && f->base != NULL) {
		(void)event_assign(&f->chan_ready, f->base, CHAN_FD,
		    EV_READ | EV_PERSIST, chan_ready, f);
		(void)event_assign(&f->round, f->base, -1, 0, round_ready, f);
		(void)event_add(&f->chan_ready, NULL);
		(void)event_base_dispatch(f->base);
		event_base_free(f->base);
		(void)close(CHAN_FD);
		(void)close(FILE_FD);
		_exit(0);
	}
	log_error("region %s: its flusher: %s: %s", name, stage,
	    strerror(rc < 0 ? -rc : ENOMEM));
	_exit(1);
}

pid_t
flusher_start(
    int fd, const char *name, const struct flusher_ids *ids, int *chan)
{
	int pair[2];
	pid_t pid;

	*chan = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		flusher_run(fd, name, ids, pair[1]);
	fd_closep(&pair[1]);
	if (pid < 0) {
		pid = -errno;
		fd_closep(&pair[0]);
		return pid;
	}
	*chan = pair[0];
	return pid;
}
