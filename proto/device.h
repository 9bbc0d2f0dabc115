/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What a device is to the protocol: numbers, a configuration space, regions,
 * and one function that serves a request of a virtqueue.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include "proto/wire.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct vus_chain;
struct vus_session;

/* One VIRTIO shared memory region: VIRTIO 1.3, section 2.10. */
struct vus_region {
	uint64_t size; /* bytes, a multiple of the page size; 0: no region */
	int fd;	       /* what SHMEM_MAP passes on; the worker owns it */
	dev_t dev;     /* fstat of fd: tells it when it comes back to us */
	ino_t ino;
	bool writable;
};

struct vus_device_type {
	const char *name;
	uint64_t features;	/* the device's own, bits 0 to 23 */
	uint64_t expected;	/* of these, what a driver must accept ... */
	const char *unaccepted; /* ... or the log says this */
	unsigned num_queues;	/* 1 to VUS_RINGS_MAX */
	unsigned config_size;	/* bytes that mean something; 0: any may */

	/*
	 * Serve one request. Writes the answer into the chain and returns
	 * the bytes written, for the used ring. Never fails: a request that
	 * is wrong gets the device's own error, or 0 bytes. VUS_LATER, only
	 * where vus_session_syncs(): nothing is written yet, and finish() is
	 * called when a sync has ended that began after this.
	 */
	uint32_t (*serve)(struct vus_session *session, unsigned ring,
	    const struct vus_chain *chain);
	/* The same for such a request; rc is the sync's, 0 or a negative
	 * errno. NULL: serve() leaves none for later. It may be served again
	 * instead, where the chain is put back: held.h. */
	uint32_t (*finish)(struct vus_session *session, unsigned ring,
	    const struct vus_chain *chain, int rc);
};
#define VUS_LATER UINT32_MAX

/* A device as one connection sees it, unchanged for its whole life. */
struct vus_device {
	const struct vus_device_type *type;
	unsigned char config[VUS_CONFIG_MAX]; /* little endian, zero padded */
	struct vus_region shm[VUS_SHMEM_MAX]; /* by shmid */
	/* What is written to memory has to be brought to storage: the host's
	 * sync(). False: the memory is the storage. */
	bool sync;
};

#endif
