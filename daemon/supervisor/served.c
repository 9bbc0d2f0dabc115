/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What is served; see served.h. */
#include "config.h"

#include "daemon/supervisor/served.h"

#include "daemon/common/device_kind.h"
#include "daemon/common/memory.h"
#include "daemon/supervisor/discard.h"
#include "proto/fd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of a device. */
#define SHMIDS 256U

void
served_init(struct served *served, const struct served_ops *ops, void *ctx)
{
	memset(served, 0, sizeof(*served));
	served->ops = ops;
	served->ctx = ctx;
	served->control = -1;
}

static struct region *
region_in(struct region *list, uint32_t id)
{
	while (list != NULL && list->info.id != id)
		list = list->next;
	return list;
}

static struct device *
device_in(struct device *list, uint32_t id)
{
	while (list != NULL && list->info.id != id)
		list = list->next;
	return list;
}

struct region *
served_region(const struct served *served, uint32_t id)
{
	return region_in(served->regions, id);
}

struct region *
served_region_by_name(const struct served *served, const char *name)
{
	struct region *r = served->regions;

	while (r != NULL && (r->retired || strcmp(r->info.name, name) != 0))
		r = r->next;
	return r;
}

struct device *
served_device(const struct served *served, uint32_t id)
{
	struct device *d = served->devices;

	while (d != NULL && (d->retired || d->info.id != id))
		d = d->next;
	return d;
}

/* --- the end of things --------------------------------------------------- */

static void
free_region(struct region *region)
{
	fd_closep(&region->fd);
	fd_closep(&region->read_fd);
	fd_closep(&region->flusher);
	free(region);
}

void
served_close_door(struct served *served, struct device *device)
{
	if (device->door < 0)
		return;
	served->ops->closing(served->ctx, device);
	/* With those who have not been accepted. */
	discard(&device->door);
}

static void
free_device(struct served *served, struct device *device)
{
	served_close_door(served, device);
	free(device->shm);
	free(device);
}

void
served_sweep(struct served *served)
{
	for (struct device **d = &served->devices; *d != NULL;) {
		struct device *gone = *d;

		if (!gone->retired || gone->holders != 0) {
			d = &gone->next;
			continue;
		}
		*d = gone->next;
		free_device(served, gone);
	}
	for (struct region **r = &served->regions; *r != NULL;) {
		struct region *gone = *r;

		if (!gone->retired || gone->connections != 0 ||
		    !served->ops->removing(served->ctx, gone)) {
			r = &gone->next;
			continue;
		}
		*r = gone->next;
		free_region(gone);
	}
}

bool
served_is_repeated(const struct device *device, unsigned i)
{
	for (unsigned k = 0; k < i; k++)
		if (device->shm[k].region == device->shm[i].region)
			return true;
	return false;
}

void
served_hold(struct device *device)
{
	device->holders++;
	for (unsigned i = 0; i < device->nshm; i++)
		if (!served_is_repeated(device, i))
			device->shm[i].region->connections++;
}

void
served_release(struct served *served, struct device *device)
{
	device->holders--;
	for (unsigned i = 0; i < device->nshm; i++)
		if (!served_is_repeated(device, i))
			device->shm[i].region->connections--;
	served_sweep(served);
}

/* --- staging ------------------------------------------------------------- */

static int
stage_region(struct served *served, const struct priv_have_region *info,
    int fds[static PRIV_REGIONS_MAX])
{
	struct region *r = region_in(served->regions, info->id);

	if (info->is_new == 0) {
		if (r == NULL || r->retired)
			return -EPROTO;
		r->kept = true;
		r->next_release = info->release;
		r->next_max_connections = info->max_connections;
		return 0;
	}
	if (r != NULL || region_in(served->staged_regions, info->id) != NULL ||
	    info->access > MEMORY_COPY)
		return -EPROTO;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return -ENOMEM;
	r->info = *info;
	priv_end_text(r->info.name, sizeof(r->info.name));
	priv_end_text(r->info.kept_name, sizeof(r->info.kept_name));
	r->kept_outside = info->kept != 0;
	r->fd = fd_steal(&fds[0]);
	r->read_fd = fd_steal(&fds[1]);
	r->flusher = fd_steal(&fds[2]);
	r->next = served->staged_regions;
	served->staged_regions = r;
	return 0;
}

static int
stage_device(struct served *served, const struct priv_have_device *info)
{
	struct device *d;

	if (info->id == PRIV_CONTROL || info->id == PRIV_ALL ||
	    device_in(served->staged_devices, info->id) != NULL ||
	    info->nshm == 0 || info->nshm > SHMIDS ||
	    info->device.type >= DEVICE_IDS ||
	    info->nallow_users > PRIV_ALLOW_MAX ||
	    info->nallow_groups > PRIV_ALLOW_MAX)
		return -EPROTO;
	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return -ENOMEM;
	d->shm = calloc(info->nshm, sizeof(*d->shm));
	if (d->shm == NULL) {
		free(d);
		return -ENOMEM;
	}
	d->info = *info;
	priv_end_text(d->info.name, sizeof(d->info.name));
	priv_end_text(d->info.socket, sizeof(d->info.socket));
	d->door = -1;
	d->next = served->staged_devices;
	served->staged_devices = d;
	return 0;
}

static int
stage_shm(struct served *served, const struct priv_have_shm *info)
{
	struct device *d = device_in(served->staged_devices, info->device);

	if (d == NULL || info->n > PRIV_SHM_MAX ||
	    info->n > d->info.nshm - d->nshm)
		return -EPROTO;
	for (uint32_t i = 0; i < info->n; i++) {
		struct region *r =
		    region_in(served->staged_regions, info->shm[i].region);

		if (r == NULL) {
			/* One that is about to be retired would be freed
			 * under the device. */
			r = region_in(served->regions, info->shm[i].region);
			if (r == NULL || !r->kept)
				return -EPROTO;
		}
		if (info->shm[i].shmid >= SHMIDS ||
		    info->shm[i].access > MEMORY_COPY)
			return -EPROTO;
		d->shm[d->nshm++] = (struct served_shm){
			.shmid = info->shm[i].shmid,
			.access = info->shm[i].access,
			.region = r,
		};
	}
	return 0;
}

static int
stage_door(struct served *served, const struct priv_door *door,
    int fds[static PRIV_REGIONS_MAX])
{
	struct device *d;

	if (door->device == PRIV_CONTROL) {
		fd_closep(&served->control);
		served->control = fd_steal(&fds[0]);
		served->control_gid = door->gid;
		served->control_new = true;
		return 0;
	}
	if (door->rc != 0)
		return -EPROTO;
	d = device_in(served->staged_devices, door->device);
	if (d == NULL || d->door >= 0)
		return -EPROTO;
	d->door = fd_steal(&fds[0]);
	d->connected = door->connected != 0;
	return 0;
}

int
served_stage(struct served *served, const struct priv_msg *msg,
    int fds[static PRIV_REGIONS_MAX])
{
	switch (msg->type) {
	case PRIV_HAVE_REGION:
		return stage_region(served, &msg->u.have_region, fds);
	case PRIV_HAVE_DEVICE:
		return stage_device(served, &msg->u.have_device);
	case PRIV_HAVE_SHM:
		return stage_shm(served, &msg->u.have_shm);
	case PRIV_DOOR:
		return stage_door(served, &msg->u.door, fds);
	default:
		return -EPROTO;
	}
}

void
served_drop(struct served *served)
{
	while (served->staged_devices != NULL) {
		struct device *d = served->staged_devices;

		served->staged_devices = d->next;
		/* Its door was never watched. */
		fd_closep(&d->door);
		free(d->shm);
		free(d);
	}
	while (served->staged_regions != NULL) {
		struct region *r = served->staged_regions;

		served->staged_regions = r->next;
		free_region(r);
	}
	for (struct region *r = served->regions; r != NULL; r = r->next)
		r->kept = false;
	fd_closep(&served->control);
	served->control_new = false;
}

/* Take the door and the figures of the device that had this number before. */
static void
inherit(struct served *served, struct device *device)
{
	struct device *old = served_device(served, device->info.id);

	if (old == NULL)
		return;
	device->served = old->served;
	device->refused = old->refused;
	device->refused_second = old->refused_second;
	device->refused_untold = old->refused_untold;
	if (device->door < 0 && old->door >= 0) {
		served->ops->closing(served->ctx, old);
		device->connected = old->connected;
		device->door = fd_steal(&old->door);
	}
}

void
served_commit(struct served *served)
{
	struct device *d, *old = served->devices;
	struct region *r;

	for (d = served->staged_devices; d != NULL; d = d->next)
		inherit(served, d);
	for (; old != NULL; old = old->next) {
		served_close_door(served, old);
		old->retired = true;
	}
	for (r = served->regions; r != NULL; r = r->next) {
		r->retired = r->retired || !r->kept;
		if (r->kept) {
			r->info.release = r->next_release;
			r->info.max_connections = r->next_max_connections;
		}
		r->kept = false;
	}
	while ((r = served->staged_regions) != NULL) {
		served->staged_regions = r->next;
		r->next = served->regions;
		served->regions = r;
		served->ops->added(served->ctx, r);
	}
	while ((d = served->staged_devices) != NULL) {
		served->staged_devices = d->next;
		d->next = served->devices;
		served->devices = d;
		if (d->door >= 0)
			served->ops->opened(served->ctx, d);
	}
	served->generation++;
	if (served->control_new)
		served->ops->control(served->ctx, fd_steal(&served->control),
		    served->control_gid);
	served->control_new = false;
	served_sweep(served);
}

void
served_free(struct served *served)
{
	served_drop(served);
	for (struct device *d = served->devices; d != NULL; d = d->next) {
		d->retired = true;
		d->holders = 0;
	}
	for (struct region *r = served->regions; r != NULL; r = r->next) {
		r->retired = true;
		r->connections = 0;
	}
	served_sweep(served);
	/* Those that could not go now go all the same. */
	while (served->regions != NULL) {
		struct region *r = served->regions;

		served->regions = r->next;
		free_region(r);
	}
}
