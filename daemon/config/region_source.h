/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The images and files that regions come from: opened without waking up
 * devices or waiting for FIFOs, and known again later.
 */
#ifndef REGION_SOURCE_H
#define REGION_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* Which file it was, and as what; all 0: there was none. */
struct region_source {
	dev_t dev;
	ino_t ino;
	uint64_t size; /* bytes */
	struct timespec mtime;
};

/* What is there now. Returns 0 or a negative errno. */
int region_source_of(int fd, struct region_source *source)
    __attribute__((warn_unused_result));
bool region_source_same(
    const struct region_source *a, const struct region_source *b);

/*
 * Open an image for reading; a symbolic link is followed. Returns the
 * descriptor, the caller's, or a negative errno: -EISDIR, -EINVAL for what is
 * not a regular file, -ENODATA for an empty one, or what open(2) says.
 */
int region_image_open(const char *image, struct region_source *source)
    __attribute__((warn_unused_result));

/* How large an image is, in bytes. Returns 0 or an errno as above. */
int region_image_size(const char *image, uint64_t *size)
    __attribute__((warn_unused_result));

/*
 * Find the file that is a region, without opening it yet: an O_PATH
 * descriptor, the caller's. A symbolic link is not followed as the last part
 * of the path, -ELOOP: it would be in the hand of whoever may write to that
 * directory which file a VM gets. Other errors as above, but for -ENODATA.
 */
int region_file_find(const char *file, struct region_source *source)
    __attribute__((warn_unused_result));

/* How large the file is, in bytes; may be 0. Returns 0 or an errno as above. */
int region_file_size(const char *file, uint64_t *size)
    __attribute__((warn_unused_result));

#endif
