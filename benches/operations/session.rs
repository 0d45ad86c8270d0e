//! A command's way through the session: from its header to the PDUs that answer it, with an outbox that keeps headers.

use super::Operation;
use super::wire::command;
use ringsan::model::{InitiatorPort, IscsiName};
use ringsan::session::params::{OwnParams, Params, SessionKind};
use ringsan::session::seam::{ConnIx, DataRef, Dest, Event, Outbox, Payload, TaskId};
use ringsan::session::{ConnectionInit, DataInEnd, Direction, Ending, Session, SessionInit, TextHandler, TextStep};
use ringsan::wire::{
    BHS_LEN, Bhs, Cid, CmdSn, DataOut, DataSn, Isid, Lun, RejectReason, ScsiCommand, StatSn, TextRequest, Tsih,
};
use std::hint::black_box;

const BYTES: u32 = 4096;

pub const TURNS: &[Operation] = &[
    Operation { name: "READ of 4 KiB", items: 1, bytes: 0, make: read },
    Operation { name: "WRITE of 4 KiB, immediate", items: 1, bytes: 0, make: write },
    Operation { name: "WRITE of 4 KiB, solicited", items: 1, bytes: 0, make: solicited },
];

/// Keeps the last headers, as the transmit side of a connection copies them.
struct Headers {
    kept: [Bhs; 16],
    sent: usize,
    bytes: u64,
}

impl Outbox for Headers {
    fn pdu(&mut self, _: ConnIx, bhs: &Bhs, payload: Payload<'_>) {
        self.kept[self.sent % 16] = *bhs;
        self.sent += 1;
        self.bytes += payload.len() as u64;
    }
}

struct NoText;

impl TextHandler for NoText {
    fn text(
        &mut self,
        _: &SessionInit,
        _: &mut Params,
        _: ConnIx,
        _: &TextRequest,
        _: &[u8],
        _: &mut Vec<u8>,
    ) -> TextStep {
        TextStep::Reject(RejectReason::PROTOCOL_ERROR)
    }
}

struct Turn {
    session: Session,
    conn: ConnIx,
    out: Headers,
    cmd_sn: u32,
    stat_sn: u32,
}

impl Turn {
    fn new() -> Turn {
        let params = Params {
            initial_r2t: false,
            own: OwnParams {
                initiator_max_recv_bytes: 262_144,
                target_max_recv_bytes: 262_144,
                ..OwnParams::default()
            },
            first_burst_bytes: 262_144,
            ..Params::default()
        };
        let name = IscsiName::new("iqn.2026-01.example:bench").expect("a name");
        let init = SessionInit {
            initiator: InitiatorPort::new(name, Isid([0x80, 0, 0, 0, 0, 1])),
            target_name: None,
            target_portal_group: 1,
            tsih: Tsih(1),
            kind: SessionKind::Normal,
            params,
        };
        let conn = ConnectionInit { cid: Cid(0), params, stat_sn: StatSn(1), exp_cmd_sn: CmdSn(1) };
        let (session, conn) = Session::new(init, conn, 0);
        Turn { session, conn, out: Headers { kept: [[0; BHS_LEN]; 16], sent: 0, bytes: 0 }, cmd_sn: 1, stat_sn: 1 }
    }

    /// Hands in a command with the next CmdSN, that has come whole: as many bytes of data came with it as its header says.
    fn command(&mut self, header: &Bhs) {
        let mut bhs = *header;
        bhs[24..28].copy_from_slice(&self.cmd_sn.to_be_bytes());
        bhs[28..32].copy_from_slice(&self.stat_sn.to_be_bytes());
        self.cmd_sn = self.cmd_sn.wrapping_add(1);
        // One status answers each command.
        self.stat_sn = self.stat_sn.wrapping_add(1);
        black_box(self.session.finish(1, self.conn, &bhs, &[], &[], true, &mut self.out, &mut NoText));
    }

    fn written(&mut self, task: TaskId) {
        self.session.complete(task, Ending::new(0, &[]), u64::from(BYTES), Direction::Out, &mut self.out);
    }

    fn events(&mut self, read: bool) {
        while let Some(event) = self.session.next_event() {
            match event {
                Event::Execute(task) if read => {
                    let end = Some(DataInEnd { transfer_bytes: u64::from(BYTES) });
                    self.session.data_in(task, 0, BYTES, DataRef(0), end, &mut self.out);
                }
                // What came with the command is there already.
                Event::Execute(task) if self.session.command(task).received_bytes == BYTES => self.written(task),
                Event::Execute(task) => self.session.want_data_out(task, BYTES, &mut self.out),
                Event::DataOut { task, received_bytes } if received_bytes == BYTES => self.written(task),
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

fn header(command: &ScsiCommand) -> Bhs {
    let mut bhs = [0; BHS_LEN];
    command.emit(&mut bhs);
    bhs
}

fn read() -> Box<dyn FnMut()> {
    let mut turn = Turn::new();
    let header = header(&command());
    Box::new(move || {
        let sent = turn.out.sent;
        turn.command(black_box(&header));
        turn.events(true);
        assert_eq!(turn.out.sent, sent + 1);
    })
}

fn write() -> Box<dyn FnMut()> {
    let mut turn = Turn::new();
    let header = header(&ScsiCommand { read: false, write: true, data_segment_len: BYTES, ..command() });
    Box::new(move || {
        let sent = turn.out.sent;
        turn.command(black_box(&header));
        turn.events(false);
        assert_eq!(turn.out.sent, sent + 1);
    })
}

/// R2T, one Data-Out, response.
fn solicited() -> Box<dyn FnMut()> {
    let mut turn = Turn::new();
    let header = header(&ScsiCommand { read: false, write: true, ..command() });
    Box::new(move || {
        let sent = turn.out.sent;
        turn.command(black_box(&header));
        turn.events(false);
        assert_eq!(turn.out.sent, sent + 1);
        let r2t = ringsan::wire::R2t::parse(&turn.out.kept[sent % 16]).expect("an R2T");
        let data = DataOut {
            is_final: true,
            data_segment_len: BYTES,
            lun: Lun::flat(0),
            itt: r2t.itt,
            ttt: r2t.ttt,
            exp_stat_sn: StatSn(turn.stat_sn.wrapping_sub(1)),
            data_sn: DataSn(0),
            buffer_offset: 0,
        };
        let mut bhs = [0; BHS_LEN];
        data.emit(&mut bhs);
        let dest = turn.session.begin(turn.conn, &bhs, &[], BYTES as usize, &mut turn.out);
        assert!(matches!(dest, Dest::Task { offset: 0, .. }));
        turn.session.finish(1, turn.conn, &bhs, &[], &[], true, &mut turn.out, &mut NoText);
        turn.events(false);
        assert_eq!(turn.out.sent, sent + 2);
    })
}
