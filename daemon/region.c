/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Shared memory regions; see region.h. */
#include "config.h"

#include "region.h"

#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

/* Linux 6.3; Debian 12's headers are older. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

static int
open_image(const char *image, uint64_t *size)
{
	/* O_NONBLOCK: a FIFO or device must not hold us up. */
	AUTO_FD int fd = open(image, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size <= 0)
		return -ENODATA;
	*size = (uint64_t)st.st_size;
	return fd_steal(&fd);
}

int
region_image_size(const char *image, uint64_t *size)
{
	AUTO_FD int fd = open_image(image, size);

	return fd < 0 ? fd : 0;
}

/* Copy [from, to) of the image to the same place in fd. */
static int
copy_range(int fd, int image, off_t from, off_t to)
{
	if (lseek(fd, from, SEEK_SET) < 0)
		return -errno;
	while (from < to) {
		ssize_t n = sendfile(fd, image, &from, (size_t)(to - from));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) /* it became shorter while we read */
			return -ESTALE;
	}
	return 0;
}

/* Load the image; its holes stay holes. */
static int
load_image(int fd, const char *path, uint64_t room)
{
	uint64_t size = 0;
	AUTO_FD int image = open_image(path, &size);
	off_t data = 0, hole;
	int rc;

	if (image < 0)
		return image;
	if (size > room)
		return -EFBIG;
	while ((uint64_t)data < size) {
		data = lseek(image, data, SEEK_DATA);
		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		hole = lseek(image, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		rc = copy_range(fd, image, data, hole);
		if (rc < 0)
			return rc;
		data = hole;
	}
	return 0;
}

int
region_create(
    struct region *region, const struct region_spec *spec, const char **what)
{
	char name[REGION_NAME_MAX + sizeof(PACKAGE_NAME) + 1];
	AUTO_FD int fd = -1;
	int rc;

	region->spec = *spec;
	region->fd = -1;
	(void)snprintf(name, sizeof(name), PACKAGE_NAME ":%s", spec->name);
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
	if (ftruncate(fd, (off_t)spec->size) < 0)
		return -errno;
	if (spec->image != NULL) {
		*what = spec->image;
		rc = load_image(fd, spec->image, spec->size);
		if (rc < 0)
			return rc;
	}
	/* QEMU dies by SIGBUS if a mapped file becomes shorter. */
	*what = "F_ADD_SEALS";
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) <
	    0)
		return -errno;
	region->fd = fd_steal(&fd);
	return 0;
}
