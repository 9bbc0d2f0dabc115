/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Work done by children; see children.h. */
#include "config.h"

#include "daemon/builder/children.h"

#include "daemon/common/log.h"
#include "daemon/config/size.h"
#include "proto/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILDREN_MAX 64U
#define LOG_PERCENT 10U
#define LOG_SECONDS 2

/* What a child writes to its pipe, whole. */
struct report {
	uint64_t done; /* bytes since the last report */
	bool last;     /* the job has ended, */
	int rc;	       /* like this */
	struct reason reason;
};
_Static_assert(sizeof(struct report) <= PIPE_BUF, "a report is not split");

struct child {
	pid_t pid;
	int pipe; /* its reports, owned */
	const struct child_job *job;
	bool ended; /* the last report has come */
	int rc;
};

struct run {
	struct child child[CHILDREN_MAX]; /* the first nchildren */
	unsigned nchildren;
	const struct child_job *next, *end;
	const char *doing;
	uint64_t total, done; /* bytes */
	uint64_t told_done;
	time_t told_at;
	struct reason *reason;
};

/* In a child: where its reports go. */
static int report_fd = -1;

static time_t
seconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

unsigned
children_most(void)
{
	cpu_set_t set;
	long n;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = CPU_COUNT(&set);
	else /* more CPUs than the set has room for */
		n = sysconf(_SC_NPROCESSORS_ONLN);
	if (n < 1)
		return 1;
	return n < (long)CHILDREN_MAX ? (unsigned)n : CHILDREN_MAX;
}

int
idle_look(const struct idle *idle)
{
	struct pollfd p = { .events = POLLIN };

	if (idle == NULL || idle->fd < 0)
		return 0;
	p.fd = idle->fd;
	return poll(&p, 1, 0) > 0 ? idle->ready(idle->ctx) : 0;
}

/* --- in the child -------------------------------------------------------- */

static void
report(const struct report *r)
{
	/* The pipe has room unless the parent has stopped, which is no reason
	 * to go on without it. */
	while (write(report_fd, r, sizeof(*r)) < 0)
		if (errno != EINTR)
			_exit(1);
}

void
children_done(uint64_t bytes)
{
	struct report r = { .done = bytes };

	if (report_fd >= 0) /* else nobody waits: work() was just called */
		report(&r);
}

/* Be the one that the kernel kills if there is too little memory. */
static void
volunteer(void)
{
	AUTO_FD int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	/* Without it, it works just as well until there is too little. */
	if (fd >= 0 && write(fd, "1000", 4) < 0)
		return;
}

/* Handlers of the parent would work on what is the parent's. */
static void
forget_handlers(void)
{
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		(void)signal(i, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void __attribute__((noreturn))
work(const struct child_job *job, pid_t parent)
{
	struct report r = { .last = true };

	forget_handlers();
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	volunteer();
	r.rc = job->work(job, &r.reason);
	report(&r);
	_exit(0);
}

/* --- in the parent ------------------------------------------------------- */

static int
start(struct run *run)
{
	struct child *child = &run->child[run->nchildren];
	pid_t parent = getpid();
	int ends[2];
	int rc;

	*child = (struct child){ .job = run->next, .pipe = -1 };
	if (pipe2(ends, O_CLOEXEC) < 0)
		return reason_errno(run->reason, -errno, "pipe");
	child->pid = fork();
	rc = -errno;
	if (child->pid == 0) {
		fd_closep(&ends[0]);
		report_fd = ends[1];
		work(run->next, parent);
	}
	fd_closep(&ends[1]);
	child->pipe = ends[0];
	if (child->pid < 0) {
		fd_closep(&child->pipe);
		return reason_errno(run->reason, rc, "fork");
	}
	run->nchildren++;
	run->next++;
	return 0;
}

/* It has said nothing of how its work ended. */
static int
say_how_it_died(struct run *run, int status)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return reason_set(run->reason, -ENOMEM,
		    "%s: killed by SIGKILL, as happens when the host has too "
		    "little memory, or the cgroup (memory.max, MemoryMax=)",
		    run->doing);
	if (WIFSIGNALED(status))
		return reason_set(run->reason, -EIO, "%s: killed by %s",
		    run->doing, log_signal(WTERMSIG(status)));
	return reason_set(run->reason, -EIO, "%s: ended with status %d",
	    run->doing, WEXITSTATUS(status));
}

/* Wait for the end of a child, which is no child any more then. */
static int
reap(struct run *run, unsigned i)
{
	struct child child = run->child[i];
	int status = 0;
	pid_t pid;

	run->child[i] = run->child[--run->nchildren];
	fd_closep(&child.pipe);
	do {
		pid = waitpid(child.pid, &status, 0);
	} while (pid < 0 && errno == EINTR);
	if (child.ended)
		return child.rc;
	if (pid < 0)
		return reason_errno(run->reason, -errno, "waitpid");
	return say_how_it_died(run, status);
}

static void
tell_progress(struct run *run)
{
	char total[SIZE_TEXT_MAX];
	time_t now = seconds();

	if (run->total == 0 || now - run->told_at < LOG_SECONDS ||
	    (run->done - run->told_done) / LOG_PERCENT < run->total / 100)
		return;
	run->told_at = now;
	run->told_done = run->done;
	log_info("%s: %u%% of %s", run->doing,
	    (unsigned)(100.0 * (double)run->done / (double)run->total),
	    size_text(run->total, total));
}

/* Read what child i says. Returns 0 or the negative errno that it ended
 * with. */
static int
listen_to(struct run *run, unsigned i)
{
	struct child *child = &run->child[i];
	struct report r;
	ssize_t n = read(child->pipe, &r, sizeof(r));

	if (n < 0 && errno == EINTR)
		return 0;
	if (n != (ssize_t)sizeof(r))
		return reap(run, i);
	run->done += r.done;
	child->ended = r.last;
	child->rc = r.rc;
	if (r.last && r.rc < 0)
		*run->reason = r.reason;
	tell_progress(run);
	return r.last ? reap(run, i) : 0;
}

/* Wait until there is something to do, and do it. */
static int
wait_for_some(struct run *run, const struct idle *idle, unsigned *owner)
{
	struct pollfd p[CHILDREN_MAX + 1];
	unsigned n = run->nchildren;
	int rc;

	for (unsigned i = 0; i < n; i++)
		p[i] = (struct pollfd){ run->child[i].pipe, POLLIN, 0 };
	p[n] = (struct pollfd){ idle == NULL ? -1 : idle->fd, POLLIN, 0 };
	if (poll(p, n + 1, -1) < 0)
		return errno == EINTR
			   ? 0
			   : reason_errno(run->reason, -errno, "poll");
	if (idle != NULL && p[n].revents != 0) {
		rc = idle->ready(idle->ctx);
		if (rc < 0)
			return reason_errno(run->reason, rc, run->doing);
	}
	/* From the end: to reap one moves the last to its place. */
	while (n-- > 0) {
		if (p[n].revents == 0)
			continue;
		*owner = run->child[n].job->owner;
		rc = listen_to(run, n);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void
stop(struct run *run)
{
	for (unsigned i = 0; i < run->nchildren; i++)
		(void)kill(run->child[i].pid, SIGKILL);
	while (run->nchildren > 0) {
		/* Why the first failed is known. */
		struct reason ignored, *reason = run->reason;

		run->reason = &ignored;
		(void)reap(run, 0);
		run->reason = reason;
	}
}

int
children_run(const struct child_job *jobs, unsigned njobs, const char *doing,
    const struct idle *idle, unsigned *owner, struct reason *reason)
{
	struct run run = {
		.next = jobs,
		.end = jobs + njobs,
		.doing = doing,
		.told_at = seconds(),
		.reason = reason,
	};
	unsigned most = children_most();
	int rc = 0;

	for (unsigned i = 0; i < njobs; i++)
		run.total += jobs[i].len;
	while (rc == 0 && (run.next < run.end || run.nchildren > 0)) {
		if (run.next < run.end && run.nchildren < most) {
			*owner = run.next->owner;
			rc = start(&run);
		} else {
			rc = wait_for_some(&run, idle, owner);
		}
	}
	stop(&run);
	return rc;
}
