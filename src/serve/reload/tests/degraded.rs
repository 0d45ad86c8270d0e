//! Logical units that cannot be opened do not spoil the rest.

use super::*;

const NAME: &str = "iqn.2026-11.io.ringsan:a";

/// A file of those that may be left out.
fn file_of(targets: Vec<TargetSpec>) -> Snapshot {
    Snapshot { degrades: true, ..snapshot(targets) }
}

fn existing(bench: &Bench, number: u16, name: &str) -> LunSpec {
    LunSpec { size_bytes: None, create: false, ..bench.file(number, name, 0) }
}

fn write(bench: &Bench, name: &str) {
    File::create(bench.folder.path().join(name)).and_then(|file| file.set_len(MIB)).unwrap();
}

fn naa(bench: &Bench, lun: u16) -> [u8; 16] {
    let target = &bench.core.targets[0];
    bench.core.units[target.units[target.position(lun).unwrap()]].logical.params().naa
}

#[test]
fn what_cannot_be_opened_is_left_out_and_served_when_it_can_be() {
    let mut bench = Bench::new(|folder| vec![file(folder, 0, "a", MIB)]);
    let luns = vec![bench.file(0, "a", 2 * MIB), existing(&bench, 1, "missing"), bench.file(2, "c", MIB)];
    let applied = bench.reloader.serve_instead(file_of(vec![target("a", luns)])).unwrap();
    bench.turn();
    assert_eq!((bench.luns(0), bench.blocks(0, 0)), (vec![0, 2], 4096), "the rest changes");
    assert_eq!((bench.missing(), applied.waiting.len()), (vec![(1, false)], 0));
    let [why] = &applied.degraded[..] else { panic!("{applied:?}") };
    assert!(why.starts_with(&format!("LUN 1 of {NAME}: ")) && why.contains("no such file"), "{why}");
    assert!(bench.reloader.rest().is_some_and(|rest| rest <= Duration::from_secs(1)) && !bench.reloader.is_under_way());
    // It is tried again, and nothing else is touched: no core is told.
    let (generation, since) = (bench.core.generation, bench.missing_lun(1).since);
    File::options().write(true).open(bench.folder.path().join("a")).and_then(|file| file.set_len(3 * MIB)).unwrap();
    bench.try_again();
    assert_eq!((bench.core.generation, bench.missing_lun(1).since), (generation, since));
    assert!(bench.reloader.rest().is_some_and(|rest| rest > Duration::from_secs(1)), "after a longer pause");
    write(&bench, "missing");
    bench.try_again();
    assert_eq!((bench.luns(0), bench.blocks(0, 0)), (vec![0, 1, 2], 4096));
    assert!(bench.missing().is_empty() && bench.reloader.rest().is_none());
}

#[test]
fn what_the_configuration_has_no_more_is_not_tried_any_more() {
    let mut bench = Bench::new(|folder| vec![file(folder, 0, "a", MIB)]);
    let luns = vec![bench.file(0, "a", MIB), existing(&bench, 1, "missing")];
    bench.reloader.reload(file_of(vec![target("a", luns), target("b", vec![existing(&bench, 0, "other")])]));
    assert_eq!(bench.missing(), [(1, false), (0, false)]);
    bench.turn();
    bench.reloader.reload(file_of(vec![target("a", vec![bench.file(0, "a", MIB)])]));
    bench.settle();
    assert!(bench.missing().is_empty() && bench.core.targets[1].removed);
    // What comes back is missed from now on, and the target that is gone stays so.
    bench.reloader.reload(file_of(vec![target("a", vec![bench.file(0, "a", MIB), existing(&bench, 1, "missing")])]));
    write(&bench, "missing");
    bench.try_again();
    assert_eq!((bench.luns(0), bench.core.targets[1].removed), (vec![0, 1], true));
}

/// Nor does a change that is refused change what was degraded before.
#[test]
fn a_change_needs_what_it_changes_and_nothing_else() {
    let mut bench = Bench::new(|folder| vec![file(folder, 0, "a", MIB)]);
    let degraded = existing(&bench, 1, "missing");
    let luns = vec![bench.file(0, "a", MIB), degraded.clone()];
    bench.reloader.reload(file_of(vec![target("a", luns)]));
    bench.turn();
    let generation = bench.reloader.world.generation;
    let refused = changed(&mut bench, |bench| vec![own(bench), degraded.clone(), existing(bench, 2, "none")]);
    assert!(refused.is_err_and(|fault| fault.contains("none: no such file")));
    let refused = changed(&mut bench, |bench| vec![own(bench), existing(bench, 1, "elsewhere")]);
    assert!(refused.is_err_and(|fault| fault.contains("elsewhere: no such file")));
    let large = |bench: &Bench| LunSpec { size_bytes: Some(i64::MAX as u64 & !4095), ..own(bench) };
    assert!(changed(&mut bench, |bench| vec![large(bench), degraded.clone()]).is_err());
    assert_eq!((bench.reloader.world.generation, bench.missing()), (generation, vec![(1, false)]));
    let applied = changed(&mut bench, |bench| vec![own(bench), degraded.clone(), bench.file(2, "c", MIB)]).unwrap();
    bench.turn();
    assert_eq!((applied.degraded.len(), bench.luns(0), bench.missing()), (1, vec![0, 2], vec![(1, false)]));
}

fn own(bench: &Bench) -> LunSpec {
    bench.file(0, "a", MIB)
}

fn changed(bench: &mut Bench, luns: impl Fn(&Bench) -> Vec<LunSpec>) -> Result<crate::mgmt::view::Applied, String> {
    let wanted = file_of(vec![target("a", luns(bench))]);
    bench.reloader.serve_changed(wanted).map_err(|faults| faults.join(" "))
}

#[test]
fn what_cannot_grow_keeps_its_size_and_the_others_grow() {
    let mut bench = Bench::new(|folder| vec![file(folder, 0, "a", MIB), file(folder, 1, "b", MIB)]);
    let luns = vec![bench.file(0, "a", i64::MAX as u64 & !4095), bench.file(1, "b", 2 * MIB)];
    let applied = bench.reloader.serve_instead(file_of(vec![target("a", luns)])).unwrap();
    bench.turn();
    assert_eq!((bench.blocks(0, 0), bench.blocks(0, 1)), (2048, 4096));
    assert!(
        applied.kept.iter().any(|line| line.starts_with(&format!("LUN 0 of {NAME} stays as it is"))),
        "{:?}",
        applied.kept
    );
}

/// It was served, and its file is not there for a while: neither it nor another one is taken for somebody else.
#[test]
fn what_is_left_out_keeps_its_identity_and_nothing_is_made_in_its_place() {
    let mut bench = Bench::new(|folder| vec![file(folder, 0, "a", MIB), file(folder, 1, "b", MIB)]);
    let (own, path) = (naa(&bench, 1), bench.folder.path().join("b"));
    let record = fs::read(bench.core.units[1].file.path()).unwrap();
    bench.reloader.reload(file_of(vec![target("a", vec![bench.file(0, "a", MIB)])]));
    bench.settle();
    fs::rename(&path, bench.folder.path().join("aside")).unwrap();
    let luns = vec![bench.file(0, "a", MIB), bench.file(1, "b", MIB)];
    bench.reloader.reload(file_of(vec![target("a", luns)]));
    bench.try_again();
    assert!(bench.missing_lun(1).why.contains("was served before, and is not there") && !path.exists());
    // Another disk comes to its place meanwhile.
    let luns = vec![bench.file(0, "a", MIB), bench.file(1, "other", MIB), bench.file(2, "b", MIB)];
    bench.reloader.reload(file_of(vec![target("a", luns)]));
    bench.turn();
    assert!(naa(&bench, 1) != own && bench.missing() == [(2, false)]);
    fs::rename(bench.folder.path().join("aside"), &path).unwrap();
    bench.try_again();
    assert_eq!((bench.luns(0), naa(&bench, 2)), (vec![0, 1, 2], own));
    assert_eq!(fs::read(bench.core.units[bench.core.targets[0].units[2]].file.path()).unwrap(), record);
}

#[test]
fn a_start_leaves_out_what_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let missing = LunSpec { size_bytes: None, create: false, ..file(at, 1, "missing", 0) };
    for with_another in [true, false] {
        let luns = with_another.then(|| file(at, 0, "a", MIB)).into_iter().chain([missing.clone()]).collect();
        let wanted = Snapshot { state: at.join("state"), ..file_of(vec![target("a", luns)]) };
        let (mut reloader, keeper) = super::super::super::open_all(wanted, Mesh::new(1).unwrap()).unwrap();
        let luns = |reloader: &Reloader| reloader.world().targets[0].numbers.clone();
        assert_eq!(luns(&reloader), [0][..usize::from(with_another)]);
        fs::write(at.join("missing"), vec![0; MIB as usize]).unwrap();
        reloader.retry.hurry();
        reloader.look();
        assert_eq!(luns(&reloader), [0, 1][usize::from(!with_another)..]);
        reloader.world().keeper.end();
        drop((reloader, keeper));
        fs::remove_file(at.join("missing")).unwrap();
        fs::remove_dir_all(at.join("state")).unwrap();
    }
    let wanted = snapshot(vec![target("a", vec![missing])]);
    assert!(super::super::super::open_all(wanted, Mesh::new(1).unwrap()).is_err(), "unless all are needed");
}

/// Trying again is over soon, whatever there is to try, and comes to all of it.
#[test]
fn trying_again_goes_on_where_it_was_left() {
    let mut bench = Bench::new(|_| Vec::new());
    let luns = (0..4).map(|number| existing(&bench, number, &format!("missing{number}"))).collect();
    bench.reloader.reload(file_of(vec![target("a", luns)]));
    (0..4).for_each(|number| write(&bench, &format!("missing{number}")));
    bench.reloader.retry.tried(false, 2);
    bench.try_again();
    assert_eq!((bench.luns(0), bench.missing()), (vec![2, 3], vec![(0, false), (1, false)]));
    assert!(bench.missing_lun(0).why.contains("no such file"), "{:?}", bench.missing_lun(0));
    bench.try_again();
    assert_eq!(bench.luns(0), [0, 1, 2, 3]);
}
