//! The timestamp of a logical unit (SPC-4 clause 5.2).
//!
//! It is the time of this machine until a host sets another one; that one counts on beside the machine's until a hard
//! reset or the end of the process (SCSIP and TCMOS of the control extension mode page say just that).

use super::now::Now;

/// What a host set, in milliseconds since 1970, and when, by the machine's clock: that goes on while the cores stand still.
/// Among the rare state.
#[derive(Debug, Default)]
pub(super) struct Clock(pub(super) Option<(u64, u64)>);

/// TIMESTAMP ORIGIN (SPC-4 table 50).
mod origin {
    pub(super) const SET_TIMESTAMP: u8 = 0x02;
    pub(super) const OTHER_MEANS: u8 = 0x03;
}

impl Clock {
    /// TIMESTAMP ORIGIN and the timestamp.
    pub(super) fn read(&self, now: Now) -> (u8, u64) {
        match self.0 {
            Some((timestamp, since_ms)) => {
                (origin::SET_TIMESTAMP, timestamp.saturating_add(now.since_1970_ms.saturating_sub(since_ms)))
            }
            None => (origin::OTHER_MEANS, now.since_1970_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on() {
        let at = |ms| Now { ms, since_1970_ms: 1_700_000_000_000 + ms };
        let clock = Clock(Some((0xf0ff_ffff_ffff, at(10).since_1970_ms)));
        assert_eq!(clock.read(at(10)), (2, 0xf0ff_ffff_ffff));
        assert_eq!(clock.read(at(1510)), (2, 0xf0ff_ffff_ffff + 1500));
        // Another core may be a little behind.
        assert_eq!(clock.read(at(9)), (2, 0xf0ff_ffff_ffff));
        assert_eq!(Clock::default().read(at(10)), (3, 1_700_000_000_010));
    }
}
