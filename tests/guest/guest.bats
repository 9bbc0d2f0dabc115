#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Copyright the vhost-shmemd authors
#
# The main job: real Linux guests in an unmodified QEMU use a region that
# vhost-shmemd serves. Every guest here ends with end_guest, which asserts that
# QEMU printed nothing and exited with 0, but for the one whose worker is
# killed; guest_teardown (helpers.bash) asserts what must hold of the daemon's
# log after each test.
#
# shellcheck disable=SC2016 # in single quotes: for the guest to expand

setup() {
	load helpers.bash
	guest_setup
}

teardown() {
	guest_teardown
}

# bats test_tags=works:qemu:map
@test "/dev/pmem0 has the region's size and holds the host's image, then zeros" {
	local image=$BATS_TEST_TMPDIR/image sum
	make_image "$image"
	sum=$(sha256sum <"$image")
	start_daemon --region "shmid=0,size=64M,image=$image,name=r"
	boot a

	run -0 vm run a 'blockdev --getsize64 /dev/pmem0'
	assert_output $((64 << 20))
	run -0 vm run a 'head -c $((8 << 20)) /dev/pmem0 | sha256sum'
	assert_output "$sum"
	run -0 vm run a 'tail -c +$(((8 << 20) + 1)) /dev/pmem0 |
	    tr -d "\0" | wc -c'
	assert_output 0
	end_guest a
}

# bats test_tags=works:qemu:map,works:qemu:share
@test "the host sees what a guest writes, and a running guest what the host writes" {
	start_daemon
	boot a
	works_both_ways a 'while the guest runs'
	# Stores through a DAX mapping or not: what was written buffered is there
	# after sync, and the rest of the region is as it was.
	run -0 vm run a 'printf tail | dd of=/dev/pmem0 bs=1 \
	    seek=$(((64 << 20) - 4)) conv=notrunc,fsync status=none'
	run -0 region_read r $(((64 << 20) - 8)) 8
	assert_output 'tail'
	end_guest a
	run -0 host_get 20480
	assert_output 'guest: while the guest runs'
}

# bats test_tags=works:qemu:map,works:qemu:share
@test "an ext4 made on the host mounts with DAX and carries files from guest to guest" {
	start_daemon
	run -0 mkfs.ext4 -q -F -b 4096 "$(region_file r)"

	boot first
	run -0 vm run first 'mount -t ext4 -o dax /dev/pmem0 /mnt &&
	    grep -c "/mnt ext4 .*dax=always" /proc/mounts &&
	    echo "written by the first" >/mnt/file && umount /mnt'
	assert_output 1
	end_guest first
	run -0 e2fsck -f -n "$(region_file r)"

	boot second
	run -0 vm run second 'mount -t ext4 -o dax /dev/pmem0 /mnt &&
	    cat /mnt/file && echo "and by the second" >>/mnt/file &&
	    umount /mnt'
	assert_output 'written by the first'
	end_guest second
	run -0 e2fsck -f -n "$(region_file r)"
	run -0 --separate-stderr debugfs -R 'cat /file' "$(region_file r)"
	assert_output "$(printf 'written by the first\nand by the second')"
}

# bats test_tags=works:qemu:flush,works:qemu:share
@test "fsync in the guest arrives as FLUSH, a plain write does not" {
	local before
	start_daemon
	boot a
	before=$(log_count FLUSH)
	guest_put a 0 'not flushed'
	works_both_ways a 'no flush either'
	assert_equal "$(log_count FLUSH)" "$before"
	run -0 vm run a 'fsync /dev/pmem0'
	wait_until log_count_exceeds FLUSH "$before"
	end_guest a
}

# bats test_tags=works:qemu:reset,works:qemu:share
@test "after the guest reboots itself the region works again with its content" {
	start_daemon
	boot a
	guest_put a 0 'from before'
	for round in 1 2; do
		vm reboot a
		pmem_appears a
		run -0 guest_get a 0
		assert_output 'from before'
		works_both_ways a "after reboot $round"
	done
	end_guest a
}

# bats test_tags=works:qemu:reset,works:qemu:share
@test "after QMP system_reset the region works again with its content" {
	start_daemon
	boot a
	guest_put a 0 'from before'
	for round in 1 2; do
		vm reset a
		pmem_appears a
		run -0 guest_get a 0
		assert_output 'from before'
		works_both_ways a "after reset $round"
	done
	end_guest a quit
}

# bats test_tags=works:qemu:stop-cont,works:qemu:share,works:qemu:flush
@test "after QMP stop and cont the region works on with its content" {
	start_daemon
	boot a
	guest_put a 0 'from before'
	for round in 1 2; do
		vm qmp a '{"execute": "stop"}'
		host_put 4096 "while the guest stands still, $round"
		vm qmp a '{"execute": "cont"}'
		run -0 guest_get a 0
		assert_output 'from before'
		run -0 guest_get a 4096
		assert_output "while the guest stands still, $round"
		works_both_ways a "after cont $round"
		run -0 vm run a 'fsync /dev/pmem0'
	done
	end_guest a quit
}

# bats test_tags=works:qemu:stop-cont,works:qemu:reset,works:qemu:share
@test "a reset while the guest stands still leaves the region working" {
	start_daemon
	boot a
	guest_put a 0 'from before'
	vm qmp a '{"execute": "stop"}' '{"execute": "system_reset"}' \
	    '{"execute": "cont"}'
	vm wait-boot a 2
	pmem_appears a
	run -0 guest_get a 0
	assert_output 'from before'
	works_both_ways a 'after the reset'
	end_guest a
}

# bats test_tags=works:qemu:rebind,works:qemu:share,works:qemu:flush
@test "after the driver is unbound and bound the region works again with its content" {
	start_daemon
	boot a
	guest_put a 0 'from before'
	run -0 vm run a 'pmem-driver unbind'
	run -1 vm run a 'test -b /dev/pmem0'
	# Nothing of it reaches the guest now; it must be there afterwards.
	host_put 4096 'while there was no driver'
	run -0 vm run a 'pmem-driver bind'
	pmem_appears a
	run -0 guest_get a 0
	assert_output 'from before'
	run -0 guest_get a 4096
	assert_output 'while there was no driver'
	works_both_ways a 'after bind'
	run -0 vm run a 'fsync /dev/pmem0'
	end_guest a
}

# bats test_tags=works:qemu:rebind,works:qemu:share
@test "thirty fast unbinds and binds leave the region working and leak no descriptor" {
	local before qemu
	start_daemon
	boot a
	qemu=$(vm pid a)
	guest_put a 0 'from before'
	before=$(count_descriptors "$qemu")
	run -0 vm run a 'for i in $(seq 30); do
	    pmem-driver unbind && pmem-driver bind || exit; done'
	pmem_appears a
	run -0 guest_get a 0
	assert_output 'from before'
	works_both_ways a 'after thirty binds'
	wait_until descriptors_are "$before" "$qemu"
	end_guest a
}

# count_descriptors QEMU: print how many files the worker and QEMU hold.
count_descriptors() {
	local pid total=0
	local -a open
	for pid in "$1" $(worker_pids); do
		open=("/proc/$pid/fd/"*)
		total=$((total + ${#open[@]}))
	done
	printf '%s\n' "$total"
}

descriptors_are() {
	[[ $(count_descriptors "$2") == "$1" ]]
}

# bats test_tags=works:qemu:share
@test "two guests at once on one region see each other's writes" {
	start_daemon
	boot a &
	boot b
	wait $!
	run -0 guest_put a 0 'from a to b'
	run -0 guest_get b 0
	assert_output 'from a to b'
	run -0 guest_put b 4096 'from b to a'
	run -0 guest_get a 4096
	assert_output 'from b to a'
	run -0 host_get 4096
	assert_output 'from b to a'

	end_guest a
	run -0 guest_get b 0
	assert_output 'from a to b'
	works_both_ways b 'after the other one left'
	end_guest b
}

# bats test_tags=works:qemu:unplug,works:qemu:share,works:qemu:flush
@test "the device can be unplugged and plugged in again on the same connection" {
	start_daemon
	boot a --root-port
	guest_put a 0 'from before'
	for round in 1 2; do
		vm qmp a --event DEVICE_DELETED \
		    '{"execute": "device_del", "arguments": {"id": "pmem0"}}'
		run -1 vm run a 'test -b /dev/pmem0'
		vm qmp a '{"execute": "device_add", "arguments": {
		    "driver": "vhost-user-test-device-pci", "id": "pmem0",
		    "bus": "port0", "chardev": "shm0", "virtio-id": 27,
		    "num_vqs": 1, "config_size": 16}}'
		pmem_appears a
		run -0 guest_get a 0
		assert_output 'from before'
		works_both_ways a "after plugging it in, $round"
	done
	run -0 vm run a 'fsync /dev/pmem0'
	end_guest a
}

# bats test_tags=works:qemu:share,works:qemu:flush
@test "when its worker is killed a guest reads and writes on, only fsync hangs, and the next guest is served" {
	start_daemon
	boot a
	guest_put a 0 'from before'
	run -0 serving_workers
	assert_output --regexp '^[0-9]+$'
	expect_warning "worker $output killed by SIGKILL"
	kill -KILL "$output"

	run -0 guest_get a 0
	assert_output 'from before'
	works_both_ways a 'without a worker'
	# What does not go on: nobody answers a FLUSH, so fsync hangs. Three seconds
	# are many times as long as it takes otherwise ...
	run -124 --separate-stderr vm run --timeout 3 a 'fsync /dev/pmem0'
	run -0 vm run a 'echo alive'
	assert_output 'alive'

	boot b
	run -0 guest_get b 0
	assert_output 'from before'
	works_both_ways b 'with a new worker'
	run -0 vm run b 'fsync /dev/pmem0'
	end_guest b

	# ... and so does the guest's own poweroff, which flushes. QMP's quit
	# works, and QEMU complains of the lost connection and of nothing else.
	run -124 --separate-stderr vm poweroff --timeout 3 a
	run -0 vm quit a
	assert_output 0
	run -1 grep -vE 'end-of-file before|Failed to set msg fds|VQ 0 ring restore' \
	    "$VM_STATE_DIR/a/stderr"
	assert_output ''
	forgive_guest a
}
