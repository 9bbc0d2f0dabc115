/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * SHMEM_MAP, and when. Invariant number one of this project:
 *
 *   A SHMEM_MAP goes out when, and only when, the device is started, the
 *   protocol feature SHMEM is negotiated and there is a back-end channel;
 *   once per region, start and channel; and nobody waits for its answer.
 *
 * QEMU 11.1 dies by SIGSEGV of a map or unmap while its device is stopped,
 * and deadlocks if we wait for the answer inside of a request of its own.
 * Started means: SET_VRING_KICK was seen for ring 0 and it is enabled, until
 * it is disabled, GET_VRING_BASE is asked for, or the device is reset. QEMU
 * drops all mappings at a reset and says nothing, and keeps them over QMP stop
 * and cont; so at each start a region is mapped unless the memory table holds
 * its file where our mapping had appeared, which tells that it has survived.
 * The file alone tells nothing: another device of the VM may have mapped it.
 * Where it is not known, a map is sent; QEMU refuses one that is there already
 * and does no harm.
 *
 * A channel that comes while the device is started (Cloud Hypervisor sends it
 * last, and anew) gets all maps: what became of those on the old one is not
 * known.
 *
 * SHMEM_UNMAP is never sent: the front-end unmaps at reset and at the end.
 */
#ifndef MAP_H
#define MAP_H

#include <stdbool.h>
#include <stdint.h>

struct vus_session;

/* The invariant's condition, and the only place that states it. */
bool vus_map_allowed(const struct vus_session *s);

/*
 * The device has started, or a channel has come while it was started: send
 * what is missing. Called before the request that caused it is answered.
 */
void vus_map_start(struct vus_session *s);

/* Go on after the channel had no room, or map_waits. */
void vus_map_continue(struct vus_session *s);

/* Whether the channel has to be watched for writing to go on. */
bool vus_map_wants_write(const struct vus_session *s);

/* The device has stopped: no mapping is taken for granted any more. */
void vus_map_stop(struct vus_session *s);

/* The memory table is about to change, and has changed: a region that was
 * mapped and now appears in it tells where its mapping is. */
void vus_map_table_changes(struct vus_session *s);
void vus_map_table_changed(struct vus_session *s);

/* Another device begins on this connection. */
void vus_map_forget(struct vus_session *s);

/* The front-end's answer to a map of the present start. */
void vus_map_answer(struct vus_session *s, unsigned shmid, uint64_t result);

#endif
