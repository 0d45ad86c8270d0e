//! What a host does: commands, and the troubles that it makes for itself and others.

use super::asked::{Asked, Request};
use super::host::Host;
use super::judge::{Cause, Judge};
use super::net::Net;
use super::verdict::{Fate, Open, not_done};
use super::ways::{Way, Ways, data_of};
use super::workload::{Chooser, Does, Issue, Trouble};
use crate::initiator::command::Command;
use crate::initiator::event::TaskIx;
use crate::initiator::session::Session;
use crate::wire::{Cid, Itt, LogoutReason, Lun, TmFunction};

impl Host {
    /// Runs `act` on the session, if there is one.
    fn with<T>(&mut self, act: impl FnOnce(&mut Session, &mut Ways) -> T) -> Option<T> {
        Some(act(self.session.as_mut()?, &mut self.ways))
    }

    /// It has asked for the end of the session.
    pub(super) fn is_leaving(&self) -> bool {
        self.requests.iter().any(|request| request.asked == Asked::Logout)
    }

    /// It has asked for the end of a connection.
    pub(super) fn is_removing(&self, cid: Cid) -> bool {
        self.requests.iter().any(|request| request.asked == Asked::Remove(cid))
    }

    /// What was asked by a connection that is gone is not answered any more, but an answer that has come is looked at: of a
    /// command that it ends the session knows nothing any more.
    pub(super) fn forget_requests(&mut self, cid: Cid) {
        let told = &self.inbox.told;
        let is_answered = |request: &Request| told.iter().any(|told| told.request() == Some(request.itt));
        self.requests.retain(|request| request.cid != cid || is_answered(request));
        self.open.iter_mut().flatten().filter(|open| open.cid == cid).for_each(|open| open.abort = None);
    }

    /// A connection by which something can be sent.
    fn any_way(&mut self) -> Option<Cid> {
        let goes = |way: &&Way| !self.is_removing(way.cid);
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
        self.strand(net, judge);
        if self.session.is_some() && !self.is_leaving() && self.rng.below(100) < self.config.eagerness {
            (0..1 + self.rng.below(4)).for_each(|_| self.begin(judge));
        }
    }

    /// Whether a command can be sent now: its place, and its connection.
    pub(super) fn may_issue(&mut self) -> Option<(TaskIx, Cid)> {
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
    pub(super) fn issue(&mut self, (place, cid): (TaskIx, Cid), issue: Issue, judge: &mut Judge) -> u64 {
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
            view: judge.views.settled(),
            abort: None,
            is_over: false,
            may_vanish: false,
        };
        self.stats.sent += 1;
        judge.attentions.sent(self.number, open.number);
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

    pub(super) fn log_out(&mut self) {
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
        if trouble != Trouble::Ping {
            self.note(judge, || format!("{trouble:?}"));
        }
        let unit = Some(self.rng.below(judge.units.len() as u64) as usize);
        match trouble {
            Trouble::Abort => self.abort_any(),
            Trouble::AbortSet => self.clear(cid, TmFunction::ABORT_TASK_SET, Cause::AbortSet, unit, judge),
            Trouble::ClearSet => self.clear(cid, TmFunction::CLEAR_TASK_SET, Cause::Clear, unit, judge),
            Trouble::ResetUnit => self.clear(cid, TmFunction::LOGICAL_UNIT_RESET, Cause::Reset, unit, judge),
            Trouble::ResetWarm => self.clear(cid, TmFunction::TARGET_WARM_RESET, Cause::Reset, None, judge),
            Trouble::ResetCold => self.clear(cid, TmFunction::TARGET_COLD_RESET, Cause::Reset, None, judge),
            Trouble::Logout => self.log_out(),
            Trouble::Drop => self.lose_session(net, judge),
            Trouble::Cut => self.lose_way(cid, net, judge),
            Trouble::Remove => self.remove(cid),
            Trouble::Pause => {
                let most = if self.rng.below(10) == 0 { 60_000 } else { 3_000 };
                self.resume_ms = self.now_ms + self.rng.while_below(most);
                self.away_ms = self.resume_ms;
            }
            Trouble::Deafen => {
                let until_ms = self.now_ms + self.rng.while_below(2000);
                let way = self.ways.ways.iter_mut().find(|way| way.cid == cid);
                way.into_iter().for_each(|way| way.deaf_until_ms = until_ms);
            }
            Trouble::Ping => self.ping(cid),
            Trouble::Spoil => self.ways.spoils_next = self.level() > 0,
            Trouble::Reserve => self.begin_reserving(judge),
        }
    }

    /// By a connection that is not read from the data of commands is asked for in vain: another one aborts them, and it is cut.
    fn strand(&mut self, net: &mut impl Net, judge: &mut Judge) {
        let deaf = self.ways.ways.iter().find(|way| way.deaf_until_ms > self.now_ms && way.is_full());
        let Some(deaf) = deaf.map(|way| way.cid) else { return };
        let writes = |open: &&Open| open.cid == deaf && open.write_bytes > 0;
        let unit = self.open.iter().flatten().find(writes).map(|open| open.unit);
        match self.rng.below(100) {
            0..3 if unit.is_some() => {
                if let Some(by) = self.any_way().filter(|by| *by != deaf) {
                    self.clear(by, TmFunction::ABORT_TASK_SET, Cause::AbortSet, unit, judge);
                }
            }
            3 => self.lose_way(deaf, net, judge),
            _ => {}
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

    pub(super) fn abort(&mut self, place: TaskIx) {
        let Some(open) = &self.open[usize::from(place.0)] else { return };
        let (cid, number) = (open.cid, open.number);
        let itt = self.with(|session, ways| session.abort(place, ways)).flatten();
        self.asked(itt, cid, Asked::Abort(place, number));
        if let Some(open) = &mut self.open[usize::from(place.0)] {
            open.abort = itt;
        }
    }

    fn clear(&mut self, cid: Cid, function: TmFunction, cause: Cause, unit: Option<usize>, judge: &mut Judge) {
        let lun = Lun::flat(unit.map_or(0, |unit| judge.units[unit].lun));
        let Some(itt) = self.with(|session, ways| session.manage(cid, function, lun, ways)).flatten() else { return };
        let clearing = judge.begin(self.number, unit, cause);
        let before = (self.stats.sent, judge.views.settled());
        self.asked(Some(itt), cid, Asked::Clear(unit, clearing, before));
    }

    /// Has a connection removed for recovery, by another one.
    fn remove(&mut self, of: Cid) {
        let Some(by) = self.any_way().filter(|by| *by != of && self.level() == 2) else { return };
        let itt = self.with(|session, ways| session.logout(by, LogoutReason::REMOVE_FOR_RECOVERY, of, ways));
        self.asked(itt.flatten(), by, Asked::Remove(of));
    }
}
