/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Capabilities; see caps.h. */
#include "config.h"

#include "sandbox/caps.h"

#include <cap-ng.h>
#include <errno.h>
#include <sys/prctl.h>

static bool
can_narrow_bounds(void)
{
	return capng_get_caps_process() == 0 &&
	       capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) != 0;
}

int
caps_keep(const unsigned *caps, unsigned n, bool by_program)
{
	/* What an ordinary user's bounding set has grants nothing. */
	capng_select_t sets = CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT |
			      (can_narrow_bounds() ? CAPNG_SELECT_BOUNDS : 0);
	unsigned types = CAPNG_EFFECTIVE | CAPNG_PERMITTED |
			 CAPNG_BOUNDING_SET |
			 (by_program ? CAPNG_INHERITABLE | CAPNG_AMBIENT : 0);
	bool has[CAP_LAST_CAP + 1] = { false };

	for (unsigned i = 0; i < n; i++)
		has[caps[i]] =
		    capng_have_capability(CAPNG_PERMITTED, caps[i]) != 0;
	capng_clear(CAPNG_SELECT_ALL);
	for (unsigned i = 0; i < n; i++)
		if (has[caps[i]] &&
		    capng_update(CAPNG_ADD, (capng_type_t)types, caps[i]) != 0)
			return -EPERM;
	return capng_apply(sets) == 0 ? 0 : -EPERM;
}

int
caps_drop_all(void)
{
	bool all = can_narrow_bounds();

	/* Who has no CAP_SETPCAP cannot narrow the bounding set nor lock the
	 * securebits. The set grants nothing by itself, and no_new_privs keeps
	 * it so. */
	if (all && capng_lock() != 0)
		return -EPERM;
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT |
			(all ? CAPNG_SELECT_BOUNDS : 0)) != 0)
		return -EPERM;
	/* Believe the kernel, not the calls. */
	if (capng_get_caps_process() != 0 ||
	    capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE ||
	    capng_have_capabilities(CAPNG_SELECT_AMBIENT) != CAPNG_NONE)
		return -EPERM;
	return 0;
}

int
caps_no_new(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	return 0;
}
