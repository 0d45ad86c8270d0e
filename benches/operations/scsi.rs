//! From a CDB to a plan.

use super::Operation;
use ringsan::model::{AccessState, InitiatorPort, IscsiName, PortGroup};
use ringsan::scsi::{Command, LogicalUnit, LuNexus, LuParams, MediumOp, NexusId, Now, Outcome, Plan, Reply, identity};
use ringsan::wire::{Isid, Lun};
use std::hint::black_box;

const TARGET: &str = "iqn.2026-01.example:bench";

pub const PLANNING: &[Operation] = &[
    Operation { name: "plan READ(10)", items: 1, bytes: 0, make: || planning(READ_10, is_medium) },
    Operation { name: "plan WRITE(16)", items: 1, bytes: 0, make: || planning(WRITE_16, is_medium) },
    Operation { name: "plan TEST UNIT READY", items: 1, bytes: 0, make: || planning([0; 16], is_good) },
    Operation { name: "plan INQUIRY", items: 1, bytes: 0, make: || planning(INQUIRY, is_good) },
];

const READ_10: [u8; 16] = [0x28, 0, 0, 0, 0x10, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0];
const WRITE_16: [u8; 16] = [0x8a, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 8, 0, 0];
const INQUIRY: [u8; 16] = [0x12, 0, 0, 0, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn is_medium(plan: &Plan) -> bool {
    matches!(plan, Plan::Medium(MediumOp::Read { .. } | MediumOp::Write { .. }))
}

fn is_good(plan: &Plan) -> bool {
    *plan == Plan::Done(Outcome::GOOD)
}

fn planning(cdb: [u8; 16], expected: fn(&Plan) -> bool) -> Box<dyn FnMut()> {
    let unit = LogicalUnit::new(LuParams {
        block_bytes: 512,
        physical_block_bytes: 4096,
        blocks: 1 << 20,
        readonly: false,
        thin: false,
        serial: "0123456789abcdef".into(),
        naa: identity::naa(TARGET, 0, None),
        target_name: TARGET.into(),
        port_groups: vec![PortGroup { tag: 1, relative_port: 1, state: AccessState::ActiveOptimized }],
        unmap_granularity_blocks: 8,
        unmap_alignment_blocks: 0,
        volatile_cache: false,
        rotational: false,
        removable: false,
        cdrom: false,
        low_space_bytes: None,
        atomic_blocks: 0,
    });
    let name = IscsiName::new("iqn.2026-01.example:host").expect("a name");
    let port = InitiatorPort::new(name, Isid([0x80, 0, 0, 0, 0, 1]));
    let mut nexus = LuNexus::new(NexusId(1), &unit);
    let mut reply = Reply::default();
    let mut plan = move |cdb: &[u8]| {
        let command =
            Command { cdb, lun: Lun::flat(0), initiator: &port, protocol_level: 1, luns: &[0], now: Now::default() };
        unit.plan(&mut nexus, &command, &mut reply)
    };
    // The first command of a nexus reports a unit attention.
    plan(&[0; 16]);
    assert!(expected(&plan(&cdb)));
    Box::new(move || {
        black_box(plan(black_box(&cdb)));
    })
}
