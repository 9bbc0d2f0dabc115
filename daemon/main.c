/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vhost-shmemd: VIRTIO shared memory regions for virtual machines. */
#include "config.h"

#include "options.h"
#include "supervisor.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

/* Started with standard descriptors closed, a socket would get their numbers
 * and with them what we log. */
static bool
open_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	return fd >= 0 && close(fd) == 0;
}

int
main(int argc, char **argv)
{
	struct settings settings;
	int status = EXIT_FAILURE;

	if (!open_standard_fds() || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return EXIT_FAILURE;
	switch (options_parse(&settings, argc, argv)) {
	case OPTIONS_RUN:
		status = supervisor_run(&settings);
		break;
	case OPTIONS_EXIT_OK:
		status = EXIT_SUCCESS;
		break;
	case OPTIONS_EXIT_USAGE:
		break;
	}
	settings_free(&settings);
	return status;
}
