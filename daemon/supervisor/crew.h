/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The workers, as the supervisor knows them. Supervisor only.
 *
 * A worker is started before its front-end comes, so that nobody waits for
 * exec and sandbox: one spare is kept ready, good for any device. Where regions
 * have to be copied for a front-end the spare is of no use, and its worker is
 * started when it comes. In every state a worker that ends is reaped, logged
 * and, if needed, replaced.
 */
#ifndef CREW_H
#define CREW_H

#include "daemon/common/limits.h"
#include "daemon/common/priv.h"
#include "daemon/config/settings.h"
#include "daemon/spawner/spawn.h"
#include "daemon/supervisor/kmsg.h"
#include "daemon/supervisor/pace.h"
#include "daemon/supervisor/served.h"

#include <event2/event_struct.h>
#include <stdbool.h>
#include <sys/types.h>

enum worker_state {
	WORKER_FREE,	 /* an unused entry */
	WORKER_STARTING, /* not yet ready, no connection */
	WORKER_SPARE,	 /* ready, no connection */
	WORKER_SERVING	 /* has a front-end's connection */
};

struct worker_entry {
	enum worker_state state;
	pid_t pid;
	int chan; /* owned; -1 after the worker has closed its end */
	struct event event;
	bool ready;
	struct priv_ready layers;
	unsigned conn;		    /* number of its connection, from 1 */
	struct device *device;	    /* held while it serves */
	struct front_end front_end; /* whose connection it is */
	uint64_t since;		    /* loop_now() of that */
	bool dismissed;		    /* by the operator */
	bool asked;		    /* by crew_ask(), and has not answered */
	bool answered;		    /* status is that of the last crew_ask() */
	struct priv_status status;
	time_t second;	    /* of the lines counted */
	unsigned lines;	    /* logged in that second */
	unsigned swallowed; /* lines beyond a limit since */
};

struct crew {
	const struct settings *settings;
	struct event_base *base;
	struct spawner spawner;
	struct kmsg kmsg;
	void *ctx;
	/* A worker is confined. */
	void (*ready)(void *ctx, struct worker_entry *w);
	/* It has told its status, or never will. */
	void (*answered)(void *ctx);
	bool ending;	/* what ends now ends as it should */
	int pause;	/* seconds before the next start of a spare; 0: none */
	unsigned conns; /* so far */
	struct worker_entry workers[WORKERS_MAX];
};

/* Start a spare. Returns it or NULL, and logs why. */
struct worker_entry *crew_start_spare(struct crew *crew);

/*
 * Hand a front-end's connection, which is taken from *fd, to a worker, which
 * holds the device from then on. Returns NULL if it cannot be served, which is
 * logged; the connection might be taken nevertheless.
 */
struct worker_entry *crew_hand_over(struct crew *crew, struct device *device,
    int *fd, const struct front_end *front_end);

/* What is known of the end of a worker. */
struct crew_end {
	struct worker_entry *worker; /* of old; its entry is free again */
	unsigned conn;		     /* 0: it had none */
	struct device *device;	     /* not held any more, but not released */
	struct front_end front_end;
	bool ready;   /* it had been confined */
	bool well;    /* its front-end has left, or it was not wanted */
	bool crashed; /* neither left nor fed up with its front-end */
};

/* A child has ended. Returns false if it was no worker. */
bool crew_reap(struct crew *crew, pid_t pid, int status, struct crew_end *end);

unsigned crew_count(const struct crew *crew, enum worker_state state);
/* How many serve the device with this number. */
unsigned crew_count_device(const struct crew *crew, uint32_t device);
/* The worker that serves this connection, or NULL. */
struct worker_entry *crew_find(struct crew *crew, unsigned conn);

/* Ask all that serve for their status. Returns how many will answer. */
unsigned crew_ask(struct crew *crew);

/* End a connection, because the operator wants that; all workers without one,
 * by hanging up; all. */
void crew_dismiss(struct worker_entry *w);
void crew_dismiss_idle(struct crew *crew);
void crew_kill_all(struct crew *crew);

/* At the very end: kill and wait for all that are left. */
void crew_close(struct crew *crew);

/* The layers of its sandbox that a worker lacks: "all layers", or "without:
 * ...". */
void crew_layers(uint32_t missing, char *text, size_t size);

#endif
