/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The supervisor; see supervisor.h. Its life:
 *
 *   fork spawner and builder -> enter its own sandbox -> start a spare -> when
 *   that is confined, order a BUILD -> what the builder has made is served ->
 *   connections come and go -> the end
 *
 * SIGHUP and vhost-shmemctl order another BUILD.
 */
#include "config.h"

#include "daemon/supervisor/supervisor.h"

#include "daemon/builder/builder.h"
#include "daemon/common/log.h"
#include "daemon/common/loop.h"
#include "daemon/common/peerfd.h"
#include "daemon/common/priv.h"
#include "daemon/spawner/spawn.h"
#include "daemon/supervisor/admission.h"
#include "daemon/supervisor/crew.h"
#include "daemon/supervisor/discard.h"
#include "daemon/supervisor/gate.h"
#include "daemon/supervisor/manager.h"
#include "daemon/supervisor/orders.h"
#include "daemon/supervisor/served.h"
#include "proto/fd.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long the first worker may take to be confined. */
#define FIRST_READY 10
/* At the end: how long front-ends get to hang up by themselves, for QEMU may
 * abort of a connection that is closed under it. */
static const struct timeval grace = { .tv_sec = 1 };
/* How long accepting rests when descriptors or processes have run out. */
static const struct timeval rest = { .tv_sec = 1 };
/* --connect: how long between tries, and how many. QEMU with server=on listens
 * from its start on; a second is long. */
static const struct timeval between_tries = { .tv_usec = 250000 };
#define TRIES_MAX 120U
/* When the builder has too many orders. */
static const struct timeval order_again = { .tv_usec = 50000 };
/* The pause after a worker that ends before it serves: first, and at most. */
#define PAUSE_FIRST 1
#define PAUSE_MOST 32

struct supervisor {
	const struct settings *settings;
	struct event_base *base;
	struct crew crew;
	struct builder builder;
	struct served served;
	struct gate gate;
	struct orders orders;
	struct manager manager;
	int program;   /* owned: the worker's file, until the spawner has it */
	bool ordered;  /* the first BUILD */
	bool building; /* a BUILD is going on */
	bool build_again; /* and another is wanted */
	bool ending;
	bool broken;		  /* the spawner or builder is gone */
	int status;		  /* exit status */
	uid_t owner;		  /* of regions: who has started us */
	unsigned tries;		  /* of --connect */
	struct event order_event; /* orders wait for room */
	struct event builder_event, retry_event, dial_event, deadline_event;
	struct event term_event, int_event, child_event, hup_event;
};

static void
finish(struct supervisor *sv, int status)
{
	sv->status = status;
	(void)event_base_loopbreak(sv->base);
}

/* A device whose only front-end has been: --once, or a connection that was
 * given or made at start. */
static bool
is_done(const struct device *d)
{
	return (d->info.once != 0 || d->connected) && d->served != 0;
}

/* A front-end may still be wanted: we go on after the present ones. */
static bool
expects_more(const struct supervisor *sv)
{
	if (sv->ending || sv->broken)
		return false;
	if (sv->served.generation == 0)
		return true;
	for (const struct device *d = sv->served.devices; d != NULL;
	     d = d->next)
		if (!d->retired && !is_done(d))
			return true;
	/* A configuration file may get devices again. */
	return sv->settings->config != NULL;
}

/* Nobody can connect any more. */
static void
close_doors(struct supervisor *sv)
{
	struct priv_msg msg = { .u.door.device = PRIV_ALL };

	for (struct device *d = sv->served.devices; d != NULL; d = d->next)
		served_close_door(&sv->served, d);
	(void)!builder_order(&sv->builder, PRIV_CLOSE, &msg, -1);
}

/* Nobody can connect to this device any more. */
static void
close_door(struct supervisor *sv, struct device *device)
{
	struct priv_msg msg = { .u.door.device = device->info.id };

	served_close_door(&sv->served, device);
	(void)!builder_order(&sv->builder, PRIV_CLOSE, &msg, -1);
}

/* --- spares -------------------------------------------------------------- */

/* Whether a worker should be started for the next front-end. */
static bool
spare_missing(const struct supervisor *sv)
{
	return expects_more(sv) && crew_count(&sv->crew, WORKER_SPARE) == 0 &&
	       crew_count(&sv->crew, WORKER_STARTING) == 0;
}

/* See to it that a worker is ready for the next front-end. */
static void
spare_wanted(struct supervisor *sv)
{
	struct timeval pause = { .tv_sec = sv->crew.pause };

	if (!spare_missing(sv))
		return;
	if (sv->crew.pause == 0 && crew_start_spare(&sv->crew) != NULL)
		return;
	if (sv->crew.pause == 0)
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
	if (spare_missing(sv) && crew_start_spare(&sv->crew) == NULL)
		(void)event_add(&sv->retry_event, &rest);
	for (struct device *d = sv->served.devices; d != NULL; d = d->next)
		if (d->door >= 0)
			(void)event_add(&d->door_ready, NULL);
}

/* --- front-ends ---------------------------------------------------------- */

static void
refuse(struct supervisor *sv, struct device *d, const struct front_end *who,
    const char *why)
{
	struct priv_msg msg = { 0 };
	uint64_t second = loop_now() / 1000;

	d->refused++;
	if (second == d->refused_second) {
		d->refused_untold++;
		return;
	}
	d->refused_second = second;
	msg.u.refused.pid = who->pid;
	msg.u.refused.uid = who->uid;
	msg.u.refused.others = d->refused_untold;
	d->refused_untold = 0;
	memcpy(
	    msg.u.refused.device, d->info.name, sizeof(msg.u.refused.device));
	(void)snprintf(msg.u.refused.why, sizeof(msg.u.refused.why), "%s", why);
	if (builder_order(&sv->builder, PRIV_REFUSED, &msg, -1) < 0)
		log_warn("device %s: a front-end was refused: pid %d, uid %u: "
			 "%s",
		    d->info.name, (int)who->pid, who->uid, why);
}

/* A front-end has come through the gate. */
static void
serve(void *ctx, int *fd, const struct front_end *who, uint32_t device)
{
	struct supervisor *sv = ctx;
	struct device *d = served_device(&sv->served, device);
	struct worker_entry *w;
	const char *why;

	/* It waited, and its device has gone meanwhile. */
	if (d == NULL)
		return;
	/* It may have waited, and the rules are others meanwhile. */
	why = admission_of(d, *fd, who, sv->owner);
	if (why == NULL)
		why = admission_room(&sv->crew, d);
	if (why != NULL) {
		refuse(sv, d, who, why);
		return;
	}
	w = crew_hand_over(&sv->crew, d, fd, who);
	if (w != NULL && sv->settings->config != NULL)
		log_info("conn %u: front-end connected: device %s, pid %d, uid "
			 "%u; worker %d",
		    w->conn, d->info.name, (int)who->pid, who->uid,
		    (int)w->pid);
	else if (w != NULL)
		log_info("conn %u: front-end connected: pid %d, uid %u; "
			 "worker %d",
		    w->conn, (int)who->pid, who->uid, (int)w->pid);
	if (w != NULL)
		manager_changed(&sv->manager);
	if (d->info.once != 0 && d->door >= 0 && is_done(d))
		close_door(sv, d);
	spare_wanted(sv);
}

static bool
can_serve(void *ctx, uint32_t device)
{
	struct supervisor *sv = ctx;
	const struct device *d = served_device(&sv->served, device);

	return d == NULL || admission_ready(d);
}

/* A front-end is at the door of a device; takes fd. */
static void
let_in(struct supervisor *sv, struct device *d, int fd)
{
	AUTO_DISCARD int owned = fd;
	struct front_end who;
	const char *why;

	gate_who(fd, &who);
	why = admission_of(d, fd, &who, sv->owner);
	if (why != NULL)
		refuse(sv, d, &who, why);
	else
		gate_admit(&sv->gate, fd_steal(&owned), &who, d->info.id);
}

static void
door_ready(evutil_socket_t listening, short what, void *arg)
{
	struct supervisor *sv = arg;
	struct device *d = sv->served.devices;
	AUTO_DISCARD int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);

	(void)what;
	if (fd < 0) {
		if (errno != EMFILE && errno != ENFILE && errno != ENOMEM &&
		    errno != ENOBUFS)
			return;
		log_error("accept: %s", strerror(errno));
		for (; d != NULL; d = d->next)
			if (d->door >= 0)
				(void)event_del(&d->door_ready);
		(void)event_add(&sv->retry_event, &rest);
		return;
	}
	while (d != NULL && d->door != listening)
		d = d->next;
	if (d != NULL)
		let_in(sv, d, fd_steal(&fd));
}

/* --- what is served ------------------------------------------------------ */

static void
on_opened(void *ctx, struct device *d)
{
	struct supervisor *sv = ctx;

	if (d->connected) {
		int fd = fd_steal(&d->door);

		let_in(sv, d, fd);
		if (d->served == 0)
			finish(sv, EXIT_FAILURE);
		return;
	}
	(void)event_assign(&d->door_ready, sv->base, d->door,
	    EV_READ | EV_PERSIST, door_ready, sv);
	(void)event_add(&d->door_ready, NULL);
}

static void
on_closing(void *ctx, struct device *d)
{
	(void)ctx;
	(void)event_del(&d->door_ready);
}

/* The flusher of a region has something to say: its disk has failed; or it
 * has ended, which is as bad. */
static void
flusher_ready(evutil_socket_t fd, short what, void *arg)
{
	struct region *r = arg;
	struct priv_msg msg;
	int none[PRIV_REGIONS_MAX];
	int rc = priv_recv(fd, PRIV_FROM_FLUSHER, false, &msg, none);

	(void)what;
	if (rc == -EAGAIN)
		return;
	if (rc == 1) {
		rc = msg.u.about_region.rc;
		r->failed = rc < 0 ? rc : -EIO;
		return;
	}
	(void)event_del(&r->flusher_ready);
	if (r->failed == 0) {
		r->failed = -EIO;
		log_error("region %s: its flusher has ended: no FLUSH "
			  "succeeds any more; start " PACKAGE_NAME " again",
		    r->info.name);
	}
}

static void
on_added(void *ctx, struct region *r)
{
	struct supervisor *sv = ctx;

	if (r->flusher < 0)
		return;
	(void)event_assign(&r->flusher_ready, sv->base, r->flusher,
	    EV_READ | EV_PERSIST, flusher_ready, r);
	(void)event_add(&r->flusher_ready, NULL);
}

/* The service manager has to hear of it, or it keeps the memory; and the
 * builder, or the file stays locked. */
static bool
on_removing(void *ctx, struct region *r)
{
	struct supervisor *sv = ctx;
	struct priv_msg msg = { .u.about_region.id = r->info.id };

	if (!manager_forget(&sv->manager, r) ||
	    builder_order(&sv->builder, PRIV_FORGET, &msg, -1) == -EAGAIN) {
		(void)event_add(&sv->order_event, &order_again);
		return false;
	}
	if (r->flusher >= 0)
		(void)event_del(&r->flusher_ready);
	return true;
}

static void
on_control(void *ctx, int door, gid_t gid)
{
	struct supervisor *sv = ctx;

	control_open(&sv->orders.control, door, gid);
}

static const struct served_ops served_ops = {
	.opened = on_opened,
	.closing = on_closing,
	.added = on_added,
	.removing = on_removing,
	.control = on_control,
};

static void
unerased(struct region *r)
{
	r->erasing = false;
	r->unerased = true;
	log_error("region %s: cannot be erased, and is not given to anybody "
		  "any more",
	    r->info.name);
}

static void
erase(struct supervisor *sv, struct region *r)
{
	struct priv_msg msg = { .u.about_region.id = r->info.id };
	int rc = builder_order(&sv->builder, PRIV_ERASE, &msg, r->fd);

	r->erasing = true;
	r->erase_due = rc == -EAGAIN;
	if (r->erase_due)
		(void)event_add(&sv->order_event, &order_again);
	else if (rc < 0)
		unerased(r);
	else
		log_debug("region %s: is erased", r->info.name);
}

/* Erase what nobody has any more, before somebody else gets it. */
static void
erase_released(struct supervisor *sv, const struct device *d)
{
	for (unsigned i = 0; i < d->nshm; i++) {
		struct region *r = d->shm[i].region;

		/* The connection that ends is still counted. */
		if (r->info.release != RELEASE_KEEP && !r->retired &&
		    !served_is_repeated(d, i) && r->connections == 1)
			erase(sv, r);
	}
}

/* The builder had no room for these orders. */
static void
order_ready(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *sv = arg;

	(void)fd;
	(void)what;
	for (struct region *r = sv->served.regions; r != NULL; r = r->next)
		if (r->erase_due)
			erase(sv, r);
	served_sweep(&sv->served);
}

/* --- the builder --------------------------------------------------------- */

/* Who waits for a reload waits in vain. */
static void
builder_is_silent(struct supervisor *sv, int rc)
{
	struct priv_built built = {
		.rc = rc,
		.text = "the builder does not answer; nothing was changed",
	};

	log_error("the builder does not answer: %s", strerror(-rc));
	manager_ready(&sv->manager);
	orders_reloaded(&sv->orders, built.rc, built.text);
	/* Those who wait for the next one. */
	orders_reloaded(&sv->orders, built.rc, built.text);
}

static int
order_build(struct supervisor *sv)
{
	struct priv_msg msg = { 0 };
	int rc;

	if (sv->served.generation != 0)
		manager_reloading(&sv->manager);
	rc = builder_order(&sv->builder, PRIV_BUILD, &msg, -1);
	if (rc == 0)
		sv->building = true;
	else
		builder_is_silent(sv, rc);
	return rc;
}

static void
dial(struct supervisor *sv)
{
	for (const struct device *d = sv->served.devices; d != NULL;
	     d = d->next) {
		struct priv_msg msg = { .u.door.device = d->info.id };

		if (d->info.dials != 0 && !d->retired && d->served == 0)
			(void)!builder_order(&sv->builder, PRIV_DIAL, &msg, -1);
	}
}

static void
dial_ready(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	dial(arg);
}

/* --connect: there is a connection, or not yet. */
static void
on_dialled(struct supervisor *sv, const struct priv_door *door, int *fd)
{
	struct device *d = served_device(&sv->served, door->device);
	const char *path = sv->settings->devices[0].connect;

	if (d == NULL || sv->ending)
		return;
	if (door->rc == 0) {
		d->connected = true;
		d->door = fd_steal(fd);
		on_opened(sv, d);
		return;
	}
	if ((door->rc != -ENOENT && door->rc != -ECONNREFUSED &&
		door->rc != -EAGAIN) ||
	    ++sv->tries == TRIES_MAX) {
		log_error("--connect=%s: %s", path, strerror(-door->rc));
		finish(sv, EXIT_FAILURE);
		return;
	}
	if (sv->tries == 1)
		log_info("waiting for a front-end to listen on %s", path);
	(void)event_add(&sv->dial_event, &between_tries);
}

static void
reload_failed(struct supervisor *sv, const char *why)
{
	char text[512];

	log_error("reload: %s", why);
	(void)snprintf(text, sizeof(text), "The last reload failed: %s", why);
	manager_trouble(&sv->manager, text);
	manager_ready(&sv->manager);
}

static void
on_built(struct supervisor *sv, struct priv_built *built)
{
	bool first = sv->served.generation == 0;

	priv_end_text(built->text, sizeof(built->text));
	sv->building = false;
	orders_reloaded(&sv->orders, built->rc, built->text);
	if (built->rc != 0 || sv->ending) {
		served_drop(&sv->served);
		if (first && !sv->ending)
			finish(sv, EXIT_FAILURE);
		else if (!sv->ending)
			reload_failed(sv, built->text);
	} else {
		served_commit(&sv->served);
		manager_trouble(&sv->manager, "");
		manager_ready(&sv->manager);
		if (!first)
			log_info("reload: %s", built->text);
		dial(sv);
		spare_wanted(sv);
	}
	if (sv->build_again && !sv->ending) {
		sv->build_again = false;
		(void)order_build(sv);
	}
}

static void
on_erased(struct supervisor *sv, const struct priv_about_region *erased)
{
	struct region *r = served_region(&sv->served, erased->id);

	/* What could not be erased stays unused. */
	if (r != NULL && erased->rc < 0)
		unerased(r);
	else if (r != NULL)
		r->erasing = false;
}

static void
builder_ready(evutil_socket_t sock, short what, void *arg)
{
	struct supervisor *sv = arg;
	struct priv_msg msg;
	int fds[PRIV_REGIONS_MAX];
	struct region *r;
	int rc = priv_recv(sock, PRIV_FROM_BUILDER, false, &msg, fds);

	(void)what;
	if (rc == -EAGAIN)
		return;
	if (rc != 1) {
		(void)event_del(&sv->builder_event);
		/* SIGCHLD says how it has ended; or it ends by this. */
		if (rc < 0)
			log_error("what the builder sends cannot be taken: %s",
			    strerror(-rc));
		fd_closep(&sv->builder.sock);
		return;
	}
	switch ((enum priv_type)msg.type) {
	case PRIV_BUILT:
		on_built(sv, &msg.u.built);
		break;
	case PRIV_ERASED:
		on_erased(sv, &msg.u.about_region);
		break;
	case PRIV_RESIZED:
		r = served_region(&sv->served, msg.u.about_region.id);
		if (r != NULL)
			r->resized = true;
		break;
	default:
		if (msg.type == PRIV_DOOR && !sv->building) {
			on_dialled(sv, &msg.u.door, &fds[0]);
			break;
		}
		rc = served_stage(&sv->served, &msg, fds);
		if (rc < 0) {
			log_error("what the builder has made cannot be served: "
				  "%s",
			    strerror(-rc));
			finish(sv, EXIT_FAILURE);
		}
	}
	for (unsigned i = 0; i < PRIV_REGIONS_MAX; i++)
		fd_closep(&fds[i]);
}

/* --- workers ------------------------------------------------------------- */

static void
on_ready(void *ctx, struct worker_entry *w)
{
	struct supervisor *sv = ctx;

	(void)w;
	if (sv->ordered || sv->ending)
		return;
	/* The first worker is confined: let front-ends in. */
	sv->ordered = true;
	(void)event_del(&sv->deadline_event);
	if (order_build(sv) < 0)
		finish(sv, EXIT_FAILURE);
}

static void
on_answered(void *ctx)
{
	struct supervisor *sv = ctx;

	orders_answered(&sv->orders);
}

static void
worker_ended(struct supervisor *sv, const struct crew_end *end)
{
	struct crew *crew = &sv->crew;

	if (end->conn != 0 && end->crashed)
		gate_crashed(&sv->gate, &end->front_end);
	if (end->device != NULL) {
		erase_released(sv, end->device);
		served_release(&sv->served, end->device);
		manager_changed(&sv->manager);
	}
	if (!sv->ordered && !sv->ending) {
		log_error("the first worker did not start; nothing is served");
		finish(sv, EXIT_FAILURE);
		return;
	}
	if ((end->conn == 0 || !end->ready) && !end->well)
		crew->pause = crew->pause == 0		 ? PAUSE_FIRST
			      : crew->pause < PAUSE_MOST ? crew->pause * 2
							 : PAUSE_MOST;
	if (!expects_more(sv) && crew_count(crew, WORKER_SERVING) == 0) {
		finish(sv, (end->well || sv->ending) && !sv->broken
			       ? EXIT_SUCCESS
			       : EXIT_FAILURE);
		return;
	}
	spare_wanted(sv);
}

/* Nothing can be started any more: serve those who are there. */
static void
helper_ended(struct supervisor *sv, const char *which)
{
	if (!sv->broken)
		log_error("the %s was ended from outside: no front-end is let "
			  "in any more; start " PACKAGE_NAME " again",
		    which);
	sv->broken = true;
	manager_trouble(&sv->manager, "No front-end is let in any more: a "
				      "process was ended from outside");
	close_doors(sv);
	gate_close(&sv->gate);
	if (sv->building)
		builder_is_silent(sv, -EPIPE);
	sv->building = false;
	if (crew_count(&sv->crew, WORKER_SERVING) == 0)
		finish(sv, EXIT_FAILURE);
}

static void
child_ready(evutil_socket_t signo, short what, void *arg)
{
	struct supervisor *sv = arg;
	struct crew_end end;
	int status;
	pid_t pid;

	(void)signo;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == sv->crew.spawner.pid) {
			sv->crew.spawner.pid = 0;
			helper_ended(sv, "spawner");
		} else if (pid == sv->builder.pid) {
			sv->builder.pid = 0;
			helper_ended(sv, "builder");
		} else if (crew_reap(&sv->crew, pid, status, &end)) {
			worker_ended(sv, &end);
		}
	}
}

/* --- signals ------------------------------------------------------------- */

static void
deadline_ready(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *sv = arg;

	(void)fd;
	(void)what;
	if (!sv->ending) {
		log_error(
		    "the first worker was not ready within %d s", FIRST_READY);
		finish(sv, EXIT_FAILURE);
		return;
	}
	crew_kill_all(&sv->crew);
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
	manager_stopping(&sv->manager);
	sv->ending = true;
	sv->crew.ending = true;
	close_doors(sv);
	gate_close(&sv->gate);
	/* Workers without a front-end end when their channel closes; the
	 * others when their front-end leaves, or at the deadline. */
	crew_dismiss_idle(&sv->crew);
	(void)event_add(&sv->deadline_event, &grace);
	if (crew_count(&sv->crew, WORKER_FREE) == WORKERS_MAX)
		finish(sv, EXIT_SUCCESS);
}

static const char *
reload(void *ctx, bool *later)
{
	struct supervisor *sv = ctx;

	if (sv->settings->config == NULL)
		return "there is no configuration file to read (--config)";
	if (sv->ending)
		return "it is ending";
	/* The first BUILD is of what was read at start. */
	*later = sv->building || !sv->ordered;
	if (*later)
		sv->build_again = true;
	else if (order_build(sv) < 0)
		return "the builder does not answer";
	return NULL;
}

static void
hup_ready(evutil_socket_t signo, short what, void *arg)
{
	bool later;
	const char *why = reload(arg, &later);

	(void)signo;
	(void)what;
	if (why != NULL)
		log_warn("reload: %s", why);
}

/* --- start --------------------------------------------------------------- */

static int
start_spawner(struct supervisor *sv)
{
	bool root = sv->settings->change_ids;
	const char *what = root ? sandbox_lacks() : NULL;
	int rc;

	if (what != NULL) {
		log_error("started by root without %s: give it that, or start "
			  "it as an ordinary user",
		    what);
		return -EPERM;
	}
	rc = spawner_start(&sv->crew.spawner, sv->program, root, &what);
	if (rc < 0)
		log_error("the spawner: %s: %s", what, strerror(-rc));
	fd_closep(&sv->program);
	return rc;
}

static int
start_builder(struct supervisor *sv)
{
	int rc =
	    builder_start(&sv->builder, sv->settings, sv->crew.spawner.sock);

	if (rc < 0)
		log_error("the builder: %s", strerror(-rc));
	/* It has them, too, and hands them over again. */
	for (unsigned i = 0; i < sv->settings->ndevices; i++)
		if (sv->settings->devices[i].fd >= 0 &&
		    !sv->settings->devices[i].handed)
			(void)close(sv->settings->devices[i].fd);
	activation_close(sv->settings->activation);
	return rc;
}

/* A filter of the host's may kill who confines itself: a child that does so
 * lets us tell. */
static int
rehearse(void)
{
	const char *stage;
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		(void)!sandbox_close_fds(STDERR_FILENO + 1);
		_exit(sandbox_enter_supervisor(&stage) < 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	if (!WIFSIGNALED(status))
		return 0; /* what fails will be told */
	log_error("the supervisor's sandbox: killed by %s, by its seccomp "
		  "filter or the host's",
	    log_signal(WTERMSIG(status)));
	return -EPERM;
}

/* All that takes privileges has been done, or is done by others. */
static int
confine(void)
{
	const char *stage;
	int rc = rehearse();

	if (rc < 0)
		return rc;
	rc = sandbox_enter_supervisor(&stage);
	if (rc < 0)
		log_error(
		    "the supervisor's sandbox: %s: %s", stage, strerror(-rc));
	return rc;
}

/*
 * A thousand devices have many descriptors. And those that front-ends leave
 * unread are held against the limit of whoever sends one more; so if all of
 * them can leave more than that, some can keep others from getting theirs.
 */
static void
raise_limits(void)
{
	const rlim_t unread = (rlim_t)WORKERS_MAX * UNREAD_FDS_MAX;
	struct rlimit lim;
	rlim_t workers;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return;
	lim.rlim_cur = lim.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &lim);
	/* The workers get seven eighths: sandbox.c. */
	workers = lim.rlim_max - lim.rlim_max / 8;
	if (workers < unread)
		log_info("RLIMIT_NOFILE (LimitNOFILE= of the unit) is %llu: "
			 "%u front-ends that do not read what they are sent "
			 "can keep others from their regions",
		    (unsigned long long)lim.rlim_max,
		    (unsigned)(workers / UNREAD_FDS_MAX));
}

static int
add_events(struct supervisor *sv)
{
	static const struct timeval deadline = { .tv_sec = FIRST_READY };
	struct event *signals[] = { &sv->term_event, &sv->int_event,
		&sv->child_event, &sv->hup_event };

	kmsg_open(&sv->crew.kmsg, sv->base);
	orders_init(&sv->orders, sv->base, sv->owner, &sv->served, &sv->crew,
	    reload, sv);
	gate_init(&sv->gate, sv->base, sv->settings->uid,
	    !sv->settings->change_ids, serve, can_serve, sv);
	served_init(&sv->served, &served_ops, sv);
	manager_init(&sv->manager, sv->base, &sv->served, &sv->crew,
	    sv->settings->activation);
	(void)event_assign(&sv->retry_event, sv->base, -1, 0, retry_ready, sv);
	(void)event_assign(&sv->dial_event, sv->base, -1, 0, dial_ready, sv);
	(void)event_assign(&sv->order_event, sv->base, -1, 0, order_ready, sv);
	(void)event_assign(
	    &sv->deadline_event, sv->base, -1, 0, deadline_ready, sv);
	(void)event_assign(&sv->builder_event, sv->base, sv->builder.sock,
	    EV_READ | EV_PERSIST, builder_ready, sv);
	(void)evsignal_assign(
	    &sv->term_event, sv->base, SIGTERM, end_ready, sv);
	(void)evsignal_assign(&sv->int_event, sv->base, SIGINT, end_ready, sv);
	(void)evsignal_assign(
	    &sv->child_event, sv->base, SIGCHLD, child_ready, sv);
	(void)evsignal_assign(&sv->hup_event, sv->base, SIGHUP, hup_ready, sv);
	if (peerfd_init() < 0)
		return -EINVAL;
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (event_add(signals[i], NULL) < 0)
			return -ENOMEM;
	return event_add(&sv->builder_event, NULL) < 0 ||
		       event_add(&sv->deadline_event, &deadline) < 0
		   ? -ENOMEM
		   : 0;
}

/* Close everything that is ours; end workers that are left. */
static void
clean_up(struct supervisor *sv)
{
	orders_close(&sv->orders);
	gate_close(&sv->gate);
	crew_close(&sv->crew);
	/* First: what ends now is not given up. */
	manager_close(&sv->manager);
	if (sv->base != NULL) {
		served_free(&sv->served);
		(void)event_del(&sv->builder_event);
		(void)event_del(&sv->term_event);
		(void)event_del(&sv->int_event);
		(void)event_del(&sv->child_event);
		(void)event_del(&sv->hup_event);
		(void)event_del(&sv->retry_event);
		(void)event_del(&sv->dial_event);
		(void)event_del(&sv->order_event);
		(void)event_del(&sv->deadline_event);
		event_base_free(sv->base);
		libevent_global_shutdown();
	}
	builder_stop(&sv->builder);
	spawner_stop(&sv->crew.spawner);
	fd_closep(&sv->program);
}

static int
open_program(struct supervisor *sv)
{
	sv->program = spawn_open(sv->settings->worker);
	if (sv->program < 0)
		log_error("--worker=%s: %s", sv->settings->worker,
		    strerror(-sv->program));
	return sv->program < 0 ? sv->program : 0;
}

int
supervisor_run(const struct settings *settings)
{
	static struct supervisor sv;

	sv.settings = settings;
	sv.owner = geteuid();
	sv.status = EXIT_FAILURE;
	sv.crew.settings = settings;
	sv.crew.ctx = &sv;
	sv.crew.ready = on_ready;
	sv.crew.answered = on_answered;
	sv.crew.spawner.sock = -1;
	sv.crew.kmsg.fd = -1;
	sv.builder.sock = -1;
	sv.manager.sock = -1;
	raise_limits();
	if (open_program(&sv) == 0 && builder_check_doors(settings) == 0 &&
	    start_spawner(&sv) == 0 && start_builder(&sv) == 0 &&
	    manager_open(&sv.manager) == 0) {
		log_info("version %s, started by %s: workers run as %s",
		    PACKAGE_VERSION,
		    settings->change_ids ? "root" : "an ordinary user",
		    settings->user);
		sv.base = sv.crew.base = loop_new();
		if (sv.base == NULL || add_events(&sv) < 0)
			log_error("the event loop cannot be made");
		else if (confine() == 0 && crew_start_spare(&sv.crew) != NULL)
			(void)event_base_dispatch(sv.base);
	}
	clean_up(&sv);
	return sv.status;
}
