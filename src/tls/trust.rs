//! Whom a client trusts: who has a certificate of an authority that it is given, for the name that it asks for; or the very
//! certificate that it is given, whatever names that has.

use super::{PROTOCOL, TlsError, certificates, provider, unreadable};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// How a client that trusts the certificates of `pem` speaks to a server.
///
/// # Errors
/// None of them can be used.
pub fn client_config(pem: &[u8]) -> Result<ClientConfig, TlsError> {
    let given = certificates(pem)?;
    let mut roots = RootCertStore::empty();
    // A bundle of a system may have one or the other that is not understood.
    if let (0, _) = roots.add_parsable_certificates(given.iter().cloned()) {
        return Err(TlsError::Certificate(unreadable(&CertificateError::BadEncoding)));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let verifier = verifier.map_err(|error| TlsError::Certificate(error.to_string()))?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Certificate(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Given { given, verifier }))
        .with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

/// Takes a certificate that it is given for what it is, and asks the authorities about all others. That the server has the key of
/// what it shows is asked in either case.
#[derive(Debug)]
struct Given {
    given: Vec<CertificateDer<'static>>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Given {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.given.iter().any(|given| given == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::self_made;

    #[test]
    fn the_certificate_that_is_given_is_trusted_and_no_other() {
        let [one, other] = ["a.example", "b.example"].map(|name| self_made(&[name.to_owned()]).unwrap().chain);
        let der = |pem: &[u8]| certificates(pem).unwrap().remove(0);
        let given = der(&one);
        let mut roots = RootCertStore::empty();
        roots.add(given.clone()).unwrap();
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
        let trusts = Given { given: vec![given.clone()], verifier };
        let name = |name: &'static str| ServerName::try_from(name).unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_800_000_000));
        let ask = |der: &CertificateDer<'_>, of: &'static str| trusts.verify_server_cert(der, &[], &name(of), &[], now);
        assert!(ask(&given, "any.example").is_ok());
        assert!(ask(&der(&other), "b.example").is_err());
        assert!(client_config(&one).is_ok());
        assert!(client_config(b"nothing").is_err());
    }
}
