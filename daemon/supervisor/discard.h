/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Closing sockets that strangers have the other end of: front-ends, workers,
 * clients of the control socket. Supervisor only.
 *
 * Such a socket can hold descriptors that were sent and never received, and
 * whoever closes it last closes them, for as long as that takes:
 * common/rights.h. The supervisor, which everybody waits for, never does that.
 */
#ifndef DISCARD_H
#define DISCARD_H

/* Close *fd, if it is open, and mark it closed. Keeps errno. */
void discard(int *fd);

#define AUTO_DISCARD __attribute__((cleanup(discard)))

#endif
