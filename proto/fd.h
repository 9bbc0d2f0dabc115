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
#include <fcntl.h>
#include <stdbool.h>
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

/*
 * For main(): open standard descriptors that are closed, or the first one that
 * the program opens would get their number, and with it what is printed and
 * logged. False if that cannot be.
 */
static inline bool
fd_open_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	return fd >= 0 && close(fd) == 0;
}

#define AUTO_FD __attribute__((cleanup(fd_closep)))

#endif
