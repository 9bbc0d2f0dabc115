/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * mem.h: which memory tables are taken, that a refused one changes nothing,
 * what stays mapped where it is, and the lookup of addresses on both sides
 * of each edge.
 */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "proto/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE UINT64_C(4096)
#define MAX UINT64_MAX
#define GUEST UINT64_C(0x100000)
#define USER UINT64_C(0x7f0000000000)

static bool
has_file(const struct vus_mem *mem, dev_t dev, ino_t ino)
{
	unsigned i = 0;

	return vus_mem_find_file(mem, dev, ino, &i) != NULL;
}

static struct vus_mem *mem;
static const char *why;
static int file; /* of 8 pages */

static int
setup(void **state)
{
	(void)fds_before(state);
	mem = calloc(1, sizeof(*mem));
	assert_non_null(mem);
	file = make_memfd(8 * PAGE);
	why = NULL;
	return 0;
}

static int
teardown(void **state)
{
	vus_mem_clear(mem);
	assert_int_equal(mem->nregions, 0);
	free(mem);
	fd_closep(&file);
	return fds_after(state);
}

#define MEM_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* A region of size bytes, the nth of a row that has gaps in between. */
static struct vus_wire_mem_region
region(unsigned n, uint64_t size, uint64_t offset)
{
	return (struct vus_wire_mem_region){
		.guest_addr = GUEST + n * 0x100000,
		.user_addr = USER + n * 0x200000,
		.size = size,
		.mmap_offset = offset,
	};
}

static int
replace1(struct vus_wire_mem_region r, int fd)
{
	return vus_mem_replace(mem, &r, &fd, 1, &why);
}

static int
add1(struct vus_wire_mem_region r, int fd)
{
	return vus_mem_add(mem, &r, fd, &why);
}

/* Our address of the first byte of r, or NULL unless both tables agree on it
 * and on its length. */
static unsigned char *
where(struct vus_wire_mem_region r)
{
	uint64_t len = MAX;
	unsigned char *guest = vus_mem_guest(mem, r.guest_addr, &len);
	unsigned char *user = vus_mem_ring(mem, r.user_addr, r.size);

	if (guest == NULL || len != r.size)
		return NULL;
	assert_ptr_equal(guest, user);
	return guest;
}

/* Pages of our memfds that are mapped: /proc/self/maps joins neighbours. */
static uint64_t
mapped_pages(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	uint64_t pages = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) != NULL) {
		char *dash;
		uint64_t from = strtoull(line, &dash, 16);

		if (strstr(line, "/memfd:unit") != NULL)
			pages += (strtoull(dash + 1, NULL, 16) - from) / PAGE;
	}
	assert_int_equal(fclose(maps), 0);
	return pages;
}

/* --- what is taken ------------------------------------------------------- */

static void
a_region_shows_its_file(void **state)
{
	struct vus_wire_mem_region r = region(0, 2 * PAGE, PAGE);
	unsigned char *at;
	char text[6];

	(void)state;
	assert_int_equal(pwrite(file, "hello", 6, (off_t)PAGE), 6);
	assert_int_equal(replace1(r, file), 0);
	at = where(r);
	assert_non_null(at);
	assert_string_equal((char *)at, "hello");
	memcpy(at + 2 * PAGE - 6, "world", 6);
	assert_int_equal(pread(file, text, 6, (off_t)(3 * PAGE - 6)), 6);
	assert_string_equal(text, "world");
}

static void
an_offset_may_lie_inside_a_page(void **state)
{
	struct vus_wire_mem_region r = region(0, PAGE, PAGE + 123);
	unsigned char *at;

	(void)state;
	assert_int_equal(pwrite(file, "hello", 6, (off_t)PAGE + 123), 6);
	assert_int_equal(replace1(r, file), 0);
	at = where(r);
	assert_non_null(at);
	assert_string_equal((char *)at, "hello");
	/* The last byte is mapped, too. */
	at[PAGE - 1] = 1;
}

static void
the_descriptor_stays_the_callers(void **state)
{
	(void)state;
	assert_int_equal(replace1(region(0, PAGE, 0), file), 0);
	assert_int_equal(add1(region(1, PAGE, 0), file), 0);
	assert_true(fcntl(file, F_GETFD) >= 0);
}

static void
a_region_must_lie_in_its_file_to_the_last_byte(void **state)
{
	static const struct {
		uint64_t size, offset;
		int rc;
	} cases[] = {
		{ 8 * PAGE, 0, 0 },
		{ 8 * PAGE + 1, 0, -EINVAL },
		{ 8 * PAGE - 1, 1, 0 },
		{ 8 * PAGE, 1, -EINVAL },
		{ 1, 8 * PAGE - 1, 0 },
		{ 1, 8 * PAGE, -EINVAL },
		{ 1, 8 * PAGE + 1, -EINVAL },
		{ PAGE, 7 * PAGE, 0 },
		{ PAGE, 7 * PAGE + 1, -EINVAL },
		{ 1, MAX - 1, -EINVAL },
		{ UINT64_C(1) << 40, 0, -EINVAL },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct vus_wire_mem_region r =
		    region(0, cases[i].size, cases[i].offset);

		why = NULL;
		assert_int_equal(replace1(r, file), cases[i].rc);
		assert_true((why != NULL) == (cases[i].rc != 0));
		vus_mem_clear(mem);
		assert_int_equal(add1(r, file), cases[i].rc);
		vus_mem_clear(mem);
	}
}

static void
an_empty_or_wrapping_region_is_refused(void **state)
{
	static const struct vus_wire_mem_region cases[] = {
		{ .guest_addr = GUEST, .user_addr = USER, .size = 0 },
		{ .guest_addr = GUEST, .user_addr = USER, .size = MAX },
		{ .guest_addr = MAX, .user_addr = USER, .size = PAGE },
		{ .guest_addr = MAX - PAGE + 2,
		    .user_addr = USER,
		    .size = PAGE },
		{ .guest_addr = GUEST, .user_addr = MAX, .size = PAGE },
		{ .guest_addr = GUEST,
		    .user_addr = MAX - PAGE + 2,
		    .size = PAGE },
		{ GUEST, PAGE, USER, MAX },
		{ GUEST, PAGE, USER, MAX - PAGE + 2 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		why = NULL;
		assert_int_equal(replace1(cases[i], file), -EINVAL);
		assert_non_null(why);
		assert_int_equal(add1(cases[i], file), -EINVAL);
	}
	assert_int_equal(mem->nregions, 0);
}

static void
a_region_may_end_at_the_last_address(void **state)
{
	struct vus_wire_mem_region r = {
		.guest_addr = MAX - PAGE, .user_addr = MAX - PAGE, .size = PAGE
	};

	(void)state;
	assert_int_equal(replace1(r, file), 0);
	assert_non_null(where(r));
	assert_null(vus_mem_ring(mem, MAX, 1));
	assert_null(vus_mem_ring(mem, MAX - 1, 2));
	assert_non_null(vus_mem_ring(mem, MAX - 1, 1));
}

static void
only_regular_files_are_taken(void **state)
{
	int pipe_fds[2], pair[2], closed;
	int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int null = open("/dev/zero", O_RDWR | O_CLOEXEC);
	int event = make_eventfd();
	struct vus_wire_mem_region r = region(0, PAGE, 0);

	(void)state;
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	make_pair(pair);
	{
		const int fds[] = { dir, null, event, pipe_fds[0], pipe_fds[1],
			pair[0] };

		for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
			why = NULL;
			assert_int_equal(replace1(r, fds[i]), -EBADF);
			assert_non_null(why);
			assert_int_equal(add1(r, fds[i]), -EBADF);
		}
	}
	closed = dup(file);
	(void)close(closed);
	assert_int_equal(replace1(r, closed), -EBADF);
	fd_closep(&dir);
	fd_closep(&null);
	fd_closep(&event);
	fd_closep(&pipe_fds[0]);
	fd_closep(&pipe_fds[1]);
	fd_closep(&pair[0]);
	fd_closep(&pair[1]);
}

static void
a_file_that_cannot_be_written_is_refused(void **state)
{
	char path[64];
	int readonly, sealed = make_memfd(PAGE);

	(void)state;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	readonly = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(readonly >= 0);
	assert_int_equal(replace1(region(0, PAGE, 0), readonly), -EACCES);
	assert_non_null(why);
	assert_int_equal(add1(region(0, PAGE, 0), readonly), -EACCES);
	assert_int_equal(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_int_equal(replace1(region(0, PAGE, 0), sealed), -EPERM);
	fd_closep(&readonly);
	fd_closep(&sealed);
}

/* --- overlap ------------------------------------------------------------- */

/* Move b against a by delta bytes in one of the two address spaces. */
static int
try_overlap(bool guest, bool by_add, uint64_t delta)
{
	struct vus_wire_mem_region r[2] = { region(1, 2 * PAGE, 0),
		region(7, 2 * PAGE, 2 * PAGE) };
	const int fds[2] = { file, file };
	int rc;

	if (guest)
		r[1].guest_addr = r[0].guest_addr + delta;
	else
		r[1].user_addr = r[0].user_addr + delta;
	vus_mem_clear(mem);
	if (!by_add)
		return vus_mem_replace(mem, r, fds, 2, &why);
	rc = add1(r[0], file);
	return rc < 0 ? rc : add1(r[1], file);
}

static void
regions_may_touch_and_must_not_overlap_by_a_byte(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		bool guest = i & 1, by_add = i & 2;

		assert_int_equal(try_overlap(guest, by_add, 2 * PAGE), 0);
		assert_int_equal(mem->nregions, 2);
		assert_int_equal(try_overlap(guest, by_add, 0 - 2 * PAGE), 0);
		assert_int_equal(
		    try_overlap(guest, by_add, 2 * PAGE - 1), -EINVAL);
		assert_int_equal(
		    try_overlap(guest, by_add, 1 - 2 * PAGE), -EINVAL);
		assert_int_equal(try_overlap(guest, by_add, 0), -EINVAL);
		assert_int_equal(try_overlap(guest, by_add, PAGE / 2), -EINVAL);
	}
}

/* --- replacement --------------------------------------------------------- */

static void
what_is_in_both_tables_stays_mapped_where_it_is(void **state)
{
	struct vus_wire_mem_region r[3] = { region(0, PAGE, 0),
		region(1, PAGE, PAGE), region(2, 2 * PAGE, 2 * PAGE) };
	struct vus_wire_mem_region next[2] = { r[2], r[0] };
	const int fds[3] = { file, file, file };
	unsigned char *at0, *at2;

	(void)state;
	assert_int_equal(vus_mem_replace(mem, r, fds, 3, &why), 0);
	at0 = where(r[0]);
	at2 = where(r[2]);
	next[1].guest_addr += 0x4000000; /* it moves in the guest only */
	assert_int_equal(vus_mem_replace(mem, next, fds, 2, &why), 0);
	assert_int_equal(mem->nregions, 2);
	assert_ptr_equal(where(next[0]), at2);
	assert_ptr_equal(where(next[1]), at0);
	assert_null(where(r[1]));
}

static void
another_descriptor_of_the_same_file_counts_as_the_same(void **state)
{
	struct vus_wire_mem_region r = region(0, PAGE, 0);
	int other = dup(file);
	unsigned char *at;

	(void)state;
	assert_int_equal(replace1(r, file), 0);
	at = where(r);
	assert_int_equal(replace1(r, other), 0);
	assert_ptr_equal(where(r), at);
	fd_closep(&other);
}

static void
another_file_at_the_same_addresses_is_mapped_anew(void **state)
{
	struct vus_wire_mem_region r = region(0, PAGE, 0);
	int other = make_memfd(PAGE);

	(void)state;
	assert_int_equal(pwrite(other, "B", 1, 0), 1);
	assert_int_equal(replace1(r, file), 0);
	assert_int_equal(*where(r), 0);
	assert_int_equal(replace1(r, other), 0);
	assert_int_equal(*where(r), 'B');
	fd_closep(&other);
}

static void
one_piece_of_a_file_may_be_there_twice(void **state)
{
	struct vus_wire_mem_region r[2] = { region(0, PAGE, 0),
		region(1, PAGE, 0) };
	const int fds[2] = { file, file };
	unsigned char *at[2];

	(void)state;
	assert_int_equal(replace1(r[0], file), 0);
	assert_int_equal(vus_mem_replace(mem, r, fds, 2, &why), 0);
	at[0] = where(r[0]);
	at[1] = where(r[1]);
	assert_ptr_not_equal(at[0], at[1]);
	/* And again, now that both find their mapping. */
	assert_int_equal(vus_mem_replace(mem, r, fds, 2, &why), 0);
	assert_ptr_equal(where(r[0]), at[0]);
	assert_ptr_equal(where(r[1]), at[1]);
	at[0][0] = 'x';
	assert_int_equal(at[1][0], 'x');
}

static void
a_refused_table_leaves_the_old_one_whole(void **state)
{
	struct vus_wire_mem_region old[2] = { region(0, PAGE, 0),
		region(1, 2 * PAGE, PAGE) };
	struct vus_wire_mem_region next[4] = { old[1],
		region(5, PAGE, 3 * PAGE), old[0], region(6, PAGE, 4 * PAGE) };
	int fds[4] = { file, file, file, file };
	unsigned char *at0, *at1;
	uint64_t mapped;

	(void)state;
	assert_int_equal(vus_mem_replace(mem, old, fds, 2, &why), 0);
	at0 = where(old[0]);
	at1 = where(old[1]);
	mapped = mapped_pages();
	for (unsigned bad = 0; bad < 4; bad++) {
		int saved = fds[bad];

		fds[bad] = -1;
		assert_int_equal(
		    vus_mem_replace(mem, next, fds, 4, &why), -EBADF);
		fds[bad] = saved;
		assert_int_equal(mem->nregions, 2);
		assert_ptr_equal(where(old[0]), at0);
		assert_ptr_equal(where(old[1]), at1);
		assert_int_equal(mapped_pages(), mapped);
		at0[0] = at1[0] = (unsigned char)bad;
	}
	assert_int_equal(vus_mem_replace(mem, next, fds, 4, &why), 0);
	assert_ptr_equal(where(old[0]), at0);
}

static void
a_mapping_that_the_system_refuses_leaves_the_old_table_whole(void **state)
{
	struct vus_wire_mem_region old = region(0, PAGE, 0);
	struct vus_wire_mem_region next[2] = { old, region(1, PAGE, 0) };
	int fds[2] = { file, make_memfd(PAGE) };
	unsigned char *at;

	(void)state;
	assert_int_equal(fcntl(fds[1], F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_int_equal(replace1(old, file), 0);
	at = where(old);
	assert_int_equal(vus_mem_replace(mem, next, fds, 2, &why), -EPERM);
	assert_int_equal(vus_mem_add(mem, &next[1], fds[1], &why), -EPERM);
	assert_int_equal(mem->nregions, 1);
	assert_ptr_equal(where(old), at);
	at[0] = 1;
	fd_closep(&fds[1]);
}

static void
an_empty_table_unmaps_everything(void **state)
{
	struct vus_wire_mem_region r = region(0, PAGE, 0);
	uint64_t before = mapped_pages();

	(void)state;
	assert_int_equal(replace1(r, file), 0);
	assert_int_equal(mapped_pages(), before + 1);
	assert_int_equal(vus_mem_replace(mem, &r, &file, 0, &why), 0);
	assert_int_equal(mem->nregions, 0);
	assert_int_equal(mapped_pages(), before);
	assert_null(where(r));
}

static void
a_table_has_up_to_32_regions(void **state)
{
	struct vus_wire_mem_region r[VUS_MEM_TABLE_MAX + 1];
	int fds[VUS_MEM_TABLE_MAX + 1];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(r); i++) {
		r[i] = region(i, PAGE, (i % 8) * PAGE);
		fds[i] = file;
	}
	assert_int_equal(
	    vus_mem_replace(mem, r, fds, VUS_MEM_TABLE_MAX, &why), 0);
	assert_int_equal(
	    vus_mem_replace(mem, r, fds, VUS_MEM_TABLE_MAX + 1, &why), -EINVAL);
	assert_int_equal(mem->nregions, VUS_MEM_TABLE_MAX);
	for (unsigned i = 0; i < VUS_MEM_TABLE_MAX; i++)
		assert_non_null(where(r[i]));
}

/* --- slots --------------------------------------------------------------- */

static void
there_are_509_slots(void **state)
{
	uint64_t before = mapped_pages();

	(void)state;
	for (unsigned i = 0; i < VUS_MEM_SLOTS_MAX; i++)
		assert_int_equal(add1(region(i, PAGE, 0), file), 0);
	why = NULL;
	assert_int_equal(
	    add1(region(VUS_MEM_SLOTS_MAX, PAGE, 0), file), -ENOSPC);
	assert_non_null(why);
	for (unsigned i = 0; i < VUS_MEM_SLOTS_MAX; i++)
		assert_non_null(where(region(i, PAGE, 0)));
	vus_mem_clear(mem);
	assert_int_equal(mapped_pages(), before);
}

static void
a_slot_in_the_middle_can_be_removed_and_used_again(void **state)
{
	struct vus_wire_mem_region r[5];
	unsigned char *at[5];
	uint64_t before = mapped_pages();

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		r[i] = region(i, PAGE, i * PAGE);
		assert_int_equal(add1(r[i], file), 0);
		at[i] = where(r[i]);
	}
	assert_int_equal(vus_mem_remove(mem, &r[2]), 0);
	assert_int_equal(vus_mem_remove(mem, &r[2]), -ENOENT);
	assert_int_equal(mem->nregions, 4);
	assert_int_equal(mapped_pages(), before + 4);
	for (unsigned i = 0; i < 5; i++)
		assert_ptr_equal(where(r[i]), i == 2 ? NULL : at[i]);
	assert_int_equal(add1(r[2], file), 0);
	assert_non_null(where(r[2]));
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(vus_mem_remove(mem, &r[i]), 0);
	assert_int_equal(mem->nregions, 0);
	assert_int_equal(mapped_pages(), before);
}

static void
removal_wants_addresses_and_size_to_match(void **state)
{
	struct vus_wire_mem_region r = region(0, PAGE, 0), other;

	(void)state;
	assert_int_equal(add1(r, file), 0);
	other = r;
	other.size--;
	assert_int_equal(vus_mem_remove(mem, &other), -ENOENT);
	other = r;
	other.guest_addr++;
	assert_int_equal(vus_mem_remove(mem, &other), -ENOENT);
	other = r;
	other.user_addr--;
	assert_int_equal(vus_mem_remove(mem, &other), -ENOENT);
	other = r;
	other.mmap_offset = 77; /* not part of its name */
	assert_int_equal(vus_mem_remove(mem, &other), 0);
}

static void
a_file_is_found_while_a_region_of_it_is_there(void **state)
{
	int other = make_memfd(PAGE);
	struct vus_wire_mem_region r = region(1, PAGE, 0);
	struct stat st;

	(void)state;
	assert_int_equal(fstat(other, &st), 0);
	assert_int_equal(replace1(region(0, PAGE, 0), file), 0);
	assert_false(has_file(mem, st.st_dev, st.st_ino));
	assert_int_equal(add1(r, other), 0);
	assert_true(has_file(mem, st.st_dev, st.st_ino));
	assert_false(has_file(mem, st.st_dev + 1, st.st_ino));
	assert_false(has_file(mem, st.st_dev, st.st_ino + 100000));
	assert_int_equal(vus_mem_remove(mem, &r), 0);
	assert_false(has_file(mem, st.st_dev, st.st_ino));
	fd_closep(&other);
}

/* --- lookup -------------------------------------------------------------- */

static void
a_guest_address_is_found_up_to_the_last_byte(void **state)
{
	struct vus_wire_mem_region r = region(0, 2 * PAGE, 0);
	static const struct {
		int64_t at;
		uint64_t len, got;
		bool found;
	} cases[] = {
		{ -1, 1, 0, false },
		{ -1, MAX, 0, false },
		{ 0, 1, 1, true },
		{ 0, 2 * PAGE, 2 * PAGE, true },
		{ 0, 2 * PAGE + 1, 2 * PAGE, true },
		{ 0, MAX, 2 * PAGE, true },
		{ 100, 2 * PAGE - 100, 2 * PAGE - 100, true },
		{ 100, 2 * PAGE - 99, 2 * PAGE - 100, true },
		{ 2 * PAGE - 1, 1, 1, true },
		{ 2 * PAGE - 1, 2, 1, true },
		{ 2 * PAGE, 1, 0, false },
	};

	(void)state;
	assert_int_equal(replace1(r, file), 0);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t len = cases[i].len;
		unsigned char *at = vus_mem_guest(
		    mem, r.guest_addr + (uint64_t)cases[i].at, &len);

		assert_int_equal(at != NULL, cases[i].found);
		if (at == NULL)
			continue;
		assert_ptr_equal(at, where(r) + cases[i].at);
		assert_int_equal(len, cases[i].got);
	}
}

static void
a_user_range_must_lie_in_one_region(void **state)
{
	struct vus_wire_mem_region r[2] = { region(0, 2 * PAGE, 0),
		region(1, 2 * PAGE, 2 * PAGE) };
	const int fds[2] = { file, file };
	static const struct {
		int64_t at;
		uint64_t len;
		bool found;
	} cases[] = {
		{ -1, 1, false },
		{ -1, 2, false },
		{ 0, 2 * PAGE, true },
		{ 0, 2 * PAGE + 1, false }, /* the neighbour is next to it */
		{ 1, 2 * PAGE, false },
		{ 2 * PAGE - 1, 1, true },
		{ 2 * PAGE - 1, 2, false },
		{ 2 * PAGE, 2 * PAGE, true },
		{ 2 * PAGE, 2 * PAGE + 1, false },
		{ 4 * PAGE, 1, false },
		{ 0, MAX, false },
		{ 1, MAX, false },
	};

	(void)state;
	r[1].user_addr = r[0].user_addr + 2 * PAGE;
	assert_int_equal(vus_mem_replace(mem, r, fds, 2, &why), 0);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(vus_mem_ring(mem, USER + (uint64_t)cases[i].at,
				     cases[i].len) != NULL,
		    cases[i].found);
}

/* --- by guest physical addresses alone ----------------------------------- */

static void
by_guest_user_addresses_mean_nothing(void **state)
{
	struct vus_wire_mem_region r[3] = { region(0, PAGE, 0),
		region(1, PAGE, PAGE), region(2, PAGE, 2 * PAGE) };
	int fds[3] = { file, file, file };

	(void)state;
	mem->by_guest = true;
	/* The same one for all, or one that would wrap. */
	r[0].user_addr = r[1].user_addr = 0;
	r[2].user_addr = MAX;
	assert_int_equal(vus_mem_replace(mem, r, fds, 3, &why), 0);
	r[0] = region(3, PAGE, 3 * PAGE);
	r[0].user_addr = 0;
	assert_int_equal(add1(r[0], file), 0);
	/* Guest addresses still do. */
	assert_int_equal(add1(r[1], file), -EINVAL);
	r[1].guest_addr = MAX;
	assert_int_equal(add1(r[1], file), -EINVAL);
}

static void
by_guest_rings_are_found_at_guest_addresses(void **state)
{
	struct vus_wire_mem_region r = region(0, 2 * PAGE, PAGE);
	uint64_t len = 1;

	(void)state;
	mem->by_guest = true;
	r.user_addr = 0;
	assert_int_equal(replace1(r, file), 0);
	assert_ptr_equal(vus_mem_ring(mem, GUEST, 2 * PAGE),
	    vus_mem_guest(mem, GUEST, &len));
	assert_ptr_equal(vus_mem_ring(mem, GUEST + 2 * PAGE - 1, 1),
	    mem->region[0].map.at + 2 * PAGE - 1);
	assert_null(vus_mem_ring(mem, GUEST + 1, 2 * PAGE));
	assert_null(vus_mem_ring(mem, GUEST - 1, 1));
	assert_null(vus_mem_ring(mem, 0, 1));
}

static void
by_guest_removal_looks_at_the_guest_address(void **state)
{
	struct vus_wire_mem_region r = region(0, PAGE, 0), other;

	(void)state;
	mem->by_guest = true;
	r.user_addr = 0;
	assert_int_equal(replace1(r, file), 0);
	other = r;
	other.guest_addr += PAGE;
	assert_int_equal(vus_mem_remove(mem, &other), -ENOENT);
	other = r;
	other.size += PAGE;
	assert_int_equal(vus_mem_remove(mem, &other), -ENOENT);
	r.user_addr = USER;
	assert_int_equal(vus_mem_remove(mem, &r), 0);
	assert_int_equal(mem->nregions, 0);
}

static void
a_byte_of_ours_has_a_guest_address(void **state)
{
	struct vus_wire_mem_region r[2] = { region(0, PAGE, 0),
		region(1, 2 * PAGE, PAGE) };
	int fds[2] = { file, file };
	unsigned char *at;

	(void)state;
	assert_int_equal(vus_mem_replace(mem, r, fds, 2, &why), 0);
	for (unsigned i = 0; i < 2; i++) {
		at = mem->region[i].map.at;
		assert_int_equal(vus_mem_guest_addr(mem, at), r[i].guest_addr);
		assert_int_equal(vus_mem_guest_addr(mem, at + r[i].size - 1),
		    r[i].guest_addr + r[i].size - 1);
	}
	assert_int_equal(vus_mem_guest_addr(mem, mem), MAX);
	assert_int_equal(vus_mem_guest_addr(mem, NULL), MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		MEM_TEST(a_region_shows_its_file),
		MEM_TEST(an_offset_may_lie_inside_a_page),
		MEM_TEST(the_descriptor_stays_the_callers),
		MEM_TEST(a_region_must_lie_in_its_file_to_the_last_byte),
		MEM_TEST(an_empty_or_wrapping_region_is_refused),
		MEM_TEST(a_region_may_end_at_the_last_address),
		MEM_TEST(only_regular_files_are_taken),
		MEM_TEST(a_file_that_cannot_be_written_is_refused),
		MEM_TEST(regions_may_touch_and_must_not_overlap_by_a_byte),
		MEM_TEST(what_is_in_both_tables_stays_mapped_where_it_is),
		MEM_TEST(
		    another_descriptor_of_the_same_file_counts_as_the_same),
		MEM_TEST(another_file_at_the_same_addresses_is_mapped_anew),
		MEM_TEST(one_piece_of_a_file_may_be_there_twice),
		MEM_TEST(a_refused_table_leaves_the_old_one_whole),
		MEM_TEST(
		    a_mapping_that_the_system_refuses_leaves_the_old_table_whole),
		MEM_TEST(an_empty_table_unmaps_everything),
		MEM_TEST(a_table_has_up_to_32_regions),
		MEM_TEST(there_are_509_slots),
		MEM_TEST(a_slot_in_the_middle_can_be_removed_and_used_again),
		MEM_TEST(removal_wants_addresses_and_size_to_match),
		MEM_TEST(a_file_is_found_while_a_region_of_it_is_there),
		MEM_TEST(a_guest_address_is_found_up_to_the_last_byte),
		MEM_TEST(a_user_range_must_lie_in_one_region),
		MEM_TEST(by_guest_user_addresses_mean_nothing),
		MEM_TEST(by_guest_rings_are_found_at_guest_addresses),
		MEM_TEST(by_guest_removal_looks_at_the_guest_address),
		MEM_TEST(a_byte_of_ours_has_a_guest_address),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
