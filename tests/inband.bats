#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# Kicks and calls by message, INBAND_NOTIFICATIONS, as virtio_uml has it: a ring
# without SET_VRING_KICK and SET_VRING_CALL. tests/guest/uml.bats is the real one.

# What helpers/common.bash sets or reads:
# shellcheck disable=SC2154,SC2034

load helpers/common

setup_ring=(negotiate order=rust-vmm set-features without=EVENT_IDX channel mem-table set-vring in-band=yes enable map=none)

@test "VRING_KICK starts a ring: the region is mapped, and what waits is served before its answer" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl "${setup_ring[@]}" submit kick-in-band expect-map expect-used \
        expect-in-band VRING_CALL expect-no-map \
        submit count=5 kick-in-band expect-used expect-in-band VRING_CALL expect-no-map \
        kick-in-band expect-no-map \
        stop expect-no-map
    refute_warnings
}

# bats test_tags=works:rust-vmm-0_16:inband
@test "rust-vmm-0.16: kicks and calls are messages" {
    start_daemon --front-end=rust-vmm-0.16
    run -0 vuctl "${setup_ring[0]}" shmem-bit=21 "${setup_ring[@]:1}" submit kick-in-band expect-map \
        expect-used expect-in-band VRING_CALL submit kick-in-band expect-used expect-in-band VRING_CALL stop
}

@test "a front-end that does not answer a VRING_CALL gets no other one, and one for all afterwards" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl "${setup_ring[@]}" submit kick-in-band expect-map expect-used \
        expect-in-band VRING_CALL answer=no \
        submit kick-in-band expect-used submit kick-in-band expect-used expect-no-map \
        channel-send id=4 expect-in-band VRING_CALL expect-no-map \
        submit kick-in-band expect-used expect-in-band VRING_CALL
}

@test "a VRING_CALL that was not answered does not hold up those on another channel" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl "${setup_ring[@]}" submit kick-in-band expect-map expect-used \
        expect-in-band VRING_CALL answer=no submit kick-in-band expect-used \
        channel expect-map expect-in-band VRING_CALL expect-no-map \
        stop channel-close expect-open
}

@test "calls wait for a channel" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl negotiate order=rust-vmm set-features without=EVENT_IDX mem-table set-vring in-band=yes enable map=none \
        submit kick-in-band expect-used channel expect-map expect-in-band VRING_CALL expect-no-map
}

@test "a refused VRING_CALL is logged, and the next one comes" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl "${setup_ring[@]}" submit kick-in-band expect-map expect-used \
        expect-in-band VRING_CALL answer=1 submit kick-in-band expect-used expect-in-band VRING_CALL
    assert_log 'ring 0: VRING_CALL was refused'
}

@test "a broken ring is told by VRING_ERR" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl "${setup_ring[@]}" available-ahead 1000 expect-map \
        expect-in-band VRING_ERR kick-in-band expect-no-map expect-open
    assert_log 'ring 0 stopped until the driver starts it again'
}

@test "descriptors can be used beside: a kick by either, a call where a descriptor is" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl negotiate order=rust-vmm start without=EVENT_IDX expect-map flush \
        submit kick-in-band expect-used expect-call expect-no-map flush stop
}

@test "VRING_KICK of a ring that is not there ends the connection, and one with a number is refused" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl negotiate order=rust-vmm \
        send id=VRING_KICK flags=9 payload=u32:0,u32:1 expect-nack expect-open \
        send id=VRING_KICK payload=u32:1,u32:0 expect-close
}
