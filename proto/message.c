/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The requests of a front-end: one table, one dispatcher, one handler each.
 *
 * A row says all that can be checked without understanding the payload; a
 * request that its row refuses never reaches a handler. The order of checks:
 * header -> row -> size -> descriptors -> feature -> ring -> handler ->
 * answer -> close what is left.
 */
#include "config.h"

#include "proto/checked.h"
#include "proto/fd.h"
#include "proto/map.h"
#include "proto/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum verdict {
	DONE,	 /* carried out; acknowledge if asked */
	REPLIED, /* the handler has sent a reply of its own */
	REFUSE,	 /* a bad value: s->why; a non-zero acknowledgement if asked */
	HANG_UP	 /* a broken message: s->why */
};

/* How a request is answered. */
enum answer {
	ACK, /* a u64, only with REPLY_ACK and NEED_REPLY */
	OWN  /* a payload of its own, always */
};

/* Where a ring request names its ring, and what state that must be in. */
enum ring_rule {
	NO_RING,
	RING_STATE,	    /* u32 index at the start of the payload */
	RING_STATE_STOPPED, /* the same, and the ring must not be running */
	RING_FD		    /* u64: index, and VUS_VRING_NO_FD */
};

struct row {
	const char *name;
	uint32_t min_size, max_size; /* payload, bytes */
	unsigned min_fds, max_fds;
	uint64_t features; /* protocol features that must be negotiated */
	enum answer answer;
	enum ring_rule ring;
	enum verdict (*handle)(struct vus_session *s, struct vus_msg *msg);
	const char *absent; /* no handler, for this reason */
};

static enum verdict __attribute__((format(printf, 2, 3)))
refuse(struct vus_session *s, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(s->why, sizeof(s->why), format, ap);
	va_end(ap);
	return REFUSE;
}

static enum verdict __attribute__((format(printf, 2, 3)))
hang_up(struct vus_session *s, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(s->why, sizeof(s->why), format, ap);
	va_end(ap);
	return HANG_UP;
}

/* fd: goes with it, and stays ours; -1: none. */
static enum verdict
reply_fd(struct vus_session *s, const struct vus_msg *msg, const void *payload,
    size_t len, int fd)
{
	int rc = vus_chan_send(
	    &s->front, msg->head.request, VUS_FLAG_REPLY, payload, len, fd);

	/* Nobody is there any more: the next read says so. */
	if (rc < 0 && rc != -EPIPE)
		return hang_up(s, "reply not sent: %s", strerror(-rc));
	return REPLIED;
}

static enum verdict
reply(struct vus_session *s, const struct vus_msg *msg, const void *payload,
    size_t len)
{
	return reply_fd(s, msg, payload, len, -1);
}

static enum verdict
reply_u64(struct vus_session *s, const struct vus_msg *msg, uint64_t value)
{
	return reply(s, msg, &value, sizeof(value));
}

static uint64_t
payload_u64(const struct vus_msg *msg)
{
	uint64_t value;

	memcpy(&value, msg->payload, sizeof(value));
	return value;
}

/* --- features and ownership ---------------------------------------------- */

static enum verdict
on_get_features(struct vus_session *s, struct vus_msg *msg)
{
	return reply_u64(s, msg, vus_session_features(s));
}

static void
set_ring_features(struct vus_virtq *vq, uint64_t features)
{
	bool packed = (features & VUS_BIT(VUS_VIRTIO_F_RING_PACKED)) != 0;

	/* A base of the other format means nothing. */
	if (vq->packed != packed)
		vus_virtq_reset(vq);
	vq->packed = packed;
	vq->indirect = (features & VUS_BIT(VUS_VIRTIO_F_INDIRECT_DESC)) != 0;
	vq->event_idx = (features & VUS_BIT(VUS_VIRTIO_F_EVENT_IDX)) != 0;
}

static enum verdict
on_set_features(struct vus_session *s, struct vus_msg *msg)
{
	const struct vus_device_type *type = s->device->type;
	uint64_t features = payload_u64(msg);

	if (features & ~vus_session_features(s))
		return refuse(s, "features 0x%" PRIx64 " were not offered",
		    features & ~vus_session_features(s));
	/* But for LOG_ALL, by which a migration begins and ends. */
	for (unsigned i = 0; i < type->num_queues; i++)
		if (vus_ring_running(&s->ring[i]) &&
		    ((features ^ s->state.features) &
			~VUS_BIT(VUS_VIRTIO_F_LOG_ALL)) != 0)
			return refuse(
			    s, "features change while ring %u runs", i);
	s->state.features = features;
	for (unsigned i = 0; i < type->num_queues; i++) {
		set_ring_features(&s->ring[i].vq, features);
		vus_ring_log(s, i);
	}
	vus_log(s, VUS_LOG_DEBUG, "features 0x%" PRIx64, features);
	if (type->expected & ~features)
		vus_log(s, VUS_LOG_WARN, "%s", type->unaccepted);
	return DONE;
}

static enum verdict
on_set_owner(struct vus_session *s, struct vus_msg *msg)
{
	(void)msg;
	/*
	 * A second time means that the device was unplugged and added again
	 * on this connection (QEMU device_del, device_add): nothing of the
	 * old one may be left. The back-end channel stays, for QEMU sends it
	 * before SET_OWNER.
	 */
	vus_session_reset_device(s);
	vus_mem_clear(&s->mem);
	vus_dirty_close(&s->dirty);
	fd_closep(&s->dirty_fd);
	vus_map_forget(s);
	return DONE;
}

static enum verdict
on_reset_device(struct vus_session *s, struct vus_msg *msg)
{
	(void)msg;
	vus_session_reset_device(s);
	return DONE;
}

/* Deprecated; of the two readings that the specification leaves, the one
 * that disables the rings. */
static enum verdict
on_reset_owner(struct vus_session *s, struct vus_msg *msg)
{
	(void)msg;
	for (unsigned i = 0; i < s->device->type->num_queues; i++) {
		s->ring[i].enabled = false;
		vus_ring_update(s, i);
	}
	return DONE;
}

/*
 * Protocol features change their numbers here and nowhere else: SHMEM has had
 * three. Bit from of features becomes bit to.
 */
static uint64_t
move_bit(uint64_t features, unsigned from, unsigned to)
{
	bool set = (features & VUS_BIT(from)) != 0;

	return (features & ~VUS_BIT(from)) | (set ? VUS_BIT(to) : 0);
}

static enum verdict
on_get_protocol_features(struct vus_session *s, struct vus_msg *msg)
{
	return reply_u64(s, msg,
	    move_bit(s->dialect.protocol_features, VUS_F_SHMEM,
		s->dialect.shmem_bit));
}

static enum verdict
on_set_protocol_features(struct vus_session *s, struct vus_msg *msg)
{
	uint64_t wire = payload_u64(msg);
	uint64_t offered = move_bit(
	    s->dialect.protocol_features, VUS_F_SHMEM, s->dialect.shmem_bit);
	uint64_t features = move_bit(wire, s->dialect.shmem_bit, VUS_F_SHMEM);

	if (wire & ~offered)
		return refuse(s,
		    "protocol features 0x%" PRIx64 " were not offered",
		    wire & ~offered);
	if (s->state.started && features != s->state.protocol_features)
		return refuse(s, "protocol features change while started");
	/* vhost-user.rst, "In-band notifications", says to close it. */
	if ((features & VUS_BIT(VUS_F_INBAND_NOTIFICATIONS)) &&
	    (~features &
		(VUS_BIT(VUS_F_BACKEND_REQ) | VUS_BIT(VUS_F_REPLY_ACK))))
		return hang_up(s,
		    "INBAND_NOTIFICATIONS without BACKEND_REQ and REPLY_ACK");
	s->state.protocol_features = features;
	s->mem.by_guest = vus_negotiated(s, VUS_F_GPA_ADDRESSES);
	vus_log(s, VUS_LOG_DEBUG, "protocol features 0x%" PRIx64, features);
	return DONE;
}

static enum verdict
on_get_queue_num(struct vus_session *s, struct vus_msg *msg)
{
	return reply_u64(s, msg, s->device->type->num_queues);
}

/* VIRTIO 1.3, 2.1. Zero is a reset. */
static enum verdict
on_set_status(struct vus_session *s, struct vus_msg *msg)
{
	uint64_t status = payload_u64(msg);

	if (status > UINT8_MAX)
		return refuse(s, "status 0x%" PRIx64 " is none", status);
	if (status == 0)
		vus_session_reset_device(s);
	s->state.status = (uint8_t)status;
	return DONE;
}

static enum verdict
on_get_status(struct vus_session *s, struct vus_msg *msg)
{
	return reply_u64(s, msg, s->state.status);
}

/* --- configuration space ------------------------------------------------- */

/* The range that a GET_CONFIG or SET_CONFIG names. False if it cannot be. */
static bool
config_range(const struct vus_msg *msg, struct vus_wire_config *range)
{
	memcpy(range, msg->payload, sizeof(*range));
	return msg->head.size - sizeof(*range) == range->size &&
	       checked_within(range->offset, range->size, VUS_CONFIG_MAX);
}

static enum verdict
on_get_config(struct vus_session *s, struct vus_msg *msg)
{
	struct vus_wire_config range;

	/* No error reply: rust-vmm's front-end would wait for the bytes it
	 * has asked for, for ever. */
	if (!config_range(msg, &range))
		return hang_up(s, "no such part of the configuration space");
	if (s->device->type->config_size != 0 &&
	    range.offset + range.size > s->device->type->config_size &&
	    !s->config_doubted) {
		s->config_doubted = true;
		vus_log(s, VUS_LOG_INFO,
		    "GET_CONFIG of %" PRIu32 " bytes at %" PRIu32
		    ", and %s has %u: is the front-end for another device?",
		    range.size, range.offset, s->device->type->name,
		    s->device->type->config_size);
	}
	memcpy(msg->payload + sizeof(range), s->device->config + range.offset,
	    range.size);
	return reply(s, msg, msg->payload, msg->head.size);
}

static enum verdict
on_set_config(struct vus_session *s, struct vus_msg *msg)
{
	struct vus_wire_config range;

	if (!config_range(msg, &range))
		return refuse(s, "no such part of the configuration space");
	/* VIRTIO 1.3, 5.19.4: the driver must not write these fields; that
	 * it does changes nothing. */
	vus_log(s, VUS_LOG_DEBUG, "SET_CONFIG ignored: all is read-only");
	return DONE;
}

/* --- guest memory -------------------------------------------------------- */

/* The table has changed: rings may lie elsewhere, our regions be in it. */
static void
memory_changed(struct vus_session *s)
{
	vus_map_table_changed(s);
	for (unsigned i = 0; i < s->device->type->num_queues; i++)
		if (vus_ring_running(&s->ring[i]))
			vus_ring_update(s, i);
}

static enum verdict
on_set_mem_table(struct vus_session *s, struct vus_msg *msg)
{
	struct vus_wire_mem_region regions[VUS_MEM_TABLE_MAX];
	struct vus_wire_mem_table table;
	const char *why;

	memcpy(&table, msg->payload, sizeof(table));
	if (table.nregions > VUS_MEM_TABLE_MAX ||
	    msg->head.size !=
		sizeof(table) + table.nregions * sizeof(regions[0]))
		return hang_up(s, "%" PRIu32 " regions in %" PRIu32 " bytes",
		    table.nregions, msg->head.size);
	if (msg->nfds != table.nregions)
		return hang_up(s,
		    "%u file descriptors for %" PRIu32 " regions; guest "
		    "memory must be shared (QEMU: -object "
		    "memory-backend-memfd,share=on)",
		    msg->nfds, table.nregions);
	memcpy(regions, msg->payload + sizeof(table),
	    table.nregions * sizeof(regions[0]));
	vus_map_table_changes(s);
	if (vus_mem_replace(&s->mem, regions, msg->fds, table.nregions, &why) <
	    0)
		return refuse(s, "%s", why);
	memory_changed(s);
	return DONE;
}

static enum verdict
on_get_max_mem_slots(struct vus_session *s, struct vus_msg *msg)
{
	return reply_u64(s, msg, VUS_MEM_SLOTS_MAX);
}

static enum verdict
on_add_mem_reg(struct vus_session *s, struct vus_msg *msg)
{
	struct vus_wire_single_region single;
	const char *why;

	memcpy(&single, msg->payload, sizeof(single));
	vus_map_table_changes(s);
	if (vus_mem_add(&s->mem, &single.region, msg->fds[0], &why) < 0)
		return refuse(s, "%s", why);
	memory_changed(s);
	return DONE;
}

static enum verdict
on_rem_mem_reg(struct vus_session *s, struct vus_msg *msg)
{
	struct vus_wire_single_region single;

	memcpy(&single, msg->payload, sizeof(single));
	vus_map_table_changes(s);
	if (vus_mem_remove(&s->mem, &single.region) < 0)
		return refuse(s, "no such region");
	memory_changed(s);
	return DONE;
}

/* --- the dirty log ------------------------------------------------------- */

static void
log_changed(struct vus_session *s)
{
	for (unsigned i = 0; i < s->device->type->num_queues; i++)
		vus_ring_log(s, i);
}

/* Answered by the same again: QEMU waits for any answer, rust-vmm's front-end
 * for this one. */
static enum verdict
on_set_log_base(struct vus_session *s, struct vus_msg *msg)
{
	struct vus_wire_log log;
	const char *why;

	if (msg->head.size != sizeof(log) || msg->nfds != 1)
		return hang_up(s, "%" PRIu32 " bytes, %u file descriptors",
		    msg->head.size, msg->nfds);
	memcpy(&log, msg->payload, sizeof(log));
	if (vus_dirty_open(&s->dirty, msg->fds[0], log.offset, log.size, &why) <
	    0)
		return refuse(s, "%s", why);
	log_changed(s);
	return reply(s, msg, &log, sizeof(log));
}

/* --- rings --------------------------------------------------------------- */

static struct vus_wire_vring_state
payload_state(const struct vus_msg *msg)
{
	struct vus_wire_vring_state state;

	memcpy(&state, msg->payload, sizeof(state));
	return state;
}

static enum verdict
on_set_vring_num(struct vus_session *s, struct vus_msg *msg)
{
	struct vus_wire_vring_state state = payload_state(msg);

	/* 2.8: the size of a packed ring need not be a power of two. */
	if (state.num == 0 || state.num > VUS_RING_MAX ||
	    (!s->ring[state.index].vq.packed &&
		!checked_power_of_two(state.num)))
		return refuse(s, "a ring of %" PRIu32 " entries", state.num);
	s->ring[state.index].vq.num = state.num;
	return DONE;
}

static enum verdict
on_set_vring_addr(struct vus_session *s, struct vus_msg *msg)
{
	struct vus_wire_vring_addr addr;
	struct vus_ring *ring;

	memcpy(&addr, msg->payload, sizeof(addr));
	if (addr.flags & ~VUS_VRING_F_LOG)
		return refuse(s, "flags 0x%" PRIx32, addr.flags);
	/* VIRTIO 1.3, 2.7: a ring that is out of line is never met. */
	if (addr.desc % 16 != 0 || addr.avail % 2 != 0 || addr.used % 4 != 0)
		return refuse(s, "misaligned addresses");
	ring = &s->ring[addr.index];
	ring->desc_addr = addr.desc;
	ring->avail_addr = addr.avail;
	ring->used_addr = addr.used;
	ring->has_addr = true;
	ring->vq.log_ring = (addr.flags & VUS_VRING_F_LOG) != 0;
	ring->vq.used_log = addr.log;
	if (vus_ring_running(ring))
		vus_ring_update(s, addr.index);
	return DONE;
}

static enum verdict
on_set_vring_base(struct vus_session *s, struct vus_msg *msg)
{
	struct vus_wire_vring_state state = payload_state(msg);

	if (vus_virtq_set_base(&s->ring[state.index].vq, state.num) < 0)
		return refuse(s, "base 0x%" PRIx32, state.num);
	return DONE;
}

static enum verdict
on_get_vring_base(struct vus_session *s, struct vus_msg *msg)
{
	struct vus_wire_vring_state state = payload_state(msg);

	vus_ring_stop(s, state.index);
	state.num = vus_virtq_base(&s->ring[state.index].vq);
	return reply(s, msg, &state, sizeof(state));
}

static enum verdict
on_set_vring_enable(struct vus_session *s, struct vus_msg *msg)
{
	struct vus_wire_vring_state state = payload_state(msg);

	if (!(s->state.features & VUS_BIT(VUS_VIRTIO_F_PROTOCOL_FEATURES)))
		return refuse(
		    s, "VHOST_USER_F_PROTOCOL_FEATURES was not accepted");
	if (state.num > 1)
		return refuse(s, "neither 0 nor 1");
	s->ring[state.index].enabled = state.num == 1;
	/* This sends the SHMEM_MAP, before the acknowledgement goes out. */
	vus_ring_update(s, state.index);
	return DONE;
}

/*
 * Take the descriptor of a message into *fd. It must be an eventfd, and stays
 * as it came: its flags are the front-end's, too.
 *
 * No other kind will do. An eventfd holds nothing and is read, written and
 * waited for under a spin lock. An io_uring would hold what is registered with
 * it, such as the front-end's own end of the connection; an epoll descriptor
 * has a lock that its owner can hold for as long as it likes, and whoever
 * looks at it can then not even be killed. Both have no type of file, as an
 * eventfd has none. A number that is added tells: what else has none takes no
 * bytes, or not these. Zero changes nothing; whoever waits for the descriptor
 * looks once, which can be one interrupt too many for the guest.
 */
static enum verdict
take_event_fd(struct vus_session *s, struct vus_msg *msg, int *fd)
{
	uint64_t zero = 0;
	struct stat st;

	*fd = -1;
	if (fstat(msg->fds[0], &st) < 0)
		return refuse(s, "%s", strerror(errno));
	if ((st.st_mode & S_IFMT) != 0 ||
	    write(msg->fds[0], &zero, sizeof(zero)) != sizeof(zero))
		return refuse(s, "the descriptor is not an eventfd");
	*fd = vus_msg_take_fd(msg);
	return DONE;
}

/* The same for a kick, call or error message, which may say that there is
 * none: -1. */
static enum verdict
take_vring_fd(struct vus_session *s, struct vus_msg *msg, int *fd)
{
	bool none = (payload_u64(msg) & VUS_VRING_NO_FD) != 0;

	*fd = -1;
	if (msg->nfds != (none ? 0U : 1U))
		return hang_up(s, "%u file descriptors", msg->nfds);
	return none ? DONE : take_event_fd(s, msg, fd);
}

static unsigned
payload_ring(const struct vus_msg *msg)
{
	return (unsigned)(payload_u64(msg) & VUS_VRING_INDEX_MASK);
}

static enum verdict
on_set_vring_kick(struct vus_session *s, struct vus_msg *msg)
{
	enum verdict verdict;
	int fd;

	verdict = take_vring_fd(s, msg, &fd);
	if (verdict != DONE)
		return verdict;
	vus_ring_kick_fd(s, payload_ring(msg), fd, fd < 0);
	return DONE;
}

/* In-band; it also starts a ring that SET_VRING_KICK has not. */
static enum verdict
on_vring_kick(struct vus_session *s, struct vus_msg *msg)
{
	struct vus_wire_vring_state state = payload_state(msg);

	if (state.num != 0)
		return refuse(
		    s, "number %" PRIu32 " where 0 belongs", state.num);
	if (!s->ring[state.index].kicked)
		vus_ring_kick_fd(s, state.index, -1, false);
	/* The acknowledgement says that it has been served. */
	vus_ring_serve(s, state.index);
	return DONE;
}

/* Put the descriptor of a message in place of *slot. */
static enum verdict
replace_event_fd(struct vus_session *s, struct vus_msg *msg, int *slot,
    struct vus_in_band *in_band)
{
	enum verdict verdict;
	int fd;

	verdict = take_vring_fd(s, msg, &fd);
	if (verdict != DONE)
		return verdict;
	fd_closep(slot);
	*slot = fd;
	in_band->due = false;
	in_band->unwanted = fd < 0;
	return DONE;
}

static enum verdict
on_set_vring_call(struct vus_session *s, struct vus_msg *msg)
{
	struct vus_ring *ring = &s->ring[payload_ring(msg)];
	enum verdict verdict =
	    replace_event_fd(s, msg, &ring->call_fd, &ring->call);

	/* What was used while this was on its way has been called for on the
	 * old descriptor, where nobody may look any more. One call too many
	 * does no harm. */
	if (verdict == DONE && vus_ring_running(ring) &&
	    ring->vq.signalled_valid)
		vus_notify(ring->call_fd);
	return verdict;
}

static enum verdict
on_set_vring_err(struct vus_session *s, struct vus_msg *msg)
{
	struct vus_ring *ring = &s->ring[payload_ring(msg)];

	return replace_event_fd(s, msg, &ring->err_fd, &ring->err);
}

static enum verdict
on_set_log_fd(struct vus_session *s, struct vus_msg *msg)
{
	enum verdict verdict;
	int fd = -1;

	verdict = take_event_fd(s, msg, &fd);
	if (verdict != DONE)
		return verdict;
	fd_closep(&s->dirty_fd);
	s->dirty_fd = fd;
	return DONE;
}

/* --- requests in flight -------------------------------------------------- */

/* The inflight buffer that a message describes. False if it cannot be. */
static bool
inflight_valid(const struct vus_session *s,
    const struct vus_wire_inflight *inflight, uint64_t *size)
{
	bool packed = s->state.features & VUS_BIT(VUS_VIRTIO_F_RING_PACKED);

	if (inflight->num_queues == 0 ||
	    inflight->num_queues > s->device->type->num_queues ||
	    inflight->queue_size == 0 || inflight->queue_size > VUS_RING_MAX)
		return false;
	*size = (uint64_t)inflight->num_queues *
		vus_inflight_size(packed, inflight->queue_size);
	return true;
}

/* The memory was made when nobody had asked yet: see vus_host. */
static enum verdict
on_get_inflight_fd(struct vus_session *s, struct vus_msg *msg)
{
	struct vus_wire_inflight inflight;
	struct vus_mapping map;
	const char *why = "there is none";
	struct stat st;
	uint64_t size;
	int fd = s->host.inflight_fd;

	memcpy(&inflight, msg->payload, sizeof(inflight));
	if (!inflight_valid(s, &inflight, &size))
		return refuse(s, "%u queues of %u entries", inflight.num_queues,
		    inflight.queue_size);
	if (fd < 0 || size > s->host.inflight_size ||
	    vus_mapping_check(fd, 0, size, &st, &why) < 0 ||
	    vus_mapping_open(&map, fd, 0, size, &st, &why) < 0)
		return refuse(s, "no inflight buffer: %s", why);
	/* It may have been given out before. */
	memset(map.at, 0, (size_t)size);
	vus_mapping_close(&map);
	inflight.mmap_size = size;
	inflight.mmap_offset = 0;
	inflight.padding = 0;
	return reply_fd(s, msg, &inflight, sizeof(inflight), fd);
}

static enum verdict
on_set_inflight_fd(struct vus_session *s, struct vus_msg *msg)
{
	struct vus_wire_inflight inflight;
	struct vus_mapping map;
	const char *why;
	struct stat st;
	uint64_t size, end;

	memcpy(&inflight, msg->payload, sizeof(inflight));
	for (unsigned i = 0; i < s->device->type->num_queues; i++)
		if (vus_ring_running(&s->ring[i]))
			return refuse(s, "ring %u is running", i);
	if (!inflight_valid(s, &inflight, &size) || inflight.mmap_size < size ||
	    inflight.mmap_offset % 8 != 0 ||
	    !checked_add(inflight.mmap_offset, size, &end))
		return refuse(s, "%u queues of %u entries in %" PRIu64 " bytes",
		    inflight.num_queues, inflight.queue_size,
		    inflight.mmap_size);
	if (vus_mapping_check(
		msg->fds[0], inflight.mmap_offset, size, &st, &why) < 0 ||
	    vus_mapping_open(
		&map, msg->fds[0], inflight.mmap_offset, size, &st, &why) < 0)
		return refuse(s, "%s", why);
	vus_mapping_close(&s->inflight.map);
	s->inflight.map = map;
	s->inflight.queues = inflight.num_queues;
	s->inflight.entries = inflight.queue_size;
	s->inflight.packed =
	    (s->state.features & VUS_BIT(VUS_VIRTIO_F_RING_PACKED)) != 0;
	return DONE;
}

/* --- device state -------------------------------------------------------- */

static enum verdict
on_set_device_state_fd(struct vus_session *s, struct vus_msg *msg)
{
	struct vus_wire_transfer transfer;
	const char *why = "no such direction or phase";

	/* What CHECK_DEVICE_STATE says is about this one. */
	if (!vus_state_active(&s->transfer))
		vus_state_init(s);
	memcpy(&transfer, msg->payload, sizeof(transfer));
	if (transfer.direction <= VUS_TRANSFER_LOAD &&
	    transfer.phase == VUS_TRANSFER_STOPPED)
		why =
		    vus_state_begin(s, transfer.direction == VUS_TRANSFER_LOAD,
			vus_msg_take_fd(msg));
	if (why == NULL)
		return reply_u64(s, msg, VUS_TRANSFER_NO_FD);
	vus_log(s, VUS_LOG_WARN, "SET_DEVICE_STATE_FD refused: %s", why);
	return reply_u64(s, msg, VUS_TRANSFER_NO_FD | 1);
}

static enum verdict
answer_check(struct vus_session *s)
{
	struct vus_msg msg = { .head.request = VUS_CHECK_DEVICE_STATE };

	s->transfer.check_due = false;
	return reply_u64(s, &msg, s->transfer.phase != VUS_TRANSFER_DONE);
}

static enum verdict
on_check_device_state(struct vus_session *s, struct vus_msg *msg)
{
	(void)msg;
	/* What the front-end has written may still be in the pipe. Meanwhile
	 * no message is carried out, so none with a descriptor may lie there:
	 * it could be the front-end's own end. */
	if (vus_state_active(&s->transfer) && s->transfer.load) {
		if (s->front.nfds != 0)
			return hang_up(s, "file descriptors behind it");
		s->transfer.check_due = true;
		return REPLIED;
	}
	vus_state_cancel(s, "the front-end has not read to the end");
	return answer_check(s);
}

bool
vus_dispatch_check(struct vus_session *s)
{
	if (answer_check(s) != HANG_UP)
		return true;
	vus_log(s, VUS_LOG_WARN, "connection closed: CHECK_DEVICE_STATE: %s",
	    s->why);
	return false;
}

/* --- shared memory regions ----------------------------------------------- */

static enum verdict
on_set_backend_req_fd(struct vus_session *s, struct vus_msg *msg)
{
	struct sockaddr_un name = { .sun_family = AF_UNSPEC };
	socklen_t len = sizeof(name);

	/*
	 * One end of a pair, as all front-ends make it, has a peer without a
	 * name. The front-end's own end of this or another connection has
	 * one, that of our end: the listener's, or the one that the builder
	 * has given it. With it in our hands the end of that connection would
	 * never be seen.
	 */
	if (getpeername(msg->fds[0], (struct sockaddr *)&name, &len) < 0 ||
	    name.sun_family != AF_UNIX || len > sizeof(sa_family_t))
		return refuse(
		    s, "the descriptor is not one end of a pair of sockets");
	vus_session_set_backend(s, vus_msg_take_fd(msg));
	return DONE;
}

static enum verdict
on_get_shmem_config(struct vus_session *s, struct vus_msg *msg)
{
	return reply(s, msg, &s->shmem_config, s->shmem_config_len);
}

/* --- the table ----------------------------------------------------------- */

#define ROW(request) [VUS_##request] = { .name = #request
#define SIZE(n) .min_size = (n), .max_size = (n)
#define FDS(n) .min_fds = (n), .max_fds = (n)
#define NEEDS(feature) .features = VUS_BIT(VUS_F_##feature)
#define U64 sizeof(uint64_t)
#define STATE sizeof(struct vus_wire_vring_state)
#define SINGLE sizeof(struct vus_wire_single_region)
#define ABSENT(reason)                                                         \
	.max_size = VUS_PAYLOAD_MAX, .max_fds = VUS_FDS_MAX, .absent = (reason)

/* clang-format off */
static const struct row rows[VUS_REQUEST_END] = {
	ROW(GET_FEATURES), .answer = OWN, .handle = on_get_features },
	ROW(SET_FEATURES), SIZE(U64), .handle = on_set_features },
	ROW(SET_OWNER), .handle = on_set_owner },
	ROW(RESET_OWNER), .handle = on_reset_owner },
	ROW(SET_MEM_TABLE), .min_size = sizeof(struct vus_wire_mem_table),
	    .max_size = sizeof(struct vus_wire_mem_table) +
		VUS_MEM_TABLE_MAX * sizeof(struct vus_wire_mem_region),
	    .max_fds = VUS_MEM_TABLE_MAX, .handle = on_set_mem_table },
	/* Without LOG_SHMFD it is a u64, of an address that is not ours. */
	ROW(SET_LOG_BASE), .min_size = U64,
	    .max_size = sizeof(struct vus_wire_log), .max_fds = 1,
	    NEEDS(LOG_SHMFD), .answer = OWN, .handle = on_set_log_base },
	ROW(SET_LOG_FD), FDS(1), NEEDS(LOG_SHMFD), .handle = on_set_log_fd },
	ROW(SET_VRING_NUM), SIZE(STATE), .ring = RING_STATE_STOPPED,
	    .handle = on_set_vring_num },
	ROW(SET_VRING_ADDR), SIZE(sizeof(struct vus_wire_vring_addr)),
	    .ring = RING_STATE, .handle = on_set_vring_addr },
	ROW(SET_VRING_BASE), SIZE(STATE), .ring = RING_STATE_STOPPED,
	    .handle = on_set_vring_base },
	ROW(GET_VRING_BASE), SIZE(STATE), .ring = RING_STATE, .answer = OWN,
	    .handle = on_get_vring_base },
	ROW(SET_VRING_KICK), SIZE(U64), .max_fds = 1, .ring = RING_FD,
	    .handle = on_set_vring_kick },
	ROW(SET_VRING_CALL), SIZE(U64), .max_fds = 1, .ring = RING_FD,
	    .handle = on_set_vring_call },
	ROW(SET_VRING_ERR), SIZE(U64), .max_fds = 1, .ring = RING_FD,
	    .handle = on_set_vring_err },
	ROW(GET_PROTOCOL_FEATURES), .answer = OWN,
	    .handle = on_get_protocol_features },
	ROW(SET_PROTOCOL_FEATURES), SIZE(U64),
	    .handle = on_set_protocol_features },
	ROW(GET_QUEUE_NUM), NEEDS(MQ), .answer = OWN,
	    .handle = on_get_queue_num },
	ROW(SET_VRING_ENABLE), SIZE(STATE), .ring = RING_STATE,
	    .handle = on_set_vring_enable },
	ROW(SEND_RARP), ABSENT("for network devices") },
	ROW(NET_SET_MTU), ABSENT("for network devices") },
	ROW(SET_BACKEND_REQ_FD), FDS(1), NEEDS(BACKEND_REQ),
	    .handle = on_set_backend_req_fd },
	ROW(IOTLB_MSG), ABSENT("VIRTIO_F_ACCESS_PLATFORM is not offered") },
	ROW(SET_VRING_ENDIAN), ABSENT("for legacy devices") },
	ROW(GET_CONFIG), .min_size = sizeof(struct vus_wire_config),
	    .max_size = sizeof(struct vus_wire_config) + VUS_CONFIG_MAX,
	    NEEDS(CONFIG), .answer = OWN, .handle = on_get_config },
	ROW(SET_CONFIG), .min_size = sizeof(struct vus_wire_config),
	    .max_size = sizeof(struct vus_wire_config) + VUS_CONFIG_MAX,
	    NEEDS(CONFIG), .handle = on_set_config },
	ROW(CREATE_CRYPTO_SESSION), .answer = OWN,
	    ABSENT("for crypto devices") },
	ROW(CLOSE_CRYPTO_SESSION), ABSENT("for crypto devices") },
	ROW(POSTCOPY_ADVISE), .answer = OWN,
	    ABSENT("PAGEFAULT is not offered") },
	ROW(POSTCOPY_LISTEN), ABSENT("PAGEFAULT is not offered") },
	ROW(POSTCOPY_END), ABSENT("PAGEFAULT is not offered") },
	ROW(GET_INFLIGHT_FD), SIZE(sizeof(struct vus_wire_inflight)),
	    NEEDS(INFLIGHT_SHMFD), .answer = OWN,
	    .handle = on_get_inflight_fd },
	ROW(SET_INFLIGHT_FD), SIZE(sizeof(struct vus_wire_inflight)), FDS(1),
	    NEEDS(INFLIGHT_SHMFD), .handle = on_set_inflight_fd },
	ROW(GPU_SET_SOCKET), ABSENT("for graphics devices") },
	ROW(RESET_DEVICE), NEEDS(RESET_DEVICE), .handle = on_reset_device },
	ROW(VRING_KICK), SIZE(STATE), NEEDS(INBAND_NOTIFICATIONS),
	    .ring = RING_STATE, .handle = on_vring_kick },
	ROW(GET_MAX_MEM_SLOTS), NEEDS(CONFIGURE_MEM_SLOTS), .answer = OWN,
	    .handle = on_get_max_mem_slots },
	ROW(ADD_MEM_REG), SIZE(SINGLE), FDS(1), NEEDS(CONFIGURE_MEM_SLOTS),
	    .handle = on_add_mem_reg },
	/* libvhost-user takes a descriptor here, and closes it. */
	ROW(REM_MEM_REG), SIZE(SINGLE), .max_fds = 1,
	    NEEDS(CONFIGURE_MEM_SLOTS), .handle = on_rem_mem_reg },
	ROW(SET_STATUS), SIZE(U64), NEEDS(STATUS), .handle = on_set_status },
	ROW(GET_STATUS), NEEDS(STATUS), .answer = OWN,
	    .handle = on_get_status },
	ROW(GET_SHARED_OBJECT), .answer = OWN,
	    ABSENT("SHARED_OBJECT is not offered") },
	ROW(SET_DEVICE_STATE_FD), SIZE(sizeof(struct vus_wire_transfer)),
	    FDS(1), NEEDS(DEVICE_STATE), .answer = OWN,
	    .handle = on_set_device_state_fd },
	ROW(CHECK_DEVICE_STATE), NEEDS(DEVICE_STATE), .answer = OWN,
	    .handle = on_check_device_state },
	ROW(GET_SHMEM_CONFIG), NEEDS(SHMEM), .answer = OWN,
	    .handle = on_get_shmem_config },
};
/* clang-format on */

/* The checks that need no understanding of the payload. */
static enum verdict
check(struct vus_session *s, const struct vus_msg *msg, const struct row *row)
{
	uint64_t missing = row->features & ~s->state.protocol_features;
	uint32_t index = 0;

	if (msg->head.size < row->min_size || msg->head.size > row->max_size)
		return hang_up(s,
		    "payload of %" PRIu32 " bytes where %" PRIu32 " to %" PRIu32
		    " belong",
		    msg->head.size, row->min_size, row->max_size);
	if (msg->nfds < row->min_fds || msg->nfds > row->max_fds)
		return hang_up(s, "%u file descriptors where %u to %u belong",
		    msg->nfds, row->min_fds, row->max_fds);
	if (row->handle == NULL)
		return refuse(s, "%s", row->absent);
	if (missing != 0)
		return refuse(s, "protocol feature %d was not negotiated",
		    __builtin_ctzll(missing));
	switch (row->ring) {
	case NO_RING:
		return DONE;
	case RING_STATE:
	case RING_STATE_STOPPED:
		memcpy(&index, msg->payload, sizeof(index));
		break;
	case RING_FD:
		index = payload_ring(msg);
		break;
	}
	if (index >= s->device->type->num_queues)
		return refuse(s,
		    "there is no ring %" PRIu32 ": %s has %u; is the "
		    "front-end for another device?",
		    index, s->device->type->name, s->device->type->num_queues);
	if (row->ring == RING_STATE_STOPPED &&
	    vus_ring_running(&s->ring[index]))
		return refuse(s, "ring %" PRIu32 " is running", index);
	return DONE;
}

static enum verdict
check_header(struct vus_session *s, const struct vus_wire_header *head)
{
	if ((head->flags & VUS_VERSION_MASK) != VUS_VERSION)
		return hang_up(
		    s, "version %" PRIu32, head->flags & VUS_VERSION_MASK);
	if (head->flags & ~VUS_FLAGS_KNOWN)
		return hang_up(s, "reserved flags 0x%" PRIx32,
		    head->flags & ~VUS_FLAGS_KNOWN);
	if (head->flags & VUS_FLAG_REPLY)
		return hang_up(s, "a reply where a request belongs");
	return DONE;
}

/* All the checks, in their order, and the handler. row: NULL if unknown. */
static enum verdict
carry_out(struct vus_session *s, struct vus_msg *msg, const struct row *row)
{
	enum verdict verdict = check_header(s, &msg->head);

	if (verdict != DONE)
		return verdict;
	if (row == NULL)
		return hang_up(s, "unknown request");
	verdict = check(s, msg, row);
	if (verdict == DONE)
		verdict = row->handle(s, msg);
	return verdict;
}

const char *
vus_request_name(uint32_t request)
{
	return request < VUS_REQUEST_END && rows[request].name != NULL
		   ? rows[request].name
		   : "request";
}

bool
vus_dispatch(struct vus_session *s)
{
	struct vus_msg *msg = &s->msg;
	uint32_t id = msg->head.request;
	const struct row *row =
	    id < VUS_REQUEST_END && rows[id].name != NULL ? &rows[id] : NULL;
	enum verdict verdict = carry_out(s, msg, row);
	/* Looked at after the handler, so that SET_PROTOCOL_FEATURES itself
	 * is acknowledged. Never besides a reply of its own. */
	bool ask = (msg->head.flags & VUS_FLAG_NEED_REPLY) != 0 &&
		   vus_negotiated(s, VUS_F_REPLY_ACK) && row != NULL &&
		   row->answer == ACK;

	s->messages++;
	vus_msg_close(msg);
	if (verdict == REFUSE && !ask)
		verdict = HANG_UP;
	if (verdict == REFUSE)
		vus_log(s, VUS_LOG_WARN, "%s refused: %s", row->name, s->why);
	if (ask && (verdict == DONE || verdict == REFUSE))
		verdict = reply_u64(s, msg, verdict == REFUSE);
	if (verdict != HANG_UP)
		return true;
	if (row != NULL)
		vus_log(s, VUS_LOG_WARN, "connection closed: %s: %s", row->name,
		    s->why);
	else
		vus_log(s, VUS_LOG_WARN,
		    "connection closed: request %" PRIu32 ": %s", id, s->why);
	return false;
}
