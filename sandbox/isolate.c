/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Namespaces and Landlock; see isolate.h. */
#include "config.h"

#include "sandbox/isolate.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

static int
write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		rc = -errno;
	(void)close(fd);
	return rc;
}

int
isolate_for_ordinary_user(void)
{
	char uid[40], gid[40];
	int rc = 0;

	(void)snprintf(uid, sizeof(uid), "%u %u 1", getuid(), getuid());
	(void)snprintf(gid, sizeof(gid), "%u %u 1", getgid(), getgid());
	if (unshare(CLONE_NEWUSER) < 0)
		return -errno;
	/* The kernel wants this before the group: user_namespaces(7). */
	rc = write_file("/proc/self/setgroups", "deny");
	if (rc == 0)
		rc = write_file("/proc/self/uid_map", uid);
	if (rc == 0)
		rc = write_file("/proc/self/gid_map", gid);
	return rc;
}

int
isolate_namespace(int flag)
{
	return unshare(flag) < 0 ? -errno : 0;
}

/*
 * A mount namespace whose root is a file system without a file. It is mounted
 * over a directory that every host has, becomes the root, and what was the
 * root is let go.
 */
int
isolate_root(void)
{
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", "none", MS_PRIVATE | MS_REC, NULL) < 0)
		return -errno;
#ifndef SHMEMD_INSTRUMENTED /* sanitizers and valgrind read /proc */
	if (mount("none", "/dev", "tmpfs",
		MS_RDONLY | MS_NODEV | MS_NOEXEC | MS_NOSUID,
		"nr_inodes=2,nr_blocks=1") < 0 ||
	    chdir("/dev") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH | UMOUNT_NOFOLLOW) < 0 || chdir("/") < 0)
		return -errno;
#endif
	return 0;
}

/* --- Landlock ------------------------------------------------------------ */

/*
 * landlock(7). The C library has no functions for it, and its headers are
 * those of the system that builds: what the kernel that runs knows of is
 * asked for by number.
 */
#define LANDLOCK_CREATE_RULESET 444L
#define LANDLOCK_RESTRICT_SELF 446L
#define LANDLOCK_VERSION 1U /* the flag that asks for it */

struct ruleset {
	uint64_t handled_fs;  /* ABI 1: 13 rights; 2, 3, 5: one more each */
	uint64_t handled_net; /* ABI 4: bind, connect */
	uint64_t scoped;      /* ABI 6: abstract sockets, signals */
};

int
isolate_landlock(bool signals)
{
	long abi =
	    syscall(LANDLOCK_CREATE_RULESET, NULL, (size_t)0, LANDLOCK_VERSION);
	struct ruleset ruleset = { .handled_fs = (UINT64_C(1) << 13) - 1 };
	size_t size = offsetof(struct ruleset, handled_net);
	long fd;
	int rc = 0;

	if (abi < 0)
		return -errno;
	if (abi >= 2)
		ruleset.handled_fs |= UINT64_C(1) << 13; /* refer */
	if (abi >= 3)
		ruleset.handled_fs |= UINT64_C(1) << 14; /* truncate */
	if (abi >= 5)
		ruleset.handled_fs |= UINT64_C(1) << 15; /* ioctl on devices */
	if (abi >= 4) {
		ruleset.handled_net = 3;
		size = offsetof(struct ruleset, scoped);
	}
	if (abi >= 6) {
		ruleset.scoped = signals ? 1 : 3;
		size = sizeof(ruleset);
	}
	fd = syscall(LANDLOCK_CREATE_RULESET, &ruleset, size, 0U);
	if (fd < 0)
		return -errno;
	/* All that is handled is denied. */
	if (syscall(LANDLOCK_RESTRICT_SELF, (int)fd, 0U) < 0)
		rc = -errno;
	(void)close((int)fd);
	return rc;
}
