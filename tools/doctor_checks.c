/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What "doctor" looks at on a host; see doctor.h. */
#include "config.h"

#include "tools/doctor.h"

#include "proto/fd.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif
/* linux/landlock.h, which older headers do not have. */
#define LANDLOCK_VERSION 1U

/* One number in a file; false if it cannot be read. */
static bool
read_number(const char *path, unsigned long *number)
{
	FILE *file = fopen(path, "re");
	char line[64], *end = line;

	if (file == NULL)
		return false;
	*number = 0;
	if (fgets(line, sizeof(line), file) != NULL)
		*number = strtoul(line, &end, 10);
	(void)fclose(file);
	return end != line;
}

static void
check_kernel(struct doctor *d)
{
	unsigned major = 0, minor = 0;
	struct utsname name;

	if (uname(&name) < 0)
		return;
	/* NOLINTNEXTLINE(cert-err34-c): a version that is none is 0.0 */
	(void)sscanf(name.release, "%u.%u", &major, &minor);
	/* close_range(2) */
	if (major < 5 || (major == 5 && minor < 9))
		doctor_say(d, FINDING_FAIL, "kernel",
		    "Linux 5.9 or later is needed", "Linux %s", name.release);
	else
		doctor_say(
		    d, FINDING_OK, "kernel", NULL, "Linux %s", name.release);
}

static void
check_memfd(struct doctor *d)
{
	AUTO_FD int fd =
	    memfd_create("doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	AUTO_FD int noexec = -1;

	if (fd < 0 || fcntl(fd, F_ADD_SEALS,
			  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		doctor_say(d, FINDING_FAIL, "memfd",
		    "regions are sealed memfds: what keeps programs from "
		    "making "
		    "some?",
		    "%s", strerror(errno));
	else
		doctor_say(d, FINDING_OK, "memfd", NULL,
		    "memory can be made and sealed");
	noexec = memfd_create(
	    "doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (noexec < 0)
		doctor_say(d, FINDING_WARN, "MFD_NOEXEC_SEAL",
		    "Linux 6.3 or later has it",
		    "%s: what holds a region could be made executable",
		    strerror(errno));
	else
		doctor_say(d, FINDING_OK, "MFD_NOEXEC_SEAL", NULL,
		    "regions cannot be executed");
}

static void
check_seccomp(struct doctor *d)
{
	static const char path[] = "/proc/sys/kernel/seccomp/actions_avail";
	FILE *file = fopen(path, "re");
	char line[256] = "";

	if (file != NULL) {
		if (fgets(line, sizeof(line), file) == NULL)
			line[0] = '\0';
		(void)fclose(file);
	}
	if (strstr(line, "kill_process") != NULL)
		doctor_say(d, FINDING_OK, "seccomp", NULL,
		    "filters can end a process");
	else
		doctor_say(d, FINDING_FAIL, "seccomp",
		    "a kernel with CONFIG_SECCOMP_FILTER is needed",
		    "%s does not name kill_process", path);
}

static void
check_landlock(struct doctor *d)
{
	long abi = syscall(
	    SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_VERSION);

	if (abi >= 1)
		doctor_say(d, FINDING_OK, "Landlock", NULL, "version %ld", abi);
	else
		doctor_say(d, FINDING_WARN, "Landlock",
		    "Linux 5.13 or later, with landlock in the kernel "
		    "parameter lsm=",
		    "%s: workers lack this layer", strerror(errno));
}

/* Whether a process can make these namespaces: 0 or a negative errno. */
static int
try_namespaces(int kinds)
{
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(unshare(kinds) < 0 ? errno : 0);
	if (child < 0 || waitpid(child, &status, 0) != child)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
}

static void
check_namespaces(struct doctor *d)
{
	static const char advice[] =
	    "look at user.max_*_namespaces, kernel.unprivileged_userns_clone "
	    "and kernel.apparmor_restrict_unprivileged_userns of sysctl(8)";
	int user = try_namespaces(CLONE_NEWUSER);
	int pid = try_namespaces(
	    geteuid() == 0 ? CLONE_NEWPID : CLONE_NEWUSER | CLONE_NEWPID);

	if (user == 0)
		doctor_say(
		    d, FINDING_OK, "user namespaces", NULL, "can be made");
	else
		doctor_say(d, FINDING_WARN, "user namespaces", advice,
		    "%s: workers lack this layer", strerror(-user));
	if (pid == 0)
		doctor_say(
		    d, FINDING_OK, "PID namespaces", NULL, "can be made");
	else
		doctor_say(d, FINDING_WARN, "PID namespaces", advice,
		    "%s: workers lack this layer", strerror(-pid));
}

static void
check_huge_pages(struct doctor *d)
{
	static const char dir[] = "/sys/kernel/mm/hugepages";
	DIR *all = opendir(dir);
	const struct dirent *entry;
	unsigned long total = 0;

	if (all == NULL) {
		doctor_say(d, FINDING_OK, "huge pages", NULL,
		    "this kernel has none; regions do without");
		return;
	}
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): there are no threads */
	while ((entry = readdir(all)) != NULL) {
		char path[512];
		unsigned long kib, pages, left;

		if (strncmp(entry->d_name, "hugepages-", 10) != 0)
			continue;
		kib = strtoul(entry->d_name + 10, NULL, 10);
		(void)snprintf(path, sizeof(path), "%s/%s/nr_hugepages", dir,
		    entry->d_name);
		if (!read_number(path, &pages) || pages == 0)
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s/free_hugepages", dir,
		    entry->d_name);
		if (!read_number(path, &left))
			left = 0;
		total += pages;
		doctor_say(d, left != 0 ? FINDING_OK : FINDING_WARN,
		    "huge pages",
		    left != 0 ? NULL
			      : "raise vm.nr_hugepages for regions that want "
				"them",
		    "%lu of %lu KiB, %lu free", pages, kib, left);
	}
	(void)closedir(all);
	if (total == 0)
		doctor_say(d, FINDING_OK, "huge pages", NULL,
		    "none are set aside; regions that want them need "
		    "vm.nr_hugepages");
}

/* Descriptors: 256 connections with a handful each, and what is on the way. */
#define NOFILE_ENOUGH 1024U

static void
check_limits(struct doctor *d)
{
	struct rlimit limit;
	unsigned long overcommit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
	    limit.rlim_max < NOFILE_ENOUGH)
		doctor_say(d, FINDING_WARN, "RLIMIT_NOFILE",
		    "set LimitNOFILE= of the service to 1024 or more",
		    "%ju descriptors", (uintmax_t)limit.rlim_max);
	else
		doctor_say(d, FINDING_OK, "RLIMIT_NOFILE", NULL,
		    "descriptors are enough");
	if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
	    limit.rlim_cur != RLIM_INFINITY)
		doctor_say(d, FINDING_OK, "RLIMIT_MEMLOCK", NULL,
		    "%ju KiB can be locked; devices that are passed through to "
		    "a guest (VFIO) need as much as its memory and regions",
		    (uintmax_t)(limit.rlim_cur / 1024));
	else
		doctor_say(d, FINDING_OK, "RLIMIT_MEMLOCK", NULL, "no limit");
	if (!read_number("/proc/sys/vm/overcommit_memory", &overcommit))
		return;
	if (overcommit == 2)
		doctor_say(d, FINDING_WARN, "vm.overcommit_memory",
		    "set it to 0, or keep as much memory free as regions and "
		    "their copies have",
		    "2: the whole size of a region counts as used");
	else
		doctor_say(d, FINDING_OK, "vm.overcommit_memory", NULL, "%lu",
		    overcommit);
}

static void
check_users(struct doctor *d)
{
	const struct passwd *pw = getpwnam(PACKAGE_NAME);

	if (pw != NULL)
		doctor_say(d, FINDING_OK, "the workers' user", NULL,
		    PACKAGE_NAME ", uid %ju", (uintmax_t)pw->pw_uid);
	else if (getpwnam("nobody") != NULL)
		doctor_say(d, FINDING_WARN, "the workers' user",
		    "make one of their own: useradd --system --shell "
		    "/usr/sbin/nologin " PACKAGE_NAME,
		    "there is no " PACKAGE_NAME
		    ", so it is nobody, whom others use, too");
	else
		doctor_say(d, FINDING_FAIL, "the workers' user",
		    "useradd --system --shell /usr/sbin/nologin " PACKAGE_NAME,
		    "there is neither " PACKAGE_NAME " nor nobody");
	pw = getpwnam("libvirt-qemu");
	if (pw == NULL)
		pw = getpwnam("qemu");
	if (pw != NULL)
		doctor_say(d, FINDING_OK, "QEMU's user", NULL,
		    "%s, uid %ju; it has to be let at the devices' sockets",
		    pw->pw_name, (uintmax_t)pw->pw_uid);
	else
		doctor_say(d, FINDING_OK, "QEMU's user", NULL,
		    "neither libvirt-qemu nor qemu: libvirt is not here");
}

/* --- QEMU ---------------------------------------------------------------- */

/* The first line that the program writes to standard output, or "". */
static void
first_line(char *const *argv, char *line, size_t size)
{
	AUTO_FD int out = -1;
	int fds[2];
	pid_t child;
	FILE *file;

	line[0] = '\0';
	if (pipe2(fds, O_CLOEXEC) < 0)
		return;
	out = fds[1];
	child = fork();
	if (child == 0) {
		if (dup2(out, STDOUT_FILENO) >= 0 &&
		    freopen("/dev/null", "w", stderr) != NULL)
			(void)execvp(argv[0], argv);
		_exit(127);
	}
	fd_closep(&out);
	file = fdopen(fds[0], "r");
	if (file != NULL) {
		if (fgets(line, (int)size, file) == NULL)
			line[0] = '\0';
		(void)fclose(file);
	} else {
		fd_closep(&fds[0]);
	}
	if (child > 0)
		(void)waitpid(child, NULL, 0);
	line[strcspn(line, "\n")] = '\0';
}

static void
check_qemu(struct doctor *d)
{
	static const char why[] =
	    "QEMU 11.1 or later is needed: VHOST_USER_PROTOCOL_F_SHMEM and "
	    "vhost-user-test-device-pci came with it";
	char program[] = "qemu-system-x86_64", version[] = "--version";
	char *const argv[] = { program, version, NULL };
	unsigned major = 0, minor = 0;
	char line[256];

	first_line(argv, line, sizeof(line));
	if (line[0] == '\0') {
		doctor_say(d, FINDING_WARN, "QEMU", why, "%s is not in $PATH",
		    program);
		return;
	}
	/* NOLINTNEXTLINE(cert-err34-c): a version that is none is 0.0 */
	(void)sscanf(line, "QEMU emulator version %u.%u", &major, &minor);
	if (major > 11 || (major == 11 && minor >= 1))
		doctor_say(d, FINDING_OK, "QEMU", NULL, "%s", line);
	else
		doctor_say(d, FINDING_FAIL, "QEMU", why, "%s", line);
}

void
doctor_check_host(struct doctor *d)
{
	check_kernel(d);
	check_memfd(d);
	check_seccomp(d);
	check_landlock(d);
	check_namespaces(d);
	check_huge_pages(d);
	check_limits(d);
	check_users(d);
	check_qemu(d);
}
