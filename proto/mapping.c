/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Files of the front-end, mapped; the promises are in mapping.h. */
#include "config.h"

#include "proto/mapping.h"

#include "proto/checked.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static int
refuse(const char **why, int error, const char *reason)
{
	*why = reason;
	return error;
}

int
vus_mapping_check(
    int fd, uint64_t offset, uint64_t size, struct stat *st, const char **why)
{
	if (fstat(fd, st) < 0)
		return refuse(why, -errno, strerror(errno));
	if (!S_ISREG(st->st_mode))
		return refuse(why, -EBADF,
		    "its descriptor is not of a memfd or regular file");
	if (st->st_size < 0 ||
	    !checked_within(offset, size, (uint64_t)st->st_size))
		return refuse(why, -EINVAL, "beyond the end of its file");
	return 0;
}

int
vus_mapping_open(struct vus_mapping *mapping, int fd, uint64_t offset,
    uint64_t size, const struct stat *st, const char **why)
{
	/* The block size of a huge page file is its page size, to which
	 * offset and length must keep. */
	uint64_t page = st->st_blksize > 4096 &&
				checked_power_of_two((uint64_t)st->st_blksize)
			    ? (uint64_t)st->st_blksize
			    : 4096;
	uint64_t start = offset & ~(page - 1);
	uint64_t delta = offset - start;
	uint64_t len;
	void *base;

	*mapping = (struct vus_mapping){ 0 };
	if (!checked_add(size, delta, &len) ||
	    !checked_add(len, page - 1, &len) || len > SIZE_MAX)
		return refuse(why, -EINVAL, "an empty or wrapping region");
	len &= ~(page - 1);
	base = mmap(NULL, (size_t)len, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_NORESERVE, fd, (off_t)start);
	if (base == MAP_FAILED)
		return refuse(why, -errno, strerror(errno));
	mapping->base = base;
	mapping->len = (size_t)len;
	mapping->at = (unsigned char *)base + delta;
	return 0;
}

void
vus_mapping_close(struct vus_mapping *mapping)
{
	if (mapping->base != NULL)
		(void)munmap(mapping->base, mapping->len);
	*mapping = (struct vus_mapping){ 0 };
}
