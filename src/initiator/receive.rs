//! The way in: bytes of a connection to PDUs.

use super::answers::Place;
use super::event::{Fault, Host};
use super::outbox::Digests;
use super::session::Session;
use crate::limits;
use crate::wire::{BHS_LEN, Bhs, Cid, Frame, FrameError, Framer};

/// A PDU that has come, with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// Basic Header Segment.
    pub bhs: Bhs,
    /// Additional Header Segments.
    pub ahs: Vec<u8>,
    /// The data segment, without padding.
    pub data: Vec<u8>,
    /// The data digest matches, or there is none.
    pub data_digest_ok: bool,
}

/// Why a stream of bytes cannot be gone on with: the connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The boundaries of PDUs are lost.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The target did something wrong.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Takes the bytes of one connection, in whatever pieces they come. Read data of a session's commands is handed on piece by
/// piece, and everything else is gathered; a PDU of a login, or for a test, is taken whole.
#[derive(Debug)]
pub struct Receiver {
    framer: Framer,
    /// The PDU that is coming in, and what is gathered of it.
    bhs: Bhs,
    ahs: Vec<u8>,
    gathered: Vec<u8>,
    /// Where its data goes, and how much has gone there.
    place: Place,
}

impl Receiver {
    /// For a connection that begins. `max_recv_bytes`: what this side declares as MaxRecvDataSegmentLength, or takes.
    pub const fn new(max_recv_bytes: u32) -> Receiver {
        let framer = Framer::new(max_recv_bytes as usize);
        Receiver { framer, bhs: [0; BHS_LEN], ahs: Vec::new(), gathered: Vec::new(), place: Place::Nowhere }
    }

    /// The login is over: digests are in force from the next PDU on.
    pub const fn set_digests(&mut self, digests: Digests) {
        self.framer.set_digests(digests.header, digests.data);
    }

    /// Whether nothing of a PDU has come that is not complete.
    pub const fn is_between_pdus(&self) -> bool {
        self.framer.is_between_pdus()
    }

    /// How many bytes are sure to belong to the PDU that is due or under way, at least one: who receives no more than that
    /// each time takes nothing of what follows.
    pub fn wanted(&self) -> usize {
        const ANY: &[u8] = &[0; 64 << 10];
        self.framer.rest_of_pdu(ANY)
    }

    /// Takes the next PDU from the front of `chunk`; `None`: more bytes are needed, and these are taken.
    ///
    /// # Errors
    /// A [`FrameError`], from then on always.
    pub fn whole(&mut self, chunk: &mut &[u8]) -> Result<Option<Arrived>, FrameError> {
        loop {
            match self.framer.next(chunk)? {
                Frame::NeedMore => return Ok(None),
                Frame::Whole { bhs, ahs, data, data_digest_ok } => {
                    let (ahs, data) = (ahs.to_vec(), data.to_vec());
                    return Ok(Some(Arrived { bhs: *bhs, ahs, data, data_digest_ok }));
                }
                Frame::Begin { bhs, ahs, .. } => {
                    self.bhs = *bhs;
                    self.ahs.extend_from_slice(ahs);
                }
                Frame::Data(bytes) => self.gathered.extend_from_slice(bytes),
                Frame::End { data_digest_ok } => {
                    let (ahs, data) = (std::mem::take(&mut self.ahs), std::mem::take(&mut self.gathered));
                    return Ok(Some(Arrived { bhs: self.bhs, ahs, data, data_digest_ok }));
                }
            }
        }
    }

    /// Takes bytes for a session in full feature phase.
    ///
    /// # Errors
    /// [`Broken`]: the connection is to be closed.
    #[inline]
    pub fn receive(
        &mut self,
        mut chunk: &[u8],
        cid: Cid,
        session: &mut Session,
        host: &mut impl Host,
    ) -> Result<(), Broken> {
        loop {
            match self.framer.next(&mut chunk)? {
                Frame::NeedMore => return Ok(()),
                Frame::Whole { bhs, data, data_digest_ok, .. } => {
                    session.pdu(cid, bhs, data, data_digest_ok, host)?;
                }
                Frame::Begin { bhs, data_len, .. } => {
                    self.bhs = *bhs;
                    self.gathered.clear();
                    self.place = session.place(cid, bhs)?;
                    if self.place == Place::Gather && data_len > limits::INITIATOR_ANSWER_BYTES {
                        return Err(Fault::TooLong(limits::INITIATOR_ANSWER_BYTES).into());
                    }
                }
                Frame::Data(bytes) => match &mut self.place {
                    Place::Task(ix, offset) => {
                        host.data_in(*ix, *offset, bytes);
                        *offset = offset.wrapping_add(bytes.len() as u32);
                    }
                    Place::Gather => self.gathered.extend_from_slice(bytes),
                    Place::Nowhere => {}
                },
                Frame::End { data_digest_ok } => {
                    session.finish(cid, &self.bhs, &self.gathered, data_digest_ok, host)?;
                }
            }
        }
    }
}
