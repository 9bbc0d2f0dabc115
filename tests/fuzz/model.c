/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A second opinion on a session; model.h says of what kind. */
#include "config.h"

#include "model.h"

#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Messages that have been received and not settled: two full buffers of bare
 * headers are fewer. */
#define QUEUE_MAX 1024U
#define HEAD_SIZE sizeof(struct vus_wire_header)
/* Bytes of a payload that the model looks at. */
#define KEEP 16U

/* What a descriptor is good for. */
enum use { USE_NONE, USE_EVENT, USE_SOCKET };

struct message {
	unsigned char head[HEAD_SIZE];
	unsigned char payload[KEEP];
	size_t have, size; /* bytes of it so far; in all, once head is there */
	unsigned nfds;
	enum use use; /* of its first descriptor */
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
};

static struct {
	const struct vus_session *s;
	bool front, closing, over, must_break;
	bool gone; /* the front-end does not read any more */

	/* messages received; the first is number base */
	struct message queue[QUEUE_MAX];
	unsigned n;
	unsigned long long base, applied;

	struct answer answers[QUEUE_MAX];
	unsigned nanswers;
	unsigned char reply[HEAD_SIZE]; /* the reply that is on its way */
	size_t reply_have, reply_size;
	uint64_t reply_value;

	uint64_t features, protocol_features;
	struct {
		bool kicked, enabled, has_fd;
	} ring[VUS_RINGS_MAX];
	bool started;
	bool channel_due; /* a SET_BACKEND_REQ_FD was accepted just now */
	int watch_backend, watch_kick[VUS_RINGS_MAX];
	bool sent[VUS_SHMEM_MAX]; /* since the start, or the channel came */
	bool own_seen; /* a region's file came in: it may be in the table */
	unsigned answers_due;
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

/* --- the state of the device --------------------------------------------- */

static void
look_at_start(void)
{
	bool now = m.ring[0].kicked && m.ring[0].enabled;

	if (now && !m.started)
		memset(m.sent, 0, sizeof(m.sent));
	m.started = now;
}

static void
reset(void)
{
	memset(m.ring, 0, sizeof(m.ring));
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
on_features(uint64_t value)
{
	if (value & ~vus_session_features(m.s))
		return false;
	for (unsigned i = 0; i < VUS_RINGS_MAX; i++)
		if (m.ring[i].kicked && m.ring[i].enabled &&
		    value != m.features)
			return false;
	m.features = value;
	return true;
}

static bool
on_kick(const struct message *msg, uint64_t value, bool *malformed)
{
	unsigned ring = value & 0xff;
	bool none = (value & 0x100) != 0;

	if (ring >= m.s->device->type->num_queues)
		return false;
	*malformed = msg->nfds != (none ? 0U : 1U);
	if (*malformed || (!none && msg->use != USE_EVENT))
		return false;
	m.ring[ring].kicked = true;
	m.ring[ring].has_fd = !none;
	if (!(m.features & VUS_BIT(VUS_VIRTIO_F_PROTOCOL_FEATURES)))
		m.ring[ring].enabled = true;
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
carry_out(const struct message *msg, uint32_t request, bool *malformed)
{
	uint64_t value = get64(msg->payload);
	uint32_t index = get32(msg->payload), num = get32(msg->payload + 4);
	uint64_t features;

	switch (request) {
	case VUS_SET_FEATURES:
		return on_features(value);
	case VUS_SET_OWNER:
		reset();
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
		return true;
	case VUS_SET_VRING_KICK:
		return on_kick(msg, value, malformed);
	case VUS_SET_PROTOCOL_FEATURES:
		if (!translate(value, &features) ||
		    (m.started && features != m.protocol_features))
			return false;
		m.protocol_features = features;
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
} known[] = {
	[VUS_GET_FEATURES] = { .due = DUE_REPLY, .len = 8 },
	[VUS_SET_FEATURES] = { .judged = true, .size = 8 },
	[VUS_SET_OWNER] = { .judged = true },
	[VUS_RESET_OWNER] = { .judged = true },
	[VUS_GET_VRING_BASE] = { true, DUE_REPLY, 8, 8, 0, 0 },
	[VUS_SET_VRING_KICK] = { .judged = true, .size = 8, .most_fds = 1 },
	[VUS_GET_PROTOCOL_FEATURES] = { .due = DUE_REPLY, .len = 8 },
	[VUS_SET_PROTOCOL_FEATURES] = { .judged = true, .size = 8 },
	[VUS_GET_QUEUE_NUM] = { .due = DUE_REPLY, .len = 8 },
	[VUS_SET_VRING_ENABLE] = { .judged = true, .size = 8 },
	[VUS_SET_BACKEND_REQ_FD] = { true, DUE_NOTHING, 0, 0, 1, 1 },
	[VUS_GET_CONFIG] = { .due = DUE_REPLY },
	[VUS_GET_INFLIGHT_FD] = { .due = DUE_MAYBE },
	[VUS_RESET_DEVICE] = { .judged = true },
	[VUS_GET_MAX_MEM_SLOTS] = { .due = DUE_REPLY, .len = 8 },
	[VUS_SET_STATUS] = { .judged = true, .size = 8 },
	[VUS_GET_STATUS] = { .due = DUE_REPLY, .len = 8 },
	[VUS_SET_LOG_BASE] = { .due = DUE_MAYBE },
	[VUS_GET_SHARED_OBJECT] = { .due = DUE_MAYBE },
	[VUS_SET_DEVICE_STATE_FD] = { .due = DUE_MAYBE },
	[VUS_CHECK_DEVICE_STATE] = { .due = DUE_MAYBE },
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

	if ((flags & VUS_VERSION_MASK) != VUS_VERSION ||
	    (flags & ~(VUS_VERSION_MASK | VUS_FLAG_NEED_REPLY)) != 0 ||
	    request == 0 || request >= VUS_REQUEST_END ||
	    (k->judged && (size != k->size || msg->nfds < k->least_fds ||
			      msg->nfds > k->most_fds))) {
		m.must_break = true;
		return;
	}
	if (k->judged) {
		answer.judged = true;
		answer.accepted = carry_out(msg, request, &malformed);
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
 * hand, if it may be at one. */
static void
catch_up(void)
{
	apply_until(m.s->messages + (m.front ? 1 : 0));
}

/* --- what the session receives ------------------------------------------- */

static enum use
use_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return USE_NONE;
	if (S_ISSOCK(st.st_mode))
		return USE_SOCKET;
	/* Anonymous inodes have no type; O_PATH can do nothing. */
	if ((st.st_mode & S_IFMT) == 0 && !(fcntl(fd, F_GETFL) & O_PATH))
		return USE_EVENT;
	return USE_NONE;
}

static bool
is_region(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	for (unsigned i = 0; i < VUS_SHMEM_MAX; i++)
		if (m.s->device->shm[i].size != 0 &&
		    m.s->device->shm[i].dev == st.st_dev &&
		    m.s->device->shm[i].ino == st.st_ino)
			return true;
	return false;
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

static void
received(int sock, const unsigned char *bytes, size_t len, const int *fds,
    unsigned nfds)
{
	struct message *begun;

	for (unsigned i = 0; i < nfds; i++)
		m.own_seen = m.own_seen || is_region(fds[i]);
	if (!m.front || sock != m.s->front.fd || len == 0)
		return;
	begun = frame(bytes, len);
	if (nfds == 0)
		return;
	if (begun == NULL) {
		/* Descriptors in the middle of a message. */
		m.must_break = true;
		return;
	}
	begun->use = use_of(fds[0]);
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

	catch_up();
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
	m.sent[map.shmid] = true;
	if (head.flags & VUS_FLAG_NEED_REPLY)
		m.answers_due++;
	FUZZ_CHECK(m.answers_due <= VUS_PENDING_MAX, "%u answers are due",
	    m.answers_due);
}

static void
sent(int sock, const struct msghdr *mh, size_t len)
{
	const unsigned char *bytes = mh->msg_iov[0].iov_base;

	FUZZ_CHECK(!m.closing, "something was sent while closing");
	if (sock == m.s->front.fd) {
		FUZZ_CHECK(m.front, "a reply out of turn");
		sent_reply(bytes, len);
		return;
	}
	FUZZ_CHECK(sock == m.s->backend.fd, "something was sent elsewhere");
	/* What is left of a message before has no descriptor. */
	if (len >= sizeof(uint32_t) && get32(bytes) == VUS_BACKEND_SHMEM_MAP)
		sent_map(mh, len);
	else
		FUZZ_CHECK(len < sizeof(uint32_t) ||
			       get32(bytes) != VUS_BACKEND_SHMEM_UNMAP,
		    "a SHMEM_UNMAP");
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
	if (m.front && !m.closing)
		catch_up();
	if (what == VUS_WATCH_KICK) {
		slot = &m.watch_kick[ring];
		FUZZ_CHECK(
		    fd < 0 || (m.ring[ring].kicked && m.ring[ring].enabled &&
				  m.ring[ring].has_fd),
		    "ring %u is watched and does not run", ring);
	} else {
		m.answers_due = 0;
		if (fd >= 0) {
			FUZZ_CHECK(m.channel_due, "a channel out of nothing");
			memset(m.sent, 0, sizeof(m.sent));
			m.channel_due = false;
		}
	}
	FUZZ_CHECK(fd < 0 || *slot < 0, "two watches in one place");
	*slot = fd;
}

int
model_watched(enum vus_watch what, unsigned ring)
{
	return what == VUS_WATCH_BACKEND ? m.watch_backend : m.watch_kick[ring];
}

void
model_enter(bool front)
{
	FUZZ_CHECK(!m.over, "the harness: a call after the end");
	m.front = front;
}

/* The memory table: each region lies in its mapping, and apart from others,
 * of which the first ones are looked at. */
static void
check_memory(const struct vus_mem *mem)
{
	FUZZ_CHECK(mem->nregions == fuzz_mappings(),
	    "%u mappings for %u regions", fuzz_mappings(), mem->nregions);
	for (unsigned i = 0; i < mem->nregions; i++) {
		const struct vus_mem_region *r = &mem->region[i];
		const unsigned char *map = r->map.base;

		FUZZ_CHECK(r->size != 0 && r->map.at >= map &&
			       r->map.at + r->size <= map + r->map.len,
		    "region %u lies beyond its mapping", i);
		FUZZ_CHECK(r->guest_addr + (r->size - 1) >= r->guest_addr &&
			       r->user_addr + (r->size - 1) >= r->user_addr,
		    "region %u wraps", i);
		for (unsigned k = 0; k < i && k < 8; k++) {
			const struct vus_mem_region *o = &mem->region[k];

			FUZZ_CHECK(
			    (r->guest_addr > o->guest_addr + (o->size - 1) ||
				o->guest_addr >
				    r->guest_addr + (r->size - 1)) &&
				(r->user_addr > o->user_addr + (o->size - 1) ||
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
			FUZZ_CHECK(m.answers[i].due == DUE_MAYBE,
			    "request %u was not answered",
			    m.answers[i].request);
	if (m.started && negotiated(VUS_F_SHMEM) && s->backend.fd >= 0 &&
	    !vus_session_backend_wants_write(s) && !m.own_seen)
		for (unsigned i = 0; i < VUS_SHMEM_MAX; i++)
			FUZZ_CHECK(m.sent[i] || s->device->shm[i].size == 0,
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

void
model_answered(void)
{
	if (m.answers_due != 0)
		m.answers_due--;
}

void
model_start(const struct vus_session *s)
{
	m.s = s;
	m.front = m.closing = m.over = m.must_break = m.gone = false;
	m.n = m.nanswers = 0;
	m.base = m.applied = 0;
	m.reply_have = 0;
	m.features = m.protocol_features = 0;
	memset(m.ring, 0, sizeof(m.ring));
	m.started = m.channel_due = m.own_seen = false;
	m.watch_backend = -1;
	for (unsigned i = 0; i < VUS_RINGS_MAX; i++)
		m.watch_kick[i] = -1;
	m.answers_due = 0;
	fuzz_tap.received = received;
	fuzz_tap.sent = sent;
	fuzz_tap.not_sent = not_sent;
	fuzz_tap.closing = closing_fd;
}
