/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Who may have a device; see admission.h. */
#include "config.h"

#include "daemon/supervisor/admission.h"

#include "daemon/common/memory.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

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
group_in_list(const gid_t *list, unsigned n, gid_t gid)
{
	for (unsigned i = 0; i < n; i++)
		if (list[i] == gid)
			return true;
	return false;
}

/* Whether the peer at fd, whose group is gid, is in a group of the list; or
 * unknown, if nobody can tell. */
static bool
in_group(int fd, gid_t gid, const gid_t *list, unsigned n, bool unknown)
{
	static gid_t groups[GROUPS_MAX];
	socklen_t len = sizeof(groups);

	if (n == 0)
		return false;
	if (group_in_list(list, n, gid))
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return unknown;
	for (unsigned i = 0; i < len / sizeof(groups[0]); i++)
		if (group_in_list(list, n, groups[i]))
			return true;
	return false;
}

/* Whether it may open the region anew for writing, by /proc/self/fd: as root,
 * as its owner, or by the mode, which a file may have any of. */
static bool
may_open(const struct region *region, int fd, const struct front_end *who,
    uid_t owner)
{
	struct stat st;

	if (who->uid == 0 || who->uid == owner || fstat(region->fd, &st) < 0)
		return true;
	return who->uid == st.st_uid || (st.st_mode & S_IWOTH) != 0 ||
	       ((st.st_mode & S_IWGRP) != 0 &&
		   in_group(fd, who->gid, &st.st_gid, 1, true));
}

/* A descriptor for reading keeps a front-end from writing to memory that
 * others write to, unless it may open it anew. */
static bool
could_write(const struct device *device, int fd, const struct front_end *who,
    uid_t owner)
{
	for (unsigned i = 0; i < device->nshm; i++)
		if (device->shm[i].access == MEMORY_READ_ONLY &&
		    device->shm[i].region->info.access == MEMORY_READ_WRITE &&
		    may_open(device->shm[i].region, fd, who, owner))
			return true;
	return false;
}

const char *
admission_of(const struct device *device, int fd, const struct front_end *who,
    uid_t owner)
{
	const struct priv_have_device *info = &device->info;

	if (info->nallow_users + info->nallow_groups != 0 &&
	    !user_allowed(info, who->uid) &&
	    !in_group(
		fd, who->gid, info->allow_groups, info->nallow_groups, false))
		return "neither its user nor a group of it is allowed "
		       "(allow-user, allow-group)";
	if (could_write(device, fd, who, owner))
		return "its user could open for writing what is read-only for "
		       "this device; run it as another user than root, "
		       "vhost-shmemd and those who may write to the file";
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

		if (r->unerased) {
			(void)snprintf(text, sizeof(text),
			    "region %s could not be erased after its last use",
			    r->info.name);
			return text;
		}
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
