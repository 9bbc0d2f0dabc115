/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Sizes of regions: how an operator writes them, and which of them work.
 */
#ifndef SIZE_H
#define SIZE_H

#include "daemon/common/device_kind.h"
#include "daemon/common/profile.h"

#include <stdint.h>

#define SIZE_TEXT_MAX 24U

/*
 * Read digits and one of K, M, G, T, in powers of 1024. Returns 0; -EINVAL if
 * text is none, or 0; -ERANGE if it is too large. *size is in bytes.
 */
int size_parse(const char *text, uint64_t *size)
    __attribute__((warn_unused_result));

/* The shortest text that size_parse would read back, into buf. Returns buf. */
const char *size_text(uint64_t size, char buf[static SIZE_TEXT_MAX]);

/* What a region of this kind is a multiple of, bytes: a page or more. */
uint64_t size_align(const struct device_kind *kind);

/* The least size from this one on, and the largest up to it, that works for a
 * device's only region. */
uint64_t size_nearest(const struct device_kind *kind,
    const struct profile *profile, uint64_t size);
uint64_t size_largest(const struct device_kind *kind,
    const struct profile *profile, uint64_t size);

/* Memory and swap of this host, bytes. */
uint64_t size_of_host(void);

#endif
