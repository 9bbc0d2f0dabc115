/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The layers of layers.h, one function each. Inside of sandbox/ only: others
 * call sandbox_enter(). Each returns 0 or a negative errno.
 */
#ifndef ISOLATE_H
#define ISOLATE_H

#include <stdbool.h>

/*
 * A user namespace that knows uid and gid of this process and nobody else, and
 * all capabilities in it: with them an ordinary user can make the other
 * namespaces.
 */
int isolate_for_ordinary_user(void);
/* flag is one of CLONE_NEW*. */
int isolate_namespace(int flag) __attribute__((warn_unused_result));
int isolate_root(void) __attribute__((warn_unused_result));
/*
 * No file, port or socket of others, and no signal to them unless signals.
 * After no_new_privs.
 */
int isolate_landlock(bool signals) __attribute__((warn_unused_result));

#endif
