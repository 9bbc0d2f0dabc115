/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The flusher of a region that is a file: a process that does fdatasync for
 * all who share the region, so that no event loop waits for a disk and no
 * region for the disk of another.
 *
 * Group commit: all who ask before an fdatasync begins are served by it. Those
 * who ask while it runs are served by the next. Who asks more often than it
 * may waits until it may. An error of the disk stays: the kernel tells it
 * once, and what was lost stays lost, so everybody is told from then on.
 *
 * Threat model: the other ends of its clients' sockets are workers, which may
 * have been taken over. A client can send eight bytes, of which nothing is
 * believed, or close its socket.
 */
#ifndef FLUSHER_H
#define FLUSHER_H

#include <stdbool.h>
#include <sys/types.h>

/* Who a flusher becomes, if root starts it. */
struct flusher_ids {
	bool change;
	uid_t uid;
	gid_t gid;
};

/*
 * Start the flusher of the file fd, which stays the caller's; name is the
 * region's, for the log. *chan gets the channel, the caller's, by which
 * clients come (PRIV_CLIENT) and failures are told (PRIV_FAILED): the flusher
 * ends when that is closed and no client is left. Returns its process id, or a
 * negative errno.
 */
pid_t flusher_start(int fd, const char *name, const struct flusher_ids *ids,
    int *chan) __attribute__((warn_unused_result));

#endif
