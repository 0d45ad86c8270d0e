//! Any commands with any parameter lists, of three hosts to one logical unit: no panic, nothing beyond the end of the unit,
//! no more Data-In than was asked for.

use super::input::Input;
use ringsan::limits;
use ringsan::model::{AccessState, InitiatorPort, IscsiName, PortGroup};
use ringsan::scsi::{
    Command, LogicalUnit, LuNexus, LuParams, MediumOp, NexusId, Now, Outcome, Plan, Reply, identity, opcode,
};
use ringsan::wire::{Isid, Lun};

const TARGET: &str = "iqn.2026-01.org.example:disk";

/// A disk as the state file and the commands see it.
pub fn disk() -> LuParams {
    LuParams {
        block_bytes: 512,
        physical_block_bytes: 4096,
        blocks: 2048 * 100,
        readonly: false,
        thin: true,
        serial: "0123456789abcdef".into(),
        naa: identity::naa(TARGET, 0, None),
        target_name: TARGET.into(),
        port_groups: vec![
            PortGroup { tag: 1, relative_port: 1, state: AccessState::ActiveOptimized },
            PortGroup { tag: 2, relative_port: 2, state: AccessState::ActiveOptimized },
        ],
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

fn params(input: &mut Input<'_>) -> LuParams {
    let kinds = input.byte();
    let blocks = input.one_of(&[2048 * 100, 0, 1, 7, 1_000_000, u64::MAX / 4096]);
    let disk = LuParams { blocks, thin: kinds & 1 == 1, removable: kinds & 2 == 2, readonly: kinds & 4 == 4, ..disk() };
    match kinds & 0x18 {
        0x08 => LuParams { block_bytes: 4096, ..disk },
        0x10 => {
            let (readonly, removable, cdrom) = (true, true, true);
            LuParams {
                block_bytes: 2048,
                physical_block_bytes: 2048,
                readonly,
                removable,
                cdrom,
                thin: false,
                volatile_cache: false,
                atomic_blocks: 0,
                ..disk
            }
        }
        _ => disk,
    }
}

/// A CDB that is mostly right: the operation code and service action of a row, its other bits cut to the usage mask or not.
fn cdb(input: &mut Input<'_>) -> Vec<u8> {
    let row = usize::from(input.byte());
    let kind = input.byte();
    let Some(row) = opcode::TABLE.get(row) else {
        let len = 16 + input.len(244);
        let mut any = input.bytes(len).to_vec();
        any.resize(len, 0);
        return any;
    };
    let mut cdb = vec![0; row.usage.len().max(16)];
    for (at, byte) in cdb.iter_mut().enumerate() {
        let mask = if kind & 1 == 0 { row.usage.get(at).copied().unwrap_or(0) } else { 0xff };
        *byte = input.byte() & mask;
    }
    cdb[0] = row.opcode();
    if let Some(action) = row.action {
        if row.usage.len() == 32 {
            cdb[7] = 0x18;
            cdb[8..10].copy_from_slice(&action.to_be_bytes());
        } else {
            cdb[1] = cdb[1] & !0x1f | action as u8;
        }
    }
    cdb
}

fn check(unit: &LogicalUnit, plan: &Plan, reply: &Reply) {
    let inside = |lba: u64, blocks: u64| {
        let end = lba.checked_add(blocks).expect("no overflow");
        assert!(blocks > 0 && end <= unit.blocks(), "{plan:?} of {} blocks", unit.blocks());
    };
    match plan {
        Plan::Done(Outcome { status: 0, sense: None }) => {}
        Plan::Done(Outcome { status, sense }) => {
            assert_eq!(*status == 2, sense.is_some(), "CHECK CONDITION goes with sense");
            assert!(reply.data.is_empty(), "data beside sense");
        }
        Plan::Parameters { len_bytes } => {
            assert!(
                *len_bytes > 0 && *len_bytes as usize <= limits::MAX_PARAMETER_BYTES,
                "{len_bytes} bytes of parameters"
            );
        }
        Plan::Save(_) => panic!("to be saved twice"),
        Plan::Buffer => panic!("there is room"),
        Plan::Medium(op) => {
            match op {
                MediumOp::Unmap { ranges } => ranges.iter().for_each(|(lba, blocks)| inside(*lba, *blocks)),
                // A change of the generation, or COMPARE AND WRITE, of no blocks, and what has no range.
                _ if op.row().range.1 == 0 => {}
                _ => inside(op.row().range.0, op.row().range.1),
            }
            assert!(op.row().data_out_bytes(unit.block_bytes()) <= limits::MAX_TRANSFER_BYTES, "{op:?}");
        }
    }
}

struct Host {
    nexus: LuNexus,
    port: InitiatorPort,
}

impl Host {
    fn new(unit: &LogicalUnit, number: u8) -> Host {
        let name = IscsiName::new(&format!("iqn.2026-01.org.example:host{number}")).expect("a name");
        let nexus = LuNexus::new(NexusId(u64::from(number)), unit).by_port_group(1 + u16::from(number % 2));
        Host { nexus, port: InitiatorPort::new(name, Isid([0, 2, 0x3d, 0, 0, number])) }
    }
}

/// Carries out what is to be saved, with a store that works or does not.
fn stored(unit: &LogicalUnit, plan: Plan, works: bool) -> Plan {
    let Plan::Save(saving) = plan else { return plan };
    let end = unit.save(&saving, |_| works);
    if end.flush { Plan::Medium(MediumOp::Flush { immed: false }) } else { Plan::Done(end.outcome) }
}

/// See the module.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let unit = LogicalUnit::new(params(&mut input));
    let mut reply = Reply::default();
    let mut hosts: Vec<Host> = (0..3).map(|number| Host::new(&unit, number)).collect();
    for at_ms in 0..32 {
        let now = Now { ms: at_ms, since_1970_ms: at_ms };
        if input.is_empty() {
            break;
        }
        let from = usize::from(input.byte());
        let (number, works) = (from % hosts.len(), from & 0x80 == 0);
        let cdb = cdb(&mut input);
        let Host { nexus, port } = &mut hosts[number];
        let command =
            Command { cdb: &cdb, lun: Lun::flat(0), initiator: port, protocol_level: 1, luns: &[0, 1, 300], now };
        let plan = stored(&unit, unit.plan(nexus, &command, &mut reply), works);
        check(&unit, &plan, &reply);
        if let Plan::Parameters { len_bytes } = plan {
            let len = input.len(1024).min(len_bytes as usize);
            let plan = unit.parameters(nexus, &command, input.bytes(len), &mut reply);
            assert!(!matches!(plan, Plan::Parameters { .. }), "asked twice");
            check(&unit, &stored(&unit, plan, works), &reply);
        }
    }
}
