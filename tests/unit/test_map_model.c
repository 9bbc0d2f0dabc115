/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Invariant number one (map.h) against a small model, by chance and in bulk:
 * a front-end that negotiates, starts, stops, resets, changes its memory
 * table, replaces or closes the back-end channel, leaves it full, answers
 * well, badly or not at all, and breaks the protocol, in any order. After
 * each step the model says which SHMEM_MAP must be on the channel, and no
 * other may be. Regions appear in the table in two places: there may be
 * another device in the same VM that has mapped the same file.
 *
 * SEED=n in the environment repeats a run, STEPS=n makes it longer or
 * shorter; a failure prints the seed and the last steps.
 */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "proto/fd.h"
#include "proto/map.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define STEPS 20000UL
#define ASK (VUS_VERSION | VUS_FLAG_NEED_REPLY)

/* The regions of the device, and what a memory table may hold: its entry i
 * is of region i % REGIONS, the last one of memory that is none of ours. */
static const unsigned shmids[] = { 0, 3, 255 };
#define REGIONS 3U
#define ENTRIES (2 * REGIONS + 1U)
#define RAM (ENTRIES - 1U)

/* --- the model ----------------------------------------------------------- */

static struct {
	uint64_t protocol;
	bool bit30;
	bool kicked[FAKE_RINGS], enabled[FAKE_RINGS];
	bool channel;	     /* there is one */
	bool full;	     /* and it takes nothing more */
	bool entry[ENTRIES]; /* the memory table */
	unsigned next;	     /* the region whose turn it is, or REGIONS */
	bool must[REGIONS];  /* is on the channel, and not looked at yet */
	unsigned unanswered; /* maps that asked for an answer, oldest first */
	unsigned char asked[VUS_PENDING_MAX]; /* region, or STALE */
	/* Where the mapping of a region has appeared: entry, or ENTRIES. One
	 * that was made and has not appeared yet is awaited. */
	bool awaited[REGIONS];
	unsigned where[REGIONS];
} m;

#define STALE REGIONS /* asked before the device has stopped */

static bool
has(unsigned feature)
{
	return (m.protocol & VUS_BIT(feature)) != 0;
}

static bool
ring_runs(unsigned i)
{
	return m.kicked[i] && m.enabled[i];
}

static bool
allowed(void)
{
	return ring_runs(0) && has(VUS_F_SHMEM) && m.channel;
}

/* Regions take their turns in the order of their numbers. One whose mapping
 * is in the memory table at its turn is passed over; one for which there is
 * no room waits, and those behind it, too. */
static void
take_turns(void)
{
	for (; m.next < REGIONS; m.next++) {
		unsigned where = m.where[m.next];

		if (where < ENTRIES && m.entry[where])
			continue;
		if (m.full)
			return;
		m.must[m.next] = true;
	}
}

/* The device has started, or a channel has come. */
static void
begin_turns(void)
{
	m.next = REGIONS;
	if (!allowed())
		return;
	m.next = 0;
	take_turns();
}

/* What follows from a step that may have started or stopped the device. */
static void
device_changed(bool was_started)
{
	bool started = ring_runs(0);

	if (started && !was_started)
		begin_turns();
	else if (!started) {
		m.next = REGIONS;
		memset(m.asked, STALE, sizeof(m.asked));
	}
}

/* No mapping is known or awaited. */
static void
forget_mappings(void)
{
	memset(m.awaited, 0, sizeof(m.awaited));
	for (unsigned i = 0; i < REGIONS; i++)
		m.where[i] = ENTRIES;
}

/* The memory table holds now what entry says. A mapping that is awaited has
 * appeared where one entry is new; of two it is not known which. */
static void
table_becomes(const bool *entry)
{
	for (unsigned i = 0; i < REGIONS; i++) {
		bool one = entry[i] && !m.entry[i];
		bool other = entry[i + REGIONS] && !m.entry[i + REGIONS];

		if (!m.awaited[i] || (!one && !other))
			continue;
		m.awaited[i] = false;
		m.where[i] = one && other ? ENTRIES : one ? i : i + REGIONS;
	}
	memcpy(m.entry, entry, sizeof(m.entry));
}

/* --- chance -------------------------------------------------------------- */

static uint64_t chance;

static unsigned
pick(unsigned n)
{
	chance ^= chance >> 12;
	chance ^= chance << 25;
	chance ^= chance >> 27;
	return (unsigned)((chance * UINT64_C(2685821657736338717)) >> 33) % n;
}

static uint64_t
number_from(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

/* --- what happened ------------------------------------------------------- */

#define HISTORY 24U

static uint64_t seed;
static unsigned long step;
static char history[HISTORY][96];
static unsigned nhistory;
static bool running;
static unsigned long nmaps, nstarts, nconnections, nsurvived;

static void __attribute__((format(printf, 1, 2))) note(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(
	    history[nhistory++ % HISTORY], sizeof(history[0]), format, ap);
	va_end(ap);
}

/* --- the fixture --------------------------------------------------------- */

static struct fake *fake;
static int spare; /* another end of the session's end of the channel */
static int entry_fd[ENTRIES];
static unsigned fds_idle;

static void
close_channel(void)
{
	fd_closep(&spare);
	fd_closep(&fake->channel);
	m.channel = false;
	m.full = false;
	m.unanswered = 0;
	m.next = REGIONS;
	memset(m.must, 0, sizeof(m.must));
}

static void
connect_anew(void)
{
	uint64_t virtio = vus_session_features(&fake->s);

	assert_int_equal(count_fds(), fds_idle);
	nconnections++;
	memset(&m, 0, sizeof(m));
	m.next = REGIONS;
	forget_mappings();
	fake_connect(fake);
	/* Most connections are of a front-end that can do all. */
	m.protocol = all_protocol_features();
	if (pick(4) == 0)
		m.protocol &= ~VUS_BIT(VUS_F_SHMEM);
	if (pick(4) == 0)
		m.protocol &= ~VUS_BIT(VUS_F_REPLY_ACK);
	assert_int_equal(
	    fake_request(fake, VUS_SET_PROTOCOL_FEATURES, VUS_VERSION,
		&m.protocol, sizeof(m.protocol), NULL, 0),
	    VUS_NEXT_WAIT);
	m.bit30 = pick(5) != 0;
	if (!m.bit30)
		virtio &= ~VUS_BIT(VUS_VIRTIO_F_PROTOCOL_FEATURES);
	assert_int_equal(fake_request(fake, VUS_SET_FEATURES, VUS_VERSION,
			     &virtio, sizeof(virtio), NULL, 0),
	    VUS_NEXT_WAIT);
	expect_silence(fake);
	note("connect: protocol 0x%" PRIx64 ", bit 30 %d", m.protocol, m.bit30);
}

/* The session is closed: nothing may have been sent by that. */
static void
disconnect(void)
{
	char byte;

	vus_session_close(&fake->s);
	fd_closep(&spare);
	if (m.channel && !m.full)
		assert_true(peer_sees_end(fake->channel));
	/* Behind what filled it nothing but the end may be: a map would be
	 * found by its descriptor's absence from the junk's zeros. */
	while (m.full && read(fake->channel, &byte, 1) == 1)
		assert_int_equal(byte, 0);
	close_channel();
	fake_disconnect(fake);
}

/* --- what must be on the channel ----------------------------------------- */

static void
check_channel(void)
{
	bool need_reply;
	unsigned shmid;

	assert_int_equal(vus_map_allowed(&fake->s), allowed());
	assert_int_equal(fake->watched_backend >= 0, m.channel);
	assert_int_equal(
	    vus_session_backend_wants_write(&fake->s), m.next < REGIONS);
	if (!m.channel || m.full)
		return;
	for (unsigned i = 0; i < REGIONS; i++) {
		if (!m.must[i])
			continue;
		m.must[i] = false;
		assert_true(fake_take_map(fake, &shmid, &need_reply));
		assert_int_equal(shmid, shmids[i]);
		assert_int_equal(need_reply,
		    has(VUS_F_REPLY_ACK) && m.unanswered < VUS_PENDING_MAX);
		if (need_reply)
			m.asked[m.unanswered++] = (unsigned char)i;
		nmaps++;
	}
	assert_false(fake_take_map(fake, &shmid, &need_reply));
}

enum expectation { GOOD, REFUSED, ANSWERED, BREAKS };

/* Send a request; what the session makes of it is what the model says. */
static void
request(uint32_t id, const void *payload, size_t len, int fd,
    enum expectation expectation, bool *alive)
{
	enum vus_next next =
	    fake_request(fake, id, ASK, payload, len, &fd, fd >= 0);
	struct peer_msg msg;

	if (expectation == REFUSED && !has(VUS_F_REPLY_ACK))
		expectation = BREAKS;
	*alive = expectation != BREAKS;
	if (!*alive) {
		assert_int_equal(next, VUS_NEXT_BROKEN);
		expect_silence(fake);
		return;
	}
	assert_true(lives(next));
	if (expectation == ANSWERED) {
		assert_true(peer_recv(fake->front, &msg));
		assert_int_equal(msg.head.request, id);
		expect_silence(fake);
	} else if (has(VUS_F_REPLY_ACK)) {
		expect_ack(fake, id, expectation == GOOD);
	} else {
		expect_silence(fake);
	}
}

/* --- the steps ----------------------------------------------------------- */

/* Each returns whether the connection lives on. */

/* The host calls because of the channel. */
static void
backend_ready(void)
{
	assert_true(lives(vus_session_backend_ready(&fake->s)));
	take_turns();
}

static bool
step_protocol(void)
{
	static const unsigned often[] = { VUS_F_SHMEM, VUS_F_REPLY_ACK,
		VUS_F_BACKEND_REQ, VUS_F_CONFIGURE_MEM_SLOTS, VUS_F_STATUS };
	uint64_t features = all_protocol_features();
	bool alive, good;

	if (pick(2) == 0)
		features &= ~VUS_BIT(often[pick(ARRAY_LEN(often))]);
	if (pick(20) == 0)
		features |= VUS_BIT(21); /* never offered */
	good = !(features & VUS_BIT(21)) &&
	       (!ring_runs(0) || features == m.protocol);
	note("SET_PROTOCOL_FEATURES 0x%" PRIx64, features);
	if (good)
		m.protocol = features;
	request(VUS_SET_PROTOCOL_FEATURES, &features, sizeof(features), -1,
	    good ? GOOD : REFUSED, &alive);
	return alive;
}

static bool
step_features(void)
{
	bool bit30 = pick(3) != 0, runs = false, alive;
	uint64_t features = vus_session_features(&fake->s);

	if (!bit30)
		features &= ~VUS_BIT(VUS_VIRTIO_F_PROTOCOL_FEATURES);
	for (unsigned i = 0; i < FAKE_RINGS; i++)
		runs = runs || ring_runs(i);
	note("SET_FEATURES, bit 30 %d", bit30);
	request(VUS_SET_FEATURES, &features, sizeof(features), -1,
	    runs && bit30 != m.bit30 ? REFUSED : GOOD, &alive);
	if (alive && !runs)
		m.bit30 = bit30;
	return alive;
}

static bool
step_channel(void)
{
	bool good = has(VUS_F_BACKEND_REQ), alive;
	int pair[2];

	make_pair(pair);
	shrink_sndbuf(pair[0]);
	note("SET_BACKEND_REQ_FD");
	request(VUS_SET_BACKEND_REQ_FD, NULL, 0, pair[0], good ? GOOD : REFUSED,
	    &alive);
	if (!alive || !good) {
		fd_closep(&pair[0]);
		fd_closep(&pair[1]);
		return alive;
	}
	/* What may lie unread in the one before is not this model's. */
	fake->s.state.left = 0;
	close_channel();
	m.channel = true;
	spare = pair[0];
	fake->channel = pair[1];
	begin_turns();
	return true;
}

static bool
step_kick(void)
{
	uint64_t ring = pick(4) == 0, payload = ring;
	/* Without a descriptor it is polled, and runs all the same. */
	bool none = pick(20) == 0, was = ring_runs(0), alive;
	int fd = none ? -1 : make_eventfd();

	if (none)
		payload |= VUS_VRING_NO_FD;
	note("SET_VRING_KICK 0x%" PRIx64, payload);
	request(
	    VUS_SET_VRING_KICK, &payload, sizeof(payload), fd, GOOD, &alive);
	fd_closep(&fd);
	m.kicked[ring] = true;
	if (!m.bit30)
		m.enabled[ring] = true;
	device_changed(was);
	return alive;
}

static bool
step_enable(void)
{
	struct vus_wire_vring_state state = { .index = pick(5) == 0,
		.num = pick(3) != 0 };
	bool was = ring_runs(0), alive;

	if (pick(50) == 0)
		state.num = 2 + pick(1000);
	note("SET_VRING_ENABLE %" PRIu32 " %" PRIu32, state.index, state.num);
	request(VUS_SET_VRING_ENABLE, &state, sizeof(state), -1,
	    m.bit30 && state.num <= 1 ? GOOD : REFUSED, &alive);
	if (!alive || !m.bit30 || state.num > 1)
		return alive;
	m.enabled[state.index] = state.num == 1;
	device_changed(was);
	return true;
}

static bool
step_base(void)
{
	struct vus_wire_vring_state state = { .index = pick(4) == 0 };
	bool was = ring_runs(0), alive;

	note("GET_VRING_BASE %" PRIu32, state.index);
	request(
	    VUS_GET_VRING_BASE, &state, sizeof(state), -1, ANSWERED, &alive);
	m.kicked[state.index] = false;
	device_changed(was);
	return alive;
}

static void
model_reset(bool owner)
{
	bool was = ring_runs(0);

	memset(m.kicked, 0, sizeof(m.kicked));
	memset(m.enabled, 0, sizeof(m.enabled));
	if (owner) {
		memset(m.entry, 0, sizeof(m.entry));
		forget_mappings();
	}
	device_changed(was);
}

static bool
step_reset(void)
{
	uint64_t status = pick(2) == 0 ? 0 : pick(256);
	bool was = ring_runs(0), alive;

	switch (pick(4)) {
	case 0:
		note("RESET_DEVICE");
		request(VUS_RESET_DEVICE, NULL, 0, -1,
		    has(VUS_F_RESET_DEVICE) ? GOOD : REFUSED, &alive);
		if (alive && has(VUS_F_RESET_DEVICE))
			model_reset(false);
		return alive;
	case 1:
		note("SET_OWNER");
		request(VUS_SET_OWNER, NULL, 0, -1, GOOD, &alive);
		model_reset(true);
		return alive;
	case 2:
		note("SET_STATUS %" PRIu64, status);
		request(VUS_SET_STATUS, &status, sizeof(status), -1,
		    has(VUS_F_STATUS) ? GOOD : REFUSED, &alive);
		if (alive && has(VUS_F_STATUS) && status == 0)
			model_reset(false);
		return alive;
	default:
		note("RESET_OWNER");
		request(VUS_RESET_OWNER, NULL, 0, -1, GOOD, &alive);
		memset(m.enabled, 0, sizeof(m.enabled));
		device_changed(was);
		return alive;
	}
}

static struct vus_wire_mem_region
table_entry(unsigned i)
{
	return (struct vus_wire_mem_region){
		.guest_addr = (i + 1) * UINT64_C(0x10000000),
		.user_addr = (i + 1) * UINT64_C(0x100000000),
		.size = 0x10000,
	};
}

static bool
step_table(void)
{
	unsigned char payload[8 + ENTRIES * 32];
	struct vus_wire_mem_table head = { 0 };
	bool entry[ENTRIES], bad = pick(10) == 0;
	unsigned changed = pick(2 * ENTRIES);
	int fds[ENTRIES], broken[2];
	enum vus_next next;

	/* A pipe in the place of the last one: refused as a whole. */
	assert_int_equal(pipe2(broken, O_CLOEXEC), 0);
	for (unsigned i = 0; i < ENTRIES; i++) {
		struct vus_wire_mem_region r = table_entry(i);

		/* Half of the tables differ by one region from the last. */
		if (changed < ENTRIES)
			entry[i] = m.entry[i] != (i == changed);
		else
			entry[i] = pick(2) == 0;
		entry[i] = entry[i] || i == RAM;
		if (!entry[i])
			continue;
		memcpy(payload + 8 + head.nregions * 32, &r, sizeof(r));
		fds[head.nregions++] =
		    bad && i == RAM ? broken[0] : entry_fd[i];
	}
	memcpy(payload, &head, sizeof(head));
	note("SET_MEM_TABLE %d%d%d %d%d%d%s", entry[0], entry[1], entry[2],
	    entry[3], entry[4], entry[5], bad ? ", refused" : "");
	next = fake_request(fake, VUS_SET_MEM_TABLE, ASK, payload,
	    8 + head.nregions * 32, fds, head.nregions);
	fd_closep(&broken[0]);
	fd_closep(&broken[1]);
	if (bad && !has(VUS_F_REPLY_ACK)) {
		assert_int_equal(next, VUS_NEXT_BROKEN);
		return false;
	}
	assert_int_not_equal(next, VUS_NEXT_BROKEN);
	if (has(VUS_F_REPLY_ACK))
		expect_ack(fake, VUS_SET_MEM_TABLE, !bad);
	if (!bad)
		table_becomes(entry);
	return true;
}

static bool
step_slot(void)
{
	unsigned i = pick(ENTRIES);
	bool add = pick(2) == 0, alive;
	bool good = has(VUS_F_CONFIGURE_MEM_SLOTS) && m.entry[i] != add;
	struct vus_wire_single_region single = { .region = table_entry(i) };

	note("%s_MEM_REG %u", add ? "ADD" : "REM", i);
	request(add ? VUS_ADD_MEM_REG : VUS_REM_MEM_REG, &single,
	    sizeof(single), add ? entry_fd[i] : -1, good ? GOOD : REFUSED,
	    &alive);
	if (alive && good) {
		bool entry[ENTRIES];

		memcpy(entry, m.entry, sizeof(entry));
		entry[i] = add;
		table_becomes(entry);
	}
	return alive;
}

/* The session has looked at the channel and has let go of it. */
static void
expect_channel_lost(void)
{
	assert_int_equal(fake->watched_backend, -1);
	close_channel();
}

static bool
step_answer(void)
{
	static const uint64_t values[] = { 0, 0, 0, 1, UINT64_MAX,
		(uint64_t)-ENOSYS };
	uint64_t value = values[pick(ARRAY_LEN(values))];
	bool asked = m.unanswered != 0;

	if (!m.channel || (!asked && pick(4) != 0))
		return true;
	note("answer 0x%" PRIx64 "%s", value, asked ? "" : ", unasked");
	peer_send(fake->channel, VUS_BACKEND_SHMEM_MAP,
	    VUS_VERSION | VUS_FLAG_REPLY, &value, sizeof(value), NULL, 0);
	if (asked) {
		if (m.asked[0] != STALE && value == 0)
			m.awaited[m.asked[0]] = true;
		m.unanswered--;
		memmove(m.asked, m.asked + 1, sizeof(m.asked) - 1);
	}
	backend_ready();
	if (!asked)
		expect_channel_lost();
	return true;
}

static bool
step_garbage(void)
{
	unsigned char bytes[64];
	size_t len = 12 + pick(sizeof(bytes) - 12 + 1);

	if (!m.channel || pick(4) != 0)
		return true;
	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)pick(256);
	bytes[3] |= 1;		 /* not the id of SHMEM_MAP */
	memset(bytes + 8, 0, 4); /* a message of a header alone */
	note("garbage on the channel");
	peer_write(fake->channel, bytes, len, entry_fd, pick(2));
	backend_ready();
	expect_channel_lost();
	return true;
}

static bool
step_channel_closed(void)
{
	if (!m.channel || pick(3) != 0)
		return true;
	note("channel closed");
	fd_closep(&fake->channel);
	/* It may have been full: there was something to read, and an error
	 * comes before the end. */
	backend_ready();
	expect_channel_lost();
	return true;
}

static bool
step_fill(void)
{
	static const char zeros[512];

	if (!m.channel || m.full || pick(2) != 0)
		return true;
	note("channel full");
	while (write(spare, zeros, sizeof(zeros)) > 0)
		continue;
	while (write(spare, zeros, 1) > 0)
		continue;
	m.full = true;
	return true;
}

static bool
step_make_room(void)
{
	char junk[4096];
	ssize_t n;

	if (!m.full)
		return true;
	note("channel read");
	while ((n = read(fake->channel, junk, sizeof(junk))) > 0)
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(junk[i], 0); /* no map in there */
	m.full = false;
	backend_ready();
	return true;
}

/* The host's calls at times when nothing is to be done. */
static bool
step_idle(void)
{
	uint64_t one = 1;

	switch (pick(4)) {
	case 0:
		note("idle: backend_ready");
		backend_ready();
		break;
	case 1:
		note("idle: readable, writable");
		assert_true(lives(vus_session_readable(&fake->s)));
		assert_true(lives(vus_session_writable(&fake->s)));
		break;
	case 2:
		note("idle: work");
		assert_true(lives(vus_session_work(&fake->s)));
		break;
	default:
		if (fake->watched_kick[0] < 0)
			break;
		note("idle: kick");
		assert_int_equal(
		    write(fake->watched_kick[0], &one, sizeof(one)),
		    sizeof(one));
		assert_true(lives(vus_session_kicked(&fake->s, 0)));
		break;
	}
	return true;
}

static bool
step_other_request(void)
{
	static const uint32_t ids[] = { VUS_GET_FEATURES,
		VUS_GET_PROTOCOL_FEATURES };
	bool alive;

	note("GET_...FEATURES");
	request(ids[pick(ARRAY_LEN(ids))], NULL, 0, -1, ANSWERED, &alive);
	return alive;
}

static bool
step_bad_request(void)
{
	bool alive;

	if (pick(8) != 0)
		return true;
	note("a broken request");
	request(pick(2) == 0 ? 45 + pick(1000) : VUS_SET_OWNER, "x", 1, -1,
	    BREAKS, &alive);
	return alive;
}

static bool
step_hang_up(void)
{
	if (pick(8) != 0)
		return true;
	note("front-end hangs up");
	fd_closep(&fake->front);
	assert_int_equal(vus_session_readable(&fake->s), VUS_NEXT_CLOSED);
	return false;
}

static bool (*const steps[])(void) = { step_protocol, step_features,
	step_channel, step_channel, step_kick, step_kick, step_kick,
	step_enable, step_enable, step_enable, step_enable, step_base,
	step_reset, step_table, step_table, step_slot, step_slot, step_answer,
	step_answer, step_answer, step_garbage, step_channel_closed, step_fill,
	step_make_room, step_idle, step_other_request, step_bad_request,
	step_hang_up };

static void
a_map_goes_out_when_and_only_when_the_invariant_says(void **state)
{
	unsigned long last = number_from("STEPS", STEPS);

	(void)state;
	connect_anew();
	for (step = 0; step < last; step++) {
		bool was = ring_runs(0);

		if (!steps[pick(ARRAY_LEN(steps))]()) {
			disconnect();
			connect_anew();
			was = false;
		}
		nstarts += ring_runs(0) && !was;
		nsurvived += ring_runs(0) && !was && allowed() &&
			     m.where[0] < ENTRIES && m.entry[m.where[0]];
		check_channel();
	}
	disconnect();
	print_message("# %lu steps, %lu connections, %lu starts, %lu maps, "
		      "%lu survived\n",
	    step, nconnections, nstarts, nmaps, nsurvived);
	/* A run in which nothing happens proves nothing. */
	if (last >= STEPS) {
		assert_true(nstarts > last / 100);
		assert_true(nmaps > last / 100);
		assert_true(nsurvived > 0);
	}
	running = false;
}

/* --- the whole ----------------------------------------------------------- */

static int
setup(void **state)
{
	uint64_t fresh;

	(void)fds_before(state);
	if (getrandom(&fresh, sizeof(fresh), 0) != sizeof(fresh))
		return -1;
	seed = number_from("SEED", fresh & 0xffffffff);
	chance = seed * 2 + 1;
	for (unsigned i = 0; i < 8; i++)
		(void)pick(2);
	print_message("# SEED=%" PRIu64 "\n", seed);
	spare = -1;
	fake = fake_new();
	for (unsigned i = 0; i < REGIONS; i++) {
		fake_add_region(fake, shmids[i], i != 1);
		entry_fd[i] = fake->device.shm[shmids[i]].fd;
		entry_fd[i + REGIONS] = entry_fd[i];
	}
	entry_fd[RAM] = make_memfd(0x10000);
	vus_session_init(&fake->s, &fake->device, &fake->dialect, &fake->host);
	fds_idle = count_fds();
	running = true;
	return 0;
}

static int
teardown(void **state)
{
	if (running) {
		print_error(
		    "# SEED=%" PRIu64 ", step %lu, after:\n", seed, step);
		for (unsigned i = 0; i < HISTORY; i++)
			print_error(
			    "#   %s\n", history[(nhistory + i) % HISTORY]);
	}
	fd_closep(&spare);
	fd_closep(&entry_fd[RAM]);
	vus_session_close(&fake->s);
	fake_free(fake);
	return fds_after(state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    a_map_goes_out_when_and_only_when_the_invariant_says, setup,
		    teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("map_model", tests, NULL, NULL);
}
