/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Shared memory regions as the options of one device ask for them; region.h
 * makes those of settings.h. Supervisor only.
 */
#ifndef REGION_SPEC_H
#define REGION_SPEC_H

#include "memory.h"

#include <stdbool.h>
#include <stdint.h>

#define REGION_NAME_MAX 64U

/* A region as the options ask for it. */
struct region_spec {
	unsigned shmid;		    /* 0 to 255 */
	uint64_t size;		    /* bytes; 0: the image's, rounded up */
	const char *image;	    /* file to load, or NULL */
	char name[REGION_NAME_MAX]; /* for /proc and messages, not empty */
	enum memory_access access;
	bool fallback_copy; /* COPY, where the front-end has no READ_ONLY */
};

struct region {
	struct region_spec spec;
	int fd; /* owned memfd, sealed; open for writing if READ_WRITE */
};

/*
 * Make the region: a memfd called vhost-shmemd:NAME of spec->size bytes that
 * holds the image and zeros behind it, never executable where the kernel
 * knows that, mode 0600, sealed against shrinking, growing and further seals.
 * Unless it is MEMORY_READ_WRITE it is sealed against every write, too, and
 * no descriptor for writing is left.
 * Returns 0; or a negative errno with what failed in *what. On error
 * region->fd is -1.
 */
int region_create(struct region *region, const struct region_spec *spec,
    const char **what) __attribute__((warn_unused_result));

#endif
