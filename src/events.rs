//! What has happened lately that an administrator may want to know, for who asks: the last events, each with a number.
//!
//! They are the lines of the log that are worth it, whatever the log itself is told to leave out ([`crate::log`] puts them here,
//! without control characters), and readers find them by number (`mgmt/api/events.rs`). A core that says something holds the lock for as
//! long as it takes to queue a pointer; a reader, for as long as it takes to copy some.
//!
//! Invariants: numbers go up, also from one process to the next as long as the machine's clock does. What is kept has a bound, in events and
//! in bytes; the oldest go first, and a reader that has not had them is told how many they were.

use crate::limits::{EVENT_BYTES, EVENTS, EVENTS_AT_A_TIME};
use crate::panics::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// How far milliseconds since 1970 are shifted to make the first number of a process: less than 2^53, which JSON's readers can have, and more
/// than anybody says in one.
const MS_BITS: u32 = 11;

/// What a field says.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A whole number that is not negative.
    Count(u64),
    /// Another number.
    Fraction(f64),
    /// A text, without control characters.
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Flag(flag) => flag.fmt(f),
            Value::Integer(number) => number.fmt(f),
            Value::Count(number) => number.fmt(f),
            Value::Fraction(number) => number.fmt(f),
            Value::Text(text) => f.write_str(text),
        }
    }
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When, as RFC 3339 says it.
    pub time: String,
    /// What kind of event it is: a word that stays as it is.
    pub kind: String,
    /// `error`, `warn` or `info`.
    pub level: &'static str,
    /// What it is, in words.
    pub message: String,
    /// What it is about.
    pub fields: Vec<(&'static str, Value)>,
}

impl Event {
    /// About how much memory it takes.
    fn bytes(&self) -> usize {
        let text = |value: &Value| if let Value::Text(text) = value { text.len() } else { 0 };
        let fields = self.fields.iter().map(|(_, value)| size_of::<(&str, Value)>() + text(value)).sum::<usize>();
        size_of::<Event>() + self.time.len() + self.kind.len() + self.message.len() + fields
    }
}

/// The last events.
#[derive(Debug)]
pub struct Events {
    /// The number that the first one has.
    first: u64,
    kept: Mutex<Kept>,
}

struct Kept {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The number of the next one.
    next: u64,
}

/// What a reader is given at a time.
#[derive(Debug, Default, PartialEq)]
pub struct Heard {
    /// So many have gone before it came for them.
    pub lost: u64,
    /// What came then, with its numbers.
    pub events: Vec<(u64, Arc<Event>)>,
}

/// Where a reader is: the number of what it has next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u64);

impl Events {
    /// None yet, in a process that began so many milliseconds after 1970.
    pub fn since(ms: u64) -> Events {
        let first = ms << MS_BITS;
        Events { first, kept: Mutex::new(Kept { events: VecDeque::new(), bytes: 0, next: first }) }
    }

    /// Keeps one more. Never waits for a reader.
    pub fn put(&self, event: Event) {
        let bytes = event.bytes();
        let event = Arc::new(event);
        let mut gone = Vec::new();
        let mut kept = self.kept.lock();
        kept.bytes += bytes;
        kept.next += 1;
        kept.events.push_back(event);
        while (kept.events.len() > EVENTS || kept.bytes > EVENT_BYTES)
            && let Some(oldest) = kept.events.pop_front()
        {
            kept.bytes -= oldest.bytes();
            gone.push(oldest);
        }
        drop(kept);
        // What has gone is given back to the allocator without the lock.
        drop(gone);
    }

    /// Where a reader begins that has had all up to number `last`; `None`: that has had nothing. If that number is of another process,
    /// it begins with all that there is.
    pub fn place_after(&self, last: Option<u64>) -> Place {
        let next = self.kept.lock().next;
        Place(last.filter(|last| (self.first..next).contains(last)).map_or(self.first, |last| last + 1))
    }

    /// What comes next for a reader, some at a time. One that has had nothing yet has lost nothing.
    pub fn read(&self, place: &mut Place) -> Heard {
        let kept = self.kept.lock();
        let oldest = kept.next - kept.events.len() as u64;
        let lost = oldest.saturating_sub(place.0);
        let from = place.0.max(oldest);
        let skipped = usize::try_from(from - oldest).unwrap_or(usize::MAX);
        let events: Vec<_> = (from..).zip(kept.events.iter().skip(skipped).take(EVENTS_AT_A_TIME).cloned()).collect();
        drop(kept);
        let lost = if place.0 == self.first { 0 } else { lost };
        *place = Place(from + events.len() as u64);
        Heard { lost, events }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("next", &self.next).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: u64 = 1_800_000_000_000;

    fn event(message: impl Into<String>) -> Event {
        Event {
            time: "2026-12-01T00:00:00Z".to_owned(),
            kind: "test".to_owned(),
            level: "info",
            message: message.into(),
            fields: vec![("number", Value::Count(1)), ("text", Value::Text("x".to_owned()))],
        }
    }

    fn all(events: &Events, place: &mut Place) -> (u64, Vec<u64>) {
        let (mut lost, mut numbers) = (0, Vec::new());
        loop {
            let heard = events.read(place);
            lost += heard.lost;
            if heard.events.is_empty() {
                return (lost, numbers);
            }
            assert!(heard.events.len() <= EVENTS_AT_A_TIME);
            numbers.extend(heard.events.iter().map(|(number, _)| *number));
        }
    }

    #[test]
    fn a_reader_has_each_event_once_and_what_it_was_too_late_for_is_counted() {
        let events = Events::since(BEGAN);
        let first = BEGAN << MS_BITS;
        let mut place = events.place_after(None);
        assert_eq!(all(&events, &mut place), (0, vec![]));
        (0..3).for_each(|number| events.put(event(number.to_string())));
        assert_eq!(all(&events, &mut place), (0, vec![first, first + 1, first + 2]));
        assert_eq!(all(&events, &mut place), (0, vec![]));
        (0..EVENTS + 5).for_each(|_| events.put(event("more")));
        let (lost, numbers) = all(&events, &mut place);
        assert_eq!((lost, numbers.len()), (5, EVENTS));
        assert_eq!(numbers.first().zip(numbers.last()), Some((&(first + 8), &(first + 7 + EVENTS as u64))));
        // Who comes now has missed nothing that it was promised.
        let (lost, numbers) = all(&events, &mut events.place_after(None));
        assert_eq!((lost, numbers.len()), (0, EVENTS));
    }

    #[test]
    fn who_comes_again_goes_on_where_it_was_if_that_was_here() {
        let events = Events::since(BEGAN);
        let first = BEGAN << MS_BITS;
        (0..4).for_each(|number| events.put(event(number.to_string())));
        let from = |last| all(&events, &mut events.place_after(last)).1;
        assert_eq!(from(Some(first)), [first + 1, first + 2, first + 3]);
        assert!(from(Some(first + 3)).is_empty());
        let of_another_process = [0, first - 1, first + 4, u64::MAX];
        assert!(of_another_process.iter().all(|last| from(Some(*last)).len() == 4));
        let later = Events::since(BEGAN + 1);
        later.put(event("after a restart"));
        assert!(all(&later, &mut later.place_after(None)).1[0] > first + EVENTS as u64);
        const { assert!((4_000_000_000_000_u64 << MS_BITS) < 1_u64 << 53, "JavaScript has these numbers") };
    }

    #[test]
    fn long_ones_take_no_more_memory_than_short_ones() {
        let events = Events::since(BEGAN);
        (0..EVENTS).for_each(|_| events.put(event("x".repeat(EVENT_BYTES / 10))));
        let kept = events.kept.lock();
        assert!(kept.bytes <= EVENT_BYTES && (1..=10).contains(&kept.events.len()), "{}", kept.events.len());
        assert_eq!(kept.bytes, kept.events.iter().map(|event| event.bytes()).sum::<usize>());
    }
}
