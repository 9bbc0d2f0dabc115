/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* served.h: what is staged, served, held and retired, and what is freed when.
 */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "daemon/supervisor/served.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct {
	unsigned opened, closing, added, removed;
	uint32_t last_removed;
	bool busy; /* the builder has no room for orders */
} seen;

static void
opened(void *ctx, struct device *device)
{
	(void)ctx;
	(void)device;
	seen.opened++;
}

static void
closing(void *ctx, struct device *device)
{
	(void)ctx;
	(void)device;
	seen.closing++;
}

static void
added(void *ctx, struct region *region)
{
	(void)ctx;
	(void)region;
	seen.added++;
}

static bool
removing(void *ctx, struct region *region)
{
	(void)ctx;
	if (seen.busy)
		return false;
	seen.removed++;
	seen.last_removed = region->info.id;
	return true;
}

static void
control(void *ctx, int door, gid_t gid)
{
	(void)ctx;
	(void)gid;
	(void)close(door);
}

static const struct served_ops ops = { opened, closing, added, removing,
	control };
static struct served served;

static int
setup(void **state)
{
	(void)state;
	memset(&seen, 0, sizeof(seen));
	served_init(&served, &ops, NULL);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	served_free(&served);
	return 0;
}

static int
stage(enum priv_type type, struct priv_msg *msg, unsigned nfds)
{
	int fds[PRIV_REGIONS_MAX], rc;

	msg->type = type;
	for (unsigned i = 0; i < PRIV_REGIONS_MAX; i++)
		fds[i] = i < nfds ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;
	rc = served_stage(&served, msg, fds);
	for (unsigned i = 0; i < PRIV_REGIONS_MAX; i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
	return rc;
}

static int
stage_region(uint32_t id, bool is_new)
{
	struct priv_msg msg = { 0 };

	msg.u.have_region.id = id;
	msg.u.have_region.is_new = is_new;
	(void)snprintf(
	    msg.u.have_region.name, sizeof(msg.u.have_region.name), "r%u", id);
	return stage(PRIV_HAVE_REGION, &msg, is_new ? 2 : 0);
}

static int
stage_device(uint32_t id, uint32_t nshm)
{
	struct priv_msg msg = { 0 };

	msg.u.have_device.id = id;
	msg.u.have_device.nshm = nshm;
	return stage(PRIV_HAVE_DEVICE, &msg, 0);
}

static int
stage_shm(uint32_t device, uint32_t shmid, uint32_t region)
{
	struct priv_msg msg = { 0 };

	msg.u.have_shm.device = device;
	msg.u.have_shm.n = 1;
	msg.u.have_shm.shm[0].shmid = shmid;
	msg.u.have_shm.shm[0].region = region;
	return stage(PRIV_HAVE_SHM, &msg, 0);
}

static int
stage_door(uint32_t device)
{
	struct priv_msg msg = { .u.door.device = device };

	return stage(PRIV_DOOR, &msg, 1);
}

/* Device 1 with region 1. */
static void
serve_one(void)
{
	assert_int_equal(stage_region(1, true), 0);
	assert_int_equal(stage_device(1, 1), 0);
	assert_int_equal(stage_shm(1, 0, 1), 0);
	assert_int_equal(stage_door(1), 0);
	served_commit(&served);
	assert_int_equal(seen.opened, 1);
	assert_int_equal(seen.added, 1);
}

static void
what_is_gone_stays_for_those_who_have_it(void **state)
{
	struct device *d;

	(void)state;
	serve_one();
	d = served_device(&served, 1);
	assert_non_null(d);
	served_hold(d);
	/* Another region and device in their place. */
	assert_int_equal(stage_region(2, true), 0);
	assert_int_equal(stage_device(2, 1), 0);
	assert_int_equal(stage_shm(2, 0, 2), 0);
	served_commit(&served);
	assert_int_equal(seen.closing, 1);
	assert_int_equal(seen.removed, 0);
	assert_null(served_device(&served, 1));
	assert_null(served_region_by_name(&served, "r1"));
	assert_int_equal(d->shm[0].region->connections, 1);
	served_release(&served, d);
	assert_int_equal(seen.removed, 1);
	assert_int_equal(seen.last_removed, 1);
	assert_null(served_region(&served, 1));
}

static void
a_region_that_two_shmids_have_is_held_once(void **state)
{
	struct device *d;

	(void)state;
	assert_int_equal(stage_region(1, true), 0);
	assert_int_equal(stage_device(1, 2), 0);
	assert_int_equal(stage_shm(1, 0, 1), 0);
	assert_int_equal(stage_shm(1, 1, 1), 0);
	served_commit(&served);
	d = served_device(&served, 1);
	served_hold(d);
	assert_int_equal(served_region(&served, 1)->connections, 1);
	assert_false(served_is_repeated(d, 0));
	assert_true(served_is_repeated(d, 1));
	served_release(&served, d);
	assert_int_equal(served_region(&served, 1)->connections, 0);
}

static void
what_the_builder_cannot_hear_of_yet_stays(void **state)
{
	(void)state;
	assert_int_equal(stage_region(1, true), 0);
	served_commit(&served);
	seen.busy = true;
	served_commit(&served);
	assert_non_null(served_region(&served, 1));
	assert_true(served_region(&served, 1)->retired);
	seen.busy = false;
	served_sweep(&served);
	assert_null(served_region(&served, 1));
	assert_int_equal(seen.last_removed, 1);
}

static void
a_device_cannot_have_a_region_that_is_about_to_go(void **state)
{
	(void)state;
	serve_one();
	/* Region 1 is not of the next configuration. */
	assert_int_equal(stage_device(1, 1), 0);
	assert_int_equal(stage_shm(1, 0, 1), -EPROTO);
	/* Now it is. */
	assert_int_equal(stage_region(1, false), 0);
	assert_int_equal(stage_shm(1, 0, 1), 0);
	served_commit(&served);
	assert_int_equal(seen.removed, 0);
	assert_non_null(served_region(&served, 1));
}

static void
what_is_thrown_away_changes_nothing(void **state)
{
	(void)state;
	serve_one();
	assert_int_equal(stage_region(1, false), 0);
	assert_int_equal(stage_region(2, true), 0);
	assert_int_equal(stage_device(1, 1), 0);
	assert_int_equal(stage_shm(1, 0, 2), 0);
	served_drop(&served);
	assert_null(served_region(&served, 2));
	assert_int_equal(seen.removed, 0);
	assert_int_equal(served.generation, 1);
	/* And the next one begins from nothing. */
	assert_int_equal(stage_device(1, 1), 0);
	assert_int_equal(stage_shm(1, 0, 1), -EPROTO);
}

static void
a_door_and_its_figures_go_to_the_next_device_of_this_number(void **state)
{
	int door;

	(void)state;
	serve_one();
	door = served_device(&served, 1)->door;
	served_device(&served, 1)->served = 7;
	served_device(&served, 1)->refused_untold = 3;
	assert_int_equal(stage_region(1, false), 0);
	assert_int_equal(stage_device(1, 1), 0);
	assert_int_equal(stage_shm(1, 0, 1), 0);
	served_commit(&served);
	assert_int_equal(served_device(&served, 1)->door, door);
	assert_int_equal(served_device(&served, 1)->served, 7);
	assert_int_equal(served_device(&served, 1)->refused_untold, 3);
	assert_int_equal(seen.opened, 2);
	assert_int_equal(seen.closing, 1);
}

static void
what_fits_to_nothing_is_refused(void **state)
{
	struct priv_msg msg = { 0 };

	(void)state;
	assert_int_equal(stage_region(9, false), -EPROTO);
	assert_int_equal(stage_region(1, true), 0);
	assert_int_equal(stage_region(1, true), -EPROTO);
	assert_int_equal(stage_device(1, 0), -EPROTO);
	assert_int_equal(stage_device(1, 257), -EPROTO);
	assert_int_equal(stage_device(PRIV_CONTROL, 1), -EPROTO);
	assert_int_equal(stage_device(PRIV_ALL, 1), -EPROTO);
	assert_int_equal(stage_device(1, 1), 0);
	assert_int_equal(stage_device(1, 1), -EPROTO);
	assert_int_equal(stage_shm(2, 0, 1), -EPROTO);
	assert_int_equal(stage_shm(1, 256, 1), -EPROTO);
	assert_int_equal(stage_shm(1, 0, 1), 0);
	assert_int_equal(stage_shm(1, 1, 1), -EPROTO); /* one too many */
	assert_int_equal(stage_door(2), -EPROTO);
	assert_int_equal(stage_door(1), 0);
	assert_int_equal(stage_door(1), -EPROTO);
	msg.u.have_region.id = 3;
	msg.u.have_region.is_new = 1;
	msg.u.have_region.access = 3;
	assert_int_equal(stage(PRIV_HAVE_REGION, &msg, 2), -EPROTO);
	assert_int_equal(stage(PRIV_BUILT, &msg, 0), -EPROTO);
}

int
main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_is_gone_stays_for_those_who_have_it),
		T(a_region_that_two_shmids_have_is_held_once),
		T(what_the_builder_cannot_hear_of_yet_stays),
		T(a_device_cannot_have_a_region_that_is_about_to_go),
		T(what_is_thrown_away_changes_nothing),
		T(a_door_and_its_figures_go_to_the_next_device_of_this_number),
		T(what_fits_to_nothing_is_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("served", tests, NULL, NULL);
}
