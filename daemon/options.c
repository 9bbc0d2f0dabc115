/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The command line; see options.h. */
#include "config.h"

#include "options.h"

#include "checked.h"
#include "log.h"
#include "sandbox.h"
#include "size.h"
#include "wire.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Who the worker is when root starts us. */
#define DEFAULT_USER PACKAGE_NAME
#define FALLBACK_USER "nobody"

enum option_id {
	OPT_SOCKET_PATH = 256, /* above every character: no short options */
	OPT_FD,
	OPT_CONNECT,
	OPT_DEVICE,
	OPT_REGION,
	OPT_FRONT_END,
	OPT_USER,
	OPT_SANDBOX,
	OPT_ONCE,
	OPT_LOG_LEVEL,
	OPT_MESSAGE_TIMEOUT,
	OPT_WITHOUT,
	OPT_WORKER,
	OPT_PRINT_CAPABILITIES,
	OPT_PRINT_SECCOMP,
	OPT_HELP,
	OPT_VERSION
};

static const struct {
	const char *name;
	const char *arg; /* what its argument is called, or NULL */
	enum option_id option;
	const char *help; /* lines are broken by newlines */
} table[] = {
	{ "socket-path", "PATH", OPT_SOCKET_PATH,
	    "listen on a UNIX socket made at PATH" },
	{ "fd", "N", OPT_FD,
	    "use the inherited socket N, listening or connected" },
	{ "connect", "PATH", OPT_CONNECT,
	    "connect to a front-end that listens at PATH" },
	{ "device", "TYPE", OPT_DEVICE,
	    "the device: pmem (default), or raw, which has regions\n"
	    "and nothing else" },
	{ "region", "shmid=0,size=SIZE[,image=FILE][,name=NAME][,...]",
	    OPT_REGION,
	    "a shared memory region; SIZE takes K, M, G and T;\n"
	    "with image=FILE it begins as a copy of FILE, and\n"
	    "size= may be left out; a raw device may have several;\n"
	    "access=read-only: front-ends cannot write to it; for\n"
	    "those that cannot map it then read-only-fallback=copy\n"
	    "gives each a copy of its own" },
	{ "front-end", "PROFILE", OPT_FRONT_END,
	    "what connects: qemu (default), rust-vmm, crosvm,\n"
	    "rust-vmm-0.16, rfc" },
	{ "user", "NAME", OPT_USER,
	    "run workers as NAME when started by root (default:\n" DEFAULT_USER
	    " if there is such a user, else " FALLBACK_USER ")" },
	{ "sandbox", "POLICY", OPT_SANDBOX,
	    "auto (default): confine workers as well as the host\n"
	    "permits, and log what it does not; strict: or not start" },
	{ "once", NULL, OPT_ONCE,
	    "serve one front-end, and exit when it leaves" },
	{ "log-level", "LEVEL", OPT_LOG_LEVEL,
	    "error, warn, info (default) or debug" },
	{ "message-timeout", "SECONDS", OPT_MESSAGE_TIMEOUT,
	    "how long half a message may wait for the rest, and a\n"
	    "reply that was sent to be read (10)" },
	{ "without", "FEATURE[,FEATURE]...", OPT_WITHOUT,
	    "do not offer these: packed, in-order, indirect, event-idx" },
	{ "worker", "PATH", OPT_WORKER,
	    "the worker program (default: " WORKER_PATH ")" },
	{ "print-capabilities", NULL, OPT_PRINT_CAPABILITIES,
	    "print what this back-end can do, as JSON, and exit" },
	{ "print-seccomp", NULL, OPT_PRINT_SECCOMP,
	    "print the system calls that each process may make, with\n"
	    "the reasons, and exit" },
	{ "help", NULL, OPT_HELP, "print this and exit" },
	{ "version", NULL, OPT_VERSION, "print the version and exit" },
};

#define NOPTIONS (sizeof(table) / sizeof(table[0]))

static bool __attribute__((format(printf, 1, 2))) wrong(const char *format, ...)
{
	va_list ap;

	(void)fputs(PACKAGE_NAME ": error: ", stderr);
	va_start(ap, format);
	(void)vfprintf(stderr, format, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	return false;
}

static void
print_help(void)
{
	(void)printf("Usage: " PACKAGE_NAME
		     " --socket-path=PATH --region shmid=0,size=SIZE "
		     "[OPTION]...\n"
		     "Give virtual machines VIRTIO shared memory regions, as a "
		     "vhost-user back-end.\n\n");
	for (unsigned i = 0; i < NOPTIONS; i++) {
		const char *help = table[i].help;
		int width;

		width = printf("  --%s%s%s", table[i].name,
		    table[i].arg != NULL ? "=" : "",
		    table[i].arg != NULL ? table[i].arg : "");
		if (width > 26) {
			(void)putchar('\n');
			width = 0;
		}
		for (; help != NULL; width = 0) {
			const char *end = strchr(help, '\n');

			(void)printf("%*s%.*s\n", 28 - width, "",
			    (int)(end != NULL ? end - help
					      : (ptrdiff_t)strlen(help)),
			    help);
			help = end != NULL ? end + 1 : NULL;
		}
	}
	(void)printf("\nA command that works with QEMU 11.1 is in the "
		     "manual, " PACKAGE_NAME "(8).\n");
}

/* vhost-user.json's VHostUserBackendCapabilities; constant, so printed. */
static void
print_capabilities(void)
{
	(void)printf("{\n"
		     "  \"type\": \"pmem\",\n"
		     "  \"features\": [\"memfd\", \"sealed\"],\n"
		     "  \"version\": \"" PACKAGE_VERSION "\"\n"
		     "}\n");
}

/* --- regions and their sizes --------------------------------------------- */

static bool
parse_size(const char *text, uint64_t *size)
{
	switch (size_parse(text, size)) {
	case 0:
		return true;
	case -ERANGE:
		return wrong("size=%s: too large", text);
	default:
		return wrong("size=%s: a size is a number above 0, in bytes or "
			     "with one of the units K, M, G and T, such as "
			     "size=64M",
		    text);
	}
}

static bool
check_size(const struct options *o, const struct region_spec *spec)
{
	const struct device_kind *kind = &device_kinds[o->device];
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	char has[SIZE_TEXT_MAX], works[SIZE_TEXT_MAX];

	(void)size_text(spec->size, has);
	if (spec->size > size_of_host())
		return wrong("region %s: size=%s is more than the memory and "
			     "swap of this host; size=%s works",
		    spec->name, has,
		    size_text(
			size_largest(kind, o->profile, size_of_host()), works));
	(void)size_text(size_nearest(kind, o->profile, spec->size), works);
	if (spec->size % page != 0)
		return wrong("region %s: size=%s is not a multiple of the "
			     "page size, %" PRIu64 " bytes; size=%s works",
		    spec->name, has, page, works);
	if (spec->size % size_align(kind) != 0)
		return wrong("region %s: size=%s: %s; size=%s works",
		    spec->name, has, kind->why_align, works);
	return true;
}

/* All regions of the device together. */
static bool
check_sum(const struct options *o)
{
	const struct device_kind *kind = &device_kinds[o->device];
	char has[SIZE_TEXT_MAX], works[SIZE_TEXT_MAX];
	uint64_t sum = 0;

	for (unsigned i = 0; i < o->nregions; i++)
		if (!checked_add(sum, o->regions[i].size, &sum) ||
		    sum > size_of_host())
			return wrong("--region: together they are more than "
				     "the memory and swap of this host");
	if (!o->profile->power_of_two || checked_power_of_two(sum))
		return true;
	(void)size_text(sum, has);
	(void)size_text(size_nearest(kind, o->profile, sum), works);
	if (o->nregions == 1)
		return wrong("region %s: size=%s: with --front-end=%s it has "
			     "to be a power of two; size=%s works",
		    o->regions[0].name, has, o->profile->name, works);
	return wrong("--region: with --front-end=%s the sizes have to add up "
		     "to a power of two; they are %s, and %s works",
	    o->profile->name, has, works);
}

/* --- single options ------------------------------------------------------ */

static bool
parse_number(
    const char *what, const char *text, unsigned long max, unsigned long *value)
{
	char *end;

	errno = 0;
	*value = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end != '\0' || errno != 0 ||
	    *value > max)
		return wrong("%s=%s: a number from 0 to %lu belongs here", what,
		    text, max);
	return true;
}

static bool
parse_name(struct region_spec *spec, const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len >= sizeof(spec->name))
		return wrong("name=%s: a name has 1 to %zu characters", name,
		    sizeof(spec->name) - 1);
	for (const char *c = name; *c != '\0'; c++)
		if (!isalnum((unsigned char)*c) && strchr("-_.", *c) == NULL)
			return wrong("name=%s: letters, digits, '-', '_' and "
				     "'.' make a name",
			    name);
	memcpy(spec->name, name, len + 1);
	return true;
}

static bool
parse_access(struct region_spec *spec, const char *access)
{
	if (strcmp(access, "read-only") == 0)
		spec->access = MEMORY_READ_ONLY;
	else if (strcmp(access, "read-write") == 0)
		spec->access = MEMORY_READ_WRITE;
	else
		return wrong(
		    "access=%s: it is read-write or read-only", access);
	return true;
}

static bool
parse_region(struct options *o, char *text)
{
	enum { SHMID, SIZE, IMAGE, NAME, ACCESS, FALLBACK };
	char *const keys[] = {
		[SHMID] = (char[]){ "shmid" },
		[SIZE] = (char[]){ "size" },
		[IMAGE] = (char[]){ "image" },
		[NAME] = (char[]){ "name" },
		[ACCESS] = (char[]){ "access" },
		[FALLBACK] = (char[]){ "read-only-fallback" },
		NULL,
	};
	struct region_spec *spec = &o->regions[o->nregions];
	bool seen[FALLBACK + 1] = { false };
	unsigned long number;

	if (o->nregions == OPTIONS_REGIONS_MAX)
		return wrong("--region: more than %u", OPTIONS_REGIONS_MAX);
	memset(spec, 0, sizeof(*spec));
	while (*text != '\0') {
		/* Of a key that it does not know, only glibc's getsubopt()
		 * gives the text. */
		const char *word = text;
		char *value;
		int key = getsubopt(&text, keys, &value);

		if (key < 0)
			return wrong("--region: '%s' is not a key of a region:"
				     " shmid, size, image, name, access and "
				     "read-only-fallback are",
			    word);
		if (value == NULL || *value == '\0')
			return wrong("--region: %s= wants a value", keys[key]);
		if (seen[key])
			return wrong("--region: %s= is there twice", keys[key]);
		seen[key] = true;
		switch (key) {
		case SHMID:
			if (!parse_number("shmid", value, 255, &number))
				return false;
			spec->shmid = (unsigned)number;
			break;
		case SIZE:
			if (!parse_size(value, &spec->size))
				return false;
			break;
		case IMAGE:
			spec->image = value;
			break;
		case NAME:
			if (!parse_name(spec, value))
				return false;
			break;
		case ACCESS:
			if (!parse_access(spec, value))
				return false;
			break;
		case FALLBACK:
			if (strcmp(value, "copy") != 0)
				return wrong("read-only-fallback=%s: copy is "
					     "the one there is",
				    value);
			spec->fallback_copy = true;
			break;
		default:
			break;
		}
	}
	if (!seen[SHMID])
		return wrong("--region: shmid= is missing; a pmem device has "
			     "shmid=0");
	if (spec->size == 0 && spec->image == NULL)
		return wrong("--region: size= or image= is missing");
	if (spec->name[0] == '\0')
		(void)snprintf(
		    spec->name, sizeof(spec->name), "shm%u", spec->shmid);
	o->nregions++;
	return true;
}

/* Features of the rings, to find out whose fault something is. */
static bool
parse_without(struct options *o, char *text)
{
	enum { PACKED, IN_ORDER, INDIRECT, EVENT_IDX };
	char *const names[] = {
		[PACKED] = (char[]){ "packed" },
		[IN_ORDER] = (char[]){ "in-order" },
		[INDIRECT] = (char[]){ "indirect" },
		[EVENT_IDX] = (char[]){ "event-idx" },
		NULL,
	};
	static const unsigned bits[] = {
		[PACKED] = VUS_VIRTIO_F_RING_PACKED,
		[IN_ORDER] = VUS_VIRTIO_F_IN_ORDER,
		[INDIRECT] = VUS_VIRTIO_F_INDIRECT_DESC,
		[EVENT_IDX] = VUS_VIRTIO_F_EVENT_IDX,
	};

	while (*text != '\0') {
		const char *word = text;
		char *value;
		int name = getsubopt(&text, names, &value);

		if (name < 0 || value != NULL)
			return wrong("--without: '%s' is not a feature: "
				     "packed, in-order, indirect and "
				     "event-idx are",
			    word);
		o->virtio_without |= VUS_BIT(bits[name]);
	}
	return true;
}

static bool
parse_option(struct options *o, enum option_id option, char *arg)
{
	unsigned long number;
	int number_or_error;

	switch (option) {
	case OPT_SOCKET_PATH:
		o->socket_path = arg;
		return *arg != '\0' || wrong("--socket-path: a path is "
					     "missing");
	case OPT_FD:
		if (!parse_number("--fd", arg, INT_MAX, &number))
			return false;
		o->fd = (int)number;
		return o->fd > STDERR_FILENO ||
		       wrong("--fd=%d: 0 to 2 are standard input, output and "
			     "error",
			   o->fd);
	case OPT_CONNECT:
		o->connect = arg;
		return *arg != '\0' || wrong("--connect: a path is missing");
	case OPT_DEVICE:
		number_or_error = device_kind_by_name(arg);
		if (number_or_error < 0)
			return wrong("--device=%s: there is no such device: "
				     "pmem and raw are",
			    arg);
		o->device = (enum device_id)number_or_error;
		return true;
	case OPT_REGION:
		return parse_region(o, arg);
	case OPT_FRONT_END:
		o->profile = profile_by_name(arg);
		return o->profile != NULL ||
		       wrong("--front-end=%s: there is no such profile: %s are "
			     "known",
			   arg, profile_names());
	case OPT_USER:
		o->user = arg;
		return true;
	case OPT_ONCE:
		o->once = true;
		return true;
	case OPT_LOG_LEVEL:
		number_or_error = log_level_from_name(arg);
		if (number_or_error < 0)
			return wrong("--log-level=%s: error, warn, info and "
				     "debug are levels",
			    arg);
		log_set_level((enum log_level)number_or_error);
		return true;
	case OPT_MESSAGE_TIMEOUT:
		if (!parse_number("--message-timeout", arg, 3600, &number))
			return false;
		o->message_timeout = (unsigned)number;
		return number != 0 ||
		       wrong(
			   "--message-timeout=0: a front-end needs some time");
	case OPT_SANDBOX:
		o->strict = strcmp(arg, "strict") == 0;
		return o->strict || strcmp(arg, "auto") == 0 ||
		       wrong("--sandbox: '%s' is neither auto nor strict", arg);
	case OPT_WITHOUT:
		return parse_without(o, arg);
	case OPT_WORKER:
		o->worker = arg;
		return true;
	case OPT_PRINT_CAPABILITIES:
	case OPT_PRINT_SECCOMP:
	case OPT_HELP:
	case OPT_VERSION:
		return true; /* carried out before: print_only() */
	}
	return false;
}

/* --- the whole ----------------------------------------------------------- */

/* Find the user that workers run as. */
static bool
choose_user(struct options *o)
{
	const char *asked = o->user;
	const struct passwd *pw;

	if (geteuid() != 0) {
		pw = getpwuid(geteuid());
		o->uid = geteuid();
		if (asked != NULL &&
		    ((pw = getpwnam(asked)) == NULL || pw->pw_uid != o->uid))
			return wrong("--user=%s: only root can run workers as "
				     "another user",
			    asked);
		o->user = pw != NULL ? strdup(pw->pw_name) : "this user";
		return o->user != NULL;
	}
	pw = getpwnam(asked != NULL ? asked : DEFAULT_USER);
	if (pw == NULL && asked == NULL)
		pw = getpwnam(FALLBACK_USER);
	if (pw == NULL)
		return wrong("--user=%s: there is no such user",
		    asked != NULL ? asked : FALLBACK_USER);
	if (pw->pw_uid == 0)
		return wrong("--user=%s: workers must not run as root", asked);
	o->change_ids = true;
	o->uid = pw->pw_uid;
	o->gid = pw->pw_gid;
	o->user = strdup(pw->pw_name);
	return o->user != NULL;
}

static bool
check_image(const struct options *o, struct region_spec *spec)
{
	const struct device_kind *kind = &device_kinds[o->device];
	char has[SIZE_TEXT_MAX], room[SIZE_TEXT_MAX], works[SIZE_TEXT_MAX];
	uint64_t size;
	int rc = region_image_size(spec->image, &size);

	if (rc == -EINVAL)
		return wrong("image=%s: not a regular file", spec->image);
	if (rc == -ENODATA)
		return wrong("image=%s: the file is empty", spec->image);
	if (rc < 0)
		return wrong("image=%s: %s", spec->image, strerror(-rc));
	if (spec->size == 0)
		spec->size = size_nearest(kind, o->profile, size);
	if (size > spec->size)
		return wrong("region %s: the image has %s bytes and does not "
			     "fit into size=%s; size=%s works",
		    spec->name, size_text(size, has),
		    size_text(spec->size, room),
		    size_text(size_nearest(kind, o->profile, size), works));
	return true;
}

/* A front-end that writes to what it should only read is given nothing that
 * others see. */
static bool
check_access(const struct options *o, struct region_spec *spec)
{
	if (spec->access == MEMORY_READ_WRITE)
		return !spec->fallback_copy ||
		       wrong("region %s: read-only-fallback=copy is for "
			     "regions with access=read-only",
			   spec->name);
	if (spec->image == NULL)
		return wrong("region %s: access=read-only without image= is "
			     "zeros for ever; image=FILE says what to read",
		    spec->name);
	if (o->profile->maps_read_only)
		return true;
	if (!spec->fallback_copy)
		return wrong("region %s: access=read-only: "
			     "--front-end=%s maps no memory but what it can "
			     "write; with read-only-fallback=copy each "
			     "front-end gets a copy of its own",
		    spec->name, o->profile->name);
	spec->access = MEMORY_COPY;
	return true;
}

static bool
check_regions(struct options *o)
{
	const struct device_kind *kind = &device_kinds[o->device];

	if (o->nregions == 0)
		return wrong("--region is missing, such as --region "
			     "shmid=0,size=64M");
	for (unsigned i = 0; i < o->nregions; i++) {
		struct region_spec *spec = &o->regions[i];

		for (unsigned k = 0; k < i; k++)
			if (o->regions[k].shmid == spec->shmid)
				return wrong("--region: shmid=%u is there "
					     "twice",
				    spec->shmid);
		if (spec->shmid > kind->max_shmid)
			return wrong("--region: shmid=%u: a %s device has "
				     "the one region shmid=0",
			    spec->shmid, kind->name);
		if (spec->image != NULL && !check_image(o, spec))
			return false;
		if (!check_size(o, spec) || !check_access(o, spec))
			return false;
	}
	if (o->nregions > o->profile->max_regions)
		return wrong("--region: --front-end=%s takes at most %u",
		    o->profile->name, o->profile->max_regions);
	return check_sum(o);
}

static bool
check_all(struct options *o)
{
	int ways =
	    (o->socket_path != NULL) + (o->fd >= 0) + (o->connect != NULL);

	if (ways == 0)
		return wrong("--socket-path, --fd or --connect is missing: "
			     "where do front-ends come from?");
	if (ways > 1)
		return wrong("--socket-path, --fd and --connect exclude each "
			     "other");
	return check_regions(o) && choose_user(o);
}

/* Options that print and do nothing else ignore whatever else there is: the
 * first of them that stands on the line is carried out. */
static bool
print_only(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--print-capabilities") == 0)
			print_capabilities();
		else if (strcmp(argv[i], "--print-seccomp") == 0)
			sandbox_print(stdout);
		else if (strcmp(argv[i], "--help") == 0)
			print_help();
		else if (strcmp(argv[i], "--version") == 0)
			(void)printf("%s %s\n", PACKAGE_NAME, PACKAGE_VERSION);
		else
			continue;
		return true;
	}
	return false;
}

enum options_todo
options_parse(struct options *o, int argc, char **argv)
{
	struct option longopts[NOPTIONS + 1] = { 0 };
	int c;

	memset(o, 0, sizeof(*o));
	o->fd = -1;
	o->profile = profile_by_index(0);
	o->message_timeout = 10;
	o->worker = WORKER_PATH;
	if (print_only(argc, argv))
		return fflush(stdout) == 0 ? OPTIONS_EXIT_OK
					   : OPTIONS_EXIT_USAGE;
	for (unsigned i = 0; i < NOPTIONS; i++) {
		longopts[i].name = table[i].name;
		longopts[i].has_arg =
		    table[i].arg != NULL ? required_argument : no_argument;
		longopts[i].val = (int)table[i].option;
	}
	while ((c = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
		if (c == '?') {
			(void)wrong("--help lists the options");
			return OPTIONS_EXIT_USAGE;
		}
		if (!parse_option(o, (enum option_id)c, optarg))
			return OPTIONS_EXIT_USAGE;
	}
	if (optind < argc) {
		(void)wrong(
		    "'%s' is not an option; --help lists them", argv[optind]);
		return OPTIONS_EXIT_USAGE;
	}
	return check_all(o) ? OPTIONS_RUN : OPTIONS_EXIT_USAGE;
}
