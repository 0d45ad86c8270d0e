//! The tables of a file, found by what names them, and changed.

use super::kinds::{Act, EditError, Near, Said, Setting};
use crate::config::draft::address_of;
use crate::config::near::nearest_target;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, TomlError, Value, value};

/// What a table is found by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Row<'a> {
    Portal(&'a str),
    Account(&'a str),
    Lun(u16),
    Group(&'a str),
}

/// A text as TOML.
pub(super) fn parsed(text: &str) -> Result<DocumentMut, EditError> {
    text.parse().map_err(|error: TomlError| EditError::Broken(error.message().replace('\n', ", ")))
}

/// The tables `[[key]]`, none if there are none.
pub(super) fn tables<'t>(table: &'t mut Table, key: &'static str) -> Result<&'t mut ArrayOfTables, EditError> {
    let item = table.entry(key).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    item.as_array_of_tables_mut().ok_or(EditError::Inline(key))
}

/// Where it is said that there are no tables `[[key]]`, there can be some.
pub(super) fn begin(table: &mut Table, key: &'static str) {
    if table.get(key).and_then(Item::as_array).is_some_and(Array::is_empty) {
        table.remove(key);
    }
}

/// Where there are no tables `[[key]]` any more, that is said.
pub(super) fn end(table: &mut Table, key: &'static str) {
    if table.get(key).and_then(Item::as_array_of_tables).is_some_and(ArrayOfTables::is_empty) {
        table.insert(key, value(Array::new()));
    }
}

fn text_of<'t>(table: &'t Table, key: &str) -> Option<&'t str> {
    table.get(key).and_then(Item::as_str)
}

/// What a target is called.
pub(super) fn own_name(target: &Table) -> String {
    text_of(target, "name").unwrap_or_default().to_owned()
}

/// Where the table is that is meant.
pub(super) fn place_of(tables: &ArrayOfTables, wanted: Row<'_>) -> Option<usize> {
    let is_meant = |(at, table): (usize, &Table)| match wanted {
        Row::Portal(listen) => {
            let own = text_of(table, "listen").unwrap_or_default();
            own == listen || address_of(own).is_some_and(|own| Some(own) == address_of(listen))
        }
        Row::Account(user) => text_of(table, "user") == Some(user),
        Row::Lun(number) => {
            let own = table.get("number").and_then(Item::as_integer);
            own.and_then(|own| u16::try_from(own).ok()) == Some(number)
        }
        Row::Group(name) => match text_of(table, "name") {
            Some(own) => own == name,
            None => (at + 1).to_string() == name,
        },
    };
    tables.iter().enumerate().position(is_meant)
}

/// The target that is meant.
pub(super) fn target<'t>(top: &'t mut Table, wanted: Option<&str>) -> Result<&'t mut Table, EditError> {
    let targets = tables(top, "target")?;
    let at = target_at(targets, wanted)?;
    targets.get_mut(at).ok_or_else(|| EditError::NoTarget(String::new(), Near::default()))
}

/// Where the target is that is meant.
pub(super) fn target_at(targets: &ArrayOfTables, wanted: Option<&str>) -> Result<usize, EditError> {
    let Some(wanted) = wanted else {
        return if targets.len() == 1 { Ok(0) } else { Err(EditError::WhichTarget(targets.len())) };
    };
    let names: Vec<String> = targets.iter().map(own_name).collect();
    let at = ending_in(names.iter().map(String::as_str), wanted);
    at.ok_or_else(|| {
        let near = nearest_target(names.iter().map(String::as_str), wanted).map(ToOwned::to_owned);
        let near = near.map_or(Near::Nothing, Near::One);
        EditError::NoTarget(wanted.to_ascii_lowercase(), near)
    })
}

/// The place of the name that is wanted: as it is, or what no other name has behind its last colon.
pub fn ending_in<'a>(names: impl Iterator<Item = &'a str> + Clone, wanted: &str) -> Option<usize> {
    if let Some(at) = names.clone().position(|name| name.eq_ignore_ascii_case(wanted)) {
        return Some(at);
    }
    let end = format!(":{}", wanted.to_ascii_lowercase());
    let mut ending = names.enumerate().filter(|(_, name)| name.to_ascii_lowercase().ends_with(&end));
    match (ending.next(), ending.next()) {
        (Some((at, _)), None) => Some(at),
        _ => None,
    }
}

/// A new table that is found by `key`.
pub(super) fn row(key: &str, said: Value) -> Table {
    let mut table = Table::new();
    table.decor_mut().set_prefix("\n");
    table.insert(key, value(said));
    table
}

/// Does with one of the tables what is to be done. `at`: where it is, if it is there; `what` it is called, and a `new` one.
pub(super) fn member(
    tables: &mut ArrayOfTables,
    at: Option<usize>,
    act: &Act,
    (what, new): (String, impl FnOnce() -> Table),
) -> Result<(), EditError> {
    match (act, at) {
        (Act::Add(_), Some(_)) => return Err(EditError::Taken(what)),
        (Act::Set(_) | Act::Remove, None) => return Err(EditError::None(what, names(tables))),
        (Act::Add(settings) | Act::Put(settings), None) => {
            let mut table = new();
            set(&mut table, settings);
            tables.push(table);
        }
        (Act::Put(settings), Some(at)) => {
            if let Some(table) = tables.get_mut(at) {
                let names: Vec<String> = new().iter().map(|(key, _)| key.to_owned()).collect();
                let is_named =
                    |key: &str| names.iter().any(|name| name == key) || settings.iter().any(|(k, _)| k == key);
                table.retain(|key, item| !item.is_value() || is_named(key));
                set(table, settings);
            }
        }
        (Act::Set(settings), Some(at)) => {
            if let Some(table) = tables.get_mut(at) {
                set(table, settings);
            }
        }
        (Act::Remove, Some(at)) => {
            tables.remove(at);
        }
    }
    Ok(())
}

/// What the tables are found by.
fn names(tables: &ArrayOfTables) -> Near {
    let name = |table: &Table| {
        let text = ["name", "user", "listen"].into_iter().find_map(|key| text_of(table, key)).map(ToOwned::to_owned);
        text.or_else(|| table.get("number").and_then(Item::as_integer).map(|number| number.to_string()))
    };
    let names: Vec<String> = tables.iter().filter_map(name).collect();
    if names.is_empty() { Near::Nothing } else { Near::All(names) }
}

/// Gives a table these settings. What stands behind a value that is replaced stays there; one that is the same stays as it
/// is written.
fn set(table: &mut Table, settings: &[Setting]) {
    for (key, said) in settings {
        let Some(said) = said else {
            // A table within it is no setting.
            if table.get(key).is_some_and(Item::is_value) {
                table.remove(key);
            }
            continue;
        };
        match table.get_mut(key).and_then(Item::as_value_mut) {
            Some(old) if is(old, said) => {}
            Some(old) => {
                let mut new = written(said);
                *new.decor_mut() = old.decor().clone();
                *old = new;
            }
            None => {
                table.insert(key, Item::Value(written(said)));
            }
        }
    }
}

fn written(said: &Said) -> Value {
    match said {
        Said::Text(text) => Value::from(text.as_str()),
        Said::Number(number) => Value::from(*number),
        Said::Flag(flag) => Value::from(*flag),
        Said::List(list) => Value::from(list.iter().map(written).collect::<Array>()),
    }
}

/// Whether a value says that.
fn is(value: &Value, said: &Said) -> bool {
    match (value, said) {
        (Value::String(own), Said::Text(text)) => own.value() == text,
        (Value::Integer(own), Said::Number(number)) => own.value() == number,
        (Value::Boolean(own), Said::Flag(flag)) => own.value() == flag,
        (Value::Array(own), Said::List(list)) => {
            own.len() == list.len() && own.iter().zip(list).all(|(own, said)| is(own, said))
        }
        _ => false,
    }
}
