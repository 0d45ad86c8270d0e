//! What hosts find, as the configuration says that is in force: which units at their LUNs, and the target itself.
//!
//! Cores take over another configuration one after the other, so there is a time in which a host may find either. A command
//! may meet any view that was in force at some core since it was sent: from the one that all cores had then
//! ([`Views::settled`]) to the latest. A simulator says when there is another view, and when all cores have it.

/// The number of a view.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ViewIx(usize);

/// What hosts find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// For each host, for each unit: whether it finds it.
    pub shows: Vec<Vec<bool>>,
    /// For each host: whether it may log in.
    pub lets_in: Vec<bool>,
}

impl View {
    /// All hosts find all.
    pub fn all(hosts: usize, units: usize) -> View {
        View { shows: vec![vec![true; units]; hosts], lets_in: vec![true; hosts] }
    }
}

/// A view that there was, and how it began.
#[derive(Debug)]
struct Past {
    view: View,
    /// Units that have another capacity by it.
    resized: Vec<usize>,
    /// As [`super::attentions::Attentions`] count.
    began: u64,
    /// The view before was in force everywhere when it began.
    is_apart: bool,
}

/// A step from one view to the next that all cores have taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The host.
    pub host: usize,
    /// When it began, as [`super::attentions::Attentions`] count.
    pub began: u64,
    /// No core has taken it together with another one: whoever has been there all the time has noticed it.
    pub is_noticed: bool,
}

/// The views of a run.
#[derive(Debug)]
pub struct Views {
    all: Vec<Past>,
    settled: usize,
}

impl Views {
    /// All hosts find all.
    pub fn new(hosts: usize, units: usize) -> Views {
        let first = Past { view: View::all(hosts, units), resized: Vec::new(), began: 0, is_apart: true };
        Views { all: vec![first], settled: 0 }
    }

    /// The view that all cores have.
    pub fn settled(&self) -> ViewIx {
        ViewIx(self.settled)
    }

    /// The latest.
    pub fn latest(&self) -> ViewIx {
        ViewIx(self.all.len() - 1)
    }

    /// What it is.
    pub fn last(&self) -> &View {
        &self.all[self.all.len() - 1].view
    }

    /// From now on cores take this view over, in which these units have another capacity.
    pub fn push(&mut self, (view, resized): (View, Vec<usize>), began: u64) {
        let is_apart = self.settled() == self.latest();
        self.all.push(Past { view, resized, began, is_apart });
    }

    /// All cores have this one. What that is for hosts that find other units than before: the step, and which units.
    pub fn settle(&mut self, at: ViewIx) -> Vec<(Step, Vec<usize>)> {
        let mut steps = Vec::new();
        while self.settled < at.0 {
            self.settled += 1;
            let is_last = self.settled() == self.latest();
            let [before, Past { view, began, is_apart, .. }] = &self.all[self.settled - 1..=self.settled] else {
                break;
            };
            for (host, (was, is)) in before.view.shows.iter().zip(&view.shows).enumerate() {
                let stays = |unit: usize| self.all[self.settled..].iter().all(|past| past.view.shows[host][unit]);
                let found = (0..is.len()).filter(|unit| !was[*unit] && stays(*unit)).collect();
                let step = Step { host, began: *began, is_noticed: *is_apart && is_last };
                steps.extend((is != was).then_some((step, found)));
            }
        }
        steps
    }

    fn since(&self, since: ViewIx) -> impl Iterator<Item = &View> {
        self.all[since.0..].iter().map(|past| &past.view)
    }

    /// Whether a command that was sent when `since` had settled may find its unit.
    pub fn may_find(&self, host: usize, unit: usize, since: ViewIx) -> bool {
        self.since(since).any(|view| view.shows[host][unit])
    }

    /// Whether it may find none.
    pub fn may_miss(&self, host: usize, unit: usize, since: ViewIx) -> bool {
        self.since(since).any(|view| !view.shows[host][unit])
    }

    /// Whether it may find these units, and no others.
    pub fn may_list(&self, host: usize, units: &[bool], since: ViewIx) -> bool {
        self.since(since).any(|view| view.shows[host] == units)
    }

    /// Whether a host may have a session, or get one by a login that began when `since` had settled.
    pub fn may_enter(&self, host: usize, since: ViewIx) -> bool {
        self.since(since).any(|view| view.lets_in[host])
    }

    /// Whether it may have none.
    pub fn may_be_shut_out(&self, host: usize, since: ViewIx) -> bool {
        self.since(since).any(|view| !view.lets_in[host])
    }

    /// How often a unit has another capacity in the views behind one, up to another, that a host finds in all since then.
    pub fn resizes(&self, host: usize, (behind, to): (ViewIx, ViewIx)) -> usize {
        let finds = |unit: &&usize| self.since(behind).all(|view| view.shows[host][**unit] && view.lets_in[host]);
        let views = self.all.get(behind.0 + 1..=to.0).unwrap_or_default();
        views.iter().map(|past| past.resized.iter().filter(finds).count()).sum()
    }

    /// How often a unit had another capacity in all of them.
    pub fn all_resizes(&self) -> usize {
        self.all.iter().map(|past| past.resized.len()).sum()
    }

    /// How often a host was to find other units, up to a view.
    pub fn changes(&self, host: usize, at: ViewIx) -> usize {
        self.all[..=at.0].windows(2).filter(|pair| pair[0].view.shows[host] != pair[1].view.shows[host]).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden() -> View {
        View { shows: vec![vec![true, false]], ..View::all(1, 2) }
    }

    #[test]
    fn either_may_be_found_until_all_cores_have_the_view() {
        let mut views = Views::new(1, 2);
        let before = views.settled();
        views.push((hidden(), vec![0]), 1);
        let during = views.settled();
        assert_eq!((views.may_find(0, 1, during), views.may_miss(0, 1, during)), (true, true));
        assert_eq!((views.may_find(0, 0, during), views.may_miss(0, 0, during)), (true, false));
        let step = Step { host: 0, began: 1, is_noticed: true };
        assert_eq!(views.settle(views.latest()), [(step, vec![])]);
        let after = views.settled();
        assert_eq!((views.may_find(0, 1, after), views.may_miss(0, 1, after)), (false, true));
        assert!(views.may_list(0, &[true, false], after) && !views.may_list(0, &[true, true], after));
        assert_eq!((views.resizes(0, (before, after)), views.resizes(0, (after, after))), (1, 0));
        // What was sent before may have met the view before.
        assert!(views.may_find(0, 1, before) && views.may_list(0, &[true, true], before));
    }

    #[test]
    fn two_views_at_a_time_may_be_taken_for_one() {
        let mut views = Views::new(1, 2);
        views.push((hidden(), vec![]), 1);
        views.push((View::all(1, 2), vec![1]), 2);
        assert_eq!(views.resizes(0, (ViewIx(0), views.latest())), 0, "it does not find it all the time");
        let steps = views.settle(views.latest());
        assert_eq!(
            steps.iter().map(|(step, found)| (step.is_noticed, found.len())).collect::<Vec<_>>(),
            [(false, 0), (false, 1)]
        );
        assert_eq!(views.changes(0, views.latest()), 2);
    }
}
