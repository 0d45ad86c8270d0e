//! Opens a session, blocking: login without authentication, and then TEST UNIT READY and READ CAPACITY.

use super::scsi::{self, Sense, status};
use super::{Counters, Params};
use crate::protocol::Failure;
use ringsan::wire::bhs::{self, BHS_LEN, Bhs, Opcode};
use ringsan::wire::{
    Cid, CmdSn, DataIn, Isid, Itt, LoginRequest, LoginResponse, Lun, NopIn, ScsiCommand, ScsiResponse, StatSn,
    TaskAttr, Tsih, stage,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// MaxRecvDataSegmentLength of this initiator, in bytes, as Linux declares it.
pub const MAX_RECV_LEN: u32 = 262_144;
const FIRST_BURST_LEN: u32 = 262_144;
const MAX_BURST_LEN: u32 = 16_776_192;
/// No answer for so long is an error.
const TIMEOUT: Duration = Duration::from_secs(30);
/// More rounds than any target needs.
const MAX_ROUNDS: usize = 16;
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
pub struct Opened {
    /// Its connection, still blocking.
    pub socket: TcpStream,
    /// What was negotiated.
    pub params: Params,
    /// Its counters.
    pub counters: Counters,
}

/// Connects and logs in.
///
/// # Errors
/// The socket's, a refusal, or a target that does not grant the digests that were asked for.
pub fn login(wanted: &Wanted<'_>) -> Result<Opened, Failure> {
    let socket = crate::sys::connect(wanted.portal, wanted.congestion)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    if let Some(bytes) = wanted.socket_buffers {
        crate::sys::set_socket_buffers(&socket, bytes)?;
    }
    let counters = Counters { cmd_sn: CmdSn(1), exp_stat_sn: StatSn(0), max_cmd_sn: CmdSn(1) };
    let mut opened = Opened { socket, params: Params::default(), counters };
    let mut settled = Params::default();
    let name = format!(
        "InitiatorName={}\0TargetName={}\0SessionType=Normal\0AuthMethod=None\0",
        wanted.initiator, wanted.target
    );
    let digest = |on| if on { "CRC32C" } else { "None" };
    let operational = format!(
        "HeaderDigest={}\0DataDigest={}\0MaxConnections=1\0InitialR2T=No\0ImmediateData=Yes\0\
         MaxRecvDataSegmentLength={MAX_RECV_LEN}\0MaxBurstLength={MAX_BURST_LEN}\0\
         FirstBurstLength={FIRST_BURST_LEN}\0DefaultTime2Wait=2\0DefaultTime2Retain=0\0MaxOutstandingR2T=1\0\
         DataPDUInOrder=Yes\0DataSequenceInOrder=Yes\0ErrorRecoveryLevel=0\0",
        digest(wanted.header_digest),
        digest(wanted.data_digest),
    );
    let mut csg = stage::SECURITY_NEGOTIATION;
    let mut text = name;
    let mut offered = false;
    for _ in 0..MAX_ROUNDS {
        let nsg = if csg == stage::SECURITY_NEGOTIATION {
            stage::LOGIN_OPERATIONAL_NEGOTIATION
        } else {
            stage::FULL_FEATURE_PHASE
        };
        let (response, answer) = round(&mut opened, wanted.isid, csg, nsg, text.as_bytes())?;
        text = take_keys(&answer, &mut settled)?;
        if response.transit && response.nsg == stage::FULL_FEATURE_PHASE {
            if (settled.header_digest, settled.data_digest) != (wanted.header_digest, wanted.data_digest) {
                return Err(Failure("the target does not grant the digests that were asked for".into()));
            }
            opened.params = settled;
            opened.counters.max_cmd_sn = response.max_cmd_sn;
            return Ok(opened);
        }
        if response.transit {
            csg = response.nsg;
        }
        if csg == stage::LOGIN_OPERATIONAL_NEGOTIATION && !offered {
            offered = true;
            text.push_str(&operational);
        }
    }
    Err(Failure("the login comes to no end".into()))
}

fn round(opened: &mut Opened, isid: Isid, csg: u8, nsg: u8, text: &[u8]) -> Result<(LoginResponse, Vec<u8>), Failure> {
    let request = LoginRequest {
        transit: true,
        cont: false,
        csg,
        nsg,
        version_max: 0,
        version_min: 0,
        data_segment_len: text.len() as u32,
        isid,
        tsih: Tsih(0),
        itt: Itt(1),
        cid: Cid(0),
        cmd_sn: opened.counters.cmd_sn,
        exp_stat_sn: opened.counters.exp_stat_sn,
    };
    let mut header = [0; BHS_LEN];
    request.emit(&mut header);
    opened.send(&header, text)?;
    let mut answer = Vec::new();
    loop {
        let (header, data) = opened.receive()?;
        let response = LoginResponse::parse(&header).map_err(|error| Failure(format!("during login: {error}")))?;
        if !response.status.is_success() {
            return Err(Failure(format!("login refused: {:?}", response.status)));
        }
        opened.counters.exp_stat_sn = response.stat_sn.next();
        answer.extend(data);
        if !response.cont {
            return Ok((response, answer));
        }
        // The target has more to say: an empty request lets it.
        let request = LoginRequest { transit: false, data_segment_len: 0, ..request };
        let mut header = [0; BHS_LEN];
        request.emit(&mut header);
        opened.send(&header, &[])?;
    }
}

/// Reads the target's keys; returns what must be answered (keys that this initiator does not know).
fn take_keys(text: &[u8], params: &mut Params) -> Result<String, Failure> {
    let mut reply = String::new();
    for pair in text.split(|&byte| byte == 0).filter(|pair| !pair.is_empty()) {
        let pair = String::from_utf8_lossy(pair);
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Failure(format!("'{pair}' is no key=value pair")));
        };
        let number = || {
            let hex = value.strip_prefix("0x").or_else(|| value.strip_prefix("0X"));
            let parsed = hex.map_or_else(|| value.parse(), |digits| u32::from_str_radix(digits, 16));
            parsed.map_err(|_| Failure(format!("'{pair}' is no number")))
        };
        match key {
            "HeaderDigest" => params.header_digest = value == "CRC32C",
            "DataDigest" => params.data_digest = value == "CRC32C",
            "MaxRecvDataSegmentLength" => params.target_max_recv_len = number()?.max(512),
            "FirstBurstLength" => params.first_burst_len = number()?,
            "MaxBurstLength" => params.max_burst_len = number()?,
            "ImmediateData" => params.immediate_data = value == "Yes",
            "InitialR2T" => params.initial_r2t = value != "No",
            "TargetPortalGroupTag"
            | "TargetAlias"
            | "TargetAddress"
            | "AuthMethod"
            | "MaxConnections"
            | "DefaultTime2Wait"
            | "DefaultTime2Retain"
            | "MaxOutstandingR2T"
            | "DataPDUInOrder"
            | "DataSequenceInOrder"
            | "ErrorRecoveryLevel" => {}
            _ if matches!(value, "NotUnderstood" | "Irrelevant" | "Reject") => {}
            _ => reply.push_str(&format!("{key}=NotUnderstood\0")),
        }
    }
    Ok(reply)
}

impl Opened {
    fn send(&mut self, header: &Bhs, data: &[u8]) -> Result<(), Failure> {
        let mut out = header.to_vec();
        if self.params.header_digest {
            out.extend(crc32c::crc32c(header).to_le_bytes());
        }
        if !data.is_empty() {
            let start = out.len();
            out.extend(data);
            out.resize(out.len() + bhs::padding(data.len()), 0);
            if self.params.data_digest {
                out.extend(crc32c::crc32c(&out[start..]).to_le_bytes());
            }
        }
        Ok(self.socket.write_all(&out)?)
    }

    fn receive(&mut self) -> Result<(Bhs, Vec<u8>), Failure> {
        let mut header = [0; BHS_LEN];
        self.socket.read_exact(&mut header)?;
        let len = bhs::data_segment_len(&header);
        let padded = len + bhs::padding(len);
        let digest = |on, len: usize| if on && len > 0 { 4 } else { 0 };
        let mut rest = vec![0; bhs::total_ahs_len_bytes(&header) + digest(self.params.header_digest, BHS_LEN)];
        self.socket.read_exact(&mut rest)?;
        let mut data = vec![0; padded + digest(self.params.data_digest, padded)];
        self.socket.read_exact(&mut data)?;
        data.truncate(len);
        Ok((header, data))
    }

    /// Runs one command that returns at most `len` bytes, again after each unit attention.
    fn command(&mut self, lun: Lun, cdb: [u8; 16], len: u32) -> Result<Vec<u8>, Failure> {
        for _ in 0..MAX_ATTENTIONS {
            let command = ScsiCommand {
                immediate_delivery: false,
                is_final: true,
                read: len > 0,
                write: false,
                attr: TaskAttr::SIMPLE,
                priority: 0,
                total_ahs_words: 0,
                data_segment_len: 0,
                lun,
                itt: Itt(2),
                edtl_bytes: len,
                cmd_sn: self.counters.cmd_sn,
                exp_stat_sn: self.counters.exp_stat_sn,
                cdb,
            };
            let mut header = [0; BHS_LEN];
            command.emit(&mut header);
            self.counters.cmd_sn = self.counters.cmd_sn.next();
            self.send(&header, &[])?;
            if let Some(data) = self.outcome(cdb[0])? {
                return Ok(data);
            }
        }
        Err(Failure(format!("command {:#04x}: unit attentions without end", cdb[0])))
    }

    /// The data of a command; `None` after a unit attention.
    fn outcome(&mut self, opcode: u8) -> Result<Option<Vec<u8>>, Failure> {
        let mut data = Vec::new();
        loop {
            let (header, segment) = self.receive()?;
            let broken = |error| Failure(format!("command {opcode:#04x}: {error}"));
            match bhs::opcode(&header) {
                Opcode::SCSI_DATA_IN => {
                    let pdu = DataIn::parse(&header).map_err(broken)?;
                    self.counters.take_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
                    data.extend(segment);
                    if pdu.has_status {
                        self.counters.take_status(pdu.stat_sn);
                        return Ok(Some(data));
                    }
                }
                Opcode::SCSI_RESPONSE => {
                    let pdu = ScsiResponse::parse(&header).map_err(broken)?;
                    self.counters.take_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
                    self.counters.take_status(pdu.stat_sn);
                    let sense = Sense::parse(&segment);
                    return match (pdu.response, pdu.status, sense) {
                        (ScsiResponse::COMMAND_COMPLETED, status::GOOD, _) => Ok(Some(data)),
                        (_, _, Some(sense)) if sense.is_unit_attention() => Ok(None),
                        (response, status, Some(sense)) => Err(Failure(format!(
                            "command {opcode:#04x}: response {response}, status {status:#04x}, {sense}"
                        ))),
                        (response, status, None) => {
                            Err(Failure(format!("command {opcode:#04x}: response {response}, status {status:#04x}")))
                        }
                    };
                }
                Opcode::NOP_IN => {
                    let pdu = NopIn::parse(&header).map_err(broken)?;
                    self.counters.take_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
                }
                other => return Err(Failure(format!("command {opcode:#04x}: answered by {other}"))),
            }
        }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_target() {
        let mut params = Params::default();
        let text = b"HeaderDigest=CRC32C\0DataDigest=None\0MaxRecvDataSegmentLength=0x10000\0InitialR2T=No\0\
                     FirstBurstLength=4096\0ImmediateData=No\0X-com.example=1\0IFMarker=Reject\0";
        let reply = take_keys(text, &mut params).unwrap();
        assert_eq!(reply, "X-com.example=NotUnderstood\0");
        assert!(params.header_digest && !params.data_digest && !params.initial_r2t && !params.immediate_data);
        assert_eq!((params.target_max_recv_len, params.first_burst_len), (65_536, 4096));
        assert!(take_keys(b"FirstBurstLength=x\0", &mut params).is_err());
        assert!(take_keys(b"nonsense\0", &mut params).is_err());
    }
}
