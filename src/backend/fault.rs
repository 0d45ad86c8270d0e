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
    /// Looks at what is allocated ([`super::Medium::allocated`]). They are no operations of a handle: a delay or a hang
    /// keeps the caller. Not part of `Any`.
    Map,
    /// Syncs beside the cores: [`super::Medium::sync`], also of a file that has grown. They are no operations of a
    /// handle either. Not part of `Any`.
    Sync,
    /// Looks at the length of the file, beside the cores ([`super::Medium::look`], [`super::Medium::asked`]). They are
    /// no operations of a handle either. Not part of `Any`.
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
    /// The delay in the kernel's form. It is kept here because it must not move until its entry was submitted.
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
        // A look cannot fail: a failure that is planned for it is ignored.
        let _ = self.wait_for(OpClass::Map);
    }

    /// Comes back when a look at the length of the file is due.
    pub(super) fn wait_for_look(&self) {
        // A failure that is planned is ignored here, too.
        let _ = self.wait_for(OpClass::Look);
    }

    /// Comes back when a sync beside the cores is due. The error: it is planned to fail.
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
    /// A rule that does `action` to every operation.
    pub fn new(action: FaultAction) -> Self {
        let timespec = match action {
            FaultAction::Delay(time) | FaultAction::FailLate(_, time) => types::Timespec::from(time),
            _ => types::Timespec::new(),
        };
        let matched = AtomicU64::new(0);
        FaultRule { class: OpClass::Any, range: None, skip: 0, times: u64::MAX, action, timespec, matched }
    }

    /// Restricts the rule to operations of this class.
    #[must_use]
    pub fn on(mut self, class: OpClass) -> Self {
        self.class = class;
        self
    }

    /// Restricts the rule to operations that touch these bytes of the medium; flushes touch none.
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
            // No rule acts on an eviction: it changes no data.
            Op::Evict { .. } => return false,
            Op::Discard { offset, len } | Op::Zero { offset, len } => (OpClass::Clear, offset, len),
        };
        let touches = |range: &Range<u64>| offset < range.end && range.start < offset.saturating_add(len);
        if (self.class != OpClass::Any && self.class != class) || !self.range.as_ref().is_none_or(touches) {
            return false;
        }
        self.counts()
    }

    /// Counts one more operation that matches, and answers whether the rule acts on it.
    fn counts(&self) -> bool {
        let number = self.matched.fetch_add(1, Ordering::Relaxed);
        number >= self.skip && number - self.skip < self.times
    }
}
