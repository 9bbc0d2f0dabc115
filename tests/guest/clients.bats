#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# Front-ends for another device than ours: the operator reads why it does not
# work, nothing is left of them, and the right front-end that comes next is
# served.
#
# shellcheck disable=SC2154 # output, daemon_pid, daemon_socket: set elsewhere

# The names of DPDK's packages end with its version: an expression, for apt.
dpdk=('^librte-(ethdev|mbuf|net-virtio|mempool-ring)[0-9-]+$')

setup() {
	load helpers.bash
	guest_setup python3-minimal libpython3-stdlib libblkio1 "${dpdk[@]}"
}

teardown() {
	guest_teardown
}

# What a worker, or a descriptor, that was left over would add to. To be asked
# for when the supervisor has its one spare worker.
leftovers() {
	local open=("/proc/$daemon_pid/fd/"*)
	printf '%s workers, %d descriptors\n' \
	    "$(worker_pids | grep -c .)" "${#open[@]}"
}

leftovers_are() {
	[[ $(leftovers) == "$1" ]]
}

# start_and_count ARGUMENT...: start the daemon, and set before.
start_and_count() {
	start_daemon --region shmid=0,size=64M,name=r "$@"
	host_put 0 'from before'
	wait_until log_has 'filter loaded'
	before=$(leftovers)
	assert_regex "$before" '^1 workers'
}

# The wrong front-end has been number 1. What it leaves is nothing, and a guest
# is number 2.
next_is_served() {
	wait_until leftovers_are "$before"
	boot a
	run -0 guest_get a 0
	assert_output 'from before'
	works_both_ways a 'the right front-end'
	run -0 vm run a 'fsync /dev/pmem0'
	assert_equal "$(log_count 'front-end connected')" 2
	end_guest a
	wait_until leftovers_are "$before"
}

# bats test_tags=works:dpdk:refused
@test "a network port of DPDK's virtio-user is refused: it has two rings and ours has one" {
	local before
	start_and_count
	expect_warning \
	    'conn 1: connection closed: SET_VRING_CALL: there is no ring 1: pmem has 1; is the front-end for another device\?$'
	run -0 --separate-stderr "${in_forky[@]}" timeout 120 \
	    python3 - /run/test/socket <"$BATS_TEST_DIRNAME/virtio-user.py"
	assert_output 'link down'
	assert_equal "$(log_count 'conn 1: connection closed')" 1
	next_is_served
}

# bats test_tags=works:libblkio:refused
@test "a disk of libblkio's finds out by itself that this is none" {
	local before
	start_and_count
	expect_warning 'conn 1: SHMEM_REGION was not accepted.*another device than pmem$'
	run -1 --separate-stderr "${in_forky[@]}" timeout 120 \
	    python3 - /run/test/socket <"$BATS_TEST_DIRNAME/virtio-blk.py"
	assert_output \
	    "blkio_connect: Backend doesn't support required protocol features"
	wait_until log_has 'conn 1: front-end left'
	assert_equal "$(log_count 'SHMEM_REGION was not accepted')" 1
	next_is_served
}

# It gets further with what --front-end=rust-vmm offers.
# bats test_tags=works:libblkio:refused
@test "a disk of libblkio's that can start is empty, and refuses what is written and read" {
	local before
	start_and_count --front-end=rust-vmm
	expect_warning 'conn 1: SHMEM_REGION was not accepted.*another device than pmem$'
	expect_warning 'conn 1: ring 0: a request of [0-9]+ bytes, and those of pmem have 4: is the driver one for another device\?$'
	run -0 --separate-stderr "${in_forky[@]}" timeout 120 \
	    python3 - /run/test/socket <"$BATS_TEST_DIRNAME/virtio-blk.py"
	assert_line --index 0 'capacity: 0'
	assert_line --index 1 'write: refused'
	assert_line --index 2 'read: refused'
	wait_until log_has 'conn 1: front-end left'
	assert_equal "$(log_count 'GET_CONFIG of 60 bytes at 0, and pmem has 16')" 1
	run -0 host_get 0
	assert_output 'from before'
	next_is_served
}
