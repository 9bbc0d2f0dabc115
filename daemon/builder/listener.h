/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Builder and start only: the supervisor gets the descriptors.
 *
 * Where front-ends come from: a socket made at a path, or inherited, to which
 * they connect; or one of theirs to which we do.
 */
#ifndef LISTENER_H
#define LISTENER_H

#include <stdbool.h>
#include <sys/types.h>

struct listener {
	int fd;		  /* owned; listening, or connected already */
	bool connected;	  /* fd is a front-end's connection */
	const char *path; /* not NULL: we have made it, dev and ino */
	dev_t dev;
	ino_t ino;
};

/*
 * Whether a socket can be made at path: nothing is there, or a socket on
 * which nobody listens. Returns 0 or a negative errno: -EADDRINUSE if
 * somebody listens there, -EEXIST if it is something else than a socket,
 * -ENAMETOOLONG, or what the system says.
 */
int listener_check_path(const char *path) __attribute__((warn_unused_result));

/*
 * Listen at path, in place of a stale socket. Whoever has not these owner,
 * group and mode cannot connect at any moment; an id of -1 leaves it as it is.
 * l keeps path. Errors as above.
 */
int listener_open_path(struct listener *l, const char *path, mode_t mode,
    uid_t uid, gid_t gid) __attribute__((warn_unused_result));

/*
 * Use the inherited descriptor fd, a UNIX stream socket, listening or
 * connected. A connected one gets a name, and so does that of
 * listener_connect(): by it a worker tells the front-end's own end from a
 * back-end channel. Returns 0 or a negative errno: -EBADF if it is not open,
 * -ENOTSOCK, -EPROTOTYPE for another kind of socket, -ENOTCONN if it neither
 * listens nor is connected.
 */
int listener_open_fd(struct listener *l, int fd)
    __attribute__((warn_unused_result));

/*
 * Connect to a front-end that listens at path. Returns 0; -ENOENT,
 * -ECONNREFUSED or -EAGAIN while it does not listen yet; or another negative
 * errno.
 */
int listener_connect(struct listener *l, const char *path)
    __attribute__((warn_unused_result));

/*
 * Stop listening; unlink the path if it is still our socket. Returns 0, or a
 * negative errno if the socket stays, on which nobody listens then.
 */
int listener_close(struct listener *l);

#endif
