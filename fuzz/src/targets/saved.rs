//! A state file of any content, with the right checksum and, where it says `@NAA@`, the right identity: it is read or
//! refused, and what was read is saved and read again as the same.

use super::commands::disk;
use ringsan::state::UnitFile;
use std::cell::OnceCell;

thread_local! {
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// See the module.
pub fn run(data: &[u8]) {
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(|| tempfile::tempdir().expect("a folder")).path();
        let file = UnitFile::new(folder, &disk(), None);
        let naa: String = disk().naa.iter().map(|byte| format!("{byte:02x}")).collect();
        let data = String::from_utf8_lossy(data).replace("@NAA@", &naa);
        let checksum = format!("# crc32c {:08x}\n", crc32c::crc32c(data.as_bytes()));
        std::fs::write(file.path(), data + &checksum).expect("written");
        let Ok(saved) = file.load() else { return };
        file.save(&saved).expect("saved");
        assert_eq!(file.load().expect("read again"), saved, "saved and read again");
    });
}
