/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The command line, after QEMU's "Backend program conventions"
 * (docs/interop/vhost-user.rst), checked whole before anything is made. It says
 * itself what is to be served, one device, or names a file that does (conf.h).
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "daemon/config/settings.h"

enum options_todo { OPTIONS_RUN, OPTIONS_EXIT_OK, OPTIONS_EXIT_USAGE };

/*
 * Read the command line, and the configuration if there is one, and check all
 * of it. Prints --help, --check-config and the like itself, and says on
 * standard error what is wrong and what would be right. Sets the log's level.
 * The settings refer to the activation from then on.
 * The caller frees the settings, whatever comes of it.
 */
enum options_todo options_parse(struct settings *settings,
    struct activation *activation, int argc, char **argv);

#endif
