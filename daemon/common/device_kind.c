/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The devices there are; see device_kind.h. */
#include "config.h"

#include "daemon/common/device_kind.h"

#include "proto/wire.h"

#include <string.h>

const struct device_kind device_kinds[DEVICE_IDS] = {
	/* VIRTIO 1.3, 5.19: one region, which Linux maps by sections of
	 * struct pages. */
	[DEVICE_PMEM] = {
	    .name = "pmem",
	    .max_regions = 1,
	    .max_shmid = 0,
	    .align = UINT64_C(2) << 20,
	    .why_align = "Linux maps pmem of at least 2M and in multiples of "
			 "2M",
	},
	[DEVICE_RAW] = {
	    .name = "raw",
	    .max_regions = VUS_SHMEM_MAX,
	    .max_shmid = VUS_SHMEM_MAX - 1,
	},
};

int
device_kind_by_name(const char *name)
{
	for (int i = 0; i < DEVICE_IDS; i++)
		if (strcmp(device_kinds[i].name, name) == 0)
			return i;
	return -1;
}
