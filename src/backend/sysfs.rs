//! What /sys and /proc know of a block device or the holder of a lock. Best effort: an unknown answer is `None`.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

/// A device number as the kernel counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeviceNumber {
    major: u32,
    minor: u32,
}

impl DeviceNumber {
    /// From `st_dev` or `st_rdev`.
    pub(super) fn new(dev: u64) -> Self {
        DeviceNumber { major: libc::major(dev), minor: libc::minor(dev) }
    }

    /// One attribute of the device's request queue.
    fn queue_text(self, attribute: &str) -> Option<String> {
        let device = PathBuf::from(format!("/sys/dev/block/{}:{}", self.major, self.minor));
        // A partition has no queue of its own; that of the whole disk is one up from where the link leads.
        let own = fs::read_to_string(device.join("queue").join(attribute));
        own.or_else(|_| fs::read_to_string(device.join("../queue").join(attribute))).ok()
    }

    fn queue_number<T: FromStr>(self, attribute: &str) -> Option<T> {
        self.queue_text(attribute)?.trim().parse().ok()
    }

    /// Whether the disk turns.
    pub(super) fn rotational(self) -> Option<bool> {
        self.queue_number::<u8>("rotational").map(|flag| flag != 0)
    }

    /// Whether the device has a volatile write cache that needs flushes.
    pub(super) fn write_back(self) -> Option<bool> {
        self.queue_text("write_cache").map(|text| text.trim() == "write back")
    }

    /// The unit that the device can give back, in bytes; `None` when it cannot.
    pub(super) fn discard_granularity_bytes(self) -> Option<u32> {
        let most: u64 = self.queue_number("discard_max_bytes")?;
        let granularity: u32 = self.queue_number("discard_granularity")?;
        (most > 0 && granularity > 0).then_some(granularity)
    }

    /// Whether nothing can be written to the device.
    pub(super) fn is_readonly(self) -> Option<bool> {
        let text = fs::read_to_string(format!("/sys/dev/block/{}:{}/ro", self.major, self.minor)).ok()?;
        Some(text.trim() != "0")
    }

    /// Where the device is mounted.
    pub(super) fn mounted_on(self) -> Option<String> {
        let number = format!("{}:{}", self.major, self.minor);
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(2);
            (fields.next()? == number).then_some(())?;
            fields.nth(1).map(str::to_owned)
        })
    }

    /// Name of a device that this one is a part of (LVM, RAID, encryption).
    pub(super) fn part_of(self) -> Option<String> {
        let holders = fs::read_dir(format!("/sys/dev/block/{}:{}/holders", self.major, self.minor)).ok()?;
        holders.flatten().next().map(|holder| holder.file_name().to_string_lossy().into_owned())
    }

    /// Pid of a process that holds a flock on the inode; `exclusive`: such a lock that readers cannot share.
    pub(super) fn lock_owner(self, inode: u64, exclusive: bool) -> Option<u32> {
        find_lock_owner(&fs::read_to_string("/proc/locks").ok()?, (self, inode), exclusive)
    }
}

/// Reads the lines of /proc/locks: `1: FLOCK  ADVISORY  WRITE 3046 fe:00:1311 0 EOF`. Waiters have an arrow after the
/// number and are no owners.
fn find_lock_owner(locks: &str, (device, inode): (DeviceNumber, u64), exclusive: bool) -> Option<u32> {
    let file = format!("{:02x}:{:02x}:{inode}", device.major, device.minor);
    locks.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        (fields.next()? == "FLOCK").then_some(())?;
        let how = fields.nth(1)?;
        let pid = fields.next()?;
        (fields.next()? == file && (how == "WRITE" || !exclusive)).then_some(())?;
        pid.parse().ok().filter(|pid| *pid > 0)
    })
}

/// Whether a process exists and is no zombie.
pub(super) fn process_lives(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // "12 (name) S ...": the name may hold anything, so the state is what follows the last parenthesis.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// "process 12 (ringsan)", or that it is ourselves.
pub(super) fn process_name(pid: u32) -> String {
    if pid == std::process::id() {
        return "this process, for another LUN".to_owned();
    }
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("process {pid} ({})", name.trim()),
        Err(_) => format!("process {pid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "1: POSIX  ADVISORY  WRITE 7 fe:00:1311 0 EOF\n\
                         2: FLOCK  ADVISORY  WRITE 3046 fe:00:1311 0 EOF\n\
                         2: -> FLOCK  ADVISORY  WRITE 9 fe:00:1312 0 EOF\n\
                         3: FLOCK  ADVISORY  WRITE 0 fe:00:1313 0 EOF\n";

    #[test]
    fn the_owner_of_a_flock_is_found() {
        let device = DeviceNumber { major: 0xfe, minor: 0 };
        assert_eq!(find_lock_owner(LOCKS, (device, 1311), true), Some(3046));
    }

    #[test]
    fn readers_share_a_lock() {
        let (device, locks) = (DeviceNumber { major: 8, minor: 1 }, "1: FLOCK  ADVISORY  READ 12 08:01:5 0 EOF");
        assert_eq!([false, true].map(|exclusive| find_lock_owner(locks, (device, 5), exclusive)), [Some(12), None]);
    }

    #[test]
    fn a_waiter_or_a_process_out_of_sight_is_no_owner() {
        let device = DeviceNumber { major: 0xfe, minor: 0 };
        assert_eq!(find_lock_owner(LOCKS, (device, 1312), false), None);
        assert_eq!(find_lock_owner(LOCKS, (device, 1313), false), None);
        assert_eq!(find_lock_owner("nonsense\n\n1:", (device, 1), false), None);
    }
}
