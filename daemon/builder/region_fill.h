/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What takes long with a region, as jobs of children (children.h): to load an
 * image, to have its memory allocated, to make it zeros. None of it ends by
 * SIGBUS: where memory is missing, that is an error.
 */
#ifndef REGION_FILL_H
#define REGION_FILL_H

#include "daemon/builder/children.h"
#include "daemon/config/settings.h"

#include <stdint.h>

/* A region that is being made or erased; not owned. */
struct region_fill {
	const struct region_settings *spec; /* not for region_fill_zero */
	int fd; /* the memory, open for writing; or the file */
	int image_fd;
	struct region_source *source; /* the image, as it was opened */
	bool huge;		      /* the memory is of huge pages */
};

/*
 * The arg of each job is a region_fill. They are work() of struct child_job.
 *
 * Load the image, all of it, its holes as holes: -ESTALE if it was changed
 * meanwhile, -EBADMSG if what is in memory then has another SHA-256 than the
 * settings say.
 */
int region_fill_load(const struct child_job *job, struct reason *reason);

/* Have every page of the range in memory: of a memfd as one that is written
 * to, of the node that the settings say; of a file as one that is read. */
int region_fill_populate(const struct child_job *job, struct reason *reason);

/* Make what is in the range zeros, in the memory that it has. Holes stay, but
 * those of huge pages. */
int region_fill_zero(const struct child_job *job, struct reason *reason);

/* Give the memory, or the disk's, of the range back. */
int region_fill_punch(const struct child_job *job, struct reason *reason);

/*
 * Whether the host has this much memory and swap to give away. Children look
 * each time before they take some: where nothing is left, the kernel ends
 * other programs, too, before it gets ours back. Returns 0; or -ENOMEM, with
 * why in *reason.
 */
int region_fill_room(uint64_t len, struct reason *reason)
    __attribute__((warn_unused_result));

/*
 * Let all memory of [at, at + len) be of this node alone. at is a mapping of a
 * memfd: of ordinary pages it is true for the memfd then, for everybody; of
 * huge pages for this mapping.
 */
int region_fill_bind(void *at, uint64_t len, int node, struct reason *reason)
    __attribute__((warn_unused_result));

#endif
