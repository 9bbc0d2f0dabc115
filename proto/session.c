/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* One front-end connection; the promises are in session.h. */
#include "config.h"

#include "proto/session.h"

#include "proto/backend.h"
#include "proto/fd.h"
#include "proto/map.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Not in every C library's headers. */
#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x8
#endif

/* Requests that a ring is served for in one go before others get their turn. */
#define SERVE_MAX 256U

void
vus_log(const struct vus_session *s, enum vus_log_level level,
    const char *format, ...)
{
	char text[224];
	va_list ap;

	if (level > s->host.verbosity)
		return;
	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	s->host.log(s->host.ctx, level, text);
}

uint64_t
vus_session_features(const struct vus_session *s)
{
	uint64_t features =
	    s->device->type->features | VUS_BIT(VUS_VIRTIO_F_INDIRECT_DESC) |
	    VUS_BIT(VUS_VIRTIO_F_EVENT_IDX) |
	    VUS_BIT(VUS_VIRTIO_F_PROTOCOL_FEATURES) |
	    VUS_BIT(VUS_VIRTIO_F_VERSION_1) |
	    VUS_BIT(VUS_VIRTIO_F_RING_PACKED) | VUS_BIT(VUS_VIRTIO_F_IN_ORDER) |
	    VUS_BIT(VUS_VIRTIO_F_RING_RESET);

	if (s->dialect.protocol_features & VUS_BIT(VUS_F_LOG_SHMFD))
		features |= VUS_BIT(VUS_VIRTIO_F_LOG_ALL);
	return features & ~s->dialect.virtio_without;
}

/* The answer to GET_SHMEM_CONFIG, the same for the whole connection. */
static void
freeze_shmem_config(struct vus_session *s)
{
	struct vus_wire_shmem_config *config = &s->shmem_config;
	unsigned used = 0, end = 0;

	for (unsigned i = 0; i < VUS_SHMEM_MAX; i++) {
		config->size[i] = s->device->shm[i].size;
		if (config->size[i] != 0) {
			used++;
			end = i + 1;
		}
	}
	if (s->dialect.short_shmem_config) {
		config->num_regions = end;
		s->shmem_config_len =
		    offsetof(struct vus_wire_shmem_config, size) +
		    end * sizeof(config->size[0]);
	} else {
		config->num_regions = used;
		s->shmem_config_len = sizeof(*config);
	}
}

void
vus_session_init(struct vus_session *s, const struct vus_device *device,
    const struct vus_dialect *dialect, const struct vus_host *host)
{
	memset(s, 0, sizeof(*s));
	s->device = device;
	s->dialect = *dialect;
	s->host = *host;
	vus_chan_init(&s->front, -1);
	vus_chan_init(&s->backend, -1);
	for (unsigned i = 0; i < VUS_RINGS_MAX; i++) {
		s->ring[i].kick_fd = -1;
		s->ring[i].call_fd = -1;
		s->ring[i].err_fd = -1;
		vus_virtq_reset(&s->ring[i].vq);
	}
	s->dirty_fd = -1;
	freeze_shmem_config(s);
	vus_map_stop(s);
	vus_state_init(s);
}

void
vus_session_connect(struct vus_session *s, int fd)
{
	vus_chan_init(&s->front, fd);
}

void
vus_session_set_backend(struct vus_session *s, int fd)
{
	if (s->backend.fd >= 0)
		s->host.watch(s->host.ctx, VUS_WATCH_BACKEND, 0, -1);
	vus_backend_leave(s);
	vus_chan_close(&s->backend);
	s->state.npending = 0;
	s->state.nstale = 0;
	for (unsigned i = 0; i < VUS_RINGS_MAX; i++) {
		s->ring[i].call.asked = false;
		s->ring[i].err.asked = false;
	}
	if (fd < 0)
		return;
	vus_chan_init(&s->backend, fd);
	s->backend.bare = true;
	s->host.watch(s->host.ctx, VUS_WATCH_BACKEND, 0, fd);
	if (vus_map_allowed(s))
		vus_map_start(s);
}

/* --- rings --------------------------------------------------------------- */

/* Watch the ring's kick descriptor, or not any more. */
static void
ring_watch(struct vus_session *s, unsigned index, bool on)
{
	struct vus_ring *ring = &s->ring[index];

	if (ring->watched == on)
		return;
	ring->watched = on;
	s->host.watch(
	    s->host.ctx, VUS_WATCH_KICK, index, on ? ring->kick_fd : -1);
}

void
vus_ring_log(struct vus_session *s, unsigned index)
{
	bool on = (s->state.features & VUS_BIT(VUS_VIRTIO_F_LOG_ALL)) != 0 &&
		  s->dirty.map.base != NULL;

	s->ring[index].vq.dirty = on ? &s->dirty : NULL;
}

/* Give a ring its region of the inflight buffer, if there is one. */
static void
ring_track(struct vus_session *s, unsigned index)
{
	struct vus_virtq *vq = &s->ring[index].vq;

	vq->inflight.region = NULL;
	vq->inflight.redo = 0;
	if (s->inflight.map.base == NULL || index >= s->inflight.queues)
		return;
	if (vq->num > s->inflight.entries || vq->packed != s->inflight.packed) {
		vus_log(s, VUS_LOG_WARN,
		    "ring %u: the inflight buffer is for other rings; its "
		    "requests are not tracked",
		    index);
		return;
	}
	vq->inflight.entries = s->inflight.entries;
	vq->inflight.region =
	    s->inflight.map.at +
	    index * vus_inflight_size(vq->packed, s->inflight.entries);
}

/* Find a running ring in memory. */
static void
ring_resolve(struct vus_session *s, unsigned index)
{
	struct vus_ring *ring = &s->ring[index];
	const char *why = "no size or no addresses";

	vus_ring_log(s, index);
	ring_track(s, index);
	if (ring->vq.num != 0 && ring->has_addr)
		why = vus_virtq_resolve(&ring->vq, &s->mem, ring->desc_addr,
		    ring->avail_addr, ring->used_addr);
	if (why != NULL)
		vus_log(s, VUS_LOG_WARN, "ring %u cannot be served: %s", index,
		    why);
	ring->look = why == NULL;
}

void
vus_ring_update(struct vus_session *s, unsigned index)
{
	struct vus_ring *ring = &s->ring[index];
	bool running = vus_ring_running(ring);
	bool started;

	vus_held_put_back(s, index);
	if (running) {
		vus_state_cancel(s, "the device has been started");
		if (!ring->broken)
			ring_resolve(s, index);
	} else {
		vus_virtq_unresolve(&ring->vq);
		ring->broken = false;
		ring->look = false;
	}
	ring_watch(s, index, running && !ring->broken && ring->kick_fd >= 0);

	started = vus_ring_running(&s->ring[0]);
	if (started == s->state.started)
		return;
	s->state.started = started;
	vus_log(s, VUS_LOG_DEBUG, "device %s", started ? "started" : "stopped");
	if (!started)
		vus_map_stop(s);
	else if (vus_map_allowed(s))
		vus_map_start(s);
}

void
vus_ring_kick_fd(struct vus_session *s, unsigned index, int fd, bool polled)
{
	struct vus_ring *ring = &s->ring[index];

	ring_watch(s, index, false);
	fd_closep(&ring->kick_fd);
	ring->kick_fd = fd;
	ring->polled = polled;
	ring->kicked = true;
	/* Without bit 30 a ring is enabled as soon as it is started:
	 * vhost-user.rst, "Ring states". */
	if (!(s->state.features & VUS_BIT(VUS_VIRTIO_F_PROTOCOL_FEATURES)))
		ring->enabled = true;
	vus_ring_update(s, index);
}

void
vus_ring_stop(struct vus_session *s, unsigned index)
{
	struct vus_ring *ring = &s->ring[index];

	ring->kicked = false;
	vus_ring_update(s, index);
	fd_closep(&ring->kick_fd);
	fd_closep(&ring->call_fd);
	ring->call.due = false;
	ring->call.unwanted = false;
}

void
vus_session_reset_device(struct vus_session *s)
{
	vus_state_cancel(s, "the device has been reset");
	/* Ring 0 first: with it the device counts as stopped. */
	for (unsigned i = 0; i < s->device->type->num_queues; i++) {
		struct vus_ring *ring = &s->ring[i];

		ring->enabled = false;
		vus_ring_stop(s, i);
		fd_closep(&ring->err_fd);
		ring->err.due = false;
		ring->err.unwanted = false;
		ring->has_addr = false;
		vus_virtq_reset(&ring->vq);
	}
	/* What was in flight is of a driver that is gone. */
	vus_mapping_close(&s->inflight.map);
	s->state.status = 0;
}

void
vus_notify(int fd)
{
	uint64_t one = 1;

	/*
	 * An eventfd that is full has a notification waiting already, and one
	 * that fails is the front-end's own loss. Full and without O_NONBLOCK
	 * it makes us wait, for which there is no flag to say otherwise: until
	 * the front-end, which alone can have filled it, reads it, or the next
	 * alarm.
	 */
	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		return;
}

void
vus_ring_served(struct vus_session *s, unsigned index, bool used)
{
	if (used && vus_virtq_should_call(&s->ring[index].vq))
		vus_backend_call(s, index);
	if (s->dirty.marked) {
		s->dirty.marked = false;
		vus_notify(s->dirty_fd);
	}
}

/* A request was served, and len is what serve() has returned: complete it, or
 * hold it. Returns whether it is completed. */
static bool
served(struct vus_session *s, unsigned index, const struct vus_chain *chain,
    uint32_t len)
{
	struct vus_ring *ring = &s->ring[index];

	if (len == VUS_LATER || ring->held != 0) {
		vus_held_add(s, index, len);
		return false;
	}
	vus_virtq_push(&ring->vq, chain, len);
	s->counters.ring[index].requests++;
	return true;
}

void
vus_ring_serve(struct vus_session *s, unsigned index)
{
	struct vus_ring *ring = &s->ring[index];
	bool used = false;

	ring->look = false;
	if (!vus_ring_running(ring) || ring->broken ||
	    !vus_virtq_ready(&ring->vq))
		return;
	for (unsigned n = 0;; n++) {
		struct vus_chain *chain;
		const char *why;

		if (s->held.n == VUS_HELD_MAX) {
			ring->wants_room = true;
			break;
		}
		chain = &s->held.item[s->held.n].chain;
		if (n == SERVE_MAX) {
			ring->look = true;
			break;
		}
		switch (vus_virtq_pop(&ring->vq, &s->mem, chain, &why)) {
		case VUS_POP_CHAIN:
			used |= served(s, index, chain,
			    s->device->type->serve(s, index, chain));
			continue;
		case VUS_POP_BAD:
			used |= served(s, index, chain, 0);
			vus_log(s, VUS_LOG_WARN, "ring %u: malformed chain: %s",
			    index, why);
			continue;
		case VUS_POP_SKIP:
			vus_log(s, VUS_LOG_WARN, "ring %u: malformed chain: %s",
			    index, why);
			continue;
		case VUS_POP_EMPTY:
			if (vus_virtq_arm(&ring->vq))
				continue;
			break;
		case VUS_POP_BROKEN:
			vus_log(s, VUS_LOG_WARN,
			    "ring %u stopped until the driver starts it "
			    "again: %s",
			    index, why);
			ring->broken = true;
			ring_watch(s, index, false);
			vus_backend_err(s, index);
			break;
		}
		break;
	}
	vus_ring_served(s, index, used);
	vus_held_begin(s);
}

/* --- the host's calls ---------------------------------------------------- */

/* A ring that is served and has nothing to tell us when. */
static bool
ring_polled(const struct vus_ring *ring)
{
	return vus_ring_running(ring) && !ring->broken && ring->polled &&
	       vus_virtq_ready(&ring->vq);
}

static enum vus_next
next(const struct vus_session *s)
{
	enum vus_next next = VUS_NEXT_WAIT;

	if (vus_state_busy(&s->transfer))
		return VUS_NEXT_WORK;
	for (unsigned i = 0; i < s->device->type->num_queues; i++) {
		if (s->ring[i].look)
			return VUS_NEXT_WORK;
		if (ring_polled(&s->ring[i]))
			next = VUS_NEXT_POLL;
	}
	/* Nothing tells when a front-end has read. */
	return s->state.map_waits ? VUS_NEXT_POLL : next;
}

/* What came makes no message; of the one at hand the header may be there. */
static enum vus_next
front_broken(struct vus_session *s)
{
	struct vus_wire_header head;

	if (s->front.in_len >= sizeof(head)) {
		memcpy(&head, s->front.in, sizeof(head));
		vus_log(s, VUS_LOG_WARN, "connection closed: %s (%u): %s",
		    vus_request_name(head.request), head.request, s->front.why);
	} else {
		vus_log(s, VUS_LOG_WARN, "connection closed: %s", s->front.why);
	}
	return VUS_NEXT_BROKEN;
}

/* Carry out every whole message that has arrived. */
static enum vus_next
drain(struct vus_session *s)
{
	while (!vus_session_wants_write(s) && !s->transfer.check_due) {
		switch (vus_chan_take(&s->front, &s->msg)) {
		case VUS_CHAN_OK:
			if (!vus_dispatch(s))
				return VUS_NEXT_BROKEN;
			continue;
		case VUS_CHAN_AGAIN:
			return next(s);
		case VUS_CHAN_EOF:
		case VUS_CHAN_BROKEN:
			return front_broken(s);
		}
	}
	return next(s);
}

enum vus_next
vus_session_readable(struct vus_session *s)
{
	/* It is not taken out of the buffer before the check is answered. */
	s->front.bare = s->transfer.check_due;
	switch (vus_chan_fill(&s->front)) {
	case VUS_CHAN_OK:
		return drain(s);
	case VUS_CHAN_AGAIN:
		return next(s);
	case VUS_CHAN_EOF:
		return VUS_NEXT_CLOSED;
	case VUS_CHAN_BROKEN:
		break;
	}
	return front_broken(s);
}

enum vus_next
vus_session_writable(struct vus_session *s)
{
	int rc = vus_chan_flush(&s->front);

	if (rc == -EPIPE)
		return VUS_NEXT_CLOSED;
	if (rc < 0) {
		vus_log(s, VUS_LOG_WARN,
		    "connection closed: reply not sent: "
		    "%s",
		    strerror(-rc));
		return VUS_NEXT_BROKEN;
	}
	return drain(s);
}

bool
vus_session_backend_wants_write(const struct vus_session *s)
{
	return s->backend.fd >= 0 &&
	       (vus_chan_blocked(&s->backend) || vus_map_wants_write(s) ||
		   vus_backend_calls_wait(s));
}

void
vus_session_answer_late(struct vus_session *s)
{
	vus_log(s, VUS_LOG_WARN,
	    "back-end channel closed: half an answer, and no more; regions "
	    "cannot be mapped again");
	vus_session_set_backend(s, -1);
}

enum vus_next
vus_session_backend_ready(struct vus_session *s)
{
	if (s->backend.fd >= 0)
		vus_backend_readable(s);
	if (s->backend.fd >= 0 && vus_chan_flush(&s->backend) < 0)
		vus_session_set_backend(s, -1);
	if (vus_map_wants_write(s))
		vus_map_continue(s);
	vus_backend_continue(s);
	return next(s);
}

/*
 * Take the count of an eventfd, without a wait. Not by O_NONBLOCK, which would
 * be the front-end's, too. Returns as read().
 */
static ssize_t
read_kick(int fd)
{
	uint64_t count;
	struct iovec iov = { .iov_base = &count, .iov_len = sizeof(count) };
	/* Not every C library has a function for it. No offset: -1. */
	ssize_t n = (ssize_t)syscall(
	    SYS_preadv2, (long)fd, &iov, 1L, -1L, -1L, (long)RWF_NOWAIT);

	/* A kernel that knows no such read of an eventfd. It was readable; if
	 * its owner has read it since, the next alarm ends the wait. */
	if (n < 0 && errno == EOPNOTSUPP)
		n = read(fd, &count, sizeof(count));
	return n;
}

enum vus_next
vus_session_kicked(struct vus_session *s, unsigned ring)
{
	struct vus_ring *r = &s->ring[ring];
	ssize_t n = read_kick(r->kick_fd);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		vus_log(s, VUS_LOG_WARN,
		    "ring %u: its kick descriptor cannot be read: %s", ring,
		    n == 0 ? "end of file" : strerror(errno));
		ring_watch(s, ring, false);
		return next(s);
	}
	vus_ring_serve(s, ring);
	return next(s);
}

enum vus_next
vus_session_synced(struct vus_session *s, int rc)
{
	vus_held_end(s, rc);
	return next(s);
}

/* A transfer has moved on: whoever asks for its end may have waited. */
static enum vus_next
state_moved(struct vus_session *s)
{
	if (!s->transfer.check_due || vus_state_active(&s->transfer))
		return next(s);
	if (!vus_dispatch_check(s))
		return VUS_NEXT_BROKEN;
	return drain(s);
}

enum vus_next
vus_session_state_ready(struct vus_session *s)
{
	vus_state_ready(s);
	return state_moved(s);
}

enum vus_next
vus_session_work(struct vus_session *s)
{
	for (unsigned i = 0; i < s->device->type->num_queues; i++)
		if (s->ring[i].look || ring_polled(&s->ring[i]))
			vus_ring_serve(s, i);
	if (s->state.map_waits)
		vus_map_continue(s);
	if (!vus_state_busy(&s->transfer))
		return next(s);
	vus_state_ready(s);
	return state_moved(s);
}

void
vus_session_close(struct vus_session *s)
{
	/* First of all no channel, so that nothing can be sent any more. */
	vus_session_set_backend(s, -1);
	vus_session_reset_device(s);
	vus_mem_clear(&s->mem);
	vus_dirty_close(&s->dirty);
	fd_closep(&s->dirty_fd);
	vus_chan_close(&s->front);
}
