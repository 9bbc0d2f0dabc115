/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Front-end profiles: what a front-end speaks and what it survives. QEMU dies
 * of some things that the specification allows, so what differs stands in one
 * table, and what a profile cannot do is refused at start.
 */
#ifndef PROFILE_H
#define PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct profile {
	const char *name;
	uint64_t protocol_features; /* that we offer, in today's numbers */
	unsigned shmem_bit;	    /* the number that it knows SHMEM by */
	bool short_shmem_config;    /* see struct vus_dialect */
	uint64_t virtio_without;    /* virtio features it cannot keep */
	unsigned max_regions;	    /* that the front-end survives */
	bool power_of_two;	    /* the sum of all sizes must be one */
	bool maps_read_only; /* it maps a descriptor that is for reading */
};

/* The profile with this name or index, or NULL. */
const struct profile *profile_by_name(const char *name);
const struct profile *profile_by_index(unsigned index);
unsigned profile_index(const struct profile *profile);

/* "qemu, rust-vmm, ..." */
const char *profile_names(void);

#endif
