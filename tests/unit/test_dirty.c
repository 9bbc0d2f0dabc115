/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * dirty.h: which pages an access marks, and no others; and through a session:
 * when there is a log, and that all that is written to guest memory is in it,
 * for both ring formats.
 */
#include "config.h"

#include "tests/unit/fake_ring.h"

#include "proto/dirty.h"
#include "proto/fd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- the log itself ------------------------------------------------------ */

#define PAGE ((uint64_t)VUS_DIRTY_PAGE)
#define OFFSET 100U  /* of the log in its file */
#define LOG_SIZE 16U /* bytes: 128 pages */
#define FILE_SIZE 4096U

static struct vus_dirty dirty;
static unsigned char *file; /* the front-end's view of it */
static int file_fd;
static const char *why;

static int
setup(void **state)
{
	void *map;

	(void)fds_before(state);
	file_fd = make_memfd(FILE_SIZE);
	map = mmap(
	    NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file_fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	file = map;
	memset(&dirty, 0, sizeof(dirty));
	return vus_dirty_open(&dirty, file_fd, OFFSET, LOG_SIZE, &why);
}

static int
teardown(void **state)
{
	vus_dirty_close(&dirty);
	assert_int_equal(munmap(file, FILE_SIZE), 0);
	fd_closep(&file_fd);
	return fds_after(state);
}

#define DIRTY_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* The pages from first to last are marked, or none if first is behind last;
 * all bits are cleared. */
static void
expect_pages(uint64_t first, uint64_t last)
{
	for (unsigned i = 0; i < FILE_SIZE; i++) {
		unsigned char expected = 0;

		for (unsigned bit = 0; bit < 8 && i >= OFFSET; bit++) {
			uint64_t page = (i - OFFSET) * UINT64_C(8) + bit;

			if (page >= first && page <= last &&
			    page < LOG_SIZE * 8)
				expected |= (unsigned char)(1U << bit);
		}
		assert_int_equal(file[i], expected);
	}
	memset(file, 0, FILE_SIZE);
}

static void
an_access_marks_the_pages_that_it_touches(void **state)
{
	static const struct {
		uint64_t addr, len;
		uint64_t first, last;
	} cases[] = {
		{ 0, 1, 0, 0 },
		{ 0, PAGE, 0, 0 },
		{ 0, PAGE + 1, 0, 1 },
		{ PAGE - 1, 1, 0, 0 },
		{ PAGE - 1, 2, 0, 1 },
		{ PAGE, 1, 1, 1 },
		{ PAGE - 1, PAGE + 2, 0, 2 },
		{ 7 * PAGE + 5, 2 * PAGE, 7, 9 },
		{ 7 * PAGE, 0, 1, 0 },
		/* The end of the log, and beyond it. */
		{ 127 * PAGE, PAGE, 127, 127 },
		{ 127 * PAGE, 100 * PAGE, 127, 127 },
		{ 128 * PAGE, 1, 1, 0 },
		{ 1000 * PAGE, PAGE, 1, 0 },
		{ 0, UINT64_MAX, 0, 127 },
		{ UINT64_MAX, 1, 1, 0 },
		/* Addresses that wrap. */
		{ UINT64_MAX, 2, 1, 0 },
		{ PAGE, UINT64_MAX, 1, 0 },
		{ UINT64_MAX - PAGE, 2 * PAGE, 1, 0 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		dirty.marked = false;
		vus_dirty_mark(&dirty, cases[i].addr, cases[i].len);
		assert_int_equal(dirty.marked, cases[i].first <= cases[i].last);
		expect_pages(cases[i].first, cases[i].last);
	}
}

static void
bits_that_are_there_stay(void **state)
{
	(void)state;
	memset(file + OFFSET, 0x55, 1);
	vus_dirty_mark(&dirty, PAGE, 1);
	assert_int_equal(file[OFFSET], 0x57);
}

static void
a_log_that_cannot_be_is_refused_and_the_old_one_stays(void **state)
{
	static const struct {
		uint64_t offset, size;
	} cases[] = {
		{ 0, 0 },
		{ 0, FILE_SIZE + 1 },
		{ FILE_SIZE, 1 },
		{ 1, FILE_SIZE },
		{ UINT64_MAX, 1 },
		{ UINT64_MAX, 2 },
		{ 1, UINT64_MAX },
		{ UINT64_C(1) << 63, 4096 },
	};
	int pair[2], event = make_eventfd();

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		why = NULL;
		assert_int_equal(vus_dirty_open(&dirty, file_fd,
				     cases[i].offset, cases[i].size, &why),
		    -EINVAL);
		assert_non_null(why);
	}
	make_pair(pair);
	assert_int_equal(vus_dirty_open(&dirty, pair[0], 0, 1, &why), -EBADF);
	assert_int_equal(vus_dirty_open(&dirty, event, 0, 1, &why), -EBADF);
	fd_closep(&pair[0]);
	fd_closep(&pair[1]);
	fd_closep(&event);
	vus_dirty_mark(&dirty, 3 * PAGE, 1);
	expect_pages(3, 3);
}

static void
a_new_log_takes_the_place_of_the_old_one(void **state)
{
	int other = make_memfd(FILE_SIZE);
	unsigned char byte = 0;

	(void)state;
	dirty.marked = true;
	assert_int_equal(
	    vus_dirty_open(&dirty, other, FILE_SIZE - 1, 1, &why), 0);
	assert_false(dirty.marked);
	vus_dirty_mark(&dirty, 0, 100 * PAGE);
	expect_pages(1, 0);
	assert_int_equal(pread(other, &byte, 1, FILE_SIZE - 1), 1);
	assert_int_equal(byte, 0xff);
	fd_closep(&other);
}

static void
without_a_log_nothing_is_marked(void **state)
{
	(void)state;
	vus_dirty_close(&dirty);
	vus_dirty_mark(&dirty, 0, PAGE);
	assert_false(dirty.marked);
	expect_pages(1, 0);
}

/* --- through a session --------------------------------------------------- */

/* Large enough that used ring and event index lie in several pages. */
#define NUM 1024U
#define RESPONSE UINT64_C(0xc0000)
/* The address of the used ring for the log: not where it is, as that of a
 * front-end may be; its index is in the first page, its first element in the
 * second, avail_event in the fourth. */
#define USED_LOG (GUEST_AT(0xe0000) + PAGE - 4)
/* The log has to reach up to the end of guest memory. */
#define BITS_SIZE ((GUEST_AT(2 * GUEST_REGION)) / PAGE / 8)

static struct fake *fake;
static struct fake_guest guest;
static struct fake_driver driver;
static struct fake_packed packed;
static unsigned char *bits;
static int bits_fd, kick;

static int
session_setup(void **state)
{
	void *map;

	(void)fds_before(state);
	guest_init(&guest);
	fake = fake_new();
	fake_connect(fake);
	fake_negotiate(fake, 0);
	bits_fd = make_memfd(BITS_SIZE);
	map = mmap(
	    NULL, BITS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, bits_fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	bits = map;
	kick = -1;
	return 0;
}

static int
session_teardown(void **state)
{
	fake_free(fake);
	guest_free(&guest);
	assert_int_equal(munmap(bits, BITS_SIZE), 0);
	fd_closep(&bits_fd);
	fd_closep(&kick);
	return fds_after(state);
}

#define SESSION_TEST(f)                                                        \
	cmocka_unit_test_setup_teardown(f, session_setup, session_teardown)

static void
set_log_at(int fd, uint64_t offset, uint64_t size)
{
	struct vus_wire_log log = { .size = size, .offset = offset }, reply;

	assert_true(lives(fake_request(fake, VUS_SET_LOG_BASE,
	    VUS_VERSION | VUS_FLAG_NEED_REPLY, &log, sizeof(log), &fd, 1)));
	expect_reply(fake, VUS_SET_LOG_BASE, &reply, sizeof(reply));
	assert_memory_equal(&reply, &log, sizeof(log));
}

static void
set_log(void)
{
	set_log_at(bits_fd, 0, BITS_SIZE);
}

static void
set_logging(bool on)
{
	uint64_t all = fake->s.state.features;
	uint64_t bit = VUS_BIT(VUS_VIRTIO_F_LOG_ALL);

	fake_ok_u64(fake, VUS_SET_FEATURES, on ? all | bit : all & ~bit);
}

/* These guest physical pages are marked and no other. All bits
 * are cleared. */
static void
expect_marked(const uint64_t *addrs, unsigned n)
{
	static unsigned char expected[BITS_SIZE];

	memset(expected, 0, sizeof(expected));
	for (unsigned i = 0; i < n; i++)
		expected[addrs[i] / PAGE / 8] |=
		    (unsigned char)(1U << (addrs[i] / PAGE % 8));
	for (unsigned i = 0; i < BITS_SIZE; i++)
		if (bits[i] != expected[i])
			fail_msg("byte 0x%x of the log is 0x%x, not 0x%x", i,
			    bits[i], expected[i]);
	memset(bits, 0, BITS_SIZE);
}

#define EXPECT_MARKED(...)                                                     \
	expect_marked((const uint64_t[]){ __VA_ARGS__ },                       \
	    sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

/* Ring 0 runs, without a log. */
static void
start_split(void)
{
	driver_init(&driver, &guest, NUM, 0);
	fake_set_table(fake, &guest);
	fake_ok_state(fake, VUS_SET_VRING_NUM, 0, NUM);
	fake_ok_state(fake, VUS_SET_VRING_BASE, 0, 0);
	fake_set_driver(fake, &driver, 0, 0);
	kick = fake_run_ring(fake);
}

/* One request with a response of 4 bytes at this offset. */
static void
request_at(uint64_t offset)
{
	unsigned served = fake->served;

	driver_desc(&driver, 0, GUEST_AT(offset), 4, DRIVER_WRITE, 0);
	driver_offer(&driver, 0);
	fake_kick(fake, kick);
	assert_int_equal(fake->served, served + 1);
}

static void
the_log_begins_and_ends_while_a_ring_runs(void **state)
{
	(void)state;
	start_split();
	request_at(RESPONSE);
	set_log();
	set_logging(false);
	request_at(RESPONSE);
	expect_marked(NULL, 0);
	set_logging(true);
	request_at(RESPONSE);
	EXPECT_MARKED(GUEST_AT(RESPONSE));
	set_logging(false);
	request_at(RESPONSE);
	expect_marked(NULL, 0);
	set_logging(true);
	request_at(RESPONSE);
	EXPECT_MARKED(GUEST_AT(RESPONSE));
}

static void
a_log_that_comes_after_its_feature_counts_at_once(void **state)
{
	(void)state;
	start_split(); /* LOG_ALL is negotiated */
	request_at(RESPONSE);
	set_log();
	request_at(RESPONSE);
	EXPECT_MARKED(GUEST_AT(RESPONSE));
}

static void
a_response_is_marked_in_all_its_pages(void **state)
{
	(void)state;
	set_log();
	start_split();
	request_at(RESPONSE + PAGE - 2);
	EXPECT_MARKED(GUEST_AT(RESPONSE), GUEST_AT(RESPONSE) + PAGE);
	/* Of a longer buffer what was written. */
	driver_desc(&driver, 0, GUEST_AT(RESPONSE), 2 * PAGE, DRIVER_WRITE, 0);
	driver_offer(&driver, 0);
	fake_kick(fake, kick);
	EXPECT_MARKED(GUEST_AT(RESPONSE));
	/* In two pieces, a region each. */
	request_at(GUEST_REGION - 2);
	EXPECT_MARKED(GUEST_AT(GUEST_REGION) - PAGE, GUEST_AT(GUEST_REGION));
}

static void
the_used_ring_is_marked_where_the_front_end_says(void **state)
{
	(void)state;
	set_log();
	start_split();
	request_at(RESPONSE);
	EXPECT_MARKED(GUEST_AT(RESPONSE));
	/* With the flag, also while it runs. */
	fake_set_driver(fake, &driver, VUS_VRING_F_LOG, USED_LOG);
	expect_marked(NULL, 0);
	request_at(RESPONSE);
	EXPECT_MARKED(
	    GUEST_AT(RESPONSE), USED_LOG, USED_LOG + PAGE, USED_LOG + 3 * PAGE);
	/* Element 512 is in the page that follows. */
	for (unsigned i = 2; i < 512; i++)
		request_at(RESPONSE);
	memset(bits, 0, BITS_SIZE);
	request_at(RESPONSE);
	EXPECT_MARKED(GUEST_AT(RESPONSE), USED_LOG, USED_LOG + 2 * PAGE,
	    USED_LOG + 3 * PAGE);
	/* And without the flag again not. */
	fake_set_driver(fake, &driver, 0, USED_LOG);
	request_at(RESPONSE);
	EXPECT_MARKED(GUEST_AT(RESPONSE));
}

static void
without_event_index_it_is_not_marked(void **state)
{
	(void)state;
	fake_ok_u64(fake, VUS_SET_FEATURES,
	    VUS_BIT(0) | VUS_BIT(VUS_VIRTIO_F_LOG_ALL) |
		VUS_BIT(VUS_VIRTIO_F_PROTOCOL_FEATURES));
	set_log();
	start_split();
	fake_set_driver(fake, &driver, VUS_VRING_F_LOG, USED_LOG);
	request_at(RESPONSE);
	EXPECT_MARKED(GUEST_AT(RESPONSE), USED_LOG, USED_LOG + PAGE);
}

static void
a_malformed_chain_marks_the_used_ring_alone(void **state)
{
	(void)state;
	set_log();
	start_split();
	fake_set_driver(fake, &driver, VUS_VRING_F_LOG, USED_LOG);
	driver_desc(&driver, 0, 0, 4, DRIVER_WRITE, 0);
	driver_offer(&driver, 0);
	fake_kick(fake, kick);
	EXPECT_MARKED(USED_LOG, USED_LOG + PAGE, USED_LOG + 3 * PAGE);
}

static void
an_address_of_the_used_ring_that_wraps_is_not_marked(void **state)
{
	(void)state;
	set_log();
	start_split();
	fake_set_driver(fake, &driver, VUS_VRING_F_LOG, UINT64_MAX);
	request_at(RESPONSE);
	EXPECT_MARKED(GUEST_AT(RESPONSE));
}

static void
a_packed_ring_marks_its_descriptors_and_event_area(void **state)
{
	const uint64_t desc = GUEST_REGION + 0x10000;
	const unsigned num = 300; /* more than a page of descriptors */
	uint32_t id, len;

	(void)state; /* all in the second region, and no address is given */
	fake_ok_u64(fake, VUS_SET_FEATURES, vus_session_features(&fake->s));
	packed_init(&packed, &guest, num, desc);
	set_log();
	fake_set_table(fake, &guest);
	fake_ok_state(fake, VUS_SET_VRING_NUM, 0, num);
	fake_set_packed(fake, &packed, VUS_VRING_F_LOG, 0);
	kick = fake_run_ring(fake);
	EXPECT_MARKED(GUEST_AT(packed.device));
	for (unsigned i = 0; i < 257; i++) {
		packed_put(&packed, GUEST_AT(RESPONSE), 4, 1, DRIVER_WRITE);
		fake_kick(fake, kick);
		assert_true(packed_complete(&packed, &id, &len));
		assert_int_equal(len, 4);
		EXPECT_MARKED(
		    GUEST_AT(RESPONSE), GUEST_AT(desc) + (i < 256 ? 0 : PAGE));
	}
	/* Without the flag the response alone. */
	fake_set_packed(fake, &packed, 0, 0);
	packed_put(&packed, GUEST_AT(RESPONSE), 4, 1, DRIVER_WRITE);
	fake_kick(fake, kick);
	EXPECT_MARKED(GUEST_AT(RESPONSE));
}

static void
another_log_gets_all_from_then_on(void **state)
{
	int other = make_memfd(BITS_SIZE + 77);
	unsigned char byte;

	(void)state;
	set_log();
	start_split();
	set_log_at(other, 77, BITS_SIZE);
	request_at(RESPONSE);
	expect_marked(NULL, 0);
	assert_int_equal(
	    pread(other, &byte, 1, 77 + GUEST_AT(RESPONSE) / PAGE / 8), 1);
	assert_int_equal(byte, 1U << (GUEST_AT(RESPONSE) / PAGE % 8));
	fd_closep(&other);
}

static void
a_log_base_that_cannot_be_ends_the_connection(void **state)
{
	static const struct vus_wire_log cases[] = { { 0, 0 },
		{ UINT64_MAX, 1 }, { BITS_SIZE + 1, 0 }, { 1, BITS_SIZE } };
	struct vus_wire_log good = { .size = BITS_SIZE };
	int pair[2];

	(void)state; /* there is no answer that says no */
	for (unsigned i = 0; i <= ARRAY_LEN(cases) + 1; i++) {
		int fd = bits_fd;

		make_pair(pair);
		if (i == ARRAY_LEN(cases))
			fd = pair[0];
		assert_int_equal(fake_request(fake, VUS_SET_LOG_BASE,
				     VUS_VERSION | VUS_FLAG_NEED_REPLY,
				     i < ARRAY_LEN(cases) ? &cases[i] : &good,
				     sizeof(good), &fd, i <= ARRAY_LEN(cases)),
		    VUS_NEXT_BROKEN);
		expect_silence(fake);
		fd_closep(&pair[0]);
		fd_closep(&pair[1]);
		fake_disconnect(fake);
		fake_connect(fake);
		fake_negotiate(fake, 0);
	}
	/* A u64, as without LOG_SHMFD. */
	assert_int_equal(fake_request(fake, VUS_SET_LOG_BASE, VUS_VERSION,
			     &good, 8, &bits_fd, 1),
	    VUS_NEXT_BROKEN);
}

static void
the_log_descriptor_is_signalled_once_for_a_batch(void **state)
{
	int event = make_eventfd(), other = make_eventfd();
	uint64_t n = 0;

	(void)state;
	fake_ok(fake, VUS_SET_LOG_FD, NULL, 0, &event, 1);
	start_split();
	request_at(RESPONSE);
	/* There is no log yet. */
	assert_int_equal(read(event, &n, sizeof(n)), -1);
	set_log();
	for (unsigned i = 0; i < 3; i++) {
		driver_desc(&driver, i, GUEST_AT(RESPONSE), 4, DRIVER_WRITE, 0);
		driver_offer(&driver, i);
	}
	fake_kick(fake, kick);
	assert_int_equal(read(event, &n, sizeof(n)), sizeof(n));
	assert_int_equal(n, 1);
	/* Nothing was written. */
	fake_kick(fake, kick);
	assert_int_equal(read(event, &n, sizeof(n)), -1);
	/* Another one takes its place. */
	fake_ok(fake, VUS_SET_LOG_FD, NULL, 0, &other, 1);
	request_at(RESPONSE);
	assert_int_equal(read(event, &n, sizeof(n)), -1);
	assert_int_equal(read(other, &n, sizeof(n)), sizeof(n));
	assert_int_equal(n, 1);
	set_logging(false);
	request_at(RESPONSE);
	assert_int_equal(read(other, &n, sizeof(n)), -1);
	fd_closep(&event);
	fd_closep(&other);
}

static void
the_log_descriptor_must_be_an_eventfd(void **state)
{
	(void)state;
	assert_true(lives(fake_request(fake, VUS_SET_LOG_FD,
	    VUS_VERSION | VUS_FLAG_NEED_REPLY, NULL, 0, &bits_fd, 1)));
	expect_ack(fake, VUS_SET_LOG_FD, false);
	assert_int_equal(fake->s.dirty_fd, -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		DIRTY_TEST(an_access_marks_the_pages_that_it_touches),
		DIRTY_TEST(bits_that_are_there_stay),
		DIRTY_TEST(
		    a_log_that_cannot_be_is_refused_and_the_old_one_stays),
		DIRTY_TEST(a_new_log_takes_the_place_of_the_old_one),
		DIRTY_TEST(without_a_log_nothing_is_marked),
		SESSION_TEST(the_log_begins_and_ends_while_a_ring_runs),
		SESSION_TEST(a_log_that_comes_after_its_feature_counts_at_once),
		SESSION_TEST(a_response_is_marked_in_all_its_pages),
		SESSION_TEST(the_used_ring_is_marked_where_the_front_end_says),
		SESSION_TEST(without_event_index_it_is_not_marked),
		SESSION_TEST(a_malformed_chain_marks_the_used_ring_alone),
		SESSION_TEST(
		    an_address_of_the_used_ring_that_wraps_is_not_marked),
		SESSION_TEST(
		    a_packed_ring_marks_its_descriptors_and_event_area),
		SESSION_TEST(another_log_gets_all_from_then_on),
		SESSION_TEST(a_log_base_that_cannot_be_ends_the_connection),
		SESSION_TEST(the_log_descriptor_is_signalled_once_for_a_batch),
		SESSION_TEST(the_log_descriptor_must_be_an_eventfd),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("dirty", tests, NULL, NULL);
}
