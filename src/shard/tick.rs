//! What is looked at when time has passed: clocks of sessions, connections that do not log in, send or close, media
//! that do not answer; and how long a core may sleep.

use super::core::Core;
use crate::fabric::Parts;
use crate::jobs::starved::Waiting;
use crate::limits::{NOP_INTERVAL_MS, OWED_WHILE_OTHERS_WAIT_MS, SEND_TIMEOUT_MS};
use crate::missing;
use crate::model::SeatIx;
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
        self.fabric.end_unasked_looks();
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
        self.tell_missing();
        self.tell_left_out();
        self.leave_units();
        self.executor.look_for_hung_media();
        self.executor.look_what_is_slow();
        // Many sessions that have logged in together are due together; what else comes is not to wait for all of them.
        for _ in 0..LOOKS_PER_TURN {
            let Some(seat) = self.fabric.seats.next_due(self.fabric.now_ms) else { break };
            self.look(seat);
        }
    }

    /// Says how many lines a flood would have been that is over.
    fn tell_left_out(&mut self) {
        let left_out = self.fabric.noise.left_out(self.fabric.now_ms);
        let left_out = left_out.saturating_add(self.executor.left_out());
        if left_out > 0 {
            tracing::warn!(
                event = "log-flood",
                left_out,
                "what peers do, or media, was more than the log takes: lines were left out"
            );
        }
    }

    /// Says what was missing on this core, if something was.
    fn tell_missing(&mut self) {
        self.fabric.stats.missing = missing::count();
        if let Some(missing) = missing::take()
            && let Some(left_out) = self.fabric.noise.line(self.fabric.now_ms)
        {
            let count = self.fabric.stats.missing;
            tracing::error!(
                event = "fault",
                count,
                left_out,
                "a fault of ringsan: this should be there and is not: {missing}"
            );
        }
    }

    /// Looks at a session's clock, and notes when it is to be looked at again.
    fn look(&mut self, seat: SeatIx) {
        /// A session's clock is looked at at least once in so many milliseconds. If it has something to do earlier,
        /// that is known when the session is stirred.
        const LOOK_MS: u64 = NOP_INTERVAL_MS;
        let now_ms = self.fabric.now_ms;
        let Some(Parts { seat: holder, mut out, .. }) = self.fabric.parts(seat) else {
            // Nothing is due here until somebody takes the seat.
            return self.fabric.seats.looked(seat, u64::MAX);
        };
        let mut due_ms = holder.session.next_deadline_ms();
        if due_ms <= now_ms {
            holder.session.tick(now_ms, &mut out);
            self.pump(seat);
            // It may have ended.
            let Some(Parts { seat: holder, .. }) = self.fabric.parts(seat) else { return };
            due_ms = holder.session.next_deadline_ms();
        }
        self.fabric.seats.looked(seat, due_ms.min(now_ms + LOOK_MS));
    }

    /// After how many milliseconds `tick` is to be called again, if nothing happens.
    pub fn rest_ms(&self) -> u64 {
        let busy = self.executor.waits.starved.since_ms.is_some()
            || self.fabric.served.are_leaving()
            || self.executor.operations.len() > 0
            || self.fabric.links.are_watched();
        if !self.fabric.seats.is_through() || self.executor.waits.starved.owed_from > 0 {
            0
        } else if busy {
            TICK_MS
        } else {
            self.fabric.seats.due_in_ms(self.fabric.now_ms).clamp(TICK_MS, REST_MS)
        }
    }
}
