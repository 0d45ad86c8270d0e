//! The files: what is written is read again, what is damaged is refused, and a failure leaves the old file.

use super::owner::{Identity, Owner};
use super::*;
use crate::limits::{LOST_PORTS, MAX_GROUP_NAME_BYTES, MAX_STATE_BYTES, REGISTRATIONS};
use crate::model::names::MAX_NAME_BYTES;
use crate::model::{AccessState, Backing, InitiatorPort, IscsiName, ItNexus, PortGroup};
use crate::scsi::reservation::{Held, Registration, ReservationType, Reservations};
use crate::scsi::{
    Command, Erasure, IdentifyingInformation, LogicalUnit, Lost, LuNexus, LuParams, Modes, NexusId, Now, Outcome, Plan,
    Reply, Saved, identity,
};
use crate::wire::{Isid, Lun};
use proptest::collection::vec;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tempfile::TempDir;

const TARGET: &str = "iqn.2026-01.org.example:disk";

/// The formats, for ever: whoever changes the last writes another version and reads these, too.
const GOLDEN: &str = include_str!("golden.state");
const GOLDEN_2: &str = include_str!("golden-2.state");
const GOLDEN_1: &str = include_str!("golden-1.state");

pub(super) fn params(lun: u16) -> LuParams {
    LuParams {
        block_bytes: 512,
        physical_block_bytes: 4096,
        blocks: 2048,
        readonly: false,
        thin: true,
        serial: identity::default_serial(TARGET, lun),
        naa: identity::naa(TARGET, lun, None),
        target_name: TARGET.into(),
        port_groups: vec![PortGroup { tag: 1, relative_port: 1, state: AccessState::default() }],
        unmap_granularity_blocks: 8,
        unmap_alignment_blocks: 0,
        volatile_cache: true,
        rotational: false,
        removable: false,
        cdrom: false,
        low_space_bytes: None,
        atomic_blocks: 0,
    }
}

fn port(name: &str, isid: u8) -> InitiatorPort {
    InitiatorPort::new(IscsiName::new(name).expect("a name"), Isid([0, 2, 0x3d, 0, 0, isid]))
}

fn nexus(initiator: InitiatorPort, target_port: u16) -> ItNexus {
    ItNexus { initiator, target_port }
}

fn example() -> Saved {
    let mut one = port("iqn.2026-01.org.example:host1", 1);
    one.proof = Some("user host1".into());
    let one = nexus(one, 7);
    let two = nexus(port("iqn.2026-01.org.example:bücher", 2), 1);
    let ports = vec![(one.initiator.clone(), true), (two.initiator.clone(), false)];
    let registrations = vec![
        Registration::new(one.clone(), 0x1234, false),
        Registration::new(nexus(one.initiator.clone(), 1), 0x1235, false),
        Registration::new(two, u64::MAX, true),
    ];
    Saved {
        reservations: Some(Reservations::persistent(
            registrations,
            Some(Held { kind: ReservationType::WriteExclusiveRegistrantsOnly, holder: one }),
        )),
        modes: Modes { descriptor_sense: false, swp: true, write_through: true },
        identifying: IdentifyingInformation { binary: vec![0, 0xff], text: "rack 7, \"upper\" shelf\0".into() },
        unfinished: Some(Erasure::Sanitize { unrestricted: true }),
        lost: Some(Lost { ports, others: false }),
    }
}

fn file(directory: &TempDir) -> UnitFile {
    UnitFile::new(&directory.path().join("state"), &params(0), None)
}

fn fault(file: &UnitFile) -> String {
    let line = file.load().expect_err("refused").to_string();
    assert!(line.starts_with(&file.path.display().to_string()) && !line.contains('\n'), "{line}");
    line
}

#[test]
fn the_format_is_the_golden_one() {
    let owner = Owner { path: "/srv/disk.img".into(), mark: Some("file 1 0a0b".into()), machine: "00".into() };
    let identity = Identity { owner: Some(owner.clone()), ..file(&TempDir::new().unwrap()).identity };
    assert_eq!(format::encode(&example(), &identity), GOLDEN);
    assert_eq!(format::decode(GOLDEN.as_bytes(), &identity), Ok(example()));
    assert_eq!(format::record(GOLDEN.as_bytes()).unwrap().owner, Some(owner));
    assert_eq!(format::record(GOLDEN_1.as_bytes()).unwrap().owner, None);
}

#[test]
fn the_format_without_lost_writes_is_read() {
    let identity = file(&TempDir::new().unwrap()).identity;
    assert_eq!(format::decode(GOLDEN_2.as_bytes(), &identity), Ok(Saved { lost: None, ..example() }));
}

/// There a registration was good at all target ports: so it stays, and the unit makes one of each.
#[test]
fn the_first_format_is_read() {
    let identity = file(&TempDir::new().unwrap()).identity;
    let (one, two) = (port("iqn.2026-01.org.example:host1", 1), port("iqn.2026-01.org.example:bücher", 2));
    let registration =
        |port: &InitiatorPort, target_port, key| Registration::new(nexus(port.clone(), target_port), key, true);
    let held = Held { kind: ReservationType::WriteExclusiveRegistrantsOnly, holder: nexus(one.clone(), 1) };
    let read = |registrations| Saved {
        reservations: Some(Reservations::persistent(registrations, Some(held.clone()))),
        unfinished: None,
        lost: None,
        ..example()
    };
    let saved = read(vec![registration(&one, 1, 0x1234), registration(&two, 1, u64::MAX)]);
    assert_eq!(format::decode(GOLDEN_1.as_bytes(), &identity), Ok(saved.clone()));
    let mut params = params(0);
    params.port_groups.push(PortGroup { tag: 2, relative_port: 2, state: AccessState::default() });
    let unit = LogicalUnit::new(params);
    unit.restore(saved);
    let each = [(&one, 1, 0x1234), (&two, 1, u64::MAX), (&one, 2, 0x1234), (&two, 2, u64::MAX)];
    let each = each.map(|(port, at, key)| registration(port, at, key)).to_vec();
    assert_eq!(unit.saved(), read(each));
}

#[test]
fn nothing_is_made_before_there_is_something_to_save() {
    let directory = TempDir::new().unwrap();
    let file = file(&directory);
    assert_eq!(file.load().unwrap(), Saved::default());
    assert!(!directory.path().join("state").exists());
    file.save(&example()).unwrap();
    assert_eq!(file.load().unwrap(), example());
    let modes = Saved { modes: example().modes, ..Saved::default() };
    file.save(&modes).unwrap();
    assert_eq!(file.load().unwrap(), modes);
    file.save(&Saved::default()).unwrap();
    assert!(!file.path.exists(), "nothing is left to keep");
    assert_eq!(file.load().unwrap(), Saved::default());
}

/// Each byte changed, the file cut anywhere, something added: it is refused, and never taken for another state.
#[test]
fn a_damaged_file_is_refused() {
    let directory = TempDir::new().unwrap();
    let file = file(&directory);
    file.save(&example()).unwrap();
    let good = fs::read(&file.path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(format::decode(&bad, &file.identity).is_err(), "byte {at}");
        assert!(format::decode(&good[..at], &file.identity).is_err(), "cut at {at}");
    }
    fs::write(&file.path, &good[..good.len() / 2]).unwrap();
    assert!(fault(&file).contains("is damaged (its checksum is wrong or missing)"));
    fs::write(&file.path, b"").unwrap();
    assert!(fault(&file).contains("is damaged (it does not begin as such a file does)"));
    fs::write(&file.path, [&good[..], b"\n"].concat()).unwrap();
    assert!(fault(&file).contains("checksum"));
    fs::write(&file.path, vec![b'#'; MAX_STATE_BYTES as usize + 1]).unwrap();
    assert!(fault(&file).contains("too long"));
    fs::remove_file(&file.path).unwrap();
    fs::create_dir(&file.path).unwrap();
    assert!(fault(&file).contains("cannot be read"));
}

/// A text with the right checksum: what it says is checked all the same.
fn sealed(text: &str) -> String {
    let body = text.rsplit_once("# crc32c ").unwrap().0;
    format!("{body}# crc32c {:08x}\n", crc32c::crc32c(body.as_bytes()))
}

#[test]
fn what_a_file_says_is_checked() {
    let identity = file(&TempDir::new().unwrap()).identity;
    let refused = |from: &str, to: &str| {
        assert!(GOLDEN.contains(from), "{from}");
        match format::decode(sealed(&GOLDEN.replacen(from, to, 1)).as_bytes(), &identity) {
            Err(format::Flaw::Damaged(why) | format::Flaw::Version(why) | format::Flaw::Foreign(why)) => why,
            Ok(saved) => panic!("{saved:?}"),
        }
    };
    assert_eq!(refused("format 3", "format 4"), "4");
    assert!(refused("swp = true", "swp = 1").contains("invalid type"));
    assert!(refused("swp = true", "swp = true\ntst = 1").contains("unknown field `tst`"));
    assert!(refused("0000000000001234", "0000000000000000").contains("key"));
    assert!(refused("0000000000001234", "1234").contains("key"));
    assert!(refused("00023d000001", "00023d00000x").contains("no initiator port"));
    assert!(refused("host1", "host 1").contains("no initiator port"));
    assert!(refused("type = 5", "type = 2").contains("type 2"));
    assert!(refused("target-port = 1", "target-port = 0").contains("target port 0"));
    assert!(refused("has-heard = true", "has-heard = 1").contains("invalid type"));
    assert!(refused("00ff", "00f").contains("identifying information"));
    assert!(refused("unit = \"60", "unit = \"61").contains(TARGET));
}

/// Names that nobody may log in by any more.
#[test]
fn a_registration_of_an_older_version_is_kept() {
    let file = file(&TempDir::new().unwrap());
    let text = sealed(&GOLDEN.replace("host1", "host_\u{202e}1"));
    let saved = format::decode(text.as_bytes(), &file.identity).unwrap();
    assert_eq!(saved.reservations.unwrap().registrations.len(), 3);
}

/// It is what somebody logged in as; the tables of a newer Unicode make something else of it, and something too long.
#[test]
fn a_name_that_would_be_prepared_to_another_one_is_read_as_it_stands() {
    for rest in ["ß", &*format!("ß{}", "\u{3300}".repeat(60))] {
        let file = file(&TempDir::new().unwrap());
        let name = format!("iqn.2001-04.com.example:{rest}");
        let text = sealed(&GOLDEN.replace("iqn.2026-01.org.example:host1", &name));
        let saved = format::decode(text.as_bytes(), &file.identity).unwrap();
        let [(port, _), ..] = &saved.lost.as_ref().unwrap().ports[..] else { panic!("{saved:?}") };
        assert_eq!(port.name.as_str(), name);
        assert_eq!(saved.reservations.as_ref().unwrap().registrations[0].nexus.initiator.name.as_str(), name);
        assert_eq!(format::decode(format::encode(&saved, &file.identity).as_bytes(), &file.identity), Ok(saved));
    }
}

#[test]
fn the_state_of_another_unit_is_refused() {
    let directory = TempDir::new().unwrap();
    let (zero, one) =
        (UnitFile::new(directory.path(), &params(0), None), UnitFile::new(directory.path(), &params(1), None));
    assert_ne!(zero.path, one.path);
    zero.save(&example()).unwrap();
    fs::copy(&zero.path, &one.path).unwrap();
    assert!(fault(&one).contains("of another logical unit"));
}

#[test]
fn a_failure_leaves_the_old_file() {
    let directory = TempDir::new().unwrap();
    let file = file(&directory);
    file.save(&example()).unwrap();
    let obstacle = file.path.with_extension("state.new");
    fs::create_dir(&obstacle).unwrap();
    assert!(file.save(&Saved { modes: Modes::default(), ..example() }).is_err());
    assert_eq!(file.load().unwrap(), example());
    fs::remove_dir(&obstacle).unwrap();
    // What a killed process left half written is in nobody's way.
    fs::write(&obstacle, "# ringsan: saved").unwrap();
    assert_eq!(file.load().unwrap(), example());
    file.save(&Saved { modes: Modes::default(), ..example() }).unwrap();
    assert!(!obstacle.exists());
    let nowhere = UnitFile::new(&file.path, &params(0), None);
    assert!(nowhere.save(&example()).is_err(), "its directory is a file");
    assert_eq!(nowhere.load().unwrap(), Saved::default());
}

/// As many registrations as there can be, of hosts and groups with the longest names, of what has to be escaped.
fn fullest(proof_bytes: usize) -> Saved {
    let of = |number: usize| {
        let name = format!("iqn.'''{number:04}{}", "\"".repeat(MAX_NAME_BYTES - 11));
        let isid = Isid([0, 2, 0x3d, 0, 0, 1]);
        let mut port = InitiatorPort::new(IscsiName::lenient(&name).unwrap(), isid);
        port.proof = Some(format!("group '''{}", "\\".repeat(proof_bytes - 3)).into());
        Registration::new(nexus(port, u16::MAX), u64::MAX - number as u64, true)
    };
    let registrations: Vec<_> = (0..REGISTRATIONS).map(of).collect();
    let held = Held { kind: ReservationType::ExclusiveAccess, holder: registrations[0].nexus.clone() };
    let ports = registrations.iter().take(LOST_PORTS).map(|one| (one.nexus.initiator.clone(), true)).collect();
    let lost = Some(Lost { ports, others: false });
    Saved { reservations: Some(Reservations::persistent(registrations, Some(held))), lost, ..example() }
}

#[test]
fn what_is_written_is_not_too_long_to_be_read() {
    let directory = TempDir::new().unwrap();
    let file = file(&directory);
    let saved = fullest(MAX_GROUP_NAME_BYTES);
    file.save(&saved).unwrap();
    assert_eq!(file.load().unwrap(), saved);
    assert!(file.save(&fullest(10 * MAX_GROUP_NAME_BYTES)).unwrap_err().to_string().contains("too long"));
    assert_eq!(file.load().unwrap(), saved);
}

#[test]
fn one_process_has_a_file() {
    let directory = TempDir::new().unwrap();
    let (file, other) = (file(&directory), file(&directory));
    file.save(&example()).unwrap();
    assert!(other.save(&Saved::default()).unwrap_err().to_string().contains("another ringsan"));
    assert!(fault(&other).contains("another ringsan has the saved state"));
    drop(file);
    assert_eq!(other.load().unwrap(), example());
}

#[test]
fn nobody_else_reads_or_redirects_the_files() {
    let directory = TempDir::new().unwrap();
    let file = file(&directory);
    file.save(&example()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (state, lock) = (directory.path().join("state"), file.path.with_extension("lock"));
    assert_eq!((mode(&state), mode(&file.path), mode(&lock)), (0o700, 0o600, 0o600));
    for (given, is_open) in [(0o700, false), (0o701, true), (0o740, true), (0o755, true), (0o722, true)] {
        fs::set_permissions(&state, fs::Permissions::from_mode(given)).unwrap();
        assert_eq!(Directory::open(&state).unwrap().unwrap().is_open_to_others(), is_open, "{given:o}");
    }
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    // Links that somebody else has put there.
    let other = directory.path().join("other");
    fs::write(&other, "theirs").unwrap();
    symlink(&other, file.path.with_extension("state.new")).unwrap();
    file.save(&Saved { modes: Modes::default(), ..example() }).unwrap();
    assert_eq!(fs::read(&other).unwrap(), b"theirs");
    fs::rename(&file.path, directory.path().join("good")).unwrap();
    symlink("../good", &file.path).unwrap();
    assert!(fault(&file).contains("cannot be read"));
}

fn backing(path: &str, mark: Option<&str>) -> Backing {
    Backing { path: path.into(), mark: mark.map(str::to_owned), lasts: true }
}

/// No other store has the mark of one.
const NO_DOUBLE: fn(&str) -> bool = |_| false;

fn at(lun: u16) -> Wanted<'static> {
    Wanted { target: TARGET, lun, naa: None, serial: None }
}

/// Marks count only between records of one machine, so where that cannot be told there is nothing to try.
fn machine_says_which_it_is() -> bool {
    let says = fs::read_to_string("/etc/machine-id").is_ok_and(|id| !id.trim().is_empty());
    if !says {
        eprintln!("skipped: there is no /etc/machine-id");
    }
    says
}

/// What hosts know of a disk is the disk's, wherever it is shown.
#[test]
fn an_identity_follows_its_store() {
    let mut register = Register::default();
    let (old, _) = register.name(at(1), &backing("/a", Some("1")), &[], &NO_DOUBLE).unwrap();
    assert_eq!((old.naa, &*old.serial), (identity::naa(TARGET, 1, None), &*identity::default_serial(TARGET, 1)));
    let moved = Wanted { target: "iqn.2026-01.org.example:other", ..at(7) };
    if machine_says_which_it_is() {
        assert_eq!(
            register.name(moved, &backing("/b", Some("1")), &[], &NO_DOUBLE).unwrap().0,
            old,
            "renamed, and shown elsewhere"
        );
        assert_ne!(
            register.name(at(1), &backing("/b", Some("2")), &[], &NO_DOUBLE).unwrap().0,
            old,
            "another one in its place"
        );
    }
    let (new, is_new) = register.name(at(1), &backing("/c", None), &[], &NO_DOUBLE).unwrap();
    assert!(is_new && new.naa != old.naa && new.serial != old.serial, "another one at its LUN");
    assert_eq!(register.name(at(5), &backing("/c", None), &[], &NO_DOUBLE).unwrap().0, new, "no mark: the path");
    let (copy, _) = register.name(at(1), &backing("/c", None), &[new.naa], &NO_DOUBLE).unwrap();
    assert!(copy.naa != new.naa && copy.naa != old.naa, "a copy of what is served");
    let memory = Backing { lasts: false, ..backing("(memory)", None) };
    let (first, second) = (
        register.name(at(1), &memory, &[], &NO_DOUBLE).unwrap().0,
        register.name(at(1), &memory, &[], &NO_DOUBLE).unwrap().0,
    );
    assert!(first == second && first.naa != old.naa, "the same each time, and not that of the file");
    let set = Wanted { naa: Some([0x60; 16]), serial: Some("S"), ..at(1) };
    let name = register.name(set, &backing("/c", None), &[], &NO_DOUBLE).unwrap().0;
    assert_eq!((name.naa, &*name.serial), ([0x60; 16], "S"));
}

/// The file in a snapshot has the mark of the one that it is a snapshot of, and is another disk, whichever comes first.
#[test]
fn a_snapshot_does_not_take_the_identity_of_what_is_still_in_its_place() {
    if !machine_says_which_it_is() {
        return;
    }
    let mut register = Register::default();
    let (disk, snapshot) = (backing("/vol/a", Some("1")), backing("/snap/a", Some("1")));
    let old = register.name(at(0), &disk, &[], &NO_DOUBLE).unwrap().0;
    let of_disk = |path: &str| path == "/vol/a";
    let (new, is_new) = register.name(at(0), &snapshot, &[], &of_disk).unwrap();
    assert!(is_new && new != old);
    assert_eq!(register.name(at(1), &disk, &[new.naa], &|path| path == "/snap/a").unwrap().0, old);
    // From then on each has its own, by its path.
    assert_eq!(register.name(at(0), &snapshot, &[], &of_disk).unwrap().0, new);
    // What is found nowhere else is the disk.
    assert_eq!(register.name(at(0), &backing("/snap/b", Some("1")), &[new.naa], &NO_DOUBLE).unwrap().0, old);
}

/// Also when the original is not mounted: its device tells.
#[test]
fn a_snapshot_on_another_device_is_another_disk() {
    if !machine_says_which_it_is() {
        return;
    }
    let on = |path, device: &str| backing(path, Some(&format!("file 81 aa{device}")));
    let (disk, snapshot) = (" in dm-uuid-LVM-1", " in dm-uuid-LVM-2");
    for (before, now, is_known) in [
        (on("/vol/a", disk), on("/snap/a", snapshot), false),
        (on("/vol/a", disk), on("/vol/b", disk), true),
        // Moved to another disk, or restored there.
        (on("/vol/a", disk), on("/vol/a", " in wwn-9"), true),
        // Not known, then or now: as by the mark alone.
        (on("/vol/a", ""), on("/vol/b", disk), true),
        (on("/vol/a", disk), on("/vol/b", ""), true),
        (on("/vol/a", ""), on("/vol/a", disk), true),
    ] {
        let mut register = Register::default();
        let old = register.name(at(0), &before, &[], &NO_DOUBLE).unwrap().0;
        assert_eq!(register.name(at(0), &now, &[], &NO_DOUBLE).unwrap().0 == old, is_known, "{before:?} {now:?}");
    }
    // The snapshot is mounted where the original was, which is elsewhere.
    let mut register = Register::default();
    let old = register.name(at(0), &on("/vol/a", disk), &[], &NO_DOUBLE).unwrap().0;
    assert_eq!(register.name(at(0), &on("/vol/b", disk), &[], &|path| path == "/vol/a").unwrap().0, old);
}

/// Marks of another machine mean nothing: handles of files are alike everywhere. What is at the path is the disk.
#[test]
fn on_another_machine_a_disk_is_known_by_its_path() {
    let mut register = Register::default();
    let mut name = |lun, path, mark| {
        let found = register.name(at(lun), &backing(path, Some(mark)), &[], &NO_DOUBLE).unwrap().0;
        for owner in register.records.iter_mut().filter_map(|record| record.owner.as_mut()) {
            owner.machine = "of another".to_owned();
        }
        found
    };
    let old = name(0, "/vol/a", "file 81 aa");
    assert_eq!(name(7, "/vol/a", "file 81 bb"), old, "copied to its path");
    assert_ne!(name(8, "/vol/b", "file 81 bb"), old, "a file that is called alike");
    assert_eq!(name(9, "/vol/a", "file 81 aa"), old);
}

/// Marks of some file systems say by now which one they are of. A record without that is of what is where its store was.
#[test]
fn a_record_with_a_shorter_mark_is_of_what_is_at_its_path() {
    let longer = |path| backing(path, Some("file 4d 0a on 01"));
    let mut register = Register::default();
    let mut name = |backing: Backing| register.name(at(0), &backing, &[], &NO_DOUBLE).unwrap().0;
    let old = name(backing("/vol/a", Some("file 4d 0a")));
    assert_eq!(name(longer("/vol/a")), old);
    if machine_says_which_it_is() {
        assert_eq!(name(longer("/vol/b")), old, "it is in the record now");
        assert_ne!(name(backing("/vol/b", Some("file 4d 0a on 02"))), old, "the first file of a new file system");
        let old = name(backing("/vol/c", Some("file 4d 0b")));
        assert_ne!(name(backing("/vol/d", Some("file 4d 0b on 01"))), old, "which of them it was of is not known");
        assert_ne!(name(backing("/vol/c", Some("file 4d 0b0b on 01"))), old);
    }
}

#[test]
fn records_outlive_the_process_and_old_ones_are_adopted() {
    let directory = TempDir::new().unwrap();
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    // As the version before has left it.
    let mut naa = format::naa_of(&format::hex(&params(0).naa)).unwrap();
    fs::write(state.join(format!("{}.state", format::hex(&naa))), GOLDEN_1).unwrap();
    let store = backing("/srv/a", None);
    for _ in 0..2 {
        let mut register = Register::read(&state).unwrap();
        let (name, is_new) = register.name(at(0), &store, &[], &NO_DOUBLE).unwrap();
        assert_eq!((name.naa, is_new), (naa, false));
        let file = UnitFile::new(&state, &params(0), Some(&store));
        let saved = file.load().unwrap();
        assert!(saved.reservations.is_some());
        file.record(&saved).unwrap();
        assert!(register.of_path("/srv/a").is_some_and(|name| state.join(name).exists()));
    }
    let mut register = Register::read(&state).unwrap();
    assert!(register.name(at(0), &backing("/srv/b", None), &[], &NO_DOUBLE).unwrap().1);
    // Whose a damaged one is cannot be told.
    naa[15] ^= 1;
    fs::write(state.join(format!("{}.state", format::hex(&naa))), "half").unwrap();
    assert!(Register::read(&state).is_err());
}

/// PERSISTENT RESERVE OUT with APTPL through the thread, then the restart.
#[test]
fn the_keeper_saves_before_it_answers() {
    let directory = TempDir::new().unwrap();
    let (file, unit) = (Arc::new(file(&directory)), Arc::new(LogicalUnit::new(params(0))));
    let mut nexus = LuNexus::new(NexusId(1), &unit);
    let (initiator, mut reply) = (port("iqn.2026-01.org.example:host1", 1), Reply::default());
    let mut list = [0; 24];
    list[15] = 7;
    list[20] = 1;
    let cdb = [0x5f, 6, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0];
    let command = Command {
        cdb: &cdb,
        lun: Lun::flat(0),
        initiator: &initiator,
        protocol_level: 1,
        luns: &[0],
        now: Now::default(),
    };
    let test_unit_ready = Command { cdb: &[0; 16], ..command };
    assert_ne!(unit.plan(&mut nexus, &test_unit_ready, &mut reply), Plan::Done(Outcome::GOOD));
    let (keeper, thread) = Keeper::start().unwrap();
    let (tell, told) = mpsc::channel();
    for _ in 0..2 {
        let Plan::Save(saving) = unit.parameters(&mut nexus, &command, &list, &mut reply) else {
            panic!("to be saved")
        };
        let (decided, to_store) = unit.decide(&saving);
        let (tell, file_then) = (tell.clone(), Arc::clone(&file));
        keeper.submit(&file, to_store.expect("a change"), move |is_stored| {
            tell.send((is_stored, file_then.load().unwrap())).unwrap();
        });
        let (is_stored, saved) = told.recv().unwrap();
        assert_eq!(unit.conclude(decided, is_stored).outcome, Outcome::GOOD);
        assert_eq!(saved, unit.saved());
        let key = saved.reservations.unwrap().registrations[0].key;
        assert_eq!(key, u64::from(list[15]));
        list[15] += 1;
    }
    drop(keeper);
    assert!(thread.join(Duration::from_secs(20)).unwrap());
    let again = LogicalUnit::new(params(0));
    again.restore(file.load().unwrap());
    assert_eq!(again.saved(), unit.saved());
}

fn saved() -> impl Strategy<Value = Saved> {
    let kinds = [1u8, 3, 5, 6, 7, 8];
    let registrations = proptest::collection::btree_map(0u8..40, (1u64.., any::<bool>()), 0..12);
    let held = proptest::option::of((0usize..6, 0u8..40));
    let reservations = proptest::option::of((registrations, held)).prop_map(move |some| {
        some.map(|(registrations, held)| {
            let port = |number: u8| port(&format!("iqn.2026-01.org.example:host{number}"), number);
            let registration =
                |(number, (key, all_target_ports))| Registration::new(nexus(port(number), 1), key, all_target_ports);
            let held = held.map(|(kind, number)| Held {
                kind: ReservationType::from_code(kinds[kind]).expect("a type"),
                holder: nexus(port(number), 1),
            });
            let registrations = registrations.into_iter().map(registration).collect();
            Reservations::persistent(registrations, held)
        })
    });
    let modes = any::<(bool, bool, bool)>().prop_map(|(descriptor_sense, swp, write_through)| Modes {
        descriptor_sense,
        swp,
        write_through,
    });
    let identifying = (vec(any::<u8>(), 0..512), "\\PC{0,60}|[\0-\x1f\"\\\\]{0,60}")
        .prop_map(|(binary, text)| IdentifyingInformation { binary, text });
    let ports = proptest::collection::btree_map(0u8..40, any::<bool>(), 0..12);
    let lost = proptest::option::of((ports, any::<bool>())).prop_map(move |some| {
        some.map(|(ports, others)| {
            let port = |number: u8| port(&format!("iqn.2026-01.org.example:host{number}"), number);
            Lost { ports: ports.into_iter().map(|(number, has_heard)| (port(number), has_heard)).collect(), others }
        })
    });
    (reservations, modes, identifying, lost).prop_map(|(reservations, modes, identifying, lost)| Saved {
        reservations,
        modes,
        identifying,
        unfinished: None,
        lost,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(saved in saved()) {
        let identity = UnitFile::new(Path::new("state"), &params(3), None).identity;
        let text = format::encode(&saved, &identity);
        prop_assert_eq!(format::decode(text.as_bytes(), &identity), Ok(saved));
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in vec(any::<u8>(), 0..200), keep in 0..2000usize) {
        let identity = UnitFile::new(Path::new("state"), &params(0), None).identity;
        let text = sealed(&format!("{}{}# crc32c ", GOLDEN.chars().take(keep).collect::<String>(), String::from_utf8_lossy(&bytes)));
        let _ = format::decode(&bytes, &identity);
        let _ = format::decode(text.as_bytes(), &identity);
    }
}

/// The image that a machine is started from has the directories that disks are mounted at, and cannot be made durable.
#[test]
fn a_directory_where_nothing_is_ever_written_is_there_to_stay() {
    let sync = |path: &str| fs::File::open(path).and_then(|directory| directory.sync_all());
    assert_eq!(sync("/proc").unwrap_err().raw_os_error(), Some(libc::EINVAL), "as such an image");
    assert!(Directory::keep_name(Path::new("/proc/self")).is_ok());
    assert!(Directory::keep_name(tempfile::tempdir().unwrap().path()).is_ok());
    assert!(Directory::keep_name(Path::new("/none/there")).is_err());
}
