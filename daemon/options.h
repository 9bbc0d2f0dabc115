/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The command line, after QEMU's "Backend program conventions"
 * (docs/interop/vhost-user.rst), checked whole before anything is made.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "device_kind.h"
#include "profile.h"
#include "region.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#define OPTIONS_REGIONS_MAX 256U

struct options {
	const char *socket_path; /* or NULL */
	int fd;			 /* --fd, or -1 */
	const char *connect;	 /* or NULL */
	const struct profile *profile;
	enum device_id device;
	unsigned nregions;
	struct region_spec regions[OPTIONS_REGIONS_MAX];
	uint64_t virtio_without; /* virtio features that are not offered */
	bool once;
	unsigned message_timeout; /* seconds that half a message may last */
	bool strict;		  /* --sandbox=strict */
	bool change_ids;	  /* the worker becomes uid, gid: we are root */
	uid_t uid;
	gid_t gid;
	const char *user;   /* the name of uid, for the log */
	const char *worker; /* path of the worker program */
};

enum options_todo { OPTIONS_RUN, OPTIONS_EXIT_OK, OPTIONS_EXIT_USAGE };

/*
 * Read the command line and check it. Prints --help and the like itself, and
 * says on standard error what is wrong and what would be right. Sets the
 * log's level.
 */
enum options_todo options_parse(struct options *o, int argc, char **argv);

#endif
