/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The seccomp filters: lists of the system calls that each process may make.
 * What is in no list kills. The lists are the .def files of this folder, a line
 * for each rule:
 *
 *   ALLOW(call, caller, reason, argument rules ...)
 *   DENY(call, error, caller, reason, argument rules ...)
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
#include <stdio.h>

#include <seccomp.h>

enum filter_id {
	FILTER_SUPERVISOR, /* supervisor.def */
	FILTER_SPAWNER,	   /* spawner.def, and all that workers may do */
	FILTER_WORKER,	   /* worker.def */
	FILTERS
};

#define FILTER_ARGS_MAX 3U

struct filter_rule {
	const char *call;
	int nr;	   /* its number here, or libseccomp's in its place */
	int error; /* 0: allowed */
	const char *error_name; /* or "" */
	const char *caller, *reason;
	unsigned nargs;
	struct scmp_arg_cmp args[FILTER_ARGS_MAX];
};

/* The rules of a filter; how many goes to *n. */
const struct filter_rule *filter_rules(enum filter_id id, unsigned *n);

/* Add all rules of a filter. Returns 0 or a negative errno. */
int filter_add(scmp_filter_ctx filter, enum filter_id id)
    __attribute__((warn_unused_result));

/*
 * Make the filter this process's own, for ever. no_new_privs has to be set.
 * Returns 0 or a negative errno.
 */
int filter_load(enum filter_id id) __attribute__((warn_unused_result));

/* Print all filters, with the reasons and, before each, how much it has. */
void filter_print(FILE *out);

#endif
