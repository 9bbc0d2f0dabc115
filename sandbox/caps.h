/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Capabilities and what goes with them, by libcap-ng. Inside of sandbox/ only.
 * Each returns 0 or a negative errno.
 */
#ifndef CAPS_H
#define CAPS_H

#include <stdbool.h>

/*
 * Keep these of the capabilities that this process has, n of them, and no
 * other in any set. With by_program those that are left stay over exec, also
 * for an ordinary user, and no other can come back.
 */
int caps_keep(const unsigned *caps, unsigned n, bool by_program)
    __attribute__((warn_unused_result));

/* No capability in any set, and user id 0 means nothing any more, for ever. */
int caps_drop_all(void) __attribute__((warn_unused_result));

/* No more privileges by exec, and closed to ptrace and /proc of its user. */
int caps_no_new(void) __attribute__((warn_unused_result));

#endif
