//! Randomness from the kernel.

/// Fills `bytes` with randomness that nobody can guess.
#[allow(unsafe_code)]
pub fn fill_random(bytes: &mut [u8]) {
    #[cfg(test)]
    if seeded::fill(bytes) {
        return;
    }
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: writes at most `rest.len()` bytes into `rest`.
        let n = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        filled += usize::try_from(n).unwrap_or(0);
    }
}

/// What a simulation has instead, so that its seed decides this too.
#[cfg(test)]
pub(crate) mod seeded {
    use std::cell::Cell;

    thread_local! {
        static STATE: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// From now on this thread gets what follows from `seed`; `None`: what the kernel has.
    pub(crate) fn set(seed: Option<u64>) {
        STATE.set(seed);
    }

    /// Fills `bytes`, if there is a seed.
    pub(super) fn fill(bytes: &mut [u8]) -> bool {
        let Some(mut state) = STATE.get() else { return false };
        for chunk in bytes.chunks_mut(8) {
            // SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
        }
        STATE.set(Some(state));
        true
    }

    #[test]
    fn a_seed_decides_for_its_thread_alone() {
        let drawn = || {
            let mut bytes = [0; 21];
            super::fill_random(&mut bytes);
            bytes
        };
        let of_seed = |seed| {
            set(Some(seed));
            [drawn(), drawn()]
        };
        let (first, again, other) = (of_seed(1), of_seed(1), of_seed(2));
        assert!(first == again && first != other && first[0] != first[1]);
        assert_ne!(std::thread::spawn(drawn).join().unwrap(), drawn());
        set(None);
        assert_ne!(drawn(), drawn());
    }
}
