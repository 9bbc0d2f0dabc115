/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the fuzzers share; the promises are in fuzz.h. */
#include "config.h"

#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

/* What the linker makes of --wrap. */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
ssize_t __real_recvmsg(int sock, struct msghdr *mh, int flags);
ssize_t __wrap_recvmsg(int sock, struct msghdr *mh, int flags);
ssize_t __real_sendmsg(int sock, const struct msghdr *mh, int flags);
ssize_t __wrap_sendmsg(int sock, const struct msghdr *mh, int flags);
int __real_close(int fd);
int __wrap_close(int fd);
void *__real_mmap(
    void *addr, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(
    void *addr, size_t len, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *addr, size_t len);
int __wrap_munmap(void *addr, size_t len);
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

/* --- the input ----------------------------------------------------------- */

void
fuzz_bytes(struct fuzz_input *in, void *to, size_t len)
{
	size_t n = len < in->left ? len : in->left;

	memset(to, 0, len);
	if (n != 0)
		memcpy(to, in->at, n);
	in->at += n;
	in->left -= n;
}

uint8_t
fuzz_u8(struct fuzz_input *in)
{
	uint8_t value;

	fuzz_bytes(in, &value, sizeof(value));
	return value;
}

uint16_t
fuzz_u16(struct fuzz_input *in)
{
	uint16_t value;

	fuzz_bytes(in, &value, sizeof(value));
	return value;
}

uint32_t
fuzz_u32(struct fuzz_input *in)
{
	uint32_t value;

	fuzz_bytes(in, &value, sizeof(value));
	return value;
}

uint64_t
fuzz_u64(struct fuzz_input *in)
{
	uint64_t value;

	fuzz_bytes(in, &value, sizeof(value));
	return value;
}

/* --- the verdict --------------------------------------------------------- */

void
fuzz_fail(const char *format, ...)
{
	va_list ap;

	(void)fputs("fuzz: ", stderr);
	va_start(ap, format);
	(void)vfprintf(stderr, format, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	abort();
}

/* The harness itself cannot go on: not a finding, but no run either. */
static int
need(int rc, const char *what)
{
	if (rc < 0)
		fuzz_fail("the harness: %s: %s", what, strerror(errno));
	return rc;
}

/* --- the ledger ---------------------------------------------------------- */

#define FD_LIMIT 4096
#define MAPPINGS_MAX 1024
#define PAGE ((size_t)4096)
/* Runs in which /proc is looked at: the first ones, then one of so many. */
#define COUNT_FIRST 16U
#define COUNT_EVERY 128U

struct fuzz_tap fuzz_tap;
static bool owned[FD_LIMIT];
static unsigned nowned;
static unsigned long long moved;
static struct {
	unsigned char *at;
	size_t len;
} mappings[MAPPINGS_MAX];
static unsigned nmappings;

void
fuzz_give(int fd)
{
	FUZZ_CHECK(fd >= 0 && fd < FD_LIMIT, "descriptor %d", fd);
	FUZZ_CHECK(!owned[fd], "descriptor %d is owned twice", fd);
	owned[fd] = true;
	nowned++;
}

void
fuzz_take_back(int fd)
{
	FUZZ_CHECK(fd >= 0 && fd < FD_LIMIT && owned[fd], "descriptor %d", fd);
	owned[fd] = false;
	nowned--;
}

unsigned
fuzz_owned(void)
{
	return nowned;
}

unsigned long long
fuzz_moved(void)
{
	return moved;
}

unsigned
fuzz_mappings(void)
{
	return nmappings;
}

ssize_t
__wrap_recvmsg(int sock, struct msghdr *mh, int flags)
{
	ssize_t n = __real_recvmsg(sock, mh, flags);
	int fds[FUZZ_FDS_MAX];
	unsigned nfds = 0;

	if (n < 0)
		return n;
	moved += (unsigned long long)n;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c != NULL;
	     c = CMSG_NXTHDR(mh, c)) {
		size_t len = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds + nfds, CMSG_DATA(c), len);
		nfds += (unsigned)(len / sizeof(int));
	}
	for (unsigned i = 0; i < nfds; i++) {
		FUZZ_CHECK(fcntl(fds[i], F_GETFD) & FD_CLOEXEC,
		    "a descriptor was received without CLOEXEC");
		fuzz_give(fds[i]);
	}
	if (fuzz_tap.received != NULL)
		fuzz_tap.received(
		    sock, mh->msg_iov[0].iov_base, (size_t)n, fds, nfds);
	return n;
}

ssize_t
__wrap_sendmsg(int sock, const struct msghdr *mh, int flags)
{
	ssize_t n = __real_sendmsg(sock, mh, flags);

	FUZZ_CHECK((flags & MSG_DONTWAIT) && (flags & MSG_NOSIGNAL),
	    "sendmsg may block or raise SIGPIPE");
	if (n < 0) {
		int saved = errno;

		if (fuzz_tap.not_sent != NULL)
			fuzz_tap.not_sent(sock, saved);
		errno = saved;
		return n;
	}
	moved += (unsigned long long)n;
	if (fuzz_tap.sent != NULL)
		fuzz_tap.sent(sock, mh, (size_t)n);
	return n;
}

int
__wrap_close(int fd)
{
	int rc;

	if (fd >= 0 && fd < FD_LIMIT && owned[fd]) {
		if (fuzz_tap.closing != NULL)
			fuzz_tap.closing(fd);
		fuzz_take_back(fd);
	}
	rc = __real_close(fd);
	FUZZ_CHECK(rc == 0 || errno != EBADF,
	    "descriptor %d is closed a second time", fd);
	return rc;
}

/* Guest memory gets a page on either side that cannot be touched. */
void *
__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	unsigned char *room;
	struct stat st;
	void *map;

	if (fd < 0 || addr != NULL || !(flags & MAP_SHARED))
		return __real_mmap(addr, len, prot, flags, fd, offset);
	FUZZ_CHECK(len % PAGE == 0, "a mapping of %zu bytes", len);
	FUZZ_CHECK(fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
		       (size_t)offset + len <=
			   ((size_t)st.st_size + PAGE - 1) / PAGE * PAGE,
	    "a mapping beyond the end of its file");
	FUZZ_CHECK(nmappings < MAPPINGS_MAX, "%u mappings", nmappings);
	room = __real_mmap(NULL, len + 2 * PAGE, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return MAP_FAILED;
	map =
	    __real_mmap(room + PAGE, len, prot, flags | MAP_FIXED, fd, offset);
	if (map == MAP_FAILED) {
		int saved = errno;

		(void)__real_munmap(room, len + 2 * PAGE);
		errno = saved;
		return map;
	}
	mappings[nmappings].at = map;
	mappings[nmappings++].len = len;
	return map;
}

int
__wrap_munmap(void *addr, size_t len)
{
	for (unsigned i = 0; i < nmappings; i++) {
		if (mappings[i].at != addr)
			continue;
		FUZZ_CHECK(mappings[i].len == len,
		    "a mapping of %zu bytes is unmapped by %zu",
		    mappings[i].len, len);
		mappings[i] = mappings[--nmappings];
		return __real_munmap(
		    (unsigned char *)addr - PAGE, len + 2 * PAGE);
	}
	return __real_munmap(addr, len);
}

static unsigned
fuzz_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	if (dir == NULL)
		fuzz_fail("the harness: no /proc/self/fd");
	while (readdir(dir) != NULL)
		n++;
	(void)closedir(dir);
	return n;
}

static unsigned counted;

void
fuzz_count_before(void)
{
	static unsigned runs;

	counted = runs < COUNT_FIRST || runs % COUNT_EVERY == 0
		      ? fuzz_count_fds()
		      : 0;
	runs++;
}

void
fuzz_count_after(void)
{
	unsigned now = counted == 0 ? 0 : fuzz_count_fds();

	FUZZ_CHECK(now == counted, "%u descriptors are open instead of %u", now,
	    counted);
}

/* --- past the ledger ----------------------------------------------------- */

ssize_t
fuzz_send(
    int sock, const void *bytes, size_t len, const int *fds, unsigned nfds)
{
	static unsigned char none;
	_Alignas(struct cmsghdr) static unsigned char
	    control[CMSG_SPACE(FUZZ_FDS_MAX * sizeof(int))];
	/* The kernel only reads them: the union takes off the const. */
	union {
		const void *in;
		void *out;
	} payload = { .in = len == 0 ? &none : bytes };
	struct iovec iov = { .iov_base = payload.out, .iov_len = len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nfds != 0) {
		struct cmsghdr *c;

		mh.msg_control = control;
		mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	return __real_sendmsg(sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void
fuzz_drain(int sock, size_t len)
{
	unsigned char scrap[4096];

	while (len != 0) {
		size_t want = len < sizeof(scrap) ? len : sizeof(scrap);
		ssize_t n = recv(sock, scrap, want, MSG_DONTWAIT);

		if (n <= 0)
			return;
		len -= (size_t)n;
	}
}

int
fuzz_memfd(off_t size)
{
	int fd = need(memfd_create("fuzz", MFD_CLOEXEC), "memfd_create");

	need(ftruncate(fd, size), "ftruncate");
	return fd;
}

void
fuzz_close(int fd)
{
	(void)__real_close(fd);
}

unsigned char *
fuzz_map(int fd, size_t size)
{
	void *map =
	    __real_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	need(map == MAP_FAILED ? -1 : 0, "mmap");
	return map;
}

void
fuzz_pair(int type, int pair[2])
{
	need(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
	    "socketpair");
}

/* --- kinds of descriptors ------------------------------------------------ */

int fuzz_kind_peer = -1;
static int kinds[KINDS]; /* those that last for all runs */
static bool kinds_made;
static int passing[64]; /* those of this run */
static unsigned npassing;

static int
reopen(int fd, int flags)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return need(open(path, flags | O_CLOEXEC), path);
}

static void
make_kinds(void)
{
	struct epoll_event always = { .events = EPOLLOUT };
	int pipes[2];

	for (unsigned i = 0; i < KINDS; i++)
		kinds[i] = -1;
	need(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), "pipe");
	kinds[KIND_RAM_0] = fuzz_memfd(KIND_RAM_0_SIZE);
	kinds[KIND_RAM_1] = fuzz_memfd(KIND_RAM_1_SIZE);
	kinds[KIND_ODD_FILE] = fuzz_memfd(100);
	kinds[KIND_REGION] = fuzz_memfd(KIND_REGION_SIZE);
	kinds[KIND_REGION_1] = fuzz_memfd(KIND_REGION_SIZE);
	kinds[KIND_REGION_2] = fuzz_memfd(KIND_REGION_SIZE);
	kinds[KIND_LOG] = fuzz_memfd(KIND_LOG_SIZE);
	kinds[KIND_INFLIGHT] = fuzz_memfd(KIND_INFLIGHT_SIZE);
	kinds[KIND_READ_ONLY] = reopen(kinds[KIND_RAM_1], O_RDONLY);
	kinds[KIND_EVENT] =
	    need(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
	/* Not non-blocking: that has to be seen to by who writes to it. */
	kinds[KIND_EVENT_FULL] = need(eventfd(0, EFD_CLOEXEC), "eventfd");
	kinds[KIND_EPOLL] = need(epoll_create1(EPOLL_CLOEXEC), "epoll");
	need(epoll_ctl(kinds[KIND_EPOLL], EPOLL_CTL_ADD, pipes[1], &always),
	    "epoll");
	kinds[KIND_TIMER] =
	    need(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), "timerfd");
	kinds[KIND_PATH] = reopen(kinds[KIND_RAM_1], O_PATH);
	kinds[KIND_DIRECTORY] =
	    need(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "/");
	kinds[KIND_PIPE_READ] = pipes[0];
	kinds[KIND_PIPE_WRITE] = pipes[1];
	kinds[KIND_DEVICE] =
	    need(open("/dev/zero", O_RDWR | O_CLOEXEC), "zero");
	kinds_made = true;
}

static int
pass(int fd)
{
	FUZZ_CHECK(npassing < ARRAY_LEN(passing), "the harness: descriptors");
	passing[npassing++] = fd;
	return fd;
}

static int
make_socket(enum fuzz_kind kind)
{
	struct sockaddr_un any = { .sun_family = AF_UNIX };
	int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
	int pair[2] = { -1, -1 };
	int fd;

	switch (kind) {
	case KIND_LISTENING:
	case KIND_UNCONNECTED:
		fd = pass(need(socket(AF_UNIX, type, 0), "socket"));
		/* No path: the kernel finds an abstract one. */
		if (kind == KIND_LISTENING &&
		    bind(fd, (struct sockaddr *)&any, sizeof(sa_family_t)) == 0)
			need(listen(fd, 1), "listen");
		return fd;
	case KIND_DATAGRAM:
		fuzz_pair(SOCK_DGRAM, pair);
		break;
	default:
		fuzz_pair(SOCK_STREAM, pair);
		break;
	}
	if (kind == KIND_CLOSED_PEER)
		(void)__real_close(pair[1]);
	else
		pass(pair[1]);
	return pass(pair[0]);
}

int
fuzz_kind(enum fuzz_kind kind)
{
	uint64_t full = UINT64_MAX - 1;

	if (kind == KIND_PEER && fuzz_kind_peer >= 0)
		return fuzz_kind_peer;
	/* A run that has sent many sockets gets events from here on. */
	if (kind >= KIND_STREAM && kind <= KIND_PEER)
		return npassing + 2 <= ARRAY_LEN(passing) ? make_socket(kind)
							  : kinds[KIND_EVENT];
	if (kind == KIND_EVENT_FULL) {
		(void)fcntl(kinds[kind], F_SETFL, O_NONBLOCK);
		(void)!write(kinds[kind], &full, sizeof(full));
		(void)fcntl(kinds[kind], F_SETFL, 0);
	}
	return kinds[kind];
}

void
fuzz_kinds_reset(void)
{
	static const struct {
		enum fuzz_kind kind;
		off_t size;
	} files[] = {
		{ KIND_RAM_0, KIND_RAM_0_SIZE },
		{ KIND_RAM_1, KIND_RAM_1_SIZE },
		{ KIND_ODD_FILE, 100 },
		{ KIND_REGION, KIND_REGION_SIZE },
		{ KIND_REGION_1, KIND_REGION_SIZE },
		{ KIND_REGION_2, KIND_REGION_SIZE },
		{ KIND_LOG, KIND_LOG_SIZE },
		{ KIND_INFLIGHT, KIND_INFLIGHT_SIZE },
	};
	unsigned char scrap[4096];
	uint64_t count;

	if (!kinds_made)
		make_kinds();
	for (unsigned i = 0; i < ARRAY_LEN(files); i++) {
		need(ftruncate(kinds[files[i].kind], 0), "ftruncate");
		need(ftruncate(kinds[files[i].kind], files[i].size),
		    "ftruncate");
	}
	(void)!read(kinds[KIND_EVENT], &count, sizeof(count));
	while (read(kinds[KIND_PIPE_READ], scrap, sizeof(scrap)) > 0)
		;
	while (npassing != 0)
		(void)__real_close(passing[--npassing]);
}
