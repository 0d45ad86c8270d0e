//! The Any-Stage keys by which an initiator introduces itself: InitiatorName, TargetName, SessionType, InitiatorAlias.

use super::fault::LoginFault;
use super::keys::{self, Key, KeyFault, KeySet, KeySpec, Senders, Usage};
use crate::model::IscsiName;
use crate::session::directory::NoTarget;
use crate::session::params::SessionKind;
use crate::wire::text::Pairs;

/// Who logs in to what.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) initiator: IscsiName,
    pub(super) target: Option<IscsiName>,
    pub(super) kind: SessionKind,
    pub(super) alias: Option<String>,
    /// Keys declared in `stage`.
    seen: KeySet,
    stage: u8,
}

impl Identity {
    /// Reads who logs in to what from the text of the first turn, which is in `stage`.
    ///
    /// The initiator's name is read leniently ([`IscsiName::lenient`]), as other targets do it, unless `strict`.
    pub(super) fn read(text: &[u8], stage: u8, strict: bool) -> Result<Self, LoginFault> {
        let mut seen = KeySet::default();
        let (mut initiator, mut target, mut kind, mut alias) = (None, None, None, None);
        for pair in declarations(text) {
            let (spec, value) = pair?;
            declare_once(&mut seen, spec)?;
            match spec.key {
                Key::InitiatorName => {
                    let name = if strict { IscsiName::new(value) } else { IscsiName::lenient(value) };
                    initiator = Some(name.map_err(LoginFault::InitiatorName)?);
                }
                // What is no name is not the name of a target.
                Key::TargetName => {
                    let name = IscsiName::new(value).map_err(|_| LoginFault::NoTarget(NoTarget::NotFound))?;
                    target = Some(name);
                }
                Key::SessionType => kind = Some(session_kind(value)?),
                _ => alias = Some(value.to_owned()),
            }
        }
        //= RFC 7143 section 13.5
        //# The initiator of the TCP connection MUST provide this key to the
        //# remote endpoint at the first login of the Login Phase for every
        //# connection.
        let initiator = initiator.ok_or(LoginFault::NoInitiatorName)?;
        let kind = kind.unwrap_or_default();
        //= RFC 7143 section 6.3
        //# For any connection within a session whose type is not
        //# "Discovery", the first Login Request MUST also include the TargetName
        //# key=value pair.
        if target.is_none() && kind == SessionKind::Normal {
            return Err(LoginFault::NoTargetName);
        }
        Ok(Self { initiator, target, kind, alias, seen, stage })
    }

    /// Checks what a later turn declares, in `stage`.
    ///
    /// Some initiators introduce themselves again in the second stage. That is tolerated as long as nothing changes.
    pub(super) fn later(&mut self, text: &[u8], stage: u8) -> Result<(), LoginFault> {
        if stage != self.stage {
            (self.seen, self.stage) = (KeySet::default(), stage);
        }
        for pair in declarations(text) {
            let (spec, value) = pair?;
            declare_once(&mut self.seen, spec)?;
            //= RFC 7143 section 13.5
            //# The InitiatorName MUST NOT be redeclared within the Login Phase.
            //
            //= RFC 7143 section 13.4
            //# The TargetName MUST NOT be redeclared within the Login Phase.
            let same = match spec.key {
                Key::InitiatorName => IscsiName::lenient(value).is_ok_and(|name| name == self.initiator),
                Key::TargetName => IscsiName::new(value).is_ok_and(|name| Some(&name) == self.target.as_ref()),
                Key::SessionType => session_kind(value)? == self.kind,
                _ => self.alias.get_or_insert_with(|| value.to_owned()) == value,
            };
            if !same {
                return Err(LoginFault::Key { key: spec.name, fault: KeyFault::Twice });
            }
        }
        Ok(())
    }
}

/// The pairs of a text that introduce the initiator. An Any-Stage key that only a target may send is a fault, unless
/// its value is a needless answer to a declaration of ours.
fn declarations(text: &[u8]) -> impl Iterator<Item = Result<(&'static KeySpec, &str), LoginFault>> {
    Pairs::new(text).filter_map(|pair| {
        let (name, value) = match pair {
            Ok(pair) => pair,
            Err(bad) => return Some(Err(LoginFault::Text(bad))),
        };
        let spec = keys::find(name).filter(|spec| spec.any_stage && spec.usage != Usage::Security)?;
        let fault = |fault| Some(Err(LoginFault::Key { key: spec.name, fault }));
        match spec.senders {
            // An answer to one of our declarations: needless, and harmless.
            Senders::Target if keys::may_answer_declaration(value) => None,
            Senders::Target => fault(KeyFault::Sender),
            _ if keys::is_answer_word(value) => fault(KeyFault::ReservedWord),
            _ if value.len() > 255 => fault(KeyFault::TooLong),
            _ => Some(Ok((spec, value))),
        }
    })
}

fn declare_once(seen: &mut KeySet, spec: &KeySpec) -> Result<(), LoginFault> {
    let new = seen.insert(spec.key);
    if new { Ok(()) } else { Err(LoginFault::Key { key: spec.name, fault: KeyFault::Twice }) }
}

fn session_kind(value: &str) -> Result<SessionKind, LoginFault> {
    match value {
        "Normal" => Ok(SessionKind::Normal),
        "Discovery" => Ok(SessionKind::Discovery),
        _ => Err(LoginFault::SessionType),
    }
}
