/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The builder; see builder.h. */
#include "config.h"

#include "daemon/builder/builder.h"

#include "daemon/builder/listener.h"
#include "daemon/builder/region.h"
#include "daemon/common/limits.h"
#include "daemon/common/log.h"
#include "daemon/config/conf.h"
#include "daemon/config/region_source.h"
#include "daemon/flusher/flusher.h"
#include "proto/fd.h"
#include "sandbox/sandbox.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static_assert(PRIV_NAME_MAX == SETTINGS_NAME_MAX &&
		  PRIV_KEPT_NAME_MAX == REGION_KEPT_NAME_MAX &&
		  PRIV_CONFIG_MAX == SETTINGS_CONFIG_MAX &&
		  PRIV_ALLOW_MAX == SETTINGS_ALLOW_MAX,
    "settings fit into messages");

/* Descriptors of the supervisor's besides those of regions and devices: clients
 * of the control socket, front-ends that are held back, and 64 workers. */
#define SUPERVISOR_FDS (CONTROL_CLIENTS_MAX + GATE_WAITING_MAX + 64U)
/* Regions that are erased one inside of the other. */
#define ERASING_MAX 8U

/* A region that there is: of the present configuration, or one that some
 * front-end still has. */
struct built_region {
	struct built_region *next;
	uint32_t id;
	char name[PRIV_NAME_MAX];
	struct region_made made; /* its descriptors for others are gone */
	/* What ERASE is held against. */
	dev_t dev;
	ino_t ino;
	uint64_t size;
	enum settings_release release;
	int flusher; /* until it is sent */
};

struct built_device {
	uint32_t id;
	struct listener listener; /* its descriptor is gone when it is sent */
};

/* A configuration and what was made of it, by the same index. */
struct plan {
	struct settings settings;
	struct built_region **regions;
	struct built_device *devices;
	struct listener control;
	unsigned nnew, nkept; /* regions */
};

struct builder_process {
	int sock;
	const struct settings *initial;
	struct plan now;
	int watch; /* owned: tells when files change; -1: none */
	unsigned erasing;
	bool built; /* now is being served */
	bool again; /* BUILD came while one was going on */
	uint32_t regions_made, devices_made; /* numbers given */
	struct built_region *regions;	     /* all that there are */
};

static struct builder_process the_builder;

/* --- what has changed ---------------------------------------------------- */

/* The index of a region or device of the present configuration, or -1. */
static int
region_of(const struct plan *plan, const char *name)
{
	for (unsigned i = 0; i < plan->settings.nregions; i++)
		if (strcmp(plan->settings.regions[i].name, name) == 0)
			return (int)i;
	return -1;
}

static int
device_of(const struct plan *plan, const char *name)
{
	for (unsigned i = 0; i < plan->settings.ndevices; i++)
		if (strcmp(plan->settings.devices[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* Whether a path is that of a socket of ours. */
static bool
is_ours(const struct plan *plan, const char *path)
{
	for (unsigned i = 0; i < plan->settings.ndevices; i++)
		if (plan->devices[i].listener.path != NULL &&
		    strcmp(plan->devices[i].listener.path, path) == 0)
			return true;
	return plan->control.path != NULL &&
	       strcmp(plan->control.path, path) == 0;
}

/* --- doors --------------------------------------------------------------- */

static void
tell_door(const char *path, int rc)
{
	if (rc == -EADDRINUSE)
		log_error("%s: another program is listening there", path);
	else if (rc == -EEXIST)
		log_error("%s: there is a file that is not a socket", path);
	else if (rc == -EMFILE)
		log_error("%s: %s: RLIMIT_NOFILE (LimitNOFILE= of the unit) "
			  "is too low",
		    path, strerror(-rc));
	else if (rc < 0)
		log_error("%s: %s", path, strerror(-rc));
}

static int
check_path(const struct plan *now, const char *path)
{
	int rc =
	    now != NULL && is_ours(now, path) ? 0 : listener_check_path(path);

	tell_door(path, rc);
	return rc;
}

static int
check_fd(int fd)
{
	struct listener probe;
	int rc = listener_open_fd(&probe, fd);

	if (rc < 0)
		log_error("--fd=%d: %s", fd,
		    rc == -EPROTOTYPE ? "not a UNIX stream socket"
				      : strerror(-rc));
	return rc;
}

static int
check_doors(const struct plan *now, const struct settings *settings)
{
	int rc = 0;

	for (unsigned i = 0; i < settings->ndevices && rc == 0; i++) {
		const struct device_settings *d = &settings->devices[i];

		if (d->handed)
			continue;
		if (d->fd >= 0)
			rc = check_fd(d->fd);
		else if (d->socket != NULL)
			rc = check_path(now, d->socket);
	}
	if (rc == 0 && settings->control_socket != NULL &&
	    settings->control_fd < 0)
		rc = check_path(now, settings->control_socket);
	return rc;
}

int
builder_check_doors(const struct settings *settings)
{
	return check_doors(NULL, settings);
}

/* It stays open here, for a reload that takes the device away and one that
 * brings it back. */
static int
open_handed(struct listener *listener, int fd)
{
	AUTO_FD int ours = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	int rc = ours < 0 ? -errno : listener_open_fd(listener, ours);

	if (rc < 0)
		log_error("LISTEN_FDS: descriptor %d: %s", fd, strerror(-rc));
	else
		(void)fd_steal(&ours);
	return rc;
}

static int
open_door(struct listener *listener, const struct device_settings *d)
{
	int rc;

	if (d->handed) {
		rc = open_handed(listener, d->fd);
		if (rc == 0)
			log_info("listening on %s, handed over",
			    d->socket != NULL ? d->socket : d->name);
		return rc;
	}
	if (d->fd >= 0)
		return listener_open_fd(listener, d->fd);
	rc = listener_open_path(
	    listener, d->socket, d->socket_mode, d->socket_uid, d->socket_gid);
	tell_door(d->socket, rc);
	if (rc == 0)
		log_info("listening on %s", d->socket);
	return rc;
}

static int
open_control(struct listener *listener, const struct settings *settings)
{
	bool group = settings->control_gid != (gid_t)-1;
	int rc;

	if (settings->control_fd >= 0) {
		rc = open_handed(listener, settings->control_fd);
		/* Its path, which is not ours to unlink: without dev and ino.
		 */
		if (rc == 0)
			listener->path = settings->control_socket;
		return rc;
	}
	rc = listener_open_path(listener, settings->control_socket,
	    group ? 0660 : 0600, (uid_t)-1, settings->control_gid);
	tell_door(settings->control_socket, rc);
	return rc;
}

/* A door that stays what it was. Its path is the new settings' now. */
static bool
keep_door(struct plan *now, struct plan *next, unsigned i)
{
	const struct device_settings *d = &next->settings.devices[i];
	int old = device_of(now, d->name);

	if (old < 0 || !settings_same_door(&now->settings.devices[old], d))
		return false;
	/* Where it could not be made the last time it is made now. */
	if (d->socket != NULL && !d->handed &&
	    now->devices[old].listener.path == NULL)
		return false;
	next->devices[i].listener = now->devices[old].listener;
	if (next->devices[i].listener.path != NULL)
		next->devices[i].listener.path = d->socket;
	now->devices[old].listener.path = NULL;
	now->devices[old].listener.fd = -1;
	return true;
}

/* Remove our socket that is in the way of a new one. */
static void
make_way(struct plan *now, const char *path)
{
	for (unsigned i = 0; i < now->settings.ndevices; i++)
		if (now->devices[i].listener.path != NULL &&
		    strcmp(now->devices[i].listener.path, path) == 0)
			(void)listener_close(&now->devices[i].listener);
	if (now->control.path != NULL && strcmp(now->control.path, path) == 0)
		(void)listener_close(&now->control);
}

/* First what can fail and be undone, then what takes the place of sockets of
 * ours. */
static int
open_doors(struct plan *now, struct plan *next, bool taken)
{
	int rc = 0;

	for (unsigned i = 0; i < next->settings.ndevices && rc == 0; i++) {
		const struct device_settings *d = &next->settings.devices[i];
		struct listener *listener = &next->devices[i].listener;

		if (listener->fd >= 0 || listener->path != NULL ||
		    (d->socket == NULL && d->fd < 0))
			continue;
		/* It has it already. */
		if (d->handed && device_of(now, d->name) >= 0)
			continue;
		if (d->socket != NULL && is_ours(now, d->socket) != taken)
			continue;
		if (taken)
			make_way(now, d->socket);
		rc = open_door(listener, d);
		if (taken)
			rc = 0; /* told; the others are open */
	}
	return rc;
}

static int
control_door(struct plan *now, struct plan *next)
{
	const struct settings *settings = &next->settings;

	if (settings->control_socket == NULL)
		return 0;
	if (now->control.path == NULL ||
	    strcmp(now->control.path, settings->control_socket) != 0 ||
	    now->settings.control_gid != settings->control_gid) {
		make_way(now, settings->control_socket);
		return open_control(&next->control, settings);
	}
	next->control = now->control;
	next->control.path = settings->control_socket;
	now->control.path = NULL;
	now->control.fd = -1;
	return 0;
}

/* --- regions ------------------------------------------------------------- */

static void
forget_region(struct builder_process *b, struct built_region *gone)
{
	struct built_region **r = &b->regions;

	while (*r != gone)
		r = &(*r)->next;
	*r = gone->next;
	region_unwatch(b->watch, &gone->made);
	region_unmake(&gone->made);
	fd_closep(&gone->flusher);
	free(gone);
}

static struct built_region *
kept_region(const struct plan *now, const struct region_settings *spec)
{
	int old = region_of(now, spec->name);

	if (old < 0 ||
	    !settings_same_region(&now->settings.regions[old], spec) ||
	    region_source_changed(&now->regions[old]->made, spec))
		return NULL;
	return now->regions[old];
}

static struct built_region *
new_region(struct builder_process *b, const struct region_settings *spec)
{
	struct built_region *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->id = ++b->regions_made;
	(void)snprintf(r->name, sizeof(r->name), "%s", spec->name);
	r->flusher = -1;
	r->next = b->regions;
	b->regions = r;
	return r;
}

/* That its file changes is told if it can be. */
static void
watch(struct builder_process *b, struct built_region *r,
    const struct region_settings *spec)
{
	int rc;

	if (spec->file == NULL)
		return;
	if (b->watch < 0)
		b->watch = region_watch_open();
	rc = b->watch < 0 ? b->watch : region_watch(b->watch, &r->made);
	if (rc < 0)
		log_warn("region %s: its file is not watched: %s", r->name,
		    strerror(-rc));
}

static int
remember(struct built_region *r, const struct region_settings *spec)
{
	struct stat st;

	if (fstat(r->made.fd, &st) < 0)
		return -errno;
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	r->size = spec->size;
	r->release = spec->release;
	return 0;
}

static int
start_flusher(const struct settings *settings, struct built_region *r,
    const struct region_settings *spec)
{
	struct flusher_ids ids = {
		.change = settings->change_ids,
		.uid = settings->uid,
		.gid = settings->gid,
	};
	pid_t pid;

	if (spec->file == NULL || spec->sync != SYNC_FDATASYNC ||
	    spec->access == MEMORY_READ_ONLY)
		return 0;
	pid = flusher_start(r->made.fd, r->name, &ids, &r->flusher);
	if (pid < 0)
		log_error(
		    "region %s: its flusher: %s", r->name, strerror(-pid));
	return pid < 0 ? pid : 0;
}

static void
tell_region(const struct region_settings *spec, const struct region_made *made)
{
	const char *from = made->kept		 ? ", with what was in it"
			   : spec->image != NULL ? ", loaded from "
			   : spec->file != NULL	 ? ", the file "
						 : "";
	const char *path = made->kept		 ? ""
			   : spec->image != NULL ? spec->image
			   : spec->file != NULL	 ? spec->file
						 : "";

	log_info("region %s: %llu bytes%s%s%s", spec->name,
	    (unsigned long long)spec->size, from, path,
	    spec->access == MEMORY_READ_ONLY ? ", read-only" : "");
}

/* A file has one lock, and so one region at a time. */
static int
check_file(const struct builder_process *b, const struct region_settings *spec)
{
	struct region_source file;
	const struct built_region *r;
	AUTO_FD int fd = -1;

	if (spec->file == NULL)
		return 0;
	fd = region_file_find(spec->file, &file);
	for (r = fd < 0 ? NULL : b->regions; r != NULL; r = r->next) {
		if (r->made.lock_fd < 0 || r->made.source.dev != file.dev ||
		    r->made.source.ino != file.ino)
			continue;
		log_error("region %s: %s is a region already, %s: other "
			  "settings for it, or another name, have to wait "
			  "until that was removed and its last front-end has "
			  "left",
		    spec->name, spec->file, r->name);
		return -EBUSY;
	}
	return 0;
}

static int look_after(void *ctx);

static int
make_regions(struct builder_process *b, struct plan *next)
{
	unsigned n = next->settings.nregions, which = 0, k = 0;
	const struct region_settings **specs =
	    calloc(n, sizeof(const struct region_settings *));
	struct region_made *made = calloc(n, sizeof(*made));
	const struct idle idle = { b->sock, look_after, b };
	const char *what = "no memory";
	int rc = specs == NULL || made == NULL ? -ENOMEM : 0;

	for (unsigned i = 0; i < n && rc == 0; i++) {
		next->regions[i] =
		    kept_region(&b->now, &next->settings.regions[i]);
		if (next->regions[i] != NULL)
			continue;
		rc = check_file(b, &next->settings.regions[i]);
		specs[k++] = &next->settings.regions[i];
	}
	if (rc == -ENOMEM)
		log_error("%s", what);
	if (rc == 0) {
		rc = regions_make(specs, made, k, next->settings.activation,
		    &idle, &what, &which);
		if (rc < 0 && rc != -ECANCELED)
			log_error("%s", what);
	}
	next->nkept = n - k;
	next->nnew = k;
	for (unsigned i = 0, m = 0; i < n && rc == 0; i++) {
		const struct region_settings *spec = &next->settings.regions[i];

		if (next->regions[i] != NULL)
			continue;
		next->regions[i] = new_region(b, spec);
		if (next->regions[i] == NULL) {
			rc = -ENOMEM;
			while (m < k)
				region_unmake(&made[m++]);
			break;
		}
		next->regions[i]->made = made[m++];
		rc = remember(next->regions[i], spec);
		tell_region(spec, &next->regions[i]->made);
		watch(b, next->regions[i], spec);
		if (rc == 0)
			rc = start_flusher(
			    &next->settings, next->regions[i], spec);
		/* Those that are left belong to nobody yet. */
		while (rc < 0 && m < k)
			region_unmake(&made[m++]);
	}
	free(specs);
	free(made);
	return rc;
}

/* --- telling the supervisor ---------------------------------------------- */

static int
send_region(struct builder_process *b, struct built_region *r,
    const struct region_settings *spec)
{
	struct priv_msg msg = { 0 };
	struct priv_have_region *info = &msg.u.have_region;
	int fds[3] = { r->made.fd, r->made.read_fd, r->flusher };
	unsigned nfds;
	int rc;

	info->id = r->id;
	info->is_new = r->made.fd >= 0;
	info->synced = r->flusher >= 0;
	info->access = (uint32_t)spec->access;
	info->release = (uint32_t)spec->release;
	info->max_connections = spec->max_connections;
	info->size = spec->size;
	info->page = spec->hugepages;
	info->is_file = spec->file != NULL;
	info->kept = r->made.kept;
	memcpy(info->kept_name, r->made.kept_name, sizeof(info->kept_name));
	memcpy(info->name, spec->name, sizeof(info->name));
	nfds = info->is_new == 0 ? 0 : info->synced != 0 ? 3 : 2;
	rc = priv_send_wait(b->sock, PRIV_HAVE_REGION, &msg, fds, nfds);
	/* What front-ends get is the supervisor's alone now. */
	fd_closep(&r->made.fd);
	if (spec->file == NULL) /* else it is watched by that */
		fd_closep(&r->made.read_fd);
	fd_closep(&r->flusher);
	return rc;
}

static void
tell_copies(const struct device_settings *d)
{
	for (unsigned k = 0; k < d->nshm; k++)
		if (d->shm[k].access == MEMORY_COPY)
			log_info("device %s: shmid %u: each front-end gets a "
				 "copy of region %s",
			    d->name, d->shm[k].shmid, d->shm[k].name);
}

static int
send_shm(struct builder_process *b, const struct plan *plan, unsigned i)
{
	const struct device_settings *d = &plan->settings.devices[i];
	int rc = 0;

	for (unsigned k = 0; k < d->nshm && rc == 0;) {
		struct priv_msg msg = { 0 };
		struct priv_have_shm *info = &msg.u.have_shm;

		info->device = plan->devices[i].id;
		for (; info->n < PRIV_SHM_MAX && k < d->nshm; k++, info->n++) {
			const struct shm_settings *shm = &d->shm[k];

			info->shm[info->n].shmid = shm->shmid;
			info->shm[info->n].region =
			    plan->regions[shm->region]->id;
			info->shm[info->n].access = (uint32_t)shm->access;
		}
		rc = priv_send_wait(b->sock, PRIV_HAVE_SHM, &msg, NULL, 0);
	}
	return rc;
}

static int
send_door(struct builder_process *b, uint32_t device, struct listener *listener,
    gid_t gid)
{
	struct priv_msg msg = { 0 };
	bool none = device == PRIV_CONTROL && listener->path == NULL;
	int rc;

	if (listener->fd < 0 && !none)
		return 0;
	msg.u.door.device = device;
	msg.u.door.rc = none ? -ENOENT : 0;
	msg.u.door.connected = listener->connected;
	msg.u.door.gid = gid;
	rc = priv_send_wait(
	    b->sock, PRIV_DOOR, &msg, &listener->fd, none ? 0 : 1);
	fd_closep(&listener->fd);
	return rc;
}

static int
send_device(struct builder_process *b, struct plan *plan, unsigned i)
{
	const struct device_settings *d = &plan->settings.devices[i];
	struct priv_msg msg = { 0 };
	struct priv_have_device *info = &msg.u.have_device;
	int rc;

	info->id = plan->devices[i].id;
	info->nshm = d->nshm;
	info->virtio_id = d->virtio_id;
	info->once = plan->settings.once;
	info->dials = d->connect != NULL;
	info->max_connections = d->max_connections;
	info->max_flushes = d->max_flushes;
	info->nallow_users = d->nallow_users;
	info->nallow_groups = d->nallow_groups;
	memcpy(info->allow_users, d->allow_users, sizeof(info->allow_users));
	memcpy(info->allow_groups, d->allow_groups, sizeof(info->allow_groups));
	memcpy(info->name, d->name, sizeof(info->name));
	if (d->socket != NULL)
		(void)snprintf(
		    info->socket, sizeof(info->socket), "%s", d->socket);
	info->device.virtio_without = d->virtio_without;
	info->device.type = (uint32_t)d->type;
	info->device.profile = profile_index(d->profile);
	info->device.message_timeout = d->message_timeout;
	info->device.nregions = d->nshm;
	info->device.queues = d->queues;
	info->device.config_size = d->config_size;
	memcpy(info->device.config, d->config, sizeof(info->device.config));
	rc = priv_send_wait(b->sock, PRIV_HAVE_DEVICE, &msg, NULL, 0);
	if (rc == 0)
		rc = send_shm(b, plan, i);
	if (rc == 0)
		rc = send_door(
		    b, info->id, &plan->devices[i].listener, (gid_t)-1);
	return rc;
}

static int
send_all(struct builder_process *b, struct plan *plan)
{
	int rc = 0;

	for (unsigned i = 0; i < plan->settings.nregions && rc == 0; i++)
		rc = send_region(
		    b, plan->regions[i], &plan->settings.regions[i]);
	for (unsigned i = 0; i < plan->settings.ndevices && rc == 0; i++)
		rc = send_device(b, plan, i);
	if (rc == 0)
		rc = send_door(b, PRIV_CONTROL, &plan->control,
		    plan->settings.control_gid);
	return rc;
}

/* --- BUILD --------------------------------------------------------------- */

static void
close_doors(struct plan *plan)
{
	for (unsigned i = 0; i < plan->settings.ndevices; i++)
		if (plan->devices != NULL)
			(void)listener_close(&plan->devices[i].listener);
	(void)listener_close(&plan->control);
}

static void
free_plan(struct plan *plan)
{
	settings_free(&plan->settings);
	free(plan->regions);
	free(plan->devices);
	memset(plan, 0, sizeof(*plan));
	plan->control.fd = -1;
}

static int
begin_plan(struct builder_process *b, struct plan *next)
{
	next->control.fd = -1;
	next->regions =
	    calloc(next->settings.nregions + 1, sizeof(struct built_region *));
	next->devices =
	    calloc(next->settings.ndevices + 1, sizeof(*next->devices));
	if (next->regions == NULL || next->devices == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < next->settings.ndevices; i++) {
		int old = device_of(&b->now, next->settings.devices[i].name);

		next->devices[i].listener.fd = -1;
		next->devices[i].id =
		    old >= 0 ? b->now.devices[old].id : ++b->devices_made;
	}
	return 0;
}

/* Of what was begun, what is new goes again. */
static void
abandon(struct builder_process *b, struct plan *next)
{
	if (next->devices != NULL)
		close_doors(next);
	for (unsigned i = 0;
	     next->regions != NULL && i < next->settings.nregions; i++) {
		bool old = false;

		for (unsigned k = 0; k < b->now.settings.nregions; k++)
			old = old || b->now.regions[k] == next->regions[i];
		if (!old && next->regions[i] != NULL)
			forget_region(b, next->regions[i]);
	}
	free_plan(next);
}

/* Nothing can fail any more but what is told and lived with. */
static int
replace(struct builder_process *b, struct plan *next)
{
	struct plan *now = &b->now;
	int rc;

	for (unsigned i = 0; i < next->settings.nregions; i++)
		if (next->regions[i] != NULL)
			next->regions[i]->release =
			    next->settings.regions[i].release;
	for (unsigned i = 0; i < next->settings.ndevices; i++)
		(void)keep_door(now, next, i);
	(void)open_doors(now, next, true);
	(void)control_door(now, next);
	for (unsigned i = 0; i < next->settings.ndevices; i++)
		tell_copies(&next->settings.devices[i]);
	if (!b->built)
		region_kept_drop(next->settings.activation, &next->settings);
	rc = send_all(b, next);
	if (b->built)
		close_doors(now);
	free_plan(now);
	*now = *next;
	b->built = true;
	return rc;
}

/* The supervisor will have two descriptors of each region, and a third if that
 * is flushed, and one of each device; what it cannot take is lost. Regions that
 * front-ends still have are among them. */
static int
check_limit(const struct builder_process *b, const struct plan *next)
{
	uint64_t needed = next->settings.ndevices + SUPERVISOR_FDS;
	struct rlimit lim;

	for (const struct built_region *r = b->regions; r != NULL; r = r->next)
		needed += r->made.lock_fd >= 0 ? 3 : 2;
	if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || needed <= lim.rlim_cur)
		return 0;
	log_error("%llu descriptors are needed for this, and RLIMIT_NOFILE is "
		  "%llu (LimitNOFILE= of the unit)",
	    (unsigned long long)needed, (unsigned long long)lim.rlim_cur);
	return -EMFILE;
}

static int
prepare(struct builder_process *b, struct plan *next)
{
	int rc = begin_plan(b, next);

	if (rc == 0)
		rc = check_doors(&b->now, &next->settings);
	if (rc == 0)
		rc = make_regions(b, next);
	if (rc == 0)
		rc = check_limit(b, next);
	if (rc == 0)
		rc = open_doors(&b->now, next, false);
	return rc;
}

/* What is wrong with the configuration: the first is for who asked. */
static void
complain(void *ctx, const struct place *place, const char *text)
{
	struct priv_built *built = ctx;

	if (built->text[0] == '\0')
		(void)snprintf(built->text, sizeof(built->text),
		    "%s:%u: %s; nothing was changed, the log has more",
		    place->file != NULL ? place->file : "the command line",
		    place->line, text);
	if (place->file != NULL)
		log_error("%s:%u: %s", place->file, place->line, text);
	else
		log_error("%s", text);
}

static bool
read_settings(
    struct builder_process *b, struct settings *next, struct priv_built *built)
{
	const struct settings *now = &b->now.settings;

	if (!b->built) {
		*next = *b->initial;
		return true;
	}
	if (!settings_init_again(next, now)) {
		log_error("reload: no memory");
		return false;
	}
	if (!conf_load(next, complain, built))
		return false;
	if (next->uid != now->uid || next->strict != now->strict ||
	    next->log_level != now->log_level)
		log_warn("reload: user, sandbox and log-level are those from "
			 "the start until vhost-shmemd is started again");
	return true;
}

static void
build(struct builder_process *b)
{
	struct priv_msg msg = { 0 };
	struct priv_built *built = &msg.u.built;
	struct plan next = { 0 };

	if (!read_settings(b, &next.settings, built)) {
		built->rc = -EINVAL;
		settings_free(&next.settings);
	} else if ((built->rc = prepare(b, &next)) < 0) {
		(void)snprintf(built->text, sizeof(built->text),
		    "%s; the log says what of; nothing was changed",
		    strerror(-built->rc));
		abandon(b, &next);
	} else {
		(void)snprintf(built->text, sizeof(built->text),
		    "%u devices; %u regions, %u of them new",
		    next.settings.ndevices, next.settings.nregions, next.nnew);
		built->rc = replace(b, &next);
	}
	(void)!priv_send_wait(b->sock, PRIV_BUILT, &msg, NULL, 0);
}

/* --- other orders -------------------------------------------------------- */

static void
dial(struct builder_process *b, uint32_t device)
{
	struct priv_msg msg = { .u.door.device = device };
	struct listener listener = { .fd = -1 };
	const char *path = NULL;

	for (unsigned i = 0; i < b->now.settings.ndevices; i++)
		if (b->now.devices[i].id == device)
			path = b->now.settings.devices[i].connect;
	msg.u.door.rc =
	    path == NULL ? -ENOENT : listener_connect(&listener, path);
	msg.u.door.connected = true;
	(void)!priv_send_wait(
	    b->sock, PRIV_DOOR, &msg, &listener.fd, msg.u.door.rc == 0 ? 1 : 0);
	fd_closep(&listener.fd);
}

static void
close_door(struct builder_process *b, uint32_t device)
{
	int rc;

	for (unsigned i = 0; i < b->now.settings.ndevices; i++) {
		struct built_device *d = &b->now.devices[i];
		const char *path = d->listener.path;

		if (device != PRIV_ALL && d->id != device)
			continue;
		rc = listener_close(&d->listener);
		if (rc < 0)
			log_warn("%s stays: %s", path, strerror(-rc));
	}
	if (device == PRIV_ALL)
		(void)listener_close(&b->now.control);
}

/* The first bytes of a file, as text. Returns how many, or -1. */
static ssize_t
read_text(const char *path, char *text, size_t size)
{
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

	if (n > 0 && text[n - 1] == '\n')
		n--;
	return n;
}

/* Which program a process is: its file; or, since to see that of another user
 * takes the capability to trace it, what it calls itself. */
static void
name_program(int pid, char *name, size_t size)
{
	char path[32];
	ssize_t n = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	if (pid > 0)
		n = readlink(path, name, size - 1);
	(void)snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (pid > 0 && n < 0)
		n = read_text(path, name, size);
	if (n < 0)
		(void)snprintf(name, size, "gone");
	else
		name[n] = '\0';
	log_escape(name);
}

static void
tell_refused(struct priv_refused *refused)
{
	char name[256];

	priv_end_text(refused->device, sizeof(refused->device));
	priv_end_text(refused->why, sizeof(refused->why));
	name_program(refused->pid, name, sizeof(name));
	log_warn("device %s: a front-end was refused: pid %d (%s), uid %u: %s",
	    refused->device, refused->pid, name, refused->uid, refused->why);
	if (refused->others != 0)
		log_warn("device %s: %u more were refused", refused->device,
		    refused->others);
}

static struct built_region *
region_by_id(const struct builder_process *b, uint32_t id)
{
	struct built_region *r = b->regions;

	while (r != NULL && r->id != id)
		r = r->next;
	return r;
}

/* The supervisor holds other descriptors, and receives some of workers: none
 * of those is written to, whoever has taken it over. */
static bool
is_region(const struct built_region *r, int fd)
{
	struct stat st;

	return r->release != RELEASE_KEEP && fstat(fd, &st) == 0 &&
	       st.st_dev == r->dev && st.st_ino == r->ino;
}

static void
erase(struct builder_process *b, const struct priv_about_region *order, int fd)
{
	struct priv_msg msg = { .u.about_region.id = order->id };
	const struct idle idle = { b->sock, look_after, b };
	const struct built_region *r = region_by_id(b, order->id);
	const char *what = "another region was sent";
	int rc = -EINVAL;

	/* One that comes meanwhile begins at once; but not without end. */
	b->erasing++;
	if (r != NULL && is_region(r, fd))
		rc = region_erase(fd, r->size, r->release,
		    b->erasing < ERASING_MAX ? &idle : NULL, &what);
	b->erasing--;
	/* It may have gone meanwhile. */
	r = region_by_id(b, order->id);
	if (rc < 0)
		log_error("region %s: cannot be erased, and is not given to "
			  "anybody any more: %s",
		    r != NULL ? r->name : "", what);
	msg.u.about_region.rc = rc;
	(void)!priv_send_wait(b->sock, PRIV_ERASED, &msg, NULL, 0);
}

static void
forget(struct builder_process *b, uint32_t id)
{
	struct built_region *r = region_by_id(b, id);

	for (unsigned i = 0; i < b->now.settings.nregions; i++)
		if (b->now.regions[i] == r)
			return;
	if (r != NULL)
		forget_region(b, r);
}

/* Carry out one order. Returns false when the supervisor has gone. */
static bool
obey(struct builder_process *b, bool building)
{
	struct priv_msg msg;
	int fds[PRIV_REGIONS_MAX];

	if (priv_recv(b->sock, PRIV_TO_BUILDER, true, &msg, fds) != 1)
		return false;
	switch ((enum priv_type)msg.type) {
	case PRIV_BUILD:
		if (building)
			b->again = true;
		else
			build(b);
		break;
	case PRIV_DIAL:
		dial(b, msg.u.door.device);
		break;
	case PRIV_CLOSE:
		close_door(b, msg.u.door.device);
		break;
	case PRIV_REFUSED:
		tell_refused(&msg.u.refused);
		break;
	case PRIV_ERASE:
		erase(b, &msg.u.about_region, fds[0]);
		break;
	case PRIV_FORGET:
		forget(b, msg.u.about_region.id);
		break;
	default: /* priv_recv lets no other through */
		break;
	}
	fd_closep(&fds[0]);
	return true;
}

/* While children fill or erase regions. */
static int
look_after(void *ctx)
{
	return obey(ctx, true) ? 0 : -ECANCELED;
}

/* --- files that change --------------------------------------------------- */

static void
watch_ready(struct builder_process *b)
{
	const struct plan *now = &b->now;
	static const struct region_settings *specs[SETTINGS_REGIONS_MAX];
	static struct region_made *made[SETTINGS_REGIONS_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < now->settings.nregions; i++)
		if (now->regions[i]->made.watch >= 0) {
			specs[n] = &now->settings.regions[i];
			made[n++] = &now->regions[i]->made;
		}
	if (!region_watch_ready(b->watch, specs, made, n))
		return;
	for (unsigned i = 0; i < now->settings.nregions; i++) {
		struct priv_msg msg = { 0 };

		msg.u.about_region.id = now->regions[i]->id;
		if ((now->regions[i]->made.changed &
			(REGION_SHORTER | REGION_LONGER)) != 0)
			(void)!priv_send_wait(
			    b->sock, PRIV_RESIZED, &msg, NULL, 0);
	}
}

/* Returns false when the supervisor has gone. */
static bool
look(struct builder_process *b)
{
	struct pollfd fds[] = {
		{ .fd = b->sock, .events = POLLIN },
		{ .fd = b->watch, .events = POLLIN },
	};

	if (poll(fds, 2, -1) < 0)
		return errno == EINTR;
	if (fds[1].revents != 0)
		watch_ready(b);
	return fds[0].revents == 0 || obey(b, false);
}

/* --- its life ------------------------------------------------------------ */

static void __attribute__((noreturn)) builder_run(struct builder_process *b)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP };
	const char *stage;
	int rc;

	(void)prctl(PR_SET_NAME, "shmemd-builder", 0, 0, 0);
	for (unsigned i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)signal(ignored[i], SIG_IGN);
	(void)setsid();
	b->now.control.fd = -1;
	b->watch = -1;
	rc = sandbox_enter_builder(&stage);
	if (rc < 0) {
		log_error("the builder: %s: %s", stage, strerror(-rc));
		_exit(1);
	}
	while (look(b)) {
		while (b->again) {
			b->again = false;
			build(b);
		}
		/* Flushers whose regions have gone. */
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
	/* The supervisor has ended. */
	close_doors(&b->now);
	while (b->regions != NULL)
		forget_region(b, b->regions);
	free_plan(&b->now);
	fd_closep(&b->watch);
	fd_closep(&b->sock);
	_exit(0);
}

int
builder_start(
    struct builder *builder, const struct settings *settings, int close_there)
{
	int pair[2];

	builder->sock = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	builder->pid = fork();
	if (builder->pid == 0) {
		(void)close(pair[0]);
		if (close_there >= 0)
			(void)close(close_there);
		the_builder.sock = pair[1];
		the_builder.initial = settings;
		builder_run(&the_builder);
	}
	fd_closep(&pair[1]);
	if (builder->pid < 0) {
		int rc = -errno;

		builder->pid = 0;
		fd_closep(&pair[0]);
		return rc;
	}
	builder->sock = pair[0];
	return 0;
}

void
builder_stop(struct builder *builder)
{
	fd_closep(&builder->sock);
	if (builder->pid > 0)
		(void)waitpid(builder->pid, NULL, 0);
	builder->pid = 0;
}

int
builder_order(
    struct builder *builder, enum priv_type type, struct priv_msg *msg, int fd)
{
	return priv_send(builder->sock, type, msg, &fd, fd < 0 ? 0 : 1);
}
