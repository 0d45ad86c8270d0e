//! A login (RFC 7143 chapter 6): from the first Login Request of a connection to the full feature phase.
//!
//! [`Login::begin`] sends the first request, [`Login::response`] takes each response and sends the next request. There is no
//! clock: who wants an end to it closes the connection. What a target can make last is bounded: exchanges by
//! [`limits::MAX_TEXT_EXCHANGES`], text by [`limits::MAX_TEXT_BYTES`].

use super::chap::{Chap, ChapError};
use super::outbox::{Outbox, Outgoing, Payload};
use super::params::{KeyError, Offer, Params};
use crate::limits;
use crate::wire::text::{Pairs, TextError, TextWriter, answer};
use crate::wire::{BHS_LEN, Cid, CmdSn, Isid, Itt, LoginRequest, LoginResponse, LoginStatus, StatSn, Tsih, stage};

/// A request has at most this much text: what a target takes in a login (RFC 7143 section 13.12).
const REQUEST_TEXT_BYTES: usize = limits::MAX_CONTROL_DATA_BYTES;

/// Who logs in, and to what.
#[derive(Debug, Clone)]
pub struct Identity {
    /// InitiatorName.
    pub initiator: String,
    /// TargetName; `None`: a discovery session.
    pub target: Option<String>,
    /// The initiator's part of the session identifier.
    pub isid: Isid,
    /// The session that the connection joins; 0: a new one, which ends one of the same ISID (RFC 7143 section 6.3.5).
    pub tsih: Tsih,
    /// The connection. One of the session that has this CID already is ended (RFC 7143 section 6.3.4).
    pub cid: Cid,
    /// CmdSN of the session: of its next command.
    pub cmd_sn: CmdSn,
}

/// How the security stage is gone through.
#[derive(Debug, Clone, Default)]
pub enum Security {
    /// Not at all: the login begins with the operational stage.
    #[default]
    Skipped,
    /// AuthMethod=None.
    None,
    /// AuthMethod=CHAP.
    Chap(Chap),
}

/// What a login has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A request has been sent; a response is to come.
    Going,
    /// Full feature phase.
    Done(LoggedIn),
    /// The target is elsewhere (RFC 7143 section 11.13.5): the connection is to be closed, and the login begun there.
    Moved {
        /// TargetAddress, as it is sent: `domainname[:port][,portal-group-tag]`.
        address: String,
        /// For good.
        permanently: bool,
    },
}

/// A connection in full feature phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// Which.
    pub cid: Cid,
    /// The target's handle of the session.
    pub tsih: Tsih,
    /// What is agreed upon.
    pub params: Params,
    /// The next StatSN of the connection.
    pub exp_stat_sn: StatSn,
    /// ExpCmdSN of the target.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN of the target.
    pub max_cmd_sn: CmdSn,
    /// TargetPortalGroupTag, where the target said it.
    pub portal_group_tag: Option<u16>,
}

/// Why a login failed. The connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The target refuses (RFC 7143 section 11.13.5).
    #[error("the login is refused: {0}")]
    Refused(LoginStatus),
    /// CHAP.
    #[error(transparent)]
    Chap(#[from] ChapError),
    /// The target wants another authentication method, or none.
    #[error("the target does not agree on an authentication method")]
    AuthMethod,
    /// What it sends is no text.
    #[error(transparent)]
    Text(#[from] TextError),
    /// What it answers to a key is of no use.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It is moved, and does not say where to.
    #[error("the target has moved, and does not say where to")]
    NoAddress,
    /// It breaks a rule of the login; which.
    #[error("the target breaks a rule of the login: {0}")]
    Protocol(&'static str),
    /// More exchanges or more text than a login may take.
    #[error("the login comes to no end")]
    Endless,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Named,
    Algorithms,
    Proved,
}

/// A login that is under way.
#[derive(Debug)]
pub struct Login {
    identity: Identity,
    offer: Offer,
    security: Security,
    proof: Proof,
    csg: u8,
    has_offered: bool,
    exp_stat_sn: StatSn,
    exchanges: u32,
    /// Text of this turn, and how much of it has been sent.
    text: Vec<u8>,
    sent: usize,
    answer: Vec<u8>,
    params: Params,
    portal_group_tag: Option<u16>,
}

impl Login {
    /// A login that has sent nothing yet.
    pub fn new(identity: Identity, offer: Offer, security: Security) -> Login {
        let csg = match security {
            Security::Skipped => stage::LOGIN_OPERATIONAL_NEGOTIATION,
            _ => stage::SECURITY_NEGOTIATION,
        };
        Login {
            identity,
            offer,
            security,
            proof: Proof::Named,
            csg,
            has_offered: false,
            exp_stat_sn: StatSn(0),
            exchanges: 0,
            text: Vec::new(),
            sent: 0,
            answer: Vec::new(),
            params: Params::default(),
            portal_group_tag: None,
        }
    }

    /// Sends the first request.
    pub fn begin(&mut self, out: &mut impl Outbox) {
        //= RFC 7143 section 4.2.7.1
        //# The initiator MUST present both its iSCSI Initiator Name and the iSCSI
        //# Target Name to which it wishes to connect in the first Login Request of
        //# a new session or connection.
        let mut writer = TextWriter::new(&mut self.text);
        writer.pair("InitiatorName", &self.identity.initiator);
        match &self.identity.target {
            Some(target) => {
                writer.pair("TargetName", target);
                writer.pair("SessionType", "Normal");
            }
            None => writer.pair("SessionType", "Discovery"),
        }
        match self.security {
            Security::Skipped => {}
            Security::None => writer.pair("AuthMethod", "None"),
            Security::Chap(_) => writer.pair("AuthMethod", "CHAP"),
        }
        self.offer_if_due();
        self.send(out);
    }

    fn offer_if_due(&mut self) {
        if self.csg == stage::LOGIN_OPERATIONAL_NEGOTIATION && !self.has_offered {
            self.has_offered = true;
            self.offer.write(&mut self.text);
        }
    }

    /// Whether this side is ready for the next stage.
    fn is_ready(&self) -> bool {
        !matches!(self.security, Security::Chap(_))
            || self.csg == stage::LOGIN_OPERATIONAL_NEGOTIATION
            || self.proof == Proof::Proved
    }

    /// Sends what fits a request of the text that is to be sent.
    fn send(&mut self, out: &mut impl Outbox) {
        let rest = self.text.get(self.sent..).unwrap_or_default();
        let (now, later) = rest.split_at(rest.len().min(REQUEST_TEXT_BYTES));
        self.sent += now.len();
        //= RFC 7143 section 11.12.2
        //# A Login Request with the C bit set to 1 MUST have the T bit set to 0.
        let cont = !later.is_empty();
        self.emit(!cont && self.is_ready(), cont, now, out);
    }

    fn emit(&self, transit: bool, cont: bool, text: &[u8], out: &mut impl Outbox) {
        let next = match self.csg {
            stage::SECURITY_NEGOTIATION => stage::LOGIN_OPERATIONAL_NEGOTIATION,
            _ => stage::FULL_FEATURE_PHASE,
        };
        let mut bhs = [0; BHS_LEN];
        //= RFC 7143 section 11.12.6
        //# All Login Requests within a Login Phase MUST carry the same TSIH.
        //= RFC 7143 section 11.12.7
        //# All Login Requests within the Login Phase MUST carry the same CID.
        LoginRequest {
            transit,
            cont,
            csg: self.csg,
            nsg: if transit { next } else { 0 },
            version_max: 0,
            version_min: 0,
            data_segment_len: 0,
            isid: self.identity.isid,
            tsih: self.identity.tsih,
            itt: Itt(0),
            cid: self.identity.cid,
            cmd_sn: self.identity.cmd_sn,
            exp_stat_sn: self.exp_stat_sn,
        }
        .emit(&mut bhs);
        out.pdu(&Outgoing::new(self.identity.cid, bhs, &[], Payload::Bytes(text)));
    }

    /// Takes a response and its text, and sends the next request unless that was the last one.
    ///
    /// # Errors
    /// A [`LoginError`]: the login has failed.
    pub fn response(
        &mut self,
        response: &LoginResponse,
        text: &[u8],
        out: &mut impl Outbox,
    ) -> Result<Step, LoginError> {
        self.exchanges += 1;
        if self.exchanges > limits::MAX_TEXT_EXCHANGES || self.answer.len() + text.len() > limits::MAX_TEXT_BYTES {
            return Err(LoginError::Endless);
        }
        self.exp_stat_sn = response.stat_sn.next();
        self.answer.extend_from_slice(text);
        match response.status.class {
            0 => {}
            1 => return self.moved(response.status),
            _ => return Err(LoginError::Refused(response.status)),
        }
        if self.sent < self.text.len() {
            if !text.is_empty() || response.transit {
                return Err(LoginError::Protocol("it answers before it has heard everything"));
            }
            self.send(out);
            return Ok(Step::Going);
        }
        //= RFC 7143 section 6.2
        //# An initiator receiving a Text or Login Response with the C bit set to 1
        //# MUST answer with a Text or Login Request with no data segment
        //# (DataSegmentLength 0).
        if response.cont {
            self.emit(false, false, &[], out);
            return Ok(Step::Going);
        }
        self.turn(response, out)
    }

    fn moved(&self, status: LoginStatus) -> Result<Step, LoginError> {
        let address = value(&self.answer, "TargetAddress").ok_or(LoginError::NoAddress)?;
        Ok(Step::Moved { address: address.to_owned(), permanently: status == LoginStatus::TARGET_MOVED_PERMANENTLY })
    }

    /// A whole answer of the target is there.
    fn turn(&mut self, response: &LoginResponse, out: &mut impl Outbox) -> Result<Step, LoginError> {
        let answer = std::mem::take(&mut self.answer);
        self.text.clear();
        self.sent = 0;
        for pair in Pairs::new(&answer) {
            let (key, value) = pair?;
            self.key(key, value)?;
        }
        if self.csg == stage::SECURITY_NEGOTIATION {
            self.prove(&answer, response.transit)?;
        }
        if response.transit {
            if !self.is_ready() || response.nsg <= self.csg {
                return Err(LoginError::Protocol("it goes to a stage that was not proposed"));
            }
            self.csg = response.nsg;
        }
        if self.csg == stage::FULL_FEATURE_PHASE {
            return self.done(response);
        }
        self.offer_if_due();
        self.send(out);
        Ok(Step::Going)
    }

    fn key(&mut self, key: &str, value: &str) -> Result<(), LoginError> {
        match key {
            "TargetPortalGroupTag" => self.portal_group_tag = value.parse().ok(),
            "AuthMethod" => {
                let wanted = match self.security {
                    Security::Chap(_) => "CHAP",
                    _ => "None",
                };
                if value != wanted {
                    return Err(LoginError::AuthMethod);
                }
            }
            "TargetAlias" | "TargetAddress" | "TaskReporting" => {}
            key if key.starts_with("CHAP_") => {}
            key => {
                //= RFC 7143 section 6.2
                //# Any key not understood by the acceptor may be ignored by the
                //# acceptor without affecting the basic function.  However, the answer
                //# for a key that is not understood MUST be key=NotUnderstood.
                let is_answer = [answer::NOT_UNDERSTOOD, answer::IRRELEVANT, answer::REJECT].contains(&value);
                if !self.params.settle(key, value)? && !is_answer {
                    TextWriter::new(&mut self.text).pair(key, answer::NOT_UNDERSTOOD);
                }
            }
        }
        Ok(())
    }

    fn prove(&mut self, answer: &[u8], is_over: bool) -> Result<(), LoginError> {
        let Security::Chap(chap) = &self.security else { return Ok(()) };
        let value = |key: &str| value(answer, key);
        match self.proof {
            Proof::Named => {
                value("AuthMethod").ok_or(LoginError::AuthMethod)?;
                Chap::algorithms(&mut self.text);
                self.proof = Proof::Algorithms;
            }
            Proof::Algorithms => {
                chap.prove(value, &mut self.text)?;
                self.proof = Proof::Proved;
            }
            Proof::Proved if is_over => chap.verify(value)?,
            Proof::Proved => {}
        }
        Ok(())
    }

    fn done(&mut self, response: &LoginResponse) -> Result<Step, LoginError> {
        //= RFC 7143 section 11.12.6
        //# Otherwise, the TSIH sent by the target at the
        //# conclusion of the successful login of the first connection for this
        //# session MUST be used.
        let joins = self.identity.tsih != Tsih(0);
        if response.tsih == Tsih(0) || joins && response.tsih != self.identity.tsih {
            return Err(LoginError::Protocol("it gives no handle for the session, or another one"));
        }
        Ok(Step::Done(LoggedIn {
            cid: self.identity.cid,
            tsih: response.tsih,
            params: self.params,
            exp_stat_sn: self.exp_stat_sn,
            exp_cmd_sn: response.exp_cmd_sn,
            max_cmd_sn: response.max_cmd_sn,
            portal_group_tag: self.portal_group_tag,
        }))
    }
}

/// What `text` says of a key.
fn value<'t>(text: &'t [u8], key: &str) -> Option<&'t str> {
    Pairs::new(text).filter_map(Result::ok).find(|(other, _)| *other == key).map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
