/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A front-end that does anything, against a session through real sockets.
 *
 * The input is a program: a few bytes choose the device, then each operation
 * is one byte and its operands. Some are the legal steps of a front-end and a
 * driver, so that the fuzzer gets deep; others send any bytes, in any pieces,
 * with any descriptors, on either channel, or write into guest memory. The
 * harness is the session's host, and model.c looks on.
 */
#include "config.h"

#include "fuzz.h"
#include "model.h"
#include "session.h"

#include <endian.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a run may take. */
#define OPS_MAX 200U
/* Turns of the host after one operation: a driver that always has more to do
 * is left at work. */
#define TURNS_MAX 48U
/* Turns in a row in which something is ready and nothing comes of it. */
#define IDLE_MAX 3U
/* Requests that one call may serve per ring. */
#define SERVE_MAX 1024U

/* The guest: two files that follow each other in guest physical memory. */
#define GUEST UINT64_C(0x40000000)
#define USER_0 UINT64_C(0x7f0000000000)
#define USER_1 UINT64_C(0x7f8000000000)
/* Each ring has its place in the first: table, available, used, data. */
#define RING_STRIDE 0x4000U
#define RING_AVAIL 0x1000U
#define RING_USED 0x2000U
#define RING_DATA 0x3000U
#define RING_SMALL 256U /* entries that fit there */
/* A ring of any size is here. */
#define BIG_DESC 0x40000U
#define BIG_AVAIL 0xc0000U
#define BIG_USED 0xe0000U

enum op {
	OP_MESSAGE,   /* any request with any payload */
	OP_PIECES,    /* the same, in two pieces */
	OP_BYTES,     /* any bytes */
	OP_NEGOTIATE, /* the legal beginning */
	OP_MEMORY,    /* the legal memory table */
	OP_SLOT,      /* add or remove one region */
	OP_CHANNEL,   /* a back-end channel */
	OP_RING,      /* everything about one ring, up to its kick */
	OP_ENABLE,
	OP_STOP, /* GET_VRING_BASE */
	OP_RESET,
	OP_ANSWER, /* to a SHMEM_MAP */
	OP_CHANNEL_BYTES,
	OP_CHANNEL_END,
	OP_WRITE, /* into guest memory */
	OP_DESC,  /* write one descriptor */
	OP_OFFER, /* put into the available ring */
	OP_KICK,
	OP_READ, /* read replies */
	OP_SPURIOUS,
	OP_HANG_UP,
	OP_FULL_CALL, /* the call descriptor takes no more */
	OP_PUMP,
	OPS
};

static struct run {
	struct fuzz_input in;
	struct vus_session s;
	struct vus_device device;
	struct vus_device_type type;
	enum vus_next next;
	bool lives;
	int front;   /* the front-end's end */
	int channel; /* the front-end's end of the back-end channel, or -1 */
	bool reads_front, reads_channel; /* at once, or only by OP_READ */
	bool small_buffers;
	unsigned served; /* in this call */
	unsigned long long watches, lines;
	unsigned char *ram; /* the guest's view of the first file */
	int kick[VUS_RINGS_MAX], call[VUS_RINGS_MAX];
} run;

/* --- the host ------------------------------------------------------------ */

static void
host_log(void *ctx, enum vus_log_level level, const char *text)
{
	size_t len = strlen(text);

	run.lines++;
	FUZZ_CHECK(ctx == &run, "the host's context");
	FUZZ_CHECK(level <= VUS_LOG_DEBUG && level <= run.s.host.verbosity,
	    "level %d", (int)level);
	FUZZ_CHECK(len != 0 && len < 256 && strchr(text, '\n') == NULL,
	    "a line of %zu bytes", len);
}

static void
host_watch(void *ctx, enum vus_watch what, unsigned ring, int fd)
{
	FUZZ_CHECK(ctx == &run, "the host's context");
	run.watches++;
	model_watch(what, ring, fd);
}

/* A piece of a chain lies in one region. */
static void
check_seg(const struct vus_seg *seg)
{
	const struct vus_mem *mem = &run.s.mem;

	FUZZ_CHECK(seg->len != 0, "an empty piece");
	for (unsigned i = 0; i < mem->nregions; i++) {
		const struct vus_mem_region *r = &mem->region[i];

		if (seg->base >= r->map.at && seg->base < r->map.at + r->size) {
			FUZZ_CHECK(seg->len <= (uint64_t)(r->map.at + r->size -
							  seg->base),
			    "a piece reaches out of its region");
			return;
		}
	}
	fuzz_fail("a piece lies outside of guest memory");
}

/* The device echoes what it reads, and writes where the guest says. */
static uint32_t
serve(struct vus_session *s, unsigned ring, const struct vus_chain *chain)
{
	unsigned char bytes[64];
	size_t n;

	FUZZ_CHECK(s == &run.s && ring < run.type.num_queues, "ring %u", ring);
	FUZZ_CHECK(
	    chain->nread <= VUS_CHAIN_SEGS && chain->nwrite <= VUS_CHAIN_SEGS,
	    "%u and %u pieces", chain->nread, chain->nwrite);
	for (unsigned i = 0; i < chain->nread; i++)
		check_seg(&chain->read[i]);
	for (unsigned i = 0; i < chain->nwrite; i++)
		check_seg(&chain->write[i]);
	FUZZ_CHECK(++run.served <= SERVE_MAX * VUS_RINGS_MAX,
	    "a call that does not return");
	n = vus_chain_read(chain, bytes, sizeof(bytes));
	return (uint32_t)vus_chain_write(chain, bytes, n);
}

/* Call the session and let the model look at what came of it. */
#define CALL(front, expression)                                                \
	do {                                                                   \
		if (!run.lives)                                                \
			break;                                                 \
		run.served = 0;                                                \
		model_enter(front);                                            \
		run.next = (expression);                                       \
		model_leave(run.next);                                         \
		run.lives = run.next != VUS_NEXT_CLOSED &&                     \
			    run.next != VUS_NEXT_BROKEN;                       \
	} while (0)

/* Changes whenever a ring has been served. */
static unsigned long long
ring_progress(void)
{
	unsigned long long sum = run.lines;

	for (unsigned i = 0; i < run.type.num_queues; i++)
		sum = sum * 65537 + run.s.ring[i].vq.next;
	return sum;
}

static void
work(void)
{
	unsigned long long before = ring_progress();

	CALL(false, vus_session_work(&run.s));
	FUZZ_CHECK(run.next != VUS_NEXT_WORK || run.served != 0 ||
		       ring_progress() != before,
	    "work that gets nowhere");
}

static bool
readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && p.revents != 0;
}

static void
kicked(unsigned ring)
{
	unsigned long long before = run.watches;
	int fd = model_watched(VUS_WATCH_KICK, ring);

	CALL(false, vus_session_kicked(&run.s, ring));
	FUZZ_CHECK(!run.lives || run.watches != before || !readable(fd),
	    "a kick that stays");
}

/* One turn of the event loop, as daemon/worker.c has it. Returns whether
 * something was done. */
static bool
turn(bool first)
{
	struct pollfd p[2 + VUS_RINGS_MAX];
	unsigned ring[2 + VUS_RINGS_MAX];
	nfds_t n = 1;
	bool blocked = vus_session_wants_write(&run.s);
	int backend = model_watched(VUS_WATCH_BACKEND, 0);

	if (run.next == VUS_NEXT_WORK || (run.next == VUS_NEXT_POLL && first)) {
		work();
		return true;
	}
	p[0].fd = run.s.front.fd;
	p[0].events = blocked ? POLLOUT : POLLIN;
	if (backend >= 0) {
		p[n].fd = backend;
		p[n].events = POLLIN;
		if (vus_session_backend_wants_write(&run.s))
			p[n].events |= POLLOUT;
		ring[n++] = VUS_RINGS_MAX;
	}
	for (unsigned i = 0; i < run.type.num_queues; i++) {
		p[n].fd = model_watched(VUS_WATCH_KICK, i);
		p[n].events = POLLIN;
		if (p[n].fd >= 0)
			ring[n++] = i;
	}
	if (poll(p, n, 0) <= 0)
		return false;
	if (p[0].revents != 0 && blocked)
		CALL(true, vus_session_writable(&run.s));
	else if (p[0].revents != 0)
		CALL(true, vus_session_readable(&run.s));
	for (nfds_t i = 1; i < n && run.lives; i++) {
		if (p[i].revents == 0)
			continue;
		/* What went before may have closed it. */
		if (ring[i] < VUS_RINGS_MAX) {
			if (model_watched(VUS_WATCH_KICK, ring[i]) == p[i].fd &&
			    readable(p[i].fd))
				kicked(ring[i]);
		} else if (model_watched(VUS_WATCH_BACKEND, 0) == p[i].fd) {
			CALL(false, vus_session_backend_ready(&run.s));
		}
	}
	return true;
}

/* Run the host until nothing is left to do. */
static void
pump(void)
{
	unsigned idle = 0;

	for (unsigned i = 0; i < TURNS_MAX && run.lives; i++) {
		unsigned long long before =
		    fuzz_moved() + run.watches + run.s.messages;
		bool worked = run.next == VUS_NEXT_WORK;

		if (!turn(i == 0))
			break;
		if (run.reads_front)
			fuzz_drain(run.front, SIZE_MAX);
		if (run.reads_channel && run.channel >= 0)
			fuzz_drain(run.channel, SIZE_MAX);
		if (worked ||
		    fuzz_moved() + run.watches + run.s.messages != before)
			idle = 0;
		else
			FUZZ_CHECK(++idle < IDLE_MAX + VUS_RINGS_MAX,
			    "the session spins");
	}
}

/* --- the front-end ------------------------------------------------------- */

/* Kinds from the input: how many, then each. */
static unsigned
take_fds(int fds[static FUZZ_FDS_MAX])
{
	unsigned n = fuzz_u8(&run.in);
	enum fuzz_kind kind;

	/* None mostly; from 0xc0 on many of one kind. */
	if (n >= 0xc0) {
		n = n - 0xc0 + 1;
		kind = fuzz_u8(&run.in) % KINDS;
		for (unsigned i = 0; i < n; i++)
			fds[i] = i == 0 ? fuzz_kind(kind) : fds[0];
		return n;
	}
	n &= 3;
	for (unsigned i = 0; i < n; i++)
		fds[i] = fuzz_kind(fuzz_u8(&run.in) % KINDS);
	return n;
}

static void
send_front(const void *bytes, size_t len, const int *fds, unsigned nfds)
{
	if (run.front >= 0)
		(void)fuzz_send(run.front, bytes, len, fds, nfds);
}

/* One message, whole, that asks for an acknowledgement where there are such. */
static void
request(
    uint32_t id, const void *payload, size_t len, const int *fds, unsigned nfds)
{
	unsigned char message[sizeof(struct vus_wire_header) + 256];
	struct vus_wire_header head = {
		.request = id,
		.flags = VUS_VERSION,
		.size = (uint32_t)len,
	};

	if (vus_negotiated(&run.s, VUS_F_REPLY_ACK))
		head.flags |= VUS_FLAG_NEED_REPLY;
	memcpy(message, &head, sizeof(head));
	if (len != 0)
		memcpy(message + sizeof(head), payload, len);
	send_front(message, sizeof(head) + len, fds, nfds);
	pump();
}

static void
request_u64(uint32_t id, uint64_t value)
{
	request(id, &value, sizeof(value), NULL, 0);
}

static void
request_state(uint32_t id, uint32_t index, uint32_t num)
{
	struct vus_wire_vring_state state = { index, num };

	request(id, &state, sizeof(state), NULL, 0);
}

static void
request_fd(uint32_t id, uint64_t value, int fd)
{
	request(id, &value, sizeof(value), &fd, 1);
}

/* Any header, near the truth; any payload; any descriptors. */
static size_t
any_message(unsigned char *to, int *fds, unsigned *nfds)
{
	struct vus_wire_header head;
	uint8_t id = fuzz_u8(&run.in), flags = fuzz_u8(&run.in);
	size_t len = fuzz_u8(&run.in);

	*nfds = take_fds(fds);
	head.request = id % (VUS_REQUEST_END + 4U);
	/* 0 asks for an answer, 1 does not, 2 is whatever comes. */
	head.flags = VUS_VERSION | VUS_FLAG_NEED_REPLY;
	if (flags % 4 == 1)
		head.flags = VUS_VERSION;
	else if (flags % 4 == 2)
		head.flags = fuzz_u32(&run.in);
	/* Lengths of wire structs are short; the largest are rare. */
	if (len >= 0xf0)
		len = VUS_PAYLOAD_MAX - 0xf0 + 8 - (0xff - len);
	head.size = (uint32_t)len;
	if (flags & 0x80)
		head.size = fuzz_u32(&run.in);
	memcpy(to, &head, sizeof(head));
	fuzz_bytes(&run.in, to + sizeof(head), len);
	return sizeof(head) + len;
}

static void
op_message(bool pieces)
{
	static unsigned char
	    message[sizeof(struct vus_wire_header) + VUS_PAYLOAD_MAX];
	int fds[FUZZ_FDS_MAX];
	unsigned nfds;
	size_t len = any_message(message, fds, &nfds);
	size_t cut = len;

	if (pieces) {
		cut = fuzz_u8(&run.in);
		cut = cut < len ? cut : len;
	}
	send_front(message, cut, fds, nfds);
	/* Bit by bit, or all in one read. */
	if (pieces && fuzz_u8(&run.in) % 2 != 0)
		pump();
	if (cut < len)
		send_front(message + cut, len - cut, NULL, 0);
}

static void
op_bytes(int sock)
{
	unsigned char bytes[256];
	int fds[FUZZ_FDS_MAX];
	unsigned nfds = take_fds(fds);
	size_t len = fuzz_u8(&run.in);

	fuzz_bytes(&run.in, bytes, len);
	if (sock >= 0)
		(void)fuzz_send(sock, bytes, len, fds, nfds);
}

static void
op_negotiate(void)
{
	/* Features that are left out, one bit each. */
	static const unsigned virtio[] = { VUS_VIRTIO_F_PROTOCOL_FEATURES,
		VUS_VIRTIO_F_INDIRECT_DESC, VUS_VIRTIO_F_EVENT_IDX,
		VUS_VIRTIO_F_RING_PACKED };
	static const unsigned protocol[] = { VUS_F_REPLY_ACK, VUS_F_BACKEND_REQ,
		VUS_F_SHMEM, VUS_F_MQ };
	uint64_t features = vus_session_features(&run.s);
	uint64_t protocol_features = run.s.dialect.protocol_features;
	uint8_t without = fuzz_u8(&run.in);

	for (unsigned i = 0; i < 4; i++) {
		if (without & (1U << i))
			features &= ~VUS_BIT(virtio[i]);
		if (without & (16U << i))
			protocol_features &= ~VUS_BIT(protocol[i]);
	}
	if (protocol_features & VUS_BIT(VUS_F_SHMEM))
		protocol_features =
		    (protocol_features & ~VUS_BIT(VUS_F_SHMEM)) |
		    VUS_BIT(run.s.dialect.shmem_bit);
	request(VUS_GET_FEATURES, NULL, 0, NULL, 0);
	request(VUS_GET_PROTOCOL_FEATURES, NULL, 0, NULL, 0);
	request_u64(VUS_SET_PROTOCOL_FEATURES, protocol_features);
	request(VUS_SET_OWNER, NULL, 0, NULL, 0);
	request_u64(VUS_SET_FEATURES, features);
	if (vus_negotiated(&run.s, VUS_F_SHMEM))
		request(VUS_GET_SHMEM_CONFIG, NULL, 0, NULL, 0);
}

static const struct vus_wire_mem_region guest[] = {
	{ GUEST, KIND_RAM_0_SIZE, USER_0, 0 },
	{ GUEST + KIND_RAM_0_SIZE, KIND_RAM_1_SIZE, USER_1, 0 },
	/* Our own region, as QEMU sends it back. */
	{ GUEST + 0x10000000, KIND_REGION_SIZE, USER_1 + 0x10000000, 0 },
	{ GUEST + 0x20000000, 0x1800, USER_1 + 0x20000000, 0x800 },
};
static const enum fuzz_kind guest_kind[] = { KIND_RAM_0, KIND_RAM_1,
	KIND_REGION, KIND_RAM_1 };

static void
op_memory(void)
{
	struct {
		struct vus_wire_mem_table table;
		struct vus_wire_mem_region region[ARRAY_LEN(guest)];
	} payload = { 0 };
	int fds[ARRAY_LEN(guest)];
	unsigned which = fuzz_u8(&run.in);
	unsigned n = 0;

	/* 0 is the guest without our region. */
	which = which == 0 ? 3 : which;
	for (unsigned i = 0; i < ARRAY_LEN(guest); i++) {
		if (!(which & (1U << i)))
			continue;
		payload.region[n] = guest[i];
		fds[n++] = fuzz_kind(guest_kind[i]);
	}
	payload.table.nregions = n;
	request(VUS_SET_MEM_TABLE, &payload,
	    sizeof(payload.table) + n * sizeof(payload.region[0]), fds, n);
}

static void
op_slot(void)
{
	uint8_t which = fuzz_u8(&run.in);
	struct vus_wire_single_region single = {
		.region = guest[which % ARRAY_LEN(guest)],
	};
	int fd = fuzz_kind(guest_kind[which % ARRAY_LEN(guest)]);

	/* Further ones beyond, in their numbers. */
	single.region.guest_addr += (uint64_t)(which >> 3) << 32;
	single.region.user_addr += (uint64_t)(which >> 3) << 40;
	if (which & 4)
		request(VUS_REM_MEM_REG, &single, sizeof(single), &fd, 1);
	else
		request(VUS_ADD_MEM_REG, &single, sizeof(single), &fd, 1);
}

static void
forget_channel(void)
{
	if (run.channel >= 0)
		(void)close(run.channel);
	run.channel = -1;
}

static void
op_channel(void)
{
	int pair[2];
	int one = 1;

	forget_channel();
	fuzz_pair(SOCK_STREAM, pair);
	if (run.small_buffers)
		(void)setsockopt(
		    pair[0], SOL_SOCKET, SO_SNDBUF, &one, sizeof(one));
	run.channel = pair[1];
	request(VUS_SET_BACKEND_REQ_FD, NULL, 0, &pair[0], 1);
	(void)close(pair[0]);
}

static void
op_ring(void)
{
	uint8_t how = fuzz_u8(&run.in), size = fuzz_u8(&run.in);
	unsigned i = how % VUS_RINGS_MAX;
	uint64_t base = USER_0 + (uint64_t)i * RING_STRIDE;
	struct vus_wire_vring_addr addr = {
		.index = i,
		.desc = base,
		.avail = base + RING_AVAIL,
		.used = base + RING_USED,
	};
	unsigned order = size % 16;

	if (1U << order > RING_SMALL) {
		addr.desc = USER_0 + BIG_DESC;
		addr.avail = USER_0 + BIG_AVAIL;
		addr.used = USER_0 + BIG_USED;
	}
	request_state(VUS_SET_VRING_NUM, i, 1U << order);
	request_state(
	    VUS_SET_VRING_BASE, i, (size & 0x80) ? fuzz_u16(&run.in) : 0);
	request(VUS_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	request_fd(VUS_SET_VRING_CALL, i, run.call[i]);
	if (how & 0x40)
		request_fd(VUS_SET_VRING_ERR, i, fuzz_kind(KIND_EVENT));
	if (how & 0x80)
		request_u64(VUS_SET_VRING_KICK, i | VUS_VRING_NO_FD);
	else
		request_fd(VUS_SET_VRING_KICK, i, run.kick[i]);
	if (!(how & 0x20))
		request_state(VUS_SET_VRING_ENABLE, i, 1);
}

static void
op_answer(void)
{
	static const struct vus_wire_header head = {
		.request = VUS_BACKEND_SHMEM_MAP,
		.flags = VUS_VERSION | VUS_FLAG_REPLY,
		.size = sizeof(uint64_t),
	};
	unsigned char message[sizeof(head) + sizeof(uint64_t)];
	uint8_t how = fuzz_u8(&run.in);
	uint64_t value = how & 1;

	memcpy(message, &head, sizeof(head));
	memcpy(message + sizeof(head), &value, sizeof(value));
	/* All that are due, or one more. */
	for (unsigned n = (how & 2) ? model_answers_due() : 1;
	     n != 0 && run.channel >= 0; n--) {
		if (fuzz_send(run.channel, message, sizeof(message), NULL, 0) <
		    0)
			break;
		model_answered();
	}
}

/* --- the driver ---------------------------------------------------------- */

static unsigned char *
ring_at(unsigned ring, unsigned part)
{
	return run.ram + (size_t)(ring % VUS_RINGS_MAX) * RING_STRIDE + part;
}

static void
put16(unsigned char *at, unsigned value)
{
	uint16_t le = htole16((uint16_t)value);

	memcpy(at, &le, sizeof(le));
}

static unsigned
get16(const unsigned char *at)
{
	uint16_t le;

	memcpy(&le, at, sizeof(le));
	return le16toh(le);
}

static void
op_write(void)
{
	uint32_t at = fuzz_u16(&run.in) * 16U;
	size_t len = fuzz_u8(&run.in);

	if (at + len <= KIND_RAM_0_SIZE)
		fuzz_bytes(&run.in, run.ram + at, len);
}

/* Where a descriptor points. */
static uint64_t
any_address(unsigned ring, uint8_t how)
{
	uint64_t base = GUEST + (uint64_t)ring % VUS_RINGS_MAX * RING_STRIDE;

	switch (how % 8) {
	case 0:
		return base + RING_DATA + how;
	case 1: /* over the border of two regions */
		return GUEST + KIND_RAM_0_SIZE - how;
	case 2:
		return fuzz_u64(&run.in);
	case 3: /* the ring itself */
		return base + RING_AVAIL;
	case 4:
		return base + RING_USED;
	case 5:
		return base;
	case 6: /* the end of the guest */
		return GUEST + KIND_RAM_0_SIZE + KIND_RAM_1_SIZE - how;
	default:
		return base + UINT64_C(16) * how; /* an indirect table */
	}
}

static void
op_desc(void)
{
	unsigned ring = fuzz_u8(&run.in), i = fuzz_u8(&run.in);
	uint64_t addr = htole64(any_address(ring, fuzz_u8(&run.in)));
	uint8_t len = fuzz_u8(&run.in), flags = fuzz_u8(&run.in);
	uint32_t wide = htole32(len < 0xf0 ? len : fuzz_u32(&run.in));
	unsigned char *at = ring_at(ring, i * 16U);
	const struct vus_virtq *vq = &run.s.ring[ring % VUS_RINGS_MAX].vq;
	unsigned bits, next = fuzz_u8(&run.in);

	bits = flags & 7U;
	if (flags & 8) /* available: bit 7, used: bit 15 */
		bits |= 0x80;
	if (flags & 0x10)
		bits |= 0x8000;
	if (flags & 0x20) /* as it has to be next */
		bits ^= vq->next_wrap ? 0x80 : 0x8000;
	memcpy(at, &addr, sizeof(addr));
	memcpy(at + 8, &wide, sizeof(wide));
	put16(at + 12, vq->packed ? next : bits);
	put16(at + 14, vq->packed ? bits : next);
}

static void
op_offer(void)
{
	unsigned ring = fuzz_u8(&run.in), head = fuzz_u8(&run.in);
	unsigned n = fuzz_u8(&run.in);
	unsigned num = run.s.ring[ring % VUS_RINGS_MAX].vq.num;
	unsigned char *avail = ring_at(ring, RING_AVAIL);
	unsigned idx = get16(avail + 2);

	if (num != 0 && num <= RING_SMALL)
		put16(avail + 4 + (size_t)(idx & (num - 1)) * 2, head);
	put16(avail + 2, idx + n);
}

static void
op_kick(void)
{
	uint64_t one = 1;
	unsigned ring = fuzz_u8(&run.in) % VUS_RINGS_MAX;

	(void)!write(run.kick[ring], &one, sizeof(one));
}

static void
op_full_call(void)
{
	uint64_t full = UINT64_MAX - 1;
	unsigned ring = fuzz_u8(&run.in) % VUS_RINGS_MAX;

	(void)!write(run.call[ring], &full, sizeof(full));
}

/* --- the program --------------------------------------------------------- */

static void
op_spurious(void)
{
	switch (fuzz_u8(&run.in) % 4) {
	case 0:
		if (!vus_session_wants_write(&run.s))
			CALL(true, vus_session_readable(&run.s));
		break;
	case 1:
		if (model_watched(VUS_WATCH_BACKEND, 0) >= 0)
			CALL(false, vus_session_backend_ready(&run.s));
		break;
	case 2:
		CALL(false, vus_session_work(&run.s));
		break;
	default:
		(void)vus_session_mid_message(&run.s);
		break;
	}
}

static void
step(void)
{
	uint8_t op = fuzz_u8(&run.in);
	size_t some;

	switch ((enum op)((op & 0x3f) % OPS)) {
	case OP_MESSAGE:
		op_message(false);
		break;
	case OP_PIECES:
		op_message(true);
		break;
	case OP_BYTES:
		op_bytes(run.front);
		break;
	case OP_NEGOTIATE:
		op_negotiate();
		break;
	case OP_MEMORY:
		op_memory();
		break;
	case OP_SLOT:
		op_slot();
		break;
	case OP_CHANNEL:
		op_channel();
		break;
	case OP_RING:
		op_ring();
		break;
	case OP_ENABLE:
		op = fuzz_u8(&run.in);
		request_state(VUS_SET_VRING_ENABLE, op & 7U, op >> 7);
		break;
	case OP_STOP:
		request_state(VUS_GET_VRING_BASE, fuzz_u8(&run.in), 0);
		break;
	case OP_RESET:
		request(fuzz_u8(&run.in) % 2 == 0 ? VUS_RESET_DEVICE
						  : VUS_SET_OWNER,
		    NULL, 0, NULL, 0);
		break;
	case OP_ANSWER:
		op_answer();
		break;
	case OP_CHANNEL_BYTES:
		op_bytes(run.channel);
		break;
	case OP_CHANNEL_END:
		forget_channel();
		break;
	case OP_WRITE:
		op_write();
		return;
	case OP_DESC:
		op_desc();
		return;
	case OP_OFFER:
		op_offer();
		return;
	case OP_KICK:
		op_kick();
		break;
	case OP_READ:
		some = fuzz_u8(&run.in);
		fuzz_drain(run.front, some * 32);
		some = fuzz_u8(&run.in);
		if (run.channel >= 0)
			fuzz_drain(run.channel, some * 32);
		break;
	case OP_SPURIOUS:
		op_spurious();
		break;
	case OP_HANG_UP:
		(void)shutdown(run.front, (op & 0x80) ? SHUT_WR : SHUT_RDWR);
		break;
	case OP_FULL_CALL:
		op_full_call();
		break;
	case OP_PUMP:
	case OPS:
		break;
	}
	/* Bit 6: what follows arrives together with this. */
	if (!(op & 0x40))
		pump();
}

/* --- a run --------------------------------------------------------------- */

static void
set_up_once(void)
{
	if (run.ram != NULL)
		return;
	fuzz_kinds_reset();
	run.ram = fuzz_map(fuzz_kind(KIND_RAM_0), KIND_RAM_0_SIZE);
	for (unsigned i = 0; i < VUS_RINGS_MAX; i++) {
		run.kick[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		run.call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (run.kick[i] < 0 || run.call[i] < 0)
			fuzz_fail("the harness: eventfd");
	}
}

static void
add_region(unsigned shmid)
{
	struct vus_region *region = &run.device.shm[shmid];
	struct stat st;

	region->size = KIND_REGION_SIZE;
	region->fd = fuzz_kind(KIND_REGION);
	if (fstat(region->fd, &st) < 0)
		fuzz_fail("the harness: fstat");
	region->dev = st.st_dev;
	region->ino = st.st_ino;
	region->writable = shmid % 2 == 0;
}

static void
make_device(uint8_t how)
{
	static const unsigned bits[] = { VUS_F_SHMEM, 21, 20, VUS_F_SHMEM };
	struct vus_dialect dialect = {
		.protocol_features =
		    VUS_BIT(VUS_F_MQ) | VUS_BIT(VUS_F_REPLY_ACK) |
		    VUS_BIT(VUS_F_BACKEND_REQ) | VUS_BIT(VUS_F_CONFIG) |
		    VUS_BIT(VUS_F_BACKEND_SEND_FD) |
		    VUS_BIT(VUS_F_RESET_DEVICE) |
		    VUS_BIT(VUS_F_CONFIGURE_MEM_SLOTS) | VUS_BIT(VUS_F_STATUS) |
		    VUS_BIT(VUS_F_SHMEM),
		.shmem_bit = bits[how % 4],
		.short_shmem_config = how % 4 == 2,
	};
	struct vus_host host = {
		.ctx = &run,
		.verbosity = (how & 0x80) ? VUS_LOG_WARN : VUS_LOG_DEBUG,
		.log = host_log,
		.watch = host_watch,
	};

	memset(&run.device, 0, sizeof(run.device));
	run.type = (struct vus_device_type){
		.name = "fuzz",
		.features = 5,
		.expected = 1,
		.unaccepted = "bit 0 was not accepted",
		.num_queues = 1U + (how >> 2) % 8,
		.serve = serve,
	};
	run.device.type = &run.type;
	switch ((how >> 5) & 3) {
	case 0:
		add_region(0);
		break;
	case 1:
		add_region(0);
		add_region(1);
		add_region(255);
		break;
	case 2:
		break;
	default:
		for (unsigned i = 0; i < VUS_SHMEM_MAX; i++)
			add_region(i);
		break;
	}
	vus_session_init(&run.s, &run.device, &dialect, &host);
}

static void
set_up(void)
{
	uint64_t count;
	uint8_t how = fuzz_u8(&run.in), sockets = fuzz_u8(&run.in);
	int pair[2], one = 1;

	fuzz_kinds_reset();
	for (unsigned i = 0; i < VUS_RINGS_MAX; i++) {
		(void)!read(run.kick[i], &count, sizeof(count));
		(void)!read(run.call[i], &count, sizeof(count));
	}
	make_device(how);
	fuzz_pair(SOCK_STREAM, pair);
	run.reads_front = !(sockets & 1);
	run.reads_channel = !(sockets & 2);
	run.small_buffers = (sockets & 4) != 0;
	if (run.small_buffers)
		(void)setsockopt(
		    pair[0], SOL_SOCKET, SO_SNDBUF, &one, sizeof(one));
	run.front = pair[1];
	run.channel = -1;
	run.watches = 0;
	run.next = VUS_NEXT_WAIT;
	run.lives = true;
	fuzz_kind_peer = run.front;
	model_start(&run.s);
	fuzz_give(pair[0]);
	vus_session_connect(&run.s, pair[0]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	set_up_once();
	fuzz_count_before();
	run.in = (struct fuzz_input){ data, size };
	set_up();
	for (unsigned i = 0; i < OPS_MAX && run.lives && run.in.left != 0; i++)
		step();
	pump();
	model_closing();
	vus_session_close(&run.s);
	model_closed();
	forget_channel();
	(void)close(run.front);
	fuzz_kind_peer = -1;
	fuzz_kinds_reset();
	fuzz_count_after();
	return 0;
}
