//! Who waits for I/O buffers, and who keeps them waiting.
//!
//! Shares (`buffers.rs`) leave something for everybody who is at another address, and mostly for others at the same one. What is
//! left is time: once somebody else waits, buffers are not kept for peers that do not do their part. A command whose Data-Out does
//! not come ends with TASK SET FULL, and a connection whose answers are not read, or whose PDU with a command and its data does
//! not come to its end, is closed. While nobody waits, they have all the time of `limits::NOP_TIMEOUT_MS` and
//! `limits::SEND_TIMEOUT_MS`.

use super::core::Core;
use super::dispatch::PartialDest;
use super::engine::Engine;
use super::exec::{Exec, Failure, Kind, Progress};
use super::work::NOBODY;
use crate::limits::OWED_WHILE_OTHERS_WAIT_MS;
use crate::session::Session;
use crate::session::seam::CloseReason;

/// The sessions that wait for buffers, as far as it matters to each whether others do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    one: Option<usize>,
    another: bool,
}

impl Waiting {
    /// Whether somebody else than the session at `seat` waits.
    pub fn besides(self, seat: usize) -> bool {
        self.another || self.one.is_some_and(|one| one != seat)
    }
}

/// Whether a task holds buffers for data that its initiator has owed since `until_ms` or longer.
fn is_overdue(exec: &Exec, session: &Session, until_ms: u64) -> bool {
    let takes_data = matches!(exec.kind, Kind::Write(_) | Kind::Gather) && !exec.aborted && exec.failed.is_none();
    let comes_in = |progress| matches!(progress, Progress::Filling | Progress::Lent { .. });
    takes_data
        && exec.slices.iter().any(|slice| comes_in(slice.progress))
        && session.owes_since_ms(exec.task).is_some_and(|since_ms| since_ms <= until_ms)
}

impl Engine {
    /// Serves those who wait for buffers, oldest first, when some have come back. Of a session that has its share nobody else
    /// is asked in that round.
    pub fn feed_starved(&mut self) {
        let waits = !(self.waiting_jobs.is_empty() && self.starved.is_empty());
        self.starved_since_ms = if waits { self.starved_since_ms.or(Some(self.now_ms)) } else { None };
        if !waits {
            return;
        }
        let Some(round) = self.arena.next_round() else { return };
        for _ in 0..self.waiting_jobs.len() {
            let Some((number, len, cell)) = self.waiting_jobs.pop_front() else { break };
            let Some(Some(job)) = self.jobs.get_mut(number).filter(|j| j.as_ref().is_some_and(|j| !j.cancelled)) else {
                continue;
            };
            let buf = if job.account.is_refused(round) { None } else { job.account.take(len) };
            if let Some(buf) = buf {
                job.starved = false;
                cell.set(Some(buf));
                self.run_soon(number);
            } else {
                job.account.refuse(round);
                self.waiting_jobs.push_back((number, len, cell));
            }
        }
        for _ in 0..self.starved.len() {
            let Some((seat, slot)) = self.starved.pop() else { return };
            let Some(Some(holder)) = self.seats.get_mut(seat) else { continue };
            let Some(exec) = holder.exec.get_mut(slot).filter(|exec| exec.starved) else { continue };
            if holder.account.is_refused(round) {
                self.starved.push(seat, slot);
                continue;
            }
            exec.starved = false;
            self.advance(seat, slot);
            if let Some(Some(holder)) = self.seats.get(seat)
                && holder.exec.get(slot).is_some_and(|exec| exec.starved)
            {
                holder.account.refuse(round);
            }
        }
    }

    /// Who has been waiting for buffers for long. Those that have gone away meanwhile are forgotten.
    pub fn waiting(&mut self) -> Waiting {
        /// What is shorter than this is not for want of a peer's data.
        const LONG_MS: u64 = 500;
        if self.starved_since_ms.is_none_or(|since_ms| self.now_ms < since_ms.saturating_add(LONG_MS)) {
            return Waiting::default();
        }
        let seats = &self.seats;
        self.starved.retain(|seat, slot| {
            let exec = seats.get(seat).and_then(Option::as_deref).and_then(|holder| holder.exec.get(slot));
            exec.is_some_and(|exec| exec.starved)
        });
        let jobs = self.waiting_jobs.iter().filter_map(|(number, ..)| self.jobs.get(*number)?.as_ref());
        let jobs = jobs.filter(|job| !job.cancelled).map(|job| job.seat).filter(|&seat| seat != NOBODY);
        let mut seats = self.starved.seats().chain(jobs);
        let one = seats.next();
        Waiting { one, another: seats.any(|seat| Some(seat) != one) }
    }

    /// Takes the buffers from commands whose data has not come for too long, while others wait for some.
    #[cold]
    pub fn expire_owed(&mut self, waiting: Waiting) {
        let until_ms = self.now_ms.saturating_sub(OWED_WHILE_OTHERS_WAIT_MS);
        for seat in (0..self.seats.len()).filter(|&seat| waiting.besides(seat)) {
            let Some(Some(holder)) = self.seats.get_mut(seat) else { continue };
            let slots =
                holder.exec.iter_mut().enumerate().filter(|(_, exec)| is_overdue(exec, &holder.session, until_ms));
            let mut overdue = Vec::new();
            for (slot, exec) in slots {
                exec.failed = Some(Failure::NoBuffer);
                overdue.push(slot);
            }
            self.stats.overdue += overdue.len() as u64;
            overdue.iter().for_each(|&slot| self.advance(seat, slot));
            if !overdue.is_empty() {
                self.pump(seat);
            }
        }
    }
}

impl Core {
    /// Takes the buffers from commands of which a part has come with its data, and no more for too long, while others wait for
    /// some. There is no command yet that could be answered: the connection is closed.
    pub(super) fn expire_halves(&mut self) {
        let waiting = self.engine.waiting();
        if waiting == Waiting::default() {
            return;
        }
        let until_ms = self.engine.now_ms.saturating_sub(OWED_WHILE_OTHERS_WAIT_MS);
        for conn in 0..self.receive.len() {
            if self.has_half_since(conn).is_some_and(|since_ms| since_ms <= until_ms)
                && self.engine.seat_of(conn).is_some_and(|(seat, _)| waiting.besides(seat))
            {
                if matches!(self.engine.links.get(conn), Some(Some(link)) if !link.receiving) {
                    // Else the receive may have the buffer, and its end gives it back.
                    self.forget_partial(conn);
                }
                self.engine.disconnected(conn, CloseReason::NopTimeout);
                self.engine.sweep(conn);
            }
        }
    }

    /// Since when a connection has been receiving a command whose data has an I/O buffer.
    fn has_half_since(&self, conn: usize) -> Option<u64> {
        let half = self.receive.get(conn)?.partial.as_ref()?;
        let has_buffer = match half.dest {
            PartialDest::Staging(Some(_)) => true,
            PartialDest::Staging(None) => self.has_lent(conn),
            PartialDest::Gather(_) | PartialDest::Task(..) | PartialDest::Discard => false,
        };
        has_buffer.then_some(half.since_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_alone_is_no_reason_to_hurry() {
        assert!(!Waiting::default().besides(1));
        let one = Waiting { one: Some(1), another: false };
        assert!(!one.besides(1) && one.besides(2));
        assert!(Waiting { one: Some(1), another: true }.besides(1));
    }
}
