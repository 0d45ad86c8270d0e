//! Bytes to PDUs and back (RFC 7143 chapter 11, with the additions of RFC 7144).
//!
//! What is here: [`bhs`] (the fields that every PDU shares), [`pdu`] (one plain `Copy` struct per PDU type, and the
//! enum [`Pdu`] over all of them), [`ahs`] (additional header segments), [`serial`] (RFC 1982 arithmetic as a type),
//! [`ids`] (tags, handles and LUN addresses), [`text`] (key=value pairs), [`digest`] (CRC32C), [`framer`] (PDU
//! boundaries in a byte stream), [`payload`] (the data of a PDU that is sent) and [`pretty`] (one line per PDU).
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
mod open_enum;
pub mod payload;
pub mod pdu;
pub mod pretty;
pub mod serial;
pub mod text;

pub use bhs::{BHS_LEN, Bhs, Opcode, WireError};
pub use framer::{Frame, FrameError, Framer};
pub use ids::{Cid, Isid, Itt, Lun, Tsih, Ttt};
pub(crate) use open_enum::open_enum;
pub use payload::{DataRef, Payload};
pub use pdu::*;
pub use serial::{CmdSn, DataSn, R2tSn, StatSn};
