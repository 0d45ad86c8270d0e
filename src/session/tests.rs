//! Full feature phase as packet traces: a scripted initiator, the session, and what comes back. Named by the rules that
//! they prove. The driver checks on every PDU that the counters move as RFC 7143 has it.

mod answers;
mod driver;
mod endings;
mod errors;
mod fences;
mod kept;
mod management;
mod numbering;
mod ordering;
mod random;
mod store;
mod transfer;
