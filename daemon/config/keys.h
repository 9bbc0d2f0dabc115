/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The keys of the configuration, one table: what each is called, what its
 * values are, and how a value is read, kept and written. Files (conf.h) and
 * the command line (options.h) go by it, and so do --help-config, the manual's
 * test and the tests that try each key.
 */
#ifndef KEYS_H
#define KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct settings;

enum key_section {
	SECTION_TOP, /* outside of sections */
	SECTION_REGION,
	SECTION_DEVICE,
	SECTION_SHM,
	SECTIONS
};

/* The keys of each section, in the order in which they are shown. */
enum top_key {
	TOP_USER,
	TOP_SANDBOX,
	TOP_LOG_LEVEL,
	TOP_CONTROL_SOCKET,
	TOP_CONTROL_GROUP,
	TOP_KEYS
};
enum region_key {
	REGION_SIZE,
	REGION_IMAGE,
	REGION_SHA256,
	REGION_FILE,
	REGION_CREATE,
	REGION_SYNC,
	REGION_HUGEPAGES,
	REGION_NUMA_NODE,
	REGION_PREALLOC,
	REGION_LOCK,
	REGION_ACCESS,
	REGION_ON_RELEASE,
	REGION_MAX_CONNECTIONS,
	REGION_KEYS
};
enum device_key {
	DEVICE_SOCKET,
	DEVICE_SOCKET_OWNER,
	DEVICE_SOCKET_GROUP,
	DEVICE_SOCKET_MODE,
	DEVICE_TYPE,
	DEVICE_FRONT_END,
	DEVICE_VIRTIO_ID,
	DEVICE_QUEUES,
	DEVICE_CONFIG,
	DEVICE_CONFIG_FILE,
	DEVICE_ALLOW_USER,
	DEVICE_ALLOW_GROUP,
	DEVICE_MAX_CONNECTIONS,
	DEVICE_MAX_FLUSHES,
	DEVICE_MESSAGE_TIMEOUT,
	DEVICE_WITHOUT,
	DEVICE_KEYS
};
enum shm_key { SHM_REGION, SHM_ACCESS, SHM_FALLBACK, SHM_KEYS };

/* Room for the reason why a value was refused, and for a value's text. */
#define KEYS_WHY_MAX 256U
#define KEYS_TEXT_MAX 4096U
/* Bytes of a path or name, with NUL. */
#define KEYS_PATH_MAX 1024U

struct key_type;

struct key {
	const char *name;
	const struct key_type *type;
	size_t offset;		  /* of the value in the section's struct */
	uint64_t least, most;	  /* of a number */
	const char *const *words; /* that there are; ends with NULL */
	const char *value;	  /* the default, as it would be written; or */
	const char *otherwise;	  /* what is done without the key, in words */
	bool path;		  /* absolute, in a file */
	bool list;		  /* several values, kept one after another */
	const char *help;
};

/* How a section is called in a file: "region"; of the top "". */
const char *key_section_name(enum key_section section);

/* The key, or NULL. id is of the section's enum. */
const struct key *key_by_id(enum key_section section, unsigned id);
const struct key *key_by_name(enum key_section section, const char *name);

/* Its place in the section's enum. */
unsigned key_id(enum key_section section, const struct key *key);

/* The known name next to this one, or NULL if none is near. */
const char *key_nearest(enum key_section section, const char *name);

/* Whether name can be one of a region or device; else why not. */
bool key_name_ok(const char *name, char why[static KEYS_WHY_MAX]);

/*
 * Read a value and keep it in its section's struct, base; of a list, one of
 * its values. Returns whether it is one; else what would be right is in why,
 * and nothing was kept.
 */
bool key_read(const struct key *key, struct settings *settings, void *base,
    const char *text, char why[static KEYS_WHY_MAX])
    __attribute__((warn_unused_result));

/* Keep the default of each key of a section. */
void key_defaults(
    enum key_section section, struct settings *settings, void *base);

/* Write a value as it would be written in a file, "" if there is none. */
const char *key_text(
    const struct key *key, const void *base, char buf[static KEYS_TEXT_MAX]);

/*
 * --help-config. A line for each key, "SECTION KEY" without indentation (of the
 * top "- KEY"), and below it, indented: what a value is, the default, the help.
 */
void keys_print(FILE *out);

#endif
