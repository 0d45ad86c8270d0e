//! Randomness from the kernel.

/// Fills `bytes` with randomness that nobody can guess.
#[allow(unsafe_code)]
pub fn fill_random(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: writes at most `rest.len()` bytes into `rest`.
        let n = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        filled += usize::try_from(n).unwrap_or(0);
    }
}
