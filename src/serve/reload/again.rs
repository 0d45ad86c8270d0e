//! When what is not served is tried again.

use std::time::{Duration, Instant};

/// How long a file is waited for that is still open as another logical unit.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How soon what waits for such a file is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(250);

/// How soon what cannot be opened is tried again, at first: each pause is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest of these pauses.
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// How long trying again may take before it leaves the rest for the next time: who has an order waits for it.
pub(super) const SHARE: Duration = Duration::from_secs(1);

/// When what is not served is tried again.
pub(super) struct Retry {
    /// Not before.
    pub(super) next: Instant,
    /// The pause after that.
    pause: Duration,
    /// Until then it is no fault that a file is still open as another logical unit.
    pub(super) until: Instant,
    /// Of what is not served, where it is gone on with: the last time did not come to that.
    pub(super) from: usize,
}

impl Retry {
    /// Something else is to be served from now on.
    pub(super) fn new() -> Retry {
        let now = Instant::now();
        Retry { next: now + FIRST_PAUSE, pause: FIRST_PAUSE, until: now + PATIENCE, from: 0 }
    }

    /// A file was closed: what waits for one is tried at once.
    pub(super) fn hurry(&mut self) {
        self.next = Instant::now();
    }

    /// It was tried again. `waits`: a part of it for a file that is about to be closed. `from`: where it is gone on with, soon;
    /// 0: all of it was tried.
    pub(super) fn tried(&mut self, waits: bool, from: usize) {
        let now = Instant::now();
        self.from = from;
        if from > 0 || waits && now < self.until {
            self.next = now + RETRY;
            return;
        }
        self.pause = (2 * self.pause).min(LAST_PAUSE);
        self.next = now + self.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_become_longer_to_a_bound_and_short_again_with_another_configuration() {
        let mut retry = Retry::new();
        for expected in [2, 4, 8, 16, 30, 30] {
            retry.tried(false, 0);
            assert_eq!(retry.pause, Duration::from_secs(expected));
        }
        retry.tried(true, 0);
        assert!(retry.next <= Instant::now() + RETRY);
        retry.until = Instant::now();
        retry.tried(true, 0);
        assert!(retry.next > Instant::now() + 10 * RETRY, "nobody waits for ever");
        retry.tried(false, 7);
        assert!(retry.next <= Instant::now() + RETRY && retry.from == 7);
        assert_eq!(Retry::new().pause, FIRST_PAUSE);
    }
}
