//! The ends of connections and sessions: Logout, lost connections, requested logouts, the session's own end.

use super::Session;
use super::params::SessionKind;
use super::parts::Notice;
use super::seam::{CloseReason, ConnIx, Event, Outbox, Payload};
use super::state::{ConnState, ConnStep, SessionState, SessionStep};
use crate::limits::{SHUTDOWN_LOGOUT_MS, TASKS_PER_SESSION};
use crate::wire::{AsyncEvent, CmdSn, LogoutReason, LogoutRequest, LogoutResponse, LogoutResult, Lun, StatSn};

impl Session {
    /// Carries out a Logout whose turn has come.
    pub(super) fn log_out<O: Outbox>(&mut self, conn: ConnIx, request: &LogoutRequest, out: &mut O) {
        let named = self.connections().find(|ix| self.cid_is(*ix, request));
        match request.reason {
            LogoutReason::CLOSE_SESSION => self.log_out_session(conn, request, out),
            // A discovery session has one connection: to close it is to close the session.
            LogoutReason::CLOSE_CONNECTION if self.init.kind == SessionKind::Discovery => {
                self.log_out_session(conn, request, out);
            }
            LogoutReason::CLOSE_CONNECTION => match named {
                None => {
                    let found = self.log_out_lost(request.cid, false);
                    let result = if found { LogoutResult::CLOSED } else { LogoutResult::CID_NOT_FOUND };
                    self.answer_logout(conn, request, result, out);
                }
                Some(ix) => {
                    //= RFC 7143 section 11.14
                    //# When receiving a Logout Request with the reason code "close the
                    //# connection" or "close the session", the target MUST terminate all
                    //# pending commands, whether acknowledged via the ExpCmdSN or not, on
                    //# that connection or session, respectively.
                    self.abort_connection(Some(ix));
                    self.step(ix, &[ConnStep::T9, ConnStep::T10]);
                    self.answer_logout(conn, request, LogoutResult::CLOSED, out);
                    //= RFC 7143 section 11.15
                    //# After Logout, the TCP connection referred by the CID MUST be closed at
                    //# both ends (or all connections must be closed if the logout reason was
                    //# session close).
                    self.close(ix, CloseReason::Logout);
                }
            },
            _ if self.init.params.error_recovery_level >= 2 => self.log_out_for_recovery(conn, named, request, out),
            // ErrorRecoveryLevel is below 2: there is nothing to recover a connection with, so it stays.
            _ => self.answer_logout(conn, request, LogoutResult::RECOVERY_NOT_SUPPORTED, out),
        }
    }

    fn log_out_for_recovery<O: Outbox>(
        &mut self,
        conn: ConnIx,
        named: Option<ConnIx>,
        request: &LogoutRequest,
        out: &mut O,
    ) {
        let Some(ix) = named else {
            let found = self.log_out_lost(request.cid, true);
            let result = if found { LogoutResult::CLOSED } else { LogoutResult::CID_NOT_FOUND };
            return self.answer_logout(conn, request, result, out);
        };
        self.suspend(ix, true);
        self.step(ix, &[ConnStep::T9, ConnStep::T10]);
        self.answer_logout(conn, request, LogoutResult::CLOSED, out);
        self.close(ix, CloseReason::Logout);
    }

    fn cid_is(&self, ix: ConnIx, request: &LogoutRequest) -> bool {
        self.connections.get(usize::from(ix.0)).is_some_and(|c| c.cid == request.cid)
    }

    fn log_out_session<O: Outbox>(&mut self, conn: ConnIx, request: &LogoutRequest, out: &mut O) {
        self.abort_connection(None);
        self.step(conn, &[ConnStep::T9, ConnStep::T10]);
        self.answer_logout(conn, request, LogoutResult::CLOSED, out);
        for ix in (0..self.connections.len()).map(|ix| ConnIx(ix as u8)) {
            if self.connections.get(usize::from(ix.0)).is_some_and(|c| c.state.may_send()) {
                self.events.push(Event::Close { conn: ix, reason: CloseReason::Logout });
            }
        }
        self.end(CloseReason::Logout);
    }

    fn answer_logout<O: Outbox>(&mut self, conn: ConnIx, request: &LogoutRequest, result: LogoutResult, out: &mut O) {
        let params = self.init.params;
        // Time2Wait and Time2Retain say when to try again, so they are given only where there is something to come back
        // for. What was closed is forgotten at once.
        let retry = result == LogoutResult::RECOVERY_NOT_SUPPORTED
            || request.reason == LogoutReason::REMOVE_FOR_RECOVERY && result == LogoutResult::CLOSED;
        let pdu = LogoutResponse {
            response: result,
            itt: request.itt,
            stat_sn: StatSn(0),
            exp_cmd_sn: CmdSn(0),
            max_cmd_sn: CmdSn(0),
            time2wait: if retry { params.time2wait_s } else { 0 },
            time2retain: if retry { params.time2retain_s } else { 0 },
        };
        let mut header = [0; 48];
        pdu.emit(&mut header);
        self.send_numbered(conn, &mut header, Payload::None, out);
    }

    /// Asks the initiator to log out of all connections; those that are still there after `limits::SHUTDOWN_LOGOUT_MS` are
    /// closed by [`tick`](Self::tick). Discovery sessions, which may not be asked, are closed at once.
    pub fn request_logout<O: Outbox>(&mut self, out: &mut O) {
        let by = self.now_ms.saturating_add(SHUTDOWN_LOGOUT_MS);
        for ix in (0..self.connections.len()).map(|ix| ConnIx(ix as u8)) {
            let discovery = self.init.kind == SessionKind::Discovery;
            let Some(c) = self.connections.get_mut(usize::from(ix.0)).filter(|c| c.state.is_full_feature()) else {
                continue;
            };
            if discovery {
                //= RFC 7143 section 7.4.3
                //# A target may simply drop the connection in a
                //# Discovery session when it would have requested a Logout via an Async
                //# Message on Normal sessions.
                self.close(ix, CloseReason::Shutdown);
                continue;
            }
            c.logout_by_ms = Some(c.logout_by_ms.map_or(by, |earlier| earlier.min(by)));
            self.step(ix, &[ConnStep::T11, ConnStep::T12]);
            //= RFC 7143 section 11.9.1
            //# This Async Message MUST be sent on the same connection as the one
            //# requesting to be logged out.
            //= RFC 7143 section 4.2.6
            //# A graceful transport connection shutdown SHOULD only be initiated by
            //# either party when the connection is not in the iSCSI Full Feature Phase.
            self.announce(ix, AsyncEvent::LOGOUT_REQUEST, out);
        }
    }

    fn step(&mut self, ix: ConnIx, steps: &[ConnStep]) {
        if let Some(c) = self.connections.get_mut(usize::from(ix.0)) {
            c.state = c.state.after(steps);
        }
    }

    /// Closes a connection from our side.
    pub(super) fn close(&mut self, ix: ConnIx, reason: CloseReason) {
        if self.connections.get(usize::from(ix.0)).is_some_and(|c| c.state.may_send()) {
            self.events.push(Event::Close { conn: ix, reason });
            self.connection_lost(ix, reason);
        }
    }

    /// A connection is gone: its tasks are aborted, and with the last connection the session ends.
    pub fn connection_lost(&mut self, conn: ConnIx, reason: CloseReason) {
        let Some(c) = self.connections.get_mut(usize::from(conn.0)).filter(|c| c.state.may_send()) else { return };
        //= RFC 7143 section 7.14
        //# On connection failure, the initiator and target MUST do one of the
        //# following:
        let failed = matches!(
            reason,
            CloseReason::Disconnected | CloseReason::NopTimeout | CloseReason::Digest | CloseReason::Reinstated
        );
        let (cid, was) = (c.cid, c.state);
        if failed && was.is_full_feature() && self.recovers_connections() {
            self.suspend(conn, reason == CloseReason::Reinstated);
        }
        let Some(c) = self.connections.get_mut(usize::from(conn.0)) else { return };
        c.state = match c.state {
            ConnState::InLogout => c.state.after(&[ConnStep::T13]),
            // Tasks that wait for a new allegiance have been taken off the connection: its cleanup is over at once.
            state => state.after(&[ConnStep::T15, ConnStep::T16]).after(&[ConnStep::M1]),
        };
        (c.kept, c.replays) = Default::default();
        self.abort_connection(Some(conn));
        self.fence_due |= self.fence.is_some();
        if self.connections().next().is_none() {
            if self.lost.is_empty() { self.end(reason) } else { self.fail() }
        } else if failed && was.is_full_feature() && reason != CloseReason::Reinstated {
            self.notices.push(Notice::Dropped(cid));
        }
    }

    /// Aborts the tasks of one connection, which may be a lost one; `None`: all tasks of the session.
    pub(super) fn abort_connection(&mut self, conn: Option<ConnIx>) {
        // If the session ends too, so does its I_T nexus, and there is nobody left to be told of cleared commands.
        let goes_on = conn.is_some_and(|conn| self.outlives(conn));
        for slot in 0..TASKS_PER_SESSION {
            let Some(id) = self.tasks.id(slot) else { continue };
            if conn.is_none_or(|conn| self.tasks.get(id).is_some_and(|t| t.command.conn == conn)) {
                self.abort_with_connection(id, goes_on);
            }
        }
    }

    /// Whether the session goes on without a connection, living or lost.
    fn outlives(&self, conn: ConnIx) -> bool {
        self.connections().any(|ix| ix != conn) || self.lost.iter().any(|lost| lost.id != conn)
    }

    /// Has the nexus told that commands at this logical unit ended with their connection. One event for a unit is
    /// enough.
    pub(super) fn note_cleared(&mut self, lun: Lun) {
        let known = |event: &Event| matches!(event, Event::Cleared { lun: other } if other.is_same_unit(lun));
        if !self.events.any(known) {
            self.events.push(Event::Cleared { lun });
        }
    }

    /// Ends the session: all tasks are aborted, all connections are to be closed. For session reinstatement, TARGET COLD
    /// RESET, and peers that break the rules.
    pub fn end(&mut self, reason: CloseReason) {
        if self.state == SessionState::Free {
            return;
        }
        self.abort_connection(None);
        //= RFC 7143 section 7.14
        //# Either side may choose to escalate to session recovery (via the
        //# initiator dropping all the connections or via an Async Message that
        //# announces the similar intent from a target), and the other side MUST
        //# give it precedence.
        self.lost.clear();
        (self.fence, self.fence_due) = (None, false);
        self.notices.clear();
        //= RFC 7143 section 7.15
        //# A target MUST also be prepared to handle a session reinstatement request
        //# from the initiator that may be addressing session errors.
        let clean = matches!(reason, CloseReason::Logout | CloseReason::Reinstated | CloseReason::Reset);
        for c in &mut self.connections {
            c.state = if clean {
                c.state.after(&[ConnStep::T8, ConnStep::T13, ConnStep::T18])
            } else {
                c.state.after(&[ConnStep::T15, ConnStep::T16, ConnStep::T17]).after(&[ConnStep::M1])
            };
            debug_assert_eq!(c.state, ConnState::Free);
            (c.kept, c.replays) = Default::default();
        }
        // After any other end nothing is kept to be continued: the session fails (N5), and its state times out at once
        // (N6).
        self.state = if clean {
            self.state.after(&[SessionStep::N3, SessionStep::N6])
        } else {
            self.state.after(&[SessionStep::N5]).after(&[SessionStep::N6])
        };
        self.events.push(Event::Ended { reason });
    }
}
