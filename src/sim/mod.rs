//! A second driver of the cores: their kernel, network and media are plain memory, with a clock that only moves when it is told
//! to; and the initiators that speak to them.
//!
//! | file | is |
//! |---|---|
//! | `cores` | cores in memory: what they are told when, in which pieces and in which order |
//! | `lines` | the network between hosts and cores |
//! | `trace` | a scripted initiator: reads like the trace of a packet sniffer, plays one side and checks the other |
//! | `target` | a core with a disk in this process, driven by packets |
//! | `tcp` | the same interface over TCP, to a server that is running |
//! | `host` | one initiator of several: sessions of all kinds, all commands, all recovery, by bytes over a `net` |
//! | `joining`, `deeds`, `reserving`, `asked` | how it logs in, what it does, what it has asked for and waits for |
//! | `workload`, `copies`, `ways`, `heralds` | which commands, and how often what; its connections; which LUNs it was told of |
//! | `judge`, `blocks`, `attentions`, `views`, `modes`, `paces`, `verdict` | what all hosts share: what blocks may hold, who may or must be told what, or finds what, or how fast; how a command may end |
//! | `end` | the initiator's end of a connection, of both: packets to bytes and back |
//! | `world` | an initiator that recovers, a network that fails, and the target under one seed, with an oracle |
//!
//! Everything is decided by its arguments and its seed: a run can be repeated. Nothing here is used by the server.
//!
//! Packets stand for PDUs that are sent and received whole. What becomes of one is decided before it is bytes: it is delivered in
//! order, with a data digest that does not match, lost (which stands for a header digest error behind which the receiver found
//! its way again), or its connection is cut.

pub mod cores;
pub mod end;
pub mod lines;
pub mod target;
pub mod tcp;
pub mod trace;
pub mod world;

use crate::initiator::outbox::{Outbox, Outgoing, Payload};
use crate::wire::{BHS_LEN, Bhs};

/// One PDU on its way.
#[derive(Debug, Clone)]
pub struct Packet {
    /// Number of the connection, as the initiator counts them.
    pub conn: usize,
    /// Its header.
    pub bhs: Bhs,
    /// Additional header segments.
    pub ahs: Vec<u8>,
    /// Data segment, without padding.
    pub data: Vec<u8>,
    /// The data digest matches, or there is none.
    pub intact: bool,
}

impl Packet {
    /// A PDU without AHS; DataSegmentLength is set here.
    pub fn new(conn: usize, bhs: &Bhs, data: Vec<u8>) -> Packet {
        let mut bhs: [u8; BHS_LEN] = *bhs;
        crate::wire::bhs::set_data_segment_len(&mut bhs, data.len());
        Packet { conn, bhs, ahs: Vec::new(), data, intact: true }
    }
}

/// A target as an initiator sees it.
pub trait Peer {
    /// Opens a connection. `conn` is free, or was cut.
    fn open(&mut self, conn: usize);
    /// Cuts a connection: both sides lose what is under way.
    fn cut(&mut self, conn: usize);
    /// Sends a PDU.
    fn send(&mut self, packet: Packet);
    /// Lets `ms` milliseconds pass.
    fn pass(&mut self, ms: u64);
    /// Takes what has arrived, oldest first.
    fn receive(&mut self) -> Vec<Packet>;
    /// Whether the target has closed a connection.
    fn is_closed(&self, conn: usize) -> bool;
}

/// What an initiator sends goes by this connection of a peer. It has no data of commands.
pub struct By<'a, P>(pub &'a mut P, pub usize);

impl<P: Peer> Outbox for By<'_, P> {
    fn pdu(&mut self, pdu: &Outgoing<'_>) {
        let data = match pdu.payload {
            Payload::Bytes(bytes) => bytes.to_vec(),
            Payload::None | Payload::Data { .. } => Vec::new(),
        };
        let packet = Packet::new(self.1, &pdu.bhs, data);
        self.0.send(Packet { ahs: pdu.ahs.to_vec(), intact: !pdu.spoilt.data, ..packet });
    }
}

/// Numbers from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Rng(pub u64);

impl Rng {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end.max(1)
    }

    /// A number below `end`, mostly far below: how long something takes that is mostly short, and now and then long.
    #[cfg_attr(not(test), expect(dead_code, reason = "for storms"))]
    pub(crate) fn while_below(&mut self, end: u64) -> u64 {
        let shift = self.below(12);
        self.below((end >> shift).max(1))
    }

    /// True in `n` of 1000 cases.
    pub fn per_mille(&mut self, n: u64) -> bool {
        self.below(1000) < n
    }
}

#[cfg(test)]
mod appendix;
#[cfg(test)]
mod asked;
#[cfg(test)]
pub mod attentions;
#[cfg(test)]
pub mod blocks;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod deeds;
#[cfg(test)]
pub mod heralds;
#[cfg(test)]
pub mod host;
#[cfg(test)]
mod host_tests;
#[cfg(test)]
mod joining;
#[cfg(test)]
pub mod judge;
#[cfg(test)]
pub mod modes;
#[cfg(test)]
pub mod net;
#[cfg(test)]
pub mod paces;
#[cfg(test)]
mod reserving;
#[cfg(test)]
mod states;
#[cfg(test)]
mod storm;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub mod verdict;
#[cfg(test)]
pub mod views;
#[cfg(test)]
pub mod ways;
#[cfg(test)]
pub mod workload;
