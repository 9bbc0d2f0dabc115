/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What the operator asks and orders by the control socket (control.h), carried
 * out. Supervisor only.
 */
#ifndef ORDERS_H
#define ORDERS_H

#include "daemon/supervisor/control.h"
#include "daemon/supervisor/crew.h"
#include "daemon/supervisor/served.h"

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Begin a reload. Returns NULL, or why there is none. *later: one is going on,
 * and this one comes after it. */
typedef const char *orders_reload(void *ctx, bool *later);

struct orders {
	struct control control;
	struct served *served;
	struct crew *crew;
	orders_reload *reload;
	void *ctx;
	pid_t pid;
	uint64_t started;      /* loop_now() */
	unsigned asked;	       /* workers that have not told their status yet */
	struct event patience; /* with them */
};

/* Before the sandbox. owner is who has started us. */
void orders_init(struct orders *o, struct event_base *base, uid_t owner,
    struct served *served, struct crew *crew, orders_reload *reload, void *ctx);

/* A worker has told its status. */
void orders_answered(struct orders *o);

/* A reload has ended: rc is 0, or a negative errno, and text what to say. */
void orders_reloaded(struct orders *o, int rc, const char *text);

void orders_close(struct orders *o);

#endif
