/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Split virtqueues, VIRTIO 1.3, 2.7; the promises are in virtq.h. */
#include "config.h"

#include "proto/virtq_ring.h"

#define AVAIL_NO_INTERRUPT 1U

/* Offsets in the available ring (2.7.6) and the used ring (2.7.8). */
#define AVAIL_FLAGS 0U
#define AVAIL_IDX 2U
#define AVAIL_RING 4U
#define USED_IDX 2U
#define USED_RING 4U
#define USED_ELEM 8U

/* The event index fields follow the rings: 2.7.10. */
static const unsigned char *
used_event(const struct vus_virtq *vq)
{
	return vq->avail_area + AVAIL_RING + (size_t)vq->num * 2;
}

static unsigned char *
avail_event(const struct vus_virtq *vq)
{
	return vq->used_area + USED_RING + (size_t)vq->num * USED_ELEM;
}

/* Take over what was in flight, and go on behind it: the requests up to the
 * used index are completed, these are not. */
static const char *
take_over(struct vus_virtq *vq)
{
	const char *why;
	bool fresh;

	why = vus_inflight_split_start(&vq->inflight, vq->used, &fresh);
	if (why == NULL && !fresh)
		vq->next = (uint16_t)(vq->used + vq->inflight.redo);
	return why;
}

const char *
vus_split_resolve(struct vus_virtq *vq, const struct vus_mem *mem,
    uint64_t desc, uint64_t avail, uint64_t used)
{
	/* The sizes of 2.7, each with its event index. */
	uint64_t n = vq->num;
	unsigned char *d = vus_mem_ring(mem, desc, n * sizeof(struct vus_desc));
	unsigned char *a = vus_mem_ring(mem, avail, AVAIL_RING + n * 2 + 2);
	unsigned char *u =
	    vus_mem_ring(mem, used, USED_RING + n * USED_ELEM + 2);
	const char *why = NULL;

	if (d == NULL || a == NULL || u == NULL)
		return RING_NOT_IN_TABLE;
	if (!ring_aligned(d, 16) || !ring_aligned(a, 2) ||
	    !ring_aligned(u, 4) || !checked_power_of_two(n))
		return RING_IMPOSSIBLE;
	vq->used = ring_load16(u + USED_IDX);
	if (vq->inflight.region != NULL)
		why = take_over(vq);
	if (why != NULL)
		return why;
	vq->desc_area = d;
	vq->avail_area = a;
	vq->used_area = u;
	return NULL;
}

/*
 * Walk the chain that begins at table[i], of size entries. Stops at an
 * indirect descriptor, which goes to *indirect (its flags are 0 if there is
 * none), where the driver may use one.
 */
static const char *
walk(struct vus_chain *chain, const struct vus_mem *mem,
    const unsigned char *table, uint32_t size, uint32_t i, bool may_indirect,
    struct vus_desc *indirect)
{
	for (uint32_t seen = 0; seen < size; seen++) {
		struct vus_desc d = ring_load_desc(table, i);
		const char *why;

		if (d.a & DESC_INDIRECT) {
			/* 2.7.5.3.1: only where the driver may, not with
			 * NEXT, and not inside an indirect table. */
			if (!may_indirect || (d.a & DESC_NEXT))
				return "an indirect descriptor out of place";
			*indirect = d;
			return NULL;
		}
		why = vus_chain_add(
		    chain, mem, d.addr, d.len, (d.a & DESC_WRITE) != 0);
		if (why != NULL || !(d.a & DESC_NEXT))
			return why;
		if (d.b >= size)
			return "a next index outside of the table";
		i = d.b;
	}
	return "a descriptor loop";
}

static const char *
gather(const struct vus_virtq *vq, const struct vus_mem *mem,
    struct vus_chain *chain)
{
	struct vus_desc indirect = { 0 };
	const unsigned char *table;
	uint32_t entries;
	const char *why = walk(chain, mem, vq->desc_area, vq->num, chain->id,
	    vq->indirect, &indirect);

	if (why != NULL || indirect.a == 0)
		return why;
	why = vus_indirect_table(
	    mem, indirect.addr, indirect.len, &table, &entries);
	return why != NULL
		   ? why
		   : walk(chain, mem, table, entries, 0, false, &indirect);
}

/* The head of the next request: one that is to be done again, or one that is
 * new. VUS_POP_CHAIN, or what vus_split_pop() returns in its stead. */
static enum vus_pop
next_head(struct vus_virtq *vq, struct vus_chain *chain, const char **why)
{
	uint16_t idx, waiting;

	chain->redo = vq->inflight.redo != 0 &&
		      vus_inflight_split_redo(&vq->inflight, &chain->id);
	if (chain->redo && chain->id < vq->num)
		return VUS_POP_CHAIN;
	/* One of no such head: nothing after it is to be trusted, either. */
	if (chain->redo)
		vq->inflight.redo = 0;
	chain->redo = false;
	/* Acquire: the entries up to idx are written before it (2.7.13.3). */
	idx = ring_load16_acquire(vq->avail_area + AVAIL_IDX);
	waiting = (uint16_t)(idx - vq->next);
	if (waiting == 0)
		return VUS_POP_EMPTY;
	if (waiting > vq->num) {
		*why = "the available index is ahead by more than the ring";
		return VUS_POP_BROKEN;
	}
	chain->id = ring_load16(vq->avail_area + AVAIL_RING +
				(size_t)(vq->next & (vq->num - 1)) * 2);
	chain->at = vq->next++;
	if (chain->id >= vq->num) {
		*why = "a head outside of the descriptor table";
		return VUS_POP_SKIP;
	}
	vus_inflight_split_take(&vq->inflight, chain->id);
	return VUS_POP_CHAIN;
}

enum vus_pop
vus_split_pop(struct vus_virtq *vq, const struct vus_mem *mem,
    struct vus_chain *chain, const char **why)
{
	enum vus_pop pop = next_head(vq, chain, why);

	if (pop != VUS_POP_CHAIN)
		return pop;
	*why = gather(vq, mem, chain);
	return *why == NULL ? VUS_POP_CHAIN : VUS_POP_BAD;
}

void
vus_split_push(
    struct vus_virtq *vq, const struct vus_chain *chain, uint32_t len)
{
	uint32_t elem[2] = { htole32(chain->id), htole32(len) };
	size_t at = USED_RING + (size_t)(vq->used & (vq->num - 1)) * USED_ELEM;

	vus_inflight_split_put(&vq->inflight, chain->id);
	memcpy(vq->used_area + at, elem, sizeof(elem));
	vq->used++;
	/* Release: the entry is there before the index says so (2.7.13.4.1). */
	ring_store16_release(vq->used_area + USED_IDX, vq->used);
	vus_inflight_split_done(&vq->inflight, chain->id, vq->used);
	ring_wrote(vq, vq->used_log, at, sizeof(elem));
	ring_wrote(vq, vq->used_log, USED_IDX, sizeof(uint16_t));
}

bool
vus_split_arm(struct vus_virtq *vq)
{
	/* Without event index the driver always notifies: the flag in the
	 * used ring stays as the driver initialised it, 0. */
	if (vq->event_idx) {
		ring_store16(avail_event(vq), vq->next);
		ring_wrote(vq, vq->used_log,
		    USED_RING + (uint64_t)vq->num * USED_ELEM,
		    sizeof(uint16_t));
		/* Against the driver's store of idx and load of the event. */
		atomic_thread_fence(memory_order_seq_cst);
	}
	return ring_load16_acquire(vq->avail_area + AVAIL_IDX) != vq->next;
}

bool
vus_split_should_call(struct vus_virtq *vq)
{
	uint16_t old = vq->signalled;
	bool valid = vq->signalled_valid;

	vq->signalled = vq->used;
	vq->signalled_valid = true;
	if (!vq->event_idx)
		return !(ring_load16(vq->avail_area + AVAIL_FLAGS) &
			 AVAIL_NO_INTERRUPT);
	return !valid ||
	       ring_need_event(ring_load16(used_event(vq)), vq->used, old);
}
