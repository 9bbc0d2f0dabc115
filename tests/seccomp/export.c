/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What the four seccomp filters are on each CPU.
 *
 * usage: export DIR     write DIR/CPU/FILTER.pfc, libseccomp's text of each;
 *                       print the version of libseccomp
 *
 * libseccomp knows the calls of all CPUs and how they are numbered, and leaves
 * out what a CPU lacks. The numbers that arguments are compared with come from
 * the headers of the CPU that this is built for. Of all that the lists use two
 * differ, both on ppc64el: they are replaced when a list is for another CPU
 * than ours. For our own nothing is replaced, so that this table is tested
 * where it is run on the CPU that it is about.
 *
 * For a rule of a socket call libseccomp adds one of socketcall on i386, s390x
 * and ppc64el. It compares the arguments of the socket call with registers that
 * hold none in a socketcall; what libraries need is in lines of its own.
 */
#include "config.h"

#include "sandbox/filter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* By Debian's names. */
static const struct {
	const char *name;
	uint32_t arch;
} cpus[] = {
	{ "amd64", SCMP_ARCH_X86_64 },
	{ "arm64", SCMP_ARCH_AARCH64 },
	{ "armhf", SCMP_ARCH_ARM },
	{ "i386", SCMP_ARCH_X86 },
	{ "ppc64el", SCMP_ARCH_PPC64LE },
	{ "riscv64", SCMP_ARCH_RISCV64 },
	{ "s390x", SCMP_ARCH_S390X },
};

static const char *const names[FILTERS] = {
	[FILTER_SUPERVISOR] = "supervisor",
	[FILTER_SPAWNER] = "spawner",
	[FILTER_WORKER] = "worker",
	[FILTER_FLUSHER] = "flusher",
};

/* Bits of an argument that are others on a CPU. */
static const struct {
	uint32_t arch;
	const char *call;
	unsigned arg;
	scmp_datum_t elsewhere, there;
} differences[] = {
	/* MAP_NORESERVE */
	{ SCMP_ARCH_PPC64LE, "mmap", 3, 0x4000, 0x40 },
	/* SO_PEERCRED; SO_TYPE, 3, is the same */
	{ SCMP_ARCH_PPC64LE, "getsockopt", 2, 17, 21 },
};

static void
replace(
    struct filter_rule *rule, unsigned arg, scmp_datum_t from, scmp_datum_t to)
{
	for (unsigned i = 0; i < rule->nargs; i++) {
		struct scmp_arg_cmp *cmp = &rule->args[i];

		if (cmp->arg == arg && (cmp->datum_a & from) == from)
			cmp->datum_a = (cmp->datum_a & ~from) | to;
	}
}

/* Make a rule of ours one of another CPU. */
static void
adapt(struct filter_rule *rule, uint32_t arch)
{
	for (unsigned i = 0; i < sizeof(differences) / sizeof(differences[0]);
	     i++) {
		bool ours = differences[i].arch == seccomp_arch_native();
		bool theirs = differences[i].arch == arch;

		if (ours == theirs ||
		    strcmp(rule->call, differences[i].call) != 0)
			continue;
		replace(rule, differences[i].arg,
		    ours ? differences[i].there : differences[i].elsewhere,
		    ours ? differences[i].elsewhere : differences[i].there);
	}
}

/* Whether a CPU has a call, be it only by socketcall. */
static bool
has_call(uint32_t arch, const char *call)
{
	/* libseccomp's own numbers: below -10000 for what a CPU lacks. */
	return seccomp_syscall_resolve_name_arch(arch, call) > -10000 &&
	       seccomp_syscall_resolve_name_arch(arch, call) != __NR_SCMP_ERROR;
}

static scmp_filter_ctx
make_filter(enum filter_id id, uint32_t arch)
{
	unsigned n;
	const struct filter_rule *rules = filter_rules(id, &n);
	scmp_filter_ctx filter = filter_new();
	int rc = filter == NULL ? -ENOMEM : 0;

	/* A list to read, not a tree to search. */
	if (rc == 0)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 1);

	/* In this order: in one filter all have the same byte order. */
	if (rc == 0 && arch != seccomp_arch_native()) {
		rc = seccomp_arch_remove(filter, SCMP_ARCH_NATIVE);
		if (rc == 0)
			rc = seccomp_arch_add(filter, arch);
	}
	for (unsigned i = 0; rc == 0 && i < n; i++) {
		struct filter_rule rule = rules[i];

		if (!filter_applies(&rule, arch) || !has_call(arch, rule.call))
			continue;
		adapt(&rule, arch);
		rc = filter_add(filter, &rule);
	}
	if (rc < 0) {
		seccomp_release(filter);
		errno = -rc;
		return NULL;
	}
	return filter;
}

/* Write the text to path, without what libseccomp numbers rules with for
 * itself. */
static int
write_text(scmp_filter_ctx filter, const char *path)
{
	char line[400];
	FILE *text = tmpfile(), *out = fopen(path, "w");
	int rc;

	if (text == NULL || out == NULL)
		return -errno;
	rc = seccomp_export_pfc(filter, fileno(text));
	rewind(text);
	while (rc == 0 && fgets(line, sizeof(line), text) != NULL) {
		char *priority = strstr(line, " [priority:");

		if (priority != NULL)
			(void)strcpy(priority, "\n");
		if (fputs(line, out) == EOF)
			rc = -errno;
	}
	(void)fclose(text);
	if (fclose(out) == EOF && rc == 0)
		rc = -errno;
	return rc;
}

/* All filters of one CPU. */
static int export(const char *dir, unsigned cpu)
{
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, cpus[cpu].name);
	if (mkdir(path, 0777) < 0 && errno != EEXIST) {
		perror(path);
		return EXIT_FAILURE;
	}
	for (unsigned id = 0; id < FILTERS; id++) {
		scmp_filter_ctx filter =
		    make_filter((enum filter_id)id, cpus[cpu].arch);
		int rc = filter == NULL ? -errno : 0;

		(void)snprintf(path, sizeof(path), "%s/%s/%s.pfc", dir,
		    cpus[cpu].name, names[id]);
		if (rc == 0)
			rc = write_text(filter, path);
		seccomp_release(filter);
		if (rc < 0) {
			(void)fprintf(stderr, "%s: %s\n", path, strerror(-rc));
			return EXIT_FAILURE;
		}
	}
	return EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
	const struct scmp_version *version = seccomp_version();
	int status = EXIT_SUCCESS;

	if (argc != 2) {
		(void)fprintf(stderr, "usage: export DIR\n");
		return EXIT_FAILURE;
	}
#ifdef SHMEMD_INSTRUMENTED
	(void)fprintf(stderr, "the lists of this build are wider\n");
	return 77;
#endif
	for (unsigned i = 0; i < sizeof(cpus) / sizeof(cpus[0]); i++)
		if (status == EXIT_SUCCESS)
			status = export(argv[1], i);
	(void)printf("libseccomp %u.%u.%u\n", version->major, version->minor,
	    version->micro);
	return status;
}
