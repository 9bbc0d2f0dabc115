/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * conf.h and settings.h, as a reload uses them: again and again in one
 * process, after files of all kinds. What keys are like is in conf.bats.
 */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "daemon/config/conf.h"
#include "daemon/config/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned told;

static void
count(void *ctx, const struct place *place, const char *text)
{
	(void)ctx;
	(void)place;
	assert_true(text[0] != '\0');
	told++;
}

/* Read and check a text; returns whether it is good. */
static bool
load(struct settings *s, const char *text)
{
	size_t len = strlen(text);
	char *copy = malloc(len + 1);
	bool found_wrong = false, whole;

	assert_non_null(copy);
	memcpy(copy, text, len);
	told = 0;
	settings_init(s);
	whole = conf_read_text(s, "/c", copy, len, count, NULL, &found_wrong);
	free(copy);
	return settings_check(s, count, NULL) && whole && !found_wrong;
}

#define DEVICE "device d { socket = /s front-end = rfc shm 0 { region = r } }"

static void
a_file_that_does_not_end_leaves_nothing_to_the_next(void **state)
{
	static const char *const bad[] = { "user = \"x", "user = \"\\777\"",
		"user = 'x", "/* no end", "region r {",
		"region \"r\" { size =", "device d { shm 0 { region = {",
		"x = \"${", "#" };
	struct settings s;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		assert_false(load(&s, bad[i]));
		assert_true(told != 0);
		settings_free(&s);
		assert_true(load(&s, "region r { size = 4M }\n" DEVICE));
		assert_int_equal(told, 0);
		assert_int_equal(s.nregions, 1);
		assert_int_equal(s.regions[0].place.line, 1);
		assert_int_equal(s.devices[0].place.line, 2);
		settings_free(&s);
	}
}

static void
a_region_is_the_same_until_one_key_is_another(void **state)
{
	static const char *const others[] = { "size = 8M", "prealloc = yes",
		"lock = yes", "numa-node = 0" };
	/* What is done with it. */
	static const char *const same[] = { "on-release = zero",
		"max-connections = 3" };
	struct settings a, b;
	char text[256];

	(void)state;
	assert_true(load(&a, "region r { size = 4M }" DEVICE));
	assert_true(load(&b, "\n# a line\nregion r { size = 4096K }" DEVICE));
	assert_true(settings_same_region(&a.regions[0], &b.regions[0]));
	assert_true(settings_same_door(&a.devices[0], &b.devices[0]));
	settings_free(&b);
	for (unsigned i = 0; i < ARRAY_LEN(others); i++) {
		(void)snprintf(text, sizeof(text), "region r { %s %s }" DEVICE,
		    i == 0 ? "" : "size = 4M", others[i]);
		assert_true(load(&b, text));
		assert_false(
		    settings_same_region(&a.regions[0], &b.regions[0]));
		settings_free(&b);
	}
	for (unsigned i = 0; i < ARRAY_LEN(same); i++) {
		(void)snprintf(text, sizeof(text),
		    "region r { size = 4M %s }" DEVICE, same[i]);
		assert_true(load(&b, text));
		assert_true(settings_same_region(&a.regions[0], &b.regions[0]));
		settings_free(&b);
	}
	settings_free(&a);
}

static void
a_door_is_the_same_until_path_owner_or_mode_is_another(void **state)
{
	static const char *const others[] = { "socket = /t",
		"socket = /s socket-mode = 0660",
		"socket = /s socket-owner = 7",
		"socket = /s socket-group = 7" };
	struct settings a, b;
	char text[256];

	(void)state;
	assert_true(load(&a, "region r { size = 4M }" DEVICE));
	for (unsigned i = 0; i < ARRAY_LEN(others); i++) {
		(void)snprintf(text, sizeof(text),
		    "region r { size = 4M } device d { %s shm 0 { region = r } "
		    "}",
		    others[i]);
		assert_true(load(&b, text));
		assert_false(settings_same_door(&a.devices[0], &b.devices[0]));
		settings_free(&b);
	}
	settings_free(&a);
}

static void
what_the_command_line_said_stays_in_new_settings(void **state)
{
	struct settings old, s;

	(void)state;
	settings_init(&old);
	old.config = "/c";
	old.once = old.strict = true;
	old.log_level = LOG_DEBUG;
	old.given[TOP_SANDBOX].line = 1;
	old.given[TOP_LOG_LEVEL] = (struct place){ "/c", 3 };
	assert_true(settings_init_again(&s, &old));
	settings_free(&old);
	assert_string_equal(s.config, "/c");
	assert_true(s.once && s.strict);
	/* That was the file's. */
	assert_int_equal(s.log_level, LOG_INFO);
	assert_int_equal(s.given[TOP_LOG_LEVEL].line, 0);
	settings_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    a_file_that_does_not_end_leaves_nothing_to_the_next,
		    fds_before, fds_after),
		cmocka_unit_test(a_region_is_the_same_until_one_key_is_another),
		cmocka_unit_test(
		    a_door_is_the_same_until_path_owner_or_mode_is_another),
		cmocka_unit_test(
		    what_the_command_line_said_stays_in_new_settings),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
