#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# The control socket of a real daemon: vhost-shmemctl, and clients that mean ill.
# What vhost-shmemctl makes of any reply is in tests/ctl.bats.

# shellcheck disable=SC2154 # socket, log, control, daemon_pid and stderr come from helpers and bats
# shellcheck disable=SC2030,SC2031 # each test is a shell of its own
# shellcheck disable=SC2016 # commands in single quotes are for the shell that vuctl starts

load helpers/common

setup() {
    common_setup
    cd "$BATS_TEST_TMPDIR" || return
}

start_two() {
    start_with_config "$@" <<EOF
region r { size = 4M }
region s { size = 8M max-connections = 5 }
device d { socket = $socket shm 0 { region = r } }
device raw { socket = $socket.raw type = raw queues = 2 config = "0011" virtio-id = 63 shm 3 { region = s } }
EOF
}

# --- status -----------------------------------------------------------------------

# The played daemon of tests/ctl.bats and the real one say the same things.
@test "status has the keys that there are, each of its type, and no other" {
    start_two
    run -0 vuctl on r socket="$socket.raw" negotiate queues=2 on d up flush \
        run 'ctl status --json >status'
    python3 - status "$top_srcdir/tests/helpers/status.json" <<'EOF'
import json, sys
real, played = (json.load(open(name)) for name in sys.argv[1:])
del played["ok"]

def shape(value):
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if type(value) in (int, float) else type(value).__name__

def compare(a, b, at):
    if isinstance(a, dict) and isinstance(b, dict):
        assert set(a) == set(b), (at, set(a) ^ set(b))
        for key in a:
            compare(a[key], b[key], f"{at}.{key}")
    elif isinstance(a, list) and isinstance(b, list):
        if a and b:
            compare(a[0], b[0], at + "[]")
    else:
        assert a == b or "NoneType" in (a, b), (at, a, b)

compare(shape(real), shape(played), "")
assert all(real[what] for what in ("regions", "devices", "connections"))
EOF
}

@test "status says of each connection who it is, and what it has done" {
    start_two
    run -0 vuctl on r socket="$socket.raw" negotiate queues=2 on d up flush flush \
        run 'status_is "[(c[\"id\"], c[\"device\"], c[\"state\"], c[\"mapped\"], c[\"flushes\"]) for c in s[\"connections\"]]" \
            "[(1, '"'raw', 'negotiating', [], 0), (2, 'd', 'running'"', [0], 2)]"' \
        run 'status_is "conn(2)[\"worker\"]" "$(worker_of 2)"' \
        run 'status_is "conn(2)[\"rings\"][0][\"requests\"], conn(2)[\"rings\"][0][\"running\"], conn(2)[\"answers\"]" "(2, True, True)"' \
        run 'status_is "region(\"r\")[\"maps\"], region(\"s\")[\"maps\"]" "(1, 0)"' \
        run 'status_is "\"SHMEM\" in conn(2)[\"protocol_features\"], \"VERSION_1\" in conn(2)[\"features\"]" "(True, True)"' \
        stop run 'status_is "conn(2)[\"state\"]" stopped' \
        run 'status_is "conn(2)[\"uid\"], conn(2)[\"layers\"][\"missing\"]" "($EUID, [])" || [[ $EUID != 0 ]]'
}

# time_of CMD...: the microseconds that it takes.
time_of() {
    local begin=${EPOCHREALTIME/[.,]/}
    "$@" && echo $((${EPOCHREALTIME/[.,]/} - begin))
}
export -f time_of

# A busy machine adds to the second what it adds to any answer.
@test "a worker that does not answer is told within about a second, and the others' answers are there" {
    start_two
    run -0 vuctl on r socket="$socket.raw" negotiate queues=2 on d up flush \
        run 'time_of status_is "conn(1)[\"answers\"]" True >usual; kill -STOP $(worker_of 1)' \
        run 'took=$(time_of status_is "conn(1)[\"answers\"], conn(2)[\"answers\"], conn(2)[\"flushes\"]" "(False, True, 1)") &&
            ((took > 800000 && took < 2500000 + 10 * $(<usual)))' \
        run 'status_is "conn(1)[\"state\"]" unknown; kill -CONT $(worker_of 1)' on r expect-open \
        run 'wait_until status_is "conn(1)[\"answers\"]" True'
}

@test "regions and connections are tables of what there is" {
    start_two
    run -0 vuctl up run 'ctl regions' run 'ctl connections' run 'ctl top --once' run 'ctl status'
    assert_line --regexp '^r +4M +'
    assert_line --regexp '^ +1 +d +running +'
    assert_line --regexp "^vhost-shmemd .*, pid $daemon_pid, up "
}

@test "metrics of a daemon with connections are OpenMetrics" {
    start_two
    run -0 vuctl up flush flush run 'ctl metrics >metrics' stop
    grep -qx 'vhost_shmemd_region_maps{region="r"} 1' metrics
    grep -qE '^vhost_shmemd_connection_flushes_total\{.*\} 2$' metrics
    local python=/usr/bin/python3
    "$python" -c 'import prometheus_client' 2>/dev/null || skip 'python3-prometheus-client is not installed'
    "$python" -c '
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
families = list(parse(open(sys.argv[1]).read()))
assert len({f.name for f in families}) == len(families) > 20, families' metrics
}

# --- orders ------------------------------------------------------------------------

@test "disconnect ends one connection, is told in the log, and is no crash" {
    start_two
    run -0 vuctl on a up on b up on a run 'ctl disconnect 1' expect-close on b flush \
        on a connect up on b flush run '! ctl disconnect 1' run '! ctl disconnect 77'
    assert_output --partial 'there is no such connection'
    assert_log 'info: conn 1: disconnected by the operator'
    refute_log 'held back|crashed|killed'
    # A process whose workers crash is held back after the second.
    local i steps=()
    for i in 4 5 6 7 8; do
        steps+=(connect up flush run "ctl disconnect $i" expect-close)
    done
    run -0 vuctl "${steps[@]}"
    refute_log 'held back'
}

@test "reload prints what has changed, and what is wrong" {
    start_two
    run -0 ctl reload
    assert_output '2 devices; 2 regions, 0 of them new'
    echo 'region' >>"$conf"
    run -1 ctl reload
    assert_output --regexp "$conf:[0-9]+: "
}

@test "attach gives a program of the host the memory of the guests" {
    start_two
    run -0 vuctl up region-write 0x1000 c0ffee run 'ctl attach r -- python3 -c "
import mmap, os
size = int(os.environ[\"SHMEM_SIZE\"])
assert size == 4 << 20
m = mmap.mmap(int(os.environ[\"SHMEM_FD\"]), size)
assert m[0x1000:0x1003] == bytes.fromhex(\"c0ffee\")
m[0x2000:0x2002] = bytes.fromhex(\"aabb\")"' region-read 0x2000 aabb
    assert_log 'region r: attached by the operator, read-write'
}

@test "attach --read-only gives a descriptor that does not write" {
    start_two
    run -0 ctl attach r --read-only -- python3 -c '
import fcntl, mmap, os
fd = int(os.environ["SHMEM_FD"])
assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
mmap.mmap(fd, 4096, prot=mmap.PROT_READ)
try:
    mmap.mmap(fd, 4096)
except PermissionError:
    print("refused")'
    assert_output refused
    run -7 ctl attach r -- sh -c 'exit 7'
    run -1 ctl attach nobody -- true
    assert_output --partial 'there is no such region'
}

@test "attach copies an image into a region that guests have, and out of it" {
    start_two
    head -c 1M /dev/urandom >image
    run -0 vuctl up run 'ctl attach r --stdin <image' region-is image region-write 4M-1 ee run 'ctl attach r --stdout >copy'
    cmp -n 1048576 image copy
    assert_equal "$(stat -c %s copy) $(tail -c 1 copy | xxd -p)" '4194304 ee'
}

@test "what is read-only for everybody is attached for reading alone" {
    echo image >image
    start_with_config <<<"region r { image = $PWD/image access = read-only } device d { socket = $socket front-end = crosvm shm 0 { region = r } }"
    run -1 ctl attach r -- true
    assert_output --partial 'attach it with --read-only'
    run -0 ctl attach r --read-only -- sh -c 'head -c 6 <&$SHMEM_FD'
    assert_output image
}

@test "qemu-args asks for devices by their names" {
    start_two
    run -0 ctl qemu-args d raw
    assert_output --partial "path=$socket"
    assert_output --partial "path=$socket.raw"
    assert_output --partial 'virtio-id=63'
    run -1 ctl qemu-args nobody
}

# --- who may ------------------------------------------------------------------------

@test "nobody but root and the daemon's user may use the control socket" {
    for_all_users
    control=$private_dir/control
    start_two --control-socket="$control"
    assert_equal "$(stat -c %a "$control")" 600
    run -3 as 1234 "$top_builddir/vhost-shmemctl" status --control="$control"
    run -0 ctl status
    # Not by the mode alone.
    chmod 0666 "$control"
    run as 1234 "$top_builddir/vhost-shmemctl" status --control="$control"
    assert_failure
    assert_log 'warn: control: pid [0-9]+, uid 1234 was refused'
    run -0 ctl status
}

@test "members of control-group may use it, and others may not" {
    for_all_users
    control=$private_dir/control
    start_with_config --control-socket="$control" <<EOF
control-group = 2002
region r { size = 4M }
device d { socket = $socket shm 0 { region = r } }
EOF
    assert_equal "$(stat -c '%a %g' "$control")" '660 2002'
    local ask=("$top_builddir/vhost-shmemctl" status --control="$control")
    run -0 setpriv --reuid=1234 --regid=2002 --clear-groups "${ask[@]}"
    run -0 setpriv --reuid=1234 --regid=77 --groups=2002 "${ask[@]}"
    run -3 setpriv --reuid=1234 --regid=77 --clear-groups "${ask[@]}"
}

# --- clients that mean ill --------------------------------------------------------------

# with_client CODE: Python that has connect(), a socket to the daemon, and ask(s, line),
# which returns what comes back.
with_client() {
    run -0 timeout "$((VUCTL_TIMEOUT * 2))" python3 -c '
import array, json, os, socket, sys, time
def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(float(os.environ["VUCTL_TIMEOUT"]))
    s.connect(sys.argv[1])
    return s
def line_of(s):
    text = b""
    while not text.endswith(b"\n"):
        more = s.recv(65536)
        if not more:
            return text
        text += more
    return text
def ask(s, line):
    s.sendall(line + b"\n")
    return json.loads(line_of(s))
def closed(s):
    try:
        return s.recv(1) == b""
    except ConnectionResetError:
        return True
STATUS = b"{\"command\":\"status\"}"
'"$1" "$control"
}

# The daemon and another client go on.
goes_on() {
    run -0 ctl status
    run -0 vuctl up flush
}

@test "requests that make no sense are refused, and the client goes on" {
    start_two
    with_client '
s = connect()
for line in b"", b"x", b"[]", b"7", b"null", b"{}", b"{\"command\":7}", b"{\"command\":\"x\"}", b"\xff\xfe", \
        b"{\"command\":\"status\",\"command\":\"reload\"}", b"[" * 4000, b"{\"a\":" * 700, b"\0", \
        b"{\"command\":\"disconnect\"}", b"{\"command\":\"disconnect\",\"connection\":-1}", \
        b"{\"command\":\"disconnect\",\"connection\":99999999999}", b"{\"command\":\"disconnect\",\"connection\":1e3}", \
        b"{\"command\":\"attach\",\"region\":\"r\"}", b"{\"command\":\"attach\",\"region\":7,\"access\":\"read-only\"}":
    reply = ask(s, line)
    assert reply["ok"] is False and reply["error"], (line, reply)
assert ask(s, STATUS)["ok"] is True'
    goes_on
}

@test "a line without end costs the client its connection" {
    start_two
    with_client '
s, other = connect(), connect()
try:
    s.sendall(b"x" * 100000)
except (BrokenPipeError, ConnectionResetError):
    pass
assert closed(s)
assert ask(other, STATUS)["ok"]'
    assert_log 'control: a request of more than 4096 bytes'
    goes_on
}

@test "requests in one write, and one byte by byte, are answered in their order" {
    start_two
    with_client '
s = connect()
s.sendall((STATUS + b"\n{}\n") * 20)
file = s.makefile("rb")
assert [json.loads(file.readline())["ok"] for _ in range(40)] == [True, False] * 20
for byte in STATUS + b"\n":
    s.sendall(bytes([byte]))
assert json.loads(file.readline())["ok"]'
    goes_on
}

@test "of many clients 32 are heard, and when one leaves the next is" {
    start_two
    with_client '
def answer(s):
    try:
        s.sendall(STATUS + b"\n")
        return line_of(s)
    except (BrokenPipeError, ConnectionResetError):
        return b""
first = [connect() for _ in range(32)]
assert all(ask(s, STATUS)["ok"] for s in first)
assert closed(connect())
first[7].close()
# It takes the daemon a moment to notice.
end = time.monotonic() + first[0].gettimeout()
while not (reply := answer(connect())):
    assert time.monotonic() < end, "nobody is let in"
assert json.loads(reply)["ok"]'
    assert_log 'control: 32 are connected, and no more may be'
    goes_on
}

@test "who does not read replies is asked no more, and holds nobody up" {
    start_two
    require_proc_fd "$daemon_pid"
    local memory
    memory=$(status_field "$daemon_pid" VmRSS)
    with_client '
s = connect()
s.setblocking(False)
sent = full = 0
# Until it takes no more, though it has been round its loop many times since.
while full < 50 and sent < 2 << 20:
    try:
        sent += s.send((STATUS + b"\n") * 100)
        full = 0
    except BlockingIOError:
        full += 1
        other = connect()
        assert ask(other, STATUS)["ok"]
        other.close()
    except (BrokenPipeError, ConnectionResetError):
        break
assert sent < 2 << 20, sent
# When it reads at last, each whole request has its reply.
s.setblocking(True)
s.settimeout(float(os.environ["VUCTL_TIMEOUT"]))
file = s.makefile("rb")
for _ in range(sent // (len(STATUS) + 1)):
    assert json.loads(file.readline())["ok"]'
    local now
    now=$(status_field "$daemon_pid" VmRSS)
    is_sanitized || ((${now% kB} < ${memory% kB} + 2000)) || fail "from $memory to $now"
    goes_on
}

@test "descriptors that are sent along are not kept" {
    start_two
    require_proc_fd "$daemon_pid"
    local before
    before=$(fds_of "$daemon_pid")
    with_client '
s = connect()
for _ in range(50):
    try:
        s.sendmsg([STATUS + b"\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    except PermissionError:     # not even sent, where the kernel has SO_PASSRIGHTS
        s.sendall(STATUS + b"\n")
    assert json.loads(line_of(s))["ok"]
fds = len(os.listdir("/proc/%s/fd" % os.environ["daemon_pid"]))
assert fds == '"$before"' + 1, fds'
    wait_until bash -c "[[ \$(fds_of $daemon_pid) = $before ]]"
    goes_on
}

@test "clients that leave before their reply, or in the middle of one, leave nothing behind" {
    start_two
    require_proc_fd "$daemon_pid"
    local before
    before=$(fds_of "$daemon_pid")
    with_client '
for i in range(200):
    s = connect()
    s.sendall((STATUS + b"\n") * (i % 3 + 1) + STATUS[:i % 10])
    if i % 2:
        s.recv(1)
    s.close()'
    wait_until bash -c "[[ \$(fds_of $daemon_pid) = $before ]]"
    goes_on
}

@test "without descriptors to spare the control socket costs no CPU, and is heard later" {
    start_two
    require_tool prlimit
    # The least number that is free, when those of clients before are.
    local free=0
    wait_until bash -c "! ss -xp 2>/dev/null | grep -q 'ESTAB.*$control'"
    while [[ -e /proc/$daemon_pid/fd/$free ]]; do free=$((free + 1)); done
    prlimit --pid "$daemon_pid" --nofile="$free:"
    cpu_of() { awk '{ print $14 + $15 }' "/proc/$daemon_pid/stat"; }
    ctl status --timeout="$VUCTL_TIMEOUT" >said 2>&1 3>&- &
    asker=$!
    assert_log 'accept: Too many open files'
    local before
    before=$(cpu_of)
    # Of one that tries all the time a busy machine leaves half of this second.
    sleep 1
    (($(cpu_of) - before < 30)) || fail "it used $(($(cpu_of) - before)) ticks in a second"
    prlimit --pid "$daemon_pid" --nofile="4096:"
    wait "$asker"
    grep -q 'spare worker' said
}
