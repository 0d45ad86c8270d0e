//! What a call of the executor has set off in the fabric is acted on when the executor has returned.
//!
//! Invariants: the executor calls the fabric as its sink, and the fabric calls nobody back. What such a call has set
//! off is noted in `Fabric::owed` ([`Core::settle_owed`]). Whoever gives the executor something to do sees to that: at the
//! latest it is done at the next step of the turn.

use super::core::Core;
use crate::fabric::owed::Owed;

impl Core {
    /// Acts on what the executor's calls have set off.
    #[inline]
    pub fn settle_owed(&mut self) {
        if self.fabric.owed.are_due() {
            self.act_on_owed();
        }
    }

    /// What was received is acted on: answers the writes whose data is stored, and acts on what that has set off.
    #[inline]
    pub fn settle_received(&mut self) {
        self.executor.settle_stores(&mut self.fabric);
        self.settle_owed();
    }

    /// Copies what is sent from RAM units with a digest, and of the commands that this lets begin, too: nothing is left to
    /// be copied when the core sleeps.
    pub fn copy_ready(&mut self) {
        loop {
            self.executor.copy_ready(&mut self.fabric);
            self.settle_owed();
            if !self.fabric.management.is_empty() {
                self.settle();
            }
            if self.executor.memory.copying.is_empty() {
                return;
            }
        }
    }

    #[cold]
    fn act_on_owed(&mut self) {
        self.fabric.owed.set_settling(true);
        while !self.fabric.owed.is_empty() {
            let mut all = self.fabric.owed.take();
            all.drain(..).for_each(|owed| self.act_on(owed));
            self.fabric.owed.give_back(all);
        }
        self.fabric.owed.set_settling(false);
    }

    fn act_on(&mut self, owed: Owed) {
        match owed {
            Owed::Events(seat) => self.pump(seat),
            Owed::Reread(seat) => {
                self.next_reread(seat);
                self.pump(seat);
            }
            Owed::Preempt(preempting) => self.preempt(*preempting),
        }
    }
}
