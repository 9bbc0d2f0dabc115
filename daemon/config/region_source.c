/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The images and files that regions come from; see region_source.h. */
#include "config.h"

#include "daemon/config/region_source.h"

#include "daemon/common/memory.h"
#include "proto/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static void
take(const struct stat *st, struct region_source *source)
{
	*source = (struct region_source){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.mtime = st->st_mtim,
	};
}

int
region_source_of(int fd, struct region_source *source)
{
	struct stat st;

	*source = (struct region_source){ 0 };
	if (fstat(fd, &st) < 0)
		return -errno;
	take(&st, source);
	return 0;
}

bool
region_source_same(const struct region_source *a, const struct region_source *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->mtime.tv_sec == b->mtime.tv_sec &&
	       a->mtime.tv_nsec == b->mtime.tv_nsec;
}

/* O_PATH: to open a FIFO may wait, and to open a device may do anything. */
static int
find(const char *path, int flags, struct region_source *source)
{
	AUTO_FD int fd = open(path, O_PATH | O_CLOEXEC | flags);
	struct stat st;

	*source = (struct region_source){ 0 };
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (S_ISLNK(st.st_mode))
		return -ELOOP;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	take(&st, source);
	return fd_steal(&fd);
}

int
region_image_open(const char *image, struct region_source *source)
{
	AUTO_FD int found = find(image, 0, source);

	if (found < 0)
		return found;
	if (source->size == 0)
		return -ENODATA;
	return memory_open(found, O_RDONLY);
}

int
region_image_size(const char *image, uint64_t *size)
{
	struct region_source source;
	AUTO_FD int fd = region_image_open(image, &source);

	if (fd < 0)
		return fd;
	*size = source.size;
	return 0;
}

int
region_file_find(const char *file, struct region_source *source)
{
	return find(file, O_NOFOLLOW, source);
}

int
region_file_size(const char *file, uint64_t *size)
{
	struct region_source source;
	AUTO_FD int fd = region_file_find(file, &source);

	if (fd < 0)
		return fd;
	*size = source.size;
	return 0;
}
