//! Reads zeroes, forgets writes: for measuring everything else. Answers at once, holds nothing.
//!
//! It is also the shortest medium that there can be, to begin another one from.

use super::contract::{AtCore, Cold, Configured, Hot, Opened, PathIs};
use super::error::OpenError;
use super::properties::Properties;
use super::queue::{Op, Queue, Started, Token};
use super::size::Size;
use super::verdict::given_size;
use crate::model::LunSpec;
use std::io;
use std::sync::Arc;

/// The medium, and one core's access to it.
#[derive(Clone, Copy)]
pub(super) struct Null;

impl Null {
    /// What is true of it, if it has that size and block length, bytes.
    pub(super) fn properties(size_bytes: u64, block_bytes: u32) -> Properties {
        Properties { discard_granularity_bytes: block_bytes, ..Properties::of_memory(size_bytes) }
    }
}

impl Cold for Null {
    type Hot = Null;

    fn hot(self: &Arc<Self>, _at: &AtCore) -> Null {
        Null
    }

    fn allocated(&self, _offset: u64, len: u64, _block_bytes: u32, _size: &Size) -> io::Result<(bool, u64)> {
        Ok((false, len))
    }
}

impl Configured for Null {
    const PATH: PathIs = PathIs::Nothing;
    const NEEDS_SIZE: bool = true;

    fn open(spec: &LunSpec) -> Result<Opened<Null>, OpenError> {
        Ok((Null, Null::properties(given_size(spec)?, spec.block_bytes)))
    }
}

impl Hot for Null {
    #[inline]
    fn start<Q: Queue + ?Sized>(&mut self, op: Op, _token: Token, _queue: &mut Q) -> Started {
        if let Op::Read { buffer, .. } = op {
            // A read that left the buffer alone would send another host's data.
            buffer.zero();
        }
        Started::Done(Ok(()))
    }
}
