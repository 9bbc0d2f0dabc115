/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The raw device: shared memory regions and nothing else, for drivers that
 * are being written and for programs in guests that map the PCI BAR. Which
 * virtio device it claims to be is the front-end's choice. The buffers of its
 * queues come back unused, and its configuration space is what the operator
 * says, or zeros.
 */
#ifndef RAW_H
#define RAW_H

#include "proto/device.h"

/* One queue, and a configuration space of any size. */
extern const struct vus_device_type raw_type;

/* Let *type, a copy of raw_type, have so many queues, and the device a
 * configuration space of config_size bytes; 0: of any size, and zeros. */
void raw_configure(struct vus_device_type *type, struct vus_device *device,
    unsigned queues, const unsigned char *config, unsigned config_size);

#endif
