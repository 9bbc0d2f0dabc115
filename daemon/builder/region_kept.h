/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The memory of regions that a service manager keeps while the daemon is
 * started again (FDSTORE of sd_notify(3)). Builder only.
 *
 * It has a name, "region.NAME.DIGEST", in which the digest stands for all that
 * makes a region the same (settings_same_region()) and for the image as it was:
 * what was kept under another one is not what the configuration says now.
 */
#ifndef REGION_KEPT_H
#define REGION_KEPT_H

#include "daemon/common/activation.h"
#include "daemon/config/region_source.h"
#include "daemon/config/settings.h"

/* With NUL. */
#define REGION_KEPT_NAME_MAX 96U

/* The name of a region's memory; image is what it was loaded from, all 0 if
 * there is none. */
void region_kept_name(const struct region_settings *spec,
    const struct region_source *image, char name[static REGION_KEPT_NAME_MAX]);

/*
 * Take back what was kept of this region, if it is there and fits: the name,
 * the size, and seals that leave nobody anything to change that must not. What
 * is erased between front-ends is not taken back: they have all left.
 * Returns a descriptor, the caller's; -1 if there is nothing.
 */
int region_kept_take(struct activation *activation,
    const struct region_settings *spec, const struct region_source *image);

/* Say what was not taken back, which is lost, and close all that was kept. */
void region_kept_drop(
    struct activation *activation, const struct settings *settings);

#endif
