/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The vhost-user wire, after QEMU's docs/interop/vhost-user.rst, and the
 * virtio constants that a back-end needs. Numbers and layouts only.
 *
 * vhost-user messages are in host byte order, structures in guest memory
 * (rings, device configuration) little endian: VIRTIO 1.3, section 1.4.
 * The wire structs are filled and read by memcpy and do not travel further
 * than the handler that decodes them.
 */
#ifndef WIRE_H
#define WIRE_H

#include <assert.h>
#include <stdint.h>

#define VUS_BIT(n) (UINT64_C(1) << (n))

/* Header flags. */
#define VUS_VERSION 0x1U
#define VUS_VERSION_MASK 0x3U
#define VUS_FLAG_REPLY 0x4U
#define VUS_FLAG_NEED_REPLY 0x8U
#define VUS_FLAGS_KNOWN                                                        \
	(VUS_VERSION_MASK | VUS_FLAG_REPLY | VUS_FLAG_NEED_REPLY)

/* Front-end requests: "Front-end message types". */
enum vus_request {
	VUS_GET_FEATURES = 1,
	VUS_SET_FEATURES = 2,
	VUS_SET_OWNER = 3,
	VUS_RESET_OWNER = 4,
	VUS_SET_MEM_TABLE = 5,
	VUS_SET_LOG_BASE = 6,
	VUS_SET_LOG_FD = 7,
	VUS_SET_VRING_NUM = 8,
	VUS_SET_VRING_ADDR = 9,
	VUS_SET_VRING_BASE = 10,
	VUS_GET_VRING_BASE = 11,
	VUS_SET_VRING_KICK = 12,
	VUS_SET_VRING_CALL = 13,
	VUS_SET_VRING_ERR = 14,
	VUS_GET_PROTOCOL_FEATURES = 15,
	VUS_SET_PROTOCOL_FEATURES = 16,
	VUS_GET_QUEUE_NUM = 17,
	VUS_SET_VRING_ENABLE = 18,
	VUS_SEND_RARP = 19,
	VUS_NET_SET_MTU = 20,
	VUS_SET_BACKEND_REQ_FD = 21,
	VUS_IOTLB_MSG = 22,
	VUS_SET_VRING_ENDIAN = 23,
	VUS_GET_CONFIG = 24,
	VUS_SET_CONFIG = 25,
	VUS_CREATE_CRYPTO_SESSION = 26,
	VUS_CLOSE_CRYPTO_SESSION = 27,
	VUS_POSTCOPY_ADVISE = 28,
	VUS_POSTCOPY_LISTEN = 29,
	VUS_POSTCOPY_END = 30,
	VUS_GET_INFLIGHT_FD = 31,
	VUS_SET_INFLIGHT_FD = 32,
	VUS_GPU_SET_SOCKET = 33,
	VUS_RESET_DEVICE = 34,
	VUS_VRING_KICK = 35,
	VUS_GET_MAX_MEM_SLOTS = 36,
	VUS_ADD_MEM_REG = 37,
	VUS_REM_MEM_REG = 38,
	VUS_SET_STATUS = 39,
	VUS_GET_STATUS = 40,
	VUS_GET_SHARED_OBJECT = 41,
	VUS_SET_DEVICE_STATE_FD = 42,
	VUS_CHECK_DEVICE_STATE = 43,
	VUS_GET_SHMEM_CONFIG = 44,
	VUS_REQUEST_END
};

/* Back-end requests: "Back-end message types". */
enum vus_backend_request {
	VUS_BACKEND_IOTLB_MSG = 1,
	VUS_BACKEND_CONFIG_CHANGE_MSG = 2,
	VUS_BACKEND_VRING_HOST_NOTIFIER_MSG = 3,
	VUS_BACKEND_VRING_CALL = 4,
	VUS_BACKEND_VRING_ERR = 5,
	VUS_BACKEND_SHARED_OBJECT_ADD = 6,
	VUS_BACKEND_SHARED_OBJECT_REMOVE = 7,
	VUS_BACKEND_SHARED_OBJECT_LOOKUP = 8,
	VUS_BACKEND_SHMEM_MAP = 9,
	VUS_BACKEND_SHMEM_UNMAP = 10,
	VUS_BACKEND_END
};

/* Protocol features, VHOST_USER_PROTOCOL_F_*. */
#define VUS_F_MQ 0
#define VUS_F_LOG_SHMFD 1
#define VUS_F_REPLY_ACK 3
#define VUS_F_BACKEND_REQ 5
#define VUS_F_PAGEFAULT 8
#define VUS_F_CONFIG 9
#define VUS_F_BACKEND_SEND_FD 10
#define VUS_F_INFLIGHT_SHMFD 12
#define VUS_F_RESET_DEVICE 13
#define VUS_F_INBAND_NOTIFICATIONS 14
#define VUS_F_CONFIGURE_MEM_SLOTS 15
#define VUS_F_STATUS 16
#define VUS_F_DEVICE_STATE 19
#define VUS_F_GET_VRING_BASE_INFLIGHT 20
#define VUS_F_GPA_ADDRESSES 21
#define VUS_F_SHMEM 22

/* Virtio features: VIRTIO 1.3, section 6, and vhost-user's own 26 and 30. */
#define VUS_VIRTIO_F_LOG_ALL 26
#define VUS_VIRTIO_F_INDIRECT_DESC 28
#define VUS_VIRTIO_F_EVENT_IDX 29
#define VUS_VIRTIO_F_PROTOCOL_FEATURES 30
#define VUS_VIRTIO_F_VERSION_1 32
#define VUS_VIRTIO_F_RING_PACKED 34
#define VUS_VIRTIO_F_IN_ORDER 35
#define VUS_VIRTIO_F_RING_RESET 40

/* SET_VRING_ADDR: writes to the used ring go into the dirty log. */
#define VUS_VRING_F_LOG 1U

/* Vring file descriptor messages: index, and "no descriptor attached". */
#define VUS_VRING_INDEX_MASK UINT64_C(0xff)
#define VUS_VRING_NO_FD UINT64_C(0x100)

/* Largest device configuration space that the specification allows, bytes. */
#define VUS_CONFIG_MAX 256
/* Entries of the GET_SHMEM_CONFIG array; shmid is an index into it. */
#define VUS_SHMEM_MAX 256
/* VIRTIO 1.3, 2.6: the largest queue. */
#define VUS_RING_MAX 32768U

struct vus_wire_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* bytes of payload that follow */
};
static_assert(sizeof(struct vus_wire_header) == 12, "wire layout");

struct vus_wire_vring_state {
	uint32_t index;
	uint32_t num;
};
static_assert(sizeof(struct vus_wire_vring_state) == 8, "wire layout");

struct vus_wire_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc; /* front-end virtual addresses, as the next two */
	uint64_t used;
	uint64_t avail;
	uint64_t log; /* guest physical */
};
static_assert(sizeof(struct vus_wire_vring_addr) == 40, "wire layout");

/* SET_LOG_BASE and its answer. */
struct vus_wire_log {
	uint64_t size; /* bytes, as the offset in its file */
	uint64_t offset;
};
static_assert(sizeof(struct vus_wire_log) == 16, "wire layout");

/* GET_INFLIGHT_FD, its answer, and SET_INFLIGHT_FD. */
struct vus_wire_inflight {
	uint64_t mmap_size; /* bytes, as the offset in its file */
	uint64_t mmap_offset;
	uint16_t num_queues;
	uint16_t queue_size; /* entries */
	uint32_t padding;    /* as C compilers have put it for QEMU */
};
static_assert(sizeof(struct vus_wire_inflight) == 24, "wire layout");

/* SET_DEVICE_STATE_FD. */
struct vus_wire_transfer {
	uint32_t direction;
	uint32_t phase;
};
static_assert(sizeof(struct vus_wire_transfer) == 8, "wire layout");
#define VUS_TRANSFER_SAVE 0U
#define VUS_TRANSFER_LOAD 1U
#define VUS_TRANSFER_STOPPED 0U
/* In the answer: no descriptor comes with it, use yours. */
#define VUS_TRANSFER_NO_FD UINT64_C(0x100)

struct vus_wire_mem_region {
	uint64_t guest_addr;
	uint64_t size;
	uint64_t user_addr;
	uint64_t mmap_offset;
};
static_assert(sizeof(struct vus_wire_mem_region) == 32, "wire layout");

struct vus_wire_mem_table {
	uint32_t nregions;
	uint32_t padding;
	/* struct vus_wire_mem_region [nregions] follows */
};
static_assert(sizeof(struct vus_wire_mem_table) == 8, "wire layout");

struct vus_wire_single_region {
	uint64_t padding;
	struct vus_wire_mem_region region;
};
static_assert(sizeof(struct vus_wire_single_region) == 40, "wire layout");

struct vus_wire_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	/* uint8_t [size] follows */
};
static_assert(sizeof(struct vus_wire_config) == 12, "wire layout");

/* Reply to GET_SHMEM_CONFIG: always all 256 sizes, in bytes, by shmid. */
struct vus_wire_shmem_config {
	uint32_t num_regions;
	uint32_t padding;
	uint64_t size[VUS_SHMEM_MAX];
};
static_assert(sizeof(struct vus_wire_shmem_config) == 2056, "wire layout");

#define VUS_MMAP_WRITABLE UINT64_C(1)

/* Payload of SHMEM_MAP and SHMEM_UNMAP. Offsets and len in bytes. */
struct vus_wire_mmap {
	uint8_t shmid;
	uint8_t padding[7];
	uint64_t fd_offset;
	uint64_t shm_offset;
	uint64_t len;
	uint64_t flags;
};
static_assert(sizeof(struct vus_wire_mmap) == 40, "wire layout");

#endif
