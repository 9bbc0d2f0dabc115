/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Whether descriptors can be queued on a socket of ours: SO_PASSRIGHTS, Linux
 * 6.16. All processes.
 *
 * Who closes a socket last closes what was sent to it and never received, and
 * such a close can take as long as the sender likes: that of an AF_PACKET
 * socket waits 13 ms, and 253 fit into a message. So where the kernel has the
 * option, descriptors are blocked on all that waits at a door, and on our end
 * of a worker's channel, from before anybody else has the other end: a sender
 * gets EPERM. Connections inherit what their listening socket had when they
 * were made. They are let pass when a worker has the connection, and not
 * blocked again: a socket on which they are blocked never had one.
 */
#ifndef RIGHTS_H
#define RIGHTS_H

#include <stdbool.h>

/* Block descriptors on this socket, which nobody can have sent one to yet.
 * Without effect where the kernel has no such option. */
void rights_block(int sock);

/* Let them pass from now on. */
void rights_pass(int sock);

/* Whether none can have been queued on this socket, ever. */
bool rights_blocked(int sock);

#endif
