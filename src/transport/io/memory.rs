//! What a core has asked, in memory: a simulator looks at it, and makes the completions.
//!
//! Nothing is copied when it is asked: as with a kernel, what is sent is read, and what is received is written, when the
//! simulator says so. A core that uses memory again which a kernel still had would be found out.

#![allow(unsafe_code)]

use super::super::receiving::Direct;
use super::super::source::Source;
use super::outgoing::Outgoing;
use super::socket::Socket;
use super::watch::Watch;
use crate::backend::Token;
use crate::model::ConnNo;
use crate::ring::Completion;
use io_uring::squeue;
use std::collections::BTreeMap;

/// Where a receive puts what comes.
#[derive(Debug)]
pub enum Into {
    /// It goes on until it is cancelled; each chunk is shown once.
    Chunks,
    /// Once, into this memory.
    Known(Vec<libc::iovec>),
}

/// All that was asked and not answered.
#[derive(Debug)]
pub struct Memory {
    /// Receives: connection, and line if it has one.
    receives: BTreeMap<ConnNo, (Option<usize>, Into)>,
    /// Receives that are cancelled.
    cancelled: Vec<ConnNo>,
    /// Sends: connection, line if it has one, what is to be moved.
    sends: BTreeMap<ConnNo, (Option<usize>, Vec<libc::iovec>)>,
    /// Operations on media, in the order in which they were asked for, with what their medium has made of them.
    pub media: Vec<(Token, squeue::Entry)>,
    /// What the receive that is being completed has brought.
    chunk: Vec<u8>,
    /// The number of the batch of completions.
    pub batch: u64,
    /// The time.
    pub watch: Watch,
}

impl Memory {
    /// Nothing was asked.
    pub fn new(watch: Watch) -> Memory {
        Memory {
            receives: BTreeMap::new(),
            cancelled: Vec::new(),
            sends: BTreeMap::new(),
            media: Vec::new(),
            chunk: Vec::new(),
            batch: 0,
            watch,
        }
    }

    fn line(socket: &Socket) -> Option<usize> {
        match socket {
            Socket::Line(line) => Some(line.number),
            Socket::Tcp(_) => None,
        }
    }

    pub(super) fn receive(&mut self, conn: ConnNo, socket: &Socket, known: Option<&mut Direct>) {
        let into = known.map_or(Into::Chunks, |direct| Into::Known(vectors(&raw const direct.header)));
        let before = self.receives.insert(conn, (Memory::line(socket), into));
        assert!(before.is_none(), "{conn:?} has two receives");
    }

    pub(super) fn cancel_receive(&mut self, conn: ConnNo) {
        self.cancelled.push(conn);
    }

    pub(super) fn send(&mut self, conn: ConnNo, socket: &Socket, what: Outgoing) {
        let vectors = match what {
            Outgoing::One(one) => vec![one],
            Outgoing::Many(header) => vectors(header),
        };
        let before = self.sends.insert(conn, (Memory::line(socket), vectors));
        assert!(before.is_none(), "{conn:?} has two sends");
    }

    pub(super) fn bytes(&self, _: u16, len: usize) -> (*const u8, usize) {
        (self.chunk.as_ptr(), len.min(self.chunk.len()))
    }

    pub(super) fn give_back(&mut self, _: u16) {
        self.chunk.clear();
    }

    /// The connections that receive on a line, with that.
    pub fn receiving(&self) -> impl Iterator<Item = (ConnNo, usize)> {
        self.receives.iter().filter_map(|(conn, (line, _))| Some((*conn, (*line)?)))
    }

    /// The connections that send on a line, with that.
    pub fn sending(&self) -> impl Iterator<Item = (ConnNo, usize)> {
        self.sends.iter().filter_map(|(conn, (line, _))| Some((*conn, (*line)?)))
    }

    /// Whether a receive is to be cancelled.
    pub fn is_cancelled(&self) -> bool {
        !self.cancelled.is_empty()
    }

    /// A receive of which the cancellation is due.
    pub fn cancelled(&mut self) -> Option<Completion> {
        let conn = self.cancelled.pop()?;
        // It may have been over before.
        self.receives.remove(&conn)?;
        Some(Completion::new(Source::Receive.tag(conn.at() as u64), -libc::ECANCELED))
    }

    /// Bytes come: at most as many as the receive takes are taken off `from`. `more`: the line has more.
    pub fn bring(&mut self, conn: ConnNo, from: &mut Vec<u8>, most: usize, more: bool) -> Option<Completion> {
        let tag = Source::Receive.tag(conn.at() as u64);
        match self.receives.get(&conn)?.1 {
            Into::Chunks => {
                let len = most.min(from.len());
                assert!(self.chunk.is_empty(), "two chunks at once");
                self.chunk.extend(from.drain(..len));
                Some(Completion::new(tag, len as i32).with_buffer(0).and_more(true, more))
            }
            Into::Known(_) => {
                let Some((_, Into::Known(vectors))) = self.receives.remove(&conn) else { return None };
                let mut done = 0;
                for vector in vectors {
                    let len = vector.iov_len.min(most - done).min(from.len());
                    // SAFETY: the core keeps this memory for the receive until its completion, which comes now.
                    unsafe { vector.iov_base.cast::<u8>().copy_from_nonoverlapping(from.as_ptr(), len) };
                    from.drain(..len);
                    done += len;
                }
                Some(Completion::new(tag, done as i32).and_more(false, more))
            }
        }
    }

    /// A receive ends: with the end of the stream (0), or an error (less than that).
    pub fn end_receive(&mut self, conn: ConnNo, result: i32) -> Option<Completion> {
        self.receives.remove(&conn)?;
        Some(Completion::new(Source::Receive.tag(conn.at() as u64), result))
    }

    /// Takes at most `most` bytes of what a connection sends, and adds them to `to`.
    pub fn take(&mut self, conn: ConnNo, most: usize, to: &mut Vec<u8>) -> Option<Completion> {
        let (_, vectors) = self.sends.remove(&conn)?;
        let mut done = 0;
        for vector in vectors {
            let len = vector.iov_len.min(most - done);
            // SAFETY: the core keeps this memory for the send until its completion, which comes now.
            to.extend_from_slice(unsafe { std::slice::from_raw_parts(vector.iov_base.cast(), len) });
            done += len;
        }
        Some(Completion::new(Source::Send.tag(conn.at() as u64), done as i32))
    }

    /// A send fails.
    pub fn fail_send(&mut self, conn: ConnNo, errno: i32) -> Option<Completion> {
        self.sends.remove(&conn)?;
        Some(Completion::new(Source::Send.tag(conn.at() as u64), -errno))
    }

    /// An operation on a medium is over: the one at `at` of those that are out.
    pub fn answer(&mut self, at: usize, result: i32) -> Completion {
        let (token, _) = self.media.remove(at);
        Completion::new(Source::Medium.tag(u64::from(token.0)), result)
    }
}

/// What a header names.
fn vectors(header: *const libc::msghdr) -> Vec<libc::iovec> {
    // SAFETY: whoever asks keeps the header and what it names where they are until the completion.
    unsafe { std::slice::from_raw_parts((*header).msg_iov, (*header).msg_iovlen) }.to_vec()
}
