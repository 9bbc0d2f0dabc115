/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * inflight.h: a back-end that dies loses no request and completes none twice,
 * wherever it dies. A child does the work one instruction at a time; what
 * it has left in shared memory after each one is a moment at which it may
 * have died, and from which another back-end takes over, which may die, too.
 * Besides: the buffers of others, buffers that lie, and the requests that
 * hand buffers over. The layouts of vhost-user.rst, "Inflight I/O tracking",
 * are written here a second time.
 */
#include "config.h"

#include "tests/unit/fake_ring.h"

#include "proto/fd.h"
#include "proto/inflight.h"
#include "proto/virtq.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ASK (VUS_VERSION | VUS_FLAG_NEED_REPLY)

struct split_desc {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;
	uint64_t counter;
};

struct split_region {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct split_desc desc[];
};

struct packed_desc {
	uint8_t inflight;
	uint8_t padding;
	uint16_t next;
	uint16_t last;
	uint16_t num;
	uint64_t counter;
	uint16_t id;
	uint16_t flags;
	uint32_t len;
	uint64_t addr;
};

struct packed_region {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head;
	uint16_t old_free_head;
	uint16_t used_idx;
	uint16_t old_used_idx;
	uint8_t used_wrap_counter;
	uint8_t old_used_wrap_counter;
	uint8_t padding[7];
	struct packed_desc desc[];
};

/* --- a ring, its driver and its back-ends -------------------------------- */

#define NUM 16U	      /* entries of the split ring, two for each request */
#define PACKED_NUM 8U /* of the packed one */
#define IDS 8U	      /* requests are called 0 to 7 */
#define DATA UINT64_C(0xc0000)
#define TABLE UINT64_C(0xd0000)

/* What outlives a back-end. */
static struct shared {
	unsigned char buffer[1024];
	unsigned served[IDS];
} * shared;

static struct fake_guest guest;
static struct vus_mem *mem;
static bool packed;

/* The driver: its rings, and how often a request has been completed since it
 * was offered. It lives on as well. */
static struct driver {
	struct fake_driver split;
	struct fake_packed packed;
	bool offered[IDS];
	unsigned completed[IDS];
	char kind[IDS];
	unsigned next_id, next_done;
	bool in_order; /* VIRTIO_F_IN_ORDER: they have to be completed so */
} driver;

/* The back-end, which dies. */
static struct vus_virtq vq;

static struct split_region *
split_buffer(void)
{
	return (struct split_region *)(void *)shared->buffer;
}

static struct packed_region *
packed_buffer(void)
{
	return (struct packed_region *)(void *)shared->buffer;
}

/* A back-end begins, at the position that a front-end gives it which knows
 * nothing better. Returns what is wrong. */
static const char *
start(void)
{
	uint64_t base = GUEST_USER;

	memset(&vq, 0, sizeof(vq));
	vus_virtq_reset(&vq);
	vq.packed = packed;
	vq.indirect = true;
	vq.num = packed ? PACKED_NUM : NUM;
	vq.inflight.region = shared->buffer;
	vq.inflight.entries = (uint16_t)vq.num;
	if (packed)
		return vus_virtq_resolve(&vq, mem, base + driver.packed.desc,
		    base + driver.packed.driver, base + driver.packed.device);
	return vus_virtq_resolve(&vq, mem, base + driver.split.desc,
	    base + driver.split.avail, base + driver.split.used);
}

/* It serves what there is. No assertion: it may be another process. */
static void
serve(void)
{
	struct vus_chain chain;
	const char *why;

	for (;;) {
		unsigned id;

		switch (vus_virtq_pop(&vq, mem, &chain, &why)) {
		case VUS_POP_CHAIN:
			id = packed ? chain.id : chain.id / 2U;
			__atomic_fetch_add(
			    &shared->served[id], 1, __ATOMIC_SEQ_CST);
			vus_virtq_push(&vq, &chain, 4);
			continue;
		case VUS_POP_BAD:
			vus_virtq_push(&vq, &chain, 0);
			continue;
		case VUS_POP_SKIP:
			continue;
		case VUS_POP_EMPTY:
		case VUS_POP_BROKEN:
			return;
		}
	}
}

/* Requests that it has taken, and how many there are. */
static struct vus_chain popped[IDS];
static bool malformed[IDS];
static unsigned npopped;

static void
take_all(void)
{
	const char *why;

	for (npopped = 0; npopped < IDS; npopped++) {
		enum vus_pop pop =
		    vus_virtq_pop(&vq, mem, &popped[npopped], &why);

		if (pop != VUS_POP_CHAIN && pop != VUS_POP_BAD)
			return;
		malformed[npopped] = pop == VUS_POP_BAD;
	}
}

static void
complete_popped(unsigned i)
{
	const struct vus_chain *chain = &popped[i];
	unsigned id = packed ? chain->id : chain->id / 2U;

	if (!malformed[i])
		__atomic_fetch_add(&shared->served[id], 1, __ATOMIC_SEQ_CST);
	vus_virtq_push(&vq, chain, malformed[i] ? 0 : 4);
}

/* The same with many in flight: it completes the first, puts the others back
 * because memory has changed, and takes them anew. */
static void
serve_late(void)
{
	take_all();
	if (npopped == 0)
		return;
	complete_popped(0);
	while (npopped-- > 1)
		vus_virtq_unpop(&vq, &popped[npopped]);
	if (start() != NULL)
		return;
	take_all();
	for (unsigned i = 0; i < npopped; i++)
		complete_popped(i);
}

/* It begins and serves. */
static void
recover(void)
{
	if (start() == NULL)
		serve();
}

static void
recover_late(void)
{
	if (start() == NULL)
		serve_late();
}

/* --- the driver ---------------------------------------------------------- */

/* A request of one descriptor, of two, of an indirect table, or one that is
 * malformed. */
static void
offer(char kind)
{
	unsigned id = driver.next_id++ % IDS;
	uint64_t data = GUEST_AT(DATA + id * 64), table = TABLE + id * 64;
	struct fake_driver *s = &driver.split;
	struct fake_packed *p = &driver.packed;

	assert_false(driver.offered[id]);
	driver.offered[id] = true;
	driver.completed[id] = 0;
	driver.kind[id] = kind;
	shared->served[id] = 0;
	if (kind == 'i' && packed) {
		/* Of an entry flags are last, where NEXT is for split rings. */
		driver_desc_at(s, table, 0, data, 4, 0, 0);
		driver_desc_at(s, table, 1, data + 4, 4, 0, DRIVER_WRITE);
		packed_put(p, GUEST_AT(table), 32, id, DRIVER_INDIRECT);
		return;
	}
	if (kind == 'i') {
		driver_desc_at(s, table, 0, data, 4, DRIVER_NEXT, 1);
		driver_desc_at(s, table, 1, data + 4, 4, DRIVER_WRITE, 0);
		driver_desc(s, 2 * id, GUEST_AT(table), 32, DRIVER_INDIRECT, 0);
		driver_offer(s, 2 * id);
		return;
	}
	if (kind == 'b')
		data = 0;
	if (packed) {
		if (kind == '2')
			packed_put(p, data, 4, 99, DRIVER_NEXT);
		packed_put(p, data + 4, 4, id, DRIVER_WRITE);
		return;
	}
	driver_desc(
	    s, 2 * id, data, 4, kind == '2' ? DRIVER_NEXT : 2, 2 * id + 1);
	driver_desc(s, 2 * id + 1, data + 4, 4, DRIVER_WRITE, 0);
	driver_offer(s, 2 * id);
}

static void
offer_all(const char *kinds)
{
	for (; *kinds != '\0'; kinds++)
		offer(*kinds);
}

/* Look at what has been completed. */
static void
collect(void)
{
	uint32_t id, len;

	while (packed ? packed_complete(&driver.packed, &id, &len)
		      : driver_complete(&driver.split, &id, &len)) {
		if (!packed)
			id /= 2;
		assert_true(!driver.in_order || id == driver.next_done % IDS);
		driver.next_done++;
		assert_true(driver.offered[id]);
		driver.completed[id]++;
		assert_int_equal(len, driver.kind[id] == 'b' ? 0 : 4);
	}
}

static uint32_t
position(unsigned at, bool wrap)
{
	return at | (wrap ? 0x8000U : 0);
}

/* Each request that was offered has been completed once, and served: once,
 * or again for each back-end that died. The last one stands where the driver
 * does. */
static void
expect_all_done(unsigned deaths)
{
	const struct fake_packed *p = &driver.packed;

	collect();
	assert_int_equal(vus_virtq_base(&vq),
	    packed ? position(p->offer_at, p->offer_wrap) |
			 position(p->look_at, p->look_wrap) << 16
		   : driver.split.avail_idx);
	for (unsigned id = 0; id < IDS; id++) {
		if (!driver.offered[id])
			continue;
		assert_int_equal(driver.completed[id], 1);
		if (driver.kind[id] == 'b') {
			assert_int_equal(shared->served[id], 0);
			continue;
		}
		assert_true(shared->served[id] >= 1 &&
			    shared->served[id] <= 1 + deaths);
	}
}

/* The driver may use the names again. */
static void
forget_done(void)
{
	expect_all_done(0);
	memset(driver.offered, 0, sizeof(driver.offered));
}

static int
setup(void **state)
{
	const char *why;
	void *map;

	(void)fds_before(state);
	guest_init(&guest);
	mem = calloc(1, sizeof(*mem));
	assert_non_null(mem);
	assert_int_equal(
	    vus_mem_replace(mem, guest.region, guest.fd, 2, &why), 0);
	map = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	shared = map;
	return 0;
}

static int
teardown(void **state)
{
	assert_int_equal(munmap(shared, sizeof(*shared)), 0);
	vus_mem_clear(mem);
	free(mem);
	guest_free(&guest);
	return fds_after(state);
}

#define INFLIGHT_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* A ring whose requests so far have been served, with a new buffer. */
static void
begin(bool packed_ring, uint16_t used, const char *before)
{
	packed = packed_ring;
	memset(shared, 0, sizeof(*shared));
	memset(&driver, 0, sizeof(driver));
	driver_init(&driver.split, &guest, NUM, used);
	if (packed)
		packed_init(&driver.packed, &guest, PACKED_NUM, 0);
	assert_null(start());
	vq.next = packed ? 0 : used;
	for (; *before != '\0'; before++) {
		offer(*before);
		serve();
		forget_done();
	}
}

/* --- to die at any instruction ------------------------------------------- */

#define MOMENTS_MAX 1024U

/* All that can be seen: the buffer and the ring. */
struct moment {
	struct shared shared;
	unsigned char desc[NUM * 16], avail[64], used[192];
};

struct moments {
	unsigned n;
	struct moment list[MOMENTS_MAX];
};

static void
look(struct moment *m)
{
	const struct fake_driver *s = &driver.split;

	memcpy(&m->shared, shared, sizeof(m->shared));
	memcpy(m->desc, guest_ram(&guest, s->desc), sizeof(m->desc));
	memcpy(m->avail, guest_ram(&guest, s->avail), sizeof(m->avail));
	memcpy(m->used, guest_ram(&guest, s->used), sizeof(m->used));
}

static void
go_back(const struct moment *m)
{
	const struct fake_driver *s = &driver.split;

	memcpy(shared, &m->shared, sizeof(m->shared));
	memcpy(guest_ram(&guest, s->desc), m->desc, sizeof(m->desc));
	memcpy(guest_ram(&guest, s->avail), m->avail, sizeof(m->avail));
	memcpy(guest_ram(&guest, s->used), m->used, sizeof(m->used));
}

/* Let f run in a child, and note all that can be seen on its way. False: the
 * system does not let us. */
static bool
trace(void (*f)(void), struct moments *moments)
{
	struct moment *list = moments->list;
	int status;
	pid_t child;

	moments->n = 1;
	look(&list[0]);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(77);
		(void)raise(SIGSTOP);
		f();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	while (WIFSTOPPED(status)) {
		struct moment *next = &list[moments->n];

		look(next);
		if (memcmp(next, next - 1, sizeof(*next)) != 0)
			assert_true(++moments->n < MOMENTS_MAX);
		if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) < 0) {
			(void)kill(child, SIGKILL);
			(void)waitpid(child, &status, 0);
			return false;
		}
		assert_int_equal(waitpid(child, &status, 0), child);
	}
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		return false;
	assert_int_equal(WEXITSTATUS(status), 0);
	return true;
}

/* The driver has gone on in the meantime: it has seen what was completed, and
 * offers as much as the ring has room for. */
static void
driver_goes_on(void)
{
	unsigned busy = 0;

	collect();
	for (unsigned id = 0; id < IDS; id++) {
		if (driver.offered[id] && driver.completed[id] != 0) {
			assert_int_equal(driver.completed[id], 1);
			driver.offered[id] = false;
		}
		if (driver.offered[id])
			busy += driver.kind[id] == '2' ? 2 : 1;
	}
	while (!(packed && busy == PACKED_NUM) &&
	       !driver.offered[driver.next_id % IDS]) {
		offer('1');
		busy++;
	}
}

/*
 * A back-end dies while it serves these requests: each of the moments, with
 * and without a driver that goes on; and if twice, the one that takes over
 * dies as well.
 */
static void
die_in(const char *kinds, bool twice, bool late)
{
	static struct moments moments, again;
	struct driver before;

#ifdef SHMEMD_INSTRUMENTED
	twice = false; /* instructions are ten times as many */
#endif
	driver.in_order = true;
	offer_all(kinds);
	before = driver;
	if (!trace(late ? serve_late : serve, &moments))
		skip();
	/* Of each request there is more to see than its completion. */
	assert_true(moments.n > 4 * strlen(kinds));
	for (unsigned i = 0; i < 2 * moments.n; i++) {
		struct driver then;

		driver = before;
		go_back(&moments.list[i / 2]);
		if (i % 2 != 0)
			driver_goes_on();
		then = driver;
		if (twice && i % 2 == 0) {
			assert_true(
			    trace(late ? recover_late : recover, &again));
			for (unsigned k = 0; k < again.n; k++) {
				driver = then;
				go_back(&again.list[k]);
				assert_null(start());
				serve();
				expect_all_done(2);
			}
			driver = then;
			go_back(&moments.list[i / 2]);
		}
		assert_null(start());
		serve();
		expect_all_done(1);
	}
}

static void
die_everywhere(const char *kinds, bool twice)
{
	die_in(kinds, twice, false);
}

static void
split_many_in_flight(void **state)
{
	(void)state;
	begin(false, 0, "1");
	die_in("21", true, true);
	begin(false, 65533, "12");
	die_in("1b2ib1", false, true);
}

static void
packed_many_in_flight(void **state)
{
	(void)state;
	begin(true, 0, "1");
	die_in("21", true, true);
	/* A full ring that is not at its beginning. */
	begin(true, 0, "121");
	die_in("12b211", false, true);
}

static void
split_one_request(void **state)
{
	(void)state;
	begin(false, 0, "");
	die_everywhere("1", true);
	begin(false, 0, "212");
	die_everywhere("2", false);
}

static void
split_several_requests(void **state)
{
	(void)state;
	begin(false, 0, "1");
	die_everywhere("2i1", false);
	begin(false, 7, "12");
	die_everywhere("i", false);
}

static void
split_malformed_requests(void **state)
{
	(void)state;
	begin(false, 0, "b");
	die_everywhere("1b2", false);
}

static void
split_indices_that_wrap_and_a_full_ring(void **state)
{
	(void)state;
	begin(false, 65533, "1");
	die_everywhere("22222222", false);
	begin(false, 65534, "");
	die_everywhere("11", true);
}

static void
packed_one_request(void **state)
{
	(void)state;
	begin(true, 0, "");
	die_everywhere("1", true);
	begin(true, 0, "212");
	die_everywhere("2", false);
}

static void
packed_several_requests(void **state)
{
	(void)state;
	begin(true, 0, "1");
	die_everywhere("2i1", false);
	begin(true, 0, "12");
	die_everywhere("i", false);
}

static void
packed_malformed_requests(void **state)
{
	(void)state;
	begin(true, 0, "b");
	die_everywhere("1b2", false);
}

static void
packed_rings_that_wrap_and_are_full(void **state)
{
	(void)state;
	begin(true, 0, "111");
	die_everywhere("2222", false);
	begin(true, 0, "1112");
	die_everywhere("1111", false);
	/* The last entry, and a chain around the end. */
	begin(true, 0, "1111111");
	die_everywhere("1", false);
	begin(true, 0, "1111111");
	die_everywhere("2", true);
	/* One that ends where the chain of the round before it had its second
	 * entry, of which nobody has written that it is used. */
	begin(true, 0, "211111");
	die_everywhere("2", true);
	begin(true, 0, "211111");
	die_everywhere("21", false);
	/* In the second round the counter is 0. */
	begin(true, 0, "11111111211111");
	die_everywhere("2", false);
	begin(true, 0, "11111111111111111");
	die_everywhere("1", false);
}

/* --- the points by name -------------------------------------------------- */

/* The same at the five points that the specification has, for a system where
 * no process may look at another's instructions. */
enum point { TAKE, SERVE, PUT, USED, COMPLETED };

static void
die_at(enum point point)
{
	struct vus_chain chain;
	const char *why;
	uint16_t used;

	assert_int_equal(vus_virtq_pop(&vq, mem, &chain, &why), VUS_POP_CHAIN);
	if (point >= SERVE)
		shared->served[packed ? chain.id : chain.id / 2]++;
	if (point == PUT && packed)
		vus_inflight_packed_put(&vq.inflight, chain.entry,
		    (struct vus_position){
			(uint16_t)(vq.used + chain.slots), true });
	else if (point == PUT)
		vus_inflight_split_put(&vq.inflight, chain.id);
	if (point == USED && packed) {
		struct moment now;

		/* All but the last step. */
		vus_inflight_packed_put(&vq.inflight, chain.entry,
		    (struct vus_position){
			(uint16_t)(vq.used + chain.slots), true });
		look(&now);
		vus_virtq_push(&vq, &chain, 4);
		memcpy(
		    shared->buffer, now.shared.buffer, sizeof(shared->buffer));
	} else if (point == USED) {
		struct moment now;

		used = vq.used;
		vus_inflight_split_put(&vq.inflight, chain.id);
		look(&now);
		vus_virtq_push(&vq, &chain, 4);
		assert_int_equal(vq.used, (uint16_t)(used + 1));
		memcpy(
		    shared->buffer, now.shared.buffer, sizeof(shared->buffer));
	}
	if (point == COMPLETED)
		vus_virtq_push(&vq, &chain, 4);
}

static void
each_point_of_the_specification(void **state)
{
	(void)state;
	for (unsigned i = 0; i <= 2U * COMPLETED + 1U; i++) {
		enum point point = (enum point)(i / 2);

		begin(i % 2 != 0, 0, "12");
		offer_all("2i");
		die_at(point);
		assert_null(start());
		/* What was completed is not done again. */
		assert_int_equal(vq.inflight.redo,
		    point == USED || point == COMPLETED ? 0 : 1);
		serve();
		expect_all_done(1);
		assert_int_equal(
		    shared->served[2], point == SERVE || point == PUT ? 2 : 1);
	}
}

/* --- buffers, new and of others ------------------------------------------ */

static void
a_new_buffer_is_made_ready_and_changes_no_position(void **state)
{
	const struct split_region *s = split_buffer();
	const struct packed_region *p = packed_buffer();

	(void)state;
	begin(false, 9, "");
	assert_int_equal(s->features, 0);
	assert_int_equal(s->version, 1);
	assert_int_equal(s->desc_num, NUM);
	assert_int_equal(s->used_idx, 9);
	assert_int_equal(vq.inflight.redo, 0);
	assert_int_equal(vus_virtq_base(&vq), 9);
	begin(true, 0, "");
	assert_int_equal(p->features, 0);
	assert_int_equal(p->version, 1);
	assert_int_equal(p->desc_num, PACKED_NUM);
	assert_int_equal(p->used_idx, 0);
	assert_int_equal(p->used_wrap_counter, 1);
	assert_int_equal(p->old_used_wrap_counter, 1);
	for (unsigned i = 0; i < PACKED_NUM; i++)
		assert_int_equal(p->desc[i].next, i + 1);
	assert_int_equal(vus_virtq_base(&vq), 0x80008000);
}

static void
sizes_are_those_of_whole_cache_lines(void **state)
{
	(void)state;
	assert_int_equal(vus_inflight_size(false, 1), 64);
	assert_int_equal(vus_inflight_size(false, 3), 64);
	assert_int_equal(vus_inflight_size(false, 4), 128);
	assert_int_equal(vus_inflight_size(true, 1), 64);
	assert_int_equal(vus_inflight_size(true, 2), 128);
	assert_true(vus_inflight_size(true, VUS_RING_MAX) <= VUS_INFLIGHT_MAX);
	assert_int_equal(sizeof(struct split_desc), 16);
	assert_int_equal(offsetof(struct packed_region, desc), 32);
}

static void
a_request_is_noted_while_it_is_served(void **state)
{
	struct vus_chain chain;
	const char *why;

	(void)state;
	begin(false, 0, "");
	offer_all("121");
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(
		    vus_virtq_pop(&vq, mem, &chain, &why), VUS_POP_CHAIN);
		assert_int_equal(split_buffer()->desc[2 * i].inflight, 1);
		assert_int_equal(split_buffer()->desc[2 * i].counter, i);
		vus_virtq_push(&vq, &chain, 4);
		assert_int_equal(split_buffer()->desc[2 * i].inflight, 0);
		assert_int_equal(split_buffer()->used_idx, i + 1);
		assert_int_equal(split_buffer()->last_batch_head, 2 * i);
		assert_int_equal(
		    split_buffer()->desc[2 * i].next, i == 0 ? 0 : 2 * (i - 1));
	}
	begin(true, 0, "");
	offer_all("2");
	assert_int_equal(vus_virtq_pop(&vq, mem, &chain, &why), VUS_POP_CHAIN);
	assert_int_equal(packed_buffer()->desc[0].inflight, 1);
	assert_int_equal(packed_buffer()->desc[0].num, 2);
	assert_int_equal(packed_buffer()->desc[0].last, 1);
	assert_int_equal(packed_buffer()->desc[1].id, 0);
	assert_int_equal(packed_buffer()->desc[1].addr, GUEST_AT(DATA) + 4);
	assert_int_equal(packed_buffer()->free_head, 2);
	vus_virtq_push(&vq, &chain, 4);
	assert_int_equal(packed_buffer()->desc[0].inflight, 0);
	assert_int_equal(packed_buffer()->free_head, 0);
	assert_int_equal(packed_buffer()->used_idx, 2);
	assert_int_equal(packed_buffer()->old_used_idx, 2);
}

/* Mark a request as taken by another back-end, which had more than one. */
static void
taken(unsigned id, uint64_t counter)
{
	split_buffer()->desc[2 * id].inflight = 1;
	split_buffer()->desc[2 * id].counter = counter;
}

static void
requests_are_done_again_in_the_order_of_their_counters(void **state)
{
	static const unsigned order[] = { 2, 0, 3, 1 };
	struct vus_chain chain;
	const char *why;

	(void)state;
	begin(false, 65534, "");
	offer_all("12i21");
	taken(0, 8);
	taken(1, UINT64_C(1) << 40);
	taken(2, 7);
	taken(3, 9);
	assert_null(start());
	assert_int_equal(vq.inflight.redo, 4);
	assert_int_equal(vq.next, 2);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(
		    vus_virtq_pop(&vq, mem, &chain, &why), VUS_POP_CHAIN);
		assert_int_equal(chain.id, 2 * order[i]);
		shared->served[order[i]]++;
		vus_virtq_push(&vq, &chain, 4);
	}
	/* The next request counts from there. */
	assert_int_equal(vus_virtq_pop(&vq, mem, &chain, &why), VUS_POP_CHAIN);
	assert_int_equal(chain.id, 8);
	assert_int_equal(
	    split_buffer()->desc[8].counter, (UINT64_C(1) << 40) + 1);
	shared->served[4]++;
	vus_virtq_push(&vq, &chain, 4);
	expect_all_done(0);
}

static void
packed_requests_are_done_again_in_order_with_all_their_descriptors(void **state)
{
	struct packed_region *p = packed_buffer();
	bool free_entry[PACKED_NUM] = { false };
	struct vus_chain chain[3];
	unsigned at;
	const char *why;

	(void)state; /* another back-end has taken three and completed none */
	begin(true, 0, "1");
	offer_all("2i1");
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(
		    vus_virtq_pop(&vq, mem, &chain[i], &why), VUS_POP_CHAIN);
	p->desc[chain[0].entry].counter = 50;
	p->desc[chain[1].entry].counter = 49;
	p->desc[chain[2].entry].counter = 51;
	assert_null(start());
	assert_int_equal(vq.inflight.redo, 3);
	assert_int_equal(vq.used, 1);
	assert_int_equal(vq.next, 5);
	for (unsigned i = 0; i < 3; i++) {
		static const unsigned order[] = { 2, 1, 3 };
		struct vus_chain c;

		assert_int_equal(
		    vus_virtq_pop(&vq, mem, &c, &why), VUS_POP_CHAIN);
		assert_int_equal(c.id, order[i]);
		assert_int_equal(c.slots, order[i] == 1 ? 2 : 1);
		assert_int_equal(c.nwrite, 1);
		assert_int_equal(c.nread, order[i] == 3 ? 0 : 1);
		shared->served[c.id]++;
		vus_virtq_push(&vq, &c, 4);
	}
	assert_int_equal(p->desc[0].inflight, 0);
	expect_all_done(0);
	/* And the list of free entries is whole. */
	at = p->free_head;
	for (unsigned i = 0; i < PACKED_NUM; i++) {
		assert_true(at < PACKED_NUM);
		assert_false(free_entry[at]);
		free_entry[at] = true;
		at = p->desc[at].next;
	}
	assert_int_equal(at, PACKED_NUM);
	forget_done();
	offer_all("2222");
	serve();
	expect_all_done(0);
}

static void
a_batch_of_another_back_end_is_completed(void **state)
{
	struct split_region *s = split_buffer();

	(void)state; /* it died between the used index and the flags */
	begin(false, 0, "111");
	offer_all("11111");
	taken(3, 5);
	taken(4, 6);
	taken(5, 7);
	s->desc[6].next = 8;
	s->desc[8].next = 10; /* was completed earlier */
	s->last_batch_head = 6;
	s->used_idx = 1;
	assert_null(start());
	assert_int_equal(s->used_idx, 3);
	assert_int_equal(s->desc[6].inflight, 0);
	assert_int_equal(s->desc[8].inflight, 0);
	assert_int_equal(s->desc[10].inflight, 1);
	assert_int_equal(vq.inflight.redo, 1);
}

/* --- buffers that lie ---------------------------------------------------- */

static void
another_version_or_size_is_not_served(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		begin(i != 0, 0, "1");
		/* At the same place in both. */
		split_buffer()->version = 2;
		assert_non_null(start());
		assert_false(vus_virtq_ready(&vq));
		split_buffer()->version = 1;
		split_buffer()->desc_num--;
		assert_non_null(start());
		split_buffer()->desc_num = 0;
		assert_non_null(start());
		split_buffer()->desc_num = packed ? PACKED_NUM : NUM;
		assert_null(start());
	}
}

static void
a_packed_position_outside_of_the_ring_is_not_served(void **state)
{
	struct packed_region *p = packed_buffer();

	(void)state;
	begin(true, 0, "1");
	p->used_idx = p->old_used_idx = PACKED_NUM;
	assert_non_null(start());
	p->used_idx = p->old_used_idx = UINT16_MAX;
	assert_non_null(start());
	p->used_idx = p->old_used_idx = 1;
	/* More to do again than the ring has entries. */
	p->desc[3].inflight = 1;
	p->desc[3].num = PACKED_NUM + 1;
	p->free_head = p->old_free_head = PACKED_NUM;
	assert_non_null(start());
	p->desc[3].num = PACKED_NUM;
	assert_null(start());
	assert_false(vus_virtq_ready(&vq) && vq.next != 1);
}

static void
a_request_without_an_end_breaks_the_ring(void **state)
{
	struct packed_region *p = packed_buffer();
	struct vus_chain chain;
	const char *why;

	(void)state;
	begin(true, 0, "1");
	offer('2');
	assert_int_equal(vus_virtq_pop(&vq, mem, &chain, &why), VUS_POP_CHAIN);
	/* Its descriptors go round. */
	p->desc[1].next = 0;
	p->desc[0].next = 1;
	p->desc[0].flags |= DRIVER_NEXT;
	p->desc[1].flags |= DRIVER_NEXT;
	assert_null(start());
	assert_int_equal(vus_virtq_pop(&vq, mem, &chain, &why), VUS_POP_BROKEN);
}

static void
a_request_that_the_ring_does_not_have_is_left_out(void **state)
{
	struct split_region *s = split_buffer();
	struct vus_chain chain;
	const char *why;

	(void)state; /* the buffer has twice the entries of the ring */
	begin(false, 0, "");
	driver_init(&driver.split, &guest, NUM / 2, 0);
	s->desc[NUM / 2].inflight = 1;
	s->desc[NUM / 2 - 1].inflight = 1;
	s->desc[NUM / 2 - 1].counter = 1;
	driver_desc(&driver.split, NUM / 2 - 1, GUEST_AT(DATA), 4, 2, 0);
	vus_virtq_unresolve(&vq);
	vq.num = NUM / 2;
	assert_null(vus_virtq_resolve(
	    &vq, mem, GUEST_USER, GUEST_USER + 0x80000, GUEST_USER + 0xa0000));
	driver_set_avail(&driver.split, vq.next);
	for (unsigned i = 0; i < 2; i++)
		if (vus_virtq_pop(&vq, mem, &chain, &why) == VUS_POP_CHAIN) {
			assert_int_equal(chain.id, NUM / 2 - 1);
			vus_virtq_push(&vq, &chain, 4);
		}
	assert_int_equal(vus_virtq_pop(&vq, mem, &chain, &why), VUS_POP_EMPTY);
}

static uint64_t chance = 88172645463325252U;

static uint64_t
pick(uint64_t n)
{
	chance ^= chance << 13;
	chance ^= chance >> 7;
	chance ^= chance << 17;
	return chance % n;
}

/* Fill a buffer of so many bytes by chance; often with numbers that could
 * be, and a head that says that it is ready. */
static void
fill(unsigned char *bytes, size_t size, unsigned entries)
{
	struct split_region head;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (unsigned char)(pick(3) == 0 ? pick(256)
							: pick(2) * pick(20));
	if (pick(8) == 0)
		return;
	memcpy(&head, bytes, sizeof(head));
	head.version = 1;
	head.desc_num = (uint16_t)entries;
	memcpy(bytes, &head, sizeof(head));
	for (size_t i = 12; packed && i < 26; i++)
		bytes[i] = (unsigned char)(i % 2 != 0 && i < 20 ? 0 : pick(10));
}

static void
chance_does_no_harm(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		bool packed_ring = i % 2 != 0;
		unsigned entries = packed_ring ? PACKED_NUM : NUM;
		/* One behind the other, so that a sanitizer sees the end. */
		size_t size = vus_inflight_size(packed_ring, entries);
		unsigned char *bytes = malloc(size);
		struct vus_chain chain;
		const char *why;
		unsigned pops;

		assert_non_null(bytes);
		if (i % 100 < 2)
			begin(packed_ring, 0, "12i");
		packed = packed_ring;
		fill(bytes, size, entries);
		memset(&vq, 0, sizeof(vq));
		vus_virtq_reset(&vq);
		vq.packed = packed;
		vq.indirect = true;
		/* A ring may have less entries than its buffer. */
		vq.num = packed ? 1 + (uint32_t)pick(entries) : 1U << pick(5);
		vq.inflight.region = bytes;
		vq.inflight.entries = (uint16_t)entries;
		why = vus_virtq_resolve(&vq, mem, GUEST_USER,
		    GUEST_USER + 0x80000, GUEST_USER + 0xa0000);
		for (pops = 0; why == NULL; pops++) {
			enum vus_pop pop =
			    vus_virtq_pop(&vq, mem, &chain, &why);

			if (pop == VUS_POP_EMPTY || pop == VUS_POP_BROKEN)
				break;
			if (pop == VUS_POP_CHAIN)
				vus_virtq_push(&vq, &chain, 4);
			why = NULL;
			/* At most all entries again, and all that is new. */
			assert_true(pops <= 3 * NUM);
		}
		free(bytes);
	}
}

/* --- GET_INFLIGHT_FD and SET_INFLIGHT_FD --------------------------------- */

static struct fake *fake;
static struct fake_driver sdriver;
static int kick;

static int
session_setup(void **state)
{
	(void)fds_before(state);
	guest_init(&guest);
	fake = fake_new();
	fake_connect(fake);
	fake_negotiate(fake, 0);
	fake_set_table(fake, &guest);
	kick = -1;
	return 0;
}

static int
session_teardown(void **state)
{
	fake_free(fake);
	guest_free(&guest);
	fd_closep(&kick);
	return fds_after(state);
}

#define SESSION_TEST(f)                                                        \
	cmocka_unit_test_setup_teardown(f, session_setup, session_teardown)

static void
reconnect(void)
{
	fake_disconnect(fake);
	fake_connect(fake);
	fake_negotiate(fake, 0);
	fake_set_table(fake, &guest);
}

/* GET_INFLIGHT_FD; the caller owns the descriptor. */
static int
get_buffer(uint16_t queues, uint16_t size, struct vus_wire_inflight *answer)
{
	struct vus_wire_inflight ask = { .num_queues = queues,
		.queue_size = size };
	int fd;

	assert_true(lives(fake_request(
	    fake, VUS_GET_INFLIGHT_FD, ASK, &ask, sizeof(ask), NULL, 0)));
	fd =
	    expect_reply_fd(fake, VUS_GET_INFLIGHT_FD, answer, sizeof(*answer));
	assert_true(fd >= 0);
	assert_int_equal(answer->num_queues, queues);
	assert_int_equal(answer->queue_size, size);
	assert_int_equal(answer->mmap_offset, 0);
	return fd;
}

static void
set_buffer(const struct vus_wire_inflight *inflight, int fd)
{
	fake_ok(fake, VUS_SET_INFLIGHT_FD, inflight, sizeof(*inflight), &fd, 1);
}

static void
a_buffer_is_as_large_as_its_rings_need(void **state)
{
	struct vus_wire_inflight answer;
	struct stat st;
	int fd;

	(void)state;
	fd = get_buffer(1, 8, &answer);
	assert_int_equal(answer.mmap_size, 192); /* 16 + 8 * 16, in lines */
	fd_closep(&fd);
	fd = get_buffer(2, 8, &answer);
	assert_int_equal(answer.mmap_size, 384);
	fd_closep(&fd);
	/* The largest there is. */
	fake_ok_u64(fake, VUS_SET_FEATURES, vus_session_features(&fake->s));
	fd = get_buffer(2, VUS_RING_MAX, &answer);
	assert_int_equal(answer.mmap_size, 2 * (64 + 32768 * 32));
	assert_int_equal(fstat(fd, &st), 0);
	assert_true((uint64_t)st.st_size >= answer.mmap_size);
	/* Nobody can make it smaller under our feet. */
	assert_int_equal(ftruncate(fd, 0), -1);
	fd_closep(&fd);
}

static void
a_buffer_that_cannot_be_had_ends_the_connection(void **state)
{
	static const struct {
		uint16_t queues, size;
	} cases[] = { { 0, 8 }, { FAKE_RINGS + 1, 8 }, { UINT16_MAX, 8 },
		{ 1, 0 }, { 1, 32769 }, { 1, UINT16_MAX } };
	struct vus_wire_inflight good = { .num_queues = 1, .queue_size = 8 };
	int fd = fake->host.inflight_fd;

	(void)state; /* there is no answer that says no */
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct vus_wire_inflight ask = { .num_queues = cases[i].queues,
			.queue_size = cases[i].size };

		assert_int_equal(fake_request(fake, VUS_GET_INFLIGHT_FD, ASK,
				     &ask, sizeof(ask), NULL, 0),
		    VUS_NEXT_BROKEN);
		expect_silence(fake);
		reconnect();
	}
	/* The host has none, or none that is large enough. */
	for (unsigned i = 0; i < 2; i++) {
		fake->host.inflight_fd = i == 0 ? -1 : fd;
		fake->host.inflight_size = 191;
		reconnect();
		assert_int_equal(fake_request(fake, VUS_GET_INFLIGHT_FD, ASK,
				     &good, sizeof(good), NULL, 0),
		    VUS_NEXT_BROKEN);
	}
	fake->host.inflight_fd = fd;
}

static void
a_buffer_that_is_given_out_again_is_empty(void **state)
{
	struct vus_wire_inflight answer;
	unsigned char bytes[384];
	int fd;

	(void)state;
	fd = get_buffer(2, 8, &answer);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(pwrite(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	fd_closep(&fd);
	fd = get_buffer(2, 8, &answer);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	for (unsigned i = 0; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], 0);
	fd_closep(&fd);
}

static void
a_buffer_that_cannot_be_is_refused(void **state)
{
	static const struct {
		struct vus_wire_inflight inflight;
		bool good;
	} cases[] = {
		{ { 192, 0, 1, 8, 0 }, true },
		{ { 4096, 0, 1, 8, 0 }, true }, /* larger than needed */
		{ { 384, 4096 - 384, 2, 8, 0 }, true },
		{ { 192, 8, 1, 8, 0 }, true },
		{ { 191, 0, 1, 8, 0 }, false },
		{ { 0, 0, 1, 8, 0 }, false },
		{ { 192, 0, 0, 8, 0 }, false },
		{ { 192, 0, FAKE_RINGS + 1, 8, 0 }, false },
		{ { 192, 0, 1, 0, 0 }, false },
		{ { UINT64_MAX, 0, 1, 32769, 0 }, false },
		{ { 192, 4, 1, 8, 0 }, false },
		{ { 192, 1, 1, 8, 0 }, false },
		/* Beyond the end of the file. */
		{ { 192, 4096 - 184, 1, 8, 0 }, false },
		{ { 192, 4096, 1, 8, 0 }, false },
		{ { 4096 * 32, 0, 1, 4096, 0 }, false },
		{ { UINT64_MAX, UINT64_MAX - 7, 1, 8, 0 }, false },
		{ { 192, UINT64_C(1) << 63, 1, 8, 0 }, false },
	};
	struct vus_wire_inflight good = cases[0].inflight;
	int fd = make_memfd(4096), pair[2];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		assert_true(lives(fake_request(fake, VUS_SET_INFLIGHT_FD, ASK,
		    &cases[i].inflight, sizeof(good), &fd, 1)));
		expect_ack(fake, VUS_SET_INFLIGHT_FD, cases[i].good);
	}
	make_pair(pair);
	assert_true(lives(fake_request(
	    fake, VUS_SET_INFLIGHT_FD, ASK, &good, sizeof(good), &pair[0], 1)));
	expect_ack(fake, VUS_SET_INFLIGHT_FD, false);
	fd_closep(&pair[0]);
	fd_closep(&pair[1]);
	fake_start_ring(fake, 1);
	assert_true(lives(fake_request(
	    fake, VUS_SET_INFLIGHT_FD, ASK, &good, sizeof(good), &fd, 1)));
	expect_ack(fake, VUS_SET_INFLIGHT_FD, false);
	fake_stop_ring(fake, 1);
	set_buffer(&good, fd);
	fd_closep(&fd);
}

/* Ring 0 of 8 entries runs, at base. */
static void
run_at(uint16_t base)
{
	fake_ok_state(fake, VUS_SET_VRING_NUM, 0, 8);
	fake_ok_state(fake, VUS_SET_VRING_BASE, 0, base);
	fake_set_driver(fake, &sdriver, 0, 0);
	fd_closep(&kick);
	kick = fake_run_ring(fake);
}

static void
offer_split(unsigned head)
{
	driver_desc(&sdriver, head, GUEST_AT(DATA), 4, DRIVER_WRITE, 0);
	driver_offer(&sdriver, head);
}

static void
expect_used(uint32_t head)
{
	uint32_t id, len;

	assert_true(driver_complete(&sdriver, &id, &len));
	assert_int_equal(id, head);
	assert_int_equal(len, 4);
}

/* What the front-end would find if we died while we served. */
static struct {
	unsigned char buffer[192];
	unsigned char used[128];
} left;

static uint32_t
serve_and_look(
    struct vus_session *s, unsigned ring, const struct vus_chain *chain)
{
	(void)ring;
	fake->served++;
	if (chain->id == 5) {
		memcpy(left.buffer, s->inflight.map.at, sizeof(left.buffer));
		memcpy(left.used, guest_ram(&guest, sdriver.used),
		    sizeof(left.used));
	}
	return (uint32_t)vus_chain_write(chain, "\0\0\0", 4);
}

static void
another_session_does_what_the_first_has_left(void **state)
{
	struct vus_wire_inflight answer;
	unsigned served;
	int fd;

	(void)state;
	fake->type.serve = serve_and_look;
	driver_init(&sdriver, &guest, 8, 0);
	fd = get_buffer(1, 8, &answer);
	set_buffer(&answer, fd);
	run_at(0);
	assert_non_null(fake->s.ring[0].vq.inflight.region);
	for (unsigned head = 3; head < 7; head++)
		offer_split(head);
	fake_kick(fake, kick);
	assert_int_equal(fake->served, 4);
	served = fake->served;
	fake_disconnect(fake);
	/* It had died at the third. */
	assert_int_equal(pwrite(fd, left.buffer, sizeof(left.buffer), 0),
	    sizeof(left.buffer));
	memcpy(guest_ram(&guest, sdriver.used), left.used, sizeof(left.used));
	fake_connect(fake);
	fake_negotiate(fake, 0);
	fake_set_table(fake, &guest);
	set_buffer(&answer, fd);
	run_at(0); /* a base that it does not need */
	assert_int_equal(fake->served, served + 2);
	for (uint32_t head = 3; head < 7; head++)
		expect_used(head);
	offer_split(0);
	fake_kick(fake, kick);
	expect_used(0);
	fd_closep(&fd);
}

static void
a_stop_a_start_and_another_table_go_on_where_it_was(void **state)
{
	struct vus_wire_inflight answer;
	int fd = get_buffer(1, 8, &answer);

	(void)state;
	driver_init(&sdriver, &guest, 8, 65535);
	set_buffer(&answer, fd);
	run_at(65535);
	for (unsigned head = 0; head < 4; head++) {
		offer_split(head);
		fake_kick(fake, kick);
		expect_used(head);
		if (head % 2 == 0) {
			fake_stop_ring(fake, 0);
			run_at(0);
		} else {
			fake_set_table(fake, &guest);
		}
		assert_int_equal(vus_virtq_base(&fake->s.ring[0].vq), head);
	}
	assert_int_equal(fake->served, 4);
	fd_closep(&fd);
}

static void
a_reset_drops_the_buffer(void **state)
{
	struct vus_wire_inflight answer;
	int fd = get_buffer(1, 8, &answer);

	(void)state;
	driver_init(&sdriver, &guest, 8, 0);
	set_buffer(&answer, fd);
	fake_ok(fake, VUS_RESET_DEVICE, NULL, 0, NULL, 0);
	run_at(0);
	assert_null(fake->s.ring[0].vq.inflight.region);
	fd_closep(&fd);
}

static void
a_ring_that_does_not_fit_is_warned_of_and_not_tracked(void **state)
{
	struct vus_wire_inflight answer;
	int fd = get_buffer(1, 4, &answer);
	unsigned warned;

	(void)state;
	driver_init(&sdriver, &guest, 8, 0);
	set_buffer(&answer, fd);
	warned = fake->logged[VUS_LOG_WARN];
	run_at(0);
	assert_true(fake->logged[VUS_LOG_WARN] > warned);
	assert_non_null(strstr(fake->last, "not tracked"));
	assert_null(fake->s.ring[0].vq.inflight.region);
	/* It is served all the same. */
	offer_split(1);
	fake_kick(fake, kick);
	expect_used(1);
	fd_closep(&fd);
}

static void
a_buffer_for_the_other_format_is_not_used(void **state)
{
	struct vus_wire_inflight answer;
	int fd;

	(void)state;
	fake_ok_u64(fake, VUS_SET_FEATURES, vus_session_features(&fake->s));
	fd = get_buffer(1, 8, &answer);
	set_buffer(&answer, fd);
	fake_ok_u64(fake, VUS_SET_FEATURES, fake_features(fake));
	driver_init(&sdriver, &guest, 8, 0);
	run_at(0);
	assert_non_null(strstr(fake->last, "not tracked"));
	assert_null(fake->s.ring[0].vq.inflight.region);
	fd_closep(&fd);
}

static void
each_ring_has_its_part_of_the_buffer(void **state)
{
	struct vus_wire_inflight answer;
	int fd = get_buffer(2, 8, &answer);

	(void)state;
	set_buffer(&answer, fd);
	fake_ok_state(fake, VUS_SET_VRING_NUM, 0, 8);
	fake_ok_state(fake, VUS_SET_VRING_NUM, 1, 8);
	fake_start_ring(fake, 0);
	fake_start_ring(fake, 1);
	assert_ptr_equal(
	    fake->s.ring[0].vq.inflight.region, fake->s.inflight.map.at);
	assert_ptr_equal(
	    fake->s.ring[1].vq.inflight.region, fake->s.inflight.map.at + 192);
	fake_stop_ring(fake, 0);
	fake_stop_ring(fake, 1);
	/* One that has none is not tracked, which nobody is told. */
	answer.num_queues = 1;
	set_buffer(&answer, fd);
	fake_start_ring(fake, 1);
	assert_null(fake->s.ring[1].vq.inflight.region);
	assert_null(strstr(fake->last, "not tracked"));
	fd_closep(&fd);
}

static void
a_buffer_that_lies_stops_the_ring_and_no_more(void **state)
{
	struct vus_wire_inflight answer;
	int fd = get_buffer(1, 8, &answer);
	uint16_t version = 9;

	(void)state;
	assert_int_equal(
	    pwrite(fd, &version, sizeof(version), 8), sizeof(version));
	driver_init(&sdriver, &guest, 8, 0);
	set_buffer(&answer, fd);
	fake_ok_state(fake, VUS_SET_VRING_NUM, 0, 8);
	fake_set_driver(fake, &sdriver, 0, 0);
	fake_start_ring(fake, 0);
	assert_non_null(strstr(fake->last, "unknown version"));
	assert_false(vus_virtq_ready(&fake->s.ring[0].vq));
	assert_int_equal(vus_session_work(&fake->s), VUS_NEXT_WAIT);
	/* With another one it goes on. */
	fake_stop_ring(fake, 0);
	fd_closep(&fd);
	fd = get_buffer(1, 8, &answer);
	set_buffer(&answer, fd);
	run_at(0);
	fd_closep(&fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		INFLIGHT_TEST(split_one_request),
		INFLIGHT_TEST(split_several_requests),
		INFLIGHT_TEST(split_malformed_requests),
		INFLIGHT_TEST(split_indices_that_wrap_and_a_full_ring),
		INFLIGHT_TEST(packed_one_request),
		INFLIGHT_TEST(packed_several_requests),
		INFLIGHT_TEST(packed_malformed_requests),
		INFLIGHT_TEST(packed_rings_that_wrap_and_are_full),
		INFLIGHT_TEST(split_many_in_flight),
		INFLIGHT_TEST(packed_many_in_flight),
		INFLIGHT_TEST(each_point_of_the_specification),
		INFLIGHT_TEST(
		    a_new_buffer_is_made_ready_and_changes_no_position),
		INFLIGHT_TEST(sizes_are_those_of_whole_cache_lines),
		INFLIGHT_TEST(a_request_is_noted_while_it_is_served),
		INFLIGHT_TEST(
		    requests_are_done_again_in_the_order_of_their_counters),
		INFLIGHT_TEST(
		    packed_requests_are_done_again_in_order_with_all_their_descriptors),
		INFLIGHT_TEST(a_batch_of_another_back_end_is_completed),
		INFLIGHT_TEST(another_version_or_size_is_not_served),
		INFLIGHT_TEST(
		    a_packed_position_outside_of_the_ring_is_not_served),
		INFLIGHT_TEST(a_request_without_an_end_breaks_the_ring),
		INFLIGHT_TEST(
		    a_request_that_the_ring_does_not_have_is_left_out),
		INFLIGHT_TEST(chance_does_no_harm),
		SESSION_TEST(a_buffer_is_as_large_as_its_rings_need),
		SESSION_TEST(a_buffer_that_cannot_be_had_ends_the_connection),
		SESSION_TEST(a_buffer_that_is_given_out_again_is_empty),
		SESSION_TEST(a_buffer_that_cannot_be_is_refused),
		SESSION_TEST(another_session_does_what_the_first_has_left),
		SESSION_TEST(
		    a_stop_a_start_and_another_table_go_on_where_it_was),
		SESSION_TEST(a_reset_drops_the_buffer),
		SESSION_TEST(
		    a_ring_that_does_not_fit_is_warned_of_and_not_tracked),
		SESSION_TEST(a_buffer_for_the_other_format_is_not_used),
		SESSION_TEST(each_ring_has_its_part_of_the_buffer),
		SESSION_TEST(a_buffer_that_lies_stops_the_ring_and_no_more),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("inflight", tests, NULL, NULL);
}
