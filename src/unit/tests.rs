//! What cores share of a unit without locks, beyond what `tests/models.rs` tries.

mod fence;
mod syncs;
