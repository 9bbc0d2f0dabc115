/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Seccomp filters; see filter.h. */
#include "config.h"

#include "sandbox/filter.h"

#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/net.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

/* --- the lists ----------------------------------------------------------- */

/* NOLINTBEGIN(bugprone-macro-parentheses): parts of initializers */
#define EQ(n, value)                                                           \
	{                                                                      \
		n, SCMP_CMP_EQ, (scmp_datum_t)(value), 0                       \
	}
#define LE(n, value)                                                           \
	{                                                                      \
		n, SCMP_CMP_LE, (scmp_datum_t)(value), 0                       \
	}
#define MASKED(n, mask, value)                                                 \
	{                                                                      \
		n, SCMP_CMP_MASKED_EQ, (scmp_datum_t)(mask),                   \
		    (scmp_datum_t)(value)                                      \
	}
#define RULE(on, name, errno_, errno_name, by, why, ...)                       \
	{                                                                      \
		.call = #name,                                                 \
		.cpus = on,                                                    \
		.nr = SCMP_SYS(name),                                          \
		.error = errno_,                                               \
		.error_name = errno_name,                                      \
		.caller = by,                                                  \
		.reason = why,                                                 \
		.nargs = sizeof((struct scmp_arg_cmp[]){ __VA_ARGS__ }) /      \
			 sizeof(struct scmp_arg_cmp),                          \
		.args = { __VA_ARGS__ },                                       \
	},
/* NOLINTEND(bugprone-macro-parentheses) */
#define ALLOW_ON(on, name, caller, reason, ...)                                \
	RULE(on, name, 0, "", caller, reason, __VA_ARGS__)
#define ALLOW(name, ...) ALLOW_ON(ON_ALL, name, __VA_ARGS__)
#ifdef SHMEMD_INSTRUMENTED /* instrumented programs take memory */
#define DENY_ON(on, name, error, caller, reason, ...)
#define DENY(name, error, caller, reason, ...)
#else
#define DENY_ON(on, name, error, caller, reason, ...)                          \
	RULE(on, name, error, #error, caller, reason, __VA_ARGS__)
#define DENY(name, error, caller, reason, ...)                                 \
	RULE(ON_ALL, name, error, #error, caller, reason, __VA_ARGS__)
#endif

/* Linux 6.16; the same on all of these CPUs. */
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

/* What fcntl() makes of O_NONBLOCK: musl sets one flag more. */
#ifdef __GLIBC__
#define NONBLOCK O_NONBLOCK
#else
#define NONBLOCK (O_NONBLOCK | O_LARGEFILE)
#endif

/* Not in every C library's headers. */
#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x8
#endif

static const struct filter_rule supervisor_rules[] = {
#include "sandbox/supervisor.def"
#ifdef SHMEMD_INSTRUMENTED
#include "sandbox/instrumented.def"
#endif
};

static const struct filter_rule worker_rules[] = {
#include "sandbox/worker.def"
#ifdef SHMEMD_INSTRUMENTED
#include "sandbox/instrumented.def"
#endif
};

static const struct filter_rule flusher_rules[] = {
#include "sandbox/flusher.def"
#ifdef SHMEMD_INSTRUMENTED
#include "sandbox/instrumented.def"
#endif
};

/* Filters add up, and the stricter answer counts: the one that a worker
 * inherits has to allow what its own allows, and what its own denies, if it
 * does not allow that. */
static const struct filter_rule spawner_rules[] = {
#include "sandbox/spawner.def"
#undef DENY
#undef DENY_ON
#define DENY(name, error, caller, reason, ...)
#define DENY_ON(on, name, error, caller, reason, ...)
#include "sandbox/worker.def"
#ifdef SHMEMD_INSTRUMENTED
#include "sandbox/instrumented.def"
#endif
};

#define LIST(list)                                                             \
	{                                                                      \
		list, sizeof(list) / sizeof((list)[0])                         \
	}
static const struct {
	const struct filter_rule *rules;
	unsigned n;
} lists[FILTERS] = {
	[FILTER_SUPERVISOR] = LIST(supervisor_rules),
	[FILTER_SPAWNER] = LIST(spawner_rules),
	[FILTER_WORKER] = LIST(worker_rules),
	[FILTER_FLUSHER] = LIST(flusher_rules),
};

const struct filter_rule *
filter_rules(enum filter_id id, unsigned *n)
{
	*n = lists[id].n;
	return lists[id].rules;
}

/* --- a list becomes a filter --------------------------------------------- */

bool
filter_applies(const struct filter_rule *rule, uint32_t arch)
{
	unsigned cpu = arch == SCMP_ARCH_S390X	   ? ON_S390X
		       : arch & __AUDIT_ARCH_64BIT ? ON_PLAIN_64
						   : ON_32;

	return (rule->cpus & cpu) != 0;
}

/* A host's own filter may forbid seccomp(2), too. */
static int
why_no_filter(void)
{
	uint32_t kill = SECCOMP_RET_KILL_PROCESS;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &kill) < 0
		   ? -errno
		   : -ENOMEM;
}

int
filter_add(scmp_filter_ctx filter, const struct filter_rule *rule)
{
	return seccomp_rule_add_array(filter,
	    rule->error == 0 ? SCMP_ACT_ALLOW
			     : SCMP_ACT_ERRNO((unsigned)rule->error),
	    rule->nr, rule->nargs, rule->args);
}

/* Whether a rule means anything on this CPU. */
static bool
is_here(const struct filter_rule *rule)
{
	/* Negative: libseccomp's number of a call that this CPU lacks. */
	return rule->nr >= 0 && filter_applies(rule, seccomp_arch_native());
}

unsigned
filter_count(enum filter_id id)
{
	unsigned n = 0;

	for (unsigned i = 0; i < lists[id].n; i++)
		n += is_here(&lists[id].rules[i]);
	return n;
}

scmp_filter_ctx
filter_new(void)
{
	uint32_t kill = SCMP_ACT_KILL_PROCESS;
	scmp_filter_ctx filter = seccomp_init(kill);

#ifdef SHMEMD_INSTRUMENTED
	if (filter == NULL) {
		/* valgrind knows prctl's filter, which kills by thread. */
		kill = SCMP_ACT_KILL_THREAD;
		filter = seccomp_init(kill);
	}
#endif
	if (filter == NULL)
		return NULL;
	/* A call by another architecture's table is as forbidden as any. And
	 * look for a call's rules by halves, not one by one. */
	if (seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, kill) < 0 ||
	    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) < 0) {
		seccomp_release(filter);
		return NULL;
	}
	return filter;
}

int
filter_load(enum filter_id id)
{
	scmp_filter_ctx filter = filter_new();
	int rc = 0;

	if (filter == NULL)
		return why_no_filter();
	for (unsigned i = 0; rc == 0 && i < lists[id].n; i++)
		if (is_here(&lists[id].rules[i]))
			rc = filter_add(filter, &lists[id].rules[i]);
	if (rc == 0)
		rc = seccomp_load(filter);
	seccomp_release(filter);
	return rc;
}

/* --- for people ---------------------------------------------------------- */

/* "read(arg2 == 8)" */
static void
describe(const struct filter_rule *r, char *text, size_t size)
{
	size_t len = (size_t)snprintf(text, size, "%s(", r->call);

	for (unsigned i = 0; i < r->nargs && len < size; i++) {
		const struct scmp_arg_cmp *a = &r->args[i];
		unsigned long long one = a->datum_a, two = a->datum_b;
		const char *comma = i == 0 ? "" : ", ";

		if (a->op == SCMP_CMP_MASKED_EQ)
			len += (size_t)snprintf(text + len, size - len,
			    "%sarg%u & %#llx == %#llx", comma, a->arg, one,
			    two);
		else
			len += (size_t)snprintf(text + len, size - len,
			    "%sarg%u %s %#llx", comma, a->arg,
			    a->op == SCMP_CMP_LE ? "<=" : "==", one);
	}
	if (len < size)
		(void)snprintf(text + len, size - len, ")");
}

/* Whether an earlier rule allows this call, too. */
static bool
seen(const struct filter_rule *rules, unsigned i)
{
	for (unsigned k = 0; k < i; k++)
		if (is_here(&rules[k]) && rules[k].error == 0 &&
		    rules[k].nr == rules[i].nr)
			return true;
	return false;
}

static void
print_one(FILE *out, enum filter_id id, const char *name)
{
	const struct filter_rule *rules = lists[id].rules;
	unsigned calls = 0, lines = 0, checked = 0, denied = 0;
	char text[120];

	for (unsigned i = 0; i < lists[id].n; i++) {
		if (!is_here(&rules[i]))
			continue;
		if (rules[i].error != 0) {
			denied++;
			continue;
		}
		lines++;
		calls += !seen(rules, i);
		checked += rules[i].nargs != 0;
	}
	(void)fprintf(out,
	    "%s: %u calls allowed by %u rules, %u of them with argument "
	    "rules; %u rules for an error; all else kills\n",
	    name, calls, lines, checked, denied);
	for (unsigned i = 0; i < lists[id].n; i++) {
		if (!is_here(&rules[i]))
			continue;
		describe(&rules[i], text, sizeof(text));
		(void)fprintf(out, "%s%s%s %s: %s\n",
		    rules[i].error == 0 ? "" : rules[i].error_name,
		    rules[i].error == 0 ? "" : " ", text, rules[i].caller,
		    rules[i].reason);
	}
}

void
filter_print(FILE *out)
{
	static const char *const names[FILTERS] = {
		[FILTER_SUPERVISOR] = "supervisor",
		[FILTER_SPAWNER] = "spawner",
		[FILTER_WORKER] = "worker",
		[FILTER_FLUSHER] = "flusher",
	};

	for (unsigned i = 0; i < FILTERS; i++)
		print_one(out, (enum filter_id)i, names[i]);
}
