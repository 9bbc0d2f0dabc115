/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * sandbox.h: what supervisor, spawner, builder and flusher can still do when
 * they are confined. Each attack is made by a process of its own that has
 * entered the sandbox. It is killed by SIGSYS, or the call fails with an error,
 * or it is what the process is there for, and works. Where the filter is open
 * after all, the arguments do no harm.
 */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* What came of it: an errno, 0 for success, or a signal. */
#define KILLED 1000
#define BY_FILTER (KILLED + SIGSYS)

static char elsewhere[] = "/tmp/vhost-shmemd-test.XXXXXX";
static char file_elsewhere[64];
static pid_t victim; /* a child that sleeps */

struct attack {
	const char *name;
	long nr;
	long args[6];
	int wanted;
};

static void
make_file(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);

	assert_return_code(fd, errno);
	(void)close(fd);
}

static int
setup(void **state)
{
	(void)state;
	if (mkdtemp(elsewhere) == NULL)
		return -1;
	(void)snprintf(
	    file_elsewhere, sizeof(file_elsewhere), "%s/file", elsewhere);
	make_file(file_elsewhere);
	victim = fork();
	if (victim == 0)
		for (;;)
			(void)pause();
	return victim < 0 ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	(void)kill(victim, SIGKILL);
	(void)waitpid(victim, NULL, 0);
	(void)unlink(file_elsewhere);
	(void)rmdir(elsewhere);
	return 0;
}

static int
enter_supervisor(const char **stage)
{
	return sandbox_enter_supervisor(stage);
}

static int
enter_flusher(const char **stage)
{
	const struct sandbox_policy policy = {
		.change_ids = geteuid() == 0,
		.uid = 65534,
		.gid = 65534,
		.max_fds = 64,
	};

	return sandbox_enter_flusher(&policy, stage);
}

static int
enter_spawner(const char **stage)
{
	return sandbox_enter_spawner(geteuid() == 0, stage);
}

static void
expect(int (*enter)(const char **stage), const struct attack *a)
{
	pid_t pid = fork();
	int status, got;

	assert_return_code(pid, errno);
	if (pid == 0) {
		const char *stage;

		if (enter(&stage) < 0)
			_exit(255);
		_exit(syscall(a->nr, a->args[0], a->args[1], a->args[2],
			  a->args[3], a->args[4], a->args[5]) < 0
			  ? errno
			  : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	got = WIFSIGNALED(status) ? KILLED + WTERMSIG(status)
				  : WEXITSTATUS(status);
	if (got != a->wanted)
		fail_msg("%s: %d came of it, not %d", a->name, got, a->wanted);
}

#define TEXT(s) ((long)(s))

static void
a_supervisor_that_was_taken_over_gets_nowhere(void **state)
{
	const struct attack attacks[] = {
		{ "open", SYS_openat, { AT_FDCWD, TEXT("/etc/passwd"), 0 },
		    BY_FILTER },
		{ "a program", SYS_execve, { TEXT("/bin/true"), 0, 0 },
		    BY_FILTER },
		{ "a program by descriptor", SYS_execveat,
		    { SANDBOX_PROGRAM_FD, TEXT(""), 0, 0, AT_EMPTY_PATH },
		    BY_FILTER },
		{ "a process", SYS_clone, { SIGCHLD }, BY_FILTER },
		{ "a process that is a worker's", SYS_clone,
		    { CLONE_PARENT | CLONE_NEWPID | SIGCHLD }, BY_FILTER },
		{ "clone3", SYS_clone3, { 0 }, BY_FILTER },
		{ "ptrace", SYS_ptrace, { 16, victim }, BY_FILTER },
		{ "another signal", SYS_kill, { victim, SIGTERM }, BY_FILTER },
		{ "a network", SYS_socket, { AF_INET, SOCK_STREAM },
		    BY_FILTER },
		{ "a listener", SYS_socket, { AF_UNIX, SOCK_STREAM },
		    BY_FILTER },
		{ "a pair that leaks", SYS_socketpair,
		    { AF_UNIX, SOCK_SEQPACKET, 0, 0 }, BY_FILTER },
		{ "connect", SYS_connect, { 0 }, BY_FILTER },
		{ "memory", SYS_memfd_create, { TEXT("x"), 0 }, BY_FILTER },
		{ "code", SYS_mprotect, { 0, 4096, PROT_READ | PROT_EXEC },
		    BY_FILTER },
		{ "code, mapped", SYS_mmap,
		    { 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0 },
		    BY_FILTER },
		{ "a region, mapped", SYS_mmap,
		    { 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0 },
		    BY_FILTER },
		{ "mount", SYS_mount, { 0 }, BY_FILTER },
		{ "another user", SYS_setresuid, { 1, 1, 1 }, BY_FILTER },
		{ "a namespace", SYS_unshare, { CLONE_NEWUSER }, BY_FILTER },
		{ "prctl", SYS_prctl, { PR_GET_DUMPABLE }, BY_FILTER },
		{ "ioctl", SYS_ioctl, { 0, 0, 0 }, BY_FILTER },
		{ "bpf", SYS_bpf, { 0 }, BY_FILTER },
		{ "the end of a socket's name", SYS_unlinkat,
		    { AT_FDCWD, TEXT(file_elsewhere), 0 }, BY_FILTER },
		{ "a timer of another kind", SYS_setitimer,
		    { ITIMER_PROF, 0, 0 }, BY_FILTER },
		{ "rename", SYS_renameat2, { -1, 0, -1, 0, 0 }, BY_FILTER },
		{ "read of a file", SYS_read, { 0, 0, 4096 }, BY_FILTER },
		{ "a write that is no log line", SYS_write, { 0, 0, 4096 },
		    BY_FILTER },
		{ "more memory by mremap", SYS_mremap, { 0 }, ENOMEM },
		/* What it is there for. */
		{ "the end of a worker", SYS_kill, { victim, SIGKILL }, 0 },
		{ "the timer of a close", SYS_setitimer, { ITIMER_REAL, 0, 0 },
		    0 },
		{ "a pair for a worker", SYS_socketpair,
		    { AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, 0 }, EFAULT },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(attacks); i++)
		expect(enter_supervisor, &attacks[i]);
}

static void
a_flusher_syncs_its_file_and_nothing_else(void **state)
{
	const struct attack attacks[] = {
		{ "the file", SYS_fdatasync, { SANDBOX_PROGRAM_FD }, EBADF },
		{ "another file", SYS_fdatasync, { 0 }, BY_FILTER },
		{ "a file by path", SYS_openat,
		    { AT_FDCWD, TEXT("/etc/passwd"), O_RDONLY }, BY_FILTER },
		{ "what is in the file", SYS_pread64,
		    { SANDBOX_PROGRAM_FD, 0, 0, 0 }, BY_FILTER },
		{ "more of a socket", SYS_read, { 0, 0, 9 }, BY_FILTER },
		{ "its length", SYS_ftruncate, { SANDBOX_PROGRAM_FD, 0 },
		    BY_FILTER },
		{ "a mapping", SYS_mmap,
		    { 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
			SANDBOX_PROGRAM_FD, 0 },
		    BY_FILTER },
		{ "a socket", SYS_socket, { AF_UNIX, SOCK_STREAM }, BY_FILTER },
		{ "a process", SYS_clone, { SIGCHLD }, BY_FILTER },
		{ "a program", SYS_execve, { TEXT("/bin/true"), 0, 0 },
		    BY_FILTER },
		{ "the end of others", SYS_kill, { victim, SIGKILL },
		    BY_FILTER },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(attacks); i++)
		expect(enter_flusher, &attacks[i]);
}

static void
a_builder_opens_files_and_has_no_power_beyond(void **state)
{
	const struct attack attacks[] = {
		{ "ptrace", SYS_ptrace, { 16, victim }, EPERM },
		{ "a mount", SYS_mount,
		    { TEXT("none"), TEXT("/tmp"), TEXT("tmpfs"), 0, 0 },
		    EPERM },
		{ "a namespace", SYS_unshare, { CLONE_NEWNS }, EPERM },
		{ "chroot", SYS_chroot, { TEXT("/tmp") }, EPERM },
		{ "swap", SYS_swapoff, { TEXT("/none") }, EPERM },
		{ "the host's name", SYS_sethostname, { TEXT("x"), 1 }, EPERM },
		{ "raw packets", SYS_socket, { AF_PACKET, SOCK_RAW, 0 },
		    EPERM },
		/* What it is there for. */
		{ "a file", SYS_openat,
		    { AT_FDCWD, TEXT(file_elsewhere), O_RDWR }, 0 },
		{ "a socket", SYS_socket, { AF_UNIX, SOCK_STREAM, 0 }, 0 },
		{ "memory", SYS_memfd_create, { TEXT("x"), 0 }, 0 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(attacks); i++)
		expect(sandbox_enter_builder, &attacks[i]);
}

static void
a_spawner_starts_workers_and_nothing_else(void **state)
{
	const struct attack attacks[] = {
		{ "a program by path", SYS_execve, { TEXT("/bin/true"), 0, 0 },
		    BY_FILTER },
		{ "another program", SYS_execveat,
		    { SANDBOX_PROGRAM_FD + 1, TEXT(""), 0, 0, AT_EMPTY_PATH },
		    BY_FILTER },
		{ "a program beside", SYS_execveat,
		    { SANDBOX_PROGRAM_FD, TEXT("x"), 0, 0, 0 }, BY_FILTER },
		{ "a process", SYS_clone, { SIGCHLD }, BY_FILTER },
		{ "a thread", SYS_clone,
		    { CLONE_VM | CLONE_THREAD | CLONE_SIGHAND }, BY_FILTER },
		{ "a user namespace", SYS_clone,
		    { CLONE_NEWUSER | CLONE_PARENT | SIGCHLD }, BY_FILTER },
		{ "clone3", SYS_clone3, { 0 }, BY_FILTER },
		{ "a file to write", SYS_openat,
		    { AT_FDCWD, TEXT("/tmp/x"), O_WRONLY }, BY_FILTER },
		{ "a file to make", SYS_openat,
		    { AT_FDCWD, TEXT("/tmp/x"), O_RDONLY | O_CREAT, 0600 },
		    BY_FILTER },
		{ "another namespace", SYS_unshare, { CLONE_NEWPID },
		    BY_FILTER },
		{ "setns", SYS_setns, { 0, 0 }, BY_FILTER },
		{ "a mount of something", SYS_mount, { 0, 0, 0, MS_BIND, 0 },
		    BY_FILTER },
		{ "the end of others", SYS_kill, { victim, SIGKILL },
		    BY_FILTER },
		{ "ptrace", SYS_ptrace, { 16, victim }, BY_FILTER },
		{ "a network", SYS_socket, { AF_INET, SOCK_STREAM },
		    BY_FILTER },
		{ "a module", SYS_init_module, { 0 }, BY_FILTER },
		{ "bpf", SYS_bpf, { 0 }, BY_FILTER },
		{ "ioctl", SYS_ioctl, { 0, 0, 0 }, BY_FILTER },
		{ "chroot", SYS_chroot, { TEXT("/tmp") }, BY_FILTER },
		{ "a file's mode", SYS_fchmod, { -1, 04755 }, BY_FILTER },
		{ "its name", SYS_prctl, { PR_SET_NAME, TEXT("x") },
		    BY_FILTER },
		{ "a dump", SYS_prctl, { PR_SET_DUMPABLE, 1 }, BY_FILTER },
		/* What it is there for: the worker's set-up, too. */
		{ "a library", SYS_openat,
		    { AT_FDCWD, TEXT("/etc/passwd"), O_RDONLY | O_CLOEXEC },
		    0 },
		{ "an event loop", SYS_epoll_create1, { EPOLL_CLOEXEC }, 0 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(attacks); i++)
		expect(enter_spawner, &attacks[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_supervisor_that_was_taken_over_gets_nowhere),
		cmocka_unit_test(a_spawner_starts_workers_and_nothing_else),
		cmocka_unit_test(a_flusher_syncs_its_file_and_nothing_else),
		cmocka_unit_test(a_builder_opens_files_and_has_no_power_beyond),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("parents", tests, setup, teardown);
}
