//! Big-endian fields of CDBs and parameter lists. Reading past the end gives zero, so no peer's bytes can panic a caller.

/// The 16 bits at `at`.
#[inline]
pub(super) fn be16(bytes: &[u8], at: usize) -> u16 {
    field(bytes, at).map_or(0, u16::from_be_bytes)
}

/// The 24 bits at `at`.
#[inline]
pub(super) fn be24(bytes: &[u8], at: usize) -> u32 {
    field(bytes, at).map_or(0, |[high, middle, low]| u32::from_be_bytes([0, high, middle, low]))
}

/// The 32 bits at `at`.
#[inline]
pub(super) fn be32(bytes: &[u8], at: usize) -> u32 {
    field(bytes, at).map_or(0, u32::from_be_bytes)
}

/// The 64 bits at `at`.
#[inline]
pub(super) fn be64(bytes: &[u8], at: usize) -> u64 {
    field(bytes, at).map_or(0, u64::from_be_bytes)
}

/// The byte at `at`.
#[inline]
pub(super) fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

#[inline]
fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
