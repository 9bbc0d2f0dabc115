#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""virtio-blk.py SOCKET: take a vhost-user socket for a disk with libblkio, and
print how far that goes, one line a step; the first that fails is the last,
but for reading and writing, which are both tried."""

import ctypes
import sys


class Region(ctypes.Structure):
    """struct blkio_mem_region"""
    _fields_ = [("addr", ctypes.c_void_p), ("iova", ctypes.c_uint64),
                ("len", ctypes.c_size_t), ("fd_offset", ctypes.c_int64),
                ("fd", ctypes.c_int), ("flags", ctypes.c_uint32)]


class Completion(ctypes.Structure):
    """struct blkio_completion"""
    _fields_ = [("user_data", ctypes.c_void_p), ("error", ctypes.c_char_p),
                ("ret", ctypes.c_int), ("reserved", ctypes.c_uint8 * 12)]


class Timespec(ctypes.Structure):
    """struct timespec"""
    _fields_ = [("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long)]


blkio = ctypes.CDLL("libblkio.so.1")
blkio.blkio_get_error_msg.restype = ctypes.c_char_p
blkio.blkio_get_queue.restype = ctypes.c_void_p


def must(name, *args):
    """Call a function of libblkio's, or end with its words."""
    if getattr(blkio, name)(*args) < 0:
        print(f"{name}: {blkio.blkio_get_error_msg().decode()}")
        sys.exit(1)


def try_block(disk, memory, what):
    """Read or write the first 4096 bytes."""
    queue = ctypes.c_void_p(blkio.blkio_get_queue(disk, 0))
    done = Completion()
    getattr(blkio, f"blkioq_{what}")(
        queue, ctypes.c_uint64(0), ctypes.c_void_p(memory.addr),
        ctypes.c_size_t(4096), None, 0)
    count = blkio.blkioq_do_io(queue, ctypes.byref(done), 1, 1,
                               ctypes.byref(Timespec(60, 0)))
    if count != 1:
        print(f"{what}: not within a minute ({count})")
    else:
        print(f"{what}: {'done' if done.ret == 0 else 'refused'}")


def main():
    """Take the way of a program that uses a disk."""
    disk, capacity, memory = ctypes.c_void_p(), ctypes.c_uint64(), Region()
    must("blkio_create", b"virtio-blk-vhost-user", ctypes.byref(disk))
    must("blkio_set_str", disk, b"path", sys.argv[1].encode())
    must("blkio_connect", disk)
    must("blkio_get_uint64", disk, b"capacity", ctypes.byref(capacity))
    print(f"capacity: {capacity.value}")
    must("blkio_start", disk)
    must("blkio_alloc_mem_region", disk, ctypes.byref(memory),
         ctypes.c_size_t(4096))
    must("blkio_map_mem_region", disk, ctypes.byref(memory))
    try_block(disk, memory, "write")
    try_block(disk, memory, "read")


main()
