#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# The raw device: any regions, with holes, and a queue that gives buffers back.

# What helpers/common.bash sets or reads:
# shellcheck disable=SC2154,SC2034

load helpers/common

@test "a raw device with regions at 0, 3 and 7 tells each size by its shmid, and 0 between" {
    start_daemon --device=raw --region=shmid=0,size=2M --region=shmid=3,size=1M --region=shmid=7,size=1M
    run -0 vuctl negotiate get-shmem-config regions=3 sizes=0:2M,3:1M,7:1M get-shmem-config again=yes
}

@test "each region is mapped, in the order of their shmids, once per start" {
    start_daemon --device=raw --region=shmid=7,size=1M,name=last --region=shmid=0,size=2M,name=first --region=shmid=3,size=1M,name=middle
    run -0 vuctl negotiate start \
        expect-map shmid=0 size=2M name=first \
        expect-map shmid=3 size=1M name=middle \
        expect-map shmid=7 size=1M name=last \
        expect-no-map stop expect-no-map \
        start expect-map shmid=0 expect-map shmid=3 expect-map shmid=7 expect-no-map
}

@test "256 regions are mapped, all of them, to a front-end that answers none" {
    local i args=()
    for ((i = 0; i < 256; i++)); do args+=("--region=shmid=$i,size=4K,name=r$i"); done
    start_daemon --device=raw --front-end=rust-vmm "${args[@]}"
    args=()
    for ((i = 0; i < 256; i++)); do args+=(expect-map "shmid=$i" "name=r$i" answer=no); done
    run -0 vuctl negotiate order=rust-vmm get-shmem-config regions=256 start "${args[@]}" expect-no-map expect-open
}

@test "the regions of a raw device are different memory" {
    start_daemon --device=raw --region=shmid=0,size=2M --region=shmid=1,size=2M
    run -0 vuctl negotiate start expect-map shmid=0 expect-map shmid=1 \
        region-write 0 aabb shmid=0 region-read 0 0000 shmid=1 region-read 0 aabb shmid=0
}

@test "a raw device gives a buffer back unused" {
    start_daemon --device=raw --region=shmid=5,size=2M
    run -0 vuctl negotiate start expect-map shmid=5 submit kick expect-call stop base=1
    assert_log 'a buffer goes back unused'
}

@test "what QEMU would die of is refused at start: four regions, or a sum that is no power of two" {
    local four=() i
    for i in 0 1 2 3; do four+=("--region=shmid=$i,size=1M"); done
    run -1 "$SHMEMD" --worker="$SHMEMD_WORKER" --socket-path="$socket" --device=raw "${four[@]}"
    assert_output --partial '--front-end=qemu takes at most 3'
    assert [ ! -e "$socket" ]
    run -1 "$SHMEMD" --worker="$SHMEMD_WORKER" --socket-path="$socket" --device=raw --region=shmid=0,size=2M --region=shmid=1,size=1M
    assert_output --partial 'they are 3M, and 4M works'
    run -1 "$SHMEMD" --worker="$SHMEMD_WORKER" --socket-path="$socket" --device=raw --front-end=crosvm --region=shmid=0,size=1M --region=shmid=1,size=1M
    assert_output --partial '--front-end=crosvm takes at most 1'
}
