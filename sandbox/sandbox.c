/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Confinement of a worker; the theory of operation is in sandbox.h. */
#include "config.h"

#include "sandbox.h"

#include "isolate.h"
#include "layers.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

int
sandbox_close_fds(int first)
{
	if (close_range((unsigned)first, ~0U, 0) < 0)
		return -errno;
	return 0;
}

/* --- session ------------------------------------------------------------- */

static int
enter_session(const struct sandbox_policy *policy)
{
	(void)policy;
	/* EPERM: the supervisor's child leads a process group already. */
	if (setsid() < 0 && errno != EPERM)
		return -errno;
	/* No directory of the host's is held by our standing in it. */
	return chdir("/") < 0 ? -errno : 0;
}

/* --- isolation ----------------------------------------------------------- */

static unsigned missing;
static const char *refused; /* the layer that a strict policy lacks */

unsigned
sandbox_missing(void)
{
	return missing;
}

/* Note what became of a layer. */
static int
layer(const struct sandbox_policy *policy, enum sandbox_layer which, int rc)
{
	if (rc == 0)
		return 0;
	missing |= 1U << which;
	if (!policy->strict)
		return 0;
	refused = sandbox_layer_name(which);
	return rc;
}

static int
enter_isolation(const struct sandbox_policy *policy)
{
	static const struct {
		enum sandbox_layer which;
		int flag;
	} namespaces[] = {
		{ LAYER_NETWORK, CLONE_NEWNET },
		{ LAYER_IPC, CLONE_NEWIPC },
		{ LAYER_UTS, CLONE_NEWUTS },
		{ LAYER_CGROUP, CLONE_NEWCGROUP },
	};
	int rc = 0;

	/* Where this is not permitted the others are not, and say so. */
	if (!policy->change_ids)
		(void)isolate_user();
	for (unsigned i = 0;
	     rc == 0 && i < sizeof(namespaces) / sizeof(namespaces[0]); i++)
		rc = layer(policy, namespaces[i].which,
		    isolate_namespace(namespaces[i].flag));
	if (rc == 0)
		rc = layer(policy, LAYER_ROOT, isolate_root());
	return rc;
}

static int
enter_landlock(const struct sandbox_policy *policy)
{
	return layer(policy, LAYER_LANDLOCK, isolate_landlock());
}

/* --- ids and capabilities ------------------------------------------------ */

static int
enter_ids(const struct sandbox_policy *policy)
{
	capng_clear(CAPNG_SELECT_ALL);
	if (policy->change_ids) {
		/* Locks the securebits, so that user id 0 would mean nothing
		 * if it ever came back. Needs CAP_SETPCAP: do it first. */
		if (capng_lock() != 0)
			return -EPERM;
		if (capng_change_id((int)policy->uid, (int)policy->gid,
			CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING) != 0)
			return -EPERM;
	} else if (capng_apply(CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT) != 0) {
		/* The bounding set of an ordinary user stays: to narrow it
		 * takes a capability. It grants nothing by itself, and
		 * no_new_privs below keeps it so. */
		return -EPERM;
	}
	/* Believe the kernel, not the calls. */
	if (capng_get_caps_process() != 0 ||
	    capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE ||
	    capng_have_capabilities(CAPNG_SELECT_AMBIENT) != CAPNG_NONE ||
	    (policy->change_ids &&
		(getuid() != policy->uid || geteuid() != policy->uid ||
		    getgid() != policy->gid || getegid() != policy->gid ||
		    getgroups(0, NULL) != 0)))
		return -EPERM;
	return 0;
}

/* --- limits -------------------------------------------------------------- */

static int
limit(__rlimit_resource_t resource, rlim_t value)
{
	struct rlimit now, lim = { .rlim_cur = value, .rlim_max = value };

	/* An ordinary user's hard limit may be lower, and cannot be raised. */
	if (getrlimit(resource, &now) < 0)
		return -errno;
	if (now.rlim_max < value)
		lim.rlim_cur = lim.rlim_max = now.rlim_max;
#ifdef SHMEMD_INSTRUMENTED
	lim.rlim_max = now.rlim_max; /* valgrind refuses to lower it */
#endif
	return setrlimit(resource, &lim) < 0 ? -errno : 0;
}

static int
enter_limits(const struct sandbox_policy *policy)
{
	int rc = limit(
	    RLIMIT_NOFILE, (rlim_t)policy->max_fds + policy->max_fds_on_way);

	if (rc == 0)
		rc = limit(RLIMIT_NPROC, 0);
	if (rc == 0)
		rc = limit(RLIMIT_CORE, 0);
	/* Not RLIMIT_FSIZE: it would hit writes to a memfd. */
	return rc;
}

/* --- privs --------------------------------------------------------------- */

static int
enter_privs(const struct sandbox_policy *policy)
{
	(void)policy;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	/* /proc/PID and ptrace are closed to others of the same user. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

/* --- filter -------------------------------------------------------------- */

/* The lines of the list, counted: 0 + 1 + 1 ... */
/* NOLINTNEXTLINE(bugprone-macro-parentheses): they would end the sum */
#define ALLOW(name, caller, reason, ...) +1
static const unsigned nrules = 0
#include "worker.def"
#ifdef SHMEMD_INSTRUMENTED
#include "instrumented.def"
#endif
    ;
#undef ALLOW

/* Each line of the list becomes a rule. */
#define ALLOW(name, caller, reason, ...)                                       \
	if (rc == 0) {                                                         \
		const struct scmp_arg_cmp args[] = { __VA_ARGS__ };            \
                                                                               \
		rc = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW,            \
		    SCMP_SYS(name),                                            \
		    sizeof(args) / sizeof(struct scmp_arg_cmp), args);         \
	}

/* The macros of libseccomp name the second datum only where they use it. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
static int
add_rules(scmp_filter_ctx filter)
{
	int rc = 0;

#include "worker.def"
#ifdef SHMEMD_INSTRUMENTED
#include "instrumented.def"
#endif
	return rc;
}
#pragma GCC diagnostic pop
#undef ALLOW

static int
enter_filter(const struct sandbox_policy *policy)
{
	uint32_t kill = SCMP_ACT_KILL_PROCESS;
	scmp_filter_ctx filter = seccomp_init(kill);
	int rc;

	(void)policy;
#ifdef SHMEMD_INSTRUMENTED
	if (filter == NULL) {
		/* valgrind knows prctl's filter, which kills by thread. */
		kill = SCMP_ACT_KILL_THREAD;
		filter = seccomp_init(kill);
	}
#endif
	if (filter == NULL)
		return -ENOMEM;
	/* A call by another architecture's table is as forbidden as any. */
	rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, kill);
	if (rc == 0)
		rc = add_rules(filter);
	if (rc == 0)
		rc = seccomp_load(filter);
	seccomp_release(filter);
	return rc;
}

unsigned
sandbox_rules(void)
{
	return nrules;
}

int
sandbox_enter(const struct sandbox_policy *policy, const char **stage)
{
	static const struct {
		const char *name;
		int (*enter)(const struct sandbox_policy *policy);
	} stages[] = {
		{ "session", enter_session },
		{ "isolation", enter_isolation },
		{ "ids and capabilities", enter_ids },
		{ "limits", enter_limits },
		{ "no new privileges", enter_privs },
		{ "Landlock", enter_landlock },
		{ "seccomp filter", enter_filter },
	};

	for (unsigned i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
		int rc = stages[i].enter(policy);

		*stage = refused != NULL ? refused : stages[i].name;
		if (rc < 0)
			return rc;
	}
	return 0;
}
