/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The workers; see crew.h. */
#include "config.h"

#include "daemon/supervisor/crew.h"

#include "daemon/common/log.h"
#include "daemon/common/loop.h"
#include "daemon/common/peerfd.h"
#include "daemon/common/rights.h"
#include "daemon/supervisor/discard.h"
#include "proto/fd.h"
#include "sandbox/layers.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
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

unsigned
crew_count(const struct crew *crew, enum worker_state state)
{
	unsigned n = 0;

	for (unsigned i = 0; i < WORKERS_MAX; i++)
		n += crew->workers[i].state == state;
	return n;
}

unsigned
crew_count_device(const struct crew *crew, uint32_t device)
{
	unsigned n = 0;

	for (unsigned i = 0; i < WORKERS_MAX; i++)
		n += crew->workers[i].state == WORKER_SERVING &&
		     crew->workers[i].device->info.id == device;
	return n;
}

struct worker_entry *
crew_find(struct crew *crew, unsigned conn)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (crew->workers[i].state == WORKER_SERVING &&
		    crew->workers[i].conn == conn)
			return &crew->workers[i];
	return NULL;
}

static struct worker_entry *
find(struct crew *crew, enum worker_state state)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (crew->workers[i].state == state)
			return &crew->workers[i];
	return NULL;
}

/* One without a connection that can still be told something. */
static struct worker_entry *
find_idle(struct crew *crew, enum worker_state state)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (crew->workers[i].state == state &&
		    crew->workers[i].chan >= 0)
			return &crew->workers[i];
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
	priv_end_text(line->text, sizeof(line->text));
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
	/* What it has sent and we have not read goes, too. */
	discard(&w->chan);
}

void
crew_layers(uint32_t missing, char *text, size_t size)
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
on_ready(
    struct crew *crew, struct worker_entry *w, const struct priv_ready *ready)
{
	char missing[160];

	w->ready = true;
	w->layers = *ready;
	if (w->conn != 0)
		crew->pause = 0;
	if (w->state == WORKER_STARTING)
		w->state = WORKER_SPARE;
	crew_layers(ready->missing, missing, sizeof(missing));
	log_info("worker %d: confined as %s, no capabilities, seccomp filter "
		 "loaded (%u rules), %s",
	    (int)w->pid, crew->settings->user, ready->rules, missing);
	crew->ready(crew->ctx, w);
}

/* Returns false if this message has no place here. */
static bool
on_message(struct crew *crew, struct worker_entry *w, struct priv_msg *msg)
{
	switch (msg->type) {
	case PRIV_LOG:
		on_log(w, &msg->u.log);
		return true;
	case PRIV_READY:
		if (w->ready)
			return false;
		on_ready(crew, w, &msg->u.ready);
		return true;
	case PRIV_STATUS:
		/* Late, or not asked for: nobody waits for it. */
		if (!w->asked)
			return true;
		w->status = msg->u.status;
		w->asked = false;
		w->answered = true;
		crew->answered(crew->ctx);
		return true;
	default:
		return false;
	}
}

/* What a worker sends may have descriptors, which are closed unseen. */
static int
receive(int chan, struct priv_msg *msg)
{
	int none[PRIV_REGIONS_MAX], rc;

	peerfd_begin();
	rc = priv_recv(chan, PRIV_TO_SUPERVISOR, false, msg, none);
	peerfd_end();
	return rc;
}

static void
worker_ready(evutil_socket_t chan, short what, void *arg)
{
	struct crew *crew = arg;
	struct worker_entry *w = NULL;

	(void)what;
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (crew->workers[i].state != WORKER_FREE &&
		    crew->workers[i].chan == chan)
			w = &crew->workers[i];
	for (unsigned i = 0; w != NULL && i < MESSAGES_MAX; i++) {
		struct priv_msg msg;
		int rc = receive(chan, &msg);

		if (rc == -EAGAIN)
			return;
		if (rc == 1 && on_message(crew, w, &msg))
			continue;
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

unsigned
crew_ask(struct crew *crew)
{
	unsigned n = 0;

	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		struct worker_entry *w = &crew->workers[i];
		struct priv_msg msg = { 0 };

		w->answered = false;
		w->asked = w->state == WORKER_SERVING && w->chan >= 0 &&
			   priv_send(w->chan, PRIV_ASK, &msg, NULL, 0) == 0;
		n += w->asked;
	}
	return n;
}

/* --- starting workers ---------------------------------------------------- */

/* Whether the device has regions that a confined worker could not copy. */
static bool
has_copies(const struct device *device)
{
	for (unsigned i = 0; i < device->nshm; i++)
		if (device->shm[i].access == MEMORY_COPY)
			return true;
	return false;
}

/*
 * The channel to whoever makes flushes of this device reach the disk goes to
 * *chan, the caller's; or -1 if there is none. Only a pmem device has flushes,
 * and one region. Of a flusher that has ended it is one that is closed at the
 * other end: FLUSH fails, as it does for those who were there before. Returns 0
 * or a negative errno: -EAGAIN if the flusher has not taken those before us.
 */
static int
flush_channel(const struct device *device, int *chan)
{
	const struct served_shm *shm = &device->shm[0];
	struct priv_msg msg = { 0 };
	int pair[2], rc;

	*chan = -1;
	if (device->info.device.type != DEVICE_PMEM ||
	    shm->access != MEMORY_READ_WRITE || shm->region->flusher < 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, pair) < 0)
		return -errno;
	msg.u.client.max_flushes = device->info.max_flushes;
	rights_block(pair[1]);
	rc = priv_send(shm->region->flusher, PRIV_CLIENT, &msg, &pair[1], 1);
	fd_closep(&pair[1]);
	if (rc < 0 && rc != -EPIPE && rc != -ECONNRESET) {
		fd_closep(&pair[0]);
		return rc;
	}
	*chan = pair[0];
	return 0;
}

static int
send_regions(const struct worker_entry *w, const struct device *device)
{
	int rc = 0;

	for (unsigned i = 0, n; i < device->nshm && rc == 0; i += n) {
		struct priv_msg msg = { 0 };
		int fds[PRIV_REGIONS_MAX];

		for (n = 0; n < PRIV_REGIONS_MAX && i + n < device->nshm; n++) {
			const struct served_shm *shm = &device->shm[i + n];
			struct priv_region *r = &msg.u.regions.region[n];

			r->shmid = shm->shmid;
			r->size = shm->region->info.size;
			r->access = shm->access;
			fds[n] = shm->access == MEMORY_READ_WRITE
				     ? shm->region->fd
				     : shm->region->read_fd;
		}
		msg.u.regions.n = n;
		rc = priv_send(w->chan, PRIV_REGIONS, &msg, fds, n);
	}
	return rc;
}

static int
send_device(
    const struct worker_entry *w, const struct device *device, int flush)
{
	struct priv_msg msg = { 0 };
	int rc;

	msg.u.device = device->info.device;
	msg.u.device.nregions = device->nshm;
	msg.u.device.sync = flush >= 0;
	rc = priv_send(w->chan, PRIV_DEVICE, &msg, NULL, 0);
	if (rc == 0)
		rc = send_regions(w, device);
	memset(&msg, 0, sizeof(msg));
	if (rc == 0 && flush >= 0)
		rc = priv_send(w->chan, PRIV_SYNC, &msg, &flush, 1);
	return rc;
}

static int
send_setup(const struct crew *crew, const struct worker_entry *w, bool copies)
{
	const struct settings *s = crew->settings;
	struct priv_msg msg = { 0 };

	msg.u.setup.change_ids = s->change_ids;
	msg.u.setup.strict = s->strict;
	msg.u.setup.uid = s->uid;
	msg.u.setup.gid = s->gid;
	msg.u.setup.log_level = (uint32_t)log_get_level();
	msg.u.setup.copies = copies;
	return priv_send(w->chan, PRIV_SETUP, &msg, NULL, 0);
}

static struct worker_entry *
start(struct crew *crew, bool copies)
{
	struct worker_entry *w = find(crew, WORKER_FREE);
	int rc;

	if (w == NULL) {
		log_error(
		    "no worker can be started: there are %u", WORKERS_MAX);
		return NULL;
	}
	memset(w, 0, sizeof(*w));
	w->pid = spawn_worker(&crew->spawner, &w->chan);
	if (w->pid < 0) {
		log_error("no worker can be started: %s", strerror(-w->pid));
		return NULL;
	}
	w->state = WORKER_STARTING;
	(void)event_assign(&w->event, crew->base, w->chan, EV_READ | EV_PERSIST,
	    worker_ready, crew);
	rights_block(w->chan);
	rc = send_setup(crew, w, copies);
	if (rc == 0 && event_add(&w->event, NULL) < 0)
		rc = -ENOMEM;
	if (rc < 0) {
		log_error("%s: set-up not sent: %s", who(w), strerror(-rc));
		(void)kill(w->pid, SIGKILL);
	}
	return w;
}

struct worker_entry *
crew_start_spare(struct crew *crew)
{
	return start(crew, false);
}

/* A worker that can serve the device. */
static struct worker_entry *
one_for(struct crew *crew, const struct device *device)
{
	struct worker_entry *w;

	if (has_copies(device))
		return start(crew, true);
	w = find_idle(crew, WORKER_SPARE);
	/* One that is starting takes the connection when it is confined. */
	if (w == NULL)
		w = find_idle(crew, WORKER_STARTING);
	return w != NULL ? w : start(crew, false);
}

/* The connection becomes the worker's alone, before that hears its front-end or
 * can end by it: see PRIV_BEGIN. */
static int
connect_to(const struct worker_entry *w, int *fd)
{
	struct priv_msg msg = { 0 };
	int rc = priv_send(w->chan, PRIV_CONNECT, &msg, fd, 1);

	if (rc < 0)
		return rc;
	rights_pass(*fd);
	fd_closep(fd);
	return priv_send(w->chan, PRIV_BEGIN, &msg, NULL, 0);
}

struct worker_entry *
crew_hand_over(struct crew *crew, struct device *device, int *fd,
    const struct front_end *front_end)
{
	AUTO_FD int flush = -1;
	struct worker_entry *w;
	int rc = flush_channel(device, &flush);

	if (rc < 0) {
		log_error("a front-end was turned away: region %s: its flusher "
			  "does not answer: %s",
		    device->shm[0].region->info.name, strerror(-rc));
		return NULL;
	}
	w = one_for(crew, device);
	if (w == NULL) {
		log_error("a front-end was turned away: no worker for it");
		return NULL;
	}
	rc = send_device(w, device, flush);
	if (rc == 0)
		rc = connect_to(w, fd);
	if (rc < 0) {
		log_error("%s: connection not handed over: %s", who(w),
		    strerror(-rc));
		/* Half told, it is of no use to the next one. */
		hang_up(w);
		(void)kill(w->pid, SIGKILL);
		return NULL;
	}
	w->state = WORKER_SERVING;
	w->conn = ++crew->conns;
	w->front_end = *front_end;
	w->device = device;
	w->since = loop_now();
	served_hold(device);
	device->served++;
	if (w->ready)
		crew->pause = 0;
	return w;
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
log_end(const struct crew *crew, const struct worker_entry *w, int status)
{
	if (WIFSIGNALED(status)) {
		if (crew->ending && WTERMSIG(status) == SIGKILL) {
			if (w->conn != 0)
				log_warn("%s: closed: its front-end was still "
					 "there",
				    who(w));
		} else if (w->dismissed) {
			log_info("%s: disconnected by the operator", who(w));
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

bool
crew_reap(struct crew *crew, pid_t pid, int status, struct crew_end *end)
{
	struct worker_entry *w = crew->workers;

	while (w < crew->workers + WORKERS_MAX &&
	       (w->state == WORKER_FREE || w->pid != pid))
		w++;
	if (w == crew->workers + WORKERS_MAX)
		return false;
	/* What it has said is still in the channel, up to what that holds.
	 * Not for ever: it may have given its end away. */
	for (unsigned i = 0; i < LAST_WORDS && w->chan >= 0; i++)
		worker_ready(w->chan, EV_READ, crew);
	report_swallowed(w);
	log_end(crew, w, status);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		kmsg_explain(&crew->kmsg, who(w), w->pid);
	hang_up(w);
	*end = (struct crew_end){
		.worker = w,
		.conn = w->conn,
		.device = w->state == WORKER_SERVING ? w->device : NULL,
		.front_end = w->front_end,
		.ready = w->ready,
		.well = WIFEXITED(status) &&
			WEXITSTATUS(status) == WORKER_EXIT_DONE,
		.crashed = has_crashed(status) && !w->dismissed,
	};
	w->state = WORKER_FREE;
	if (w->asked)
		crew->answered(crew->ctx);
	return true;
}

void
crew_dismiss(struct worker_entry *w)
{
	w->dismissed = true;
	(void)kill(w->pid, SIGKILL);
}

void
crew_dismiss_idle(struct crew *crew)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (crew->workers[i].state == WORKER_STARTING ||
		    crew->workers[i].state == WORKER_SPARE)
			hang_up(&crew->workers[i]);
}

void
crew_kill_all(struct crew *crew)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (crew->workers[i].state != WORKER_FREE)
			(void)kill(crew->workers[i].pid, SIGKILL);
}

void
crew_close(struct crew *crew)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		struct worker_entry *w = &crew->workers[i];

		if (w->state == WORKER_FREE)
			continue;
		hang_up(w);
		(void)kill(w->pid, SIGKILL);
		(void)waitpid(w->pid, NULL, 0);
		w->state = WORKER_FREE;
	}
	kmsg_close(&crew->kmsg);
}
