//! What to do next, where no server answers.

use ringsan::config::DEFAULT_STATE;
use ringsan::mgmt::client::ClientError;
use ringsan::mgmt::socket;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Sockets that are named in one line, at most, and entries of a directory that are looked at.
const NAMED: usize = 4;
const LOOKED_AT: usize = 256;

/// What is wrong, and what mends it as far as that is known here.
pub fn explained(error: &ClientError) -> String {
    explained_by(error, &[Path::new(socket::DEFAULT).parent(), Some(Path::new(DEFAULT_STATE))])
}

/// With what is in these directories, and in that of the socket that was asked.
fn explained_by(error: &ClientError, directories: &[Option<&Path>]) -> String {
    let ClientError::Absent { at, .. } = error else { return error.to_string() };
    if at.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        // It is on another machine: nobody knows here what is there.
        return error.to_string();
    }
    let path = Path::new(at);
    let found = sockets(directories.iter().copied().chain([path.parent()]).flatten(), path);
    let next = if found.is_empty() {
        "is `ringsan serve` running, and as which user? --socket or RINGSAN_SOCKET names another socket; the log says at the \
         start where it is"
            .to_owned()
    } else {
        let found: Vec<String> = found.iter().map(|at| format!("--socket {}", at.display())).collect();
        format!("sockets that are there: {}", found.join(", "))
    };
    format!("{error}; {next}")
}

/// The sockets in these directories but the one that does not answer.
fn sockets<'d>(directories: impl Iterator<Item = &'d Path>, but: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in directories {
        // A plain name is in the working directory.
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let Ok(entries) = fs::read_dir(directory) else { continue };
        for entry in entries.take(LOOKED_AT).flatten() {
            let is_socket = entry.file_type().is_ok_and(|of| of.is_socket());
            let path = entry.path();
            if is_socket
                && path.extension() == Some(OsStr::new("sock"))
                && !is_same(&path, but)
                && !found.contains(&path)
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found.truncate(NAMED);
    found
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (std::path::absolute(one), std::path::absolute(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn absent(path: &Path) -> ClientError {
        ClientError::Absent { at: path.display().to_string(), reason: "it is not running".to_owned() }
    }

    #[test]
    fn sockets_that_are_there_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let (asked, other) = (directory.path().join("control.sock"), directory.path().join("other.sock"));
        let said = explained_by(&absent(&asked), &[]);
        assert!(said.starts_with("no ringsan answers at ") && said.contains("is `ringsan serve` running"), "{said}");
        // One that is dead is not proposed in its own place, nor is a file that is no socket.
        let _dead = UnixListener::bind(&asked).unwrap();
        fs::write(directory.path().join("text.sock"), "").unwrap();
        assert!(!explained_by(&absent(&asked), &[]).contains(directory.path().join("text.sock").to_str().unwrap()));
        let _alive = UnixListener::bind(&other).unwrap();
        let said = explained_by(&absent(&asked), &[]);
        assert!(said.contains(&format!("--socket {}", other.display())), "{said}");
        assert_eq!(said.matches("control.sock").count(), 1, "{said}");
    }
}
