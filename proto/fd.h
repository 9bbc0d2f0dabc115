/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * One owner for each file descriptor.
 *
 * A variable that owns a descriptor is -1 when it owns none. AUTO_FD closes
 * on every way out of the scope; ownership leaves only through fd_steal().
 */
#ifndef FD_H
#define FD_H

#include <errno.h>
#include <unistd.h>

/* Close *fd if it is open and mark it closed. Keeps errno. */
static inline void
fd_closep(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		/* Linux has closed it whatever close() returns. */
		(void)close(*fd);
		errno = saved;
	}
	*fd = -1;
}

/* Take the descriptor out of *fd: the caller owns it from now on. */
static inline int
fd_steal(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define AUTO_FD __attribute__((cleanup(fd_closep)))

#endif
