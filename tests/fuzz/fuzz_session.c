/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A front-end that does anything, against a session through real sockets.
 *
 * The input is a program: a few bytes choose the device, then each operation
 * is one byte and its operands. Some are the legal steps of a front-end and a
 * driver, so that the fuzzer gets deep; others send any bytes, in any pieces,
 * with any descriptors, on either channel, or write into guest memory. The
 * harness is the session's host, and model.c looks on.
 */
#include "config.h"

#include "proto/session.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/model.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a run may take. */
#define OPS_MAX 200U
/* Turns of the host after one operation: a driver that always has more to do
 * is left at work. */
#define TURNS_MAX 48U
/* Turns in a row in which something is ready and nothing comes of it. */
#define IDLE_MAX 3U
/* Requests that one call may serve per ring. */
#define SERVE_MAX 1024U
/* Syncs at the end. */
#define SYNCS_MAX 8U

/* The guest: two files that follow each other in guest physical memory. */
#define GUEST UINT64_C(0x40000000)
#define USER_0 UINT64_C(0x7f0000000000)
#define USER_1 UINT64_C(0x7f8000000000)
/* Each ring has its place in the first: table, available, used, data. */
#define RING_STRIDE 0x4000U
#define RING_AVAIL 0x1000U
#define RING_USED 0x2000U
#define RING_DATA 0x3000U
#define RING_SMALL 256U /* entries that fit there */
/* A ring of any size is here. */
#define BIG_DESC 0x40000U
#define BIG_AVAIL 0xc0000U
#define BIG_USED 0xe0000U

/* A device's state: bytes of it that are kept. */
#define RECORD 4096U
#define STREAM_MAX 0x40000U
#define REGION_PAGES (KIND_REGION_SIZE / RECORD)

enum op {
	OP_MESSAGE,   /* any request with any payload */
	OP_PIECES,    /* the same, in two pieces */
	OP_BYTES,     /* any bytes */
	OP_NEGOTIATE, /* the legal beginning */
	OP_MEMORY,    /* the legal memory table */
	OP_SLOT,      /* add or remove one region */
	OP_CHANNEL,   /* a back-end channel */
	OP_RING,      /* everything about one ring, up to its kick */
	OP_ENABLE,
	OP_STOP, /* GET_VRING_BASE */
	OP_RESET,
	OP_ANSWER, /* to a SHMEM_MAP */
	OP_CHANNEL_BYTES,
	OP_CHANNEL_END,
	OP_WRITE, /* into guest memory */
	OP_DESC,  /* write one descriptor */
	OP_OFFER, /* put into the available ring */
	OP_KICK,
	OP_READ, /* read replies */
	OP_SPURIOUS,
	OP_HANG_UP,
	OP_FULL_CALL, /* the call descriptor takes no more */
	OP_PUMP,
	OP_LOG,		   /* a dirty log */
	OP_LOG_ALL,	   /* begin or end to use it */
	OP_INFLIGHT,	   /* an inflight buffer */
	OP_INFLIGHT_HEAD,  /* write its head ... */
	OP_INFLIGHT_ENTRY, /* ... or one of its entries */
	OP_IN_BAND,	   /* a kick by message */
	OP_SAVE,	   /* the device's state: begin ... */
	OP_LOAD,
	OP_RECORD, /* ... what is loaded ... */
	OP_STATE,  /* ... and go on */
	OP_REGION, /* write into a region */
	OP_SYNCED, /* a sync has ended, or none has */
	OPS
};

/* A request that waits for a sync, in the order in which they came. */
struct waiting {
	unsigned ring, syncs; /* begun before it came */
	uint16_t at;
	bool dropped; /* it is not there any more, or will be once more */
};
#define WAITING_MAX 512U

/* The guest's memory as it was before a call of the session. */
struct shadow {
	enum fuzz_kind kind;
	unsigned char *ram, *copy;
	size_t size;
};
static struct shadow shadows[] = {
	{ .kind = KIND_RAM_0, .size = KIND_RAM_0_SIZE },
	{ .kind = KIND_RAM_1, .size = KIND_RAM_1_SIZE },
};

static struct run {
	struct fuzz_input in;
	struct vus_session s;
	struct vus_device device;
	struct vus_device_type type;
	enum vus_next next;
	bool lives;
	int front;   /* the front-end's end */
	int channel; /* the front-end's end of the back-end channel, or -1 */
	bool reads_front, reads_channel; /* at once, or only by OP_READ */
	bool small_buffers;
	unsigned served; /* in this call */
	unsigned long long watches, lines;
	unsigned char *ram; /* the guest's view of the first file */
	int kick[VUS_RINGS_MAX], call[VUS_RINGS_MAX];

	/* The dirty log and the inflight buffer, as the front-end has them. */
	unsigned char *log, *inflight;
	int host_inflight;
	uint16_t inflight_entries;
	bool shadowed; /* the shadow is of now */
	unsigned shadow_changes;

	/* The harness's end of the pipe of a device's state, and what has
	 * come out of it or is to go into it. */
	int pipe;
	bool pipe_load, pipe_end; /* end: close it when all is written */
	bool pipe_used;		  /* the last transfer was by this pipe */
	unsigned transfers;	  /* begun so far */
	bool reads_state;
	size_t stream, streamed;	 /* bytes; of which written */
	bool cancelled, regions_changed; /* since it began */
	unsigned char *region[3];

	/* The host's syncs: whether one runs and what it is told, and whether
	 * one has ended in this call. */
	bool syncing, synced;
	int sync_rc;
	unsigned syncs; /* begun so far */
	struct waiting waiting[WAITING_MAX];
	unsigned nwaiting;
	unsigned long long finished;
} run;
static unsigned char stream[STREAM_MAX];

static struct stat
stat_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		fuzz_fail("the harness: fstat");
	return st;
}

/* --- the host ------------------------------------------------------------ */

static void
host_log(void *ctx, enum vus_log_level level, const char *text)
{
	size_t len = strlen(text);

	run.lines++;
	if (strstr(text, "the device has been") != NULL)
		run.cancelled = true;
	FUZZ_CHECK(ctx == &run, "the host's context");
	FUZZ_CHECK(level <= VUS_LOG_DEBUG && level <= run.s.host.verbosity,
	    "level %d", (int)level);
	FUZZ_CHECK(len != 0 && len < 256 && strchr(text, '\n') == NULL,
	    "a line of %zu bytes", len);
}

static void
host_watch(void *ctx, enum vus_watch what, unsigned ring, int fd)
{
	FUZZ_CHECK(ctx == &run, "the host's context");
	run.watches++;
	if (fd >= 0 &&
	    (what == VUS_WATCH_STATE_IN || what == VUS_WATCH_STATE_OUT)) {
		run.transfers++;
		run.pipe_used = run.pipe >= 0 &&
				stat_of(fd).st_ino == stat_of(run.pipe).st_ino;
	}
	model_watch(what, ring, fd);
}

/* A piece of a chain lies in one region. */
static void
check_seg(const struct vus_seg *seg)
{
	const struct vus_mem *mem = &run.s.mem;

	FUZZ_CHECK(seg->len != 0, "an empty piece");
	for (unsigned i = 0; i < mem->nregions; i++) {
		const struct vus_mem_region *r = &mem->region[i];

		if (seg->base >= r->map.at && seg->base < r->map.at + r->size) {
			FUZZ_CHECK(seg->len <= (uint64_t)(r->map.at + r->size -
							  seg->base),
			    "a piece reaches out of its region");
			return;
		}
	}
	fuzz_fail("a piece lies outside of guest memory");
}

static void
check_chain(const struct vus_chain *chain)
{
	FUZZ_CHECK(
	    chain->nread <= VUS_CHAIN_SEGS && chain->nwrite <= VUS_CHAIN_SEGS,
	    "%u and %u pieces", chain->nread, chain->nwrite);
	for (unsigned i = 0; i < chain->nread; i++)
		check_seg(&chain->read[i]);
	for (unsigned i = 0; i < chain->nwrite; i++)
		check_seg(&chain->write[i]);
}

/* The device writes what it reads to where the guest says, inverted: so that
 * memory that nobody has written changes, too. */
static uint32_t
answer(const struct vus_chain *chain)
{
	unsigned char bytes[64];
	size_t n;

	run.regions_changed = true; /* it may be in the memory table */
	n = vus_chain_read(chain, bytes, sizeof(bytes));
	for (size_t i = 0; i < n; i++)
		bytes[i] = (unsigned char)~bytes[i];
	return (uint32_t)vus_chain_write(chain, bytes, n);
}

/* Whether it waits for a sync its length says. */
static uint32_t
serve(struct vus_session *s, unsigned ring, const struct vus_chain *chain)
{
	FUZZ_CHECK(s == &run.s && ring < run.type.num_queues, "ring %u", ring);
	check_chain(chain);
	FUZZ_CHECK(++run.served <= SERVE_MAX * VUS_RINGS_MAX,
	    "a call that does not return");
	if (!vus_session_syncs(s) || vus_chain_readable(chain) % 4 == 3)
		return answer(chain);
	if (run.nwaiting == WAITING_MAX)
		fuzz_fail("the harness: too many wait");
	run.waiting[run.nwaiting++] = (struct waiting){
		.ring = ring, .syncs = run.syncs, .at = chain->at
	};
	return VUS_LATER;
}

/* Those that are over are at the front. */
static void
forget_waiting(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < run.nwaiting; i++)
		if (!run.waiting[i].dropped)
			run.waiting[n++] = run.waiting[i];
	run.nwaiting = n;
}

/* The oldest of its ring, and it came before the sync began. */
static uint32_t
finish(
    struct vus_session *s, unsigned ring, const struct vus_chain *chain, int rc)
{
	struct waiting *w = run.waiting;
	struct waiting *end = w + run.nwaiting;

	FUZZ_CHECK(s == &run.s && ring < run.type.num_queues, "ring %u", ring);
	FUZZ_CHECK(run.synced && rc == run.sync_rc, "no sync has ended so");
	check_chain(chain);
	while (w < end && (w->dropped || w->ring != ring))
		w++;
	FUZZ_CHECK(w < end, "a request of ring %u that does not wait", ring);
	FUZZ_CHECK(chain->redo || w->at == chain->at, "entry %u before %u",
	    chain->at, w->at);
	FUZZ_CHECK(w->syncs < run.syncs, "a sync that began before a request");
	w->dropped = true;
	run.finished++;
	return answer(chain);
}

static void
host_sync(void *ctx)
{
	FUZZ_CHECK(ctx == &run, "the host's context");
	FUZZ_CHECK(!run.syncing, "two syncs at a time");
	FUZZ_CHECK(run.nwaiting != 0, "a sync for nobody");
	run.syncing = true;
	run.syncs++;
}

static uint64_t
host_now(void *ctx)
{
	static uint64_t now;

	FUZZ_CHECK(ctx == &run, "the host's context");
	return now += 3;
}

/* --- the dirty log ------------------------------------------------------- */

static bool
is_kind(const struct model_file *file, enum fuzz_kind kind)
{
	struct stat st = stat_of(fuzz_kind(kind));

	return file->dev == st.st_dev && file->ino == st.st_ino;
}

/* The next piece of a file that is not a hole. */
static bool
next_data(const struct shadow *sh, off_t *from, off_t *to)
{
	int fd = fuzz_kind(sh->kind);

	*from = lseek(fd, *to, SEEK_DATA);
	if (*from < 0)
		return false;
	*to = lseek(fd, *from, SEEK_HOLE);
	return *to > *from;
}

static void
shadow_forget(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(shadows); i++)
		for (off_t from, to = 0; next_data(&shadows[i], &from, &to);)
			memset(shadows[i].copy + from, 0, (size_t)(to - from));
}

/* Before a call: remember guest memory, and take all bits, if what is written
 * has to be logged. */
static void
shadow_before(void)
{
	const struct model_view *v = model_view();

	run.shadowed = v->logging && v->log_size != 0 &&
		       is_kind(&v->log, KIND_LOG) &&
		       !is_kind(&v->inflight, KIND_RAM_0) &&
		       !is_kind(&v->inflight, KIND_RAM_1) &&
		       !is_kind(&v->inflight, KIND_LOG);
	if (!run.shadowed)
		return;
	run.shadow_changes = v->changes;
	memset(run.log + v->log_offset, 0, v->log_size);
	for (unsigned i = 0; i < ARRAY_LEN(shadows); i++)
		for (off_t from, to = 0; next_data(&shadows[i], &from, &to);)
			memcpy(shadows[i].copy + from, shadows[i].ram + from,
			    (size_t)(to - from));
}

/* Whether the page of a guest physical address is marked, or cannot be. */
static bool
marked(uint64_t addr)
{
	const struct model_view *v = model_view();
	uint64_t page = addr / 4096;

	return page / 8 >= v->log_size ||
	       (run.log[v->log_offset + page / 8] & (1U << (page % 8))) != 0;
}

/* Whether byte at of a file is in the len bytes at addr that the session
 * writes for itself, and where in these. */
static bool
in_area(const struct shadow *sh, uint64_t at, uint64_t addr, uint64_t len,
    uint64_t *offset)
{
	const struct model_view *v = model_view();

	for (unsigned i = 0; i < v->nregions; i++) {
		const struct model_region *r = &v->region[i];
		uint64_t start = v->by_guest ? r->guest : r->user, first;

		if (addr < start || addr - start > r->size ||
		    len > r->size - (addr - start))
			continue;
		first = r->offset + (addr - start);
		*offset = at - first;
		return is_kind(&r->file, sh->kind) && at >= first &&
		       *offset < len;
	}
	return false;
}

static bool
ring_accounts_for(const struct shadow *sh, uint64_t at, unsigned ring)
{
	const struct model_view *v = model_view();
	const struct model_ring *r = &v->ring[ring];
	uint64_t num = run.s.ring[ring].vq.num, offset;

	if (!r->has_addr)
		return false;
	if (v->packed) /* logged where it is: see log_accounts_for() */
		return !r->logged &&
		       (in_area(sh, at, r->desc, num * 16, &offset) ||
			   in_area(sh, at, r->used, 4, &offset));
	return in_area(sh, at, r->used, 6 + num * 8, &offset) &&
	       (!r->logged || r->log + offset < offset ||
		   marked(r->log + offset));
}

/* Byte at of a file has changed: the log has to say so. */
static bool
log_accounts_for(const struct shadow *sh, uint64_t at)
{
	const struct model_view *v = model_view();

	for (unsigned i = 0; i < v->nregions; i++) {
		const struct model_region *r = &v->region[i];

		if (is_kind(&r->file, sh->kind) && at >= r->offset &&
		    at - r->offset < r->size &&
		    marked(r->guest + (at - r->offset)))
			return true;
	}
	for (unsigned i = 0; i < run.type.num_queues; i++)
		if (ring_accounts_for(sh, at, i))
			return true;
	return false;
}

static void
shadow_after(void)
{
	/* What has changed in the middle is not told apart. */
	if (!run.shadowed || !run.lives ||
	    model_view()->changes != run.shadow_changes)
		return;
	for (unsigned i = 0; i < ARRAY_LEN(shadows); i++) {
		const struct shadow *sh = &shadows[i];

		for (off_t from, to = 0; next_data(sh, &from, &to);) {
			if (memcmp(sh->ram + from, sh->copy + from,
				(size_t)(to - from)) == 0)
				continue;
			for (off_t k = from; k < to; k++)
				FUZZ_CHECK(
				    sh->ram[k] == sh->copy[k] ||
					log_accounts_for(sh, (uint64_t)k),
				    "byte 0x%llx of memory %u was written and "
				    "not logged",
				    (unsigned long long)k, i);
		}
	}
}

/* --- a device's state ---------------------------------------------------- */

/* A record as state.h has them. */
struct piece {
	uint64_t magic, shmid, offset, present;
};
#define MAGIC UINT64_C(0x454d5241534b5600)
#define MAGIC_HEADER UINT64_C(0x454d5241534b5601)

static void
put_header(unsigned char *record)
{
	uint64_t magic = MAGIC_HEADER, version = 1;

	memset(record, 0, RECORD);
	memcpy(record, &magic, 8);
	memcpy(record + 8, &version, 8);
	memcpy(record + 16, run.type.name, strlen(run.type.name));
	for (unsigned i = 0; i < VUS_SHMEM_MAX; i++)
		memcpy(record + 48 + (size_t)i * 8, &run.device.shm[i].size, 8);
}

/* The region's pages as the harness sees them; NULL: not so. */
static const unsigned char *
region_of(unsigned shmid)
{
	const struct vus_region *r = &run.device.shm[shmid];

	for (unsigned i = 0; i < ARRAY_LEN(run.region) && r->size != 0; i++)
		if (r->fd ==
		    fuzz_kind(i == 0 ? KIND_REGION : KIND_REGION_1 + i - 1))
			return run.region[i];
	return NULL;
}

/* Whether page i of a region is these bytes, or zero if there are none. */
static bool
page_is(unsigned shmid, uint64_t i, const unsigned char *bytes)
{
	static const unsigned char zeros[RECORD];

	return memcmp(region_of(shmid) + i * RECORD,
		   bytes == NULL ? zeros : bytes, RECORD) == 0;
}

static const char too_short[] = "its end";

/* Read the len bytes that have gone through a pipe, by the words of state.h.
 * Returns NULL or what is wrong. If it is right the regions have to be the
 * same. */
static const char *
decode(size_t len, bool compare)
{
	unsigned char header[RECORD];
	const unsigned char *at = stream, *end = stream + len;
	uint64_t next = 0; /* shmid and page that may come now */
	bool over = false;

	put_header(header);
	if (len < RECORD)
		return too_short;
	if (memcmp(at, header, RECORD) != 0)
		return "its header";
	at += RECORD;
	while (!over) {
		struct piece p;
		uint64_t place;

		if ((size_t)(end - at) < RECORD)
			return too_short;
		memcpy(&p, at, sizeof(p));
		at += RECORD;
		if (p.magic != MAGIC)
			return "a record";
		over = p.present == 0;
		if (over && (p.shmid != VUS_SHMEM_MAX || p.offset != 0))
			return "an end";
		if (p.shmid > VUS_SHMEM_MAX || p.offset % RECORD != 0 ||
		    (!over && p.offset >= run.device.shm[p.shmid].size))
			return "a place";
		for (unsigned i = 0; i < 64 && !over; i++)
			if ((p.present & VUS_BIT(i)) &&
			    p.offset + (uint64_t)i * RECORD >=
				run.device.shm[p.shmid].size)
				return "pages";
		place = p.shmid * REGION_PAGES + p.offset / RECORD;
		if (place < next)
			return "order";
		for (unsigned i = 0; i < 64; i++) {
			if (!(p.present & VUS_BIT(i)))
				continue;
			if ((size_t)(end - at) < RECORD)
				return too_short;
			for (; compare && next < place + i; next++)
				FUZZ_CHECK(
				    region_of(
					(unsigned)(next / REGION_PAGES)) ==
					    NULL ||
					page_is((unsigned)(next / REGION_PAGES),
					    next % REGION_PAGES, NULL),
				    "page %u is not zero", (unsigned)next);
			FUZZ_CHECK(
			    !compare || page_is((unsigned)p.shmid,
					    (place + i) % REGION_PAGES, at),
			    "page %u is not that of the state", i);
			next = place + i + 1;
			at += RECORD;
		}
		for (; over && compare && next < place; next++)
			FUZZ_CHECK(region_of((unsigned)(next / REGION_PAGES)) ==
					   NULL ||
				       page_is((unsigned)(next / REGION_PAGES),
					   next % REGION_PAGES, NULL),
			    "page %u is not zero", (unsigned)next);
	}
	return at == end ? NULL : "an end";
}

/* Whether regions are files of their own. */
static bool
regions_apart(void)
{
	return run.device.shm[2].size == 0;
}

static void
close_pipe(void)
{
	if (run.pipe >= 0)
		fuzz_close(run.pipe);
	run.pipe = -1;
}

/* Move up to len bytes at the harness's end of the pipe. */
static bool
move_state(size_t len)
{
	ssize_t n;

	if (run.pipe < 0)
		return false;
	if (run.pipe_load) {
		if (len > run.stream - run.streamed)
			len = run.stream - run.streamed;
		n = len == 0 ? 0 : write(run.pipe, stream + run.streamed, len);
		if (n > 0)
			run.streamed += (size_t)n;
		if (n >= 0 && run.pipe_end && run.streamed == run.stream) {
			close_pipe();
			return true;
		}
		return n > 0;
	}
	if (len > sizeof(stream) - run.stream)
		len = sizeof(stream) - run.stream;
	n = len == 0 ? -1 : read(run.pipe, stream + run.stream, len);
	if (n > 0)
		run.stream += (size_t)n;
	if (n == 0) {
		close_pipe();
		if (run.s.transfer.phase == VUS_TRANSFER_DONE &&
		    run.pipe_used) {
			const char *why = decode(run.stream,
			    !run.regions_changed && regions_apart());

			FUZZ_CHECK(why == NULL, "a state without %s", why);
		}
	}
	return n >= 0;
}

/* A load has ended in this call. */
static void
loaded(void)
{
	bool done = run.s.transfer.phase == VUS_TRANSFER_DONE;
	bool whole = run.pipe < 0 && run.pipe_end && run.streamed == run.stream;
	const char *why;

	/* The pipe of another message, or more than is kept of it. */
	if (!run.pipe_used || run.stream == sizeof(stream))
		return;
	why = decode(run.streamed,
	    done && whole && !run.regions_changed && regions_apart());
	FUZZ_CHECK(!done || why == NULL, "a state was loaded without %s", why);
	if (done || run.cancelled)
		return;
	FUZZ_CHECK(!whole || why != NULL, "a state that is right was refused");
	FUZZ_CHECK(run.pipe < 0 || (why != NULL && why != too_short),
	    "a state was given up ahead of its end");
}

static unsigned long long
state_progress(void)
{
	const struct vus_transfer *t = &run.s.transfer;

	return ((((unsigned long long)t->at.shmid * 65537 + t->at.offset) *
			65537 +
		    t->have) *
		       65537 +
		   t->present * 31 + (unsigned)t->phase) *
		   3 +
	       run.stream + run.streamed;
}

static int
state_fd(void)
{
	int in = model_watched(VUS_WATCH_STATE_IN, 0);

	return in >= 0 ? in : model_watched(VUS_WATCH_STATE_OUT, 0);
}

/* --- turns --------------------------------------------------------------- */

/* Call the session and let the model look at what came of it. */
#define CALL(front, expression)                                                \
	do {                                                                   \
		if (!run.lives)                                                \
			break;                                                 \
		run.served = 0;                                                \
		before_call();                                                 \
		model_enter(front);                                            \
		run.next = (expression);                                       \
		model_leave(run.next);                                         \
		run.lives = run.next != VUS_NEXT_CLOSED &&                     \
			    run.next != VUS_NEXT_BROKEN;                       \
		after_call();                                                  \
	} while (0)

static bool was_loading;
static unsigned had_begun;

/* What was put back in a call does not wait any more, or has come again. The
 * session is asked how many do: the newest ones. */
static void
check_waiting(void)
{
	unsigned held = 0, later = 0;

	for (unsigned ring = 0; ring < run.type.num_queues; ring++) {
		unsigned n = 0;

		for (unsigned i = 0; i < run.s.held.n; i++)
			n += run.s.held.item[i].ring == ring &&
			     run.s.held.item[i].later;
		later += n;
		held += run.s.ring[ring].held;
		for (unsigned i = run.nwaiting; i-- != 0;) {
			struct waiting *w = &run.waiting[i];

			if (w->ring != ring || w->dropped)
				continue;
			if (n == 0)
				w->dropped = true;
			else
				n--;
		}
		FUZZ_CHECK(
		    n == 0, "%u requests of ring %u wait for nothing", n, ring);
	}
	forget_waiting();
	FUZZ_CHECK(run.nwaiting == later, "%u requests wait instead of %u",
	    later, run.nwaiting);
	FUZZ_CHECK(held == run.s.held.n && held <= VUS_HELD_MAX,
	    "%u requests are held", held);
	FUZZ_CHECK(held == 0 || later != 0, "held behind nothing");
	FUZZ_CHECK(
	    later == 0 || run.syncing, "requests wait, and no sync runs");
	FUZZ_CHECK(run.syncing == run.s.held.syncing, "a sync was lost");
	for (unsigned i = 0; i < run.s.held.n; i++)
		check_chain(&run.s.held.item[i].chain);
}

static void
before_call(void)
{
	was_loading = model_watched(VUS_WATCH_STATE_IN, 0) >= 0;
	had_begun = run.transfers;
	shadow_before();
}

static void
after_call(void)
{
	uint64_t value;

	shadow_after();
	if (run.lives)
		check_waiting();
	/* A message that had to wait for the end may have begun another. */
	if (was_loading && run.lives && run.transfers == had_begun &&
	    model_watched(VUS_WATCH_STATE_IN, 0) < 0 && run.served == 0)
		loaded();
	/* Idle: one that was refused has come after the answer. */
	if (model_checked(&value) && value == 0 && run.lives &&
	    run.transfers == had_begun)
		FUZZ_CHECK(run.s.transfer.phase == VUS_TRANSFER_DONE ||
			       run.s.transfer.phase == VUS_TRANSFER_IDLE,
		    "a state that is not over was said to be");
}

/* A sync has ended; or, if none runs, the host says so all the same. */
static void
synced(int rc)
{
	run.synced = run.syncing;
	run.syncing = false;
	run.sync_rc = rc;
	if (run.lives)
		CALL(false, vus_session_synced(&run.s, rc));
	run.synced = false;
}

/* Changes whenever a ring has been served. */
static unsigned long long
ring_progress(void)
{
	unsigned long long sum = run.lines + state_progress();

	for (unsigned i = 0; i < run.type.num_queues; i++)
		sum = sum * 65537 + run.s.ring[i].vq.next;
	return sum;
}

static void
work(void)
{
	unsigned long long before = ring_progress();

	CALL(true, vus_session_work(&run.s));
	FUZZ_CHECK(run.next != VUS_NEXT_WORK || run.served != 0 ||
		       ring_progress() != before,
	    "work that gets nowhere");
}

static bool
readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && p.revents != 0;
}

static void
kicked(unsigned ring)
{
	unsigned long long before = run.watches;
	int fd = model_watched(VUS_WATCH_KICK, ring);

	CALL(false, vus_session_kicked(&run.s, ring));
	FUZZ_CHECK(!run.lives || run.watches != before || !readable(fd),
	    "a kick that stays");
}

/* One turn of the event loop, as daemon/worker/worker.c has it. Returns whether
 * something was done. */
static bool
turn(bool first)
{
	struct pollfd p[3 + VUS_RINGS_MAX];
	unsigned ring[3 + VUS_RINGS_MAX];
	nfds_t n = 1;
	bool blocked = vus_session_wants_write(&run.s);
	int backend = model_watched(VUS_WATCH_BACKEND, 0);

	if (run.next == VUS_NEXT_WORK || (run.next == VUS_NEXT_POLL && first)) {
		work();
		return true;
	}
	p[0].fd = run.s.front.fd;
	p[0].events = blocked ? POLLOUT : POLLIN;
	if (backend >= 0) {
		p[n].fd = backend;
		p[n].events = POLLIN;
		if (vus_session_backend_wants_write(&run.s))
			p[n].events |= POLLOUT;
		ring[n++] = VUS_RINGS_MAX;
	}
	if (state_fd() >= 0) {
		p[n].fd = state_fd();
		p[n].events = run.s.transfer.load ? POLLIN : POLLOUT;
		ring[n++] = VUS_RINGS_MAX + 1;
	}
	for (unsigned i = 0; i < run.type.num_queues; i++) {
		p[n].fd = model_watched(VUS_WATCH_KICK, i);
		p[n].events = POLLIN;
		if (p[n].fd >= 0)
			ring[n++] = i;
	}
	if (poll(p, n, 0) <= 0)
		return false;
	if (p[0].revents != 0 && blocked)
		CALL(true, vus_session_writable(&run.s));
	else if (p[0].revents != 0)
		CALL(true, vus_session_readable(&run.s));
	for (nfds_t i = 1; i < n && run.lives; i++) {
		if (p[i].revents == 0)
			continue;
		/* What went before may have closed it. */
		if (ring[i] < VUS_RINGS_MAX) {
			if (model_watched(VUS_WATCH_KICK, ring[i]) == p[i].fd &&
			    readable(p[i].fd))
				kicked(ring[i]);
		} else if (ring[i] > VUS_RINGS_MAX) {
			if (state_fd() == p[i].fd)
				CALL(true, vus_session_state_ready(&run.s));
		} else if (model_watched(VUS_WATCH_BACKEND, 0) == p[i].fd) {
			CALL(false, vus_session_backend_ready(&run.s));
		}
	}
	return true;
}

/* Run the host until nothing is left to do. */
static void
pump(void)
{
	unsigned idle = 0;

	for (unsigned i = 0; i < TURNS_MAX && run.lives; i++) {
		unsigned long long before =
		    fuzz_moved() + run.watches + run.s.messages;
		unsigned long long state = state_progress();
		bool worked = run.next == VUS_NEXT_WORK;

		if (!turn(i == 0) && !(run.reads_state && move_state(SIZE_MAX)))
			break;
		if (run.reads_front)
			fuzz_drain(run.front, SIZE_MAX);
		if (run.reads_channel && run.channel >= 0)
			fuzz_drain(run.channel, SIZE_MAX);
		if (run.reads_state && move_state(SIZE_MAX))
			worked = true;
		if (worked || state_progress() != state ||
		    fuzz_moved() + run.watches + run.s.messages != before)
			idle = 0;
		else
			FUZZ_CHECK(++idle < IDLE_MAX + VUS_RINGS_MAX,
			    "the session spins");
	}
}

/* --- the front-end ------------------------------------------------------- */

/* Kinds from the input: how many, then each. */
static unsigned
take_fds(int fds[static FUZZ_FDS_MAX])
{
	unsigned n = fuzz_u8(&run.in);
	enum fuzz_kind kind;

	/* None mostly; from 0xc0 on many of one kind. */
	if (n >= 0xc0) {
		n = n - 0xc0 + 1;
		kind = fuzz_u8(&run.in) % KINDS;
		for (unsigned i = 0; i < n; i++)
			fds[i] = i == 0 ? fuzz_kind(kind) : fds[0];
		return n;
	}
	n &= 3;
	for (unsigned i = 0; i < n; i++)
		fds[i] = fuzz_kind(fuzz_u8(&run.in) % KINDS);
	return n;
}

static void
send_front(const void *bytes, size_t len, const int *fds, unsigned nfds)
{
	if (run.front >= 0)
		(void)fuzz_send(run.front, bytes, len, fds, nfds);
}

/* One message, whole, that asks for an acknowledgement where there are such. */
static void
request(
    uint32_t id, const void *payload, size_t len, const int *fds, unsigned nfds)
{
	unsigned char message[sizeof(struct vus_wire_header) + 256];
	struct vus_wire_header head = {
		.request = id,
		.flags = VUS_VERSION,
		.size = (uint32_t)len,
	};

	if (vus_negotiated(&run.s, VUS_F_REPLY_ACK))
		head.flags |= VUS_FLAG_NEED_REPLY;
	memcpy(message, &head, sizeof(head));
	if (len != 0)
		memcpy(message + sizeof(head), payload, len);
	send_front(message, sizeof(head) + len, fds, nfds);
	pump();
}

static void
request_u64(uint32_t id, uint64_t value)
{
	request(id, &value, sizeof(value), NULL, 0);
}

static void
request_state(uint32_t id, uint32_t index, uint32_t num)
{
	struct vus_wire_vring_state state = { index, num };

	request(id, &state, sizeof(state), NULL, 0);
}

static void
request_fd(uint32_t id, uint64_t value, int fd)
{
	request(id, &value, sizeof(value), &fd, 1);
}

/* Any header, near the truth; any payload; any descriptors. */
static size_t
any_message(unsigned char *to, int *fds, unsigned *nfds)
{
	struct vus_wire_header head;
	uint8_t id = fuzz_u8(&run.in), flags = fuzz_u8(&run.in);
	size_t len = fuzz_u8(&run.in);

	*nfds = take_fds(fds);
	head.request = id % (VUS_REQUEST_END + 4U);
	/* 0 asks for an answer, 1 does not, 2 is whatever comes. */
	head.flags = VUS_VERSION | VUS_FLAG_NEED_REPLY;
	if (flags % 4 == 1)
		head.flags = VUS_VERSION;
	else if (flags % 4 == 2)
		head.flags = fuzz_u32(&run.in);
	/* Lengths of wire structs are short; the largest are rare. */
	if (len >= 0xf0)
		len = VUS_PAYLOAD_MAX - 0xf0 + 8 - (0xff - len);
	head.size = (uint32_t)len;
	if (flags & 0x80)
		head.size = fuzz_u32(&run.in);
	memcpy(to, &head, sizeof(head));
	fuzz_bytes(&run.in, to + sizeof(head), len);
	return sizeof(head) + len;
}

static void
op_message(bool pieces)
{
	static unsigned char
	    message[sizeof(struct vus_wire_header) + VUS_PAYLOAD_MAX];
	int fds[FUZZ_FDS_MAX];
	unsigned nfds;
	size_t len = any_message(message, fds, &nfds);
	size_t cut = len;

	if (pieces) {
		cut = fuzz_u8(&run.in);
		cut = cut < len ? cut : len;
	}
	send_front(message, cut, fds, nfds);
	/* Bit by bit, or all in one read. */
	if (pieces && fuzz_u8(&run.in) % 2 != 0)
		pump();
	if (cut < len)
		send_front(message + cut, len - cut, NULL, 0);
}

static void
op_bytes(int sock)
{
	unsigned char bytes[256];
	int fds[FUZZ_FDS_MAX];
	unsigned nfds = take_fds(fds);
	size_t len = fuzz_u8(&run.in);

	fuzz_bytes(&run.in, bytes, len);
	if (sock >= 0)
		(void)fuzz_send(sock, bytes, len, fds, nfds);
}

static void
op_negotiate(void)
{
	/* Features that are left out, one bit each. */
	static const unsigned virtio[] = { VUS_VIRTIO_F_PROTOCOL_FEATURES,
		VUS_VIRTIO_F_INDIRECT_DESC, VUS_VIRTIO_F_EVENT_IDX,
		VUS_VIRTIO_F_RING_PACKED };
	static const unsigned protocol[] = { VUS_F_REPLY_ACK, VUS_F_BACKEND_REQ,
		VUS_F_SHMEM, VUS_F_MQ };
	uint64_t features = vus_session_features(&run.s);
	uint64_t protocol_features = run.s.dialect.protocol_features;
	uint8_t without = fuzz_u8(&run.in);

	for (unsigned i = 0; i < 4; i++) {
		if (without & (1U << i))
			features &= ~VUS_BIT(virtio[i]);
		if (without & (16U << i))
			protocol_features &= ~VUS_BIT(protocol[i]);
	}
	/* Without both there must be no INBAND_NOTIFICATIONS. */
	if (without & 0x30)
		protocol_features &= ~VUS_BIT(VUS_F_INBAND_NOTIFICATIONS);
	if (protocol_features & VUS_BIT(VUS_F_SHMEM))
		protocol_features =
		    (protocol_features & ~VUS_BIT(VUS_F_SHMEM)) |
		    VUS_BIT(run.s.dialect.shmem_bit);
	request(VUS_GET_FEATURES, NULL, 0, NULL, 0);
	request(VUS_GET_PROTOCOL_FEATURES, NULL, 0, NULL, 0);
	request_u64(VUS_SET_PROTOCOL_FEATURES, protocol_features);
	request(VUS_SET_OWNER, NULL, 0, NULL, 0);
	request_u64(VUS_SET_FEATURES, features);
	if (vus_negotiated(&run.s, VUS_F_SHMEM))
		request(VUS_GET_SHMEM_CONFIG, NULL, 0, NULL, 0);
}

static const struct vus_wire_mem_region guest[] = {
	{ GUEST, KIND_RAM_0_SIZE, USER_0, 0 },
	{ GUEST + KIND_RAM_0_SIZE, KIND_RAM_1_SIZE, USER_1, 0 },
	/* Our own region, as QEMU sends it back. */
	{ GUEST + 0x10000000, KIND_REGION_SIZE, USER_1 + 0x10000000, 0 },
	{ GUEST + 0x20000000, 0x1800, USER_1 + 0x20000000, 0x800 },
	/* The same once more, and another one. */
	{ GUEST + 0x30000000, KIND_REGION_SIZE, USER_1 + 0x30000000, 0 },
	{ GUEST + 0x38000000, KIND_REGION_SIZE, USER_1 + 0x38000000, 0 },
};
static const enum fuzz_kind guest_kind[] = { KIND_RAM_0, KIND_RAM_1,
	KIND_REGION, KIND_RAM_1, KIND_REGION, KIND_REGION_1 };

static void
op_memory(void)
{
	struct {
		struct vus_wire_mem_table table;
		struct vus_wire_mem_region region[ARRAY_LEN(guest)];
	} payload = { 0 };
	int fds[ARRAY_LEN(guest)];
	unsigned which = fuzz_u8(&run.in);
	unsigned n = 0;

	/* 0 is the guest without our region. */
	which = which == 0 ? 3 : which;
	for (unsigned i = 0; i < ARRAY_LEN(guest); i++) {
		if (!(which & (1U << i)))
			continue;
		payload.region[n] = guest[i];
		fds[n++] = fuzz_kind(guest_kind[i]);
	}
	payload.table.nregions = n;
	request(VUS_SET_MEM_TABLE, &payload,
	    sizeof(payload.table) + n * sizeof(payload.region[0]), fds, n);
}

static void
op_slot(void)
{
	uint8_t which = fuzz_u8(&run.in);
	unsigned i = which < 0xf0 ? which % 4 : 4 + which % 2;
	struct vus_wire_single_region single = { .region = guest[i] };
	int fd = fuzz_kind(guest_kind[i]);

	/* Further ones beyond, in their numbers. */
	single.region.guest_addr += (uint64_t)(which >> 3) << 32;
	single.region.user_addr += (uint64_t)(which >> 3) << 40;
	if (which & 4)
		request(VUS_REM_MEM_REG, &single, sizeof(single), &fd, 1);
	else
		request(VUS_ADD_MEM_REG, &single, sizeof(single), &fd, 1);
}

static void
forget_channel(void)
{
	if (run.channel >= 0)
		(void)close(run.channel);
	run.channel = -1;
}

static void
op_channel(void)
{
	int pair[2];
	int one = 1;

	forget_channel();
	fuzz_pair(SOCK_STREAM, pair);
	if (run.small_buffers)
		(void)setsockopt(
		    pair[0], SOL_SOCKET, SO_SNDBUF, &one, sizeof(one));
	run.channel = pair[1];
	request(VUS_SET_BACKEND_REQ_FD, NULL, 0, &pair[0], 1);
	(void)close(pair[0]);
}

static void
op_ring(void)
{
	uint8_t how = fuzz_u8(&run.in), size = fuzz_u8(&run.in);
	unsigned i = how % VUS_RINGS_MAX;
	bool by_guest = vus_negotiated(&run.s, VUS_F_GPA_ADDRESSES);
	uint64_t ram = by_guest ? GUEST : USER_0;
	uint64_t base = ram + (uint64_t)i * RING_STRIDE;
	struct vus_wire_vring_addr addr = {
		.index = i,
		.flags = (size & 0x20) ? VUS_VRING_F_LOG : 0,
		.desc = base,
		.avail = base + RING_AVAIL,
		.used = base + RING_USED,
	};
	unsigned order = size % 16;

	if (1U << order > RING_SMALL) {
		addr.desc = ram + BIG_DESC;
		addr.avail = ram + BIG_AVAIL;
		addr.used = ram + BIG_USED;
	}
	addr.log = GUEST + (addr.used - ram);
	request_state(VUS_SET_VRING_NUM, i, 1U << order);
	request_state(
	    VUS_SET_VRING_BASE, i, (size & 0x80) ? fuzz_u16(&run.in) : 0);
	request(VUS_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	if (!(size & 0x10))
		request_fd(VUS_SET_VRING_CALL, i, run.call[i]);
	if (how & 0x40)
		request_fd(VUS_SET_VRING_ERR, i, fuzz_kind(KIND_EVENT));
	if (size & 0x40)
		request_state(VUS_VRING_KICK, i, 0);
	else if (how & 0x80)
		request_u64(VUS_SET_VRING_KICK, i | VUS_VRING_NO_FD);
	else
		request_fd(VUS_SET_VRING_KICK, i, run.kick[i]);
	if (!(how & 0x20))
		request_state(VUS_SET_VRING_ENABLE, i, 1);
}

static void
op_answer(void)
{
	struct vus_wire_header head = {
		.flags = VUS_VERSION | VUS_FLAG_REPLY,
		.size = sizeof(uint64_t),
	};
	unsigned char message[sizeof(head) + sizeof(uint64_t)];
	uint8_t how = fuzz_u8(&run.in);
	uint64_t value = how & 1;
	unsigned due = model_answers_due();

	/* All that are due, or one more. */
	for (unsigned i = 0; i < ((how & 2) ? due : 1) && run.channel >= 0;
	     i++) {
		head.request = i < due ? model_due(i) : model_next_answer();
		memcpy(message, &head, sizeof(head));
		memcpy(message + sizeof(head), &value, sizeof(value));
		if (fuzz_send(run.channel, message, sizeof(message), NULL, 0) <
		    0)
			break;
	}
}

/* --- migration ----------------------------------------------------------- */

static void
op_log(void)
{
	uint8_t how = fuzz_u8(&run.in);
	struct vus_wire_log log = { .size = KIND_LOG_SIZE };
	int fd = fuzz_kind((how & 0x40) ? fuzz_u8(&run.in) % KINDS : KIND_LOG);

	/* All of it, or a piece; 0x8000 is where the guest begins. */
	if (how & 1)
		log.offset = fuzz_u8(&run.in);
	if (how & 2)
		log.size = 0x8000U + fuzz_u8(&run.in);
	else
		log.size -= log.offset;
	if (how & 4)
		log.size = fuzz_u64(&run.in);
	request(VUS_SET_LOG_BASE, &log, sizeof(log), &fd, 1);
	fd = fuzz_kind(KIND_EVENT);
	if (how & 8)
		request(VUS_SET_LOG_FD, NULL, 0, &fd, 1);
}

static void
op_inflight(void)
{
	uint8_t how = fuzz_u8(&run.in), order = fuzz_u8(&run.in);
	struct vus_wire_inflight w = {
		.num_queues = (uint16_t)run.type.num_queues,
		.queue_size = (uint16_t)(1U << order % 16),
		.mmap_size = KIND_INFLIGHT_SIZE,
	};
	int fd = (how & 1) ? run.host_inflight : fuzz_kind(KIND_INFLIGHT);

	if (how & 2)
		w.num_queues = 1;
	if (how & 4)
		w.mmap_offset = fuzz_u16(&run.in);
	if (how & 8)
		w.queue_size = fuzz_u16(&run.in);
	if (how & 1) {
		w.mmap_size = (uint64_t)VUS_RINGS_MAX * VUS_INFLIGHT_MAX;
		request(VUS_GET_INFLIGHT_FD, &w, sizeof(w), NULL, 0);
	}
	run.inflight_entries = w.queue_size;
	if (!(how & 0x10) && fd >= 0)
		request(VUS_SET_INFLIGHT_FD, &w, sizeof(w), &fd, 1);
}

/* A place in the file, if it has that. */
static unsigned char *
inflight_at(unsigned ring, bool packed, uint32_t entry)
{
	size_t each = packed ? 32 : 16;
	size_t size = vus_inflight_size(packed, run.inflight_entries);
	size_t at = ring * size + each + each * entry;

	return run.inflight +
	       (at + each <= KIND_INFLIGHT_SIZE ? at : KIND_INFLIGHT_SIZE - 64);
}

/* Head of a region: of our version and size, or not. */
static void
op_inflight_head(void)
{
	uint8_t how = fuzz_u8(&run.in);
	bool packed = model_view()->packed;
	uint16_t head[8] = { 1, run.inflight_entries };
	unsigned char *at = inflight_at(how % VUS_RINGS_MAX, packed, 0);

	if (how & 0x80)
		fuzz_bytes(&run.in, head, 4);
	/* What the last completion was, and both used indices. */
	for (unsigned i = 2; i < (packed ? 7U : 4U); i++)
		head[i] = fuzz_u8(&run.in);
	if (how & 0x40)
		head[3] = 0xffff;
	at -= packed ? 32 : 16;
	memcpy(at + 8, head, packed ? 14 : 8);
}

static void
op_inflight_entry(void)
{
	uint8_t ring = fuzz_u8(&run.in), i = fuzz_u8(&run.in);
	uint8_t how = fuzz_u8(&run.in), next = fuzz_u8(&run.in);
	bool packed = model_view()->packed;
	unsigned char *at = inflight_at(ring % VUS_RINGS_MAX, packed, i);
	unsigned char e[32] = { 0 };

	e[0] = how & 1;
	if (packed) {
		uint16_t flags = how >> 2 & 7;
		uint64_t addr = GUEST + RING_DATA + next;

		e[2] = next;		 /* next */
		e[4] = i;		 /* last */
		e[6] = 1U + (how >> 6);	 /* num */
		e[8] = fuzz_u8(&run.in); /* counter */
		e[16] = i;		 /* id */
		memcpy(e + 18, &flags, 2);
		e[20] = 4;
		if (how & 2)
			addr = fuzz_u64(&run.in);
		memcpy(e + 24, &addr, 8);
		memcpy(at, e, 32);
	} else {
		e[6] = next;
		e[8] = fuzz_u8(&run.in);
		if (how & 2)
			memset(e + 8, 0xff, 8);
		memcpy(at, e, 16);
	}
}

static void
op_in_band(void)
{
	uint8_t how = fuzz_u8(&run.in);

	request_state(VUS_VRING_KICK, how & 7U, how >> 7);
}

/* A new pipe; the session gets one of its ends. */
static void
begin_state(bool load, uint8_t how)
{
	struct vus_wire_transfer w = { load, VUS_TRANSFER_STOPPED };
	int pair[2], ours = load ? 1 : 0;

	close_pipe();
	if (pipe2(pair, O_CLOEXEC | O_NONBLOCK) < 0)
		fuzz_fail("the harness: pipe");
	if (how & 0x80)
		(void)fcntl(pair[0], F_SETPIPE_SZ, 4096);
	run.pipe = pair[ours];
	run.pipe_load = load;
	run.pipe_end = false;
	run.reads_state = !(how & 0x40);
	run.pipe_used = false;
	run.cancelled = run.regions_changed = false;
	run.streamed = 0;
	if (how & 0x20)
		w.phase = fuzz_u8(&run.in);
	request(VUS_SET_DEVICE_STATE_FD, &w, sizeof(w), &pair[1 - ours], 1);
	fuzz_close(pair[1 - ours]);
}

static void
op_save(void)
{
	run.stream = 0;
	begin_state(false, fuzz_u8(&run.in));
}

static void
add_record(const void *bytes)
{
	if (run.stream + RECORD > sizeof(stream))
		return;
	memcpy(stream + run.stream, bytes, RECORD);
	run.stream += RECORD;
}

static void
op_load(void)
{
	unsigned char header[RECORD];
	uint8_t how = fuzz_u8(&run.in);

	/* What was saved before, or what OP_RECORD will say. */
	if (!(how & 1)) {
		run.stream = 0;
		put_header(header);
		if (how & 2)
			header[fuzz_u16(&run.in) % RECORD] ^= 1;
		add_record(header);
	}
	begin_state(true, how);
	run.pipe_end = (how & 4) != 0;
}

static void
op_record(void)
{
	unsigned char record[RECORD] = { 0 };
	uint8_t how = fuzz_u8(&run.in);
	struct piece p = { .magic = MAGIC };

	if (!run.pipe_load || run.pipe < 0)
		return;
	switch (how % 4) {
	case 0: /* a piece and its pages */
		p.shmid = fuzz_u8(&run.in);
		p.offset = (uint64_t)(how >> 4) * RECORD;
		p.present = fuzz_u16(&run.in);
		if (how & 8)
			p.present <<= 48;
		memcpy(record, &p, sizeof(p));
		add_record(record);
		for (uint64_t left = p.present; left != 0; left &= left - 1) {
			memset(record, fuzz_u8(&run.in), sizeof(record));
			add_record(record);
		}
		break;
	case 1: /* the end, mostly */
		p.shmid = how == 0xff ? 0 : VUS_SHMEM_MAX;
		memcpy(record, &p, sizeof(p));
		add_record(record);
		run.pipe_end = (how & 4) == 0;
		break;
	case 2: /* anything */
		fuzz_bytes(&run.in, record, 32);
		add_record(record);
		break;
	default: /* not even a whole one */
		if (run.stream + how <= sizeof(stream)) {
			memset(stream + run.stream, how, how);
			run.stream += how;
		}
		break;
	}
}

static void
op_state(void)
{
	uint8_t how = fuzz_u8(&run.in);

	switch (how % 4) {
	case 0:
		request(VUS_CHECK_DEVICE_STATE, NULL, 0, NULL, 0);
		break;
	case 1:
		if (how & 4)
			close_pipe();
		run.pipe_end = true;
		break;
	case 2:
		(void)move_state((size_t)fuzz_u8(&run.in) * 64);
		break;
	default:
		run.reads_state = !run.reads_state;
		break;
	}
}

static void
op_region(void)
{
	uint8_t which = fuzz_u8(&run.in), page = fuzz_u8(&run.in);

	memset(run.region[which % 3] + (size_t)(page % REGION_PAGES) * RECORD,
	    which / 3, RECORD);
	run.regions_changed = true;
}

/* --- the driver ---------------------------------------------------------- */

static unsigned char *
ring_at(unsigned ring, unsigned part)
{
	return run.ram + (size_t)(ring % VUS_RINGS_MAX) * RING_STRIDE + part;
}

static void
put16(unsigned char *at, unsigned value)
{
	uint16_t le = htole16((uint16_t)value);

	memcpy(at, &le, sizeof(le));
}

static unsigned
get16(const unsigned char *at)
{
	uint16_t le;

	memcpy(&le, at, sizeof(le));
	return le16toh(le);
}

static void
op_write(void)
{
	uint32_t at = fuzz_u16(&run.in) * 16U;
	size_t len = fuzz_u8(&run.in);

	if (at + len <= KIND_RAM_0_SIZE)
		fuzz_bytes(&run.in, run.ram + at, len);
}

/* Where a descriptor points. */
static uint64_t
any_address(unsigned ring, uint8_t how)
{
	uint64_t base = GUEST + (uint64_t)ring % VUS_RINGS_MAX * RING_STRIDE;

	switch (how % 8) {
	case 0:
		return base + RING_DATA + how;
	case 1: /* over the border of two regions */
		return GUEST + KIND_RAM_0_SIZE - how;
	case 2:
		return fuzz_u64(&run.in);
	case 3: /* the ring itself */
		return base + RING_AVAIL;
	case 4:
		return base + RING_USED;
	case 5:
		return base;
	case 6: /* the end of the guest */
		return GUEST + KIND_RAM_0_SIZE + KIND_RAM_1_SIZE - how;
	default:
		return base + UINT64_C(16) * how; /* an indirect table */
	}
}

static void
op_desc(void)
{
	unsigned ring = fuzz_u8(&run.in), i = fuzz_u8(&run.in);
	uint64_t addr = htole64(any_address(ring, fuzz_u8(&run.in)));
	uint8_t len = fuzz_u8(&run.in), flags = fuzz_u8(&run.in);
	uint32_t wide = htole32(len < 0xf0 ? len : fuzz_u32(&run.in));
	unsigned char *at = ring_at(ring, i * 16U);
	const struct vus_virtq *vq = &run.s.ring[ring % VUS_RINGS_MAX].vq;
	unsigned bits, next = fuzz_u8(&run.in);

	bits = flags & 7U;
	if (flags & 8) /* available: bit 7, used: bit 15 */
		bits |= 0x80;
	if (flags & 0x10)
		bits |= 0x8000;
	if (flags & 0x20) /* as it has to be next */
		bits ^= vq->next_wrap ? 0x80 : 0x8000;
	memcpy(at, &addr, sizeof(addr));
	memcpy(at + 8, &wide, sizeof(wide));
	put16(at + 12, vq->packed ? next : bits);
	put16(at + 14, vq->packed ? bits : next);
}

static void
op_offer(void)
{
	unsigned ring = fuzz_u8(&run.in), head = fuzz_u8(&run.in);
	unsigned n = fuzz_u8(&run.in);
	unsigned num = run.s.ring[ring % VUS_RINGS_MAX].vq.num;
	unsigned char *avail = ring_at(ring, RING_AVAIL);
	unsigned idx = get16(avail + 2);

	if (num != 0 && num <= RING_SMALL)
		put16(avail + 4 + (size_t)(idx & (num - 1)) * 2, head);
	put16(avail + 2, idx + n);
}

static void
op_kick(void)
{
	uint64_t one = 1;
	unsigned ring = fuzz_u8(&run.in) % VUS_RINGS_MAX;

	(void)!write(run.kick[ring], &one, sizeof(one));
}

static void
op_full_call(void)
{
	uint64_t full = UINT64_MAX - 1;
	unsigned ring = fuzz_u8(&run.in) % VUS_RINGS_MAX;

	(void)!write(run.call[ring], &full, sizeof(full));
}

/* --- the program --------------------------------------------------------- */

static void
op_spurious(void)
{
	switch (fuzz_u8(&run.in) % 4) {
	case 0:
		if (!vus_session_wants_write(&run.s))
			CALL(true, vus_session_readable(&run.s));
		break;
	case 1:
		if (model_watched(VUS_WATCH_BACKEND, 0) >= 0)
			CALL(false, vus_session_backend_ready(&run.s));
		break;
	case 2:
		CALL(true, vus_session_work(&run.s));
		break;
	default:
		if (state_fd() >= 0)
			CALL(true, vus_session_state_ready(&run.s));
		(void)vus_session_mid_message(&run.s);
		break;
	}
}

static void
step(void)
{
	uint8_t op = fuzz_u8(&run.in);
	size_t some;

	switch ((enum op)((op & 0x3f) % OPS)) {
	case OP_MESSAGE:
		op_message(false);
		break;
	case OP_PIECES:
		op_message(true);
		break;
	case OP_BYTES:
		op_bytes(run.front);
		break;
	case OP_NEGOTIATE:
		op_negotiate();
		break;
	case OP_MEMORY:
		op_memory();
		break;
	case OP_SLOT:
		op_slot();
		break;
	case OP_CHANNEL:
		op_channel();
		break;
	case OP_RING:
		op_ring();
		break;
	case OP_ENABLE:
		op = fuzz_u8(&run.in);
		request_state(VUS_SET_VRING_ENABLE, op & 7U, op >> 7);
		break;
	case OP_STOP:
		request_state(VUS_GET_VRING_BASE, fuzz_u8(&run.in), 0);
		break;
	case OP_RESET:
		request(fuzz_u8(&run.in) % 2 == 0 ? VUS_RESET_DEVICE
						  : VUS_SET_OWNER,
		    NULL, 0, NULL, 0);
		break;
	case OP_ANSWER:
		op_answer();
		break;
	case OP_CHANNEL_BYTES:
		op_bytes(run.channel);
		break;
	case OP_CHANNEL_END:
		forget_channel();
		break;
	case OP_WRITE:
		op_write();
		return;
	case OP_DESC:
		op_desc();
		return;
	case OP_OFFER:
		op_offer();
		return;
	case OP_KICK:
		op_kick();
		break;
	case OP_READ:
		some = fuzz_u8(&run.in);
		fuzz_drain(run.front, some * 32);
		some = fuzz_u8(&run.in);
		if (run.channel >= 0)
			fuzz_drain(run.channel, some * 32);
		break;
	case OP_SPURIOUS:
		op_spurious();
		break;
	case OP_HANG_UP:
		(void)shutdown(run.front, (op & 0x80) ? SHUT_WR : SHUT_RDWR);
		break;
	case OP_FULL_CALL:
		op_full_call();
		break;
	case OP_LOG:
		op_log();
		break;
	case OP_LOG_ALL:
		request_u64(VUS_SET_FEATURES,
		    run.s.state.features ^ VUS_BIT(VUS_VIRTIO_F_LOG_ALL));
		break;
	case OP_INFLIGHT:
		op_inflight();
		break;
	case OP_INFLIGHT_HEAD:
		op_inflight_head();
		return;
	case OP_INFLIGHT_ENTRY:
		op_inflight_entry();
		return;
	case OP_IN_BAND:
		op_in_band();
		break;
	case OP_SAVE:
		op_save();
		break;
	case OP_LOAD:
		op_load();
		break;
	case OP_RECORD:
		op_record();
		break;
	case OP_STATE:
		op_state();
		break;
	case OP_REGION:
		op_region();
		return;
	case OP_SYNCED:
		op = fuzz_u8(&run.in);
		if (run.syncing || (op & 0x80))
			synced((op & 1) ? -EIO : 0);
		break;
	case OP_PUMP:
	case OPS:
		break;
	}
	/* Bit 6: what follows arrives together with this. */
	if (!(op & 0x40))
		pump();
}

/* --- a run --------------------------------------------------------------- */

static void
set_up_once(void)
{
	if (run.ram != NULL)
		return;
	fuzz_kinds_reset();
	/* As in the worker: a pipe may have lost its reader. */
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		fuzz_fail("the harness: signal");
	for (unsigned i = 0; i < ARRAY_LEN(shadows); i++) {
		struct shadow *sh = &shadows[i];

		sh->ram = fuzz_map(fuzz_kind(sh->kind), sh->size);
		sh->copy = calloc(1, sh->size);
		if (sh->copy == NULL)
			fuzz_fail("the harness: no memory");
	}
	run.ram = shadows[0].ram;
	run.log = fuzz_map(fuzz_kind(KIND_LOG), KIND_LOG_SIZE);
	run.inflight = fuzz_map(fuzz_kind(KIND_INFLIGHT), KIND_INFLIGHT_SIZE);
	run.region[0] = fuzz_map(fuzz_kind(KIND_REGION), KIND_REGION_SIZE);
	run.region[1] = fuzz_map(fuzz_kind(KIND_REGION_1), KIND_REGION_SIZE);
	run.region[2] = fuzz_map(fuzz_kind(KIND_REGION_2), KIND_REGION_SIZE);
	run.host_inflight =
	    memfd_create("inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (run.host_inflight < 0 ||
	    ftruncate(run.host_inflight,
		(off_t)VUS_RINGS_MAX * (off_t)VUS_INFLIGHT_MAX) < 0 ||
	    fcntl(run.host_inflight, F_ADD_SEALS,
		F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		fuzz_fail("the harness: inflight");
	for (unsigned i = 0; i < VUS_RINGS_MAX; i++) {
		run.kick[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		run.call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (run.kick[i] < 0 || run.call[i] < 0)
			fuzz_fail("the harness: eventfd");
	}
}

static void
add_region(unsigned shmid, enum fuzz_kind kind, bool writable)
{
	struct vus_region *region = &run.device.shm[shmid];
	struct stat st;

	region->size = KIND_REGION_SIZE;
	region->fd = fuzz_kind(kind);
	st = stat_of(region->fd);
	region->dev = st.st_dev;
	region->ino = st.st_ino;
	region->writable = writable || shmid % 2 == 0;
}

/* What came after the first release; left out if the input says so. */
#define LATER                                                                  \
	(VUS_BIT(VUS_F_LOG_SHMFD) | VUS_BIT(VUS_F_INFLIGHT_SHMFD) |            \
	    VUS_BIT(VUS_F_INBAND_NOTIFICATIONS) | VUS_BIT(VUS_F_DEVICE_STATE))

static void
make_device(uint8_t how, uint8_t more)
{
	static const unsigned bits[] = { VUS_F_SHMEM, 21, 20, VUS_F_SHMEM };
	struct vus_dialect dialect = {
		.protocol_features =
		    VUS_BIT(VUS_F_MQ) | VUS_BIT(VUS_F_REPLY_ACK) |
		    VUS_BIT(VUS_F_BACKEND_REQ) | VUS_BIT(VUS_F_CONFIG) |
		    VUS_BIT(VUS_F_BACKEND_SEND_FD) |
		    VUS_BIT(VUS_F_RESET_DEVICE) |
		    VUS_BIT(VUS_F_CONFIGURE_MEM_SLOTS) | VUS_BIT(VUS_F_STATUS) |
		    VUS_BIT(VUS_F_SHMEM),
		.shmem_bit = bits[how % 4],
		.short_shmem_config = how % 4 == 2,
	};
	struct vus_host host = {
		.ctx = &run,
		.verbosity = (how & 0x80) ? VUS_LOG_WARN : VUS_LOG_DEBUG,
		.inflight_fd = (more & 0x40) ? -1 : run.host_inflight,
		.inflight_size = (uint64_t)VUS_RINGS_MAX * VUS_INFLIGHT_MAX,
		.log = host_log,
		.watch = host_watch,
		.sync = host_sync,
		.now = host_now,
	};
	bool writable = (more & 0x20) != 0;

	if (!(more & 8))
		dialect.protocol_features |= LATER;
	if ((more & 0x10) && dialect.shmem_bit != VUS_F_GPA_ADDRESSES)
		dialect.protocol_features |= VUS_BIT(VUS_F_GPA_ADDRESSES);

	memset(&run.device, 0, sizeof(run.device));
	run.type = (struct vus_device_type){
		.name = "fuzz",
		.features = 5,
		.expected = 1,
		.unaccepted = "bit 0 was not accepted",
		.num_queues = 1U + (how >> 2) % 8,
		.serve = serve,
		.finish = finish,
	};
	run.device.type = &run.type;
	run.device.sync = (more & 0x80) != 0;
	switch ((how >> 5) & 3) {
	case 0:
		add_region(0, KIND_REGION, writable);
		break;
	case 1:
		add_region(0, KIND_REGION, writable);
		add_region(1, KIND_REGION_1, writable);
		add_region(255, KIND_REGION_2, writable);
		break;
	case 2:
		break;
	default:
		for (unsigned i = 0; i < VUS_SHMEM_MAX; i++)
			add_region(i, KIND_REGION, writable);
		break;
	}
	vus_session_init(&run.s, &run.device, &dialect, &host);
}

static void
set_up(void)
{
	uint64_t count;
	uint8_t how = fuzz_u8(&run.in), sockets = fuzz_u8(&run.in);
	int pair[2], one = 1;

	fuzz_kinds_reset();
	for (unsigned i = 0; i < VUS_RINGS_MAX; i++) {
		(void)!read(run.kick[i], &count, sizeof(count));
		(void)!read(run.call[i], &count, sizeof(count));
	}
	make_device(how, sockets);
	fuzz_pair(SOCK_STREAM, pair);
	run.reads_front = !(sockets & 1);
	run.reads_channel = !(sockets & 2);
	run.small_buffers = (sockets & 4) != 0;
	if (run.small_buffers)
		(void)setsockopt(
		    pair[0], SOL_SOCKET, SO_SNDBUF, &one, sizeof(one));
	run.front = pair[1];
	run.channel = -1;
	run.pipe = -1;
	run.pipe_load = run.pipe_end = run.reads_state = false;
	run.pipe_used = false;
	run.stream = run.streamed = 0;
	run.cancelled = run.regions_changed = false;
	run.inflight_entries = 0;
	run.watches = 0;
	run.syncing = run.synced = false;
	run.syncs = run.nwaiting = 0;
	run.next = VUS_NEXT_WAIT;
	run.lives = true;
	fuzz_kind_peer = run.front;
	model_start(&run.s);
	fuzz_give(pair[0]);
	vus_session_connect(&run.s, pair[0]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	set_up_once();
	fuzz_count_before();
	run.in = (struct fuzz_input){ data, size };
	set_up();
	for (unsigned i = 0; i < OPS_MAX && run.lives && run.in.left != 0; i++)
		step();
	pump();
	/* Syncs that end leave nothing behind. */
	for (unsigned i = 0; i < SYNCS_MAX && run.lives && run.syncing; i++) {
		synced(0);
		pump();
	}
	model_closing();
	vus_session_close(&run.s);
	FUZZ_CHECK(run.s.held.n == 0, "%u requests are held", run.s.held.n);
	model_closed();
	/* A sync may end when nobody waits any more. */
	run.synced = false;
	(void)vus_session_synced(&run.s, 0);
	forget_channel();
	close_pipe();
	(void)close(run.front);
	fuzz_kind_peer = -1;
	shadow_forget();
	if (stat_of(run.host_inflight).st_blocks != 0)
		(void)fallocate(run.host_inflight,
		    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		    (off_t)VUS_RINGS_MAX * (off_t)VUS_INFLIGHT_MAX);
	fuzz_kinds_reset();
	fuzz_count_after();
	return 0;
}
