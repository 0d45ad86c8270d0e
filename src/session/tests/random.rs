//! Random initiators and shards: whatever they do, counters move as they must, every delivered command is answered or
//! aborted once, and no slot is lost. The driver's outbox checks the counters.

use super::driver::*;
use crate::limits::TASKS_PER_SESSION;
use crate::session::seam::{CloseReason, DataRef, Event, TaskId};
use crate::session::*;
use crate::wire::*;
use proptest::prelude::*;
use std::collections::HashMap;

#[derive(Debug, Clone)]
enum Act {
    Command {
        read: bool,
        write: bool,
        edtl: u32,
        immediate: u16,
        is_final: bool,
        i_bit: bool,
        sn: u8,
        itt: u8,
        lun: u8,
    },
    DataOut {
        pick: u8,
        solicited: bool,
        right: bool,
        offset: u32,
        sn: u32,
        len: u16,
        is_final: bool,
    },
    Tm {
        function: u8,
        pick: u8,
        i_bit: bool,
        sn: u8,
    },
    Nop {
        i_bit: bool,
        sn: u8,
        len: u8,
    },
    Text {
        i_bit: bool,
        sn: u8,
        reject: bool,
    },
    Snack(u8),
    Mutated {
        at: u8,
        to: u8,
        opcode: u8,
    },
    BadDigest,
    Answer {
        pick: u8,
        how: u8,
    },
    Want {
        pick: u8,
        upto: u32,
    },
    Release(u8),
    TmDone,
    Tick(u16),
    AbortTasks(bool),
    RequestLogout,
}

fn act() -> impl Strategy<Value = Act> {
    let sn = prop_oneof![8 => Just(0u8), 1 => 0u8..4, 1 => any::<u8>()];
    prop_oneof![
        8 => (any::<bool>(), any::<bool>(), 0u32..40000, prop_oneof![Just(0u16), 0u16..9000],
              prop::bool::weighted(0.7), prop::bool::weighted(0.1), sn.clone(), any::<u8>(), 0u8..2)
            .prop_map(|(read, write, edtl, immediate, is_final, i_bit, sn, itt, lun)| {
                let (edtl, is_final) = (if read || write { edtl } else { 0 }, is_final || !write);
                let immediate = if write { immediate } else { 0 };
                Act::Command { read, write, edtl, immediate, is_final, i_bit, sn, itt, lun }
            }),
        8 => (any::<u8>(), any::<bool>(), prop::bool::weighted(0.8), 0u32..40000, 0u32..3, 0u16..9000, any::<bool>())
            .prop_map(|(pick, solicited, right, offset, sn, len, is_final)| {
                Act::DataOut { pick, solicited, right, offset, sn, len, is_final }
            }),
        1 => (0u8..14, any::<u8>(), prop::bool::weighted(0.8), sn.clone())
            .prop_map(|(function, pick, i_bit, sn)| Act::Tm { function, pick, i_bit, sn }),
        1 => (any::<bool>(), sn.clone(), any::<u8>()).prop_map(|(i_bit, sn, len)| Act::Nop { i_bit, sn, len }),
        1 => (any::<bool>(), sn, any::<bool>()).prop_map(|(i_bit, sn, reject)| Act::Text { i_bit, sn, reject }),
        1 => any::<u8>().prop_map(Act::Snack),
        1 => (0u8..48, any::<u8>(), 0u8..0x20).prop_map(|(at, to, opcode)| Act::Mutated { at, to, opcode }),
        1 => Just(Act::BadDigest),
        8 => (any::<u8>(), any::<u8>()).prop_map(|(pick, how)| Act::Answer { pick, how }),
        4 => (any::<u8>(), 0u32..50000).prop_map(|(pick, upto)| Act::Want { pick, upto }),
        4 => any::<u8>().prop_map(Act::Release),
        2 => Just(Act::TmDone),
        1 => any::<u16>().prop_map(Act::Tick),
        1 => any::<bool>().prop_map(Act::AbortTasks),
        1 => Just(Act::RequestLogout),
    ]
}

/// What the shard knows.
#[derive(Default)]
struct Shard {
    live: Vec<TaskId>,
    aborted: Vec<TaskId>,
    tms: Vec<u8>,
    ended: bool,
}

impl Shard {
    fn take_events(&mut self, r: &mut Rig) {
        for event in r.events() {
            assert!(!self.ended, "{event:?} after the end");
            match event {
                Event::Execute(t) => {
                    assert!(!self.live.contains(&t) && !self.aborted.contains(&t));
                    assert!(r.s.command(t).received_bytes <= r.s.command(t).edtl_bytes);
                    self.live.push(t);
                }
                Event::DataOut { task, received_bytes } => {
                    assert!(self.live.contains(&task), "progress of a task that was not delivered");
                    assert!(received_bytes <= r.s.command(task).edtl_bytes);
                }
                Event::Abort(t) => {
                    assert!(!self.aborted.contains(&t), "aborted twice");
                    self.live.retain(|&l| l != t);
                    self.aborted.push(t);
                }
                Event::TaskManagement(request) => {
                    assert!(!self.tms.contains(&request.id));
                    self.tms.push(request.id);
                }
                Event::Resend { task, offset, len } => {
                    let data = (len % 3 != 0).then_some(DataRef(u64::from(offset)));
                    r.s.resend(task, offset, len, data, &mut r.wire);
                }
                Event::Close { .. } | Event::Cleared { .. } => {}
                Event::Ended { .. } => self.ended = true,
            }
        }
    }
}

/// Counts final statuses by tag; a tag is drawn anew for each command that is sent as valid.
fn count_answers(r: &mut Rig, answers: &mut HashMap<u32, u32>) {
    for sent in r.wire.sent.drain(..) {
        let itt = match sent.pdu {
            Pdu::ScsiResponse(p) => p.itt,
            Pdu::DataIn(p) if p.has_status => p.itt,
            Pdu::TaskManagementResponse(p) => p.itt,
            _ => continue,
        };
        let count = answers.entry(itt.0).or_default();
        *count += 1;
        assert_eq!(*count, 1, "answered twice: {:?}", sent.pdu);
    }
}

/// Which one of so many a number means.
fn pick(n: u8, len: usize) -> usize {
    usize::from(n) % len.max(1)
}

fn command(r: &mut Rig, shard: &mut Shard, commands: &mut Vec<ScsiCommand>, act: &Act) {
    let Act::Command { read, write, edtl, immediate, is_final, i_bit, sn, itt, lun } = *act else { return };
    let mut c = ScsiCommand { read, write, edtl_bytes: edtl, is_final, ..r.draw() };
    c.lun = Lun::flat(u16::from(lun));
    c.immediate_delivery = i_bit;
    if i_bit {
        r.cmd_sn = r.cmd_sn.wrapping_sub(1);
    } else {
        c.cmd_sn = c.cmd_sn.add(u32::from(sn));
        r.cmd_sn = r.cmd_sn.wrapping_add(u32::from(sn) & 1);
    }
    // Now and then a tag that may still be in use.
    if itt < 10 && !commands.is_empty() && r.s.open_tasks() > 0 {
        let old = commands[pick(itt, commands.len())].itt;
        if shard.live.iter().any(|_| true) && r.s.tasks.find(old).is_some() {
            c.itt = old;
        }
    }
    r.send(c, &vec![0; usize::from(immediate)]);
    commands.push(c);
}

fn data_out(r: &mut Rig, commands: &[ScsiCommand], act: &Act) {
    let Act::DataOut { pick: p, solicited, right, offset, sn, len, is_final } = *act else { return };
    let Some(c) = commands.get(pick(p, commands.len())).copied() else { return };
    let Some(id) = r.s.tasks.find(c.itt) else {
        let stray = r.data_out(c.itt, Ttt(u32::MAX - 1), offset, sn, is_final);
        return r.send(stray, &vec![0; usize::from(len)]);
    };
    let mut pdu = r.data_out(c.itt, if solicited { Ttt(id.0) } else { Ttt::RESERVED }, offset, sn, is_final);
    pdu.lun = c.lun;
    let mut len = u32::from(len);
    if right {
        let t = r.s.tasks.get(id).unwrap();
        pdu.buffer_offset = t.command.received_bytes;
        pdu.data_sn = DataSn(t.incoming.data_sn);
        let end = if solicited { t.incoming.r2t_end().unwrap_or(0) } else { t.incoming.unsolicited_end };
        len = len.min(end.saturating_sub(pdu.buffer_offset));
        pdu.is_final = pdu.buffer_offset + len == end;
    }
    r.send(pdu, &vec![0; len as usize]);
}

fn task_management(r: &mut Rig, commands: &[ScsiCommand], act: &Act) {
    let Act::Tm { function, pick: p, i_bit, sn } = *act else { return };
    let victim = commands.get(pick(p, commands.len())).copied();
    let tm = r.tm(TmFunction(function));
    let tm = TaskManagementRequest {
        immediate_delivery: i_bit,
        referenced_task_tag: victim.map_or(Itt(9), |c| c.itt),
        ref_cmd_sn: victim.map_or(CmdSn(9), |c| c.cmd_sn),
        cmd_sn: tm.cmd_sn.add(u32::from(sn)),
        ..tm
    };
    r.cmd_sn = r.cmd_sn.wrapping_add(u32::from(!i_bit));
    r.send(tm, &[]);
}

fn text(r: &mut Rig, act: &Act) {
    let Act::Text { i_bit, sn, reject } = *act else { return };
    r.text.reject = reject.then_some(RejectReason::PROTOCOL_ERROR);
    let nop = r.nop();
    let text = TextRequest {
        immediate_delivery: i_bit,
        is_final: true,
        cont: false,
        data_segment_len: 0,
        lun: Lun::flat(0),
        itt: nop.itt,
        ttt: Ttt::RESERVED,
        cmd_sn: nop.cmd_sn.add(u32::from(sn)),
        exp_stat_sn: StatSn(0),
    };
    r.cmd_sn = r.cmd_sn.wrapping_add(u32::from(!i_bit && !reject));
    r.send(text, b"a=b\0");
}

fn snack(r: &mut Rig, commands: &[ScsiCommand], act: &Act) {
    let Act::Snack(p) = *act else { return };
    let Some(c) = commands.get(pick(p, commands.len())) else { return };
    let snack = SnackRequest {
        kind: SnackType(p & 3),
        lun: c.lun,
        itt: c.itt,
        ttt: Ttt::RESERVED,
        exp_stat_sn: StatSn(0),
        beg_run: u32::from(p >> 4 & 3),
        run_len: u32::from(p >> 6),
    };
    r.send(snack, &[]);
}

fn mutated(r: &mut Rig, act: &Act) {
    let Act::Mutated { at, to, opcode } = *act else { return };
    let mut bhs = [0; 48];
    let mut c = r.draw_write(4096);
    r.cmd_sn = r.cmd_sn.wrapping_sub(1);
    c.itt = Itt(r.itt + 100_000);
    c.emit(&mut bhs);
    bhs[0] = opcode;
    bhs[usize::from(at)] = to;
    let len = bhs::data_segment_len(&bhs).min(100_000);
    bhs::set_data_segment_len(&mut bhs, len);
    let ahs = vec![to; bhs::total_ahs_len_bytes(&bhs)];
    r.raw(&bhs, &ahs, &vec![0; len]);
}

fn answer(r: &mut Rig, shard: &mut Shard, act: &Act) {
    let Act::Answer { pick: p, how } = *act else { return };
    if shard.live.is_empty() {
        return;
    }
    let n = pick(p, shard.live.len());
    let task = shard.live[n];
    let edtl = r.s.command(task).read_edtl_bytes();
    match how % 5 {
        0 => return r.data_in(task, 0, edtl / 2, None),
        1 => r.data_in(task, 0, edtl, Some(u64::from(edtl))),
        2 => r.s.complete(task, Ending::new(2, &[0x70, 0, 5]), 0, Direction::None, &mut r.wire),
        3 => r.s.complete(task, Ending::new(0, &[]), 512, Direction::Out, &mut r.wire),
        _ => r.s.complete(task, Ending::new(8, &[]), u64::MAX, Direction::In, &mut r.wire),
    }
    assert!(!r.s.is_live(task));
    shard.live.swap_remove(n);
}

fn play(r: &mut Rig, shard: &mut Shard, commands: &mut Vec<ScsiCommand>, act: &Act) {
    match *act {
        Act::Command { .. } => command(r, shard, commands, act),
        Act::DataOut { .. } => data_out(r, commands, act),
        Act::Tm { .. } => task_management(r, commands, act),
        Act::Nop { i_bit, sn, len } => {
            let nop = r.nop();
            let nop = NopOut { immediate_delivery: i_bit, cmd_sn: nop.cmd_sn.add(u32::from(sn)), ..nop };
            r.cmd_sn = r.cmd_sn.wrapping_add(u32::from(!i_bit));
            r.send(nop, &vec![0; usize::from(len)]);
        }
        Act::Text { .. } => text(r, act),
        Act::Snack(_) => snack(r, commands, act),
        Act::Mutated { .. } => mutated(r, act),
        Act::BadDigest => r.digest_ok = false,
        Act::Answer { .. } => answer(r, shard, act),
        Act::Want { pick: p, upto } => {
            if let Some(&task) = shard.live.get(pick(p, shard.live.len())) {
                r.s.want_data_out(task, upto, &mut r.wire);
            }
        }
        Act::Release(p) => {
            if !shard.aborted.is_empty() {
                let task = shard.aborted.swap_remove(pick(p, shard.aborted.len()));
                r.released(task);
            }
        }
        Act::TmDone => {
            if let Some(id) = shard.tms.pop() {
                r.s.tm_complete(id, TmResponse::FUNCTION_COMPLETE, &mut r.wire);
            }
        }
        Act::Tick(ms) => r.tick(r.now_ms + u64::from(ms) / 8),
        Act::AbortTasks(all) => r.s.abort_tasks(if all { None } else { Some(Lun::flat(0)) }),
        Act::RequestLogout => r.s.request_logout(&mut r.wire),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn a_session_survives_everything(start in prop_oneof![Just(u32::MAX - 30), any::<u32>()],
                                     initial_r2t: bool, immediate_data: bool, error_recovery_level in 0u8..3,
                                     acts in proptest::collection::vec(act(), 1..150)) {
        let mut r = Rig::with(SessionKind::Normal, Params { initial_r2t, immediate_data, error_recovery_level, ..params() }, start);
        let (mut shard, mut commands, mut answers) = (Shard::default(), Vec::new(), HashMap::new());
        for act in &acts {
            // Tags are unique in this test, unless one is live: a tag's second task would be counted with the first.
            play(&mut r, &mut shard, &mut commands, act);
            shard.take_events(&mut r);
            count_answers(&mut r, &mut answers);
            prop_assert!(r.s.open_tasks() <= TASKS_PER_SESSION);
            if shard.ended {
                break;
            }
        }
        // Whatever is left can be brought to an end, and nothing leaks.
        r.s.end(CloseReason::Shutdown);
        shard.take_events(&mut r);
        prop_assert!(shard.ended && shard.live.is_empty());
        for task in std::mem::take(&mut shard.aborted) {
            r.released(task);
        }
        for id in std::mem::take(&mut shard.tms) {
            r.s.tm_complete(id, TmResponse::FUNCTION_COMPLETE, &mut r.wire);
        }
        prop_assert_eq!(r.s.open_tasks(), 0);
        prop_assert_eq!(r.s.immediate_commands + r.s.immediate_managements + r.s.managements + r.s.held_bytes, 0);
        prop_assert!(r.wire.sent.is_empty());
    }
}

#[test]
fn commands_flow_across_the_wrap_of_every_counter() {
    let mut r = Rig::with(SessionKind::Normal, params(), u32::MAX - 200);
    let mut open = std::collections::VecDeque::new();
    for n in 0..1000u32 {
        open.push_back(r.read(4096));
        if n % 3 != 0 || open.len() > 100 {
            let task = open.pop_front().unwrap();
            r.data_in(task, 0, 4096, Some(4096));
        }
    }
    assert!(r.wire.sent.len() > 600);
}
