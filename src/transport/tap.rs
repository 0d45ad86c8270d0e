//! Who looks on at a core: PDUs of the connections that are meant are noted for them, where they are received and where they
//! are queued to be sent.
//!
//! A connection that nobody looks at costs a test of one bit (`Tx::is_traced`, `Receive::traced`). What is noted goes into a
//! buffer that whoever looks on has brought, and takes away for an empty one. Secrets of a login are never in it.
//!
//! Invariant: nothing here waits for who looks on. One who does not come for what was noted is forgotten
//! ([`TRACE_UNASKED_MS`]).

use super::masked::mask;
use super::note::{Notes, Seen, Who};
use crate::limits::{TRACE_DATA_BYTES, TRACE_UNASKED_MS, TRACES};
use crate::model::IscsiName;
use crate::wire::{BHS_LEN, Bhs, Cid, Opcode, Tsih, bhs};
use std::net::SocketAddr;
use std::sync::Arc;

/// Which PDUs are noted, and how much of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of this session; `None`: of all.
    pub session: Option<Tsih>,
    /// Those of sessions at this target, and of logins that name it; `None`: of all, of discovery, too.
    pub target: Option<IscsiName>,
    /// All data that there is, up to [`TRACE_DATA_BYTES`] of each PDU. Else only text and what comes with a response.
    pub data: bool,
}

impl Filter {
    /// Whether connections of this session, at this target, are meant.
    fn means(&self, tsih: Tsih, target: Option<&IscsiName>) -> bool {
        self.session.is_none_or(|session| session == tsih)
            && self.target.as_ref().is_none_or(|meant| target == Some(meant))
    }
}

/// One who looks on.
struct Tap {
    id: u64,
    what: Arc<Filter>,
    notes: Notes,
    /// When it came last for what was noted, milliseconds.
    asked_ms: u64,
}

/// What came of a look.
#[derive(Debug)]
pub enum Looked {
    /// It has begun with this look.
    Begun,
    /// This was noted since the last one.
    Notes(Notes),
    /// There are as many already as there may be.
    Full,
}

/// All who look on at a core.
#[derive(Default)]
pub struct Taps {
    all: [Option<Box<Tap>>; TRACES],
    /// The time of this turn, by the clock of all cores, nanoseconds.
    pub now_ns: u64,
    /// For data that is copied from where others may write.
    pub copied: Vec<u8>,
}

/// What is known of a connection that somebody looks at.
pub struct Traced {
    /// Who: a bit for each place in [`Taps`].
    by: u8,
    who: Who,
    /// The last text goes on in the next PDU: received, sent.
    goes_on: [bool; 2],
    /// The PDU that is coming in, as far as it is kept: header, additional segments, data.
    coming: Option<(Bhs, Vec<u8>, Vec<u8>)>,
}

impl Taps {
    /// Whether nobody looks on.
    pub fn is_empty(&self) -> bool {
        self.all.iter().all(Option::is_none)
    }

    /// Somebody comes for what was noted, with an empty buffer for what will be.
    pub fn look(&mut self, id: u64, what: &Arc<Filter>, empty: Notes) -> Looked {
        let now_ms = self.now_ns / 1_000_000;
        if let Some(tap) = self.all.iter_mut().flatten().find(|tap| tap.id == id) {
            tap.asked_ms = now_ms;
            return Looked::Notes(std::mem::replace(&mut tap.notes, empty));
        }
        let Some(place) = self.all.iter_mut().find(|place| place.is_none()) else { return Looked::Full };
        self.copied.reserve_exact(if what.data { TRACE_DATA_BYTES } else { 0 });
        *place = Some(Box::new(Tap { id, what: Arc::clone(what), notes: empty, asked_ms: now_ms }));
        Looked::Begun
    }

    /// Forgets one who looks on no more. False: there is none.
    pub fn end(&mut self, id: u64) -> bool {
        self.retain(|tap| tap.id != id)
    }

    /// Forgets those who have not come for long. False: there are none.
    pub fn end_unasked(&mut self) -> bool {
        let now_ms = self.now_ns / 1_000_000;
        self.retain(|tap| now_ms < tap.asked_ms.saturating_add(TRACE_UNASKED_MS))
    }

    fn retain(&mut self, stays: impl Fn(&Tap) -> bool) -> bool {
        let mut goes = false;
        for place in &mut self.all {
            goes |= place.take_if(|tap| !stays(tap)).is_some();
        }
        if self.is_empty() {
            self.copied = Vec::new();
        }
        goes
    }

    /// The connection of such a session, as those know it who look at it. `before`: what they knew. `None`: nobody does.
    pub fn traced(&self, who: Who, target: Option<&IscsiName>, before: Option<Box<Traced>>) -> Option<Box<Traced>> {
        let means = |tap: &Tap| tap.what.means(who.tsih, target);
        let bits = self.all.iter().enumerate().filter(|(_, tap)| tap.as_deref().is_some_and(means));
        let by = bits.fold(0, |by, (at, _)| by | 1 << at);
        match before {
            _ if by == 0 => None,
            Some(before) => Some(Box::new(Traced { by, who, ..*before })),
            None => Some(Box::new(Traced { by, who, goes_on: [false; 2], coming: None })),
        }
    }

    /// Whether any data is wanted of a connection besides what is always noted.
    pub fn want_data(&self, traced: &Traced) -> bool {
        self.of(traced.by).any(|tap| tap.what.data)
    }

    fn of(&self, by: u8) -> impl Iterator<Item = &Tap> {
        self.all.iter().enumerate().filter(move |(at, _)| by & 1 << at != 0).filter_map(|(_, tap)| tap.as_deref())
    }

    /// Notes a PDU of a connection for all who look at it.
    pub fn note(&mut self, traced: &mut Traced, seen: &Seen<'_>) {
        let is_text = is_text(seen.bhs);
        let goes_on = &mut traced.goes_on[usize::from(seen.is_sent)];
        let (was_cut, is_cut) = (*goes_on, is_text && bhs::continues(seen.bhs));
        if is_text {
            *goes_on = is_cut;
        }
        let now_ns = self.now_ns;
        for (at, tap) in self.all.iter_mut().enumerate() {
            let Some(tap) = tap.as_mut().filter(|_| traced.by & 1 << at != 0) else { continue };
            let most = if tap.what.data || is_always_noted(seen.bhs) { TRACE_DATA_BYTES } else { 0 };
            let data = &seen.data[..seen.data.len().min(most)];
            let noted = tap.notes.push(now_ns, &traced.who, &Seen { data, ..*seen });
            if let Some(data) = noted.filter(|_| is_text) {
                mask(data, was_cut, is_cut);
            }
        }
    }
}

impl Traced {
    /// It is the connection of a login whose earlier PDUs were not seen: a text may be under way.
    pub fn was_begun(&mut self) {
        self.goes_on = [true; 2];
    }

    /// A PDU is coming in whose data comes in pieces.
    pub fn begin(&mut self, bhs: &Bhs, ahs: &[u8]) {
        self.coming = Some((*bhs, ahs.to_vec(), Vec::new()));
    }

    /// Some of its data has come. `wanted`: all data is noted, where there is room.
    pub fn data(&mut self, bytes: &[u8], wanted: bool) {
        if let Some((bhs, _, data)) = &mut self.coming
            && (wanted || is_always_noted(bhs))
        {
            let left = TRACE_DATA_BYTES - data.len().min(TRACE_DATA_BYTES);
            data.extend_from_slice(&bytes[..bytes.len().min(left)]);
        }
    }

    /// It is there in whole.
    pub fn end(&mut self) -> Option<(Bhs, Vec<u8>, Vec<u8>)> {
        self.coming.take()
    }
}

/// Who a connection is that logs in, by its first Login Request.
pub fn logging_in(header: &Bhs, (peer, local): (SocketAddr, SocketAddr)) -> Who {
    const _: () = assert!(BHS_LEN > 21);
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    Who { tsih: Tsih(word(14)), cid: Cid(word(20)), peer, local }
}

/// The target that a Login Request names.
pub fn named_target(text: &[u8]) -> Option<IscsiName> {
    let value = text.split(|&byte| byte == 0).find_map(|pair| pair.strip_prefix(b"TargetName="))?;
    IscsiName::lenient(std::str::from_utf8(value).ok()?).ok()
}

fn is_text(header: &Bhs) -> bool {
    let is = [Opcode::LOGIN_REQUEST, Opcode::LOGIN_RESPONSE, Opcode::TEXT_REQUEST, Opcode::TEXT_RESPONSE];
    is.contains(&bhs::opcode(header))
}

/// Whether the data of a PDU says what goes on, and is none of a logical unit.
fn is_always_noted(header: &Bhs) -> bool {
    let is = [Opcode::SCSI_RESPONSE, Opcode::REJECT, Opcode::ASYNC_MESSAGE];
    is_text(header) || is.contains(&bhs::opcode(header))
}
