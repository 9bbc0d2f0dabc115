/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The spawner; see spawn.h. */
#include "config.h"

#include "daemon/spawner/spawn.h"

#include "daemon/common/log.h"
#include "daemon/common/priv.h"
#include "proto/fd.h"
#include "sandbox/sandbox.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where the spawner has its end; a worker's comes to PRIV_WORKER_FD, which is
 * the lowest that is free. */
#define SPAWNER_FD 5
static_assert(PRIV_WORKER_FD == STDERR_FILENO + 1 &&
		  SANDBOX_PROGRAM_FD == PRIV_WORKER_FD + 1 &&
		  SPAWNER_FD == SANDBOX_PROGRAM_FD + 1,
    "a received descriptor gets the worker's number");

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

/* --- in the spawner ------------------------------------------------------ */

static const int ignored[] = { SIGINT, SIGTERM, SIGHUP };

/*
 * After clone: only calls that are safe there. What the spawner ignores its
 * workers ignore, as they would in a PID namespace: who ends all processes of
 * a service at once ends the supervisor, which gives front-ends their time.
 */
static void __attribute__((noreturn)) become_worker(void)
{
	static char name[] = PACKAGE_NAME "-worker";
	char *const argv[] = { name, NULL };
	char *const envp[] = { NULL };
	sigset_t none;

	if (fcntl(PRIV_WORKER_FD, F_SETFD, 0) < 0 || sigemptyset(&none) < 0 ||
	    sigprocmask(SIG_SETMASK, &none, NULL) < 0)
		_exit(127);
	(void)syscall(
	    SYS_execveat, SANDBOX_PROGRAM_FD, "", argv, envp, AT_EMPTY_PATH);
	_exit(127);
}

/* A child of our parent: the supervisor waits for it. */
static pid_t
clone_sibling(int namespaces)
{
	unsigned long flags =
	    (unsigned long)(namespaces | CLONE_PARENT | SIGCHLD);
#ifdef __s390x__
	long pid = syscall(SYS_clone, NULL, flags, NULL, NULL, NULL);
#else
	long pid = syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
#endif

	return pid < 0 ? -errno : (pid_t)pid;
}

static pid_t
start(void)
{
	pid_t pid = clone_sibling(CLONE_NEWPID);

	/* Not permitted: the worker sees, and tells. */
	if (pid < 0 && pid != -EAGAIN && pid != -ENOMEM)
		pid = clone_sibling(0);
	if (pid == 0)
		become_worker();
	return pid;
}

/* /dev/null, the program and the socket are all that is open. */
static int
place(int program, int sock)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	program = fcntl(program, F_DUPFD_CLOEXEC, SPAWNER_FD + 1);
	sock = fcntl(sock, F_DUPFD_CLOEXEC, SPAWNER_FD + 1);
	if (null < 0 || program < 0 || sock < 0)
		return -errno;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
#ifdef SHMEMD_INSTRUMENTED
		if (fd == STDERR_FILENO)
			continue; /* where sanitizers report */
#endif
		if (dup2(null, fd) < 0)
			return -errno;
	}
	if (dup3(program, SANDBOX_PROGRAM_FD, O_CLOEXEC) < 0 ||
	    dup3(sock, SPAWNER_FD, O_CLOEXEC) < 0)
		return -errno;
	(void)close(PRIV_WORKER_FD);
	return sandbox_close_fds(SPAWNER_FD + 1);
}

static void __attribute__((noreturn))
spawner_run(int program, int sock, bool root)
{
	struct priv_msg msg = { 0 };
	const char *stage = "descriptors";
	int fds[PRIV_REGIONS_MAX];
	int rc;

	(void)prctl(PR_SET_NAME, "shmemd-spawner", 0, 0, 0);
	/* It ends when the supervisor does, not before. */
	for (unsigned i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)signal(ignored[i], SIG_IGN);
	(void)setsid();
	rc = place(program, sock);
	if (rc == 0)
		rc = sandbox_enter_spawner(root, &stage);
	for (;;) {
		msg.u.spawned.pid = rc;
		(void)snprintf(msg.u.spawned.stage, sizeof(msg.u.spawned.stage),
		    "%s", stage);
		if (priv_send(SPAWNER_FD, PRIV_SPAWNED, &msg, NULL, 0) < 0 ||
		    priv_recv(SPAWNER_FD, PRIV_TO_SPAWNER, true, &msg, fds) !=
			1)
			break; /* the supervisor has ended */
		rc = fds[0] == PRIV_WORKER_FD ? start() : -EBADF;
		fd_closep(&fds[0]);
	}
	(void)close(SPAWNER_FD);
	(void)close(SANDBOX_PROGRAM_FD);
	_exit(0);
}

/* --- in the supervisor --------------------------------------------------- */

/*
 * The spawner's answer to an order: a process id, 0, or a negative errno. The
 * answer to one that was given up may come first: that worker has found its
 * channel closed.
 */
static int
answer(int sock, uint32_t order, struct priv_msg *msg)
{
	int none[PRIV_REGIONS_MAX];
	int rc;

	do
		rc = priv_recv(sock, PRIV_FROM_SPAWNER, true, msg, none);
	while (rc == 1 && msg->u.spawned.order != order);
	if (rc != 1)
		return rc == 0 ? -EPIPE : rc;
	return msg->u.spawned.pid;
}

static int
set_patience(int sock, const struct timeval *patience)
{
	return setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, patience,
		   sizeof(*patience)) < 0
		   ? -errno
		   : 0;
}

/* It could not even say what failed: a filter of the host's may kill. */
static const char *
how_it_ended(struct spawner *spawner)
{
	static char text[80];
	int status;

	if (waitpid(spawner->pid, &status, 0) != spawner->pid)
		return "its end";
	spawner->pid = 0;
	if (WIFSIGNALED(status))
		(void)snprintf(text, sizeof(text), "killed by %s%s",
		    log_signal(WTERMSIG(status)),
		    WTERMSIG(status) == SIGSYS
			? ", by its seccomp filter or the host's"
			: "");
	else
		(void)snprintf(text, sizeof(text), "ended with status %d",
		    WEXITSTATUS(status));
	return text;
}

int
spawner_start(
    struct spawner *spawner, int program, bool root, const char **what)
{
	/* A clone takes less than a ms. */
	static const struct timeval at_start = { .tv_sec = 5 },
				    later = { .tv_sec = 1 };
	static struct priv_msg msg;
	int pair[2], rc;

	*what = "starting it";
	spawner->sock = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	spawner->pid = fork();
	if (spawner->pid == 0)
		spawner_run(program, pair[1], root);
	rc = spawner->pid < 0 ? -errno : 0;
	fd_closep(&pair[1]);
	spawner->sock = pair[0];
	spawner->orders = 0;
	if (rc == 0)
		rc = set_patience(spawner->sock, &at_start);
	if (rc == 0) {
		rc = answer(spawner->sock, 0, &msg);
		msg.u.spawned.stage[sizeof(msg.u.spawned.stage) - 1] = '\0';
		*what =
		    rc == -EPIPE ? how_it_ended(spawner) : msg.u.spawned.stage;
	}
	if (rc == 0)
		rc = set_patience(spawner->sock, &later);
	return rc;
}

void
spawner_stop(struct spawner *spawner)
{
	fd_closep(&spawner->sock);
	if (spawner->pid > 0)
		(void)waitpid(spawner->pid, NULL, 0);
	spawner->pid = 0;
}

pid_t
spawn_worker(struct spawner *spawner, int *chan)
{
	struct priv_msg msg = { 0 };
	int pair[2], rc;

	*chan = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	msg.u.spawned.order = ++spawner->orders;
	rc = priv_send(spawner->sock, PRIV_SPAWN, &msg, &pair[1], 1);
	fd_closep(&pair[1]);
	if (rc == 0)
		rc = answer(spawner->sock, spawner->orders, &msg);
	if (rc <= 0) {
		fd_closep(&pair[0]);
		return rc == 0 ? -EPROTO : rc;
	}
	*chan = pair[0];
	return rc;
}
