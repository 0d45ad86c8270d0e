//! The clocks of a core: what is looked at when time has passed, and how long a core may sleep. And the one clock that all
//! of them go by.

use super::engine::{Engine, Parts, Phase};
use super::leave::shutdown;
use super::starve::Waiting;
use crate::limits::{NOP_INTERVAL_MS, OWED_WHILE_OTHERS_WAIT_MS, PAUSE_MS, SEND_TIMEOUT_MS};
use crate::scsi::Now;
use crate::session::seam::CloseReason;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a closing connection waits behind its last PDU for the peer's end of the stream, milliseconds.
const LINGER_MS: u64 = 1_000;
/// How often clocks are looked at while something happens, milliseconds.
pub const TICK_MS: u64 = 250;
/// How long a core that has nothing to do sleeps at most: what else `tick` does is done that often, milliseconds.
const REST_MS: u64 = 1_000;
/// How many sessions' clocks are looked at before others have their turn.
const LOOKS_PER_TURN: usize = 32;

/// How often a core that is awake says so.
pub const BEAT: Duration = Duration::from_millis(500);
const _: () = assert!(PAUSE_MS > REST_MS + 2 * BEAT.as_millis() as u64);

/// The clock of all cores. It stands still while the process or its machine does: nobody was silent meanwhile, since nobody
/// listened.
pub struct Clock {
    epoch: Instant,
    /// When a core last said that it was awake.
    heard: Mutex<Instant>,
    stood_ns: AtomicU64,
    /// Milliseconds from 1970 to when this clock began, by what the machine's clock said at the last beat.
    began_ms: AtomicU64,
}

impl Clock {
    /// A clock that begins at `now`.
    pub fn new(now: Instant) -> Clock {
        Clock { epoch: now, heard: Mutex::new(now), stood_ns: AtomicU64::new(0), began_ms: AtomicU64::new(0) }
    }

    /// The time since the clock began, without the time for which it stood still, nanoseconds.
    #[inline]
    pub fn now_ns(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch).as_nanos() as u64;
        since.saturating_sub(self.stood_ns.load(Ordering::Relaxed))
    }

    /// A core is awake: to be said every [`BEAT`], unless it sleeps.
    pub fn beat(&self, now: Instant) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let silence = now.saturating_duration_since(*heard);
        if silence >= Duration::from_millis(PAUSE_MS) {
            self.stood_ns.fetch_add(silence.as_nanos() as u64, Ordering::Relaxed);
            tracing::warn!("nothing ran here for {} ms: that time does not count for anybody", silence.as_millis());
        }
        *heard = (*heard).max(now);
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        self.began_ms.store(since_1970.saturating_sub(self.now_ns(now) / 1_000_000), Ordering::Relaxed);
    }

    /// What time it is by the machine's clock when it is `now_ms` by this one. A core that is awake looks every [`BEAT`].
    #[inline]
    pub fn since_1970_ms(&self, now_ms: u64) -> u64 {
        self.began_ms.load(Ordering::Relaxed).saturating_add(now_ms)
    }
}

impl Engine {
    /// When this turn began.
    #[inline]
    pub fn now(&self) -> Now {
        Now { ms: self.now_ms, since_1970_ms: self.world.clock.since_1970_ms(self.now_ms) }
    }

    /// Time passes: logins that take too long, peers that do not read, sessions' own clocks. `waiting`: who waits for buffers.
    pub fn tick(&mut self, waiting: Waiting) {
        self.expire_owed(waiting);
        self.end_cancelled_copies();
        self.outlive_copies();
        for conn in 0..self.links.len() {
            if !self.watched[conn] {
                continue;
            }
            let Some(link) = self.links[conn].as_ref() else {
                self.watched[conn] = false;
                continue;
            };
            if matches!(link.phase, Phase::Judged { .. }) {
                self.tell_judged(conn);
                self.sweep(conn);
                continue;
            }
            let sending = self.tx[conn].is_sending();
            let rests = matches!(link.phase, Phase::Full { .. } | Phase::Waiting) && !link.closing && !sending;
            self.watched[conn] = !rests;
            let late = match link.phase {
                Phase::Login { deadline_ms, .. } if self.now_ms >= deadline_ms => Some(CloseReason::LoginTimeout),
                _ if sending && self.now_ms >= link.sent_ms + SEND_TIMEOUT_MS => Some(CloseReason::NopTimeout),
                Phase::Full { seat, .. }
                    if sending
                        && self.now_ms >= link.sent_ms + OWED_WHILE_OTHERS_WAIT_MS
                        && waiting.besides(seat)
                        && self.tx[conn].holds_buffers() =>
                {
                    Some(CloseReason::NopTimeout)
                }
                _ => None,
            };
            if let Some(reason) = late {
                self.disconnected(conn, reason);
            } else if link.closing && link.shut_ms.is_some_and(|t| self.now_ms >= t + LINGER_MS) {
                shutdown(link.socket.as_raw_fd(), libc::SHUT_RDWR);
                self.cancel_receive(conn);
            }
            self.sweep(conn);
        }
        self.leave_units();
        self.look_for_hung_media();
        // Many sessions that have logged in together are due together; what else comes is not to wait for all of them.
        let now_ms = self.now_ms;
        let due = |look_ms: &u64| *look_ms <= now_ms;
        let mut next = self.look_from;
        for _ in 0..LOOKS_PER_TURN {
            let Some(ahead) = self.look_ms.get(next..).and_then(|rest| rest.iter().position(due)) else {
                next = 0;
                break;
            };
            next += ahead + 1;
            self.look(next - 1);
        }
        self.look_from = next;
    }

    /// Looks at a session's clock, and notes when it is to be looked at again.
    fn look(&mut self, seat: usize) {
        /// A session's clock is looked at at least once in so many milliseconds. If it has something to do earlier,
        /// that is known when the session is stirred.
        const LOOK_MS: u64 = NOP_INTERVAL_MS;
        let now_ms = self.now_ms;
        let Some(Parts { seat: holder, mut out, .. }) = self.parts(seat) else {
            // Nothing is due here until somebody takes the seat.
            self.look_ms[seat] = u64::MAX;
            return;
        };
        let mut due_ms = holder.session.next_deadline_ms();
        if due_ms <= now_ms {
            holder.session.tick(now_ms, &mut out);
            self.pump(seat);
            let Some(Parts { seat: holder, .. }) = self.parts(seat) else { return };
            due_ms = holder.session.next_deadline_ms();
        }
        if let Some(look_ms) = self.look_ms.get_mut(seat) {
            *look_ms = due_ms.min(now_ms + LOOK_MS);
        }
    }

    /// After how many milliseconds `tick` is to be called again, if nothing happens.
    pub fn rest_ms(&self) -> u64 {
        let busy = self.starved_since_ms.is_some()
            || !self.leaving.is_empty()
            || self.operations.len() > 0
            || self.watched.contains(&true);
        let due_ms = self.look_ms.iter().min().map_or(u64::MAX, |due_ms| due_ms.saturating_sub(self.now_ms));
        match (self.look_from, self.owed_from) {
            (0, 0) if busy => TICK_MS,
            (0, 0) => due_ms.clamp(TICK_MS, REST_MS),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_of_all_cores_does_not_count() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let clock = Clock::new(begin);
        let now_ms = |ms| clock.now_ns(at(ms)) / 1_000_000;
        // One core sleeps for long, another does not.
        (0..20).for_each(|beat| clock.beat(at(beat * 500)));
        assert_eq!(now_ms(9_600), 9_600);
        // Both were stopped, and both come late.
        clock.beat(at(60_000));
        clock.beat(at(60_001));
        assert_eq!(now_ms(60_001), 9_501);
        clock.beat(at(60_500));
        assert_eq!(now_ms(60_500), 10_000);
    }
}
