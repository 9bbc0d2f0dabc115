/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * region_spec.h: what a new region is - name, size, mode, seals, content - and
 * which images are taken.
 */
#include "config.h"

#include "fake_host.h"

#include "fd.h"
#include "region_source.h"
#include "region_spec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096

static char image[64];
static int image_fd;
static struct region_spec spec;
static struct region region;
static const char *what;

static int
setup(void **state)
{
	(void)fds_before(state);
	(void)snprintf(image, sizeof(image), "/tmp/unit-region-XXXXXX");
	image_fd = mkostemp(image, O_CLOEXEC);
	if (image_fd < 0)
		return -1;
	spec = (struct region_spec){ .size = 4 * PAGE, .name = "unit" };
	region.fd = 99;
	what = NULL;
	return 0;
}

static int
teardown(void **state)
{
	fd_closep(&region.fd);
	fd_closep(&image_fd);
	(void)unlink(image);
	return fds_after(state);
}

#define REGION_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void
create(int rc)
{
	assert_int_equal(region_create(&region, &spec, &what), rc);
	assert_int_equal(region.fd >= 0, rc == 0);
	if (rc < 0)
		assert_non_null(what);
}

/* The bytes of the region from offset on are all this one. */
static void
expect_bytes(off_t offset, size_t len, int byte)
{
	static unsigned char buf[PAGE];

	assert_true(len <= sizeof(buf));
	assert_int_equal(pread(region.fd, buf, len, offset), len);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(buf[i], byte);
}

static void
a_region_is_a_named_memfd_of_its_size(void **state)
{
	char link[64], name[128] = { 0 };
	struct stat st;

	(void)state;
	create(0);
	assert_int_equal(fstat(region.fd, &st), 0);
	assert_int_equal(st.st_size, 4 * PAGE);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(fcntl(region.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(region.fd, F_GETFL) & O_ACCMODE, O_RDWR);
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", region.fd);
	assert_true(readlink(link, name, sizeof(name) - 1) > 0);
	assert_non_null(strstr(name, "memfd:vhost-shmemd:unit"));
	expect_bytes(0, PAGE, 0);
	assert_string_equal(region.spec.name, "unit");
}

static void
the_longest_name_fits(void **state)
{
	(void)state;
	memset(spec.name, 'n', sizeof(spec.name) - 1);
	spec.name[sizeof(spec.name) - 1] = '\0';
	create(0);
}

static void
size_and_seals_are_final_and_content_is_not(void **state)
{
	int seals;

	(void)state;
	create(0);
	seals = fcntl(region.fd, F_GET_SEALS);
	assert_int_equal(seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
	    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_equal(seals & F_SEAL_WRITE, 0);
	assert_int_equal(ftruncate(region.fd, 3 * PAGE), -1);
	assert_int_equal(ftruncate(region.fd, 5 * PAGE), -1);
	assert_int_equal(fcntl(region.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(pwrite(region.fd, "x", 1, 4 * PAGE - 1), 1);
	assert_true(pwrite(region.fd, "xy", 2, 4 * PAGE - 1) <= 1);
	/* It can be mapped shared and written, as a front-end does. */
	{
		char *map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED, region.fd, 0);

		assert_ptr_not_equal(map, MAP_FAILED);
		map[0] = 'y';
		assert_int_equal(munmap(map, 4 * PAGE), 0);
	}
	expect_bytes(0, 1, 'y');
}

static void
a_region_cannot_be_made_executable_where_the_kernel_knows_that(void **state)
{
	(void)state;
	create(0);
	/* F_SEAL_EXEC, Linux 6.3 */
	if (fcntl(region.fd, F_GET_SEALS) & 0x0020)
		assert_int_equal(fchmod(region.fd, 0700), -1);
}

static void
what_is_only_read_has_no_writer_left(void **state)
{
	static const enum memory_access accesses[] = { MEMORY_READ_ONLY,
		MEMORY_COPY };
	unsigned before = count_fds();

	(void)state;
	assert_int_equal(write(image_fd, "abc", 3), 3);
	spec.image = image;
	for (unsigned i = 0; i < ARRAY_LEN(accesses); i++) {
		spec.access = accesses[i];
		create(0);
		assert_int_equal(count_fds(), before + 1);
		assert_int_equal(
		    fcntl(region.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
		assert_int_equal(
		    fcntl(region.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		assert_int_equal(fcntl(region.fd, F_GET_SEALS) &
				     (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE),
		    F_SEAL_WRITE | F_SEAL_FUTURE_WRITE);
		expect_bytes(0, 1, 'a');
		expect_bytes(3, PAGE, 0);
		fd_closep(&region.fd);
	}
}

static void
an_image_is_loaded_and_zeros_are_behind_it(void **state)
{
	static unsigned char bytes[PAGE + 100];

	(void)state;
	memset(bytes, 'i', sizeof(bytes));
	assert_int_equal(write(image_fd, bytes, sizeof(bytes)), sizeof(bytes));
	spec.image = image;
	create(0);
	expect_bytes(0, PAGE, 'i');
	expect_bytes(PAGE, 100, 'i');
	expect_bytes(PAGE + 100, PAGE, 0);
	/* A copy: the image may change. */
	assert_int_equal(pwrite(image_fd, "j", 1, 0), 1);
	expect_bytes(0, 1, 'i');
}

static void
an_image_fits_up_to_the_last_byte(void **state)
{
	(void)state;
	spec.image = image;
	assert_int_equal(ftruncate(image_fd, 4 * PAGE), 0);
	assert_int_equal(pwrite(image_fd, "e", 1, 4 * PAGE - 1), 1);
	create(0);
	expect_bytes(4 * PAGE - 1, 1, 'e');
	fd_closep(&region.fd);
	assert_int_equal(ftruncate(image_fd, 4 * PAGE + 1), 0);
	create(-EFBIG);
	assert_string_equal(what, image);
}

static void
holes_of_an_image_stay_holes(void **state)
{
	const off_t far = (off_t)64 << 20;
	struct stat st;

	(void)state;
	spec.image = image;
	spec.size = (uint64_t)128 << 20;
	assert_int_equal(pwrite(image_fd, "a", 1, 0), 1);
	assert_int_equal(pwrite(image_fd, "b", 1, far), 1);
	assert_int_equal(ftruncate(image_fd, (off_t)100 << 20), 0);
	create(0);
	expect_bytes(0, 1, 'a');
	expect_bytes(far, 1, 'b');
	expect_bytes(far / 2, PAGE, 0);
	assert_int_equal(fstat(region.fd, &st), 0);
	assert_true(st.st_blocks * 512 < (off_t)8 << 20);
}

static void
an_image_of_nothing_but_a_hole_is_zeros(void **state)
{
	(void)state;
	spec.image = image;
	assert_int_equal(ftruncate(image_fd, 2 * PAGE), 0);
	create(0);
	expect_bytes(0, PAGE, 0);
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
	char fifo[sizeof(image) + 8];
	uint64_t size;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(
		    region_image_size(cases[i].path, &size), cases[i].rc);
		spec.image = cases[i].path;
		create(cases[i].rc);
	}
	assert_int_equal(region_image_size(image, &size), -ENODATA);
	/* A FIFO that nobody writes to does not hold us up. */
	(void)snprintf(fifo, sizeof(fifo), "%s.fifo", image);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(region_image_size(fifo, &size), -EINVAL);
	assert_int_equal(unlink(fifo), 0);
	assert_int_equal(write(image_fd, "abc", 3), 3);
	assert_int_equal(region_image_size(image, &size), 0);
	assert_int_equal(size, 3);
}

static void
a_size_that_no_file_can_have_is_refused(void **state)
{
	static const uint64_t sizes[] = { UINT64_MAX, UINT64_C(1) << 63,
		(UINT64_C(1) << 63) + PAGE };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		spec.size = sizes[i];
		assert_true(region_create(&region, &spec, &what) < 0);
		assert_int_equal(region.fd, -1);
		assert_string_equal(what, "ftruncate");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		REGION_TEST(a_region_is_a_named_memfd_of_its_size),
		REGION_TEST(the_longest_name_fits),
		REGION_TEST(size_and_seals_are_final_and_content_is_not),
		REGION_TEST(
		    a_region_cannot_be_made_executable_where_the_kernel_knows_that),
		REGION_TEST(what_is_only_read_has_no_writer_left),
		REGION_TEST(an_image_is_loaded_and_zeros_are_behind_it),
		REGION_TEST(an_image_fits_up_to_the_last_byte),
		REGION_TEST(holes_of_an_image_stay_holes),
		REGION_TEST(an_image_of_nothing_but_a_hole_is_zeros),
		REGION_TEST(
		    only_readable_regular_files_with_content_are_images),
		REGION_TEST(a_size_that_no_file_can_have_is_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("region_spec", tests, NULL, NULL);
}
