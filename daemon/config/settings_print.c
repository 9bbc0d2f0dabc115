/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* --check-config; see settings_print.h. */
#include "config.h"

#include "daemon/config/settings_print.h"

#include "daemon/config/keys.h"

/* Keys that the rest of the section leaves nothing to say. */
static bool
says_nothing(enum key_section section, unsigned id, const void *base)
{
	const struct region_settings *region = base;
	const struct shm_settings *shm = base;

	if (section == SECTION_SHM)
		return id == SHM_FALLBACK && shm->access == MEMORY_COPY;
	if (section != SECTION_REGION)
		return false;
	if (id == REGION_CREATE || id == REGION_SYNC)
		return region->file == NULL;
	return region->file != NULL &&
	       (id == REGION_PREALLOC || id == REGION_LOCK);
}

static void
print_section(
    FILE *out, const char *indent, enum key_section section, const void *base)
{
	const struct key *key;
	char text[KEYS_TEXT_MAX];

	for (unsigned i = 0; (key = key_by_id(section, i)) != NULL; i++)
		if (!says_nothing(section, i, base) &&
		    key_text(key, base, text)[0] != '\0')
			(void)fprintf(out,
			    key->list ? "%s%s = { %s }\n" : "%s%s = %s\n",
			    indent, key->name, text);
}

/* Where a device is that no file has. */
static void
print_door(FILE *out, const struct device_settings *device)
{
	if (device->socket == NULL && device->fd < 0 && device->connect == NULL)
		(void)fprintf(out,
		    "\t# the service manager has to hand over its socket, by "
		    "the name %s\n",
		    device->name);
	if (device->fd >= 0)
		(void)fprintf(out, "\t# --fd=%d\n", device->fd);
	if (device->connect != NULL)
		(void)fprintf(out, "\t# --connect=%s\n", device->connect);
}

void
settings_print(const struct settings *settings, FILE *out)
{
	(void)fprintf(out, "# %u region%s, %u device%s\n", settings->nregions,
	    settings->nregions == 1 ? "" : "s", settings->ndevices,
	    settings->ndevices == 1 ? "" : "s");
	print_section(out, "", SECTION_TOP, settings);
	if (settings->control_socket == NULL)
		(void)fprintf(out, "control-socket = none\n");
	for (unsigned i = 0; i < settings->nregions; i++) {
		const struct region_settings *region = &settings->regions[i];

		(void)fprintf(out, "\nregion \"%s\" {\n", region->name);
		print_section(out, "\t", SECTION_REGION, region);
		(void)fprintf(out, "}\n");
	}
	for (unsigned i = 0; i < settings->ndevices; i++) {
		const struct device_settings *device = &settings->devices[i];

		(void)fprintf(out, "\ndevice \"%s\" {\n", device->name);
		print_door(out, device);
		print_section(out, "\t", SECTION_DEVICE, device);
		for (unsigned k = 0; k < device->nshm; k++) {
			(void)fprintf(
			    out, "\tshm %u {\n", device->shm[k].shmid);
			print_section(
			    out, "\t\t", SECTION_SHM, &device->shm[k]);
			(void)fprintf(out, "\t}\n");
		}
		(void)fprintf(out, "}\n");
	}
}
