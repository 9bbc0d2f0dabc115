/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A guest's memory and driver for the unit tests: two regions that follow
 * each other in guest physical memory and nowhere else, and a split
 * virtqueue that the driver writes field by field.
 */
#ifndef FAKE_GUEST_H
#define FAKE_GUEST_H

#include "proto/mem.h"

#include <stdbool.h>
#include <stdint.h>

#define GUEST_REGION UINT64_C(0x100000)	      /* bytes of each of the two */
#define GUEST_BASE UINT64_C(0x40000000)	      /* guest physical */
#define GUEST_USER UINT64_C(0x7f1000000000)   /* front-end virtual: first */
#define GUEST_USER_2 UINT64_C(0x7f2000000000) /* and second region */
/* Guest physical address of the byte at offset in the two regions. */
#define GUEST_AT(offset) (GUEST_BASE + (offset))

struct fake_guest {
	int fd[2]; /* owned */
	struct vus_wire_mem_region region[2];
	unsigned char *ram[2]; /* the guest's own view, owned mappings */
};

void guest_init(struct fake_guest *g);
void guest_free(struct fake_guest *g);
/* What lies at offset of the regions: the guest's view. */
unsigned char *guest_ram(const struct fake_guest *g, uint64_t offset);

#define DRIVER_NEXT 1U
#define DRIVER_WRITE 2U
#define DRIVER_INDIRECT 4U

/* A ring in the first region; addresses are offsets in it. */
struct fake_driver {
	struct fake_guest *guest;
	unsigned num;
	uint64_t desc, avail, used;
	uint16_t avail_idx; /* of the next request */
	uint16_t used_idx;  /* of the next completion to look at */
};

/* A ring of num entries whose indices begin at start. */
void driver_init(
    struct fake_driver *d, struct fake_guest *g, unsigned num, uint16_t start);
/* Write entry i of the descriptor table. */
void driver_desc(struct fake_driver *d, unsigned i, uint64_t addr, uint32_t len,
    unsigned flags, unsigned next);
/* The same in a table anywhere. */
void driver_desc_at(struct fake_driver *d, uint64_t table, unsigned i,
    uint64_t addr, uint32_t len, unsigned flags, unsigned next);
/* Put head into the available ring, and let the device see it. */
void driver_offer(struct fake_driver *d, unsigned head);
/* Set the available index to any value. */
void driver_set_avail(struct fake_driver *d, uint16_t idx);
/* Take one completion; false if there is none. */
bool driver_complete(struct fake_driver *d, uint32_t *id, uint32_t *len);
/* Flags of the available ring and the event index fields: 2.7.10. */
void driver_set_flags(struct fake_driver *d, uint16_t flags);
void driver_set_used_event(struct fake_driver *d, uint16_t idx);
uint16_t driver_avail_event(const struct fake_driver *d);

#endif
