/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the service manager is told; see manager.h. */
#include "config.h"

#include "daemon/supervisor/manager.h"

#include "daemon/common/log.h"
#include "proto/fd.h"
#include "proto/scm.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define USEC 1000000U
/* Of one message. */
#define TEXT_MAX 512U

static const struct timeval soon = { .tv_usec = 500000 };

/* --- start --------------------------------------------------------------- */

static int
connect_to(const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = strlen(name);
	AUTO_FD int fd = -1;

	/* An abstract one has no NUL at its end. */
	if ((*name != '/' && *name != '@') || len < 2 ||
	    len >= sizeof(addr.sun_path))
		return -EINVAL;
	memcpy(addr.sun_path, name, len);
	if (*name == '@')
		addr.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    connect(fd, (const struct sockaddr *)&addr,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		return -errno;
	return fd_steal(&fd);
}

/* How often we have to say that we are alive; 0: nobody asks. */
static uint64_t
watchdog_of(const char *usec, const char *pid)
{
	if (usec == NULL ||
	    (pid != NULL && strtoul(pid, NULL, 10) != (unsigned long)getpid()))
		return 0;
	return strtoull(usec, NULL, 10);
}

int
manager_open(struct manager *m)
{
	const char *name = getenv("NOTIFY_SOCKET");

	memset(m, 0, sizeof(*m));
	m->sock = -1;
	if (name != NULL) {
		m->sock = connect_to(name);
		if (m->sock < 0) {
			log_error(
			    "NOTIFY_SOCKET=%s: %s", name, strerror(-m->sock));
			return m->sock;
		}
		m->watchdog = watchdog_of(
		    getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"));
	}
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
	return 0;
}

/* --- messages ------------------------------------------------------------ */

/* text has less than TEXT_MAX bytes. Returns 0; -EAGAIN if there is no room,
 * and then there will be a try when there is; or another negative errno: nobody
 * hears us any more. */
static int
tell(struct manager *m, const char *text, int fd)
{
	_Alignas(struct cmsghdr) char control[SCM_SPACE(1)];
	char copy[TEXT_MAX]; /* an iovec takes no const */
	struct iovec iov = { .iov_base = copy, .iov_len = strlen(text) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	int rc;

	if (m->sock < 0)
		return -ENOTCONN;
	memcpy(copy, text, iov.iov_len);
	if (fd >= 0)
		scm_attach(&mh, control, &fd, 1);
	do
		rc = sendmsg(m->sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) < 0
			 ? -errno
			 : 0;
	while (rc == -EINTR);
	if (rc == 0)
		return 0;
	if (rc == -EAGAIN) {
		(void)event_add(&m->writable, NULL);
		return -EAGAIN;
	}
	/* ETOOMANYREFS: it has not received the descriptors before these. */
	if (rc == -ENOBUFS || rc == -ETOOMANYREFS) {
		(void)event_add(&m->changed, &soon);
		return -EAGAIN;
	}
	log_error("the service manager cannot be told anything any more: %s",
	    strerror(-rc));
	manager_close(m);
	return rc;
}

static int
tell_name(struct manager *m, const char *what, const char *name, int fd)
{
	char text[TEXT_MAX];

	(void)snprintf(text, sizeof(text), "%s\nFDNAME=%s", what, name);
	return tell(m, text, fd);
}

bool
manager_forget(struct manager *m, struct region *r)
{
	if (!r->kept_outside)
		return true;
	r->kept_outside =
	    tell_name(m, "FDSTOREREMOVE=1", r->info.kept_name, -1) == -EAGAIN;
	return !r->kept_outside;
}

/* What was handed over and not taken back. */
static int
drop_unused(struct manager *m)
{
	int rc = 0;

	for (unsigned i = 0;
	     m->activation != NULL && i < m->activation->n && rc == 0; i++) {
		struct handed *h = &m->activation->list[i];
		struct region *r = m->served->regions;

		if (!h->memory || h->known)
			continue;
		while (
		    r != NULL && (!r->kept_outside ||
				     strcmp(r->info.kept_name, h->name) != 0))
			r = r->next;
		if (r == NULL)
			rc = tell_name(m, "FDSTOREREMOVE=1", h->name, -1);
		h->known = rc == 0;
	}
	return rc;
}

/* What is erased when its last front-end leaves is not kept: all of them leave
 * with us. */
static bool
is_kept(const struct region *r)
{
	return !r->retired && r->info.kept_name[0] != '\0' &&
	       r->info.release == RELEASE_KEEP;
}

static int
tell_regions(struct manager *m)
{
	struct region *r;
	int rc = drop_unused(m);

	/* First, for another may have come by the same name. */
	for (r = m->served->regions; r != NULL && rc == 0; r = r->next)
		if (!is_kept(r) && !manager_forget(m, r))
			rc = -EAGAIN;
	for (r = m->served->regions; r != NULL && rc == 0; r = r->next)
		if (is_kept(r) && !r->kept_outside) {
			rc = tell_name(
			    m, "FDSTORE=1\nFDPOLL=0", r->info.kept_name, r->fd);
			r->kept_outside = rc == 0;
		}
	return rc;
}

static int
tell_status(struct manager *m)
{
	unsigned devices = 0, regions = 0, conns;
	char text[TEXT_MAX];

	for (struct device *d = m->served->devices; d != NULL; d = d->next)
		devices += !d->retired;
	for (struct region *r = m->served->regions; r != NULL; r = r->next)
		regions += !r->retired;
	conns = crew_count(m->crew, WORKER_SERVING);
	if (m->trouble[0] != '\0')
		(void)snprintf(text, sizeof(text), "STATUS=%s", m->trouble);
	else
		(void)snprintf(text, sizeof(text),
		    "STATUS=%u device%s, %u region%s, %u front-end%s connected",
		    devices, devices == 1 ? "" : "s", regions,
		    regions == 1 ? "" : "s", conns, conns == 1 ? "" : "s");
	return tell(m, text, -1);
}

static int
tell_reloading(struct manager *m)
{
	struct timespec now;
	char text[TEXT_MAX];

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	(void)snprintf(text, sizeof(text),
	    "RELOADING=1\nMONOTONIC_USEC=%" PRIu64
	    "\nSTATUS=Reading the configuration anew",
	    (uint64_t)now.tv_sec * USEC + (uint64_t)now.tv_nsec / 1000);
	return tell(m, text, -1);
}

/* All that there is to tell, as far as there is room: READY says that memory is
 * safe, too. */
static void
tell_all(struct manager *m)
{
	int rc = 0;

	if (m->sock < 0)
		return;
	if (m->reloading)
		rc = tell_reloading(m);
	m->reloading = m->reloading && rc != 0;
	if (rc == 0 && m->served->generation != 0)
		rc = tell_regions(m);
	if (rc == 0 && m->ready)
		rc = tell(m, "READY=1", -1);
	m->ready = m->ready && rc != 0;
	if (rc == 0 && m->stopping)
		rc = tell(m, "STOPPING=1\nSTATUS=Ending", -1);
	if (rc == 0 && m->status && !m->stopping)
		rc = tell_status(m);
	m->stopping = m->stopping && rc != 0;
	m->status = m->status && rc != 0;
}

/* --- events -------------------------------------------------------------- */

static void
tell_ready(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tell_all(arg);
}

static void
alive_ready(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)!tell(arg, "WATCHDOG=1", -1);
}

void
manager_init(struct manager *m, struct event_base *base, struct served *served,
    const struct crew *crew, struct activation *activation)
{
	/* Twice in the time that there is. */
	const struct timeval period = {
		.tv_sec = (time_t)(m->watchdog / 2 / USEC),
		.tv_usec = (suseconds_t)(m->watchdog / 2 % USEC),
	};

	m->served = served;
	m->crew = crew;
	m->activation = activation;
	if (m->sock < 0)
		return;
	(void)event_assign(
	    &m->writable, base, m->sock, EV_WRITE, tell_ready, m);
	(void)event_assign(&m->changed, base, -1, 0, tell_ready, m);
	(void)event_assign(&m->alive, base, -1, EV_PERSIST, alive_ready, m);
	if (m->watchdog != 0)
		(void)event_add(&m->alive, &period);
}

void
manager_ready(struct manager *m)
{
	/* Who waits for a first configuration may wait in vain. */
	m->ready = m->served->generation != 0;
	m->status = true;
	tell_all(m);
}

void
manager_reloading(struct manager *m)
{
	m->reloading = true;
	tell_all(m);
}

void
manager_stopping(struct manager *m)
{
	m->stopping = true;
	tell_all(m);
}

void
manager_changed(struct manager *m)
{
	if (m->sock < 0)
		return;
	m->status = true;
	if (!event_pending(&m->changed, EV_TIMEOUT, NULL))
		(void)event_add(&m->changed, &soon);
}

void
manager_trouble(struct manager *m, const char *text)
{
	(void)snprintf(m->trouble, sizeof(m->trouble), "%s", text);
	/* It may have names of files, and each line is an assignment. */
	log_escape(m->trouble);
	manager_changed(m);
}

void
manager_close(struct manager *m)
{
	if (m->sock < 0)
		return;
	if (m->served != NULL) {
		(void)event_del(&m->writable);
		(void)event_del(&m->changed);
		(void)event_del(&m->alive);
	}
	fd_closep(&m->sock);
}
