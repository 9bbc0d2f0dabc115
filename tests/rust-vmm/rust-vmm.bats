#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Copyright the vhost-shmemd authors
#
# Front-ends on rust-vmm's vhost crate: the real crate, in a program of ours
# (src/) that does what virtual machine monitors do, scenario by scenario. What
# a scenario checks is said in src/scenarios.rs; it panics, and front_end fails,
# where the daemon does not do its part. No scenario waits longer than 20 s.
#
# Tags works:rust-vmm:FEATURE say what a test shows; tests/what-works makes the
# manual's table of them.
#
# Making the program, the first time, takes a minute and root: see ./build.
#
# shellcheck disable=SC2154 # log and socket come from helpers

bats_require_minimum_version 1.5.0
top_srcdir=$(cd "${top_srcdir:-$BATS_TEST_DIRNAME/../..}" && pwd)

# Of this one only region_read and region_write are used here; what both have
# is the second one's.
# shellcheck source=/dev/null
source "$top_srcdir/tests/guest/lib.bash"
load ../helpers/common

setup_file() {
    ((EUID == 0)) || return 0
    program=$("$BATS_TEST_DIRNAME/build")
    export program
}

setup() {
    ((EUID == 0)) || skip 'needs root, for the chroot that the crates are built in'
    common_setup
    expected_warnings=
}

# The daemon's log: "filter loaded", and no warning but those that the test has
# named. What common.bash looks for in it comes on top.
teardown() {
    ((EUID == 0)) || return 0
    common_teardown
    [[ -e $log ]] || return 0
    log_has 'filter loaded' || fail 'no worker says that its filter is loaded'
    local warnings
    warnings=$(warnings | grep -vE -- "${expected_warnings:-^$}") || true
    [[ -z $warnings ]] || fail "the daemon warns without need: $warnings"
}

# expect_warning REGEX: this test makes the daemon warn like that.
expect_warning() {
    expected_warnings=${expected_warnings:+$expected_warnings|}$1
}

# start [REGION-SIZE]: a daemon with a region named r.
start() {
    start_daemon --front-end=rust-vmm "--region=shmid=0,size=${1:-4M},name=r"
}

# front_end SCENARIO [ARGUMENT...]: a front-end does all of that.
front_end() {
    run -0 "$program" "$1" "$socket" "${@:2}"
}

# assert_log_count REGEX N: the log comes to have just N such lines. The front-end
# counts for itself; this is what the daemon says of it. Where the machine is
# busy, a worker's log has room for some ninety lines and loses the rest, so
# only scenarios that make it say less than that can be counted.
assert_log_count() {
    wait_until log_count_is "$@" ||
        fail "the log has $(grep -cE -- "$1" "$log") lines like this, not $2: $1"
}

log_count_is() {
    [[ $(grep -cE -- "$1" "$log") = "$2" ]]
}

# --- negotiation ------------------------------------------------------------------

@test "a front-end that negotiates as Cloud Hypervisor does works" {
    start
    front_end negotiate cloud-hypervisor
}

@test "with NEED_REPLY from the first message on, as in the crate's tests, a front-end works" {
    start
    front_end negotiate crate-tests
}

@test "a front-end without REPLY_ACK is never acknowledged anything and works" {
    start
    front_end negotiate no-reply-ack
    assert_log_count 'SHMEM_MAP sent' 1
    assert_log_count 'SHMEM_MAP done' 0
}

# bats test_tags=works:rust-vmm:config
@test "GET_CONFIG answers every range in full and SET_CONFIG changes nothing" {
    start
    front_end config $((4 << 20))
}

# bats test_tags=works:rust-vmm:shmem-config
@test "GET_SHMEM_CONFIG answers all 256 sizes and the same bytes each time" {
    start
    front_end shmem-config $((4 << 20))
}

@test "GET_SHMEM_CONFIG of a region whose size is not a power of two has that size" {
    start 6M
    front_end shmem-config $((6 << 20))
}

@test "a front-end that does not know SHMEM gets no SHMEM_MAP and is served" {
    start
    front_end without-shmem
    assert_log_count 'SHMEM_MAP' 0
}

# --- the memory -------------------------------------------------------------------

# bats test_tags=works:rust-vmm:map
@test "the front-end sees what the host writes and the host what the front-end writes" {
    local answer
    start
    printf 'from the host' | region_write r 8192

    coproc front_end { exec "$program" shell "$socket" 3>&-; }
    ask() {
        [[ -z ${1:-} ]] || printf '%s\n' "$1" >&"${front_end[1]}"
        read -r -t 10 answer <&"${front_end[0]}"
    }
    ask
    assert_equal "$answer" ready
    ask 'get 8192 13'
    assert_equal "$answer" 'from the host'
    ask 'put 0 from the front-end'
    assert_equal "$(region_read r 0 18)" 'from the front-end'
    # While it is mapped, too, and at the very end.
    printf 'and again' | region_write r $(((4 << 20) - 9))
    ask "get $(((4 << 20) - 9)) 9"
    assert_equal "$answer" 'and again'
    ask flush
    assert_equal "$answer" 'done'

    # The end of its input is its own end.
    local pid=$front_end_PID to=${front_end[1]}
    exec {to}>&-
    wait "$pid"
    assert_equal "$(region_read r 0 18)" 'from the front-end'
}

# bats test_tags=works:rust-vmm:read-only
@test "a read-only region is mapped for reading, and cannot be mapped for writing" {
    local image=$BATS_TEST_TMPDIR/image
    head -c 4M /dev/urandom >"$image"
    expect_warning 'SHMEM_MAP of shmid 0 refused .*\(-13\)'
    start_daemon --front-end=rust-vmm --region "shmid=0,image=$image,access=read-only,name=r"
    front_end read-only "$image"
    assert_log_count 'SHMEM_MAP of shmid 0 refused .*\(-13\)' 2
    assert_log_count 'SHMEM_MAP done' 2
    assert_equal "$(region_read r 0 $((4 << 20)) | sha256sum)" "$(sha256sum <"$image")"
}

# bats test_tags=works:rust-vmm:share
@test "two front-ends share the memory, and one's end is nothing to the other" {
    start
    front_end share
}

# bats test_tags=works:rust-vmm:reconnect
@test "what a front-end wrote is there for the next one, five connections long" {
    start
    front_end reconnect
    assert_equal "$(region_read r 12345 1)" $'\5'
    assert_log 'conn 5: front-end left'
}

@test "a front-end may leave before it has served or answered a SHMEM_MAP" {
    start
    front_end leave-early
}

# --- guest memory -----------------------------------------------------------------

@test "a memory table with one region is taken" {
    start
    front_end mem-table 1
}

@test "a memory table with 32 regions is taken, the ring being in the last one" {
    start
    front_end mem-table 32
}

@test "memory tables grow and shrink while the ring is served" {
    start
    front_end mem-table-grows
}

# bats test_tags=works:rust-vmm:mem-slots
@test "509 memory slots are taken and one more is refused, while the ring is served" {
    expect_warning 'ADD_MEM_REG refused: no memory slot is left'
    expect_warning 'REM_MEM_REG refused: no such region'
    start
    front_end mem-slots 509
    assert_log_count 'ADD_MEM_REG refused' 3
    assert_log_count 'REM_MEM_REG refused' 1
}

@test "a region that comes back as a memory slot is not mapped again until it is removed" {
    start
    front_end own-region-slot
    assert_log_count 'SHMEM_MAP sent' 2
}

# --- rings and resets ---------------------------------------------------------------

# bats test_tags=works:rust-vmm:flush,works:rust-vmm:split,works:rust-vmm:indirect
@test "FLUSH is answered, alone and in batches, direct and indirect, round the ring" {
    start
    front_end flush
    assert_log 'ring 0: FLUSH'
}

# bats test_tags=works:rust-vmm:reset,works:rust-vmm:late-channel
@test "each activation on one connection maps once, the channel arriving last" {
    start
    front_end activate-again cloud-hypervisor
    # Four with a new channel each, one with another, three with the same.
    assert_log_count 'SHMEM_MAP sent' 8
}

@test "each activation maps once for a front-end without REPLY_ACK, too" {
    start
    front_end activate-again no-reply-ack
    assert_log_count 'SHMEM_MAP sent' 8
}

@test "with the channel first, SHMEM_MAP is sent before SET_VRING_ENABLE is answered" {
    start
    front_end early-channel
    assert_log_count 'SHMEM_MAP sent' 3
}

# bats test_tags=works:rust-vmm:pause-resume
@test "pause and resume map again and keep the content" {
    start
    front_end pause-resume
    assert_log_count 'SHMEM_MAP sent' 4
}

@test "a new channel while the device runs gets a SHMEM_MAP, and none is needed to run on" {
    start
    front_end new-channel
    assert_log_count 'SHMEM_MAP sent' 3
}

# bats test_tags=works:rust-vmm:reset
@test "after RESET_DEVICE the device is activated again with its content" {
    start
    front_end reset-device
    assert_log_count 'SHMEM_MAP sent' 4
}

# --- front-ends that answer late, wrong or not at all ---------------------------------

# bats test_tags=works:rust-vmm:single-thread
@test "a front-end with one thread can leave its channel unserved for as long as it likes" {
    start
    front_end single-threaded
    assert_log_count 'SHMEM_MAP sent' 4
    # The answers to the three of before are about nothing any more.
    assert_log_count 'SHMEM_MAP done' 1
}

@test "a handler that refuses with an error is logged and served on" {
    expect_warning 'SHMEM_MAP of shmid 0 refused by the front-end \(-5\)'
    start
    front_end refuse 5
    assert_log_count 'refused by the front-end \(-5\)' 2
}

@test "the crate's default handler, which answers -ENOSYS, is logged and served on" {
    expect_warning 'SHMEM_MAP of shmid 0 refused by the front-end \(-38\)'
    start
    front_end default-handler
    assert_log_count 'refused by the front-end \(-38\)' 2
}

@test "a front-end that never answers a SHMEM_MAP is served through 600 starts" {
    start
    front_end never-answer 600
    assert_log_count 'SHMEM_MAP done' 0
}

# --- migration, and another worker ------------------------------------------------------

# bats test_tags=works:rust-vmm:dirty-log
@test "with LOG_ALL just the pages of the answers and of the used ring are dirty" {
    start
    front_end dirty-log
}

# bats test_tags=works:rust-vmm:inflight
@test "requests are tracked in the inflight buffer, and none is in flight after GET_VRING_BASE" {
    start
    front_end inflight
}

# kill_worker_of SCENARIO: it says when it is ready, and waits for a line.
kill_worker_of() {
    local answer
    expect_warning 'worker [0-9]+ killed by SIGKILL'
    start
    coproc front_end { exec "$program" "$1" "$socket" 3>&-; }
    local pid=$front_end_PID to=${front_end[1]}
    read -r -t 10 answer <&"${front_end[0]}"
    assert_equal "$answer" ready
    kill -KILL "$(worker_of 1)"
    echo killed >&"$to"
    wait "$pid"
}

# bats test_tags=works:rust-vmm:inflight
@test "what was in flight when the worker died is done once by the next one" {
    kill_worker_of inflight-killed
}

# bats test_tags=works:rust-vmm:inflight,works:rust-vmm:packed
@test "what was in flight in a packed ring when the worker died is done once by the next one" {
    kill_worker_of packed-inflight-killed
}

# bats test_tags=works:rust-vmm:device-state
@test "a device's state is saved, and loaded into another one, which then has just its content" {
    local state=$BATS_TEST_TMPDIR/state sum file
    start 64M
    printf 'at the start' | region_write r 0
    seq 1 20000 | region_write r 4094
    printf 'far away' | region_write r $((48 << 20))
    printf 'the end' | region_write r $(((64 << 20) - 7))
    sum=$(region_read r 0 $((64 << 20)) | sha256sum)
    front_end state-save "$state"
    assert_log_count 'device state saved' 2
    assert_equal "$(region_read r 0 $((64 << 20)) | sha256sum)" "$sum"
    # Pages that nobody has written are not in it.
    (($(stat -c %s "$state") < 1 << 20))
    stop_daemon

    start 64M
    file=$(region_file r)
    # All of this has to go: around and in the same pages, and elsewhere.
    printf 'other content, and longer' | region_write r 0
    head -c 300000 /dev/urandom | region_write r 100000
    printf 'other' | region_write r $((33 << 20))
    front_end state-load "$state" loaded
    assert_log 'device state loaded'
    assert_equal "$(region_read r 0 $((64 << 20)) | sha256sum)" "$sum"
    # Nor do such pages take up memory now.
    (($(stat -L -c %b "$file") * 512 < 1 << 20))
    expect_warning 'SET_DEVICE_STATE_FD refused: the device is not stopped'
}

@test "a state that is cut off, too long, or of a region of another size is refused" {
    local state=$BATS_TEST_TMPDIR/state
    start
    printf 'something' | region_write r 0
    expect_warning 'SET_DEVICE_STATE_FD refused: the device is not stopped'
    front_end state-save "$state"

    head -c -1 "$state" >"$state.short"
    head -c -4096 "$state" >"$state.shorter"
    cat "$state" <(echo more) >"$state.long"
    : >"$state.empty"
    expect_warning 'device state not loaded: (it ends too early|more than it should be)'
    front_end state-load "$state.short" refused
    front_end state-load "$state.shorter" refused
    front_end state-load "$state.empty" refused
    front_end state-load "$state.long" refused
    assert_log_count 'device state not loaded' 4
    front_end state-load "$state" loaded
    stop_daemon

    start 8M
    expect_warning 'device state not loaded: it is of another device, or of regions of other sizes'
    printf 'kept' | region_write r 0
    front_end state-load "$state" refused
    assert_equal "$(region_read r 0 4)" kept
}

@test "INBAND_NOTIFICATIONS without a channel and acknowledgements end the connection" {
    expect_warning 'SET_PROTOCOL_FEATURES: INBAND_NOTIFICATIONS without BACKEND_REQ and REPLY_ACK'
    start
    front_end inband
    assert_log_count 'INBAND_NOTIFICATIONS without' 2
}
