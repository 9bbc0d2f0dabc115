/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The raw device: shared memory regions and nothing else, for drivers that
 * are being written and for programs in guests that map the PCI BAR. Which
 * virtio device it claims to be is the front-end's choice. It has one queue,
 * whose buffers come back unused, and a configuration space of zeros.
 */
#ifndef RAW_H
#define RAW_H

#include "device.h"

extern const struct vus_device_type raw_type;

#endif
