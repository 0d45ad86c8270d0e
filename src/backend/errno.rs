//! The one place that maps an errno to a [`MediumFault`].

use crate::model::MediumFault;

/// Which way the data went when it failed: EIO means another sense code for a read than for a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the medium.
    Read,
    /// To the medium; flushes, discards and zeroing are of this kind.
    Write,
}

/// The fault that `errno` (positive) of an operation on a medium stands for.
pub(super) fn fault_of(errno: i32, direction: Direction) -> MediumFault {
    match errno {
        // EFBIG: the limit of file sizes of the process, or of the file system.
        libc::ENOSPC | libc::EDQUOT | libc::EFBIG => MediumFault::OutOfSpace,
        // The block layer's words: ENODATA critical medium error, EREMOTEIO critical target error, EILSEQ protection,
        // ETIMEDOUT and ENOLINK a lost command; EUCLEAN and EBADMSG are a file system that found itself damaged.
        libc::EIO
        | libc::ENODATA
        | libc::EREMOTEIO
        | libc::EILSEQ
        | libc::ETIMEDOUT
        | libc::ENOLINK
        | libc::EUCLEAN
        | libc::EBADMSG => match direction {
            Direction::Read => MediumFault::Read,
            Direction::Write => MediumFault::Write,
        },
        libc::ENODEV | libc::ENXIO | libc::ENOMEDIUM | libc::ESTALE | libc::ESHUTDOWN | libc::EHOSTDOWN => {
            MediumFault::NotReady
        }
        // EBADE: another host has a reservation of the disk below.
        libc::EROFS | libc::EPERM | libc::EBADF | libc::EACCES | libc::EBADE if direction == Direction::Write => {
            MediumFault::Protected
        }
        libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOTTY => MediumFault::Unsupported,
        other => MediumFault::Internal(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_not_a_broken_one() {
        assert_eq!(fault_of(libc::ENOSPC, Direction::Write), MediumFault::OutOfSpace);
        assert_eq!(fault_of(libc::EDQUOT, Direction::Write), MediumFault::OutOfSpace);
        assert_eq!(fault_of(libc::EFBIG, Direction::Write), MediumFault::OutOfSpace);
    }

    #[test]
    fn eio_says_which_way() {
        assert_eq!(fault_of(libc::EIO, Direction::Read), MediumFault::Read);
        assert_eq!(fault_of(libc::EIO, Direction::Write), MediumFault::Write);
    }

    #[test]
    fn a_bad_descriptor_is_protection_only_for_a_write() {
        assert_eq!(fault_of(libc::EBADF, Direction::Write), MediumFault::Protected);
        assert_eq!(fault_of(libc::EBADF, Direction::Read), MediumFault::Internal(libc::EBADF));
    }
}
