/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The control socket; see control.h. */
#include "config.h"

#include "daemon/supervisor/control.h"

#include "daemon/common/log.h"
#include "daemon/common/loop.h"
#include "daemon/common/peerfd.h"
#include "daemon/supervisor/discard.h"
#include "proto/fd.h"
#include "proto/scm.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* How long accepting rests when descriptors have run out. */
static const struct timeval rest = { .tv_sec = 1 };

static void
leave(struct control_client *c)
{
	if (c->fd < 0)
		return;
	(void)event_del(&c->readable);
	(void)event_del(&c->writable);
	discard(&c->fd);
	free(c->out);
	c->out = NULL;
	c->waiting = false;
}

/* --- replies ------------------------------------------------------------- */

/* Send what fits. Returns false if the client has gone. */
static bool
send_some(struct control_client *c)
{
	_Alignas(struct cmsghdr) char control[SCM_SPACE(1)];
	struct iovec iov = {
		.iov_base = c->out + c->out_sent,
		.iov_len = c->out_len - c->out_sent,
	};
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (c->out_fd >= 0)
		scm_attach(&mh, control, &c->out_fd, 1);
	n = sendmsg(c->fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->out_fd = -1;
	c->out_sent += (size_t)n;
	return true;
}

/* Another request may be here already. */
static void
go_on(struct control_client *c)
{
	if (c->in_len != 0)
		event_active(&c->readable, EV_READ, 0);
}

static void
writable_ready(evutil_socket_t fd, short what, void *arg)
{
	struct control_client *c = arg;

	(void)fd;
	(void)what;
	if (!send_some(c)) {
		leave(c);
		return;
	}
	if (c->out_sent < c->out_len)
		return;
	free(c->out);
	c->out = NULL;
	(void)event_del(&c->writable);
	(void)event_add(&c->readable, NULL);
	go_on(c);
}

void
control_reply(
    struct control *control, struct control_client *c, json_t *reply, int fd)
{
	char *text = reply != NULL ? json_dumps(reply, JSON_COMPACT) : NULL;
	size_t len = text != NULL ? strlen(text) : 0;

	(void)control;
	json_decref(reply);
	c->waiting = false;
	if (text == NULL) {
		leave(c);
		return;
	}
	/* The NUL becomes the newline. */
	text[len] = '\n';
	c->out = text;
	c->out_len = len + 1;
	c->out_sent = 0;
	c->out_fd = fd;
	if (!send_some(c)) {
		leave(c);
		return;
	}
	/* A descriptor goes with the first byte or not at all. */
	if (c->out_fd >= 0) {
		log_warn("control: a descriptor cannot be sent: its receiver "
			 "does not read");
		leave(c);
		return;
	}
	if (c->out_sent < c->out_len) {
		(void)event_del(&c->readable);
		(void)event_add(&c->writable, NULL);
		return;
	}
	free(c->out);
	c->out = NULL;
	go_on(c);
}

void
control_refuse(
    struct control *control, struct control_client *client, const char *error)
{
	control_reply(control, client,
	    json_pack("{s:b, s:s}", "ok", 0, "error", error), -1);
}

/* --- requests ------------------------------------------------------------ */

static void
take_line(struct control *control, struct control_client *c, size_t len)
{
	json_error_t error;
	json_t *request =
	    json_loadb(c->in, len, JSON_REJECT_DUPLICATES, &error);

	memmove(c->in, c->in + len + 1, c->in_len - len - 1);
	c->in_len -= len + 1;
	c->waiting = true;
	if (!json_is_object(request))
		control_refuse(control, c,
		    request == NULL ? error.text : "a request is an object");
	else
		control->handle(control->ctx, c, request);
	json_decref(request);
}

/* One request at a time: the next waits until this one has its reply. */
static void
next_request(struct control *control, struct control_client *c)
{
	const char *end;

	while (c->fd >= 0 && !c->waiting && c->out == NULL &&
	       (end = memchr(c->in, '\n', c->in_len)) != NULL)
		take_line(control, c, (size_t)(end - c->in));
	if (c->fd >= 0 && c->in_len == sizeof(c->in) && !c->waiting &&
	    c->out == NULL) {
		log_warn("control: a request of more than %u bytes",
		    CONTROL_LINE_MAX);
		leave(c);
	}
}

static void
readable_ready(evutil_socket_t fd, short what, void *arg)
{
	struct control *control = arg;
	struct control_client *c = control->clients;
	struct iovec iov;
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	(void)what;
	while (c->fd != fd)
		c++;
	iov.iov_base = c->in + c->in_len;
	iov.iov_len = sizeof(c->in) - c->in_len;
	/* Full while a reply is being made: it asks for too much at once. */
	if (iov.iov_len == 0 && c->waiting) {
		leave(c);
		return;
	}
	/* Without room for descriptors the kernel closes what comes. */
	peerfd_begin();
	n = iov.iov_len == 0
		? -EAGAIN
		: recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	peerfd_end();
	if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR)) {
		leave(c);
		return;
	}
	if (n > 0)
		c->in_len += (size_t)n;
	next_request(control, c);
}

/* --- clients ------------------------------------------------------------- */

static bool
may_use(struct control *control, int fd)
{
	struct ucred peer = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(peer);

	/* Those of its group have got here by the socket's mode. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	if (peer.uid == 0 || peer.uid == control->owner ||
	    control->gid != (gid_t)-1)
		return true;
	/* A flood makes one line a second. */
	if (loop_now() / 1000 != control->refused_second)
		log_warn("control: pid %d, uid %u was refused", (int)peer.pid,
		    peer.uid);
	control->refused_second = loop_now() / 1000;
	return false;
}

static void
door_ready(evutil_socket_t listening, short what, void *arg)
{
	struct control *control = arg;
	struct control_client *c = control->clients;
	AUTO_DISCARD int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);

	(void)what;
	if (fd < 0 && errno != EAGAIN && errno != EINTR &&
	    errno != ECONNABORTED) {
		/* It still waits, and descriptors have run out. */
		log_error("control: accept: %s", strerror(errno));
		(void)event_del(&control->door_ready);
		(void)event_add(&control->door_again, &rest);
	}
	if (fd < 0 || !may_use(control, fd))
		return;
	while (c < control->clients + CONTROL_CLIENTS_MAX && c->fd >= 0)
		c++;
	if (c == control->clients + CONTROL_CLIENTS_MAX) {
		log_warn("control: %u are connected, and no more may be",
		    CONTROL_CLIENTS_MAX);
		return;
	}
	c->fd = fd_steal(&fd);
	c->waiting = false;
	c->in_len = 0;
	c->out_fd = -1;
	(void)event_assign(&c->readable, control->base, c->fd,
	    EV_READ | EV_PERSIST, readable_ready, control);
	(void)event_assign(&c->writable, control->base, c->fd,
	    EV_WRITE | EV_PERSIST, writable_ready, c);
	if (event_add(&c->readable, NULL) < 0)
		leave(c);
}

static void
door_again(evutil_socket_t fd, short what, void *arg)
{
	struct control *control = arg;

	(void)fd;
	(void)what;
	(void)event_add(&control->door_ready, NULL);
}

static void
close_door(struct control *control)
{
	if (control->door < 0)
		return;
	(void)event_del(&control->door_again);
	(void)event_del(&control->door_ready);
	fd_closep(&control->door);
}

void
control_init(struct control *control, struct event_base *base, uid_t owner,
    control_handle *handle, void *ctx)
{
	control->base = base;
	control->owner = owner;
	control->handle = handle;
	control->ctx = ctx;
	control->door = -1;
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		control->clients[i].fd = -1;
	json_object_seed(0);
}

void
control_open(struct control *control, int door, gid_t gid)
{
	close_door(control);
	control->door = door;
	control->gid = gid;
	if (door < 0)
		return;
	(void)event_assign(&control->door_ready, control->base, door,
	    EV_READ | EV_PERSIST, door_ready, control);
	(void)event_assign(
	    &control->door_again, control->base, -1, 0, door_again, control);
	if (event_add(&control->door_ready, NULL) < 0)
		close_door(control);
}

void
control_close(struct control *control)
{
	if (control->base == NULL)
		return;
	close_door(control);
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		leave(&control->clients[i]);
}
