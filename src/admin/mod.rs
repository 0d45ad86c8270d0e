//! The commands that look at a running server: each asks its control plane, and prints what that says.

mod change;
pub mod events;
pub mod hint;
mod tables;
pub mod top;
pub mod trace;
mod wait;

pub use change::{account, apply, group, lun, plan, portal, target};

use crate::cli::{Ask, Output, SessionCommand, Wait};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ringsan::config::DEFAULT_STATE;
use ringsan::mgmt::client::{Client, ClientError};
use ringsan::mgmt::socket;
use ringsan::mgmt::view::{Applied, Session, Sessions, Status};
use serde::Serialize;
use std::path::{Path, PathBuf};
use tables::{applied, clean_text, one_session, sessions, stats_tables, status_table};

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
pub fn reload(ask: &Ask, wait: Wait) -> Result<String, ClientError> {
    let client = ask.client();
    let came = wait.of(&client, client.post::<Applied>("/v1/reload", None::<&()>)?)?;
    Ok(ask.shown(&came, applied))
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

/// A name as a part of a path.
fn in_path(name: &str) -> String {
    utf8_percent_encode(name, ENCODED).to_string()
}

impl Ask {
    /// The server on another machine that is meant, if one is.
    fn server(&self) -> Option<String> {
        let of_environment = || std::env::var("RINGSAN_SERVER").ok().filter(|server| !server.is_empty());
        // Who names a socket means that, whatever is in the environment for other times.
        self.elsewhere.server.clone().or_else(|| if self.socket.is_none() { of_environment() } else { None })
    }

    /// The client of the server that is meant.
    fn client(&self) -> Client {
        if let Some(server) = self.server() {
            return Client::remote(&server, self.elsewhere.token_file.as_deref(), self.elsewhere.ca.as_deref());
        }
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
            Output::Table => clean_text(&table(value)),
            Output::Json => serde_json::to_string_pretty(value).unwrap_or_default() + "\n",
            Output::Yaml => serde_saphyr::to_string(value).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Elsewhere;
    use ringsan::mgmt::view::Setting;
    use std::collections::BTreeMap;

    /// Words that would be something else in YAML than the texts that they are, and texts that would end it.
    #[test]
    fn yaml_says_what_json_says() {
        let ask = Ask { socket: None, elsewhere: Elsewhere::default(), output: Output::Yaml };
        let texts = [
            "yes",
            "1",
            "null",
            "~",
            "1e3",
            "- x",
            "a: b",
            "#c",
            "",
            " d ",
            "e\nf: g",
            "\"h'",
            "*i",
            "0x1F",
            "\u{1b}[2J",
        ];
        let said = ask.shown(&BTreeMap::from([("texts", texts)]), |_| String::new());
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "texts:", "{said}");
        for (line, quoted) in lines[1..].iter().zip(["yes", "1", "null", "~", "1e3", "- x", "a: b", "#c", "", " d "]) {
            let value = line.trim().strip_prefix("- ").unwrap_or_else(|| panic!("{said}"));
            assert!(value == format!("\"{quoted}\"") || value == format!("'{quoted}'"), "{said}");
        }
        assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said}");
        let setting = ask.shown(&BTreeMap::from([("thin", Setting::Flag(true))]), |_| String::new());
        assert_eq!(setting, "thin: true\n");
    }
}
