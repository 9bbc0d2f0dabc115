/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The log: lines on standard error, written by the supervisor alone. A worker
 * sends its lines as messages (priv.h), which are bounded and escaped here.
 *
 * error: an operator must act; warn: a peer misbehaved and we coped; info:
 * start, stop, connect; debug: each step. Every call keeps errno.
 */
#ifndef LOG_H
#define LOG_H

#include <stdarg.h>
#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_LEVELS };

/* Lines up to this level appear. LOG_INFO until told otherwise. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* The level called name, or -1. */
int log_level_from_name(const char *name);

void log_line(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/* The name of a signal, by which operators know it. */
const char *log_signal(int signo);

/* Replace everything that is not printable ASCII, in place. */
void log_escape(char *text);

#endif
