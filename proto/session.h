/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * One front-end connection: the state that vhost-user messages build up, and
 * the way of a message through it,
 *
 *   channel -> validate (message.c: the table) -> handler -> device -> reply
 *
 * Pure state and one read and one write function. The host (the worker's
 * event loop, a unit test, a fuzzer) says when a descriptor is ready and is
 * told which to watch.
 *
 * Who may die: a malformed message costs the connection, a refused one a
 * non-zero acknowledgement where the front-end asked for one. Nothing here
 * ends the process.
 */
#ifndef SESSION_H
#define SESSION_H

#include "proto/backend.h"
#include "proto/channel.h"
#include "proto/device.h"
#include "proto/dirty.h"
#include "proto/held.h"
#include "proto/mem.h"
#include "proto/state.h"
#include "proto/virtq.h"

#include <stdarg.h>
#include <stdbool.h>

#define VUS_RINGS_MAX 8U
/* Answers of the front-end that may be due at a time. */
#define VUS_PENDING_MAX (2U * VUS_SHMEM_MAX)
/* SHMEM_MAPs, each with a descriptor, that may lie in a front-end's channels
 * unread: one for each region, and these. More wait until it has read. */
#define VUS_UNREAD_SPARE 16U
/* With all the regions that there can be. */
#define VUS_UNREAD_MAX (VUS_SHMEM_MAX + VUS_UNREAD_SPARE)

enum vus_log_level { VUS_LOG_ERR, VUS_LOG_WARN, VUS_LOG_INFO, VUS_LOG_DEBUG };

/* What the host watches for the session. */
enum vus_watch {
	VUS_WATCH_BACKEND,  /* the back-end channel, for reading */
	VUS_WATCH_KICK,	    /* a ring's kick descriptor, for reading */
	VUS_WATCH_STATE_IN, /* the pipe of a device state, for reading ... */
	VUS_WATCH_STATE_OUT /* ... or for writing */
};

/* Who runs the session. */
struct vus_host {
	void *ctx;
	enum vus_log_level verbosity; /* the least important that is wanted */
	/* A memfd of inflight_size bytes for GET_INFLIGHT_FD, sealed against
	 * another size; the host's. -1: the request is refused. */
	int inflight_fd;
	uint64_t inflight_size;
	/* One line for the log, without a newline. */
	void (*log)(void *ctx, enum vus_log_level level, const char *text);
	/*
	 * Watch fd from now on for what (and ring); -1: watch nothing for it
	 * any more. Called before the session closes a watched descriptor.
	 */
	void (*watch)(void *ctx, enum vus_watch what, unsigned ring, int fd);
	/*
	 * Bring to storage all that was written to the device's memory before
	 * this call, and then call vus_session_synced(): not from within, and
	 * whatever happens, for until then no other is begun and requests
	 * wait. NULL: the device is served as one whose memory is its
	 * storage.
	 */
	void (*sync)(void *ctx);
	/* A clock that does not go back, in ns, for vus_counters; or NULL. */
	uint64_t (*now)(void *ctx);
};

/* What a session has done since it was initialised. */
struct vus_counters {
	struct {
		uint64_t requests; /* completed, also malformed ones */
		uint64_t calls;	   /* the driver was called */
	} ring[VUS_RINGS_MAX];
	uint64_t flushes; /* completed, of which ... */
	uint64_t flushes_failed;
	/* Of those that had to wait for a sync, from when they were taken until
	 * they were completed: the sum and the longest, in ns. */
	uint64_t flush_ns, flush_ns_max;
};

/* What differs between front-ends on the wire. */
struct vus_dialect {
	uint64_t protocol_features; /* offered, in today's numbers */
	unsigned shmem_bit;	    /* the number of SHMEM on this wire */
	/* GET_SHMEM_CONFIG is answered with the sizes up to the highest shmid
	 * that is used, and num_regions counts these; else with all 256, and
	 * num_regions counts the used ones. */
	bool short_shmem_config;
	uint64_t virtio_without; /* virtio features that are not offered */
};

/* What the host does next with the session. */
enum vus_next {
	VUS_NEXT_WAIT,	 /* wait for the descriptors that it watches */
	VUS_NEXT_POLL,	 /* a ring has to be polled: the same, in a ms */
	VUS_NEXT_WORK,	 /* call vus_session_work() soon: work is left */
	VUS_NEXT_CLOSED, /* the front-end has hung up: close the session */
	VUS_NEXT_BROKEN	 /* it broke the protocol, which is logged: close */
};

/* A notification of the front-end by message: INBAND_NOTIFICATIONS. */
struct vus_in_band {
	bool due;      /* to be sent as soon as that can be */
	bool asked;    /* one is out, and its answer is not in */
	bool unwanted; /* the front-end polls */
};

struct vus_ring {
	struct vus_virtq vq;
	/* Front-end virtual, or guest physical with GPA_ADDRESSES. */
	uint64_t desc_addr, avail_addr, used_addr;
	bool has_addr;
	bool polled; /* without kick_fd: to be looked at without a kick */
	struct vus_in_band call, err;
	bool kicked;	 /* "started" in vhost-user.rst: SET_VRING_KICK seen */
	bool enabled;	 /* SET_VRING_ENABLE, or at once without bit 30 */
	bool broken;	 /* stopped until it is started anew; logged */
	bool look;	 /* has to be looked at without a kick */
	bool wants_room; /* to be looked at when fewer requests are held */
	unsigned held;	 /* requests of it that are: held.h */
	bool watched;	 /* the host watches kick_fd */
	int kick_fd;	 /* owned; -1: none */
	int call_fd, err_fd; /* owned; -1: none */
};

/* What is known of a region's mapping in the front-end. */
enum vus_map_state {
	VUS_UNMAPPED,
	VUS_MAP_SENT,
	VUS_MAP_DONE, /* answered with 0, or found in the memory table */
	VUS_MAP_REFUSED
};

/* What an answer will be about. */
struct vus_pending {
	uint8_t request; /* enum vus_backend_request */
	uint8_t index;	 /* shmid or ring */
};

/* What the front-end has told us. Plain data: no pointers. */
struct vus_state {
	uint64_t protocol_features; /* acknowledged */
	uint64_t features;	    /* acknowledged virtio features */
	uint8_t status;
	bool started; /* see map.h: ring 0 is running */
	enum vus_map_state map[VUS_SHMEM_MAX];
	unsigned map_next; /* first shmid not yet sent in this start */
	bool mapped_once[VUS_SHMEM_MAX]; /* since SET_OWNER */
	/* Where a region's mapping has appeared in the memory table: guest
	 * physical. Awaited: it was made, and has not appeared yet. */
	bool map_awaited[VUS_SHMEM_MAX], has_map_addr[VUS_SHMEM_MAX];
	uint64_t map_addr[VUS_SHMEM_MAX];
	/* Guest physical addresses of our files in the last memory table. */
	unsigned nseen; /* more than there is room for: not known */
	uint64_t seen[VUS_MEM_TABLE_MAX];
	unsigned pending_first, npending;
	unsigned nstale; /* of these, the oldest ones of earlier starts */
	/* Maps that may lie unread: in the channel, since nothing lay there;
	 * and in those before it, where we see no more what becomes of them.
	 * An answer tells nothing: it can be sent in advance. */
	unsigned sent, left;
	bool map_waits; /* the next map, until there are fewer */
	struct vus_pending pending[VUS_PENDING_MAX]; /* oldest first */
};

struct vus_session {
	const struct vus_device *device;
	struct vus_dialect dialect;
	struct vus_host host;
	struct vus_chan front;	    /* the front-end's requests */
	struct vus_chan backend;    /* our requests to it; fd -1: none */
	unsigned long long answers; /* of it, so far */
	struct vus_state state;
	struct vus_mem mem;
	struct vus_ring ring[VUS_RINGS_MAX];
	struct vus_held_list held;
	struct vus_counters counters;
	struct vus_dirty dirty;
	int dirty_fd; /* SET_LOG_FD: owned; -1: none */
	struct {
		struct vus_mapping map; /* base NULL: nothing is tracked */
		uint16_t queues, entries;
		bool packed;
	} inflight;
	struct vus_transfer transfer;
	struct vus_msg msg;			   /* the request at hand */
	struct vus_msg answer;			   /* on the other channel */
	char why[160];				   /* why it is refused */
	struct vus_wire_shmem_config shmem_config; /* frozen at init */
	unsigned long long messages; /* requests carried out so far */
	bool config_doubted;	     /* the log has that it asks for more */
	size_t shmem_config_len;     /* bytes of it that are sent */
};

/* Prepare *s, without a connection. The device outlives the session. */
void vus_session_init(struct vus_session *s, const struct vus_device *device,
    const struct vus_dialect *dialect, const struct vus_host *host);

/* Begin to serve the connected front-end socket fd; the session owns it. */
void vus_session_connect(struct vus_session *s, int fd);

/* Stop everything, close every descriptor, unmap all guest memory. Sends
 * nothing. */
void vus_session_close(struct vus_session *s);

/* The front-end socket is readable: at most one recvmsg, then every message
 * that is whole. Not to be called while wants_write() is true. */
enum vus_next vus_session_readable(struct vus_session *s)
    __attribute__((warn_unused_result));

/* Whether the front-end has sent the beginning of a message and not yet the
 * rest, or of a device state, and wants to know what became of it. s->messages
 * tells whether it is still the same one. */
static inline bool
vus_session_mid_message(const struct vus_session *s)
{
	if (vus_chan_blocked(&s->front))
		return false;
	return s->transfer.check_due ? !vus_state_busy(&s->transfer)
				     : s->front.in_len != 0;
}

/* Whether it has sent the beginning of an answer on the back-end channel. The
 * same goes for s->answers. */
static inline bool
vus_session_mid_answer(const struct vus_session *s)
{
	return s->backend.fd >= 0 && s->backend.in_len != 0;
}

/* The rest of that did not come in time: go on without the channel. */
void vus_session_answer_late(struct vus_session *s);

/* The front-end socket is writable; watch that only if wants_write(). */
enum vus_next vus_session_writable(struct vus_session *s)
    __attribute__((warn_unused_result));
static inline bool
vus_session_wants_write(const struct vus_session *s)
{
	return vus_chan_blocked(&s->front);
}

/* The back-end channel is readable, or writable again. */
enum vus_next vus_session_backend_ready(struct vus_session *s)
    __attribute__((warn_unused_result));
/* Whether the back-end channel is to be watched for writing. */
bool vus_session_backend_wants_write(const struct vus_session *s);

/* The kick descriptor of a ring is readable. */
enum vus_next vus_session_kicked(struct vus_session *s, unsigned ring)
    __attribute__((warn_unused_result));

/*
 * What the host's sync() has begun is over: rc is 0 or a negative errno, which
 * the requests that it was for are answered with. Without one that was begun
 * nothing happens.
 */
enum vus_next vus_session_synced(struct vus_session *s, int rc)
    __attribute__((warn_unused_result));

/* The pipe of a device state is ready. */
enum vus_next vus_session_state_ready(struct vus_session *s)
    __attribute__((warn_unused_result));

/* Go on with work that was left: a bounded share of it. */
enum vus_next vus_session_work(struct vus_session *s)
    __attribute__((warn_unused_result));

/* --- for the modules of proto/ and for devices --------------------------- */

/* Whether a protocol feature was negotiated. */
static inline bool
vus_negotiated(const struct vus_session *s, unsigned feature)
{
	return (s->state.protocol_features & VUS_BIT(feature)) != 0;
}

void vus_log(const struct vus_session *s, enum vus_log_level level,
    const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Whether what was written has to be synced before a FLUSH is answered. */
static inline bool
vus_session_syncs(const struct vus_session *s)
{
	return s->device->sync && s->host.sync != NULL;
}

/* Virtio features that the session offers. */
uint64_t vus_session_features(const struct vus_session *s);

/* A ring is served: started and enabled. */
static inline bool
vus_ring_running(const struct vus_ring *ring)
{
	return ring->kicked && ring->enabled;
}

/*
 * Ring's kicked or enabled, its addresses or the memory table have changed:
 * find it in memory or let it go, and see to the mappings if that started or
 * stopped the device. The one way to change these.
 */
void vus_ring_update(struct vus_session *s, unsigned index);

/* Signal a call or error descriptor of the front-end, if there is one. */
void vus_notify(int fd);

/* Stop a ring as GET_VRING_BASE does. Its base, vq.next, stays. */
void vus_ring_stop(struct vus_session *s, unsigned index);

/* Whether writes to guest memory are logged has changed: for a ring. */
void vus_ring_log(struct vus_session *s, unsigned index);

/* A ring was served for now: tell the driver, if requests have been completed
 * (used) and it wants to know, and whoever looks at the dirty log. */
void vus_ring_served(struct vus_session *s, unsigned index, bool used);

/* Serve what waits on a ring at once: a bounded share of it. */
void vus_ring_serve(struct vus_session *s, unsigned index);

/* Start a ring with the kick descriptor fd, which it owns, or give it
 * another one; -1: none. It is then polled, or kicked by VRING_KICK. */
void vus_ring_kick_fd(
    struct vus_session *s, unsigned index, int fd, bool polled);

/* Reset of the device: rings, status and mappings; not what was negotiated. */
void vus_session_reset_device(struct vus_session *s);

/* Another back-end channel, or -1; the session owns fd. */
void vus_session_set_backend(struct vus_session *s, int fd);

/*
 * message.c: check the request in s->msg against the table, carry it out and
 * answer it. Closes the descriptors that it leaves. Returns false if the
 * connection must end; the reason is logged.
 */
bool vus_dispatch(struct vus_session *s);

/* The name of a request, or what to call one that has none. */
const char *vus_request_name(uint32_t request);

/* The transfer that CHECK_DEVICE_STATE has asked for is over: answer it.
 * Returns as vus_dispatch(). */
bool vus_dispatch_check(struct vus_session *s);

#endif
