//! What SANITIZE and FORMAT UNIT make of a logical unit: what is to be erased, how, and what that leaves it busy with. Which of
//! them may begin or end when is decided in `erase.rs`.

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

/// How a logical unit stands with erasing; among its rare state.
#[derive(Debug, Default)]
pub(super) struct Erasing {
    /// An erasing is under way, or has failed.
    busy: Option<Busy>,
    /// What is stored of an erasing that is not complete.
    unfinished: Option<Erasure>,
}

impl Erasing {
    /// After a restart, when `unfinished` was stored: what is erased in part has failed.
    pub(super) fn restored(unfinished: Option<Erasure>) -> Erasing {
        Erasing { busy: unfinished.map(Erasure::failed), unfinished }
    }

    /// What keeps the unit from doing anything else.
    pub(super) fn busy(&self) -> Option<Busy> {
        self.busy
    }

    /// What is stored of an erasing that is not complete.
    pub(super) fn unfinished(&self) -> Option<Erasure> {
        self.unfinished
    }

    /// This erasing is under way.
    pub(super) fn begun(&mut self, erasure: Erasure) {
        self.busy = Some(erasure.under_way());
    }

    /// Nothing was erased by the one that was under way: a failure that it was to end is there again.
    pub(super) fn not_begun(&mut self) {
        self.busy = self.unfinished.map(Erasure::failed);
    }

    /// The one that was under way is over; `good`: all is erased.
    pub(super) fn ended(&mut self, good: bool) {
        self.busy = match self.busy {
            Some(Busy::Formatting) if !good => Some(Busy::FormatFailed),
            Some(Busy::Sanitizing { unrestricted }) if !good => Some(Busy::SanitizeFailed { unrestricted }),
            _ => None,
        };
    }

    /// This is stored from now on. Answers whether that ends a failure: nothing being stored, it is EXIT FAILURE MODE that
    /// has been.
    pub(super) fn note_unfinished(&mut self, unfinished: Option<Erasure>) -> bool {
        self.unfinished = unfinished;
        let ends = unfinished.is_none() && matches!(self.busy, Some(Busy::SanitizeFailed { .. }));
        if ends {
            self.busy = None;
        }
        ends
    }
}

impl Erasure {
    fn under_way(self) -> Busy {
        match self {
            Erasure::Format => Busy::Formatting,
            Erasure::Sanitize { unrestricted } => Busy::Sanitizing { unrestricted },
        }
    }

    /// What a logical unit is busy with that was left in the middle of this erasing.
    fn failed(self) -> Busy {
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
