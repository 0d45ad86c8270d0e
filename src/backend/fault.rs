//! A medium that fails as planned: errors, delays, operations that never complete. For tests and drills.
//!
//! A [`FaultPlan`] is a list of [`FaultRule`]s; the first one that matches an operation and is due acts, else the
//! operation goes to the medium below. An operation that fails has touched nothing. A delay is a timeout on the core's
//! ring under the operation's own token, so nothing needs a second thread or clock. An operation that hangs leaves its
//! token in use for good, as a dead disk does.

use super::queue::Op;
use crate::model::MediumFault;
use io_uring::types;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What goes wrong on a medium, and when.
#[derive(Debug, Default)]
pub struct FaultPlan {
    rules: Vec<FaultRule>,
}

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultAction {
    /// It fails; the medium is not asked.
    Fail(MediumFault),
    /// It fails that much later; the medium is not asked.
    FailLate(MediumFault, Duration),
    /// It starts that much later.
    Delay(Duration),
    /// It never completes.
    Hang,
}

/// Which operations a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpClass {
    /// All of them.
    Any,
    /// Reads.
    Read,
    /// Writes, durable or not.
    Write,
    /// Flushes.
    Flush,
    /// Discards and zeroing.
    Clear,
    /// Looks at the map of the medium, which are no operations: a hang or a delay is the caller's. Not among `Any`.
    Map,
    /// Syncs beside the cores, which are none either: those of [`super::Medium::sync`] and of a file that grows. Not among
    /// `Any`.
    Sync,
    /// Looks at its length, beside the cores, none either. Not among `Any`.
    Look,
}

/// One thing that goes wrong.
#[derive(Debug)]
pub struct FaultRule {
    class: OpClass,
    range: Option<Range<u64>>,
    skip: u64,
    times: u64,
    pub(super) action: FaultAction,
    /// A delay as the kernel wants it; here because it must stay where it is until the entry was submitted.
    pub(super) timespec: types::Timespec,
    /// Operations that matched so far, on all cores.
    matched: AtomicU64,
}

impl FaultPlan {
    /// A plan in which nothing goes wrong.
    pub fn new() -> Self {
        FaultPlan::default()
    }

    /// Adds a rule behind those that are there.
    #[must_use]
    pub fn rule(mut self, rule: FaultRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Comes back when a look at the map of the medium is due.
    pub(super) fn wait_for_map(&self) {
        // Only delays are planned for these.
        let _ = self.wait_for(OpClass::Map);
    }

    /// Comes back when a look at its length is due.
    pub(super) fn wait_for_look(&self) {
        // As for those.
        let _ = self.wait_for(OpClass::Look);
    }

    /// Comes back when a sync beside the cores is due, or has failed.
    pub(super) fn wait_for_sync(&self) -> io::Result<()> {
        self.wait_for(OpClass::Sync)
    }

    fn wait_for(&self, class: OpClass) -> io::Result<()> {
        match self.rules.iter().find(|rule| rule.class == class && rule.counts()).map(|rule| rule.action) {
            None => Ok(()),
            Some(FaultAction::Fail(fault)) => Err(io::Error::other(fault)),
            Some(FaultAction::FailLate(fault, time)) => {
                std::thread::sleep(time);
                Err(io::Error::other(fault))
            }
            Some(FaultAction::Delay(time)) => {
                std::thread::sleep(time);
                Ok(())
            }
            Some(FaultAction::Hang) => loop {
                std::thread::park();
            },
        }
    }

    /// The rule that acts on this operation.
    pub(super) fn due(&self, op: &Op) -> Option<&FaultRule> {
        self.rules.iter().find(|rule| rule.is_due(op))
    }
}

impl FaultRule {
    /// Does `action` to every operation.
    pub fn new(action: FaultAction) -> Self {
        let timespec = match action {
            FaultAction::Delay(time) | FaultAction::FailLate(_, time) => types::Timespec::from(time),
            _ => types::Timespec::new(),
        };
        let matched = AtomicU64::new(0);
        FaultRule { class: OpClass::Any, range: None, skip: 0, times: u64::MAX, action, timespec, matched }
    }

    /// Only to operations of this class.
    #[must_use]
    pub fn on(mut self, class: OpClass) -> Self {
        self.class = class;
        self
    }

    /// Only to operations that touch these bytes; flushes touch none.
    #[must_use]
    pub fn within(mut self, bytes: Range<u64>) -> Self {
        self.range = Some(bytes);
        self
    }

    /// Lets the first `count` matching operations pass.
    #[must_use]
    pub fn after(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Acts `count` times, then no more.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.times = count;
        self
    }

    fn is_due(&self, op: &Op) -> bool {
        let (class, offset, len) = match *op {
            Op::Read { offset, buffer } => (OpClass::Read, offset, buffer.len() as u64),
            Op::Write { offset, buffer, .. } => (OpClass::Write, offset, buffer.len() as u64),
            Op::Flush => (OpClass::Flush, 0, 0),
            // To lose what is cached harms nobody.
            Op::Evict { .. } => return false,
            Op::Discard { offset, len } | Op::Zero { offset, len } => (OpClass::Clear, offset, len),
        };
        let touches = |range: &Range<u64>| offset < range.end && range.start < offset.saturating_add(len);
        if (self.class != OpClass::Any && self.class != class) || !self.range.as_ref().is_none_or(touches) {
            return false;
        }
        self.counts()
    }

    /// Whether it is this one's turn.
    fn counts(&self) -> bool {
        let number = self.matched.fetch_add(1, Ordering::Relaxed);
        number >= self.skip && number - self.skip < self.times
    }
}
