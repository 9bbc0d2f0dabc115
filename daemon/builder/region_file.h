/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A file that is a region: opened, made or made longer, and locked. */
#ifndef REGION_FILE_H
#define REGION_FILE_H

#include "daemon/builder/reason.h"
#include "daemon/builder/region.h"

#include <stdbool.h>

/*
 * Make the region of spec->file, as regions_make() says. *created: it was not
 * there before. Returns 0; or a negative errno, with why in *reason. What made
 * has got until then is the caller's.
 */
int region_file_make(const struct region_settings *spec,
    struct region_made *made, bool *created, struct reason *reason)
    __attribute__((warn_unused_result));

/* Remove the file that was created, if it is still that one. */
void region_file_remove(
    const struct region_settings *spec, const struct region_made *made);

#endif
