/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A session's ring 0 in the memory of a fake guest: what a front-end sends
 * from the memory table to SET_VRING_ENABLE, for either ring format; and a
 * driver for packed rings.
 */
#ifndef FAKE_RING_H
#define FAKE_RING_H

#include "tests/unit/fake_guest.h"
#include "tests/unit/fake_host.h"

/* A packed ring; addresses are offsets in the guest's regions. */
struct fake_packed {
	struct fake_guest *guest;
	unsigned num;
	uint64_t desc, driver, device;
	unsigned offer_at, look_at;
	bool offer_wrap, look_wrap;
	unsigned first; /* where the chain at hand begins */
	uint16_t first_flags;
	unsigned slots[256]; /* entries that the request with this id has */
	unsigned at_hand;    /* those of the chain so far */
};

/* An empty ring of num entries whose descriptors begin at desc. */
void packed_init(
    struct fake_packed *p, struct fake_guest *g, unsigned num, uint64_t desc);
/* Add a descriptor to the chain at hand. The one without DRIVER_NEXT ends it,
 * and the device may see it. */
void packed_put(struct fake_packed *p, uint64_t addr, uint32_t len, unsigned id,
    unsigned flags);
/* Take one completion; false if there is none. */
bool packed_complete(struct fake_packed *p, uint32_t *id, uint32_t *len);

/* SET_MEM_TABLE with the guest's two regions. */
void fake_set_table(struct fake *f, const struct fake_guest *g);

/* SET_VRING_ADDR of ring 0; areas are front-end virtual. */
void fake_set_addr(struct fake *f, uint64_t desc, uint64_t avail, uint64_t used,
    uint32_t flags, uint64_t log);
/* Of a driver's ring that lies in the first region. */
void fake_set_driver(
    struct fake *f, const struct fake_driver *d, uint32_t flags, uint64_t log);
/* Of a packed ring anywhere. */
void fake_set_packed(
    struct fake *f, const struct fake_packed *p, uint32_t flags, uint64_t log);

/* A kick descriptor and SET_VRING_ENABLE for ring 0; the test's end of the
 * descriptor is returned and the ring was looked at once. */
int fake_run_ring(struct fake *f);
/* Kick it, and let the session serve it to the end. */
void fake_kick(struct fake *f, int kick);

#endif
