//! Who looks and who opens come to the same verdict, in the same words.

use super::*;
use crate::backend::testing::{LoopDevice, spec};
use crate::backend::{Medium, look, remarks};
use crate::model::LunKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

/// What is there to be served, each case by its name.
fn places() -> (TempDir, Vec<PathBuf>) {
    let directory = TempDir::new().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    for (name, bytes) in [("whole", MIB), ("odd", MIB + 100), ("small", 4096), ("empty", 0), ("readonly", MIB)] {
        File::create(at(name)).and_then(|file| file.set_len(bytes)).expect("a file");
    }
    fs::set_permissions(at("readonly"), fs::Permissions::from_mode(0o400)).expect("a mode");
    fs::create_dir(at("directory")).expect("a directory");
    symlink("whole", at("link")).and_then(|()| symlink("nothing", at("dangling"))).expect("links");
    rustix::fs::mknodat(CWD, at("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("a pipe");
    let names = ["whole", "odd", "small", "empty", "readonly", "directory", "link", "dangling", "pipe", "missing"];
    let mut places: Vec<_> = names.iter().map(|name| at(name)).collect();
    places.extend(["a/missing", "a/b/missing", "whole/missing"].map(at));
    places.extend(["/dev/null", "/dev/full", "/proc/version", "/nonexistent/a/b"].map(PathBuf::from));
    (directory, places)
}

/// What may be said of each.
fn specs(path: &Path) -> Vec<LunSpec> {
    let plain = |size_bytes, block_bytes| spec(LunKind::File(path.to_owned()), size_bytes, block_bytes);
    let mut specs = Vec::new();
    for size_bytes in [None, Some(4096), Some(MIB), Some(2 * MIB), Some(MIB + 100), Some(0), Some(1 << 63)] {
        for block_bytes in [512, 4096, 520] {
            for (create, readonly, shrink) in
                [(true, false, false), (false, false, false), (true, true, false), (true, false, true)]
            {
                specs.push(LunSpec { create, readonly, shrink, ..plain(size_bytes, block_bytes) });
            }
        }
    }
    specs.push(LunSpec { cdrom: true, readonly: true, create: false, ..plain(None, 2048) });
    specs
}

/// Serving makes and grows files: each case has places of its own.
#[test]
fn who_looks_and_who_opens_say_the_same() {
    let (_names, all) = places();
    let (mut refused, mut served) = (0, 0);
    for place in 0..all.len() {
        let count = specs(&all[place]).len();
        for case in 0..count {
            let (directory, places) = places();
            let spec = specs(&places[place]).swap_remove(case);
            let said = look(&spec);
            let before = fs::read_dir(directory.path()).expect("a directory").count();
            // As `create_directories` does before anything is opened.
            if let (Ok(Some(Identity::Missing(parent, _))), LunKind::File(_)) = (&said, &spec.kind) {
                let _ = fs::create_dir(parent);
            }
            let done = Medium::open(&spec);
            let said = said.map(drop).map_err(|error| error.to_string());
            let done = done.map(drop).map_err(|error| error.to_string());
            assert_eq!(said, done, "{spec:?}");
            match done {
                Ok(()) => served += 1,
                Err(_) => {
                    refused += 1;
                    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), before, "{spec:?}");
                }
            }
        }
    }
    assert!(refused > 100 && served > 100, "{refused} refused, {served} served");
}

#[test]
fn media_without_a_file_are_judged_alike_too() {
    let (threaded, simulated) = (crate::backend::threaded::kind(), crate::backend::simulated::kind("one"));
    let none = LunKind::Other { word: "none", path: String::new() };
    for kind in [LunKind::Ram, LunKind::Null, threaded, simulated, none] {
        for size_bytes in [None, Some(0), Some(1000), Some(MIB), Some(1 << 63), Some(MAX_LUN_BYTES + (16 << 20))] {
            let spec = spec(kind.clone(), size_bytes, 512);
            let said = look(&spec).map(drop).map_err(|error| error.to_string());
            assert_eq!(said, Medium::open(&spec).map(drop).map_err(|error| error.to_string()), "{spec:?}");
        }
    }
}

/// What who opens refuses for the moment, who looks remarks, and finds nothing wrong with.
#[test]
fn who_has_a_file_is_a_remark_in_the_words_of_the_refusal() {
    let (_directory, places) = places();
    let of = |readonly| LunSpec { readonly, ..spec(LunKind::File(places[0].clone()), None, 512) };
    let busy = |spec: &LunSpec| {
        let remarks: Vec<_> = remarks(spec).into_iter().filter(|remark| matches!(remark, Remark::Busy(_))).collect();
        remarks.first().map(ToString::to_string)
    };
    assert_eq!((busy(&of(false)), busy(&of(true))), (None, None));
    for (holder, asks, is_busy) in [(false, false, true), (false, true, true), (true, false, true), (true, true, false)]
    {
        let held = Medium::open(&of(holder)).expect("a file");
        assert!(look(&of(asks)).is_ok());
        let refused = Medium::open(&of(asks)).err().map(|error| error.to_string());
        assert_eq!((refused.is_some(), &refused), (is_busy, &busy(&of(asks))), "held: {holder}, asked: {asks}");
        drop(held);
        // A child that another test starts has the lock, too, until it is another program.
        let begin = Instant::now();
        while busy(&of(false)).is_some() && begin.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert_eq!(busy(&of(false)), None);
}

/// And leaves it as it is: without O_DIRECT set or a byte changed.
#[test]
fn who_looks_knows_how_it_will_be_read() {
    let (_directory, places) = places();
    for block_bytes in [512, 4096] {
        for name in [0, 2] {
            let spec = LunSpec { thin: false, ..spec(LunKind::File(places[name].clone()), None, block_bytes) };
            let remarked = remarks(&spec);
            let properties = Medium::open(&spec).expect("a file").properties();
            let is_cached = remarked.iter().any(|remark| matches!(remark, Remark::Cached { .. }));
            let is_sparse = remarked.iter().any(|remark| matches!(remark, Remark::Sparse { .. }));
            assert_eq!((is_cached, is_sparse), (!properties.direct, properties.sparse), "{spec:?}");
        }
    }
}

#[test]
fn devices_are_judged_alike() {
    let directory = TempDir::new().expect("a directory");
    let backing = directory.path().join("backing");
    File::create(&backing).and_then(|file| file.set_len(MIB)).expect("a file");
    let Some(device) = LoopDevice::new(&backing, 512) else { return };
    for size_bytes in [None, Some(4096), Some(MIB), Some(2 * MIB)] {
        let spec = spec(LunKind::File(device.path.clone().into()), size_bytes, 512);
        let said = look(&spec).map(drop).map_err(|error| error.to_string());
        assert_eq!(said, Medium::open(&spec).map(drop).map_err(|error| error.to_string()), "{spec:?}");
    }
    let spec = spec(LunKind::File(device.path.clone().into()), None, 512);
    let _held = Medium::open(&spec).expect("a device");
    assert!(remarks(&spec).iter().any(|remark| matches!(remark, Remark::Busy(_))));
}
