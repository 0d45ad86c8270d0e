//! The commands that list and change what is configured.

use super::in_path;
use super::tables::{accounts, applied, groups, luns, one_target, portals};
use crate::cli::{
    AccountCommand, Ask, GroupCommand, LunCommand, Make, Of, PortalCommand, SetArgs, TargetCommand, Wait,
};
use ringsan::mgmt::client::{Client, ClientError};
use ringsan::mgmt::view::{Account, Applied, Element, NewLun, Portal, Setting, Settings, Target};
use ringsan::model::lun::{OPTIONS, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// Keys that take several values.
const LISTS: [&str; 6] = ["initiators", "networks", "accounts", "luns", "portal-groups", "access-states"];

/// Keys of other tables than logical units that take a whole number.
const NUMBERS: [&str; 1] = ["group"];

/// `ringsan target`.
///
/// # Errors
/// As the client's.
pub fn target(command: &TargetCommand) -> Result<String, ClientError> {
    let path = |name: &str| format!("/v1/targets/{}", in_path(name));
    match command {
        TargetCommand::Ls(ask) => {
            Ok(ask.shown(&ask.client().get::<Vec<Target>>("/v1/targets")?, |targets| luns(targets)))
        }
        TargetCommand::Show { name, ask } => Ok(ask.shown(&ask.client().get::<Target>(&path(name))?, one_target)),
        TargetCommand::Add { name, set, make } => make.add(&path(name), settings(&set.set)),
        TargetCommand::Set { name, settings: set, make } => make.set(&path(name), &settings(set)),
        TargetCommand::Rm { name, make } => make.rm(&path(name)),
    }
}

/// `ringsan lun`.
///
/// # Errors
/// As the client's; also a setting that is none.
pub fn lun(command: &LunCommand) -> Result<String, ClientError> {
    let path = |of: &Of, number: &u16| format!("/v1/targets/{}/luns/{number}", of.in_path());
    match command {
        LunCommand::Ls(ask) => Ok(ask.shown(&ask.client().get::<Vec<Target>>("/v1/targets")?, |targets| luns(targets))),
        LunCommand::Add { path, of, number, set, make } => {
            let mut settings = settings(set);
            settings.extend(path.as_deref().map(|path| ("path".to_owned(), absolute(path, &make.ask))));
            let body = NewLun { lun: *number, settings };
            let path = make.on(&format!("/v1/targets/{}/luns", of.in_path()));
            make.shown(make.ask.client().post(&path, Some(&body))?)
        }
        LunCommand::Set { number, settings: set, of, make } => make.set(&path(of, number), &settings(set)),
        LunCommand::Resize { number, size, of, make } => {
            let size = Setting::Text(size.clone());
            make.set(&path(of, number), &BTreeMap::from([("size".to_owned(), size)]))
        }
        LunCommand::Rm { number, of, make } => make.rm(&path(of, number)),
    }
}

/// `ringsan group`.
///
/// # Errors
/// As the client's.
pub fn group(command: &GroupCommand) -> Result<String, ClientError> {
    let path = |of: &Of, name: &str| format!("/v1/targets/{}/groups/{}", of.in_path(), in_path(name));
    match command {
        GroupCommand::Ls { of, ask } => {
            let mut targets: Vec<Target> = ask.client().get("/v1/targets")?;
            let end =
                of.target.as_ref().map(|name| (name.to_ascii_lowercase(), format!(":{}", name.to_ascii_lowercase())));
            targets.retain(|target| {
                end.as_ref().is_none_or(|(name, end)| target.name == *name || target.name.ends_with(end.as_str()))
            });
            Ok(ask.shown(&targets, |targets| groups(targets)))
        }
        GroupCommand::Add { name, of, set, make } => make.add(&path(of, name), settings(&set.set)),
        GroupCommand::Set { name, settings: set, of, make } => make.set(&path(of, name), &settings(set)),
        GroupCommand::Rm { name, of, make } => make.rm(&path(of, name)),
    }
}

/// `ringsan account`.
///
/// # Errors
/// As the client's.
pub fn account(command: &AccountCommand) -> Result<String, ClientError> {
    let path = |user: &str| format!("/v1/accounts/{}", in_path(user));
    match command {
        AccountCommand::Ls(ask) => {
            Ok(ask.shown(&ask.client().get::<Vec<Account>>("/v1/accounts")?, |found| accounts(found)))
        }
        AccountCommand::Add { user, secret_file, set: SetArgs { set }, make } => {
            let mut settings = settings(set);
            settings.extend(secret_file.as_deref().map(|file| ("secret-file".to_owned(), absolute(file, &make.ask))));
            make.add(&path(user), settings)
        }
        AccountCommand::Set { user, settings: set, make } => make.set(&path(user), &settings(set)),
        AccountCommand::Rm { user, make } => make.rm(&path(user)),
    }
}

/// `ringsan portal`.
///
/// # Errors
/// As the client's.
pub fn portal(command: &PortalCommand) -> Result<String, ClientError> {
    let path = |listen: &str| format!("/v1/portals/{}", in_path(listen));
    match command {
        PortalCommand::Ls(ask) => {
            Ok(ask.shown(&ask.client().get::<Vec<Portal>>("/v1/portals")?, |found| portals(found)))
        }
        PortalCommand::Add { listen, set, make } => make.add(&path(listen), settings(&set.set)),
        PortalCommand::Set { listen, settings: set, make } => make.set(&path(listen), &settings(set)),
        PortalCommand::Rm { listen, make } => make.rm(&path(listen)),
    }
}

/// `ringsan plan`.
///
/// # Errors
/// As the client's; also a file that cannot be read.
pub fn plan(config: Option<&Path>, ask: &Ask) -> Result<String, ClientError> {
    apply(config, &Make { dry_run: true, force: false, wait: Wait { wait: false, timeout: 0 }, ask: ask.clone() })
}

/// `ringsan apply`.
///
/// # Errors
/// As the client's; also a file that cannot be read.
pub fn apply(config: Option<&Path>, make: &Make) -> Result<String, ClientError> {
    let client = make.ask.client();
    let Some(file) = config else {
        return make.shown(client.post(&make.on("/v1/reload"), None::<&()>)?);
    };
    let unread = |error: std::io::Error| ClientError::File { file: file.to_owned(), why: error.to_string() };
    let text = std::fs::read_to_string(file).map_err(unread)?;
    make.shown(client.put_text(&make.on("/v1/config"), text)?)
}

/// A path as a setting: the file has its own idea of where relative paths begin.
fn absolute(path: &Path, ask: &Ask) -> Setting {
    // Another machine has its own folders.
    let here = if ask.server().is_none() { std::path::absolute(path).ok() } else { None };
    let path = here.unwrap_or_else(|| path.to_owned());
    Setting::Text(path.display().to_string())
}

/// Settings as they are written on a command line, as the file wants them.
fn settings(words: &[String]) -> Settings {
    let number = |said: &str| said.parse().map_or_else(|_| Setting::Text(said.to_owned()), Setting::Number);
    let element = |part: &str| {
        let part = part.trim();
        part.parse().map_or_else(|_| Element::Text(part.to_owned()), Element::Number)
    };
    let setting = |word: &String| {
        let Some((key, said)) = word.split_once('=') else { return (word.clone(), Setting::Flag(true)) };
        let option = OPTIONS.iter().find(|option| option.key == key);
        let setting = match (option.map(|option| &option.value), said) {
            (_, "") => Setting::Default(Default::default()),
            (Some(Value::Flag(_)), "true" | "false") => Setting::Flag(said == "true"),
            (Some(Value::Number(..)), _) => number(said),
            (None, _) if LISTS.contains(&key) => Setting::List(said.split(',').map(element).collect()),
            (None, _) if NUMBERS.contains(&key) => number(said),
            _ => Setting::Text(said.to_owned()),
        };
        (key.to_owned(), setting)
    };
    words.iter().map(setting).collect()
}

impl Of {
    /// The target in a path; the only one, if it is not named: an empty name in a path would be none.
    fn in_path(&self) -> String {
        in_path(self.target.as_deref().unwrap_or("-"))
    }
}

impl Make {
    /// The path, with how it is to be done.
    fn on(&self, path: &str) -> String {
        let said = [(self.dry_run, "dry-run=true"), (self.force, "force=true")];
        let said: Vec<&str> = said.into_iter().filter(|(is_so, _)| *is_so).map(|(_, word)| word).collect();
        if said.is_empty() { path.to_owned() } else { format!("{path}?{}", said.join("&")) }
    }

    fn client(&self) -> Client {
        self.ask.client()
    }

    fn add(&self, path: &str, settings: Settings) -> Result<String, ClientError> {
        self.shown(self.client().put(&self.on(path), &settings, true)?)
    }

    fn set(&self, path: &str, settings: &Settings) -> Result<String, ClientError> {
        self.shown(self.client().patch(&self.on(path), settings)?)
    }

    fn rm(&self, path: &str) -> Result<String, ClientError> {
        self.shown(self.client().delete(&self.on(path))?)
    }

    fn shown(&self, came: Applied) -> Result<String, ClientError> {
        let came = self.wait.of(&self.client(), came)?;
        Ok(self.ask.shown(&came, applied))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_what_the_file_wants() {
        let words =
            ["thin", "iops=500", "size=1GiB", "luns=0,5 as 1", "initiators=iqn.a:*", "alias=7", "group=2", "serial="];
        let said = settings(&words.map(ToOwned::to_owned));
        let said = serde_json::to_value(said).unwrap();
        let wanted = serde_json::json!({
            "thin": true, "iops": 500, "size": "1GiB", "luns": [0, "5 as 1"], "initiators": ["iqn.a:*"], "alias": "7",
            "group": 2, "serial": null
        });
        assert_eq!(said, wanted);
    }

    #[test]
    fn how_it_is_done_goes_with_the_path() {
        use crate::cli::Cli;
        use clap::Parser;
        let parsed = |words: &str| Cli::try_parse_from(words.split(' ')).unwrap().command;
        let crate::cli::Command::Target(TargetCommand::Rm { make, .. }) =
            parsed("ringsan target rm a --force --dry-run")
        else {
            panic!("another command");
        };
        assert_eq!(make.on("/v1/x"), "/v1/x?dry-run=true&force=true");
        assert_eq!(Of { target: None }.in_path(), "-");
    }
}
