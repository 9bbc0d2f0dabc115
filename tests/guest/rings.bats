#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# The ring formats and features that a real driver picks: each is really in
# use, the guest says so, and FLUSH works with it, also after a rebind.
#
# shellcheck disable=SC2016 # in single quotes: for the guest to expand

setup() {
	load helpers.bash
	guest_setup
}

teardown() {
	guest_teardown
}

# guest_features NAME: the features that the guest's driver took, as a row of
# 0 and 1 from bit 0 on.
guest_features() {
	vm run "$1" 'cat "$(dirname "$(grep -lx 0x001b \
	    /sys/bus/virtio/devices/*/device)")/features"'
}

# flushes_with WITHOUT BIT=VALUE...: a guest of a daemon that does not offer
# WITHOUT has these features, reads, writes and flushes, twice.
flushes_with() {
	local without=$1 want features before
	shift
	start_daemon --region shmid=0,size=64M,name=r ${without:+"--without=$without"}
	boot a
	features=$(guest_features a)
	for want; do
		assert_equal "${features:${want%=*}:1}" "${want#*=}"
	done
	for round in 1 2; do
		before=$(log_count FLUSH)
		works_both_ways a "round $round"
		run -0 vm run a 'for i in 1 2 3 4 5 6 7 8; do
		    fsync /dev/pmem0 & done; wait'
		wait_until log_count_exceeds FLUSH "$before"
		vm run a 'pmem-driver unbind; pmem-driver bind'
		pmem_appears a
	done
	end_guest a
}

# bats test_tags=works:qemu:packed,works:qemu:indirect,works:qemu:event-idx,works:qemu:flush,works:qemu:rebind,works:qemu:share
@test "a packed ring with all features serves a guest" {
	flushes_with '' 34=1 28=1 29=1
}

# bats test_tags=works:qemu:packed,works:qemu:event-idx,works:qemu:flush,works:qemu:rebind,works:qemu:share
@test "a packed ring without indirect descriptors serves a guest" {
	flushes_with indirect 34=1 28=0 29=1
}

# bats test_tags=works:qemu:packed,works:qemu:indirect,works:qemu:flush,works:qemu:rebind,works:qemu:share
@test "a packed ring without event index serves a guest" {
	flushes_with event-idx 34=1 28=1 29=0
}

# bats test_tags=works:qemu:split,works:qemu:indirect,works:qemu:event-idx,works:qemu:flush,works:qemu:rebind,works:qemu:share
@test "a split ring with all features serves a guest" {
	flushes_with packed 34=0 28=1 29=1
}

# bats test_tags=works:qemu:split,works:qemu:flush,works:qemu:rebind,works:qemu:share
@test "a split ring without indirect descriptors and event index serves a guest" {
	flushes_with packed,in-order,indirect,event-idx 34=0 35=0 28=0 29=0
}
