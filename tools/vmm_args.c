/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The commands "qemu-args" and "crosvm-args": what a virtual machine monitor is
 * started with, so that its guest gets our devices. The lines are those of
 * vhost-shmemd-frontends(7), which the guest tests run.
 */
#include "config.h"

#include "tools/reply.h"
#include "tools/status.h"
#include "tools/text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define VIRTIO_ID_PMEM 27U
#define VIRTIO_ID_MAX 65535U
#define QUEUES_MAX 1024U
#define CONFIG_SIZE 16U
#define CONFIG_SIZE_MAX 256U

struct device {
	const char *name;
	const char *socket;
	uint64_t virtio_id;
	uint64_t queues;
	uint64_t config_size; /* bytes */
};

/* What a monitor needs to know. */
struct monitor {
	const char *name;
	/* Profiles, of --front-end, that suit it. */
	const char *profiles[2];
	bool (*print)(FILE *out, const struct device *d);
};

/* --- the devices --------------------------------------------------------- */

static bool
suits(const struct monitor *m, const char *front_end)
{
	for (unsigned i = 0; i < 2; i++)
		if (m->profiles[i] != NULL &&
		    strcmp(m->profiles[i], front_end) == 0)
			return true;
	return false;
}

static bool
device_of_daemon(const struct monitor *m, const json_t *status,
    const char *name, struct device *d)
{
	const json_t *devices = reply_objects(status, "devices");
	const json_t *one = reply_find(devices, "name", name);
	const char *front_end;

	if (devices == NULL)
		return false;
	if (one == NULL)
		return text_error("the daemon has no device '%s'; '" CTL_NAME
				  " status' shows what it has",
		    name);
	d->name = name;
	if (!reply_text(one, "socket", true, &d->socket) ||
	    !reply_text(one, "front_end", false, &front_end) ||
	    !reply_count(one, "virtio_id", &d->virtio_id) ||
	    !reply_count(one, "queues", &d->queues) ||
	    !reply_count(one, "config_size", &d->config_size))
		return false;
	if (d->virtio_id == 0)
		return text_error("device %s is raw, and nobody has said which "
				  "virtio device it is; with --socket, "
				  "--type=raw and --virtio-id you can",
		    name);
	if (d->socket == NULL)
		return text_error("device %s does not listen: it connects to "
				  "its front-end, or has an inherited socket",
		    name);
	if (!suits(m, front_end))
		return text_error(
		    "device %s is made for %s, not for %s; in its "
		    "configuration, --front-end=%s would be right",
		    name, front_end, m->name, m->profiles[0]);
	return true;
}

/* By the options. Returns false if they make no sense. */
static bool
device_of_options(const struct ctl_args *args, struct device *d)
{
	const char *type = args->option[CTL_TYPE];
	bool raw = type != NULL && strcmp(type, "raw") == 0;
	unsigned id, queues, config_size;

	if (args->nwords != 0)
		return text_error("'%s' and --socket exclude each other: the "
				  "daemon knows the one, you the other",
		    args->words[0]);
	if (type != NULL && !raw && strcmp(type, "pmem") != 0)
		return text_error("--type=%s: there is no such device: pmem "
				  "and raw are",
		    type);
	if (!ctl_number(args, CTL_VIRTIO_ID, 1, VIRTIO_ID_MAX, 0, &id) ||
	    !ctl_number(args, CTL_QUEUES, 1, QUEUES_MAX, 1, &queues) ||
	    !ctl_number(args, CTL_CONFIG_SIZE, 1, CONFIG_SIZE_MAX, CONFIG_SIZE,
		&config_size))
		return false;
	if (raw && id == 0)
		return text_error(
		    "--virtio-id is missing: a raw device is what "
		    "your driver is for");
	if (!raw && (args->option[CTL_QUEUES] != NULL ||
			args->option[CTL_CONFIG_SIZE] != NULL || id != 0))
		return text_error("--virtio-id, --queues and --config-size go "
				  "with --type=raw: those of pmem are known");
	*d = (struct device){
		.name = "",
		.socket = args->option[CTL_SOCKET],
		.virtio_id = raw ? id : VIRTIO_ID_PMEM,
		.queues = queues,
		.config_size = config_size,
	};
	return true;
}

/* --- QEMU ---------------------------------------------------------------- */

/* Print one word for a shell; it is freed. */
static void
put(FILE *out, char *word)
{
	AUTO_TEXT mine = word;
	AUTO_TEXT quoted = text_shell(mine);

	(void)fprintf(out, " %s", quoted);
}

/* A value in a list of QEMU's options: a comma is doubled. */
static char *
qemu_value(const char *text)
{
	char *value = text_format("%s%s", text, text), *to = value;

	for (; *text != '\0'; text++) {
		if (*text == ',')
			*to++ = ',';
		*to++ = *text;
	}
	*to = '\0';
	return value;
}

/* An identifier, of which QEMU takes letters, digits, '-', '.' and '_'. */
static char *
qemu_id(const char *name)
{
	char *id = text_format("shm%s%s", *name != '\0' ? "-" : "", name);

	for (char *c = id; *c != '\0'; c++)
		if (!isalnum((unsigned char)*c) && strchr("-._", *c) == NULL)
			*c = '_';
	return id;
}

static bool
print_qemu_device(FILE *out, const struct device *d)
{
	AUTO_TEXT id = qemu_id(d->name);
	AUTO_TEXT path = qemu_value(d->socket);

	put(out, text_format("-chardev"));
	put(out, text_format("socket,id=%s,path=%s", id, path));
	put(out, text_format("-device"));
	put(out, text_format(
		     "vhost-user-test-device-pci,chardev=%s,virtio-id=%" PRIu64
		     ",num_vqs=%" PRIu64 ",config_size=%" PRIu64,
		     id, d->virtio_id, d->queues, d->config_size));
	return true;
}

static bool
is_size(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits != 0 && digits < 16 && *text != '0' &&
	       (text[digits] == '\0' || (strchr("KMGT", text[digits]) != NULL &&
					    text[digits + 1] == '\0'));
}

static void
print_qemu_memory(FILE *out, const char *size)
{
	(void)fprintf(out,
	    "-M q35,memory-backend=mem -m %s -object "
	    "memory-backend-memfd,id=mem,size=%s,share=on",
	    size, size);
}

/* --- crosvm -------------------------------------------------------------- */

static bool
print_crosvm_device(FILE *out, const struct device *d)
{
	/* Those names that are the same in VIRTIO and in crosvm. */
	static const char *const types[] = {
		[1] = "net",
		[2] = "block",
		[3] = "console",
		[4] = "rng",
		[5] = "balloon",
		[8] = "scsi",
		[16] = "gpu",
		[18] = "input",
		[19] = "vsock",
		[23] = "iommu",
		[26] = "fs",
		[VIRTIO_ID_PMEM] = "pmem",
	};
	const uint64_t ntypes = sizeof(types) / sizeof(types[0]);

	if (d->virtio_id >= ntypes || types[d->virtio_id] == NULL)
		return text_error("what crosvm calls a device with virtio id "
				  "%" PRIu64 " is not known here",
		    d->virtio_id);
	if (strchr(d->socket, ',') != NULL)
		return text_error("%s: crosvm takes the comma for the end of "
				  "the path; use one without",
		    d->socket);
	put(out, text_format("--vhost-user"));
	put(out,
	    text_format("type=%s,socket=%s", types[d->virtio_id], d->socket));
	return true;
}

/* --- both ---------------------------------------------------------------- */

static const struct monitor qemu = { "QEMU", { "qemu", NULL },
	print_qemu_device };
/* What the profile qemu offers suits everybody who follows the
 * specification. */
static const struct monitor crosvm = { "crosvm", { "crosvm", "qemu" },
	print_crosvm_device };

static bool
print_devices(const struct ctl_args *args, const struct monitor *m,
    const json_t *status, FILE *out)
{
	struct device d;

	if (status == NULL)
		return device_of_options(args, &d) && m->print(out, &d);
	for (unsigned i = 0; i < args->nwords; i++)
		if (!device_of_daemon(m, status, args->words[i], &d) ||
		    !m->print(out, &d))
			return false;
	return true;
}

/* memory is what comes before the devices, or NULL. */
static enum ctl_status
print_args(
    const struct ctl_args *args, const struct monitor *m, const char *memory)
{
	enum ctl_status status = CTL_OK, failed = CTL_USAGE;
	json_t *reply = NULL;
	AUTO_TEXT text = NULL;
	size_t size;
	FILE *out;

	if (args->option[CTL_SOCKET] == NULL) {
		if (args->nwords == 0) {
			(void)text_error("a device is missing: its name, or "
					 "--socket=PATH");
			return CTL_USAGE;
		}
		failed = CTL_FAILED;
		status = status_ask(args, &reply);
		if (status != CTL_OK)
			return status;
	}
	out = open_memstream(&text, &size);
	if (out != NULL && memory != NULL)
		print_qemu_memory(out, memory);
	if (out == NULL || !print_devices(args, m, reply, out))
		status = failed;
	json_decref(reply);
	if (out == NULL || fclose(out) != 0)
		return CTL_FAILED;
	if (status == CTL_OK &&
	    (puts(*text == ' ' ? text + 1 : text) < 0 || fflush(stdout) != 0))
		status = CTL_FAILED;
	return status;
}

enum ctl_status
qemu_args_command(const struct ctl_args *args)
{
	const char *memory = args->option[CTL_MEMORY];

	if (memory == NULL)
		memory = "1G";
	if (!is_size(memory)) {
		(void)text_error("--memory=%s: a number with one of K, M, G "
				 "and T belongs here, such as 1G",
		    memory);
		return CTL_USAGE;
	}
	return print_args(args, &qemu, memory);
}

enum ctl_status
crosvm_args_command(const struct ctl_args *args)
{
	return print_args(args, &crosvm, NULL);
}
