/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Closing what came from a peer; see peerfd.h. */
#include "config.h"

#include "daemon/common/peerfd.h"

#include "proto/fd.h"

#include <errno.h>
#include <signal.h>
#include <sys/time.h>

/* A close takes some us; one that waits ends after this. */
#define PATIENCE_US 10000

static void
on_alarm(int signo)
{
	(void)signo;
}

int
peerfd_init(void)
{
	struct sigaction action = { .sa_handler =
					on_alarm }; /* no SA_RESTART */

	return sigaction(SIGALRM, &action, NULL) < 0 ? -errno : 0;
}

static void
set_timer(suseconds_t us)
{
	/* Again and again: the first may come before the wait. */
	struct itimerval every = {
		.it_interval.tv_usec = us,
		.it_value.tv_usec = us,
	};
	int saved = errno;

	(void)setitimer(ITIMER_REAL, &every, NULL);
	errno = saved;
}

void
peerfd_begin(void)
{
	set_timer(PATIENCE_US);
}

void
peerfd_end(void)
{
	set_timer(0);
}

void
peerfd_closep(int *fd)
{
	if (*fd < 0)
		return;
	peerfd_begin();
	fd_closep(fd);
	peerfd_end();
}
