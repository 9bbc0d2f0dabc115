/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Virtqueues of either format; the promises are in virtq.h. The formats are
 * in virtq_split.c and virtq_packed.c.
 */
#include "config.h"

#include "proto/virtq.h"

#include "proto/checked.h"
#include "proto/virtq_ring.h"

#include <errno.h>

void
vus_virtq_reset(struct vus_virtq *vq)
{
	vus_virtq_unresolve(vq);
	vq->num = 0;
	vq->next = 0;
	vq->used = 0;
	/* 2.8.1: both counters begin with 1. */
	vq->next_wrap = true;
	vq->used_wrap = true;
	vq->signalled_valid = false;
	vq->log_ring = false;
	vq->inflight = (struct vus_inflight){ 0 };
}

/* A position in a packed ring: index and wrap counter. */
static uint16_t
packed_position(uint16_t index, bool wrap)
{
	return (uint16_t)(index | (wrap ? 0x8000U : 0));
}

int
vus_virtq_set_base(struct vus_virtq *vq, uint32_t base)
{
	uint16_t next = (uint16_t)base, used = (uint16_t)(base >> 16);

	if (!vq->packed) {
		if (base > UINT16_MAX)
			return -EINVAL;
		vq->next = next;
		return 0;
	}
	/* Front-ends with 16 bits for it (rust-vmm) send one position. */
	if (used == 0)
		used = next;
	vq->next = next & 0x7fffU;
	vq->next_wrap = (next & 0x8000U) != 0;
	vq->used = used & 0x7fffU;
	vq->used_wrap = (used & 0x8000U) != 0;
	return 0;
}

uint32_t
vus_virtq_base(const struct vus_virtq *vq)
{
	if (!vq->packed)
		return vq->next;
	return packed_position(vq->next, vq->next_wrap) |
	       (uint32_t)packed_position(vq->used, vq->used_wrap) << 16;
}

const char *
vus_virtq_resolve(struct vus_virtq *vq, const struct vus_mem *mem,
    uint64_t desc, uint64_t avail, uint64_t used)
{
	vus_virtq_unresolve(vq);
	vq->signalled_valid = false;
	return (vq->packed ? vus_packed_resolve : vus_split_resolve)(
	    vq, mem, desc, avail, used);
}

void
vus_virtq_unresolve(struct vus_virtq *vq)
{
	vq->desc_area = NULL;
	vq->avail_area = NULL;
	vq->used_area = NULL;
}

enum vus_pop
vus_virtq_pop(struct vus_virtq *vq, const struct vus_mem *mem,
    struct vus_chain *chain, const char **why)
{
	chain->nread = 0;
	chain->nwrite = 0;
	chain->slots = 1;
	chain->dirty = vq->dirty;
	return (vq->packed ? vus_packed_pop : vus_split_pop)(
	    vq, mem, chain, why);
}

void
vus_virtq_push(
    struct vus_virtq *vq, const struct vus_chain *chain, uint32_t len)
{
	(vq->packed ? vus_packed_push : vus_split_push)(vq, chain, len);
}

void
vus_virtq_unpop(struct vus_virtq *vq, const struct vus_chain *chain)
{
	if (chain->redo)
		return;
	vq->next = chain->at;
	vq->next_wrap = chain->at_wrap;
	if (vq->packed)
		vus_inflight_packed_untake(&vq->inflight, chain->entry);
	else
		vus_inflight_split_untake(&vq->inflight, chain->id);
}

bool
vus_virtq_arm(struct vus_virtq *vq)
{
	return (vq->packed ? vus_packed_arm : vus_split_arm)(vq);
}

bool
vus_virtq_should_call(struct vus_virtq *vq)
{
	/* What was used must be out before suppression is looked at. */
	atomic_thread_fence(memory_order_seq_cst);
	return (vq->packed ? vus_packed_should_call : vus_split_should_call)(
	    vq);
}

/* --- chains -------------------------------------------------------------- */

const char *
vus_chain_add(struct vus_chain *chain, const struct vus_mem *mem, uint64_t addr,
    uint32_t len, bool write)
{
	struct vus_seg *segs = write ? chain->write : chain->read;
	unsigned *n = write ? &chain->nwrite : &chain->nread;
	uint64_t left = len;

	/* 2.7.4.2: all that the device reads comes before what it writes. */
	if (!write && chain->nwrite != 0)
		return "a readable descriptor after a writable one";
	while (left != 0) {
		uint64_t piece = left;
		void *base = vus_mem_guest(mem, addr, &piece);

		if (base == NULL)
			return "a descriptor outside of guest memory";
		if (*n == VUS_CHAIN_SEGS)
			return "more pieces than this device can need";
		segs[(*n)++] = (struct vus_seg){
			.base = base, .len = piece, .addr = addr
		};
		left -= piece;
		if (left != 0 && !checked_add(addr, piece, &addr))
			return "a descriptor that wraps";
	}
	return NULL;
}

const char *
vus_indirect_table(const struct vus_mem *mem, uint64_t addr, uint32_t len,
    const unsigned char **table, uint32_t *entries)
{
	uint64_t found = len;

	if (len == 0 || len % sizeof(struct vus_desc) != 0 ||
	    len / sizeof(struct vus_desc) > VUS_INDIRECT_MAX)
		return "an indirect table of a bad size";
	*table = vus_mem_guest(mem, addr, &found);
	if (*table == NULL || found != len)
		return "an indirect table outside of guest memory";
	*entries = (uint32_t)(len / sizeof(struct vus_desc));
	return NULL;
}

uint64_t
vus_chain_readable(const struct vus_chain *chain)
{
	uint64_t sum = 0;

	/* Pieces of guest memory, each within a mapping: it cannot wrap. */
	for (unsigned i = 0; i < chain->nread; i++)
		sum += chain->read[i].len;
	return sum;
}

size_t
vus_chain_read(const struct vus_chain *chain, void *to, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < chain->nread && done < len; i++) {
		size_t n = len - done;

		if (n > chain->read[i].len)
			n = (size_t)chain->read[i].len;
		memcpy((unsigned char *)to + done, chain->read[i].base, n);
		done += n;
	}
	return done;
}

size_t
vus_chain_write(const struct vus_chain *chain, const void *from, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < chain->nwrite && done < len; i++) {
		size_t n = len - done;

		if (n > chain->write[i].len)
			n = (size_t)chain->write[i].len;
		memcpy(chain->write[i].base, (const unsigned char *)from + done,
		    n);
		if (chain->dirty != NULL)
			vus_dirty_mark(chain->dirty, chain->write[i].addr, n);
		done += n;
	}
	return done;
}

void
vus_chain_write_last(const struct vus_chain *chain, unsigned char byte)
{
	const struct vus_seg *seg;

	if (chain->nwrite == 0)
		return;
	seg = &chain->write[chain->nwrite - 1];
	seg->base[seg->len - 1] = byte;
	if (chain->dirty != NULL)
		vus_dirty_mark(chain->dirty, seg->addr + seg->len - 1, 1);
}
