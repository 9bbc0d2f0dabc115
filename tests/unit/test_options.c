/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * options.h: what a command line comes to, which are refused, and that a
 * refusal says what is wrong. Messages as such are tested with the program
 * (options.bats); here each bound is tried on both sides.
 */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "daemon/common/log.h"
#include "daemon/config/options.h"

#include "proto/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_ARGS 16U

static struct settings options;
static char said[4096];	 /* on standard error by the last call */
static char told[16384]; /* on standard output */
static char image[64];
static int image_fd;

/* --- a call -------------------------------------------------------------- */

/* Let fd write to a memfd from now on; returns what it was, and the memfd. */
static int
capture(int fd, int *memfd)
{
	int saved = fcntl(fd, F_DUPFD_CLOEXEC, 10);

	*memfd = make_memfd(0);
	assert_true(saved >= 0);
	assert_int_equal(dup2(*memfd, fd), fd);
	return saved;
}

static void
release(int fd, int saved, int *memfd, char *text, size_t size)
{
	ssize_t n = pread(*memfd, text, size - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	assert_int_equal(dup2(saved, fd), fd);
	(void)close(saved);
	fd_closep(memfd);
}

/* Parse a command line that is cut at spaces. */
static enum options_todo
parse(const char *line)
{
	static char words[2048];
	char *argv[MAX_ARGS + 1] = { (char[]){ "vhost-shmemd" } },
			      *rest = words;
	int argc = 1, out, err, saved_out, saved_err;
	enum options_todo todo;

	(void)snprintf(words, sizeof(words), "%s", line);
	for (char *word; (word = strtok_r(rest, " ", &rest)) != NULL;) {
		assert_true(argc < (int)MAX_ARGS);
		argv[argc++] = word;
	}
	(void)fflush(NULL);
	saved_out = capture(STDOUT_FILENO, &out);
	saved_err = capture(STDERR_FILENO, &err);
	optind = 0; /* getopt begins anew */
	settings_free(&options);
	todo = options_parse(&options, NULL, argc, argv);
	(void)fflush(NULL);
	release(STDOUT_FILENO, saved_out, &out, told, sizeof(told));
	release(STDERR_FILENO, saved_err, &err, said, sizeof(said));
	return todo;
}

/* What goes on behind what every command line needs. */
static enum options_todo
parse_more(const char *more)
{
	char line[2048];

	(void)snprintf(line, sizeof(line), "--socket-path=/s %s", more);
	return parse(line);
}

static enum options_todo
parse_region(const char *more)
{
	char line[1024];

	(void)snprintf(line, sizeof(line), "--region shmid=0,%s", more);
	return parse_more(line);
}

static void
expect_usage(enum options_todo todo, const char *names)
{
	assert_int_equal(todo, OPTIONS_EXIT_USAGE);
	assert_non_null(strstr(said, names));
	assert_string_equal(told, "");
}

static int
setup(void **state)
{
	(void)fds_before(state);
	(void)snprintf(image, sizeof(image), "/tmp/unit-options-XXXXXX");
	image_fd = mkostemp(image, O_CLOEXEC);
	log_set_level(LOG_INFO);
	return image_fd < 0 ? -1 : 0;
}

static int
teardown(void **state)
{
	settings_free(&options);
	fd_closep(&image_fd);
	(void)unlink(image);
	return fds_after(state);
}

#define OPTIONS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* --- what it comes to ---------------------------------------------------- */

static void
the_shortest_command_line_has_its_defaults(void **state)
{
	(void)state;
	assert_int_equal(
	    parse("--socket-path=/s --region shmid=0,size=64M"), OPTIONS_RUN);
	assert_string_equal(said, "");
	assert_string_equal(told, "");
	assert_string_equal(options.devices[0].socket, "/s");
	assert_int_equal(options.devices[0].fd, -1);
	assert_int_equal(options.nregions, 1);
	assert_int_equal(options.devices[0].shm[0].shmid, 0);
	assert_int_equal(options.regions[0].size, 64 << 20);
	assert_null(options.regions[0].image);
	assert_true(options.regions[0].name[0] != '\0');
	assert_string_equal(options.devices[0].profile->name, "qemu");
	assert_false(options.once);
	assert_string_equal(options.worker, WORKER_PATH);
	assert_non_null(options.user);
	assert_int_equal(options.change_ids, geteuid() == 0);
	assert_true(options.uid != 0);
}

static void
every_option_arrives(void **state)
{
	(void)state;
	assert_int_equal(
	    parse("--fd=7 --region shmid=0,size=4M,name=a-b_c.1 --once "
		  "--front-end=rust-vmm --log-level=debug --worker=/w "
		  "--device=pmem"),
	    OPTIONS_RUN);
	assert_null(options.devices[0].socket);
	assert_int_equal(options.devices[0].fd, 7);
	assert_string_equal(options.regions[0].name, "a-b_c.1");
	assert_string_equal(options.devices[0].profile->name, "rust-vmm");
	assert_true(options.once);
	assert_int_equal(log_get_level(), LOG_DEBUG);
	assert_string_equal(options.worker, "/w");
}

static void
help_version_and_capabilities_ignore_the_rest(void **state)
{
	static const char *const lines[] = { "--help", "--version",
		"--print-capabilities", "--nonsense --help", "--fd=1 --version",
		"--region x --help" };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lines); i++) {
		assert_int_equal(parse(lines[i]), OPTIONS_EXIT_OK);
		assert_true(told[0] != '\0');
		assert_string_equal(said, "");
	}
	assert_int_equal(parse("-- --help"), OPTIONS_EXIT_USAGE);
}

/* --- sizes --------------------------------------------------------------- */

static void
a_size_has_a_number_and_a_unit(void **state)
{
	static const struct {
		const char *text;
		uint64_t size;
	} cases[] = {
		{ "2097152", 2 << 20 },
		{ "2048K", 2 << 20 },
		{ "2M", 2 << 20 },
		{ "0064M", 64 << 20 },
	};
	static const char *const bad[] = { "", "M", "-2M", "+2M", "2m", "2MB",
		"2MiB", "2.5M", "0x200000", "2G2", "2P", "0", "0M",
		"18446744073709551616", "18446744073709551615M",
		"17592186044416M", "16777216T", "99999999999999999999999" };
	char line[128];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		(void)snprintf(line, sizeof(line), "size=%s", cases[i].text);
		assert_int_equal(parse_region(line), OPTIONS_RUN);
		assert_int_equal(options.regions[0].size, cases[i].size);
	}
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		(void)snprintf(line, sizeof(line), "size=%s", bad[i]);
		expect_usage(parse_region(line), "size=");
	}
}

static void
a_size_suits_linux_and_the_front_end(void **state)
{
	static const struct {
		const char *front_end, *size;
		bool good;
	} cases[] = {
		{ "qemu", "2M", true }, { "qemu", "1M", false },
		{ "qemu", "2097151", false }, { "qemu", "2097153", false },
		{ "qemu", "2101248", false }, /* a page more */
		{ "qemu", "3M", false },
		{ "qemu", "6M", false }, /* no power of two */
		{ "qemu", "8M", true }, { "rust-vmm", "2M", true },
		{ "rust-vmm", "6M", true }, { "rust-vmm", "3M", false },
		{ "crosvm", "6M", true },
		{ "qemu", "16777215T", false }, /* more than the host has */
	};
	char line[128];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		(void)snprintf(line, sizeof(line),
		    "--front-end=%s --region shmid=0,size=%s",
		    cases[i].front_end, cases[i].size);
		if (cases[i].good)
			assert_int_equal(parse_more(line), OPTIONS_RUN);
		else
			expect_usage(parse_more(line), "works");
	}
}

/* The size that a refusal proposes after "size=", before " works". */
static void
a_refusal_proposes_a_size_that_works(void **state)
{
	static const char *const sizes[] = { "1", "4095", "4096", "1M", "3M",
		"2097153", "5M", "16777215T" };
	static const char *const front_ends[] = { "qemu", "rust-vmm" };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(sizes) * 2; i++) {
		char line[128], *proposal, *end;

		(void)snprintf(line, sizeof(line),
		    "--front-end=%s --region shmid=0,size=%s",
		    front_ends[i % 2], sizes[i / 2]);
		expect_usage(parse_more(line), " works");
		end = strstr(said, " works");
		*end = '\0';
		proposal = strrchr(said, '=');
		assert_non_null(proposal);
		(void)snprintf(line, sizeof(line),
		    "--front-end=%s --region shmid=0,size=%s",
		    front_ends[i % 2], proposal + 1);
		assert_int_equal(parse_more(line), OPTIONS_RUN);
	}
}

static void
an_image_gives_the_size_or_must_fit(void **state)
{
	char line[256];

	(void)state;
	(void)snprintf(line, sizeof(line), "image=%s", image);
	expect_usage(parse_region(line), image); /* empty */
	assert_int_equal(ftruncate(image_fd, (3 << 20) + 1), 0);
	assert_int_equal(parse_region(line), OPTIONS_RUN);
	assert_int_equal(options.regions[0].size, 4 << 20);
	assert_string_equal(options.regions[0].image, image);
	(void)snprintf(line, sizeof(line), "size=2M,image=%s", image);
	expect_usage(parse_region(line), "size=4M works");
	(void)snprintf(line, sizeof(line), "size=8M,image=%s", image);
	assert_int_equal(parse_region(line), OPTIONS_RUN);
	assert_int_equal(options.regions[0].size, 8 << 20);
	/* To the byte. */
	(void)snprintf(line, sizeof(line), "size=2M,image=%s", image);
	assert_int_equal(ftruncate(image_fd, 2 << 20), 0);
	assert_int_equal(parse_region(line), OPTIONS_RUN);
	assert_int_equal(ftruncate(image_fd, (2 << 20) + 1), 0);
	expect_usage(parse_region(line), "does not fit");
	expect_usage(parse_region("image=/"), "image=/");
	expect_usage(parse_region("image=/dev/zero"), "regular");
	expect_usage(parse_region("image=/nonexistent"), "No such file");
}

static void
access_is_what_the_profile_can_do(void **state)
{
	static const struct {
		const char *profile, *keys;
		enum memory_access access; /* unless it is refused */
		const char *says;
	} cases[] = {
		{ "qemu", "", MEMORY_READ_WRITE, NULL },
		{ "qemu", ",access=read-write", MEMORY_READ_WRITE, NULL },
		{ "rust-vmm", ",access=read-write", MEMORY_READ_WRITE, NULL },
		{ "qemu", ",access=read-only", 0, "read-only-fallback=copy" },
		{ "qemu", ",access=read-only,read-only-fallback=copy",
		    MEMORY_COPY, NULL },
		{ "qemu", ",read-only-fallback=copy,access=read-only",
		    MEMORY_COPY, NULL },
		{ "rust-vmm", ",access=read-only", MEMORY_READ_ONLY, NULL },
		{ "rust-vmm-0.16", ",access=read-only", MEMORY_READ_ONLY,
		    NULL },
		{ "crosvm", ",access=read-only", MEMORY_READ_ONLY, NULL },
		{ "rfc", ",access=read-only", MEMORY_READ_ONLY, NULL },
		{ "crosvm", ",access=read-only,read-only-fallback=copy",
		    MEMORY_READ_ONLY, NULL },
		{ "qemu", ",read-only-fallback=copy", 0, "access=read-only" },
		{ "rfc", ",access=read-write,read-only-fallback=copy", 0,
		    "access=read-only" },
		{ "rfc", ",access=ro", 0, "access=ro" },
		{ "rfc", ",access=", 0, "access=" },
		{ "rfc", ",access=read-only,access=read-only", 0, "twice" },
		{ "rfc", ",access=read-only,read-only-fallback=write", 0,
		    "read-only-fallback=write" },
	};
	char line[256];

	(void)state;
	assert_int_equal(ftruncate(image_fd, 2 << 20), 0);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		(void)snprintf(line, sizeof(line),
		    "--region shmid=0,image=%s%s --front-end=%s", image,
		    cases[i].keys, cases[i].profile);
		if (cases[i].says != NULL) {
			expect_usage(parse_more(line), cases[i].says);
			continue;
		}
		assert_int_equal(parse_more(line), OPTIONS_RUN);
		assert_int_equal(
		    options.devices[0].shm[0].access, cases[i].access);
	}
	/* Nothing to read, in a front-end that could. */
	expect_usage(parse_more("--front-end=rfc "
				"--region shmid=0,size=2M,access=read-only"),
	    "image=");
}

/* --- what is refused ----------------------------------------------------- */

static void
command_lines_that_cannot_be_are_refused(void **state)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
		{ "", "--socket-path" },
		{ "--socket-path=/s", "--region" },
		{ "--region shmid=0,size=2M", "--socket-path" },
		{ "--socket-path=/s --fd=5 --region shmid=0,size=2M",
		    "exclude" },
		{ "--socket-path= --region shmid=0,size=2M", "--socket-path" },
		{ "--socket-path=/s --region size=2M", "shmid=" },
		{ "--socket-path=/s --region shmid=0", "size=" },
		{ "--socket-path=/s --region shmid=,size=2M", "shmid=" },
		{ "--socket-path=/s --region shmid=x,size=2M", "shmid=" },
		{ "--socket-path=/s --region shmid=-1,size=2M", "shmid=" },
		{ "--socket-path=/s --region shmid=256,size=2M", "shmid=" },
		{ "--socket-path=/s --region shmid=1,size=2M", "shmid=" },
		{ "--socket-path=/s --region shmid=0,size=2M,x=1", "x=1" },
		{ "--socket-path=/s --region shmid=0,size=2M,image=",
		    "image=" },
		{ "--socket-path=/s --region shmid=0,size=2M,size=4M",
		    "twice" },
		{ "--socket-path=/s --region shmid=0,size=2M "
		  "--region shmid=0,size=2M",
		    "twice" },
		{ "--fd=0 --region shmid=0,size=2M", "--fd" },
		{ "--fd=2 --region shmid=0,size=2M", "--fd" },
		{ "--fd=-1 --region shmid=0,size=2M", "--fd" },
		{ "--fd=x --region shmid=0,size=2M", "--fd" },
		{ "--fd=3x --region shmid=0,size=2M", "--fd" },
		{ "--fd=2147483648 --region shmid=0,size=2M", "--fd" },
		{ "--fd=18446744073709551620 --region shmid=0,size=2M",
		    "--fd" },
		{ "--socket-path=/s --region shmid=0,size=2M --front-end=x",
		    "qemu" },
		{ "--socket-path=/s --region shmid=0,size=2M --device=x",
		    "pmem" },
		{ "--socket-path=/s --region shmid=0,size=2M --log-level=x",
		    "debug" },
		{ "--socket-path=/s --region shmid=0,size=2M "
		  "--user=no-such-user",
		    "--user" },
		{ "--socket-path=/s --region shmid=0,size=2M extra", "extra" },
		{ "--socket-path=/s --region shmid=0,size=2M --nonsense",
		    "--help" },
		{ "--socket-path=/s --region shmid=0,size=2M -x", "--help" },
		{ "--once=1", "--help" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		expect_usage(parse(cases[i].line), cases[i].says);
}

static void
numbers_are_taken_up_to_their_bound(void **state)
{
	(void)state;
	assert_int_equal(parse("--fd=3 --region shmid=0,size=2M"), OPTIONS_RUN);
	assert_int_equal(
	    parse("--fd=2147483647 --region shmid=0,size=2M"), OPTIONS_RUN);
	assert_int_equal(options.devices[0].fd, 2147483647);
}

static void
a_name_has_63_characters_of_a_few_kinds(void **state)
{
	static const char *const bad[] = { "", "a/b", "a b", "a%%n", "\xc3\xa4",
		"a\tb", "a:b", "a=b" };
	char name[SETTINGS_NAME_MAX + 1], line[128];

	(void)state;
	memset(name, 'n', sizeof(name));
	for (size_t len = SETTINGS_NAME_MAX - 1; len <= SETTINGS_NAME_MAX;
	     len++) {
		name[len] = '\0';
		(void)snprintf(line, sizeof(line), "size=2M,name=%s", name);
		if (len < SETTINGS_NAME_MAX)
			assert_int_equal(parse_region(line), OPTIONS_RUN);
		else
			expect_usage(parse_region(line), "name=");
		name[len] = 'n';
	}
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		(void)snprintf(line, sizeof(line), "size=2M,name=%s", bad[i]);
		if (strchr(bad[i], ' ') != NULL)
			continue; /* would be cut in two here */
		expect_usage(parse_region(line), "name=");
	}
}

static void
workers_never_run_as_root(void **state)
{
	(void)state;
	if (geteuid() != 0)
		return; /* others cannot choose: "only root can" */
	expect_usage(
	    parse_region("size=2M --user=root"), "must not run as root");
}

/* --- profiles ------------------------------------------------------------ */

static void
profiles_are_found_by_name_and_index(void **state)
{
	const struct profile *p;
	unsigned n = 0;

	(void)state;
	for (; (p = profile_by_index(n)) != NULL; n++) {
		assert_ptr_equal(profile_by_name(p->name), p);
		assert_int_equal(profile_index(p), n);
		assert_non_null(strstr(profile_names(), p->name));
		assert_true(p->max_regions >= 1);
		/* Without these there is no region at all. */
		assert_true(p->protocol_features & VUS_BIT(VUS_F_SHMEM));
		assert_true(p->protocol_features & VUS_BIT(VUS_F_BACKEND_REQ));
		/* Nothing is offered that has no code. */
		assert_int_equal(
		    p->protocol_features &
			~(all_protocol_features() | OTHER_PROTOCOL_FEATURES),
		    0);
	}
	assert_true(n >= 3);
	assert_null(profile_by_index(UINT32_MAX));
	assert_null(profile_by_name(""));
	assert_null(profile_by_name("QEMU"));
}

static void
qemu_is_not_offered_what_it_dies_of(void **state)
{
	const struct profile *p = profile_by_name("qemu");

	(void)state;
	assert_ptr_equal(p, profile_by_index(0)); /* the default */
	assert_false(p->protocol_features & VUS_BIT(VUS_F_CONFIGURE_MEM_SLOTS));
	/* It resets a queue and tells us nothing of it. */
	assert_int_equal(p->virtio_without, VUS_BIT(VUS_VIRTIO_F_RING_RESET));
	assert_true(p->power_of_two);
	assert_int_equal(p->max_regions, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		OPTIONS_TEST(the_shortest_command_line_has_its_defaults),
		OPTIONS_TEST(every_option_arrives),
		OPTIONS_TEST(help_version_and_capabilities_ignore_the_rest),
		OPTIONS_TEST(a_size_has_a_number_and_a_unit),
		OPTIONS_TEST(a_size_suits_linux_and_the_front_end),
		OPTIONS_TEST(a_refusal_proposes_a_size_that_works),
		OPTIONS_TEST(an_image_gives_the_size_or_must_fit),
		OPTIONS_TEST(access_is_what_the_profile_can_do),
		OPTIONS_TEST(command_lines_that_cannot_be_are_refused),
		OPTIONS_TEST(numbers_are_taken_up_to_their_bound),
		OPTIONS_TEST(a_name_has_63_characters_of_a_few_kinds),
		OPTIONS_TEST(workers_never_run_as_root),
		OPTIONS_TEST(profiles_are_found_by_name_and_index),
		OPTIONS_TEST(qemu_is_not_offered_what_it_dies_of),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
