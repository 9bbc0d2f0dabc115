/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Whether a front-end may have a device: by who it is, and by how many there
 * are. Supervisor only. How often it may is pace.h.
 */
#ifndef ADMISSION_H
#define ADMISSION_H

#include "daemon/supervisor/crew.h"
#include "daemon/supervisor/pace.h"
#include "daemon/supervisor/served.h"

/* Who it is: allow-user, allow-group, and who could write to what it shall
 * only read: regions belong to the user owner, or are files. Returns NULL, or
 * why not, for the log. */
const char *admission_of(const struct device *device, int fd,
    const struct front_end *who, uid_t owner);

/* How many there are: max-connections of the device and of its regions.
 * Returns NULL, or why not. */
const char *admission_room(
    const struct crew *crew, const struct device *device);

/* Whether nothing of the device is being erased. */
bool admission_ready(const struct device *device);

#endif
