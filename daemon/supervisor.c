/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The supervisor; see supervisor.h.
 *
 * A worker is started before its front-end comes, so that nobody waits for
 * exec and sandbox: one spare is kept ready, and the first spare that reports
 * to be confined opens the door, the listening socket. In every state a
 * worker that ends is reaped, logged and, if needed, replaced; a worker that
 * ends before it serves is replaced after a pause that doubles.
 */
#include "config.h"

#include "supervisor.h"

#include "fd.h"
#include "gate.h"
#include "kmsg.h"
#include "layers.h"
#include "listener.h"
#include "log.h"
#include "loop.h"
#include "priv.h"
#include "region_spec.h"
#include "sandbox.h"
#include "spawn.h"
#include "worker.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

/* Messages of one worker that are read before others get their turn. */
#define MESSAGES_MAX 32U
/* So often that many are read of a worker that has ended: a socket's buffer
 * holds about 100. */
#define LAST_WORDS 8U
/* Lines above debug that a worker may log per second. */
#define LINES_MAX 20U

/* How long the first worker may take to be confined, in seconds; and, before,
 * to copy regions, at a rate that a host has even when it is busy. */
#define FIRST_READY 10
#define BYTES_PER_SECOND (UINT64_C(64) << 20)
/* At the end: how long front-ends get to hang up by themselves, for QEMU may
 * abort of a connection that is closed under it. */
static const struct timeval grace = { .tv_sec = 1 };
/* How long accepting rests when descriptors or processes have run out. */
static const struct timeval rest = { .tv_sec = 1 };
/* --connect: how long between tries, and how many. QEMU with server=on listens
 * from its start on; a second is long. */
static const struct timeval between_tries = { .tv_usec = 250000 };
#define TRIES_MAX 120U
/* The pause after a worker that ends before it serves: first, and at most. */
#define PAUSE_FIRST 1
#define PAUSE_MOST 32

#define OPTIONS_REGIONS_MAX 256U

/* The one device that is served. */
struct options {
	const char *socket_path; /* or NULL */
	int fd;			 /* --fd, or -1 */
	const char *connect;	 /* or NULL */
	const struct profile *profile;
	enum device_id device;
	unsigned nregions;
	struct region_spec regions[OPTIONS_REGIONS_MAX];
	uint64_t virtio_without;
	bool once;
	unsigned message_timeout;
	bool strict;
	bool change_ids;
	uid_t uid;
	gid_t gid;
	const char *user;
	const char *worker;
};

enum worker_state {
	WORKER_FREE,	 /* an unused entry */
	WORKER_STARTING, /* not yet ready, no connection */
	WORKER_SPARE,	 /* ready, no connection */
	WORKER_SERVING	 /* has a front-end's connection */
};

struct worker_entry {
	enum worker_state state;
	pid_t pid;
	int chan; /* owned; -1 after the worker has closed its end */
	struct event event;
	bool ready;
	unsigned conn;		    /* number of its connection, from 1 */
	struct front_end front_end; /* whose connection it is */
	time_t second;		    /* of the lines counted */
	unsigned lines;		    /* logged in that second */
	unsigned swallowed;	    /* lines beyond LINES_MAX since */
};

struct supervisor {
	const struct options *options;
	struct event_base *base;
	struct region regions[OPTIONS_REGIONS_MAX];
	struct listener listener;
	int program; /* owned: the worker's file, until the spawner has it */
	struct spawner spawner;
	bool open; /* the listener is there */
	bool ending;
	bool broken; /* the spawner is gone */
	int status;  /* exit status */
	int pause;   /* seconds before the next start of a spare; 0: none */
	unsigned conns;
	unsigned tries; /* of --connect */
	struct event accept_event, retry_event, deadline_event;
	struct event term_event, int_event, child_event;
	struct gate gate;
	struct kmsg kmsg;
	struct worker_entry workers[WORKERS_MAX];
};

static void
finish(struct supervisor *sv, int status)
{
	sv->status = status;
	(void)event_base_loopbreak(sv->base);
}

/* A front-end may still be wanted: we go on after the present ones. */
static bool
expects_more(const struct supervisor *sv)
{
	if (sv->ending || sv->broken)
		return false;
	if (sv->options->once || (sv->open && sv->listener.connected))
		return sv->conns == 0;
	return true;
}

/* When to give up on the first worker, seconds. */
static time_t
first_ready(const struct supervisor *sv)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < sv->options->nregions; i++)
		if (sv->options->regions[i].access == MEMORY_COPY)
			bytes += sv->options->regions[i].size;
	return (time_t)(FIRST_READY + bytes / BYTES_PER_SECOND);
}

static unsigned
count(const struct supervisor *sv, enum worker_state state)
{
	unsigned n = 0;

	for (unsigned i = 0; i < WORKERS_MAX; i++)
		n += sv->workers[i].state == state;
	return n;
}

/* Nobody can connect any more. */
static void
close_door(struct supervisor *sv)
{
	int rc = listener_close(&sv->listener);

	/* The supervisor has no privilege over directories of others. */
	if (rc < 0)
		log_warn(
		    "%s stays: %s", sv->options->socket_path, strerror(-rc));
}

static struct worker_entry *
find(struct supervisor *sv, enum worker_state state)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (sv->workers[i].state == state)
			return &sv->workers[i];
	return NULL;
}

/* "conn 3" or "spare", for the log. */
static const char *
who(const struct worker_entry *w)
{
	static char text[32];

	if (w->conn == 0)
		return "spare";
	(void)snprintf(text, sizeof(text), "conn %u", w->conn);
	return text;
}

/* --- messages of workers ------------------------------------------------- */

static void
report_swallowed(struct worker_entry *w)
{
	if (w->swallowed != 0)
		log_warn("%s: %u more lines", who(w), w->swallowed);
	w->swallowed = 0;
}

static void
on_log(struct worker_entry *w, struct priv_log *line)
{
	enum log_level level =
	    line->level < LOG_LEVELS ? (enum log_level)line->level : LOG_WARN;
	struct timespec now;

	if (level > log_get_level())
		return;
	line->text[sizeof(line->text) - 1] = '\0';
	log_escape(line->text);
	/* What a guest can cause is limited; whoever asks for debug lines
	 * wants all of those. */
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec != w->second) {
		w->second = now.tv_sec;
		w->lines = 0;
		report_swallowed(w);
	}
	if (level < LOG_DEBUG && w->lines++ >= LINES_MAX) {
		w->swallowed++;
		return;
	}
	log_line(level, "%s: %s", who(w), line->text);
}

/* Close our end: the worker is no more listened to. */
static void
hang_up(struct worker_entry *w)
{
	if (w->chan < 0)
		return;
	(void)event_del(&w->event);
	fd_closep(&w->chan);
}

static void open_door(struct supervisor *sv);

/* Put into text, of size bytes, which layers of its sandbox a worker has. */
static void
name_layers(uint32_t missing, char *text, size_t size)
{
	size_t len = 0;

	(void)snprintf(text, size, "all layers");
	for (unsigned i = 0; i < LAYERS; i++)
		if ((missing & (1U << i)) != 0 && len < size)
			len += (size_t)snprintf(text + len, size - len, "%s%s",
			    len == 0 ? "without: " : ", ",
			    sandbox_layer_name((enum sandbox_layer)i));
}

static void
on_ready(struct supervisor *sv, struct worker_entry *w,
    const struct priv_ready *ready)
{
	char missing[160];

	w->ready = true;
	if (w->conn != 0)
		sv->pause = 0;
	if (w->state == WORKER_STARTING)
		w->state = WORKER_SPARE;
	name_layers(ready->missing, missing, sizeof(missing));
	log_info("worker %d: confined as %s, no capabilities, seccomp filter "
		 "loaded (%u rules), %s",
	    (int)w->pid, sv->options->user, ready->rules, missing);
	if (!sv->open && !sv->ending)
		open_door(sv);
}

static void
worker_ready(evutil_socket_t chan, short what, void *arg)
{
	struct supervisor *sv = arg;
	struct worker_entry *w = NULL;

	(void)what;
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (sv->workers[i].state != WORKER_FREE &&
		    sv->workers[i].chan == chan)
			w = &sv->workers[i];
	for (unsigned i = 0; w != NULL && i < MESSAGES_MAX; i++) {
		struct priv_msg msg;
		int none[PRIV_REGIONS_MAX];
		int rc = priv_recv(chan, PRIV_TO_SUPERVISOR, false, &msg, none);

		if (rc == -EAGAIN)
			return;
		if (rc == 1 && msg.type == PRIV_LOG) {
			on_log(w, &msg.u.log);
			continue;
		}
		if (rc == 1 && msg.type == PRIV_READY && !w->ready) {
			on_ready(sv, w, &msg.u.ready);
			continue;
		}
		if (rc <= 0 && rc != -EBADMSG) {
			hang_up(w); /* it is ending; SIGCHLD says how */
			return;
		}
		log_error(
		    "%s: ended: its worker sent a malformed message", who(w));
		hang_up(w);
		(void)kill(w->pid, SIGKILL);
		return;
	}
}

/* --- starting workers ---------------------------------------------------- */

static int
send_setup(const struct supervisor *sv, int chan)
{
	const struct options *o = sv->options;
	struct priv_msg msg = { 0 };
	unsigned n;
	int rc;

	msg.u.setup.change_ids = o->change_ids;
	msg.u.setup.strict = o->strict;
	msg.u.setup.uid = o->uid;
	msg.u.setup.gid = o->gid;
	msg.u.setup.log_level = (uint32_t)log_get_level();
	msg.u.setup.profile = profile_index(o->profile);
	msg.u.setup.device = (uint32_t)o->device;
	msg.u.setup.virtio_without = o->virtio_without;
	msg.u.setup.message_timeout = o->message_timeout;
	msg.u.setup.nregions = o->nregions;
	rc = priv_send(chan, PRIV_SETUP, &msg, NULL, 0);
	for (unsigned i = 0; i < o->nregions && rc == 0; i += n) {
		int fds[PRIV_REGIONS_MAX];

		memset(&msg, 0, sizeof(msg));
		for (n = 0; n < PRIV_REGIONS_MAX && i + n < o->nregions; n++) {
			const struct region *region = &sv->regions[i + n];
			struct priv_region *r = &msg.u.regions.region[n];

			r->shmid = region->spec.shmid;
			r->size = region->spec.size;
			r->access = (uint32_t)region->spec.access;
			fds[n] = region->fd;
		}
		msg.u.regions.n = n;
		rc = priv_send(chan, PRIV_REGIONS, &msg, fds, n);
	}
	return rc;
}

/* Start a worker into a free entry. Returns it or NULL, and logs why. */
static struct worker_entry *
start_worker(struct supervisor *sv)
{
	struct worker_entry *w = find(sv, WORKER_FREE);
	int rc;

	if (w == NULL)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->pid = spawn_worker(&sv->spawner, &w->chan);
	if (w->pid < 0) {
		log_error("no worker can be started: %s", strerror(-w->pid));
		return NULL;
	}
	w->state = WORKER_STARTING;
	(void)event_assign(&w->event, sv->base, w->chan, EV_READ | EV_PERSIST,
	    worker_ready, sv);
	rc = send_setup(sv, w->chan);
	if (rc == 0 && event_add(&w->event, NULL) < 0)
		rc = -ENOMEM;
	if (rc < 0) {
		log_error("%s: set-up not sent: %s", who(w), strerror(-rc));
		(void)kill(w->pid, SIGKILL);
	}
	return w;
}

/* Whether a worker should be started for the next front-end. */
static bool
spare_missing(const struct supervisor *sv)
{
	return expects_more(sv) && count(sv, WORKER_SPARE) == 0 &&
	       count(sv, WORKER_STARTING) == 0;
}

/* See to it that a worker is ready for the next front-end. */
static void
spare_wanted(struct supervisor *sv)
{
	struct timeval pause = { .tv_sec = sv->pause };

	if (!spare_missing(sv))
		return;
	if (sv->pause == 0 && start_worker(sv) != NULL)
		return;
	if (sv->pause == 0)
		pause = rest;
	if (!event_pending(&sv->retry_event, EV_TIMEOUT, NULL))
		(void)event_add(&sv->retry_event, &pause);
}

/* A pause is over: of starting workers, of accepting, or of both. */
static void
retry_ready(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *sv = arg;

	(void)fd;
	(void)what;
	if (sv->ending)
		return;
	if (spare_missing(sv) && start_worker(sv) == NULL)
		(void)event_add(&sv->retry_event, &rest);
	if (sv->open && sv->listener.fd >= 0)
		(void)event_add(&sv->accept_event, NULL);
	if (!sv->open && sv->tries != 0)
		open_door(sv);
}

/* --- front-ends ---------------------------------------------------------- */

/* Hand a front-end's connection, which stays the caller's, to a worker. */
static bool
hand_over(struct supervisor *sv, int fd, const struct front_end *front_end)
{
	struct worker_entry *w = find(sv, WORKER_SPARE);
	struct priv_msg msg = { 0 };
	int rc;

	/* One that is starting takes the connection when it is confined. */
	if (w == NULL)
		w = find(sv, WORKER_STARTING);
	if (w == NULL)
		w = start_worker(sv);
	if (w == NULL) {
		log_error("a front-end was turned away: no worker for it");
		return false;
	}
	rc = priv_send(w->chan, PRIV_CONNECT, &msg, &fd, 1);
	if (rc < 0) {
		log_error("%s: connection not handed over: %s", who(w),
		    strerror(-rc));
		(void)kill(w->pid, SIGKILL);
		return false;
	}
	w->state = WORKER_SERVING;
	w->conn = ++sv->conns;
	w->front_end = *front_end;
	if (w->ready)
		sv->pause = 0;
	log_info("%s: front-end connected: pid %d, uid %u; worker %d", who(w),
	    (int)front_end->pid, front_end->uid, (int)w->pid);
	return true;
}

/* A front-end has come through the gate. */
static void
serve(void *ctx, int fd, const struct front_end *front_end)
{
	struct supervisor *sv = ctx;

	(void)hand_over(sv, fd, front_end);
	if (!sv->listener.connected && !expects_more(sv)) {
		(void)event_del(&sv->accept_event);
		close_door(sv);
	}
	spare_wanted(sv);
}

static void
accept_ready(evutil_socket_t listening, short what, void *arg)
{
	struct supervisor *sv = arg;
	AUTO_FD int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);

	(void)what;
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
		    errno == ENOBUFS) {
			log_error("accept: %s", strerror(errno));
			(void)event_del(&sv->accept_event);
			(void)event_add(&sv->retry_event, &rest);
		}
		return;
	}
	gate_admit(&sv->gate, fd_steal(&fd));
}

/* --connect: 0 if we are connected, 1 if it will be tried again, or a negative
 * errno. */
static int
try_to_connect(struct supervisor *sv)
{
	int rc = listener_connect(&sv->listener, sv->options->connect);

	if ((rc != -ENOENT && rc != -ECONNREFUSED && rc != -EAGAIN) ||
	    ++sv->tries == TRIES_MAX)
		return rc;
	if (sv->tries == 1)
		log_info("waiting for a front-end to listen on %s",
		    sv->options->connect);
	(void)event_add(&sv->retry_event, &between_tries);
	return 1;
}

/* Make or find the socket. As try_to_connect(). */
static int
find_door(struct supervisor *sv)
{
	const struct options *o = sv->options;
	int rc;

	if (o->fd >= 0)
		return 0;
	if (o->connect != NULL) {
		rc = try_to_connect(sv);
		if (rc < 0)
			log_error(
			    "--connect=%s: %s", o->connect, strerror(-rc));
		return rc;
	}
	rc = listener_open_path(&sv->listener, o->socket_path);
	if (rc < 0)
		log_error(
		    "--socket-path=%s: %s", o->socket_path, strerror(-rc));
	else
		log_info("listening on %s", o->socket_path);
	return rc;
}

/* All that takes privileges has been done. */
static bool
confine(const struct supervisor *sv)
{
	/* Where its socket goes at the end. */
	AUTO_FD int dir = listener_directory(&sv->listener);
	const char *stage;
	int rc = sandbox_enter_supervisor(dir < 0 ? -1 : dir, &stage);

	if (rc < 0)
		log_error(
		    "the supervisor's sandbox: %s: %s", stage, strerror(-rc));
	return rc == 0;
}

/* The first worker is confined: let front-ends in. */
static void
open_door(struct supervisor *sv)
{
	int rc = find_door(sv);

	if (rc == 0 && !confine(sv))
		rc = -EPERM;

	(void)event_del(&sv->deadline_event);
	if (rc < 0)
		finish(sv, EXIT_FAILURE);
	if (rc != 0)
		return;
	sv->open = true;
	if (sv->listener.connected) {
		gate_admit(&sv->gate, fd_steal(&sv->listener.fd));
		if (sv->conns == 0)
			finish(sv, EXIT_FAILURE);
		return;
	}
	(void)event_assign(&sv->accept_event, sv->base, sv->listener.fd,
	    EV_READ | EV_PERSIST, accept_ready, sv);
	(void)event_add(&sv->accept_event, NULL);
}

/* --- the end of workers -------------------------------------------------- */

/* What a signal that ends a worker tells an operator. */
static const char *
signal_meaning(int signo)
{
	switch (signo) {
	case SIGSYS:
		return ": it made a system call that its seccomp filter "
		       "forbids";
	case SIGBUS:
		return ": the front-end took memory away that it had shared";
	case SIGSEGV:
	case SIGILL:
	case SIGABRT:
	case SIGFPE:
		return ": a bug, please report it";
	default:
		return "";
	}
}

static void
log_end(const struct supervisor *sv, const struct worker_entry *w, int status)
{
	if (WIFSIGNALED(status)) {
		if (sv->ending && WTERMSIG(status) == SIGKILL) {
			if (w->conn != 0)
				log_warn("%s: closed: its front-end was still "
					 "there",
				    who(w));
		} else {
			log_error("%s: worker %d killed by %s%s", who(w),
			    (int)w->pid, log_signal(WTERMSIG(status)),
			    signal_meaning(WTERMSIG(status)));
		}
		return;
	}
	switch (WEXITSTATUS(status)) {
	case WORKER_EXIT_DONE:
		if (w->conn != 0)
			log_info("%s: front-end left", who(w));
		break;
	case WORKER_EXIT_BROKEN: /* the worker has said why */
		break;
	default:
		log_error("%s: worker %d failed with status %d", who(w),
		    (int)w->pid, WEXITSTATUS(status));
	}
}

/* Neither left by its front-end nor fed up with it. */
static bool
has_crashed(int status)
{
	return !WIFEXITED(status) ||
	       (WEXITSTATUS(status) != WORKER_EXIT_DONE &&
		   WEXITSTATUS(status) != WORKER_EXIT_BROKEN);
}

static void
worker_ended(struct supervisor *sv, struct worker_entry *w, int status)
{
	bool well =
	    WIFEXITED(status) && WEXITSTATUS(status) == WORKER_EXIT_DONE;

	/* What it has said is still in the channel, up to what that holds.
	 * Not for ever: it may have given its end away. */
	for (unsigned i = 0; i < LAST_WORDS && w->chan >= 0; i++)
		worker_ready(w->chan, EV_READ, sv);
	report_swallowed(w);
	log_end(sv, w, status);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		kmsg_explain(&sv->kmsg, who(w), w->pid);
	if (w->conn != 0 && has_crashed(status))
		gate_crashed(&sv->gate, &w->front_end);
	hang_up(w);
	w->state = WORKER_FREE;

	if (!sv->open && !sv->ending) {
		log_error("the first worker did not start; nothing is served");
		finish(sv, EXIT_FAILURE);
		return;
	}
	if ((w->conn == 0 || !w->ready) && !well)
		sv->pause = sv->pause == 0	     ? PAUSE_FIRST
			    : sv->pause < PAUSE_MOST ? sv->pause * 2
						     : PAUSE_MOST;
	if (!expects_more(sv) && count(sv, WORKER_SERVING) == 0) {
		finish(sv, (well || sv->ending) && !sv->broken ? EXIT_SUCCESS
							       : EXIT_FAILURE);
		return;
	}
	spare_wanted(sv);
}

/* Nothing can be started any more: serve those who are there. */
static void
spawner_ended(struct supervisor *sv)
{
	sv->spawner.pid = 0;
	log_error("the spawner was ended from outside: no front-end is let in "
		  "any more; start " PACKAGE_NAME " again");
	sv->broken = true;
	if (sv->open && sv->listener.fd >= 0)
		(void)event_del(&sv->accept_event);
	close_door(sv);
	if (count(sv, WORKER_SERVING) == 0)
		finish(sv, EXIT_FAILURE);
}

static void
child_ready(evutil_socket_t signo, short what, void *arg)
{
	struct supervisor *sv = arg;
	int status;
	pid_t pid;

	(void)signo;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == sv->spawner.pid)
			spawner_ended(sv);
		for (unsigned i = 0; i < WORKERS_MAX; i++)
			if (sv->workers[i].state != WORKER_FREE &&
			    sv->workers[i].pid == pid)
				worker_ended(sv, &sv->workers[i], status);
	}
}

/* --- the end ------------------------------------------------------------- */

static void
deadline_ready(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *sv = arg;

	(void)fd;
	(void)what;
	if (!sv->ending) {
		log_error("the first worker was not ready within %lld s",
		    (long long)first_ready(sv));
		finish(sv, EXIT_FAILURE);
		return;
	}
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (sv->workers[i].state != WORKER_FREE)
			(void)kill(sv->workers[i].pid, SIGKILL);
}

static void
end_ready(evutil_socket_t signo, short what, void *arg)
{
	struct supervisor *sv = arg;

	(void)what;
	if (sv->ending) {
		/* Asked twice: at once. */
		deadline_ready(-1, EV_TIMEOUT, sv);
		return;
	}
	log_info("ending on %s", log_signal((int)signo));
	sv->ending = true;
	if (sv->open && sv->listener.fd >= 0)
		(void)event_del(&sv->accept_event);
	close_door(sv);
	gate_close(&sv->gate);
	/* Workers without a front-end end when their channel closes; the
	 * others when their front-end leaves, or at the deadline. */
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (sv->workers[i].state == WORKER_STARTING ||
		    sv->workers[i].state == WORKER_SPARE)
			hang_up(&sv->workers[i]);
	(void)event_add(&sv->deadline_event, &grace);
	if (count(sv, WORKER_FREE) == WORKERS_MAX)
		finish(sv, EXIT_SUCCESS);
}

/* --- start --------------------------------------------------------------- */

static int
make_regions(struct supervisor *sv)
{
	static const char *const access[] = {
		[MEMORY_READ_WRITE] = "",
		[MEMORY_READ_ONLY] = ", read-only",
		[MEMORY_COPY] = ", a copy for each front-end",
	};

	for (unsigned i = 0; i < sv->options->nregions; i++) {
		const struct region_spec *spec = &sv->options->regions[i];
		const char *what;
		int rc = region_create(&sv->regions[i], spec, &what);

		if (rc < 0) {
			log_error("region %s: %s: %s", spec->name, what,
			    strerror(-rc));
			return rc;
		}
		log_info("region %s: %llu bytes%s%s%s", spec->name,
		    (unsigned long long)spec->size,
		    spec->image != NULL ? ", loaded from " : "",
		    spec->image != NULL ? spec->image : "",
		    access[spec->access]);
	}
	return 0;
}

/* What can be said to be wrong before anything is made. */
static int
check_door(struct supervisor *sv)
{
	const struct options *o = sv->options;
	int rc;

	sv->listener.fd = -1;
	sv->program = spawn_open(o->worker);
	if (sv->program < 0) {
		log_error("--worker=%s: %s", o->worker, strerror(-sv->program));
		return sv->program;
	}
	if (o->fd >= 0) {
		rc = listener_open_fd(&sv->listener, o->fd);
		if (rc < 0)
			log_error("--fd=%d: %s", o->fd,
			    rc == -EPROTOTYPE ? "not a UNIX stream socket"
					      : strerror(-rc));
		return rc;
	}
	if (o->connect != NULL)
		return 0;
	rc = listener_check_path(o->socket_path);
	if (rc == -EADDRINUSE)
		log_error("--socket-path=%s: another program is listening "
			  "there",
		    o->socket_path);
	else if (rc == -EEXIST)
		log_error("--socket-path=%s: there is a file that is not a "
			  "socket",
		    o->socket_path);
	else if (rc < 0)
		log_error(
		    "--socket-path=%s: %s", o->socket_path, strerror(-rc));
	return rc;
}

static int
start_spawner(struct supervisor *sv)
{
	bool root = sv->options->change_ids;
	const char *what = root ? sandbox_lacks() : NULL;
	int rc;

	if (what != NULL) {
		log_error("started by root without %s: give it that, or start "
			  "it as an ordinary user",
		    what);
		return -EPERM;
	}
	rc = spawner_start(&sv->spawner, sv->program, root, &what);
	if (rc < 0)
		log_error("the spawner: %s: %s", what, strerror(-rc));
	fd_closep(&sv->program);
	return rc;
}

static int
add_events(struct supervisor *sv)
{
	struct timeval deadline = { .tv_sec = first_ready(sv) };

	kmsg_open(&sv->kmsg, sv->base);
	gate_init(&sv->gate, sv->base, sv->options->uid,
	    !sv->options->change_ids, serve, sv);
	(void)event_assign(&sv->retry_event, sv->base, -1, 0, retry_ready, sv);
	(void)event_assign(
	    &sv->deadline_event, sv->base, -1, 0, deadline_ready, sv);
	(void)evsignal_assign(
	    &sv->term_event, sv->base, SIGTERM, end_ready, sv);
	(void)evsignal_assign(&sv->int_event, sv->base, SIGINT, end_ready, sv);
	(void)evsignal_assign(
	    &sv->child_event, sv->base, SIGCHLD, child_ready, sv);
	return event_add(&sv->term_event, NULL) < 0 ||
		       event_add(&sv->int_event, NULL) < 0 ||
		       event_add(&sv->child_event, NULL) < 0 ||
		       event_add(&sv->deadline_event, &deadline) < 0
		   ? -ENOMEM
		   : 0;
}

/* Close everything that is ours; end workers that are left. */
static void
clean_up(struct supervisor *sv)
{
	close_door(sv);
	gate_close(&sv->gate);
	kmsg_close(&sv->kmsg);
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (sv->workers[i].state != WORKER_FREE) {
			hang_up(&sv->workers[i]);
			(void)kill(sv->workers[i].pid, SIGKILL);
			(void)waitpid(sv->workers[i].pid, NULL, 0);
		}
	for (unsigned i = 0; i < sv->options->nregions; i++)
		fd_closep(&sv->regions[i].fd);
	fd_closep(&sv->program);
	spawner_stop(&sv->spawner);
	if (sv->base == NULL)
		return;
	(void)event_del(&sv->term_event);
	(void)event_del(&sv->int_event);
	(void)event_del(&sv->child_event);
	(void)event_del(&sv->retry_event);
	(void)event_del(&sv->deadline_event);
	event_base_free(sv->base);
	libevent_global_shutdown();
}

/* Whether the settings are of one device with regions of memory, which is put
 * into *o. */
static bool
one_device(const struct settings *s, struct options *o)
{
	const struct device_settings *d = &s->devices[0];

	if (s->ndevices != 1 || d->nshm > OPTIONS_REGIONS_MAX) {
		log_error("%u devices: one is served so far", s->ndevices);
		return false;
	}
	*o = (struct options){ .socket_path = d->socket,
		.fd = d->fd,
		.connect = d->connect,
		.profile = d->profile,
		.device = d->type,
		.nregions = d->nshm,
		.virtio_without = d->virtio_without,
		.once = s->once,
		.message_timeout = d->message_timeout,
		.strict = s->strict,
		.change_ids = s->change_ids,
		.uid = s->uid,
		.gid = s->gid,
		.user = s->user,
		.worker = s->worker };
	for (unsigned i = 0; i < d->nshm; i++) {
		const struct region_settings *r = &s->regions[d->shm[i].region];

		o->regions[i] = (struct region_spec){ .shmid = d->shm[i].shmid,
			.size = r->size,
			.image = r->image,
			.access = d->shm[i].access,
			.fallback_copy = d->shm[i].fallback_copy };
		memcpy(o->regions[i].name, r->name, sizeof(r->name));
		if (r->file == NULL && r->access == d->shm[i].access)
			continue;
		if (r->file != NULL || r->access != MEMORY_READ_ONLY) {
			log_error("region %s: what it is is not served so far",
			    r->name);
			return false;
		}
	}
	return true;
}

int
supervisor_run(const struct settings *settings)
{
	static struct supervisor sv;
	static struct options made;
	const struct options *options = &made;

	if (!one_device(settings, &made))
		return EXIT_FAILURE;

	sv.options = options;
	sv.status = EXIT_FAILURE;
	sv.spawner.sock = -1;
	sv.kmsg.fd = -1;
	for (unsigned i = 0; i < OPTIONS_REGIONS_MAX; i++)
		sv.regions[i].fd = -1;
	if (check_door(&sv) == 0 && start_spawner(&sv) == 0 &&
	    make_regions(&sv) == 0) {
		log_info("version %s, started by %s: workers run as %s",
		    PACKAGE_VERSION,
		    options->change_ids ? "root" : "an ordinary user",
		    options->user);
		sv.base = loop_new();
		if (sv.base != NULL && add_events(&sv) == 0 &&
		    start_worker(&sv) != NULL)
			(void)event_base_dispatch(sv.base);
		else
			log_error("the event loop cannot be made");
	}
	clean_up(&sv);
	return sv.status;
}
