//! The seam between full feature phase and text negotiation: what a Text Request does is decided by whoever implements
//! [`TextHandler`] (SendTargets in discovery, operational keys); what it costs in sequence numbers, and which answer
//! goes to the wire how, is decided by [`Session`](super::Session).

use super::params::{Params, SessionInit};
use super::seam::ConnIx;
use crate::wire::{RejectReason, TextRequest, Ttt};

/// Answers the Text Requests of full feature phase (RFC 7143 sections 6.4, 11.10, 11.11 and appendix C).
pub trait TextHandler {
    /// Called once for each Text Request, in CmdSN order (or at once, if it is immediate).
    ///
    /// `params` are those of the session with the digests and segment lengths of `conn`; what is changed in them is in
    /// force for that connection after the answer is queued. `answer` comes empty and takes the data segment of the Text
    /// Response, at most `params.own.initiator_max_recv_bytes` long. The handler keeps what it must remember between the
    /// requests of one negotiation, by `conn`.
    fn text(
        &mut self,
        session: &SessionInit,
        params: &mut Params,
        conn: ConnIx,
        request: &TextRequest,
        data: &[u8],
        answer: &mut Vec<u8>,
    ) -> TextStep;
}

/// What became of a Text Request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextStep {
    /// A Text Response with the bytes in `answer`.
    Answer {
        /// The F bit: nothing more to be said.
        is_final: bool,
        /// The C bit: the text goes on in the next response.
        cont: bool,
        /// The tag that the next request of this negotiation is to carry; reserved when `is_final`.
        ttt: Ttt,
    },
    /// A Reject, and the negotiation is over.
    Reject(RejectReason),
}
