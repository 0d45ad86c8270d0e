//! A session against answers that are written out, and a bad initiator by the hook.

use super::command::Command;
use super::event::{Event, Fault, Joined, Sink, TaskIx};
use super::login::LoggedIn;
use super::outbox::{DataRef, Digests, Outbox, Outgoing, Payload, Tampered};
use super::params::Params;
use super::receive::{Broken, Receiver};
use super::session::{Refused, Session};
use crate::wire::*;
use proptest::prelude::*;

const CID: Cid = Cid(0);

/// What is sent, as PDUs, and how much data with each.
#[derive(Default)]
struct Sent(Vec<(Pdu, usize)>);

impl Outbox for Sent {
    fn pdu(&mut self, pdu: &Outgoing<'_>) {
        assert_eq!(bhs::data_segment_len(&pdu.bhs), pdu.payload.len());
        self.0.push((Pdu::parse(&pdu.bhs).unwrap(), pdu.payload.len()));
    }
}

/// What comes.
#[derive(Default, Debug, PartialEq, Eq)]
struct Seen {
    data: Vec<u8>,
    said: Vec<String>,
}

impl Sink for Seen {
    fn data_in(&mut self, _: TaskIx, offset: u32, bytes: &[u8]) {
        let end = offset as usize + bytes.len();
        self.data.resize(end.max(self.data.len()), 0);
        self.data[offset as usize..end].copy_from_slice(bytes);
    }

    fn event(&mut self, event: Event<'_>) {
        self.said.push(match event {
            Event::Ended { task, end, .. } => format!("{} ends {} {:?}", task.0, end.status, end.sense_codes()),
            Event::Cleared { task } => format!("{} is cleared", task.0),
            Event::Pong { data, .. } => format!("pong {data:?}"),
            Event::Managed { response, .. } => format!("managed {response}"),
            other => format!("{other:?}"),
        });
    }
}

struct Rig {
    session: Session,
    sent: Sent,
    seen: Seen,
    stat_sn: u32,
}

fn logged_in(cid: Cid, params: Params) -> LoggedIn {
    LoggedIn {
        cid,
        tsih: Tsih(1),
        params,
        exp_stat_sn: StatSn(100),
        exp_cmd_sn: CmdSn(1),
        max_cmd_sn: CmdSn(8),
        portal_group_tag: None,
    }
}

fn rig(params: Params) -> Rig {
    let session = Session::new(&logged_in(CID, params), CmdSn(1), 4);
    Rig { session, sent: Sent::default(), seen: Seen::default(), stat_sn: 100 }
}

fn level(error_recovery_level: u8) -> Params {
    Params { error_recovery_level, ..Params::default() }
}

impl Rig {
    fn issue(&mut self, ix: u16, command: Command<'_>) -> Result<Itt, Refused> {
        self.session.issue(CID, TaskIx(ix), &command, &mut self.sent)
    }

    fn pdu_by(&mut self, cid: Cid, pdu: impl Into<Pdu>, data: &[u8], digest_ok: bool) -> Result<(), Fault> {
        let mut bhs = [0; BHS_LEN];
        pdu.into().emit(&mut bhs);
        bhs::set_data_segment_len(&mut bhs, data.len());
        let mut host = Joined { outbox: &mut self.sent, sink: &mut self.seen };
        self.session.pdu(cid, &bhs, data, digest_ok, &mut host)
    }

    fn pdu(&mut self, pdu: impl Into<Pdu>, data: &[u8]) -> Result<(), Fault> {
        self.pdu_by(CID, pdu, data, true)
    }

    fn stat_sn(&mut self) -> StatSn {
        self.stat_sn += 1;
        StatSn(self.stat_sn - 1)
    }

    fn data_in(&mut self, itt: Itt, sn: u32, offset: u32, last: bool) -> DataIn {
        DataIn {
            is_final: last,
            acknowledge: false,
            overflow: false,
            underflow: false,
            has_status: last,
            status: 0,
            data_segment_len: 0,
            lun: Lun::default(),
            itt,
            ttt: Ttt::RESERVED,
            stat_sn: if last { self.stat_sn() } else { StatSn(0) },
            exp_cmd_sn: CmdSn(2),
            max_cmd_sn: CmdSn(9),
            data_sn: DataSn(sn),
            buffer_offset: offset,
            residual_bytes: 0,
        }
    }

    fn response(&mut self, itt: Itt, status: u8, data_ins: u32) -> ScsiResponse {
        ScsiResponse {
            bidi_overflow: false,
            bidi_underflow: false,
            overflow: false,
            underflow: false,
            response: 0,
            status,
            status_qualifier: 0,
            data_segment_len: 0,
            itt,
            snack_tag: 0,
            stat_sn: self.stat_sn(),
            exp_cmd_sn: CmdSn(2),
            max_cmd_sn: CmdSn(9),
            exp_data_sn: data_ins,
            bidi_residual_bytes: 0,
            residual_bytes: 0,
        }
    }

    fn managed(&mut self, itt: Itt, response: TmResponse) -> TaskManagementResponse {
        let (stat_sn, additional_info) = (self.stat_sn(), [0; 3]);
        let (exp_cmd_sn, max_cmd_sn) = (CmdSn(2), CmdSn(9));
        TaskManagementResponse { response, additional_info, itt, stat_sn, exp_cmd_sn, max_cmd_sn }
    }

    /// What was sent since, in a word each.
    fn said(&mut self) -> Vec<String> {
        let sent = std::mem::take(&mut self.sent.0);
        let word = |(pdu, len): (Pdu, usize)| match pdu {
            Pdu::ScsiCommand(p) => format!("command {} of {} F{} {len}", p.cmd_sn, p.edtl_bytes, u8::from(p.is_final)),
            Pdu::DataOut(p) => {
                format!("data {:x} {} {}+{len} F{}", p.ttt.0, p.data_sn, p.buffer_offset, u8::from(p.is_final))
            }
            Pdu::SnackRequest(p) => format!("snack {} {:x} {}+{}", p.kind, p.ttt.0, p.beg_run, p.run_len),
            Pdu::TaskManagementRequest(p) => {
                format!("{} {} {} {}", p.function, p.referenced_task_tag, p.ref_cmd_sn, p.exp_data_sn)
            }
            other => other.opcode().to_string(),
        };
        sent.into_iter().map(word).collect()
    }
}

fn r2t(itt: Itt, sn: u32, offset: u32, len: u32) -> R2t {
    R2t {
        lun: Lun::flat(3),
        itt,
        ttt: Ttt(7),
        stat_sn: StatSn(100),
        exp_cmd_sn: CmdSn(2),
        max_cmd_sn: CmdSn(9),
        r2t_sn: R2tSn(sn),
        buffer_offset: offset,
        desired_len_bytes: len,
    }
}

fn nop_in(itt: Itt, ttt: Ttt, stat_sn: StatSn) -> NopIn {
    let (lun, exp_cmd_sn, max_cmd_sn) = (Lun::flat(2), CmdSn(2), CmdSn(9));
    NopIn { data_segment_len: 0, lun, itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn }
}

const READ: Command<'_> = Command::new(Lun([0; 8]), &[0x28]).reading(1024);

#[test]
fn a_write_goes_as_immediate_unsolicited_and_solicited_data() {
    //= RFC 7143 section 11.8
    //# If the R2T is answered with a sequence of data PDUs, the buffer offset
    //# and length MUST be within the range of those specified by the R2T, and
    //# the last PDU MUST have the F bit set to 1.
    let params =
        Params { target_max_recv_bytes: 1024, first_burst_bytes: 3072, initial_r2t: false, ..Params::default() };
    let mut rig = rig(params);
    let itt = rig.issue(1, Command::new(Lun::flat(3), &[0x2a]).writing(8192, DataRef(0))).unwrap();
    let first = ["command 1 of 8192 F0 1024", "data ffffffff 0 1024+1024 F0", "data ffffffff 1 2048+1024 F1"];
    assert_eq!(rig.said(), first);
    rig.pdu(r2t(itt, 0, 3072, 1536), &[]).unwrap();
    assert_eq!(rig.said(), ["data 7 0 3072+1024 F0", "data 7 1 4096+512 F1"]);
    assert_eq!(rig.pdu(r2t(itt, 1, 8000, 512), &[]), Err(Fault::R2t { offset: 8000, len: 512, of: 8192 }));
    let response = rig.response(itt, 0, 0);
    rig.pdu(response, &[]).unwrap();
    assert_eq!(rig.seen.said, ["1 ends 0 None"]);
    assert_eq!((rig.session.window.room(), rig.session.itt(TaskIx(1))), (8, None));
}

#[test]
fn what_is_out_of_order_ends_a_session_of_level_0() {
    type Case = fn(&mut Rig, Itt) -> Result<(), Fault>;
    let cases: [Case; 8] = [
        |rig, itt| {
            let pdu = rig.data_in(Itt(itt.0 ^ 0x1_0000), 0, 0, false);
            rig.pdu(pdu, &[0; 512])
        },
        |rig, itt| {
            let pdu = rig.data_in(itt, 1, 0, false);
            rig.pdu(pdu, &[0; 512])
        },
        |rig, itt| {
            let pdu = rig.data_in(itt, 0, 512, false);
            rig.pdu(pdu, &[0; 512])
        },
        |rig, itt| {
            let pdu = rig.data_in(itt, 0, 0, false);
            rig.pdu(pdu, &[0; 1025])
        },
        |rig, itt| {
            let pdu = rig.data_in(itt, 0, 0, false);
            rig.pdu_by(CID, pdu, &[0; 512], false)
        },
        |rig, itt| {
            let _lost = rig.stat_sn();
            let pdu = rig.response(itt, 0, 0);
            rig.pdu(pdu, &[])
        },
        |rig, itt| rig.pdu(r2t(itt, 0, 0, 512), &[]),
        |rig, itt| rig.pdu(r2t(Itt(itt.0 + 1), 0, 0, 512), &[]),
    ];
    for (number, case) in cases.into_iter().enumerate() {
        let mut rig = rig(level(0));
        let itt = rig.issue(0, READ).unwrap();
        assert!(case(&mut rig, itt).is_err(), "case {number}");
    }
}

#[test]
fn the_window_and_the_places_are_kept_to() {
    let mut rig = rig(level(0));
    rig.session.window.max_cmd_sn = CmdSn(1);
    let first = rig.issue(0, READ).unwrap();
    assert_eq!((rig.issue(0, READ), rig.issue(1, READ)), (Err(Refused::WindowClosed), Err(Refused::WindowClosed)));
    let immediate = Command { immediate_delivery: true, ..READ };
    assert!(rig.issue(1, immediate).is_ok());
    assert_eq!((rig.issue(1, immediate), rig.issue(9, immediate)), (Err(Refused::Taken), Err(Refused::Taken)));
    let response = rig.response(first, 2, 0);
    let sense = [0, 18, 0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29, 0, 0, 0, 0, 0];
    rig.pdu(response, &sense).unwrap();
    assert_eq!(rig.seen.said, ["0 ends 2 Some((6, 10496))"]);
    assert_ne!(rig.issue(0, READ), Ok(first), "a tag is not used again at once");
    assert_eq!(rig.session.issue(Cid(5), TaskIx(2), &READ, &mut rig.sent), Err(Refused::NoConnection));
}

#[test]
fn pings_both_ways() {
    //= RFC 7143 section 11.18
    //# Upon receipt of a NOP-In with the Target Transfer Tag set to a valid
    //# value (not the reserved value 0xffffffff), the initiator MUST respond
    //# with a NOP-Out.
    let mut rig = rig(level(0));
    let itt = rig.session.ping(CID, b"abc", &mut rig.sent).unwrap();
    let stat_sn = rig.stat_sn();
    rig.pdu(nop_in(itt, Ttt::RESERVED, stat_sn), b"abc").unwrap();
    rig.pdu(nop_in(Itt::RESERVED, Ttt(0x55), StatSn(101)), &[]).unwrap();
    rig.pdu(nop_in(Itt::RESERVED, Ttt::RESERVED, StatSn(101)), &[]).unwrap();
    let [(Pdu::NopOut(ping), 3), (Pdu::NopOut(pong), 0)] = rig.sent.0[..] else { panic!("{:?}", rig.sent.0) };
    assert!(ping.immediate_delivery && pong.immediate_delivery && ping.ttt.is_reserved());
    assert_eq!((pong.itt, pong.ttt, pong.lun, pong.exp_stat_sn), (Itt::RESERVED, Ttt(0x55), Lun::flat(2), StatSn(101)));
    assert_eq!(rig.seen.said, ["pong [97, 98, 99]"]);
}

#[test]
fn an_abort_ends_its_command() {
    let mut rig = rig(level(0));
    let itt = rig.issue(2, READ).unwrap();
    let tag = rig.session.abort(TaskIx(2), &mut rig.sent).unwrap();
    assert_eq!(rig.said()[1], format!("ABORT TASK {itt} 1 0"));
    let managed = rig.managed(tag, TmResponse::FUNCTION_COMPLETE);
    rig.pdu(managed, &[]).unwrap();
    assert_eq!((rig.session.itt(TaskIx(2)), &rig.seen.said[..]), (None, &["managed Function complete".to_owned()][..]));
}

#[test]
fn missing_data_and_statuses_are_asked_for() {
    //= RFC 7143 section 7.9
    //# If the initiator wants to recover the
    //# missing data for a command, it MUST NOT acknowledge the received
    //# responses that start from the StatSN of the relevant command until
    //# it has completed receiving all the data PDUs of the command.
    //= RFC 7143 section 11.16.4
    //# For a Status SNACK and DataACK, the Initiator Task Tag MUST be set to
    //# the reserved value 0xffffffff.
    let mut rig = rig(level(1));
    let (first, second) = (rig.issue(0, READ).unwrap(), rig.issue(1, READ).unwrap());
    rig.said();
    let (a, b) = (rig.data_in(first, 0, 0, false), rig.data_in(first, 1, 512, false));
    let (lost, late) = (rig.response(second, 2, 0), rig.response(first, 0, 2));
    rig.pdu(b, &[2; 512]).unwrap();
    assert_eq!(rig.said(), ["snack Data/R2T ffffffff 0+1"]);
    rig.pdu(late, &[]).unwrap();
    assert_eq!(rig.said(), ["snack Status ffffffff 100+1", "snack Data/R2T ffffffff 0+1"]);
    assert_eq!((rig.session.exp_stat_sn(CID), rig.seen.said.len()), (Some(StatSn(100)), 0));
    rig.pdu(lost, &[]).unwrap();
    assert_eq!(rig.session.exp_stat_sn(CID), Some(StatSn(101)), "the first command is not whole");
    // Damaged at first, then right, then once more.
    rig.pdu_by(CID, a, &[9; 512], false).unwrap();
    assert_eq!(rig.said(), ["snack Data/R2T ffffffff 0+1"]);
    rig.pdu(a, &[1; 512]).unwrap();
    rig.pdu(a, &[8; 512]).unwrap();
    rig.pdu(late, &[]).unwrap();
    assert_eq!(rig.seen.said, ["1 ends 2 None", "0 ends 0 None"]);
    assert_eq!(rig.seen.data, [[1; 512], [2; 512]].concat());
    assert_eq!(rig.session.exp_stat_sn(CID), Some(StatSn(102)));
}

#[test]
fn data_is_acknowledged_when_there_are_no_holes() {
    //= RFC 7143 section 11.16.2
    //# However, if the initiator has
    //# detected holes in the input sequence, it MUST postpone issuing the SNACK
    //# of type DataACK until the holes are filled.
    let mut rig = rig(level(1));
    let itt = rig.issue(0, READ).unwrap();
    rig.said();
    let first = rig.data_in(itt, 0, 0, false);
    let second = DataIn { acknowledge: true, ttt: Ttt(0x77), ..rig.data_in(itt, 1, 512, false) };
    rig.pdu(second, &[0; 512]).unwrap();
    assert_eq!(rig.said(), ["snack Data/R2T ffffffff 0+1"]);
    rig.pdu(first, &[0; 512]).unwrap();
    assert_eq!(rig.said(), ["snack DataACK 77 2+0"]);
}

#[test]
fn commands_go_on_by_another_connection() {
    //= RFC 7143 section 11.5.6
    //# The
    //# initiator MUST discard any data PDUs from the previous execution that
    //# it did not acknowledge
    let mut rig = rig(level(2));
    let itt = rig.issue(0, READ).unwrap();
    let first = DataIn { acknowledge: true, ..rig.data_in(itt, 0, 0, false) };
    rig.pdu(first, &[1; 512]).unwrap();
    let second = rig.data_in(itt, 1, 512, false);
    rig.pdu(second, &[9; 256]).unwrap();
    rig.session.cut(CID);
    assert_eq!(rig.issue(1, READ), Err(Refused::NoConnection));
    let mut host = Joined { outbox: &mut rig.sent, sink: &mut rig.seen };
    rig.session.joined(&logged_in(CID, level(2)), &mut host);
    rig.stat_sn = 100;
    rig.said();
    rig.session.look_after(1000, &mut Joined { outbox: &mut rig.sent, sink: &mut rig.seen });
    assert_eq!(rig.said(), [format!("TASK REASSIGN {itt} 1 1")]);
    let tag = rig.session.task(TaskIx(0)).unwrap().recovery.reassign.unwrap();
    let managed = rig.managed(tag, TmResponse::FUNCTION_COMPLETE);
    rig.pdu(managed, &[]).unwrap();
    let rest = rig.data_in(itt, 1, 512, true);
    rig.pdu(rest, &[2; 512]).unwrap();
    assert_eq!(rig.seen.said, ["managed Function complete", "0 ends 0 None"]);
    assert_eq!(rig.seen.data, [[1; 512], [2; 512]].concat());
}

#[test]
fn below_level_2_commands_end_with_their_connection() {
    let mut rig = rig(level(1));
    rig.issue(0, READ).unwrap();
    let mut host = Joined { outbox: &mut rig.sent, sink: &mut rig.seen };
    rig.session.joined(&logged_in(Cid(1), level(1)), &mut host);
    rig.session.cut(CID);
    rig.session.joined(&logged_in(CID, level(1)), &mut host);
    assert_eq!(rig.session.connections().collect::<Vec<_>>(), [Cid(1), CID]);
    assert_eq!(rig.seen.said, ["0 is cleared"]);
}

#[test]
fn a_hook_keeps_data_back() {
    let mut rig = rig(Params { initial_r2t: false, immediate_data: false, ..Params::default() });
    let hook = |pdu: &mut Outgoing<'_>| pdu.opcode() != Opcode::SCSI_DATA_OUT;
    let mut out = Tampered { inner: &mut rig.sent, hook };
    let write = Command::new(Lun::flat(0), &[0x2a]).writing(512, DataRef(0));
    rig.session.issue(CID, TaskIx(0), &write, &mut out).unwrap();
    assert_eq!(rig.said(), ["command 1 of 512 F0 0"]);
}

proptest! {
    /// However the stream is cut, the same comes of it.
    #[test]
    fn any_pieces(cuts in prop::collection::vec(1usize..300, 1..40), crc: bool) {
        let digests = Digests { header: crc, data: crc };
        let mut rig = rig(Params { digests, ..level(0) });
        let itt = rig.issue(0, READ).unwrap();
        let mut stream = Vec::new();
        for sn in 0..2u32 {
            let mut bhs = [0; BHS_LEN];
            rig.data_in(itt, sn, sn * 512, sn == 1).emit(&mut bhs);
            let data = [sn as u8 + 1; 512];
            let pdu = Outgoing::new(CID, bhs, &[], Payload::Bytes(&data));
            super::outbox::encode(&pdu, &data, digests, &mut stream);
        }
        let mut receiver = Receiver::new(512);
        receiver.set_digests(digests);
        let (mut rest, mut cuts) = (&stream[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (chunk, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            let mut host = Joined { outbox: &mut rig.sent, sink: &mut rig.seen };
            prop_assert_eq!(receiver.receive(chunk, CID, &mut rig.session, &mut host), Ok(()));
            rest = tail;
        }
        prop_assert_eq!(&rig.seen.data, &[[1; 512], [2; 512]].concat());
        prop_assert_eq!(&rig.seen.said, &["0 ends 0 None"]);
    }

    /// No target can make it panic.
    #[test]
    fn any_pdus_do_no_harm(
        pdus in prop::collection::vec((any::<[u8; 16]>(), any::<[u8; 32]>(), 0usize..64, any::<bool>()), 0..60),
        recovery in 0u8..=2,
    ) {
        let mut rig = rig(level(recovery));
        let itt = rig.issue(0, READ).unwrap();
        rig.issue(1, Command::new(Lun::flat(0), &[0x2a]).writing(4096, DataRef(0))).unwrap();
        for (head, tail, len, ok) in pdus {
            let mut header = [0; BHS_LEN];
            header[..16].copy_from_slice(&head);
            header[16..].copy_from_slice(&tail);
            header[0] = [0x20, 0x21, 0x22, 0x25, 0x25, 0x26, 0x31, 0x32, 0x3f, head[0]][usize::from(head[0] % 10)];
            header[16..20].copy_from_slice(&(itt.0 | u32::from(tail[0] % 2)).to_be_bytes());
            header[24..27].copy_from_slice(&[0; 3]);
            header[36..47].copy_from_slice(&[0; 11]);
            header[39] = tail[20] % 4;
            header[42] = tail[22] % 8;
            bhs::set_data_segment_len(&mut header, len);
            let mut host = Joined { outbox: &mut rig.sent, sink: &mut rig.seen };
            let _: Result<(), Broken> =
                rig.session.pdu(CID, &header, &vec![0; len], ok, &mut host).map_err(Broken::from);
        }
        rig.session.set_now(10_000);
        rig.session.look_after(1000, &mut Joined { outbox: &mut rig.sent, sink: &mut rig.seen });
    }
}
