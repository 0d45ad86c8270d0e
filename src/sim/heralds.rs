//! What a host is told by Asynchronous Messages of the LUNs that it finds, and what follows from that.
//!
//! A session is told once of each change; a message comes before all that the target does by the new map, as far as it goes
//! by the same connection.

use super::views::{ViewIx, Views};
use crate::wire::Cid;

/// REPORTED LUNS DATA HAS CHANGED.
pub const INVENTORY: u16 = 0x3f0e;

/// What a session has been told.
#[derive(Debug, Default)]
pub struct Heralds {
    /// So many changes were perhaps before it.
    least: usize,
    /// So many were, and no other was under way.
    exactly: Option<usize>,
    heard: usize,
    /// The connection that all messages have come by.
    by: Option<Cid>,
    is_mixed: bool,
    /// All there is comes by one connection.
    is_alone: bool,
    /// Units that have told of a change since the last message.
    spent: Vec<usize>,
}

impl Heralds {
    /// A session begins that logged in when `view` had settled. `is_alone`: it has one connection, and will have no other.
    pub fn begin(host: usize, (views, view): (&Views, ViewIx), is_alone: bool) -> Heralds {
        let is_still = view == views.latest();
        let exactly = is_still.then(|| views.changes(host, views.latest()));
        Heralds { least: views.changes(host, view), exactly, is_alone, ..Heralds::default() }
    }

    /// A message comes.
    ///
    /// # Errors
    /// There is no change that it could tell of.
    pub fn hear(&mut self, host: usize, by: Cid, views: &Views) -> Result<(), String> {
        self.heard += 1;
        self.is_mixed |= self.by.replace(by).is_some_and(|before| before != by);
        self.spent.clear();
        if self.heard > views.changes(host, views.latest()) - self.least {
            return Err("an Asynchronous Message tells of other LUNs, and there are no others".to_owned());
        }
        Ok(())
    }

    /// Whether all that comes by a connection is of a session that finds what the latest view says.
    pub fn is_up_to_date(&self, host: usize, by: Cid, views: &Views) -> bool {
        let all = self.exactly.map(|before| views.changes(host, views.latest()) - before);
        !self.is_mixed && self.by == Some(by) && all == Some(self.heard)
    }

    /// A unit tells of other LUNs, by a unit attention.
    ///
    /// # Errors
    /// The message has not come, which is sent first.
    pub fn told(&mut self, unit: usize) -> Result<(), String> {
        if self.is_alone && (self.heard == 0 || self.spent.contains(&unit)) {
            return Err("a unit attention tells of other LUNs, and no Asynchronous Message".to_owned());
        }
        self.spent.push(unit);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::views::View;
    use super::*;

    #[test]
    fn each_change_is_told_once_and_first() {
        let mut views = Views::new(1, 2);
        let mut heralds = Heralds::begin(0, (&views, views.settled()), true);
        assert!(heralds.told(0).is_err());
        views.push(View { shows: vec![vec![true, false]], ..View::all(1, 2) }, 1);
        assert!(!heralds.is_up_to_date(0, Cid(0), &views));
        assert_eq!(heralds.hear(0, Cid(0), &views), Ok(()));
        assert!(heralds.is_up_to_date(0, Cid(0), &views) && !heralds.is_up_to_date(0, Cid(1), &views));
        assert_eq!((heralds.told(0), heralds.told(1)), (Ok(()), Ok(())));
        assert!(heralds.told(0).is_err() && heralds.hear(0, Cid(0), &views).is_err());
    }
}
