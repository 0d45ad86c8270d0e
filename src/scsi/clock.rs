//! The timestamp of a logical unit (SPC-4 clause 5.2).
//!
//! It is the time of this machine until a host sets another one; that one counts on beside the machine's until a hard
//! reset or the end of the process (SCSIP and TCMOS of the control extension mode page say just that).

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// What a host set, in milliseconds since 1970, and when; among the rare state.
#[derive(Debug, Default)]
pub(super) struct Clock(pub(super) Option<(u64, Instant)>);

/// TIMESTAMP ORIGIN (SPC-4 table 50).
mod origin {
    pub(super) const SET_TIMESTAMP: u8 = 0x02;
    pub(super) const OTHER_MEANS: u8 = 0x03;
}

impl Clock {
    /// TIMESTAMP ORIGIN and the timestamp.
    pub(super) fn read(&self, now: Instant) -> (u8, u64) {
        match self.0 {
            Some((timestamp, since)) => {
                let elapsed = now.saturating_duration_since(since).as_millis() as u64;
                (origin::SET_TIMESTAMP, timestamp.saturating_add(elapsed))
            }
            None => {
                let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
                (origin::OTHER_MEANS, since_1970.map_or(0, |since| since.as_millis() as u64))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_goes_on() {
        let now = Instant::now();
        let clock = Clock(Some((0xf0ff_ffff_ffff, now)));
        assert_eq!(clock.read(now), (2, 0xf0ff_ffff_ffff));
        assert_eq!(clock.read(now + Duration::from_millis(1500)), (2, 0xf0ff_ffff_ffff + 1500));
        let (origin, timestamp) = Clock::default().read(now);
        assert!(origin == 3 && timestamp > 1_700_000_000_000);
    }
}
