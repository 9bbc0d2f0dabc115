/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Requests that end later; the promises are in held.h. */
#include "config.h"

#include "proto/held.h"

#include "proto/session.h"

static uint64_t
now(const struct vus_session *s)
{
	return s->host.now == NULL ? 0 : s->host.now(s->host.ctx);
}

/* There is room again: look at the rings that had none. */
static void
offer_room(struct vus_session *s)
{
	for (unsigned i = 0; i < s->device->type->num_queues; i++) {
		struct vus_ring *ring = &s->ring[i];

		if (ring->wants_room)
			ring->look = true;
		ring->wants_room = false;
	}
}

static void
complete(struct vus_session *s, const struct vus_held *h, uint32_t len)
{
	vus_virtq_push(&s->ring[h->ring].vq, &h->chain, len);
	s->counters.ring[h->ring].requests++;
}

void
vus_held_add(struct vus_session *s, unsigned ring, uint32_t len)
{
	struct vus_held *h = &s->held.item[s->held.n++];

	h->ring = ring;
	h->later = len == VUS_LATER;
	h->len = len;
	h->since = h->later ? now(s) : 0;
	s->ring[ring].held++;
}

void
vus_held_begin(struct vus_session *s)
{
	/* Where any are held, one of them waits for a sync. */
	if (s->held.n == 0 || s->held.syncing)
		return;
	s->held.syncing = true;
	s->held.in_sync = s->held.n;
	s->host.sync(s->host.ctx);
}

/* End a request that has waited for a sync. Returns the bytes written. */
static uint32_t
finish(struct vus_session *s, struct vus_held *h, int rc, uint64_t at)
{
	struct vus_counters *c = &s->counters;
	uint64_t took = at > h->since ? at - h->since : 0;

	c->flushes++;
	c->flushes_failed += rc != 0;
	c->flush_ns += took;
	if (took > c->flush_ns_max)
		c->flush_ns_max = took;
	/* It may have begun to be logged since. */
	h->chain.dirty = s->ring[h->ring].vq.dirty;
	return s->device->type->finish(s, h->ring, &h->chain, rc);
}

static void
keep(struct vus_session *s, const struct vus_held *h)
{
	struct vus_held *to = &s->held.item[s->held.n++];

	if (to != h)
		*to = *h;
	s->ring[h->ring].held++;
}

void
vus_held_end(struct vus_session *s, int rc)
{
	struct vus_held_list *held = &s->held;
	bool used[VUS_RINGS_MAX] = { false };
	unsigned n = held->n;
	uint64_t at;

	if (!held->syncing)
		return;
	held->syncing = false;
	at = n == 0 ? 0 : now(s);
	held->n = 0;
	for (unsigned i = 0; i < s->device->type->num_queues; i++)
		s->ring[i].held = 0;
	for (unsigned i = 0; i < n; i++) {
		struct vus_held *h = &held->item[i];

		if (h->later && i < held->in_sync)
			complete(s, h, finish(s, h, rc, at));
		else if (!h->later && s->ring[h->ring].held == 0)
			complete(s, h, h->len);
		else {
			keep(s, h);
			continue;
		}
		used[h->ring] = true;
	}
	held->in_sync = 0;
	for (unsigned i = 0; i < s->device->type->num_queues; i++)
		if (used[i])
			vus_ring_served(s, i, true);
	offer_room(s);
	vus_held_begin(s);
}

void
vus_held_put_back(struct vus_session *s, unsigned ring)
{
	struct vus_held_list *held = &s->held;
	unsigned n = held->n, in_sync = held->in_sync;

	s->ring[ring].wants_room = false;
	if (s->ring[ring].held == 0)
		return;
	for (unsigned i = n; i-- != 0;)
		if (held->item[i].ring == ring)
			vus_virtq_unpop(
			    &s->ring[ring].vq, &held->item[i].chain);
	held->n = 0;
	for (unsigned i = 0; i < s->device->type->num_queues; i++)
		s->ring[i].held = 0;
	for (unsigned i = 0; i < n; i++) {
		if (held->item[i].ring != ring)
			keep(s, &held->item[i]);
		else if (i < in_sync)
			held->in_sync--;
	}
	offer_room(s);
}
