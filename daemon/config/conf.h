/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Configuration files: the main one, and then those of the directory conf.d
 * beside it whose names end with .conf, in the order of their names. Sections
 * of all files are one set, and so are the keys outside of sections. The
 * language is libconfuse's, as far as conf_text.h lets it through.
 *
 * May be called as often as one likes, prints nothing and ends no process: a
 * reload has the old settings as long as the new ones are not good.
 */
#ifndef CONF_H
#define CONF_H

#include "daemon/config/settings.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * Read settings->config and what belongs to it into the settings, which come
 * from settings_init() or settings_init_again(): what those have from the
 * command line stays. Then settings_check(). All mistakes are told, those of
 * the whole only if every file could be read to its end. Returns true if there
 * is none; the caller frees the settings in any case.
 *
 * Files are regular, at most 1 MiB; root takes none that somebody else could
 * have written: owned by root, not writable by group or others, nor is conf.d.
 */
bool conf_load(struct settings *settings, settings_complain *complain,
    void *ctx) __attribute__((warn_unused_result));

/*
 * Read the len bytes of one file, called name in messages; text is changed, and
 * has room for one byte more. Without settings_check(). Returns false if the
 * rest of it was not understood; *wrong becomes true with each mistake.
 */
bool conf_read_text(struct settings *settings, const char *name, char *text,
    size_t len, settings_complain *complain, void *ctx, bool *wrong)
    __attribute__((warn_unused_result));

#endif
