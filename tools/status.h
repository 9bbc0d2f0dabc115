/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What "status" and "top" both show. */
#ifndef STATUS_H
#define STATUS_H

#include "tools/control.h"

#include <stdio.h>

/* Ask the daemon for all that it says of itself. As control_ask(). */
enum ctl_status status_ask(const struct ctl_args *args, json_t **reply)
    __attribute__((warn_unused_result));

/* One line about the daemon itself. False after an error, which was said. */
bool status_head(FILE *out, const json_t *status)
    __attribute__((warn_unused_result));

/* How many requests, or calls ("requests", "calls"), all rings of a connection
 * had. */
bool status_sum_rings(const json_t *connection, const char *key, uint64_t *sum)
    __attribute__((warn_unused_result));

#endif
