//! CHAP, the initiator's side (RFC 7143 section 12.1.3, RFC 1994): its proof, and what it asks the target to prove.

use crate::wire::text::{LoginValue, TextWriter};
use md5::{Digest, Md5};
use std::fmt;

/// A challenge is at most this long, in bytes (RFC 7143 section 12.1.3).
const MAX_CHALLENGE_BYTES: usize = 1024;
/// Bytes of a challenge of ours, which is what an MD5 response hides.
pub const OWN_CHALLENGE_BYTES: usize = 16;
/// The number of MD5 (RFC 1994 section 3), which every target has (RFC 7143 section 12.1.3).
const MD5: &str = "5";

/// A name and its secret.
#[derive(Clone)]
pub struct Account {
    /// CHAP_N.
    pub name: String,
    /// The secret, as bytes.
    pub secret: Vec<u8>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How an initiator proves who it is, and what it wants proved.
#[derive(Debug, Clone)]
pub struct Chap {
    /// Ours.
    pub own: Account,
    /// What the target is to prove, and the challenge for that, which is random; `None`: nothing.
    pub targets: Option<(Account, [u8; OWN_CHALLENGE_BYTES])>,
}

/// Why CHAP did not come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChapError {
    /// A key of the step is not there, or cannot be read.
    #[error("the target's {0} is missing or malformed")]
    Key(&'static str),
    /// It chose an algorithm that was not offered.
    #[error("the target chose an algorithm that was not offered")]
    Algorithm,
    /// It has another secret than expected, or another name.
    #[error("the target's proof is wrong")]
    WrongProof,
    /// It sent our own challenge back.
    #[error("the target sends our challenge back")]
    Reflection,
}

/// CHAP_R: the hash of identifier, secret and challenge (RFC 1994 section 4.1).
fn response(id: u8, secret: &[u8], challenge: &[u8]) -> [u8; 16] {
    Md5::new().chain_update([id]).chain_update(secret).chain_update(challenge).finalize().into()
}

impl Chap {
    /// CHAP_A: the first step.
    pub fn algorithms(text: &mut Vec<u8>) {
        TextWriter::new(text).pair("CHAP_A", MD5);
    }

    /// Answers the target's challenge, which `value` finds by key.
    ///
    /// # Errors
    /// A [`ChapError`], with which the login has failed.
    pub fn prove<'v>(&self, value: impl Fn(&str) -> Option<&'v str>, text: &mut Vec<u8>) -> Result<(), ChapError> {
        if value("CHAP_A") != Some(MD5) {
            return Err(ChapError::Algorithm);
        }
        let id =
            value("CHAP_I").and_then(|id| LoginValue(id).number_in(0..=255).ok()).ok_or(ChapError::Key("CHAP_I"))?;
        let mut buffer = [0; MAX_CHALLENGE_BYTES];
        let challenge = binary("CHAP_C", value("CHAP_C"), &mut buffer)?;
        if self.targets.as_ref().is_some_and(|(_, own)| challenge == own) {
            return Err(ChapError::Reflection);
        }
        let mut writer = TextWriter::new(text);
        writer.pair("CHAP_N", &self.own.name);
        writer.binary("CHAP_R", &response(id as u8, &self.own.secret, challenge));
        if let Some((_, own_challenge)) = &self.targets {
            writer.pair("CHAP_I", own_id(own_challenge));
            writer.binary("CHAP_C", own_challenge);
        }
        Ok(())
    }

    /// Looks at what the target has proved, if it was to prove anything.
    ///
    /// # Errors
    /// A [`ChapError`]: the initiator is to leave.
    pub fn verify<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> Result<(), ChapError> {
        let Some((account, challenge)) = &self.targets else { return Ok(()) };
        let mut buffer = [0; MAX_CHALLENGE_BYTES];
        let proof = binary("CHAP_R", value("CHAP_R"), &mut buffer)?;
        let right = response(own_id(challenge), &account.secret, challenge);
        let same: bool = subtle::ConstantTimeEq::ct_eq(proof, &right[..]).into();
        if same && value("CHAP_N") == Some(&account.name) { Ok(()) } else { Err(ChapError::WrongProof) }
    }
}

/// CHAP_I of our challenge: a byte of it, which is as random as it is.
fn own_id(challenge: &[u8; OWN_CHALLENGE_BYTES]) -> u8 {
    let [id, ..] = challenge;
    *id
}

fn binary<'b>(key: &'static str, value: Option<&str>, buffer: &'b mut [u8]) -> Result<&'b [u8], ChapError> {
    let len = value.and_then(|value| LoginValue(value).binary(buffer).ok()).ok_or(ChapError::Key(key))?;
    buffer.get(..len).ok_or(ChapError::Key(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'t>(text: &'t [u8]) -> impl Fn(&str) -> Option<&'t str> {
        move |key| {
            let mut pairs = std::str::from_utf8(text).unwrap().split('\0');
            pairs.find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
        }
    }

    fn account(name: &str, secret: &[u8]) -> Account {
        Account { name: name.into(), secret: secret.into() }
    }

    #[test]
    fn a_proof_of_one_side_and_of_both() {
        let own = account("user", b"secret.secret");
        let chap = Chap { own: own.clone(), targets: Some((account("disk", b"another.secret"), [9; 16])) };
        let mut text = Vec::new();
        chap.prove(value(b"CHAP_A=5\0CHAP_I=7\0CHAP_C=0x0102\0"), &mut text).unwrap();
        let mut proof = [0; 16];
        LoginValue(value(&text)("CHAP_R").unwrap()).binary(&mut proof).unwrap();
        assert_eq!(proof, <[u8; 16]>::from(Md5::digest(b"\x07secret.secret\x01\x02")));
        assert_eq!((value(&text)("CHAP_N"), value(&text)("CHAP_I")), (Some("user"), Some("9")));

        let mut answer = b"CHAP_N=disk\0".to_vec();
        TextWriter::new(&mut answer).binary("CHAP_R", &response(9, b"another.secret", &[9; 16]));
        assert_eq!(chap.verify(value(&answer)), Ok(()));
        answer[7] = b'D';
        assert_eq!(chap.verify(value(&answer)), Err(ChapError::WrongProof));
        assert_eq!(chap.verify(value(b"CHAP_N=disk\0CHAP_R=0x00\0")), Err(ChapError::WrongProof));
        assert_eq!(chap.verify(value(b"")), Err(ChapError::Key("CHAP_R")));
        assert_eq!(Chap { own, targets: None }.verify(value(b"")), Ok(()));
        assert!(!format!("{chap:?}").contains("secret."), "a secret is not printed");
    }

    #[test]
    fn what_a_target_may_not_ask() {
        let chap = Chap { own: account("u", b"s"), targets: Some((account("t", b"x"), [9; 16])) };
        for (text, error) in [
            (&b"CHAP_A=7\0CHAP_I=7\0CHAP_C=0x01\0"[..], ChapError::Algorithm),
            (b"CHAP_A=5\0CHAP_I=256\0CHAP_C=0x01\0", ChapError::Key("CHAP_I")),
            (b"CHAP_A=5\0CHAP_I=1\0CHAP_C=no\0", ChapError::Key("CHAP_C")),
            (b"CHAP_A=5\0CHAP_I=1\0CHAP_C=0x09090909090909090909090909090909\0", ChapError::Reflection),
        ] {
            assert_eq!(chap.prove(value(text), &mut Vec::new()), Err(error));
        }
    }
}
