/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What is to be served: making, comparing and freeing it; see settings.h. The
 * check is in check.c.
 */
#include "config.h"

#include "daemon/config/settings.h"

#include "daemon/config/keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct settings_text {
	struct settings_text *next;
	char text[];
};

const char *
settings_text(struct settings *settings, const char *text)
{
	size_t size = strlen(text) + 1;
	struct settings_text *kept = malloc(sizeof(*kept) + size);

	if (kept == NULL)
		return NULL;
	memcpy(kept->text, text, size);
	kept->next = settings->texts;
	settings->texts = kept;
	return kept->text;
}

void
settings_init(struct settings *settings)
{
	memset(settings, 0, sizeof(*settings));
	settings->worker = WORKER_PATH;
	settings->control_gid = (gid_t)-1;
	settings->control_fd = -1;
	key_defaults(SECTION_TOP, settings, settings);
}

/* Keep a copy of a text that the old settings may have. */
static bool
again(struct settings *settings, const char **to, const char *from)
{
	*to = from == NULL ? NULL : settings_text(settings, from);
	return from == NULL || *to != NULL;
}

bool
settings_init_again(struct settings *settings, const struct settings *old)
{
	settings_init(settings);
	settings->once = old->once;
	settings->activation = old->activation;
	for (unsigned i = 0; i < TOP_KEYS; i++)
		if (old->given[i].line != 0 && old->given[i].file == NULL)
			settings->given[i] = old->given[i];
	if (settings->given[TOP_SANDBOX].line != 0)
		settings->strict = old->strict;
	if (settings->given[TOP_LOG_LEVEL].line != 0)
		settings->log_level = old->log_level;
	if (settings->given[TOP_CONTROL_GROUP].line != 0)
		settings->control_gid = old->control_gid;
	return again(settings, &settings->config, old->config) &&
	       again(settings, &settings->worker, old->worker) &&
	       (settings->given[TOP_USER].line == 0 ||
		   again(settings, &settings->user, old->user)) &&
	       (settings->given[TOP_CONTROL_SOCKET].line == 0 ||
		   again(settings, &settings->control_socket,
		       old->control_socket != NULL ? old->control_socket
						   : "none"));
}

static void
no_memory(char *why)
{
	(void)snprintf(why, KEYS_WHY_MAX, "%s", strerror(ENOMEM));
}

/* Room for one more of size bytes, all zeros; or NULL. */
static void *
one_more(void *array, unsigned n, size_t size, char *why)
{
	char *more = reallocarray(array, n + 1U, size);

	if (more == NULL)
		no_memory(why);
	else
		memset(more + n * size, 0, size);
	return more;
}

struct region_settings *
settings_add_region(struct settings *settings, const struct place *place,
    const char *name, char *why)
{
	struct region_settings *region;

	if (!key_name_ok(name, why))
		return NULL;
	if (settings->nregions == SETTINGS_REGIONS_MAX) {
		(void)snprintf(why, KEYS_WHY_MAX, "more than %u regions",
		    SETTINGS_REGIONS_MAX);
		return NULL;
	}
	region = one_more(
	    settings->regions, settings->nregions, sizeof(*region), why);
	if (region == NULL)
		return NULL;
	settings->regions = region;
	region += settings->nregions++;
	region->place = *place;
	region->numa_node = -1;
	(void)snprintf(region->name, sizeof(region->name), "%s", name);
	key_defaults(SECTION_REGION, settings, region);
	return region;
}

struct device_settings *
settings_add_device(struct settings *settings, const struct place *place,
    const char *name, char *why)
{
	struct device_settings *device;

	if (!key_name_ok(name, why))
		return NULL;
	if (settings->ndevices == SETTINGS_DEVICES_MAX) {
		(void)snprintf(why, KEYS_WHY_MAX, "more than %u devices",
		    SETTINGS_DEVICES_MAX);
		return NULL;
	}
	device = one_more(
	    settings->devices, settings->ndevices, sizeof(*device), why);
	if (device == NULL)
		return NULL;
	settings->devices = device;
	device += settings->ndevices++;
	device->place = *place;
	device->fd = -1;
	device->socket_uid = (uid_t)-1;
	device->socket_gid = (gid_t)-1;
	(void)snprintf(device->name, sizeof(device->name), "%s", name);
	key_defaults(SECTION_DEVICE, settings, device);
	return device;
}

struct shm_settings *
settings_add_shm(struct device_settings *device, const struct place *place,
    unsigned shmid, char *why)
{
	/* More than there are numbers for means that some are there twice,
	 * which is told of each. */
	struct shm_settings *shm =
	    one_more(device->shm, device->nshm, sizeof(*shm), why);

	if (shm == NULL)
		return NULL;
	device->shm = shm;
	shm += device->nshm++;
	shm->place = *place;
	shm->shmid = shmid;
	return shm;
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool
settings_same_region(
    const struct region_settings *a, const struct region_settings *b)
{
	return strcmp(a->name, b->name) == 0 && a->size == b->size &&
	       same_text(a->image, b->image) && same_text(a->file, b->file) &&
	       a->has_sha256 == b->has_sha256 &&
	       memcmp(a->sha256, b->sha256, sizeof(a->sha256)) == 0 &&
	       a->create == b->create && a->sync == b->sync &&
	       a->hugepages == b->hugepages && a->numa_node == b->numa_node &&
	       a->prealloc == b->prealloc && a->lock == b->lock &&
	       a->access == b->access;
}

bool
settings_same_door(
    const struct device_settings *a, const struct device_settings *b)
{
	/* By the same name the same socket is handed over. */
	if (a->handed && b->handed)
		return true;
	return same_text(a->socket, b->socket) && a->fd == b->fd &&
	       same_text(a->connect, b->connect) &&
	       a->socket_mode == b->socket_mode &&
	       a->socket_uid == b->socket_uid && a->socket_gid == b->socket_gid;
}

void
settings_free(struct settings *settings)
{
	for (unsigned i = 0; i < settings->ndevices; i++)
		free(settings->devices[i].shm);
	free(settings->devices);
	free(settings->regions);
	while (settings->texts != NULL) {
		struct settings_text *text = settings->texts;

		settings->texts = text->next;
		free(text);
	}
	memset(settings, 0, sizeof(*settings));
}
