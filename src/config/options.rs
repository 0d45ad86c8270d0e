//! The options of `serve` that stand in for a file.

use super::access::{AccountDraft, ChapDraft, Source};
use super::draft::{Draft, PORTAL_KEYS, TARGET_KEYS, TOP_KEYS};
use super::value::{Raw, Section, Setting};
use super::{Config, ConfigError, DEFAULT_LISTEN, DEFAULT_LUN, DEFAULT_STATE, DEFAULT_TARGET, Faults, Origin, machine};
use crate::model::lun::{LUN_KEYS, OPTIONS};
use std::path::Path;

/// What is served, in the words of the command line. Empty means the embedded default.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Each `--listen`.
    pub listen: Vec<String>,
    /// Each `--advertise`: the first belongs to the first `--listen`, and so on.
    pub advertise: Vec<String>,
    /// `--target`.
    pub target: Option<String>,
    /// Each `--lun`; LUNs count from 0 in this order.
    pub lun: Vec<String>,
    /// Each `--chap`: an account for initiators, as USER:FILE.
    pub chap: Vec<String>,
    /// `--chap-mutual`: the target's own account.
    pub chap_mutual: Option<String>,
}

/// Options that have precedence over a file, and go with either.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--cores`.
    pub cores: Option<String>,
    /// `--spin-us`.
    pub spin_us: Option<String>,
    /// `--state`.
    pub state: Option<String>,
    /// `--control-socket`.
    pub control_socket: Option<String>,
}

impl Overrides {
    /// Puts these options in the place of what `config` has.
    ///
    /// # Errors
    /// When one is not valid, or names a core that this process may not use.
    pub fn apply(&self, config: &mut Config) -> Result<(), ConfigError> {
        let mut faults = Faults::default();
        let mut top = Section::new(Origin::Option("options".to_owned()));
        let options = [
            ("cores", &self.cores),
            ("spin-us", &self.spin_us),
            ("state", &self.state),
            ("control-socket", &self.control_socket),
        ];
        for (key, value) in options {
            if let Some(value) = value {
                let origin = Origin::Option(format!("--{key} {value}"));
                top.add(TOP_KEYS, key, Setting { raw: Raw::Word(value.clone()), origin }, &mut faults);
            }
        }
        let mut draft = Draft::default();
        draft.read_top(&mut top, Path::new(""), &mut faults);
        machine::check(&draft, false, &mut faults);
        if let Some((cores, _)) = draft.cores {
            config.snapshot.cores = cores;
        }
        if draft.state_at.is_some() {
            config.snapshot.state = draft.state;
        }
        if let Some(control) = draft.control {
            config.control = control;
        }
        config.snapshot.spin_us = draft.spin_us.or(config.snapshot.spin_us);
        faults.finish(())
    }
}

/// Reads the options. What is wrong is in `faults`.
pub(super) fn read(options: &Options, faults: &mut Faults) -> Draft {
    let mut draft = Draft::default();
    read_portals(options, &mut draft, faults);
    draft.state = DEFAULT_STATE.into();

    let name = options.target.as_deref().unwrap_or(DEFAULT_TARGET);
    let mut section = single("--target", TARGET_KEYS, "name", name, faults);
    let Some(target) = draft.read_target(&mut section, faults) else { return draft };

    let default = [DEFAULT_LUN.to_owned()];
    let luns = if options.lun.is_empty() { default.as_slice() } else { &options.lun };
    for (number, text) in (0..).zip(luns) {
        let mut section = lun_section(text, faults);
        target.read_lun(&mut section, Some(number), Path::new(""), faults);
    }
    let users = options.chap.iter().filter_map(|text| account(&mut draft, "--chap", text, faults)).collect();
    let mutual = options.chap_mutual.as_ref().and_then(|text| account(&mut draft, "--chap-mutual", text, faults));
    if let Some(target) = draft.targets.last_mut() {
        target.chap = ChapDraft::of_options(users, mutual);
    }
    draft
}

/// The account that `USER:FILE` means. Users can have colons in them, as iSCSI names do. A secret itself is no option:
/// everybody on the machine can read those.
fn account(draft: &mut Draft, option: &str, text: &str, faults: &mut Faults) -> Option<String> {
    let origin = Origin::Option(format!("{option} {text}"));
    let Some((user, file)) = text.rsplit_once(':').filter(|(user, file)| !user.is_empty() && !file.is_empty()) else {
        faults.add(&origin, "is not USER:FILE, where FILE holds the secret");
        return None;
    };
    let source = Source::File(file.into());
    let account = AccountDraft { name: user.into(), source, secret_at: origin.clone(), origin };
    draft.access.add(account, faults);
    Some(user.to_owned())
}

fn read_portals(options: &Options, draft: &mut Draft, faults: &mut Faults) {
    let default = [DEFAULT_LISTEN.to_owned()];
    let listen = if options.listen.is_empty() { default.as_slice() } else { &options.listen };
    let mut advertise = options.advertise.iter();
    for address in listen {
        let mut section = single("--listen", PORTAL_KEYS, "listen", address, faults);
        if let Some(address) = advertise.next() {
            let origin = Origin::Option(format!("--advertise {address}"));
            let setting = Setting { raw: Raw::Word(address.clone()), origin };
            section.add(PORTAL_KEYS, "advertise", setting, faults);
        }
        draft.read_portal(&mut section, faults);
    }
    if let Some(address) = advertise.next() {
        let origin = Origin::Option(format!("--advertise {address}"));
        faults.add(&origin, "has no --listen to belong to: the first goes with the first, and so on");
    }
}

/// A section of one setting.
fn single(option: &str, known: &'static [&'static str], key: &str, value: &str, faults: &mut Faults) -> Section {
    let origin = Origin::Option(format!("{option} {value}"));
    let mut section = Section::new(origin.clone());
    section.add(known, key, Setting { raw: Raw::Word(value.to_owned()), origin }, faults);
    section
}

/// The settings of one `--lun`: `key=value` and flags, with commas between. A value cannot have a comma in it; a file can
/// have such paths.
fn lun_section(text: &str, faults: &mut Faults) -> Section {
    let option = format!("--lun {text}");
    let mut section = Section::new(Origin::Option(option.clone()));
    for part in text.split(',') {
        let origin = |key: &str| Origin::Option(format!("{option}: {key}"));
        let (key, raw) = match part.split_once('=') {
            Some((key, value)) => (key.trim(), Raw::Word(value.trim().to_owned())),
            None => (part.trim(), Raw::Boolean(true)),
        };
        if key.is_empty() {
            faults.add(&section.origin, "an option is missing before or after a comma, or before '='");
        } else if key == "number" {
            faults.add(&origin(key), "LUNs count from 0 in the order of the options; only a file gives numbers");
        } else if raw == Raw::Boolean(true) && OPTIONS.iter().any(|option| option.key == key && !option.is_flag()) {
            faults.add(&origin(key), format!("needs a value: {key}=..."));
        } else {
            section.add(LUN_KEYS, key, Setting { raw, origin: origin(key) }, faults);
        }
    }
    section
}
