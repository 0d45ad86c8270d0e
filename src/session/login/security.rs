//! The security stage of a login: which authentication, and has it been done (RFC 7143 sections 6.3.2 and 12).

use std::sync::Arc;

use super::fault::LoginFault;
use super::keys::{self, Key, KeyFault, KeySet, Senders, Usage};
use super::negotiate::not_understood;
use crate::session::directory::AuthPolicy;
use crate::wire::text::{LoginValue, Pairs, TextWriter, answer as word};

/// How far the authentication has come.
#[derive(Debug, Default)]
enum State {
    /// No AuthMethod yet.
    #[default]
    Start,
    /// We proposed CHAP to an initiator that proposed nothing.
    Proposed,
    /// AuthMethod=CHAP: not proved yet.
    Chap,
    /// AuthMethod=None, or nobody wanted more.
    Open,
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
    /// A key of an authentication method, whichever.
    other: Option<&'static str>,
}

impl Security {
    /// For an initiator that has to satisfy `policy`.
    pub fn new(policy: AuthPolicy) -> Self {
        Self { policy, state: State::Start, seen: KeySet::default() }
    }

    /// Whether the login may begin in, or go on to, another stage.
    pub fn is_satisfied(&self) -> bool {
        matches!((&self.policy, &self.state), (AuthPolicy::Open, State::Start) | (_, State::Open))
    }

    /// The identity that was proved; `None` if none was asked for.
    pub fn identity(&self) -> Option<Arc<str>> {
        None
    }

    /// Takes one turn of the initiator and appends the answers. Any-Stage keys are passed over.
    ///
    /// # Errors
    /// Why the login is refused.
    pub fn turn(&mut self, text: &[u8], wants_on: bool, answer: &mut Vec<u8>) -> Result<(), LoginFault> {
        let turn = self.read(text, answer)?;
        if let Some(list) = turn.method {
            self.choose(list, answer)?;
        }
        if let Some(key) = turn.other {
            return Err(LoginFault::AuthenticationStep(key));
        }
        match (&self.policy, &self.state) {
            (AuthPolicy::Chap(_), State::Start) if wants_on => {
                // RFC 7143 section 6.3.2: the negotiation may be directed by the target.
                TextWriter::new(answer).pair("AuthMethod", "CHAP");
                self.state = State::Proposed;
                Ok(())
            }
            (_, State::Proposed) => Err(LoginFault::AuthenticationRequired),
            _ => Ok(()),
        }
    }

    /// Reads the keys of a turn.
    fn read<'t>(&mut self, text: &'t [u8], answer: &mut Vec<u8>) -> Result<Turn<'t>, LoginFault> {
        let mut turn = Turn::default();
        for pair in Pairs::new(text) {
            let (name, value) = pair?;
            let Some(spec) = keys::find(name) else {
                not_understood(name, value, answer)?;
                continue;
            };
            let fault = |fault| Err(LoginFault::Key { key: spec.name, fault });
            match spec.usage {
                Usage::Security if spec.senders == Senders::Target => return fault(KeyFault::Sender),
                Usage::Security if !self.seen.insert(spec.key) => return fault(KeyFault::Twice),
                Usage::Security if keys::is_answer_word(value) => return fault(KeyFault::ReservedWord),
                Usage::Security if spec.key == Key::AuthMethod => turn.method = Some(value),
                Usage::Security => turn.other = Some(spec.name),
                //= RFC 7143 section 12
                //# Other keys MUST NOT be used.
                _ if !spec.any_stage => return fault(KeyFault::Stage),
                _ => {}
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
        let (ours, refusal) = match self.policy {
            AuthPolicy::Open => ("None", LoginFault::AuthenticationUnavailable),
            AuthPolicy::Chap(_) => ("CHAP", LoginFault::AuthenticationRequired),
        };
        if !LoginValue(list).list().any(|method| method == ours) {
            TextWriter::new(answer).pair("AuthMethod", word::REJECT);
            return Err(refusal);
        }
        TextWriter::new(answer).pair("AuthMethod", ours);
        self.state = match self.policy {
            AuthPolicy::Open => State::Open,
            AuthPolicy::Chap(_) => State::Chap,
        };
        Ok(())
    }
}
