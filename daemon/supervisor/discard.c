/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Closing sockets that strangers can send to; see discard.h. */
#include "config.h"

#include "daemon/supervisor/discard.h"

#include "daemon/common/peerfd.h"
#include "daemon/common/rights.h"
#include "proto/fd.h"

void
discard(int *fd)
{
	if (*fd >= 0 && rights_blocked(*fd))
		fd_closep(fd);
	else
		peerfd_closep(fd);
}
