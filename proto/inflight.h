/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The inflight buffer: which requests a back-end has taken and not completed,
 * kept by the front-end so that the next back-end can do them when this one
 * has died. vhost-user.rst, "Inflight I/O tracking": one region per queue, in
 * one format for split rings and another for packed ones.
 *
 * Our requests are completed in the order in which they came, and a device may
 * take its time: any number is in flight, and is taken over in the order of
 * their counters. One that is given back to the driver's ring is not in flight
 * any more, unless it was taken over: where such a one stands in the ring the
 * buffer does not say, so there it stays.
 *
 * Threat model: the buffer is the front-end's memory, like a ring. Each value
 * is read once and checked; none of it is an index or bounds a loop unchecked.
 * A front-end that changes it makes its own requests be lost or done twice.
 *
 * For the modules of rings, which say what happens to a request in the words
 * of the specification: take, put (it is about to be completed), done. And
 * untake: given back, the newest first.
 */
#ifndef INFLIGHT_H
#define INFLIGHT_H

#include "proto/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One queue's region, and what is left of the time before. */
struct vus_inflight {
	unsigned char *region; /* NULL: nothing is tracked */
	uint16_t entries;      /* of it: at least as many as the ring has */
	uint16_t redo;	       /* requests that have to be done again */
	uint64_t counter;      /* of the next request */
	/* Of those to be done again, the last one that was: its counter, and
	 * its entry. */
	bool redone;
	uint64_t redone_counter;
	uint16_t redone_entry;
};

/* Bytes of the region of a queue with so many entries, at most VUS_RING_MAX. */
size_t vus_inflight_size(bool packed, uint32_t entries);
/* The most that can be. */
#define VUS_INFLIGHT_MAX (32U + VUS_RING_MAX * 32U + 32U)

/*
 * Take over a region for a split ring whose used index is used, or prepare a
 * new one. *fresh: it was new; else redo says how many requests wait. Returns
 * NULL or what is wrong with the region.
 */
const char *vus_inflight_split_start(
    struct vus_inflight *f, uint16_t used, bool *fresh);
void vus_inflight_split_take(struct vus_inflight *f, uint16_t head);
void vus_inflight_split_untake(struct vus_inflight *f, uint16_t head);
void vus_inflight_split_put(struct vus_inflight *f, uint16_t head);
/* used: the used index that has been stored. */
void vus_inflight_split_done(
    struct vus_inflight *f, uint16_t head, uint16_t used);
/* The next request to be done again, in their order, while redo is not 0. False
 * if there is none. */
bool vus_inflight_split_redo(struct vus_inflight *f, uint16_t *head);

/* A position in a packed ring. */
struct vus_position {
	uint16_t index;
	bool wrap;
};

/* A descriptor of a packed ring. */
struct vus_packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};

/*
 * The same for a packed ring of num entries at desc_area. *used, where the
 * next completion goes, is taken for a new region and set by an old one;
 * *slots are the entries of the ring that the requests to redo take up.
 */
const char *vus_inflight_packed_start(struct vus_inflight *f, uint32_t num,
    const unsigned char *desc_area, struct vus_position *used, bool *fresh,
    uint32_t *slots);
/* A request begins; returns its entry. Then its descriptors, one by one. */
uint16_t vus_inflight_packed_take(struct vus_inflight *f);
void vus_inflight_packed_add(struct vus_inflight *f, uint16_t entry,
    const struct vus_packed_desc *d, bool last);
/* used: where the completion after this one will go. */
void vus_inflight_packed_put(
    struct vus_inflight *f, uint16_t entry, struct vus_position used);
void vus_inflight_packed_done(struct vus_inflight *f, uint16_t entry);
void vus_inflight_packed_untake(struct vus_inflight *f, uint16_t entry);
bool vus_inflight_packed_redo(struct vus_inflight *f, uint16_t *entry);
/* The descriptor in *entry, which becomes the entry of the next one. */
struct vus_packed_desc vus_inflight_packed_next(
    const struct vus_inflight *f, uint16_t *entry);

#endif
