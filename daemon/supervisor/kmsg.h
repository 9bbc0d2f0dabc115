/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Which system call a worker was killed for: the kernel does not tell the
 * parent, but writes an audit record into its log, /dev/kmsg. Supervisor only.
 *
 * The log is opened at the start, by root or who else may read it; without
 * it, or where an audit daemon takes the records instead, calls are not named.
 * Reading does not block, allocates nothing, and stops after some records so
 * that a flood of kernel messages holds up nobody.
 *
 * Threat model: kernel messages may hold text of other programs. Only lines
 * that the kernel has written are looked at, only audit records of seccomp, and
 * of them numbers in places where no other program's text can be: names are
 * quoted or in hexadecimal there, without a space.
 */
#ifndef KMSG_H
#define KMSG_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Workers whose death is being looked up, at a time; of more it is not. */
#define KMSG_DEATHS_MAX 16U

/* What a record says. */
struct kmsg_record {
	int64_t second; /* since 1970 */
	pid_t pid;
	uint32_t arch; /* AUDIT_ARCH_ of linux/audit.h */
	uint32_t call; /* its number there */
};

/*
 * Whether text, one record as read from /dev/kmsg with a NUL behind it, is the
 * kernel's about a process that its seccomp filter has killed; *record then is
 * what it says.
 */
bool kmsg_parse(const char *text, struct kmsg_record *record)
    __attribute__((warn_unused_result));

struct kmsg_death {
	char who[32]; /* "conn 3", for the log */
	pid_t pid;
	int64_t second; /* when it was noticed, since 1970 */
	uint64_t until; /* it is looked for, by loop_now() */
};

struct kmsg {
	int fd; /* owned; -1: the log cannot be read */
	struct event timer;
	unsigned n;
	struct kmsg_death deaths[KMSG_DEATHS_MAX];
};

/* Open the kernel's log, at its end. To be closed, whether or not that
 * works. */
void kmsg_open(struct kmsg *k, struct event_base *base);

/* A worker has died by SIGSYS: log why, in a moment, for the kernel writes
 * its record meanwhile. */
void kmsg_explain(struct kmsg *k, const char *who, pid_t pid);

/* Look a last time and close. The log can be closed twice. */
void kmsg_close(struct kmsg *k);

#endif
