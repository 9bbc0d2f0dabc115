#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The flusher of a region that is a file: what it can do, and what becomes of
# those who wait for it when it ends.
# shellcheck disable=SC2154,SC2034 # daemon_pid and daemon_prefix are of helpers
# shellcheck disable=SC2016 # commands in single quotes are for the shell that vuctl starts

load helpers/common

# The daemon's region is a file.
start_with_file() {
    file=${private_dir:-$BATS_TEST_TMPDIR}/region
    truncate -s 4M "$file"
    ((EUID != 0)) || [[ -z ${private_dir:-} ]] || chown 65534:65534 "$file"
    start_daemon --region="shmid=0,file=$file,size=4M,name=test"
}

flusher_pid() {
    pgrep -P "$(pgrep -P "$daemon_pid" shmemd-builder)" shmemd-flusher
}
export -f flusher_pid

flusher_has_fds() {
    [[ $(fds_of "$(flusher_pid)") = "$1" ]]
}
export -f flusher_has_fds

@test "a region that is a file has a flusher, and one that is memory has none" {
    start_with_file
    run -0 flusher_pid
    stop_daemon
    start_daemon
    run -1 flusher_pid
}

@test "a flusher has a filter, gains no privileges, and has no capability in any set" {
    start_with_file
    run -0 cat "/proc/$(flusher_pid)/status"
    assert_line --regexp '^Seccomp:[[:space:]]2$'
    assert_line --regexp '^NoNewPrivs:[[:space:]]1$'
    assert_line --regexp '^Threads:[[:space:]]1$'
    local set
    for set in Inh Prm Eff Amb; do
        assert_line --regexp "^Cap$set:[[:space:]]0+\$"
    done
    ((EUID != 0)) || assert_line --regexp '^CapBnd:[[:space:]]0+$'
}

@test "a flusher of root is nobody's user and in no group" {
    require_root
    start_with_file
    run -0 grep -E '^(Uid|Gid|Groups):' "/proc/$(flusher_pid)/status"
    refute_line --regexp '^[UG]id:.*[[:space:]]0([[:space:]]|$)'
    assert_line --regexp '^Groups:[[:space:]]*$'
}

@test "a flusher of an ordinary user is confined all the same, and cannot be traced by its user" {
    as_ordinary_user
    start_with_file
    run -0 cat "/proc/$(flusher_pid)/status"
    assert_line --regexp '^Seccomp:[[:space:]]2$'
    assert_line --regexp '^CapEff:[[:space:]]0+$'
    # what cannot be dumped belongs to root
    assert_equal "$(stat -c %u "/proc/$(flusher_pid)/mem")" 0
    run -0 vuctl up backing=file flush stop
}

@test "a flusher may make no process and dump no core, and stands in the root" {
    start_with_file
    require_proc_fd "$(flusher_pid)"
    run -0 cat "/proc/$(flusher_pid)/limits"
    assert_line --regexp '^Max processes +0 '
    assert_line --regexp '^Max core file size +0 '
    run -0 readlink "/proc/$(flusher_pid)/cwd"
    assert_output /
}

@test "a flusher holds its file, its channel and a socket for each worker, and drops those that are gone" {
    start_with_file
    require_proc_fd "$(flusher_pid)"
    local alone
    alone=$(fds_of "$(flusher_pid)")
    run -0 readlink "/proc/$(flusher_pid)/fd/4"
    assert_output "$file"
    run -0 vuctl on a up backing=file flush on b up backing=file flush run "wait_until flusher_has_fds $((alone + 2))"
    wait_until flusher_has_fds "$alone"
}

@test "a FLUSH is answered when the file has been synced" {
    require_tool strace
    start_with_file
    trace=$BATS_TEST_TMPDIR/trace
    strace -o "$trace" -e trace=fdatasync -p "$(flusher_pid)" 2>"$trace.told" 3>&- &
    local strace=$!
    wait_until test -s "$trace.told"
    grep -q attached "$trace.told" || skip 'the flusher cannot be traced'
    run -0 vuctl up backing=file flush flush flush
    kill "$strace"
    wait "$strace" || true
    run -0 grep -c '^fdatasync(4) *= 0$' "$trace"
    assert_output 3
}

@test "when a flusher is killed FLUSH fails, for new front-ends too, and nothing else does" {
    start_with_file
    run -0 vuctl on a up backing=file flush \
        run 'kill -s KILL "$(flusher_pid)"; wait_until log_has "region test: its flusher has ended"' \
        flush ret=error get-config flush ret=error \
        on b up backing=file flush ret=error get-config on a stop on b stop
    assert_log 'conn 1: the flusher of its region has ended: no FLUSH succeeds'
    assert_log 'conn 2: the flusher of its region has ended: no FLUSH succeeds'
    refute_log 'killed by SIGKILL'
    stop_daemon
}

@test "a flusher ends with the supervisor" {
    start_with_file
    local flusher
    flusher=$(flusher_pid)
    run -0 vuctl up backing=file flush stop
    stop_daemon
    wait_until has_ended "$flusher"
}
