#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Copyright the vhost-shmemd authors
#
# Memory as a boundary, with real guests: QEMU writes to all that it maps, so of
# a read-only region each gets a copy of its own.

setup() {
	load helpers.bash
	guest_setup
}

teardown() {
	guest_teardown
}

# bats test_tags=works:qemu:copy,works:qemu:reset
@test "guests write to their copies of a read-only region, and each sees the image and its own" {
	local image=$BATS_TEST_TMPDIR/image sum
	local first='line 000000000001 of what the host put into the region'
	make_image "$image"
	start_daemon --region \
	    "shmid=0,size=64M,image=$image,name=r,access=read-only,read-only-fallback=copy"
	sum=$(region_read r 0 $((64 << 20)) | sha256sum)

	boot a
	run -0 vm run a 'sha256sum </dev/pmem0'
	assert_output "$sum"
	guest_put a 0 'of guest a'
	guest_put a $((32 << 20)) 'of guest a, behind the image'
	vm run a 'fsync /dev/pmem0'

	# At the same time.
	boot b
	run -0 vm run b 'sha256sum </dev/pmem0'
	assert_output "$sum"
	guest_put b 0 'of guest b'
	vm run b 'fsync /dev/pmem0'
	run -0 guest_get a 0
	assert_output 'of guest a'

	# A guest keeps its copy for as long as its machine is there.
	vm reboot a
	pmem_appears a
	run -0 guest_get a 0
	assert_output 'of guest a'
	run -0 guest_get a $((32 << 20))
	assert_output 'of guest a, behind the image'
	end_guest a
	end_guest b

	# Afterwards.
	boot c
	run -0 vm run c 'sha256sum </dev/pmem0'
	assert_output "$sum"
	run -0 vm run c 'head -n 1 /dev/pmem0'
	assert_output "$first"
	end_guest c
	assert_equal "$(region_read r 0 $((64 << 20)) | sha256sum)" "$sum"
}

# bats test_tags=works:qemu:copy
@test "an ext4 that is read-only can be mounted for writing in each guest's copy" {
	local image=$BATS_TEST_TMPDIR/image
	mkdir "$BATS_TEST_TMPDIR/rootfs"
	echo original >"$BATS_TEST_TMPDIR/rootfs/file"
	truncate -s 64M "$image"
	run -0 mkfs.ext4 -q -F -b 4096 -d "$BATS_TEST_TMPDIR/rootfs" "$image"
	start_daemon --region \
	    "shmid=0,image=$image,name=r,access=read-only,read-only-fallback=copy"
	for round in first second; do
		boot "$round"
		run -0 vm run "$round" "mount -t ext4 -o dax /dev/pmem0 /mnt &&
		    cat /mnt/file && echo $round >/mnt/file && sync &&
		    cat /mnt/file && umount /mnt"
		assert_output "$(printf 'original\n%s' "$round")"
		end_guest "$round"
	done
}
