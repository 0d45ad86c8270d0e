//! The connections of a host: bytes to PDUs and back, and what comes of them for the host to judge.

use super::net::Net;
use super::views::ViewIx;
use crate::initiator::event::{End, Event, Joined, Residual, Sink, TaskIx};
use crate::initiator::login::{LoggedIn, Login, LoginError, Step};
use crate::initiator::outbox::{Bytes, DataRef, Digests, Outbox, Outgoing, Payload, encode};
use crate::initiator::receive::{Broken, Receiver};
use crate::initiator::session::Session;
use crate::wire::{AsyncEvent, Bhs, Cid, Itt, LoginResponse, LoginStatus, LogoutResult, RejectReason, TmResponse};
use std::collections::VecDeque;

/// A command's data lies in the area of its place, at the low half of a [`DataRef`]; the place is the high half.
const PLACE_SHIFT: u32 = 32;

/// Where the data of the command at a place lies.
pub fn data_of(place: TaskIx) -> DataRef {
    DataRef(u64::from(place.0) << PLACE_SHIFT)
}

/// What a host is told, to be looked at when all of it has come.
#[derive(Debug)]
pub enum Told {
    /// A command has ended.
    Ended(TaskIx, Ending),
    /// It has ended with its connection.
    Cleared(TaskIx),
    /// The answer to a ping.
    Pong(Itt, Vec<u8>),
    /// The answer to a task management function.
    Managed(Itt, TmResponse),
    /// The answer to a logout.
    LoggedOut(Itt, LogoutResult),
    /// An Asynchronous Message: its event, the connection that it has come by, and the code of its sense data.
    Message(AsyncEvent, Cid, Option<u16>),
    /// A PDU was rejected: why, and its header, if it was sent back.
    Rejected(RejectReason, Option<Bhs>),
}

impl Told {
    /// The tag of the request that this is the answer to.
    pub fn request(&self) -> Option<Itt> {
        match self {
            Told::Pong(itt, _) | Told::Managed(itt, _) | Told::LoggedOut(itt, _) => Some(*itt),
            Told::Ended(..) | Told::Cleared(_) | Told::Message(..) | Told::Rejected(..) => None,
        }
    }
}

/// How a command has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The iSCSI service response.
    pub response: u8,
    /// The SCSI status.
    pub status: u8,
    /// What was not transferred.
    pub residual: Residual,
    /// Bytes of read data that have come.
    pub received_bytes: u32,
    /// Sense key, and additional sense code with its qualifier.
    pub sense: Option<(u8, u16)>,
    /// The INFORMATION field, if it is valid.
    pub information: Option<u64>,
}

impl Ending {
    fn new(end: &End<'_>) -> Ending {
        Ending {
            response: end.response,
            status: end.status,
            residual: end.residual,
            received_bytes: end.received_bytes,
            sense: end.sense_codes(),
            information: end.information(),
        }
    }
}

/// What comes in.
#[derive(Debug, Default)]
pub struct Inbox {
    /// What has been read, by place.
    pub read: Vec<Vec<u8>>,
    /// What has happened since this was looked at.
    pub told: VecDeque<Told>,
    /// The connection by which something comes.
    pub by: Cid,
}

impl Sink for Inbox {
    fn data_in(&mut self, task: TaskIx, offset: u32, bytes: &[u8]) {
        let place = &mut self.read[usize::from(task.0)];
        let end = offset as usize + bytes.len();
        place.resize(place.len().max(end), 0xdd);
        place[offset as usize..end].copy_from_slice(bytes);
    }

    fn event(&mut self, event: Event<'_>) {
        self.told.push_back(match event {
            Event::Ended { task, end, .. } => Told::Ended(task, Ending::new(&end)),
            Event::Cleared { task } => Told::Cleared(task),
            Event::Pong { itt, data } => Told::Pong(itt, data.to_vec()),
            Event::Managed { itt, response, .. } => Told::Managed(itt, response),
            Event::LoggedOut { itt, response, .. } => Told::LoggedOut(itt, response),
            Event::Message(message, data) => Told::Message(message.event, self.by, code(data)),
            Event::Rejected { reason, header } => Told::Rejected(reason, header.copied()),
            Event::Text(answer) => panic!("a text that nobody asked for: {answer:?}"),
        });
    }
}

/// The additional sense code, with its qualifier, of the sense data in a data segment.
fn code(data: &[u8]) -> Option<u16> {
    let (residual, bidi_residual) = (Residual::None, Residual::None);
    let end = End { response: 0, status: 0, status_qualifier: 0, residual, bidi_residual, received_bytes: 0, data };
    end.sense_codes().map(|(_, code)| code)
}

/// Where a connection stands.
#[derive(Debug)]
enum Phase {
    Login(Box<Login>),
    Full,
}

/// One connection.
#[derive(Debug)]
pub struct Way {
    /// Its number in the session.
    pub cid: Cid,
    /// Its line.
    pub line: usize,
    /// When it was opened.
    pub since_ms: u64,
    /// The view that all cores had then.
    pub view: ViewIx,
    /// Nothing is read from it before.
    pub deaf_until_ms: u64,
    /// It is gone, and that was counted among what unit attentions have come of.
    pub is_said_gone: bool,
    phase: Phase,
    digests: Digests,
    receiver: Receiver,
    out: Vec<u8>,
}

impl Way {
    /// A connection that begins to log in.
    pub fn new(cid: Cid, line: usize, mut login: Login, max_recv_bytes: u32, now: (u64, ViewIx)) -> Way {
        let (digests, mut out) = (Digests::default(), Vec::new());
        login.begin(&mut Bytes { out: &mut out, area: &[], digests });
        let (phase, receiver) = (Phase::Login(Box::new(login)), Receiver::new(max_recv_bytes));
        let (since_ms, view) = now;
        Way { cid, line, since_ms, view, deaf_until_ms: 0, is_said_gone: false, phase, digests, receiver, out }
    }

    /// It is in full feature phase.
    pub fn is_full(&self) -> bool {
        matches!(self.phase, Phase::Full)
    }

    /// Damage is noticed.
    pub fn is_guarded(&self) -> bool {
        self.is_full() && self.digests.header && self.digests.data
    }

    /// Takes PDUs of the login from the front of `chunk`, until that is over. Returns what it has come to, if it has.
    /// `may_be_shut_out`: the host may have no access at the moment.
    ///
    /// # Errors
    /// Why it has failed; empty: it may be tried again, or a new session instead.
    pub fn log_in(&mut self, chunk: &mut &[u8], may_be_shut_out: bool) -> Result<Option<LoggedIn>, String> {
        let Phase::Login(login) = &mut self.phase else { return Ok(None) };
        while let Some(pdu) = self.receiver.whole(chunk).map_err(|error| error.to_string())? {
            let response = LoginResponse::parse(&pdu.bhs).map_err(|error| error.to_string())?;
            let mut out = Bytes { out: &mut self.out, area: &[], digests: self.digests };
            match login.response(&response, &pdu.data, &mut out) {
                Ok(Step::Going) => {}
                Ok(Step::Done(done)) => {
                    self.digests = done.params.digests;
                    self.receiver.set_digests(self.digests);
                    self.phase = Phase::Full;
                    return Ok(Some(done));
                }
                Ok(moved) => return Err(format!("{moved:?}")),
                Err(LoginError::Refused(status)) if is_for_now(status) => return Err(String::new()),
                Err(LoginError::Refused(LoginStatus::AUTHORIZATION_FAILURE)) if may_be_shut_out => {
                    return Err(String::new());
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(None)
    }

    /// Gives what is queued to the line.
    pub fn flush(&mut self, net: &mut impl Net) {
        if !self.out.is_empty() {
            net.send(self.line, &self.out);
            self.out.clear();
        }
    }
}

/// Whether a login that was refused may be tried again, or a new session instead.
fn is_for_now(status: LoginStatus) -> bool {
    status.class == 3 || [LoginStatus::SESSION_DOES_NOT_EXIST, LoginStatus::TOO_MANY_CONNECTIONS].contains(&status)
}

/// The connections of a host, and what its commands write.
#[derive(Debug, Default)]
pub struct Ways {
    /// The connections.
    pub ways: Vec<Way>,
    /// What is written, by place.
    pub areas: Vec<Vec<u8>>,
    /// The next PDU that has data is to have a wrong digest, if there is one.
    pub spoils_next: bool,
    /// So many have had.
    pub spoilt: u64,
}

impl Outbox for Ways {
    fn pdu(&mut self, pdu: &Outgoing<'_>) {
        let Some(way) = self.ways.iter_mut().find(|way| way.cid == pdu.cid) else { return };
        let data = match pdu.payload {
            Payload::None => &[],
            Payload::Bytes(bytes) => bytes,
            Payload::Data { at, len } => {
                let offset = at.0 as u32 as usize;
                &self.areas[(at.0 >> PLACE_SHIFT) as usize][offset..offset + len as usize]
            }
        };
        let mut pdu = *pdu;
        if self.spoils_next && way.digests.data && matches!(pdu.payload, Payload::Data { .. }) {
            (pdu.spoilt.data, self.spoils_next) = (true, false);
            self.spoilt += 1;
        }
        encode(&pdu, data, way.digests, &mut way.out);
    }
}

impl Ways {
    /// The connection of this number.
    pub fn way(&self, cid: Cid) -> Option<&Way> {
        self.ways.iter().find(|way| way.cid == cid)
    }

    /// Hands bytes to the session.
    ///
    /// # Errors
    /// [`Broken`]: the connection is to be closed.
    pub fn receive(&mut self, cid: Cid, chunk: &[u8], session: &mut Session, inbox: &mut Inbox) -> Result<(), Broken> {
        let Some(at) = self.ways.iter().position(|way| way.cid == cid) else { return Ok(()) };
        inbox.by = cid;
        // What is sent while it receives goes by this connection, too.
        let mut receiver = std::mem::replace(&mut self.ways[at].receiver, Receiver::new(0));
        let received = receiver.receive(chunk, cid, session, &mut Joined { outbox: &mut *self, sink: inbox });
        if let Some(way) = self.ways.get_mut(at) {
            way.receiver = receiver;
        }
        received
    }
}
