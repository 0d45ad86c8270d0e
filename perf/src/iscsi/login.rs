//! Opens a session, blocking: login without authentication, and then TEST UNIT READY and READ CAPACITY.

use super::CID;
use super::client::IscsiClient;
use super::scsi;
use crate::protocol::Failure;
use ringsan::initiator::command::Command;
use ringsan::initiator::login::{Identity, Security};
use ringsan::initiator::outbox::Digests;
use ringsan::initiator::params::Offer;
use ringsan::initiator::tcp::{Initiator, Line, TcpError};
use ringsan::wire::{CmdSn, Isid, Lun, Tsih};
use std::net::{SocketAddr, TcpStream};

/// MaxRecvDataSegmentLength of this initiator, in bytes, as Linux declares it.
pub const MAX_RECV_LEN: u32 = 262_144;
/// A new session reports a unit attention or a few.
const MAX_ATTENTIONS: usize = 16;

/// Whom to log in to, as whom.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Where.
    pub portal: SocketAddr,
    /// InitiatorName.
    pub initiator: &'a str,
    /// TargetName.
    pub target: &'a str,
    /// Tells the sessions of one initiator apart.
    pub isid: Isid,
    /// HeaderDigest=CRC32C.
    pub header_digest: bool,
    /// DataDigest=CRC32C.
    pub data_digest: bool,
    /// SO_SNDBUF and SO_RCVBUF in bytes.
    pub socket_buffers: Option<usize>,
    /// TCP congestion control, or "system".
    pub congestion: &'a str,
}

/// A session in full feature phase.
pub struct Opened(Initiator);

impl From<TcpError> for Failure {
    fn from(error: TcpError) -> Self {
        Self(error.to_string())
    }
}

/// Connects and logs in, for a session of `depth` commands.
///
/// # Errors
/// The socket's, a refusal, or a target that does not grant the digests that were asked for.
pub fn login(wanted: &Wanted<'_>, depth: u16) -> Result<Opened, Failure> {
    let socket = crate::sys::connect(wanted.portal, wanted.congestion)?;
    if let Some(bytes) = wanted.socket_buffers {
        crate::sys::set_socket_buffers(&socket, bytes)?;
    }
    let identity = Identity {
        initiator: wanted.initiator.into(),
        target: Some(wanted.target.into()),
        isid: wanted.isid,
        tsih: Tsih(0),
        cid: CID,
        cmd_sn: CmdSn(1),
    };
    let digests = Digests { header: wanted.header_digest, data: wanted.data_digest };
    let (header_digest, data_digest) = (Some(digests.header), Some(digests.data));
    let offer = Offer { header_digest, data_digest, max_recv_bytes: Some(MAX_RECV_LEN), ..Offer::usual() };
    let initiator = Initiator::over(Line::over(socket, MAX_RECV_LEN), identity, offer, Security::None, depth)?;
    if initiator.session().params().digests != digests {
        return Err(Failure("the target does not grant the digests that were asked for".into()));
    }
    Ok(Opened(initiator))
}

impl Opened {
    /// Runs one command that returns at most `len` bytes, again after each unit attention.
    fn command(&mut self, lun: Lun, cdb: [u8; 16], len: u32) -> Result<Vec<u8>, Failure> {
        let opcode = cdb[0];
        for _ in 0..MAX_ATTENTIONS {
            let outcome = self.0.command(&Command::new(lun, &cdb).reading(len), &[]);
            let outcome = outcome.map_err(|error| Failure(format!("command {opcode:#04x}: {error}")))?;
            if outcome.is_good() {
                return Ok(outcome.data);
            }
            if !outcome.is_unit_attention() {
                let (response, status, sense) = (outcome.response, outcome.status, outcome.sense);
                let sense = sense.map(|codes| format!(", {}", scsi::Sense::from(codes))).unwrap_or_default();
                return Err(Failure(format!(
                    "command {opcode:#04x}: response {response}, status {status:#04x}{sense}"
                )));
            }
        }
        Err(Failure(format!("command {opcode:#04x}: unit attentions without end")))
    }

    /// Waits until the logical unit is ready and returns its number of blocks and their length in bytes.
    ///
    /// # Errors
    /// What the target reports.
    pub fn capacity(&mut self, lun: Lun) -> Result<(u64, u32), Failure> {
        self.command(lun, scsi::TEST_UNIT_READY, 0)?;
        let data = self.command(lun, scsi::read_capacity_16(), scsi::CAPACITY_LEN)?;
        scsi::capacity(&data).ok_or_else(|| Failure("READ CAPACITY(16) returned nonsense".into()))
    }

    /// The connection, and the session as a protocol. `constant_payload`: what is written stands still.
    pub fn into_client(
        self,
        lun: Lun,
        block_len: u32,
        depth: usize,
        constant_payload: bool,
    ) -> (TcpStream, IscsiClient) {
        let (line, session) = self.0.into_parts();
        let (socket, digests, receiver) = line.into_parts();
        (socket, IscsiClient::new(session, receiver, digests, lun, block_len, depth, constant_payload))
    }
}
