#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The system calls that a request costs, seen from outside by strace.

load helpers/common

setup_traced() {
    require_tool strace
    trace=$BATS_TEST_TMPDIR/trace
    export trace
    export -f trace_on trace_off
    start_daemon --log-level=info
    # shellcheck disable=SC2016 # for the shell that vuctl starts
    vuctl negotiate run 'trace_on $(worker_of 1) && trace_off' >/dev/null 2>&1 ||
        skip "workers cannot be traced: root or ptrace of the same user is needed"
}

# trace_on PID: from now on the system calls of PID are recorded.
trace_on() {
    echo "$1" >"$trace.worker"
    strace -o "$trace" -e trace=recvmsg,sendmsg,read,preadv2,write,ioctl,fcntl,mmap,munmap,brk -p "$1" 2>/dev/null &
    echo $! >"$trace.pid"
    wait_until is_traced "$1"
}

is_traced() {
    grep -qs '^TracerPid:[[:space:]][1-9]' "/proc/$1/status"
}

# It waits for the next event, and so strace has written down what it did
# before: a reply can be here before its sendmsg has returned.
is_idle() {
    local stat
    read -r stat <"/proc/$1/stat" && [[ ${stat##*) } = S* ]]
}
export -f is_traced is_idle

# trace_off: and no longer; what was recorded is complete.
trace_off() {
    local pid
    wait_until is_idle "$(<"$trace.worker")"
    pid=$(<"$trace.pid")
    kill -s TERM "$pid"
    wait_until has_ended "$pid"
}

# Between trace_on and trace_off, these steps, on the second connection: the
# first was setup_traced's.
traced() {
    # shellcheck disable=SC2016
    run -0 vuctl "${before[@]}" run 'trace_on $(worker_of 2)' "$@" run trace_off "${after[@]}"
}

calls() {
    grep -c "^$1(" "$trace" || true
}

@test "a request that arrives whole costs one recvmsg, and its reply one sendmsg" {
    setup_traced
    before=(negotiate) after=()
    traced get-shmem-config get-shmem-config get-config get-features get-protocol-features
    assert_equal "$(calls recvmsg)" 5
    assert_equal "$(calls sendmsg)" 5
    assert_equal "$(grep -c EAGAIN "$trace" || true)" 0
}

@test "a reply goes out whole, in one sendmsg of header and payload" {
    setup_traced
    before=(negotiate) after=()
    traced get-shmem-config
    run -0 grep '^sendmsg(' "$trace"
    assert_output --regexp '= 2068$'
}

@test "an acknowledged request with descriptors costs one recvmsg and one sendmsg" {
    setup_traced
    before=(negotiate) after=()
    traced mem-table
    assert_equal "$(calls recvmsg)" 1
    assert_equal "$(calls sendmsg)" 1
}

@test "SHMEM_MAP is one sendmsg with its descriptor, and comes before the acknowledgement" {
    setup_traced
    before=(negotiate set-features mem-table set-vring) after=()
    traced enable map=before-ack expect-map answer=no
    run -0 grep '^sendmsg(' "$trace"
    assert_equal "${#lines[@]}" 2
    assert_line --index 0 --regexp 'SCM_RIGHTS.*= 52$'
    assert_line --index 1 --regexp '= 20$'
    # Nothing lies unread that would have to be looked after.
    assert_equal "$(calls ioctl)" 0
}

@test "a FLUSH costs one read of the kick and one write of the call" {
    setup_traced
    before=(up flush) after=()
    traced flush flush flush
    assert_equal "$(calls preadv2)" 3
    assert_equal "$(calls read)" 0
    assert_equal "$(calls write)" 3
    assert_equal "$(calls recvmsg)" 0
    assert_equal "$(calls sendmsg)" 0
}

@test "serving requests takes no memory from the system" {
    setup_traced
    before=(up flush) after=()
    traced flush count=10 get-config get-shmem-config flush layout=indirect
    assert_equal "$(calls mmap)" 0
    assert_equal "$(calls brk)" 0
}
