/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Messages between the supervisor and a worker; see priv.h. */
#include "config.h"

#include "daemon/common/priv.h"

#include "proto/fd.h"
#include "proto/scm.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static const enum priv_way ways[PRIV_TYPE_END] = {
	[PRIV_SETUP] = PRIV_TO_WORKER,
	[PRIV_DEVICE] = PRIV_TO_WORKER,
	[PRIV_REGIONS] = PRIV_TO_WORKER,
	[PRIV_SYNC] = PRIV_TO_WORKER,
	[PRIV_CONNECT] = PRIV_TO_WORKER,
	[PRIV_BEGIN] = PRIV_TO_WORKER,
	[PRIV_ASK] = PRIV_TO_WORKER,
	[PRIV_READY] = PRIV_TO_SUPERVISOR,
	[PRIV_LOG] = PRIV_TO_SUPERVISOR,
	[PRIV_STATUS] = PRIV_TO_SUPERVISOR,
	[PRIV_SPAWN] = PRIV_TO_SPAWNER,
	[PRIV_SPAWNED] = PRIV_FROM_SPAWNER,
	[PRIV_BUILD] = PRIV_TO_BUILDER,
	[PRIV_DIAL] = PRIV_TO_BUILDER,
	[PRIV_CLOSE] = PRIV_TO_BUILDER,
	[PRIV_REFUSED] = PRIV_TO_BUILDER,
	[PRIV_ERASE] = PRIV_TO_BUILDER,
	[PRIV_FORGET] = PRIV_TO_BUILDER,
	[PRIV_HAVE_REGION] = PRIV_FROM_BUILDER,
	[PRIV_HAVE_DEVICE] = PRIV_FROM_BUILDER,
	[PRIV_HAVE_SHM] = PRIV_FROM_BUILDER,
	[PRIV_DOOR] = PRIV_FROM_BUILDER,
	[PRIV_BUILT] = PRIV_FROM_BUILDER,
	[PRIV_ERASED] = PRIV_FROM_BUILDER,
	[PRIV_RESIZED] = PRIV_FROM_BUILDER,
	[PRIV_CLIENT] = PRIV_TO_FLUSHER,
	[PRIV_FAILED] = PRIV_FROM_FLUSHER,
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
	case PRIV_HAVE_REGION:
		if (msg->u.have_region.is_new == 0)
			return 0;
		return msg->u.have_region.synced != 0 ? 3 : 2;
	case PRIV_DOOR:
		return msg->u.door.rc == 0 ? 1 : 0;
	case PRIV_SYNC:
	case PRIV_CONNECT:
	case PRIV_SPAWN:
	case PRIV_ERASE:
	case PRIV_CLIENT:
		return 1;
	case PRIV_SETUP:
	case PRIV_DEVICE:
	case PRIV_BEGIN:
	case PRIV_ASK:
	case PRIV_READY:
	case PRIV_LOG:
	case PRIV_STATUS:
	case PRIV_SPAWNED:
	case PRIV_BUILD:
	case PRIV_DIAL:
	case PRIV_CLOSE:
	case PRIV_REFUSED:
	case PRIV_FORGET:
	case PRIV_HAVE_DEVICE:
	case PRIV_HAVE_SHM:
	case PRIV_BUILT:
	case PRIV_ERASED:
	case PRIV_RESIZED:
	case PRIV_FAILED:
	case PRIV_TYPE_END:
		break;
	}
	return 0;
}

static int
send_message(int sock, enum priv_type type, struct priv_msg *msg,
    const int *fds, unsigned nfds, int flags)
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
		n = sendmsg(sock, &mh, flags | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int
priv_send(int sock, enum priv_type type, struct priv_msg *msg, const int *fds,
    unsigned nfds)
{
	return send_message(sock, type, msg, fds, nfds, MSG_DONTWAIT);
}

int
priv_send_wait(int sock, enum priv_type type, struct priv_msg *msg,
    const int *fds, unsigned nfds)
{
	return send_message(sock, type, msg, fds, nfds, 0);
}

void
priv_end_text(char *text, size_t size)
{
	text[size - 1] = '\0';
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
	nfds = scm_detach(&mh, fds, PRIV_REGIONS_MAX, NULL);
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
