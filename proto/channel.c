/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Messages with file descriptors over a stream socket; the promises are in
 * channel.h.
 */
#include "config.h"

#include "proto/channel.h"

#include "proto/fd.h"
#include "proto/scm.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define HEADER_SIZE sizeof(struct vus_wire_header)
/* Bytes for control messages that options of the socket bring besides the
 * descriptors: credentials, pidfd, a security label. */
#define OTHER_CONTROL 512U

void
vus_chan_init(struct vus_chan *chan, int fd)
{
	chan->fd = fd;
	chan->bare = false;
	chan->why = NULL;
	chan->in_len = 0;
	chan->nfds = 0;
	chan->out_len = 0;
	chan->out_sent = 0;
}

void
vus_chan_close(struct vus_chan *chan)
{
	for (unsigned i = 0; i < chan->nfds; i++)
		fd_closep(&chan->fds[i]);
	fd_closep(&chan->fd);
	vus_chan_init(chan, -1);
}

static enum vus_chan_status
broken(struct vus_chan *chan, const char *why)
{
	chan->why = why;
	return VUS_CHAN_BROKEN;
}

/* Where the last message begins that has a byte in the buffer. */
static size_t
last_start(const struct vus_chan *chan)
{
	struct vus_wire_header head;
	size_t at = 0;

	while (chan->in_len - at >= HEADER_SIZE) {
		memcpy(&head, chan->in + at, HEADER_SIZE);
		/* This also stops at a size that vus_chan_take will refuse. */
		if (head.size >= chan->in_len - at - HEADER_SIZE)
			break;
		at += HEADER_SIZE + head.size;
	}
	return at;
}

static const char too_many[] = "more file descriptors than a message may carry";

/*
 * Take over the descriptors that came with the bytes from offset before on.
 * Returns NULL, or what is wrong: they do not fit, came in the middle of a
 * message, or where none belong.
 */
static const char *
keep_fds(struct vus_chan *chan, struct msghdr *mh, size_t before)
{
	size_t owner = last_start(chan);
	int got[VUS_FDS_MAX];
	bool other;
	unsigned n = scm_detach(mh, got, VUS_FDS_MAX, &other);
	const char *why = NULL;

	if (n > VUS_FDS_MAX)
		why = too_many;
	else if (n != 0 && owner < before)
		why = "file descriptors that belong to no message's first byte";
	if (chan->bare && (n != 0 || other))
		why = "file descriptors or credentials where none belong";
	for (unsigned i = 0; i < n && i < VUS_FDS_MAX; i++) {
		if (why == NULL && chan->nfds == 2 * VUS_FDS_MAX)
			why = too_many;
		if (why != NULL) {
			fd_closep(&got[i]);
			continue;
		}
		chan->fds[chan->nfds] = got[i];
		chan->fd_owner[chan->nfds++] = owner;
	}
	return why;
}

enum vus_chan_status
vus_chan_fill(struct vus_chan *chan)
{
	_Alignas(struct cmsghdr) char
	    control[SCM_SPACE(VUS_FDS_MAX) + OTHER_CONTROL];
	struct iovec iov = {
		.iov_base = chan->in + chan->in_len,
		.iov_len = sizeof(chan->in) - chan->in_len,
	};
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	size_t before = chan->in_len;
	const char *why;
	ssize_t n;

	/* A caller that takes all whole messages first leaves room: the
	 * buffer holds the largest message. */
	if (iov.iov_len == 0)
		return broken(chan, "a message larger than any request");
	do
		n = recvmsg(chan->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	/* It has hung up without reading all that we had sent. */
	if (n < 0 && errno == ECONNRESET)
		n = 0;
	if (n < 0)
		return errno == EAGAIN ? VUS_CHAN_AGAIN
				       : broken(chan, strerror(errno));
	if (n == 0)
		return chan->in_len == 0
			   ? VUS_CHAN_EOF
			   : broken(chan, "hung up in the middle of a message");
	chan->in_len += (size_t)n;
	why = keep_fds(chan, &mh, before);
	if (why != NULL)
		return broken(chan, why);
	if (mh.msg_flags & MSG_CTRUNC)
		return broken(chan, too_many);
	return VUS_CHAN_OK;
}

/* Move the descriptors of the first message over to msg. */
static bool
take_fds(struct vus_chan *chan, struct vus_msg *msg, size_t consumed)
{
	unsigned kept = 0;
	bool fits = true;

	msg->nfds = 0;
	for (unsigned i = 0; i < chan->nfds; i++) {
		if (chan->fd_owner[i] != 0) {
			chan->fds[kept] = chan->fds[i];
			chan->fd_owner[kept++] = chan->fd_owner[i] - consumed;
		} else if (msg->nfds < VUS_FDS_MAX) {
			msg->fds[msg->nfds++] = chan->fds[i];
		} else {
			fd_closep(&chan->fds[i]);
			fits = false;
		}
	}
	chan->nfds = kept;
	return fits;
}

enum vus_chan_status
vus_chan_take(struct vus_chan *chan, struct vus_msg *msg)
{
	size_t whole;

	msg->nfds = 0;
	if (chan->in_len < HEADER_SIZE)
		return VUS_CHAN_AGAIN;
	memcpy(&msg->head, chan->in, HEADER_SIZE);
	if (msg->head.size > VUS_PAYLOAD_MAX)
		return broken(chan, "a payload larger than any request's");
	whole = HEADER_SIZE + msg->head.size;
	if (chan->in_len < whole)
		return VUS_CHAN_AGAIN;
	memcpy(msg->payload, chan->in + HEADER_SIZE, msg->head.size);
	chan->in_len -= whole;
	memmove(chan->in, chan->in + whole, chan->in_len);
	if (!take_fds(chan, msg, whole)) {
		vus_msg_close(msg);
		return broken(chan, "too many file descriptors");
	}
	return VUS_CHAN_OK;
}

/* One sendmsg that neither waits nor raises SIGPIPE. */
static ssize_t
send_once(int fd, const struct msghdr *mh)
{
	ssize_t n;

	do
		n = sendmsg(fd, mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n;
}

int
vus_chan_send(struct vus_chan *chan, uint32_t request, uint32_t flags,
    const void *payload, size_t len, int pass_fd)
{
	struct vus_wire_header head = {
		.request = request,
		.flags = flags | VUS_VERSION,
		.size = (uint32_t)len,
	};
	_Alignas(struct cmsghdr) char control[SCM_SPACE(1)];
	struct iovec iov = { .iov_base = chan->out };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (vus_chan_blocked(chan) || len > sizeof(chan->out) - HEADER_SIZE)
		return -ENOBUFS;
	memcpy(chan->out, &head, HEADER_SIZE);
	if (len != 0)
		memcpy(chan->out + HEADER_SIZE, payload, len);
	iov.iov_len = HEADER_SIZE + len;
	if (pass_fd >= 0)
		scm_attach(&mh, control, &pass_fd, 1);
	n = send_once(chan->fd, &mh);
	if (n < 0 && (errno != EAGAIN || pass_fd >= 0))
		return -errno;
	chan->out_len = iov.iov_len;
	chan->out_sent = n < 0 ? 0 : (size_t)n;
	return 0;
}

int
vus_chan_flush(struct vus_chan *chan)
{
	struct iovec iov = {
		.iov_base = chan->out + chan->out_sent,
		.iov_len = chan->out_len - chan->out_sent,
	};
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (!vus_chan_blocked(chan))
		return 0;
	n = send_once(chan->fd, &mh);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	chan->out_sent += (size_t)n;
	return 0;
}

int
vus_msg_take_fd(struct vus_msg *msg)
{
	return msg->nfds == 0 ? -1 : fd_steal(&msg->fds[0]);
}

void
vus_msg_close(struct vus_msg *msg)
{
	for (unsigned i = 0; i < msg->nfds; i++)
		fd_closep(&msg->fds[i]);
	msg->nfds = 0;
}
