/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Messages between the supervisor and a worker; see priv.h. */
#include "config.h"

#include "priv.h"

#include "fd.h"
#include "scm.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static const enum priv_way ways[PRIV_TYPE_END] = {
	[PRIV_SETUP] = PRIV_TO_WORKER,
	[PRIV_REGIONS] = PRIV_TO_WORKER,
	[PRIV_CONNECT] = PRIV_TO_WORKER,
	[PRIV_READY] = PRIV_TO_SUPERVISOR,
	[PRIV_LOG] = PRIV_TO_SUPERVISOR,
	[PRIV_SPAWN] = PRIV_TO_SPAWNER,
	[PRIV_SPAWNED] = PRIV_FROM_SPAWNER,
};

/* How many descriptors this message carries, -1 if it is malformed. */
static int
fds_of(enum priv_type type, const struct priv_msg *msg)
{
	switch (type) {
	case PRIV_REGIONS:
		return msg->u.regions.n >= 1 &&
			       msg->u.regions.n <= PRIV_REGIONS_MAX
			   ? (int)msg->u.regions.n
			   : -1;
	case PRIV_CONNECT:
	case PRIV_SPAWN:
		return 1;
	case PRIV_SETUP:
	case PRIV_READY:
	case PRIV_LOG:
	case PRIV_SPAWNED:
	case PRIV_TYPE_END:
		break;
	}
	return 0;
}

int
priv_send(int sock, enum priv_type type, struct priv_msg *msg, const int *fds,
    unsigned nfds)
{
	_Alignas(struct cmsghdr) char control[SCM_SPACE(PRIV_REGIONS_MAX)];
	struct iovec iov = { .iov_base = msg, .iov_len = sizeof(*msg) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (fds_of(type, msg) != (int)nfds || (nfds != 0 && fds == NULL))
		return -EINVAL;
	msg->version = PRIV_VERSION;
	msg->type = type;
	if (nfds != 0 && fds != NULL)
		scm_attach(&mh, control, fds, nfds);
	do
		n = sendmsg(sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int
priv_recv(int sock, enum priv_way way, bool wait, struct priv_msg *msg,
    int fds[static PRIV_REGIONS_MAX])
{
	_Alignas(struct cmsghdr) char control[SCM_SPACE(PRIV_REGIONS_MAX)];
	struct iovec iov = { .iov_base = msg, .iov_len = sizeof(*msg) };
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	unsigned nfds;
	ssize_t n;

	for (unsigned i = 0; i < PRIV_REGIONS_MAX; i++)
		fds[i] = -1;
	do
		n = recvmsg(
		    sock, &mh, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	nfds = scm_detach(&mh, fds, PRIV_REGIONS_MAX);
	if ((size_t)n == sizeof(*msg) &&
	    (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 &&
	    msg->version == PRIV_VERSION && msg->type >= PRIV_SETUP &&
	    msg->type < PRIV_TYPE_END && ways[msg->type] == way &&
	    fds_of(msg->type, msg) == (int)nfds)
		return 1;
	for (unsigned i = 0; i < PRIV_REGIONS_MAX; i++)
		fd_closep(&fds[i]);
	/* A packet of no bytes looks like the end, and is treated so. */
	return n == 0 ? 0 : -EBADMSG;
}
