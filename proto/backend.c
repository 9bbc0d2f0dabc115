/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The back-end channel; the promises are in backend.h. */
#include "config.h"

#include "proto/backend.h"

#include "proto/map.h"
#include "proto/session.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

/* So often a channel is looked at that is left: its other end may be being
 * closed, which throws away what lies there after we are told. */
#define LOOKS 8U

/* A VRING_CALL or VRING_ERR was answered: the next may go. */
static void
on_call_answer(struct vus_session *s, unsigned ring, uint64_t result)
{
	s->ring[ring].call.asked = false;
	if (result != 0)
		vus_log(
		    s, VUS_LOG_WARN, "ring %u: VRING_CALL was refused", ring);
}

static void
on_err_answer(struct vus_session *s, unsigned ring, uint64_t result)
{
	(void)result;
	s->ring[ring].err.asked = false;
}

/*
 * Every request that a back-end has. stale: the answer counts also when the
 * device was stopped in between.
 */
struct row {
	const char *name;
	void (*on_answer)(
	    struct vus_session *s, unsigned index, uint64_t result);
	bool stale;
	const char *absent; /* never sent, for this reason */
};

#define ROW(request) [VUS_BACKEND_##request] = { .name = #request

/* clang-format off */
static const struct row rows[VUS_BACKEND_END] = {
	ROW(IOTLB_MSG), .absent = "VIRTIO_F_ACCESS_PLATFORM is not offered" },
	ROW(CONFIG_CHANGE_MSG), .absent = "sizes never change" },
	ROW(VRING_HOST_NOTIFIER_MSG), .absent = "there is no doorbell page" },
	ROW(VRING_CALL), .on_answer = on_call_answer, .stale = true },
	ROW(VRING_ERR), .on_answer = on_err_answer, .stale = true },
	ROW(SHARED_OBJECT_ADD), .absent = "SHARED_OBJECT is not offered" },
	ROW(SHARED_OBJECT_REMOVE), .absent = "SHARED_OBJECT is not offered" },
	ROW(SHARED_OBJECT_LOOKUP), .absent = "SHARED_OBJECT is not offered" },
	ROW(SHMEM_MAP), .on_answer = vus_map_answer },
	ROW(SHMEM_UNMAP), .absent = "the front-end unmaps: see map.h" },
};
/* clang-format on */

/* --- what lies unread ---------------------------------------------------- */

/*
 * Whether the front-end has read all that we have sent. The kernel counts what
 * is on its way against the user of all workers, until the front-end reads or
 * closes; so this has to come from the kernel.
 */
static bool
all_read(int fd)
{
	int bytes;

	return ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes == 0;
}

void
vus_backend_look(struct vus_session *s)
{
	if (s->state.sent != 0 && all_read(s->backend.fd))
		s->state.sent = 0;
}

/* At most so many descriptors may lie in the channels of a session. */
static unsigned
unread_max(const struct vus_session *s)
{
	unsigned n = VUS_UNREAD_SPARE;

	for (unsigned i = 0; i < VUS_SHMEM_MAX; i++)
		n += s->device->shm[i].size != 0;
	return n;
}

/* Whether one more may. Returns as vus_backend_send(). */
static int
room_for_fd(struct vus_session *s)
{
	struct vus_state *st = &s->state;
	unsigned max = unread_max(s);

	if (st->left >= max)
		return -EDQUOT;
	if (st->left + st->sent < max)
		return 0;
	vus_backend_look(s);
	return st->sent == 0 ? 0 : -EBUSY;
}

void
vus_backend_leave(struct vus_session *s)
{
	struct vus_state *st = &s->state;

	for (unsigned i = 0; st->sent != 0 && i < LOOKS; i++)
		vus_backend_look(s);
	st->left += st->sent;
	st->sent = 0;
	st->map_waits = false;
}

/* --- requests ------------------------------------------------------------ */

int
vus_backend_send(struct vus_session *s, enum vus_backend_request request,
    unsigned index, const void *payload, size_t len, int fd)
{
	struct vus_state *st = &s->state;
	bool ask = vus_negotiated(s, VUS_F_REPLY_ACK) &&
		   st->npending < VUS_PENDING_MAX;
	int rc;

	/* What the channel has not taken yet goes before. */
	if (vus_chan_blocked(&s->backend))
		return -EAGAIN;
	rc = fd >= 0 ? room_for_fd(s) : 0;
	if (rc < 0)
		return rc;
	rc = vus_chan_send(&s->backend, request, ask ? VUS_FLAG_NEED_REPLY : 0,
	    payload, len, fd);
	if (rc < 0)
		return rc;
	st->sent += fd >= 0;
	if (ask)
		st->pending[(st->pending_first + st->npending++) %
			    VUS_PENDING_MAX] =
		    (struct vus_pending){ .request = (uint8_t)request,
			    .index = (uint8_t)index };
	return 0;
}

/* --- answers ------------------------------------------------------------- */

/* One answer; false if it is none that we asked for. */
static bool
on_answer(struct vus_session *s, const struct vus_msg *msg)
{
	struct vus_state *st = &s->state;
	const struct row *row;
	struct vus_pending pending;
	uint64_t result;
	bool stale = st->nstale != 0;

	if (st->npending == 0)
		return false;
	pending = st->pending[st->pending_first];
	if (msg->head.request != pending.request ||
	    msg->head.flags != (VUS_VERSION | VUS_FLAG_REPLY) ||
	    msg->head.size != sizeof(result) || msg->nfds != 0)
		return false;
	memcpy(&result, msg->payload, sizeof(result));
	st->pending_first = (st->pending_first + 1) % VUS_PENDING_MAX;
	st->npending--;
	s->answers++;
	if (stale)
		st->nstale--;
	row = &rows[pending.request];
	if (!stale || row->stale)
		row->on_answer(s, pending.index, result);
	return true;
}

void
vus_backend_readable(struct vus_session *s)
{
	enum vus_chan_status rc = vus_chan_fill(&s->backend);
	struct vus_msg *msg = &s->answer;

	if (rc == VUS_CHAN_AGAIN)
		return;
	while (rc == VUS_CHAN_OK) {
		bool fits;

		rc = vus_chan_take(&s->backend, msg);
		if (rc == VUS_CHAN_AGAIN)
			return;
		if (rc != VUS_CHAN_OK)
			break;
		fits = on_answer(s, msg);
		vus_msg_close(msg);
		if (!fits) {
			s->backend.why = "not an answer to what was asked";
			rc = VUS_CHAN_BROKEN;
		}
	}
	if (rc == VUS_CHAN_EOF)
		vus_log(s, VUS_LOG_DEBUG,
		    "back-end channel closed by the front-end");
	else
		vus_log(s, VUS_LOG_WARN,
		    "back-end channel closed: %s; regions cannot be mapped "
		    "again",
		    s->backend.why);
	vus_session_set_backend(s, -1);
}

/* --- in-band notifications ----------------------------------------------- */

/* What is due may have become so before features were negotiated anew. */
static bool
may_notify(const struct vus_session *s)
{
	return vus_negotiated(s, VUS_F_INBAND_NOTIFICATIONS) &&
	       s->backend.fd >= 0 && s->state.npending < VUS_PENDING_MAX;
}

/* Send a notification that is due, if it may go now. */
static void
notify_in_band(struct vus_session *s, struct vus_in_band *in_band,
    enum vus_backend_request request, unsigned ring)
{
	struct vus_wire_vring_state state = { .index = ring };
	int rc;

	if (!in_band->due || in_band->asked || !may_notify(s))
		return;
	rc = vus_backend_send(s, request, ring, &state, sizeof(state), -1);
	if (rc == -EAGAIN)
		return;
	in_band->due = false;
	in_band->asked = rc == 0;
	if (rc < 0) {
		vus_log(s, VUS_LOG_WARN, "back-end channel: %s not sent: %s",
		    rows[request].name, strerror(-rc));
		vus_session_set_backend(s, -1);
	}
}

void
vus_backend_continue(struct vus_session *s)
{
	for (unsigned i = 0; i < s->device->type->num_queues; i++) {
		notify_in_band(s, &s->ring[i].call, VUS_BACKEND_VRING_CALL, i);
		notify_in_band(s, &s->ring[i].err, VUS_BACKEND_VRING_ERR, i);
	}
}

bool
vus_backend_calls_wait(const struct vus_session *s)
{
	if (!may_notify(s))
		return false;
	for (unsigned i = 0; i < s->device->type->num_queues; i++)
		if ((s->ring[i].call.due && !s->ring[i].call.asked) ||
		    (s->ring[i].err.due && !s->ring[i].err.asked))
			return true;
	return false;
}

/* Returns whether there is a way to. */
static bool
notify(struct vus_session *s, int fd, struct vus_in_band *in_band,
    enum vus_backend_request request, unsigned ring)
{
	if (fd >= 0) {
		vus_notify(fd);
		return true;
	}
	if (!vus_negotiated(s, VUS_F_INBAND_NOTIFICATIONS) || in_band->unwanted)
		return false;
	in_band->due = true;
	notify_in_band(s, in_band, request, ring);
	return true;
}

void
vus_backend_call(struct vus_session *s, unsigned ring)
{
	if (notify(s, s->ring[ring].call_fd, &s->ring[ring].call,
		VUS_BACKEND_VRING_CALL, ring))
		s->counters.ring[ring].calls++;
}

void
vus_backend_err(struct vus_session *s, unsigned ring)
{
	(void)notify(s, s->ring[ring].err_fd, &s->ring[ring].err,
	    VUS_BACKEND_VRING_ERR, ring);
}
