/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Transfer of a device's state; the promises are in state.h. */
#include "config.h"

#include "proto/state.h"

#include "proto/fd.h"
#include "proto/session.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE VUS_STATE_RECORD
#define PIECE_PAGES 64U
#define PIECE ((uint64_t)PIECE_PAGES * PAGE)
/* Pages that are looked at, or records that are moved, in one go. */
#define SHARE 256U

/* What a record is. */
#define MAGIC_PIECE UINT64_C(0x454d5241534b5600)
#define MAGIC_HEADER UINT64_C(0x454d5241534b5601)
#define FORMAT 1U

struct header {
	uint64_t magic;
	uint64_t version;
	char device[32];
	uint64_t size[VUS_SHMEM_MAX]; /* of the regions, by shmid */
};
static_assert(sizeof(struct header) <= PAGE, "one record");

/* Bit i of present is page i from offset. The end has none, and names the
 * place behind all regions. */
struct piece {
	uint64_t magic;
	uint64_t shmid;
	uint64_t offset;
	uint64_t present;
};
static_assert(sizeof(struct piece) <= PAGE, "one record");

static const unsigned char zeros[PAGE];

/* Write the device's header into record, which has PAGE bytes. */
static void
put_header(const struct vus_device *device, unsigned char *record)
{
	struct header header = {
		.magic = htole64(MAGIC_HEADER),
		.version = htole64(FORMAT),
	};

	memcpy(header.device, device->type->name,
	    strnlen(device->type->name, sizeof(header.device) - 1));
	for (unsigned i = 0; i < VUS_SHMEM_MAX; i++)
		header.size[i] = htole64(device->shm[i].size);
	memset(record, 0, PAGE);
	memcpy(record, &header, sizeof(header));
}

static void
put_piece(const struct vus_place *at, uint64_t present, unsigned char *record)
{
	struct piece piece = {
		.magic = htole64(MAGIC_PIECE),
		.shmid = htole64(at->shmid),
		.offset = htole64(at->offset),
		.present = htole64(present),
	};

	memset(record, 0, PAGE);
	memcpy(record, &piece, sizeof(piece));
}

/* --- places -------------------------------------------------------------- */

/* The place itself, or the beginning of the next region if it is behind the
 * end of one. */
static struct vus_place
settle(const struct vus_device *device, struct vus_place at)
{
	while (at.shmid < VUS_SHMEM_MAX &&
	       at.offset >= device->shm[at.shmid].size) {
		at.shmid++;
		at.offset = 0;
	}
	return at;
}

static struct vus_place
first_place(const struct vus_device *device)
{
	return settle(device, (struct vus_place){ 0, 0 });
}

static bool
before(const struct vus_place *a, const struct vus_place *b)
{
	return a->shmid != b->shmid ? a->shmid < b->shmid
				    : a->offset < b->offset;
}

static bool
behind_all(const struct vus_place *at)
{
	return at->shmid == VUS_SHMEM_MAX;
}

/* Pages from a place to the end of its region or of a piece. */
static unsigned
pages_in_piece(const struct vus_device *device, const struct vus_place *at)
{
	uint64_t left = device->shm[at->shmid].size - at->offset;

	return left < PIECE ? (unsigned)(left / PAGE) : PIECE_PAGES;
}

/* --- the pages of a region ----------------------------------------------- */

static bool
read_page(const struct vus_device *device, const struct vus_place *at,
    unsigned i, unsigned char *page)
{
	return pread(device->shm[at->shmid].fd, page, PAGE,
		   (off_t)(at->offset + (uint64_t)i * PAGE)) == PAGE;
}

static bool
write_page(const struct vus_device *device, const struct vus_place *at,
    unsigned i, const unsigned char *page)
{
	return pwrite(device->shm[at->shmid].fd, page, PAGE,
		   (off_t)(at->offset + (uint64_t)i * PAGE)) == PAGE;
}

static bool
is_zero(const unsigned char *page)
{
	return memcmp(page, zeros, PAGE) == 0;
}

/* --- the end ------------------------------------------------------------- */

static void
finish(struct vus_session *s, enum vus_transfer_phase phase)
{
	struct vus_transfer *t = &s->transfer;

	if (t->fd >= 0)
		s->host.watch(s->host.ctx,
		    t->load ? VUS_WATCH_STATE_IN : VUS_WATCH_STATE_OUT, 0, -1);
	fd_closep(&t->fd);
	t->phase = phase;
}

static void
fail(struct vus_session *s, const char *why)
{
	vus_log(s, VUS_LOG_WARN, "device state not %s: %s",
	    s->transfer.load ? "loaded" : "saved", why);
	finish(s, VUS_TRANSFER_FAILED);
}

void
vus_state_cancel(struct vus_session *s, const char *why)
{
	if (vus_state_active(&s->transfer))
		fail(s, why);
}

void
vus_state_init(struct vus_session *s)
{
	s->transfer.phase = VUS_TRANSFER_IDLE;
	s->transfer.check_due = false;
	s->transfer.fd = -1;
}

static void
done(struct vus_session *s)
{
	vus_log(s, VUS_LOG_DEBUG, "device state %s",
	    s->transfer.load ? "loaded" : "saved");
	finish(s, VUS_TRANSFER_DONE);
}

/* --- saving -------------------------------------------------------------- */

/* Look for a piece that has anything in it, through at most SHARE pages, and
 * put its record into buf. Nothing in buf afterwards: not found yet. */
static bool
find_piece(struct vus_session *s)
{
	struct vus_transfer *t = &s->transfer;

	for (unsigned looked = 0; looked < SHARE && !behind_all(&t->at);) {
		unsigned n = pages_in_piece(s->device, &t->at);

		t->present = 0;
		for (unsigned i = 0; i < n; i++) {
			if (!read_page(s->device, &t->at, i, t->page))
				return false;
			if (!is_zero(t->page))
				t->present |= VUS_BIT(i);
		}
		if (t->present != 0) {
			put_piece(&t->at, t->present, t->buf);
			t->have = PAGE;
			t->phase = VUS_TRANSFER_PAGE;
			return true;
		}
		looked += n;
		t->at.offset += PIECE;
		t->at = settle(s->device, t->at);
	}
	if (behind_all(&t->at))
		t->phase = VUS_TRANSFER_END;
	return true;
}

/* Put the next record into buf, if one is found. False: a region cannot be
 * read. */
static bool
make_record(struct vus_session *s)
{
	struct vus_transfer *t = &s->transfer;

	switch (t->phase) {
	case VUS_TRANSFER_HEADER:
		put_header(s->device, t->buf);
		t->have = PAGE;
		t->phase = VUS_TRANSFER_PIECE;
		return true;
	case VUS_TRANSFER_PIECE:
		return find_piece(s);
	case VUS_TRANSFER_PAGE:
		if (!read_page(s->device, &t->at,
			(unsigned)__builtin_ctzll(t->present), t->buf))
			return false;
		t->have = PAGE;
		t->present &= t->present - 1;
		if (t->present == 0) {
			t->at.offset += PIECE;
			t->at = settle(s->device, t->at);
			t->phase = VUS_TRANSFER_PIECE;
		}
		return true;
	case VUS_TRANSFER_END:
		put_piece(&t->at, 0, t->buf);
		t->have = PAGE;
		t->ended = true;
		return true;
	default:
		return true;
	}
}

static void
save(struct vus_session *s)
{
	struct vus_transfer *t = &s->transfer;

	for (unsigned n = 0; n < SHARE; n++) {
		if (t->have == 0) {
			bool searching = t->phase == VUS_TRANSFER_PIECE;

			if (t->ended) {
				done(s);
				return;
			}
			if (!make_record(s)) {
				fail(s, "a region cannot be read");
				return;
			}
			/* To look at pages is a share, too. */
			if (searching && t->have == 0)
				return;
			if (t->have == 0)
				continue;
		}
		/* A pipe takes a record whole or not at all: pipe(7). */
		if (write(t->fd, t->buf, PAGE) != PAGE) {
			if (errno != EAGAIN && errno != EINTR)
				fail(s, strerror(errno));
			return;
		}
		t->have = 0;
	}
}

/* --- loading ------------------------------------------------------------- */

static const char *
take_piece(struct vus_session *s, const unsigned char *record)
{
	struct vus_transfer *t = &s->transfer;
	struct piece piece;
	struct vus_place at;
	unsigned n;

	memcpy(&piece, record, sizeof(piece));
	if (le64toh(piece.magic) != MAGIC_PIECE)
		return "a record that is none";
	if (piece.present == 0) {
		if (le64toh(piece.shmid) != VUS_SHMEM_MAX || piece.offset != 0)
			return "an end that is none";
		t->clear_to = (struct vus_place){ VUS_SHMEM_MAX, 0 };
		t->ended = true;
		t->phase = VUS_TRANSFER_CLEAR;
		return NULL;
	}
	if (le64toh(piece.shmid) >= VUS_SHMEM_MAX)
		return "a record of no region";
	at.shmid = (unsigned)le64toh(piece.shmid);
	at.offset = le64toh(piece.offset);
	if (at.offset % PAGE != 0 || at.offset >= s->device->shm[at.shmid].size)
		return "a record beyond its region";
	if (before(&at, &t->at))
		return "a record out of order";
	n = pages_in_piece(s->device, &at);
	t->present = le64toh(piece.present);
	if (n < 64 && t->present >> n != 0)
		return "a record beyond its region";
	t->clear_to = at;
	t->phase = VUS_TRANSFER_CLEAR;
	return NULL;
}

/* A page of the piece at hand: those before it that did not come are zero. */
static const char *
take_page(struct vus_session *s, const unsigned char *record)
{
	struct vus_transfer *t = &s->transfer;
	unsigned i = (unsigned)__builtin_ctzll(t->present);
	struct vus_place at = t->clear_to;

	if (!write_page(s->device, &at, i, record))
		return "a region cannot be written";
	t->present &= t->present - 1;
	t->at = at;
	t->at.offset += (uint64_t)(i + 1) * PAGE;
	t->at = settle(s->device, t->at);
	if (t->present == 0) {
		t->phase = VUS_TRANSFER_PIECE;
	} else {
		/* The piece keeps its beginning; what is between this page
		 * and the next is cleared now. */
		for (unsigned k = i + 1;
		     k < (unsigned)__builtin_ctzll(t->present); k++) {
			if (!read_page(s->device, &at, k, t->page) ||
			    (!is_zero(t->page) &&
				!write_page(s->device, &at, k, zeros)))
				return "a region cannot be written";
		}
	}
	return NULL;
}

/* Make pages zero up to clear_to and its first page that comes, a share of
 * them. */
static const char *
clear(struct vus_session *s)
{
	struct vus_transfer *t = &s->transfer;
	struct vus_place to = t->clear_to;

	if (!t->ended)
		to.offset += (uint64_t)__builtin_ctzll(t->present) * PAGE;
	for (unsigned n = 0; before(&t->at, &to); n++) {
		if (n == SHARE)
			return NULL;
		if (!read_page(s->device, &t->at, 0, t->page) ||
		    (!is_zero(t->page) &&
			!write_page(s->device, &t->at, 0, zeros)))
			return "a region cannot be written";
		t->at.offset += PAGE;
		t->at = settle(s->device, t->at);
	}
	t->phase = t->ended ? VUS_TRANSFER_END : VUS_TRANSFER_PAGE;
	return NULL;
}

static const char *
take_record(struct vus_session *s, const unsigned char *record)
{
	struct vus_transfer *t = &s->transfer;

	switch (t->phase) {
	case VUS_TRANSFER_HEADER:
		put_header(s->device, t->page);
		if (memcmp(record, t->page, PAGE) != 0)
			return "it is of another device, or of regions of "
			       "other sizes";
		t->phase = VUS_TRANSFER_PIECE;
		return NULL;
	case VUS_TRANSFER_PIECE:
		return take_piece(s, record);
	case VUS_TRANSFER_PAGE:
		return take_page(s, record);
	default:
		return "more than it should be";
	}
}

/* Use what is there: clear pages, or else take the record in buf, if there
 * is a whole one. */
static const char *
use(struct vus_session *s)
{
	struct vus_transfer *t = &s->transfer;
	const char *why;

	if (t->phase == VUS_TRANSFER_CLEAR)
		return clear(s);
	if (t->have < PAGE)
		return NULL;
	why = take_record(s, t->buf);
	t->have -= PAGE;
	memmove(t->buf, t->buf + PAGE, t->have);
	return why;
}

static void
load(struct vus_session *s)
{
	struct vus_transfer *t = &s->transfer;

	for (unsigned n = 0; n < SHARE; n++) {
		bool clearing = t->phase == VUS_TRANSFER_CLEAR;
		const char *why = use(s);
		ssize_t got;

		if (why != NULL) {
			fail(s, why);
			return;
		}
		if (clearing && t->phase == VUS_TRANSFER_CLEAR)
			return; /* a share of it is done */
		if (t->phase == VUS_TRANSFER_CLEAR || t->have >= PAGE)
			continue;
		got = read(t->fd, t->buf + t->have, PAGE);
		if (got < 0) {
			if (errno != EAGAIN && errno != EINTR)
				fail(s, strerror(errno));
			return;
		}
		if (got == 0) {
			if (t->phase == VUS_TRANSFER_END && t->have == 0)
				done(s);
			else
				fail(s, "it ends too early");
			return;
		}
		t->have += (unsigned)got;
	}
}

/* --- the session's calls ------------------------------------------------- */

static const char *
check(const struct vus_session *s, bool load, int fd)
{
	struct stat st;
	int flags;

	if (vus_state_active(&s->transfer))
		return "another transfer is under way";
	for (unsigned i = 0; i < s->device->type->num_queues; i++)
		if (vus_ring_running(&s->ring[i]))
			return "the device is not stopped";
	for (unsigned i = 0; load && i < VUS_SHMEM_MAX; i++)
		if (s->device->shm[i].size != 0 && !s->device->shm[i].writable)
			return "a region is read-only";
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fstat(fd, &st) < 0)
		return strerror(errno);
	if (!S_ISFIFO(st.st_mode) || (flags & O_PATH) != 0)
		return "the descriptor is not a pipe";
	if (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return strerror(errno);
	return NULL;
}

const char *
vus_state_begin(struct vus_session *s, bool load, int fd)
{
	struct vus_transfer *t = &s->transfer;
	const char *why = check(s, load, fd);

	if (why != NULL) {
		fd_closep(&fd);
		return why;
	}
	t->phase = VUS_TRANSFER_HEADER;
	t->load = load;
	t->fd = fd;
	t->at = first_place(s->device);
	t->present = 0;
	t->ended = false;
	t->have = 0;
	s->host.watch(s->host.ctx,
	    load ? VUS_WATCH_STATE_IN : VUS_WATCH_STATE_OUT, 0, fd);
	return NULL;
}

void
vus_state_ready(struct vus_session *s)
{
	if (!vus_state_active(&s->transfer))
		return;
	if (s->transfer.load)
		load(s);
	else
		save(s);
}
