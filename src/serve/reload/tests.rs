//! Another configuration against a world without cores: what they are told is taken over here.

use super::plan::{Mode, Stay};
use super::*;
use crate::backend::{FaultAction, FaultPlan, FaultRule, Medium, OpClass};
use crate::model::{AccessState, IscsiName, LunKind, LunSpec, MediumFault, Portal, TargetSpec};
use crate::scsi::identity;
use crate::scsi::{IdentifyingInformation, Lost, Saved};
use crate::serve::error::ServeError;
use crate::unit::notice::Notice;
use crate::world::error::WorldError;
use std::fs::{self, File};
use std::path::Path;

const MIB: u64 = 1 << 20;

/// A folder, what is served out of it, and the one core.
struct Bench {
    folder: tempfile::TempDir,
    reloader: Reloader,
    core: Arc<World>,
    /// Units of which it was told that writes may be lost.
    lost: Vec<UnitIx>,
    /// Listeners that it was told to accept connections at, or no more.
    listening: Vec<(usize, bool)>,
}

fn target(name: &str, luns: Vec<LunSpec>) -> TargetSpec {
    TargetSpec::new(IscsiName::new(&format!("iqn.2026-11.io.ringsan:{name}")).unwrap(), None, luns)
}

fn snapshot(targets: Vec<TargetSpec>) -> Snapshot {
    let portal = Portal { listen: ([127, 0, 0, 1], 3260).into(), advertise: None, group_tag: 1 };
    Snapshot { portals: vec![portal], targets, ..Snapshot::default() }
}

impl Bench {
    fn new(luns: impl FnOnce(&Path) -> Vec<LunSpec>) -> Bench {
        Bench::changed(luns, |_| {})
    }

    /// With units that are changed before anybody uses them.
    fn changed(luns: impl FnOnce(&Path) -> Vec<LunSpec>, changed: impl FnOnce(&mut World)) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let first = Snapshot { state: folder.path().join("state"), ..snapshot(vec![target("a", luns(folder.path()))]) };
        let (mut world, _keeper) = World::open(first, 1).unwrap();
        changed(&mut world);
        let reloader = Reloader::new(world, Mesh::new(1).unwrap());
        Bench { core: Arc::clone(reloader.world()), reloader, folder, lost: Vec::new(), listening: Vec::new() }
    }

    fn file(&self, number: u16, name: &str, bytes: u64) -> LunSpec {
        file(self.folder.path(), number, name, bytes)
    }

    /// What the core does with its messages. The units that it was told to let go of.
    fn turn(&mut self) -> Vec<UnitIx> {
        let mut leaving = Vec::new();
        for message in self.reloader.mesh.of(0).unwrap().take() {
            let change = match message {
                Message::Change(change) => change,
                Message::Executor(Notice::Lost { unit }) => {
                    self.lost.push(unit);
                    continue;
                }
                Message::Listen { number, socket } => {
                    self.listening.push((number, socket.is_some()));
                    continue;
                }
                _ => panic!("another message"),
            };
            self.core = Arc::clone(&change.world);
            for unit in &change.world.leaving {
                change.world.units[*unit].let_go(0);
                leaving.push(*unit);
            }
        }
        leaving
    }

    /// Everything that follows from a reload.
    fn settle(&mut self) {
        self.turn();
        let begin = Instant::now();
        while self.reloader.is_under_way() {
            assert!(begin.elapsed() < Duration::from_secs(20), "it does not end");
            self.reloader.look();
            self.turn();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The LUNs that are not served, and whether they wait for a file.
    fn missing(&self) -> Vec<(u16, bool)> {
        self.reloader.world.missing.lock().luns.iter().map(|of| (of.lun.number, of.waits)).collect()
    }

    fn missing_lun(&self, number: u16) -> MissingLun {
        let missing = self.reloader.world.missing.lock();
        missing.luns.iter().find(|of| of.lun.number == number).expect("it is not served").clone()
    }

    /// It is time to try again what is not served.
    fn try_again(&mut self) {
        self.reloader.retry.hurry();
        self.reloader.look();
        self.turn();
    }

    fn luns(&self, target: usize) -> Vec<u16> {
        self.core.targets[target].numbers.clone()
    }

    fn blocks(&self, target: usize, lun: u16) -> u64 {
        let target = &self.core.targets[target];
        self.core.units[target.units[target.position(lun).unwrap()]].logical.blocks()
    }
}

fn file(folder: &Path, number: u16, name: &str, bytes: u64) -> LunSpec {
    LunSpec {
        size_bytes: Some(bytes),
        create: true,
        thin: true,
        ..LunSpec::new(number, LunKind::File(folder.join(name)))
    }
}

#[test]
fn units_come_go_and_keep_their_place() {
    let mut bench = Bench::new(|folder| vec![file(folder, 0, "a", MIB), file(folder, 1, "b", MIB)]);
    let kept = Arc::clone(&bench.core.units[1]);
    let luns = vec![bench.file(1, "b", MIB), bench.file(7, "c", MIB)];
    bench.reloader.reload(snapshot(vec![target("a", luns)]));
    assert_eq!(bench.turn(), [UnitIx::new(0)]);
    assert_eq!(bench.luns(0), [1, 7]);
    assert!(Arc::ptr_eq(&bench.core.units[1], &kept));
    bench.settle();
    assert_eq!(bench.core.units[0].medium.properties().size_bytes, 0, "nothing is there");
    File::open(bench.folder.path().join("a")).unwrap().try_lock().expect("closed");
    // The place is used again.
    let luns = vec![bench.file(0, "d", MIB), bench.file(1, "b", MIB)];
    bench.reloader.reload(snapshot(vec![target("a", luns)]));
    bench.settle();
    assert_eq!((bench.luns(0), bench.core.units.all().len()), (vec![0, 1], 3));
    assert_eq!(bench.core.targets[0].units, [0, 1].map(UnitIx::new));
}

/// Nor does it keep anybody from another configuration.
#[test]
fn a_medium_that_hangs_is_not_waited_for() {
    let luns = |folder: &Path| vec![file(folder, 0, "a", MIB), file(folder, 1, "b", MIB)];
    let mut bench = Bench::changed(luns, |world| {
        let unit = Arc::get_mut(&mut world.units[0]).unwrap();
        let plan = FaultPlan::new().rule(FaultRule::new(FaultAction::Hang).on(OpClass::Sync));
        unit.medium = Arc::new(Medium::with_faults(Arc::clone(&unit.medium), plan));
    });
    let luns = vec![bench.file(1, "b", MIB)];
    bench.reloader.reload(snapshot(vec![target("a", luns)]));
    assert_eq!(bench.turn(), [UnitIx::new(0)]);
    bench.reloader.look();
    bench.turn();
    assert_eq!(bench.core.units[0].medium.properties().size_bytes, 0, "nothing is there");
    let luns = vec![bench.file(1, "b", 2 * MIB), bench.file(2, "c", MIB), bench.file(3, "a", MIB)];
    bench.reloader.reload(snapshot(vec![target("a", luns)]));
    bench.reloader.look();
    bench.turn();
    assert_eq!((bench.luns(0), bench.blocks(0, 1)), (vec![1, 2], 4096), "all but what has to wait");
    assert_eq!(bench.reloader.closing.len(), 1);
    assert_eq!(bench.missing(), [(3, true)]);
    // What waits for another file is served when that takes too long, and that one when it ends after all.
    let unrelated = MissingLun { lun: bench.file(4, "d", MIB), ..bench.missing_lun(3) };
    bench.reloader.world.missing.lock().luns.push(unrelated);
    bench.reloader.look();
    assert_eq!(bench.missing(), [(3, true), (4, true)]);
    (bench.reloader.retry.until, bench.reloader.retry.next) = (Instant::now(), Instant::now());
    bench.reloader.look();
    bench.turn();
    assert_eq!(bench.luns(0), [1, 2, 4]);
    assert_eq!(bench.missing(), [(3, false)], "it is said to be late");
    assert!(bench.reloader.rest().is_some());
}

/// The file system of the first unit says nothing of it.
fn hung_looks(world: &mut World) {
    let unit = Arc::get_mut(&mut world.units[0]).unwrap();
    let plan = FaultPlan::new().rule(FaultRule::new(FaultAction::Hang).on(OpClass::Look));
    unit.medium = Arc::new(Medium::with_faults(Arc::clone(&unit.medium), plan));
}

/// Nor does a file system that says nothing of a file that is served.
#[test]
fn what_is_on_a_file_system_that_hangs_can_be_removed() {
    let luns = |folder: &Path| vec![file(folder, 0, "a", MIB), file(folder, 1, "b", MIB)];
    let mut bench = Bench::changed(luns, hung_looks);
    // That this has not answered yet is known.
    let hung = Arc::clone(&bench.core.units[0]);
    let of = hung.logical.params().naa;
    let long = mem::replace(&mut bench.reloader.beside.get_mut().look, Duration::from_millis(1));
    assert!(bench.reloader.beside.get_mut().call_of(of, Wait::Look, move || hung.measure()).is_none());
    bench.reloader.beside.get_mut().look = 40 * long;
    let luns = vec![bench.file(0, "a", MIB), bench.file(1, "b", 3 * MIB), bench.file(3, "d", MIB)];
    let refused = bench.reloader.plan(snapshot(vec![target("a", luns.clone())]), Mode::Whole).map(drop).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("{}: its file system does not answer", bench.folder.path().join("a").display())
    );
    bench.reloader.reload(snapshot(vec![target("a", luns)]));
    bench.turn();
    assert_eq!((bench.luns(0), bench.blocks(0, 1)), (vec![0, 1], 2048), "all or nothing");
    let luns = vec![bench.file(1, "b", 3 * MIB), bench.file(3, "d", MIB)];
    bench.reloader.reload(snapshot(vec![target("a", luns)]));
    bench.turn();
    assert_eq!((bench.luns(0), bench.blocks(0, 1)), (vec![1, 3], 6144));
}

#[test]
fn a_growth_that_hangs_is_taken_back_when_it_answers() {
    let late = Duration::from_secs(2);
    let mut bench = Bench::changed(
        |folder| vec![file(folder, 0, "a", MIB)],
        |world| {
            let rule = FaultRule::new(FaultAction::Delay(late)).on(OpClass::Sync).times(1);
            let unit = Arc::get_mut(&mut world.units[0]).unwrap();
            unit.medium = Arc::new(Medium::with_faults(Arc::clone(&unit.medium), FaultPlan::new().rule(rule)));
        },
    );
    let larger = bench.file(0, "a", 2 * MIB);
    let long = mem::replace(&mut bench.reloader.beside.get_mut().work, Duration::from_millis(1));
    let mut made = Made::default();
    let stay = [Stay { unit: UnitIx::new(0), lun: larger.clone(), what: "a LUN".to_owned(), is_needed: true }];
    let silent = bench.reloader.fit_all(&stay, &mut made, &mut Vec::new());
    assert!(matches!(silent, Err(ServeError::Silent(_))));
    bench.reloader.beside.get_mut().work = long;
    let begin = Instant::now();
    for bytes in [2 * MIB, MIB] {
        while fs::metadata(bench.folder.path().join("a")).unwrap().len() != bytes {
            assert!(begin.elapsed() < Duration::from_secs(60), "it does not become {bytes}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    // Until the call is over it is asked for nothing else.
    while bench.blocks(0, 0) == 2048 {
        assert!(begin.elapsed() < Duration::from_secs(60), "it never grows");
        bench.reloader.reload(snapshot(vec![target("a", vec![larger.clone()])]));
        bench.turn();
    }
    assert_eq!(bench.blocks(0, 0), 4096);
}

/// To close a file, and to give back much memory, may take long.
#[test]
fn a_unit_that_is_removed_is_let_go_of_on_no_core() {
    let ram = LunSpec { size_bytes: Some(MIB), ..LunSpec::new(1, LunKind::Ram) };
    let mut bench = Bench::new(|folder| vec![file(folder, 0, "a", MIB), ram]);
    let units: Vec<_> = bench.core.units.iter().map(Arc::downgrade).collect();
    bench.reloader.reload(snapshot(vec![target("a", vec![])]));
    bench.turn();
    bench.reloader.look();
    let begin = Instant::now();
    while !bench.reloader.syncing.lock().is_over() {
        assert!(begin.elapsed() < Duration::from_secs(20));
        let syncing = bench.reloader.syncing();
        syncing.lock().turn(Duration::from_millis(1));
    }
    // The core is the last one that has the world with it.
    let last = || units.iter().all(|unit| unit.strong_count() == 2);
    while !last() {
        assert!(begin.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(1));
    }
    bench.turn();
    assert!(units.iter().all(|unit| unit.strong_count() == 1), "they are not dropped there");
    bench.settle();
    assert!(units.iter().all(|unit| unit.strong_count() == 0));
    File::open(bench.folder.path().join("a")).unwrap().try_lock().expect("closed");
}

/// The process ends before its control thread has looked again.
#[test]
fn a_unit_that_is_being_closed_is_synced_at_the_end() {
    let mut bench = Bench::changed(
        |folder| vec![file(folder, 0, "a", MIB)],
        |world| {
            let fails = FaultAction::FailLate(MediumFault::Write, Duration::from_millis(300));
            let plan = FaultPlan::new().rule(FaultRule::new(fails).on(OpClass::Sync));
            let unit = Arc::get_mut(&mut world.units[0]).unwrap();
            unit.medium = Arc::new(Medium::with_faults(Arc::clone(&unit.medium), plan));
        },
    );
    bench.reloader.reload(snapshot(vec![target("a", vec![])]));
    bench.turn();
    bench.reloader.look();
    bench.turn();
    let Bench { reloader, core, folder: _folder, .. } = bench;
    assert_eq!(core.units[0].medium.properties().size_bytes, 0, "nothing is there");
    let syncing = reloader.syncing();
    drop(reloader);
    let syncing = mem::replace(&mut *syncing.lock(), Syncing::new(&core.keeper));
    let error = super::super::sync_all(&core, syncing, Duration::from_secs(20)).unwrap_err();
    assert!(error.to_string().ends_with(&MediumFault::Write.to_string()), "{error}");
}

/// Its hosts go on where it is added again, with what they wrote gone.
#[test]
fn what_was_lost_when_a_unit_was_removed_is_known_when_its_file_is_added_again() {
    for fails in [true, false] {
        let mut bench = Bench::changed(
            |folder| vec![file(folder, 0, "a", MIB)],
            |world| {
                let rule = FaultRule::new(FaultAction::Fail(MediumFault::Write)).on(OpClass::Sync);
                let plan = if fails { FaultPlan::new().rule(rule) } else { FaultPlan::new() };
                let unit = Arc::get_mut(&mut world.units[0]).unwrap();
                unit.medium = Arc::new(Medium::with_faults(Arc::clone(&unit.medium), plan));
            },
        );
        bench.reloader.reload(snapshot(vec![target("a", vec![])]));
        bench.settle();
        let luns = vec![bench.file(3, "a", MIB)];
        bench.reloader.reload(snapshot(vec![target("a", luns)]));
        bench.settle();
        let unit = &bench.core.units[bench.core.targets[0].units[0]];
        assert_eq!(unit.syncs.failures(), u64::from(fails));
        assert_eq!(unit.logical.saved().lost, fails.then_some(Lost::UNHEARD));
    }
}

/// The file system with the state is read-only, until somebody mounts it anew.
#[test]
fn a_unit_of_which_it_cannot_be_saved_that_it_has_lost_writes_is_not_served_before() {
    let mut bench = Bench::changed(
        |folder| vec![file(folder, 0, "a", MIB)],
        |world| {
            let rule = FaultRule::new(FaultAction::Fail(MediumFault::Write)).on(OpClass::Sync);
            let unit = Arc::get_mut(&mut world.units[0]).unwrap();
            unit.medium = Arc::new(Medium::with_faults(Arc::clone(&unit.medium), FaultPlan::new().rule(rule)));
        },
    );
    let (state, aside) = (bench.folder.path().join("state"), bench.folder.path().join("aside"));
    fs::rename(&state, &aside).and_then(|()| fs::write(&state, "")).unwrap();
    bench.reloader.reload(snapshot(vec![target("a", vec![])]));
    bench.turn();
    bench.reloader.look();
    bench.turn();
    while !bench.reloader.syncing.lock().is_over() {
        bench.reloader.look();
    }
    let luns = vec![bench.file(3, "a", MIB), bench.file(4, "b", MIB)];
    bench.reloader.reload(snapshot(vec![target("a", luns)]));
    bench.reloader.look();
    bench.turn();
    assert_eq!(bench.luns(0), [4]);
    fs::remove_file(&state).and_then(|()| fs::rename(&aside, &state)).unwrap();
    bench.settle();
    assert_eq!(bench.luns(0), [3, 4]);
    let unit = &bench.core.units[bench.core.targets[0].units[0]];
    assert_eq!((unit.syncs.failures(), unit.logical.saved().lost.clone()), (1, Some(Lost::UNHEARD)));
}

/// The process ends before.
#[test]
fn what_could_not_be_saved_of_a_removed_unit_is_tried_again_at_the_end() {
    for is_mended in [true, false] {
        let bench = Bench::changed(
            |folder| vec![file(folder, 0, "a", MIB)],
            |world| {
                let rule = FaultRule::new(FaultAction::Fail(MediumFault::Write)).on(OpClass::Sync);
                let unit = Arc::get_mut(&mut world.units[0]).unwrap();
                unit.medium = Arc::new(Medium::with_faults(Arc::clone(&unit.medium), FaultPlan::new().rule(rule)));
            },
        );
        let (state, aside) = (bench.folder.path().join("state"), bench.folder.path().join("aside"));
        fs::rename(&state, &aside).and_then(|()| fs::write(&state, "")).unwrap();
        let unit = Arc::clone(&bench.core.units[0]);
        let mut syncing = Syncing::new(&bench.core.keeper);
        syncing.begin(vec![Arc::clone(&unit)]);
        assert!(syncing.turn(Duration::from_secs(20)) && syncing.is_over());
        if is_mended {
            fs::remove_file(&state).and_then(|()| fs::rename(&aside, &state)).unwrap();
        }
        assert_eq!(syncing.end(Duration::from_secs(20)).is_ok(), is_mended);
        assert_eq!(unit.file.load().is_ok_and(|saved| saved.lost == Some(Lost::UNHEARD)), is_mended);
    }
}

#[test]
fn a_core_saves_that_a_file_which_cannot_grow_has_lost_writes() {
    let mut bench = Bench::changed(
        |folder| vec![file(folder, 0, "a", MIB)],
        |world| {
            let rule = FaultRule::new(FaultAction::Fail(MediumFault::Write)).on(OpClass::Sync).times(1);
            let unit = Arc::get_mut(&mut world.units[0]).unwrap();
            unit.medium = Arc::new(Medium::with_faults(Arc::clone(&unit.medium), FaultPlan::new().rule(rule)));
        },
    );
    let luns = vec![bench.file(0, "a", 2 * MIB)];
    bench.reloader.reload(snapshot(vec![target("a", luns)]));
    bench.turn();
    assert_eq!((bench.core.units[0].syncs.failures(), &*bench.lost), (1, &[UnitIx::new(0)][..]));
}

#[test]
fn a_file_moves_when_it_is_closed() {
    let mut bench = Bench::new(|folder| vec![file(folder, 0, "a", MIB), file(folder, 1, "b", MIB)]);
    let luns = vec![bench.file(0, "b", MIB), bench.file(1, "a", MIB)];
    bench.reloader.reload(snapshot(vec![target("a", luns)]));
    bench.turn();
    assert_eq!(bench.luns(0).len(), 0, "they are still in use as what they were");
    bench.settle();
    bench.settle();
    assert_eq!(bench.luns(0), [0, 1]);
    assert!(bench.missing().is_empty() && bench.reloader.rest().is_none());
}

/// It was served, and is to be again: what keeps it from that may pass.
#[test]
fn what_waited_for_a_file_and_fails_is_tried_again() {
    let mut bench = Bench::new(|folder| vec![file(folder, 0, "a", MIB)]);
    let record = bench.core.units[0].file.path().to_owned();
    let good = fs::read(&record).unwrap();
    let luns = vec![bench.file(1, "a", MIB)];
    bench.reloader.reload(snapshot(vec![target("a", luns)]));
    fs::write(&record, "half").unwrap();
    let begin = Instant::now();
    while bench.missing() == [(1, true)] {
        assert!(begin.elapsed() < Duration::from_secs(20));
        bench.turn();
        bench.reloader.look();
    }
    bench.turn();
    assert!(bench.missing_lun(1).why.contains("damaged"), "{:?}", bench.missing_lun(1));
    assert_eq!((bench.luns(0).len(), bench.missing()), (0, vec![(1, false)]));
    fs::write(&record, good).unwrap();
    bench.try_again();
    assert_eq!(bench.luns(0), [1]);
    assert!(bench.missing().is_empty());
}

/// Whatever is at its LUN.
#[test]
fn what_is_saved_stays_with_the_file() {
    let mut bench = Bench::new(|folder| vec![file(folder, 0, "a", MIB)]);
    let identifying = IdentifyingInformation { text: "archive".to_owned(), ..IdentifyingInformation::default() };
    let saved = Saved { identifying, ..Saved::default() };
    bench.core.units[0].file.save(&saved).unwrap();
    let old = bench.core.units[0].logical.params().clone();
    let luns = vec![bench.file(0, "b", MIB)];
    bench.reloader.reload(snapshot(vec![target("a", luns)]));
    bench.settle();
    let unit = &bench.core.units[bench.core.targets[0].units[0]];
    assert_eq!((unit.file.load().unwrap(), unit.logical.saved()), (Saved::default(), Saved::default()));
    let new = unit.logical.params().clone();
    assert!(new.naa != old.naa && new.serial != old.serial);
    // The file comes back at another LUN.
    let luns = vec![bench.file(0, "b", MIB), bench.file(5, "a", MIB)];
    bench.reloader.reload(snapshot(vec![target("a", luns)]));
    bench.settle();
    let [b, a] = bench.core.targets[0].units[..] else { panic!("{:?}", bench.core.targets[0].units) };
    let params = |unit: UnitIx| bench.core.units[unit].logical.params();
    assert_eq!((params(b).naa, params(a).naa, &params(a).serial), (new.naa, old.naa, &old.serial));
    assert_eq!(bench.core.units[a].logical.saved(), saved);
}

/// Nothing is made in the place of a file that was there.
#[test]
fn a_file_that_is_gone_is_not_made_again() {
    let bench = Bench::new(|folder| vec![file(folder, 0, "a", MIB)]);
    let first = Snapshot { state: bench.folder.path().join("state"), ..snapshot(vec![]) };
    let spec = target("a", vec![bench.file(0, "a", MIB)]);
    let Bench { folder, reloader, core, .. } = bench;
    drop((reloader, core));
    fs::rename(folder.path().join("a"), folder.path().join("elsewhere")).unwrap();
    let refused = World::open(Snapshot { targets: vec![spec.clone()], ..first.clone() }, 1).map(drop);
    assert!(matches!(&refused, Err(WorldError::Gone { path, record }) if path.ends_with("a") && record.exists()));
    assert!(!folder.path().join("a").exists());
    fs::rename(folder.path().join("elsewhere"), folder.path().join("a")).unwrap();
    assert!(World::open(Snapshot { targets: vec![spec], ..first }, 1).is_ok());
}

#[test]
fn two_units_of_one_identity_are_refused() {
    let serial = |number, target: &str| {
        let ram = LunSpec { size_bytes: Some(MIB), ..LunSpec::new(number, LunKind::Ram) };
        LunSpec { naa: Some(identity::naa(target, 0, None)), ..ram }
    };
    let name = "iqn.2026-11.io.ringsan:a";
    let derived = LunSpec { naa: None, ..serial(0, name) };
    // A serial number that is set may be that of another disk, too.
    let set = LunSpec { naa: None, serial: Some(identity::default_serial(name, 0)), ..serial(1, name) };
    for second in [serial(1, name), set] {
        let wanted = snapshot(vec![target("a", vec![derived.clone(), second])]);
        assert!(matches!(World::open(wanted, 1).map(drop), Err(WorldError::Identity { .. })));
    }
}

#[test]
fn a_serial_number_is_given_on_when_its_disk_is_gone() {
    let named = |number| {
        let ram = LunSpec::new(number, LunKind::Ram);
        LunSpec { size_bytes: Some(MIB), serial: Some("given-on".to_owned()), ..ram }
    };
    let mut bench = Bench::new(|_| vec![named(0)]);
    bench.reloader.reload(snapshot(vec![target("a", vec![named(1)])]));
    bench.settle();
    assert_eq!(bench.blocks(0, 1), 2048);
}

#[test]
fn units_grow_and_shrink_only_when_that_is_wanted() {
    let mut bench = Bench::new(|folder| {
        fs::write(folder.join("b"), vec![0; MIB as usize]).unwrap();
        let measured = LunSpec { size_bytes: None, ..file(folder, 1, "b", 0) };
        let ram = LunSpec { size_bytes: Some(MIB), ..LunSpec::new(2, LunKind::Ram) };
        vec![file(folder, 0, "a", MIB), measured, ram]
    });
    let luns = |a: LunSpec, bench: &Bench, ram: u64| {
        let measured = LunSpec { size_bytes: None, ..bench.file(1, "b", 0) };
        let ram = LunSpec { size_bytes: Some(ram), shrink: true, ..LunSpec::new(2, LunKind::Ram) };
        vec![target("a", vec![a, measured, ram])]
    };
    let open = File::options().write(true).open(bench.folder.path().join("b")).unwrap();
    open.set_len(3 * MIB).unwrap();
    bench.reloader.reload(snapshot(luns(bench.file(0, "a", 2 * MIB), &bench, MIB)));
    bench.settle();
    assert_eq!((bench.blocks(0, 0), bench.blocks(0, 1)), (4096, 6144));
    assert_eq!(fs::metadata(bench.folder.path().join("a")).unwrap().len(), 2 * MIB);
    // Memory cannot grow, and then nothing does.
    bench.reloader.reload(snapshot(luns(bench.file(0, "a", 3 * MIB), &bench, 2 * MIB)));
    bench.settle();
    assert_eq!((bench.blocks(0, 0), bench.blocks(0, 2)), (4096, 2048));
    assert_eq!(fs::metadata(bench.folder.path().join("a")).unwrap().len(), 2 * MIB);
    // The file became smaller under us: that is not taken for granted.
    open.set_len(MIB).unwrap();
    bench.reloader.reload(snapshot(luns(bench.file(0, "a", 3 * MIB), &bench, MIB / 2)));
    bench.settle();
    assert_eq!((bench.blocks(0, 0), bench.blocks(0, 1), bench.blocks(0, 2)), (6144, 6144, 1024));
    let shrunk = LunSpec { shrink: true, ..bench.file(0, "a", MIB) };
    bench.reloader.reload(snapshot(luns(shrunk, &bench, MIB)));
    bench.settle();
    assert_eq!((bench.blocks(0, 0), bench.blocks(0, 2)), (2048, 2048));
    assert_eq!(fs::metadata(bench.folder.path().join("a")).unwrap().len(), 3 * MIB, "nothing is cut off");
}

/// More than any file system here can address, less than i64: that is found out when it is tried.
#[test]
fn when_one_file_does_not_grow_those_before_it_have_their_length_again() {
    let mut bench = Bench::new(|folder| vec![file(folder, 0, "a", MIB), file(folder, 1, "b", MIB)]);
    let luns = vec![bench.file(0, "a", 2 * MIB), bench.file(1, "b", i64::MAX as u64 & !4095)];
    bench.reloader.reload(snapshot(vec![target("a", luns)]));
    assert!(bench.reloader.mesh.of(0).unwrap().take().is_empty());
    let len = |name: &str| fs::metadata(bench.folder.path().join(name)).unwrap().len();
    assert_eq!((len("a"), len("b")), (MIB, MIB));
}

/// Neither files nor what is recorded of them.
#[test]
fn a_reload_that_fails_leaves_nothing_behind() {
    let mut bench = Bench::new(|folder| {
        fs::write(folder.join("old"), vec![7; MIB as usize]).unwrap();
        vec![file(folder, 0, "a", MIB)]
    });
    let state = || {
        let entries = fs::read_dir(bench.folder.path().join("state")).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "state")).collect();
        files.sort();
        files.iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect::<Vec<_>>()
    };
    let before = state();
    let missing = LunSpec { size_bytes: None, ..bench.file(4, "missing", 0) };
    let twin = LunSpec { naa: Some(bench.core.units[0].logical.params().naa), ..bench.file(4, "twin", MIB) };
    let impossible = bench.file(4, "large", i64::MAX as u64 & !4095);
    let grown = bench.file(0, "a", i64::MAX as u64 & !4095);
    let added = || vec![bench.file(2, "new", MIB), bench.file(3, "old", 2 * MIB)];
    for (own, failing) in [
        (bench.file(0, "a", MIB), Some(missing)),
        (bench.file(0, "a", MIB), Some(twin)),
        (bench.file(0, "a", MIB), Some(impossible)),
        (grown, None),
    ] {
        let luns = [vec![own], added(), failing.into_iter().collect()].concat();
        assert!(bench.reloader.plan(snapshot(vec![target("a", luns.clone())]), Mode::Whole).is_err());
        assert_eq!(state(), before, "{luns:?}");
        let len = |name: &str| fs::metadata(bench.folder.path().join(name)).map_or(0, |file| file.len());
        assert_eq!(["a", "new", "old", "twin", "large"].map(len), [MIB, 0, MIB, 0, 0], "{luns:?}");
    }
    // Another file at that LUN is none of a disk that was never served, nor has it another's place.
    let luns = vec![bench.file(0, "a", MIB), bench.file(2, "other", MIB), bench.file(3, "new", MIB)];
    bench.reloader.reload(snapshot(vec![target("a", luns)]));
    bench.settle();
    let name = "iqn.2026-11.io.ringsan:a";
    let naa = |number: usize| bench.core.units[bench.core.targets[0].units[number]].logical.params().naa;
    assert_eq!([naa(1), naa(2)], [2, 3].map(|number| identity::naa(name, number, None)));
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let missing = LunSpec { size_bytes: None, ..file(folder.path(), 1, "missing", 0) };
    let luns = vec![file(folder.path(), 0, "a", MIB), missing];
    let wanted = Snapshot { state: folder.path().join("state"), ..snapshot(vec![target("a", luns)]) };
    assert!(World::open(wanted, 1).is_err());
    assert!(!folder.path().join("a").exists());
    let state = fs::read_dir(folder.path().join("state")).map_or(0, |entries| {
        entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "state")).count()
    });
    assert_eq!(state, 0);
}

#[test]
fn what_cannot_be_opened_changes_nothing() {
    let mut bench = Bench::new(|folder| vec![file(folder, 0, "a", MIB)]);
    let missing = LunSpec { size_bytes: None, ..bench.file(1, "missing", 0) };
    bench.reloader.reload(snapshot(vec![target("b", vec![missing]), target("a", vec![bench.file(3, "c", MIB)])]));
    assert!(bench.reloader.mesh.of(0).unwrap().take().is_empty());
    assert_eq!(bench.luns(0), [0]);
}

/// An image that was renamed over the one that is served: hosts go on writing to what has no name any more.
#[test]
fn a_file_that_was_replaced_is_told_of() {
    let mut bench = Bench::new(|folder| vec![file(folder, 0, "a", MIB)]);
    let (a, b) = (bench.folder.path().join("a"), bench.folder.path().join("b"));
    let told = |bench: &mut Bench| {
        let plan = bench.reloader.plan(snapshot(vec![target("a", vec![bench.file(0, "a", MIB)])]), Mode::Whole);
        plan.map_err(|error| error.to_string()).unwrap().kept.join("\n")
    };
    assert!(!told(&mut bench).contains("is not the file any more"));
    File::create(&b).and_then(|file| file.set_len(MIB)).unwrap();
    fs::rename(&b, &a).unwrap();
    let line = told(&mut bench);
    assert!(line.contains("LUN 0 of") && line.contains("a is not the file any more that is served"), "{line}");
    fs::remove_file(&a).unwrap();
    assert!(told(&mut bench).contains("is not the file any more"));
}

#[test]
fn targets_keep_their_number() {
    let mut bench = Bench::new(|folder| vec![file(folder, 0, "a", MIB)]);
    let (a, b) = (bench.file(0, "a", MIB), bench.file(0, "b", MIB));
    bench.reloader.reload(snapshot(vec![target("b", vec![b.clone()]), target("a", vec![a])]));
    bench.settle();
    assert_eq!(bench.core.targets[1].name.as_str(), "iqn.2026-11.io.ringsan:b");
    bench.reloader.reload(snapshot(vec![target("b", vec![b])]));
    bench.settle();
    assert!(bench.core.targets[0].removed && !bench.core.targets[1].removed);
    assert_eq!(bench.luns(1), [0]);
    // It comes back to where it was.
    let a = bench.file(0, "a", MIB);
    bench.reloader.reload(snapshot(vec![target("a", vec![a])]));
    bench.settle();
    assert!(!bench.core.targets[0].removed && bench.core.targets[1].removed);
}

#[test]
fn cores_and_options_stay_and_access_states_change() {
    let mut bench = Bench::new(|folder| vec![file(folder, 0, "a", MIB)]);
    let mut wanted = snapshot(vec![target("a", vec![LunSpec { readonly: true, ..bench.file(0, "a", MIB) }])]);
    wanted.cores = vec![1];
    wanted.targets[0].access_states = vec![(1, AccessState::Standby)];
    let plan = bench.reloader.plan(wanted.clone(), Mode::Whole).map_err(|e| e.to_string()).unwrap();
    assert_eq!(plan.kept.len(), 2, "{:?}", plan.kept);
    assert_eq!(plan.kept[0], "another setting of cores, state takes a restart");
    assert!(plan.kept[1].starts_with("LUN 0 of iqn.2026-11.io.ringsan:a: another setting of readonly"));
    bench.reloader.reload(wanted);
    bench.settle();
    let now = bench.core.directory.snapshot();
    assert_eq!((now.portals[0].listen.port(), now.targets[0].luns[0].readonly), (3260, false));
    assert_eq!(now.port_groups(&now.targets[0])[0].state, AccessState::Standby);
}

mod degraded;
mod portals;
