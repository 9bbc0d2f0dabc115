/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Shared memory regions; see region.h. */
#include "config.h"

#include "region.h"

#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

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

/* Load the image; its holes stay holes. */
static int
load_image(int fd, const char *path, uint64_t room)
{
	uint64_t size = 0;
	AUTO_FD int image = open_image(path, &size);

	if (image < 0)
		return image;
	if (size > room)
		return -EFBIG;
	return memory_copy(fd, image, size);
}

/*
 * Put a descriptor that cannot write in the place of one that can. Before
 * Linux 6.7 it is needed to map sealed content at all.
 */
static int
keep_for_reading(int *fd)
{
	char path[32];
	int reading;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", *fd);
	reading = open(path, O_RDONLY | O_CLOEXEC);
	if (reading < 0)
		return -errno;
	fd_closep(fd);
	*fd = reading;
	return 0;
}

int
region_create(
    struct region *region, const struct region_spec *spec, const char **what)
{
	char name[REGION_NAME_MAX + sizeof(PACKAGE_NAME) + 1];
	bool read_only = spec->access != MEMORY_READ_WRITE;
	AUTO_FD int fd = -1;
	int rc;

	region->spec = *spec;
	region->fd = -1;
	(void)snprintf(name, sizeof(name), PACKAGE_NAME ":%s", spec->name);
	fd = memory_create(name, spec->size, what);
	if (fd < 0)
		return fd;
	if (spec->image != NULL) {
		*what = spec->image;
		rc = load_image(fd, spec->image, spec->size);
		if (rc < 0)
			return rc;
	}
	*what = "F_ADD_SEALS";
	rc = memory_seal(fd, read_only);
	if (rc < 0)
		return rc;
	*what = "/proc/self/fd";
	rc = read_only ? keep_for_reading(&fd) : 0;
	if (rc < 0)
		return rc;
	region->fd = fd_steal(&fd);
	return 0;
}
