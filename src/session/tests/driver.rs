//! A scripted initiator and an outbox that keeps what was sent.

use crate::model::{InitiatorPort, IscsiName};
use crate::session::params::{OwnParams, Params};
use crate::session::seam::{ConnIx, DataRef, Dest, Event, Outbox, Payload, TaskId};
use crate::session::*;
use crate::wire::*;

/// A PDU that the session sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub conn: ConnIx,
    pub pdu: Pdu,
    pub bytes: Vec<u8>,
    pub data: Option<(u64, u32)>,
}

/// Keeps PDUs, and watches the counters in them.
pub struct Wire {
    pub sent: Vec<Sent>,
    stat_sn: [StatSn; 8],
    max_cmd_sn: Option<CmdSn>,
    exp_cmd_sn: Option<CmdSn>,
    /// ErrorRecoveryLevel is above 0.
    pub again: bool,
}

impl Outbox for Wire {
    fn pdu(&mut self, conn: ConnIx, bhs: &Bhs, payload: Payload<'_>) {
        //= RFC 7143 section 11.2.1.6
        //# The DataSegmentLength MUST be 0 whenever the PDU has no data segment.
        assert_eq!(bhs::data_segment_len(bhs), payload.len(), "DataSegmentLength");
        //= RFC 7143 section 11.2.1.2
        //# Initiators MUST NOT use target Opcodes, and targets MUST NOT use
        //# initiator Opcodes.
        assert!(bhs::opcode(bhs).0 >= 0x20, "an opcode of initiators");
        let word = |at: usize| u32::from_be_bytes(bhs[at..at + 4].try_into().unwrap());
        let pdu = Pdu::parse(bhs).unwrap();
        let next = &mut self.stat_sn[usize::from(conn.0)];
        if let Pdu::ScsiResponse(p) = &pdu {
            //= RFC 7143 section 11.4.1
            //# For a response other than "Command Completed at Target", bits 3-6 MUST
            //# be 0.
            let residuals = p.overflow || p.underflow || p.bidi_overflow || p.bidi_underflow;
            assert!(p.response == ScsiResponse::COMMAND_COMPLETED || !residuals);
        }
        let numbered = match &pdu {
            Pdu::DataIn(d) => d.has_status,
            Pdu::R2t(_) => false,
            Pdu::NopIn(n) => !n.itt.is_reserved(),
            _ => true,
        };
        if numbered && self.again && StatSn(word(24)).lt(*next) {
            // Sent once more, on a SNACK: not news.
            return;
        }
        if !matches!(&pdu, Pdu::DataIn(d) if !d.has_status) {
            assert_eq!(word(24), next.0, "StatSN of {pdu:?}");
        }
        if numbered {
            *next = next.next();
        }
        let (exp, max) = (CmdSn(word(28)), CmdSn(word(32)));
        assert!(exp.le(max.next()), "MaxCmdSN below ExpCmdSN - 1");
        assert!(self.max_cmd_sn.is_none_or(|last| last.le(max)), "MaxCmdSN moved back");
        assert!(self.exp_cmd_sn.is_none_or(|last| last.le(exp)), "ExpCmdSN moved back");
        (self.exp_cmd_sn, self.max_cmd_sn) = (Some(exp), Some(max));
        let (bytes, data) = match payload {
            Payload::None => (vec![], None),
            Payload::Bytes(b) => (b.to_vec(), None),
            Payload::Data { at, len } => (vec![], Some((at.0, len))),
        };
        self.sent.push(Sent { conn, pdu, bytes, data });
    }
}

/// Answers every Text Request with what it asked, or rejects it.
#[derive(Default)]
pub struct Echo {
    pub reject: Option<RejectReason>,
    pub set_max_recv: Option<u32>,
    /// The negotiation goes on, with this tag.
    pub goes_on: Option<Ttt>,
}

impl TextHandler for Echo {
    fn text(
        &mut self,
        _: &SessionInit,
        params: &mut Params,
        _: ConnIx,
        _: &TextRequest,
        data: &[u8],
        answer: &mut Vec<u8>,
    ) -> TextStep {
        if let Some(reason) = self.reject.take() {
            return TextStep::Reject(reason);
        }
        if let Some(bytes) = self.set_max_recv {
            params.own.initiator_max_recv_bytes = bytes;
        }
        answer.extend_from_slice(data);
        let ttt = self.goes_on.unwrap_or(Ttt::RESERVED);
        TextStep::Answer { is_final: ttt.is_reserved(), cont: false, ttt }
    }
}

/// Session, wire and initiator.
pub struct Rig {
    pub s: Session,
    pub c: ConnIx,
    pub wire: Wire,
    pub text: Echo,
    pub now_ms: u64,
    /// The initiator's CmdSN and next Initiator Task Tag.
    pub cmd_sn: u32,
    pub itt: u32,
    pub dest: Dest,
    pub task: Option<TaskId>,
    pub digest_ok: bool,
}

pub fn params() -> Params {
    Params {
        initial_r2t: false,
        immediate_data: true,
        own: OwnParams { target_max_recv_bytes: 65536, ..OwnParams::default() },
        max_burst_bytes: 16384,
        first_burst_bytes: 8192,
        max_outstanding_r2t: 2,
        ..Params::default()
    }
}

/// Those of a connection whose initiator takes so many bytes in a PDU.
pub fn max_recv(initiator_max_recv_bytes: u32) -> OwnParams {
    OwnParams { initiator_max_recv_bytes, ..params().own }
}

pub fn session_init(kind: SessionKind, params: Params) -> SessionInit {
    SessionInit {
        initiator: InitiatorPort::new(
            IscsiName::new("iqn.2001-04.com.example:host").unwrap(),
            Isid([0, 2, 0x3d, 0, 0, 1]),
        ),
        target_name: None,
        target_portal_group: 1,
        tsih: Tsih(1),
        kind,
        params,
    }
}

impl Rig {
    pub fn with(kind: SessionKind, params: Params, cmd_sn: u32) -> Rig {
        let conn = ConnectionInit { cid: Cid(3), params, stat_sn: StatSn(u32::MAX - 2), exp_cmd_sn: CmdSn(cmd_sn) };
        let (s, c) = Session::new(session_init(kind, params), conn, 1000);
        let wire = Wire {
            sent: vec![],
            stat_sn: [conn.stat_sn; 8],
            max_cmd_sn: None,
            exp_cmd_sn: None,
            again: params.error_recovery_level > 0,
        };
        Rig {
            s,
            c,
            wire,
            text: Echo::default(),
            now_ms: 1000,
            cmd_sn,
            itt: 0x10,
            dest: Dest::Discard,
            task: None,
            digest_ok: true,
        }
    }

    pub fn new() -> Rig {
        Rig::with(SessionKind::Normal, params(), 100)
    }

    /// A header with its data goes in on a connection.
    pub fn raw_on(&mut self, conn: ConnIx, bhs: &Bhs, ahs: &[u8], data: &[u8]) {
        self.dest = self.s.begin(conn, bhs, ahs, data.len(), &mut self.wire);
        let gathered = if self.dest == Dest::Gather { data } else { &[] };
        let ok = std::mem::replace(&mut self.digest_ok, true);
        self.task = self.s.finish(self.now_ms, conn, bhs, ahs, gathered, ok, &mut self.wire, &mut self.text);
    }

    pub fn raw(&mut self, bhs: &Bhs, ahs: &[u8], data: &[u8]) {
        self.raw_on(self.c, bhs, ahs, data);
    }

    pub fn send(&mut self, pdu: impl Into<Pdu>, data: &[u8]) {
        let mut bhs = [0; 48];
        pdu.into().emit(&mut bhs);
        bhs::set_data_segment_len(&mut bhs, data.len());
        self.raw(&bhs, &[], data);
    }

    /// The next command, tag and CmdSN drawn; not sent.
    pub fn draw(&mut self) -> ScsiCommand {
        let (itt, cmd_sn) = (Itt(self.itt), CmdSn(self.cmd_sn));
        self.itt += 1;
        self.cmd_sn = self.cmd_sn.wrapping_add(1);
        ScsiCommand {
            immediate_delivery: false,
            is_final: true,
            read: false,
            write: false,
            attr: TaskAttr::SIMPLE,
            priority: 0,
            total_ahs_words: 0,
            data_segment_len: 0,
            lun: Lun::flat(0),
            itt,
            edtl_bytes: 0,
            cmd_sn,
            exp_stat_sn: StatSn(0),
            cdb: [0; 16],
        }
    }

    pub fn draw_read(&mut self, edtl_bytes: u32) -> ScsiCommand {
        ScsiCommand { read: true, edtl_bytes, ..self.draw() }
    }

    pub fn draw_write(&mut self, edtl_bytes: u32) -> ScsiCommand {
        ScsiCommand { write: true, edtl_bytes, ..self.draw() }
    }

    /// Sends a command that must be delivered at once.
    pub fn run(&mut self, command: ScsiCommand, data: &[u8]) -> TaskId {
        self.send(command, data);
        match self.events()[..] {
            [Event::Execute(task)] => task,
            ref other => panic!("expected Execute, found {other:?}"),
        }
    }

    pub fn read(&mut self, edtl_bytes: u32) -> TaskId {
        let command = self.draw_read(edtl_bytes);
        self.run(command, &[])
    }

    pub fn write(&mut self, edtl_bytes: u32, immediate: usize) -> TaskId {
        let command = self.draw_write(edtl_bytes);
        self.run(command, &vec![7; immediate])
    }

    pub fn tm(&mut self, function: TmFunction) -> TaskManagementRequest {
        let itt = Itt(self.itt);
        self.itt += 1;
        TaskManagementRequest {
            immediate_delivery: true,
            function,
            lun: Lun::flat(0),
            itt,
            referenced_task_tag: Itt::RESERVED,
            cmd_sn: CmdSn(self.cmd_sn),
            exp_stat_sn: StatSn(0),
            ref_cmd_sn: CmdSn(0),
            exp_data_sn: 0,
        }
    }

    pub fn logout(&mut self, reason: LogoutReason, cid: u16) -> LogoutRequest {
        let itt = Itt(self.itt);
        self.itt += 1;
        LogoutRequest {
            immediate_delivery: true,
            reason,
            itt,
            cid: Cid(cid),
            cmd_sn: CmdSn(self.cmd_sn),
            exp_stat_sn: StatSn(0),
        }
    }

    pub fn nop(&mut self) -> NopOut {
        let itt = Itt(self.itt);
        self.itt += 1;
        NopOut {
            immediate_delivery: true,
            data_segment_len: 0,
            lun: Lun::flat(0),
            itt,
            ttt: Ttt::RESERVED,
            cmd_sn: CmdSn(self.cmd_sn),
            exp_stat_sn: StatSn(0),
        }
    }

    pub fn data_out(&self, itt: Itt, ttt: Ttt, offset: u32, sn: u32, is_final: bool) -> DataOut {
        DataOut {
            is_final,
            data_segment_len: 0,
            lun: Lun::flat(0),
            itt,
            ttt,
            exp_stat_sn: StatSn(0),
            data_sn: DataSn(sn),
            buffer_offset: offset,
        }
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.s.next_event()).collect()
    }

    pub fn sent(&mut self) -> Vec<Pdu> {
        self.wire.sent.drain(..).map(|s| s.pdu).collect()
    }

    pub fn one(&mut self) -> Sent {
        assert_eq!(self.wire.sent.len(), 1, "{:?}", self.wire.sent);
        self.wire.sent.remove(0)
    }

    /// The only PDU sent is a SCSI Response; its header and sense.
    pub fn response(&mut self) -> (ScsiResponse, Vec<u8>) {
        let sent = self.one();
        match sent.pdu {
            Pdu::ScsiResponse(r) => (r, sent.bytes),
            other => panic!("expected a SCSI Response, found {other:?}"),
        }
    }

    /// The only PDU sent is CHECK CONDITION, ABORTED COMMAND, with this additional sense code. Its residual count, if data
    /// was short.
    pub fn expect_fault(&mut self, asc: u8, ascq: u8) -> Option<u32> {
        let (response, bytes) = self.response();
        assert_eq!(response.status, 2);
        assert_eq!(bytes.len(), 2 + usize::from(u16::from_be_bytes([bytes[0], bytes[1]])));
        assert_eq!((bytes[2], bytes[4], bytes[14], bytes[15]), (0x70, 0x0b, asc, ascq));
        response.underflow.then_some(response.residual_bytes)
    }

    /// The only PDU sent is a Reject of the PDU with this reason.
    pub fn expect_reject(&mut self, reason: RejectReason) -> Vec<u8> {
        let sent = self.one();
        match sent.pdu {
            Pdu::Reject(r) => assert_eq!(r.reason, reason),
            other => panic!("expected a Reject, found {other:?}"),
        }
        assert_eq!(sent.bytes.len(), 48);
        sent.bytes
    }

    pub fn expect_tm(&mut self, response: TmResponse) {
        match self.one().pdu {
            Pdu::TaskManagementResponse(r) => assert_eq!(r.response, response),
            other => panic!("expected a task management response, found {other:?}"),
        }
    }

    pub fn good(&mut self, task: TaskId) {
        self.s.complete(task, Ending::new(0, &[]), 0, Direction::None, &mut self.wire);
    }

    pub fn released(&mut self, task: TaskId) {
        self.s.released(task, &mut self.wire);
    }

    pub fn data_in(&mut self, task: TaskId, offset: u32, len: u32, end: Option<u64>) {
        let end = end.map(|transfer_bytes| DataInEnd { transfer_bytes });
        self.s.data_in(task, offset, len, DataRef(u64::from(offset)), end, &mut self.wire);
    }

    pub fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.s.tick(now_ms, &mut self.wire);
    }
}
