//! Bytes to PDUs and back.
