//! The configuration file: TOML, with the line of every key.

use super::access::{ACCOUNT_KEYS, ChapDraft, DISCOVERY_KEYS, GROUP_KEYS, LIMITS_KEYS};
use super::control::{CONTROL_KEYS, ControlDraft};
use super::draft::{Draft, PORTAL_KEYS, TARGET_KEYS, TOP_KEYS};
use super::fault::reason;
use super::value::{Raw, Section, Setting};
use super::{DEFAULT_LISTEN, Fault, Faults, Origin};
use crate::limits;
use crate::model::Secret;
use crate::model::lun::LUN_KEYS;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

/// The text of a file. It can have secrets in it: it is wiped.
pub(super) fn load(file: &Path) -> Result<Zeroizing<String>, Fault> {
    let fault = |message: String| Fault::new(&whole(file), message);
    // A FIFO would block the open, a device never end.
    let metadata = file.metadata().map_err(|e| fault(format!("cannot be read: {}", reason(&e))))?;
    if !metadata.is_file() {
        return Err(fault("is no regular file".to_owned()));
    }
    if metadata.len() > limits::MAX_CONFIG_BYTES {
        return Err(fault(format!("has more than {} bytes", limits::MAX_CONFIG_BYTES)));
    }
    // With room for all of it, so that no outgrown copy is left behind.
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0).saturating_add(64));
    File::open(file)
        .and_then(|open| open.take(limits::MAX_CONFIG_BYTES).read_to_end(&mut bytes))
        .map_err(|e| fault(format!("cannot be read: {}", reason(&e))))?;
    String::from_utf8(bytes).map(Zeroizing::new).map_err(|e| {
        let before = e.as_bytes().get(..e.utf8_error().valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        let origin = Origin::File { file: file.to_owned(), line: Some(line), key: String::new() };
        Fault::new(&origin, "is not UTF-8")
    })
}

fn whole(file: &Path) -> Origin {
    Origin::File { file: file.to_owned(), line: None, key: String::new() }
}

/// Reads the text of a file. What is wrong is in `faults`.
pub(super) fn read(text: &str, file: &Path, faults: &mut Faults) -> Draft {
    let document = Document { text, file, lines: text.match_indices('\n').map(|(at, _)| at).collect() };
    let mut draft = Draft::default();
    match DeTable::parse(text) {
        Ok(table) => document.read(table.get_ref(), &mut draft, faults),
        Err(error) => faults.add(&document.syntax_origin(&error), error.message().replace('\n', ", ")),
    }
    draft
}

/// The text being read, for line numbers.
struct Document<'a> {
    text: &'a str,
    file: &'a Path,
    /// Where its lines end.
    lines: Vec<usize>,
}

impl Document<'_> {
    fn origin(&self, at: usize, key: &str) -> Origin {
        let line = 1 + self.lines.partition_point(|end| *end < at);
        Origin::File { file: self.file.to_owned(), line: Some(line), key: key.to_owned() }
    }

    /// Where TOML itself is broken. A duplicate key is named by the text that the error points to; of other errors the
    /// beginning of the line says which key it was.
    fn syntax_origin(&self, error: &toml::de::Error) -> Origin {
        let Some(span) = error.span() else { return whole(self.file) };
        let before = self.text.get(..span.start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = self.text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let word = line.split(['=', '#']).next().unwrap_or_default().trim();
        let is_key = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.[]".contains(c));
        self.origin(span.start, if is_key { word } else { "" })
    }

    fn read(&self, table: &DeTable<'_>, draft: &mut Draft, faults: &mut Faults) {
        let mut top = self.section("", TOP_KEYS, self.origin(0, ""), table, faults);
        let base = self.file.parent().unwrap_or(Path::new(""));
        draft.read_top(&mut top, base, faults);
        for (origin, table) in self.tables(table, "portal", "portal", faults) {
            let mut section = self.section("portal.", PORTAL_KEYS, origin, table, faults);
            draft.read_portal(&mut section, faults);
        }
        if !table.contains_key("portal") {
            let listen = Setting { raw: Raw::Text(DEFAULT_LISTEN.to_owned()), origin: whole(self.file) };
            let mut section = Section::new(whole(self.file));
            section.add(PORTAL_KEYS, "listen", listen, faults);
            draft.read_portal(&mut section, faults);
        }
        for (origin, table) in self.tables(table, "account", "account", faults) {
            let mut section = self.section("account.", ACCOUNT_KEYS, origin, table, faults);
            draft.access.read_account(&mut section, base, faults);
        }
        if let Some((origin, table)) = self.table(table, "discovery", faults) {
            let mut section = self.section("discovery.", DISCOVERY_KEYS, origin, table, faults);
            draft.access.discovery = ChapDraft::read(&mut section, faults);
        }
        if let Some((origin, table)) = self.table(table, "limits", faults) {
            let mut section = self.section("limits.", LIMITS_KEYS, origin, table, faults);
            draft.access.read_limits(&mut section, faults);
        }
        if let Some((origin, table)) = self.table(table, "control", faults) {
            let mut section = self.section("control.", CONTROL_KEYS, origin, table, faults);
            draft.plane = ControlDraft::read(&mut section, base, &draft.portals, faults);
        }
        self.read_targets(table, base, draft, faults);
    }

    fn read_targets(&self, table: &DeTable<'_>, base: &Path, draft: &mut Draft, faults: &mut Faults) {
        for (origin, table) in self.tables(table, "target", "target", faults) {
            let mut section = self.section("target.", TARGET_KEYS, origin.clone(), table, faults);
            let Some(target) = draft.read_target(&mut section, faults) else { break };
            let luns = self.tables(table, "lun", "target.lun", faults);
            if luns.is_empty() {
                faults.warn(&origin, "this target has no [[target.lun]]: it serves nothing");
            }
            for (origin, table) in luns {
                let mut section = self.section("target.lun.", LUN_KEYS, origin, table, faults);
                target.read_lun(&mut section, None, base, faults);
            }
            for (origin, table) in self.tables(table, "group", "target.group", faults) {
                let mut section = self.section("target.group.", GROUP_KEYS, origin, table, faults);
                target.read_group(&mut section, faults);
            }
        }
        if !table.contains_key("target") {
            // A file that was cut short is not to take all targets away: who means that says so.
            faults.add(
                &whole(self.file),
                "there is no [[target]]: nothing to serve (target = [] says that none is meant)",
            );
        }
    }

    /// The settings of `table`; `prefix` is what its keys are called by in faults.
    fn section(
        &self,
        prefix: &str,
        known: &'static [&'static str],
        origin: Origin,
        table: &DeTable<'_>,
        faults: &mut Faults,
    ) -> Section {
        let mut section = Section::new(origin);
        for (key, value) in table {
            let origin = self.origin(key.span().start, &format!("{prefix}{}", key.get_ref().escape_debug()));
            let raw = match (key.get_ref().as_ref(), value.get_ref()) {
                ("secret", DeValue::String(text)) => Raw::Secret(Secret::new(text.as_bytes().to_vec())),
                (_, value) => raw(value),
            };
            section.add(known, key.get_ref(), Setting { raw, origin }, faults);
        }
        section
    }

    /// The table `[key]`, with its place.
    fn table<'t, 'i>(
        &self,
        table: &'t DeTable<'i>,
        key: &str,
        faults: &mut Faults,
    ) -> Option<(Origin, &'t DeTable<'i>)> {
        let (written, value) = table.get_key_value(key)?;
        let origin = self.origin(written.span().start, key);
        match value.get_ref() {
            DeValue::Table(table) => Some((origin, table)),
            _ => {
                faults.add(&origin, format!("is no table: write [{key}] and its keys below, once"));
                None
            }
        }
    }

    /// The tables of `[[key]]`, each with its place.
    fn tables<'t, 'i>(
        &self,
        table: &'t DeTable<'i>,
        key: &str,
        name: &str,
        faults: &mut Faults,
    ) -> Vec<(Origin, &'t DeTable<'i>)> {
        let Some((written, value)) = table.get_key_value(key) else { return Vec::new() };
        let elements: &[Spanned<DeValue<'i>>] = match value.get_ref() {
            DeValue::Array(elements) => elements,
            _ => {
                let message = format!("write [[{name}]], with double brackets: there can be several");
                faults.add(&self.origin(written.span().start, name), message);
                return Vec::new();
            }
        };
        let mut tables = Vec::new();
        for element in elements {
            let origin = self.origin(element.span().start, name);
            match element.get_ref() {
                DeValue::Table(table) => tables.push((origin, table)),
                _ => faults.add(&origin, format!("is no table: write [[{name}]] and its keys below")),
            }
        }
        tables
    }
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("number of more than 63 bits"), Raw::Integer),
        DeValue::Boolean(value) => Raw::Boolean(*value),
        DeValue::Array(elements) => Raw::List(elements.iter().map(|element| raw(element.get_ref())).collect()),
        DeValue::Float(_) => Raw::Other("fraction"),
        DeValue::Datetime(_) => Raw::Other("date"),
        DeValue::Table(_) => Raw::Other("table"),
    }
}
