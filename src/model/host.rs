//! Whose an address is. Every table that counts peers is keyed by one of these two.
//!
//! A host has one address of IPv4, but a whole /64 of IPv6, of which it may use another address for each connection. And yet
//! on many a network one /64 is that of all hosts. So what each may have is a bound of its [`Address`], and what is left to
//! others whatever it does one of its [`Host`].

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The address of a peer, however it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(IpAddr);

impl Address {
    /// Of a connection.
    pub fn of(peer: SocketAddr) -> Address {
        Address(peer.ip().to_canonical())
    }

    /// Whose it may be, at worst.
    pub fn host(self) -> Host {
        match self.0 {
            IpAddr::V6(v6) => Host(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into()),
            v4 => Host(v4),
        }
    }
}

/// All addresses that one host may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(IpAddr);

impl Host {
    /// The one at the other end of a connection.
    pub fn of(peer: SocketAddr) -> Host {
        Address::of(peer).host()
    }
}

/// For tests of what is counted by host, too.
#[cfg(test)]
pub mod tests {
    use super::*;

    /// A peer at that address.
    pub fn at(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 50_000)
    }

    #[test]
    fn a_host_has_a_prefix_of_addresses() {
        let [one, two, other] = ["2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"].map(at);
        assert_eq!((Host::of(one), Address::of(one) == Address::of(two)), (Host::of(two), false));
        assert_ne!(Host::of(one), Host::of(other));
        let [mapped, plain, next] = ["::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"].map(at);
        assert_eq!((Address::of(mapped), Host::of(mapped)), (Address::of(plain), Host::of(plain)));
        assert_ne!(Host::of(plain), Host::of(next));
    }
}
