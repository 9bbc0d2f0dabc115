/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What a service manager hands over at start, after sd_listen_fds(3): sockets
 * on which front-ends wait already, and the memory of regions, which it has
 * kept since an earlier start (manager.h). Each has a name: that of a device,
 * "control", or that of region_kept.h.
 *
 * Without libsystemd: the interface is three environment variables, promised to
 * stay as they are, and the library would bring five others into the process
 * that opens files for the operator.
 */
#ifndef ACTIVATION_H
#define ACTIVATION_H

#include <stdbool.h>

/* The name of the control socket. */
#define ACTIVATION_CONTROL "control"

struct handed {
	int fd;		  /* owned; -1: it is closed */
	const char *name; /* never NULL */
	bool memory;	  /* a memfd; else a listening UNIX stream socket */
	bool known;	  /* there is something that it belongs to */
};

struct activation {
	unsigned n;
	struct handed *list; /* owned */
	char *names;	     /* owned; what the names are in */
};

/*
 * Take what was handed to this process, by LISTEN_PID, LISTEN_FDS and
 * LISTEN_FDNAMES, which children do not get to see. Returns 0, or a negative
 * errno, logged, and nothing in *a: something else than sockets and memory was
 * among it.
 */
int activation_take(struct activation *a) __attribute__((warn_unused_result));

/* The socket of this name; or NULL. */
struct handed *activation_socket(const struct activation *a, const char *name);

/* The one socket besides the control socket, whatever it is called; NULL if
 * there is none, or more. */
struct handed *activation_only_socket(const struct activation *a);

/* Close the descriptors; the names stay. */
void activation_close(struct activation *a);

void activation_free(struct activation *a);

#endif
