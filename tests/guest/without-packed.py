#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""without-packed.py SOCKET BACK-END: listen on SOCKET, hand one connection on to
the back-end's socket, and print the numbers of the front-end's requests.

It takes packed rings out of what GET_FEATURES offers. Linux's virtio_uml accepts
them and then sends 0 for SET_VRING_BASE, which says that the ring's first wrap
counter is 0; the driver begins with 1 (VIRTIO 1.3, 2.8.1), so no back-end finds
its requests. All else goes through as it is, with its descriptors.
"""

import array
import socket
import struct
import sys
import threading

HEADER = struct.Struct("<III")
GET_FEATURES = 1
RING_PACKED = 1 << 34


def receive(sock):
    """One message and its descriptors; no bytes at the end."""
    data, fds = b"", array.array("i")
    need = HEADER.size
    while len(data) < need:
        more, control, _, _ = sock.recvmsg(need - len(data), socket.CMSG_SPACE(64 * 4))
        for level, kind, value in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(value)
        if not more:
            return b"", fds
        data += more
        if len(data) == HEADER.size:
            need += HEADER.unpack(data)[2]
    return data, fds


def send(sock, data, fds):
    """Send a message, and close its descriptors here."""
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else []
    sent = sock.sendmsg([data], control)
    sock.sendall(data[sent:])
    for fd in fds:
        socket.close(fd)


def answers(back, front):
    """From the back-end to the front-end."""
    while (message := receive(back))[0]:
        data, fds = message
        if HEADER.unpack_from(data)[0] == GET_FEATURES:
            features, = struct.unpack_from("<Q", data, HEADER.size)
            data = data[:HEADER.size] + struct.pack("<Q", features & ~RING_PACKED)
        send(front, data, fds)
    front.shutdown(socket.SHUT_RDWR)


def main():
    """Serve one front-end to its end."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as back:
        listener.bind(sys.argv[1])
        listener.listen()
        front, _ = listener.accept()
        with front:
            back.connect(sys.argv[2])
            thread = threading.Thread(target=answers, args=(back, front))
            thread.start()
            while (message := receive(front))[0]:
                print(HEADER.unpack_from(message[0])[0], flush=True)
                send(back, *message)
            back.shutdown(socket.SHUT_WR)
            thread.join()


main()
