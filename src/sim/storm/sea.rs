//! The network of a storm, with the target at its other end.

use crate::sim::Rng;
use crate::sim::cores::Cores;
use crate::sim::net::Net;
use std::net::SocketAddr;

/// What the network is, with its target: hosts see this.
pub(super) struct Sea {
    pub(super) cores: Cores,
    pub(super) rng: Rng,
}

impl Net for Sea {
    fn connect(&mut self, host: usize) -> Option<usize> {
        let peer = SocketAddr::from(([192, 0, 2, 1 + host as u8], 1024 + self.rng.below(60_000) as u16));
        let core = self.rng.below(self.cores.count() as u64) as usize;
        Some(self.cores.connect(peer, portal(), core))
    }

    fn send(&mut self, line: usize, bytes: &[u8]) {
        self.cores.send(line, bytes, &mut self.rng);
    }

    fn receive(&mut self, line: usize, into: &mut Vec<u8>) {
        self.cores.receive(line, into);
    }

    fn is_closed(&self, line: usize) -> bool {
        self.cores.has_ended(line)
    }

    fn is_gone(&self, line: usize) -> bool {
        self.cores.is_gone(line)
    }

    fn close(&mut self, line: usize) {
        self.cores.close(line, &mut self.rng);
    }

    fn now_ms(&self) -> u64 {
        self.cores.now_ms()
    }
}

/// Where hosts connect to.
pub(super) fn portal() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 3260))
}
