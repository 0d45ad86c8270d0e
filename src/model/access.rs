//! Who may have what: initiator groups, by name and network; what they see; and limits on how much they use.
//!
//! Key types: [`Group`] (some initiators of one target), [`NamePattern`] and [`Network`] (how they are told apart),
//! [`LunMapping`] (which logical unit they find at which LUN), [`Limits`], [`Admission`] (how many connections).
//!
//! Invariants: the first group that an initiator is in decides; matching takes time in proportion to name and pattern.
//! It enforces nothing: login asks through `session::directory`, the cores keep the limits.

use super::chap::Credentials;
use super::names::IscsiName;
use sha2::Digest;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// How much may be used each second. `None`: as much as there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Commands that read or write.
    pub iops: Option<u64>,
    /// Bytes read and written.
    pub bytes_per_s: Option<u64>,
}

/// Bytes for each second, of an option that bounds them.
///
/// # Errors
/// None at all is no bound.
pub fn bandwidth(bytes: u64) -> Result<u64, String> {
    match bytes {
        0 => Err("is no bandwidth: write bytes for each second, like 100MiB".to_owned()),
        bytes => Ok(bytes),
    }
}

/// How many connections are taken, and how long they may take to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Connections of the process, logged in or not.
    pub connections: usize,
    /// Connections from one address.
    pub per_address: usize,
    /// Connections from one address that have not logged in yet, on one core.
    pub half_open_per_address: usize,
    /// Time from accept to the end of the login, milliseconds.
    pub login_timeout_ms: u64,
}

/// Some initiators of a target, and what they get there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What it is called in logs; no other of the target is called so.
    pub name: String,
    /// What shows that somebody is in it who had no user to prove: [`Group::proof_of`].
    pub proof: Arc<str>,
    /// Initiators, by name; empty: any.
    pub initiators: Vec<NamePattern>,
    /// Where they come from; empty: anywhere.
    pub networks: Vec<Network>,
    /// What they must prove; `None`: nothing.
    pub credentials: Option<Arc<Credentials>>,
    /// What they find; `None`: every logical unit of the target at its own LUN.
    pub luns: Option<Vec<LunMapping>>,
    /// What all of them together may use.
    pub limits: Limits,
}

impl Group {
    /// What being in a group of this name, if it was given one, and with these networks shows; whoever is in another group of
    /// the same target shows something else. As it is kept with saved registrations, it must not change with what else the
    /// target has: neither a group before it nor one initiator more makes others of those that are in it. One name from one
    /// network is in the first group only that has both, so networks are enough.
    pub fn proof_of(name: Option<&str>, networks: &[Network]) -> Arc<str> {
        if let Some(name) = name {
            return format!("group {name}").into();
        }
        if networks.is_empty() {
            return "anywhere".into();
        }
        let mut networks: Vec<String> = networks.iter().map(Network::to_string).collect();
        networks.sort_unstable();
        networks.dedup();
        // There may be a thousand.
        let digest = sha2::Sha256::digest(networks.join(" "));
        let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("networks {digits}").into()
    }

    /// Whether an initiator called `initiator` that connects from `peer` belongs to it, as far as that tells.
    pub fn matches(&self, initiator: &IscsiName, peer: IpAddr) -> bool {
        let named = self.initiators.is_empty() || self.initiators.iter().any(|pattern| pattern.matches(initiator));
        named && (self.networks.is_empty() || self.networks.iter().any(|network| network.contains(peer)))
    }
}

/// A logical unit at the LUN under which a group finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LunMapping {
    /// The LUN that the group uses.
    pub number: u16,
    /// The LUN of the logical unit in its target.
    pub of_target: u16,
}

/// An iSCSI name, in which `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(String);

/// Why a text is no [`NamePattern`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Without a `*` it has to be a name.
    #[error("{0}")]
    Name(super::names::NameError),
    /// Nothing that could be part of a name.
    #[error("a pattern has what an iSCSI name has, and '*' for any text")]
    Characters,
}

impl NamePattern {
    /// Whether `name` is one of those that are meant.
    pub fn matches(&self, name: &IscsiName) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == name.as_str() };
        let Some(mut left) = name.as_str().strip_prefix(first) else { return false };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        // The earliest place for each part leaves the most to those behind it.
        for part in middle.split('*') {
            let Some((_, behind)) = left.split_once(part) else { return false };
            left = behind;
        }
        left.ends_with(last)
    }
}

impl FromStr for NamePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if !text.contains('*') {
            return IscsiName::lenient(text).map(|name| Self(name.as_str().to_owned())).map_err(PatternError::Name);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:*".contains(c) || !c.is_ascii();
        if text.len() > super::names::MAX_NAME_BYTES || !text.chars().all(allowed) {
            return Err(PatternError::Characters);
        }
        Ok(Self(text.to_lowercase()))
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The addresses that begin with the same bits: `192.0.2.0/24`, `2001:db8::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no [`Network`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// No address, or no number of bits behind the slash.
    #[error("is no network: write 192.0.2.0/24, 2001:db8::/32 or one address")]
    Format,
    /// More bits than an address has.
    #[error("has more bits than its address: 32 for IPv4, 128 for IPv6")]
    Prefix,
    /// Bits behind the prefix are set.
    #[error("has bits set behind its prefix: a single address is written without one")]
    HostBits,
}

impl Network {
    /// Whether `address` is in it. An IPv4 address that comes mapped into IPv6 is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                (own.to_bits() ^ other.to_bits()) & mask == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits()) & mask6(self.prefix) == 0,
            _ => false,
        }
    }
}

/// The first `prefix` bits of an IPv6 address.
fn mask6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Format)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(bits) if !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= most).ok_or(NetworkError::Prefix)?
            }
            Some(_) => return Err(NetworkError::Format),
        };
        let behind = match address {
            IpAddr::V4(v4) => u64::from(v4.to_bits()) << prefix & 0xffff_ffff != 0,
            IpAddr::V6(v6) => v6 != Ipv6Addr::from_bits(v6.to_bits() & mask6(prefix)),
        };
        if behind { Err(NetworkError::HostBits) } else { Ok(Self { address, prefix }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, name: &str) -> bool {
        pattern.parse::<NamePattern>().unwrap().matches(&IscsiName::new(name).unwrap())
    }

    #[test]
    fn patterns_match_whole_names() {
        let name = "iqn.2026-11.com.example:db1.west";
        for pattern in [
            "*",
            "**",
            "iqn.*",
            "*west",
            "*:db*",
            "iqn.2026-11.com.example:db*.west",
            "*e*e*e*",
            "IQN.*:DB1.West",
            name,
        ] {
            assert!(matches(pattern, name), "{pattern}");
        }
        for pattern in [
            "eui.*",
            "*east",
            "*:db2*",
            "iqn.2026-11.com.example:db1",
            "*west*west",
            "iqn.2026-11.com.example:db1.west*west",
        ] {
            assert!(!matches(pattern, name), "{pattern}");
        }
        assert_eq!("db1".parse::<NamePattern>(), Err(PatternError::Name(crate::model::names::NameError::Type)));
        assert_eq!("a b*".parse::<NamePattern>(), Err(PatternError::Characters));
    }

    #[test]
    fn networks_contain_their_addresses() {
        let within =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(within("192.0.2.0/24", "192.0.2.255"));
        assert!(within("192.0.2.0/24", "::ffff:192.0.2.7"));
        assert!(!within("192.0.2.0/24", "192.0.3.0"));
        assert!(within("0.0.0.0/0", "203.0.113.9"));
        assert!(!within("0.0.0.0/0", "2001:db8::1"));
        assert!(within("::/0", "2001:db8::1"));
        assert!(!within("::/0", "192.0.2.1"));
        assert!(within("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!within("2001:db8::1", "2001:db8::2"));
        assert!(within("192.0.2.7", "192.0.2.7"));
        assert_eq!("192.0.2.7".parse::<Network>().unwrap().to_string(), "192.0.2.7/32");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for (text, error) in [
            ("", NetworkError::Format),
            ("host", NetworkError::Format),
            ("192.0.2.0/", NetworkError::Format),
            ("192.0.2.0/+8", NetworkError::Format),
            ("192.0.2.0/33", NetworkError::Prefix),
            ("192.0.2.0/4294967300", NetworkError::Prefix),
            ("2001:db8::/129", NetworkError::Prefix),
            ("192.0.2.1/24", NetworkError::HostBits),
            ("1.0.0.0/0", NetworkError::HostBits),
            ("2001:db8::1/64", NetworkError::HostBits),
        ] {
            assert_eq!(text.parse::<Network>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_part_left_out_is_matched_by_a_star(tail in "[a-z0-9.:-]{0,40}", from in 0usize..40, to in 0usize..40) {
            let name = format!("iqn.2026-11.com.example:{tail}");
            let (from, to) = (from.min(tail.len()), to.min(tail.len()));
            let (from, to) = (from.min(to), from.max(to));
            let pattern = format!("iqn.2026-11.com.example:{}*{}", &tail[..from], &tail[to..]);
            prop_assert!(matches(&pattern, &name), "{pattern} {name}");
        }

        #[test]
        fn an_address_is_in_each_of_its_networks(bits in any::<u32>(), prefix in 0u32..=32) {
            let network = bits & u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            let network = format!("{}/{prefix}", std::net::Ipv4Addr::from_bits(network)).parse::<Network>().unwrap();
            prop_assert!(network.contains(std::net::Ipv4Addr::from_bits(bits).into()));
        }

        #[test]
        fn any_text_is_taken_or_refused(text in any::<String>()) {
            let _ = text.parse::<Network>();
            let _ = text.parse::<NamePattern>();
        }
    }
}
