//! The numbers by which a core knows its connections.

use std::num::NonZeroU32;

/// Number of a connection on its core. That there is none takes no room of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnNo(NonZeroU32);

impl ConnNo {
    /// The connection at a place, of which there are far fewer than numbers.
    #[inline]
    pub const fn new(at: usize) -> ConnNo {
        ConnNo(NonZeroU32::MIN.saturating_add(at as u32))
    }

    /// The place of one, or a place where none is: for a look-up that looks whether the place is there anyway.
    #[inline]
    pub fn place(of: Option<ConnNo>) -> usize {
        (of.map_or(0, |conn| conn.0.get()) as usize).wrapping_sub(1)
    }

    /// Its place.
    #[inline]
    pub const fn at(self) -> usize {
        (self.0.get() - 1) as usize
    }
}
