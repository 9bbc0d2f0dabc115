/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A piece of a file that the front-end has sent us, mapped: guest memory, the
 * dirty log, the inflight buffer.
 *
 * Threat model: descriptor, offset and size are the peer's. Only a regular
 * file (a memfd is one) that holds all of the piece is mapped. The peer may
 * shrink it afterwards: the access then raises SIGBUS and ends this worker,
 * which serves that peer alone.
 */
#ifndef MAPPING_H
#define MAPPING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct vus_mapping {
	void *base;	   /* what mmap gave, owned; NULL: nothing is mapped */
	size_t len;	   /* of that, bytes */
	unsigned char *at; /* where the piece begins, inside of it */
};

/*
 * Whether fd holds size bytes at offset, which must not wrap together; fills
 * in *st. Returns 0, or a negative errno with a reason in *why: -EBADF for a
 * descriptor of something else than a regular file, -EINVAL beyond its end.
 */
int vus_mapping_check(int fd, uint64_t offset, uint64_t size, struct stat *st,
    const char **why) __attribute__((warn_unused_result));

/*
 * Map the size bytes at offset of fd, which stays the caller's, for reading
 * and writing; st is what vus_mapping_check() has found. Returns 0 or a
 * negative errno with a reason in *why; then *mapping is empty.
 */
int vus_mapping_open(struct vus_mapping *mapping, int fd, uint64_t offset,
    uint64_t size, const struct stat *st, const char **why)
    __attribute__((warn_unused_result));

/* Unmap, if anything is mapped. */
void vus_mapping_close(struct vus_mapping *mapping);

#endif
