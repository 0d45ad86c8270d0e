//! What a core makes for a unit: its own handle, and what an initiator port has pending there.

use crate::backend::{Handle, WayIn};
use crate::model::{Address, InitiatorPort, UnitIx};
use crate::scsi::{LuNexus, NexusId};
use crate::transport::io::Io;
use crate::unit::Unit;
use std::net::SocketAddr;

/// Where the file of a unit is registered with the ring, which has a slot for each unit.
fn file_slot(unit: UnitIx) -> u32 {
    unit.at() as u32
}

/// A core's handle of a unit, whose file is registered where its entries go if there is room. `way_in` is the core's.
pub fn handle(io: &Io, way_in: &WayIn, number: UnitIx, unit: &Unit) -> Handle {
    let (mut handle, slot) = (unit.medium.handle(way_in), file_slot(number));
    if io.set_file(slot, handle.raw_fd().unwrap_or(-1)).is_ok() && handle.raw_fd().is_some() {
        handle.set_registered(slot);
    }
    handle
}

/// Has the ring let go of the file of a unit: it keeps the files open that are registered with it.
pub fn close_file(io: &Io, unit: UnitIx) {
    let _ = io.set_file(file_slot(unit), -1);
}

/// What an initiator port has pending at a unit that it has not found before.
pub fn new_nexus(id: NexusId, unit: &Unit, port: &InitiatorPort, peer: SocketAddr) -> LuNexus {
    LuNexus::new(id, &unit.logical).of_port(&unit.logical, port, unit.syncs.failures()).at(Address::of(peer))
}
