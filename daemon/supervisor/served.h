/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What is served: the regions and devices that the builder has made, as the
 * supervisor knows them. Supervisor only.
 *
 * What belongs to a new configuration is staged until it is complete, and then
 * replaces what was there. A connection holds what it began with: a device or
 * region that is gone from the configuration is retired, and ends with the
 * last connection that has it.
 */
#ifndef SERVED_H
#define SERVED_H

#include "daemon/common/priv.h"

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

struct region {
	struct region *next;
	struct priv_have_region info;
	int fd;	     /* owned: what front-ends get */
	int read_fd; /* owned: the same for reading only */
	int flusher; /* owned: the channel of its flusher, or -1 */
	struct event flusher_ready;
	unsigned connections; /* that hold it */
	bool kept;	      /* of the staged configuration, too, */
	uint32_t next_release, next_max_connections; /* and so there */
	bool retired;				     /* of none any more */
	bool erasing;	   /* must not be given to anybody now, */
	bool erase_due;	   /* for the builder had no room for the order; */
	bool unerased;	   /* or ever: that has failed */
	bool resized;	   /* its file has another size than it had */
	bool kept_outside; /* the service manager has its memory, too */
	int failed;	   /* a negative errno: its disk has lost something */
};

struct served_shm {
	uint32_t shmid;
	uint32_t access; /* enum memory_access */
	struct region *region;
};

struct device {
	struct device *next;
	struct priv_have_device info;
	unsigned nshm;		/* of info.nshm, that have come */
	struct served_shm *shm; /* owned */
	int door;		/* owned: listening; -1: none, or not now */
	bool connected;		/* door is a front-end's connection */
	struct event door_ready;
	unsigned holders; /* connections; the table itself is none */
	bool retired;
	/* Since start, for the operator. */
	unsigned long long served, refused;
	/* Refusals make one line a second. */
	uint64_t refused_second;
	unsigned refused_untold;
};

/* What the supervisor does when that changes. */
struct served_ops {
	void (*opened)(void *ctx, struct device *device);
	/* Before its door is closed or goes to another struct. */
	void (*closing)(void *ctx, struct device *device);
	void (*added)(void *ctx, struct region *region);
	/* Before it is freed. False: not now; served_sweep() asks again. */
	bool (*removing)(void *ctx, struct region *region);
	/* Takes door; -1: there is none any more. */
	void (*control)(void *ctx, int door, gid_t gid);
};

struct served {
	const struct served_ops *ops;
	void *ctx;
	struct region *regions, *staged_regions;
	struct device *devices, *staged_devices;
	bool control_new; /* staged: */
	int control;	  /* owned; -1: none */
	gid_t control_gid;
	unsigned generation; /* of the configuration, from 1 */
};

void served_init(
    struct served *served, const struct served_ops *ops, void *ctx);

/*
 * Take HAVE_REGION, HAVE_DEVICE, HAVE_SHM or DOOR of the configuration that
 * is being built. Takes what is in fds and leaves -1 there. Returns 0 or a
 * negative errno: -EPROTO if the message fits to nothing.
 */
int served_stage(struct served *served, const struct priv_msg *msg,
    int fds[static PRIV_REGIONS_MAX]) __attribute__((warn_unused_result));

/* All has been staged: it is served from now on. */
void served_commit(struct served *served);
/* It is thrown away. */
void served_drop(struct served *served);

struct region *served_region(const struct served *served, uint32_t id);
struct region *served_region_by_name(
    const struct served *served, const char *name);
struct device *served_device(const struct served *served, uint32_t id);

/* Whether a region is that of an earlier shmid of the device, too: it is held
 * and counted once. */
bool served_is_repeated(const struct device *device, unsigned i);

/* A connection begins to hold the device, and all its regions; it ends. What
 * is not needed any more is freed. */
void served_hold(struct device *device);
void served_release(struct served *served, struct device *device);

/* Free what was retired, and what nobody has. */
void served_sweep(struct served *served);

/* Close a device's door, for now or for ever. */
void served_close_door(struct served *served, struct device *device);

/* Free everything. */
void served_free(struct served *served);

#endif
