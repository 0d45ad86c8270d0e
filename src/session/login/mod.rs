//! The login phase of one connection (RFC 7143 sections 6.3 and 11.12, 11.13), sans-I/O.
//!
//! [`Login::request`] takes one Login Request and says what to do: send [`Step::Answer`] and wait for the next request,
//! send the answer of [`Step::Refuse`] and close, or place the connection of [`Step::Done`] in a session. A
//! [`Directory`](crate::session::directory::Directory) says which targets there are and what they ask for. Nothing here
//! knows other sessions: whoever places the connection checks whether its TSIH exists, and can still refuse the login
//! ([`LoginDone::refuse`]).
//!
//! Parts: [`keys`] (the table of keys), [`negotiate`] (operational stage), [`security`] and [`chap`] (security stage),
//! [`ltds`] (text over several PDUs), [`fault`] (why a login is refused).
//!
//! Invariants: text, exchanges and time are bounded by `limits`; after a refusal or the final answer every request is
//! refused; full feature phase is never reached before the directory's policy is satisfied.

use crate::limits;
use crate::wire::stage::{FULL_FEATURE_PHASE, LOGIN_OPERATIONAL_NEGOTIATION, SECURITY_NEGOTIATION};
use crate::wire::{Cid, CmdSn, Isid, LoginRequest, LoginResponse, LoginStatus, StatSn, Tsih};

pub mod chap;
pub mod fault;
#[cfg(test)]
mod golden;
mod identity;
pub mod keys;
mod known;
pub mod ltds;
pub mod negotiate;
mod offer;
mod seam;
pub mod security;
#[cfg(test)]
mod tests;

pub use fault::LoginFault;
pub use seam::{LoginAnswer, LoginDone, LoginEnv, Step};

use known::Known;
use ltds::{Inbound, Outbound};
use negotiate::NegotiationFault;
use seam::{First, refusal};

/// The version of iSCSI that this is (RFC 7143 section 11.12.4).
const VERSION: u8 = 0;
/// StatSN of the first response of a connection.
const FIRST_STAT_SN: StatSn = StatSn(1);

/// The login of one connection.
#[derive(Debug)]
pub struct Login {
    started_ms: u64,
    first: Option<First>,
    known: Option<Known>,
    /// The stage that the login is in.
    stage: u8,
    inbound: Inbound,
    outbound: Outbound,
    /// The target has nothing more to negotiate in this stage.
    ready: bool,
    exchanges: u32,
    stat_sn: StatSn,
    /// Refused or done.
    over: bool,
}

impl Login {
    /// The login of a connection that was accepted at `now_ms`, milliseconds.
    pub fn new(now_ms: u64) -> Self {
        Self {
            started_ms: now_ms,
            first: None,
            known: None,
            stage: SECURITY_NEGOTIATION,
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            ready: false,
            exchanges: 0,
            stat_sn: FIRST_STAT_SN,
            over: false,
        }
    }

    /// When the login must be complete, in the clock of `new`, milliseconds.
    pub fn deadline_ms(&self) -> u64 {
        self.started_ms.saturating_add(limits::LOGIN_TIMEOUT_MS)
    }

    /// InitiatorName, as soon as it is known. For logs.
    pub fn peer_named(&self) -> Option<&str> {
        self.known.as_ref().map(|known| known.identity.initiator.as_str())
    }

    /// Takes one Login Request with its data segment.
    pub fn request(&mut self, request: &LoginRequest, data: &[u8], env: &mut LoginEnv<'_>) -> Step {
        let mut answer = Vec::new();
        //= RFC 7143 section 6.3
        //# There MUST NOT be more than one outstanding Login Request or Login
        //# Response on an iSCSI connection.
        //
        // Each request is answered once, and nothing is said unasked.
        match self.advance(request, data, env, &mut answer) {
            Ok(step) => step,
            Err(reason) => {
                //= RFC 7143 section 7.12
                //# a) During login, any failure in negotiation MUST be considered a login
                //# process failure; the Login Phase, along with the connection, MUST be
                //# terminated.
                self.over = true;
                let text = reason.text(&answer);
                let response = self.header(request, LoginStatus::SUCCESS);
                Step::Refuse { answer: refusal(response, reason.status(), text), reason }
            }
        }
    }

    /// Whether the initiator was challenged, so that its next text has to prove who it is. If this is true before a
    /// request and false after it, that request's proof was judged.
    pub fn awaits_proof(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.security.awaits_proof())
    }

    /// Whether the login phase has begun: a Login Request has come.
    pub fn has_begun(&self) -> bool {
        self.first.is_some()
    }

    /// The answer to a PDU that is no Login Request; the connection is then to be closed.
    pub fn not_a_login(&mut self, bhs: &crate::wire::Bhs) -> Step {
        //= RFC 7143 section 11.13.5
        //# If the Status-Class is not 0, the initiator and target MUST close the
        //# TCP connection.
        self.over = true;
        let reason = LoginFault::NotALogin;
        let first = self.first.unwrap_or(First { isid: Isid([0; 6]), tsih: Tsih(0), cid: Cid(0), cmd_sn: CmdSn(0) });
        let response = LoginResponse {
            transit: false,
            cont: false,
            csg: 0,
            nsg: 0,
            version_max: VERSION,
            version_active: VERSION,
            data_segment_len: 0,
            isid: first.isid,
            tsih: first.tsih,
            itt: crate::wire::bhs::itt(bhs),
            stat_sn: self.stat_sn,
            exp_cmd_sn: first.cmd_sn,
            max_cmd_sn: first.cmd_sn,
            status: LoginStatus::SUCCESS,
        };
        Step::Refuse { answer: refusal(response, reason.status(), Vec::new()), reason }
    }

    fn advance(
        &mut self,
        request: &LoginRequest,
        data: &[u8],
        env: &mut LoginEnv<'_>,
        answer: &mut Vec<u8>,
    ) -> Result<Step, LoginFault> {
        self.check(request, data)?;
        if self.outbound.is_pending() {
            //= RFC 7143 section 6.2
            //# An initiator receiving a Text or Login
            //# Response with the C bit set to 1 MUST answer with a Text or Login
            //# Request with no data segment (DataSegmentLength 0).
            if request.cont || !data.is_empty() {
                return Err(LoginFault::OutOfTurn);
            }
            return Ok(self.reply(request));
        }
        self.inbound.push(data)?;
        if request.cont {
            //= RFC 7143 section 6.2
            //# A target receiving a Text or Login Request with the C bit set to 1
            //# MUST answer with a Text or Login Response with no data segment
            //# (DataSegmentLength 0).
            self.ready = false;
            return Ok(self.reply(request));
        }
        let text = self.inbound.take();
        self.turn(&text, request, env, answer)?;
        // Many short keys that are not understood would make an answer five times as long, before anybody is known.
        if answer.len() > limits::MAX_TEXT_BYTES {
            return Err(LoginFault::TooMuchText);
        }
        self.outbound.start(std::mem::take(answer))?;
        Ok(self.reply(request))
    }

    /// Checks everything about a request but its text.
    fn check(&mut self, request: &LoginRequest, data: &[u8]) -> Result<(), LoginFault> {
        if self.over {
            return Err(LoginFault::Over);
        }
        //= RFC 7143 section 6.3
        //# The default MaxRecvDataSegmentLength is used during login.
        if data.len() > limits::MAX_CONTROL_DATA_BYTES {
            return Err(LoginFault::DataSegment);
        }
        //= RFC 7143 section 6.2
        //# An iSCSI initiator or target MAY terminate a negotiation that does not
        //# terminate within an implementation-specific reasonable time or number of
        //# exchanges but SHOULD allow at least six (6) exchanges.
        //= RFC 7143 section 10.3
        //# Those limits SHOULD be generous enough to avoid affecting
        //# interoperability (e.g., allowing each key to be negotiated on a separate
        //# exchange).
        self.exchanges += 1;
        if self.exchanges > limits::MAX_TEXT_EXCHANGES {
            return Err(LoginFault::TooManyExchanges);
        }
        //= RFC 7143 section 6.2
        //# As negotiation text may span PDU
        //# boundaries, a Text or Login Request or a Text or Login Response PDU
        //# that has the C bit set to 1 MUST NOT have the F bit or T bit set
        //# to 1.
        if request.transit && request.cont {
            return Err(LoginFault::TransitAndContinue);
        }
        match self.first {
            None => self.check_first(request)?,
            Some(first) => {
                //= RFC 7143 section 11.12.6
                //# All Login Requests within a Login Phase MUST carry the same TSIH.
                //
                //= RFC 7143 section 11.12.7
                //# All Login Requests within the Login Phase MUST carry the same CID.
                if (request.isid, request.tsih, request.cid) != (first.isid, first.tsih, first.cid) {
                    return Err(LoginFault::Changed);
                }
            }
        }
        if request.csg != self.stage {
            return Err(LoginFault::CurrentStage { csg: request.csg });
        }
        //= RFC 7143 section 11.12.3
        //# The Next
        //# Stage value is only valid when the T bit is 1; otherwise, it is
        //# reserved.
        //= RFC 7143 section 6.3
        //# If both stages are used, the SecurityNegotiation MUST precede the
        //# LoginOperationalNegotiation.
        let onward = request.nsg > request.csg && request.nsg != 2;
        if request.transit && !onward {
            return Err(LoginFault::NextStage { csg: request.csg, nsg: request.nsg });
        }
        Ok(())
    }

    fn check_first(&mut self, request: &LoginRequest) -> Result<(), LoginFault> {
        //= RFC 7143 section 11.12.4.1
        //# The target MUST use the value presented with the first Login Request.
        //= RFC 7143 section 11.12.4.2
        //# The target MUST use the value presented with the first Login Request.
        if request.version_min > VERSION {
            return Err(LoginFault::Version { min: request.version_min, max: request.version_max });
        }
        //= RFC 7143 section 6.3
        //# The Login Phase MAY include a SecurityNegotiation stage and a
        //# LoginOperationalNegotiation stage and MUST include at least one of them,
        //# but the included stage MAY be empty except for the mandatory names.
        if !matches!(request.csg, SECURITY_NEGOTIATION | LOGIN_OPERATIONAL_NEGOTIATION) {
            return Err(LoginFault::CurrentStage { csg: request.csg });
        }
        self.stage = request.csg;
        //= RFC 7143 section 11.12.7
        //# The target MUST use the value presented with the first Login Request.
        self.first = Some(First { isid: request.isid, tsih: request.tsih, cid: request.cid, cmd_sn: request.cmd_sn });
        Ok(())
    }

    /// Takes the complete text of one turn.
    fn turn(
        &mut self,
        text: &[u8],
        request: &LoginRequest,
        env: &mut LoginEnv<'_>,
        answer: &mut Vec<u8>,
    ) -> Result<(), LoginFault> {
        if let Some(known) = &mut self.known {
            known.identity.later(text, self.stage)?;
        }
        let known = match &mut self.known {
            Some(known) => known,
            none => none.insert(Known::introduce(text, request, self.stage, env, answer)?),
        };
        self.ready = if self.stage == SECURITY_NEGOTIATION {
            known.security.turn(text, request.transit, env.random, answer)?;
            known.security.is_satisfied()
        } else {
            //= RFC 7143 section 11.13.6
            //# A Login Response with the T bit set to 1 MUST NOT contain key=value
            //# pairs that may require additional answers from the initiator within the
            //# same stage.
            known.negotiation.turn(text, env.offer, answer)?;
            known.negotiation.declare(env.offer, answer);
            request.transit && known.negotiation.conclude(answer)?
        };
        known.check_target()
    }

    /// The response to a request that was in order, with the next part of our text.
    fn reply(&mut self, request: &LoginRequest) -> Step {
        let text = self.outbound.part(limits::MAX_CONTROL_DATA_BYTES).to_vec();
        let mut response = self.header(request, LoginStatus::SUCCESS);
        response.data_segment_len = text.len() as u32;
        //= RFC 7143 section 11.13.7
        //# A Login Response with
        //# the C bit set to 1 MUST have the T bit set to 0.
        response.cont = self.outbound.is_pending();
        //= RFC 7143 section 11.13.6
        //# If the Status-Class is 0, the T bit MUST NOT be set to 1 if the T bit
        //# in the request was set to 0.
        //= RFC 7143 section 6.3
        //# Targets MUST NOT submit parameters that require an additional initiator
        //# Login Request in a Login Response with the T bit set to 1.
        response.transit = request.transit && self.ready && !response.cont;
        response.csg = self.stage;
        self.stat_sn = self.stat_sn.next();
        if response.transit {
            //= RFC 7143 section 6.3
            //# The selected NSG MUST NOT exceed the
            //# value stated by the initiator.
            response.nsg = request.nsg;
            self.stage = request.nsg;
            self.ready = false;
        }
        //= RFC 7143 section 6.3
        //# The Login Final-Response that accepts a Login Request can only come as a
        //# response to a Login Request with the T bit set to 1, and both the
        //# request and response MUST indicate FullFeaturePhase as the next phase
        //# via the NSG field.
        let answer = LoginAnswer { response, text };
        match (&self.known, self.first) {
            (Some(known), Some(first)) if self.stage == FULL_FEATURE_PHASE => {
                self.over = true;
                Step::Done(Box::new(known.done(first, answer, self.stat_sn)))
            }
            _ => Step::Answer(answer),
        }
    }

    /// A response header without flags and text.
    fn header(&self, request: &LoginRequest, status: LoginStatus) -> LoginResponse {
        //= RFC 7143 section 11.12.8
        //# If the Login Request is a leading Login Request, the target MUST use the
        //# value presented in the CmdSN as the target value for the ExpCmdSN.
        let cmd_sn = self.first.map_or(request.cmd_sn, |first| first.cmd_sn);
        //= RFC 7143 section 4.2.2.1
        //# If the PDU MaxCmdSN is less than the PDU ExpCmdSN - 1 (in a
        //# Serial Number Arithmetic sense), they are both ignored.
        //
        // A connection that joins a session is to ignore both, for while it logs in that session is not known here.
        let window = if request.tsih == Tsih(0) { limits::COMMAND_WINDOW.wrapping_sub(1) } else { u32::MAX - 1 };
        LoginResponse {
            transit: false,
            cont: false,
            csg: 0,
            nsg: 0,
            //= RFC 7143 section 11.13.1
            //# All Login Responses within the Login Phase MUST carry the same
            //# Version-max.
            //= RFC 7143 section 11.13.2
            //# All Login Responses within the Login Phase MUST carry the same
            //# Version-active.
            version_max: VERSION,
            version_active: VERSION,
            data_segment_len: 0,
            isid: request.isid,
            tsih: request.tsih,
            itt: request.itt,
            stat_sn: self.stat_sn,
            exp_cmd_sn: cmd_sn,
            max_cmd_sn: cmd_sn.add(window),
            status,
        }
    }
}

impl From<NegotiationFault> for LoginFault {
    fn from(fault: NegotiationFault) -> Self {
        match fault {
            NegotiationFault::Text(bad) => LoginFault::Text(bad),
            NegotiationFault::Key(key, fault) => LoginFault::Key { key, fault },
        }
    }
}
