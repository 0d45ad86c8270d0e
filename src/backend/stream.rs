//! Copying into memory that is far larger than the caches, past them: the lines written are not read first, push nothing
//! else out, and later instructions do not queue behind their misses. And the other way: asking for such memory early.

#![allow(unsafe_code)] // Pointers into a medium, to which no reference may be made; each block says why it holds.

/// Copies `len` bytes to `to`, which nobody will read soon. This core sees the bytes at once; other cores may see what
/// is stored later before them, unless [`settle`] comes between.
///
/// # Safety
/// Both ranges are valid for `len` bytes and do not overlap.
#[inline]
pub(super) unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    #[cfg(target_arch = "x86_64")]
    if len.is_multiple_of(128) {
        // SAFETY: the ranges are the caller's promise; alignment, length and the processor's abilities were looked at.
        unsafe {
            if (to as usize).is_multiple_of(64) && is_x86_feature_detected!("avx512f") {
                return copy_avx512(from, to, len);
            }
            if (to as usize).is_multiple_of(32) && is_x86_feature_detected!("avx") {
                return copy_avx(from, to, len);
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { std::ptr::copy_nonoverlapping(from, to, len) }
}

/// Has all stores of `copy` done before any that follow: to be called before anybody is told of them. Waiting for the
/// memory costs as much as a copy of 4 KiB does, so it is worth doing once for many.
#[inline]
pub fn settle() {
    // SAFETY: SSE is part of x86-64.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// # Safety
/// As [`copy`]; `to` is a multiple of 64, `len` of 128.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn copy_avx512(from: *const u8, to: *mut u8, len: usize) {
    use std::arch::x86_64::{_mm512_loadu_si512, _mm512_stream_si512};
    for at in (0..len).step_by(128) {
        // SAFETY: at + 128 <= len, since len is a multiple of 128; loads may be unaligned, stores are aligned.
        unsafe {
            let (a, b) = (_mm512_loadu_si512(from.add(at).cast()), _mm512_loadu_si512(from.add(at + 64).cast()));
            _mm512_stream_si512(to.add(at).cast(), a);
            _mm512_stream_si512(to.add(at + 64).cast(), b);
        }
    }
}

/// # Safety
/// As [`copy`]; `to` is a multiple of 32, `len` of 128.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn copy_avx(from: *const u8, to: *mut u8, len: usize) {
    use std::arch::x86_64::{__m256i, _mm256_loadu_si256, _mm256_stream_si256};
    for at in (0..len).step_by(128) {
        // SAFETY: at + 128 <= len, since len is a multiple of 128; loads may be unaligned, stores are aligned.
        unsafe {
            let source = from.add(at).cast::<__m256i>();
            let target = to.add(at).cast::<__m256i>();
            let (a, b) = (_mm256_loadu_si256(source), _mm256_loadu_si256(source.add(1)));
            let (c, d) = (_mm256_loadu_si256(source.add(2)), _mm256_loadu_si256(source.add(3)));
            _mm256_stream_si256(target, a);
            _mm256_stream_si256(target.add(1), b);
            _mm256_stream_si256(target.add(2), c);
            _mm256_stream_si256(target.add(3), d);
        }
    }
}

/// Asks the memory for bytes that will be read before long, so that they are in the cache by then. Any address will do.
#[inline]
pub fn prefetch(from: *const u8, len: usize) {
    /// No more is asked for: the processor itself notices a longer run.
    const MAX_BYTES: usize = 4096;
    const LINE_BYTES: usize = 64;
    #[cfg(target_arch = "x86_64")]
    for at in (0..len.min(MAX_BYTES)).step_by(LINE_BYTES) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch is a hint; it neither reads nor faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.wrapping_add(at).cast()) };
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_length_and_alignment_arrives() {
        let from: Vec<u8> = (0..8192u32).map(|i| (i * 7 + i / 256) as u8).collect();
        for (start, target, len) in [(0, 0, 4096), (1, 0, 4096), (3, 32, 128), (5, 1, 4096), (0, 0, 0), (7, 64, 513)] {
            let mut to = vec![0u8; 8192 + 64];
            let base = to.as_ptr().align_offset(64);
            // SAFETY: both ranges lie inside their vectors, which are distinct.
            unsafe { super::copy(from[start..].as_ptr(), to[base + target..].as_mut_ptr(), len) };
            let check = |to: &[u8], what: &str| {
                assert_eq!(to[base + target..][..len], from[start..][..len], "{what} {start} {target} {len}");
                assert!(
                    to[base + target + len..].iter().all(|&b| b == 0) && to[..base + target].iter().all(|&b| b == 0)
                );
            };
            check(&to, "as this processor does it");
            #[cfg(target_arch = "x86_64")]
            if len % 128 == 0 && target % 32 == 0 && is_x86_feature_detected!("avx") {
                to.fill(0);
                // SAFETY: as above; AVX was just looked for, alignment and length, too.
                unsafe { super::copy_avx(from[start..].as_ptr(), to[base + target..].as_mut_ptr(), len) };
                check(&to, "AVX");
            }
        }
    }
}
