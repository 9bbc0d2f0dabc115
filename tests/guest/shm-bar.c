/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A guest's program that uses shared memory regions without a driver for them,
 * as one for a raw device does: it finds them in the capabilities of the PCI
 * device (VIRTIO 1.3, 4.1.4.7) and maps them out of the device's memory BAR.
 *
 *   shm-bar PCI-DEVICE list               one line a region: id bar offset
 * length shm-bar PCI-DEVICE get ID OFFSET      print the text at OFFSET of
 * region ID shm-bar PCI-DEVICE put ID OFFSET TEXT store the text and a zero
 * there
 *
 * PCI-DEVICE is a folder of /sys/bus/pci/devices.
 */
#include <endian.h>
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PCI_CAPABILITY_LIST 0x34
#define PCI_CAP_ID_VNDR 0x09
#define VIRTIO_PCI_CAP_SHARED_MEMORY_CFG 8

/* struct virtio_pci_cap64 */
struct cap {
	uint8_t vndr, next, len, type, bar, id, padding[2];
	uint32_t offset, length, offset_hi, length_hi;
};

struct region {
	unsigned bar, id;
	uint64_t offset, length;
};

/* Fill regions with what the capabilities say; return how many there are. */
static unsigned
find_regions(const char *device, struct region *regions, unsigned max)
{
	char path[256];
	uint8_t config[256];
	unsigned n = 0, at, left = sizeof(config) / 4;
	struct cap cap;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/config", device);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, config, sizeof(config)) != sizeof(config))
		err(1, "%s", path);
	(void)close(fd);
	for (at = config[PCI_CAPABILITY_LIST]; at != 0; at = cap.next) {
		if (at > sizeof(config) - sizeof(cap) || left-- == 0)
			errx(1, "%s: a capability at 0x%x", path, at);
		memcpy(&cap, config + at, sizeof(cap));
		if (cap.vndr != PCI_CAP_ID_VNDR ||
		    cap.type != VIRTIO_PCI_CAP_SHARED_MEMORY_CFG)
			continue;
		if (cap.len != sizeof(cap) || n == max)
			errx(1, "%s: a capability of %u bytes", path, cap.len);
		regions[n++] = (struct region){
			.bar = cap.bar,
			.id = cap.id,
			.offset = le32toh(cap.offset) |
				  (uint64_t)le32toh(cap.offset_hi) << 32,
			.length = le32toh(cap.length) |
				  (uint64_t)le32toh(cap.length_hi) << 32,
		};
	}
	return n;
}

static char *
map_region(const char *device, const struct region *region)
{
	char path[256];
	void *memory;
	int fd;

	(void)snprintf(
	    path, sizeof(path), "%s/resource%u", device, region->bar);
	fd = open(path, O_RDWR);
	if (fd < 0)
		err(1, "%s", path);
	memory = mmap(NULL, region->length, PROT_READ | PROT_WRITE, MAP_SHARED,
	    fd, (off_t)region->offset);
	if (memory == MAP_FAILED)
		err(1, "mmap of %s", path);
	return memory;
}

int
main(int argc, char **argv)
{
	struct region regions[8];
	const char *what = argc > 2 ? argv[2] : "";
	uint64_t id, at;
	unsigned n;
	char *memory;

	if (argc != (strcmp(what, "list") == 0	   ? 3
			: strcmp(what, "get") == 0 ? 5
			: strcmp(what, "put") == 0 ? 6
						   : 0))
		errx(2, "usage: see the source");
	n = find_regions(argv[1], regions, 8);
	if (argc == 3) {
		for (unsigned i = 0; i < n; i++)
			printf("%u %u 0x%" PRIx64 " 0x%" PRIx64 "\n",
			    regions[i].id, regions[i].bar, regions[i].offset,
			    regions[i].length);
		return 0;
	}
	id = strtoull(argv[3], NULL, 0);
	at = strtoull(argv[4], NULL, 0);
	for (unsigned i = 0; i < n; i++) {
		if (regions[i].id != id)
			continue;
		memory = map_region(argv[1], &regions[i]);
		if (at >= regions[i].length)
			errx(1, "region %" PRIu64 " ends before", id);
		/* Byte by byte: nothing is between this and the BAR. */
		if (argc == 5)
			for (; at < regions[i].length && memory[at]; at++)
				putchar(memory[at]);
		else
			for (size_t k = 0;
			     k <= strlen(argv[5]) && at < regions[i].length;
			     k++)
				memory[at++] = argv[5][k];
		return 0;
	}
	errx(1, "there is no region %" PRIu64, id);
}
