//! The mark of a file or device: a text that it is recognised by, whatever its path. It is the same after a rename and
//! a restart; a copy has another one.

use super::sys;
use super::sysfs::DeviceNumber;
use crate::model::{IN_DEVICE, split_mark};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// File systems whose handles of files last, and are given to no other file: ext2 to ext4, XFS, F2FS, NFS, tmpfs. (FUSE has
/// handles that do not.)
const LASTING: [i64; 5] = [0xef53, 0x5846_5342, 0xf2f5_2010, 0x6969, 0x0102_1994];
/// File systems that count where others draw lots: their handles last, but the first file of each new file system may
/// well have the same one. So the mark names the file system, too, by its identifier, which is derived from a UUID:
/// Btrfs, ZFS, bcachefs.
const COUNTING: [i64; 3] = [0x9123_683e, 0x2fc1_2fc1, 0xca45_1a4e];

/// The absolute form of a path, as a store is recognised by it. Links are not resolved: a device has the name that it
/// was given, not the one that it has for the moment.
pub fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

/// The mark of an open file or device; `None`: there is none that lasts.
pub(super) fn of(file: &File) -> Option<String> {
    let metadata = file.metadata().ok()?;
    if metadata.file_type().is_block_device() {
        return device(metadata.rdev()).map(|name| format!("device {name}"));
    }
    let kind = rustix::fs::fstatfs(file).ok()?.f_type & 0xffff_ffff;
    let file_system = COUNTING.contains(&kind).then(|| rustix::fs::fstatvfs(file).map(|of| of.f_fsid));
    if !LASTING.contains(&kind) && file_system.is_none() {
        return None;
    }
    let (kind, handle) = sys::file_handle(file).ok()?;
    // A snapshot of the device below a file system has the same UUID, and files of the same handles. So where the mark
    // does not name the file system, it names the device.
    let device = if file_system.is_none() { device(metadata.dev()) } else { None };
    Some(of_handle(kind, &handle, file_system.transpose().ok()?, device.as_deref()))
}

/// The mark of a file: type and bytes of its handle, and where these do not suffice the identifier of the file system,
/// or the name of the device.
fn of_handle(kind: i32, handle: &[u8], file_system: Option<u64>, device: Option<&str>) -> String {
    let digits: String = handle.iter().map(|byte| format!("{byte:02x}")).collect();
    let file_system = file_system.map(|id| format!(" on {id:016x}")).unwrap_or_default();
    let device = device.map(|name| format!("{IN_DEVICE}{name}")).unwrap_or_default();
    format!("file {kind:x} {digits}{file_system}{device}")
}

/// Whether two marks may be those of a store and of its double, as the file in a snapshot is one of the original. The
/// devices are not compared: a record may not name one.
pub(super) fn are_doubles(one: &str, other: &str) -> bool {
    split_mark(one).0 == split_mark(other).0
}

/// The mark of what is at a path. It is opened as a path only: a FIFO would wait for its other end, a tape would be
/// wound back.
pub(super) fn at(path: &Path) -> Option<String> {
    of(&OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).ok()?)
}

/// The best of the names in /dev/disk/by-id that udev has given the device `number`.
fn device(number: u64) -> Option<String> {
    /// Beginnings of names, best first; all other names come behind these.
    const KINDS: [&str; 8] = ["wwn-", "nvme-eui.", "nvme-uuid.", "dm-uuid-", "md-uuid-", "scsi-", "nvme-", "ata-"];
    let names = fs::read_dir("/dev/disk/by-id").ok()?.flatten();
    let is_it = |entry: &fs::DirEntry| {
        fs::metadata(entry.path()).is_ok_and(|metadata| DeviceNumber::new(metadata.rdev()) == DeviceNumber::new(number))
    };
    let names = names.filter(is_it).map(|entry| entry.file_name().to_string_lossy().into_owned());
    let rank = |name: &String| KINDS.iter().position(|kind| name.starts_with(kind)).unwrap_or(KINDS.len());
    names.min_by_key(|name| (rank(name), name.clone()))
}

/// Whether this open file is what `path` names now.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), fs::metadata(path)) else { return false };
    if open.file_type().is_block_device() {
        named.file_type().is_block_device() && open.rdev() == named.rdev()
    } else {
        (open.dev(), open.ino()) == (named.dev(), named.ino())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn a_file_has_its_mark_by_whatever_path() {
        let directory = TempDir::new().unwrap();
        let [one, two, other] = ["one", "two", "other"].map(|name| directory.path().join(name));
        let (file, _other) = (File::create_new(&one).unwrap(), File::create_new(&other).unwrap());
        // Not where temporary files are on a file system without any (overlayfs).
        let Some(mark) = of(&file) else { return };
        assert_eq!(at(&one).as_ref(), Some(&mark));
        assert_ne!(at(&other), Some(mark.clone()));
        fs::rename(&one, &two).unwrap();
        assert_eq!((at(&one), at(&two)), (None, Some(mark)));
    }

    /// Of one file system, and of one that was made anew.
    #[test]
    fn where_handles_are_counted_the_file_system_is_part_of_the_mark() {
        assert_eq!(of_handle(1, &[10, 11], None, None), "file 1 0a0b");
        assert_ne!(of_handle(0x4d, &[10, 11], Some(1), None), of_handle(0x4d, &[10, 11], Some(2), None));
    }

    #[test]
    fn where_snapshots_have_the_same_handles_the_device_is_part_of_the_mark() {
        let [disk, snapshot, unknown] =
            [Some("dm-uuid-LVM-1"), Some("dm-uuid-LVM-2"), None].map(|device| of_handle(1, &[10, 11], None, device));
        assert_eq!(disk, "file 1 0a0b in dm-uuid-LVM-1");
        assert_ne!(disk, snapshot);
        assert!(are_doubles(&disk, &snapshot) && are_doubles(&unknown, &disk));
        assert!(!are_doubles(&disk, &of_handle(1, &[10, 12], None, Some("dm-uuid-LVM-1"))));
    }
}
