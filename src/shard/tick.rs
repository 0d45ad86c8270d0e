//! What is looked at when time has passed: clocks of sessions, connections that do not log in, send or close, media
//! that do not answer; and how long a core may sleep.

use super::core::Core;
use crate::fabric::Parts;
use crate::jobs::starved::Waiting;
use crate::limits::{NOP_INTERVAL_MS, OWED_WHILE_OTHERS_WAIT_MS, SEND_TIMEOUT_MS};
use crate::session::seam::CloseReason;
use crate::transport::link::Phase;
use crate::transport::links::Connection;
use crate::world::clock::{REST_MS, TICK_MS};

/// How long a closing connection waits behind its last PDU for the peer's end of the stream, milliseconds.
const LINGER_MS: u64 = 1_000;
/// How many sessions' clocks are looked at before others have their turn.
const LOOKS_PER_TURN: usize = 32;

impl Core {
    /// Time passes: logins that take too long, peers that do not read, sessions' own clocks. `waiting`: who waits for buffers.
    pub fn tick(&mut self, waiting: Waiting) {
        self.executor.expire_owed(waiting, &mut self.fabric);
        self.executor.end_cancelled_copies();
        self.executor.outlive_copies();
        for conn in self.fabric.links.numbers() {
            if !self.fabric.links.is_watched(conn) {
                continue;
            }
            let Some(Connection { link: Some(link), tx, .. }) = self.fabric.links.of(conn) else {
                self.fabric.links.set_watched(conn, false);
                continue;
            };
            if matches!(link.phase, Phase::Judged { .. }) {
                self.tell_judged(conn);
                self.fabric.sweep(conn);
                continue;
            }
            let sending = tx.is_sending();
            let rests = matches!(link.phase, Phase::Full { .. } | Phase::Waiting) && !link.closing && !sending;
            let late = match link.phase {
                Phase::Login { deadline_ms, .. } if self.fabric.now_ms >= deadline_ms => {
                    Some(CloseReason::LoginTimeout)
                }
                _ if sending && self.fabric.now_ms >= link.sent_ms + SEND_TIMEOUT_MS => Some(CloseReason::NopTimeout),
                Phase::Full { seat, .. }
                    if sending
                        && self.fabric.now_ms >= link.sent_ms + OWED_WHILE_OTHERS_WAIT_MS
                        && waiting.besides(seat)
                        && tx.holds_buffers() =>
                {
                    Some(CloseReason::NopTimeout)
                }
                _ => None,
            };
            if rests {
                self.fabric.links.set_watched(conn, false);
            }
            if let Some(reason) = late {
                self.disconnected(conn, reason);
            } else if let Some(link) = self.fabric.links.get(conn)
                && link.closing
                && link.shut_ms.is_some_and(|t| self.fabric.now_ms >= t + LINGER_MS)
            {
                link.socket.shut(libc::SHUT_RDWR);
                self.fabric.cancel_receive(conn);
            }
            self.fabric.sweep(conn);
        }
        self.leave_units();
        self.executor.look_for_hung_media(&mut self.fabric);
        // Many sessions that have logged in together are due together; what else comes is not to wait for all of them.
        let now_ms = self.fabric.now_ms;
        let due = |look_ms: &u64| *look_ms <= now_ms;
        let mut next = self.fabric.look_from;
        for _ in 0..LOOKS_PER_TURN {
            let Some(ahead) = self.fabric.look_ms.get(next..).and_then(|rest| rest.iter().position(due)) else {
                next = 0;
                break;
            };
            next += ahead + 1;
            self.look(next - 1);
        }
        self.fabric.look_from = next;
    }

    /// Looks at a session's clock, and notes when it is to be looked at again.
    fn look(&mut self, seat: usize) {
        /// A session's clock is looked at at least once in so many milliseconds. If it has something to do earlier,
        /// that is known when the session is stirred.
        const LOOK_MS: u64 = NOP_INTERVAL_MS;
        let now_ms = self.fabric.now_ms;
        let Some(Parts { seat: holder, mut out, .. }) = self.fabric.parts(seat) else {
            // Nothing is due here until somebody takes the seat.
            self.fabric.look_ms[seat] = u64::MAX;
            return;
        };
        let mut due_ms = holder.session.next_deadline_ms();
        if due_ms <= now_ms {
            holder.session.tick(now_ms, &mut out);
            self.pump(seat);
            let Some(Parts { seat: holder, .. }) = self.fabric.parts(seat) else { return };
            due_ms = holder.session.next_deadline_ms();
        }
        if let Some(look_ms) = self.fabric.look_ms.get_mut(seat) {
            *look_ms = due_ms.min(now_ms + LOOK_MS);
        }
    }

    /// After how many milliseconds `tick` is to be called again, if nothing happens.
    pub fn rest_ms(&self) -> u64 {
        let busy = self.executor.starved.since_ms.is_some()
            || !self.fabric.leaving.is_empty()
            || self.executor.operations.len() > 0
            || self.fabric.links.are_watched();
        let due_ms =
            self.fabric.look_ms.iter().min().map_or(u64::MAX, |due_ms| due_ms.saturating_sub(self.fabric.now_ms));
        match (self.fabric.look_from, self.executor.starved.owed_from) {
            (0, 0) if busy => TICK_MS,
            (0, 0) => due_ms.clamp(TICK_MS, REST_MS),
            _ => 0,
        }
    }
}
