//! What a command costs here. Run by hand, optimised: `cargo test --release --lib pace -- --ignored --nocapture`.

use super::driver::{Echo, params, session_init};
use crate::session::seam::{ConnIx, DataRef, Event, Outbox, Payload};
use crate::session::*;
use crate::wire::*;
use std::hint::black_box;
use std::time::Instant;

struct Sink(u64);

impl Outbox for Sink {
    #[inline(never)]
    fn pdu(&mut self, _: ConnIx, bhs: &Bhs, payload: Payload<'_>) {
        self.0 = self.0.wrapping_add(u64::from(bhs[40]) + payload.len() as u64);
    }
}

fn header(n: u32, write: bool) -> Bhs {
    let command = ScsiCommand {
        immediate_delivery: false,
        is_final: true,
        read: !write,
        write,
        attr: TaskAttr::SIMPLE,
        priority: 0,
        total_ahs_words: 0,
        data_segment_len: 0,
        lun: Lun::flat(0),
        itt: Itt(n % 128),
        edtl_bytes: 4096,
        cmd_sn: CmdSn(n),
        exp_stat_sn: StatSn(0),
        cdb: [0; 16],
    };
    let mut bhs = [0; 48];
    command.emit(&mut bhs);
    if write {
        bhs::set_data_segment_len(&mut bhs, 4096);
    }
    bhs
}

#[test]
#[ignore = "measures, asserts nothing"]
fn pace() {
    const N: u32 = 4_000_000;
    const DEPTH: u32 = 32;
    for write in [false, true] {
        let conn = ConnectionInit { cid: Cid(0), params: params(), stat_sn: StatSn(1), exp_cmd_sn: CmdSn(0) };
        let (mut s, c) = Session::new(session_init(SessionKind::Normal, params()), conn, 0);
        let (mut sink, mut text) = (Sink(0), Echo::default());
        let mut headers: Vec<Bhs> = (0..DEPTH).map(|n| header(n, write)).collect();
        let begin = Instant::now();
        for round in 0..N / DEPTH {
            for (n, bhs) in headers.iter_mut().enumerate() {
                let sn = round * DEPTH + n as u32;
                bhs[24..28].copy_from_slice(&sn.to_be_bytes());
                let len = if write { 4096 } else { 0 };
                black_box(s.begin(c, bhs, &[], len, &mut sink));
                black_box(s.finish(1, c, bhs, &[], &[], true, &mut sink, &mut text));
            }
            while let Some(event) = s.next_event() {
                let Event::Execute(task) = event else { panic!() };
                if write {
                    s.complete(task, 0, &[], 4096, Direction::Out, &mut sink);
                } else {
                    s.data_in(task, 0, 4096, DataRef(0), Some(DataInEnd { transfer_bytes: 4096 }), &mut sink);
                }
            }
        }
        let each = begin.elapsed().as_nanos() as f64 / f64::from(N);
        println!("{}: {each:.1} ns", if write { "4 KiB WRITE, immediate data" } else { "4 KiB READ" });
        black_box(sink.0);
    }
}
