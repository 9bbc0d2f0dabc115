#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# vhost-shmemctl with the programs that it is about: the arguments that it
# prints start a real QEMU, and it asks back-ends of others.
#
# shellcheck disable=SC2154 # output, daemon_socket: set elsewhere

setup() {
	load helpers.bash
	guest_setup vhost-device-vsock virtiofsd
	ctl=$(realpath "${SHMEMCTL:-${top_builddir:-.}/vhost-shmemctl}")
}

teardown() {
	guest_teardown
}

@test "with the line that qemu-args prints a guest boots and has /dev/pmem0, the region of the daemon" {
	start_daemon
	host_put 0 'from the host'
	run -0 --separate-stderr "$ctl" qemu-args --socket=/run/sockets/0 --memory=512M
	vm start a --socket "$daemon_socket" --machine "$output"
	vm wait-boot a
	pmem_appears a
	run -0 guest_get a 0
	assert_output 'from the host'
	works_both_ways a 'by the arguments'
	run -0 vm run a 'blockdev --getsize64 /dev/pmem0; sed -n "s/MemTotal: *//p" /proc/meminfo'
	assert_line --index 0 $((64 << 20))
	assert_line --index 1 --regexp '^4[0-9]{5} kB'
	end_guest a
}

@test "with the line that qemu-args prints for a raw device its driver starts it" {
	start_daemon --device=raw --region shmid=0,size=1M,name=r
	run -0 --separate-stderr "$ctl" qemu-args --socket=/run/sockets/0 \
	    --type=raw --virtio-id=4 --memory=512M
	vm start a --socket "$daemon_socket" --machine "$output"
	vm wait-boot a
	wait_until log_has 'ring 0: a buffer goes back unused'
	end_guest a
}

# listens PATH
listens() {
	grep -q " 00010000 .* $1\$" /proc/net/unix
}

@test "probe says what virtiofsd offers" {
	mkdir "$BATS_TEST_TMPDIR/share"
	background fs "${in_forky[@]}" /usr/libexec/virtiofsd --sandbox=none \
	    --socket-path=/run/test/fs --shared-dir=/run/test/share
	wait_until listens /run/test/fs
	run -0 --separate-stderr "$ctl" probe "$BATS_TEST_TMPDIR/fs"
	assert_output --partial 'VERSION_1 (32)'
	assert_output --partial 'CONFIGURE_MEM_SLOTS (15)'
	assert_line 'queues:               2'
	assert_line --regexp '^memory slots: +[0-9]+$'
	assert_line 'shared memory:        none: SHMEM is not offered'
	refute_output --partial unknown
	wait_until grep -q 'disconnected' "$BATS_TEST_TMPDIR/fs.log"
	run -1 grep -iE 'error|panic' "$BATS_TEST_TMPDIR/fs.log"
}

@test "probe says what vhost-device-vsock offers, and reads the CID in its configuration space" {
	background vsock "${in_forky[@]}" vhost-device-vsock --guest-cid 77 \
	    --socket /run/test/vsock --uds-path /run/test/host
	wait_until listens /run/test/vsock
	run -0 --separate-stderr "$ctl" probe "$BATS_TEST_TMPDIR/vsock"
	assert_line 'queues:               3'
	assert_line 'configuration space:  8 bytes'
	assert_line '  4d 00 00 00 00 00 00 00'
	run -1 grep -iE 'panic' "$BATS_TEST_TMPDIR/vsock.log"
}

@test "doctor finds the QEMU of the tests new enough" {
	cat >"$BATS_TEST_TMPDIR/qemu-system-x86_64" <<-END
		#!/bin/sh
		exec vm qemu -- "\$@"
	END
	chmod +x "$BATS_TEST_TMPDIR/qemu-system-x86_64"
	PATH=$BATS_TEST_TMPDIR:$PATH run "$ctl" doctor
	assert_line --regexp '^ok    QEMU: QEMU emulator version 1[1-9]\.'
}
