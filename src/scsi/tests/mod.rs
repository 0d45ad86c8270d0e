//! The device server seen from outside: golden responses, what initiators do at scan, and properties over any CDB.

mod alua;
mod clock;
mod copying;
mod erase;
mod golden;
mod logs;
mod nexus;
mod paths;
mod properties;
mod registrations;
mod removable;
mod reservations;
mod saving;
mod table;
mod transfers;
mod variable;

use super::*;
use crate::model::{AccessState, InitiatorPort, IscsiName, ItNexus, PortGroup};
use crate::wire::{Isid, Lun};

pub(in crate::scsi) const TARGET: &str = "iqn.2026-01.org.example:disk";

pub(in crate::scsi) fn params() -> LuParams {
    LuParams {
        block_bytes: 512,
        physical_block_bytes: 4096,
        blocks: 2048 * 100,
        readonly: false,
        thin: true,
        serial: "0123456789abcdef".into(),
        naa: identity::naa(TARGET, 0, None),
        target_name: TARGET.into(),
        port_groups: vec![PortGroup { tag: 1, relative_port: 1, state: AccessState::ActiveOptimized }],
        unmap_granularity_blocks: 8,
        unmap_alignment_blocks: 0,
        volatile_cache: true,
        rotational: false,
        removable: false,
        cdrom: false,
        low_space_bytes: None,
        atomic_blocks: 512,
    }
}

/// A CD-ROM of 50000 blocks.
pub(in crate::scsi) fn cdrom() -> LuParams {
    LuParams {
        block_bytes: 2048,
        physical_block_bytes: 2048,
        blocks: 50_000,
        readonly: true,
        thin: false,
        volatile_cache: false,
        removable: true,
        cdrom: true,
        atomic_blocks: 0,
        ..params()
    }
}

pub(in crate::scsi) fn port(number: u8) -> InitiatorPort {
    let name = IscsiName::new(&format!("iqn.2026-01.org.example:host{number}")).expect("a name");
    InitiatorPort::new(name, Isid([0, 2, 0x3d, 0, 0, number]))
}

/// The I_T nexus of host `number` by way of a target port.
pub(in crate::scsi) fn it_nexus(number: u8, target_port: u16) -> ItNexus {
    ItNexus { initiator: port(number), target_port }
}

/// A nexus with what it needs to send commands; its first unit attention is taken already.
pub(in crate::scsi) struct Host<'a> {
    pub(in crate::scsi) unit: &'a LogicalUnit,
    pub(in crate::scsi) nexus: LuNexus,
    pub(in crate::scsi) port: InitiatorPort,
    pub(in crate::scsi) reply: Reply,
    pub(in crate::scsi) now: Now,
}

/// When commands are planned, unless said otherwise.
pub(in crate::scsi) const NOW: Now = Now { ms: 10_000, since_1970_ms: 1_750_000_000_000 };

impl<'a> Host<'a> {
    pub(in crate::scsi) fn fresh(unit: &'a LogicalUnit, number: u8) -> Host<'a> {
        let nexus = LuNexus::new(NexusId(u64::from(number)), unit);
        Host { unit, nexus, port: port(number), reply: Reply::default(), now: NOW }
    }

    pub(in crate::scsi) fn new(unit: &'a LogicalUnit, number: u8) -> Host<'a> {
        let mut host = Host::fresh(unit, number);
        assert_eq!(host.failure(&[0x00]), (0x6, 0x2900));
        host
    }

    pub(in crate::scsi) fn send(&mut self, cdb: &[u8]) -> Plan {
        let cdb = whole(cdb);
        let command = command(&cdb, &self.port, self.now);
        self.unit.plan(&mut self.nexus, &command, &mut self.reply)
    }

    /// Sends a command with its parameter list.
    pub(in crate::scsi) fn send_list(&mut self, cdb: &[u8], list: &[u8]) -> Plan {
        let plan = self.send(cdb);
        let Plan::Parameters { len_bytes } = plan else { return plan };
        assert_eq!(len_bytes as usize, list.len());
        let cdb = whole(cdb);
        let command = command(&cdb, &self.port, self.now);
        let plan = self.unit.parameters(&mut self.nexus, &command, list, &mut self.reply);
        self.stored(plan, true)
    }

    /// Carries out what is to be saved, with a store that works or does not.
    pub(in crate::scsi) fn stored(&mut self, plan: Plan, works: bool) -> Plan {
        let Plan::Save(saving) = plan else { return plan };
        let end = self.unit.save(&saving, |_| works);
        self.reply.aborts = end.aborts;
        if end.flush { Plan::Medium(MediumOp::Flush { immed: false }) } else { Plan::Done(end.outcome) }
    }

    /// The Data-In of a command that ends GOOD.
    pub(in crate::scsi) fn data(&mut self, cdb: &[u8]) -> Vec<u8> {
        assert_eq!(self.send(cdb), Plan::Done(Outcome::GOOD), "{cdb:02x?}");
        self.reply.data.clone()
    }

    /// Sense key and additional sense code of a command that fails.
    pub(in crate::scsi) fn failure(&mut self, cdb: &[u8]) -> (u8, u16) {
        sense_of(self.send(cdb))
    }
}

/// A command to LUN 0.
fn command<'a>(cdb: &'a [u8], initiator: &'a InitiatorPort, now: Now) -> Command<'a> {
    Command { cdb, lun: Lun::flat(0), initiator, protocol_level: 1, luns: &[0, 1, 300], now }
}

pub(in crate::scsi) fn padded(cdb: &[u8]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..cdb.len()].copy_from_slice(cdb);
    bytes
}

/// A CDB of 32 bytes as it is, a shorter one padded to 16.
fn whole(cdb: &[u8]) -> Vec<u8> {
    let mut bytes = cdb.to_vec();
    bytes.resize(cdb.len().max(16), 0);
    bytes
}

/// The CDB of a row with nothing in it but what names the command.
pub(super) fn bare(row: &opcode::Row) -> Vec<u8> {
    let mut cdb = vec![0; row.usage.len().max(16)];
    cdb[0] = row.opcode();
    name_action(row, &mut cdb);
    cdb
}

/// Puts the service action of a row, and the length that belongs to it, into a CDB.
pub(super) fn name_action(row: &opcode::Row, cdb: &mut [u8]) {
    let Some(action) = row.action else { return };
    if row.usage.len() == 32 {
        cdb[7] = 0x18;
        cdb[8..10].copy_from_slice(&action.to_be_bytes());
    } else {
        cdb[1] = cdb[1] & !0x1f | action as u8;
    }
}

pub(in crate::scsi) fn sense_of(plan: Plan) -> (u8, u16) {
    match plan {
        Plan::Done(Outcome { status: 0x02, sense: Some(sense) }) => (sense.key, sense.asc_ascq),
        other => panic!("no CHECK CONDITION: {other:?}"),
    }
}
