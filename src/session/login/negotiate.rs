//! Operational negotiation: settles the keys of [`keys::TABLE`] against what we offer.
//!
//! [`Negotiation`] is one negotiation (a login's operational stage, or a Text sequence): values settled so far, and which
//! keys were seen. [`Offer`] is what this target wants. Nothing takes effect before whoever holds the negotiation takes
//! its `params`.
//!
//! Any-Stage keys (names, SessionType, aliases) are the login's; authentication is `security`'s.

use super::keys::{self, Key, KeyFault, KeySet, KeySpec, Rule, Senders, Usage};
use super::offer::CRC32C;
pub use super::offer::{Digests, Offer};
use crate::limits;
use crate::session::params::{Params, SessionKind, TaskReporting};
use crate::wire::text::{LoginValue, Pairs, TextError, TextWriter, answer as word};

#[cfg(test)]
mod tests;

/// What went wrong in a negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NegotiationFault {
    /// Not key=value.
    Text(TextError),
    /// A key or its value; the name is empty if the key is not one of RFC 7143.
    Key(&'static str, KeyFault),
}

impl From<TextError> for NegotiationFault {
    fn from(bad: TextError) -> Self {
        NegotiationFault::Text(bad)
    }
}

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The operational stage of the leading connection's login.
    LeadingLogin,
    /// The operational stage of a login that joins or reinstates a connection.
    JoiningLogin,
    /// Full feature phase.
    FullFeature,
}

/// One negotiation.
#[derive(Debug, Clone)]
pub struct Negotiation {
    /// The values settled so far.
    pub params: Params,
    phase: Phase,
    kind: SessionKind,
    seen: KeySet,
    /// FirstBurstLength as we proposed it, waiting for its answer.
    proposed_first_burst: bool,
    declared: bool,
}

impl Negotiation {
    /// One that begins at `params`.
    pub fn new(params: Params, phase: Phase, kind: SessionKind) -> Self {
        Self { params, phase, kind, seen: KeySet::default(), proposed_first_burst: false, declared: false }
    }

    /// Settles the keys of one turn and appends the answers. Any-Stage keys are passed over.
    ///
    /// # Errors
    /// The first rule that the initiator broke. The negotiation has failed.
    pub fn turn(&mut self, text: &[u8], offer: &Offer, answer: &mut Vec<u8>) -> Result<(), NegotiationFault> {
        //= RFC 7143 section 6.2
        //# Whenever parameter actions or acceptance are dependent on other
        //# parameters, the dependency rules and parameter sequence must be
        //# specified with the parameters.
        for dependent in [false, true] {
            for pair in Pairs::new(text) {
                let (name, value) = pair?;
                match keys::find(name) {
                    //= RFC 7143 section 6.2
                    //# If used as specified, these keys MUST NOT be answered with
                    //# NotUnderstood.
                    None if !dependent => not_understood(name, value, answer)?,
                    Some(spec) if dependent == depends_on_others(spec.key) && !self.is_elsewhere(spec) => self
                        .settle(spec, value, offer, answer)
                        .map_err(|fault| NegotiationFault::Key(spec.name, fault))?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Whether the key is for another part to judge. In a login Any-Stage keys are for `identity`; in full feature
    /// phase there is nobody else, so all keys are judged here.
    fn is_elsewhere(&self, spec: &KeySpec) -> bool {
        spec.any_stage && spec.usage != Usage::Security && self.phase != Phase::FullFeature
    }

    /// Settles one key.
    fn settle(&mut self, spec: &KeySpec, value: &str, offer: &Offer, answer: &mut Vec<u8>) -> Result<(), KeyFault> {
        if spec.key == Key::AuthMethod && !offer.strict && self.phase != Phase::FullFeature {
            return self.late_auth_method();
        }
        self.check_place(spec)?;
        if spec.senders == Senders::Target {
            // An initiator that answers one of our declarations so has not read RFC 7143; it does no harm.
            return if keys::may_answer_declaration(value) { Ok(()) } else { Err(KeyFault::Sender) };
        }
        if spec.key == Key::FirstBurstLength && std::mem::take(&mut self.proposed_first_burst) {
            return self.answered_first_burst(value);
        }
        //= RFC 7143 section 6.3
        //# An attempt to
        //# renegotiate/redeclare parameters not specifically allowed MUST be
        //# detected by the initiator and target.
        //= RFC 7143 section 6.3
        //# If such an attempt is detected by the target, the target MUST respond
        //# with a Login reject (initiator error); if detected by the initiator, the
        //# initiator MUST drop the connection.
        //= RFC 7143 section 13.26.1
        //# X#NodeArchitecture MUST NOT be redeclared during the Login Phase.
        if !self.seen.insert(spec.key) {
            return Err(KeyFault::Twice);
        }
        //= RFC 7143 section 6.2
        //# The constants "None", "Reject", "Irrelevant", and "NotUnderstood" are
        //# reserved and MUST ONLY be used as described here.
        if keys::is_answer_word(value) {
            return Err(KeyFault::ReservedWord);
        }
        //= RFC 7143 section 6.2
        //# If a specific key is not relevant for the current negotiation, the
        //# acceptor may answer with the constant "Irrelevant" for all types of
        //# negotiations.
        if !spec.is_declared() && self.is_irrelevant(spec, offer.strict) {
            TextWriter::new(answer).pair(spec.name, word::IRRELEVANT);
            return Ok(());
        }
        match spec.rule {
            //= RFC 7143 section 13.26.2
            //# Functional behavior of the iSCSI node (this includes the iSCSI protocol
            //# logic -- the SCSI, iSCSI, and TCP/IP protocols) MUST NOT depend on the
            //# presence, absence, or content of the X#NodeArchitecture key.
            //= RFC 7143 section 13.26.2
            //# The key MUST NOT be used by iSCSI nodes for interoperability or for
            //# exclusion of other nodes.
            Rule::Text => check_text(value),
            Rule::Number(min, max) => self.declare_number(spec.key, in_range(value, min, max)?),
            Rule::List => {
                self.choose(spec.key, value, offer).map(|chosen| TextWriter::new(answer).pair(spec.name, chosen))
            }
            Rule::And | Rule::Or => {
                //= RFC 7143 section 6.2.2
                //# For Boolean negotiations (i.e., keys taking the values "Yes" or "No"),
                //# the accepting party MUST answer with the same key and the result of the
                //# negotiation when the received value does not determine that result by
                //# itself.
                //
                //= RFC 7143 section 6.2.2
                //# Responses are REQUIRED in all other cases, and the value chosen and sent
                //# by the acceptor becomes the outcome of the negotiation.
                let theirs = LoginValue(value).boolean()?;
                let result = self.settle_boolean(spec.key, theirs, offer);
                TextWriter::new(answer).pair(spec.name, if result { "Yes" } else { "No" });
                Ok(())
            }
            Rule::Minimum(min, max) | Rule::Maximum(min, max) => {
                //= RFC 7143 section 6.2.2
                //# For simple-value negotiations, the accepting party MUST answer with the
                //# same key.
                let theirs = in_range(value, min, max)?;
                let result = self.settle_number(spec.key, theirs, offer);
                TextWriter::new(answer).pair(spec.name, result);
                Ok(())
            }
            Rule::Obsolete => {
                TextWriter::new(answer).pair(spec.name, obsolete(spec.key, value));
                Ok(())
            }
            Rule::Own => Err(KeyFault::Stage),
        }
    }

    /// Whether the key may stand in this phase at all.
    fn check_place(&self, spec: &KeySpec) -> Result<(), KeyFault> {
        //= RFC 7143 section 6.3
        //# Sending a key that is not allowed in the current stage is considered
        //# a protocol error.
        match (self.phase, spec.usage) {
            //= RFC 7143 section 6.3
            //# Authentication-related security keys (Section 12) MUST be completely
            //# negotiated within the Login Phase.
            (_, Usage::Security) => Err(KeyFault::Stage),
            (_, Usage::All) => Ok(()),
            (Phase::FullFeature, Usage::LeadingOnly | Usage::InitializeOnly) => Err(KeyFault::Stage),
            (Phase::LeadingLogin | Phase::JoiningLogin, Usage::FullFeatureOnly) => Err(KeyFault::Stage),
            _ => Ok(()),
        }
    }

    /// Accepts AuthMethod in the operational stage, where some initiators that skip the security stage say that they
    /// want no authentication. Whether they need any was settled when they came, so this changes nothing and is not
    /// answered.
    fn late_auth_method(&mut self) -> Result<(), KeyFault> {
        if self.seen.insert(Key::AuthMethod) { Ok(()) } else { Err(KeyFault::Twice) }
    }

    /// Whether a key is answered with the constant Irrelevant. RFC 7143 section 6.2 says that it "may" be. Some
    /// initiators read each answer as a number, so unless `strict` only keys that another connection has settled are
    /// answered so.
    fn is_irrelevant(&self, spec: &KeySpec, strict: bool) -> bool {
        let discovery = self.kind == SessionKind::Discovery && spec.irrelevant_in_discovery;
        // What the leading connection settled cannot be changed by another one; saying so is kinder than refusing an
        // initiator that sends the same text on every connection.
        let settled = self.phase == Phase::JoiningLogin && spec.usage == Usage::LeadingOnly;
        //= RFC 7143 section 13.14
        //# Irrelevant when: ( InitialR2T=Yes and ImmediateData=No )
        let no_first_burst =
            spec.key == Key::FirstBurstLength && self.params.initial_r2t && !self.params.immediate_data;
        settled || strict && (discovery || no_first_burst)
    }

    fn declare_number(&mut self, key: Key, value: u32) -> Result<(), KeyFault> {
        if key == Key::MaxRecvDataSegmentLength {
            //= RFC 7143 section 13.12
            //# The initiator or target declares the maximum data segment length in
            //# bytes it can receive in an iSCSI PDU.
            self.params.own.initiator_max_recv_bytes = value;
        }
        Ok(())
    }

    /// The first value of a list that is supported.
    fn choose<'v>(&mut self, key: Key, value: &'v str, offer: &Offer) -> Result<&'v str, KeyFault> {
        if value.is_empty() {
            return Err(KeyFault::Malformed);
        }
        //= RFC 7143 section 6.2.1
        //# The responding party MUST respond with the same key and the first
        //# value that it supports (and is allowed to use for the specific
        //# originator) selected from the originator list.
        //
        //= RFC 7143 section 6.2.1
        //# If an acceptor does not understand any particular value in a list, it
        //# MUST ignore it.
        let mut values = LoginValue(value).list();
        let chosen = match key {
            Key::HeaderDigest => values.find(|v| offer.header_digest.accepts(v)),
            Key::DataDigest => values.find(|v| offer.data_digest.accepts(v)),
            _ => values.find(|v| offer.task_reporting(v).is_some()),
        };
        let chosen = chosen.ok_or(KeyFault::NoChoice)?;
        match key {
            Key::HeaderDigest => self.params.own.header_digest = chosen == CRC32C,
            Key::DataDigest => self.params.own.data_digest = chosen == CRC32C,
            _ => self.params.task_reporting = offer.task_reporting(chosen).unwrap_or(TaskReporting::Rfc3720),
        }
        Ok(chosen)
    }

    fn settle_boolean(&mut self, key: Key, theirs: bool, offer: &Offer) -> bool {
        let params = &mut self.params;
        let (place, result) = match key {
            Key::InitialR2T => (&mut params.initial_r2t, theirs || offer.initial_r2t),
            Key::ImmediateData => (&mut params.immediate_data, theirs && offer.immediate_data),
            // The target moves data in order only, so the result is Yes whatever is proposed.
            Key::DataPduInOrder => (&mut params.data_pdu_in_order, true),
            _ => (&mut params.data_sequence_in_order, true),
        };
        *place = result;
        result
    }

    fn settle_number(&mut self, key: Key, theirs: u32, offer: &Offer) -> u32 {
        let r2ts_settled = self.seen.contains(Key::MaxOutstandingR2T) && self.params.max_outstanding_r2t > 1;
        let params = &mut self.params;
        // Each result fits: it is at most what the target offers, or at most 3600 s where the larger Time2Wait counts.
        let narrow = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
        match key {
            Key::MaxConnections => {
                // A discovery session has one.
                let ours = if self.kind == SessionKind::Discovery { 1 } else { offer.max_connections };
                params.max_connections = narrow(theirs.min(ours.into()));
                params.max_connections.into()
            }
            Key::MaxBurstLength => {
                params.max_burst_bytes = theirs.min(offer.max_burst_bytes);
                params.max_burst_bytes
            }
            Key::FirstBurstLength => {
                //= RFC 7143 section 13.14
                //# FirstBurstLength MUST NOT exceed MaxBurstLength.
                params.first_burst_bytes = theirs.min(offer.first_burst_bytes).min(params.max_burst_bytes);
                params.first_burst_bytes
            }
            Key::DefaultTime2Wait => {
                params.time2wait_s = narrow(theirs.max(offer.time2wait_s.into()));
                params.time2wait_s.into()
            }
            Key::DefaultTime2Retain => {
                //= RFC 7143 section 13.16
                //# A value of 0 indicates that connection/task state is immediately
                //# discarded by the target.
                let ours = if params.error_recovery_level >= 2 { offer.time2retain_s } else { 0 };
                params.time2retain_s = narrow(theirs.min(ours.into()));
                params.time2retain_s.into()
            }
            Key::MaxOutstandingR2T => {
                //= RFC 7143 section 13.19
                //# For this reason, if ErrorRecoveryLevel is
                //# not 0 and DataSequenceInOrder is set to Yes, then MaxOutstandingR2T
                //# MUST be set to 1.
                let one = params.error_recovery_level != 0 && params.data_sequence_in_order;
                let ours = if one { 1 } else { offer.max_outstanding_r2t };
                params.max_outstanding_r2t = narrow(theirs.min(ours.into()));
                params.max_outstanding_r2t.into()
            }
            Key::ErrorRecoveryLevel => {
                //= RFC 7143 section 7.4.1
                //# When
                //# such a negotiation attempt is made by the remote side, a compliant
                //# iSCSI implementation MUST propose a value of 0 (zero) in response.
                //= RFC 7143 section 7.4.1
                //# The operational ErrorRecoveryLevel for Discovery sessions thus MUST be
                //# 0.
                //= RFC 7143 section 13.21
                //# As Section 7.4.1 states, ErrorRecoveryLevel MUST be 0 (zero) for
                //# Discovery sessions.
                let zero = self.kind == SessionKind::Discovery || r2ts_settled;
                //= RFC 7143 section 7.1.5
                //# When a defined value of ErrorRecoveryLevel is returned by a responder in
                //# a text negotiation, the responder MUST support the functionality
                //# corresponding to the ErrorRecoveryLevel it is accepting.
                let ours = if zero { 0 } else { offer.error_recovery_level };
                params.error_recovery_level = ours.min(u8::try_from(theirs).unwrap_or(u8::MAX));
                params.error_recovery_level.into()
            }
            _ => {
                params.protocol_level = offer.protocol_level.min(u8::try_from(theirs).unwrap_or(u8::MAX));
                params.protocol_level.into()
            }
        }
    }

    /// Declares our own values, once: with the first answer in the operational stage.
    pub fn declare(&mut self, offer: &Offer, answer: &mut Vec<u8>) {
        if std::mem::replace(&mut self.declared, true) {
            return;
        }
        let bytes = match self.kind {
            SessionKind::Normal => offer.max_recv_bytes,
            SessionKind::Discovery => limits::MAX_CONTROL_DATA_BYTES as u32,
        };
        TextWriter::new(answer).pair("MaxRecvDataSegmentLength", bytes);
        self.params.own.target_max_recv_bytes = bytes;
    }

    /// Checks the values when the initiator wants to end the negotiation. Returns whether it can be ended; if not,
    /// `answer` proposes the value that is missing.
    ///
    /// # Errors
    /// [`KeyFault::Integrity`] if FirstBurstLength was settled and exceeds MaxBurstLength.
    pub fn conclude(&mut self, answer: &mut Vec<u8>) -> Result<bool, NegotiationFault> {
        //= RFC 7143 section 6.2
        //# An iSCSI target MUST
        //# perform integrity checking before the new parameters take effect.
        let params = &mut self.params;
        if params.first_burst_bytes <= params.max_burst_bytes || self.phase != Phase::LeadingLogin {
            return Ok(true);
        }
        if params.initial_r2t && !params.immediate_data {
            params.first_burst_bytes = params.max_burst_bytes;
            return Ok(true);
        }
        if !self.seen.insert(Key::FirstBurstLength) {
            return Err(NegotiationFault::Key("FirstBurstLength", KeyFault::Integrity));
        }
        // The initiator relies on the default, which its MaxBurstLength does not allow.
        TextWriter::new(answer).pair("FirstBurstLength", params.max_burst_bytes);
        self.proposed_first_burst = true;
        Ok(false)
    }

    /// The answer to our proposal of FirstBurstLength.
    fn answered_first_burst(&mut self, value: &str) -> Result<(), KeyFault> {
        //= RFC 7143 section 6.2.2
        //# The selection, by the acceptor, of a value not admissible under the
        //# selection rules is considered a protocol error.
        let fault = |_| KeyFault::NotProposed;
        self.params.first_burst_bytes = in_range(value, 512, self.params.max_burst_bytes).map_err(fault)?;
        Ok(())
    }
}

/// Keys that are settled after all others of the same turn.
fn depends_on_others(key: Key) -> bool {
    matches!(key, Key::FirstBurstLength | Key::MaxOutstandingR2T | Key::DefaultTime2Retain)
}

/// Answers a key that is not in the table with NotUnderstood.
///
/// # Errors
/// [`KeyFault::ReservedWord`], without the name of the key, if the value is one that only an answer may have.
pub fn not_understood(name: &str, value: &str, answer: &mut Vec<u8>) -> Result<(), NegotiationFault> {
    if keys::is_answer_word(value) {
        return Err(NegotiationFault::Key("", KeyFault::ReservedWord));
    }
    //= RFC 7143 section 6.2
    //# However, the answer for a key
    //# that is not understood MUST be key=NotUnderstood.
    //= RFC 7143 section 13.22
    //# Vendor-specific keys MUST ONLY be used in Normal sessions.
    TextWriter::new(answer).pair(name, word::NOT_UNDERSTOOD);
    Ok(())
}

/// The answer to a marker key.
fn obsolete(key: Key, value: &str) -> &'static str {
    //= RFC 7143 section 13.25
    //# When an IFMarker or OFMarker key is received, a compliant iSCSI
    //# implementation SHOULD respond with the constant "Reject" value.  The
    //# implementation MAY alternatively respond with a "No" value.
    //
    //= RFC 7143 section 6.2.2
    //# For a numerical range, the value selected MUST be an integer within the
    //# proposed range or "Reject" (if the range is unacceptable).
    // Initiators of the older standard offer No and expect to hear it.
    //= RFC 7143 section 13.25
    //# However, the implementation MUST NOT respond with a "NotUnderstood"
    //# value for either of these keys.
    //= RFC 7143 section 13.25
    //# When an IFMarkInt or OFMarkInt key is received, a compliant iSCSI
    //# implementation MUST respond with the constant "Reject" value.
    //= RFC 7143 section 13.25
    //# The implementation MUST NOT respond with a "NotUnderstood" value for
    //# either of these keys.
    match (key, value) {
        (Key::IfMarker | Key::OfMarker, "No") => "No",
        _ => word::REJECT,
    }
}

fn in_range(value: &str, min: u32, max: u32) -> Result<u32, KeyFault> {
    let number = LoginValue(value).number_in(min.into()..=max.into())?;
    u32::try_from(number).map_err(|_| KeyFault::Range)
}

fn check_text(value: &str) -> Result<(), KeyFault> {
    //= RFC 7143 section 6.1
    //# If not otherwise specified, the maximum length of a simple-value (not
    //# its encoded representation) is 255 bytes
    //= RFC 7143 section 13.26.1
    //# The length of the key value (total length of the list-of-values) MUST
    //# NOT be greater than 255 bytes.
    if value.len() <= 255 { Ok(()) } else { Err(KeyFault::TooLong) }
}
