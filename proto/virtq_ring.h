/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What the two ring formats share, and what virtq.c calls of each. Inside of
 * proto/ only: others use virtq.h.
 */
#ifndef VIRTQ_RING_H
#define VIRTQ_RING_H

#include "proto/checked.h"
#include "proto/virtq.h"

#include <endian.h>
#include <stdatomic.h>
#include <string.h>

/* VIRTIO 1.3, 2.7.5 and 2.8.13: the last two fields differ. */
struct vus_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t a; /* split: flags; packed: id */
	uint16_t b; /* split: next; packed: flags */
};
static_assert(sizeof(struct vus_desc) == 16, "ring layout");

#define DESC_NEXT 1U
#define DESC_WRITE 2U
#define DESC_INDIRECT 4U

/*
 * Each access to a shared field is one load or store, so that a value which
 * is checked is the value that is used. Pointers are aligned:
 * vus_virtq_resolve() has looked.
 */
static inline uint16_t
ring_load16(const unsigned char *at)
{
	return le16toh(__atomic_load_n(
	    (const uint16_t *)(const void *)at, __ATOMIC_RELAXED));
}

static inline uint16_t
ring_load16_acquire(const unsigned char *at)
{
	return le16toh(__atomic_load_n(
	    (const uint16_t *)(const void *)at, __ATOMIC_ACQUIRE));
}

static inline void
ring_store16(void *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)at, htole16(value), __ATOMIC_RELAXED);
}

static inline void
ring_store16_release(void *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)at, htole16(value), __ATOMIC_RELEASE);
}

/* Entry i of a descriptor table, read once. */
static inline struct vus_desc
ring_load_desc(const unsigned char *table, uint32_t i)
{
	struct vus_desc d;

	/* A copy that the compiler may not read a second time. */
	memcpy(&d, table + (size_t)i * sizeof(d), sizeof(d));
	atomic_signal_fence(memory_order_seq_cst);
	d.addr = le64toh(d.addr);
	d.len = le32toh(d.len);
	d.a = le16toh(d.a);
	d.b = le16toh(d.b);
	return d;
}

static inline bool
ring_aligned(const void *p, uintptr_t to)
{
	return ((uintptr_t)p & (to - 1)) == 0;
}

/* len bytes of the ring have been written, at offset in the area that begins
 * at guest physical address area. */
static inline void
ring_wrote(
    const struct vus_virtq *vq, uint64_t area, uint64_t offset, uint64_t len)
{
	uint64_t addr;

	if (vq->dirty != NULL && vq->log_ring &&
	    checked_add(area, offset, &addr))
		vus_dirty_mark(vq->dirty, addr, len);
}

#define RING_NOT_IN_TABLE "it is not in the memory table"
#define RING_IMPOSSIBLE "no size, no addresses or misaligned"

/* Whether event lies in [old, now): VIRTIO 1.3, 2.7.10.1. */
static inline bool
ring_need_event(uint16_t event, uint16_t now, uint16_t old)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

/* Add the guest memory of one descriptor to the chain. Returns NULL or what
 * is wrong with it. */
const char *vus_chain_add(struct vus_chain *chain, const struct vus_mem *mem,
    uint64_t addr, uint32_t len, bool write);

/* Find an indirect table; *entries is set. Returns NULL or what is wrong. */
const char *vus_indirect_table(const struct vus_mem *mem, uint64_t addr,
    uint32_t len, const unsigned char **table, uint32_t *entries);

/* The two formats. Contracts are those of vus_virtq_* in virtq.h. */
const char *vus_split_resolve(struct vus_virtq *vq, const struct vus_mem *mem,
    uint64_t desc, uint64_t avail, uint64_t used);
enum vus_pop vus_split_pop(struct vus_virtq *vq, const struct vus_mem *mem,
    struct vus_chain *chain, const char **why);
void vus_split_push(
    struct vus_virtq *vq, const struct vus_chain *chain, uint32_t len);
bool vus_split_arm(struct vus_virtq *vq);
bool vus_split_should_call(struct vus_virtq *vq);

const char *vus_packed_resolve(struct vus_virtq *vq, const struct vus_mem *mem,
    uint64_t desc, uint64_t driver, uint64_t device);
enum vus_pop vus_packed_pop(struct vus_virtq *vq, const struct vus_mem *mem,
    struct vus_chain *chain, const char **why);
void vus_packed_push(
    struct vus_virtq *vq, const struct vus_chain *chain, uint32_t len);
bool vus_packed_arm(struct vus_virtq *vq);
bool vus_packed_should_call(struct vus_virtq *vq);

#endif
