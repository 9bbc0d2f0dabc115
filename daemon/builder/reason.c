/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Why something failed; see reason.h. */
#include "config.h"

#include "daemon/builder/reason.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int
reason_set(struct reason *reason, int rc, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(reason->text, sizeof(reason->text), format, ap);
	va_end(ap);
	return rc;
}

int
reason_errno(struct reason *reason, int rc, const char *what)
{
	return reason_set(reason, rc, "%s: %s", what, strerror(-rc));
}
