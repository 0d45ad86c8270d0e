//! The way in for completions of other threads: what a medium needs that does not do its work through the core's ring.
//!
//! A hot half makes a [`Remote`] of an operation ([`WayIn::remote`]) and sends it to a thread of the medium's own, over
//! whatever leads there. It is the operation, its buffer and the duty to answer in one: the thread reads from or writes to
//! the buffer, and ends with [`Remote::done`]. A remote that is dropped instead, by a thread that panics, say, is answered with
//! `-EIO`. Either way the core is woken by its bell, and hands the result to [`Hot::complete`](super::contract::Hot::complete).
//!
//! An answer takes no lock, waits for nobody and allocates nothing, on neither side: it travels in the very memory that the
//! remote has come in, which goes back to the core with it. Of many answers the first one rings the bell. A core that has
//! ended takes no answers: they are dropped.

#![allow(unsafe_code)]

use super::queue::{Buffer, Op, Token};
use super::returns::{Node, Returns};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// An operation on its way, and what it came to.
struct Trip {
    op: Op,
    token: Token,
    result: i32,
}

// SAFETY: the pointer in the operation's buffer belongs to no thread: it is valid until the operation's result was given
// (contract of `Buffer::new`), and whoever has the trip is the one who may use it.
unsafe impl Send for Trip {}

/// What a core and those who answer it share.
struct Shared {
    returns: Returns<Trip>,
    wake: Box<dyn Fn() + Send + Sync>,
}

/// One core's way in: it belongs to that core, and all of its handles have it.
#[derive(Clone)]
pub struct WayIn(Rc<Side>);

struct Side {
    shared: Arc<Shared>,
    /// What has come back, to be used again: as much as was ever under way at a time.
    #[allow(clippy::vec_box, reason = "a node stays where it is: it goes into the stack in its box")]
    spare: RefCell<Vec<Box<Node<Trip>>>>,
}

impl WayIn {
    /// The way in to the core that calls this. `wake` makes it call [`WayIn::drain`] soon: any thread calls it, and it does
    /// not block.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> WayIn {
        let shared = Arc::new(Shared { returns: Returns::new(), wake: Box::new(wake) });
        WayIn(Rc::new(Side { shared, spare: RefCell::new(Vec::new()) }))
    }

    /// Makes of an operation what another thread can carry out. The hot half that has it made answers `Pending` to its
    /// start, and is called with its result, once.
    pub fn remote(&self, op: Op, token: Token) -> Remote {
        let trip = Trip { op, token, result: -libc::EIO };
        let spare = self.0.spare.borrow_mut().pop();
        let node = match spare {
            Some(mut node) => {
                node.value = trip;
                node
            }
            None => Box::new(Node::new(trip)),
        };
        Remote { node: Some(node), shared: Arc::clone(&self.0.shared) }
    }

    /// What was answered since the last call, added to `into` in that order: tokens and results, to be handed to their
    /// handles.
    pub fn drain(&self, into: &mut Vec<(Token, i32)>) {
        let mut spare = self.0.spare.borrow_mut();
        for node in self.0.shared.returns.take() {
            into.push((node.value.token, node.value.result));
            spare.push(node);
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        drop(self.shared.returns.close());
    }
}

/// An operation that another thread carries out.
pub struct Remote {
    /// Until it is answered.
    node: Option<Box<Node<Trip>>>,
    shared: Arc<Shared>,
}

impl Remote {
    /// What is to be done. Its buffer is for [`Remote::bytes`] and [`Remote::bytes_mut`].
    pub fn op(&self) -> Op {
        // It is there until `drop`.
        self.node.as_ref().map_or(Op::Flush, |node| node.value.op)
    }

    /// What a write writes; of other operations nothing.
    pub fn bytes(&self) -> &[u8] {
        match self.op() {
            // SAFETY: valid, and changed by nobody, until the operation's result was given (contract of `Buffer::new`),
            // which takes this remote; other writes of the same memory only read it.
            Op::Write { buffer, .. } if buffer.len() > 0 => unsafe {
                std::slice::from_raw_parts(buffer.ptr(), buffer.len())
            },
            _ => &[],
        }
    }

    /// Where a read puts what it reads: all of it. Of other operations nothing.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match self.op() {
            // SAFETY: valid, and used by nobody else, until the operation's result was given (contract of `Buffer::new`),
            // which takes this remote.
            Op::Read { buffer, .. } if buffer.len() > 0 => unsafe {
                std::slice::from_raw_parts_mut(buffer.ptr(), buffer.len())
            },
            _ => &mut [],
        }
    }

    /// The buffer, for a library that takes pointers. Nobody may use it once this remote is gone.
    pub fn buffer(&self) -> Buffer {
        match self.op() {
            Op::Read { buffer, .. } | Op::Write { buffer, .. } => buffer,
            _ => Buffer::NONE,
        }
    }

    /// Answers it: `result` is what the hot half is called with.
    pub fn done(mut self, result: i32) {
        if let Some(node) = &mut self.node {
            node.value.result = result;
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if let Some(node) = self.node.take()
            && self.shared.returns.put(node)
        {
            (self.shared.wake)();
        }
    }
}
