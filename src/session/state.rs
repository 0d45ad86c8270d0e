//! The states of a connection and of a session as tables (RFC 7143 chapter 8).
//!
//! [`CONNECTION`] and [`SESSION`] have one row for each transition of the RFC's diagrams for a target. Tests in `sim`
//! compare them with the RFC's own tables, and check that scripts reach every row but those listed as out of reach.
//! [`ConnState::after`] and [`SessionState::after`] change a state; a transition that the table does not have leaves it
//! as it was.

/// State of a connection (RFC 7143 section 8.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnState {
    /// S1.
    Free,
    /// S3: the transport is up, the login has not begun.
    XptUp,
    /// S4.
    InLogin,
    /// S5: full feature phase.
    LoggedIn,
    /// S6: a Logout is being carried out.
    InLogout,
    /// S7: we asked for a Logout.
    LogoutRequested,
    /// S8: the transport has failed, tasks are left.
    CleanupWait,
}

/// A transition of the standard connection state diagram for a target (RFC 7143 section 8.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "numbered, not named, by the RFC")]
pub enum ConnStep {
    T3,
    T4,
    T5,
    T6,
    T7,
    T8,
    T9,
    T10,
    T11,
    T12,
    T13,
    T15,
    T16,
    T17,
    T18,
    /// The connection state times out, or the tasks are reassigned: from CLEANUP_WAIT to FREE (section 8.2.2).
    M1,
}

/// The transitions of a connection: from, by, to (RFC 7143 section 8.1.4; M1 from section 8.2).
pub const CONNECTION: &[(ConnState, ConnStep, ConnState)] = {
    use ConnState::*;
    use ConnStep::*;
    &[
        (Free, T3, XptUp),
        (XptUp, T6, Free),
        (XptUp, T4, InLogin),
        (InLogin, T7, Free),
        (InLogin, T5, LoggedIn),
        (LoggedIn, T8, Free),
        (LoggedIn, T9, InLogout),
        (LoggedIn, T11, LogoutRequested),
        (LoggedIn, T15, CleanupWait),
        (InLogout, T13, Free),
        (InLogout, T17, CleanupWait),
        (LogoutRequested, T18, Free),
        (LogoutRequested, T10, InLogout),
        (LogoutRequested, T12, LogoutRequested),
        (LogoutRequested, T16, CleanupWait),
        (CleanupWait, M1, Free),
    ]
};

impl ConnState {
    /// Requests are taken and answered: S5 and S7.
    #[inline]
    pub fn is_full_feature(self) -> bool {
        matches!(self, ConnState::LoggedIn | ConnState::LogoutRequested)
    }

    /// PDUs may be queued: S5, S7, and S6 for the Logout Response.
    #[inline]
    pub fn may_send(self) -> bool {
        self.is_full_feature() || self == ConnState::InLogout
    }

    /// The state after one of `steps`, whichever the table has for this state; the same state if it has none.
    #[must_use]
    pub fn after(self, steps: &[ConnStep]) -> ConnState {
        let row = CONNECTION.iter().find(|(from, step, _)| *from == self && steps.contains(step));
        #[cfg(test)]
        reached::note(row);
        row.map_or(self, |(_, _, to)| *to)
    }
}

/// State of a session (RFC 7143 section 8.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// Q1.
    Free,
    /// Q2: its first connection logs in.
    Active,
    /// Q3.
    LoggedIn,
    /// Q4: all connections are lost, tasks wait to be continued.
    Failed,
    /// Q5: a new connection logs in to continue it.
    InContinue,
}

/// A transition of the session state diagram for a target (RFC 7143 section 8.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "numbered, not named, by the RFC")]
pub enum SessionStep {
    N1,
    N2,
    N3,
    N5,
    N6,
    N7,
    N8,
    N9,
    N10,
    N11,
}

/// The transitions of a session: from, by, to (RFC 7143 section 8.3.2).
pub const SESSION: &[(SessionState, SessionStep, SessionState)] = {
    use SessionState::*;
    use SessionStep::*;
    &[
        (Free, N1, Active),
        (Active, N9, Free),
        (Active, N2, LoggedIn),
        (LoggedIn, N3, Free),
        (LoggedIn, N5, Failed),
        (Failed, N6, Free),
        (Failed, N7, InContinue),
        (InContinue, N11, Free),
        (InContinue, N10, LoggedIn),
        (InContinue, N8, Failed),
    ]
};

impl SessionState {
    /// The state after one of `steps`, whichever the table has for this state; the same state if it has none.
    #[must_use]
    pub fn after(self, steps: &[SessionStep]) -> SessionState {
        let row = SESSION.iter().find(|(from, step, _)| *from == self && steps.contains(step));
        #[cfg(test)]
        reached::note(row);
        row.map_or(self, |(_, _, to)| *to)
    }
}

/// The transitions that this thread has taken, for the test that wants to see all of them (in `sim`).
#[cfg(test)]
pub(crate) mod reached {
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    use std::fmt::Debug;

    thread_local! {
        static ROWS: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
    }

    /// Keeps one.
    pub(super) fn note(row: Option<&impl Debug>) {
        if let Some(row) = row {
            ROWS.with_borrow_mut(|rows| rows.insert(format!("{row:?}")));
        }
    }

    /// All since the last time.
    pub(crate) fn take() -> BTreeSet<String> {
        ROWS.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_transitions_are_refused() {
        assert_eq!(ConnState::Free.after(&[ConnStep::T9, ConnStep::T10]), ConnState::Free);
        assert_eq!(ConnState::LogoutRequested.after(&[ConnStep::T9, ConnStep::T10]), ConnState::InLogout);
    }
}
