//! ringsan: a user-space iSCSI target.
pub mod limits;
pub mod wire;
