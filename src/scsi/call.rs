//! What the handlers of commands have in common: what they are called with, and what they answer.

use super::nexus::LuNexus;
use super::plan::{Command, Plan, Reply};
use super::sense::Outcome;
use super::unit::LogicalUnit;

/// What a handler answers: a plan, or the outcome of a command that fails.
pub(super) type Planned = Result<Plan, Outcome>;

/// A command on its way through a handler.
pub(super) struct Call<'a> {
    pub(super) unit: &'a LogicalUnit,
    pub(super) nexus: &'a mut LuNexus,
    pub(super) command: &'a Command<'a>,
    pub(super) cdb: &'a [u8; 16],
    pub(super) reply: &'a mut Reply,
}
