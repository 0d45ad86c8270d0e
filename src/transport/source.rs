//! What a completion of the ring belongs to, as its user data says: a kind, and a number of that kind.

/// What a completion belongs to: the top byte of `user_data`. The rest is a number of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// A listener (its index).
    Accept = 1,
    /// A connection's receive.
    Receive,
    /// A connection's send.
    Send,
    /// A cancellation; nothing to do.
    Cancel,
    /// An operation on a medium (its token).
    Medium,
    /// The mailbox's bell.
    Bell,
}

impl Source {
    /// The bits of `user_data` that are the number.
    pub const NUMBER: u64 = (1 << 56) - 1;

    /// What kind of operation a completion belongs to, in words that its number follows.
    pub fn name_of(user_data: u64) -> &'static str {
        const NAMES: [&str; 7] = [
            "operation",
            "accept at portal",
            "receive on connection",
            "send on connection",
            "cancellation",
            "operation on a medium",
            "bell",
        ];
        NAMES.get((user_data >> 56) as usize).unwrap_or(&NAMES[0])
    }

    /// `user_data` for number `n` of this kind.
    #[inline]
    pub const fn tag(self, n: u64) -> u64 {
        ((self as u64) << 56) | n
    }
}
