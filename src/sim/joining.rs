//! How a host logs in: what it proposes, its first connection, and those that join or take the place of one that is gone.

use super::heralds::Heralds;
use super::host::Host;
use super::judge::Judge;
use super::net::Net;
use super::views::ViewIx;
use super::ways::Way;
use crate::initiator::event::Joined;
use crate::initiator::login::{Identity, LoggedIn, Login, Security};
use crate::initiator::params::Offer;
use crate::initiator::session::Session;
use crate::wire::{Cid, CmdSn, Isid, Tsih};

/// A login that takes longer is given up, milliseconds.
const LOGIN_MS: u64 = 20_000;

impl Host {
    pub(super) fn connect(&mut self, net: &mut impl Net, judge: &mut Judge) {
        let late = |way: &&Way| !way.is_full() && self.now_ms > way.since_ms + LOGIN_MS;
        if let Some(cid) = self.ways.ways.iter().find(late).map(|way| way.cid) {
            self.lose_way(cid, net, judge);
        }
        if self.now_ms < self.retry_ms || self.is_leaving() {
            return;
        }
        if self.session.is_none() && self.ways.ways.is_empty() {
            (self.offer, self.first) = (self.draw_offer(), self.draw_cmd_sn());
        } else if self.session.is_none() {
            return;
        }
        let wanted = if self.session.is_some() { self.connections } else { 1 };
        let Some(cid) = (0..wanted).map(Cid).find(|cid| self.ways.way(*cid).is_none()) else { return };
        let Some(line) = net.connect(self.number) else {
            self.retry_ms = self.now_ms + 50 + self.rng.below(500);
            return;
        };
        let now = (self.now_ms, judge.views.settled());
        let login = Login::new(self.identity(cid), self.offer.clone(), Security::Skipped);
        self.ways.ways.push(Way::new(cid, line, login, self.offer.own_max_recv_bytes(), now));
    }

    fn identity(&self, cid: Cid) -> Identity {
        let session = self.session.as_ref();
        Identity {
            initiator: self.config.name.clone(),
            target: Some(self.config.target.clone()),
            isid: Isid([0x80, 0, 0, 0, 0, self.number as u8]),
            tsih: session.map_or(Tsih(0), Session::tsih),
            cid,
            cmd_sn: session.map_or(self.first, |session| session.window.cmd_sn),
        }
    }

    /// Mostly a number like any other, now and then one that soon begins anew.
    fn draw_cmd_sn(&mut self) -> CmdSn {
        match self.rng.below(3) {
            0 => CmdSn(u32::MAX - self.rng.below(40) as u32),
            _ => CmdSn(self.rng.bits() as u32),
        }
    }

    fn draw_offer(&mut self) -> Offer {
        let (level, digests, is_guarded) = (self.config.level, self.config.digests, self.config.is_guarded);
        let rng = &mut self.rng;
        let burst = 4096 << rng.below(8);
        Offer {
            header_digest: Some(is_guarded || digests && rng.per_mille(300)),
            data_digest: Some(is_guarded || digests && rng.per_mille(300)),
            max_connections: Some(self.config.connections),
            initial_r2t: Some(rng.per_mille(500)),
            immediate_data: Some(rng.per_mille(500)),
            max_recv_bytes: Some(512 << rng.below(10)),
            max_burst_bytes: Some(burst),
            first_burst_bytes: Some((512 << rng.below(8)).min(burst)),
            time2wait_s: Some(0),
            time2retain_s: Some(60),
            max_outstanding_r2t: Some(1 + rng.below(4) as u16),
            error_recovery_level: Some(rng.below(u64::from(level) + 1) as u8),
            ..Offer::default()
        }
    }

    /// A connection has logged in.
    pub(super) fn logged_in(&mut self, cid: Cid, done: &LoggedIn, judge: &mut Judge) {
        let params = done.params;
        self.note(judge, || format!("connection {} is logged in, TSIH {}: {params:?}", cid.0, done.tsih.0));
        let view = self.ways.way(cid).map_or(judge.views.settled(), |way| way.view);
        if !judge.views.may_enter(self.number, view) {
            self.fail("it is let in, and may not be");
        }
        let Some(session) = &mut self.session else { return self.begin_session(done, view, judge) };
        let away_ms = self.now_ms - self.lost_ms.get(usize::from(cid.0)).copied().unwrap_or(0);
        let retained_ms = (u64::from(params.time2wait_s) + u64::from(params.time2retain_s)) * 1000;
        for open in self.open.iter_mut().flatten().filter(|open| open.cid == cid) {
            open.may_vanish |= away_ms >= retained_ms;
        }
        session.joined(done, &mut Joined { outbox: &mut self.ways, sink: &mut self.inbox });
        self.stats.joined += 1;
    }

    /// A new session: whatever was left of the last one has ended.
    fn begin_session(&mut self, done: &LoggedIn, view: ViewIx, judge: &mut Judge) {
        self.give_up_all(judge);
        judge.logged_in(self.number, self.now_ms);
        let mut session = Session::new(done, self.first, self.config.depth);
        session.set_now(self.now_ms);
        session.data_out_bytes = 512 << self.rng.below(12);
        // Less than FirstBurstLength is wrong, but nothing is not.
        session.unasked_bytes = if self.rng.per_mille(200) { 0 } else { u32::MAX };
        let most = self.config.connections.min(done.params.max_connections);
        self.connections = 1 + self.rng.below(u64::from(most.max(1))) as u16;
        let is_alone = self.connections == 1 && done.params.error_recovery_level == 0;
        self.heralds = Heralds::begin(self.number, (&judge.views, view), is_alone);
        self.ways.spoils_next = false;
        self.session = Some(session);
        self.stats.sessions += 1;
    }
}
