//! Text Requests in full feature phase.
