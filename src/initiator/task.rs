//! What a session knows of a command that is under way.

use super::event::{End, Residual, TaskIx};
use super::outbox::DataRef;
use super::runs::Runs;
use crate::wire::{Cid, CmdSn, Itt, Lun, ScsiCommand, StatSn, TaskAttr, Ttt};

/// Generations of a tag: none begins with a byte that tags of requests without a place begin with.
const GENERATIONS: u16 = 0xff00;

/// A status that has come, and waits for data that is missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) stat_sn: StatSn,
    pub(super) response: u8,
    pub(super) status: u8,
    pub(super) status_qualifier: u16,
    pub(super) residual: Residual,
    pub(super) bidi_residual: Residual,
    /// Data-In PDUs that were sent; of a write it counts R2Ts, and is 0 here.
    pub(super) data_ins: u32,
}

impl Kept {
    /// `data`: that of the response.
    #[inline]
    pub(super) fn end<'a>(&self, received_bytes: u32, data: &'a [u8]) -> End<'a> {
        End {
            response: self.response,
            status: self.status,
            status_qualifier: self.status_qualifier,
            residual: self.residual,
            bidi_residual: self.bidi_residual,
            received_bytes,
            data,
        }
    }
}

/// Data that the target wants acknowledged: up to which DataSN and byte, and what goes into the SNACK.
#[derive(Debug, Clone, Copy)]
pub(super) struct AckDue {
    pub(super) data_sn: u32,
    pub(super) bytes: u32,
    pub(super) ttt: Ttt,
    pub(super) lun: Lun,
}

/// What ErrorRecoveryLevel 1 and 2 need of a command.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// Data-In by DataSN, and R2Ts by R2TSN.
    pub(super) data: Runs,
    pub(super) r2ts: Runs,
    /// The command was reassigned: with which R2TSN the target goes on is not known.
    pub(super) any_r2t: bool,
    /// The DataSN and the byte up to which data is acknowledged.
    pub(super) acked: (u32, u32),
    pub(super) ack_due: Option<AckDue>,
    pub(super) kept: Option<Kept>,
    /// The data of that response.
    pub(super) data_of_response: Vec<u8>,
    /// The tag of the TASK REASSIGN that is not answered yet.
    pub(super) reassign: Option<Itt>,
}

/// A place for a command.
#[derive(Debug)]
pub(super) struct Task {
    /// The tag of the command that is under way.
    pub(super) itt: Option<Itt>,
    uses: u16,
    /// The connection that it is allegiant to, and whether that still stands.
    pub(super) cid: Cid,
    pub(super) is_allegiant: bool,
    pub(super) command: ScsiCommand,
    pub(super) ahs: Vec<u8>,
    pub(super) read_bytes: u32,
    pub(super) write_bytes: u32,
    pub(super) data: DataRef,
    /// Of what it writes, bytes that go with the command, and that go unasked in all.
    pub(super) unasked: (u32, u32),
    pub(super) received_bytes: u32,
    pub(super) next_data_sn: u32,
    pub(super) next_r2t_sn: u32,
    /// When something was last heard of it.
    pub(super) since_ms: u64,
    /// The tag of the ABORT TASK that is not answered yet.
    pub(super) abort: Option<Itt>,
    /// Apart, for it is not looked at with ErrorRecoveryLevel 0.
    pub(super) recovery: Box<Recovery>,
}

impl Task {
    pub(super) fn free() -> Task {
        let nothing = ScsiCommand {
            immediate_delivery: false,
            is_final: true,
            read: false,
            write: false,
            attr: TaskAttr::UNTAGGED,
            priority: 0,
            total_ahs_words: 0,
            data_segment_len: 0,
            lun: Lun::default(),
            itt: Itt::RESERVED,
            edtl_bytes: 0,
            cmd_sn: CmdSn(0),
            exp_stat_sn: StatSn(0),
            cdb: [0; 16],
        };
        Task {
            itt: None,
            uses: 0,
            cid: Cid(0),
            is_allegiant: false,
            command: nothing,
            ahs: Vec::new(),
            read_bytes: 0,
            write_bytes: 0,
            data: DataRef(0),
            unasked: (0, 0),
            received_bytes: 0,
            next_data_sn: 0,
            next_r2t_sn: 0,
            since_ms: 0,
            abort: None,
            recovery: Box::default(),
        }
    }

    /// A tag for the next command of this place: the place in the low half, a generation in the high one, so that an answer
    /// to a command of the past is recognised.
    #[inline]
    pub(super) fn tag(&mut self, ix: TaskIx) -> Itt {
        self.uses = (self.uses + 1) % GENERATIONS;
        //= RFC 7143 section 11.2.1.8
        //# An ITT value of 0xffffffff is reserved and MUST NOT be assigned for a
        //# task by the initiator.
        let itt = Itt(u32::from(self.uses) << 16 | u32::from(ix.0));
        self.itt = Some(itt);
        itt
    }

    /// Whether all data that came before this status is there.
    #[inline]
    pub(super) fn is_whole(&self, kept: &Kept) -> bool {
        self.recovery.data.is_whole(kept.data_ins)
    }

    /// Nothing has come of it yet.
    #[inline]
    pub(super) fn reset(&mut self, has_recovery: bool) {
        (self.received_bytes, self.next_data_sn, self.next_r2t_sn) = (0, 0, 0);
        self.abort = None;
        if has_recovery {
            self.recovery.data.clear();
            self.recovery.r2ts.clear();
            self.recovery.any_r2t = false;
            self.recovery.acked = (0, 0);
            (self.recovery.ack_due, self.recovery.kept, self.recovery.reassign) = (None, None, None);
        }
    }
}
