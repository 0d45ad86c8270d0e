//! The seam between the loop and what is spoken on a connection.

use crate::tx::TxQueue;
use crate::workload::Io;
use std::fmt;

/// Why a run ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// How an I/O ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it should.
    Good,
    /// The server asks for it again (unit attention, busy, task set full).
    Retry,
    /// Not an I/O: the answer to a ping.
    Pong,
}

/// An I/O that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The number it was issued with.
    pub slot: u32,
    /// How.
    pub outcome: Outcome,
}

/// What a protocol needs and gives while it receives.
pub struct Context<'a> {
    /// What payload offsets refer to.
    pub area: &'a [u8],
    /// Whether reads are to be checked against the pattern.
    pub verify: bool,
    /// Where ended I/Os go.
    pub done: &'a mut Vec<Done>,
}

/// One connection's protocol, without socket and clock.
pub trait Protocol {
    /// How many I/Os may be issued now, as far as the server is concerned.
    fn window(&self) -> usize;
    /// Queues `io` under number `slot`; what it writes stands at `payload_at` of `area`.
    fn issue(&mut self, slot: u32, io: &Io, payload_at: usize, area: &[u8], tx: &mut TxQueue);
    /// Takes bytes from the server, whatever piece of the stream they are.
    ///
    /// # Errors
    /// What the server did wrong.
    fn receive(&mut self, bytes: &[u8], context: &mut Context, tx: &mut TxQueue) -> Result<(), Failure>;
    /// Queues a ping that the server is to answer, if the protocol has one.
    fn ping(&mut self, tx: &mut TxQueue);
    /// Queues what ends the session in good order, if the protocol has it.
    fn part(&mut self, tx: &mut TxQueue);
}
