//! How many commands have ended at each logical unit, what they moved, and how long they took.
//!
//! A command that is answered is noted ([`Tally::ended`]), and what was noted is counted when what the turn has to send goes
//! out ([`Tally::settle`]), with one look at the clock for all of it. So what a command took is counted from the beginning of the
//! turn that it was executed in to the end of the one that it was answered in: time on the network, and in the line of commands
//! that wait for an earlier CmdSN, is not in it, and what it waits for in the target and at the medium is.
//!
//! What a command takes that is not over in the turn that it began in is told apart by stage (`spent.rs`). The rest of the turn that it is
//! answered in is of the network.

use super::stage_times::StageTimes;
use crate::limits::SLOW_PER_TURN;
use crate::model::{PerUnit, SeatIx, UnitIx};
use hdrhistogram::Histogram;

/// What a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// Its data goes from the medium to the initiator.
    Read,
    /// Its data goes from the initiator to the medium.
    Write,
    /// It has what was written made durable.
    Flush,
    /// All else.
    Other,
}

impl Class {
    /// All of them, in the order of their numbers.
    pub const ALL: [Class; 4] = [Class::Read, Class::Write, Class::Flush, Class::Other];

    /// What it is called where it is shown.
    pub fn word(self) -> &'static str {
        match self {
            Class::Read => "read",
            Class::Write => "write",
            Class::Flush => "flush",
            Class::Other => "other",
        }
    }
}

/// A command that was answered.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Whose it was.
    pub seat: SeatIx,
    /// When it began, nanoseconds of the clock of all cores.
    pub begun_ns: u64,
    /// Where.
    pub unit: UnitIx,
    /// Bytes of its data.
    pub bytes: u32,
    /// What it was about.
    pub class: Class,
}

/// What has ended at one unit, by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnitTraffic {
    /// Commands.
    pub commands: [u64; 4],
    /// Bytes of their data.
    pub bytes: [u64; 4],
    /// What they took in all, microseconds.
    pub took_us: [u64; 4],
    /// What of that those that took more than a turn have spent in each stage, microseconds.
    pub spent_us: [[u64; 3]; 4],
}

impl UnitTraffic {
    /// Adds what another core has counted.
    pub fn add(&mut self, other: &UnitTraffic) {
        for class in 0..Class::ALL.len() {
            self.commands[class] += other.commands[class];
            self.bytes[class] += other.bytes[class];
            self.took_us[class] += other.took_us[class];
            let spent = self.spent_us[class].iter_mut().zip(other.spent_us[class]);
            spent.for_each(|(own, others)| *own += others);
        }
    }
}

/// How long commands of one class took, microseconds.
#[derive(Debug, Clone)]
pub struct Latency {
    /// How many took how long, to one part in a hundred; those of more than a minute as a minute.
    pub took_us: Histogram<u64>,
    /// All of it.
    pub sum_us: u64,
    /// How many took more than a turn.
    pub later: u64,
    /// How long those were in each stage.
    pub stages: [StageTimes; 3],
}

/// What took longer is counted as if it had not, microseconds.
const LONGEST_US: u64 = 60_000_000;

impl Default for Latency {
    fn default() -> Latency {
        let took_us = Histogram::new_with_bounds(1, LONGEST_US, 2).expect("these bounds are in order");
        Latency { took_us, sum_us: 0, later: 0, stages: Default::default() }
    }
}

/// What has ended on one core.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// At each unit that has had a command.
    pub units: PerUnit<Vec<UnitTraffic>>,
    /// How long commands took, by class.
    pub latency: [Latency; 4],
}

/// Commands that are counted together: what was executed in one turn and answered in one mostly is of one kind at one unit.
#[derive(Debug, Clone, Copy)]
struct Noted {
    seat: SeatIx,
    begun_ns: u64,
    unit: UnitIx,
    class: Class,
    commands: u32,
    bytes: u64,
    /// What each has spent in the queue and at the medium, nanoseconds.
    spent_ns: [u64; 2],
}

/// Commands of one seat that were counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Whose they were.
    pub seat: SeatIx,
    /// Where.
    pub unit: UnitIx,
    /// What they were about.
    pub class: Class,
    /// How many.
    pub commands: u64,
    /// Bytes of their data.
    pub bytes: u64,
    /// What they took in all, microseconds.
    pub took_us: u64,
}

/// A command that may have been slow: whose unit has a time for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slow {
    /// Whose it was.
    pub seat: SeatIx,
    /// When it began, nanoseconds of the clock of all cores.
    pub begun_ns: u64,
    /// Where.
    pub unit: UnitIx,
    /// The bytes of the medium that it was about: where they begin, and how many.
    pub range: (u64, u32),
    /// What it was about.
    pub class: Class,
}

/// So many notes are kept before they are counted; those of more than a turn.
const NOTES: usize = 4096;

/// The same, with what is still to be counted.
#[derive(Debug)]
pub struct Tally {
    noted: Vec<Noted>,
    /// What was counted already, for want of room, and nobody was told of yet.
    untold: Vec<Counted>,
    /// What was counted.
    pub traffic: Traffic,
    /// When the turn began, nanoseconds.
    turn_ns: u64,
    /// What began before this may have been slow, nanoseconds; 0: nothing is. (So that is one comparison.)
    slow_before_ns: u64,
    /// What takes longer may be, nanoseconds.
    least_slow_ns: u64,
    slow: Vec<Slow>,
}

impl Default for Tally {
    fn default() -> Tally {
        let (noted, slow) = (Vec::with_capacity(NOTES), Vec::with_capacity(SLOW_PER_TURN));
        Tally {
            noted,
            untold: Vec::new(),
            traffic: Traffic::default(),
            turn_ns: 0,
            slow_before_ns: 0,
            least_slow_ns: u64::MAX,
            slow,
        }
    }
}

impl Tally {
    /// A command was answered in the turn that it began in.
    #[inline]
    pub fn ended(&mut self, Ended { seat, begun_ns, unit, bytes, class }: Ended) {
        // All that began in this turn has ended in it, so has spent the same.
        if let Some(last) = self.noted.last_mut()
            && (last.begun_ns, last.seat, last.unit, last.class) == (begun_ns, seat, unit, class)
        {
            last.commands += 1;
            last.bytes += u64::from(bytes);
            return;
        }
        self.note(Noted { seat, begun_ns, unit, class, commands: 1, bytes: bytes.into(), spent_ns: [0; 2] });
    }

    /// A command was answered that began in an earlier turn, and has spent so long in the queue and at the medium, nanoseconds.
    #[inline(never)]
    pub fn ended_later(&mut self, Ended { seat, begun_ns, unit, bytes, class }: Ended, spent_ns: [u64; 2]) {
        if let Some(last) = self.noted.last_mut()
            && (last.begun_ns, last.seat, last.unit, last.class, last.spent_ns)
                == (begun_ns, seat, unit, class, spent_ns)
        {
            last.commands += 1;
            last.bytes += u64::from(bytes);
            return;
        }
        self.note(Noted { seat, begun_ns, unit, class, commands: 1, bytes: bytes.into(), spent_ns });
    }

    fn note(&mut self, noted: Noted) {
        if self.noted.len() == NOTES {
            // There are more than ever end in a turn: nobody looks at the clock for these.
            let mut untold = std::mem::take(&mut self.untold);
            self.count(self.turn_ns.max(noted.begun_ns), |counted| untold.push(counted));
            self.untold = untold;
        }
        self.noted.push(noted);
    }

    /// When the turn began, by the clock of all cores, nanoseconds.
    #[inline(always)]
    pub fn turn_ns(&self) -> u64 {
        self.turn_ns
    }

    /// Whether what began then began in this turn.
    #[inline(always)]
    pub fn is_of_this_turn(&self, begun_ns: u64) -> bool {
        begun_ns == self.turn_ns
    }

    /// A turn begins.
    #[inline]
    pub fn turn(&mut self, now_ns: u64) {
        self.turn_ns = now_ns;
        self.slow_before_ns = now_ns.saturating_sub(self.least_slow_ns);
    }

    /// The shortest time after which a command of any unit is slow, nanoseconds; `u64::MAX`: none is.
    pub fn slow_after(&mut self, least_ns: u64) {
        self.least_slow_ns = least_ns;
    }

    /// Whether what began then may have been slow.
    #[inline(always)]
    pub fn may_be_slow(&self, begun_ns: u64) -> bool {
        begun_ns < self.slow_before_ns
    }

    /// Notes a command that may have been slow.
    #[cold]
    pub fn note_slow(&mut self, slow: Slow) {
        // There is room for that from the beginning.
        if self.slow.len() < SLOW_PER_TURN {
            self.slow.push(slow);
        }
    }

    /// Whether commands of this turn may have been slow.
    #[inline]
    pub fn has_slow(&self) -> bool {
        !self.slow.is_empty()
    }

    /// One of those.
    pub fn next_slow(&mut self) -> Option<Slow> {
        self.slow.pop()
    }

    /// Whether something is to be counted.
    #[inline]
    pub fn is_due(&self) -> bool {
        !self.noted.is_empty()
    }

    /// A unit is served no more: another one may have its number.
    pub fn forget(&mut self, unit: UnitIx) {
        self.noted.retain(|noted| noted.unit != unit);
        if let Some(traffic) = self.traffic.units.get_mut(unit) {
            *traffic = UnitTraffic::default();
        }
    }

    /// Counts what was noted, and tells what was counted. It is `now_ns` by the clock of all cores.
    pub fn settle(&mut self, now_ns: u64, mut told: impl FnMut(Counted)) {
        self.untold.drain(..).for_each(&mut told);
        self.count(now_ns, told);
    }

    fn count(&mut self, now_ns: u64, mut told: impl FnMut(Counted)) {
        let turn_ns = self.turn_ns;
        for Noted { seat, begun_ns, unit, class, commands, bytes, spent_ns } in self.noted.drain(..) {
            let commands = u64::from(commands);
            let took_us = now_ns.saturating_sub(begun_ns) / 1000;
            let at = class as usize;
            let traffic = self.traffic.units.place(unit);
            traffic.commands[at] += commands;
            traffic.bytes[at] += bytes;
            traffic.took_us[at] += commands * took_us;
            let latency = &mut self.traffic.latency[at];
            latency.sum_us += commands * took_us;
            latency.took_us.saturating_record_n(took_us, commands);
            if begun_ns < turn_ns {
                latency.later += commands;
                let [queue_us, medium_us] = spent_ns.map(|ns| ns / 1000);
                let spent_us = [queue_us, medium_us, took_us.saturating_sub(queue_us + medium_us)];
                for (at_stage, us) in spent_us.into_iter().enumerate() {
                    traffic.spent_us[at][at_stage] += commands * us;
                    latency.stages[at_stage].note(us, commands);
                }
            }
            told(Counted { seat, unit, class, commands, bytes, took_us: commands * took_us });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::spent::{Spent, Stage};

    fn ended(begun_ns: u64, unit: usize, class: Class) -> Ended {
        Ended { seat: SeatIx::new(3), begun_ns, unit: UnitIx::new(unit), bytes: 4096, class }
    }

    #[test]
    fn each_command_is_counted_once_where_it_was_and_for_as_long_as_it_took() {
        let mut tally = Tally::default();
        assert!(!tally.is_due());
        tally.ended(ended(1_000_000, 2, Class::Read));
        tally.ended(ended(1_500_000, 2, Class::Write));
        tally.ended(ended(1_500_000, 2, Class::Write));
        tally.ended(ended(0, 0, Class::Read));
        assert!(tally.is_due());
        let mut told = Vec::new();
        tally.settle(2_000_000, |counted| {
            told.push((counted.unit.at(), counted.class, counted.commands, counted.bytes))
        });
        assert_eq!(told, [(2, Class::Read, 1, 4096), (2, Class::Write, 2, 8192), (0, Class::Read, 1, 4096)]);
        assert!(!tally.is_due());
        tally.settle(9_000_000, |_| panic!("it was told of"));
        let units = &tally.traffic.units;
        assert_eq!(units.all().len(), 3);
        let [first, second, third] = [0, 1, 2].map(|unit| units.all()[unit]);
        assert_eq!((first.commands, first.took_us), ([1, 0, 0, 0], [2000, 0, 0, 0]));
        assert_eq!(second, UnitTraffic::default());
        let all = UnitTraffic {
            commands: [1, 2, 0, 0],
            bytes: [4096, 8192, 0, 0],
            took_us: [1000, 1000, 0, 0],
            spent_us: [[0; 3]; 4],
        };
        assert_eq!(third, all);
        let [read, write, flush, other] = &tally.traffic.latency;
        assert_eq!((read.took_us.len(), read.sum_us), (2, 3000));
        assert!(read.took_us.equivalent(read.took_us.max(), 2000) && read.took_us.equivalent(read.took_us.min(), 1000));
        assert_eq!((write.took_us.len(), write.sum_us), (2, 1000));
        assert_eq!((flush.took_us.len(), other.took_us.len()), (0, 0));
    }

    #[test]
    fn what_two_sessions_did_is_told_apart() {
        let mut tally = Tally::default();
        for seat in [0, 0, 1, 0] {
            tally.ended(Ended { seat: SeatIx::new(seat), ..ended(0, 0, Class::Write) });
        }
        let mut told = Vec::new();
        tally.settle(1_000, |counted| told.push((counted.seat.at(), counted.commands)));
        assert_eq!(told, [(0, 2), (1, 1), (0, 1)]);
        assert_eq!(tally.traffic.units.all()[0].commands, [0, 4, 0, 0]);
    }

    #[test]
    fn what_takes_more_than_a_turn_is_told_apart() {
        let mut tally = Tally::default();
        let mut spent = Spent::NOTHING;
        spent.since_ns = 1_000_000;
        let mut other = spent;
        spent.goes_on_in(Stage::Medium, 1_250_000);
        spent.goes_on_in(Stage::Network, 3_000_000);
        other.goes_on_in(Stage::Medium, 1_000_000);
        tally.turn(3_000_000);
        assert!(tally.is_of_this_turn(3_000_000) && !tally.is_of_this_turn(1_000_000));
        // Two that began together, and were not in the same stages.
        tally.ended_later(ended(1_000_000, 1, Class::Read), spent.end(3_000_000));
        let other_ns = other.end(3_000_000);
        (0..2).for_each(|_| tally.ended_later(ended(1_000_000, 1, Class::Read), other_ns));
        tally.ended(ended(3_000_000, 1, Class::Read));
        let mut took_us = 0;
        tally.settle(3_100_000, |counted| took_us += counted.took_us);
        assert_eq!(took_us, 3 * 2100 + 100);
        let unit = tally.traffic.units[1];
        assert_eq!((unit.commands[0], unit.took_us[0]), (4, 3 * 2100 + 100));
        assert_eq!(unit.spent_us[0], [250, 1750 + 2 * 2000, 3 * 100]);
        assert_eq!(unit.spent_us[1..], [[0; 3]; 3]);
        let read = &tally.traffic.latency[0];
        assert_eq!((read.took_us.len(), read.later), (4, 3));
        assert_eq!(read.stages.each_ref().map(|stage| (stage.count(), stage.sum_us)), [(1, 250), (3, 5750), (3, 300)]);
        let medium: Vec<_> = read.stages[Stage::Medium as usize].iter().map(|(_, count)| count).collect();
        assert_eq!(medium, [1, 2]);
        let mut twice = unit;
        twice.add(&unit);
        assert_eq!(twice.spent_us[0], [500, 11500, 600]);
    }

    #[test]
    fn what_began_long_ago_may_have_been_slow_if_anything_may() {
        let mut tally = Tally::default();
        tally.turn(10_000);
        assert!(!tally.may_be_slow(0));
        tally.slow_after(4_000);
        tally.turn(10_000);
        assert_eq!([5_999, 6_000].map(|begun_ns| tally.may_be_slow(begun_ns)), [true, false]);
        let of = |begun_ns| Slow {
            seat: SeatIx::new(1),
            begun_ns,
            unit: UnitIx::new(0),
            range: (0, 512),
            class: Class::Read,
        };
        (0..SLOW_PER_TURN as u64 + 3).for_each(|at| tally.note_slow(of(at)));
        assert!(tally.has_slow() && tally.slow.capacity() == SLOW_PER_TURN);
        assert_eq!(std::iter::from_fn(|| tally.next_slow()).count(), SLOW_PER_TURN);
        tally.slow_after(u64::MAX);
        tally.turn(u64::MAX - 1);
        assert!(!tally.may_be_slow(0));
    }

    #[test]
    fn a_unit_that_has_the_number_of_another_begins_with_nothing() {
        let mut tally = Tally::default();
        tally.ended(ended(0, 1, Class::Read));
        tally.settle(5_000, |_| ());
        tally.ended(ended(0, 1, Class::Read));
        tally.ended(ended(0, 0, Class::Read));
        [1, 7].into_iter().for_each(|unit| tally.forget(UnitIx::new(unit)));
        tally.settle(5_000, |_| ());
        let commands: Vec<u64> = tally.traffic.units.iter().map(|unit| unit.commands[0]).collect();
        assert_eq!(commands, [1, 0]);
        assert_eq!(tally.traffic.latency[0].took_us.len(), 2, "the core has answered what it has counted");
    }

    #[test]
    fn what_takes_for_ever_is_counted_and_so_is_more_than_a_turn_brings() {
        let mut tally = Tally::default();
        tally.ended(ended(0, 0, Class::Flush));
        tally.settle(u64::MAX / 2, |_| ());
        assert_eq!(tally.traffic.latency[2].took_us.len(), 1);
        let before = tally.noted.capacity();
        for at in 0..2 * NOTES as u64 + 1 {
            tally.ended(ended(at, 0, Class::Other));
        }
        let mut told = 0;
        tally.settle(1 << 20, |counted| told += counted.commands);
        assert_eq!(told, 2 * NOTES as u64 + 1);
        assert_eq!((tally.traffic.latency[3].took_us.len(), tally.noted.capacity()), (2 * NOTES as u64 + 1, before));
    }
}
