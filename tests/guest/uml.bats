#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Copyright the vhost-shmemd authors
#
# User Mode Linux, whose virtio_uml is a front-end with in-band notifications:
# it has no descriptors for kicks and calls if the back-end can do without. Its
# kernel has no driver for pmem, so a raw device is taken for a disk (virtio id
# 2) of no size; each time that its serial number is asked for a request goes
# through its ring.
#
# shellcheck disable=SC2154 # daemon_socket and in_forky are set elsewhere

setup() {
	load helpers.bash
	guest_setup user-mode-linux
}

teardown() {
	guest_teardown
}

# make_guest_initramfs: busybox, the driver and uml-init, as guest.cpio.
make_guest_initramfs() {
	local root tree=$BATS_TEST_TMPDIR/tree
	root=$(forky-root)
	mkdir -p "$tree"/{bin,dev,sys}
	cp "$root/usr/bin/busybox" "$tree/bin"
	cp "$root/usr/lib/uml/modules/"*/kernel/drivers/block/virtio_blk.ko "$tree"
	install -m 0755 "$BATS_TEST_DIRNAME/uml-init" "$tree/init"
	(cd "$tree" && find . | "$root/usr/bin/busybox" cpio -o -H newc 2>/dev/null) \
	    >"$BATS_TEST_TMPDIR/guest.cpio"
}

# uml SOCKET: to the guest's end. A kernel of its own hears no SIGTERM, and has
# processes that outlive it, hence the namespace.
uml() {
	timeout -s KILL 300 unshare --pid --fork --kill-child "${in_forky[@]}" \
	    env -i HOME=/run/test linux.uml mem=64M con=null con0=null,fd:1 \
	    initrd=/run/test/guest.cpio "virtio_uml.device=/run/test/$1:2" \
	    </dev/null 2>&1 3>&-
}

# requests NUMBER: how many of these the front-end has sent.
requests() {
	grep -cx "$1" "$BATS_TEST_TMPDIR/requests.log" || :
}

@test "User Mode Linux kicks and is called in-band, and its driver goes and comes" {
	start_daemon --device=raw --front-end=rust-vmm --region=shmid=0,size=2M,name=r
	make_guest_initramfs
	background requests python3 "$BATS_TEST_DIRNAME/without-packed.py" \
	    "$BATS_TEST_TMPDIR/uml" "$daemon_socket"
	wait_until test -S "$BATS_TEST_TMPDIR/uml"

	run -0 uml uml
	assert_line --partial '@@DONE'
	assert_line --partial 'reboot: Power down'
	refute_output --partial '@@FAILED'
	refute_output --partial 'WARNING'

	wait_until log_has 'conn 1: front-end left'
	assert_equal "$(log_count 'ring 0: a buffer goes back unused')" 10
	assert_equal "$(log_count 'device started')" 2
	# VRING_KICK, SET_VRING_KICK, SET_VRING_CALL.
	assert_equal "$(requests 35),$(requests 12),$(requests 13)" 10,0,0
}
