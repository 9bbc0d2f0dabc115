/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Whether files that are regions stay as they are; see region.h. */
#include "config.h"

#include "daemon/builder/region.h"

#include "daemon/common/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVENTS (IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

int
region_watch_open(void)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int
region_watch(int watch_fd, struct region_made *made)
{
	char path[32];

	if (made->lock_fd < 0)
		return 0;
	/* The file, whatever its path means by now. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", made->read_fd);
	made->watch = inotify_add_watch(watch_fd, path, EVENTS);
	return made->watch < 0 ? -errno : 0;
}

void
region_unwatch(int watch_fd, struct region_made *made)
{
	if (made->watch >= 0)
		(void)inotify_rm_watch(watch_fd, made->watch);
	made->watch = -1;
}

static unsigned
compare(const struct region_made *made, const struct region_settings *spec,
    uint64_t *size)
{
	struct stat st;
	unsigned now = 0;

	if (fstat(made->read_fd, &st) < 0)
		return 0;
	*size = (uint64_t)st.st_size;
	if (*size < made->source.size)
		now |= REGION_SHORTER;
	if (*size > made->source.size)
		now |= REGION_LONGER;
	if (lstat(spec->file, &st) < 0 || st.st_dev != made->source.dev ||
	    st.st_ino != made->source.ino)
		now |= REGION_MOVED;
	return now;
}

bool
region_check(struct region_made *made, const struct region_settings *spec)
{
	uint64_t size = made->source.size;
	unsigned news;

	if (made->lock_fd < 0)
		return false;
	news = compare(made, spec, &size) & ~made->changed;
	made->changed |= news;
	if (news & REGION_SHORTER)
		log_error("region %s: %s became %" PRIu64 " bytes from %" PRIu64
			  ": front-ends will die of it (SIGBUS) where it is "
			  "gone",
		    spec->name, spec->file, size, made->source.size);
	if (news & REGION_LONGER)
		log_warn("region %s: %s became %" PRIu64 " bytes from %" PRIu64
			 ": the region stays as it is",
		    spec->name, spec->file, size, made->source.size);
	if (news & REGION_MOVED)
		log_warn("region %s: %s was moved or deleted: the region is "
			 "still the file that was there",
		    spec->name, spec->file);
	return news != 0;
}

static bool
check_watched(int watch, const struct region_settings *const *specs,
    struct region_made *const *made, unsigned n)
{
	bool news = false;

	/* Two regions for reading may be of one file. */
	for (unsigned i = 0; i < n; i++) {
		if (made[i]->watch == watch && region_check(made[i], specs[i]))
			news = true;
	}
	return news;
}

bool
region_watch_ready(int watch_fd, const struct region_settings *const *specs,
    struct region_made *const *made, unsigned n)
{
	/* Files that are watched have no names in their events. */
	struct inotify_event events[64];
	bool news = false;
	ssize_t len;

	while ((len = read(watch_fd, events, sizeof(events))) > 0) {
		int last = -1;

		for (size_t i = 0; i < (size_t)len / sizeof(events[0]); i++) {
			bool overflow = (events[i].mask & IN_Q_OVERFLOW) != 0;

			if (events[i].wd == last)
				continue;
			last = events[i].wd;
			for (unsigned k = 0; overflow && k < n; k++)
				if (region_check(made[k], specs[k]))
					news = true;
			if (check_watched(last, specs, made, n))
				news = true;
		}
	}
	return news;
}
