/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The devices there are, as far as the supervisor knows them: what their
 * regions must be like. What they do is the worker's business (pmem.h,
 * raw.h).
 */
#ifndef DEVICE_KIND_H
#define DEVICE_KIND_H

#include <stdint.h>

enum device_id { DEVICE_PMEM, DEVICE_RAW, DEVICE_IDS };

struct device_kind {
	const char *name;
	unsigned max_regions;
	unsigned max_shmid;
	uint64_t align; /* a region is a multiple of this, bytes; 0: a page */
	const char *why_align;
};

extern const struct device_kind device_kinds[DEVICE_IDS];

/* The device called name, or -1. */
int device_kind_by_name(const char *name);

#endif
