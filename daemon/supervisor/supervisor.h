/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The supervisor: holds the regions and listening sockets that the builder
 * makes, gives every front-end that connects a worker of its own, and says
 * what became of it. It never reads a byte from a front-end, and does not link
 * proto/.
 *
 * Threat model: a worker may be in the hands of its guest. It can send
 * messages of three types to us and exit; anything else ends it (priv.h).
 */
#ifndef SUPERVISOR_H
#define SUPERVISOR_H

#include "daemon/config/settings.h"

/* Run until a signal, or with --once the front-end, ends it. Returns the
 * exit status of the program: 0, or 1 after an error, which is logged. */
int supervisor_run(const struct settings *settings);

#endif
