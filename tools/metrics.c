/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The command "metrics": the status as OpenMetrics 1.0. Families have all their
 * samples together, so each walks over its objects.
 */
#include "config.h"

#include "tools/reply.h"
#include "tools/status.h"
#include "tools/text.h"

#include <inttypes.h>

#define PREFIX "vhost_shmemd_"

enum scope { DAEMON, REGIONS, DEVICES, CONNECTIONS, RINGS };

/* How the value stands in the status. */
enum value { NUMBER, FLAG, TEXT_OR_NULL, NANOSECONDS };

static const struct family {
	const char *name; /* without the prefix and _total */
	const char *unit; /* the name ends with it; or NULL */
	const char *help;
	const char *key;
	enum scope scope;
	enum value value;
	bool counter;
} families[] = {
	{ "uptime_seconds", "seconds", "How long the daemon has been running.",
	    "uptime", DAEMON, NUMBER, false },
	{ "configuration_generation", NULL,
	    "Which configuration is in force: one more with each reload.",
	    "generation", DAEMON, NUMBER, false },
	{ "spare_workers", NULL, "Workers that wait for a front-end.",
	    "spare_workers", DAEMON, NUMBER, false },
	{ "region_size_bytes", "bytes", "Size of the region.", "size", REGIONS,
	    NUMBER, false },
	{ "region_resident_bytes", "bytes", "Memory that the region takes.",
	    "resident", REGIONS, NUMBER, false },
	{ "region_connections", NULL, "Connections that have the region.",
	    "connections", REGIONS, NUMBER, false },
	{ "region_maps", NULL, "Guests that have the region mapped.", "maps",
	    REGIONS, NUMBER, false },
	{ "region_sync_failed", NULL,
	    "1 if the region could not be written back to its file.",
	    "sync_error", REGIONS, TEXT_OR_NULL, false },
	{ "region_size_changed", NULL,
	    "1 if the file of the region has another size than the region.",
	    "size_changed", REGIONS, FLAG, false },
	{ "region_kept", NULL,
	    "1 if the memory of the region outlives a restart of the daemon.",
	    "kept", REGIONS, FLAG, false },
	{ "region_retired", NULL,
	    "1 if the region is no part of the configuration any more.",
	    "retired", REGIONS, FLAG, false },
	{ "device_connections", NULL, "Front-ends that are connected.",
	    "connections", DEVICES, NUMBER, false },
	{ "device_served", NULL, "Front-ends that were given a worker.",
	    "served", DEVICES, NUMBER, true },
	{ "device_refused", NULL, "Front-ends that were turned away.",
	    "refused", DEVICES, NUMBER, true },
	{ "device_retired", NULL,
	    "1 if the device is no part of the configuration any more.",
	    "retired", DEVICES, FLAG, false },
	{ "connection_seconds", "seconds", "How long the front-end is here.",
	    "since", CONNECTIONS, NUMBER, false },
	{ "connection_answers", NULL, "0 if the worker does not answer.",
	    "answers", CONNECTIONS, FLAG, false },
	{ "connection_flushes", NULL, "FLUSH requests that were answered.",
	    "flushes", CONNECTIONS, NUMBER, true },
	{ "connection_flush_errors", NULL, "FLUSH requests that failed.",
	    "flush_errors", CONNECTIONS, NUMBER, true },
	{ "connection_flush_mean_seconds", "seconds",
	    "How long a FLUSH takes, on average.", "flush_mean_ns", CONNECTIONS,
	    NANOSECONDS, false },
	{ "connection_flush_max_seconds", "seconds",
	    "How long the longest FLUSH took.", "flush_max_ns", CONNECTIONS,
	    NANOSECONDS, false },
	{ "ring_running", NULL, "1 if the ring is served.", "running", RINGS,
	    FLAG, false },
	{ "ring_requests", NULL, "Requests taken from the ring.", "requests",
	    RINGS, NUMBER, true },
	{ "ring_calls", NULL, "Calls sent to the guest.", "calls", RINGS,
	    NUMBER, true },
};

/* The text of a label, escaped as OpenMetrics has it; to be freed. */
static char *
label(const char *text)
{
	AUTO_TEXT visible = text_visible(text, "");
	char *escaped = text_format("%s", "");

	for (const char *c = visible; *c != '\0'; c++) {
		AUTO_TEXT before = escaped;

		escaped = text_format(
		    "%s%s%c", before, *c == '"' || *c == '\\' ? "\\" : "", *c);
	}
	return escaped;
}

/* name="text", where text is what the object has there; NULL after an error. */
static char *
label_of(const json_t *object, const char *name, const char *key)
{
	AUTO_TEXT escaped = NULL;
	const char *text;

	if (!reply_text(object, key, false, &text))
		return NULL;
	escaped = label(text);
	return text_format("%s=\"%s\"", name, escaped);
}

static bool
get_value(const json_t *object, const struct family *f, double *value)
{
	const char *text;
	bool flag;

	switch (f->value) {
	case NUMBER:
		return reply_number(object, f->key, value);
	case NANOSECONDS:
		if (!reply_number(object, f->key, value))
			return false;
		*value /= 1e9;
		return true;
	case FLAG:
		if (!reply_flag(object, f->key, &flag))
			return false;
		*value = flag;
		return true;
	case TEXT_OR_NULL:
		if (!reply_text(object, f->key, true, &text))
			return false;
		*value = text != NULL;
		return true;
	}
	return false;
}

static bool
sample(
    FILE *out, const struct family *f, const json_t *object, const char *labels)
{
	double value;

	if (!get_value(object, f, &value))
		return false;
	(void)fprintf(out, PREFIX "%s%s%s%s%s %.17g\n", f->name,
	    f->counter ? "_total" : "", *labels != '\0' ? "{" : "", labels,
	    *labels != '\0' ? "}" : "", value);
	return true;
}

static bool
sample_rings(FILE *out, const struct family *f, const json_t *connection,
    const char *labels)
{
	const json_t *rings = reply_objects(connection, "rings");

	for (size_t i = 0; i < json_array_size(rings); i++) {
		const json_t *ring = json_array_get(rings, i);
		AUTO_TEXT all = NULL;
		uint64_t number;

		if (!reply_count(ring, "ring", &number))
			return false;
		all = text_format("%s,ring=\"%" PRIu64 "\"", labels, number);
		if (!sample(out, f, ring, all))
			return false;
	}
	return rings != NULL;
}

static bool
sample_connection(FILE *out, const struct family *f, const json_t *connection)
{
	AUTO_TEXT device = label_of(connection, "device", "device");
	AUTO_TEXT labels = NULL;
	uint64_t id;

	if (device == NULL || !reply_count(connection, "id", &id))
		return false;
	labels = text_format("connection=\"%" PRIu64 "\",%s", id, device);
	return f->scope == RINGS ? sample_rings(out, f, connection, labels)
				 : sample(out, f, connection, labels);
}

static bool
sample_named(
    FILE *out, const struct family *f, const json_t *object, const char *what)
{
	AUTO_TEXT labels = label_of(object, what, "name");

	return labels != NULL && sample(out, f, object, labels);
}

static bool
samples(FILE *out, const struct family *f, const json_t *status)
{
	static const char *const lists[] = {
		[REGIONS] = "regions",
		[DEVICES] = "devices",
		[CONNECTIONS] = "connections",
		[RINGS] = "connections",
	};
	const json_t *objects;
	bool good;

	if (f->scope == DAEMON)
		return sample(out, f, status, "");
	objects = reply_objects(status, lists[f->scope]);
	good = objects != NULL;
	for (size_t i = 0; good && i < json_array_size(objects); i++) {
		const json_t *object = json_array_get(objects, i);

		if (f->scope == REGIONS || f->scope == DEVICES)
			good = sample_named(out, f, object,
			    f->scope == REGIONS ? "region" : "device");
		else
			good = sample_connection(out, f, object);
	}
	return good;
}

static bool
render(FILE *out, const json_t *status)
{
	AUTO_TEXT version = label_of(status, "version", "version");

	if (version == NULL)
		return false;
	(void)fprintf(out,
	    "# TYPE " PREFIX "build info\n"
	    "# HELP " PREFIX "build The version of the daemon.\n" PREFIX
	    "build_info{%s} 1\n",
	    version);
	for (unsigned i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		const struct family *f = &families[i];

		(void)fprintf(out, "# TYPE " PREFIX "%s %s\n", f->name,
		    f->counter ? "counter" : "gauge");
		if (f->unit != NULL)
			(void)fprintf(
			    out, "# UNIT " PREFIX "%s %s\n", f->name, f->unit);
		(void)fprintf(
		    out, "# HELP " PREFIX "%s %s\n", f->name, f->help);
		if (!samples(out, f, status))
			return false;
	}
	(void)fputs("# EOF\n", out);
	return true;
}

enum ctl_status
metrics_command(const struct ctl_args *args)
{
	json_t *reply;
	enum ctl_status status = status_ask(args, &reply);

	if (status != CTL_OK)
		return status;
	status = text_show(render, reply);
	json_decref(reply);
	return status;
}
