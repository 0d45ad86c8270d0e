//! What a core did last: its thread says so when it panics, before the process ends.
//!
//! A ring of the last [`RECORDED_EVENTS`] events, in memory of the thread, which is written over all the time: noting an event
//! stores a few words. The time is what the turn has read anyway, and stands where several PDUs share it. What is told of a
//! PDU is its opcode, Initiator Task Tag, LUN and operation code, and nothing else: where a peer's framing is lost, whatever
//! stands in for its header is its data.

use super::source::Source;
use crate::limits::RECORDED_EVENTS;
use crate::model::ConnNo;
use crate::panics;
use crate::ring::Completion;
use crate::wire::{BHS_LEN, Bhs, Opcode, bhs};
use std::cell::Cell;
use std::fmt::{self, Display, Formatter, Write as _};

#[derive(Clone, Copy)]
#[repr(align(32))]
enum Event {
    Nothing,
    /// So many bytes of a connection are looked at.
    Chunk {
        at_ms: u32,
        conn: u32,
        bytes: u32,
    },
    /// A header in those bytes: its first byte (with the opcode), its operation code (where it has one), and the bytes
    /// from [`TAGS`] on, which are one move.
    Pdu(u8, u8, [u8; TAGS_LEN]),
    /// An operation of the ring is over: its `user_data` and result.
    Completed {
        at_ms: u32,
        user_data: u64,
        result: i32,
    },
    /// A job is polled.
    Job(u64),
    /// A message from another thread.
    Message(&'static str),
}

/// Where a header has its LUN, then its Initiator Task Tag.
const TAGS: usize = 8;
const TAGS_LEN: usize = 16;

const _: () = assert!(size_of::<Event>() == 32 && RECORDED_EVENTS.is_power_of_two());

struct Record {
    core: Cell<usize>,
    /// Counts events.
    noted: Cell<usize>,
    events: [Cell<Event>; RECORDED_EVENTS],
}

thread_local! {
    // Made by the compiler and never dropped: neither a first use nor the end of the thread costs anything.
    static RECORD: Record = const {
        Record {
            core: Cell::new(0),
            noted: Cell::new(0),
            events: [const { Cell::new(Event::Nothing) }; RECORDED_EVENTS],
        }
    };
}

/// This thread is that of a core from now on.
pub fn begin(core: usize) {
    RECORD.with(|record| record.core.set(core));
    panics::call_witness(tell);
}

/// What was received on a connection is acted on.
#[inline]
pub fn chunk(now_ms: u64, conn: ConnNo, chunk: &[u8]) {
    note(Event::Chunk { at_ms: now_ms as u32, conn: conn.at() as u32, bytes: chunk.len() as u32 });
}

/// There is a header in that chunk.
#[inline]
pub fn pdu(header: &Bhs) {
    // The compiler sees that the range is inside and leaves plain moves; the default is never taken.
    let tags = header[TAGS..].first_chunk().copied().unwrap_or_default();
    note(Event::Pdu(header[0], bhs::operation_code(header), tags));
}

/// An operation of the ring is over. (Receives and sends are left out: PDUs tell of them.)
#[inline]
pub fn completed(now_ms: u64, completion: &Completion) {
    let (at_ms, user_data, result) = (now_ms as u32, completion.user_data, completion.result);
    note(Event::Completed { at_ms, user_data, result });
}

/// A job is about to be polled.
#[inline]
pub fn job(number: usize) {
    note(Event::Job(number as u64));
}

/// A message is about to be acted on.
pub fn message(name: &'static str) {
    note(Event::Message(name));
}

#[inline]
fn note(event: Event) {
    RECORD.with(|record| {
        let number = record.noted.get();
        record.noted.set(number.wrapping_add(1));
        record.events[number % RECORDED_EVENTS].set(event);
    });
}

/// What a panic calls: writes the events to `text`, the newest last.
fn tell(text: &mut String) {
    RECORD.with(|record| {
        let newest = record.noted.get();
        let _ = writeln!(text, "ringsan: the last events of core {}, the newest last:", record.core.get());
        for number in newest..newest + RECORDED_EVENTS {
            match record.events[number % RECORDED_EVENTS].get() {
                Event::Nothing => {}
                event => drop(writeln!(text, "ringsan: {event}")),
            }
        }
    });
}

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Event::Nothing => Ok(()),
            Event::Chunk { at_ms, conn, bytes } => write!(f, "{at_ms} ms: {bytes} bytes of connection {conn}"),
            Event::Pdu(first, operation, tags) => {
                let mut header: Bhs = [0; BHS_LEN];
                header[0] = first;
                header[TAGS..TAGS + TAGS_LEN].copy_from_slice(&tags);
                let opcode = bhs::opcode(&header);
                write!(f, "{opcode} itt={:#x}", bhs::itt(&header).0)?;
                match opcode {
                    Opcode::SCSI_COMMAND => write!(f, " lun={} cdb={operation:02x}", bhs::lun(&header)),
                    Opcode::TASK_MANAGEMENT_REQUEST | Opcode::SCSI_DATA_OUT => write!(f, " lun={}", bhs::lun(&header)),
                    _ => Ok(()),
                }
            }
            Event::Completed { at_ms, user_data, result } => {
                write!(f, "{at_ms} ms: {} over: {result}", Operation(user_data))
            }
            Event::Job(number) => write!(f, "job {number}"),
            Event::Message(name) => write!(f, "message {name}"),
        }
    }
}

/// An operation of the ring, by its `user_data`.
struct Operation(u64);

impl Display for Operation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Source::name_of(self.0), self.0 & Source::NUMBER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Vec<String> {
        let mut text = String::new();
        tell(&mut text);
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_last_events_are_kept_and_the_newest_is_told_last() {
        begin(3);
        for number in 0..RECORDED_EVENTS + 3 {
            job(number);
        }
        chunk(1250, ConnNo::new(2), &[0; BHS_LEN]);
        let mut header = [0; BHS_LEN];
        (header[0], header[9], header[19], header[32]) = (0x41, 5, 7, 0x28);
        pdu(&header);
        let lines = told();
        assert_eq!(lines[0], "ringsan: the last events of core 3, the newest last:");
        assert_eq!((&*lines[1], lines.len()), ("ringsan: job 5", 1 + RECORDED_EVENTS));
        let last = ["ringsan: 1250 ms: 48 bytes of connection 2", "ringsan: SCSI Command itt=0x7 lun=5 cdb=28"];
        assert_eq!(lines[RECORDED_EVENTS - 1..], last);
    }

    #[test]
    fn of_a_header_nothing_is_told_but_what_is_named() {
        for opcode in 0..=u8::MAX {
            let [one, other] = [0xa5, 0x5a].map(|data| {
                let mut header = [data; BHS_LEN];
                (header[0], header[32]) = (opcode, 0x28);
                header[8..20].fill(1);
                pdu(&header);
                told().pop()
            });
            assert_eq!(one, other);
        }
    }
}
