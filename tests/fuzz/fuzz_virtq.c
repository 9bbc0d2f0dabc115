/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The virtqueue walker over hostile memory.
 *
 * The input fills guest memory, chooses format, size, features and where the
 * parts of the ring lie, also over each other; then operations take requests,
 * complete them and change the memory in between. Each time that the walker
 * looks an address up, in the middle of a chain, the input may change memory
 * as well: what was read once must not be read again.
 *
 * A dirty log and an inflight buffer may be there, which the input fills and
 * changes as well. What the walker writes has to be in the log.
 *
 * All of this memory is allocated, so that AddressSanitizer sees each byte
 * that is touched beyond its end.
 */
#include "config.h"

#include "proto/mem.h"
#include "proto/virtq.h"
#include "tests/fuzz/fuzz.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define OPS_MAX 300U
#define REGIONS 4U
/* Where they lie; the first two follow each other. */
#define GUEST UINT64_C(0x10000)
#define USER UINT64_C(0x7f0000000000)
/* Room for a ring of 32768 entries, which is rare, or for a small one. */
#define BIG 0x180000U
#define SMALL 0x2000U
#define POPS_MAX 64U
/* Requests that are popped and not completed. */
#define HELD_MAX 8U

enum op {
	OP_POP,
	OP_PUSH, /* complete what was popped; else that is done at once */
	OP_WRITE,
	OP_DESC,
	OP_INDEX, /* of the available ring */
	OP_AVAIL, /* an entry of it */
	OP_ARM,
	OP_CALL,
	OP_COPY,
	OP_RESOLVE,
	OP_BASE,
	OP_CHANGE,	    /* memory, at a later look-up */
	OP_DROP,	    /* a region */
	OP_INFLIGHT,	    /* write into the buffer */
	OP_INFLIGHT_CHANGE, /* the same, at a later look-up */
	OP_UNPOP,	    /* put back what was popped */
	OPS
};

static struct vus_mem mem;
/* Guest memory as the harness has left it: what is different there the walker
 * has written. */
static unsigned char *before[REGIONS];
static struct run {
	struct fuzz_input in;
	struct vus_virtq vq;
	uint64_t desc, avail, used; /* front-end virtual */
	bool ready;
	struct vus_chain chain[HELD_MAX]; /* popped, the oldest first */
	unsigned popped;
	bool by_hand;	/* OP_PUSH completes */
	unsigned delay; /* look-ups before memory changes; 0: it does not */
	uint32_t change_at;
	uint8_t change[16];
	bool change_inflight; /* it is the buffer that changes */
	struct vus_dirty dirty;
	size_t inflight_size;
} run;

/* --- guest memory -------------------------------------------------------- */

static void
add_region(uint64_t size, uint64_t guest_addr)
{
	struct vus_mem_region *r = &mem.region[mem.nregions];
	void *room;

	/* Exactly size bytes, aligned as a mapping is, as far as it matters. */
	if (posix_memalign(&room, 4096, size) != 0)
		fuzz_fail("the harness: no memory");
	memset(room, 0, size);
	before[mem.nregions] = calloc(1, size);
	if (before[mem.nregions] == NULL)
		fuzz_fail("the harness: no memory");
	*r = (struct vus_mem_region){
		.guest_addr = guest_addr,
		.user_addr = USER + ((uint64_t)mem.nregions << 32),
		.size = size,
		.map.at = room,
	};
	mem.nregions++;
}

static void
free_region(void)
{
	free(mem.region[--mem.nregions].map.at);
	free(before[mem.nregions]);
}

static void
free_all(void)
{
	while (mem.nregions != 0)
		free_region();
	free(run.dirty.map.base);
	free(run.vq.inflight.region);
}

/* Write to an offset in all of guest memory. */
static void
poke(uint64_t at, const void *bytes, size_t len)
{
	for (unsigned i = 0; i < mem.nregions; i++) {
		struct vus_mem_region *r = &mem.region[i];

		if (at >= r->size) {
			at -= r->size;
			continue;
		}
		if (len > r->size - at)
			len = (size_t)(r->size - at);
		memcpy(r->map.at + at, bytes, len);
		memcpy(before[i] + at, bytes, len);
		return;
	}
}

/* Write to an offset in the inflight buffer. */
static void
poke_inflight(size_t at, const void *bytes, size_t len)
{
	if (run.vq.inflight.region == NULL || run.inflight_size == 0)
		return;
	at %= run.inflight_size;
	if (len > run.inflight_size - at)
		len = run.inflight_size - at;
	memcpy(run.vq.inflight.region + at, bytes, len);
}

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
void *__real_vus_mem_guest(
    const struct vus_mem *m, uint64_t addr, uint64_t *len);
void *__wrap_vus_mem_guest(
    const struct vus_mem *m, uint64_t addr, uint64_t *len);
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

/* The guest writes at this moment. */
void *
__wrap_vus_mem_guest(const struct vus_mem *m, uint64_t addr, uint64_t *len)
{
	if (run.delay != 0 && --run.delay == 0) {
		if (run.change_inflight)
			poke_inflight(
			    run.change_at, run.change, sizeof(run.change));
		else
			poke(run.change_at, run.change, sizeof(run.change));
	}
	return __real_vus_mem_guest(m, addr, len);
}

/* --- what has to be ------------------------------------------------------ */

static void
check_segs(const struct vus_seg *segs, unsigned n)
{
	FUZZ_CHECK(n <= VUS_CHAIN_SEGS, "%u pieces", n);
	for (unsigned i = 0; i < n; i++) {
		bool inside = false;

		FUZZ_CHECK(segs[i].len != 0, "an empty piece");
		for (unsigned k = 0; k < mem.nregions; k++) {
			const struct vus_mem_region *r = &mem.region[k];

			if (segs[i].base >= r->map.at &&
			    segs[i].base < r->map.at + r->size)
				inside = segs[i].len <=
					 (uint64_t)(r->map.at + r->size -
						    segs[i].base);
		}
		FUZZ_CHECK(inside, "a piece outside of guest memory");
	}
}

static void
check_chain(const struct vus_chain *chain)
{
	check_segs(chain->read, chain->nread);
	check_segs(chain->write, chain->nwrite);
	if (run.vq.packed)
		FUZZ_CHECK(chain->slots >= 1 && chain->slots <= run.vq.num,
		    "a chain of %u entries", chain->slots);
	else
		FUZZ_CHECK(chain->id < run.vq.num, "head %u of %u", chain->id,
		    run.vq.num);
}

/* Whether a byte of the first region is of the ring, and not to be logged. */
static bool
ring_byte(uint64_t at)
{
	uint64_t num = run.vq.num;

	if (run.vq.log_ring)
		return false;
	if (!run.vq.packed)
		return at - (run.used - USER) < 6 + num * 8;
	return at - (run.desc - USER) < num * 16 || at - (run.used - USER) < 4;
}

static bool
marked(uint64_t addr)
{
	uint64_t page = addr / 4096;

	return page / 8 >= run.dirty.size ||
	       (run.dirty.map.at[page / 8] & (1U << (page % 8))) != 0;
}

/* What was written since the last time is in the log. */
static void
check_dirty(void)
{
	if (run.vq.dirty == NULL)
		return;
	for (unsigned i = 0; i < mem.nregions; i++) {
		const struct vus_mem_region *r = &mem.region[i];

		if (memcmp(r->map.at, before[i], r->size) == 0)
			continue;
		for (uint64_t at = 0; at < r->size; at++)
			FUZZ_CHECK(r->map.at[at] == before[i][at] ||
				       marked(r->guest_addr + at) ||
				       (i == 0 && ring_byte(at)),
			    "byte 0x%llx of region %u was written and not "
			    "logged",
			    (unsigned long long)at, i);
		memcpy(before[i], r->map.at, r->size);
	}
	memset(run.dirty.map.at, 0, run.dirty.size);
}

static void
check_ring(void)
{
	check_dirty();
	FUZZ_CHECK(run.vq.inflight.region == NULL ||
		       run.vq.inflight.redo <= run.vq.inflight.entries,
	    "%u requests of %u", run.vq.inflight.redo, run.vq.inflight.entries);
	if (run.vq.packed && run.ready)
		FUZZ_CHECK(run.vq.next < run.vq.num && run.vq.used < run.vq.num,
		    "entries %u and %u of %u", run.vq.next, run.vq.used,
		    run.vq.num);
	FUZZ_CHECK(run.ready == vus_virtq_ready(&run.vq), "ready or not");
}

/* --- operations ---------------------------------------------------------- */

static void
resolve(void)
{
	run.ready = vus_virtq_resolve(
			&run.vq, &mem, run.desc, run.avail, run.used) == NULL;
	run.popped = 0;
	if (!run.ready)
		vus_virtq_unresolve(&run.vq);
}

/* The oldest one. */
static void
complete(uint32_t len)
{
	uint16_t used = run.vq.used;
	bool wrap = run.vq.used_wrap;
	unsigned slots = run.vq.packed ? run.chain[0].slots : 1;

	if (run.popped == 0)
		return;
	vus_virtq_push(&run.vq, &run.chain[0], len);
	memmove(run.chain, run.chain + 1, --run.popped * sizeof(run.chain[0]));
	if (run.vq.packed)
		FUZZ_CHECK((run.vq.used + run.vq.num - used) % run.vq.num ==
				   slots % run.vq.num &&
			       (run.vq.used_wrap != wrap) ==
				   (used + slots >= run.vq.num),
		    "entry %u, %u slots on, is %u", used, slots, run.vq.used);
	else
		FUZZ_CHECK((uint16_t)(used + 1) == run.vq.used,
		    "used index %u after %u", run.vq.used, used);
}

/* The newest first; whoever looks next finds the oldest. */
static void
unpop(void)
{
	const struct vus_chain *oldest = NULL;

	while (run.popped != 0) {
		const struct vus_chain *chain = &run.chain[--run.popped];

		vus_virtq_unpop(&run.vq, chain);
		if (!chain->redo)
			oldest = chain;
	}
	FUZZ_CHECK(
	    oldest == NULL ||
		(run.vq.next == oldest->at &&
		    (!run.vq.packed || run.vq.next_wrap == oldest->at_wrap)),
	    "the next request is %u", run.vq.next);
	vus_virtq_unresolve(&run.vq);
	resolve();
}

static void
pop(unsigned max)
{
	for (unsigned i = 0; i < max && run.ready; i++) {
		struct vus_chain *chain;
		const char *why = NULL;

		if (!run.by_hand || run.popped == HELD_MAX)
			complete(i);
		while (!run.by_hand && run.popped != 0)
			complete(i);
		chain = &run.chain[run.popped];
		switch (vus_virtq_pop(&run.vq, &mem, chain, &why)) {
		case VUS_POP_CHAIN:
			check_chain(chain);
			run.popped++;
			if (!run.by_hand)
				complete(chain->nwrite);
			break;
		case VUS_POP_EMPTY:
			return;
		case VUS_POP_BAD:
			FUZZ_CHECK(why != NULL, "bad without a reason");
			run.popped++;
			if (!run.by_hand)
				complete(0);
			break;
		case VUS_POP_SKIP:
			FUZZ_CHECK(why != NULL, "skipped without a reason");
			break;
		case VUS_POP_BROKEN:
			FUZZ_CHECK(why != NULL, "broken without a reason");
			vus_virtq_unresolve(&run.vq);
			run.ready = false;
			run.popped = 0;
			return;
		}
	}
}

/* An offset in the region and the region it is in; mostly the ring's. */
static uint64_t
any_guest_address(uint8_t how)
{
	const struct vus_mem_region *r = &mem.region[0];

	switch (how % 4) {
	case 0:
		return r->guest_addr + fuzz_u16(&run.in);
	case 1: /* near an end */
		r = &mem.region[how / 4 % REGIONS];
		return r->guest_addr + r->size - how / 16;
	case 2:
		r = &mem.region[how / 4 % REGIONS];
		return r->guest_addr + fuzz_u8(&run.in);
	default:
		return fuzz_u64(&run.in);
	}
}

/* One descriptor, in the table or wherever an indirect one may be. */
static void
op_desc(void)
{
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t a, b;
	} d;
	uint16_t i = fuzz_u16(&run.in), next;
	uint8_t flags = fuzz_u8(&run.in), len = fuzz_u8(&run.in);
	uint16_t bits = flags & 7U;

	next = fuzz_u8(&run.in);
	if (flags & 8)
		bits |= 0x80;
	if (flags & 0x10)
		bits |= 0x8000;
	if (flags & 0x20)
		bits ^= run.vq.next_wrap ? 0x80 : 0x8000;
	d.addr = htole64(any_guest_address(fuzz_u8(&run.in)));
	d.len = htole32(len < 0xf0 ? len : fuzz_u32(&run.in));
	d.a = htole16(run.vq.packed ? next : bits);
	d.b = htole16(run.vq.packed ? bits : next);
	/* Bit 6: at an offset of 16 times i, wherever the ring is. */
	if (flags & 0x40)
		poke((uint64_t)i * 16, &d, sizeof(d));
	else
		poke(run.desc - USER + (uint64_t)(i % (run.vq.num + 1)) * 16,
		    &d, sizeof(d));
}

static void
op_avail(bool index)
{
	uint16_t value = htole16(fuzz_u16(&run.in));
	uint64_t at = run.avail - USER + 2;

	if (!index && run.vq.num != 0)
		at += 2 + fuzz_u16(&run.in) % run.vq.num * 2U;
	poke(at, &value, sizeof(value));
}

static void
op_copy(void)
{
	unsigned char bytes[64];
	size_t len = fuzz_u8(&run.in) % (sizeof(bytes) + 1);
	size_t n;

	if (run.popped == 0)
		return;
	n = vus_chain_read(&run.chain[0], bytes, len);
	FUZZ_CHECK(n <= len, "%zu bytes instead of %zu", n, len);
	/* What nobody has written changes, too. */
	for (size_t i = 0; i < n; i++)
		bytes[i] = (unsigned char)~bytes[i];
	memset(bytes + n, 0x55, sizeof(bytes) - n);
	n = vus_chain_write(&run.chain[0], bytes, len);
	FUZZ_CHECK(n <= len, "%zu bytes instead of %zu", n, len);
}

static void
step(void)
{
	uint8_t bytes[64];
	uint8_t op = fuzz_u8(&run.in);
	size_t len;
	uint32_t at;

	switch ((enum op)((op & 0x7f) % OPS)) {
	case OP_POP:
		run.by_hand = (op & 0x80) != 0;
		pop(run.by_hand ? 1 : POPS_MAX);
		break;
	case OP_PUSH:
		if (run.ready)
			complete(fuzz_u32(&run.in));
		break;
	case OP_WRITE:
		at = fuzz_u16(&run.in);
		len = fuzz_u8(&run.in) % (sizeof(bytes) + 1);
		fuzz_bytes(&run.in, bytes, len);
		poke(at, bytes, len);
		break;
	case OP_DESC:
		op_desc();
		break;
	case OP_INDEX:
	case OP_AVAIL:
		op_avail((op & 0x7f) % OPS == OP_INDEX);
		break;
	case OP_ARM:
		if (run.ready)
			(void)vus_virtq_arm(&run.vq);
		break;
	case OP_CALL:
		if (run.ready)
			(void)vus_virtq_should_call(&run.vq);
		break;
	case OP_COPY:
		op_copy();
		break;
	case OP_RESOLVE:
		resolve();
		break;
	case OP_BASE:
		vus_virtq_unresolve(&run.vq);
		if (vus_virtq_set_base(&run.vq, fuzz_u32(&run.in)) < 0)
			(void)vus_virtq_base(&run.vq);
		resolve();
		break;
	case OP_CHANGE:
		run.delay = 1U + fuzz_u8(&run.in);
		run.change_at = fuzz_u16(&run.in);
		run.change_inflight = false;
		fuzz_bytes(&run.in, run.change, sizeof(run.change));
		break;
	case OP_INFLIGHT:
		at = fuzz_u16(&run.in);
		len = fuzz_u8(&run.in) % (sizeof(bytes) + 1);
		fuzz_bytes(&run.in, bytes, len);
		poke_inflight(at, bytes, len);
		break;
	case OP_INFLIGHT_CHANGE:
		run.delay = 1U + fuzz_u8(&run.in);
		run.change_at = fuzz_u16(&run.in);
		run.change_inflight = true;
		fuzz_bytes(&run.in, run.change, sizeof(run.change));
		break;
	case OP_DROP:
		vus_virtq_unresolve(&run.vq);
		if (mem.nregions > 1)
			free_region();
		/* What was popped may lie there. */
		unpop();
		break;
	case OP_UNPOP:
		unpop();
		break;
	case OPS:
		break;
	}
	check_ring();
}

/* Where a part of the ring is: in its place, or anywhere. */
static uint64_t
place(bool anywhere, uint64_t usual)
{
	return USER + (anywhere ? fuzz_u16(&run.in) : usual);
}

/* As small as the input says, and nothing behind it. */
static void
make_log(void)
{
	run.dirty.size = 1U + fuzz_u8(&run.in) % 64U;
	run.dirty.map.base = calloc(1, run.dirty.size);
	run.dirty.map.at = run.dirty.map.base;
	if (run.dirty.map.base == NULL)
		fuzz_fail("the harness: no memory");
	run.vq.dirty = &run.dirty;
}

/* New, or of our format and full of what the input says. */
static void
make_inflight(void)
{
	uint8_t how = fuzz_u8(&run.in);
	struct vus_inflight *f = &run.vq.inflight;
	uint32_t entries = run.vq.num + how % 4;
	uint16_t head[2] = { 1 };
	uint8_t bytes[96];
	void *room;

	/* Sometimes for the largest ring, whichever this one is. */
	if (entries > VUS_RING_MAX || (how & 0x3c) == 0x3c)
		entries = VUS_RING_MAX;
	f->entries = (uint16_t)entries;
	head[1] = f->entries;
	run.inflight_size = vus_inflight_size(run.vq.packed, entries);
	if (posix_memalign(&room, 64, run.inflight_size) != 0)
		fuzz_fail("the harness: no memory");
	memset(room, 0, run.inflight_size);
	f->region = room;
	if (how & 0x80)
		return;
	fuzz_bytes(&run.in, bytes, sizeof(bytes));
	for (size_t at = 0; at < run.inflight_size; at += sizeof(bytes))
		poke_inflight(at, bytes, sizeof(bytes));
	if (!(how & 0x40))
		poke_inflight(8, head, sizeof(head));
}

static void
set_up(void)
{
	uint8_t format = fuzz_u8(&run.in), order = fuzz_u8(&run.in);
	uint8_t where = fuzz_u8(&run.in), extent = fuzz_u8(&run.in);
	uint32_t num = 1U << order % 16;
	uint64_t room, stride;

	memset(&run.vq, 0, sizeof(run.vq));
	vus_virtq_reset(&run.vq);
	run.vq.packed = (format & 1) != 0;
	run.vq.event_idx = (format & 2) != 0;
	run.vq.indirect = (format & 4) != 0;
	/* Large rings cost much to make. */
	if (num > 64 && !(format & 0x80))
		num = 64;
	if (run.vq.packed && (format & 0x40))
		num = 1U + fuzz_u16(&run.in) % num;
	run.vq.num = num;
	run.popped = 0;
	run.by_hand = false;
	run.delay = 0;
	memset(&run.dirty, 0, sizeof(run.dirty));

	room = num <= 64 ? SMALL : BIG;
	add_region(room - (extent & 0x7f), GUEST);
	add_region(0x1000, GUEST + mem.region[0].size);
	add_region(0x100, UINT64_MAX - 0xff);
	add_region(1, UINT64_C(1) << 32);
	/* Table, driver and device area one behind the other, the device area
	 * up to the end of the region exactly if extent says so. */
	stride = (uint64_t)num * 16;
	run.desc = place(where & 1, 0);
	run.avail = place(where & 2, stride);
	run.used = place(where & 4, stride + (uint64_t)num * 2 + 8);
	run.used =
	    (where & 8) ? run.used : run.used - run.used % 4 + (where >> 6);
	if (extent & 0x80) {
		run.used = USER + mem.region[0].size -
			   (run.vq.packed ? 4 : 6 + num * 8U);
		/* Or a byte or two beyond. */
		run.used = (run.used + 3) & ~UINT64_C(3);
	}
	/* Fill what the ring sees first. */
	if (where & 0x10) {
		uint8_t bytes[256];

		fuzz_bytes(&run.in, bytes, sizeof(bytes));
		for (uint64_t at = 0; at < mem.region[0].size;
		     at += sizeof(bytes))
			poke(at, bytes, sizeof(bytes));
	}
	if ((format & 8) && num <= 64)
		make_log();
	run.vq.log_ring = (format & 0x20) != 0;
	run.vq.used_log = GUEST + (run.used - USER);
	if (format & 0x10)
		make_inflight();
	resolve();
	if (where & 0x20) {
		(void)vus_virtq_set_base(&run.vq, fuzz_u32(&run.in));
		resolve();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run.in = (struct fuzz_input){ data, size };
	set_up();
	for (unsigned i = 0; i < OPS_MAX && run.in.left != 0; i++)
		step();
	pop(POPS_MAX);
	check_ring();
	free_all();
	return 0;
}
