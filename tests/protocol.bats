#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The vhost-user messages: negotiation, answers and acknowledgements, and what
# becomes of a front-end that breaks the rules.
# shellcheck disable=SC2154 # log comes from helpers

load helpers/common

# --- what is offered -------------------------------------------------------------

@test "the virtio features offered are SHMEM_REGION, INDIRECT, EVENT_IDX, 30 and VERSION_1" {
    start_daemon
    run -0 vuctl get-features offered=0,28,29,30,32,34,35
}

@test "the qemu profile offers just what QEMU needs, and no memory slots" {
    start_daemon
    run -0 vuctl get-protocol-features offered=MQ,REPLY_ACK,BACKEND_REQ,CONFIG,BACKEND_SEND_FD,GPA_ADDRESSES,SHMEM
}

@test "the crosvm profile offers what qemu's does but GPA_ADDRESSES" {
    start_daemon --front-end=crosvm
    run -0 vuctl get-protocol-features offered=0,3,5,9,10,22
}

@test "the rust-vmm profile offers all that the code can do but GPA_ADDRESSES" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl get-protocol-features offered=0,1,3,5,9,10,12,13,14,15,16,19,20,22
}

@test "there is one queue" {
    start_daemon
    run -0 vuctl negotiate get-queue-num value=1
}

@test "the offer is the same when it is asked for again" {
    start_daemon
    run -0 vuctl negotiate get-features offered=0,28,29,30,32,34,35 \
        get-protocol-features offered=0,3,5,9,10,21,22 start expect-map get-features offered=0,28,29,30,32,34,35
}

@test "negotiation works in QEMU's order" {
    start_daemon
    run -0 vuctl negotiate order=qemu start expect-map flush stop
}

@test "negotiation works in rust-vmm's order, with an acknowledgement of everything" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl negotiate order=rust-vmm start expect-map flush stop
}

@test "negotiation works with the least of features that QEMU can do with" {
    start_daemon
    run -0 vuctl negotiate only=BACKEND_REQ,CONFIG,SHMEM start expect-map flush stop
}

@test "negotiation works without any protocol feature" {
    start_daemon
    run -0 vuctl negotiate only= start expect-no-map flush stop
}

@test "features that were not offered cannot be set" {
    start_daemon
    run -0 vuctl negotiate send id=SET_FEATURES flags=9 payload=u64:0x1000000000 expect-nack expect-open
    run -0 vuctl negotiate send id=SET_FEATURES payload=u64:0x1000000000 expect-close
}

@test "protocol features that were not offered cannot be set" {
    start_daemon
    run -0 vuctl get-features set-protocol-features 20 expect=close
    run -0 vuctl negotiate send id=SET_PROTOCOL_FEATURES flags=9 payload=u64:0x100008 expect-nack expect-open
}

# --- GET_SHMEM_CONFIG ------------------------------------------------------------

@test "GET_SHMEM_CONFIG answers 2056 bytes with the size at its shmid" {
    start_daemon --region shmid=0,size=16M
    run -0 vuctl negotiate get-shmem-config regions=1 sizes=0:16M
}

@test "GET_SHMEM_CONFIG answers the same bytes for the whole connection" {
    start_daemon
    run -0 vuctl negotiate get-shmem-config get-shmem-config start expect-map get-shmem-config \
        flush stop get-shmem-config
}

@test "GET_SHMEM_CONFIG with NEED_REPLY gets one answer and no acknowledgement" {
    start_daemon
    run -0 vuctl negotiate send id=GET_SHMEM_CONFIG flags=9 expect-reply size=2056 expect-open
}

@test "GET_SHMEM_CONFIG ends the connection if SHMEM was not negotiated" {
    start_daemon
    run -0 vuctl negotiate without=SHMEM send id=GET_SHMEM_CONFIG expect-close
    assert_log 'GET_SHMEM_CONFIG'
}

@test "GET_SHMEM_CONFIG ends the connection if nothing was negotiated yet" {
    start_daemon
    run -0 vuctl send id=GET_SHMEM_CONFIG expect-close
    run -0 vuctl get-features get-protocol-features send id=GET_SHMEM_CONFIG expect-close
}

@test "GET_SHMEM_CONFIG with NEED_REPLY gets no acknowledgement where SHMEM was not negotiated" {
    start_daemon
    run -0 vuctl negotiate without=SHMEM send id=GET_SHMEM_CONFIG flags=9 expect-close
}

@test "GET_SHMEM_CONFIG with a payload ends the connection" {
    start_daemon
    run -0 vuctl negotiate send id=GET_SHMEM_CONFIG payload=u64:0 expect-close
}

# --- GET_CONFIG and SET_CONFIG ---------------------------------------------------

@test "GET_CONFIG answers start 0 and the region's size" {
    start_daemon --region shmid=0,size=8M
    run -0 vuctl negotiate get-config data=00000000000000000000800000000000
}

@test "GET_CONFIG answers any part with all the bytes asked for" {
    start_daemon
    run -0 vuctl negotiate get-config size=8 get-config offset=8 size=8 get-config offset=10 size=3 \
        get-config offset=15 size=1
}

@test "GET_CONFIG answers zeros behind the device's configuration" {
    start_daemon
    run -0 vuctl negotiate get-config size=256 get-config offset=16 size=32
}

@test "GET_CONFIG beyond the largest configuration space ends the connection" {
    start_daemon
    run -0 vuctl negotiate send id=GET_CONFIG payload=u32:0,u32:257,u32:0,zero:257 expect-close
    run -0 vuctl negotiate send id=GET_CONFIG payload=u32:256,u32:1,u32:0,zero:1 expect-close
    run -0 vuctl negotiate send id=GET_CONFIG payload=u32:0xffffffff,u32:2,u32:0,zero:2 expect-close
}

@test "GET_CONFIG whose size is not the payload's ends the connection" {
    start_daemon
    run -0 vuctl negotiate send id=GET_CONFIG payload=u32:0,u32:16,u32:0,zero:15 expect-close
}

@test "SET_CONFIG changes nothing" {
    start_daemon
    run -0 vuctl negotiate get-config \
        send id=SET_CONFIG payload=u32:0,u32:8,u32:0,u64:0x1000 get-config
}

# --- acknowledgements -----------------------------------------------------------

@test "nothing is acknowledged before REPLY_ACK is negotiated" {
    start_daemon
    run -0 vuctl send id=SET_OWNER flags=9 get-features \
        send id=SET_FEATURES flags=9 payload=u64:0x140000000 get-protocol-features
}

@test "SET_PROTOCOL_FEATURES that brings REPLY_ACK is acknowledged itself" {
    start_daemon
    run -0 vuctl get-features send id=SET_PROTOCOL_FEATURES flags=9 payload=u64:8 expect-ack expect-open
}

@test "SET_PROTOCOL_FEATURES without REPLY_ACK is not acknowledged" {
    start_daemon
    run -0 vuctl get-features send id=SET_PROTOCOL_FEATURES flags=9 payload=u64:0x200 expect-open
}

@test "a front-end that wants an acknowledgement of everything gets them from the right moment on" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl negotiate order=rust-vmm need-reply=always start expect-map flush stop
}

@test "what does not ask is not acknowledged" {
    start_daemon
    run -0 vuctl negotiate send id=SET_OWNER send id=SET_FEATURES payload=u64:0x170000001 \
        send id=SET_VRING_NUM payload=vring:0:64 expect-open
}

@test "a request with an answer of its own is not acknowledged besides" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl negotiate send id=GET_FEATURES flags=9 expect-reply size=8 \
        send id=GET_PROTOCOL_FEATURES flags=9 expect-reply size=8 \
        send id=GET_QUEUE_NUM flags=9 expect-reply u64=1 \
        send id=GET_CONFIG flags=9 payload=u32:0,u32:16,u32:0,zero:16 expect-reply size=28 \
        send id=GET_STATUS flags=9 expect-reply u64=0 \
        send id=GET_MAX_MEM_SLOTS flags=9 expect-reply size=8 \
        send id=GET_VRING_BASE flags=9 payload=vring:0:0 expect-reply size=8 expect-open
}

@test "a bad value is refused with an acknowledgement where one is asked for" {
    start_daemon
    run -0 vuctl negotiate send id=SET_VRING_NUM flags=9 payload=vring:0:3 expect-nack \
        send id=SET_VRING_NUM flags=9 payload=vring:0:64 expect-ack
    assert_log 'SET_VRING_NUM refused'
}

@test "a bad value ends the connection where no acknowledgement is asked for" {
    start_daemon
    run -0 vuctl negotiate send id=SET_VRING_NUM payload=vring:0:3 expect-close
}

# --- status, reset, memory slots ---------------------------------------------------

@test "the status is what was set, and 0 again for a device that is plugged in again" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl negotiate get-status value=0 set-status 11 get-status value=11 \
        unplug negotiate get-status value=0
}

@test "RESET_DEVICE clears the status and stops the ring" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl negotiate start expect-map flush reset-device get-status value=0 \
        submit kick expect-idle expect-no-map
}

@test "memory can come in slots" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl negotiate get-max-mem-slots least=32 start memory=slots expect-map flush \
        add-mem-reg own=yes flush rem-mem-reg own=yes flush
}

@test "slots can be added and removed while the ring runs" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl negotiate start memory=slots expect-map flush add-mem-reg region=1 \
        add-mem-reg region=2 flush rem-mem-reg region=1 flush rem-mem-reg region=2 flush
}

@test "a slot that is there already is refused" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl negotiate add-mem-reg add-mem-reg expect=nack rem-mem-reg add-mem-reg expect-open
}

@test "a slot that is not there cannot be removed" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl negotiate rem-mem-reg expect=nack expect-open
}

@test "slots are refused where they were not negotiated" {
    start_daemon
    run -0 vuctl negotiate send id=GET_MAX_MEM_SLOTS expect-close
    run -0 vuctl negotiate send id=ADD_MEM_REG payload=u64:0,mem fds=mem expect-close
}

@test "a memory table of several regions is taken, and taken again" {
    start_daemon
    run -0 vuctl negotiate mem-table regions=5 mem-table regions=8 mem-table regions=1 \
        start expect-map flush
}

@test "a memory table that makes no sense is refused" {
    start_daemon
    # wraps, is empty, lies beyond its file, overlaps, is backed by no file
    run -0 vuctl negotiate \
        send id=SET_MEM_TABLE flags=9 payload=u32:1,u32:0,region:-4096:8K:0:0 fds=memfd expect-nack \
        send id=SET_MEM_TABLE flags=9 payload=u32:1,u32:0,region:0:8K:-4096:0 fds=memfd expect-nack \
        send id=SET_MEM_TABLE flags=9 payload=u32:1,u32:0,region:0:0:0:0 fds=memfd expect-nack \
        send id=SET_MEM_TABLE flags=9 payload=u32:1,u32:0,region:0:16M:0:0 fds=memfd expect-nack \
        send id=SET_MEM_TABLE flags=9 payload=u32:1,u32:0,region:0:4K:0:8M fds=memfd expect-nack \
        send id=SET_MEM_TABLE flags=9 payload=u32:1,u32:0,region:0:4K:0:-4096 fds=memfd expect-nack \
        send id=SET_MEM_TABLE flags=9 payload=u32:2,u32:0,region:0:8K:0:0,region:4K:4K:16M:0 'fds=memfd*2' expect-nack \
        send id=SET_MEM_TABLE flags=9 payload=u32:1,u32:0,region:0:4K:0:0 fds=pipe expect-nack \
        send id=SET_MEM_TABLE flags=9 payload=u32:1,u32:0,region:0:4K:0:0 fds=directory expect-nack \
        expect-open
}

@test "the memory of before stays in use when a new table is refused" {
    start_daemon
    run -0 vuctl up flush \
        send id=SET_MEM_TABLE flags=9 payload=u32:1,u32:0,region:0:0:0:0 fds=memfd expect-nack flush
}

# --- arriving in pieces and in heaps ------------------------------------------------

@test "a message may arrive byte by byte" {
    start_daemon
    run -0 vuctl negotiate send id=GET_CONFIG payload=u32:0,u32:16,u32:0,zero:16 split=bytes \
        expect-reply size=28 expect-open
}

@test "descriptors arrive with the first byte of a message in pieces" {
    start_daemon
    run -0 vuctl negotiate \
        send id=SET_MEM_TABLE flags=9 payload=u32:1,u32:0,mem fds=mem split=bytes expect-ack \
        send id=SET_VRING_CALL flags=9 payload=u64:0 fds=eventfd split=1,5,7 expect-ack
}

@test "several messages may arrive in one piece" {
    start_daemon
    run -0 vuctl negotiate \
        pipeline GET_FEATURES,GET_SHMEM_CONFIG,GET_PROTOCOL_FEATURES,GET_SHMEM_CONFIG,GET_QUEUE_NUM
}

@test "a message and half of the next may arrive in one piece" {
    start_daemon
    run -0 vuctl negotiate send id=GET_FEATURES times=2 split=17 expect-reply size=8 expect-reply size=8
}

@test "many messages may arrive before any answer is read" {
    start_daemon
    requests=GET_FEATURES
    for _ in {1..500}; do
        requests+=,GET_SHMEM_CONFIG
    done
    run -0 vuctl negotiate pipeline "$requests" expect-open
}

@test "half a message holds up nobody else" {
    start_daemon
    run -0 vuctl on half send id=SET_FEATURES size=8 payload=u32:0 on a up flush on half hang-up on a expect-open
}

@test "a front-end that leaves in the middle of a message costs nobody else anything" {
    start_daemon
    run -0 vuctl on other up on a raw 0100 hang-up connect send id=GET_CONFIG size=100 payload=u32:0 hang-up \
        on other flush
}

# --- broken messages ------------------------------------------------------------------

# A broken message ends its connection, with one line in the log at level warn,
# and costs no other connection anything.
is_broken() {
    start_daemon
    run -0 vuctl on other up on a negotiate "$@" expect-close on other flush \
        on a connect negotiate
    stop_daemon
    assert_equal "$(warnings | wc -l)" 1
}

@test "an unknown request ends the connection" {
    is_broken send id=45
}

@test "request 0 ends the connection" {
    is_broken send id=0
}

@test "a request far out of range ends the connection" {
    is_broken send id=0xffffffff flags=9
}

@test "a request of another device ends the connection" {
    is_broken send id=NET_SET_MTU payload=u64:1500
}

@test "a request whose feature is not offered ends the connection" {
    is_broken send id=GET_INFLIGHT_FD payload=zero:24
}

@test "version 0 ends the connection" {
    is_broken send id=GET_FEATURES flags=0
}

@test "version 2 ends the connection" {
    is_broken send id=GET_FEATURES flags=2
}

@test "a reserved flag ends the connection" {
    is_broken send id=GET_FEATURES flags=0x11
}

@test "the highest reserved flag ends the connection" {
    is_broken send id=GET_FEATURES flags=0x80000001
}

@test "a reply where a request belongs ends the connection" {
    is_broken send id=GET_FEATURES flags=5
}

@test "a payload where none belongs ends the connection" {
    is_broken send id=GET_FEATURES payload=u8:0
}

@test "a payload that is too small ends the connection" {
    is_broken send id=SET_FEATURES payload=zero:7
}

@test "a payload that is too large ends the connection" {
    is_broken send id=SET_FEATURES payload=zero:9
}

@test "a missing payload ends the connection" {
    is_broken send id=SET_VRING_ADDR
}

@test "a payload of 4097 bytes ends the connection before it has arrived" {
    is_broken send id=SET_CONFIG size=4097
}

@test "a payload of 4 GiB - 1 ends the connection before it has arrived" {
    is_broken send id=SET_CONFIG size=0xffffffff
}

@test "a memory table whose count is not its size ends the connection" {
    is_broken send id=SET_MEM_TABLE payload=u32:2,u32:0,mem fds=mem
}

@test "a memory table whose count overflows ends the connection" {
    is_broken send id=SET_MEM_TABLE payload=u32:0x08000001,u32:0,mem fds=mem
}

@test "a memory table of 33 regions ends the connection" {
    is_broken send id=SET_MEM_TABLE "payload=u32:33,u32:0,zero:$((33 * 32))"
}

@test "a memory table without its descriptors ends the connection" {
    is_broken send id=SET_MEM_TABLE payload=u32:1,u32:0,mem
}

@test "a descriptor where none belongs ends the connection" {
    is_broken send id=GET_FEATURES fds=eventfd
}

@test "a descriptor too many ends the connection" {
    is_broken send id=SET_VRING_CALL payload=u64:0 'fds=eventfd*2'
}

@test "a missing descriptor ends the connection" {
    is_broken send id=SET_VRING_KICK payload=u64:0
}

@test "a descriptor beside the bit that says there is none ends the connection" {
    is_broken send id=SET_VRING_CALL payload=u64:0x100 fds=eventfd
}

@test "descriptors in the middle of a message end the connection" {
    is_broken send id=SET_VRING_CALL payload=u64:0 fds=eventfd split=12 fds-at=1
}

@test "33 descriptors end the connection" {
    is_broken send id=SET_MEM_TABLE payload=u32:1,u32:0,mem 'fds=memfd*33'
}

@test "253 descriptors end the connection" {
    is_broken send id=GET_FEATURES 'fds=eventfd*253'
}

@test "a channel without a socket ends the connection" {
    is_broken send id=SET_BACKEND_REQ_FD
}

@test "a channel that is no socket is refused" {
    start_daemon
    run -0 vuctl negotiate send id=SET_BACKEND_REQ_FD flags=9 fds=pipe expect-nack \
        send id=SET_BACKEND_REQ_FD flags=9 fds=file expect-nack expect-open
}

@test "a kick, call or error descriptor that is no eventfd is refused" {
    start_daemon
    for request in SET_VRING_KICK SET_VRING_CALL SET_VRING_ERR; do
        for kind in file pipe socket directory path; do
            run -0 vuctl negotiate send id=$request flags=9 payload=u64:0 fds=$kind expect-nack expect-open
        done
    done
}

@test "descriptors of refused messages are closed" {
    start_daemon
    steps=()
    for _ in {1..50}; do
        steps+=(send id=SET_VRING_CALL flags=9 payload=u64:0 fds=file expect-nack)
        steps+=(send id=SET_MEM_TABLE flags=9 'payload=u32:1,u32:0,region:0:0:0:0' fds=memfd expect-nack)
        steps+=(send id=SET_BACKEND_REQ_FD flags=9 fds=pipe expect-nack)
        steps+=(send id=SET_VRING_CALL flags=9 payload=u64:7 fds=eventfd expect-nack)
    done
    require_worker_fd
    run -0 vuctl negotiate run "fds_of \$(worker_of 1) >$BATS_TEST_TMPDIR/before" "${steps[@]}" \
        run "fds_of \$(worker_of 1) >$BATS_TEST_TMPDIR/after"
    run -0 diff "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after"
}

@test "--without leaves ring features out of the offer, and they are refused" {
    start_daemon --without=packed,event-idx
    run -0 vuctl get-features offered=0,28,30,32,35 negotiate \
        send id=SET_FEATURES flags=9 payload=u64:0x400000001 expect-nack
}

@test "--without knows only features of rings" {
    run -1 "$SHMEMD" --socket-path="$socket" --region=shmid=0,size=4M --without=packed,version-1
    assert_output --partial "--without: 'version-1' is not a feature"
}
