/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Descriptors in the way of a socket; see rights.h. */
#include "config.h"

#include "daemon/common/rights.h"

#include <sys/socket.h>

/* The same on all CPUs that seccomp's lists are made for. */
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

static void
set(int sock, int value)
{
	(void)setsockopt(
	    sock, SOL_SOCKET, SO_PASSRIGHTS, &value, sizeof(value));
}

void
rights_block(int sock)
{
	set(sock, 0);
}

void
rights_pass(int sock)
{
	set(sock, 1);
}

bool
rights_blocked(int sock)
{
	int value = 1;
	socklen_t len = sizeof(value);

	return getsockopt(sock, SOL_SOCKET, SO_PASSRIGHTS, &value, &len) == 0 &&
	       value == 0;
}
