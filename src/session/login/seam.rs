//! What a login asks of its surroundings, and what it comes to.

use super::fault::LoginFault;
use super::negotiate::Offer;
use crate::model::InitiatorPort;
use crate::session::directory::{Directory, TargetRef};
use crate::session::params::{Params, SessionKind};
use crate::wire::{Cid, CmdSn, Isid, LoginResponse, LoginStatus, StatSn, Tsih};
use std::net::SocketAddr;
use std::sync::Arc;

/// What a login asks of its surroundings.
pub struct LoginEnv<'a> {
    /// Who may have which target.
    pub directory: &'a dyn Directory,
    /// The local address that the peer is connected to.
    pub portal: SocketAddr,
    /// The peer's address.
    pub peer: SocketAddr,
    /// Fills a buffer with random bytes that nobody can guess.
    pub random: &'a mut dyn FnMut(&mut [u8]),
    /// What is offered in operational negotiation.
    pub offer: &'a Offer,
}

/// A Login Response to be sent, its data segment in `text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginAnswer {
    /// The header; its DataSegmentLength is set.
    pub response: LoginResponse,
    /// The data segment, without padding: at most 8192 bytes.
    pub text: Vec<u8>,
}

/// What a Login Request leads to.
#[derive(Debug)]
pub enum Step {
    /// Send this and wait for the next Login Request.
    Answer(LoginAnswer),
    /// Send this and close the connection.
    Refuse {
        /// The Login Response with a status that is not success.
        answer: LoginAnswer,
        /// For the operator.
        reason: LoginFault,
    },
    /// The login is complete: place the connection, then send its final answer.
    Done(Box<LoginDone>),
}

/// A completed login.
#[derive(Debug, Clone)]
pub struct LoginDone {
    /// What the session is for.
    pub kind: SessionKind,
    /// Who logged in.
    pub initiator: InitiatorPort,
    /// InitiatorAlias, for display only.
    pub initiator_alias: Option<String>,
    /// The target; `None` in an unnamed discovery session.
    pub target: Option<TargetRef>,
    /// Tag of the portal group that the login came in through.
    pub portal_group: u16,
    /// As requested: 0 for a new session (or the reinstatement of one), else the session to join.
    pub tsih: Tsih,
    /// The connection.
    pub cid: Cid,
    /// What was negotiated. For a connection that joins: see [`Params::joined_to`].
    pub params: Params,
    /// CHAP_N that was proved; `None` without authentication. All connections of a session should have the same
    /// (RFC 7143 section 9.2).
    pub identity: Option<Arc<str>>,
    /// The final response. Whoever places the connection fills in TSIH, and ExpCmdSN and MaxCmdSN of a session that
    /// is joined.
    pub answer: LoginAnswer,
    /// StatSN of the next response on the connection.
    pub next_stat_sn: StatSn,
    /// CmdSN of the login: for a new session its first ExpCmdSN.
    pub cmd_sn: CmdSn,
}

impl LoginDone {
    /// The answer when the connection cannot be placed; the connection is then to be closed.
    #[must_use]
    pub fn refuse(self, status: LoginStatus) -> LoginAnswer {
        let response = LoginResponse { tsih: self.tsih, ..self.answer.response };
        refusal(response, status, Vec::new())
    }
}

/// Turns a response into a Login reject.
pub(super) fn refusal(response: LoginResponse, status: LoginStatus, text: Vec<u8>) -> LoginAnswer {
    //= RFC 7143 section 6.3.1
    //# The T bit, the CSG field,
    //# and the NSG field are reserved.
    let response = LoginResponse {
        transit: false,
        cont: false,
        csg: 0,
        nsg: 0,
        status,
        data_segment_len: text.len() as u32,
        ..response
    };
    LoginAnswer { response, text }
}

/// What the first Login Request fixed for all of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct First {
    pub(super) isid: Isid,
    pub(super) tsih: Tsih,
    pub(super) cid: Cid,
    pub(super) cmd_sn: CmdSn,
}
