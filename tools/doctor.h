/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What "doctor" finds: a check looks at one thing of this host and tells it by
 * doctor_say(), once or, of several alike, more often.
 */
#ifndef DOCTOR_H
#define DOCTOR_H

#include "tools/ctl.h"

enum finding {
	FINDING_OK,
	FINDING_WARN, /* it works, and something is less good than it could */
	FINDING_FAIL  /* vhost-shmemd, or what needs it, does not work */
};

struct doctor;

/* advice is what to do, or NULL if there is nothing. format is the finding. */
void doctor_say(struct doctor *d, enum finding finding, const char *what,
    const char *advice, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* All checks of the host itself, in their order. */
void doctor_check_host(struct doctor *d);

#endif
