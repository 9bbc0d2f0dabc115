/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Packed virtqueues, VIRTIO 1.3, 2.8; the promises are in virtq.h. */
#include "config.h"

#include "proto/virtq_ring.h"

/* Descriptor flags that tell whose turn it is: 2.8.1. */
#define DESC_AVAIL 0x80U
#define DESC_USED 0x8000U
/* Offset of id and flags in a descriptor. */
#define DESC_LEN 8U
#define DESC_FLAGS 14U

/* Event suppression structures, 2.8.14: offset and wrap counter, then flags. */
#define EVENT_OFF_WRAP 0U
#define EVENT_FLAGS 2U
#define EVENT_SIZE 4U
#define EVENT_ENABLE 0U
#define EVENT_DISABLE 1U
#define EVENT_DESC 2U
#define EVENT_WRAP 0x8000U

/* The position n entries further on. */
static struct vus_position
advance(const struct vus_virtq *vq, uint16_t index, bool wrap, uint32_t n)
{
	uint32_t to = index + n; /* n is at most num */

	return to < vq->num
		   ? (struct vus_position){ (uint16_t)to, wrap }
		   : (struct vus_position){ (uint16_t)(to - vq->num), !wrap };
}

/* Take over what was in flight, and go on behind it. */
static const char *
take_over(struct vus_virtq *vq, const unsigned char *desc_area)
{
	struct vus_position at = { vq->used, vq->used_wrap };
	const char *why;
	uint32_t slots;
	bool fresh;

	why = vus_inflight_packed_start(
	    &vq->inflight, vq->num, desc_area, &at, &fresh, &slots);
	if (why != NULL || fresh)
		return why;
	vq->used = at.index;
	vq->used_wrap = at.wrap;
	at = advance(vq, at.index, at.wrap, slots);
	vq->next = at.index;
	vq->next_wrap = at.wrap;
	return NULL;
}

const char *
vus_packed_resolve(struct vus_virtq *vq, const struct vus_mem *mem,
    uint64_t desc, uint64_t driver, uint64_t device)
{
	unsigned char *d =
	    vus_mem_ring(mem, desc, vq->num * sizeof(struct vus_desc));
	unsigned char *from = vus_mem_ring(mem, driver, EVENT_SIZE);
	unsigned char *to = vus_mem_ring(mem, device, EVENT_SIZE);

	const char *why = NULL;

	if (d == NULL || from == NULL || to == NULL)
		return RING_NOT_IN_TABLE;
	if (!ring_aligned(d, 16) || !ring_aligned(from, 4) ||
	    !ring_aligned(to, 4) || vq->next >= vq->num || vq->used >= vq->num)
		return RING_IMPOSSIBLE;
	if (vq->inflight.region != NULL)
		why = take_over(vq, d);
	if (why != NULL)
		return why;
	vq->desc_area = d;
	vq->avail_area = from;
	vq->used_area = to;
	/* Always notify us: what a back-end before us may have asked for is
	 * of the past. */
	ring_store16(to + EVENT_FLAGS, EVENT_ENABLE);
	vq->desc_log = vus_mem_guest_addr(mem, d);
	vq->used_log = vus_mem_guest_addr(mem, to);
	ring_wrote(vq, vq->used_log, EVENT_FLAGS, sizeof(uint16_t));
	return NULL;
}

/* 2.8.1.1: available if the bits say this round's, and not used. */
static bool
available(const struct vus_virtq *vq)
{
	uint16_t flags = ring_load16_acquire(
	    vq->desc_area + (size_t)vq->next * sizeof(struct vus_desc) +
	    DESC_FLAGS);

	return ((flags & DESC_AVAIL) != 0) == vq->next_wrap &&
	       ((flags & DESC_USED) != 0) != vq->next_wrap;
}

/* 2.8.7: the entries of an indirect table stand in order; of their flags only
 * WRITE counts. */
static const char *
add_indirect(const struct vus_virtq *vq, const struct vus_mem *mem,
    struct vus_chain *chain, const struct vus_desc *d)
{
	const unsigned char *table;
	uint32_t entries;
	const char *why;

	if (!vq->indirect || (d->b & DESC_NEXT))
		return "an indirect descriptor out of place";
	why = vus_indirect_table(mem, d->addr, d->len, &table, &entries);
	for (uint32_t i = 0; why == NULL && i < entries; i++) {
		struct vus_desc e = ring_load_desc(table, i);

		why = (e.b & DESC_INDIRECT)
			  ? "an indirect descriptor out of place"
			  : vus_chain_add(chain, mem, e.addr, e.len,
				(e.b & DESC_WRITE) != 0);
	}
	return why;
}

/* The next descriptor of the ring, noted down as a part of the request in
 * entry. */
static struct vus_desc
take_desc(struct vus_virtq *vq, uint16_t entry)
{
	struct vus_desc d = ring_load_desc(vq->desc_area, vq->next);
	struct vus_position next = advance(vq, vq->next, vq->next_wrap, 1);
	struct vus_packed_desc kept = { d.addr, d.len, d.a, d.b };

	vq->next = next.index;
	vq->next_wrap = next.wrap;
	vus_inflight_packed_add(
	    &vq->inflight, entry, &kept, (d.b & DESC_NEXT) == 0);
	return d;
}

/* The same of a request that is to be done again. */
static struct vus_desc
kept_desc(const struct vus_virtq *vq, uint16_t *at)
{
	struct vus_packed_desc kept =
	    vus_inflight_packed_next(&vq->inflight, at);

	return (struct vus_desc){ kept.addr, kept.len, kept.id, kept.flags };
}

enum vus_pop
vus_packed_pop(struct vus_virtq *vq, const struct vus_mem *mem,
    struct vus_chain *chain, const char **why)
{
	uint16_t at;
	struct vus_desc d;

	*why = NULL;
	chain->redo = vq->inflight.redo != 0 &&
		      vus_inflight_packed_redo(&vq->inflight, &chain->entry);
	at = chain->entry;
	if (!chain->redo) {
		/* The driver makes a chain available by its first descriptor,
		 * when the others are there (2.8.21.1). */
		if (!available(vq))
			return VUS_POP_EMPTY;
		chain->at = vq->next;
		chain->at_wrap = vq->next_wrap;
		chain->entry = vus_inflight_packed_take(&vq->inflight);
	}
	/* To the chain's end, also of a bad one: its length has to be known
	 * to hand it back. */
	for (chain->slots = 0;;) {
		if (chain->slots == vq->num) {
			*why = "a chain without an end";
			return VUS_POP_BROKEN;
		}
		d = chain->redo ? kept_desc(vq, &at)
				: take_desc(vq, chain->entry);
		chain->slots++;
		if (*why == NULL)
			*why = (d.b & DESC_INDIRECT)
				   ? add_indirect(vq, mem, chain, &d)
				   : vus_chain_add(chain, mem, d.addr, d.len,
					 (d.b & DESC_WRITE) != 0);
		if (!(d.b & DESC_NEXT))
			break;
	}
	/* The buffer's id stands in its last descriptor: 2.8.6. */
	chain->id = d.a;
	return *why == NULL ? VUS_POP_CHAIN : VUS_POP_BAD;
}

void
vus_packed_push(
    struct vus_virtq *vq, const struct vus_chain *chain, uint32_t len)
{
	size_t offset = (size_t)vq->used * sizeof(struct vus_desc);
	unsigned char *at = vq->desc_area + offset;
	struct vus_position next =
	    advance(vq, vq->used, vq->used_wrap, chain->slots);
	struct {
		uint32_t len;
		uint16_t id;
	} result = { htole32(len), htole16(chain->id) };
	uint16_t flags = 0;

	vus_inflight_packed_put(&vq->inflight, chain->entry, next);
	memcpy(at + DESC_LEN, &result, DESC_FLAGS - DESC_LEN);
	if (vq->used_wrap)
		flags = DESC_AVAIL | DESC_USED;
	if (len != 0)
		flags |= DESC_WRITE;
	/* Release: the rest is there before the flags say so (2.8.22.1). */
	ring_store16_release(at + DESC_FLAGS, flags);
	vus_inflight_packed_done(&vq->inflight, chain->entry);
	ring_wrote(vq, vq->desc_log, offset + DESC_LEN,
	    sizeof(struct vus_desc) - DESC_LEN);
	/* The event index of another round says nothing of this. */
	if (next.wrap != vq->used_wrap)
		vq->signalled_valid = false;
	vq->used = next.index;
	vq->used_wrap = next.wrap;
}

bool
vus_packed_arm(struct vus_virtq *vq)
{
	/* The device area says "always" since vus_packed_resolve(). */
	return available(vq);
}

bool
vus_packed_should_call(struct vus_virtq *vq)
{
	uint16_t old = vq->signalled, event;
	bool valid = vq->signalled_valid;

	vq->signalled = vq->used;
	vq->signalled_valid = true;
	switch (ring_load16_acquire(vq->avail_area + EVENT_FLAGS) & 3U) {
	case EVENT_DISABLE:
		return false;
	case EVENT_DESC:
		break;
	default:
		return true;
	}
	if (!vq->event_idx || !valid)
		return true;
	event = ring_load16(vq->avail_area + EVENT_OFF_WRAP);
	if (((event & EVENT_WRAP) != 0) == vq->used_wrap)
		event = (uint16_t)(event & ~EVENT_WRAP);
	else
		event = (uint16_t)((event & ~EVENT_WRAP) - vq->num);
	return ring_need_event(event, vq->used, old);
}
