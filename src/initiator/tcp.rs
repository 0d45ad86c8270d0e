//! The driver over TCP, with sockets that block: [`Line`] is a connection, PDU by PDU; [`Initiator`] a session with one
//! connection and one command at a time.
//!
//! This is the one file of `src` outside of the server's that has sockets, and the one of this module that has a clock.

use super::command::Command;
use super::event::{End, Event, Joined, Residual, Sink, TaskIx};
use super::login::{Identity, LoggedIn, Login, LoginError, Security, Step};
use super::outbox::{Bytes, DataRef, Digests, Outbox, Outgoing};
use super::params::Offer;
use super::receive::{Arrived, Broken, Receiver};
use super::session::{Refused, Session};
use super::stamp::Continued;
use crate::limits;
use crate::wire::{
    AsyncMessage, Cid, FrameError, Itt, LoginResponse, LogoutReason, LogoutResult, RejectReason, ScsiResponse,
    WireError,
};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Bytes that are received at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// Why a connection, or what was asked by it, failed. It is to be closed, but after [`TcpError::Refused`].
#[derive(Debug, thiserror::Error)]
pub enum TcpError {
    /// The socket.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// The target says nothing for so long.
    #[error("the target does not answer")]
    Silent,
    /// The login.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The target is elsewhere.
    #[error("the target has moved to {0}")]
    Moved(String),
    /// The target breaks the protocol.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// What is asked cannot be sent.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The target rejects a PDU.
    #[error("a PDU is rejected: {0}")]
    Rejected(RejectReason),
    /// A PDU of a login that is none.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl From<FrameError> for TcpError {
    fn from(error: FrameError) -> Self {
        TcpError::Broken(error.into())
    }
}

/// A connection.
#[derive(Debug)]
pub struct Line {
    /// Its socket, which blocks.
    pub socket: TcpStream,
    /// What has been queued and is not sent yet.
    pub out: Vec<u8>,
    digests: Digests,
    receiver: Receiver,
    input: Vec<u8>,
}

impl Line {
    /// Connects. `max_recv_bytes`: the longest data segment that is taken.
    ///
    /// # Errors
    /// The socket's.
    pub fn connect(address: SocketAddr, max_recv_bytes: u32) -> io::Result<Line> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        Ok(Line::over(socket, max_recv_bytes))
    }

    /// By a socket that is connected.
    pub fn over(socket: TcpStream, max_recv_bytes: u32) -> Line {
        let (digests, receiver) = (Digests::default(), Receiver::new(max_recv_bytes));
        Line { socket, out: Vec::new(), digests, receiver, input: Vec::new() }
    }

    /// The socket, what is in force on it, and the receiver, for a driver of another kind.
    pub fn into_parts(self) -> (TcpStream, Digests, Receiver) {
        (self.socket, self.digests, self.receiver)
    }

    /// The digests in force.
    pub fn digests(&self) -> Digests {
        self.digests
    }

    /// From now on these are sent, and asked of the target.
    pub fn set_digests(&mut self, digests: Digests) {
        self.digests = digests;
        self.receiver.set_digests(digests);
    }

    /// Whether nothing of a PDU has come that is not complete.
    pub fn is_between_pdus(&self) -> bool {
        self.receiver.is_between_pdus()
    }

    /// The way out: what is put there is queued. `area` has the data of commands.
    pub fn outbox<'a>(&'a mut self, area: &'a [u8]) -> Bytes<'a> {
        Bytes { out: &mut self.out, area, digests: self.digests }
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// The socket's.
    pub fn flush(&mut self) -> io::Result<()> {
        let sent = self.socket.write_all(&self.out);
        self.out.clear();
        sent
    }

    /// The next PDU; `None`: nothing whole came within that time. Nothing of what follows the PDU is taken from the socket.
    ///
    /// # Errors
    /// The socket's, an end of the stream among them, or of the boundaries of PDUs.
    pub fn next(&mut self, within: Duration) -> Result<Option<Arrived>, TcpError> {
        let end = Instant::now() + within;
        loop {
            // A time of nothing would be none.
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left))?;
            let wanted = self.receiver.wanted();
            let Some(bytes) = self.read(wanted)? else { return Ok(None) };
            let mut chunk = self.input.get(..bytes).unwrap_or_default();
            if let Some(pdu) = self.receiver.whole(&mut chunk)? {
                return Ok(Some(pdu));
            }
        }
    }

    /// Receives at most `most` bytes, which are at the front of `input`; `None`: none came in time.
    fn read(&mut self, most: usize) -> io::Result<Option<usize>> {
        self.input.resize(most.max(self.input.len()), 0);
        let room = self.input.get_mut(..most).unwrap_or_default();
        loop {
            match self.socket.read(room) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => return Ok(Some(bytes)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Plays a login to its end.
    ///
    /// # Errors
    /// Any [`TcpError`].
    pub fn login(&mut self, mut login: Login, patience: Duration) -> Result<LoggedIn, TcpError> {
        login.begin(&mut self.outbox(&[]));
        loop {
            self.flush()?;
            let pdu = self.next(patience)?.ok_or(TcpError::Silent)?;
            //= RFC 7143 section 4.2.4
            //# If the initiator receives any PDU except a Login Response,
            //# it MUST immediately terminate the connection.
            let response = LoginResponse::parse(&pdu.bhs)?;
            match login.response(&response, &pdu.data, &mut self.outbox(&[]))? {
                Step::Going => {}
                Step::Done(done) => {
                    self.set_digests(done.params.digests);
                    return Ok(done);
                }
                Step::Moved { address, .. } => return Err(TcpError::Moved(address)),
            }
        }
    }

    /// Receives once, and hands what has come to the session. What that sends is queued; `area` has the data of commands.
    /// Returns whether anything has come within the time that the socket waits.
    ///
    /// # Errors
    /// Any [`TcpError`].
    pub fn receive(
        &mut self,
        cid: Cid,
        session: &mut Session,
        area: &[u8],
        sink: &mut impl Sink,
    ) -> Result<bool, TcpError> {
        let Some(bytes) = self.read(CHUNK_BYTES)? else { return Ok(false) };
        let outbox = Bytes { out: &mut self.out, area, digests: self.digests };
        let chunk = self.input.get(..bytes).unwrap_or_default();
        self.receiver.receive(chunk, cid, session, &mut Joined { outbox, sink })?;
        Ok(true)
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The iSCSI service response.
    pub response: u8,
    /// The SCSI status.
    pub status: u8,
    /// What was not transferred, or would have been.
    pub residual: Residual,
    /// Sense key, and additional sense code with its qualifier.
    pub sense: Option<(u8, u16)>,
    /// What was read.
    pub data: Vec<u8>,
}

impl Outcome {
    /// Completed, with the status GOOD.
    pub fn is_good(&self) -> bool {
        self.response == ScsiResponse::COMMAND_COMPLETED && self.status == 0
    }

    /// A unit attention: the command was not carried out, and is to be sent again.
    pub fn is_unit_attention(&self) -> bool {
        matches!(self.sense, Some((6, _)))
    }
}

/// What comes in for one request at a time.
#[derive(Default)]
struct Inbox {
    data: Vec<u8>,
    outcome: Option<Outcome>,
    answered: Option<Itt>,
    text: Vec<u8>,
    goes_on: Option<(Continued, bool)>,
    logged_out: Option<LogoutResult>,
    rejected: Option<RejectReason>,
    message: Option<AsyncMessage>,
}

impl Inbox {
    fn ended(&mut self, itt: Itt, end: &End<'_>) {
        let (response, status, residual, sense) = (end.response, end.status, end.residual, end.sense_codes());
        let mut data = std::mem::take(&mut self.data);
        data.truncate(end.received_bytes as usize);
        self.outcome = Some(Outcome { response, status, residual, sense, data });
        self.answered = Some(itt);
    }
}

impl Sink for Inbox {
    fn data_in(&mut self, _: TaskIx, offset: u32, bytes: &[u8]) {
        // The session has checked that it is within what the command reads.
        let (from, to) = (offset as usize, offset as usize + bytes.len());
        if self.data.len() < to {
            self.data.resize(to, 0);
        }
        self.data.get_mut(from..to).unwrap_or_default().copy_from_slice(bytes);
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Ended { itt, end, .. } => self.ended(itt, &end),
            Event::Text(answer) => {
                self.text.extend_from_slice(answer.text);
                let of = Continued { itt: answer.itt, ttt: answer.ttt, lun: answer.lun };
                self.goes_on = (!answer.is_final).then_some((of, answer.cont));
                self.answered = Some(answer.itt);
            }
            Event::LoggedOut { itt, response, .. } => {
                self.logged_out = Some(response);
                self.answered = Some(itt);
            }
            Event::Pong { itt, .. } | Event::Managed { itt, .. } => self.answered = Some(itt),
            Event::Rejected { reason, .. } => self.rejected = Some(reason),
            Event::Message(message, _) => self.message = Some(message),
            Event::Cleared { .. } => {}
        }
    }
}

/// A session with one connection, one request at a time. For more than that take [`Line`] and [`Session`] themselves.
///
/// ```no_run
/// use ringsan::initiator::command::Command;
/// use ringsan::initiator::login::{Identity, Security};
/// use ringsan::initiator::params::Offer;
/// use ringsan::initiator::tcp::Initiator;
/// use ringsan::wire::{Cid, CmdSn, Isid, Lun, Tsih};
///
/// let identity = Identity {
///     initiator: "iqn.2001-04.com.example:host".into(),
///     target: Some("iqn.2001-04.com.example:disk".into()),
///     isid: Isid([0x80, 0, 0, 0, 0, 1]),
///     tsih: Tsih(0),
///     cid: Cid(0),
///     cmd_sn: CmdSn(1),
/// };
/// let mut initiator = Initiator::login("127.0.0.1:3260".parse()?, identity, Offer::usual(), Security::None)?;
/// let inquiry = [0x12, 0, 0, 0, 36, 0];
/// let outcome = initiator.command(&Command::new(Lun::flat(0), &inquiry).reading(36), &[])?;
/// assert!(outcome.is_good());
/// initiator.logout()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Initiator {
    line: Line,
    session: Session,
    cid: Cid,
    inbox: Inbox,
    /// No answer for so long is an error.
    pub patience: Duration,
}

impl Initiator {
    /// Connects and logs in.
    ///
    /// # Errors
    /// Any [`TcpError`].
    pub fn login(
        portal: SocketAddr,
        identity: Identity,
        offer: Offer,
        security: Security,
    ) -> Result<Initiator, TcpError> {
        Initiator::over(Line::connect(portal, offer.own_max_recv_bytes())?, identity, offer, security, 1)
    }

    /// Logs in by a connection, for a session of `depth` commands.
    ///
    /// # Errors
    /// Any [`TcpError`].
    pub fn over(
        mut line: Line,
        identity: Identity,
        offer: Offer,
        security: Security,
        depth: u16,
    ) -> Result<Initiator, TcpError> {
        let (cid, cmd_sn) = (identity.cid, identity.cmd_sn);
        let patience = Duration::from_secs(30);
        let done = line.login(Login::new(identity, offer, security), patience)?;
        let session = Session::new(&done, cmd_sn, depth);
        Ok(Initiator { line, session, cid, inbox: Inbox::default(), patience })
    }

    /// The connection and the session, for a driver of another kind.
    pub fn into_parts(self) -> (Line, Session) {
        (self.line, self.session)
    }

    /// What is agreed upon, and the numbers.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The last Asynchronous Message that has come, once.
    pub fn take_message(&mut self) -> Option<AsyncMessage> {
        self.inbox.message.take()
    }

    /// Carries out a command; `data` is what it writes. Its `data` and `write_bytes` are set here.
    ///
    /// # Errors
    /// Any [`TcpError`]; a status that is not good is none.
    pub fn command(&mut self, command: &Command<'_>, data: &[u8]) -> Result<Outcome, TcpError> {
        let command = command.writing(data.len() as u32, DataRef(0));
        let place = self.session.free_place().ok_or(Refused::Taken)?;
        let itt = self.session.issue(self.cid, place, &command, &mut self.line.outbox(data))?;
        self.inbox.data.clear();
        self.wait(itt, data)?;
        self.inbox.outcome.take().ok_or(TcpError::Silent)
    }

    /// Pings.
    ///
    /// # Errors
    /// Any [`TcpError`].
    pub fn ping(&mut self) -> Result<(), TcpError> {
        let itt = self.session.ping(self.cid, &[], &mut self.line.outbox(&[])).ok_or(Refused::NoConnection)?;
        self.wait(itt, &[])
    }

    /// Sends a text, and takes the whole answer, over as many PDUs as it takes.
    ///
    /// # Errors
    /// Any [`TcpError`].
    pub fn text(&mut self, text: &[u8]) -> Result<Vec<u8>, TcpError> {
        self.inbox.text.clear();
        let (mut of, mut text) = (None, text);
        for _ in 0..limits::MAX_TEXT_EXCHANGES {
            let out = &mut self.line.outbox(&[]);
            let itt = self.session.text(self.cid, of, false, text, out).ok_or(Refused::NoConnection)?;
            self.wait(itt, &[])?;
            match self.inbox.goes_on.take() {
                Some((next, _)) if self.inbox.text.len() <= limits::MAX_TEXT_ANSWER_BYTES => of = Some(next),
                _ => break,
            }
            text = &[];
        }
        Ok(std::mem::take(&mut self.inbox.text))
    }

    /// Closes the session in good order.
    ///
    /// # Errors
    /// Any [`TcpError`].
    pub fn logout(mut self) -> Result<LogoutResult, TcpError> {
        let (cid, out) = (self.cid, &mut self.line.outbox(&[]));
        let itt = self.session.logout(cid, LogoutReason::CLOSE_SESSION, cid, out).ok_or(Refused::NoConnection)?;
        self.wait(itt, &[])?;
        self.inbox.logged_out.ok_or(TcpError::Silent)
    }

    /// Waits for the answer to a request.
    fn wait(&mut self, itt: Itt, area: &[u8]) -> Result<(), TcpError> {
        self.inbox.answered = None;
        self.line.socket.set_read_timeout(Some(self.patience))?;
        while self.inbox.answered != Some(itt) {
            self.line.flush()?;
            if !self.line.receive(self.cid, &mut self.session, area, &mut self.inbox)? {
                return Err(TcpError::Silent);
            }
            if let Some(reason) = self.inbox.rejected.take() {
                return Err(TcpError::Rejected(reason));
            }
        }
        Ok(self.line.flush()?)
    }
}

/// A PDU for a connection, queued: for tests.
impl Outbox for Line {
    fn pdu(&mut self, pdu: &Outgoing<'_>) {
        self.outbox(&[]).pdu(pdu);
    }
}
