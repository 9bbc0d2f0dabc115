/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Who may have a device; see admission.h. */
#include "config.h"

#include "admission.h"

#include "memory.h"

#include <stdio.h>
#include <sys/socket.h>

/* Linux 4.13; more groups than these are not looked at. */
#define GROUPS_MAX 1024U

static bool
user_allowed(const struct priv_have_device *info, uid_t uid)
{
	for (unsigned i = 0; i < info->nallow_users; i++)
		if (info->allow_users[i] == uid)
			return true;
	return false;
}

static bool
group_in_list(const struct priv_have_device *info, gid_t gid)
{
	for (unsigned i = 0; i < info->nallow_groups; i++)
		if (info->allow_groups[i] == gid)
			return true;
	return false;
}

static bool
group_allowed(const struct priv_have_device *info, int fd, gid_t gid)
{
	static gid_t groups[GROUPS_MAX];
	socklen_t len = sizeof(groups);

	if (info->nallow_groups == 0)
		return false;
	if (group_in_list(info, gid))
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (unsigned i = 0; i < len / sizeof(groups[0]); i++)
		if (group_in_list(info, groups[i]))
			return true;
	return false;
}

/* A descriptor for reading keeps a front-end from writing to memory that
 * others write to, unless it may open it anew: as its owner, or as root. */
static bool
could_write(const struct device *device, uid_t uid, uid_t owner)
{
	if (uid != 0 && uid != owner)
		return false;
	for (unsigned i = 0; i < device->nshm; i++)
		if (device->shm[i].access == MEMORY_READ_ONLY &&
		    device->shm[i].region->info.access == MEMORY_READ_WRITE)
			return true;
	return false;
}

const char *
admission_of(const struct device *device, int fd, const struct front_end *who,
    uid_t owner)
{
	const struct priv_have_device *info = &device->info;

	if (info->nallow_users + info->nallow_groups != 0 &&
	    !user_allowed(info, who->uid) && !group_allowed(info, fd, who->gid))
		return "neither its user nor a group of it is allowed "
		       "(allow-user, allow-group)";
	if (could_write(device, who->uid, owner))
		return "its user could open for writing what is read-only for "
		       "this device; run it as another user than root and "
		       "vhost-shmemd";
	return NULL;
}

const char *
admission_room(const struct crew *crew, const struct device *device)
{
	static char text[128];
	const struct priv_have_device *info = &device->info;

	if (info->max_connections != 0 &&
	    crew_count_device(crew, info->id) >= info->max_connections) {
		(void)snprintf(text, sizeof(text),
		    "the device has its %u connections (max-connections)",
		    info->max_connections);
		return text;
	}
	for (unsigned i = 0; i < device->nshm; i++) {
		const struct region *r = device->shm[i].region;

		if (r->info.max_connections == 0 ||
		    r->connections < r->info.max_connections)
			continue;
		(void)snprintf(text, sizeof(text),
		    "region %s has its %u connections (max-connections)",
		    r->info.name, r->info.max_connections);
		return text;
	}
	return NULL;
}

bool
admission_ready(const struct device *device)
{
	for (unsigned i = 0; i < device->nshm; i++)
		if (device->shm[i].region->erasing)
			return false;
	return true;
}
