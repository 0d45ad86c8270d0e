//! CHAP: what is configured, and what can go wrong (RFC 7143 sections 9.2.1 and 12.1.3, RFC 1994).

use std::fmt;
use std::sync::Arc;

use crate::wire::LoginStatus;

/// A secret shared with one party, as bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// From its bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Fewer than 96 bits: too weak for a channel that is not encrypted (RFC 7143 section 9.2.1).
    pub fn is_weak(&self) -> bool {
        self.0.len() < 12
    }
}

/// Never shown.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A name and the secret that proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// CHAP_N.
    pub name: Arc<str>,
    /// What CHAP_R is computed from.
    pub secret: Secret,
}

/// The accounts that matter for one login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// As any of these the initiator may authenticate itself.
    pub initiators: Vec<Account>,
    /// As this we authenticate ourselves, if the initiator asks us to.
    pub target: Option<Account>,
}

/// What went wrong in a CHAP exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChapFault {
    /// No algorithm in common.
    #[error("offers no hash algorithm that is supported")]
    Algorithm,
    /// A key of the step is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A key of the step has no value that can be read.
    #[error("{0} is malformed or too long")]
    Malformed(&'static str),
    /// No account of that name.
    #[error("there is no such account for this initiator")]
    UnknownName,
    /// The response is not the right one.
    #[error("the response is wrong: not the secret that is configured")]
    WrongResponse,
    /// Our own challenge came back, or our own response.
    #[error("reflects our own challenge or response")]
    Reflection,
    /// It asks us to authenticate ourselves, and we have no account.
    #[error("wants mutual authentication, and none is configured")]
    NoTargetAccount,
}

impl ChapFault {
    /// What the initiator is told.
    pub fn status(self) -> LoginStatus {
        //= RFC 7143 section 9.2
        //# Whenever an iSCSI target gets a request or response whose keys, or
        //# their values, are not according to the step definition, it MUST
        //# answer with a Login reject with the "Initiator Error" or "Missing
        //# Parameter" status.
        match self {
            ChapFault::Missing(_) => LoginStatus::MISSING_PARAMETER,
            ChapFault::Malformed(_) => LoginStatus::INITIATOR_ERROR,
            _ => LoginStatus::AUTHENTICATION_FAILURE,
        }
    }
}
