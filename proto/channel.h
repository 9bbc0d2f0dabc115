/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Messages with file descriptors over a stream socket.
 *
 * Threat model: the peer writes any bytes in any pieces with any descriptors
 * at any time, and need not read what we write. A channel holds at most one
 * buffer of input and one reply of output, allocates nothing, never blocks
 * and owns every descriptor until a handler takes it.
 *
 * A message that arrives whole costs one recvmsg: the read is greedy and
 * what follows the message stays in the buffer. The kernel ends a read at the
 * chunk that carries descriptors, and a sender attaches them to the first
 * byte of a message (vhost-user.rst, "Message Specification"); so the
 * descriptors of one read belong to the last message that begins in it.
 */
#ifndef CHANNEL_H
#define CHANNEL_H

#include "proto/wire.h"

#include <stdbool.h>
#include <stddef.h>

/* Payload bytes: rust-vmm's limit, and above the largest that we know. */
#define VUS_PAYLOAD_MAX 4096U
/* Most descriptors that one message may carry: a full memory table. */
#define VUS_FDS_MAX 32U

struct vus_msg {
	struct vus_wire_header head;
	_Alignas(uint64_t) unsigned char payload[VUS_PAYLOAD_MAX];
	unsigned nfds;
	int fds[VUS_FDS_MAX]; /* owned; -1 once a handler has taken one */
};

enum vus_chan_status {
	VUS_CHAN_OK,	/* bytes have come, or a message was taken */
	VUS_CHAN_AGAIN, /* nothing for now */
	VUS_CHAN_EOF,	/* the peer has hung up, in between messages */
	VUS_CHAN_BROKEN /* chan->why says what is wrong; close it */
};

struct vus_chan {
	int fd; /* owned; -1 when closed */
	/* Set at any time after vus_chan_init(): bytes alone are expected, and
	 * a read that brings a descriptor or another control message with
	 * them says BROKEN. Such would be held until the message is whole. */
	bool bare;
	const char *why;
	size_t in_len; /* bytes held in in[] */
	unsigned nfds; /* received and not yet part of a taken message */
	int fds[2 * VUS_FDS_MAX];
	size_t fd_owner[2 * VUS_FDS_MAX]; /* offset in in[] of the message */
	size_t out_len, out_sent;	  /* bytes in out[], and sent of them */
	unsigned char in[sizeof(struct vus_wire_header) + VUS_PAYLOAD_MAX];
	unsigned char out[sizeof(struct vus_wire_header) +
			  sizeof(struct vus_wire_shmem_config)];
};

/* Start on socket fd, which the channel owns from now on; -1: closed. */
void vus_chan_init(struct vus_chan *chan, int fd);

/* Close the socket and every descriptor that is still held. */
void vus_chan_close(struct vus_chan *chan);

/* One recvmsg. Returns OK, AGAIN, EOF or BROKEN. */
enum vus_chan_status vus_chan_fill(struct vus_chan *chan)
    __attribute__((warn_unused_result));

/*
 * Take the next whole message out of the buffer, without a system call.
 * Returns OK, AGAIN (no whole message there) or BROKEN (the header claims
 * more than VUS_PAYLOAD_MAX). On OK the message owns its descriptors: see
 * vus_msg_close(). On anything else msg holds none.
 */
enum vus_chan_status vus_chan_take(struct vus_chan *chan, struct vus_msg *msg)
    __attribute__((warn_unused_result));

/*
 * Send one message: header and payload of len bytes (at most that of
 * GET_SHMEM_CONFIG) and, unless it is -1, the descriptor pass_fd, which
 * stays the caller's. One sendmsg. What the socket does not take now is kept
 * and goes out by vus_chan_flush(); until then vus_chan_blocked() is true
 * and the caller must not send more.
 *
 * Returns 0; -EAGAIN (nothing was sent or kept: only with a descriptor, for
 * then the message must leave whole); -EPIPE if the peer has hung up; or
 * another negative errno.
 */
int vus_chan_send(struct vus_chan *chan, uint32_t request, uint32_t flags,
    const void *payload, size_t len, int pass_fd)
    __attribute__((warn_unused_result));

/* Send what is left. Returns 0, also when some is left, or negative errno. */
int vus_chan_flush(struct vus_chan *chan) __attribute__((warn_unused_result));

static inline bool
vus_chan_blocked(const struct vus_chan *chan)
{
	return chan->out_len != chan->out_sent;
}

/* Take the one descriptor of a message: the caller owns it. -1 if none. */
int vus_msg_take_fd(struct vus_msg *msg);

/* Close what no handler has taken. */
void vus_msg_close(struct vus_msg *msg);

#endif
