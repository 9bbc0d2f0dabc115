/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * pace.h: how long crashes and many connections make a front-end wait, that
 * nobody else waits for it, and that the tables forget who matters least.
 */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "daemon/supervisor/pace.h"

static struct pace pace;
static uint64_t now;

static int
setup(void **state)
{
	(void)state;
	pace = (struct pace){ 0 };
	now = 1000000;
	return 0;
}

#define PACE_TEST(f) cmocka_unit_test_setup(f, setup)

static const struct front_end one = { .pid = 100, .uid = 1000 };
static const struct front_end sibling = { .pid = 101, .uid = 1000 };
static const struct front_end other = { .pid = 100, .uid = 1001 };
static const struct front_end unknown = { .pid = 0, .uid = 1000 };

static void
expect_wait(const struct front_end *who, uint64_t ms, enum pace_reason reason)
{
	enum pace_reason why = (enum pace_reason)99;

	assert_int_equal(pace_wait(&pace, who, now, &why), ms);
	assert_int_equal(why, reason);
}

static void
serve(const struct front_end *who, unsigned times)
{
	while (times-- > 0) {
		expect_wait(who, 0, PACE_NONE);
		pace_served(&pace, who, now);
	}
}

/* --- crashes ------------------------------------------------------------- */

static void
the_first_crash_is_free(void **state)
{
	(void)state;
	pace_crashed(&pace, &one, now);
	expect_wait(&one, 0, PACE_NONE);
}

static void
each_further_crash_doubles_the_wait_up_to_32_s(void **state)
{
	static const unsigned seconds[] = { 0, 1, 2, 4, 8, 16, 32, 32, 32 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(seconds); i++) {
		uint64_t ms = seconds[i] * 1000ULL;

		pace_crashed(&pace, &one, now);
		assert_int_equal(pace_crashes(&pace, &one), i + 1);
		expect_wait(&one, ms, ms == 0 ? PACE_NONE : PACE_CRASHES);
		if (ms != 0) {
			now += ms - 1;
			expect_wait(&one, 1, PACE_CRASHES);
			now++;
		}
		expect_wait(&one, 0, PACE_NONE);
	}
}

static void
any_number_of_crashes_is_32_s(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		pace_crashed(&pace, &one, now);
	expect_wait(&one, 32000, PACE_CRASHES);
}

static void
only_the_process_that_crashes_its_workers_waits(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 5; i++)
		pace_crashed(&pace, &one, now);
	expect_wait(&one, 8000, PACE_CRASHES);
	expect_wait(&sibling, 0, PACE_NONE);
	expect_wait(&other, 0, PACE_NONE); /* a pid that came again */
	expect_wait(&unknown, 0, PACE_NONE);
	assert_int_equal(pace_crashes(&pace, &other), 0);
}

static void
a_quiet_minute_behind_the_wait_is_forgiven(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++)
		pace_crashed(&pace, &one, now);
	expect_wait(&one, 2000, PACE_CRASHES);
	now += 2000 + 60000;
	pace_crashed(&pace, &one, now); /* no longer than a minute */
	expect_wait(&one, 4000, PACE_CRASHES);
	now += 4000 + 60001;
	pace_crashed(&pace, &one, now);
	expect_wait(&one, 0, PACE_NONE);
	assert_int_equal(pace_crashes(&pace, &one), 1);
}

static void
processes_that_are_not_known_do_not_wait_for_crashes_of_others(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 9; i++)
		pace_crashed(&pace, &unknown, now);
	expect_wait(&unknown, 0, PACE_NONE);
	assert_int_equal(pace_crashes(&pace, &unknown), 0);
}

static void
the_process_that_may_go_first_is_forgotten_first(void **state)
{
	struct front_end who = { .uid = 1000 };

	(void)state;
	for (unsigned i = 0; i < PACE_PROCESSES; i++) {
		who.pid = (pid_t)(100 + i);
		pace_crashed(&pace, &who, now);
		pace_crashed(&pace, &who, now);
		now++;
	}
	who.pid = 100 + PACE_PROCESSES;
	pace_crashed(&pace, &who, now);
	pace_crashed(&pace, &who, now);
	assert_int_equal(pace_crashes(&pace, &who), 2);
	who.pid = 100;
	assert_int_equal(pace_crashes(&pace, &who), 0);
	who.pid = 101;
	assert_int_equal(pace_crashes(&pace, &who), 2);
}

/* --- connections --------------------------------------------------------- */

static void
a_user_may_connect_128_times_at_once_and_then_32_times_a_second(void **state)
{
	unsigned served = 0;

	(void)state;
	serve(&one, PACE_BURST);
	expect_wait(&one, PACE_INTERVAL, PACE_RATE);
	for (uint64_t end = now + 10000; now < end; now++) {
		enum pace_reason reason;

		if (pace_wait(&pace, &one, now, &reason) != 0)
			continue;
		pace_served(&pace, &one, now);
		served++;
	}
	assert_int_equal(served, 10000 / PACE_INTERVAL);
}

static void
what_was_spent_comes_back_but_no_more(void **state)
{
	(void)state;
	serve(&one, PACE_BURST);
	now += 10ULL * PACE_INTERVAL;
	serve(&one, 10);
	expect_wait(&one, PACE_INTERVAL, PACE_RATE);
	now += 1000000;
	serve(&one, PACE_BURST);
	expect_wait(&one, PACE_INTERVAL, PACE_RATE);
}

static void
all_processes_of_a_user_share_and_no_other_user_waits(void **state)
{
	(void)state;
	serve(&one, PACE_BURST / 2);
	serve(&unknown, PACE_BURST / 2);
	expect_wait(&sibling, PACE_INTERVAL, PACE_RATE);
	expect_wait(&unknown, PACE_INTERVAL, PACE_RATE);
	serve(&other, PACE_BURST);
}

static void
the_longer_wait_counts(void **state)
{
	(void)state;
	serve(&one, PACE_BURST);
	pace_crashed(&pace, &one, now);
	pace_crashed(&pace, &one, now);
	expect_wait(&one, 1000, PACE_CRASHES);
	now += 999;
	expect_wait(&one, 1, PACE_CRASHES);
	serve(&sibling, 32);
	expect_wait(&one, 24, PACE_RATE);
}

static void
the_user_who_has_spent_least_is_forgotten_first(void **state)
{
	struct front_end who = { .pid = 1 };

	(void)state;
	serve(&one, PACE_BURST);
	for (who.uid = 2000; who.uid < 2000 + PACE_USERS - 1; who.uid++)
		serve(&who, 2);
	who.uid = 2001;
	serve(&who, PACE_BURST - 2);
	serve(&other, 1); /* in place of 2000 */
	expect_wait(&one, PACE_INTERVAL, PACE_RATE);
	expect_wait(&who, PACE_INTERVAL, PACE_RATE);
	who.uid = 2000;
	serve(&who, PACE_BURST);
}

/* --- what is told -------------------------------------------------------- */

static void
a_wait_for_crashes_is_told_once_after_each(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		pace_crashed(&pace, &one, now);
		assert_true(pace_tell(&pace, &one, now, PACE_CRASHES));
		assert_false(pace_tell(&pace, &one, now + 9999, PACE_CRASHES));
	}
	assert_false(pace_tell(&pace, &sibling, now, PACE_CRASHES));
}

static void
a_wait_for_connections_is_told_once_a_minute_for_each_user(void **state)
{
	(void)state;
	serve(&one, 1);
	serve(&other, 1);
	assert_true(pace_tell(&pace, &one, now, PACE_RATE));
	assert_false(pace_tell(&pace, &sibling, now, PACE_RATE));
	assert_true(pace_tell(&pace, &other, now, PACE_RATE));
	now += 59999;
	assert_false(pace_tell(&pace, &one, now, PACE_RATE));
	now++;
	assert_true(pace_tell(&pace, &sibling, now, PACE_RATE));
	assert_false(pace_tell(&pace, &one, now, PACE_RATE));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PACE_TEST(the_first_crash_is_free),
		PACE_TEST(each_further_crash_doubles_the_wait_up_to_32_s),
		PACE_TEST(any_number_of_crashes_is_32_s),
		PACE_TEST(only_the_process_that_crashes_its_workers_waits),
		PACE_TEST(a_quiet_minute_behind_the_wait_is_forgiven),
		PACE_TEST(
		    processes_that_are_not_known_do_not_wait_for_crashes_of_others),
		PACE_TEST(the_process_that_may_go_first_is_forgotten_first),
		PACE_TEST(
		    a_user_may_connect_128_times_at_once_and_then_32_times_a_second),
		PACE_TEST(what_was_spent_comes_back_but_no_more),
		PACE_TEST(
		    all_processes_of_a_user_share_and_no_other_user_waits),
		PACE_TEST(the_longer_wait_counts),
		PACE_TEST(the_user_who_has_spent_least_is_forgotten_first),
		PACE_TEST(a_wait_for_crashes_is_told_once_after_each),
		PACE_TEST(
		    a_wait_for_connections_is_told_once_a_minute_for_each_user),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("pace", tests, NULL, NULL);
}
