/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the unit tests share; fake_host.h says what. */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "proto/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define PEER_FDS_MAX 253U /* SCM_MAX_FD, all that Linux takes */
/* Of the memfd for GET_INFLIGHT_FD: as many pages as it can need. */
#define INFLIGHT_SIZE                                                          \
	((uint64_t)FAKE_RINGS * ((VUS_INFLIGHT_MAX + 4095U) & ~4095U))

/* --- descriptors --------------------------------------------------------- */

unsigned
count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	assert_int_equal(closedir(dir), 0);
	return n;
}

static unsigned fds_met;

int
fds_before(void **state)
{
	(void)state;
	fds_met = count_fds();
	return 0;
}

int
fds_after(void **state)
{
	(void)state;
	assert_int_equal(count_fds(), fds_met);
	return 0;
}

int
make_memfd(uint64_t size)
{
	int fd = memfd_create("unit", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

int
make_eventfd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

bool
same_file(int a, int b)
{
	struct stat x, y;

	assert_int_equal(fstat(a, &x), 0);
	assert_int_equal(fstat(b, &y), 0);
	return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* --- the front-end's side of a socket ------------------------------------ */

void
make_pair(int pair[2])
{
	assert_int_equal(
	    socketpair(
		AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
	    0);
}

void
shrink_sndbuf(int fd)
{
	int one = 1;

	assert_int_equal(
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &one, sizeof(one)), 0);
}

void
peer_write(int fd, const void *bytes, size_t len, const int *fds, unsigned nfds)
{
	_Alignas(struct cmsghdr) char
	    control[CMSG_SPACE(PEER_FDS_MAX * sizeof(int))] = { 0 };
	/* sendmsg does not write to it. */
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes,
		.iov_len = len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	assert_true(nfds <= PEER_FDS_MAX);
	if (nfds != 0) {
		struct cmsghdr *c;

		mh.msg_control = control;
		mh.msg_controllen = (socklen_t)CMSG_SPACE(nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = (socklen_t)CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &mh, MSG_NOSIGNAL), len);
}

size_t
build_msg(unsigned char *buf, uint32_t request, uint32_t flags,
    const void *payload, size_t len)
{
	struct vus_wire_header head = {
		.request = request, .flags = flags, .size = (uint32_t)len
	};

	memcpy(buf, &head, sizeof(head));
	if (len != 0)
		memcpy(buf + sizeof(head), payload, len);
	return sizeof(head) + len;
}

void
peer_send(int fd, uint32_t request, uint32_t flags, const void *payload,
    size_t len, const int *fds, unsigned nfds)
{
	unsigned char
	    buf[sizeof(struct vus_wire_header) + VUS_PAYLOAD_MAX + 64];

	assert_true(len <= sizeof(buf) - sizeof(struct vus_wire_header));
	len = build_msg(buf, request, flags, payload, len);
	peer_write(fd, buf, len, fds, nfds);
}

bool
peer_recv(int fd, struct peer_msg *msg)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { .iov_base = &msg->head,
		.iov_len = sizeof(msg->head) };
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	msg->fd = -1;
	if (n <= 0)
		return false;
	assert_int_equal(n, sizeof(msg->head));
	assert_false(mh.msg_flags & MSG_CTRUNC);
	if (CMSG_FIRSTHDR(&mh) != NULL)
		memcpy(&msg->fd, CMSG_DATA(CMSG_FIRSTHDR(&mh)), sizeof(int));
	assert_true(msg->head.size <= sizeof(msg->payload));
	if (msg->head.size != 0)
		assert_int_equal(
		    recv(fd, msg->payload, msg->head.size, MSG_DONTWAIT),
		    msg->head.size);
	return true;
}

bool
peer_sees_end(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}

/* --- a session ----------------------------------------------------------- */

static void
on_log(void *ctx, enum vus_log_level level, const char *text)
{
	struct fake *f = ctx;

	assert_null(strchr(text, '\n'));
	f->logged[level]++;
	if (level <= VUS_LOG_WARN)
		(void)snprintf(f->last, sizeof(f->last), "%s", text);
}

static void
on_watch(void *ctx, enum vus_watch what, unsigned ring, int fd)
{
	struct fake *f = ctx;
	int *slot = &f->watched_backend;

	if (what == VUS_WATCH_KICK) {
		assert_true(ring < FAKE_RINGS);
		slot = &f->watched_kick[ring];
	} else if (what != VUS_WATCH_BACKEND) {
		slot = &f->watched_state;
		/* One at a time, and let go as what it was watched for. */
		assert_true(fd < 0 || *slot < 0);
		assert_true(fd >= 0 || what == f->watched_state_for);
		f->watched_state_for = what;
	}
	/* A watched descriptor is let go before it is closed. */
	if (*slot >= 0)
		assert_true(fcntl(*slot, F_GETFD) >= 0);
	if (fd >= 0)
		assert_true(fcntl(fd, F_GETFD) >= 0);
	*slot = fd;
}

static uint32_t
answer(const struct vus_chain *chain, uint32_t value)
{
	return (uint32_t)vus_chain_write(chain, &value, sizeof(value));
}

static uint32_t
serve(struct vus_session *s, unsigned ring, const struct vus_chain *chain)
{
	struct fake *f = s->host.ctx;

	(void)ring;
	f->served++;
	if (!vus_session_syncs(s))
		return (uint32_t)vus_chain_write(chain, "\0\0\0", 4);
	return vus_chain_readable(chain) == 4 ? VUS_LATER
					      : answer(chain, FAKE_BAD);
}

static uint32_t
finish(
    struct vus_session *s, unsigned ring, const struct vus_chain *chain, int rc)
{
	(void)s;
	(void)ring;
	return answer(chain, rc == 0 ? 0 : FAKE_FAILED);
}

static void
on_sync(void *ctx)
{
	struct fake *f = ctx;

	f->syncs++;
}

uint64_t
all_protocol_features(void)
{
	return VUS_BIT(VUS_F_MQ) | VUS_BIT(VUS_F_REPLY_ACK) |
	       VUS_BIT(VUS_F_BACKEND_REQ) | VUS_BIT(VUS_F_CONFIG) |
	       VUS_BIT(VUS_F_BACKEND_SEND_FD) | VUS_BIT(VUS_F_RESET_DEVICE) |
	       VUS_BIT(VUS_F_CONFIGURE_MEM_SLOTS) | VUS_BIT(VUS_F_STATUS) |
	       VUS_BIT(VUS_F_LOG_SHMFD) | VUS_BIT(VUS_F_INFLIGHT_SHMFD) |
	       VUS_BIT(VUS_F_DEVICE_STATE) | VUS_BIT(VUS_F_SHMEM);
}

struct fake *
fake_new(void)
{
	struct fake *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->front = -1;
	f->channel = -1;
	f->type = (struct vus_device_type){
		.name = "fake",
		.features = VUS_BIT(0),
		.expected = VUS_BIT(0),
		.unaccepted = "feature 0 is missing",
		.num_queues = FAKE_RINGS,
		.serve = serve,
		.finish = finish,
	};
	f->device.type = &f->type;
	for (unsigned i = 0; i < VUS_CONFIG_MAX; i++)
		f->device.config[i] = (unsigned char)i;
	for (unsigned i = 0; i < VUS_SHMEM_MAX; i++)
		f->device.shm[i].fd = -1;
	f->dialect.protocol_features = all_protocol_features();
	f->dialect.shmem_bit = VUS_F_SHMEM;
	f->host = (struct vus_host){
		.ctx = f,
		.verbosity = VUS_LOG_DEBUG,
		.inflight_fd = make_memfd(INFLIGHT_SIZE),
		.inflight_size = INFLIGHT_SIZE,
		.log = on_log,
		.watch = on_watch,
		.sync = on_sync,
	};
	assert_int_equal(fcntl(f->host.inflight_fd, F_ADD_SEALS,
			     F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
	    0);
	return f;
}

void
fake_add_region(struct fake *f, unsigned shmid, bool writable)
{
	struct vus_region *r = &f->device.shm[shmid];
	struct stat st;

	r->fd = make_memfd(FAKE_REGION_SIZE);
	assert_int_equal(fstat(r->fd, &st), 0);
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	r->size = FAKE_REGION_SIZE;
	r->writable = writable;
}

void
fake_connect(struct fake *f)
{
	int pair[2];

	f->watched_backend = -1;
	f->watched_state = -1;
	for (unsigned i = 0; i < VUS_RINGS_MAX; i++)
		f->watched_kick[i] = -1;
	make_pair(pair);
	vus_session_init(&f->s, &f->device, &f->dialect, &f->host);
	vus_session_connect(&f->s, pair[0]);
	f->front = pair[1];
}

void
fake_disconnect(struct fake *f)
{
	vus_session_close(&f->s);
	assert_int_equal(f->watched_backend, -1);
	assert_int_equal(f->watched_state, -1);
	for (unsigned i = 0; i < VUS_RINGS_MAX; i++)
		assert_int_equal(f->watched_kick[i], -1);
	fd_closep(&f->front);
	fd_closep(&f->channel);
}

void
fake_free(struct fake *f)
{
	fake_disconnect(f);
	for (unsigned i = 0; i < VUS_SHMEM_MAX; i++)
		fd_closep(&f->device.shm[i].fd);
	fd_closep(&f->host.inflight_fd);
	free(f);
}

enum vus_next
fake_request(struct fake *f, uint32_t request, uint32_t flags,
    const void *payload, size_t len, const int *fds, unsigned nfds)
{
	peer_send(f->front, request, flags, payload, len, fds, nfds);
	return vus_session_readable(&f->s);
}

void
fake_ok(struct fake *f, uint32_t request, const void *payload, size_t len,
    const int *fds, unsigned nfds)
{
	enum vus_next next = fake_request(f, request,
	    VUS_VERSION | VUS_FLAG_NEED_REPLY, payload, len, fds, nfds);

	assert_true(lives(next));
	expect_ack(f, request, true);
}

void
fake_ok_u64(struct fake *f, uint32_t request, uint64_t value)
{
	fake_ok(f, request, &value, sizeof(value), NULL, 0);
}

void
fake_ok_state(struct fake *f, uint32_t request, uint32_t index, uint32_t num)
{
	struct vus_wire_vring_state state = { .index = index, .num = num };

	fake_ok(f, request, &state, sizeof(state), NULL, 0);
}

void
fake_ok_fd(struct fake *f, uint32_t request, uint64_t value, int fd)
{
	fake_ok(f, request, &value, sizeof(value), &fd, fd >= 0);
}

void
expect_silence(struct fake *f)
{
	struct pollfd p = { .fd = f->front, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 0), 0);
}

int
expect_reply_fd(struct fake *f, uint32_t request, void *payload, size_t len)
{
	struct peer_msg msg;

	assert_true(peer_recv(f->front, &msg));
	assert_int_equal(msg.head.request, request);
	assert_int_equal(msg.head.flags, VUS_VERSION | VUS_FLAG_REPLY);
	assert_int_equal(msg.head.size, len);
	memcpy(payload, msg.payload, len);
	expect_silence(f);
	return msg.fd;
}

void
expect_reply(struct fake *f, uint32_t request, void *payload, size_t len)
{
	assert_int_equal(expect_reply_fd(f, request, payload, len), -1);
}

void
expect_ack(struct fake *f, uint32_t request, bool good)
{
	uint64_t value;

	expect_reply(f, request, &value, sizeof(value));
	assert_int_equal(value == 0, good);
}

uint64_t
fake_features(const struct fake *f)
{
	/* The fake driver's ring is split. */
	return vus_session_features(&f->s) & ~VUS_BIT(VUS_VIRTIO_F_RING_PACKED);
}

void
fake_negotiate(struct fake *f, uint64_t without)
{
	uint64_t features = f->dialect.protocol_features & ~without;
	uint64_t virtio = fake_features(f);

	/* It cannot be had without these. */
	if (without & (VUS_BIT(VUS_F_REPLY_ACK) | VUS_BIT(VUS_F_BACKEND_REQ)))
		features &= ~VUS_BIT(VUS_F_INBAND_NOTIFICATIONS);
	assert_int_equal(fake_request(f, VUS_SET_PROTOCOL_FEATURES, VUS_VERSION,
			     &features, sizeof(features), NULL, 0),
	    VUS_NEXT_WAIT);
	assert_int_equal(fake_request(f, VUS_SET_FEATURES, VUS_VERSION, &virtio,
			     sizeof(virtio), NULL, 0),
	    VUS_NEXT_WAIT);
	expect_silence(f);
}

void
fake_set_channel(struct fake *f)
{
	int pair[2];

	make_pair(pair);
	fake_ok(f, VUS_SET_BACKEND_REQ_FD, NULL, 0, &pair[0], 1);
	fd_closep(&pair[0]);
	fd_closep(&f->channel);
	f->channel = pair[1];
}

void
fake_start_ring(struct fake *f, unsigned i)
{
	AUTO_FD int kick = make_eventfd();

	fake_ok_fd(f, VUS_SET_VRING_KICK, i, kick);
	fake_ok_state(f, VUS_SET_VRING_ENABLE, i, 1);
}

void
fake_stop_ring(struct fake *f, unsigned i)
{
	struct vus_wire_vring_state state = { .index = i };

	fake_ok_state(f, VUS_SET_VRING_ENABLE, i, 0);
	(void)fake_request(
	    f, VUS_GET_VRING_BASE, VUS_VERSION, &state, sizeof(state), NULL, 0);
	expect_reply(f, VUS_GET_VRING_BASE, &state, sizeof(state));
}

bool
fake_take_map(struct fake *f, unsigned *shmid, bool *need_reply)
{
	static const uint8_t padding[7];
	const struct vus_region *region;
	struct vus_wire_mmap map;
	struct peer_msg msg;

	if (!peer_recv(f->channel, &msg))
		return false;
	assert_int_equal(msg.head.request, VUS_BACKEND_SHMEM_MAP);
	assert_int_equal(msg.head.flags & ~VUS_FLAG_NEED_REPLY, VUS_VERSION);
	assert_int_equal(msg.head.size, sizeof(map));
	memcpy(&map, msg.payload, sizeof(map));
	region = &f->device.shm[map.shmid];
	assert_memory_equal(map.padding, padding, sizeof(padding));
	assert_int_equal(map.fd_offset, 0);
	assert_int_equal(map.shm_offset, 0);
	assert_true(region->size != 0);
	assert_int_equal(map.len, region->size);
	assert_int_equal(map.flags, region->writable ? 1 : 0);
	assert_true(msg.fd >= 0);
	assert_true(same_file(msg.fd, region->fd));
	fd_closep(&msg.fd);
	*shmid = map.shmid;
	*need_reply = (msg.head.flags & VUS_FLAG_NEED_REPLY) != 0;
	return true;
}

void
expect_map(struct fake *f, unsigned shmid)
{
	bool need_reply;
	unsigned got;

	assert_true(fake_take_map(f, &got, &need_reply));
	assert_int_equal(got, shmid);
}

void
expect_no_map(struct fake *f)
{
	struct pollfd p = { .fd = f->channel, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 0), 0);
}

void
fake_answer(struct fake *f, uint64_t value)
{
	peer_send(f->channel, VUS_BACKEND_SHMEM_MAP,
	    VUS_VERSION | VUS_FLAG_REPLY, &value, sizeof(value), NULL, 0);
	assert_int_equal(vus_session_backend_ready(&f->s), VUS_NEXT_WAIT);
}
