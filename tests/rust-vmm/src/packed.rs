// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Copyright the vhost-shmemd authors

//! The driver's side of virtio-pmem with a packed ring (VIRTIO 1.3, 2.8), and
//! the buffer that keeps what is in flight there.

use std::fs::File;
use std::io::{self, BufRead};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{fence, Ordering};

use vhost::vhost_user::message::VhostUserInflight;
use vhost::vhost_user::VhostUserFrontend;
use vhost::{VhostBackend, VringConfigData};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use crate::migrate::connect_inflight;
use crate::vmm::{readable, Vmm, PATIENCE};

const VIRTIO_F_RING_PACKED: u64 = 1 << 34;

const SIZE: u16 = 8;
const DESC_F_NEXT: u16 = 1;
const DESC_F_WRITE: u16 = 2;
const DESC_F_AVAIL: u16 = 1 << 7;
const DESC_F_USED: u16 = 1 << 15;
const NO_ANSWER: u32 = 0x5a5a_5a5a;

/// A position in the ring, and the wrap counter there.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Position {
    index: u16,
    wrap: bool,
}

impl Position {
    const FIRST: Position = Position {
        index: 0,
        wrap: true,
    };

    /// Behind a request, which has two descriptors.
    fn next(self) -> Self {
        let index = self.index + 2;
        Position {
            index: index % SIZE,
            wrap: self.wrap ^ (index >= SIZE),
        }
    }

    /// As SET_VRING_BASE has it.
    fn wire(self) -> u16 {
        self.index | u16::from(self.wrap) << 15
    }
}

/// The ring and its requests, which bear numbers, in guest memory. It outlives
/// the connection, and so do the descriptors.
struct Packed {
    memory: GuestMemoryMmap,
    next: Position,
    used: Position,
    kick: EventFd,
    call: EventFd,
}

impl Packed {
    const DRIVER: u64 = 16 * SIZE as u64;
    const DEVICE: u64 = Self::DRIVER + 4;
    const BUFFERS: u64 = 1024;

    fn new(memory: GuestMemoryMmap) -> Self {
        let zeros = [0; 4096];
        memory
            .write_slice(&zeros, GuestAddress(0))
            .expect("guest memory");
        Packed {
            memory,
            next: Position::FIRST,
            used: Position::FIRST,
            kick: EventFd::new(EFD_NONBLOCK).expect("an eventfd"),
            call: EventFd::new(EFD_NONBLOCK).expect("an eventfd"),
        }
    }

    /// All of the ring's messages.
    fn start(&self, vmm: &mut Vmm) {
        let host = |at| {
            let place = self.memory.get_host_address(GuestAddress(at));
            place.expect("guest memory") as u64
        };
        let config = VringConfigData {
            queue_max_size: SIZE,
            queue_size: SIZE,
            flags: 0,
            desc_table_addr: host(0),
            avail_ring_addr: host(Self::DRIVER),
            used_ring_addr: host(Self::DEVICE),
            log_addr: None,
        };
        let frontend = &vmm.frontend;
        frontend.set_vring_num(0, SIZE).expect("SET_VRING_NUM");
        frontend.set_vring_addr(0, &config).expect("SET_VRING_ADDR");
        frontend
            .set_vring_base(0, self.used.wire())
            .expect("SET_VRING_BASE");
        frontend
            .set_vring_call(0, &self.call)
            .expect("SET_VRING_CALL");
        frontend
            .set_vring_kick(0, &self.kick)
            .expect("SET_VRING_KICK");
        vmm.enable();
    }

    /// The two descriptors of request `id`, but for whose turn it is.
    fn descriptors(id: u16) -> [(u64, u16); 2] {
        let request = Self::BUFFERS + 8 * u64::from(id);
        [(request, DESC_F_NEXT), (request + 4, DESC_F_WRITE)]
    }

    /// Make FLUSH number `id` available; returns the flags of its descriptors.
    fn give(&mut self, id: u16) -> [u16; 2] {
        let turn = if self.next.wrap {
            DESC_F_AVAIL
        } else {
            DESC_F_USED
        };
        let parts = Self::descriptors(id);
        let put = |at: u64, value: &[u8]| {
            let place = GuestAddress(at);
            self.memory.write_slice(value, place).expect("guest memory");
        };
        put(parts[0].0, &0u32.to_le_bytes());
        put(parts[1].0, &NO_ANSWER.to_le_bytes());
        // An even ring: the two do not wrap. The first one's flags come last.
        for (i, (address, flags)) in parts.into_iter().enumerate().rev() {
            let at = 16 * (u64::from(self.next.index) + i as u64);
            put(at, &address.to_le_bytes());
            put(at + 8, &4u32.to_le_bytes());
            put(at + 12, &id.to_le_bytes());
            fence(Ordering::Release);
            put(at + 14, &(flags | turn).to_le_bytes());
        }
        self.next = self.next.next();
        parts.map(|(_, flags)| flags | turn)
    }

    fn get16(&self, at: u64) -> u16 {
        let value: u16 = self
            .memory
            .load(GuestAddress(at), Ordering::Acquire)
            .expect("guest memory");
        u16::from_le(value)
    }

    fn has_used(&self) -> bool {
        let flags = self.get16(16 * u64::from(self.used.index) + 14);
        let bits = [DESC_F_AVAIL, DESC_F_USED].map(|bit| flags & bit != 0);
        bits == [self.used.wrap; 2]
    }

    /// Wait for the next used request, which must be a success, and return its
    /// number.
    fn take(&mut self) -> u16 {
        while !self.has_used() {
            assert!(readable(self.call.as_raw_fd(), PATIENCE), "no call");
            self.call.read().expect("the call's counter");
        }
        let id = self.get16(16 * u64::from(self.used.index) + 12);
        let answer = Self::descriptors(id)[1].0;
        assert_eq!((self.get16(answer), self.get16(answer + 2)), (0, 0));
        self.used = self.used.next();
        id
    }

    fn flush(&mut self, id: u16) {
        self.give(id);
        fence(Ordering::SeqCst);
        self.kick.write(1).expect("a kick");
        assert_eq!(self.take(), id, "the used request");
    }
}

/// The buffer's region: 32 bytes, and 32 for each entry.
struct Region {
    file: File,
    wire: VhostUserInflight,
}

// Offsets in the region ...
const VERSION: u64 = 8;
const DESC_NUM: u64 = 10;
const FREE_HEAD: u64 = 12;
const OLD_FREE_HEAD: u64 = 14;
const USED_IDX: u64 = 16;
const OLD_USED_IDX: u64 = 18;
const USED_WRAP: u64 = 20;
const OLD_USED_WRAP: u64 = 21;
// ... and in an entry.
const INFLIGHT: u64 = 0;
const NEXT: u64 = 2;
const LAST: u64 = 4;
const NUM: u64 = 6;
const COUNTER: u64 = 8;
const ID: u64 = 16;
const FLAGS: u64 = 18;
const LEN: u64 = 20;
const ADDR: u64 = 24;

fn entry(i: u16) -> u64 {
    32 * (1 + u64::from(i))
}

impl Region {
    fn get(vmm: &mut Vmm) -> Self {
        let (wire, file) = vmm
            .frontend
            .get_inflight_fd(&VhostUserInflight::new(0, 0, 1, SIZE))
            .expect("GET_INFLIGHT_FD");
        assert!(wire.mmap_size >= entry(SIZE), "too small for a packed ring");
        Region { file, wire }
    }

    fn set(&self, vmm: &mut Vmm) {
        vmm.frontend
            .set_inflight_fd(&self.wire, self.file.as_raw_fd())
            .expect("SET_INFLIGHT_FD");
    }

    fn byte(&self, at: u64) -> u8 {
        let mut byte = [0];
        let at = self.wire.mmap_offset + at;
        self.file.read_exact_at(&mut byte, at).expect("the buffer");
        byte[0]
    }

    fn u16(&self, at: u64) -> u16 {
        u16::from_ne_bytes([self.byte(at), self.byte(at + 1)])
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        let at = self.wire.mmap_offset + at;
        self.file.write_all_at(bytes, at).expect("the buffer");
    }

    fn put16(&self, at: u64, value: u16) {
        self.put(at, &value.to_ne_bytes());
    }

    /// How many entries are marked.
    fn marked(&self) -> usize {
        (0..SIZE)
            .filter(|&i| self.byte(entry(i) + INFLIGHT) != 0)
            .count()
    }

    /// Nothing is in flight, the last batch is complete, all entries are free
    /// and the next one is used at `used`.
    fn assert_idle(&self, used: Position) {
        assert_eq!((self.u16(VERSION), self.u16(DESC_NUM)), (1, SIZE));
        for (index, wrap) in [(USED_IDX, USED_WRAP), (OLD_USED_IDX, OLD_USED_WRAP)] {
            let wrap = self.byte(wrap) != 0;
            let index = self.u16(index);
            assert_eq!(Position { index, wrap }, used);
        }
        assert_eq!(self.u16(FREE_HEAD), self.u16(OLD_FREE_HEAD));
        assert_eq!(self.marked(), 0);
        let mut seen = [false; SIZE as usize];
        let mut head = self.u16(FREE_HEAD);
        for _ in 0..SIZE {
            assert!(!std::mem::replace(&mut seen[usize::from(head)], true));
            head = self.u16(entry(head) + NEXT);
        }
    }

    /// What a back-end stores when it takes a request.
    fn take(&self, id: u16, flags: [u16; 2], counter: u64) {
        let head = self.u16(OLD_FREE_HEAD);
        let mut at = head;
        self.put16(entry(head) + NUM, 2);
        self.put(entry(head) + COUNTER, &counter.to_ne_bytes());
        self.put(entry(head) + INFLIGHT, &[1]);
        for ((address, _), flags) in Packed::descriptors(id).into_iter().zip(flags) {
            self.put16(entry(head) + LAST, at);
            self.put16(entry(at) + ID, id);
            self.put16(entry(at) + FLAGS, flags);
            self.put(entry(at) + LEN, &4u32.to_ne_bytes());
            self.put(entry(at) + ADDR, &address.to_ne_bytes());
            at = self.u16(entry(at) + NEXT);
        }
        self.put16(FREE_HEAD, at);
        self.put16(OLD_FREE_HEAD, at);
    }

    /// Take back what a back-end stores after a completion is in the ring.
    fn undo_last(&self, used: Position) {
        let head = self.u16(FREE_HEAD);
        let last = self.u16(entry(head) + LAST);
        self.put16(OLD_FREE_HEAD, self.u16(entry(last) + NEXT));
        self.put16(OLD_USED_IDX, used.index);
        self.put(OLD_USED_WRAP, &[u8::from(used.wrap)]);
        self.put(entry(head) + INFLIGHT, &[1]);
    }
}

fn connect(socket: &str) -> Vmm {
    let mut vmm = connect_inflight(socket);
    vmm.features |= VIRTIO_F_RING_PACKED;
    vmm.set_features();
    vmm
}

/// As `inflight-killed`, with a packed ring.
pub fn inflight_killed(socket: &str) {
    let mut vmm = connect(socket);
    let region = Region::get(&mut vmm);
    region.set(&mut vmm);
    vmm.set_mem_table();
    let mut ring = Packed::new(vmm.memory.clone());
    ring.start(&mut vmm);
    let mut before = ring.used;
    for id in 0..5 {
        before = ring.used;
        ring.flush(id);
    }
    vmm.settle();
    region.assert_idle(ring.used);
    println!("ready");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).expect("a line");
    assert!(readable(vmm.frontend.as_raw_fd(), PATIENCE), "it lives on");

    // It had completed the last of these, and not noted that down; two more it
    // had taken, the second one first; and one it had not seen.
    region.undo_last(before);
    assert_eq!(region.marked(), 1);
    let used = ring.used;
    let mut other = connect(socket);
    region.set(&mut other);
    other.memory = vmm.memory;
    other.set_mem_table();
    ring.start(&mut other);
    other.settle();
    assert!(!ring.has_used() && ring.used == used, "it was done again");
    region.assert_idle(used);
    drop(other);

    let flags = [20, 21].map(|id| ring.give(id));
    region.take(20, flags[0], 9);
    region.take(21, flags[1], 8);
    ring.give(22);
    let mut last = connect(socket);
    region.set(&mut last);
    last.memory = ring.memory.clone();
    last.set_mem_table();
    ring.start(&mut last);
    for id in [21, 20, 22] {
        assert_eq!(ring.take(), id, "the order of the counters");
    }
    last.settle();
    assert!(!ring.has_used(), "one too many");
    region.assert_idle(ring.used);
    for id in 0..9 {
        ring.flush(id);
    }
    let base = last.frontend.get_vring_base(0).expect("GET_VRING_BASE");
    assert_eq!(base, u32::from(ring.used.wire()) * 0x1_0001);
    region.assert_idle(ring.used);
}
