//! What can go wrong with a medium, in the words that both `backend` (which sees errno) and `scsi` (which answers with
//! sense data) share.

/// A failed operation on a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MediumFault {
    /// ENOSPC, EDQUOT: the thin provisioned medium is full.
    #[error("no space left on the medium")]
    OutOfSpace,
    /// EIO and its like while reading.
    #[error("unrecovered read error")]
    Read,
    /// EIO and its like while writing.
    #[error("write error")]
    Write,
    /// ENODEV, ENXIO, a file cut short under us: the medium is gone.
    #[error("medium not present")]
    NotReady,
    /// EROFS, EPERM, EBADF on a write: opened read-only.
    #[error("write protected")]
    Protected,
    /// The operation is not one this medium has (EOPNOTSUPP where no fallback exists).
    #[error("not supported by the medium")]
    Unsupported,
    /// Anything else: ENOMEM, EINVAL, a bug.
    #[error("internal failure of the medium (errno {0})")]
    Internal(i32),
}

impl MediumFault {
    /// Whether a write or a flush that ends so has not been tried at all: it says nothing of what was written before.
    pub fn is_refusal(self) -> bool {
        matches!(self, MediumFault::OutOfSpace | MediumFault::Protected | MediumFault::Unsupported)
    }
}
