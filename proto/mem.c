/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The front-end's memory table; the promises are in mem.h. */
#include "config.h"

#include "proto/mem.h"

#include "proto/checked.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static int
refuse(const char **why, int error, const char *reason)
{
	*why = reason;
	return error;
}

/* Whether the numbers can be, looked at for themselves. */
static bool
numbers_valid(const struct vus_wire_mem_region *r, bool by_guest)
{
	uint64_t end;

	return r->size != 0 && checked_add(r->guest_addr, r->size, &end) &&
	       (by_guest || checked_add(r->user_addr, r->size, &end)) &&
	       checked_add(r->mmap_offset, r->size, &end);
}

static bool
overlaps_any(const struct vus_mem_region *list, unsigned n,
    const struct vus_wire_mem_region *r, bool by_guest)
{
	for (unsigned i = 0; i < n; i++)
		if (checked_overlap(list[i].guest_addr, list[i].size,
			r->guest_addr, r->size) ||
		    (!by_guest && checked_overlap(list[i].user_addr,
				      list[i].size, r->user_addr, r->size)))
			return true;
	return false;
}

/*
 * Describe wire region r, backed by fd, without mapping it: out->map stays
 * empty.
 */
static int
describe(struct vus_mem_region *out, const struct vus_wire_mem_region *r,
    int fd, bool by_guest, struct stat *st, const char **why)
{
	int rc;

	memset(out, 0, sizeof(*out));
	if (!numbers_valid(r, by_guest))
		return refuse(why, -EINVAL, "an empty or wrapping region");
	rc = vus_mapping_check(fd, r->mmap_offset, r->size, st, why);
	if (rc < 0)
		return rc;
	out->guest_addr = r->guest_addr;
	out->user_addr = r->user_addr;
	out->size = r->size;
	out->file_offset = r->mmap_offset;
	out->dev = st->st_dev;
	out->ino = st->st_ino;
	return 0;
}

/*
 * The index in mem of a mapping of the same piece of the same file that none
 * of the n regions before has claimed, or -1.
 */
static int
find_mapping(const struct vus_mem *mem, const struct vus_mem_region *region,
    const int *claimed, unsigned n)
{
	for (unsigned i = 0; i < mem->nregions; i++) {
		const struct vus_mem_region *old = &mem->region[i];
		bool taken = false;

		if (old->dev != region->dev || old->ino != region->ino ||
		    old->size != region->size ||
		    old->file_offset != region->file_offset)
			continue;
		for (unsigned k = 0; k < n; k++)
			taken = taken || claimed[k] == (int)i;
		if (!taken)
			return (int)i;
	}
	return -1;
}

int
vus_mem_replace(struct vus_mem *mem, const struct vus_wire_mem_region *regions,
    const int *fds, unsigned n, const char **why)
{
	struct vus_mem_region fresh[VUS_MEM_TABLE_MAX];
	int claimed[VUS_MEM_TABLE_MAX];
	unsigned done = 0;
	int rc = 0;

	if (n > VUS_MEM_TABLE_MAX)
		return refuse(why, -EINVAL, "too many regions");
	/* Nothing of mem changes before all of this has succeeded. */
	for (; done < n; done++) {
		struct stat st;

		rc = describe(&fresh[done], &regions[done], fds[done],
		    mem->by_guest, &st, why);
		if (rc < 0)
			break;
		if (overlaps_any(fresh, done, &regions[done], mem->by_guest)) {
			rc = refuse(why, -EINVAL, "overlapping regions");
			break;
		}
		claimed[done] = find_mapping(mem, &fresh[done], claimed, done);
		if (claimed[done] >= 0)
			continue;
		rc = vus_mapping_open(&fresh[done].map, fds[done],
		    fresh[done].file_offset, fresh[done].size, &st, why);
		if (rc < 0)
			break;
	}
	if (rc < 0) {
		while (done-- > 0)
			vus_mapping_close(&fresh[done].map);
		return rc;
	}
	for (unsigned i = 0; i < n; i++) {
		struct vus_mem_region *old;

		if (claimed[i] < 0)
			continue;
		old = &mem->region[claimed[i]];
		fresh[i].map = old->map;
		old->map = (struct vus_mapping){ 0 };
	}
	vus_mem_clear(mem);
	memcpy(mem->region, fresh, n * sizeof(fresh[0]));
	mem->nregions = n;
	return 0;
}

int
vus_mem_add(struct vus_mem *mem, const struct vus_wire_mem_region *region,
    int fd, const char **why)
{
	struct vus_mem_region fresh;
	struct stat st;
	int rc;

	if (mem->nregions == VUS_MEM_SLOTS_MAX)
		return refuse(why, -ENOSPC, "no memory slot is left");
	rc = describe(&fresh, region, fd, mem->by_guest, &st, why);
	if (rc < 0)
		return rc;
	if (overlaps_any(mem->region, mem->nregions, region, mem->by_guest))
		return refuse(why, -EINVAL, "overlapping regions");
	rc = vus_mapping_open(
	    &fresh.map, fd, fresh.file_offset, fresh.size, &st, why);
	if (rc < 0)
		return rc;
	mem->region[mem->nregions++] = fresh;
	return 0;
}

int
vus_mem_remove(struct vus_mem *mem, const struct vus_wire_mem_region *region)
{
	for (unsigned i = 0; i < mem->nregions; i++) {
		struct vus_mem_region *r = &mem->region[i];

		if (r->guest_addr != region->guest_addr ||
		    (r->user_addr != region->user_addr && !mem->by_guest) ||
		    r->size != region->size)
			continue;
		vus_mapping_close(&r->map);
		*r = mem->region[--mem->nregions];
		return 0;
	}
	return -ENOENT;
}

void
vus_mem_clear(struct vus_mem *mem)
{
	for (unsigned i = 0; i < mem->nregions; i++)
		vus_mapping_close(&mem->region[i].map);
	mem->nregions = 0;
}

const struct vus_mem_region *
vus_mem_find_file(const struct vus_mem *mem, dev_t dev, ino_t ino, unsigned *i)
{
	for (; *i < mem->nregions; (*i)++)
		if (mem->region[*i].dev == dev && mem->region[*i].ino == ino)
			return &mem->region[*i];
	return NULL;
}

void *
vus_mem_guest(const struct vus_mem *mem, uint64_t addr, uint64_t *len)
{
	for (unsigned i = 0; i < mem->nregions; i++) {
		const struct vus_mem_region *r = &mem->region[i];
		uint64_t offset = addr - r->guest_addr;

		if (addr < r->guest_addr || offset >= r->size)
			continue;
		if (*len > r->size - offset)
			*len = r->size - offset;
		return r->map.at + offset;
	}
	return NULL;
}

void *
vus_mem_ring(const struct vus_mem *mem, uint64_t addr, uint64_t len)
{
	for (unsigned i = 0; i < mem->nregions; i++) {
		const struct vus_mem_region *r = &mem->region[i];
		uint64_t start = mem->by_guest ? r->guest_addr : r->user_addr;

		if (addr >= start && checked_within(addr - start, len, r->size))
			return r->map.at + (addr - start);
	}
	return NULL;
}

uint64_t
vus_mem_guest_addr(const struct vus_mem *mem, const void *at)
{
	for (unsigned i = 0; i < mem->nregions; i++) {
		const struct vus_mem_region *r = &mem->region[i];
		uintptr_t offset = (uintptr_t)at - (uintptr_t)r->map.at;

		if ((uintptr_t)at >= (uintptr_t)r->map.at && offset < r->size)
			return r->guest_addr + offset;
	}
	return UINT64_MAX;
}
