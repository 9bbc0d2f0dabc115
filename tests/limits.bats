#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# Front-ends that connect or crash their workers too often wait, and nobody
# else does; what the log says of forbidden system calls and of users.

# What helpers/common.bash sets or reads:
# shellcheck disable=SC2154,SC2034,SC2016

load helpers/common

bad_worker=$top_builddir/tests/helpers/bad-worker

# The daemon, open to every user, whose workers do what one byte says:
# hexadecimal 76 is a crash, 71 a good end, 69 and 73 are forbidden calls.
start_bad_daemon() {
    [[ -x $bad_worker ]] || fail "there is no $bad_worker: make check builds it"
    private_dir=${private_dir:-$(mktemp -d "${TMPDIR:-/tmp}/vhost-shmemd.XXXXXX")}
    chmod 755 "$private_dir"
    socket=$private_dir/socket
    SHMEMD_WORKER=$bad_worker
    start_daemon "$@"
    chmod 666 "$socket"
    wait_until log_has 'filter loaded'
}

# crowd CRASHES CONNECTIONS UID...: they are there until end_crowd.
crowd() {
    local said=$BATS_TEST_TMPDIR/crowd
    rm -f "$said"
    "$top_srcdir/tests/helpers/crowd" "$socket" "$log" "$@" >"$said" 2>&1 3>&- &
    crowd_pid=$!
    wait_until grep -qs . "$said"
    run cat "$said"
    assert_output ready
}

end_crowd() {
    kill "$crowd_pid"
    wait "$crowd_pid" || true
    crowd_pid=
}

teardown() {
    if [[ -n ${crowd_pid:-} ]]; then
        end_crowd
    fi
    common_teardown
}

fds_are() {
    [[ $(fds_of "$daemon_pid") = "$1" ]]
}

crash=(raw 76 expect-close)

# crashed N: connection N has.
crashed() {
    echo "wait_until log_has 'conn $1: worker [0-9]+ killed by SIGSEGV'"
}

# --- crashes ----------------------------------------------------------------------

@test "a front-end whose worker crashes once is not held back" {
    require_no_sanitizer
    start_bad_daemon
    run -0 vuctl "${crash[@]}" run "$(crashed 1)" connect raw 71 expect-close
    assert_log 'conn 2: front-end left'
    refute_log 'held back'
}

@test "a front-end whose workers crash again and again is held back, and no other waits for it" {
    require_no_sanitizer
    start_bad_daemon
    # After the fourth crash it waits for 4 s, and meanwhile another is served.
    export VUCTL="$top_srcdir/tests/vuctl"
    run -0 vuctl "${crash[@]}" run "$(crashed 1)" \
        connect "${crash[@]}" run "$(crashed 2)" \
        connect "${crash[@]}" run "$(crashed 3)" \
        connect "${crash[@]}" run "$(crashed 4)" \
        connect run 'wait_until log_has "held back for 4 s"' \
        run '"$VUCTL" --socket "$socket" raw 71 expect-close' \
        raw 71 expect-close
    pid=$(sed -n 's/.*conn 1: front-end connected: pid \([0-9]*\),.*/\1/p' "$log")
    assert_log "warn: front-end pid $pid, uid $EUID: its last 2 workers crashed: held back for 1 s\$"
    assert_log "warn: front-end pid $pid, uid $EUID: its last 3 workers crashed: held back for 2 s\$"
    assert_log "warn: front-end pid $pid, uid $EUID: its last 4 workers crashed: held back for 4 s\$"
    assert_equal "$(grep -c 'held back' "$log")" 3
    assert_log "conn 6: front-end connected: pid $pid,"
    refute_log "conn 5: front-end connected: pid $pid,"
}

@test "a worker that fails or lies counts as one that crashed" {
    start_bad_daemon
    run -0 vuctl raw 78 expect-close run "wait_until log_has 'conn 1: worker [0-9]+ failed'" \
        connect raw 6d expect-close run "wait_until log_has 'conn 2: worker [0-9]+ killed by SIGKILL'" \
        connect raw 71 expect-close
    assert_log 'its last 2 workers crashed: held back for 1 s'
}

@test "front-ends that break the protocol are not held back" {
    start_daemon
    run -0 vuctl send id=77 expect-close connect send id=77 expect-close \
        connect send id=77 expect-close connect get-features
    refute_log 'held back'
}

# --- who waits --------------------------------------------------------------------

@test "of one process 8 connections wait, and those beyond are hung up on at once" {
    require_no_sanitizer
    start_bad_daemon
    require_proc_fd "$daemon_pid"
    wait_until has_workers 1
    before=$(fds_of "$daemon_pid")
    # After eight crashes they wait for 32 s.
    crowd 8 12 "$EUID"
    wait_until fds_are $((before + 8))
    assert_equal "$(grep -c ', uid .*: turned away: ' "$log")" 1
    # One of another process is served.
    run -0 vuctl raw 71 expect-close
    wait_until fds_are $((before + 8))
}

@test "of one user 16 connections wait, and 64 in all" {
    require_root
    require_no_sanitizer
    start_bad_daemon
    require_proc_fd "$daemon_pid"
    wait_until has_workers 1
    before=$(fds_of "$daemon_pid")
    crowd 8 6 1001 1001 1001 1001
    wait_until fds_are $((before + 16))
    end_crowd
    wait_until fds_are "$before"
    : >"$log"
    crowd 8 8 1002 1002 1003 1003 1004 1004 1005 1005 1006 1006
    wait_until fds_are $((before + 64))
    run -0 vuctl raw 71 expect-close
    wait_until fds_are $((before + 64))
}

@test "a front-end that hangs up while it waits costs no worker, and leaves nothing" {
    require_no_sanitizer
    start_bad_daemon
    require_proc_fd "$daemon_pid"
    wait_until has_workers 1
    before=$(fds_of "$daemon_pid")
    # After eight crashes it waits for 32 s: its turn does not come.
    crowd 8 3 "$EUID"
    wait_until fds_are $((before + 3))
    end_crowd
    wait_until -t 20 fds_are "$before"
    assert_equal "$(grep -c 'hung up while it was held back' "$log")" 3
    refute_log 'conn 9'
}

# --- many connections ---------------------------------------------------------------

connected() {
    grep -c "front-end connected: .*, uid $1;" "$log"
}

@test "a user who connects without end gets 128 workers and then 32 a second, and no other user waits" {
    require_root
    start_bad_daemon
    start=${EPOCHREALTIME/[.,]/}
    crowd 0 200 1001 1001 1001 1001
    assert_log 'front-end pid [0-9]+, uid 1001: turned away: '
    steps=(raw 71 expect-close)
    for _ in {1..20}; do
        steps+=(connect raw 71 expect-close)
    done
    run -0 vuctl "${steps[@]}"
    most=$((128 + 16 + 33 * (${EPOCHREALTIME/[.,]/} - start) / 1000000 + 1))
    got=$(connected 1001)
    ((got >= 128 && got <= most)) || fail "$got workers, of at most $most"
    assert_equal "$(connected 0)" 21
    refute_log 'uid 0: .*(held back|turned away)'
    assert_equal "$(grep -c 'warn: .*uid 1001: its user connects too often: held back' "$log")" 1
}

@test "a front-end that connects again and again is slowed down, not refused" {
    start_daemon --log-level=info
    steps=(get-features)
    for _ in {1..180}; do
        steps+=(connect get-features)
    done
    run -0 vuctl "${steps[@]}"
    assert_equal "$(connected "$EUID")" 181
    refute_log 'turned away'
}

@test "what a front-end sends and nobody receives makes no other front-end wait" {
    require_root
    bad_worker=$SHMEMD_WORKER # a good one: the end of a worker would end the wait
    start_bad_daemon
    local said=$BATS_TEST_TMPDIR/said
    "$top_srcdir/tests/helpers/lingerers" "$socket" "$log" 1001 >"$said" 2>&1 3>&- &
    crowd_pid=$!
    assert_log 'uid 1001: hung up while it was held back'
    run -0 vuctl up flush connect up flush
    run -0 cat "$said"
    assert_output ready
}

# --- forbidden system calls ---------------------------------------------------------

# has_record PID SECOND: the kernel has written a record of this process since.
has_record() {
    dmesg | awk -v pid=" pid=$1 " -v since="$2" '
        /type=1326 / && index($0, pid) && match($0, /audit\([0-9]+/) &&
            substr($0, RSTART + 6, RLENGTH - 6) + 0 >= since { found = 1 }
        END { exit !found }'
}

# The kernel writes few audit records a second, for all processes together, and
# other tests may use them up for a while.
# names BYTE CALL: the log names CALL when a worker makes it.
names() {
    local try since
    for try in {1..40}; do
        since=$(date +%s)
        run -0 vuctl raw "$1" expect-close
        assert_log "conn $try: worker [0-9]+ killed by SIGSYS"
        # Where there is no record, it need not be waited for long.
        if wait_until -t 1 log_has "conn $try: worker .*: the forbidden system call was" ||
            has_record "$(worker_of "$try")" "$since"; then
            assert_log "error: conn $try: worker [0-9]+: the forbidden system call was $2 \([a-z0-9_]+\)\$"
            return
        fi
    done
    skip "the kernel writes no audit record now"
}

# read_kmsg: skip unless the kernel's log can be read.
read_kmsg() {
    { : </dev/kmsg; } 2>/dev/null || skip "/dev/kmsg cannot be read"
    is_sanitized && skip "the filter of instrumented builds is wider"
    sigsys_expected=yes
}

@test "the log names the system call that a worker was killed for" {
    read_kmsg
    start_bad_daemon
    names 69 ioctl
}

@test "the log gives the number of a system call that does not exist" {
    read_kmsg
    start_bad_daemon
    names 6e 'number 4000'
}

@test "a SIGSYS that somebody has sent is not taken for a forbidden call" {
    read_kmsg
    # As the first process of a PID namespace a worker would not die of it.
    daemon_prefix=(without_namespaces pid)
    start_bad_daemon
    # Also if that comes at the same time.
    run -0 vuctl on a run 'wait_until log_has "conn 1: .*connected"' on b \
        run 'wait_until log_has "conn 2: .*connected"; kill -s SYS $(worker_of 1)' raw 69 expect-close on a expect-close
    assert_log 'conn 1: worker [0-9]+ killed by SIGSYS'
    assert_log 'conn 2: worker [0-9]+ killed by SIGSYS'
    stop_daemon
    refute_log 'conn 1: .*the forbidden system call'
}

@test "without the kernel's log all is the same but the name" {
    sigsys_expected=yes
    is_sanitized && skip "the filter of instrumented builds is wider"
    as_ordinary_user
    [[ ! -r /dev/kmsg || $(</proc/sys/kernel/dmesg_restrict) = 1 ]] || skip "every user may read /dev/kmsg"
    start_daemon
    assert_log 'debug: /dev/kmsg: Operation not permitted: forbidden system calls will not be named'
    run -0 vuctl up flush
}

# --- users --------------------------------------------------------------------------

@test "a front-end of the workers' user is warned of, once" {
    require_root
    start_bad_daemon --user=daemon
    crowd 0 1 1001
    end_crowd
    refute_log 'and so do'
    crowd 0 2 "$(id -u daemon)" "$(id -u daemon)"
    assert_log 'conn 3: front-end connected'
    assert_log "warn: front-end pid [0-9]+ runs as uid $(id -u daemon), and so do the workers: .*--user"
    assert_equal "$(grep -c 'and so do' "$log")" 1
}

@test "a front-end of the user who has started the daemon is warned of" {
    as_ordinary_user
    start_daemon
    chmod 666 "$socket"
    if ((EUID == 0)); then
        crowd 0 1 65534
    else
        crowd 0 1 "$EUID"
    fi
    assert_log 'conn 1: front-end connected'
    assert_log 'warn: front-end pid [0-9]+ runs as uid [0-9]+, and so do vhost-shmemd and its workers: .* start it as root'
}
