//! What an executor asks of what is outside of it: the transport that data and answers go out by ([`Sink`]), the device
//! server where it is about who asked ([`DeviceServer`]), and the way to the media ([`ToMedia`]).
//!
//! The executor names a command by its seat and task, and knows nothing else of it: no PDU, no connection, no session.
//! Nothing here calls the executor back. What a call has set off (a session that has events, tasks to be aborted) is
//! noted there, and acted on when the executor has returned.

use crate::backend::Queue;
use crate::buffers::Buf;
use crate::model::{ConnNo, DataRef, Due, ItNexus, MediumFault, SeatIx, TaskId, TaskKey, UnitIx};
use crate::scsi::copy::CopyRequest;
use crate::scsi::{Heard, Outcome, Plan};
use crate::unit::memory_hold::Lying;
use crate::waits::saves::Standing;

/// What the initiator says of a command's data, and what has come of it, bytes.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// The most that it takes.
    pub read_bytes: u32,
    /// What it has to send.
    pub write_bytes: u32,
    /// What of that has come without a gap.
    pub received_bytes: u32,
}

/// What came with a command.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// What the initiator says of its data.
    pub expected: Expected,
    /// Data, as far as it came along.
    pub inline: Option<&'a [u8]>,
}

/// What a command moves if it is carried out whole, bytes: what residual counts are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// Nothing.
    Nothing,
    /// To the initiator.
    In(u64),
    /// From the initiator.
    Out(u64),
}

/// A part of a read's data.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Offset in the transfer.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
    /// Where they are, or are to be by the time that they are sent.
    pub at: DataRef,
    /// With the last part, if the status is GOOD: the bytes that the CDB asks to move.
    pub end: Option<u64>,
}

/// What has become of data that is to be sent from where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is queued.
    Yes,
    /// It is queued, and the task is to wait until it is told to go on: others have their turn.
    YesAndWait,
    /// There is no room: the task is told when there is.
    Wait,
    /// It cannot be sent from there.
    No,
}

/// When data may be sent from where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InPlaceIf {
    /// If there is room now; nobody is told when there is.
    Now,
    /// When there is room: else the task waits. If it is much, others have their turn after it.
    InTurn,
}

/// A read on behalf of a session, of data that is to be sent once more.
pub struct Reread {
    /// Its seat, and its serial number.
    pub holder: (SeatIx, u64),
    /// The task that the data was read for.
    pub task: TaskId,
    /// Offset in its transfer, bytes.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
    /// Bytes in the buffer before `offset`.
    pub lead: u32,
    /// Where the data goes.
    pub buf: Buf,
}

/// A copy that the device server lets begin.
pub struct CopyBegun {
    /// What it has come to.
    pub begun: crate::scsi::copy_begin::Begun,
    /// The units that it may reach, by the numbers that its steps name them by.
    pub units: Vec<UnitIx>,
    /// Index of the target, and serial number of the session that asked.
    pub of: (usize, u64),
    /// The initiator port that asked, and the tag of the portal group that it came by.
    pub nexus: (crate::model::InitiatorPort, u16),
}

/// A command that has taken effect, and whose answer waits until tasks are aborted.
pub struct Preempting {
    /// Who is answered, what, and the bytes of its parameter list. `None`: nobody any more.
    pub answer: Option<(Due, Outcome, u64)>,
    /// Where the tasks are.
    pub unit: UnitIx,
    /// Whose they are.
    pub nexuses: Vec<ItNexus>,
    /// Its place in the line, which is kept until the tasks are aborted.
    pub standing: Option<Standing>,
}

/// What is sent from a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Data of the medium. `copied_from`: the bytes are copied from there when they are queued. `must`: there is room.
    Medium { copied_from: Option<DataRef>, must: bool },
    /// Parameter data, with status GOOD. There always is room.
    Parameters,
}

/// What the transport knows of a command's data.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// What the initiator says of its data.
    pub expected: Expected,
    /// Since when the initiator has owed data of it, milliseconds. `None`: it owes none.
    pub owes_since_ms: Option<u64>,
}

/// What a call has set off beside the data and the end of one command. Nobody waits in the executor for what comes of it.
pub enum SetOff {
    /// Tasks are to be aborted, then a command answered.
    Preempt(Box<Preempting>),
    /// Data that is to be sent once more was read, or could not be.
    Reread(Box<Reread>, Result<(), MediumFault>),
    /// Nobody wants any more what this connection's receive puts into the buffer that it was lent.
    LentInVain(ConnNo),
}

/// How a command's data can be sent.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Bytes of a piece of the transport's.
    pub piece_bytes: u32,
    /// Bytes that are queued at once, at most.
    pub most_bytes: u32,
    /// Data may be sent from where it lies.
    pub in_place: bool,
}

impl Way {
    /// How many bytes so many pieces have at most.
    #[inline]
    pub fn bytes(&self, pieces: u32) -> u32 {
        self.piece_bytes.saturating_mul(pieces).min(self.most_bytes)
    }
}

/// The transport: where data and answers go out.
pub trait Sink {
    /// What it knows of a command's data.
    fn terms(&self, who: TaskKey) -> Terms;

    /// How a command's data can be sent. By itself, for this is asked on the way of every larger read.
    fn way(&self, who: TaskKey) -> Way;

    /// Sends a part of a read's data, or parameter data, from `buf`, which is kept until that is out. `Err`: there is no
    /// room; the task is told when there is.
    fn data_in(&mut self, who: TaskKey, part: Part, body: Body, buf: Buf) -> Result<(), Buf>;

    /// Sends a part of a read's data from where it lies in the memory of a unit. Not if a digest is computed over it:
    /// another command could change the bytes between the digest and the copy into the socket. Nor once atomic writes
    /// were asked for: a part may be sent late, with another command's data by then, and an atomic write must not be
    /// seen so.
    fn data_in_place(&mut self, who: TaskKey, part: Part, lying: Lying<'_>, when: InPlaceIf) -> Sent;

    /// Has the data of a write sent, up to `up_to` of its transfer.
    fn want_data_out(&mut self, who: TaskKey, up_to: u32);

    /// Answers a command.
    fn complete(&mut self, due: Due, outcome: Outcome, moved: Moved);

    /// Nothing is left of an aborted command.
    fn released(&mut self, due: Due);

    /// Has something done that is not about data or the end of one command.
    fn set_off(&mut self, what: SetOff);
}

/// The device server, where who asked counts.
pub trait DeviceServer {
    /// Judges a parameter list: what it plans, and whose tasks are to be aborted before the command is answered. `None`: it
    /// is not asked, for want of room.
    fn parameters(&mut self, who: TaskKey, unit: UnitIx, list: &[u8]) -> Option<(Plan, Vec<ItNexus>)>;

    /// Begins a copy.
    fn begin_copy(&mut self, who: TaskKey, unit: UnitIx, request: &CopyRequest) -> Option<CopyBegun>;

    /// Whether who asked has yet to hear of `failures` of a unit. If so, the end of this command tells it.
    fn hear(&mut self, who: TaskKey, unit: UnitIx, failures: u64) -> Heard;
}

/// The way to the media.
pub trait ToMedia {
    /// Takes what goes to them.
    fn queue(&mut self) -> impl Queue;
}

/// All that is outside of an executor.
pub trait Outside: Sink + DeviceServer + ToMedia {}

impl<T: Sink + DeviceServer + ToMedia> Outside for T {}
