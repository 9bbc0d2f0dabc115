/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vhost-shmemd-worker: started by vhost-shmemd, of no use by itself. */
#include "config.h"

#include "daemon/common/limits.h"
#include "daemon/common/priv.h"
#include "daemon/worker/worker.h"

#include <stdio.h>
#include <sys/socket.h>

#ifdef SHMEMD_INSTRUMENTED
/* The environment is empty, so a sanitizer's options stand here. To look for
 * leaks it would make a thread, which the filter forbids: valgrind does. */
const char *__asan_default_options(void);
const char *
__asan_default_options(void)
{
	return "detect_leaks=0:abort_on_error=1";
}
#endif

int
main(void)
{
	int type = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(PRIV_WORKER_FD, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    type != SOCK_SEQPACKET) {
		(void)fputs("vhost-shmemd-worker: started by vhost-shmemd for "
			    "each front-end, not by hand\n",
		    stderr);
		return WORKER_EXIT_SETUP;
	}
	worker_run();
}
