/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The command "top": what happens now, in 80 columns or what the terminal
 * has. */
#include "config.h"

#include "tools/reply.h"
#include "tools/status.h"
#include "tools/table.h"
#include "tools/text.h"

#include <inttypes.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define PERIOD 2 /* seconds */
#define COUNT(array) ((unsigned)(sizeof(array) / sizeof((array)[0])))
/* The cursor to the corner, and what is below it away. */
#define CLEAR "\033[H\033[J"

/* What rates are reckoned from, for the cells: the status before this one, NULL
 * in the first screen. */
static struct {
	const json_t *connections;
	double seconds;
} before;

/* The connection of the same number in the status before. */
static const json_t *
find_before(const json_t *row)
{
	uint64_t id, other;

	if (!json_is_integer(json_object_get(row, "id")))
		return NULL;
	id = (uint64_t)json_integer_value(json_object_get(row, "id"));
	for (size_t i = 0; i < json_array_size(before.connections); i++) {
		const json_t *old = json_array_get(before.connections, i);

		other =
		    (uint64_t)json_integer_value(json_object_get(old, "id"));
		if (other == id)
			return old;
	}
	return NULL;
}

/* Requests or calls in a second; how many there were so far where nothing can
 * be compared. */
static char *
cell_rate(const json_t *row, const char *key)
{
	const json_t *old = find_before(row);
	uint64_t sum, then;

	if (!status_sum_rings(row, key, &sum))
		return NULL;
	if (old == NULL || before.seconds <= 0 ||
	    !status_sum_rings(old, key, &then) || then > sum)
		return text_format("%" PRIu64, sum);
	return text_format("%.0f/s", (double)(sum - then) / before.seconds);
}

/* A name, so short that the line stays short. */
static char *
cell_name(const json_t *row, const char *key)
{
	AUTO_TEXT name = cell_text(row, key);

	return name != NULL ? text_format("%.*s", (int)text_cut(name, 16), name)
			    : NULL;
}

static const struct table_column connection_columns[] = {
	{ "ID", cell_count, "id", true },
	{ "DEVICE", cell_name, "device", false },
	{ "STATE", cell_text, "state", false },
	{ "PID", cell_count, "pid", true },
	{ "REQUESTS", cell_rate, "requests", true },
	{ "CALLS", cell_rate, "calls", true },
	{ "FLUSHES", cell_count, "flushes", true },
	{ "MEAN", cell_time, "flush_mean_ns", true },
	{ "MAX", cell_time, "flush_max_ns", true },
};

static const struct table_column region_columns[] = {
	{ "REGION", cell_name, "name", false },
	{ "SIZE", cell_size, "size", true },
	{ "RESIDENT", cell_size, "resident", true },
	{ "BACKING", cell_text, "backing", false },
	{ "ACCESS", cell_text, "access", false },
	{ "CONNECTED", cell_count, "connections", true },
	{ "MAPS", cell_count, "maps", true },
};

static unsigned
width(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0
		   ? size.ws_col
		   : 80;
}

static bool
render(FILE *out, const json_t *status)
{
	const json_t *regions = reply_objects(status, "regions");
	const json_t *connections = reply_objects(status, "connections");

	return regions != NULL && connections != NULL &&
	       status_head(out, status) && fputc('\n', out) != EOF &&
	       table_print(out, regions, region_columns, COUNT(region_columns),
		   width()) &&
	       fputc('\n', out) != EOF &&
	       table_print(out, connections, connection_columns,
		   COUNT(connection_columns), width());
}

static double
now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

enum ctl_status
top_command(const struct ctl_args *args)
{
	bool once = args->option[CTL_ONCE] != NULL;
	json_t *reply = NULL, *old = NULL;
	enum ctl_status status;
	double then = 0;

	for (;;) {
		status = status_ask(args, &reply);
		if (status != CTL_OK)
			break;
		before.connections = json_object_get(old, "connections");
		before.seconds = now() - then;
		then = now();
		if (!once)
			(void)fputs(CLEAR, stdout);
		status = text_show(render, reply);
		json_decref(old);
		old = reply;
		if (once || status != CTL_OK)
			break;
		(void)sleep(PERIOD);
	}
	json_decref(old);
	return status;
}
