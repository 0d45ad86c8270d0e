//! `[control]`: who may use the control plane, and where it is listened on besides its unix socket.
//!
//! Invariants: neither a key nor a token is in a fault, a warning or a log line; files that hold them are for their owner alone.

use super::fault::reason;
use super::overlap::overlap;
use super::value::{Section, Setting};
use super::{Fault, Faults, Origin, group};
use crate::limits::{CERTIFICATE_BYTES, CONTROL_LISTEN, CONTROL_TOKENS_BYTES};
use crate::model::control::{Control, Identity};
use crate::model::{Portal, Secret};
use crate::tls::{Shown, TlsError};
use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The keys of `[control]`.
pub const CONTROL_KEYS: &[&str] = &["group", "listen", "certificate", "key", "tokens"];

/// What of a file's mode is too much for a secret; and what may be nevertheless, where the file is root's: that a group
/// reads it is how the system gives keys to services.
const OF_OTHERS: u32 = 0o077;
const OF_A_GROUP: u32 = 0o040;

/// `[control]` on its way.
#[derive(Debug, Default)]
pub(super) struct ControlDraft {
    group: Option<(String, Origin)>,
    listen: Vec<SocketAddr>,
    certificate: Option<(PathBuf, Origin)>,
    key: Option<(PathBuf, Origin)>,
    tokens: Option<(PathBuf, Origin)>,
    /// What the files hold, once they are read.
    read: Control,
}

impl ControlDraft {
    /// The section. Files are relative to `base`.
    pub(super) fn read(section: &mut Section, base: &Path, portals: &[Portal], faults: &mut Faults) -> ControlDraft {
        let listen_at = section.origin_of("listen");
        let listen = section.read("listen", faults, |setting| addresses(setting, portals)).unwrap_or_default();
        let group = section.read("group", faults, |setting| Ok((setting.text()?, setting.origin.clone())));
        let mut file = |key| section.read(key, faults, |s| Ok((base.join(s.text()?), s.origin.clone())));
        let (certificate, key, tokens) = (file("certificate"), file("key"), file("tokens"));
        if let (Some(at), None) = (listen_at, &tokens) {
            faults.add(&at, "needs tokens: a file that says who may come there; `ringsan token new` makes one");
        }
        match (&certificate, &key) {
            (Some((_, at)), None) => faults.add(at, "needs key: the file with its private key"),
            (None, Some((_, at))) => faults.add(at, "needs certificate: the file with what it is the key of"),
            _ => {}
        }
        ControlDraft { group, listen, certificate, key, tokens, read: Control::default() }
    }

    /// Reads what is named: the group, and the files.
    pub(super) fn look(&mut self, faults: &mut Faults) {
        if let Some((name, at)) = &self.group {
            match group::number(name) {
                Some(number) => self.read.group = Some((name.clone(), number)),
                None => faults.add(at, format!("there is no group '{}' here", name.escape_debug())),
            }
        }
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            self.read.identity = faults.keep(identity(certificate, key)).map(Arc::new);
        }
        if let Some((path, at)) = &self.tokens {
            let text = faults.keep(secret_file(path, at, CONTROL_TOKENS_BYTES));
            let text = text.and_then(|bytes| match std::str::from_utf8(&bytes) {
                Ok(text) => Some(Zeroizing::new(text.to_owned())),
                Err(_) => {
                    faults.add(at, format!("{}: is not UTF-8", path.display()));
                    None
                }
            });
            match text.as_ref().map(|text| super::tokens::read(text)) {
                Some(Ok(tokens)) => self.read.tokens = tokens.into(),
                Some(Err(wrong)) => {
                    for (line, message) in wrong {
                        faults.add(at, format!("{}:{line}: {message}", path.display()));
                    }
                }
                None => {}
            }
        }
    }

    /// The result.
    pub(super) fn into_control(self) -> Control {
        Control { listen: self.listen, ..self.read }
    }
}

/// Where to listen: none of it twice, nor where initiators connect to.
fn addresses(setting: &Setting, portals: &[Portal]) -> Result<Vec<SocketAddr>, Fault> {
    let fault = |message: String| Fault::new(&setting.origin, message);
    let texts = setting.texts()?;
    if texts.len() > CONTROL_LISTEN {
        return Err(fault(format!("more than {CONTROL_LISTEN} addresses")));
    }
    let mut listen: Vec<SocketAddr> = Vec::new();
    for text in texts {
        let address: SocketAddr = text.parse().map_err(|_| {
            let shown = text.escape_debug();
            fault(format!(
                "'{shown}' is no address with port: write 192.0.2.1:3261 or [2001:db8::1]:3261 (no host names)"
            ))
        })?;
        let is_same = |other: SocketAddr| other.port() != 0 && (other == address || overlap(other, address));
        if listen.iter().any(|other| is_same(*other)) {
            return Err(fault(format!("{address} is listened on twice")));
        }
        if portals.iter().any(|portal| is_same(portal.listen)) {
            return Err(fault(format!("{address} is a portal, where initiators connect to")));
        }
        listen.push(address);
    }
    Ok(listen)
}

/// A certificate with its key, of two files.
fn identity(certificate: &(PathBuf, Origin), key: &(PathBuf, Origin)) -> Result<Identity, Fault> {
    let chain = contents(&certificate.0, &certificate.1, CERTIFICATE_BYTES)?.to_vec();
    let secret = secret_file(&key.0, &key.1, CERTIFICATE_BYTES)?;
    let identity = Identity { chain, key: Secret::new(secret.to_vec()) };
    match Shown::new(&identity) {
        Ok(_) => Ok(identity),
        Err(TlsError::Certificate(why)) => Err(of_file(certificate, &why)),
        Err(TlsError::Key(why)) => Err(of_file(key, &why)),
    }
}

fn of_file((path, at): &(PathBuf, Origin), why: &str) -> Fault {
    Fault::new(at, format!("{}: {why}", path.display()))
}

/// What is in a file that nobody else may read.
fn secret_file(path: &Path, at: &Origin, most: u64) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let bytes = contents(path, at, most)?;
    let metadata = fs::metadata(path).map_err(|e| Fault::new(at, format!("{}: {}", path.display(), reason(&e))))?;
    let allowed = if metadata.uid() == 0 { OF_A_GROUP } else { 0 };
    if metadata.mode() & OF_OTHERS & !allowed != 0 {
        return Err(Fault::new(at, format!("{}: others than its owner can read it: chmod 600", path.display())));
    }
    Ok(bytes)
}

/// What is in a file of no more than `most` bytes.
fn contents(path: &Path, at: &Origin, most: u64) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let fault = |message: &str| Fault::new(at, format!("{}: {message}", path.display()));
    // A FIFO would block the open.
    let metadata = fs::metadata(path).map_err(|e| fault(&reason(&e)))?;
    if !metadata.is_file() {
        return Err(fault("is no regular file"));
    }
    if metadata.len() > most {
        return Err(fault(&format!("has more than {most} bytes")));
    }
    // With room for all of it, so that no outgrown copy is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(most).unwrap_or(0) + 1));
    File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(|e| fault(&reason(&e)))?;
    Ok(bytes)
}
