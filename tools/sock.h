/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A UNIX socket of somebody who may be slow, silent or hostile: everything with
 * it has to be done before one deadline.
 */
#ifndef SOCK_H
#define SOCK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sock {
	int fd;		   /* owned; -1 if none */
	uint64_t deadline; /* CLOCK_MONOTONIC, nanoseconds */
};

/*
 * Connect to a listening stream socket. seconds is for this and for all that
 * comes. Returns 0 or a negative errno: -ENAMETOOLONG if no address can hold
 * the path, -ETIMEDOUT.
 */
int sock_connect(struct sock *s, const char *path, unsigned seconds)
    __attribute__((warn_unused_result));

/* Send all of it. Returns 0 or a negative errno. */
int sock_send(struct sock *s, const void *data, size_t len)
    __attribute__((warn_unused_result));

/*
 * Receive up to len bytes, as soon as there are some. Returns how many, 0 at
 * the end, or a negative errno. A descriptor that comes along is put into *fd,
 * the caller's, if there is none in it yet; others are closed. fd may be NULL.
 */
ssize_t sock_recv(struct sock *s, void *data, size_t len, int *fd)
    __attribute__((warn_unused_result));

/* Receive len bytes. Returns 0 or a negative errno: -EPIPE at the end. */
int sock_recv_all(struct sock *s, void *data, size_t len)
    __attribute__((warn_unused_result));

/* What an error of these means, for people. */
const char *sock_strerror(int error);

void sock_close(struct sock *s);

#endif
