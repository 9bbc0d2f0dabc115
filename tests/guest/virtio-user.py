#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""virtio-user.py SOCKET: set up and start a network port of DPDK's virtio-user
on a vhost-user socket, as dpdk-testpmd does, and print whether its link is up.

Calls DPDK's libraries, so that no program of DPDK's, which each need some
hundred packages, has to be there.
"""

import ctypes
import glob
import sys


def library(name):
    """One of DPDK's, of whatever version is there."""
    return ctypes.CDLL(
        glob.glob(f"/usr/lib/x86_64-linux-gnu/librte_{name}.so.*")[0],
        ctypes.RTLD_GLOBAL)


def must(what, result):
    """Fail with words unless DPDK is content."""
    if result < 0:
        sys.exit(f"{what}: {result}")


def main():
    """Take the way of a network program up to the started port."""
    eal, mbuf, ethdev = library("eal"), library("mbuf"), library("ethdev")
    args = [
        b"virtio-user", b"--no-huge", b"-m", b"128", b"--no-pci",
        b"--no-telemetry", b"--in-memory", b"-l", b"0",
        b"--vdev=virtio_user0,queues=1,path=" + sys.argv[1].encode()]
    must("rte_eal_init", eal.rte_eal_init(
        len(args), (ctypes.c_char_p * len(args))(*args)))
    if ethdev.rte_eth_dev_count_avail() != 1:
        sys.exit("no port")
    # struct rte_eth_conf, which is smaller, with nothing set.
    conf = ctypes.create_string_buffer(8192)
    must("rte_eth_dev_configure", ethdev.rte_eth_dev_configure(0, 1, 1, conf))
    mbuf.rte_pktmbuf_pool_create.restype = ctypes.c_void_p
    pool = ctypes.c_void_p(
        mbuf.rte_pktmbuf_pool_create(b"pool", 1024, 0, 0, 2176, 0))
    must("rte_eth_rx_queue_setup",
         ethdev.rte_eth_rx_queue_setup(0, 0, 256, 0, None, pool))
    must("rte_eth_tx_queue_setup",
         ethdev.rte_eth_tx_queue_setup(0, 0, 256, 0, None))
    must("rte_eth_dev_start", ethdev.rte_eth_dev_start(0))
    # struct rte_eth_link: u32 speed, then bits: duplex, autoneg, status.
    link = (ctypes.c_uint32 * 4)()
    must("rte_eth_link_get_nowait", ethdev.rte_eth_link_get_nowait(0, link))
    print("link up" if link[1] & 4 else "link down")


main()
