//! Which failures to make writes durable each nexus has heard of.
//!
//! Such a failure is the medium's: what was lost may be what any host has written. Failures are counted elsewhere; here
//! is, for each I_T_L nexus, how many of them it has heard of. A nexus is told with its own next flush or durable
//! write, once. It has heard when it has acknowledged that answer, which may be lost with its connection: until then it
//! is told again.
//!
//! A host that logs in anew has perhaps written before: what it was answered GOOD for then may be lost by now, and
//! nobody was there to be told. So what a new nexus has heard of is taken from those that were here before it:
//!
//! ```text
//!  the new nexus is of                   it has heard of as many failures as
//!  a port that is listed                 that port: its least informed nexus
//!  another port of a listed initiator    the best informed port of its initiator, but at most as Others
//!  an initiator that is not listed       Others
//! ```
//!
//! Of nexuses that are gone a bounded number stays listed.
//!
//! All initiator ports that are not listed are treated as one ([`Others`]): those that had to be forgotten, and those
//! that wrote before the process began, to one before it that was killed. They have yet to hear of what fails before a
//! flush has gone well.
//!
//! What is lost stays lost when the process ends, and the kernel does not report it twice. So whoever has not heard by
//! then is saved with the unit ([`Lost`]), and hears of it after the next start.

use crate::limits::{ABSENT_HEARERS, LOST_PORTS, OTHERS_HEAR_MS};
use crate::model::{InitiatorPort, IscsiName};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes may be lost, and not all who may have written them have heard so. Kept by a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Initiator ports, and whether each has heard. Another port of one of these initiators counts as the best informed
    /// of them.
    pub ports: Vec<(InitiatorPort, bool)>,
    /// Whether all ports that are not among `ports` have heard, or have written nothing. If not, all of them have yet
    /// to hear.
    pub others: bool,
}

impl Lost {
    /// Lost writes of which nobody has heard.
    pub const UNHEARD: Lost = Lost { ports: Vec::new(), others: false };
}

/// The nexuses that are here, and those that are gone and remembered.
#[derive(Debug, Default)]
pub(super) struct Hearers {
    /// By initiator: a login looks at the nexuses of its own initiator only.
    list: HashMap<IscsiName, Vec<Hearer>>,
    /// How many nexuses `list` has.
    count: usize,
    /// With so many nexuses those that are gone are counted: that costs as much as there are, and there may be
    /// thousands.
    look_at: usize,
    /// How many nexuses were ever listed: the number of the newest.
    numbers: u64,
    others: Others,
}

/// A nexus. It is gone when nobody else holds its `heard`.
#[derive(Debug)]
struct Hearer {
    /// Its place among all, in the order in which they came.
    number: u64,
    port: InitiatorPort,
    heard: Arc<AtomicU64>,
}

/// Initiator ports that are not listed. None of them has a nexus, so they write nothing any more.
#[derive(Debug, Default)]
struct Others {
    /// How many failures the least informed of them has heard of.
    heard: u64,
    /// How many failures there had been when all that they wrote was durable, or lost: later ones do not concern them.
    /// `u64::MAX`: what they wrote is not known to be durable.
    until: u64,
    /// How many ports have joined them so far.
    joined: u64,
    /// The most failures that a nexus which was answered GOOD had heard of, and when that was first so, in
    /// milliseconds.
    settling: (u64, u64),
}

/// What a nexus has heard.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// How many failures it has heard of.
    pub(super) heard: Arc<AtomicU64>,
    /// How many failures it was told of last, and the number by which the caller knows the answer that told it.
    told: Option<(u64, u64)>,
}

/// What a nexus knows of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It has yet to hear, and is told.
    IsTold,
    /// It has heard of them: that is news.
    Now,
    /// It had heard of them before.
    Before,
}

impl Hearer {
    fn is_gone(&self) -> bool {
        Arc::strong_count(&self.heard) == 1
    }

    fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

impl Others {
    /// How many of `failures` failures a port has heard of that comes from among them.
    fn heard(&self, failures: u64) -> u64 {
        if self.heard < failures.min(self.until) { self.heard } else { failures }
    }

    /// Takes in a port that has heard of `heard` failures. It may have written just now.
    fn join(&mut self, heard: u64, failures: u64) {
        *self = Others { heard: heard.min(self.heard(failures)), until: u64::MAX, joined: self.joined + 1, ..*self };
    }

    /// How many have joined so far, if what they wrote is not known to be durable; zero if it is.
    fn unflushed(&self) -> u64 {
        if self.until == u64::MAX { self.joined } else { 0 }
    }
}

impl Hearers {
    /// For a unit that is served from now on. `volatile`: of what was written before, something may be lost yet.
    pub(super) fn begin(volatile: bool) -> Hearers {
        let mut hearers = Hearers::default();
        if volatile {
            hearers.others.join(0, 0);
        }
        hearers
    }

    pub(super) fn enlist(&mut self, port: &InitiatorPort, failures: u64) -> Arc<AtomicU64> {
        let own = self.list.get(&port.name).map_or(&[][..], Vec::as_slice);
        let of_port = own.iter().filter(|hearer| hearer.port == *port).map(Hearer::heard).min();
        let of_name = own.iter().map(Hearer::heard).max();
        let unknown = || of_name.unwrap_or(failures).min(self.others.heard(failures));
        let heard = Arc::new(AtomicU64::new(of_port.unwrap_or_else(unknown)));
        // The new nexus takes the place of those of its port that are gone.
        if let Some(own) = self.list.get_mut(&port.name) {
            self.count -= own.extract_if(.., |hearer| hearer.port == *port && hearer.is_gone()).count();
        }
        if self.count >= self.look_at {
            self.forget_surplus(failures);
        }
        self.add(port, &heard);
        heard
    }

    fn add(&mut self, port: &InitiatorPort, heard: &Arc<AtomicU64>) {
        self.numbers += 1;
        self.count += 1;
        let hearer = Hearer { number: self.numbers, port: port.clone(), heard: Arc::clone(heard) };
        self.list.entry(port.name.clone()).or_default().push(hearer);
    }

    fn all(&self) -> impl Iterator<Item = &Hearer> {
        self.list.values().flatten()
    }

    /// Forgets nexuses that are gone until there is room for one more of them: first those that have heard of all
    /// failures, then those whose initiator has others listed, then the oldest.
    fn forget_surplus(&mut self, failures: u64) {
        let mut gone = Vec::new();
        for own in self.list.values() {
            let rank = |one: &Hearer| (one.heard() < failures, own.len() == 1, one.number);
            gone.extend(own.iter().filter(|one| one.is_gone()).map(rank));
        }
        self.look_at = ABSENT_HEARERS + 2 * (self.count - gone.len());
        gone.sort_unstable();
        gone.truncate((gone.len() + 1).saturating_sub(ABSENT_HEARERS));
        let forgotten: HashSet<u64> = gone.iter().map(|(.., number)| *number).collect();
        for own in self.list.values_mut() {
            for hearer in own.extract_if(.., |one| forgotten.contains(&one.number)) {
                self.count -= 1;
                self.others.join(hearer.heard(), failures);
            }
        }
        self.list.retain(|_, own| !own.is_empty());
    }

    /// What is to be saved after `failures` failures; `None`: all have heard of them.
    pub(super) fn lost(&self, failures: u64) -> Option<Lost> {
        let others = self.others.heard(failures) >= failures;
        let mut ports = BTreeMap::new();
        for hearer in self.all() {
            let Hearer { port, .. } = hearer;
            let known = ports.entry((&port.name, port.isid.0, &port.proof)).or_insert((port, true));
            known.1 &= hearer.heard() >= failures;
        }
        let unheard: BTreeSet<&IscsiName> =
            ports.values().filter(|(_, has_heard)| !has_heard).map(|(port, _)| &port.name).collect();
        if others && unheard.is_empty() {
            return None;
        }
        let saved = |&(port, has_heard): &(&InitiatorPort, bool)| (port.clone(), has_heard);
        // If one port of an initiator has not heard, all of its ports are saved: which of them has heard says what
        // another one is told. If the others have not heard, all ports that are known are saved: the others need not
        // hear for ever, but what a port has yet to hear stays.
        let needed = || ports.values().filter(|(port, _)| !others || unheard.contains(&port.name));
        if needed().count() <= LOST_PORTS {
            return Some(Lost { ports: needed().map(saved).collect(), others });
        }
        // Not all of them may be saved. A port that is left out is told, perhaps once more than needed.
        let heard = ports.values().filter(|(_, has_heard)| *has_heard).take(LOST_PORTS);
        Some(Lost { ports: heard.map(saved).collect(), others: false })
    }

    /// Takes up what was saved, which counts as the first failure.
    pub(super) fn restore(&mut self, Lost { ports, others }: &Lost) {
        for (port, has_heard) in ports {
            self.add(port, &Arc::new(AtomicU64::new(u64::from(*has_heard))));
        }
        self.others.heard = u64::from(*others);
        self.others.until = self.others.until.max(1);
    }

    /// Notes that a nexus which has heard of `failures` failures is answered GOOD. Once that has been so for
    /// [`OTHERS_HEAR_MS`], the others count as having heard of them.
    pub(super) fn settle(&mut self, failures: u64, now_ms: u64) {
        let (most, since_ms) = self.others.settling;
        if failures > most {
            self.others.settling = (failures, now_ms);
        } else if failures == most && now_ms.saturating_sub(since_ms) >= OTHERS_HEAR_MS {
            self.others.heard = self.others.heard.max(failures);
        }
    }

    /// As [`super::LogicalUnit::others_unflushed`]; zero: `None`.
    pub(super) fn others_unflushed(&self) -> u64 {
        self.others.unflushed()
    }

    /// As [`super::LogicalUnit::others_flushed`].
    pub(super) fn others_flushed(&mut self, number: u64, failures: u64) {
        if self.others.unflushed() == number {
            self.others.until = failures;
        }
    }
}

impl Hearing {
    /// Asks `has_arrived` whether the answer that told the nexus last has arrived; if so, it has heard. `None`: it was
    /// told nothing, or the answer will not arrive.
    pub(super) fn note_arrival(&self, has_arrived: impl FnOnce(u64) -> Option<bool>) -> Option<bool> {
        let (failures, answer) = self.told?;
        let has_arrived = has_arrived(answer)?;
        if has_arrived {
            self.heard.fetch_max(failures, Ordering::Relaxed);
        }
        Some(has_arrived)
    }

    pub(super) fn hear(
        &mut self,
        failures: u64,
        answer: Option<u64>,
        has_arrived: impl FnOnce(u64) -> Option<bool>,
    ) -> Heard {
        if self.heard.load(Ordering::Relaxed) >= failures {
            return Heard::Before;
        }
        match (self.note_arrival(has_arrived), self.told) {
            (Some(true), Some((of, _))) if of >= failures => return Heard::Now,
            // The answer that is on its way tells enough, and stays the one that counts: if each new answer took its
            // place, one might always be on its way.
            (Some(false), Some((of, _))) if of >= failures => {}
            _ => self.told = answer.map(|answer| (failures, answer)),
        }
        Heard::IsTold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Isid;

    fn port(name: &str, isid: u8) -> InitiatorPort {
        let name = IscsiName::new(&format!("iqn.2026-11.io.ringsan:{name}")).unwrap();
        InitiatorPort::new(name, Isid([0x80, 0, 0, isid, 0, 0]))
    }

    fn heard(hearer: &Arc<AtomicU64>) -> u64 {
        hearer.load(Ordering::Relaxed)
    }

    #[test]
    fn a_port_that_comes_again_goes_on_where_it_was() {
        let mut hearers = Hearers::default();
        let one = hearers.enlist(&port("a", 1), 0);
        drop(one);
        assert_eq!(heard(&hearers.enlist(&port("b", 1), 3)), 3, "a stranger has written nothing yet");
        let one = hearers.enlist(&port("a", 1), 3);
        assert_eq!(heard(&one), 0, "what it wrote may be lost, and it was not there to hear so");
        one.store(3, Ordering::Relaxed);
        drop(one);
        assert_eq!(heard(&hearers.enlist(&port("a", 1), 3)), 3, "once");
        assert_eq!(hearers.count, 2);
    }

    #[test]
    fn another_port_of_the_same_initiator_knows_what_that_has_heard() {
        let mut hearers = Hearers::default();
        let _standby = hearers.enlist(&port("a", 1), 0);
        let path = hearers.enlist(&port("a", 2), 0);
        assert_eq!(heard(&hearers.enlist(&port("a", 3), 2)), 0);
        path.store(2, Ordering::Relaxed);
        assert_eq!(heard(&hearers.enlist(&port("a", 4), 2)), 2);
        assert_eq!(heard(&hearers.enlist(&port("a", 1), 2)), 0, "what the first has written it may still ask for");
    }

    #[test]
    fn those_who_are_gone_are_bounded_and_none_is_told_less_for_that() {
        let mut hearers = Hearers::default();
        for n in 0..ABSENT_HEARERS + 2 {
            hearers.enlist(&port(&format!("h{n}"), 1), 0);
        }
        assert_eq!(hearers.count, ABSENT_HEARERS);
        assert_eq!(heard(&hearers.enlist(&port("h0", 1), 1)), 0);
    }

    /// The process ends, and another one begins with what the first has saved.
    fn restarted(hearers: &Hearers, failures: u64) -> Hearers {
        let mut next = Hearers::default();
        next.restore(&hearers.lost(failures).expect("not all have heard"));
        next
    }

    #[test]
    fn who_has_not_heard_hears_after_a_restart_and_nobody_else() {
        let mut hearers = Hearers::default();
        let told = hearers.enlist(&port("a", 1), 0);
        let _standby = hearers.enlist(&port("a", 2), 0);
        assert_eq!(hearers.lost(0), None);
        drop(hearers.enlist(&port("gone", 1), 0));
        drop(hearers.enlist(&port("b", 1), 2));
        told.store(2, Ordering::Relaxed);
        let mut next = restarted(&hearers, 2);
        let expected =
            [("a", 1, 1), ("a", 2, 0), ("a", 3, 1), ("b", 1, 1), ("gone", 1, 0), ("gone", 2, 0), ("c", 1, 1)];
        for (name, isid, has_heard) in expected {
            assert_eq!(heard(&next.enlist(&port(name, isid), 1)), has_heard, "{name} {isid}");
        }
        // A path that nobody uses keeps nobody else from being done with it.
        let again = restarted(&next, 1);
        assert_eq!(again.lost(1), next.lost(1));
        for hearer in next.all() {
            hearer.heard.store(1, Ordering::Relaxed);
        }
        assert_eq!(next.lost(1), None);
    }

    #[test]
    fn what_was_lost_before_anybody_was_here_is_news_until_somebody_goes_on_after_it() {
        let mut first = Hearers::begin(true);
        let told = first.enlist(&port("a", 1), 1);
        assert_eq!(first.lost(1), Some(Lost { ports: vec![(port("a", 1), false)], others: false }));
        told.store(1, Ordering::Relaxed);
        let mut next = restarted(&first, 1);
        assert_eq!(["a", "b"].map(|name| heard(&next.enlist(&port(name, 1), 1))), [1, 0]);
        let late = first.enlist(&port("late", 1), 1);
        // It counts from the first GOOD on, of those that have heard of all.
        for (failures, now_ms) in [(1, 7), (1, 6 + OTHERS_HEAR_MS), (2, 7 + OTHERS_HEAR_MS), (1, 7 + OTHERS_HEAR_MS)] {
            first.settle(failures, now_ms);
            assert!(first.lost(1).is_some_and(|lost| !lost.others));
        }
        first.settle(2, 7 + 2 * OTHERS_HEAR_MS);
        assert_eq!(first.lost(1), Some(Lost { ports: vec![(port("late", 1), false)], others: true }));
        late.store(1, Ordering::Relaxed);
        assert_eq!(first.lost(1), None);
        assert_eq!(heard(&first.enlist(&port("b", 1), 1)), 1);
        assert!(first.lost(3).is_some_and(|lost| !lost.others), "another one");
    }

    #[test]
    fn what_fails_after_a_flush_concerns_nobody_who_was_gone_before_it() {
        let mut hearers = Hearers::begin(true);
        let before = hearers.others_unflushed();
        hearers.others_flushed(before, 1);
        assert_eq!(hearers.others_unflushed(), 0);
        assert_eq!(heard(&hearers.enlist(&port("a", 1), 1)), 0, "what failed before it does");
        hearers.settle(1, 0);
        hearers.settle(1, OTHERS_HEAR_MS);
        assert_eq!(heard(&hearers.enlist(&port("b", 1), 2)), 2);
        // One of those comes to be forgotten while another flush is under way.
        let before = hearers.others_unflushed();
        for n in 0..ABSENT_HEARERS {
            drop(hearers.enlist(&port(&format!("h{n}"), 1), 2));
        }
        hearers.others_flushed(before, 2);
        assert_eq!(heard(&hearers.enlist(&port("c", 1), 3)), 2, "not of the third");
        let since = hearers.others_unflushed();
        hearers.others_flushed(since, 3);
        assert!(hearers.lost(4).is_some_and(|lost| !lost.others), "what was lost before");
    }

    /// So a login costs no more where thousands are there.
    #[test]
    fn those_who_are_gone_are_counted_now_and_then() {
        let mut hearers = Hearers::default();
        let _live: Vec<_> = (0..1000).map(|n| hearers.enlist(&port(&format!("h{n}"), 1), 0)).collect();
        let mut looks = 0;
        for n in 0..10_000 {
            let before = hearers.count;
            drop(hearers.enlist(&port(&format!("g{n}"), 1), 0));
            looks += usize::from(hearers.count <= before);
            assert!(hearers.count <= 3 * 1000 + ABSENT_HEARERS);
        }
        assert!((1..=11).contains(&looks), "{looks}");
    }

    #[test]
    fn who_has_heard_and_who_has_other_ports_is_forgotten_first() {
        let mut hearers = Hearers::default();
        drop(hearers.enlist(&port("v", 1), 0));
        for isid in 0..ABSENT_HEARERS {
            drop(hearers.enlist(&port("many", isid as u8), 0));
        }
        let is_here = |hearers: &Hearers, port: &InitiatorPort| hearers.all().any(|one| one.port == *port);
        let ninth = hearers.all().find(|one| one.number == 9).unwrap();
        ninth.heard.store(1, Ordering::Relaxed);
        let heard = ninth.port.clone();
        drop(hearers.enlist(&port("w", 1), 1));
        assert!(!is_here(&hearers, &heard));
        for n in 0..9 {
            drop(hearers.enlist(&port(&format!("w{n}"), 1), 0));
        }
        assert!(is_here(&hearers, &port("v", 1)));
    }

    #[test]
    fn what_was_told_is_heard_when_it_has_arrived() {
        let mut one = Hearing::default();
        let arrived = |upto: u64| move |answer: u64| Some(answer <= upto);
        assert_eq!(one.hear(1, Some(5), arrived(4)), Heard::IsTold);
        assert_eq!(one.hear(1, Some(6), arrived(4)), Heard::IsTold);
        assert_eq!([one.hear(1, Some(7), arrived(5)), one.hear(1, Some(8), arrived(5))], [Heard::Now, Heard::Before]);
        assert_eq!(one.hear(2, Some(9), arrived(8)), Heard::IsTold);
        // Its connection is gone.
        assert_eq!(one.hear(2, None, |_| None), Heard::IsTold);
        assert_eq!(
            one.hear(2, Some(3), arrived(9)),
            Heard::IsTold,
            "what was told without an answer is not known to be heard"
        );
        one.note_arrival(arrived(3));
        assert_eq!(one.hear(2, Some(4), arrived(3)), Heard::Before);
    }

    /// It is not there while somebody else hears, and goes on.
    #[test]
    fn who_was_here_when_all_had_yet_to_hear_hears_whoever_goes_on_before() {
        let mut first = Hearers::begin(true);
        let _here = ["a", "b"].map(|name| first.enlist(&port(name, 1), 0));
        let mut next = restarted(&first, 1);
        let told = next.enlist(&port("a", 1), 1);
        assert_eq!(told.swap(1, Ordering::Relaxed), 0);
        next.settle(1, 0);
        next.settle(1, OTHERS_HEAR_MS);
        let mut again = restarted(&next, 1);
        assert_eq!(["a", "b", "c"].map(|name| heard(&again.enlist(&port(name, 1), 1))), [1, 0, 1]);
    }

    #[test]
    fn who_had_to_be_forgotten_hears_after_a_restart_whoever_goes_on_before() {
        let mut hearers = Hearers::default();
        drop(hearers.enlist(&port("v", 1), 0));
        for n in 0..ABSENT_HEARERS {
            drop(hearers.enlist(&port(&format!("h{n}"), 1), 0));
        }
        for hearer in hearers.all() {
            hearer.heard.store(1, Ordering::Relaxed);
        }
        hearers.settle(1, 0);
        assert!(!hearers.lost(1).unwrap().others);
        let mut next = restarted(&hearers, 1);
        assert_eq!(["v", "h9"].map(|name| heard(&next.enlist(&port(name, 1), 1))), [0, 1]);
    }

    #[test]
    fn who_did_not_fit_into_what_is_saved_hears_whoever_goes_on_before() {
        let mut hearers = Hearers::default();
        let _present: Vec<_> = (0..=LOST_PORTS).map(|n| hearers.enlist(&port(&format!("h{n}"), 1), 0)).collect();
        let mut next = restarted(&hearers, 1);
        next.enlist(&port("h0", 1), 1).store(1, Ordering::Relaxed);
        next.settle(1, 0);
        let mut again = restarted(&next, 1);
        assert_eq!(["h0", "h1"].map(|name| heard(&again.enlist(&port(name, 1), 1))), [1, 0]);
    }

    #[test]
    fn more_than_can_be_saved_have_all_yet_to_hear() {
        let mut hearers = Hearers::default();
        let _present: Vec<_> = (0..=LOST_PORTS).map(|n| hearers.enlist(&port(&format!("h{n}"), 1), 0)).collect();
        assert_eq!(hearers.lost(1), Some(Lost::UNHEARD));
    }
}
