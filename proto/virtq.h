/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Virtqueues, split (VIRTIO 1.3, section 2.7) and packed (2.8), with indirect
 * descriptors and notification suppression by flag or by event index. Whoever
 * takes requests completes them in the order in which they came, for
 * VIRTIO_F_IN_ORDER is offered; so those that were taken and not completed can
 * be put back.
 *
 * Threat model: the ring and the chains lie in memory that the guest and the
 * front-end change while we look. Each value is read once into a local and
 * checked there. A walk is bounded by the queue size, or by VUS_INDIRECT_MAX
 * in an indirect table; a chain that breaks the rules is to be handed back with
 * length 0, or is skipped where it has no descriptor to name, and the queue
 * goes on.
 */
#ifndef VIRTQ_H
#define VIRTQ_H

#include "proto/dirty.h"
#include "proto/inflight.h"
#include "proto/mem.h"
#include "proto/wire.h"

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
	uint64_t len;  /* bytes, never 0 */
	uint64_t addr; /* guest physical */
};

/* One request: what the driver lets us read, and where we may write. */
struct vus_chain {
	uint16_t id;	/* head (split), or buffer id (packed) */
	uint16_t slots; /* entries of a packed ring that it takes up */
	uint16_t entry; /* of a packed ring's inflight buffer */
	/* Where it was in the ring, as vus_virtq's next; or it was taken out
	 * of the inflight buffer, where it stays until it is completed. */
	uint16_t at;
	bool at_wrap;
	bool redo;
	unsigned nread, nwrite;
	struct vus_seg read[VUS_CHAIN_SEGS];
	struct vus_seg write[VUS_CHAIN_SEGS];
	struct vus_dirty *dirty; /* what is written is noted here; or NULL */
};

struct vus_virtq {
	/* Features that were accepted, set while the ring is stopped. */
	bool packed, event_idx, indirect;
	/* Set before the ring is resolved: entries, up to VUS_RING_MAX, for a
	 * split ring a power of two. */
	uint32_t num;
	/* Where the next request will be: available index (split), or entry
	 * and wrap counter (packed). */
	uint16_t next;
	bool next_wrap;
	/* Where the next completion goes, likewise. */
	uint16_t used;
	bool used_wrap;
	uint16_t signalled; /* used at the last look at suppression */
	bool signalled_valid;
	/* Set by vus_virtq_resolve(); NULL: not ready. For a packed ring the
	 * descriptors, the driver's and the device's event suppression. */
	unsigned char *desc_area, *avail_area, *used_area;

	/*
	 * Set at any time: where writes to guest memory are noted, or NULL;
	 * and whether those to the ring are, too. used_log is the guest
	 * physical address of the used ring; for a packed ring, of which the
	 * specification names no such address, both are found in the memory
	 * table.
	 */
	struct vus_dirty *dirty;
	bool log_ring;
	uint64_t used_log, desc_log;

	/* Set before the ring is resolved: its region and entries. */
	struct vus_inflight inflight;
};

enum vus_pop {
	VUS_POP_CHAIN, /* chain is filled in: push it when done */
	VUS_POP_EMPTY, /* nothing is waiting */
	VUS_POP_BAD,   /* chain is malformed: push it with length 0; *why */
	VUS_POP_SKIP,  /* there was no chain, and nothing to push; *why */
	VUS_POP_BROKEN /* the ring makes no sense: stop it; *why */
};

/* A ring without a size that begins at its beginning. Features stay. */
void vus_virtq_reset(struct vus_virtq *vq);

/*
 * Where to go on, in the form of SET_VRING_BASE and GET_VRING_BASE: the
 * available index, or for a packed ring entry and wrap counter (bit 15) of the
 * next request in the low half and of the next completion in the high half.
 * Returns 0 or -EINVAL.
 */
int vus_virtq_set_base(struct vus_virtq *vq, uint32_t base)
    __attribute__((warn_unused_result));
uint32_t vus_virtq_base(const struct vus_virtq *vq);

/*
 * Find the ring in memory, at front-end virtual addresses desc, avail (the
 * driver area) and used (the device area), and take over the used index that
 * stands there, or what the inflight buffer says. Returns NULL, or why it
 * cannot be served: a part does not lie in one region of the memory table, is
 * not aligned as VIRTIO 1.3, 2.7 and 2.8 ask, or size, base or inflight
 * buffer cannot be.
 */
const char *vus_virtq_resolve(struct vus_virtq *vq, const struct vus_mem *mem,
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

/* Complete the request, the oldest of those taken; len bytes of it were
 * written. */
void vus_virtq_push(
    struct vus_virtq *vq, const struct vus_chain *chain, uint32_t len);

/*
 * Put the request back, the newest of those taken: it was not looked at yet.
 * Touches no guest memory, so that this may be of the past. If it was being
 * done again it stays in the inflight buffer; so resolve the ring before the
 * next request is taken.
 */
void vus_virtq_unpop(struct vus_virtq *vq, const struct vus_chain *chain);

/*
 * Ask to be notified of the next request. Returns true if one has come in
 * the meantime, so that no notification may be expected for it.
 */
bool vus_virtq_arm(struct vus_virtq *vq);

/* Whether the driver wants a call for what was pushed since the last time. */
bool vus_virtq_should_call(struct vus_virtq *vq);

/* Bytes that the driver lets us read. */
uint64_t vus_chain_readable(const struct vus_chain *chain);

/* Copy up to len bytes out of what the driver lets us read, or into where we
 * may write. Returns the bytes copied. */
size_t vus_chain_read(const struct vus_chain *chain, void *to, size_t len);
size_t vus_chain_write(
    const struct vus_chain *chain, const void *from, size_t len);

/* Write the last byte that we may write, if there is one. */
void vus_chain_write_last(const struct vus_chain *chain, unsigned char byte);

#endif
