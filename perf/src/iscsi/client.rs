//! The full feature phase as a [`Protocol`]: commands and data out, data and status in.
//!
//! Received bytes are taken as they come: a PDU's data is looked at piece by piece and never gathered, except for
//! the small segments of answers that are not read data. The Initiator Task Tag is the slot with a generation, so a
//! status that comes twice, or for a command of the past, is noticed.

use super::scsi;
use super::{Counters, Params};
use crate::pattern;
use crate::protocol::{Context, Failure, Protocol};
use crate::tx::TxQueue;
use crate::workload::{Io, Operation};
use ringsan::wire::bhs::{self, BHS_LEN, Bhs, Opcode};
use ringsan::wire::{Cid, DataIn, DataOut, DataSn, Itt, LogoutReason, LogoutRequest, Lun, ScsiCommand, TaskAttr, Ttt};

mod answers;

/// Data segments that are gathered (sense, text, rejected headers) are at most this long, in bytes.
const MAX_SIDE_LEN: usize = 64 << 10;
const PING_ITT: Itt = Itt(0xfffe_0000);
const LOGOUT_ITT: Itt = Itt(0xfffd_0000);

#[derive(Clone, Copy, Default)]
struct Slot {
    io: Io,
    /// The tag of the command that is outstanding.
    itt: Option<Itt>,
    uses: u16,
    /// Bytes of a read that have come, and Data-In PDUs.
    received: u32,
    data_sn: u32,
    payload_at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    Data,
    Tail,
}

/// The PDU that is being received.
struct Incoming {
    stage: Stage,
    /// Header and its digest, if they came in pieces.
    head: [u8; BHS_LEN + 4],
    have: usize,
    bhs: Bhs,
    data_len: usize,
    data_taken: usize,
    /// Padding and data digest.
    tail: [u8; 8],
    tail_len: usize,
    crc: u32,
    /// Where read data belongs; `None`: into `side`.
    slot: Option<u32>,
    side: Vec<u8>,
}

/// One session with one connection.
pub struct IscsiClient {
    params: Params,
    counters: Counters,
    lun: Lun,
    block_len: u32,
    slots: Vec<Slot>,
    incoming: Incoming,
    /// Digests of payload pieces (offset, length), as long as the payload never changes.
    digests: Option<Vec<(usize, usize, u32)>>,
}

impl IscsiClient {
    /// Goes on after the login. `constant_payload`: what is written stands still, so its digests need computing once.
    pub fn new(
        params: Params,
        counters: Counters,
        lun: Lun,
        block_len: u32,
        depth: usize,
        constant_payload: bool,
    ) -> Self {
        let incoming = Incoming {
            stage: Stage::Header,
            head: [0; BHS_LEN + 4],
            have: 0,
            bhs: [0; BHS_LEN],
            data_len: 0,
            data_taken: 0,
            tail: [0; 8],
            tail_len: 0,
            crc: 0,
            slot: None,
            side: Vec::new(),
        };
        let slots = vec![Slot::default(); depth];
        let digests = constant_payload.then(Vec::new);
        Self { params, counters, lun, block_len: block_len.max(1), slots, incoming, digests }
    }

    /// Queues a PDU whose data, if any, lies in the payload area.
    #[inline]
    fn send(&mut self, header: &Bhs, payload: Option<(usize, usize)>, area: &[u8], tx: &mut TxQueue) {
        tx.header(header);
        if self.params.header_digest {
            tx.header(&crc32c::crc32c(header).to_le_bytes());
        }
        let Some((at, len)) = payload else { return };
        tx.payload(at, len);
        let padding = &[0; 3][..bhs::padding(len)];
        if !padding.is_empty() {
            tx.header(padding);
        }
        if self.params.data_digest && len > 0 {
            let digest = self.payload_digest(at, len, area, padding);
            tx.header(&digest.to_le_bytes());
        }
    }

    fn payload_digest(&mut self, at: usize, len: usize, area: &[u8], padding: &[u8]) -> u32 {
        let compute = || crc32c::crc32c_append(crc32c::crc32c(&area[at..at + len]), padding);
        let Some(known) = &mut self.digests else { return compute() };
        if let Some(&(_, _, digest)) = known.iter().find(|&&(a, l, _)| (a, l) == (at, len)) {
            return digest;
        }
        let digest = compute();
        known.push((at, len, digest));
        digest
    }

    /// Sends `range` of the command's data, in as many PDUs as the target wants, the last one with the F bit.
    fn send_data(&mut self, slot: u32, ttt: Ttt, range: std::ops::Range<u32>, area: &[u8], tx: &mut TxQueue) {
        let Slot { itt, payload_at, .. } = self.slots[slot as usize];
        let Some(itt) = itt else { return };
        let (mut offset, mut data_sn) = (range.start, 0);
        while offset < range.end {
            let len = (range.end - offset).min(self.params.target_max_recv_len);
            let pdu = DataOut {
                is_final: offset + len == range.end,
                data_segment_len: len,
                lun: self.lun,
                itt,
                ttt,
                exp_stat_sn: self.counters.exp_stat_sn,
                data_sn: DataSn(data_sn),
                buffer_offset: offset,
            };
            let mut header = [0; BHS_LEN];
            pdu.emit(&mut header);
            self.send(&header, Some((payload_at + offset as usize, len as usize)), area, tx);
            offset += len;
            data_sn += 1;
        }
    }

    /// A whole header is there: decides where its data goes.
    #[inline]
    fn begin(&mut self, header: &Bhs) -> Result<(), Failure> {
        let incoming = &mut self.incoming;
        incoming.bhs = *header;
        incoming.data_len = bhs::data_segment_len(header);
        incoming.data_taken = 0;
        incoming.crc = 0;
        incoming.slot = None;
        if bhs::total_ahs_len_bytes(header) != 0 {
            return Err(Failure(format!("{} with an AHS", bhs::opcode(header))));
        }
        if bhs::opcode(header) != Opcode::SCSI_DATA_IN {
            incoming.side.clear();
            if incoming.data_len > MAX_SIDE_LEN {
                return Err(Failure(format!("{} with {} bytes of data", bhs::opcode(header), incoming.data_len)));
            }
            return Ok(());
        }
        let pdu = DataIn::parse(header).map_err(broken)?;
        let (index, slot) = find(&mut self.slots, pdu.itt)?;
        let end = u64::from(pdu.buffer_offset) + u64::from(pdu.data_segment_len);
        let right = slot.io.operation == Operation::Read
            && pdu.buffer_offset == slot.received
            && pdu.data_sn.0 == slot.data_sn
            && end <= u64::from(slot.io.len);
        if !right {
            return Err(Failure(format!(
                "unexpected {pdu:?}: {} bytes in {} PDUs came before, of {}",
                slot.received, slot.data_sn, slot.io.len
            )));
        }
        incoming.slot = Some(index);
        Ok(())
    }

    #[inline]
    fn take_data(&mut self, data: &[u8], verify: bool) -> Result<(), Failure> {
        let incoming = &mut self.incoming;
        if self.params.data_digest {
            incoming.crc = crc32c::crc32c_append(incoming.crc, data);
        }
        match incoming.slot {
            None => incoming.side.extend_from_slice(data),
            Some(slot) if verify => {
                let slot = &self.slots[slot as usize];
                let at = slot.io.offset + u64::from(slot.received) + incoming.data_taken as u64;
                pattern::check(data, at, slot.io.generation).map_err(Failure)?;
            }
            Some(_) => {}
        }
        incoming.data_taken += data.len();
        Ok(())
    }

    fn check_tail(&mut self) -> Result<(), Failure> {
        let incoming = &self.incoming;
        if self.params.data_digest {
            let padding = bhs::padding(incoming.data_len);
            let (padding, digest) = incoming.tail[..incoming.tail_len].split_at(padding);
            let crc = crc32c::crc32c_append(incoming.crc, padding);
            if digest != crc.to_le_bytes() {
                return Err(Failure(format!("wrong data digest in {}", bhs::opcode(&incoming.bhs))));
            }
        }
        Ok(())
    }
}

/// Bytes that the command moves over the wire: a WRITE SAME sends one block.
fn transfer_len(io: &Io, block_len: u32) -> u32 {
    if io.operation == Operation::WriteSame { block_len } else { io.len }
}

#[inline]
fn find(slots: &mut [Slot], itt: Itt) -> Result<(u32, &mut Slot), Failure> {
    let index = itt.0 & 0xffff;
    match slots.get_mut(index as usize) {
        Some(slot) if slot.itt == Some(itt) => Ok((index, slot)),
        _ => Err(Failure(format!("no command has the Initiator Task Tag {itt}"))),
    }
}

#[cold]
fn broken(error: ringsan::wire::WireError) -> Failure {
    Failure(error.to_string())
}

impl Protocol for IscsiClient {
    #[inline]
    fn window(&self) -> usize {
        self.counters.window()
    }

    fn issue(&mut self, slot: u32, io: &Io, payload_at: usize, area: &[u8], tx: &mut TxQueue) {
        let state = &mut self.slots[slot as usize];
        state.uses = (state.uses + 1) % 0xff00;
        let itt = Itt(u32::from(state.uses) << 16 | slot);
        *state = Slot { io: *io, itt: Some(itt), uses: state.uses, received: 0, data_sn: 0, payload_at };
        let (lba, blocks) = (io.offset / u64::from(self.block_len), io.len / self.block_len);
        let (write, cdb) = match io.operation {
            Operation::Read => (false, scsi::read(lba, blocks)),
            Operation::Write => (true, scsi::write(lba, blocks)),
            Operation::WriteSame => (true, scsi::write_same_16(lba, blocks)),
        };
        let total = transfer_len(io, self.block_len);
        let params = self.params;
        let first_burst = if write { total.min(params.first_burst_len) } else { 0 };
        let immediate = if params.immediate_data { first_burst.min(params.target_max_recv_len) } else { 0 };
        let unsolicited = if params.initial_r2t { immediate } else { first_burst };
        let pdu = ScsiCommand {
            immediate_delivery: false,
            is_final: unsolicited == immediate,
            read: !write,
            write,
            attr: TaskAttr::SIMPLE,
            priority: 0,
            total_ahs_words: 0,
            data_segment_len: immediate,
            lun: self.lun,
            itt,
            edtl_bytes: total,
            cmd_sn: self.counters.cmd_sn,
            exp_stat_sn: self.counters.exp_stat_sn,
            cdb,
        };
        self.counters.cmd_sn = self.counters.cmd_sn.next();
        let mut header = [0; BHS_LEN];
        pdu.emit(&mut header);
        let payload = (immediate > 0).then_some((payload_at, immediate as usize));
        self.send(&header, payload, area, tx);
        self.send_data(slot, Ttt::RESERVED, immediate..unsolicited, area, tx);
    }

    fn receive(&mut self, mut bytes: &[u8], context: &mut Context, tx: &mut TxQueue) -> Result<(), Failure> {
        let head_len = BHS_LEN + if self.params.header_digest { 4 } else { 0 };
        while !bytes.is_empty() {
            match self.incoming.stage {
                Stage::Header => {
                    let whole = bytes.first_chunk::<BHS_LEN>().filter(|_| self.incoming.have == 0);
                    if let Some(header) = whole.filter(|_| bytes.len() >= head_len) {
                        check_header_digest(header, &bytes[BHS_LEN..head_len])?;
                        bytes = &bytes[head_len..];
                        self.begin(header)?;
                    } else {
                        let incoming = &mut self.incoming;
                        let take = bytes.len().min(head_len - incoming.have);
                        incoming.head[incoming.have..incoming.have + take].copy_from_slice(&bytes[..take]);
                        incoming.have += take;
                        bytes = &bytes[take..];
                        if incoming.have < head_len {
                            return Ok(());
                        }
                        incoming.have = 0;
                        let head = incoming.head;
                        let Some((header, digest)) = head[..head_len].split_first_chunk() else { return Ok(()) };
                        check_header_digest(header, digest)?;
                        self.begin(header)?;
                    }
                    if self.incoming.data_len == 0 {
                        self.finish(context, tx)?;
                    } else {
                        self.incoming.stage = Stage::Data;
                    }
                }
                Stage::Data => {
                    let take = bytes.len().min(self.incoming.data_len - self.incoming.data_taken);
                    let (data, rest) = bytes.split_at(take);
                    self.take_data(data, context.verify)?;
                    bytes = rest;
                    if self.incoming.data_taken == self.incoming.data_len {
                        self.incoming.tail_len = 0;
                        if self.tail_len() == 0 {
                            self.incoming.stage = Stage::Header;
                            self.finish(context, tx)?;
                        } else {
                            self.incoming.stage = Stage::Tail;
                        }
                    }
                }
                Stage::Tail => {
                    let (have, want) = (self.incoming.tail_len, self.tail_len());
                    let take = bytes.len().min(want - have);
                    self.incoming.tail[have..have + take].copy_from_slice(&bytes[..take]);
                    self.incoming.tail_len += take;
                    bytes = &bytes[take..];
                    if self.incoming.tail_len == want {
                        self.check_tail()?;
                        self.incoming.stage = Stage::Header;
                        self.finish(context, tx)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn ping(&mut self, tx: &mut TxQueue) {
        self.nop_out(PING_ITT, Ttt::RESERVED, Lun::default(), tx);
    }

    fn part(&mut self, tx: &mut TxQueue) {
        let pdu = LogoutRequest {
            immediate_delivery: true,
            reason: LogoutReason::CLOSE_SESSION,
            itt: LOGOUT_ITT,
            cid: Cid(0),
            cmd_sn: self.counters.cmd_sn,
            exp_stat_sn: self.counters.exp_stat_sn,
        };
        let mut header = [0; BHS_LEN];
        pdu.emit(&mut header);
        self.send(&header, None, &[], tx);
    }
}

impl IscsiClient {
    /// Padding and digest after the data that is being received.
    #[inline]
    fn tail_len(&self) -> usize {
        bhs::padding(self.incoming.data_len) + if self.params.data_digest { 4 } else { 0 }
    }
}

#[inline]
fn check_header_digest(header: &Bhs, digest: &[u8]) -> Result<(), Failure> {
    if digest.is_empty() || digest == crc32c::crc32c(header).to_le_bytes() {
        return Ok(());
    }
    Err(Failure(format!("wrong header digest in {}", bhs::opcode(header))))
}

#[cfg(test)]
mod tests;
