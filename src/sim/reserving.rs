//! Reservations of a host: it registers, reserves or preempts, holds that for a while, releases it, and is registered no more.

use super::host::Host;
use super::judge::{Cause, ClearingIx, Judge};
use super::verdict::{Fate, Open};
use super::workload::reserve;

/// How far a reservation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Register,
    Reserve,
    Hold,
    Release,
    Unregister,
}

/// A reservation that is taken and released again.
#[derive(Debug)]
pub struct Reserving {
    unit: usize,
    clearing: ClearingIx,
    step: Step,
    /// The number of the command that is under way for it.
    under_way: Option<u64>,
    /// When it was sent, as [`super::attentions::Attentions`] count.
    sent: u64,
    until_ms: u64,
    /// The key of who is preempted, or 0.
    victim: u64,
}

impl Reserving {
    /// A command was given up.
    pub fn lost(&mut self, open: &Open) {
        if self.under_way == Some(open.number) {
            self.under_way = None;
            self.step = if self.step == Step::Reserve { Step::Release } else { self.step };
        }
    }
}

impl Host {
    pub(super) fn begin_reserving(&mut self, judge: &mut Judge) {
        if self.reserving.is_some() {
            return;
        }
        let unit = self.rng.below(judge.units.len() as u64) as usize;
        let clearing = judge.begin(self.number, Some(unit), Cause::Reservation);
        let victim = if self.rng.below(3) == 0 { 1 + self.rng.below(4) } else { 0 };
        let victim = if victim == self.key() { 0 } else { victim };
        self.reserving =
            Some(Reserving { unit, clearing, step: Step::Register, under_way: None, sent: 0, until_ms: 0, victim });
    }

    /// Its reservation key.
    fn key(&self) -> u64 {
        self.number as u64 + 1
    }

    /// Sends the next step of the reservation.
    pub(super) fn reserve_on(&mut self, judge: &mut Judge) {
        const RESERVE: u8 = 1;
        const RELEASE: u8 = 2;
        const PREEMPT_AND_ABORT: u8 = 5;
        const REGISTER_AND_IGNORE_EXISTING_KEY: u8 = 6;
        let key = self.key();
        let Some(reserving) = self.reserving.as_mut().filter(|reserving| reserving.under_way.is_none()) else { return };
        if reserving.step == Step::Hold && reserving.until_ms <= self.now_ms {
            reserving.step = Step::Release;
        }
        let (unit, victim) = (reserving.unit, reserving.victim);
        let issue = match reserving.step {
            Step::Register => reserve(unit, REGISTER_AND_IGNORE_EXISTING_KEY, 0, key),
            Step::Reserve if victim > 0 => reserve(unit, PREEMPT_AND_ABORT, key, victim),
            Step::Reserve => reserve(unit, RESERVE, key, 0),
            Step::Hold => return,
            Step::Release => reserve(unit, RELEASE, key, 0),
            Step::Unregister => reserve(unit, REGISTER_AND_IGNORE_EXISTING_KEY, 0, 0),
        };
        let is_last = reserving.step == Step::Unregister;
        let Some(at) = self.may_issue() else { return };
        if is_last {
            judge.attentions.set_registered(self.number, unit, false);
        }
        let sent = judge.attentions.tick();
        let number = self.issue(at, issue, judge);
        self.reserving.iter_mut().for_each(|own| (own.under_way, own.sent) = (Some(number), sent));
    }

    /// A command was answered: perhaps a step of the reservation.
    pub(super) fn reserved(&mut self, open: &Open, fate: Fate, status: u8, judge: &mut Judge) {
        const CONFLICT: u8 = 0x18;
        let most = self.rng.while_below(2000);
        let Some(reserving) = self.reserving.as_mut().filter(|own| own.under_way == Some(open.number)) else { return };
        reserving.under_way = None;
        let is_over = fate == Fate::Done || status == CONFLICT;
        match reserving.step {
            Step::Register if fate == Fate::Done => {
                reserving.step = Step::Reserve;
                judge.attentions.set_registered(self.number, reserving.unit, true);
            }
            Step::Reserve if fate == Fate::Done => {
                (reserving.step, reserving.until_ms) = (Step::Hold, self.now_ms + most);
                if reserving.victim > 0 {
                    judge.attentions.was_preempted(reserving.victim as usize - 1, reserving.unit, reserving.sent);
                }
            }
            Step::Reserve | Step::Release if is_over => reserving.step = Step::Unregister,
            Step::Unregister if fate == Fate::Done => {
                judge.end(reserving.clearing, self.now_ms);
                self.reserving = None;
            }
            _ => {}
        }
    }
}
