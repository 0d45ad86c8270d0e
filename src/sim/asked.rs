//! What a host has asked for besides commands, what that comes to, and what it waits for.

use super::host::Host;
use super::judge::{ClearingIx, Judge};
use super::net::Net;
use super::verdict::{Open, given_up};
use super::views::ViewIx;
use crate::initiator::event::{Joined, TaskIx};
use crate::wire::{AsyncEvent, Bhs, Cid, Itt, LogoutResult, Pdu, RejectReason, TmResponse, bhs};

/// A command that makes no progress for so long is looked after by who recovers within a session, milliseconds.
const PATIENCE_MS: u64 = 6_000;
/// One that somebody else may have ended is aborted after so long, milliseconds.
const ABORT_AFTER_MS: u64 = 8_000;

/// So many SNACKs of a host may be rejected in a run.
const MOST_SNACKS: u64 = 5_000;

/// Something that was asked for besides commands.
#[derive(Debug)]
pub struct Request {
    pub(super) itt: Itt,
    /// The connection that it went by.
    pub(super) cid: Cid,
    pub(super) asked: Asked,
    pub(super) since_ms: u64,
}

/// What that was.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// ABORT TASK of the command with this number, at this place.
    Abort(TaskIx, u64),
    /// Something that ends commands of the unit, or all, that have a lower number; with the view that all cores had then.
    Clear(Option<usize>, ClearingIx, (u64, ViewIx)),
    /// An end of the session.
    Logout,
    /// An end of this connection, for recovery.
    Remove(Cid),
    /// A ping with this data.
    Ping(Vec<u8>),
}

impl Host {
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
            (Asked::Clear(unit, clearing, (before, view)), TmResponse::FUNCTION_COMPLETE)
                if unit.is_none_or(|unit| judge.views.may_find(self.number, unit, view)) =>
            {
                judge.done(clearing, self.now_ms);
                self.all_over(unit, before, judge);
            }
            (Asked::Clear(Some(unit), clearing, (_, view)), TmResponse::LUN_DOES_NOT_EXIST)
                if judge.views.may_miss(self.number, unit, view) =>
            {
                judge.end(clearing, self.now_ms);
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
            || judge.views.may_miss(self.number, open.unit, open.view)
    }

    /// What was sent before, to the unit or to all, has ended: nothing of it is to come, but it keeps its place.
    fn all_over(&mut self, unit: Option<usize>, before: u64, judge: &mut Judge) {
        let concerns = |open: &&mut Open| open.number < before && unit.is_none_or(|unit| unit == open.unit);
        for open in self.open.iter_mut().flatten().filter(concerns).filter(|open| !open.is_over) {
            given_up(open, judge);
            judge.attentions.may_be_told(self.number, open.unit);
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
                self.retry_ms = self.now_ms + self.rng.while_below(1000);
                self.is_done = self.last_reads.as_ref().is_some_and(Vec::is_empty);
            }
            (Asked::Remove(of), LogoutResult::CLOSED | LogoutResult::CID_NOT_FOUND) => self.lose_way(of, net, judge),
            (asked, _) => self.fail(format!("{result} to {asked:?}")),
        }
    }

    /// An Asynchronous Message has come.
    pub(super) fn asked_to(&mut self, event: AsyncEvent, (by, code): (Cid, Option<u16>), judge: &mut Judge) {
        self.note(judge, || format!("Asynchronous Message by connection {}: {event}, {code:04x?}", by.0));
        if event == AsyncEvent::SCSI_ASYNC_EVENT {
            let heard = self.heralds.hear(code.unwrap_or(0), (self.number, by), &judge.views);
            heard.unwrap_or_else(|why| self.fail(why));
        }
        if event == AsyncEvent::LOGOUT_REQUEST && !self.is_leaving() {
            self.log_out();
        }
    }

    /// A PDU was rejected.
    pub(super) fn rejected(&mut self, reason: RejectReason, header: Option<&Bhs>, judge: &mut Judge) {
        let what = header.map(Pdu::parse);
        self.note(judge, || format!("rejected: {reason}, {what:?}"));
        if reason == RejectReason::SNACK_REJECT {
            // What is missing for good is asked for with all that comes, and each rejection comes with a number, too.
            self.stats.snacks += 1;
            if self.stats.snacks > MOST_SNACKS {
                self.fail(format!("SNACK after SNACK is rejected: {what:?}"));
            }
        }
        let is_known = match reason {
            RejectReason::IMMEDIATE_COMMAND_REJECT => true,
            // What asks for data once more was on its way while its command was aborted, by whomever.
            RejectReason::PROTOCOL_ERROR => {
                matches!(what, Some(Ok(Pdu::SnackRequest(snack))) if self.is_stale(snack.itt, judge))
            }
            RejectReason::DATA_DIGEST_ERROR => self.ways.spoilt > 0,
            RejectReason::SNACK_REJECT | RejectReason::TASK_IN_PROGRESS => self.level() > 0,
            RejectReason::WAITING_FOR_LOGOUT => self.is_leaving(),
            _ => false,
        };
        if !is_known && !judge.lines_may_be_damaged {
            self.fail(format!("a PDU is rejected: {reason}, {what:?}"));
        }
        let Some(at) = self.requests.iter().position(|request| Some(request.itt) == header.map(bhs::itt)) else {
            return;
        };
        match self.requests.swap_remove(at).asked {
            Asked::Abort(place, _) => self.open[usize::from(place.0)].iter_mut().for_each(|open| open.abort = None),
            Asked::Clear(_, clearing, _) => judge.end(clearing, self.now_ms),
            Asked::Logout | Asked::Remove(_) | Asked::Ping(_) => {}
        }
    }

    /// Whether the target may not know the command with this tag any more.
    fn is_stale(&self, itt: Itt, judge: &Judge) -> bool {
        let place = TaskIx(itt.0 as u16);
        let is_live = self.session.as_ref().is_some_and(|session| session.itt(place) == Some(itt));
        let open = self.open.get(usize::from(place.0)).and_then(Option::as_ref).filter(|_| is_live);
        open.is_none_or(|open| open.abort.is_some() || self.may_be_gone(open, judge))
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
