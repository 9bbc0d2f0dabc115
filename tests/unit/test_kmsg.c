/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * kmsg.h: which records of the kernel's log are taken for the death of a
 * worker, and which only look like one.
 */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "daemon/supervisor/kmsg.h"

#include <stdio.h>
#include <string.h>

#define HEAD "5,422,22006633465,-;"
#define START "audit: type=1326 audit(1795416359.022:70): "
#define IDS "auid=4294967295 uid=65534 gid=65534 ses=4294967295 "
#define NAMES                                                                  \
	"comm=\"vhost-shmemd-wo\" exe=\"/usr/libexec/vhost-shmemd-worker\" "
#define CALL                                                                   \
	"sig=31 arch=c000003e syscall=16 compat=0 ip=0x7f06d36464c6 "          \
	"code=0x80000000"

static void
expect_none(const char *text)
{
	struct kmsg_record record;

	if (kmsg_parse(text, &record))
		fail_msg("taken for a death: %s", text);
}

static void
expect(const char *text, pid_t pid, uint32_t arch, uint32_t call)
{
	struct kmsg_record record = { 0 };

	if (!kmsg_parse(text, &record))
		fail_msg("not taken for a death: %s", text);
	assert_int_equal(record.second, 1795416359);
	assert_int_equal(record.pid, pid);
	assert_int_equal(record.arch, arch);
	assert_int_equal(record.call, call);
}

static void
a_record_of_seccomp_is_read(void **state)
{
	(void)state;
	expect(
	    HEAD START IDS "pid=18463 " NAMES CALL "\n", 18463, 0xc000003e, 16);
	expect(HEAD START IDS "pid=18463 " NAMES CALL, 18463, 0xc000003e, 16);
	expect("0,1,2,c,caller=T1;" START "pid=1 sig=31 arch=0 syscall=0", 1, 0,
	    0);
	expect(HEAD START IDS "subj=a (enforce) pid=2147483647 " NAMES
			      "sig=31 arch=ffffffff syscall=4294967295 compat=1"
			      "\n SUBSYSTEM=x\n DEVICE=y\n",
	    2147483647, 0xffffffff, 4294967295);
}

static void
only_the_kernel_is_believed(void **state)
{
	(void)state;
	/* What programs write into /dev/kmsg has facility 1 or more. */
	expect_none("13,422,22006633465,-;" START "pid=1 " NAMES CALL "\n");
	expect_none("8,422,22006633465,-;" START "pid=1 " NAMES CALL "\n");
	expect_none("-5,422,1,-;" START "pid=1 " NAMES CALL "\n");
	expect_none(" 5,422,1,-;" START "pid=1 " NAMES CALL "\n");
	expect_none("5;" START "pid=1 " NAMES CALL "\n");
	expect_none(START "pid=1 " NAMES CALL "\n");
}

static void
only_seccomp_is_believed(void **state)
{
	(void)state;
	expect_none(HEAD "audit: type=1327 audit(1.0:70): pid=1 " NAMES CALL);
	expect_none(HEAD "audit: type=1107 audit(1.0:70): msg='" START
			 "pid=1 " NAMES CALL);
	expect_none(HEAD "x: " START "pid=1 " NAMES CALL "\n");
	expect_none(HEAD "x\n;" START "pid=1 " NAMES CALL "\n");
	expect_none("5,422,1,-\n;" START "pid=1 " NAMES CALL "\n");
	expect_none(HEAD "audit: type=1326 audit(): pid=1 " NAMES CALL);
	expect_none(HEAD "audit: type=1326 audit(-1.0:1): pid=1 " NAMES CALL);
	expect_none(HEAD "audit: type=1326 audit(17 1.0:1): pid=1 " NAMES CALL);
}

static void
another_signal_is_no_death(void **state)
{
	(void)state;
	expect_none(HEAD START
	    "pid=1 " NAMES "sig=0 arch=c000003e syscall=16 code=0x7ffc0000");
}

static void
a_name_cannot_pretend_to_be_a_number(void **state)
{
	(void)state;
	/* As the kernel quotes names, and so they do not count. */
	expect(HEAD START IDS "pid=7 comm=\"pid=8\" exe=\"/syscall=9\" " CALL,
	    7, 0xc000003e, 16);
	/* If it did not: what is there twice is not believed. */
	expect_none(HEAD START IDS "pid=7 comm=\"x pid=8 \" " CALL);
	expect_none(HEAD START IDS "pid=7 comm=\"x syscall=8 \" " CALL);
	expect_none(HEAD START IDS "pid=7 comm=x arch=0 sig=31 " CALL);
	/* Nor is what stands on the lines behind. */
	expect_none(HEAD START IDS "pid=7 sig=31 arch=0\n syscall=1\n");
}

static void
what_is_no_number_is_ignored(void **state)
{
	static const char *const fields[] = {
		"pid= sig=31 arch=0 syscall=0",
		"pid=x sig=31 arch=0 syscall=0",
		"pid=1x sig=31 arch=0 syscall=0",
		"pid=-1 sig=31 arch=0 syscall=0",
		"pid=+1 sig=31 arch=0 syscall=0",
		"pid=\"1\" sig=31 arch=0 syscall=0",
		"pid=2147483648 sig=31 arch=0 syscall=0",
		"pid=1 sig=31 arch=0 syscall=-1",
		"pid=1 sig=31 arch=0 syscall=0x1",
		"pid=1 sig=31 arch=0 syscall=4294967296",
		"pid=1 sig=31 arch=0 syscall=99999999999999999999999",
		"pid=1 sig=31 arch=100000000 syscall=0",
		"pid=1 sig=31 arch=g syscall=0",
		"pid=1 sig=31 arch=0",
		"pid=1 sig=31 arch=0 pid=1",
		"pid=1 sig=31 syscall=0",
		"pid=1 arch=0 syscall=0",
		"sig=31 arch=0 syscall=0",
		"pid=1 sig=31 arch=0 xsyscall=0",
		"",
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(fields); i++) {
		char text[256];

		(void)snprintf(
		    text, sizeof(text), "%s%s\n", HEAD START, fields[i]);
		expect_none(text);
	}
}

static void
a_record_that_is_cut_is_ignored(void **state)
{
	static const char text[] =
	    HEAD START IDS "pid=18463 " NAMES "sig=31 arch=c000003e ";

	(void)state;
	for (size_t len = 0; len < sizeof(text); len++) {
		char cut[sizeof(text)] = { 0 };

		memcpy(cut, text, len);
		expect_none(cut);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_record_of_seccomp_is_read),
		TEST(only_the_kernel_is_believed),
		TEST(only_seccomp_is_believed),
		TEST(another_signal_is_no_death),
		TEST(a_name_cannot_pretend_to_be_a_number),
		TEST(what_is_no_number_is_ignored),
		TEST(a_record_that_is_cut_is_ignored),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("kmsg", tests, NULL, NULL);
}
