/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Descriptors that travel beside a message's bytes: SCM_RIGHTS, unix(7).
 */
#ifndef SCM_H
#define SCM_H

#include "proto/fd.h"

#include <string.h>
#include <sys/socket.h>

/* SO_PASSPIDFD, from Linux 6.5: a descriptor of its own with each read. */
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

/* Bytes of an aligned control buffer for n descriptors. */
#define SCM_SPACE(n) CMSG_SPACE((n) * sizeof(int))

/* Attach n descriptors, at least one, to a message that is to be sent. They
 * stay the caller's. control has SCM_SPACE(n) bytes and outlives *mh. */
static inline void
scm_attach(struct msghdr *mh, void *control, const int *fds, unsigned n)
{
	struct cmsghdr *c;

	memset(control, 0, SCM_SPACE(n));
	mh->msg_control = control;
	mh->msg_controllen = (socklen_t)SCM_SPACE(n);
	c = CMSG_FIRSTHDR(mh);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = (socklen_t)CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
}

/* The macro of some C libraries mixes signs. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
static inline struct cmsghdr *
scm_next(struct msghdr *mh, struct cmsghdr *c)
{
	return CMSG_NXTHDR(mh, c);
}
#pragma GCC diagnostic pop

/*
 * Take the descriptors of a received message, up to max of them, into fds:
 * the caller's now. Closes those beyond. Returns how many had come.
 *
 * What else may come is not asked for: options of a socket are the socket's,
 * and whoever hands one over can have set them. A pidfd is closed; the other
 * kinds (credentials, security label, time) hold nothing. *other, unless NULL:
 * whether there was any of them.
 */
static inline unsigned
scm_detach(struct msghdr *mh, int *fds, unsigned max, bool *other)
{
	unsigned total = 0;

	if (other != NULL)
		*other = false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c != NULL;
	     c = scm_next(mh, c)) {
		bool rights =
		    c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS;
		size_t n = 0;

		if (rights ||
		    (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_PIDFD))
			n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (!rights && other != NULL)
			*other = true;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(
			    &fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (rights && total < max)
				fds[total] = fd;
			else
				fd_closep(&fd);
			total += rights;
		}
	}
	return total;
}

#endif
