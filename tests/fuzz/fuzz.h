/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What the fuzzers share: reading the input, saying what went wrong, and a
 * ledger of descriptors and mappings.
 *
 * The programs are linked with --wrap for the system calls that give and take
 * descriptors and mappings, so that the code under test runs unchanged and
 * every descriptor it was sent is known by number until it is closed.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* What libFuzzer calls. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- the input ----------------------------------------------------------- */

/* Read from front to back; past the end there are zeros. */
struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

uint8_t fuzz_u8(struct fuzz_input *in);
uint16_t fuzz_u16(struct fuzz_input *in);
uint32_t fuzz_u32(struct fuzz_input *in);
uint64_t fuzz_u64(struct fuzz_input *in);
void fuzz_bytes(struct fuzz_input *in, void *to, size_t len);

/* --- the verdict --------------------------------------------------------- */

/* Something that must never be has been: say so and abort. */
void fuzz_fail(const char *format, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

#define FUZZ_CHECK(condition, ...)                                             \
	do {                                                                   \
		if (!(condition))                                              \
			fuzz_fail(__VA_ARGS__);                                \
	} while (0)

/* --- the ledger ---------------------------------------------------------- */

/* Called for each message of the code under test, after the system call. */
struct fuzz_tap {
	void (*received)(int sock, const unsigned char *bytes, size_t len,
	    const int *fds, unsigned nfds);
	void (*sent)(int sock, const struct msghdr *mh, size_t len);
	void (*not_sent)(int sock, int error);
	void (*closing)(int fd); /* before the system call */
};
extern struct fuzz_tap fuzz_tap;

/* The code under test owns fd from now on, and has to close it. */
void fuzz_give(int fd);
/* It has handed fd back. */
void fuzz_take_back(int fd);
/* Descriptors that it owns, and bytes that it has received and sent. */
unsigned fuzz_owned(void);
unsigned long long fuzz_moved(void);
/* Mappings of files that it holds. */
unsigned fuzz_mappings(void);

/*
 * At the begin and the end of a run: fail if more descriptors are open than
 * before. For those that were received the ledger knows at once; this is for
 * those that the code has made itself, and looks at /proc, which is slow, now
 * and then only.
 */
void fuzz_count_before(void);
void fuzz_count_after(void);

/* --- what the harness itself does, past the ledger ----------------------- */

/* Most descriptors that the kernel lets a message carry: SCM_MAX_FD. */
#define FUZZ_FDS_MAX 253U

/* Send without waiting; returns the bytes sent, or -1. The descriptors stay
 * the caller's. */
ssize_t fuzz_send(
    int sock, const void *bytes, size_t len, const int *fds, unsigned nfds);

/* Read and drop up to len bytes, with the descriptors in them. */
void fuzz_drain(int sock, size_t len);

/* A memfd of size bytes; the process ends if there can be none. */
int fuzz_memfd(off_t size);
/* Past the ledger. */
void fuzz_close(int fd);
/* All of it, mapped for the harness. */
unsigned char *fuzz_map(int fd, size_t size);
/* A pair of non-blocking sockets, likewise. */
void fuzz_pair(int type, int pair[2]);

/* Kinds of descriptors that a peer may send. */
enum fuzz_kind {
	KIND_RAM_0, /* a memfd of KIND_RAM_0_SIZE bytes, and so on */
	KIND_RAM_1,
	KIND_ODD_FILE, /* a memfd of 100 bytes */
	KIND_REGION,   /* a region of our own: see fuzz_kind_region */
	KIND_READ_ONLY,
	KIND_EVENT,
	KIND_EVENT_FULL, /* whose counter cannot take one more */
	KIND_EPOLL,	 /* ready for ever, and cannot be read */
	KIND_TIMER,
	KIND_PATH, /* O_PATH */
	KIND_DIRECTORY,
	KIND_PIPE_READ,
	KIND_PIPE_WRITE,
	KIND_DEVICE,
	KIND_STREAM, /* one end of a new stream pair */
	KIND_DATAGRAM,
	KIND_LISTENING,
	KIND_UNCONNECTED,
	KIND_CLOSED_PEER,
	KIND_PEER,     /* the socket it is sent on: see fuzz_kind_peer */
	KIND_REGION_1, /* further regions of our own */
	KIND_REGION_2,
	KIND_LOG,      /* a dirty log */
	KIND_INFLIGHT, /* an inflight buffer */
	KINDS
};
#define KIND_RAM_0_SIZE 0x200000
#define KIND_RAM_1_SIZE 0x10000
#define KIND_REGION_SIZE 0x10000
#define KIND_LOG_SIZE 0x10000
#define KIND_INFLIGHT_SIZE 0x20000

/* The descriptor for KIND_PEER. */
extern int fuzz_kind_peer;

/* A descriptor of this kind; stays ours. */
int fuzz_kind(enum fuzz_kind kind);
/* Before each run: files empty, counters zero. After it: close what
 * fuzz_kind() has made. */
void fuzz_kinds_reset(void);

#endif
