//! What a host is told by Asynchronous Messages of the LUNs that it finds, and what follows from that.
//!
//! A session is told once of each change, of LUNs and of a capacity; a message comes before all that the target does by the new map, as far as it goes
//! by the same connection.

use super::views::{ViewIx, Views};
use crate::wire::Cid;

/// REPORTED LUNS DATA HAS CHANGED.
pub const INVENTORY: u16 = 0x3f0e;
/// CAPACITY DATA HAS CHANGED.
pub const CAPACITY: u16 = 0x2a09;

/// What a session has been told.
#[derive(Debug, Default)]
pub struct Heralds {
    /// So many changes were perhaps before it.
    least: usize,
    /// So many were, and no other was under way.
    exactly: Option<usize>,
    heard: usize,
    /// Messages of another capacity.
    sizes: usize,
    /// The latest view when it began.
    first: ViewIx,
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
        Heralds { least: views.changes(host, view), exactly, is_alone, first: views.latest(), ..Heralds::default() }
    }

    /// A message comes.
    ///
    /// # Errors
    /// There is no change that it could tell of.
    pub fn hear(&mut self, code: u16, (host, by): (usize, Cid), views: &Views) -> Result<(), String> {
        match code {
            INVENTORY => self.hear_of_others(host, by, views),
            CAPACITY => {
                self.sizes += 1;
                let is_due = self.sizes <= views.all_resizes();
                is_due
                    .then_some(())
                    .ok_or_else(|| "an Asynchronous Message tells of a capacity, and no unit has another".to_owned())
            }
            code => Err(format!("an Asynchronous Message tells of {code:04x}")),
        }
    }

    fn hear_of_others(&mut self, host: usize, by: Cid, views: &Views) -> Result<(), String> {
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

    /// A command is answered that was sent when `view` had settled.
    ///
    /// # Errors
    /// A message of a capacity has not come, which is sent before.
    pub fn know_sizes(&self, host: usize, views: &Views, view: ViewIx) -> Result<(), String> {
        if self.is_alone && self.sizes < views.resizes(host, (self.first, view)) {
            return Err("no Asynchronous Message has told of a capacity".to_owned());
        }
        Ok(())
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
        views.push((View { shows: vec![vec![true, false]], ..View::all(1, 2) }, vec![0]), 1);
        let latest = views.latest();
        assert!(heralds.know_sizes(0, &views, latest).is_err());
        assert_eq!(heralds.hear(CAPACITY, (0, Cid(0)), &views), Ok(()));
        assert_eq!(heralds.know_sizes(0, &views, latest), Ok(()));
        assert!(heralds.hear(CAPACITY, (0, Cid(0)), &views).is_err());
        assert!(!heralds.is_up_to_date(0, Cid(0), &views));
        assert_eq!(heralds.hear(INVENTORY, (0, Cid(0)), &views), Ok(()));
        assert!(heralds.is_up_to_date(0, Cid(0), &views) && !heralds.is_up_to_date(0, Cid(1), &views));
        assert_eq!((heralds.told(0), heralds.told(1)), (Ok(()), Ok(())));
        assert!(heralds.told(0).is_err() && heralds.hear(INVENTORY, (0, Cid(0)), &views).is_err());
    }
}
