/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The log; the promises are in log.h. */
#include "config.h"

#include "daemon/common/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const names[LOG_LEVELS] = {
	[LOG_ERROR] = "error",
	[LOG_WARN] = "warn",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

static enum log_level wanted = LOG_INFO;

void
log_set_level(enum log_level level)
{
	wanted = level;
}

enum log_level
log_get_level(void)
{
	return wanted;
}

int
log_level_from_name(const char *name)
{
	for (int i = 0; i < LOG_LEVELS; i++)
		if (strcmp(name, names[i]) == 0)
			return i;
	return -1;
}

void
log_line(enum log_level level, const char *format, ...)
{
	int saved = errno;
	char line[640];
	size_t len;
	va_list ap;

	if (level > wanted)
		return;
	/* One write per line, so that lines of several programs on one
	 * stream do not mix. */
	len = (size_t)snprintf(
	    line, sizeof(line), PACKAGE_NAME ": %s: ", names[level]);
	va_start(ap, format);
	errno = saved;
	(void)vsnprintf(line + len, sizeof(line) - len - 1, format, ap);
	va_end(ap);
	len = strlen(line);
	line[len++] = '\n';
	/* Nobody is left to tell if this fails. */
	if (write(STDERR_FILENO, line, len) < 0)
		errno = saved;
	errno = saved;
}

void
log_escape(char *text)
{
	for (; *text != '\0'; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

const char *
log_signal(int signo)
{
	/* Not sigabbrev_np(): only glibc has it. */
	static const char *const signals[] = {
		[SIGABRT] = "SIGABRT",
		[SIGALRM] = "SIGALRM",
		[SIGBUS] = "SIGBUS",
		[SIGFPE] = "SIGFPE",
		[SIGHUP] = "SIGHUP",
		[SIGILL] = "SIGILL",
		[SIGINT] = "SIGINT",
		[SIGKILL] = "SIGKILL",
		[SIGQUIT] = "SIGQUIT",
		[SIGSEGV] = "SIGSEGV",
		[SIGSYS] = "SIGSYS",
		[SIGTERM] = "SIGTERM",
		[SIGTRAP] = "SIGTRAP",
	};

	if ((size_t)signo < sizeof(signals) / sizeof(signals[0]) &&
	    signals[signo] != NULL)
		return signals[signo];
	return strsignal(signo);
}
