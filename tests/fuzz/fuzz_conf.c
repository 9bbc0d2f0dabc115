/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A configuration file of any bytes. What is accepted is printed, as by
 * --check-config, and read again: that is accepted, too, and prints the same.
 *
 * The host has the users root and nobody, directories and two files; no input
 * opens what the machine has, such as a watchdog.
 */
#include "config.h"

#include "tests/fuzz/fuzz.h"

#include "daemon/config/conf.h"
#include "daemon/config/settings.h"
#include "daemon/config/settings_print.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_SIZE (4 << 20)
#define FILE_NAME "/f"
#define OTHER_FILE "/g"

/* --- the host ------------------------------------------------------------ */

/* Not of what libFuzzer itself does. */
static bool playing;

int __real_open(const char *path, int flags, ...);
int __real_stat(const char *path, struct stat *st);
int __real_access(const char *path, int mode);
FILE *__real_fopen(const char *path, const char *mode);
int __wrap_open(const char *path, int flags, ...);
int __wrap_stat(const char *path, struct stat *st);
int __wrap_access(const char *path, int mode);
FILE *__wrap_fopen(const char *path, const char *mode);
struct passwd *__wrap_getpwnam(const char *name);
struct passwd *__wrap_getpwuid(uid_t uid);
struct group *__wrap_getgrnam(const char *name);
struct group *__wrap_getgrgid(gid_t gid);

static bool
is_file(const char *path)
{
	return strcmp(path, FILE_NAME) == 0 || strcmp(path, OTHER_FILE) == 0;
}

int
__wrap_open(const char *path, int flags, ...)
{
	va_list ap;

	va_start(ap, flags);
	if (!playing) {
		mode_t mode = (flags & O_CREAT) != 0 ? va_arg(ap, mode_t) : 0;

		va_end(ap);
		return __real_open(path, flags, mode);
	}
	va_end(ap);
	FUZZ_CHECK((flags & O_ACCMODE) == O_RDONLY, "a check writes");
	if (is_file(path))
		return fuzz_memfd(path[1] == 'f' ? FILE_SIZE : 3);
	errno = ENOENT;
	return -1;
}

int
__wrap_stat(const char *path, struct stat *st)
{
	if (!playing)
		return __real_stat(path, st);
	memset(st, 0, sizeof(*st));
	st->st_mode = S_IFDIR | 0755;
	if (strcmp(path, "/") == 0 || strcmp(path, "/d") == 0)
		return 0;
	st->st_mode = S_IFREG | 0644;
	st->st_size = FILE_SIZE;
	st->st_ino = (ino_t)(unsigned char)path[1];
	if (is_file(path))
		return 0;
	errno = ENOENT;
	return -1;
}

int
__wrap_access(const char *path, int mode)
{
	if (!playing)
		return __real_access(path, mode);
	/* One size of large pages. */
	errno = ENOENT;
	return strstr(path, "-2048kB") != NULL ? 0 : -1;
}

FILE *
__wrap_fopen(const char *path, const char *mode)
{
	if (!playing)
		return __real_fopen(path, mode);
	errno = ENOENT;
	return NULL;
}

struct passwd *
__wrap_getpwnam(const char *name)
{
	static struct passwd pw;

	pw.pw_name = (char[]){ "nobody" };
	pw.pw_uid = pw.pw_gid = 65534;
	return strcmp(name, "nobody") == 0 ? &pw : NULL;
}

struct passwd *
__wrap_getpwuid(uid_t uid)
{
	return uid == 65534 ? __wrap_getpwnam("nobody") : NULL;
}

struct group *
__wrap_getgrnam(const char *name)
{
	static struct group gr;

	gr.gr_name = (char[]){ "nogroup" };
	gr.gr_gid = 65534;
	return strcmp(name, "nogroup") == 0 ? &gr : NULL;
}

struct group *
__wrap_getgrgid(gid_t gid)
{
	return gid == 65534 ? __wrap_getgrnam("nogroup") : NULL;
}

/* --- the check ----------------------------------------------------------- */

struct told {
	unsigned lines; /* of the file */
	unsigned n;	/* mistakes */
};

static void
complain(void *ctx, const struct place *place, const char *text)
{
	struct told *told = ctx;

	told->n++;
	FUZZ_CHECK(text[0] != '\0', "nothing is said");
	FUZZ_CHECK(place->file == NULL || strcmp(place->file, "/c") == 0,
	    "a mistake in another file");
	FUZZ_CHECK(place->line <= told->lines, "line %u of %u: %s", place->line,
	    told->lines, text);
}

/* Read and check a file; NULL if it has a mistake, else what it comes to, the
 * caller's. */
static char *
load(const char *bytes, size_t size)
{
	struct told told = { .lines = 1 };
	struct settings settings;
	char *text = malloc(size + 1), *printed = NULL;
	bool found_wrong = false, whole, good;
	size_t len;
	FILE *out;

	FUZZ_CHECK(text != NULL, "no memory");
	memcpy(text, bytes, size);
	for (size_t i = 0; i < size; i++)
		told.lines += bytes[i] == '\n';
	settings_init(&settings);
	settings.config = "/c";
	whole = conf_read_text(
	    &settings, "/c", text, size, complain, &told, &found_wrong);
	FUZZ_CHECK(whole || found_wrong, "a file ends and nothing is wrong");
	FUZZ_CHECK(found_wrong == (told.n != 0), "%u mistakes", told.n);
	good = settings_check(&settings, complain, &told);
	FUZZ_CHECK(good == (told.n == 0) || found_wrong, "%u mistakes", told.n);
	if (good && whole && !found_wrong) {
		out = open_memstream(&printed, &len);
		FUZZ_CHECK(out != NULL, "no memory");
		settings_print(&settings, out);
		(void)fclose(out);
	}
	settings_free(&settings);
	free(text);
	return printed;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *once, *twice = NULL;

	fuzz_count_before();
	playing = true;
	once = load((const char *)data, size);
	if (once != NULL) {
		twice = load(once, strlen(once));
		FUZZ_CHECK(twice != NULL && strcmp(once, twice) == 0,
		    "it was printed, and says something else now:\n%s\n%s",
		    once, twice != NULL ? twice : "nothing");
	}
	playing = false;
	free(once);
	free(twice);
	fuzz_count_after();
	return 0;
}
