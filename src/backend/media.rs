//! The table of all media: a row for each kind. What is called on one is a `match` that this table makes, so nothing on the
//! way of an operation goes through a pointer to a function.

use super::contract::{AtCore, Cold, Configured, Hot, Opened, PathIs};
use super::error::OpenError;
use super::fault::{FaultHandle, Faulty};
use super::file::FileMedium;
use super::memory::{Memory, MemoryHold};
use super::null::Null;
use super::properties::Fit;
use super::queue::{Op, Queue, Started, Token};
#[cfg(test)]
use super::simulated::Simulated;
use super::size::Size;
#[cfg(test)]
use super::threaded::Threaded;
use super::verdict::{Identity, Remark};
use crate::model::{Backing, LunSpec, MediumFault, Space};
use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;

/// A kind of medium, as a configuration can name it.
pub struct MediumKind {
    /// The word for it: `kind = "ram"`.
    pub word: &'static str,
    /// What the path beside it is.
    pub path: PathIs,
    /// A size is to be given.
    pub needs_size: bool,
    /// Opens one.
    pub(super) open: fn(&LunSpec) -> Result<Opened<Kind>, OpenError>,
    /// See [`Configured::look`].
    pub(super) look: fn(&LunSpec) -> Result<Option<Identity>, OpenError>,
    /// See [`Configured::remarks`].
    pub(super) remarks: fn(&LunSpec) -> Vec<Remark>,
}

/// Makes of each row: a variant of [`Kind`] (the cold half), one of [`HandleKind`] (the hot half), and an entry of [`KINDS`].
macro_rules! media {
    (($d:tt) $($(#[$meta:meta])* $word:literal $name:ident($cold:ty);)*) => {
        /// The cold half of a medium of any kind.
        pub(super) enum Kind {
            $($(#[$meta])* $name(Arc<$cold>),)*
            /// One over another, which fails as planned.
            Fault(Arc<Faulty<Kind>>),
        }

        /// The hot half of a medium of any kind.
        pub(super) enum HandleKind {
            $($(#[$meta])* $name(<$cold as Cold>::Hot),)*
            /// One over another, which fails as planned.
            Fault(Box<FaultHandle<HandleKind>>),
        }

        /// All kinds that a configuration can name.
        pub static KINDS: &[MediumKind] = &[$($(#[$meta])* MediumKind {
            word: $word,
            path: <$cold as Configured>::PATH,
            needs_size: <$cold as Configured>::NEEDS_SIZE,
            open: |spec| {
                let (cold, properties) = <$cold as Configured>::open(spec)?;
                Ok((Kind::$name(Arc::new(cold)), properties))
            },
            look: <$cold as Configured>::look,
            remarks: <$cold as Configured>::remarks,
        },)*];

        impl Kind {
            /// See [`Cold::hot`].
            fn handle(&self, at: &AtCore) -> HandleKind {
                match self {
                    $($(#[$meta])* Kind::$name(cold) => HandleKind::$name(cold.hot(at)),)*
                    Kind::Fault(cold) => HandleKind::Fault(cold.hot(at)),
                }
            }
        }

        /// The same of each kind: `each!(self: Kind, cold => cold.sync())`.
        macro_rules! each {
            ($d of:ident: $d kind:ident, $d half:ident => $d call:expr) => {
                match $d of {
                    $($(#[$meta])* $d kind::$name($d half) => $d call,)*
                    $d kind::Fault($d half) => $d call,
                }
            };
        }
    };
}

media! {
    ($)
    "file" File(FileMedium);
    "ram" Ram(Memory);
    "null" Null(Null);
    #[cfg(test)]
    "threaded" Threaded(Threaded);
    #[cfg(test)]
    "simulated" Simulated(Simulated);
}

impl Cold for Kind {
    type Hot = HandleKind;

    fn hot(self: &Arc<Self>, at: &AtCore) -> HandleKind {
        self.handle(at)
    }

    fn sync(&self) -> io::Result<()> {
        each!(self: Kind, cold => cold.sync())
    }

    fn asked(&self, spec: &LunSpec, size: &Size) -> Result<u64, OpenError> {
        each!(self: Kind, cold => cold.asked(spec, size))
    }

    fn fit(&self, spec: &LunSpec, size: &Size) -> Result<Fit, OpenError> {
        each!(self: Kind, cold => cold.fit(spec, size))
    }

    fn ungrow(&self, fit: &Fit) -> io::Result<()> {
        each!(self: Kind, cold => cold.ungrow(fit))
    }

    fn undo(&self, path: &Path) -> io::Result<()> {
        each!(self: Kind, cold => cold.undo(path))
    }

    fn has_grown(&self) -> bool {
        each!(self: Kind, cold => cold.has_grown())
    }

    fn is_whole(&self, size: &Size) -> bool {
        each!(self: Kind, cold => cold.is_whole(size))
    }

    fn is_at(&self, path: &Path) -> bool {
        each!(self: Kind, cold => cold.is_at(path))
    }

    fn has_double(&self, path: &Path) -> bool {
        each!(self: Kind, cold => cold.has_double(path))
    }

    fn backing(&self, spec: &LunSpec) -> Option<Backing> {
        each!(self: Kind, cold => cold.backing(spec))
    }

    fn lasts(&self) -> bool {
        each!(self: Kind, cold => cold.lasts())
    }

    fn is_regular_file(&self) -> bool {
        each!(self: Kind, cold => cold.is_regular_file())
    }

    fn can_be_lost(&self) -> bool {
        each!(self: Kind, cold => cold.can_be_lost())
    }

    fn space(&self) -> io::Result<Option<Space>> {
        each!(self: Kind, cold => cold.space())
    }

    fn is_cached(&self, offset: u64, len: u64) -> Option<bool> {
        each!(self: Kind, cold => cold.is_cached(offset, len))
    }

    fn allocated(&self, offset: u64, len: u64, block_bytes: u32, size: &Size) -> io::Result<(bool, u64)> {
        each!(self: Kind, cold => cold.allocated(offset, len, block_bytes, size))
    }
}

impl Hot for HandleKind {
    #[inline(always)]
    fn start<Q: Queue + ?Sized>(&mut self, op: Op, token: Token, queue: &mut Q) -> Started {
        each!(self: HandleKind, hot => hot.start(op, token, queue))
    }

    #[inline(always)]
    fn complete<Q: Queue + ?Sized>(
        &mut self,
        token: Token,
        result: i32,
        queue: &mut Q,
    ) -> Option<Result<(), MediumFault>> {
        each!(self: HandleKind, hot => hot.complete(token, result, queue))
    }

    #[inline]
    fn memory(&self) -> Option<&MemoryHold> {
        each!(self: HandleKind, hot => hot.memory())
    }

    fn raw_fd(&self) -> Option<RawFd> {
        each!(self: HandleKind, hot => hot.raw_fd())
    }

    fn set_registered(&mut self, index: u32) {
        each!(self: HandleKind, hot => hot.set_registered(index));
    }
}

/// The kind of that name.
pub fn kind_of(word: &str) -> Option<&'static MediumKind> {
    KINDS.iter().find(|kind| kind.word == word)
}

/// A read-only medium of no bytes: what is true of it, and it.
pub(super) fn none() -> Opened<Kind> {
    (Kind::Null(Arc::new(Null)), Null::properties(0, 512))
}
