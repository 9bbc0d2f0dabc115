/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A second opinion on a session; model.h says of what kind. */
#include "config.h"

#include "tests/fuzz/model.h"

#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Messages that have been received and not settled: two full buffers of bare
 * headers are fewer. */
#define QUEUE_MAX 1024U
#define HEAD_SIZE sizeof(struct vus_wire_header)
/* Bytes of a payload that the model looks at: a whole memory table. */
#define KEEP                                                                   \
	(sizeof(struct vus_wire_mem_table) +                                   \
	    VUS_MEM_TABLE_MAX * sizeof(struct vus_wire_mem_region))

/* What a descriptor is good for. */
enum use { USE_NONE, USE_EVENT, USE_SOCKET, USE_PIPE, USE_FILE };

struct message {
	unsigned char head[HEAD_SIZE];
	unsigned char payload[KEEP];
	size_t have, size; /* bytes of it so far; in all, once head is there */
	unsigned nfds;
	enum use use; /* of its first descriptor */
	struct model_file file[VUS_FDS_MAX];
};

/* Which answer a message has to get. */
enum due {
	DUE_NOTHING,
	DUE_MAYBE, /* an acknowledgement or a reply, if the session likes */
	DUE_REPLY, /* of len bytes */
	DUE_ACK	   /* of 0 or not, as accepted says */
};

struct answer {
	uint32_t request;
	enum due due;
	size_t len;
	bool judged, accepted; /* DUE_ACK: the model knows which it must be */
	bool has_value;	       /* DUE_REPLY: of its first 8 bytes */
	uint64_t value;
};

/* A request of ours that the front-end has to answer. */
struct asked {
	uint32_t request, index;
	unsigned start; /* the start of the device that it belongs to */
};

static struct {
	const struct vus_session *s;
	bool front, closing, over, must_break;
	bool gone; /* the front-end does not read any more */

	/* messages received; the first is number base */
	struct message queue[QUEUE_MAX];
	unsigned n;
	unsigned long long base, applied;
	unsigned long long bytes, base_bytes; /* received; before base */

	struct answer answers[QUEUE_MAX];
	unsigned nanswers;
	unsigned char reply[HEAD_SIZE]; /* the reply that is on its way */
	size_t reply_have, reply_size;
	uint64_t reply_value;
	bool reply_fd; /* it carries the inflight buffer */

	uint64_t features, protocol_features;
	struct {
		bool kicked, enabled, has_fd;
		/* Descriptors for call and error, or wanted in no way. */
		bool call_fd, call_unwanted, err_fd, err_unwanted;
	} ring[VUS_RINGS_MAX];
	bool started;
	unsigned starts;
	bool notified_late; /* the channel had no room for what goes out now */
	bool channel_due;   /* a SET_BACKEND_REQ_FD was accepted just now */
	int watch_backend, watch_kick[VUS_RINGS_MAX];

	/* SHMEM_MAP, since the start or since the channel came. */
	bool sent[VUS_SHMEM_MAX];
	bool kept[VUS_SHMEM_MAX]; /* the mapping was there before */
	/* A map was answered with 0, and has not shown in the table yet;
	 * where the last one that has is in guest memory. */
	bool awaited[VUS_SHMEM_MAX], placed[VUS_SHMEM_MAX];
	uint64_t place[VUS_SHMEM_MAX];

	/* The back-end channel: what is due on it, and what has come. */
	struct asked asked[VUS_PENDING_MAX];
	unsigned answers_due;
	struct message answer;
	bool answer_wrong; /* the channel has to be closed */

	bool inflight;	 /* a buffer was accepted */
	bool ever_guest; /* user addresses may be anything */

	/* The device's state on its way. */
	int watch_state;
	bool state_load, state_due;
	bool deferred; /* CHECK_DEVICE_STATE waits for the end of a load */
	bool checked;  /* it was answered; value */
	uint64_t check_value;

	struct model_view view;
} m;

static uint32_t
get32(const unsigned char *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t
get64(const unsigned char *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static bool
negotiated(unsigned feature)
{
	return (m.protocol_features & VUS_BIT(feature)) != 0;
}

/* --- the memory table, and our regions in it ----------------------------- */

static bool
same_file(const struct model_file *a, const struct model_file *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

static bool
is_file_of(const struct model_file *file, unsigned shmid)
{
	const struct vus_region *r = &m.s->device->shm[shmid];

	return r->size != 0 && file->dev == r->dev && file->ino == r->ino;
}

/* Where our own mapping had appeared its file is still. */
static bool
survives(unsigned shmid)
{
	if (!m.placed[shmid])
		return false;
	for (unsigned i = 0; i < m.view.nregions; i++)
		if (m.view.region[i].guest == m.place[shmid] &&
		    is_file_of(&m.view.region[i].file, shmid))
			return true;
	return false;
}

/* From here on each region has to be mapped once, or to be there. */
static void
begin_maps(void)
{
	for (unsigned i = 0; i < VUS_SHMEM_MAX; i++) {
		m.sent[i] = false;
		m.kept[i] = survives(i);
	}
}

/* The table was old, and has changed. */
static void
look_for_regions(const struct model_region *old, unsigned nold)
{
	unsigned known = 0;

	m.view.changes++;
	/* Room for so many is promised, counted for each region. */
	for (unsigned i = 0; i < nold; i++)
		for (unsigned shmid = 0; shmid < VUS_SHMEM_MAX; shmid++)
			known += is_file_of(&old[i].file, shmid);
	for (unsigned shmid = 0; shmid < VUS_SHMEM_MAX; shmid++) {
		unsigned fresh = 0;

		if (!m.awaited[shmid] || known > VUS_MEM_TABLE_MAX)
			continue;
		for (unsigned i = 0; i < m.view.nregions; i++) {
			const struct model_region *r = &m.view.region[i];
			bool before = false;

			if (!is_file_of(&r->file, shmid))
				continue;
			/* Any of our files was there: it is no new place. */
			for (unsigned k = 0; k < nold && !before; k++)
				for (unsigned o = 0; o < VUS_SHMEM_MAX; o++)
					before =
					    before ||
					    (old[k].guest == r->guest &&
						is_file_of(&old[k].file, o));
			if (before)
				continue;
			fresh++;
			m.place[shmid] = r->guest;
		}
		if (fresh != 0) {
			m.placed[shmid] = fresh == 1;
			m.awaited[shmid] = false;
		}
	}
	/* Maps that had no room so far. */
	for (unsigned i = 0; i < VUS_SHMEM_MAX; i++)
		m.kept[i] = m.kept[i] || (!m.sent[i] && survives(i));
}

static bool
ends(uint64_t at, uint64_t size)
{
	return at + size < at;
}

static bool
meet(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return a <= b + (blen - 1) && b <= a + (alen - 1);
}

/* Whether wire region w may be one more of the n in list. */
static bool
region_valid(const struct model_region *list, unsigned n,
    const struct vus_wire_mem_region *w, const struct model_file *file)
{
	bool by_guest = negotiated(VUS_F_GPA_ADDRESSES);

	if (w->size == 0 || ends(w->guest_addr, w->size) ||
	    (!by_guest && ends(w->user_addr, w->size)) ||
	    ends(w->mmap_offset, w->size) || file->use != USE_FILE ||
	    w->mmap_offset + w->size > file->size)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (meet(list[i].guest, list[i].size, w->guest_addr, w->size) ||
		    (!by_guest && meet(list[i].user, list[i].size, w->user_addr,
				      w->size)))
			return false;
	return true;
}

static struct model_region
region_of(const struct vus_wire_mem_region *w, const struct model_file *file)
{
	return (struct model_region){ w->guest_addr, w->user_addr, w->size,
		w->mmap_offset, *file };
}

static struct model_region old_table[VUS_MEM_SLOTS_MAX];

static unsigned
keep_table(void)
{
	memcpy(old_table, m.view.region,
	    m.view.nregions * sizeof(m.view.region[0]));
	return m.view.nregions;
}

static bool
on_table(const struct message *msg, bool *malformed)
{
	static struct model_region fresh[VUS_MEM_TABLE_MAX];
	bool claimed[VUS_MEM_SLOTS_MAX] = { false };
	uint32_t n = get32(msg->payload);

	*malformed =
	    n > VUS_MEM_TABLE_MAX || msg->nfds != n ||
	    msg->size - HEAD_SIZE != 8 + n * sizeof(struct vus_wire_mem_region);
	if (*malformed)
		return false;
	for (unsigned i = 0; i < n; i++) {
		struct vus_wire_mem_region w;
		bool mapped = false;

		memcpy(&w, msg->payload + 8 + i * sizeof(w), sizeof(w));
		if (!region_valid(fresh, i, &w, &msg->file[i]))
			return false;
		fresh[i] = region_of(&w, &msg->file[i]);
		/* What is mapped already needs no mapping. */
		for (unsigned k = 0; k < m.view.nregions && !mapped; k++) {
			const struct model_region *o = &m.view.region[k];

			mapped = !claimed[k] && o->size == w.size &&
				 o->offset == w.mmap_offset &&
				 same_file(&o->file, &msg->file[i]);
			claimed[k] = claimed[k] || mapped;
		}
		if (!mapped && !msg->file[i].mappable)
			return false;
	}
	{
		unsigned nold = keep_table();

		memcpy(m.view.region, fresh, n * sizeof(fresh[0]));
		m.view.nregions = n;
		look_for_regions(old_table, nold);
	}
	return true;
}

static bool
on_slot(const struct message *msg, bool add)
{
	struct vus_wire_single_region single;
	const struct vus_wire_mem_region *w = &single.region;
	unsigned i = 0, nold;

	memcpy(&single, msg->payload, sizeof(single));
	if (!negotiated(VUS_F_CONFIGURE_MEM_SLOTS))
		return false;
	if (add && (m.view.nregions == VUS_MEM_SLOTS_MAX ||
		       !region_valid(
			   m.view.region, m.view.nregions, w, &msg->file[0]) ||
		       !msg->file[0].mappable))
		return false;
	for (; !add; i++) {
		const struct model_region *r = &m.view.region[i];

		if (i == m.view.nregions)
			return false;
		if (r->guest == w->guest_addr && r->size == w->size &&
		    (r->user == w->user_addr ||
			negotiated(VUS_F_GPA_ADDRESSES)))
			break;
	}
	nold = keep_table();
	if (add)
		m.view.region[m.view.nregions++] = region_of(w, &msg->file[0]);
	else
		m.view.region[i] = m.view.region[--m.view.nregions];
	look_for_regions(old_table, nold);
	return true;
}

/* --- the state of the device --------------------------------------------- */

static void
look_at_start(void)
{
	bool now = m.ring[0].kicked && m.ring[0].enabled;

	if (now != m.started)
		m.starts++;
	if (now && !m.started)
		begin_maps();
	m.started = now;
}

static void
reset(void)
{
	memset(m.ring, 0, sizeof(m.ring));
	memset(m.view.ring, 0, sizeof(m.view.ring));
	m.inflight = false;
	m.view.changes++;
}

/* Protocol features as this dialect writes them, in today's numbers. */
static bool
translate(uint64_t wire, uint64_t *features)
{
	uint64_t offered = m.s->dialect.protocol_features;
	uint64_t shmem = VUS_BIT(VUS_F_SHMEM);
	uint64_t here = VUS_BIT(m.s->dialect.shmem_bit);
	bool has = (wire & here) != 0;

	if (here != shmem && (wire & shmem) != 0)
		return false;
	*features = (wire & ~here) | (has ? shmem : 0);
	return (*features & ~offered) == 0;
}

static bool
running(unsigned ring)
{
	return m.ring[ring].kicked && m.ring[ring].enabled;
}

static bool
on_features(uint64_t value)
{
	uint64_t log_all = VUS_BIT(VUS_VIRTIO_F_LOG_ALL);

	if (value & ~vus_session_features(m.s))
		return false;
	for (unsigned i = 0; i < VUS_RINGS_MAX; i++)
		if (running(i) && ((value ^ m.features) & ~log_all) != 0)
			return false;
	m.features = value;
	m.view.logging = (value & log_all) != 0;
	m.view.packed = (value & VUS_BIT(VUS_VIRTIO_F_RING_PACKED)) != 0;
	m.view.changes++;
	return true;
}

static void
start_ring(unsigned ring, bool has_fd)
{
	m.ring[ring].kicked = true;
	m.ring[ring].has_fd = has_fd;
	if (!(m.features & VUS_BIT(VUS_VIRTIO_F_PROTOCOL_FEATURES)))
		m.ring[ring].enabled = true;
}

/* SET_VRING_KICK, _CALL and _ERR. */
static bool
on_event(const struct message *msg, uint32_t request, bool *malformed)
{
	uint64_t value = get64(msg->payload);
	unsigned ring = value & 0xff;
	bool none = (value & 0x100) != 0;

	if (ring >= m.s->device->type->num_queues)
		return false;
	*malformed = msg->nfds != (none ? 0U : 1U);
	if (*malformed || (!none && msg->use != USE_EVENT))
		return false;
	switch (request) {
	case VUS_SET_VRING_KICK:
		start_ring(ring, !none);
		break;
	case VUS_SET_VRING_CALL:
		m.ring[ring].call_fd = !none;
		m.ring[ring].call_unwanted = none;
		break;
	default:
		m.ring[ring].err_fd = !none;
		m.ring[ring].err_unwanted = none;
		break;
	}
	return true;
}

static bool
on_addr(const struct message *msg)
{
	struct vus_wire_vring_addr addr;
	struct model_ring *ring;

	memcpy(&addr, msg->payload, sizeof(addr));
	if (addr.index >= m.s->device->type->num_queues || addr.flags > 1 ||
	    addr.desc % 16 != 0 || addr.avail % 2 != 0 || addr.used % 4 != 0)
		return false;
	ring = &m.view.ring[addr.index];
	ring->has_addr = true;
	ring->logged = addr.flags == 1;
	ring->desc = addr.desc;
	ring->used = addr.used;
	ring->log = addr.log;
	m.view.changes++;
	return true;
}

static bool
on_in_band_kick(uint32_t ring, uint32_t num)
{
	if (!negotiated(VUS_F_INBAND_NOTIFICATIONS) ||
	    ring >= m.s->device->type->num_queues || num != 0)
		return false;
	if (!m.ring[ring].kicked)
		start_ring(ring, false);
	return true;
}

/* --- migration ----------------------------------------------------------- */

static bool
holds(const struct model_file *file, uint64_t offset, uint64_t size)
{
	return file->mappable && size != 0 && !ends(offset, size) &&
	       offset + size <= file->size;
}

static bool
on_log(const struct message *msg, struct answer *answer)
{
	struct vus_wire_log log;

	memcpy(&log, msg->payload, sizeof(log));
	if (!negotiated(VUS_F_LOG_SHMFD) ||
	    !holds(&msg->file[0], log.offset, log.size))
		return false;
	m.view.log = msg->file[0];
	m.view.log_offset = log.offset;
	m.view.log_size = log.size;
	m.view.changes++;
	answer->has_value = true;
	answer->value = log.size;
	return true;
}

/* Bytes of the inflight buffer that a message describes; 0 if it cannot be.
 * vhost-user.rst, "Inflight I/O tracking", and each region in whole lines. */
static uint64_t
inflight_size(const struct vus_wire_inflight *w)
{
	uint64_t each = m.view.packed ? 32 : 16;
	uint64_t size = each + each * w->queue_size;

	if (w->num_queues == 0 || w->queue_size == 0 || w->queue_size > 32768 ||
	    w->num_queues > m.s->device->type->num_queues)
		return 0;
	return (size + 63) / 64 * 64 * w->num_queues;
}

static bool
on_inflight(const struct message *msg, bool set, struct answer *answer)
{
	struct vus_wire_inflight w;
	uint64_t size;

	memcpy(&w, msg->payload, sizeof(w));
	size = inflight_size(&w);
	if (!negotiated(VUS_F_INFLIGHT_SHMFD) || size == 0)
		return false;
	if (!set) {
		answer->has_value = true;
		answer->value = size;
		return m.s->host.inflight_fd >= 0 &&
		       size <= m.s->host.inflight_size;
	}
	for (unsigned i = 0; i < VUS_RINGS_MAX; i++)
		if (running(i))
			return false;
	if (w.mmap_size < size || w.mmap_offset % 8 != 0 ||
	    !holds(&msg->file[0], w.mmap_offset, size))
		return false;
	m.inflight = true;
	m.view.inflight = msg->file[0];
	m.view.changes++;
	return true;
}

static bool
on_state(const struct message *msg, struct answer *answer)
{
	uint32_t direction = get32(msg->payload);
	bool fits = direction <= 1 && get32(msg->payload + 4) == 0 &&
		    msg->use == USE_PIPE && m.watch_state < 0;

	if (!negotiated(VUS_F_DEVICE_STATE))
		return false;
	for (unsigned i = 0; i < VUS_RINGS_MAX; i++)
		fits = fits && !running(i);
	for (unsigned i = 0; i < VUS_SHMEM_MAX && direction == 1; i++)
		fits = fits && (m.s->device->shm[i].size == 0 ||
				   m.s->device->shm[i].writable);
	m.state_due = fits;
	m.state_load = fits ? direction == 1 : m.state_load;
	/* No descriptor comes with it, and an error or none. */
	answer->has_value = true;
	answer->value = fits ? 0x100 : 0x101;
	return true;
}

static bool
on_enable(uint32_t ring, uint32_t value)
{
	if (ring >= m.s->device->type->num_queues || value > 1 ||
	    !(m.features & VUS_BIT(VUS_VIRTIO_F_PROTOCOL_FEATURES)))
		return false;
	m.ring[ring].enabled = value == 1;
	return true;
}

/*
 * Carry out a request of those that the model understands. Returns false if
 * it has to be refused.
 */
static bool
carry_out(const struct message *msg, uint32_t request, bool *malformed,
    struct answer *answer)
{
	uint64_t value = get64(msg->payload);
	uint32_t index = get32(msg->payload), num = get32(msg->payload + 4);
	uint64_t features;

	switch (request) {
	case VUS_SET_FEATURES:
		return on_features(value);
	case VUS_SET_OWNER:
		reset();
		m.view.nregions = 0;
		m.view.log_size = 0;
		memset(m.awaited, 0, sizeof(m.awaited));
		memset(m.placed, 0, sizeof(m.placed));
		return true;
	case VUS_RESET_OWNER:
		for (unsigned i = 0; i < VUS_RINGS_MAX; i++)
			m.ring[i].enabled = false;
		return true;
	case VUS_GET_VRING_BASE:
		if (index >= m.s->device->type->num_queues)
			return false;
		m.ring[index].kicked = false;
		m.ring[index].has_fd = false;
		m.ring[index].call_fd = false;
		m.ring[index].call_unwanted = false;
		return true;
	case VUS_SET_MEM_TABLE:
		return on_table(msg, malformed);
	case VUS_ADD_MEM_REG:
	case VUS_REM_MEM_REG:
		return on_slot(msg, request == VUS_ADD_MEM_REG);
	case VUS_SET_VRING_ADDR:
		return on_addr(msg);
	case VUS_SET_VRING_KICK:
	case VUS_SET_VRING_CALL:
	case VUS_SET_VRING_ERR:
		return on_event(msg, request, malformed);
	case VUS_VRING_KICK:
		return on_in_band_kick(index, num);
	case VUS_SET_LOG_BASE:
		return on_log(msg, answer);
	case VUS_SET_LOG_FD:
		return negotiated(VUS_F_LOG_SHMFD) && msg->use == USE_EVENT;
	case VUS_GET_INFLIGHT_FD:
	case VUS_SET_INFLIGHT_FD:
		return on_inflight(msg, request == VUS_SET_INFLIGHT_FD, answer);
	case VUS_SET_DEVICE_STATE_FD:
		return on_state(msg, answer);
	case VUS_CHECK_DEVICE_STATE:
		m.deferred = m.watch_state >= 0 && m.state_load;
		return negotiated(VUS_F_DEVICE_STATE);
	case VUS_SET_PROTOCOL_FEATURES:
		if (!translate(value, &features) ||
		    (m.started && features != m.protocol_features))
			return false;
		/* "In-band notifications" wants both, or the end. */
		*malformed =
		    (features & VUS_BIT(VUS_F_INBAND_NOTIFICATIONS)) != 0 &&
		    ((features & VUS_BIT(VUS_F_BACKEND_REQ)) == 0 ||
			(features & VUS_BIT(VUS_F_REPLY_ACK)) == 0);
		if (*malformed)
			return false;
		m.protocol_features = features;
		m.view.by_guest = negotiated(VUS_F_GPA_ADDRESSES);
		m.ever_guest = m.ever_guest || m.view.by_guest;
		m.view.changes++;
		return true;
	case VUS_SET_VRING_ENABLE:
		return on_enable(index, num);
	case VUS_SET_BACKEND_REQ_FD:
		if (!negotiated(VUS_F_BACKEND_REQ) || msg->use != USE_SOCKET)
			return false;
		m.channel_due = true;
		return true;
	case VUS_RESET_DEVICE:
		if (!negotiated(VUS_F_RESET_DEVICE))
			return false;
		reset();
		return true;
	case VUS_SET_STATUS:
		if (!negotiated(VUS_F_STATUS) || value > UINT8_MAX)
			return false;
		if (value == 0)
			reset();
		return true;
	default:
		fuzz_fail("the model: request %u", request);
	}
}

/* What the model knows of the requests; those that it does not name start and
 * stop nothing. */
static const struct known {
	bool judged;   /* carry_out() knows it */
	enum due due;  /* DUE_NOTHING: an acknowledgement if asked */
	uint32_t size; /* judged: bytes of payload */
	uint32_t len;  /* DUE_REPLY: of the reply; 0: see reply_len() */
	unsigned least_fds, most_fds;
	uint32_t most_size; /* judged: of payload; 0: the same as size */
} known[] = {
	[VUS_GET_FEATURES] = { .due = DUE_REPLY, .len = 8 },
	[VUS_SET_FEATURES] = { .judged = true, .size = 8 },
	[VUS_SET_OWNER] = { .judged = true },
	[VUS_RESET_OWNER] = { .judged = true },
	[VUS_SET_MEM_TABLE] = { true, DUE_NOTHING, 8, 0, 0, VUS_MEM_TABLE_MAX,
	    KEEP },
	[VUS_SET_LOG_BASE] = { true, DUE_REPLY, 16, 16, 1, 1, 0 },
	[VUS_SET_LOG_FD] = { true, DUE_NOTHING, 0, 0, 1, 1, 0 },
	[VUS_SET_VRING_ADDR] = { .judged = true, .size = 40 },
	[VUS_GET_VRING_BASE] = { true, DUE_REPLY, 8, 8, 0, 0, 0 },
	[VUS_SET_VRING_KICK] = { .judged = true, .size = 8, .most_fds = 1 },
	[VUS_SET_VRING_CALL] = { .judged = true, .size = 8, .most_fds = 1 },
	[VUS_SET_VRING_ERR] = { .judged = true, .size = 8, .most_fds = 1 },
	[VUS_GET_PROTOCOL_FEATURES] = { .due = DUE_REPLY, .len = 8 },
	[VUS_SET_PROTOCOL_FEATURES] = { .judged = true, .size = 8 },
	[VUS_GET_QUEUE_NUM] = { .due = DUE_REPLY, .len = 8 },
	[VUS_SET_VRING_ENABLE] = { .judged = true, .size = 8 },
	[VUS_SET_BACKEND_REQ_FD] = { true, DUE_NOTHING, 0, 0, 1, 1, 0 },
	[VUS_GET_CONFIG] = { .due = DUE_REPLY },
	[VUS_GET_INFLIGHT_FD] = { true, DUE_REPLY, 24, 24, 0, 0, 0 },
	[VUS_SET_INFLIGHT_FD] = { true, DUE_NOTHING, 24, 0, 1, 1, 0 },
	[VUS_RESET_DEVICE] = { .judged = true },
	[VUS_VRING_KICK] = { .judged = true, .size = 8 },
	[VUS_GET_MAX_MEM_SLOTS] = { .due = DUE_REPLY, .len = 8 },
	[VUS_ADD_MEM_REG] = { true, DUE_NOTHING, 40, 0, 1, 1, 0 },
	[VUS_REM_MEM_REG] = { true, DUE_NOTHING, 40, 0, 0, 1, 0 },
	[VUS_SET_STATUS] = { .judged = true, .size = 8 },
	[VUS_GET_STATUS] = { .due = DUE_REPLY, .len = 8 },
	[VUS_GET_SHARED_OBJECT] = { .due = DUE_MAYBE },
	[VUS_SET_DEVICE_STATE_FD] = { true, DUE_REPLY, 8, 8, 1, 1, 0 },
	[VUS_CHECK_DEVICE_STATE] = { true, DUE_REPLY, 0, 8, 0, 0, 0 },
	[VUS_GET_SHMEM_CONFIG] = { .due = DUE_REPLY },
};

static size_t
reply_len(const struct known *k, uint32_t request, uint32_t size)
{
	size_t end = 0;

	if (request == VUS_GET_CONFIG)
		return size;
	if (request != VUS_GET_SHMEM_CONFIG)
		return k->len;
	for (unsigned i = 0; i < VUS_SHMEM_MAX; i++)
		if (m.s->device->shm[i].size != 0)
			end = i + 1;
	if (!m.s->dialect.short_shmem_config)
		end = VUS_SHMEM_MAX;
	return 8 + 8 * end;
}

static void
expect(const struct answer *answer)
{
	FUZZ_CHECK(m.nanswers < QUEUE_MAX, "the model: answers");
	m.answers[m.nanswers++] = *answer;
}

/* The session carries out, or has carried out, this message. */
static void
apply(const struct message *msg)
{
	static const struct known nothing;
	uint32_t request = get32(msg->head), flags = get32(msg->head + 4);
	uint32_t size = get32(msg->head + 8);
	const struct known *k =
	    request < ARRAY_LEN(known) ? &known[request] : &nothing;
	struct answer answer = { .request = request, .due = k->due };
	bool malformed = false;

	FUZZ_CHECK(!m.deferred, "request %u before CHECK_DEVICE_STATE is over",
	    request);
	if ((flags & VUS_VERSION_MASK) != VUS_VERSION ||
	    (flags & ~(VUS_VERSION_MASK | VUS_FLAG_NEED_REPLY)) != 0 ||
	    request == 0 || request >= VUS_REQUEST_END ||
	    (k->judged &&
		(size < k->size ||
		    size > (k->most_size ? k->most_size : k->size) ||
		    msg->nfds < k->least_fds || msg->nfds > k->most_fds))) {
		m.must_break = true;
		return;
	}
	if (k->judged) {
		answer.judged = true;
		answer.accepted = carry_out(msg, request, &malformed, &answer);
		look_at_start();
	}
	if (answer.due == DUE_NOTHING && (flags & VUS_FLAG_NEED_REPLY) &&
	    negotiated(VUS_F_REPLY_ACK))
		answer.due = DUE_ACK;
	/* A refusal that nobody asks for ends the connection. */
	if (malformed ||
	    (answer.judged && !answer.accepted && answer.due != DUE_ACK))
		m.must_break = true;
	else if (answer.due != DUE_NOTHING) {
		answer.len =
		    answer.due == DUE_REPLY ? reply_len(k, request, size) : 8;
		expect(&answer);
	}
}

static bool
complete(const struct message *msg)
{
	return msg->have >= HEAD_SIZE && msg->have == msg->size;
}

static void
apply_until(unsigned long long count)
{
	for (; m.applied < count; m.applied++) {
		const struct message *msg = &m.queue[m.applied - m.base];

		FUZZ_CHECK(m.applied - m.base < m.n && complete(msg),
		    "a message was carried out that has not arrived");
		apply(msg);
	}
}

/* Catch up with the session in the middle of a call: with the message at
 * hand, if it is at one, whose bytes have left its buffer. */
static void
catch_up(void)
{
	unsigned long long done = m.base_bytes;
	unsigned long long taken = m.bytes - m.s->front.in_len;

	for (unsigned long long i = m.base; i < m.s->messages; i++)
		done += m.queue[i - m.base].size;
	apply_until(m.s->messages + (taken > done ? 1 : 0));
}

/* --- what the session receives ------------------------------------------- */

static struct model_file
file_of(int fd)
{
	struct model_file file = { .use = USE_NONE };
	struct stat st;
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	int flags = fcntl(fd, F_GETFL);

	if (fstat(fd, &st) < 0)
		return file;
	file.dev = st.st_dev;
	file.ino = st.st_ino;
	file.size = (uint64_t)st.st_size;
	file.mappable = S_ISREG(st.st_mode) && !(flags & O_PATH) &&
			(flags & O_ACCMODE) == O_RDWR;
	/* One end of a pair: the other has no name. */
	if (S_ISSOCK(st.st_mode) &&
	    getpeername(fd, (struct sockaddr *)&peer, &len) == 0 &&
	    len == sizeof(sa_family_t))
		file.use = USE_SOCKET;
	else if (S_ISREG(st.st_mode))
		file.use = USE_FILE;
	else if (S_ISFIFO(st.st_mode) && !(flags & O_PATH))
		file.use = USE_PIPE;
	/* Anonymous inodes have no type; of these eventfds alone take eight
	 * zero bytes. O_PATH can do nothing. */
	else if ((st.st_mode & S_IFMT) == 0 && !(flags & O_PATH) &&
		 write(fd, (const char[8]){ 0 }, 8) == 8)
		file.use = USE_EVENT;
	return file;
}

/* Put bytes into the last message, or into new ones. Returns the last message
 * that begins in them, NULL if none does. */
static struct message *
frame(const unsigned char *bytes, size_t len)
{
	struct message *begun = NULL;

	while (len != 0) {
		struct message *msg = m.n == 0 ? NULL : &m.queue[m.n - 1];
		size_t take, keep;

		if (msg == NULL || complete(msg)) {
			FUZZ_CHECK(m.n < QUEUE_MAX, "the model: messages");
			msg = &m.queue[m.n++];
			memset(msg, 0, sizeof(*msg));
			begun = msg;
		}
		if (msg->have < HEAD_SIZE) {
			take = HEAD_SIZE - msg->have;
			take = take < len ? take : len;
			memcpy(msg->head + msg->have, bytes, take);
			if (msg->have + take == HEAD_SIZE)
				msg->size = HEAD_SIZE + get32(msg->head + 8);
		} else {
			size_t at = msg->have - HEAD_SIZE;

			take = msg->size - msg->have;
			take = take < len ? take : len;
			keep = at < KEEP ? KEEP - at : 0;
			if (keep != 0)
				memcpy(msg->payload + at, bytes,
				    keep < take ? keep : take);
		}
		msg->have += take;
		bytes += take;
		len -= take;
	}
	return begun;
}

/* One answer on the back-end channel is whole. */
static void
answered(const struct message *msg)
{
	const struct asked *a = &m.asked[0];
	uint32_t request = get32(msg->head);
	bool zero = get64(msg->payload) == 0;

	if (m.answers_due == 0 || request != a->request ||
	    get32(msg->head + 4) != (VUS_VERSION | VUS_FLAG_REPLY) ||
	    get32(msg->head + 8) != 8 || msg->nfds != 0) {
		m.answer_wrong = true;
		return;
	}
	if (request == VUS_BACKEND_SHMEM_MAP && a->start == m.starts && zero)
		m.awaited[a->index] = true;
	memmove(m.asked, m.asked + 1, --m.answers_due * sizeof(m.asked[0]));
}

/* One byte more of an answer. Returns whether it is whole. */
static bool
add_byte(struct message *msg, unsigned char byte)
{
	if (msg->have < HEAD_SIZE)
		msg->head[msg->have] = byte;
	else if (msg->have - HEAD_SIZE < KEEP)
		msg->payload[msg->have - HEAD_SIZE] = byte;
	if (++msg->have < HEAD_SIZE)
		return false;
	msg->size = HEAD_SIZE + get32(msg->head + 8);
	if (msg->size > HEAD_SIZE + VUS_PAYLOAD_MAX)
		m.answer_wrong = true;
	return msg->have == msg->size;
}

/* Where the last answer begins in what has come; len: none does. */
static size_t
last_begin(const unsigned char *bytes, size_t len)
{
	static struct message copy;
	bool wrong = m.answer_wrong;
	size_t begin = len;

	copy = m.answer;
	for (size_t i = 0; i < len && !m.answer_wrong; i++) {
		if (copy.have == 0)
			begin = i;
		if (add_byte(&copy, bytes[i]))
			copy.have = 0;
	}
	m.answer_wrong = wrong;
	return begin;
}

static void
received_answers(const unsigned char *bytes, size_t len, unsigned nfds)
{
	struct message *msg = &m.answer;
	size_t begin = nfds == 0 ? 0 : last_begin(bytes, len);

	/* Descriptors in the middle of an answer. */
	if (nfds != 0 && begin == len && len != 0)
		m.answer_wrong = true;
	/* Before the message at hand, which may be a memory table. */
	apply_until(m.s->messages);
	for (size_t i = 0; i < len && !m.answer_wrong; i++) {
		if (nfds != 0 && i == begin)
			msg->nfds = nfds;
		if (add_byte(msg, bytes[i]) && !m.answer_wrong) {
			answered(msg);
			memset(msg, 0, sizeof(*msg));
		}
	}
}

static void
received(int sock, const unsigned char *bytes, size_t len, const int *fds,
    unsigned nfds)
{
	struct message *begun;

	if (sock != m.s->front.fd) {
		FUZZ_CHECK(sock == m.s->backend.fd, "read from elsewhere");
		received_answers(bytes, len, nfds);
		return;
	}
	if (!m.front || len == 0)
		return;
	m.bytes += len;
	begun = frame(bytes, len);
	if (nfds == 0)
		return;
	if (begun == NULL) {
		/* Descriptors in the middle of a message. */
		m.must_break = true;
		return;
	}
	for (unsigned i = 0; i < nfds && i < VUS_FDS_MAX; i++)
		begun->file[i] = file_of(fds[i]);
	begun->use = (enum use)begun->file[0].use;
	begun->nfds = nfds;
}

/* --- what it sends ------------------------------------------------------- */

/* Take the next answer that is due, or the next that may be this one. */
static bool
take_answer(uint32_t request, struct answer *a)
{
	while (m.nanswers != 0) {
		*a = m.answers[0];
		memmove(m.answers, m.answers + 1,
		    --m.nanswers * sizeof(m.answers[0]));
		if (a->due != DUE_MAYBE || a->request == request)
			return true;
	}
	return false;
}

static void
check_reply(void)
{
	uint32_t request = get32(m.reply), flags = get32(m.reply + 4);
	size_t len = get32(m.reply + 8);
	struct answer a = { 0 };
	bool found;

	/* First those of messages before: they may have been kept until there
	 * was room. Then that of the message at hand. */
	apply_until(m.s->messages);
	found = take_answer(request, &a);
	if (!found) {
		catch_up();
		found = take_answer(request, &a);
	}
	FUZZ_CHECK(found, "a reply to %u, which nobody has asked for", request);
	FUZZ_CHECK(a.request == request, "a reply to %u where %u is due",
	    request, a.request);
	FUZZ_CHECK(flags == (VUS_VERSION | VUS_FLAG_REPLY),
	    "a reply to %u with flags 0x%x", request, flags);
	FUZZ_CHECK(a.due == DUE_MAYBE || len == a.len,
	    "a reply to %u of %zu bytes instead of %zu", request, len, a.len);
	if (a.due == DUE_ACK) {
		FUZZ_CHECK(m.reply_value <= 1,
		    "an acknowledgement of neither 0 nor 1");
		FUZZ_CHECK(!a.judged || (m.reply_value == 0) == a.accepted,
		    "request %u was %s", request,
		    a.accepted ? "refused" : "accepted");
	}
	FUZZ_CHECK(!a.has_value || m.reply_value == a.value,
	    "a reply to %u with 0x%llx instead of 0x%llx", request,
	    (unsigned long long)m.reply_value, (unsigned long long)a.value);
	FUZZ_CHECK(m.reply_fd == (request == VUS_GET_INFLIGHT_FD),
	    "a reply to %u, with or without a descriptor", request);
	if (request == VUS_CHECK_DEVICE_STATE) {
		FUZZ_CHECK(m.watch_state < 0 || !m.deferred,
		    "CHECK_DEVICE_STATE was answered ahead of the end");
		FUZZ_CHECK(m.reply_value <= 1, "a state of neither 0 nor 1");
		m.deferred = false;
		m.checked = true;
		m.check_value = m.reply_value;
	}
	m.reply_fd = false;
}

/* A piece of a reply: the first 8 bytes of the payload are looked at. */
static void
sent_reply(const unsigned char *bytes, size_t len)
{
	while (len != 0) {
		size_t take;

		if (m.reply_have < HEAD_SIZE) {
			take = HEAD_SIZE - m.reply_have;
			take = take < len ? take : len;
			memcpy(m.reply + m.reply_have, bytes, take);
			m.reply_value = 0;
			m.reply_size = SIZE_MAX;
		} else {
			size_t at = m.reply_have - HEAD_SIZE;

			take = m.reply_size - m.reply_have;
			take = take < len ? take : len;
			if (at < sizeof(m.reply_value))
				memcpy((unsigned char *)&m.reply_value + at,
				    bytes,
				    take < sizeof(m.reply_value) - at
					? take
					: sizeof(m.reply_value) - at);
		}
		m.reply_have += take;
		bytes += take;
		len -= take;
		if (m.reply_have == HEAD_SIZE)
			m.reply_size = HEAD_SIZE + get32(m.reply + 8);
		if (m.reply_have == m.reply_size) {
			check_reply();
			m.reply_have = 0;
		}
	}
}

static void
ask(uint32_t request, uint32_t index)
{
	FUZZ_CHECK(m.answers_due < VUS_PENDING_MAX, "%u answers are due",
	    m.answers_due + 1);
	m.asked[m.answers_due++] = (struct asked){ request, index, m.starts };
}

/* Invariant number one. */
static void
sent_map(const struct msghdr *mh, size_t len)
{
	const unsigned char *bytes = mh->msg_iov[0].iov_base;
	const struct vus_region *region;
	struct vus_wire_header head;
	struct vus_wire_mmap map;
	const struct cmsghdr *c = CMSG_FIRSTHDR(mh);
	struct stat st;
	int fd;

	FUZZ_CHECK(m.started, "a SHMEM_MAP while the device is stopped");
	FUZZ_CHECK(negotiated(VUS_F_SHMEM), "a SHMEM_MAP without SHMEM");
	FUZZ_CHECK(
	    m.watch_backend == m.s->backend.fd, "a channel nobody watches");
	FUZZ_CHECK(len == sizeof(head) + sizeof(map), "%zu bytes", len);
	memcpy(&head, bytes, sizeof(head));
	memcpy(&map, bytes + sizeof(head), sizeof(map));
	FUZZ_CHECK(head.size == sizeof(map) &&
		       (head.flags == VUS_VERSION ||
			   (head.flags == (VUS_VERSION | VUS_FLAG_NEED_REPLY) &&
			       negotiated(VUS_F_REPLY_ACK))),
	    "a SHMEM_MAP with flags 0x%x", head.flags);
	region = &m.s->device->shm[map.shmid];
	FUZZ_CHECK(region->size != 0, "there is no region %u", map.shmid);
	FUZZ_CHECK(map.len == region->size && map.fd_offset == 0 &&
		       map.shm_offset == 0 &&
		       map.flags == (region->writable ? 1U : 0U),
	    "the SHMEM_MAP of region %u does not fit it", map.shmid);
	FUZZ_CHECK(c != NULL && c->cmsg_type == SCM_RIGHTS &&
		       c->cmsg_len == CMSG_LEN(sizeof(int)),
	    "a SHMEM_MAP without its one descriptor");
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	FUZZ_CHECK(fstat(fd, &st) == 0 && st.st_ino == region->ino &&
		       st.st_dev == region->dev,
	    "the descriptor is not of region %u", map.shmid);
	FUZZ_CHECK(!m.sent[map.shmid], "region %u is mapped twice", map.shmid);
	FUZZ_CHECK(!survives(map.shmid),
	    "region %u is mapped, and was there already", map.shmid);
	m.sent[map.shmid] = true;
	if (head.flags & VUS_FLAG_NEED_REPLY)
		ask(VUS_BACKEND_SHMEM_MAP, map.shmid);
}

/* VRING_CALL and VRING_ERR. */
static void
sent_notification(const struct msghdr *mh, size_t len, uint32_t request)
{
	const unsigned char *bytes = mh->msg_iov[0].iov_base;
	const char *name =
	    request == VUS_BACKEND_VRING_CALL ? "VRING_CALL" : "VRING_ERR";
	uint32_t ring;

	FUZZ_CHECK(negotiated(VUS_F_INBAND_NOTIFICATIONS) || m.notified_late,
	    "a %s without INBAND_NOTIFICATIONS", name);
	FUZZ_CHECK(len == HEAD_SIZE + 8 && get32(bytes + 8) == 8 &&
		       get32(bytes + 4) == (VUS_VERSION | VUS_FLAG_NEED_REPLY),
	    "a %s of %zu bytes, flags 0x%x", name, len, get32(bytes + 4));
	FUZZ_CHECK(CMSG_FIRSTHDR(mh) == NULL, "a %s with descriptors", name);
	ring = get32(bytes + HEAD_SIZE);
	FUZZ_CHECK(ring < m.s->device->type->num_queues &&
		       get32(bytes + HEAD_SIZE + 4) == 0,
	    "a %s of ring %u", name, ring);
	if (m.notified_late)
		; /* what it was sent by may be of the past */
	else if (request == VUS_BACKEND_VRING_CALL)
		FUZZ_CHECK(!m.ring[ring].call_fd && !m.ring[ring].call_unwanted,
		    "a VRING_CALL of ring %u, which has a descriptor", ring);
	else
		FUZZ_CHECK(!m.ring[ring].err_fd && !m.ring[ring].err_unwanted,
		    "a VRING_ERR of ring %u, which has a descriptor", ring);
	for (unsigned i = 0; i < m.answers_due; i++)
		FUZZ_CHECK(
		    m.asked[i].request != request || m.asked[i].index != ring,
		    "a second %s of ring %u, ahead of the answer", name, ring);
	ask(request, ring);
}

/* The only reply with a descriptor is that to GET_INFLIGHT_FD. */
static void
sent_reply_fd(const struct msghdr *mh)
{
	const struct cmsghdr *c = CMSG_FIRSTHDR(mh);
	struct model_file file, host = file_of(m.s->host.inflight_fd);
	int fd;

	if (c == NULL)
		return;
	FUZZ_CHECK(get32(mh->msg_iov[0].iov_base) == VUS_GET_INFLIGHT_FD &&
		       c->cmsg_type == SCM_RIGHTS &&
		       c->cmsg_len == CMSG_LEN(sizeof(int)),
	    "descriptors that nobody has asked for");
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	file = file_of(fd);
	FUZZ_CHECK(same_file(&file, &host), "it is not the inflight buffer");
	m.reply_fd = true;
}

static void
sent(int sock, const struct msghdr *mh, size_t len)
{
	const unsigned char *bytes = mh->msg_iov[0].iov_base;

	FUZZ_CHECK(!m.closing, "something was sent while closing");
	if (sock == m.s->front.fd) {
		FUZZ_CHECK(m.front, "a reply out of turn");
		sent_reply_fd(mh);
		sent_reply(bytes, len);
		return;
	}
	FUZZ_CHECK(sock == m.s->backend.fd, "something was sent elsewhere");
	catch_up();
	/* The kernel takes what is so short whole or not at all. */
	FUZZ_CHECK(len >= HEAD_SIZE, "a piece of a request");
	switch (get32(bytes)) {
	case VUS_BACKEND_SHMEM_MAP:
		sent_map(mh, len);
		break;
	case VUS_BACKEND_VRING_CALL:
	case VUS_BACKEND_VRING_ERR:
		sent_notification(mh, len, get32(bytes));
		break;
	default:
		fuzz_fail("request %u on the channel", get32(bytes));
	}
}

/* Replies that nobody can read need not be. */
static void
not_sent(int sock, int error)
{
	if (sock == m.s->front.fd && error == EPIPE)
		m.gone = true;
}

/* --- the host's side ----------------------------------------------------- */

static void
closing_fd(int fd)
{
	FUZZ_CHECK(fd != m.watch_backend, "the channel is closed, watched");
	FUZZ_CHECK(fd != m.watch_state, "the state's pipe is closed, watched");
	for (unsigned i = 0; i < VUS_RINGS_MAX; i++)
		FUZZ_CHECK(fd != m.watch_kick[i],
		    "the kick descriptor of ring %u is closed, watched", i);
}

void
model_watch(enum vus_watch what, unsigned ring, int fd)
{
	int *slot = &m.watch_backend;

	FUZZ_CHECK(fd < 0 || !m.closing, "watched while closing");
	FUZZ_CHECK(ring < m.s->device->type->num_queues, "ring %u", ring);
	if (!m.closing)
		catch_up();
	if (what == VUS_WATCH_STATE_IN || what == VUS_WATCH_STATE_OUT) {
		slot = &m.watch_state;
		FUZZ_CHECK((what == VUS_WATCH_STATE_IN) == m.state_load,
		    "the other end of a pipe");
		FUZZ_CHECK(fd < 0 || m.state_due, "a transfer out of nothing");
		m.state_due = m.state_due && fd < 0;
	} else if (what == VUS_WATCH_KICK) {
		slot = &m.watch_kick[ring];
		FUZZ_CHECK(
		    fd < 0 || (m.ring[ring].kicked && m.ring[ring].enabled &&
				  m.ring[ring].has_fd),
		    "ring %u is watched and does not run", ring);
	} else {
		m.answers_due = 0;
		m.answer_wrong = false;
		memset(&m.answer, 0, sizeof(m.answer));
		if (fd >= 0) {
			FUZZ_CHECK(m.channel_due, "a channel out of nothing");
			begin_maps();
			m.channel_due = false;
		}
	}
	FUZZ_CHECK(fd < 0 || *slot < 0, "two watches in one place");
	*slot = fd;
}

int
model_watched(enum vus_watch what, unsigned ring)
{
	switch (what) {
	case VUS_WATCH_BACKEND:
		return m.watch_backend;
	case VUS_WATCH_KICK:
		return m.watch_kick[ring];
	case VUS_WATCH_STATE_IN:
		return m.state_load ? m.watch_state : -1;
	case VUS_WATCH_STATE_OUT:
		return m.state_load ? -1 : m.watch_state;
	}
	return -1;
}

void
model_enter(bool front)
{
	FUZZ_CHECK(!m.over, "the harness: a call after the end");
	m.front = front;
	m.notified_late = vus_chan_blocked(&m.s->backend);
}

/* The memory table: each region lies in its mapping, and apart from others,
 * of which the first ones are looked at. */
static void
check_memory(const struct vus_mem *mem)
{
	unsigned others = (m.view.log_size != 0) + m.inflight;

	FUZZ_CHECK(mem->nregions == m.view.nregions, "%u regions instead of %u",
	    mem->nregions, m.view.nregions);
	FUZZ_CHECK(mem->nregions + others == fuzz_mappings(),
	    "%u mappings for %u regions and %u others", fuzz_mappings(),
	    mem->nregions, others);
	for (unsigned i = 0; i < mem->nregions; i++) {
		const struct vus_mem_region *r = &mem->region[i];
		const unsigned char *map = r->map.base;

		FUZZ_CHECK(r->size != 0 && r->map.at >= map &&
			       r->map.at + r->size <= map + r->map.len,
		    "region %u lies beyond its mapping", i);
		FUZZ_CHECK(r->guest_addr + (r->size - 1) >= r->guest_addr &&
			       (m.ever_guest || r->user_addr + (r->size - 1) >=
						    r->user_addr),
		    "region %u wraps", i);
		for (unsigned k = 0; k < i && k < 8; k++) {
			const struct vus_mem_region *o = &mem->region[k];

			FUZZ_CHECK(
			    (r->guest_addr > o->guest_addr + (o->size - 1) ||
				o->guest_addr >
				    r->guest_addr + (r->size - 1)) &&
				(m.ever_guest ||
				    r->user_addr >
					o->user_addr + (o->size - 1) ||
				    o->user_addr >
					r->user_addr + (r->size - 1)),
			    "regions %u and %u overlap", k, i);
		}
	}
}

/* All that has to be while the session waits for its host. */
static void
check_state(void)
{
	const struct vus_session *s = m.s;

	FUZZ_CHECK(!m.must_break, "a connection that had to be closed is open");
	check_memory(&s->mem);
	FUZZ_CHECK(!m.channel_due, "a back-end channel was lost");
	FUZZ_CHECK(s->state.started == m.started, "the device is %s",
	    m.started ? "stopped" : "started");
	FUZZ_CHECK(s->state.protocol_features == m.protocol_features,
	    "protocol features are 0x%llx instead of 0x%llx",
	    (unsigned long long)s->state.protocol_features,
	    (unsigned long long)m.protocol_features);
	FUZZ_CHECK(
	    s->backend.fd == m.watch_backend, "a channel nobody watches");
	if (!vus_session_wants_write(s) && !m.gone)
		for (unsigned i = 0; i < m.nanswers; i++)
			FUZZ_CHECK(m.answers[i].due == DUE_MAYBE ||
				       (m.deferred && m.watch_state >= 0),
			    "request %u was not answered",
			    m.answers[i].request);
	FUZZ_CHECK(!m.answer_wrong, "a channel that had to be closed is open");
	FUZZ_CHECK(!m.state_due, "a transfer was lost");
	FUZZ_CHECK(s->transfer.fd == m.watch_state, "a pipe nobody watches");
	if (m.started && negotiated(VUS_F_SHMEM) && s->backend.fd >= 0 &&
	    !vus_session_backend_wants_write(s))
		for (unsigned i = 0; i < VUS_SHMEM_MAX; i++)
			FUZZ_CHECK(m.sent[i] || m.kept[i] ||
				       s->device->shm[i].size == 0,
			    "region %u was not mapped", i);
}

void
model_leave(enum vus_next next)
{
	unsigned done;

	m.front = false;
	if (next == VUS_NEXT_CLOSED || next == VUS_NEXT_BROKEN) {
		m.over = true;
		return;
	}
	apply_until(m.s->messages);
	FUZZ_CHECK(
	    m.applied == m.s->messages, "the session acted ahead of a message");
	done = (unsigned)(m.applied - m.base);
	for (unsigned i = 0; i < done; i++)
		m.base_bytes += m.queue[i].size;
	memmove(m.queue, m.queue + done, (m.n - done) * sizeof(m.queue[0]));
	m.n -= done;
	m.base += done;
	check_state();
}

void
model_closing(void)
{
	m.closing = true;
}

void
model_closed(void)
{
	FUZZ_CHECK(fuzz_owned() == 0, "%u descriptors are left", fuzz_owned());
	FUZZ_CHECK(
	    fuzz_mappings() == 0, "%u mappings are left", fuzz_mappings());
	FUZZ_CHECK(m.watch_backend < 0, "the channel is watched");
	FUZZ_CHECK(m.watch_state < 0, "the state's pipe is watched");
	for (unsigned i = 0; i < VUS_RINGS_MAX; i++)
		FUZZ_CHECK(m.watch_kick[i] < 0, "ring %u is watched", i);
	memset(&fuzz_tap, 0, sizeof(fuzz_tap));
}

bool
model_started(void)
{
	return m.started;
}

unsigned
model_answers_due(void)
{
	return m.answers_due;
}

uint32_t
model_next_answer(void)
{
	return m.answers_due == 0 ? VUS_BACKEND_SHMEM_MAP : m.asked[0].request;
}

uint32_t
model_due(unsigned i)
{
	return m.asked[i].request;
}

bool
model_checked(uint64_t *value)
{
	bool checked = m.checked;

	m.checked = false;
	*value = m.check_value;
	return checked;
}

bool
model_waits_for_state(void)
{
	return m.deferred;
}

const struct model_view *
model_view(void)
{
	return &m.view;
}

void
model_start(const struct vus_session *s)
{
	m.s = s;
	m.front = m.closing = m.over = m.must_break = m.gone = false;
	m.n = m.nanswers = 0;
	m.base = m.applied = m.bytes = m.base_bytes = 0;
	m.reply_have = 0;
	m.reply_fd = false;
	m.features = m.protocol_features = 0;
	memset(m.ring, 0, sizeof(m.ring));
	m.started = m.channel_due = false;
	m.starts = 0;
	m.watch_backend = m.watch_state = -1;
	for (unsigned i = 0; i < VUS_RINGS_MAX; i++)
		m.watch_kick[i] = -1;
	memset(m.awaited, 0, sizeof(m.awaited));
	memset(m.placed, 0, sizeof(m.placed));
	m.answers_due = 0;
	m.answer_wrong = false;
	memset(&m.answer, 0, sizeof(m.answer));
	m.inflight = m.ever_guest = false;
	m.state_load = m.state_due = m.deferred = m.checked = false;
	memset(&m.view, 0, offsetof(struct model_view, region));
	fuzz_tap.received = received;
	fuzz_tap.sent = sent;
	fuzz_tap.not_sent = not_sent;
	fuzz_tap.closing = closing_fd;
}
