//! What a file or device is, whatever it is called: the same after a rename and a restart, another one of a copy.

use super::sys;
use super::sysfs::DeviceNumber;
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// File systems whose handles of files last, and are given to no other file: ext2 to ext4, XFS, Btrfs, F2FS, ZFS, bcachefs,
/// NFS, tmpfs. (FUSE has handles that do not.)
const LASTING: [i64; 8] =
    [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x2fc1_2fc1, 0xca45_1a4e, 0x6969, 0x0102_1994];

/// The mark of an open file or device; `None`: there is none that lasts.
pub(super) fn of(file: &File) -> Option<String> {
    let metadata = file.metadata().ok()?;
    if metadata.file_type().is_block_device() {
        return device(metadata.rdev());
    }
    let kind = rustix::fs::fstatfs(file).ok()?.f_type & 0xffff_ffff;
    LASTING.contains(&kind).then_some(())?;
    let (kind, handle) = sys::file_handle(file).ok()?;
    let digits: String = handle.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("file {kind:x} {digits}"))
}

/// The best of the names that udev has given a device by what it says of itself.
fn device(number: u64) -> Option<String> {
    /// Best first; all others are behind.
    const KINDS: [&str; 8] = ["wwn-", "nvme-eui.", "nvme-uuid.", "dm-uuid-", "md-uuid-", "scsi-", "nvme-", "ata-"];
    let names = fs::read_dir("/dev/disk/by-id").ok()?.flatten();
    let is_it = |entry: &fs::DirEntry| {
        fs::metadata(entry.path()).is_ok_and(|metadata| DeviceNumber::new(metadata.rdev()) == DeviceNumber::new(number))
    };
    let names = names.filter(is_it).map(|entry| entry.file_name().to_string_lossy().into_owned());
    let rank = |name: &String| KINDS.iter().position(|kind| name.starts_with(kind)).unwrap_or(KINDS.len());
    names.min_by_key(|name| (rank(name), name.clone())).map(|name| format!("device {name}"))
}
