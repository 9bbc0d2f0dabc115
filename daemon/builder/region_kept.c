/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The memory of regions that a service manager keeps; see region_kept.h. */
#include "config.h"

#include "daemon/builder/region_kept.h"

#include "daemon/common/log.h"
#include "daemon/common/memory.h"
#include "proto/fd.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PREFIX "region."
/* Bytes of the digest in the name; nobody but us and the service manager
 * chooses names. */
#define DIGEST_BYTES 8UL

static_assert(sizeof(PREFIX) + SETTINGS_NAME_MAX + 2 * DIGEST_BYTES <=
		  REGION_KEPT_NAME_MAX,
    "names fit");

static void
add_text(struct sha256_ctx *sha, const char *text)
{
	/* With NUL: no two texts can be mistaken for others. */
	sha256_update(sha, strlen(text) + 1, (const uint8_t *)text);
}

static void
add_number(struct sha256_ctx *sha, uint64_t number)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRIu64, number);
	add_text(sha, text);
}

void
region_kept_name(const struct region_settings *spec,
    const struct region_source *image, char name[static REGION_KEPT_NAME_MAX])
{
	struct sha256_ctx sha;
	uint8_t digest[DIGEST_BYTES];
	int len;

	sha256_init(&sha);
	add_number(&sha, spec->size);
	add_number(&sha, spec->hugepages);
	add_number(&sha, (uint64_t)spec->numa_node);
	add_number(&sha, spec->prealloc);
	add_number(&sha, spec->lock);
	add_number(&sha, spec->access);
	add_text(&sha, spec->image != NULL ? spec->image : "");
	add_number(&sha, spec->has_sha256);
	sha256_update(&sha, sizeof(spec->sha256), spec->sha256);
	add_number(&sha, image->dev);
	add_number(&sha, image->ino);
	add_number(&sha, image->size);
	add_number(&sha, (uint64_t)image->mtime.tv_sec);
	add_number(&sha, (uint64_t)image->mtime.tv_nsec);
	sha256_digest(&sha, sizeof(digest), digest);
	len = snprintf(name, REGION_KEPT_NAME_MAX, PREFIX "%s.", spec->name);
	for (unsigned i = 0; i < DIGEST_BYTES; i++)
		len += snprintf(name + len, REGION_KEPT_NAME_MAX - (size_t)len,
		    "%02x", digest[i]);
}

/* Why this memory is not that of the region; or NULL. */
static const char *
wrong_with(int fd, const struct region_settings *spec)
{
	bool writable = spec->access == MEMORY_READ_WRITE;
	int size_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	int write_seals = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
	int seals = fcntl(fd, F_GET_SEALS), flags = fcntl(fd, F_GETFL);
	AUTO_FD int again = memory_open(fd, O_RDONLY);
	struct stat st;

	if (again < 0)
		return "this user may not open it";
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != spec->size)
		return "its size is another one";
	if (seals < 0 || (seals & size_seals) != size_seals)
		return "its size can be changed";
	if (writable && (seals & write_seals) != 0)
		return "it cannot be written to";
	if (!writable && (seals & F_SEAL_WRITE) == 0)
		return "it can be written to";
	if (flags < 0 || (flags & O_ACCMODE) != (writable ? O_RDWR : O_RDONLY))
		return "it is not open as it has to be";
	return NULL;
}

int
region_kept_take(struct activation *activation,
    const struct region_settings *spec, const struct region_source *image)
{
	char name[REGION_KEPT_NAME_MAX];
	const char *why;

	if (activation == NULL || spec->release != RELEASE_KEEP)
		return -1;
	region_kept_name(spec, image, name);
	for (unsigned i = 0; i < activation->n; i++) {
		struct handed *h = &activation->list[i];

		if (!h->memory || h->fd < 0 || strcmp(h->name, name) != 0)
			continue;
		why = wrong_with(h->fd, spec);
		if (why == NULL) {
			h->known = true;
			return fd_steal(&h->fd);
		}
		log_warn("region %s: what the service manager has kept of it "
			 "is not taken back: %s",
		    spec->name, why);
		fd_closep(&h->fd);
	}
	return -1;
}

/* Whether the name is "region.NAME.DIGEST" of this region. */
static bool
is_of(const char *name, const char *region)
{
	size_t prefix = strlen(PREFIX), len = strlen(region);

	return strncmp(name, PREFIX, prefix) == 0 &&
	       strncmp(name + prefix, region, len) == 0 &&
	       name[prefix + len] == '.' &&
	       strchr(name + prefix + len + 1, '.') == NULL;
}

static const char *
why_not_taken(const char *name, const struct settings *settings)
{
	const struct region_settings *spec = settings->regions;

	for (unsigned i = 0; i < settings->nregions; i++, spec++) {
		if (!is_of(name, spec->name))
			continue;
		return spec->file != NULL ? "the region is a file now"
		       : spec->release != RELEASE_KEEP
			   ? "on-release says so"
			   : "size, image or other keys of the region are not "
			     "what they were";
	}
	return "there is no such region any more";
}

void
region_kept_drop(struct activation *activation, const struct settings *settings)
{
	for (unsigned i = 0; activation != NULL && i < activation->n; i++) {
		struct handed *h = &activation->list[i];

		if (!h->memory || h->fd < 0)
			continue;
		log_warn("%s: memory from before the start is given up: %s",
		    h->name, why_not_taken(h->name, settings));
		fd_closep(&h->fd);
	}
}
