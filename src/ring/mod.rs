//! The core own ring.
