/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vhost-shmemctl: the commands there are, and what each of them gets.
 *
 * The table of commands, in main.c, is what --help prints, and the manual and
 * the completions are compared with it by tests.
 */
#ifndef CTL_H
#define CTL_H

#include <stdbool.h>
#include <stdint.h>

#define CTL_NAME "vhost-shmemctl"

/* The exit status. */
enum ctl_status {
	CTL_OK = 0,
	CTL_FAILED = 1,	     /* it failed, or was refused */
	CTL_USAGE = 2,	     /* the command line makes no sense */
	CTL_UNREACHABLE = 3, /* nobody answers at the socket, or not in time */
};

enum ctl_option {
	CTL_CONTROL,
	CTL_TIMEOUT,
	CTL_JSON,
	CTL_CONFIG_SIZE,
	CTL_SOCKET,
	CTL_TYPE,
	CTL_VIRTIO_ID,
	CTL_QUEUES,
	CTL_MEMORY,
	CTL_ONCE,
	CTL_READ_ONLY,
	CTL_STDIN,
	CTL_STDOUT,
	CTL_HELP,
	CTL_OPTIONS
};

struct ctl_args {
	/* By ctl_option: NULL if it was not given, "" if it takes nothing. */
	const char *option[CTL_OPTIONS];
	char **words; /* what is no option */
	unsigned nwords;
	char **command; /* what stands behind "--", or NULL; ends with NULL */
};

/* How long to wait for answers, seconds: --timeout, else otherwise. It has been
 * looked at before. */
unsigned ctl_timeout(const struct ctl_args *args, unsigned otherwise);

/*
 * A number from min to max that an option of this command has, or otherwise if
 * it was not given. False if it is none: that has been said.
 */
bool ctl_number(const struct ctl_args *args, enum ctl_option option,
    unsigned min, unsigned max, unsigned otherwise, unsigned *number);

/* The commands: each has said why when it returns another status than
 * CTL_OK. */
enum ctl_status attach_command(const struct ctl_args *args);
enum ctl_status connections_command(const struct ctl_args *args);
enum ctl_status crosvm_args_command(const struct ctl_args *args);
enum ctl_status disconnect_command(const struct ctl_args *args);
enum ctl_status doctor_command(const struct ctl_args *args);
enum ctl_status metrics_command(const struct ctl_args *args);
enum ctl_status probe_command(const struct ctl_args *args);
enum ctl_status qemu_args_command(const struct ctl_args *args);
enum ctl_status regions_command(const struct ctl_args *args);
enum ctl_status reload_command(const struct ctl_args *args);
enum ctl_status status_command(const struct ctl_args *args);
enum ctl_status top_command(const struct ctl_args *args);

#endif
