#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Starting and ending, sockets, regions, front-ends coming and going, workers dying.

# shellcheck disable=SC2154 # socket, log, daemon_pid and stderr come from helpers and bats
# shellcheck disable=SC2016 # commands in single quotes are for the shell that vuctl starts

load helpers/common

bind_socket() {
    python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$1"
}

# --- the end --------------------------------------------------------------------

@test "SIGTERM ends the daemon with 0 within 2 s" {
    start_daemon
    stop_daemon TERM
}

@test "SIGINT ends the daemon with 0 within 2 s" {
    start_daemon
    stop_daemon INT
}

@test "SIGTERM ends the daemon and its workers while a guest runs" {
    start_daemon
    run -0 vuctl up run 'kill -TERM $daemon_pid && ends_in_time $daemon_pid' expect-close
    expect_daemon_end 0
}

@test "SIGINT ends the daemon and its workers while three guests run" {
    start_daemon
    run -0 vuctl on a up on b up on c up \
        run 'kill -INT $daemon_pid && ends_in_time $daemon_pid' \
        on a expect-close on b expect-close on c expect-close
    expect_daemon_end 0
}

@test "the socket is gone when the daemon has ended" {
    start_daemon
    stop_daemon
    assert [ ! -e "$socket" ]
}

@test "a socket that somebody else has put in its place stays" {
    start_daemon
    rm "$socket"
    bind_socket "$socket"
    stop_daemon
    assert [ -S "$socket" ]
}

@test "a file that somebody has put in the socket's place stays" {
    start_daemon
    rm "$socket"
    echo precious >"$socket"
    stop_daemon
    run -0 cat "$socket"
    assert_output precious
}

# --- the socket -------------------------------------------------------------------

@test "a stale socket file is replaced" {
    bind_socket "$socket"
    start_daemon
    run -0 vuctl negotiate
}

@test "a socket that somebody answers on is refused by its name and left alone" {
    start_daemon
    run -1 --separate-stderr timeout "$VUCTL_TIMEOUT" "$SHMEMD" --worker="$SHMEMD_WORKER" \
        --socket-path="$socket" --region shmid=0,size=4M
    [[ $stderr == *"$socket"* ]] || fail "the path is not named: $stderr"
    run -0 vuctl negotiate
}

@test "a socket of another service is refused and left alone" {
    python3 -c '
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
sys.stdin.read()' "$socket" < <(exec sleep 100) 3>&- &
    other=$!
    wait_until test -S "$socket"
    run -1 timeout "$VUCTL_TIMEOUT" "$SHMEMD" --worker="$SHMEMD_WORKER" \
        --socket-path="$socket" --region shmid=0,size=4M
    kill "$other"
    assert_output --partial "$socket"
    assert [ -S "$socket" ]
}

@test "a file that is no socket is not replaced" {
    echo precious >"$socket"
    run -1 timeout "$VUCTL_TIMEOUT" "$SHMEMD" --worker="$SHMEMD_WORKER" \
        --socket-path="$socket" --region shmid=0,size=4M
    assert_output --partial "$socket"
    run -0 cat "$socket"
    assert_output precious
}

@test "a symbolic link is not followed to replace what it points to" {
    bind_socket "$BATS_TEST_TMPDIR/elsewhere"
    ln -s "$BATS_TEST_TMPDIR/elsewhere" "$socket"
    run timeout "$VUCTL_TIMEOUT" "$SHMEMD" --worker="$SHMEMD_WORKER" \
        --socket-path="$socket" --region shmid=0,size=4M
    assert_equal "$status" 1
    assert [ -S "$BATS_TEST_TMPDIR/elsewhere" ]
}

# --- an inherited socket -----------------------------------------------------------

# The daemon as vuctl's step "spawn" starts it.
spawned() {
    echo "exec '$SHMEMD' --worker='$SHMEMD_WORKER' --region shmid=0,size=4M --fd=\$FD $*"
}

@test "--fd takes a connected socket, and the daemon ends with 0 at hang-up" {
    run -0 vuctl spawn "$(spawned)" up flush stop hang-up expect-exit 0
}

@test "--fd takes a listening socket, and goes on listening when a front-end leaves" {
    run -0 vuctl spawn "$(spawned)" kind=listening up flush hang-up connect up flush \
        run 'kill -TERM $SPAWNED_PID' expect-exit 0
}

@test "a listening socket that was inherited is not unlinked" {
    run -0 vuctl spawn "$(spawned)" kind=listening negotiate \
        run 'kill -TERM $SPAWNED_PID' expect-exit 0
    assert [ -S "$socket" ]
}

@test "--fd with a listening socket and --once ends with 0 after one front-end" {
    run -0 vuctl spawn "$(spawned --once)" kind=listening up hang-up expect-exit 0
}

@test "SIGTERM ends a daemon with a connected --fd with 0" {
    run -0 vuctl spawn "$(spawned)" up run 'kill -TERM $SPAWNED_PID' expect-exit 0 expect-close
}

@test "--fd refuses a pipe" {
    run -0 vuctl spawn "$(spawned)" kind=pipe expect-exit 1
    assert_output --partial fd
}

@test "--fd refuses a datagram socket" {
    run -0 vuctl spawn "$(spawned)" kind=datagram expect-exit 1
    assert_output --partial fd
}

@test "--fd refuses a TCP socket" {
    run -0 vuctl spawn "$(spawned)" kind=tcp expect-exit 1
    assert_output --partial fd
}

@test "--fd refuses a number that is not open" {
    run -0 vuctl spawn "$(spawned)" kind=closed expect-exit 1
    assert_output --partial fd
}

# --- front-ends come and go -------------------------------------------------------------

@test "the daemon goes on listening when a front-end leaves" {
    start_daemon
    run -0 vuctl up flush stop hang-up connect up flush stop hang-up connect up flush
}

@test "with --once the daemon ends with 0 when its front-end has left" {
    start_daemon --once
    run -0 vuctl up flush stop
    expect_daemon_end 0
    assert [ ! -e "$socket" ]
}

@test "a front-end that says nothing holds nobody up" {
    start_daemon
    run -0 vuctl on silent on a up flush on silent up
}

@test "three front-ends at once share the bytes" {
    start_daemon
    run -0 vuctl on a up on b up on c up \
        region-write 0x1000 0ddba110 on a region-read 0x1000 0ddba110 region-write 0x1ffff8 c0ffee \
        on b region-read 0x1ffff8 c0ffee region-read 0x1000 0ddba110 on c region-read 0x1ffff8 c0ffee
}

@test "each front-end has a worker of its own" {
    start_daemon
    run -0 vuctl on a negotiate on b negotiate on c negotiate \
        run 'printf "%s\n" $(worker_of 1) $(worker_of 2) $(worker_of 3) | sort -u | wc -l'
    assert_output 3
}

@test "beside the workers that serve, one is kept ready" {
    start_daemon
    run -0 vuctl run 'wait_until has_workers 1' on a negotiate run 'wait_until has_workers 2' \
        on b negotiate run 'wait_until has_workers 3' on a hang-up on b run 'wait_until has_workers 2'
}

@test "the content of a region survives front-ends coming and going" {
    start_daemon
    run -0 vuctl up region-write 0 0123456789abcdef stop
    run -0 vuctl up region-read 0 0123456789abcdef
}

@test "a hundred connects leave no descriptor and no zombie in the supervisor" {
    start_daemon
    require_proc_fd "$daemon_pid"
    run -0 vuctl negotiate
    wait_until has_workers 1
    before=$(fds_of "$daemon_pid")
    steps=()
    for _ in {1..100}; do
        steps+=(connect get-features)
    done
    run -0 vuctl "${steps[@]}"
    wait_until has_workers 1
    assert_equal "$(fds_of "$daemon_pid")" "$before"
}

# --- workers die -------------------------------------------------------------------

start_without_pid_namespaces() {
    # shellcheck disable=SC2034 # start_daemon reads it
    daemon_prefix=(without_namespaces pid)
    start_daemon
}

# A worker that dies by a signal costs its connection and no other; the log
# names the signal; the next connection works. As the first process of a PID
# namespace it would only die by SIGKILL and by what it does itself.
survives() {
    start_without_pid_namespaces
    run -0 vuctl on other up on a up \
        run "kill -s $1 \$(worker_of 2)" expect-close \
        connect up flush on other flush
    assert_log "SIG$1|[Ss]ignal $(kill -l "$1")\b"
}

@test "signals from outside do not reach a worker, but for SIGKILL and SIGSTOP" {
    start_daemon
    # A sanitizer catches what would be a crash.
    is_sanitized || crashes='SEGV BUS'
    export crashes
    run -0 vuctl up run 'for s in TERM INT HUP ABRT SYS QUIT USR1 $crashes; do
            kill -s $s $(worker_of 1)
        done' flush run 'kill -s KILL $(worker_of 1)' expect-close
    assert_log 'SIGKILL'
}

@test "a worker killed by SIGKILL costs only its connection" {
    survives KILL
}

@test "a worker killed by SIGSEGV costs only its connection" {
    require_no_sanitizer
    survives SEGV
}

@test "signals that end a service reach no worker, in no PID namespace either" {
    start_without_pid_namespaces
    run -0 vuctl up run 'for s in TERM INT HUP; do
            kill -s $s $(worker_of 1)
        done' flush stop
}

@test "a worker killed by SIGBUS costs only its connection" {
    require_no_sanitizer
    survives BUS
}

@test "a worker killed by SIGABRT costs only its connection" {
    survives ABRT
}

@test "a worker killed by SIGSYS costs only its connection" {
    # shellcheck disable=SC2034 # teardown reads it
    sigsys_expected=yes
    survives SYS
}

@test "a worker that is stopped holds nobody else up, and the daemon still ends in time" {
    start_daemon
    run -0 vuctl on a up run 'kill -STOP $(worker_of 1)' on b up flush
    stop_daemon
}

@test "a supervisor that is killed costs no connection, and its workers end with their front-ends" {
    start_daemon
    workers=$BATS_TEST_TMPDIR/workers
    run -0 vuctl up run "worker_pids >$workers; kill -KILL \$daemon_pid; wait_until has_ended \$daemon_pid" \
        flush stop start expect-map flush
    # shellcheck disable=SC2046 # a list
    wait_until have_ended $(<"$workers")
    expect_daemon_end 137
}

# is_replaced PID: another worker is there, and not this one.
is_replaced() {
    local now
    now=$(worker_pids)
    [[ -n $now && $now != "$1" ]]
}

@test "a spare that ends is replaced after a pause, and no front-end waits for that" {
    start_daemon
    local spare begin
    wait_until has_workers 1
    spare=$(worker_pids)
    begin=${EPOCHREALTIME/[.,]/}
    kill -s KILL "$spare"
    wait_until is_replaced "$spare"
    ((${EPOCHREALTIME/[.,]/} - begin > 900000)) || fail "it was replaced at once"
    kill -s KILL "$(worker_pids)"
    run -0 vuctl up flush stop
    wait_until has_workers 1
}

@test "with --once a worker that dies makes the daemon end with 1" {
    start_daemon --once
    run -0 vuctl up run 'kill -KILL $(worker_of 1)' expect-close
    expect_daemon_end 1
}

# --- regions ------------------------------------------------------------------------

@test "an image arrives in the region, and zeros that take up no memory follow" {
    head -c 1234567 /dev/urandom >"$BATS_TEST_TMPDIR/image"
    start_daemon --region "shmid=0,size=64M,image=$BATS_TEST_TMPDIR/image"
    run -0 vuctl negotiate start expect-map size=64M region-blocks 3M
    run -0 vuctl up region-is "$BATS_TEST_TMPDIR/image"
}

@test "an image is not changed by what guests write" {
    head -c 1M /dev/urandom >"$BATS_TEST_TMPDIR/image"
    cp "$BATS_TEST_TMPDIR/image" "$BATS_TEST_TMPDIR/copy"
    start_daemon --region "shmid=0,size=4M,image=$BATS_TEST_TMPDIR/image"
    run -0 vuctl up region-write 0 00112233445566778899 flush stop
    cmp "$BATS_TEST_TMPDIR/image" "$BATS_TEST_TMPDIR/copy"
}

@test "a sparse image stays sparse" {
    truncate -s 60M "$BATS_TEST_TMPDIR/image"
    printf 'end' | dd of="$BATS_TEST_TMPDIR/image" bs=1 seek=50M conv=notrunc status=none
    start_daemon --region "shmid=0,size=64M,image=$BATS_TEST_TMPDIR/image"
    run -0 vuctl negotiate start expect-map region-blocks 4M region-read 50M 656e64
}

@test "without a size the region is as large as its image, rounded up" {
    truncate -s 5000000 "$BATS_TEST_TMPDIR/image"
    start_daemon --region "shmid=0,image=$BATS_TEST_TMPDIR/image"
    run -0 vuctl negotiate get-shmem-config regions=1 size=8M start expect-map size=8M
}

@test "an image of exactly the region's size is fine" {
    head -c 2M /dev/urandom >"$BATS_TEST_TMPDIR/image"
    start_daemon --region "shmid=0,size=2M,image=$BATS_TEST_TMPDIR/image"
    run -0 vuctl up region-is "$BATS_TEST_TMPDIR/image"
}

@test "the memfd has its name, mode 0600 and the seals SHRINK, GROW and SEAL" {
    start_daemon --region shmid=0,size=4M,name=frames
    run -0 vuctl negotiate start expect-map name=frames
}

@test "the memfd cannot be made executable" {
    start_daemon
    require_proc_fd "$daemon_pid"
    fd=$(find "/proc/$daemon_pid/fd" -lname '/memfd:vhost-shmemd:*' -print -quit)
    run -0 python3 -c '
import os, sys
before = os.stat(sys.argv[1]).st_mode
try:
    os.chmod(sys.argv[1], 0o700)
except PermissionError:
    pass
print(oct(os.stat(sys.argv[1]).st_mode & 0o777))' "$fd"
    if [[ $output = 0o700 ]]; then
        skip "this kernel has no MFD_NOEXEC_SEAL"
    fi
    assert_output 0o600
}

@test "the region can be seen in /proc by its name" {
    start_daemon --region shmid=0,size=4M,name=frames
    require_proc_fd "$daemon_pid"
    run -0 find "/proc/$daemon_pid/fd" -lname '/memfd:vhost-shmemd:frames*'
    assert_output --partial /proc/
}

@test "a new region reads as zeros" {
    start_daemon
    run -0 vuctl up region-is /dev/null
}

# --- who is who ---------------------------------------------------------------------

@test "started as root, the worker is another user" {
    require_root
    start_daemon
    run -0 vuctl up run 'grep -E "^(Uid|Gid|Groups):" /proc/$(worker_of 1)/status'
    refute_output --regexp '^[UG]id:.*[[:space:]]0([[:space:]]|$)'
    assert_output --regexp 'Groups:[[:space:]]*$'
}

@test "started as root, --user says which user the worker is" {
    require_root
    start_daemon --user=daemon
    run -0 vuctl up run 'grep -E "^Uid:" /proc/$(worker_of 1)/status'
    assert_output --regexp "^Uid:[[:space:]]$(id -u daemon)[[:space:]]"
}

@test "started as an ordinary user, everything works" {
    as_ordinary_user
    start_daemon
    run -0 vuctl up get-config region-write 0 c0ffee flush stop start expect-map region-read 0 c0ffee
}

@test "started as an ordinary user, the worker is the same user" {
    as_ordinary_user
    start_daemon
    run -0 vuctl up run 'test "$(grep ^Uid /proc/$(worker_of 1)/status)" = "$(grep ^Uid /proc/$daemon_pid/status)"'
}

@test "the log says as which user workers run" {
    start_daemon
    run -0 vuctl negotiate
    if ((EUID == 0)); then
        assert_log 'user|uid'
    else
        assert_log 'root|same user|user'
    fi
}

@test "an option that needs root is refused to an ordinary user" {
    as_ordinary_user
    run -1 timeout "$VUCTL_TIMEOUT" "${daemon_prefix[@]}" "$SHMEMD" --worker="$SHMEMD_WORKER" \
        --socket-path="$socket" --region shmid=0,size=4M --user=daemon
    assert_output --partial user
}

@test "what a worker has said before it ended is in the log, all of it" {
    start_daemon
    # While the supervisor stands still, the worker says 70 lines and ends.
    run -0 vuctl negotiate start expect-map run 'kill -STOP $daemon_pid' \
        flush count=30 flush count=30 flush count=10 hang-up \
        run 'until grep -q "^State:.Z" /proc/$(worker_of 1)/status; do sleep 0.02; done; kill -CONT $daemon_pid'
    assert_log 'conn 1: front-end left'
    run -0 grep -c FLUSH "$log"
    assert_output 70
}
