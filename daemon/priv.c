/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Messages between the supervisor and a worker; see priv.h. */
#include "config.h"

#include "priv.h"

#include "fd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static const struct {
	enum priv_way way;
	bool has_fd;
} types[PRIV_TYPE_END] = {
    [PRIV_SETUP] = {PRIV_TO_WORKER, false},
    [PRIV_REGION] = {PRIV_TO_WORKER, true},
    [PRIV_CONNECT] = {PRIV_TO_WORKER, true},
    [PRIV_READY] = {PRIV_TO_SUPERVISOR, false},
    [PRIV_LOG] = {PRIV_TO_SUPERVISOR, false},
};

int
priv_send(int sock, enum priv_type type, struct priv_msg *msg, int fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {.iov_base = msg, .iov_len = sizeof(*msg)};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (types[type].has_fd != (fd >= 0))
		return -EINVAL;
	msg->version = PRIV_VERSION;
	msg->type = type;
	if (fd >= 0) {
		struct cmsghdr *c;

		memset(control, 0, sizeof(control));
		mh.msg_control = control;
		mh.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	do
		n = sendmsg(sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* Take the only descriptor of a received message; -1 if none. Any surplus is
 * closed and makes *nfds larger than 1. */
static int
received_fd(struct msghdr *mh, unsigned *nfds)
{
	int first = -1;

	*nfds = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c != NULL;
	     c = CMSG_NXTHDR(mh, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(
			    &fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if ((*nfds)++ == 0)
				first = fd;
			else
				fd_closep(&fd);
		}
	}
	return first;
}

int
priv_recv(int sock, enum priv_way way, bool wait, struct priv_msg *msg, int *fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))];
	struct iovec iov = {.iov_base = msg, .iov_len = sizeof(*msg)};
	struct msghdr mh = {
	    .msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control,
	    .msg_controllen = sizeof(control),
	};
	AUTO_FD int got = -1;
	unsigned nfds;
	ssize_t n;

	*fd = -1;
	do
		n = recvmsg(
		    sock, &mh, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	got = received_fd(&mh, &nfds);
	/* A packet of no bytes looks like the end, and is treated so. */
	if (n == 0)
		return 0;
	if ((size_t)n != sizeof(*msg) ||
	    (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
	    msg->version != PRIV_VERSION || msg->type >= PRIV_TYPE_END ||
	    msg->type < PRIV_SETUP || types[msg->type].way != way ||
	    nfds != (types[msg->type].has_fd ? 1U : 0U))
		return -EBADMSG;
	*fd = fd_steal(&got);
	return 1;
}
