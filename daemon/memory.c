/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Memory that goes to front-ends; see memory.h. */
#include "config.h"

#include "memory.h"

#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

/* Linux 6.3; Debian 12's headers are older. It brings F_SEAL_EXEC. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

int
memory_create(const char *name, uint64_t size, const char **what)
{
	AUTO_FD int fd = -1;

	*what = "memfd_create";
	fd = memfd_create(
	    name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	/* Who has a descriptor of another uid cannot reopen it by /proc. */
	*what = "fchmod";
	if (fchmod(fd, 0600) < 0)
		return -errno;
	*what = "ftruncate";
	if (ftruncate(fd, (off_t)size) < 0)
		return -errno;
	return fd_steal(&fd);
}

/* Copy [at, end) of the file from to the same place in to. */
static int
copy_range(int to, int from, off_t at, off_t end)
{
	if (lseek(to, at, SEEK_SET) < 0)
		return -errno;
	while (at < end) {
		ssize_t n = sendfile(to, from, &at, (size_t)(end - at));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) /* it became shorter while we read */
			return -ESTALE;
	}
	return 0;
}

int
memory_copy(int to, int from, uint64_t size)
{
	off_t data = 0, hole;
	int rc;

	while ((uint64_t)data < size) {
		data = lseek(from, data, SEEK_DATA);
		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		hole = lseek(from, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		/* The file may have become longer. */
		if ((uint64_t)hole > size)
			hole = (off_t)size;
		rc = copy_range(to, from, data, hole);
		if (rc < 0)
			return rc;
		data = hole;
	}
	return 0;
}

int
memory_seal(int fd, bool read_only)
{
	/* QEMU dies by SIGBUS if a mapped file becomes shorter. */
	int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

	/* The mode does not keep the same user, or root, from reopening a
	 * descriptor by /proc. This leaves them nothing to write to. */
	if (read_only)
		seals |= F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
	return fcntl(fd, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}
