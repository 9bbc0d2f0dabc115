/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Front-end profiles; profile.h says what for. */
#include "config.h"

#include "daemon/common/profile.h"

#include "proto/wire.h"

#include <string.h>

/* Needed for regions, configuration space and the acknowledgements that show
 * what became of a SHMEM_MAP. */
#define COMMON                                                                 \
	(VUS_BIT(VUS_F_MQ) | VUS_BIT(VUS_F_REPLY_ACK) |                        \
	    VUS_BIT(VUS_F_BACKEND_REQ) | VUS_BIT(VUS_F_CONFIG) |               \
	    VUS_BIT(VUS_F_BACKEND_SEND_FD) | VUS_BIT(VUS_F_SHMEM))

/* What front-ends on rust-vmm's crate can do besides. */
#define RUST_VMM                                                               \
	(VUS_BIT(VUS_F_RESET_DEVICE) | VUS_BIT(VUS_F_CONFIGURE_MEM_SLOTS) |    \
	    VUS_BIT(VUS_F_STATUS) | VUS_BIT(VUS_F_LOG_SHMFD) |                 \
	    VUS_BIT(VUS_F_INFLIGHT_SHMFD) |                                    \
	    VUS_BIT(VUS_F_GET_VRING_BASE_INFLIGHT) |                           \
	    VUS_BIT(VUS_F_INBAND_NOTIFICATIONS) | VUS_BIT(VUS_F_DEVICE_STATE))

static const struct profile profiles[] = {
	/*
	 * QEMU 11.1. Without CONFIGURE_MEM_SLOTS, of which it dies at the
	 * second start of a guest's driver; all regions together become one
	 * PCI BAR, whose size is a power of two or an assertion fails; a
	 * fourth region's PCI capability does not fit, likewise. Its generic
	 * device does not pass the reset of a single queue on to us. It maps
	 * all memory writable, whatever SHMEM_MAP says, and refuses what it
	 * cannot.
	 */
	{
	    .name = "qemu",
	    .protocol_features = COMMON | VUS_BIT(VUS_F_GPA_ADDRESSES),
	    .shmem_bit = VUS_F_SHMEM,
	    .virtio_without = VUS_BIT(VUS_VIRTIO_F_RING_RESET),
	    .max_regions = 3,
	    .power_of_two = true,
	},
	/* The crate vhost 0.17 and later, and what is built on it. */
	{
	    .name = "rust-vmm",
	    .protocol_features = COMMON | RUST_VMM,
	    .shmem_bit = VUS_F_SHMEM,
	    .max_regions = VUS_SHMEM_MAX,
	    .maps_read_only = true,
	},
	/* crosvm takes one region per device, and keeps its mapping over a
	 * reset of the device. */
	{
	    .name = "crosvm",
	    .protocol_features = COMMON,
	    .shmem_bit = VUS_F_SHMEM,
	    .max_regions = 1,
	    .maps_read_only = true,
	},
	/* The crate vhost 0.16: SHMEM has bit 21 there, which is
	 * GPA_ADDRESSES to everybody else. */
	{
	    .name = "rust-vmm-0.16",
	    .protocol_features = COMMON | RUST_VMM,
	    .shmem_bit = 21,
	    .max_regions = VUS_SHMEM_MAX,
	    .maps_read_only = true,
	},
	/* GET_SHMEM_CONFIG as it was proposed: bit 20, and an answer of as
	 * many sizes as there are. */
	{
	    .name = "rfc",
	    .protocol_features = COMMON,
	    .shmem_bit = 20,
	    .short_shmem_config = true,
	    .max_regions = VUS_SHMEM_MAX,
	    .maps_read_only = true,
	},
};

#define NPROFILES (sizeof(profiles) / sizeof(profiles[0]))

const struct profile *
profile_by_name(const char *name)
{
	for (unsigned i = 0; i < NPROFILES; i++)
		if (strcmp(profiles[i].name, name) == 0)
			return &profiles[i];
	return NULL;
}

const struct profile *
profile_by_index(unsigned index)
{
	return index < NPROFILES ? &profiles[index] : NULL;
}

unsigned
profile_index(const struct profile *profile)
{
	return (unsigned)(profile - profiles);
}

const char *
profile_names(void)
{
	static char names[128];

	if (names[0] == '\0')
		for (unsigned i = 0; i < NPROFILES; i++) {
			if (i != 0)
				strncat(names, ", ",
				    sizeof(names) - strlen(names) - 1);
			strncat(names, profiles[i].name,
			    sizeof(names) - strlen(names) - 1);
		}
	return names;
}
