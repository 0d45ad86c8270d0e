//! What is known of the mode parameters of a unit: hosts set D_SENSE as they like, and others must hear of it if that was a
//! change.

use std::collections::BTreeSet;

/// A MODE SELECT that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Select {
    is_set: bool,
    /// Its place among those of the unit.
    step: u64,
    /// If nothing comes between, it is a change.
    is_change: bool,
    /// When it began, as [`super::attentions::Attentions`] count.
    began: u64,
}

/// What is known of one unit.
#[derive(Debug, Default)]
pub struct Modes {
    /// Whether D_SENSE is set, and since when nothing but a reset can have changed that, milliseconds.
    known: Option<(bool, u64)>,
    step: u64,
    /// Those that are under way.
    open: BTreeSet<u64>,
    /// Up to here none is known to have been alone.
    mixed: u64,
}

impl Modes {
    /// Since when nothing but a reset can have changed what is known, milliseconds.
    pub fn known_since_ms(&self) -> Option<u64> {
        self.known.map(|(_, since_ms)| since_ms)
    }

    /// A host sets D_SENSE, or clears it. `is_reset`: a reset may have come behind what is known.
    pub fn begin(&mut self, is_set: bool, began: u64, is_reset: bool) -> Select {
        self.step += 1;
        if !self.open.is_empty() {
            self.mixed = self.step;
        }
        self.open.insert(self.step);
        let known = self.known.take().filter(|_| !is_reset);
        Select { is_set, step: self.step, is_change: known.is_some_and(|(was, _)| was != is_set), began }
    }

    /// That was answered GOOD, and sent at `since_ms`. When it began, if it was a change for sure.
    pub fn done(&mut self, select: Select, since_ms: u64, is_reset: bool) -> Option<u64> {
        self.open.remove(&select.step);
        if select.step != self.step || select.step <= self.mixed || is_reset {
            return None;
        }
        self.known = Some((select.is_set, since_ms));
        select.is_change.then_some(select.began)
    }

    /// It was not carried out, or nobody knows.
    pub fn lost(&mut self, select: Select) {
        self.open.remove(&select.step);
        self.forget();
    }

    /// Nothing is known any more.
    pub fn forget(&mut self) {
        (self.known, self.mixed) = (None, self.step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nothing_else_can_have_changed_is_known() {
        let mut modes = Modes::default();
        let first = modes.begin(true, 1, false);
        assert_eq!(modes.done(first, 10, false), None, "nobody knows what it was");
        let second = modes.begin(false, 2, false);
        assert_eq!((modes.done(second, 20, false), modes.known_since_ms()), (Some(2), Some(20)));
        let same = modes.begin(false, 3, false);
        assert_eq!(modes.done(same, 30, false), None);
        let [one, other] = [true, true].map(|is_set| modes.begin(is_set, 4, false));
        assert_eq!((modes.done(other, 40, false), modes.done(one, 40, false)), (None, None));
        assert_eq!(modes.known_since_ms(), None, "which came last?");
        let reset = modes.begin(false, 5, true);
        assert_eq!(modes.done(reset, 50, false), None);
        let lost = modes.begin(true, 6, false);
        modes.lost(lost);
        assert_eq!((modes.done(lost, 60, false), modes.known_since_ms()), (None, None));
    }
}
