/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What stands between a configuration file's bytes and libconfuse, which reads
 * them in a language that is larger than ours and, in version 3.3, survives
 * less than every file: its scanner stays inside of a string or comment that
 * does not end, also for the next file; it calls itself for each brace of a
 * section that it does not know; it counts two lines for each comment.
 *
 * Ours: words, strings in double quotes, "=", "," and braces; comments from "#"
 * to the end of the line. Whatever is not a letter, a digit or one of
 * "-_./:@%~" stands in double quotes, where a backslash comes before a quote or
 * backslash. There are no variables (${}), single quotes, functions, includes,
 * "+=", "//" or C comments.
 */
#ifndef CONF_TEXT_H
#define CONF_TEXT_H

#include <stddef.h>

#define CONF_TEXT_MAX (1U << 20) /* bytes of a file */
#define CONF_DEPTH_MAX 4U	 /* braces in braces; a list in an shm: 3 */
#define CONF_WHY_MAX 128U

/*
 * Check the len bytes of text, behind which is room for a NUL, and put spaces
 * in the place of comments. Returns 0, and text is one for libconfuse; or the
 * line in which it is not, and why is set.
 */
unsigned conf_text_clean(char *text, size_t len, char why[static CONF_WHY_MAX])
    __attribute__((warn_unused_result));

#endif
