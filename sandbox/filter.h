/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The seccomp filters: lists of the system calls that each process may make.
 * What is in no list kills. The lists are the .def files of this folder, a line
 * for each rule:
 *
 *   ALLOW(call, caller, reason, argument rules ...)
 *   DENY(call, error, caller, reason, argument rules ...)
 *   ALLOW_ON(CPUs, ...), DENY_ON(CPUs, ...)
 *
 * CPUs differ in the calls that they have, and in how C libraries use them. A
 * line whose call a CPU lacks means nothing there, and most need no more than
 * that. The other two forms are for calls that are there, but are not used so,
 * or cannot be looked at. tests/seccomp/ has what becomes of the lists on each
 * CPU.
 *
 * Several lines for one call are alternatives. DENY lets a call fail with an
 * error where a library tries it and can go on without. Argument rules look at
 * numbers: what is behind a pointer may change after it was looked at.
 *
 *   EQ(n, value)            argument n, from 0, is value
 *   LE(n, value)            is value at most
 *   MASKED(n, mask, value)  has these bits under the mask
 */
#ifndef FILTER_H
#define FILTER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <seccomp.h>

enum filter_id {
	FILTER_SUPERVISOR, /* supervisor.def */
	FILTER_SPAWNER,	   /* spawner.def, and all that workers may do */
	FILTER_WORKER,	   /* worker.def */
	FILTER_FLUSHER,	   /* flusher.def */
	FILTERS
};

#define FILTER_ARGS_MAX 3U

/* The CPUs of a line: bits. */
#define ON_32 1U       /* those of 32 bits */
#define ON_PLAIN_64 2U /* of 64 bits, but for the next */
#define ON_S390X 4U    /* where the arguments of mmap are behind a pointer */
#define ON_64 (ON_PLAIN_64 | ON_S390X)
#define ON_ALL (ON_32 | ON_64)
#define NOT_S390X (ON_ALL & ~ON_S390X)
/* Where C libraries use it, and not on armhf, which has no such call. */
#define ON_SOCKETCALL (ON_32 | ON_S390X)

struct filter_rule {
	const char *call;
	int nr;	   /* its number here, or libseccomp's in its place */
	int error; /* 0: allowed */
	const char *error_name; /* or "" */
	const char *caller, *reason;
	unsigned cpus; /* ON_ bits */
	unsigned nargs;
	struct scmp_arg_cmp args[FILTER_ARGS_MAX];
};

/* The rules of a filter; how many goes to *n. */
const struct filter_rule *filter_rules(enum filter_id id, unsigned *n);

/* How many of them mean anything on this CPU: those that are loaded. */
unsigned filter_count(enum filter_id id);

/* Whether a rule is for CPUs of this kind, one of libseccomp's SCMP_ARCH_. Its
 * call may be missing there all the same. */
bool filter_applies(const struct filter_rule *rule, uint32_t arch);

/*
 * A filter that kills for every call, on the CPU that we run on, and for all
 * calls in the way of other CPUs. Returns NULL if there is no memory.
 */
scmp_filter_ctx filter_new(void);

/* Add one rule to a filter. Returns 0 or a negative errno. */
int filter_add(scmp_filter_ctx filter, const struct filter_rule *rule)
    __attribute__((warn_unused_result));

/*
 * Make the filter this process's own, for ever. no_new_privs has to be set.
 * Returns 0 or a negative errno.
 */
int filter_load(enum filter_id id) __attribute__((warn_unused_result));

/* Print all filters, with the reasons and, before each, how much it has. */
void filter_print(FILE *out);

#endif
