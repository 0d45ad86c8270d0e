//! What is lock-free in this layer is built on these: `tests/models.rs` has another module of this name, of loom's types.

pub use std::sync::atomic::{AtomicPtr, Ordering};
