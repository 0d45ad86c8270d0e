//! Lines between hosts and cores, as a network is: what is sent arrives in pieces, later, in order, or not at all if the
//! line is cut.

use super::Rng;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// What a network does to what is sent.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// A piece is under way for so long at most, microseconds.
    pub delay_us: u64,
    /// In so many cases of 1000 it is for twenty times as long.
    pub slow: u64,
    /// A piece has so many bytes at most.
    pub piece_bytes: u64,
    /// A line takes no more than this that its other end has not read, bytes.
    pub window_bytes: usize,
    /// In so many cases of 1000 a core is not told in a turn of what has happened: it is the turn after.
    pub lags: u64,
}

impl Default for Weather {
    fn default() -> Weather {
        Weather { delay_us: 300, slow: 10, piece_bytes: 20_000, window_bytes: 256 << 10, lags: 200 }
    }
}

/// One direction of a line.
#[derive(Debug, Default)]
struct Way {
    /// What is under way: when it arrives, and the bytes.
    under_way: VecDeque<(u64, Vec<u8>)>,
    /// What has arrived and was not read.
    here: Vec<u8>,
}

impl Way {
    fn send(&mut self, now_us: u64, bytes: &[u8], weather: &Weather, rng: &mut Rng) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(1 + rng.below(weather.piece_bytes) as usize));
            let slowly = if rng.per_mille(weather.slow) { 20 } else { 1 };
            let arrives_us = now_us + rng.below(weather.delay_us * slowly + 1);
            let before_us = self.under_way.back().map_or(0, |(at_us, _)| *at_us);
            self.under_way.push_back((arrives_us.max(before_us), piece.to_vec()));
            rest = behind;
        }
    }

    fn arrive(&mut self, now_us: u64) {
        while let Some((at_us, piece)) = self.under_way.front()
            && *at_us <= now_us
        {
            self.here.extend_from_slice(piece);
            self.under_way.pop_front();
        }
    }

    fn len(&self) -> usize {
        self.here.len() + self.under_way.iter().map(|(_, piece)| piece.len()).sum::<usize>()
    }

    /// Damages a bit of what is under way.
    fn damage(&mut self, rng: &mut Rng) -> bool {
        let at = rng.below(self.under_way.len() as u64) as usize;
        let Some((_, piece)) = self.under_way.get_mut(at) else { return false };
        let bit = rng.below(piece.len() as u64 * 8) as usize;
        piece[bit / 8] ^= 1 << (bit % 8);
        true
    }

    fn lose(&mut self) {
        self.under_way.clear();
        self.here.clear();
    }
}

/// A line between a host and the target.
#[derive(Debug)]
pub struct Wire {
    /// The host's address.
    pub peer: SocketAddr,
    /// Where it connected to.
    pub portal: SocketAddr,
    to_target: Way,
    to_host: Way,
    /// Both ends have lost it.
    pub is_cut: bool,
    /// The host has closed its end.
    pub host_closed: bool,
    /// The target sends nothing more.
    pub target_ended: bool,
}

impl Wire {
    /// A line on which nothing was sent.
    pub fn new(peer: SocketAddr, portal: SocketAddr) -> Wire {
        let (to_target, to_host) = (Way::default(), Way::default());
        Wire { peer, portal, to_target, to_host, is_cut: false, host_closed: false, target_ended: false }
    }

    /// The host sends.
    pub fn send(&mut self, now_us: u64, bytes: &[u8], weather: &Weather, rng: &mut Rng) {
        if !self.is_cut && !self.host_closed {
            self.to_target.send(now_us, bytes, weather, rng);
        }
    }

    /// The target sends.
    pub fn answer(&mut self, now_us: u64, bytes: &[u8], weather: &Weather, rng: &mut Rng) {
        if !self.is_cut && !self.host_closed {
            self.to_host.send(now_us, bytes, weather, rng);
        }
    }

    /// What has arrived at the target.
    pub fn at_target(&mut self, now_us: u64) -> &mut Vec<u8> {
        self.to_target.arrive(now_us);
        &mut self.to_target.here
    }

    /// What has arrived at the host.
    pub fn at_host(&mut self, now_us: u64) -> &mut Vec<u8> {
        self.to_host.arrive(now_us);
        &mut self.to_host.here
    }

    /// How much the target may send before the host reads.
    pub fn room(&self, weather: &Weather) -> usize {
        weather.window_bytes.saturating_sub(self.to_host.len())
    }

    /// Whether all that the host has sent was received, and no more will come.
    pub fn ends_at_target(&self) -> bool {
        self.is_cut || self.host_closed && self.to_target.len() == 0
    }

    /// Whether all that the target has sent was received, and no more will come.
    pub fn ends_at_host(&self) -> bool {
        self.is_cut || self.target_ended && self.to_host.len() == 0
    }

    /// Whether the target, or the network, has ended it.
    pub fn is_gone(&self) -> bool {
        self.is_cut || self.target_ended
    }

    /// The line is cut: both sides lose what is under way.
    pub fn cut(&mut self) {
        self.is_cut = true;
        self.to_target.lose();
        self.to_host.lose();
    }

    /// Damages a bit of what is under way. False: nothing is.
    pub fn damage(&mut self, rng: &mut Rng) -> bool {
        let (one, other) = (&mut self.to_target, &mut self.to_host);
        if rng.per_mille(500) { one.damage(rng) } else { other.damage(rng) }
    }

    /// When something more arrives where somebody reads, microseconds.
    pub fn next_us(&self) -> Option<u64> {
        let first = |way: &Way| way.under_way.front().map(|(at_us, _)| *at_us);
        let to_target = if self.target_ended { None } else { first(&self.to_target) };
        let to_host = if self.host_closed { None } else { first(&self.to_host) };
        to_target.into_iter().chain(to_host).min()
    }
}
