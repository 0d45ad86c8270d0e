//! The options of a logical unit that is a CD-ROM: which of the others it can have beside it.

use super::Faults;
use super::value::{Section, Setting};
use crate::model::lun::{LunOption, OPTIONS, OnCdrom};

/// Blocks of a CD-ROM, logical and physical, in bytes.
pub(super) const BLOCK_BYTES: u32 = 2048;

/// A CD-ROM is what is in its image: what would say anything else of it is refused, and taken out of the section.
pub(super) fn check(section: &mut Section, size: Option<&Setting>, kind: Option<&Setting>, faults: &mut Faults) {
    if let Some(setting) = size {
        faults.add(&setting.origin, "a cdrom has the size of its image: leave size out");
    }
    if let Some(setting) = kind.filter(|setting| setting.text().is_ok_and(|word| word != "file")) {
        faults.add(&setting.origin, "a cdrom is an image: give its path");
    }
    for LunOption { key, .. } in OPTIONS.iter().filter(|option| option.on_cdrom == OnCdrom::Never) {
        if let Some(setting) = section.take(key) {
            faults.add(
                &setting.origin,
                format!("a cdrom cannot be written to, and has blocks of 2048 bytes: leave {key} out"),
            );
        }
    }
    if let Some(setting) = section.take("block") {
        match faults.keep(setting.size()) {
            Some(bytes) if bytes != u64::from(BLOCK_BYTES) => {
                faults.add(&setting.origin, format!("a cdrom has blocks of 2048 bytes, not {bytes}"));
            }
            _ => {}
        }
    }
    for LunOption { key, on_cdrom, .. } in OPTIONS {
        let OnCdrom::Only(only) = *on_cdrom else { continue };
        let Some(setting) = section.take(key) else { continue };
        if faults.keep(setting.boolean()).is_some_and(|value| value != only) {
            let message = if only {
                format!("a cdrom is {key} in any case: leave {key} out")
            } else {
                format!("a cdrom cannot be written to, and is all of its image: leave {key} out")
            };
            faults.add(&setting.origin, message);
        }
    }
}
