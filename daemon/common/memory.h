/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Memory that goes to front-ends: memfds, and how much of them is final. For
 * both programs; the worker's filter has none of these calls, so it makes
 * what it needs before it is confined.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* What front-ends may do to a region. */
enum memory_access {
	MEMORY_READ_WRITE, /* they share it, and all of them write */
	MEMORY_READ_ONLY,  /* they share it, and nobody writes any more */
	MEMORY_COPY,	   /* nobody writes to it any more; each of them gets
			      a copy of its own, and may write to that */
};

/*
 * Make a memfd of size bytes, all of them a hole, that is called name: mode
 * 0600, and never executable where the kernel knows that. Returns the
 * descriptor, the caller's, open for reading and writing; or a negative errno
 * with what failed in *what.
 */
int memory_create(const char *name, uint64_t size, const char **what)
    __attribute__((warn_unused_result));

/*
 * The same of huge pages of this many bytes each, of which size is a multiple.
 * None of them is reserved. They are read by read(2) and written through a
 * mapping alone. -ENODEV: the kernel has no pages of this size.
 */
int memory_create_huge(const char *name, uint64_t size, uint64_t page,
    const char **what) __attribute__((warn_unused_result));

/*
 * Open the file that a descriptor is of once more, with flags as of open(2);
 * an O_PATH descriptor does, too. Before Linux 6.7 sealed content is mapped
 * by a descriptor for reading only. Returns a descriptor, the caller's, or a
 * negative errno.
 */
int memory_open(int fd, int flags) __attribute__((warn_unused_result));

/*
 * Find the next range of a file, before end, that is no hole: bytes
 * [*from, *to), searched from *from on. Returns 1; 0 if there is none left; or
 * a negative errno. Moves the file's offset.
 */
int memory_next_data(int fd, uint64_t *from, uint64_t *to, uint64_t end)
    __attribute__((warn_unused_result));

/*
 * Copy the first size bytes of the file from to the same place in the memfd
 * to, which is fresh. What is a hole there is one here. The file's offset is
 * not used: others may have the same open file. Returns 0 or a negative errno:
 * -ESTALE if it became shorter meanwhile.
 */
int memory_copy(int to, int from, uint64_t size)
    __attribute__((warn_unused_result));
/* The same of the bytes [at, end) alone. */
int memory_copy_range(int to, int from, uint64_t at, uint64_t end)
    __attribute__((warn_unused_result));

/*
 * Make the size of the memfd final; and its content, if read_only. Nobody may
 * have it mapped writable then. Returns 0 or a negative errno.
 */
int memory_seal(int fd, bool read_only) __attribute__((warn_unused_result));

#endif
