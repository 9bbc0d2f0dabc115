/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Configuration files; see conf.h. libconfuse calls us back for each value
 * while it reads, when it knows the line; what it keeps itself is not used.
 */
#include "config.h"

#include "daemon/config/conf.h"

#include "daemon/config/conf_text.h"
#include "daemon/config/keys.h"
#include "proto/fd.h"

#include <confuse.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Says that a section begins: see begin(). No file can have such a key. */
#define BEGIN "|"
/* What libconfuse says of a key that it does not know, and of one that looks
 * like a section. */
#define NO_SUCH_OPTION "no such option '%s'"
#define NO_EQUAL_SIGN "missing equal sign after option '%s'"
/* Different ones in a kind of section of one file; after more it ends. */
#define UNKNOWN_MAX 16U

#define SUFFIX ".conf"

struct reader {
	struct settings *settings;
	settings_complain *complain;
	void *ctx;
	bool wrong;	  /* something was */
	const char *file; /* the one being read; lives with the settings */
	/* Sections that were begun and do not count: their names are wrong. */
	struct region_settings lost_region;
	struct device_settings lost_device;
	struct shm_settings lost_shm;
	bool in_lost_region, in_lost_device, in_lost_shm;
	/*
	 * libconfuse ends at a key that it does not know, or, by its version
	 * and flags, says nothing of it. So a file is read until all of them
	 * have been found, and then once more, with them as keys that are
	 * wrong.
	 */
	bool finding, found;
	unsigned nunknown[SECTIONS];
	char *unknown[SECTIONS][UNKNOWN_MAX]; /* owned */
};

/* libconfuse hands nothing on to its callbacks. */
static struct reader *reading;

static void __attribute__((format(printf, 3, 4)))
wrong(struct reader *r, unsigned line, const char *format, ...)
{
	struct place place = { .file = r->file, .line = line };
	char text[1024];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	r->wrong = true;
	r->complain(r->ctx, &place, text);
}

static unsigned
line_of(const cfg_t *cfg)
{
	return cfg->line > 0 ? (unsigned)cfg->line : 0;
}

/* --- sections ------------------------------------------------------------ */

/* Which kind of section this is. */
static enum key_section
section_of(const cfg_t *cfg)
{
	for (unsigned s = SECTION_REGION; s < SECTIONS; s++)
		if (strcmp(cfg->name, key_section_name((enum key_section)s)) ==
		    0)
			return (enum key_section)s;
	return SECTION_TOP;
}

static void
begin_region(struct reader *r, const struct place *place, const char *title)
{
	char why[KEYS_WHY_MAX];

	r->in_lost_region =
	    settings_add_region(r->settings, place, title, why) == NULL;
	if (r->in_lost_region)
		wrong(r, place->line, "region \"%s\": %s", title, why);
	memset(&r->lost_region, 0, sizeof(r->lost_region));
}

static void
begin_device(struct reader *r, const struct place *place, const char *title)
{
	char why[KEYS_WHY_MAX];

	r->in_lost_device =
	    settings_add_device(r->settings, place, title, why) == NULL;
	if (r->in_lost_device)
		wrong(r, place->line, "device \"%s\": %s", title, why);
	memset(&r->lost_device, 0, sizeof(r->lost_device));
}

static void
begin_shm(struct reader *r, const struct place *place, const char *title)
{
	struct settings *s = r->settings;
	char why[KEYS_WHY_MAX], *end;
	unsigned long shmid;

	errno = 0;
	shmid = strtoul(title, &end, 10);
	r->in_lost_shm = true;
	memset(&r->lost_shm, 0, sizeof(r->lost_shm));
	if (title[0] < '0' || title[0] > '9' || *end != '\0' || errno != 0 ||
	    shmid > 255)
		wrong(r, place->line,
		    "shm %s: a number from 0 to 255 belongs here", title);
	else if (!r->in_lost_device &&
		 settings_add_shm(&s->devices[s->ndevices - 1], place,
		     (unsigned)shmid, why) == NULL)
		wrong(r, place->line, "shm %s: %s", title, why);
	else
		r->in_lost_shm = r->in_lost_device;
}

/*
 * libconfuse reads the default of this key when a section begins, which nothing
 * else of it tells; so also two sections with one name can be told apart.
 */
static int
begin(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	struct reader *r = reading;
	const struct place place = { .file = r->file, .line = line_of(cfg) };
	const char *title = cfg->title != NULL ? cfg->title : "";

	(void)opt;
	(void)value;
	*(void **)result = NULL;
	if (r->finding)
		return 0;
	switch (section_of(cfg)) {
	case SECTION_REGION:
		begin_region(r, &place, title);
		break;
	case SECTION_DEVICE:
		begin_device(r, &place, title);
		break;
	case SECTION_SHM:
		begin_shm(r, &place, title);
		break;
	case SECTION_TOP:
	case SECTIONS:
		break;
	}
	return 0;
}

/* --- keys ---------------------------------------------------------------- */

/* The struct of the section that is being read, and its lines. */
static void *
base_of(struct reader *r, enum key_section section, unsigned **lines)
{
	struct settings *s = r->settings;
	struct region_settings *region = &r->lost_region;
	struct device_settings *device = &r->lost_device;
	struct shm_settings *shm = &r->lost_shm;

	*lines = NULL;
	switch (section) {
	case SECTION_REGION:
		if (!r->in_lost_region)
			region = &s->regions[s->nregions - 1];
		*lines = region->lines;
		return region;
	case SECTION_DEVICE:
		if (!r->in_lost_device)
			device = &s->devices[s->ndevices - 1];
		*lines = device->lines;
		return device;
	case SECTION_SHM:
		if (!r->in_lost_shm) {
			device = &s->devices[s->ndevices - 1];
			shm = &device->shm[device->nshm - 1];
		}
		*lines = shm->lines;
		return shm;
	case SECTION_TOP:
	case SECTIONS:
		break;
	}
	return s;
}

/* Note where a key outside of sections is. Returns whether its value counts. */
static bool
first_at_top(
    struct reader *r, unsigned id, const struct key *key, unsigned line)
{
	struct place *given = &r->settings->given[id];

	/* The command line has said what it is. */
	if (given->line != 0 && given->file == NULL)
		return false;
	if (given->line != 0) {
		wrong(r, line, "%s is there twice; the first is at %s:%u",
		    key->name, given->file, given->line);
		return false;
	}
	*given = (struct place){ .file = r->file, .line = line };
	return true;
}

/* The same in a section. */
static bool
first_in_section(
    struct reader *r, unsigned *at, const struct key *key, unsigned line)
{
	if (*at != 0) {
		wrong(r, line, "%s is there twice; the first is at %s:%u",
		    key->name, r->file, *at);
		return false;
	}
	*at = line != 0 ? line : 1;
	return true;
}

static void
take(struct reader *r, const cfg_t *cfg, const struct key *key, bool more,
    const char *value)
{
	enum key_section section = section_of(cfg);
	unsigned id = key_id(section, key), line = line_of(cfg), *lines;
	struct settings unused = { 0 };
	char why[KEYS_WHY_MAX] = "an absolute path belongs here";
	void *base = base_of(r, section, &lines);
	bool counts = true;

	if (!more && section == SECTION_TOP)
		counts = first_at_top(r, id, key, line);
	else if (!more)
		counts = first_in_section(r, &lines[id], key, line);
	/* What does not count is still looked at. */
	if (!counts && section == SECTION_TOP)
		base = &unused;
	else if (!counts)
		return;
	if ((key->path && value[0] != '/' && value[0] != '\0' &&
		(section != SECTION_TOP || strcmp(value, "none") != 0)) ||
	    !key_read(
		key, base == &unused ? &unused : r->settings, base, value, why))
		wrong(r, line, "%s=%s: %s", key->name, value, why);
	if (base == &unused)
		settings_free(&unused);
}

/* --- keys that are unknown ----------------------------------------------- */

static void
unknown_key(struct reader *r, const cfg_t *cfg, const char *name)
{
	enum key_section section = section_of(cfg);
	const char *near = key_nearest(section, name);
	char where[32] = "here";

	if (section != SECTION_TOP)
		(void)snprintf(where, sizeof(where), "in a section %s",
		    key_section_name(section));
	wrong(r, line_of(cfg), "%s: there is no such key %s%s%s%s", name, where,
	    near != NULL ? "; is it " : "", near != NULL ? near : "",
	    near != NULL ? "?" : "");
}

static void
found_unknown(struct reader *r, enum key_section section, const char *name)
{
	unsigned *n = &r->nunknown[section];

	if (*n < UNKNOWN_MAX &&
	    (r->unknown[section][*n] = strdup(name)) != NULL) {
		(*n)++;
		r->found = true;
	}
}

static void
forget_unknown(struct reader *r)
{
	for (unsigned s = 0; s < SECTIONS; s++)
		while (r->nunknown[s] != 0)
			free(r->unknown[s][--r->nunknown[s]]);
}

/* --- libconfuse ---------------------------------------------------------- */

/* A value, or one of a list. */
static int
value_read(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	const struct key *key = key_by_name(section_of(cfg), opt->name);
	bool more = opt->nvalues > 1;

	*(const char **)result = value;
	if (reading->finding)
		return 0;
	if (key != NULL)
		take(reading, cfg, key, key->list && more, value);
	else if (!more)
		unknown_key(reading, cfg, opt->name);
	return 0;
}

static void __attribute__((format(printf, 2, 0)))
syntax_error(cfg_t *cfg, const char *format, va_list ap)
{
	bool no_key = strcmp(format, NO_SUCH_OPTION) == 0;
	enum key_section section = section_of(cfg);
	const char *name = "";
	char text[512];
	va_list copy;

	if (no_key || strcmp(format, NO_EQUAL_SIGN) == 0) {
		va_copy(copy, ap);
		name = va_arg(copy, const char *);
		va_end(copy);
		no_key = no_key || key_by_name(section, name) == NULL;
	}
	if (reading->finding && no_key)
		found_unknown(reading, section, name);
	if (reading->finding)
		return;
	if (no_key) {
		unknown_key(reading, cfg, name);
		return;
	}
	(void)vsnprintf(text, sizeof(text), format, ap);
	wrong(reading, line_of(cfg),
	    "%s; the rest of this file has not been read", text);
}

#define OPTS_MAX 40U

/* What libconfuse has to know of a section; ends with its end. */
static void
add_keys(const struct reader *r, cfg_opt_t opts[static OPTS_MAX],
    enum key_section section)
{
	static const cfg_opt_t end = CFG_END();
	static char begins[] = "x";
	const struct key *key;
	unsigned n = 0;

	if (section != SECTION_TOP)
		opts[n++] = (cfg_opt_t)CFG_PTR_CB(
		    BEGIN, begins, CFGF_NONE, begin, NULL);
	for (unsigned i = 0; (key = key_by_id(section, i)) != NULL; i++)
		opts[n++] = (cfg_opt_t)CFG_STR_CB(key->name, NULL,
		    CFGF_NODEFAULT | (key->list ? CFGF_LIST : CFGF_NONE),
		    value_read);
	for (unsigned i = 0; i < r->nunknown[section]; i++)
		opts[n++] = (cfg_opt_t)CFG_STR_CB(r->unknown[section][i], NULL,
		    CFGF_NODEFAULT | CFGF_LIST, value_read);
	opts[n] = end;
}

static void
add_section(cfg_opt_t *opts, enum key_section section, cfg_opt_t *keys)
{
	static const cfg_opt_t end = CFG_END();
	unsigned n = 0;

	while (opts[n].name != NULL)
		n++;
	opts[n] = (cfg_opt_t)CFG_SEC(
	    key_section_name(section), keys, CFGF_MULTI | CFGF_TITLE);
	opts[n + 1] = end;
}

_Static_assert((unsigned)DEVICE_KEYS + UNKNOWN_MAX + 3 <= OPTS_MAX &&
		   (unsigned)REGION_KEYS + UNKNOWN_MAX + 3 <= OPTS_MAX,
    "room for each section");

/* Returns what cfg_parse_buf() does, or CFG_FILE_ERROR without memory. */
static int
parse(struct reader *r, const char *text)
{
	static cfg_opt_t shm[OPTS_MAX], device[OPTS_MAX], region[OPTS_MAX],
	    top[OPTS_MAX];
	cfg_t *cfg;
	int rc;

	add_keys(r, shm, SECTION_SHM);
	add_keys(r, device, SECTION_DEVICE);
	add_section(device, SECTION_SHM, shm);
	add_keys(r, region, SECTION_REGION);
	add_keys(r, top, SECTION_TOP);
	add_section(top, SECTION_REGION, region);
	add_section(top, SECTION_DEVICE, device);
	cfg = cfg_init(top, CFGF_NONE);
	if (cfg == NULL)
		return CFG_FILE_ERROR;
	(void)cfg_set_error_function(cfg, syntax_error);
	reading = r;
	rc = cfg_parse_buf(cfg, text);
	reading = NULL;
	(void)cfg_free(cfg);
	return rc;
}

bool
conf_read_text(struct settings *settings, const char *name, char *text,
    size_t len, settings_complain *complain, void *ctx, bool *wrong_too)
{
	struct reader r = {
		.settings = settings, .complain = complain, .ctx = ctx
	};
	char why[CONF_WHY_MAX];
	unsigned line;
	int rc;

	r.file = settings_text(settings, name);
	line = conf_text_clean(text, len, why);
	if (line != 0) {
		wrong(&r, line, "%s; this file has not been read", why);
		*wrong_too = true;
		return false;
	}
	if (r.file == NULL) {
		wrong(&r, 0, "%s", strerror(ENOMEM));
		*wrong_too = true;
		return false;
	}
	r.finding = true;
	do {
		r.found = false;
		(void)parse(&r, text);
	} while (r.found);
	r.finding = false;
	rc = parse(&r, text);
	forget_unknown(&r);
	if (rc != CFG_SUCCESS && !r.wrong)
		wrong(&r, 0, "this file could not be read to its end");
	*wrong_too |= r.wrong;
	return rc == CFG_SUCCESS;
}

/* --- files --------------------------------------------------------------- */

/* Somebody else could have written it: says who, or NULL. */
static const char *
not_ours(const struct stat *st)
{
	if (geteuid() != 0)
		return NULL;
	if (st->st_uid != 0)
		return "it belongs to somebody else than root, who starts the "
		       "daemon: chown root helps";
	if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return "others than root may write to it: chmod go-w helps";
	return NULL;
}

/* Read a whole file into *text, the caller's, of *len bytes and room for one
 * more. Returns NULL, or what is wrong. */
static const char *
read_file(const char *path, char **text, size_t *len)
{
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const char *why;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "not a regular file";
	why = not_ours(&st);
	if (why != NULL)
		return why;
	if (st.st_size > CONF_TEXT_MAX)
		return "more than 1M: this is no configuration";
	*text = malloc(CONF_TEXT_MAX + 1);
	if (*text == NULL)
		return strerror(ENOMEM);
	*len = 0;
	do {
		n = read(fd, *text + *len, CONF_TEXT_MAX - *len);
		if (n > 0)
			*len += (size_t)n;
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n == 0)
		return NULL;
	why = strerror(errno);
	free(*text);
	*text = NULL;
	return why;
}

/* Tell of a file as a whole. */
static void
tell(settings_complain *complain, void *ctx, const char *file, const char *why)
{
	const struct place place = { .file = file };

	complain(ctx, &place, why);
}

static bool
read_one(struct settings *settings, const char *path,
    settings_complain *complain, void *ctx, bool *wrong_too)
{
	char *text = NULL;
	size_t len = 0;
	const char *why = read_file(path, &text, &len);
	bool whole;

	if (why != NULL) {
		tell(complain, ctx, path, why);
		*wrong_too = true;
		return false;
	}
	whole =
	    conf_read_text(settings, path, text, len, complain, ctx, wrong_too);
	free(text);
	return whole;
}

static int
is_part(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return entry->d_name[0] != '.' && len > strlen(SUFFIX) &&
	       strcmp(entry->d_name + len - strlen(SUFFIX), SUFFIX) == 0;
}

static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* All parts, of a directory that is there. */
static bool
read_directory(struct settings *settings, const char *dir,
    settings_complain *complain, void *ctx, bool *wrong_too)
{
	struct dirent **names = NULL;
	bool whole = true;
	int n = scandir(dir, &names, is_part, by_name);

	if (n < 0) {
		tell(complain, ctx, dir, strerror(errno));
		*wrong_too = true;
		return false;
	}
	for (int i = 0; i < n; i++) {
		char *path = NULL;

		if (asprintf(&path, "%s/%s", dir, names[i]->d_name) < 0) {
			tell(complain, ctx, dir, strerror(ENOMEM));
			*wrong_too = true;
			path = NULL;
		}
		whole &= path != NULL &&
			 read_one(settings, path, complain, ctx, wrong_too);
		free(path);
		free(names[i]);
	}
	free(names);
	return whole;
}

/* What is in conf.d beside the main file, if it is there. */
static bool
read_parts(struct settings *settings, settings_complain *complain, void *ctx,
    bool *wrong_too)
{
	const char *slash = strrchr(settings->config, '/');
	int base = slash != NULL ? (int)(slash - settings->config + 1) : 0;
	const char *why = NULL;
	bool whole = true;
	struct stat st;
	char *dir;

	if (asprintf(&dir, "%.*sconf.d", base, settings->config) < 0) {
		tell(complain, ctx, settings->config, strerror(ENOMEM));
		*wrong_too = true;
		return false;
	}
	if (stat(dir, &st) == 0)
		why = not_ours(&st);
	else if (errno != ENOENT)
		why = strerror(errno);
	else
		goto out;
	if (why == NULL) {
		whole = read_directory(settings, dir, complain, ctx, wrong_too);
		goto out;
	}
	tell(complain, ctx, dir, why);
	*wrong_too = true;
	whole = false;
out:
	free(dir);
	return whole;
}

/* What libconfuse had for a large configuration is several times what stays,
 * and processes that are forked would have it, too. */
static void
give_back_memory(void)
{
#ifdef __GLIBC__
	(void)malloc_trim(0);
#endif
}

bool
conf_load(struct settings *settings, settings_complain *complain, void *ctx)
{
	bool found_wrong = false;
	bool whole =
	    read_one(settings, settings->config, complain, ctx, &found_wrong);

	whole &= read_parts(settings, complain, ctx, &found_wrong);
	give_back_memory();
	/* Where a part is missing much would seem to be. */
	return whole && settings_check(settings, complain, ctx) && !found_wrong;
}
