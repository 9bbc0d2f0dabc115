/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The table of requests, against a second one that is written from the
 * specification (vhost-user.rst, "Front-end message types") and not from the
 * code: each request with a byte more or less, a descriptor more or less, its
 * protocol feature missing, with and without NEED_REPLY and REPLY_ACK, and
 * each header that cannot be. One TAP line per request and behaviour.
 */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "proto/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NONE UINT64_C(0)
#define ASK (VUS_VERSION | VUS_FLAG_NEED_REPLY)

/* What a request carries that is right in every respect. */
enum sample {
	EMPTY,
	U64_ZERO,
	U64_FEATURES,
	U64_PROTOCOL,
	RING_STATE,
	RING_ZERO,
	RING_ONE,
	RING_ADDR,
	RING_FD,
	CONFIG,
	TABLE,
	SINGLE,
	SINGLE_REMOVED, /* there is such a region */
	SOCKET,
	LOG,
	EVENTFD,
	INFLIGHT_ASKED,
	INFLIGHT,
	TRANSFER
};

enum answer {
	ACKED,	   /* a u64 where it is asked for */
	REPLIED,   /* a payload of its own, always */
	REPLIED_FD /* ... with a descriptor */
};

struct request {
	const char *name;
	uint32_t id;
	uint32_t min, max; /* payload, bytes */
	unsigned min_fds, max_fds;
	uint64_t feature;
	enum sample sample;
	enum answer answer;
	uint32_t reply; /* payload of the reply, bytes */
};

static const struct request requests[] = {
	{ "GET_FEATURES", 1, 0, 0, 0, 0, NONE, EMPTY, REPLIED, 8 },
	{ "SET_FEATURES", 2, 8, 8, 0, 0, NONE, U64_FEATURES, ACKED, 8 },
	{ "SET_OWNER", 3, 0, 0, 0, 0, NONE, EMPTY, ACKED, 8 },
	{ "RESET_OWNER", 4, 0, 0, 0, 0, NONE, EMPTY, ACKED, 8 },
	{ "SET_MEM_TABLE", 5, 40, 40, 1, 1, NONE, TABLE, ACKED, 8 },
	{ "SET_LOG_BASE", 6, 16, 16, 1, 1, VUS_BIT(1), LOG, REPLIED, 16 },
	{ "SET_LOG_FD", 7, 0, 0, 1, 1, VUS_BIT(1), EVENTFD, ACKED, 8 },
	{ "SET_VRING_NUM", 8, 8, 8, 0, 0, NONE, RING_STATE, ACKED, 8 },
	{ "SET_VRING_ADDR", 9, 40, 40, 0, 0, NONE, RING_ADDR, ACKED, 8 },
	{ "SET_VRING_BASE", 10, 8, 8, 0, 0, NONE, RING_STATE, ACKED, 8 },
	{ "GET_VRING_BASE", 11, 8, 8, 0, 0, NONE, RING_STATE, REPLIED, 8 },
	{ "SET_VRING_KICK", 12, 8, 8, 1, 1, NONE, RING_FD, ACKED, 8 },
	{ "SET_VRING_CALL", 13, 8, 8, 1, 1, NONE, RING_FD, ACKED, 8 },
	{ "SET_VRING_ERR", 14, 8, 8, 1, 1, NONE, RING_FD, ACKED, 8 },
	{ "GET_PROTOCOL_FEATURES", 15, 0, 0, 0, 0, NONE, EMPTY, REPLIED, 8 },
	{ "SET_PROTOCOL_FEATURES", 16, 8, 8, 0, 0, NONE, U64_PROTOCOL, ACKED,
	    8 },
	{ "GET_QUEUE_NUM", 17, 0, 0, 0, 0, VUS_BIT(0), EMPTY, REPLIED, 8 },
	{ "SET_VRING_ENABLE", 18, 8, 8, 0, 0, NONE, RING_ONE, ACKED, 8 },
	{ "SET_BACKEND_REQ_FD", 21, 0, 0, 1, 1, VUS_BIT(5), SOCKET, ACKED, 8 },
	{ "GET_CONFIG", 24, 12, 268, 0, 0, VUS_BIT(9), CONFIG, REPLIED, 28 },
	{ "SET_CONFIG", 25, 12, 268, 0, 0, VUS_BIT(9), CONFIG, ACKED, 8 },
	{ "GET_INFLIGHT_FD", 31, 24, 24, 0, 0, VUS_BIT(12), INFLIGHT_ASKED,
	    REPLIED_FD, 24 },
	{ "SET_INFLIGHT_FD", 32, 24, 24, 1, 1, VUS_BIT(12), INFLIGHT, ACKED,
	    8 },
	{ "RESET_DEVICE", 34, 0, 0, 0, 0, VUS_BIT(13), EMPTY, ACKED, 8 },
	{ "VRING_KICK", 35, 8, 8, 0, 0, VUS_BIT(14), RING_ZERO, ACKED, 8 },
	{ "GET_MAX_MEM_SLOTS", 36, 0, 0, 0, 0, VUS_BIT(15), EMPTY, REPLIED, 8 },
	{ "ADD_MEM_REG", 37, 40, 40, 1, 1, VUS_BIT(15), SINGLE, ACKED, 8 },
	{ "REM_MEM_REG", 38, 40, 40, 0, 1, VUS_BIT(15), SINGLE_REMOVED, ACKED,
	    8 },
	{ "SET_STATUS", 39, 8, 8, 0, 0, VUS_BIT(16), U64_ZERO, ACKED, 8 },
	{ "GET_STATUS", 40, 0, 0, 0, 0, VUS_BIT(16), EMPTY, REPLIED, 8 },
	{ "SET_DEVICE_STATE_FD", 42, 8, 8, 1, 1, VUS_BIT(19), TRANSFER, REPLIED,
	    8 },
	{ "CHECK_DEVICE_STATE", 43, 0, 0, 0, 0, VUS_BIT(19), EMPTY, REPLIED,
	    8 },
	{ "GET_SHMEM_CONFIG", 44, 0, 0, 0, 0, VUS_BIT(22), EMPTY, REPLIED,
	    2056 },
};

/* Requests that we know and do not carry out. */
static const struct {
	uint32_t id;
	bool replied; /* has a reply of its own */
} absent[] = { { 19, false }, { 20, false }, { 22, false }, { 23, false },
	{ 26, true }, { 27, false }, { 28, true }, { 29, false }, { 30, false },
	{ 33, false }, { 41, true } };

/* --- one request --------------------------------------------------------- */

static struct fake *fake;
static struct vus_wire_single_region region = {
	.region = { .guest_addr = 0x1000, .size = 4096, .user_addr = 0x10000 }
};

struct shape {
	unsigned char payload[sizeof(struct vus_wire_header) + VUS_PAYLOAD_MAX];
	uint32_t len;
	unsigned nfds;
	int fds[4];
};

static void
add_fd(struct shape *shape, int fd)
{
	shape->fds[shape->nfds++] = fd;
}

static void
put(struct shape *shape, const void *bytes, size_t len)
{
	memcpy(shape->payload + shape->len, bytes, len);
	shape->len += (uint32_t)len;
}

static void
put_u64(struct shape *shape, uint64_t value)
{
	put(shape, &value, sizeof(value));
}

/* The right payload and descriptors of a request. */
static void
fill(const struct request *r, struct shape *shape)
{
	static const struct vus_wire_vring_state zero = { 0, 0 };
	static const struct vus_wire_vring_state one = { 0, 1 };
	static const struct vus_wire_vring_state eight = { 0, 8 };
	static const struct vus_wire_vring_addr addr = { .desc = 16 };
	static const struct vus_wire_config config = { .offset = 4,
		.size = 16 };
	static const struct vus_wire_mem_table table = { .nregions = 1 };
	static const struct vus_wire_log log = { .size = 64, .offset = 32 };
	static const struct vus_wire_inflight inflight = {
		.mmap_size = 4096, .num_queues = 1, .queue_size = 8
	};
	static const struct vus_wire_transfer transfer = { 0, 0 };
	static const unsigned char bytes[16];
	int pair[2];

	memset(shape, 0, sizeof(*shape));
	switch (r->sample) {
	case EMPTY:
		break;
	case U64_ZERO:
		put_u64(shape, 0);
		break;
	case U64_FEATURES:
		put_u64(shape, vus_session_features(&fake->s));
		break;
	case U64_PROTOCOL:
		put_u64(shape, fake->s.state.protocol_features);
		break;
	case RING_STATE:
		put(shape, &eight, sizeof(eight));
		break;
	case RING_ZERO:
		put(shape, &zero, sizeof(zero));
		break;
	case RING_ONE:
		put(shape, &one, sizeof(one));
		break;
	case RING_ADDR:
		put(shape, &addr, sizeof(addr));
		break;
	case RING_FD:
		put_u64(shape, 0);
		add_fd(shape, make_eventfd());
		break;
	case CONFIG:
		put(shape, &config, sizeof(config));
		put(shape, bytes, sizeof(bytes));
		break;
	case TABLE:
		put(shape, &table, sizeof(table));
		put(shape, &region.region, sizeof(region.region));
		add_fd(shape, make_memfd(4096));
		break;
	case SINGLE:
		put(shape, &region, sizeof(region));
		add_fd(shape, make_memfd(4096));
		break;
	case SINGLE_REMOVED:
		put(shape, &region, sizeof(region));
		break;
	case SOCKET:
		make_pair(pair);
		fd_closep(&pair[1]);
		add_fd(shape, pair[0]);
		break;
	case LOG:
		put(shape, &log, sizeof(log));
		add_fd(shape, make_memfd(4096));
		break;
	case EVENTFD:
		add_fd(shape, make_eventfd());
		break;
	case INFLIGHT_ASKED:
		put(shape, &inflight, sizeof(inflight));
		break;
	case INFLIGHT:
		put(shape, &inflight, sizeof(inflight));
		add_fd(shape, make_memfd(4096));
		break;
	case TRANSFER:
		put(shape, &transfer, sizeof(transfer));
		assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
		fd_closep(&pair[0]);
		add_fd(shape, pair[1]);
		break;
	}
	assert_true(shape->len >= r->min && shape->len <= r->max);
}

/* Make the session so that the request has what it needs. */
static void
prepare(const struct request *r)
{
	static const struct request add = { .name = "",
		.min = sizeof(region),
		.max = sizeof(region),
		.sample = SINGLE };
	static struct shape shape;

	if (r->sample != SINGLE_REMOVED)
		return;
	fill(&add, &shape);
	fake_ok(fake, VUS_ADD_MEM_REG, shape.payload, shape.len, shape.fds, 1);
	fd_closep(&shape.fds[0]);
}

static enum vus_next
send_shape(const struct request *r, uint32_t flags, struct shape *shape)
{
	enum vus_next next = fake_request(fake, r->id, flags, shape->payload,
	    shape->len, shape->fds, shape->nfds);

	while (shape->nfds > 0)
		fd_closep(&shape->fds[--shape->nfds]);
	return next;
}

static enum vus_next
send_right(const struct request *r, uint32_t flags)
{
	static struct shape shape;

	fill(r, &shape);
	return send_shape(r, flags, &shape);
}

static void
expect_alive(enum vus_next next)
{
	assert_true(lives(next));
	/* And the stream is in step. */
	next =
	    fake_request(fake, VUS_GET_FEATURES, VUS_VERSION, NULL, 0, NULL, 0);
	assert_int_equal(next, VUS_NEXT_WAIT);
	expect_ack(fake, VUS_GET_FEATURES, false);
}

/* The connection ends, with one line that names the request and no answer. */
static void
expect_broken(enum vus_next next, const char *name)
{
	assert_int_equal(next, VUS_NEXT_BROKEN);
	expect_silence(fake);
	assert_int_equal(
	    fake->logged[VUS_LOG_WARN] + fake->logged[VUS_LOG_ERR], 1);
	if (name != NULL)
		assert_non_null(strstr(fake->last, name));
}

static void
expect_answer(const struct request *r)
{
	static unsigned char reply[sizeof(struct vus_wire_shmem_config)];

	int fd;

	switch (r->answer) {
	case ACKED:
		expect_ack(fake, r->id, true);
		break;
	case REPLIED:
		expect_reply(fake, r->id, reply, r->reply);
		break;
	case REPLIED_FD:
		fd = expect_reply_fd(fake, r->id, reply, r->reply);
		assert_true(fd >= 0);
		fd_closep(&fd);
		break;
	}
}

/* --- each row ------------------------------------------------------------ */

static void
is_answered_once_if_asked(void **state)
{
	const struct request *r = *state;
	enum vus_next next;

	fake_negotiate(fake, 0);
	prepare(r);
	next = send_right(r, ASK);
	expect_answer(r);
	expect_alive(next);
}

static void
is_acknowledged_only_if_asked(void **state)
{
	const struct request *r = *state;
	enum vus_next next;

	fake_negotiate(fake, 0);
	prepare(r);
	next = send_right(r, VUS_VERSION);
	if (r->answer != ACKED)
		expect_answer(r);
	else
		expect_silence(fake);
	expect_alive(next);
}

static void
is_acknowledged_only_with_reply_ack(void **state)
{
	const struct request *r = *state;
	enum vus_next next;

	if (r->sample == SINGLE_REMOVED) {
		fake_negotiate(fake, 0);
		prepare(r);
	}
	fake_negotiate(fake, VUS_BIT(VUS_F_REPLY_ACK));
	next = send_right(r, ASK);
	if (r->answer != ACKED)
		expect_answer(r);
	else
		expect_silence(fake);
	expect_alive(next);
}

static void
with_a_byte_too_many_ends_the_connection(void **state)
{
	const struct request *r = *state;
	static struct shape shape;

	fake_negotiate(fake, 0);
	prepare(r);
	fill(r, &shape);
	shape.len = r->max + 1;
	expect_broken(send_shape(r, ASK, &shape), r->name);
}

static void
with_a_byte_too_few_ends_the_connection(void **state)
{
	const struct request *r = *state;
	static struct shape shape;

	fake_negotiate(fake, 0);
	prepare(r);
	fill(r, &shape);
	shape.len = r->min - 1;
	expect_broken(send_shape(r, ASK, &shape), r->name);
}

static void
with_the_largest_payload_ends_the_connection(void **state)
{
	const struct request *r = *state;
	static struct shape shape;

	fake_negotiate(fake, 0);
	prepare(r);
	fill(r, &shape);
	shape.len = VUS_PAYLOAD_MAX;
	expect_broken(send_shape(r, ASK, &shape), r->name);
}

static void
with_a_descriptor_too_many_ends_the_connection(void **state)
{
	const struct request *r = *state;
	static struct shape shape;

	fake_negotiate(fake, 0);
	prepare(r);
	fill(r, &shape);
	while (shape.nfds <= r->max_fds)
		add_fd(&shape, make_memfd(0));
	expect_broken(send_shape(r, ASK, &shape), r->name);
}

static void
with_a_descriptor_too_few_ends_the_connection(void **state)
{
	const struct request *r = *state;
	static struct shape shape;

	fake_negotiate(fake, 0);
	prepare(r);
	fill(r, &shape);
	fd_closep(&shape.fds[--shape.nfds]);
	expect_broken(send_shape(r, ASK, &shape), r->name);
}

static void
without_its_feature_is_refused(void **state)
{
	const struct request *r = *state;
	enum vus_next next;

	fake_negotiate(fake, r->feature);
	next = send_right(r, ASK);
	if (r->answer != ACKED) {
		/* An acknowledgement would be taken for the reply. */
		expect_broken(next, r->name);
		return;
	}
	expect_ack(fake, r->id, false);
	expect_alive(next);
}

static void
without_its_feature_and_unasked_ends_the_connection(void **state)
{
	const struct request *r = *state;

	fake_negotiate(fake, r->feature);
	expect_broken(send_right(r, VUS_VERSION), r->name);
}

static void
before_any_negotiation_is_not_acknowledged(void **state)
{
	const struct request *r = *state;
	enum vus_next next = send_right(r, ASK);

	if (r->answer != ACKED)
		expect_answer(r);
	else
		expect_silence(fake);
	expect_alive(next);
}

static void
with_reply_set_ends_the_connection(void **state)
{
	const struct request *r = *state;

	fake_negotiate(fake, 0);
	prepare(r);
	expect_broken(send_right(r, ASK | VUS_FLAG_REPLY), r->name);
}

static void
for_a_ring_that_is_not_there_is_refused(void **state)
{
	const struct request *r = *state;
	static const uint32_t rings[] = { FAKE_RINGS, FAKE_RINGS + 1, 255 };
	static struct shape shape;

	fake_negotiate(fake, 0);
	for (unsigned i = 0; i < ARRAY_LEN(rings); i++) {
		enum vus_next next;

		fill(r, &shape);
		memcpy(shape.payload, &rings[i], sizeof(rings[i]));
		next = send_shape(r, ASK, &shape);
		if (r->answer != ACKED) {
			expect_broken(next, r->name);
			return;
		}
		expect_ack(fake, r->id, false);
		expect_alive(next);
	}
}

static void
for_the_last_ring_is_carried_out(void **state)
{
	const struct request *r = *state;
	static struct shape shape;
	enum vus_next next;

	fake_negotiate(fake, 0);
	fill(r, &shape);
	shape.payload[0] = FAKE_RINGS - 1;
	next = send_shape(r, ASK, &shape);
	expect_answer(r);
	expect_alive(next);
}

/* --- requests that we do not have ---------------------------------------- */

static void
reconnect(void)
{
	fake_disconnect(fake);
	memset(fake->logged, 0, sizeof(fake->logged));
	fake_connect(fake);
	fake_negotiate(fake, 0);
}

static void
absent_requests_are_refused_whatever_they_carry(void **state)
{
	static const unsigned char payload[VUS_PAYLOAD_MAX];
	int fd = make_memfd(0);

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(absent); i++)
		for (unsigned size = 0; size <= VUS_PAYLOAD_MAX;
		     size += VUS_PAYLOAD_MAX / 2) {
			enum vus_next next;

			reconnect();
			next = fake_request(fake, absent[i].id, ASK, payload,
			    size, &fd, size != 0);
			if (absent[i].replied) {
				/* A u64 would be taken for the reply. */
				expect_broken(next, NULL);
				continue;
			}
			expect_ack(fake, absent[i].id, false);
			expect_alive(next);
		}
	fd_closep(&fd);
}

static void
absent_requests_unasked_end_the_connection(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(absent); i++) {
		reconnect();
		expect_broken(fake_request(fake, absent[i].id, VUS_VERSION,
				  NULL, 0, NULL, 0),
		    NULL);
	}
}

static void
unknown_requests_end_the_connection(void **state)
{
	static const uint32_t ids[] = { 0, 45, 46, 63, 64, 255, 256, 1U << 16,
		1U << 31, UINT32_MAX };
	int fd = make_memfd(0);

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(ids); i++) {
		reconnect();
		expect_broken(
		    fake_request(fake, ids[i], ASK, "12345678", 8, &fd, 1),
		    NULL);
	}
	fd_closep(&fd);
}

static void
every_id_is_a_row_or_absent(void **state)
{
	bool seen[64] = { false };

	(void)state; /* of this file: nothing is forgotten here */
	for (unsigned i = 0; i < ARRAY_LEN(requests); i++)
		seen[requests[i].id] = true;
	for (unsigned i = 0; i < ARRAY_LEN(absent); i++)
		seen[absent[i].id] = true;
	for (unsigned id = 1; id < VUS_REQUEST_END; id++)
		assert_true(seen[id]);
}

/* --- headers ------------------------------------------------------------- */

static void
another_version_ends_the_connection(void **state)
{
	(void)state;
	for (uint32_t version = 0; version <= VUS_VERSION_MASK; version++) {
		if (version == VUS_VERSION)
			continue;
		reconnect();
		expect_broken(
		    fake_request(fake, VUS_GET_FEATURES,
			version | VUS_FLAG_NEED_REPLY, NULL, 0, NULL, 0),
		    "GET_FEATURES");
	}
}

static void
a_reserved_flag_ends_the_connection(void **state)
{
	(void)state;
	for (unsigned bit = 4; bit < 32; bit++) {
		reconnect();
		expect_broken(fake_request(fake, VUS_GET_FEATURES,
				  VUS_VERSION | 1U << bit, NULL, 0, NULL, 0),
		    "GET_FEATURES");
	}
}

/* --- the whole ----------------------------------------------------------- */

static int
setup(void **state)
{
	(void)fds_before(state);
	fake = fake_new();
	fake->dialect.protocol_features |= VUS_BIT(VUS_F_INBAND_NOTIFICATIONS);
	fake_add_region(fake, 0, true);
	fake_connect(fake);
	return 0;
}

static int
teardown(void **state)
{
	fake_free(fake);
	return fds_after(state);
}

#define MAX_TESTS (ARRAY_LEN(requests) * 14)

static struct CMUnitTest tests[MAX_TESTS + 8];
static char names[MAX_TESTS][96];
static unsigned ntests, nnames;

static void
add(CMUnitTestFunction f, const char *name, const struct request *r)
{
	struct CMUnitTest *test = &tests[ntests++];

	if (r != NULL) {
		(void)snprintf(
		    names[nnames], sizeof(names[0]), "%s_%s", r->name, name);
		name = names[nnames++];
	}
	test->name = name;
	test->test_func = f;
	test->setup_func = setup;
	test->teardown_func = teardown;
	/* The state is not written to. */
	test->initial_state = (void *)(uintptr_t)r;
}

#define ADD(f, r) add(f, #f, r)

static void
add_row(const struct request *r)
{
	bool ring = r->sample == RING_STATE || r->sample == RING_ONE ||
		    r->sample == RING_ADDR || r->sample == RING_FD ||
		    r->sample == RING_ZERO;

	ADD(is_answered_once_if_asked, r);
	ADD(is_acknowledged_only_if_asked, r);
	/* INBAND_NOTIFICATIONS cannot be had without it. */
	if (r->id != VUS_VRING_KICK)
		ADD(is_acknowledged_only_with_reply_ack, r);
	ADD(with_a_byte_too_many_ends_the_connection, r);
	if (r->min != 0)
		ADD(with_a_byte_too_few_ends_the_connection, r);
	ADD(with_the_largest_payload_ends_the_connection, r);
	ADD(with_a_descriptor_too_many_ends_the_connection, r);
	if (r->min_fds != 0)
		ADD(with_a_descriptor_too_few_ends_the_connection, r);
	ADD(with_reply_set_ends_the_connection, r);
	if (r->feature != NONE) {
		ADD(without_its_feature_is_refused, r);
		ADD(without_its_feature_and_unasked_ends_the_connection, r);
	} else if (r->id != VUS_SET_VRING_ENABLE) {
		ADD(before_any_negotiation_is_not_acknowledged, r);
	}
	if (ring) {
		ADD(for_a_ring_that_is_not_there_is_refused, r);
		ADD(for_the_last_ring_is_carried_out, r);
	}
}

int
main(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(requests); i++)
		add_row(&requests[i]);
	ADD(absent_requests_are_refused_whatever_they_carry, NULL);
	ADD(absent_requests_unasked_end_the_connection, NULL);
	ADD(unknown_requests_end_the_connection, NULL);
	ADD(every_id_is_a_row_or_absent, NULL);
	ADD(another_version_ends_the_connection, NULL);
	ADD(a_reserved_flag_ends_the_connection, NULL);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	/* Entries without a name are not counted. */
	return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
