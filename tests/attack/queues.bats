#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# What strangers queue costs nobody but them: see attack.
# shellcheck disable=SC2154 # helpers/common.bash sets them

load ../helpers/common

setup() {
    common_setup
    for_all_users
    other=$private_dir/other
}

# Two devices; nobody but root is allowed on the one that is attacked.
start_for_root_alone() {
    start_with_config <<END
region "a" { size = 4M }
region "b" { size = 4M }
device "a" { socket = $socket  socket-mode = 0666  allow-user = { root }  shm 0 { region = a } }
device "b" { socket = $other  socket-mode = 0666  shm 0 { region = b } }
END
}

# attacked NAME ARG...: this attack by another user, with a neighbour at the
# other device.
attacked() {
    run -0 "$top_srcdir/tests/attack/attack" --daemon "$daemon_pid" --socket "$socket" \
        --neighbour "$other" "$@"
}

# Without that option of Linux 6.16 the supervisor is held up; the manual says so.
require_passrights() {
    python3 -c 'import socket; socket.socketpair()[0].getsockopt(socket.SOL_SOCKET, 83)' 2>/dev/null ||
        skip 'this kernel has no SO_PASSRIGHTS'
}

@test "packet sockets that a refused front-end has queued hold nobody up" {
    require_passrights
    start_for_root_alone
    attacked queued-packet-sockets
}
