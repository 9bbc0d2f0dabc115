/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Notifications by messages instead of descriptors: vhost-user.rst, "In-band
 * notifications". VRING_KICK from the front-end; VRING_CALL and VRING_ERR to
 * it, one of each at a time per ring, whatever becomes of the channel.
 */
#include "config.h"

#include "tests/unit/fake_ring.h"

#include "proto/fd.h"

#include <string.h>
#include <unistd.h>

#define ASK (VUS_VERSION | VUS_FLAG_NEED_REPLY)
#define NUM 8U

static struct fake *fake;
static struct fake_guest guest;
static struct fake_driver driver;

static void
connect_in_band(void)
{
	fake_connect(fake);
	fake_negotiate(fake, 0);
	fake_set_channel(fake);
	fake_set_table(fake, &guest);
}

static int
setup(void **state)
{
	(void)fds_before(state);
	guest_init(&guest);
	fake = fake_new();
	fake->dialect.protocol_features |= VUS_BIT(VUS_F_INBAND_NOTIFICATIONS);
	connect_in_band();
	return 0;
}

static int
teardown(void **state)
{
	fake_free(fake);
	guest_free(&guest);
	return fds_after(state);
}

#define INBAND_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* --- shorthands ---------------------------------------------------------- */

/* Ring index is ready for its first kick. No event index: each batch asks for
 * a call. */
static void
prepare(unsigned index)
{
	struct vus_wire_vring_addr addr = { .index = index };

	fake_ok_u64(
	    fake, VUS_SET_FEATURES, VUS_BIT(0) | VUS_BIT(30) | VUS_BIT(32));
	driver_init(&driver, &guest, NUM, 0);
	addr.desc = GUEST_USER + driver.desc;
	addr.avail = GUEST_USER + driver.avail;
	addr.used = GUEST_USER + driver.used;
	fake_ok_state(fake, VUS_SET_VRING_NUM, index, NUM);
	fake_ok_state(fake, VUS_SET_VRING_BASE, index, 0);
	fake_ok(fake, VUS_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, index, 1);
}

static void
kick(void)
{
	fake_ok_state(fake, VUS_VRING_KICK, 0, 0);
}

/* Offer a request, and kick. */
static void
request(void)
{
	unsigned served = fake->served;

	driver_desc(&driver, 0, GUEST_AT(0xc0000), 4, DRIVER_WRITE, 0);
	driver_offer(&driver, 0);
	kick();
	assert_int_equal(fake->served, served + 1);
}

static void
start(void)
{
	prepare(0);
	kick();
}

/* The channel holds one such message for this ring, and nothing else. */
static void
expect_message(uint32_t id, uint32_t index)
{
	struct vus_wire_vring_state state;
	struct peer_msg msg;

	assert_true(peer_recv(fake->channel, &msg));
	assert_int_equal(msg.head.request, id);
	assert_int_equal(msg.head.flags, ASK);
	assert_int_equal(msg.head.size, sizeof(state));
	assert_int_equal(msg.fd, -1);
	memcpy(&state, msg.payload, sizeof(state));
	assert_int_equal(state.index, index);
	assert_int_equal(state.num, 0);
	expect_no_map(fake);
}

static void
expect_call(void)
{
	expect_message(VUS_BACKEND_VRING_CALL, 0);
}

static void
expect_nothing(void)
{
	expect_no_map(fake);
}

static void
answer(uint32_t id, uint64_t value)
{
	peer_send(fake->channel, id, VUS_VERSION | VUS_FLAG_REPLY, &value,
	    sizeof(value), NULL, 0);
	assert_true(lives(vus_session_backend_ready(&fake->s)));
}

static void
answer_call(void)
{
	answer(VUS_BACKEND_VRING_CALL, 0);
}

/* --- negotiation --------------------------------------------------------- */

static void
without_channel_or_acknowledgements_it_ends_the_connection(void **state)
{
	static const unsigned needed[] = { VUS_F_BACKEND_REQ, VUS_F_REPLY_ACK };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(needed); i++) {
		uint64_t features =
		    fake->dialect.protocol_features & ~VUS_BIT(needed[i]);

		assert_int_equal(
		    fake_request(fake, VUS_SET_PROTOCOL_FEATURES, VUS_VERSION,
			&features, sizeof(features), NULL, 0),
		    VUS_NEXT_BROKEN);
		assert_non_null(strstr(fake->last, "INBAND"));
		fake_disconnect(fake);
		connect_in_band();
	}
}

static void
without_it_nothing_is_sent(void **state)
{
	int fd;

	(void)state;
	fake_disconnect(fake);
	fake_connect(fake);
	fake_negotiate(fake, VUS_BIT(VUS_F_INBAND_NOTIFICATIONS));
	fake_set_channel(fake);
	fake_set_table(fake, &guest);
	prepare(0);
	fd = fake_run_ring(fake);
	driver_desc(&driver, 0, GUEST_AT(0xc0000), 4, DRIVER_WRITE, 0);
	driver_offer(&driver, 0);
	fake_kick(fake, fd);
	assert_int_equal(fake->served, 1);
	driver_set_avail(&driver, NUM + 2); /* breaks the ring */
	fake_kick(fake, fd);
	expect_nothing();
	assert_false(vus_session_backend_wants_write(&fake->s));
	fd_closep(&fd);
}

/* --- kicks --------------------------------------------------------------- */

static void
a_kick_starts_the_ring_and_is_acknowledged_after_it_was_served(void **state)
{
	struct vus_wire_vring_state ring = { 0, 0 };
	uint32_t id, len;

	(void)state;
	prepare(0);
	assert_false(fake->s.state.started);
	driver_desc(&driver, 3, GUEST_AT(0xc0000), 4, DRIVER_WRITE, 0);
	driver_offer(&driver, 3);
	peer_send(
	    fake->front, VUS_VRING_KICK, ASK, &ring, sizeof(ring), NULL, 0);
	assert_int_equal(vus_session_readable(&fake->s), VUS_NEXT_WAIT);
	assert_true(fake->s.state.started);
	assert_true(driver_complete(&driver, &id, &len));
	assert_int_equal(id, 3);
	expect_ack(fake, VUS_VRING_KICK, true);
	expect_call();
}

static void
a_ring_that_is_kicked_by_message_is_neither_polled_nor_watched(void **state)
{
	(void)state;
	start();
	assert_int_equal(fake->watched_kick[0], -1);
	driver_desc(&driver, 0, GUEST_AT(0xc0000), 4, DRIVER_WRITE, 0);
	driver_offer(&driver, 0);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(fake->served, 0);
	kick();
	assert_int_equal(fake->served, 1);
}

static void
a_kick_serves_a_ring_that_has_a_descriptor_as_well(void **state)
{
	int fd;

	(void)state;
	prepare(0);
	fd = fake_run_ring(fake);
	request();
	expect_call();
	assert_true(fake->watched_kick[0] >= 0);
	fd_closep(&fd);
}

static void
a_kick_with_a_number_is_refused_and_starts_nothing(void **state)
{
	static const uint32_t numbers[] = { 1, 2, UINT32_MAX };

	(void)state;
	prepare(0);
	for (unsigned i = 0; i < ARRAY_LEN(numbers); i++) {
		struct vus_wire_vring_state ring = { 0, numbers[i] };

		assert_true(lives(fake_request(
		    fake, VUS_VRING_KICK, ASK, &ring, sizeof(ring), NULL, 0)));
		expect_ack(fake, VUS_VRING_KICK, false);
		assert_false(fake->s.state.started);
	}
}

static void
a_kick_of_a_disabled_ring_serves_nothing(void **state)
{
	(void)state;
	prepare(0);
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 0);
	driver_desc(&driver, 0, GUEST_AT(0xc0000), 4, DRIVER_WRITE, 0);
	driver_offer(&driver, 0);
	kick();
	assert_int_equal(fake->served, 0);
	/* What was kicked is found when it is enabled. */
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 1);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(fake->served, 1);
}

/* --- calls --------------------------------------------------------------- */

static void
a_call_asks_for_an_answer_and_the_next_waits_for_it(void **state)
{
	(void)state;
	start();
	request();
	expect_call();
	for (unsigned i = 0; i < 5; i++)
		request();
	expect_nothing();
	assert_false(vus_session_backend_wants_write(&fake->s));
	/* One for the five. */
	answer_call();
	expect_call();
	answer_call();
	expect_nothing();
	request();
	expect_call();
}

static void
a_call_names_its_ring(void **state)
{
	(void)state;
	prepare(1);
	driver_desc(&driver, 0, GUEST_AT(0xc0000), 4, DRIVER_WRITE, 0);
	driver_offer(&driver, 0);
	fake_ok_state(fake, VUS_VRING_KICK, 1, 0);
	expect_message(VUS_BACKEND_VRING_CALL, 1);
	answer_call();
	assert_false(fake->s.ring[1].call.asked);
}

static void
a_call_that_is_refused_is_warned_of_and_the_next_goes_out(void **state)
{
	unsigned warned;

	(void)state;
	start();
	request();
	expect_call();
	warned = fake->logged[VUS_LOG_WARN];
	answer(VUS_BACKEND_VRING_CALL, 1);
	assert_int_equal(fake->logged[VUS_LOG_WARN], warned + 1);
	assert_non_null(strstr(fake->last, "VRING_CALL"));
	request();
	expect_call();
}

static void
an_answer_counts_also_after_a_stop(void **state)
{
	(void)state;
	start();
	request();
	expect_call();
	request(); /* another one is due */
	fake_stop_ring(fake, 0);
	answer_call();
	/* Nobody waits for it any more. */
	expect_nothing();
	start();
	request();
	expect_call();
}

static void
an_answer_to_something_else_closes_the_channel(void **state)
{
	(void)state;
	start();
	request();
	expect_call();
	answer(VUS_BACKEND_VRING_ERR, 0);
	assert_int_equal(fake->watched_backend, -1);
}

static void
a_front_end_that_polls_gets_no_calls(void **state)
{
	(void)state;
	start();
	request();
	expect_call();
	request(); /* is due */
	fake_ok_fd(fake, VUS_SET_VRING_CALL, VUS_VRING_NO_FD, -1);
	answer_call();
	request();
	expect_nothing();
	/* That was said of this start of the ring. */
	fake_stop_ring(fake, 0);
	start();
	request();
	expect_call();
}

static void
a_descriptor_is_preferred(void **state)
{
	int call = make_eventfd();
	uint64_t n = 0;

	(void)state;
	start();
	fake_ok_fd(fake, VUS_SET_VRING_CALL, 0, call);
	request();
	assert_int_equal(read(call, &n, sizeof(n)), sizeof(n));
	expect_nothing();
	fake_stop_ring(fake, 0);
	start();
	request();
	expect_call();
	fd_closep(&call);
}

/* --- errors -------------------------------------------------------------- */

static void
break_ring(void)
{
	driver_set_avail(&driver, (uint16_t)(driver.avail_idx + NUM + 1));
	kick();
	assert_true(fake->s.ring[0].broken);
}

static void
a_broken_ring_is_told_by_message(void **state)
{
	(void)state;
	start();
	break_ring();
	expect_message(VUS_BACKEND_VRING_ERR, 0);
	/* Again, before the answer to the first has come. */
	fake_stop_ring(fake, 0);
	start();
	break_ring();
	expect_nothing();
	answer(VUS_BACKEND_VRING_ERR, 1);
	expect_message(VUS_BACKEND_VRING_ERR, 0);
	answer(VUS_BACKEND_VRING_ERR, 0);
	expect_nothing();
}

static void
a_broken_ring_is_told_by_its_descriptor_or_not_at_all(void **state)
{
	int err = make_eventfd();
	uint64_t n = 0;

	(void)state;
	start();
	fake_ok_fd(fake, VUS_SET_VRING_ERR, 0, err);
	break_ring();
	assert_int_equal(read(err, &n, sizeof(n)), sizeof(n));
	expect_nothing();
	fake_stop_ring(fake, 0);
	start();
	fake_ok_fd(fake, VUS_SET_VRING_ERR, VUS_VRING_NO_FD, -1);
	break_ring();
	assert_int_equal(read(err, &n, sizeof(n)), -1);
	expect_nothing();
	/* Until the device is reset. */
	fake_ok(fake, VUS_RESET_DEVICE, NULL, 0, NULL, 0);
	start();
	break_ring();
	expect_message(VUS_BACKEND_VRING_ERR, 0);
	fd_closep(&err);
}

/* --- the channel --------------------------------------------------------- */

/* Replace the channel by one that takes nothing. */
static void
full_channel(void)
{
	char junk[256] = { 0 };
	int pair[2];

	make_pair(pair);
	shrink_sndbuf(pair[0]);
	while (write(pair[0], junk, sizeof(junk)) > 0)
		continue;
	while (write(pair[0], junk, 1) > 0)
		continue;
	fake_ok(fake, VUS_SET_BACKEND_REQ_FD, NULL, 0, &pair[0], 1);
	fd_closep(&pair[0]);
	fd_closep(&fake->channel);
	fake->channel = pair[1];
}

static void
a_call_waits_for_room_in_the_channel(void **state)
{
	char junk[4096];

	(void)state;
	start();
	full_channel();
	request();
	request();
	/* A message without a descriptor may have gone in part: the rest of
	 * it, and what is behind it, goes out later. */
	assert_true(vus_session_backend_wants_write(&fake->s));
	assert_true(lives(vus_session_backend_ready(&fake->s)));
	assert_true(vus_session_backend_wants_write(&fake->s));
	while (read(fake->channel, junk, sizeof(junk)) > 0)
		continue;
	assert_true(lives(vus_session_backend_ready(&fake->s)));
	expect_call();
	assert_false(vus_session_backend_wants_write(&fake->s));
	answer_call();
	expect_call();
}

static void
an_error_waits_behind_a_call_that_waits(void **state)
{
	char junk[4096];
	struct peer_msg msg;

	(void)state;
	start();
	full_channel();
	request();
	break_ring();
	assert_true(vus_session_backend_wants_write(&fake->s));
	while (read(fake->channel, junk, sizeof(junk)) > 0)
		continue;
	assert_true(lives(vus_session_backend_ready(&fake->s)));
	assert_true(peer_recv(fake->channel, &msg));
	assert_int_equal(msg.head.request, VUS_BACKEND_VRING_CALL);
	expect_message(VUS_BACKEND_VRING_ERR, 0);
	assert_false(vus_session_backend_wants_write(&fake->s));
	answer_call();
	answer(VUS_BACKEND_VRING_ERR, 0);
	assert_true(fake->watched_backend >= 0);
}

static void
a_call_waits_while_too_many_answers_are_due(void **state)
{
	bool need_reply;
	unsigned shmid;

	(void)state;
	fake_disconnect(fake);
	fake_add_region(fake, 0, true);
	connect_in_band();
	for (unsigned i = 0; i < VUS_PENDING_MAX; i++) {
		start();
		assert_true(fake_take_map(fake, &shmid, &need_reply));
		assert_true(need_reply);
		fake_stop_ring(fake, 0);
	}
	start();
	assert_true(fake_take_map(fake, &shmid, &need_reply));
	assert_false(need_reply);
	request();
	expect_nothing();
	/* Room to write would not help. */
	assert_false(vus_session_backend_wants_write(&fake->s));
	answer(VUS_BACKEND_SHMEM_MAP, 0);
	expect_call();
}

static void
a_call_that_was_due_goes_to_the_new_channel(void **state)
{
	(void)state;
	start();
	request();
	expect_call();
	request();
	/* No answer comes from the old one any more. */
	fake_set_channel(fake);
	assert_true(vus_session_backend_wants_write(&fake->s));
	assert_true(lives(vus_session_backend_ready(&fake->s)));
	expect_call();
	answer_call();
	expect_nothing();
	assert_false(vus_session_backend_wants_write(&fake->s));
}

static void
a_channel_that_ends_with_a_call_outstanding_costs_no_more(void **state)
{
	(void)state;
	start();
	request();
	fd_closep(&fake->channel);
	assert_true(lives(vus_session_backend_ready(&fake->s)));
	assert_int_equal(fake->watched_backend, -1);
	request();
	assert_false(vus_session_backend_wants_write(&fake->s));
	fake_set_channel(fake);
	assert_true(lives(vus_session_backend_ready(&fake->s)));
	expect_call();
}

static void
an_error_outstanding_on_the_old_channel_does_not_hold_up_the_new_one(
    void **state)
{
	(void)state;
	start();
	break_ring();
	expect_message(VUS_BACKEND_VRING_ERR, 0);
	fake_set_channel(fake);
	fake_stop_ring(fake, 0);
	start();
	break_ring();
	expect_message(VUS_BACKEND_VRING_ERR, 0);
}

static void
an_error_that_is_due_does_not_survive_a_reset(void **state)
{
	(void)state;
	start();
	break_ring();
	expect_message(VUS_BACKEND_VRING_ERR, 0);
	fake_stop_ring(fake, 0);
	start();
	break_ring();
	fake_ok(fake, VUS_RESET_DEVICE, NULL, 0, NULL, 0);
	answer(VUS_BACKEND_VRING_ERR, 0);
	expect_nothing();
}

static void
a_channel_that_is_gone_costs_the_call(void **state)
{
	(void)state;
	start();
	fd_closep(&fake->channel);
	request(); /* EPIPE; the kick is acknowledged all the same */
	assert_int_equal(fake->watched_backend, -1);
	assert_non_null(strstr(fake->last, "VRING_CALL"));
	assert_false(fake->s.ring[0].call.due);
	assert_false(fake->s.ring[0].call.asked);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		INBAND_TEST(
		    without_channel_or_acknowledgements_it_ends_the_connection),
		INBAND_TEST(without_it_nothing_is_sent),
		INBAND_TEST(
		    a_kick_starts_the_ring_and_is_acknowledged_after_it_was_served),
		INBAND_TEST(
		    a_ring_that_is_kicked_by_message_is_neither_polled_nor_watched),
		INBAND_TEST(a_kick_serves_a_ring_that_has_a_descriptor_as_well),
		INBAND_TEST(a_kick_with_a_number_is_refused_and_starts_nothing),
		INBAND_TEST(a_kick_of_a_disabled_ring_serves_nothing),
		INBAND_TEST(
		    a_call_asks_for_an_answer_and_the_next_waits_for_it),
		INBAND_TEST(a_call_names_its_ring),
		INBAND_TEST(
		    a_call_that_is_refused_is_warned_of_and_the_next_goes_out),
		INBAND_TEST(an_answer_counts_also_after_a_stop),
		INBAND_TEST(an_answer_to_something_else_closes_the_channel),
		INBAND_TEST(a_front_end_that_polls_gets_no_calls),
		INBAND_TEST(a_descriptor_is_preferred),
		INBAND_TEST(a_broken_ring_is_told_by_message),
		INBAND_TEST(
		    a_broken_ring_is_told_by_its_descriptor_or_not_at_all),
		INBAND_TEST(a_call_waits_for_room_in_the_channel),
		INBAND_TEST(an_error_waits_behind_a_call_that_waits),
		INBAND_TEST(a_call_waits_while_too_many_answers_are_due),
		INBAND_TEST(a_call_that_was_due_goes_to_the_new_channel),
		INBAND_TEST(
		    a_channel_that_ends_with_a_call_outstanding_costs_no_more),
		INBAND_TEST(
		    an_error_outstanding_on_the_old_channel_does_not_hold_up_the_new_one),
		INBAND_TEST(an_error_that_is_due_does_not_survive_a_reset),
		INBAND_TEST(a_channel_that_is_gone_costs_the_call),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("inband", tests, NULL, NULL);
}
