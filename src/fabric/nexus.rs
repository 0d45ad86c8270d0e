//! What a core makes for a unit: its own handle, and what an initiator port has pending there.

use crate::backend::{Handle, WayIn};
use crate::model::{Address, InitiatorPort};
use crate::scsi::{LuNexus, NexusId};
use crate::transport::io::Io;
use crate::unit::Unit;
use std::net::SocketAddr;

/// A core's handle of the unit with number `slot`, registered where its entries go if there is room. `way_in` is the core's.
pub fn handle(io: &Io, way_in: &WayIn, slot: u32, unit: &Unit) -> Handle {
    let mut handle = unit.medium.handle(way_in);
    if io.set_file(slot, handle.raw_fd().unwrap_or(-1)).is_ok() && handle.raw_fd().is_some() {
        handle.set_registered(slot);
    }
    handle
}

/// What an initiator port has pending at a unit that it has not found before.
pub fn new_nexus(id: NexusId, unit: &Unit, port: &InitiatorPort, peer: SocketAddr) -> LuNexus {
    LuNexus::new(id, &unit.logical).of_port(&unit.logical, port, unit.syncs.failures()).at(Address::of(peer))
}
