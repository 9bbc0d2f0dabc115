/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * memory.h: what a new memfd is, that a copy has the content and the holes of
 * what it is of, and that sealed memory stays as it is, whoever opens it how.
 */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "daemon/common/memory.h"
#include "proto/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096
#define SIZE ((off_t)64 << 20)
/* Linux 6.3 */
#define NOEXEC_SEAL 0x0008U
#define SEAL_EXEC 0x0020

static int from = -1, to = -1;
static const char *what;

static int
setup(void **state)
{
	(void)fds_before(state);
	from = memory_create("from", SIZE, &what);
	to = memory_create("to", SIZE, &what);
	return from < 0 || to < 0 ? -1 : 0;
}

static int
teardown(void **state)
{
	fd_closep(&from);
	fd_closep(&to);
	return fds_after(state);
}

#define MEMORY_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void
expect_same(off_t offset, size_t len)
{
	static unsigned char a[PAGE], b[PAGE];

	assert_true(len <= PAGE);
	assert_int_equal(pread(from, a, len, offset), len);
	assert_int_equal(pread(to, b, len, offset), len);
	assert_memory_equal(a, b, len);
}

/* Whether the kernel has memfds that can never be executed. */
static bool
kernel_knows_noexec(void)
{
	AUTO_FD int fd = memfd_create("probe", MFD_CLOEXEC | NOEXEC_SEAL);

	return fd >= 0;
}

static void
memory_is_private_to_its_user_and_not_executable(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, SIZE);
	assert_int_equal(st.st_blocks, 0);
	assert_int_equal(fcntl(to, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(to, F_GETFL) & O_ACCMODE, O_RDWR);
	assert_int_equal(
	    fcntl(to, F_GET_SEALS), kernel_knows_noexec() ? SEAL_EXEC : 0);
}

static void
what_cannot_be_made_is_named(void **state)
{
	char name[300];

	(void)state;
	assert_true(memory_create("large", UINT64_MAX, &what) < 0);
	assert_string_equal(what, "ftruncate");
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(memory_create(name, PAGE, &what), -EINVAL);
	assert_string_equal(what, "memfd_create");
}

static void
a_copy_has_the_content_and_the_holes(void **state)
{
	static const off_t places[] = { 0, 5 * PAGE + 7, SIZE / 2, SIZE - 3 };
	struct stat st;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(places); i++)
		assert_int_equal(pwrite(from, "abc", 3, places[i]), 3);
	assert_int_equal(lseek(from, 12345, SEEK_SET), 12345);
	assert_int_equal(memory_copy(to, from, SIZE), 0);
	for (unsigned i = 0; i < ARRAY_LEN(places); i++)
		expect_same(places[i], 3);
	expect_same(SIZE / 4, PAGE);
	assert_int_equal(fstat(to, &st), 0);
	assert_true(st.st_blocks * 512 <= (off_t)ARRAY_LEN(places) * PAGE);
	assert_int_equal(st.st_size, SIZE);
}

static void
a_copy_of_nothing_but_a_hole_takes_up_nothing(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(memory_copy(to, from, SIZE), 0);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_blocks, 0);
}

static void
a_copy_ends_where_it_was_told_to(void **state)
{
	static const unsigned char bytes[3 * PAGE] = { [0 ... 3 * PAGE - 1] =
							   'x' };
	unsigned char byte = 'y';

	(void)state;
	assert_int_equal(pwrite(from, bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_int_equal(memory_copy(to, from, PAGE + 10), 0);
	expect_same(0, PAGE);
	expect_same(PAGE, 10);
	assert_int_equal(pread(to, &byte, 1, PAGE + 10), 1);
	assert_int_equal(byte, 0);
}

static void
what_cannot_be_copied_is_told(void **state)
{
	AUTO_FD int reading = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(pwrite(from, "abc", 3, 0), 3);
	assert_int_equal(memory_copy(reading, from, SIZE), -EBADF);
	assert_int_equal(memory_copy(to, -1, SIZE), -EBADF);
}

/* Open it once more by /proc. */
static int
reopen(int fd, int flags)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

static void
a_sealed_size_is_final(void **state)
{
	(void)state;
	assert_int_equal(memory_seal(to, false), 0);
	assert_int_equal(fcntl(to, F_GET_SEALS) & ~SEAL_EXEC,
	    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_equal(ftruncate(to, SIZE - PAGE), -1);
	assert_int_equal(ftruncate(to, SIZE + PAGE), -1);
	assert_int_equal(pwrite(to, "a", 1, 0), 1);
	assert_int_equal(memory_seal(to, true), -EPERM);
	assert_int_equal(pwrite(to, "b", 1, 0), 1);
}

static void
sealed_content_is_final_also_for_who_opens_it_anew(void **state)
{
	static const int flags[] = { O_RDONLY, O_RDWR, O_WRONLY };
	char byte = 0;

	(void)state;
	assert_int_equal(pwrite(to, "a", 1, 0), 1);
	assert_int_equal(memory_seal(to, true), 0);
	assert_int_equal(fcntl(to, F_GET_SEALS) & ~SEAL_EXEC,
	    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | F_SEAL_WRITE |
		F_SEAL_FUTURE_WRITE);
	for (unsigned i = 0; i < ARRAY_LEN(flags); i++) {
		AUTO_FD int fd = reopen(to, flags[i]);

		assert_true(fd >= 0);
		assert_int_equal(pwrite(fd, "b", 1, 0), -1);
		assert_int_equal(ftruncate(fd, 0), -1);
		assert_int_equal(
		    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			PAGE),
		    -1);
		assert_ptr_equal(
		    mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0),
		    MAP_FAILED);
	}
	assert_int_equal(pread(to, &byte, 1, 0), 1);
	assert_int_equal(byte, 'a');
}

static void
content_that_somebody_has_mapped_for_writing_is_not_sealed(void **state)
{
	char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, to, 0);

	(void)state;
	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(memory_seal(to, true), -EBUSY);
	assert_int_equal(munmap(map, PAGE), 0);
	assert_int_equal(memory_seal(to, true), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		MEMORY_TEST(memory_is_private_to_its_user_and_not_executable),
		MEMORY_TEST(what_cannot_be_made_is_named),
		MEMORY_TEST(a_copy_has_the_content_and_the_holes),
		MEMORY_TEST(a_copy_of_nothing_but_a_hole_takes_up_nothing),
		MEMORY_TEST(a_copy_ends_where_it_was_told_to),
		MEMORY_TEST(what_cannot_be_copied_is_told),
		MEMORY_TEST(a_sealed_size_is_final),
		MEMORY_TEST(sealed_content_is_final_also_for_who_opens_it_anew),
		MEMORY_TEST(
		    content_that_somebody_has_mapped_for_writing_is_not_sealed),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
