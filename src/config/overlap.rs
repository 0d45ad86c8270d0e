//! Addresses that cannot both be listened on.

use std::net::SocketAddr;

/// Whether one of two addresses is "all addresses" with the other among them. `[::]` takes IPv4, too.
pub(super) fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let within = |all: SocketAddr, one: SocketAddr| all.ip().is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    a.port() == b.port() && a.port() != 0 && (within(a, b) || within(b, a))
}
