/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Messages between our processes: fixed size, typed, over a SOCK_SEQPACKET
 * pair. How many descriptors a message carries is fixed by its type and
 * content; a message of another size, of a type that does not go this way, or
 * with a descriptor too many or too few is malformed. The supervisor ends a
 * worker that sends one.
 *
 *   supervisor -> worker   SETUP; DEVICE, REGIONS (an fd each) until there are
 *                          device.nregions, SYNC (one fd) if flushes have to
 *                          reach a disk, CONNECT (one fd), BEGIN; ASK at any
 *                          time
 *   worker -> supervisor   READY once it is confined, LOG at any time, STATUS
 *                          after ASK
 *   supervisor -> spawner  SPAWN (one fd, the new worker's channel)
 *   spawner -> supervisor  SPAWNED, once at start and after each SPAWN
 *   supervisor -> builder  BUILD, and at any time DIAL, CLOSE, REFUSED,
 *                          ERASE (one fd), FORGET
 *   builder -> supervisor  after BUILD: HAVE_REGION (fds if it is new),
 *                          HAVE_DEVICE, HAVE_SHM and DOOR (an fd unless rc
 *                          is not 0) in any number, then BUILT; DOOR after
 *                          DIAL, ERASED after ERASE; RESIZED at any time
 *   supervisor -> flusher  CLIENT (one fd)
 *   flusher -> supervisor  FAILED once
 *
 * Numbers and names, never a path, something to open or a flag to open with.
 */
#ifndef PRIV_H
#define PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum priv_type {
	PRIV_SETUP = 1,
	PRIV_DEVICE,
	PRIV_REGIONS,
	PRIV_SYNC,
	PRIV_CONNECT,
	PRIV_BEGIN,
	PRIV_ASK,
	PRIV_READY,
	PRIV_LOG,
	PRIV_STATUS,
	PRIV_SPAWN,
	PRIV_SPAWNED,
	PRIV_BUILD,
	PRIV_DIAL,
	PRIV_CLOSE,
	PRIV_REFUSED,
	PRIV_ERASE,
	PRIV_FORGET,
	PRIV_HAVE_REGION,
	PRIV_HAVE_DEVICE,
	PRIV_HAVE_SHM,
	PRIV_DOOR,
	PRIV_BUILT,
	PRIV_ERASED,
	PRIV_RESIZED,
	PRIV_CLIENT,
	PRIV_FAILED,
	PRIV_TYPE_END
};

/* Which way a message goes. */
enum priv_way {
	PRIV_TO_WORKER,
	PRIV_TO_SUPERVISOR,
	PRIV_TO_SPAWNER,
	PRIV_FROM_SPAWNER,
	PRIV_TO_BUILDER,
	PRIV_FROM_BUILDER,
	PRIV_TO_FLUSHER,
	PRIV_FROM_FLUSHER
};

/* Where the worker finds its end of the pair. */
#define PRIV_WORKER_FD 3

/* Changes with each change of a struct below: programs of two builds do not
 * talk to each other. */
#define PRIV_VERSION 7U

#define PRIV_NAME_MAX 64U /* with NUL */
#define PRIV_KEPT_NAME_MAX 96U
#define PRIV_CONFIG_MAX 256U /* bytes */
#define PRIV_ALLOW_MAX 32U
#define PRIV_RINGS_MAX 8U

/* --- worker -------------------------------------------------------------- */

struct priv_setup {
	uint32_t change_ids; /* boolean: become uid and gid */
	uint32_t strict;     /* boolean: end if a layer is missing */
	uint32_t uid, gid;
	uint32_t log_level; /* enum log_level */
	/* Boolean: the device comes before the sandbox, because regions have
	 * to be copied for it. */
	uint32_t copies;
};

struct priv_device {
	uint64_t virtio_without;  /* virtio features that are not offered */
	uint32_t type;		  /* enum device_id */
	uint32_t profile;	  /* index in the table of profiles */
	uint32_t message_timeout; /* seconds that half a message may last */
	uint32_t nregions;
	uint32_t sync;	 /* boolean: SYNC follows */
	uint32_t queues; /* of a raw device: 1 to PRIV_RINGS_MAX */
	uint32_t config_size;
	uint32_t padding;
	unsigned char config[PRIV_CONFIG_MAX];
};

/* Regions in one message, so that those of every device fit into the socket's
 * buffer at once. */
#define PRIV_REGIONS_MAX 32U

struct priv_region {
	uint64_t size; /* bytes */
	uint32_t shmid;
	uint32_t access; /* enum memory_access: what the worker makes of it */
};

struct priv_regions {
	uint32_t n; /* 1 to PRIV_REGIONS_MAX, and as many descriptors */
	uint32_t padding;
	struct priv_region region[PRIV_REGIONS_MAX];
};

struct priv_log {
	uint32_t level;
	char text[256]; /* ends with NUL; escaped by the reader */
};

struct priv_ready {
	uint32_t rules;	  /* seccomp rules that are loaded */
	uint32_t missing; /* of sandbox/layers.h: a bit for each */
};

/*
 * CONNECT has the front-end's connection, and BEGIN says that the worker is
 * the only one who has it: a worker touches it only then. What is queued on it
 * meanwhile, the supervisor's close would otherwise have to wait for, if the
 * worker were quick to end.
 */

/* How a worker's connection is; believed by nobody, shown to the operator. */
struct priv_status {
	uint64_t features, protocol_features; /* negotiated */
	uint64_t flushes, flush_errors;
	uint64_t flush_ns, flush_max_ns; /* all together; the longest */
	uint32_t started;		 /* boolean: the device runs */
	uint32_t negotiated;		 /* boolean: SET_FEATURES was there */
	uint32_t running;		 /* rings: a bit for each */
	uint32_t nrings;
	uint64_t requests[PRIV_RINGS_MAX], calls[PRIV_RINGS_MAX];
	uint64_t mapped[4]; /* shmids: a bit for each */
};

/* --- spawner ------------------------------------------------------------- */

/* SPAWN has the number of the order alone, and SPAWNED repeats it. */
struct priv_spawned {
	uint32_t order; /* from 1; 0: the spawner is there */
	int32_t pid;	/* of the worker; 0; or a negative errno */
	char stage[28]; /* of sandbox_enter_spawner(), where it failed */
};

/* --- builder ------------------------------------------------------------- */

/* Regions and devices have numbers, from 1 on, that are never given again. */

/* HAVE_REGION: with two descriptors (what front-ends get; one for reading
 * only) if the number is new, and with a third, the flusher's channel, if
 * synced. */
struct priv_have_region {
	uint32_t id;
	uint32_t is_new;	  /* boolean */
	uint32_t synced;	  /* boolean: FLUSH has to reach a disk */
	uint32_t access;	  /* enum memory_access */
	uint32_t release;	  /* enum settings_release */
	uint32_t max_connections; /* 0: no limit */
	uint64_t size;		  /* bytes */
	uint64_t page;		  /* bytes of a huge page, or 0 */
	uint32_t is_file;	  /* boolean */
	uint32_t kept; /* boolean: the service manager has this memory */
	char name[PRIV_NAME_MAX];
	char kept_name[PRIV_KEPT_NAME_MAX]; /* memory's; else empty */
};

struct priv_have_device {
	uint32_t id;
	uint32_t nshm;	    /* so many come by HAVE_SHM */
	uint32_t virtio_id; /* for who starts a front-end */
	uint32_t once;	    /* boolean: one front-end, and then the end */
	uint32_t dials;	    /* boolean: we connect to it: DIAL */
	uint32_t max_connections, max_flushes; /* 0: no limit */
	uint32_t nallow_users, nallow_groups;  /* both 0: everybody */
	uint32_t allow_users[PRIV_ALLOW_MAX], allow_groups[PRIV_ALLOW_MAX];
	char name[PRIV_NAME_MAX];
	char socket[108]; /* its path, for who asks; or empty */
	struct priv_device device;
};

#define PRIV_SHM_MAX 64U
struct priv_have_shm {
	uint32_t device;
	uint32_t n;
	struct {
		uint32_t shmid, region; /* the region's number */
		uint32_t access;	/* enum memory_access */
	} shm[PRIV_SHM_MAX];
};

/* DIAL, CLOSE and DOOR. Device 0 is the control socket; CLOSE of device
 * UINT32_MAX closes all. */
#define PRIV_CONTROL 0U
#define PRIV_ALL UINT32_MAX
struct priv_door {
	uint32_t device;
	int32_t rc;	    /* 0 and a descriptor; or a negative errno */
	uint32_t connected; /* boolean: it is a front-end's connection */
	uint32_t gid;	    /* of the control socket: who may use it; or -1 */
};

/* REFUSED: the builder can see which program the front-end is. */
struct priv_refused {
	int32_t pid;
	uint32_t uid;
	uint32_t others; /* that were refused since the last line */
	char device[PRIV_NAME_MAX];
	char why[192];
};

/* ERASE, ERASED, FORGET and RESIZED; and FAILED, without the number. How much
 * to erase, and how, the builder knows. */
struct priv_about_region {
	uint32_t id;
	int32_t rc; /* a negative errno, or 0 */
};

struct priv_built {
	int32_t rc;	/* 0, or why all that came has to be thrown away */
	char text[480]; /* what to tell who asked */
};

/* --- flusher ------------------------------------------------------------- */

struct priv_client {
	uint32_t max_flushes; /* a second; 0: no limit */
};

/* What a worker and a flusher say to each other over the pair that CLIENT was
 * about, by write and read: the worker asks, with a number, at most once at a
 * time, and gets the number back. No priv_msg: the flusher reads eight bytes of
 * a worker and believes none. */
struct priv_flush {
	uint32_t number;
	int32_t rc; /* of the answer: 0 or a negative errno */
};

struct priv_msg {
	uint32_t version;
	uint32_t type;
	union {
		struct priv_setup setup;
		struct priv_device device;
		struct priv_regions regions;
		struct priv_log log;
		struct priv_ready ready;
		struct priv_status status;
		struct priv_spawned spawned;
		struct priv_have_region have_region;
		struct priv_have_device have_device;
		struct priv_have_shm have_shm;
		struct priv_door door;
		struct priv_refused refused;
		struct priv_about_region about_region;
		struct priv_built built;
		struct priv_client client;
	} u;
};

/*
 * Send a message of this type, the rest of *msg filled in, with the
 * descriptors that it has to carry, which stay the caller's; fds may be
 * NULL if there are none. Does not block.
 * Returns 0 or a negative errno: -EAGAIN if there is no room now, -EINVAL for
 * a wrong number of descriptors.
 */
int priv_send(int sock, enum priv_type type, struct priv_msg *msg,
    const int *fds, unsigned nfds) __attribute__((warn_unused_result));

/* The same, but waits for room: between processes that trust each other. */
int priv_send_wait(int sock, enum priv_type type, struct priv_msg *msg,
    const int *fds, unsigned nfds) __attribute__((warn_unused_result));

/*
 * Receive one message that goes this way; waits for it if wait. Returns 1
 * and the message, and the descriptors that belong to it in fds, the caller's
 * now; 0 at end of file; -EAGAIN; -EBADMSG for a malformed message; another
 * negative errno. Entries of fds without a descriptor are -1.
 */
int priv_recv(int sock, enum priv_way way, bool wait, struct priv_msg *msg,
    int fds[static PRIV_REGIONS_MAX]) __attribute__((warn_unused_result));

/* Let a text that comes from elsewhere end, in a field of this size. */
void priv_end_text(char *text, size_t size);

#endif
