/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Filling regions; see region_fill.h. */
#include "config.h"

#include "daemon/builder/region_fill.h"

#include "daemon/common/memory.h"
#include "daemon/config/region_source.h"
#include "daemon/config/size.h"
#include "proto/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mempolicy.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux 5.14 */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* After so much, a child says how far it is. */
#define CHUNK ((uint64_t)64 << 20)
#define NODES_MAX 1024U
#define BITS (8 * sizeof(unsigned long))

/* In a child, which has it for itself: what is hashed, and zeros. */
static unsigned char buffer[1 << 20];

static uint64_t
least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* --- mapping ------------------------------------------------------------- */

static void *
map(int fd, uint64_t from, uint64_t len, bool writable, struct reason *reason)
{
	int prot = writable ? PROT_READ | PROT_WRITE : PROT_READ;
	void *at = mmap(NULL, len, prot, MAP_SHARED, fd, (off_t)from);

	if (at != MAP_FAILED)
		return at;
	(void)reason_errno(reason, -errno, "mmap");
	return NULL;
}

static int
no_node(int node, int rc, struct reason *reason)
{
	AUTO_FD int fd =
	    open("/sys/devices/system/node/has_memory", O_RDONLY | O_CLOEXEC);
	char nodes[128] = "";
	ssize_t n = fd < 0 ? -1 : read(fd, nodes, sizeof(nodes) - 1);

	if (rc == -ENOSYS)
		return reason_set(reason, rc,
		    "numa-node %d: this kernel knows nothing of NUMA", node);
	if (n <= 0 || rc != -EINVAL)
		return reason_errno(reason, rc, "mbind");
	nodes[strcspn(nodes, "\n")] = '\0';
	return reason_set(reason, rc,
	    "numa-node %d: there is no such node, or none of its memory is "
	    "for this process; nodes with memory: %s",
	    node, nodes);
}

int
region_fill_bind(void *at, uint64_t len, int node, struct reason *reason)
{
	unsigned long mask[NODES_MAX / BITS] = { 0 };
	unsigned n = (unsigned)node;

	if (n >= NODES_MAX)
		return no_node(node, -EINVAL, reason);
	mask[n / BITS] = 1UL << n % BITS;
	/* The kernel counts one bit less than it is told. */
	if (syscall(SYS_mbind, at, len, MPOL_BIND, mask,
		(unsigned long)NODES_MAX + 1, 0U) < 0)
		return no_node(node, -errno, reason);
	return 0;
}

/* --- room ---------------------------------------------------------------- */

/* Bytes; all there can be if the kernel does not say. */
static uint64_t
available(void)
{
	FILE *meminfo = fopen("/proc/meminfo", "re");
	uint64_t kib, all = 0;
	bool found = false;
	char line[128];

	if (meminfo == NULL)
		return UINT64_MAX;
	while (fgets(line, sizeof(line), meminfo) != NULL) {
		if (strncmp(line, "MemAvailable:", 13) == 0)
			found = true;
		else if (strncmp(line, "SwapFree:", 9) != 0)
			continue;
		kib = strtoull(strchr(line, ':') + 1, NULL, 10);
		all += kib * 1024;
	}
	(void)fclose(meminfo);
	return found ? all : UINT64_MAX;
}

int
region_fill_room(uint64_t len, struct reason *reason)
{
	char wanted[SIZE_TEXT_MAX];
	uint64_t room = available();

	if (len <= room)
		return 0;
	return reason_set(reason, -ENOMEM,
	    "%s of memory are wanted, and the host has %" PRIu64 "M left",
	    size_text(len, wanted), room >> 20);
}

/* For one more chunk of each child. */
static int
room_for_chunk(const struct region_fill *fill, struct reason *reason)
{
	/* Huge pages have been set aside, and a file's memory can go again. */
	if (fill->huge || fill->spec->file != NULL)
		return 0;
	return region_fill_room(children_most() * CHUNK, reason);
}

/* --- to have memory ------------------------------------------------------ */

static int
no_memory(const struct region_fill *fill, int rc, struct reason *reason)
{
	/* A fault that would have been a SIGBUS. */
	if (rc == -EFAULT)
		rc = -ENOMEM;
	if (fill->huge)
		return reason_set(reason, rc,
		    "not enough free huge pages%s: %s",
		    fill->spec != NULL && fill->spec->numa_node >= 0
			? " on the node"
			: "",
		    strerror(-rc));
	return reason_errno(reason, rc, "allocating its memory");
}

/* Have the pages of a mapping of fd, which begins with byte from. */
static int
have_pages(int fd, unsigned char *at, uint64_t from, uint64_t len, bool writing)
{
	int advice = writing ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;

	while (madvise(at, len, advice) < 0) {
		if (errno == EINTR || errno == EAGAIN)
			continue;
		if (errno != EINVAL)
			return -errno;
		/* Linux before 5.14. A file is read when it is needed. */
		if (writing && fallocate(fd, 0, (off_t)from, (off_t)len) < 0)
			return -errno;
		return 0;
	}
	return 0;
}

int
region_fill_populate(const struct child_job *job, struct reason *reason)
{
	const struct region_fill *fill = job->arg;
	bool writing = fill->spec->file == NULL;
	unsigned char *at = map(fill->fd, job->from, job->len, writing, reason);
	int rc = 0;

	if (at == NULL)
		return -ENOMEM;
	if (fill->spec->numa_node >= 0 && writing)
		rc = region_fill_bind(
		    at, job->len, fill->spec->numa_node, reason);
	for (uint64_t i = 0, n; rc == 0 && i < job->len; i += n) {
		n = least(fill->huge && fill->spec->hugepages > CHUNK
			      ? fill->spec->hugepages
			      : CHUNK,
		    job->len - i);
		rc = room_for_chunk(fill, reason);
		if (rc < 0)
			break;
		rc = have_pages(fill->fd, at + i, job->from + i, n, writing);
		if (rc < 0)
			rc = no_memory(fill, rc, reason);
		else
			children_done(n);
	}
	(void)munmap(at, job->len);
	return rc;
}

/* --- images -------------------------------------------------------------- */

/* Nobody can write() to huge pages. read() into a mapping fails where a page
 * is missing. */
static int
read_range(
    const struct region_fill *fill, unsigned char *at, uint64_t i, uint64_t end)
{
	uint64_t until = 0;
	int rc;

	while ((rc = memory_next_data(fill->image_fd, &i, &until, end)) > 0) {
		while (i < until) {
			ssize_t n =
			    pread(fill->image_fd, at + i, until - i, (off_t)i);

			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return -errno;
			if (n == 0) /* it became shorter while we read */
				return -ESTALE;
			i += (uint64_t)n;
		}
	}
	return rc;
}

static int
copy_image(
    const struct region_fill *fill, unsigned char *at, struct reason *reason)
{
	const uint64_t size = fill->source->size;
	int rc = 0;

	for (uint64_t i = 0, n; rc == 0 && i < size; i += n) {
		n = least(CHUNK, size - i);
		if (room_for_chunk(fill, reason) < 0)
			return -ENOMEM;
		rc = at != NULL ? read_range(fill, at, i, i + n)
				: memory_copy_range(
				      fill->fd, fill->image_fd, i, i + n);
		if (rc == 0)
			children_done(n);
	}
	if (rc == -EFAULT) /* a page was missing where it was read to */
		return no_memory(fill, rc, reason);
	return rc < 0 ? reason_errno(reason, rc, fill->spec->image) : 0;
}

static int
load_image(const struct region_fill *fill, struct reason *reason)
{
	const char *path = fill->spec->image;
	unsigned char *at = NULL;
	struct region_source now;
	int rc;

	if (fill->huge) {
		at = map(fill->fd, 0, fill->spec->size, true, reason);
		if (at == NULL)
			return -ENOMEM;
		if (fill->spec->numa_node >= 0)
			rc = region_fill_bind(at, fill->spec->size,
			    fill->spec->numa_node, reason);
		else
			rc = 0;
		if (rc < 0)
			return rc;
	}
	rc = copy_image(fill, at, reason);
	if (at != NULL)
		(void)munmap(at, fill->spec->size);
	if (rc == 0 && region_source_of(fill->image_fd, &now) < 0)
		return reason_errno(reason, -errno, path);
	if (rc == -ESTALE ||
	    (rc == 0 && !region_source_same(&now, fill->source)))
		return reason_set(
		    reason, -ESTALE, "%s: changed while it was loaded", path);
	return rc;
}

static void
hex(const unsigned char *bytes, char text[static 2 * SETTINGS_SHA256 + 1])
{
	for (size_t i = 0; i < SETTINGS_SHA256; i++)
		(void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

/* Of what is in memory, not of the file: that may have changed since. */
static int
check_digest(const struct region_fill *fill, struct reason *reason)
{
	const struct region_settings *spec = fill->spec;
	char is[2 * SETTINGS_SHA256 + 1], wanted[sizeof(is)];
	unsigned char digest[SETTINGS_SHA256];
	struct sha256_ctx sha;
	uint64_t left = fill->source->size;

	sha256_init(&sha);
	/* Not by a mapping: to look at holes would make memory of them. */
	for (off_t i = 0; left > 0;) {
		ssize_t n =
		    pread(fill->fd, buffer, least(left, sizeof(buffer)), i);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return reason_errno(
			    reason, n < 0 ? -errno : -EIO, "reading it back");
		sha256_update(&sha, (size_t)n, buffer);
		i += n;
		left -= (uint64_t)n;
	}
	sha256_digest(&sha, sizeof(digest), digest);
	if (memcmp(digest, spec->sha256, sizeof(digest)) == 0)
		return 0;
	hex(digest, is);
	hex(spec->sha256, wanted);
	return reason_set(reason, -EBADMSG,
	    "the image's SHA-256 is %s, and should be %s: %s", is, wanted,
	    spec->image);
}

int
region_fill_load(const struct child_job *job, struct reason *reason)
{
	const struct region_fill *fill = job->arg;
	int rc = load_image(fill, reason);

	if (rc == 0 && fill->spec->has_sha256)
		rc = check_digest(fill, reason);
	return rc;
}

/* --- to erase ------------------------------------------------------------ */

static int
write_zeros(int fd, uint64_t from, uint64_t end)
{
	while (from < end) {
		ssize_t n = pwrite(
		    fd, buffer, least(end - from, sizeof(buffer)), (off_t)from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		from += (uint64_t)n;
	}
	return 0;
}

static int
zero_huge(const struct child_job *job, struct reason *reason)
{
	const struct region_fill *fill = job->arg;
	unsigned char *at = map(fill->fd, job->from, job->len, true, reason);
	int rc;

	if (at == NULL)
		return -ENOMEM;
	/* Now, and not by SIGBUS. */
	rc = have_pages(fill->fd, at, job->from, job->len, true);
	if (rc < 0)
		rc = no_memory(fill, rc, reason);
	else
		memset(at, 0, job->len);
	(void)munmap(at, job->len);
	return rc;
}

int
region_fill_zero(const struct child_job *job, struct reason *reason)
{
	const struct region_fill *fill = job->arg;
	uint64_t from = job->from, until = 0;
	uint64_t end = job->from + job->len;
	int rc;

	if (fill->huge)
		return zero_huge(job, reason);
	memset(buffer, 0, sizeof(buffer));
	while ((rc = memory_next_data(fill->fd, &from, &until, end)) > 0) {
		rc = write_zeros(fill->fd, from, until);
		if (rc < 0)
			break;
		from = until;
	}
	return rc < 0 ? reason_errno(reason, rc, "writing zeros") : 0;
}

int
region_fill_punch(const struct child_job *job, struct reason *reason)
{
	const struct region_fill *fill = job->arg;

	if (fallocate(fill->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		(off_t)job->from, (off_t)job->len) == 0)
		return 0;
	if (errno != EOPNOTSUPP)
		return reason_errno(reason, -errno, "punching a hole");
	/* A file system without holes: what counts is that it is gone. */
	return region_fill_zero(job, reason);
}
