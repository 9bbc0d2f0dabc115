/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A guest's memory and driver; fake_guest.h says what for. */
#include "config.h"

#include "tests/unit/fake_guest.h"

#include "tests/unit/fake_host.h"

#include "proto/fd.h"

#include <endian.h>
#include <string.h>
#include <sys/mman.h>

#define USED_HEADER 4U
#define AVAIL_HEADER 4U

void
guest_init(struct fake_guest *g)
{
	for (unsigned i = 0; i < 2; i++) {
		void *map;

		g->fd[i] = make_memfd(GUEST_REGION);
		map = mmap(NULL, GUEST_REGION, PROT_READ | PROT_WRITE,
		    MAP_SHARED, g->fd[i], 0);
		assert_ptr_not_equal(map, MAP_FAILED);
		g->ram[i] = map;
		g->region[i] = (struct vus_wire_mem_region){
			.guest_addr = GUEST_BASE + i * GUEST_REGION,
			.user_addr = i == 0 ? GUEST_USER : GUEST_USER_2,
			.size = GUEST_REGION,
		};
	}
}

void
guest_free(struct fake_guest *g)
{
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(munmap(g->ram[i], GUEST_REGION), 0);
		fd_closep(&g->fd[i]);
	}
}

unsigned char *
guest_ram(const struct fake_guest *g, uint64_t offset)
{
	assert_true(offset < 2 * GUEST_REGION);
	return g->ram[offset / GUEST_REGION] + offset % GUEST_REGION;
}

static void
put16(struct fake_driver *d, uint64_t offset, uint16_t value)
{
	value = htole16(value);
	memcpy(guest_ram(d->guest, offset), &value, sizeof(value));
}

static uint16_t
get16(const struct fake_driver *d, uint64_t offset)
{
	uint16_t value;

	memcpy(&value, guest_ram(d->guest, offset), sizeof(value));
	return le16toh(value);
}

void
driver_init(
    struct fake_driver *d, struct fake_guest *g, unsigned num, uint16_t start)
{
	*d = (struct fake_driver){
		.guest = g,
		.num = num,
		.desc = 0,
		.avail = 0x80000,
		.used = 0xa0000,
		.avail_idx = start,
		.used_idx = start,
	};
	put16(d, d->avail, 0);
	put16(d, d->avail + 2, start);
	put16(d, d->used, 0);
	put16(d, d->used + 2, start);
}

void
driver_desc_at(struct fake_driver *d, uint64_t table, unsigned i, uint64_t addr,
    uint32_t len, unsigned flags, unsigned next)
{
	uint64_t at = table + i * 16;

	addr = htole64(addr);
	len = htole32(len);
	memcpy(guest_ram(d->guest, at), &addr, sizeof(addr));
	memcpy(guest_ram(d->guest, at + 8), &len, sizeof(len));
	put16(d, at + 12, (uint16_t)flags);
	put16(d, at + 14, (uint16_t)next);
}

void
driver_desc(struct fake_driver *d, unsigned i, uint64_t addr, uint32_t len,
    unsigned flags, unsigned next)
{
	driver_desc_at(d, d->desc, i, addr, len, flags, next);
}

void
driver_offer(struct fake_driver *d, unsigned head)
{
	put16(d, d->avail + AVAIL_HEADER + d->avail_idx % d->num * 2U,
	    (uint16_t)head);
	driver_set_avail(d, (uint16_t)(d->avail_idx + 1));
}

void
driver_set_avail(struct fake_driver *d, uint16_t idx)
{
	d->avail_idx = idx;
	put16(d, d->avail + 2, idx);
}

bool
driver_complete(struct fake_driver *d, uint32_t *id, uint32_t *len)
{
	uint64_t at = d->used + USED_HEADER + d->used_idx % d->num * 8U;

	if (get16(d, d->used + 2) == d->used_idx)
		return false;
	memcpy(id, guest_ram(d->guest, at), sizeof(*id));
	memcpy(len, guest_ram(d->guest, at + 4), sizeof(*len));
	*id = le32toh(*id);
	*len = le32toh(*len);
	d->used_idx++;
	return true;
}

void
driver_set_flags(struct fake_driver *d, uint16_t flags)
{
	put16(d, d->avail, flags);
}

void
driver_set_used_event(struct fake_driver *d, uint16_t idx)
{
	put16(d, d->avail + AVAIL_HEADER + d->num * 2U, idx);
}

uint16_t
driver_avail_event(const struct fake_driver *d)
{
	return get16(d, d->used + USED_HEADER + d->num * 8U);
}
