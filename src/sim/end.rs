//! The initiator's end of a connection: packets to bytes and back, with the digests that its login has come to.

use super::Packet;
use crate::initiator::outbox::{Digests, Outgoing, Payload, encode};
use crate::initiator::params::Params;
use crate::initiator::receive::{Arrived, Receiver};
use crate::wire::text::Pairs;
use crate::wire::{Cid, FrameError, LoginResponse, Opcode, bhs, stage};

/// More than any target sends in one PDU.
const MAX_BYTES: u32 = 1 << 24;

/// One connection's.
#[derive(Debug)]
pub struct End {
    receiver: Receiver,
    digests: Digests,
    /// What the target has answered in the login.
    text: Vec<u8>,
}

impl Default for End {
    /// Of a connection that begins.
    fn default() -> End {
        End { receiver: Receiver::new(MAX_BYTES), digests: Digests::default(), text: Vec::new() }
    }
}

impl End {
    /// Appends a packet as it is on the wire. Where no data digest is in force, nothing tells that it is not intact.
    pub fn encode(&self, packet: &Packet, out: &mut Vec<u8>) {
        let mut pdu = Outgoing::new(Cid(0), packet.bhs, &packet.ahs, Payload::Bytes(&packet.data));
        // Its lengths may be wrong by intent.
        pdu.bhs = packet.bhs;
        pdu.spoilt.data = !packet.intact;
        encode(&pdu, &packet.data, self.digests, out);
    }

    /// Takes the next packet from the front of `chunk`; `None`: more bytes are needed, and these are taken.
    ///
    /// # Errors
    /// What comes is no iSCSI.
    pub fn next(&mut self, conn: usize, chunk: &mut &[u8]) -> Result<Option<Packet>, FrameError> {
        let Some(arrived) = self.receiver.whole(chunk)? else { return Ok(None) };
        let Arrived { bhs, ahs, data, data_digest_ok: intact } = arrived;
        let packet = Packet { conn, bhs, ahs, data, intact };
        if bhs::opcode(&bhs) == Opcode::LOGIN_RESPONSE {
            self.login(&packet);
        }
        Ok(Some(packet))
    }

    /// The digests are in force behind the last response of the login.
    fn login(&mut self, packet: &Packet) {
        let Ok(response) = LoginResponse::parse(&packet.bhs) else { return };
        self.text.extend_from_slice(&packet.data);
        if response.status.class != 0 || !response.transit || response.nsg != stage::FULL_FEATURE_PHASE {
            return;
        }
        let mut params = Params::default();
        for (key, value) in Pairs::new(&self.text).filter_map(Result::ok) {
            // What else it says is looked at by whoever logs in.
            let _ = params.settle(key, value);
        }
        self.digests = params.digests;
        self.receiver.set_digests(self.digests);
    }
}
