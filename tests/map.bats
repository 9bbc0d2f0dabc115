#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Invariant number one: SHMEM_MAP goes out when, and only when, the device is
# started, SHMEM is negotiated and there is a back-end channel; once per start
# and region; and nobody waits for its answer.
# shellcheck disable=SC2154 # daemon_pid comes from helpers

load helpers/common

# --- when it is due ------------------------------------------------------------------

@test "SHMEM_MAP is right in every field and in its descriptor" {
    start_daemon --region shmid=0,size=32M,name=whole
    run -0 vuctl negotiate start expect-map shmid=0 size=32M name=whole
}

@test "SHMEM_MAP is sent before SET_VRING_ENABLE(1) is acknowledged" {
    start_daemon
    for _ in {1..10}; do
        run -0 vuctl negotiate start map=before-ack expect-map
    done
}

@test "SHMEM_MAP is sent at SET_VRING_ENABLE(1) also without REPLY_ACK" {
    start_daemon
    run -0 vuctl negotiate without=REPLY_ACK start map=before-ack expect-map flush
}

@test "SHMEM_MAP is sent again at each start" {
    start_daemon
    run -0 vuctl up stop start expect-map mem-table-with-map flush stop start expect-map flush stop
}

@test "SHMEM_MAP is sent again at thirty quick starts" {
    start_daemon
    steps=()
    for _ in {1..30}; do
        steps+=(start expect-map mem-table-with-map stop)
    done
    run -0 vuctl negotiate "${steps[@]}"
}

@test "SHMEM_MAP is sent again to a device that is plugged in again on the same connection" {
    start_daemon
    run -0 vuctl up flush stop unplug up flush stop unplug negotiate expect-no-map
}

@test "SHMEM_MAP is sent after RESET_DEVICE and a new start" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl negotiate start expect-map reset-device expect-no-map start expect-map flush
}

@test "SHMEM_MAP is sent to each of several front-ends" {
    start_daemon
    run -0 vuctl on a negotiate on b negotiate on a start expect-map on b expect-no-map start expect-map \
        on a expect-no-map
}

# --- when it is not due ----------------------------------------------------------------

@test "SHMEM_MAP is not sent before the device is started" {
    start_daemon
    run -0 vuctl negotiate expect-no-map get-shmem-config expect-no-map set-features expect-no-map \
        mem-table expect-no-map set-vring expect-no-map enable map=before-ack expect-map
}

@test "SHMEM_MAP is not sent when the device is stopped" {
    start_daemon
    run -0 vuctl up disable expect-no-map get-vring-base expect-no-map mem-table expect-no-map \
        channel expect-no-map
}

@test "SHMEM_MAP is sent once per start" {
    start_daemon
    run -0 vuctl up expect-no-map flush expect-no-map mem-table expect-no-map
}

@test "SHMEM_MAP is sent once though SET_VRING_ENABLE(1) comes twice" {
    start_daemon
    run -0 vuctl negotiate start expect-map enable map=none enable map=none
}

@test "SHMEM_MAP is sent once though the kick descriptor is replaced" {
    start_daemon
    run -0 vuctl up send id=SET_VRING_KICK flags=9 payload=u64:0 fds=eventfd expect-ack expect-no-map
}

@test "SHMEM_MAP is not sent when the memory table shows that the mapping has survived" {
    start_daemon
    run -0 vuctl up region-write 0 c0ffee flush stop start kept=yes map=none region-read 0 c0ffee flush \
        expect-no-map stop
}

@test "SHMEM_MAP is sent again at the start after one where the mapping had survived" {
    start_daemon
    run -0 vuctl up stop start kept=yes map=none stop start map=before-ack expect-map flush
}

@test "SHMEM_MAP is not sent where SHMEM is not negotiated" {
    start_daemon
    run -0 vuctl negotiate without=SHMEM start map=none flush expect-no-map stop
}

@test "SHMEM_MAP needs a channel, and the ring works without" {
    start_daemon
    run -0 vuctl negotiate without=BACKEND_REQ start flush stop
    run -0 vuctl negotiate channel=no start flush stop
}

@test "SHMEM_MAP is not sent for a ring that is enabled but has no kick descriptor yet" {
    start_daemon
    run -0 vuctl negotiate set-features mem-table enable map=none set-vring expect-map flush
}

# --- the channel comes late -----------------------------------------------------------

@test "SHMEM_MAP is sent when the channel comes after the rings are enabled" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl negotiate order=rust-vmm start map=none expect-map flush stop
}

@test "SHMEM_MAP is sent when the channel comes late in the qemu profile too" {
    start_daemon
    run -0 vuctl negotiate channel=no start map=none channel expect-map flush stop
}

@test "SHMEM_MAP is sent on the new channel that comes with each start" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl negotiate order=rust-vmm start expect-map flush stop channel-close \
        start expect-map flush stop channel-close start expect-map flush
}

@test "SHMEM_MAP is sent on a new channel though one went out on the old one" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl negotiate order=rust-vmm start expect-map stop \
        start map=before-ack expect-map channel expect-map flush
}

@test "the old channel is closed when a new one comes" {
    start_daemon
    run -0 vuctl negotiate channel expect-channel-close which=old start expect-map flush
}

# --- nobody waits for the answer ----------------------------------------------------

@test "a front-end that never answers is served all the same" {
    start_daemon
    run -0 vuctl negotiate start expect-map answer=no mem-table-with-map flush stop \
        start expect-map answer=no flush stop
}

@test "an answer that comes late is taken" {
    start_daemon
    run -0 vuctl negotiate start expect-map answer=no flush mem-table-with-map answer-map 0 flush stop \
        start expect-map flush
}

@test "an answer that comes when the device is stopped again is taken" {
    start_daemon
    run -0 vuctl negotiate start expect-map answer=no stop answer-map 0 expect-no-map start expect-map flush
}

@test "a hundred starts without any answer cost nothing" {
    start_daemon
    steps=()
    for _ in {1..100}; do
        steps+=(start expect-map answer=no stop)
    done
    run -0 vuctl negotiate "${steps[@]}" start expect-map flush
}

@test "a refusal is logged and costs nothing" {
    start_daemon
    run -0 vuctl negotiate start expect-map answer=1 flush stop start expect-map flush
    assert_log 'warn: .*refused'
}

@test "a refusal in rust-vmm's way, a negative errno, is logged and costs nothing" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl negotiate order=rust-vmm start expect-map answer=-22 flush stop
    assert_log 'warn: .*refused'
}

# --- the channel breaks ----------------------------------------------------------------

@test "a front-end may close the channel, and the connection goes on" {
    start_daemon
    run -0 vuctl up channel-close flush stop start map=none flush channel expect-map flush
}

@test "a channel that is closed before the start costs only the mapping" {
    start_daemon
    run -0 vuctl negotiate channel-close start map=none flush stop
}

@test "a channel whose other end was never open costs only the mapping" {
    start_daemon
    run -0 vuctl negotiate channel=no send id=SET_BACKEND_REQ_FD flags=9 fds=closed expect-ack \
        start flush stop
}

# After bytes on the channel that are no answer, the connection works, and a
# new channel brings a new mapping.
channel_survives() {
    start_daemon
    run -0 vuctl negotiate start expect-map answer=no "$@" expect-open flush stop \
        channel start expect-map flush
}

@test "an answer to another request costs only the channel" {
    channel_survives channel-send id=10
}

@test "an answer without the reply flag costs only the channel" {
    channel_survives channel-send flags=1
}

@test "an answer of another version costs only the channel" {
    channel_survives channel-send flags=6
}

@test "an answer that is too short costs only the channel" {
    channel_survives channel-send payload=u32:0
}

@test "an answer that is too long costs only the channel" {
    channel_survives channel-send payload=u64:0,u64:0
}

@test "an answer that says it is 4 GiB long costs only the channel" {
    channel_survives channel-send size=0xffffffff
}

@test "an answer with a descriptor costs only the channel" {
    channel_survives channel-send fds=memfd
}

@test "half an answer costs nothing" {
    channel_survives channel-send size=8 payload=u32:0
}

@test "an answer byte by byte is taken" {
    start_daemon
    run -0 vuctl negotiate start expect-map answer=no channel-send split=bytes flush stop \
        start expect-map flush
    refute_warnings
}

@test "an answer that nobody asked for costs only the channel" {
    channel_survives channel-send channel-send
}

@test "nothing but noise on the channel costs only the channel" {
    channel_survives channel-send id=0xdeadbeef flags=0xffffffff payload=zero:100
}

@test "the descriptors that came with garbage are closed" {
    start_daemon
    require_worker_fd
    run -0 vuctl negotiate start expect-map run "fds_of \$(worker_of 1) >$BATS_TEST_TMPDIR/before" \
        channel-send 'fds=memfd*8' expect-open channel expect-map \
        run "fds_of \$(worker_of 1) >$BATS_TEST_TMPDIR/after"
    run -0 diff "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after"
}
