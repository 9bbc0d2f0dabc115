/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The control socket: the operator's questions and orders, by vhost-shmemctl.
 * Supervisor only.
 *
 * JSON objects, one a line, a request and a reply: {"command": "status"}, and
 * {"ok": true, ...} or {"ok": false, "error": "why"}. vhost-shmemctl(1) has
 * them all.
 *
 * Threat model: root, the user who has started us, and a group that the
 * operator has chosen are heard; the kernel says who they are, before a byte is
 * read. They may do what they like to connections and regions, but not to the
 * supervisor: a line has CONTROL_LINE_MAX bytes at most, descriptors are not
 * taken, few may be connected, and who does not read its replies is asked no
 * more.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include "daemon/common/limits.h"

#include <event2/event_struct.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CONTROL_LINE_MAX 4096U

struct control_client {
	int fd; /* owned; -1: an unused entry */
	struct event readable, writable;
	bool waiting;  /* for the reply to its request */
	unsigned asks; /* the handler's: what for */
	size_t in_len;
	char in[CONTROL_LINE_MAX];
	char *out; /* owned: what is left of a reply, or NULL */
	size_t out_len, out_sent;
	int out_fd; /* goes with the first byte; not owned; -1: none */
};

/* Carry out a request. Replies by control_reply(), now or later. */
typedef void control_handle(
    void *ctx, struct control_client *client, json_t *request);

struct control {
	struct event_base *base;
	control_handle *handle;
	void *ctx;
	uid_t owner;
	gid_t gid; /* -1: none */
	int door;  /* owned; -1: none */
	struct event door_ready, door_again;
	uint64_t refused_second; /* of the last line about it */
	struct control_client clients[CONTROL_CLIENTS_MAX];
};

/* Before the sandbox: jansson reads a random number then. */
void control_init(struct control *control, struct event_base *base, uid_t owner,
    control_handle *handle, void *ctx);

/* Listen at door, which it takes, in place of another; gid may use it. -1: at
 * none; clients that are there stay. */
void control_open(struct control *control, int door, gid_t gid);

/*
 * Reply to the request of a client that waits. Takes reply, which may be NULL
 * if there was no memory for it. fd, which stays the caller's and has to stay
 * open for the time of this call, goes with it; -1: none.
 */
void control_reply(struct control *control, struct control_client *client,
    json_t *reply, int fd);

/* {"ok": false, "error": ...} */
void control_refuse(
    struct control *control, struct control_client *client, const char *error);

void control_close(struct control *control);

#endif
