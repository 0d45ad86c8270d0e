//! One initiator: logs in, recovers what it loses, and has everything judged that it is told.
//!
//! It acts only when it is stepped. What it does next, and what befalls it, is drawn from its seed (`workload`, `deeds`).

use super::Rng;
use super::asked::Request;
use super::heralds::{Heralds, INVENTORY};
use super::judge::Judge;
use super::net::Net;
use super::reserving::Reserving;
use super::verdict::{self, Circumstances, Fate, Open};
use super::ways::{Ending, Inbox, Told, Way, Ways};
use super::workload::{Config, Does};
use crate::initiator::event::TaskIx;
use crate::initiator::params::Offer;
use crate::initiator::receive::Broken;
use crate::initiator::session::Session;
use crate::wire::{Cid, CmdSn, Tsih};
use std::ops::Range;

/// What has happened to a host, for who wants to know whether a run was worth something.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Commands that were sent.
    pub sent: u64,
    /// Commands that were answered GOOD.
    pub good: u64,
    /// Commands that were refused, by unit attentions and the like.
    pub refused: u64,
    /// Commands that failed.
    pub failed: u64,
    /// Commands that were given up: aborted, cleared, or lost with their session.
    pub given_up: u64,
    /// Sessions that were begun.
    pub sessions: u64,
    /// Connections that joined one, or took the place of another.
    pub joined: u64,
    /// Task management functions that were answered.
    pub managed: u64,
    /// SNACKs that were rejected.
    pub snacks: u64,
}

/// An initiator.
#[derive(Debug)]
pub struct Host {
    /// Its number.
    pub number: usize,
    /// What has happened so far.
    pub stats: Stats,
    pub(super) config: Config,
    pub(super) rng: Rng,
    pub(super) session: Option<Session>,
    pub(super) ways: Ways,
    pub(super) inbox: Inbox,
    pub(super) open: Vec<Option<Open>>,
    pub(super) requests: Vec<Request>,
    pub(super) reserving: Option<Reserving>,
    pub(super) heralds: Heralds,
    pub(super) now_ms: u64,
    /// It does nothing before.
    pub(super) resume_ms: u64,
    /// When it has last been away for so long that the target may have given it up.
    pub(super) away_ms: u64,
    /// No login before.
    pub(super) retry_ms: u64,
    /// Since when it has had no session.
    pub(super) out_since_ms: u64,
    /// Since when the command window is closed.
    pub(super) closed_since_ms: Option<u64>,
    /// When each connection was lost.
    pub(super) lost_ms: Vec<u64>,
    /// What it proposes for the connections of this session.
    pub(super) offer: Offer,
    /// The first CmdSN of the session.
    pub(super) first: CmdSn,
    /// How many connections it is to have.
    pub(super) connections: u16,
    /// No commands of its own choice any more; it reads what is left here, then logs out.
    pub(super) last_reads: Option<Vec<(usize, Range<usize>)>>,
    pub(super) is_done: bool,
}

impl Host {
    /// A host that has not logged in.
    pub fn new(number: usize, config: Config, seed: u64) -> Host {
        let depth = usize::from(config.depth);
        let ways = Ways { areas: vec![Vec::new(); depth], ..Ways::default() };
        Host {
            number,
            stats: Stats::default(),
            config,
            rng: Rng(seed),
            session: None,
            ways,
            inbox: Inbox { read: vec![Vec::new(); depth], ..Inbox::default() },
            open: (0..depth).map(|_| None).collect(),
            requests: Vec::new(),
            reserving: None,
            heralds: Heralds::default(),
            now_ms: 0,
            resume_ms: 0,
            away_ms: 0,
            retry_ms: 0,
            out_since_ms: 0,
            closed_since_ms: None,
            lost_ms: Vec::new(),
            offer: Offer::default(),
            first: CmdSn(1),
            connections: 1,
            last_reads: None,
            is_done: false,
        }
    }

    /// It ends what it has, reads all units, compares, and logs out. Step it until [`Host::is_done`].
    pub fn finish(&mut self, judge: &Judge) {
        let stretch = |blocks: usize, block_bytes: u32| {
            let step = (128 << 10) / block_bytes as usize;
            (0..blocks).step_by(step).map(move |first| first..blocks.min(first + step))
        };
        let units = judge.units.iter().enumerate();
        let all = units.flat_map(|(at, unit)| stretch(unit.blocks, unit.block_bytes).map(move |range| (at, range)));
        self.last_reads = Some(all.collect());
        self.resume_ms = 0;
        self.ways.ways.iter_mut().for_each(|way| way.deaf_until_ms = 0);
    }

    /// The handle of its session, if it has one.
    pub fn tsih(&self) -> Option<Tsih> {
        self.session.as_ref().map(Session::tsih)
    }

    /// It has finished.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Does what is due: takes what has come, recovers, and begins something.
    ///
    /// # Panics
    /// Something is wrong with the target: the message says what.
    pub fn step(&mut self, net: &mut impl Net, judge: &mut Judge) {
        self.now_ms = net.now_ms();
        if self.is_done || self.now_ms < self.resume_ms {
            return;
        }
        if let Some(session) = &mut self.session {
            session.set_now(self.now_ms);
        }
        self.receive(net, judge);
        self.listen(net, judge);
        self.connect(net, judge);
        self.act(net, judge);
        self.look_after(judge);
        self.listen(net, judge);
        self.ways.ways.iter_mut().for_each(|way| way.flush(net));
        self.check_progress(judge);
    }

    pub(super) fn note(&self, judge: &mut Judge, text: impl FnOnce() -> String) {
        judge.note(self.now_ms, self.number, text);
    }

    pub(super) fn fail(&self, what: impl std::fmt::Display) -> ! {
        let level = self.session.as_ref().map(|session| session.params().error_recovery_level);
        panic!("host {} at {} ms (ErrorRecoveryLevel {level:?}): {what}", self.number, self.now_ms);
    }

    pub(super) fn level(&self) -> u8 {
        self.session.as_ref().map_or(0, |session| session.params().error_recovery_level)
    }

    fn receive(&mut self, net: &mut impl Net, judge: &mut Judge) {
        for way in self.ways.ways.iter_mut().filter(|way| !way.is_said_gone && net.is_gone(way.line)) {
            // The target tells of its commands, perhaps before the host has noticed.
            way.is_said_gone = true;
            judge.attentions.may_be_terminated(self.number);
        }
        let heard = self.ways.ways.iter().filter(|way| way.deaf_until_ms <= self.now_ms);
        let lines: Vec<(Cid, usize)> = heard.map(|way| (way.cid, way.line)).collect();
        for (cid, line) in lines {
            let mut bytes = Vec::new();
            net.receive(line, &mut bytes);
            if !bytes.is_empty() {
                self.take(cid, &bytes, net, judge);
            } else if net.is_closed(line) {
                self.closed(cid, net, judge);
            }
        }
    }

    /// Bytes have come by a connection.
    fn take(&mut self, cid: Cid, mut chunk: &[u8], net: &mut impl Net, judge: &mut Judge) {
        let Some(way) = self.ways.ways.iter_mut().find(|way| way.cid == cid) else { return };
        let may_be_shut_out = judge.views.may_be_shut_out(self.number, way.view);
        match way.log_in(&mut chunk, may_be_shut_out) {
            Ok(Some(done)) => self.logged_in(cid, &done, judge),
            Ok(None) => {}
            Err(why) if why.is_empty() || judge.lines_may_be_damaged => return self.refused(cid, net, judge),
            Err(why) => self.fail(format!("a login by connection {} fails: {why}", cid.0)),
        }
        let Some(session) = &mut self.session else { return };
        match self.ways.receive(cid, chunk, session, &mut self.inbox) {
            Ok(()) => {}
            Err(Broken::Frame(_)) if judge.lines_may_be_damaged => self.lose_way(cid, net, judge),
            Err(Broken::Fault(_)) if judge.lines_may_be_damaged => self.lose_session(net, judge),
            Err(broken) => self.fail(format!("by connection {}: {broken}", cid.0)),
        }
    }

    /// The target closed a line, or the network did.
    fn closed(&mut self, cid: Cid, net: &mut impl Net, judge: &mut Judge) {
        self.note(judge, || format!("connection {} is closed", cid.0));
        let way = self.ways.way(cid);
        let since_ms = way.map_or(0, |way| way.since_ms);
        let is_well = judge.well_since_ms.is_some_and(|well| well < since_ms);
        let is_shut_out = way.is_some_and(|way| judge.views.may_be_shut_out(self.number, way.view));
        let is_over = judge.may_be_closed(since_ms) || is_shut_out;
        let is_due = self.is_leaving() || self.is_removing(cid) || is_over || self.away_ms > since_ms;
        if is_well && !is_due && !judge.lines_may_be_damaged && self.ways.spoilt == 0 {
            self.fail(format!("connection {} is closed without a cause", cid.0));
        }
        self.lose_way(cid, net, judge);
    }

    /// A login was refused: by who joins a session, it is no more.
    fn refused(&mut self, cid: Cid, net: &mut impl Net, judge: &mut Judge) {
        self.note(judge, || format!("a login by connection {} is refused", cid.0));
        self.retry_ms = self.now_ms + self.rng.while_below(500);
        self.lose_way(cid, net, judge);
        if self.session.is_some() {
            self.lose_session(net, judge);
        }
    }

    /// A connection is gone.
    pub(super) fn lose_way(&mut self, cid: Cid, net: &mut impl Net, judge: &mut Judge) {
        let Some(at) = self.ways.ways.iter().position(|way| way.cid == cid) else { return };
        let way = self.ways.ways.remove(at);
        net.close(way.line);
        let ix = usize::from(cid.0);
        self.lost_ms.resize(self.lost_ms.len().max(ix + 1), 0);
        self.lost_ms[ix] = self.now_ms;
        self.forget_requests(cid);
        let Some(session) = &mut self.session else { return };
        session.cut(cid);
        // A command that has not arrived leaves a gap, which nobody fills before ErrorRecoveryLevel 2.
        let has_gap = session.window.exp_cmd_sn != session.window.cmd_sn;
        if !way.is_said_gone {
            judge.attentions.may_be_terminated(self.number);
        }
        if self.level() < 2 && (has_gap || !self.ways.ways.iter().any(Way::is_full)) {
            self.lose_session(net, judge);
        }
    }

    /// Whatever there was of a session is not used any more. What was not answered may be under way until the next login.
    pub(super) fn lose_session(&mut self, net: &mut impl Net, judge: &mut Judge) {
        self.note(judge, || "the session is gone".to_owned());
        self.ways.ways.drain(..).for_each(|way| net.close(way.line));
        self.requests.clear();
        self.inbox.told.clear();
        if self.session.take().is_some() {
            self.out_since_ms = self.now_ms;
        }
        self.closed_since_ms = None;
    }

    /// Nothing of what is open will come any more.
    pub(super) fn give_up_all(&mut self, judge: &mut Judge) {
        for ix in 0..self.open.len() {
            self.open[ix].take().into_iter().for_each(|open| self.give_up(open, judge));
        }
    }

    /// The target has lost all that it had under way.
    pub(super) fn power_lost(&mut self, judge: &mut Judge) {
        for open in self.open.iter_mut().flatten().filter(|open| !open.is_over) {
            verdict::given_up(open, judge);
            judge.attentions.may_be_told(self.number, open.unit);
            open.is_over = true;
        }
    }

    fn give_up(&mut self, open: Open, judge: &mut Judge) {
        if !open.is_over {
            verdict::given_up(&open, judge);
            judge.attentions.may_be_told(self.number, open.unit);
        }
        self.stats.given_up += 1;
        self.reserving.iter_mut().for_each(|reserving| reserving.lost(&open));
        self.read_again(open, Fate::Failed);
    }

    /// Looks at what it was told.
    fn listen(&mut self, net: &mut impl Net, judge: &mut Judge) {
        // What is said of a session that is over goes with it.
        while let Some(told) = self.inbox.told.pop_front() {
            match told {
                Told::Ended(place, end) => self.ended(place, &end, judge),
                Told::Cleared(place) => self.cleared(place, judge),
                Told::Pong(itt, data) => self.ponged(itt, &data),
                Told::Managed(itt, response) => self.managed(itt, response, judge),
                Told::LoggedOut(itt, result) => self.logged_out(itt, result, net, judge),
                Told::Message(event, by, code) => self.asked_to(event, (by, code), judge),
                Told::Rejected(reason, header) => self.rejected(reason, header.as_ref(), judge),
            }
        }
    }

    pub(super) fn what(&self, open: &Open) -> String {
        let since = self.now_ms - open.since_ms;
        format!("command {} ({}, unit {}, {:?}, {since} ms ago)", open.number, open.name, open.unit, open.does)
    }

    fn ended(&mut self, place: TaskIx, end: &Ending, judge: &mut Judge) {
        let ix = usize::from(place.0);
        let Some(open) = self.open[ix].take() else { self.fail(format!("an answer for place {ix}, which is free")) };
        let read = std::mem::take(&mut self.inbox.read[ix]);
        let of = Circumstances { host: self.number, now_ms: self.now_ms, has_spoilt: self.ways.spoilt > 0 };
        let fate = match verdict::ended(&open, end, &read, of, judge) {
            Ok(fate) => fate,
            Err(why) => self.fail(format!("{}: {why}; {end:x?}", self.what(&open))),
        };
        self.note(judge, || format!("{} {} of unit {}: {fate:?} {:x?}", open.number, open.name, open.unit, end.sense));
        self.attended(&open, end, fate, judge);
        self.heralded(&open, end, judge);
        match fate {
            Fate::Done => self.stats.good += 1,
            Fate::Refused => self.stats.refused += 1,
            Fate::Failed => self.stats.failed += 1,
        }
        self.reserved(&open, fate, end.status, judge);
        self.read_again(open, fate);
    }

    /// Whether a unit attention should have come instead of this end.
    fn attended(&self, open: &Open, end: &Ending, fate: Fate, judge: &mut Judge) {
        const UNIT_ATTENTION: u8 = 6;
        if end.sense.is_some_and(|(key, _)| key == UNIT_ATTENTION) {
            return;
        }
        let at = (self.number, open.unit);
        if open.may_vanish {
            // It was perhaps answered before, by a connection that is gone, and then carried out.
            judge.attentions.may_be_told(at.0, at.1);
        }
        // These two are carried out even then (SPC-4 clause 5.14).
        let passed = fate == Fate::Done && !matches!(open.does, Does::Inquires | Does::Lists);
        let others = self.open.iter().flatten().filter(|other| other.unit == open.unit).map(|other| other.number);
        if let Err(why) = judge.attentions.ended(at, open.number, passed, others) {
            self.fail(format!("{}: {why}; {end:x?}", self.what(open)));
        }
    }

    /// Whether an Asynchronous Message should have come before this end, or makes it one that should not have come.
    fn heralded(&mut self, open: &Open, end: &Ending, judge: &Judge) {
        let (host, views) = (self.number, &judge.views);
        let is_told = end.sense.is_some_and(|(_, code)| code == INVENTORY);
        let told = if is_told { self.heralds.told(open.unit) } else { Ok(()) };
        let told = told.and_then(|()| self.heralds.know_sizes(host, views, open.view));
        let is_lost = !views.last().shows[host][open.unit] && self.level() == 0;
        let knows = is_lost && verdict::is_of_unit(open, end) && self.heralds.is_up_to_date(host, open.cid, views);
        let goes_on = "it goes on though its host has lost the unit".to_owned();
        if let Err(why) = told.and(if knows { Err(goes_on) } else { Ok(()) }) {
            self.fail(format!("{}: {why}; {end:x?}", self.what(open)));
        }
    }

    /// It has ended without an answer.
    pub(super) fn cleared(&mut self, place: TaskIx, judge: &mut Judge) {
        let Some(open) = self.open[usize::from(place.0)].take() else { return };
        self.note(judge, || format!("{} {} is cleared", open.number, open.name));
        self.give_up(open, judge);
    }
}
