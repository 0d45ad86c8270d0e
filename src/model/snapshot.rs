//! The configuration as validated: which portals listen, which targets exist, what their logical units are made of.

use super::access::{Admission, Group, Limits};
use super::access_state::AccessState;
use super::chap::Credentials;
use super::names::IscsiName;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything that is served, as one immutable value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Where to listen. All portals are one portal group, tag 1, unless they say otherwise.
    pub portals: Vec<Portal>,
    /// The directory that keeps what outlives the process. It need not be there.
    pub state: PathBuf,
    /// The targets.
    pub targets: Vec<TargetSpec>,
    /// Cores to run on, one executor each; empty: all that this process may use.
    pub cores: Vec<usize>,
    /// Microseconds that an active core polls before it sleeps; `None`: the default.
    pub spin_us: Option<u32>,
    /// The TCP congestion control of initiators' connections by its kernel name, "system" for the system's; `None`: the default.
    pub congestion: Option<String>,
    /// Initiators are held to the letter of RFC 7143 also where being liberal loses nothing.
    pub strict: bool,
    /// What initiators must prove before discovery tells them anything; `None`: nothing.
    pub discovery: Option<Arc<Credentials>>,
    /// How many connections are taken; `None`: the defaults of `limits`.
    pub admission: Option<Admission>,
    /// Access states of portal groups, by tag, for the targets that say nothing else; active/optimized where there is none.
    pub access_states: Vec<(u16, AccessState)>,
}

/// An address that initiators connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portal {
    /// The address listened on.
    pub listen: SocketAddr,
    /// What SendTargets answers instead (NAT, a guest's view of its host).
    pub advertise: Option<SocketAddr>,
    /// The portal group tag.
    pub group_tag: u16,
}

/// One iSCSI target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSpec {
    //= RFC 7143 section 4.5
    //# (a) Each instance of an iSCSI node class MUST contain one iSCSI target
    //# node instance, one iSCSI initiator node instance, or both.
    //
    //= RFC 7143 section 4.5
    //# (b) Each instance of an iSCSI node class MUST contain one iSCSI target
    //# node instance, one iSCSI initiator node instance, or both.
    //
    //= RFC 7143 section 4.5
    //# However, in all scenarios, note that an iSCSI node MUST only have a
    //# single iSCSI name.
    /// Its name.
    pub name: IscsiName,
    /// Its alias (TargetAlias), if any.
    pub alias: Option<String>,
    /// Its logical units, by LUN.
    pub luns: Vec<LunSpec>,
    /// Tags of the portal groups that it is found at; empty: all.
    pub portal_groups: Vec<u16>,
    /// Its initiator groups; the first that an initiator is in decides.
    pub groups: Vec<Group>,
    /// What those must prove who are in no group; `None`: nothing.
    pub credentials: Option<Arc<Credentials>>,
    /// Those who are in no group have no access.
    pub groups_only: bool,
    /// Access states of its portal groups, by tag.
    pub access_states: Vec<(u16, AccessState)>,
}

impl TargetSpec {
    /// A target with logical units for everybody everywhere.
    pub fn new(name: IscsiName, alias: Option<String>, luns: Vec<LunSpec>) -> Self {
        Self {
            name,
            alias,
            luns,
            portal_groups: Vec::new(),
            groups: Vec::new(),
            credentials: None,
            groups_only: false,
            access_states: Vec::new(),
        }
    }
}

/// One logical unit and the LUN it is found at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LunSpec {
    /// The LUN, 0 to 16383.
    pub number: u16,
    /// What stores its blocks.
    pub kind: LunKind,
    /// Size in bytes; `None`: that of the existing file or device.
    pub size_bytes: Option<u64>,
    /// A file that is not there may be made, if its size is known.
    pub create: bool,
    /// Logical block length in bytes: 512 or 4096, of a CD-ROM 2048.
    pub block_bytes: u32,
    /// Physical block length in bytes: a power of two multiple of `block_bytes`.
    pub physical_block_bytes: u32,
    /// May be smaller than its file or device, and become smaller while it is served. What is behind its end stays there.
    pub shrink: bool,
    /// Refuse writes.
    pub readonly: bool,
    /// Thin provisioned: UNMAP gives space back.
    pub thin: bool,
    /// The medium can be ejected and loaded.
    pub removable: bool,
    /// A CD-ROM or DVD-ROM: read only, removable, blocks of 2048 bytes, the last of them filled up with zeroes.
    pub cdrom: bool,
    /// Thin: hosts are told when no more than this is available where the file is, in bytes.
    pub low_space_bytes: Option<u64>,
    /// Unit serial number (VPD 80); that of the store, at first derived from target and LUN, when absent.
    pub serial: Option<String>,
    /// NAA type 6 designator (VPD 83); as the serial number when absent.
    pub naa: Option<[u8; 16]>,
    /// What all initiators together may use of it.
    pub limits: Limits,
}

impl LunSpec {
    /// One of 512-byte blocks, nothing special about it.
    pub fn new(number: u16, kind: LunKind) -> Self {
        Self {
            number,
            kind,
            size_bytes: None,
            create: false,
            block_bytes: 512,
            physical_block_bytes: 512,
            shrink: false,
            readonly: false,
            thin: false,
            removable: false,
            cdrom: false,
            low_space_bytes: None,
            serial: None,
            naa: None,
            limits: Limits::default(),
        }
    }
}

/// What stores the blocks of a logical unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LunKind {
    /// A regular file or a block device.
    File(PathBuf),
    /// Memory; gone at exit.
    Ram,
    /// Reads zeroes, forgets writes: for measuring everything else.
    Null,
    /// Any other kind of medium that there is.
    Other {
        /// The word for the kind.
        word: &'static str,
        /// Which one it is, in a form that the kind knows; empty if it needs no name.
        path: String,
    },
}

impl LunKind {
    /// The word for the kind in a configuration.
    pub fn word(&self) -> &'static str {
        match self {
            LunKind::File(_) => "file",
            LunKind::Ram => "ram",
            LunKind::Null => "null",
            LunKind::Other { word, .. } => word,
        }
    }
}

/// The word for the kind, and which one it is.
impl fmt::Display for LunKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            LunKind::File(path) => write!(f, " {}", path.display()),
            LunKind::Other { path, .. } if !path.is_empty() => write!(f, " {path}"),
            _ => Ok(()),
        }
    }
}
