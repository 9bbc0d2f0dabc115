/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The operator's orders; see orders.h. */
#include "config.h"

#include "daemon/supervisor/orders.h"

#include "daemon/common/log.h"
#include "daemon/common/loop.h"
#include "daemon/common/memory.h"
#include "daemon/supervisor/status.h"

#include <event2/event.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* What a client of the control socket waits for. */
enum { ASKS_NOTHING, ASKS_STATUS, ASKS_RELOAD, ASKS_NEXT_RELOAD };
/* How long workers may take to tell their status. */
static const struct timeval patience = { .tv_sec = 1 };

/* Everybody has told it, or will not. */
static void
tell_status(struct orders *o)
{
	(void)event_del(&o->patience);
	o->asked = 0;
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct control_client *c = &o->control.clients[i];

		if (c->waiting && c->asks == ASKS_STATUS)
			control_reply(&o->control, c,
			    status_json(o->served, o->crew, o->pid, o->started),
			    -1);
	}
}

static void
status_ready(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tell_status(arg);
}

void
orders_answered(struct orders *o)
{
	if (o->asked != 0 && --o->asked == 0)
		tell_status(o);
}

static void
ask_status(struct orders *o)
{
	/* Of those who ask meanwhile all get the same. */
	if (o->asked != 0)
		return;
	o->asked = crew_ask(o->crew);
	if (o->asked == 0)
		tell_status(o);
	else
		(void)event_add(&o->patience, &patience);
}

static void
disconnect(struct orders *o, struct control_client *c, json_t *request)
{
	json_int_t conn =
	    json_integer_value(json_object_get(request, "connection"));
	struct worker_entry *w = conn > 0 && conn <= UINT_MAX
				     ? crew_find(o->crew, (unsigned)conn)
				     : NULL;

	if (w == NULL) {
		control_refuse(&o->control, c, "there is no such connection");
		return;
	}
	crew_dismiss(w);
	control_reply(&o->control, c, json_pack("{s:b}", "ok", 1), -1);
}

static void
attach(struct orders *o, struct control_client *c, json_t *request)
{
	const char *name =
	    json_string_value(json_object_get(request, "region"));
	const char *access =
	    json_string_value(json_object_get(request, "access"));
	struct region *r =
	    name != NULL ? served_region_by_name(o->served, name) : NULL;
	bool reading = access != NULL && strcmp(access, "read-only") == 0;

	if (access == NULL || (!reading && strcmp(access, "read-write") != 0)) {
		control_refuse(&o->control, c,
		    "access is neither read-write nor read-only");
	} else if (r == NULL) {
		control_refuse(&o->control, c, "there is no such region");
	} else if (r->erasing) {
		control_refuse(
		    &o->control, c, "the region is being erased; try again");
	} else if (r->unerased) {
		control_refuse(&o->control, c,
		    "the region could not be erased after its last use");
	} else if (!reading && r->info.access == MEMORY_READ_ONLY) {
		control_refuse(&o->control, c,
		    "the region is read-only for everybody: attach it with "
		    "--read-only");
	} else {
		log_info("region %s: attached by the operator, %s",
		    r->info.name, access);
		control_reply(&o->control, c,
		    json_pack("{s:b, s:I, s:s}", "ok", 1, "size",
			(json_int_t)r->info.size, "region", r->info.name),
		    reading ? r->read_fd : r->fd);
	}
}

static void
reload(struct orders *o, struct control_client *c)
{
	bool later;
	const char *why = o->reload(o->ctx, &later);

	if (why != NULL)
		control_refuse(&o->control, c, why);
	else
		c->asks = later ? ASKS_NEXT_RELOAD : ASKS_RELOAD;
}

static void
handle(void *ctx, struct control_client *c, json_t *request)
{
	struct orders *o = ctx;
	const char *command =
	    json_string_value(json_object_get(request, "command"));

	c->asks = ASKS_NOTHING;
	if (command == NULL) {
		control_refuse(&o->control, c, "\"command\" is missing");
	} else if (strcmp(command, "status") == 0) {
		c->asks = ASKS_STATUS;
		ask_status(o);
	} else if (strcmp(command, "disconnect") == 0) {
		disconnect(o, c, request);
	} else if (strcmp(command, "attach") == 0) {
		attach(o, c, request);
	} else if (strcmp(command, "reload") == 0) {
		reload(o, c);
	} else {
		control_refuse(&o->control, c, "there is no such command");
	}
}

/* Who asked for the reload. Those who ask while one goes on get the next. */
void
orders_reloaded(struct orders *o, int rc, const char *text)
{
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct control_client *c = &o->control.clients[i];

		if (!c->waiting || c->asks != ASKS_RELOAD)
			continue;
		if (rc == 0)
			control_reply(&o->control, c,
			    json_pack("{s:b, s:s}", "ok", 1, "changed", text),
			    -1);
		else
			control_refuse(&o->control, c, text);
	}
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (o->control.clients[i].asks == ASKS_NEXT_RELOAD)
			o->control.clients[i].asks = ASKS_RELOAD;
}

void
orders_init(struct orders *o, struct event_base *base, uid_t owner,
    struct served *served, struct crew *crew, orders_reload *reload_, void *ctx)
{
	o->served = served;
	o->crew = crew;
	o->reload = reload_;
	o->ctx = ctx;
	o->pid = getpid();
	o->started = loop_now();
	control_init(&o->control, base, owner, handle, o);
	(void)event_assign(&o->patience, base, -1, 0, status_ready, o);
}

void
orders_close(struct orders *o)
{
	if (o->control.base == NULL)
		return;
	(void)event_del(&o->patience);
	control_close(&o->control);
}
