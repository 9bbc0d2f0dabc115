/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Shared memory regions, made from their settings: memfds, or files. They
 * outlive every front-end, so who makes them lives as long as the daemon: with
 * its end go the locks of files and what is locked in memory. Privileged side
 * only; a worker's filter has no memfd_create.
 *
 * Settings have been checked as a whole (settings_check). What is done here
 * again is what may have changed since: sizes of images and files.
 */
#ifndef REGION_H
#define REGION_H

#include "daemon/builder/children.h"
#include "daemon/builder/region_kept.h"
#include "daemon/config/region_source.h"
#include "daemon/config/settings.h"

#include <stdbool.h>
#include <stdint.h>

/* What may happen to a file that is a region. */
enum region_change {
	REGION_SHORTER = 1, /* who touches what is gone dies by SIGBUS */
	REGION_LONGER = 2,  /* what is behind its end is not served */
	REGION_MOVED = 4,   /* its path is of another file now, or of none */
};

struct region_made {
	int fd;	     /* what front-ends get, owned; READ_ONLY: not writable */
	int read_fd; /* owned; never writable */
	int lock_fd; /* of a file: holds its lock, for nobody else; or -1 */
	bool kept;   /* memory with what was in it before the start */
	/* Under this name it is kept; empty: it is a file. */
	char kept_name[REGION_KEPT_NAME_MAX];
	void *locked;  /* mapping that keeps it in memory, owned; or NULL */
	uint64_t size; /* bytes; of all of them */
	struct region_source source; /* image or file, as it was */
	int watch;		     /* inotify's number for it, or -1 */
	unsigned changed;	     /* enum region_change, as told */
};

#define REGION_UNMADE                                                          \
	(struct region_made)                                                   \
	{                                                                      \
		.fd = -1, .read_fd = -1, .lock_fd = -1, .watch = -1            \
	}

/*
 * Make n regions, or none: made[i] of *specs[i]. While images are loaded and
 * memory is allocated, which children do, idle is looked after; it may be NULL.
 *
 * Memory: what was kept of the region in activation, which may be NULL
 * (region_kept.h); or a memfd vhost-shmemd:NAME, mode 0600, never executable
 * where the kernel knows that, sealed against another size and further seals;
 * READ_ONLY also against every write, with no descriptor for writing left.
 * Behind the image it is zeros. Huge pages are all reserved, so that none lacks
 * later; those of one node are allocated at once, as only that makes sure of
 * the node, and what is locked is allocated, too. Huge pages are never swapped:
 * they have no mapping that locks them.
 *
 * File: itself, of exactly this size. What create adds has its place on the
 * disk, and prealloc gives one to all of it. It is locked (F_OFD_SETLK, all
 * bytes; READ_ONLY: for reading), so others who do that cannot have it: a
 * second vhost-shmemd, QEMU, qemu-img. The lock is not fd's: fd lives on in
 * front-ends.
 *
 * Returns 0; or a negative errno, with *which region failed and in *what why,
 * "region NAME: ...", valid until the next call. All made[] are REGION_UNMADE
 * then, and files that it has made are gone again. -EBADMSG: the image is not
 * the one whose SHA-256 was told. -ESTALE: the image was changed meanwhile.
 * What idle->ready() returned, if that was negative.
 */
int regions_make(const struct region_settings *const *specs,
    struct region_made *made, unsigned n, struct activation *activation,
    const struct idle *idle, const char **what, unsigned *which)
    __attribute__((warn_unused_result));

/* Let go of the region. Memory that a front-end has stays there for it. */
void region_unmake(struct region_made *made);

/*
 * Make the region behind fd, open for writing, zeros from 0 to size, as its
 * last front-end has left. ZERO writes them where there is data: memory stays
 * where and as it is, allocated, locked, on its node. DISCARD gives the memory
 * back; but huge pages are made zeros, as one that is given back is no longer
 * reserved. Children do that; idle is as above.
 * Returns 0; or a negative errno, with why in *what: it may hold old data then.
 */
int region_erase(int fd, uint64_t size, enum settings_release release,
    const struct idle *idle, const char **what)
    __attribute__((warn_unused_result));

/* Whether the image or file of the settings is another one by now, or none;
 * or an image was changed. */
bool region_source_changed(
    const struct region_made *made, const struct region_settings *spec);

/*
 * Watch files that are regions. The descriptor is the caller's, to poll for
 * reading; or a negative errno: -EMFILE if there are too many (see
 * fs.inotify.max_user_instances).
 */
int region_watch_open(void) __attribute__((warn_unused_result));

/* Watch this one; nothing to do if it is no file. Returns 0 or a negative
 * errno: -ENOSPC if there are too many (see fs.inotify.max_user_watches). */
int region_watch(int watch_fd, struct region_made *made)
    __attribute__((warn_unused_result));
void region_unwatch(int watch_fd, struct region_made *made);

/* Read what has happened, and check each region that it is about. Returns
 * whether made[]->changed of any has got a bit. */
bool region_watch_ready(int watch_fd,
    const struct region_settings *const *specs, struct region_made *const *made,
    unsigned n);

/* Compare a file with what it was. What is new goes to the log, once, and to
 * made->changed. Returns whether anything is. */
bool region_check(struct region_made *made, const struct region_settings *spec);

#endif
