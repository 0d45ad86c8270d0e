//! Plain data shared by the layers: names, what is exported to whom, faults and room of a medium. Immutable; no I/O.

pub mod access;
pub mod access_state;
pub mod backing;
pub mod bytes;
pub mod chap;
pub mod control;
pub mod due;
pub mod fault;
pub mod host;
pub mod index;
pub mod lun;
pub mod names;
pub mod per_unit;
pub mod ports;
pub mod snapshot;
pub mod space;
pub mod task;

pub use access::{Admission, Group, Limits, LunMapping, NamePattern, Network};
pub use access_state::AccessState;
pub use backing::{Backing, IN_DEVICE, split_mark};
pub use bytes::Bytes;
pub use chap::{Account, ChapAlgorithm, Credentials, Secret};
pub use control::Control;
pub use due::{Due, KeptDue};
pub use fault::MediumFault;
pub use host::{Address, Host};
pub use index::{ConnNo, SeatIx, TaskKey, UnitIx};
pub use lun::{LunKind, LunSpec};
pub use names::{InitiatorPort, IscsiName, ItNexus};
pub use per_unit::PerUnit;
pub use ports::PortGroup;
pub use snapshot::{Portal, Snapshot, TargetSpec};
pub use space::Space;
pub use task::TaskId;

pub use crate::wire::DataRef;
