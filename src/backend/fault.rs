//! A medium that fails as planned: errors, delays, operations that never complete. For tests and drills.
//!
//! A [`FaultPlan`] is a list of [`FaultRule`]s; the first one that matches an operation and is due acts, else the
//! operation goes to the medium below. An operation that fails has touched nothing. A delay is a timeout on the core's
//! ring under the operation's own token, so nothing needs a second thread or clock. An operation that hangs leaves its
//! token in use for good, as a dead disk does.

use super::contract::{AtCore, Cold, Hot};
use super::error::OpenError;
use super::properties::Fit;
use super::queue::{Op, Queue, Started, Token};
use super::size::Size;
use crate::model::{Backing, LunSpec, MediumFault, Space};
use io_uring::{opcode, types};
use std::io;
use std::ops::Range;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;
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

/// The cold half of a medium over another one, which fails as planned.
pub(super) struct Faulty<C> {
    inner: Arc<C>,
    plan: Arc<FaultPlan>,
}

impl<C> Faulty<C> {
    pub(super) fn new(inner: Arc<C>, plan: FaultPlan) -> Self {
        Faulty { inner, plan: Arc::new(plan) }
    }
}

impl<C: Cold> Cold for Faulty<C> {
    type Hot = Box<FaultHandle<C::Hot>>;

    fn hot(self: &Arc<Self>, at: &AtCore) -> Self::Hot {
        Box::new(FaultHandle { inner: self.inner.hot(at), plan: Arc::clone(&self.plan), held: Vec::new() })
    }

    fn sync(&self) -> io::Result<()> {
        self.plan.wait_for_sync()?;
        self.inner.sync()
    }

    fn asked(&self, spec: &LunSpec, size: &Size) -> Result<u64, OpenError> {
        self.plan.wait_for_look();
        self.inner.asked(spec, size)
    }

    fn fit(&self, spec: &LunSpec, size: &Size) -> Result<Fit, OpenError> {
        self.inner.fit(spec, size)
    }

    fn ungrow(&self, fit: &Fit) -> io::Result<()> {
        self.inner.ungrow(fit)
    }

    fn undo(&self, path: &Path) -> io::Result<()> {
        self.inner.undo(path)
    }

    fn has_grown(&self) -> bool {
        self.inner.has_grown()
    }

    fn is_whole(&self, size: &Size) -> bool {
        self.plan.wait_for_look();
        self.inner.is_whole(size)
    }

    fn is_at(&self, path: &Path) -> bool {
        self.inner.is_at(path)
    }

    fn has_double(&self, path: &Path) -> bool {
        self.inner.has_double(path)
    }

    fn backing(&self, spec: &LunSpec) -> Option<Backing> {
        self.inner.backing(spec)
    }

    fn lasts(&self) -> bool {
        self.inner.lasts()
    }

    fn is_regular_file(&self) -> bool {
        self.inner.is_regular_file()
    }

    fn can_be_lost(&self) -> bool {
        true
    }

    fn space(&self) -> io::Result<Option<Space>> {
        self.inner.space()
    }

    fn is_cached(&self, offset: u64, len: u64) -> Option<bool> {
        self.inner.is_cached(offset, len)
    }

    fn allocated(&self, offset: u64, len: u64, block_bytes: u32, size: &Size) -> io::Result<(bool, u64)> {
        self.plan.wait_for_map();
        self.inner.allocated(offset, len, block_bytes, size)
    }
}

/// An operation that a planned fault keeps back. A token without one belongs to the medium below.
#[derive(Clone, Copy)]
enum Held {
    Delayed(Op),
    Failing(MediumFault),
    Hung,
}

/// One core's access to a medium that fails as planned ([`FaultPlan`]).
pub(super) struct FaultHandle<H> {
    inner: H,
    plan: Arc<FaultPlan>,
    held: Vec<Option<Held>>,
}

impl<H: Hot> Hot for Box<FaultHandle<H>> {
    #[inline(never)]
    fn start<Q: Queue + ?Sized>(&mut self, op: Op, token: Token, queue: &mut Q) -> Started {
        let Some(rule) = self.plan.due(&op) else { return self.inner.start(op, token, queue) };
        let held = match rule.action {
            FaultAction::Fail(fault) => return Started::Done(Err(fault)),
            FaultAction::Hang => Held::Hung,
            FaultAction::Delay(_) => Held::Delayed(op),
            FaultAction::FailLate(fault, _) => Held::Failing(fault),
        };
        if !matches!(held, Held::Hung) {
            queue.push(opcode::Timeout::new(&raw const rule.timespec).build(), token);
        }
        let index = token.0 as usize;
        if index >= self.held.len() {
            self.held.resize(index + 1, None);
        }
        self.held[index] = Some(held);
        Started::Pending
    }

    #[inline(never)]
    fn complete<Q: Queue + ?Sized>(
        &mut self,
        token: Token,
        result: i32,
        queue: &mut Q,
    ) -> Option<Result<(), MediumFault>> {
        match self.held.get_mut(token.0 as usize).and_then(Option::take) {
            None => self.inner.complete(token, result, queue),
            Some(Held::Hung) => Some(Err(MediumFault::Internal(libc::EINVAL))),
            Some(Held::Failing(fault)) => Some(Err(fault)),
            // The timeout has expired (ETIME), or was refused: go on in either case.
            Some(Held::Delayed(op)) => match self.inner.start(op, token, queue) {
                Started::Done(result) => Some(result),
                Started::Pending => None,
            },
        }
    }

    // A planned fault must not be bypassed, so there is no `memory`.

    fn raw_fd(&self) -> Option<RawFd> {
        self.inner.raw_fd()
    }

    fn set_registered(&mut self, index: u32) {
        self.inner.set_registered(index);
    }
}
