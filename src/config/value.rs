//! Settings before they mean anything: a section of keys with raw values, and how they become numbers, sizes, words.

use super::near::nearest;
use super::{Fault, Faults, Origin, size};
use crate::model::Secret;
use std::collections::BTreeMap;

/// A value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Raw {
    /// A word of the command line, which has no types.
    Word(String),
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML boolean, or a flag of the command line.
    Boolean(bool),
    /// A TOML array.
    List(Vec<Raw>),
    /// A text that is not to be shown.
    Secret(Secret),
    /// Something that no key takes.
    Other(&'static str),
}

impl Raw {
    /// The value in words, for error lines.
    pub(super) fn show(&self) -> String {
        match self {
            Self::Word(text) | Self::Text(text) => format!("'{}'", text.escape_debug()),
            Self::Integer(number) => number.to_string(),
            Self::Boolean(value) => value.to_string(),
            Self::List(elements) => format!("[{}]", elements.iter().map(Raw::show).collect::<Vec<_>>().join(", ")),
            Self::Secret(_) => "a secret".to_owned(),
            Self::Other(kind) => format!("a {kind}"),
        }
    }
}

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

impl Setting {
    fn fault<T>(&self, message: &str) -> Result<T, Fault> {
        Err(Fault::new(&self.origin, format!("{} {message}", self.raw.show())))
    }

    /// A non-empty text.
    pub(super) fn text(&self) -> Result<String, Fault> {
        match &self.raw {
            Raw::Word(text) | Raw::Text(text) if text.contains('\0') => self.fault("has a zero byte in it"),
            Raw::Word(text) | Raw::Text(text) if !text.is_empty() => Ok(text.clone()),
            Raw::Word(_) | Raw::Text(_) => self.fault("is empty"),
            _ => self.fault("is no text: put it in quotes"),
        }
    }

    /// A list of texts.
    pub(super) fn texts(&self) -> Result<Vec<String>, Fault> {
        let Raw::List(elements) = &self.raw else { return self.fault("is no list of texts: write [\"...\", \"...\"]") };
        let text = |raw: &Raw| Self { raw: raw.clone(), origin: self.origin.clone() }.text();
        elements.iter().map(text).collect()
    }

    /// A whole number from `low` to `high`.
    pub(super) fn integer(&self, low: u64, high: u64) -> Result<u64, Fault> {
        let number = match &self.raw {
            Raw::Word(text) => text.parse().ok(),
            Raw::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        };
        match number {
            Some(number) if (low..=high).contains(&number) => Ok(number),
            _ => self.fault(&format!("is no whole number from {low} to {high}")),
        }
    }

    /// A size in bytes: a number, or a text with a unit.
    pub(super) fn size(&self) -> Result<u64, Fault> {
        match &self.raw {
            Raw::Word(text) | Raw::Text(text) => size::parse(text).or_else(|e| self.fault(&e.to_string())),
            Raw::Integer(number) => {
                u64::try_from(*number).or_else(|_| self.fault(&size::SizeError::Format.to_string()))
            }
            _ => self.fault(&size::SizeError::Format.to_string()),
        }
    }

    /// True or false.
    pub(super) fn boolean(&self) -> Result<bool, Fault> {
        match &self.raw {
            Raw::Boolean(value) => Ok(*value),
            Raw::Word(text) if text == "true" => Ok(true),
            Raw::Word(text) if text == "false" => Ok(false),
            _ => self.fault("is neither true nor false"),
        }
    }

    /// Whole numbers below `end`, each once: a list, or a text with ranges as in `0,2-5`.
    pub(super) fn numbers(&self, end: usize) -> Result<Vec<usize>, Fault> {
        let wanted = "is no list of numbers: write 0,2-5";
        let mut numbers = Vec::new();
        let ranges: Option<Vec<(usize, usize)>> = match &self.raw {
            Raw::List(elements) => elements.iter().map(single).collect(),
            Raw::Word(text) | Raw::Text(text) => text.split(',').map(|part| range(part.trim())).collect(),
            _ => None,
        };
        for (first, last) in ranges.map_or_else(|| self.fault(wanted), Ok)? {
            if first > last || last >= end {
                return self.fault(&format!("is no list of numbers below {end}, like 0,2-5"));
            }
            for number in first..=last {
                if numbers.contains(&number) {
                    return self.fault(&format!("names {number} twice"));
                }
                numbers.push(number);
            }
        }
        if numbers.is_empty() { self.fault("is empty") } else { Ok(numbers) }
    }
}

fn single(raw: &Raw) -> Option<(usize, usize)> {
    match raw {
        Raw::Integer(number) => usize::try_from(*number).ok().map(|number| (number, number)),
        _ => None,
    }
}

fn range(text: &str) -> Option<(usize, usize)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// The settings of one table of the file or one option: keys that are known, each once.
#[derive(Debug)]
pub(super) struct Section {
    settings: BTreeMap<&'static str, Setting>,
    /// Where the section itself begins.
    pub(super) origin: Origin,
}

impl Section {
    pub(super) fn new(origin: Origin) -> Self {
        Self { settings: BTreeMap::new(), origin }
    }

    /// Adds a setting if `key` is one of `known`; else notes the fault, with the key that was perhaps meant.
    pub(super) fn add(&mut self, known: &'static [&'static str], key: &str, setting: Setting, faults: &mut Faults) {
        match known.iter().find(|name| **name == key) {
            None => faults.add(&setting.origin, unknown_key(known, key)),
            Some(name) if self.settings.contains_key(name) => {
                faults.add(&setting.origin, format!("{name} is given twice"))
            }
            Some(name) => {
                self.settings.insert(name, setting);
            }
        }
    }

    /// Takes a setting out. Asking for a key that was never known is a bug, not an input error: it finds nothing.
    pub(super) fn take(&mut self, key: &str) -> Option<Setting> {
        self.settings.remove(key)
    }

    /// Where a key was written.
    pub(super) fn origin_of(&self, key: &str) -> Option<Origin> {
        self.settings.get(key).map(|setting| setting.origin.clone())
    }

    /// Takes a setting out and reads it; a fault is noted.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        faults: &mut Faults,
        convert: impl FnOnce(&Setting) -> Result<T, Fault>,
    ) -> Option<T> {
        self.take(key).and_then(|setting| faults.keep(convert(&setting)))
    }
}

/// Says that a key is not known, and which one is near.
fn unknown_key(known: &[&str], key: &str) -> String {
    let shown = key.escape_debug();
    match nearest(known.iter().copied(), key) {
        Some(name) => format!("unknown key '{shown}': did you mean '{name}'?"),
        None => format!("unknown key '{shown}': known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_at_the_nearest_key() {
        let known = ["path", "kind", "size", "physical-block"];
        assert_eq!(unknown_key(&known, "sise"), "unknown key 'sise': did you mean 'size'?");
        assert_eq!(
            unknown_key(&known, "physical_block"),
            "unknown key 'physical_block': did you mean 'physical-block'?"
        );
        assert_eq!(unknown_key(&known, "colour"), "unknown key 'colour': known are path, kind, size, physical-block");
    }
}
