//! The iSCSI initiator of the load generator: that of `ringsan::initiator`, with the engine as its driver.
//!
//! [`login`] opens a session with what Linux asks for and finds the LUN's size, both blocking; [`client`] is what runs
//! afterwards: commands out, data and status in, as a [`Protocol`](crate::protocol::Protocol); [`scsi`] builds the few
//! CDBs and explains sense data.
//!
//! One connection per session, error recovery level 0: whatever goes wrong ends the run, for its figures would mean
//! nothing. The target is checked on the way: StatSN, DataSN, offsets, lengths, residuals and digests.

pub mod client;
pub mod login;
pub mod scsi;

/// The connection of each session.
const CID: ringsan::wire::Cid = ringsan::wire::Cid(0);
