/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Closing what came from a peer, without waiting for it.
 *
 * A peer can send descriptors that are never received: they are on their way in
 * the socket, and whoever closes that last closes them, too. One may be a TCP
 * socket with SO_LINGER, whose close waits until its own peer has read, for as
 * long as that does not. A signal ends the wait; so there is one, of a timer
 * that runs for the time of the call. For supervisor and flushers: workers have
 * a timer that always runs.
 */
#ifndef PEERFD_H
#define PEERFD_H

/* Before any other of these, and before the sandbox. Returns 0 or a negative
 * errno. */
int peerfd_init(void) __attribute__((warn_unused_result));

/* Around a call that may close what a peer has sent, such as a read of its
 * socket. The call may end with EINTR. */
void peerfd_begin(void);
void peerfd_end(void);

/* fd_closep() for what a peer has the other end of. */
void peerfd_closep(int *fd);

/* AUTO_FD for the same. */
#define AUTO_PEERFD __attribute__((cleanup(peerfd_closep)))

#endif
