//! What SANITIZE and FORMAT UNIT make of a logical unit: what is to be erased, how, and what that leaves it busy with.

/// What keeps a logical unit from doing anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Busy {
    /// FORMAT UNIT is under way.
    Formatting,
    /// SANITIZE is under way. `unrestricted`: AUSE was set.
    Sanitizing { unrestricted: bool },
    /// FORMAT UNIT failed: the medium is half erased until it is formatted again.
    FormatFailed,
    /// SANITIZE failed. `unrestricted`: EXIT FAILURE MODE may end this.
    SanitizeFailed { unrestricted: bool },
}

/// An erasing, by its command. Of one that is not complete this is all that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasure {
    /// FORMAT UNIT.
    Format,
    /// SANITIZE.
    Sanitize {
        /// AUSE was set: EXIT FAILURE MODE may end a failure.
        unrestricted: bool,
    },
}

impl Erasure {
    pub(super) fn under_way(self) -> Busy {
        match self {
            Erasure::Format => Busy::Formatting,
            Erasure::Sanitize { unrestricted } => Busy::Sanitizing { unrestricted },
        }
    }

    /// What a logical unit is busy with that was left in the middle of this erasing.
    pub(super) fn failed(self) -> Busy {
        match self {
            Erasure::Format => Busy::FormatFailed,
            Erasure::Sanitize { unrestricted } => Busy::SanitizeFailed { unrestricted },
        }
    }
}

/// How a medium is erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erase {
    /// Written over with a pattern (1 byte to a block, repeated in each block), several times.
    Overwrite {
        /// The pattern.
        pattern: Vec<u8>,
        /// How often, 1 to 31.
        passes: u8,
        /// Every second pass writes the pattern inverted.
        invert: bool,
    },
    /// Given back; reads as zeroes.
    Discard,
    /// Zeroed.
    Zero,
}
