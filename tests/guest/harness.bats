#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Copyright the vhost-shmemd authors
#
# The harness itself, with QEMU's own virtio-pmem device and no daemon: when
# this fails, look here first and not at the daemon.

setup() {
	load helpers.bash
	guest_setup
}

teardown() {
	guest_teardown
}

@test "a guest with QEMU's own virtio-pmem device boots, runs commands, reboots and ends" {
	printf 'hello' >"$BATS_TEST_TMPDIR/pmem"
	truncate -s 16M "$BATS_TEST_TMPDIR/pmem"
	vm start a --qemu-pmem "$BATS_TEST_TMPDIR/pmem"
	vm wait-boot a
	pmem_appears a

	run -0 guest_get a 0
	assert_output 'hello'
	run -3 vm run a 'echo out; echo err >&2; printf "no newline"; exit 3'
	assert_output "$(printf 'out\nerr\nno newline')"
	run -124 --separate-stderr vm run --timeout 1 a 'sleep 1000'
	# shellcheck disable=SC2154 # set by run
	[[ $stderr == *'not within 1 seconds'* ]]
	run -0 vm run a 'echo the channel is free'
	assert_output 'the channel is free'
	run -1 --separate-stderr vm qmp a '{"execute": "no-such-command"}'
	run -0 vm qmp a '{"execute": "query-status"}'
	assert_output --partial '"running": true'
	run -0 vm reboot a
	run -0 vm boots a
	assert_output 2
	end_guest a
}
