/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Shared memory regions; see region_spec.h. */
#include "config.h"

#include "region_spec.h"

#include "fd.h"
#include "region_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

/* Load the image; its holes stay holes. */
static int
load_image(int fd, const char *path, uint64_t room)
{
	struct region_source source;
	AUTO_FD int image = region_image_open(path, &source);

	if (image < 0)
		return image;
	if (source.size > room)
		return -EFBIG;
	return memory_copy(fd, image, source.size);
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
	if (read_only) {
		int reading = memory_open(fd, O_RDONLY);

		if (reading < 0)
			return reading;
		fd_closep(&fd);
		fd = reading;
	}
	region->fd = fd_steal(&fd);
	return 0;
}
