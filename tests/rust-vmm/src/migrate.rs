// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Copyright the vhost-shmemd authors

//! Scenarios of what a guest needs to go on elsewhere, or with another
//! back-end: the dirty log, requests in flight and the device's state.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use vhost::vhost_user::message::{
    VhostTransferStateDirection as Direction, VhostTransferStatePhase, VhostUserInflight,
};
use vhost::vhost_user::{VhostUserFrontend, VhostUserProtocolFeatures};
use vhost::{VhostBackend, VhostUserDirtyLogRegion};
use vm_memory::GuestAddress;
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use crate::ring::Chain;
use crate::scenarios::{activated, assert_refused};
use crate::vmm::{guest_memory, memfd, readable, Vmm, PAGE, PATIENCE};

// --- the dirty log ------------------------------------------------------------------

/// VHOST_F_LOG_ALL: writes to guest memory are logged.
const LOG_ALL: u64 = 1 << 26;

/// A log of the pages below `8 * PAGE * LOG_BYTES`, at an offset of its file.
struct Log {
    file: Arc<File>,
    offset: u64,
}

const LOG_BYTES: u64 = 8;

impl Log {
    fn new(offset: u64) -> Self {
        let file = memfd(offset + LOG_BYTES);
        Log { file, offset }
    }

    /// SET_LOG_BASE. The crate has checked that the answer is one to it.
    fn set(&self, vmm: &Vmm) {
        let region = VhostUserDirtyLogRegion {
            mmap_size: LOG_BYTES,
            mmap_offset: self.offset,
            mmap_handle: self.file.as_raw_fd(),
        };
        vmm.frontend
            .set_log_base(0, Some(region))
            .expect("SET_LOG_BASE");
    }

    /// Take the numbers of the pages that are dirty; then none is.
    fn take(&self) -> Vec<u64> {
        let mut all = vec![0; (self.offset + LOG_BYTES) as usize];
        self.file.read_exact_at(&mut all, 0).expect("the log");
        self.file
            .write_all_at(&vec![0; all.len()], 0)
            .expect("the log");
        let (before, log) = all.split_at(self.offset as usize);
        assert!(before.iter().all(|&byte| byte == 0), "before the log");
        (0..8 * LOG_BYTES)
            .filter(|&page| log[page as usize / 8] & (1 << (page % 8)) != 0)
            .collect()
    }
}

/// A migration of the guest begins, is given up, and begins anew.
pub fn dirty_log(socket: &str) {
    let mut vmm = Vmm::connect_with(socket, VhostUserProtocolFeatures::LOG_SHMFD);
    let event = EventFd::new(EFD_NONBLOCK).expect("an eventfd");
    let log = Log::new(0);
    // Pages 0, 2 and 4; the answers are in the first, the ring in the last.
    vmm.use_memory(guest_memory(3, PAGE));
    let [_, _, used] = vmm.ring.addresses();
    let offered = vmm.frontend.get_features().expect("GET_FEATURES");
    assert_ne!(offered & LOG_ALL, 0, "LOG_ALL is not offered");

    // What is not logged: there is no log yet; nothing is to be logged.
    vmm.activate(None);
    vmm.flush_some();
    log.set(&vmm);
    vmm.frontend
        .set_log_fd(event.as_raw_fd())
        .expect("SET_LOG_FD");
    vmm.flush_some();
    vmm.settle();
    assert!(log.take().is_empty());
    assert!(event.read().is_err(), "told of a log without anything new");

    // While the ring runs: answers only, and then the ring, too.
    vmm.features |= LOG_ALL;
    vmm.set_features();
    vmm.flush_some();
    assert_eq!(log.take(), [0]);
    assert!(readable(event.as_raw_fd(), PATIENCE), "not told of the log");
    vmm.used_log = Some(used);
    vmm.set_vring_addr();
    vmm.settle();
    event.read().expect("the event's counter");
    assert!(log.take().is_empty());
    vmm.flush_some();
    assert_eq!(log.take(), [0, 4]);
    assert!(readable(event.as_raw_fd(), PATIENCE), "not told of the log");
    assert!(log.take().is_empty());
    vmm.flush_well();
    assert_eq!(log.take(), [0, 4]);

    // It is logged where the front-end wants it to be, also in another log.
    vmm.used_log = Some(GuestAddress(17 * PAGE));
    vmm.set_vring_addr();
    let other = Log::new(PAGE + 24);
    other.set(&vmm);
    vmm.flush_some();
    assert!(log.take().is_empty());
    assert_eq!(other.take(), [0, 17]);
    // What has no bit in the log has none anywhere else.
    vmm.used_log = Some(GuestAddress(8 * LOG_BYTES * PAGE));
    vmm.set_vring_addr();
    vmm.flush_some();
    assert_eq!(other.take(), [0]);

    // The end of it, and another beginning.
    vmm.features &= !LOG_ALL;
    vmm.set_features();
    vmm.settle();
    let _ = event.read();
    vmm.flush_some();
    vmm.settle();
    assert!(other.take().is_empty());
    assert!(event.read().is_err(), "told of a log without anything new");
    vmm.features |= LOG_ALL;
    vmm.used_log = Some(used);
    vmm.set_features();
    vmm.set_vring_addr();
    log.set(&vmm);
    vmm.flush_some();
    assert_eq!((log.take(), other.take()), (vec![0, 4], vec![]));
    vmm.reset();
}

// --- requests in flight ---------------------------------------------------------------

/// The buffer for one split ring, with the layout of vhost-user.rst, "Inflight
/// I/O tracking"; all in the host's byte order.
struct Inflight {
    file: File,
    wire: VhostUserInflight,
}

/// A queue's region; behind its 16 bytes are as many for each entry.
#[derive(Debug, PartialEq)]
struct Region {
    features: u64,
    version: u16,
    desc_num: u16,
    last_batch_head: u16,
    used_idx: u16,
}

impl Inflight {
    const ENTRY: u64 = 16;
    const USED_IDX: u64 = 14;
    const COUNTER: u64 = 8;

    /// GET_INFLIGHT_FD.
    fn get(vmm: &mut Vmm) -> Self {
        let entries = vmm.ring.size();
        let (wire, file) = vmm
            .frontend
            .get_inflight_fd(&VhostUserInflight::new(0, 0, 1, entries))
            .expect("GET_INFLIGHT_FD");
        assert_eq!((wire.num_queues, wire.queue_size), (1, entries));
        assert!(wire.mmap_size >= Self::ENTRY * (1 + u64::from(entries)));
        let inflight = Inflight { file, wire };
        let bytes = inflight.read(0, wire.mmap_size as usize);
        assert!(bytes.iter().all(|&b| b == 0), "a new buffer is not zero");
        inflight
    }

    /// SET_INFLIGHT_FD.
    fn set(&self, vmm: &mut Vmm) {
        vmm.frontend
            .set_inflight_fd(&self.wire, self.file.as_raw_fd())
            .expect("SET_INFLIGHT_FD");
    }

    fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.file
            .read_exact_at(&mut bytes, self.wire.mmap_offset + offset)
            .expect("the buffer");
        bytes
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        self.file
            .write_all_at(bytes, self.wire.mmap_offset + offset)
            .expect("the buffer");
    }

    fn region(&self) -> Region {
        let bytes = self.read(0, 16);
        let u16_at = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Region {
            features: u64::from_ne_bytes(bytes[..8].try_into().expect("8 bytes")),
            version: u16_at(8),
            desc_num: u16_at(10),
            last_batch_head: u16_at(12),
            used_idx: u16_at(14),
        }
    }

    /// The heads that are marked.
    fn heads(&self) -> Vec<u16> {
        (0..self.wire.queue_size)
            .filter(|&head| self.read(Self::ENTRY * (1 + u64::from(head)), 1) != [0])
            .collect()
    }

    fn counter(&self, head: u16) -> u64 {
        let at = Self::ENTRY * (1 + u64::from(head)) + Self::COUNTER;
        u64::from_ne_bytes(self.read(at, 8).try_into().expect("8 bytes"))
    }

    /// Mark a head, as a back-end does that takes the request.
    fn mark(&self, head: u16, counter: u64) {
        let at = Self::ENTRY * (1 + u64::from(head));
        self.write(at + Self::COUNTER, &counter.to_ne_bytes());
        self.write(at, &[1]);
    }
}

/// Connect, with requests in flight tracked.
pub fn connect_inflight(socket: &str) -> Vmm {
    Vmm::connect_with(
        socket,
        VhostUserProtocolFeatures::INFLIGHT_SHMFD
            | VhostUserProtocolFeatures::GET_VRING_BASE_INFLIGHT,
    )
}

/// Requests are tracked while they are served, and none is left when the ring
/// is stopped.
pub fn inflight(socket: &str) {
    let mut vmm = connect_inflight(socket);
    let inflight = Inflight::get(&mut vmm);

    inflight.set(&mut vmm);
    vmm.activate(None);
    vmm.flush_well();
    vmm.flush(3, Chain::Direct);
    // GET_VRING_BASE leaves what is in flight to the buffer: it may not, for
    // what the base counts as taken must be used, or be there.
    vmm.reset();
    let given = vmm.ring.given();
    assert_eq!(vmm.ring.used_index(&vmm.memory), given);
    assert!(inflight.heads().is_empty());
    let expected = Region {
        features: 0,
        version: 1,
        desc_num: vmm.ring.size(),
        last_batch_head: 4,
        used_idx: given,
    };
    assert_eq!(inflight.region(), expected);
    // It counts what it takes.
    assert_eq!(
        [0, 2, 4].map(|head| inflight.counter(head)),
        [3, 2, 1].map(|n| u64::from(given - n))
    );

    // The same buffer goes on with the ring, and begins anew with a new one.
    inflight.set(&mut vmm);
    vmm.prepare_used_ring(given);
    vmm.enable();
    vmm.flush_some();
    vmm.reset();
    assert_eq!(inflight.region().used_idx, given + 2);
    let inflight = Inflight::get(&mut vmm);
    inflight.set(&mut vmm);
    vmm.activate(None);
    vmm.flush_some();
    assert_eq!(inflight.region().used_idx, 2);
    vmm.reset();
    assert!(inflight.heads().is_empty());
}

/// The worker dies, is killed by who reads "ready" on standard output, and says
/// so with a line on standard input. The next one does what was in flight.
pub fn inflight_killed(socket: &str) {
    let mut old = connect_inflight(socket);
    let inflight = Inflight::get(&mut old);
    inflight.set(&mut old);
    old.activate(None);
    old.flush(3, Chain::Direct);
    println!("ready");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).expect("a line");
    assert!(readable(old.frontend.as_raw_fd(), PATIENCE), "it lives on");
    old.frontend.get_features().expect_err("the worker is dead");

    // It had completed the last of these, and not taken the mark away; and of
    // two more it had done nothing that can be seen.
    let used = old.ring.given();
    assert_eq!((used, inflight.region().last_batch_head), (3, 4));
    inflight.mark(4, 2);
    inflight.write(Inflight::USED_IDX, &(used - 1).to_ne_bytes());
    let Vmm {
        memory, mut ring, ..
    } = old;
    ring.give(&memory, 1, Chain::Direct);
    ring.give(&memory, 0, Chain::Indirect);
    inflight.mark(2, 3);
    inflight.mark(0, 4);
    // One more is there, which it had not seen.
    ring.give(&memory, 3, Chain::Direct);

    // A front-end has to say from where on; it cannot know.
    let mut vmm = connect_inflight(socket);
    vmm.memory = memory;
    vmm.ring = ring;
    vmm.set_features();
    vmm.set_mem_table();
    inflight.set(&mut vmm);
    vmm.prepare_used_ring(used);
    vmm.enable();
    vmm.wait_used();
    // In the order in which they were taken, not in that of their heads. Once:
    // the ring has as many as were given, and no more come.
    for n in [1, 0, 3] {
        vmm.ring.take(&vmm.memory, n);
    }
    vmm.settle();
    assert_eq!(vmm.ring.used_index(&vmm.memory), used + 3);
    assert!(inflight.heads().is_empty());
    assert_eq!(inflight.region().used_idx, used + 3);
    assert_eq!(inflight.counter(6), 5, "the counters go on");
    vmm.flush_well();
    vmm.reset();
    assert!(inflight.heads().is_empty());
}

// --- the device's state -----------------------------------------------------------------

/// The ends of a new pipe, for reading and for writing.
fn pipe() -> (OwnedFd, OwnedFd) {
    let mut fds: [RawFd; 2] = [-1; 2];
    // SAFETY: there is room for two, which are nobody else's.
    unsafe {
        let rc = libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC);
        assert_eq!(rc, 0, "pipe2: {}", io::Error::last_os_error());
        (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
    }
}

fn connect_state(socket: &str) -> Vmm {
    Vmm::connect_with(socket, VhostUserProtocolFeatures::DEVICE_STATE)
}

/// SET_DEVICE_STATE_FD, without another descriptor for an answer.
fn set_state_fd(vmm: &Vmm, direction: Direction, fd: OwnedFd) -> vhost::Result<()> {
    let stopped = VhostTransferStatePhase::STOPPED;
    vmm.frontend
        .set_device_state_fd(direction, stopped, fd)
        .map(|file| assert!(file.is_none(), "a pipe of its own"))
}

fn save(vmm: &Vmm) -> Vec<u8> {
    let (from, to) = pipe();
    let mut state = Vec::new();
    set_state_fd(vmm, Direction::SAVE, to).expect("SET_DEVICE_STATE_FD");
    File::from(from).read_to_end(&mut state).expect("the state");
    vmm.frontend
        .check_device_state()
        .expect("CHECK_DEVICE_STATE");
    state
}

/// Load, and return what CHECK_DEVICE_STATE says of it.
fn load(vmm: &Vmm, state: &[u8]) -> vhost::Result<()> {
    let (from, to) = pipe();
    set_state_fd(vmm, Direction::LOAD, from).expect("SET_DEVICE_STATE_FD");
    // Who will not have it closes the pipe.
    let _ = File::from(to).write_all(state);
    vmm.frontend.check_device_state()
}

/// Save the state into a file, before the device has run and after.
pub fn state_save(socket: &str, file: &str) {
    let mut vmm = connect_state(socket);
    let state = save(&vmm);
    vmm.activate(None);
    vmm.flush_some();

    // One that runs is not saved, nor loaded, and runs on.
    for direction in [Direction::SAVE, Direction::LOAD] {
        let (from, to) = pipe();
        let fd = [to, from].into_iter().nth(direction as usize);
        assert_refused(set_state_fd(&vmm, direction, fd.expect("an end")));
        vmm.flush_some();
    }
    vmm.reset();
    assert!(save(&vmm) == state, "the state has changed");
    std::fs::write(file, state).expect("the file of the state");
    vmm.prepare_ring();
    vmm.enable();
    vmm.flush_some();
}

/// Load the state from a file, which works or not. The device runs afterwards.
pub fn state_load(socket: &str, file: &str, outcome: &str) {
    let vmm = connect_state(socket);
    let state = std::fs::read(file).expect("the file of the state");
    let result = load(&vmm, &state);
    match outcome {
        "loaded" => {
            result.expect("CHECK_DEVICE_STATE");
            assert!(save(&vmm) == state, "it is saved otherwise");
        }
        "refused" => assert_refused(result),
        _ => panic!("no outcome is called {outcome}"),
    }
    drop(vmm);
    let (mut vmm, _shmem, _channel) = activated(socket);
    vmm.flush_some();
}

// --- in-band notifications ----------------------------------------------------------------

/// INBAND_NOTIFICATIONS without the channel that they need end the connection;
/// with it, a front-end that has only descriptors for notifications, like this
/// crate, is served by these.
pub fn inband(socket: &str) {
    let inband = VhostUserProtocolFeatures::INBAND_NOTIFICATIONS;
    let mut vmm = Vmm::connect_with(socket, inband);
    vmm.activate(None);
    vmm.flush_some();
    let offered = vmm
        .frontend
        .get_protocol_features()
        .expect("GET_PROTOCOL_FEATURES");
    drop(vmm);

    for needed in [
        VhostUserProtocolFeatures::BACKEND_REQ,
        VhostUserProtocolFeatures::REPLY_ACK,
    ] {
        let mut vmm = Vmm::connect(socket);
        // Whether that is acked does not matter: see what comes after it.
        let _ = vmm.frontend.set_protocol_features(offered - needed);
        vmm.frontend.get_features().expect_err("it is served on");
    }
}
