//! What a connection is to send.

/// What a send is to move: memory that stays where it is until the send has completed.
#[derive(Debug, Clone, Copy)]
pub enum Outgoing {
    /// One piece.
    One(libc::iovec),
    /// Several, in order.
    Many(*const libc::msghdr),
}
