//! Plain data shared by the layers: names, what is exported to whom, faults of a medium. Immutable; no I/O.

pub mod fault;
pub mod names;
pub mod snapshot;

pub use fault::MediumFault;
pub use names::{InitiatorPort, IscsiName};
pub use snapshot::{LunKind, LunSpec, Portal, Snapshot, TargetSpec};
