/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Confinement of a worker; the theory of operation is in sandbox.h. */
#include "config.h"

#include "sandbox/sandbox.h"

#include "sandbox/caps.h"
#include "sandbox/filter.h"
#include "sandbox/isolate.h"
#include "sandbox/layers.h"

#include <cap-ng.h>
#include <errno.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int
sandbox_close_fds(int first)
{
	/* By number: not every C library has a function for it. */
	if (syscall(SYS_close_range, (unsigned)first, ~0U, 0U) < 0)
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
static const char *refused; /* what failed, if not just a stage */

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
	/* The spawner has made it, or could not. */
	int rc = layer(policy, LAYER_PID, getpid() == 1 ? 0 : -EPERM);

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
	return layer(policy, LAYER_LANDLOCK, isolate_landlock(false));
}

/* --- ids and capabilities ------------------------------------------------ */

/* Containers may have few users besides root, or none. */
static int
not_mapped(const struct sandbox_policy *policy)
{
	static char text[80];

	(void)snprintf(text, sizeof(text),
	    "ids: user %u, group %u: not in this user namespace", policy->uid,
	    policy->gid);
	refused = text;
	return -EINVAL;
}

static int
enter_ids(const struct sandbox_policy *policy)
{
	if (!policy->change_ids)
		return 0;
	/* User id 0 would mean nothing if it ever came back. Needs
	 * CAP_SETPCAP: do it first. */
	if (capng_lock() != 0)
		return -EPERM;
	capng_clear(CAPNG_SELECT_ALL);
	errno = 0;
	if (capng_change_id((int)policy->uid, (int)policy->gid,
		CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING) != 0)
		return errno == EINVAL ? not_mapped(policy) : -EPERM;
	/* Believe the kernel, not the calls. */
	if (getuid() != policy->uid || geteuid() != policy->uid ||
	    getgid() != policy->gid || getegid() != policy->gid ||
	    getgroups(0, NULL) != 0)
		return -EPERM;
	return 0;
}

/* Who makes a user namespace has all capabilities in it: they go last. */
static int
enter_user(const struct sandbox_policy *policy)
{
	return layer(policy, LAYER_USER, isolate_namespace(CLONE_NEWUSER));
}

static int
enter_no_capabilities(const struct sandbox_policy *policy)
{
	(void)policy;
	return caps_drop_all();
}

/* --- limits -------------------------------------------------------------- */

/*
 * Descriptors on their way are held against this limit, too. Where supervisor
 * and workers are one user, as by the unit, theirs count together, and it must
 * still be able to send to a new worker when these cannot send any more.
 */
static rlim_t
below_supervisor(rlim_t value)
{
	struct rlimit now;
	rlim_t most;

	if (getrlimit(RLIMIT_NOFILE, &now) < 0)
		return value;
	most = now.rlim_max - now.rlim_max / 8;
	return value < most ? value : most;
}

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
	int rc = limit(RLIMIT_NOFILE,
	    below_supervisor((rlim_t)policy->max_fds + policy->max_fds_on_way));

	if (rc == 0)
		rc = limit(RLIMIT_NPROC, 0);
	if (rc == 0)
		rc = limit(RLIMIT_CORE, 0);
	/* Not RLIMIT_FSIZE: it would hit writes to a memfd. */
	return rc;
}

/* --- privs and filter ---------------------------------------------------- */

static int
enter_privs(const struct sandbox_policy *policy)
{
	(void)policy;
	return caps_no_new();
}

static int
enter_filter(const struct sandbox_policy *policy)
{
	(void)policy;
	return filter_load(FILTER_WORKER);
}

unsigned
sandbox_rules(void)
{
	return filter_count(FILTER_WORKER);
}

void
sandbox_print(FILE *out)
{
	filter_print(out);
}

struct stage {
	const char *name;
	int (*enter)(const struct sandbox_policy *policy);
};

static int
enter_all(const struct stage *stages, unsigned n,
    const struct sandbox_policy *policy, const char **stage)
{
	for (unsigned i = 0; i < n; i++) {
		int rc = stages[i].enter(policy);

		*stage = refused != NULL ? refused : stages[i].name;
		if (rc < 0)
			return rc;
	}
	return 0;
}

int
sandbox_enter(const struct sandbox_policy *policy, const char **stage)
{
	static const struct stage stages[] = {
		{ "session", enter_session },
		{ "isolation", enter_isolation },
		{ "ids", enter_ids },
		{ "user namespace", enter_user },
		{ "capabilities", enter_no_capabilities },
		{ "limits", enter_limits },
		{ "no new privileges", enter_privs },
		{ "Landlock", enter_landlock },
		{ "seccomp filter", enter_filter },
	};

	return enter_all(
	    stages, sizeof(stages) / sizeof(stages[0]), policy, stage);
}

static int
enter_flusher_filter(const struct sandbox_policy *policy)
{
	(void)policy;
	return filter_load(FILTER_FLUSHER);
}

int
sandbox_enter_flusher(const struct sandbox_policy *policy, const char **stage)
{
	static const struct stage stages[] = {
		{ "session", enter_session },
		{ "ids", enter_ids },
		{ "capabilities", enter_no_capabilities },
		{ "limits", enter_limits },
		{ "no new privileges", enter_privs },
		{ "Landlock", enter_landlock },
		{ "seccomp filter", enter_flusher_filter },
	};

	return enter_all(
	    stages, sizeof(stages) / sizeof(stages[0]), policy, stage);
}
