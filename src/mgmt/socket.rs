//! The unix socket that the interface is served on: at a place of which this process is the only owner, for its user alone.
//!
//! Invariants: a socket is removed only by who holds the lock beside it; nobody can connect to it before it has its mode.

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Where it is, if this process may have it there.
pub const DEFAULT: &str = "/run/ringsan/control.sock";

/// Its name in the state directory.
pub const NAME: &str = "control.sock";

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// A socket that is listened on; gone when it is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Held as long as the socket is there.
    _lock: File,
}

impl Socket {
    /// Listens at `path`. Its directory is made if its parent is there.
    ///
    /// # Errors
    /// [`ErrorKind::AddrInUse`]: another process has it. Else what the system says.
    pub fn at(path: &Path) -> io::Result<Socket> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let lock = path.with_extension("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(lock)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| ErrorKind::AddrInUse)?;
        match fs::symlink_metadata(path) {
            Ok(there) if there.file_type().is_socket() => fs::remove_file(path)?,
            Ok(_) => return Err(ErrorKind::AlreadyExists.into()),
            Err(_) => {}
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // Before it has a name: the file gets the mode that the socket has.
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        listen(&socket, BACKLOG)?;
        Ok(Socket { listener: UnixListener::from(socket), path: path.to_owned(), _lock: lock })
    }

    /// Listens at the first of these paths that can be had.
    ///
    /// # Errors
    /// Why none can be had, a line each.
    pub fn first(paths: &[PathBuf]) -> Result<Socket, String> {
        let mut why = Vec::new();
        for path in paths {
            match Socket::at(path) {
                Ok(socket) => return Ok(socket),
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    why.push(format!("{}: another ringsan has it", path.display()))
                }
                Err(error) => why.push(format!("{}: {error}", path.display())),
            }
        }
        Err(why.join("; "))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The listener, once more.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(super) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn one_process_has_it_and_takes_over_what_a_dead_one_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/control.sock");
        let first = Socket::at(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Socket::at(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        let other = directory.path().join("other.sock");
        assert_eq!(Socket::first(&[path.clone(), other.clone()]).unwrap().path(), other);
        drop(first);
        assert!(!path.exists());
        // Left by a process that was killed.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert_eq!(Socket::at(&path).unwrap().path(), path);
    }

    #[test]
    fn what_is_no_socket_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        fs::write(&path, "data").unwrap();
        assert_eq!(Socket::at(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"data");
    }
}
