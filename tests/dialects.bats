#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# Front-ends that know SHMEM by another number, or GET_SHMEM_CONFIG by another
# form.

# What helpers/common.bash sets or reads:
# shellcheck disable=SC2154,SC2034

load helpers/common

# The answer to GET_PROTOCOL_FEATURES, as a number.
u64() {
    local value=0 bit
    for bit; do value=$((value | 1 << bit)); done
    printf 'u64:%d' "$value"
}

@test "rust-vmm-0.16 gets SHMEM as bit 21, and not as 22" {
    start_daemon --front-end=rust-vmm-0.16
    run -0 vuctl get-features get-protocol-features offered=0,3,5,9,10,13,15,16,21
}

@test "rust-vmm-0.16: with bit 21 agreed GET_SHMEM_CONFIG has all 256 sizes" {
    start_daemon --front-end=rust-vmm-0.16
    run -0 vuctl get-features send id=16 "payload=$(u64 5 21)" send id=44 expect-reply id=44 size=2056
}

@test "rust-vmm-0.16: bit 22 was not offered and is refused" {
    start_daemon --front-end=rust-vmm-0.16
    run -0 vuctl get-features send id=16 "payload=$(u64 5 22)" expect-close
    assert_log 'SET_PROTOCOL_FEATURES: protocol features 0x400000 were not offered'
}

@test "rfc gets SHMEM as bit 20" {
    start_daemon --front-end=rfc
    run -0 vuctl get-features get-protocol-features offered=0,3,5,9,10,20
}

@test "rfc: the answer ends behind the highest shmid, zeros are counted" {
    start_daemon --front-end=rfc --device=raw --region=shmid=0,size=2M --region=shmid=3,size=1M
    # u32 num_regions = 4, u32 padding, sizes of shmid 0 to 3
    local expected=0400000000000000
    expected+=0000200000000000 expected+=0000000000000000
    expected+=0000000000000000 expected+=0000100000000000
    run -0 vuctl get-features send id=16 "payload=$(u64 5 20)" \
        send id=44 expect-reply id=44 "payload=hex:$expected" \
        send id=44 expect-reply id=44 "payload=hex:$expected"
}

@test "rfc: without bit 20 GET_SHMEM_CONFIG is refused" {
    start_daemon --front-end=rfc
    run -0 vuctl get-features send id=16 "payload=$(u64 5)" send id=44 expect-close
}
