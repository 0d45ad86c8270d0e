//! What a logical unit is made with, and what its nexuses are numbered with.

use crate::model::PortGroup;

/// What a logical unit is, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LuParams {
    /// Logical block length in bytes.
    pub block_bytes: u32,
    /// Physical block length in bytes: a power of two multiple of `block_bytes`.
    pub physical_block_bytes: u32,
    /// Capacity in logical blocks.
    pub blocks: u64,
    /// Writes are refused with 07/27/00.
    pub readonly: bool,
    /// Thin provisioned: UNMAP and WRITE SAME with UNMAP give space back, and unmapped blocks read as zeroes.
    pub thin: bool,
    /// Unit serial number (VPD page 80h).
    pub serial: String,
    /// NAA type 6 designator (VPD page 83h), see [`super::identity::naa`].
    pub naa: [u8; 16],
    /// iSCSI name of the target (the names of target device and target port in VPD page 83h).
    pub target_name: String,
    /// Target port groups that it is found through, with the access states to begin with; at least one.
    pub port_groups: Vec<PortGroup>,
    /// OPTIMAL UNMAP GRANULARITY in logical blocks; at most 1 MiB is reported.
    pub unmap_granularity_blocks: u32,
    /// UNMAP GRANULARITY ALIGNMENT in logical blocks.
    pub unmap_alignment_blocks: u32,
    /// Writes may stay in a volatile cache until SYNCHRONIZE CACHE (WCE). When false, every write is planned with FUA.
    pub volatile_cache: bool,
    /// The medium rotates (VPD page B1h).
    pub rotational: bool,
    /// The medium can be ejected and loaded (RMB).
    pub removable: bool,
    /// A CD-ROM or DVD-ROM (device type 05h): read only and removable, blocks of 2048 bytes.
    pub cdrom: bool,
    /// Thin: hosts are told when no more than this is available where the blocks live, in bytes.
    pub low_space_bytes: Option<u64>,
    /// MAXIMUM ATOMIC TRANSFER LENGTH in logical blocks; zero where WRITE ATOMIC is not to be had.
    pub atomic_blocks: u32,
}

/// Identifies an I_T nexus for as long as it lives; never used again by the same process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NexusId(pub u64);
