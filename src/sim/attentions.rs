//! Unit attentions: which a host may be told of, and which it must be.
//!
//! Who may be told is counted by cause. Who must be is known from what others were answered: a reset that is over has left
//! one with every session that there was before, so has CLEAR TASK SET, and PREEMPT AND ABORT one with who was registered;
//! and from what the configuration says: other LUNs of a host, another capacity. From then on a command of that host that
//! is sent and goes well says that the unit has told it already: by another command whose answer is on its way. If no such
//! command is left, the unit attention was lost.

use std::collections::BTreeSet;

/// How many unit attentions a host may still be told of at a unit, by their cause.
#[derive(Debug, Clone, Copy, Default)]
struct Due {
    new: u32,
    resets: u32,
    clears: u32,
    reservations: u32,
    protocol: u32,
    inventory: u32,
    capacity: u32,
    modes: u32,
}

/// What can make a unit attention that must come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Must {
    /// A session that begins, or finds the unit anew, or a reset.
    Reset,
    /// Its registration was taken from it.
    Preempted,
    /// CLEAR TASK SET of another host.
    Cleared,
    /// It finds other LUNs.
    Inventory,
    /// The unit has another capacity.
    Capacity,
    /// MODE SELECT of another host.
    Modes,
}

impl Must {
    /// All of them, in the order of their numbers.
    const ALL: [Must; 6] = [Must::Reset, Must::Preempted, Must::Cleared, Must::Inventory, Must::Capacity, Must::Modes];
}

/// One that must come.
#[derive(Debug)]
struct Owed {
    /// The number of the first command that was sent after its cause was over.
    since: u64,
    /// A command from then on went well: the commands one of which was told instead, if it was.
    instead: Option<BTreeSet<u64>>,
}

/// What a host has at a unit.
#[derive(Debug, Default)]
struct Place {
    due: Due,
    /// What must come, by [`Must`].
    owed: [Option<Owed>; Must::ALL.len()],
    /// When each was told last, or may have been.
    told: [u64; Must::ALL.len()],
    /// Since when it is registered.
    registered: Option<u64>,
    /// Since when each session of the host finds the unit, wherever it is served.
    found: Option<u64>,
}

/// The unit attentions of all hosts at all units.
#[derive(Debug)]
pub struct Attentions {
    places: Vec<Vec<Place>>,
    /// Of each host: when its session began, and the number of its next command.
    hosts: Vec<(u64, u64)>,
    /// Sessions begin as if they had heard of it ([`super::target`]).
    pub are_let_hear: bool,
    now: u64,
}

impl Attentions {
    /// Nobody is told of anything.
    pub fn new(hosts: usize, units: usize) -> Attentions {
        let found = || Place { found: Some(0), ..Place::default() };
        let places = (0..hosts).map(|_| (0..units).map(|_| found()).collect()).collect();
        Attentions { places, hosts: vec![(0, 0); hosts], are_let_hear: false, now: 0 }
    }

    /// The next moment.
    pub fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn of_unit(&mut self, unit: Option<usize>) -> impl Iterator<Item = &mut Due> {
        let concerned = move |at: usize| unit.is_none_or(|unit| unit == at);
        let all = self.places.iter_mut().flat_map(|places| places.iter_mut().enumerate());
        all.filter(move |(at, _)| concerned(*at)).map(|(_, place)| &mut place.due)
    }

    /// A reset begins, of a unit or of all.
    pub fn may_be_reset(&mut self, unit: Option<usize>) {
        self.of_unit(unit).for_each(|due| due.resets += 1);
    }

    /// Commands of all may be cleared.
    pub fn may_be_cleared(&mut self, unit: Option<usize>) {
        self.of_unit(unit).for_each(|due| due.clears += 1);
    }

    /// A reservation comes and goes. One may be told that it is preempted, and that a reservation is gone.
    pub fn may_be_preempted(&mut self, unit: Option<usize>) {
        self.of_unit(unit).for_each(|due| due.reservations += 2);
    }

    /// Commands of a host have ended with their connection.
    pub fn may_be_terminated(&mut self, host: usize) {
        self.places[host].iter_mut().for_each(|place| place.due.protocol += 1);
    }

    /// A host sends the command with this number.
    pub fn sent(&mut self, host: usize, number: u64) {
        self.hosts[host].1 = number + 1;
    }

    /// A host has begun a session: each unit tells it so once. SAM-5 clause 5.14: 29h/00h, to a nexus whose past is not known.
    pub fn logged_in(&mut self, host: usize) {
        let now = self.tick();
        self.hosts[host].0 = now;
        let since = self.hosts[host].1;
        for place in &mut self.places[host] {
            place.due.new += 1;
            let must = !self.are_let_hear && place.found.is_some();
            place.owed = Default::default();
            place.owed[Must::Reset as usize] = must.then_some(Owed { since, instead: None });
        }
    }

    /// A reset of a unit, or of all, is over that began then: all sessions that there were then, but that of who asked, must
    /// be told (SAM-5 clause 6.3.3).
    pub fn were_reset(&mut self, by: usize, unit: Option<usize>, began: u64) {
        self.owe_others(by, unit, Must::Reset, began);
    }

    /// CLEAR TASK SET of a unit is over that began then: so must those be (SAM-5 clause 7.3).
    pub fn were_cleared(&mut self, by: usize, unit: Option<usize>, began: u64) {
        self.owe_others(by, unit, Must::Cleared, began);
    }

    /// MODE SELECT may change mode parameters of a unit.
    pub fn may_be_set(&mut self, unit: usize) {
        self.of_unit(Some(unit)).for_each(|due| due.modes += 1);
    }

    /// One has changed them that began then: all others must be told (SPC-4 clause 6.9).
    pub fn were_set(&mut self, by: usize, unit: usize, began: u64) {
        self.owe_others(by, Some(unit), Must::Modes, began);
    }

    fn owe_others(&mut self, by: usize, unit: Option<usize>, what: Must, began: u64) {
        for host in (0..self.places.len()).filter(|host| *host != by) {
            for at in (0..self.places[host].len()).filter(|at| unit.is_none_or(|unit| unit == *at)) {
                self.owe(host, at, what, began);
            }
        }
    }

    /// A unit has another capacity: all who find it must be told.
    pub fn was_resized(&mut self, unit: usize) {
        let now = self.tick();
        for host in 0..self.places.len() {
            self.places[host][unit].due.capacity += 1;
            self.owe(host, unit, Must::Capacity, now);
        }
    }

    /// A host is to find other LUNs.
    pub fn may_find_others(&mut self, host: usize) {
        self.places[host].iter_mut().for_each(|place| place.due.inventory += 1);
    }

    /// It is to find this unit, too, which tells it so once, as a new one.
    pub fn may_find(&mut self, host: usize, unit: usize) {
        self.places[host][unit].due.new += 1;
    }

    /// It is to find this unit no more. What it was to be told there goes with that.
    pub fn loses(&mut self, host: usize, unit: usize) {
        let place = &mut self.places[host][unit];
        (place.found, place.owed) = (None, Default::default());
    }

    /// It finds a unit by now, by what began then; `is_new`: before, it did not for sure.
    pub fn finds(&mut self, host: usize, unit: usize, (is_new, began): (bool, u64)) {
        let now = self.tick();
        self.places[host][unit].found.get_or_insert(now);
        if is_new {
            self.owe_found(host, unit, Must::Reset, began);
        }
    }

    /// It finds other LUNs by now, by what began then: units that it has found before and finds still must tell so (SPC-4
    /// clause 6.33).
    pub fn finds_others(&mut self, host: usize, began: u64) {
        for unit in 0..self.places[host].len() {
            self.owe(host, unit, Must::Inventory, began);
        }
    }

    fn owe(&mut self, host: usize, unit: usize, what: Must, began: u64) {
        if self.places[host][unit].found.is_some_and(|found| found < began) {
            self.owe_found(host, unit, what, began);
        }
    }

    fn owe_found(&mut self, host: usize, unit: usize, what: Must, began: u64) {
        let (session, since) = self.hosts[host];
        let place = &mut self.places[host][unit];
        if session > 0 && session < began && place.told[what as usize] < began {
            place.owed[what as usize].get_or_insert(Owed { since, instead: None });
        }
    }

    /// A host is registered at a unit, or is perhaps not any more.
    pub fn set_registered(&mut self, host: usize, unit: usize, is_registered: bool) {
        let now = self.tick();
        self.places[host][unit].registered = is_registered.then_some(now);
    }

    /// The registration of a host was taken from it, by what began then.
    pub fn was_preempted(&mut self, host: usize, unit: usize, began: u64) {
        let Some(place) = self.places.get_mut(host).map(|places| &mut places[unit]) else { return };
        if place.registered.take().is_some_and(|since| since < began) {
            self.owe(host, unit, Must::Preempted, began);
        }
    }

    /// A host is told of a unit attention. Returns whether there is a cause for it, which is used up.
    pub fn told(&mut self, host: usize, unit: usize, code: u16) -> bool {
        let now = self.tick();
        let place = &mut self.places[host][unit];
        let due = &mut place.due;
        let causes: &mut [&mut u32] = &mut match code {
            // It stands for all others, too.
            0x2900 => {
                let of_tasks = [&mut due.new, &mut due.resets, &mut due.clears, &mut due.reservations];
                let others = [&mut due.protocol, &mut due.inventory, &mut due.capacity, &mut due.modes];
                of_tasks.into_iter().chain(others).collect()
            }
            0x2903 | 0x2907 => vec![&mut due.resets],
            0x2f00 => vec![&mut due.clears],
            0x2a01 => vec![&mut due.modes],
            0x2a03..=0x2a05 => vec![&mut due.reservations],
            0x2a09 => vec![&mut due.capacity],
            0x3f0e => vec![&mut due.inventory],
            0x477f => vec![&mut due.protocol],
            _ => vec![],
        };
        let Some(cause) = causes.iter_mut().find(|cause| ***cause > 0) else { return false };
        **cause -= 1;
        let met: &[Must] = match code {
            // What was pending before a reset is not any more.
            0x2900..=0x29ff => &Must::ALL,
            0x2a01 => &[Must::Modes],
            0x2a09 => &[Must::Capacity],
            0x2a00..=0x2aff => &[Must::Preempted],
            0x2f00 => &[Must::Cleared],
            0x3f0e => &[Must::Inventory],
            _ => &[],
        };
        for what in met {
            (place.owed[*what as usize], place.told[*what as usize]) = (None, now);
        }
        true
    }

    /// A command of a host has ended without an answer: that may have been a unit attention.
    pub fn may_be_told(&mut self, host: usize, unit: usize) {
        let now = self.tick();
        let place = &mut self.places[host][unit];
        (place.owed, place.told) = (Default::default(), [now; Must::ALL.len()]);
    }

    /// REPORT LUNS of a host was answered by a unit, which has no need any more to say that there are others.
    pub fn listed(&mut self, host: usize, unit: usize) {
        let now = self.tick();
        let place = &mut self.places[host][unit];
        (place.owed[Must::Inventory as usize], place.told[Must::Inventory as usize]) = (None, now);
    }

    /// A command of a host has ended with something else than a unit attention; `passed`: it was carried out, as it is not
    /// while one is pending. `open`: other commands of the host at this unit.
    ///
    /// # Errors
    /// A unit attention was lost: of what.
    pub fn ended(
        &mut self,
        (host, unit): (usize, usize),
        number: u64,
        passed: bool,
        open: impl Iterator<Item = u64>,
    ) -> Result<(), String> {
        let open: BTreeSet<u64> = open.collect();
        for what in Must::ALL {
            let Some(owed) = &mut self.places[host][unit].owed[what as usize] else { continue };
            if passed && number >= owed.since {
                owed.instead.get_or_insert(open.clone());
            }
            let Some(instead) = &mut owed.instead else { continue };
            instead.remove(&number);
            if instead.is_empty() {
                return Err(format!("its host was not told: {what:?}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: usize = 0;
    const OTHER: usize = 1;
    const NONE: [u64; 0] = [];

    /// Two hosts whose sessions have heard of their beginning.
    fn heard() -> Attentions {
        let mut all = Attentions::new(2, 1);
        for host in [HOST, OTHER] {
            all.logged_in(host);
            assert!(all.told(host, 0, 0x2900));
        }
        all
    }

    #[test]
    fn a_session_that_begins_must_hear_of_it() {
        let mut all = Attentions::new(1, 1);
        all.logged_in(HOST);
        all.sent(HOST, 0);
        assert!(all.ended((HOST, 0), 0, true, NONE.into_iter()).is_err());
    }

    #[test]
    fn a_reset_must_be_told_to_who_was_there() {
        let mut all = heard();
        all.may_be_reset(Some(0));
        let began = all.tick();
        all.sent(HOST, 0);
        all.were_reset(OTHER, Some(0), began);
        // What was sent before it was over may have been carried out before.
        assert_eq!(all.ended((HOST, 0), 0, true, NONE.into_iter()), Ok(()));
        all.sent(HOST, 1);
        assert!(all.ended((HOST, 0), 1, true, NONE.into_iter()).is_err());
    }

    #[test]
    fn it_may_be_told_by_an_answer_that_is_on_its_way() {
        let reset = || {
            let mut all = heard();
            all.may_be_reset(Some(0));
            let began = all.tick();
            all.were_reset(OTHER, Some(0), began);
            (0..3).for_each(|number| all.sent(HOST, number));
            assert_eq!(all.ended((HOST, 0), 2, true, [0, 1].into_iter()), Ok(()));
            assert_eq!(all.ended((HOST, 0), 0, true, [1].into_iter()), Ok(()));
            all
        };
        assert!(reset().ended((HOST, 0), 1, true, NONE.into_iter()).is_err());
        let mut told = reset();
        assert!(told.told(HOST, 0, 0x2903));
        assert_eq!(told.ended((HOST, 0), 3, true, NONE.into_iter()), Ok(()));
        let mut lost = reset();
        lost.may_be_told(HOST, 0);
        assert_eq!(lost.ended((HOST, 0), 3, true, NONE.into_iter()), Ok(()));
    }

    #[test]
    fn it_may_be_told_before_who_asked_is_answered() {
        let mut all = heard();
        all.may_be_reset(Some(0));
        let began = all.tick();
        assert!(all.told(HOST, 0, 0x2903));
        all.were_reset(OTHER, Some(0), began);
        all.sent(HOST, 0);
        assert_eq!(all.ended((HOST, 0), 0, true, NONE.into_iter()), Ok(()));
    }

    #[test]
    fn who_was_registered_must_hear_that_it_is_not_any_more() {
        let mut all = heard();
        all.may_be_preempted(Some(0));
        all.set_registered(HOST, 0, true);
        let began = all.tick();
        all.was_preempted(HOST, 0, began);
        all.sent(HOST, 0);
        assert!(all.ended((HOST, 0), 0, true, NONE.into_iter()).is_err());
        assert!(all.told(HOST, 0, 0x2a05));
        assert_eq!(all.ended((HOST, 0), 1, true, NONE.into_iter()), Ok(()));
    }
}
