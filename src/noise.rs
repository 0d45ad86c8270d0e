//! A bound on log lines that peers cause, each thread for itself: the cores, and the one that stores what hosts have saved.

use crate::limits::PEER_LINES_PER_SECOND;

/// Warnings, what happens every day, media, and commands that are slow.
const SHARES: usize = 4;

/// Keeps a thread from writing too many lines because of what peers do: each line that a peer can cause asks here first. What
/// is worth a warning has a share of its own, so that nobody hides it behind logins and logouts. And so has what media do:
/// that writes may be lost is not hidden by who is refused at the door.
#[derive(Debug, Default)]
pub struct Noise {
    second: u64,
    lines: [u32; SHARES],
    /// Left out and not told yet.
    owed: [u32; SHARES],
}

impl Noise {
    /// Whether there may be another warning now; `None`: no. After a silence: how many were left out.
    pub fn line(&mut self, now_ms: u64) -> Option<u32> {
        self.share(0, now_ms)
    }

    /// As [`Noise::line`], for what happens every day.
    pub fn notice(&mut self, now_ms: u64) -> Option<u32> {
        self.share(1, now_ms)
    }

    /// As [`Noise::line`], for what a medium has done or failed to do.
    pub fn medium(&mut self, now_ms: u64) -> Option<u32> {
        self.share(2, now_ms)
    }

    /// As [`Noise::line`], for commands that were slow: where one is, many are.
    pub fn slow(&mut self, now_ms: u64) -> Option<u32> {
        self.share(3, now_ms)
    }

    /// A flood is over: how many lines were left out of it that no line since has told of; 0: there is nothing to be told.
    pub fn left_out(&mut self, now_ms: u64) -> u32 {
        let is_over = now_ms / 1000 > self.second + 1;
        if is_over { std::mem::take(&mut self.owed).iter().fold(0, |sum, owed| sum.saturating_add(*owed)) } else { 0 }
    }

    fn share(&mut self, which: usize, now_ms: u64) -> Option<u32> {
        let second = now_ms / 1000;
        if second != self.second {
            (self.second, self.lines) = (second, [0; SHARES]);
        }
        let (lines, owed) = (&mut self.lines[which], &mut self.owed[which]);
        if *lines >= PEER_LINES_PER_SECOND {
            *owed = owed.saturating_add(1);
            return None;
        }
        *lines += 1;
        Some(std::mem::take(owed))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    /// What was said while `act` ran, line by line.
    pub(crate) fn said(act: impl FnOnce()) -> Vec<String> {
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let to = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || to.clone()).finish();
        tracing::subscriber::with_default(subscriber, act);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_flood_is_a_few_lines() {
        let mut noise = Noise::default();
        let lines = (0..1000).filter(|_| noise.line(5_500).is_some()).count();
        assert_eq!(lines, PEER_LINES_PER_SECOND as usize);
        assert_eq!(noise.notice(5_999), Some(0), "what happens every day has its own share");
        assert_eq!(noise.medium(5_999), Some(0), "nobody hides what a medium has lost");
        assert_eq!(noise.line(6_000), Some(1000 - PEER_LINES_PER_SECOND));
        assert_eq!(noise.line(6_001), Some(0));
        assert_eq!(noise.left_out(60_000), 0, "all of them were told");
        assert_eq!((0..PEER_LINES_PER_SECOND + 7).filter_map(|_| noise.notice(70_000)).sum::<u32>(), 0);
        assert_eq!((0..PEER_LINES_PER_SECOND + 2).filter_map(|_| noise.medium(70_999)).sum::<u32>(), 0);
        assert_eq!([70_999, 71_999].map(|now_ms| noise.left_out(now_ms)), [0, 0], "another line may tell of them");
        assert_eq!([72_000, 72_001].map(|now_ms| noise.left_out(now_ms)), [9, 0], "what was left out is told");
    }
}
