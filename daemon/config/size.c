/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Sizes of regions; see size.h. */
#include "config.h"

#include "daemon/config/size.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

static const char units[] = "KMGT";

int
size_parse(const char *text, uint64_t *size)
{
	uint64_t value;
	char *end;

	/* strtoull would take a sign and white space. */
	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0)
		return -ERANGE;
	if (*end != '\0') {
		const char *unit = strchr(units, *end);
		unsigned shift;

		if (unit == NULL || end[1] != '\0')
			return -EINVAL;
		shift = 10 * (unsigned)(unit - units + 1);
		if (value > UINT64_MAX >> shift)
			return -ERANGE;
		value <<= shift;
	}
	*size = value;
	return value == 0 ? -EINVAL : 0;
}

const char *
size_text(uint64_t size, char buf[static SIZE_TEXT_MAX])
{
	char unit[2] = "";

	for (const char *u = units; *u != '\0' && size != 0 && size % 1024 == 0;
	     u++) {
		size /= 1024;
		unit[0] = *u;
	}
	(void)snprintf(buf, SIZE_TEXT_MAX, "%" PRIu64 "%s", size, unit);
	return buf;
}

uint64_t
size_align(const struct device_kind *kind)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	return kind->align > page ? kind->align : page;
}

static uint64_t
power_of_two_from(uint64_t value)
{
	uint64_t power = 1;

	while (power < value && power < UINT64_C(1) << 63)
		power <<= 1;
	return power;
}

uint64_t
size_nearest(const struct device_kind *kind, const struct profile *profile,
    uint64_t size)
{
	uint64_t align = size_align(kind);

	if (size > UINT64_MAX - align)
		size = UINT64_MAX - align;
	size = (size + align - 1) / align * align;
	return profile->power_of_two ? power_of_two_from(size) : size;
}

uint64_t
size_largest(const struct device_kind *kind, const struct profile *profile,
    uint64_t size)
{
	uint64_t power = power_of_two_from(size);

	if (!profile->power_of_two)
		return size / size_align(kind) * size_align(kind);
	return power > size ? power / 2 : power;
}

uint64_t
size_of_host(void)
{
	struct sysinfo info;

	if (sysinfo(&info) < 0)
		return UINT64_MAX;
	return ((uint64_t)info.totalram + info.totalswap) * info.mem_unit;
}
