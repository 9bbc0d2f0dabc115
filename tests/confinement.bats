#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# What a worker can still do, read from /proc while it serves a front-end.
# shellcheck disable=SC2154,SC2034,SC2030,SC2031 # daemon_pid, log and daemon_prefix are of helpers
# shellcheck disable=SC2016 # commands in single quotes are for the shell that vuctl starts

load helpers/common

# in_worker COMMAND: run it while a worker serves a started device; $worker is
# its number.
in_worker() {
    start_daemon
    run -0 vuctl up flush run 'worker=$(worker_of 1); '"$1" flush
}

@test "a worker has a seccomp filter" {
    in_worker 'grep "^Seccomp:" /proc/$worker/status'
    assert_output --regexp '^Seccomp:[[:space:]]2$'
}

@test "the log says that the filter is loaded, before the front-end is served" {
    start_daemon
    run -0 vuctl get-features
    assert_log 'filter loaded'
}

@test "a worker cannot gain privileges" {
    in_worker 'grep "^NoNewPrivs:" /proc/$worker/status'
    assert_output --regexp '^NoNewPrivs:[[:space:]]1$'
}

@test "a worker has no capability in any set" {
    in_worker 'grep "^Cap" /proc/$worker/status'
    if ((EUID != 0)); then
        # Taking something out of the bounding set takes a capability.
        output=$(grep -v CapBnd <<<"$output")
    else
        assert_line --regexp '^CapBnd:[[:space:]]0+$'
    fi
    for set in Inh Prm Eff Amb; do
        assert_line --regexp "^Cap$set:[[:space:]]0+\$"
    done
}

@test "a worker of root is nobody's user and in no group" {
    require_root
    in_worker 'grep -E "^(Uid|Gid|Groups):" /proc/$worker/status'
    refute_line --regexp '^[UG]id:.*[[:space:]]0([[:space:]]|$)'
    assert_line --regexp '^Groups:[[:space:]]*$'
}

@test "a worker is alone in its session" {
    in_worker 'read -r _ _ _ _ group session _ </proc/$worker/stat; echo $((group == worker)) $((session == worker))'
    assert_output '1 1'
}

@test "a worker has one thread" {
    in_worker 'grep "^Threads:" /proc/$worker/status'
    assert_output --regexp '^Threads:[[:space:]]1$'
}

@test "a worker may make no process and dump no core" {
    in_worker 'cat /proc/$worker/limits'
    # The soft limit: no call to change it passes the filter.
    assert_line --regexp '^Max processes +0 '
    assert_line --regexp '^Max core file size +0 '
}

@test "a worker has a limit on its descriptors" {
    in_worker 'cat /proc/$worker/limits'
    refute_line --regexp '^Max open files .*unlimited'
}

@test "a worker holds no descriptor that it does not need" {
    start_daemon
    require_worker_fd
    run vuctl up flush run 'find /proc/$(worker_of 1)/fd -type l -printf "%l\n"'
    assert_success
    refute_line --regexp '^/memfd:vuctl'
    # libevent has a pipe to itself, for signals
    while read -r target; do
        if [[ $target = "$log" ]] && is_sanitized; then
            continue # where the sanitizer reports to
        fi
        [[ $target =~ ^(/dev/null|(socket|pipe):\[[0-9]+\]|anon_inode:\[event(poll|fd)\]|/memfd:vhost-shmemd:test \(deleted\))$ ]] ||
            fail "it holds $target"
    done <<<"$output"
    run -0 grep -c pipe <<<"$output"
    assert_output 2
}

@test "a worker holds at most three sockets: front-end, channel and supervisor" {
    start_daemon
    require_worker_fd
    run -0 vuctl on a up on b up on c up run 'find /proc/$(worker_of 3)/fd -lname "socket:*" | wc -l'
    assert [ "$output" -le 3 ]
}

@test "a worker has an empty environment" {
    SECRET=hunter2
    export SECRET
    start_daemon
    require_worker_fd
    run -0 vuctl up run 'wc -c </proc/$(worker_of 1)/environ'
    assert_output 0
}

@test "a worker stands in no directory of the host's but the root" {
    start_daemon
    require_worker_fd
    run -0 vuctl up run 'readlink /proc/$(worker_of 1)/cwd'
    assert_output /
}

@test "a worker cannot be traced by its user" {
    as_ordinary_user
    start_daemon
    # what cannot be dumped belongs to root
    run -0 vuctl up run 'stat -c %u /proc/$(worker_of 1)/mem'
    assert_output 0
}

@test "a worker of an ordinary user is confined all the same" {
    as_ordinary_user
    start_daemon
    run -0 vuctl up flush run 'cat /proc/$(worker_of 1)/status' flush
    assert_line --regexp '^Seccomp:[[:space:]]2$'
    assert_line --regexp '^NoNewPrivs:[[:space:]]1$'
    assert_line --regexp '^CapEff:[[:space:]]0+$'
    assert_line --regexp '^CapPrm:[[:space:]]0+$'
}

@test "the supervisor does not contain the code that parses front-ends" {
    require_tool nm
    nm "$SHMEMD" >"$BATS_TEST_TMPDIR/symbols" 2>/dev/null || skip "nm cannot read $SHMEMD"
    [[ -s $BATS_TEST_TMPDIR/symbols ]] || skip "$SHMEMD has no symbols"
    run -1 grep -E ' [TtDdRrBb] vus_' "$BATS_TEST_TMPDIR/symbols"
    run -0 grep -cE ' [Tt] main$' "$BATS_TEST_TMPDIR/symbols"
}

@test "the worker cannot be told to do without its filter" {
    run "$SHMEMD" --help
    refute_output --regexp 'no-(seccomp|sandbox)|disable'
    run -1 "$SHMEMD" --sandbox=off --socket-path="$socket" --region=shmid=0,size=4M
    assert_output --regexp "--sandbox: 'off' is neither auto nor strict"
    start_daemon
    run -0 vuctl up flush
    assert_log 'filter loaded'
}

# --- what the host has to permit ---------------------------------------------------

# The layers are all there on a host like the one that these tests are for.
@test "the log says that all layers of the sandbox are there" {
    start_daemon --sandbox=strict
    assert_log 'filter loaded .*, all layers$'
    run -0 vuctl up flush stop
}

@test "a worker is in namespaces of its own" {
    in_worker 'for ns in pid net ipc uts cgroup mnt user; do
            [ "$(readlink /proc/$worker/ns/$ns)" = "$(readlink /proc/self/ns/$ns)" ] || echo $ns
        done'
    assert_output $'pid\nnet\nipc\nuts\ncgroup\nmnt\nuser'
}

@test "a worker is the only process that it can name, and nobody has a name in its user namespace" {
    in_worker 'grep -E "^NSpid:" /proc/$worker/status; wc -l </proc/$worker/uid_map; wc -l </proc/$worker/gid_map'
    assert_line --index 0 --regexp '^NSpid:[[:space:]][0-9]+[[:space:]]1$'
    assert_line --index 1 0
    assert_line --index 2 0
}

@test "a worker has an empty root, and no other mount" {
    is_sanitized && skip 'sanitizers read /proc'
    in_worker 'ls -A /proc/$worker/root/ | wc -l; wc -l </proc/$worker/mountinfo'
    assert_output $'0\n1'
}

@test "a worker has no network but a loopback that is down" {
    in_worker 'tail -n +3 /proc/$worker/net/dev | cut -d: -f1; cat /proc/$worker/net/fib_trie'
    assert_output --regexp '^ *lo$'
}

@test "where namespaces are forbidden workers serve without, and the log names what is missing" {
    daemon_prefix=(without_namespaces 'user pid net ipc uts cgroup mnt')
    start_daemon
    assert_log 'filter loaded .*, without: PID namespace, network namespace, IPC namespace, UTS namespace, cgroup namespace, empty root, user namespace$'
    run -0 vuctl up flush stop
}

@test "where namespaces are forbidden --sandbox=strict does not start" {
    run -1 --separate-stderr without_namespaces 'user pid net ipc uts cgroup mnt' "$SHMEMD" --sandbox=strict \
        --socket-path="$socket" --region=shmid=0,size=4M --worker="$SHMEMD_WORKER"
    assert_regex "$stderr" 'sandbox: PID namespace: Operation not permitted'
    assert [ ! -e "$socket" ]
}

@test "a worker of an ordinary user has the same layers, where the host permits" {
    as_ordinary_user
    start_daemon --sandbox=strict
    assert_log 'filter loaded .*, all layers$'
    run -0 vuctl up flush stop
}

# --- supervisor and spawner -------------------------------------------------------

# The five capability sets of a process, each as 16 hexadecimal digits.
caps_of() {
    sed -nE 's/^Cap(Inh|Prm|Eff|Bnd|Amb):[[:space:]]//p' "/proc/$1/status"
}

spawner_pid() {
    pgrep -P "$daemon_pid" shmemd-spawner
}

@test "the supervisor keeps the capability to end workers, and no other" {
    require_root
    start_daemon
    run -0 caps_of "$daemon_pid"
    # inheritable, permitted, effective, bounding, ambient: CAP_KILL is 5
    assert_output $'0000000000000000\n0000000000000020\n0000000000000020\n0000000000000020\n0000000000000000'
    vuctl up flush run 'kill -s STOP $(worker_of 1)'
    stop_daemon # which ends a worker that does nothing more
}

@test "the supervisor of an ordinary user has no capability" {
    as_ordinary_user
    start_daemon
    run -0 caps_of "$daemon_pid"
    assert_equal "${lines[1]}${lines[2]}${lines[4]}" "$(printf '0%.0s' {1..48})"
}

@test "supervisor and spawner have filters, gain no privileges, and cannot be traced by their user" {
    as_ordinary_user
    start_daemon
    local pid
    for pid in "$daemon_pid" "$(spawner_pid)"; do
        run -0 cat "/proc/$pid/status"
        assert_line --regexp '^Seccomp:[[:space:]]2$'
        assert_line --regexp '^NoNewPrivs:[[:space:]]1$'
        # what cannot be dumped belongs to root
        assert_equal "$(stat -c %u "/proc/$pid/mem")" 0
    done
}

@test "the spawner keeps what a worker's set-up needs: namespaces, ids and the bounding set" {
    require_root
    start_daemon
    run -0 caps_of "$(spawner_pid)"
    # SETGID 6, SETUID 7, SETPCAP 8, SYS_ADMIN 21
    assert_equal "${lines[1]} ${lines[3]}" '00000000002001c0 00000000002001c0'
}

@test "the spawner of an ordinary user has its capabilities in a user namespace of its own" {
    as_ordinary_user
    start_daemon
    run -0 caps_of "$(spawner_pid)"
    assert_equal "${lines[1]} ${lines[3]}" '0000000000200100 0000000000200100'
    [[ $(readlink "/proc/$(spawner_pid)/ns/user") != $(readlink /proc/self/ns/user) ]]
}

@test "the spawner holds the worker's program and one socket, and no region" {
    start_daemon
    require_proc_fd "$(spawner_pid)"
    run -0 find "/proc/$(spawner_pid)/fd" -type l -printf '%f %l\n'
    if is_sanitized; then # where the sanitizer reports to
        # shellcheck disable=SC2001 # one of several lines
        output=$(grep -v '^2 ' <<<"$output" && echo '2 /dev/null')
    fi
    output=$(sort -n <<<"$output" | sed -E 's/\[[0-9]+\]//')
    assert_output $'0 /dev/null\n1 /dev/null\n2 /dev/null\n4 '"$(realpath "$SHMEMD_WORKER")"$'\n5 socket:'
}

@test "a socket in a directory of others goes at the end" {
    require_root
    mkdir -m 700 "$BATS_TEST_TMPDIR/theirs"
    chown nobody "$BATS_TEST_TMPDIR/theirs"
    socket=$BATS_TEST_TMPDIR/theirs/socket
    start_daemon
    run -0 vuctl up flush stop
    stop_daemon
    assert [ ! -e "$socket" ]
    refute_warnings
}

# --- builder --------------------------------------------------------------------------

builder_pid() {
    pgrep -P "$daemon_pid" shmemd-builder
}

@test "the builder keeps what files and sockets of others take, and no other capability" {
    require_root
    start_daemon
    run -0 caps_of "$(builder_pid)"
    # CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, SETGID 6, SETUID 7, SETPCAP 8, IPC_LOCK 14
    assert_equal "${lines[0]} ${lines[1]} ${lines[2]} ${lines[3]} ${lines[4]}" \
        '0000000000000000 00000000000041cb 00000000000041cb 00000000000041cb 0000000000000000'
}

@test "the builder gains no privileges, and cannot be traced by its user" {
    as_ordinary_user
    start_daemon
    run -0 cat "/proc/$(builder_pid)/status"
    assert_line --regexp '^NoNewPrivs:[[:space:]]1$'
    assert_line --regexp '^CapEff:[[:space:]]0+$'
    assert_equal "$(stat -c %u "/proc/$(builder_pid)/mem")" 0
}

@test "Ctrl-C ends the supervisor, and the builder with it, after its sockets" {
    start_daemon
    local builder
    builder=$(builder_pid)
    kill -s INT "$builder" "$daemon_pid"
    expect_daemon_end 0
    assert has_ended "$builder"
    assert [ ! -e "$socket" ]
}

@test "without its builder the supervisor serves who is there, lets nobody in, and ends with an error" {
    start_daemon
    run -0 vuctl up flush run 'kill -s KILL $(pgrep -P $daemon_pid shmemd-builder); wait_until log_has "builder was ended"' flush stop
    expect_daemon_end 1
    assert_log 'the builder was ended from outside: no front-end is let in any more'
    # Nobody was left to remove it; the next start takes its place.
    assert [ -S "$socket" ]
    start_daemon
    run -0 vuctl up flush stop
}

@test "without its builder the supervisor ends at once if nobody is there" {
    start_daemon
    kill -s KILL "$(builder_pid)"
    expect_daemon_end 1
}

@test "a builder that is stopped keeps nobody waiting" {
    start_daemon
    kill -s STOP "$(builder_pid)"
    run -0 vuctl on a up flush on b up flush on a stop on b stop
    kill -s CONT "$(builder_pid)"
}

# --- the end --------------------------------------------------------------------------

@test "when memory runs out a worker goes before the supervisor" {
    start_daemon
    run -0 vuctl up run 'cat /proc/$(worker_of 1)/oom_score_adj'
    assert_output "$(($(<"/proc/$daemon_pid/oom_score_adj") + 1))"
}

@test "Ctrl-C ends the supervisor, and the spawner with it" {
    start_daemon
    local spawner
    spawner=$(spawner_pid)
    kill -s INT "$spawner" "$daemon_pid"
    expect_daemon_end 0
    wait_until has_ended "$spawner"
}

@test "without its spawner the supervisor serves who is there, lets nobody in, and ends with an error" {
    start_daemon
    run -0 vuctl up flush run 'kill -s KILL $(pgrep -P $daemon_pid shmemd-spawner); wait_until log_has "spawner was ended"' flush stop
    expect_daemon_end 1
    assert_log 'the spawner was ended from outside: no front-end is let in any more'
    assert [ ! -e "$socket" ]
}

@test "a spawner that is stopped does not stop front-ends that are served, and goes on in order" {
    start_daemon
    # The worker that is ordered for c is given up after a second, and made later:
    # what the log says of the next has to be true of it.
    run -0 vuctl on a up flush \
        run 'kill -s STOP $(pgrep -P $daemon_pid shmemd-spawner)' \
        on b up flush on a flush stop on b stop \
        run 'wait_until log_has "no worker can be started"; kill -s CONT $(pgrep -P $daemon_pid shmemd-spawner)' \
        on c up flush run 'ls -l /proc/$(worker_of 3)/fd | grep -c socket:; kill -s KILL $(worker_of 3)' expect-close
    assert_output 3
}

@test "the filters are as small as they say" {
    run -0 "$SHMEMD" --print-seccomp
    is_sanitized && return 0
    local line
    while read -r line; do
        echo "# $line" >&3
    done < <(grep ' calls allowed by ' <<<"$output")
    # each line has its caller and its reason
    refute_line --regexp '^[a-z0-9_]+\(.*\)( *:| [^:]*:) *$'
    [[ $(uname -m) = x86_64 ]] || return 0 # tests/seccomp.bats has bounds for all
    assert_line --regexp '^supervisor: 26 calls allowed by 32 rules, 19 of them with argument rules; 2 rules for an error; all else kills$'
    assert_line --regexp '^flusher: 17 calls allowed by 18 rules, 9 of them with argument rules; 2 rules for an error; all else kills$'
    # The second: with musl, which writes and takes memory by other calls.
    assert_line --regexp '^worker: (22 calls allowed by 25 rules, 15 of them with argument rules; 4|24 calls allowed by 28 rules, 17 of them with argument rules; 2) rules for an error; all else kills$'
}

# --- descriptors ------------------------------------------------------------------

# documented PROCESS: what the manual's table says that it holds while one worker
# serves and one is ready: "NUMBER KIND", a line each.
documented() {
    local kmsg=0
    { : </dev/kmsg; } 2>/dev/null && kmsg=1
    awk -F ' Ta ' -v process="$1" -v kmsg="$kmsg" '
        /^\.\\" BEGIN: descriptors/ { on = 1 }
        /^\.\\" END: descriptors/ { on = 0 }
        on && $1 == ".It " process {
            split($2, count, " per ")
            sub(/^Pa /, "", $3)
            if ($2 == "at times" || ($3 == "/dev/kmsg" && !kmsg)) next
            if (count[2] == "worker") count[1] *= 2
            sum[$3] += count[1]
        }
        END { for (kind in sum) print sum[kind], kind }' \
        "$top_srcdir/man/vhost-shmemd-security.7" | sort
}
export -f documented

# held PID: what a process holds, in the same words.
held() {
    find "/proc/$1/fd" -type l -printf '%f %l\n' | sed -E '
        s#^[0-9]+ /memfd:.*#memfd#
        s#^[0-9]+ anon_inode:\[eventpoll\]#epoll#
        s#^[0-9]+ anon_inode:\[(.*)\]#\1#
        s#^[0-9]+ (socket|pipe):.*#\1#
        s#^[0-9]+ /.*/vhost-shmemd-worker$#program#
        s#^[0-9]+ (/dev/(null|kmsg))$#\1#
        s#^[0-2] .*#standard#' | sort | uniq -c | sed -E 's/^ +//' | sort
}
export -f held

# Without what bats has open for itself.
alone() {
    local fd
    for fd in "/proc/$BASHPID/fd"/*; do
        fd=${fd##*/}
        ((fd <= 2)) || eval "exec $fd>&-"
    done
    exec "$@" </proc/version
}

@test "each process holds the descriptors of the documented table and no other" {
    is_sanitized && skip 'sanitizers report to one of their own'
    daemon_prefix=(alone)
    start_daemon --front-end=rust-vmm
    require_worker_fd
    run -0 vuctl negotiate start memory=slots expect-map add-mem-reg region=1 add-mem-reg region=2 flush \
        run 'wait_until has_workers 2; wait_until log_has "worker $(worker_pids | tail -n 1): confined"
            for name in supervisor spawner builder worker; do
                case $name in
                supervisor) pid=$daemon_pid ;;
                spawner | builder) pid=$(pgrep -P $daemon_pid shmemd-$name) ;;
                worker) pid=$(worker_of 1) ;;
                esac
                diff <(documented $name) <(held $pid) || echo "$name holds other descriptors than the manual says"
            done' flush
    assert_output ''
}
