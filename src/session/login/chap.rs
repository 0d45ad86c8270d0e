//! CHAP: the exchange (RFC 7143 sections 9.2.1 and 12.1.3, RFC 1994).
//!
//! [`Exchange`] is the target's side: [`Exchange::algorithm`] answers CHAP_A with a challenge, [`Exchange::response`] checks
//! CHAP_R and, if the initiator asks for it, proves who we are. [`Credentials`] are the accounts of one login.
//!
//! Invariants: a challenge is used for one response; secrets and responses are compared in constant time; we prove nothing
//! to an initiator that has not proved itself. Which keys may stand in which turn is `security`'s.

use std::fmt;
use std::sync::Arc;

use md5::Digest;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::model::{ChapAlgorithm, Credentials, Secret};
use crate::wire::LoginStatus;
use crate::wire::text::{LoginValue, TextWriter};

#[cfg(test)]
mod tests;

/// CHAP_C and CHAP_R have at most this many bytes (RFC 7143 section 12.1.3).
const MAX_BINARY_BYTES: usize = 1024;
/// CHAP_N has at most this many bytes.
const MAX_NAME_BYTES: usize = 255;

/// Characters of a secret of 96 random bits, which is the longest that Windows takes.
pub const SECRET_OF_96_BITS: usize = 16;
/// Characters of a secret of (at least) 128 random bits.
pub const SECRET_OF_128_BITS: usize = 22;

/// A new secret of so many characters, each of which stands for six random bits. `random` fills a buffer with random
/// bytes.
pub fn generate_secret(characters: usize, random: &mut dyn FnMut(&mut [u8])) -> Zeroizing<String> {
    //= RFC 7143 section 9.2.1
    //# Implementations MUST support the
    //# use of up to 128-bit random CHAP secrets, including the means to
    //# generate such secrets and to accept them from an external generation
    //# source.
    //= RFC 7143 section 9.2.1
    //# Implementations MUST NOT provide secret generation (or
    //# expansion) means other than random generation.
    let letter = |bits: &u8| match bits & 63 {
        n @ 0..26 => b'A' + n,
        n @ 26..52 => b'a' + (n - 26),
        n @ 52..62 => b'0' + (n - 52),
        62 => b'-',
        _ => b'_',
    };
    let mut bits = Zeroizing::new(vec![0; characters]);
    random(bits.as_mut_slice());
    Zeroizing::new(bits.iter().map(|bits| char::from(letter(bits))).collect())
}

/// What went wrong in a CHAP exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChapFault {
    /// No algorithm in common.
    #[error("it offers no hash algorithm that is supported")]
    Algorithm,
    /// A key of the step is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A key of the step has no value that can be read.
    #[error("{0} is malformed or too long")]
    Malformed(&'static str),
    /// No account of that name.
    #[error("there is no account of that name for this initiator")]
    UnknownName,
    /// The response is not the right one.
    #[error("the response is wrong: it has another secret than the one configured")]
    WrongResponse,
    /// Our own challenge came back, or our own response.
    #[error("it reflects our challenge or our response: is one secret used in both directions?")]
    Reflection,
    /// It asks us to authenticate ourselves, and we have no account.
    #[error("it wants mutual authentication, and none is configured")]
    NoTargetAccount,
}

impl ChapFault {
    /// What the initiator is told.
    pub fn status(self) -> LoginStatus {
        //= RFC 7143 section 9.2
        //# Whenever an iSCSI target gets a request or response whose keys, or
        //# their values, are not according to the step definition, it MUST
        //# answer with a Login reject with the "Initiator Error" or "Missing
        //# Parameter" status.
        match self {
            ChapFault::Missing(_) => LoginStatus::MISSING_PARAMETER,
            ChapFault::Malformed(_) => LoginStatus::INITIATOR_ERROR,
            //= RFC 7143 section 9.2
            //# These statuses are not intended for cryptographically incorrect values
            //# such as the CHAP response, for which the "Authentication Failure" status
            //# MUST be specified.
            ChapFault::Algorithm
            | ChapFault::UnknownName
            | ChapFault::WrongResponse
            | ChapFault::Reflection
            | ChapFault::NoTargetAccount => LoginStatus::AUTHENTICATION_FAILURE,
        }
    }
}

/// A hash algorithm at work.
trait Hash {
    /// Bytes of a response, and of our challenges.
    fn len(self) -> usize;
    /// CHAP_R: the hash of identifier, secret and challenge (RFC 1994 section 4.1).
    fn response(self, id: u8, secret: &Secret, challenge: &[u8]) -> Zeroizing<Vec<u8>>;
}

impl Hash for ChapAlgorithm {
    fn len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sha3 => 32,
        }
    }

    fn response(self, id: u8, secret: &Secret, challenge: &[u8]) -> Zeroizing<Vec<u8>> {
        fn hash<D: Digest>(id: u8, secret: &Secret, challenge: &[u8]) -> Vec<u8> {
            let hash = D::new().chain_update([id]).chain_update(secret.bytes()).chain_update(challenge);
            hash.finalize().to_vec()
        }
        Zeroizing::new(match self {
            Self::Md5 => hash::<md5::Md5>(id, secret, challenge),
            Self::Sha1 => hash::<sha1::Sha1>(id, secret, challenge),
            Self::Sha256 => hash::<sha2::Sha256>(id, secret, challenge),
            Self::Sha3 => hash::<sha3::Sha3_256>(id, secret, challenge),
        })
    }
}

/// The CHAP keys of one turn.
#[derive(Debug, Default, Clone, Copy)]
pub struct ChapKeys<'t> {
    /// CHAP_A.
    pub a: Option<&'t str>,
    /// CHAP_I.
    pub i: Option<&'t str>,
    /// CHAP_C.
    pub c: Option<&'t str>,
    /// CHAP_N.
    pub n: Option<&'t str>,
    /// CHAP_R.
    pub r: Option<&'t str>,
}

impl ChapKeys<'_> {
    /// One of the keys that the turn has; `None` if it has none.
    pub fn any(&self) -> Option<&'static str> {
        let keys = [("CHAP_A", self.a), ("CHAP_I", self.i), ("CHAP_C", self.c), ("CHAP_N", self.n), ("CHAP_R", self.r)];
        keys.iter().find(|(_, value)| value.is_some()).map(|(name, _)| *name)
    }
}

/// A challenge that waits for its response.
pub struct Exchange {
    algorithm: ChapAlgorithm,
    id: u8,
    challenge: Vec<u8>,
}

/// Without the challenge.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

//= RFC 7143 section 9.2.1
//# Compliant iSCSI initiators and targets MUST implement the CHAP
//# authentication method [RFC1994] (according to Section 12.1.3, including
//# the target authentication option).
//= RFC 7143 section 12.1
//# The initiator and target MUST implement CHAP.
impl Exchange {
    /// Answers CHAP_A: appends the algorithm chosen, which is one of `allowed`, and a challenge.
    ///
    /// # Errors
    /// [`ChapFault::Malformed`] if an item of `list` is no number, [`ChapFault::Algorithm`] if none of them is allowed.
    pub fn algorithm(
        list: &str,
        allowed: &[ChapAlgorithm],
        random: &mut dyn FnMut(&mut [u8]),
        answer: &mut Vec<u8>,
    ) -> Result<Self, ChapFault> {
        //= RFC 7143 section 12.1.3
        //# where A is one of A1,A2... that were proposed by the initiator.
        let mut chosen = None;
        for item in LoginValue(list).list() {
            let number = LoginValue(item).number().map_err(|_| ChapFault::Malformed("CHAP_A"))?;
            chosen =
                chosen.or_else(|| allowed.iter().find(|algorithm| u64::from(algorithm.number()) == number).copied());
        }
        //= RFC 7143 section 12.1.3
        //# The target MUST answer with a Login reject with the "Authentication
        //# Failure" status or reply with:
        let algorithm = chosen.ok_or(ChapFault::Algorithm)?;
        let mut id = [0];
        random(&mut id);
        let mut challenge = vec![0; algorithm.len()];
        random(&mut challenge);
        let mut text = TextWriter::new(answer);
        text.pair("CHAP_A", algorithm.number());
        text.pair("CHAP_I", id[0]);
        text.binary("CHAP_C", &challenge);
        Ok(Self { algorithm, id: id[0], challenge })
    }

    /// Checks CHAP_N and CHAP_R against `credentials` and returns the name that was proved. Appends our own proof
    /// (CHAP_N, CHAP_R) to `answer` if CHAP_I and CHAP_C ask for it.
    ///
    /// # Errors
    /// [`ChapFault::Missing`] or [`ChapFault::Malformed`] for a key, [`ChapFault::UnknownName`],
    /// [`ChapFault::WrongResponse`], [`ChapFault::Reflection`], or [`ChapFault::NoTargetAccount`] if we are asked for a
    /// proof and have none. The exchange is over either way.
    pub fn response(
        self,
        keys: &ChapKeys<'_>,
        credentials: &Credentials,
        answer: &mut Vec<u8>,
    ) -> Result<Arc<str>, ChapFault> {
        let name = keys.n.ok_or(ChapFault::Missing("CHAP_N"))?;
        //= RFC 7143 section 9.2
        //# In CHAP, this is prevented
        //# because the target must answer the missing CHAP_R key with a
        //# Login reject with the "Missing Parameter" status.
        let theirs = binary("CHAP_R", keys.r)?;
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(ChapFault::Malformed("CHAP_N"));
        }
        let mutual = match (keys.i, keys.c) {
            (None, None) => None,
            (id, challenge) => Some((identifier(id)?, binary("CHAP_C", challenge)?)),
        };
        //= RFC 7143 section 9.2
        //# During the login time, implementations SHOULD verify the
        //# Name-to-identity relationship in addition to authenticating the identity
        //# through the negotiated authentication method.
        let (account, credentials) = credentials.find(name).ok_or(ChapFault::UnknownName)?;
        //= RFC 7143 section 9.2.1
        //# If the CHAP response received by one end of an
        //# iSCSI connection is the same as the CHAP response that the receiving
        //# endpoint would have generated for the same CHAP challenge, the
        //# response MUST be treated as an authentication failure and cause the
        //# connection to close
        if let Some(target) = &credentials.target {
            let ours = self.algorithm.response(self.id, &target.secret, &self.challenge);
            if ours.ct_eq(&theirs).into() {
                return Err(ChapFault::Reflection);
            }
        }
        let right = self.algorithm.response(self.id, &account.secret, &self.challenge);
        if !bool::from(right.ct_eq(&theirs)) {
            //= RFC 7143 section 12.1.3
            //# If the initiator authentication fails, the target MUST answer with a
            //# Login reject with "Authentication Failure" status.
            return Err(ChapFault::WrongResponse);
        }
        if let Some((id, challenge)) = mutual {
            //= RFC 7143 section 4.2.4
            //# As part of the login process, the initiator and target SHOULD
            //# authenticate each other and MAY set a security association protocol for
            //# the session.
            self.prove(id, &challenge, credentials, answer)?;
        }
        Ok(account.name.clone())
    }

    /// Appends the proof of who we are: CHAP_N, and CHAP_R for the initiator's identifier and challenge.
    fn prove(
        &self,
        id: u8,
        challenge: &[u8],
        credentials: &Credentials,
        answer: &mut Vec<u8>,
    ) -> Result<(), ChapFault> {
        //= RFC 7143 section 9.2.1
        //# Originators MUST NOT reuse the CHAP challenge sent by the responder
        //# for the other direction of a bidirectional authentication.
        //# Responders MUST check for this condition and close the iSCSI TCP
        //# connection if it occurs.
        if challenge == self.challenge {
            return Err(ChapFault::Reflection);
        }
        //= RFC 7143 section 12.1.3
        //# Otherwise, if the
        //# initiator required target authentication, the target MUST either
        //# answer with a Login reject with "Authentication Failure" or reply
        //# with:
        let target = credentials.target.as_ref().ok_or(ChapFault::NoTargetAccount)?;
        let response = self.algorithm.response(id, &target.secret, challenge);
        let mut text = TextWriter::new(answer);
        text.pair("CHAP_N", &target.name);
        text.binary("CHAP_R", &response);
        Ok(())
    }
}

/// Decodes CHAP_I.
fn identifier(value: Option<&str>) -> Result<u8, ChapFault> {
    let value = value.ok_or(ChapFault::Missing("CHAP_I"))?;
    let number = LoginValue(value).number_in(0..=255).ok();
    number.and_then(|number| u8::try_from(number).ok()).ok_or(ChapFault::Malformed("CHAP_I"))
}

/// Decodes CHAP_C or CHAP_R.
fn binary(key: &'static str, value: Option<&str>) -> Result<Vec<u8>, ChapFault> {
    //= RFC 7143 section 12.1.3
    //# Their binary length (not the length of the character
    //# string that represents them in encoded form) MUST NOT exceed
    //# 1024 bytes.  Hex or Base64 encoding may be used for C and R; see
    //# Section 6.1.
    let value = value.ok_or(ChapFault::Missing(key))?;
    let mut bytes = vec![0; MAX_BINARY_BYTES];
    let len = LoginValue(value).binary(&mut bytes).map_err(|_| ChapFault::Malformed(key))?;
    bytes.truncate(len);
    Ok(bytes)
}
