/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Ring 0 in a fake guest's memory; fake_ring.h says what for. */
#include "config.h"

#include "tests/unit/fake_ring.h"

#include <endian.h>
#include <string.h>
#include <unistd.h>

#define AVAIL 0x80U
#define USED 0x8000U

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id;
	uint16_t flags;
};

static struct desc *
entry(const struct fake_packed *p, unsigned i)
{
	return (struct desc *)(void *)guest_ram(
	    p->guest, p->desc + i * sizeof(struct desc));
}

void
packed_init(
    struct fake_packed *p, struct fake_guest *g, unsigned num, uint64_t desc)
{
	*p = (struct fake_packed){
		.guest = g,
		.num = num,
		.desc = desc,
		.driver = desc + 0x8000,
		.device = desc + 0xa000,
		.offer_wrap = true,
		.look_wrap = true,
	};
	memset(guest_ram(g, desc), 0, num * sizeof(struct desc));
	memset(guest_ram(g, p->driver), 0, 4);
	memset(guest_ram(g, p->device), 0, 4);
}

void
packed_put(struct fake_packed *p, uint64_t addr, uint32_t len, unsigned id,
    unsigned flags)
{
	struct desc *d = entry(p, p->offer_at);
	uint16_t all = (uint16_t)(flags | (p->offer_wrap ? AVAIL : USED));

	d->addr = htole64(addr);
	d->len = htole32(len);
	d->id = htole16((uint16_t)id);
	/* The first descriptor is made available after all others. */
	if (p->at_hand++ == 0) {
		p->first = p->offer_at;
		p->first_flags = all;
	} else {
		d->flags = htole16(all);
	}
	if (++p->offer_at == p->num) {
		p->offer_at = 0;
		p->offer_wrap = !p->offer_wrap;
	}
	if (flags & DRIVER_NEXT)
		return;
	assert_true(id < ARRAY_LEN(p->slots));
	p->slots[id] = p->at_hand;
	p->at_hand = 0;
	entry(p, p->first)->flags = htole16(p->first_flags);
}

bool
packed_complete(struct fake_packed *p, uint32_t *id, uint32_t *len)
{
	struct desc *d = entry(p, p->look_at);
	uint16_t flags = le16toh(d->flags);

	if (((flags & AVAIL) != 0) != p->look_wrap ||
	    ((flags & USED) != 0) != p->look_wrap)
		return false;
	*id = le16toh(d->id);
	*len = le32toh(d->len);
	assert_true(*id < ARRAY_LEN(p->slots));
	assert_true(p->slots[*id] != 0);
	p->look_at += p->slots[*id];
	p->slots[*id] = 0;
	if (p->look_at >= p->num) {
		p->look_at -= p->num;
		p->look_wrap = !p->look_wrap;
	}
	return true;
}

void
fake_set_table(struct fake *f, const struct fake_guest *g)
{
	unsigned char payload[8 + 64];
	struct vus_wire_mem_table table = { .nregions = 2 };

	memcpy(payload, &table, sizeof(table));
	memcpy(payload + 8, g->region, sizeof(g->region));
	fake_ok(f, VUS_SET_MEM_TABLE, payload, sizeof(payload), g->fd, 2);
}

void
fake_set_addr(struct fake *f, uint64_t desc, uint64_t avail, uint64_t used,
    uint32_t flags, uint64_t log)
{
	struct vus_wire_vring_addr addr = { .flags = flags,
		.desc = desc,
		.avail = avail,
		.used = used,
		.log = log };

	fake_ok(f, VUS_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
}

void
fake_set_driver(
    struct fake *f, const struct fake_driver *d, uint32_t flags, uint64_t log)
{
	fake_set_addr(f, GUEST_USER + d->desc, GUEST_USER + d->avail,
	    GUEST_USER + d->used, flags, log);
}

static uint64_t
user(uint64_t offset)
{
	return offset < GUEST_REGION ? GUEST_USER + offset
				     : GUEST_USER_2 + offset - GUEST_REGION;
}

void
fake_set_packed(
    struct fake *f, const struct fake_packed *p, uint32_t flags, uint64_t log)
{
	fake_set_addr(
	    f, user(p->desc), user(p->driver), user(p->device), flags, log);
}

int
fake_run_ring(struct fake *f)
{
	int kick = make_eventfd();

	fake_ok_fd(f, VUS_SET_VRING_KICK, 0, kick);
	fake_ok_state(f, VUS_SET_VRING_ENABLE, 0, 1);
	assert_true(vus_virtq_ready(&f->s.ring[0].vq));
	while (f->s.ring[0].look)
		assert_true(lives(vus_session_work(&f->s)));
	return kick;
}

void
fake_kick(struct fake *f, int kick)
{
	uint64_t one = 1;

	assert_int_equal(write(kick, &one, sizeof(one)), sizeof(one));
	assert_true(lives(vus_session_kicked(&f->s, 0)));
	while (f->s.ring[0].look)
		assert_true(lives(vus_session_work(&f->s)));
}
