//! A small initiator: logs in, keeps a number of commands of one kind in flight until as many as asked for have ended
//! GOOD.

use ringsan::wire::{
    BHS_LEN, Bhs, Cid, CmdSn, DataOut, DataSn, Frame, Framer, Isid, Itt, LoginRequest, Lun, Opcode, Pdu, ScsiCommand,
    StatSn, TaskAttr, Tsih, bhs, digest, stage,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Bytes of one solicited Data-Out, unless the command is a large one: then one is as long as the burst.
const DATA_OUT_BYTES: u32 = 16 << 10;
const LARGE_BYTES: u32 = 128 << 10;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Read,
    /// The data comes with the command.
    WriteImmediate,
    /// All data is asked for with R2Ts.
    WriteSolicited,
}

/// Commands of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub kind: Kind,
    pub lun: u16,
    pub bytes: u32,
    /// Commands in flight.
    pub depth: u32,
    /// Bytes of the logical unit.
    pub lun_bytes: u64,
}

pub struct Initiator {
    stream: TcpStream,
    framer: Framer,
    digests: bool,
    cmd_sn: u32,
    exp_stat_sn: u32,
    itt: u32,
    random: u64,
    out: Vec<u8>,
    input: Vec<u8>,
    data: Vec<u8>,
}

impl Initiator {
    pub fn login(address: SocketAddr, target: &str, isid: u8, digests: bool) -> Initiator {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut it = Initiator {
            stream,
            framer: Framer::new(1 << 20),
            digests: false,
            cmd_sn: 1,
            exp_stat_sn: 0,
            itt: 0,
            random: 0x9e37_79b9_7f4a_7c15,
            out: Vec::new(),
            input: vec![0; 1 << 18],
            data: (0..1u32 << 18).map(|n| n as u8).collect(),
        };
        let choice = if digests { "CRC32C" } else { "None" };
        let text = format!(
            "InitiatorName=iqn.2026-01.example:allocations\0TargetName={target}\0SessionType=Normal\0\
             HeaderDigest={choice}\0DataDigest={choice}\0InitialR2T=No\0ImmediateData=Yes\0\
             MaxRecvDataSegmentLength=262144\0FirstBurstLength=262144\0MaxBurstLength=1048576\0"
        );
        let request = LoginRequest {
            transit: true,
            cont: false,
            csg: stage::LOGIN_OPERATIONAL_NEGOTIATION,
            nsg: stage::FULL_FEATURE_PHASE,
            version_max: 0,
            version_min: 0,
            data_segment_len: text.len() as u32,
            isid: Isid([0x80, 0, 0, 0, 0, isid]),
            tsih: Tsih(0),
            itt: Itt(0),
            cid: Cid(0),
            cmd_sn: CmdSn(1),
            exp_stat_sn: StatSn(0),
        };
        let mut header = [0; BHS_LEN];
        request.emit(&mut header);
        it.put(&header, text.as_bytes());
        it.send();
        let mut answer = None;
        it.pdus(|_, header| answer = Some(*header));
        let Ok(Pdu::LoginResponse(answer)) = Pdu::parse(&answer.expect("an answer")) else {
            panic!("no login response")
        };
        assert!(answer.transit && answer.status.is_success(), "{answer:?}");
        it.exp_stat_sn = answer.stat_sn.0.wrapping_add(1);
        it.digests = digests;
        it.framer.set_digests(digests, digests);
        it
    }

    /// TEST UNIT READY until no unit attention is left.
    pub fn ready(&mut self, lun: u16) {
        for _ in 0..8 {
            self.command(lun, [0; 16], 0, false, false, 0);
            self.send();
            let mut status = 0xff;
            self.pdus(|_, header| status = header[3]);
            if status == 0 {
                return;
            }
        }
        panic!("LUN {lun} does not get ready");
    }

    /// Runs `count` commands; each has to end GOOD.
    pub fn run(&mut self, load: Load, count: u64) {
        let (mut issued, mut done) = (0, 0);
        while done < count {
            while issued < count && issued - done < u64::from(load.depth) {
                self.issue(load);
                issued += 1;
            }
            self.send();
            self.pdus(|it, header| match Pdu::parse(header).expect("a PDU") {
                Pdu::DataIn(data) if data.has_status => {
                    assert_eq!(data.status, 0);
                    done += 1;
                }
                Pdu::DataIn(_) => {}
                Pdu::ScsiResponse(response) => {
                    assert_eq!((response.response, response.status), (0, 0), "{response:?}");
                    done += 1;
                }
                Pdu::R2t(r2t) => {
                    let end = r2t.buffer_offset + r2t.desired_len_bytes;
                    let mut at = r2t.buffer_offset;
                    let mut sn = 0;
                    let most = if load.bytes >= LARGE_BYTES { load.bytes } else { DATA_OUT_BYTES };
                    while at < end {
                        let len = most.min(end - at);
                        let pdu = DataOut {
                            is_final: at + len == end,
                            data_segment_len: len,
                            lun: r2t.lun,
                            itt: r2t.itt,
                            ttt: r2t.ttt,
                            exp_stat_sn: StatSn(it.exp_stat_sn),
                            data_sn: DataSn(sn),
                            buffer_offset: at,
                        };
                        let mut bhs = [0; BHS_LEN];
                        pdu.emit(&mut bhs);
                        it.put_data(&bhs, len as usize);
                        at += len;
                        sn += 1;
                    }
                }
                other => panic!("unexpected {other:?}"),
            });
        }
    }

    fn issue(&mut self, load: Load) {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let places = load.lun_bytes / u64::from(load.bytes);
        let lba = (self.random % places) * u64::from(load.bytes) / 512;
        let read = load.kind == Kind::Read;
        let mut cdb = [0; 16];
        cdb[0] = if read { 0x28 } else { 0x2a };
        cdb[2..6].copy_from_slice(&(lba as u32).to_be_bytes());
        cdb[7..9].copy_from_slice(&((load.bytes / 512) as u16).to_be_bytes());
        let immediate = if load.kind == Kind::WriteImmediate { load.bytes } else { 0 };
        self.command(load.lun, cdb, load.bytes, read, !read, immediate);
    }

    fn command(&mut self, lun: u16, cdb: [u8; 16], edtl_bytes: u32, read: bool, write: bool, immediate: u32) {
        let command = ScsiCommand {
            immediate_delivery: false,
            is_final: true,
            read,
            write,
            attr: TaskAttr::SIMPLE,
            priority: 0,
            total_ahs_words: 0,
            data_segment_len: immediate,
            lun: Lun::flat(lun),
            itt: Itt(self.itt),
            edtl_bytes,
            cmd_sn: CmdSn(self.cmd_sn),
            exp_stat_sn: StatSn(self.exp_stat_sn),
            cdb,
        };
        self.itt = self.itt.wrapping_add(1) & 0xffff;
        self.cmd_sn = self.cmd_sn.wrapping_add(1);
        let mut bhs = [0; BHS_LEN];
        command.emit(&mut bhs);
        self.put_data(&bhs, immediate as usize);
    }

    fn put_data(&mut self, header: &Bhs, len: usize) {
        let data = std::mem::take(&mut self.data);
        self.put(header, &data[..len]);
        self.data = data;
    }

    fn put(&mut self, header: &Bhs, data: &[u8]) {
        self.out.extend_from_slice(header);
        if self.digests {
            self.out.extend_from_slice(&digest::header_digest(header, &[]));
        }
        self.out.extend_from_slice(data);
        self.out.resize(self.out.len() + bhs::padding(data.len()), 0);
        if self.digests && !data.is_empty() {
            self.out.extend_from_slice(&digest::data_digest(data));
        }
    }

    fn send(&mut self) {
        self.stream.write_all(&self.out).expect("the server takes it");
        self.out.clear();
    }

    /// Receives once or more, until at least one PDU was complete; calls back for each.
    fn pdus(&mut self, mut each: impl FnMut(&mut Initiator, &Bhs)) {
        let mut input = std::mem::take(&mut self.input);
        let mut framer = std::mem::replace(&mut self.framer, Framer::new(0));
        let mut begun: Option<Bhs> = None;
        let mut seen = 0;
        while seen == 0 || !framer.is_between_pdus() {
            let n = self.stream.read(&mut input).expect("an answer in time");
            assert!(n > 0, "the server closed the connection");
            let mut chunk = &input[..n];
            loop {
                let complete = match framer.next(&mut chunk).expect("PDUs") {
                    Frame::NeedMore => break,
                    Frame::Whole { bhs, data_digest_ok, .. } => {
                        assert!(data_digest_ok);
                        Some(*bhs)
                    }
                    Frame::Begin { bhs, .. } => {
                        begun = Some(*bhs);
                        None
                    }
                    Frame::Data(_) => None,
                    Frame::End { data_digest_ok } => {
                        assert!(data_digest_ok);
                        begun.take()
                    }
                };
                if let Some(header) = complete {
                    seen += 1;
                    self.answered(&header);
                    each(self, &header);
                }
            }
        }
        self.input = input;
        self.framer = framer;
    }

    /// ExpStatSN follows what carries a StatSN.
    fn answered(&mut self, header: &Bhs) {
        let numbered = match bhs::opcode(header) {
            Opcode::SCSI_RESPONSE => true,
            Opcode::SCSI_DATA_IN => header[1] & 1 != 0,
            _ => false,
        };
        if numbered {
            self.exp_stat_sn = u32::from_be_bytes([header[24], header[25], header[26], header[27]]).wrapping_add(1);
        }
    }
}
