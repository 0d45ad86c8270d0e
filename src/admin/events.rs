//! `ringsan events` and `ringsan log`.

use crate::cli::{Ask, EventsCommand, LogCommand, Output};
use ringsan::mgmt::client::{ClientError, Told};
use ringsan::mgmt::view::{LogFilter, Said};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{Write as _, stdout};
use std::ops::ControlFlow;

/// `ringsan events`: prints each as it comes.
///
/// # Errors
/// As the client's.
pub fn events(EventsCommand { follow, ask }: &EventsCommand) -> Result<String, ClientError> {
    let line = |told: &Told| match ask.output {
        Output::Table => for_people(told),
        Output::Json => for_programs(told).to_string() + "\n",
        // A document each.
        Output::Yaml => format!("---\n{}", serde_saphyr::to_string(&for_programs(told)).unwrap_or_default()),
    };
    ask.client().events(*follow, |told| {
        let mut out = stdout().lock();
        // Whoever has read it has gone: nobody wants to hear more.
        match out.write_all(line(&told).as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    Ok(String::new())
}

/// `ringsan log`.
///
/// # Errors
/// As the client's.
pub fn log(LogCommand::Level { filter, ask }: &LogCommand) -> Result<String, ClientError> {
    let shown = |ask: &Ask, now: &LogFilter| ask.shown(now, |now| format!("{}\n", now.filter));
    match filter {
        None => Ok(shown(ask, &ask.client().get::<LogFilter>("/v1/log")?)),
        Some(filter) => {
            let wanted = LogFilter { filter: filter.clone() };
            Ok(shown(ask, &ask.client().put::<LogFilter>("/v1/log", &wanted, false)?))
        }
    }
}

fn for_people(told: &Told) -> String {
    match told {
        Told::Lost(lost) => format!("{lost} events were lost here\n"),
        Told::Event { said: Said { time, kind, level, message, fields }, .. } => {
            let level = level.to_ascii_uppercase();
            let mut line = format!("{time} {level:>5} {kind:<16} {message}");
            for (name, value) in fields {
                let _ = match value.as_str() {
                    Some(text) => write!(line, " {name}={text}"),
                    None => write!(line, " {name}={value}"),
                };
            }
            line + "\n"
        }
    }
}

fn for_programs(told: &Told) -> Value {
    match told {
        Told::Lost(lost) => json!({"kind": "lost", "lost": lost}),
        Told::Event { id, said } => {
            let mut object = json!(said);
            if let Some(fields) = object.as_object_mut() {
                fields.insert("id".to_owned(), json!(id));
            }
            object
        }
    }
}
