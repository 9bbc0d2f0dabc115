// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Copyright the vhost-shmemd authors

//! The front-end's side of shared memory regions: the window that the guest
//! would see, the handler of SHMEM_MAP that fills it, and the channel that the
//! requests come on, served by hand or by a thread of its own.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use vhost::vhost_user::message::{VhostUserMMap, VhostUserMMapFlags};
use vhost::vhost_user::{
    Error, FrontendReqHandler, HandlerResult, Result, VhostUserFrontendReqHandler,
};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use crate::vmm::{any_readable, readable, PATIENCE};

/// Address space for one region, as a VMM sets it aside for a PCI BAR; there
/// is nothing in it until something is mapped over it.
struct Window {
    base: *mut u8,
    len: usize,
}

// SAFETY: the mapping belongs to the Window and is not bound to a thread.
unsafe impl Send for Window {}
// SAFETY: what other processes may write is only copied in and out.
unsafe impl Sync for Window {}

impl Window {
    fn new(len: usize) -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, at a place that the kernel chooses.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        Window {
            base: base.cast(),
            len,
        }
    }

    fn map(&self, fd: RawFd, prot: i32, fd_offset: u64, at: usize, len: usize) -> io::Result<()> {
        assert!(at.checked_add(len).is_some_and(|end| end <= self.len));
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        // SAFETY: it replaces a part of this window only, which was just checked.
        let place = unsafe {
            let place = self.base.add(at).cast();
            libc::mmap(place, len, prot, flags, fd, fd_offset as libc::off_t)
        };
        if place == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    fn clear(&self) {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        // SAFETY: it replaces exactly this window.
        let place =
            unsafe { libc::mmap(self.base.cast(), self.len, libc::PROT_NONE, flags, -1, 0) };
        assert_ne!(place, libc::MAP_FAILED, "{}", io::Error::last_os_error());
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: this mapping is the Window's own.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

/// One SHMEM_MAP that was carried out.
pub struct Map {
    /// The region's number.
    pub shmid: u8,
    /// Bytes mapped.
    pub len: u64,
    /// What came with it.
    pub file: File,
}

/// A handler that maps what it is asked to, into the window of region 0.
pub struct Shmem {
    window: Window,
    flags: VhostUserMMapFlags,
    maps: Mutex<Vec<Map>>,
    wrong: Mutex<Vec<String>>,
}

impl Shmem {
    /// For a region 0 of `size` bytes.
    pub fn new(size: u64) -> Arc<Self> {
        Self::with_flags(size, VhostUserMMapFlags::WRITABLE)
    }

    /// The same for one that is read-only, and mapped so.
    pub fn read_only(size: u64) -> Arc<Self> {
        Self::with_flags(size, VhostUserMMapFlags::empty())
    }

    fn with_flags(size: u64, flags: VhostUserMMapFlags) -> Arc<Self> {
        Arc::new(Shmem {
            window: Window::new(size as usize),
            flags,
            maps: Mutex::default(),
            wrong: Mutex::default(),
        })
    }

    /// Take the maps that came since the last time.
    pub fn take(&self) -> Vec<Map> {
        let wrong = self.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "a SHMEM_MAP was wrong: {wrong:?}");
        std::mem::take(&mut self.maps.lock().unwrap())
    }

    /// Take the one map that came, which must be of all of region 0.
    pub fn take_one(&self) -> Map {
        let mut maps = self.take();
        assert_eq!(maps.len(), 1, "SHMEM_MAPs");
        let map = maps.remove(0);
        assert_eq!((map.shmid, map.len), (0, self.window.len as u64));
        map
    }

    /// Forget all mappings, as a VMM does when the device is reset. Whoever
    /// touches the memory then without a new SHMEM_MAP dies of SIGSEGV.
    pub fn unmap_all(&self) {
        self.window.clear();
    }

    /// Write as a guest does.
    pub fn write(&self, offset: usize, data: &[u8]) {
        assert!(offset + data.len() <= self.window.len);
        // SAFETY: inside the window, and of another kind of memory than `data`.
        unsafe {
            ptr::copy_nonoverlapping(data.as_ptr(), self.window.base.add(offset), data.len())
        };
    }

    /// Read as a guest does.
    pub fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset + len <= self.window.len);
        let mut data = vec![0; len];
        // SAFETY: as in `write`.
        unsafe { ptr::copy_nonoverlapping(self.window.base.add(offset), data.as_mut_ptr(), len) };
        data
    }

    /// What a careful VMM looks at before it maps.
    fn check(&self, req: &VhostUserMMap, file: &File) -> std::result::Result<(), String> {
        let VhostUserMMap {
            shmid,
            padding,
            fd_offset,
            shm_offset,
            len,
            flags,
        } = *req;
        let window = self.window.len as u64;
        let size = file.metadata().map_err(|e| e.to_string())?.len();
        let wanted = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: it reads a property of an open file.
        let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };

        if shmid != 0 || padding != [0; 7] {
            return Err(format!("shmid {shmid}, padding {padding:?}"));
        }
        if shm_offset.checked_add(len).is_none_or(|end| end > window) {
            return Err(format!("{len} bytes at {shm_offset} of {window}"));
        }
        if fd_offset.checked_add(len).is_none_or(|end| end > size) {
            return Err(format!("{len} bytes at {fd_offset} of a file of {size}"));
        }
        if flags != self.flags.bits() {
            return Err(format!("flags {flags:#x}"));
        }
        if seals & wanted != wanted {
            return Err(format!("seals {seals:#x}"));
        }
        Ok(())
    }
}

impl VhostUserFrontendReqHandler for Shmem {
    fn shmem_map(&self, req: &VhostUserMMap, fd: &dyn AsRawFd) -> HandlerResult<u64> {
        // SAFETY: it is open for as long as this call lasts.
        let fd = unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) };
        let file = File::from(fd.try_clone_to_owned()?);

        if let Err(why) = self.check(req, &file) {
            self.wrong.lock().unwrap().push(why);
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let prot = if self.flags.contains(VhostUserMMapFlags::WRITABLE) {
            libc::PROT_READ | libc::PROT_WRITE
        } else {
            libc::PROT_READ
        };
        self.window.map(
            file.as_raw_fd(),
            prot,
            req.fd_offset,
            req.shm_offset as usize,
            req.len as usize,
        )?;
        self.maps.lock().unwrap().push(Map {
            shmid: req.shmid,
            len: req.len,
            file,
        });
        Ok(0)
    }

    fn shmem_unmap(&self, _req: &VhostUserMMap) -> HandlerResult<u64> {
        self.wrong.lock().unwrap().push("a SHMEM_UNMAP".to_string());
        Err(io::Error::from_raw_os_error(libc::EINVAL))
    }
}

/// A handler that maps all memory writable, whatever it is told, and opens the
/// file anew if that is not to be had.
pub struct Headstrong(pub Mutex<Vec<String>>);

impl VhostUserFrontendReqHandler for Headstrong {
    fn shmem_map(&self, req: &VhostUserMMap, fd: &dyn AsRawFd) -> HandlerResult<u64> {
        let window = Window::new(req.len as usize);
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let again = File::options().read(true).write(true).open(path);
        let mut fds = vec![fd.as_raw_fd()];

        fds.extend(again.as_ref().map(|file| file.as_raw_fd()));
        for fd in fds {
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            let error = match window.map(fd, prot, 0, 0, req.len as usize) {
                Ok(()) => "mapped".to_string(),
                Err(error) => error.kind().to_string(),
            };
            self.0.lock().unwrap().push(error);
        }
        Err(io::Error::from_raw_os_error(libc::EACCES))
    }
}

/// A handler that refuses every SHMEM_MAP with an error of its own.
pub struct Refuse(pub i32);

impl VhostUserFrontendReqHandler for Refuse {
    fn shmem_map(&self, _req: &VhostUserMMap, _fd: &dyn AsRawFd) -> HandlerResult<u64> {
        Err(io::Error::from_raw_os_error(self.0))
    }
}

/// A handler that implements nothing: the crate answers -ENOSYS.
pub struct Default;

impl VhostUserFrontendReqHandler for Default {}

/// A back-end channel that is served when its owner says so.
pub struct Channel<S: VhostUserFrontendReqHandler>(FrontendReqHandler<S>);

impl<S: VhostUserFrontendReqHandler> Channel<S> {
    /// A new channel. Requests are answered if `answer`.
    pub fn new(handler: &Arc<S>, answer: bool) -> Self {
        let mut inner = FrontendReqHandler::new(Arc::clone(handler)).expect("a socket pair");
        inner.set_reply_ack_flag(answer);
        Channel(inner)
    }

    /// The descriptor for SET_BACKEND_REQ_FD.
    pub fn tx(&self) -> RawFd {
        self.0.get_tx_raw_fd()
    }

    /// Serve one request, which must come.
    pub fn serve(&mut self) -> Result<u64> {
        assert!(
            readable(self.0.as_raw_fd(), PATIENCE),
            "no request on the back-end channel"
        );
        self.0.handle_request()
    }

    /// Whether no request waits.
    pub fn is_quiet(&self) -> bool {
        !readable(self.0.as_raw_fd(), Duration::ZERO)
    }
}

/// A back-end channel with a thread that serves it, as Cloud Hypervisor has.
pub struct Served {
    tx: RawFd,
    stop: EventFd,
    thread: Option<JoinHandle<()>>,
    results: Receiver<Result<u64>>,
}

impl Served {
    /// A new channel, and a thread. Requests are answered.
    pub fn new<S: VhostUserFrontendReqHandler + Send + Sync + 'static>(handler: &Arc<S>) -> Self {
        let Channel(mut inner) = Channel::new(handler, true);
        let stop = EventFd::new(EFD_NONBLOCK).expect("an eventfd");
        let stopped = stop.try_clone().expect("an eventfd's copy");
        let (sender, results) = channel();
        let tx = inner.get_tx_raw_fd();
        // The channel lives until the thread ends, and is closed by it.
        let thread = std::thread::spawn(move || loop {
            any_readable(&[inner.as_raw_fd(), stopped.as_raw_fd()], None);
            if readable(inner.as_raw_fd(), Duration::ZERO) {
                let result = inner.handle_request();
                let failed = result.is_err();
                sender.send(result).expect("somebody who wants to know");
                if failed {
                    return;
                }
            } else {
                return;
            }
        });
        Served {
            tx,
            stop,
            thread: Some(thread),
            results,
        }
    }

    /// The descriptor for SET_BACKEND_REQ_FD.
    pub fn tx(&self) -> RawFd {
        self.tx
    }

    /// The result of one request, which must come.
    pub fn result(&self) -> Result<u64> {
        self.results
            .recv_timeout(PATIENCE)
            .unwrap_or(Err(Error::InvalidOperation(
                "no request on the back-end channel",
            )))
    }

    /// End the thread and close the channel; no request may have come whose
    /// result was not asked for.
    pub fn close(mut self) {
        self.stop.write(1).expect("the stop event");
        let thread = self.thread.take().expect("a thread");
        thread.join().expect("the channel's thread");
        let more = self.results.try_iter().count();
        assert_eq!(more, 0, "requests too many on the back-end channel");
    }
}
