//! Bugs that are switched on are found, so that nobody trusts seeds that find nothing.

use super::runs::{fails, force_of, told};
use crate::canary::{Canary, SINGS};

/// Seeds within which a bug is to be found.
const SEEDS: u64 = 500;

/// All of them.
const ALL: &[Canary] = &[
    Canary::StrayForgotten,
    Canary::ReadPastStray,
    Canary::CountKept,
    Canary::EarlyAnswer,
    Canary::SlicesOnFirst,
    Canary::LockedTooEarly,
    Canary::FlushFailureForgotten,
    Canary::StatSnSkipped,
    Canary::AnsweredTwice,
    Canary::ParkedLost,
    Canary::LoanDropped,
    Canary::NumberTooSoon,
    Canary::StoppedActsOn,
    Canary::WaitKept,
    Canary::DropSaidLate,
    Canary::FlushSkipped,
    Canary::DigestUnchecked,
    Canary::RangeNotHeld,
    Canary::AttentionLost,
    Canary::ChangeIgnored,
    Canary::LosersCommandsKept,
    Canary::InventoryUntold,
    Canary::InventoryUnannounced,
    Canary::MoverUnchanged,
    Canary::LosersSessionKept,
    Canary::CapacityUntold,
    Canary::CapacityUnannounced,
    Canary::ClearUntold,
    Canary::ModesUntold,
    Canary::LimitsForgotten,
    Canary::CopyShort,
];

/// The first seed that finds a bug.
fn heard(canary: Canary, seeds: u64) -> Option<u64> {
    SINGS.set(Some(canary));
    let first = told("RINGSAN_FIRST").unwrap_or(0);
    let found = (first..first + seeds).find(|seed| fails(*seed, force_of(*seed)));
    SINGS.set(None);
    found
}

/// `RINGSAN_CANARY`: that one alone; `RINGSAN_FIRST`: from that seed on.
#[test]
fn canaries_are_heard() {
    let only = std::env::var("RINGSAN_CANARY").ok();
    let is_meant = |canary: &&Canary| match &only {
        Some(only) => *only == format!("{canary:?}"),
        // An assertion of the target finds this one, which builds for production are without.
        None => cfg!(debug_assertions) || **canary != Canary::DropSaidLate,
    };
    let unheard = ALL.iter().filter(is_meant).filter(|canary| {
        let seed = heard(**canary, SEEDS);
        eprintln!("{canary:?}: seed {seed:?}");
        seed.is_none()
    });
    let unheard: Vec<_> = unheard.collect();
    assert!(unheard.is_empty(), "{unheard:?}");
}
