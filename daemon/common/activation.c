/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What a service manager hands over at start; see activation.h. */
#include "config.h"

#include "daemon/common/activation.h"

#include "daemon/common/log.h"
#include "proto/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* By sd_listen_fds(3). */
#define FIRST_FD 3
#define UNNAMED "unknown"
/* More regions and devices there cannot be. */
#define HANDED_MAX 8192U

/* A number in the environment; 0 if it is not there. Returns false if it is
 * something else. */
static bool
read_number(const char *variable, unsigned long *number)
{
	const char *text = getenv(variable);
	char *end;

	*number = 0;
	if (text == NULL)
		return true;
	errno = 0;
	*number = strtoul(text, &end, 10);
	if (*text >= '0' && *text <= '9' && *end == '\0' && errno == 0)
		return true;
	log_error("%s=%s: not a number", variable, text);
	return false;
}

/* Names are behind colons; without as many as descriptors there is none. */
static int
read_names(struct activation *a)
{
	const char *text = getenv("LISTEN_FDNAMES");
	unsigned n = text == NULL ? 0 : 1;
	char *rest;

	for (const char *at = text; n != 0 && *at != '\0'; at++)
		n += *at == ':';
	a->names = rest = text == NULL ? NULL : strdup(text);
	if (text != NULL && rest == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < a->n; i++)
		a->list[i].name = n == a->n ? strsep(&rest, ":") : UNNAMED;
	return 0;
}

static int
refuse(const struct handed *h, const char *why)
{
	log_error("LISTEN_FDS: descriptor %d, called \"%s\", %s", h->fd,
	    h->name, why);
	return -EINVAL;
}

static int
look_at(struct handed *h)
{
	int domain = 0, type = 0, listening = 0;
	socklen_t len = sizeof(int);

	if (fcntl(h->fd, F_SETFD, FD_CLOEXEC) < 0)
		return refuse(h, "is not open");
	if (getsockopt(h->fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0) {
		h->memory = fcntl(h->fd, F_GET_SEALS) >= 0;
		return h->memory ? 0
				 : refuse(h, "is neither a socket nor memory");
	}
	(void)getsockopt(h->fd, SOL_SOCKET, SO_TYPE, &type, &len);
	(void)getsockopt(h->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len);
	if (domain != AF_UNIX || type != SOCK_STREAM)
		return refuse(h, "is not a UNIX stream socket (ListenStream= "
				 "with a path)");
	if (!listening)
		return refuse(h, "does not listen (Accept= has to be no)");
	return 0;
}

static int
check(const struct activation *a)
{
	for (unsigned i = 0; i < a->n; i++) {
		struct handed *h = &a->list[i];
		int rc = look_at(h);

		if (rc < 0)
			return rc;
		if (!h->memory && activation_socket(a, h->name) != h)
			return refuse(h, "is the second socket of that name "
					 "(FileDescriptorName=)");
	}
	return 0;
}

static int
take(struct activation *a)
{
	unsigned long pid, n;
	int rc;

	if (!read_number("LISTEN_PID", &pid) || !read_number("LISTEN_FDS", &n))
		return -EINVAL;
	if (n == 0 || pid != (unsigned long)getpid())
		return 0;
	if (n > HANDED_MAX) {
		log_error("LISTEN_FDS=%lu: more than %u", n, HANDED_MAX);
		return -EINVAL;
	}
	a->list = calloc(n, sizeof(*a->list));
	if (a->list == NULL)
		return -ENOMEM;
	a->n = (unsigned)n;
	for (unsigned i = 0; i < a->n; i++)
		a->list[i].fd = FIRST_FD + (int)i;
	rc = read_names(a);
	return rc == 0 ? check(a) : rc;
}

int
activation_take(struct activation *a)
{
	int rc;

	memset(a, 0, sizeof(*a));
	rc = take(a);
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_FDNAMES");
	if (rc < 0)
		activation_free(a);
	return rc;
}

struct handed *
activation_socket(const struct activation *a, const char *name)
{
	for (unsigned i = 0; i < a->n; i++)
		if (!a->list[i].memory && strcmp(a->list[i].name, name) == 0)
			return &a->list[i];
	return NULL;
}

struct handed *
activation_only_socket(const struct activation *a)
{
	struct handed *only = NULL;

	for (unsigned i = 0; i < a->n; i++) {
		struct handed *h = &a->list[i];

		if (h->memory || strcmp(h->name, ACTIVATION_CONTROL) == 0)
			continue;
		if (only != NULL)
			return NULL;
		only = h;
	}
	return only;
}

void
activation_close(struct activation *a)
{
	for (unsigned i = 0; i < a->n; i++)
		fd_closep(&a->list[i].fd);
}

void
activation_free(struct activation *a)
{
	activation_close(a);
	free(a->list);
	free(a->names);
	memset(a, 0, sizeof(*a));
}
