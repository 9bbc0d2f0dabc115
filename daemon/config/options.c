/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The command line; see options.h. */
#include "config.h"

#include "daemon/config/options.h"

#include "daemon/common/log.h"
#include "daemon/config/conf.h"
#include "daemon/config/keys.h"
#include "daemon/config/settings_print.h"
#include "sandbox/sandbox.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* As many as there are numbers for. */
#define REGIONS_MAX 256U

enum option_id {
	OPT_CONFIG = 256, /* above every character: no short options */
	OPT_CHECK_CONFIG,
	OPT_SOCKET_PATH,
	OPT_FD,
	OPT_CONNECT,
	OPT_DEVICE,
	OPT_REGION,
	OPT_FRONT_END,
	OPT_USER,
	OPT_SANDBOX,
	OPT_ONCE,
	OPT_LOG_LEVEL,
	OPT_CONTROL_SOCKET,
	OPT_MESSAGE_TIMEOUT,
	OPT_WITHOUT,
	OPT_WORKER,
	OPT_PRINT_CAPABILITIES,
	OPT_PRINT_SECCOMP,
	OPT_HELP_CONFIG,
	OPT_HELP,
	OPT_VERSION
};

static const struct {
	const char *name;
	const char *arg; /* what its argument is called, or NULL */
	enum option_id option;
	const char *help; /* lines are broken by newlines */
} table[] = {
	{ "config", "FILE", OPT_CONFIG,
	    "serve what FILE and conf.d beside it say; without this\n"
	    "and the next four options:\n" CONFIG_PATH },
	{ "check-config", NULL, OPT_CHECK_CONFIG,
	    "print what would be served, or every mistake, and exit" },
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
	    "gives each a copy of its own; --help-config has more" },
	{ "front-end", "PROFILE", OPT_FRONT_END,
	    "what connects: qemu (default), rust-vmm, crosvm,\n"
	    "rust-vmm-0.16, rfc" },
	{ "user", "NAME", OPT_USER,
	    "run workers as NAME when started by root (default:\n" PACKAGE_NAME
	    " if there is such a user, else nobody)" },
	{ "sandbox", "POLICY", OPT_SANDBOX,
	    "auto (default): confine workers as well as the host\n"
	    "permits, and log what it does not; strict: or not start" },
	{ "once", NULL, OPT_ONCE,
	    "serve one front-end, and exit when it leaves" },
	{ "log-level", "LEVEL", OPT_LOG_LEVEL,
	    "error, warn, info (default) or debug" },
	{ "control-socket", "PATH", OPT_CONTROL_SOCKET,
	    "where programs of the host ask what goes on; none:\n"
	    "nowhere (the default without --config)" },
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
	{ "help-config", NULL, OPT_HELP_CONFIG,
	    "print the keys of a configuration and exit" },
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

/* What the command line has said. */
struct command {
	struct settings *settings;
	bool check_config;
	/* The first option that is about one device, and what was meant to be
	 * a region: read when all options are there. */
	const char *device_option;
	unsigned nregions;
	char *regions[REGIONS_MAX];
	/* The one device, before it is known that there is one. */
	struct device_settings device;
};

/* All of it stands in one place. */
static const struct place here = { .line = 1 };

/* --- values -------------------------------------------------------------- */

/* Keep the value of a key that is an option, too. */
static bool
take(const struct command *cmd, void *base, const struct key *key,
    const char *option, const char *value)
{
	char why[KEYS_WHY_MAX];

	return key_read(key, cmd->settings, base, value, why) ||
	       wrong("%s=%s: %s", option, value, why);
}

static bool
take_top(
    struct command *cmd, enum top_key id, const char *option, const char *value)
{
	cmd->settings->given[id] = here;
	return take(
	    cmd, cmd->settings, key_by_id(SECTION_TOP, id), option, value);
}

static bool
take_device(struct command *cmd, enum device_key id, const char *option,
    const char *value)
{
	cmd->device.lines[id] = here.line;
	return take(
	    cmd, &cmd->device, key_by_id(SECTION_DEVICE, id), option, value);
}

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

/* Features of the rings, to find out whose fault something is. */
static bool
parse_without(struct command *cmd, char *text)
{
	const struct key *key = key_by_id(SECTION_DEVICE, DEVICE_WITHOUT);
	char why[KEYS_WHY_MAX];
	char *word;

	while ((word = strsep(&text, ",")) != NULL)
		if (!key_read(key, cmd->settings, &cmd->device, word, why))
			return wrong(
			    "--without: '%s' is not a feature: %s", word, why);
	return true;
}

/* --- regions ------------------------------------------------------------- */

#define KEY_NAME_MAX 24U

/* The keys of --region: number and name, those of a region, and what is the
 * device's. The table's names are copied, for getsubopt() wants to write. */
enum { SUB_SHMID, SUB_NAME, SUB_FALLBACK, SUB_REGION };
#define SUBS (SUB_REGION + REGION_KEYS)

static char *const *
region_subs(void)
{
	static char names[SUBS][KEY_NAME_MAX] = {
		[SUB_SHMID] = "shmid",
		[SUB_NAME] = "name",
	};
	static char *subs[SUBS + 1];

	for (unsigned i = 0; i < SUBS; i++) {
		const struct key *key =
		    i == SUB_FALLBACK
			? key_by_id(SECTION_SHM, SHM_FALLBACK)
			: key_by_id(SECTION_REGION, i - SUB_REGION);

		subs[i] = names[i];
		if (i == SUB_FALLBACK || i >= SUB_REGION)
			(void)snprintf(
			    names[i], sizeof(names[i]), "%s", key->name);
	}
	return subs;
}

static bool
no_such_sub(const char *word)
{
	char *const *subs = region_subs();
	char known[512] = "";

	for (unsigned i = 0; i < SUBS; i++)
		(void)snprintf(known + strlen(known),
		    sizeof(known) - strlen(known), "%s%s",
		    i == 0	    ? ""
		    : i == SUBS - 1 ? " and "
				    : ", ",
		    subs[i]);
	return wrong(
	    "--region: '%s' is not a key of a region: %s are", word, known);
}

/* The value of one key, number sub. */
static bool
parse_sub(struct command *cmd, struct region_settings *region,
    struct shm_settings *shm, unsigned sub, const char *value)
{
	const struct key *key = key_by_id(SECTION_REGION, sub - SUB_REGION);
	char why[KEYS_WHY_MAX];
	unsigned long number;

	switch (sub) {
	case SUB_SHMID:
		if (!parse_number("shmid", value, 255, &number))
			return false;
		shm->shmid = (unsigned)number;
		return true;
	case SUB_NAME:
		if (!key_name_ok(value, why))
			return wrong("name=%s: %s", value, why);
		(void)snprintf(region->name, sizeof(region->name), "%s", value);
		return true;
	case SUB_FALLBACK:
		shm->lines[SHM_FALLBACK] = here.line;
		key = key_by_id(SECTION_SHM, SHM_FALLBACK);
		return take(cmd, shm, key, key->name, value);
	default:
		region->lines[key_id(SECTION_REGION, key)] = here.line;
		return take(cmd, region, key, key->name, value);
	}
}

/* Each key of --region. */
static bool
parse_subs(struct command *cmd, struct region_settings *region,
    struct shm_settings *shm, char *text)
{
	char *const *subs = region_subs();
	bool seen[SUBS] = { false };

	while (*text != '\0') {
		/* Of a key that it does not know, only glibc's getsubopt()
		 * gives the text. */
		const char *word = text;
		char *value;
		int sub = getsubopt(&text, subs, &value);

		if (sub < 0)
			return no_such_sub(word);
		if (value == NULL || *value == '\0')
			return wrong("--region: %s= wants a value", subs[sub]);
		if (seen[sub])
			return wrong("--region: %s= is there twice", subs[sub]);
		seen[sub] = true;
		if (!parse_sub(cmd, region, shm, (unsigned)sub, value))
			return false;
	}
	return seen[SUB_SHMID] ||
	       wrong("--region: shmid= is missing; a pmem device has shmid=0");
}

static bool
parse_region(struct command *cmd, char *text)
{
	struct settings *s = cmd->settings;
	struct device_settings *device = &s->devices[0];
	const struct place place = { 0 };
	struct region_settings *region;
	struct shm_settings *shm;
	char why[KEYS_WHY_MAX];

	region = settings_add_region(s, &place, "shm", why);
	shm = settings_add_shm(device, &place, 0, why);
	if (region == NULL || shm == NULL)
		return wrong("--region: %s", why);
	region->name[0] = '\0';
	if (!parse_subs(cmd, region, shm, text))
		return false;
	if (region->name[0] == '\0')
		(void)snprintf(
		    region->name, sizeof(region->name), "shm%u", shm->shmid);
	shm->lines[SHM_REGION] = here.line;
	shm->name = settings_text(s, region->name);
	return shm->name != NULL || wrong("--region: %s", strerror(ENOMEM));
}

/* --- options ------------------------------------------------------------- */

static bool
parse_device_option(struct command *cmd, enum option_id option, char *arg)
{
	struct device_settings *d = &cmd->device;
	unsigned long number;

	switch ((int)option) {
	case OPT_SOCKET_PATH:
		return take_device(cmd, DEVICE_SOCKET, "--socket-path", arg);
	case OPT_FD:
		if (!parse_number("--fd", arg, INT_MAX, &number))
			return false;
		d->fd = (int)number;
		return d->fd > STDERR_FILENO ||
		       wrong("--fd=%d: 0 to 2 are standard input, output and "
			     "error",
			   d->fd);
	case OPT_CONNECT:
		d->connect = arg;
		return *arg != '\0' || wrong("--connect: a path is missing");
	case OPT_DEVICE:
		return take_device(cmd, DEVICE_TYPE, "--device", arg);
	case OPT_REGION:
		if (cmd->nregions == REGIONS_MAX)
			return wrong("--region: more than %u", REGIONS_MAX);
		cmd->regions[cmd->nregions++] = arg;
		return true;
	case OPT_FRONT_END:
		return take_device(cmd, DEVICE_FRONT_END, "--front-end", arg);
	case OPT_MESSAGE_TIMEOUT:
		return take_device(
		    cmd, DEVICE_MESSAGE_TIMEOUT, "--message-timeout", arg);
	case OPT_WITHOUT:
		return parse_without(cmd, arg);
	default:
		return false;
	}
}

static const char *
option_name(enum option_id option)
{
	for (unsigned i = 0; i < NOPTIONS; i++)
		if (table[i].option == option)
			return table[i].name;
	return "";
}

static bool
parse_option(struct command *cmd, enum option_id option, char *arg)
{
	struct settings *s = cmd->settings;

	switch (option) {
	case OPT_CONFIG:
		s->config = arg;
		return *arg != '\0' || wrong("--config: a path is missing");
	case OPT_CHECK_CONFIG:
		cmd->check_config = true;
		return true;
	case OPT_SOCKET_PATH:
	case OPT_FD:
	case OPT_CONNECT:
	case OPT_DEVICE:
	case OPT_REGION:
	case OPT_FRONT_END:
	case OPT_MESSAGE_TIMEOUT:
	case OPT_WITHOUT:
		if (cmd->device_option == NULL)
			cmd->device_option = option_name(option);
		return parse_device_option(cmd, option, arg);
	case OPT_USER:
		return take_top(cmd, TOP_USER, "--user", arg);
	case OPT_ONCE:
		if (cmd->device_option == NULL)
			cmd->device_option = "once";
		s->once = true;
		return true;
	case OPT_LOG_LEVEL:
		return take_top(cmd, TOP_LOG_LEVEL, "--log-level", arg);
	case OPT_CONTROL_SOCKET:
		return take_top(
		    cmd, TOP_CONTROL_SOCKET, "--control-socket", arg);
	case OPT_SANDBOX:
		s->given[TOP_SANDBOX] = here;
		s->strict = strcmp(arg, "strict") == 0;
		return s->strict || strcmp(arg, "auto") == 0 ||
		       wrong("--sandbox: '%s' is neither auto nor strict", arg);
	case OPT_WORKER:
		s->worker = arg;
		return true;
	case OPT_PRINT_CAPABILITIES:
	case OPT_PRINT_SECCOMP:
	case OPT_HELP_CONFIG:
	case OPT_HELP:
	case OPT_VERSION:
		return true; /* carried out before: print_only() */
	}
	return false;
}

/* --- the whole ----------------------------------------------------------- */

static void
complain(void *ctx, const struct place *place, const char *text)
{
	(void)ctx;
	if (place->file == NULL)
		(void)wrong("%s", text);
	else if (place->line == 0)
		(void)wrong("%s: %s", place->file, text);
	else
		(void)wrong("%s:%u: %s", place->file, place->line, text);
}

/* The command line says what to serve. */
static bool
serve_device(struct command *cmd)
{
	struct settings *s = cmd->settings;
	const struct place place = { 0 };
	struct device_settings *device;
	char why[KEYS_WHY_MAX];

	device = settings_add_device(
	    s, &place, device_kinds[cmd->device.type].name, why);
	if (device == NULL)
		return wrong("%s", why);
	*device = cmd->device;
	(void)snprintf(device->name, sizeof(device->name), "%s",
	    device_kinds[device->type].name);
	for (unsigned i = 0; i < cmd->nregions; i++)
		if (!parse_region(cmd, cmd->regions[i]))
			return false;
	return settings_check(s, complain, NULL);
}

static bool
serve_config(struct command *cmd)
{
	struct settings *s = cmd->settings;

	s->look_only = cmd->check_config;
	if (cmd->device_option != NULL)
		return wrong("--%s is about one device, and --config serves "
			     "what its file says: put it there",
		    cmd->device_option);
	if (s->config == NULL) {
		s->config = CONFIG_PATH;
		if (access(s->config, F_OK) < 0)
			return wrong("%s: %s; that file says what to serve: "
				     "write it (" PACKAGE_NAME ".conf(5)), "
				     "name another by --config=FILE, or give "
				     "--socket-path and --region",
			    s->config, strerror(errno));
	}
	return conf_load(s, complain, NULL);
}

static enum options_todo
serve(struct command *cmd)
{
	struct settings *s = cmd->settings;
	const char *option = cmd->device_option;
	bool good = s->config == NULL && option != NULL ? serve_device(cmd)
							: serve_config(cmd);

	if (!good)
		return OPTIONS_EXIT_USAGE;
	if (!cmd->check_config) {
		log_set_level(s->log_level);
		return OPTIONS_RUN;
	}
	settings_print(s, stdout);
	return fflush(stdout) == 0 ? OPTIONS_EXIT_OK : OPTIONS_EXIT_USAGE;
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
		else if (strcmp(argv[i], "--help-config") == 0)
			keys_print(stdout);
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

/* The options are those of the table. */
static void
long_options(struct option longopts[static NOPTIONS + 1])
{
	memset(longopts, 0, (NOPTIONS + 1) * sizeof(longopts[0]));
	for (unsigned i = 0; i < NOPTIONS; i++) {
		longopts[i].name = table[i].name;
		longopts[i].has_arg =
		    table[i].arg != NULL ? required_argument : no_argument;
		longopts[i].val = (int)table[i].option;
	}
}

enum options_todo
options_parse(struct settings *settings, struct activation *activation,
    int argc, char **argv)
{
	static struct command cmd; /* large */
	struct option longopts[NOPTIONS + 1];
	int c;

	settings_init(settings);
	settings->activation = activation;
	memset(&cmd, 0, sizeof(cmd));
	cmd.settings = settings;
	cmd.device.fd = -1;
	cmd.device.socket_uid = (uid_t)-1;
	cmd.device.socket_gid = (gid_t)-1;
	key_defaults(SECTION_DEVICE, settings, &cmd.device);
	if (print_only(argc, argv))
		return fflush(stdout) == 0 ? OPTIONS_EXIT_OK
					   : OPTIONS_EXIT_USAGE;
	long_options(longopts);
	while ((c = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
		if (c == '?') {
			(void)wrong("--help lists the options");
			return OPTIONS_EXIT_USAGE;
		}
		if (!parse_option(&cmd, (enum option_id)c, optarg))
			return OPTIONS_EXIT_USAGE;
	}
	if (optind < argc) {
		(void)wrong(
		    "'%s' is not an option; --help lists them", argv[optind]);
		return OPTIONS_EXIT_USAGE;
	}
	return serve(&cmd);
}
