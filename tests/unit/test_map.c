/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * map.h, the invariant by hand: one case each of when a SHMEM_MAP goes out,
 * what it looks like, and what becomes of its answer. The same by chance and
 * in bulk is in test_map_model.c. Linked with --wrap=sendmsg, to see in which
 * order messages leave and to let a send fail.
 */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "proto/fd.h"
#include "proto/map.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define ASK (VUS_VERSION | VUS_FLAG_NEED_REPLY)

static struct fake *fake;

/* --- what is sent, in order ---------------------------------------------- */

static int sent[16]; /* the sockets, in order */
static unsigned nsent;
static int fail_with; /* errno of the next send with a descriptor, or 0 */

ssize_t __real_sendmsg(int fd, const struct msghdr *mh, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *mh, int flags);

ssize_t
__wrap_sendmsg(int fd, const struct msghdr *mh, int flags)
{
	if (fake != NULL &&
	    (fd == fake->s.front.fd || fd == fake->s.backend.fd)) {
		if (mh->msg_controllen != 0 && fail_with != 0) {
			errno = fail_with;
			return -1;
		}
		if (nsent < ARRAY_LEN(sent))
			sent[nsent++] = fd;
	}
	return __real_sendmsg(fd, mh, flags);
}

/* --- the fixture --------------------------------------------------------- */

static void
connect_without(uint64_t without)
{
	fake_connect(fake);
	fake_negotiate(fake, without);
	nsent = 0;
	fail_with = 0;
}

static int
setup(void **state)
{
	(void)fds_before(state);
	fake = fake_new();
	fake_add_region(fake, 0, true);
	connect_without(0);
	return 0;
}

static int
teardown(void **state)
{
	fake_free(fake);
	fake = NULL;
	return fds_after(state);
}

#define MAP_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* Guest physical addresses where our region may appear. */
#define HERE UINT64_C(0x100000)
#define THERE UINT64_C(0x200000)

/* A memory table of the guest's own memory and, unless 0, region 0 at a and
 * at b. */
static void
set_mem_table(uint64_t a, uint64_t b)
{
	unsigned char payload[8 + 3 * 32];
	uint64_t at[3] = { 0x1000, a, b };
	uint32_t n = 0;
	int ram = make_memfd(0x1000), fds[3];

	for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
		struct vus_wire_mem_region r = {
			.guest_addr = at[i], .user_addr = at[i], .size = 0x1000
		};

		if (at[i] == 0)
			continue;
		memcpy(payload + 8 + n * 32, &r, sizeof(r));
		fds[n++] = i == 0 ? ram : fake->device.shm[0].fd;
	}
	memcpy(payload, (const uint32_t[]){ n, 0 }, 8);
	fake_ok(fake, VUS_SET_MEM_TABLE, payload, 8 + n * 32, fds, n);
	fd_closep(&ram);
}

/* A start in which the region is mapped, and the front-end says so. */
static void
start_and_map(void)
{
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
	fake_answer(fake, 0);
}

/* The same, and it appears at HERE. */
static void
start_and_map_here(void)
{
	set_mem_table(0, 0);
	start_and_map();
	set_mem_table(HERE, 0);
}

static void
start_again(void)
{
	fake_stop_ring(fake, 0);
	fake_start_ring(fake, 0);
}

static void
answer_raw(
    uint32_t request, uint32_t flags, const void *payload, size_t len, int fd)
{
	peer_send(fake->channel, request, flags, payload, len, &fd, fd >= 0);
	assert_int_equal(vus_session_backend_ready(&fake->s), VUS_NEXT_WAIT);
}

/* --- when ---------------------------------------------------------------- */

static void
a_map_is_sent_before_the_ack_of_enable(void **state)
{
	int kick = make_eventfd();

	(void)state;
	fake_set_channel(fake);
	fake_ok_fd(fake, VUS_SET_VRING_KICK, 0, kick);
	expect_no_map(fake);
	nsent = 0;
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 1);
	assert_int_equal(nsent, 2);
	assert_int_equal(sent[0], fake->s.backend.fd);
	assert_int_equal(sent[1], fake->s.front.fd);
	expect_map(fake, 0);
	expect_no_map(fake);
	fd_closep(&kick);
}

static void
the_ack_of_enable_does_not_wait_for_the_answer(void **state)
{
	(void)state;
	fake_set_channel(fake);
	fake_start_ring(fake, 0); /* expects the ack, answers nothing */
	set_mem_table(0, 0);
	expect_map(fake, 0);
	expect_no_map(fake);
}

static void
each_region_is_mapped_once_and_as_writable_as_it_is(void **state)
{
	static const unsigned ids[] = { 0, 1, 7, 254, 255 };

	(void)state;
	fake_disconnect(fake);
	for (unsigned i = 1; i < ARRAY_LEN(ids); i++)
		fake_add_region(fake, ids[i], i % 2);
	connect_without(0);
	fake_set_channel(fake);
	fake_start_ring(fake, 0);
	for (unsigned i = 0; i < ARRAY_LEN(ids); i++)
		expect_map(fake, ids[i]);
	expect_no_map(fake);
}

static void
another_ring_starts_nothing(void **state)
{
	(void)state;
	fake_set_channel(fake);
	fake_start_ring(fake, 1);
	expect_no_map(fake);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
	fake_stop_ring(fake, 1);
	fake_start_ring(fake, 1);
	expect_no_map(fake);
}

static void
enabling_again_or_another_kick_maps_no_second_time(void **state)
{
	int kick = make_eventfd();

	(void)state;
	fake_set_channel(fake);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 1);
	fake_ok_fd(fake, VUS_SET_VRING_KICK, 0, kick);
	fake_answer(fake, 0);
	set_mem_table(0, 0);
	expect_no_map(fake);
	fd_closep(&kick);
}

static void
each_start_maps_again(void **state)
{
	(void)state;
	fake_set_channel(fake);
	for (unsigned i = 0; i < 3; i++) {
		fake_start_ring(fake, 0);
		expect_map(fake, 0);
		fake_answer(fake, 0);
		fake_stop_ring(fake, 0);
		expect_no_map(fake);
	}
}

static void
without_bit_30_the_kick_descriptor_starts(void **state)
{
	int kick = make_eventfd();

	(void)state;
	fake_ok_u64(fake, VUS_SET_FEATURES, VUS_BIT(0));
	fake_set_channel(fake);
	fake_ok_fd(fake, VUS_SET_VRING_KICK, 0, kick);
	expect_map(fake, 0);
	fd_closep(&kick);
}

static void
a_region_in_the_memory_table_that_we_have_not_mapped_is_mapped(void **state)
{
	(void)state; /* another device of the same VM has */
	fake_set_channel(fake);
	set_mem_table(HERE, 0);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
}

static void
a_mapping_that_has_survived_the_stop_is_not_made_again(void **state)
{
	(void)state;
	fake_set_channel(fake);
	start_and_map_here();
	for (unsigned i = 0; i < 3; i++) {
		start_again();
		expect_no_map(fake);
		assert_int_equal(fake->s.state.map[0], VUS_MAP_DONE);
	}
}

static void
a_mapping_that_has_left_the_memory_table_is_made_again(void **state)
{
	(void)state;
	fake_set_channel(fake);
	start_and_map_here();
	/* Not before the next start. */
	set_mem_table(0, 0);
	expect_no_map(fake);
	start_again();
	expect_map(fake, 0);
	/* Nor is it forgotten where it was: it may come back there. */
	fake_answer(fake, 0);
	set_mem_table(HERE, 0);
	start_again();
	expect_no_map(fake);
}

static void
a_region_elsewhere_in_the_memory_table_is_mapped(void **state)
{
	(void)state;
	fake_set_channel(fake);
	start_and_map_here();
	/* Ours is gone, and the mapping of another device has come. */
	set_mem_table(THERE, 0);
	start_again();
	expect_map(fake, 0);
	/* With both it is there. */
	set_mem_table(HERE, THERE);
	start_again();
	expect_no_map(fake);
}

static void
a_mapping_beside_that_of_another_device_is_known_by_its_place(void **state)
{
	(void)state;
	fake_set_channel(fake);
	set_mem_table(THERE, 0);
	start_and_map();
	set_mem_table(THERE, HERE);
	start_again();
	expect_no_map(fake);
	set_mem_table(THERE, 0);
	start_again();
	expect_map(fake, 0);
}

static void
two_new_entries_at_once_tell_nothing(void **state)
{
	(void)state;
	fake_set_channel(fake);
	set_mem_table(0, 0);
	start_and_map();
	set_mem_table(HERE, THERE);
	start_again();
	expect_map(fake, 0);
}

static void
a_mapping_that_was_refused_is_not_looked_for(void **state)
{
	(void)state;
	fake_set_channel(fake);
	set_mem_table(0, 0);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
	fake_answer(fake, 1);
	set_mem_table(HERE, 0);
	start_again();
	expect_map(fake, 0);
}

static void
an_answer_that_is_not_read_yet_counts_for_the_table_that_follows(void **state)
{
	uint64_t zero = 0;

	(void)state; /* QEMU answers first, and the loop may read it later */
	fake_set_channel(fake);
	set_mem_table(0, 0);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
	peer_send(fake->channel, VUS_BACKEND_SHMEM_MAP,
	    VUS_VERSION | VUS_FLAG_REPLY, &zero, sizeof(zero), NULL, 0);
	set_mem_table(HERE, 0);
	start_again();
	expect_no_map(fake);
}

static void
a_mapping_that_appears_as_a_slot_is_known_too(void **state)
{
	struct vus_wire_single_region slot = { .region = { .guest_addr = HERE,
						   .user_addr = HERE,
						   .size = 0x1000 } };

	(void)state;
	fake_set_channel(fake);
	start_and_map();
	fake_ok(fake, VUS_ADD_MEM_REG, &slot, sizeof(slot),
	    &fake->device.shm[0].fd, 1);
	start_again();
	expect_no_map(fake);
	fake_ok(fake, VUS_REM_MEM_REG, &slot, sizeof(slot), NULL, 0);
	start_again();
	expect_map(fake, 0);
}

static void
a_table_with_more_of_our_files_than_can_be_noted_tells_nothing(void **state)
{
	struct vus_wire_single_region slot = { .region = { .size = 0x1000 } };

	(void)state;
	fake_set_channel(fake);
	for (unsigned i = 0; i <= VUS_MEM_TABLE_MAX; i++) {
		slot.region.guest_addr = THERE + i * 0x1000;
		slot.region.user_addr = THERE + i * 0x1000;
		fake_ok(fake, VUS_ADD_MEM_REG, &slot, sizeof(slot),
		    &fake->device.shm[0].fd, 1);
	}
	start_and_map();
	slot.region.guest_addr = HERE;
	slot.region.user_addr = HERE;
	fake_ok(fake, VUS_ADD_MEM_REG, &slot, sizeof(slot),
	    &fake->device.shm[0].fd, 1);
	start_again();
	expect_map(fake, 0);
}

static void
another_owner_begins_without_a_mapping(void **state)
{
	(void)state; /* device_del and device_add on one connection */
	fake_set_channel(fake);
	start_and_map_here();
	fake_ok(fake, VUS_SET_OWNER, NULL, 0, NULL, 0);
	set_mem_table(HERE, 0);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
}

static void
another_owner_does_not_wait_for_the_mapping_of_the_last(void **state)
{
	(void)state;
	fake_set_channel(fake);
	set_mem_table(0, 0);
	start_and_map();
	fake_ok(fake, VUS_SET_OWNER, NULL, 0, NULL, 0);
	set_mem_table(0, 0);
	set_mem_table(HERE, 0);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
}

static void
without_shmem_nothing_is_ever_sent(void **state)
{
	(void)state;
	fake_disconnect(fake);
	connect_without(VUS_BIT(VUS_F_SHMEM));
	fake_set_channel(fake);
	fake_start_ring(fake, 0);
	fake_set_channel(fake);
	assert_false(vus_map_allowed(&fake->s));
	expect_no_map(fake);
}

static void
nothing_is_sent_at_a_stop_or_after_it(void **state)
{
	static const uint32_t stops[] = { VUS_SET_VRING_ENABLE,
		VUS_GET_VRING_BASE, VUS_RESET_DEVICE, VUS_SET_OWNER,
		VUS_RESET_OWNER, VUS_SET_STATUS };

	(void)state;
	fake_set_channel(fake);
	for (unsigned i = 0; i < ARRAY_LEN(stops); i++) {
		bool has = stops[i] == VUS_SET_VRING_ENABLE ||
			   stops[i] == VUS_GET_VRING_BASE ||
			   stops[i] == VUS_SET_STATUS;
		uint64_t zero = 0;
		struct peer_msg msg;

		fake_start_ring(fake, 0);
		expect_map(fake, 0);
		assert_true(vus_map_allowed(&fake->s));
		(void)fake_request(
		    fake, stops[i], ASK, &zero, has ? 8 : 0, NULL, 0);
		assert_true(peer_recv(fake->front, &msg));
		assert_false(vus_map_allowed(&fake->s));
		assert_false(vus_session_backend_wants_write(&fake->s));
		fake_answer(fake, 0);
		set_mem_table(0, 0);
		expect_no_map(fake);
		fake_set_channel(fake);
		expect_no_map(fake);
	}
}

static void
closing_the_session_sends_nothing(void **state)
{
	int channel;

	(void)state;
	fake_set_channel(fake);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
	channel = fake->channel;
	vus_session_close(&fake->s);
	assert_true(peer_sees_end(channel));
	assert_true(peer_sees_end(fake->front));
}

/* --- the channel --------------------------------------------------------- */

static void
a_channel_that_comes_while_started_gets_the_map(void **state)
{
	(void)state;
	fake_start_ring(fake, 0);
	nsent = 0;
	fake_set_channel(fake);
	expect_map(fake, 0);
	/* Also here before the acknowledgement. */
	assert_int_equal(nsent, 2);
	assert_int_equal(sent[1], fake->s.front.fd);
}

static void
a_channel_in_place_of_another_gets_what_was_not_answered(void **state)
{
	/* Cloud Hypervisor: enabled while the old channel is still there,
	 * and a new one comes last. */
	(void)state;
	fake_set_channel(fake);
	fake_start_ring(fake, 0);
	fake_set_channel(fake);
	expect_map(fake, 0);
	fake_answer(fake, 0);
	assert_true(fake->watched_backend >= 0);
}

static void
a_channel_in_place_of_another_gets_nothing_that_is_in_the_table(void **state)
{
	(void)state;
	fake_set_channel(fake);
	start_and_map_here();
	fake_set_channel(fake);
	expect_no_map(fake);
}

static void
a_channel_that_ends_is_closed_quietly_and_may_come_again(void **state)
{
	unsigned warned = fake->logged[VUS_LOG_WARN];

	(void)state;
	fake_set_channel(fake);
	fd_closep(&fake->channel);
	assert_int_equal(vus_session_backend_ready(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(fake->watched_backend, -1);
	assert_int_equal(fake->logged[VUS_LOG_WARN], warned);
	fake_start_ring(fake, 0);
	fake_set_channel(fake);
	expect_map(fake, 0);
}

static void
a_channel_that_ends_with_a_map_unread_is_closed_and_nothing_dies(void **state)
{
	(void)state;
	fake_set_channel(fake);
	fake_start_ring(fake, 0);
	fd_closep(&fake->channel);
	assert_int_equal(vus_session_backend_ready(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(fake->watched_backend, -1);
	fake_stop_ring(fake, 0);
	fake_set_channel(fake);
	expect_no_map(fake);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
}

static void
a_channel_that_is_gone_at_the_start_costs_only_itself(void **state)
{
	(void)state;
	fake_set_channel(fake);
	fd_closep(&fake->channel);
	fake_start_ring(fake, 0); /* EPIPE; acknowledged all the same */
	assert_int_equal(fake->watched_backend, -1);
	assert_non_null(strstr(fake->last, "shmid 0"));
}

static void
a_map_that_the_system_refuses_to_send_costs_the_channel(void **state)
{
	(void)state;
	fake_set_channel(fake);
	fail_with = EPERM;
	fake_start_ring(fake, 0);
	fail_with = 0;
	assert_int_equal(fake->watched_backend, -1);
	assert_non_null(strstr(fake->last, "shmid 0"));
	assert_false(vus_session_backend_wants_write(&fake->s));
	fake_set_channel(fake);
	expect_map(fake, 0);
}

/* Other front-ends do not read what they were sent. */
static void
a_map_waits_until_fewer_descriptors_are_on_their_way(void **state)
{
	unsigned warned;

	(void)state;
	fake_set_channel(fake);
	fail_with = ETOOMANYREFS;
	fake_start_ring(fake, 0);
	warned = fake->logged[VUS_LOG_WARN];
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_POLL);
		assert_false(vus_session_backend_wants_write(&fake->s));
		expect_no_map(fake);
	}
	assert_int_equal(fake->logged[VUS_LOG_WARN], warned);
	assert_non_null(strstr(fake->last, "shmid 0 waits"));
	fail_with = 0;
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	expect_map(fake, 0);
	fake_answer(fake, 0);
}

/* The channel has no room: what waits goes out when it has, in this start. */
static void
start_without_room(void)
{
	int pair[2];
	char junk[256] = { 0 };

	make_pair(pair);
	shrink_sndbuf(pair[0]);
	while (write(pair[0], junk, sizeof(junk)) > 0)
		continue;
	while (write(pair[0], junk, 1) > 0)
		continue;
	fake_ok(fake, VUS_SET_BACKEND_REQ_FD, NULL, 0, &pair[0], 1);
	fd_closep(&pair[0]);
	fake->channel = pair[1];
	fake_start_ring(fake, 0);
	assert_true(vus_session_backend_wants_write(&fake->s));
}

static void
make_room(void)
{
	char junk[4096];

	while (read(fake->channel, junk, sizeof(junk)) > 0)
		continue;
	assert_int_equal(vus_session_backend_ready(&fake->s), VUS_NEXT_WAIT);
	assert_false(vus_session_backend_wants_write(&fake->s));
}

static void
a_channel_without_room_gets_the_map_later(void **state)
{
	(void)state;
	start_without_room();
	assert_int_equal(vus_session_backend_ready(&fake->s), VUS_NEXT_WAIT);
	assert_true(vus_session_backend_wants_write(&fake->s));
	make_room();
	expect_map(fake, 0);
	expect_no_map(fake);
}

static void
a_map_that_waits_for_room_does_not_survive_the_stop(void **state)
{
	(void)state;
	start_without_room();
	fake_stop_ring(fake, 0);
	assert_false(vus_session_backend_wants_write(&fake->s));
	make_room();
	expect_no_map(fake);
}

static void
a_map_that_waits_is_dropped_if_the_mapping_turns_up(void **state)
{
	(void)state;
	fake_set_channel(fake);
	start_and_map_here();
	/* It is not in the table when the device starts again ... */
	set_mem_table(0, 0);
	fake_stop_ring(fake, 0);
	fd_closep(&fake->channel);
	start_without_room();
	/* ... but is before the map could go out. */
	set_mem_table(HERE, 0);
	make_room();
	expect_no_map(fake);
}

/* --- answers ------------------------------------------------------------- */

static void
a_refused_map_is_one_warning_that_names_the_region(void **state)
{
	static const uint64_t values[] = { 1, (uint64_t)-ENOSYS, UINT64_MAX,
		UINT64_C(1) << 63 };

	(void)state; /* nothing was ever mapped */
	fake_set_channel(fake);
	for (unsigned i = 0; i < ARRAY_LEN(values); i++) {
		unsigned warned;

		fake_start_ring(fake, 0);
		warned = fake->logged[VUS_LOG_WARN];
		expect_map(fake, 0);
		fake_answer(fake, values[i]);
		assert_int_equal(fake->logged[VUS_LOG_WARN], warned + 1);
		assert_non_null(strstr(fake->last, "shmid 0"));
		assert_true(fake->watched_backend >= 0);
		/* It is not tried again in this start. */
		expect_no_map(fake);
		fake_stop_ring(fake, 0);
	}
}

static void
a_refusal_of_what_was_mapped_before_is_no_warning(void **state)
{
	unsigned warned, informed;

	(void)state; /* crosvm keeps the mapping */
	fake_set_channel(fake);
	start_and_map();
	start_again();
	expect_map(fake, 0);
	warned = fake->logged[VUS_LOG_WARN];
	informed = fake->logged[VUS_LOG_INFO];
	fake_answer(fake, 1);
	assert_int_equal(fake->logged[VUS_LOG_WARN], warned);
	assert_int_equal(fake->logged[VUS_LOG_INFO], informed + 1);
	/* For another device on the connection it is one. */
	fake_ok(fake, VUS_SET_OWNER, NULL, 0, NULL, 0);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
	warned = fake->logged[VUS_LOG_WARN];
	fake_answer(fake, 1);
	assert_int_equal(fake->logged[VUS_LOG_WARN], warned + 1);
}

static void
an_answer_after_the_stop_is_of_no_interest(void **state)
{
	unsigned warned;

	(void)state;
	fake_set_channel(fake);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
	fake_stop_ring(fake, 0);
	warned = fake->logged[VUS_LOG_WARN];
	fake_answer(fake, 1);
	assert_int_equal(fake->logged[VUS_LOG_WARN], warned);
	assert_true(fake->watched_backend >= 0);
}

static void
an_answer_to_an_earlier_start_says_nothing_of_this_one(void **state)
{
	unsigned warned;

	(void)state;
	fake_set_channel(fake);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
	fake_stop_ring(fake, 0);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
	warned = fake->logged[VUS_LOG_WARN];
	fake_answer(fake, 0); /* to the first: mapped, and dropped since */
	fake_answer(fake, 1); /* to the second: the guest sees no memory */
	assert_int_equal(fake->logged[VUS_LOG_WARN], warned + 1);
}

static void
answers_that_make_no_sense_close_the_channel_alone(void **state)
{
	static const uint64_t zero[2];
	static const struct {
		uint32_t request, flags;
		size_t len;
		bool fd;
	} cases[] = {
		{ VUS_BACKEND_SHMEM_UNMAP, 5, 8, false },
		{ 0, 5, 8, false },
		{ UINT32_MAX, 5, 8, false },
		{ VUS_BACKEND_SHMEM_MAP, 1, 8, false }, /* a request */
		{ VUS_BACKEND_SHMEM_MAP, 6, 8, false }, /* version 2 */
		{ VUS_BACKEND_SHMEM_MAP, 4, 8, false },
		{ VUS_BACKEND_SHMEM_MAP, 0x15, 8, false },
		{ VUS_BACKEND_SHMEM_MAP, 5, 0, false },
		{ VUS_BACKEND_SHMEM_MAP, 5, 7, false },
		{ VUS_BACKEND_SHMEM_MAP, 5, 9, false },
		{ VUS_BACKEND_SHMEM_MAP, 5, 8, true },
	};
	int fd = make_memfd(0);

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		unsigned warned;

		fake_set_channel(fake);
		fake_start_ring(fake, 0);
		expect_map(fake, 0);
		warned = fake->logged[VUS_LOG_WARN];
		answer_raw(cases[i].request, cases[i].flags, zero, cases[i].len,
		    cases[i].fd ? fd : -1);
		assert_int_equal(fake->watched_backend, -1);
		assert_int_equal(fake->logged[VUS_LOG_WARN], warned + 1);
		fake_stop_ring(fake, 0);
	}
	fd_closep(&fd);
}

static void
an_answer_that_claims_too_much_closes_the_channel(void **state)
{
	struct vus_wire_header head = { .request = VUS_BACKEND_SHMEM_MAP,
		.flags = VUS_VERSION | VUS_FLAG_REPLY,
		.size = VUS_PAYLOAD_MAX + 1 };

	(void)state;
	fake_set_channel(fake);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
	peer_write(fake->channel, &head, sizeof(head), NULL, 0);
	assert_int_equal(vus_session_backend_ready(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(fake->watched_backend, -1);
}

static void
half_an_answer_waits_for_the_other_half(void **state)
{
	unsigned char buf[64];
	uint64_t zero = 0;
	size_t len = build_msg(buf, VUS_BACKEND_SHMEM_MAP,
	    VUS_VERSION | VUS_FLAG_REPLY, &zero, sizeof(zero));

	(void)state;
	fake_set_channel(fake);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
	for (size_t i = 0; i < len; i++) {
		assert_true(fake->watched_backend >= 0);
		assert_int_equal(fake->s.state.map[0], VUS_MAP_SENT);
		peer_write(fake->channel, buf + i, 1, NULL, 0);
		assert_int_equal(
		    vus_session_backend_ready(&fake->s), VUS_NEXT_WAIT);
	}
	assert_int_equal(fake->s.state.map[0], VUS_MAP_DONE);
}

static void
an_answer_that_nobody_asked_for_closes_the_channel(void **state)
{
	(void)state;
	fake_set_channel(fake);
	fake_answer(fake, 0);
	assert_int_equal(fake->watched_backend, -1);
	/* Twice the same one likewise. */
	fake_set_channel(fake);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
	fake_answer(fake, 0);
	assert_true(fake->watched_backend >= 0);
	fake_answer(fake, 0);
	assert_int_equal(fake->watched_backend, -1);
}

static void
without_reply_ack_no_answer_is_asked_for(void **state)
{
	int kick = make_eventfd();
	uint64_t value = 0;
	bool need_reply;
	unsigned shmid;
	int pair[2];

	(void)state;
	fake_disconnect(fake);
	connect_without(VUS_BIT(VUS_F_REPLY_ACK));
	make_pair(pair);
	(void)fake_request(
	    fake, VUS_SET_BACKEND_REQ_FD, VUS_VERSION, NULL, 0, &pair[0], 1);
	fd_closep(&pair[0]);
	fake->channel = pair[1];
	(void)fake_request(fake, VUS_SET_VRING_KICK, VUS_VERSION, &value,
	    sizeof(value), &kick, 1);
	value = UINT64_C(1) << 32;
	(void)fake_request(fake, VUS_SET_VRING_ENABLE, VUS_VERSION, &value,
	    sizeof(value), NULL, 0);
	assert_true(fake_take_map(fake, &shmid, &need_reply));
	assert_false(need_reply);
	expect_silence(fake);
	fd_closep(&kick);
}

static void
answers_that_never_come_are_bounded(void **state)
{
	unsigned asked = 0, shmid;

	(void)state;
	fake_set_channel(fake);
	for (unsigned i = 0; i < VUS_PENDING_MAX + 10; i++) {
		bool need_reply;

		fake_start_ring(fake, 0);
		assert_true(fake_take_map(fake, &shmid, &need_reply));
		asked += need_reply;
		fake_stop_ring(fake, 0);
	}
	assert_int_equal(asked, VUS_PENDING_MAX);
	/* They may still come, all of them, and not one more. */
	for (unsigned i = 0; i < VUS_PENDING_MAX; i++) {
		fake_answer(fake, i & 1);
		assert_true(fake->watched_backend >= 0);
	}
	fake_answer(fake, 0);
	assert_int_equal(fake->watched_backend, -1);
}

/* --- what lies unread ---------------------------------------------------- */

/* Without REPLY_ACK: not even an answer could tell. */
static void
start_in_silence(void)
{
	AUTO_FD int kick = make_eventfd();
	uint64_t value = 0;

	assert_true(lives(fake_request(fake, VUS_SET_VRING_KICK, VUS_VERSION,
	    &value, sizeof(value), &kick, 1)));
	value = UINT64_C(1) << 32;
	assert_true(lives(fake_request(fake, VUS_SET_VRING_ENABLE, VUS_VERSION,
	    &value, sizeof(value), NULL, 0)));
	expect_silence(fake);
}

static void
stop_in_silence(void)
{
	uint64_t value = 0;

	assert_true(lives(fake_request(fake, VUS_SET_VRING_ENABLE, VUS_VERSION,
	    &value, sizeof(value), NULL, 0)));
	expect_silence(fake);
}

static void
set_channel_in_silence(void)
{
	int pair[2];

	make_pair(pair);
	assert_true(lives(fake_request(
	    fake, VUS_SET_BACKEND_REQ_FD, VUS_VERSION, NULL, 0, &pair[0], 1)));
	fd_closep(&pair[0]);
	fake->channel = pair[1];
}

static void
maps_that_are_read_go_out_for_ever(void **state)
{
	unsigned shmid;
	bool need_reply;

	(void)state;
	fake_disconnect(fake);
	connect_without(VUS_BIT(VUS_F_REPLY_ACK));
	set_channel_in_silence();
	for (unsigned i = 0; i < 2000; i++) {
		start_in_silence();
		assert_true(fake_take_map(fake, &shmid, &need_reply));
		stop_in_silence();
	}
}

static void
maps_that_are_not_read_are_bounded_and_wait(void **state)
{
	unsigned shmid, n = 0;
	bool need_reply;

	(void)state;
	fake_disconnect(fake);
	connect_without(VUS_BIT(VUS_F_REPLY_ACK));
	set_channel_in_silence();
	for (unsigned i = 0; i < 100; i++) {
		start_in_silence();
		assert_false(vus_session_backend_wants_write(&fake->s));
		if (i != 99)
			stop_in_silence();
	}
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_POLL);
	while (fake_take_map(fake, &shmid, &need_reply))
		n++;
	assert_int_equal(n, 1 + VUS_UNREAD_SPARE);
	/* What waited is for the start of now. */
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	expect_map(fake, 0);
	expect_no_map(fake);
}

/* An answer can be written before there is anything to answer. */
static void
an_answer_does_not_say_that_a_map_was_read(void **state)
{
	unsigned n = 0, shmid;
	bool need_reply;

	(void)state;
	fake_set_channel(fake);
	for (unsigned i = 0; i < 100; i++) {
		fake_start_ring(fake, 0);
		if (fake->s.state.npending != 0) {
			uint64_t good = 0;

			peer_send(fake->channel, VUS_BACKEND_SHMEM_MAP,
			    VUS_VERSION | VUS_FLAG_REPLY, &good, sizeof(good),
			    NULL, 0);
			assert_true(lives(vus_session_backend_ready(&fake->s)));
		}
		fake_stop_ring(fake, 0);
	}
	assert_true(fake->watched_backend >= 0);
	while (fake_take_map(fake, &shmid, &need_reply))
		n++;
	assert_int_equal(n, 1 + VUS_UNREAD_SPARE);
}

static void
maps_unread_in_channels_of_before_count(void **state)
{
	int old[100];
	unsigned n = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(old); i++) {
		fake->channel = -1;
		fake_set_channel(fake);
		old[i] = fake->channel;
		fake_start_ring(fake, 0);
		fake_stop_ring(fake, 0);
	}
	for (unsigned i = 0; i < ARRAY_LEN(old); i++) {
		struct peer_msg got;

		while (peer_recv(old[i], &got)) {
			n++;
			fd_closep(&got.fd);
		}
		fd_closep(&old[i]);
	}
	fake->channel = -1;
	assert_int_equal(n, 1 + VUS_UNREAD_SPARE);
	assert_non_null(strstr(fake->last, "channels of before"));
}

static void
maps_that_end_with_their_channel_do_not_count(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		fake_set_channel(fake);
		fake_start_ring(fake, 0);
		fake_stop_ring(fake, 0);
		fd_closep(&fake->channel);
	}
	fake_set_channel(fake);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
}

static void
a_descriptor_with_an_answer_breaks_the_channel_at_once(void **state)
{
	uint64_t good = 0;
	unsigned char buf[64];
	size_t len;

	(void)state;
	/* In a whole one, and in its first byte: it would stay for ever. */
	for (unsigned whole = 0; whole < 2; whole++) {
		fake_set_channel(fake);
		fake_start_ring(fake, 0);
		expect_map(fake, 0);
		len = build_msg(buf, VUS_BACKEND_SHMEM_MAP,
		    VUS_VERSION | VUS_FLAG_REPLY, &good, sizeof(good));
		peer_write(
		    fake->channel, buf, whole ? len : 1, &fake->front, 1);
		assert_true(lives(vus_session_backend_ready(&fake->s)));
		assert_int_equal(fake->watched_backend, -1);
		fake_stop_ring(fake, 0);
	}
}

static void
half_an_answer_is_told_from_the_next(void **state)
{
	static const uint64_t good;
	unsigned char buf[64];
	unsigned long long answers = fake->s.answers;
	size_t len = build_msg(buf, VUS_BACKEND_SHMEM_MAP,
	    VUS_VERSION | VUS_FLAG_REPLY, &good, sizeof(good));

	(void)state;
	fake_set_channel(fake);
	fake_start_ring(fake, 0);
	expect_map(fake, 0);
	assert_false(vus_session_mid_answer(&fake->s));
	peer_write(fake->channel, buf, 5, NULL, 0);
	assert_true(lives(vus_session_backend_ready(&fake->s)));
	assert_true(vus_session_mid_answer(&fake->s));
	assert_int_equal(fake->s.answers, answers);
	peer_write(fake->channel, buf + 5, len - 5, NULL, 0);
	assert_true(lives(vus_session_backend_ready(&fake->s)));
	assert_false(vus_session_mid_answer(&fake->s));
	assert_int_equal(fake->s.answers, answers + 1);
	/* And one that does not end costs the channel, and nothing else. */
	peer_write(fake->channel, buf, 5, NULL, 0);
	assert_true(lives(vus_session_backend_ready(&fake->s)));
	vus_session_answer_late(&fake->s);
	assert_int_equal(fake->watched_backend, -1);
	assert_false(vus_session_mid_answer(&fake->s));
	fake_stop_ring(fake, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		MAP_TEST(a_map_is_sent_before_the_ack_of_enable),
		MAP_TEST(the_ack_of_enable_does_not_wait_for_the_answer),
		MAP_TEST(each_region_is_mapped_once_and_as_writable_as_it_is),
		MAP_TEST(another_ring_starts_nothing),
		MAP_TEST(enabling_again_or_another_kick_maps_no_second_time),
		MAP_TEST(each_start_maps_again),
		MAP_TEST(without_bit_30_the_kick_descriptor_starts),
		MAP_TEST(
		    a_region_in_the_memory_table_that_we_have_not_mapped_is_mapped),
		MAP_TEST(
		    a_mapping_that_has_survived_the_stop_is_not_made_again),
		MAP_TEST(
		    a_mapping_that_has_left_the_memory_table_is_made_again),
		MAP_TEST(a_region_elsewhere_in_the_memory_table_is_mapped),
		MAP_TEST(
		    a_mapping_beside_that_of_another_device_is_known_by_its_place),
		MAP_TEST(two_new_entries_at_once_tell_nothing),
		MAP_TEST(a_mapping_that_was_refused_is_not_looked_for),
		MAP_TEST(
		    an_answer_that_is_not_read_yet_counts_for_the_table_that_follows),
		MAP_TEST(a_mapping_that_appears_as_a_slot_is_known_too),
		MAP_TEST(
		    a_table_with_more_of_our_files_than_can_be_noted_tells_nothing),
		MAP_TEST(another_owner_begins_without_a_mapping),
		MAP_TEST(
		    another_owner_does_not_wait_for_the_mapping_of_the_last),
		MAP_TEST(without_shmem_nothing_is_ever_sent),
		MAP_TEST(nothing_is_sent_at_a_stop_or_after_it),
		MAP_TEST(closing_the_session_sends_nothing),
		MAP_TEST(a_channel_that_comes_while_started_gets_the_map),
		MAP_TEST(
		    a_channel_in_place_of_another_gets_what_was_not_answered),
		MAP_TEST(
		    a_channel_in_place_of_another_gets_nothing_that_is_in_the_table),
		MAP_TEST(
		    a_channel_that_ends_is_closed_quietly_and_may_come_again),
		MAP_TEST(
		    a_channel_that_ends_with_a_map_unread_is_closed_and_nothing_dies),
		MAP_TEST(a_channel_that_is_gone_at_the_start_costs_only_itself),
		MAP_TEST(
		    a_map_that_the_system_refuses_to_send_costs_the_channel),
		MAP_TEST(a_channel_without_room_gets_the_map_later),
		MAP_TEST(a_map_that_waits_for_room_does_not_survive_the_stop),
		MAP_TEST(a_map_that_waits_is_dropped_if_the_mapping_turns_up),
		MAP_TEST(a_refused_map_is_one_warning_that_names_the_region),
		MAP_TEST(a_refusal_of_what_was_mapped_before_is_no_warning),
		MAP_TEST(an_answer_after_the_stop_is_of_no_interest),
		MAP_TEST(
		    an_answer_to_an_earlier_start_says_nothing_of_this_one),
		MAP_TEST(answers_that_make_no_sense_close_the_channel_alone),
		MAP_TEST(an_answer_that_claims_too_much_closes_the_channel),
		MAP_TEST(half_an_answer_waits_for_the_other_half),
		MAP_TEST(an_answer_that_nobody_asked_for_closes_the_channel),
		MAP_TEST(without_reply_ack_no_answer_is_asked_for),
		MAP_TEST(answers_that_never_come_are_bounded),
		MAP_TEST(a_map_waits_until_fewer_descriptors_are_on_their_way),
		MAP_TEST(maps_that_are_read_go_out_for_ever),
		MAP_TEST(maps_that_are_not_read_are_bounded_and_wait),
		MAP_TEST(an_answer_does_not_say_that_a_map_was_read),
		MAP_TEST(maps_unread_in_channels_of_before_count),
		MAP_TEST(maps_that_end_with_their_channel_do_not_count),
		MAP_TEST(
		    a_descriptor_with_an_answer_breaks_the_channel_at_once),
		MAP_TEST(half_an_answer_is_told_from_the_next),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
