//! The seam between a session and the shard that drives it: events in, PDUs and events out. No payload bytes of LUN data
//! pass through here, only references to them.

use crate::wire::Bhs;
use bytes::Bytes;

pub use crate::model::TaskId;
pub use crate::wire::{DataRef, Payload};

/// A connection's slot in its session (not its CID).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnIx(pub u8);

/// What of a payload is to be copied, as a value that can be kept: to be sent more than once it is shared. LUN data is not
/// in it.
pub(super) fn shared(payload: &Payload<'_>) -> Bytes {
    if let Payload::Bytes(bytes) = payload { Bytes::copy_from_slice(bytes) } else { Bytes::new() }
}

/// Where a session's PDUs go: the transmit side of the shard, or a vector in tests. Adds digests and padding. PDUs of one
/// connection leave in the order they were queued.
pub trait Outbox {
    /// Queues one PDU. The header is complete (StatSN, ExpCmdSN and MaxCmdSN stamped, DataSegmentLength set).
    fn pdu(&mut self, conn: ConnIx, bhs: &Bhs, payload: Payload<'_>);
}

/// Where the data segment of a PDU whose header has just arrived is to be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dest {
    /// Collect it and hand it to `Session::finish`: text, NOP-Out. At most `limits::MAX_CONTROL_DATA_BYTES`.
    Gather,
    /// Immediate data of a SCSI command, which becomes a task only in `Session::finish`: its transfer begins at offset 0
    /// and is `edtl_bytes` long in all.
    Immediate {
        /// Expected Data Transfer Length.
        edtl_bytes: u32,
    },
    /// Data-Out of a live task: goes to `offset` of its transfer.
    Task {
        /// Whose.
        task: TaskId,
        /// Buffer offset.
        offset: u32,
    },
    /// Read over it: an aborted or failed task, a PDU that will be rejected.
    Discard,
}

/// What a session asks of the shard. Taken from `Session::next_event` after each call that may raise some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A command was delivered in CmdSN order: plan it and run it. Once per task.
    Execute(TaskId),
    /// Write data has arrived without a gap up to `received_bytes` of the task's transfer. Only after its `Execute`.
    DataOut {
        /// Whose.
        task: TaskId,
        /// Contiguous bytes received from offset 0.
        received_bytes: u32,
    },
    /// The task was aborted, has broken a rule, or its session is ending: stop it, drop its buffers, then call
    /// `Session::released`. The shard is not to answer it; if it has broken a rule, `released` sends CHECK CONDITION.
    Abort(TaskId),
    /// Commands at this logical unit ended with the connection that they came by, and the session goes on: its nexus is to
    /// be told (RFC 7143 section 11.14.5). Once for each unit, with the `Abort` of the tasks.
    Cleared {
        /// As the initiator addressed it.
        lun: crate::wire::Lun,
    },
    /// A task management function that reaches beyond this session, or has to wait for aborted tasks: carry it out, then
    /// call `Session::tm_complete`. The tasks of this session that it aborts come as `Abort` before it.
    TaskManagement(TmRequest),
    /// Read data of a command has to be sent once more (ErrorRecoveryLevel 1 and 2), whether it has been answered or not:
    /// read this part of its transfer again, then call `Session::resend`. Those of one task in the order they come.
    Resend {
        /// Whose.
        task: TaskId,
        /// Where in its transfer, bytes.
        offset: u32,
        /// How much, bytes: never across a boundary of the `Session::data_in` calls that sent it first.
        len: u32,
    },
    /// Send what is queued on the connection, then close it.
    Close {
        /// Which.
        conn: ConnIx,
        /// Why, for the log.
        reason: CloseReason,
    },
    /// The session is over: all its connections are to be closed. Nothing more will be asked of it.
    Ended {
        /// Why, for the log.
        reason: CloseReason,
    },
}

/// How a command has ended, as the device server says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending<'a> {
    /// SCSI status.
    pub status: u8,
    /// Sense data, without its length.
    pub sense: &'a [u8],
    /// The Response Fence flag (RFC 7143 section 4.2.2.3).
    pub fence: bool,
}

impl<'a> Ending<'a> {
    /// One that needs no fence.
    #[inline]
    pub fn new(status: u8, sense: &'a [u8]) -> Ending<'a> {
        Ending { status, sense, fence: false }
    }
}

/// A task management function to be carried out by the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TmRequest {
    /// Slot of the request, handed back in `tm_complete`.
    pub id: u8,
    /// Which function (RFC 7143 section 11.5.1).
    pub function: crate::wire::TmFunction,
    /// The logical unit it addresses.
    pub lun: crate::wire::Lun,
}

/// Why a connection or session ends, for the log and the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The initiator logged out.
    Logout,
    /// A newer login of the same initiator port replaced it (RFC 7143 sections 6.3.4, 6.3.5).
    Reinstated,
    /// No answer to a NOP-In.
    NopTimeout,
    /// No complete login in time.
    LoginTimeout,
    /// The login was refused.
    LoginRefused,
    /// The peer closed it or it broke.
    Disconnected,
    /// A digest did not match and recovery is not agreed upon.
    Digest,
    /// The peer broke a rule that ends the connection or session (RFC 7143 section 7.7); the text names it.
    Protocol(&'static str),
    /// A reset that closes connections (TARGET COLD RESET).
    Reset,
    /// The server is shutting down.
    Shutdown,
    /// Who looks after the target had the session dropped.
    Dropped,
}

impl CloseReason {
    /// What it is called where it is counted.
    pub const fn word(self) -> &'static str {
        match self {
            CloseReason::Logout => "logout",
            CloseReason::Reinstated => "reinstated",
            CloseReason::NopTimeout => "nop timeout",
            CloseReason::LoginTimeout => "login timeout",
            CloseReason::LoginRefused => "login refused",
            CloseReason::Disconnected => "disconnected",
            CloseReason::Digest => "digest error",
            CloseReason::Protocol(_) => "protocol error",
            CloseReason::Reset => "reset",
            CloseReason::Shutdown => "shutdown",
            CloseReason::Dropped => "dropped",
        }
    }
}

/// The end of a command's Data-In.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataInEnd {
    /// Bytes that the CDB asked to transfer, whatever the initiator expected.
    pub transfer_bytes: u64,
}

/// Which way a command's data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// No data.
    None,
    /// To the initiator.
    In,
    /// From the initiator.
    Out,
}
