/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vhost-shmemctl: what operators ask of vhost-shmemd and other back-ends. */
#include "config.h"

#include "proto/fd.h"
#include "tools/ctl.h"
#include "tools/text.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define BIT(option) (1U << (option))
/* What each command takes that asks the daemon. */
#define ASKS (BIT(CTL_CONTROL) | BIT(CTL_TIMEOUT))
/* What stands for a device that no daemon is asked about. */
#define DEVICE (BIT(CTL_SOCKET) | BIT(CTL_TYPE) | BIT(CTL_VIRTIO_ID))

static const struct {
	const char *name;
	const char *arg; /* what its argument is called, or NULL */
	const char *help;
} options[CTL_OPTIONS] = {
	[CTL_CONTROL] = { "control", "PATH",
	    "the daemon's control socket\n"
	    "(default: " CONTROL_SOCKET ")" },
	[CTL_TIMEOUT] = { "timeout", "SECONDS",
	    "how long to wait for all answers (default: 5; reload: 60)" },
	[CTL_JSON] = { "json", NULL, "print JSON, for programs" },
	[CTL_CONFIG_SIZE] = { "config-size", "BYTES",
	    "the size of the device's configuration space, up to 256\n"
	    "(probe: as many as there are; else 16)" },
	[CTL_SOCKET] = { "socket", "PATH",
	    "a device that listens here, instead of asking the daemon" },
	[CTL_TYPE] = { "type", "TYPE", "with --socket: pmem (default) or raw" },
	[CTL_VIRTIO_ID] = { "virtio-id", "N",
	    "with --type=raw: the virtio device that it is" },
	[CTL_QUEUES] = { "queues", "N",
	    "with --type=raw: how many queues it has (default: 1)" },
	[CTL_MEMORY] = { "memory", "SIZE",
	    "the guest's memory, with K, M, G or T (default: 1G)" },
	[CTL_ONCE] = { "once", NULL, "print one screen and exit" },
	[CTL_READ_ONLY] = { "read-only", NULL,
	    "get a descriptor that cannot be written to" },
	[CTL_STDIN] = { "stdin", NULL,
	    "write standard input into the region, from its begin" },
	[CTL_STDOUT] = { "stdout", NULL,
	    "write the region to standard output" },
	[CTL_HELP] = { "help", NULL, "print this and exit" },
};

static const struct command {
	const char *name;
	const char *args; /* its words, or NULL */
	const char *help; /* lines are broken by newlines */
	unsigned options; /* BIT()s; --help is everybody's */
	unsigned min_words, max_words;
	bool runs; /* "-- CMD ARG..." may follow */
	enum ctl_status (*run)(const struct ctl_args *args);
} commands[] = {
	{ "probe", "SOCKET",
	    "say what the vhost-user back-end at SOCKET offers; for many\n"
	    "back-ends this is the one front-end that they serve",
	    BIT(CTL_TIMEOUT) | BIT(CTL_JSON) | BIT(CTL_CONFIG_SIZE), 1, 1,
	    false, probe_command },
	{ "qemu-args", "[DEVICE...]",
	    "print the arguments that give a QEMU machine these devices",
	    ASKS | DEVICE | BIT(CTL_QUEUES) | BIT(CTL_CONFIG_SIZE) |
		BIT(CTL_MEMORY),
	    0, 64, false, qemu_args_command },
	{ "crosvm-args", "[DEVICE...]",
	    "print the arguments that give a crosvm machine these devices",
	    ASKS | DEVICE, 0, 64, false, crosvm_args_command },
	{ "doctor", NULL,
	    "check this host, and say what to do about what is found",
	    ASKS | BIT(CTL_JSON), 0, 0, false, doctor_command },
	{ "status", NULL,
	    "show the daemon, its regions, devices and connections",
	    ASKS | BIT(CTL_JSON), 0, 0, false, status_command },
	{ "regions", NULL, "show the regions", ASKS | BIT(CTL_JSON), 0, 0,
	    false, regions_command },
	{ "connections", NULL, "show who is connected", ASKS | BIT(CTL_JSON), 0,
	    0, false, connections_command },
	{ "disconnect", "ID", "close a connection; QEMU may not survive that",
	    ASKS, 1, 1, false, disconnect_command },
	{ "reload", NULL, "let the daemon read its configuration again", ASKS,
	    0, 0, false, reload_command },
	{ "metrics", NULL, "print numbers for Prometheus, as OpenMetrics", ASKS,
	    0, 0, false, metrics_command },
	{ "top", NULL, "show what happens, anew every 2 seconds",
	    ASKS | BIT(CTL_ONCE), 0, 0, false, top_command },
	{ "attach", "REGION [-- CMD ARG...]",
	    "run CMD with a descriptor of the region, whose number is\n"
	    "$SHMEM_FD and whose size $SHMEM_SIZE; or copy from or to it",
	    ASKS | BIT(CTL_READ_ONLY) | BIT(CTL_STDIN) | BIT(CTL_STDOUT), 1, 1,
	    true, attach_command },
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

/* --- help ---------------------------------------------------------------- */

static void
print_row(const char *what, const char *help)
{
	int width = printf("  %s", what);

	if (width > 22) {
		(void)putchar('\n');
		width = 0;
	}
	for (; help != NULL; width = 0) {
		const char *end = strchr(help, '\n');

		(void)printf("%*s%.*s\n", 24 - width, "",
		    (int)(end != NULL ? end - help : (ptrdiff_t)strlen(help)),
		    help);
		help = end != NULL ? end + 1 : NULL;
	}
}

static void
print_command(const struct command *c)
{
	AUTO_TEXT what = text_format("%s%s%s", c->name,
	    c->args != NULL ? " " : "", c->args != NULL ? c->args : "");

	print_row(what, c->help);
}

static void
print_option(enum ctl_option option)
{
	AUTO_TEXT what = text_format("--%s%s%s", options[option].name,
	    options[option].arg != NULL ? "=" : "",
	    options[option].arg != NULL ? options[option].arg : "");

	print_row(what, options[option].help);
}

static enum ctl_status
print_help(void)
{
	(void)printf(
	    "Usage: " CTL_NAME " COMMAND [OPTION]... [ARGUMENT]...\n"
	    "Ask vhost-shmemd and other vhost-user back-ends, and tell "
	    "them.\n\nCommands:\n");
	for (unsigned i = 0; i < NCOMMANDS; i++)
		print_command(&commands[i]);
	(void)printf("\nOptions, of which each command takes some:\n");
	for (unsigned i = 0; i < CTL_OPTIONS; i++)
		print_option((enum ctl_option)i);
	print_row("--version", "print the version and exit");
	(void)printf("\nThe manual, " CTL_NAME "(1), has examples.\n");
	return fflush(stdout) == 0 ? CTL_OK : CTL_FAILED;
}

static enum ctl_status
print_command_help(const struct command *c)
{
	(void)printf("Usage: " CTL_NAME " %s [OPTION]...%s%s\n", c->name,
	    c->args != NULL ? " " : "", c->args != NULL ? c->args : "");
	print_command(c);
	(void)putchar('\n');
	for (unsigned i = 0; i < CTL_OPTIONS; i++)
		if ((c->options & BIT(i)) != 0 || i == CTL_HELP)
			print_option((enum ctl_option)i);
	return fflush(stdout) == 0 ? CTL_OK : CTL_FAILED;
}

/* --- options ------------------------------------------------------------- */

bool
ctl_number(const struct ctl_args *args, enum ctl_option option, unsigned min,
    unsigned max, unsigned otherwise, unsigned *number)
{
	const char *text = args->option[option];
	unsigned long value;
	char *end;

	*number = otherwise;
	if (text == NULL)
		return true;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end != '\0' || errno != 0 ||
	    value < min || value > max)
		return text_error("--%s=%s: a number from %u to %u belongs "
				  "here",
		    options[option].name, text, min, max);
	*number = (unsigned)value;
	return true;
}

unsigned
ctl_timeout(const struct ctl_args *args, unsigned otherwise)
{
	unsigned seconds;

	return ctl_number(args, CTL_TIMEOUT, 1, 3600, otherwise, &seconds)
		   ? seconds
		   : otherwise;
}

/* What stands before "--" is ours: returns false after an error. */
static bool
parse(const struct command *c, struct ctl_args *args, int argc, char **argv)
{
	struct option longopts[CTL_OPTIONS + 1] = { 0 };
	unsigned seconds, n = 0;
	int o, mine = 0;

	while (mine < argc && strcmp(argv[mine], "--") != 0)
		mine++;
	if (mine < argc) {
		args->command = argv + mine + 1;
		if (!c->runs)
			return text_error("%s: nothing can follow --", c->name);
		if (*args->command == NULL)
			return text_error(
			    "%s: a command is missing after --", c->name);
	}
	argv[mine] = NULL;
	for (unsigned i = 0; i < CTL_OPTIONS; i++) {
		if ((c->options & BIT(i)) == 0 && i != CTL_HELP)
			continue;
		longopts[n].name = options[i].name;
		longopts[n].has_arg =
		    options[i].arg != NULL ? required_argument : no_argument;
		/* Above every character: there are no short options. */
		longopts[n++].val = 256 + (int)i;
	}
	while ((o = getopt_long(mine, argv, "", longopts, NULL)) != -1) {
		if (o == '?')
			return text_error("%s --help lists the options of %s",
			    CTL_NAME, c->name);
		args->option[o - 256] = optarg != NULL ? optarg : "";
	}
	args->words = argv + optind;
	args->nwords = (unsigned)(mine - optind);
	if (args->option[CTL_HELP] != NULL)
		return true;
	if (args->nwords < c->min_words)
		return text_error("%s: %s is missing", c->name, c->args);
	if (args->nwords > c->max_words)
		return text_error(
		    "%s: '%s' is too much", c->name, args->words[c->max_words]);
	return ctl_number(args, CTL_TIMEOUT, 1, 3600, 5, &seconds);
}

static enum ctl_status
run(int argc, char **argv)
{
	struct ctl_args args = { 0 };

	if (argc < 2) {
		(void)text_error("a command is missing; --help lists them");
		return CTL_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0)
		return print_help();
	if (strcmp(argv[1], "--version") == 0)
		return printf(CTL_NAME " %s\n", PACKAGE_VERSION) < 0 ||
			       fflush(stdout) != 0
			   ? CTL_FAILED
			   : CTL_OK;
	for (unsigned i = 0; i < NCOMMANDS; i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		if (!parse(&commands[i], &args, argc - 1, argv + 1))
			return CTL_USAGE;
		if (args.option[CTL_HELP] != NULL)
			return print_command_help(&commands[i]);
		return commands[i].run(&args);
	}
	(void)text_error("'%s' is no command; --help lists them", argv[1]);
	return CTL_USAGE;
}

int
main(int argc, char **argv)
{
	return fd_open_standard() ? (int)run(argc, argv) : CTL_FAILED;
}
