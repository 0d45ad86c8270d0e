//! From a file or the command line's options to a validated [`Snapshot`](crate::model::Snapshot).
//!
//! Both sources are read into the same `value::Section`s, so that a key means, accepts and says the same in either:
//! `document` reads TOML, `options` the command line, `draft` makes portals, targets and logical units of what they
//! found (`access`: accounts and groups; `control`: the control plane), `resolve` looks up what these name, `machine` looks at the files and cores that
//! are named. Every [`Fault`] knows where its setting was written: file, line and key, or the option. All faults of a file
//! are found in one go.
//!
//! Sizes are [`size`]'s; [`describe`] says in words what a snapshot serves. Nothing here changes the disk, except
//! [`create_directories`], which only `serve` calls.

mod access;
mod cdrom;
mod control;
mod defaults;
pub mod describe;
pub mod diff;
mod document;
mod draft;
pub mod edit;
mod fault;
mod group;
mod machine;
pub mod near;
pub mod options;
mod overlap;
mod resolve;
pub mod schema;
mod served;
pub mod size;
pub mod store;
#[cfg(test)]
mod tests;
mod tokens;
mod value;

pub use crate::model::lun::LUN_KEYS;
pub use access::{ACCOUNT_KEYS, DISCOVERY_KEYS, GROUP_KEYS, LIMITS_KEYS};
pub use control::CONTROL_KEYS;
pub use defaults::{DEFAULT_LISTEN, DEFAULT_LUN, DEFAULT_PORT, DEFAULT_STATE, DEFAULT_TARGET};
pub use draft::{PORTAL_KEYS, TARGET_KEYS, TOP_KEYS, check_log_format, check_log_level};
pub(crate) use fault::Faults;
pub use fault::{ConfigError, Fault, Origin};
pub use machine::create_directories;
pub use options::{Options, Overrides};
pub use served::{Config, ControlSocket};
pub use tokens::check_tokens;

use std::path::Path;

/// Reads a configuration file and looks at the disks it names.
///
/// # Errors
/// Everything that is wrong with it, each with file, line and key.
pub fn from_file(file: &Path) -> Result<Config, ConfigError> {
    read(file, &document::load(file)?, true)
}

/// A configuration file that is to be served, or what it would come to if it said `text`. It is no fault that a disk is not
/// there, or not as it should be, unless `all_or_nothing`, or the file, says so.
///
/// # Errors
/// Everything else that is wrong with it, each with file, line and key.
pub fn to_serve(file: &Path, text: Option<&str>, all_or_nothing: bool) -> Result<Config, ConfigError> {
    match text {
        Some(text) => read(file, text, all_or_nothing),
        None => read(file, &document::load(file)?, all_or_nothing),
    }
}

fn read(file: &Path, text: &str, all_or_nothing: bool) -> Result<Config, ConfigError> {
    let mut faults = Faults::default();
    let mut draft = document::read(text, file, &mut faults);
    machine::check_secrecy(&draft, file, &mut faults);
    machine::read_secrets(&mut draft, &mut faults);
    draft.plane.look(&mut faults);
    resolve::resolve(&mut draft, &mut faults);
    let degrades = !all_or_nothing && !draft.all_or_nothing;
    machine::check(&draft, degrades, &mut faults);
    let mut config = finish(draft, faults)?;
    config.snapshot.degrades = degrades;
    config.tag = store::tag(text);
    Ok(config)
}

/// Checks the text of a configuration file without looking at any disk or at the environment: an account whose secret is
/// not in the text lets nobody in. `file` is what faults name, and paths in the text are relative to its directory.
///
/// # Errors
/// Everything that is wrong with it, each with file, line and key.
pub fn from_text(text: &str, file: &Path) -> Result<Config, ConfigError> {
    let mut faults = Faults::default();
    let mut draft = document::read(text, file, &mut faults);
    resolve::resolve(&mut draft, &mut faults);
    finish(draft, faults)
}

/// Makes a configuration of the command line's options and looks at the disks they name. What is not given has the
/// embedded default.
///
/// # Errors
/// Everything that is wrong with them, each with the option.
pub fn from_options(options: &Options) -> Result<Config, ConfigError> {
    let mut faults = Faults::default();
    let mut draft = options::read(options, &mut faults);
    machine::read_secrets(&mut draft, &mut faults);
    resolve::resolve(&mut draft, &mut faults);
    machine::check(&draft, false, &mut faults);
    finish(draft, faults)
}

/// What `draft` amounts to, unless there were faults.
fn finish(draft: draft::Draft, mut faults: Faults) -> Result<Config, ConfigError> {
    let mut config = draft.into_config();
    config.warnings = faults.take_warnings();
    faults.finish(config)
}
