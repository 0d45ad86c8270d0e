//! Certificates and keys: whether they can be used, one of our own, and whom a client trusts. No socket, no file and no
//! clock of its own.
//!
//! Invariant: no key is in an error or a log line.

mod own;
mod trust;

pub use own::self_made;
pub use trust::client_config;

use crate::model::control::Identity;
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, ServerSessionMemoryCache};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, InconsistentKeys, ServerConfig};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What is spoken behind it (ALPN, RFC 7301).
const PROTOCOL: &[u8] = b"http/1.1";

/// Sessions that may be resumed (TLS 1.2).
const RESUMABLE: usize = 128;

/// Why a certificate and its key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// Of the file with certificates.
    #[error("{0}")]
    Certificate(String),
    /// Of the file with the key.
    #[error("{0}")]
    Key(String),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A certificate with its key, as it is shown to clients.
#[derive(Debug, Clone)]
pub struct Shown {
    key: Arc<CertifiedKey>,
}

impl Shown {
    /// Of PEM.
    ///
    /// # Errors
    /// One of the two is not understood, or they do not belong together.
    pub fn new(identity: &Identity) -> Result<Shown, TlsError> {
        let chain = certificates(&identity.chain)?;
        let key = PrivateKeyDer::from_pem_slice(identity.key.bytes());
        let key =
            key.map_err(|_| TlsError::Key("has no private key in PEM (-----BEGIN PRIVATE KEY-----)".to_owned()))?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Key("is not the key of the certificate".to_owned())
            }
            rustls::Error::InvalidCertificate(error) => TlsError::Certificate(unreadable(&error)),
            error => TlsError::Key(format!("is no key that can be used: {error}")),
        })?;
        Ok(Shown { key: Arc::new(key) })
    }

    /// What a server does with it.
    ///
    /// # Errors
    /// The library is not made for what it is asked for.
    pub fn server_config(&self) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.key))));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.session_storage = ServerSessionMemoryCache::new(RESUMABLE);
        Ok(config)
    }

    /// Whether it is good for `host`, a name or an address.
    pub fn is_for(&self, host: &str) -> bool {
        let certificate = self.key.end_entity_cert().and_then(ParsedCertificate::try_from);
        let (Ok(certificate), Ok(name)) = (certificate, ServerName::try_from(host)) else { return false };
        verify_server_name(&certificate, &name).is_ok()
    }

    /// Its SHA-256, as `openssl x509 -fingerprint -sha256` has it.
    pub fn fingerprint(&self) -> String {
        let digest = self.key.end_entity_cert().map(Sha256::digest);
        let bytes = digest.iter().flat_map(|digest| digest.iter());
        bytes.map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }
}

/// A name or an address, as a client asks for it; `None`: it is neither.
pub fn server_name(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).ok()
}

/// The certificates of a PEM text: at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |_| TlsError::Certificate("is no PEM (-----BEGIN CERTIFICATE-----)".to_owned());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(wrong)?;
    if chain.is_empty() {
        return Err(TlsError::Certificate("has no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned()));
    }
    Ok(chain)
}

fn unreadable(error: &CertificateError) -> String {
    format!("has a certificate that cannot be used: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    fn made(names: &[&str]) -> Identity {
        self_made(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_certificate_goes_with_its_key_and_is_for_its_names() {
        let one = made(&["localhost", "*.example.com", "192.0.2.1", "2001:db8::1"]);
        let shown = Shown::new(&one).unwrap();
        for host in ["localhost", "LOCALHOST", "disks.example.com", "192.0.2.1", "2001:db8::1"] {
            assert!(shown.is_for(host), "{host}");
        }
        for host in ["example.com", "a.b.example.com", "evil.example", "192.0.2.2", "", "[::1]", "a b"] {
            assert!(!shown.is_for(host), "{host}");
        }
        let print = shown.fingerprint();
        assert_eq!((print.len(), print.matches(':').count()), (95, 31));
        assert!(shown.server_config().is_ok());
        assert_ne!(Shown::new(&made(&["localhost"])).unwrap().fingerprint(), print, "no key is made twice");
    }

    #[test]
    fn what_cannot_be_used_is_said_of_the_right_file_and_without_the_key() {
        let (one, other) = (made(&["a"]), made(&["a"]));
        let of = |chain: &[u8], key: &[u8]| {
            let identity = Identity { chain: chain.to_vec(), key: Secret::new(key.to_vec()) };
            Shown::new(&identity).unwrap_err()
        };
        let no_key = TlsError::Key("is not the key of the certificate".to_owned());
        assert_eq!(of(&one.chain, other.key.bytes()), no_key);
        assert!(matches!(of(b"", one.key.bytes()), TlsError::Certificate(why) if why.contains("has no certificate")));
        assert!(matches!(of(one.key.bytes(), one.key.bytes()), TlsError::Certificate(_)));
        assert!(matches!(of(&one.chain, &one.chain), TlsError::Key(why) if why.contains("no private key")));
        let junk = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(of(junk, one.key.bytes()), TlsError::Certificate(_)));
        let text = format!("{:?}", of(&one.chain, &[b"-----BEGIN PRIVATE KEY-----\n", &b"SECRET=="[..]].concat()));
        assert!(!text.contains("SECRET"), "{text}");
    }
}
