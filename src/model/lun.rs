//! A logical unit as configured, and the options that it is configured with: one table.
//!
//! A row is all that is known of an option: the file, the command line and its help, the description of what is served, a
//! reload, and README.md read it or are held against it. What depends on other options, too, is read in `config::draft`.

use super::access::{Limits, bandwidth};
use super::bytes::Bytes;
use crate::limits;
use std::fmt;
use std::path::PathBuf;

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
    /// Commands that take longer are said in the log; `None`: none.
    pub slow_log_us: Option<u64>,
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
            slow_log_us: None,
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

/// An option of a logical unit.
#[derive(Debug)]
pub struct LunOption {
    /// Its key, in the file and in `--lun`.
    pub key: &'static str,
    /// How it is written in `--lun`: a flag is its key. Empty: there it cannot be said.
    pub usage: &'static str,
    /// What it means, as README.md says it.
    pub meaning: &'static str,
    /// How it is read.
    pub value: Value,
    /// Whether a CD-ROM can have it.
    pub on_cdrom: OnCdrom,
    /// What the description of what is served says of it. The second argument: its file is not there yet.
    pub show: fn(&LunSpec, bool) -> Option<String>,
    /// What becomes of another setting while the logical unit is served.
    pub reload: Reload,
}

/// What an option takes, and where in a [`LunSpec`] that goes. The error: what is wrong with it.
#[derive(Debug)]
pub enum Value {
    /// What depends on other options, too.
    Apart,
    /// True or false.
    Flag(fn(&mut LunSpec, bool)),
    /// A whole number from the first to the second.
    Number(u64, u64, fn(&mut LunSpec, u64)),
    /// Bytes, with a unit or without.
    Size(fn(&mut LunSpec, u64) -> Result<(), String>),
    /// A text.
    Text(fn(&mut LunSpec, &str) -> Result<(), String>),
}

/// Whether an option goes together with `cdrom`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCdrom {
    /// It does, or its own reading says when not.
    Fits,
    /// It does not: a disc has that from its image, or has no use for it.
    Never,
    /// It does with this value, which a disc has in any case.
    Only(bool),
}

/// What a reload does with another setting of an option.
#[derive(Debug, Clone, Copy)]
pub enum Reload {
    /// The new one is in force.
    Taken,
    /// A host has seen the old one, which stays: it is put in the place of the new one. Answers whether they differ.
    Restart(fn(&mut LunSpec, &LunSpec) -> bool),
}

impl LunOption {
    /// Whether it is written without a value in `--lun`.
    pub fn is_flag(&self) -> bool {
        self.usage == self.key
    }

    /// Puts what `old` has in the place of what `new` has, if a reload does not change that. Whether they differed.
    pub fn keep(&self, new: &mut LunSpec, old: &LunSpec) -> bool {
        match self.reload {
            Reload::Taken => false,
            Reload::Restart(keep) => keep(new, old),
        }
    }
}

/// [`Reload::Restart`] of a field.
macro_rules! restart {
    ($field:ident) => {
        Reload::Restart(|new, old| {
            let differ = new.$field != old.$field;
            new.$field.clone_from(&old.$field);
            differ
        })
    };
}

/// It is one file, under another name perhaps.
const SAME_FILE: Reload = Reload::Restart(|new, old| {
    new.kind.clone_from(&old.kind);
    false
});

/// A time like `50ms`, in microseconds.
fn duration_us(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.get(digits.len()..).map(str::trim) {
        Some("us") => Some(1),
        Some("ms") => Some(1_000),
        Some("s") => Some(1_000_000),
        _ => None,
    };
    let us = unit.zip(digits.parse::<u64>().ok()).and_then(|(unit, number)| number.checked_mul(unit));
    us.filter(|us| (1..=limits::MAX_SLOW_LOG_US).contains(us)).ok_or_else(|| {
        format!("'{}' is no time from 1us to {}s, like 50ms", text.escape_debug(), limits::MAX_SLOW_LOG_US / 1_000_000)
    })
}

const fn hidden(_: &LunSpec, _: bool) -> Option<String> {
    None
}

fn flag(is_set: bool, word: &str) -> Option<String> {
    is_set.then(|| word.to_owned())
}

/// THE table of a logical unit's options, in the order of the documentation.
pub const OPTIONS: &[LunOption] = &[
    LunOption {
        key: "number",
        usage: "",
        meaning: "the LUN, 0 to 16383; options count from 0",
        value: Value::Apart,
        on_cdrom: OnCdrom::Fits,
        show: hidden,
        reload: Reload::Taken,
    },
    LunOption {
        key: "path",
        usage: "path=FILE",
        meaning: "regular file or block device; relative to the file that names it, or to the working directory",
        value: Value::Apart,
        on_cdrom: OnCdrom::Fits,
        show: |lun, _| match &lun.kind {
            LunKind::File(_) | LunKind::Other { .. } => Some(lun.kind.to_string()),
            LunKind::Ram | LunKind::Null => None,
        },
        reload: SAME_FILE,
    },
    LunOption {
        key: "kind",
        usage: "kind=file|ram|null",
        meaning: "what stores the blocks; `file` when there is a path",
        value: Value::Apart,
        on_cdrom: OnCdrom::Fits,
        show: |lun, _| match &lun.kind {
            LunKind::File(_) | LunKind::Other { .. } => None,
            LunKind::Ram | LunKind::Null => Some(lun.kind.word().to_owned()),
        },
        reload: SAME_FILE,
    },
    LunOption {
        key: "size",
        usage: "size=1GiB",
        meaning: "grows a smaller file; needed for ram and null",
        value: Value::Apart,
        on_cdrom: OnCdrom::Fits,
        show: |lun, _| lun.size_bytes.map(|bytes| Bytes(bytes).to_string()),
        reload: Reload::Taken,
    },
    LunOption {
        key: "block",
        usage: "block=512|4096",
        meaning: "logical block length, 512",
        value: Value::Apart,
        on_cdrom: OnCdrom::Fits,
        show: |lun, _| {
            let physical = format!(" ({} physical)", lun.physical_block_bytes);
            let physical = if lun.physical_block_bytes == lun.block_bytes { "" } else { &physical };
            Some(format!("blocks of {}{physical}", lun.block_bytes))
        },
        reload: restart!(block_bytes),
    },
    LunOption {
        key: "physical-block",
        usage: "physical-block=SIZE",
        meaning: "physical block length, 4096",
        value: Value::Apart,
        on_cdrom: OnCdrom::Never,
        // Beside `block`.
        show: hidden,
        reload: restart!(physical_block_bytes),
    },
    LunOption {
        key: "shrink",
        usage: "shrink",
        meaning: "may be smaller than its file or device, and a reload may make it smaller, too",
        value: Value::Flag(|lun, value| lun.shrink = value),
        on_cdrom: OnCdrom::Only(false),
        show: hidden,
        reload: Reload::Taken,
    },
    LunOption {
        key: "cdrom",
        usage: "cdrom",
        meaning: "an ISO image as a CD-ROM, or a DVD-ROM from 900 MiB on: read only, blocks of 2048 bytes, eject and door \
                  lock; several LUNs may share an image",
        value: Value::Apart,
        on_cdrom: OnCdrom::Fits,
        show: |lun, _| flag(lun.cdrom, "cdrom"),
        reload: restart!(cdrom),
    },
    LunOption {
        key: "readonly",
        usage: "readonly",
        meaning: "refuse writes",
        value: Value::Flag(|lun, value| lun.readonly = value),
        on_cdrom: OnCdrom::Only(true),
        show: |lun, _| flag(lun.readonly && !lun.cdrom, "readonly"),
        reload: restart!(readonly),
    },
    LunOption {
        key: "thin",
        usage: "thin",
        meaning: "give space back on UNMAP. A file that is sparse is served as a thin one in any case",
        value: Value::Flag(|lun, value| lun.thin = value),
        on_cdrom: OnCdrom::Only(false),
        show: |lun, _| flag(lun.thin, "thin"),
        reload: restart!(thin),
    },
    LunOption {
        key: "removable",
        usage: "removable",
        meaning: "hosts may eject it and load it again",
        value: Value::Flag(|lun, value| lun.removable = value),
        on_cdrom: OnCdrom::Only(true),
        show: |lun, _| flag(lun.removable && !lun.cdrom, "removable"),
        reload: restart!(removable),
    },
    LunOption {
        key: "create",
        usage: "create",
        meaning: "creates a missing file with its size; on the command line, and for files beside the configuration file, \
                  the size says so",
        value: Value::Apart,
        on_cdrom: OnCdrom::Only(false),
        show: |_, is_missing| flag(is_missing, "created by serve"),
        reload: Reload::Taken,
    },
    LunOption {
        key: "low-space",
        usage: "low-space=10GiB",
        meaning: "thin files: tell hosts once when the file system has no more than this left",
        value: Value::Size(|lun, bytes| {
            lun.low_space_bytes = Some(bytes);
            Ok(())
        }),
        on_cdrom: OnCdrom::Never,
        show: |lun, _| lun.low_space_bytes.map(|bytes| format!("low space at {}", Bytes(bytes))),
        reload: restart!(low_space_bytes),
    },
    LunOption {
        key: "serial",
        usage: "serial=TEXT",
        meaning: "unit serial number, see [identity](#identity)",
        value: Value::Text(|lun, text| {
            let most = limits::MAX_SERIAL_BYTES;
            if text.len() > most || !text.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(format!("a serial number has 1 to {most} ASCII characters and no blanks"));
            }
            lun.serial = Some(text.to_owned());
            Ok(())
        }),
        on_cdrom: OnCdrom::Fits,
        show: |lun, _| lun.serial.as_ref().map(|serial| format!("serial {serial}")),
        reload: restart!(serial),
    },
    LunOption {
        key: "naa",
        usage: "naa=6...",
        meaning: "NAA designator, see [identity](#identity)",
        value: Value::Text(|lun, text| {
            let digits = text.strip_prefix("naa.").unwrap_or(text);
            let is_one = digits.len() == 32 && digits.starts_with('6') && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let bits = u128::from_str_radix(digits, 16).ok().filter(|_| is_one);
            let bits = bits.ok_or("a designator has 32 hexadecimal digits and begins with 6")?;
            lun.naa = Some(bits.to_be_bytes());
            Ok(())
        }),
        on_cdrom: OnCdrom::Fits,
        show: |lun, _| lun.naa.map(|naa| format!("naa {:032x}", u128::from_be_bytes(naa))),
        reload: restart!(naa),
    },
    LunOption {
        key: "iops",
        usage: "iops=N",
        meaning: "the most reads and writes that are served each second, of a unit by all and of a group by its members, on \
                  all cores together",
        value: Value::Number(1, u32::MAX as u64, |lun, number| lun.limits.iops = Some(number)),
        on_cdrom: OnCdrom::Fits,
        show: |lun, _| lun.limits.iops.map(|iops| format!("at most {iops} IOPS")),
        reload: Reload::Taken,
    },
    LunOption {
        key: "bandwidth",
        usage: "bandwidth=100MiB",
        meaning: "the same of their bytes; UNMAP, flushes and the erasing of a whole unit are free",
        value: Value::Size(|lun, bytes| {
            lun.limits.bytes_per_s = Some(bandwidth(bytes)?);
            Ok(())
        }),
        on_cdrom: OnCdrom::Fits,
        show: |lun, _| lun.limits.bytes_per_s.map(|bytes| format!("at most {}/s", Bytes(bytes))),
        reload: Reload::Taken,
    },
    LunOption {
        key: "slow-log",
        usage: "slow-log=50ms",
        meaning: "commands that take longer are said in the log, with who has sent them; `us`, `ms` or `s`",
        value: Value::Text(|lun, text| {
            lun.slow_log_us = Some(duration_us(text)?);
            Ok(())
        }),
        on_cdrom: OnCdrom::Fits,
        show: |lun, _| lun.slow_log_us.map(|us| format!("says what takes more than {us} us")),
        reload: Reload::Taken,
    },
];

/// The keys of [`OPTIONS`].
pub const LUN_KEYS: &[&str] = &{
    let mut keys = [""; OPTIONS.len()];
    let mut at = 0;
    while at < OPTIONS.len() {
        keys[at] = OPTIONS[at].key;
        at += 1;
    }
    keys
};
