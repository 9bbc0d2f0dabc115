/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * state.h: what one session saves another restores to the byte, however the
 * pipe cuts it; what is refused; and streams that are not ours, cut short or
 * made to harm. The layout of the records is written here a second time.
 */
#include "config.h"

#include "tests/unit/fake_ring.h"

#include "proto/fd.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ASK (VUS_VERSION | VUS_FLAG_NEED_REPLY)
#define PAGE ((uint64_t)VUS_STATE_RECORD)
#define SAVE VUS_TRANSFER_SAVE
#define LOAD VUS_TRANSFER_LOAD
#define MAGIC UINT64_C(0x454d5241534b5600)

static struct fake *src, *dst;

/* Regions, by shmid: holes between them, one page, a last piece of less than
 * 64 pages, and more pages than are looked at in one go. */
static const struct {
	unsigned shmid;
	uint64_t pages;
} regions[] = { { 0, 1 }, { 3, 700 }, { 4, 64 }, { 255, 3 * 64 + 5 } };

static void
add_region(struct fake *f, unsigned shmid, uint64_t pages)
{
	fake_add_region(f, shmid, true);
	f->device.shm[shmid].size = pages * PAGE;
	assert_int_equal(
	    ftruncate(f->device.shm[shmid].fd, (off_t)(pages * PAGE)), 0);
}

static struct fake *
new_fake(void)
{
	struct fake *f = fake_new();

	for (unsigned i = 0; i < ARRAY_LEN(regions); i++)
		add_region(f, regions[i].shmid, regions[i].pages);
	fake_connect(f);
	fake_negotiate(f, 0);
	return f;
}

static int
setup(void **state)
{
	(void)fds_before(state);
	src = new_fake();
	dst = new_fake();
	return 0;
}

static int
teardown(void **state)
{
	fake_free(src);
	fake_free(dst);
	return fds_after(state);
}

#define STATE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* --- regions ------------------------------------------------------------- */

static uint64_t chance = 88172645463325252U;

static uint64_t
pick(uint64_t n)
{
	chance ^= chance << 13;
	chance ^= chance >> 7;
	chance ^= chance << 17;
	return chance % n;
}

static void
put_page(struct fake *f, unsigned shmid, uint64_t page)
{
	unsigned char bytes[PAGE];

	for (unsigned i = 0; i < PAGE; i++)
		bytes[i] = (unsigned char)pick(256);
	bytes[pick(PAGE)] = 1; /* never all zero */
	assert_int_equal(
	    pwrite(f->device.shm[shmid].fd, bytes, PAGE, (off_t)(page * PAGE)),
	    PAGE);
}

/* Of 100 pages so many get something. */
static void
fill(struct fake *f, unsigned density)
{
	for (unsigned i = 0; i < ARRAY_LEN(regions); i++)
		for (uint64_t page = 0; page < regions[i].pages; page++)
			if (pick(100) < density)
				put_page(f, regions[i].shmid, page);
}

static void
expect_same(void)
{
	static unsigned char a[1024 * PAGE], b[1024 * PAGE];

	for (unsigned i = 0; i < ARRAY_LEN(regions); i++) {
		size_t size = regions[i].pages * PAGE;
		unsigned shmid = regions[i].shmid;
		struct stat st;

		assert_int_equal(
		    pread(src->device.shm[shmid].fd, a, size, 0), size);
		assert_int_equal(
		    pread(dst->device.shm[shmid].fd, b, size, 0), size);
		assert_memory_equal(a, b, size);
		assert_int_equal(fstat(dst->device.shm[shmid].fd, &st), 0);
		assert_int_equal(st.st_size, size);
	}
}

/* --- transfers ----------------------------------------------------------- */

static void
make_pipe(int ends[2])
{
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
}

static void
dont_block(int fd)
{
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

/* SET_DEVICE_STATE_FD; returns the answer. */
static uint64_t
begin_with(struct fake *f, uint32_t direction, uint32_t phase, int fd)
{
	struct vus_wire_transfer transfer = { direction, phase };
	uint64_t value;

	assert_true(lives(fake_request(f, VUS_SET_DEVICE_STATE_FD, ASK,
	    &transfer, sizeof(transfer), &fd, 1)));
	expect_reply(f, VUS_SET_DEVICE_STATE_FD, &value, sizeof(value));
	return value;
}

/* The session takes one end of a new pipe; returns the other. */
static int
begin(struct fake *f, uint32_t direction)
{
	int ends[2];

	make_pipe(ends);
	assert_int_equal(
	    begin_with(f, direction, 0, ends[direction == SAVE]), 0x100);
	assert_true(f->watched_state >= 0);
	assert_int_equal(f->watched_state_for,
	    direction == SAVE ? VUS_WATCH_STATE_OUT : VUS_WATCH_STATE_IN);
	fd_closep(&ends[direction == SAVE]);
	dont_block(ends[direction == LOAD]);
	return ends[direction == LOAD];
}

/* The pipe is ready; returns how often the session asked for more time. */
static unsigned
move(struct fake *f)
{
	enum vus_next next = vus_session_state_ready(&f->s);
	unsigned turns = 0;

	for (; next == VUS_NEXT_WORK; turns++)
		next = vus_session_work(&f->s);
	assert_true(lives(next));
	return turns;
}

static bool
under_way(const struct fake *f)
{
	return f->watched_state >= 0;
}

/* CHECK_DEVICE_STATE, whose answer must come now. */
static uint64_t
check(struct fake *f)
{
	uint64_t value;

	assert_true(lives(
	    fake_request(f, VUS_CHECK_DEVICE_STATE, ASK, NULL, 0, NULL, 0)));
	expect_reply(f, VUS_CHECK_DEVICE_STATE, &value, sizeof(value));
	return value;
}

/* Both sessions on one pipe of so many bytes. */
static void
transfer(int pipe_size)
{
	int ends[2];

	make_pipe(ends);
	assert_true(fcntl(ends[1], F_SETPIPE_SZ, pipe_size) >= 0);
	assert_int_equal(begin_with(src, SAVE, 0, ends[1]), 0x100);
	assert_int_equal(begin_with(dst, LOAD, 0, ends[0]), 0x100);
	fd_closep(&ends[0]);
	fd_closep(&ends[1]);
	for (unsigned n = 0; under_way(dst); n++) {
		assert_true(n < 100000);
		(void)move(src);
		(void)move(dst);
	}
	assert_false(under_way(src));
	assert_int_equal(check(src), 0);
	assert_int_equal(check(dst), 0);
	expect_same();
}

/* What a session saves. */
struct stream {
	unsigned char *bytes; /* owned */
	size_t len;
};

static struct stream
save(struct fake *f)
{
	struct stream s = { .bytes = malloc(1200 * PAGE) };
	int fd = begin(f, SAVE);
	ssize_t n = -1;

	assert_non_null(s.bytes);
	for (unsigned turns = 0; n != 0; turns++) {
		assert_true(turns < 10000);
		(void)move(f);
		while ((n = read(fd, s.bytes + s.len, PAGE)) > 0)
			s.len += (size_t)n;
	}
	fd_closep(&fd);
	assert_int_equal(check(f), 0);
	return s;
}

/* Load a stream in pieces of chunk bytes; returns what CHECK says. */
static uint64_t
load(struct fake *f, const unsigned char *bytes, size_t len, size_t chunk)
{
	int fd = begin(f, LOAD);

	for (size_t sent = 0; sent < len;) {
		size_t n = len - sent < chunk ? len - sent : chunk;
		ssize_t wrote = write(fd, bytes + sent, n);

		if (wrote < 0 && errno == EPIPE)
			break; /* it has seen enough */
		assert_true(wrote > 0 || errno == EAGAIN);
		sent += wrote > 0 ? (size_t)wrote : 0;
		(void)move(f);
	}
	fd_closep(&fd);
	for (unsigned n = 0; under_way(f); n++) {
		assert_true(n < 10000);
		(void)move(f);
	}
	return check(f);
}

/* --- saved and restored -------------------------------------------------- */

static void
what_is_saved_is_restored_to_the_byte(void **state)
{
	static const unsigned densities[] = { 0, 2, 50, 100 };

	(void)state; /* over whatever was there */
	for (unsigned i = 0; i < ARRAY_LEN(densities); i++)
		for (unsigned k = 0; k < ARRAY_LEN(densities); k++) {
			fake_free(src);
			src = new_fake();
			fill(src, densities[i]);
			fill(dst, densities[k]);
			transfer(1 << 16);
		}
}

static void
a_pipe_of_one_page_is_enough(void **state)
{
	(void)state;
	fill(src, 30);
	fill(dst, 30);
	transfer((int)PAGE);
}

static void
the_first_and_the_last_page_of_each_region_are_there(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(regions); i++) {
		put_page(src, regions[i].shmid, 0);
		put_page(src, regions[i].shmid, regions[i].pages - 1);
	}
	fill(dst, 100);
	transfer(1 << 16);
}

static void
a_stream_may_come_in_pieces_of_any_size(void **state)
{
	static const size_t chunks[] = { 1000, 4095, 4097, 10000, 65536 };
	struct stream s;

	(void)state;
	fill(src, 5);
	s = save(src);
	for (unsigned i = 0; i < ARRAY_LEN(chunks); i++) {
		fill(dst, 10);
		assert_int_equal(load(dst, s.bytes, s.len, chunks[i]), 0);
		expect_same();
	}
	free(s.bytes);
}

static void
nothing_is_saved_of_pages_that_are_zero(void **state)
{
	struct stream s;

	(void)state;
	s = save(src);
	assert_int_equal(s.len, 2 * PAGE); /* a header and an end */
	free(s.bytes);
	put_page(src, 3, 300);
	s = save(src);
	assert_int_equal(s.len, 4 * PAGE);
	free(s.bytes);
}

static void
pages_that_nobody_has_touched_take_up_no_memory_afterwards(void **state)
{
	struct stat a, b;

	(void)state;
	put_page(src, 3, 500);
	transfer(1 << 16);
	for (unsigned i = 0; i < ARRAY_LEN(regions); i++) {
		unsigned shmid = regions[i].shmid;

		assert_int_equal(fstat(src->device.shm[shmid].fd, &a), 0);
		assert_int_equal(fstat(dst->device.shm[shmid].fd, &b), 0);
		assert_int_equal(b.st_blocks, a.st_blocks);
		assert_int_equal(b.st_blocks != 0, shmid == 3);
	}
}

static void
a_device_without_regions_has_a_state_too(void **state)
{
	struct stream s;

	(void)state;
	fake_free(src);
	src = fake_new();
	fake_connect(src);
	fake_negotiate(src, 0);
	s = save(src);
	assert_int_equal(s.len, 2 * PAGE);
	assert_int_equal(load(src, s.bytes, s.len, PAGE), 0);
	free(s.bytes);
}

static void
long_work_is_done_in_shares(void **state)
{
	struct stream s = save(src);
	unsigned turns = 0;
	int fd;

	(void)state;
	fill(dst, 100);
	fd = begin(dst, LOAD);
	assert_int_equal(write(fd, s.bytes, s.len), s.len);
	fd_closep(&fd);
	while (under_way(dst))
		turns += move(dst);
	assert_true(turns >= 3); /* 966 pages, 256 at a time */
	assert_int_equal(check(dst), 0);
	free(s.bytes);
	/* Looking for pages likewise: nothing comes of the first call but
	 * what was found in a share of them. */
	fd = begin(src, SAVE);
	for (turns = 0; under_way(src); turns++)
		(void)move(src);
	assert_true(turns >= 3);
	fd_closep(&fd);
}

static void
a_second_transfer_may_follow_the_first(void **state)
{
	(void)state;
	fill(src, 20);
	transfer(1 << 16);
	fill(src, 20);
	transfer(1 << 16);
}

/* --- CHECK_DEVICE_STATE -------------------------------------------------- */

static void
a_check_of_a_load_waits_for_its_end_and_others_wait_behind_it(void **state)
{
	struct stream s = save(src);
	unsigned char both[64];
	struct peer_msg msg;
	size_t len;
	int fd;

	(void)state;
	fd = begin(dst, LOAD);
	len = build_msg(both, VUS_CHECK_DEVICE_STATE, ASK, NULL, 0);
	len += build_msg(both + len, VUS_GET_STATUS, ASK, NULL, 0);
	peer_write(dst->front, both, len, NULL, 0);
	assert_true(lives(vus_session_readable(&dst->s)));
	expect_silence(dst);
	/* Whoever asks has written all; so this has a deadline. */
	assert_true(vus_session_mid_message(&dst->s));
	assert_int_equal(write(fd, s.bytes, s.len), s.len);
	(void)move(dst);
	expect_silence(dst); /* more might come */
	fd_closep(&fd);
	(void)move(dst);
	assert_true(peer_recv(dst->front, &msg));
	assert_int_equal(msg.head.request, VUS_CHECK_DEVICE_STATE);
	assert_int_equal(msg.payload[0], 0);
	assert_true(peer_recv(dst->front, &msg));
	assert_int_equal(msg.head.request, VUS_GET_STATUS);
	free(s.bytes);
}

/* Nobody would take it out of the buffer; and it could be the front-end's own
 * end of the connection, whose close nobody would hear of then. */
static void
no_descriptor_comes_while_a_check_waits(void **state)
{
	unsigned char both[64];
	size_t len;
	int fd;

	(void)state;
	fd = begin(dst, LOAD);
	assert_true(lives(
	    fake_request(dst, VUS_CHECK_DEVICE_STATE, ASK, NULL, 0, NULL, 0)));
	peer_write(dst->front, "", 1, &dst->front, 1);
	assert_int_equal(vus_session_readable(&dst->s), VUS_NEXT_BROKEN);
	fd_closep(&fd);
	fake_disconnect(dst);
	fake_connect(dst);
	fake_negotiate(dst, 0);
	/* Nor in what was read together with the question. */
	fd = begin(dst, LOAD);
	len = build_msg(both, VUS_CHECK_DEVICE_STATE, ASK, NULL, 0);
	peer_write(dst->front, both, len, NULL, 0);
	peer_write(dst->front, "", 1, &dst->front, 1);
	while (dst->s.front.nfds == 0 && lives(vus_session_readable(&dst->s)))
		continue;
	assert_non_null(strstr(dst->last, "file descriptors"));
	fd_closep(&fd);
}

static void
a_check_that_waits_hears_of_a_failure(void **state)
{
	uint64_t value;
	int fd;

	(void)state;
	fd = begin(dst, LOAD);
	assert_true(lives(
	    fake_request(dst, VUS_CHECK_DEVICE_STATE, ASK, NULL, 0, NULL, 0)));
	expect_silence(dst);
	fd_closep(&fd);
	(void)move(dst);
	expect_reply(dst, VUS_CHECK_DEVICE_STATE, &value, sizeof(value));
	assert_int_not_equal(value, 0);
}

static void
a_check_before_a_save_has_ended_ends_it(void **state)
{
	unsigned warned = src->logged[VUS_LOG_WARN];
	int fd;

	(void)state;
	fd = begin(src, SAVE);
	assert_int_not_equal(check(src), 0);
	assert_false(under_way(src));
	assert_int_equal(src->logged[VUS_LOG_WARN], warned + 1);
	fd_closep(&fd);
	assert_int_not_equal(check(src), 0);
}

static void
a_check_without_a_transfer_says_that_there_was_none(void **state)
{
	(void)state;
	assert_int_not_equal(check(src), 0);
	assert_true(lives(vus_session_state_ready(&src->s)));
}

/* --- refusals ------------------------------------------------------------ */

/* Refused, and a good one is taken afterwards. */
static void
refused(struct fake *f, uint32_t direction, uint32_t phase, int fd)
{
	unsigned warned = f->logged[VUS_LOG_WARN];
	bool before = under_way(f);

	assert_int_equal(begin_with(f, direction, phase, fd), 0x101);
	assert_int_equal(f->logged[VUS_LOG_WARN], warned + 1);
	assert_int_equal(under_way(f), before);
}

static void
a_running_device_has_no_state(void **state)
{
	int ends[2];

	(void)state;
	make_pipe(ends);
	fake_start_ring(src, 1);
	refused(src, SAVE, 0, ends[1]);
	refused(src, LOAD, 0, ends[0]);
	fake_stop_ring(src, 1);
	assert_int_equal(begin_with(src, SAVE, 0, ends[1]), 0x100);
	fd_closep(&ends[0]);
	fd_closep(&ends[1]);
}

static void
a_region_that_is_read_only_is_saved_and_not_loaded(void **state)
{
	int ends[2];

	(void)state;
	make_pipe(ends);
	src->device.shm[255].writable = false;
	refused(src, LOAD, 0, ends[0]);
	assert_int_equal(begin_with(src, SAVE, 0, ends[1]), 0x100);
	fd_closep(&ends[0]);
	fd_closep(&ends[1]);
}

static void
only_a_pipe_is_taken(void **state)
{
	int pair[2], event = make_eventfd(), file = make_memfd(PAGE);
	int path = open("/", O_PATH | O_CLOEXEC);

	(void)state;
	make_pair(pair);
	refused(src, SAVE, 0, pair[0]);
	refused(src, SAVE, 0, event);
	refused(src, LOAD, 0, file);
	refused(src, LOAD, 0, path);
	fd_closep(&pair[0]);
	fd_closep(&pair[1]);
	fd_closep(&event);
	fd_closep(&file);
	fd_closep(&path);
}

static void
one_transfer_at_a_time(void **state)
{
	int fd, ends[2];

	(void)state;
	fill(src, 100);
	fd = begin(src, SAVE);
	make_pipe(ends);
	refused(src, SAVE, 0, ends[1]);
	refused(src, LOAD, 0, ends[0]);
	assert_true(under_way(src)); /* the first one */
	fd_closep(&fd);
	fd_closep(&ends[0]);
	fd_closep(&ends[1]);
}

static void
other_directions_and_phases_are_refused(void **state)
{
	int ends[2];

	(void)state;
	make_pipe(ends);
	refused(src, 2, 0, ends[1]);
	refused(src, UINT32_MAX, 0, ends[1]);
	refused(src, SAVE, 1, ends[1]);
	refused(src, LOAD, UINT32_MAX, ends[0]);
	fd_closep(&ends[0]);
	fd_closep(&ends[1]);
}

/* --- what ends a transfer ------------------------------------------------ */

static void
a_start_or_reset_of_the_device_ends_it(void **state)
{
	static const uint32_t directions[] = { SAVE, LOAD };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(directions); i++) {
		int fd = begin(src, directions[i]);

		fake_start_ring(src, 1);
		assert_false(under_way(src));
		assert_int_not_equal(check(src), 0);
		fake_stop_ring(src, 1);
		fd_closep(&fd);
		fd = begin(src, directions[i]);
		fake_ok(src, VUS_RESET_DEVICE, NULL, 0, NULL, 0);
		assert_false(under_way(src));
		assert_int_not_equal(check(src), 0);
		fd_closep(&fd);
	}
}

static void
the_end_of_the_session_closes_the_pipe(void **state)
{
	char byte;
	int fd;

	(void)state;
	fd = begin(src, SAVE);
	fake_disconnect(src);
	assert_int_equal(read(fd, &byte, 1), 0);
	fd_closep(&fd);
	fake_connect(src);
	fake_negotiate(src, 0);
	fd = begin(src, LOAD);
	assert_true(lives(
	    fake_request(src, VUS_CHECK_DEVICE_STATE, ASK, NULL, 0, NULL, 0)));
	fake_disconnect(src);
	assert_int_equal(write(fd, "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	fd_closep(&fd);
}

static void
a_front_end_that_stops_reading_fails_the_save(void **state)
{
	int fd;

	(void)state;
	fill(src, 100);
	fd = begin(src, SAVE);
	(void)move(src);
	assert_true(under_way(src));
	fd_closep(&fd);
	(void)move(src);
	assert_false(under_way(src));
	assert_int_not_equal(check(src), 0);
}

static void
a_front_end_that_is_gone_when_it_is_answered_ends_the_session(void **state)
{
	int fd = begin(dst, LOAD);

	(void)state;
	assert_true(lives(
	    fake_request(dst, VUS_CHECK_DEVICE_STATE, ASK, NULL, 0, NULL, 0)));
	fd_closep(&dst->front);
	fd_closep(&fd);
	/* Nobody hears the answer; the next read says that. */
	assert_true(lives(vus_session_state_ready(&dst->s)));
	assert_int_equal(vus_session_readable(&dst->s), VUS_NEXT_CLOSED);
}

static void
a_region_that_cannot_be_read_fails_the_save(void **state)
{
	static char junk[65536];

	(void)state; /* it is shorter than it says: before, or in a piece */
	for (unsigned late = 0; late < 2; late++) {
		int fd;

		fill(src, 100);
		fd = begin(src, SAVE);
		if (late != 0)
			(void)move(src);
		assert_int_equal(ftruncate(src->device.shm[3].fd, 0), 0);
		for (unsigned n = 0; under_way(src); n++) {
			assert_true(n < 1000);
			(void)move(src);
			assert_true(read(fd, junk, sizeof(junk)) != 0 ||
				    !under_way(src));
		}
		assert_int_not_equal(check(src), 0);
		fd_closep(&fd);
	}
}

static void
a_region_that_cannot_be_written_fails_the_load(void **state)
{
	struct stream full, empty, sparse;

	(void)state;
	empty = save(src);
	put_page(src, 0, 0);
	put_page(src, 4, 0);
	put_page(src, 4, 2);
	sparse = save(src);
	fill(src, 100);
	full = save(src);
	put_page(dst, 4, 1);
	assert_int_equal(
	    fcntl(dst->device.shm[4].fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_int_not_equal(load(dst, full.bytes, full.len, PAGE), 0);
	assert_int_not_equal(load(dst, empty.bytes, empty.len, PAGE), 0);
	assert_int_not_equal(load(dst, sparse.bytes, sparse.len, PAGE), 0);
	free(empty.bytes);
	free(sparse.bytes);
	free(full.bytes);
}

/* --- streams that are wrong ---------------------------------------------- */

static void
expect_failure(const unsigned char *bytes, size_t len)
{
	unsigned warned = dst->logged[VUS_LOG_WARN];

	assert_int_not_equal(load(dst, bytes, len, PAGE), 0);
	assert_int_equal(dst->logged[VUS_LOG_WARN], warned + 1);
}

static void
the_state_of_another_device_is_not_loaded(void **state)
{
	/* Magic, version, name, sizes of the first and the last region, and
	 * of one that is not there; the last byte of the record. */
	static const size_t places[] = { 0, 8, 16, 16 + 31, 48, 48 + 1,
		48 + 255 * 8 + 1, 48 + 7 * 8, 4095 };
	struct stream s;

	(void)state;
	fill(src, 1);
	s = save(src);
	for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
		s.bytes[places[i]] ^= 1;
		expect_failure(s.bytes, s.len);
		s.bytes[places[i]] ^= 1;
	}
	assert_int_equal(load(dst, s.bytes, s.len, PAGE), 0);
	free(s.bytes);
}

static void
a_stream_that_ends_early_fails(void **state)
{
	struct stream s;

	(void)state;
	put_page(src, 0, 0);
	put_page(src, 3, 5);
	s = save(src);
	assert_int_equal(s.len, 6 * PAGE);
	for (size_t len = 0; len < s.len; len += PAGE / 2)
		expect_failure(s.bytes, len);
	expect_failure(s.bytes, s.len - 1);
	assert_int_equal(load(dst, s.bytes, s.len, PAGE), 0);
	expect_same();
	free(s.bytes);
}

static void
bytes_behind_the_end_fail(void **state)
{
	static const size_t more[] = { 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE };
	struct stream s;

	(void)state;
	s = save(src);
	memset(s.bytes + s.len, 0, 3 * PAGE);
	for (unsigned i = 0; i < ARRAY_LEN(more); i++)
		expect_failure(s.bytes, s.len + more[i]);
	free(s.bytes);
}

static void
put_u64(unsigned char *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

/* The record of a piece. */
static void
put_piece(
    unsigned char *record, uint64_t shmid, uint64_t offset, uint64_t present)
{
	memset(record, 0, PAGE);
	put_u64(record, MAGIC);
	put_u64(record + 8, shmid);
	put_u64(record + 16, offset);
	put_u64(record + 24, present);
}

static void
records_that_cannot_be_fail(void **state)
{
	static const struct {
		uint64_t shmid, offset, present;
		bool good;
	} cases[] = {
		{ 0, 0, 1, true },
		{ 3, 0, UINT64_MAX, true },
		{ 3, 64 * PAGE, 1, true },
		{ 3, 5 * PAGE, 1, true }, /* any page may begin a piece */
		{ 3, 699 * PAGE, 1, true },
		{ 255, 192 * PAGE, 0x1f, true },
		/* No region there, or no such number. */
		{ 1, 0, 1, false },
		{ 256, 0, 1, false },
		{ UINT64_C(1) << 32, 0, 1, false },
		{ UINT64_MAX, 0, 1, false },
		/* Not a page of it. */
		{ 0, 1, 1, false },
		{ 0, PAGE - 1, 1, false },
		{ 3, 1, 1, false },
		{ 3, 5 * PAGE + PAGE / 2, 1, false },
		{ 0, PAGE, 1, false },
		{ 3, 700 * PAGE, 1, false },
		{ 3, UINT64_MAX & ~(PAGE - 1), 1, false },
		{ 3, UINT64_C(1) << 63, 1, false },
		/* Pages behind its end. */
		{ 0, 0, 2, false },
		{ 0, 0, UINT64_C(1) << 63, false },
		{ 3, 699 * PAGE, 2, false },
		{ 255, 192 * PAGE, 0x20, false },
	};
	struct stream s;

	(void)state;
	s = save(src);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		unsigned char *at = s.bytes + PAGE;
		uint64_t pages =
		    (uint64_t)__builtin_popcountll(cases[i].present);

		put_piece(
		    at, cases[i].shmid, cases[i].offset, cases[i].present);
		memset(at + PAGE, 0x11, pages * PAGE);
		at += (pages + 1) * PAGE;
		put_piece(at, 256, 0, 0);
		at += PAGE;
		if (cases[i].good)
			assert_int_equal(
			    load(dst, s.bytes, (size_t)(at - s.bytes), PAGE),
			    0);
		else
			expect_failure(s.bytes, (size_t)(at - s.bytes));
		/* For that reason, and not for what follows from it. */
		if (!cases[i].good)
			assert_non_null(
			    strstr(dst->last, cases[i].shmid >= VUS_SHMEM_MAX
						  ? "no region"
						  : "beyond its region"));
	}
	free(s.bytes);
}

static void
records_out_of_order_fail(void **state)
{
	static const struct {
		uint64_t shmid, offset;
	} second[] = {
		{ 0, 0 },		 /* another region */
		{ 3, 0 },		 /* before the first */
		{ 3, 128 * PAGE },	 /* the same one */
		{ 3, (128 + 9) * PAGE }, /* the page that has come */
	};
	struct stream s;

	(void)state;
	s = save(src);
	put_piece(s.bytes + PAGE, 3, 128 * PAGE, 1U << 9);
	memset(s.bytes + 2 * PAGE, 0x11, PAGE);
	memset(s.bytes + 4 * PAGE, 0x22, PAGE);
	put_piece(s.bytes + 5 * PAGE, 256, 0, 0);
	for (unsigned i = 0; i < ARRAY_LEN(second); i++) {
		put_piece(
		    s.bytes + 3 * PAGE, second[i].shmid, second[i].offset, 1);
		expect_failure(s.bytes, 6 * PAGE);
	}
	/* The next page is in order. */
	put_piece(s.bytes + 3 * PAGE, 3, (128 + 10) * PAGE, 1);
	assert_int_equal(load(dst, s.bytes, 6 * PAGE, PAGE), 0);
	free(s.bytes);
}

static void
a_record_that_is_none_fails(void **state)
{
	struct stream s;

	(void)state;
	put_page(src, 0, 0);
	s = save(src);
	s.bytes[PAGE] ^= 1; /* of a piece */
	expect_failure(s.bytes, s.len);
	s.bytes[PAGE] ^= 1;
	s.bytes[3 * PAGE] ^= 1; /* of the end */
	expect_failure(s.bytes, s.len);
	free(s.bytes);
}

static void
chance_does_no_harm(void **state)
{
	struct stream s;

	(void)state;
	fill(src, 2);
	s = save(src);
	for (unsigned i = 0; i < 300; i++) {
		/* Somewhere behind the header, or a piece that could be. */
		size_t record = PAGE * (1 + pick(s.len / PAGE - 1));
		unsigned char *kept = malloc(s.len);

		assert_non_null(kept);
		memcpy(kept, s.bytes, s.len);
		if (pick(2) == 0)
			put_piece(s.bytes + record, pick(2) * 3,
			    pick(800) * PAGE, chance & chance << 7);
		for (unsigned k = (unsigned)pick(8); k > 0; k--)
			s.bytes[PAGE + pick(s.len - PAGE)] =
			    (unsigned char)pick(256);
		(void)load(dst, s.bytes, s.len, 16 * PAGE);
		assert_false(under_way(dst));
		memcpy(s.bytes, kept, s.len);
		free(kept);
	}
	/* And what was right is right afterwards. */
	assert_int_equal(load(dst, s.bytes, s.len, PAGE), 0);
	expect_same();
	for (unsigned i = 0; i < 20; i++) {
		for (size_t k = PAGE; k < s.len; k++)
			s.bytes[k] = (unsigned char)pick(256);
		expect_failure(s.bytes, s.len);
	}
	free(s.bytes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STATE_TEST(what_is_saved_is_restored_to_the_byte),
		STATE_TEST(a_pipe_of_one_page_is_enough),
		STATE_TEST(
		    the_first_and_the_last_page_of_each_region_are_there),
		STATE_TEST(a_stream_may_come_in_pieces_of_any_size),
		STATE_TEST(nothing_is_saved_of_pages_that_are_zero),
		STATE_TEST(
		    pages_that_nobody_has_touched_take_up_no_memory_afterwards),
		STATE_TEST(a_device_without_regions_has_a_state_too),
		STATE_TEST(long_work_is_done_in_shares),
		STATE_TEST(a_second_transfer_may_follow_the_first),
		STATE_TEST(
		    a_check_of_a_load_waits_for_its_end_and_others_wait_behind_it),
		STATE_TEST(no_descriptor_comes_while_a_check_waits),
		STATE_TEST(a_check_that_waits_hears_of_a_failure),
		STATE_TEST(a_check_before_a_save_has_ended_ends_it),
		STATE_TEST(a_check_without_a_transfer_says_that_there_was_none),
		STATE_TEST(a_running_device_has_no_state),
		STATE_TEST(a_region_that_is_read_only_is_saved_and_not_loaded),
		STATE_TEST(only_a_pipe_is_taken),
		STATE_TEST(one_transfer_at_a_time),
		STATE_TEST(other_directions_and_phases_are_refused),
		STATE_TEST(a_start_or_reset_of_the_device_ends_it),
		STATE_TEST(the_end_of_the_session_closes_the_pipe),
		STATE_TEST(a_front_end_that_stops_reading_fails_the_save),
		STATE_TEST(
		    a_front_end_that_is_gone_when_it_is_answered_ends_the_session),
		STATE_TEST(a_region_that_cannot_be_read_fails_the_save),
		STATE_TEST(a_region_that_cannot_be_written_fails_the_load),
		STATE_TEST(the_state_of_another_device_is_not_loaded),
		STATE_TEST(a_stream_that_ends_early_fails),
		STATE_TEST(bytes_behind_the_end_fail),
		STATE_TEST(records_that_cannot_be_fail),
		STATE_TEST(records_out_of_order_fail),
		STATE_TEST(a_record_that_is_none_fails),
		STATE_TEST(chance_does_no_harm),
	};

	/* As the worker does. */
	(void)signal(SIGPIPE, SIG_IGN);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
