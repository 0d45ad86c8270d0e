//! A medium in memory that a simulator plays with: it says when an operation is over, what it came to, how much of it was done
//! if it failed, and what of that outlives a loss of power.
//!
//! To the core it is a disk with a volatile cache. Each operation is one entry on the core's queue, which does nothing and has
//! the operation's number as its user_data; [`operation`] tells what it is. The simulator answers it when it likes, if ever:
//!
//! | result | what becomes of it |
//! |---|---|
//! | 0 | it is done, and over |
//! | -EINTR, -EAGAIN | it is tried again: another entry |
//! | less than zero | it has failed; what [`Disk::part`] has done of it stays done |
//! | more than zero, of a transfer | so many bytes of what is left are moved, of whole blocks: another entry, if any is left |
//!
//! What is written is in `current`, where reads find it. It gets to `stable`, which outlives the loss of power, with a durable
//! write, with a flush, or when the simulator has the disk write it back. A flush makes stable what each block was when it
//! started, and no more: that a real disk may have written something newer is for the simulator to bring about
//! ([`Disk::write_back`]), so that both are tried. An older version never takes the place of a newer one.
//!
//! Disks are found by name, on the thread that has opened them. One outlives its medium, as a disk outlives a process, until
//! [`forget`].

mod disk;

use super::contract::{AtCore, Cold, Configured, Hot, Opened, PathIs};
use super::error::OpenError;
use super::properties::Properties;
use super::queue::{Op, Queue, Started, Token};
use super::size::Size;
use super::verdict::given_size;
use crate::model::{Backing, LunKind, LunSpec, MediumFault};
pub(crate) use disk::{Disk, Fate, Pending, Work};
use io_uring::opcode::Nop;
use io_uring::squeue::Entry;
use std::cell::RefCell;
use std::io;
use std::sync::Arc;

/// The number of an operation has that of its disk above these bits.
const DISK_SHIFT: u32 = 40;

thread_local! {
    /// The disks of this thread, by name.
    static DISKS: RefCell<Vec<(String, Disk)>> = const { RefCell::new(Vec::new()) };
}

/// What a configuration calls the disk of that name.
pub(crate) fn kind(name: &str) -> LunKind {
    LunKind::Other { word: "simulated", path: name.to_owned() }
}

/// The disk of that name, if this thread has opened it.
pub(crate) fn disk(name: &str) -> Option<Disk> {
    DISKS.with_borrow(|disks| disks.iter().find(|(own, _)| own == name).map(|(_, disk)| disk.clone()))
}

/// The operation that an entry is of, and its disk; `None`: it is of none that is under way on a disk of this thread.
pub(crate) fn operation(entry: &Entry) -> Option<(Disk, Pending)> {
    let number = entry.get_user_data();
    let place = (number >> DISK_SHIFT).checked_sub(1)? as usize;
    let disk = DISKS.with_borrow(|disks| disks.get(place).map(|(_, disk)| disk.clone()))?;
    let pending = disk.store().find(number)?;
    Some((disk, pending))
}

/// This thread has no disks any more: another simulation begins.
pub(crate) fn forget() {
    DISKS.with_borrow_mut(Vec::clear);
}

/// The medium over a disk.
pub(super) struct Simulated(Disk);

impl Cold for Simulated {
    type Hot = SimulatedHandle;

    fn hot(self: &Arc<Self>, _at: &AtCore) -> SimulatedHandle {
        SimulatedHandle { disk: self.0.clone(), numbers: Vec::new() }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.store().sync()
    }

    fn asked(&self, spec: &LunSpec, _size: &Size) -> Result<u64, OpenError> {
        match given_size(spec)? {
            bytes if bytes > self.0.store().bytes() => Err(OpenError::Fixed { what: "simulated" }),
            bytes => Ok(bytes),
        }
    }

    fn backing(&self, spec: &LunSpec) -> Option<Backing> {
        let LunKind::Other { path, .. } = &spec.kind else { return None };
        Some(Backing { path: format!("(disk {path})"), mark: Some(path.clone()), lasts: true })
    }

    fn lasts(&self) -> bool {
        true
    }

    fn allocated(&self, offset: u64, len: u64, _block_bytes: u32, _size: &Size) -> io::Result<(bool, u64)> {
        Ok(self.0.store().allocated(offset, len))
    }
}

impl Configured for Simulated {
    const PATH: PathIs = PathIs::Name;
    const NEEDS_SIZE: bool = true;

    fn open(spec: &LunSpec) -> Result<Opened<Simulated>, OpenError> {
        let size_bytes = given_size(spec)?;
        let LunKind::Other { path: name, .. } = &spec.kind else {
            return Err(OpenError::Kind { word: spec.kind.word() });
        };
        let make = || {
            let first = (DISKS.with_borrow(Vec::len) as u64 + 1) << DISK_SHIFT;
            let disk = Disk::new(size_bytes, spec.block_bytes, first);
            DISKS.with_borrow_mut(|disks| disks.push((name.clone(), disk.clone())));
            disk
        };
        let medium = Simulated(disk(name).unwrap_or_else(make));
        let properties = Properties::of_memory(medium.asked(spec, &Size::new(size_bytes))?);
        let granularity = spec.block_bytes;
        Ok((medium, Properties { volatile_cache: true, discard_granularity_bytes: granularity, ..properties }))
    }
}

/// One core's access to it.
pub(super) struct SimulatedHandle {
    disk: Disk,
    /// Of the operation of each token; 0: there is none.
    numbers: Vec<u64>,
}

impl Hot for SimulatedHandle {
    fn start<Q: Queue + ?Sized>(&mut self, op: Op, token: Token, queue: &mut Q) -> Started {
        let index = token.0 as usize;
        if index >= self.numbers.len() {
            self.numbers.resize(index + 1, 0);
        }
        assert_eq!(self.numbers[index], 0, "a token with two operations");
        let number = self.disk.store().begin(op, token);
        self.numbers[index] = number;
        queue.push(Nop::new().build().user_data(number), token);
        Started::Pending
    }

    fn complete<Q: Queue + ?Sized>(
        &mut self,
        token: Token,
        result: i32,
        queue: &mut Q,
    ) -> Option<Result<(), MediumFault>> {
        let number = self.numbers.get_mut(token.0 as usize).filter(|number| **number != 0);
        let Some(number) = number else { return Some(Err(MediumFault::Internal(libc::EINVAL))) };
        let answer = self.disk.store().answer(*number, result);
        if answer.is_some() {
            *number = 0;
        } else {
            queue.push(Nop::new().build().user_data(*number), token);
        }
        answer
    }
}

impl Drop for SimulatedHandle {
    fn drop(&mut self) {
        self.disk.store().forget(&self.numbers);
    }
}

mod tests;
