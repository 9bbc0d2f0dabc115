// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Copyright the vhost-shmemd authors

//! A virtual machine monitor with one vhost-user device of one queue.

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use vhost::vhost_user::message::VhostUserHeaderFlag;
use vhost::vhost_user::{
    Frontend, VhostUserFrontend, VhostUserProtocolFeatures, VhostUserVirtioFeatures,
};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use crate::ring::{Chain, Ring};

/// How long anything may take that the other side has to do.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a page, and of the guest memory regions here that are small.
pub const PAGE: u64 = 4096;

/// virtio-pmem's SHMEM_REGION: VIRTIO 1.3, 5.19.3.
const PMEM_F_SHMEM_REGION: u64 = 1;
const VIRTIO_F_VERSION_1: u64 = 1 << 32;
const VIRTIO_F_INDIRECT_DESC: u64 = 1 << 28;

/// The bit of SET_VRING_ADDR's flags that has writes to the used ring logged.
const VRING_F_LOG: u32 = 1;

/// Whether one of `fds` can be read, or was closed by its peer, in time; `None`
/// waits for ever.
pub fn any_readable(fds: &[RawFd], timeout: Option<Duration>) -> bool {
    let mut polled: Vec<libc::pollfd> = fds
        .iter()
        .map(|&fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let ms = timeout.map_or(-1, |t| t.as_millis() as libc::c_int);
    // SAFETY: the array has as many elements as said.
    let n = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, ms) };
    assert!(n >= 0, "poll: {}", io::Error::last_os_error());
    n > 0
}

/// Whether `fd` can be read in time.
pub fn readable(fd: RawFd, timeout: Duration) -> bool {
    any_readable(&[fd], Some(timeout))
}

/// A memfd of `len` bytes.
pub fn memfd(len: u64) -> Arc<File> {
    // SAFETY: the name is a C string, and the descriptor nobody else's.
    let file = unsafe {
        let fd = libc::memfd_create(c"guest".as_ptr(), libc::MFD_CLOEXEC);
        assert!(fd >= 0, "memfd_create: {}", io::Error::last_os_error());
        File::from_raw_fd(fd)
    };
    file.set_len(len).expect("room for guest memory");
    Arc::new(file)
}

/// Guest memory: `n` regions of `size` bytes with holes between them, all of
/// one memfd.
pub fn guest_memory(n: usize, size: u64) -> GuestMemoryMmap {
    let file = memfd(n as u64 * size);
    let ranges: Vec<_> = (0..n as u64)
        .map(|i| {
            let part = FileOffset::from_arc(Arc::clone(&file), i * size);
            (GuestAddress(2 * i * size), size as usize, Some(part))
        })
        .collect();
    GuestMemoryMmap::from_ranges_with_files(&ranges).expect("guest memory")
}

/// What the wire says of each region.
pub fn region_infos(memory: &GuestMemoryMmap) -> Vec<VhostUserMemoryRegionInfo> {
    memory
        .iter()
        .map(|r| VhostUserMemoryRegionInfo::from_guest_region(r).expect("a file"))
        .collect()
}

/// Who sets NEED_REPLY from when on, and in which order the first messages go.
#[derive(Clone, Copy)]
pub enum Order {
    /// After SET_PROTOCOL_FEATURES, if REPLY_ACK was acked.
    CloudHypervisor,
    /// From the first message on, when nobody may answer it yet; the features
    /// before the protocol features.
    CrateTests,
    /// Never: REPLY_ACK is not acked.
    NoReplyAck,
}

/// A VMM that is connected and has negotiated.
pub struct Vmm {
    /// The crate's.
    pub frontend: Frontend,
    /// Guest memory; the ring is in the last region, its buffers in the first.
    pub memory: GuestMemoryMmap,
    /// The driver's ring.
    pub ring: Ring,
    /// Virtio features, for the next SET_FEATURES.
    pub features: u64,
    /// Where writes to the used ring are logged, from the next SET_VRING_ADDR on.
    pub used_log: Option<GuestAddress>,
    kick: EventFd,
    call: EventFd,
}

impl Vmm {
    /// Connect, and negotiate all that is needed here but `without`.
    pub fn connect_without(socket: &str, order: Order, without: VhostUserProtocolFeatures) -> Self {
        Self::connect_and(socket, order, without, VhostUserProtocolFeatures::empty())
    }

    /// The same as Cloud Hypervisor does it, and `more`.
    pub fn connect_with(socket: &str, more: VhostUserProtocolFeatures) -> Self {
        let without = VhostUserProtocolFeatures::empty();
        Self::connect_and(socket, Order::CloudHypervisor, without, more)
    }

    fn connect_and(
        socket: &str,
        order: Order,
        mut without: VhostUserProtocolFeatures,
        more: VhostUserProtocolFeatures,
    ) -> Self {
        let mut frontend = Frontend::connect(socket, 1).expect("a connection");
        if matches!(order, Order::CrateTests) {
            frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        }
        if matches!(order, Order::NoReplyAck) {
            without |= VhostUserProtocolFeatures::REPLY_ACK;
        }
        frontend.set_owner().expect("SET_OWNER");
        let features = frontend.get_features().expect("GET_FEATURES")
            & (PMEM_F_SHMEM_REGION
                | VIRTIO_F_VERSION_1
                | VIRTIO_F_INDIRECT_DESC
                | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits());
        if matches!(order, Order::CrateTests) {
            frontend.set_features(features).expect("SET_FEATURES");
        }
        let offered = frontend
            .get_protocol_features()
            .expect("GET_PROTOCOL_FEATURES");
        // What is not wanted is not acked, though more may be offered.
        let wanted = VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::BACKEND_REQ
            | VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::BACKEND_SEND_FD
            | VhostUserProtocolFeatures::RESET_DEVICE
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
            | VhostUserProtocolFeatures::STATUS
            | VhostUserProtocolFeatures::SHMEM
            | more;
        assert!(
            offered.contains(wanted),
            "not offered: {:?}",
            wanted - offered
        );
        frontend
            .set_protocol_features(wanted - without)
            .expect("SET_PROTOCOL_FEATURES");
        if matches!(order, Order::CloudHypervisor) {
            frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        }
        assert_eq!(frontend.get_queue_num().expect("GET_QUEUE_NUM"), 1);

        let memory = guest_memory(1, PAGE);
        let ring = Self::fresh_ring(&memory);
        Vmm {
            frontend,
            memory,
            ring,
            features,
            used_log: None,
            kick: EventFd::new(EFD_NONBLOCK).expect("an eventfd"),
            call: EventFd::new(EFD_NONBLOCK).expect("an eventfd"),
        }
    }

    /// Connect, and negotiate all that is needed here.
    pub fn connect_as(socket: &str, order: Order) -> Self {
        Self::connect_without(socket, order, VhostUserProtocolFeatures::empty())
    }

    /// The same, as Cloud Hypervisor does it.
    pub fn connect(socket: &str) -> Self {
        Self::connect_as(socket, Order::CloudHypervisor)
    }

    fn fresh_ring(memory: &GuestMemoryMmap) -> Ring {
        let last = memory.iter().last().expect("a region");
        Ring::new(
            memory,
            last.start_addr(),
            GuestAddress(memory.iter().next().expect("a region").start_addr().0 + Ring::BYTES),
        )
    }

    /// Another guest memory, with an empty ring in it; the back-end is not told.
    pub fn use_memory(&mut self, memory: GuestMemoryMmap) {
        self.ring = Self::fresh_ring(&memory);
        self.memory = memory;
    }

    /// SET_MEM_TABLE with all of the guest's memory.
    pub fn set_mem_table(&self) {
        self.frontend
            .set_mem_table(&region_infos(&self.memory))
            .expect("SET_MEM_TABLE");
    }

    /// What Cloud Hypervisor's `setup_vhost_user` sends for the ring, which the
    /// driver has just made anew, and SET_BACKEND_REQ_FD last of all.
    pub fn activate(&mut self, channel: Option<RawFd>) {
        self.prepare();
        self.enable();
        if let Some(fd) = channel {
            self.set_channel(fd);
        }
    }

    /// Everything up to, and without, SET_VRING_ENABLE.
    pub fn prepare(&mut self) {
        self.set_features();
        self.set_mem_table();
        self.prepare_ring();
    }

    /// SET_FEATURES with what the guest's driver has accepted.
    pub fn set_features(&self) {
        self.frontend
            .set_features(self.features)
            .expect("SET_FEATURES");
    }

    /// The ring's messages but for SET_VRING_ENABLE.
    pub fn prepare_ring(&mut self) {
        self.ring = Self::fresh_ring(&self.memory);
        self.prepare_used_ring(0);
    }

    /// The same for a ring that was used before.
    pub fn prepare_used_ring(&mut self, base: u16) {
        let size = self.ring.size();
        self.frontend.set_vring_num(0, size).expect("SET_VRING_NUM");
        self.set_vring_addr();
        self.frontend
            .set_vring_base(0, base)
            .expect("SET_VRING_BASE");
        self.frontend
            .set_vring_call(0, &self.call)
            .expect("SET_VRING_CALL");
        self.frontend
            .set_vring_kick(0, &self.kick)
            .expect("SET_VRING_KICK");
    }

    /// SET_VRING_ADDR.
    pub fn set_vring_addr(&self) {
        let [desc_table_addr, avail_ring_addr, used_ring_addr] = self.ring.addresses().map(|a| {
            let host = self.memory.get_host_address(a).expect("guest memory");
            host as u64
        });
        let size = self.ring.size();
        self.frontend
            .set_vring_addr(
                0,
                &VringConfigData {
                    queue_max_size: size,
                    queue_size: size,
                    flags: self.used_log.map_or(0, |_| VRING_F_LOG),
                    desc_table_addr,
                    used_ring_addr,
                    avail_ring_addr,
                    log_addr: self.used_log.map(|address| address.0),
                },
            )
            .expect("SET_VRING_ADDR");
    }

    /// SET_VRING_ENABLE 1.
    pub fn enable(&mut self) {
        self.frontend
            .set_vring_enable(0, true)
            .expect("SET_VRING_ENABLE 1");
    }

    /// SET_VRING_ENABLE 0.
    pub fn disable(&mut self) {
        self.frontend
            .set_vring_enable(0, false)
            .expect("SET_VRING_ENABLE 0");
    }

    /// SET_BACKEND_REQ_FD.
    pub fn set_channel(&mut self, fd: RawFd) {
        self.frontend
            .set_backend_request_fd(&fd)
            .expect("SET_BACKEND_REQ_FD");
    }

    /// Cloud Hypervisor's `reset_vhost_user`. The base must be what the driver
    /// has given to the device.
    pub fn reset(&mut self) {
        self.disable();
        let base = self.frontend.get_vring_base(0).expect("GET_VRING_BASE");
        assert_eq!(base, u32::from(self.ring.given()), "the ring's base");
    }

    /// FLUSHes one after the other, more than the ring has entries, and then as
    /// many as fit at once, direct and indirect.
    pub fn flush_well(&mut self) {
        for _ in 0..=self.ring.size() {
            self.flush(1, Chain::Direct);
        }
        self.flush(Ring::BATCH, Chain::Direct);
        self.flush(Ring::BATCH, Chain::Indirect);
    }

    /// Two FLUSHes, to see that the ring is served. Scenarios prefer this one:
    /// the daemon logs each, and the tests count other lines of its log, which
    /// loses some on a busy machine if there are many.
    pub fn flush_some(&mut self) {
        self.flush(1, Chain::Direct);
        self.flush(1, Chain::Indirect);
    }

    /// `n` FLUSHes at once, which must succeed.
    pub fn flush(&mut self, n: u16, chain: Chain) {
        self.ring
            .flush(&self.memory, &self.kick, &self.call, n, chain);
    }

    /// Wait until as many requests have been used as were given, without a kick.
    pub fn wait_used(&self) {
        self.ring.wait(&self.memory, &self.call);
    }

    /// Return when the back-end has dealt with all that it has got, on the
    /// back-end channel too: it looks at every descriptor between two answers.
    pub fn settle(&self) {
        for _ in 0..3 {
            self.frontend.get_features().expect("GET_FEATURES");
        }
    }

    /// The size of region 0, as GET_SHMEM_CONFIG has it.
    pub fn region_size(&mut self) -> u64 {
        let config = self.frontend.get_shmem_config().expect("GET_SHMEM_CONFIG");
        config.memory_sizes[0]
    }
}
