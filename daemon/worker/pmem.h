/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The virtio-pmem device: VIRTIO 1.3, section 5.19. Its memory is shared
 * memory region 0; its one queue takes FLUSH requests.
 */
#ifndef PMEM_H
#define PMEM_H

#include "proto/device.h"

extern const struct vus_device_type pmem_type;

/* Fill in the configuration space for a region of size bytes. */
void pmem_configure(struct vus_device *device, uint64_t size);

#endif
