#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The virtqueue and the pmem device behind it.
# shellcheck disable=SC2154 # log comes from helpers

load helpers/common

# --- requests ----------------------------------------------------------------------

@test "FLUSH is answered 0 with length 4" {
    start_daemon
    run -0 vuctl up flush stop
}

@test "FLUSH is logged at level debug, and not at level info" {
    start_daemon
    run -0 vuctl up flush
    assert_log 'debug: .*FLUSH'
    stop_daemon
    rm "$log"
    start_daemon --log-level=info
    run -0 vuctl up flush hang-up
    stop_daemon
    refute_log 'FLUSH'
}

@test "an unknown request is answered with an error, and the queue goes on" {
    start_daemon
    run -0 vuctl up request 1 request 0xffffffff request 0x01000000 flush stop
}

@test "a request in an indirect table is answered" {
    start_daemon
    run -0 vuctl up flush layout=indirect request 1 layout=indirect stop
}

@test "a request in pieces of odd sizes is answered" {
    start_daemon
    run -0 vuctl up flush layout=pieces request 1 layout=pieces stop
}

@test "many requests at once are answered" {
    start_daemon
    run -0 vuctl up flush count=32 flush count=64 layout=indirect flush count=16 layout=pieces stop
}

@test "the ring goes round many times" {
    start_daemon
    steps=()
    for _ in {1..40}; do
        steps+=(flush count=7)
    done
    run -0 vuctl negotiate start size=16 expect-map "${steps[@]}" stop
}

@test "two rings in two connections do not meet" {
    start_daemon
    run -0 vuctl on a up on b up submit count=3 on a flush on b kick expect-used on a flush count=2 stop \
        on b stop
}

# --- sizes -----------------------------------------------------------------------------

@test "a ring of one entry works" {
    start_daemon
    run -0 vuctl negotiate start size=1 expect-map flush layout=indirect flush layout=indirect stop
}

@test "a ring of two entries works" {
    start_daemon
    run -0 vuctl negotiate start size=2 expect-map flush flush flush stop
}

@test "a ring of 32768 entries works" {
    start_daemon
    run -0 vuctl negotiate start size=32768 expect-map flush count=1000 stop
}

@test "a ring of 0, 3 or 65536 entries is refused" {
    start_daemon
    run -0 vuctl negotiate send id=SET_VRING_NUM flags=9 payload=vring:0:0 expect-nack \
        send id=SET_VRING_NUM flags=9 payload=vring:0:3 expect-nack \
        send id=SET_VRING_NUM flags=9 payload=vring:0:65536 expect-nack \
        send id=SET_VRING_NUM flags=9 payload=vring:0:0xffffffff expect-nack expect-open
}

@test "a ring that does not exist is refused in every message" {
    start_daemon
    run -0 vuctl negotiate send id=SET_VRING_NUM flags=9 payload=vring:1:64 expect-nack \
        send id=SET_VRING_BASE flags=9 payload=vring:1:0 expect-nack \
        send id=SET_VRING_ADDR flags=9 payload=u32:1,u32:0,zero:32 expect-nack \
        send id=SET_VRING_KICK flags=9 payload=u64:1 fds=eventfd expect-nack \
        send id=SET_VRING_CALL flags=9 payload=u64:255 fds=eventfd expect-nack \
        send id=SET_VRING_ENABLE flags=9 payload=vring:0xffffffff:1 expect-nack expect-open
    run -0 vuctl negotiate send id=GET_VRING_BASE flags=9 payload=vring:1:0 expect-close
}

@test "SET_VRING_ENABLE with another value than 0 or 1 is refused" {
    start_daemon
    run -0 vuctl negotiate set-features send id=SET_VRING_ENABLE flags=9 payload=vring:0:2 expect-nack expect-open
}

@test "a ring outside of the memory is not served, and a new start with a good one works" {
    start_daemon
    run -0 vuctl negotiate set-features mem-table set-vring \
        send id=SET_VRING_ADDR payload=u32:0,u32:0,u64:0x1000,u64:0x2000,u64:0x3000,u64:0 \
        enable expect-map submit kick expect-idle stop base=any start expect-map flush
}

@test "a ring that crosses the end of the memory is not served, and a new start works" {
    start_daemon
    run -0 vuctl negotiate set-features mem-table set-vring \
        send id=SET_VRING_ADDR payload=u32:0,u32:0,u64:0x7e00007ffff0,u64:0x7e0000002000,u64:0x7e0000003000,u64:0 \
        enable expect-map submit kick expect-idle stop base=any start expect-map flush
}

# --- starting and stopping -----------------------------------------------------------

@test "a kick before SET_VRING_ENABLE is kept until then" {
    start_daemon
    run -0 vuctl negotiate set-features mem-table set-vring submit kick expect-idle \
        enable expect-map expect-used expect-call
}

@test "a request that was there before the start is found without a kick" {
    start_daemon
    run -0 vuctl negotiate set-features mem-table set-vring submit enable expect-map expect-used expect-call
}

@test "a request left when the ring stopped is served after the next start" {
    start_daemon
    run -0 vuctl up disable submit kick expect-idle get-vring-base base=0 \
        start kept=yes expect-used expect-call on=either flush
}

@test "nothing is served between SET_VRING_ENABLE(0) and the next start" {
    start_daemon
    run -0 vuctl up flush disable submit kick expect-idle expect-no-call enable map=any expect-used
}

@test "nothing is served after GET_VRING_BASE" {
    start_daemon
    run -0 vuctl up flush get-vring-base submit kick expect-idle
}

@test "GET_VRING_BASE returns how far the ring was served" {
    start_daemon
    run -0 vuctl up flush count=5 flush layout=indirect stop base=6
}

@test "GET_VRING_BASE of a ring that never started returns its base" {
    start_daemon
    run -0 vuctl negotiate set-features get-vring-base base=0 mem-table set-vring base=17 get-vring-base base=17
}

@test "a ring goes on at the base where it was stopped" {
    start_daemon
    run -0 vuctl negotiate start size=128 expect-map flush count=70 layout=indirect stop base=70 \
        start kept=yes flush count=3 stop base=73
}

@test "a ring starts at any base, and wraps at 65536" {
    start_daemon
    run -0 vuctl negotiate start base=65530 expect-map flush count=16 stop base=10 \
        start kept=yes flush stop base=11
}

@test "a base above 65535 is refused" {
    start_daemon
    run -0 vuctl negotiate send id=SET_VRING_BASE flags=9 payload=vring:0:65536 expect-nack expect-open
}

@test "a new ring after a reset starts at 0" {
    start_daemon
    run -0 vuctl up flush count=9 stop start size=32 expect-map flush stop base=1
}

@test "a device that is plugged in again on the same connection works" {
    start_daemon
    run -0 vuctl up flush stop unplug up flush count=4 stop base=4 unplug up flush
}

@test "the memory table may change while the ring runs" {
    start_daemon
    run -0 vuctl up flush mem-table regions=3 flush mem-table regions=1 flush mem-table-with-map flush
}

@test "a guest whose driver has no SHMEM_REGION is told of Linux 6.8" {
    start_daemon
    run -0 vuctl negotiate set-features without=SHMEM_REGION expect-open
    assert_log '6\.8'
}

# --- notifications --------------------------------------------------------------------

@test "the driver is called after each request" {
    start_daemon
    run -0 vuctl negotiate start without=EVENT_IDX expect-map interrupts on \
        submit kick expect-used expect-call submit kick expect-used expect-call
}

@test "the driver is not called when it does not want to be" {
    start_daemon
    run -0 vuctl negotiate start without=EVENT_IDX expect-map flush interrupts off \
        submit kick expect-used expect-no-call interrupts on submit kick expect-used expect-call
}

@test "with EVENT_IDX the driver is called at the request that it names" {
    start_daemon
    run -0 vuctl up flush interrupts at-last count=3 submit count=2 kick expect-used expect-no-call \
        submit kick expect-used expect-call
}

@test "with EVENT_IDX the flag in the available ring means nothing" {
    start_daemon
    run -0 vuctl up flush interrupts off submit kick expect-used expect-call
}

@test "with EVENT_IDX the device says from where on it wants to be kicked" {
    start_daemon
    # flush kicks only if the device wants it, so it would never end otherwise
    run -0 vuctl up flush count=3 flush flush count=2 layout=indirect flush stop
}

@test "with EVENT_IDX requests are found though their kick came before" {
    start_daemon
    run -0 vuctl up flush interrupts at-next submit kick submit kick expect-used expect-call stop
}

@test "without EVENT_IDX and INDIRECT the ring works" {
    start_daemon
    run -0 vuctl negotiate start without=EVENT_IDX,INDIRECT expect-map flush count=3 flush stop
}

@test "a call descriptor that is replaced is not used any more" {
    start_daemon
    run -0 vuctl up flush interrupts at-next send id=SET_VRING_CALL flags=9 payload=u64:0 fds=eventfd expect-ack \
        submit kick expect-used expect-no-call
}

@test "a ring without a call descriptor is served" {
    start_daemon
    run -0 vuctl up send id=SET_VRING_CALL flags=9 payload=u64:0x100 expect-ack \
        submit kick expect-used expect-no-call
}

@test "a kick descriptor may be replaced while the ring runs" {
    start_daemon
    run -0 vuctl up flush stop start expect-map flush
}

@test "a call descriptor that is full holds nobody up" {
    start_daemon
    run -0 vuctl up interrupts at-next fill-call submit kick expect-used flush
}

# --- hostile drivers -----------------------------------------------------------------

# The ring survives a bad chain: what comes after is served.
ring_survives() {
    start_daemon
    run -0 vuctl up flush bad-chain "$@" flush flush layout=indirect flush layout=pieces stop
}

@test "the ring survives two descriptors that point to each other" {
    ring_survives loop used=yes
}

@test "the ring survives a descriptor that points to itself" {
    ring_survives self-loop used=yes
}

@test "the ring survives next is the ring's size" {
    ring_survives next-out-of-range used=yes
}

@test "the ring survives the offered head is the ring's size" {
    ring_survives head-out-of-range used=no
}

@test "the ring survives the offered head is 65535" {
    ring_survives head-65535 used=no
}

@test "the ring survives the request lies outside the memory" {
    ring_survives request-outside used=yes
}

@test "the ring survives the reply lies outside the memory" {
    ring_survives reply-outside used=yes
}

@test "the ring survives address + length is more than 2^64" {
    ring_survives address-wraps used=yes
}

@test "the ring survives the reply crosses the end of the memory" {
    ring_survives crosses-end used=yes
}

@test "the ring survives a user address instead of a guest address" {
    ring_survives user-address used=yes
}

@test "the ring survives a request of 2^32-1 bytes" {
    ring_survives huge-length used=yes
}

@test "the ring survives nothing for the reply" {
    ring_survives no-writable used=yes
}

@test "the ring survives no request" {
    ring_survives no-readable used=yes
}

@test "the ring survives a request of 2 bytes" {
    ring_survives short-request used=yes
}

@test "the ring survives 2 bytes for the reply" {
    ring_survives short-reply used=yes
}

@test "the ring survives both parts empty" {
    ring_survives zero-lengths used=yes
}

@test "the ring survives the reply before the request" {
    ring_survives writable-first used=yes
}

@test "the ring survives an indirect table of length 0" {
    ring_survives indirect-empty used=yes
}

@test "the ring survives an indirect table of 31 bytes" {
    ring_survives indirect-odd used=yes
}

@test "the ring survives an indirect table outside the memory" {
    ring_survives indirect-outside used=yes
}

@test "the ring survives an indirect table across the end of the memory" {
    ring_survives indirect-crosses-end used=yes
}

@test "the ring survives an indirect table of 2^32-16 bytes" {
    ring_survives indirect-huge used=yes
}

@test "the ring survives an indirect table that loops" {
    ring_survives indirect-loop used=yes
}

@test "the ring survives next behind the end of an indirect table" {
    ring_survives indirect-next-out-of-range used=yes
}

@test "the ring survives an indirect descriptor in an indirect table" {
    ring_survives indirect-in-indirect used=yes
}

@test "the ring survives INDIRECT and NEXT in one descriptor" {
    ring_survives indirect-and-next used=yes
}

@test "the ring survives an indirect descriptor where INDIRECT was not negotiated" {
    start_daemon
    run -0 vuctl negotiate start without=INDIRECT expect-map flush submit layout=indirect kick expect-open \
        drop-pending flush stop base=any
}

@test "a malformed chain is logged" {
    start_daemon
    run -0 vuctl up bad-chain loop stop base=any
    assert_log 'warn: .*malformed'
}

@test "malformed chains one after another never stop the ring" {
    start_daemon
    steps=()
    for _ in {1..10}; do
        for kind in loop head-out-of-range reply-outside indirect-loop no-writable; do
            steps+=(bad-chain "$kind")
        done
        steps+=(flush)
    done
    run -0 vuctl up "${steps[@]}" stop base=any
}

@test "an available index that runs ahead stops the ring and nothing else, and a new start works" {
    start_daemon
    run -0 vuctl on other up on a up flush available-ahead 65 expect-open available-ahead 65 expect-open \
        stop base=any start expect-map flush on other flush
    assert_log 'warn: .*ahead'
}

@test "an available index that runs back stops the ring and nothing else, and a new start works" {
    start_daemon
    run -0 vuctl up flush available-ahead -1 expect-open stop base=any start expect-map flush
}

@test "a call that was made on a descriptor about to be replaced is made on the new one, too" {
    start_daemon
    run -0 vuctl up disable submit kick expect-idle get-vring-base base=0 start kept=yes expect-used expect-call
}

# --- packed rings ------------------------------------------------------------------------

@test "packed: FLUSH is answered 0 with length 4" {
    start_daemon
    run -0 vuctl packed up flush stop
}

@test "packed: an unknown request is answered with an error, and the queue goes on" {
    start_daemon
    run -0 vuctl packed up request 1 request 0xffffffff request 1 layout=indirect flush stop
}

@test "packed: requests in indirect tables and in pieces of odd sizes are answered" {
    start_daemon
    run -0 vuctl packed up flush layout=indirect flush layout=pieces flush count=64 layout=indirect \
        flush count=16 layout=pieces flush count=32 stop
}

@test "packed: rings of 1, 2, 3, 7 and 32768 entries work" {
    start_daemon
    run -0 vuctl packed negotiate start size=1 expect-map flush layout=indirect flush layout=indirect \
        flush layout=indirect stop start size=2 expect-map flush flush flush stop \
        start size=3 expect-map flush flush flush layout=indirect count=3 flush stop \
        start size=7 expect-map flush count=3 flush stop \
        start size=32768 expect-map flush count=1000 stop
}

@test "packed: a ring of 7 entries goes round many times, whatever the chains" {
    start_daemon
    steps=()
    for _ in {1..15}; do
        steps+=(flush count=3 flush layout=pieces flush layout=indirect count=7 flush flush count=2)
    done
    run -0 vuctl packed negotiate start size=7 expect-map "${steps[@]}" stop
}

@test "packed: the same without EVENT_IDX, and without IN_ORDER" {
    start_daemon
    steps=()
    for _ in {1..10}; do
        steps+=(flush count=2 flush layout=indirect flush layout=pieces)
    done
    run -0 vuctl packed negotiate start size=5 without=EVENT_IDX expect-map "${steps[@]}" stop \
        start size=5 without=IN_ORDER expect-map "${steps[@]}" stop \
        start size=5 without=EVENT_IDX,IN_ORDER,INDIRECT expect-map flush count=2 flush layout=pieces stop
}

@test "packed: requests come back in order" {
    start_daemon
    run -0 vuctl packed up submit submit layout=indirect submit layout=pieces submit count=5 kick expect-used flush
}

@test "split: requests come back in order" {
    start_daemon
    run -0 vuctl up submit submit layout=indirect submit layout=pieces submit count=5 kick expect-used flush
}

@test "packed: a ring goes on where it was stopped, wrap counters and all" {
    start_daemon
    # 7 entries: 3 chains are 6, the fourth crosses the end.
    run -0 vuctl packed negotiate start size=7 expect-map flush count=3 stop base=0x80068006 \
        start kept=yes flush stop base=0x00010001 start kept=yes flush count=3 stop base=0x80008000 \
        start kept=yes flush count=3 flush layout=indirect stop base=0 \
        start kept=yes flush count=3 flush layout=indirect stop base=0x80008000 start kept=yes flush
}

@test "packed: a ring begins where SET_VRING_BASE says" {
    start_daemon
    run -0 vuctl packed negotiate start size=7 base=0x00050005 expect-map flush count=3 stop base=0x80048004 \
        start size=7 base=0 expect-map flush stop base=0x00020002
}

@test "packed: a base of one position, as rust-vmm sends it, is both" {
    start_daemon --front-end=rust-vmm
    run -0 vuctl packed negotiate start size=7 expect-map flush count=2 stop base=0x80048004 \
        set-vring keep=yes send id=GET_VRING_BASE payload=vring:0:0 expect-reply payload=vring:0:0x80048004 \
        send id=SET_VRING_BASE flags=9 payload=vring:0:0x8004 expect-ack \
        send id=GET_VRING_BASE payload=vring:0:0 expect-reply payload=vring:0:0x80048004
}

@test "packed: a base outside of the ring is not served, and a new start works" {
    start_daemon
    run -0 vuctl packed negotiate set-features mem-table set-vring size=7 \
        send id=GET_VRING_BASE payload=vring:0:0 expect-reply size=8 \
        send id=SET_VRING_BASE flags=9 payload=vring:0:0x80078007 expect-ack \
        send id=SET_VRING_KICK flags=9 payload=u64:0 fds=eventfd expect-ack \
        enable expect-map submit kick expect-idle stop base=any start size=7 expect-map flush
    assert_log 'ring 0 cannot be served'
}

@test "packed: a request left when the ring stopped is served after the next start" {
    start_daemon
    run -0 vuctl packed up flush disable submit count=2 kick expect-idle get-vring-base \
        start kept=yes expect-used expect-call on=either flush
}

@test "packed: a device that changes its format at a reset works" {
    start_daemon
    run -0 vuctl up flush count=3 stop packed start expect-map flush count=3 stop \
        packed on=no start expect-map flush count=3 stop packed start size=5 expect-map flush
}

@test "packed: the driver is not called when it does not want to be" {
    start_daemon
    run -0 vuctl packed negotiate start without=EVENT_IDX expect-map flush interrupts off \
        submit kick expect-used expect-no-call interrupts on submit kick expect-used expect-call
    run -0 vuctl packed up flush interrupts off submit kick expect-used expect-no-call \
        interrupts on submit kick expect-used expect-call
}

@test "packed: with EVENT_IDX the driver is called at the request that it names" {
    start_daemon
    run -0 vuctl packed up flush interrupts at-last count=3 submit count=2 kick expect-used expect-no-call \
        submit kick expect-used expect-call
}

@test "packed: with EVENT_IDX the driver is called at a request of the next round" {
    start_daemon
    run -0 vuctl packed negotiate start size=7 expect-map flush count=2 interrupts at-last count=2 \
        submit count=2 kick expect-used expect-call
}

# The packed ring survives a bad chain: it is handed back whole, and what comes
# after is served.
packed_survives() {
    start_daemon
    run -0 vuctl packed negotiate start size=11 expect-map flush bad-chain "$1" used=yes flush \
        bad-chain "$1" used=yes flush layout=indirect bad-chain "$1" used=yes flush layout=pieces flush stop
    assert_log "${2:-warn: .*malformed chain}"
}

@test "packed: the ring survives the request lies outside the memory" {
    packed_survives request-outside
}

@test "packed: the ring survives the reply lies outside the memory" {
    packed_survives reply-outside
}

@test "packed: the ring survives address + length is more than 2^64" {
    packed_survives address-wraps
}

@test "packed: the ring survives the reply crosses the end of the memory" {
    packed_survives crosses-end
}

@test "packed: the ring survives a user address instead of a guest address" {
    packed_survives user-address
}

@test "packed: the ring survives a request of 2^32-1 bytes" {
    packed_survives huge-length
}

@test "packed: the ring survives the reply before the request" {
    packed_survives writable-first
}

@test "packed: the ring survives nothing for the reply" {
    packed_survives no-writable 'debug: .*FLUSH'
}

@test "packed: the ring survives no request" {
    packed_survives no-readable 'warn: .*a request of [02] bytes, and those of pmem have 4'
}

@test "packed: the ring survives a request of 2 bytes" {
    packed_survives short-request 'warn: .*a request of [02] bytes, and those of pmem have 4'
}

@test "packed: the ring survives 2 bytes for the reply" {
    packed_survives short-reply 'debug: .*FLUSH'
}

@test "packed: the ring survives both parts empty" {
    packed_survives zero-lengths 'warn: .*a request of [02] bytes, and those of pmem have 4'
}

@test "packed: the ring survives an indirect table of length 0" {
    packed_survives indirect-empty
}

@test "packed: the ring survives an indirect table of 31 bytes" {
    packed_survives indirect-odd
}

@test "packed: the ring survives an indirect table outside the memory" {
    packed_survives indirect-outside
}

@test "packed: the ring survives an indirect table across the end of the memory" {
    packed_survives indirect-crosses-end
}

@test "packed: the ring survives an indirect table of 2^32-16 bytes" {
    packed_survives indirect-huge
}

@test "packed: the ring survives an indirect descriptor in an indirect table" {
    packed_survives indirect-in-indirect
}

@test "packed: the ring survives INDIRECT and NEXT in one descriptor" {
    packed_survives indirect-and-next
}

@test "packed: the ring survives an indirect descriptor where INDIRECT was not negotiated" {
    start_daemon
    run -0 vuctl packed negotiate start without=INDIRECT expect-map flush submit layout=indirect kick expect-open \
        drop-pending flush stop
}

@test "packed: malformed chains one after another never stop the ring" {
    start_daemon
    steps=()
    for _ in {1..10}; do
        for kind in reply-outside indirect-and-next indirect-odd no-writable writable-first; do
            steps+=(bad-chain "$kind")
        done
        steps+=(flush)
    done
    run -0 vuctl packed negotiate start size=9 expect-map "${steps[@]}" stop
}

@test "packed: a chain without an end stops the ring and nothing else, and a new start works" {
    start_daemon
    run -0 vuctl on other packed up on a packed negotiate start size=7 expect-map flush bad-chain no-end used=no \
        submit kick expect-idle expect-open stop base=any start expect-map flush on other flush
    assert_log 'warn: .*without an end'
}

@test "with GPA_ADDRESSES rings are named by guest addresses, and user addresses are not looked at" {
    start_daemon
    run -0 vuctl negotiate gpa=yes start expect-map flush mem-table regions=3 flush stop
    run -0 vuctl packed negotiate gpa=yes start expect-map flush count=3 stop
}
