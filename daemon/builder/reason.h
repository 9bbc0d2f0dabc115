/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Why something failed, in words for the operator, beside its negative errno:
 * whoever knows the details writes them down, whoever gives up logs them.
 */
#ifndef REASON_H
#define REASON_H

#define REASON_MAX 512U

struct reason {
	char text[REASON_MAX]; /* cut if it is longer */
};

/* Write down why. Returns rc. */
int reason_set(struct reason *reason, int rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Write down "what: the text of the negative errno rc". Returns rc. */
int reason_errno(struct reason *reason, int rc, const char *what);

#endif
