#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# FLUSH of regions that are files: the flusher, which does fdatasync for all who
# share one. helpers/disk holds the disk up until the test goes on, or lets it fail;
# strace makes it slow.

# shellcheck disable=SC2154 # socket, log, daemon_pid and stderr come from helpers and bats
# shellcheck disable=SC2030,SC2031 # each test is a shell of its own
# shellcheck disable=SC2016 # commands in single quotes are for the shell that vuctl starts

load helpers/common

setup() {
    common_setup
    file=$BATS_TEST_TMPDIR/file
    other=$BATS_TEST_TMPDIR/other
    calls=$BATS_TEST_TMPDIR/calls
    truncate -s 4M "$file" "$other"
    tracer_pid=
    export file calls
}

teardown() {
    if [[ -n $tracer_pid ]]; then
        kill "$tracer_pid" 2>/dev/null || :
        wait "$tracer_pid" 2>/dev/null || :
    fi
    common_teardown
}

# Two regions that are files, and devices that have them. KEYS are more keys of
# the region, the device.
start_files() {
    start_with_config <<EOF
region r { file = $file ${1-} }
region other { file = $other }
device d { socket = $socket ${2-} shm 0 { region = r } }
device e { socket = $socket.e shm 0 { region = r } }
device other { socket = $socket.other shm 0 { region = other } }
EOF
}

# with_disk WHAT: of the file's flusher each fdatasync is as "inject" of strace
# has it; $calls lists those that have returned.
with_disk() {
    require_tool strace
    flusher=$(flusher_of "$file")
    export flusher
    strace -p "$flusher" -e trace=fdatasync -e inject=fdatasync:"$1" -o "$calls" 2>"$calls.told" 3>&- &
    tracer_pid=$!
    wait_until test -s "$calls.told"
    grep -q attached "$calls.told" || skip "the flusher cannot be traced: $(cat "$calls.told")"
}

# hold_disk: each fdatasync of the file's flusher waits until "release".
hold_disk() {
    flusher=$(flusher_of "$file")
    export flusher
    mkfifo "$calls.go"
    "$top_srcdir/tests/helpers/disk" "$flusher" hold "$calls.go" >"$calls" 2>"$calls.told" 3>&- &
    tracer_pid=$!
    wait_until eval '[[ -s $calls.told ]] || grep -q attached "$calls"'
    [[ ! -s $calls.told ]] || skip "the flusher cannot be traced: $(cat "$calls.told")"
}

# More than any test here makes.
release() {
    printf '%100s' '' >"$calls.go"
}

# The next one fails, and would not if it were asked again.
fail_disk() {
    "$top_srcdir/tests/helpers/disk" "$(flusher_of "$file")" fail 5 >"$calls.told" 2>&1 3>&- &
    tracer_pid=$!
    wait_until test -s "$calls.told"
    grep -q attached "$calls.told" || skip "the flusher cannot be traced: $(cat "$calls.told")"
}

# It is in the middle of one: of a tracee that stops there /proc says which system
# call it is.
syncs() {
    local call number=75
    [[ $(uname -m) = x86_64 ]] || number=83
    read -r call _ <"/proc/$flusher/syscall"
    [[ $call = "$number" ]]
}

syncs_done() {
    grep -c "^fdatasync.* = " "$calls" 2>/dev/null || [[ -e $calls ]] || echo 0
}

has_done() {
    [[ $(syncs_done) = "$1" ]]
}
export -f syncs syncs_done has_done release

up=(negotiate start expect-map backing=file mem-table-with-map)

@test "a FLUSH of a file is answered when the disk has what was written, and not before" {
    start_files
    hold_disk
    run -0 vuctl "${up[@]}" region-write 0x1000 c0ffee submit kick \
        run 'wait_until syncs' expect-idle run release expect-used run 'has_done 1' stop
    run -0 xxd -s 0x1000 -l 3 -p "$file"
    assert_output c0ffee
}

@test "a FLUSH is one fdatasync of the file, and only of that" {
    start_files
    with_disk delay_enter=1
    run -0 vuctl "${up[@]}" flush flush flush stop
    assert_equal "$(syncs_done)" 3
    run -0 vuctl on o socket="$socket.other" "${up[@]}" flush stop
    assert_equal "$(syncs_done)" 3
}

@test "during a slow fdatasync requests of the front-end are answered, and GET_VRING_BASE puts the FLUSH back" {
    start_files
    hold_disk
    run -0 vuctl "${up[@]}" submit kick run 'wait_until syncs' get-features get-config \
        stop base=0 run 'syncs' start kept=yes map=none kick run release expect-used stop base=1
}

@test "during a slow fdatasync other requests of the same ring wait their turn" {
    start_files
    hold_disk
    # Of IN_ORDER vuctl checks that nothing is used out of turn.
    run -0 vuctl "${up[@]}" submit run 'has_done 0' kick run 'wait_until syncs' \
        submit type=77 kick expect-idle run release expect-used ret=any stop
}

@test "a slow fdatasync holds no VM up that has another region" {
    start_files
    hold_disk
    run -0 vuctl on o socket="$socket.other" "${up[@]}" flush on a "${up[@]}" submit kick \
        run 'wait_until syncs' on o flush count=3 flush run 'syncs && has_done 0' stop \
        on a run release expect-used
}

@test "all that flush during one slow fdatasync are served by one more" {
    start_files
    hold_disk
    local steps=() fe
    for fe in b c d e; do steps+=(on "$fe" "${up[@]}"); done
    steps+=(on a "${up[@]}" submit kick run 'wait_until syncs')
    for fe in b c d e; do steps+=(on "$fe" submit count=2 kick expect-idle); done
    steps+=(run 'syncs && has_done 0' run release)
    for fe in a b c d e; do steps+=(on "$fe" expect-used stop); done
    run -0 vuctl "${steps[@]}"
    assert_equal "$(syncs_done)" 2
}

@test "EIO reaches the guest, and every front-end of the region from then on" {
    start_files
    fail_disk
    run -0 vuctl on b socket="$socket.e" "${up[@]}" on o socket="$socket.other" "${up[@]}" \
        on a socket="$socket" "${up[@]}" flush ret=error flush ret=error \
        on b flush ret=error stop on o flush stop
    run -0 vuctl "${up[@]}" flush ret=error stop
    assert_log 'error: region r: fdatasync: Input/output error: '
    status_is 'region("r")["sync_error"]' 'Input/output error'
    status_is 'region("other")["sync_error"]' None
    run -0 grep -c 'fdatasync: Input/output error' "$log"
    assert_output 1
}

@test "status counts flushes, those that failed, and their time" {
    start_files
    # The least that it takes; 20 s are as good as no time that was counted.
    with_disk delay_enter=100000
    run -0 vuctl "${up[@]}" flush flush run 'python3 - "$(status_of "conn(1)")" <<"EOF"
import ast, sys
c = ast.literal_eval(sys.argv[1])
assert c["flushes"] == 2 and c["flush_errors"] == 0, c
assert 100e6 <= c["flush_mean_ns"] <= c["flush_max_ns"] < 20e9, c
EOF' stop
}

@test "max-flushes limits what one connection has done in a second" {
    start_files "" "max-flushes = 10"
    with_disk delay_enter=1
    local burst=() i
    for ((i = 0; i < 30; i++)); do burst+=(flush); done
    local begin=${EPOCHREALTIME/[.,]/}
    run -0 vuctl "${up[@]}" "${burst[@]}" stop
    local took=$((${EPOCHREALTIME/[.,]/} - begin)) all
    all=$(syncs_done)
    # A second's worth at once, then one each 100 ms, or later on a busy machine.
    ((took >= 1700000)) || fail "30 took $took us"
    ((all == 30)) || fail "$all calls"
}

@test "who waits for its turn by max-flushes holds up nobody else" {
    start_files "" "max-flushes = 1"
    local burst=() i
    for ((i = 0; i < 10; i++)); do burst+=(flush); done
    # Those of a take 20 s. When b is done, a is not, however long b has taken but that.
    run -0 vuctl on a "${up[@]}" on b socket="$socket.e" "${up[@]}" \
        on a flush flush submit count=20 kick on b "${burst[@]}" stop \
        run '(($(status_of "conn(1)[\"flushes\"]") < 22))' on a hang-up
}

@test "a flusher that is killed: FLUSH fails, one line says so, and others go on" {
    start_files
    local flusher
    flusher=$(flusher_of "$file")
    export flusher
    run -0 vuctl on o socket="$socket.other" "${up[@]}" on a socket="$socket" "${up[@]}" flush \
        run 'kill -KILL $flusher; wait_until has_ended $flusher' flush ret=error flush ret=error stop \
        on o flush stop
    # Those that come later, too; and no worker is lost by it.
    run -0 vuctl "${up[@]}" flush ret=error stop on o socket="$socket.other" "${up[@]}" flush stop
    local i steps=()
    for i in {1..20}; do steps+=(connect "${up[@]}" flush ret=error stop); done
    run -0 vuctl "${steps[@]}"
    run -0 grep -c 'region r: its flusher has ended' "$log"
    assert_output 1
    refute_log 'killed by|turned away|not handed over'
    status_is 'region("r")["sync_error"]' 'Input/output error'
}

@test "a flusher that is killed in the middle of a FLUSH: an error is the answer" {
    start_files
    hold_disk
    run -0 vuctl "${up[@]}" submit kick run 'wait_until syncs; kill -KILL $flusher' expect-used ret=error stop
}

@test "with sync = none a FLUSH is answered at once, and there is no flusher" {
    start_files "sync = none"
    assert_equal "$(flusher_of "$file")" ""
    run -0 vuctl "${up[@]}" flush count=5 stop
}

@test "a file that nobody can write to has no flusher" {
    start_with_config <<EOF
region r { file = $file access = read-only }
device d { socket = $socket front-end = crosvm shm 0 { region = r } }
EOF
    assert_equal "$(flusher_of "$file")" ""
    run -0 vuctl negotiate start expect-map access=read-only backing=file flush stop
}

@test "front-ends that leave in the middle of a FLUSH leave nothing behind in the flusher" {
    start_files
    local flusher before i steps=()
    flusher=$(flusher_of "$file")
    run -0 vuctl "${up[@]}" flush stop
    wait_until status_is 's["connections"]' '[]'
    before=$(fds_of "$flusher")
    hold_disk
    for ((i = 0; i < 10; i++)); do steps+=(on "f$i" "${up[@]}" submit kick); done
    run -0 vuctl "${steps[@]}" on f0 run 'wait_until syncs' hang-up on f1 hang-up
    wait_until status_is 's["connections"]' '[]'
    release
    wait_until bash -c "[[ \$(fds_of $flusher) = $before ]]"
    run -0 vuctl "${up[@]}" flush stop
}

@test "the flusher ends with the daemon, also while it syncs" {
    start_files
    hold_disk
    run -0 vuctl "${up[@]}" submit kick run 'wait_until syncs' hang-up
    stop_daemon
    release
    wait_until has_ended "$flusher"
}
