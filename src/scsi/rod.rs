//! Representations of data and their tokens (SPC-4 clause 5.17.6, SBC-3 clauses 5.7 and 5.46): what Windows copies with
//! (offloaded data transfer). POPULATE TOKEN turns ranges of a logical unit into a token, WRITE USING TOKEN copies from a
//! token, on this logical unit or another one of the target that the nexus sees.
//!
//! Tokens are of the type "point in time copy, change vulnerable": no data is kept aside, so a token is good until somebody
//! overwrites its blocks, and then it is revoked: by everybody who changes them, just before (a load while there are no
//! tokens). While a token is made nobody changes its blocks: what was under way is in it, what comes later revokes it.
//!
//! A token holds 320 random bits. It is looked up by the logical unit that it names and then compared as a whole in
//! constant time: it cannot be forged, nor guessed a byte at a time. There are at most `limits::ROD_TOKENS` on a logical
//! unit, each for as long as its inactivity timeout; they outlive the nexus, not the process.

use super::cdb::{be16, be32, be64, byte};
use super::copy::{self, CopyKind, CopyRequest};
use super::opcode::{Call, Planned};
use super::params::{LuParams, NexusId};
use super::plan::{MediumOp, Plan};
use super::rw::check_range;
use super::sense::{Outcome, asc};
use crate::limits;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// Bytes of a ROD token.
pub(super) const TOKEN_BYTES: usize = 512;
/// ROD TYPE of our tokens (SPC-4 table 127).
pub(super) const POINT_IN_TIME_CHANGE_VULNERABLE: u32 = 0x0080_0001;
/// ROD TYPE in POPULATE TOKEN: point in time copy, whichever the copy manager has.
const POINT_IN_TIME_ANY: u32 = 0x0080_ffff;
/// ROD TYPE of the token that stands for zeroes (SBC-3 clause 4.29).
pub(super) const ZERO: u32 = 0xffff_0001;
/// ROD TOKEN LENGTH: what follows that field.
const TOKEN_LENGTH: u16 = TOKEN_BYTES as u16 - 8;

const POPULATE_HEADER_BYTES: usize = 16;
const WRITE_HEADER_BYTES: usize = 536;
const RANGE_BYTES: usize = 16;

/// POPULATE TOKEN, its ranges checked against this logical unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Populate {
    pub(super) list_id: u32,
    pub(super) timeout_s: u32,
    /// LBA and number of blocks; in the order of the ROD.
    pub(super) ranges: Vec<(u64, u64)>,
}

/// WRITE USING TOKEN, its ranges checked against this logical unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WriteUsingToken {
    pub(super) list_id: u32,
    /// IMMED: status when it has begun.
    pub(super) immediate: bool,
    /// DEL_TKN: the token is not to be used again.
    pub(super) delete: bool,
    /// OFFSET INTO ROD, blocks.
    pub(super) offset: u64,
    pub(super) token: Box<[u8; TOKEN_BYTES]>,
    pub(super) ranges: Vec<(u64, u64)>,
}

pub(super) fn populate_token(call: &mut Call) -> Planned {
    copy::list_length(call, POPULATE_HEADER_BYTES)
}

/// IMMED is accepted and changes nothing: the token is made when what is under way in its blocks is over.
pub(super) fn populate_token_list(call: &mut Call, list: &[u8]) -> Planned {
    const RTV: u8 = 0x02;
    let (list_bytes, list) = copy::whole_list(call, list)?;
    let timeout_s = be32(list, 4);
    if timeout_s > limits::ROD_MAX_TIMEOUT_S {
        return Err(Outcome::invalid_list_field(4, 7));
    }
    if byte(list, 2) & RTV != 0 && !matches!(be32(list, 8), POINT_IN_TIME_CHANGE_VULNERABLE | POINT_IN_TIME_ANY) {
        return Err(Outcome::invalid_list_field(8, 7));
    }
    let ranges = ranges(call, list, POPULATE_HEADER_BYTES)?;
    let timeout_s = if timeout_s == 0 { limits::ROD_DEFAULT_TIMEOUT_S } else { timeout_s };
    let kind = CopyKind::Populate(Populate { list_id: be32(call.cdb, 6), timeout_s, ranges });
    Ok(Plan::Medium(MediumOp::Copy(Box::new(CopyRequest { list_bytes, kind }))))
}

pub(super) fn write_using_token(call: &mut Call) -> Planned {
    copy::list_length(call, WRITE_HEADER_BYTES)
}

pub(super) fn write_using_token_list(call: &mut Call, list: &[u8]) -> Planned {
    const IMMED: u8 = 0x01;
    const DEL_TKN: u8 = 0x02;
    const TOKEN_AT: usize = 16;
    let (list_bytes, list) = copy::whole_list(call, list)?;
    let Some(token) = list.get(TOKEN_AT..).and_then(|list| list.first_chunk::<TOKEN_BYTES>()) else {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    };
    if !matches!(be32(token, 0), POINT_IN_TIME_CHANGE_VULNERABLE | ZERO) {
        return Err(Outcome::illegal(asc::INVALID_TOKEN_OPERATION_UNSUPPORTED_TOKEN_TYPE));
    }
    if be16(token, 6) != TOKEN_LENGTH {
        return Err(Outcome::illegal(asc::INVALID_TOKEN_OPERATION_INVALID_TOKEN_LENGTH));
    }
    let ranges = ranges(call, list, WRITE_HEADER_BYTES)?;
    let flags = byte(list, 2);
    let kind = CopyKind::Write(WriteUsingToken {
        list_id: be32(call.cdb, 6),
        immediate: flags & IMMED != 0,
        delete: flags & DEL_TKN != 0,
        offset: be64(list, 8),
        token: Box::new(*token),
        ranges,
    });
    Ok(Plan::Medium(MediumOp::Copy(Box::new(CopyRequest { list_bytes, kind }))))
}

/// The block device range descriptors behind a header of `header` bytes, whose last two say how long they are. Each is
/// inside the medium, and none overlaps another (SBC-3 clause 5.7.3). Ranges of no blocks are left out.
fn ranges(call: &Call, list: &[u8], header: usize) -> Result<Vec<(u64, u64)>, Outcome> {
    let length_at = header as u16 - 2;
    let data_bytes = usize::from(be16(list, 0)) + 2;
    let bytes = usize::from(be16(list, header - 2));
    if bytes % RANGE_BYTES != 0 || bytes == 0 {
        return Err(Outcome::invalid_list_field(length_at, 7));
    }
    if bytes > limits::ROD_RANGES * RANGE_BYTES {
        return Err(Outcome::illegal_list(asc::TOO_MANY_SEGMENT_DESCRIPTORS, length_at, 7));
    }
    if data_bytes < header + bytes {
        return Err(Outcome::invalid_list_field(0, 7));
    }
    let Some(descriptors) = list.get(header..header + bytes) else {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    };
    let most = limits::MAX_ROD_BYTES / u64::from(call.unit.block_bytes().max(1));
    let mut ranges = Vec::with_capacity(bytes / RANGE_BYTES);
    let mut total: u64 = 0;
    for (n, descriptor) in descriptors.chunks_exact(RANGE_BYTES).enumerate() {
        let (lba, blocks) = (be64(descriptor, 0), u64::from(be32(descriptor, 8)));
        check_range(call.unit, lba, blocks)?;
        total += blocks;
        if total > most {
            return Err(Outcome::invalid_list_field((header + n * RANGE_BYTES + 8) as u16, 7));
        }
        if blocks > 0 {
            ranges.push((lba, blocks));
        }
    }
    let mut sorted = ranges.clone();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| overlap(pair[0], pair[1])) {
        return Err(Outcome::invalid_list_field(header as u16, 7));
    }
    Ok(ranges)
}

pub(super) fn overlap(a: (u64, u64), b: (u64, u64)) -> bool {
    a.0 < b.0.saturating_add(b.1) && b.0 < a.0.saturating_add(a.1)
}

/// A token and what it stands for.
#[derive(Debug)]
pub(super) struct Token {
    bytes: Box<[u8; TOKEN_BYTES]>,
    owner: NexusId,
    pub(super) ranges: Vec<(u64, u64)>,
    timeout: Duration,
    /// Its blocks were overwritten.
    revoked: AtomicBool,
    deleted: AtomicBool,
    last_used: Mutex<Instant>,
}

impl Token {
    pub(super) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    fn is_expired(&self, now: Instant) -> bool {
        let used = *self.last_used.lock().unwrap_or_else(PoisonError::into_inner);
        now.saturating_duration_since(used) > self.timeout
    }

    fn touch(&self, now: Instant) {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner) = now;
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

    /// Whether who changes blocks has to call [`Tokens::overwritten`].
    pub(super) fn are_watched(&self) -> bool {
        self.watched.load(Ordering::Acquire)
    }

    /// Makes a token. If there are too many, who has most of them loses its oldest one.
    pub(super) fn create(
        &self,
        params: &LuParams,
        owner: NexusId,
        populate: &Populate,
        now: Instant,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Arc<Token>, Outcome> {
        let blocks: u64 = populate.ranges.iter().map(|(_, blocks)| blocks).sum();
        let token = Arc::new(Token {
            bytes: encode(params, blocks, random),
            owner,
            ranges: populate.ranges.clone(),
            timeout: Duration::from_secs(u64::from(populate.timeout_s)),
            revoked: AtomicBool::new(false),
            deleted: AtomicBool::new(false),
            last_used: Mutex::new(now),
        });
        let mut live = self.live();
        purge(&mut live, now);
        if live.len() >= limits::ROD_TOKENS {
            let spare = spare(&live, owner).ok_or(Outcome::illegal(asc::INSUFFICIENT_RESOURCES_TO_CREATE_ROD_TOKEN))?;
            live.remove(spare);
        }
        live.push(Arc::clone(&token));
        self.watched.store(true, Ordering::Release);
        Ok(token)
    }

    /// The token with these bytes, if it may be used.
    pub(super) fn find(&self, bytes: &[u8; TOKEN_BYTES], now: Instant) -> Result<Arc<Token>, Outcome> {
        let live = self.live();
        // All of them are looked at, so that the time tells nothing about where one is.
        let same = |token: &Token| bool::from(token.bytes[..].ct_eq(&bytes[..]));
        let found = live.iter().fold(None, |found, token| if same(token) { Some(token) } else { found });
        let token = found.ok_or(Outcome::illegal(asc::INVALID_TOKEN_OPERATION_TOKEN_UNKNOWN))?;
        if token.is_revoked() {
            return Err(Outcome::illegal(asc::INVALID_TOKEN_OPERATION_TOKEN_REVOKED));
        }
        if token.is_expired(now) {
            return Err(Outcome::illegal(asc::INVALID_TOKEN_OPERATION_TOKEN_EXPIRED));
        }
        if token.deleted.load(Ordering::Relaxed) {
            return Err(Outcome::illegal(asc::INVALID_TOKEN_OPERATION_TOKEN_DELETED));
        }
        token.touch(now);
        Ok(Arc::clone(token))
    }

    /// Blocks are about to change: tokens for them are revoked.
    #[cold]
    pub(super) fn overwritten(&self, range: (u64, u64), now: Instant) {
        let mut live = self.live();
        for token in live.iter() {
            if token.ranges.iter().any(|of_token| overlap(range, *of_token)) {
                token.revoked.store(true, Ordering::Release);
            }
        }
        purge(&mut live, now);
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

/// The place of the token that makes room for one of `owner`: the oldest that no copy is using, of the nexus that has most of
/// those; of `owner` itself, if nobody has more. So nobody keeps others from having some.
fn spare(live: &[Arc<Token>], owner: NexusId) -> Option<usize> {
    let unused = || live.iter().enumerate().filter(|(_, token)| Arc::strong_count(token) == 1);
    let count = |of: NexusId| unused().filter(|(_, token)| token.owner == of).count();
    let (_, most) = unused().max_by_key(|(_, token)| (count(token.owner), token.owner == owner))?;
    let oldest = unused().find(|(_, token)| token.owner == most.owner)?;
    Some(oldest.0)
}

/// Drops tokens that have expired and that no copy is using.
fn purge(live: &mut Vec<Arc<Token>>, now: Instant) {
    live.retain(|token| Arc::strong_count(token) > 1 || !token.is_expired(now));
}

/// The 16 bytes of a NAA designator in a token, and where it has them.
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
    fields.extend_from_slice(&[copy::IDENTIFICATION_DESCRIPTOR, 0, 0, 0, 0x01, 0x03, 0, 16]);
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
