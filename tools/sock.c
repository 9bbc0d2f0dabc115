/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A socket with a deadline; see sock.h. */
#include "config.h"

#include "tools/sock.h"

#include "proto/fd.h"
#include "proto/scm.h"

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define SECOND UINT64_C(1000000000)

/* More than one is an error of the peer's; the kernel closes what it has no
 * room for. */
#define FDS_MAX 4U

static uint64_t
now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

static int
wait_for(struct sock *s, short events)
{
	struct pollfd pfd = { .fd = s->fd, .events = events };
	uint64_t time = now(), left;
	struct timespec ts;
	int n;

	do {
		left = s->deadline > time ? s->deadline - time : 0;
		ts.tv_sec = (time_t)(left / SECOND);
		ts.tv_nsec = (long)(left % SECOND);
		n = ppoll(&pfd, 1, &ts, NULL);
		time = now();
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n == 0 ? -ETIMEDOUT : 0;
}

int
sock_connect(struct sock *s, const char *path, unsigned seconds)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = (time_t)seconds };
	AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	s->fd = -1;
	s->deadline = now() + seconds * SECOND;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	/* While others wait to be accepted, connect() waits as long as a
	 * sender would. */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience,
			  sizeof(patience)) < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	s->fd = fd_steal(&fd);
	return 0;
}

int
sock_send(struct sock *s, const void *data, size_t len)
{
	const char *at = data;

	while (len != 0) {
		ssize_t n = send(s->fd, at, len, MSG_NOSIGNAL);
		int rc;

		if (n >= 0) {
			at += n;
			len -= (size_t)n;
		} else if (errno != EAGAIN && errno != EINTR) {
			return -errno;
		} else if ((rc = wait_for(s, POLLOUT)) < 0) {
			return rc;
		}
	}
	return 0;
}

ssize_t
sock_recv(struct sock *s, void *data, size_t len, int *fd)
{
	_Alignas(struct cmsghdr) char control[SCM_SPACE(FDS_MAX)];
	int fds[FDS_MAX];

	for (;;) {
		struct iovec iov = { .iov_base = data, .iov_len = len };
		struct msghdr mh = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control,
			.msg_controllen = sizeof(control),
		};
		int rc = wait_for(s, POLLIN);
		unsigned nfds;
		ssize_t n;

		if (rc < 0)
			return rc;
		n = recvmsg(s->fd, &mh, MSG_CMSG_CLOEXEC);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return -errno;
		nfds = scm_detach(&mh, fds, FDS_MAX, NULL);
		for (unsigned i = 0; i < nfds && i < FDS_MAX; i++) {
			if (fd != NULL && *fd < 0)
				*fd = fd_steal(&fds[i]);
			else
				fd_closep(&fds[i]);
		}
		return n;
	}
}

int
sock_recv_all(struct sock *s, void *data, size_t len)
{
	char *at = data;

	while (len != 0) {
		ssize_t n = sock_recv(s, at, len, NULL);

		if (n <= 0)
			return n == 0 ? -EPIPE : (int)n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

const char *
sock_strerror(int error)
{
	switch (error) {
	case -ENAMETOOLONG:
		return "the path is longer than the 107 bytes of a socket's "
		       "address; change the directory and use a shorter one";
	case -ENOENT:
		return "there is no such socket: is its program running?";
	case -ECONNREFUSED:
		return "nobody listens there: is its program running?";
	case -ETIMEDOUT:
		return "no answer in time";
	case -EPIPE:
	case -ECONNRESET:
		return "the other side has closed the connection";
	default:
		return strerror(-error);
	}
}

void
sock_close(struct sock *s)
{
	fd_closep(&s->fd);
}
