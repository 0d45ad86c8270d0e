//! Representations of data and their tokens (SPC-4 clause 5.17.6): the tokens of a logical unit, and their bytes.
//!
//! Tokens are of the type "point in time copy, change vulnerable": no data is kept aside, so a token is good until
//! somebody overwrites its blocks. Whoever changes blocks revokes the tokens for them, just before; while there are no
//! tokens that is a load. While a token is made nobody changes its blocks: what was under way is in it, what comes
//! later revokes it.
//!
//! A token holds 320 random bits. It is looked up by the logical unit that it names and then compared as a whole in
//! constant time: it cannot be forged, nor guessed a byte at a time. There are at most `limits::ROD_TOKENS` on a logical
//! unit, each for as long as its inactivity timeout; they outlive the nexus, not the process.

use super::copy_request::{IDENTIFICATION_DESCRIPTOR, Populate, TOKEN_BYTES};
use super::params::{LuParams, NexusId};
use super::sense::{Outcome, asc};
use crate::limits;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use subtle::ConstantTimeEq;

/// ROD TYPE of our tokens (SPC-4 table 127).
pub(super) const POINT_IN_TIME_CHANGE_VULNERABLE: u32 = 0x0080_0001;
/// ROD TYPE of the token that stands for zeroes (SBC-3 clause 4.29).
pub(super) const ZERO: u32 = 0xffff_0001;
/// ROD TOKEN LENGTH: what follows that field.
pub(super) const TOKEN_LENGTH: u16 = TOKEN_BYTES as u16 - 8;

pub(super) fn overlap(a: (u64, u64), b: (u64, u64)) -> bool {
    a.0 < b.0.saturating_add(b.1) && b.0 < a.0.saturating_add(a.1)
}

/// A token and what it stands for.
#[derive(Debug)]
pub(super) struct Token {
    bytes: Box<[u8; TOKEN_BYTES]>,
    owner: NexusId,
    pub(super) ranges: Vec<(u64, u64)>,
    timeout_ms: u64,
    /// Its blocks were overwritten.
    revoked: AtomicBool,
    deleted: AtomicBool,
    /// When it was made or used last, milliseconds of the core's clock.
    last_used_ms: AtomicU64,
}

impl Token {
    pub(super) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    fn is_expired(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.last_used_ms.load(Ordering::Relaxed)) > self.timeout_ms
    }

    fn touch(&self, now_ms: u64) {
        self.last_used_ms.store(now_ms, Ordering::Relaxed);
    }
}

/// The tokens of a logical unit.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// There are tokens that a write could revoke.
    watched: AtomicBool,
    live: Mutex<Vec<Arc<Token>>>,
}

impl Tokens {
    fn live(&self) -> MutexGuard<'_, Vec<Arc<Token>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether whoever changes blocks has to call [`Tokens::overwritten`].
    pub(super) fn are_watched(&self) -> bool {
        self.watched.load(Ordering::Acquire)
    }

    /// Makes a token. If there are too many, the nexus that has most of them loses its oldest one. The error: copies
    /// are using all of them.
    pub(super) fn create(
        &self,
        params: &LuParams,
        owner: NexusId,
        populate: &Populate,
        now_ms: u64,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Arc<Token>, Outcome> {
        let blocks: u64 = populate.ranges.iter().map(|(_, blocks)| blocks).sum();
        let token = Arc::new(Token {
            bytes: encode(params, blocks, random),
            owner,
            ranges: populate.ranges.clone(),
            timeout_ms: u64::from(populate.timeout_s) * 1000,
            revoked: AtomicBool::new(false),
            deleted: AtomicBool::new(false),
            last_used_ms: AtomicU64::new(now_ms),
        });
        let mut live = self.live();
        purge(&mut live, now_ms);
        if live.len() >= limits::ROD_TOKENS {
            let spare = spare(&live, owner).ok_or(Outcome::illegal(asc::INSUFFICIENT_RESOURCES_TO_CREATE_ROD_TOKEN))?;
            live.remove(spare);
        }
        live.push(Arc::clone(&token));
        self.watched.store(true, Ordering::Release);
        Ok(token)
    }

    /// The token with these bytes, if it may be used.
    pub(super) fn find(&self, bytes: &[u8; TOKEN_BYTES], now_ms: u64) -> Result<Arc<Token>, Outcome> {
        let live = self.live();
        // All of them are looked at, so that the time tells nothing about where one is.
        let same = |token: &Token| bool::from(token.bytes[..].ct_eq(&bytes[..]));
        let found = live.iter().fold(None, |found, token| if same(token) { Some(token) } else { found });
        let token = found.ok_or(Outcome::illegal(asc::INVALID_TOKEN_OPERATION_TOKEN_UNKNOWN))?;
        if token.is_revoked() {
            return Err(Outcome::illegal(asc::INVALID_TOKEN_OPERATION_TOKEN_REVOKED));
        }
        if token.is_expired(now_ms) {
            return Err(Outcome::illegal(asc::INVALID_TOKEN_OPERATION_TOKEN_EXPIRED));
        }
        if token.deleted.load(Ordering::Relaxed) {
            return Err(Outcome::illegal(asc::INVALID_TOKEN_OPERATION_TOKEN_DELETED));
        }
        token.touch(now_ms);
        Ok(Arc::clone(token))
    }

    /// Blocks are about to change: tokens for them are revoked.
    #[cold]
    pub(super) fn overwritten(&self, range: (u64, u64), now_ms: u64) {
        let mut live = self.live();
        for token in live.iter() {
            if token.ranges.iter().any(|of_token| overlap(range, *of_token)) {
                token.revoked.store(true, Ordering::Release);
            }
        }
        purge(&mut live, now_ms);
        if live.iter().all(|token| token.is_revoked()) {
            self.watched.store(false, Ordering::Release);
        }
    }
}

impl Token {
    pub(super) fn bytes(&self) -> &[u8; TOKEN_BYTES] {
        &self.bytes
    }

    /// DEL_TKN. It stays on the list while a copy goes on, to be revoked if its blocks change under the copy.
    pub(super) fn delete(&self) {
        self.deleted.store(true, Ordering::Relaxed);
    }
}

/// The place of the token that makes room for one of `owner`. Of the tokens that no copy is using, it is the oldest of
/// the nexus that has most; of `owner` itself, if nobody has more. So nobody keeps others from having some.
fn spare(live: &[Arc<Token>], owner: NexusId) -> Option<usize> {
    let unused = || live.iter().enumerate().filter(|(_, token)| Arc::strong_count(token) == 1);
    let count = |of: NexusId| unused().filter(|(_, token)| token.owner == of).count();
    let (_, most) = unused().max_by_key(|(_, token)| (count(token.owner), token.owner == owner))?;
    let oldest = unused().find(|(_, token)| token.owner == most.owner)?;
    Some(oldest.0)
}

/// Drops tokens that have expired and that no copy is using.
fn purge(live: &mut Vec<Arc<Token>>, now_ms: u64) {
    live.retain(|token| Arc::strong_count(token) > 1 || !token.is_expired(now_ms));
}

/// Where a token has the 16 bytes of a NAA designator.
const NAA_AT: usize = 24;

/// The logical unit that a token says it is of.
pub(super) fn creator(token: &[u8; TOKEN_BYTES]) -> Option<[u8; 16]> {
    token.get(NAA_AT..)?.first_chunk().copied()
}

/// A ROD token (SPC-4 table 131): the creator as a CSCD descriptor, the number of bytes, the device type specific data of
/// SBC-3 table 77, and random bits in the token identifier and at the end.
fn encode(params: &LuParams, blocks: u64, random: &mut dyn FnMut(&mut [u8])) -> Box<[u8; TOKEN_BYTES]> {
    const SECRET_BYTES: usize = 32;
    let mut secret = [0; 8 + SECRET_BYTES];
    random(&mut secret);
    let block_bytes = params.block_bytes.max(1);
    let mut fields = Vec::with_capacity(TOKEN_BYTES);
    fields.extend_from_slice(&POINT_IN_TIME_CHANGE_VULNERABLE.to_be_bytes());
    fields.extend_from_slice(&[0, 0]);
    fields.extend_from_slice(&TOKEN_LENGTH.to_be_bytes());
    fields.extend_from_slice(&secret[..8]);
    fields.extend_from_slice(&[IDENTIFICATION_DESCRIPTOR, 0, 0, 0, 0x01, 0x03, 0, 16]);
    fields.extend_from_slice(&params.naa);
    fields.extend_from_slice(&[0; 4]);
    fields.extend_from_slice(&block_bytes.to_be_bytes());
    fields.extend_from_slice(&u128::from(blocks.saturating_mul(u64::from(block_bytes))).to_be_bytes());
    fields.resize(96, 0);
    fields.extend_from_slice(&block_bytes.to_be_bytes());
    let exponent = (params.physical_block_bytes / block_bytes).max(1).ilog2() as u8;
    fields.extend_from_slice(&[0, exponent, if params.thin { 0xc0 } else { 0 }, 0]);
    fields.resize(TOKEN_BYTES - SECRET_BYTES, 0);
    fields.extend_from_slice(&secret[8..]);
    let mut token = Box::new([0; TOKEN_BYTES]);
    for (byte, field) in token.iter_mut().zip(fields) {
        *byte = field;
    }
    token
}
