//! The ring of a core's thread, and the receive buffers that are registered with it.

use super::super::receiving::Direct;
use super::super::source::Source;
use super::outgoing::Outgoing;
use super::socket::Socket;
use crate::backend::Token;
use crate::buffers::Arena;
use crate::limits::{RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS, RING_ENTRIES, SPARE_FILES};
use crate::model::ConnNo;
use crate::ring::{RECEIVE_GROUP, ReceiveBuffers, Ring};
use io_uring::{opcode, squeue, types};
use std::io;
use std::os::fd::RawFd;

/// The ring and its receive buffers. The ring goes first when it is dropped: it is closed before the memory goes that it
/// works on.
pub struct Kernel {
    /// The ring.
    pub ring: Ring,
    /// Receive buffers of all connections.
    pub buffers: ReceiveBuffers,
}

impl Kernel {
    /// A ring for this thread, with which the memory of `arena` is registered, if that is allowed, and files of `units`
    /// units can be. What the kernel does not allow is said, if `says`: once for all cores is enough.
    ///
    /// # Errors
    /// No ring, or no memory for receive buffers.
    pub fn new(arena: &mut Arena, units: usize, says: bool) -> io::Result<Kernel> {
        let ring = Ring::new(RING_ENTRIES)?;
        match ring.register_memory(arena.memory()) {
            Ok(()) => arena.set_registered(),
            Err(e) if says => {
                tracing::warn!(
                    "I/O buffers are not registered with the kernel ({e}): raise the limit for locked memory (ulimit -l) for full speed"
                );
            }
            Err(_) => {}
        }
        let buffers = ReceiveBuffers::new(&ring, RECEIVE_BUFFERS, RECEIVE_BUFFER_BYTES)?;
        // Files of units that come later are registered, too, as long as there is room.
        if let Err(e) = ring.register_files((units + SPARE_FILES) as u32) {
            tracing::debug!("files are not registered with the kernel: {e}");
        }
        Ok(Kernel { ring, buffers })
    }

    #[inline]
    pub(super) fn receive(&mut self, conn: ConnNo, socket: &Socket, known: Option<&mut Direct>) {
        let file = types::Fd(socket.fd());
        let entry = match known {
            Some(direct) => opcode::RecvMsg::new(file, &raw mut direct.header).build(),
            None => opcode::RecvMulti::new(file, RECEIVE_GROUP).build(),
        };
        self.ring.push(entry.user_data(Source::Receive.tag(conn.at() as u64)));
    }

    pub(super) fn cancel_receive(&mut self, conn: ConnNo) {
        let entry = opcode::AsyncCancel::new(Source::Receive.tag(conn.at() as u64)).build();
        self.ring.push(entry.user_data(Source::Cancel.tag(0)));
    }

    #[inline]
    pub(super) fn send(&mut self, conn: ConnNo, socket: &Socket, what: Outgoing) {
        // WAITALL: the kernel goes on by itself where the socket's buffer is full.
        const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let file = types::Fd(socket.fd());
        let entry = match what {
            Outgoing::One(one) => opcode::Send::new(file, one.iov_base.cast(), one.iov_len as u32).flags(FLAGS).build(),
            Outgoing::Many(header) => opcode::SendMsg::new(file, header).flags(FLAGS as u32).build(),
        };
        self.ring.push(entry.user_data(Source::Send.tag(conn.at() as u64)));
    }

    #[inline]
    pub(super) fn medium(&mut self, entry: squeue::Entry, token: Token) {
        self.ring.push(entry.user_data(Source::Medium.tag(u64::from(token.0))));
    }

    #[inline]
    pub(super) fn bytes(&self, id: u16, len: usize) -> (*const u8, usize) {
        self.buffers.bytes(id, len)
    }

    #[inline]
    pub(super) fn give_back(&mut self, id: u16) {
        self.buffers.give_back(id);
    }

    /// Has the kernel accept one connection.
    pub fn accept(&mut self, listener: usize, fd: RawFd) {
        let entry = opcode::Accept::new(types::Fd(fd), std::ptr::null_mut(), std::ptr::null_mut());
        let entry = entry.flags(libc::SOCK_CLOEXEC).build();
        self.ring.push(entry.user_data(Source::Accept.tag(listener as u64)));
    }

    /// Reads a bell when it rings, into `bell`, which stays where it is until then.
    pub fn listen_to(&mut self, fd: RawFd, bell: *mut u64) {
        let entry = opcode::Read::new(types::Fd(fd), bell.cast(), 8).build();
        self.ring.push(entry.user_data(Source::Bell.tag(0)));
    }
}
