/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Split virtqueues; the promises are in virtq.h. */
#include "config.h"

#include "virtq.h"

#include "checked.h"

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* VIRTIO 1.3, 2.7.5: struct virtq_desc. */
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};
static_assert(sizeof(struct desc) == 16, "ring layout");

#define DESC_NEXT 1U
#define DESC_WRITE 2U
#define DESC_INDIRECT 4U
#define AVAIL_NO_INTERRUPT 1U

/* Offsets in the available ring (2.7.6) and the used ring (2.7.8). */
#define AVAIL_FLAGS 0U
#define AVAIL_IDX 2U
#define AVAIL_RING 4U
#define USED_IDX 2U
#define USED_RING 4U
#define USED_ELEM 8U

/*
 * Each access to a shared field is one load or store, so that a value which
 * is checked is the value that is used.
 */
static uint16_t
load16(const unsigned char *at)
{
	/* Aligned: vus_virtq_resolve() has looked. */
	return le16toh(__atomic_load_n(
	    (const uint16_t *)(const void *)at, __ATOMIC_RELAXED));
}

static uint16_t
load16_acquire(const unsigned char *at)
{
	return le16toh(__atomic_load_n(
	    (const uint16_t *)(const void *)at, __ATOMIC_ACQUIRE));
}

/* Not const: the store goes through the cast. */
static void
/* NOLINTNEXTLINE(readability-non-const-parameter) */
store16(unsigned char *at, uint16_t value)
{
	__atomic_store_n(
	    (uint16_t *)(void *)at, htole16(value), __ATOMIC_RELAXED);
}

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

static bool
aligned(const void *p, uintptr_t to)
{
	return ((uintptr_t)p & (to - 1)) == 0;
}

int
vus_virtq_resolve(struct vus_virtq *vq, const struct vus_mem *mem,
    uint64_t desc, uint64_t avail, uint64_t used)
{
	/* The sizes of 2.7, each with its event index. */
	uint64_t n = vq->num;
	unsigned char *d = vus_mem_user(mem, desc, n * sizeof(struct desc));
	unsigned char *a = vus_mem_user(mem, avail, AVAIL_RING + n * 2 + 2);
	unsigned char *u =
	    vus_mem_user(mem, used, USED_RING + n * USED_ELEM + 2);

	vus_virtq_unresolve(vq);
	if (d == NULL || a == NULL || u == NULL)
		return -EFAULT;
	if (!aligned(d, 16) || !aligned(a, 2) || !aligned(u, 4))
		return -EINVAL;
	vq->desc_area = d;
	vq->avail_area = a;
	vq->used_area = u;
	vq->used = load16(u + USED_IDX);
	vq->signalled_valid = false;
	return 0;
}

void
vus_virtq_unresolve(struct vus_virtq *vq)
{
	vq->desc_area = NULL;
	vq->avail_area = NULL;
	vq->used_area = NULL;
}

/* Entry i of a table, read once. */
static struct desc
desc_load(const unsigned char *table, uint32_t i)
{
	struct desc d;
	const unsigned char *at = table + (size_t)i * sizeof(d);

	/* A copy that the compiler may not read a second time. */
	memcpy(&d, at, sizeof(d));
	atomic_signal_fence(memory_order_seq_cst);
	d.addr = le64toh(d.addr);
	d.len = le32toh(d.len);
	d.flags = le16toh(d.flags);
	d.next = le16toh(d.next);
	return d;
}

/* Add the guest memory of one descriptor to the chain. */
static const char *
add_segs(
    struct vus_chain *chain, const struct vus_mem *mem, const struct desc *d)
{
	bool write = (d->flags & DESC_WRITE) != 0;
	struct vus_seg *segs = write ? chain->write : chain->read;
	unsigned *n = write ? &chain->nwrite : &chain->nread;
	uint64_t addr = d->addr, left = d->len;

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
		segs[(*n)++] = (struct vus_seg){ .base = base, .len = piece };
		left -= piece;
		if (left != 0 && !checked_add(addr, piece, &addr))
			return "a descriptor that wraps";
	}
	return NULL;
}

/* Walk the chain at table[i]; at most limit descriptors of size entries. */
static const char *
walk(struct vus_chain *chain, const struct vus_mem *mem,
    const unsigned char *table, uint32_t size, uint32_t i, bool *indirect,
    struct desc *indirect_desc)
{
	for (uint32_t seen = 0; seen < size; seen++) {
		struct desc d = desc_load(table, i);
		const char *why;

		if (d.flags & DESC_INDIRECT) {
			/* 2.7.5.3.1: only where the driver may, not with
			 * NEXT, and not inside an indirect table. */
			if (!*indirect || (d.flags & DESC_NEXT))
				return "an indirect descriptor out of place";
			*indirect_desc = d;
			return NULL;
		}
		why = add_segs(chain, mem, &d);
		if (why != NULL)
			return why;
		if (!(d.flags & DESC_NEXT)) {
			*indirect = false;
			return NULL;
		}
		if (d.next >= size)
			return "a next index outside of the table";
		i = d.next;
	}
	return "a descriptor loop";
}

static const char *
gather(struct vus_virtq *vq, const struct vus_mem *mem, struct vus_chain *chain)
{
	bool indirect = vq->indirect;
	struct desc at = { 0 };
	const unsigned char *table;
	uint64_t len;
	const char *why;

	why = walk(
	    chain, mem, vq->desc_area, vq->num, chain->head, &indirect, &at);
	if (why != NULL || !indirect)
		return why;
	if (at.len == 0 || at.len % sizeof(struct desc) != 0 ||
	    at.len / sizeof(struct desc) > VUS_INDIRECT_MAX)
		return "an indirect table of a bad size";
	len = at.len;
	table = vus_mem_guest(mem, at.addr, &len);
	if (table == NULL || len != at.len)
		return "an indirect table outside of guest memory";
	indirect = false;
	return walk(chain, mem, table, (uint32_t)(at.len / sizeof(struct desc)),
	    0, &indirect, &at);
}

enum vus_pop
vus_virtq_pop(struct vus_virtq *vq, const struct vus_mem *mem,
    struct vus_chain *chain, const char **why)
{
	/* Acquire: the entries up to idx are written before it (2.7.13.3). */
	uint16_t idx = load16_acquire(vq->avail_area + AVAIL_IDX);
	uint16_t waiting = (uint16_t)(idx - vq->next);
	uint16_t head;

	if (waiting == 0)
		return VUS_POP_EMPTY;
	if (waiting > vq->num) {
		*why = "the available index is ahead by more than the ring";
		return VUS_POP_BROKEN;
	}
	head = load16(vq->avail_area + AVAIL_RING +
		      (size_t)(vq->next & (vq->num - 1)) * 2);
	vq->next++;
	if (head >= vq->num) {
		*why = "a head outside of the descriptor table";
		return VUS_POP_BAD;
	}
	chain->head = head;
	chain->nread = 0;
	chain->nwrite = 0;
	*why = gather(vq, mem, chain);
	if (*why != NULL) {
		vus_virtq_push(vq, head, 0);
		return VUS_POP_BAD;
	}
	return VUS_POP_CHAIN;
}

void
vus_virtq_push(struct vus_virtq *vq, uint16_t head, uint32_t len)
{
	uint32_t elem[2] = { htole32(head), htole32(len) };

	memcpy(vq->used_area + USED_RING +
		   (size_t)(vq->used & (vq->num - 1)) * USED_ELEM,
	    elem, sizeof(elem));
	vq->used++;
	/* Release: the entry is there before the index says so (2.7.13.4.1). */
	__atomic_store_n((uint16_t *)(void *)(vq->used_area + USED_IDX),
	    htole16(vq->used), __ATOMIC_RELEASE);
}

bool
vus_virtq_arm(struct vus_virtq *vq)
{
	/* Without event index the driver always notifies: the flag in the
	 * used ring stays as the driver initialised it, 0. */
	if (vq->event_idx) {
		store16(avail_event(vq), vq->next);
		/* Against the driver's store of idx and load of the event. */
		atomic_thread_fence(memory_order_seq_cst);
	}
	return load16_acquire(vq->avail_area + AVAIL_IDX) != vq->next;
}

bool
vus_virtq_should_call(struct vus_virtq *vq)
{
	uint16_t old = vq->signalled, now = vq->used;
	bool valid = vq->signalled_valid;

	/* The used index must be out before suppression is looked at. */
	atomic_thread_fence(memory_order_seq_cst);
	vq->signalled = now;
	vq->signalled_valid = true;
	if (!vq->event_idx)
		return !(
		    load16(vq->avail_area + AVAIL_FLAGS) & AVAIL_NO_INTERRUPT);
	if (!valid)
		return true;
	/* 2.7.10.1: whether used_event lies in [old, now). */
	return (uint16_t)(now - load16(used_event(vq)) - 1) <
	       (uint16_t)(now - old);
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
		done += n;
	}
	return done;
}
