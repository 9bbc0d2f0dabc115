/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The daemon's control socket, as a client: a request is one line of JSON, and
 * so is its reply.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include "tools/ctl.h"

#include <jansson.h>

/*
 * Send request, which is taken over, and wait for the reply. CTL_OK: the daemon
 * has done it; *reply is the caller's. Anything else has been said, and *reply
 * is NULL. A descriptor that comes with the reply is put into *fd, the
 * caller's, -1 if there is none; fd may be NULL.
 */
enum ctl_status control_ask(const struct ctl_args *args, json_t *request,
    json_t **reply, int *fd) __attribute__((warn_unused_result));

/* The path of the socket: --control, or where it is. */
const char *control_path(const struct ctl_args *args);

#endif
