//! One plain `Copy` struct per PDU type, and [`Pdu`] over all of them.
//!
//! Each file is headed by the RFC's figure. `parse` reads a header into typed fields and refuses only another opcode;
//! `emit` writes all 48 bytes. Reserved bits are ignored by the one and zeroed by the other, as are fields that the
//! RFC fixes (the F bit where it is always 1, the Initiator Task Tag where it is always 0xffffffff).
//!
//! The structs hold what stands in the header alone: AHS and data segment travel beside them as slices. A length that
//! the RFC fixes at 0 for a PDU type has no field here; the session layer reads it from the header where it cares
//! ([`bhs::data_segment_len`]).

mod async_message;
mod data_in;
mod data_out;
mod login_request;
mod login_response;
mod logout_request;
mod logout_response;
mod nop_in;
mod nop_out;
mod r2t;
mod reject;
mod scsi_command;
mod scsi_response;
mod snack_request;
mod task_management_request;
mod task_management_response;
mod text_request;
mod text_response;

pub use async_message::{AsyncEvent, AsyncMessage};
pub use data_in::DataIn;
pub use data_out::DataOut;
pub use login_request::{LoginRequest, stage};
pub use login_response::{LoginResponse, LoginStatus};
pub use logout_request::{LogoutReason, LogoutRequest};
pub use logout_response::{LogoutResponse, LogoutResult};
pub use nop_in::NopIn;
pub use nop_out::NopOut;
pub use r2t::R2t;
pub use reject::{Reject, RejectReason};
pub use scsi_command::{ScsiCommand, TaskAttr};
pub use scsi_response::ScsiResponse;
pub use snack_request::{SnackRequest, SnackType};
pub use task_management_request::{TaskManagementRequest, TmFunction};
pub use task_management_response::{TaskManagementResponse, TmResponse};
pub use text_request::TextRequest;
pub use text_response::TextResponse;

use super::WireError;
use super::bhs::{self, Bhs, Opcode};

macro_rules! pdus {
    ($($(#[$meta:meta])* $name:ident = $opcode:ident;)*) => {
        /// Any PDU: for the pretty printer, tests and scripted peers. The hot path matches on the opcode and parses the
        /// one struct that it needs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Pdu {
            $($(#[$meta])* $name($name),)*
        }

        impl Pdu {
            /// Parses the header by its opcode.
            ///
            /// # Errors
            /// [`WireError::UnknownOpcode`] if no PDU of RFC 7143 has it.
            pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
                //= RFC 7143 section 11
                //# Any compliant receiver MUST ignore any bit not defined and all reserved
                //# fields unless specified otherwise.
                match bhs::opcode(bhs) {
                    $(Opcode::$opcode => $name::parse(bhs).map(Self::$name),)*
                    unknown => Err(WireError::UnknownOpcode(unknown)),
                }
            }

            /// Writes all 48 bytes of the header.
            pub fn emit(&self, bhs: &mut Bhs) {
                match self {
                    $(Self::$name(pdu) => pdu.emit(bhs),)*
                }
            }

            /// The opcode of this PDU.
            pub const fn opcode(&self) -> Opcode {
                match self {
                    $(Self::$name(_) => Opcode::$opcode,)*
                }
            }
        }

        $(impl From<$name> for Pdu {
            fn from(pdu: $name) -> Self {
                Self::$name(pdu)
            }
        })*
    };
}

pdus! {
    /// NOP-Out.
    NopOut = NOP_OUT;
    /// SCSI Command.
    ScsiCommand = SCSI_COMMAND;
    /// Task Management Function Request.
    TaskManagementRequest = TASK_MANAGEMENT_REQUEST;
    /// Login Request.
    LoginRequest = LOGIN_REQUEST;
    /// Text Request.
    TextRequest = TEXT_REQUEST;
    /// SCSI Data-Out.
    DataOut = SCSI_DATA_OUT;
    /// Logout Request.
    LogoutRequest = LOGOUT_REQUEST;
    /// SNACK Request.
    SnackRequest = SNACK_REQUEST;
    /// NOP-In.
    NopIn = NOP_IN;
    /// SCSI Response.
    ScsiResponse = SCSI_RESPONSE;
    /// Task Management Function Response.
    TaskManagementResponse = TASK_MANAGEMENT_RESPONSE;
    /// Login Response.
    LoginResponse = LOGIN_RESPONSE;
    /// Text Response.
    TextResponse = TEXT_RESPONSE;
    /// SCSI Data-In.
    DataIn = SCSI_DATA_IN;
    /// Logout Response.
    LogoutResponse = LOGOUT_RESPONSE;
    /// Ready To Transfer.
    R2t = R2T;
    /// Asynchronous Message.
    AsyncMessage = ASYNC_MESSAGE;
    /// Reject.
    Reject = REJECT;
}

#[cfg(test)]
mod tests;
