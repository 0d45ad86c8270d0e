//! One connection of a session: its parameters, its status numbers, its timers.

use super::params::Params;
use super::recovery::{Kept, Responses};
use super::state::ConnState;
use crate::limits::TASKS_PER_SESSION;
use crate::wire::{Cid, CmdSn, StatSn, Ttt};

/// How far an ExpStatSN may lie beyond the next StatSN to be taken for the miscount of an initiator. One that lies
/// further is taken for something else, and not believed.
const BEYOND: u32 = TASKS_PER_SESSION as u32;

/// A connection that has just finished its login.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionInit {
    /// Its CID.
    pub cid: Cid,
    /// What was negotiated; digests and segment lengths are this connection's own.
    pub params: Params,
    /// The StatSN of its next response.
    pub stat_sn: StatSn,
    /// The CmdSN of the login: the first one expected in full feature phase, if this is the leading connection.
    pub exp_cmd_sn: CmdSn,
}

/// A NOP-In that waits for its NOP-Out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ping {
    pub ttt: Ttt,
    pub sent_ms: u64,
}

/// State of one connection in full feature phase.
pub(super) struct Connection {
    /// Which one of the session it is: unlike slots and CIDs, it is not used again.
    pub number: u32,
    pub cid: Cid,
    pub params: Params,
    pub state: ConnState,
    /// The StatSN that the next status gets. Changed in `stamp` only.
    pub stat_sn: StatSn,
    /// The last ExpStatSN received: every status before it has arrived.
    pub exp_stat_sn: StatSn,
    pub last_rx_ms: u64,
    pub ping: Option<Ping>,
    /// When the time is over that the initiator has to log out, milliseconds; `None`: it was not asked to.
    pub logout_by_ms: Option<u64>,
    /// `begin` had the data segment of the current PDU read over, so `finish` cannot take the PDU.
    pub rx_discarded: bool,
    /// The longest Data-In, and the longest sequence of them, in bytes; both multiples of four.
    pub data_in_bytes: u32,
    pub burst_bytes: u32,
    /// `kept`: responses that may be asked for again. `replays`: responses that go out once the shard has read their
    /// data again. Both are empty at ErrorRecoveryLevel 0.
    pub kept: Responses,
    pub replays: Vec<Kept>,
}

impl Connection {
    pub fn new(init: &ConnectionInit, now_ms: u64) -> Self {
        let mut connection = Connection {
            number: 0,
            cid: init.cid,
            params: init.params,
            state: ConnState::LoggedIn,
            stat_sn: init.stat_sn,
            exp_stat_sn: init.stat_sn,
            last_rx_ms: now_ms,
            ping: None,
            logout_by_ms: None,
            rx_discarded: false,
            data_in_bytes: 0,
            burst_bytes: 0,
            kept: Responses::default(),
            replays: Vec::new(),
        };
        connection.adopt(init.params);
        connection
    }

    /// Puts parameters in force.
    pub fn adopt(&mut self, params: Params) {
        //= RFC 7143 section 11.7.7
        //# The data segments of Data-In and Data-Out PDUs SHOULD be filled to
        //# the integer number of 4-byte words (real payload), unless the F bit
        //# is set to 1.
        //= RFC 7143 section 4.2.2.4
        //# For any read or bidirectional command, a target MUST issue less than
        //# 2**32 combined R2T and Data-In PDUs.
        self.data_in_bytes = (params.own.initiator_max_recv_bytes & !3).max(4);
        self.burst_bytes = (params.max_burst_bytes & !3).max(4);
        self.params = params;
    }

    /// Takes note of an ExpStatSN. One that lies up to `BEYOND` after the next StatSN (some initiators count one too
    /// far) acknowledges all that was sent. One that lies further off is ignored.
    #[inline]
    pub fn acknowledge(&mut self, exp_stat_sn: StatSn) {
        if !exp_stat_sn.le(self.stat_sn) {
            return self.acknowledge_beyond(exp_stat_sn);
        }
        if self.exp_stat_sn.lt(exp_stat_sn) {
            self.exp_stat_sn = exp_stat_sn;
            if !self.kept.is_empty() {
                self.kept.acknowledge(exp_stat_sn);
            }
        }
    }

    /// All responses that are kept: first `kept`, then `replays`. Their number in this order is the place that
    /// `kept_at`, `kept_at_mut` and `take_replay` take.
    pub fn all_kept(&self) -> impl Iterator<Item = &Kept> {
        self.kept.iter().chain(&self.replays)
    }

    /// The response at place `n` of [`all_kept`](Self::all_kept).
    pub fn kept_at(&self, n: usize) -> Option<&Kept> {
        match n.checked_sub(self.kept.len()) {
            Some(n) => self.replays.get(n),
            None => self.kept.get(n),
        }
    }

    /// The response at place `n` of [`all_kept`](Self::all_kept).
    pub fn kept_at_mut(&mut self, n: usize) -> Option<&mut Kept> {
        match n.checked_sub(self.kept.len()) {
            Some(n) => self.replays.get_mut(n),
            None => self.kept.get_mut(n),
        }
    }

    /// Takes the response at place `n` of [`all_kept`](Self::all_kept) out, if it is one of `replays`.
    pub fn take_replay(&mut self, n: usize) -> Option<Kept> {
        let n = n.checked_sub(self.kept.len()).filter(|n| *n < self.replays.len())?;
        Some(self.replays.swap_remove(n))
    }

    #[cold]
    fn acknowledge_beyond(&mut self, exp_stat_sn: StatSn) {
        if exp_stat_sn.le(self.stat_sn.add(BEYOND)) {
            self.acknowledge(self.stat_sn);
        }
    }
}
