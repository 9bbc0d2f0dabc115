// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Copyright the vhost-shmemd authors

//! The driver's side of virtio-pmem: a split ring in guest memory (VIRTIO 1.3,
//! 2.7) and FLUSH (5.19.6).
//!
//! By hand, because `virtio_queue::mock::MockSplitQueue` (0.18) puts the used
//! ring into the upper half of the available ring; the layouts are the crate's.

use std::os::fd::AsRawFd;
use std::sync::atomic::{fence, Ordering};

use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

use crate::vmm::{readable, PATIENCE};

const SIZE: u16 = 8;
const DESC_F_NEXT: u16 = 1;
const DESC_F_WRITE: u16 = 2;
const DESC_F_INDIRECT: u16 = 4;
const REQ_FLUSH: u32 = 0;
/// No value that the device is told to answer with.
const NO_ANSWER: u32 = 0x5a5a_5a5a;

// Where things are, from the ring's or the buffers' base.
const AVAIL: u64 = 16 * SIZE as u64;
const USED: u64 = AVAIL + 32;
const REQUEST_LEN: u64 = 8;
const TABLES: u64 = 256;

/// How a request's descriptors are given to the device.
#[derive(Clone, Copy)]
pub enum Chain {
    /// Two descriptors of the ring's table.
    Direct,
    /// One, which refers to a table of two.
    Indirect,
}

/// A ring of eight, for up to [`Ring::BATCH`] requests at a time.
pub struct Ring {
    base: GuestAddress,
    buffers: GuestAddress,
    next_avail: u16,
    next_used: u16,
}

impl Ring {
    /// Requests that fit at a time.
    pub const BATCH: u16 = SIZE / 2;
    /// Bytes that the ring takes, and the same for its buffers.
    pub const BYTES: u64 = 512;

    /// An empty ring at `base`, with its requests at `buffers`.
    pub fn new(memory: &GuestMemoryMmap, base: GuestAddress, buffers: GuestAddress) -> Self {
        let zeros = [0; Self::BYTES as usize];
        memory.write_slice(&zeros, base).expect("the ring's place");
        memory.write_slice(&zeros, buffers).expect("the buffers'");
        Ring {
            base,
            buffers,
            next_avail: 0,
            next_used: 0,
        }
    }

    /// Entries of the ring.
    pub fn size(&self) -> u16 {
        SIZE
    }

    /// Guest addresses of descriptor table, available ring and used ring.
    pub fn addresses(&self) -> [GuestAddress; 3] {
        [0, AVAIL, USED].map(|offset| at(self.base, offset))
    }

    /// What the device counts as next: how many requests it was given.
    pub fn given(&self) -> u16 {
        self.next_avail
    }

    fn put_descriptor(&self, memory: &GuestMemoryMmap, table: GuestAddress, i: u16, d: Descriptor) {
        memory
            .write_obj(d, at(table, 16 * u64::from(i)))
            .expect("a descriptor's place");
    }

    /// Put the n-th request of a batch into the ring, with a stale answer. Its
    /// head is twice n.
    pub fn give(&mut self, memory: &GuestMemoryMmap, n: u16, chain: Chain) {
        let request = at(self.buffers, REQUEST_LEN * u64::from(n));
        let answer = at(request, 4);
        let table = at(self.buffers, TABLES + 32 * u64::from(n));
        let head = 2 * n;

        memory
            .write_obj(REQ_FLUSH.to_le(), request)
            .expect("a request's place");
        memory
            .write_obj(NO_ANSWER.to_le(), answer)
            .expect("an answer's place");

        let (table, first) = match chain {
            Chain::Direct => (self.base, head),
            Chain::Indirect => {
                let d = Descriptor::new(table.0, 32, DESC_F_INDIRECT, 0);
                self.put_descriptor(memory, self.base, head, d);
                (table, 0)
            }
        };
        let readable = Descriptor::new(request.0, 4, DESC_F_NEXT, first + 1);
        let writable = Descriptor::new(answer.0, 4, DESC_F_WRITE, 0);
        self.put_descriptor(memory, table, first, readable);
        self.put_descriptor(memory, table, first + 1, writable);

        let slot = 4 + 2 * u64::from(self.next_avail % SIZE);
        memory
            .write_obj(head.to_le(), at(self.base, AVAIL + slot))
            .expect("the available ring");
        self.next_avail = self.next_avail.wrapping_add(1);
        memory
            .store(
                self.next_avail.to_le(),
                at(self.base, AVAIL + 2),
                Ordering::Release,
            )
            .expect("the available index");
    }

    /// Take the n-th answer of a batch, which must be the next and a success.
    pub fn take(&mut self, memory: &GuestMemoryMmap, n: u16) {
        let slot = 4 + 8 * u64::from(self.next_used % SIZE);
        // The crate's VirtqUsedElem shows its fields to its own tests only.
        let [id, len]: [u32; 2] = memory
            .read_obj(at(self.base, USED + slot))
            .expect("the used ring");
        let answer: u32 = memory
            .read_obj(at(self.buffers, REQUEST_LEN * u64::from(n) + 4))
            .expect("an answer's place");

        assert_eq!(u32::from_le(id), u32::from(2 * n), "the used chain's head");
        assert_eq!(u32::from_le(len), 4, "bytes that the device says it wrote");
        assert_eq!(u32::from_le(answer), 0, "the answer to FLUSH");
        self.next_used = self.next_used.wrapping_add(1);
    }

    /// The used ring's index.
    pub fn used_index(&self, memory: &GuestMemoryMmap) -> u16 {
        let index = memory
            .load(at(self.base, USED + 2), Ordering::Acquire)
            .expect("the used index");
        u16::from_le(index)
    }

    /// Make `n` FLUSHes available and kick once, wait for the call, and check
    /// each answer.
    pub fn flush(
        &mut self,
        memory: &GuestMemoryMmap,
        kick: &EventFd,
        call: &EventFd,
        n: u16,
        chain: Chain,
    ) {
        assert!(n <= Self::BATCH);
        for i in 0..n {
            self.give(memory, i, chain);
        }
        fence(Ordering::SeqCst);
        kick.write(1).expect("a kick");
        self.wait(memory, call);
        for i in 0..n {
            self.take(memory, i);
        }
    }

    /// Wait until as many requests have been used as were given.
    pub fn wait(&self, memory: &GuestMemoryMmap, call: &EventFd) {
        loop {
            assert!(
                readable(call.as_raw_fd(), PATIENCE),
                "no call; the used index is {}, and {} were given",
                self.used_index(memory),
                self.next_avail
            );
            call.read().expect("the call's counter");
            if self.used_index(memory) == self.next_avail {
                return;
            }
        }
    }
}

fn at(base: GuestAddress, offset: u64) -> GuestAddress {
    GuestAddress(base.0 + offset)
}
