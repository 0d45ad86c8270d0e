//! Where a client finds a server that it reaches over TCP, and what it shows and trusts there.

use crate::limits::{CERTIFICATE_BYTES, CONTROL_TOKENS_BYTES, DEFAULT_CONTROL_PORT};
use crate::tls;
use axum::http::Uri;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// Where systems keep the certificates of those that they trust.
const OF_THE_SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A server, and who its client is.
#[derive(Clone)]
pub(super) struct ServerUrl {
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Both, as `Host` has them.
    pub(super) authority: String,
    pub(super) token: Zeroizing<String>,
    pub(super) connector: TlsConnector,
}

impl std::fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ServerUrl").field(&self.authority).finish()
    }
}

impl ServerUrl {
    /// `url` is like `https://HOST:PORT`; `token`: a file with the token; `ca`: certificates that are trusted, else those of the system.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub(super) fn new(url: &str, token: Option<&Path>, ca: Option<&Path>) -> Result<ServerUrl, String> {
        let (host, port, authority) = parsed(url)?;
        let token =
            token.ok_or("a server needs a token: name a file that has it with --token-file (RINGSAN_TOKEN_FILE)")?;
        let text = contents(token, CONTROL_TOKENS_BYTES)?;
        let token = token_in(&text).map_err(|why| format!("{}: {why}", token.display()))?;
        let (pem, path) = match ca {
            Some(path) => (contents(path, CERTIFICATE_BYTES)?, path.to_owned()),
            None => of_the_system()?,
        };
        let config = tls::client_config(&pem).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(ServerUrl { host, port, authority, token, connector: Arc::new(config).into() })
    }
}

/// Host, port, and both.
fn parsed(url: &str) -> Result<(String, u16, String), String> {
    let wrong = || format!("'{}' is no server: write https://HOST:PORT", url.escape_debug());
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let (Some("https"), Some(authority), "" | "/", None) = (uri.scheme_str(), uri.authority(), uri.path(), uri.query())
    else {
        return Err(wrong());
    };
    // What stands behind the host and is no port is passed over by who reads such a text.
    let has_port = authority.port_u16().is_some() || authority.as_str() == authority.host();
    if authority.as_str().contains('@') || authority.host().is_empty() || !has_port {
        return Err(wrong());
    }
    let port = authority.port_u16().unwrap_or(DEFAULT_CONTROL_PORT);
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Ok((bare.to_owned(), port, format!("{host}:{port}")))
}

/// The token of a file: alone, or as the server's file has it, behind name and scope.
fn token_in(text: &[u8]) -> Result<Zeroizing<String>, &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "is not UTF-8")?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (Some(line), None) = (lines.next(), lines.next()) else { return Err("has to have one line, with one token") };
    match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        [token] | [_, _, token] if token.starts_with("sha256:") => Err("has the SHA-256 of a token, not the token"),
        [token] | [_, _, token] => Ok(Zeroizing::new((*token).to_owned())),
        _ => Err("has to have one line, with one token"),
    }
}

/// The certificates of those that the system trusts.
fn of_the_system() -> Result<(Zeroizing<Vec<u8>>, PathBuf), String> {
    let found = OF_THE_SYSTEM.iter().map(Path::new).find(|path| path.exists());
    let path =
        found.ok_or("this system has no list of those that it trusts: name the server's certificate with --ca")?;
    // Such a list is longer than a certificate.
    Ok((contents(path, 8 * CERTIFICATE_BYTES)?, path.to_owned()))
}

fn contents(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let fault = |error: io::Error| format!("{}: {error}", path.display());
    // With room for all of it, so that no outgrown copy is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(most).unwrap_or(0) + 1));
    File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes)).map_err(fault)?;
    if bytes.len() as u64 > most {
        return Err(fault(ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_https_host_and_port() {
        let of = |url: &str| parsed(url).ok();
        let some = |host: &str, port, both: &str| Some((host.to_owned(), port, both.to_owned()));
        assert_eq!(of("https://disks.example:3262"), some("disks.example", 3262, "disks.example:3262"));
        assert_eq!(of("https://192.0.2.1/"), some("192.0.2.1", 3261, "192.0.2.1:3261"));
        assert_eq!(of("https://[2001:db8::1]:1"), some("2001:db8::1", 1, "[2001:db8::1]:1"));
        for url in
            ["", "disks", "http://disks:1", "https://", "https://a/b", "https://a/?q", "https://u@a", "https://a:x"]
        {
            assert_eq!(of(url), None, "{url}");
        }
    }

    #[test]
    fn a_token_is_in_a_file_alone_or_as_the_server_has_it() {
        for text in ["abc", "abc\n", "# mine\n\nops full abc\r\n"] {
            assert_eq!(token_in(text.as_bytes()).unwrap().as_str(), "abc");
        }
        for text in ["", "a\nb", "ops abc", "ops full sha256:00", "sha256:00"] {
            assert!(token_in(text.as_bytes()).is_err(), "{text}");
        }
    }
}
