//! The few system calls that neither std nor the io-uring crate wraps, as safe functions on an open file.
//!
//! All but [`known_bytes`] and [`cached_pages`] block: they are for opening a medium, for measuring it and for GET LBA
//! STATUS, never for the path of a READ or WRITE.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

/// `_IOR(0x12, 114, size_t)`: size of a block device in bytes. libc has no name for it.
const BLKGETSIZE64: u32 = 0x8008_1272;

/// Memory aligned for every direct I/O that we do.
#[derive(Clone)]
#[repr(C, align(4096))]
pub(super) struct Page(pub(super) [u8; 4096]);

/// What the file system says of direct I/O on a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DirectAlign {
    /// This kernel or file system does not say.
    Unknown,
    /// Not possible on this file.
    Impossible,
    /// Possible with these alignments, in bytes.
    Known { mem_bytes: u32, offset_bytes: u32 },
}

/// Asks statx(2) for STATX_DIOALIGN (Linux 6.1).
pub(super) fn direct_align(file: &File) -> io::Result<DirectAlign> {
    // SAFETY: statx is plain old data; all zero is a valid value.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a NUL-terminated literal, `stat` is writable and lives through the call.
    let failed =
        unsafe { libc::statx(file.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_DIOALIGN, &mut stat) };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(if stat.stx_mask & libc::STATX_DIOALIGN == 0 {
        DirectAlign::Unknown
    } else if stat.stx_dio_mem_align == 0 || stat.stx_dio_offset_align == 0 {
        DirectAlign::Impossible
    } else {
        DirectAlign::Known { mem_bytes: stat.stx_dio_mem_align, offset_bytes: stat.stx_dio_offset_align }
    })
}

/// How many bytes a regular file has, as far as this machine knows: no network is asked, and nothing waited for.
/// `None`: the kernel does not say.
pub(super) fn known_bytes(file: &File) -> Option<u64> {
    let mut stat = MaybeUninit::<libc::statx>::uninit();
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: the path is a NUL-terminated literal, `stat` is writable and lives through the call.
    let failed =
        unsafe { libc::statx(file.as_raw_fd(), c"".as_ptr(), flags, libc::STATX_SIZE, stat.as_mut_ptr()) } != 0;
    // SAFETY: a call that has not failed has filled it.
    let stat = if failed { return None } else { unsafe { stat.assume_init_ref() } };
    (stat.stx_mask & libc::STATX_SIZE != 0).then_some(stat.stx_size)
}

/// How many pages of a range the kernel has in its cache: cachestat(2), Linux 6.5. It waits for nothing.
pub(super) fn cached_pages(file: &File, offset: u64, len: u64) -> io::Result<u64> {
    /// libc has no name for it; the number is the same on every architecture.
    const CACHESTAT: libc::c_long = 451;
    #[repr(C)]
    #[derive(Default)]
    struct Found {
        cached: u64,
        dirty: u64,
        writeback: u64,
        evicted: u64,
        recently_evicted: u64,
    }
    let (range, mut found) = ([offset, len], Found::default());
    // SAFETY: the range is two u64, as the kernel has it, and `found` its five; both live through the call.
    let failed =
        unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), range.as_ptr(), &raw mut found, 0 as libc::c_uint) } != 0;
    if failed { Err(io::Error::last_os_error()) } else { Ok(found.cached) }
}

/// Size of a block device in bytes. Its metadata says 0, so the block layer is asked.
pub(super) fn block_device_bytes(file: &File) -> io::Result<u64> {
    let mut bytes = 0u64;
    // SAFETY: BLKGETSIZE64 writes one u64 through the pointer, which lives through the call.
    let failed = unsafe { libc::ioctl(file.as_raw_fd(), BLKGETSIZE64 as _, &raw mut bytes) };
    if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(bytes) }
}

/// Logical block length of a block device in bytes: what it addresses, and what direct I/O must be aligned to.
pub(super) fn device_block_bytes(file: &File) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: BLKSSZGET writes one int through the pointer, which lives through the call.
    let failed = unsafe { libc::ioctl(file.as_raw_fd(), libc::BLKSSZGET as _, &raw mut bytes) };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    u32::try_from(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Bytes that unprivileged processes may still write to the file system of a file.
pub(super) fn available_bytes(file: &File) -> io::Result<u64> {
    // SAFETY: statvfs is plain old data; all zero is a valid value.
    let mut stat: libc::statvfs64 = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable and lives through the call; the descriptor is open as long as `file` is borrowed.
    let failed = unsafe { libc::fstatvfs64(file.as_raw_fd(), &raw mut stat) };
    if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(stat.f_bavail.saturating_mul(stat.f_frsize)) }
}

/// The file system's own, lasting name of a file, and its type: name_to_handle_at(2).
pub(super) fn file_handle(file: &File) -> io::Result<(i32, Vec<u8>)> {
    const MOST: usize = 128;
    #[repr(C)]
    struct Handle {
        bytes: libc::c_uint,
        kind: libc::c_int,
        handle: [u8; MOST],
    }
    let (mut handle, mut mount) = (Handle { bytes: MOST as u32, kind: 0, handle: [0; MOST] }, 0 as libc::c_int);
    // SAFETY: the path is a NUL-terminated literal; `handle` has the room that it says it has, and like `mount` it is
    // writable and lives through the call.
    let failed = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            file.as_raw_fd(),
            c"".as_ptr(),
            &raw mut handle,
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((handle.kind, handle.handle.iter().copied().take(handle.bytes as usize).collect()))
}

/// fallocate(2).
pub(super) fn fallocate(file: &File, mode: i32, offset: u64, len: u64) -> io::Result<()> {
    let (Ok(offset), Ok(len)) = (libc::off64_t::try_from(offset), libc::off64_t::try_from(len)) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    // SAFETY: no pointers; the descriptor is open for as long as `file` is borrowed.
    let failed = unsafe { libc::fallocate64(file.as_raw_fd(), mode, offset, len) };
    if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Offset of the first byte at or after `offset` that has data; `None`: there is none until the end.
pub(super) fn seek_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    match seek(file, offset, libc::SEEK_DATA) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Offset of the first hole at or after `offset`; the end of the file counts as one.
pub(super) fn seek_hole(file: &File, offset: u64) -> io::Result<u64> {
    seek(file, offset, libc::SEEK_HOLE)
}

/// lseek(2). The file's position is used by nobody: every transfer names its offset.
fn seek(file: &File, offset: u64, whence: i32) -> io::Result<u64> {
    let Ok(offset) = libc::off64_t::try_from(offset) else { return Err(io::Error::from_raw_os_error(libc::EINVAL)) };
    // SAFETY: no pointers; the descriptor is open for as long as `file` is borrowed.
    let found = unsafe { libc::lseek64(file.as_raw_fd(), offset, whence) };
    u64::try_from(found).map_err(|_| io::Error::last_os_error())
}

/// Sets or clears O_DIRECT on an open file.
///
/// The flag is changed on the descriptor that has the lock, instead of by a second open: between the two the path could
/// come to mean another file.
pub(super) fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    // SAFETY: F_GETFL takes no pointer.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    let flags = if direct { flags | libc::O_DIRECT } else { flags & !libc::O_DIRECT };
    // SAFETY: F_SETFL takes an int.
    let failed = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags) };
    if failed < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
