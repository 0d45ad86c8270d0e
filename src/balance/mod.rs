//! Which session is to be moved to which core, if one is: a pure function of figures. The mechanism is in
//! `shard/relocate.rs`, the figures come from `load.rs`.
//!
//! A core that has been saturated for [`PERIODS`] looks at the least busy of the others. Moving a session that uses `share`
//! of a core, where the difference between the two cores is `gap`, lowers the busier one of them by the smaller one of
//! `share` and `gap - share`. The session is chosen with which that is most, and it is not moved for less than
//! [`LEAST_GAIN`].
//!
//! Invariants: the larger figure of the two cores is smaller afterwards by at least the gain, as far as the figures are
//! true; what uses less than [`ACTIVE`] does not count, and the only active session of a core is never moved, for it would
//! be just as alone elsewhere. Sessions that want more than there is use less than they would: a core that they come to
//! may be saturated as well then, and two saturated cores have no difference, so nothing comes back. What else keeps
//! sessions from wandering is their owner's: `settled` says that one is not to be moved now.

pub(crate) mod load;

/// A core that is busy for so much of the time is saturated, parts of a thousand.
pub const SATURATED: u32 = 800;
/// Periods in a row that a core is saturated before it gives a session away.
pub const PERIODS: u32 = 3;
/// The least that the busier core is relieved of, parts of a thousand.
pub const LEAST_GAIN: u32 = 30;
/// A session that uses less is idle, parts of a thousand.
pub const ACTIVE: u32 = 20;
/// Periods after a move until the next one, if the core is still saturated: the first of them saw the session leave.
pub const PAUSE: u32 = 2;

/// What a session uses of its core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// Its seat.
    pub seat: usize,
    /// What it did in the last period, by any measure that all have in common.
    pub work: u64,
    /// It is to stay where it is for now.
    pub settled: bool,
}

/// A session, and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Its seat.
    pub seat: usize,
    /// The core it goes to.
    pub to: usize,
    /// What it uses, parts of a thousand of a core.
    pub share: u32,
}

/// The session of core `own` that is to go, if one is. `busy`: how busy each core is, parts of a thousand; `None`: nobody
/// knows. `uses`: all sessions of the core.
pub fn choose(own: usize, busy: &[Option<u32>], uses: &[Use]) -> Option<Choice> {
    let full = busy.get(own).copied().flatten().filter(|&busy| busy >= SATURATED)?;
    let others = busy.iter().enumerate().filter(|(core, _)| *core != own);
    let (to, least) = others.filter_map(|(core, busy)| Some((core, (*busy)?))).min_by_key(|(_, busy)| *busy)?;
    let gap = full.checked_sub(least)?;
    let all: u128 = uses.iter().map(|one| u128::from(one.work)).sum();
    let share = |one: &Use| (u128::from(one.work) * u128::from(full) / all.max(1)) as u32;
    if uses.iter().filter(|one| share(one) >= ACTIVE).count() < 2 {
        return None;
    }
    let gain = |one: &Use| gap.checked_sub(share(one)).map(|left| left.min(share(one)));
    let movable = uses.iter().filter(|one| !one.settled && share(one) >= ACTIVE);
    let (gain, best) = movable.filter_map(|one| Some((gain(one)?, one))).max_by_key(|(gain, _)| *gain)?;
    (gain >= LEAST_GAIN).then(|| Choice { seat: best.seat, to, share: share(best) })
}

#[cfg(test)]
mod tests;
