//! Whom a sentence binds: a guess from its subject, and the committed file that overrules it.

use super::rfc::Sentence;
use std::collections::BTreeMap;

/// Whom a sentence binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Target,
    Initiator,
    Both,
    /// Nobody who speaks iSCSI: other documents, registries, administrators; or it repeats another sentence.
    Neither,
}

impl Class {
    /// The sentence asks something of a target.
    pub fn binds_target(self) -> bool {
        matches!(self, Class::Target | Class::Both)
    }

    pub fn name(self) -> &'static str {
        match self {
            Class::Target => "target",
            Class::Initiator => "initiator",
            Class::Both => "both",
            Class::Neither => "neither",
        }
    }

    fn from_name(name: &str) -> Option<Class> {
        [Class::Target, Class::Initiator, Class::Both, Class::Neither].into_iter().find(|c| c.name() == name)
    }
}

/// What only initiators send, and what only targets do; in lower case.
const INITIATORS_OWN: &[&str] =
    &["isid", "login request", "text request", "logout request", "snack", "data-out", "refcmdsn"];
const TARGETS_OWN: &[&str] = &[
    "response pdu",
    "login response",
    "text response",
    "logout response",
    "scsi response",
    "data-in",
    "r2t",
    "reject",
    "statsn",
    "maxcmdsn",
    "tsih",
    "residual",
];
/// After these a party is not the subject.
const PREPOSITIONS: &[&str] = &["to", "from", "at", "of", "by", "with", "for", "on"];
/// Before these `initiator` and `target` name something else than a party.
const NAMES: &[&str] = &["transfer", "task", "portal", "name", "address", "cold", "warm", "port"];

/// From the clause before the key word; then from "by the target" after it; then from who sends what is spoken of. When
/// nothing tells: both.
pub fn guess(sentence: &Sentence) -> Class {
    let text = sentence.text.to_lowercase();
    let mut class: Option<Class> = None;
    for key in ["MUST", "SHALL", "REQUIRED", "SHOULD"] {
        for (at, _) in sentence.text.match_indices(key) {
            let found = subject(&text, at);
            class = Some(match class {
                Some(other) if other != found => Class::Both,
                _ => found,
            });
        }
    }
    class.unwrap_or(Class::Both)
}

fn subject(text: &str, at: usize) -> Class {
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    let clause = before.rsplit([',', ';', '(']).next().unwrap_or(before);
    let own = |names: &[&str]| names.iter().any(|n| clause.contains(n));
    let pronoun = clause.split_whitespace().any(|w| w == "it" || w == "they");
    let by = |party: &str| [" by the ", " by an ", " by "].iter().any(|by| after.contains(&format!("{by}{party}")));
    party(clause)
        .or_else(|| if pronoun { party(before) } else { None })
        .or_else(|| by("target").then_some(Class::Target))
        .or_else(|| by("initiator").then_some(Class::Initiator))
        .or_else(|| match (own(INITIATORS_OWN), own(TARGETS_OWN)) {
            (true, false) => Some(Class::Initiator),
            (false, true) => Some(Class::Target),
            _ => None,
        })
        .unwrap_or(Class::Both)
}

/// The parties that are subjects in this clause.
fn party(clause: &str) -> Option<Class> {
    let words: Vec<&str> = clause.split(|c: char| !c.is_alphanumeric() && c != '-').filter(|w| !w.is_empty()).collect();
    let mut class = None;
    for (n, word) in words.iter().enumerate() {
        let found = match *word {
            "initiator" | "initiators" => Class::Initiator,
            "target" | "targets" => Class::Target,
            _ => continue,
        };
        let mut earlier = words[..n].iter().rev().filter(|w| !["the", "a", "an", "iscsi", "any", "each"].contains(w));
        let object = earlier.next().is_some_and(|w| PREPOSITIONS.contains(w));
        let name = words.get(n + 1).is_some_and(|w| NAMES.contains(w));
        if !object && !name {
            let joined = n >= 2 && ["and", "or"].contains(&words[n - 1]);
            match class {
                None => class = Some(found),
                Some(other) if other != found && joined => class = Some(Class::Both),
                _ => {}
            }
        }
    }
    class
}

/// `classes.txt`: `id class reason`. Returns what it says, and what is wrong with it.
pub fn overrides(file: &str) -> (BTreeMap<String, Class>, Vec<String>) {
    let (mut classes, mut faults) = (BTreeMap::new(), Vec::new());
    for (number, line) in super::entries(file) {
        let mut words = line.split_whitespace();
        let (id, class) = (words.next().unwrap_or_default(), words.next().and_then(Class::from_name));
        match class {
            None => faults.push(format!("classes.txt:{number}: expected `id target|initiator|both|neither reason`")),
            Some(Class::Neither) if words.next().is_none() => {
                faults.push(format!("classes.txt:{number}: 'neither' wants a reason"));
            }
            Some(class) => {
                if classes.insert(id.to_owned(), class).is_some() {
                    faults.push(format!("classes.txt:{number}: {id} stands there twice"));
                }
            }
        }
    }
    (classes, faults)
}
