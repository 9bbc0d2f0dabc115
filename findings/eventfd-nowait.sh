#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# Linux (tried: 6.18.44), preadv2() and pwritev2() with RWF_NOWAIT on an eventfd:
# reading is possible, and gives EAGAIN at 0 although the descriptor blocks;
# writing fails with EOPNOTSUPP even where it would not wait. A pipe takes both.
#
# For a developer: an eventfd that somebody else shares, such as a kick
# descriptor of vhost, can be drained without setting O_NONBLOCK, which is a flag
# of the open file and would reach the other side. There is no such way to signal
# one: write() waits if the counter is full, and the flag would have to be set.
# And whoever probes by a read whether a descriptor knows RWF_NOWAIT learns
# nothing about writes.
#
# usage: findings/eventfd-nowait.sh      needs python3

set -euo pipefail
exec python3 - <<'END'
import errno, os, sys


def outcome(call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno].replace("ENOTSUP", "EOPNOTSUPP")


event = os.eventfd(0, 0)
reader, writer = os.pipe()
buffer, one = bytearray(8), (1).to_bytes(8, sys.byteorder)
seen = {
    "eventfd at 0, read": outcome(os.preadv, event, [buffer], -1, os.RWF_NOWAIT),
    "eventfd, write": outcome(os.pwritev, event, [one], -1, os.RWF_NOWAIT),
    "eventfd, write without the flag": outcome(os.pwritev, event, [one], -1, 0),
    "eventfd at 1, read": outcome(os.preadv, event, [buffer], -1, os.RWF_NOWAIT),
    "empty pipe, read": outcome(os.preadv, reader, [buffer], -1, os.RWF_NOWAIT),
    "pipe, write": outcome(os.pwritev, writer, [one], -1, os.RWF_NOWAIT),
}
for what, value in seen.items():
    print(f"{what}: {value}")
if list(seen.values()) != ["EAGAIN", "EOPNOTSUPP", 8, 8, "EAGAIN", 8]:
    sys.exit("that has changed")
END
