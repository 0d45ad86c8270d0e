//! What is different between two configurations, thing by thing.

use crate::model::lun::OPTIONS;
use crate::model::{Credentials, Group, IscsiName, LunSpec, Portal, Snapshot, TargetSpec};
use std::fmt;
use std::net::SocketAddr;

/// A thing of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thing {
    /// What holds for the process as a whole.
    Server,
    /// What discovery asks for.
    Discovery,
    /// The portal that listens there.
    Portal(SocketAddr),
    /// A target.
    Target(IscsiName),
    /// A logical unit of a target.
    Lun(IscsiName, u16),
    /// An initiator group of a target.
    Group(IscsiName, String),
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Becomes {
    /// It comes.
    Added,
    /// It goes.
    Removed,
    /// These keys of it say something else.
    Changed(Vec<&'static str>),
    /// It has another size, bytes.
    Resized(u64),
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it is about.
    pub thing: Thing,
    /// What becomes of that.
    pub becomes: Becomes,
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Thing::Server => f.write_str("server"),
            Thing::Discovery => f.write_str("discovery"),
            Thing::Portal(listen) => write!(f, "portal {listen}"),
            Thing::Target(name) => write!(f, "target {name}"),
            Thing::Lun(target, number) => write!(f, "LUN {number} of {target}"),
            Thing::Group(target, name) => write!(f, "group '{}' of {target}", name.escape_debug()),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.becomes {
            Becomes::Added => write!(f, "{} added", self.thing),
            Becomes::Removed => write!(f, "{} removed", self.thing),
            Becomes::Changed(keys) => write!(f, "{} changed: {}", self.thing, keys.join(", ")),
            Becomes::Resized(bytes) => write!(f, "{} has {bytes} bytes", self.thing),
        }
    }
}

impl Step {
    /// What kind of event it is.
    pub fn event(&self) -> &'static str {
        match (&self.thing, &self.becomes) {
            (Thing::Server | Thing::Discovery, _) => "server-changed",
            (Thing::Portal(_), Becomes::Added) => "portal-added",
            (Thing::Portal(_), Becomes::Removed) => "portal-removed",
            (Thing::Portal(_), _) => "portal-changed",
            (Thing::Target(_), Becomes::Added) => "target-added",
            (Thing::Target(_), Becomes::Removed) => "target-removed",
            (Thing::Target(_) | Thing::Group(..), _) => "target-changed",
            (Thing::Lun(..), Becomes::Added) => "lun-added",
            (Thing::Lun(..), Becomes::Removed) => "lun-removed",
            (Thing::Lun(..), Becomes::Resized(_)) => "lun-resized",
            (Thing::Lun(..), Becomes::Changed(_)) => "lun-changed",
        }
    }

    /// What it is about, and what becomes of that unless a sign says it.
    pub fn said(&self) -> String {
        match &self.becomes {
            Becomes::Added | Becomes::Removed => self.thing.to_string(),
            Becomes::Changed(keys) => format!("{}: {}", self.thing, keys.join(", ")),
            Becomes::Resized(bytes) => format!("{}: {bytes} bytes", self.thing),
        }
    }
}

/// What is different in `new` from `old`. What is measured, not said, is not among it: the size of a file that has none in the
/// configuration. Cores, spin, congestion and the state directory are not looked at: they take a restart.
pub fn steps(old: &Snapshot, new: &Snapshot) -> Vec<Step> {
    let mut steps = Steps(Vec::new());
    let keys = [
        ("strict", old.strict != new.strict),
        ("limits", old.admission != new.admission),
        ("access-state", old.access_states != new.access_states),
        ("control.tokens", old.control.tokens != new.control.tokens),
        ("control.certificate", old.control.identity != new.control.identity),
    ];
    steps.change(Thing::Server, differing(&keys));
    let keys = credentials(old.discovery.as_deref(), new.discovery.as_deref());
    steps.change(Thing::Discovery, differing(&keys));
    let portal = |step: &mut Steps, old: &Portal, new: &Portal| {
        let keys = [("advertise", old.advertise != new.advertise), ("group", old.group_tag != new.group_tag)];
        step.change(Thing::Portal(new.listen), differing(&keys));
    };
    steps.compare(&old.portals, &new.portals, |one| one.listen, |one| Thing::Portal(one.listen), portal);
    let targets = (&old.targets, &new.targets);
    steps.compare(targets.0, targets.1, |one| &one.name, |one| Thing::Target(one.name.clone()), Steps::target);
    steps.0
}

struct Steps(Vec<Step>);

impl Steps {
    fn change(&mut self, thing: Thing, keys: Vec<&'static str>) {
        if !keys.is_empty() {
            self.0.push(Step { thing, becomes: Becomes::Changed(keys) });
        }
    }

    /// Notes what of `new` is not among `old` and the reverse, by what `key` tells them apart; `both` looks at what is in both.
    fn compare<'a, T, K: PartialEq>(
        &mut self,
        old: &'a [T],
        new: &'a [T],
        key: impl Fn(&'a T) -> K,
        thing: impl Fn(&T) -> Thing,
        both: impl Fn(&mut Steps, &'a T, &'a T),
    ) {
        for one in old.iter().filter(|one| !new.iter().any(|other| key(other) == key(one))) {
            self.0.push(Step { thing: thing(one), becomes: Becomes::Removed });
        }
        for one in new {
            match old.iter().find(|other| key(other) == key(one)) {
                Some(other) => both(self, other, one),
                None => self.0.push(Step { thing: thing(one), becomes: Becomes::Added }),
            }
        }
    }

    fn target(&mut self, old: &TargetSpec, new: &TargetSpec) {
        let names = |spec: &TargetSpec| spec.groups.iter().map(|group| group.name.clone()).collect::<Vec<_>>();
        let (before, now) = (names(old), names(new));
        let kept = |names: &[String], others: &[String]| {
            names.iter().filter(|name| others.contains(name)).cloned().collect::<Vec<_>>()
        };
        let mut keys = vec![
            ("alias", old.alias != new.alias),
            ("portal-groups", old.portal_groups != new.portal_groups),
            ("access-states", old.access_states != new.access_states),
            ("others", old.groups_only != new.groups_only),
            ("order of groups", kept(&before, &now) != kept(&now, &before)),
        ];
        keys.extend(credentials(old.credentials.as_deref(), new.credentials.as_deref()));
        let name = &new.name;
        self.change(Thing::Target(name.clone()), differing(&keys));
        let lun = |steps: &mut Steps, old: &LunSpec, new: &LunSpec| {
            steps.change(Thing::Lun(name.clone(), new.number), of_lun(old, new));
        };
        // What has another medium at the LUN is another unit.
        let key = |one: &'_ LunSpec| (one.number, one.kind.clone());
        self.compare(&old.luns, &new.luns, key, |one| Thing::Lun(name.clone(), one.number), lun);
        let group = |steps: &mut Steps, old: &Group, new: &Group| {
            steps.change(Thing::Group(name.clone(), new.name.clone()), of_group(old, new));
        };
        let thing = |one: &Group| Thing::Group(name.clone(), one.name.clone());
        self.compare(&old.groups, &new.groups, |one| one.name.clone(), thing, group);
    }
}

fn differing(keys: &[(&'static str, bool)]) -> Vec<&'static str> {
    keys.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key).collect()
}

fn of_lun(old: &LunSpec, new: &LunSpec) -> Vec<&'static str> {
    let says = |lun: &LunSpec| OPTIONS.iter().map(|option| (option.show)(lun, false)).collect::<Vec<_>>();
    let (before, now) = (says(old), says(new));
    let differ = OPTIONS.iter().zip(before.iter().zip(&now));
    let differs = differ.filter(|(option, (before, now))| before != now || option.keep(&mut new.clone(), old));
    differs.map(|(option, _)| option.key).collect()
}

fn of_group(old: &Group, new: &Group) -> Vec<&'static str> {
    let mut keys = vec![
        ("initiators", old.initiators != new.initiators),
        ("networks", old.networks != new.networks),
        ("luns", old.luns != new.luns),
        ("iops", old.limits.iops != new.limits.iops),
        ("bandwidth", old.limits.bytes_per_s != new.limits.bytes_per_s),
    ];
    keys.extend(credentials(old.credentials.as_deref(), new.credentials.as_deref()));
    differing(&keys)
}

/// Secrets among it.
fn credentials(old: Option<&Credentials>, new: Option<&Credentials>) -> [(&'static str, bool); 3] {
    let accounts = |of: Option<&Credentials>| of.map(|of| of.initiators.clone());
    let mutual = |of: Option<&Credentials>| of.map(|of| of.target.clone());
    let algorithms = |of: Option<&Credentials>| of.map(|of| of.algorithms.clone());
    [
        ("accounts", accounts(old) != accounts(new)),
        ("mutual", old.is_some() && new.is_some() && mutual(old) != mutual(new)),
        ("chap-algorithms", old.is_some() && new.is_some() && algorithms(old) != algorithms(new)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_text;
    use std::path::Path;

    fn said(old: &str, new: &str) -> Vec<String> {
        let read = |text: &str| from_text(text, Path::new("/x.toml")).unwrap().snapshot;
        steps(&read(old), &read(new)).iter().map(ToString::to_string).collect()
    }

    const OLD: &str = "[[portal]]\nlisten = '127.0.0.1:3260'\n[[account]]\nuser = 'db'\nsecret = 'secret-of-the-db'\n\
        [[target]]\nname = 'iqn.2026-11.io.example:a'\n\
        [[target.lun]]\nnumber = 0\nkind = 'ram'\nsize = '1MiB'\n[[target.lun]]\nnumber = 1\nkind = 'null'\nsize = '1MiB'\n\
        [[target.group]]\nname = 'g'\nluns = [0]\n[[target.group]]\nname = 'h'\n";

    #[test]
    fn nothing_is_different_from_itself() {
        assert!(said(OLD, OLD).is_empty());
        // Nor is it when what is a default is said.
        assert!(
            said(OLD, &OLD.replace("number = 1\n", "number = 1\nblock = 512\nphysical-block = '4KiB'\n")).is_empty()
        );
    }

    #[test]
    fn every_difference_is_said_once() {
        let a = "iqn.2026-11.io.example:a";
        let one = |from: &str, to: &str, wanted: &str| assert_eq!(said(OLD, &OLD.replace(from, to)), [wanted]);
        one("kind = 'ram'", "kind = 'ram'\niops = 5", &format!("LUN 0 of {a} changed: iops"));
        one(
            "'1MiB'\n[[target.lun",
            "'2MiB'\nreadonly = true\n[[target.lun",
            &format!("LUN 0 of {a} changed: size, readonly"),
        );
        one("number = 1", "number = 1\nserial = 'X'", &format!("LUN 1 of {a} changed: serial"));
        one("luns = [0]", "luns = [1]", &format!("group 'g' of {a} changed: luns"));
        one("name = 'h'", "name = 'h'\naccounts = ['db']", &format!("group 'h' of {a} changed: accounts"));
        one("example:a'", "example:a'\nalias = 'A'", &format!("target {a} changed: alias"));
        one("[[portal]]\n", "strict = true\n[[portal]]\n", "server changed: strict");
        one("3260'", "3260'\nadvertise = '192.0.2.1'", "portal 127.0.0.1:3260 changed: advertise");
        let (g, h) = ("[[target.group]]\nname = 'g'\nluns = [0]\n", "[[target.group]]\nname = 'h'\n");
        one(&format!("{g}{h}"), &format!("{h}{g}"), &format!("target {a} changed: order of groups"));
        let with = format!("{OLD}{}", OLD.split_once("[[target]]").unwrap().1.replace("example:a", "example:b"));
        let with = with.replace("name = 'iqn.2026-11.io.example:b'", "[[target]]\nname = 'iqn.2026-11.io.example:b'");
        assert_eq!(said(OLD, &with), ["target iqn.2026-11.io.example:b added"]);
        assert_eq!(said(&with, OLD), ["target iqn.2026-11.io.example:b removed"]);
        let other = OLD.replace("kind = 'null'", "kind = 'ram'");
        assert_eq!(said(OLD, &other), [format!("LUN 1 of {a} removed"), format!("LUN 1 of {a} added")]);
        let discovery = format!("{OLD}[discovery]\naccounts = ['db']\n");
        assert_eq!(said(OLD, &discovery), ["discovery changed: accounts"]);
        let secret = OLD.replace("name = 'h'", "name = 'h'\naccounts = ['db']");
        let other = secret.replace("secret-of-the-db", "another-secret!!");
        assert_eq!(said(&secret, &other), [format!("group 'h' of {a} changed: accounts")]);
    }
}
