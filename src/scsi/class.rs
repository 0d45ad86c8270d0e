//! Classes of commands, as bits: each is a reason why a command may not go through. A row of the table has the bits of
//! its command, a nexus those that are in force for it.

/// Reports a pending unit attention instead of being carried out (SAM-5 clause 5.14).
pub const ATTENTION: u16 = 0x01;
/// Conflicts with a RESERVE of another nexus (SPC-2), whatever else it does.
pub const ACCESS: u16 = 0x02;
/// Conflicts with an exclusive access reservation ("reads" in the tables of SPC-4 clause 5.13.1 and SBC-3 clause 4.14).
pub const READ: u16 = 0x04;
/// Conflicts with a write exclusive reservation too.
pub const WRITE: u16 = 0x08;
/// Changes the medium: refused when that is write protected.
pub const PROTECTED: u16 = 0x10;
/// Needs the medium.
pub const MEDIUM: u16 = 0x20;
/// Exists on thin provisioned logical units only.
pub const THIN: u16 = 0x40;
/// Does not go through while the medium is erased (SBC-4 clause 4.11.3).
pub const BUSY: u16 = 0x80;
/// Exists only where the medium can write atomically.
pub const ATOMIC: u16 = 0x100;
/// Does not go through by a target port in standby (SPC-4 clause 5.15.2.4.4).
pub const STANDBY: u16 = 0x400;
/// Does not go through by a target port that is unavailable (SPC-4 clause 5.15.2.4.5).
pub const UNAVAILABLE: u16 = 0x800;
/// Is one of disks only (device type 00h).
pub const DISK: u16 = 0x1000;
/// Is one of CD-ROMs only (device type 05h). What has neither bit is a command of both.
pub const CDROM: u16 = 0x2000;

/// Of no class, so never blocked: INQUIRY, REPORT LUNS, REQUEST SENSE.
pub const ALWAYS: u16 = 0;
/// Allowed under every persistent reservation.
pub const ANY: u16 = ATTENTION | ACCESS | BUSY | STANDBY | UNAVAILABLE;
/// Allowed under write exclusive reservations.
pub const READS: u16 = ANY | READ;
/// Not allowed under the reservation of another nexus.
pub const CHANGES: u16 = READS | WRITE;
/// Reads the medium.
pub const READS_MEDIUM: u16 = READS | MEDIUM;
/// Changes the medium, which only disks let happen.
pub const WRITES_MEDIUM: u16 = CHANGES | PROTECTED | MEDIUM | DISK;
/// Reads the medium of a CD-ROM, or what it says of itself.
pub const READS_DISC: u16 = READS_MEDIUM | CDROM;
/// Tells about a CD-ROM under every reservation, and without a look at what is pending (MMC-6).
pub const TELLS_OF_CDROM: u16 = STANDBY | UNAVAILABLE | CDROM;
/// Erases the medium. Not of class [`BUSY`]: the handlers know themselves what goes on beside an erasing, or after one
/// that failed.
pub const ERASES_MEDIUM: u16 = WRITES_MEDIUM & !BUSY;
