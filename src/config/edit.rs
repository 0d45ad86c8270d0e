//! Changes to the text of a configuration file: a logical unit comes, goes, or gets other settings. What is not changed stays
//! as it is, byte for byte, comments and order too.
//!
//! It is about text only: what an edited text means, and whether it can be served, is found out as of any other.

use thiserror::Error;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

/// What is changed of a target's logical units.
#[derive(Debug, Clone, PartialEq)]
pub enum LunEdit {
    /// One comes: at this LUN, or at the lowest that is free.
    Add {
        /// The LUN.
        number: Option<u16>,
        /// Its other settings.
        settings: Vec<Setting>,
    },
    /// One gets other settings; those that are not named stay.
    Set {
        /// Its LUN.
        number: u16,
        /// The settings.
        settings: Vec<Setting>,
    },
    /// One goes.
    Remove {
        /// Its LUN.
        number: u16,
    },
}

/// A key of the file, and what it is to say; `None`: it goes.
pub type Setting = (String, Option<Said>);

/// What a key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
}

/// Why a text cannot be changed so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EditError {
    /// It is not TOML.
    #[error("the file is not valid: {0}")]
    Broken(String),
    /// No target is called so.
    #[error("there is no target '{0}' in the file")]
    NoTarget(String),
    /// There are several, and none was named.
    #[error("the file has {0} targets: say which one is meant")]
    WhichTarget(usize),
    /// Nothing is at that LUN.
    #[error("{target} has no LUN {number} in the file")]
    NoLun {
        /// The target.
        target: String,
        /// The LUN.
        number: u16,
    },
    /// Something is there already.
    #[error("{target} has a LUN {number} already: another number, or `lun set`")]
    Taken {
        /// The target.
        target: String,
        /// The LUN.
        number: u16,
    },
    /// The file writes its tables otherwise.
    #[error("'{0}' is not written as [[{0}]]: it can be changed by hand only")]
    Inline(&'static str),
}

/// The text with a change, and the LUN that it is about. `target`: the name of the target, or an end of it that no other has;
/// not needed where there is one.
///
/// # Errors
/// Why it cannot be changed so.
pub fn edit_lun(text: &str, target: Option<&str>, edit: &LunEdit) -> Result<(String, u16), EditError> {
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| EditError::Broken(error.message().replace('\n', ", ")))?;
    let targets = tables(document.as_table_mut(), "target")?;
    let at = target_at(targets, target)?;
    let Some(of) = targets.get_mut(at) else { return Err(EditError::NoTarget(String::new())) };
    let name = of.get("name").and_then(Item::as_str).unwrap_or_default().to_owned();
    let luns = tables(of, "lun")?;
    let number = match edit {
        LunEdit::Add { number, settings } => add(luns, &name, *number, settings)?,
        LunEdit::Set { number, settings } => {
            let at = position(luns, *number).ok_or(EditError::NoLun { target: name, number: *number })?;
            if let Some(lun) = luns.get_mut(at) {
                set(lun, settings);
            }
            *number
        }
        LunEdit::Remove { number } => {
            let at = position(luns, *number).ok_or(EditError::NoLun { target: name, number: *number })?;
            luns.remove(at);
            *number
        }
    };
    Ok((document.to_string(), number))
}

/// The tables `[[key]]`, none if there are none.
fn tables<'t>(table: &'t mut Table, key: &'static str) -> Result<&'t mut ArrayOfTables, EditError> {
    let item = table.entry(key).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    item.as_array_of_tables_mut().ok_or(EditError::Inline(key))
}

/// Which target is meant.
fn target_at(targets: &ArrayOfTables, wanted: Option<&str>) -> Result<usize, EditError> {
    let Some(wanted) = wanted else {
        return if targets.len() == 1 { Ok(0) } else { Err(EditError::WhichTarget(targets.len())) };
    };
    let name = |table: &Table| table.get("name").and_then(Item::as_str).unwrap_or_default().to_ascii_lowercase();
    let (wanted, names) = (wanted.to_ascii_lowercase(), targets.iter().map(name).collect::<Vec<_>>());
    if let Some(at) = names.iter().position(|name| *name == wanted) {
        return Ok(at);
    }
    let end = format!(":{wanted}");
    let mut ending = names.iter().enumerate().filter(|(_, name)| name.ends_with(&end));
    match (ending.next(), ending.next()) {
        (Some((at, _)), None) => Ok(at),
        _ => Err(EditError::NoTarget(wanted)),
    }
}

fn number_of(lun: &Table) -> Option<u16> {
    lun.get("number").and_then(Item::as_integer).and_then(|number| u16::try_from(number).ok())
}

fn position(luns: &ArrayOfTables, number: u16) -> Option<usize> {
    luns.iter().position(|lun| number_of(lun) == Some(number))
}

fn add(luns: &mut ArrayOfTables, target: &str, number: Option<u16>, settings: &[Setting]) -> Result<u16, EditError> {
    let free = || (0..=u16::MAX).find(|number| position(luns, *number).is_none());
    let number = number.or_else(free).unwrap_or_default();
    if position(luns, number).is_some() {
        return Err(EditError::Taken { target: target.to_owned(), number });
    }
    let mut lun = Table::new();
    lun.decor_mut().set_prefix("\n");
    lun.insert("number", value(i64::from(number)));
    set(&mut lun, settings);
    luns.push(lun);
    Ok(number)
}

/// Gives a table these settings. What stands behind a value that is replaced stays there.
fn set(table: &mut Table, settings: &[Setting]) {
    for (key, said) in settings {
        let Some(said) = said else {
            table.remove(key);
            continue;
        };
        let mut new = match said {
            Said::Text(text) => toml_edit::Value::from(text.as_str()),
            Said::Number(number) => toml_edit::Value::from(*number),
            Said::Flag(flag) => toml_edit::Value::from(*flag),
        };
        match table.get_mut(key).and_then(Item::as_value_mut) {
            Some(old) => {
                *new.decor_mut() = old.decor().clone();
                *old = new;
            }
            None => {
                table.insert(key, Item::Value(new));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# top\nstate = 'x'   # here\n\n[[target]]\nname = \"iqn.2026-11.io.example:a\"\n\n\
        # the first disk\n[[target.lun]]\nnumber = 0\npath = \"a0.img\"   # on the old array\nsize = \"1GiB\"\n\n\
        # the third\n[[target.lun]]\nnumber = 2\nkind = \"ram\"\nsize = \"1MiB\"\n\n[[target.group]]\nname = \"g\"\n\n\
        # another\n[[target]]\nname = \"iqn.2026-11.io.example:b\"\n\n[[target.lun]]\nnumber = 0\nkind = \"null\"\nsize = \"1GiB\"\n# the end\n";

    fn text(key: &str, said: &str) -> Setting {
        (key.to_owned(), Some(Said::Text(said.to_owned())))
    }

    #[test]
    fn a_unit_comes_behind_the_others_of_its_target() {
        let settings = vec![text("path", "/dev/sdb"), ("thin".to_owned(), Some(Said::Flag(true)))];
        let (edited, number) = edit_lun(FILE, Some("a"), &LunEdit::Add { number: None, settings }).unwrap();
        assert_eq!(number, 1);
        let wanted = FILE.replace(
            "size = \"1MiB\"\n",
            "size = \"1MiB\"\n\n[[target.lun]]\nnumber = 1\npath = \"/dev/sdb\"\nthin = true\n",
        );
        assert_eq!(edited, wanted);
    }

    #[test]
    fn what_is_set_keeps_what_stands_behind_it() {
        let settings =
            vec![text("path", "b0.img"), ("iops".to_owned(), Some(Said::Number(500))), ("size".to_owned(), None)];
        let edit = LunEdit::Set { number: 0, settings };
        let (edited, _) = edit_lun(FILE, Some("iqn.2026-11.io.example:a"), &edit).unwrap();
        let wanted = FILE.replacen(
            "path = \"a0.img\"   # on the old array\nsize = \"1GiB\"\n",
            "path = \"b0.img\"   # on the old array\niops = 500\n",
            1,
        );
        assert_eq!(edited, wanted);
    }

    #[test]
    fn a_unit_goes_with_what_stands_above_it_and_nothing_else() {
        let (edited, _) = edit_lun(FILE, Some("a"), &LunEdit::Remove { number: 2 }).unwrap();
        assert_eq!(
            edited,
            FILE.replace("\n# the third\n[[target.lun]]\nnumber = 2\nkind = \"ram\"\nsize = \"1MiB\"\n", "")
        );
        let (edited, _) = edit_lun(FILE, Some("b"), &LunEdit::Remove { number: 0 }).unwrap();
        assert!(
            edited.contains("# another\n[[target]]\nname = \"iqn.2026-11.io.example:b\"\n")
                && edited.ends_with("# the end\n"),
            "{edited}"
        );
        // And comes back.
        let edit = LunEdit::Add { number: Some(7), settings: vec![text("kind", "null")] };
        let (edited, number) = edit_lun(&edited, Some("b"), &edit).unwrap();
        assert!(number == 7 && edited.contains(":b\"\n\n[[target.lun]]\nnumber = 7\nkind = \"null\"\n"), "{edited}");
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let remove = LunEdit::Remove { number: 5 };
        let target = "iqn.2026-11.io.example:a".to_owned();
        let edit = |text: &str, target: Option<&str>, edit: &LunEdit| edit_lun(text, target, edit).unwrap_err();
        assert_eq!(edit(FILE, Some("a"), &remove), EditError::NoLun { target: target.clone(), number: 5 });
        assert_eq!(edit(FILE, None, &remove), EditError::WhichTarget(2));
        assert_eq!(edit(FILE, Some("c"), &remove), EditError::NoTarget("c".to_owned()));
        let add = LunEdit::Add { number: Some(2), settings: Vec::new() };
        assert_eq!(edit(FILE, Some("A"), &add), EditError::Taken { target, number: 2 });
        assert_eq!(edit("target = [{ name = 'x' }]", None, &add), EditError::Inline("target"));
        assert!(matches!(edit("a = ", None, &add), EditError::Broken(_)));
    }
}
