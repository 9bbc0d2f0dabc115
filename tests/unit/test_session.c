/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * session.h: what each request changes and which values it refuses, rings
 * from their start to their base, and front-ends that write in pieces, do not
 * read, or leave.
 */
#include "config.h"

#include "tests/unit/fake_guest.h"
#include "tests/unit/fake_host.h"

#include "proto/fd.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define ASK (VUS_VERSION | VUS_FLAG_NEED_REPLY)
#define NUM 8U

static struct fake *fake;
static struct fake_guest guest;
static struct fake_driver driver;

static int
setup(void **state)
{
	(void)fds_before(state);
	guest_init(&guest);
	fake = fake_new();
	fake_add_region(fake, 0, true);
	fake_add_region(fake, 3, false);
	fake_connect(fake);
	fake_negotiate(fake, 0);
	return 0;
}

static int
teardown(void **state)
{
	fake_free(fake);
	guest_free(&guest);
	return fds_after(state);
}

#define SESSION_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* --- shorthands ---------------------------------------------------------- */

static void
refused(uint32_t request, const void *payload, size_t len, const int *fds,
    unsigned nfds)
{
	enum vus_next next =
	    fake_request(fake, request, ASK, payload, len, fds, nfds);

	assert_true(lives(next));
	expect_ack(fake, request, false);
}

static void
refused_u64(uint32_t request, uint64_t value)
{
	refused(request, &value, sizeof(value), NULL, 0);
}

static void
refused_state(uint32_t request, uint32_t index, uint32_t num)
{
	struct vus_wire_vring_state state = { .index = index, .num = num };

	refused(request, &state, sizeof(state), NULL, 0);
}

static uint64_t
get_u64(uint32_t request)
{
	uint64_t value;

	assert_int_equal(
	    fake_request(fake, request, ASK, NULL, 0, NULL, 0), VUS_NEXT_WAIT);
	expect_reply(fake, request, &value, sizeof(value));
	return value;
}

static uint32_t
get_base(uint32_t index)
{
	struct vus_wire_vring_state state = { .index = index, .num = 77 };

	assert_int_equal(fake_request(fake, VUS_GET_VRING_BASE, ASK, &state,
			     sizeof(state), NULL, 0),
	    VUS_NEXT_WAIT);
	expect_reply(fake, VUS_GET_VRING_BASE, &state, sizeof(state));
	assert_int_equal(state.index, index);
	return state.num;
}

/* The memory table with the guest's regions. */
static void
set_mem_table(void)
{
	unsigned char payload[8 + 64];
	struct vus_wire_mem_table table = { .nregions = 2 };

	memcpy(payload, &table, sizeof(table));
	memcpy(payload + 8, guest.region, sizeof(guest.region));
	fake_ok(fake, VUS_SET_MEM_TABLE, payload, sizeof(payload), guest.fd, 2);
}

static void
set_ring_addr(unsigned index)
{
	struct vus_wire_vring_addr addr = {
		.index = index,
		.desc = GUEST_USER + driver.desc,
		.used = GUEST_USER + driver.used,
		.avail = GUEST_USER + driver.avail,
	};

	fake_ok(fake, VUS_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
}

static int kick, call;

/* All up to a served ring 0, as QEMU starts it; kick and call are ours. */
static void
start_ring(uint16_t base)
{
	driver_init(&driver, &guest, NUM, base);
	set_mem_table();
	fake_ok_state(fake, VUS_SET_VRING_NUM, 0, NUM);
	fake_ok_state(fake, VUS_SET_VRING_BASE, 0, base);
	set_ring_addr(0);
	kick = make_eventfd();
	call = make_eventfd();
	fake_ok_fd(fake, VUS_SET_VRING_KICK, 0, kick);
	fake_ok_fd(fake, VUS_SET_VRING_CALL, 0, call);
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 1);
}

static void
end_ring(void)
{
	fd_closep(&kick);
	fd_closep(&call);
}

/* Whether the device has called, and how often at least. */
static uint64_t
calls(void)
{
	uint64_t n;

	return read(call, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static enum vus_next
kick_ring(void)
{
	uint64_t one = 1;

	assert_int_equal(write(kick, &one, sizeof(one)), sizeof(one));
	return vus_session_kicked(&fake->s, 0);
}

static void
offer(unsigned head)
{
	driver_desc(&driver, head, GUEST_AT(0xc0000), 4, DRIVER_WRITE, 0);
	driver_offer(&driver, head);
}

static unsigned
completions(void)
{
	uint32_t id, len;
	unsigned n = 0;

	while (driver_complete(&driver, &id, &len))
		n++;
	return n;
}

/* --- features and values ------------------------------------------------- */

static void
features_are_the_devices_and_the_sessions(void **state)
{
	(void)state;
	assert_int_equal(get_u64(VUS_GET_FEATURES),
	    VUS_BIT(0) | VUS_BIT(26) | VUS_BIT(28) | VUS_BIT(29) | VUS_BIT(30) |
		VUS_BIT(32) | VUS_BIT(34) | VUS_BIT(35) | VUS_BIT(40));
	assert_int_equal(
	    get_u64(VUS_GET_PROTOCOL_FEATURES), all_protocol_features());
	assert_int_equal(get_u64(VUS_GET_QUEUE_NUM), FAKE_RINGS);
	assert_int_equal(get_u64(VUS_GET_MAX_MEM_SLOTS), VUS_MEM_SLOTS_MAX);
}

static void
features_that_the_dialect_cannot_keep_are_not_offered(void **state)
{
	uint64_t all = vus_session_features(&fake->s);

	(void)state;
	fake_disconnect(fake);
	/* Without a way to give us a log there is nothing to log into. */
	fake->dialect.protocol_features &= ~VUS_BIT(VUS_F_LOG_SHMFD);
	fake_connect(fake);
	assert_int_equal(get_u64(VUS_GET_FEATURES), all & ~VUS_BIT(26));
	fake_disconnect(fake);
	fake->dialect.virtio_without = VUS_BIT(VUS_VIRTIO_F_RING_RESET);
	fake_connect(fake);
	assert_int_equal(
	    get_u64(VUS_GET_FEATURES), all & ~VUS_BIT(26) & ~VUS_BIT(40));
}

static void
features_that_were_not_offered_are_refused(void **state)
{
	uint64_t offered = vus_session_features(&fake->s);

	(void)state;
	for (unsigned bit = 0; bit < 64; bit++) {
		if (!(offered & VUS_BIT(bit)))
			refused_u64(VUS_SET_FEATURES, offered | VUS_BIT(bit));
		if (!(all_protocol_features() & VUS_BIT(bit)))
			refused_u64(VUS_SET_PROTOCOL_FEATURES,
			    all_protocol_features() | VUS_BIT(bit));
	}
	/* What was negotiated before stays. */
	assert_int_equal(fake->s.state.features, fake_features(fake));
	assert_int_equal(
	    fake->s.state.protocol_features, all_protocol_features());
}

static void
a_feature_that_the_device_needs_is_missed_in_the_log(void **state)
{
	unsigned before = fake->logged[VUS_LOG_WARN];

	(void)state;
	fake_ok_u64(fake, VUS_SET_FEATURES, VUS_BIT(30) | VUS_BIT(0));
	assert_int_equal(fake->logged[VUS_LOG_WARN], before);
	fake_ok_u64(fake, VUS_SET_FEATURES, VUS_BIT(30));
	assert_int_equal(fake->logged[VUS_LOG_WARN], before + 1);
	assert_string_equal(fake->last, "feature 0 is missing");
}

static void
features_do_not_change_while_a_ring_runs(void **state)
{
	uint64_t all = fake_features(fake);

	(void)state;
	fake_start_ring(fake, 1);
	refused_u64(VUS_SET_FEATURES, all & ~VUS_BIT(29));
	fake_ok_u64(fake, VUS_SET_FEATURES, all);
	fake_stop_ring(fake, 1);
	fake_ok_u64(fake, VUS_SET_FEATURES, all & ~VUS_BIT(29));
}

static void
protocol_features_do_not_change_while_the_device_runs(void **state)
{
	(void)state;
	fake_start_ring(fake, 0);
	refused_u64(VUS_SET_PROTOCOL_FEATURES,
	    all_protocol_features() & ~VUS_BIT(VUS_F_SHMEM));
	fake_ok_u64(fake, VUS_SET_PROTOCOL_FEATURES, all_protocol_features());
	fake_stop_ring(fake, 0);
	fake_ok_u64(fake, VUS_SET_PROTOCOL_FEATURES,
	    all_protocol_features() & ~VUS_BIT(VUS_F_SHMEM));
}

static void
status_is_a_byte_and_is_kept(void **state)
{
	(void)state;
	assert_int_equal(get_u64(VUS_GET_STATUS), 0);
	fake_ok_u64(fake, VUS_SET_STATUS, 255);
	assert_int_equal(get_u64(VUS_GET_STATUS), 255);
	refused_u64(VUS_SET_STATUS, 256);
	refused_u64(VUS_SET_STATUS, UINT64_MAX);
	assert_int_equal(get_u64(VUS_GET_STATUS), 255);
	fake_ok(fake, VUS_SET_OWNER, NULL, 0, NULL, 0);
	assert_int_equal(get_u64(VUS_GET_STATUS), 0);
}

static void
set_protocol_features_is_itself_acknowledged(void **state)
{
	(void)state;
	fake_disconnect(fake);
	fake_connect(fake);
	fake_ok_u64(fake, VUS_SET_PROTOCOL_FEATURES, all_protocol_features());
}

static void
the_sizes_of_the_regions_are_all_there(void **state)
{
	struct vus_wire_shmem_config config;

	(void)state;
	/* They do not change during a connection, whatever the device does. */
	fake->device.shm[7].size = 4096;
	assert_int_equal(
	    fake_request(fake, VUS_GET_SHMEM_CONFIG, ASK, NULL, 0, NULL, 0),
	    VUS_NEXT_WAIT);
	fake->device.shm[7].size = 0;
	expect_reply(fake, VUS_GET_SHMEM_CONFIG, &config, sizeof(config));
	assert_int_equal(config.num_regions, 2); /* that are not empty */
	assert_int_equal(config.padding, 0);
	for (unsigned i = 0; i < VUS_SHMEM_MAX; i++)
		assert_int_equal(
		    config.size[i], i == 0 || i == 3 ? FAKE_REGION_SIZE : 0);
}

static void
shmem_may_have_another_number_on_the_wire(void **state)
{
	static const unsigned bits[] = { 20, 21 };
	const uint64_t others = all_protocol_features() & ~VUS_BIT(VUS_F_SHMEM);

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(bits); i++) {
		fake_disconnect(fake);
		fake->dialect.shmem_bit = bits[i];
		fake_connect(fake);
		fake_ok_u64(fake, VUS_SET_PROTOCOL_FEATURES, others);
		assert_int_equal(get_u64(VUS_GET_PROTOCOL_FEATURES),
		    others | VUS_BIT(bits[i]));
		assert_false(vus_negotiated(&fake->s, VUS_F_SHMEM));
		/* Today's number was not offered here, nor was another one. */
		refused_u64(
		    VUS_SET_PROTOCOL_FEATURES, others | VUS_BIT(VUS_F_SHMEM));
		refused_u64(
		    VUS_SET_PROTOCOL_FEATURES, others | VUS_BIT(bits[1 - i]));
		assert_false(vus_negotiated(&fake->s, VUS_F_SHMEM));
		fake_ok_u64(
		    fake, VUS_SET_PROTOCOL_FEATURES, others | VUS_BIT(bits[i]));
		assert_true(vus_negotiated(&fake->s, VUS_F_SHMEM));
		assert_int_equal(
		    fake->s.state.protocol_features, all_protocol_features());
		fake_ok_u64(
		    fake, VUS_SET_FEATURES, vus_session_features(&fake->s));
		fake_set_channel(fake);
		fake_start_ring(fake, 0);
		expect_map(fake, 0);
	}
}

/* The reply to GET_SHMEM_CONFIG of a connection that begins now. */
static void
get_short_config(struct vus_wire_shmem_config *config, size_t len)
{
	fake_disconnect(fake);
	fake->dialect.short_shmem_config = true;
	fake_connect(fake);
	fake_negotiate(fake, 0);
	assert_int_equal(
	    fake_request(fake, VUS_GET_SHMEM_CONFIG, ASK, NULL, 0, NULL, 0),
	    VUS_NEXT_WAIT);
	memset(config, 0xff, sizeof(*config));
	expect_reply(fake, VUS_GET_SHMEM_CONFIG, config, len);
}

static void
sizes_may_be_cut_behind_the_last_that_is_used(void **state)
{
	struct vus_wire_shmem_config config;
	uint64_t size = fake->device.shm[0].size;

	(void)state;
	get_short_config(&config, 8 + 4 * 8);
	assert_int_equal(config.num_regions, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(
		    config.size[i], i == 0 || i == 3 ? FAKE_REGION_SIZE : 0);
	fake->device.shm[255].size = 4096;
	get_short_config(&config, sizeof(config));
	assert_int_equal(config.num_regions, 256);
	fake->device.shm[0].size = 0;
	fake->device.shm[3].size = 0;
	fake->device.shm[255].size = 0;
	get_short_config(&config, 8);
	assert_int_equal(config.num_regions, 0);
	fake->device.shm[0].size = size;
}

/* --- configuration space ------------------------------------------------- */

static enum vus_next
config(uint32_t request, uint32_t offset, uint32_t size, uint32_t bytes)
{
	unsigned char payload[12 + VUS_CONFIG_MAX] = { 0 };
	struct vus_wire_config head = { .offset = offset, .size = size };

	memcpy(payload, &head, sizeof(head));
	return fake_request(fake, request, ASK, payload, 12 + bytes, NULL, 0);
}

static const struct {
	uint32_t offset, size, bytes;
	bool good;
} configs[] = {
	{ 0, 0, 0, true },
	{ 0, 16, 16, true },
	{ 0, 256, 256, true },
	{ 255, 1, 1, true },
	{ 256, 0, 0, true },
	{ 16, 240, 240, true },
	{ 0, 16, 15, false },
	{ 0, 15, 16, false },
	{ 1, 256, 256, false },
	{ 255, 2, 2, false },
	{ 256, 1, 1, false },
	{ 257, 0, 0, false },
	{ UINT32_MAX, 16, 16, false },
	{ 0, UINT32_MAX, 0, false },
	{ UINT32_MAX, 1, 1, false },
	{ 0, 257, 256, false },
};

static void
a_part_of_the_configuration_is_read_up_to_its_end(void **state)
{
	unsigned char reply[12 + VUS_CONFIG_MAX];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(configs); i++) {
		enum vus_next next = config(VUS_GET_CONFIG, configs[i].offset,
		    configs[i].size, configs[i].bytes);

		if (!configs[i].good) {
			assert_int_equal(next, VUS_NEXT_BROKEN);
			expect_silence(fake);
			fake_disconnect(fake);
			fake_connect(fake);
			fake_negotiate(fake, 0);
			continue;
		}
		expect_reply(fake, VUS_GET_CONFIG, reply, 12 + configs[i].size);
		for (unsigned k = 0; k < configs[i].size; k++)
			assert_int_equal(
			    reply[12 + k], (configs[i].offset + k) & 0xff);
	}
}

static void
a_front_end_that_asks_for_more_configuration_is_doubted_once(void **state)
{
	unsigned informed = fake->logged[VUS_LOG_INFO];
	unsigned char reply[12 + 60];

	(void)state; /* it gets what it asks for */
	fake->type.config_size = 16;
	for (unsigned i = 0; i < 3; i++) {
		static const uint32_t sizes[] = { 16, 17, 60 };

		assert_int_equal(config(VUS_GET_CONFIG, 0, sizes[i], sizes[i]),
		    VUS_NEXT_WAIT);
		expect_reply(fake, VUS_GET_CONFIG, reply, 12 + sizes[i]);
		assert_int_equal(
		    fake->logged[VUS_LOG_INFO], informed + (i == 0 ? 0 : 1));
	}
}

static void
writing_the_configuration_changes_nothing(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(configs); i++) {
		assert_int_equal(config(VUS_SET_CONFIG, configs[i].offset,
				     configs[i].size, configs[i].bytes),
		    VUS_NEXT_WAIT);
		expect_ack(fake, VUS_SET_CONFIG, configs[i].good);
	}
	a_part_of_the_configuration_is_read_up_to_its_end(state);
}

/* --- memory -------------------------------------------------------------- */

static void
the_memory_table_must_agree_with_its_size_and_descriptors(void **state)
{
	static const struct {
		uint32_t claimed;
		unsigned regions, nfds;
	} cases[] = {
		{ 2, 1, 2 }, { 1, 2, 1 }, { 1, 1, 0 }, { 1, 1, 2 }, { 0, 1, 0 },
		{ 0, 0, 1 }, { 33, 32, 32 }, { UINT32_MAX, 1, 1 },
		{ 0x08000001, 1, 1 }, /* times 32 wraps to one region */
	};
	unsigned char payload[8 + 32 * 32] = { 0 };
	int fds[32];

	(void)state;
	for (unsigned i = 0; i < 32; i++)
		fds[i] = guest.fd[0];
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		memcpy(payload, &cases[i].claimed, sizeof(uint32_t));
		memcpy(payload + 8, guest.region, sizeof(guest.region));
		assert_int_equal(
		    fake_request(fake, VUS_SET_MEM_TABLE, ASK, payload,
			8 + cases[i].regions * 32, fds, cases[i].nfds),
		    VUS_NEXT_BROKEN);
		expect_silence(fake);
		fake_disconnect(fake);
		fake_connect(fake);
		fake_negotiate(fake, 0);
	}
}

static void
a_full_and_an_empty_memory_table_are_taken(void **state)
{
	unsigned char payload[8 + 32 * 32] = { 0 };
	uint32_t n = 32;
	int fds[32];

	(void)state;
	memcpy(payload, &n, sizeof(n));
	for (unsigned i = 0; i < 32; i++) {
		struct vus_wire_mem_region r = {
			.guest_addr = (i + 1) * 0x10000,
			.user_addr = (i + 1) * 0x10000,
			.size = 4096,
		};

		memcpy(payload + 8 + i * 32, &r, sizeof(r));
		fds[i] = guest.fd[0];
	}
	fake_ok(fake, VUS_SET_MEM_TABLE, payload, sizeof(payload), fds, 32);
	assert_int_equal(fake->s.mem.nregions, 32);
	n = 0;
	memcpy(payload, &n, sizeof(n));
	fake_ok(fake, VUS_SET_MEM_TABLE, payload, 8, NULL, 0);
	assert_int_equal(fake->s.mem.nregions, 0);
}

static void
a_refused_memory_table_leaves_the_old_one(void **state)
{
	unsigned char payload[8 + 64];
	const int fds[2] = { guest.fd[0], guest.fd[0] };
	struct vus_wire_mem_region twice[2] = { guest.region[0],
		guest.region[0] };
	uint64_t len = 1;

	(void)state;
	set_mem_table();
	memcpy(payload, (const uint32_t[]){ 2, 0 }, 8);
	memcpy(payload + 8, twice, sizeof(twice));
	refused(VUS_SET_MEM_TABLE, payload, sizeof(payload), fds, 2);
	assert_int_equal(fake->s.mem.nregions, 2);
	assert_non_null(
	    vus_mem_guest(&fake->s.mem, GUEST_AT(GUEST_REGION), &len));
}

static void
slots_are_added_and_removed_with_or_without_a_descriptor(void **state)
{
	struct vus_wire_single_region r[2] = { { .region = guest.region[0] },
		{ .region = guest.region[1] } };

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		fake_ok(fake, VUS_ADD_MEM_REG, &r[i], sizeof(r[i]),
		    &guest.fd[i], 1);
	refused(VUS_ADD_MEM_REG, &r[0], sizeof(r[0]), &guest.fd[0], 1);
	fake_ok(fake, VUS_REM_MEM_REG, &r[0], sizeof(r[0]), NULL, 0);
	refused(VUS_REM_MEM_REG, &r[0], sizeof(r[0]), NULL, 0);
	fake_ok(fake, VUS_REM_MEM_REG, &r[1], sizeof(r[1]), guest.fd, 1);
	assert_int_equal(fake->s.mem.nregions, 0);
}

/* --- values of rings ----------------------------------------------------- */

static void
a_ring_has_a_power_of_two_of_entries_up_to_32768(void **state)
{
	static const uint32_t bad[] = { 0, 3, 5, 6, 7, 32767, 32769, 65536,
		0x80000000, UINT32_MAX };

	(void)state;
	for (uint32_t n = 1; n <= VUS_RING_MAX; n *= 2)
		fake_ok_state(fake, VUS_SET_VRING_NUM, 0, n);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
		refused_state(VUS_SET_VRING_NUM, 0, bad[i]);
	assert_int_equal(fake->s.ring[0].vq.num, VUS_RING_MAX);
}

static void
a_base_has_16_bits_and_comes_back(void **state)
{
	(void)state;
	fake_ok_state(fake, VUS_SET_VRING_BASE, 0, 0);
	assert_int_equal(get_base(0), 0);
	fake_ok_state(fake, VUS_SET_VRING_BASE, 0, 65535);
	assert_int_equal(get_base(0), 65535);
	refused_state(VUS_SET_VRING_BASE, 0, 65536);
	refused_state(VUS_SET_VRING_BASE, 0, UINT32_MAX);
	assert_int_equal(get_base(0), 65535);
	assert_int_equal(get_base(1), 0);
}

static void
size_and_base_do_not_change_while_the_ring_runs(void **state)
{
	(void)state;
	start_ring(0);
	refused_state(VUS_SET_VRING_NUM, 0, 16);
	refused_state(VUS_SET_VRING_BASE, 0, 5);
	fake_ok_state(fake, VUS_SET_VRING_NUM, 1, 16);
	fake_ok_state(fake, VUS_SET_VRING_BASE, 1, 5);
	fake_stop_ring(fake, 0);
	fake_ok_state(fake, VUS_SET_VRING_NUM, 0, 16);
	end_ring();
}

static void
ring_addresses_are_aligned_and_have_one_flag(void **state)
{
	static const struct {
		uint32_t flags;
		uint64_t desc, avail, used;
		bool good;
	} cases[] = {
		{ 0, 0, 0, 0, true },
		{ 0, 16, 2, 4, true },
		{ 0, UINT64_MAX - 15, UINT64_MAX - 1, UINT64_MAX - 3, true },
		{ 1, 0, 0, 0, true }, /* VHOST_VRING_F_LOG */
		{ 2, 0, 0, 0, false },
		{ 3, 0, 0, 0, false },
		{ 0x80000000, 0, 0, 0, false },
		{ 0, 15, 0, 0, false },
		{ 0, 17, 0, 0, false },
		{ 0, 8, 0, 0, false },
		{ 0, 0, 1, 0, false },
		{ 0, 0, 3, 0, false },
		{ 0, 0, 0, 2, false },
		{ 0, 0, 0, 3, false },
		{ 0, 0, 0, 5, false },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct vus_wire_vring_addr addr = { .flags = cases[i].flags,
			.desc = cases[i].desc,
			.avail = cases[i].avail,
			.used = cases[i].used };

		if (cases[i].good)
			fake_ok(fake, VUS_SET_VRING_ADDR, &addr, sizeof(addr),
			    NULL, 0);
		else
			refused(
			    VUS_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	}
}

static void
enable_is_0_or_1_and_needs_bit_30(void **state)
{
	(void)state;
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 1);
	refused_state(VUS_SET_VRING_ENABLE, 0, 2);
	refused_state(VUS_SET_VRING_ENABLE, 0, UINT32_MAX);
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 0);
	fake_ok_u64(fake, VUS_SET_FEATURES, VUS_BIT(0));
	refused_state(VUS_SET_VRING_ENABLE, 0, 1);
}

/* --- descriptors of rings ------------------------------------------------ */

static void
a_ring_descriptor_agrees_with_bit_8(void **state)
{
	static const uint32_t ids[] = { VUS_SET_VRING_KICK, VUS_SET_VRING_CALL,
		VUS_SET_VRING_ERR };
	int fd = make_eventfd();

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_LEN(ids); i++) {
		bool none = i % 2;
		uint64_t value = none ? VUS_VRING_NO_FD : 0;

		assert_int_equal(fake_request(fake, ids[i / 2], ASK, &value,
				     sizeof(value), &fd, none),
		    VUS_NEXT_BROKEN);
		fake_disconnect(fake);
		fake_connect(fake);
		fake_negotiate(fake, 0);
	}
	fd_closep(&fd);
}

static void
a_ring_may_do_without_descriptors(void **state)
{
	int fd = make_eventfd();

	(void)state;
	start_ring(0);
	fake_ok_fd(fake, VUS_SET_VRING_CALL, 0, fd);
	fake_ok_fd(fake, VUS_SET_VRING_ERR, 0, fd);
	assert_true(fake->s.ring[0].call_fd >= 0);
	assert_true(fake->s.ring[0].err_fd >= 0);
	fake_ok_u64(fake, VUS_SET_VRING_CALL, VUS_VRING_NO_FD);
	fake_ok_u64(fake, VUS_SET_VRING_ERR, VUS_VRING_NO_FD);
	assert_int_equal(fake->s.ring[0].call_fd, -1);
	assert_int_equal(fake->s.ring[0].err_fd, -1);
	fake_ok_u64(fake, VUS_SET_VRING_KICK, VUS_VRING_NO_FD);
	assert_int_equal(fake->s.ring[0].kick_fd, -1);
	assert_int_equal(fake->watched_kick[0], -1);
	offer(0);
	assert_true(lives(vus_session_work(&fake->s)));
	assert_int_equal(completions(), 1);
	fd_closep(&fd);
	end_ring();
}

static void
a_ring_without_kick_descriptor_is_polled_while_it_runs(void **state)
{
	const unsigned char empty[8] = { 0 };

	(void)state;
	start_ring(0);
	fake_ok_u64(fake, VUS_SET_VRING_KICK, VUS_VRING_NO_FD);
	for (unsigned i = 0; i < 3; i++) {
		/* Served, and to be looked at again. */
		assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_POLL);
		assert_int_equal(completions(), i == 0 ? 0 : 1);
		offer(i);
	}
	/* Without memory there is nothing to look at. */
	fake_ok(fake, VUS_SET_MEM_TABLE, empty, sizeof(empty), NULL, 0);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(completions(), 0);
	set_mem_table();
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_POLL);
	assert_int_equal(completions(), 1);
	offer(0);
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 0);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(completions(), 0);
	/* It was not served any more, and is not when broken either. */
	driver_set_avail(&driver, (uint16_t)(driver.avail_idx + NUM));
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 1);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	end_ring();
}

static void
another_call_descriptor_is_called_for_what_was_used_before(void **state)
{
	int fd = make_eventfd();
	uint64_t n = 0;

	(void)state;
	start_ring(0);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	/* Nothing was used: nothing to call for. */
	fake_ok_fd(fake, VUS_SET_VRING_CALL, 0, fd);
	assert_int_equal(read(fd, &n, sizeof(n)), -1);
	offer(0);
	assert_int_equal(kick_ring(), VUS_NEXT_WAIT);
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	fake_ok_fd(fake, VUS_SET_VRING_CALL, 0, call);
	assert_int_equal(calls(), 1);
	fd_closep(&fd);
	end_ring();
}

static void
the_host_can_tell_half_a_message(void **state)
{
	unsigned char buf[64];
	size_t len = build_msg(buf, VUS_GET_FEATURES, ASK, NULL, 0);

	(void)state;
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(vus_session_mid_message(&fake->s), i != 0);
		peer_write(fake->front, buf + i, 1, NULL, 0);
		assert_true(lives(vus_session_readable(&fake->s)));
	}
	assert_false(vus_session_mid_message(&fake->s));
}

static void
a_descriptor_is_replaced_and_the_old_one_closed(void **state)
{
	unsigned before;
	int fd = make_eventfd();

	(void)state;
	start_ring(0);
	fake_ok_fd(fake, VUS_SET_VRING_ERR, 0, fd);
	before = count_fds();
	for (unsigned i = 0; i < 5; i++) {
		fake_ok_fd(fake, VUS_SET_VRING_KICK, 0, fd);
		fake_ok_fd(fake, VUS_SET_VRING_CALL, 0, fd);
		fake_ok_fd(fake, VUS_SET_VRING_ERR, 0, fd);
		assert_int_equal(
		    fake->watched_kick[0], fake->s.ring[0].kick_fd);
		assert_int_equal(count_fds(), before);
	}
	fd_closep(&fd);
	end_ring();
}

static void
only_eventfds_are_taken_for_rings(void **state)
{
	static const uint32_t ids[] = { VUS_SET_VRING_KICK, VUS_SET_VRING_CALL,
		VUS_SET_VRING_ERR };
	int pipe_fds[2], pair[2], file = make_memfd(4096);
	int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int path = open("/", O_PATH | O_CLOEXEC);
	/* These have no type of file, either. */
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	int watch = inotify_init1(IN_CLOEXEC);
	uint64_t value = 0;
	sigset_t none;
	int signals;

	(void)state;
	assert_int_equal(sigemptyset(&none), 0);
	signals = signalfd(-1, &none, SFD_CLOEXEC);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	make_pair(pair);
	{
		const int fds[] = { file, dir, path, pipe_fds[0], pipe_fds[1],
			pair[0], epoll, timer, watch, signals };

		for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
			for (unsigned k = 0; k < ARRAY_LEN(ids); k++)
				refused(
				    ids[k], &value, sizeof(value), &fds[i], 1);
	}
	fd_closep(&file);
	fd_closep(&epoll);
	fd_closep(&timer);
	fd_closep(&watch);
	fd_closep(&signals);
	fd_closep(&dir);
	fd_closep(&path);
	fd_closep(&pipe_fds[0]);
	fd_closep(&pipe_fds[1]);
	fd_closep(&pair[0]);
	fd_closep(&pair[1]);
}

static void
a_blocking_eventfd_does_not_block(void **state)
{
	(void)state;
	start_ring(0);
	assert_int_equal(fcntl(kick, F_SETFL, 0), 0);
	fake_ok_fd(fake, VUS_SET_VRING_KICK, 0, kick);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	/* It is not readable: with a blocking read this test would hang. */
	assert_int_equal(vus_session_kicked(&fake->s, 0), VUS_NEXT_WAIT);
	assert_int_equal(fake->watched_kick[0], fake->s.ring[0].kick_fd);
	end_ring();
}

/* The front-end reads and writes it, too, and may want to wait or not. */
static void
an_eventfd_stays_as_it_came(void **state)
{
	static const uint32_t ids[] = { VUS_SET_VRING_KICK, VUS_SET_VRING_CALL,
		VUS_SET_VRING_ERR };
	uint64_t count;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(ids); i++) {
		for (int flags = 0;; flags = EFD_NONBLOCK) {
			int fd = eventfd(7, EFD_CLOEXEC | flags);

			fake_ok_fd(fake, ids[i], 0, fd);
			assert_int_equal(fcntl(fd, F_GETFL),
			    O_RDWR | (flags ? O_NONBLOCK : 0));
			assert_int_equal(read(fd, &count, sizeof(count)), 8);
			assert_int_equal(count, 7);
			fd_closep(&fd);
			if (flags != 0)
				break;
		}
	}
}

static void
a_kick_descriptor_that_cannot_be_read_is_let_go(void **state)
{
	int pair[2];

	(void)state;
	start_ring(0);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	/* Behind its back: nothing that comes in a message gets so far. */
	make_pair(pair);
	fd_closep(&pair[1]);
	assert_int_equal(dup3(pair[0], fake->s.ring[0].kick_fd, O_CLOEXEC),
	    fake->s.ring[0].kick_fd);
	fd_closep(&pair[0]);
	assert_int_equal(vus_session_kicked(&fake->s, 0), VUS_NEXT_WAIT);
	assert_int_equal(fake->watched_kick[0], -1);
	/* A good one heals it. */
	fake_ok_fd(fake, VUS_SET_VRING_KICK, 0, kick);
	assert_int_equal(fake->watched_kick[0], fake->s.ring[0].kick_fd);
	end_ring();
}

static void
a_back_end_channel_must_be_a_socket(void **state)
{
	int file = make_memfd(4096), event = make_eventfd();

	(void)state;
	refused(VUS_SET_BACKEND_REQ_FD, NULL, 0, &file, 1);
	refused(VUS_SET_BACKEND_REQ_FD, NULL, 0, &event, 1);
	assert_int_equal(fake->watched_backend, -1);
	fake_set_channel(fake);
	assert_true(fake->watched_backend >= 0);
	/* A refused one leaves the old one in place. */
	refused(VUS_SET_BACKEND_REQ_FD, NULL, 0, &file, 1);
	assert_true(fake->watched_backend >= 0);
	fd_closep(&file);
	fd_closep(&event);
}

/* --- rings that run ------------------------------------------------------ */

static void
a_started_ring_is_looked_at_without_a_kick(void **state)
{
	(void)state;
	start_ring(0);
	offer(0);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(fake->served, 1);
	assert_int_equal(completions(), 1);
	assert_int_equal(calls(), 1);
	end_ring();
}

static void
a_kick_serves_what_is_offered(void **state)
{
	(void)state;
	start_ring(65533);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	for (unsigned i = 0; i < 20; i++) {
		offer(i % NUM);
		offer((i + 1) % NUM);
		assert_int_equal(kick_ring(), VUS_NEXT_WAIT);
		assert_int_equal(completions(), 2);
	}
	assert_int_equal(fake->served, 40);
	assert_int_equal(get_base(0), (uint16_t)(65533 + 40));
	end_ring();
}

static void
a_ring_is_served_only_when_kicked_and_enabled(void **state)
{
	(void)state;
	start_ring(0);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 0);
	assert_int_equal(fake->watched_kick[0], -1);
	offer(0);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(fake->served, 0);
	/* What was offered meanwhile is seen at once. */
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 1);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(fake->served, 1);
	offer(1);
	assert_int_equal(get_base(0), 1);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(fake->served, 1);
	end_ring();
}

static void
without_bit_30_a_kick_descriptor_enables(void **state)
{
	(void)state;
	fake_ok_u64(fake, VUS_SET_FEATURES, VUS_BIT(0));
	driver_init(&driver, &guest, NUM, 0);
	set_mem_table();
	fake_ok_state(fake, VUS_SET_VRING_NUM, 0, NUM);
	set_ring_addr(0);
	kick = make_eventfd();
	call = -1;
	fake_ok_fd(fake, VUS_SET_VRING_KICK, 0, kick);
	offer(0);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(fake->served, 1);
	end_ring();
}

static void
a_ring_goes_on_from_its_base_after_a_stop(void **state)
{
	uint32_t base;

	(void)state;
	start_ring(65535);
	offer(0);
	assert_int_equal(kick_ring(), VUS_NEXT_WAIT);
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 0);
	base = get_base(0);
	assert_int_equal(base, 0);
	assert_int_equal(completions(), 1);
	/* Two requests come while it is stopped. */
	offer(1);
	offer(2);
	fake_ok_state(fake, VUS_SET_VRING_NUM, 0, NUM);
	fake_ok_state(fake, VUS_SET_VRING_BASE, 0, base);
	set_ring_addr(0);
	fake_ok_fd(fake, VUS_SET_VRING_KICK, 0, kick);
	fake_ok_fd(fake, VUS_SET_VRING_CALL, 0, call);
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 1);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(completions(), 2);
	assert_int_equal(fake->served, 3);
	end_ring();
}

static void
a_reset_forgets_the_ring(void **state)
{
	static const uint32_t ids[] = { VUS_RESET_DEVICE, VUS_SET_OWNER,
		VUS_SET_STATUS };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(ids); i++) {
		uint64_t zero = 0;
		int fd = make_eventfd();

		start_ring(5);
		fake_ok_fd(fake, VUS_SET_VRING_ERR, 0, fd);
		fake_ok(fake, ids[i], &zero,
		    ids[i] == VUS_SET_STATUS ? sizeof(zero) : 0, NULL, 0);
		assert_int_equal(fake->watched_kick[0], -1);
		assert_int_equal(fake->s.ring[0].kick_fd, -1);
		assert_int_equal(fake->s.ring[0].call_fd, -1);
		assert_int_equal(fake->s.ring[0].err_fd, -1);
		assert_false(fake->s.state.started);
		assert_int_equal(get_base(0), 0);
		/* What was negotiated is not. */
		assert_int_equal(fake->s.state.features, fake_features(fake));
		assert_int_equal(
		    fake->s.mem.nregions, ids[i] == VUS_SET_OWNER ? 0 : 2);
		fd_closep(&fd);
		end_ring();
	}
}

static void
reset_owner_disables_the_rings(void **state)
{
	(void)state;
	start_ring(0);
	fake_ok(fake, VUS_RESET_OWNER, NULL, 0, NULL, 0);
	assert_false(fake->s.state.started);
	assert_int_equal(fake->watched_kick[0], -1);
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 1);
	assert_true(fake->s.state.started);
	end_ring();
}

static void
a_call_descriptor_that_is_full_holds_nobody_up(void **state)
{
	const uint64_t most = UINT64_MAX - 1;

	(void)state;
	start_ring(0);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(write(call, &most, sizeof(most)), sizeof(most));
	offer(0);
	assert_int_equal(kick_ring(), VUS_NEXT_WAIT);
	assert_int_equal(completions(), 1);
	assert_int_equal(calls(), most);
	end_ring();
}

static void
a_broken_ring_stops_and_says_so_once(void **state)
{
	unsigned warned;
	int err = make_eventfd();
	uint64_t n = 0;

	(void)state;
	start_ring(0);
	fake_ok_fd(fake, VUS_SET_VRING_ERR, 0, err);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	warned = fake->logged[VUS_LOG_WARN];
	driver_set_avail(&driver, NUM + 1);
	assert_int_equal(kick_ring(), VUS_NEXT_WAIT);
	assert_int_equal(fake->logged[VUS_LOG_WARN], warned + 1);
	assert_int_equal(fake->watched_kick[0], -1);
	assert_int_equal(read(err, &n, sizeof(n)), sizeof(n));
	assert_int_equal(n, 1);
	assert_int_equal(fake->served, 0);
	/* Changes of the table or another kick descriptor do not wake it. */
	set_mem_table();
	fake_ok_fd(fake, VUS_SET_VRING_KICK, 0, kick);
	assert_int_equal(fake->watched_kick[0], -1);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(fake->logged[VUS_LOG_WARN], warned + 1);
	/* A new start does. */
	fake_stop_ring(fake, 0);
	end_ring();
	start_ring(0);
	offer(0);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(fake->served, 1);
	fd_closep(&err);
	end_ring();
}

static void
a_malformed_chain_is_handed_back_and_the_ring_goes_on(void **state)
{
	uint32_t id, len;

	(void)state;
	start_ring(0);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	driver_desc(&driver, 1, 0, 4, 0, 0); /* outside of memory */
	driver_offer(&driver, 1);
	offer(2);
	assert_int_equal(kick_ring(), VUS_NEXT_WAIT);
	assert_true(driver_complete(&driver, &id, &len));
	assert_int_equal(id, 1);
	assert_int_equal(len, 0);
	assert_true(driver_complete(&driver, &id, &len));
	assert_int_equal(id, 2);
	assert_int_equal(len, 4);
	assert_int_equal(fake->served, 1);
	assert_true(calls() != 0);
	end_ring();
}

static void
a_busy_ring_lets_others_have_their_turn(void **state)
{
	enum vus_next next = VUS_NEXT_WORK;
	unsigned turns = 0;

	(void)state;
	fake_ok_u64(fake, VUS_SET_FEATURES, VUS_BIT(0) | VUS_BIT(30));
	start_ring(0);
	fake_stop_ring(fake, 0);
	driver_init(&driver, &guest, 1024, 0);
	fake_ok_state(fake, VUS_SET_VRING_NUM, 0, 1024);
	for (unsigned i = 0; i < 1024; i++)
		offer(i);
	fake_ok_fd(fake, VUS_SET_VRING_KICK, 0, kick);
	fake_ok_state(fake, VUS_SET_VRING_ENABLE, 0, 1);
	for (; next == VUS_NEXT_WORK && turns < 100; turns++) {
		unsigned before = fake->served;

		next = vus_session_work(&fake->s);
		assert_true(fake->served - before <= 512);
	}
	assert_int_equal(next, VUS_NEXT_WAIT);
	assert_int_equal(fake->served, 1024);
	assert_true(turns > 1);
	end_ring();
}

static void
a_ring_outside_of_the_memory_table_waits_for_it(void **state)
{
	unsigned char empty[8] = { 0 };

	(void)state;
	start_ring(0);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	fake_ok(fake, VUS_SET_MEM_TABLE, empty, sizeof(empty), NULL, 0);
	offer(0);
	assert_int_equal(kick_ring(), VUS_NEXT_WAIT);
	assert_int_equal(fake->served, 0);
	set_mem_table();
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(fake->served, 1);
	end_ring();
}

static void
a_ring_without_size_or_addresses_is_not_served(void **state)
{
	(void)state;
	set_mem_table();
	fake_start_ring(fake, 0);
	assert_false(vus_virtq_ready(&fake->s.ring[0].vq));
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	fake_stop_ring(fake, 0);
	fake_ok_state(fake, VUS_SET_VRING_NUM, 0, NUM);
	fake_start_ring(fake, 0);
	assert_false(vus_virtq_ready(&fake->s.ring[0].vq));
	set_ring_addr(0);
	assert_true(vus_virtq_ready(&fake->s.ring[0].vq));
}

/* SET_VRING_ADDR of ring 0 by guest addresses. */
static void
set_guest_addr(void)
{
	struct vus_wire_vring_addr addr = {
		.desc = GUEST_AT(driver.desc),
		.used = GUEST_AT(driver.used),
		.avail = GUEST_AT(driver.avail),
	};

	fake_ok(fake, VUS_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
}

static void
a_ring_may_be_named_by_guest_addresses(void **state)
{
	struct vus_wire_single_region slot = { .region = guest.region[0] };

	(void)state;
	fake_disconnect(fake);
	fake->dialect.protocol_features |= VUS_BIT(VUS_F_GPA_ADDRESSES);
	fake_connect(fake);
	fake_negotiate(fake, 0);
	/* Of front-end virtual addresses nothing is known. */
	guest.region[0].user_addr = guest.region[1].user_addr = 0;
	start_ring(0);
	assert_false(vus_virtq_ready(&fake->s.ring[0].vq));
	set_guest_addr();
	assert_true(vus_virtq_ready(&fake->s.ring[0].vq));
	offer(0);
	assert_int_equal(kick_ring(), VUS_NEXT_WAIT);
	assert_int_equal(completions(), 1);
	/* A region is removed by its guest address, whatever else it says. */
	slot.region.user_addr = 77;
	fake_ok(fake, VUS_REM_MEM_REG, &slot, sizeof(slot), NULL, 0);
	assert_int_equal(fake->s.mem.nregions, 1);
	assert_false(vus_virtq_ready(&fake->s.ring[0].vq));
	fake_ok(fake, VUS_ADD_MEM_REG, &slot, sizeof(slot), guest.fd, 1);
	offer(1);
	assert_int_equal(kick_ring(), VUS_NEXT_WAIT);
	assert_int_equal(completions(), 1);
	end_ring();
}

static void
without_the_feature_guest_addresses_name_no_ring(void **state)
{
	(void)state;
	start_ring(0);
	set_guest_addr();
	assert_false(vus_virtq_ready(&fake->s.ring[0].vq));
	end_ring();
}

static void
a_ring_that_was_reset_begins_with_another_size_elsewhere(void **state)
{
	struct vus_wire_vring_addr addr = { .index = 1,
		.desc = GUEST_USER + 0x10000,
		.avail = GUEST_USER + 0x20000,
		.used = GUEST_USER + 0x30000 };

	(void)state; /* VIRTIO_F_RING_RESET: the device goes on */
	fake_set_channel(fake);
	start_ring(0);
	fake_ok_state(fake, VUS_SET_VRING_NUM, 1, NUM);
	fake_ok(fake, VUS_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	fake_start_ring(fake, 1);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	for (unsigned i = 0; i < 3; i++)
		offer(i);
	assert_int_equal(kick_ring(), VUS_NEXT_WAIT);
	assert_int_equal(completions(), 3);
	/* Ring 0 stops, and nothing of it is left. */
	assert_int_equal(get_base(0), 3);
	assert_int_equal(fake->watched_kick[0], -1);
	end_ring();
	assert_true(vus_virtq_ready(&fake->s.ring[1].vq));
	assert_true(fake->watched_kick[1] >= 0);
	/* It comes back with twice the size, from the beginning. */
	memset(guest_ram(&guest, 0), 0, 0x10000);
	driver_init(&driver, &guest, 2 * NUM, 0);
	driver.desc = 0x40000;
	fake_ok_state(fake, VUS_SET_VRING_NUM, 0, 2 * NUM);
	fake_ok_state(fake, VUS_SET_VRING_BASE, 0, 0);
	set_ring_addr(0);
	kick = make_eventfd();
	call = make_eventfd();
	fake_ok_fd(fake, VUS_SET_VRING_CALL, 0, call);
	fake_ok_fd(fake, VUS_SET_VRING_KICK, 0, kick);
	for (unsigned i = 0; i < 2 * NUM; i++)
		offer(i);
	assert_true(lives(kick_ring()));
	assert_int_equal(completions(), 2 * NUM);
	assert_int_equal(calls(), 1);
	end_ring();
}

static void
event_index_and_indirect_follow_the_features(void **state)
{
	(void)state;
	fake_ok_u64(fake, VUS_SET_FEATURES, VUS_BIT(30) | VUS_BIT(29));
	assert_true(fake->s.ring[1].vq.event_idx);
	assert_false(fake->s.ring[1].vq.indirect);
	fake_ok_u64(fake, VUS_SET_FEATURES, VUS_BIT(30) | VUS_BIT(28));
	assert_false(fake->s.ring[0].vq.event_idx);
	assert_true(fake->s.ring[0].vq.indirect);
}

/* --- the way messages come ----------------------------------------------- */

static void
a_request_may_come_byte_by_byte(void **state)
{
	unsigned char buf[64];
	uint64_t value = 0;
	int fd = make_eventfd();
	size_t len =
	    build_msg(buf, VUS_SET_VRING_CALL, ASK, &value, sizeof(value));

	(void)state;
	for (size_t i = 0; i < len; i++) {
		expect_silence(fake);
		peer_write(fake->front, buf + i, 1, &fd, i == 0);
		assert_int_equal(vus_session_readable(&fake->s), VUS_NEXT_WAIT);
	}
	expect_ack(fake, VUS_SET_VRING_CALL, true);
	assert_true(same_file(fake->s.ring[0].call_fd, fd));
	fd_closep(&fd);
}

static void
requests_in_one_write_are_answered_in_order(void **state)
{
	static const uint32_t ids[] = { VUS_GET_FEATURES, VUS_GET_STATUS,
		VUS_SET_OWNER, VUS_GET_QUEUE_NUM, VUS_RESET_DEVICE };
	unsigned char buf[256];
	struct peer_msg msg;
	size_t len = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(ids); i++)
		len += build_msg(buf + len, ids[i], ASK, NULL, 0);
	peer_write(fake->front, buf, len, NULL, 0);
	assert_int_equal(vus_session_readable(&fake->s), VUS_NEXT_WAIT);
	for (unsigned i = 0; i < ARRAY_LEN(ids); i++) {
		assert_true(peer_recv(fake->front, &msg));
		assert_int_equal(msg.head.request, ids[i]);
	}
	assert_false(peer_recv(fake->front, &msg));
}

static void
nothing_after_a_broken_message_is_carried_out(void **state)
{
	unsigned char buf[64];
	size_t len = build_msg(buf, 45, VUS_VERSION, NULL, 0);

	(void)state;
	len += build_msg(buf + len, VUS_GET_FEATURES, ASK, NULL, 0);
	peer_write(fake->front, buf, len, NULL, 0);
	assert_int_equal(vus_session_readable(&fake->s), VUS_NEXT_BROKEN);
	expect_silence(fake);
}

static void
a_front_end_that_does_not_read_is_not_read_and_goes_on_later(void **state)
{
	const unsigned batch = 60, batches = 5;
	unsigned char buf[60 * sizeof(struct vus_wire_header)];
	struct peer_msg msg;
	unsigned seen = 0;
	size_t len = 0;

	(void)state;
	shrink_sndbuf(fake->s.front.fd);
	for (unsigned i = 0; i < batch; i++)
		len += build_msg(
		    buf + len, VUS_GET_SHMEM_CONFIG, VUS_VERSION, NULL, 0);
	for (unsigned i = 0; i < batches; i++)
		peer_write(fake->front, buf, len, NULL, 0);
	assert_int_equal(vus_session_readable(&fake->s), VUS_NEXT_WAIT);
	assert_true(vus_session_wants_write(&fake->s));
	/* Still no room: nothing happens. */
	assert_int_equal(vus_session_writable(&fake->s), VUS_NEXT_WAIT);
	assert_true(vus_session_wants_write(&fake->s));
	for (unsigned i = 0; i < 10000 && seen < batch * batches; i++) {
		if (vus_session_wants_write(&fake->s))
			assert_int_equal(
			    vus_session_writable(&fake->s), VUS_NEXT_WAIT);
		else
			assert_int_equal(
			    vus_session_readable(&fake->s), VUS_NEXT_WAIT);
		while (peer_recv(fake->front, &msg)) {
			assert_int_equal(
			    msg.head.request, VUS_GET_SHMEM_CONFIG);
			seen++;
		}
	}
	assert_int_equal(seen, batch * batches);
	assert_false(vus_session_wants_write(&fake->s));
	assert_int_equal(get_u64(VUS_GET_STATUS), 0);
}

static void
expect_end(enum vus_next next)
{
	assert_true(next == VUS_NEXT_CLOSED || next == VUS_NEXT_BROKEN);
}

static void
a_front_end_that_leaves_while_a_reply_waits_ends_the_session(void **state)
{
	(void)state;
	shrink_sndbuf(fake->s.front.fd);
	while (!vus_session_wants_write(&fake->s))
		assert_int_equal(fake_request(fake, VUS_GET_SHMEM_CONFIG,
				     VUS_VERSION, NULL, 0, NULL, 0),
		    VUS_NEXT_WAIT);
	fd_closep(&fake->front);
	expect_end(vus_session_writable(&fake->s));
}

static void
a_front_end_that_leaves_before_its_reply_ends_the_session(void **state)
{
	(void)state;
	peer_send(fake->front, VUS_GET_FEATURES, VUS_VERSION, NULL, 0, NULL, 0);
	fd_closep(&fake->front);
	/* The reply goes nowhere; the next read says why. */
	assert_int_equal(vus_session_readable(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(vus_session_readable(&fake->s), VUS_NEXT_CLOSED);
}

static void
hanging_up_between_messages_closes_quietly(void **state)
{
	unsigned before = fake->logged[VUS_LOG_WARN];

	(void)state;
	fd_closep(&fake->front);
	assert_int_equal(vus_session_readable(&fake->s), VUS_NEXT_CLOSED);
	assert_int_equal(fake->logged[VUS_LOG_WARN], before);
}

static void
dying_before_a_reply_is_read_closes_quietly(void **state)
{
	/* VUS_NEXT_BROKEN is "it broke the protocol"; this one was killed. */
	unsigned before = fake->logged[VUS_LOG_WARN];

	(void)state;
	assert_int_equal(
	    fake_request(fake, VUS_GET_FEATURES, VUS_VERSION, NULL, 0, NULL, 0),
	    VUS_NEXT_WAIT);
	fd_closep(&fake->front);
	assert_int_equal(vus_session_readable(&fake->s), VUS_NEXT_CLOSED);
	assert_int_equal(fake->logged[VUS_LOG_WARN], before);
}

static void
hanging_up_inside_a_message_is_broken(void **state)
{
	uint32_t half = VUS_GET_FEATURES;

	(void)state;
	peer_write(fake->front, &half, sizeof(half), NULL, 0);
	assert_int_equal(vus_session_readable(&fake->s), VUS_NEXT_WAIT);
	fd_closep(&fake->front);
	assert_int_equal(vus_session_readable(&fake->s), VUS_NEXT_BROKEN);
}

static void
a_payload_larger_than_any_is_broken_before_it_comes(void **state)
{
	struct vus_wire_header head = { .request = VUS_SET_MEM_TABLE,
		.flags = ASK,
		.size = VUS_PAYLOAD_MAX + 1 };

	(void)state;
	peer_write(fake->front, &head, sizeof(head), guest.fd, 2);
	assert_int_equal(vus_session_readable(&fake->s), VUS_NEXT_BROKEN);
	expect_silence(fake);
}

static void
too_many_descriptors_are_broken_and_none_leaks(void **state)
{
	int fds[VUS_FDS_MAX + 1];

	(void)state; /* teardown counts */
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = guest.fd[0];
	assert_int_equal(fake_request(fake, VUS_SET_MEM_TABLE, ASK, "12345678",
			     8, fds, ARRAY_LEN(fds)),
	    VUS_NEXT_BROKEN);
	expect_silence(fake);
}

static void
reading_with_nothing_there_waits(void **state)
{
	(void)state;
	assert_int_equal(vus_session_readable(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(vus_session_writable(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(vus_session_backend_ready(&fake->s), VUS_NEXT_WAIT);
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
}

static void
closing_in_full_flight_leaves_nothing(void **state)
{
	(void)state; /* teardown counts */
	start_ring(0);
	fake_set_channel(fake);
	fake_start_ring(fake, 1);
	peer_write(fake->front, "half", 4, guest.fd, 2);
	assert_int_equal(vus_session_readable(&fake->s), VUS_NEXT_WORK);
	end_ring();
}

static void
a_quiet_log_gets_no_less_important_lines(void **state)
{
	(void)state;
	memset(fake->logged, 0, sizeof(fake->logged));
	fake->s.host.verbosity = VUS_LOG_WARN;
	fake_start_ring(fake, 0);
	fake_stop_ring(fake, 0);
	assert_int_equal(fake->logged[VUS_LOG_DEBUG], 0);
	assert_int_equal(fake->logged[VUS_LOG_INFO], 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		SESSION_TEST(features_are_the_devices_and_the_sessions),
		SESSION_TEST(
		    features_that_the_dialect_cannot_keep_are_not_offered),
		SESSION_TEST(features_that_were_not_offered_are_refused),
		SESSION_TEST(
		    a_feature_that_the_device_needs_is_missed_in_the_log),
		SESSION_TEST(features_do_not_change_while_a_ring_runs),
		SESSION_TEST(
		    protocol_features_do_not_change_while_the_device_runs),
		SESSION_TEST(status_is_a_byte_and_is_kept),
		SESSION_TEST(set_protocol_features_is_itself_acknowledged),
		SESSION_TEST(the_sizes_of_the_regions_are_all_there),
		SESSION_TEST(shmem_may_have_another_number_on_the_wire),
		SESSION_TEST(sizes_may_be_cut_behind_the_last_that_is_used),
		SESSION_TEST(a_part_of_the_configuration_is_read_up_to_its_end),
		SESSION_TEST(
		    a_front_end_that_asks_for_more_configuration_is_doubted_once),
		SESSION_TEST(writing_the_configuration_changes_nothing),
		SESSION_TEST(
		    the_memory_table_must_agree_with_its_size_and_descriptors),
		SESSION_TEST(a_full_and_an_empty_memory_table_are_taken),
		SESSION_TEST(a_refused_memory_table_leaves_the_old_one),
		SESSION_TEST(
		    slots_are_added_and_removed_with_or_without_a_descriptor),
		SESSION_TEST(a_ring_has_a_power_of_two_of_entries_up_to_32768),
		SESSION_TEST(a_base_has_16_bits_and_comes_back),
		SESSION_TEST(size_and_base_do_not_change_while_the_ring_runs),
		SESSION_TEST(ring_addresses_are_aligned_and_have_one_flag),
		SESSION_TEST(enable_is_0_or_1_and_needs_bit_30),
		SESSION_TEST(a_ring_descriptor_agrees_with_bit_8),
		SESSION_TEST(a_ring_may_do_without_descriptors),
		SESSION_TEST(
		    a_ring_without_kick_descriptor_is_polled_while_it_runs),
		SESSION_TEST(
		    another_call_descriptor_is_called_for_what_was_used_before),
		SESSION_TEST(the_host_can_tell_half_a_message),
		SESSION_TEST(a_descriptor_is_replaced_and_the_old_one_closed),
		SESSION_TEST(only_eventfds_are_taken_for_rings),
		SESSION_TEST(a_blocking_eventfd_does_not_block),
		SESSION_TEST(an_eventfd_stays_as_it_came),
		SESSION_TEST(a_kick_descriptor_that_cannot_be_read_is_let_go),
		SESSION_TEST(a_back_end_channel_must_be_a_socket),
		SESSION_TEST(a_started_ring_is_looked_at_without_a_kick),
		SESSION_TEST(a_kick_serves_what_is_offered),
		SESSION_TEST(a_ring_is_served_only_when_kicked_and_enabled),
		SESSION_TEST(without_bit_30_a_kick_descriptor_enables),
		SESSION_TEST(a_ring_goes_on_from_its_base_after_a_stop),
		SESSION_TEST(a_reset_forgets_the_ring),
		SESSION_TEST(reset_owner_disables_the_rings),
		SESSION_TEST(a_call_descriptor_that_is_full_holds_nobody_up),
		SESSION_TEST(a_broken_ring_stops_and_says_so_once),
		SESSION_TEST(
		    a_malformed_chain_is_handed_back_and_the_ring_goes_on),
		SESSION_TEST(a_busy_ring_lets_others_have_their_turn),
		SESSION_TEST(a_ring_outside_of_the_memory_table_waits_for_it),
		SESSION_TEST(a_ring_without_size_or_addresses_is_not_served),
		SESSION_TEST(a_ring_may_be_named_by_guest_addresses),
		SESSION_TEST(without_the_feature_guest_addresses_name_no_ring),
		SESSION_TEST(
		    a_ring_that_was_reset_begins_with_another_size_elsewhere),
		SESSION_TEST(event_index_and_indirect_follow_the_features),
		SESSION_TEST(a_request_may_come_byte_by_byte),
		SESSION_TEST(requests_in_one_write_are_answered_in_order),
		SESSION_TEST(nothing_after_a_broken_message_is_carried_out),
		SESSION_TEST(
		    a_front_end_that_does_not_read_is_not_read_and_goes_on_later),
		SESSION_TEST(
		    a_front_end_that_leaves_while_a_reply_waits_ends_the_session),
		SESSION_TEST(
		    a_front_end_that_leaves_before_its_reply_ends_the_session),
		SESSION_TEST(hanging_up_between_messages_closes_quietly),
		SESSION_TEST(dying_before_a_reply_is_read_closes_quietly),
		SESSION_TEST(hanging_up_inside_a_message_is_broken),
		SESSION_TEST(
		    a_payload_larger_than_any_is_broken_before_it_comes),
		SESSION_TEST(too_many_descriptors_are_broken_and_none_leaks),
		SESSION_TEST(reading_with_nothing_there_waits),
		SESSION_TEST(closing_in_full_flight_leaves_nothing),
		SESSION_TEST(a_quiet_log_gets_no_less_important_lines),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
