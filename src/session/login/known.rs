//! Who wants what: what a login knows once the first turn of the initiator is complete.

use super::fault::LoginFault;
use super::identity::Identity;
use super::negotiate::{Negotiation, Phase};
use super::seam::{First, LoginAnswer, LoginDone, LoginEnv};
use super::security::Security;
use crate::model::{InitiatorPort, IscsiName};
use crate::session::directory::{NoTarget, TargetRef, Wanted};
use crate::session::params::{Params, SessionKind};
use crate::wire::stage::SECURITY_NEGOTIATION;
use crate::wire::text::TextWriter;
use crate::wire::{LoginRequest, StatSn, Tsih};

/// Who wants what: known once the first turn of the initiator is complete.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) identity: Identity,
    pub(super) target: Option<TargetRef>,
    /// Why a discovery session cannot have the target that it names. It is told so only after it has proved what
    /// discovery asks for: else anybody could find out, name by name, which targets there are.
    missing: Option<NoTarget>,
    pub(super) portal_group: u16,
    pub(super) security: Security,
    pub(super) negotiation: Negotiation,
}

impl Known {
    /// Reads from the initiator's first turn who it is and what it wants, and finds out whether it may have that.
    /// Appends TargetPortalGroupTag and, in a normal session, TargetAlias to `answer`.
    pub(super) fn introduce(
        text: &[u8],
        request: &LoginRequest,
        stage: u8,
        env: &mut LoginEnv<'_>,
        answer: &mut Vec<u8>,
    ) -> Result<Self, LoginFault> {
        let identity = Identity::read(text, stage, env.offer.strict)?;
        let leading = request.tsih == Tsih(0);
        if identity.kind == SessionKind::Discovery && !leading {
            return Err(LoginFault::DiscoveryJoin);
        }
        let initiator: &IscsiName = &identity.initiator;
        let found = identity.target.as_ref().map(|name| env.directory.find(name, initiator, env.portal, env.peer));
        let (target, missing) = match found.transpose() {
            Ok(target) => (target, None),
            Err(fault) if identity.kind == SessionKind::Discovery => (None, Some(fault)),
            Err(fault) => return Err(LoginFault::NoTarget(fault)),
        };
        let wanted = match &target {
            Some(target) if identity.kind == SessionKind::Normal => Wanted::Target(target),
            _ => Wanted::Discovery,
        };
        let policy = env.directory.auth(wanted, initiator, env.portal, env.peer);
        let security = Security::new(policy);
        //= RFC 7143 section 6.3.1
        //# If the initiator decides to forego the SecurityNegotiation stage, it
        //# issues the Login with the CSG set to LoginOperationalNegotiation, and
        //# the target may reply with a Login Response that indicates that it is
        //# unwilling to accept the connection (see Section 11.13) without
        //# SecurityNegotiation and will terminate the connection with a response
        //# of Authentication failure (see Section 11.13.5).
        if stage != SECURITY_NEGOTIATION && !security.is_satisfied() {
            return Err(LoginFault::AuthenticationRequired);
        }
        //= RFC 7143 section 6.3.1
        //# During the Login Phase, the iSCSI target MUST return the
        //# TargetPortalGroupTag key with the first Login Response PDU with which
        //# it is allowed to do so (i.e., the first Login Response issued after
        //# the first Login Request with the C bit set to 0) for all session
        //# types.
        let portal_group = match &target {
            Some(target) => target.portal_group,
            None => env.directory.portal_group(env.portal),
        };
        //= RFC 7143 section 11.13.8
        //# The target MUST provide some basic parameters in order to enable the
        //# initiator to determine if it is connected to the correct port and the
        //# initial text parameters for the security exchange.
        TextWriter::new(answer).pair("TargetPortalGroupTag", portal_group);
        //= RFC 7143 section 13.6
        //# If a target has been configured with a human-readable name or
        //# description, this name SHOULD be communicated to the initiator during
        //# a Login Response PDU if SessionType=Normal (see Section 13.21).
        let alias = target.as_ref().and_then(|target| target.alias.as_deref());
        if let (Some(alias), SessionKind::Normal) = (alias, identity.kind) {
            TextWriter::new(answer).pair("TargetAlias", alias);
        }
        let phase = if leading { Phase::LeadingLogin } else { Phase::JoiningLogin };
        //= RFC 7143 section 6.2
        //# All negotiations are explicit (i.e., the result MUST only be based on
        //# newly exchanged or declared values).
        //
        // So each negotiation begins at the defaults of the standard, whatever was agreed upon before and whatever the
        // target would like.
        let negotiation = Negotiation::new(Params::default(), phase, identity.kind);
        Ok(Self { identity, target, missing, portal_group, security, negotiation })
    }

    /// Refuses a target that cannot be had, as soon as the initiator may be told so.
    pub(super) fn check_target(&self) -> Result<(), LoginFault> {
        match self.missing {
            Some(fault) if self.security.is_satisfied() => Err(LoginFault::NoTarget(fault)),
            _ => Ok(()),
        }
    }

    /// What the login comes to with its final `answer`.
    pub(super) fn done(&self, first: First, answer: LoginAnswer, next_stat_sn: StatSn) -> LoginDone {
        LoginDone {
            kind: self.identity.kind,
            initiator: InitiatorPort::new(self.identity.initiator.clone(), first.isid),
            initiator_alias: self.identity.alias.clone(),
            target: self.target.clone(),
            portal_group: self.portal_group,
            tsih: first.tsih,
            cid: first.cid,
            params: self.negotiation.params,
            identity: self.security.identity(),
            answer,
            next_stat_sn,
            cmd_sn: first.cmd_sn,
        }
    }
}
