//! The numbers that an initiator keeps: the command window of a session ([`Window`]), and what it has seen of the statuses
//! of a connection ([`Statuses`]).

use crate::limits;
use crate::wire::bhs::{self, Bhs};
use crate::wire::{CmdSn, Opcode, StatSn};

/// CmdSN, ExpCmdSN and MaxCmdSN of a session (RFC 7143 section 4.2.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// CmdSN of the next command that is not immediate, and of any that is.
    pub cmd_sn: CmdSn,
    /// The last ExpCmdSN of the target.
    pub exp_cmd_sn: CmdSn,
    /// The last CmdSN that the target takes.
    pub max_cmd_sn: CmdSn,
}

impl Window {
    /// Before the target has said anything: there is room for one command.
    pub const fn new(first: CmdSn) -> Window {
        Window { cmd_sn: first, exp_cmd_sn: first, max_cmd_sn: first }
    }

    /// The CmdSN for a request.
    #[inline]
    pub fn take(&mut self, immediate: bool) -> CmdSn {
        let cmd_sn = self.cmd_sn;
        //= RFC 7143 section 4.2.2.1
        //# The CmdSN MUST NOT
        //# advance after a command marked for immediate delivery is sent.
        if !immediate {
            self.cmd_sn = cmd_sn.next();
        }
        cmd_sn
    }

    /// Takes note of what a PDU of the target says.
    #[inline]
    pub fn update(&mut self, exp_cmd_sn: CmdSn, max_cmd_sn: CmdSn) {
        //= RFC 7143 section 4.2.2.1
        //# If the PDU MaxCmdSN is less than the PDU ExpCmdSN - 1 (in a
        //# Serial Number Arithmetic sense), they are both ignored.
        if max_cmd_sn.next().lt(exp_cmd_sn) {
            return;
        }
        //= RFC 7143 section 4.2.2.1
        //# If the PDU MaxCmdSN is greater than the local MaxCmdSN (in a
        //# Serial Number Arithmetic sense), it updates the local MaxCmdSN;
        //# otherwise, it is ignored.
        if self.max_cmd_sn.lt(max_cmd_sn) {
            self.max_cmd_sn = max_cmd_sn;
        }
        if self.exp_cmd_sn.lt(exp_cmd_sn) {
            self.exp_cmd_sn = exp_cmd_sn;
        }
    }

    /// How many commands that are not immediate the target takes now.
    #[inline]
    pub const fn room(&self) -> u32 {
        if self.cmd_sn.le(self.max_cmd_sn) { self.max_cmd_sn.distance_from(self.cmd_sn) + 1 } else { 0 }
    }
}

/// Whether a PDU of a target uses up the StatSN that it carries (RFC 7143 section 4.2.2.2).
#[inline]
pub fn is_numbered(header: &Bhs) -> bool {
    match bhs::opcode(header) {
        Opcode::SCSI_DATA_IN => header.get(1).is_some_and(|flags| flags & 1 != 0),
        Opcode::R2T => false,
        Opcode::NOP_IN => !bhs::itt(header).is_reserved(),
        _ => true,
    }
}

/// How a StatSN that has come stands to those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The next one.
    Next,
    /// There is a gap before it.
    Ahead,
    /// It has come before.
    Again,
}

/// The statuses of one connection (RFC 7143 section 4.2.2.2): which have come, and up to where they are acknowledged.
///
/// With ErrorRecoveryLevel 0 they come in order. Above that there may be gaps, which are filled by SNACK; and a status is not
/// acknowledged before the data that belongs to it is there, for the target keeps that until then.
#[derive(Debug, Clone, Default)]
pub struct Statuses {
    exp_stat_sn: StatSn,
    /// What came beyond it or is not to be acknowledged yet, in order; and whether it may be.
    ahead: Vec<(StatSn, bool)>,
}

impl Statuses {
    /// Of a connection whose next status has this number.
    pub fn new(exp_stat_sn: StatSn) -> Statuses {
        Statuses { exp_stat_sn, ahead: Vec::new() }
    }

    /// ExpStatSN, for what is sent.
    #[inline]
    pub fn exp_stat_sn(&self) -> StatSn {
        self.exp_stat_sn
    }

    /// A status has come. With `whole` it may be acknowledged once all before it are.
    #[inline]
    pub fn arrived(&mut self, stat_sn: StatSn, whole: bool) -> Arrival {
        if stat_sn == self.exp_stat_sn && self.ahead.is_empty() && whole {
            self.exp_stat_sn = stat_sn.next();
            return Arrival::Next;
        }
        self.arrived_otherwise(stat_sn, whole)
    }

    #[cold]
    fn arrived_otherwise(&mut self, stat_sn: StatSn, whole: bool) -> Arrival {
        if stat_sn.lt(self.exp_stat_sn) {
            return Arrival::Again;
        }
        let at = self.ahead.partition_point(|(other, _)| other.lt(stat_sn));
        if self.ahead.get(at).is_some_and(|(other, _)| *other == stat_sn) {
            self.acknowledge(stat_sn, whole);
            return Arrival::Again;
        }
        let last = self.ahead.last().map_or(self.exp_stat_sn, |(last, _)| last.next());
        // Beyond the bound it counts as lost: the gap stays, and is asked for later.
        if self.ahead.len() < limits::INITIATOR_STATUSES {
            self.ahead.insert(at, (stat_sn, whole));
        }
        self.advance();
        if last == stat_sn { Arrival::Next } else { Arrival::Ahead }
    }

    /// What belongs to a status has come, too, if `whole`.
    pub fn acknowledge(&mut self, stat_sn: StatSn, whole: bool) {
        if let Some((_, is_whole)) = self.ahead.iter_mut().find(|(other, _)| *other == stat_sn) {
            *is_whole |= whole;
        }
        self.advance();
    }

    fn advance(&mut self) {
        let next =
            |(at, (stat_sn, whole)): &(usize, &(StatSn, bool))| *whole && *stat_sn == self.exp_stat_sn.add(*at as u32);
        let count = self.ahead.iter().enumerate().take_while(next).count();
        self.ahead.drain(..count);
        self.exp_stat_sn = self.exp_stat_sn.add(count as u32);
    }

    /// The statuses before `upto` that have not come.
    pub fn missing(&self, upto: StatSn) -> impl Iterator<Item = StatSn> + '_ {
        let count = if self.exp_stat_sn.lt(upto) { upto.distance_from(self.exp_stat_sn) } else { 0 };
        let all = (0..count.min(limits::INITIATOR_STATUSES as u32)).map(|n| self.exp_stat_sn.add(n));
        all.filter(|stat_sn| !self.ahead.iter().any(|(other, _)| other == stat_sn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_window_closes_and_wraps() {
        let mut window = Window::new(CmdSn(u32::MAX));
        window.update(CmdSn(u32::MAX), CmdSn(1));
        assert_eq!(window.room(), 3);
        assert_eq!([window.take(true), window.take(false), window.take(false)].map(|sn| sn.0), [u32::MAX, u32::MAX, 0]);
        window.cmd_sn = CmdSn(2);
        assert_eq!(window.room(), 0);
        // ExpCmdSN beyond MaxCmdSN + 1: both are ignored.
        window.update(CmdSn(9), CmdSn(7));
        assert_eq!(window.room(), 0);
        window.update(CmdSn(2), CmdSn(33));
        assert_eq!(window.room(), 32);
        // An older PDU does not shrink the window.
        window.update(CmdSn(2), CmdSn(10));
        assert_eq!((window.room(), window.exp_cmd_sn), (32, CmdSn(2)));
    }

    #[test]
    fn a_status_without_its_data_is_not_acknowledged() {
        let mut statuses = Statuses::new(StatSn(5));
        assert_eq!(statuses.arrived(StatSn(5), false), Arrival::Next);
        assert_eq!(statuses.arrived(StatSn(6), true), Arrival::Next);
        assert_eq!(statuses.exp_stat_sn(), StatSn(5));
        assert_eq!(statuses.missing(StatSn(9)).map(|sn| sn.0).collect::<Vec<_>>(), [7, 8]);
        statuses.acknowledge(StatSn(5), true);
        assert_eq!(statuses.exp_stat_sn(), StatSn(7));
        assert_eq!(statuses.arrived(StatSn(6), true), Arrival::Again);
    }

    proptest! {
        #[test]
        fn all_are_acknowledged_in_any_order(first: u32, order in Just((0..40).collect::<Vec<u32>>()).prop_shuffle()) {
            let mut statuses = Statuses::new(StatSn(first));
            for (n, offset) in order.iter().enumerate() {
                prop_assert!(statuses.arrived(StatSn(first).add(*offset), true) != Arrival::Again);
                let come = &order[..=n];
                let contiguous = (0..40).take_while(|offset| come.contains(offset)).count() as u32;
                prop_assert_eq!(statuses.exp_stat_sn(), StatSn(first).add(contiguous));
                let missing = (contiguous..40).filter(|offset| !come.contains(offset)).map(|n| StatSn(first).add(n));
                prop_assert!(statuses.missing(StatSn(first).add(40)).eq(missing));
            }
        }
    }
}
