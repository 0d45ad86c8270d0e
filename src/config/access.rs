//! Who may have what: accounts, initiator groups, discovery, and the bounds on connections, section by section. What they
//! name is looked up when all of the file is known (`resolve.rs`).
//!
//! Invariant: no secret is in a fault, a warning or a log line.

use super::value::{Raw, Section, Setting};
use super::{Fault, Faults, Origin};
use crate::limits;
use crate::model::access::bandwidth;
use crate::model::{Admission, ChapAlgorithm, Group, Limits, LunMapping, NamePattern, Network, Secret};
use crate::wire::Lun;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The keys of `[[account]]`.
pub const ACCOUNT_KEYS: &[&str] = &["user", "secret", "secret-file", "secret-env"];
/// The keys of `[discovery]`.
pub const DISCOVERY_KEYS: &[&str] = &["accounts", "mutual"];
/// The keys of `[limits]`.
pub const LIMITS_KEYS: &[&str] = &["connections", "connections-per-address", "half-open-per-address", "login-timeout"];
/// The keys of `[[target.group]]`.
pub const GROUP_KEYS: &[&str] = &["name", "initiators", "networks", "accounts", "mutual", "luns", "iops", "bandwidth"];

/// The longest CHAP_N, bytes (RFC 7143 section 12.1.3).
const MAX_USER_BYTES: usize = 255;

/// Where a secret is to be had.
#[derive(Debug)]
pub(super) enum Source {
    /// Here.
    Known(Secret),
    /// In a file; a line break at its end is not part of it.
    File(PathBuf),
    /// In a variable of the environment.
    Variable(String),
}

/// An account on its way.
#[derive(Debug)]
pub(super) struct AccountDraft {
    pub(super) name: Arc<str>,
    pub(super) source: Source,
    /// Where its name was written.
    pub(super) origin: Origin,
    /// Where its secret was written.
    pub(super) secret_at: Origin,
}

/// What has to be proved, in names of accounts.
#[derive(Debug, Default)]
pub(super) struct ChapDraft {
    /// `None`: not said. Empty: nothing.
    pub(super) accounts: Option<(Vec<String>, Origin)>,
    pub(super) mutual: Option<(String, Origin)>,
}

/// An initiator group on its way.
#[derive(Debug)]
pub(super) struct GroupDraft {
    pub(super) group: Group,
    pub(super) chap: ChapDraft,
    pub(super) luns_at: Origin,
}

/// Everything about access in a draft that does not belong to one target.
#[derive(Debug, Default)]
pub(super) struct AccessDraft {
    pub(super) accounts: Vec<AccountDraft>,
    pub(super) discovery: ChapDraft,
    pub(super) algorithms: Option<Vec<ChapAlgorithm>>,
    pub(super) admission: Option<Admission>,
}

impl AccessDraft {
    /// `chap-algorithms`, of the file as a whole.
    pub(super) fn read_top(&mut self, top: &mut Section, faults: &mut Faults) {
        self.algorithms = top.read("chap-algorithms", faults, |setting| {
            let algorithm = |word: &String| {
                ChapAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name() == word).ok_or_else(|| {
                    let known = ChapAlgorithm::ALL.map(ChapAlgorithm::name).join(", ");
                    let message = format!("unknown hash '{}': known are {known}", word.escape_debug());
                    Fault::new(&setting.origin, message)
                })
            };
            let algorithms: Vec<ChapAlgorithm> = setting.texts()?.iter().map(algorithm).collect::<Result<_, _>>()?;
            match algorithms.is_empty() {
                true => Err(Fault::new(&setting.origin, "is empty: nobody could log in")),
                false => Ok(algorithms),
            }
        });
    }

    /// One account. A file is relative to `base`.
    pub(super) fn read_account(&mut self, section: &mut Section, base: &Path, faults: &mut Faults) {
        let origin = section.origin.clone();
        let Some(user) = section.take("user") else {
            faults.add(&origin, "an account needs a user: the name that CHAP proves");
            return;
        };
        let name = faults.keep(user_name(&user));
        let sources: Vec<Setting> =
            ["secret", "secret-file", "secret-env"].into_iter().filter_map(|key| section.take(key)).collect();
        let [setting] = sources.as_slice() else {
            faults.add(&origin, "an account needs one of secret-file, secret-env and secret");
            return;
        };
        let source = match (&setting.raw, setting.origin.key_is("secret-file"), setting.origin.key_is("secret-env")) {
            (_, true, _) => faults.keep(setting.text()).map(|path| Source::File(base.join(path))),
            (_, _, true) => faults.keep(setting.text()).map(Source::Variable),
            (Raw::Secret(secret), ..) => faults.keep(check_secret(secret.clone(), &setting.origin)).map(Source::Known),
            // What it is instead could still be the secret: it is not repeated.
            _ => {
                faults.add(&setting.origin, "is no text: put it in quotes");
                None
            }
        };
        if let (Some(name), Some(source)) = (name, source) {
            let account = AccountDraft { name, source, origin: user.origin, secret_at: setting.origin.clone() };
            self.add(account, faults);
        }
    }

    /// An account that is complete.
    pub(super) fn add(&mut self, account: AccountDraft, faults: &mut Faults) {
        if self.accounts.iter().any(|other| other.name == account.name) {
            faults.add(&account.origin, format!("'{}' is the user of two accounts", account.name.escape_debug()));
        } else if self.accounts.len() == limits::ACCOUNTS {
            faults.add(&account.origin, format!("more than {} accounts", limits::ACCOUNTS));
        } else {
            self.accounts.push(account);
        }
    }

    /// `[limits]`.
    pub(super) fn read_limits(&mut self, section: &mut Section, faults: &mut Faults) {
        let mut number = |key: &str, most: usize, default: usize| {
            let number = section.read(key, faults, |setting| setting.integer(1, most as u64));
            number.and_then(|number| usize::try_from(number).ok()).unwrap_or(default)
        };
        let seconds = number("login-timeout", limits::MAX_LOGIN_TIMEOUT_S, limits::LOGIN_TIMEOUT_MS as usize / 1000);
        self.admission = Some(Admission {
            connections: number("connections", limits::MAX_CONNECTIONS, limits::CONNECTIONS),
            per_address: number("connections-per-address", limits::MAX_CONNECTIONS, limits::CONNECTIONS_PER_ADDRESS),
            half_open_per_address: number(
                "half-open-per-address",
                limits::HALF_OPEN_PER_CORE,
                limits::HALF_OPEN_PER_ADDRESS,
            ),
            login_timeout_ms: seconds as u64 * 1000,
        });
    }
}

impl ChapDraft {
    /// `accounts` and `mutual` of a section.
    pub(super) fn read(section: &mut Section, faults: &mut Faults) -> Self {
        let accounts = section.read("accounts", faults, |s| Ok((s.texts()?, s.origin.clone())));
        let mutual = section.read("mutual", faults, |s| Ok((s.text()?, s.origin.clone())));
        Self { accounts, mutual }
    }

    /// Both as the command line has them.
    pub(super) fn of_options(accounts: Vec<String>, mutual: Option<String>) -> Self {
        let origin = |option: &str| Origin::Option(option.to_owned());
        Self {
            accounts: (!accounts.is_empty()).then(|| (accounts, origin("--chap"))),
            mutual: mutual.map(|name| (name, origin("--chap-mutual"))),
        }
    }
}

impl GroupDraft {
    /// One initiator group of a target that has `others`.
    pub(super) fn read(section: &mut Section, others: &[GroupDraft], faults: &mut Faults) -> Option<GroupDraft> {
        let origin = section.origin.clone();
        if others.len() == limits::GROUPS_PER_TARGET {
            faults.add(&origin, format!("more than {} groups in one target", limits::GROUPS_PER_TARGET));
            return None;
        }
        let setting = section.take("name");
        let name_at = setting.as_ref().map_or_else(|| origin.clone(), |setting| setting.origin.clone());
        let given = setting.and_then(|setting| faults.keep(group_name(&setting)));
        let name = given.clone().unwrap_or_else(|| (others.len() + 1).to_string());
        if others.iter().any(|other| other.group.name == name) {
            let message = format!("'{}' is the name of two groups of this target", name.escape_debug());
            faults.add(&name_at, message);
        }
        let initiators = section.read("initiators", faults, parsed::<NamePattern>).unwrap_or_default();
        let networks = section.read("networks", faults, parsed::<Network>).unwrap_or_default();
        let chap = ChapDraft::read(section, faults);
        let luns = section.take("luns");
        let luns_at = luns.as_ref().map_or_else(|| origin.clone(), |setting| setting.origin.clone());
        let luns = luns.and_then(|setting| faults.keep(lun_map(&setting)));
        let limits = read_limits(section, faults);
        let proof = Group::proof_of(given.as_deref(), &networks);
        let group = Group { name, proof, initiators, networks, credentials: None, luns, limits };
        Some(GroupDraft { group, chap, luns_at })
    }

    /// The result.
    pub(super) fn into_group(self) -> Group {
        self.group
    }
}

/// `iops` and `bandwidth` of a section.
pub(super) fn read_limits(section: &mut Section, faults: &mut Faults) -> Limits {
    let iops = section.read("iops", faults, |s| s.integer(1, u64::from(u32::MAX)));
    let bytes_per_s = section.read("bandwidth", faults, |setting| {
        bandwidth(setting.size()?).map_err(|message| Fault::new(&setting.origin, message))
    });
    Limits { iops, bytes_per_s }
}

/// A name for a group, which saved registrations are kept with.
fn group_name(setting: &Setting) -> Result<String, Fault> {
    let name = setting.text()?;
    let most = limits::MAX_GROUP_NAME_BYTES;
    if name.len() > most || name.chars().any(char::is_control) {
        return Err(Fault::new(&setting.origin, format!("a group's name has at most {most} bytes of printable text")));
    }
    Ok(name)
}

/// A name for CHAP_N.
fn user_name(setting: &Setting) -> Result<Arc<str>, Fault> {
    let name = setting.text()?;
    if name.len() > MAX_USER_BYTES || name.chars().any(char::is_control) {
        let message = format!("a user has at most {MAX_USER_BYTES} bytes of printable text");
        return Err(Fault::new(&setting.origin, message));
    }
    Ok(name.into())
}

/// A secret of a length that can be one.
pub(super) fn check_secret(secret: Secret, origin: &Origin) -> Result<Secret, Fault> {
    match secret.bytes().len() {
        0 => Err(Fault::new(origin, "the secret is empty")),
        1..=limits::MAX_SECRET_BYTES => Ok(secret),
        _ => Err(Fault::new(origin, format!("a secret has at most {} bytes", limits::MAX_SECRET_BYTES))),
    }
}

/// A list of texts, each read as a `T`.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(setting: &Setting) -> Result<Vec<T>, Fault> {
    let texts = setting.texts()?;
    let most = limits::PATTERNS_PER_GROUP;
    if texts.is_empty() || texts.len() > most {
        let message = format!("has {} elements: a group has 1 to {most}; leave it out for any", texts.len());
        return Err(Fault::new(&setting.origin, message));
    }
    let parse = |text: &String| {
        text.parse().map_err(|e| Fault::new(&setting.origin, format!("'{}': {e}", text.escape_debug())))
    };
    texts.iter().map(parse).collect()
}

/// Which units a group finds where: `[0, 3, "5 as 1"]`.
fn lun_map(setting: &Setting) -> Result<Vec<LunMapping>, Fault> {
    let fault = |message: String| Fault::new(&setting.origin, message);
    let Raw::List(elements) = &setting.raw else {
        return Err(fault("is no list of LUNs: write [0, 3, \"5 as 1\"]".to_owned()));
    };
    let mut map: Vec<LunMapping> = Vec::new();
    for element in elements {
        let pair = match element {
            Raw::Integer(number) => u16::try_from(*number).ok().map(|number| (number, number)),
            Raw::Text(text) => text
                .split_once(" as ")
                .and_then(|(unit, number)| Some((unit.trim().parse().ok()?, number.trim().parse().ok()?))),
            _ => None,
        };
        let lun = |number: &u16| *number <= Lun::MAX_NUMBER;
        let Some((of_target, number)) = pair.filter(|(unit, number)| lun(unit) && lun(number)) else {
            return Err(fault(format!("{} is neither a LUN nor like \"5 as 1\"", element.show())));
        };
        if map.iter().any(|other| other.number == number || other.of_target == of_target) {
            return Err(fault(format!("LUN {of_target} as {number}: one of the two is there already")));
        }
        map.push(LunMapping { number, of_target });
    }
    match map.len() {
        0 => Err(fault("is empty: leave the group out, or luns for all".to_owned())),
        n if n > limits::LUNS_PER_TARGET => Err(fault(format!("more than {} LUNs", limits::LUNS_PER_TARGET))),
        _ => Ok(map),
    }
}
