//! The cores, asked by message.

use super::Reach;
use super::rounds::{Cores, Sessions};
use crate::fabric::mesh::Message;
use crate::fabric::report::{CoreReport, Dismissal, Inquiry, SessionReport, Which};
use crate::limits::CORE_ANSWER;
use crate::wire::Tsih;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

/// An answer that is awaited.
type Awaited<T> = oneshot::Receiver<T>;

/// The answer, if it comes by then.
async fn by<T>(until: Instant, awaited: Awaited<T>) -> Option<T> {
    timeout_at(until.into(), awaited).await.ok()?.ok()
}

impl Reach {
    fn inquire(&self, core: usize, which: Which) -> Awaited<CoreReport> {
        let (tell, told) = oneshot::channel();
        // Who asked may not wait any more.
        let answer = Box::new(|report| {
            let _ = tell.send(report);
        });
        self.mesh.post(core, Message::Report(Inquiry { which, answer }));
        told
    }

    /// What each core tells.
    pub(super) async fn cores(self: &Arc<Self>) -> Arc<Cores> {
        let reach = Arc::clone(self);
        let found = self.asked.cores.join(|| async move { reach.ask_cores().await }).await;
        found.unwrap_or_else(|| Arc::new((0..self.mesh.cores()).map(|_| None).collect()))
    }

    async fn ask_cores(&self) -> Cores {
        let until = Instant::now() + CORE_ANSWER;
        let awaited: Vec<_> = (0..self.mesh.cores()).map(|core| self.inquire(core, Which::None)).collect();
        let mut reports = Vec::new();
        for one in awaited {
            reports.push(by(until, one).await);
        }
        reports
    }

    /// All sessions of a core, with its number. `None`: it has not answered in time.
    async fn sessions_of(&self, core: usize, until: Instant) -> Option<Vec<SessionReport>> {
        let (mut found, mut last) = (Vec::new(), Tsih(0));
        loop {
            let report = by(until, self.inquire(core, Which::Behind(last))).await?;
            last = report.of.last().map_or(last, |session| session.init.tsih);
            found.extend(report.of);
            if !report.more {
                return Some(found);
            }
        }
    }

    /// All sessions.
    pub(super) async fn sessions(self: &Arc<Self>) -> Arc<Sessions> {
        let reach = Arc::clone(self);
        let found = self.asked.sessions.join(|| async move { reach.ask_sessions().await }).await;
        found.unwrap_or_else(|| Arc::new((Vec::new(), (0..self.mesh.cores()).collect())))
    }

    async fn ask_sessions(&self) -> Sessions {
        let until = Instant::now() + CORE_ANSWER;
        let (mut all, mut silent) = (Vec::new(), Vec::new());
        for core in 0..self.mesh.cores() {
            match self.sessions_of(core, until).await {
                Some(found) => all.extend(found.into_iter().map(|session| (core, session))),
                None => silent.push(core),
            }
        }
        all.sort_by_key(|(_, session)| session.init.tsih);
        // One that moved meanwhile was told of by both cores.
        all.dedup_by_key(|(_, session)| session.init.tsih);
        (all, silent)
    }

    /// One session, and its core.
    pub(super) async fn session(&self, tsih: Tsih) -> Option<(usize, SessionReport)> {
        let until = Instant::now() + CORE_ANSWER;
        // It may move while it is looked for.
        for _ in 0..2 {
            let core = self.world.lock().registry.whereabouts(tsih)?.0;
            let report = by(until, self.inquire(core, Which::One(tsih))).await?;
            if let Some(session) = report.of.into_iter().next() {
                return Some((core, session));
            }
        }
        None
    }

    /// Has a session dropped. `None`: its core does not answer; false: there is no such session.
    pub(super) async fn dismiss(&self, tsih: Tsih) -> Option<bool> {
        let until = Instant::now() + CORE_ANSWER;
        for _ in 0..2 {
            let Some((core, _)) = self.world.lock().registry.whereabouts(tsih) else { return Some(false) };
            let (tell, told) = oneshot::channel();
            let answer = Box::new(|was_here| {
                let _ = tell.send(was_here);
            });
            self.mesh.post(core, Message::Drop(Dismissal { tsih, answer }));
            if by(until, told).await? {
                return Some(true);
            }
        }
        Some(false)
    }
}
