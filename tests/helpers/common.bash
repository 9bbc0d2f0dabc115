# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# What every bats file here starts with: "load helpers/common".
#
# SHMEMD and SHMEMD_WORKER are the programs (default: those of the build tree,
# top_builddir); VUCTL_TIMEOUT, in seconds, is how long anything can take. Tests wait
# for something to happen, and go on as soon as it has: so the deadline is far more
# than any of it needs, on a busy machine or in an instrumented build too, and only
# a test that fails takes that long.
#
# A test has a socket ($socket) and a log ($log) of its own. start_daemon sets
# daemon_pid; teardown stops what still runs and looks at what is left.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

top_srcdir=$(cd "${top_srcdir:-$BATS_TEST_DIRNAME/..}" && pwd)
top_builddir=$(cd "${top_builddir:-$top_srcdir}" && pwd)
SHMEMD=${SHMEMD:-$top_builddir/vhost-shmemd}
SHMEMD_WORKER=${SHMEMD_WORKER:-$top_builddir/vhost-shmemd-worker}
VUCTL_TIMEOUT=${VUCTL_TIMEOUT:-30}
export top_srcdir top_builddir SHMEMD SHMEMD_WORKER VUCTL_TIMEOUT

setup() {
    common_setup
}

# For files that have a setup of their own.
common_setup() {
    socket=$BATS_TEST_TMPDIR/socket
    log=$BATS_TEST_TMPDIR/log
    daemon_pid=
    daemon_prefix=()
    conf=$BATS_TEST_TMPDIR/conf
    control=$BATS_TEST_TMPDIR/control
    sigsys_expected=no
    export socket log daemon_pid conf control
    [[ -x $SHMEMD ]] || fail "there is no $SHMEMD: build it, or set top_builddir or SHMEMD"
}

teardown() {
    common_teardown
}

# For files that have a teardown of their own.
common_teardown() {
    local problem=
    if [[ -n ${daemon_pid:-} ]]; then
        stop_daemon TERM || problem+="the daemon did not end as it should; "
    fi
    if [[ -n ${private_dir:-} ]]; then
        rm -rf "$private_dir"
    fi
    [[ -e $log ]] || return 0
    echo "--- the daemon's log"
    cat "$log"
    if grep -qE '(Address|Leak|Thread|Memory)Sanitizer|runtime error:' "$log"; then
        problem+="a sanitizer complains; "
    fi
    if [[ $sigsys_expected = no ]] && grep -qE 'SIGSYS|Bad system call' "$log"; then
        problem+="a process was killed by its seccomp filter; "
    fi
    if grep -q ': front-end connected: ' "$log" && ! grep -q 'seccomp filter loaded' "$log"; then
        problem+="a front-end was served, and no line says that a filter was loaded; "
    fi
    [[ -z $problem ]] || fail "$problem"
}

# --- waiting ------------------------------------------------------------------

# wait_until [-t SECONDS] CMD...: CMD succeeds before the deadline. Another one than
# all have is for what has to be over by then, or is only looked for.
wait_until() {
    local seconds=$VUCTL_TIMEOUT now end
    if [[ $1 = -t ]]; then
        seconds=$2
        shift 2
    fi
    now=${EPOCHREALTIME/[.,]/}
    end=$((now + seconds * 1000000))
    until "$@"; do
        now=${EPOCHREALTIME/[.,]/}
        if ((now > end)); then
            echo "not within $seconds s: $*" >&2
            return 1
        fi
        sleep 0.02
    done
}

# A process has ended, whether or not it has been waited for.
has_ended() {
    local pid=$1 stat
    { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || return 0
    stat=${stat##*) }
    [[ ${stat:0:1} = [ZX] ]]
}

# is_busy PID...: one of these, or a process below it, does something, or waits for
# a CPU or a disk.
is_busy() {
    local pid stat below=()
    for pid; do
        { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || continue
        stat=${stat##*) }
        [[ ${stat:0:1} != [RD] ]] || return 0
        { read -r -a below <"/proc/$pid/task/$pid/children"; } 2>/dev/null || :
        ! is_busy "${below[@]}" || return 0
    done
    return 1
}

# ends_in_time PID: it ends within the 2 s that are promised, which are a hundred
# looks with pauses of 20 ms. Those at which it is busy do not count: somebody else
# may have the CPU. So a daemon that waits for something is too late on any machine,
# and one that never stops working after VUCTL_TIMEOUT.
ends_in_time() {
    local looks=0 end=$((${EPOCHREALTIME/[.,]/} + VUCTL_TIMEOUT * 1000000))
    until has_ended "$1"; do
        is_busy "$1" || looks=$((looks + 1))
        ((looks < 100 && ${EPOCHREALTIME/[.,]/} < end)) || return 1
        sleep 0.02
    done
}

have_ended() {
    local pid
    for pid; do
        has_ended "$pid" || return 1
    done
}

log_has() {
    grep -qE -- "$1" "$log"
}

# assert_log REGEX: such a line comes into the log.
assert_log() {
    wait_until log_has "$1" || fail "the log has no line like this: $1"
}

refute_log() {
    if log_has "$1"; then
        fail "the log has a line like this: $1"
    fi
}

# The warnings and errors in the log, but for the one that front-ends have the
# user of the workers, which they do where an ordinary user runs these tests; and
# that lines were lost: workers log each FLUSH here, and lose some of these lines
# when the machine is too busy for the supervisor to read them in time.
warnings() {
    grep -E '^vhost-shmemd: (warn|error): ' "$log" |
        grep -vE 'runs as uid [0-9]+, and so do|: [0-9]+ lines were lost here$'
}

refute_warnings() {
    run warnings
    assert_output ""
}

# --- the daemon -----------------------------------------------------------------

# start_daemon ARG...: start it and wait until it listens. Without a --region
# among the arguments it gets one of 4 MiB, and without --log-level it says all.
start_daemon() {
    local arg all=("--socket-path=$socket" "--worker=$SHMEMD_WORKER") region=no level=no
    for arg; do
        case $arg in
        --region | --region=*) region=yes ;;
        --log-level | --log-level=*) level=yes ;;
        esac
    done
    [[ $region = yes ]] || all+=('--region=shmid=0,size=4M,name=test')
    [[ $level = yes ]] || all+=(--log-level=debug)
    : >>"$log"
    "${daemon_prefix[@]}" "$SHMEMD" "${all[@]}" "$@" >>"$log" 2>&1 3>&- &
    daemon_pid=$!
    wait_until is_ready || fail "the daemon does not listen"
    if has_ended "$daemon_pid"; then
        fail "the daemon has ended instead of listening"
    fi
}

# It listens, or has ended. (__SO_ACCEPTCON is the flag of a socket that listens.)
is_ready() {
    has_ended "$daemon_pid" || grep -q " 00010000 .* $socket\$" /proc/net/unix
}

# write_config: standard input becomes the configuration, $conf; the control
# socket is $control.
write_config() {
    { echo "control-socket = $control" && cat; } >"$conf.new"
    chmod 0644 "$conf.new"
    mv "$conf.new" "$conf"
}

# start_with_config ARG...: start the daemon with what stands on standard input,
# and wait until all of it is served.
start_with_config() {
    write_config
    : >>"$log"
    "${daemon_prefix[@]}" "$SHMEMD" --worker="$SHMEMD_WORKER" --config="$conf" \
        --log-level=debug "$@" >>"$log" 2>&1 3>&- &
    daemon_pid=$!
    wait_until serves_config || fail "nothing is served"
    if has_ended "$daemon_pid"; then
        fail "the daemon has ended instead of serving"
    fi
}

serves_config() {
    has_ended "$daemon_pid" || ctl status >/dev/null 2>&1
}

# ctl COMMAND ARG...: vhost-shmemctl to this daemon.
ctl() {
    "$top_builddir/vhost-shmemctl" "$1" --control="$control" "${@:2}"
}

# status_of EXPRESSION: a Python expression about the daemon's status, "s"; "region",
# "device" and "conn" find one in it by its name or number.
status_of() {
    ctl status --json | python3 -c '
import json, sys
s = json.load(sys.stdin)
def find(what, key, value, retired):
    return next(x for x in s[what] if x[key] == value and x.get("retired", False) == retired)
def region(name, retired=False): return find("regions", "name", name, retired)
def device(name, retired=False): return find("devices", "name", name, retired)
def conn(number): return find("connections", "id", number, False)
print(eval(sys.argv[1]))' "$1"
}

# status_is EXPRESSION VALUE
status_is() {
    [[ $(status_of "$1") = "$2" ]]
}

# reload_with: standard input becomes the configuration, and is served.
reload_with() {
    write_config
    ctl reload
}

builder_pid() {
    pgrep -P "$daemon_pid" -x shmemd-builder
}

# flusher_of FILE: the process that does fdatasync for it.
flusher_of() {
    local pid
    for pid in $(pgrep -P "$(builder_pid)" -x shmemd-flusher); do
        if [[ $(readlink "/proc/$pid/fd/4") = "$1" ]]; then
            echo "$pid"
        fi
    done
}

# stop_daemon [SIGNAL]: it ends within 2 s with status 0, and its workers too.
# shellcheck disable=SC2120 # the argument may be left out
stop_daemon() {
    local signal=${1:-TERM} workers
    workers=$(worker_pids)
    kill -s "$signal" "$daemon_pid" 2>/dev/null || true
    # shellcheck disable=SC2086 # a list
    expect_daemon_end 0 && wait_until have_ended $workers
}

# expect_daemon_end STATUS: it ends within 2 s, with this status.
expect_daemon_end() {
    local pid=$daemon_pid status=0
    daemon_pid=
    if ! ends_in_time "$pid"; then
        kill -s KILL "$pid"
        wait "$pid" || true
        fail "the daemon did not end within 2 s"
    fi
    wait "$pid" || status=$?
    ((status == $1)) || fail "the daemon ended with $status, not $1"
}

# worker_of N: the process that serves connection N, as the log says.
worker_of() {
    wait_until log_has "conn $1: .*worker [0-9]+\$" || return 1
    sed -nE "s/.*: conn $1: .*worker ([0-9]+)\$/\1/p" "$log" | tail -n 1
}

# The daemon's workers: those that serve, and one that is kept ready. (Its other
# children are the spawner and the builder.) Not by a loop over /proc: bats has a
# trap for each command of a test, which made this most of what a test took.
worker_pids() {
    [[ -n $daemon_pid ]] || return 0
    { pgrep -l -P "$daemon_pid" || true; } | sed -n '/ shmemd-/!s/ .*//p' | sort -n
}

has_workers() {
    [[ $(worker_pids | wc -l) = "$1" ]]
}

# fds_of PID: how many descriptors it has open.
fds_of() {
    local fds
    fds=$(ls "/proc/$1/fd") && wc -w <<<"$fds"
}

# refuses REGEX ARG...: the daemon says why on stderr, ends with 1, and makes
# no socket. The region comes from default_region unless ARG has another.
refuses() {
    local regex=$1 all=("--worker=$SHMEMD_WORKER") arg region=no place=no
    shift
    for arg; do
        case $arg in
        --region | --region=* | --no-region) region=yes ;;
        --socket-path | --socket-path=* | --fd | --fd=*) place=yes ;;
        esac
    done
    [[ $region = yes ]] || all+=('--region=shmid=0,size=4M')
    [[ $place = yes ]] || all+=("--socket-path=$socket")
    for arg; do
        [[ $arg = --no-region ]] || all+=("$arg")
    done
    run -1 --separate-stderr timeout "$VUCTL_TIMEOUT" "$SHMEMD" "${all[@]}"
    assert_output ""
    # shellcheck disable=SC2154 # stderr is set by run
    [[ $stderr =~ $regex ]] || fail "stderr is: $stderr; it should match: $regex"
    [[ ! -e $socket ]] || fail "$socket is there"
}

vuctl() {
    "$top_srcdir/tests/vuctl" --socket "$socket" "$@"
}

# The same by another user: vuctl_as UID STEP...
vuctl_as() {
    as "$1" "$top_srcdir/tests/vuctl" --socket "$socket" "${@:2}"
}

# For the commands that vuctl's step "run" plays.
export -f wait_until has_ended have_ended is_busy ends_in_time worker_of worker_pids has_workers log_has fds_of
export -f ctl status_of status_is write_config reload_with builder_pid flusher_of

# without_namespaces 'KIND...' CMD...: on a host that forbids namespaces of these
# kinds: what is above the limit of a user namespace cannot be made in any below.
# Of user namespaces there is one more, in which CMD is an ordinary user.
without_namespaces() {
    # shellcheck disable=SC2016 # for the shell that unshare starts
    exec unshare --user --map-root-user bash -c '
        for kind in $1; do
            limit=0
            [[ $kind != user ]] || limit=1
            echo $limit >/proc/sys/user/max_${kind}_namespaces
        done
        shift
        exec unshare --user --map-user=1000 --map-group=1000 "$@"' bash "$@"
}

# --- what a test needs ------------------------------------------------------------

require_root() {
    ((EUID == 0)) || skip "only root can do this"
}

# A sanitizer catches SIGSEGV and SIGBUS to report them; a killed worker is
# then not what it looks like.
require_no_sanitizer() {
    if is_sanitized; then
        skip "the sanitizer catches this signal"
    fi
}

is_sanitized() {
    grep -q __asan_init "$SHMEMD_WORKER"
}

require_tool() {
    command -v "$1" >/dev/null || skip "$1 is not installed"
}

# require_proc_fd PID: /proc/PID/fd can be read.
require_proc_fd() {
    ls "/proc/$1/fd" >/dev/null 2>&1 || skip "/proc/$1/fd cannot be read"
}

# The same for a worker: it cannot be traced by its user, so that takes root.
require_worker_fd() {
    ls "/proc/$(worker_pids | head -n 1)/fd" >/dev/null 2>&1 ||
        skip "/proc/PID/fd of a worker cannot be read without CAP_SYS_PTRACE"
}

# for_all_users: files of $private_dir, where $socket is from now on, can be
# reached by every user, as far as their modes let them.
for_all_users() {
    require_root
    require_tool setpriv
    private_dir=$(mktemp -d "${TMPDIR:-/tmp}/vhost-shmemd.XXXXXX")
    chmod 0711 "$private_dir"
    socket=$private_dir/socket
}

# as UID CMD...: CMD runs as this user, whose group has the same number.
as() {
    local uid=$1
    shift
    setpriv --reuid="$uid" --regid="$uid" --clear-groups "$@"
}

# as_ordinary_user: the daemon will run as one, whoever runs the tests. Root
# becomes nobody, with copies of the programs where nobody can reach them.
as_ordinary_user() {
    ((EUID == 0)) || return 0
    require_tool setpriv
    private_dir=$(mktemp -d "${TMPDIR:-/tmp}/vhost-shmemd.XXXXXX")
    cp "$SHMEMD" "$SHMEMD_WORKER" "$private_dir"
    SHMEMD=$private_dir/${SHMEMD##*/}
    SHMEMD_WORKER=$private_dir/${SHMEMD_WORKER##*/}
    socket=$private_dir/socket
    chown -R 65534:65534 "$private_dir"
    daemon_prefix=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    "${daemon_prefix[@]}" "$SHMEMD" --version >/dev/null || skip "nobody cannot run $SHMEMD"
}

# status_field PID NAME: a line of /proc/PID/status.
status_field() {
    sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"
}
