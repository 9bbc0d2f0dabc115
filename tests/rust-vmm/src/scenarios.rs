// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Copyright the vhost-shmemd authors

//! What the front-end can be asked to do. The names are the program's first
//! argument.

use std::io::BufRead;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};

use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserShMemConfig};
use vhost::vhost_user::{
    Error, VhostUserFrontend, VhostUserFrontendReqHandler, VhostUserProtocolFeatures,
};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo};
use vm_memory::{ByteValued, GuestAddress};

use crate::migrate;
use crate::packed;
use crate::ring::Chain;
use crate::shmem::{Channel, Default, Headstrong, Refuse, Served, Shmem};
use crate::vmm::{guest_memory, region_infos, Order, Vmm, PAGE};

/// One thing to do, by name.
pub struct Scenario {
    /// The program's first argument.
    pub name: &'static str,
    /// What its arguments after the socket are called.
    pub arguments: &'static [&'static str],
    /// Do it, or panic.
    pub run: fn(&str, &[String]),
}

macro_rules! scenarios {
    ($($name:literal $(, $argument:literal)* => $run:expr;)*) => {
        /// All there is.
        pub const ALL: &[Scenario] = &[
            $(Scenario { name: $name, arguments: &[$($argument),*], run: $run },)*
        ];
    };
}

scenarios! {
    "negotiate", "cloud-hypervisor|crate-tests|no-reply-ack" => |s, a| negotiate(s, order(&a[0]));
    "config", "REGION-SIZE" => |s, a| config(s, number(&a[0]));
    "shmem-config", "REGION-SIZE" => |s, a| shmem_config(s, number(&a[0]));
    "without-shmem" => |s, _| without_shmem(s);
    "early-channel" => |s, _| early_channel(s);
    "shell" => |s, _| shell(s);
    "share" => |s, _| share(s);
    "mem-table", "REGIONS" => |s, a| mem_table(s, number(&a[0]) as usize);
    "mem-table-grows" => |s, _| mem_table_grows(s);
    "mem-slots", "SLOTS" => |s, a| mem_slots(s, number(&a[0]));
    "own-region-slot" => |s, _| own_region_slot(s);
    "flush" => |s, _| flush(s);
    "activate-again", "cloud-hypervisor|crate-tests|no-reply-ack" => |s, a| activate_again(s, order(&a[0]));
    "pause-resume" => |s, _| pause_resume(s);
    "new-channel" => |s, _| new_channel(s);
    "reset-device" => |s, _| reset_device(s);
    "reconnect" => |s, _| reconnect(s);
    "leave-early" => |s, _| leave_early(s);
    "single-threaded" => |s, _| single_threaded(s);
    "refuse", "ERRNO" => |s, a| refuse(s, &Arc::new(Refuse(number(&a[0]) as i32)));
    "default-handler" => |s, _| refuse(s, &Arc::new(Default));
    "read-only", "IMAGE" => |s, a| read_only(s, &a[0]);
    "never-answer", "TIMES" => |s, a| never_answer(s, number(&a[0]));
    "dirty-log" => |s, _| migrate::dirty_log(s);
    "inflight" => |s, _| migrate::inflight(s);
    "inflight-killed" => |s, _| migrate::inflight_killed(s);
    "packed-inflight-killed" => |s, _| packed::inflight_killed(s);
    "state-save", "FILE" => |s, a| migrate::state_save(s, &a[0]);
    "state-load", "FILE", "loaded|refused" => |s, a| migrate::state_load(s, &a[0], &a[1]);
    "inband" => |s, _| migrate::inband(s);
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

fn order(text: &str) -> Order {
    match text {
        "cloud-hypervisor" => Order::CloudHypervisor,
        "crate-tests" => Order::CrateTests,
        "no-reply-ack" => Order::NoReplyAck,
        _ => panic!("no order of messages is called {text}"),
    }
}

/// The back-end has refused a request by a non-zero acknowledgement.
pub fn assert_refused<T>(result: vhost::Result<T>) {
    let error = result.err().expect("a refusal");
    assert!(
        matches!(
            error,
            vhost::Error::VhostUserProtocol(Error::BackendInternalError)
        ),
        "{error}"
    );
}

/// A device that is activated with a channel to `shmem`, and mapped.
pub fn activated(socket: &str) -> (Vmm, Arc<Shmem>, Channel<Shmem>) {
    let mut vmm = Vmm::connect(socket);
    let shmem = Shmem::new(vmm.region_size());
    let mut channel = Channel::new(&shmem, true);
    vmm.activate(Some(channel.tx()));
    assert_mapped_once(&vmm, &shmem, &mut channel);
    (vmm, shmem, channel)
}

/// One SHMEM_MAP has come, and after its answer no other one comes.
fn assert_mapped_once(vmm: &Vmm, shmem: &Shmem, channel: &mut Channel<Shmem>) {
    channel.serve().expect("a SHMEM_MAP");
    shmem.take_one();
    assert_quiet(vmm, channel);
}

fn assert_quiet<S: VhostUserFrontendReqHandler>(vmm: &Vmm, channel: &Channel<S>) {
    vmm.settle();
    assert!(channel.is_quiet(), "one request too many");
}

fn negotiate(socket: &str, order: Order) {
    let mut vmm = Vmm::connect_as(socket, order);
    let shmem = Shmem::new(vmm.region_size());
    let mut channel = Channel::new(&shmem, true);

    vmm.activate(Some(channel.tx()));
    assert_mapped_once(&vmm, &shmem, &mut channel);
    shmem.write(0, b"negotiated");
    assert_eq!(shmem.read(0, 10), b"negotiated");
    vmm.flush_well();
    vmm.reset();
}

fn config(socket: &str, size: u64) {
    let mut vmm = Vmm::connect(socket);
    let mut all = vec![0; 256];
    all[8..16].copy_from_slice(&size.to_le_bytes());
    let get = |vmm: &mut Vmm, offset: usize, len: usize| {
        let flags = VhostUserConfigFlags::WRITABLE;
        let buffer = vec![0xff; len];
        let (head, bytes) = vmm
            .frontend
            .get_config(offset as u32, len as u32, flags, &buffer)
            .expect("GET_CONFIG");
        let (got_offset, got_size) = (head.offset, head.size);
        assert_eq!((got_offset, got_size), (offset as u32, len as u32));
        bytes
    };

    // All of it, the fields, single bytes, and past what the device has.
    for (offset, len) in [
        (0, 256),
        (0, 16),
        (0, 8),
        (8, 8),
        (8, 1),
        (15, 1),
        (12, 100),
        (255, 1),
    ] {
        assert_eq!(get(&mut vmm, offset, len), all[offset..offset + len]);
    }
    vmm.frontend
        .set_config(8, VhostUserConfigFlags::WRITABLE, &[0xff; 8])
        .expect("SET_CONFIG");
    assert_eq!(get(&mut vmm, 0, 256), all);
}

fn shmem_config(socket: &str, size: u64) {
    let mut vmm = Vmm::connect(socket);
    let mut expected = VhostUserShMemConfig::new(1, &[size]);
    let mut get = || vmm.frontend.get_shmem_config().expect("GET_SHMEM_CONFIG");

    let (mut first, mut second) = (get(), get());
    assert_eq!(first.as_mut_slice(), expected.as_mut_slice());
    assert_eq!(second.as_mut_slice(), expected.as_mut_slice());

    // Nor does it change while the device runs, or with a second activation.
    let shmem = Shmem::new(size);
    let mut channel = Channel::new(&shmem, true);
    for channel_now in [Some(channel.tx()), None] {
        vmm.activate(channel_now);
        assert_mapped_once(&vmm, &shmem, &mut channel);
        let mut now = vmm.frontend.get_shmem_config().expect("GET_SHMEM_CONFIG");
        assert_eq!(now.as_mut_slice(), expected.as_mut_slice());
        vmm.reset();
    }
}

/// A VMM that knows nothing of shared memory regions, as all were until now.
fn without_shmem(socket: &str) {
    let without = VhostUserProtocolFeatures::SHMEM;
    let mut vmm = Vmm::connect_without(socket, Order::CloudHypervisor, without);
    let error = vmm.frontend.get_shmem_config().expect_err("SHMEM");
    assert!(
        matches!(
            error,
            vhost::Error::VhostUserProtocol(Error::InactiveOperation(f)) if f == without
        ),
        "{error}"
    );

    // Such a VMM's thread ends at the first request that it does not know.
    let served = Served::new(&Arc::new(Default));
    vmm.activate(Some(served.tx()));
    vmm.flush_some();
    vmm.settle();
    served.close();
}

/// The channel comes before the rings, as in the crate's own tests.
fn early_channel(socket: &str) {
    let mut vmm = Vmm::connect_as(socket, Order::CrateTests);
    let shmem = Shmem::new(vmm.region_size());
    let mut channel = Channel::new(&shmem, true);

    for _ in 0..3 {
        vmm.set_channel(channel.tx());
        vmm.prepare();
        assert_quiet(&vmm, &channel);
        vmm.enable();
        // It was sent before the acknowledgement.
        assert!(!channel.is_quiet(), "no SHMEM_MAP before the answer");
        assert_mapped_once(&vmm, &shmem, &mut channel);
        vmm.flush_some();
        vmm.reset();
        shmem.unmap_all();
    }
}

/// Commands from standard input, an answer on standard output for each:
/// `put OFFSET TEXT`, `get OFFSET LENGTH`, `flush`.
fn shell(socket: &str) {
    let (mut vmm, shmem, _channel) = activated(socket);

    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line of text");
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        match words[..] {
            ["put", offset, text] => {
                shmem.write(number(offset) as usize, text.as_bytes());
                println!("done");
            }
            ["get", offset, len] => {
                let bytes = shmem.read(number(offset) as usize, number(len) as usize);
                println!("{}", String::from_utf8_lossy(&bytes));
            }
            ["flush"] => {
                vmm.flush(1, Chain::Direct);
                println!("done");
            }
            _ => panic!("no command: {line}"),
        }
    }
}

fn share(socket: &str) {
    let (mut first, here, _channel) = activated(socket);
    let (mut second, there, _other_channel) = activated(socket);
    let size = first.region_size() as usize;

    for (offset, text) in [
        (0, "from the start"),
        (size / 2, "middle"),
        (size - 3, "end"),
    ] {
        here.write(offset, text.as_bytes());
        assert_eq!(there.read(offset, text.len()), text.as_bytes());
        there.write(offset, &vec![b'x'; text.len()]);
        assert_eq!(here.read(offset, text.len()), vec![b'x'; text.len()]);
    }
    first.flush_some();
    second.flush_some();

    // What one does with its device is nothing to the other.
    first.reset();
    drop(first);
    second.flush_some();
    there.write(7, b"still there");
    assert_eq!(here.read(7, 11), b"still there");
}

fn mem_table(socket: &str, regions: usize) {
    let (mut vmm, shmem, mut channel) = activated(socket);

    vmm.reset();
    vmm.use_memory(guest_memory(regions, PAGE));
    vmm.activate(None);
    assert_mapped_once(&vmm, &shmem, &mut channel);
    vmm.flush_well();
}

/// Memory is plugged and unplugged while the ring runs, a table each time.
fn mem_table_grows(socket: &str) {
    let (mut vmm, shmem, mut channel) = activated(socket);

    vmm.reset();
    vmm.use_memory(guest_memory(1, 2 * PAGE));
    vmm.activate(None);
    assert_mapped_once(&vmm, &shmem, &mut channel);
    let home = region_infos(&vmm.memory);
    let halves = [0, PAGE].map(|offset| VhostUserMemoryRegionInfo {
        guest_phys_addr: home[0].guest_phys_addr + offset,
        memory_size: PAGE,
        userspace_addr: home[0].userspace_addr + offset,
        mmap_offset: home[0].mmap_offset + offset,
        mmap_handle: home[0].mmap_handle,
    });
    let more = guest_memory(32, PAGE);
    // Behind what the guest has already, or the two would overlap.
    let mut plugged = region_infos(&more);
    for region in &mut plugged {
        region.guest_phys_addr += 1 << 30;
    }

    for n in [1, 31, 0, 16, 7] {
        // The ring's region is the first, then the last.
        let table = [&home[..], &plugged[..n]].concat();
        vmm.frontend.set_mem_table(&table).expect("SET_MEM_TABLE");
        vmm.flush_some();
        // The same memory in two pieces, so it cannot stay mapped as it was.
        let table = [&plugged[..n.min(30)], &halves[..]].concat();
        vmm.frontend.set_mem_table(&table).expect("SET_MEM_TABLE");
        vmm.flush_some();
        let table = [&plugged[..n], &home[..]].concat();
        vmm.frontend.set_mem_table(&table).expect("SET_MEM_TABLE");
        vmm.flush_some();
    }
    assert_quiet(&vmm, &channel);
}

fn mem_slots(socket: &str, slots: u64) {
    let mut vmm = Vmm::connect(socket);
    let offered = vmm.frontend.get_max_mem_slots();
    assert_eq!(offered.expect("GET_MAX_MEM_SLOTS"), slots);

    let memory = guest_memory(slots as usize + 1, PAGE);
    let mut infos = region_infos(&memory);
    let extra = infos.pop().expect("a region");
    let home = infos.pop().expect("a region");
    // The ring is in the last slot that there is.
    let last = GuestAddress(extra.guest_phys_addr);
    let (ring_memory, _kept) = memory.remove_region(last, PAGE).expect("the last region");
    let add = |vmm: &mut Vmm, r: &VhostUserMemoryRegionInfo| vmm.frontend.add_mem_region(r);
    let remove = |vmm: &mut Vmm, r: &VhostUserMemoryRegionInfo| vmm.frontend.remove_mem_region(r);

    for region in infos.iter().chain([&home]) {
        add(&mut vmm, region).expect("ADD_MEM_REG");
    }
    assert_refused(add(&mut vmm, &extra));
    vmm.use_memory(ring_memory);
    vmm.set_features();
    vmm.prepare_ring();
    vmm.enable();
    vmm.flush_some();

    // Full and running: one out, another one in, and no room again.
    remove(&mut vmm, &infos[1]).expect("REM_MEM_REG");
    assert_refused(remove(&mut vmm, &infos[1]));
    add(&mut vmm, &extra).expect("ADD_MEM_REG");
    assert_refused(add(&mut vmm, &infos[1]));
    vmm.flush_some();

    // The buffers are in slot 0, the ring in `home`: the rest can go.
    for region in &infos[2..] {
        remove(&mut vmm, region).expect("REM_MEM_REG");
    }
    remove(&mut vmm, &extra).expect("REM_MEM_REG");
    vmm.flush_some();
    for region in &infos[1..] {
        add(&mut vmm, region).expect("ADD_MEM_REG");
    }
    assert_refused(add(&mut vmm, &extra));
    vmm.flush_well();
    vmm.reset();
}

/// A VMM that makes what it has mapped known to all its back-ends, the one that
/// it came from too.
fn own_region_slot(socket: &str) {
    let mut vmm = Vmm::connect(socket);
    let size = vmm.region_size();
    let shmem = Shmem::new(size);
    let mut channel = Channel::new(&shmem, true);

    vmm.activate(Some(channel.tx()));
    channel.serve().expect("a SHMEM_MAP");
    let map = shmem.take_one();
    let slot = VhostUserMemoryRegionInfo {
        guest_phys_addr: 1 << 40,
        memory_size: size,
        userspace_addr: 1 << 41,
        mmap_offset: 0,
        mmap_handle: map.file.as_raw_fd(),
    };
    vmm.frontend.add_mem_region(&slot).expect("ADD_MEM_REG");
    assert_quiet(&vmm, &channel);
    vmm.flush_some();

    // It is still in the table when the device is activated again, so it need
    // not be mapped again.
    vmm.reset();
    vmm.prepare_ring();
    vmm.enable();
    assert_quiet(&vmm, &channel);
    vmm.flush_some();

    // Once it is not, it has to be.
    vmm.reset();
    vmm.frontend.remove_mem_region(&slot).expect("REM_MEM_REG");
    shmem.unmap_all();
    vmm.prepare_ring();
    vmm.enable();
    assert_mapped_once(&vmm, &shmem, &mut channel);
    vmm.flush_some();

    // A memory table that holds it is as good as a slot.
    vmm.reset();
    let mut table = region_infos(&vmm.memory);
    table.push(slot);
    vmm.frontend.set_mem_table(&table).expect("SET_MEM_TABLE");
    vmm.prepare_ring();
    vmm.enable();
    assert_quiet(&vmm, &channel);
    vmm.flush_some();
}

fn flush(socket: &str) {
    let (mut vmm, _shmem, _channel) = activated(socket);

    // Enough for each entry of the rings to be used several times.
    for _ in 0..20 {
        vmm.flush_well();
    }
    vmm.reset();
}

/// Cloud Hypervisor: all activations of a guest are on one connection; its
/// reset ends the channel's thread, and a new one comes after the rings run.
fn activate_again(socket: &str, order: Order) {
    let mut vmm = Vmm::connect_as(socket, order);
    let shmem = Shmem::new(vmm.region_size());

    for round in 0..4u8 {
        let served = Served::new(&shmem);
        vmm.activate(Some(served.tx()));
        served.result().expect("a SHMEM_MAP");
        shmem.take_one();
        vmm.flush_some();
        if round > 0 {
            assert_eq!(shmem.read(PAGE as usize, 1), [round - 1]);
        }
        shmem.write(PAGE as usize, &[round]);
        vmm.reset();
        vmm.settle();
        served.close();
        shmem.unmap_all();
    }

    // The same with the channel that is there: it need not be sent again.
    let served = Served::new(&shmem);
    vmm.activate(Some(served.tx()));
    served.result().expect("a SHMEM_MAP");
    for _ in 0..3 {
        vmm.reset();
        shmem.unmap_all();
        vmm.activate(None);
        served.result().expect("a SHMEM_MAP");
        assert_eq!(shmem.read(PAGE as usize, 1), [3]);
        vmm.flush_some();
    }
    assert_eq!(shmem.take().len(), 4);
    vmm.settle();
    served.close();
}

/// Cloud Hypervisor's pause and resume: the ring is disabled and enabled, and
/// nothing else is said. It maps again, over what is there.
fn pause_resume(socket: &str) {
    let (mut vmm, shmem, mut channel) = activated(socket);

    shmem.write(0, b"before the pause");
    for _ in 0..3 {
        vmm.disable();
        assert_quiet(&vmm, &channel);
        vmm.enable();
        assert_mapped_once(&vmm, &shmem, &mut channel);
        assert_eq!(shmem.read(0, 16), b"before the pause");
        vmm.flush_some();
    }
    vmm.reset();
}

/// Another channel while the device runs: the map comes there, and the old one
/// is closed by the back-end.
fn new_channel(socket: &str) {
    let (mut vmm, shmem, old) = activated(socket);
    let mut new = Channel::new(&shmem, true);

    vmm.set_channel(new.tx());
    assert_mapped_once(&vmm, &shmem, &mut new);
    assert!(old.is_quiet());
    // The VMM ends its channel; the device runs on without.
    drop(old);
    drop(new);
    vmm.settle();
    vmm.flush_some();
    let mut last = Channel::new(&shmem, true);
    vmm.set_channel(last.tx());
    assert_mapped_once(&vmm, &shmem, &mut last);
    vmm.flush_some();
    vmm.reset();
}

fn reset_device(socket: &str) {
    let (mut vmm, shmem, mut channel) = activated(socket);

    for round in 0..3u8 {
        shmem.write(0, &[round]);
        vmm.frontend.reset_device().expect("RESET_DEVICE");
        shmem.unmap_all();
        assert_quiet(&vmm, &channel);
        // A stopped ring's base is what a new one begins with.
        assert_eq!(vmm.frontend.get_vring_base(0).expect("GET_VRING_BASE"), 0);
        vmm.activate(None);
        assert_mapped_once(&vmm, &shmem, &mut channel);
        assert_eq!(shmem.read(0, 1), [round]);
        vmm.flush_some();
    }
}

fn reconnect(socket: &str) {
    for round in 0..5u8 {
        let (mut vmm, shmem, _channel) = activated(socket);
        if round > 0 {
            assert_eq!(shmem.read(12345, 1), [round]);
        }
        shmem.write(12345, &[round + 1]);
        vmm.flush_some();
        // In good order, or in the middle of it.
        if round % 2 == 0 {
            vmm.reset();
        }
    }
}

/// A VMM that is gone before it has served its channel, or answered.
fn leave_early(socket: &str) {
    for served in [false, true] {
        let mut vmm = Vmm::connect(socket);
        let shmem = Shmem::new(vmm.region_size());
        let mut channel = Channel::new(&shmem, false);
        vmm.activate(Some(channel.tx()));
        if served {
            channel.serve().expect("a SHMEM_MAP");
        }
    }
    let (mut vmm, _shmem, _channel) = activated(socket);
    vmm.flush_some();
}

/// A VMM with one thread: it serves the channel when it has nothing else to do,
/// so the back-end must never wait for it.
fn single_threaded(socket: &str) {
    let mut vmm = Vmm::connect_as(socket, Order::CrateTests);
    let shmem = Shmem::new(vmm.region_size());
    let mut channel = Channel::new(&shmem, true);
    let more = guest_memory(2, PAGE);
    let mut extra = region_infos(&more).pop().expect("a region");
    extra.guest_phys_addr = 1 << 40;

    vmm.set_channel(channel.tx());
    for _ in 0..3 {
        vmm.activate(None);
        vmm.flush_some();
        vmm.region_size();
        vmm.frontend.add_mem_region(&extra).expect("ADD_MEM_REG");
        vmm.frontend.remove_mem_region(&extra).expect("REM_MEM_REG");
        vmm.set_mem_table();
        vmm.flush_some();
        vmm.reset();
    }
    vmm.activate(None);
    vmm.flush_some();

    // Only now. Of the stopped activations, too: they were not taken back.
    for _ in 0..4 {
        channel.serve().expect("a SHMEM_MAP");
        shmem.take_one();
    }
    assert_quiet(&vmm, &channel);
    shmem.write(0, b"late");
    assert_eq!(shmem.read(0, 4), b"late");
    vmm.flush_some();
}

/// A VMM whose handler fails. Its thread ends then, as Cloud Hypervisor's does,
/// and its guest has a device without memory, which has to work apart from that.
fn refuse<S>(socket: &str, handler: &Arc<S>)
where
    S: VhostUserFrontendReqHandler + Send + Sync + 'static,
{
    let mut vmm = Vmm::connect(socket);

    for _ in 0..2 {
        let served = Served::new(handler);
        vmm.activate(Some(served.tx()));
        let error = served.result().expect_err("the handler's error");
        assert!(matches!(error, Error::ReqHandlerError(_)), "{error}");
        vmm.flush_some();
        vmm.reset();
        vmm.settle();
        served.close();
    }

    // One that does better is served as if nothing had been.
    let shmem = Shmem::new(vmm.region_size());
    let mut channel = Channel::new(&shmem, true);
    vmm.activate(Some(channel.tx()));
    assert_mapped_once(&vmm, &shmem, &mut channel);
    shmem.write(0, b"after all");
    assert_eq!(shmem.read(0, 9), b"after all");
    vmm.flush_some();
}

/// A region that is read-only has the image, and cannot be mapped otherwise
/// than for reading; nor is it after that was refused.
fn read_only(socket: &str, image: &str) {
    let image = std::fs::read(image).expect("the image");
    let mut vmm = Vmm::connect(socket);
    let size = vmm.region_size();

    for _ in 0..2 {
        let headstrong = Arc::new(Headstrong(Mutex::default()));
        let served = Served::new(&headstrong);
        vmm.activate(Some(served.tx()));
        served.result().expect_err("the handler's error");
        let outcomes = headstrong.0.lock().unwrap().clone();
        // By what came, and by what root can open in its place.
        assert_eq!(outcomes, ["permission denied"; 2]);
        vmm.flush_some();
        vmm.reset();
        vmm.settle();
        served.close();

        let shmem = Shmem::read_only(size);
        let mut channel = Channel::new(&shmem, true);
        vmm.activate(Some(channel.tx()));
        assert_mapped_once(&vmm, &shmem, &mut channel);
        assert!(shmem.read(0, image.len()) == image, "it is not the image");
        vmm.flush_some();
        vmm.reset();
    }
}

/// The crate's default: `set_reply_ack_flag(false)`, requests are carried out
/// and never answered.
fn never_answer(socket: &str, times: u64) {
    let mut vmm = Vmm::connect(socket);
    let shmem = Shmem::new(vmm.region_size());
    let mut channel = Channel::new(&shmem, false);

    vmm.activate(Some(channel.tx()));
    assert_mapped_once(&vmm, &shmem, &mut channel);
    for _ in 1..times {
        vmm.disable();
        vmm.enable();
        channel.serve().expect("a SHMEM_MAP");
        shmem.take_one();
    }
    assert_quiet(&vmm, &channel);
    shmem.write(0, b"never answered");
    assert_eq!(shmem.read(0, 14), b"never answered");
    vmm.flush_some();
    vmm.reset();
}
