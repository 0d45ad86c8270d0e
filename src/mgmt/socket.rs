//! The unix socket that the interface is served on: at a place of which this process is the only owner, for its user alone.
//!
//! Members of a group may be let in, too. Invariants: a socket is removed only by who holds the lock beside it; nobody can connect
//! to it before it has its mode.

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Where it is, if this process may have it there.
pub const DEFAULT: &str = "/run/ringsan/control.sock";

/// Its name in the state directory.
pub const NAME: &str = "control.sock";

/// Of the socket, and of its directory if that is made here, where a group is let in.
const GROUP_MODE: u32 = 0o660;
const GROUP_DIRECTORY_MODE: u32 = 0o710;

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
    /// Listens at `path`, for the user of this process and the members of `group`. Its directory is made if its parent is there.
    ///
    /// # Errors
    /// [`ErrorKind::AddrInUse`]: another process has it. Else what the system says.
    pub fn at(path: &Path, group: Option<u32>) -> io::Result<Socket> {
        let directory = directory_of(path);
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            Ok(()) if group.is_some() => {
                lchown(directory, None, group)?;
                fs::set_permissions(directory, Permissions::from_mode(GROUP_DIRECTORY_MODE))?;
            }
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
        // From here on it is removed again, whatever fails.
        let socket = Socket { listener: UnixListener::from(socket), path: path.to_owned(), _lock: lock };
        if group.is_some() {
            // Nobody listens yet: the group comes first, then what it may.
            lchown(path, None, group)?;
            fs::set_permissions(path, Permissions::from_mode(GROUP_MODE))?;
        }
        listen(&socket.listener, BACKLOG)?;
        Ok(socket)
    }

    /// Listens at the first of these paths that can be had.
    ///
    /// # Errors
    /// Why none can be had, a line each.
    pub fn first(paths: &[PathBuf], group: Option<u32>) -> Result<Socket, String> {
        let mut why = Vec::new();
        for path in paths {
            match Socket::at(path, group) {
                Ok(socket) => return Ok(socket),
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    why.push(format!("{}: another ringsan has it", path.display()))
                }
                Err(error) => why.push(format!("{}: {error}", path.display())),
            }
        }
        Err(why.join("; "))
    }

    /// Whether the members of `group` can come to it as far as its own directory goes.
    pub fn is_open_to(&self, group: u32) -> bool {
        let directory = fs::metadata(directory_of(&self.path));
        directory.is_ok_and(|of| of.mode() & 0o001 != 0 || of.gid() == group && of.mode() & 0o010 != 0)
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

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_it_and_takes_over_what_a_dead_one_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/control.sock");
        let first = Socket::at(&path, None).unwrap();
        let mode = fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Socket::at(&path, None).unwrap_err().kind(), ErrorKind::AddrInUse);
        let other = directory.path().join("other.sock");
        assert_eq!(Socket::first(&[path.clone(), other.clone()], None).unwrap().path(), other);
        drop(first);
        assert!(!path.exists());
        // Left by a process that was killed.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert_eq!(Socket::at(&path, None).unwrap().path(), path);
    }

    /// Who runs this may be in no other group than its own.
    #[test]
    fn members_of_a_group_are_let_in_as_far_as_its_folder() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/control.sock");
        let group = fs::metadata(directory.path()).unwrap().gid();
        let socket = Socket::at(&path, Some(group)).unwrap();
        let of = fs::metadata(&path).unwrap();
        assert_eq!((of.mode() & 0o777, of.gid()), (0o660, group));
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o710);
        assert!(socket.is_open_to(group) && !socket.is_open_to(group + 1));
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        fs::set_permissions(path.parent().unwrap(), Permissions::from_mode(0o700)).unwrap();
        assert!(!socket.is_open_to(group));
    }

    #[test]
    fn what_is_no_socket_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        fs::write(&path, "data").unwrap();
        assert_eq!(Socket::at(&path, None).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"data");
    }
}
