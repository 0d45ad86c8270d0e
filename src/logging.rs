//! Which log `serve` writes, and where: what the options, the environment and the file say of it.

use ringsan::config::{check_log_format, check_log_level};
use ringsan::limits::LOG_FILTER_BYTES;
use ringsan::log::Spool;
use ringsan::log::form::Form;
use ringsan::log::layer::Log;
use ringsan::mgmt::{LogFilter, Voice};
use std::env;
use std::fs::File;
use std::io::{self, IsTerminal, stderr};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

/// What was asked for: by options, and by the file.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// `--log`, and `log`.
    pub level: (Option<&'a str>, Option<&'a str>),
    /// `--log-format`, and `log-format`.
    pub format: (Option<&'a str>, Option<&'a str>),
}

/// The way to stderr, or to the journal.
///
/// # Errors
/// There is no such format; `Err(Ok(_))`: the system does not give what it takes.
pub fn spool(asked: Asked<'_>) -> Result<Spool, Result<io::Error, String>> {
    let (option, file) = asked.format;
    let form = match first(("--log-format", option), "RINGSAN_LOG_FORMAT", ("log-format", file)) {
        None if is_journal() => Form::Prefixed,
        None => text(),
        Some((origin, format)) => {
            check_log_format(&format).map_err(|message| Err(format!("{origin}: {message}")))?;
            match &*format {
                "json" => Form::Json,
                "journald" => Form::Journal,
                _ => text(),
            }
        }
    };
    Spool::start_in(form, "ringsan-log", stderr()).map_err(Ok)
}

/// Logs to `spool` from now on, at the level that was asked for, else info.
///
/// # Errors
/// That is no level.
pub fn start(asked: Asked<'_>, spool: &Spool) -> Result<Voice, String> {
    let (option, file) = asked.level;
    let level = first(("--log", option), "RINGSAN_LOG", ("log", file));
    let (origin, level) = level.unwrap_or(("log", "info".to_owned()));
    let wrong = |message: String| format!("{origin}: {message}");
    check_log_level(&level).map_err(wrong)?;
    let log = Log::start(&level, spool).map_err(wrong)?;
    let events = log.events();
    let filter: Box<LogFilter> = Box::new(move |new| {
        if let Some(new) = new {
            check(new)?;
            log.set_filter(new)?;
        }
        Ok(log.filter())
    });
    Ok(Voice { events, filter: Arc::from(filter) })
}

fn check(filter: &str) -> Result<(), String> {
    if filter.len() > LOG_FILTER_BYTES {
        return Err(format!("a log filter has at most {LOG_FILTER_BYTES} bytes"));
    }
    check_log_level(filter)
}

/// What an option says, else a variable, else the file; and which of them it was.
fn first(
    (option, said): (&'static str, Option<&str>),
    variable: &'static str,
    (key, written): (&'static str, Option<&str>),
) -> Option<(&'static str, String)> {
    let of = |name, text: &str| (name, text.to_owned());
    let set = || env::var(variable).ok().filter(|text| !text.is_empty()).map(|text| (variable, text));
    said.map(|text| of(option, text)).or_else(set).or_else(|| written.map(|text| of(key, text)))
}

fn text() -> Form {
    if stderr().is_terminal() { Form::Coloured } else { Form::Text }
}

/// Whether the journal reads stderr (systemd.exec(5), JOURNAL_STREAM: device and inode of what it reads).
fn is_journal() -> bool {
    let metadata = || File::from(stderr().as_fd().try_clone_to_owned().ok()?).metadata().ok();
    let is_that = |stream: String| metadata().is_some_and(|of| stream == format!("{}:{}", of.dev(), of.ino()));
    env::var("JOURNAL_STREAM").ok().is_some_and(is_that)
}
