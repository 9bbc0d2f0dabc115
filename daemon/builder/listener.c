/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The socket that front-ends connect to; see listener.h. */
#include "config.h"

#include "daemon/builder/listener.h"

#include "daemon/common/rights.h"
#include "proto/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static int
make_address(struct sockaddr_un *address, const char *path)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (*path == '\0')
		return -ENOENT;
	if (strlen(path) >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	memcpy(address->sun_path, path, strlen(path));
	return 0;
}

/* Whether the socket file at address is left over. 1: yes; 0: there is no
 * file; else a negative errno. */
static int
is_stale(const struct sockaddr_un *address)
{
	AUTO_FD int fd = -1;
	struct stat st;

	if (lstat(address->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) <
	    0) {
		if (errno == ECONNREFUSED)
			return 1;
		/* A full queue is a live listener, too. */
		if (errno != EAGAIN)
			return -errno;
	}
	return -EADDRINUSE;
}

int
listener_check_path(const char *path)
{
	struct sockaddr_un address;
	int rc = make_address(&address, path);

	if (rc < 0)
		return rc;
	rc = is_stale(&address);
	return rc < 0 ? rc : 0;
}

/* Give the socket at path its owner and group, and look at it. Not by its path
 * alone: who may write to the directory could put another file there. */
static int
give_away(const char *path, uid_t uid, gid_t gid, struct stat *st)
{
	AUTO_FD int at = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (at < 0 || fstat(at, st) < 0)
		return -errno;
	if (!S_ISSOCK(st->st_mode))
		return -EEXIST;
	if ((uid != (uid_t)-1 || gid != (gid_t)-1) &&
	    fchownat(at, "", uid, gid, AT_EMPTY_PATH) < 0)
		return -errno;
	return 0;
}

int
listener_open_path(
    struct listener *l, const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	struct sockaddr_un address;
	AUTO_FD int fd = -1;
	struct stat st = { 0 };
	mode_t mask;
	int rc;

	l->fd = -1;
	l->connected = false;
	l->path = NULL;
	rc = make_address(&address, path);
	if (rc == 0)
		rc = is_stale(&address);
	if (rc < 0)
		return rc;
	if (rc == 1 && unlink(path) < 0 && errno != ENOENT)
		return -errno;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	rights_block(fd);
	/* By umask: a mode that is changed afterwards may be another file's. */
	mask = umask(0777 & ~mode);
	rc = bind(fd, (const struct sockaddr *)&address, sizeof(address));
	if (rc < 0)
		rc = -errno;
	(void)umask(mask);
	if (rc < 0)
		return rc;
	/* Nobody can connect before it listens. */
	rc = give_away(path, uid, gid, &st);
	if (rc == 0 && listen(fd, SOMAXCONN) < 0)
		rc = -errno;
	if (rc < 0) {
		(void)unlink(path);
		return rc;
	}
	l->path = path;
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	l->fd = fd_steal(&fd);
	return 0;
}

static int
socket_option(int fd, int name, int *value)
{
	socklen_t len = sizeof(*value);

	return getsockopt(fd, SOL_SOCKET, name, value, &len) < 0 ? -errno : 0;
}

/*
 * Our end of a connection gets a name, the kernel's choice, unless it has one:
 * a worker tells by it the front-end's end from a back-end channel, whose peer
 * has none. Those that are accepted have the listener's.
 */
static int
name_end(int fd)
{
	const sa_family_t family = AF_UNIX; /* and no name: unix(7), autobind */
	struct sockaddr_un name;
	socklen_t len = sizeof(name);

	if (getsockname(fd, (struct sockaddr *)&name, &len) < 0)
		return -errno;
	if (len > sizeof(family))
		return 0;
	return bind(fd, (const struct sockaddr *)&family, sizeof(family)) < 0
		   ? -errno
		   : 0;
}

int
listener_open_fd(struct listener *l, int fd)
{
	int domain = 0, type = 0, listening = 0, flags, rc;
	struct sockaddr_un peer;
	socklen_t len = sizeof(peer);

	l->fd = -1;
	l->path = NULL;
	rc = socket_option(fd, SO_DOMAIN, &domain);
	if (rc == 0)
		rc = socket_option(fd, SO_TYPE, &type);
	if (rc == 0)
		rc = socket_option(fd, SO_ACCEPTCONN, &listening);
	if (rc < 0)
		return rc;
	if (domain != AF_UNIX || type != SOCK_STREAM)
		return -EPROTOTYPE;
	if (!listening && getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
		return -errno;
	rc = listening ? 0 : name_end(fd);
	if (rc < 0)
		return rc;
	flags = fcntl(fd, F_GETFD);
	if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0)
		return -errno;
	/* A front-end may hang up before it is accepted. */
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 ||
	    (listening && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
		return -errno;
	/* Who waits already may have sent some. A connection that was given is
	 * of whoever has started us. */
	if (listening)
		rights_block(fd);
	l->connected = listening == 0;
	l->fd = fd;
	return 0;
}

int
listener_connect(struct listener *l, const char *path)
{
	struct sockaddr_un address;
	AUTO_FD int fd = -1;
	int rc;

	l->fd = -1;
	l->path = NULL;
	rc = make_address(&address, path);
	if (rc < 0)
		return rc;
	/* Not to wait for a front-end whose queue is full. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 ||
	    connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	rc = name_end(fd);
	if (rc < 0)
		return rc;
	l->connected = true;
	l->fd = fd_steal(&fd);
	return 0;
}

int
listener_close(struct listener *l)
{
	struct stat st;
	int rc = 0;

	fd_closep(&l->fd);
	if (l->path != NULL && lstat(l->path, &st) == 0 &&
	    st.st_dev == l->dev && st.st_ino == l->ino)
		rc = unlink(l->path) < 0 ? -errno : 0;
	l->path = NULL;
	return rc;
}
