/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Shared memory regions; see region.h. */
#include "config.h"

#include "daemon/builder/region.h"

#include "daemon/builder/reason.h"
#include "daemon/builder/region_file.h"
#include "daemon/builder/region_fill.h"
#include "daemon/common/memory.h"
#include "daemon/config/size.h"
#include "proto/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* One child does no less than this: to fork takes its time, too. */
#define SLICE_MIN ((uint64_t)256 << 20)
/* Less than that is erased without one. */
#define ERASE_AT_ONCE ((uint64_t)16 << 20)
/* Between two looks at what else there is to do. */
#define LOCK_CHUNK ((uint64_t)256 << 20)

/* A region on its way. */
struct making {
	const struct region_settings *spec;
	struct region_made *made;
	struct activation *activation;
	int image_fd; /* owned, or -1 */
	bool created; /* its file */
	struct region_fill fill;
};

/* Jobs of children; an array that grows. */
struct jobs {
	struct child_job *list; /* owned */
	unsigned n, room;
};

/* What regions_make() and region_erase() hand out. */
static struct reason said;

/* --- numbers in words ---------------------------------------------------- */

/* The limit, for a message. Returns buf. */
static const char *
limit_text(__rlimit_resource_t what, char buf[static SIZE_TEXT_MAX])
{
	struct rlimit limit = { 0 };

	(void)getrlimit(what, &limit);
	if (limit.rlim_cur == RLIM_INFINITY)
		(void)snprintf(buf, SIZE_TEXT_MAX, "unlimited");
	else
		(void)size_text(limit.rlim_cur, buf);
	return buf;
}

static int
failed(int rc, const char *what, struct reason *reason)
{
	char limit[SIZE_TEXT_MAX];

	if (rc == -EMFILE)
		return reason_set(reason, rc,
		    "%s: %s: RLIMIT_NOFILE is %s (LimitNOFILE= of the unit), "
		    "and a region needs three",
		    what, strerror(-rc), limit_text(RLIMIT_NOFILE, limit));
	return reason_errno(reason, rc, what);
}

/* --- huge pages ---------------------------------------------------------- */

/* A number that the kernel has about huge pages of this size; 0 if it has
 * none. */
static uint64_t
hugepages_read(uint64_t page, const char *name)
{
	char path[96], text[24] = "";
	AUTO_FD int fd = -1;

	(void)snprintf(path, sizeof(path),
	    "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/%s", page / 1024,
	    name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return 0;
	return strtoull(text, NULL, 10);
}

static int
too_few_hugepages(uint64_t page, uint64_t size, struct reason *reason)
{
	uint64_t wanted = size / page;
	uint64_t all = hugepages_read(page, "nr_hugepages");
	uint64_t unused = hugepages_read(page, "free_hugepages");
	uint64_t taken = hugepages_read(page, "resv_hugepages");
	char text[SIZE_TEXT_MAX];

	unused = unused > taken ? unused - taken : 0;
	return reason_set(reason, -ENOMEM,
	    "%" PRIu64 " huge pages of %s are wanted, %" PRIu64
	    " are free: write %" PRIu64 " to /sys/kernel/mm/hugepages/"
	    "hugepages-%" PRIu64 "kB/nr_hugepages",
	    wanted, size_text(page, text), unused,
	    all + (wanted > unused ? wanted - unused : 0), page / 1024);
}

/* Whoever maps it all reserves it all, for the memfd and not for the mapping.
 * Without that a lack of pages is a SIGBUS when one is touched. */
static int
reserve_hugepages(int fd, const struct region_settings *s, struct reason *why)
{
	void *at = mmap(NULL, s->size, PROT_READ, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED && errno == ENOMEM)
		return too_few_hugepages(s->hugepages, s->size, why);
	if (at == MAP_FAILED)
		return reason_errno(why, -errno, "reserving huge pages");
	(void)munmap(at, s->size);
	return 0;
}

static int
create_huge(
    const char *name, const struct region_settings *spec, struct reason *reason)
{
	char page[SIZE_TEXT_MAX];
	const char *what;
	AUTO_FD int fd =
	    memory_create_huge(name, spec->size, spec->hugepages, &what);
	int rc;

	if (fd == -ENODEV)
		return reason_set(reason, fd,
		    "hugepages = %s: this host has none of that size (see "
		    "/sys/kernel/mm/hugepages)",
		    size_text(spec->hugepages, page));
	if (fd < 0)
		return failed(fd, what, reason);
	rc = reserve_hugepages(fd, spec, reason);
	return rc < 0 ? rc : fd_steal(&fd);
}

/* --- making, until it is to be filled ------------------------------------ */

/* For who will allocate its pages, whoever that is. */
static int
bind_to_node(int fd, const struct region_settings *s, struct reason *reason)
{
	void *at = mmap(NULL, s->size, PROT_READ, MAP_SHARED, fd, 0);
	int rc;

	if (at == MAP_FAILED)
		return reason_errno(reason, -errno, "mmap");
	rc = region_fill_bind(at, s->size, s->numa_node, reason);
	(void)munmap(at, s->size);
	return rc;
}

static int
open_image(struct making *m, struct reason *reason)
{
	const struct region_settings *spec = m->spec;
	struct region_source *source = &m->made->source;
	char has[SIZE_TEXT_MAX], room[SIZE_TEXT_MAX];

	m->image_fd = region_image_open(spec->image, source);
	if (m->image_fd == -EINVAL)
		return reason_set(reason, m->image_fd,
		    "%s is not a regular file", spec->image);
	if (m->image_fd == -ENODATA)
		return reason_set(
		    reason, m->image_fd, "%s is empty", spec->image);
	if (m->image_fd < 0)
		return failed(m->image_fd, spec->image, reason);
	if (source->size > spec->size)
		return reason_set(reason, -EFBIG,
		    "%s has %s bytes, more than the %s of the region",
		    spec->image, size_text(source->size, has),
		    size_text(spec->size, room));
	return 0;
}

static int
create_memory(struct making *m, struct reason *reason)
{
	char name[SETTINGS_NAME_MAX + sizeof(PACKAGE_NAME) + 1];
	const struct region_settings *spec = m->spec;
	struct region_made *made = m->made;
	const char *what;

	(void)snprintf(name, sizeof(name), PACKAGE_NAME ":%s", spec->name);
	if (spec->hugepages != 0) {
		made->fd = create_huge(name, spec, reason);
	} else {
		made->fd = memory_create(name, spec->size, &what);
		if (made->fd < 0)
			return failed(made->fd, what, reason);
	}
	if (made->fd < 0)
		return made->fd;
	return spec->numa_node < 0 ? 0 : bind_to_node(made->fd, spec, reason);
}

static int
begin_memory(struct making *m, struct reason *reason)
{
	struct region_made *made = m->made;
	int rc = m->spec->image == NULL ? 0 : open_image(m, reason);

	if (rc < 0)
		return rc;
	region_kept_name(m->spec, &made->source, made->kept_name);
	made->fd = region_kept_take(m->activation, m->spec, &made->source);
	made->kept = made->fd >= 0;
	return made->kept ? 0 : create_memory(m, reason);
}

static int
begin(struct making *m, struct reason *reason)
{
	int rc;

	m->made->size = m->spec->size;
	if (m->spec->file != NULL)
		rc = region_file_make(m->spec, m->made, &m->created, reason);
	else
		rc = begin_memory(m, reason);
	m->fill = (struct region_fill){
		.spec = m->spec,
		.fd = m->made->fd,
		.image_fd = m->image_fd,
		.source = &m->made->source,
		.huge = m->spec->hugepages != 0,
	};
	return rc;
}

/* --- filling ------------------------------------------------------------- */

static int
add_job(struct jobs *jobs, const struct child_job *job)
{
	if (jobs->n == jobs->room) {
		unsigned room = jobs->room == 0 ? 16 : 2 * jobs->room;
		struct child_job *list =
		    reallocarray(jobs->list, room, sizeof(*list));

		if (list == NULL)
			return -ENOMEM;
		jobs->list = list;
		jobs->room = room;
	}
	jobs->list[jobs->n++] = *job;
	return 0;
}

/* As many jobs as there are CPUs, for all of [0, size). */
static int
add_slices(struct jobs *jobs, const struct child_job *job, uint64_t page)
{
	uint64_t slice = job->len / children_most();
	struct child_job part = *job;
	int rc = 0;

	if (slice < SLICE_MIN)
		slice = SLICE_MIN;
	slice = (slice + page - 1) / page * page;
	for (part.from = 0; rc == 0 && part.from < job->len;
	     part.from += slice) {
		part.len = job->len - part.from;
		if (part.len > slice)
			part.len = slice;
		rc = add_job(jobs, &part);
	}
	return rc;
}

static bool
wants_memory(const struct region_settings *spec)
{
	if (spec->file != NULL) /* it has its place on the disk */
		return spec->lock;
	return spec->prealloc || spec->lock ||
	       (spec->hugepages != 0 && spec->numa_node >= 0);
}

static int
add_jobs(struct jobs *jobs, const struct making *m, unsigned owner)
{
	struct child_job job = { .arg = &m->fill, .owner = owner };
	int rc = 0;

	if (m->made->kept)
		return 0;
	if (m->spec->image != NULL) {
		job.work = region_fill_load;
		job.len = m->made->source.size;
		rc = add_job(jobs, &job);
	}
	if (rc == 0 && wants_memory(m->spec)) {
		job.work = region_fill_populate;
		job.len = m->spec->size;
		rc = add_slices(jobs, &job,
		    m->spec->hugepages != 0 ? m->spec->hugepages : SLICE_MIN);
	}
	return rc;
}

static int
fill(const struct making *list, unsigned n, const struct idle *idle,
    unsigned *which, struct reason *reason)
{
	struct jobs jobs = { 0 };
	uint64_t wanted = 0;
	int rc = 0;

	for (*which = 0; *which < n; ++*which) {
		const struct region_settings *spec = list[*which].spec;

		rc = add_jobs(&jobs, &list[*which], *which);
		if (rc < 0) {
			(void)reason_errno(reason, rc, "filling regions");
			break;
		}
		if (!wants_memory(spec) || spec->file != NULL ||
		    list[*which].made->kept || spec->hugepages != 0)
			continue;
		/* Better to be told at once than after minutes. */
		wanted += spec->size;
		rc = region_fill_room(wanted, reason);
		if (rc < 0)
			break;
	}
	if (rc == 0)
		rc = children_run(
		    jobs.list, jobs.n, "filling regions", idle, which, reason);
	free(jobs.list);
	return rc;
}

/* --- and when it is filled ----------------------------------------------- */

static int
seal(struct region_made *made, bool read_only, struct reason *reason)
{
	/* What was kept is sealed, and has been checked. */
	int rc = made->kept ? 0 : memory_seal(made->fd, read_only);

	if (rc < 0)
		return failed(rc, "F_ADD_SEALS", reason);
	made->read_fd = memory_open(made->fd, O_RDONLY);
	if (made->read_fd < 0)
		return failed(made->read_fd, "/proc/self/fd", reason);
	if (!read_only)
		return 0;
	fd_closep(&made->fd);
	made->fd = memory_open(made->read_fd, O_RDONLY);
	return made->fd < 0 ? failed(made->fd, "/proc/self/fd", reason) : 0;
}

static int
cannot_lock(int rc, struct reason *reason)
{
	char limit[SIZE_TEXT_MAX];

	return reason_set(reason, rc,
	    "locking it in memory: %s: RLIMIT_MEMLOCK is %s, for all that is "
	    "locked (LimitMEMLOCK= of the unit, or CAP_IPC_LOCK)",
	    strerror(-rc), limit_text(RLIMIT_MEMLOCK, limit));
}

static int
lock_memory(
    struct region_made *made, const struct idle *idle, struct reason *reason)
{
	unsigned char *at =
	    mmap(NULL, made->size, PROT_READ, MAP_SHARED, made->read_fd, 0);
	int rc;

	if (at == MAP_FAILED)
		return reason_errno(reason, -errno, "mmap");
	made->locked = at;
	/* A flusher, which lives longer, would keep the memory. */
	(void)madvise(at, made->size, MADV_DONTFORK);
	for (uint64_t i = 0; i < made->size; i += LOCK_CHUNK) {
		uint64_t len = made->size - i;

		if (mlock(at + i, len < LOCK_CHUNK ? len : LOCK_CHUNK) < 0)
			return cannot_lock(-errno, reason);
		rc = idle_look(idle);
		if (rc < 0)
			return reason_errno(reason, rc, "locking it");
	}
	return 0;
}

static int
finish(struct making *m, const struct idle *idle, struct reason *reason)
{
	int rc = 0;

	fd_closep(&m->image_fd);
	if (m->spec->file == NULL)
		rc =
		    seal(m->made, m->spec->access != MEMORY_READ_WRITE, reason);
	if (rc == 0 && m->spec->lock && m->spec->hugepages == 0)
		rc = lock_memory(m->made, idle, reason);
	return rc;
}

static int
make_all(struct making *list, unsigned n, const struct idle *idle,
    unsigned *which, struct reason *reason)
{
	int rc = 0;

	for (*which = 0; *which < n; ++*which) {
		rc = begin(&list[*which], reason);
		if (rc < 0)
			return rc;
	}
	rc = fill(list, n, idle, which, reason);
	if (rc < 0)
		return rc;
	for (*which = 0; *which < n; ++*which) {
		rc = finish(&list[*which], idle, reason);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void
unmake_all(struct making *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		fd_closep(&list[i].image_fd);
		if (list[i].created)
			region_file_remove(list[i].spec, list[i].made);
		region_unmake(list[i].made);
	}
}

int
regions_make(const struct region_settings *const *specs,
    struct region_made *made, unsigned n, struct activation *activation,
    const struct idle *idle, const char **what, unsigned *which)
{
	struct making *list = calloc(n, sizeof(*list));
	struct reason reason = { "" };
	int rc;

	*what = said.text;
	*which = 0;
	for (unsigned i = 0; i < n; i++)
		made[i] = REGION_UNMADE;
	if (n == 0 || list == NULL) {
		free(list);
		return n == 0 ? 0 : reason_errno(&said, -ENOMEM, "regions");
	}
	for (unsigned i = 0; i < n; i++)
		list[i] = (struct making){
			.spec = specs[i],
			.made = &made[i],
			.activation = activation,
			.image_fd = -1,
		};
	rc = make_all(list, n, idle, which, &reason);
	if (rc < 0) {
		unmake_all(list, n);
		(void)reason_set(&said, rc, "region %s: %s",
		    specs[*which < n ? *which : 0]->name, reason.text);
	}
	free(list);
	return rc;
}

void
region_unmake(struct region_made *made)
{
	if (made->locked != NULL)
		(void)munmap(made->locked, made->size);
	fd_closep(&made->fd);
	fd_closep(&made->read_fd);
	fd_closep(&made->lock_fd);
	*made = REGION_UNMADE;
}

/* --- erasing ------------------------------------------------------------- */

static int
erase(const struct region_fill *fill, const struct child_job *job,
    uint64_t page, const struct idle *idle)
{
	struct jobs jobs = { 0 };
	unsigned owner;
	int rc;

	if (job->len <= ERASE_AT_ONCE)
		return job->work(job, &said);
	/* Who writes to a file, or punches a hole, is alone at it. */
	rc = fill->huge ? add_slices(&jobs, job, page) : add_job(&jobs, job);
	if (rc < 0)
		(void)reason_errno(&said, rc, "erasing");
	else
		rc = children_run(
		    jobs.list, jobs.n, "erasing", idle, &owner, &said);
	free(jobs.list);
	return rc;
}

int
region_erase(int fd, uint64_t size, enum settings_release release,
    const struct idle *idle, const char **what)
{
	struct region_fill fill = { .fd = fd, .image_fd = -1 };
	struct child_job job = { .arg = &fill, .len = size };
	struct statfs fs;

	*what = said.text;
	if (release == RELEASE_KEEP)
		return 0;
	if (fstatfs(fd, &fs) < 0)
		return reason_errno(&said, -errno, "erasing");
	fill.huge = fs.f_type == HUGETLBFS_MAGIC;
	job.work = release == RELEASE_DISCARD && !fill.huge ? region_fill_punch
							    : region_fill_zero;
	return erase(&fill, &job, (uint64_t)fs.f_bsize, idle);
}

/* --- what it came from --------------------------------------------------- */

bool
region_source_changed(
    const struct region_made *made, const struct region_settings *spec)
{
	struct region_source now;
	AUTO_FD int fd = -1;

	if (spec->image != NULL) {
		fd = region_image_open(spec->image, &now);
		return fd < 0 || !region_source_same(&now, &made->source);
	}
	if (spec->file == NULL)
		return false;
	fd = region_file_find(spec->file, &now);
	/* Its guests write to it, and its size is fixed. */
	return fd < 0 || now.dev != made->source.dev ||
	       now.ino != made->source.ino;
}
