/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Confinement of supervisor, spawner and builder; see sandbox.h. */
#include "config.h"

#include "sandbox/caps.h"
#include "sandbox/filter.h"
#include "sandbox/isolate.h"
#include "sandbox/sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What each keeps, with what needs it. */
static const unsigned supervisor_caps[] = {
	CAP_KILL, /* kill: a worker is another user */
};
static const unsigned spawner_caps[] = {
	CAP_SYS_ADMIN, /* clone and unshare of namespaces, mount, pivot_root */
	CAP_SETPCAP,   /* the bounding set and the securebits */
	CAP_SETGID,    /* setgroups, setresgid: enter_ids; root's only */
	CAP_SETUID,    /* setresuid: the same */
};
#define ORDINARY_CAPS 2U

/* What root can be without, it is: the workers tell. But not without these. */
const char *
sandbox_lacks(void)
{
	static const struct {
		unsigned cap;
		const char *name;
	} needed[] = {
		{ CAP_KILL, "CAP_KILL" },
		{ CAP_SETGID, "CAP_SETGID" },
		{ CAP_SETUID, "CAP_SETUID" },
		{ CAP_SETPCAP, "CAP_SETPCAP" },
	};
	static char text[64];
	size_t len = 0;

	if (capng_get_caps_process() != 0)
		return "capabilities that can be read";
	for (unsigned i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (capng_have_capability(CAPNG_PERMITTED, needed[i].cap) == 0)
			len += (size_t)snprintf(text + len, sizeof(text) - len,
			    "%s%s", len == 0 ? "" : ", ", needed[i].name);
	return len == 0 ? NULL : text;
}

/*
 * Without memory the kernel should rather end one worker, which serves one
 * virtual machine, than the supervisor, which all of them need. One in a
 * thousand: a worker is no more to blame than other programs of the host.
 */
static void
before_the_supervisor(void)
{
	int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	char text[16] = "";

	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text) - 1) > 0) {
		long score = strtol(text, NULL, 10) + 1;
		int len = snprintf(text, sizeof(text), "%ld", score);

		/* 1000 is the most: it is as good then. */
		if (write(fd, text, (size_t)len) < 0)
			errno = 0;
	}
	(void)close(fd);
}

int
sandbox_enter_spawner(bool root, const char **stage)
{
	int rc;

	/* Where it is not permitted, the workers miss their layers and tell. */
	if (!root)
		(void)isolate_for_ordinary_user();
	before_the_supervisor();
	*stage = "capabilities";
	rc = caps_keep(spawner_caps,
	    root ? sizeof(spawner_caps) / sizeof(spawner_caps[0])
		 : ORDINARY_CAPS,
	    true);
	if (rc == 0) {
		*stage = "no new privileges";
		rc = caps_no_new();
	}
	if (rc == 0) {
		*stage = "seccomp filter";
		rc = filter_load(FILTER_SPAWNER);
	}
	return rc;
}

int
sandbox_enter_supervisor(const char **stage)
{
	int rc;

	*stage = "capabilities";
	rc = caps_keep(supervisor_caps,
	    sizeof(supervisor_caps) / sizeof(supervisor_caps[0]), false);
	if (rc == 0) {
		*stage = "no new privileges";
		rc = caps_no_new();
	}
	if (rc == 0) {
		/* It ends workers, which are not inside of what is its own. */
		(void)!isolate_landlock(true);
		*stage = "seccomp filter";
		rc = filter_load(FILTER_SUPERVISOR);
	}
	return rc;
}

/* Files and sockets of others are opened and given owners by these; memory is
 * locked, and a flusher becomes another user. */
static const unsigned builder_caps[] = {
	CAP_DAC_OVERRIDE, /* open, bind, unlink: files of other users */
	CAP_CHOWN,	  /* lchown: a socket's owner and group */
	CAP_FOWNER,	  /* chmod: a socket that has another owner by then */
	CAP_IPC_LOCK,	  /* mlock, and huge pages */
	CAP_SETGID,	  /* a flusher becomes the workers' user */
	CAP_SETUID,	  /* the same */
	CAP_SETPCAP,	  /* its bounding set */
};

int
sandbox_enter_builder(const char **stage)
{
	int rc;

	*stage = "capabilities";
	rc = caps_keep(builder_caps,
	    sizeof(builder_caps) / sizeof(builder_caps[0]), false);
	if (rc == 0) {
		*stage = "no new privileges";
		rc = caps_no_new();
	}
	return rc;
}
