#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# How long who waits for whom.

# What helpers/common.bash sets or reads:
# shellcheck disable=SC2154,SC2034,SC2016

load helpers/common

@test "a front-end that sends half a message and then nothing is hung up on, and told so in the log" {
    start_daemon --message-timeout=1
    run -0 vuctl negotiate send id=1 size=8 payload=zero:3 expect-close
    assert_log 'connection closed: half a message, and no more for 1 s'
}

@test "a front-end that sends half a header is hung up on" {
    # Long enough for somebody who sends the other half, on a busy machine too.
    start_daemon --message-timeout=4
    run -0 vuctl on a send id=1 split=5 expect-reply on b negotiate expect-open
    run -0 bash -c 'exec 3<>/dev/null; python3 -c "
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b\"\\1\\0\\0\")
s.settimeout(float(sys.argv[2])); assert s.recv(1) == b\"\"" "$1" "$2"' _ "$socket" "$VUCTL_TIMEOUT"
    assert_log 'connection closed: half a message'
}

@test "while one front-end has sent half a message, another is served" {
    start_daemon --message-timeout=60
    run -0 vuctl on slow send id=1 size=8 payload=zero:3 on quick negotiate start expect-map flush stop
}

@test "whoever keeps on sending whole messages may take as long as it likes" {
    start_daemon --message-timeout=1
    # Longer than that, twice: nothing happens.
    run -0 vuctl negotiate run 'sleep 1.5' expect-open run 'sleep 1.5' expect-open
    refute_log 'half a message'
}

@test "a ring without a kick descriptor is polled" {
    start_daemon
    run -0 vuctl negotiate set-features mem-table set-vring kick=no enable expect-map submit expect-used submit count=3 expect-used stop
}

@test "a polled ring is left alone once it is stopped" {
    start_daemon
    run -0 vuctl negotiate set-features mem-table set-vring kick=no enable expect-map disable submit expect-idle
}
