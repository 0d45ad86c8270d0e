//! What of the protocol is counted on a core besides commands: what initiators ask for that is no data, what they are refused,
//! and why connections end. That is what RFC 7147 has counters for, and more.

use crate::session::seam::CloseReason;
use crate::wire::{
    AsyncEvent, Bhs, LoginStatus, LogoutReason, LogoutResult, Opcode, RejectReason, TmFunction, TmResponse,
};

/// A count for each code that the RFC assigns, in the order of its table.
type Each<const N: usize> = [u64; N];

/// Why connections in full feature phase end.
const ENDS: [CloseReason; 9] = [
    CloseReason::Logout,
    CloseReason::Reinstated,
    CloseReason::NopTimeout,
    CloseReason::Disconnected,
    CloseReason::Digest,
    CloseReason::Protocol(""),
    CloseReason::Reset,
    CloseReason::Shutdown,
    CloseReason::Dropped,
];

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Protocol {
    login_statuses: Each<{ LoginStatus::ALL.len() }>,
    /// Logins that ended without a status.
    logins_given_up: u64,
    logout_reasons: Each<{ LogoutReason::ALL.len() }>,
    logout_results: Each<{ LogoutResult::ALL.len() }>,
    functions: Each<{ TmFunction::ALL.len() }>,
    responses: Each<{ TmResponse::ALL.len() }>,
    rejects: Each<{ RejectReason::ALL.len() }>,
    messages: Each<{ AsyncEvent::ALL.len() }>,
    ends: Each<{ ENDS.len() }>,
}

/// What is counted, as it is called where it is shown; each for some causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Logins that were refused, by status, or given up.
    LoginFailures,
    /// Logouts that were asked for, by reason.
    Logouts,
    /// Logouts that were answered, by response.
    LogoutResponses,
    /// Task management functions that were asked for, by function.
    TaskManagement,
    /// The answers to those, by response.
    TaskManagementResponses,
    /// PDUs that were rejected, by reason.
    Rejects,
    /// Asynchronous Messages, by event.
    AsynchronousMessages,
    /// Connections in full feature phase that have ended, by reason.
    ConnectionsEnded,
}

impl Counted {
    /// All of them.
    pub const ALL: [Counted; 8] = [
        Counted::LoginFailures,
        Counted::Logouts,
        Counted::LogoutResponses,
        Counted::TaskManagement,
        Counted::TaskManagementResponses,
        Counted::Rejects,
        Counted::AsynchronousMessages,
        Counted::ConnectionsEnded,
    ];
}

/// Counts one of the codes; one that the RFC does not assign is none of ours, or was answered with a Reject.
fn count<T: PartialEq>(codes: &[T], counts: &mut [u64], code: T) {
    let at = codes.iter().position(|known| *known == code);
    if let Some(count) = at.and_then(|at| counts.get_mut(at)) {
        *count += 1;
    }
}

impl Protocol {
    /// Whether a PDU is one of those that are counted: by far the most are not.
    #[inline(always)]
    pub fn counts(bhs: &Bhs) -> bool {
        const COUNTED: u64 = 1 << Opcode::TASK_MANAGEMENT_REQUEST.0
            | 1 << Opcode::LOGOUT_REQUEST.0
            | 1 << Opcode::TASK_MANAGEMENT_RESPONSE.0
            | 1 << Opcode::LOGOUT_RESPONSE.0
            | 1 << Opcode::ASYNC_MESSAGE.0
            | 1 << Opcode::REJECT.0;
        COUNTED >> (bhs[0] & 0x3f) & 1 != 0
    }

    /// Counts a PDU that has come, or is sent, in full feature phase.
    #[cold]
    #[inline(never)]
    pub fn passed(&mut self, bhs: &Bhs) {
        let (first, second, event) = (bhs[1] & 0x7f, bhs[2], bhs[36]);
        match Opcode(bhs[0] & 0x3f) {
            Opcode::TASK_MANAGEMENT_REQUEST => count(TmFunction::ALL, &mut self.functions, TmFunction(first)),
            Opcode::LOGOUT_REQUEST => count(LogoutReason::ALL, &mut self.logout_reasons, LogoutReason(first)),
            Opcode::TASK_MANAGEMENT_RESPONSE => count(TmResponse::ALL, &mut self.responses, TmResponse(second)),
            Opcode::LOGOUT_RESPONSE => count(LogoutResult::ALL, &mut self.logout_results, LogoutResult(second)),
            Opcode::ASYNC_MESSAGE => count(AsyncEvent::ALL, &mut self.messages, AsyncEvent(event)),
            Opcode::REJECT => count(RejectReason::ALL, &mut self.rejects, RejectReason(second)),
            _ => {}
        }
    }

    /// A login was refused.
    pub fn login_refused(&mut self, status: LoginStatus) {
        count(LoginStatus::ALL, &mut self.login_statuses, status);
    }

    /// A login has ended before it was complete.
    pub fn login_given_up(&mut self) {
        self.logins_given_up += 1;
    }

    /// A connection in full feature phase has ended.
    pub fn ended(&mut self, reason: CloseReason) {
        count(&ENDS.map(CloseReason::word), &mut self.ends, reason.word());
    }

    /// Logins that were refused or given up.
    pub fn login_failures(&self) -> u64 {
        self.login_statuses.iter().sum::<u64>() + self.logins_given_up
    }

    /// The counts of one kind, by cause, in the RFC's words.
    pub fn of(&self, counted: Counted) -> Vec<(&'static str, u64)> {
        fn named<T: Copy>(all: &[T], name: fn(T) -> Option<&'static str>, counts: &[u64]) -> Vec<(&'static str, u64)> {
            all.iter().zip(counts).filter_map(|(code, count)| Some((name(*code)?, *count))).collect()
        }
        match counted {
            Counted::LoginFailures => {
                let mut all = named(LoginStatus::ALL, LoginStatus::name, &self.login_statuses);
                all.retain(|(name, _)| Some(*name) != LoginStatus::SUCCESS.name());
                all.push(("Given up", self.logins_given_up));
                all
            }
            Counted::Logouts => named(LogoutReason::ALL, LogoutReason::name, &self.logout_reasons),
            Counted::LogoutResponses => named(LogoutResult::ALL, LogoutResult::name, &self.logout_results),
            Counted::TaskManagement => named(TmFunction::ALL, TmFunction::name, &self.functions),
            Counted::TaskManagementResponses => named(TmResponse::ALL, TmResponse::name, &self.responses),
            Counted::Rejects => named(RejectReason::ALL, RejectReason::name, &self.rejects),
            Counted::AsynchronousMessages => named(AsyncEvent::ALL, AsyncEvent::name, &self.messages),
            Counted::ConnectionsEnded => ENDS.map(CloseReason::word).into_iter().zip(self.ends).collect(),
        }
    }

    /// Adds what another core has counted.
    pub fn add(&mut self, other: &Protocol) {
        fn each(to: &mut [u64], from: &[u64]) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
        each(&mut self.login_statuses, &other.login_statuses);
        self.logins_given_up += other.logins_given_up;
        each(&mut self.logout_reasons, &other.logout_reasons);
        each(&mut self.logout_results, &other.logout_results);
        each(&mut self.functions, &other.functions);
        each(&mut self.responses, &other.responses);
        each(&mut self.rejects, &other.rejects);
        each(&mut self.messages, &other.messages);
        each(&mut self.ends, &other.ends);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pdu(opcode: Opcode, at: usize, code: u8) -> Bhs {
        let mut bhs = [0; 48];
        bhs[0] = opcode.0;
        bhs[at] = code;
        bhs
    }

    #[test]
    fn each_is_counted_under_its_name_and_others_are_not_looked_at() {
        let mut protocol = Protocol::default();
        for (bhs, counted, name) in [
            (pdu(Opcode::TASK_MANAGEMENT_REQUEST, 1, 0x85), Counted::TaskManagement, "LOGICAL UNIT RESET"),
            (pdu(Opcode::TASK_MANAGEMENT_RESPONSE, 2, 255), Counted::TaskManagementResponses, "Function rejected"),
            (pdu(Opcode::LOGOUT_REQUEST, 1, 0x81), Counted::Logouts, "close the connection"),
            (pdu(Opcode::LOGOUT_RESPONSE, 2, 1), Counted::LogoutResponses, "CID not found"),
            (pdu(Opcode::REJECT, 2, 4), Counted::Rejects, "Protocol Error"),
            (pdu(Opcode::ASYNC_MESSAGE, 36, 0), Counted::AsynchronousMessages, "SCSI Async Event"),
        ] {
            assert!(Protocol::counts(&bhs));
            protocol.passed(&bhs);
            let all = protocol.of(counted);
            assert_eq!(all.iter().find(|(_, count)| *count > 0), Some(&(name, 1)), "{all:?}");
        }
        // Immediate delivery is a bit beside the opcode; a code that is not assigned is not counted.
        protocol.passed(&pdu(Opcode(0x40 | Opcode::TASK_MANAGEMENT_REQUEST.0), 1, 0x85));
        protocol.passed(&pdu(Opcode::TASK_MANAGEMENT_REQUEST, 1, 0x7f));
        assert_eq!(protocol.of(Counted::TaskManagement).iter().map(|(_, count)| count).sum::<u64>(), 2);
        for opcode in
            [Opcode::SCSI_COMMAND, Opcode::SCSI_DATA_OUT, Opcode::SCSI_RESPONSE, Opcode::SCSI_DATA_IN, Opcode::R2T]
        {
            assert!(!Protocol::counts(&pdu(opcode, 1, 0x80)));
        }
    }

    #[test]
    fn what_cores_count_is_added_and_logins_fail_for_a_cause() {
        let mut one = Protocol::default();
        one.login_refused(LoginStatus::AUTHENTICATION_FAILURE);
        one.login_given_up();
        one.ended(CloseReason::Protocol("anything"));
        let mut both = one;
        both.add(&one);
        assert_eq!((one.login_failures(), both.login_failures()), (2, 4));
        let failures = both.of(Counted::LoginFailures);
        let some: Vec<_> = failures.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(some, [&("Authentication failure", 2), &("Given up", 2)]);
        assert!(both.of(Counted::ConnectionsEnded).contains(&("protocol error", 2)));
        let all =
            |of: &Protocol| Counted::ALL.map(|counted| of.of(counted).iter().map(|(_, count)| count).sum::<u64>());
        assert_eq!(all(&both), all(&one).map(|count| 2 * count));
        for counted in Counted::ALL {
            let names: std::collections::HashSet<_> = one.of(counted).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), one.of(counted).len(), "{counted:?}");
        }
    }

    #[test]
    fn each_end_of_a_connection_is_counted_under_a_word_of_its_own() {
        let mut protocol = Protocol::default();
        ENDS.into_iter().for_each(|reason| protocol.ended(reason));
        let counted = protocol.of(Counted::ConnectionsEnded);
        assert!(counted.iter().all(|(_, count)| *count == 1), "{counted:?}");
    }
}
