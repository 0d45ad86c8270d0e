//! A line of the log before it is written: what it says, and nothing in it that a terminal or another program would take for more.
//!
//! All that is said comes through here, whatever it is written as in the end ([`super::form`]): so here, and nowhere else, is where what peers
//! have sent loses its control characters.

use crate::events::{Event, Value};
use crate::limits::{EVENT_TEXT_BYTES, LOG_LINE_BYTES};
use std::fmt::{self, Write};
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// The field that says what kind of event a line is.
pub const KIND: &str = "event";

/// What stands for what is left out.
const CUT: char = '\u{2026}';

/// A line, as it was said.
#[derive(Debug)]
pub struct Record {
    /// When, as RFC 3339 says it.
    pub time: String,
    /// How bad it is.
    pub level: Level,
    /// The module that says it.
    pub target: &'static str,
    /// What kind of event it is, if that has a name.
    pub kind: Option<String>,
    /// What happened.
    pub message: String,
    /// What it is about.
    pub fields: Vec<Told>,
    /// Bytes of text that still have room.
    pub(super) room: usize,
}

/// A field of a line.
#[derive(Debug)]
pub struct Told {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub value: Value,
    /// Whether it stands between quotation marks, where all is one text.
    pub quoted: bool,
}

impl Record {
    /// One that says nothing yet.
    pub fn new(level: Level, target: &'static str) -> Record {
        Record {
            time: now(),
            level,
            target,
            kind: None,
            message: String::new(),
            fields: Vec::new(),
            room: LOG_LINE_BYTES,
        }
    }

    /// What `event` says.
    pub fn of(event: &tracing::Event<'_>) -> Record {
        let metadata: &'static Metadata<'static> = event.metadata();
        let mut record = Record::new(*metadata.level(), metadata.target());
        event.record(&mut record);
        record
    }

    /// The same for who wants to know what happens. What is said at a finer level is one for information.
    pub fn into_event(self) -> Event {
        let (level, word) = match self.level {
            Level::ERROR => ("error", "error"),
            Level::WARN => ("warn", "warning"),
            _ => ("info", "info"),
        };
        let cut = |mut text: String| {
            if text.len() > EVENT_TEXT_BYTES {
                text.truncate(text.floor_char_boundary(EVENT_TEXT_BYTES));
                text.push(CUT);
            }
            text
        };
        let value = |value| if let Value::Text(text) = value { Value::Text(cut(text)) } else { value };
        Event {
            time: self.time,
            kind: self.kind.unwrap_or_else(|| word.to_owned()),
            level,
            message: cut(self.message),
            fields: self.fields.into_iter().map(|told| (told.name, value(told.value))).collect(),
        }
    }

    fn text(&mut self, said: fmt::Arguments<'_>) -> String {
        let mut clean = Clean { text: String::new(), room: self.room };
        // Whatever a formatter of ours says of itself: what it has written stays.
        let _ = clean.write_fmt(said);
        self.room = clean.room;
        clean.text
    }

    fn tell(&mut self, field: &Field, value: Value, quoted: bool) {
        let name = field.name().trim_start_matches("r#");
        match value {
            Value::Text(text) if name == "message" => self.message = text,
            Value::Text(text) if name == KIND => self.kind = Some(text),
            value => self.fields.push(Told { name, value, quoted }),
        }
    }
}

impl Visit for Record {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.tell(field, Value::Fraction(value), false);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.tell(field, Value::Integer(value), false);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.tell(field, Value::Count(value), false);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.tell(field, Value::Flag(value), false);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text = self.text(format_args!("{value}"));
        self.tell(field, Value::Text(text), true);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = self.text(format_args!("{value:?}"));
        self.tell(field, Value::Text(text), false);
    }
}

/// What time it is, to the microsecond.
fn now() -> String {
    let mut text = String::with_capacity(32);
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// `text` without control characters.
pub fn clean(text: &str) -> String {
    let mut clean = Clean { text: String::with_capacity(text.len()), room: LOG_LINE_BYTES };
    let _ = clean.write_str(text);
    clean.text
}

/// Takes a text, as much as there is room for, and shows what cannot be seen as what it is.
struct Clean {
    text: String,
    room: usize,
}

impl Write for Clean {
    fn write_str(&mut self, said: &str) -> fmt::Result {
        let mut bytes = [0; 5];
        // A mark that changes what is before it (an accent) stays, behind something.
        bytes[0] = b'a';
        for c in said.chars() {
            let before = self.text.len();
            match c {
                ' '..='~' => self.text.push(c),
                _ => {
                    let len = c.encode_utf8(&mut bytes[1..]).len();
                    let with = std::str::from_utf8(&bytes[..=len]).unwrap_or_default();
                    self.text.extend(with.escape_debug().skip(1));
                }
            }
            let len = self.text.len() - before;
            if len > self.room {
                self.text.truncate(before);
                if !self.text.is_empty() {
                    self.text.push(CUT);
                }
                self.room = 0;
                return Err(fmt::Error);
            }
            self.room -= len;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_it_is() {
        for (text, shown) in [
            ("iqn.2026-11.com.example:host \"a\\b\"", "iqn.2026-11.com.example:host \"a\\b\""),
            ("a\x1b[31mb\x07\x7f\0", "a\\u{1b}[31mb\\u{7}\\u{7f}\\0"),
            ("two\nlines\r\tof", "two\\nlines\\r\\tof"),
            (
                "\u{9b}31m\u{85}\u{2028}\u{202e}\u{feff}\u{200b}",
                "\\u{9b}31m\\u{85}\\u{2028}\\u{202e}\\u{feff}\\u{200b}",
            ),
            ("gr\u{fc}n \u{65e5}\u{672c} e\u{301}", "gr\u{fc}n \u{65e5}\u{672c} e\u{301}"),
        ] {
            assert_eq!(clean(text), shown);
            assert!(clean(text).chars().all(|c| !c.is_control()));
        }
    }

    #[test]
    fn a_line_has_an_end() {
        let long = clean(&"\u{20ac}".repeat(LOG_LINE_BYTES));
        assert!(long.len() <= LOG_LINE_BYTES + CUT.len_utf8() && long.ends_with("\u{20ac}\u{2026}"), "{}", long.len());
        let mut record = Record::new(Level::INFO, "ringsan");
        assert!(record.text(format_args!("{}", "x".repeat(LOG_LINE_BYTES + 1))).ends_with("x\u{2026}"));
        assert_eq!(record.text(format_args!("more")), "", "a line has room for so much in all");
        record.message = long;
        let event = record.into_event();
        assert!(event.message.len() <= EVENT_TEXT_BYTES + CUT.len_utf8() && event.message.ends_with(CUT));
        assert_eq!((event.level, &*event.kind), ("info", "info"));
    }

    #[test]
    fn a_time_is_as_others_write_it() {
        let time = now();
        assert!(time.len() == 27 && time.starts_with("20") && time.ends_with('Z') && &time[10..11] == "T", "{time}");
    }
}
