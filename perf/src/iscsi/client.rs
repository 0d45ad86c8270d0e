//! The full feature phase as a [`Protocol`]: the initiator of `ringsan::initiator`, driven by the engine's sockets.
//!
//! The place of a command in its session is the engine's slot. Read data is looked at where it was received, and what is
//! written stays in the engine's area until it is sent.

use super::CID;
use super::scsi::{self, Sense, status};
use crate::pattern;
use crate::protocol::{Context, Done, Failure, Outcome, Protocol};
use crate::tx::TxQueue;
use crate::workload::{Io, Operation};
use ringsan::initiator::command::Command;
use ringsan::initiator::event::{End, Event, Residual, Sink, TaskIx};
use ringsan::initiator::outbox::{DataRef, Digests, Outbox, Outgoing, Payload};
use ringsan::initiator::receive::Receiver;
use ringsan::initiator::session::Session;
use ringsan::wire::bhs;
use ringsan::wire::digest;
use ringsan::wire::{AsyncEvent, Itt, LogoutReason, Lun, ScsiResponse};

/// One session with one connection.
pub struct IscsiClient {
    session: Session,
    receiver: Receiver,
    lun: Lun,
    block_len: u32,
    ios: Vec<Io>,
    ping: Option<Itt>,
    failed: Option<Failure>,
    way_out: WayOut,
}

/// What turns PDUs into pieces of the queue.
struct WayOut {
    digests: Digests,
    /// Digests of payload pieces (offset, length), as long as the payload never changes.
    known: Option<Vec<(usize, usize, [u8; 4])>>,
}

/// What the session needs while it sends: its outbox.
struct Queue<'a> {
    way_out: &'a mut WayOut,
    area: &'a [u8],
    tx: &'a mut TxQueue,
}

/// And while it receives.
struct Host<'a, 'c> {
    queue: Queue<'a>,
    ios: &'a [Io],
    ping: Option<Itt>,
    verify: bool,
    done: &'c mut Vec<Done>,
    failed: &'a mut Option<Failure>,
}

impl IscsiClient {
    /// Goes on after the login. `constant_payload`: what is written stands still, so its digests need computing once.
    pub fn new(
        session: Session,
        receiver: Receiver,
        digests: Digests,
        lun: Lun,
        block_len: u32,
        depth: usize,
        constant_payload: bool,
    ) -> Self {
        let way_out = WayOut { digests, known: constant_payload.then(Vec::new) };
        let ios = vec![Io::default(); depth];
        Self { session, receiver, lun, block_len: block_len.max(1), ios, ping: None, failed: None, way_out }
    }
}

impl WayOut {
    fn data_digest(&mut self, at: usize, data: &[u8]) -> [u8; 4] {
        let compute = || digest::data_digest(data);
        let Some(known) = &mut self.known else { return compute() };
        if let Some(&(_, _, digest)) = known.iter().find(|&&(a, len, _)| (a, len) == (at, data.len())) {
            return digest;
        }
        let digest = compute();
        known.push((at, data.len(), digest));
        digest
    }
}

impl Outbox for Queue<'_> {
    #[inline]
    fn pdu(&mut self, pdu: &Outgoing<'_>) {
        let digests = self.way_out.digests;
        self.tx.header(&pdu.bhs);
        if !pdu.ahs.is_empty() {
            self.tx.header(pdu.ahs);
        }
        if digests.header {
            self.tx.header(&digest::header_digest(&pdu.bhs, pdu.ahs));
        }
        match pdu.payload {
            Payload::Data { at, len } => self.data(at.0 as usize, len as usize),
            // Pings and logouts have none, and texts are not sent.
            Payload::Bytes(_) | Payload::None => {}
        }
    }
}

impl Queue<'_> {
    fn data(&mut self, at: usize, len: usize) {
        self.tx.payload(at, len);
        let padding = &[0; 3][..bhs::padding(len)];
        if !padding.is_empty() {
            self.tx.header(padding);
        }
        if self.way_out.digests.data {
            let digest = self.way_out.data_digest(at, &self.area[at..at + len]);
            self.tx.header(&digest);
        }
    }
}

impl Outbox for Host<'_, '_> {
    #[inline]
    fn pdu(&mut self, pdu: &Outgoing<'_>) {
        self.queue.pdu(pdu);
    }
}

impl Sink for Host<'_, '_> {
    #[inline]
    fn data_in(&mut self, task: TaskIx, offset: u32, bytes: &[u8]) {
        if self.verify {
            let io = &self.ios[usize::from(task.0)];
            if let Err(wrong) = pattern::check(bytes, io.offset + u64::from(offset), io.generation) {
                self.fail(wrong);
            }
        }
    }

    #[inline]
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Ended { task, end, .. } => self.ended(task, &end),
            other => self.other(&other),
        }
    }
}

impl Host<'_, '_> {
    #[cold]
    fn other(&mut self, event: &Event<'_>) {
        match event {
            Event::Pong { itt, .. } if self.ping == Some(*itt) => {
                self.done.push(Done { slot: 0, outcome: Outcome::Pong });
            }
            Event::Pong { itt, .. } => self.fail(format!("a NOP-In that nobody asked for: {itt}")),
            Event::Message(pdu, _) if pdu.event == AsyncEvent::SCSI_ASYNC_EVENT => {}
            Event::Message(pdu, _) => self.fail(format!("the target announces: {}", pdu.event)),
            Event::Rejected { reason, header } => {
                let what = header.map_or("nothing".into(), |header| bhs::opcode(header).to_string());
                self.fail(format!("the target rejects a {what}: {reason}"));
            }
            Event::LoggedOut { .. } => {}
            other => self.fail(format!("unexpected: {other:?}")),
        }
    }

    #[cold]
    fn fail(&mut self, what: String) {
        self.failed.get_or_insert(Failure(what));
    }

    fn ended(&mut self, task: TaskIx, end: &End<'_>) {
        let io = self.ios[usize::from(task.0)];
        let outcome = match end.status {
            _ if end.response != ScsiResponse::COMMAND_COMPLETED => None,
            status::GOOD => {
                let missing = io.operation == Operation::Read && end.received_bytes != io.len;
                (end.residual == Residual::None && !missing).then_some(Outcome::Good)
            }
            status::CHECK_CONDITION => {
                let attention = Sense::parse(end.data).is_some_and(Sense::is_unit_attention);
                attention.then_some(Outcome::Retry)
            }
            status::BUSY | status::TASK_SET_FULL => Some(Outcome::Retry),
            _ => None,
        };
        if let Some(outcome) = outcome {
            return self.done.push(Done { slot: task.0.into(), outcome });
        }
        let sense = Sense::parse(end.data).map(|sense| format!(", {sense}")).unwrap_or_default();
        self.fail(format!(
            "{:?} of {} bytes at byte {} failed: response {}, status {:#04x}, {} bytes received, residual {:?}{sense}",
            io.operation, io.len, io.offset, end.response, end.status, end.received_bytes, end.residual
        ));
    }
}

/// Bytes that the command moves over the wire: a WRITE SAME sends one block.
fn transfer_len(io: &Io, block_len: u32) -> u32 {
    if io.operation == Operation::WriteSame { block_len } else { io.len }
}

impl Protocol for IscsiClient {
    #[inline]
    fn window(&self) -> usize {
        self.session.window.room() as usize
    }

    fn issue(&mut self, slot: u32, io: &Io, payload_at: usize, area: &[u8], tx: &mut TxQueue) {
        self.ios[slot as usize] = *io;
        let (lba, blocks) = (io.offset / u64::from(self.block_len), io.len / self.block_len);
        let total = transfer_len(io, self.block_len);
        let cdb = match io.operation {
            Operation::Read => scsi::read(lba, blocks),
            Operation::Write => scsi::write(lba, blocks),
            Operation::WriteSame => scsi::write_same_16(lba, blocks),
        };
        let command = Command::new(self.lun, &cdb);
        let command = match io.operation {
            Operation::Read => command.reading(total),
            _ => command.writing(total, DataRef(payload_at as u64)),
        };
        let mut queue = Queue { way_out: &mut self.way_out, area, tx };
        if let Err(refused) = self.session.issue(CID, TaskIx(slot as u16), &command, &mut queue) {
            self.failed.get_or_insert(Failure(refused.to_string()));
        }
    }

    fn receive(&mut self, bytes: &[u8], context: &mut Context, tx: &mut TxQueue) -> Result<(), Failure> {
        let mut host = Host {
            queue: Queue { way_out: &mut self.way_out, area: context.area, tx },
            ios: &self.ios,
            ping: self.ping,
            verify: context.verify,
            done: context.done,
            failed: &mut self.failed,
        };
        let broken = self.receiver.receive(bytes, CID, &mut self.session, &mut host);
        broken.map_err(|error| Failure(error.to_string()))?;
        self.failed.take().map_or(Ok(()), Err)
    }

    fn ping(&mut self, tx: &mut TxQueue) {
        self.ping = self.session.ping(CID, &[], &mut Queue { way_out: &mut self.way_out, area: &[], tx });
    }

    fn part(&mut self, tx: &mut TxQueue) {
        let mut queue = Queue { way_out: &mut self.way_out, area: &[], tx };
        self.session.logout(CID, LogoutReason::CLOSE_SESSION, CID, &mut queue);
    }
}

#[cfg(test)]
mod tests;
