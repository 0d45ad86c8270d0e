//! Changes to the text of a configuration file: a table of it comes, goes, or says other things. What is not changed stays as it
//! is, byte for byte, comments and order too.
//!
//! It is about text only: what an edited text means, and whether it can be served, is found out as of any other.

mod kinds;
mod secrets;
mod tables;
#[cfg(test)]
mod tests;

pub use kinds::{Act, Edit, EditError, Near, Place, Said, Setting};
pub use secrets::{concealed, revealed};
pub use tables::ending_in;

use super::DEFAULT_LISTEN;
use tables::{Row, member, own_name, parsed, place_of, row, tables};
use toml_edit::Table;

/// The text with a change, and the LUN that it is about, if it is about one.
///
/// # Errors
/// Why it cannot be changed so.
pub fn edited(text: &str, edit: &Edit) -> Result<(String, Option<u16>), EditError> {
    let mut document = parsed(text)?;
    let number = change(document.as_table_mut(), edit)?;
    Ok((document.to_string(), number))
}

fn change(top: &mut Table, Edit { place, act }: &Edit) -> Result<Option<u16>, EditError> {
    match place {
        Place::Portal(listen) => {
            let portals = tables(top, "portal")?;
            // The default goes when another one is written.
            if portals.is_empty() && matches!(act, Act::Add(_) | Act::Put(_)) {
                portals.push(row("listen", DEFAULT_LISTEN.into()));
            }
            let at = place_of(portals, Row::Portal(listen));
            if portals.len() == 1 && at.is_some() && *act == Act::Remove {
                return Err(EditError::LastPortal(listen.clone()));
            }
            let new = || row("listen", listen.as_str().into());
            member(portals, at, act, (format!("portal {listen}"), new))?;
            Ok(None)
        }
        Place::Account(user) => {
            let accounts = tables(top, "account")?;
            let at = place_of(accounts, Row::Account(user));
            member(accounts, at, act, (format!("account '{user}'"), || row("user", user.as_str().into())))?;
            Ok(None)
        }
        Place::Target(name) => {
            tables::begin(top, "target");
            let targets = tables(top, "target")?;
            let at = match tables::target_at(targets, name.as_deref()) {
                Ok(at) => Some(at),
                Err(EditError::NoTarget(..)) if matches!(act, Act::Add(_) | Act::Put(_)) => None,
                Err(error) => return Err(error),
            };
            let name = name.clone().unwrap_or_default();
            member(targets, at, act, (format!("target {name}"), || row("name", name.as_str().into())))?;
            tables::end(top, "target");
            Ok(None)
        }
        Place::Lun(target, number) => {
            let of = tables::target(top, target.as_deref())?;
            let name = own_name(of);
            let luns = tables(of, "lun")?;
            let free = || (0..=u16::MAX).find(|number| place_of(luns, Row::Lun(*number)).is_none());
            let number = number.or_else(free).unwrap_or_default();
            let at = place_of(luns, Row::Lun(number));
            let new = || row("number", i64::from(number).into());
            member(luns, at, act, (format!("LUN {number} of {name}"), new))?;
            Ok(Some(number))
        }
        Place::Group(target, group) => {
            let of = tables::target(top, target.as_deref())?;
            let name = own_name(of);
            let groups = tables(of, "group")?;
            let at = place_of(groups, Row::Group(group));
            member(groups, at, act, (format!("group '{group}' of {name}"), || row("name", group.as_str().into())))?;
            Ok(None)
        }
    }
}
