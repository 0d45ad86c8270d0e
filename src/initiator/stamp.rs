//! The requests of an initiator as PDUs, given the numbers that go into them. [`Session`](super::session::Session) sends these;
//! who scripts an initiator makes them by itself.

use crate::wire::{
    Cid, CmdSn, DataOut, DataSn, Itt, LogoutReason, LogoutRequest, Lun, NopIn, NopOut, SnackRequest, SnackType, StatSn,
    TaskManagementRequest, TextRequest, TmFunction, Ttt,
};
use std::ops::Range;

/// CmdSN and ExpStatSN of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// CmdSN: of the session. What has none does not use it.
    pub cmd_sn: CmdSn,
    /// ExpStatSN: of the connection.
    pub exp_stat_sn: StatSn,
}

/// A text negotiation that goes on: what the target's last response said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Continued {
    /// The tag of its first request.
    pub itt: Itt,
    /// The target's tag; reserved in the first request.
    pub ttt: Ttt,
    /// To be copied.
    pub lun: Lun,
}

impl Continued {
    /// A negotiation that begins.
    pub const fn new(itt: Itt) -> Continued {
        Continued { itt, ttt: Ttt::RESERVED, lun: Lun([0; 8]) }
    }
}

/// What a task management function, or a SNACK, is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// The logical unit.
    pub lun: Lun,
    /// The tag of the command.
    pub itt: Itt,
    /// The CmdSN of the command.
    pub cmd_sn: CmdSn,
    /// Of TASK REASSIGN: the first Data-In that is not acknowledged.
    pub exp_data_sn: u32,
}

impl About {
    /// A logical unit, and no single command.
    pub const fn unit(lun: Lun) -> About {
        About { lun, itt: Itt::RESERVED, cmd_sn: CmdSn(0), exp_data_sn: 0 }
    }
}

impl Stamp {
    /// A NOP-Out that wants an answer. It is immediate.
    pub fn ping(self, itt: Itt) -> NopOut {
        let Stamp { cmd_sn, exp_stat_sn } = self;
        let (lun, ttt) = (Lun::default(), Ttt::RESERVED);
        NopOut { immediate_delivery: true, data_segment_len: 0, lun, itt, ttt, cmd_sn, exp_stat_sn }
    }

    /// A NOP-Out that answers.
    pub fn pong(self, ping: &NopIn) -> NopOut {
        //= RFC 7143 section 11.18.1
        //# If the Initiator Task Tag contains 0xffffffff, the I bit MUST be set
        //# to 1, and the CmdSN is not advanced after this PDU is sent.
        //= RFC 7143 section 11.18.2
        //# When the Target Transfer Tag is set to a value other than 0xffffffff,
        //# the LUN field MUST also be copied from the NOP-In.
        NopOut { lun: ping.lun, ttt: ping.ttt, ..self.ping(Itt::RESERVED) }
    }

    /// A Text Request, immediate: the last one of its turn, or one whose text goes on (`cont`).
    pub fn text(self, of: Continued, is_final: bool, cont: bool) -> TextRequest {
        let (Stamp { cmd_sn, exp_stat_sn }, Continued { itt, ttt, lun }) = (self, of);
        let (immediate_delivery, data_segment_len) = (true, 0);
        TextRequest { immediate_delivery, is_final, cont, data_segment_len, lun, itt, ttt, cmd_sn, exp_stat_sn }
    }

    /// A task management function.
    pub fn manage(self, itt: Itt, immediate_delivery: bool, function: TmFunction, of: About) -> TaskManagementRequest {
        TaskManagementRequest {
            immediate_delivery,
            function,
            lun: of.lun,
            itt,
            referenced_task_tag: of.itt,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: self.exp_stat_sn,
            ref_cmd_sn: of.cmd_sn,
            exp_data_sn: of.exp_data_sn,
        }
    }

    /// A logout, immediate. `cid`: the connection that is meant.
    pub fn logout(self, itt: Itt, reason: LogoutReason, cid: Cid) -> LogoutRequest {
        let Stamp { cmd_sn, exp_stat_sn } = self;
        LogoutRequest { immediate_delivery: true, reason, itt, cid, cmd_sn, exp_stat_sn }
    }

    /// A SNACK for data or R2Ts of a command, by DataSN or R2TSN; of nothing: for all from there on.
    pub fn data_snack(self, lun: Lun, itt: Itt, run: Range<u32>) -> SnackRequest {
        self.snack(SnackType::DATA_R2T, lun, (itt, Ttt::RESERVED), run)
    }

    /// A SNACK for statuses.
    pub fn status_snack(self, run: Range<u32>) -> SnackRequest {
        //= RFC 7143 section 11.16.4
        //# For a Status SNACK and DataACK, the Initiator Task Tag MUST be set to
        //# the reserved value 0xffffffff.
        self.snack(SnackType::STATUS, Lun::default(), (Itt::RESERVED, Ttt::RESERVED), run)
    }

    /// A DataACK: all before this DataSN has come. `lun` and `ttt` are those of the Data-In that asked for it.
    pub fn data_ack(self, lun: Lun, ttt: Ttt, data_sn: u32) -> SnackRequest {
        self.snack(SnackType::DATA_ACK, lun, (Itt::RESERVED, ttt), data_sn..data_sn)
    }

    fn snack(self, kind: SnackType, lun: Lun, tags: (Itt, Ttt), run: Range<u32>) -> SnackRequest {
        let ((itt, ttt), exp_stat_sn) = (tags, self.exp_stat_sn);
        let (beg_run, run_len) = (run.start, run.end.wrapping_sub(run.start));
        SnackRequest { kind, lun, itt, ttt, exp_stat_sn, beg_run, run_len }
    }

    /// A Data-Out; `to`: the tag and the LUN of the R2T, or neither.
    #[inline]
    pub fn data_out(self, itt: Itt, to: (Ttt, Lun), data_sn: u32, offset: u32, is_final: bool) -> DataOut {
        let ((ttt, lun), exp_stat_sn, data_sn) = (to, self.exp_stat_sn, DataSn(data_sn));
        DataOut { is_final, data_segment_len: 0, lun, itt, ttt, exp_stat_sn, data_sn, buffer_offset: offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{BHS_LEN, Bhs, Pdu};

    const STAMP: Stamp = Stamp { cmd_sn: CmdSn(0x0a0b_0c0d), exp_stat_sn: StatSn(0x0102_0304) };

    /// The bytes that are not 0.
    fn bytes(pdu: impl Into<Pdu>) -> Vec<(usize, u8)> {
        let mut bhs: Bhs = [0; BHS_LEN];
        pdu.into().emit(&mut bhs);
        bhs.into_iter().enumerate().filter(|(_, byte)| *byte != 0).collect()
    }

    fn words(head: &[(usize, u8)], words: &[(usize, u32)]) -> Vec<(usize, u8)> {
        let mut all = head.to_vec();
        for (at, word) in words {
            all.extend(word.to_be_bytes().into_iter().enumerate().map(|(n, byte)| (at + n, byte)));
        }
        all.retain(|(_, byte)| *byte != 0);
        all
    }

    #[test]
    fn golden_requests() {
        const NONE: u32 = u32::MAX;
        const BOTH: [(usize, u32); 2] = [(24, 0x0a0b_0c0d), (28, 0x0102_0304)];
        let ping = words(&[(0, 0x40), (1, 0x80)], &[(16, 7), (20, NONE), BOTH[0], BOTH[1]]);
        assert_eq!(bytes(STAMP.ping(Itt(7))), ping);
        let logout = words(&[(0, 0x46), (1, 0x81)], &[(16, 7), (20, 3 << 16), BOTH[0], BOTH[1]]);
        assert_eq!(bytes(STAMP.logout(Itt(7), LogoutReason::CLOSE_CONNECTION, Cid(3))), logout);
        let snack = words(&[(0, 0x10), (1, 0x81)], &[(16, NONE), (20, NONE), BOTH[1], (40, 5), (44, 2)]);
        assert_eq!(bytes(STAMP.status_snack(5..7)), snack);
        let ack = words(&[(0, 0x10), (1, 0x82), (9, 1)], &[(16, NONE), (20, 9), BOTH[1], (40, 5)]);
        assert_eq!(bytes(STAMP.data_ack(Lun::flat(1), Ttt(9), 5)), ack);
        let out = words(&[(0, 0x05), (1, 0x80), (9, 1)], &[(16, 7), (20, 9), BOTH[1], (36, 2), (40, 512)]);
        assert_eq!(bytes(STAMP.data_out(Itt(7), (Ttt(9), Lun::flat(1)), 2, 512, true)), out);
        let text = words(&[(0, 0x44), (1, 0x40)], &[(16, 7), (20, NONE), BOTH[0], BOTH[1]]);
        assert_eq!(bytes(STAMP.text(Continued::new(Itt(7)), false, true)), text);
        let about = About { itt: Itt(6), cmd_sn: CmdSn(4), ..About::unit(Lun::flat(1)) };
        let abort = words(&[(0, 0x42), (1, 0x81), (9, 1)], &[(16, 7), (20, 6), BOTH[0], BOTH[1], (32, 4)]);
        assert_eq!(bytes(STAMP.manage(Itt(7), true, TmFunction::ABORT_TASK, about)), abort);
    }

    #[test]
    fn an_answer_to_a_ping_has_its_tags() {
        //= RFC 7143 section 11.18.2
        //# When the Target Transfer Tag is set to a value other than 0xffffffff,
        //# the LUN field MUST also be copied from the NOP-In.
        let (itt, ttt, lun) = (Itt::RESERVED, Ttt(5), Lun::flat(2));
        let (stat_sn, exp_cmd_sn, max_cmd_sn) = (StatSn(1), CmdSn(1), CmdSn(1));
        let ping = NopIn { data_segment_len: 0, lun, itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn };
        let pong = STAMP.pong(&ping);
        assert_eq!((pong.itt, pong.ttt, pong.lun, pong.immediate_delivery), (itt, ttt, lun, true));
    }
}
