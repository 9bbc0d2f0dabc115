#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# vhost-shmemctl: what needs no daemon of ours, and how it shows what a daemon
# says, whatever that is. tests/control.bats has it with a real daemon.
# shellcheck disable=SC2154 # socket, log and stderr come from helpers and bats
# shellcheck disable=SC2016 # in single quotes: for other shells to expand

load helpers/common

setup() {
    common_setup
    ctl=$top_builddir/vhost-shmemctl
    control=$BATS_TEST_TMPDIR/control
    replies=$BATS_TEST_TMPDIR/replies
    server_pid=
    mkdir "$replies"
}

teardown() {
    if [[ -n $server_pid ]]; then
        kill "$server_pid" 2>/dev/null || :
        wait "$server_pid" 2>/dev/null || :
    fi
    common_teardown
}

# listens PATH
listens() {
    grep -q " 00010000 .* $1\$" /proc/net/unix
}

# --- usage --------------------------------------------------------------------

# wrong REGEX ARG...: wrong usage, which is said.
wrong() {
    local regex=$1
    shift
    run -2 --separate-stderr "$ctl" "$@"
    assert_output ""
    [[ $stderr =~ $regex ]] || fail "stderr is: $stderr; it should match: $regex"
}

@test "wrong usage is told, with what would be right, and is status 2" {
    wrong 'a command is missing; --help'
    wrong "'nonsense' is no command; --help" nonsense
    wrong 'probe: SOCKET is missing' probe
    wrong "probe: 'b' is too much" probe a b
    wrong 'lists the options of status' status --once
    wrong 'a number from 1 to 3600' status --timeout=0
    wrong 'a number from 1 to 3600' status --timeout=5s
    wrong 'the number of a connection' disconnect first
    wrong 'one of --stdin, --stdout and -- CMD' attach r
    wrong 'one of --stdin, --stdout and -- CMD' attach r --stdin --stdout
    wrong 'one of --stdin, --stdout and -- CMD' attach r --stdin -- true
    wrong 'a command is missing after --' attach r --
    wrong 'nothing can follow --' status -- true
    wrong '--read-only forbids' attach r --stdin --read-only
}

@test "--help has every command, and each command's --help its options alone" {
    run -0 --separate-stderr "$ctl" --help
    local command commands
    commands=$(sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\).*/\1/p' <<<"$output" | grep .)
    [[ $(wc -l <<<"$commands") = 12 ]]
    for command in $commands; do
        run -0 --separate-stderr "$ctl" "$command" --help
        assert_line --regexp "^Usage: vhost-shmemctl $command "
        assert_line --regexp '^  --help '
    done
    run -0 "$ctl" top --help
    assert_output --partial --once
    refute_output --partial --json
}

@test "what nobody reads is an error" {
    local arg
    for arg in --help --version 'qemu-args --socket=/x' 'doctor --json' 'probe --help'; do
        run -1 --separate-stderr sh -c "'$ctl' $arg >/dev/full"
    done
}

@test "who cannot be reached is told, and is status 3" {
    run -3 --separate-stderr "$ctl" status --control="$control"
    [[ $stderr = *"$control: there is no such socket"* ]]
    run -3 --separate-stderr "$ctl" probe "$control"
    [[ $stderr = *"there is no such socket"* ]]
    python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$control"
    run -3 --separate-stderr "$ctl" reload --control="$control"
    [[ $stderr = *"nobody listens there"* ]]
    run -3 --separate-stderr "$ctl" status --control="$(printf '/%0200d' 0)"
    [[ $stderr = *"longer than the 107 bytes"* ]]
}

# --- the manual -----------------------------------------------------------------

manual=$top_srcdir/man/vhost-shmemctl.1

@test "the manual has every command and option of --help, and no other, in text and synopsis" {
    run -0 "$ctl" --help
    local commands options synopsis
    commands=$(sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\).*/\1/p' <<<"$output" | grep . | sort)
    options=$(grep -oE '^  --[a-z-]+' <<<"$output" | tr -d ' ' | sort)
    [[ -n $commands && -n $options ]]
    assert_equal "$(sed -n '/^\.Sh COMMANDS/,/^\.Sh OPTIONS/s/^\.It Cm \([a-z-]*\).*/\1/p' "$manual" | sort)" "$commands"
    assert_equal "$(sed -n 's/^\.It Fl -\([a-z-]*\).*/--\1/p' "$manual" | sort)" "$options"
    synopsis=$(sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p' "$manual")
    assert_equal "$(sed -n 's/^\.Cm \([a-z].*\)/\1/p' <<<"$synopsis" | tr -d ' ' | tr '|' '\n' | sort -u)" "$commands"
    assert_equal "$(grep -oE -- '(Fl|\|) -[a-z-]+' <<<"$synopsis" | sed 's/.* -/--/' | sort -u)" "$options"
}

# options_of COMMAND: those that its --help has, but for --help itself.
options_of() {
    "$ctl" "$1" --help | grep -oE '^  --[a-z-]+' | tr -d ' ' | grep -vx -- --help | sort
}

@test "the synopsis has with each command the options that it takes" {
    local command synopsis
    # A line for each way to call it.
    synopsis=$(sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p' "$manual" |
        awk '/^\.Nm/ { print line; line = "" } { line = line " " $0 } END { print line }')
    for command in $("$ctl" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\).*/\1/p'); do
        assert_equal "$command: $(grep -E "\.Cm ([a-z-]+ \| )*$command( |$)" <<<"$synopsis" |
            grep -oE -- '(Fl|\|) -[a-z-]+' | sed 's/.* -/--/' | sort -u)" "$command: $(options_of "$command")"
    done
}

@test "the exit statuses of the manual are those of the program" {
    assert_equal "$(sed -n '/^\.Sh EXIT/,/^\.Sh EXAMPLES/s/^\.It //p' "$manual" | tr '\n' ' ')" \
        "$(sed -nE 's/^\tCTL_[A-Z]+ = ([0-9]),.*/\1/p' "$top_srcdir/tools/ctl.h" | tr '\n' ' ')"
    grep -qF "$(strings "$ctl" | grep control.sock | grep -oE '/run/[a-z/.-]+' | head -n 1)" "$manual"
}

# QEMU shows its arguments; the daemon is played, and our own back-end is real.
@test "each command of the manual's EXAMPLES runs" {
    local command n=0
    start_daemon
    edited 's["devices"] = [dict(s["devices"][0], name=n) for n in ("disk", "scratch")]'
    region 4096
    head -c 4096 /dev/urandom >"$BATS_TEST_TMPDIR/rootfs.img"
    serve
    cd "$BATS_TEST_TMPDIR"
    vhost-shmemctl() {
        local where=("--control=$control")
        [[ $1 != probe && "$*" != *--socket* ]] || where=()
        "$ctl" "$1" "${where[@]}" "${@:2}"
    }
    qemu-system-x86_64() {
        [[ $1 = -M && " $* " = *' -device '* ]]
    }
    while read -r command; do
        command=${command//\/run\/shm.sock/$socket}
        command=${command//\\e/\\}
        eval "$command" || {
            # doctor may fail on this host.
            [[ $command = *doctor ]] || fail "$command"
        }
        n=$((n + 1))
    done < <(sed -n '/^\.Sh EXAMPLES/,/^\.Sh SEE/p' "$manual" | grep -E '^(vhost-shmemctl|eval) ')
    assert_equal "$n" 8
    grep -q '^# EOF' shmemd.prom
}

# --- probe --------------------------------------------------------------------

@test "probe says in words what our own back-end offers" {
    start_daemon --front-end=rust-vmm --region=shmid=0,size=6M
    run -0 --separate-stderr "$ctl" probe "$socket"
    assert_equal "$stderr" ""
    assert_line --regexp '^virtio features: .*INDIRECT_DESC \(28\), EVENT_IDX \(29\)'
    assert_line 'device-specific bits: 0'
    assert_output --partial 'SHMEM (22)'
    refute_output --partial unknown
    assert_line 'queues:               1'
    assert_line 'memory slots:         509'
    assert_line 'shared memory:        1 region'
    assert_line '  shmid 0: 6M (6291456 bytes)'
    assert_line --regexp '^configuration space:  256 bytes; '
    assert_line '  00 00 00 00 00 00 00 00 00 00 60 00 00 00 00 00'
    refute_warnings
    refute_log 'ring'
}

@test "probe's JSON has the same, and only what is offered" {
    start_daemon --region=shmid=0,size=4M
    run -0 "$ctl" probe --json --config-size=16 "$socket"
    python3 - "$output" <<'EOF'
import json, sys
offer = json.loads(sys.argv[1])
assert {"bit": 22, "name": "SHMEM"} in offer["protocol_features"], offer
assert {"bit": 0, "name": None} in offer["features"], offer
assert offer["queues"] == 1, offer
assert offer["shmem"] == [{"shmid": 0, "size": 4 << 20}], offer
assert offer["config"] == "0" * 20 + "40" + "0" * 10, offer
assert "memory_slots" not in offer, offer
EOF
}

# odd ODDITY STATUS ARG...: probe a back-end with it.
odd() {
    local oddity=$1 status=$2
    shift 2
    rm -f "$socket"
    "$top_srcdir/tests/helpers/odd-backend" "$socket" "$oddity" >"$BATS_TEST_TMPDIR/odd" 2>&1 3>&- &
    server_pid=$!
    wait_until listens "$socket"
    run "-$status" --separate-stderr timeout "$VUCTL_TIMEOUT" "$ctl" probe "$socket" "$@"
    [[ $stderr != *Sanitizer* && $stderr != *runtime?error* ]]
    kill "$server_pid" 2>/dev/null || :
    wait "$server_pid" || :
    refute grep -q AssertionError "$BATS_TEST_TMPDIR/odd"
}

@test "probe finds the size of a configuration space, however a back-end ends it" {
    local how
    for how in none config-no-payload; do
        odd "$how" 0
        assert_line 'configuration space:  12 bytes'
        assert_line '  01 02 03 04 05 06 07 08 09 0a 0b 0c'
    done
    odd config-all 0
    assert_line --regexp '^configuration space:  256 bytes'
    odd none 0 --config-size=5
    assert_line '  01 02 03 04 05'
    odd none 1 --config-size=13
    [[ $stderr = *'no configuration space of 13 bytes'* ]]
}

@test "probe asks for nothing that is not offered, and says what it is" {
    odd plain 0
    assert_line --partial 'protocol features:    not offered'
    odd nothing 0
    assert_line 'protocol features:    REPLY_ACK (3)'
    assert_line 'queues:               not told: MQ is not offered'
    assert_line --regexp '^memory slots: +not told'
    assert_line --regexp '^configuration space: +not told'
    assert_line --regexp '^shared memory: +none'
}

@test "probe shows bits without a name, those of the device, and each region" {
    odd none 0
    assert_output --partial 'unknown (23)'
    assert_output --partial 'unknown (45)'
    assert_line 'device-specific bits: 5'
    assert_line 'shared memory:        2 regions'
    assert_line '  shmid 200: 12K (12288 bytes)'
}

@test "probe says what is wrong with an answer, and does not believe it" {
    odd other-request 1
    [[ $stderr = *'GET_FEATURES: the answer is to request 2, not to 1'* ]]
    odd no-reply-flag 1
    [[ $stderr = *'the answer has flags 0x1,'* ]]
    odd version 1
    [[ $stderr = *'the answer has flags 0x6,'* ]]
    odd huge 1
    [[ $stderr = *'4294967295 bytes, not 8'* ]]
    odd short 1
    [[ $stderr = *'4 bytes, not 8'* ]]
    odd many-regions 1
    [[ $stderr = *'257 regions'* ]]
    odd config-longer 1
    [[ $stderr = *'GET_CONFIG: the answer to a request of'* ]]
    odd config-shorter 1
    [[ $stderr = *'GET_CONFIG: the answer to a request of'* ]]
    odd closes 1
    [[ $stderr = *'GET_FEATURES: the other side has closed'* ]]
    odd closes-at-config 1
    [[ $stderr = *'GET_CONFIG: the other side has closed'* ]]
}

@test "probe waits no longer than --timeout for a back-end that says nothing, or half" {
    local how
    # "odd" waits for its end.
    for how in silent half; do
        odd "$how" 3 --timeout=1
        [[ $stderr = *'GET_FEATURES: no answer in time'* ]]
    done
}

# --- arguments for virtual machine monitors -------------------------------------

@test "qemu-args prints the line of the manual" {
    local recipe
    recipe=$(sed -n '/^qemu-system-x86_64/,/\.\.\.$/{s/\\e\?$//;p}' "$top_srcdir/man/vhost-shmemd.8" | tr -s ' \n' ' ')
    run -0 --separate-stderr "$ctl" qemu-args --socket=/run/shm.sock
    assert_equal "qemu-system-x86_64 $output ... " "$recipe"
}

@test "crosvm-args prints the line of the manual" {
    run -0 --separate-stderr "$ctl" crosvm-args --socket=/run/shm.sock
    grep -qxF "crosvm run $output ..." "$top_srcdir/man/vhost-shmemd-frontends.7"
    run -0 "$ctl" crosvm-args --socket=/x --type=raw --virtio-id=26
    assert_output -- '--vhost-user type=fs,socket=/x'
    run -2 "$ctl" crosvm-args --socket=/x --type=raw --virtio-id=999
    assert_output --partial 'virtio id 999 is not known here'
    run -2 "$ctl" crosvm-args --socket=/a,b
    assert_output --partial 'comma'
}

@test "a raw device has its numbers in QEMU's arguments, and sizes theirs" {
    run -0 "$ctl" qemu-args --socket=/x --type=raw --virtio-id=4 --queues=2 --config-size=8 --memory=512M
    assert_output --partial 'virtio-id=4,num_vqs=2,config_size=8'
    assert_output --partial -- '-m 512M '
    assert_output --partial 'size=512M,share=on'
    wrong 'virtio-id is missing' qemu-args --socket=/x --type=raw
    wrong 'go with --type=raw' qemu-args --socket=/x --queues=2
    wrong 'no such device' qemu-args --socket=/x --type=disk
    wrong 'a device is missing' qemu-args
    wrong 'exclude each other' qemu-args vm1 --socket=/x
    wrong 'a number with one of K, M, G' qemu-args --socket=/x --memory=1Gi
}

@test "a path that is odd goes through a shell and through QEMU's commas" {
    local path=$'/run/a b\'s,"$x"\n'
    run -0 --separate-stderr "$ctl" qemu-args --socket="$path"
    assert_equal "$(wc -l <<<"$output")" 1
    eval "set -- $output"
    path=${path//,/,,}
    assert_equal "$8" "socket,id=shm,path=$path"
}

# --- doctor ---------------------------------------------------------------------

@test "doctor has a finding of everything, and says what to do about what is not ok" {
    run --separate-stderr "$ctl" doctor --control="$control"
    local what line
    for what in kernel memfd MFD_NOEXEC_SEAL seccomp Landlock 'user namespaces' \
        'PID namespaces' 'huge pages' RLIMIT_NOFILE RLIMIT_MEMLOCK \
        vm.overcommit_memory "the workers' user" "QEMU's user" QEMU 'control socket'; do
        assert_line --regexp "^(ok|warn|fail) +$what: .+"
    done
    for line in "${lines[@]}"; do
        [[ $line = 'ok '* || $line = *'; '* ]] || fail "no advice: $line"
    done
    if [[ $output == *$'\nfail'* ]]; then
        assert_equal "$status" 1
    else
        assert_equal "$status" 0
    fi
}

# fake_qemu LINE: a QEMU that says so.
fake_qemu() {
    mkdir -p "$BATS_TEST_TMPDIR/bin"
    printf '#!/bin/sh\necho "%s"\n' "$1" >"$BATS_TEST_TMPDIR/bin/qemu-system-x86_64"
    chmod +x "$BATS_TEST_TMPDIR/bin/qemu-system-x86_64"
}

@test "doctor knows a QEMU that is too old, and fails" {
    fake_qemu 'QEMU emulator version 7.2.19 (Debian)'
    PATH=$BATS_TEST_TMPDIR/bin:$PATH run -1 "$ctl" doctor
    assert_line --regexp '^fail  QEMU: .*7\.2\.19.*; QEMU 11\.1 or later'
    fake_qemu 'QEMU emulator version 11.1.0'
    PATH=$BATS_TEST_TMPDIR/bin:$PATH run "$ctl" doctor
    assert_line --regexp '^ok    QEMU: .*11\.1\.0'
    fake_qemu 'QEMU emulator version 12.0.50'
    PATH=$BATS_TEST_TMPDIR/bin:$PATH run "$ctl" doctor
    assert_line --regexp '^ok    QEMU: '
}

@test "doctor sees a host that forbids namespaces" {
    run without_namespaces 'pid' "$ctl" doctor
    ((${#lines[@]} > 5)) || skip "user namespaces cannot be made here"
    assert_line --regexp '^warn  PID namespaces: .*; look at user.max_'
    run bash -c 'ulimit -n 256; "$1" doctor' bash "$ctl"
    assert_line --regexp '^warn  RLIMIT_NOFILE: 256 descriptors; '
}

@test "doctor's JSON has the same findings" {
    run "$ctl" doctor --control="$control"
    local findings=${#lines[@]}
    run "$ctl" doctor --json --control="$control"
    python3 - "$output" "$findings" <<'EOF'
import json, sys
found = json.loads(sys.argv[1])
assert len(found) == int(sys.argv[2]), found
assert all(one["status"] in ("ok", "warn", "fail") and one["what"] and one["finding"] for one in found)
assert all(one["advice"] for one in found if one["status"] != "ok")
EOF
}

# --- what a daemon says -----------------------------------------------------------

# serve: a server of replies; those to come are put into $replies.
serve() {
    "$top_srcdir/tests/helpers/control-server" "$control" "$replies" >&2 3>&- &
    server_pid=$!
    wait_until listens "$control"
}

# edited 'PYTHON': the recorded status, changed: s is the object.
edited() {
    python3 - "$top_srcdir/tests/helpers/status.json" "$1" >"$replies/status" <<'EOF'
import json, sys
s = json.load(open(sys.argv[1]))
exec(sys.argv[2])
print(json.dumps(s))
EOF
}

recorded() {
    edited ''
    serve
}

asks() {
    "$ctl" "$1" --control="$control" "${@:2}"
}

@test "status shows the daemon, its regions, devices and connections" {
    recorded
    run -0 --separate-stderr asks status
    assert_equal "$stderr" ""
    assert_line 'vhost-shmemd 0.1.0, pid 123, up 1m 12s, configuration 2, 1 spare worker'
    assert_line --regexp '^REGION +SIZE +RESIDENT +BACKING'
    assert_line --regexp '^scratch +64M +1\.5M +memory +read-write +0 +1/8 +1 +outlives a restart$'
    assert_line --regexp '^root +512M .* file .*cannot be written back: No space left on device$'
    assert_line --regexp '^vm1 +pmem +27 +qemu +1 +4 +2 +/run/vm1.sock +0:scratch\(read-write\) +-$'
    assert_line --regexp '^old +raw .* - +0:root\(copy\) 3:scratch\(read-only\) +retired$'
    assert_line --regexp '^ +7 +vm1 +running +4242 +64055 +4300 +1m 1s +0,3 +1234 +17 +landlock +-$'
    assert_line --regexp "^ +9 +vm1 +stopped .* its worker does not answer$"
    assert_equal "$(<"$replies/requests")" '{"command":"status"}'
}

@test "regions and connections show those tables alone" {
    recorded
    run -0 asks regions
    assert_equal "${#lines[@]}" 3
    assert_line --index 0 --regexp '^REGION '
    run -0 asks connections
    assert_equal "${#lines[@]}" 3
    assert_line --index 0 --regexp '^ID '
}

@test "a daemon with no connections has a table of titles" {
    edited 's["connections"] = []'
    serve
    run -0 asks connections
    assert_equal "${#lines[@]}" 1
    run -0 asks connections --json
    assert_output '[]'
}

@test "--json prints what the daemon says, in ASCII" {
    edited 's["regions"][0]["name"] = "a\x1b[31m\x7fé"'
    serve
    local what
    for what in status regions connections; do
        run -0 --separate-stderr asks "$what" --json
        python3 - "$output" "$top_srcdir/tests/helpers/status.json" "$what" <<'EOF'
import json, sys
said = json.load(open(sys.argv[2]))
del said["ok"]
said["regions"][0]["name"] = "a\x1b[31m\x7f\xe9"
shown = json.loads(sys.argv[1])
assert shown == (said if sys.argv[3] == "status" else said[sys.argv[3]]), shown
assert sys.argv[1].isascii() and "\x1b" not in sys.argv[1] and "\x7f" not in sys.argv[1]
EOF
    done
}

@test "what could steer a terminal is shown, not sent" {
    edited 's["regions"][0]["name"] = "a\x1b]0;x\x07"; s["version"] = "\r0\u009b1m\u202eb\n"'
    serve
    local what
    for what in status regions "top --once" metrics; do
        # shellcheck disable=SC2086 # words
        run -0 --separate-stderr asks $what
        # shellcheck disable=SC2076 # as it is
        [[ $output =~ 'a'(\\){1,2}'x1b]0;x' && $output != *[$'\e\r\a']* ]] || fail "$output"
        [[ $what = regions || $output = *xc2*x9b1m*xe2*x0a* ]] || fail "$output"
    done
    printf '{"ok":false,"error":"line \\u001b[1m\\nof two"}\n' >"$replies/reload"
    run -1 --separate-stderr asks reload
    assert_equal "$stderr" $'vhost-shmemctl: error: line \\x1b[1m\nof two'
}

@test "metrics are OpenMetrics, by the rules of Prometheus" {
    recorded
    run -0 --separate-stderr asks metrics
    assert_line --index $((${#lines[@]} - 1)) '# EOF'
    assert_line 'vhost_shmemd_build_info{version="0.1.0"} 1'
    assert_line 'vhost_shmemd_region_resident_bytes{region="scratch"} 1572864'
    assert_line 'vhost_shmemd_device_served_total{device="vm1"} 4'
    assert_line 'vhost_shmemd_ring_requests_total{connection="7",device="vm1",ring="0"} 1200'
    assert_line --regexp '^vhost_shmemd_connection_flush_max_seconds\{.*\} 0\.002'
    assert_line 'vhost_shmemd_region_sync_failed{region="root"} 1'
    local python=/usr/bin/python3
    "$python" -c 'import prometheus_client' 2>/dev/null || skip 'python3-prometheus-client is not installed'
    "$python" - "$output" <<'EOF'
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
families = list(parse(sys.argv[1] + "\n"))
names = [f.name for f in families]
assert len(names) == len(set(names)) > 20, names
for f in families:
    assert f.name.startswith("vhost_shmemd_") and f.documentation.endswith("."), f
    assert f.type in ("gauge", "counter", "info"), f
    assert f.unit == ("seconds" if f.name.endswith("_seconds") else "bytes" if f.name.endswith("_bytes") else ""), f
EOF
}

@test "a label of metrics is escaped" {
    edited 's["regions"][0]["name"] = "a\"b\\c"'
    serve
    run -0 asks metrics
    assert_line 'vhost_shmemd_region_maps{region="a\"b\\c"} 1'
}

@test "top --once is one screen of 80 columns, without escape sequences" {
    edited 's["regions"][0]["name"] = s["connections"][0]["device"] = "n" * 60; s["connections"][1]["state"] = "s" * 60'
    serve
    run -0 --separate-stderr asks top --once
    [[ $output != *$'\e'* ]]
    local line
    for line in "${lines[@]}"; do
        ((${#line} <= 80)) || fail "${#line} columns: $line"
    done
    assert_line --regexp '^ +7 +n{16} +running'
}

@test "top shows how much there is in a second, and ends when the daemon does" {
    recorded
    asks top >"$BATS_TEST_TMPDIR/top" 2>"$BATS_TEST_TMPDIR/err" 3>&- &
    local top=$! status=0
    wait_until grep -q ' 1234 ' "$BATS_TEST_TMPDIR/top"
    edited 's["connections"][0]["rings"][0]["requests"] += 900'
    # On a busy machine top looks less often than each second, and finds fewer a second.
    wait_until grep -qE ' [1-9][0-9]{1,2}/s ' "$BATS_TEST_TMPDIR/top"
    kill "$server_pid"
    wait "$server_pid" || :
    wait "$top" || status=$?
    assert_equal "$status" 3
    grep -q 'nobody listens' "$BATS_TEST_TMPDIR/err"
}

@test "disconnect names the connection, and an error of the daemon's is told" {
    printf '{"ok":true}\n' >"$replies/disconnect"
    serve
    run -0 asks disconnect 7
    assert_output ''
    assert_equal "$(<"$replies/requests")" '{"command":"disconnect","connection":7}'
    printf '{"ok":false,"error":"there is no connection 7"}\n' >"$replies/disconnect"
    run -1 asks disconnect 7
    assert_output 'vhost-shmemctl: error: there is no connection 7'
}

@test "reload prints what has changed" {
    printf '{"ok":true,"changed":"1 region added\\n1 device retired"}\n' >"$replies/reload"
    serve
    run -0 asks reload
    assert_output $'1 region added\n1 device retired'
}

@test "qemu-args and crosvm-args ask the daemon for devices, several at once" {
    edited 's["devices"].append(dict(s["devices"][0], name="b", socket="/run/b.sock", type="raw", virtio_id=4, queues=2, config_size=8))'
    serve
    run -0 asks qemu-args vm1 b
    assert_output --partial -- '-chardev socket,id=shm-vm1,path=/run/vm1.sock -device vhost-user-test-device-pci,chardev=shm-vm1,virtio-id=27,num_vqs=1,config_size=16 -chardev socket,id=shm-b,path=/run/b.sock -device vhost-user-test-device-pci,chardev=shm-b,virtio-id=4,num_vqs=2,config_size=8'
    run -0 asks crosvm-args vm1
    assert_output -- '--vhost-user type=pmem,socket=/run/vm1.sock'
    run -1 asks qemu-args none
    assert_output --partial "no device 'none'"
    run -1 asks qemu-args old
    assert_output --partial 'nobody has said which virtio device'
    edited 's["devices"][1]["virtio_id"] = 4'
    run -1 asks qemu-args old
    assert_output --partial 'does not listen'
    edited 's["devices"][0]["front_end"] = "rust-vmm"'
    run -1 asks qemu-args vm1
    assert_output --partial 'made for rust-vmm, not for QEMU'
}

# --- attach -------------------------------------------------------------------------

# region BYTES: the server has a region r of so many.
region() {
    truncate -s "$1" "$replies/attach.memory"
    printf '{"ok":true,"size":%d,"region":"r"}\n' "$1" >"$replies/attach"
}

@test "attach runs a command with the region's descriptor and size, and ends as it does" {
    region 65536
    printf hello >"$BATS_TEST_TMPDIR/hello"
    serve
    run -7 asks attach r -- sh -c 'echo "$SHMEM_SIZE $1"; printf new >&"$SHMEM_FD"; exit 7' sh --json
    assert_output '65536 --json'
    grep -q new "$replies/attach.memory"
    assert_equal "$(<"$replies/requests")" '{"command":"attach","region":"r","access":"read-write"}'
    run -0 asks attach r --read-only -- sh -c 'echo x >&"$SHMEM_FD" || echo refused'
    assert_output --partial refused
    run -1 asks attach r -- /nonexistent
    assert_output --partial '/nonexistent: No such file'
}

@test "attach copies to the region and from it, whole" {
    region 200000
    seq 100000 | head -c 150000 >"$BATS_TEST_TMPDIR/in"
    serve
    run -0 --separate-stderr eval 'asks attach r --stdin <"$BATS_TEST_TMPDIR/in"'
    assert_equal "$output$stderr" ""
    asks attach r --stdout >"$BATS_TEST_TMPDIR/out"
    assert_equal "$(stat -c %s "$BATS_TEST_TMPDIR/out")" 200000
    cmp -n 150000 "$BATS_TEST_TMPDIR/in" "$BATS_TEST_TMPDIR/out"
    grep -q '"access":"read-only"' "$replies/requests"
    # Through a pipe, where it comes in pieces.
    asks attach r --stdout | cat | cmp - "$BATS_TEST_TMPDIR/out"
    # The pause is likely to make two reads of it; either way all comes.
    (echo first; sleep 0.1; echo second) | asks attach r --stdin
    assert_equal "$(head -n 2 "$replies/attach.memory")" $'first\nsecond'
    run -1 eval 'asks attach r --stdout >/dev/full'
    assert_output --partial 'standard output, after 0 bytes: No space left'
}

@test "attach refuses input that is larger than the region: a file before anything is written" {
    region 4096
    head -c 4097 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/in"
    serve
    run -1 eval 'asks attach r --stdin <"$BATS_TEST_TMPDIR/in"'
    assert_output --partial 'larger than the region r, which has 4096 bytes; nothing was written'
    cmp -n 4096 /dev/zero "$replies/attach.memory"
    run -1 eval 'cat "$BATS_TEST_TMPDIR/in" | asks attach r --stdin'
    assert_output --partial 'what fits was written'
    run -0 eval 'head -c 4096 "$BATS_TEST_TMPDIR/in" | asks attach r --stdin'
}

@test "attach shows progress where standard error is a terminal" {
    require_tool script
    region 8192
    serve
    run -1 script -qec "$ctl attach r --stdin --control=$control </dev/zero" /dev/null
    # /dev/zero never ends: it is told, after the bar.
    [[ $output == *'[########################################] 8K'* ]]
}

@test "attach believes no reply without its descriptor, or with a smaller one" {
    printf '{"ok":true,"size":4096,"region":"r"}\n' >"$replies/attach"
    serve
    run -1 asks attach r -- true
    assert_output --partial 'no descriptor came with it'
    truncate -s 100 "$replies/attach.memory"
    run -1 asks attach r -- true
    assert_output --partial 'has 100 bytes, not 4096'
    printf '{"ok":false,"error":"there is no region r"}\n' >"$replies/attach"
    run -1 asks attach r -- true
    assert_output --partial 'there is no region r'
}

# --- a daemon that is not one -----------------------------------------------------------

@test "a reply that makes no sense is told, whatever it is, and is status 1" {
    local reply n=0
    serve
    while IFS= read -r reply; do
        printf '%b\n' "$reply" >"$replies/status"
        for what in status metrics 'top --once'; do
            # shellcheck disable=SC2086 # words
            run -1 --separate-stderr asks $what
            assert_output ''
            [[ $stderr = *'makes no sense'* && $stderr != *Sanitizer* ]] || fail "$what: $stderr"
        done
        n=$((n + 1))
    done <<'EOF'
nonsense
[]
7

{}
{"ok":1}
{"ok":true}
{"ok":true} {"ok":true}
{"ok":true,"regions":{},"devices":7,"connections":null,"version":"1"}
{"ok":true,"regions":[7],"devices":["x"],"connections":[null],"version":"1"}
{"ok":true,"regions":[{}],"devices":[{}],"connections":[{}],"version":"1"}
{"ok":true,"version":"\\ud800"}
{"ok":true,"version":"\\u0000"}
{"ok":true,"version":"\xff"}
EOF
    assert_equal "$n" 14
}

# Each value of the status, put to something else, one after the other.
@test "each value that is missing, or of another type, is told, and nothing is shown" {
    local change
    edited ''
    serve
    while IFS= read -r change; do
        edited "$change"
        run -1 --separate-stderr asks status
        assert_output ''
        [[ $stderr = *'makes no sense: "'* ]] || fail "$change: $stderr"
    done <<'EOF'
del s["pid"]
s["uptime"] = "long"
s["spare_workers"] = -1
s["generation"] = 1.5
s["regions"][1]["size"] = 1 << 60; s["regions"][1]["size"] = -1
s["regions"][0]["sync_error"] = 0
s["regions"][0]["retired"] = None
s["devices"][0]["name"] = None
s["devices"][0]["shm"][0]["shmid"] = "0"
del s["devices"][0]["shm"][0]["access"]
s["connections"][1]["rings"] = [0]
s["connections"][0]["rings"][0]["requests"] = None
s["connections"][0]["layers"] = []
s["connections"][0]["layers"]["missing"] = [1]
s["connections"][0]["mapped"] = None
s["connections"][0]["answers"] = "yes"
EOF
}

@test "who closes, is silent, or never ends a line costs no more than the time" {
    serve
    : >"$replies/status"
    run -1 --separate-stderr asks status
    [[ $stderr = *'closed the connection'* ]]
    rm "$replies/status"
    run -3 --separate-stderr asks status --timeout=1
    [[ $stderr = *'no answer in time'* ]]
    printf '{"ok":true' >"$replies/status"
    run -3 --separate-stderr asks status --timeout=1
    head -c 20000000 /dev/zero | tr '\0' ' ' >"$replies/status"
    run -1 --separate-stderr asks status
    [[ $stderr = *'its reply is too long'* ]]
}
