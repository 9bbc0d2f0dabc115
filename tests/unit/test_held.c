/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * held.h: requests that wait for a sync. Who is answered by which sync, in
 * which order, and what becomes of those that wait when a ring stops, memory
 * moves, the device is reset, the front-end leaves or we die. Each test is run
 * with a split and with a packed ring.
 */
#include "config.h"

#include "tests/unit/fake_ring.h"

#include "proto/fd.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ASK (VUS_VERSION | VUS_FLAG_NEED_REPLY)
#define NUM 256U /* entries: two for each request */
/* Request id reads at this offset and is answered 8 bytes further on. */
#define DATA(id) (UINT64_C(0xc0000) + (uint64_t)(id)*16)
#define NO_ANSWER 0xeeeeeeeeU

static struct fake *fake;
static struct fake_guest guest;
static struct fake_driver split;
static struct fake_packed packed;
static bool is_packed;
static int kick, call;
static uint64_t clock_ns;

static uint64_t
on_now(void *ctx)
{
	(void)ctx;
	return clock_ns;
}

/* Up to the features, on a new connection. */
static void
connect_front_end(void)
{
	fake_connect(fake);
	fake_negotiate(fake, 0);
	if (is_packed)
		fake_ok_u64(
		    fake, VUS_SET_FEATURES, vus_session_features(&fake->s));
	fake_set_table(fake, &guest);
}

static int
setup(void **state)
{
	(void)fds_before(state);
	guest_init(&guest);
	fake = fake_new();
	fake->device.sync = true;
	fake->host.now = on_now;
	connect_front_end();
	kick = -1;
	call = make_eventfd();
	return 0;
}

static int
setup_split(void **state)
{
	is_packed = false;
	return setup(state);
}

static int
setup_packed(void **state)
{
	is_packed = true;
	return setup(state);
}

static int
teardown(void **state)
{
	fake_free(fake);
	guest_free(&guest);
	fd_closep(&kick);
	fd_closep(&call);
	return fds_after(state);
}

/* --- shorthands ---------------------------------------------------------- */

#define FIRST_BASE (is_packed ? 0x80008000U : 0)

/* The ring runs from base on, as the driver has it. */
static void
run_at(uint32_t base)
{
	fake_ok_state(fake, VUS_SET_VRING_NUM, 0, NUM);
	fake_ok_state(fake, VUS_SET_VRING_BASE, 0, base);
	if (is_packed)
		fake_set_packed(fake, &packed, 0, 0);
	else
		fake_set_driver(fake, &split, 0, 0);
	fake_ok_fd(fake, VUS_SET_VRING_CALL, 0, call);
	fd_closep(&kick);
	kick = fake_run_ring(fake);
}

static void
start(void)
{
	driver_init(&split, &guest, NUM, 0);
	if (is_packed)
		packed_init(&packed, &guest, NUM, 0);
	run_at(FIRST_BASE);
}

static void
offer(unsigned id, uint64_t from, uint32_t len)
{
	uint32_t none = NO_ANSWER;

	memcpy(guest_ram(is_packed ? packed.guest : split.guest, DATA(id) + 8),
	    &none, sizeof(none));
	if (is_packed) {
		packed_put(&packed, from, len, id, DRIVER_NEXT);
		packed_put(
		    &packed, GUEST_AT(DATA(id) + 8), 4, id, DRIVER_WRITE);
		return;
	}
	driver_desc(&split, 2 * id, from, len, DRIVER_NEXT, 2 * id + 1);
	driver_desc(
	    &split, 2 * id + 1, GUEST_AT(DATA(id) + 8), 4, DRIVER_WRITE, 0);
	driver_offer(&split, 2 * id);
}

static void
offer_flush(unsigned id)
{
	offer(id, GUEST_AT(DATA(id)), 4);
}

/* It has no meaning, and is answered at once. */
static void
offer_bad(unsigned id)
{
	offer(id, GUEST_AT(DATA(id)), 8);
}

static void
offer_malformed(unsigned id)
{
	offer(id, 0, 4);
}

static void
do_kick(void)
{
	fake_kick(fake, kick);
}

static uint32_t
answer_of(unsigned id)
{
	uint32_t value;

	memcpy(&value,
	    guest_ram(is_packed ? packed.guest : split.guest, DATA(id) + 8),
	    sizeof(value));
	return value;
}

static bool
take(uint32_t *id, uint32_t *len)
{
	bool got = is_packed ? packed_complete(&packed, id, len)
			     : driver_complete(&split, id, len);

	if (got && !is_packed)
		*id /= 2;
	return got;
}

/* The next completion is this one. */
static void
expect(unsigned id, uint32_t value)
{
	uint32_t got, len;

	assert_true(take(&got, &len));
	assert_int_equal(got, id);
	assert_int_equal(len, 4);
	assert_int_equal(answer_of(id), value);
}

static void
expect_malformed(unsigned id)
{
	uint32_t got, len;

	assert_true(take(&got, &len));
	assert_int_equal(got, id);
	assert_int_equal(len, 0);
	assert_int_equal(answer_of(id), NO_ANSWER);
}

static void
expect_nothing(void)
{
	uint32_t id, len;

	assert_false(take(&id, &len));
}

/* The sync that runs is over, and the rings are looked at that need it. */
static void
synced(int rc)
{
	enum vus_next next = vus_session_synced(&fake->s, rc);

	while (next == VUS_NEXT_WORK)
		next = vus_session_work(&fake->s);
	assert_int_equal(next, VUS_NEXT_WAIT);
}

/* How often the driver was called since the last time. */
static uint64_t
calls(void)
{
	uint64_t count;

	return read(call, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static void
work(void)
{
	while (fake->s.ring[0].look)
		assert_true(lives(vus_session_work(&fake->s)));
}

static uint32_t
stop_ring(void)
{
	struct vus_wire_vring_state state = { 0 };

	assert_true(lives(fake_request(fake, VUS_GET_VRING_BASE, VUS_VERSION,
	    &state, sizeof(state), NULL, 0)));
	expect_reply(fake, VUS_GET_VRING_BASE, &state, sizeof(state));
	return state.num;
}

/* --- syncs --------------------------------------------------------------- */

static void
a_flush_is_answered_when_its_sync_has_ended(void **state)
{
	(void)state;
	start();
	(void)calls();
	offer_flush(0);
	do_kick();
	assert_int_equal(fake->syncs, 1);
	assert_int_equal(answer_of(0), NO_ANSWER);
	expect_nothing();
	assert_int_equal(calls(), 0);
	synced(0);
	expect(0, 0);
	assert_int_equal(calls(), 1);
	expect_nothing();
	assert_int_equal(fake->syncs, 1);
}

static void
a_sync_that_fails_is_the_answer(void **state)
{
	(void)state;
	start();
	offer_flush(0);
	do_kick();
	synced(-EIO);
	expect(0, FAKE_FAILED);
	offer_flush(1);
	do_kick();
	synced(0);
	expect(1, 0);
	assert_int_equal(fake->syncs, 2);
}

static void
what_comes_while_a_sync_runs_waits_for_the_next(void **state)
{
	(void)state;
	start();
	offer_flush(0);
	do_kick();
	offer_flush(1);
	do_kick();
	offer_flush(2);
	do_kick();
	assert_int_equal(fake->syncs, 1);
	synced(-EIO);
	expect(0, FAKE_FAILED);
	expect_nothing();
	assert_int_equal(fake->syncs, 2);
	offer_flush(3);
	do_kick();
	synced(0);
	expect(1, 0);
	expect(2, 0);
	expect_nothing();
	assert_int_equal(fake->syncs, 3);
	synced(0);
	expect(3, 0);
	assert_int_equal(fake->syncs, 3);
}

static void
all_that_wait_share_one_sync(void **state)
{
	(void)state;
	start();
	for (unsigned i = 0; i < 5; i++)
		offer_flush(i);
	do_kick();
	assert_int_equal(fake->syncs, 1);
	(void)calls();
	synced(0);
	for (unsigned i = 0; i < 5; i++)
		expect(i, 0);
	assert_int_equal(calls(), 1);
	assert_int_equal(fake->syncs, 1);
}

static void
a_sync_that_nobody_has_begun_does_nothing(void **state)
{
	(void)state;
	start();
	synced(0);
	offer_flush(0);
	do_kick();
	synced(0);
	synced(-EIO);
	expect(0, 0);
	expect_nothing();
	assert_int_equal(fake->syncs, 1);
	assert_int_equal(fake->s.counters.flushes, 1);
}

static void
a_device_without_storage_needs_no_sync(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		fake_disconnect(fake);
		fake->device.sync = i == 0;
		if (i == 0)
			fake->host.sync = NULL;
		connect_front_end();
		start();
		offer_flush(0);
		do_kick();
		expect(0, 0);
		assert_int_equal(fake->syncs, 0);
		assert_int_equal(fake->s.counters.ring[0].requests, 1);
	}
}

/* --- order --------------------------------------------------------------- */

static void
an_answer_behind_one_that_waits_has_its_turn(void **state)
{
	(void)state;
	start();
	offer_bad(0);
	do_kick();
	expect(0, FAKE_BAD);
	offer_flush(1);
	offer_bad(2);
	offer_malformed(3);
	offer_flush(4);
	do_kick();
	expect_nothing();
	synced(0);
	expect(1, 0);
	expect(2, FAKE_BAD);
	expect_malformed(3);
	expect(4, 0);
	offer_bad(5);
	do_kick();
	expect(5, FAKE_BAD);
	assert_int_equal(fake->syncs, 1);
	assert_int_equal(fake->s.counters.ring[0].requests, 6);
}

static void
an_answer_that_comes_during_a_sync_waits_for_no_other(void **state)
{
	(void)state;
	start();
	offer_flush(0);
	do_kick();
	offer_bad(1);
	do_kick();
	offer_flush(2);
	offer_malformed(3);
	do_kick();
	synced(0);
	expect(0, 0);
	expect(1, FAKE_BAD);
	expect_nothing();
	synced(0);
	expect(2, 0);
	expect_malformed(3);
	assert_int_equal(fake->syncs, 2);
	/* With nothing behind it no sync is begun. */
	offer_flush(4);
	do_kick();
	offer_bad(5);
	do_kick();
	synced(0);
	expect(4, 0);
	expect(5, FAKE_BAD);
	assert_int_equal(fake->syncs, 3);
}

static void
only_so_many_are_held_and_the_rest_stays_in_the_ring(void **state)
{
	const unsigned more = 20, all = VUS_HELD_MAX + more;

	(void)state;
	start();
	for (unsigned i = 0; i < all; i++)
		offer_flush(i);
	do_kick();
	assert_int_equal(fake->served, VUS_HELD_MAX);
	/* It does not spin, however often it is kicked. */
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	do_kick();
	assert_int_equal(fake->served, VUS_HELD_MAX);
	synced(0);
	assert_int_equal(fake->served, all);
	for (unsigned i = 0; i < VUS_HELD_MAX; i++)
		expect(i, 0);
	expect_nothing();
	assert_int_equal(fake->syncs, 2);
	synced(0);
	for (unsigned i = VUS_HELD_MAX; i < all; i++)
		expect(i, 0);
	offer_flush(0);
	do_kick();
	synced(0);
	expect(0, 0);
}

/* Ring 1 where the ring of the test is not: split, or packed. */
static struct fake_driver split1;
static struct fake_packed packed1;

static void
start_ring_1(void)
{
	struct vus_wire_vring_addr addr = { .index = 1 };

	driver_init(&split1, &guest, 8, 0);
	split1.desc = 0x20000;
	split1.avail = 0x21000;
	split1.used = 0x22000;
	packed_init(&packed1, &guest, 8, 0x20000);
	addr.desc = GUEST_USER + 0x20000;
	addr.avail = GUEST_USER + (is_packed ? packed1.driver : split1.avail);
	addr.used = GUEST_USER + (is_packed ? packed1.device : split1.used);
	fake_ok_state(fake, VUS_SET_VRING_NUM, 1, 8);
	fake_ok_state(fake, VUS_SET_VRING_BASE, 1, FIRST_BASE);
	fake_ok(fake, VUS_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	fake_start_ring(fake, 1);
	while (fake->s.ring[1].look)
		assert_true(lives(vus_session_work(&fake->s)));
}

static void
offer_ring_1(uint32_t len)
{
	if (is_packed) {
		packed_put(&packed1, GUEST_AT(0x30000), len, 0, DRIVER_NEXT);
		packed_put(&packed1, GUEST_AT(0x30010), 4, 0, DRIVER_WRITE);
	} else {
		driver_desc(&split1, 0, GUEST_AT(0x30000), len, DRIVER_NEXT, 1);
		driver_desc(&split1, 1, GUEST_AT(0x30010), 4, DRIVER_WRITE, 0);
		driver_offer(&split1, 0);
	}
	vus_ring_serve(&fake->s, 1);
}

static bool
ring_1_completed(void)
{
	uint32_t id, len;

	return is_packed ? packed_complete(&packed1, &id, &len)
			 : driver_complete(&split1, &id, &len);
}

static void
rings_wait_for_the_same_sync_and_for_no_other_ring(void **state)
{
	(void)state;
	start();
	start_ring_1();
	offer_flush(0);
	do_kick();
	/* Nothing is before it in its own ring. */
	offer_ring_1(8);
	assert_true(ring_1_completed());
	offer_ring_1(4);
	offer_flush(1);
	do_kick();
	synced(0);
	expect(0, 0);
	expect_nothing();
	assert_false(ring_1_completed());
	/* The other one stops, and this one's sync goes on. */
	fake_stop_ring(fake, 1);
	synced(0);
	expect(1, 0);
	assert_int_equal(fake->syncs, 2);
	assert_int_equal(fake->s.held.n, 0);
}

static void
a_ring_that_stops_makes_room_for_another(void **state)
{
	(void)state;
	start();
	start_ring_1();
	for (unsigned i = 0; i < VUS_HELD_MAX; i++)
		offer_flush(i);
	do_kick();
	offer_ring_1(4);
	assert_int_equal(fake->served, VUS_HELD_MAX);
	(void)stop_ring();
	assert_true(fake->s.ring[1].look);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(fake->served, VUS_HELD_MAX + 1);
	/* It came when the first sync ran already. */
	synced(0);
	assert_false(ring_1_completed());
	synced(0);
	assert_true(ring_1_completed());
	expect_nothing();
	assert_int_equal(fake->syncs, 2);
}

/* --- notifications ------------------------------------------------------- */

static void
a_driver_is_called_as_it_wants(void **state)
{
	(void)state;
	start();
	offer_flush(0);
	do_kick();
	synced(0);
	expect(0, 0);
	(void)calls();
	if (is_packed) {
		uint16_t event[2] = { 5 | 0x8000, 2 };

		/* When entry 5 is used, of the third request. */
		memcpy(guest_ram(&guest, packed.driver), event, 4);
	} else {
		driver_set_used_event(&split, 2);
	}
	offer_flush(1);
	do_kick();
	/* We are to be notified also while requests wait. */
	if (!is_packed)
		assert_int_equal(driver_avail_event(&split), 2);
	synced(0);
	expect(1, 0);
	assert_int_equal(calls(), 0);
	offer_flush(2);
	offer_flush(3);
	do_kick();
	synced(0);
	assert_int_equal(calls(), 1);
	assert_int_equal(fake->s.counters.ring[0].calls, 2);
}

static void
a_polled_ring_is_polled_on(void **state)
{
	(void)state;
	start();
	fake_ok_fd(fake, VUS_SET_VRING_KICK, VUS_VRING_NO_FD, -1);
	work();
	offer_flush(0);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_POLL);
	assert_int_equal(fake->syncs, 1);
	for (unsigned i = 1; i < VUS_HELD_MAX + 5; i++)
		offer_flush(i);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_POLL);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_POLL);
	assert_int_equal(fake->served, VUS_HELD_MAX);
	assert_true(lives(vus_session_synced(&fake->s, 0)));
	expect(0, 0);
	expect_nothing();
}

static void
a_call_may_be_a_message(void **state)
{
	struct vus_wire_vring_state got, none = { 0 };
	struct peer_msg msg;

	(void)state;
	fake_disconnect(fake);
	fake->dialect.protocol_features |= VUS_BIT(VUS_F_INBAND_NOTIFICATIONS);
	connect_front_end();
	fake_set_channel(fake);
	start();
	(void)stop_ring(); /* and with it the call descriptor goes */
	fake_ok_state(fake, VUS_VRING_KICK, 0, 0);
	offer_flush(0);
	fake_ok_state(fake, VUS_VRING_KICK, 0, 0);
	assert_false(peer_recv(fake->channel, &msg));
	synced(0);
	expect(0, 0);
	assert_true(peer_recv(fake->channel, &msg));
	assert_int_equal(msg.head.request, VUS_BACKEND_VRING_CALL);
	memcpy(&got, msg.payload, sizeof(got));
	assert_memory_equal(&got, &none, sizeof(got));
	assert_int_equal(fake->s.counters.ring[0].calls, 1);
}

static void
what_is_answered_later_is_in_a_log_that_began_meanwhile(void **state)
{
	static unsigned char log[GUEST_AT(2 * GUEST_REGION) / 4096 / 8];
	struct vus_wire_log wire = { .size = sizeof(log) };
	uint64_t page = GUEST_AT(DATA(0)) / 4096;
	AUTO_FD int fd = make_memfd(sizeof(log)), dirty = make_eventfd();
	uint64_t count;

	(void)state;
	start();
	offer_flush(0);
	do_kick();
	assert_true(lives(fake_request(
	    fake, VUS_SET_LOG_BASE, ASK, &wire, sizeof(wire), &fd, 1)));
	expect_reply(fake, VUS_SET_LOG_BASE, &wire, sizeof(wire));
	fake_ok(fake, VUS_SET_LOG_FD, NULL, 0, &dirty, 1);
	fake_ok_u64(fake, VUS_SET_FEATURES,
	    fake->s.state.features | VUS_BIT(VUS_VIRTIO_F_LOG_ALL));
	synced(0);
	expect(0, 0);
	assert_int_equal(pread(fd, log, sizeof(log), 0), sizeof(log));
	assert_true(log[page / 8] & (1U << (page % 8)));
	assert_int_equal(read(dirty, &count, sizeof(count)), sizeof(count));
}

static void
counters_tell_what_was_done_and_how_long_it_took(void **state)
{
	const struct vus_counters *c = &fake->s.counters;

	(void)state;
	start();
	clock_ns = 1000;
	offer_flush(0);
	do_kick();
	clock_ns = 1100;
	offer_flush(1);
	do_kick();
	clock_ns = 1500;
	synced(0);
	clock_ns = 1600;
	synced(-EIO);
	offer_bad(2);
	do_kick();
	assert_int_equal(c->ring[0].requests, 3);
	assert_int_equal(c->flushes, 2);
	assert_int_equal(c->flushes_failed, 1);
	assert_int_equal(c->flush_ns, 500 + 500);
	assert_int_equal(c->flush_ns_max, 500);
	clock_ns = 2000;
	offer_flush(3);
	do_kick();
	clock_ns = 2900;
	synced(0);
	assert_int_equal(c->flush_ns, 1900);
	assert_int_equal(c->flush_ns_max, 900);
	/* A clock that goes back, or none. */
	offer_flush(4);
	do_kick();
	clock_ns = 0;
	synced(0);
	fake->s.host.now = NULL;
	offer_flush(5);
	do_kick();
	synced(0);
	assert_int_equal(c->flush_ns, 1900);
	assert_int_equal(c->flushes, 5);
	assert_int_equal(c->ring[1].requests, 0);
}

/* --- to put back --------------------------------------------------------- */

static void
a_stop_puts_back_what_waits_and_a_start_takes_it_again(void **state)
{
	uint32_t base;

	(void)state;
	start();
	offer_flush(0);
	do_kick();
	synced(0);
	expect(0, 0);
	offer_flush(1);
	offer_bad(2);
	do_kick();
	offer_flush(3);
	do_kick();
	base = stop_ring();
	/* One has been completed, and that is where it goes on. */
	assert_int_equal(base, is_packed ? 0x80028002U : 1);
	assert_int_equal(fake->s.held.n, 0);
	expect_nothing();
	run_at(base);
	assert_int_equal(fake->served, 1 + 3 + 3);
	/* The sync that ran began before they were taken. */
	assert_int_equal(fake->syncs, 2);
	synced(-EIO);
	expect_nothing();
	assert_int_equal(fake->syncs, 3);
	synced(0);
	expect(1, 0);
	expect(2, FAKE_BAD);
	expect(3, 0);
	expect_nothing();
	assert_int_equal(stop_ring(), is_packed ? 0x80088008U : 4);
	assert_int_equal(fake->syncs, 3);
}

static void
a_ring_that_is_disabled_for_a_while_loses_nothing(void **state)
{
	(void)state;
	start();
	offer_flush(0);
	offer_flush(1);
	do_kick();
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 0);
	synced(0);
	expect_nothing();
	assert_int_equal(fake->syncs, 1);
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 1);
	work();
	assert_int_equal(fake->syncs, 2);
	synced(0);
	expect(0, 0);
	expect(1, 0);
	/* Enabled twice, and kicked by another descriptor. */
	offer_flush(2);
	do_kick();
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 1);
	fd_closep(&kick);
	kick = make_eventfd();
	fake_ok_fd(fake, VUS_SET_VRING_KICK, 0, kick);
	work();
	synced(0);
	expect_nothing();
	synced(0);
	expect(2, 0);
	expect_nothing();
}

/* Packed rings go around. */
static void
a_position_with_another_wrap_counter_comes_back(void **state)
{
	(void)state;
	start();
	for (unsigned i = 0; i < 3 * NUM / 2 - 1; i++) {
		offer_flush(i % 100);
		do_kick();
		synced(0);
		expect(i % 100, 0);
	}
	offer_flush(0);
	offer_flush(1);
	offer_flush(2);
	do_kick();
	run_at(stop_ring());
	synced(0);
	synced(0);
	for (unsigned i = 0; i < 3; i++)
		expect(i, 0);
	expect_nothing();
}

static void
memory_that_moves_is_not_looked_at_any_more(void **state)
{
	struct fake_guest other;

	(void)state;
	start();
	offer_flush(0);
	offer_bad(1);
	offer_flush(2);
	do_kick();
	/* The same guest in other files. */
	guest_init(&other);
	memcpy(other.ram[0], guest.ram[0], GUEST_REGION);
	fake_set_table(fake, &other);
	work();
	assert_int_equal(fake->served, 6);
	synced(0);
	synced(0);
	expect_nothing();
	assert_int_equal(answer_of(0), NO_ANSWER);
	split.guest = packed.guest = &other;
	expect(0, 0);
	expect(1, FAKE_BAD);
	expect(2, 0);
	expect_nothing();
	assert_int_equal(fake->syncs, 2);
	/* And then there is none at all. */
	offer_flush(3);
	do_kick();
	{
		struct vus_wire_mem_table none = { 0 };

		fake_ok(fake, VUS_SET_MEM_TABLE, &none, sizeof(none), NULL, 0);
	}
	synced(0);
	expect_nothing();
	assert_int_equal(fake->s.held.n, 0);
	assert_int_equal(fake->syncs, 3);
	guest_free(&other);
}

static void
a_reset_drops_what_waits(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		start();
		offer_flush(0);
		offer_flush(1);
		do_kick();
		fake_ok(fake, i == 0 ? VUS_RESET_DEVICE : VUS_SET_OWNER, NULL,
		    0, NULL, 0);
		assert_int_equal(fake->s.held.n, 0);
		fake_set_table(fake, &guest);
		/* Another driver; the sync of the one before runs still. */
		start();
		offer_flush(7);
		do_kick();
		assert_int_equal(fake->syncs, 1 + 2 * i);
		synced(0);
		expect_nothing();
		synced(0);
		expect(7, 0);
		expect_nothing();
		assert_int_equal(fake->syncs, 2 + 2 * i);
		(void)stop_ring();
	}
}

static void
a_front_end_may_leave_while_requests_wait(void **state)
{
	(void)state;
	start();
	offer_flush(0);
	offer_flush(1);
	do_kick();
	fake_disconnect(fake);
	assert_int_equal(fake->s.held.n, 0);
	assert_int_equal(vus_session_synced(&fake->s, 0), VUS_NEXT_WAIT);
	expect_nothing();
	assert_int_equal(fake->syncs, 1);
}

/* A split ring may be seen to make no sense when requests of it wait. */
static void
a_ring_that_breaks_completes_what_came_before(void **state)
{
	(void)state;
	start();
	offer_flush(0);
	do_kick();
	driver_set_avail(&split, 1 + NUM + 1);
	do_kick();
	assert_true(fake->s.ring[0].broken);
	synced(0);
	expect(0, 0);
	expect_nothing();
	/* And if it is stopped in between, they are put back. */
	(void)stop_ring();
	start();
	offer_flush(1);
	do_kick();
	driver_set_avail(&split, 1 + NUM + 1);
	do_kick();
	assert_int_equal(stop_ring(), 0);
}

/* --- with an inflight buffer --------------------------------------------- */

static int
set_buffer(int fd)
{
	struct vus_wire_inflight w = { .num_queues = 1, .queue_size = NUM };

	w.mmap_size = vus_inflight_size(is_packed, NUM);
	if (fd < 0)
		fd = make_memfd(w.mmap_size);
	fake_ok(fake, VUS_SET_INFLIGHT_FD, &w, sizeof(w), &fd, 1);
	return fd;
}

/* Requests that a buffer says are in flight. */
static unsigned
in_flight(int fd)
{
	size_t each = is_packed ? 32 : 16;
	unsigned n = 0;

	for (unsigned i = 0; i < NUM; i++) {
		uint8_t mark;

		assert_int_equal(
		    pread(fd, &mark, 1, (off_t)((i + 1) * each)), 1);
		n += mark;
	}
	return n;
}

/* Where the list of free entries begins, which a packed ring's buffer has. */
static uint32_t
free_heads(int fd)
{
	uint32_t heads = 0; /* free_head and old_free_head */

	if (is_packed)
		assert_int_equal(pread(fd, &heads, sizeof(heads), 12), 4);
	return heads;
}

static void
what_was_put_back_is_not_in_flight(void **state)
{
	AUTO_FD int fd = -1;
	uint32_t base, heads;

	(void)state;
	fd = set_buffer(-1);
	start();
	offer_flush(0);
	do_kick();
	synced(0);
	expect(0, 0);
	heads = free_heads(fd);
	offer_flush(1);
	offer_bad(2);
	offer_flush(3);
	do_kick();
	assert_int_equal(in_flight(fd), 3);
	base = stop_ring();
	assert_int_equal(in_flight(fd), 0);
	assert_int_equal(free_heads(fd), heads);
	assert_int_equal(base, is_packed ? 0x80028002U : 1);
	run_at(base);
	assert_int_equal(in_flight(fd), 3);
	/* Another memory table, in the middle of it. */
	fake_set_table(fake, &guest);
	work();
	assert_int_equal(in_flight(fd), 3);
	synced(0);
	synced(0);
	expect(1, 0);
	expect(2, FAKE_BAD);
	expect(3, 0);
	expect_nothing();
	assert_int_equal(in_flight(fd), 0);
	/* All entries of the buffer are there to be used, time and again. */
	for (unsigned i = 0; i < 3 * NUM; i++) {
		offer_flush(i % 100);
		do_kick();
		if (i % 5 == 0) {
			run_at(stop_ring());
			synced(0);
		}
		synced(0);
		expect(i % 100, 0);
	}
	for (unsigned i = 0; i < VUS_HELD_MAX; i++)
		offer_flush(i);
	do_kick();
	assert_int_equal(in_flight(fd), VUS_HELD_MAX);
	synced(0);
	for (unsigned i = 0; i < VUS_HELD_MAX; i++)
		expect(i, 0);
	assert_int_equal(in_flight(fd), 0);
}

static void
another_session_does_what_waited_when_we_died(void **state)
{
	static unsigned char left[1 << 16];
	size_t size = vus_inflight_size(is_packed, NUM);
	AUTO_FD int fd = -1;

	(void)state;
	fd = set_buffer(-1);
	start();
	for (unsigned i = 0; i < 4; i++)
		(i == 2 ? offer_bad : offer_flush)(i);
	do_kick();
	/* What we leave behind if we do not get to close the session. */
	assert_true(size <= sizeof(left));
	assert_int_equal(pread(fd, left, size, 0), size);
	fake_disconnect(fake);
	assert_int_equal(pwrite(fd, left, size, 0), size);

	connect_front_end();
	fake->syncs = fake->served = 0;
	(void)set_buffer(fd);
	offer_flush(4);
	run_at(FIRST_BASE);
	assert_int_equal(fake->served, 5);
	assert_int_equal(in_flight(fd), 5);
	expect_nothing();
	/* Once more: those of the buffer stay there. */
	fake_set_table(fake, &guest);
	work();
	assert_int_equal(fake->served, 10);
	assert_int_equal(in_flight(fd), 5);
	synced(0);
	expect_nothing();
	synced(0);
	for (unsigned i = 0; i < 5; i++)
		expect(i, i == 2 ? FAKE_BAD : 0);
	expect_nothing();
	assert_int_equal(in_flight(fd), 0);
	assert_int_equal(stop_ring(), is_packed ? 0x800a800aU : 5);
}

static void
more_than_can_be_held_is_done_again_in_order(void **state)
{
	static unsigned char left[1 << 16];
	const unsigned all = 100;
	size_t size = vus_inflight_size(is_packed, NUM);
	AUTO_FD int fd = -1;

	(void)state;
	fd = set_buffer(-1);
	start();
	for (unsigned i = 0; i < VUS_HELD_MAX; i++)
		offer_flush(i);
	do_kick();
	assert_int_equal(pread(fd, left, size, 0), size);
	fake_disconnect(fake);
	assert_int_equal(pwrite(fd, left, size, 0), size);
	connect_front_end();
	fake->served = 0;
	(void)set_buffer(fd);
	for (unsigned i = VUS_HELD_MAX; i < all; i++)
		offer_flush(i);
	run_at(FIRST_BASE);
	synced(0);
	for (unsigned i = 0; i < VUS_HELD_MAX; i++)
		expect(i, 0);
	expect_nothing();
	/* They were taken while a sync of the session ran. */
	synced(0);
	for (unsigned i = VUS_HELD_MAX; i < all; i++)
		expect(i, 0);
	expect_nothing();
	assert_int_equal(fake->served, all);
}

static void
a_reset_leaves_the_buffer_of_the_past_alone(void **state)
{
	AUTO_FD int fd = -1;

	(void)state;
	fd = set_buffer(-1);
	start();
	offer_flush(0);
	do_kick();
	fake_ok(fake, VUS_RESET_DEVICE, NULL, 0, NULL, 0);
	assert_null(fake->s.inflight.map.base);
	assert_int_equal(in_flight(fd), 0);
	start();
	offer_flush(1);
	do_kick();
	synced(0);
	synced(0);
	expect(1, 0);
	expect_nothing();
	assert_int_equal(in_flight(fd), 0);
}

#define SPLIT(f)                                                               \
	{                                                                      \
		"split: " #f, f, setup_split, teardown, NULL                   \
	}
#define BOTH(f)                                                                \
	SPLIT(f),                                                              \
	{                                                                      \
		"packed: " #f, f, setup_packed, teardown, NULL                 \
	}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(a_flush_is_answered_when_its_sync_has_ended),
		BOTH(a_sync_that_fails_is_the_answer),
		BOTH(what_comes_while_a_sync_runs_waits_for_the_next),
		BOTH(all_that_wait_share_one_sync),
		BOTH(a_sync_that_nobody_has_begun_does_nothing),
		BOTH(a_device_without_storage_needs_no_sync),
		BOTH(an_answer_behind_one_that_waits_has_its_turn),
		BOTH(an_answer_that_comes_during_a_sync_waits_for_no_other),
		BOTH(only_so_many_are_held_and_the_rest_stays_in_the_ring),
		BOTH(rings_wait_for_the_same_sync_and_for_no_other_ring),
		BOTH(a_ring_that_stops_makes_room_for_another),
		BOTH(a_driver_is_called_as_it_wants),
		BOTH(a_polled_ring_is_polled_on),
		BOTH(a_call_may_be_a_message),
		BOTH(what_is_answered_later_is_in_a_log_that_began_meanwhile),
		BOTH(counters_tell_what_was_done_and_how_long_it_took),
		BOTH(a_stop_puts_back_what_waits_and_a_start_takes_it_again),
		BOTH(a_ring_that_is_disabled_for_a_while_loses_nothing),
		BOTH(a_position_with_another_wrap_counter_comes_back),
		BOTH(memory_that_moves_is_not_looked_at_any_more),
		BOTH(a_reset_drops_what_waits),
		BOTH(a_front_end_may_leave_while_requests_wait),
		SPLIT(a_ring_that_breaks_completes_what_came_before),
		BOTH(what_was_put_back_is_not_in_flight),
		BOTH(another_session_does_what_waited_when_we_died),
		BOTH(more_than_can_be_held_is_done_again_in_order),
		BOTH(a_reset_leaves_the_buffer_of_the_past_alone),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("held", tests, NULL, NULL);
}
