/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtq.h: where a ring may lie, each kind of malformed chain, indirect
 * tables, indices that wrap, and both ways to suppress notifications.
 * Section numbers are of VIRTIO 1.3.
 */
#include "config.h"

#include "tests/unit/fake_guest.h"
#include "tests/unit/fake_host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NUM 8U

static struct fake_guest guest;
static struct fake_driver driver;
static struct vus_mem *mem;
static struct vus_virtq vq;
static struct vus_chain chain;
static const char *why;

/* 0, or as what the reason counts here. */
static int
as_errno(const char *reason)
{
	if (reason == NULL)
		return 0;
	return strcmp(reason, "it is not in the memory table") == 0 ? -EFAULT
								    : -EINVAL;
}

/* A ring of num entries, both sides at index start. */
static void
begin(unsigned num, uint16_t start)
{
	driver_init(&driver, &guest, num, start);
	vq = (struct vus_virtq){ .num = num, .next = start, .indirect = true };
	assert_int_equal(
	    as_errno(vus_virtq_resolve(&vq, mem, GUEST_USER + driver.desc,
		GUEST_USER + driver.avail, GUEST_USER + driver.used)),
	    0);
	assert_true(vus_virtq_ready(&vq));
}

static int
setup(void **state)
{
	(void)fds_before(state);
	guest_init(&guest);
	mem = calloc(1, sizeof(*mem));
	assert_non_null(mem);
	assert_int_equal(
	    vus_mem_replace(mem, guest.region, guest.fd, 2, &why), 0);
	begin(NUM, 0);
	return 0;
}

static int
teardown(void **state)
{
	vus_mem_clear(mem);
	free(mem);
	guest_free(&guest);
	return fds_after(state);
}

#define VQ_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static enum vus_pop
pop(void)
{
	enum vus_pop got;

	why = NULL;
	got = vus_virtq_pop(&vq, mem, &chain, &why);
	if (got == VUS_POP_BAD)
		vus_virtq_push(&vq, &chain, 0);
	return got;
}

static void
expect_completion(uint32_t id, uint32_t len)
{
	uint32_t got_id, got_len;

	assert_true(driver_complete(&driver, &got_id, &got_len));
	assert_int_equal(got_id, id);
	assert_int_equal(got_len, len);
}

static void
expect_no_completion(void)
{
	uint32_t id, len;

	assert_false(driver_complete(&driver, &id, &len));
}

/* Complete a request that nobody has popped. */
static void
push_head(uint16_t head)
{
	struct vus_chain c = { .id = head, .slots = 1 };

	vus_virtq_push(&vq, &c, 0);
}

/* A request of one readable descriptor goes through. */
static void
expect_round_trip(unsigned head)
{
	driver_desc(&driver, head, GUEST_AT(0xc0000), 4, 0, 0);
	driver_offer(&driver, head);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	assert_int_equal(chain.id, head);
	vus_virtq_push(&vq, &chain, 7);
	expect_completion(head, 7);
}

/* The head that was offered is handed back with length 0, the next works. */
static void
expect_bad(unsigned head)
{
	driver_offer(&driver, head);
	assert_int_equal(pop(), VUS_POP_BAD);
	assert_non_null(why);
	expect_completion(head, 0);
	expect_round_trip(NUM - 1);
	assert_int_equal(pop(), VUS_POP_EMPTY);
}

static void
expect_segs(
    const struct vus_seg *segs, unsigned n, uint64_t offset, uint64_t len)
{
	uint64_t seen = 0;

	for (unsigned i = 0; i < n; i++) {
		assert_true(segs[i].len != 0);
		/* The same byte as the guest sees there. */
		segs[i].base[0] ^= 0xff;
		segs[i].base[segs[i].len - 1] ^= 0x0f;
		assert_int_equal(
		    *guest_ram(&guest, offset + seen), segs[i].base[0]);
		seen += segs[i].len;
		assert_int_equal(*guest_ram(&guest, offset + seen - 1),
		    segs[i].base[segs[i].len - 1]);
	}
	assert_int_equal(seen, len);
}

/* --- where a ring lies --------------------------------------------------- */

static int
resolve(uint64_t desc, uint64_t avail, uint64_t used)
{
	return as_errno(vus_virtq_resolve(&vq, mem, desc, avail, used));
}

static void
a_ring_may_end_with_its_region_and_not_a_byte_later(void **state)
{
	/* 2.7: 16 n, 6 + 2 n and 6 + 8 n bytes; the alignments are 16, 2 and
	 * 4, so the last place of the used ring leaves two bytes. */
	const uint64_t end = GUEST_USER + GUEST_REGION;
	const uint64_t d = end - UINT64_C(16) * NUM;
	const uint64_t a = end - (6 + UINT64_C(2) * NUM);
	const uint64_t u = end - (8 + UINT64_C(8) * NUM);
	const uint64_t in = GUEST_USER;

	(void)state;
	assert_int_equal(resolve(d, in, in), 0);
	assert_int_equal(resolve(d + 1, in, in), -EFAULT);
	assert_int_equal(resolve(d + 16, in, in), -EFAULT);
	assert_false(vus_virtq_ready(&vq));
	assert_int_equal(resolve(in, a, in), 0);
	assert_int_equal(resolve(in, a + 1, in), -EFAULT);
	assert_int_equal(resolve(in, a + 2, in), -EFAULT);
	assert_false(vus_virtq_ready(&vq));
	assert_int_equal(resolve(in, in, u), 0);
	assert_int_equal(resolve(in, in, u + 2), -EINVAL);
	assert_int_equal(resolve(in, in, u + 3), -EFAULT);
	assert_int_equal(resolve(in, in, u + 4), -EFAULT);
	assert_false(vus_virtq_ready(&vq));
	assert_int_equal(resolve(end, in, in), -EFAULT);
	assert_int_equal(resolve(in - 16, in, in), -EFAULT);
	assert_int_equal(resolve(UINT64_MAX - 15, in, in), -EFAULT);
}

static void
a_ring_must_not_cross_into_the_next_region(void **state)
{
	struct vus_wire_mem_region r[2] = { guest.region[0], guest.region[1] };
	const uint64_t end = GUEST_USER + GUEST_REGION;

	(void)state;
	r[1].user_addr = end;
	assert_int_equal(vus_mem_replace(mem, r, guest.fd, 2, &why), 0);
	assert_int_equal(resolve(end - 16, GUEST_USER, GUEST_USER), -EFAULT);
	assert_int_equal(resolve(GUEST_USER, end - 2, GUEST_USER), -EFAULT);
	assert_int_equal(resolve(GUEST_USER, GUEST_USER, end - 4), -EFAULT);
	assert_int_equal(resolve(end, end, end), 0);
}

static void
a_ring_must_be_aligned(void **state)
{
	static const struct {
		uint64_t desc, avail, used;
		int rc;
	} cases[] = {
		{ 16, 2, 4, 0 },
		{ 1, 0, 0, -EINVAL },
		{ 8, 0, 0, -EINVAL },
		{ 15, 0, 0, -EINVAL },
		{ 17, 0, 0, -EINVAL },
		{ 0, 1, 0, -EINVAL },
		{ 0, 3, 0, -EINVAL },
		{ 0, 0, 1, -EINVAL },
		{ 0, 0, 2, -EINVAL },
		{ 0, 0, 3, -EINVAL },
		{ 0, 0, 5, -EINVAL },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(resolve(GUEST_USER + cases[i].desc,
				     GUEST_USER + driver.avail + cases[i].avail,
				     GUEST_USER + driver.used + cases[i].used),
		    cases[i].rc);
		assert_int_equal(vus_virtq_ready(&vq), cases[i].rc == 0);
	}
}

static void
the_largest_ring_works(void **state)
{
	(void)state;
	begin(VUS_RING_MAX, 65530);
	for (unsigned i = 0; i < 10; i++)
		expect_round_trip(VUS_RING_MAX - 1 - i);
}

static void
a_ring_of_one_entry_works(void **state)
{
	(void)state;
	begin(1, 65534);
	for (unsigned i = 0; i < 5; i++)
		expect_round_trip(0);
	assert_int_equal(pop(), VUS_POP_EMPTY);
}

static void
unresolving_keeps_the_base(void **state)
{
	(void)state;
	expect_round_trip(0);
	expect_round_trip(1);
	vus_virtq_unresolve(&vq);
	assert_false(vus_virtq_ready(&vq));
	assert_int_equal(vq.next, 2);
	assert_int_equal(
	    resolve(GUEST_USER + driver.desc, GUEST_USER + driver.avail,
		GUEST_USER + driver.used),
	    0);
	assert_int_equal(vq.used, 2);
	expect_round_trip(2);
	assert_int_equal(pop(), VUS_POP_EMPTY);
}

/* --- indices ------------------------------------------------------------- */

static void
an_idle_ring_is_empty(void **state)
{
	(void)state;
	assert_int_equal(pop(), VUS_POP_EMPTY);
	assert_int_equal(vq.next, 0);
	expect_no_completion();
}

static void
indices_wrap_at_65536(void **state)
{
	(void)state;
	begin(NUM, 65535 - 3);
	for (unsigned i = 0; i < 3 * NUM; i++) {
		expect_round_trip(i % NUM);
		assert_int_equal(vq.next, (uint16_t)(65535 - 3 + i + 1));
	}
	assert_int_equal(pop(), VUS_POP_EMPTY);
}

static void
a_full_ring_is_served_also_over_the_wrap(void **state)
{
	static const uint16_t starts[] = { 0, 5, 65535, 65536 - NUM, 65534 };

	(void)state;
	for (unsigned k = 0; k < ARRAY_LEN(starts); k++) {
		begin(NUM, starts[k]);
		for (unsigned i = 0; i < NUM; i++) {
			driver_desc(&driver, i, GUEST_AT(0xc0000), 4, 0, 0);
			driver_offer(&driver, i);
		}
		for (unsigned i = 0; i < NUM; i++) {
			assert_int_equal(pop(), VUS_POP_CHAIN);
			vus_virtq_push(&vq, &chain, i);
			expect_completion(i, i);
		}
		assert_int_equal(pop(), VUS_POP_EMPTY);
	}
}

static void
an_index_ahead_by_more_than_the_ring_breaks_it(void **state)
{
	static const uint16_t starts[] = { 0, 65535, 65533, 32768 };
	static const uint16_t ahead[] = { NUM + 1, NUM + 2, 32768, 65535 };

	(void)state;
	for (unsigned k = 0; k < ARRAY_LEN(starts); k++)
		for (unsigned i = 0; i < ARRAY_LEN(ahead); i++) {
			begin(NUM, starts[k]);
			driver_set_avail(
			    &driver, (uint16_t)(starts[k] + ahead[i]));
			assert_int_equal(pop(), VUS_POP_BROKEN);
			assert_non_null(why);
			assert_int_equal(vq.next, starts[k]);
			expect_no_completion();
		}
}

static void
an_index_ahead_by_the_whole_ring_is_a_full_ring(void **state)
{
	(void)state;
	driver_set_avail(&driver, NUM);
	for (unsigned i = 0; i < NUM; i++) /* zeros: head 0, empty */
		assert_int_equal(pop(), VUS_POP_CHAIN);
	assert_int_equal(pop(), VUS_POP_EMPTY);
}

static void
a_ring_goes_on_from_its_base(void **state)
{
	(void)state;
	begin(NUM, 70);
	vq.next = 68; /* two were left when it stopped */
	driver_desc(&driver, 3, GUEST_AT(0xc0000), 4, 0, 0);
	driver.avail_idx = 68;
	driver_offer(&driver, 3);
	driver_offer(&driver, 3);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	vus_virtq_push(&vq, &chain, 1);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	vus_virtq_push(&vq, &chain, 2);
	assert_int_equal(pop(), VUS_POP_EMPTY);
	expect_completion(3, 1);
	expect_completion(3, 2);
}

/* --- chains -------------------------------------------------------------- */

static void
a_chain_has_its_readable_then_its_writable_pieces(void **state)
{
	(void)state;
	driver_desc(&driver, 2, GUEST_AT(0xc0000), 100, DRIVER_NEXT, 5);
	driver_desc(&driver, 5, GUEST_AT(0xc1000), 50, DRIVER_NEXT, 1);
	driver_desc(
	    &driver, 1, GUEST_AT(0xd0000), 30, DRIVER_NEXT | DRIVER_WRITE, 0);
	driver_desc(&driver, 0, GUEST_AT(0xd2000), 20, DRIVER_WRITE, 99);
	driver_offer(&driver, 2);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	assert_int_equal(chain.id, 2);
	assert_int_equal(chain.nread, 2);
	assert_int_equal(chain.nwrite, 2);
	expect_segs(&chain.read[0], 1, 0xc0000, 100);
	expect_segs(&chain.read[1], 1, 0xc1000, 50);
	expect_segs(&chain.write[0], 1, 0xd0000, 30);
	expect_segs(&chain.write[1], 1, 0xd2000, 20);
}

static void
a_descriptor_may_span_two_regions(void **state)
{
	(void)state;
	driver_desc(
	    &driver, 0, GUEST_AT(GUEST_REGION - 10), 30, DRIVER_NEXT, 1);
	driver_desc(&driver, 1, GUEST_AT(GUEST_REGION - 1), 2, DRIVER_WRITE, 0);
	driver_offer(&driver, 0);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	assert_int_equal(chain.nread, 2);
	assert_int_equal(chain.read[0].len, 10);
	assert_int_equal(chain.read[1].len, 20);
	expect_segs(chain.read, 2, GUEST_REGION - 10, 30);
	assert_int_equal(chain.nwrite, 2);
	expect_segs(chain.write, 2, GUEST_REGION - 1, 2);
}

static void
a_descriptor_may_end_with_memory_and_not_a_byte_later(void **state)
{
	(void)state;
	driver_desc(&driver, 0, GUEST_AT(2 * GUEST_REGION - 8), 8, 0, 0);
	driver_offer(&driver, 0);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	expect_segs(chain.read, chain.nread, 2 * GUEST_REGION - 8, 8);
	push_head(0);
	expect_completion(0, 0);
	driver_desc(&driver, 0, GUEST_AT(2 * GUEST_REGION - 8), 9, 0, 0);
	expect_bad(0);
}

static void
a_descriptor_outside_of_memory_is_bad(void **state)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
	} cases[] = {
		{ GUEST_AT(2 * GUEST_REGION), 1 },
		{ GUEST_BASE - 1, 1 },
		{ GUEST_BASE - 1, 2 },
		{ 0, 1 },
		{ UINT64_MAX, 1 },
		{ UINT64_MAX, 2 },
		{ UINT64_MAX - 3, 8 },
		{ GUEST_BASE, UINT32_MAX },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		for (unsigned write = 0; write <= DRIVER_WRITE;
		     write += DRIVER_WRITE) {
			driver_desc(
			    &driver, 3, cases[i].addr, cases[i].len, write, 0);
			expect_bad(3);
		}
}

static void
a_descriptor_of_no_bytes_is_no_piece(void **state)
{
	(void)state;
	driver_desc(&driver, 0, 0, 0, DRIVER_NEXT, 1);
	driver_desc(&driver, 1, GUEST_AT(0xc0000), 4, DRIVER_NEXT, 2);
	driver_desc(&driver, 2, UINT64_MAX, 0, DRIVER_WRITE, 0);
	driver_offer(&driver, 0);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	assert_int_equal(chain.nread, 1);
	assert_int_equal(chain.nwrite, 0);
}

static void
a_head_outside_of_the_table_is_skipped(void **state)
{
	static const unsigned heads[] = { NUM, NUM + 1, 32768, 65535 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(heads); i++) {
		driver_offer(&driver, heads[i]);
		assert_int_equal(pop(), VUS_POP_SKIP);
		assert_non_null(why);
		/* There is no descriptor to name: nothing is handed back. */
		expect_no_completion();
		expect_round_trip(NUM - 1);
	}
}

static void
a_next_index_outside_of_the_table_is_bad(void **state)
{
	static const unsigned next[] = { NUM, NUM + 1, 65535 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(next); i++) {
		driver_desc(
		    &driver, 1, GUEST_AT(0xc0000), 4, DRIVER_NEXT, next[i]);
		expect_bad(1);
	}
}

static void
a_loop_is_bad_and_the_longest_chain_is_not(void **state)
{
	(void)state;
	driver_desc(&driver, 0, GUEST_AT(0xc0000), 0, DRIVER_NEXT, 0);
	expect_bad(0);
	driver_desc(&driver, 0, GUEST_AT(0xc0000), 0, DRIVER_NEXT, 1);
	driver_desc(&driver, 1, GUEST_AT(0xc0000), 0, DRIVER_NEXT, 0);
	expect_bad(0);
	/* All entries, each once. */
	for (unsigned i = 0; i < NUM; i++)
		driver_desc(&driver, i, GUEST_AT(0xc0000 + i), 1,
		    i == NUM - 1 ? 0 : DRIVER_NEXT, i + 1);
	driver_offer(&driver, 0);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	assert_int_equal(chain.nread, NUM);
	push_head(0);
	expect_completion(0, 0);
	/* And closed to a ring. */
	driver_desc(&driver, NUM - 1, GUEST_AT(0xc0000), 1, DRIVER_NEXT, 0);
	driver_offer(&driver, 0);
	assert_int_equal(pop(), VUS_POP_BAD);
	expect_completion(0, 0);
}

static void
a_readable_descriptor_after_a_writable_one_is_bad(void **state)
{
	(void)state;
	driver_desc(
	    &driver, 0, GUEST_AT(0xc0000), 4, DRIVER_NEXT | DRIVER_WRITE, 1);
	driver_desc(&driver, 1, GUEST_AT(0xc0000), 4, 0, 0);
	expect_bad(0);
}

static void
a_chain_may_have_16_pieces_each_way_and_not_17(void **state)
{
	(void)state;
	begin(64, 0);
	for (unsigned extra = 0; extra < 4; extra++) {
		unsigned nread = VUS_CHAIN_SEGS + (extra & 1);
		unsigned n = nread + VUS_CHAIN_SEGS + (extra >> 1);

		for (unsigned i = 0; i < n; i++)
			driver_desc(&driver, i, GUEST_AT(0xc0000 + i), 1,
			    (i >= nread ? DRIVER_WRITE : 0) |
				(i == n - 1 ? 0 : DRIVER_NEXT),
			    i + 1);
		driver_offer(&driver, 0);
		assert_int_equal(
		    pop(), extra == 0 ? VUS_POP_CHAIN : VUS_POP_BAD);
		if (extra == 0) {
			assert_int_equal(chain.nread, VUS_CHAIN_SEGS);
			assert_int_equal(chain.nwrite, VUS_CHAIN_SEGS);
			push_head(0);
		}
		expect_completion(0, 0);
	}
}

static void
a_chain_does_not_keep_pieces_of_the_one_before(void **state)
{
	(void)state;
	a_chain_has_its_readable_then_its_writable_pieces(state);
	driver_desc(&driver, 3, GUEST_AT(0xc0000), 8, DRIVER_WRITE, 0);
	driver_offer(&driver, 3);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	assert_int_equal(chain.nread, 0);
	assert_int_equal(chain.nwrite, 1);
}

/* --- indirect tables: 2.7.5.3 -------------------------------------------- */

#define TABLE UINT64_C(0xe0000)

/* Entry head of the ring names a table of len bytes at offset. */
static void
name_table(unsigned head, uint64_t offset, uint32_t len, unsigned flags)
{
	driver_desc(
	    &driver, head, GUEST_AT(offset), len, DRIVER_INDIRECT | flags, 0);
}

static void
entry(unsigned i, unsigned flags, unsigned next)
{
	driver_desc_at(
	    &driver, TABLE, i, GUEST_AT(0xc0000 + i * 8), 8, flags, next);
}

static void
an_indirect_table_makes_a_chain(void **state)
{
	(void)state;
	entry(0, DRIVER_NEXT, 2);
	entry(2, DRIVER_WRITE, 0);
	/* 2.7.5.3.2: the WRITE flag there means nothing. */
	for (unsigned flags = 0; flags <= DRIVER_WRITE; flags += DRIVER_WRITE) {
		name_table(4, TABLE, 3 * 16, flags);
		driver_offer(&driver, 4);
		assert_int_equal(pop(), VUS_POP_CHAIN);
		assert_int_equal(chain.id, 4);
		assert_int_equal(chain.nread, 1);
		assert_int_equal(chain.nwrite, 1);
		expect_segs(chain.read, 1, 0xc0000, 8);
		expect_segs(chain.write, 1, 0xc0010, 8);
		vus_virtq_push(&vq, &chain, 8);
		expect_completion(4, 8);
	}
}

static void
an_indirect_table_may_follow_other_descriptors(void **state)
{
	/* 2.7.5.3.2: "zero or more normal chained descriptors followed by a
	 * single descriptor with VIRTQ_DESC_F_INDIRECT" must be handled. */
	(void)state;
	driver_desc(&driver, 0, GUEST_AT(0xd0000), 4, DRIVER_NEXT, 1);
	name_table(1, TABLE, 16, 0);
	entry(0, DRIVER_WRITE, 0);
	driver_offer(&driver, 0);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	assert_int_equal(chain.nread, 1);
	assert_int_equal(chain.nwrite, 1);
}

static void
an_indirect_table_needs_the_feature(void **state)
{
	(void)state;
	vq.indirect = false;
	entry(0, 0, 0);
	name_table(0, TABLE, 16, 0);
	expect_bad(0);
}

static void
an_indirect_table_must_not_go_on_or_be_nested(void **state)
{
	(void)state;
	entry(0, 0, 0);
	name_table(0, TABLE, 16, DRIVER_NEXT);
	expect_bad(0);
	entry(0, DRIVER_INDIRECT, 0);
	name_table(0, TABLE, 16, 0);
	expect_bad(0);
	entry(0, DRIVER_NEXT, 1);
	entry(1, DRIVER_INDIRECT, 0);
	name_table(0, TABLE, 32, 0);
	expect_bad(0);
}

static void
an_indirect_table_has_whole_entries_up_to_1024(void **state)
{
	static const struct {
		uint32_t len;
		bool good;
	} cases[] = {
		{ 0, false },
		{ 1, false },
		{ 15, false },
		{ 16, true },
		{ 17, false },
		{ 31, false },
		{ 32, true },
		{ VUS_INDIRECT_MAX * 16, true },
		{ VUS_INDIRECT_MAX * 16 + 1, false },
		{ VUS_INDIRECT_MAX * 16 + 16, false },
		{ UINT32_MAX, false },
		{ UINT32_MAX - 15, false },
	};

	(void)state;
	entry(0, 0, 0);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		name_table(0, TABLE, cases[i].len, 0);
		if (!cases[i].good) {
			expect_bad(0);
			continue;
		}
		driver_offer(&driver, 0);
		assert_int_equal(pop(), VUS_POP_CHAIN);
		push_head(0);
		expect_completion(0, 0);
	}
}

static void
an_indirect_chain_may_have_1024_entries(void **state)
{
	(void)state;
	assert_int_equal(VUS_INDIRECT_MAX, 1024);
	/* All but the first and the last are empty. */
	for (unsigned i = 0; i < 1025; i++)
		driver_desc_at(&driver, TABLE, i, GUEST_AT(0xc0000), 0,
		    DRIVER_NEXT, i + 1);
	entry(0, DRIVER_NEXT, 1);
	entry(1023, DRIVER_WRITE, 0);
	name_table(0, TABLE, 1024 * 16, 0);
	driver_offer(&driver, 0);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	expect_segs(chain.read, chain.nread, 0xc0000, 8);
	expect_segs(chain.write, chain.nwrite, 0xc0000 + 1023 * 8, 8);
	push_head(0);
	expect_completion(0, 0);
	/* Also if the chain ends earlier. */
	name_table(0, TABLE, 1025 * 16, 0);
	expect_bad(0);
}

static void
an_indirect_table_must_lie_in_one_region(void **state)
{
	(void)state;
	driver_desc_at(
	    &driver, GUEST_REGION - 16, 0, GUEST_AT(0xc0000), 4, 0, 0);
	name_table(0, GUEST_REGION - 16, 16, 0);
	driver_offer(&driver, 0);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	push_head(0);
	expect_completion(0, 0);
	name_table(0, GUEST_REGION - 16, 32, 0);
	expect_bad(0);
	name_table(0, 2 * GUEST_REGION - 15, 16, 0);
	expect_bad(0);
	driver_desc(&driver, 0, UINT64_MAX - 7, 16, DRIVER_INDIRECT, 0);
	expect_bad(0);
}

static void
a_next_index_outside_of_an_indirect_table_is_bad(void **state)
{
	(void)state;
	name_table(0, TABLE, 32, 0);
	entry(0, DRIVER_NEXT, 1);
	entry(1, 0, 0);
	driver_offer(&driver, 0);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	push_head(0);
	expect_completion(0, 0);
	entry(0, DRIVER_NEXT, 2);
	expect_bad(0);
}

static void
a_loop_in_an_indirect_table_is_bad(void **state)
{
	(void)state;
	for (unsigned i = 0; i < VUS_INDIRECT_MAX; i++)
		driver_desc_at(&driver, TABLE, i, 0, 0, DRIVER_NEXT,
		    (i + 1) % VUS_INDIRECT_MAX);
	name_table(0, TABLE, VUS_INDIRECT_MAX * 16, 0);
	expect_bad(0);
}

/* --- notifications ------------------------------------------------------- */

static void
without_event_index_the_flag_decides(void **state)
{
	(void)state;
	expect_round_trip(0);
	assert_true(vus_virtq_should_call(&vq));
	driver_set_flags(&driver, 1);
	expect_round_trip(0);
	assert_false(vus_virtq_should_call(&vq));
	driver_set_flags(&driver, 0xfffe);
	expect_round_trip(0);
	assert_true(vus_virtq_should_call(&vq));
}

static void
with_event_index_the_flag_does_not_count(void **state)
{
	(void)state;
	vq.event_idx = true;
	driver_set_flags(&driver, 1);
	driver_set_used_event(&driver, 0);
	expect_round_trip(0);
	assert_true(vus_virtq_should_call(&vq));
}

static void
a_call_comes_when_the_event_index_is_passed(void **state)
{
	static const uint16_t starts[] = { 0, 100, 65534, 65535 };

	(void)state;
	for (unsigned k = 0; k < ARRAY_LEN(starts); k++) {
		uint16_t start = starts[k];

		begin(NUM, start);
		vq.event_idx = true;
		/* The first look after a start always calls. */
		driver_set_used_event(&driver, (uint16_t)(start + 100));
		expect_round_trip(0);
		assert_true(vus_virtq_should_call(&vq));
		/* used is start + 1; the driver wants to hear of the third
		 * completion from here, the one with index start + 3. */
		driver_set_used_event(&driver, (uint16_t)(start + 3));
		expect_round_trip(0);
		assert_false(vus_virtq_should_call(&vq));
		expect_round_trip(0);
		assert_false(vus_virtq_should_call(&vq));
		expect_round_trip(0);
		assert_true(vus_virtq_should_call(&vq));
		/* It is passed: no call again. */
		expect_round_trip(0);
		assert_false(vus_virtq_should_call(&vq));
		/* In the middle of a batch, and at its last. */
		driver_set_used_event(&driver, (uint16_t)(start + 6));
		for (unsigned i = 0; i < 3; i++)
			expect_round_trip(0);
		assert_true(vus_virtq_should_call(&vq));
		driver_set_used_event(&driver, (uint16_t)(start + 9));
		for (unsigned i = 0; i < 2; i++)
			expect_round_trip(0);
		assert_true(vus_virtq_should_call(&vq));
		/* Nothing was pushed: nothing to call for. */
		assert_false(vus_virtq_should_call(&vq));
	}
}

static void
arming_tells_the_driver_where_we_are(void **state)
{
	static const uint16_t starts[] = { 0, 65535, 65534 };

	(void)state;
	for (unsigned k = 0; k < ARRAY_LEN(starts); k++) {
		begin(NUM, starts[k]);
		vq.event_idx = true;
		expect_round_trip(0);
		assert_false(vus_virtq_arm(&vq));
		assert_int_equal(
		    driver_avail_event(&driver), (uint16_t)(starts[k] + 1));
		driver_offer(&driver, 0);
		assert_true(vus_virtq_arm(&vq));
	}
}

static void
arming_without_event_index_writes_nothing(void **state)
{
	unsigned char before[64], *used = guest_ram(&guest, driver.used);
	const size_t len = 4 + 8 * NUM;

	(void)state;
	memset(used + len, 0x5a, 2);
	memcpy(before, used, sizeof(before));
	assert_false(vus_virtq_arm(&vq));
	driver_offer(&driver, 0);
	assert_true(vus_virtq_arm(&vq));
	assert_memory_equal(before, used, sizeof(before));
	assert_int_equal(used[len], 0x5a);
	assert_int_equal(used[len + 1], 0x5a);
}

/* --- copies -------------------------------------------------------------- */

static void
copies_go_over_all_pieces_and_stop_at_the_end(void **state)
{
	char text[16] = { 0 };

	(void)state;
	memcpy(guest_ram(&guest, 0xc0000), "abc", 3);
	memcpy(guest_ram(&guest, 0xc1000), "defgh", 5);
	driver_desc(&driver, 0, GUEST_AT(0xc0000), 3, DRIVER_NEXT, 1);
	driver_desc(&driver, 1, GUEST_AT(0xc1000), 5, DRIVER_NEXT, 2);
	driver_desc(
	    &driver, 2, GUEST_AT(0xd0000), 2, DRIVER_NEXT | DRIVER_WRITE, 3);
	driver_desc(&driver, 3, GUEST_AT(0xd1000), 3, DRIVER_WRITE, 0);
	driver_offer(&driver, 0);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	assert_int_equal(vus_chain_read(&chain, text, 0), 0);
	assert_int_equal(vus_chain_read(&chain, text, 2), 2);
	assert_memory_equal(text, "ab\0", 3);
	assert_int_equal(vus_chain_read(&chain, text, 4), 4);
	assert_memory_equal(text, "abcd\0", 5);
	assert_int_equal(vus_chain_read(&chain, text, sizeof(text)), 8);
	assert_memory_equal(text, "abcdefgh\0", 9);
	assert_int_equal(vus_chain_write(&chain, "12345", 4), 4);
	assert_memory_equal(guest_ram(&guest, 0xd0000), "12\0", 3);
	assert_memory_equal(guest_ram(&guest, 0xd1000), "34\0", 3);
	assert_int_equal(vus_chain_write(&chain, "1234567", 7), 5);
	assert_memory_equal(guest_ram(&guest, 0xd1000), "345\0", 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		VQ_TEST(a_ring_may_end_with_its_region_and_not_a_byte_later),
		VQ_TEST(a_ring_must_not_cross_into_the_next_region),
		VQ_TEST(a_ring_must_be_aligned),
		VQ_TEST(the_largest_ring_works),
		VQ_TEST(a_ring_of_one_entry_works),
		VQ_TEST(unresolving_keeps_the_base),
		VQ_TEST(an_idle_ring_is_empty),
		VQ_TEST(indices_wrap_at_65536),
		VQ_TEST(a_full_ring_is_served_also_over_the_wrap),
		VQ_TEST(an_index_ahead_by_more_than_the_ring_breaks_it),
		VQ_TEST(an_index_ahead_by_the_whole_ring_is_a_full_ring),
		VQ_TEST(a_ring_goes_on_from_its_base),
		VQ_TEST(a_chain_has_its_readable_then_its_writable_pieces),
		VQ_TEST(a_descriptor_may_span_two_regions),
		VQ_TEST(a_descriptor_may_end_with_memory_and_not_a_byte_later),
		VQ_TEST(a_descriptor_outside_of_memory_is_bad),
		VQ_TEST(a_descriptor_of_no_bytes_is_no_piece),
		VQ_TEST(a_head_outside_of_the_table_is_skipped),
		VQ_TEST(a_next_index_outside_of_the_table_is_bad),
		VQ_TEST(a_loop_is_bad_and_the_longest_chain_is_not),
		VQ_TEST(a_readable_descriptor_after_a_writable_one_is_bad),
		VQ_TEST(a_chain_may_have_16_pieces_each_way_and_not_17),
		VQ_TEST(a_chain_does_not_keep_pieces_of_the_one_before),
		VQ_TEST(an_indirect_table_makes_a_chain),
		VQ_TEST(an_indirect_table_may_follow_other_descriptors),
		VQ_TEST(an_indirect_table_needs_the_feature),
		VQ_TEST(an_indirect_table_must_not_go_on_or_be_nested),
		VQ_TEST(an_indirect_table_has_whole_entries_up_to_1024),
		VQ_TEST(an_indirect_chain_may_have_1024_entries),
		VQ_TEST(an_indirect_table_must_lie_in_one_region),
		VQ_TEST(a_next_index_outside_of_an_indirect_table_is_bad),
		VQ_TEST(a_loop_in_an_indirect_table_is_bad),
		VQ_TEST(without_event_index_the_flag_decides),
		VQ_TEST(with_event_index_the_flag_does_not_count),
		VQ_TEST(a_call_comes_when_the_event_index_is_passed),
		VQ_TEST(arming_tells_the_driver_where_we_are),
		VQ_TEST(arming_without_event_index_writes_nothing),
		VQ_TEST(copies_go_over_all_pieces_and_stop_at_the_end),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("virtq", tests, NULL, NULL);
}
