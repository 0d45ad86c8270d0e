//! Bytes to PDUs and back (RFC 7143 chapter 11, with the additions of RFC 7144).
//!
//! What is here: [`bhs`] (the fields that every PDU shares), [`pdu`] (one plain `Copy` struct per PDU type, and the
//! enum [`Pdu`] over all of them), [`ahs`] (additional header segments), [`serial`] (RFC 1982 arithmetic as a type),
//! [`ids`] (tags, handles and LUN addresses), [`text`] (key=value pairs), [`digest`] (CRC32C), [`framer`] (PDU
//! boundaries in a byte stream) and [`pretty`] (one line per PDU).
//!
//! The types serve both sides of the wire: a target parses requests and emits responses, a test initiator or a load
//! generator does the opposite with the same structs.
//!
//! Invariants: no input can panic this layer (`unwrap_used` and `indexing_slicing` are denied below), nothing is
//! allocated on receipt, and what `parse` accepts `emit` writes back, except for the bits that the RFC reserves: those
//! are ignored on receipt and sent as zero.
//!
//! What is not here: any judgement about the protocol. `parse` refuses only what it cannot represent (another
//! opcode); whether a flag, a length or a tag is permitted at this moment is for the session layer.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

pub mod ahs;
pub mod bhs;
pub mod crc;
pub mod digest;
pub mod framer;
pub mod ids;
pub mod pdu;
pub mod pretty;
pub mod serial;
pub mod text;

pub use bhs::{BHS_LEN, Bhs, Opcode};
pub use framer::{Frame, FrameError, Framer};
pub use ids::{Cid, Isid, Itt, Lun, Tsih, Ttt};
pub use pdu::*;
pub use serial::{CmdSn, DataSn, R2tSn, StatSn};

/// Why 48 bytes are not the PDU that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The header carries another opcode than the type that was asked to parse it.
    #[error("expected opcode {expected}, found {found}")]
    WrongOpcode {
        /// The opcode of the type that was asked.
        expected: Opcode,
        /// The opcode in the header.
        found: Opcode,
    },
    /// No PDU of RFC 7143 section 11.2.1.2 has this opcode.
    #[error("unknown opcode {0}")]
    UnknownOpcode(Opcode),
}

/// Declares an open newtype over a code of the standard: it can hold any value, has a constant per assigned one, and
/// prints the standard's name for it.
macro_rules! open_enum {
    ($(#[$meta:meta])* pub struct $name:ident($raw:ty) { $($(#[$vmeta:meta])* $value:ident = $code:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub $raw);

        impl $name {
            $($(#[$vmeta])* pub const $value: Self = Self($code);)*

            /// The standard's name, or `None` for a code that it does not assign.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($text),)*
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{:#04x}", self.0),
                }
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({:#04x} {})"), self.0, self)
            }
        }
    };
}
pub(crate) use open_enum;
