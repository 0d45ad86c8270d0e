//! A certificate that nobody vouches for: clients are given it beforehand.

use super::TlsError;
use crate::model::Secret;
use crate::model::control::Identity;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use zeroize::Zeroizing;

/// Makes one for these names and addresses, with a key of its own (P-256). It does not run out: who wants another one takes
/// it away.
///
/// # Errors
/// One of the names is none.
pub fn self_made(names: &[String]) -> Result<Identity, TlsError> {
    let failed = |error: rcgen::Error| TlsError::Certificate(format!("cannot be made: {error}"));
    let mut parameters = CertificateParams::new(names).map_err(failed)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, "ringsan control plane");
    parameters.distinguished_name = subject;
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = parameters.self_signed(&key).map_err(failed)?;
    let pem = Zeroizing::new(key.serialize_pem());
    Ok(Identity { chain: certificate.pem().into_bytes(), key: Secret::new(pem.as_bytes().to_vec()) })
}
