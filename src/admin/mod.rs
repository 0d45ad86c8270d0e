//! The commands that look at a running server: each asks its control plane, and prints what that says.

mod tables;

use crate::cli::{Ask, LunCommand, Of, Output, SessionCommand, TargetCommand};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ringsan::config::DEFAULT_STATE;
use ringsan::mgmt::client::{Client, ClientError};
use ringsan::mgmt::socket;
use ringsan::mgmt::view::{Applied, NewLun, Session, Sessions, Setting, Settings, Status, Target};
use ringsan::model::lun::{OPTIONS, Value};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tables::{applied, luns, one_session, one_target, sessions, stats_tables, status_table};

/// What a name in a path may not have as it is (RFC 3986 section 3.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// `ringsan status`.
///
/// # Errors
/// As the client's.
pub fn status(ask: &Ask) -> Result<String, ClientError> {
    Ok(ask.shown(&ask.client().get::<Status>("/v1/status")?, status_table))
}

/// `ringsan stats`.
///
/// # Errors
/// As the client's.
pub fn stats(ask: &Ask) -> Result<String, ClientError> {
    Ok(ask.shown(&ask.client().get::<Status>("/v1/status")?, stats_tables))
}

/// `ringsan reload`.
///
/// # Errors
/// As the client's.
pub fn reload(ask: &Ask) -> Result<String, ClientError> {
    Ok(ask.shown(&ask.client().post::<Applied>("/v1/reload", None::<&()>)?, applied))
}

/// `ringsan session`.
///
/// # Errors
/// As the client's.
pub fn session(command: &SessionCommand) -> Result<String, ClientError> {
    match command {
        SessionCommand::Ls(ask) => Ok(ask.shown(&ask.client().get::<Sessions>("/v1/sessions")?, sessions)),
        SessionCommand::Show { tsih, ask } => {
            Ok(ask.shown(&ask.client().get::<Session>(&format!("/v1/sessions/{tsih}"))?, one_session))
        }
        SessionCommand::Drop { tsih, ask } => {
            ask.client().delete::<()>(&format!("/v1/sessions/{tsih}"))?;
            Ok(format!("session {tsih} dropped\n"))
        }
    }
}

/// `ringsan target`.
///
/// # Errors
/// As the client's.
pub fn target(command: &TargetCommand) -> Result<String, ClientError> {
    match command {
        TargetCommand::Ls(ask) => {
            Ok(ask.shown(&ask.client().get::<Vec<Target>>("/v1/targets")?, |targets| luns(targets)))
        }
        TargetCommand::Show { name, ask } => {
            let found = ask.client().get::<Target>(&format!("/v1/targets/{}", in_path(name)))?;
            Ok(ask.shown(&found, one_target))
        }
    }
}

/// `ringsan lun`.
///
/// # Errors
/// As the client's; also a setting that is none.
pub fn lun(command: &LunCommand) -> Result<String, ClientError> {
    match command {
        LunCommand::Ls(ask) => Ok(ask.shown(&ask.client().get::<Vec<Target>>("/v1/targets")?, |targets| luns(targets))),
        LunCommand::Add { path, of, number, set, ask } => {
            let mut settings = settings(set);
            if let Some(path) = path {
                // The file has its own idea of where relative paths begin.
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                settings.insert("path".to_owned(), Setting::Text(path.display().to_string()));
            }
            let body = NewLun { lun: *number, settings };
            ask.changed(of, |client, target| client.post(&format!("/v1/targets/{target}/luns"), Some(&body)))
        }
        LunCommand::Set { number, settings: set, of, ask } => ask.set(of, *number, &settings(set)),
        LunCommand::Resize { number, size, of, ask } => {
            let size = Setting::Text(size.clone());
            ask.set(of, *number, &BTreeMap::from([("size".to_owned(), size)]))
        }
        LunCommand::Rm { number, of, ask } => {
            ask.changed(of, |client, target| client.delete(&format!("/v1/targets/{target}/luns/{number}")))
        }
    }
}

/// A name as a part of a path.
fn in_path(name: &str) -> String {
    utf8_percent_encode(name, ENCODED).to_string()
}

/// Settings as they are written on a command line, as the file wants them.
fn settings(words: &[String]) -> Settings {
    let setting = |word: &String| {
        let Some((key, said)) = word.split_once('=') else { return (word.clone(), Setting::Flag(true)) };
        let option = OPTIONS.iter().find(|option| option.key == key);
        let setting = match (option.map(|option| &option.value), said) {
            (_, "") => Setting::Default(None),
            (Some(Value::Flag(_)), "true" | "false") => Setting::Flag(said == "true"),
            (Some(Value::Number(..)), _) => {
                said.parse().map_or_else(|_| Setting::Text(said.to_owned()), Setting::Number)
            }
            _ => Setting::Text(said.to_owned()),
        };
        (key.to_owned(), setting)
    };
    words.iter().map(setting).collect()
}

impl Ask {
    /// Has a logical unit set otherwise.
    fn set(&self, of: &Of, number: u16, settings: &Settings) -> Result<String, ClientError> {
        self.changed(of, |client, target| client.patch(&format!("/v1/targets/{target}/luns/{number}"), settings))
    }

    /// Has something of a target changed, and says what came of it.
    fn changed(
        &self,
        of: &Of,
        change: impl FnOnce(&Client, &str) -> Result<Applied, ClientError>,
    ) -> Result<String, ClientError> {
        let client = self.client();
        // The only one, if it is not named: an empty name in a path would be none.
        let target = in_path(of.target.as_deref().unwrap_or("-"));
        Ok(self.shown(&change(&client, &target)?, applied))
    }

    /// The client of the server that is meant.
    fn client(&self) -> Client {
        let usual = || {
            let beside = Path::new(DEFAULT_STATE).join(socket::NAME);
            if !Path::new(socket::DEFAULT).exists() && beside.exists() {
                beside
            } else {
                PathBuf::from(socket::DEFAULT)
            }
        };
        Client::new(&self.socket.clone().unwrap_or_else(usual))
    }

    fn shown<T: Serialize>(&self, value: &T, table: impl FnOnce(&T) -> String) -> String {
        match self.output {
            Output::Table => table(value),
            Output::Json => serde_json::to_string_pretty(value).unwrap_or_default() + "\n",
        }
    }
}
