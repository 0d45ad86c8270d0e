//! How long commands were in one stage: a histogram that costs little to count in, for it is counted in three times for a command that a
//! medium has answered. (`hdrhistogram` takes some 60 instructions each time.)

/// Eight values of a power of two are told apart: times are to one part in eight.
const FINE_BITS: u32 = 3;
const FINE: usize = 1 << FINE_BITS;
/// What took longer than this power of two is counted as if it had not: 67 s.
const LONGEST_BITS: u32 = 26;
const PLACES: usize = (LONGEST_BITS - FINE_BITS + 1) as usize * FINE;

/// How long commands were in one stage, microseconds. Those that were not there are not in it.
#[derive(Debug, Clone)]
pub struct StageTimes {
    counts: [u64; PLACES],
    /// All of it.
    pub sum_us: u64,
}

impl Default for StageTimes {
    fn default() -> StageTimes {
        StageTimes { counts: [0; PLACES], sum_us: 0 }
    }
}

/// Where times like this one are counted.
#[inline]
fn place(us: u64) -> usize {
    let power = u64::BITS - 1 - (us | 1).leading_zeros();
    if power < FINE_BITS {
        return us as usize;
    }
    let fine = (us >> (power - FINE_BITS)) as usize & (FINE - 1);
    ((power - FINE_BITS + 1) as usize * FINE + fine).min(PLACES - 1)
}

/// The longest time that is counted at a place, microseconds.
fn longest_at(place: usize) -> u64 {
    let (row, fine) = ((place / FINE) as u32, (place % FINE) as u64);
    match row {
        0 => fine,
        row => ((FINE as u64 + fine + 1) << (row - 1)) - 1,
    }
}

impl StageTimes {
    /// So many commands were there so long, or not at all.
    #[inline]
    pub fn note(&mut self, us: u64, commands: u64) {
        if us > 0 {
            self.sum_us += commands * us;
            self.counts[place(us)] += commands;
        }
    }

    /// How many were there.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many were there how long, the longest of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(place, count)| (longest_at(place), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_counted_to_one_part_in_eight() {
        let mut before = 0;
        for us in (0..4096).chain([9_999, 10_000, 65_535, 65_536, 1_000_000, (1 << 26) - 1]) {
            let at = place(us);
            assert!(at >= before, "{us}");
            before = at;
            assert!(longest_at(at) >= us && longest_at(at) - us <= us / 8, "{us} {}", longest_at(at));
            assert!(at == 0 || longest_at(at - 1) < us, "{us}");
        }
        assert_eq!([1 << 27, u64::MAX].map(place), [PLACES - 1; 2]);
    }

    #[test]
    fn what_was_there_is_counted_and_what_was_not_is_not() {
        let mut times = StageTimes::default();
        times.note(0, 5);
        times.note(3, 2);
        times.note(1000, 1);
        assert_eq!((times.count(), times.sum_us), (3, 1006));
        assert_eq!(times.iter().collect::<Vec<_>>(), [(3, 2), (1023, 1)]);
    }
}
