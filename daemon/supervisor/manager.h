/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What the service manager is told, after sd_notify(3): that we are ready, what
 * goes on, that we are alive, and what memory it has to keep for the next start
 * (region_kept.h). Supervisor only.
 *
 * Messages are derived from what is served, and go as there is room for them:
 * a manager that does not read holds nobody up. Without libsystemd, which makes
 * a socket for each message, and waits; the supervisor's filter has no
 * socket().
 */
#ifndef MANAGER_H
#define MANAGER_H

#include "daemon/common/activation.h"
#include "daemon/supervisor/crew.h"
#include "daemon/supervisor/served.h"

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

struct manager {
	int sock;	   /* owned; -1: nobody wants to be told */
	uint64_t watchdog; /* microseconds; 0: nobody waits for us */
	struct served *served;
	const struct crew *crew;
	struct activation *activation;
	struct event writable, changed, alive;
	bool ready, reloading, stopping; /* wants to be told */
	bool status;			 /* likewise: it is another one */
	char trouble[256];		 /* instead of the figures; or empty */
};

/*
 * Find the manager, by NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, which
 * children do not get to see. Before the sandbox; all the rest is for after it.
 * Returns 0, or a negative errno, logged. activation may be NULL.
 */
int manager_open(struct manager *m) __attribute__((warn_unused_result));
void manager_init(struct manager *m, struct event_base *base,
    struct served *served, const struct crew *crew,
    struct activation *activation);

/* A configuration is served, the first or another one; or, after
 * manager_reloading(), the old one still is. */
void manager_ready(struct manager *m);
void manager_reloading(struct manager *m);
void manager_stopping(struct manager *m);

/* Connections have come or gone. It is told within half a second. */
void manager_changed(struct manager *m);

/* What the operator has to see to, from now on; cut if it is long. "": all is
 * well again. */
void manager_trouble(struct manager *m, const char *text);

/* A region goes: its memory is given up. Returns false if there is no room for
 * that message now. */
bool manager_forget(struct manager *m, struct region *region);

void manager_close(struct manager *m);

#endif
