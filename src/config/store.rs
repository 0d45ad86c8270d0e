//! A configuration file gets another text: at every moment it is the old one or the new one, whole.

use super::document::load;
use super::fault::reason;
use super::{Fault, Origin};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes of a hash that tell two texts apart.
const TAG_BYTES: usize = 16;

/// What tells a text from any other: the first half of its SHA-256, in hexadecimal digits.
pub fn tag(text: &str) -> String {
    Sha256::digest(text).iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// Around the name of the file: the new text, until it has its place, is where nobody else has anything; the text before is
/// behind it.
const NEW: (&str, &str) = (".", ".ringsan-new");
const BEFORE: (&str, &str) = ("", ".before");

/// The text of a configuration file.
///
/// # Errors
/// It cannot be read.
pub fn text(file: &Path) -> Result<Zeroizing<String>, Fault> {
    load(file)
}

/// A new text, which is durable beside the file, and has not taken its place. It is gone when it is dropped.
#[derive(Debug)]
pub struct NewText {
    /// The file itself, also where a link was named.
    file: PathBuf,
    new: PathBuf,
    /// What the file said when the text was made of it.
    before: Zeroizing<String>,
}

impl NewText {
    /// Writes `text` beside `file`, which says `before`, with its mode and owner.
    ///
    /// # Errors
    /// It cannot be written: the file is as it was.
    pub fn write(file: &Path, before: Zeroizing<String>, text: &str) -> Result<NewText, Fault> {
        let file = file.canonicalize().map_err(|error| fault(file, &error))?;
        let new = NewText { new: with(&file, NEW), before, file };
        let write = || -> io::Result<()> {
            let like = fs::metadata(&new.file)?;
            // What a process left that was killed.
            let _ = fs::remove_file(&new.new);
            let mut to = OpenOptions::new().write(true).create_new(true).mode(like.mode() & 0o7777).open(&new.new)?;
            // Only root may give a file away; for anybody else it is theirs already.
            let _ = fchown(&to, Some(like.uid()), Some(like.gid()));
            to.write_all(text.as_bytes())?;
            to.sync_all()
        };
        write().map_err(|error| fault(&new.new, &error))?;
        Ok(new)
    }

    /// Has it take the place of the text before, which is kept beside it.
    ///
    /// # Errors
    /// Somebody else has changed the file meanwhile, or it cannot be replaced: it is as they left it.
    pub fn put(self) -> Result<(), Fault> {
        if load(&self.file)? != self.before {
            let message = "was changed by somebody else meanwhile: nothing is written to it; try it again";
            return Err(Fault::new(&origin(&self.file), message));
        }
        let put = || -> io::Result<()> {
            let before = with(&self.file, BEFORE);
            // On a file system without hard links there is no copy: that is no reason not to change the file.
            let _ = fs::remove_file(&before);
            let _ = fs::hard_link(&self.file, &before);
            fs::rename(&self.new, &self.file)?;
            File::open(self.file.parent().unwrap_or(Path::new("/")))?.sync_all()
        };
        put().map_err(|error| fault(&self.file, &error))
    }
}

impl Drop for NewText {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.new);
    }
}

fn with(file: &Path, (front, back): (&str, &str)) -> PathBuf {
    let mut name = OsString::from(front);
    name.push(file.file_name().unwrap_or_default());
    name.push(back);
    file.with_file_name(name)
}

fn origin(file: &Path) -> Origin {
    Origin::File { file: file.to_owned(), line: None, key: String::new() }
}

fn fault(file: &Path, error: &io::Error) -> Fault {
    Fault::new(&origin(file), format!("cannot be written: {}", reason(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_text_takes_the_place_of_the_one_before_with_its_mode_and_behind_links() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a.toml"), folder.path().join("link.toml"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        symlink("a.toml", &link).unwrap();
        NewText::write(&link, text(&link).unwrap(), "new").unwrap().put().unwrap();
        assert_eq!((fs::read(&file).unwrap(), fs::metadata(&file).unwrap().mode() & 0o777), (b"new".to_vec(), 0o600));
        assert_eq!(fs::read(folder.path().join("a.toml.before")).unwrap(), b"old");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(folder.path()), ["a.toml", "a.toml.before", "link.toml"]);
        NewText::write(&file, text(&file).unwrap(), "newer").unwrap().put().unwrap();
        assert_eq!(fs::read(folder.path().join("a.toml.before")).unwrap(), b"new");
    }

    #[test]
    fn what_somebody_else_has_written_stays_and_what_is_given_up_goes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        fs::write(&file, "old").unwrap();
        let new = NewText::write(&file, text(&file).unwrap(), "new").unwrap();
        fs::write(&file, "theirs").unwrap();
        assert!(new.put().unwrap_err().to_string().contains("changed by somebody else"));
        assert_eq!(fs::read(&file).unwrap(), b"theirs");
        drop(NewText::write(&file, text(&file).unwrap(), "new").unwrap());
        assert_eq!(names(folder.path()), ["a.toml"]);
    }
}
