//! The connections of a core: what its kernel is asked for them, what has come in and is not acted on yet, and what is to be
//! sent.
//!
//! | what | where |
//! |---|---|
//! | what a core asks of the world around it, and its clock within a turn | `io/` |
//! | what a completion belongs to | `source.rs` |
//! | a connection, and all of a core by number | `link.rs`, `links.rs`, `half_open.rs` |
//! | what comes in | `receiving.rs`, `partial.rs`, `lent.rs`, `parked.rs`, `arming.rs` |
//! | how much of that is acted on in a turn, and whose turn it is | `acting.rs` |
//! | what goes out | `tx.rs`, `outlet.rs` |
//! | who looks on at PDUs, and what is noted for them | `tap.rs`, `note.rs`, `masked.rs` |
//! | what is counted of PDUs besides commands, and of how logins and connections end | `protocol.rs` |
//! | what came last, for who looks for the cause of a panic | `record.rs` |
//!
//! Invariants: what the kernel has a pointer to stays where it is until the completion was taken, and has one owner here
//! meanwhile. What waits for a connection, in or out, is bounded for it and for its core. Nothing here acts on a PDU: it knows
//! neither a core nor what a session does, only what a login or a session is called that a connection belongs to.

pub(crate) mod acting;
pub(crate) mod arming;
pub(crate) mod half_open;
pub(crate) mod io;
pub(crate) mod lent;
pub(crate) mod link;
pub(crate) mod links;
pub(crate) mod masked;
pub(crate) mod note;
pub(crate) mod outlet;
pub(crate) mod parked;
pub(crate) mod partial;
pub(crate) mod protocol;
pub(crate) mod receiving;
pub(crate) mod record;
pub(crate) mod source;
pub(crate) mod tap;
pub(crate) mod tx;
