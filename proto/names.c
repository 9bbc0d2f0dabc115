/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Names of bits; see names.h. */
#include "config.h"

#include "proto/names.h"

#include <stddef.h>

const char *
name_of_virtio_feature(unsigned bit)
{
	static const char *const names[] = {
		[24] = "NOTIFY_ON_EMPTY",
		[26] = "LOG_ALL",
		[27] = "ANY_LAYOUT",
		[28] = "INDIRECT_DESC",
		[29] = "EVENT_IDX",
		[30] = "PROTOCOL_FEATURES",
		[32] = "VERSION_1",
		[33] = "ACCESS_PLATFORM",
		[34] = "RING_PACKED",
		[35] = "IN_ORDER",
		[36] = "ORDER_PLATFORM",
		[37] = "SR_IOV",
		[38] = "NOTIFICATION_DATA",
		[39] = "NOTIF_CONFIG_DATA",
		[40] = "RING_RESET",
		[41] = "ADMIN_VQ",
	};

	return bit < sizeof(names) / sizeof(names[0]) ? names[bit] : NULL;
}

bool
name_is_device_specific(unsigned bit)
{
	return bit <= 23 || bit >= 50;
}

const char *
name_of_protocol_feature(unsigned bit)
{
	static const char *const names[] = {
		[0] = "MQ",
		[1] = "LOG_SHMFD",
		[2] = "RARP",
		[3] = "REPLY_ACK",
		[4] = "NET_MTU",
		[5] = "BACKEND_REQ",
		[6] = "CROSS_ENDIAN",
		[7] = "CRYPTO_SESSION",
		[8] = "PAGEFAULT",
		[9] = "CONFIG",
		[10] = "BACKEND_SEND_FD",
		[11] = "HOST_NOTIFIER",
		[12] = "INFLIGHT_SHMFD",
		[13] = "RESET_DEVICE",
		[14] = "INBAND_NOTIFICATIONS",
		[15] = "CONFIGURE_MEM_SLOTS",
		[16] = "STATUS",
		[17] = "XEN_MMAP",
		[18] = "SHARED_OBJECT",
		[19] = "DEVICE_STATE",
		[20] = "GET_VRING_BASE_INFLIGHT",
		[21] = "GPA_ADDRESSES",
		[22] = "SHMEM",
	};

	return bit < sizeof(names) / sizeof(names[0]) ? names[bit] : NULL;
}
