//! The numbers by which a core knows its connections.

/// Number of a connection on its core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnNo(u32);

impl ConnNo {
    /// The connection at a place.
    #[inline]
    pub const fn new(at: usize) -> ConnNo {
        ConnNo(at as u32)
    }

    /// Its place.
    #[inline]
    pub const fn at(self) -> usize {
        self.0 as usize
    }
}
