/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The system calls that workers were killed for; see kmsg.h. */
#include "config.h"

#include "daemon/supervisor/kmsg.h"

#include "daemon/common/log.h"
#include "daemon/common/loop.h"
#include "proto/fd.h"

#include <ctype.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Records that are read before others get their turn. */
#define RECORDS_MAX 64U
/* More than the kernel says about a call: what it writes into its log is cut
 * after 1 KiB, and escaping makes that longer. A record that is longer still
 * cannot be read, and the next read() gets the one behind it. */
#define RECORD_SIZE 4096U /* also in sandbox/supervisor.def */
/* A record comes within a few ms of the death; on a busy host, later. After
 * so many ms it is not looked for any more. */
#define LOOK_FOR 500U
static const struct timeval between_looks = { .tv_usec = 100000 };
/* While there is more to read. */
static const struct timeval soon = { .tv_usec = 1000 };
/* How far the kernel's time of the record and ours of the death may be apart,
 * in seconds: pids come again. */
#define APART_MAX 10

/* --- one record ---------------------------------------------------------- */

/* Take the number at *at, digits only, and go behind it. */
static bool
take_number(const char **at, int base, uint64_t max, uint64_t *number)
{
	unsigned long long n;
	char *end;

	if (!isxdigit((unsigned char)**at))
		return false;
	errno = 0;
	n = strtoull(*at, &end, base);
	if (errno != 0 || end == *at || n > max)
		return false;
	*at = end;
	*number = n;
	return true;
}

/* Go behind text, if that is what stands at *at. */
static bool
take(const char **at, const char *text)
{
	size_t len = strlen(text);

	if (strncmp(*at, text, len) != 0)
		return false;
	*at += len;
	return true;
}

/* Behind a value. */
static bool
at_end(const char *at)
{
	return *at == ' ' || *at == '\n' || *at == '\0';
}

struct field {
	const char *name;
	int base;
	uint64_t max;
};

enum { FIELD_PID, FIELD_SIGNAL, FIELD_ARCH, FIELD_CALL, FIELDS };

static const struct field fields[FIELDS] = {
	[FIELD_PID] = { "pid=", 10, INT32_MAX },
	[FIELD_SIGNAL] = { "sig=", 10, INT32_MAX },
	[FIELD_ARCH] = { "arch=", 16, UINT32_MAX },
	[FIELD_CALL] = { "syscall=", 10, UINT32_MAX },
};

/* Take each field, which must be there once and be a number. */
static bool
take_fields(const char *at, uint64_t values[static FIELDS])
{
	bool seen[FIELDS] = { false };
	unsigned n = 0;

	while (*at != '\n' && *at != '\0') {
		for (unsigned i = 0; i < FIELDS; i++) {
			if (!take(&at, fields[i].name))
				continue;
			if (seen[i] ||
			    !take_number(&at, fields[i].base, fields[i].max,
				&values[i]) ||
			    !at_end(at))
				return false;
			seen[i] = true;
			n++;
			break;
		}
		at += strcspn(at, " \n");
		at += *at == ' ';
	}
	return n == FIELDS;
}

bool
kmsg_parse(const char *text, struct kmsg_record *record)
{
	uint64_t priority, second, values[FIELDS] = { 0 };
	const char *at = text;

	/* Facility 0 is the kernel's; what programs write has another. */
	if (!take_number(&at, 10, UINT32_MAX, &priority) || priority > 7 ||
	    *at != ',')
		return false;
	at += strcspn(at, ";\n");
	if (!take(&at, ";audit: type=1326 audit(") || /* AUDIT_SECCOMP */
	    !take_number(&at, 10, INT64_MAX, &second) || *at != '.')
		return false;
	at += strcspn(at, " \n");
	at += *at == ' ';
	if (!take_fields(at, values) || values[FIELD_SIGNAL] != SIGSYS)
		return false;
	record->second = (int64_t)second;
	record->pid = (pid_t)values[FIELD_PID];
	record->arch = (uint32_t)values[FIELD_ARCH];
	record->call = (uint32_t)values[FIELD_CALL];
	return true;
}

/* --- the log ------------------------------------------------------------- */

static const struct {
	uint32_t arch;
	const char *name;
} archs[] = {
	{ AUDIT_ARCH_X86_64, "x86_64" },
	{ AUDIT_ARCH_I386, "x86" },
	{ AUDIT_ARCH_AARCH64, "aarch64" },
	{ AUDIT_ARCH_ARM, "arm" },
	{ AUDIT_ARCH_RISCV64, "riscv64" },
	{ AUDIT_ARCH_PPC64LE, "ppc64le" },
	{ AUDIT_ARCH_S390X, "s390x" },
};

static void
explain(const struct kmsg_death *death, const struct kmsg_record *record)
{
	/* libseccomp uses the same numbers for architectures. */
	char *call =
	    seccomp_syscall_resolve_num_arch(record->arch, (int)record->call);
	char number[24], arch[16];

	(void)snprintf(number, sizeof(number), "number %u", record->call);
	(void)snprintf(arch, sizeof(arch), "0x%x", record->arch);
	for (unsigned i = 0; i < sizeof(archs) / sizeof(archs[0]); i++)
		if (archs[i].arch == record->arch)
			(void)snprintf(arch, sizeof(arch), "%s", archs[i].name);
	log_error("%s: worker %d: the forbidden system call was %s (%s)",
	    death->who, (int)death->pid, call != NULL ? call : number, arch);
	free(call);
}

static void
forget(struct kmsg *k, unsigned i)
{
	k->n--;
	memmove(&k->deaths[i], &k->deaths[i + 1],
	    (k->n - i) * sizeof(k->deaths[0]));
}

static void
on_record(struct kmsg *k, const struct kmsg_record *record)
{
	for (unsigned i = 0; i < k->n; i++)
		if (k->deaths[i].pid == record->pid &&
		    llabs(k->deaths[i].second - record->second) <= APART_MAX) {
			explain(&k->deaths[i], record);
			forget(k, i);
			return;
		}
}

/* Read what is new. Returns whether there may be more. */
static bool
look(struct kmsg *k)
{
	for (unsigned i = 0; i < RECORDS_MAX && k->n != 0; i++) {
		struct kmsg_record record;
		char text[RECORD_SIZE];
		/* One record; EPIPE: some were overwritten before that. */
		ssize_t n = read(k->fd, text, sizeof(text) - 1);

		if (n < 0 && errno != EPIPE && errno != EINVAL &&
		    errno != EINTR)
			return false;
		if (n == 0)
			return false;
		if (n < 0)
			continue;
		text[n] = '\0';
		if (kmsg_parse(text, &record))
			on_record(k, &record);
	}
	return true;
}

static void
look_ready(evutil_socket_t fd, short what, void *arg)
{
	struct kmsg *k = arg;
	bool more = look(k);

	(void)fd;
	(void)what;
	for (unsigned i = k->n; i-- > 0;)
		if (k->deaths[i].until <= loop_now())
			forget(k, i);
	if (k->n != 0)
		(void)event_add(&k->timer, more ? &soon : &between_looks);
}

void
kmsg_open(struct kmsg *k, struct event_base *base)
{
	k->n = 0;
	k->fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (k->fd < 0 || lseek(k->fd, 0, SEEK_END) < 0) {
		log_debug("/dev/kmsg: %s: forbidden system calls will not be "
			  "named",
		    strerror(errno));
		fd_closep(&k->fd);
	}
	(void)event_assign(&k->timer, base, -1, 0, look_ready, k);
}

void
kmsg_explain(struct kmsg *k, const char *who, pid_t pid)
{
	struct kmsg_death *death;

	if (k->fd < 0 || k->n == KMSG_DEATHS_MAX)
		return;
	death = &k->deaths[k->n++];
	memset(death, 0, sizeof(*death));
	(void)snprintf(death->who, sizeof(death->who), "%s", who);
	death->pid = pid;
	death->second = (int64_t)time(NULL);
	death->until = loop_now() + LOOK_FOR;
	if (!event_pending(&k->timer, EV_TIMEOUT, NULL))
		(void)event_add(&k->timer, &between_looks);
}

void
kmsg_close(struct kmsg *k)
{
	if (k->fd < 0)
		return;
	(void)look(k);
	(void)event_del(&k->timer);
	fd_closep(&k->fd);
}
