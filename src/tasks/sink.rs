//! What the executor asks of those whose commands it carries out: the transport that data and answers go out by, and the
//! device server's knowledge of who asked.
//!
//! The executor names a command by its seat and task, and knows nothing else of it: no PDU, no connection, no session.
//! Nothing here calls the executor back. What a call has set off (a session that has events, tasks to be aborted) is
//! noted by the sink, and acted on when the executor has returned.

use crate::backend::Queue;
use crate::buffers::Buf;
use crate::model::{DataRef, ItNexus, MediumFault, TaskId};
use crate::noise::Noise;
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
    pub holder: (usize, u64),
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
    pub units: Vec<usize>,
    /// Index of the target, and serial number of the session that asked.
    pub of: (usize, u64),
    /// The initiator port that asked, and the tag of the portal group that it came by.
    pub nexus: (crate::model::InitiatorPort, u16),
}

/// A command that has taken effect, and whose answer waits until tasks are aborted.
pub struct Preempting {
    /// Who is answered: seat, task, what, and the bytes of its parameter list. `None`: nobody any more.
    pub answer: Option<(usize, TaskId, Outcome, u64)>,
    /// Where the tasks are.
    pub unit: usize,
    /// Whose they are.
    pub nexuses: Vec<ItNexus>,
    /// Its place in the line, which is kept until the tasks are aborted.
    pub standing: Option<Standing>,
}

/// The transport, and who asked.
pub trait Sink {
    /// Takes what goes to media.
    fn queue(&mut self) -> impl Queue;

    /// What the initiator says of a command's data.
    fn expected(&self, who: (usize, TaskId)) -> Expected;

    /// Sends a part of a read's data from `buf`, which is kept until that is out. `copied_from`: the bytes are copied from
    /// there when they are queued. `Err`: there is no room; the task is told when there is. With `must` there always is.
    fn data_in(
        &mut self,
        who: (usize, TaskId),
        part: Part,
        copied_from: Option<DataRef>,
        buf: Buf,
        must: bool,
    ) -> Result<(), Buf>;

    /// Sends a part of a read's data from where it lies in the memory of a unit. Not if a digest is computed over it:
    /// another command could change the bytes between the digest and the copy into the socket. Nor once atomic writes
    /// were asked for: a part may be sent late, with another command's data by then, and an atomic write must not be
    /// seen so.
    fn data_in_place(&mut self, who: (usize, TaskId), part: Part, lying: Lying<'_>, when: InPlaceIf) -> Sent;

    /// Whether data may be sent from where it lies at all.
    fn sends_in_place(&self, who: (usize, TaskId)) -> bool;

    /// How many bytes so many pieces of the transport's have at most.
    fn piece_bytes(&self, who: (usize, TaskId), pieces: u32) -> u32;

    /// Sends parameter data, the first `part.len` bytes of `buf`, with status GOOD.
    fn parameter_data(&mut self, who: (usize, TaskId), part: Part, buf: Buf);

    /// Has the data of a write sent, up to `up_to` of its transfer.
    fn want_data_out(&mut self, who: (usize, TaskId), up_to: u32);

    /// Since when the initiator has owed data of a command, milliseconds.
    fn owes_since_ms(&self, who: (usize, TaskId)) -> Option<u64>;

    /// Answers a command.
    fn complete(&mut self, who: (usize, TaskId), outcome: Outcome, moved: Moved);

    /// Nothing is left of an aborted command.
    fn released(&mut self, who: (usize, TaskId));

    /// Nobody wants any more what a connection's receive puts into the buffer that it was lent.
    fn lent_in_vain(&mut self, conn: usize);

    /// Has the device server judge a parameter list: what it plans, and whose tasks are to be aborted before the command is
    /// answered. `None`: it is not asked, for want of room.
    fn parameters(&mut self, who: (usize, TaskId), unit: usize, list: &[u8]) -> Option<(Plan, Vec<ItNexus>)>;

    /// Has the device server begin a copy.
    fn begin_copy(&mut self, who: (usize, TaskId), unit: usize, request: &CopyRequest) -> Option<CopyBegun>;

    /// Whether who asked has yet to hear of `failures` of a unit. If so, the end of this command tells it.
    fn hear(&mut self, who: (usize, TaskId), unit: usize, failures: u64) -> Heard;

    /// Bounds the lines in the log that peers and media cause.
    fn noise(&mut self) -> &mut Noise;

    /// A job is about to be polled.
    fn polls(&mut self, job: usize);

    /// Has tasks aborted, then a command answered.
    fn preempt(&mut self, preempting: Preempting);

    /// Data that is to be sent once more was read, or could not be.
    fn reread(&mut self, reread: Reread, result: Result<(), MediumFault>);
}
