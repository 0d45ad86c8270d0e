//! A draft compared with this machine: media that cannot be served, one file served twice, memory and cores that are not there.
//! It looks only; what may be missing is made when it is served: directories here, files by their backend, which also makes
//! a smaller file as large as its `size` says. Whether a medium can be served is decided by the backend, for who looks and
//! who opens alike.

use super::access::{Source, check_secret};
use super::draft::{Draft, LunDraft};
use super::fault::reason;
use super::{Fault, Faults, Origin};
use crate::backend::{self, OpenError};
use crate::limits;
use crate::model::{LunKind, LunSpec, Secret, Snapshot};
use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Notes what does not fit this machine. `degrades`: it is no fault that a disk is not there, or not as it should be: that may
/// change while others are served.
pub(super) fn check(draft: &Draft, degrades: bool, faults: &mut Faults) {
    let mut owners = HashMap::new();
    let mut paths = HashMap::new();
    let mut ram_bytes = 0u64;
    for lun in draft.targets.iter().flat_map(|target| &target.luns) {
        let identity = match backend::look(&lun.spec) {
            // Opening it will say so.
            Err(error) if degrades && error.may_pass(&lun.spec) => {
                check_path(lun, &mut paths, faults);
                continue;
            }
            looked => faults.keep(looked.map_err(|error| fault_of(lun, &error))),
        };
        let Some(identity) = identity else { continue };
        if let LunKind::File(path) = &lun.spec.kind {
            paths.insert(path.as_path(), &lun.spec);
        }
        // Discs can share an image: nobody writes to it.
        if let Some(identity) = identity
            && let Some(owner) = owners.insert(identity, &lun.spec)
            && !(owner.cdrom && lun.spec.cdrom)
        {
            let (is_same, name, owner) = (owner.kind == lun.spec.kind, name(&lun.spec.kind), name(&owner.kind));
            let message = if is_same {
                format!("{name} is served twice: logical units cannot share a file")
            } else {
                format!("{name} is the same file as {owner}, which is served already")
            };
            faults.add(&lun.path_at, message);
        }
        if lun.spec.kind == LunKind::Ram {
            ram_bytes = ram_bytes.saturating_add(lun.spec.size_bytes.unwrap_or(0));
            if let Some(memory) = memory_bytes().filter(|memory| ram_bytes > *memory) {
                let memory = memory >> 20;
                faults.add(
                    &lun.size_at,
                    format!("this and the other ram units need more than the {memory}MiB of memory here"),
                );
            }
        }
    }
    if let Some((cores, origin)) = &draft.cores {
        check_cores(cores, origin, faults);
    }
    if let Some(origin) = &draft.state_at {
        faults.keep(check_state(&draft.state).map_err(|message| Fault::new(origin, message)));
    }
}

/// Notes that a file which cannot be looked at is served already, by the path that it has.
fn check_path<'d>(lun: &'d LunDraft, paths: &mut HashMap<&'d Path, &'d LunSpec>, faults: &mut Faults) {
    if let LunKind::File(path) = &lun.spec.kind
        && let Some(owner) = paths.insert(path, &lun.spec)
        && !(owner.cdrom && lun.spec.cdrom)
    {
        faults.add(&lun.path_at, format!("{} is served twice: logical units cannot share a file", path.display()));
    }
}

/// A directory, or one that can be made with one step when there is something to save.
fn check_state(directory: &Path) -> Result<(), String> {
    let (shown, parent) = (directory.display(), directory_of(directory));
    match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(format!("{shown} is no directory")),
        Err(e) if e.kind() == ErrorKind::NotFound && parent.is_dir() => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            Err(format!("{shown}: its directory {} is not there: create it first", parent.display()))
        }
        Err(e) => Err(format!("{shown}: {}", reason(&e))),
    }
}

/// Why a medium cannot be served, where that was written.
fn fault_of(lun: &LunDraft, error: &OpenError) -> Fault {
    let is_size = matches!(error, OpenError::SizeMismatch { .. } | OpenError::SizeNeeded { .. });
    Fault::new(if is_size { &lun.size_at } else { &lun.path_at }, error.to_string())
}

/// What a medium is called: a file by its path.
fn name(kind: &LunKind) -> String {
    if let LunKind::File(path) = kind { path.display().to_string() } else { kind.to_string() }
}

/// The directory that `path` is in, as a path that can be opened.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn check_cores(cores: &[usize], origin: &Origin, faults: &mut Faults) {
    let Some(allowed) = proc_line("/proc/self/status", "Cpus_allowed_list:") else { return };
    let usable = |core: &usize| {
        allowed.split(',').any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            matches!((first.parse::<usize>(), last.parse::<usize>()), (Ok(a), Ok(b)) if (a..=b).contains(core))
        })
    };
    if let Some(core) = cores.iter().find(|core| !usable(core)) {
        faults.add(origin, format!("core {core} is not one that this process may use: those are {allowed}"));
    }
}

/// Bytes of memory of this machine, if it says.
fn memory_bytes() -> Option<u64> {
    let line = proc_line("/proc/meminfo", "MemTotal:")?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Warns of secrets that stand in a configuration file which others can read. Called before they are all known.
pub(super) fn check_secrecy(draft: &Draft, file: &Path, faults: &mut Faults) {
    let Some(account) = draft.access.accounts.iter().find(|account| matches!(account.source, Source::Known(_))) else {
        return;
    };
    if fs::metadata(file).is_ok_and(|metadata| metadata.mode() & 0o077 != 0) {
        let message = format!("{}: others than its owner can read this file: chmod 600", file.display());
        faults.warn(&account.secret_at, message);
    }
}

/// Replaces files and variables that hold secrets by what they hold.
pub(super) fn read_secrets(draft: &mut Draft, faults: &mut Faults) {
    for account in &mut draft.access.accounts {
        let origin = &account.secret_at;
        let secret = match &account.source {
            Source::Known(_) => continue,
            Source::File(path) => read_secret(path, origin, faults),
            Source::Variable(name) => match std::env::var_os(name) {
                Some(value) => Ok(Secret::new(value.into_vec())),
                None => Err(Fault::new(origin, format!("the environment has no variable {}", name.escape_debug()))),
            },
        };
        let secret = secret.and_then(|secret| check_secret(secret, &account.secret_at));
        if let Some(secret) = faults.keep(secret) {
            account.source = Source::Known(secret);
        }
    }
}

/// The secret in a file, without the line break at its end.
fn read_secret(path: &Path, origin: &Origin, faults: &mut Faults) -> Result<Secret, Fault> {
    let fault = |message: &str| Fault::new(origin, format!("{}: {message}", path.display()));
    // A FIFO would block the open.
    let metadata = fs::metadata(path).map_err(|e| fault(&reason(&e)))?;
    if !metadata.is_file() {
        return Err(fault("is no regular file"));
    }
    if metadata.mode() & 0o077 != 0 {
        faults.warn(origin, format!("{}: others than its owner can read it: chmod 600", path.display()));
    }
    let most = limits::MAX_SECRET_BYTES as u64 + 3;
    // With room for all of it, so that no outgrown copy is left behind.
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(2 * limits::MAX_SECRET_BYTES));
    fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(|e| fault(&reason(&e)))?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.contains(&b'\n') {
        return Err(fault("has several lines: a secret is one"));
    }
    Ok(Secret::new(line.to_vec()))
}

/// The rest of the line that begins with `label`.
fn proc_line(file: &str, label: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(label)).map(|rest| rest.trim().to_owned())
}

/// Creates the directories of those files of `snapshot` that are yet to be created, and returns the new ones.
///
/// # Errors
/// One line that names the directory. Where units may be left out, opening the file will say so.
pub fn create_directories(snapshot: &Snapshot) -> Result<Vec<PathBuf>, String> {
    let (mut created, mut seen) = (Vec::new(), HashSet::new());
    for lun in snapshot.targets.iter().flat_map(|target| &target.luns) {
        let (LunKind::File(path), true) = (&lun.kind, lun.create) else { continue };
        let directory = directory_of(path);
        if path.exists() || !seen.insert(directory) {
            continue;
        }
        // For its owner alone, as what will be in it.
        let is_new = match DirBuilder::new().mode(0o700).create(directory) {
            Ok(()) => true,
            Err(_) if directory.is_dir() => false,
            Err(_) if snapshot.degrades => continue,
            Err(e) => return Err(format!("{}: cannot be created: {}", directory.display(), reason(&e))),
        };
        if is_new {
            created.push(directory.to_owned());
        }
        // Its name is to last as long as what will be in it; who made it may have been killed before that was so.
        match File::open(directory_of(directory)).and_then(|parent| parent.sync_all()) {
            // Nobody made it who cannot look there, nor where nothing is ever written.
            Err(e) if !is_new && matches!(e.raw_os_error(), Some(libc::EACCES | libc::EINVAL | libc::EROFS)) => {}
            synced => synced.map_err(|e| format!("{}: its name may not last: {}", directory.display(), reason(&e)))?,
        }
    }
    Ok(created)
}
