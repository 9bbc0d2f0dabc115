#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# More than one region, more than one device, more than one back-end in a guest;
# and a host that has no time for it.
#
# shellcheck disable=SC2016 # in single quotes: for the guest to expand
# shellcheck disable=SC2154 # output, daemon_socket: set elsewhere

setup() {
	load helpers.bash
	guest_setup vhost-device-vsock virtiofsd
}

teardown() {
	guest_teardown
}

# The PCI device that the guest takes for a source of entropy (virtio id 4): its
# driver needs one queue and no configuration, so that it starts a raw device.
raw_device() {
	vm run "$1" 'dirname "$(grep -lx 0x1044 /sys/bus/pci/devices/*/device)"'
}

# raw_works_both_ways NAME DEVICE TEXT: each region holds at its begin what the
# host puts there and at its last page what the guest does, and nothing of the
# others. Names and sizes are those of the test.
raw_works_both_ways() {
	local name=$1 device=$2 id size
	for id in 0 3 7; do
		printf 'host: %s in %d\0' "$3" "$id" | region_write "r$id" 0
	done
	for id in 0 3 7; do
		size=$((id == 0 ? 2 << 20 : 1 << 20))
		run -0 vm run "$name" "shm-bar $device get $id 0"
		assert_output "host: $3 in $id"
		run -0 vm run "$name" "shm-bar $device put $id $((size - 4096)) \
		    'guest: $3 in $id'"
	done
	for id in 0 3 7; do
		size=$((id == 0 ? 2 << 20 : 1 << 20))
		run -0 --separate-stderr eval \
		    "region_read r$id $((size - 4096)) 4096 | tr -d '\\0'"
		assert_output "guest: $3 in $id"
		run -0 --separate-stderr eval \
		    "region_read r$id 0 4096 | tr -d '\\0'"
		assert_output "host: $3 in $id"
	done
}

# bats test_tags=works:qemu:map,works:qemu:share,works:qemu:several-regions,works:qemu:reset,works:qemu:rebind
@test "a guest's program finds three regions of a raw device in its PCI capabilities, and each holds what host and guest write" {
	local device program
	program=$(guest_program shm-bar)
	start_daemon --device=raw --region shmid=7,size=1M,name=r7 \
	    --region shmid=0,size=2M,name=r0 --region shmid=3,size=1M,name=r3
	vm start a --socket "$daemon_socket" --virtio-id 4 --program "$program"
	vm wait-boot a
	device=$(raw_device a)

	run -0 vm run a "shm-bar $device list | sort"
	assert_output "$(printf '%s\n' '0 4 0x0 0x200000' \
	    '3 4 0x200000 0x100000' '7 4 0x300000 0x100000')"
	# One BAR, which is exactly as large as they are together.
	run -0 vm run a 'set -- $(sed -n 5p '"$device"'/resource) &&
	    echo $(($2 - $1 + 1))'
	assert_output $((4 << 20))

	raw_works_both_ways a "$device" 'at first'
	# The driver has offered a buffer for random bytes, and gets none.
	wait_until log_has 'ring 0: a buffer goes back unused'
	run -0 vm run a 'cat /sys/class/misc/hw_random/rng_available'
	assert_output --partial 'virtio_rng.0'

	run -0 vm run a 'cd /sys/bus/virtio/drivers/virtio_rng &&
	    name=$(basename virtio[0-9]*) && echo "$name" >unbind &&
	    echo "$name" >bind'
	raw_works_both_ways a "$device" 'after a rebind'
	vm reboot a
	raw_works_both_ways a "$device" 'after a reboot'
	end_guest a
}

# bats test_tags=works:qemu:two-devices,works:qemu:map,works:qemu:share,works:qemu:flush,works:qemu:reset
@test "two devices of one guest, of two daemons, hold a region each and flush it, also after a reboot" {
	local first second
	start_daemon
	start_second_daemon --region shmid=0,size=32M,name=r
	host_put 0 'of the first'
	with_second host_put 0 'of the second'
	boot a --socket "$second_socket"
	for round in 1 2; do
		vm run a 'wait-for test -b /dev/pmem1'
		run -0 vm run a 'blockdev --getsize64 /dev/pmem0
		    blockdev --getsize64 /dev/pmem1'
		assert_output "$(printf '%d\n' $((64 << 20)) $((32 << 20)))"
		run -0 guest_get a 0
		assert_output 'of the first'
		PMEM=/dev/pmem1 run -0 guest_get a 0
		assert_output 'of the second'
		works_both_ways a "the first, $round"
		PMEM=/dev/pmem1 with_second works_both_ways a "the second, $round"
		run -0 host_get 20480
		assert_output "guest: the first, $round"

		first=$(log_count FLUSH)
		second=$(with_second log_count FLUSH)
		run -0 vm run a 'fsync /dev/pmem1'
		with_second wait_until log_count_exceeds FLUSH "$second"
		assert_equal "$(log_count FLUSH)" "$first"
		second=$(with_second log_count FLUSH)
		run -0 vm run a 'fsync /dev/pmem0'
		wait_until log_count_exceeds FLUSH "$first"
		assert_equal "$(with_second log_count FLUSH)" "$second"
		[[ $round == 2 ]] || {
			vm reboot a
			pmem_appears a
		}
	done
	end_guest a
}

# holds_our_region PID: QEMU has given the process our region, and it has it
# mapped as a part of the guest's memory.
holds_our_region() {
	grep -q '/memfd:vhost-shmemd:r ' "/proc/$1/maps"
}

# bats test_tags=works:qemu:beside-others,works:qemu:share,works:qemu:flush,works:qemu:reset,works:qemu:rebind
@test "beside a vsock device of another back-end both work, before and after reboots and a rebind" {
	local ask before vsock
	ask=$(guest_program vsock-ask)
	start_daemon
	background vsock "${in_forky[@]}" vhost-device-vsock --guest-cid 3 \
	    --socket /run/test/vsock --uds-path /run/test/host
	vsock=$!
	# What the guest sends to port 9 comes out at this socket.
	background host python3 -c '
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
while True:
    with listener.accept()[0] as conn:
        conn.sendall(b"heard: " + conn.makefile("rb").readline())
' "$BATS_TEST_TMPDIR/host_9"
	wait_until test -S "$BATS_TEST_TMPDIR/vsock"
	wait_until test -S "$BATS_TEST_TMPDIR/host_9"
	boot a --vsock "$BATS_TEST_TMPDIR/vsock" --program "$ask"

	for round in 'at first' 'after a reboot' 'after a rebind' 'after a reset'; do
		case $round in
		*reboot) vm reboot a ;;
		*rebind) run -0 vm run a 'pmem-driver unbind; pmem-driver bind' ;;
		*reset) vm reset a ;;
		esac
		pmem_appears a
		run -0 vm run a "vsock-ask 9 '$round'"
		assert_output "heard: $round"
		works_both_ways a "$round"
		before=$(log_count FLUSH)
		run -0 vm run a 'fsync /dev/pmem0'
		wait_until log_count_exceeds FLUSH "$before"
		wait_until holds_our_region "$vsock"
	done
	end_guest a
}

# No reboot here: virtiofsd offers protocol feature CONFIGURE_MEM_SLOTS, and then
# QEMU 11.1 dies when virtiofs starts again after our mapping has gone with it
# stopped, which is what a reboot is. A rebind of either driver alone is not.
# bats test_tags=works:qemu:beside-others,works:qemu:share,works:qemu:flush,works:qemu:stop-cont,works:qemu:rebind
@test "beside a virtiofs of another back-end both work, also after QMP stop and cont and a rebind" {
	local before fs
	start_daemon
	mkdir "$BATS_TEST_TMPDIR/share"
	echo 'in a file of the host' >"$BATS_TEST_TMPDIR/share/file"
	background virtiofsd "${in_forky[@]}" /usr/libexec/virtiofsd \
	    --sandbox none --shared-dir /run/test/share \
	    --socket-path /run/test/fs
	fs=$!
	wait_until test -S "$BATS_TEST_TMPDIR/fs"
	boot a --fs "$BATS_TEST_TMPDIR/fs"

	run -0 vm run a 'mount -t virtiofs fs /mnt'
	for round in 'at first' 'after cont' 'after a rebind'; do
		case $round in
		*cont) vm qmp a '{"execute": "stop"}' '{"execute": "cont"}' ;;
		*rebind) run -0 vm run a 'pmem-driver unbind; pmem-driver bind' ;;
		esac
		pmem_appears a
		run -0 vm run a 'cat /mnt/file'
		assert_output 'in a file of the host'
		run -0 vm run a "echo 'by the guest $round' >/mnt/new"
		assert_equal "$(<"$BATS_TEST_TMPDIR/share/new")" \
		    "by the guest $round"
		works_both_ways a "$round"
		wait_until holds_our_region "$fs"
		# From our region into the other back-end's file, and back.
		run -0 vm run a 'dd if=/dev/pmem0 of=/mnt/copy bs=4096 skip=4 \
		    count=2 iflag=direct oflag=direct status=none &&
		    dd if=/mnt/copy of=/dev/pmem0 bs=4096 seek=8 \
		    iflag=direct oflag=direct conv=notrunc status=none'
		run -0 host_get 32768
		assert_output "host: $round"
		before=$(log_count FLUSH)
		run -0 vm run a 'fsync /dev/pmem0'
		wait_until log_count_exceeds FLUSH "$before"
	done
	run -0 vm run a 'umount /mnt'
	end_guest a
}

# bats test_tags=works:qemu:share,works:qemu:reset,works:qemu:rebind,works:qemu:flush
@test "on a host whose processors are busy a guest boots, writes, reboots, rebinds ten times and flushes" {
	local before hogs i
	hogs=$(($(nproc) * 2))
	for ((i = 0; i < hogs; i++)); do
		background hog bash -c 'while :; do :; done'
	done
	start_daemon
	boot a
	guest_put a 0 'from before'
	works_both_ways a 'after boot'
	vm reboot a
	pmem_appears a
	works_both_ways a 'after a reboot'
	run -0 vm run a 'for i in $(seq 10); do
	    pmem-driver unbind && pmem-driver bind || exit; done'
	pmem_appears a
	run -0 guest_get a 0
	assert_output 'from before'
	works_both_ways a 'after ten binds'
	before=$(log_count FLUSH)
	run -0 vm run a 'fsync /dev/pmem0'
	wait_until log_count_exceeds FLUSH "$before"
	# One mapping for each start of the driver, and QEMU took each.
	assert_equal "$(log_count 'SHMEM_MAP sent')" 12
	wait_until log_count_exceeds 'SHMEM_MAP done' 11
	for i in "${background_pids[@]}"; do
		kill -0 "$i"
	done
	end_guest a
}

# bats test_tags=works:qemu:two-devices,works:qemu:share
@test "two devices of one guest on one region see each other's writes" {
	start_daemon
	boot a --socket "$daemon_socket"
	vm run a 'wait-for test -b /dev/pmem1'
	for round in 1 2; do
		works_both_ways a "the first, $round"
		PMEM=/dev/pmem1 works_both_ways a "the second, $round"
		run -0 guest_get a 20480
		assert_output "guest: the second, $round"
		[[ $round == 2 ]] || {
			vm reboot a
			vm run a 'wait-for test -b /dev/pmem1'
		}
	done
	end_guest a
}
