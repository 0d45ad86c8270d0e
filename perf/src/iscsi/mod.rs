//! The iSCSI initiator of the load generator, on top of `ringsan::wire`.
//!
//! [`login`] opens a session with what Linux asks for and finds the LUN's size, both blocking; [`client`] is what runs
//! afterwards: commands out, data and status in, as a [`Protocol`](crate::protocol::Protocol); [`scsi`] builds the few
//! CDBs and explains sense data.
//!
//! One connection per session, error recovery level 0: whatever goes wrong ends the run, for its figures would mean
//! nothing. The target is checked on the way: StatSN, DataSN, offsets, lengths, residuals and digests.

pub mod client;
pub mod login;
pub mod scsi;

use ringsan::wire::CmdSn;
use ringsan::wire::StatSn;

/// What the login settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// HeaderDigest=CRC32C.
    pub header_digest: bool,
    /// DataDigest=CRC32C.
    pub data_digest: bool,
    /// The target's MaxRecvDataSegmentLength, in bytes.
    pub target_max_recv_len: u32,
    /// FirstBurstLength, in bytes.
    pub first_burst_len: u32,
    /// MaxBurstLength, in bytes.
    pub max_burst_len: u32,
    /// ImmediateData.
    pub immediate_data: bool,
    /// InitialR2T.
    pub initial_r2t: bool,
}

/// What an initiator may rely on before it negotiates (RFC 7143 section 13).
impl Default for Params {
    fn default() -> Self {
        Self {
            header_digest: false,
            data_digest: false,
            target_max_recv_len: 8192,
            first_burst_len: 65_536,
            max_burst_len: 262_144,
            immediate_data: true,
            initial_r2t: true,
        }
    }
}

/// The counters of a session with one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// CmdSN of the next command.
    pub cmd_sn: CmdSn,
    /// StatSN that must come next.
    pub exp_stat_sn: StatSn,
    /// The last CmdSN that the target takes.
    pub max_cmd_sn: CmdSn,
}

impl Counters {
    /// Takes the window from a PDU of the target.
    #[inline]
    pub fn take_window(&mut self, exp_cmd_sn: CmdSn, max_cmd_sn: CmdSn) {
        //= RFC 7143 section 4.2.2.1
        //# If the PDU MaxCmdSN is less than the PDU ExpCmdSN - 1 (in a
        //# Serial Number Arithmetic sense), they are both ignored.
        if max_cmd_sn.next().lt(exp_cmd_sn) {
            return;
        }
        if self.max_cmd_sn.lt(max_cmd_sn) {
            self.max_cmd_sn = max_cmd_sn;
        }
    }

    /// Commands that fit the window now.
    #[inline]
    pub fn window(&self) -> usize {
        if self.cmd_sn.le(self.max_cmd_sn) { self.max_cmd_sn.distance_from(self.cmd_sn) as usize + 1 } else { 0 }
    }

    /// Takes a StatSN that must be the next one.
    #[inline]
    pub fn take_status(&mut self, stat_sn: StatSn) -> bool {
        let expected = self.exp_stat_sn;
        self.exp_stat_sn = stat_sn.next();
        stat_sn == expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_closes_and_wraps() {
        let mut counters = Counters { cmd_sn: CmdSn(u32::MAX), exp_stat_sn: StatSn(1), max_cmd_sn: CmdSn(1) };
        assert_eq!(counters.window(), 3);
        counters.cmd_sn = CmdSn(2);
        assert_eq!(counters.window(), 0);
        // ExpCmdSN beyond MaxCmdSN + 1: both are ignored.
        counters.take_window(CmdSn(9), CmdSn(7));
        assert_eq!(counters.window(), 0);
        counters.take_window(CmdSn(2), CmdSn(33));
        assert_eq!(counters.window(), 32);
        // An older PDU does not shrink the window.
        counters.take_window(CmdSn(2), CmdSn(10));
        assert_eq!(counters.window(), 32);
    }

    #[test]
    fn status_numbers_have_no_gaps() {
        let mut counters = Counters { cmd_sn: CmdSn(1), exp_stat_sn: StatSn(u32::MAX), max_cmd_sn: CmdSn(1) };
        assert!(counters.take_status(StatSn(u32::MAX)) && counters.take_status(StatSn(0)));
        assert!(!counters.take_status(StatSn(2)));
    }
}
