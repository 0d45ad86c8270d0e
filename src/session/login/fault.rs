//! Why a login is refused: what the operator is told, and the status that the initiator is told.

use std::net::SocketAddr;

use super::chap::ChapFault;
use super::keys::{self, KeyFault};
use crate::model::names::NameError;
use crate::session::directory::NoTarget;
use crate::wire::LoginStatus;
use crate::wire::text::{Pairs, TextError, TextWriter, answer as word};

/// A broken rule, or another reason not to let an initiator in. Its `Display` is for the operator: the status that goes to
/// the initiator says much less, and initiators print it wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginFault {
    /// A PDU other than a Login Request.
    #[error("sent another PDU than a Login Request before its login was complete")]
    NotALogin,
    /// No version in common.
    #[error("speaks versions {min} to {max} of iSCSI, not 0")]
    Version {
        /// Version-min.
        min: u8,
        /// Version-max.
        max: u8,
    },
    /// More than the default MaxRecvDataSegmentLength in one PDU.
    #[error("sent more than 8192 bytes in one Login Request")]
    DataSegment,
    /// T and C set.
    #[error("set the T bit and the C bit in one Login Request")]
    TransitAndContinue,
    /// The request has data, or sets C, while the target still has text to send.
    #[error("sent text instead of letting the target finish its own")]
    OutOfTurn,
    /// CSG is not the stage that the login is in, or reserved.
    #[error("is in stage {csg}, where the login is not")]
    CurrentStage {
        /// CSG.
        csg: u8,
    },
    /// NSG does not follow CSG.
    #[error("wants to go from stage {csg} to stage {nsg}")]
    NextStage {
        /// CSG.
        csg: u8,
        /// NSG.
        nsg: u8,
    },
    /// ISID, TSIH or CID changed.
    #[error("changed ISID, TSIH or CID within its login")]
    Changed,
    /// The text is longer than `limits::MAX_TEXT_BYTES` or has more than `limits::MAX_TEXT_PAIRS` pairs, or the answer
    /// to it would be too long.
    #[error("sent too much text")]
    TooMuchText,
    /// The login takes more than `limits::MAX_TEXT_EXCHANGES` requests.
    #[error("did not come to an end with its login")]
    TooManyExchanges,
    /// Not key=value.
    #[error("sent text that is not key=value: {0}")]
    Text(TextError),
    /// A key is not allowed there, or its value is bad.
    #[error("{key}: {fault}")]
    Key {
        /// The key; empty if it is not one of RFC 7143.
        key: &'static str,
        /// What is wrong.
        fault: KeyFault,
    },
    /// InitiatorName is missing in the first request.
    #[error("did not say its InitiatorName")]
    NoInitiatorName,
    /// TargetName is missing in the first request of a normal session.
    #[error("did not say a TargetName")]
    NoTargetName,
    /// InitiatorName is not an iSCSI name.
    #[error("InitiatorName: {0}")]
    InitiatorName(NameError),
    /// SessionType is neither Normal nor Discovery.
    #[error("SessionType is neither Normal nor Discovery")]
    SessionType,
    /// A discovery session has one connection.
    #[error("wants a discovery session with more than one connection")]
    DiscoveryJoin,
    /// It may not have the target that it asked for.
    #[error("{0}")]
    NoTarget(NoTarget),
    /// It must authenticate itself and does not offer to.
    #[error("has to authenticate itself with CHAP and does not offer it")]
    AuthenticationRequired,
    /// It wants an authentication that is not configured for it.
    #[error("insists on authentication, and none is configured for it")]
    AuthenticationUnavailable,
    /// A key of an authentication method that is not the one agreed upon, or not at its step.
    #[error("sent {0} at the wrong step of the authentication")]
    AuthenticationStep(&'static str),
    /// The CHAP exchange failed.
    #[error("CHAP: {0}")]
    Chap(ChapFault),
    /// Asked for something after its login had ended.
    #[error("sent a Login Request after its login had ended")]
    Over,
}

impl LoginFault {
    /// Whether the initiator may have guessed at a secret.
    pub fn is_failed_proof(&self) -> bool {
        matches!(self, LoginFault::Chap(_))
    }

    /// What the initiator is told (RFC 7143 section 11.13.5). The one place where a reason becomes a status.
    pub fn status(&self) -> LoginStatus {
        match self {
            LoginFault::NotALogin => LoginStatus::INVALID_DURING_LOGIN,
            LoginFault::Version { .. } => LoginStatus::UNSUPPORTED_VERSION,
            LoginFault::NoInitiatorName | LoginFault::NoTargetName => LoginStatus::MISSING_PARAMETER,
            LoginFault::NoTarget(NoTarget::NotFound) => LoginStatus::NOT_FOUND,
            LoginFault::NoTarget(NoTarget::Forbidden | NoTarget::Unproved) => LoginStatus::AUTHORIZATION_FAILURE,
            LoginFault::NoTarget(NoTarget::Removed) => LoginStatus::TARGET_REMOVED,
            LoginFault::NoTarget(NoTarget::Moved { permanently: false, .. }) => LoginStatus::TARGET_MOVED_TEMPORARILY,
            LoginFault::NoTarget(NoTarget::Moved { permanently: true, .. }) => LoginStatus::TARGET_MOVED_PERMANENTLY,
            LoginFault::SessionType => LoginStatus::SESSION_TYPE_NOT_SUPPORTED,
            LoginFault::AuthenticationRequired | LoginFault::AuthenticationUnavailable => {
                LoginStatus::AUTHENTICATION_FAILURE
            }
            //= RFC 7143 section 6.3.2
            //# If the security negotiation fails at the target, then the target MUST
            //# send the appropriate Login Response PDU.
            LoginFault::Chap(fault) => fault.status(),
            LoginFault::TooMuchText | LoginFault::TooManyExchanges => LoginStatus::OUT_OF_RESOURCES,
            LoginFault::DataSegment
            | LoginFault::TransitAndContinue
            | LoginFault::OutOfTurn
            | LoginFault::CurrentStage { .. }
            | LoginFault::NextStage { .. }
            | LoginFault::Changed
            | LoginFault::Text(_)
            | LoginFault::Key { .. }
            | LoginFault::InitiatorName(_)
            | LoginFault::DiscoveryJoin
            | LoginFault::AuthenticationStep(_)
            | LoginFault::Over => LoginStatus::INITIATOR_ERROR,
        }
    }
}

impl LoginFault {
    /// The text of the Login reject. `answer` is what this turn would have been answered: it is dropped, but for
    /// AuthMethod=Reject.
    pub(super) fn text(&self, answer: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        match self {
            //= RFC 7143 section 11.13.5
            //# All of the redirection
            //# Status-Class responses MUST return one or more text key
            //# parameters of the type "TargetAddress", which indicates the
            //# target's new address.
            //
            //= RFC 7143 section 13.8
            //# If the TargetAddress is returned as the result of a redirect status
            //# in a Login Response, the comma and portal-group-tag MUST be omitted.
            LoginFault::NoTarget(NoTarget::Moved { to, .. }) => {
                TextWriter::new(&mut text).pair("TargetAddress", SocketAddr::new(to.ip(), to.port()));
            }
            //= RFC 7143 section 6.2.2
            //# Proposing a value not admissible (e.g., not within the specified
            //# bounds) MAY be answered with the constant "Reject"; otherwise, the
            //# acceptor MUST select an admissible value.
            LoginFault::Key { key, fault: KeyFault::Range | KeyFault::NoChoice }
                if keys::find(key).is_some_and(|spec| !spec.is_declared()) =>
            {
                TextWriter::new(&mut text).pair(key, word::REJECT);
            }
            LoginFault::AuthenticationRequired | LoginFault::AuthenticationUnavailable => {
                let rejected = |&(key, value): &(&str, &str)| key == "AuthMethod" && value == word::REJECT;
                if let Some((key, value)) = Pairs::new(answer).flatten().find(rejected) {
                    TextWriter::new(&mut text).pair(key, value);
                }
            }
            _ => {}
        }
        text
    }
}

impl From<TextError> for LoginFault {
    fn from(bad: TextError) -> Self {
        LoginFault::Text(bad)
    }
}

impl From<super::ltds::TooMuchText> for LoginFault {
    fn from(_: super::ltds::TooMuchText) -> Self {
        LoginFault::TooMuchText
    }
}
