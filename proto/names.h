/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the bits of vhost-user and virtio are called. */
#ifndef NAMES_H
#define NAMES_H

#include <stdbool.h>

/* Bits 24 to 41 of virtio features, which mean the same for each device:
 * VIRTIO 1.3, section 6, and vhost-user's own. NULL if a bit has no name. */
const char *name_of_virtio_feature(unsigned bit);

/* Whether the bit is a device's own affair: VIRTIO 1.3, section 2.2. */
bool name_is_device_specific(unsigned bit);

/* VHOST_USER_PROTOCOL_F_*; NULL if it has no name yet. */
const char *name_of_protocol_feature(unsigned bit);

#endif
