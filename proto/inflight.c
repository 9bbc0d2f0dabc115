/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The inflight buffer; the promises are in inflight.h. */
#include "config.h"

#include "proto/inflight.h"

#include <endian.h>
#include <string.h>

/* The two formats of vhost-user.rst, "Inflight I/O tracking". The buffer does
 * not leave the host: it is in host byte order. */
#define FORMAT 1U

struct split_entry {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next; /* completed before this one in the last batch */
	uint64_t counter;
};
static_assert(sizeof(struct split_entry) == 16, "layout");

struct split_region {
	uint64_t features;
	uint16_t version; /* 0: not initialised */
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct split_entry desc[];
};
static_assert(sizeof(struct split_region) == 16, "layout");

struct packed_entry {
	uint8_t inflight;
	uint8_t padding;
	uint16_t next; /* the next descriptor, or the next free entry */
	uint16_t last;
	uint16_t num;
	uint64_t counter;
	uint16_t id;
	uint16_t flags;
	uint32_t len;
	uint64_t addr;
};
static_assert(sizeof(struct packed_entry) == 32, "layout");

struct packed_region {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head;
	uint16_t old_free_head;
	uint16_t used_idx;
	uint16_t old_used_idx;
	uint8_t used_wrap_counter;
	uint8_t old_used_wrap_counter;
	uint8_t padding[7];
	struct packed_entry desc[];
};
static_assert(sizeof(struct packed_region) == 32, "layout");
static_assert(offsetof(struct packed_region, desc) == 32, "layout");

/* Of a packed ring's descriptor: VIRTIO 1.3, 2.8.1 and 2.8.13. */
#define RING_DESC 16U
#define RING_FLAGS 14U
#define FLAG_AVAIL 0x80U
#define FLAG_USED 0x8000U

/*
 * Each field is loaded and stored once and in the order of the program: a
 * back-end that dies leaves behind what it had stored by then. To die does
 * not reorder what the CPU does, so the compiler alone has to be told.
 */
#define GET(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define SET(field, value)                                                      \
	do {                                                                   \
		__atomic_signal_fence(__ATOMIC_SEQ_CST);                       \
		__atomic_store_n(&(field), (value), __ATOMIC_RELAXED);         \
		__atomic_signal_fence(__ATOMIC_SEQ_CST);                       \
	} while (0)

size_t
vus_inflight_size(bool packed, uint32_t entries)
{
	size_t size = packed ? sizeof(struct packed_region) +
				   entries * sizeof(struct packed_entry)
			     : sizeof(struct split_region) +
				   entries * sizeof(struct split_entry);

	/* A cache line each. */
	return (size + 63) & ~(size_t)63;
}

static const char *
check(uint16_t version, uint16_t desc_num, uint16_t entries)
{
	if (version != FORMAT)
		return "an inflight buffer of an unknown version";
	if (desc_num != entries)
		return "an inflight buffer for another queue size";
	return NULL;
}

/* What entries of both formats begin with. */
struct any_entry {
	uint8_t inflight;
	uint8_t padding[7];
	uint64_t counter;
};
static_assert(offsetof(struct any_entry, counter) ==
		      offsetof(struct split_entry, counter) &&
		  offsetof(struct any_entry, counter) ==
		      offsetof(struct packed_entry, counter),
    "layout");

/* Whether the request comes after the last one that was done again. */
static bool
to_redo(const struct vus_inflight *f, uint64_t counter, unsigned entry)
{
	return !f->redone || counter > f->redone_counter ||
	       (counter == f->redone_counter && entry > f->redone_entry);
}

/* Find the request in flight with the smallest counter of those that were not
 * found before, in entries of size bytes each. */
static bool
find_redo(
    const void *entries, size_t size, struct vus_inflight *f, uint16_t *index)
{
	uint64_t smallest = 0;
	bool found = false;

	f->redo--;
	for (unsigned i = 0; i < f->entries; i++) {
		const struct any_entry *e =
		    (const void *)((const unsigned char *)entries + i * size);
		uint64_t counter = GET(e->counter);

		if (GET(e->inflight) == 0 || (found && counter >= smallest) ||
		    !to_redo(f, counter, i))
			continue;
		found = true;
		smallest = counter;
		*index = (uint16_t)i;
	}
	/* None: to look for the next would find the same, as often as the
	 * front-end has said. */
	if (!found)
		f->redo = 0;
	f->redone = found;
	f->redone_counter = smallest;
	f->redone_entry = *index;
	return found;
}

/* --- split --------------------------------------------------------------- */

static struct split_region *
split(const struct vus_inflight *f)
{
	return (struct split_region *)(void *)f->region;
}

/* What was completed last may still be marked: the used index counts. */
static void
split_catch_up(const struct vus_inflight *f, uint16_t used)
{
	struct split_region *r = split(f);
	uint16_t batch = (uint16_t)(used - GET(r->used_idx));
	uint16_t head = GET(r->last_batch_head);

	for (; batch != 0 && head < f->entries; batch--) {
		SET(r->desc[head].inflight, 0);
		head = GET(r->desc[head].next);
	}
	SET(r->used_idx, used);
}

const char *
vus_inflight_split_start(struct vus_inflight *f, uint16_t used, bool *fresh)
{
	struct split_region *r = split(f);
	uint16_t version = GET(r->version);
	const char *why;

	f->redo = 0;
	f->redone = false;
	f->counter = 0;
	*fresh = version == 0;
	if (*fresh) {
		for (unsigned i = 0; i < f->entries; i++)
			SET(r->desc[i].inflight, 0);
		SET(r->features, 0);
		SET(r->desc_num, f->entries);
		SET(r->last_batch_head, 0);
		SET(r->used_idx, used);
		SET(r->version, FORMAT);
		return NULL;
	}
	why = check(version, GET(r->desc_num), f->entries);
	if (why != NULL)
		return why;
	split_catch_up(f, used);
	for (unsigned i = 0; i < f->entries; i++) {
		uint64_t counter = GET(r->desc[i].counter);

		if (GET(r->desc[i].inflight) == 0)
			continue;
		f->redo++;
		if (counter >= f->counter)
			f->counter = counter + 1;
	}
	return NULL;
}

void
vus_inflight_split_take(struct vus_inflight *f, uint16_t head)
{
	struct split_region *r = split(f);

	if (r == NULL)
		return;
	SET(r->desc[head].counter, f->counter);
	f->counter++;
	SET(r->desc[head].inflight, 1);
}

void
vus_inflight_split_put(struct vus_inflight *f, uint16_t head)
{
	struct split_region *r = split(f);

	if (r == NULL)
		return;
	SET(r->desc[head].next, GET(r->last_batch_head));
	SET(r->last_batch_head, head);
}

void
vus_inflight_split_done(struct vus_inflight *f, uint16_t head, uint16_t used)
{
	struct split_region *r = split(f);

	if (r == NULL)
		return;
	SET(r->desc[head].inflight, 0);
	SET(r->used_idx, used);
}

void
vus_inflight_split_untake(struct vus_inflight *f, uint16_t head)
{
	struct split_region *r = split(f);

	if (r != NULL)
		SET(r->desc[head].inflight, 0);
}

bool
vus_inflight_split_redo(struct vus_inflight *f, uint16_t *head)
{
	return find_redo(split(f)->desc, sizeof(struct split_entry), f, head);
}

/* --- packed -------------------------------------------------------------- */

static struct packed_region *
packed(const struct vus_inflight *f)
{
	return (struct packed_region *)(void *)f->region;
}

/* Entry i, or one that is there instead of one that is not. */
static struct packed_entry *
packed_at(const struct vus_inflight *f, uint16_t i)
{
	return &packed(f)->desc[i < f->entries ? i : 0];
}

static void
packed_prepare(const struct vus_inflight *f, struct vus_position used)
{
	struct packed_region *r = packed(f);

	for (unsigned i = 0; i < f->entries; i++) {
		SET(r->desc[i].inflight, 0);
		SET(r->desc[i].next, (uint16_t)(i + 1));
	}
	SET(r->features, 0);
	SET(r->desc_num, f->entries);
	SET(r->free_head, 0);
	SET(r->old_free_head, 0);
	SET(r->used_idx, used.index);
	SET(r->old_used_idx, used.index);
	SET(r->used_wrap_counter, used.wrap);
	SET(r->old_used_wrap_counter, used.wrap);
	SET(r->version, FORMAT);
}

/* Make the last completion whole, or undo it; then nothing that is free may
 * be in flight. */
static void
packed_catch_up(
    const struct vus_inflight *f, uint32_t num, const unsigned char *desc_area)
{
	struct packed_region *r = packed(f);
	uint16_t index = GET(r->old_used_idx), flags, head;
	bool wrap = GET(r->old_used_wrap_counter) != 0;

	if ((GET(r->used_idx) != index ||
		(GET(r->used_wrap_counter) != 0) != wrap) &&
	    index < num) {
		memcpy(&flags,
		    desc_area + (size_t)index * RING_DESC + RING_FLAGS,
		    sizeof(flags));
		flags = le16toh(flags);
		/* The list of free entries is made whole first. Then index
		 * may be of the next round and wrap not yet: there stands an
		 * entry of any kind. */
		if (GET(r->free_head) == GET(r->old_free_head) ||
		    ((flags & FLAG_AVAIL) != 0) != wrap ||
		    ((flags & FLAG_USED) != 0) == wrap) {
			SET(r->old_free_head, GET(r->free_head));
			SET(r->old_used_idx, GET(r->used_idx));
			SET(r->old_used_wrap_counter,
			    GET(r->used_wrap_counter));
		}
	}
	/* In this order, or who dies here leaves what looks whole. */
	SET(r->used_idx, GET(r->old_used_idx));
	SET(r->used_wrap_counter, GET(r->old_used_wrap_counter));
	head = GET(r->old_free_head);
	SET(r->free_head, head);
	for (unsigned i = 0; i < f->entries && head < f->entries; i++) {
		SET(r->desc[head].inflight, 0);
		head = GET(r->desc[head].next);
	}
}

const char *
vus_inflight_packed_start(struct vus_inflight *f, uint32_t num,
    const unsigned char *desc_area, struct vus_position *used, bool *fresh,
    uint32_t *slots)
{
	struct packed_region *r = packed(f);
	uint16_t version = GET(r->version);
	const char *why;

	f->redo = 0;
	f->redone = false;
	f->counter = 0;
	*slots = 0;
	*fresh = version == 0;
	if (*fresh) {
		packed_prepare(f, *used);
		return NULL;
	}
	why = check(version, GET(r->desc_num), f->entries);
	if (why != NULL)
		return why;
	packed_catch_up(f, num, desc_area);
	used->index = GET(r->used_idx);
	used->wrap = GET(r->used_wrap_counter) != 0;
	if (used->index >= num)
		return "an inflight buffer with a used index outside of the "
		       "ring";
	for (unsigned i = 0; i < f->entries; i++) {
		uint64_t counter = GET(r->desc[i].counter);

		if (GET(r->desc[i].inflight) == 0)
			continue;
		f->redo++;
		*slots += GET(r->desc[i].num);
		if (counter >= f->counter)
			f->counter = counter + 1;
	}
	if (*slots > num)
		return "an inflight buffer with more than the ring holds";
	return NULL;
}

uint16_t
vus_inflight_packed_take(struct vus_inflight *f)
{
	struct packed_region *r = packed(f);
	struct packed_entry *e;
	uint16_t entry;

	if (r == NULL)
		return 0;
	entry = GET(r->old_free_head);
	e = packed_at(f, entry);
	SET(e->num, 0);
	SET(e->counter, f->counter);
	f->counter++;
	SET(e->inflight, 1);
	return entry;
}

void
vus_inflight_packed_add(struct vus_inflight *f, uint16_t entry,
    const struct vus_packed_desc *d, bool last)
{
	struct packed_region *r = packed(f);
	struct packed_entry *head, *e;
	uint16_t at, next;

	if (r == NULL)
		return;
	head = packed_at(f, entry);
	at = GET(r->free_head);
	e = packed_at(f, at);
	next = GET(e->next);
	if (last)
		SET(head->last, at);
	SET(head->num, (uint16_t)(GET(head->num) + 1));
	SET(e->addr, d->addr);
	SET(e->len, d->len);
	SET(e->flags, d->flags);
	SET(e->id, d->id);
	SET(r->free_head, next);
	if (last)
		SET(r->old_free_head, next);
}

void
vus_inflight_packed_put(
    struct vus_inflight *f, uint16_t entry, struct vus_position used)
{
	struct packed_region *r = packed(f);
	uint16_t last;

	if (r == NULL)
		return;
	last = GET(packed_at(f, entry)->last);
	SET(packed_at(f, last)->next, GET(r->free_head));
	SET(r->free_head, entry);
	SET(r->used_idx, used.index);
	SET(r->used_wrap_counter, used.wrap);
}

void
vus_inflight_packed_done(struct vus_inflight *f, uint16_t entry)
{
	struct packed_region *r = packed(f);

	if (r == NULL)
		return;
	SET(packed_at(f, entry)->inflight, 0);
	SET(r->old_free_head, GET(r->free_head));
	SET(r->old_used_idx, GET(r->used_idx));
	SET(r->old_used_wrap_counter, GET(r->used_wrap_counter));
}

void
vus_inflight_packed_untake(struct vus_inflight *f, uint16_t entry)
{
	struct packed_region *r = packed(f);
	uint16_t last;

	if (r == NULL)
		return;
	/* What is free is not in flight, whatever its mark says: so the list
	 * comes first. */
	last = GET(packed_at(f, entry)->last);
	SET(packed_at(f, last)->next, GET(r->free_head));
	SET(r->free_head, entry);
	SET(r->old_free_head, entry);
	SET(packed_at(f, entry)->inflight, 0);
}

bool
vus_inflight_packed_redo(struct vus_inflight *f, uint16_t *entry)
{
	return find_redo(
	    packed(f)->desc, sizeof(struct packed_entry), f, entry);
}

struct vus_packed_desc
vus_inflight_packed_next(const struct vus_inflight *f, uint16_t *entry)
{
	const struct packed_entry *e = packed_at(f, *entry);
	struct vus_packed_desc d = {
		.addr = GET(e->addr),
		.len = GET(e->len),
		.id = GET(e->id),
		.flags = GET(e->flags),
	};

	*entry = GET(e->next);
	return d;
}
