/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What the unit tests share: descriptors that are counted, a front-end's
 * side of a socket, and a session whose host records what it is told.
 */
#ifndef FAKE_HOST_H
#define FAKE_HOST_H

/* cmocka.h wants these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/session.h"

#include <stdbool.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* --- descriptors --------------------------------------------------------- */

/* Open descriptors of this process. */
unsigned count_fds(void);

/* Setup and teardown of a test that must leave as many as it has met. */
int fds_before(void **state);
int fds_after(void **state);
#define TEST(f) cmocka_unit_test_setup_teardown(f, fds_before, fds_after)

/* A memfd of size bytes. */
int make_memfd(uint64_t size);
/* A non-blocking eventfd. */
int make_eventfd(void);
/* Whether both descriptors are of the same file. */
bool same_file(int a, int b);

/* --- the front-end's side of a socket ------------------------------------ */

/* A stream socketpair, non-blocking; pair[0] is ours, pair[1] the peer's. */
void make_pair(int pair[2]);
/* As little room for sending as the kernel allows. */
void shrink_sndbuf(int fd);

/* Write len bytes with nfds descriptors; all or the test fails. */
void peer_write(
    int fd, const void *bytes, size_t len, const int *fds, unsigned nfds);

/* Put a whole message into buf, which has room; returns its length. */
size_t build_msg(unsigned char *buf, uint32_t request, uint32_t flags,
    const void *payload, size_t len);
void peer_send(int fd, uint32_t request, uint32_t flags, const void *payload,
    size_t len, const int *fds, unsigned nfds);

struct peer_msg {
	struct vus_wire_header head;
	unsigned char payload[sizeof(struct vus_wire_shmem_config)];
	int fd; /* owned by who has received it, or -1 */
};
/* Receive one message if there is one. Fails the test on half a one. */
bool peer_recv(int fd, struct peer_msg *msg);
/* Whether the other side has closed and nothing is left to read. */
bool peer_sees_end(int fd);

/* --- a session ----------------------------------------------------------- */

#define FAKE_RINGS 2U
#define FAKE_REGION_SIZE (UINT64_C(4) << 20)

/* A session between a host that records and a front-end that we play. */
struct fake {
	struct vus_session s;
	struct vus_device_type type;
	struct vus_device device;
	struct vus_dialect dialect;
	struct vus_host host;

	int front;   /* the front-end's end, owned */
	int channel; /* its end of the back-end channel, or -1, owned */

	unsigned logged[VUS_LOG_DEBUG + 1]; /* lines by level */
	char last[256];			    /* the last line of warn or err */
	int watched_backend;		    /* or -1 */
	int watched_kick[VUS_RINGS_MAX];
	int watched_state; /* the pipe of a device state, or -1 */
	enum vus_watch watched_state_for;
	unsigned served; /* requests that the device has seen */
	unsigned syncs;	 /* begun by the session, if the device has them */
};

/* Every protocol feature that the code knows, and that changes nothing for
 * who does not use it. */
uint64_t all_protocol_features(void);
/* Those that are left: a number that SHMEM has had, and what gives another
 * meaning to rings. Who tests them adds them to the dialect. */
#define OTHER_PROTOCOL_FEATURES                                                \
	(VUS_BIT(VUS_F_GET_VRING_BASE_INFLIGHT) |                              \
	    VUS_BIT(VUS_F_INBAND_NOTIFICATIONS) |                              \
	    VUS_BIT(VUS_F_GPA_ADDRESSES))

/* A device of FAKE_RINGS rings without regions, which answers each request with
 * 4 bytes 0. If device.sync is set, before fake_connect(), a request of 4 bytes
 * waits for a sync and gets 0 or FAKE_FAILED, others FAKE_BAD at once. */
struct fake *fake_new(void);
#define FAKE_FAILED 1U
#define FAKE_BAD 2U
/* Give the device region shmid; before fake_connect(). */
void fake_add_region(struct fake *f, unsigned shmid, bool writable);
/* Start the session, and connect it. */
void fake_connect(struct fake *f);
/* The session alone, or all: closed, memory and descriptors released. */
void fake_disconnect(struct fake *f);
void fake_free(struct fake *f);

/* Whether the host goes on with the session. */
static inline bool
lives(enum vus_next next)
{
	return next != VUS_NEXT_CLOSED && next != VUS_NEXT_BROKEN;
}

/* Send a request and let the session read it. */
enum vus_next fake_request(struct fake *f, uint32_t request, uint32_t flags,
    const void *payload, size_t len, const int *fds, unsigned nfds);

/* Requests that must be acknowledged with 0, REPLY_ACK being negotiated. */
void fake_ok(struct fake *f, uint32_t request, const void *payload, size_t len,
    const int *fds, unsigned nfds);
void fake_ok_u64(struct fake *f, uint32_t request, uint64_t value);
void fake_ok_state(
    struct fake *f, uint32_t request, uint32_t index, uint32_t num);
void fake_ok_fd(struct fake *f, uint32_t request, uint64_t value, int fd);

/* The next thing to read from the session is this acknowledgement, and
 * nothing is after it. */
void expect_ack(struct fake *f, uint32_t request, bool good);
/* ... or a reply with len bytes of payload, which go to payload. */
void expect_reply(struct fake *f, uint32_t request, void *payload, size_t len);
/* ... that comes with a descriptor, which the caller owns. */
int expect_reply_fd(
    struct fake *f, uint32_t request, void *payload, size_t len);
void expect_silence(struct fake *f);

/* What fake_negotiate() accepts of the virtio features offered. */
uint64_t fake_features(const struct fake *f);
/* Negotiate all that is offered, save the protocol features in without. */
void fake_negotiate(struct fake *f, uint64_t without);
/* Give the session a back-end channel; f->channel is the other end. */
void fake_set_channel(struct fake *f);
/* Start ring i: a kick descriptor, and enabled. Stop it as QEMU does. */
void fake_start_ring(struct fake *f, unsigned i);
void fake_stop_ring(struct fake *f, unsigned i);

/* Take one SHMEM_MAP from the channel; false if there is none. Checks its
 * form and that its descriptor is of the region. */
bool fake_take_map(struct fake *f, unsigned *shmid, bool *need_reply);
/* The channel holds the map of this region, or nothing at all. */
void expect_map(struct fake *f, unsigned shmid);
void expect_no_map(struct fake *f);
/* Answer a map, and let the session read it. */
void fake_answer(struct fake *f, uint64_t value);

#endif
