/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The channel between supervisor and worker, with a hostile worker at the
 * other end: any packets with any descriptors, well-formed ones in between,
 * and what becomes of their text in the log.
 */
#include "config.h"

#include "daemon/common/log.h"
#include "daemon/common/priv.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define OPS_MAX 64U

static struct fuzz_input in;
static int pair[2]; /* the supervisor's end, the worker's end */
static unsigned lines;

/* --- the log, caught on its way out -------------------------------------- */

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
ssize_t __real_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len);
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

static bool catching;

ssize_t
__wrap_write(int fd, const void *bytes, size_t len)
{
	static const char prefix[] = PACKAGE_NAME ": ";
	const char *line = bytes;

	if (!catching || fd != STDERR_FILENO)
		return __real_write(fd, bytes, len);
	lines++;
	FUZZ_CHECK(len > sizeof(prefix) && len <= 640 &&
		       memcmp(line, prefix, sizeof(prefix) - 1) == 0 &&
		       line[len - 1] == '\n',
	    "a line of %zu bytes", len);
	for (size_t i = 0; i < len - 1; i++)
		FUZZ_CHECK(line[i] >= ' ' && line[i] <= '~',
		    "byte 0x%02x in the log", (unsigned char)line[i]);
	return (ssize_t)len;
}

/* As the supervisor does it. */
static void
log_text(struct priv_log *line)
{
	enum log_level level =
	    line->level < LOG_LEVELS ? (enum log_level)line->level : LOG_WARN;
	unsigned before = lines;

	line->text[sizeof(line->text) - 1] = '\0';
	log_escape(line->text);
	errno = EXDEV;
	catching = true;
	log_line(level, "worker %d: %s", 17, line->text);
	catching = false;
	FUZZ_CHECK(errno == EXDEV, "errno was lost");
	FUZZ_CHECK((lines != before) == (level <= log_get_level()),
	    "a line too many or too few");
}

/* --- the channel --------------------------------------------------------- */

/* How many descriptors a message has, written down a second time. */
static unsigned
fds_of(const struct priv_msg *msg)
{
	switch ((enum priv_type)msg->type) {
	case PRIV_REGIONS:
		return msg->u.regions.n;
	case PRIV_HAVE_REGION:
		return msg->u.have_region.is_new == 0	? 0
		       : msg->u.have_region.synced == 0 ? 2
							: 3;
	case PRIV_DOOR:
		return msg->u.door.rc == 0;
	case PRIV_SYNC:
	case PRIV_CONNECT:
	case PRIV_SPAWN:
	case PRIV_ERASE:
	case PRIV_CLIENT:
		return 1;
	default:
		return 0;
	}
}

static bool
goes(uint32_t type, enum priv_way way)
{
	switch ((enum priv_type)type) {
	case PRIV_READY:
	case PRIV_LOG:
	case PRIV_STATUS:
		return way == PRIV_TO_SUPERVISOR;
	case PRIV_SPAWN:
		return way == PRIV_TO_SPAWNER;
	case PRIV_SPAWNED:
		return way == PRIV_FROM_SPAWNER;
	case PRIV_CLIENT:
		return way == PRIV_TO_FLUSHER;
	case PRIV_FAILED:
		return way == PRIV_FROM_FLUSHER;
	default:
		if (type >= PRIV_BUILD && type <= PRIV_FORGET)
			return way == PRIV_TO_BUILDER;
		if (type >= PRIV_HAVE_REGION && type <= PRIV_RESIZED)
			return way == PRIV_FROM_BUILDER;
		return type != 0 && type < PRIV_TYPE_END &&
		       way == PRIV_TO_WORKER;
	}
}

/* Receive one message; expected: whether it is a good one, if that is known.
 * Returns false at the end. */
static bool
receive(enum priv_way way, const bool *expected)
{
	struct priv_msg msg;
	int fds[PRIV_REGIONS_MAX];
	unsigned n = 0;
	int rc;

	memset(&msg, 0x5a, sizeof(msg));
	rc = priv_recv(pair[0], way, false, &msg, fds);
	if (rc == 1) {
		FUZZ_CHECK(msg.version == PRIV_VERSION && goes(msg.type, way),
		    "type %u was accepted", msg.type);
		n = fds_of(&msg);
		FUZZ_CHECK(n <= PRIV_REGIONS_MAX, "%u descriptors", n);
	}
	for (unsigned i = 0; i < PRIV_REGIONS_MAX; i++)
		FUZZ_CHECK((fds[i] >= 0) == (i < n),
		    "descriptor %u of %u is %d", i, n, fds[i]);
	FUZZ_CHECK(
	    fuzz_owned() == n, "%u descriptors instead of %u", fuzz_owned(), n);
	for (unsigned i = 0; i < n; i++)
		(void)close(fds[i]);
	FUZZ_CHECK(rc == 1 || rc == 0 || rc == -EAGAIN || rc == -EBADMSG ||
		       rc == -ECONNRESET,
	    "priv_recv returned %d", rc);
	FUZZ_CHECK(expected == NULL || (rc == 1) == *expected,
	    "a message was %s", *expected ? "refused" : "accepted");
	if (rc == 1 && msg.type == PRIV_LOG)
		log_text(&msg.u.log);
	return rc != -EAGAIN;
}

static const enum priv_way ways[8] = { PRIV_TO_SUPERVISOR, PRIV_FROM_SPAWNER,
	PRIV_TO_WORKER, PRIV_TO_SPAWNER, PRIV_TO_BUILDER, PRIV_FROM_BUILDER,
	PRIV_TO_FLUSHER, PRIV_FROM_FLUSHER };

static unsigned
take_fds(int fds[static FUZZ_FDS_MAX])
{
	unsigned n = fuzz_u8(&in);
	enum fuzz_kind kind = fuzz_u8(&in) % KINDS;

	n = n < 0xc0 ? n % 4 : n < FUZZ_FDS_MAX ? n - 0xc0 + 20 : FUZZ_FDS_MAX;
	for (unsigned i = 0; i < n; i++)
		fds[i] = i == 0 ? fuzz_kind(kind) : fds[0];
	return n;
}

/* Any packet: near to the size of a message, or of none. Returns whether it
 * is a good one on this way. */
static bool
op_packet(enum priv_way way)
{
	static unsigned char bytes[sizeof(struct priv_msg) + 64];
	int fds[FUZZ_FDS_MAX];
	unsigned nfds = take_fds(fds);
	uint8_t size = fuzz_u8(&in);
	size_t len = sizeof(struct priv_msg);
	struct priv_msg msg = { 0 };

	if (size & 1)
		len = size < 0x80
			  ? size
			  : sizeof(struct priv_msg) + (size & 0x3fU) - 32;
	msg.version = PRIV_VERSION;
	msg.type = fuzz_u8(&in) % (PRIV_TYPE_END + 2U);
	if (msg.type == PRIV_REGIONS)
		msg.u.regions.n = fuzz_u8(&in);
	memcpy(bytes, &msg, sizeof(msg));
	/* What follows, or all of it, from the input. */
	if (size & 2)
		fuzz_bytes(&in, bytes, len);
	else
		fuzz_bytes(&in,
		    bytes + sizeof(msg.version) + sizeof(msg.type) +
			sizeof(uint32_t),
		    64);
	memcpy(&msg, bytes, sizeof(msg));
	return fuzz_send(pair[1], bytes, len, fds, nfds) == sizeof(msg) &&
	       msg.version == PRIV_VERSION && goes(msg.type, way) &&
	       nfds == fds_of(&msg) &&
	       (msg.type != PRIV_REGIONS ||
		   (nfds >= 1 && nfds <= PRIV_REGIONS_MAX));
}

/* What priv_send() sends, priv_recv() takes, in its direction only. */
static void
op_round(void)
{
	struct priv_msg msg = { 0 };
	enum priv_type type = fuzz_u8(&in) % (PRIV_TYPE_END + 1U);
	enum priv_way way = ways[fuzz_u8(&in) % 8];
	int fds[FUZZ_FDS_MAX];
	unsigned nfds = take_fds(fds);
	bool fits, expected;
	int rc;

	if (type == PRIV_REGIONS)
		msg.u.regions.n = fuzz_u8(&in) % (PRIV_REGIONS_MAX + 2);
	if (type == PRIV_LOG)
		fuzz_bytes(&in, &msg.u.log, sizeof(msg.u.log));
	msg.type = type;
	fits =
	    nfds == fds_of(&msg) &&
	    (type != PRIV_REGIONS || (nfds != 0 && nfds <= PRIV_REGIONS_MAX));
	rc = priv_send(pair[1], type, &msg, nfds != 0 ? fds : NULL, nfds);
	FUZZ_CHECK(fits ? rc == 0 : rc == -EINVAL,
	    "priv_send returned %d for %u descriptors", rc, nfds);
	expected = goes(type, way);
	if (rc == 0)
		(void)receive(way, &expected);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	in = (struct fuzz_input){ data, size };
	fuzz_kinds_reset();
	fuzz_count_before();
	fuzz_pair(SOCK_SEQPACKET, pair);
	log_set_level((enum log_level)(fuzz_u8(&in) % LOG_LEVELS));
	for (unsigned i = 0; i < OPS_MAX && in.left != 0; i++) {
		uint8_t op = fuzz_u8(&in);
		enum priv_way way = ways[op >> 5];
		bool good;

		switch (op % 4) {
		case 0:
			while (receive(way, NULL))
				;
			good = op_packet(way);
			(void)receive(way, &good);
			break;
		case 1:
			(void)op_packet(way);
			break;
		case 2:
			while (receive(PRIV_TO_SUPERVISOR, NULL))
				;
			op_round();
			break;
		default:
			(void)receive(way, NULL);
			break;
		}
	}
	(void)close(pair[1]);
	/* What is left, and the end, which is one for ever. */
	for (unsigned i = 0; i <= OPS_MAX; i++)
		(void)receive(PRIV_TO_SUPERVISOR, NULL);
	(void)close(pair[0]);
	fuzz_kinds_reset();
	fuzz_count_after();
	return 0;
}
