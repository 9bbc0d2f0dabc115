/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What a reply of the daemon's holds. It may hold anything: what is not there,
 * or is of another type, is said, and the function returns false (or NULL).
 * key is a name, or two of nested objects with a '.' between.
 */
#ifndef REPLY_H
#define REPLY_H

#include "tools/ctl.h"

#include <jansson.h>

/* An integer from 0 to 2^63 - 1. */
bool reply_count(const json_t *object, const char *key, uint64_t *count)
    __attribute__((warn_unused_result));

/* Any finite number, also one written as an integer. */
bool reply_number(const json_t *object, const char *key, double *number)
    __attribute__((warn_unused_result));

bool reply_flag(const json_t *object, const char *key, bool *flag)
    __attribute__((warn_unused_result));

/* The text is the reply's. null is NULL if may_be_null. */
bool reply_text(const json_t *object, const char *key, bool may_be_null,
    const char **text) __attribute__((warn_unused_result));

/* An array of objects, or of texts; the reply's. */
const json_t *reply_objects(const json_t *object, const char *key)
    __attribute__((warn_unused_result));
const json_t *reply_texts(const json_t *object, const char *key)
    __attribute__((warn_unused_result));

/* The object of the array whose key is this text, or NULL: nothing is said. */
const json_t *reply_find(
    const json_t *objects, const char *key, const char *text);

#endif
