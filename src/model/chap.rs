//! What is shared with initiators for CHAP (RFC 7143 section 9.2.1): secrets, accounts, and who knows which.
//!
//! Invariants: a [`Secret`] is never shown, compared in constant time, and wiped when dropped.

use std::fmt;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// 96 bits: what a secret needs on a channel that is not encrypted (RFC 7143 section 9.2.1).
const STRONG_BYTES: usize = 12;

/// A secret shared with one party, as bytes. Wiped when dropped.
#[derive(Clone)]
//= RFC 7143 section 9.2.1
//# CHAP secrets MUST be an integral number of bytes (octets).
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// From its bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the hash that proves that somebody knows them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Fewer than 96 bits: too weak for a channel that is not encrypted (RFC 7143 section 9.2.1).
    pub fn is_weak(&self) -> bool {
        self.0.len() < STRONG_BYTES
    }
}

/// In constant time.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

/// Never shown.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A name and the secret that proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    //= RFC 7143 section 9.2
    //# The value associated with that key MAY be different from the iSCSI name
    //# and SHOULD be configurable (CHAP_N: see Section 12.1.3; SRP_U: see
    //# Section 12.1.2).
    /// CHAP_N.
    pub name: Arc<str>,
    /// What CHAP_R is computed from.
    pub secret: Secret,
}

/// A hash algorithm, by the number that CHAP_A has for it (IANA, "PPP Authentication Algorithms").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChapAlgorithm {
    /// 5.
    Md5,
    /// 6.
    Sha1,
    /// 7.
    Sha256,
    /// 8.
    Sha3,
}

impl ChapAlgorithm {
    /// All that we have, by number.
    pub const ALL: [Self; 4] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha3];

    /// Its number in CHAP_A.
    pub fn number(self) -> u8 {
        match self {
            Self::Md5 => 5,
            Self::Sha1 => 6,
            Self::Sha256 => 7,
            Self::Sha3 => 8,
        }
    }

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha3 => "sha3-256",
        }
    }
}

/// The accounts that matter for one login.
///
/// Which names an initiator may use is decided by who fills it in for its InitiatorName: a good secret of another
/// initiator is of no use (RFC 7143 section 9.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// As any of these the initiator may authenticate itself.
    pub initiators: Vec<Account>,
    /// As this we authenticate ourselves, if the initiator asks us to.
    pub target: Option<Account>,
    /// The hashes that may be used.
    pub algorithms: Vec<ChapAlgorithm>,
    /// What else counts for this login: accounts of other groups that the initiator may be in, each with their own
    /// `target`. One level deep.
    pub others: Vec<Arc<Credentials>>,
}

impl Default for Credentials {
    /// Nobody, with any hash.
    fn default() -> Self {
        Self { initiators: Vec::new(), target: None, algorithms: ChapAlgorithm::ALL.to_vec(), others: Vec::new() }
    }
}

impl Credentials {
    /// The account called `name`, and those that it belongs to.
    pub fn find(&self, name: &str) -> Option<(&Account, &Credentials)> {
        let account = |set: &'_ Credentials| set.initiators.iter().position(|account| *account.name == *name);
        let set = std::iter::once(self).chain(self.others.iter().map(Arc::as_ref));
        //= RFC 7143 section 9.2.1
        //# Targets SHOULD use separate CHAP secrets for authentication to each
        //# initiator when such risks are of concern; in this situation, it may be
        //# useful to configure a separate logical iSCSI target with its own iSCSI
        //# Node Name for each initiator or group of initiators among which such
        //# separation is desired.
        { set }.find_map(|set| account(set).and_then(|at| Some((set.initiators.get(at)?, set))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let secret = Secret::new(b"shown?".to_vec());
        assert_eq!(format!("{secret:?}"), "(secret)");
        assert!(secret.is_weak());
        assert!(!Secret::new(vec![b'a'; 12]).is_weak());
    }

    #[test]
    fn an_account_brings_the_target_of_its_own_set() {
        let account = |name: &str| Account { name: name.into(), secret: Secret::new(name.into()) };
        let other = Credentials { initiators: vec![account("b")], target: Some(account("tb")), ..Default::default() };
        let set = Credentials { initiators: vec![account("a")], others: vec![Arc::new(other)], ..Default::default() };
        assert_eq!(set.find("a").map(|(_, set)| &set.target), Some(&None));
        //= RFC 7143 section 9.2.1
        //# Targets SHOULD use separate CHAP secrets for authentication to each
        //# initiator when such risks are of concern; in this situation, it may be
        //# useful to configure a separate logical iSCSI target with its own iSCSI
        //# Node Name for each initiator or group of initiators among which such
        //# separation is desired.
        assert_eq!(set.find("b").map(|(_, set)| &set.target), Some(&Some(account("tb"))));
        assert_eq!(set.find("c"), None);
    }
}
