/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vhost-shmemd: VIRTIO shared memory regions for virtual machines. */
#include "config.h"

#include "daemon/common/activation.h"
#include "daemon/config/options.h"
#include "daemon/supervisor/supervisor.h"
#include "proto/fd.h"

#include <signal.h>
#include <stdlib.h>

int
main(int argc, char **argv)
{
	struct activation activation;
	struct settings settings;
	int status = EXIT_FAILURE;

	if (!fd_open_standard() || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return EXIT_FAILURE;
	if (activation_take(&activation) < 0)
		return EXIT_FAILURE;
	switch (options_parse(&settings, &activation, argc, argv)) {
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
	activation_free(&activation);
	return status;
}
