//! How many commands a host may have carried out by the limit of its group.

/// A bucket gives as much at once as in so many milliseconds (`rate/mod.rs`), and each core may claim so many ahead.
const BURST_MS: u64 = 100;
const CLAIM_MS: u64 = 25;

/// Since when there is a limit, and what came of it.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    per_s: u64,
    since_ms: u64,
    /// Commands beyond those of the time that has passed.
    spare: u64,
    done: u64,
}

impl Pace {
    /// So many commands a second, at so many cores, from now on.
    pub fn new(per_s: u64, cores: usize, since_ms: u64) -> Pace {
        let spare = per_s * (BURST_MS + CLAIM_MS * cores as u64) / 1000 + cores as u64 + 1;
        Pace { per_s, since_ms, spare, done: 0 }
    }

    /// A command that was sent at `sent_ms` is done.
    ///
    /// # Errors
    /// There are too many.
    pub fn done(&mut self, sent_ms: u64, now_ms: u64) -> Result<(), String> {
        self.done += u64::from(sent_ms > self.since_ms);
        let (passed_ms, per_s) = (now_ms - self.since_ms, self.per_s);
        if self.done <= passed_ms * per_s / 1000 + 1 + self.spare {
            return Ok(());
        }
        Err(format!("{} commands are done in {passed_ms} ms, and the limit is {per_s} a second", self.done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_for_what_is_sent_under_it() {
        let mut pace = Pace::new(10, 1, 1000);
        assert!((0..100).all(|_| pace.done(1000, 1001).is_ok()));
        assert_eq!((0..100).take_while(|_| pace.done(1001, 1100).is_ok()).count(), 5);
        assert!(pace.done(1001, 1500).is_ok());
    }
}
