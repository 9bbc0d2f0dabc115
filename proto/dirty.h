/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The dirty log: a bit for each page of guest memory that this back-end has
 * written, in memory of the front-end, which copies these pages again when
 * it migrates the guest. vhost-user.rst, "Migration"; SET_LOG_BASE with
 * VHOST_USER_PROTOCOL_F_LOG_SHMFD.
 */
#ifndef DIRTY_H
#define DIRTY_H

#include "proto/mapping.h"

#include <stdbool.h>

/* Bytes that a bit stands for, whatever the pages of the host are. */
#define VUS_DIRTY_PAGE 4096U

struct vus_dirty {
	struct vus_mapping map; /* base NULL: there is no log */
	uint64_t size;		/* of the log, bytes */
	bool marked;		/* since somebody has set this to false */
};

/*
 * Log into the size bytes at offset of fd, which stays the caller's, and no
 * more into what was there before. On error all is as it was: see mapping.h.
 */
int vus_dirty_open(struct vus_dirty *dirty, int fd, uint64_t offset,
    uint64_t size, const char **why) __attribute__((warn_unused_result));

void vus_dirty_close(struct vus_dirty *dirty);

/*
 * The len bytes at guest physical address addr have been written. To be
 * called after the write, or the front-end may copy the page before it. What
 * lies beyond the log's end is not logged.
 */
void vus_dirty_mark(struct vus_dirty *dirty, uint64_t addr, uint64_t len);

#endif
