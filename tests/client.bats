#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# Client mode: the front-end listens, and we connect.

# What helpers/common.bash sets or reads:
# shellcheck disable=SC2154,SC2034,SC2030,SC2031

load helpers/common

# front_end STEP...: listen at $socket, and play the steps on what connects.
front_end() {
    python3 - "$socket" "$top_srcdir/tests/vuctl" "$@" <<'PY'
import os, socket, sys
path, vuctl, *steps = sys.argv[1:]
s = socket.socket(socket.AF_UNIX)
s.bind(path)
s.listen()
s.settimeout(float(os.environ["VUCTL_TIMEOUT"]))
c, _ = s.accept()
c.setblocking(True)
os.set_inheritable(c.fileno(), True)
os.execv(vuctl, [vuctl, "--fd", str(c.fileno()), *steps])
PY
}

start_client() {
    "$SHMEMD" --worker="$SHMEMD_WORKER" --connect="$socket" --region=shmid=0,size=4M,name=test >>"$log" 2>&1 3>&- &
    daemon_pid=$!
}

@test "a front-end that listens is connected to and served, and its end is ours" {
    start_client
    run -0 front_end negotiate start expect-map flush stop
    wait_until has_ended "$daemon_pid"
    wait "$daemon_pid"
    daemon_pid=
    assert_log 'conn 1: front-end left'
}

@test "a front-end that listens only later is waited for" {
    start_client
    assert_log "waiting for a front-end to listen on $socket"
    run -0 front_end negotiate start expect-map flush stop
    wait_until has_ended "$daemon_pid"
    daemon_pid=
}

@test "while it waits for a front-end SIGTERM ends it" {
    start_client
    assert_log "waiting for a front-end"
    stop_daemon TERM
}

@test "a path that cannot be a socket is refused at once" {
    run -1 "$SHMEMD" --worker="$SHMEMD_WORKER" --connect=/"$(printf 'x%.0s' {1..120})" --region=shmid=0,size=4M
    assert_output --regexp 'File ?name too long' # glibc, musl
}

@test "--connect, --socket-path and --fd exclude each other" {
    run -1 "$SHMEMD" --connect="$socket" --socket-path="$socket" --region=shmid=0,size=4M
    assert_output --partial 'exclude each other'
    run -1 "$SHMEMD" --connect="$socket" --fd=5 --region=shmid=0,size=4M
    assert_output --partial 'exclude each other'
}
