/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What the supervisor knows, as JSON: the reply to "status". Its keys are in
 * vhost-shmemctl(1), and stay what they are: new ones may come.
 */
#ifndef STATUS_H
#define STATUS_H

#include "daemon/supervisor/crew.h"
#include "daemon/supervisor/served.h"

#include <jansson.h>

/* pid is ours, started the loop_now() of the start. Returns a new object, the
 * caller's; or NULL if there is no memory. */
json_t *status_json(const struct served *served, const struct crew *crew,
    pid_t pid, uint64_t started);

#endif
