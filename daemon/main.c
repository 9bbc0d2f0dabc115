/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vhost-shmemd: VIRTIO shared memory regions for virtual machines. */
#include "config.h"

#include "options.h"
#include "supervisor.h"

#include <signal.h>
#include <stdlib.h>

int
main(int argc, char **argv)
{
	static struct options options;

	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return EXIT_FAILURE;
	switch (options_parse(&options, argc, argv)) {
	case OPTIONS_RUN:
		return supervisor_run(&options);
	case OPTIONS_EXIT_OK:
		return EXIT_SUCCESS;
	case OPTIONS_EXIT_USAGE:
		break;
	}
	return EXIT_FAILURE;
}
