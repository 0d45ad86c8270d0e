//! How lines are written: for people, for programs, for the journal.

use super::record::{Record, Told, clean};
use crate::events::Value;
use serde_json::{Map, json};
use std::fmt::Write;
use tracing::Level;

/// What the journal knows the program by.
const IDENTIFIER: &str = "ringsan";

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// For people.
    #[default]
    Text,
    /// With colours, for a terminal.
    Coloured,
    /// With how bad it is before it, as sd-daemon(3) says: for stderr that the journal reads.
    Prefixed,
    /// An object of JSON each.
    Json,
    /// The fields of an entry of the journal, in its own protocol: a datagram each.
    Journal,
}

impl Form {
    /// A line that `record` comes to.
    pub(super) fn line(self, record: &Record) -> Vec<u8> {
        match self {
            Form::Text => text(record, false),
            Form::Coloured => text(record, true),
            Form::Prefixed => format!("<{}>{}", priority(record.level), text(record, false)),
            Form::Json => json_line(record),
            Form::Journal => return entry(record),
        }
        .into_bytes()
    }

    /// What is said beside the log: lines of which each has its end.
    pub(super) fn plain(self, level: Level, said: &str) -> Vec<u8> {
        match self {
            Form::Text | Form::Coloured => said.as_bytes().to_vec(),
            Form::Prefixed => {
                let prefixed = |line: &str| format!("<{}>{line}\n", priority(level));
                said.lines().map(prefixed).collect::<String>().into_bytes()
            }
            Form::Json => said.lines().flat_map(|line| self.line(&one(level, line))).collect(),
            // A datagram is one entry.
            Form::Journal => self.line(&one(level, said)),
        }
    }
}

/// What is said beside the log, as if the log had said it.
fn one(level: Level, said: &str) -> Record {
    let said = said.strip_prefix("ringsan: ").unwrap_or(said);
    let lines: Vec<String> = said.lines().map(clean).collect();
    Record { message: lines.join("\n"), ..Record::new(level, "ringsan") }
}

/// The numbers of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

fn text(record: &Record, coloured: bool) -> String {
    let mut line = String::with_capacity(256);
    let colour = |of: &'static str| if coloured { of } else { "" };
    let (dim, italic, plain) = (colour("\x1b[2m"), colour("\x1b[3m"), colour("\x1b[0m"));
    let level = colour(match record.level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        _ => "\x1b[35m",
    });
    let (time, target, message) = (&record.time, record.target, &record.message);
    let _ =
        write!(line, "{dim}{time}{plain} {level}{:>5}{plain} {dim}{target}:{plain} {message}", record.level.as_str());
    for told in &record.fields {
        let _ = match &told.value {
            Value::Text(text) if told.quoted => {
                let text = text.replace('"', "\\\"");
                write!(line, " {italic}{}{plain}{dim}={plain}\"{text}\"", told.name)
            }
            value => write!(line, " {italic}{}{plain}{dim}={plain}{value}", told.name),
        };
    }
    line.push('\n');
    line
}

fn json_line(record: &Record) -> String {
    let value = |value: &Value| match value {
        Value::Flag(flag) => json!(flag),
        Value::Integer(number) => json!(number),
        Value::Count(number) => json!(number),
        Value::Fraction(number) => json!(number),
        Value::Text(text) => json!(text),
    };
    let fields: Map<String, _> = record.fields.iter().map(|told| (told.name.to_owned(), value(&told.value))).collect();
    let mut line = json!({
        "ts": record.time, "level": record.level.as_str(), "target": record.target, "message": record.message,
        "fields": fields,
    });
    if let (Some(kind), Some(object)) = (&record.kind, line.as_object_mut()) {
        object.insert("event".to_owned(), json!(kind));
    }
    line.to_string() + "\n"
}

/// An entry of the journal, one field a line (systemd: "Native Journal Protocol"). No value has a line break in it but the message of a
/// panic, which is written with its length.
fn entry(record: &Record) -> Vec<u8> {
    let head = (priority(record.level), record.target);
    let mut entry = format!("PRIORITY={}\nSYSLOG_IDENTIFIER={IDENTIFIER}\nCODE_MODULE={}\n", head.0, head.1);
    if let Some(kind) = &record.kind {
        let _ = writeln!(entry, "EVENT={kind}");
    }
    let mut message = record.message.clone();
    for Told { name, value, .. } in &record.fields {
        // What people see is the message.
        let _ = write!(message, " {name}={value}");
        let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let name: String = name.chars().map(upper).collect();
        let _ = writeln!(entry, "{}={value}", name.trim_start_matches('_'));
    }
    let mut entry = entry.into_bytes();
    match message.contains('\n') {
        true => {
            entry.extend(b"MESSAGE\n");
            entry.extend((message.len() as u64).to_le_bytes());
        }
        false => entry.extend(b"MESSAGE="),
    }
    entry.extend(message.as_bytes());
    entry.push(b'\n');
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let told = |name, value, quoted| Told { name, value, quoted };
        let fields = vec![
            told("peer", Value::Text("192.0.2.1:5".to_owned()), false),
            told("initiator", Value::Text("a \"b\"".to_owned()), true),
            told("tsih", Value::Count(7), false),
        ];
        let (kind, message) = (Some("logged-in".to_owned()), "logged in".to_owned());
        Record { kind, message, fields, ..Record::new(Level::WARN, "ringsan::shard") }
    }

    #[test]
    fn people_read_a_line_programs_an_object_and_the_journal_fields() {
        let record = record();
        let said = |form: Form| String::from_utf8(form.line(&record)).unwrap();
        let line = format!(
            "{}  WARN ringsan::shard: logged in peer=192.0.2.1:5 initiator=\"a \\\"b\\\"\" tsih=7\n",
            record.time
        );
        assert_eq!(said(Form::Text), line);
        assert_eq!(said(Form::Prefixed), format!("<4>{line}"));
        let mut plain = said(Form::Coloured);
        for escape in ["\x1b[0m", "\x1b[2m", "\x1b[3m", "\x1b[33m"] {
            assert!(plain.contains(escape));
            plain = plain.replace(escape, "");
        }
        assert_eq!(plain, line);
        let object: serde_json::Value = serde_json::from_str(&said(Form::Json)).unwrap();
        assert_eq!(said(Form::Json).lines().count(), 1);
        let wanted = json!({
            "ts": record.time, "level": "WARN", "target": "ringsan::shard", "message": "logged in", "event": "logged-in",
            "fields": {"peer": "192.0.2.1:5", "initiator": "a \"b\"", "tsih": 7},
        });
        assert_eq!(object, wanted);
        assert_eq!(
            said(Form::Journal),
            "PRIORITY=4\nSYSLOG_IDENTIFIER=ringsan\nCODE_MODULE=ringsan::shard\nEVENT=logged-in\nPEER=192.0.2.1:5\n\
             INITIATOR=a \"b\"\nTSIH=7\nMESSAGE=logged in peer=192.0.2.1:5 initiator=a \"b\" tsih=7\n"
        );
    }

    #[test]
    fn what_is_said_beside_the_log_has_its_form() {
        let said = |form: Form| form.plain(Level::ERROR, "ringsan: it\x1b panicked\n  at line 1\n");
        assert_eq!(said(Form::Text), b"ringsan: it\x1b panicked\n  at line 1\n");
        assert_eq!(said(Form::Prefixed), b"<3>ringsan: it\x1b panicked\n<3>  at line 1\n");
        let json = String::from_utf8(said(Form::Json)).unwrap();
        let lines: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), &lines[0]["message"]), (2, &json!("it\\u{1b} panicked")));
        let message = b"it\\u{1b} panicked\n  at line 1";
        let mut wanted = b"PRIORITY=3\nSYSLOG_IDENTIFIER=ringsan\nCODE_MODULE=ringsan\nMESSAGE\n".to_vec();
        wanted.extend((message.len() as u64).to_le_bytes());
        wanted.extend(message);
        wanted.push(b'\n');
        assert_eq!(said(Form::Journal), wanted);
    }
}
