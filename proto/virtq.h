/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Split virtqueues: VIRTIO 1.3, section 2.7, with indirect descriptors
 * (2.7.5.3) and notification suppression by flag (2.7.7) or by event index
 * (2.7.10).
 *
 * Threat model: the ring and the chains lie in memory that the guest and the
 * front-end change while we look. Each value is read once into a local and
 * checked there. A walk is bounded by the queue size, or by VUS_INDIRECT_MAX
 * in an indirect table; a chain that breaks the rules is handed back with
 * length 0, or skipped where it has no descriptor to name, and the queue goes
 * on.
 */
#ifndef VIRTQ_H
#define VIRTQ_H

#include "mem.h"
#include "wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pieces of guest memory that one chain may have for us, each way. A device
 * of ours reads and writes a few bytes; VIRTIO lets the driver cut them as it
 * likes. */
#define VUS_CHAIN_SEGS 16U
/* Entries of an indirect table: what QEMU's own devices take. */
#define VUS_INDIRECT_MAX 1024U

struct vus_seg {
	unsigned char *base;
	uint64_t len; /* bytes, never 0 */
};

/* One request: what the driver lets us read, and where we may write. */
struct vus_chain {
	uint16_t head;
	unsigned nread, nwrite;
	struct vus_seg read[VUS_CHAIN_SEGS];
	struct vus_seg write[VUS_CHAIN_SEGS];
};

struct vus_virtq {
	/* Set before the ring is resolved. */
	uint32_t num;	/* entries: a power of two up to VUS_RING_MAX */
	uint16_t next;	/* avail index of the next request to take */
	bool event_idx; /* VIRTIO_F_EVENT_IDX was accepted */
	bool indirect;	/* VIRTIO_F_INDIRECT_DESC was accepted */
	/* Set by vus_virtq_resolve(). */
	uint16_t used;	    /* used index of the next completion */
	uint16_t signalled; /* used index at the last look at suppression */
	bool signalled_valid;
	unsigned char *desc_area, *avail_area, *used_area; /* NULL: not ready */
};

enum vus_pop {
	VUS_POP_CHAIN, /* chain is filled in: push it when done */
	VUS_POP_EMPTY, /* nothing is waiting */
	VUS_POP_BAD,   /* a malformed chain was dealt with; *why says which */
	VUS_POP_BROKEN /* the ring makes no sense: stop it; *why */
};

/*
 * Find the ring in memory, at front-end virtual addresses desc, avail and
 * used, and take over the used index that stands there. Returns 0; -EFAULT if
 * a part does not lie in one region of the memory table; -EINVAL if one is
 * not aligned as VIRTIO 1.3, 2.7 asks.
 */
int vus_virtq_resolve(struct vus_virtq *vq, const struct vus_mem *mem,
    uint64_t desc, uint64_t avail, uint64_t used)
    __attribute__((warn_unused_result));

/* Forget where the ring is. next stays: it is the base to resume from. */
void vus_virtq_unresolve(struct vus_virtq *vq);

static inline bool
vus_virtq_ready(const struct vus_virtq *vq)
{
	return vq->used_area != NULL;
}

/* Take the next request. */
enum vus_pop vus_virtq_pop(struct vus_virtq *vq, const struct vus_mem *mem,
    struct vus_chain *chain, const char **why);

/* Complete the request that began at head; len bytes of it were written. */
void vus_virtq_push(struct vus_virtq *vq, uint16_t head, uint32_t len);

/*
 * Ask to be notified of the next request. Returns true if one has come in
 * the meantime, so that no notification may be expected for it.
 */
bool vus_virtq_arm(struct vus_virtq *vq);

/* Whether the driver wants a call for what was pushed since the last time. */
bool vus_virtq_should_call(struct vus_virtq *vq);

/* Copy up to len bytes out of what the driver lets us read, or into where we
 * may write. Returns the bytes copied. */
size_t vus_chain_read(const struct vus_chain *chain, void *to, size_t len);
size_t vus_chain_write(
    const struct vus_chain *chain, const void *from, size_t len);

#endif
