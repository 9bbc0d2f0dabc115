/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A worker that does wrong what its front-end tells it to, by one byte: for
 * tests of what the supervisor does then. Until there it is like the real
 * one, sandbox and all.
 *
 *   i  ioctl, which the filter forbids     s  socket, too
 *   n  call number 4000, which is none     v  a wild pointer
 *   m  a message that is wrong             x  exit with status 1
 *   q  exit with status 0
 */
#include "config.h"

#include "daemon/common/priv.h"
#include "proto/fd.h"
#include "sandbox/sandbox.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef SHMEMD_INSTRUMENTED
/* As in daemon/worker/main.c. */
const char *__asan_default_options(void);
const char *
__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

static int loop;

/* Wait until something can be read of fd: the filter lets nothing else wait. */
static void
await(int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) < 0 ||
	    epoll_wait(loop, &event, 1, -1) != 1 ||
	    epoll_ctl(loop, EPOLL_CTL_DEL, fd, &event) < 0)
		_exit(1);
}

/* Take the next message, which must be of this type; its descriptor, if it
 * should stay open, goes to *kept. */
static struct priv_msg
take(enum priv_type type, int *kept)
{
	struct priv_msg msg;
	int fds[PRIV_REGIONS_MAX];

	await(PRIV_WORKER_FD);
	if (priv_recv(PRIV_WORKER_FD, PRIV_TO_WORKER, false, &msg, fds) != 1)
		_exit(0); /* the supervisor has ended */
	if (msg.type != (uint32_t)type)
		_exit(1);
	if (kept != NULL)
		*kept = fd_steal(&fds[0]);
	for (unsigned i = 0; i < PRIV_REGIONS_MAX; i++)
		fd_closep(&fds[i]);
	return msg;
}

static char
take_order(int fd)
{
	char order = 'q';
	struct iovec iov = { .iov_base = &order, .iov_len = 1 };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	await(fd);
	if (recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
		_exit(1);
	return order;
}

int
main(void)
{
	struct sandbox_policy policy = { .max_fds = 64, .max_fds_on_way = 64 };
	char *volatile nowhere = NULL;
	struct priv_msg msg = { 0 };
	struct priv_setup setup;
	const char *stage;
	uint32_t due;
	int fd = -1;

	loop = epoll_create1(EPOLL_CLOEXEC);
	if (loop < 0)
		_exit(1);
	setup = take(PRIV_SETUP, NULL).u.setup;
	policy.change_ids = setup.change_ids != 0;
	policy.uid = setup.uid;
	policy.gid = setup.gid;
	if (sandbox_enter(&policy, &stage) < 0)
		_exit(1);
	msg.u.ready.rules = sandbox_rules();
	if (priv_send(PRIV_WORKER_FD, PRIV_READY, &msg, NULL, 0) < 0)
		_exit(1);
	due = take(PRIV_DEVICE, NULL).u.device.nregions;
	while (due != 0)
		due -= take(PRIV_REGIONS, NULL).u.regions.n;
	(void)take(PRIV_CONNECT, &fd);
	(void)take(PRIV_BEGIN, NULL);

	switch (take_order(fd)) {
	case 'i':
		(void)syscall(SYS_ioctl, fd, 0, 0);
		break;
	case 's':
		(void)syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
		break;
	case 'n':
		(void)syscall(4000);
		break;
	case 'v':
		*nowhere = 0;
		break;
	case 'm':
		/* It has said so already; then it waits to be killed. */
		if (priv_send(PRIV_WORKER_FD, PRIV_READY, &msg, NULL, 0) == 0)
			(void)take_order(fd);
		break;
	case 'q':
		_exit(0);
	default:
		break;
	}
	_exit(1);
}
