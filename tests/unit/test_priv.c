/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * priv.h: messages between supervisor and worker. Each type goes one way
 * with its number of descriptors; whatever deviates by a byte, a descriptor
 * or a number is malformed, and no descriptor of it stays.
 */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "daemon/common/priv.h"
#include "proto/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

/* A message of each type that carries this many descriptors. */
static const struct {
	enum priv_type type;
	enum priv_way way;
	unsigned nfds;
} types[] = {
	{ PRIV_DEVICE, PRIV_TO_WORKER, 0 },
	{ PRIV_SYNC, PRIV_TO_WORKER, 1 },
	{ PRIV_BEGIN, PRIV_TO_WORKER, 0 },
	{ PRIV_ASK, PRIV_TO_WORKER, 0 },
	{ PRIV_STATUS, PRIV_TO_SUPERVISOR, 0 },
	{ PRIV_BUILD, PRIV_TO_BUILDER, 0 },
	{ PRIV_DIAL, PRIV_TO_BUILDER, 0 },
	{ PRIV_CLOSE, PRIV_TO_BUILDER, 0 },
	{ PRIV_REFUSED, PRIV_TO_BUILDER, 0 },
	{ PRIV_ERASE, PRIV_TO_BUILDER, 1 },
	{ PRIV_FORGET, PRIV_TO_BUILDER, 0 },
	{ PRIV_HAVE_REGION, PRIV_FROM_BUILDER, 0 },
	{ PRIV_HAVE_REGION, PRIV_FROM_BUILDER, 2 },
	{ PRIV_HAVE_REGION, PRIV_FROM_BUILDER, 3 },
	{ PRIV_HAVE_DEVICE, PRIV_FROM_BUILDER, 0 },
	{ PRIV_HAVE_SHM, PRIV_FROM_BUILDER, 0 },
	{ PRIV_DOOR, PRIV_FROM_BUILDER, 0 },
	{ PRIV_DOOR, PRIV_FROM_BUILDER, 1 },
	{ PRIV_BUILT, PRIV_FROM_BUILDER, 0 },
	{ PRIV_ERASED, PRIV_FROM_BUILDER, 0 },
	{ PRIV_RESIZED, PRIV_FROM_BUILDER, 0 },
	{ PRIV_CLIENT, PRIV_TO_FLUSHER, 1 },
	{ PRIV_FAILED, PRIV_FROM_FLUSHER, 0 },
	{ PRIV_SETUP, PRIV_TO_WORKER, 0 },
	{ PRIV_REGIONS, PRIV_TO_WORKER, 1 },
	{ PRIV_REGIONS, PRIV_TO_WORKER, 2 },
	{ PRIV_REGIONS, PRIV_TO_WORKER, PRIV_REGIONS_MAX },
	{ PRIV_CONNECT, PRIV_TO_WORKER, 1 },
	{ PRIV_READY, PRIV_TO_SUPERVISOR, 0 },
	{ PRIV_LOG, PRIV_TO_SUPERVISOR, 0 },
	{ PRIV_SPAWN, PRIV_TO_SPAWNER, 1 },
	{ PRIV_SPAWNED, PRIV_FROM_SPAWNER, 0 },
};

static int ends[2];
static int files[PRIV_REGIONS_MAX + 2];
static int fds[PRIV_REGIONS_MAX]; /* of the last message */

static int
setup(void **state)
{
	(void)fds_before(state);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	for (unsigned i = 0; i < ARRAY_LEN(files); i++)
		files[i] = make_memfd(0);
	return 0;
}

static int
teardown(void **state)
{
	fd_closep(&ends[0]);
	fd_closep(&ends[1]);
	for (unsigned i = 0; i < ARRAY_LEN(files); i++)
		fd_closep(&files[i]);
	return fds_after(state);
}

#define PRIV_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static enum priv_way
other_way(enum priv_way way)
{
	return way == PRIV_TO_WORKER ? PRIV_TO_SUPERVISOR : PRIV_TO_WORKER;
}

static struct priv_msg
right_message(unsigned i)
{
	struct priv_msg msg;

	memset(&msg, (int)(0x40 + i), sizeof(msg));
	msg.version = PRIV_VERSION;
	msg.type = types[i].type;
	if (types[i].type == PRIV_REGIONS)
		msg.u.regions.n = types[i].nfds;
	if (types[i].type == PRIV_HAVE_REGION) {
		msg.u.have_region.is_new = types[i].nfds != 0;
		msg.u.have_region.synced = types[i].nfds == 3;
	}
	if (types[i].type == PRIV_DOOR)
		msg.u.door.rc = types[i].nfds != 0 ? 0 : -ENOENT;
	return msg;
}

static int
receive(enum priv_way way, struct priv_msg *msg)
{
	for (unsigned i = 0; i < PRIV_REGIONS_MAX; i++)
		fds[i] = 99;
	return priv_recv(ends[1], way, false, msg, fds);
}

static void
expect_no_fds(unsigned from)
{
	for (unsigned i = from; i < PRIV_REGIONS_MAX; i++)
		assert_int_equal(fds[i], -1);
}

/* A message as it stands, of len bytes, with nfds descriptors; the other
 * side finds it malformed and keeps nothing of it. */
static void
expect_malformed(
    enum priv_way way, const struct priv_msg *msg, size_t len, unsigned nfds)
{
	unsigned char bytes[sizeof(*msg) + 8] = { 0 };
	unsigned before = count_fds();
	struct priv_msg got;

	memcpy(bytes, msg, sizeof(*msg));
	peer_write(ends[0], bytes, len, files, nfds);
	assert_int_equal(receive(way, &got), -EBADMSG);
	expect_no_fds(0);
	assert_int_equal(count_fds(), before);
}

static void
each_type_goes_its_way_with_its_descriptors(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(types); i++) {
		struct priv_msg msg = right_message(i), got;

		msg.version = 99; /* is filled in */
		memset(&got, 0, sizeof(got));
		assert_int_equal(priv_send(ends[0], types[i].type, &msg, files,
				     types[i].nfds),
		    0);
		assert_int_equal(receive(types[i].way, &got), 1);
		assert_int_equal(got.type, types[i].type);
		assert_int_equal(got.version, PRIV_VERSION);
		assert_memory_equal(&got.u, &msg.u, sizeof(msg.u));
		for (unsigned k = 0; k < types[i].nfds; k++) {
			assert_true(same_file(fds[k], files[k]));
			assert_int_equal(
			    fcntl(fds[k], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
			fd_closep(&fds[k]);
		}
		expect_no_fds(types[i].nfds);
		assert_true(fcntl(files[0], F_GETFD) >= 0);
	}
}

static void
sending_with_descriptors_too_many_or_too_few_is_refused(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(types); i++)
		for (unsigned n = 0; n <= PRIV_REGIONS_MAX + 1; n++) {
			struct priv_msg msg = right_message(i);

			if (n == types[i].nfds)
				continue;
			assert_int_equal(
			    priv_send(ends[0], types[i].type, &msg, files, n),
			    -EINVAL);
			assert_int_equal(receive(types[i].way, &msg), -EAGAIN);
		}
}

static void
regions_are_1_to_32_in_a_message(void **state)
{
	static const uint32_t counts[] = { 0, PRIV_REGIONS_MAX + 1, 256,
		1U << 31, UINT32_MAX };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(counts); i++) {
		struct priv_msg msg = right_message(1);
		unsigned nfds = counts[i] <= PRIV_REGIONS_MAX + 1
				    ? counts[i]
				    : PRIV_REGIONS_MAX;

		msg.u.regions.n = counts[i];
		assert_int_equal(
		    priv_send(ends[0], PRIV_REGIONS, &msg, files, nfds),
		    -EINVAL);
		msg = right_message(1);
		msg.u.regions.n = counts[i];
		expect_malformed(PRIV_TO_WORKER, &msg, sizeof(msg), nfds);
	}
}

static void
a_message_that_goes_the_other_way_is_malformed(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(types); i++) {
		struct priv_msg msg = right_message(i);

		expect_malformed(
		    other_way(types[i].way), &msg, sizeof(msg), types[i].nfds);
	}
}

static void
a_message_of_another_size_is_malformed(void **state)
{
	static const size_t sizes[] = { 1, 4, 8, sizeof(struct priv_msg) - 1,
		sizeof(struct priv_msg) + 1, sizeof(struct priv_msg) + 8 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(types); i++)
		for (unsigned k = 0; k < ARRAY_LEN(sizes); k++) {
			struct priv_msg msg = right_message(i);

			expect_malformed(
			    types[i].way, &msg, sizes[k], types[i].nfds);
		}
}

static void
descriptors_too_many_or_too_few_are_malformed_and_closed(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(types); i++)
		for (unsigned nfds = 0; nfds <= PRIV_REGIONS_MAX + 2; nfds++) {
			struct priv_msg msg = right_message(i);

			if (nfds != types[i].nfds)
				expect_malformed(
				    types[i].way, &msg, sizeof(msg), nfds);
		}
}

static void
another_version_is_malformed(void **state)
{
	static const uint32_t versions[] = { 0, PRIV_VERSION - 1,
		PRIV_VERSION + 1, UINT32_MAX };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(types); i++)
		for (unsigned k = 0; k < ARRAY_LEN(versions); k++) {
			struct priv_msg msg = right_message(i);

			msg.version = versions[k];
			expect_malformed(
			    types[i].way, &msg, sizeof(msg), types[i].nfds);
		}
}

static void
an_unknown_type_is_malformed(void **state)
{
	static const uint32_t unknown[] = { 0, PRIV_TYPE_END, PRIV_TYPE_END + 1,
		1U << 31, UINT32_MAX };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(types); i++)
		for (unsigned k = 0; k < ARRAY_LEN(unknown); k++) {
			struct priv_msg msg = right_message(i);

			msg.type = unknown[k];
			expect_malformed(
			    types[i].way, &msg, sizeof(msg), types[i].nfds);
		}
}

static void
an_end_is_told_from_nothing_yet(void **state)
{
	struct priv_msg msg;

	(void)state;
	assert_int_equal(receive(PRIV_TO_WORKER, &msg), -EAGAIN);
	expect_no_fds(0);
	fd_closep(&ends[0]);
	assert_int_equal(receive(PRIV_TO_WORKER, &msg), 0);
	assert_int_equal(
	    priv_recv(ends[1], PRIV_TO_WORKER, true, &msg, fds), 0);
}

static void
an_empty_packet_is_an_end_and_leaks_nothing(void **state)
{
	unsigned before = count_fds();
	struct priv_msg msg;

	(void)state;
	peer_write(ends[0], "", 0, files, 3);
	assert_int_equal(receive(PRIV_TO_WORKER, &msg), 0);
	expect_no_fds(0);
	assert_int_equal(count_fds(), before);
}

static void
a_full_socket_is_told_and_does_not_block(void **state)
{
	struct priv_msg msg = { 0 };
	unsigned sent = 0, got = 0;
	int rc;

	(void)state;
	shrink_sndbuf(ends[0]);
	while ((rc = priv_send(ends[0], PRIV_LOG, &msg, NULL, 0)) == 0)
		sent++;
	assert_int_equal(rc, -EAGAIN);
	while (receive(PRIV_TO_SUPERVISOR, &msg) == 1)
		got++;
	assert_int_equal(got, sent);
	assert_int_equal(priv_send(ends[0], PRIV_LOG, &msg, NULL, 0), 0);
}

static void
all_that_a_worker_is_sent_fits_into_its_socket(void **state)
{
	/* SETUP, 256 regions and CONNECT, before it has read anything. */
	unsigned regions = 3;

	(void)state;
	for (unsigned i = 0; i < 256 / PRIV_REGIONS_MAX + 2; i++) {
		unsigned k = i == 0			       ? 0
			     : i == 256 / PRIV_REGIONS_MAX + 1 ? 4
							       : regions;
		struct priv_msg msg = right_message(k);

		assert_int_equal(priv_send(ends[0], types[k].type, &msg, files,
				     types[k].nfds),
		    0);
	}
}

static void
a_peer_that_is_gone_is_an_error_and_no_signal(void **state)
{
	struct priv_msg msg = { 0 };

	(void)state;
	fd_closep(&ends[1]);
	assert_int_equal(priv_send(ends[0], PRIV_LOG, &msg, NULL, 0), -EPIPE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PRIV_TEST(each_type_goes_its_way_with_its_descriptors),
		PRIV_TEST(
		    sending_with_descriptors_too_many_or_too_few_is_refused),
		PRIV_TEST(regions_are_1_to_32_in_a_message),
		PRIV_TEST(a_message_that_goes_the_other_way_is_malformed),
		PRIV_TEST(a_message_of_another_size_is_malformed),
		PRIV_TEST(
		    descriptors_too_many_or_too_few_are_malformed_and_closed),
		PRIV_TEST(another_version_is_malformed),
		PRIV_TEST(an_unknown_type_is_malformed),
		PRIV_TEST(an_end_is_told_from_nothing_yet),
		PRIV_TEST(an_empty_packet_is_an_end_and_leaks_nothing),
		PRIV_TEST(a_full_socket_is_told_and_does_not_block),
		PRIV_TEST(all_that_a_worker_is_sent_fits_into_its_socket),
		PRIV_TEST(a_peer_that_is_gone_is_an_error_and_no_signal),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("priv", tests, NULL, NULL);
}
