//! The executor by itself: no PDU, no session, no socket.

// `exec` may not name `sim`, which drives it.
#[expect(dead_code, reason = "the simulator needs more of it")]
#[allow(clippy::duplicate_mod)]
#[path = "../sim/blocks.rs"]
mod blocks;
mod local;
mod seeds;
mod stages;

use super::executor::Executor;
use crate::backend::{FaultPlan, Medium, WayIn};
use crate::buffers::{Account, Arena};
use crate::jobs::job::{Job, JobCx};
use crate::model::{LunKind, LunSpec, PerUnit, UnitIx};
use crate::rate::{Bucket, OPEN};
use crate::scsi::LuParams;
use crate::state::Keeper;
use crate::unit::Unit;
use crate::unit::errandry::Errandry;
use crate::unit::media::Media;
use std::path::Path;
use std::sync::Arc;

/// Logical block length of the units here, bytes.
const BLOCK_BYTES: u32 = 512;

/// An executor without a unit.
pub fn idle() -> Executor {
    executor(Vec::new())
}

/// An executor of these units.
fn executor(units: Vec<Arc<Unit>>) -> Executor {
    let (keeper, _thread) = Keeper::start().unwrap();
    let way_in = WayIn::new(|| ());
    let handles = units.iter().map(|unit| unit.medium.handle(&way_in)).collect();
    let media = Media {
        units: units.into_iter().collect(),
        rates: Arc::default(),
        unit_rates: PerUnit::default(),
        keeper: Arc::new(keeper),
        errandry: Arc::new(Errandry::start().unwrap()),
        post: Arc::new(|_, _| ()),
    };
    Executor::new(0, media, Arena::new().unwrap(), (handles, way_in))
}

/// A unit in memory whose operations go as planned.
fn unit(blocks: u64, plan: FaultPlan) -> Arc<Unit> {
    let size_bytes = blocks * u64::from(BLOCK_BYTES);
    let medium = Medium::open(&LunSpec { size_bytes: Some(size_bytes), ..LunSpec::new(0, LunKind::Ram) }).unwrap();
    let medium = Arc::new(Medium::with_faults(Arc::new(medium), plan));
    let params = LuParams {
        block_bytes: BLOCK_BYTES,
        physical_block_bytes: BLOCK_BYTES,
        blocks,
        readonly: false,
        thin: true,
        serial: "local".to_owned(),
        naa: [0x60; 16],
        target_name: String::new(),
        port_groups: Vec::new(),
        unmap_granularity_blocks: 1,
        unmap_alignment_blocks: 0,
        volatile_cache: false,
        rotational: false,
        removable: false,
        cdrom: false,
        low_space_bytes: None,
        atomic_blocks: 512,
    };
    Arc::new(Unit::new(medium, params, (Path::new(""), None), 1))
}

#[test]
fn a_job_that_asks_again_while_it_waits_at_a_limit_has_one_place_there() {
    let mut executor = executor(vec![unit(2048, FaultPlan::new())]);
    executor.media.rates = Arc::new([Arc::new(Bucket::new(1 << 20))]);
    executor.media.unit_rates = PerUnit::filled([OPEN, 0], 1);
    assert!(executor.change_rates(false).is_some_and(|waiters| waiters.is_empty()));
    let (cx, unit) = (JobCx::new(Account::default()), UnitIx::new(0));
    let mut job = Job::new(&cx, std::future::pending(), (unit, None));
    job.pay.charged = true;
    executor.enlist(job);
    let pays = |executor: &mut Executor| {
        executor.running.jobs[0].as_mut().unwrap().pay.paid = false;
        executor.pay_bytes(0, unit, 1 << 20)
    };
    assert!((0..8).any(|_| !pays(&mut executor)), "it has to wait in the end");
    // It is polled, for whatever reason.
    assert!(!pays(&mut executor));
    assert_eq!(executor.change_rates(true).map(|waiters| waiters.len()), Some(1));
}
