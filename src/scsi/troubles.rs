//! What commands that end otherwise than well end with, as it is counted: by sense key, or by status where there is no sense data.

use super::sense::{Outcome, key, status};

/// What a command has ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Trouble {
    /// The logical unit cannot be accessed.
    NotReady,
    /// A flaw of the medium.
    MediumError,
    /// A failure of the device itself.
    HardwareError,
    /// Something in the CDB or the parameter list.
    IllegalRequest,
    /// A unit attention condition.
    UnitAttention,
    /// The blocks are protected from the access.
    DataProtect,
    /// A third-party copy was given up.
    CopyAborted,
    /// The device server aborted the command.
    AbortedCommand,
    /// What was compared was not the same.
    Miscompare,
    /// Status BUSY.
    Busy,
    /// Status RESERVATION CONFLICT.
    ReservationConflict,
    /// Status TASK SET FULL: there was no room.
    TaskSetFull,
    /// Another sense key or status. None is used.
    Other,
}

impl Trouble {
    /// All of them, in the order of their numbers.
    pub const ALL: [Trouble; 13] = [
        Trouble::NotReady,
        Trouble::MediumError,
        Trouble::HardwareError,
        Trouble::IllegalRequest,
        Trouble::UnitAttention,
        Trouble::DataProtect,
        Trouble::CopyAborted,
        Trouble::AbortedCommand,
        Trouble::Miscompare,
        Trouble::Busy,
        Trouble::ReservationConflict,
        Trouble::TaskSetFull,
        Trouble::Other,
    ];

    /// What it is called: the name of the sense key (SPC-4 table 43) or the status (SAM-5 table 33), in small letters.
    pub fn word(self) -> &'static str {
        match self {
            Trouble::NotReady => "not ready",
            Trouble::MediumError => "medium error",
            Trouble::HardwareError => "hardware error",
            Trouble::IllegalRequest => "illegal request",
            Trouble::UnitAttention => "unit attention",
            Trouble::DataProtect => "data protect",
            Trouble::CopyAborted => "copy aborted",
            Trouble::AbortedCommand => "aborted command",
            Trouble::Miscompare => "miscompare",
            Trouble::Busy => "busy",
            Trouble::ReservationConflict => "reservation conflict",
            Trouble::TaskSetFull => "task set full",
            Trouble::Other => "other",
        }
    }

    /// What an outcome counts as; `None`: all is well.
    pub fn of(outcome: &Outcome) -> Option<Trouble> {
        if outcome.status == status::GOOD {
            return None;
        }
        Some(match (outcome.sense.map(|sense| sense.key), outcome.status) {
            (Some(key::NOT_READY), _) => Trouble::NotReady,
            (Some(key::MEDIUM_ERROR), _) => Trouble::MediumError,
            (Some(key::HARDWARE_ERROR), _) => Trouble::HardwareError,
            (Some(key::ILLEGAL_REQUEST), _) => Trouble::IllegalRequest,
            (Some(key::UNIT_ATTENTION), _) => Trouble::UnitAttention,
            (Some(key::DATA_PROTECT), _) => Trouble::DataProtect,
            (Some(key::COPY_ABORTED), _) => Trouble::CopyAborted,
            (Some(key::ABORTED_COMMAND), _) => Trouble::AbortedCommand,
            (Some(key::MISCOMPARE), _) => Trouble::Miscompare,
            (None, status::BUSY) => Trouble::Busy,
            (None, status::RESERVATION_CONFLICT) => Trouble::ReservationConflict,
            (None, status::TASK_SET_FULL) => Trouble::TaskSetFull,
            _ => Trouble::Other,
        })
    }
}

/// How many commands have ended with what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Troubles([u64; Trouble::ALL.len()]);

impl Troubles {
    /// A command has ended so. Nothing is counted of one that all is well with.
    pub fn note(&mut self, outcome: &Outcome) {
        if let Some(trouble) = Trouble::of(outcome) {
            self.count(trouble);
        }
    }

    /// A command has ended with this.
    pub fn count(&mut self, trouble: Trouble) {
        self.0[trouble as usize] += 1;
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Troubles) {
        self.0.iter_mut().zip(other.0).for_each(|(own, others)| *own += others);
    }

    /// How many of each there were.
    pub fn iter(&self) -> impl Iterator<Item = (Trouble, u64)> {
        Trouble::ALL.into_iter().zip(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::Sense;

    #[test]
    fn each_sense_key_and_each_status_without_sense_is_told_apart() {
        let of_keys = [0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0xa, 0xb, 0xe].map(|key| Outcome::check(Sense::new(key, 0)));
        let of_statuses = [0x08, 0x18, 0x28].map(|status| Outcome { status, sense: None });
        let all: Vec<Outcome> = of_keys.into_iter().chain(of_statuses).collect();
        let mut troubles = Troubles::default();
        for (at, outcome) in all.iter().enumerate() {
            (0..=at).for_each(|_| troubles.note(outcome));
        }
        // Neither GOOD nor what nobody sends is taken for one of those.
        troubles.note(&Outcome::GOOD);
        troubles.note(&Outcome::check(Sense::new(0xd, 0)));
        troubles.note(&Outcome { status: 0x40, sense: None });
        let mut twice = troubles;
        twice.add(&troubles);
        let said: Vec<_> = twice.iter().map(|(trouble, count)| (trouble.word(), count)).collect();
        let wanted = [
            ("not ready", 2),
            ("medium error", 4),
            ("hardware error", 6),
            ("illegal request", 8),
            ("unit attention", 10),
            ("data protect", 12),
            ("copy aborted", 14),
            ("aborted command", 16),
            ("miscompare", 18),
            ("busy", 20),
            ("reservation conflict", 22),
            ("task set full", 24),
            ("other", 4),
        ];
        assert_eq!(said, wanted);
    }
}
