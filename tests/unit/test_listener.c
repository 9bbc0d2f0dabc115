/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * listener.h: which paths and inherited descriptors are taken, stale sockets,
 * who may connect, and that only our own socket is unlinked.
 */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "daemon/builder/listener.h"
#include "proto/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[64], path[sizeof(dir) + 8];
static struct listener l;

static int
setup(void **state)
{
	(void)fds_before(state);
	(void)snprintf(dir, sizeof(dir), "/tmp/unit-listener-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/sock", dir);
	l = (struct listener){ .fd = -1 };
	return 0;
}

static int
teardown(void **state)
{
	listener_close(&l);
	(void)unlink(path);
	assert_int_equal(rmdir(dir), 0); /* nothing else is left */
	return fds_after(state);
}

#define LISTENER_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static struct sockaddr_un
address_of(const char *at)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	assert_true(strlen(at) < sizeof(address.sun_path));
	memcpy(address.sun_path, at, strlen(at));
	return address;
}

/* A socket of this type bound to path; listening if it should be. */
static int
bind_socket(int type, bool listening)
{
	struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(
	    bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	if (listening)
		assert_int_equal(listen(fd, 0), 0);
	return fd;
}

static int
try_connect(void)
{
	struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fd_closep(&fd);
	return fd;
}

static int
open_path(const char *at)
{
	return listener_open_path(&l, at, 0600, (uid_t)-1, (gid_t)-1);
}

/* Both ways to ask say the same. */
static void
expect_path(const char *at, int rc)
{
	assert_int_equal(listener_check_path(at), rc);
	assert_int_equal(open_path(at), rc);
	if (rc < 0)
		assert_int_equal(l.fd, -1);
}

/* --- paths --------------------------------------------------------------- */

static void
a_free_path_gets_a_socket_that_can_be_connected_to(void **state)
{
	int client, server;

	(void)state;
	expect_path(path, 0);
	assert_true(l.fd >= 0);
	assert_false(l.connected);
	assert_int_equal(fcntl(l.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(l.fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	client = try_connect();
	assert_true(client >= 0);
	server = accept(l.fd, NULL, NULL);
	assert_true(server >= 0);
	fd_closep(&client);
	fd_closep(&server);
}

static void
only_the_owner_may_connect_whatever_the_umask(void **state)
{
	static const mode_t masks[] = { 0, 022, 0177, 0777 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(masks); i++) {
		mode_t saved = umask(masks[i]);
		struct stat st;
		int rc = open_path(path);

		/* It leaves the umask as it was. */
		assert_int_equal(umask(saved), masks[i]);
		assert_int_equal(rc, 0);
		assert_int_equal(lstat(path, &st), 0);
		assert_true(S_ISSOCK(st.st_mode));
		assert_int_equal(st.st_mode & 07777, 0600);
		listener_close(&l);
	}
}

static void
asking_leaves_no_trace(void **state)
{
	int stale;

	(void)state;
	assert_int_equal(listener_check_path(path), 0);
	assert_int_equal(access(path, F_OK), -1);
	stale = bind_socket(SOCK_STREAM, false);
	fd_closep(&stale);
	assert_int_equal(listener_check_path(path), 0);
	assert_int_equal(access(path, F_OK), 0);
}

static void
a_stale_socket_is_replaced(void **state)
{
	int fd = bind_socket(SOCK_STREAM, true);

	(void)state;
	fd_closep(&fd);
	expect_path(path, 0);
	fd = try_connect();
	assert_true(fd >= 0);
	fd_closep(&fd);
}

static void
a_live_socket_is_left_alone(void **state)
{
	int fd = bind_socket(SOCK_STREAM, true), client;

	(void)state;
	expect_path(path, -EADDRINUSE);
	client = try_connect();
	/* The queue of one may be full with what was asked before. */
	assert_true(client >= 0 || errno == EAGAIN);
	fd_closep(&client);
	fd_closep(&fd);
}

static void
a_live_socket_with_a_full_queue_is_left_alone(void **state)
{
	int fd = bind_socket(SOCK_STREAM, true), clients[8];
	unsigned n = 0;

	(void)state;
	while (n < ARRAY_LEN(clients) && (clients[n] = try_connect()) >= 0)
		n++;
	assert_true(n < ARRAY_LEN(clients)); /* it is full */
	expect_path(path, -EADDRINUSE);
	while (n > 0)
		fd_closep(&clients[--n]);
	fd_closep(&fd);
}

static void
what_is_no_socket_is_left_alone(void **state)
{
	char text[4] = { 0 };
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	(void)state;
	assert_int_equal(write(fd, "abc", 3), 3);
	expect_path(path, -EEXIST);
	assert_int_equal(pread(fd, text, 3, 0), 3);
	assert_string_equal(text, "abc");
	assert_int_equal(unlink(path), 0);
	fd_closep(&fd);
	assert_int_equal(mkdir(path, 0700), 0);
	expect_path(path, -EEXIST);
	assert_int_equal(rmdir(path), 0);
	/* Links are not followed, also not such that lead nowhere. */
	assert_int_equal(symlink("nowhere", path), 0);
	expect_path(path, -EEXIST);
}

static void
a_path_must_fit_into_an_address(void **state)
{
	struct sockaddr_un address;
	char at[sizeof(address.sun_path) + 2];
	size_t prefix = (size_t)snprintf(at, sizeof(at), "%s/", dir);

	(void)state;
	memset(at + prefix, 'x', sizeof(at) - prefix);
	for (size_t len = sizeof(address.sun_path) - 1; len < sizeof(at);
	     len++) {
		at[len] = '\0';
		expect_path(
		    at, len < sizeof(address.sun_path) ? 0 : -ENAMETOOLONG);
		listener_close(&l);
		at[len] = 'x';
	}
}

static void
a_path_in_no_directory_is_refused(void **state)
{
	char at[sizeof(path) + 8];

	(void)state;
	(void)snprintf(at, sizeof(at), "%s/a/b", dir);
	assert_int_equal(open_path(at), -ENOENT);
	assert_int_equal(l.fd, -1);
}

static void
an_empty_path_is_refused(void **state)
{
	(void)state; /* bind() would make it an abstract address */
	assert_true(open_path("") < 0);
	assert_int_equal(l.fd, -1);
}

/* --- the end ------------------------------------------------------------- */

static void
closing_unlinks_our_socket(void **state)
{
	(void)state;
	assert_int_equal(open_path(path), 0);
	listener_close(&l);
	assert_int_equal(l.fd, -1);
	assert_int_equal(access(path, F_OK), -1);
	listener_close(&l);
}

static void
closing_leaves_the_socket_of_another(void **state)
{
	char kept[sizeof(path) + 8];
	int fd;

	(void)state;
	assert_int_equal(open_path(path), 0);
	/* Ours is moved, so that its inode stays taken. */
	(void)snprintf(kept, sizeof(kept), "%s.old", path);
	assert_int_equal(rename(path, kept), 0);
	fd = bind_socket(SOCK_STREAM, true);
	listener_close(&l);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(unlink(kept), 0);
	fd_closep(&fd);
}

static void
a_socket_has_the_mode_that_was_asked_for(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(
	    listener_open_path(&l, path, 0666, (uid_t)-1, getegid()), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666);
	assert_int_equal(st.st_gid, getegid());
	listener_close(&l);
}

static void
a_socket_that_cannot_have_its_owner_is_not_made(void **state)
{
	const uid_t nobody = 65534;
	bool root = geteuid() == 0;
	int rc;

	(void)state;
	if (root) { /* who can give it to anybody */
		assert_int_equal(chown(dir, nobody, (gid_t)-1), 0);
		assert_int_equal(seteuid(nobody), 0);
	}
	rc = listener_open_path(&l, path, 0600, 0, (gid_t)-1);
	if (root)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(rc, -EPERM);
	assert_int_equal(l.fd, -1);
	assert_int_equal(access(path, F_OK), -1);
}

/* --- inherited descriptors ----------------------------------------------- */

static void
a_listening_socket_is_taken_over_and_stays_when_closed(void **state)
{
	int fd = bind_socket(SOCK_STREAM, true);

	(void)state;
	assert_int_equal(fcntl(fd, F_SETFD, 0), 0);
	assert_int_equal(listener_open_fd(&l, fd), 0);
	assert_int_equal(l.fd, fd);
	assert_false(l.connected);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	listener_close(&l);
	assert_int_equal(access(path, F_OK), 0); /* we have not made it */
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* Whose end is it? The peer's is told from a channel by the name of ours. */
static socklen_t
name_of_peer(int fd)
{
	struct sockaddr_un name;
	socklen_t len = sizeof(name);

	assert_int_equal(getpeername(fd, (struct sockaddr *)&name, &len), 0);
	return len - (socklen_t)sizeof(sa_family_t);
}

static void
a_connected_socket_is_taken_over(void **state)
{
	int pair[2];

	(void)state;
	make_pair(pair);
	assert_int_equal(name_of_peer(pair[1]), 0);
	assert_int_equal(listener_open_fd(&l, pair[0]), 0);
	assert_true(l.connected);
	assert_int_not_equal(name_of_peer(pair[1]), 0);
	/* It is looked at more than once. */
	assert_int_equal(listener_open_fd(&l, pair[0]), 0);
	assert_int_equal(fcntl(pair[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	fd_closep(&pair[1]);
}

static void
a_connection_that_we_make_has_a_name_at_our_end(void **state)
{
	AUTO_FD int door = bind_socket(SOCK_STREAM, true);
	AUTO_FD int accepted = -1;

	(void)state;
	assert_int_equal(listener_connect(&l, path), 0);
	assert_true(l.connected);
	accepted = accept4(door, NULL, NULL, SOCK_CLOEXEC);
	assert_true(accepted >= 0);
	assert_int_not_equal(name_of_peer(accepted), 0);
	assert_int_equal(listener_close(&l), 0);
}

static void
expect_fd(int fd, int rc)
{
	l.fd = 99;
	assert_int_equal(listener_open_fd(&l, fd), rc);
	assert_int_equal(l.fd, -1);
	/* What is refused stays the caller's. */
	if (rc != -EBADF)
		assert_true(fcntl(fd, F_GETFD) >= 0);
}

static void
any_other_descriptor_is_refused(void **state)
{
	int file = make_memfd(0), event = make_eventfd();
	int fresh = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int datagram = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int inet = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int packets[2];

	(void)state;
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, packets), 0);
	expect_fd(-1, -EBADF);
	expect_fd(1000, -EBADF);
	expect_fd(file, -ENOTSOCK);
	expect_fd(event, -ENOTSOCK);
	expect_fd(fresh, -ENOTCONN);
	expect_fd(datagram, -EPROTOTYPE);
	expect_fd(packets[0], -EPROTOTYPE);
	if (inet >= 0)
		expect_fd(inet, -EPROTOTYPE);
	fd_closep(&file);
	fd_closep(&event);
	fd_closep(&fresh);
	fd_closep(&datagram);
	fd_closep(&inet);
	fd_closep(&packets[0]);
	fd_closep(&packets[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LISTENER_TEST(
		    a_free_path_gets_a_socket_that_can_be_connected_to),
		LISTENER_TEST(only_the_owner_may_connect_whatever_the_umask),
		LISTENER_TEST(asking_leaves_no_trace),
		LISTENER_TEST(a_stale_socket_is_replaced),
		LISTENER_TEST(a_live_socket_is_left_alone),
		LISTENER_TEST(a_live_socket_with_a_full_queue_is_left_alone),
		LISTENER_TEST(what_is_no_socket_is_left_alone),
		LISTENER_TEST(a_path_must_fit_into_an_address),
		LISTENER_TEST(a_path_in_no_directory_is_refused),
		LISTENER_TEST(an_empty_path_is_refused),
		LISTENER_TEST(a_socket_has_the_mode_that_was_asked_for),
		LISTENER_TEST(a_socket_that_cannot_have_its_owner_is_not_made),
		LISTENER_TEST(closing_unlinks_our_socket),
		LISTENER_TEST(closing_leaves_the_socket_of_another),
		LISTENER_TEST(
		    a_listening_socket_is_taken_over_and_stays_when_closed),
		LISTENER_TEST(a_connected_socket_is_taken_over),
		LISTENER_TEST(a_connection_that_we_make_has_a_name_at_our_end),
		LISTENER_TEST(any_other_descriptor_is_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("listener", tests, NULL, NULL);
}
