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
    run -0 vuctl get-features get-protocol-features offered=0,1,3,5,9,10,12,13,14,15,16,19,20,21
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

# --- what works with them -------------------------------------------------------------
#
# Played by vuctl, on the wire: none of these programs is here. Tags
# works:FRONT-END:FEATURE say what a test shows; tests/what-works makes the
# manual's table of them.

start_read_only() {
    seq 10000 >"$BATS_TEST_TMPDIR/image"
    start_daemon "--front-end=$1" \
        --region "shmid=0,size=2M,image=$BATS_TEST_TMPDIR/image,access=read-only"
}

# bats test_tags=works:rust-vmm-0_16:map,works:rust-vmm-0_16:flush,works:rust-vmm-0_16:split,works:rust-vmm-0_16:indirect,works:rust-vmm-0_16:shmem-config,works:rust-vmm-0_16:config,works:rust-vmm-0_16:late-channel
@test "rust-vmm-0.16: the region is mapped, content and FLUSH work, and the channel may come late" {
    start_daemon --front-end=rust-vmm-0.16
    run -0 vuctl negotiate order=rust-vmm shmem-bit=21 get-shmem-config size=4M get-config \
        start expect-map size=4M name=test region-write 4096 c0ffee \
        flush count=8 flush layout=indirect stop
    assert_log 'ring 0: FLUSH'
}

# bats test_tags=works:rust-vmm-0_16:reset,works:rust-vmm-0_16:reconnect,works:rust-vmm-0_16:share
@test "rust-vmm-0.16: a reset and a new connection find the content, and so does a second front-end" {
    start_daemon --front-end=rust-vmm-0.16
    run -0 vuctl on first negotiate order=rust-vmm shmem-bit=21 start expect-map region-write 0 01 flush stop \
        start expect-map region-read 0 01 flush reset-device start expect-map region-read 0 01 flush \
        on other negotiate order=rust-vmm shmem-bit=21 start expect-map region-read 0 01 region-write 1 02 flush \
        on first region-read 0 0102 hang-up \
        connect negotiate order=rust-vmm shmem-bit=21 start expect-map region-read 0 0102 flush
}

# bats test_tags=works:rust-vmm-0_16:mem-slots
@test "rust-vmm-0.16: memory slots come and go while the ring is served" {
    start_daemon --front-end=rust-vmm-0.16
    run -0 vuctl negotiate order=rust-vmm shmem-bit=21 start memory=slots expect-map flush \
        add-mem-reg region=7 flush rem-mem-reg region=7 flush stop
}

# bats test_tags=works:rust-vmm-0_16:read-only
@test "rust-vmm-0.16: a read-only region is mapped for reading, and cannot be written" {
    start_read_only rust-vmm-0.16
    run -0 vuctl negotiate order=rust-vmm shmem-bit=21 get-shmem-config start expect-map access=read-only size=2M \
        region-is "$BATS_TEST_TMPDIR/image" expect-unwritable flush stop
}

# bats test_tags=works:rfc:map,works:rfc:flush,works:rfc:split,works:rfc:indirect,works:rfc:shmem-config,works:rfc:config
@test "rfc: the region is mapped, content and FLUSH work" {
    start_daemon --front-end=rfc
    run -0 vuctl negotiate shmem-bit=20 get-shmem-config size=4M get-config \
        start expect-map size=4M name=test region-write 4096 c0ffee \
        mem-table-with-map flush count=8 flush layout=indirect stop
    assert_log 'ring 0: FLUSH'
}

# bats test_tags=works:rfc:reset,works:rfc:reconnect,works:rfc:share
@test "rfc: a reset and a new connection find the content, and so does a second front-end" {
    start_daemon --front-end=rfc
    run -0 vuctl on first negotiate shmem-bit=20 start expect-map region-write 0 01 flush stop \
        start expect-map region-read 0 01 flush \
        on other negotiate shmem-bit=20 start expect-map region-read 0 01 region-write 1 02 flush \
        on first region-read 0 0102 hang-up \
        connect negotiate shmem-bit=20 start expect-map region-read 0 0102 flush
}

# bats test_tags=works:rfc:several-regions
@test "rfc: several regions with a gap between them are told and mapped" {
    start_daemon --front-end=rfc --device=raw --region=shmid=0,size=2M --region=shmid=3,size=1M
    run -0 vuctl negotiate shmem-bit=20 get-shmem-config sizes=0:2M,3:1M regions=4 \
        start expect-map shmid=0 size=2M expect-map shmid=3 size=1M expect-no-map stop
}

# bats test_tags=works:rfc:read-only
@test "rfc: a read-only region is mapped for reading, and cannot be written" {
    start_read_only rfc
    run -0 vuctl negotiate shmem-bit=20 get-shmem-config start expect-map access=read-only size=2M \
        region-is "$BATS_TEST_TMPDIR/image" expect-unwritable flush stop
}

@test "crosvm is offered what QEMU is" {
    start_daemon --front-end=crosvm
    run -0 vuctl get-features get-protocol-features offered=0,3,5,9,10,22
}

@test "crosvm takes one region: a second one is refused at start" {
    refuses '--front-end=crosvm takes at most 1' --front-end=crosvm --device=raw \
        --region=shmid=0,size=1M --region=shmid=1,size=1M
}

@test "crosvm: the size of the region need not be a power of two" {
    start_daemon --front-end=crosvm --region=shmid=0,size=6M
    run -0 vuctl negotiate get-shmem-config size=6M start expect-map size=6M flush
}

# bats test_tags=works:crosvm:map,works:crosvm:flush,works:crosvm:split,works:crosvm:indirect,works:crosvm:shmem-config,works:crosvm:config
@test "crosvm: the region is mapped, content and FLUSH work" {
    start_daemon --front-end=crosvm
    run -0 vuctl negotiate get-shmem-config size=4M get-config \
        start expect-map size=4M name=test region-write 4096 c0ffee \
        flush count=8 flush layout=indirect stop
    assert_log 'ring 0: FLUSH'
}

# It keeps its mapping over a reset of the device, and says so of the next one.
# bats test_tags=works:crosvm:reset
@test "crosvm: after a reset it may answer that the region is mapped already" {
    start_daemon --front-end=crosvm
    run -0 vuctl negotiate start expect-map region-write 0 01 flush stop \
        start expect-map answer=-17 region-read 0 01 flush stop \
        start expect-map answer=1 region-read 0 01 flush stop expect-open
    refute_log 'connection closed'
}

# bats test_tags=works:crosvm:reconnect,works:crosvm:share
@test "crosvm: a new connection finds the content, and so does a second front-end" {
    start_daemon --front-end=crosvm
    run -0 vuctl on first negotiate start expect-map region-write 0 01 flush \
        on other negotiate start expect-map region-read 0 01 region-write 1 02 flush \
        on first region-read 0 0102 hang-up \
        connect negotiate start expect-map region-read 0 0102 flush
}

# bats test_tags=works:crosvm:read-only
@test "crosvm: a read-only region is mapped for reading, and cannot be written" {
    start_read_only crosvm
    run -0 vuctl negotiate get-shmem-config start expect-map access=read-only size=2M \
        region-is "$BATS_TEST_TMPDIR/image" expect-unwritable flush stop
}
