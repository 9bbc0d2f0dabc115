/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The state of everything; see status.h. */
#include "config.h"

#include "daemon/supervisor/status.h"

#include "daemon/common/device_kind.h"
#include "daemon/common/loop.h"
#include "daemon/common/memory.h"
#include "daemon/common/profile.h"
#include "proto/names.h"
#include "sandbox/layers.h"

#include <string.h>
#include <sys/stat.h>

static const char *const access_names[] = {
	[MEMORY_READ_WRITE] = "read-write",
	[MEMORY_READ_ONLY] = "read-only",
	[MEMORY_COPY] = "copy",
};

/* JSON's numbers are signed here, and a worker may say any. */
static json_t *
number(uint64_t value)
{
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

/* Bytes that are there, in memory or, of a file, on its disk. */
static uint64_t
resident(const struct region *r)
{
	struct stat st;

	/* In units of 512 bytes: stat(2). */
	return fstat(r->fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

static bool
has_mapped(const struct priv_status *st, unsigned shmid)
{
	return (st->mapped[shmid / 64] >> (shmid % 64) & 1) != 0;
}

/* Connections that have the region mapped now. */
static unsigned
maps_of(const struct crew *crew, const struct region *region)
{
	unsigned n = 0;

	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		const struct worker_entry *w = &crew->workers[i];

		if (w->state != WORKER_SERVING || !w->answered)
			continue;
		for (unsigned k = 0; k < w->device->nshm; k++)
			n += w->device->shm[k].region == region &&
			     has_mapped(&w->status, w->device->shm[k].shmid);
	}
	return n;
}

static json_t *
region_json(const struct crew *crew, const struct region *r)
{
	return json_pack("{s:s, s:I, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:s?, "
			 "s:b, s:b, s:b}",
	    "name", r->info.name, "size", (json_int_t)r->info.size, "backing",
	    r->info.is_file != 0 ? "file" : "memory", "access",
	    access_names[r->info.access], "resident", number(resident(r)),
	    "huge_page", (json_int_t)r->info.page, "connections",
	    (json_int_t)r->connections, "maps", (json_int_t)maps_of(crew, r),
	    "max_connections", (json_int_t)r->info.max_connections,
	    "sync_error", r->failed != 0 ? strerror(-r->failed) : NULL,
	    "size_changed", r->resized, "kept", r->kept_outside, "retired",
	    r->retired);
}

static json_t *
device_json(const struct device *d)
{
	const struct profile *profile =
	    profile_by_index(d->info.device.profile);
	json_t *shm = json_array();

	for (unsigned i = 0; i < d->nshm; i++)
		(void)json_array_append_new(
		    shm, json_pack("{s:I, s:s, s:s}", "shmid",
			     (json_int_t)d->shm[i].shmid, "region",
			     d->shm[i].region->info.name, "access",
			     access_names[d->shm[i].access]));
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:s?, s:I, s:I, s:I, "
			 "s:I, s:b, s:o}",
	    "name", d->info.name, "type",
	    device_kinds[d->info.device.type].name, "virtio_id",
	    (json_int_t)d->info.virtio_id, "queues",
	    (json_int_t)d->info.device.queues, "config_size",
	    (json_int_t)d->info.device.config_size, "front_end",
	    profile != NULL ? profile->name : "", "socket",
	    d->info.socket[0] != '\0' ? d->info.socket : NULL, "connections",
	    (json_int_t)d->holders, "max_connections",
	    (json_int_t)d->info.max_connections, "served",
	    (json_int_t)d->served, "refused", (json_int_t)d->refused, "retired",
	    d->retired, "shm", shm);
}

static const char *
state_name(const struct worker_entry *w)
{
	if (!w->answered)
		return "unknown";
	if (w->status.started != 0)
		return "running";
	return w->status.negotiated != 0 ? "stopped" : "negotiating";
}

static json_t *
rings_json(const struct priv_status *st)
{
	json_t *rings = json_array();

	for (unsigned i = 0; i < st->nrings && i < PRIV_RINGS_MAX; i++)
		(void)json_array_append_new(rings,
		    json_pack("{s:I, s:b, s:I, s:I}", "ring", (json_int_t)i,
			"running", (st->running >> i & 1) != 0, "requests",
			(json_int_t)st->requests[i], "calls",
			(json_int_t)st->calls[i]));
	return rings;
}

/* Bits by their names. */
static json_t *
bits_json(uint64_t bits, const char *(*name)(unsigned bit))
{
	json_t *names = json_array();

	for (unsigned i = 0; i < 64; i++)
		if ((bits >> i & 1) != 0)
			(void)json_array_append_new(
			    names, name(i) != NULL ? json_string(name(i))
						   : json_sprintf("bit %u", i));
	return names;
}

static json_t *
mapped_json(const struct priv_status *st)
{
	json_t *mapped = json_array();

	for (unsigned i = 0; i < 256; i++)
		if (has_mapped(st, i))
			(void)json_array_append_new(
			    mapped, json_integer((json_int_t)i));
	return mapped;
}

static json_t *
layers_json(uint32_t missing)
{
	json_t *names = json_array();

	for (unsigned i = 0; i < LAYERS; i++)
		if ((missing & (1U << i)) != 0)
			(void)json_array_append_new(names,
			    json_string(
				sandbox_layer_name((enum sandbox_layer)i)));
	return json_pack("{s:o}", "missing", names);
}

static json_t *
connection_json(const struct worker_entry *w, uint64_t now)
{
	static const struct priv_status nothing;
	/* A worker that has been taken over may say what it likes. */
	const struct priv_status *st = w->answered ? &w->status : &nothing;
	uint64_t flushes = st->flushes;

	return json_pack("{s:I, s:s, s:I, s:I, s:I, s:f, s:s, s:o, s:o, s:o, "
			 "s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:b}",
	    "id", (json_int_t)w->conn, "device", w->device->info.name, "pid",
	    (json_int_t)w->front_end.pid, "uid", (json_int_t)w->front_end.uid,
	    "worker", (json_int_t)w->pid, "since",
	    (double)(now - w->since) / 1000, "state", state_name(w), "features",
	    bits_json(st->features, name_of_virtio_feature),
	    "protocol_features",
	    bits_json(st->protocol_features, name_of_protocol_feature),
	    "mapped", mapped_json(st), "rings", rings_json(st), "flushes",
	    number(flushes), "flush_errors", number(st->flush_errors),
	    "flush_mean_ns", number(flushes != 0 ? st->flush_ns / flushes : 0),
	    "flush_max_ns", number(st->flush_max_ns), "layers",
	    layers_json(w->ready ? w->layers.missing : 0), "rules",
	    (json_int_t)w->layers.rules, "answers", w->answered);
}

json_t *
status_json(const struct served *served, const struct crew *crew, pid_t pid,
    uint64_t started)
{
	json_t *regions = json_array(), *devices = json_array();
	json_t *connections = json_array();
	uint64_t now = loop_now();

	for (const struct region *r = served->regions; r != NULL; r = r->next)
		(void)json_array_append_new(regions, region_json(crew, r));
	for (const struct device *d = served->devices; d != NULL; d = d->next)
		(void)json_array_append_new(devices, device_json(d));
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (crew->workers[i].state == WORKER_SERVING)
			(void)json_array_append_new(connections,
			    connection_json(&crew->workers[i], now));
	return json_pack("{s:b, s:s, s:I, s:f, s:I, s:I, s:o, s:o, s:o}", "ok",
	    1, "version", PACKAGE_VERSION, "pid", (json_int_t)pid, "uptime",
	    (double)(now - started) / 1000, "generation",
	    (json_int_t)served->generation, "spare_workers",
	    (json_int_t)crew_count(crew, WORKER_SPARE), "regions", regions,
	    "devices", devices, "connections", connections);
}
