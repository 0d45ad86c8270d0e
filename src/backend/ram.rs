//! A logical unit in memory: gone at exit, answered at once.

use super::contract::{AtCore, Cold, Configured, Hot, Opened, PathIs};
use super::error::OpenError;
use super::memory::{Memory, MemoryHold};
use super::properties::Properties;
use super::queue::{Op, Queue, Started, Token};
use super::size::Size;
use super::verdict::given_size;
use crate::model::LunSpec;
use std::io;
use std::sync::Arc;

impl Cold for Memory {
    type Hot = MemoryHold;

    fn hot(self: &Arc<Self>, _at: &AtCore) -> MemoryHold {
        MemoryHold::new(self)
    }

    fn asked(&self, spec: &LunSpec, _size: &Size) -> Result<u64, OpenError> {
        match given_size(spec)? {
            bytes if bytes > self.pointer().1 => Err(OpenError::Fixed { what: "ram" }),
            bytes => Ok(bytes),
        }
    }

    fn allocated(&self, offset: u64, len: u64, _block_bytes: u32, _size: &Size) -> io::Result<(bool, u64)> {
        self.backed(offset, len)
    }
}

impl Configured for Memory {
    const PATH: PathIs = PathIs::Nothing;
    const NEEDS_SIZE: bool = true;

    fn open(spec: &LunSpec) -> Result<Opened<Memory>, OpenError> {
        let size_bytes = given_size(spec)?;
        // A file may be torn by a loss of power, and memory does not outlive one.
        let properties = Properties { atomic: true, ..Properties::of_memory(size_bytes) };
        Ok((Memory::new(size_bytes)?, properties))
    }
}

impl Hot for MemoryHold {
    #[inline]
    fn start<Q: Queue + ?Sized>(&mut self, op: Op, _token: Token, _queue: &mut Q) -> Started {
        self.mapping().start(op)
    }

    #[inline]
    fn memory(&self) -> Option<&MemoryHold> {
        Some(self)
    }
}
