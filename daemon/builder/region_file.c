/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A file that is a region; see region_file.h. */
#include "config.h"

#include "daemon/builder/region_file.h"

#include "daemon/common/log.h"
#include "daemon/common/memory.h"
#include "daemon/config/size.h"
#include "proto/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* "WHAT PATH: the error" */
static int
failed(const struct region_settings *spec, int rc, const char *what,
    struct reason *reason)
{
	return reason_set(
	    reason, rc, "%s %s: %s", what, spec->file, strerror(-rc));
}

/* A descriptor of the file, by which it is opened again as it is needed. */
static int
find_or_create(
    const struct region_settings *spec, bool *created, struct reason *reason)
{
	struct region_source source;
	int fd = region_file_find(spec->file, &source);

	if (fd == -ENOENT && spec->create) {
		fd = open(
		    spec->file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		*created = fd >= 0;
		return fd < 0 ? failed(spec, -errno, "making", reason) : fd;
	}
	if (fd == -ENOENT)
		return reason_set(reason, fd,
		    "%s: there is no such file; create = yes makes it",
		    spec->file);
	if (fd == -ELOOP)
		return reason_set(reason, fd,
		    "%s is a symbolic link; name the file itself", spec->file);
	if (fd == -EINVAL)
		return reason_set(
		    reason, fd, "%s is not a regular file", spec->file);
	return fd < 0 ? failed(spec, fd, "opening", reason) : fd;
}

static int
lock(const struct region_settings *spec, int fd, bool writing,
    struct reason *reason)
{
	/* All bytes: of QEMU's protocol that is each permission, in use and
	 * not shared (block/file-posix.c). Nobody who asks can write then. */
	struct flock all = {
		.l_type = writing ? F_WRLCK : F_RDLCK,
		.l_whence = SEEK_SET,
	};

	if (fcntl(fd, F_OFD_SETLK, &all) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return reason_set(reason, -EAGAIN,
		    "%s is locked by another program: another vhost-shmemd "
		    "has it as a region, or QEMU as a disk (see lslocks)",
		    spec->file);
	return failed(spec, -errno, "locking", reason);
}

/* Now a full disk is an error. Later it would be a SIGBUS in the front-end. */
static int
allocate(const struct region_settings *spec, int fd, uint64_t from,
    struct reason *reason)
{
	int rc;

	if (fallocate(fd, 0, (off_t)from, (off_t)(spec->size - from)) == 0)
		return 0;
	rc = -errno;
	if (rc == -EOPNOTSUPP)
		return reason_set(reason, rc,
		    "%s: its file system cannot set space aside (fallocate): "
		    "write it full of zeros, and leave out create and "
		    "prealloc",
		    spec->file);
	return failed(spec, rc, "setting space aside for", reason);
}

static int
extend(const struct region_settings *spec, int base, uint64_t size,
    struct reason *reason)
{
	/* Its own descriptor, as READ_ONLY has no other for writing. */
	AUTO_FD int fd = memory_open(base, O_RDWR);
	int rc;

	if (fd < 0)
		return failed(spec, fd, "opening", reason);
	rc = allocate(spec, fd, size, reason);
	/* Some file systems grow it as far as they get. Nobody has seen that
	 * part: we have the lock. */
	if (rc < 0 && ftruncate(fd, (off_t)size) < 0)
		log_warn("region %s: %s stays longer: %s", spec->name,
		    spec->file, strerror(errno));
	return rc;
}

static int
check_size(const struct region_settings *spec, int base, uint64_t size,
    struct reason *reason)
{
	char has[SIZE_TEXT_MAX], wanted[SIZE_TEXT_MAX];

	if (size == spec->size)
		return 0;
	if (size < spec->size && spec->create)
		return extend(spec, base, size, reason);
	return reason_set(reason, size < spec->size ? -ENODATA : -EFBIG,
	    "%s has %s bytes, and the region %s%s", spec->file,
	    size_text(size, has), size_text(spec->size, wanted),
	    size < spec->size
		? "; create = yes makes it longer"
		: ": front-ends would get all of the file; size has to be that "
		  "of the file");
}

static int
check_mapping(const struct region_settings *spec, int fd, struct reason *reason)
{
	int prot = spec->access == MEMORY_READ_WRITE ? PROT_READ | PROT_WRITE
						     : PROT_READ;
	void *at = mmap(NULL, spec->size, prot, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		return reason_set(reason, -errno,
		    "%s: its file system cannot share it in memory (mmap): %s",
		    spec->file, strerror(errno));
	(void)munmap(at, spec->size);
	return 0;
}

/* Not an error: to have more promised than there is may be what they want. */
static void
warn_of_holes(const struct region_settings *spec, const struct stat *st)
{
	if (spec->access == MEMORY_READ_WRITE &&
	    (uint64_t)st->st_blocks * 512 < spec->size)
		log_warn("region %s: %s has holes: if its disk is full when a "
			 "guest writes to one, that VM ends (SIGBUS); "
			 "fallocate(1) fills them",
		    spec->name, spec->file);
}

static int
open_all(const struct region_settings *spec, int base, struct region_made *made,
    struct reason *reason)
{
	int flags = spec->access == MEMORY_READ_WRITE ? O_RDWR : O_RDONLY;

	made->fd = memory_open(base, flags);
	if (made->fd < 0)
		return failed(spec, made->fd, "opening", reason);
	made->read_fd = memory_open(base, O_RDONLY);
	if (made->read_fd < 0)
		return failed(spec, made->read_fd, "opening", reason);
	/* A lock belongs to an open file, and fd's is given away. */
	made->lock_fd = memory_open(base, flags);
	if (made->lock_fd < 0)
		return failed(spec, made->lock_fd, "opening", reason);
	return lock(spec, made->lock_fd, flags == O_RDWR, reason);
}

int
region_file_make(const struct region_settings *spec, struct region_made *made,
    bool *created, struct reason *reason)
{
	AUTO_FD int base = find_or_create(spec, created, reason);
	struct stat st;
	int rc;

	if (base < 0)
		return base;
	rc = open_all(spec, base, made, reason);
	/* From here on nobody who asks for the lock changes its size. Also
	 * after an error: which file was created has to be known. */
	if (fstat(base, &st) < 0)
		return failed(spec, -errno, "looking at", reason);
	made->source.dev = st.st_dev;
	made->source.ino = st.st_ino;
	if (rc == 0)
		rc = check_size(spec, base, (uint64_t)st.st_size, reason);
	if (rc == 0 && spec->prealloc && spec->access == MEMORY_READ_WRITE)
		rc = allocate(spec, made->fd, 0, reason);
	if (rc == 0)
		rc = check_mapping(spec, made->fd, reason);
	if (rc < 0)
		return rc;
	if (fstat(base, &st) < 0)
		return failed(spec, -errno, "looking at", reason);
	made->source.size = (uint64_t)st.st_size;
	made->source.mtime = st.st_mtim;
	warn_of_holes(spec, &st);
	return 0;
}

void
region_file_remove(
    const struct region_settings *spec, const struct region_made *made)
{
	struct stat st;

	if (lstat(spec->file, &st) == 0 && st.st_dev == made->source.dev &&
	    st.st_ino == made->source.ino)
		(void)unlink(spec->file);
}
