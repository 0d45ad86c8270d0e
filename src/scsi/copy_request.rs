//! A third-party copy as it was asked for (SPC-4 clause 5.17), by EXTENDED COPY, POPULATE TOKEN or WRITE USING TOKEN.

/// CSCD descriptor type: identification descriptor.
pub(super) const IDENTIFICATION_DESCRIPTOR: u8 = 0xe4;
/// Bytes of a ROD token.
pub(super) const TOKEN_BYTES: usize = 512;

/// A third-party copy, its parameter list parsed and checked as far as one device server can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRequest {
    /// Bytes of parameter list that the CDB announced: what residuals are counted from.
    pub list_bytes: u32,
    /// What is asked for.
    pub(super) kind: CopyKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CopyKind {
    Extended(Extended),
    Populate(Populate),
    Write(WriteUsingToken),
}

/// EXTENDED COPY(LID1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extended {
    /// LIST IDENTIFIER, unless LIST ID USAGE says that there is none.
    pub(super) list_id: Option<u8>,
    pub(super) cscds: Vec<Cscd>,
    pub(super) segments: Vec<Segment>,
}

/// A copy source or copy destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cscd {
    /// The NAA designator of a logical unit; `None`: a designator that none of ours has.
    pub(super) naa: Option<[u8; 16]>,
    pub(super) peripheral_type: u8,
    /// DISK BLOCK LENGTH; zero if not told.
    pub(super) block_bytes: u32,
}

/// A segment descriptor of type 02h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where in the parameter list it stands.
    pub(super) at: u16,
    /// CSCD descriptor IDs.
    pub(super) source: u16,
    pub(super) destination: u16,
    pub(super) source_lba: u64,
    pub(super) destination_lba: u64,
    pub(super) blocks: u16,
    /// DC: `blocks` are those of the destination.
    pub(super) destination_counts: bool,
}

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
