/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* SHMEM_MAP, and when: invariant number one stands in map.h. */
#include "config.h"

#include "map.h"

#include "session.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

bool
vus_map_allowed(const struct vus_session *s)
{
	return s->state.started && vus_negotiated(s, VUS_F_SHMEM) &&
	       s->backend.fd >= 0;
}

static bool
in_table(const struct vus_session *s, unsigned shmid)
{
	const struct vus_region *region = &s->device->shm[shmid];

	return vus_mem_has_file(&s->mem, region->dev, region->ino);
}

/* One SHMEM_MAP of a whole region. Returns 0 or a negative errno. */
static int
send_map(struct vus_session *s, unsigned shmid)
{
	const struct vus_region *region = &s->device->shm[shmid];
	struct vus_state *st = &s->state;
	struct vus_wire_mmap map = {
		.shmid = (uint8_t)shmid,
		.len = region->size,
		.flags = region->writable ? VUS_MMAP_WRITABLE : 0,
	};
	/* A front-end may never answer; what it owes us stays bounded. */
	bool ask = vus_negotiated(s, VUS_F_REPLY_ACK) &&
		   st->npending < VUS_MAP_PENDING_MAX;
	int rc;

	rc = vus_chan_send(&s->backend, VUS_BACKEND_SHMEM_MAP,
	    ask ? VUS_FLAG_NEED_REPLY : 0, &map, sizeof(map), region->fd);
	if (rc < 0)
		return rc;
	if (ask)
		st->pending[(st->pending_first + st->npending++) %
			    VUS_MAP_PENDING_MAX] = (uint8_t)shmid;
	st->map[shmid] = VUS_MAP_SENT;
	vus_log(s, VUS_LOG_DEBUG, "SHMEM_MAP sent: shmid %u, %" PRIu64 " bytes",
	    shmid, region->size);
	return 0;
}

void
vus_map_continue(struct vus_session *s)
{
	struct vus_state *st = &s->state;

	for (; st->map_next < VUS_SHMEM_MAX; st->map_next++) {
		unsigned shmid = st->map_next;
		int rc;

		if (!vus_map_allowed(s))
			return;
		if (s->device->shm[shmid].size == 0)
			continue;
		if (in_table(s, shmid)) {
			st->map[shmid] = VUS_MAP_DONE;
			vus_log(s, VUS_LOG_DEBUG, "shmid %u is mapped already",
			    shmid);
			continue;
		}
		rc = send_map(s, shmid);
		if (rc == -EAGAIN)
			return;
		if (rc < 0) {
			vus_log(s, VUS_LOG_WARN,
			    "back-end channel: SHMEM_MAP of shmid %u not "
			    "sent: %s; the guest will see no memory there",
			    shmid, strerror(-rc));
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
	vus_map_continue(s);
}

bool
vus_map_wants_write(const struct vus_session *s)
{
	return s->state.map_next < VUS_SHMEM_MAX && vus_map_allowed(s);
}

void
vus_map_stop(struct vus_session *s)
{
	memset(s->state.map, 0, sizeof(s->state.map));
	s->state.map_next = VUS_SHMEM_MAX;
	s->state.nstale = s->state.npending;
}

void
vus_map_table_changed(struct vus_session *s)
{
	for (unsigned i = 0; i < VUS_SHMEM_MAX; i++)
		if (s->device->shm[i].size != 0 && s->state.started &&
		    in_table(s, i))
			s->state.map[i] = VUS_MAP_DONE;
}

/* One answer; false if it is none that we asked for. */
static bool
on_answer(struct vus_session *s, const struct vus_msg *msg)
{
	struct vus_state *st = &s->state;
	uint64_t result;
	unsigned shmid;

	if (msg->head.request != VUS_BACKEND_SHMEM_MAP ||
	    msg->head.flags != (VUS_VERSION | VUS_FLAG_REPLY) ||
	    msg->head.size != sizeof(result) || msg->nfds != 0 ||
	    st->npending == 0)
		return false;
	memcpy(&result, msg->payload, sizeof(result));
	shmid = st->pending[st->pending_first];
	st->pending_first = (st->pending_first + 1) % VUS_MAP_PENDING_MAX;
	st->npending--;
	if (st->nstale != 0) {
		/* About an earlier start, whose mappings are gone. */
		st->nstale--;
		return true;
	}
	if (result == 0) {
		vus_log(s, VUS_LOG_DEBUG, "SHMEM_MAP done: shmid %u", shmid);
		if (st->map[shmid] == VUS_MAP_SENT)
			st->map[shmid] = VUS_MAP_DONE;
		return true;
	}
	/* Once the table shows our file, "refused" meant "already there". */
	if (st->map[shmid] != VUS_MAP_SENT)
		return true;
	st->map[shmid] = VUS_MAP_REFUSED;
	vus_log(s, VUS_LOG_WARN,
	    "SHMEM_MAP of shmid %u refused by the front-end (%" PRId64 "): "
	    "unless it is mapped there already the guest sees no memory",
	    shmid, (int64_t)result);
	return true;
}

void
vus_map_readable(struct vus_session *s)
{
	enum vus_chan_status rc = vus_chan_fill(&s->backend);
	struct vus_msg *msg = &s->msg;

	if (rc == VUS_CHAN_AGAIN)
		return;
	while (rc == VUS_CHAN_OK) {
		bool fits;

		rc = vus_chan_take(&s->backend, msg);
		if (rc == VUS_CHAN_AGAIN)
			return;
		if (rc != VUS_CHAN_OK)
			break;
		fits = on_answer(s, msg);
		vus_msg_close(msg);
		if (!fits) {
			s->backend.why = "not an answer to a SHMEM_MAP";
			rc = VUS_CHAN_BROKEN;
		}
	}
	if (rc == VUS_CHAN_EOF)
		vus_log(s, VUS_LOG_DEBUG,
		    "back-end channel closed by the front-end");
	else
		vus_log(s, VUS_LOG_WARN,
		    "back-end channel closed: %s; regions cannot be mapped "
		    "again",
		    s->backend.why);
	vus_session_set_backend(s, -1);
}
