/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The command "attach": a region for a program of the host's. */
#include "config.h"

#include "proto/fd.h"
#include "tools/control.h"
#include "tools/reply.h"
#include "tools/text.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* A descriptor of the region that words[0] names, and its size. */
static enum ctl_status
ask(const struct ctl_args *args, bool read_only, int *fd, uint64_t *size)
{
	AUTO_FD int got = -1;
	enum ctl_status status;
	struct stat st;
	json_t *reply;
	bool good;

	status = control_ask(args,
	    json_pack("{s:s, s:s, s:s}", "command", "attach", "region",
		args->words[0], "access",
		read_only ? "read-only" : "read-write"),
	    &reply, &got);
	if (status != CTL_OK)
		return status;
	good = reply_count(reply, "size", size);
	json_decref(reply);
	if (good && got < 0)
		good = text_error("the daemon's reply makes no sense: no "
				  "descriptor came with it");
	if (good && fstat(got, &st) < 0)
		good =
		    text_error("the region's descriptor: %s", strerror(errno));
	if (good && (*size > INT64_MAX || st.st_size < (off_t)*size))
		good = text_error("the daemon's reply makes no sense: what "
				  "its descriptor opens has %jd bytes, not "
				  "%" PRIu64,
		    (intmax_t)st.st_size, *size);
	if (good)
		*fd = fd_steal(&got);
	return good ? CTL_OK : CTL_FAILED;
}

/* --- a program ----------------------------------------------------------- */

static enum ctl_status
run(const struct ctl_args *args, int fd, uint64_t size)
{
	AUTO_TEXT number = text_format("%d", fd);
	AUTO_TEXT bytes = text_format("%" PRIu64, size);

	if (fcntl(fd, F_SETFD, 0) == 0 && setenv("SHMEM_FD", number, 1) == 0 &&
	    setenv("SHMEM_SIZE", bytes, 1) == 0)
		(void)execvp(args->command[0], args->command);
	(void)text_error("%s: %s", args->command[0], strerror(errno));
	return CTL_FAILED;
}

/* --- copies -------------------------------------------------------------- */

/* How far it is, once a second at most, if somebody looks. */
static void
show_progress(uint64_t done, uint64_t size, bool end)
{
	enum { WIDTH = 40 };
	static time_t last;
	struct timespec now;
	int filled = size != 0 ? (int)((double)done / (double)size * WIDTH) : 0;
	AUTO_TEXT have = text_size(done);

	if (clock_gettime(CLOCK_MONOTONIC, &now) < 0 || !isatty(STDERR_FILENO))
		return;
	if (now.tv_sec == last && !end)
		return;
	last = now.tv_sec;
	(void)fprintf(stderr, "\r[%.*s%*s] %s%s", filled,
	    "########################################", WIDTH - filled, "",
	    have, end ? "\n" : "   ");
}

/* One end of a copy. The region's descriptor may be one that others have, too:
 * its offset is not ours. */
struct end {
	int fd;
	bool region;
	const char *doing;
};

static ssize_t
get(const struct end *from, char *data, size_t len, uint64_t offset)
{
	ssize_t n;

	do
		n = from->region ? pread(from->fd, data, len, (off_t)offset)
				 : read(from->fd, data, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int
put(const struct end *to, const char *data, size_t len, uint64_t offset)
{
	while (len != 0) {
		ssize_t n = to->region
				? pwrite(to->fd, data, len, (off_t)offset)
				: write(to->fd, data, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
			offset += (uint64_t)n;
		}
	}
	return 0;
}

/* Copy up to size bytes; *done is how many they were. False if something went
 * wrong, which was said. */
static bool
copy(
    const struct end *from, const struct end *to, uint64_t size, uint64_t *done)
{
	static char buffer[1 << 16];
	const struct end *who = from;
	ssize_t n = 1;

	for (*done = 0; *done < size && n > 0; *done += (uint64_t)n) {
		uint64_t left = size - *done;
		int rc;

		show_progress(*done, size, false);
		n = get(from, buffer,
		    left < sizeof(buffer) ? (size_t)left : sizeof(buffer),
		    *done);
		if (n <= 0)
			break;
		rc = put(to, buffer, (size_t)n, *done);
		if (rc < 0) {
			who = to;
			n = rc;
			break;
		}
	}
	show_progress(*done, size, true);
	return n >= 0 || text_error("%s, after %" PRIu64 " bytes: %s",
			     who->doing, *done, strerror((int)-n));
}

static enum ctl_status
too_large(const char *region, uint64_t size, const char *written)
{
	(void)text_error("standard input is larger than the region %s, which "
			 "has %" PRIu64 " bytes; %s was written",
	    region, size, written);
	return CTL_FAILED;
}

static enum ctl_status
load(const char *region, int fd, uint64_t size)
{
	const struct end from = { STDIN_FILENO, false, "standard input" };
	const struct end to = { fd, true, "the region" };
	off_t at = lseek(STDIN_FILENO, 0, SEEK_CUR);
	struct stat st;
	uint64_t done;
	char more;

	/* What can be known before anything is overwritten. */
	if (fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode) && at >= 0 &&
	    st.st_size > at && (uint64_t)(st.st_size - at) > size)
		return too_large(region, size, "nothing");
	if (!copy(&from, &to, size, &done))
		return CTL_FAILED;
	if (done == size && get(&from, &more, 1, 0) == 1)
		return too_large(region, size, "what fits");
	return CTL_OK;
}

static enum ctl_status
dump(int fd, uint64_t size)
{
	const struct end from = { fd, true, "the region" };
	const struct end to = { STDOUT_FILENO, false, "standard output" };
	uint64_t done;

	if (!copy(&from, &to, size, &done))
		return CTL_FAILED;
	if (done != size)
		(void)text_error(
		    "the region ends after %" PRIu64 " bytes", done);
	return done == size ? CTL_OK : CTL_FAILED;
}

enum ctl_status
attach_command(const struct ctl_args *args)
{
	bool in = args->option[CTL_STDIN] != NULL;
	bool out = args->option[CTL_STDOUT] != NULL;
	bool read_only = out || args->option[CTL_READ_ONLY] != NULL;
	AUTO_FD int fd = -1;
	enum ctl_status status;
	uint64_t size;

	if (in + out + (args->command != NULL) != 1) {
		(void)text_error("attach: one of --stdin, --stdout and "
				 "-- CMD is what it wants");
		return CTL_USAGE;
	}
	if (in && read_only) {
		(void)text_error("attach: --stdin writes, and --read-only "
				 "forbids that");
		return CTL_USAGE;
	}
	status = ask(args, read_only, &fd, &size);
	if (status != CTL_OK)
		return status;
	if (in)
		return load(args->words[0], fd, size);
	return out ? dump(fd, size) : run(args, fd, size);
}
