/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* SHMEM_MAP, and when: invariant number one stands in map.h. */
#include "config.h"

#include "proto/map.h"

#include "proto/backend.h"
#include "proto/session.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

bool
vus_map_allowed(const struct vus_session *s)
{
	return s->state.started && vus_negotiated(s, VUS_F_SHMEM) &&
	       s->backend.fd >= 0;
}

/* Whether the mapping that this session had made is in the memory table. */
static bool
survived(const struct vus_session *s, unsigned shmid)
{
	const struct vus_region *region = &s->device->shm[shmid];
	const struct vus_mem_region *entry;

	if (!s->state.has_map_addr[shmid])
		return false;
	for (unsigned i = 0; (entry = vus_mem_find_file(&s->mem, region->dev,
				  region->ino, &i)) != NULL;
	     i++)
		if (entry->guest_addr == s->state.map_addr[shmid])
			return true;
	return false;
}

/* One SHMEM_MAP of a whole region. Returns 0 or a negative errno. */
static int
send_map(struct vus_session *s, unsigned shmid)
{
	const struct vus_region *region = &s->device->shm[shmid];
	struct vus_wire_mmap map = {
		.shmid = (uint8_t)shmid,
		.len = region->size,
		.flags = region->writable ? VUS_MMAP_WRITABLE : 0,
	};
	int rc = vus_backend_send(
	    s, VUS_BACKEND_SHMEM_MAP, shmid, &map, sizeof(map), region->fd);

	if (rc < 0)
		return rc;
	s->state.map[shmid] = VUS_MAP_SENT;
	vus_log(s, VUS_LOG_DEBUG, "SHMEM_MAP sent: shmid %u, %" PRIu64 " bytes",
	    shmid, region->size);
	return 0;
}

/* Of those that a front-end has not read only itself can know better; but one
 * that waits because of others is worth a warning. */
static void
tell_wait(const struct vus_session *s, unsigned shmid, int rc)
{
	if (rc == -EBUSY)
		vus_log(s, VUS_LOG_DEBUG,
		    "SHMEM_MAP of shmid %u waits: the front-end has not read "
		    "those that were sent",
		    shmid);
	else
		vus_log(s, VUS_LOG_WARN,
		    "SHMEM_MAP of shmid %u waits: too many descriptors lie "
		    "unread in the channels of all front-ends",
		    shmid);
}

void
vus_map_continue(struct vus_session *s)
{
	struct vus_state *st = &s->state;
	bool waited = st->map_waits;

	st->map_waits = false;
	for (; st->map_next < VUS_SHMEM_MAX; st->map_next++) {
		unsigned shmid = st->map_next;
		int rc;

		if (!vus_map_allowed(s))
			return;
		if (s->device->shm[shmid].size == 0)
			continue;
		if (survived(s, shmid)) {
			st->map[shmid] = VUS_MAP_DONE;
			vus_log(s, VUS_LOG_DEBUG, "shmid %u is mapped already",
			    shmid);
			continue;
		}
		rc = send_map(s, shmid);
		if (rc == -EAGAIN)
			return;
		if (rc == -EBUSY || rc == -ETOOMANYREFS) {
			st->map_waits = true;
			if (!waited)
				tell_wait(s, shmid, rc);
			return;
		}
		if (rc < 0) {
			vus_log(s, VUS_LOG_WARN,
			    "back-end channel: SHMEM_MAP of shmid %u not "
			    "sent: %s; the guest will see no memory there",
			    shmid,
			    rc == -EDQUOT ? "too many lie unread in channels "
					    "of before"
					  : strerror(-rc));
			vus_session_set_backend(s, -1);
			return;
		}
	}
}

void
vus_map_start(struct vus_session *s)
{
	s->state.map_next = 0;
	memset(s->state.map, 0, sizeof(s->state.map));
	vus_backend_look(s);
	vus_map_continue(s);
}

bool
vus_map_wants_write(const struct vus_session *s)
{
	return s->state.map_next < VUS_SHMEM_MAX && !s->state.map_waits &&
	       vus_map_allowed(s);
}

void
vus_map_stop(struct vus_session *s)
{
	memset(s->state.map, 0, sizeof(s->state.map));
	s->state.map_next = VUS_SHMEM_MAX;
	s->state.map_waits = false;
	s->state.nstale = s->state.npending;
}

static bool
has_region(const struct vus_session *s, unsigned shmid)
{
	return s->device->shm[shmid].size != 0;
}

void
vus_map_table_changes(struct vus_session *s)
{
	struct vus_state *st = &s->state;
	const struct vus_mem_region *entry;

	/* The answer to a map comes before the table that shows it. */
	if (st->npending != 0 && s->backend.fd >= 0)
		vus_backend_readable(s);
	st->nseen = 0;
	for (unsigned shmid = 0; shmid < VUS_SHMEM_MAX; shmid++) {
		const struct vus_region *region = &s->device->shm[shmid];

		for (unsigned i = 0;
		     has_region(s, shmid) &&
		     (entry = vus_mem_find_file(
			  &s->mem, region->dev, region->ino, &i)) != NULL;
		     i++, st->nseen++)
			if (st->nseen < VUS_MEM_TABLE_MAX)
				st->seen[st->nseen] = entry->guest_addr;
	}
}

static bool
was_seen(const struct vus_state *st, uint64_t addr)
{
	for (unsigned i = 0; i < st->nseen; i++)
		if (st->seen[i] == addr)
			return true;
	return false;
}

void
vus_map_table_changed(struct vus_session *s)
{
	struct vus_state *st = &s->state;
	const struct vus_mem_region *entry;

	if (st->nseen > VUS_MEM_TABLE_MAX)
		return;
	for (unsigned shmid = 0; shmid < VUS_SHMEM_MAX; shmid++) {
		const struct vus_region *region = &s->device->shm[shmid];
		unsigned fresh = 0;

		if (!st->map_awaited[shmid])
			continue;
		for (unsigned i = 0;
		     (entry = vus_mem_find_file(
			  &s->mem, region->dev, region->ino, &i)) != NULL;
		     i++) {
			if (was_seen(st, entry->guest_addr))
				continue;
			/* Two at once: not to be told apart. */
			st->has_map_addr[shmid] = ++fresh == 1;
			st->map_addr[shmid] = entry->guest_addr;
			st->map_awaited[shmid] = false;
		}
	}
}

void
vus_map_forget(struct vus_session *s)
{
	memset(s->state.map_awaited, 0, sizeof(s->state.map_awaited));
	memset(s->state.has_map_addr, 0, sizeof(s->state.has_map_addr));
	memset(s->state.mapped_once, 0, sizeof(s->state.mapped_once));
}

void
vus_map_answer(struct vus_session *s, unsigned shmid, uint64_t result)
{
	struct vus_state *st = &s->state;

	if (result == 0) {
		vus_log(s, VUS_LOG_DEBUG, "SHMEM_MAP done: shmid %u", shmid);
		st->map[shmid] = VUS_MAP_DONE;
		st->mapped_once[shmid] = true;
		st->map_awaited[shmid] = true;
		return;
	}
	st->map[shmid] = VUS_MAP_REFUSED;
	if (st->mapped_once[shmid]) {
		/* crosvm keeps mappings over a reset of the device. */
		vus_log(s, VUS_LOG_INFO,
		    "SHMEM_MAP of shmid %u refused (%" PRId64 "), as it is "
		    "by a front-end that has kept the mapping",
		    shmid, (int64_t)result);
		return;
	}
	vus_log(s, VUS_LOG_WARN,
	    "SHMEM_MAP of shmid %u refused by the front-end (%" PRId64 "): "
	    "unless it is mapped there already the guest sees no memory",
	    shmid, (int64_t)result);
}
