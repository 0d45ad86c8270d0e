//! The command window: the only place where a CmdSN is admitted (RFC 7143 section 4.2.2.1).
//!
//! [`Window`] knows which CmdSN is delivered next, which later ones wait for a gap to be plugged, and how many the
//! initiator may send. MaxCmdSN follows from ExpCmdSN and the number of open tasks, so that it can neither move back nor
//! grant more than there are task slots: whenever a task opens, ExpCmdSN moves on by one; whenever one closes, MaxCmdSN
//! does.
//!
//! It does not know what the commands are: a held one is the number of its task slot.

use crate::limits::COMMAND_WINDOW;
use crate::wire::CmdSn;

const RING: usize = COMMAND_WINDOW as usize;
const EMPTY: u16 = 0xffff;
const PLUGGED: u16 = 0xfffe;

const _: () = assert!(COMMAND_WINDOW.is_power_of_two());

/// What becomes of a non-immediate command with a given CmdSN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admit {
    /// It is the next one.
    Deliver,
    /// It is for later: a gap comes before it.
    Hold,
    /// It lies outside the window, or one with this CmdSN was received already.
    Ignore,
}

/// What waits at the CmdSN that is to be delivered next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// A command that was held, in this task slot.
    Slot(usize),
    /// Nothing to deliver: the number was declared as received.
    Plugged,
}

/// ExpCmdSN, MaxCmdSN and the commands in between that came too early.
pub(super) struct Window {
    exp: CmdSn,
    /// Delivered, non-immediate, and still holding a task slot.
    open: u32,
    /// Entries of `ring` that are not empty.
    held: u32,
    ring: [u16; RING],
}

#[inline]
fn at(cmd_sn: CmdSn) -> usize {
    cmd_sn.0 as usize % RING
}

impl Window {
    /// A window whose first command carries `exp`.
    pub fn new(exp: CmdSn) -> Self {
        //= RFC 7143 section 4.2.2.1
        //# iSCSI initiators and targets MUST support the command numbering scheme.
        Window { exp, open: 0, held: 0, ring: [EMPTY; RING] }
    }

    /// ExpCmdSN: the next one to be delivered.
    #[inline]
    pub fn exp_cmd_sn(&self) -> CmdSn {
        self.exp
    }

    /// MaxCmdSN.
    #[inline]
    pub fn max_cmd_sn(&self) -> CmdSn {
        //= RFC 7143 section 4.2.2.1
        //# The target MUST NOT transmit a MaxCmdSN that is less than
        //# ExpCmdSN - 1.
        CmdSn(self.exp.0.wrapping_add(COMMAND_WINDOW.saturating_sub(self.open)).wrapping_sub(1))
    }

    /// Whether `cmd_sn` lies between ExpCmdSN and MaxCmdSN.
    #[inline]
    pub fn contains(&self, cmd_sn: CmdSn) -> bool {
        cmd_sn.distance_from(self.exp) < COMMAND_WINDOW.saturating_sub(self.open)
    }

    /// Judges the CmdSN of a non-immediate command; changes nothing.
    #[inline]
    pub fn admit(&self, cmd_sn: CmdSn) -> Admit {
        //= RFC 7143 section 4.2.2.1
        //# The target
        //# MUST silently ignore any non-immediate command outside of this range
        //# or non-immediate duplicates within the range.
        if !self.contains(cmd_sn) {
            return Admit::Ignore;
        }
        if self.held > 0 && self.entry(cmd_sn) != EMPTY {
            return Admit::Ignore;
        }
        if cmd_sn == self.exp { Admit::Deliver } else { Admit::Hold }
    }

    #[inline]
    fn entry(&self, cmd_sn: CmdSn) -> u16 {
        self.ring.get(at(cmd_sn)).copied().unwrap_or(EMPTY)
    }

    fn set(&mut self, cmd_sn: CmdSn, entry: u16) {
        let Some(place) = self.ring.get_mut(at(cmd_sn)) else { return };
        match (*place == EMPTY, entry == EMPTY) {
            (true, false) => self.held += 1,
            (false, true) => self.held = self.held.saturating_sub(1),
            _ => {}
        }
        *place = entry;
    }

    /// The command at ExpCmdSN is delivered, or passed over.
    #[inline]
    pub fn advance(&mut self) {
        if self.held > 0 {
            self.set(self.exp, EMPTY);
        }
        //= RFC 7143 section 4.2.2.1
        //# There MUST NOT be any holes in the acknowledged CmdSN sequence.
        self.exp = self.exp.next();
    }

    /// A delivered command keeps a task slot. Always together with [`advance`](Self::advance).
    #[inline]
    pub fn opened(&mut self) {
        self.open += 1;
    }

    /// A slot counted by [`opened`](Self::opened) is free again.
    #[inline]
    pub fn closed(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// Keeps a command that [`admit`](Self::admit) wanted to be held.
    pub fn hold(&mut self, cmd_sn: CmdSn, slot: usize) {
        self.set(cmd_sn, slot as u16);
    }

    /// Declares a number of the window as received, with nothing to deliver.
    pub fn plug(&mut self, cmd_sn: CmdSn) {
        if self.contains(cmd_sn) {
            self.set(cmd_sn, PLUGGED);
        }
    }

    /// Makes a number of the window a gap again: the command that was held for it has gone with its connection, or was
    /// rejected.
    pub fn unhold(&mut self, cmd_sn: CmdSn) {
        if self.contains(cmd_sn) {
            self.set(cmd_sn, EMPTY);
        }
    }

    /// Whether nothing was received for this number of the window.
    pub fn is_gap(&self, cmd_sn: CmdSn) -> bool {
        self.contains(cmd_sn) && self.entry(cmd_sn) == EMPTY
    }

    /// What is held for ExpCmdSN; `None`: nothing was received for it.
    #[inline]
    pub fn head(&self) -> Option<Head> {
        if self.held == 0 {
            return None;
        }
        match self.entry(self.exp) {
            EMPTY => None,
            PLUGGED => Some(Head::Plugged),
            slot => Some(Head::Slot(usize::from(slot))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn in_order_held_duplicate_and_outside() {
        let mut w = Window::new(CmdSn(10));
        assert_eq!(w.admit(CmdSn(9)), Admit::Ignore);
        assert_eq!(w.admit(CmdSn(10)), Admit::Deliver);
        assert_eq!(w.admit(CmdSn(12)), Admit::Hold);
        assert_eq!(w.max_cmd_sn(), CmdSn(10 + COMMAND_WINDOW - 1));
        assert_eq!(w.admit(w.max_cmd_sn()), Admit::Hold);
        assert_eq!(w.admit(w.max_cmd_sn().next()), Admit::Ignore);
        w.hold(CmdSn(11), 5);
        assert_eq!(w.admit(CmdSn(11)), Admit::Ignore);
        assert_eq!(w.head(), None);
        w.advance();
        assert_eq!(w.head(), Some(Head::Slot(5)));
        w.advance();
        assert_eq!((w.head(), w.exp_cmd_sn()), (None, CmdSn(12)));
    }

    proptest! {
        // Whatever happens, across the wrap: ExpCmdSN and MaxCmdSN never move back, and MaxCmdSN >= ExpCmdSN - 1.
        #[test]
        fn max_cmd_sn_never_moves_back(start in prop_oneof![Just(u32::MAX - 20), any::<u32>()],
                                       steps in proptest::collection::vec((0u8..4, 0u32..140), 0..400)) {
            let mut w = Window::new(CmdSn(start));
            let (mut open, mut max, mut exp) = (0u32, w.max_cmd_sn(), w.exp_cmd_sn());
            for (what, n) in steps {
                let sn = w.exp_cmd_sn().add(n);
                match what {
                    0 if w.admit(w.exp_cmd_sn()) == Admit::Deliver => { w.advance(); w.opened(); open += 1 }
                    1 if open > 0 => { w.closed(); open -= 1 }
                    2 if w.admit(sn) == Admit::Hold => w.hold(sn, 1),
                    3 => w.plug(sn),
                    _ => {}
                }
                while let Some(head) = w.head() {
                    w.advance();
                    if let Head::Slot(_) = head { w.opened(); open += 1 }
                }
                prop_assert!(open <= COMMAND_WINDOW);
                prop_assert!(max.le(w.max_cmd_sn()) && exp.le(w.exp_cmd_sn()));
                prop_assert!(w.exp_cmd_sn().le(w.max_cmd_sn().next()));
                (max, exp) = (w.max_cmd_sn(), w.exp_cmd_sn());
            }
        }
    }
}
