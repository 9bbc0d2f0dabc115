/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The virtio-pmem device, daemon/worker/pmem.h: what it answers to which
 * request. Section numbers are of VIRTIO 1.3.
 */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "daemon/worker/pmem.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

static struct fake *fake;

static int
setup(void **state)
{
	(void)fds_before(state);
	fake = fake_new();
	fake_connect(fake);
	return 0;
}

static int
teardown(void **state)
{
	fake_free(fake);
	return fds_after(state);
}

#define PMEM_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* Serve a request whose len bytes are cut into pieces of piece bytes, with
 * room for an answer; returns the bytes answered, and them in *ret. */
static uint32_t
serve(
    unsigned char *bytes, size_t len, size_t piece, size_t room, uint32_t *ret)
{
	struct vus_chain chain = { .nwrite = room != 0 };

	*ret = UINT32_MAX;
	for (size_t at = 0; at < len; at += piece) {
		assert_true(chain.nread < VUS_CHAIN_SEGS);
		chain.read[chain.nread++] =
		    (struct vus_seg){ .base = bytes + at,
			    .len = len - at < piece ? len - at : piece };
	}
	chain.write[0] =
	    (struct vus_seg){ .base = (unsigned char *)ret, .len = room };
	return pmem_type.serve(&fake->s, 0, &chain);
}

static void
a_flush_is_answered_ok(void **state)
{
	unsigned char flush[4] = { 0 };
	uint32_t ret;

	(void)state; /* 5.19.6: type 0, and the answer 0; cut as one likes */
	for (size_t piece = 1; piece <= 4; piece++) {
		assert_int_equal(
		    serve(flush, sizeof(flush), piece, 4, &ret), 4);
		assert_int_equal(ret, 0);
	}
	assert_int_equal(fake->logged[VUS_LOG_WARN], 0);
	assert_true(fake->logged[VUS_LOG_DEBUG] != 0);
}

static void
a_request_of_another_length_is_answered_with_an_error(void **state)
{
	static const size_t lengths[] = { 0, 1, 3, 5, 8, 16, 4096 };
	static unsigned char zeros[4096];
	uint32_t ret;

	(void)state; /* that of a disk's driver has 16, and begins with 0 */
	for (unsigned i = 0; i < ARRAY_LEN(lengths); i++) {
		assert_int_equal(serve(zeros, lengths[i], 4096, 4, &ret), 4);
		assert_int_equal(le32toh(ret), 1);
		assert_int_equal(fake->logged[VUS_LOG_WARN], i + 1);
	}
	assert_non_null(strstr(fake->last, "4096 bytes"));
}

static void
another_type_is_answered_with_an_error(void **state)
{
	static const unsigned char types[][4] = { { 1 }, { 0, 1 },
		{ 0, 0, 0, 1 }, { 0xff, 0xff, 0xff, 0xff } };
	unsigned char type[4];
	uint32_t ret;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(types); i++) {
		memcpy(type, types[i], sizeof(type));
		assert_int_equal(serve(type, 4, 4, 4, &ret), 4);
		assert_int_equal(le32toh(ret), 1);
		assert_int_equal(fake->logged[VUS_LOG_WARN], i + 1);
	}
}

static void
as_much_is_answered_as_there_is_room_for(void **state)
{
	unsigned char flush[4] = { 0 };
	uint32_t ret;

	(void)state;
	assert_int_equal(serve(flush, 4, 4, 0, &ret), 0);
	assert_int_equal(ret, UINT32_MAX);
	assert_int_equal(serve(flush, 4, 4, 2, &ret), 2);
	assert_int_equal(ret, htole32(0xffff0000));
}

static void
a_flush_of_a_file_is_answered_by_its_sync(void **state)
{
	static const struct {
		int rc;
		uint32_t ret;
	} cases[] = { { 0, 0 }, { -EIO, 1 }, { -ENOSPC, 1 } };
	unsigned char flush[4] = { 0 };
	uint32_t ret;

	(void)state;
	fake->device.sync = true;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct vus_chain chain = { .nwrite = 1 };

		assert_int_equal(serve(flush, 4, 4, 4, &ret), VUS_LATER);
		assert_int_equal(ret, UINT32_MAX);
		chain.write[0] =
		    (struct vus_seg){ .base = (unsigned char *)&ret, .len = 4 };
		assert_int_equal(
		    pmem_type.finish(&fake->s, 0, &chain, cases[i].rc), 4);
		assert_int_equal(le32toh(ret), cases[i].ret);
	}
	/* What is no FLUSH waits for nothing. */
	assert_int_equal(serve(flush, 3, 4, 4, &ret), 4);
	assert_int_equal(le32toh(ret), 1);
	/* Nor does any, if the host has no sync. */
	fake->s.host.sync = NULL;
	assert_int_equal(serve(flush, 4, 4, 4, &ret), 4);
	assert_int_equal(ret, 0);
	assert_int_equal(fake->s.counters.flushes, 1);
}

static void
the_configuration_has_the_size_and_no_start(void **state)
{
	uint64_t config[2];

	(void)state; /* 5.19.4 */
	pmem_configure(&fake->device, UINT64_C(0x123456789000));
	memcpy(config, fake->device.config, sizeof(config));
	assert_int_equal(config[0], 0);
	assert_int_equal(le64toh(config[1]), UINT64_C(0x123456789000));
	assert_int_equal(pmem_type.config_size, sizeof(config));
	assert_int_equal(pmem_type.features, VUS_BIT(0));
	assert_int_equal(pmem_type.num_queues, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PMEM_TEST(a_flush_is_answered_ok),
		PMEM_TEST(
		    a_request_of_another_length_is_answered_with_an_error),
		PMEM_TEST(another_type_is_answered_with_an_error),
		PMEM_TEST(as_much_is_answered_as_there_is_room_for),
		PMEM_TEST(a_flush_of_a_file_is_answered_by_its_sync),
		PMEM_TEST(the_configuration_has_the_size_and_no_start),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("pmem", tests, NULL, NULL);
}
