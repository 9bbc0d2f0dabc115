/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Text that comes from somebody else, on its way to a terminal, a shell or a
 * person. All of these end the program, with status 1, when there is no memory.
 */
#ifndef TEXT_H
#define TEXT_H

#include "tools/ctl.h"

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

/* A string that is the caller's to free. */
char *text_format(const char *format, ...)
    __attribute__((format(printf, 1, 2), warn_unused_result));

/*
 * text, with what could steer a terminal written as \xNN: control characters,
 * those that turn the direction of writing, and what is not UTF-8. Characters
 * in keep, such as "\n", stay. The caller's to free.
 */
char *text_visible(const char *text, const char *keep)
    __attribute__((warn_unused_result));

/* text as one word of a shell's. The caller's to free. */
char *text_shell(const char *text) __attribute__((warn_unused_result));

/* Bytes in units of 1024: "64M", "1.5G". The caller's to free. */
char *text_size(uint64_t bytes) __attribute__((warn_unused_result));

/* A time as people say it: "12s", "5m 3s", "2d 4h". The caller's to free. */
char *text_age(double seconds) __attribute__((warn_unused_result));

/* How many columns a visible text takes. */
size_t text_width(const char *text);

/* How many bytes of it fit into columns. */
size_t text_cut(const char *text, size_t columns);

/* Say what is wrong, on standard error, made visible; lines of it stay lines.
 * text_error() is false, for whoever gives up. */
void text_say_error(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
#define text_error(...) (text_say_error(__VA_ARGS__), false)

/* Print as JSON, in ASCII, one key a line. */
enum ctl_status text_json(const json_t *what);

/*
 * All that render writes goes to standard output, or nothing if it returns
 * false; it has then said why. what is handed through.
 */
enum ctl_status text_show(
    bool (*render)(FILE *out, const json_t *what), const json_t *what);

/* free() for the cleanup attribute. */
void text_freep(char **text);
#define AUTO_TEXT __attribute__((cleanup(text_freep))) char *

#endif
