#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# Linux 6.16 and later (tried: 6.18.44), SO_PASSRIGHTS of a listening UNIX
# socket: the connection gets what the option is when connect() makes it, not
# when accept() hands it out.
#
# For a developer: to switch the option off before accept() is too late for those
# who wait in the queue already, as they do on a socket that a service manager
# has listened on before: they can still send descriptors. And to switch it on
# again for the listening socket does not reach those who connected while
# it was off: their sendmsg() fails with EPERM until it is switched on for the
# accepted socket itself. So ask each accepted socket with getsockopt().
#
# usage: findings/passrights-at-connect.sh      needs python3 and such a kernel

set -euo pipefail
exec python3 - <<'END'
import array, errno, os, socket, sys, tempfile

SO_PASSRIGHTS = 83


def send_fd(sock):
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))
    try:
        sock.sendmsg([b"x"], [rights])
        return "taken"
    except OSError as error:
        return errno.errorcode[error.errno]


with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "socket")
    door = socket.socket(socket.AF_UNIX)
    door.bind(path)
    door.listen()

    def connect():
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        return sock

    before = connect()
    try:
        door.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)
    except OSError:
        sys.exit(f"Linux {os.uname().release} has no SO_PASSRIGHTS; 6.16 has")
    while_off = connect()
    seen = {"connected before it was switched off": send_fd(before),
            "connected while it was off": send_fd(while_off)}
    door.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 1)
    seen["the same, the listening socket switched on again"] = send_fd(while_off)
    ends = [door.accept()[0] for _ in range(2)]
    for end, name in zip(ends, ("first", "second")):
        value = end.getsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS)
        seen[f"the option of the {name} accepted socket"] = value
    ends[1].setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 1)
    seen["the second one switched on by itself"] = send_fd(while_off)

for what, value in seen.items():
    print(f"{what}: {value}")
if list(seen.values()) != ["taken", "EPERM", "EPERM", 1, 0, "taken"]:
    sys.exit("that has changed")
END
