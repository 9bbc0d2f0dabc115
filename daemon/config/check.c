/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Whether what is to be served can be; see settings.h. */
#include "config.h"

#include "daemon/config/settings.h"

#include "daemon/config/keys.h"
#include "daemon/config/region_source.h"
#include "daemon/config/size.h"
#include "proto/checked.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/un.h>
#include <unistd.h>

/* Who workers are when root starts us. */
#define DEFAULT_USER PACKAGE_NAME
#define FALLBACK_USER "nobody"

/* VIRTIO 1.3, 5.19. */
#define VIRTIO_ID_PMEM 27U

#define NUMA_ONLINE "/sys/devices/system/node/online"

struct check {
	struct settings *settings;
	settings_complain *complain;
	void *ctx;
	bool wrong; /* something was */
	/* Of each region. */
	struct file_id {
		bool known, told; /* its file is there; its size was refused */
		dev_t dev;
		ino_t ino;
	} * files;
};

static bool __attribute__((format(printf, 3, 4)))
wrong(struct check *c, struct place place, const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	c->wrong = true;
	c->complain(c->ctx, &place, text);
	return false;
}

/* The place of a key that may have been given. */
static struct place
place_of(const struct place *section, const unsigned *lines, unsigned key)
{
	struct place place = *section;

	if (lines[key] != 0)
		place.line = lines[key];
	return place;
}

static struct place
in_region(const struct region_settings *region, enum region_key key)
{
	return place_of(&region->place, region->lines, key);
}

static struct place
in_device(const struct device_settings *device, enum device_key key)
{
	return place_of(&device->place, device->lines, key);
}

static struct place
in_shm(const struct shm_settings *shm, enum shm_key key)
{
	return place_of(&shm->place, shm->lines, key);
}

/* What a key is called where it stands: an option has two dashes. */
static const char *
dashes(struct place place)
{
	return place.file == NULL ? "--" : "";
}

/* "FILE:LINE", or "the command line". */
static const char *
place_text(struct place place)
{
	static char text[512];

	if (place.file == NULL)
		return "the command line";
	(void)snprintf(text, sizeof(text), "%s:%u", place.file, place.line);
	return text;
}

/* --- sizes --------------------------------------------------------------- */

/* Each device that has the region makes this size the least one from there on
 * that suits it; or, down, the largest up to there. */
static uint64_t
fit(const struct check *c, unsigned region, uint64_t size, bool down)
{
	const struct settings *s = c->settings;
	/* Where there is none: a page. */
	uint64_t step = (uint64_t)sysconf(_SC_PAGESIZE);

	if (s->regions[region].hugepages > step)
		step = s->regions[region].hugepages;
	if (!down && size > UINT64_MAX - step)
		return size;
	size = (size + (down ? 0 : step - 1)) / step * step;
	for (unsigned i = 0; i < s->ndevices; i++) {
		const struct device_settings *d = &s->devices[i];
		const struct device_kind *kind = &device_kinds[d->type];

		for (unsigned k = 0; k < d->nshm; k++)
			if (d->shm[k].region == region)
				size =
				    down ? size_largest(kind, d->profile, size)
					 : size_nearest(kind, d->profile, size);
	}
	return size;
}

static bool
check_size(struct check *c, unsigned index)
{
	const struct region_settings *r = &c->settings->regions[index];
	const struct place place = in_region(r, REGION_SIZE);
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	char has[SIZE_TEXT_MAX], works[SIZE_TEXT_MAX], huge[SIZE_TEXT_MAX];

	(void)size_text(r->size, has);
	/* A file is on a disk. */
	if (r->file == NULL && r->size > size_of_host())
		return wrong(c, place,
		    "region %s: size=%s is more than the memory and swap of "
		    "this host; size=%s works",
		    r->name, has,
		    size_text(fit(c, index, size_of_host(), true), works));
	(void)size_text(fit(c, index, r->size, false), works);
	if (r->size % page != 0)
		return wrong(c, place,
		    "region %s: size=%s is not a multiple of the page size, "
		    "%" PRIu64 " bytes; size=%s works",
		    r->name, has, page, works);
	if (r->hugepages != 0 && r->size % r->hugepages != 0)
		return wrong(c, place,
		    "region %s: size=%s is not a multiple of hugepages=%s; "
		    "size=%s works",
		    r->name, has, size_text(r->hugepages, huge), works);
	return true;
}

/* A region's size, as this device needs it. */
static bool
check_align(struct check *c, const struct device_settings *d, unsigned index)
{
	const struct region_settings *r = &c->settings->regions[index];
	const struct device_kind *kind = &device_kinds[d->type];
	char has[SIZE_TEXT_MAX], works[SIZE_TEXT_MAX];

	if (r->size % size_align(kind) == 0)
		return true;
	return wrong(c, in_region(r, REGION_SIZE),
	    "region %s: size=%s: %s; size=%s works", r->name,
	    size_text(r->size, has), kind->why_align,
	    size_text(fit(c, index, r->size, false), works));
}

/* All regions of a device together. */
static bool
check_sum(struct check *c, const struct device_settings *d)
{
	struct place place = in_device(d, DEVICE_FRONT_END);
	const struct device_kind *kind = &device_kinds[d->type];
	struct region_settings *r = NULL;
	char has[SIZE_TEXT_MAX], works[SIZE_TEXT_MAX];
	uint64_t sum = 0, memory = 0;

	for (unsigned i = 0; i < d->nshm; i++) {
		r = &c->settings->regions[d->shm[i].region];
		if (!checked_add(sum, r->size, &sum) ||
		    (r->file == NULL &&
			(!checked_add(memory, r->size, &memory) ||
			    memory > size_of_host())))
			return place.file == NULL
				   ? wrong(c, place,
					 "--region: together they are more "
					 "than the memory and swap of this "
					 "host")
				   : wrong(c, place,
					 "device %s: its regions together are "
					 "more than the memory and swap of "
					 "this host",
					 d->name);
	}
	if (!d->profile->power_of_two || checked_power_of_two(sum) || r == NULL)
		return true;
	(void)size_text(sum, has);
	(void)size_text(size_nearest(kind, d->profile, sum), works);
	if (d->nshm == 1) {
		place = in_region(r, REGION_SIZE);
		return wrong(c, place,
		    "region %s: size=%s: with %sfront-end=%s it has to be a "
		    "power of two; size=%s works",
		    r->name, has, dashes(place), d->profile->name,
		    size_text(fit(c, d->shm[0].region, r->size, false), works));
	}
	if (place.file == NULL)
		return wrong(c, place,
		    "--region: with --front-end=%s the sizes have to add up "
		    "to a power of two; they are %s, and %s works",
		    d->profile->name, has, works);
	return wrong(c, place,
	    "device %s: with front-end=%s the sizes of its regions have to "
	    "add up to a power of two; they are %s, and %s works",
	    d->name, d->profile->name, has, works);
}

/* --- regions ------------------------------------------------------------- */

static bool
check_image(struct check *c, unsigned index)
{
	struct region_settings *r = &c->settings->regions[index];
	const struct place place = in_region(r, REGION_IMAGE);
	char has[SIZE_TEXT_MAX], room[SIZE_TEXT_MAX], works[SIZE_TEXT_MAX];
	uint64_t size;
	int rc = region_image_size(r->image, &size);

	if (rc == -EINVAL)
		return wrong(
		    c, place, "image=%s: not a regular file", r->image);
	if (rc == -ENODATA)
		return wrong(c, place, "image=%s: the file is empty", r->image);
	if (rc < 0)
		return wrong(c, place, "image=%s: %s", r->image, strerror(-rc));
	if (r->size == 0)
		r->size = fit(c, index, size, false);
	if (size > r->size)
		return wrong(c, place,
		    "region %s: the image has %s bytes and does not fit into "
		    "size=%s; size=%s works",
		    r->name, size_text(size, has), size_text(r->size, room),
		    size_text(fit(c, index, size, false), works));
	return true;
}

/* Where a file is to be made there must be a directory. */
static bool
check_directory(
    struct check *c, struct place place, const char *what, const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[4096] = ".";
	struct stat st;

	if (slash != NULL)
		(void)snprintf(dir, sizeof(dir), "%.*s",
		    slash == path ? 1 : (int)(slash - path), path);
	if (stat(dir, &st) < 0)
		return wrong(c, place, "%s=%s: the directory %s: %s", what,
		    path, dir, strerror(errno));
	return S_ISDIR(st.st_mode) ||
	       wrong(c, place, "%s=%s: %s is not a directory", what, path, dir);
}

/* The file of a region, which is there. */
static bool
check_file_size(struct check *c, struct region_settings *r, uint64_t size)
{
	char has[SIZE_TEXT_MAX], asked[SIZE_TEXT_MAX];

	(void)size_text(size, has);
	if (r->size == 0 && size == 0)
		return wrong(c, in_region(r, REGION_FILE),
		    "file=%s: the file is empty; create=yes and a size make "
		    "it longer",
		    r->file);
	if (r->size == 0)
		r->size = size;
	(void)size_text(r->size, asked);
	if (size > r->size)
		return wrong(c, in_region(r, REGION_SIZE),
		    "region %s: size=%s: the file has %s, and is not made "
		    "shorter; size=%s works, or none",
		    r->name, asked, has, has);
	if (size < r->size && !r->create)
		return wrong(c, in_region(r, REGION_SIZE),
		    "region %s: size=%s: the file has %s; size=%s works, or "
		    "create=yes, which makes it longer",
		    r->name, asked, has, has);
	return true;
}

static bool
check_file(struct check *c, unsigned index)
{
	struct region_settings *r = &c->settings->regions[index];
	const struct place place = in_region(r, REGION_FILE);
	struct stat st;

	if (stat(r->file, &st) < 0) {
		if (errno != ENOENT)
			return wrong(
			    c, place, "file=%s: %s", r->file, strerror(errno));
		if (!r->create)
			return wrong(c, place,
			    "file=%s: there is no such file; with create=yes "
			    "and a size it is made",
			    r->file);
		if (r->size == 0)
			return wrong(c, place,
			    "file=%s: there is no such file, and to make it "
			    "a size is needed",
			    r->file);
		return check_directory(c, place, "file", r->file);
	}
	if (!S_ISREG(st.st_mode))
		return wrong(c, place, "file=%s: not a regular file", r->file);
	c->files[index] = (struct file_id){
		.known = true, .dev = st.st_dev, .ino = st.st_ino
	};
	return check_file_size(c, r, (uint64_t)st.st_size);
}

/* Two regions of one file would be one, and each would believe to be alone. */
static void
check_same_file(struct check *c, unsigned index)
{
	const struct region_settings *r = &c->settings->regions[index];
	const struct file_id *mine = &c->files[index];

	for (unsigned i = 0; i < index; i++) {
		const struct region_settings *o = &c->settings->regions[i];
		const struct file_id *theirs = &c->files[i];
		bool same =
		    mine->known && theirs->known
			? mine->dev == theirs->dev && mine->ino == theirs->ino
			: o->file != NULL && strcmp(o->file, r->file) == 0;

		if (!same)
			continue;
		(void)wrong(c, in_region(r, REGION_FILE),
		    "file=%s: region %s has this file already (%s); devices "
		    "can share that region",
		    r->file, o->name, place_text(in_region(o, REGION_FILE)));
		return;
	}
}

/* Keys that say nothing about a file. */
static void
check_file_keys(struct check *c, const struct region_settings *r)
{
	static const struct {
		enum region_key key;
		const char *why;
	} keys[] = {
		{ REGION_HUGEPAGES, "the file's filesystem chooses its pages" },
		{ REGION_NUMA_NODE,
		    "the kernel places a file's pages where they are used" },
		{ REGION_PREALLOC,
		    "the file is there; its disk has room or not" },
		{ REGION_LOCK,
		    "a file's pages go to its disk, not to the swap" },
	};

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (r->lines[keys[i].key] != 0)
			(void)wrong(c, in_region(r, keys[i].key),
			    "region %s: %s does not go with file: %s", r->name,
			    key_by_id(SECTION_REGION, keys[i].key)->name,
			    keys[i].why);
}

/* Which keys go together. */
static void
check_keys(struct check *c, const struct region_settings *r)
{
	if (r->image != NULL && r->file != NULL)
		(void)wrong(c, in_region(r, REGION_FILE),
		    "region %s: image and file exclude each other: image is "
		    "copied, file is the region itself",
		    r->name);
	if (r->lines[REGION_SHA256] != 0 && r->image == NULL)
		(void)wrong(c, in_region(r, REGION_SHA256),
		    "region %s: sha256 is that of an image, and there is none",
		    r->name);
	if (r->lines[REGION_CREATE] != 0 && r->file == NULL)
		(void)wrong(c, in_region(r, REGION_CREATE),
		    "region %s: create is about a file, and there is none",
		    r->name);
	if (r->lines[REGION_SYNC] != 0 && r->file == NULL)
		(void)wrong(c, in_region(r, REGION_SYNC),
		    "region %s: sync is about a file, and there is none: "
		    "memory needs none",
		    r->name);
	if (r->file != NULL)
		check_file_keys(c, r);
	if (r->access == MEMORY_READ_ONLY && r->image == NULL &&
	    r->file == NULL && r->lines[REGION_IMAGE] == 0 &&
	    r->lines[REGION_FILE] == 0)
		(void)wrong(c, in_region(r, REGION_ACCESS),
		    "region %s: access=read-only without image= is zeros for "
		    "ever; image=FILE says what to read",
		    r->name);
	if (r->release == RELEASE_KEEP)
		return;
	if (r->image != NULL || r->file != NULL)
		(void)wrong(c, in_region(r, REGION_ON_RELEASE),
		    "region %s: on-release: what %s holds would be lost; it "
		    "goes with memory that begins empty",
		    r->name, r->file != NULL ? "the file" : "the image");
	else if (r->access == MEMORY_READ_ONLY)
		(void)wrong(c, in_region(r, REGION_ON_RELEASE),
		    "region %s: on-release: with access=read-only nobody can "
		    "have written to it",
		    r->name);
}

/* Whether a list of the kernel, such as "0-3,5", has number in it. */
static bool
in_list(const char *list, unsigned long number)
{
	while (*list != '\0') {
		char *end;
		unsigned long first = strtoul(list, &end, 10);
		unsigned long last = first;

		if (end == list)
			return false;
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		if (number >= first && number <= last)
			return true;
		list = *end == ',' ? end + 1 : "";
	}
	return false;
}

static void
check_node(struct check *c, const struct region_settings *r)
{
	FILE *file = fopen(NUMA_ONLINE, "re");
	char list[256] = "0";

	if (file != NULL) {
		if (fgets(list, sizeof(list), file) != NULL)
			list[strcspn(list, "\n")] = '\0';
		(void)fclose(file);
	}
	if (!in_list(list, (unsigned long)r->numa_node))
		(void)wrong(c, in_region(r, REGION_NUMA_NODE),
		    "region %s: numa-node=%d: this host has no such node, but "
		    "%s",
		    r->name, r->numa_node, list);
}

static void
check_hugepages(struct check *c, const struct region_settings *r)
{
	char path[96], has[SIZE_TEXT_MAX];

	(void)snprintf(path, sizeof(path),
	    "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB",
	    r->hugepages / 1024);
	if (access(path, F_OK) < 0)
		(void)wrong(c, in_region(r, REGION_HUGEPAGES),
		    "region %s: hugepages=%s: this host has no pages of this "
		    "size: there is no %s",
		    r->name, size_text(r->hugepages, has), path);
}

static void
check_region(struct check *c, unsigned index)
{
	struct region_settings *r = &c->settings->regions[index];
	bool ok = true;

	for (unsigned i = 0; i < index; i++)
		if (strcmp(c->settings->regions[i].name, r->name) == 0) {
			(void)wrong(c, r->place,
			    "region %s: there is one with this name already "
			    "(%s)",
			    r->name, place_text(c->settings->regions[i].place));
			break;
		}
	check_keys(c, r);
	if (r->hugepages != 0 && r->file == NULL)
		check_hugepages(c, r);
	if (r->numa_node >= 0 && r->file == NULL)
		check_node(c, r);
	if (r->image != NULL && r->file == NULL)
		ok = check_image(c, index);
	if (r->file != NULL) {
		ok = check_file(c, index);
		check_same_file(c, index);
	}
	/* Of what was given and is wrong its reader has told. */
	if (r->size == 0) {
		if (r->image == NULL && r->file == NULL &&
		    r->lines[REGION_SIZE] == 0 && r->lines[REGION_IMAGE] == 0 &&
		    r->lines[REGION_FILE] == 0)
			(void)wrong(c, r->place,
			    r->place.file == NULL
				? "--region: size= or image= is missing (%s)"
				: "region %s: size, image or file is missing",
			    r->name);
		return;
	}
	c->files[index].told = !check_size(c, index) || !ok;
}

/* Memory that is taken at once, or cannot be given back. */
static void
check_taken(struct check *c)
{
	const struct settings *s = c->settings;
	const struct region_settings *last = NULL;
	struct sysinfo info;
	uint64_t sum = 0, ram;
	char has[SIZE_TEXT_MAX];

	if (sysinfo(&info) < 0)
		return;
	ram = (uint64_t)info.totalram * info.mem_unit;
	for (unsigned i = 0; i < s->nregions; i++) {
		const struct region_settings *r = &s->regions[i];

		if (r->file != NULL ||
		    (!r->prealloc && !r->lock && r->hugepages == 0))
			continue;
		last = r;
		if (!checked_add(sum, r->size, &sum))
			sum = UINT64_MAX;
	}
	if (last != NULL && sum > ram)
		(void)wrong(c, last->place,
		    "region %s: the regions with prealloc, lock or hugepages "
		    "are together more than the memory of this host, %s",
		    last->name, size_text(ram, has));
}

/* --- shared memory of a device ------------------------------------------- */

static const char torn[] =
    "a copy of what others write to meanwhile would be torn";

/* What front-ends get: shm->access, as it was said, becomes that. */
static bool
check_access(
    struct check *c, const struct device_settings *d, struct shm_settings *shm)
{
	const struct region_settings *r = &c->settings->regions[shm->region];
	const struct place place = in_shm(shm, SHM_ACCESS);
	bool shared = r->access == MEMORY_READ_WRITE;

	if (shm->lines[SHM_ACCESS] == 0)
		shm->access = r->access;
	if (shm->access == MEMORY_READ_WRITE && !shared)
		return wrong(c, place,
		    "shm %u: access=read-write: region %s is read-only (%s)",
		    shm->shmid, r->name,
		    place_text(in_region(r, REGION_ACCESS)));
	if (shm->access == MEMORY_COPY && shared)
		return wrong(c, place,
		    "shm %u: access=copy: %s; region %s needs "
		    "access=read-only",
		    shm->shmid, torn, r->name);
	if (shm->fallback_copy && shm->access != MEMORY_READ_ONLY)
		return wrong(c, in_shm(shm, SHM_FALLBACK),
		    shm->access == MEMORY_COPY
			? "region %s: read-only-fallback=copy says nothing "
			  "where access=copy"
			: "region %s: read-only-fallback=copy is for regions "
			  "with access=read-only",
		    r->name);
	if (shm->fallback_copy && shared)
		return wrong(c, in_shm(shm, SHM_FALLBACK),
		    "shm %u: read-only-fallback=copy: %s; region %s needs "
		    "access=read-only",
		    shm->shmid, torn, r->name);
	if (shm->access != MEMORY_READ_ONLY || d->profile->maps_read_only)
		return true;
	if (shared)
		return wrong(c, place,
		    "shm %u: access=read-only: %sfront-end=%s maps no memory "
		    "but what it can write, and %s; region %s with "
		    "access=read-only could be copied",
		    shm->shmid, dashes(place), d->profile->name, torn, r->name);
	if (!shm->fallback_copy)
		return wrong(c, place,
		    "region %s: access=read-only: %sfront-end=%s maps no "
		    "memory but what it can write; with "
		    "read-only-fallback=copy each front-end gets a copy of "
		    "its own",
		    r->name, dashes(place), d->profile->name);
	shm->access = MEMORY_COPY;
	return true;
}

/* Find the regions by their names. Returns whether all are there. */
static bool
find_regions(struct check *c, struct device_settings *d)
{
	struct settings *s = c->settings;
	bool found = true;

	for (unsigned i = 0; i < d->nshm; i++) {
		struct shm_settings *shm = &d->shm[i];

		shm->region = 0;
		while (shm->name != NULL && shm->region < s->nregions &&
		       strcmp(s->regions[shm->region].name, shm->name) != 0)
			shm->region++;
		if (shm->name != NULL && shm->region < s->nregions)
			continue;
		found = false;
		shm->region = UINT32_MAX;
		if (shm->name != NULL)
			(void)wrong(c, in_shm(shm, SHM_REGION),
			    "region=%s: there is no region of this name",
			    shm->name);
		else if (shm->lines[SHM_REGION] == 0)
			(void)wrong(c, shm->place,
			    "shm %u: region is missing: which one is it?",
			    shm->shmid);
	}
	return found;
}

static void
check_shmids(struct check *c, const struct device_settings *d)
{
	const struct device_kind *kind = &device_kinds[d->type];

	for (unsigned i = 0; i < d->nshm; i++) {
		const struct shm_settings *shm = &d->shm[i];
		const char *what =
		    shm->place.file == NULL ? "--region: shmid=" : "shm ";

		for (unsigned k = 0; k < i; k++)
			if (d->shm[k].shmid == shm->shmid) {
				(void)wrong(c, shm->place,
				    "%s%u is there twice; the first is at %s",
				    what, shm->shmid,
				    place_text(d->shm[k].place));
				break;
			}
		if (shm->shmid > kind->max_shmid)
			(void)wrong(c, shm->place,
			    "%s%u: a %s device has the one region %s0", what,
			    shm->shmid, kind->name,
			    shm->place.file == NULL ? "shmid=" : "shm ");
	}
}

static void
check_shm(struct check *c, struct device_settings *d)
{
	bool sizes = true;

	if (d->nshm == 0) {
		if (d->place.file == NULL)
			(void)wrong(c, d->place,
			    "--region is missing, such as --region "
			    "shmid=0,size=64M");
		else
			(void)wrong(c, d->place,
			    "device %s: a region is missing, such as shm 0 { "
			    "region = NAME }",
			    d->name);
		return;
	}
	check_shmids(c, d);
	if (d->nshm > d->profile->max_regions) {
		if (d->place.file == NULL)
			(void)wrong(c, d->place,
			    "--region: --front-end=%s takes at most %u",
			    d->profile->name, d->profile->max_regions);
		else
			(void)wrong(c, in_device(d, DEVICE_FRONT_END),
			    "device %s: front-end=%s takes at most %u regions",
			    d->name, d->profile->name, d->profile->max_regions);
	}
	for (unsigned i = 0; i < d->nshm; i++) {
		unsigned index = d->shm[i].region;

		if (index == UINT32_MAX) {
			sizes = false;
			continue;
		}
		(void)check_access(c, d, &d->shm[i]);
		if (c->settings->regions[index].size == 0 ||
		    c->files[index].told) {
			sizes = false;
		} else if (!check_align(c, d, index)) {
			c->files[index].told = true;
			sizes = false;
		}
	}
	if (sizes && !check_sum(c, d) && d->nshm == 1)
		c->files[d->shm[0].region].told = true;
}

/* --- devices ------------------------------------------------------------- */

static void
check_path(
    struct check *c, struct place place, const char *what, const char *path)
{
	struct sockaddr_un addr;

	if (strlen(path) >= sizeof(addr.sun_path))
		(void)wrong(c, place,
		    "%s=%s: too long: the path of a socket has at most %zu "
		    "bytes",
		    what, path, sizeof(addr.sun_path) - 1);
	else
		(void)check_directory(c, place, what, path);
}

/* The path of a socket, or NULL. */
static const char *
path_of(struct settings *s, int fd)
{
	struct sockaddr_un addr = { 0 };
	socklen_t len = sizeof(addr) - 1;

	if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0 ||
	    addr.sun_path[0] == '\0')
		return NULL;
	return settings_text(s, addr.sun_path);
}

/* What a service manager has handed over goes before paths, and after --fd. */
static void
take_handed(struct check *c, struct device_settings *d)
{
	struct settings *s = c->settings;
	struct handed *h = NULL;

	if (s->activation != NULL)
		h = activation_socket(s->activation, d->name);
	if (s->activation != NULL && h == NULL && d->place.file == NULL)
		h = activation_only_socket(s->activation);
	if (h == NULL)
		return;
	h->known = true;
	if (d->fd >= 0 || d->connect != NULL)
		return;
	d->fd = h->fd;
	d->handed = true;
	d->socket = path_of(s, h->fd);
}

static void
check_door(struct check *c, struct device_settings *d)
{
	const struct place place = in_device(d, DEVICE_SOCKET);
	int ways = (d->socket != NULL) + (d->fd >= 0) + (d->connect != NULL);

	take_handed(c, d);
	if (d->handed)
		return;
	if (place.file == NULL && ways == 0)
		(void)wrong(c, place,
		    "--socket-path, --fd or --connect is missing: where do "
		    "front-ends come from?");
	else if (ways > 1)
		(void)wrong(c, place,
		    "--socket-path, --fd and --connect exclude each other");
	else if (ways == 0 && d->lines[DEVICE_SOCKET] == 0 &&
		 !c->settings->look_only)
		(void)wrong(c, place,
		    "device %s: socket is missing: where do front-ends come "
		    "from? (systemd can hand one over: FileDescriptorName=%s)",
		    d->name, d->name);
	if (d->socket != NULL)
		check_path(c, place,
		    place.file == NULL ? "--socket-path" : "socket", d->socket);
}

/* What a pmem device has of its own. */
static void
check_kind(struct check *c, struct device_settings *d)
{
	static const struct {
		enum device_key key;
		const char *why;
	} raw_only[] = {
		{ DEVICE_CONFIG, "its configuration space says where its "
				 "memory is" },
		{ DEVICE_CONFIG_FILE, "its configuration space says where its "
				      "memory is" },
		{ DEVICE_QUEUES, "it has one" },
		{ DEVICE_VIRTIO_ID, "it has number 27" },
	};

	if (d->lines[DEVICE_CONFIG] != 0 && d->lines[DEVICE_CONFIG_FILE] != 0)
		(void)wrong(c, in_device(d, DEVICE_CONFIG_FILE),
		    "device %s: config and config-file exclude each other",
		    d->name);
	if (d->type != DEVICE_PMEM)
		return;
	for (unsigned i = 0; i < sizeof(raw_only) / sizeof(raw_only[0]); i++)
		if (d->lines[raw_only[i].key] != 0 &&
		    (raw_only[i].key != DEVICE_QUEUES || d->queues > 1) &&
		    (raw_only[i].key != DEVICE_VIRTIO_ID ||
			d->virtio_id != VIRTIO_ID_PMEM))
			(void)wrong(c, in_device(d, raw_only[i].key),
			    "device %s: %s is for type=raw; of a pmem device "
			    "%s",
			    d->name,
			    key_by_id(SECTION_DEVICE, raw_only[i].key)->name,
			    raw_only[i].why);
	d->virtio_id = VIRTIO_ID_PMEM;
}

static void
check_device(struct check *c, unsigned index)
{
	struct device_settings *d = &c->settings->devices[index];
	bool name = false, socket = false;

	if (strcmp(d->name, ACTIVATION_CONTROL) == 0)
		(void)wrong(c, d->place,
		    "device %s: that is the name of the control socket, where "
		    "systemd hands over sockets by name",
		    d->name);
	check_door(c, d);
	for (unsigned i = 0; i < index; i++) {
		const struct device_settings *o = &c->settings->devices[i];

		if (!name && strcmp(o->name, d->name) == 0) {
			name = true;
			(void)wrong(c, d->place,
			    "device %s: there is one with this name already "
			    "(%s)",
			    d->name, place_text(o->place));
		}
		if (!socket && d->socket != NULL && o->socket != NULL &&
		    strcmp(o->socket, d->socket) == 0) {
			socket = true;
			(void)wrong(c, in_device(d, DEVICE_SOCKET),
			    "socket=%s: device %s has this socket already "
			    "(%s)",
			    d->socket, o->name,
			    place_text(in_device(o, DEVICE_SOCKET)));
		}
	}
	check_kind(c, d);
	check_shm(c, d);
}

/* --- the whole ----------------------------------------------------------- */

/* Find the user that workers run as. */
static bool
choose_user(struct check *c)
{
	struct settings *s = c->settings;
	const struct place place = s->given[TOP_USER];
	const char *asked = s->user, *name = "this user";
	const struct passwd *pw;

	s->change_ids = geteuid() == 0;
	if (!s->change_ids) {
		s->uid = geteuid();
		if (asked != NULL &&
		    ((pw = getpwnam(asked)) == NULL || pw->pw_uid != s->uid))
			return wrong(c, place,
			    "%suser=%s: only root can run workers as another "
			    "user",
			    dashes(place), asked);
		pw = getpwuid(s->uid);
	} else {
		pw = getpwnam(asked != NULL ? asked : DEFAULT_USER);
		if (pw == NULL && asked == NULL)
			pw = getpwnam(FALLBACK_USER);
		if (pw == NULL)
			return wrong(c, place,
			    "%suser=%s: there is no such user", dashes(place),
			    asked != NULL ? asked : FALLBACK_USER);
		if (pw->pw_uid == 0)
			return wrong(c, place,
			    "%suser=%s: workers must not run as root",
			    dashes(place), pw->pw_name);
		s->uid = pw->pw_uid;
		s->gid = pw->pw_gid;
	}
	if (pw != NULL)
		name = pw->pw_name;
	s->user = settings_text(s, name);
	return s->user != NULL || wrong(c, place, "%s", strerror(ENOMEM));
}

static void
check_control(struct check *c)
{
	struct settings *s = c->settings;
	const struct place place = s->given[TOP_CONTROL_SOCKET];
	const struct sockaddr_un addr;
	struct handed *h = NULL;

	if (s->activation != NULL)
		h = activation_socket(s->activation, ACTIVATION_CONTROL);
	if (h != NULL) {
		const char *path = path_of(s, h->fd);

		h->known = true;
		s->control_fd = h->fd;
		s->control_socket = path != NULL ? path : ACTIVATION_CONTROL;
		return;
	}
	if (place.line == 0 && s->config != NULL)
		s->control_socket = CONTROL_SOCKET;
	if (s->control_socket != NULL && strcmp(s->control_socket, "none") == 0)
		s->control_socket = NULL;
	if (s->given[TOP_CONTROL_GROUP].line != 0 && s->control_socket == NULL)
		(void)wrong(c, s->given[TOP_CONTROL_GROUP],
		    "control-group is about the control socket, and there is "
		    "none");
	if (s->control_socket == NULL)
		return;
	/* Its directory may be made when the daemon starts. */
	if (strlen(s->control_socket) >= sizeof(addr.sun_path))
		(void)wrong(c, place,
		    "%scontrol-socket=%s: too long: the path of a socket has "
		    "at most %zu bytes",
		    dashes(place), s->control_socket,
		    sizeof(addr.sun_path) - 1);
	for (unsigned i = 0; i < s->ndevices; i++)
		if (s->devices[i].socket != NULL &&
		    strcmp(s->devices[i].socket, s->control_socket) == 0)
			(void)wrong(c, in_device(&s->devices[i], DEVICE_SOCKET),
			    "socket=%s: that is the control socket",
			    s->control_socket);
}

/* What nothing is known of may be a name that was misspelt; and who connects
 * there would wait for ever. */
static void
check_handed(struct check *c)
{
	const struct activation *a = c->settings->activation;
	const struct place whole = { .file = c->settings->config };

	for (unsigned i = 0; a != NULL && i < a->n; i++)
		if (!a->list[i].memory && !a->list[i].known)
			(void)wrong(c, whole,
			    "LISTEN_FDS: descriptor %d, a socket called "
			    "\"%s\", is of no device: FileDescriptorName= has "
			    "to be the name of one, or " ACTIVATION_CONTROL,
			    a->list[i].fd, a->list[i].name);
}

bool
settings_check(
    struct settings *settings, settings_complain *complain, void *ctx)
{
	struct check c = {
		.settings = settings, .complain = complain, .ctx = ctx
	};
	const struct place whole = { .file = settings->config };

	c.files = calloc(settings->nregions + 1U, sizeof(c.files[0]));
	if (c.files == NULL)
		return wrong(&c, whole, "%s", strerror(ENOMEM));
	for (unsigned i = 0; i < settings->ndevices; i++)
		(void)find_regions(&c, &settings->devices[i]);
	for (unsigned i = 0; i < settings->nregions; i++)
		check_region(&c, i);
	for (unsigned i = 0; i < settings->ndevices; i++)
		check_device(&c, i);
	if (settings->ndevices == 0)
		(void)wrong(&c, whole,
		    "there is no device: a section device \"NAME\" { ... } "
		    "says what to serve");
	check_taken(&c);
	check_control(&c);
	check_handed(&c);
	(void)choose_user(&c);
	free(c.files);
	return !c.wrong;
}
