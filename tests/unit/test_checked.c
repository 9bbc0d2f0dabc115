/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* checked.h: both sides of each bound, and the ends of the number line. */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "proto/checked.h"

#define MAX UINT64_MAX

static void
a_sum_is_refused_from_the_first_that_wraps(void **state)
{
	static const struct {
		uint64_t a, b, sum;
		bool fits;
	} cases[] = {
		{ 0, 0, 0, true },
		{ 1, 2, 3, true },
		{ MAX, 0, MAX, true },
		{ 0, MAX, MAX, true },
		{ MAX - 1, 1, MAX, true },
		{ MAX, 1, 0, false },
		{ 1, MAX, 0, false },
		{ MAX, MAX, 0, false },
		{ UINT64_C(1) << 63, UINT64_C(1) << 63, 0, false },
		{ UINT64_C(1) << 63, (UINT64_C(1) << 63) - 1, MAX, true },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t sum = 0;

		assert_int_equal(
		    checked_add(cases[i].a, cases[i].b, &sum), cases[i].fits);
		if (cases[i].fits)
			assert_int_equal(sum, cases[i].sum);
	}
}

static void
a_range_is_within_up_to_its_last_byte(void **state)
{
	static const struct {
		uint64_t offset, len, size;
		bool within;
	} cases[] = {
		{ 0, 0, 0, true },
		{ 0, 1, 0, false },
		{ 1, 0, 0, false },
		{ 0, 10, 10, true },
		{ 0, 11, 10, false },
		{ 1, 9, 10, true },
		{ 1, 10, 10, false },
		{ 10, 0, 10, true },
		{ 11, 0, 10, false },
		{ 10, 1, 10, false },
		{ MAX, 1, 10, false },
		{ 1, MAX, 10, false },
		{ MAX, MAX, MAX, false },
		{ MAX, 0, MAX, true },
		{ MAX - 1, 1, MAX, true },
		{ 0, MAX, MAX, true },
		{ 1, MAX, MAX, false },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(checked_within(cases[i].offset, cases[i].len,
				     cases[i].size),
		    cases[i].within);
}

static void
ranges_overlap_from_the_first_common_byte(void **state)
{
	static const struct {
		uint64_t a, alen, b, blen;
		bool overlap;
	} cases[] = {
		{ 0, 10, 10, 10, false },
		{ 0, 11, 10, 10, true },
		{ 0, 10, 9, 10, true },
		{ 0, 10, 0, 10, true },
		{ 0, 10, 3, 2, true },
		{ 5, 1, 5, 1, true },
		{ 5, 1, 6, 1, false },
		{ 5, 0, 5, 1, false },
		{ 5, 0, 0, 10, false },
		{ 5, 0, 5, 0, false },
		{ 0, MAX, MAX - 1, 1, true },
		{ 0, MAX, MAX, 0, false },
		{ 0, MAX - 1, MAX - 1, 1, false },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(checked_overlap(cases[i].a, cases[i].alen,
				     cases[i].b, cases[i].blen),
		    cases[i].overlap);
		assert_int_equal(checked_overlap(cases[i].b, cases[i].blen,
				     cases[i].a, cases[i].alen),
		    cases[i].overlap);
	}
}

static void
zero_and_neighbours_are_no_powers_of_two(void **state)
{
	(void)state;
	assert_false(checked_power_of_two(0));
	assert_false(checked_power_of_two(MAX));
	for (unsigned bit = 0; bit < 64; bit++)
		assert_true(checked_power_of_two(UINT64_C(1) << bit));
	for (unsigned bit = 2; bit < 64; bit++) {
		assert_false(checked_power_of_two((UINT64_C(1) << bit) - 1));
		assert_false(checked_power_of_two((UINT64_C(1) << bit) + 1));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_sum_is_refused_from_the_first_that_wraps),
		TEST(a_range_is_within_up_to_its_last_byte),
		TEST(ranges_overlap_from_the_first_common_byte),
		TEST(zero_and_neighbours_are_no_powers_of_two),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("checked", tests, NULL, NULL);
}
