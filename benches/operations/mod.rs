//! The operations that are measured, by name: once for times, once for instructions.

pub mod scsi;
pub mod session;
pub mod wire;

use std::fmt;

/// Something to be done again and again.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    pub name: &'static str,
    /// PDUs or commands in one call.
    pub items: u64,
    /// Bytes that one call goes through, where that is what counts; else 0.
    pub bytes: u64,
    /// Prepares; what it returns is the call to be measured.
    pub make: fn() -> Box<dyn FnMut()>,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Operation> {
    [wire::FRAMING, wire::PARSING, wire::EMITTING, wire::DIGEST, session::TURNS, scsi::PLANNING].into_iter().flatten()
}
