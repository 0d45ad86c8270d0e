//! Wrong tokens, by host: each takes longer to be told, and after some of them that host is told nothing for a while, whatever
//! it shows. Others do not wait.

use crate::limits::{WRONG_TOKEN_DELAY, WRONG_TOKEN_DELAY_MOST, WRONG_TOKEN_EACH, WRONG_TOKEN_HOSTS, WRONG_TOKENS};
use crate::model::Host;
use std::collections::HashMap;
use std::time::Duration;

const EACH_MS: u64 = WRONG_TOKEN_EACH.as_millis() as u64;

/// When each host will have paid for its wrong tokens, milliseconds.
#[derive(Debug, Default)]
pub(super) struct Attempts(HashMap<Host, u64>);

impl Attempts {
    /// How long this host has to wait before it is listened to; `None`: not at all.
    pub(super) fn barred(&self, host: Host, now_ms: u64) -> Option<Duration> {
        let owed_ms = self.0.get(&host).map_or(0, |paid_ms| paid_ms.saturating_sub(now_ms));
        let over_ms = owed_ms.saturating_sub(u64::from(WRONG_TOKENS - 1) * EACH_MS);
        (over_ms > 0).then(|| Duration::from_millis(over_ms))
    }

    /// It has shown a wrong one. How long it is to take until it is told so.
    pub(super) fn failed(&mut self, host: Host, now_ms: u64) -> Duration {
        if self.0.len() >= WRONG_TOKEN_HOSTS && !self.0.contains_key(&host) {
            self.0.retain(|_, paid_ms| *paid_ms > now_ms);
            let first = self.0.iter().min_by_key(|(_, paid_ms)| **paid_ms).map(|(host, _)| *host);
            if let Some(first) = first.filter(|_| self.0.len() >= WRONG_TOKEN_HOSTS) {
                self.0.remove(&first);
            }
        }
        let paid_ms = self.0.entry(host).or_default();
        let owed_ms = paid_ms.saturating_sub(now_ms);
        *paid_ms = now_ms + owed_ms + EACH_MS;
        let before = u32::try_from(owed_ms.div_ceil(EACH_MS)).unwrap_or(u32::MAX);
        let times = 1u32.checked_shl(before).unwrap_or(u32::MAX);
        WRONG_TOKEN_DELAY.saturating_mul(times).min(WRONG_TOKEN_DELAY_MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::tests::at;

    #[test]
    fn guesses_take_longer_and_then_are_not_listened_to() {
        let (mut attempts, host) = (Attempts::default(), Host::of(at("192.0.2.1")));
        assert_eq!(attempts.barred(host, 1000), None);
        let delays: Vec<u128> = (0..WRONG_TOKENS).map(|_| attempts.failed(host, 1000).as_millis()).collect();
        assert_eq!(delays[..6], [250, 500, 1000, 2000, 4000, 4000]);
        assert_eq!(attempts.barred(host, 1000), Some(WRONG_TOKEN_EACH));
        assert_eq!(attempts.barred(Host::of(at("192.0.2.2")), 1000), None, "others are none of it");
        assert_eq!(attempts.barred(host, 1000 + EACH_MS), None, "one more");
        attempts.failed(host, 1000 + EACH_MS);
        assert!(attempts.barred(host, 1000 + EACH_MS).is_some());
        let later = 1000 + EACH_MS * u64::from(WRONG_TOKENS + 1);
        assert_eq!(attempts.failed(host, later), WRONG_TOKEN_DELAY, "it is forgotten");
    }

    #[test]
    fn many_hosts_take_no_room() {
        let mut attempts = Attempts::default();
        let bad = Host::of(at("192.0.2.1"));
        for _ in 0..WRONG_TOKENS {
            attempts.failed(bad, 0);
        }
        for number in 0..3 * WRONG_TOKEN_HOSTS {
            attempts.failed(Host::of(at(&format!("10.0.{}.{}", number / 256, number % 256))), 0);
        }
        assert_eq!(attempts.0.len(), WRONG_TOKEN_HOSTS);
        assert!(attempts.barred(bad, 0).is_some(), "the one that has failed most often is remembered");
    }
}
