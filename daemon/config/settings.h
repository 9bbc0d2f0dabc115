/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What is to be served, as the operator says it: in files (conf.h) or, one
 * device, on the command line (options.h). Plain values, checked as a whole by
 * settings_check() before anything is made. Privileged side only: a worker
 * gets numbers (priv.h).
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include "daemon/common/activation.h"
#include "daemon/common/device_kind.h"
#include "daemon/common/log.h"
#include "daemon/common/memory.h"
#include "daemon/common/profile.h"
#include "daemon/config/keys.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Names of regions and devices: letters, digits, '-', '_' and '.'. With NUL. */
#define SETTINGS_NAME_MAX 64U
#define SETTINGS_REGIONS_MAX 4096U
#define SETTINGS_DEVICES_MAX 1024U
/* Entries of an allow list. */
#define SETTINGS_ALLOW_MAX 32U
#define SETTINGS_CONFIG_MAX 256U /* bytes of a configuration space */
#define SETTINGS_QUEUES_MAX 8U
#define SETTINGS_SHA256 32U /* bytes */

/* Where something was said, for messages. */
struct place {
	const char *file; /* NULL: on the command line */
	unsigned line;	  /* from 1; 0: not at one */
};

/* When FLUSH has reached the storage. */
enum settings_sync {
	SYNC_FDATASYNC, /* a file's: its disk has it */
	SYNC_NONE	/* at once: the memory is the storage */
};

/* What becomes of a region when its last front-end has left. */
enum settings_release {
	RELEASE_KEEP,
	RELEASE_ZERO,	/* zeros, in memory that stays ours */
	RELEASE_DISCARD /* zeros, and the memory goes back to the host */
};

struct region_settings {
	struct place place;
	/* Of each key, in the section's file; 0: it was not given. What came
	 * on the command line has line 1. */
	unsigned lines[REGION_KEYS];
	char name[SETTINGS_NAME_MAX]; /* unique, not empty */
	uint64_t size; /* bytes; before the check 0: the image's, the file's */
	const char *image; /* a copy of this is what it begins with; or NULL */
	const char *file;  /* this file is the region; or NULL. Not both */
	bool has_sha256;   /* of the image, */
	unsigned char sha256[SETTINGS_SHA256];
	bool create;		 /* the file, or make it longer */
	enum settings_sync sync; /* of a file */
	uint64_t hugepages; /* bytes of a page, 2M or 1G; 0: ordinary ones */
	int numa_node;	    /* memory of this node alone; -1: of any */
	bool prealloc;	    /* all of it is there from the start */
	bool lock;	    /* never swapped out */
	enum memory_access access; /* READ_WRITE or READ_ONLY, for everybody */
	enum settings_release release;
	unsigned max_connections; /* 0: no limit */
};

/* A region as one device has it. */
struct shm_settings {
	struct place place;
	unsigned lines[SHM_KEYS];
	unsigned shmid;	  /* 0 to 255, unique in the device */
	const char *name; /* of the region */
	unsigned region;  /* its index, set by the check */
	/* Any; of a READ_ONLY region not READ_WRITE. After the check it is what
	 * front-ends get: the region's if nothing was said here, and COPY where
	 * the profile needs the fallback. */
	enum memory_access access;
	bool fallback_copy; /* COPY, where the front-end has no READ_ONLY */
};

struct device_settings {
	struct place place;
	unsigned lines[DEVICE_KEYS];
	char name[SETTINGS_NAME_MAX]; /* unique */
	/* Where its front-ends come from: one of these. */
	const char *socket; /* a socket made at this path, or NULL */
	int fd; /* an inherited one, listening or connected, or -1 */
	/* After the check: fd is the activation's, and stays that; socket is
	 * its path, if it has one. */
	bool handed;
	const char *connect; /* one of a front-end's, or NULL */
	mode_t socket_mode;  /* 0600 */
	uid_t socket_uid;    /* (uid_t)-1: whoever makes it */
	gid_t socket_gid;    /* likewise */
	enum device_id type;
	const struct profile *profile;
	unsigned virtio_id;   /* of a raw device, for the front-end's options */
	unsigned queues;      /* 1 to SETTINGS_QUEUES_MAX */
	unsigned config_size; /* bytes of config, of a raw device */
	unsigned char config[SETTINGS_CONFIG_MAX];
	unsigned nshm;
	struct shm_settings *shm; /* owned */
	/* Front-ends of these users and groups alone, if there is any. */
	unsigned nallow_users, nallow_groups;
	uid_t allow_users[SETTINGS_ALLOW_MAX];
	gid_t allow_groups[SETTINGS_ALLOW_MAX];
	unsigned max_connections; /* at a time; 0: no limit */
	unsigned max_flushes;	  /* a second, of one connection; 0: no limit */
	unsigned message_timeout; /* seconds that half a message may last */
	uint64_t virtio_without;  /* virtio features that are not offered */
};

/*
 * All texts belong to the settings and live as long as they do.
 */
struct settings {
	/* Of each key outside of sections; line 0: it was not given. */
	struct place given[TOP_KEYS];
	const char *config; /* --config, or NULL */
	const char *worker; /* path of the worker program */
	bool once;	    /* one front-end, and then the end */
	/* What a service manager has handed over, which goes before sockets
	 * that are named here; not owned; or NULL. */
	struct activation *activation;
	bool look_only; /* nothing will be served: sockets may be missing */
	bool strict;	/* sandbox = strict */
	enum log_level log_level;
	bool change_ids; /* workers become uid, gid: we are root */
	uid_t uid;
	gid_t gid;
	const char *user;	    /* the name of uid, for the log */
	const char *control_socket; /* path, or NULL: none */
	int control_fd;	   /* after the check: the activation's, or -1 */
	gid_t control_gid; /* may use it besides root and us; -1: none */
	unsigned nregions, ndevices;
	struct region_settings *regions; /* owned */
	struct device_settings *devices; /* owned */
	struct settings_text *texts;	 /* owned */
};

/* Says what is wrong; called once for each mistake. */
typedef void settings_complain(
    void *ctx, const struct place *place, const char *text);

/* Nothing to serve yet, and each key's default. */
void settings_init(struct settings *settings);

/* Those that a new configuration has from the command line as the old one did:
 * --config, --user and the like. Returns false without memory. */
bool settings_init_again(struct settings *settings, const struct settings *old)
    __attribute__((warn_unused_result));

/* A copy of text that lives as long as the settings, or NULL. */
const char *settings_text(struct settings *settings, const char *text)
    __attribute__((warn_unused_result));

/*
 * Add one with each key's default, said at place; a pointer that is good until
 * the next is added. NULL without memory, or if there are too many; what is
 * wrong with the name is in why[KEYS_WHY_MAX], and NULL returned, too.
 */
struct region_settings *settings_add_region(struct settings *settings,
    const struct place *place, const char *name, char *why);
struct device_settings *settings_add_device(struct settings *settings,
    const struct place *place, const char *name, char *why);
struct shm_settings *settings_add_shm(struct device_settings *device,
    const struct place *place, unsigned shmid, char *why);

/*
 * Check what can be without making anything: sizes, images and files, names,
 * profiles, paths, users. Fills in what has been left out (sizes, indices,
 * defaults that depend on others). All mistakes are told. Returns true if there
 * is none.
 */
bool settings_check(struct settings *settings, settings_complain *complain,
    void *ctx) __attribute__((warn_unused_result));

/* Whether the region is still the same memory or file. What is done with it,
 * max-connections and on-release, may be another. */
bool settings_same_region(
    const struct region_settings *a, const struct region_settings *b);

/* Whether a device's door (path, owner, mode) is still the same. */
bool settings_same_door(
    const struct device_settings *a, const struct device_settings *b);

/* Free everything that it owns. */
void settings_free(struct settings *settings);

#endif
