//! Where the interface is listened on over TCP, and the certificate that it makes itself where it is given none.
//!
//! That certificate is kept in the state directory: a client that was given it trusts it also after a restart. It is made with
//! the names and addresses that are known then, and stays as it is.

use crate::model::control::{Control, Identity};
use crate::model::{Secret, Snapshot};
use crate::tls::{Shown, self_made};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The self-made certificate and its key, in the state directory.
pub const CERTIFICATE: &str = "control.crt";
/// See there.
pub const KEY: &str = "control.key";

/// Bytes of one of these files, at most.
const FILE_BYTES: u64 = 64 << 10;

/// Listeners, and what clients are shown.
#[derive(Debug)]
pub struct Remote {
    pub(super) listeners: Vec<TcpListener>,
    /// The certificate of the start.
    pub(super) identity: Arc<Identity>,
    fingerprint: String,
    /// Where it is, if it is self-made.
    own: Option<PathBuf>,
}

impl Remote {
    /// Listens where the configuration says so; `None`: nowhere.
    ///
    /// # Errors
    /// One line that says what cannot be had.
    pub fn open(snapshot: &Snapshot) -> Result<Option<Remote>, String> {
        let Control { listen, identity, .. } = &snapshot.control;
        if listen.is_empty() {
            return Ok(None);
        }
        let (identity, own) = match identity {
            Some(identity) => (Arc::clone(identity), None),
            None => {
                let own = own(&snapshot.state, listen)?;
                (Arc::new(own), Some(snapshot.state.join(CERTIFICATE)))
            }
        };
        let shown = Shown::new(&identity).map_err(|error| of_file(&snapshot.state.join(CERTIFICATE), &error))?;
        let bind = |address: &SocketAddr| {
            let listener =
                TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
            listener.map_err(|error| format!("control.listen: {address}: {error}"))
        };
        let listeners = listen.iter().map(bind).collect::<Result<_, _>>()?;
        Ok(Some(Remote { listeners, identity, fingerprint: shown.fingerprint(), own }))
    }

    /// One line for the log: where it is found, and by what it is known.
    pub fn says(&self) -> String {
        let addresses = self.listeners.iter().filter_map(|listener| listener.local_addr().ok());
        let addresses: Vec<String> = addresses.map(|address| format!("https://{address}")).collect();
        let own = self.own.as_ref().map(|path| format!(" (self-made: {})", path.display())).unwrap_or_default();
        format!("control plane on {}, certificate{own} SHA-256 {}", addresses.join(", "), self.fingerprint)
    }
}

fn of_file(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{}: {error}; remove it, and another one is made", path.display())
}

/// The certificate in the state directory, which is made if it is not there.
fn own(state: &Path, listen: &[SocketAddr]) -> Result<Identity, String> {
    let (certificate, key) = (state.join(CERTIFICATE), state.join(KEY));
    if let (Some(chain), Some(secret)) = (text(&certificate)?, text(&key)?) {
        return Ok(Identity { chain: chain.to_vec(), key: Secret::new(secret.to_vec()) });
    }
    let made = self_made(&names(listen)).map_err(|error| format!("a certificate: {error}"))?;
    match DirBuilder::new().mode(0o700).create(state) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(format!("{}: {error}", state.display())),
        _ => {}
    }
    // The certificate comes last: who finds it finds its key.
    put(&key, made.key.bytes(), 0o600)?;
    put(&certificate, &made.chain, 0o644)?;
    File::open(state)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| format!("{}: {error}", state.display()))?;
    Ok(made)
}

/// What is in a file; `None`: it is not there.
fn text(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES as usize));
    match File::open(path).and_then(|file| file.take(FILE_BYTES).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Makes a file durable in the place of another one.
fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<(), String> {
    let beside = path.with_added_extension("new");
    let made = || {
        // Left by somebody who was killed.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    made().map_err(|error| format!("{}: {error}", path.display()))
}

/// By what clients may call this machine.
fn names(listen: &[SocketAddr]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    if let Ok(name) = fs::read_to_string("/proc/sys/kernel/hostname") {
        let name = name.trim().to_ascii_lowercase();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        if !name.is_empty() && name.bytes().all(is_name) {
            names.push(name);
        }
    }
    let own = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let listened = listen.iter().map(|address| address.ip()).filter(|address| !address.is_unspecified());
    names.extend(own.into_iter().chain(listened).map(|address| address.to_string()));
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let snapshot = Snapshot {
            state: folder.path().join("state"),
            control: Control { listen: vec![listen], ..Control::default() },
            ..Snapshot::default()
        };
        let first = Remote::open(&snapshot).unwrap().unwrap();
        let again = Remote::open(&snapshot).unwrap().unwrap();
        assert_eq!(first.fingerprint, again.fingerprint);
        assert!(first.says().contains("https://127.0.0.1:") && first.says().contains(&first.fingerprint));
        let mode = |name| fs::metadata(snapshot.state.join(name)).unwrap().mode() & 0o777;
        assert_eq!((mode(KEY), mode(CERTIFICATE) & 0o077 & !0o044), (0o600, 0));
        // Who was killed between the two has left a key alone.
        fs::remove_file(snapshot.state.join(CERTIFICATE)).unwrap();
        assert_ne!(Remote::open(&snapshot).unwrap().unwrap().fingerprint, first.fingerprint);
        fs::write(snapshot.state.join(KEY), "junk").unwrap();
        assert!(Remote::open(&snapshot).unwrap_err().contains("remove it"));
        assert!(Remote::open(&Snapshot::default()).unwrap().is_none());
    }

    #[test]
    fn an_address_that_is_taken_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let control = Control { listen: vec![other.local_addr().unwrap()], ..Control::default() };
        let snapshot = Snapshot { state: folder.path().to_owned(), control, ..Snapshot::default() };
        assert!(Remote::open(&snapshot).unwrap_err().starts_with("control.listen: 127.0.0.1:"));
    }
}
