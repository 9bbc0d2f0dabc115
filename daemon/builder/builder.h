/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The builder: a process that makes what the supervisor serves. It is forked
 * at start and keeps the privileges that opening files, making memory and
 * binding sockets needs, so that the supervisor can be without them and a
 * reload holds nobody up. It also holds what has to be held as long as a region
 * lives: locks of files, and memory that is locked. It hears the supervisor
 * alone.
 *
 * BUILD is all or nothing: a configuration with a mistake, or of which
 * something cannot be made, leaves everything as it is. What has not changed is
 * not made again: a region is the same as long as its settings and its image
 * are.
 */
#ifndef BUILDER_H
#define BUILDER_H

#include "daemon/common/priv.h"
#include "daemon/config/settings.h"

#include <stdbool.h>
#include <sys/types.h>

struct builder {
	pid_t pid; /* 0: there is none */
	int sock;  /* owned */
};

/*
 * Check that the doors of these settings can be made, without making them.
 * Returns 0 or a negative errno, logged.
 */
int builder_check_doors(const struct settings *settings)
    __attribute__((warn_unused_result));

/*
 * Fork the builder and wait until it has narrowed itself. settings are copied
 * by that; for every BUILD but the first the files are read again. close_there
 * is a descriptor that is closed in it. Returns 0 or a negative errno.
 */
int builder_start(struct builder *builder, const struct settings *settings,
    int close_there) __attribute__((warn_unused_result));

/* End the builder, which removes its sockets, and wait for that. */
void builder_stop(struct builder *builder);

/* Give an order; fd goes with ERASE, or is -1. Returns 0 or a negative errno:
 * -EAGAIN if it has too many already. */
int builder_order(
    struct builder *builder, enum priv_type type, struct priv_msg *msg, int fd);

#endif
