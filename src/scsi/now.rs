//! The time, as the device server is told it: it asks no clock.

/// When a command is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds of a clock that all cores share and that nobody sets: what durations are measured with.
    pub ms: u64,
    /// Milliseconds since 1970-01-01 00:00 UTC, as this machine has it: what a timestamp says (SPC-4 clause 5.2).
    pub since_1970_ms: u64,
}
