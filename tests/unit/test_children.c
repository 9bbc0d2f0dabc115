/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * children.h: that all work is done, as many at a time as there are CPUs; that
 * the first that fails ends the others, however it fails; and that somebody
 * else is looked after meanwhile.
 */
#include "config.h"

#include "tests/unit/fake_host.h"

#include "daemon/builder/children.h"
#include "proto/fd.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOBS 20U

/* What children and test see of each other. */
static struct shared {
	atomic_uint started, running, most, ended;
	_Atomic pid_t pid[JOBS];
	atomic_int oom_score;
} * shared;

static struct reason reason;
static unsigned owner;

static int
setup(void **state)
{
	(void)fds_before(state);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	reason.text[0] = '\0';
	owner = 99;
	return shared == MAP_FAILED ? -1 : 0;
}

static int
teardown(void **state)
{
	/* No child is left. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	(void)munmap(shared, sizeof(*shared));
	return fds_after(state);
}

#define CHILDREN_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static int
run(struct child_job *jobs, unsigned n, const struct idle *idle)
{
	for (unsigned i = 0; i < n; i++)
		jobs[i].owner = i;
	return children_run(jobs, n, "testing", idle, &owner, &reason);
}

/* --- what children do ---------------------------------------------------- */

static void
begin(const struct child_job *job)
{
	unsigned running = atomic_fetch_add(&shared->running, 1) + 1;
	unsigned most = atomic_load(&shared->most);

	atomic_fetch_add(&shared->started, 1);
	atomic_store(&shared->pid[job->owner], getpid());
	while (running > most &&
	       !atomic_compare_exchange_weak(&shared->most, &most, running))
		;
}

static int
do_some(const struct child_job *job, struct reason *why)
{
	(void)why;
	begin(job);
	for (unsigned i = 0; i < 4; i++) {
		(void)usleep(1000);
		children_done(job->len / 4);
	}
	atomic_fetch_sub(&shared->running, 1);
	atomic_fetch_add(&shared->ended, 1);
	return 0;
}

static int
refuse(const struct child_job *job, struct reason *why)
{
	begin(job);
	return reason_set(
	    why, -ENOSPC, "no room for %s", (const char *)job->arg);
}

static int
hang(const struct child_job *job, struct reason *why)
{
	(void)why;
	begin(job);
	while (true)
		(void)pause();
	return 0;
}

static int
die(const struct child_job *job, struct reason *why)
{
	(void)why;
	begin(job);
	(void)raise(*(const int *)job->arg);
	return 0;
}

static int
leave(const struct child_job *job, struct reason *why)
{
	(void)why;
	begin(job);
	_exit(3);
}

static int
read_oom_score(const struct child_job *job, struct reason *why)
{
	FILE *file = fopen("/proc/self/oom_score_adj", "re");
	char line[16] = "";

	(void)job;
	(void)why;
	if (file != NULL && fgets(line, sizeof(line), file) != NULL)
		atomic_store(&shared->oom_score, (int)strtol(line, NULL, 10));
	return 0;
}

/* --- tests --------------------------------------------------------------- */

static void
no_work_is_done_at_once(void **state)
{
	(void)state;
	assert_int_equal(run(NULL, 0, NULL), 0);
}

static void
all_work_is_done_by_as_many_as_there_are_cpus(void **state)
{
	struct child_job jobs[JOBS];

	(void)state;
	for (unsigned i = 0; i < JOBS; i++)
		jobs[i] = (struct child_job){ .work = do_some, .len = 400 };
	assert_int_equal(run(jobs, JOBS, NULL), 0);
	assert_int_equal(atomic_load(&shared->ended), JOBS);
	assert_true(atomic_load(&shared->most) >= 1);
	assert_true(atomic_load(&shared->most) <= children_most());
}

static void
one_cpu_means_one_child(void **state)
{
	struct child_job jobs[4];
	cpu_set_t all, one;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(children_most(), 1);
	for (unsigned i = 0; i < 4; i++)
		jobs[i] = (struct child_job){ .work = do_some, .len = 4 };
	assert_int_equal(run(jobs, 4, NULL), 0);
	assert_int_equal(atomic_load(&shared->most), 1);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

static void
an_error_comes_with_its_reason_and_ends_the_others(void **state)
{
	struct child_job jobs[3] = { { .work = hang },
		{ .work = refuse, .arg = "a cat" }, { .work = hang } };

	(void)state;
	if (children_most() < 2)
		jobs[0] = jobs[1];
	assert_int_equal(run(jobs, 3, NULL), -ENOSPC);
	assert_string_equal(reason.text, "no room for a cat");
	assert_int_equal(owner, children_most() < 2 ? 0 : 1);
	assert_true(atomic_load(&shared->started) <= 3);
}

static void
one_that_is_killed_is_an_error(void **state)
{
	static const struct {
		int signo, rc;
		const char *text;
	} cases[] = {
		{ SIGKILL, -ENOMEM, "too little memory" },
		{ SIGBUS, -EIO, "testing: killed by SIGBUS" },
		{ SIGTERM, -EIO, "testing: killed by SIGTERM" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct child_job jobs[2] = {
			{ .work = die, .arg = &cases[i].signo },
			{ .work = hang },
		};

		assert_int_equal(run(jobs, 2, NULL), cases[i].rc);
		assert_non_null(strstr(reason.text, cases[i].text));
		assert_int_equal(owner, 0);
	}
}

static void
one_that_leaves_without_a_word_is_an_error(void **state)
{
	struct child_job job = { .work = leave };

	(void)state;
	assert_int_equal(run(&job, 1, NULL), -EIO);
	assert_string_equal(reason.text, "testing: ended with status 3");
}

static void
a_child_is_the_first_to_die_where_memory_runs_out(void **state)
{
	struct child_job job = { .work = read_oom_score };

	(void)state;
	assert_int_equal(run(&job, 1, NULL), 0);
	assert_int_equal(atomic_load(&shared->oom_score), 1000);
}

static volatile sig_atomic_t handled;

static void
handler(int signo)
{
	(void)signo;
	handled = 1;
}

static void
a_child_does_not_run_our_handlers(void **state)
{
	static const int signo = SIGUSR1;
	struct child_job job = { .work = die, .arg = &signo };
	struct sigaction old, ours = { .sa_handler = handler };

	(void)state;
	assert_int_equal(sigaction(SIGUSR1, &ours, &old), 0);
	assert_int_equal(run(&job, 1, NULL), -EIO);
	assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
	assert_int_equal(handled, 0);
}

/* --- somebody else ------------------------------------------------------- */

static struct asked {
	int fd, rc;
	unsigned n;
	pid_t kill; /* when asked: end this child */
} asked;

static int
be_asked(void *ctx)
{
	struct asked *a = ctx;
	char byte;

	a->n++;
	if (read(a->fd, &byte, 1) < 0)
		return -errno;
	if (a->rc == 0)
		(void)kill(atomic_load(&shared->pid[0]), SIGTERM);
	return a->rc;
}

/* Ask when there is a child that hangs. */
static int
ask(const struct child_job *job, struct reason *why)
{
	begin(job);
	if (write(*(const int *)job->arg, "x", 1) != 1)
		return -EIO;
	return hang(job, why);
}

static void
somebody_else_is_looked_after_meanwhile(void **state)
{
	static const int results[] = { 0, -ECANCELED };
	int pair[2];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(results); i++) {
		struct idle idle = { .ready = be_asked, .ctx = &asked };
		struct child_job job = { .work = ask, .arg = &pair[1] };

		assert_int_equal(pipe(pair), 0);
		asked = (struct asked){ .fd = pair[0], .rc = results[i] };
		idle.fd = pair[0];
		/* It ends as the answer ends it. */
		assert_int_equal(
		    run(&job, 1, &idle), results[i] == 0 ? -EIO : results[i]);
		assert_int_equal(asked.n, 1);
		fd_closep(&pair[0]);
		fd_closep(&pair[1]);
	}
}

static void
a_look_does_not_wait(void **state)
{
	struct idle idle = { .ready = be_asked, .ctx = &asked };
	int pair[2];

	(void)state;
	assert_int_equal(idle_look(NULL), 0);
	assert_int_equal(idle_look(&(struct idle){ .fd = -1 }), 0);
	assert_int_equal(pipe(pair), 0);
	asked = (struct asked){ .fd = pair[0], .rc = -EPIPE };
	idle.fd = pair[0];
	assert_int_equal(idle_look(&idle), 0);
	assert_int_equal(asked.n, 0);
	assert_int_equal(write(pair[1], "x", 1), 1);
	assert_int_equal(idle_look(&idle), -EPIPE);
	assert_int_equal(asked.n, 1);
	fd_closep(&pair[0]);
	fd_closep(&pair[1]);
}

/* A process with a child that hangs ends; its child must end, too: else it
 * would keep the pipe open. */
static void
a_child_dies_with_its_parent(void **state)
{
	struct child_job job = { .work = hang };
	char byte;
	int pair[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(run(&job, 1, NULL) == 0);
	fd_closep(&pair[1]);
	while (atomic_load(&shared->started) == 0) {
		assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
		(void)usleep(1000);
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(read(pair[0], &byte, 1), 0);
	fd_closep(&pair[0]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CHILDREN_TEST(no_work_is_done_at_once),
		CHILDREN_TEST(all_work_is_done_by_as_many_as_there_are_cpus),
		CHILDREN_TEST(one_cpu_means_one_child),
		CHILDREN_TEST(
		    an_error_comes_with_its_reason_and_ends_the_others),
		CHILDREN_TEST(one_that_is_killed_is_an_error),
		CHILDREN_TEST(one_that_leaves_without_a_word_is_an_error),
		CHILDREN_TEST(
		    a_child_is_the_first_to_die_where_memory_runs_out),
		CHILDREN_TEST(a_child_does_not_run_our_handlers),
		CHILDREN_TEST(somebody_else_is_looked_after_meanwhile),
		CHILDREN_TEST(a_look_does_not_wait),
		CHILDREN_TEST(a_child_dies_with_its_parent),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("children", tests, NULL, NULL);
}
