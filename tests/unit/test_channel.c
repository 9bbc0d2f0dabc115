/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * channel.h: messages in any pieces, descriptors in any place, a peer that
 * does not read, and who owns which descriptor. Linked with --wrap for sendmsg
 * and recvmsg, so that the kernel can be made to take a few bytes only, or to
 * be interrupted.
 */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "proto/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define HEADER sizeof(struct vus_wire_header)
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

/* --- the kernel, bent ---------------------------------------------------- */

static unsigned interrupts; /* calls that fail with EINTR from now on */
static size_t send_limit;   /* bytes that one sendmsg takes; 0: all */
static unsigned calls;

ssize_t __real_sendmsg(int fd, const struct msghdr *mh, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *mh, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *mh, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *mh, int flags);

static bool
interrupted(void)
{
	calls++;
	if (interrupts == 0)
		return false;
	interrupts--;
	errno = EINTR;
	return true;
}

ssize_t
__wrap_sendmsg(int fd, const struct msghdr *mh, int flags)
{
	struct iovec iov = mh->msg_iov[0];
	struct msghdr less = *mh;

	if (interrupted())
		return -1;
	if (send_limit != 0 && iov.iov_len > send_limit)
		iov.iov_len = send_limit;
	less.msg_iov = &iov;
	return __real_sendmsg(fd, &less, flags);
}

ssize_t
__wrap_recvmsg(int fd, struct msghdr *mh, int flags)
{
	return interrupted() ? -1 : __real_recvmsg(fd, mh, flags);
}

/* --- the fixture --------------------------------------------------------- */

static struct vus_chan chan;
static struct vus_msg msg;
static int peer;

static int
setup(void **state)
{
	int pair[2];

	(void)fds_before(state);
	make_pair(pair);
	vus_chan_init(&chan, pair[0]);
	peer = pair[1];
	return 0;
}

static int
teardown(void **state)
{
	interrupts = 0;
	send_limit = 0;
	vus_msg_close(&msg);
	vus_chan_close(&chan);
	fd_closep(&peer);
	return fds_after(state);
}

#define CHAN_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* n descriptors of one file. */
static void
make_fds(int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		fds[i] = make_memfd(0);
}

static void
close_fds(int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		fd_closep(&fds[i]);
}

/* Send a request with a payload of len bytes and nfds new descriptors. */
static void
send_with_fds(uint32_t request, size_t len, unsigned nfds)
{
	static const unsigned char payload[VUS_PAYLOAD_MAX];
	int fds[64] = { 0 };

	make_fds(fds, nfds);
	peer_send(peer, request, VUS_VERSION, payload, len, fds, nfds);
	close_fds(fds, nfds);
}

static void
expect_message(uint32_t request, size_t size, unsigned nfds)
{
	assert_int_equal(vus_chan_take(&chan, &msg), VUS_CHAN_OK);
	assert_int_equal(msg.head.request, request);
	assert_int_equal(msg.head.size, size);
	assert_int_equal(msg.nfds, nfds);
}

static void
expect_broken(enum vus_chan_status status)
{
	assert_int_equal(status, VUS_CHAN_BROKEN);
	assert_non_null(chan.why);
}

/* --- input --------------------------------------------------------------- */

static void
a_whole_message_costs_one_call(void **state)
{
	(void)state;
	send_with_fds(5, 100, 3);
	calls = 0;
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
	expect_message(5, 100, 3);
	assert_int_equal(calls, 1);
	vus_msg_close(&msg);
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_AGAIN);
	assert_int_equal(vus_chan_take(&chan, &msg), VUS_CHAN_AGAIN);
}

static void
a_message_may_come_byte_by_byte(void **state)
{
	unsigned char buf[64];
	size_t len = build_msg(buf, 9, VUS_VERSION, "payload!", 8);
	int fd = make_memfd(0);

	(void)state;
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(vus_chan_take(&chan, &msg), VUS_CHAN_AGAIN);
		assert_int_equal(msg.nfds, 0);
		peer_write(peer, buf + i, 1, &fd, i == 0);
		assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
	}
	expect_message(9, 8, 1);
	assert_memory_equal(msg.payload, "payload!", 8);
	assert_true(same_file(msg.fds[0], fd));
	fd_closep(&fd);
}

static void
several_messages_may_come_in_one_write(void **state)
{
	unsigned char buf[256];
	size_t len = 0;

	(void)state;
	for (unsigned i = 1; i <= 3; i++)
		len += build_msg(buf + len, i, VUS_VERSION, "abcdefgh", i);
	peer_write(peer, buf, len, NULL, 0);
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
	for (unsigned i = 1; i <= 3; i++) {
		expect_message(i, i, 0);
		assert_memory_equal(msg.payload, "abcdefgh", i);
	}
	assert_int_equal(vus_chan_take(&chan, &msg), VUS_CHAN_AGAIN);
}

static void
the_rest_of_a_message_may_come_with_the_next_ones(void **state)
{
	unsigned char buf[256];
	size_t first = build_msg(buf, 1, VUS_VERSION, "abcdefgh", 8);
	size_t len = first + build_msg(buf + first, 2, VUS_VERSION, NULL, 0);

	(void)state;
	len += build_msg(buf + len, 3, VUS_VERSION, "x", 1);
	for (size_t cut = 1; cut < len; cut++) {
		peer_write(peer, buf, cut, NULL, 0);
		assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
		peer_write(peer, buf + cut, len - cut, NULL, 0);
		assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
		expect_message(1, 8, 0);
		expect_message(2, 0, 0);
		expect_message(3, 1, 0);
		assert_int_equal(vus_chan_take(&chan, &msg), VUS_CHAN_AGAIN);
	}
}

static void
each_message_gets_its_own_descriptors(void **state)
{
	int fds[3];

	(void)state;
	make_fds(fds, 3);
	/* 1 has none, 2 has one, 3 has two, 4 has none: all lie in the socket
	 * before the first read. */
	peer_send(peer, 1, VUS_VERSION, "abcd", 4, NULL, 0);
	peer_send(peer, 2, VUS_VERSION, "abcd", 4, &fds[0], 1);
	peer_send(peer, 3, VUS_VERSION, NULL, 0, &fds[1], 2);
	peer_send(peer, 4, VUS_VERSION, NULL, 0, NULL, 0);
	while (vus_chan_fill(&chan) == VUS_CHAN_OK)
		continue;
	expect_message(1, 4, 0);
	expect_message(2, 4, 1);
	assert_true(same_file(msg.fds[0], fds[0]));
	vus_msg_close(&msg);
	expect_message(3, 0, 2);
	assert_true(same_file(msg.fds[0], fds[1]));
	assert_true(same_file(msg.fds[1], fds[2]));
	vus_msg_close(&msg);
	expect_message(4, 0, 0);
	close_fds(fds, 3);
}

static void
descriptors_belong_to_a_message_that_begins_behind_a_rest(void **state)
{
	unsigned char buf[64];
	size_t len = build_msg(buf, 1, VUS_VERSION, "abcdefgh", 8);

	(void)state;
	peer_write(peer, buf, len - 3, NULL, 0);
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
	peer_write(peer, buf + len - 3, 3, NULL, 0);
	send_with_fds(2, 16, 2);
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
	expect_message(1, 8, 0);
	expect_message(2, 16, 2);
}

static void
a_received_descriptor_is_closed_on_exec(void **state)
{
	(void)state;
	send_with_fds(1, 0, 1);
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
	expect_message(1, 0, 1);
	assert_int_equal(fcntl(msg.fds[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

static void
descriptors_in_the_middle_of_a_message_break_the_channel(void **state)
{
	unsigned char buf[64];
	size_t len = build_msg(buf, 1, VUS_VERSION, "abcdefgh", 8);
	int fd = make_memfd(0);

	(void)state;
	for (size_t cut = 1; cut < len; cut++) {
		int pair[2];

		make_pair(pair);
		vus_chan_close(&chan);
		vus_chan_init(&chan, pair[0]);
		peer_write(pair[1], buf, cut, NULL, 0);
		assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
		peer_write(pair[1], buf + cut, len - cut, &fd, 1);
		expect_broken(vus_chan_fill(&chan));
		fd_closep(&pair[1]);
	}
	fd_closep(&fd);
}

static void
the_most_descriptors_of_a_message_arrive(void **state)
{
	(void)state;
	send_with_fds(5, 8, VUS_FDS_MAX);
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
	expect_message(5, 8, VUS_FDS_MAX);
	for (unsigned i = 0; i < VUS_FDS_MAX; i++)
		assert_true(fcntl(msg.fds[i], F_GETFD) >= 0);
}

/* What options of the socket bring: whoever has handed it over can have set
 * them. */
static void
what_nobody_asked_for_is_closed(void **state)
{
	unsigned n = count_fds();
	int on = 1;

	(void)state;
	if (setsockopt(chan.fd, SOL_SOCKET, SO_PASSPIDFD, &on, sizeof(on)) < 0)
		assert_int_equal(errno, ENOPROTOOPT); /* before Linux 6.5 */
	assert_int_equal(
	    setsockopt(chan.fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
	send_with_fds(5, 8, VUS_FDS_MAX);
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
	assert_int_equal(count_fds(), n + VUS_FDS_MAX);
	expect_message(5, 8, VUS_FDS_MAX);
	vus_msg_close(&msg);
	/* Where bytes alone are expected it is not put up with. */
	chan.bare = true;
	send_with_fds(5, 8, 0);
	expect_broken(vus_chan_fill(&chan));
	assert_int_equal(count_fds(), n);
}

static void
a_bare_channel_takes_bytes_and_no_descriptor(void **state)
{
	(void)state;
	chan.bare = true;
	send_with_fds(5, 8, 0);
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
	expect_message(5, 8, 0);
	send_with_fds(5, 8, 1);
	expect_broken(vus_chan_fill(&chan));
	assert_int_equal(chan.nfds, 0);
}

static void
one_descriptor_more_breaks_the_channel(void **state)
{
	(void)state;
	send_with_fds(5, 8, VUS_FDS_MAX + 1);
	expect_broken(vus_chan_fill(&chan));
}

static void
descriptors_of_messages_that_nobody_takes_are_bounded(void **state)
{
	enum vus_chan_status status = VUS_CHAN_OK;
	unsigned n = 0;

	(void)state;
	for (; status == VUS_CHAN_OK && n < 10; n++) {
		send_with_fds(5, 8, VUS_FDS_MAX);
		status = vus_chan_fill(&chan);
	}
	expect_broken(status);
	assert_int_equal(n, 3);
}

static void
the_largest_payload_arrives(void **state)
{
	static unsigned char payload[VUS_PAYLOAD_MAX];

	(void)state;
	memset(payload, 0xa5, sizeof(payload));
	peer_send(peer, 7, VUS_VERSION, payload, sizeof(payload), NULL, 0);
	/* One byte of it stays outside at first. */
	while (vus_chan_fill(&chan) == VUS_CHAN_OK)
		if (chan.in_len == HEADER + VUS_PAYLOAD_MAX)
			break;
	expect_message(7, VUS_PAYLOAD_MAX, 0);
	assert_memory_equal(msg.payload, payload, sizeof(payload));
}

static void
a_larger_payload_breaks_the_channel_by_its_header(void **state)
{
	static const uint32_t sizes[] = { VUS_PAYLOAD_MAX + 1, 1U << 20,
		UINT32_MAX - HEADER, UINT32_MAX };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		struct vus_wire_header head = {
			.request = 1, .flags = VUS_VERSION, .size = sizes[i]
		};
		int pair[2];

		make_pair(pair);
		vus_chan_close(&chan);
		vus_chan_init(&chan, pair[0]);
		peer_write(pair[1], &head, sizeof(head), NULL, 0);
		assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
		expect_broken(vus_chan_take(&chan, &msg));
		assert_int_equal(msg.nfds, 0);
		fd_closep(&pair[1]);
	}
}

static void
descriptors_of_a_message_too_large_are_closed_with_the_channel(void **state)
{
	struct vus_wire_header head = {
		.request = 1, .flags = VUS_VERSION, .size = VUS_PAYLOAD_MAX + 1
	};
	int fd = make_memfd(0);

	(void)state;
	peer_write(peer, &head, sizeof(head), &fd, 1);
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
	expect_broken(vus_chan_take(&chan, &msg));
	assert_int_equal(msg.nfds, 0);
	fd_closep(&fd);
}

static void
a_peer_that_hangs_up_between_messages_is_at_its_end(void **state)
{
	(void)state;
	send_with_fds(1, 4, 1);
	fd_closep(&peer);
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
	expect_message(1, 4, 1);
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_EOF);
}

static void
a_peer_that_dies_before_it_has_read_all_is_at_its_end(void **state)
{
	/* A front-end that is killed while a reply is on its way: the kernel
	 * says ECONNRESET, but it has hung up in between messages. */
	(void)state;
	assert_int_equal(vus_chan_send(&chan, 1, 0, "abcd", 4, -1), 0);
	fd_closep(&peer);
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_EOF);
}

static void
half_a_message_and_a_hang_up_break_the_channel(void **state)
{
	unsigned char buf[64];
	size_t len = build_msg(buf, 1, VUS_VERSION, "abcdefgh", 8);
	int fd = make_memfd(0);

	(void)state;
	for (size_t cut = 1; cut < len; cut++) {
		int pair[2];

		make_pair(pair);
		vus_chan_close(&chan);
		vus_chan_init(&chan, pair[0]);
		peer_write(pair[1], buf, cut, &fd, 1);
		fd_closep(&pair[1]);
		assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
		assert_int_equal(vus_chan_take(&chan, &msg), VUS_CHAN_AGAIN);
		expect_broken(vus_chan_fill(&chan));
	}
	fd_closep(&fd);
}

static void
an_interrupted_read_is_repeated(void **state)
{
	(void)state;
	send_with_fds(1, 0, 0);
	interrupts = 3;
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
	expect_message(1, 0, 0);
}

static void
a_read_that_fails_breaks_the_channel(void **state)
{
	int file = make_memfd(0);

	(void)state;
	vus_chan_close(&chan);
	vus_chan_init(&chan, file); /* ENOTSOCK */
	expect_broken(vus_chan_fill(&chan));
}

static void
a_full_buffer_that_nobody_takes_from_breaks_the_channel(void **state)
{
	enum vus_chan_status status = VUS_CHAN_OK;
	unsigned n = 0;

	(void)state;
	for (; status == VUS_CHAN_OK && n < 10; n++) {
		send_with_fds(1, VUS_PAYLOAD_MAX - HEADER, 0);
		status = vus_chan_fill(&chan);
	}
	expect_broken(status);
}

/* --- descriptors of a message -------------------------------------------- */

static void
a_descriptor_that_is_taken_is_the_callers(void **state)
{
	int fd;

	(void)state;
	send_with_fds(1, 0, 1);
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
	expect_message(1, 0, 1);
	fd = vus_msg_take_fd(&msg);
	assert_true(fd >= 0);
	assert_int_equal(msg.fds[0], -1);
	vus_msg_close(&msg);
	assert_int_equal(msg.nfds, 0);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	fd_closep(&fd);
}

static void
a_message_without_descriptors_has_none_to_take(void **state)
{
	(void)state;
	send_with_fds(1, 0, 0);
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
	expect_message(1, 0, 0);
	assert_int_equal(vus_msg_take_fd(&msg), -1);
}

static void
descriptors_of_messages_that_stay_are_closed_with_the_channel(void **state)
{
	(void)state; /* teardown counts */
	send_with_fds(1, 0, 4);
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
	send_with_fds(2, 0, 4);
	assert_int_equal(vus_chan_fill(&chan), VUS_CHAN_OK);
}

static void
a_closed_channel_can_be_closed_again(void **state)
{
	(void)state;
	vus_chan_close(&chan);
	assert_int_equal(chan.fd, -1);
	vus_chan_close(&chan);
	assert_int_equal(chan.fd, -1);
}

/* --- output -------------------------------------------------------------- */

static void
a_message_is_sent_by_one_call_with_its_descriptor(void **state)
{
	struct peer_msg got;
	int fd = make_memfd(0);

	(void)state;
	calls = 0;
	assert_int_equal(
	    vus_chan_send(&chan, 9, VUS_FLAG_NEED_REPLY, "abcd", 4, fd), 0);
	assert_int_equal(calls, 1);
	assert_false(vus_chan_blocked(&chan));
	assert_true(peer_recv(peer, &got));
	assert_int_equal(got.head.request, 9);
	assert_int_equal(got.head.flags, VUS_VERSION | VUS_FLAG_NEED_REPLY);
	assert_int_equal(got.head.size, 4);
	assert_memory_equal(got.payload, "abcd", 4);
	assert_true(same_file(got.fd, fd));
	assert_true(fcntl(fd, F_GETFD) >= 0);
	fd_closep(&got.fd);
	fd_closep(&fd);
}

static void
the_largest_reply_is_sent_and_none_larger(void **state)
{
	static const unsigned char
	    payload[sizeof(struct vus_wire_shmem_config) + 1];
	struct peer_msg got;

	(void)state;
	assert_true(
	    vus_chan_send(&chan, 44, 0, payload, sizeof(payload), -1) < 0);
	assert_false(peer_recv(peer, &got));
	assert_int_equal(
	    vus_chan_send(&chan, 44, 0, payload, sizeof(payload) - 1, -1), 0);
	assert_true(peer_recv(peer, &got));
	assert_int_equal(got.head.size, sizeof(payload) - 1);
}

static void
an_interrupted_send_is_repeated(void **state)
{
	struct peer_msg got;

	(void)state;
	interrupts = 3;
	assert_int_equal(vus_chan_send(&chan, 1, 0, "ab", 2, -1), 0);
	assert_int_equal(interrupts, 0);
	assert_true(peer_recv(peer, &got));
}

static void
what_the_socket_does_not_take_is_kept_in_order(void **state)
{
	struct peer_msg got;
	unsigned flushes = 0;

	(void)state;
	send_limit = 5;
	assert_int_equal(vus_chan_send(&chan, 1, 0, "abcdefgh", 8, -1), 0);
	assert_true(vus_chan_blocked(&chan));
	/* No second message before the first is out. */
	assert_true(vus_chan_send(&chan, 2, 0, NULL, 0, -1) < 0);
	for (; vus_chan_blocked(&chan); flushes++)
		assert_int_equal(vus_chan_flush(&chan), 0);
	assert_int_equal(flushes, 3);
	assert_int_equal(vus_chan_flush(&chan), 0);
	assert_true(peer_recv(peer, &got));
	assert_int_equal(got.head.request, 1);
	assert_memory_equal(got.payload, "abcdefgh", 8);
	assert_false(peer_recv(peer, &got));
}

/* Send until the peer's buffer is full; returns the messages kept or sent. */
static unsigned
send_until_blocked(void)
{
	unsigned n = 0;

	shrink_sndbuf(chan.fd);
	for (; !vus_chan_blocked(&chan); n++)
		assert_int_equal(vus_chan_send(&chan, n, 0, "ab", 2, -1), 0);
	return n;
}

static void
a_peer_that_does_not_read_blocks_and_loses_nothing(void **state)
{
	struct peer_msg got;
	unsigned n, seen = 0;

	(void)state;
	n = send_until_blocked();
	assert_int_equal(vus_chan_flush(&chan), 0);
	assert_true(vus_chan_blocked(&chan));
	for (; peer_recv(peer, &got); seen++) {
		assert_int_equal(got.head.request, seen);
		assert_int_equal(vus_chan_flush(&chan), 0);
	}
	assert_false(vus_chan_blocked(&chan));
	assert_int_equal(seen, n);
}

static void
a_message_with_a_descriptor_leaves_whole_or_not_at_all(void **state)
{
	struct peer_msg got;
	unsigned n = 0, seen = 0;
	int fd = make_memfd(0), rc;

	(void)state;
	shrink_sndbuf(chan.fd);
	while ((rc = vus_chan_send(&chan, 9, 0, "ab", 2, fd)) == 0)
		n++;
	assert_int_equal(rc, -EAGAIN);
	assert_false(vus_chan_blocked(&chan));
	for (; peer_recv(peer, &got); seen++)
		fd_closep(&got.fd);
	assert_int_equal(seen, n);
	assert_int_equal(vus_chan_send(&chan, 9, 0, "ab", 2, fd), 0);
	assert_true(peer_recv(peer, &got));
	fd_closep(&got.fd);
	fd_closep(&fd);
}

static void
sending_to_a_peer_that_is_gone_is_an_error_and_no_signal(void **state)
{
	(void)state;
	(void)signal(SIGPIPE, SIG_DFL);
	fd_closep(&peer);
	assert_int_equal(vus_chan_send(&chan, 1, 0, NULL, 0, -1), -EPIPE);
	assert_false(vus_chan_blocked(&chan));
}

static void
flushing_to_a_peer_that_is_gone_is_an_error(void **state)
{
	(void)state;
	(void)send_until_blocked();
	fd_closep(&peer);
	assert_true(vus_chan_flush(&chan) < 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CHAN_TEST(a_whole_message_costs_one_call),
		CHAN_TEST(a_message_may_come_byte_by_byte),
		CHAN_TEST(several_messages_may_come_in_one_write),
		CHAN_TEST(the_rest_of_a_message_may_come_with_the_next_ones),
		CHAN_TEST(each_message_gets_its_own_descriptors),
		CHAN_TEST(
		    descriptors_belong_to_a_message_that_begins_behind_a_rest),
		CHAN_TEST(a_received_descriptor_is_closed_on_exec),
		CHAN_TEST(
		    descriptors_in_the_middle_of_a_message_break_the_channel),
		CHAN_TEST(the_most_descriptors_of_a_message_arrive),
		CHAN_TEST(what_nobody_asked_for_is_closed),
		CHAN_TEST(a_bare_channel_takes_bytes_and_no_descriptor),
		CHAN_TEST(one_descriptor_more_breaks_the_channel),
		CHAN_TEST(
		    descriptors_of_messages_that_nobody_takes_are_bounded),
		CHAN_TEST(the_largest_payload_arrives),
		CHAN_TEST(a_larger_payload_breaks_the_channel_by_its_header),
		CHAN_TEST(
		    descriptors_of_a_message_too_large_are_closed_with_the_channel),
		CHAN_TEST(a_peer_that_hangs_up_between_messages_is_at_its_end),
		CHAN_TEST(
		    a_peer_that_dies_before_it_has_read_all_is_at_its_end),
		CHAN_TEST(half_a_message_and_a_hang_up_break_the_channel),
		CHAN_TEST(an_interrupted_read_is_repeated),
		CHAN_TEST(a_read_that_fails_breaks_the_channel),
		CHAN_TEST(
		    a_full_buffer_that_nobody_takes_from_breaks_the_channel),
		CHAN_TEST(a_descriptor_that_is_taken_is_the_callers),
		CHAN_TEST(a_message_without_descriptors_has_none_to_take),
		CHAN_TEST(
		    descriptors_of_messages_that_stay_are_closed_with_the_channel),
		CHAN_TEST(a_closed_channel_can_be_closed_again),
		CHAN_TEST(a_message_is_sent_by_one_call_with_its_descriptor),
		CHAN_TEST(the_largest_reply_is_sent_and_none_larger),
		CHAN_TEST(an_interrupted_send_is_repeated),
		CHAN_TEST(what_the_socket_does_not_take_is_kept_in_order),
		CHAN_TEST(a_peer_that_does_not_read_blocks_and_loses_nothing),
		CHAN_TEST(
		    a_message_with_a_descriptor_leaves_whole_or_not_at_all),
		CHAN_TEST(
		    sending_to_a_peer_that_is_gone_is_an_error_and_no_signal),
		CHAN_TEST(flushing_to_a_peer_that_is_gone_is_an_error),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
