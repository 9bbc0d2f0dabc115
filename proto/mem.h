/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The front-end's memory table: which guest physical and front-end virtual
 * addresses lie where in our address space. vhost-user.rst, "Memory regions
 * description"; VHOST_USER_SET_MEM_TABLE, ADD_MEM_REG, REM_MEM_REG.
 *
 * Threat model: addresses, sizes and offsets are the peer's invention and
 * the descriptors may be of anything: mapping.h says what becomes of them.
 */
#ifndef MEM_H
#define MEM_H

#include "proto/mapping.h"
#include "proto/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* libvhost-user's number of memory slots, which front-ends have met. */
#define VUS_MEM_SLOTS_MAX 509U
/* Regions that SET_MEM_TABLE may carry: rust-vmm sends up to 32, QEMU 8. */
#define VUS_MEM_TABLE_MAX 32U

struct vus_mem_region {
	uint64_t guest_addr;  /* guest physical */
	uint64_t user_addr;   /* front-end virtual */
	uint64_t size;	      /* bytes */
	uint64_t file_offset; /* bytes */
	dev_t dev;	      /* of the file, with ino: tells our own memfd */
	ino_t ino;
	struct vus_mapping map; /* at: where guest_addr is */
};

struct vus_mem {
	/* Rings are named by guest physical addresses, and user_addr says
	 * nothing: VHOST_USER_PROTOCOL_F_GPA_ADDRESSES. */
	bool by_guest;
	unsigned nregions;
	struct vus_mem_region region[VUS_MEM_SLOTS_MAX];
};

/*
 * Put the n regions of a memory table in place of all that mem holds; what
 * is in both stays mapped where it is. fds[i] belongs to region i and stays
 * the caller's. On error mem is as before.
 *
 * Returns 0, or a negative errno with a reason in *why: -EINVAL for numbers
 * that cannot be (wrapping, empty, overlapping, beyond the file), -EBADF for
 * a descriptor of something else than a regular file, else mmap's.
 */
int vus_mem_replace(struct vus_mem *mem,
    const struct vus_wire_mem_region *regions, const int *fds, unsigned n,
    const char **why) __attribute__((warn_unused_result));

/* Add one region; as vus_mem_replace, and -ENOSPC when all slots are used. */
int vus_mem_add(struct vus_mem *mem, const struct vus_wire_mem_region *region,
    int fd, const char **why) __attribute__((warn_unused_result));

/* Remove the region with these addresses and size (of its addresses only the
 * guest's, if by_guest). Returns 0 or -ENOENT. */
int vus_mem_remove(
    struct vus_mem *mem, const struct vus_wire_mem_region *region)
    __attribute__((warn_unused_result));

/* Unmap everything. */
void vus_mem_clear(struct vus_mem *mem);

/*
 * The first entry of the table, from *i on, that is of the file dev:ino, and
 * *i is its number; or NULL.
 */
const struct vus_mem_region *vus_mem_find_file(
    const struct vus_mem *mem, dev_t dev, ino_t ino, unsigned *i);

/*
 * Our address of guest physical address addr, or NULL. *len, in bytes, is
 * cut to what lies in one piece there.
 */
void *vus_mem_guest(const struct vus_mem *mem, uint64_t addr, uint64_t *len);

/* Our address of the part of a ring at [addr, addr + len), or NULL unless all
 * of it lies in one region. addr is front-end virtual, or by_guest. */
void *vus_mem_ring(const struct vus_mem *mem, uint64_t addr, uint64_t len);

/* The guest physical address of a byte that vus_mem_ring() has found. */
uint64_t vus_mem_guest_addr(const struct vus_mem *mem, const void *at);

#endif
