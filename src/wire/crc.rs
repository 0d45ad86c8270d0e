//! CRC32C by the widest instructions that the machine has, over bytes in place and over bytes that are being copied.
//!
//! The crate `crc32c` is the reference and the fallback. Beside it stand, on x86-64, what it lacks and the hot path feels:
//! a short path for headers (48 bytes are six instructions), folding with AVX-512 carry-less products (several times as
//! fast on data segments), and a copy that computes the checksum on its way, for data that may change behind our back.
//!
//! Folding, in short: a 128-bit lane of the message, times x to the distance to a later lane, modulo the polynomial, can be
//! added to that later lane. Bit `i` of a lane stands for x to the power of `127 - i` (CRC32C is reflected), so a product of
//! 64-bit words comes out one power low and with 32 places to spare: hence the 31 and the 33 in `fold_by`.

#![allow(unsafe_code)] // Vector instructions and pointer copies; each block says why it holds.

/// Appends `bytes` to the checksum `crc`, which is 0 before the first byte.
#[inline]
pub fn append(crc: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        if bytes.len() < x86::WIDE_BYTES {
            if is_x86_feature_detected!("sse4.2") {
                // SAFETY: the instructions are there.
                return unsafe { x86::short(crc, bytes) };
            }
        } else if x86::has_wide() {
            // SAFETY: the instructions are there, the slice is valid for its length, and nothing is stored.
            return unsafe { x86::wide::<false>(crc, bytes.as_ptr(), std::ptr::null_mut(), bytes.len()) };
        }
    }
    crc32c::crc32c_append(crc, bytes)
}

/// Copies `len` bytes and returns the checksum of what was stored, whatever others do to `from` in the meantime: each byte
/// is read once.
///
/// # Safety
/// Both ranges are valid for `len` bytes and do not overlap; nobody else uses `to`.
pub unsafe fn copy(from: *const u8, to: *mut u8, len: usize) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if len >= x86::WIDE_BYTES && x86::has_wide() {
        // SAFETY: the instructions are there, the rest is the caller's promise.
        return unsafe { x86::wide::<true>(0, from, to, len) };
    }
    // SAFETY: the caller's promise; the checksum is that of the copy, of which there is no other reference.
    unsafe {
        std::ptr::copy_nonoverlapping(from, to, len);
        append(0, std::slice::from_raw_parts(to, len))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// From this length on folding pays; it is one round of [`wide`].
    pub const WIDE_BYTES: usize = 256;

    /// The polynomial, bit `i` standing for x to the power of `31 - i`.
    const POLYNOMIAL: u32 = 0x82f6_3b78;

    /// x to the power of `n`, modulo the polynomial.
    const fn power(n: u32) -> u64 {
        let mut value = 1u32 << 31;
        let mut i = 0;
        while i < n {
            value = (value >> 1) ^ if value & 1 == 1 { POLYNOMIAL } else { 0 };
            i += 1;
        }
        value as u64
    }

    /// Factors of the first and the second word of a lane that is to be added `bytes` further on.
    const fn fold_by(bytes: u32) -> (i64, i64) {
        (power(8 * bytes + 31) as i64, power(8 * bytes - 33) as i64)
    }

    /// Whether [`wide`] may be called.
    #[inline]
    pub fn has_wide() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("vpclmulqdq")
            && is_x86_feature_detected!("sse4.2")
    }

    /// A word at a time.
    #[inline]
    #[target_feature(enable = "sse4.2")]
    pub fn short(crc: u32, bytes: &[u8]) -> u32 {
        let (words, rest) = bytes.as_chunks::<8>();
        let state = words.iter().fold(u64::from(!crc), |state, word| _mm_crc32_u64(state, u64::from_le_bytes(*word)));
        !rest.iter().fold(state as u32, |state, byte| _mm_crc32_u8(state, *byte))
    }

    /// One lane-wise step: `data` with `x` added that lies one distance before it.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl,vpclmulqdq")]
    fn step(x: __m512i, factors: __m512i, data: __m512i) -> __m512i {
        let (first, second) = (_mm512_clmulepi64_epi128(x, factors, 0x00), _mm512_clmulepi64_epi128(x, factors, 0x11));
        _mm512_ternarylogic_epi64(first, second, data, 0x96)
    }

    /// Appends, and stores a copy at `to` when `COPY`.
    ///
    /// # Safety
    /// [`has_wide`]; `from` is valid for `len` bytes, at least [`WIDE_BYTES`], and so is `to` when `COPY`, apart from it.
    #[target_feature(enable = "avx512f,avx512vl,vpclmulqdq,sse4.2")]
    pub unsafe fn wide<const COPY: bool>(crc: u32, from: *const u8, to: *mut u8, len: usize) -> u32 {
        const ROUND: (i64, i64) = fold_by(256);
        const BLOCK: (i64, i64) = fold_by(64);
        const LANES: [(i64, i64); 3] = [fold_by(48), fold_by(32), fold_by(16)];
        // SAFETY: every call's `at` is such that at + 64 <= len.
        let load = |at: usize| unsafe {
            let block = _mm512_loadu_si512(from.add(at).cast());
            if COPY {
                _mm512_storeu_si512(to.add(at).cast(), block);
            }
            block
        };
        let mut x = [load(0), load(64), load(128), load(192)];
        x[0] = _mm512_xor_si512(x[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128(!crc as i32)));
        let mut at = WIDE_BYTES;
        let round = _mm512_broadcast_i32x4(_mm_set_epi64x(ROUND.1, ROUND.0));
        while at + WIDE_BYTES <= len {
            x = [
                step(x[0], round, load(at)),
                step(x[1], round, load(at + 64)),
                step(x[2], round, load(at + 128)),
                step(x[3], round, load(at + 192)),
            ];
            at += WIDE_BYTES;
        }
        let block = _mm512_broadcast_i32x4(_mm_set_epi64x(BLOCK.1, BLOCK.0));
        let mut sum = step(step(step(x[0], block, x[1]), block, x[2]), block, x[3]);
        while at + 64 <= len {
            sum = step(sum, block, load(at));
            at += 64;
        }
        // Three lanes are added to the last.
        let lanes = _mm512_set_epi64(0, 0, LANES[2].1, LANES[2].0, LANES[1].1, LANES[1].0, LANES[0].1, LANES[0].0);
        let moved = step(sum, lanes, _mm512_setzero_si512());
        let moved = _mm_xor_si128(
            _mm512_castsi512_si128(moved),
            _mm_xor_si128(_mm512_extracti32x4_epi32(moved, 1), _mm512_extracti32x4_epi32(moved, 2)),
        );
        let last = _mm_xor_si128(moved, _mm512_extracti32x4_epi32(sum, 3));
        let state = _mm_crc32_u64(0, _mm_extract_epi64(last, 0) as u64);
        let mut state = _mm_crc32_u64(state, _mm_extract_epi64(last, 1) as u64) as u32;
        while at < len {
            // SAFETY: at < len.
            let byte = unsafe { from.add(at).read() };
            if COPY {
                // SAFETY: at < len.
                unsafe { to.add(at).write(byte) };
            }
            state = _mm_crc32_u8(state, byte);
            at += 1;
        }
        !state
    }

    #[cfg(test)]
    mod tests {
        //! Against constants that stand in other implementations of folding.
        #[test]
        fn factors_of_one_lane() {
            assert_eq!(super::fold_by(16), (0xf20c_0dfe, 0x493c_7d27));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(len: usize, seed: usize) -> Vec<u8> {
        (0..len).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 7) as u8).collect()
    }

    #[test]
    fn every_length_is_as_the_reference_says() {
        let data = bytes(1500, 1);
        for len in 0..data.len() {
            for start in [0, 1, 13] {
                let slice = &data[start.min(len)..len];
                assert_eq!(append(0, slice), crc32c::crc32c(slice), "{start}..{len}");
                assert_eq!(append(0x1234_5678, slice), crc32c::crc32c_append(0x1234_5678, slice), "{start}..{len}");
            }
        }
    }

    #[test]
    fn a_copy_is_complete_and_summed() {
        for len in [0, 1, 48, 255, 256, 257, 511, 512, 575, 4095, 4096, 4097, 65_536, 131_072 + 60] {
            let from = bytes(len, len);
            let mut to = vec![0xee; len + 64];
            // SAFETY: two vectors of at least `len` bytes.
            let crc = unsafe { copy(from.as_ptr(), to.as_mut_ptr(), len) };
            assert_eq!(crc, crc32c::crc32c(&from), "{len}");
            assert_eq!(to[..len], from, "{len}");
            assert!(to[len..].iter().all(|b| *b == 0xee), "{len}: stored past the end");
        }
    }

    proptest! {
        #[test]
        fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..2000), crc in any::<u32>()) {
            prop_assert_eq!(append(crc, &data), crc32c::crc32c_append(crc, &data));
        }
    }
}
