//! The SCSI command of a task: what a SCSI Command PDU says of it (RFC 7143 section 11.3).

use super::seam::ConnIx;
use crate::wire::{Lun, TaskAttr};

/// A CDB: 16 bytes in place, longer ones on the heap (those came with an AHS).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cdb {
    inline: [u8; 16],
    extended: Option<Box<[u8]>>,
}

impl Cdb {
    /// The CDB of a command without AHS.
    #[inline]
    pub fn new(inline: [u8; 16]) -> Self {
        Cdb { inline, extended: None }
    }

    /// Becomes the CDB of a command without AHS.
    #[inline]
    pub(super) fn set(&mut self, inline: [u8; 16]) {
        self.inline = inline;
        if self.extended.is_some() {
            self.extended = None;
        }
    }

    /// A CDB of more than 16 bytes.
    pub fn extended(bytes: &[u8]) -> Self {
        let mut inline = [0; 16];
        inline.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Cdb { inline, extended: Some(bytes.into()) }
    }

    /// All of it, for a device server: nobody else looks into it (`tests/layers`).
    #[inline]
    pub fn for_device_server(&self) -> &[u8] {
        self.extended.as_deref().unwrap_or(&self.inline)
    }
}

/// What the shard needs to know of a SCSI command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskCommand {
    /// The logical unit addressed.
    pub lun: Lun,
    /// The CDB: 16 bytes, or more if an Extended CDB AHS came along.
    pub cdb: Cdb,
    /// Expected Data Transfer Length, bytes; that of the write, if both `read` and `write` are set.
    pub edtl_bytes: u32,
    /// Bidirectional Read Expected Data Transfer Length, bytes; 0 if none was given.
    pub bidi_read_edtl_bytes: u32,
    /// The R bit.
    pub read: bool,
    /// The W bit.
    pub write: bool,
    /// Task attribute.
    pub attr: TaskAttr,
    /// Command priority, 0 to 15 (RFC 7144 section 5.1.1).
    pub priority: u8,
    /// The I bit.
    pub immediate_delivery: bool,
    /// The connection it came on and is answered on.
    pub conn: ConnIx,
    /// Write data received without a gap from offset 0, bytes.
    pub received_bytes: u32,
}

impl TaskCommand {
    /// An empty one, for slots that were never used.
    pub(super) const NONE: TaskCommand = TaskCommand {
        lun: Lun([0; 8]),
        cdb: Cdb { inline: [0; 16], extended: None },
        edtl_bytes: 0,
        bidi_read_edtl_bytes: 0,
        read: false,
        write: false,
        attr: TaskAttr::UNTAGGED,
        priority: 0,
        immediate_delivery: false,
        conn: ConnIx(0),
        received_bytes: 0,
    };

    /// Both R and W: status may not travel in a Data-In.
    #[inline]
    pub fn is_bidirectional(&self) -> bool {
        self.read && self.write
    }

    /// What the initiator expects to receive, bytes.
    #[inline]
    pub fn read_edtl_bytes(&self) -> u32 {
        match (self.read, self.write) {
            (true, true) => self.bidi_read_edtl_bytes,
            (true, false) => self.edtl_bytes,
            _ => 0,
        }
    }

    /// What the initiator expects to send, bytes.
    #[inline]
    pub fn write_edtl_bytes(&self) -> u32 {
        if self.write { self.edtl_bytes } else { 0 }
    }
}
