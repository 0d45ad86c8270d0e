//! Whether a medium can be served: the rules, in one place.

use super::error::OpenError;
use crate::model::LunSpec;

/// The largest offset that the kernel can address is `i64::MAX`.
const MAX_FILE_BYTES: u64 = i64::MAX as u64;

/// The size that a medium without a file was given.
pub(super) fn given_size(spec: &LunSpec) -> Result<u64, OpenError> {
    let what = spec.kind.word();
    let bytes = spec.size_bytes.ok_or(OpenError::SizeNeeded { what })?;
    check_size(what.to_owned(), bytes, spec.block_bytes)?;
    Ok(bytes)
}

/// Whether a medium can have so many bytes; `what` it is.
pub(super) fn check_size(what: String, bytes: u64, block_bytes: u32) -> Result<(), OpenError> {
    if bytes > MAX_FILE_BYTES {
        return Err(OpenError::TooLarge { what, bytes });
    }
    if bytes == 0 || !bytes.is_multiple_of(u64::from(block_bytes)) {
        return Err(OpenError::NotBlocks { what, bytes, block_bytes });
    }
    Ok(())
}

/// Whether a medium can have such blocks.
pub(super) fn check_block_length(spec: &LunSpec) -> Result<(), OpenError> {
    let possible: &[u32] = if spec.cdrom { &[2048] } else { &[512, 4096] };
    if !possible.contains(&spec.block_bytes) {
        return Err(OpenError::BlockLength { bytes: spec.block_bytes });
    }
    Ok(())
}
