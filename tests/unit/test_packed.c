/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtq.h with packed rings: turns and wrap counters, chains, indirect tables,
 * suppression, bases, and each kind of malformed chain. Section numbers are of
 * VIRTIO 1.3.
 */
#include "config.h"

#include "tests/unit/fake_guest.h"
#include "tests/unit/fake_host.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NUM 5U /* not a power of two: 2.8 allows that */
#define NEXT 1U
#define WRITE 2U
#define INDIRECT 4U
#define AVAIL 0x80U
#define USED 0x8000U

/* Offsets in the guest's memory. */
#define DESC UINT64_C(0x1000)
#define DRIVER UINT64_C(0x2000)
#define DEVICE UINT64_C(0x2010)
#define TABLE UINT64_C(0x3000)
#define DATA UINT64_C(0x10000)
#define OUTSIDE UINT64_C(0x7fff00000000)

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id;
	uint16_t flags;
};

static struct fake_guest guest;
static struct vus_mem *mem;
static struct vus_virtq vq;
static struct vus_chain chain;
static const char *why;

/* The driver's side: the next entry to fill, and to look at. */
static unsigned offer_at, look_at;
static bool offer_wrap, look_wrap;

/* 0, or as what the reason counts here. */
static int
as_errno(const char *reason)
{
	if (reason == NULL)
		return 0;
	return strcmp(reason, "it is not in the memory table") == 0 ? -EFAULT
								    : -EINVAL;
}

static struct desc *
entry(unsigned i)
{
	return (struct desc *)(void *)guest_ram(
	    &guest, DESC + i * sizeof(struct desc));
}

static int
resolve(void)
{
	return as_errno(vus_virtq_resolve(&vq, mem, GUEST_USER + DESC,
	    GUEST_USER + DRIVER, GUEST_USER + DEVICE));
}

static void
begin(unsigned num)
{
	memset(guest_ram(&guest, DESC), 0, 0x3000);
	vus_virtq_reset(&vq);
	vq.packed = true;
	vq.indirect = true;
	vq.event_idx = true;
	vq.num = num;
	offer_at = look_at = 0;
	offer_wrap = look_wrap = true;
	assert_int_equal(resolve(), 0);
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
	begin(NUM);
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

#define PACKED_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* Put one descriptor into the ring, available. */
static void
put(uint64_t addr, uint32_t len, unsigned id, unsigned flags)
{
	struct desc *d = entry(offer_at);

	d->addr = htole64(addr);
	d->len = htole32(len);
	d->id = htole16((uint16_t)id);
	d->flags = htole16((uint16_t)(flags | (offer_wrap ? AVAIL : USED)));
	if (++offer_at == vq.num) {
		offer_at = 0;
		offer_wrap = !offer_wrap;
	}
}

/* A request as virtio-pmem's: 4 bytes to read, 4 to write. */
static void
put_request(unsigned id)
{
	put(GUEST_AT(DATA), 4, 77, NEXT);
	put(GUEST_AT(DATA + 8), 4, id, WRITE);
}

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

/* The next completion is of this buffer, which took up so many entries. */
static void
expect_used(unsigned id, uint32_t len, unsigned slots)
{
	struct desc *d = entry(look_at);
	uint16_t flags = le16toh(d->flags);

	assert_int_equal((flags & AVAIL) != 0, look_wrap);
	assert_int_equal((flags & USED) != 0, look_wrap);
	assert_int_equal((flags & WRITE) != 0, len != 0);
	assert_int_equal(le16toh(d->id), id);
	assert_int_equal(le32toh(d->len), len);
	look_at += slots;
	if (look_at >= vq.num) {
		look_at -= vq.num;
		look_wrap = !look_wrap;
	}
}

static void
expect_round_trip(unsigned id)
{
	put_request(id);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	assert_int_equal(chain.id, id);
	assert_int_equal(chain.slots, 2);
	assert_int_equal(chain.nread, 1);
	assert_int_equal(chain.nwrite, 1);
	vus_virtq_push(&vq, &chain, 4);
	expect_used(id, 4, 2);
}

/* What was put comes back with length 0, and the ring goes on. */
static void
expect_bad(unsigned id, unsigned slots)
{
	assert_int_equal(pop(), VUS_POP_BAD);
	assert_non_null(why);
	expect_used(id, 0, slots);
	expect_round_trip(9);
	assert_int_equal(pop(), VUS_POP_EMPTY);
}

static void
an_untouched_ring_is_empty(void **state)
{
	(void)state;
	assert_int_equal(pop(), VUS_POP_EMPTY);
	assert_false(vus_virtq_arm(&vq));
}

static void
requests_go_round_and_round(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		expect_round_trip(i);
		assert_int_equal(pop(), VUS_POP_EMPTY);
	}
}

static void
an_indirect_table_may_have_1024_entries(void **state)
{
	struct desc *table = (struct desc *)(void *)guest_ram(&guest, TABLE);

	(void)state; /* all but the first and the last are empty */
	memset(table, 0, 1025 * sizeof(*table));
	table[0] =
	    (struct desc){ .addr = htole64(GUEST_AT(DATA)), .len = htole32(4) };
	table[1023] = (struct desc){ .addr = htole64(GUEST_AT(DATA + 8)),
		.len = htole32(4),
		.flags = htole16(WRITE) };
	put(GUEST_AT(TABLE), 1024 * 16, 5, INDIRECT);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	assert_int_equal(chain.nread, 1);
	assert_int_equal(chain.nwrite, 1);
	vus_virtq_push(&vq, &chain, 4);
	expect_used(5, 4, 1);
	put(GUEST_AT(TABLE), 1025 * 16, 6, INDIRECT);
	expect_bad(6, 1);
}

static void
a_ring_of_one_entry_works_by_indirect_tables(void **state)
{
	struct desc *table = (struct desc *)(void *)guest_ram(&guest, TABLE);

	(void)state;
	begin(1);
	for (unsigned i = 0; i < 5; i++) {
		table[0] = (struct desc){ .addr = htole64(GUEST_AT(DATA)),
			.len = htole32(4) };
		table[1] = (struct desc){ .addr = htole64(GUEST_AT(DATA + 8)),
			.len = htole32(4),
			.flags = htole16(WRITE) };
		put(GUEST_AT(TABLE), 32, i, INDIRECT);
		assert_int_equal(pop(), VUS_POP_CHAIN);
		assert_int_equal(chain.id, i);
		assert_int_equal(chain.slots, 1);
		assert_int_equal(chain.nread, 1);
		assert_int_equal(chain.nwrite, 1);
		vus_virtq_push(&vq, &chain, 4);
		expect_used(i, 4, 1);
		assert_int_equal(pop(), VUS_POP_EMPTY);
	}
}

static void
two_requests_at_once_are_used_in_their_order(void **state)
{
	struct vus_chain first;

	(void)state;
	put_request(1);
	put_request(2);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	first = chain;
	assert_true(vus_virtq_arm(&vq));
	assert_int_equal(pop(), VUS_POP_CHAIN);
	vus_virtq_push(&vq, &first, 4);
	vus_virtq_push(&vq, &chain, 4);
	expect_used(1, 4, 2);
	expect_used(2, 4, 2);
	assert_int_equal(pop(), VUS_POP_EMPTY);
}

static void
a_descriptor_of_the_last_round_is_not_available(void **state)
{
	(void)state;
	expect_round_trip(1);
	expect_round_trip(2);
	/* Entry 4 still says so of no round, entry 0 is used. */
	entry(4)->flags = htole16(AVAIL | USED);
	assert_int_equal(pop(), VUS_POP_EMPTY);
}

static void
a_bad_descriptor_comes_back_with_its_whole_chain(void **state)
{
	(void)state;
	put(OUTSIDE, 4, 0, NEXT);
	put(GUEST_AT(DATA), 4, 3, WRITE);
	expect_bad(3, 2);
	put(GUEST_AT(DATA), 4, 0, WRITE | NEXT);
	put(GUEST_AT(DATA), 4, 4, 0);
	expect_bad(4, 2);
	put(UINT64_MAX - 1, 4, 5, 0);
	expect_bad(5, 1);
}

static void
a_bad_indirect_table_comes_back(void **state)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
		unsigned flags;
	} bad[] = {
		{ GUEST_AT(TABLE), 0, 0 },
		{ GUEST_AT(TABLE), 15, 0 },
		{ GUEST_AT(TABLE), 17, 0 },
		{ GUEST_AT(TABLE), 1025 * 16, 0 },
		{ OUTSIDE, 16, 0 },
		{ GUEST_AT(2 * GUEST_REGION - 16), 32, 0 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		put(bad[i].addr, bad[i].len, i, INDIRECT);
		expect_bad(i, 1);
	}
	/* With NEXT, and one in an indirect table. */
	put(GUEST_AT(TABLE), 16, 0, INDIRECT | NEXT);
	put(GUEST_AT(DATA), 4, 7, 0);
	expect_bad(7, 2);
	((struct desc *)(void *)guest_ram(&guest, TABLE))->flags =
	    htole16(INDIRECT);
	put(GUEST_AT(TABLE), 16, 8, INDIRECT);
	expect_bad(8, 1);
	vq.indirect = false;
	put(GUEST_AT(TABLE), 16, 8, INDIRECT);
	expect_bad(8, 1);
}

static void
a_chain_without_an_end_breaks_the_ring(void **state)
{
	(void)state;
	for (unsigned i = 0; i < NUM; i++)
		put(GUEST_AT(DATA), 4, 0, NEXT);
	assert_int_equal(pop(), VUS_POP_BROKEN);
	assert_non_null(why);
}

static void
a_chain_as_long_as_the_ring_is_good(void **state)
{
	(void)state;
	for (unsigned i = 0; i < NUM; i++)
		put(GUEST_AT(DATA), 4, i, i + 1 < NUM ? NEXT : 0);
	assert_int_equal(pop(), VUS_POP_CHAIN);
	assert_int_equal(chain.slots, NUM);
	assert_int_equal(chain.nread, NUM);
	vus_virtq_push(&vq, &chain, 0);
	expect_used(NUM - 1, 0, NUM);
	expect_round_trip(1);
}

static void
a_base_tells_both_positions(void **state)
{
	(void)state;
	/* 2.8.1: both wrap counters begin with 1. */
	assert_int_equal(vus_virtq_base(&vq), 0x80008000);
	expect_round_trip(1);
	assert_int_equal(vus_virtq_base(&vq), 0x80028002);
	expect_round_trip(2);
	expect_round_trip(3);
	assert_int_equal(vus_virtq_base(&vq), 0x00010001);
	assert_int_equal(vus_virtq_set_base(&vq, 0x80048003), 0);
	assert_int_equal(vus_virtq_base(&vq), 0x80048003);
	/* One position of 16 bits is both. */
	assert_int_equal(vus_virtq_set_base(&vq, 0x8002), 0);
	assert_int_equal(vus_virtq_base(&vq), 0x80028002);
}

static void
a_ring_goes_on_where_its_base_says(void **state)
{
	uint32_t base;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		expect_round_trip(i);
	base = vus_virtq_base(&vq);
	vus_virtq_reset(&vq);
	vq.num = NUM;
	assert_int_equal(vus_virtq_set_base(&vq, base), 0);
	assert_int_equal(resolve(), 0);
	assert_int_equal(pop(), VUS_POP_EMPTY);
	expect_round_trip(5);
}

static void
a_base_outside_of_the_ring_is_refused(void **state)
{
	(void)state;
	assert_int_equal(vus_virtq_set_base(&vq, 0x80048000 | NUM), 0);
	assert_int_equal(resolve(), -EINVAL);
	assert_int_equal(vus_virtq_set_base(&vq, 0x80008000 | NUM << 16), 0);
	assert_int_equal(resolve(), -EINVAL);
	assert_false(vus_virtq_ready(&vq));
}

static void
a_ring_must_be_in_memory_and_aligned(void **state)
{
	uint64_t end = GUEST_USER + GUEST_REGION;

	(void)state;
	assert_int_equal(
	    as_errno(vus_virtq_resolve(&vq, mem, end - NUM * 16 + 16,
		GUEST_USER + DRIVER, GUEST_USER + DEVICE)),
	    -EFAULT);
	assert_int_equal(as_errno(vus_virtq_resolve(&vq, mem, GUEST_USER + DESC,
			     end - 2, GUEST_USER + DEVICE)),
	    -EFAULT);
	assert_int_equal(as_errno(vus_virtq_resolve(&vq, mem, GUEST_USER + DESC,
			     GUEST_USER + DRIVER + 2, GUEST_USER + DEVICE)),
	    -EINVAL);
	assert_int_equal(
	    as_errno(vus_virtq_resolve(&vq, mem, GUEST_USER + DESC + 8,
		GUEST_USER + DRIVER, GUEST_USER + DEVICE)),
	    -EINVAL);
}

static void
set_suppression(uint16_t off_wrap, uint16_t flags)
{
	uint16_t event[2] = { htole16(off_wrap), htole16(flags) };

	memcpy(guest_ram(&guest, DRIVER), event, sizeof(event));
}

static void
the_drivers_flag_suppresses_calls(void **state)
{
	(void)state;
	set_suppression(0, 1);
	expect_round_trip(1);
	assert_false(vus_virtq_should_call(&vq));
	set_suppression(0, 0);
	expect_round_trip(2);
	assert_true(vus_virtq_should_call(&vq));
}

static void
an_event_index_is_called_for_once(void **state)
{
	(void)state;
	begin(16);
	expect_round_trip(1);
	assert_true(vus_virtq_should_call(&vq)); /* the first look */
	set_suppression(0x8000 | 4, 2);
	expect_round_trip(2); /* entries 2, 3 */
	assert_false(vus_virtq_should_call(&vq));
	expect_round_trip(3); /* entries 4, 5: the one asked for */
	assert_true(vus_virtq_should_call(&vq));
	expect_round_trip(4);
	assert_false(vus_virtq_should_call(&vq));
	/* One of the next round: not yet. */
	set_suppression(2, 2);
	expect_round_trip(5);
	assert_false(vus_virtq_should_call(&vq));
}

static void
a_back_end_before_us_may_have_asked_for_silence(void **state)
{
	unsigned char *device = guest_ram(&guest, DEVICE);

	(void)state;
	device[2] = 1;
	assert_int_equal(resolve(), 0);
	assert_int_equal(device[2], 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PACKED_TEST(an_untouched_ring_is_empty),
		PACKED_TEST(requests_go_round_and_round),
		PACKED_TEST(an_indirect_table_may_have_1024_entries),
		PACKED_TEST(a_ring_of_one_entry_works_by_indirect_tables),
		PACKED_TEST(two_requests_at_once_are_used_in_their_order),
		PACKED_TEST(a_descriptor_of_the_last_round_is_not_available),
		PACKED_TEST(a_bad_descriptor_comes_back_with_its_whole_chain),
		PACKED_TEST(a_bad_indirect_table_comes_back),
		PACKED_TEST(a_chain_without_an_end_breaks_the_ring),
		PACKED_TEST(a_chain_as_long_as_the_ring_is_good),
		PACKED_TEST(a_base_tells_both_positions),
		PACKED_TEST(a_ring_goes_on_where_its_base_says),
		PACKED_TEST(a_base_outside_of_the_ring_is_refused),
		PACKED_TEST(a_ring_must_be_in_memory_and_aligned),
		PACKED_TEST(the_drivers_flag_suppresses_calls),
		PACKED_TEST(an_event_index_is_called_for_once),
		PACKED_TEST(a_back_end_before_us_may_have_asked_for_silence),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("packed", tests, NULL, NULL);
}
