//! Sections to portals, targets and logical units: what each key means, and how they must fit together. Both sources
//! come through here. No look at the machine: that is `machine`'s.

use super::access::{AccessDraft, ChapDraft, GroupDraft};
use super::control::ControlDraft;
use super::overlap::overlap;
use super::value::{Section, Setting};
use super::{Config, ControlSocket, DEFAULT_PORT, DEFAULT_STATE, Fault, Faults, Origin, cdrom};
use crate::backend::{self, PathIs};
use crate::limits;
use crate::model::lun::{self, Value};
use crate::model::{AccessState, Credentials, IscsiName, LunKind, LunSpec, Portal, Snapshot, TargetSpec};
use crate::wire::Lun;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The keys of the file outside of any table.
pub const TOP_KEYS: &[&str] = &[
    "cores",
    "spin-us",
    "congestion",
    "strict",
    "all-or-nothing",
    "log",
    "log-format",
    "state",
    "control-socket",
    "chap-algorithms",
    "portal",
    "account",
    "discovery",
    "limits",
    "control",
    "target",
];
/// The keys of `[[portal]]`.
pub const PORTAL_KEYS: &[&str] = &["listen", "advertise", "group", "access-state"];
/// The keys of `[[target]]`.
pub const TARGET_KEYS: &[&str] =
    &["name", "alias", "portal-groups", "access-states", "accounts", "mutual", "others", "group", "lun"];
/// One more than the largest number of a core.
const MAX_CORES: usize = 4096;
/// The largest exponent of physical to logical blocks that READ CAPACITY(16) can say (SBC-3 5.16.2).
const MAX_PHYSICAL_EXPONENT: u32 = 15;
/// Physical block length assumed when none is given: that of current disks, and of the page cache.
const DEFAULT_PHYSICAL_BYTES: u32 = 4096;
/// The words that `log` takes; anything with `=` is a filter such as `ringsan::session=debug`.
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// The words that `log-format` takes.
const LOG_FORMATS: [&str; 3] = ["text", "json", "journald"];

/// A configuration on its way: valid in itself, not yet compared with the machine.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) portals: Vec<Portal>,
    /// Where the control plane is found.
    pub(super) control: Option<ControlSocket>,
    /// Access states of portal groups, by tag.
    access_states: Vec<(u16, AccessState)>,
    pub(super) targets: Vec<TargetDraft>,
    pub(super) cores: Option<(Vec<usize>, Origin)>,
    pub(super) spin_us: Option<u32>,
    pub(super) congestion: Option<String>,
    strict: bool,
    /// Nothing is served unless all logical units can be.
    pub(super) all_or_nothing: bool,
    pub(super) log: Option<String>,
    log_format: Option<String>,
    /// The directory that keeps what outlives the process.
    pub(super) state: PathBuf,
    /// Where `state` was written; `None`: it is the default.
    pub(super) state_at: Option<Origin>,
    pub(super) access: AccessDraft,
    /// Who may use the control plane.
    pub(super) plane: ControlDraft,
    /// What discovery asks for: `resolve` fills it in.
    pub(super) discovery: Option<Arc<Credentials>>,
}

/// A target on its way.
#[derive(Debug)]
pub(super) struct TargetDraft {
    /// `None` when it was wrong, which has been noted.
    pub(super) name: Option<IscsiName>,
    pub(super) alias: Option<String>,
    pub(super) luns: Vec<LunDraft>,
    pub(super) portal_groups: Option<(Vec<usize>, Origin)>,
    /// Access states of portal groups, by tag.
    pub(super) access_states: Option<(Vec<(u16, AccessState)>, Origin)>,
    pub(super) chap: ChapDraft,
    pub(super) groups: Vec<GroupDraft>,
    /// Whether initiators in no group have access; `None`: when there are no groups.
    others: Option<bool>,
    /// What `chap` asks for: `resolve` fills it in.
    pub(super) credentials: Option<Arc<Credentials>>,
}

/// A logical unit on its way, with the places that later faults are blamed on.
#[derive(Debug)]
pub(super) struct LunDraft {
    pub(super) spec: LunSpec,
    /// Where its `path`, else its `kind`, else the logical unit itself was written.
    pub(super) path_at: Origin,
    /// Where its `size` was written; as above when it was not.
    pub(super) size_at: Origin,
    /// Where its `serial` and `naa` were written, if they were.
    serial_at: Option<Origin>,
    naa_at: Option<Origin>,
}

impl Draft {
    /// Settings of the process as a whole. Paths are relative to `base`.
    pub(super) fn read_top(&mut self, top: &mut Section, base: &Path, faults: &mut Faults) {
        self.cores = top.take("cores").and_then(|setting| {
            let cores = faults.keep(setting.numbers(MAX_CORES))?;
            Some((cores, setting.origin))
        });
        let spin = top.read("spin-us", faults, |s| s.integer(0, u64::from(limits::MAX_SPIN_US)));
        self.spin_us = spin.and_then(|us| u32::try_from(us).ok());
        self.congestion = top.read("congestion", faults, |setting| {
            let name = setting.text()?;
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
            if name.is_empty() || name.len() > limits::MAX_CONGESTION_BYTES || !name.bytes().all(is_name) {
                let message = format!("'{name}' is no name of a TCP congestion control, and not 'system'");
                return Err(Fault::new(&setting.origin, message));
            }
            Ok(name)
        });
        self.strict = top.read("strict", faults, Setting::boolean).unwrap_or(false);
        self.all_or_nothing = top.read("all-or-nothing", faults, Setting::boolean).unwrap_or(false);
        self.log = top.read("log", faults, |setting| {
            let level = setting.text()?;
            check_log_level(&level).map_err(|message| Fault::new(&setting.origin, message))?;
            Ok(level)
        });
        self.log_format = top.read("log-format", faults, |setting| {
            let format = setting.text()?;
            check_log_format(&format).map_err(|message| Fault::new(&setting.origin, message))?;
            Ok(format)
        });
        let state = top.read("state", faults, |setting| Ok((setting.text()?, setting.origin.clone())));
        let (state, state_at) = state.unzip();
        self.state = base.join(state.as_deref().unwrap_or(DEFAULT_STATE));
        self.state_at = state_at;
        self.control = top.read("control-socket", faults, |setting| match setting.text()?.as_str() {
            "" => Err(Fault::new(&setting.origin, "is empty: write the path of a socket, or \"off\"")),
            "off" => Ok(ControlSocket::Off),
            path => Ok(ControlSocket::At(base.join(path))),
        });
        self.access.read_top(top, faults);
    }

    /// One portal.
    pub(super) fn read_portal(&mut self, section: &mut Section, faults: &mut Faults) {
        let origin = section.origin.clone();
        let Some(setting) = section.take("listen") else {
            faults.add(&origin, "a portal needs listen: the address that initiators connect to");
            return;
        };
        let listen = faults.keep(address(&setting));
        let advertise = section.read("advertise", faults, advertised);
        let group = section.read("group", faults, |s| s.integer(0, u64::from(u16::MAX)));
        let state = section.take("access-state");
        let Some(listen) = listen else { return };
        let group_tag = group.and_then(|tag| u16::try_from(tag).ok()).unwrap_or(1);
        if let Some(setting) = state {
            faults.keep(note_state(&mut self.access_states, group_tag, &setting));
        }
        // Port 0 is another free port each time.
        if listen.port() != 0 && self.portals.iter().any(|other| other.listen == listen) {
            faults.add(&setting.origin, format!("{listen} is listened on twice"));
        } else if let Some(other) = self.portals.iter().find(|other| overlap(other.listen, listen)) {
            let message = format!("{listen} and {} are on one port, and one of them is all addresses", other.listen);
            faults.add(&setting.origin, message);
        } else if self.portals.len() == limits::PORTALS {
            faults.add(&setting.origin, format!("more than {} portals", limits::PORTALS));
        } else {
            self.portals.push(Portal { listen, advertise, group_tag });
        }
    }

    /// One target without its logical units; `None` when there are too many.
    pub(super) fn read_target(&mut self, section: &mut Section, faults: &mut Faults) -> Option<&mut TargetDraft> {
        if self.targets.len() == limits::TARGETS {
            faults.add(&section.origin, format!("more than {} targets", limits::TARGETS));
            return None;
        }
        let name = match section.take("name") {
            Some(setting) => faults.keep(self.target_name(&setting)),
            None => {
                //= RFC 7143 section 4.2.7.1
                //# Each iSCSI node, whether it is an initiator, a target, or both, MUST
                //# have an iSCSI name.
                faults.add(&section.origin, "a target needs a name, like iqn.2026-11.io.example:disks");
                None
            }
        };
        let alias = section.read("alias", faults, |setting| {
            let alias = setting.text()?;
            if alias.len() > limits::MAX_ALIAS_BYTES || alias.chars().any(char::is_control) {
                let message = format!("an alias has at most {} bytes of printable text", limits::MAX_ALIAS_BYTES);
                return Err(Fault::new(&setting.origin, message));
            }
            Ok(alias)
        });
        let portal_groups = section.read("portal-groups", faults, |setting| {
            Ok((setting.numbers(usize::from(u16::MAX) + 1)?, setting.origin.clone()))
        });
        let access_states = section.read("access-states", faults, |s| Ok((access_states(s)?, s.origin.clone())));
        let chap = ChapDraft::read(section, faults);
        let others = section.read("others", faults, |setting| match setting.text()?.as_str() {
            "allow" => Ok(true),
            "deny" => Ok(false),
            _ => Err(Fault::new(&setting.origin, "is neither \"allow\" nor \"deny\"")),
        });
        let (luns, groups, credentials) = (Vec::new(), Vec::new(), None);
        self.targets.push(TargetDraft {
            name,
            alias,
            luns,
            portal_groups,
            access_states,
            chap,
            groups,
            others,
            credentials,
        });
        self.targets.last_mut()
    }

    /// Notes units with one identity: hosts take them for paths to one disk, and data goes to the wrong one.
    pub(super) fn check_identities(&self, faults: &mut Faults) {
        let (mut serials, mut designators) = (HashSet::new(), HashSet::new());
        for lun in self.targets.iter().flat_map(|target| &target.luns) {
            if let (Some(serial), Some(origin)) = (&lun.spec.serial, &lun.serial_at)
                && !serials.insert(serial)
            {
                faults.add(origin, format!("'{serial}' is the serial number of two logical units"));
            }
            if let (Some(naa), Some(origin)) = (lun.spec.naa, &lun.naa_at)
                && !designators.insert(naa)
            {
                faults.add(origin, "this is the designator of two logical units");
            }
        }
    }

    fn target_name(&self, setting: &Setting) -> Result<IscsiName, Fault> {
        let text = setting.text()?;
        let name = IscsiName::new(&text)
            .map_err(|e| Fault::new(&setting.origin, format!("'{}' is no iSCSI name: {e}", text.escape_debug())))?;
        if self.targets.iter().any(|other| other.name.as_ref() == Some(&name)) {
            return Err(Fault::new(&setting.origin, format!("{name} is the name of two targets")));
        }
        Ok(name)
    }

    /// The result. Targets whose name was wrong are left out; the caller has a fault for them.
    pub(super) fn into_config(self) -> Config {
        let target = |draft: TargetDraft| {
            let mut luns: Vec<LunSpec> = draft.luns.into_iter().map(|lun| lun.spec).collect();
            luns.sort_by_key(|lun| lun.number);
            let tags = draft.portal_groups.into_iter().flat_map(|(tags, _)| tags);
            let groups_only = !draft.others.unwrap_or(draft.groups.is_empty());
            let groups = draft.groups.into_iter().map(GroupDraft::into_group).collect();
            draft.name.map(|name| TargetSpec {
                portal_groups: tags.filter_map(|tag| u16::try_from(tag).ok()).collect(),
                groups,
                credentials: draft.credentials,
                groups_only,
                access_states: draft.access_states.map(|(states, _)| states).unwrap_or_default(),
                ..TargetSpec::new(name, draft.alias, luns)
            })
        };
        let snapshot = Snapshot {
            portals: self.portals,
            state: self.state,
            targets: self.targets.into_iter().filter_map(target).collect(),
            cores: self.cores.map(|(cores, _)| cores).unwrap_or_default(),
            spin_us: self.spin_us,
            congestion: self.congestion,
            strict: self.strict,
            // Whoever reads it decides.
            degrades: false,
            discovery: self.discovery,
            admission: self.access.admission,
            access_states: self.access_states,
            control: self.plane.into_control(),
        };
        let (log, log_format, control) = (self.log, self.log_format, self.control.unwrap_or_default());
        Config { snapshot, log, log_format, control, warnings: Vec::new(), tag: String::new() }
    }
}

impl TargetDraft {
    /// One initiator group.
    pub(super) fn read_group(&mut self, section: &mut Section, faults: &mut Faults) {
        let group = GroupDraft::read(section, &self.groups, faults);
        self.groups.extend(group);
    }

    /// One logical unit. Its paths are relative to `base`.
    pub(super) fn read_lun(&mut self, section: &mut Section, number: Option<u16>, base: &Path, faults: &mut Faults) {
        let written = section.take("number");
        let origin = written.as_ref().map_or_else(|| section.origin.clone(), |setting| setting.origin.clone());
        let number = match (&written, number) {
            (Some(setting), _) => {
                faults.keep(setting.integer(0, Lun::MAX_NUMBER.into())).and_then(|n| u16::try_from(n).ok())
            }
            (None, Some(number)) => Some(number),
            (None, None) => {
                faults.add(&origin, "a logical unit needs a number: its LUN, 0 for the first");
                None
            }
        };
        let lun = read_lun(section, number.unwrap_or_default(), base, faults);
        let (Some(number), Some(lun)) = (number, lun) else { return };
        if self.luns.iter().any(|other| other.spec.number == number) {
            faults.add(&origin, format!("two logical units of this target have the LUN {number}"));
        } else if self.luns.len() == limits::LUNS_PER_TARGET {
            faults.add(&origin, format!("more than {} logical units in one target", limits::LUNS_PER_TARGET));
        } else {
            self.luns.push(lun);
        }
    }
}

/// Everything about a logical unit but its LUN.
fn read_lun(section: &mut Section, number: u16, base: &Path, faults: &mut Faults) -> Option<LunDraft> {
    let origin = section.origin.clone();
    let place = |setting: Option<&Setting>| setting.map_or_else(|| origin.clone(), |s| s.origin.clone());
    let (path, kind, size) = (section.take("path"), section.take("kind"), section.take("size"));
    let path_at = place(path.as_ref().or(kind.as_ref()));
    let size_at = place(size.as_ref().or(path.as_ref()).or(kind.as_ref()));

    let is_cdrom = section.read("cdrom", faults, Setting::boolean).unwrap_or(false);
    if is_cdrom {
        cdrom::check(section, size.as_ref(), kind.as_ref(), faults);
    }
    let (block_bytes, physical_block_bytes) =
        if is_cdrom { (cdrom::BLOCK_BYTES, cdrom::BLOCK_BYTES) } else { read_blocks(section, faults)? };
    let [low_space_at, serial_at, naa_at] = ["low-space", "serial", "naa"].map(|key| section.origin_of(key));
    // What stores the blocks is not known yet.
    let mut spec = LunSpec { block_bytes, physical_block_bytes, ..LunSpec::new(number, LunKind::Null) };
    read_options(section, &mut spec, faults);
    if let Some(origin) = low_space_at.filter(|_| !spec.thin) {
        faults.add(&origin, "only what is thin takes space as it is written: add thin");
    }
    let had_size = size.is_some();
    let size_bytes = size.filter(|_| !is_cdrom).and_then(|setting| faults.keep(setting.size()));
    let kind = faults.keep(lun_kind(path, kind, &origin, base))?;

    if !had_size && backend::kind_of(kind.word()).is_some_and(|kind| kind.needs_size) {
        faults.add(&path_at, format!("{} needs a size, like size=1GiB", kind.word()));
        return None;
    }
    if let Some(bytes) = size_bytes {
        faults.keep(backend::check_size(bytes, block_bytes).map_err(|e| Fault::new(&size_at, e.to_string())))?;
    }
    let create = may_create(section, &kind, had_size, base, faults);
    (spec.kind, spec.size_bytes, spec.create) = (kind, size_bytes, create && !is_cdrom);
    if is_cdrom {
        (spec.cdrom, spec.readonly, spec.removable) = (true, true, true);
    }
    Some(LunDraft { spec, path_at, size_at, serial_at, naa_at })
}

/// The options that depend on no other.
fn read_options(section: &mut Section, spec: &mut LunSpec, faults: &mut Faults) {
    for option in lun::OPTIONS.iter().filter(|option| !matches!(option.value, Value::Apart)) {
        let Some(setting) = section.take(option.key) else { continue };
        let wrong = |message: String| Fault::new(&setting.origin, message);
        let read = match option.value {
            Value::Apart => Ok(()),
            Value::Flag(set) => setting.boolean().map(|value| set(spec, value)),
            Value::Number(least, most, set) => setting.integer(least, most).map(|number| set(spec, number)),
            Value::Size(set) => setting.size().and_then(|bytes| set(spec, bytes).map_err(wrong)),
            Value::Text(set) => setting.text().and_then(|text| set(spec, &text).map_err(wrong)),
        };
        faults.keep(read);
    }
}

/// Whether a file that is not there may be made. A file's directory that is empty for want of a mount looks like any other
/// directory, and an empty disk in the place of a full one is a loss: a configuration that is read at each start says so in
/// a word, except where the file system is there for sure, beside the configuration file. On the command line, which
/// somebody has just typed, the size is the word.
fn may_create(section: &mut Section, kind: &LunKind, had_size: bool, base: &Path, faults: &mut Faults) -> bool {
    let setting = section.take("create");
    let wanted = setting.as_ref().and_then(|setting| faults.keep(setting.boolean()));
    if let Some(setting) = setting.filter(|_| wanted == Some(true)) {
        match kind {
            LunKind::File(_) if had_size => {}
            LunKind::File(_) => faults.add(&setting.origin, "needs a size beside it, like size=1GiB"),
            LunKind::Ram | LunKind::Null => faults.add(&setting.origin, "ram and null are made at each start"),
            LunKind::Other { .. } => faults.add(&setting.origin, "only files are made"),
        }
    }
    let beside = |path: &Path| {
        let (Ok(path), Ok(base)) = (std::path::absolute(path), std::path::absolute(base.join("."))) else {
            return false;
        };
        path.parent().is_some_and(|directory| base.components().eq(directory.components()))
    };
    let LunKind::File(path) = kind else { return false };
    wanted.unwrap_or(had_size && (matches!(section.origin, Origin::Option(_)) || beside(path)))
}

/// Logical and physical block length.
fn read_blocks(section: &mut Section, faults: &mut Faults) -> Option<(u32, u32)> {
    let only = |setting: &Setting, message: String| Fault::new(&setting.origin, message);
    let block = match section.take("block") {
        None => 512,
        Some(setting) => faults.keep(match setting.size() {
            Ok(512) => Ok(512u32),
            Ok(4096) => Ok(4096),
            Ok(other) => Err(only(&setting, format!("a logical block has 512 or 4096 bytes, not {other}"))),
            Err(fault) => Err(fault),
        })?,
    };
    let Some(setting) = section.take("physical-block") else {
        return Some((block, DEFAULT_PHYSICAL_BYTES.max(block)));
    };
    let bytes = faults.keep(setting.size())?;
    let most = block << MAX_PHYSICAL_EXPONENT;
    let physical = u32::try_from(bytes).ok().filter(|p| p.is_power_of_two() && (block..=most).contains(p));
    if physical.is_none() {
        let message = format!("a physical block is a power of two from {block} to {most} bytes, not {bytes}");
        faults.add(&setting.origin, message);
    }
    physical.map(|physical| (block, physical))
}

/// What stores the blocks. `path` alone means a file.
fn lun_kind(path: Option<Setting>, kind: Option<Setting>, origin: &Origin, base: &Path) -> Result<LunKind, Fault> {
    let word = match (&kind, &path) {
        (Some(kind), _) => kind.text()?,
        (None, Some(_)) => "file".into(),
        (None, None) => {
            return Err(Fault::new(origin, "a logical unit needs path=FILE, or kind=ram or kind=null with a size"));
        }
    };
    let Some(found) = backend::kind_of(&word) else {
        let origin = kind.as_ref().map_or(origin, |setting| &setting.origin);
        let known: Vec<_> = backend::KINDS.iter().map(|kind| kind.word).collect();
        return Err(Fault::new(
            origin,
            format!("unknown kind '{}': known are {}", word.escape_debug(), known.join(", ")),
        ));
    };
    let word = found.word;
    match (found.path, path) {
        (PathIs::File, Some(path)) => Ok(LunKind::File(base.join(path.text()?))),
        (PathIs::File, None) => Err(Fault::new(origin, format!("a {word} needs a path, like path=disk.img"))),
        (PathIs::Name, Some(path)) => Ok(LunKind::Other { word, path: path.text()? }),
        (PathIs::Name, None) => Err(Fault::new(origin, format!("{word} needs a path: which one it is"))),
        (PathIs::Nothing, Some(path)) => {
            Err(Fault::new(&path.origin, format!("{word} has no path: leave one of the two out")))
        }
        (PathIs::Nothing, None) => Ok(match word {
            "ram" => LunKind::Ram,
            "null" => LunKind::Null,
            _ => LunKind::Other { word, path: String::new() },
        }),
    }
}

/// The access state that a setting names.
fn access_state(word: &str, setting: &Setting) -> Result<AccessState, Fault> {
    AccessState::named(word).ok_or_else(|| {
        let known = AccessState::ALL.map(AccessState::name).join(", ");
        Fault::new(&setting.origin, format!("unknown access state '{}': known are {known}", word.escape_debug()))
    })
}

/// Notes the access state of a portal group, which all of its portals share.
fn note_state(states: &mut Vec<(u16, AccessState)>, tag: u16, setting: &Setting) -> Result<(), Fault> {
    let state = access_state(&setting.text()?, setting)?;
    match states.iter().find(|(of, _)| *of == tag) {
        Some((_, other)) if *other != state => {
            Err(Fault::new(&setting.origin, format!("another portal of group {tag} is {}", other.name())))
        }
        Some(_) => Ok(()),
        None => {
            states.push((tag, state));
            Ok(())
        }
    }
}

/// Access states of portal groups, each as in "2 standby".
fn access_states(setting: &Setting) -> Result<Vec<(u16, AccessState)>, Fault> {
    let mut states: Vec<(u16, AccessState)> = Vec::new();
    for text in setting.texts()? {
        let parts = text.split_once(' ').and_then(|(tag, word)| Some((tag.parse::<u16>().ok()?, word.trim())));
        let Some((tag, word)) = parts else {
            let message =
                format!("'{}' is no portal group tag and access state, like \"2 standby\"", text.escape_debug());
            return Err(Fault::new(&setting.origin, message));
        };
        if states.iter().any(|(other, _)| *other == tag) {
            return Err(Fault::new(&setting.origin, format!("names group {tag} twice")));
        }
        states.push((tag, access_state(word, setting)?));
    }
    Ok(states)
}

/// The address that a text is; without a port: that of iSCSI.
pub(super) fn address_of(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    text.parse().ok().or_else(|| Some((bare.parse::<IpAddr>().ok()?, DEFAULT_PORT).into()))
}

/// An address in numbers. Names would have to be looked up, and may mean several.
fn address(setting: &Setting) -> Result<SocketAddr, Fault> {
    let text = setting.text()?;
    address_of(&text).ok_or_else(|| {
        let message = format!(
            "'{}' is no address with port: write 192.0.2.1:3260 or [2001:db8::1]:3260 (no host names)",
            text.escape_debug()
        );
        Fault::new(&setting.origin, message)
    })
}

/// An address that initiators are sent to: it must be one that they can connect to.
fn advertised(setting: &Setting) -> Result<SocketAddr, Fault> {
    let address = address(setting)?;
    if address.ip().is_unspecified() || address.port() == 0 {
        return Err(Fault::new(&setting.origin, format!("{address} is nothing an initiator can connect to")));
    }
    Ok(address)
}

/// Whether `level` is one that `log`, `--log` and `RINGSAN_LOG` take: a level, or a list of filters `module=level`.
///
/// # Errors
/// One line that says what is taken.
pub fn check_log_level(level: &str) -> Result<(), String> {
    let known = |word: &str| LOG_LEVELS.contains(&word.to_ascii_lowercase().as_str());
    if level.split(',').all(|part| part.trim().rsplit('=').next().is_some_and(known)) {
        return Ok(());
    }
    Err(format!(
        "unknown log level '{}': known are {}, or a filter like ringsan=debug",
        level.escape_debug(),
        LOG_LEVELS.join(", ")
    ))
}

/// Whether `format` is one that `log-format`, `--log-format` and `RINGSAN_LOG_FORMAT` take.
///
/// # Errors
/// One line that says what is taken.
pub fn check_log_format(format: &str) -> Result<(), String> {
    if LOG_FORMATS.contains(&format) {
        return Ok(());
    }
    Err(format!("unknown log format '{}': known are {}", format.escape_debug(), LOG_FORMATS.join(", ")))
}
