//! What lines are written with: by the thread of a [`super::Spool`], which may wait for as long as it takes.

use super::form::Form;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tracing::Level;

/// Where the journal takes entries.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// How soon what could not be taken at once is tried again.
const AGAIN: Duration = Duration::from_millis(10);

/// What lines are written with.
#[derive(Debug)]
pub struct Pen {
    out: Out,
    form: Form,
    /// The last line was cut short.
    torn: bool,
}

/// Where they go.
#[derive(Debug)]
enum Out {
    File(File),
    /// The journal, under its name: it may come back as another socket. A line is a datagram.
    Journal(UnixDatagram, PathBuf),
}

impl Pen {
    /// For a duplicate of a descriptor.
    pub fn to_file(form: Form, to: impl AsFd) -> io::Result<Pen> {
        let file = File::from(to.as_fd().try_clone_to_owned()?);
        Ok(Pen { out: Out::File(file), form, torn: false })
    }

    /// For the journal.
    pub fn to_journal() -> io::Result<Pen> {
        Pen::to_journal_at(Path::new(JOURNAL))
    }

    /// For a journal at another place.
    pub fn to_journal_at(path: &Path) -> io::Result<Pen> {
        let socket = UnixDatagram::unbound()?;
        Ok(Pen { out: Out::Journal(socket, path.to_owned()), form: Form::Journal, torn: false })
    }

    /// Says that `lost` lines are missing here, or notes them again.
    pub fn own_up(&mut self, lost: u64, counts: &AtomicU64) {
        let form = self.form;
        let said = || form.plain(Level::WARN, &format!("ringsan: {lost} lines were lost here\n"));
        if lost > 0 && self.write(&said()).is_err() {
            counts.fetch_add(lost, Ordering::Relaxed);
        }
    }

    /// Waits as long as it takes.
    pub fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if self.torn {
            self.put(b"\n")?;
            self.torn = false;
        }
        self.put(text)
    }

    fn put(&mut self, text: &[u8]) -> io::Result<()> {
        let mut rest = text;
        while !rest.is_empty() {
            let written = match &mut self.out {
                Out::File(file) => file.write(rest),
                Out::Journal(socket, path) => socket.send_to(rest, path),
            };
            match written {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Somebody has made the pipe non-blocking for all who have it.
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(AGAIN),
                Err(error) => {
                    self.torn |= rest.len() < text.len();
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Spool;
    use super::*;

    #[test]
    fn the_journal_has_an_entry_for_each_line_and_one_that_comes_back_hears_what_it_has_missed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let mut buffer = [0; 4096];
        let listen = || {
            let journal = UnixDatagram::bind(&path).unwrap();
            journal.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            journal
        };
        let journal = listen();
        let spool = Spool::with(Form::Journal, "log", Pen::to_journal_at(&path).unwrap()).unwrap();
        spool.say(b"MESSAGE=one\n");
        spool.last_words("ringsan: two\n", Duration::from_secs(20));
        let mut heard = |journal: &UnixDatagram| {
            let len = journal.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..len].to_vec()).unwrap()
        };
        assert_eq!(heard(&journal), "MESSAGE=one\n");
        assert!(heard(&journal).ends_with("\nMESSAGE=two\n"));
        drop(journal);
        std::fs::remove_file(&path).unwrap();
        spool.last_words("ringsan: three\n", Duration::from_secs(20));
        let journal = listen();
        spool.say(b"MESSAGE=four\n");
        // It owns up by itself, too, if nothing comes behind what was lost.
        let mut both = [heard(&journal), heard(&journal)];
        both.sort();
        assert_eq!(both[0], "MESSAGE=four\n");
        assert!(both[1].ends_with("\nMESSAGE=1 lines were lost here\n"), "{both:?}");
    }
}
