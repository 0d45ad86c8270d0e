//! Who is let in: bounds on logins under way, of one core.

use crate::model::{Address, ConnNo};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// The connections of one core that are logging in, the oldest first. Those that are through are forgotten when the next
/// one comes.
#[derive(Debug, Default)]
pub struct HalfOpen(VecDeque<(ConnNo, SocketAddr)>);

impl HalfOpen {
    /// Notes that connection number `conn` is logging in, and says which one is to make room, if one is. `waits` says
    /// which of the others are still logging in. With more than `most_per_address` from one address it is the oldest of
    /// that address. Else, with more than three quarters of `most` from one host, it is the oldest of that host's
    /// address that has most of them: a host is not to have all places, and where many share a network it is not they
    /// who have many. Else, with more than `most`, it is the oldest of all.
    pub fn enter(
        &mut self,
        conn: ConnNo,
        peer: SocketAddr,
        (most, most_per_address): (usize, usize),
        waits: impl Fn(ConnNo, SocketAddr) -> bool,
    ) -> Option<ConnNo> {
        self.0.retain(|&(conn, peer)| waits(conn, peer));
        self.0.push_back((conn, peer));
        let address = Address::of(peer);
        let oldest_of = |address: Address| self.0.iter().find(|other| Address::of(other.1) == address);
        let mut of_host: Vec<Address> = self.0.iter().map(|other| Address::of(other.1)).collect();
        of_host.retain(|other| other.host() == address.host());
        let oldest = if of_host.iter().filter(|other| **other == address).count() > most_per_address {
            oldest_of(address)
        } else if of_host.len() > most - most / 4 {
            of_host.sort_unstable();
            let fullest = of_host.chunk_by(Address::eq).max_by_key(|same| same.len());
            fullest.and_then(|same| oldest_of(*same.first()?))
        } else {
            self.0.front().filter(|_| self.0.len() > most)
        };
        oldest.map(|&(conn, _)| conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::tests::at;
    use std::net::IpAddr;

    #[test]
    fn the_oldest_login_makes_room() {
        let at = |host: u8, port| SocketAddr::new(IpAddr::from([192, 0, 2, host]), port);
        let mut half_open = HalfOpen::default();
        let mut enter = |conn, peer, gone: &[usize]| {
            let oldest = half_open.enter(ConnNo::new(conn), peer, (4, 2), |c, _| !gone.contains(&c.at()));
            oldest.map(ConnNo::at)
        };
        assert_eq!(enter(0, at(1, 1), &[]), None);
        assert_eq!(enter(1, at(2, 1), &[]), None);
        assert_eq!(enter(2, at(1, 2), &[]), None);
        assert_eq!(enter(3, at(1, 3), &[]), Some(0), "of the same address");
        assert_eq!(enter(4, at(3, 1), &[0]), None);
        assert_eq!(enter(5, at(4, 1), &[]), Some(1), "of all");
        assert_eq!(enter(6, at(5, 1), &[1, 2, 3]), None);
    }

    #[test]
    fn a_host_of_many_addresses_does_not_keep_out_other_logins() {
        let mut half_open = HalfOpen::default();
        let mut enter = |conn, peer| half_open.enter(ConnNo::new(conn), at(peer), (8, 6), |_, _| true).map(ConnNo::at);
        assert_eq!(enter(0, "2001:db8:0:1::1"), None);
        assert_eq!((enter(1, "2001:db8::a"), enter(2, "2001:db8::b")), (None, None));
        assert_eq!([3, 4, 5].map(|conn| enter(conn, "2001:db8::c")), [None; 3]);
        assert_eq!(enter(6, "2001:db8::d"), None);
        assert_eq!(enter(7, "2001:db8::e"), Some(3), "of the address that has most, and of no other host");
    }
}
