/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Memory that goes to front-ends; see memory.h. */
#include "config.h"

#include "daemon/common/memory.h"

#include "proto/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

/* Linux 6.3; Debian 12's headers are older. It brings F_SEAL_EXEC. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* Where flags say the size of huge pages, as a power of 2. */
#define HUGE_SHIFT 26

static int
create(const char *name, uint64_t size, unsigned flags, const char **what)
{
	AUTO_FD int fd = -1;

	flags |= MFD_CLOEXEC | MFD_ALLOW_SEALING;
	*what = "memfd_create";
	fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, flags);
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

int
memory_create(const char *name, uint64_t size, const char **what)
{
	return create(name, size, 0, what);
}

int
memory_create_huge(
    const char *name, uint64_t size, uint64_t page, const char **what)
{
	unsigned shift = (unsigned)__builtin_ctzll(page);

	return create(name, size, MFD_HUGETLB | shift << HUGE_SHIFT, what);
}

int
memory_open(int fd, int flags)
{
	char path[32];
	int again;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags | O_CLOEXEC);
	return again < 0 ? -errno : again;
}

int
memory_next_data(int fd, uint64_t *from, uint64_t *to, uint64_t end)
{
	off_t data, hole;

	if (*from >= end)
		return 0;
	data = lseek(fd, (off_t)*from, SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? 0 : -errno;
	if ((uint64_t)data >= end)
		return 0;
	hole = lseek(fd, data, SEEK_HOLE);
	if (hole < 0)
		return -errno;
	*from = (uint64_t)data;
	/* The file may have become longer. */
	*to = (uint64_t)hole < end ? (uint64_t)hole : end;
	return 1;
}

/* Copy [at, end), all of it data. */
static int
send_range(int to, int from, off_t at, off_t end)
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
memory_copy_range(int to, int from, uint64_t at, uint64_t end)
{
	uint64_t until = 0;
	int rc;

	while ((rc = memory_next_data(from, &at, &until, end)) > 0) {
		rc = send_range(to, from, (off_t)at, (off_t)until);
		if (rc < 0)
			return rc;
		at = until;
	}
	return rc;
}

int
memory_copy(int to, int from, uint64_t size)
{
	return memory_copy_range(to, from, 0, size);
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
