//! The security stage of a login: which authentication, and has it been done (RFC 7143 sections 6.3.2 and 12).

use std::sync::Arc;

use super::chap::{ChapFault, ChapKeys, Exchange};
use super::fault::LoginFault;
use super::keys::{self, Key, KeyFault, KeySet, Senders, Usage};
use super::negotiate::not_understood;
use crate::session::directory::AuthPolicy;
use crate::wire::text::{LoginValue, Pairs, TextWriter, answer as word};

/// The authentication method that we have.
const CHAP: &str = "CHAP";

/// How far the authentication has come.
#[derive(Debug, Default)]
enum State {
    /// No AuthMethod yet.
    #[default]
    Start,
    /// We proposed CHAP to an initiator that proposed nothing.
    Proposed,
    /// AuthMethod=CHAP: waiting for CHAP_A.
    Algorithm,
    /// Waiting for the response to our challenge.
    Challenged(Exchange),
    /// Done. The name that was proved; `None` for AuthMethod=None.
    Done(Option<Arc<str>>),
}

/// The security stage of one login.
#[derive(Debug)]
pub struct Security {
    policy: AuthPolicy,
    state: State,
    seen: KeySet,
}

/// The keys of one turn that belong to authentication.
#[derive(Debug, Default)]
struct Turn<'t> {
    method: Option<&'t str>,
    chap: ChapKeys<'t>,
}

impl Security {
    /// For an initiator that has to satisfy `policy`.
    pub fn new(policy: AuthPolicy) -> Self {
        Self { policy, state: State::Start, seen: KeySet::default() }
    }

    /// Whether the login may begin in, or go on to, another stage.
    pub fn is_satisfied(&self) -> bool {
        match (&self.policy, &self.state) {
            //= RFC 7143 section 6.3.1
            //# If the target is also ready to skip
            //# security, the Login Response only contains the TargetPortalGroupTag
            //# key (see Section 13.9), the T bit set to 1, the CSG set to
            //# SecurityNegotiation, and the NSG set to LoginOperationalNegotiation.
            (AuthPolicy::Open, State::Start | State::Done(_)) => true,
            (AuthPolicy::Chap(_), State::Done(identity)) => identity.is_some(),
            _ => false,
        }
    }

    /// The identity that was proved; `None` if none was asked for.
    pub fn identity(&self) -> Option<Arc<str>> {
        match &self.state {
            State::Done(identity) => identity.clone(),
            _ => None,
        }
    }

    /// Whether the initiator was challenged, and has not answered.
    pub fn awaits_proof(&self) -> bool {
        matches!(self.state, State::Challenged(_))
    }

    /// Takes one turn of the initiator and appends the answers. `wants_on` is the T bit of its request. Any-Stage keys
    /// are passed over.
    ///
    /// # Errors
    /// Why the login is refused: a rule that the text breaks, no method in common, or a failed CHAP exchange.
    pub fn turn(
        &mut self,
        text: &[u8],
        wants_on: bool,
        random: &mut dyn FnMut(&mut [u8]),
        answer: &mut Vec<u8>,
    ) -> Result<(), LoginFault> {
        let turn = self.read(text, answer)?;
        if let Some(list) = turn.method {
            self.choose(list, answer)?;
        }
        let out_of_step = turn.chap.any().map_or(Ok(()), |key| Err(LoginFault::AuthenticationStep(key)));
        self.state = match (&self.policy, std::mem::take(&mut self.state)) {
            (AuthPolicy::Chap(credentials), State::Algorithm) => match turn.chap {
                ChapKeys { a: Some(list), i: None, c: None, n: None, r: None } => {
                    let exchange = Exchange::algorithm(list, &credentials.algorithms, random, answer);
                    State::Challenged(exchange.map_err(LoginFault::Chap)?)
                }
                keys if keys.a.is_none() && turn.method.is_some() => {
                    out_of_step?;
                    State::Algorithm
                }
                ChapKeys { a: None, .. } => return Err(LoginFault::Chap(ChapFault::Missing("CHAP_A"))),
                _ => return out_of_step,
            },
            (AuthPolicy::Chap(credentials), State::Challenged(exchange)) => {
                let name = exchange.response(&turn.chap, credentials, answer).map_err(LoginFault::Chap)?;
                State::Done(Some(name))
            }
            (_, State::Proposed) => return Err(LoginFault::AuthenticationRequired),
            (AuthPolicy::Chap(_), State::Start) if wants_on => {
                out_of_step?;
                // RFC 7143 section 6.3.2: the negotiation may be directed by the target.
                TextWriter::new(answer).pair("AuthMethod", CHAP);
                State::Proposed
            }
            (_, other) => {
                out_of_step?;
                other
            }
        };
        Ok(())
    }

    /// Reads the keys of a turn.
    fn read<'t>(&mut self, text: &'t [u8], answer: &mut Vec<u8>) -> Result<Turn<'t>, LoginFault> {
        let mut turn = Turn::default();
        let proposed = matches!(self.state, State::Proposed);
        for pair in Pairs::new(text) {
            let (name, value) = pair?;
            let Some(spec) = keys::find(name) else {
                not_understood(name, value, answer)?;
                continue;
            };
            let fault = |fault| Err(LoginFault::Key { key: spec.name, fault });
            if spec.usage != Usage::Security {
                //= RFC 7143 section 12
                //# Other keys MUST NOT be used.
                if !spec.any_stage {
                    return fault(KeyFault::Stage);
                }
                continue;
            }
            if spec.senders == Senders::Target {
                return fault(KeyFault::Sender);
            }
            if !self.seen.insert(spec.key) {
                return fault(KeyFault::Twice);
            }
            let answers_us = proposed && spec.key == Key::AuthMethod;
            if keys::is_answer_word(value) && !answers_us {
                return fault(KeyFault::ReservedWord);
            }
            match spec.key {
                Key::AuthMethod => turn.method = Some(value),
                Key::ChapA => turn.chap.a = Some(value),
                Key::ChapI => turn.chap.i = Some(value),
                Key::ChapC => turn.chap.c = Some(value),
                Key::ChapN => turn.chap.n = Some(value),
                Key::ChapR => turn.chap.r = Some(value),
                _ => return Err(LoginFault::AuthenticationStep(spec.name)),
            }
        }
        Ok(turn)
    }

    /// Chooses the authentication method.
    fn choose(&mut self, list: &str, answer: &mut Vec<u8>) -> Result<(), LoginFault> {
        //= RFC 7143 section 6.3.2
        //# The target MUST reply with the first option in the list it
        //# supports and is allowed to use for the specific initiator,
        //# unless it does not support any, in which case it MUST answer
        //# with "Reject" (see Section 6.2).
        //= RFC 7143 section 9.2
        //# Therefore, a method using cleartext (or equivalent) passwords MUST NOT
        //# be used; on the other hand, identity protection is not strictly
        //# required.
        //= RFC 7143 section 12.1
        //# Authentication is OPTIONAL to use but MUST be supported by the target
        //# and initiator.
        let (ours, refusal, chosen) = match self.policy {
            //= RFC 7143 section 6.2.1
            //# The constant "None" MUST always be used to indicate a missing function.
            AuthPolicy::Open => ("None", LoginFault::AuthenticationUnavailable, State::Done(None)),
            AuthPolicy::Chap(_) => (CHAP, LoginFault::AuthenticationRequired, State::Algorithm),
        };
        let answers_us = matches!(self.state, State::Proposed);
        //= RFC 7143 section 6.2.1
        //# The selection of a value not proposed MUST be handled by the
        //# originator as a protocol error.
        if answers_us && list != CHAP && !keys::is_answer_word(list) {
            return Err(LoginFault::Key { key: "AuthMethod", fault: KeyFault::NotProposed });
        }
        if !LoginValue(list).list().any(|method| method == ours) {
            if !answers_us {
                TextWriter::new(answer).pair("AuthMethod", word::REJECT);
            }
            return Err(refusal);
        }
        if !answers_us {
            TextWriter::new(answer).pair("AuthMethod", ours);
        }
        self.state = chosen;
        Ok(())
    }
}
