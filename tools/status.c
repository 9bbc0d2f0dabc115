/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The commands "status", "regions" and "connections". */
#include "config.h"

#include "tools/status.h"

#include "tools/reply.h"
#include "tools/table.h"
#include "tools/text.h"

#include <inttypes.h>

#define COUNT(array) ((unsigned)(sizeof(array) / sizeof((array)[0])))

enum ctl_status
status_ask(const struct ctl_args *args, json_t **reply)
{
	return control_ask(
	    args, json_pack("{s:s}", "command", "status"), reply, NULL);
}

bool
status_sum_rings(const json_t *connection, const char *key, uint64_t *sum)
{
	const json_t *rings = reply_objects(connection, "rings");
	uint64_t count;

	*sum = 0;
	for (size_t i = 0; i < json_array_size(rings); i++) {
		if (!reply_count(json_array_get(rings, i), key, &count))
			return false;
		*sum += count;
	}
	return rings != NULL;
}

/* --- cells of more than one value ---------------------------------------- */

static char *
cell_ring_sum(const json_t *row, const char *key)
{
	uint64_t sum;

	return status_sum_rings(row, key, &sum) ? text_format("%" PRIu64, sum)
						: NULL;
}

/* "4" of any number, or "4/16". */
static char *
cell_connections(const json_t *row, const char *key)
{
	uint64_t n, max;

	if (!reply_count(row, key, &n) ||
	    !reply_count(row, "max_connections", &max))
		return NULL;
	return max != 0 ? text_format("%" PRIu64 "/%" PRIu64, n, max)
			: text_format("%" PRIu64, n);
}

/* Shared memory of a device: "0:scratch 3:root(ro)". */
static char *
cell_shm(const json_t *row, const char *key)
{
	const json_t *shm = reply_objects(row, key);
	char *all = NULL;

	if (shm == NULL)
		return NULL;
	for (size_t i = 0; i < json_array_size(shm); i++) {
		const json_t *one = json_array_get(shm, i);
		AUTO_TEXT before = all;
		AUTO_TEXT region = cell_text(one, "region");
		AUTO_TEXT access = cell_text(one, "access");
		uint64_t shmid;

		all = NULL;
		if (region == NULL || access == NULL ||
		    !reply_count(one, "shmid", &shmid))
			return NULL;
		all = text_format("%s%s%" PRIu64 ":%s(%s)",
		    before != NULL ? before : "", before != NULL ? " " : "",
		    shmid, region, access);
	}
	return all != NULL ? all : text_format("-");
}

/* The shmids that the guest has mapped. */
static char *
cell_mapped(const json_t *row, const char *key)
{
	const json_t *list = json_object_get(row, key);
	char *all = NULL;

	if (!json_is_array(list)) {
		(void)text_error("the daemon's reply makes no sense: \"%s\" is "
				 "not a list",
		    key);
		return NULL;
	}
	for (size_t i = 0; i < json_array_size(list); i++) {
		AUTO_TEXT before = all;

		all = text_format("%s%s%" JSON_INTEGER_FORMAT,
		    before != NULL ? before : "", before != NULL ? "," : "",
		    json_integer_value(json_array_get(list, i)));
	}
	return all != NULL ? all : text_format("-");
}

/* What else there is to say of a region. */
static char *
cell_region_note(const json_t *row, const char *key)
{
	const char *error;
	bool changed, kept, retired;

	if (!reply_text(row, key, true, &error) ||
	    !reply_flag(row, "size_changed", &changed) ||
	    !reply_flag(row, "kept", &kept) ||
	    !reply_flag(row, "retired", &retired))
		return NULL;
	if (error != NULL) {
		AUTO_TEXT visible = text_visible(error, "");

		return text_format("cannot be written back: %s", visible);
	}
	return text_format("%s", changed   ? "its file has changed in size"
				 : retired ? "retired"
				 : kept	   ? "outlives a restart"
					   : "-");
}

static char *
cell_retired(const json_t *row, const char *key)
{
	bool retired;

	if (!reply_flag(row, key, &retired))
		return NULL;
	return text_format(retired ? "retired" : "-");
}

static char *
cell_answers(const json_t *row, const char *key)
{
	bool answers;

	if (!reply_flag(row, key, &answers))
		return NULL;
	return text_format(answers ? "-" : "its worker does not answer");
}

static const struct table_column region_columns[] = {
	{ "REGION", cell_text, "name", false },
	{ "SIZE", cell_size, "size", true },
	{ "RESIDENT", cell_size, "resident", true },
	{ "BACKING", cell_text, "backing", false },
	{ "ACCESS", cell_text, "access", false },
	{ "HUGE", cell_size, "huge_page", true },
	{ "CONNECTED", cell_connections, "connections", true },
	{ "MAPS", cell_count, "maps", true },
	{ "NOTE", cell_region_note, "sync_error", false },
};

static const struct table_column device_columns[] = {
	{ "DEVICE", cell_text, "name", false },
	{ "TYPE", cell_text, "type", false },
	{ "ID", cell_count, "virtio_id", true },
	{ "FRONT-END", cell_text, "front_end", false },
	{ "CONNECTED", cell_connections, "connections", true },
	{ "SERVED", cell_count, "served", true },
	{ "REFUSED", cell_count, "refused", true },
	{ "SOCKET", cell_text_or_null, "socket", false },
	{ "REGIONS", cell_shm, "shm", false },
	{ "NOTE", cell_retired, "retired", false },
};

static const struct table_column connection_columns[] = {
	{ "ID", cell_count, "id", true },
	{ "DEVICE", cell_text, "device", false },
	{ "STATE", cell_text, "state", false },
	{ "PID", cell_count, "pid", true },
	{ "UID", cell_count, "uid", true },
	{ "WORKER", cell_count, "worker", true },
	{ "FOR", cell_age, "since", true },
	{ "MAPPED", cell_mapped, "mapped", false },
	{ "REQUESTS", cell_ring_sum, "requests", true },
	{ "FLUSHES", cell_count, "flushes", true },
	{ "MISSING", cell_texts, "layers.missing", false },
	{ "NOTE", cell_answers, "answers", false },
};

/* --- the commands -------------------------------------------------------- */

bool
status_head(FILE *out, const json_t *status)
{
	AUTO_TEXT version = cell_text(status, "version");
	AUTO_TEXT uptime = cell_age(status, "uptime");
	uint64_t pid, generation, spare;

	if (version == NULL || uptime == NULL ||
	    !reply_count(status, "pid", &pid) ||
	    !reply_count(status, "generation", &generation) ||
	    !reply_count(status, "spare_workers", &spare))
		return false;
	(void)fprintf(out,
	    PACKAGE_NAME " %s, pid %" PRIu64 ", up %s, configuration %" PRIu64
			 ", %" PRIu64 " spare worker%s\n",
	    version, pid, uptime, generation, spare, spare != 1 ? "s" : "");
	return true;
}

static bool
render(FILE *out, const json_t *status, const char *key,
    const struct table_column *columns, unsigned n)
{
	const json_t *rows = reply_objects(status, key);

	return rows != NULL && table_print(out, rows, columns, n, 0);
}

static bool
render_regions(FILE *out, const json_t *status)
{
	return render(
	    out, status, "regions", region_columns, COUNT(region_columns));
}

static bool
render_connections(FILE *out, const json_t *status)
{
	return render(out, status, "connections", connection_columns,
	    COUNT(connection_columns));
}

static bool
render_status(FILE *out, const json_t *status)
{
	return status_head(out, status) && fputc('\n', out) != EOF &&
	       render_regions(out, status) && fputc('\n', out) != EOF &&
	       render(out, status, "devices", device_columns,
		   COUNT(device_columns)) &&
	       fputc('\n', out) != EOF && render_connections(out, status);
}

/* All of the status, or the list in it that key names. */
static enum ctl_status
show(const struct ctl_args *args, const char *key,
    bool (*text)(FILE *out, const json_t *status))
{
	const json_t *what;
	json_t *reply;
	enum ctl_status status = status_ask(args, &reply);

	if (status != CTL_OK)
		return status;
	if (args->option[CTL_JSON] == NULL) {
		status = text_show(text, reply);
	} else {
		(void)json_object_del(reply, "ok");
		what = key != NULL ? reply_objects(reply, key) : reply;
		status = what != NULL ? text_json(what) : CTL_FAILED;
	}
	json_decref(reply);
	return status;
}

enum ctl_status
status_command(const struct ctl_args *args)
{
	return show(args, NULL, render_status);
}

enum ctl_status
regions_command(const struct ctl_args *args)
{
	return show(args, "regions", render_regions);
}

enum ctl_status
connections_command(const struct ctl_args *args)
{
	return show(args, "connections", render_connections);
}
