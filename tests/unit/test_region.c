/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * region.h: what a new region is - name, size, mode, seals, content, pages,
 * locks - which images and files are taken, and that all are made or none.
 *
 * What only root can set up is skipped for others: huge pages, file systems
 * that are full or lack something, a cgroup.
 */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "daemon/builder/region.h"
#include "daemon/builder/region_fill.h"
#include "proto/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/mempolicy.h>
#include <nettle/sha2.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define MEG ((uint64_t)1 << 20)
#define HUGE_PAGE (2 * MEG)
#define MANY 3U

static char dir[64], image[80], file[80];
static int image_fd;
static struct region_settings spec[MANY];
static struct region_made made[MANY];
static const struct region_settings *specs[MANY];
static const char *what;
static unsigned which;

static int
setup(void **state)
{
	(void)fds_before(state);
	(void)snprintf(dir, sizeof(dir), "/tmp/unit-region-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	(void)snprintf(image, sizeof(image), "%s/image", dir);
	(void)snprintf(file, sizeof(file), "%s/file", dir);
	image_fd = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (image_fd < 0)
		return -1;
	for (unsigned i = 0; i < MANY; i++) {
		spec[i] = (struct region_settings){ .size = 4 * PAGE,
			.numa_node = -1 };
		(void)snprintf(spec[i].name, sizeof(spec[i].name), "unit%u", i);
		specs[i] = &spec[i];
		made[i] = (struct region_made){ .fd = 99,
			.read_fd = 99,
			.lock_fd = 99,
			.locked = &made,
			.size = 99,
			.watch = 99,
			.changed = 99 };
	}
	what = NULL;
	which = 99;
	return 0;
}

/* The one that a child has been in; see enter_cgroup(). */
static void
leave_cgroup(void)
{
	static const char *const parents[] = { "/sys/fs/cgroup/memory",
		"/sys/fs/cgroup" };
	char cgroup[128];

	for (unsigned i = 0; i < ARRAY_LEN(parents); i++) {
		(void)snprintf(cgroup, sizeof(cgroup), "%s/unit-region-%d",
		    parents[i], getpid());
		(void)rmdir(cgroup);
	}
}

static int
teardown(void **state)
{
	leave_cgroup();
	for (unsigned i = 0; i < MANY; i++)
		if (made[i].fd != 99)
			region_unmake(&made[i]);
	fd_closep(&image_fd);
	(void)unlink(image);
	(void)unlink(file);
	assert_int_equal(rmdir(dir), 0);
	return fds_after(state);
}

#define REGION_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static bool
is_unmade(const struct region_made *m)
{
	return m->fd == -1 && m->read_fd == -1 && m->lock_fd == -1 &&
	       m->locked == NULL && m->watch == -1;
}

/* Make the first n regions; if that fails, none is there and no descriptor
 * left. */
static void
make(unsigned n, int rc)
{
	unsigned before = count_fds();
	int got = regions_make(specs, made, n, NULL, NULL, &what, &which);

	if (got != rc)
		print_message("# %s\n", what);
	assert_int_equal(got, rc);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(is_unmade(&made[i]), rc < 0);
	if (rc < 0) {
		char start[SETTINGS_NAME_MAX + 16];

		assert_int_equal(count_fds(), before);
		assert_true(which < n);
		(void)snprintf(
		    start, sizeof(start), "region %s: ", spec[which].name);
		assert_memory_equal(what, start, strlen(start));
	}
}

static void
expect_said(const char *text)
{
	if (strstr(what, text) == NULL)
		print_message("# %s\n", what);
	assert_non_null(strstr(what, text));
}

/* len bytes from offset on are all this one. */
static void
expect_bytes(int fd, off_t offset, size_t len, int byte)
{
	static unsigned char buf[PAGE];

	assert_true(len <= sizeof(buf));
	assert_int_equal(pread(fd, buf, len, offset), len);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(buf[i], byte);
}

static uint64_t
allocated(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void
expect_not_writable(int fd)
{
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_ptr_equal(
	    mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0),
	    MAP_FAILED);
}

static bool
root(void)
{
	return geteuid() == 0;
}

/* skip() with a reason. */
static void
skip_as(const char *reason)
{
	print_message("# skipped: %s\n", reason);
	skip();
}

/* Run it in a child, as it changes what we are. It returns 0, or the line
 * where it failed; SKIP is for what cannot be set up here. */
#define SKIP 255
#define CHECK(good)                                                            \
	do {                                                                   \
		if (!(good))                                                   \
			return __LINE__;                                       \
	} while (0)

static void
in_child(int (*test)(void))
{
	int pair[2], line = 0, status;
	pid_t pid;

	assert_int_equal(pipe(pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		line = test();
		if (line != 0 && line != SKIP && what != NULL)
			(void)fprintf(stderr, "# %s\n", what);
		_exit(write(pair[1], &line, sizeof(line)) < 0);
	}
	fd_closep(&pair[1]);
	assert_int_equal(read(pair[0], &line, sizeof(line)), sizeof(line));
	fd_closep(&pair[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (line == SKIP)
		skip_as("this host lets us have no cgroup or mount");
	if (line != 0)
		fail_msg("line %d failed in the child", line);
}

/* --- memory -------------------------------------------------------------- */

static void
no_region_is_made_of_nothing(void **state)
{
	(void)state;
	assert_int_equal(
	    regions_make(NULL, NULL, 0, NULL, NULL, &what, &which), 0);
}

static void
a_region_is_a_named_memfd_of_its_size(void **state)
{
	char link[64], name[128] = { 0 };
	struct stat st;

	(void)state;
	make(1, 0);
	assert_int_equal(fstat(made->fd, &st), 0);
	assert_int_equal(st.st_size, 4 * PAGE);
	assert_int_equal(st.st_blocks, 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(made->size, 4 * PAGE);
	assert_int_equal(fcntl(made->fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(made->fd, F_GETFL) & O_ACCMODE, O_RDWR);
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", made->fd);
	assert_true(readlink(link, name, sizeof(name) - 1) > 0);
	assert_non_null(strstr(name, "memfd:vhost-shmemd:unit0"));
	assert_int_equal(made->lock_fd, -1);
	assert_null(made->locked);
}

static void
there_is_always_a_descriptor_for_reading_only(void **state)
{
	(void)state;
	make(1, 0);
	assert_true(same_file(made->fd, made->read_fd));
	assert_int_equal(pwrite(made->fd, "seen", 4, PAGE), 4);
	expect_bytes(made->read_fd, PAGE, 1, 's');
	expect_not_writable(made->read_fd);
}

static void
the_longest_name_fits(void **state)
{
	(void)state;
	memset(spec->name, 'n', sizeof(spec->name) - 1);
	make(1, 0);
}

static void
size_and_seals_are_final_and_content_is_not(void **state)
{
	int seals;

	(void)state;
	make(1, 0);
	seals = fcntl(made->fd, F_GET_SEALS);
	assert_int_equal(seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
	    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_equal(seals & F_SEAL_WRITE, 0);
	assert_int_equal(ftruncate(made->fd, 3 * PAGE), -1);
	assert_int_equal(ftruncate(made->fd, 5 * PAGE), -1);
	assert_int_equal(fcntl(made->fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(pwrite(made->fd, "x", 1, 4 * PAGE - 1), 1);
}

static void
what_is_only_read_has_no_writer_left(void **state)
{
	unsigned before = count_fds();

	(void)state;
	assert_int_equal(write(image_fd, "abc", 3), 3);
	spec->image = image;
	spec->access = MEMORY_READ_ONLY;
	make(1, 0);
	assert_int_equal(count_fds(), before + 2);
	assert_int_not_equal(made->fd, made->read_fd);
	assert_true(same_file(made->fd, made->read_fd));
	expect_not_writable(made->fd);
	expect_not_writable(made->read_fd);
	assert_int_equal(
	    fcntl(made->fd, F_GET_SEALS) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE),
	    F_SEAL_WRITE | F_SEAL_FUTURE_WRITE);
	expect_bytes(made->fd, 0, 1, 'a');
	expect_bytes(made->fd, 3, PAGE, 0);
}

static void
a_size_that_no_file_can_have_is_refused(void **state)
{
	static const uint64_t sizes[] = { UINT64_MAX, UINT64_C(1) << 63,
		(UINT64_C(1) << 63) + PAGE };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		spec->size = sizes[i];
		assert_true(regions_make(
				specs, made, 1, NULL, NULL, &what, &which) < 0);
		expect_said("region unit0: ftruncate: ");
	}
}

static void
all_regions_are_made_or_none(void **state)
{
	(void)state;
	make(MANY, 0);
	assert_false(same_file(made[0].fd, made[1].fd));
	for (unsigned i = 0; i < MANY; i++)
		region_unmake(&made[i]);
	spec[0].file = file;
	spec[0].create = true;
	for (unsigned i = 1; i < MANY; i++) {
		spec[i].image = "/nonexistent/image";
		make(MANY, -ENOENT);
		assert_int_equal(which, i);
		spec[i].image = NULL;
		/* Not even the file that was made. */
		assert_int_equal(access(file, F_OK), -1);
	}
	/* Nor when a child fails. */
	assert_int_equal(write(image_fd, "abc", 3), 3);
	spec[2].image = image;
	spec[2].has_sha256 = true;
	make(MANY, -EBADMSG);
	assert_int_equal(which, 2);
	assert_int_equal(access(file, F_OK), -1);
}

static int
too_few_descriptors(void)
{
	int next = dup(STDERR_FILENO);
	struct rlimit limit = { (rlim_t)next + 3, (rlim_t)next + 3 };

	fd_closep(&next);
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	CHECK(regions_make(specs, made, MANY, NULL, NULL, &what, &which) ==
	      -EMFILE);
	CHECK(strstr(what, "RLIMIT_NOFILE is ") != NULL);
	CHECK(is_unmade(&made[0]));
	return 0;
}

static void
too_few_descriptors_are_told_with_the_limit(void **state)
{
	(void)state;
	in_child(too_few_descriptors);
}

static void
thousands_of_regions_are_made_at_once(void **state)
{
	enum { THOUSANDS = 2000 };
	static struct region_made lot[THOUSANDS];
	static const struct region_settings *same[THOUSANDS];
	unsigned before = count_fds();
	struct rlimit limit;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_max < 3 * THOUSANDS)
		skip_as("RLIMIT_NOFILE is too low");
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (unsigned i = 0; i < THOUSANDS; i++)
		same[i] = spec;
	assert_int_equal(
	    regions_make(same, lot, THOUSANDS, NULL, NULL, &what, &which), 0);
	assert_int_equal(count_fds(), before + 2 * THOUSANDS);
	for (unsigned i = 0; i < THOUSANDS; i++)
		region_unmake(&lot[i]);
}

/* --- images -------------------------------------------------------------- */

static void
an_image_is_loaded_and_zeros_are_behind_it(void **state)
{
	static unsigned char bytes[PAGE + 100];

	(void)state;
	memset(bytes, 'i', sizeof(bytes));
	assert_int_equal(write(image_fd, bytes, sizeof(bytes)), sizeof(bytes));
	spec->image = image;
	make(1, 0);
	expect_bytes(made->fd, 0, PAGE, 'i');
	expect_bytes(made->fd, PAGE, 100, 'i');
	expect_bytes(made->fd, PAGE + 100, PAGE, 0);
	/* A copy: the image may change. */
	assert_int_equal(pwrite(image_fd, "j", 1, 0), 1);
	expect_bytes(made->fd, 0, 1, 'i');
}

static void
an_image_fits_up_to_the_last_byte(void **state)
{
	(void)state;
	spec->image = image;
	assert_int_equal(ftruncate(image_fd, 4 * PAGE), 0);
	assert_int_equal(pwrite(image_fd, "e", 1, 4 * PAGE - 1), 1);
	make(1, 0);
	expect_bytes(made->fd, 4 * PAGE - 1, 1, 'e');
	region_unmake(made);
	assert_int_equal(ftruncate(image_fd, 4 * PAGE + 1), 0);
	make(1, -EFBIG);
	expect_said("has 16385 bytes, more than the 16K of the region");
}

static void
an_image_is_larger_than_one_chunk(void **state)
{
	const uint64_t size = 200 * MEG;

	(void)state;
	spec->image = image;
	spec->size = size;
	assert_int_equal(ftruncate(image_fd, (off_t)size), 0);
	for (uint64_t at = 0; at < size; at += 8 * MEG - PAGE)
		assert_int_equal(pwrite(image_fd, "chunk", 5, (off_t)at), 5);
	make(1, 0);
	for (uint64_t at = 0; at < size; at += 8 * MEG - PAGE)
		expect_bytes(made->fd, (off_t)at, 1, 'c');
}

static void
take_digest(unsigned char digest[static SETTINGS_SHA256])
{
	static unsigned char buf[PAGE];
	struct sha256_ctx sha;
	ssize_t n;

	sha256_init(&sha);
	for (off_t at = 0; (n = pread(image_fd, buf, sizeof(buf), at)) > 0;
	     at += n)
		sha256_update(&sha, (size_t)n, buf);
	sha256_digest(&sha, SETTINGS_SHA256, digest);
}

static void
holes_of_an_image_stay_holes(void **state)
{
	const off_t far = (off_t)64 << 20;

	(void)state;
	spec->image = image;
	spec->size = 128 * MEG;
	spec->has_sha256 = true;
	assert_int_equal(pwrite(image_fd, "a", 1, 0), 1);
	assert_int_equal(pwrite(image_fd, "b", 1, far), 1);
	assert_int_equal(ftruncate(image_fd, (off_t)100 << 20), 0);
	take_digest(spec->sha256);
	make(1, 0);
	expect_bytes(made->fd, 0, 1, 'a');
	expect_bytes(made->fd, far, 1, 'b');
	expect_bytes(made->fd, far / 2, PAGE, 0);
	assert_true(allocated(made->fd) < 8 * MEG);
}

static void
an_image_is_the_one_of_its_sha256_or_not_served(void **state)
{
	/* Of "abc", FIPS 180-4's own example. */
	static const unsigned char abc[SETTINGS_SHA256] = { 0xba, 0x78, 0x16,
		0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d,
		0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a,
		0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad };

	(void)state;
	assert_int_equal(write(image_fd, "abc", 3), 3);
	spec->image = image;
	spec->has_sha256 = true;
	memcpy(spec->sha256, abc, sizeof(abc));
	make(1, 0);
	region_unmake(made);
	spec->sha256[31] = 0xac;
	make(1, -EBADMSG);
	expect_said("SHA-256 is ba7816bf8f01cfea414140de5dae2223b00361a396177a9"
		    "cb410ff61f20015ad, and should be ba7816bf8f01cfea414140de5"
		    "dae2223b00361a396177a9cb410ff61f20015ac: ");
	expect_said(image);
}

static void
an_image_that_changes_while_it_is_loaded_is_refused(void **state)
{
	static const unsigned char bytes[3 * PAGE] = { 'b' };
	struct region_source source;
	struct region_fill fill = { .spec = spec, .source = &source };
	struct child_job job = { .arg = &fill };
	struct reason reason;
	AUTO_FD int to = make_memfd(4 * PAGE);

	(void)state;
	spec->image = image;
	fill.fd = to;
	assert_int_equal(write(image_fd, bytes, sizeof(bytes)), sizeof(bytes));
	fill.image_fd = region_image_open(image, &source);
	assert_true(fill.image_fd >= 0);
	assert_int_equal(region_fill_load(&job, &reason), 0);
	source.mtime.tv_nsec ^= 1;
	assert_int_equal(region_fill_load(&job, &reason), -ESTALE);
	assert_non_null(strstr(reason.text, "changed while it was loaded"));
	source.mtime.tv_nsec ^= 1;
	assert_int_equal(ftruncate(image_fd, PAGE), 0);
	assert_int_equal(region_fill_load(&job, &reason), -ESTALE);
	fd_closep(&fill.image_fd);
}

static void
only_readable_regular_files_with_content_are_images(void **state)
{
	static const struct {
		const char *path;
		int rc;
	} cases[] = {
		{ "/", -EISDIR },
		{ "/dev/null", -EINVAL },
		{ "/dev/zero", -EINVAL },
		{ "/nonexistent/image", -ENOENT },
		{ "", -ENOENT },
	};
	uint64_t size;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(
		    region_image_size(cases[i].path, &size), cases[i].rc);
		spec->image = cases[i].path;
		make(1, cases[i].rc);
	}
	spec->image = image;
	assert_int_equal(region_image_size(image, &size), -ENODATA);
	make(1, -ENODATA);
	expect_said("image is empty");
	/* A FIFO that nobody writes to does not hold us up. */
	assert_int_equal(mkfifo(file, 0600), 0);
	assert_int_equal(region_image_size(file, &size), -EINVAL);
	assert_int_equal(unlink(file), 0);
	/* A symbolic link is an image. */
	assert_int_equal(write(image_fd, "abc", 3), 3);
	assert_int_equal(symlink(image, file), 0);
	assert_int_equal(region_image_size(file, &size), 0);
	assert_int_equal(size, 3);
}

static void
a_new_image_is_noticed(void **state)
{
	(void)state;
	assert_int_equal(write(image_fd, "abc", 3), 3);
	spec->image = image;
	make(1, 0);
	assert_false(region_source_changed(made, spec));
	/* Another file of the same name; the same file, written to; none. */
	assert_int_equal(rename(image, file), 0);
	assert_true(region_source_changed(made, spec));
	assert_int_equal(rename(file, image), 0);
	assert_false(region_source_changed(made, spec));
	assert_int_equal(pwrite(image_fd, "abcd", 4, 0), 4);
	assert_true(region_source_changed(made, spec));
	spec->image = NULL;
	assert_false(region_source_changed(made, spec));
}

/* --- memory that is there ------------------------------------------------ */

static void
preallocated_memory_is_all_there(void **state)
{
	const uint64_t size = 600 * MEG + 4 * PAGE; /* of several slices */

	(void)state;
	assert_int_equal(write(image_fd, "abc", 3), 3);
	spec[0].prealloc = true;
	spec[0].size = size;
	spec[0].image = image;
	spec[1].prealloc = true;
	spec[1].access = MEMORY_READ_ONLY;
	make(MANY, 0);
	assert_int_equal(allocated(made[0].fd), size);
	expect_bytes(made[0].fd, 0, 1, 'a');
	expect_bytes(made[0].fd, 3, PAGE, 0);
	assert_int_equal(allocated(made[1].fd), 4 * PAGE);
	assert_int_equal(allocated(made[2].fd), 0);
}

/* A memory cgroup of our own with 64 MiB; false if there can be none. */
static char cgroup[128];

static bool
write_file(const char *where, const char *name, const char *text)
{
	char path[256];
	AUTO_FD int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s", where, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, text, strlen(text)) > 0;
}

static bool
enter_cgroup(const char *parent, const char *limit)
{
	(void)snprintf(
	    cgroup, sizeof(cgroup), "%s/unit-region-%d", parent, getppid());
	if (mkdir(cgroup, 0755) < 0)
		return false;
	return write_file(cgroup, limit, "67108864") &&
	       write_file(cgroup, "cgroup.procs", "0");
}

static int
in_a_cgroup_of_too_little_memory(void)
{
	if (!enter_cgroup("/sys/fs/cgroup/memory", "memory.limit_in_bytes") &&
	    !enter_cgroup("/sys/fs/cgroup", "memory.max"))
		return SKIP;
	spec->prealloc = true;
	spec->size = 300 * MEG;
	CHECK(
	    regions_make(specs, made, 1, NULL, NULL, &what, &which) == -ENOMEM);
	CHECK(strstr(what, "too little memory, or the cgroup") != NULL ||
	      strstr(what, "allocating its memory") != NULL);
	CHECK(is_unmade(made));
	/* What fits is made there as ever. */
	spec->size = 16 * MEG;
	CHECK(regions_make(specs, made, 1, NULL, NULL, &what, &which) == 0);
	return 0;
}

/* There, so that nobody else dies of it if it is not refused. */
static int
of_more_memory_than_there_is(void)
{
	if (!enter_cgroup("/sys/fs/cgroup/memory", "memory.limit_in_bytes") &&
	    !enter_cgroup("/sys/fs/cgroup", "memory.max"))
		return SKIP;
	spec[1].prealloc = true;
	spec[1].size = UINT64_C(1) << 46;
	CHECK(regions_make(specs, made, MANY, NULL, NULL, &what, &which) ==
	      -ENOMEM);
	CHECK(which == 1 && is_unmade(&made[0]));
	CHECK(
	    strstr(what,
		"unit1: 64T of memory are wanted, and the host has ") != NULL);
	return 0;
}

static void
more_memory_than_the_host_has_is_refused(void **state)
{
	(void)state;
	if (!root())
		skip_as("not root");
	in_child(of_more_memory_than_there_is);
}

static void
a_cgroup_that_is_full_is_an_error_and_no_end(void **state)
{
	(void)state;
	if (!root())
		skip_as("not root");
	in_child(in_a_cgroup_of_too_little_memory);
}

static unsigned long
locked_kib(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	unsigned long kib = 0;
	char line[256];

	assert_non_null(status);
	while (fgets(line, sizeof(line), status) != NULL)
		if (strncmp(line, "VmLck:", 6) == 0)
			kib = strtoul(line + 6, NULL, 10);
	assert_int_equal(fclose(status), 0);
	return kib;
}

static void __attribute__((unused))
locked_memory_stays_locked_until_the_region_ends(void **state)
{
	unsigned long before = locked_kib();

	(void)state;
	spec[0].lock = true;
	spec[0].size = MEG;
	spec[1].lock = true;
	spec[1].access = MEMORY_READ_ONLY;
	make(2, 0);
	assert_non_null(made->locked);
	assert_int_equal(allocated(made->fd), MEG);
	assert_int_equal(locked_kib(), before + 1024 + 16);
	region_unmake(&made[0]);
	region_unmake(&made[1]);
	assert_int_equal(locked_kib(), before);
}

static int
lock_too_much(void)
{
	struct rlimit limit = { 8192, 8192 };

	CHECK(!root() || (setgroups(0, NULL) == 0 && setuid(65534) == 0));
	CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
	spec->lock = true;
	CHECK(
	    regions_make(specs, made, 1, NULL, NULL, &what, &which) == -ENOMEM);
	CHECK(strstr(what, "RLIMIT_MEMLOCK is 8K") != NULL);
	CHECK(is_unmade(made));
	CHECK(locked_kib() == 0);
	return 0;
}

static void __attribute__((unused))
what_may_not_be_locked_is_told_with_the_limit(void **state)
{
	(void)state;
	in_child(lock_too_much);
}

static unsigned looks;

static int
look(void *ctx)
{
	looks++;
	return *(const int *)ctx;
}

static void
somebody_is_looked_after_while_regions_are_filled(void **state)
{
	int result = 0, pair[2];
	struct idle idle = { .ready = look, .ctx = &result };

	(void)state;
	assert_int_equal(pipe(pair), 0);
	assert_int_equal(write(pair[1], "x", 1), 1);
	idle.fd = pair[0];
	looks = 0;
	spec->prealloc = true;
	spec->size = 64 * MEG;
	assert_int_equal(
	    regions_make(specs, made, 1, NULL, &idle, &what, &which), 0);
	assert_true(looks > 0);
	region_unmake(made);
	/* And it can say that it is enough. */
	result = -ECANCELED;
	assert_int_equal(
	    regions_make(specs, made, 1, NULL, &idle, &what, &which),
	    -ECANCELED);
	assert_true(is_unmade(made));
	fd_closep(&pair[0]);
	fd_closep(&pair[1]);
}

/* --- nodes --------------------------------------------------------------- */

/* The policy that anybody has who maps it. */
static int
policy_of(int fd, unsigned long *nodes)
{
	int mode = -1;
	void *at = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	unsigned long mask[16] = { 0 };

	assert_ptr_not_equal(at, MAP_FAILED);
	assert_int_equal(syscall(SYS_get_mempolicy, &mode, mask,
			     8 * sizeof(mask), at, MPOL_F_ADDR),
	    0);
	assert_int_equal(munmap(at, PAGE), 0);
	*nodes = mask[0];
	return mode;
}

static bool
has_nodes(void)
{
	int mode;

	return syscall(SYS_get_mempolicy, &mode, NULL, 0UL, NULL, 0UL) == 0 &&
	       access("/sys/devices/system/node/node0", F_OK) == 0;
}

static void
memory_of_a_node_is_so_for_everybody(void **state)
{
	unsigned long nodes;

	(void)state;
	if (!has_nodes())
		skip_as("this kernel knows nothing of NUMA");
	spec->numa_node = 0;
	make(2, 0);
	assert_int_equal(policy_of(made[0].read_fd, &nodes), MPOL_BIND);
	assert_int_equal(nodes, 1);
	assert_int_equal(allocated(made[0].fd), 0);
	assert_int_equal(policy_of(made[1].read_fd, &nodes), MPOL_DEFAULT);
}

static void
a_node_that_is_not_there_is_told_with_those_that_are(void **state)
{
	static const int nodes[] = { 1023, 1024, INT_MAX };

	(void)state;
	if (!has_nodes())
		skip_as("this kernel knows nothing of NUMA");
	for (unsigned i = 0; i < ARRAY_LEN(nodes); i++) {
		spec->numa_node = nodes[i];
		make(1, -EINVAL);
		expect_said("there is no such node");
		expect_said("nodes with memory: 0");
	}
}

/* --- huge pages ---------------------------------------------------------- */

#define HUGE_SYS "/sys/kernel/mm/hugepages/hugepages-2048kB"

static unsigned long
huge_read(const char *name)
{
	char path[128], text[24] = "";
	AUTO_FD int fd = -1;

	(void)snprintf(path, sizeof(path), HUGE_SYS "/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return 0;
	return strtoul(text, NULL, 10);
}

/* Those that nobody has or was promised. */
static unsigned long
huge_free(void)
{
	return huge_read("free_hugepages") - huge_read("resv_hugepages");
}

static int huge_lock = -1;
static unsigned long huge_before;

static bool
huge_set(unsigned long n)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%lu", n);
	return write_file(HUGE_SYS, "nr_hugepages", text);
}

/* Have exactly n free huge pages. They are the whole host's: one test at a
 * time. Skips if the kernel gives none. */
static void
huge_pages(unsigned long n)
{
	if (!root())
		skip_as("not root");
	/* The same for everybody, also in another root. */
	huge_lock = open(
	    "/sys/kernel/mm/hugepages", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (huge_lock < 0)
		skip_as("the kernel knows no huge pages");
	assert_int_equal(flock(huge_lock, LOCK_EX), 0);
	huge_before = huge_read("nr_hugepages");
	if (!huge_set(huge_before - huge_free() + n) || huge_free() != n) {
		skip_as("the kernel gives no huge pages");
	}
}

static int
huge_teardown(void **state)
{
	for (unsigned i = 0; i < MANY; i++)
		if (made[i].fd != 99)
			region_unmake(&made[i]);
	if (huge_lock >= 0)
		(void)huge_set(huge_before);
	fd_closep(&huge_lock);
	return teardown(state);
}

#define HUGE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, huge_teardown)

static void
huge_pages_are_reserved_until_the_region_ends(void **state)
{
	(void)state;
	huge_pages(5);
	spec->hugepages = HUGE_PAGE;
	spec->size = 4 * HUGE_PAGE;
	make(1, 0);
	assert_int_equal(huge_free(), 1);
	assert_int_equal(huge_read("resv_hugepages"), 4);
	assert_int_equal(fcntl(made->fd, F_GET_SEALS) &
			     (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
	    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	region_unmake(made);
	assert_int_equal(huge_free(), 5);
}

static void
too_few_huge_pages_are_told_with_what_to_do(void **state)
{
	char wanted[160];

	(void)state;
	huge_pages(5);
	for (unsigned i = 0; i < 2; i++) {
		spec[i].hugepages = HUGE_PAGE;
		spec[i].size = 4 * HUGE_PAGE;
	}
	make(2, -ENOMEM);
	assert_int_equal(which, 1);
	(void)snprintf(wanted, sizeof(wanted),
	    "4 huge pages of 2M are wanted, 1 are free: write %lu to " HUGE_SYS
	    "/nr_hugepages",
	    huge_read("nr_hugepages") + 3);
	expect_said(wanted);
	assert_int_equal(huge_free(), 5);
}

static void
an_image_is_loaded_into_huge_pages(void **state)
{
	(void)state;
	huge_pages(4);
	assert_int_equal(pwrite(image_fd, "abc", 3, 0), 3);
	assert_int_equal(pwrite(image_fd, "d", 1, 3 * MEG), 1);
	for (unsigned i = 0; i < 2; i++) {
		spec[i].hugepages = HUGE_PAGE;
		spec[i].size = 2 * HUGE_PAGE;
		spec[i].image = image;
		spec[i].has_sha256 = true;
		take_digest(spec[i].sha256);
	}
	spec[1].access = MEMORY_READ_ONLY;
	make(2, 0);
	for (unsigned i = 0; i < 2; i++) {
		expect_bytes(made[i].fd, 0, 1, 'a');
		expect_bytes(made[i].fd, 3, PAGE, 0);
		expect_bytes(made[i].fd, 3 * MEG, 1, 'd');
	}
	expect_not_writable(made[1].fd);
	assert_int_equal(
	    fcntl(made[1].fd, F_GET_SEALS) & F_SEAL_WRITE, F_SEAL_WRITE);
	region_unmake(&made[0]);
	region_unmake(&made[1]);
	spec[1].sha256[0] ^= 1;
	make(2, -EBADMSG);
}

static void
huge_pages_of_a_node_or_preallocated_are_there(void **state)
{
	(void)state;
	huge_pages(6);
	for (unsigned i = 0; i < MANY; i++) {
		spec[i].hugepages = HUGE_PAGE;
		spec[i].size = 2 * HUGE_PAGE;
	}
	spec[0].prealloc = true;
	spec[1].numa_node = has_nodes() ? 0 : -1;
	spec[2].lock = true;
	make(MANY, 0);
	assert_int_equal(allocated(made[0].fd), 2 * HUGE_PAGE);
	assert_int_equal(
	    allocated(made[1].fd), has_nodes() ? 2 * HUGE_PAGE : 0);
	assert_int_equal(allocated(made[2].fd), 2 * HUGE_PAGE);
	assert_null(made[2].locked);
}

static void
erased_huge_pages_are_zeros_and_stay_ours(void **state)
{
	static const enum settings_release releases[] = { RELEASE_ZERO,
		RELEASE_DISCARD };
	const uint64_t size = 10 * HUGE_PAGE;
	unsigned char *at;

	(void)state;
	huge_pages(10);
	spec->hugepages = HUGE_PAGE;
	spec->size = size;
	make(1, 0);
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, made->fd, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	for (unsigned i = 0; i < ARRAY_LEN(releases); i++) {
		memset(at, 'o', size / 2);
		assert_int_equal(
		    region_erase(made->fd, size, releases[i], NULL, &what), 0);
		for (uint64_t k = 0; k < size; k += PAGE)
			expect_bytes(made->read_fd, (off_t)k, PAGE, 0);
		assert_int_equal(huge_free(), 0);
	}
	assert_int_equal(munmap(at, size), 0);
}

static void
a_size_of_huge_pages_that_no_cpu_has_is_told(void **state)
{
	(void)state;
	spec->hugepages = 128 * MEG;
	spec->size = 128 * MEG;
	make(1, -ENODEV);
	expect_said("hugepages = 128M: this host has none of that size");
}

/* --- files --------------------------------------------------------------- */

static void
make_file(const char *path, uint64_t size)
{
	AUTO_FD int fd =
	    open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);

	assert_true(fd >= 0);
	if (size != 0)
		assert_int_equal(fallocate(fd, 0, 0, (off_t)size), 0);
}

static void
use_file(void)
{
	for (unsigned i = 0; i < MANY; i++)
		spec[i].file = file;
}

static void
a_file_is_the_region(void **state)
{
	struct stat st;
	uint64_t size;

	(void)state;
	use_file();
	make_file(file, 4 * PAGE);
	make(1, 0);
	assert_int_equal(fcntl(made->fd, F_GETFL) & O_ACCMODE, O_RDWR);
	assert_int_equal(fcntl(made->fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_true(same_file(made->fd, made->read_fd));
	assert_true(same_file(made->fd, made->lock_fd));
	expect_not_writable(made->read_fd);
	assert_int_equal(pwrite(made->fd, "f", 1, 0), 1);
	region_unmake(made);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(region_file_size(file, &size), 0);
	assert_int_equal(size, 4 * PAGE);
	/* Written and there again, as one that nobody writes. */
	spec->access = MEMORY_READ_ONLY;
	make(1, 0);
	expect_not_writable(made->fd);
	expect_bytes(made->fd, 0, 1, 'f');
	assert_int_equal(fcntl(made->lock_fd, F_GETFL) & O_ACCMODE, O_RDONLY);
}

static void
a_file_has_the_size_of_its_region(void **state)
{
	(void)state;
	use_file();
	make_file(file, 3 * PAGE);
	make(1, -ENODATA);
	expect_said("has 12K bytes, and the region 16K; create = yes");
	spec->size = 2 * PAGE;
	make(1, -EFBIG);
	expect_said("front-ends would get all of the file");
	spec->create = true;
	make(1, -EFBIG);
}

static void
a_file_is_created_or_made_longer_with_room_on_its_disk(void **state)
{
	struct stat st;

	(void)state;
	use_file();
	make(1, -ENOENT);
	expect_said("create = yes makes it");
	spec->create = true;
	spec->size = MEG;
	make(1, 0);
	assert_int_equal(fstat(made->fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, MEG);
	assert_true(allocated(made->fd) >= MEG);
	assert_int_equal(pwrite(made->fd, "old", 3, 0), 3);
	region_unmake(made);
	spec->size = 3 * MEG;
	make(1, 0);
	assert_true(allocated(made->fd) >= 3 * MEG);
	expect_bytes(made->fd, 0, 1, 'o');
	assert_int_equal(made->source.size, 3 * MEG);
}

static void
holes_of_a_file_stay_unless_it_is_preallocated(void **state)
{
	(void)state;
	use_file();
	make_file(file, 0);
	spec->size = MEG;
	assert_int_equal(truncate(file, (off_t)MEG), 0);
	make(1, 0);
	assert_int_equal(allocated(made->fd), 0);
	region_unmake(made);
	spec->prealloc = true;
	make(1, 0);
	assert_true(allocated(made->fd) >= MEG);
}

static void
only_regular_files_themselves_are_regions(void **state)
{
	uint64_t size;

	(void)state;
	use_file();
	make_file(file, 4 * PAGE);
	assert_int_equal(unlink(image), 0);
	assert_int_equal(symlink(file, image), 0);
	spec->file = image;
	spec->create = true;
	make(1, -ELOOP);
	expect_said("image is a symbolic link; name the file itself");
	assert_int_equal(region_file_size(image, &size), -ELOOP);
	spec->file = "/dev/null";
	make(1, -EINVAL);
	expect_said("/dev/null is not a regular file");
	spec->file = dir;
	make(1, -EISDIR);
	spec->file = "/nonexistent/file";
	make(1, -ENOENT);
	expect_said("making /nonexistent/file: ");
}

static void
a_file_that_cannot_be_mapped_is_refused(void **state)
{
	(void)state;
	spec->file = "/sys/kernel/uevent_seqnum";
	spec->size = PAGE;
	spec->access = MEMORY_READ_ONLY;
	if (access(spec->file, R_OK) < 0)
		skip_as("no such file here");
	make(1, -ENODEV);
	expect_said("cannot share it in memory (mmap)");
}

/* As QEMU has an image (block/file-posix.c): a byte for each permission that
 * it uses, from 100 on, and for each that it does not share, from 200 on. */
static int
qemu_lock(int fd, int command, short type, off_t byte)
{
	struct flock lock = { .l_type = type,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1 };

	if (fcntl(fd, command, &lock) < 0)
		return -errno;
	return command == F_OFD_GETLK && lock.l_type != F_UNLCK ? -EAGAIN : 0;
}

static void
a_file_is_for_one_writer(void **state)
{
	(void)state;
	use_file();
	make_file(file, 4 * PAGE);
	make(1, 0);
	for (unsigned i = 0; i < 2; i++) {
		struct region_made second;
		const struct region_settings *again = &spec[1];

		spec[1].access = i == 0 ? MEMORY_READ_WRITE : MEMORY_READ_ONLY;
		assert_int_equal(
		    regions_make(&again, &second, 1, NULL, NULL, &what, &which),
		    -EAGAIN);
		expect_said("is locked by another program");
	}
	region_unmake(made);
	make(1, 0);
	region_unmake(made);
	/* Nor twice at a time. */
	spec[1].access = MEMORY_READ_WRITE;
	make(2, -EAGAIN);
	assert_int_equal(which, 1);
}

static void
a_file_that_is_read_is_for_all_who_read(void **state)
{
	(void)state;
	use_file();
	make_file(file, 4 * PAGE);
	spec[0].access = spec[1].access = MEMORY_READ_ONLY;
	make(2, 0);
	region_unmake(&made[0]);
	region_unmake(&made[1]);
	make(3, -EAGAIN);
	assert_int_equal(which, 2);
}

static void
the_lock_is_not_that_of_the_descriptor_that_is_given_away(void **state)
{
	AUTO_FD int given = -1;

	(void)state;
	use_file();
	make_file(file, 4 * PAGE);
	make(1, 0);
	given = fcntl(made->fd, F_DUPFD_CLOEXEC, 0);
	region_unmake(made);
	make(1, 0);
}

static void
qemu_does_not_get_a_file_that_is_a_region(void **state)
{
	AUTO_FD int qemu = -1;

	(void)state;
	use_file();
	make_file(file, 4 * PAGE);
	qemu = open(file, O_RDWR | O_CLOEXEC);
	make(1, 0);
	for (off_t byte = 100; byte < 104; byte++) {
		assert_int_equal(
		    qemu_lock(qemu, F_OFD_SETLK, F_RDLCK, byte), -EAGAIN);
		assert_int_equal(
		    qemu_lock(qemu, F_OFD_GETLK, F_WRLCK, byte + 100), -EAGAIN);
	}
	region_unmake(made);
	/* Of one that is only read it gets no part that it would write. */
	spec->access = MEMORY_READ_ONLY;
	make(1, 0);
	assert_int_equal(qemu_lock(qemu, F_OFD_GETLK, F_WRLCK, 201), -EAGAIN);
}

static void
a_file_that_qemu_has_is_no_region(void **state)
{
	AUTO_FD int qemu = -1;

	(void)state;
	use_file();
	make_file(file, 4 * PAGE);
	qemu = open(file, O_RDWR | O_CLOEXEC);
	assert_int_equal(qemu_lock(qemu, F_OFD_SETLK, F_RDLCK, 101), 0);
	make(1, -EAGAIN);
	fd_closep(&qemu);
	make(1, 0);
}

static void __attribute__((unused)) a_locked_file_is_in_memory(void **state)
{
	unsigned long before = locked_kib();

	(void)state;
	use_file();
	make_file(file, 4 * PAGE);
	spec->lock = true;
	make(1, 0);
	assert_int_equal(locked_kib(), before + 16);
	region_unmake(made);
	assert_int_equal(locked_kib(), before);
}

/* Another file system at dir, that nobody else sees. */
static bool
mount_own(const char *type, const char *options)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("unit", dir, type, 0, options) == 0;
}

static int
on_a_full_disk(void)
{
	struct stat st;

	if (!mount_own("tmpfs", "size=1m"))
		return SKIP;
	use_file();
	spec->create = true;
	spec->size = 4 * MEG;
	CHECK(
	    regions_make(specs, made, 1, NULL, NULL, &what, &which) == -ENOSPC);
	CHECK(strstr(what, "setting space aside for ") != NULL);
	CHECK(access(file, F_OK) < 0);
	/* One that was there is as it was. */
	make_file(file, 4 * PAGE);
	CHECK(
	    regions_make(specs, made, 1, NULL, NULL, &what, &which) == -ENOSPC);
	CHECK(stat(file, &st) == 0 && st.st_size == 4 * PAGE);
	/* Holes are filled or it is an error. */
	CHECK(truncate(file, (off_t)spec->size) == 0);
	spec->prealloc = true;
	CHECK(
	    regions_make(specs, made, 1, NULL, NULL, &what, &which) == -ENOSPC);
	CHECK(stat(file, &st) == 0 && st.st_size == (off_t)spec->size);
	return 0;
}

static void
a_full_disk_is_an_error_from_the_start(void **state)
{
	(void)state;
	if (!root())
		skip_as("not root");
	in_child(on_a_full_disk);
}

static int
without_fallocate(void)
{
	if (!mount_own("ramfs", NULL))
		return SKIP;
	use_file();
	spec->create = true;
	CHECK(regions_make(specs, made, 1, NULL, NULL, &what, &which) ==
	      -EOPNOTSUPP);
	CHECK(strstr(what, "cannot set space aside (fallocate)") != NULL);
	CHECK(access(file, F_OK) < 0);
	make_file(file, 0);
	CHECK(truncate(file, 4 * PAGE) == 0);
	CHECK(regions_make(specs, made, 1, NULL, NULL, &what, &which) == 0);
	/* What cannot be given back is made zeros all the same. */
	CHECK(pwrite(made->fd, "old", 3, PAGE) == 3);
	CHECK(region_erase(
		  made->fd, made->size, RELEASE_DISCARD, NULL, &what) == 0);
	{
		char byte = 'x';

		CHECK(pread(made->fd, &byte, 1, PAGE) == 1 && byte == 0);
	}
	return 0;
}

static void
a_file_system_that_cannot_set_space_aside_is_told(void **state)
{
	(void)state;
	if (!root())
		skip_as("not root");
	in_child(without_fallocate);
}

/* --- files that change --------------------------------------------------- */

static int watch_fd = -1;

static bool
news(void)
{
	struct region_made *const all[] = { &made[0], &made[1] };

	return region_watch_ready(watch_fd, specs, all, 2);
}

static void
watch_file(void)
{
	use_file();
	make_file(file, 4 * PAGE);
	make(2, -EAGAIN);
	spec[1].file = NULL;
	make(2, 0);
	watch_fd = region_watch_open();
	assert_true(watch_fd >= 0);
	assert_int_equal(region_watch(watch_fd, &made[0]), 0);
	assert_true(made[0].watch >= 0);
	assert_int_equal(region_watch(watch_fd, &made[1]), 0);
	assert_int_equal(made[1].watch, -1);
	assert_false(news());
}

static void
watch_ends(void)
{
	region_unwatch(watch_fd, &made[0]);
	assert_int_equal(made[0].watch, -1);
	fd_closep(&watch_fd);
}

static void
a_file_that_becomes_shorter_is_told_once(void **state)
{
	(void)state;
	watch_file();
	assert_int_equal(pwrite(made[0].fd, "w", 1, 0), 1);
	assert_false(news());
	assert_int_equal(truncate(file, PAGE), 0);
	assert_true(news());
	assert_int_equal(made[0].changed, REGION_SHORTER);
	assert_int_equal(truncate(file, 0), 0);
	assert_false(news());
	assert_int_equal(truncate(file, 8 * PAGE), 0);
	assert_true(news());
	assert_int_equal(made[0].changed, REGION_SHORTER | REGION_LONGER);
	assert_int_equal(made[1].changed, 0);
	assert_false(region_check(&made[0], &spec[0]));
	assert_false(region_check(&made[1], &spec[1]));
	watch_ends();
}

static void
a_file_that_goes_elsewhere_is_told_once(void **state)
{
	char other[96];

	(void)state;
	(void)snprintf(other, sizeof(other), "%s/other", dir);
	watch_file();
	assert_false(region_source_changed(&made[0], &spec[0]));
	assert_int_equal(rename(file, other), 0);
	assert_true(news());
	assert_int_equal(made[0].changed, REGION_MOVED);
	assert_true(region_source_changed(&made[0], &spec[0]));
	assert_int_equal(unlink(other), 0);
	assert_false(news());
	watch_ends();
}

static void
a_file_that_is_replaced_is_told(void **state)
{
	(void)state;
	watch_file();
	assert_int_equal(rename(image, file), 0);
	assert_true(news());
	assert_int_equal(made[0].changed, REGION_MOVED);
	assert_true(region_source_changed(&made[0], &spec[0]));
	watch_ends();
}

/* --- to erase ------------------------------------------------------------ */

static void
erase(enum settings_release release, uint64_t size)
{
	uint64_t before;

	assert_int_equal(pwrite(made->fd, "first", 5, 0), 5);
	assert_int_equal(pwrite(made->fd, "last", 4, (off_t)size - 4), 4);
	before = allocated(made->fd);
	assert_int_equal(region_erase(made->fd, size, release, NULL, &what), 0);
	if (release == RELEASE_KEEP) {
		expect_bytes(made->fd, 0, 1, 'f');
		expect_bytes(made->fd, (off_t)size - 1, 1, 't');
	} else {
		expect_bytes(made->fd, 0, PAGE, 0);
		expect_bytes(made->fd, (off_t)size - PAGE, PAGE, 0);
	}
	assert_int_equal(
	    allocated(made->fd), release == RELEASE_DISCARD ? 0 : before);
}

static void
an_erased_region_is_zeros_and_has_its_memory_or_gives_it_back(void **state)
{
	/* Without a child, and with one. */
	static const uint64_t sizes[] = { 4 * PAGE, 80 * MEG };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		spec->size = sizes[i];
		spec->prealloc = i == 1;
		make(1, 0);
		erase(RELEASE_KEEP, sizes[i]);
		erase(RELEASE_ZERO, sizes[i]);
		erase(RELEASE_DISCARD, sizes[i]);
		region_unmake(made);
	}
}

static void
an_erased_region_stays_locked(void **state)
{
	static unsigned char resident[256];

	(void)state;
	spec->size = MEG;
	spec->lock = true;
	make(1, 0);
	erase(RELEASE_ZERO, MEG);
	assert_int_equal(mincore(made->locked, MEG, resident), 0);
	for (unsigned i = 0; i < MEG / PAGE; i++)
		assert_int_equal(resident[i] & 1, 1);
}

static void
what_cannot_be_erased_is_told(void **state)
{
	(void)state;
	spec->access = MEMORY_READ_ONLY;
	spec->prealloc = true;
	make(1, 0);
	assert_int_equal(
	    region_erase(made->fd, made->size, RELEASE_DISCARD, NULL, &what),
	    -EBADF);
	expect_said("punching a hole: ");
	assert_int_equal(
	    region_erase(made->fd, made->size, RELEASE_ZERO, NULL, &what),
	    -EBADF);
	assert_int_equal(
	    region_erase(-1, PAGE, RELEASE_ZERO, NULL, &what), -EBADF);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		REGION_TEST(no_region_is_made_of_nothing),
		REGION_TEST(a_region_is_a_named_memfd_of_its_size),
		REGION_TEST(there_is_always_a_descriptor_for_reading_only),
		REGION_TEST(the_longest_name_fits),
		REGION_TEST(size_and_seals_are_final_and_content_is_not),
		REGION_TEST(what_is_only_read_has_no_writer_left),
		REGION_TEST(a_size_that_no_file_can_have_is_refused),
		REGION_TEST(all_regions_are_made_or_none),
		REGION_TEST(too_few_descriptors_are_told_with_the_limit),
		REGION_TEST(thousands_of_regions_are_made_at_once),
		REGION_TEST(an_image_is_loaded_and_zeros_are_behind_it),
		REGION_TEST(an_image_fits_up_to_the_last_byte),
		REGION_TEST(an_image_is_larger_than_one_chunk),
		REGION_TEST(holes_of_an_image_stay_holes),
		REGION_TEST(an_image_is_the_one_of_its_sha256_or_not_served),
		REGION_TEST(
		    an_image_that_changes_while_it_is_loaded_is_refused),
		REGION_TEST(
		    only_readable_regular_files_with_content_are_images),
		REGION_TEST(a_new_image_is_noticed),
		REGION_TEST(preallocated_memory_is_all_there),
		REGION_TEST(more_memory_than_the_host_has_is_refused),
		REGION_TEST(a_cgroup_that_is_full_is_an_error_and_no_end),
		REGION_TEST(somebody_is_looked_after_while_regions_are_filled),
		REGION_TEST(memory_of_a_node_is_so_for_everybody),
		REGION_TEST(
		    a_node_that_is_not_there_is_told_with_those_that_are),
		HUGE_TEST(huge_pages_are_reserved_until_the_region_ends),
		HUGE_TEST(too_few_huge_pages_are_told_with_what_to_do),
		HUGE_TEST(an_image_is_loaded_into_huge_pages),
		HUGE_TEST(huge_pages_of_a_node_or_preallocated_are_there),
		HUGE_TEST(erased_huge_pages_are_zeros_and_stay_ours),
		REGION_TEST(a_size_of_huge_pages_that_no_cpu_has_is_told),
		REGION_TEST(a_file_is_the_region),
		REGION_TEST(a_file_has_the_size_of_its_region),
		REGION_TEST(
		    a_file_is_created_or_made_longer_with_room_on_its_disk),
		REGION_TEST(holes_of_a_file_stay_unless_it_is_preallocated),
		REGION_TEST(only_regular_files_themselves_are_regions),
		REGION_TEST(a_file_that_cannot_be_mapped_is_refused),
		REGION_TEST(a_file_is_for_one_writer),
		REGION_TEST(a_file_that_is_read_is_for_all_who_read),
		REGION_TEST(
		    the_lock_is_not_that_of_the_descriptor_that_is_given_away),
		REGION_TEST(qemu_does_not_get_a_file_that_is_a_region),
		REGION_TEST(a_file_that_qemu_has_is_no_region),
		REGION_TEST(a_full_disk_is_an_error_from_the_start),
		REGION_TEST(a_file_system_that_cannot_set_space_aside_is_told),
		REGION_TEST(a_file_that_becomes_shorter_is_told_once),
		REGION_TEST(a_file_that_goes_elsewhere_is_told_once),
		REGION_TEST(a_file_that_is_replaced_is_told),
		REGION_TEST(
		    an_erased_region_is_zeros_and_has_its_memory_or_gives_it_back),
		REGION_TEST(an_erased_region_stays_locked),
#ifndef SHMEMD_INSTRUMENTED /* where mlock() does nothing */
		REGION_TEST(locked_memory_stays_locked_until_the_region_ends),
		REGION_TEST(what_may_not_be_locked_is_told_with_the_limit),
		REGION_TEST(a_locked_file_is_in_memory),
#endif
		REGION_TEST(what_cannot_be_erased_is_told),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("region", tests, NULL, NULL);
}
