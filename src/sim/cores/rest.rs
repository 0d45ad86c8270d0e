//! Whether cores rest: nothing has come that they were not told, and they have nothing to do.

use super::Cores;

impl Cores {
    /// Whether nothing happens before time goes on, or an operation on a medium is over.
    pub fn are_at_rest(&mut self) -> bool {
        self.coming.is_empty() && (0..self.cores.len()).all(|core| self.is_at_rest(core))
    }

    /// Operations on media that are not over.
    pub fn operations(&mut self) -> usize {
        (0..self.cores.len()).map(|core| self.memory(core).media.len()).sum()
    }

    fn is_at_rest(&mut self, core: usize) -> bool {
        let now = self.instant();
        if self.has_mail(core) || self.cores[core].is_busy(now) {
            return false;
        }
        let memory = self.memory(core);
        let lines = |of: &mut dyn Iterator<Item = (_, usize)>| of.map(|(_, line)| line).collect::<Vec<_>>();
        let (receiving, sending) = (lines(&mut memory.receiving()), lines(&mut memory.sending()));
        !memory.is_cancelled()
            && !receiving.into_iter().any(|line| self.has_come(line))
            && !sending.into_iter().any(|line| self.is_taken(line))
    }

    /// Whether something has come for the target, or the end.
    fn has_come(&mut self, line: usize) -> bool {
        let (wire, now_us) = (&mut self.wires[line], self.now_us);
        self.lines[line].receives_no_more() || wire.ends_at_target() || !wire.at_target(now_us).is_empty()
    }

    /// Whether the network takes some of what the target sends, or says that it does not any more.
    fn is_taken(&self, line: usize) -> bool {
        let wire = &self.wires[line];
        let is_over = wire.is_cut || wire.host_closed || self.lines[line].receives_no_more();
        is_over || wire.room(&self.weather) > 0
    }
}
