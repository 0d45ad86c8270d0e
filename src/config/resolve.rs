//! What sections name, looked up when all of the file is known: accounts, LUNs and portal groups; and what does not fit
//! together.
//!
//! Invariants: no secret is in a fault or a warning; an account is used in one direction only; what names an account that
//! cannot be read gives access to nobody.

use super::access::{AccountDraft, ChapDraft, Source};
use super::draft::Draft;
use super::{Faults, Origin};
use crate::model::{Account, ChapAlgorithm, Credentials, Secret};
use std::sync::Arc;

/// Looks up what the sections name, and notes what does not fit together.
pub(super) fn resolve(draft: &mut Draft, faults: &mut Faults) {
    let algorithms = draft.access.algorithms.clone().unwrap_or_else(|| ChapAlgorithm::ALL.to_vec());
    let mut book = Book { accounts: &draft.access.accounts, uses: Vec::new(), algorithms };
    draft.discovery = book.credentials(&draft.access.discovery, None, faults);
    for target in &mut draft.targets {
        target.credentials = book.credentials(&target.chap, None, faults);
        for group in &mut target.groups {
            group.group.credentials = book.credentials(&group.chap, Some((&target.chap, &target.credentials)), faults);
            for mapping in group.group.luns.iter().flatten() {
                if !target.luns.iter().any(|lun| lun.spec.number == mapping.of_target) {
                    let message = format!("this target has no LUN {}", mapping.of_target);
                    faults.add(&group.luns_at, message);
                }
            }
        }
        if let Some((states, origin)) = &target.access_states
            && let Some((tag, _)) = states.iter().find(|(tag, _)| !draft.portals.iter().any(|p| p.group_tag == *tag))
        {
            faults.add(origin, format!("no portal is in group {tag}"));
        }
        if let Some((tags, origin)) = &target.portal_groups
            && let Some(tag) = tags.iter().find(|tag| !draft.portals.iter().any(|p| usize::from(p.group_tag) == **tag))
        {
            faults.add(origin, format!("no portal is in group {tag}"));
        }
    }
    book.check(faults);
    draft.check_identities(faults);
}

/// The accounts, and what they are used for.
struct Book<'d> {
    accounts: &'d [AccountDraft],
    /// Index, and whether it is the target that proves itself.
    uses: Vec<(usize, bool)>,
    algorithms: Vec<ChapAlgorithm>,
}

impl Book<'_> {
    /// What `chap` asks for; what it does not say is as in `above`.
    fn credentials(
        &mut self,
        chap: &ChapDraft,
        above: Option<(&ChapDraft, &Option<Arc<Credentials>>)>,
        faults: &mut Faults,
    ) -> Option<Arc<Credentials>> {
        if let (None, None, Some((_, credentials))) = (&chap.accounts, &chap.mutual, above) {
            return credentials.clone();
        }
        let names = chap.accounts.as_ref().or(above.and_then(|(above, _)| above.accounts.as_ref()));
        let names = names.filter(|(names, _)| !names.is_empty());
        let mutual = chap.mutual.as_ref().or(above.and_then(|(above, _)| above.mutual.as_ref()));
        let Some((names, origin)) = names else {
            if let Some((_, origin)) = &chap.mutual {
                faults.add(origin, "needs accounts beside it: initiators prove themselves first");
            }
            return None;
        };
        let initiators = names.iter().filter_map(|name| self.account(name, false, origin, faults)).collect();
        let target = mutual.and_then(|(name, origin)| self.account(name, true, origin, faults));
        Some(Arc::new(Credentials { initiators, target, algorithms: self.algorithms.clone(), others: Vec::new() }))
    }

    /// The account called `name`; `None` also when its secret is not known.
    fn account(&mut self, name: &str, ours: bool, origin: &Origin, faults: &mut Faults) -> Option<Account> {
        let Some(at) = self.accounts.iter().position(|account| *account.name == *name) else {
            faults.add(origin, format!("there is no [[account]] with user = \"{}\"", name.escape_debug()));
            return None;
        };
        self.uses.push((at, ours));
        let account = &self.accounts[at];
        match &account.source {
            Source::Known(secret) => Some(Account { name: account.name.clone(), secret: secret.clone() }),
            _ => None,
        }
    }

    /// Notes accounts that serve both directions, and what is weak or shared.
    fn check(&self, faults: &mut Faults) {
        let known = |at: usize| match &self.accounts[at].source {
            Source::Known(secret) => Some(secret),
            _ => None,
        };
        for (at, account) in self.accounts.iter().enumerate() {
            let (ours, theirs) = (self.uses.contains(&(at, true)), self.uses.contains(&(at, false)));
            //= RFC 7143 section 9.2.1
            //# Any CHAP secret used for initiator authentication MUST NOT be
            //# configured for authentication of any target, and any CHAP secret used
            //# for target authentication MUST NOT be configured for authentication
            //# of any initiator.
            let same = |other: usize| known(at).is_some() && known(at) == known(other);
            if ours && (theirs || { self.uses.iter() }.any(|&(other, ours)| !ours && same(other))) {
                faults.add(
                    &account.secret_at,
                    "initiators and the target must not have the same secret (RFC 7143 9.2.1)",
                );
            }
            //= RFC 7143 section 9.2.1
            //# A
            //# compliant implementation SHOULD NOT continue with the login step in
            //# which it should send a CHAP response (CHAP_R; see Section 12.1.3)
            //# unless it can verify that the CHAP secret is at least 96 bits or that
            //# IPsec encryption is being used to protect the connection.
            let weak = known(at).is_some_and(Secret::is_weak);
            if weak && ours {
                faults.add(&account.secret_at, "the target's own secret needs 12 bytes (`ringsan secret` makes one)");
            } else if weak {
                let message = "the secret has less than 12 bytes: it can be guessed from what is on the wire";
                faults.warn(&account.secret_at, message);
            }
            if !ours && !theirs {
                faults.warn(&account.origin, "no accounts and no mutual name this user");
            }
            //= RFC 7143 section 9.2.1
            //# It is recommended
            //# that iSCSI implementations check for the use of identical CHAP
            //# secrets by different peers when this check is feasible and take
            //# appropriate measures to warn users and/or administrators when this is
            //# detected.
            //= RFC 7143 section 9.2.1
            //# The same CHAP secret SHOULD NOT be configured for authentication of
            //# multiple initiators or multiple targets, as this enables any of them to
            //# impersonate any other one of them, and compromising one of them enables
            //# the attacker to impersonate any of them.
            // By one who knows what they do: so it is a warning.
            if let Some(other) = (0..at).find(|&other| same(other)) {
                let message =
                    format!("has the secret of '{}': each could pass for the other", self.accounts[other].name);
                faults.warn(&account.secret_at, message);
            }
        }
    }
}
