//! What a host does: commands, and the troubles that it makes for itself and others.

use super::host::Host;
use super::judge::{Cause, ClearingIx, Judge};
use super::net::Net;
use super::verdict::{Fate, Open, given_up, not_done};
use super::ways::{Way, data_of};
use super::workload::{Chooser, Does, Issue, Trouble, reserve};
use crate::initiator::command::Command;
use crate::initiator::event::{Joined, TaskIx};
use crate::wire::{Cid, Itt, LogoutReason, LogoutResult, Lun, RejectReason, TmFunction, TmResponse};

/// A command that makes no progress for so long is looked after by who recovers within a session, milliseconds.
const PATIENCE_MS: u64 = 6_000;
/// One that somebody else may have ended is aborted after so long, milliseconds.
const ABORT_AFTER_MS: u64 = 8_000;

/// Something that was asked for besides commands.
#[derive(Debug)]
pub struct Request {
    itt: Itt,
    /// The connection that it went by.
    cid: Cid,
    asked: Asked,
    since_ms: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// ABORT TASK of the command with this number, at this place.
    Abort(TaskIx, u64),
    /// Something that ends commands of the unit, or all, that have a lower number.
    Clear(Option<usize>, ClearingIx, u64),
    /// An end of the session.
    Logout,
    /// An end of this connection, for recovery.
    Remove(Cid),
    /// A ping with this data.
    Ping(Vec<u8>),
}

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
    /// Runs `act` on the session, if there is one.
    fn with<T>(
        &mut self,
        act: impl FnOnce(&mut crate::initiator::session::Session, &mut super::ways::Ways) -> T,
    ) -> Option<T> {
        Some(act(self.session.as_mut()?, &mut self.ways))
    }

    /// It has asked for the end of the session.
    pub(super) fn is_leaving(&self) -> bool {
        self.requests.iter().any(|request| request.asked == Asked::Logout)
    }

    pub(super) fn forget_requests(&mut self, cid: Cid) {
        self.requests.retain(|request| request.cid != cid);
        self.open.iter_mut().flatten().filter(|open| open.cid == cid).for_each(|open| open.abort = None);
    }

    /// A connection by which something can be sent.
    fn any_way(&mut self) -> Option<Cid> {
        let goes = |way: &&Way| !self.requests.iter().any(|request| request.asked == Asked::Remove(way.cid));
        let full: Vec<Cid> =
            self.ways.ways.iter().filter(|way| way.is_full()).filter(goes).map(|way| way.cid).collect();
        full.get(self.rng.below(full.len() as u64) as usize).copied()
    }

    /// Begins something, or nothing.
    pub(super) fn act(&mut self, net: &mut impl Net, judge: &mut Judge) {
        if self.session.is_none() || self.is_leaving() {
            return;
        }
        self.reserve_on(judge);
        if self.last_reads.is_some() {
            return self.read_last(judge);
        }
        for (trouble, often) in self.config.troubles.clone() {
            if self.rng.below(10_000) < often {
                self.trouble(trouble, net, judge);
            }
        }
        if self.session.is_some() && !self.is_leaving() && self.rng.below(100) < self.config.eagerness {
            (0..1 + self.rng.below(4)).for_each(|_| self.begin(judge));
        }
    }

    /// Whether a command can be sent now: its place, and its connection.
    fn may_issue(&mut self) -> Option<(TaskIx, Cid)> {
        let session = self.session.as_ref()?;
        let (room, place) = (session.window.room(), session.free_place()?);
        if room == 0 {
            self.closed_since_ms.get_or_insert(self.now_ms);
            return None;
        }
        self.closed_since_ms = None;
        Some((place, self.any_way()?))
    }

    fn begin(&mut self, judge: &mut Judge) {
        let Some(at) = self.may_issue() else { return };
        let mut chooser = Chooser { host: self.number, config: &self.config, rng: &mut self.rng, judge };
        let Some(kind) = chooser.kind() else { return };
        let issue = chooser.issue(kind);
        self.issue(at, issue, judge);
    }

    /// Sends a command. Returns its number.
    fn issue(&mut self, (place, cid): (TaskIx, Cid), issue: Issue, judge: &mut Judge) -> u64 {
        let ix = usize::from(place.0);
        let (unit, write_bytes) = (issue.unit, issue.data.len() as u32);
        let open = Open {
            number: self.stats.sent,
            unit,
            name: issue.name,
            cid,
            does: issue.does,
            read_bytes: issue.read_bytes,
            write_bytes,
            since_ms: self.now_ms,
            abort: None,
            is_over: false,
            may_vanish: false,
        };
        self.stats.sent += 1;
        self.note(judge, || {
            format!("{} {} of unit {unit}, connection {}: {:?}", open.number, open.name, cid.0, open.does)
        });
        self.ways.areas[ix] = issue.data;
        self.inbox.read[ix].clear();
        let mut command = Command::new(Lun::flat(judge.units[unit].lun), &issue.cdb).reading(issue.read_bytes);
        if write_bytes > 0 {
            command = command.writing(write_bytes, data_of(place));
        }
        let sent = self.with(|session, ways| session.issue(cid, place, &command, ways));
        if !matches!(sent, Some(Ok(_))) || self.open[ix].is_some() {
            not_done(&open, judge);
            self.fail(format!("{} cannot be sent: {sent:?}", self.what(&open)));
        }
        let number = open.number;
        self.open[ix] = Some(open);
        number
    }

    /// What there is to read at the end, and then the end.
    fn read_last(&mut self, judge: &mut Judge) {
        let Some(reads) = &mut self.last_reads else { return };
        if let Some((unit, range)) = reads.pop() {
            let Some(at) = self.may_issue() else {
                return self.last_reads.iter_mut().for_each(|reads| reads.push((unit, range.clone())));
            };
            let mut chooser = Chooser { host: self.number, config: &self.config, rng: &mut self.rng, judge };
            let issue = chooser.read(unit, range);
            self.issue(at, issue, judge);
        } else if self.open.iter().all(Option::is_none) && self.requests.is_empty() && self.reserving.is_none() {
            self.log_out();
        }
    }

    /// One of the last reads has come to nothing.
    pub(super) fn read_again(&mut self, open: Open, fate: Fate) {
        if let (Some(reads), Does::Reads(look), false) = (&mut self.last_reads, open.does, fate == Fate::Done) {
            reads.push((open.unit, look.range()));
        }
    }

    fn log_out(&mut self) {
        let Some(cid) = self.any_way() else { return };
        let itt = self.with(|session, ways| session.logout(cid, LogoutReason::CLOSE_SESSION, cid, ways));
        self.asked(itt.flatten(), cid, Asked::Logout);
    }

    fn asked(&mut self, itt: Option<Itt>, cid: Cid, asked: Asked) {
        let since_ms = self.now_ms;
        self.requests.extend(itt.map(|itt| Request { itt, cid, asked, since_ms }));
    }

    fn trouble(&mut self, trouble: Trouble, net: &mut impl Net, judge: &mut Judge) {
        let Some(cid) = self.any_way() else { return };
        if !matches!(trouble, Trouble::Ping | Trouble::Spoil) {
            self.note(judge, || format!("{trouble:?}"));
        }
        match trouble {
            Trouble::Abort => self.abort_any(),
            Trouble::AbortSet => self.clear(cid, TmFunction::ABORT_TASK_SET, Cause::AbortSet, true, judge),
            Trouble::ClearSet => self.clear(cid, TmFunction::CLEAR_TASK_SET, Cause::Clear, true, judge),
            Trouble::ResetUnit => self.clear(cid, TmFunction::LOGICAL_UNIT_RESET, Cause::Reset, true, judge),
            Trouble::ResetWarm => self.clear(cid, TmFunction::TARGET_WARM_RESET, Cause::Reset, false, judge),
            Trouble::ResetCold => self.clear(cid, TmFunction::TARGET_COLD_RESET, Cause::Reset, false, judge),
            Trouble::Logout => self.log_out(),
            Trouble::Drop => self.lose_session(net, judge),
            Trouble::Cut => self.lose_way(cid, net, judge),
            Trouble::Remove => self.remove(cid),
            Trouble::Pause => {
                let most = if self.rng.below(10) == 0 { 60_000 } else { 3_000 };
                self.resume_ms = self.now_ms + self.rng.below(most);
                self.away_ms = self.resume_ms;
            }
            Trouble::Ping => self.ping(cid),
            Trouble::Spoil => self.ways.spoils_next = self.level() > 0,
            Trouble::Reserve => self.begin_reserving(judge),
        }
    }

    fn ping(&mut self, cid: Cid) {
        let data = format!("host {} at {} ms", self.number, self.now_ms).into_bytes();
        let itt = self.with(|session, ways| session.ping(cid, &data, ways));
        self.asked(itt.flatten(), cid, Asked::Ping(data));
    }

    fn abort_any(&mut self) {
        let is_due = |open: &Option<Open>| open.as_ref().is_some_and(|open| open.abort.is_none());
        let all: Vec<usize> = (0..self.open.len()).filter(|ix| is_due(&self.open[*ix])).collect();
        if let Some(ix) = all.get(self.rng.below(all.len() as u64) as usize) {
            self.abort(TaskIx(*ix as u16));
        }
    }

    fn abort(&mut self, place: TaskIx) {
        let Some(open) = &self.open[usize::from(place.0)] else { return };
        let (cid, number) = (open.cid, open.number);
        let itt = self.with(|session, ways| session.abort(place, ways)).flatten();
        self.asked(itt, cid, Asked::Abort(place, number));
        if let Some(open) = &mut self.open[usize::from(place.0)] {
            open.abort = itt;
        }
    }

    fn clear(&mut self, cid: Cid, function: TmFunction, cause: Cause, of_one: bool, judge: &mut Judge) {
        let unit = of_one.then(|| self.rng.below(judge.units.len() as u64) as usize);
        let lun = Lun::flat(unit.map_or(0, |unit| judge.units[unit].lun));
        let Some(itt) = self.with(|session, ways| session.manage(cid, function, lun, ways)).flatten() else { return };
        let clearing = judge.begin(self.number, unit, cause, self.now_ms);
        self.asked(Some(itt), cid, Asked::Clear(unit, clearing, self.stats.sent));
    }

    /// Has a connection removed for recovery, by another one.
    fn remove(&mut self, of: Cid) {
        let Some(by) = self.any_way().filter(|by| *by != of && self.level() == 2) else { return };
        let itt = self.with(|session, ways| session.logout(by, LogoutReason::REMOVE_FOR_RECOVERY, of, ways));
        self.asked(itt.flatten(), by, Asked::Remove(of));
    }

    fn begin_reserving(&mut self, judge: &mut Judge) {
        if self.reserving.is_some() {
            return;
        }
        let unit = self.rng.below(judge.units.len() as u64) as usize;
        let clearing = judge.begin(self.number, Some(unit), Cause::Reservation, self.now_ms);
        let victim = if self.rng.below(3) == 0 { 1 + self.rng.below(4) } else { 0 };
        let victim = if victim == self.key() { 0 } else { victim };
        self.reserving = Some(Reserving { unit, clearing, step: Step::Register, under_way: None, until_ms: 0, victim });
    }

    /// Its reservation key.
    fn key(&self) -> u64 {
        self.number as u64 + 1
    }

    /// Sends the next step of the reservation.
    fn reserve_on(&mut self, judge: &mut Judge) {
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
        let Some(at) = self.may_issue() else { return };
        let number = self.issue(at, issue, judge);
        self.reserving.iter_mut().for_each(|reserving| reserving.under_way = Some(number));
    }

    /// A command was answered: perhaps a step of the reservation.
    pub(super) fn reserved(&mut self, open: &Open, fate: Fate, status: u8, judge: &mut Judge) {
        const CONFLICT: u8 = 0x18;
        let most = self.rng.below(2000);
        let Some(reserving) = self.reserving.as_mut().filter(|own| own.under_way == Some(open.number)) else { return };
        reserving.under_way = None;
        let is_over = fate == Fate::Done || status == CONFLICT;
        match reserving.step {
            Step::Register if fate == Fate::Done => reserving.step = Step::Reserve,
            Step::Reserve if fate == Fate::Done => {
                (reserving.step, reserving.until_ms) = (Step::Hold, self.now_ms + most)
            }
            Step::Reserve | Step::Release if is_over => reserving.step = Step::Unregister,
            Step::Unregister if fate == Fate::Done => {
                judge.end(reserving.clearing, self.now_ms);
                self.reserving = None;
            }
            _ => {}
        }
    }

    pub(super) fn managed(&mut self, itt: Itt, response: TmResponse, judge: &mut Judge) {
        let Some(at) = self.requests.iter().position(|request| request.itt == itt) else {
            // Of TASK REASSIGN nobody knows here.
            return if self.level() < 2 {
                self.fail(format!("{response} to nothing"))
            };
        };
        let request = self.requests.swap_remove(at);
        self.stats.managed += 1;
        self.note(judge, || format!("{response} to {:?}", request.asked));
        match (request.asked, response) {
            (Asked::Abort(place, number), TmResponse::FUNCTION_COMPLETE | TmResponse::TASK_DOES_NOT_EXIST) => {
                self.aborted(place, number, response, judge);
            }
            (Asked::Abort(place, number), TmResponse::FUNCTION_REJECTED) => {
                let open = self.open[usize::from(place.0)].as_mut().filter(|open| open.number == number);
                open.into_iter().for_each(|open| open.abort = None);
            }
            (Asked::Clear(unit, clearing, before), TmResponse::FUNCTION_COMPLETE) => {
                judge.end(clearing, self.now_ms);
                self.all_over(unit, before, judge);
            }
            (Asked::Clear(_, clearing, _), TmResponse::FUNCTION_REJECTED | TmResponse::AUTHORIZATION_FAILED) => {
                judge.end(clearing, self.now_ms);
            }
            (asked, _) => self.fail(format!("{response} to {asked:?}")),
        }
    }

    /// A command was aborted.
    fn aborted(&mut self, place: TaskIx, number: u64, response: TmResponse, judge: &mut Judge) {
        let open = self.open[usize::from(place.0)].as_ref().filter(|open| open.number == number);
        let Some(open) = open else { return };
        if response == TmResponse::TASK_DOES_NOT_EXIST && !self.may_be_gone(open, judge) {
            self.fail(format!("{} was never answered, and does not exist", self.what(open)));
        }
        self.cleared(place, judge);
    }

    /// Whether a command may have ended without an answer.
    fn may_be_gone(&self, open: &Open, judge: &Judge) -> bool {
        let is_recovered = self.level() > 0 && (self.ways.spoilt > 0 || !self.lost_ms.is_empty());
        open.is_over
            || open.may_vanish
            || is_recovered
            || judge.lines_may_be_damaged
            || judge.may_be_cleared(self.number, open.unit, open.since_ms)
    }

    /// What was sent before, to the unit or to all, has ended: nothing of it is to come, but it keeps its place.
    fn all_over(&mut self, unit: Option<usize>, before: u64, judge: &mut Judge) {
        let concerns = |open: &&mut Open| open.number < before && unit.is_none_or(|unit| unit == open.unit);
        for open in self.open.iter_mut().flatten().filter(concerns).filter(|open| !open.is_over) {
            given_up(open, judge);
            open.is_over = true;
        }
    }

    pub(super) fn ponged(&mut self, itt: Itt, data: &[u8]) {
        let Some(at) = self.requests.iter().position(|request| request.itt == itt) else {
            // With recovery the session pings by itself.
            return if self.level() == 0 {
                self.fail("an answer to a ping that was not sent")
            };
        };
        let request = self.requests.swap_remove(at);
        if request.asked != Asked::Ping(data.to_vec()) {
            self.fail(format!("{:?} is answered with {:?}", request.asked, String::from_utf8_lossy(data)));
        }
    }

    pub(super) fn logged_out(&mut self, itt: Itt, result: LogoutResult, net: &mut impl Net, judge: &mut Judge) {
        let Some(at) = self.requests.iter().position(|request| request.itt == itt) else {
            self.fail("an answer to a logout that was not sent");
        };
        let request = self.requests.swap_remove(at);
        self.note(judge, || format!("{result} to {:?}", request.asked));
        match (request.asked, result) {
            (Asked::Logout, LogoutResult::CLOSED) => {
                self.give_up_all(judge);
                self.lose_session(net, judge);
                self.retry_ms = self.now_ms + self.rng.below(1000);
                self.is_done = self.last_reads.as_ref().is_some_and(Vec::is_empty);
            }
            (Asked::Remove(of), LogoutResult::CLOSED | LogoutResult::CID_NOT_FOUND) => self.lose_way(of, net, judge),
            (asked, _) => self.fail(format!("{result} to {asked:?}")),
        }
    }

    /// An Asynchronous Message has come.
    pub(super) fn asked_to(&mut self, event: u8, judge: &mut Judge) {
        const LOGOUT_REQUESTED: u8 = 1;
        self.note(judge, || format!("Asynchronous Message {event}"));
        if event == LOGOUT_REQUESTED && !self.is_leaving() {
            self.log_out();
        }
    }

    /// A PDU was rejected.
    pub(super) fn rejected(&mut self, reason: RejectReason, itt: Option<Itt>, judge: &mut Judge) {
        self.note(judge, || format!("rejected: {reason}"));
        let is_known = match reason {
            RejectReason::IMMEDIATE_COMMAND_REJECT => true,
            RejectReason::DATA_DIGEST_ERROR => self.ways.spoilt > 0,
            RejectReason::SNACK_REJECT | RejectReason::TASK_IN_PROGRESS => self.level() > 0,
            RejectReason::WAITING_FOR_LOGOUT => self.is_leaving(),
            _ => false,
        };
        if !is_known && !judge.lines_may_be_damaged {
            self.fail(format!("a PDU is rejected: {reason}"));
        }
        let Some(at) = self.requests.iter().position(|request| Some(request.itt) == itt) else { return };
        match self.requests.swap_remove(at).asked {
            Asked::Abort(place, _) => self.open[usize::from(place.0)].iter_mut().for_each(|open| open.abort = None),
            Asked::Clear(_, clearing, _) => judge.end(clearing, self.now_ms),
            Asked::Logout | Asked::Remove(_) | Asked::Ping(_) => {}
        }
    }

    /// Looks after what makes no progress, and asks for what somebody else may have ended.
    pub(super) fn look_after(&mut self, judge: &Judge) {
        if let Some(session) = self.session.as_mut().filter(|session| session.params().error_recovery_level > 0) {
            session.look_after(PATIENCE_MS, &mut Joined { outbox: &mut self.ways, sink: &mut self.inbox });
        }
        let is_late = |open: &Open| {
            open.abort.is_none()
                && (open.is_over || self.now_ms > open.since_ms + ABORT_AFTER_MS && self.may_be_gone(open, judge))
        };
        let late = (0..self.open.len()).filter(|ix| self.open[*ix].as_ref().is_some_and(is_late));
        let late: Vec<TaskIx> = late.map(|ix| TaskIx(ix as u16)).collect();
        late.into_iter().for_each(|place| self.abort(place));
    }

    /// Whether anything is waited for too long.
    pub(super) fn check_progress(&self, judge: &Judge) {
        let late = |since_ms: u64| judge.is_too_late(since_ms, self.now_ms);
        let since_ms = self.out_since_ms.max(self.away_ms);
        if self.session.is_none() && late(since_ms) {
            self.fail(format!("it waits for ever for a session, since {since_ms} ms"));
        }
        for open in self.open.iter().flatten() {
            let more_ms = if self.may_be_gone(open, judge) { judge.patience_ms } else { 0 };
            if late(open.since_ms.max(self.away_ms) + more_ms) {
                self.fail(format!("{} waits for ever", self.what(open)));
            }
        }
        if let Some(request) = self.requests.iter().find(|request| late(request.since_ms.max(self.away_ms))) {
            self.fail(format!("{request:?} waits for ever"));
        }
        if self.closed_since_ms.is_some_and(|since_ms| late(since_ms.max(self.away_ms))) {
            self.fail("the command window stays closed for ever");
        }
    }
}
