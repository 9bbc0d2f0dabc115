/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Starting worker programs; see spawn.h. */
#include "config.h"

#include "spawn.h"

#include "fd.h"
#include "priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

int
spawn_open(const char *path)
{
	AUTO_FD int fd = open(path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return -EACCES;
	return fd_steal(&fd);
}

/* In the child: only calls that are safe after fork. */
static void __attribute__((noreturn)) become_worker(int program, int chan)
{
	static char name[] = PACKAGE_NAME "-worker";
	char *const argv[] = { name, NULL };
	char *const envp[] = { NULL };
	sigset_t none;
	int null = open("/dev/null", O_RDWR);

	/* Out of the way of the descriptor that the worker expects. */
	program = fcntl(program, F_DUPFD_CLOEXEC, PRIV_WORKER_FD + 1);
	if (program < 0)
		_exit(127);
	/* dup2 clears close-on-exec, except onto the descriptor itself. */
	if (null < 0 ||
	    (chan == PRIV_WORKER_FD ? fcntl(chan, F_SETFD, 0)
				    : dup2(chan, PRIV_WORKER_FD)) < 0)
		_exit(127);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
#ifdef SHMEMD_INSTRUMENTED
		if (fd == STDERR_FILENO)
			continue; /* where sanitizers report */
#endif
		if (dup2(null, fd) < 0)
			_exit(127);
	}
	if (close_range(PRIV_WORKER_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC) < 0 ||
	    sigemptyset(&none) < 0 || sigprocmask(SIG_SETMASK, &none, NULL) < 0)
		_exit(127);
	fexecve(program, argv, envp);
	_exit(127);
}

pid_t
spawn_worker(int program, int *chan)
{
	int pair[2];
	pid_t pid;

	*chan = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		become_worker(program, pair[1]);
	if (pid < 0) {
		pid = -errno;
		fd_closep(&pair[0]);
		fd_closep(&pair[1]);
		return pid;
	}
	fd_closep(&pair[1]);
	*chan = pair[0];
	return pid;
}
