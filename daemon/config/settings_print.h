/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* --check-config: what would be served, for people. */
#ifndef SETTINGS_PRINT_H
#define SETTINGS_PRINT_H

#include "daemon/config/settings.h"

#include <stdio.h>

/* Write settings that were checked as a configuration file that says them with
 * all that was left out; what has no value is not there. */
void settings_print(const struct settings *settings, FILE *out);

#endif
