/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The dirty log; the promises are in dirty.h. */
#include "config.h"

#include "proto/dirty.h"

#include "proto/checked.h"

#include <errno.h>

int
vus_dirty_open(struct vus_dirty *dirty, int fd, uint64_t offset, uint64_t size,
    const char **why)
{
	struct vus_mapping map;
	struct stat st;
	uint64_t end;
	int rc;

	if (size == 0 || !checked_add(offset, size, &end)) {
		*why = "an empty or wrapping log";
		return -EINVAL;
	}
	rc = vus_mapping_check(fd, offset, size, &st, why);
	if (rc == 0)
		rc = vus_mapping_open(&map, fd, offset, size, &st, why);
	if (rc < 0)
		return rc;
	vus_dirty_close(dirty);
	dirty->map = map;
	dirty->size = size;
	return 0;
}

void
vus_dirty_close(struct vus_dirty *dirty)
{
	vus_mapping_close(&dirty->map);
	dirty->size = 0;
	dirty->marked = false;
}

void
vus_dirty_mark(struct vus_dirty *dirty, uint64_t addr, uint64_t len)
{
	uint64_t last;

	if (dirty->map.base == NULL || len == 0 ||
	    !checked_add(addr, len - 1, &last))
		return;
	for (uint64_t page = addr / VUS_DIRTY_PAGE;
	     page <= last / VUS_DIRTY_PAGE && page / 8 < dirty->size; page++) {
		unsigned char bit = (unsigned char)(1U << (page % 8));

		/* The front-end takes bits out at the same time. Release: who
		 * finds the bit finds what was written. */
		(void)__atomic_fetch_or(
		    dirty->map.at + page / 8, bit, __ATOMIC_RELEASE);
		dirty->marked = true;
	}
}
