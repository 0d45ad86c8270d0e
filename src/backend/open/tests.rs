//! Each refusal, with its words; and what opening does to a file.

use crate::backend::create::create_in_place;
use crate::backend::testing::{Rig, Tamper, buffered_file, spec};
use crate::backend::{Medium, OpenError, SizeFault};
use crate::model::{LunKind, LunSpec, MediumFault};
use std::fs;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Place { directory: TempDir::new().expect("a directory") }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    fn with_bytes(self, bytes: u64) -> Self {
        fs::File::create(self.path()).and_then(|file| file.set_len(bytes)).expect("a file");
        self
    }

    fn spec(&self, size_bytes: Option<u64>) -> LunSpec {
        spec(LunKind::File(self.path()), size_bytes, 512)
    }

    /// Why it cannot be opened, checked to be one line that names the file.
    fn refusal(&self, size_bytes: Option<u64>) -> OpenError {
        let error = Medium::open(&self.spec(size_bytes)).map(drop).expect_err("a refusal");
        let text = error.to_string();
        assert!(text.contains("disk") && !text.contains('\n') && !text.ends_with(": "), "{text}");
        error
    }
}

#[test]
fn a_missing_file_is_created_only_with_a_size() {
    let place = Place::new();
    let error = place.refusal(None);
    assert!(matches!(error, OpenError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("size="), "{error}");
    let medium = Medium::open(&place.spec(Some(1 << 20))).expect("a new file");
    assert_eq!(medium.properties().size_bytes, 1 << 20);
    let metadata = fs::metadata(place.path()).expect("a file");
    assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (1 << 20, 0o600));
}

#[test]
fn a_missing_readonly_file_is_not_created() {
    let place = Place::new();
    let mut spec = place.spec(Some(4096));
    spec.readonly = true;
    assert!(matches!(Medium::open(&spec), Err(OpenError::MissingReadonly { .. })));
    assert!(!place.path().exists());
}

#[test]
fn a_missing_directory_is_named() {
    let mut place = Place::new().spec(Some(4096));
    place.kind = LunKind::File(PathBuf::from("/nonexistent/directory/disk"));
    let error = Medium::open(&place).map(drop).expect_err("a refusal");
    assert!(matches!(error, OpenError::NoDirectory { .. }), "{error}");
    assert!(error.to_string().contains("/nonexistent/directory/disk"), "{error}");
}

#[test]
fn a_file_that_could_not_be_made_so_large_is_not_left_behind() {
    let place = Place::new();
    // More than any file system here can address, and no more than a logical unit can have.
    let error = place.refusal(Some(crate::limits::MAX_LUN_BYTES));
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert!(!place.path().exists());
}

#[test]
fn creating_takes_a_word() {
    let place = Place::new();
    let spec = LunSpec { create: false, ..place.spec(Some(1 << 20)) };
    assert!(matches!(Medium::open(&spec), Err(OpenError::NotCreated { .. })));
    assert!(!place.path().exists());
}

/// Nobody removes what another one serves.
#[test]
fn of_two_that_make_a_file_one_has_it() {
    for _ in 0..200 {
        let place = Place::new();
        let (begin, spec) = (Barrier::new(2), place.spec(Some(4096)));
        let (one, two) = thread::scope(|scope| {
            let open = || {
                begin.wait();
                Medium::open(&spec)
            };
            let (one, two) = (scope.spawn(open), scope.spawn(open));
            (one.join().expect("no panic"), two.join().expect("no panic"))
        });
        let (served, refused) = if one.is_ok() { (one, two) } else { (two, one) };
        assert!(
            served.expect("one of them has it").is_at(&place.path()),
            "the name is that of the file that is served"
        );
        assert!(matches!(refused, Err(OpenError::InUse { .. })));
    }
}

/// Without files that have no name (as on NFS), the file is made in its place.
#[test]
fn a_file_that_is_made_in_its_place_is_whole_or_not_there() {
    let place = Place::new();
    let made = create_in_place(&place.path(), 8192, true).expect("a file").expect("ours");
    let file = fs::File::options().write(true).open(place.path()).expect("a file");
    assert!(made.is_still(&file));
    let written = SystemTime::now() + Duration::from_secs(1);
    file.set_modified(written).expect("a time");
    assert!(!made.is_still(&file), "somebody else has had it before it was locked");
    drop(file);
    assert_eq!(fs::metadata(place.path()).expect("a file").len(), 8192);
    assert!(create_in_place(&place.path(), 4096, true).expect("somebody was first").is_none());
    assert_eq!(fs::metadata(place.path()).expect("a file").len(), 8192);
    fs::remove_file(place.path()).expect("a file");
    assert!(create_in_place(&place.path(), i64::MAX as u64 & !4095, true).is_err());
    assert!(!place.path().exists());
}

#[test]
fn what_is_not_thin_gets_its_space_or_says_that_it_is_sparse() {
    let sparse = |spec: &LunSpec| Medium::open(spec).expect("a file").properties().sparse;
    let (thin, thick) = (Place::new(), Place::new());
    assert!(sparse(&thin.spec(Some(1 << 20))));
    let mut spec = LunSpec { thin: false, ..thick.spec(Some(1 << 20)) };
    assert!(!sparse(&spec), "made");
    spec.size_bytes = Some(2 << 20);
    assert!(!sparse(&spec), "grown");
    assert_eq!(fs::metadata(thick.path()).expect("a file").blocks(), (2 << 20) / 512);
    let given = Place::new().with_bytes(1 << 20);
    assert!(sparse(&LunSpec { thin: false, ..given.spec(None) }), "somebody else's");
    assert!(!sparse(&LunSpec { readonly: true, ..given.spec(None) }), "nothing is written");
    // More than there is room for.
    let large = Place::new();
    assert!(sparse(&LunSpec { thin: false, ..large.spec(Some(8 << 40)) }));
    assert_eq!(fs::metadata(large.path()).expect("a file").len(), 8 << 40);
}

#[test]
fn what_opening_has_done_can_be_taken_back() {
    let undone = |place: &Place, spec: &LunSpec| {
        let medium = Medium::open(spec).expect("a file");
        assert_eq!(medium.properties().size_bytes, 8192);
        medium.undo(&place.path()).expect("taken back");
        drop(medium);
        fs::read(place.path()).ok()
    };
    let made = Place::new();
    assert_eq!(undone(&made, &made.spec(Some(8192))), None);
    let grown = Place::new();
    fs::write(grown.path(), [7; 4096]).expect("a file");
    assert_eq!(undone(&grown, &grown.spec(Some(8192))), Some(vec![7; 4096]));
    let there = Place::new().with_bytes(8192);
    assert_eq!(undone(&there, &there.spec(Some(8192))), Some(vec![0; 8192]));
    // Another file has its name by now.
    let replaced = Place::new();
    let medium = Medium::open(&replaced.spec(Some(8192))).expect("a file");
    fs::remove_file(replaced.path()).expect("ours");
    fs::write(replaced.path(), [9; 512]).expect("a file");
    medium.undo(&replaced.path()).expect("nothing to do");
    assert!(replaced.path().exists());
}

/// As after a restart: the kernel lets go of what a ring had registered some time after its process has ended. Needs root
/// and a loop device.
#[test]
fn a_device_that_nobody_has_any_more_is_waited_for() {
    let place = Place::new().with_bytes(1 << 20);
    let made = Command::new("losetup").args(["-f", "--show"]).arg(place.path()).output();
    let Some(made) = made.ok().filter(|made| made.status.success()) else {
        eprintln!("no loop device to be had here: skipped");
        return;
    };
    let device = PathBuf::from(String::from_utf8(made.stdout).expect("a path").trim());
    let claim = || fs::File::options().read(true).custom_flags(libc::O_EXCL).open(&device);
    let claimed = claim().expect("nobody else has it");
    let spec = spec(LunKind::File(device.clone()), None, 512);
    let opened = thread::scope(|scope| {
        let opened = scope.spawn(|| Medium::open(&spec));
        // Long enough to be found taken; not a moment later could it be told from a device that was free.
        thread::sleep(Duration::from_millis(100));
        drop(claimed);
        opened.join().expect("no panic")
    });
    let served = opened.as_ref().map(|_| Medium::open(&spec).map(drop));
    let refused = matches!(served, Ok(Err(OpenError::DeviceBusy { holder: Some(_), .. })));
    let opened = opened.map(drop);
    let _ = Command::new("losetup").arg("-d").arg(&device).status();
    opened.expect("it was let go");
    assert!(refused, "one that lives is named");
}

#[test]
fn a_smaller_file_grows_and_keeps_its_bytes() {
    let place = Place::new();
    fs::write(place.path(), [7; 1024]).expect("a file");
    let medium = Medium::open(&place.spec(Some(8192))).expect("a grown file");
    assert_eq!(medium.properties().size_bytes, 8192);
    drop(medium);
    let bytes = fs::read(place.path()).expect("a file");
    assert_eq!((bytes.len(), &bytes[..1024], bytes[1024]), (8192, &[7; 1024][..], 0));
}

#[test]
fn a_larger_file_is_never_shortened() {
    let place = Place::new().with_bytes(8192);
    let error = place.refusal(Some(4096));
    assert!(matches!(error, OpenError::SizeMismatch { actual_bytes: 8192, wanted_bytes: 4096, .. }), "{error}");
    assert!(error.to_string().contains("never shortened"), "{error}");
    assert_eq!(fs::metadata(place.path()).expect("a file").len(), 8192);
}

/// To find out what a file system can do touches nothing of a file, whether the unit is all of it or a part.
#[test]
fn what_is_behind_the_end_of_a_unit_stays_there() {
    for unit_bytes in [None, Some(4096), Some(1 << 20)] {
        let place = Place::new();
        let content: Vec<u8> = (0..2u32 << 20).map(|at| (at % 251) as u8 + 1).collect();
        fs::write(place.path(), &content).expect("a file");
        let medium = Medium::open(&LunSpec { shrink: true, ..place.spec(unit_bytes) }).expect("a part of a file");
        assert!(medium.properties().discard, "this file system punches holes");
        drop(medium);
        assert!(fs::read(place.path()).expect("a file") == content, "a unit of {unit_bytes:?} bytes");
    }
}

#[test]
fn a_readonly_file_does_not_grow() {
    let place = Place::new().with_bytes(4096);
    let mut spec = place.spec(Some(8192));
    spec.readonly = true;
    assert!(matches!(Medium::open(&spec), Err(OpenError::SizeMismatch { .. })));
}

#[test]
fn a_size_is_a_multiple_of_the_block_length() {
    for bytes in [0, 1000, 513] {
        let error = Place::new().with_bytes(bytes).refusal(None);
        assert!(
            matches!(
                error,
                OpenError::Size { fault: SizeFault::NotBlocks { block_bytes: 512, .. } | SizeFault::Zero, .. }
            ),
            "{error}"
        );
    }
    assert!(matches!(Place::new().refusal(Some(1000)), OpenError::Size { fault: SizeFault::NotBlocks { .. }, .. }));
    assert!(matches!(Place::new().refusal(Some(1 << 63)), OpenError::Size { fault: SizeFault::TooLarge { .. }, .. }));
}

#[test]
fn what_is_no_storage_is_called_by_its_name() {
    let place = Place::new();
    fs::create_dir(place.path()).expect("a directory");
    let error = place.refusal(None);
    assert!(error.to_string().contains("is a directory, neither a regular file nor a block device"), "{error}");
    let mut spec = place.spec(None);
    spec.kind = LunKind::File(PathBuf::from("/dev/null"));
    let error = Medium::open(&spec).map(drop).expect_err("a refusal");
    assert!(error.to_string().contains("a character device"), "{error}");
}

#[test]
fn a_file_has_one_owner_who_is_named() {
    let place = Place::new().with_bytes(4096);
    let medium = Medium::open(&place.spec(None)).expect("a file");
    let error = place.refusal(None);
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    let mut reader = place.spec(None);
    reader.readonly = true;
    assert!(matches!(Medium::open(&reader), Err(OpenError::InUse { .. })), "a reader would see torn writes");
    drop(medium);
    assert!(Medium::open(&place.spec(None)).is_ok());
}

#[test]
fn memory_needs_a_size_and_a_known_block_length() {
    for kind in [LunKind::Ram, LunKind::Null] {
        assert!(matches!(Medium::open(&spec(kind.clone(), None, 512)), Err(OpenError::SizeNeeded { .. })));
        assert!(matches!(
            Medium::open(&spec(kind.clone(), Some(0), 512)),
            Err(OpenError::Size { fault: SizeFault::Zero, .. })
        ));
        assert!(matches!(Medium::open(&spec(kind, Some(4096), 520)), Err(OpenError::BlockLength { bytes: 520 })));
    }
    let error = Medium::open(&spec(LunKind::Ram, Some(1 << 62), 512)).map(drop).expect_err("a refusal");
    assert!(error.to_string().contains("smaller size="), "{error}");
}

#[test]
fn properties_are_truthful() {
    let place = Place::new();
    let buffered = buffered_file(&place.path(), 1 << 20, 512);
    let properties = buffered.properties();
    assert!(!properties.direct && properties.volatile_cache && !buffered.is_durable_write());
    assert!(properties.discard_granularity_bytes.is_multiple_of(512));
    let ram = Medium::open(&spec(LunKind::Ram, Some(4096), 512)).expect("memory");
    assert!(ram.is_durable_write() && ram.properties().discard);
}

#[test]
fn an_image_of_a_disc_is_filled_up_to_a_whole_block() {
    const BLOCK: usize = 2048;
    for (bytes, tamper) in [1, 511, 512, 2047, 2048, 2049, 4 * BLOCK + 700, 40 * BLOCK - 512]
        .into_iter()
        .flat_map(|bytes| [(bytes, Tamper::Nothing), (bytes, Tamper::Interrupt)])
    {
        let place = Place::new();
        let image: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8 + 1).collect();
        fs::write(place.path(), &image).expect("a file");
        let spec = LunSpec { cdrom: true, readonly: true, block_bytes: 2048, ..place.spec(None) };
        let medium = Arc::new(Medium::open(&spec).expect("an image"));
        let size = bytes.next_multiple_of(BLOCK);
        assert_eq!(medium.properties().size_bytes, size as u64);
        for registered in [false, true] {
            let mut rig = Rig::new(&medium, registered).tampering(tamper);
            let padded = |from: usize| {
                let mut data = image[from..].to_vec();
                data.resize(size - from, 0);
                data
            };
            assert!(rig.read(0, size) == Ok(padded(0)), "{bytes} bytes");
            assert!(
                rig.read((size - BLOCK) as u64, BLOCK) == Ok(padded(size - BLOCK)),
                "the last block of {bytes} bytes"
            );
        }
        // The image grows while it is served: what was zeroes is data.
        fs::write(place.path(), [&image[..], &[7; 3]].concat()).expect("a file");
        let grown = medium.fit(&spec).expect("a size").bytes;
        assert_eq!(grown, (bytes + 3).next_multiple_of(BLOCK) as u64);
        medium.set_size(grown);
        let last = Rig::new(&medium, false).read(grown - BLOCK as u64, BLOCK).expect("a block");
        assert_eq!(last.iter().rposition(|byte| *byte != 0), Some((bytes + 2) % BLOCK));
        // It is cut short under us: that is no padding.
        fs::File::options()
            .write(true)
            .open(place.path())
            .and_then(|file| file.set_len(bytes as u64 / 2))
            .expect("a cut");
        assert_eq!(Rig::new(&medium, false).read(0, grown as usize), Err(MediumFault::Read));
    }
}

#[test]
fn only_discs_have_blocks_of_2048() {
    let place = Place::new().with_bytes(8192);
    for (cdrom, block_bytes) in [(false, 2048), (true, 512), (true, 4096)] {
        let spec = LunSpec { cdrom, readonly: true, block_bytes, ..place.spec(None) };
        let refused = Medium::open(&spec).map(drop);
        assert!(matches!(refused, Err(OpenError::BlockLength { bytes }) if bytes == block_bytes), "{refused:?}");
    }
}
