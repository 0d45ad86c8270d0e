//! What passes between initiators and the server, live: the cores note PDUs (`transport/tap.rs`), and who asks for a trace gets
//! them as a capture ([`pcapng`]) or as lines ([`lines`]).
//!
//! Invariants: no core waits for a trace, and no trace for who reads it: what finds no room, on a core or on the way to the
//! reader, is counted, and said. A trace ends when its reader goes, and when nobody has read for [`TRACE_UNREAD`]; a core
//! that is not asked any more forgets it.
//!
//! [`TRACE_UNREAD`]: crate::limits::TRACE_UNREAD

mod follow;
mod lines;
mod pcapng;
mod places;
mod tasks;
mod written;

pub(super) use follow::{Asked, follow};
pub(super) use places::Stay;
pub use places::Traces;
pub(super) use written::Form;
