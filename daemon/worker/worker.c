/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The worker; see worker.h. Its life:
 *
 *   take SETUP -> make the event loop -> sandbox_enter() -> READY -> DEVICE and
 *   REGIONS say what it will be -> CONNECT brings the front-end's socket ->
 *   BEGIN: serve -> exit
 *
 * Until DEVICE it is good for any device, so that one spare is enough. Where
 * regions have to be copied, which a confined worker cannot, DEVICE comes
 * before the sandbox.
 *
 * What it allocates, it allocates before the sandbox closes, but for what
 * libevent needs to watch one more descriptor.
 */
#include "config.h"

#include "daemon/worker/worker.h"

#include "daemon/common/device_kind.h"
#include "daemon/common/limits.h"
#include "daemon/common/log.h"
#include "daemon/common/loop.h"
#include "daemon/common/memory.h"
#include "daemon/common/priv.h"
#include "daemon/common/profile.h"
#include "daemon/worker/pmem.h"
#include "daemon/worker/raw.h"
#include "proto/fd.h"
#include "proto/session.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Descriptors besides those of rings and of one memory table on its way in:
 * standard ones, channel, event loop, front-end, back-end channel, regions. */
#define OTHER_FDS 32U
/* How long a front-end can make us sit in a system call. */
#define ALARM_SECONDS 5
/* Bytes of memory for what is allocated while front-ends are served. */
#define MEMORY_RESERVED (1U << 20)

struct worker {
	struct event_base *base;
	struct event priv_event;  /* messages of the supervisor */
	struct event front_read;  /* the front-end's socket */
	struct event front_write; /* added while a reply waits */
	struct event backend_read;
	struct event backend_write;
	struct event kick[VUS_RINGS_MAX];
	struct event state;   /* the pipe of a device state */
	struct event work;    /* due at once while work is left */
	struct event flushed; /* the flusher's answers */
	struct event half;    /* due when a message took too long to arrive */
	unsigned long long half_of; /* the message it is about */
	struct event half_answer;   /* the same on the back-end channel */
	unsigned long long half_answer_of;
	struct timeval half_after;
	int front_end;	 /* owned, from CONNECT until BEGIN; else -1 */
	int flusher;	 /* owned; -1: FLUSH has nothing to do */
	uint32_t syncs;	 /* asked of it */
	bool sync_fails; /* it has gone: to be told as soon as that can be */
	bool has_device;
	bool connected;
	uint32_t regions_due;
	enum worker_exit_status status;
	unsigned lost; /* log lines that the channel had no room for */
	struct priv_device setup;
	struct vus_host host;
	struct vus_device_type type; /* of a raw device: it is what was asked */
	struct vus_device device;
	struct vus_session session;
};

/* One worker per process. Static: nothing of it is allocated. */
static struct worker the_worker;

static_assert(UNREAD_FDS_MAX == VUS_UNREAD_MAX,
    "what the supervisor reckons with is what a session leaves");

static void __attribute__((noreturn))
worker_exit(enum worker_exit_status status)
{
	/* Not exit(): its handlers may call what the filter forbids. */
	_exit((int)status);
}

/* --- log ----------------------------------------------------------------- */

static_assert((int)LOG_ERROR == (int)VUS_LOG_ERR &&
		  (int)LOG_WARN == (int)VUS_LOG_WARN &&
		  (int)LOG_INFO == (int)VUS_LOG_INFO &&
		  (int)LOG_DEBUG == (int)VUS_LOG_DEBUG,
    "the levels of proto/ are those of the log");

/* Send one line. False if there is no room, or no supervisor, for it. */
static bool
send_line(enum vus_log_level level, const char *text)
{
	struct priv_msg msg = { .u.log.level = (uint32_t)level };

	(void)snprintf(msg.u.log.text, sizeof(msg.u.log.text), "%s", text);
	return priv_send(PRIV_WORKER_FD, PRIV_LOG, &msg, NULL, 0) == 0;
}

/* Own up to lines that had no room. */
static void
report_lost(struct worker *w)
{
	char text[40];

	if (w->lost == 0)
		return;
	(void)snprintf(text, sizeof(text), "%u lines were lost here", w->lost);
	if (send_line(VUS_LOG_WARN, text))
		w->lost = 0;
}

/* A supervisor that is slow or gone must not hold a guest up: lines for which
 * there is no room are lost, and counted. */
static void
worker_log(void *ctx, enum vus_log_level level, const char *text)
{
	struct worker *w = ctx;

	report_lost(w);
	if (!send_line(level, text))
		w->lost++;
}

static void __attribute__((noreturn, format(printf, 1, 2)))
setup_failed(const char *format, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	worker_log(&the_worker, VUS_LOG_ERR, text);
	worker_exit(WORKER_EXIT_SETUP);
}

/* --- the session's events ------------------------------------------------ */

/* Leave the event loop, and then the program. */
static void
leave(struct worker *w, enum worker_exit_status status)
{
	w->status = status;
	(void)event_base_loopbreak(w->base);
}

/* Whoever begins a message has to end it, and not byte by byte for ever; and
 * whoever sends messages has to read the replies. */
static void
watch_half_message(struct worker *w)
{
	if (!vus_session_mid_message(&w->session) &&
	    !vus_session_wants_write(&w->session)) {
		(void)event_del(&w->half);
	} else if (!event_pending(&w->half, EV_TIMEOUT, NULL) ||
		   w->half_of != w->session.messages) {
		w->half_of = w->session.messages;
		(void)event_add(&w->half, &w->half_after);
	}
}

/* The same on the back-end channel. */
static void
watch_half_answer(struct worker *w)
{
	if (!vus_session_mid_answer(&w->session)) {
		(void)event_del(&w->half_answer);
	} else if (!event_pending(&w->half_answer, EV_TIMEOUT, NULL) ||
		   w->half_answer_of != w->session.answers) {
		w->half_answer_of = w->session.answers;
		(void)event_add(&w->half_answer, &w->half_after);
	}
}

static void
half_ready(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	const char *why = "half a message, and no more";

	(void)fd;
	(void)what;
	if (vus_session_wants_write(&w->session))
		why = "replies are not read, and have not been";
	else if (w->session.transfer.check_due)
		why = "CHECK_DEVICE_STATE of half a device state, and no more";
	vus_log(&w->session, VUS_LOG_WARN, "connection closed: %s for %lld s",
	    why, (long long)w->half_after.tv_sec);
	leave(w, WORKER_EXIT_BROKEN);
}

static void
half_answer_ready(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	vus_session_answer_late(&w->session);
}

/* Do what a call of the session has asked for, and watch what it wants. */
static void
after(struct worker *w, enum vus_next next)
{
	static const struct timeval now = { 0, 0 }, a_ms = { 0, 1000 };
	struct vus_session *s = &w->session;

	switch (next) {
	case VUS_NEXT_CLOSED:
		leave(w, WORKER_EXIT_DONE);
		return;
	case VUS_NEXT_BROKEN:
		leave(w, WORKER_EXIT_BROKEN);
		return;
	case VUS_NEXT_WORK:
		/* By a timeout, so that libevent looks at the descriptors
		 * in between: rings take turns with messages. */
		(void)event_add(&w->work, &now);
		break;
	case VUS_NEXT_POLL:
		if (!event_pending(&w->work, EV_TIMEOUT, NULL))
			(void)event_add(&w->work, &a_ms);
		break;
	case VUS_NEXT_WAIT:
		break;
	}
	watch_half_message(w);
	watch_half_answer(w);
	/* While a reply waits no request is read: back-pressure. */
	if (vus_session_wants_write(s) !=
	    (event_pending(&w->front_write, EV_WRITE, NULL) != 0)) {
		if (vus_session_wants_write(s)) {
			(void)event_del(&w->front_read);
			(void)event_add(&w->front_write, NULL);
		} else {
			(void)event_del(&w->front_write);
			(void)event_add(&w->front_read, NULL);
		}
	}
	if (vus_session_backend_wants_write(s) &&
	    event_pending(&w->backend_write, EV_WRITE, NULL) == 0)
		(void)event_add(&w->backend_write, NULL);
}

static void
front_read_ready(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	after(w, vus_session_readable(&w->session));
}

static void
front_write_ready(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	after(w, vus_session_writable(&w->session));
}

static void
backend_ready(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	after(w, vus_session_backend_ready(&w->session));
}

static void
kick_ready(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = &the_worker;
	const struct event *ev = arg;

	(void)fd;
	(void)what;
	after(w, vus_session_kicked(&w->session, (unsigned)(ev - w->kick)));
}

static void
state_ready(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	after(w, vus_session_state_ready(&w->session));
}

static void
work_ready(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	if (w->sync_fails) {
		w->sync_fails = false;
		after(w, vus_session_synced(&w->session, -EIO));
	}
	after(w, vus_session_work(&w->session));
}

/* --- flushes ------------------------------------------------------------- */

static uint64_t
worker_now(void *ctx)
{
	struct timespec now;

	(void)ctx;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* Nothing that was not told by now will ever be. */
static void
flusher_gone(struct worker *w)
{
	static const struct timeval now = { 0, 0 };

	if (w->flusher >= 0) {
		worker_log(w, VUS_LOG_ERR,
		    "the flusher of its region has ended: no FLUSH succeeds");
		(void)event_del(&w->flushed);
		fd_closep(&w->flusher);
	}
	/* Not from within the session: it may be about to begin a sync. */
	w->sync_fails = true;
	(void)event_add(&w->work, &now);
}

static void
worker_sync(void *ctx)
{
	struct worker *w = ctx;
	struct priv_flush message = { .number = ++w->syncs };

	if (w->flusher < 0 ||
	    write(w->flusher, &message, sizeof(message)) != sizeof(message))
		flusher_gone(w);
}

static void
flushed_ready(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct priv_flush message;
	ssize_t n = read(fd, &message, sizeof(message));

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(message) || message.number != w->syncs)
		flusher_gone(w);
	else
		after(w, vus_session_synced(&w->session, message.rc));
}

/* Watch fd for reading with ev, or nothing if it is -1. */
static void
rearm(struct worker *w, struct event *ev, int fd, short what,
    event_callback_fn ready, void *arg)
{
	if (event_initialized(ev))
		(void)event_del(ev);
	if (fd < 0)
		return;
	(void)event_assign(ev, w->base, fd, what, ready, arg);
}

static void
worker_watch(void *ctx, enum vus_watch what, unsigned ring, int fd)
{
	struct worker *w = ctx;
	struct event *ev = NULL;

	switch (what) {
	case VUS_WATCH_BACKEND:
		rearm(w, &w->backend_write, fd, EV_WRITE, backend_ready, w);
		ev = &w->backend_read;
		rearm(w, ev, fd, EV_READ | EV_PERSIST, backend_ready, w);
		break;
	case VUS_WATCH_KICK:
		ev = &w->kick[ring];
		rearm(w, ev, fd, EV_READ | EV_PERSIST, kick_ready, ev);
		break;
	case VUS_WATCH_STATE_IN:
	case VUS_WATCH_STATE_OUT:
		ev = &w->state;
		rearm(w, ev, fd,
		    (short)((what == VUS_WATCH_STATE_IN ? EV_READ : EV_WRITE) |
			    EV_PERSIST),
		    state_ready, w);
		break;
	}
	if (fd >= 0 && event_add(ev, NULL) < 0)
		worker_log(w, VUS_LOG_WARN,
		    "a descriptor of the front-end cannot be watched");
}

/* --- the supervisor's messages ------------------------------------------- */

/* For a front-end that must be able to write, and may not write to a region: a
 * copy, which ends with its connection, in place of the region's fd. */
static int
copy_region(const struct priv_region *region, int fd)
{
	char name[sizeof(PACKAGE_NAME) + 32];
	const char *what;
	int copy, rc;

	(void)snprintf(
	    name, sizeof(name), PACKAGE_NAME ":copy-of-shm%u", region->shmid);
	copy = memory_create(name, region->size, &what);
	if (copy < 0)
		setup_failed("copy of shmid %u: %s: %s", region->shmid, what,
		    strerror(-copy));
	rc = memory_copy(copy, fd, region->size);
	if (rc == 0)
		rc = memory_seal(copy, false);
	if (rc < 0)
		setup_failed(
		    "copy of shmid %u: %s", region->shmid, strerror(-rc));
	fd_closep(&fd);
	return copy;
}

static void
take_region(struct worker *w, const struct priv_region *region, int fd)
{
	struct vus_region *shm;
	struct stat st;

	if (region->shmid >= VUS_SHMEM_MAX)
		setup_failed("region: no shmid %u", region->shmid);
	if (region->access == MEMORY_COPY)
		fd = copy_region(region, fd);
	if (fstat(fd, &st) < 0)
		setup_failed("region: %s", strerror(errno));
	shm = &w->device.shm[region->shmid];
	shm->size = region->size;
	shm->fd = fd;
	shm->dev = st.st_dev;
	shm->ino = st.st_ino;
	/* A copy is the front-end's own. */
	shm->writable = region->access != MEMORY_READ_ONLY;
}

static void
take_regions(struct worker *w, const struct priv_regions *regions, int *fds)
{
	if (regions->n > w->regions_due)
		setup_failed("%u regions too many", regions->n);
	for (uint32_t i = 0; i < regions->n; i++)
		take_region(w, &regions->region[i], fds[i]);
	w->regions_due -= regions->n;
}

static void
take_device(struct worker *w, const struct priv_device *device)
{
	if (profile_by_index(device->profile) == NULL)
		setup_failed("no profile %u", device->profile);
	if (device->type >= DEVICE_IDS)
		setup_failed("no device %u", device->type);
	if (device->queues < 1 || device->queues > VUS_RINGS_MAX ||
	    device->config_size > sizeof(w->device.config))
		setup_failed("a device of %u queues and %u bytes",
		    device->queues, device->config_size);
	w->setup = *device;
	w->has_device = true;
	w->regions_due = device->nregions;
}

/* Everything about the device is known. */
static void
make_session(struct worker *w)
{
	const struct profile *profile = profile_by_index(w->setup.profile);
	struct vus_dialect dialect = {
		.protocol_features = profile->protocol_features,
		.shmem_bit = profile->shmem_bit,
		.virtio_without =
		    profile->virtio_without | w->setup.virtio_without,
		.short_shmem_config = profile->short_shmem_config,
	};

	switch ((enum device_id)w->setup.type) {
	case DEVICE_PMEM:
		w->device.type = &pmem_type;
		pmem_configure(&w->device, w->device.shm[0].size);
		break;
	case DEVICE_RAW:
		w->type = raw_type;
		raw_configure(&w->type, &w->device, w->setup.queues,
		    w->setup.config, w->setup.config_size);
		w->device.type = &w->type;
		break;
	case DEVICE_IDS:
		break;
	}
	/* What it will not be asked for it does not hold. */
	if ((profile->protocol_features & VUS_BIT(VUS_F_INFLIGHT_SHMFD)) == 0)
		fd_closep(&w->host.inflight_fd);
	w->half_after.tv_sec = (time_t)w->setup.message_timeout;
	vus_session_init(&w->session, &w->device, &dialect, &w->host);
}

static void
connect_front_end(struct worker *w, int fd)
{
	make_session(w);
	vus_session_connect(&w->session, fd);
	w->connected = true;
	(void)event_assign(&w->front_read, w->base, fd, EV_READ | EV_PERSIST,
	    front_read_ready, w);
	(void)event_assign(&w->front_write, w->base, fd, EV_WRITE | EV_PERSIST,
	    front_write_ready, w);
	/* Not before there is a session: it may have gone already. */
	if (w->flusher >= 0)
		(void)event_assign(&w->flushed, w->base, w->flusher,
		    EV_READ | EV_PERSIST, flushed_ready, w);
	if (event_add(&w->front_read, NULL) < 0 ||
	    (w->flusher >= 0 && event_add(&w->flushed, NULL) < 0)) {
		worker_log(w, VUS_LOG_ERR, "connection closed: no memory");
		leave(w, WORKER_EXIT_BROKEN);
	}
}

/* What goes on, for the operator. */
static void
tell_status(const struct worker *w)
{
	const struct vus_session *s = &w->session;
	struct priv_msg msg = { 0 };
	struct priv_status *st = &msg.u.status;

	if (!w->connected)
		return;
	st->features = s->state.features;
	st->protocol_features = s->state.protocol_features;
	st->negotiated = s->state.features != 0;
	st->started = s->state.started;
	st->nrings = w->device.type->num_queues;
	for (unsigned i = 0; i < st->nrings; i++) {
		st->running |= (uint32_t)vus_ring_running(&s->ring[i]) << i;
		st->requests[i] = s->counters.ring[i].requests;
		st->calls[i] = s->counters.ring[i].calls;
	}
	st->flushes = s->counters.flushes;
	st->flush_errors = s->counters.flushes_failed;
	st->flush_ns = s->counters.flush_ns;
	st->flush_max_ns = s->counters.flush_ns_max;
	for (unsigned i = 0; i < VUS_SHMEM_MAX; i++)
		if (s->state.map[i] == VUS_MAP_DONE)
			st->mapped[i / 64] |= UINT64_C(1) << (i % 64);
	/* Without room it is not told: the supervisor does not wait long. */
	(void)!priv_send(PRIV_WORKER_FD, PRIV_STATUS, &msg, NULL, 0);
}

/* Carry out what the supervisor says once we are confined. False if it makes
 * no sense; fds that are taken are -1 then. */
static bool
obey(struct worker *w, const struct priv_msg *msg, int *fds)
{
	switch (msg->type) {
	case PRIV_DEVICE:
		if (w->has_device)
			return false;
		take_device(w, &msg->u.device);
		return true;
	case PRIV_REGIONS:
		if (w->connected)
			return false;
		take_regions(w, &msg->u.regions, fds);
		return true;
	case PRIV_SYNC:
		if (w->connected || w->flusher >= 0)
			return false;
		w->flusher = fds[0];
		w->device.sync = true;
		return true;
	case PRIV_CONNECT:
		if (w->front_end >= 0 || w->connected || !w->has_device ||
		    w->regions_due != 0 ||
		    w->device.sync != (w->setup.sync != 0))
			return false;
		w->front_end = fds[0];
		return true;
	case PRIV_BEGIN:
		if (w->front_end < 0)
			return false;
		connect_front_end(w, fd_steal(&w->front_end));
		return true;
	case PRIV_ASK:
		tell_status(w);
		return true;
	default:
		return false;
	}
}

static void
priv_ready(evutil_socket_t sock, short what, void *arg)
{
	struct worker *w = arg;
	struct priv_msg msg;
	int fds[PRIV_REGIONS_MAX];
	int rc = priv_recv(sock, PRIV_TO_WORKER, false, &msg, fds);

	(void)what;
	if (rc == -EAGAIN || (rc == 1 && obey(w, &msg, fds)))
		return;
	if (rc == 1)
		for (unsigned i = 0; i < PRIV_REGIONS_MAX; i++)
			fd_closep(&fds[i]);
	/* The supervisor has gone. A front-end's VM may die of a connection
	 * that closes, so serve it until it goes by itself. */
	(void)event_del(&w->priv_event);
	if (!w->connected)
		leave(w, WORKER_EXIT_DONE);
}

/*
 * Memory for GET_INFLIGHT_FD, whose largest size is known: once confined the
 * worker can make none. It takes up no room before it is used.
 */
static void
make_inflight(struct vus_host *host)
{
	const char *what;
	int rc;

	host->inflight_size = (uint64_t)VUS_RINGS_MAX * VUS_INFLIGHT_MAX;
	host->inflight_fd = rc =
	    memory_create("inflight", host->inflight_size, &what);
	if (rc >= 0)
		rc = memory_seal(host->inflight_fd, false);
	if (rc < 0)
		setup_failed("inflight buffer: %s", strerror(-rc));
}

/*
 * What libevent's tables will need at most: a thousand descriptors take 100
 * KiB. Once confined the worker gets no more memory. In C libraries without
 * these settings the filter lets it have some.
 */
static void
reserve_memory(void)
{
#if defined(M_TRIM_THRESHOLD) && !defined(SHMEMD_INSTRUMENTED)
	void *block;

	/* From one piece, which is kept when it is free. */
	if (mallopt(M_MMAP_MAX, 0) == 0 ||
	    mallopt(M_TRIM_THRESHOLD, INT_MAX) == 0 ||
	    (block = malloc(MEMORY_RESERVED)) == NULL)
		setup_failed("memory: %s", strerror(errno));
	free(block);
#endif
}

static void
on_alarm(int signo)
{
	(void)signo;
}

/*
 * A front-end shares the eventfds that it gives us, so they stay as they came:
 * to write to one that is full may mean to wait. A system call that sits on one
 * ends with EINTR at the next alarm: a guest that does this waits, but its
 * worker is there to see that its front-end has gone.
 */
static void
never_block_for_ever(void)
{
	struct sigaction action = { .sa_handler =
					on_alarm }; /* no SA_RESTART */
	struct itimerval every = {
		.it_interval.tv_sec = ALARM_SECONDS,
		.it_value.tv_sec = ALARM_SECONDS,
	};

	if (sigaction(SIGALRM, &action, NULL) < 0 ||
	    setitimer(ITIMER_REAL, &every, NULL) < 0)
		setup_failed("alarm: %s", strerror(errno));
}

/* Receive the next message of the supervisor, before the event loop runs. */
static void
expect(enum priv_type type, struct priv_msg *msg, int fds[PRIV_REGIONS_MAX])
{
	int rc = priv_recv(PRIV_WORKER_FD, PRIV_TO_WORKER, true, msg, fds);

	if (rc == 0)
		worker_exit(WORKER_EXIT_DONE); /* the supervisor has ended */
	if (rc != 1 || msg->type != type)
		setup_failed("message %u of the supervisor did not come, or "
			     "is one of another build",
		    (unsigned)type);
}

/* Take what the supervisor sends before anything else. */
static void
take_setup(struct worker *w, struct priv_setup *setup)
{
	struct priv_msg msg;
	int fds[PRIV_REGIONS_MAX];

	expect(PRIV_SETUP, &msg, fds);
	*setup = msg.u.setup;
	if (setup->copies == 0)
		return;
	expect(PRIV_DEVICE, &msg, fds);
	take_device(w, &msg.u.device);
	while (w->regions_due != 0) {
		expect(PRIV_REGIONS, &msg, fds);
		take_regions(w, &msg.u.regions, fds);
	}
}

/* Close all that was opened: what valgrind finds open then was lost. */
static void
clean_up(struct worker *w)
{
	if (w->connected)
		vus_session_close(&w->session);
	fd_closep(&w->host.inflight_fd);
	if (w->connected && w->flusher >= 0)
		(void)event_del(&w->flushed);
	fd_closep(&w->flusher);
	fd_closep(&w->front_end);
	report_lost(w);
	for (unsigned i = 0; i < VUS_SHMEM_MAX; i++)
		if (w->device.shm[i].size != 0)
			fd_closep(&w->device.shm[i].fd);
	if (w->connected) {
		(void)event_del(&w->front_read);
		(void)event_del(&w->front_write);
	}
	(void)event_del(&w->work);
	(void)event_del(&w->half);
	(void)event_del(&w->half_answer);
	(void)event_del(&w->priv_event);
	event_base_free(w->base);
}

void
worker_run(void)
{
	struct worker *w = &the_worker;
	struct sandbox_policy policy = { 0 };
	struct priv_setup setup;
	struct priv_msg msg = { 0 };
	const char *stage;
	int rc;

	w->host = (struct vus_host){
		.ctx = w,
		.log = worker_log,
		.watch = worker_watch,
		.inflight_fd = -1,
		.sync = worker_sync,
		.now = worker_now,
	};
	w->front_end = -1;
	w->flusher = -1;
	if (sandbox_close_fds(PRIV_WORKER_FD + 1) < 0 ||
	    signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		setup_failed("cannot start: %s", strerror(errno));
	take_setup(w, &setup);
	w->host.verbosity = (enum vus_log_level)setup.log_level;
	make_inflight(&w->host);

	w->base = loop_new();
	if (w->base == NULL)
		setup_failed("no event loop");
	(void)event_assign(&w->priv_event, w->base, PRIV_WORKER_FD,
	    EV_READ | EV_PERSIST, priv_ready, w);
	(void)event_assign(&w->work, w->base, -1, 0, work_ready, w);
	(void)event_assign(&w->half, w->base, -1, 0, half_ready, w);
	(void)event_assign(
	    &w->half_answer, w->base, -1, 0, half_answer_ready, w);
	(void)event_add(&w->priv_event, NULL);

	policy.change_ids = setup.change_ids != 0;
	policy.strict = setup.strict != 0;
	policy.uid = setup.uid;
	policy.gid = setup.gid;
	policy.max_fds =
	    OTHER_FDS + VUS_SHMEM_MAX + 3 * VUS_RINGS_MAX + 2 * VUS_FDS_MAX;
	policy.max_fds_on_way = WORKERS_MAX * UNREAD_FDS_MAX;
	never_block_for_ever();
	reserve_memory();
	rc = sandbox_enter(&policy, &stage);
	if (rc < 0)
		setup_failed("sandbox: %s: %s", stage, strerror(-rc));

	msg.u.ready.rules = sandbox_rules();
	msg.u.ready.missing = sandbox_missing();
	w->status = WORKER_EXIT_SETUP; /* unless an event says otherwise */
	rc = priv_send(PRIV_WORKER_FD, PRIV_READY, &msg, NULL, 0);
	if (rc == -EPIPE)
		w->status = WORKER_EXIT_DONE; /* the supervisor has ended */
	else if (rc == 0)
		(void)event_base_dispatch(w->base);
	clean_up(w);
	worker_exit(w->status);
}
