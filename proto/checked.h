/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Arithmetic on numbers that a peer has sent. Nothing from the wire or from
 * guest memory is added, multiplied or compared as a range except through
 * these.
 */
#ifndef CHECKED_H
#define CHECKED_H

#include <stdbool.h>
#include <stdint.h>

/* *sum = a + b; false, and *sum undefined, if that wraps. */
static inline bool __attribute__((warn_unused_result))
checked_add(uint64_t a, uint64_t b, uint64_t *sum)
{
	return !__builtin_add_overflow(a, b, sum);
}

/* Whether [offset, offset + len) lies inside [0, size). Never wraps. */
static inline bool
checked_within(uint64_t offset, uint64_t len, uint64_t size)
{
	return offset <= size && len <= size - offset;
}

/*
 * Whether [a, a + alen) and [b, b + blen) share a byte. Both must have been
 * checked not to wrap; an empty range shares nothing.
 */
static inline bool
checked_overlap(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return alen != 0 && blen != 0 && (a < b ? b - a < alen : a - b < blen);
}

static inline bool
checked_power_of_two(uint64_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

#endif
