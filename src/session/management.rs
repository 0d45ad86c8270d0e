//! A task management function that is under way (RFC 7143 section 11.5). What is done with it: `tmf`.

use crate::limits::TASKS_PER_SESSION;
use crate::wire::{CmdSn, Itt, Lun, TmFunction, TmResponse};

/// A task management function in progress.
pub(super) struct Management {
    pub(super) function: TmFunction,
    pub(super) lun: Lun,
    pub(super) cmd_sn: CmdSn,
    pub(super) referenced: Itt,
    pub(super) ref_cmd_sn: CmdSn,
    /// It begins when all commands before it have been received.
    pub(super) waits_for_commands: bool,
    /// Slots that the shard must let go of before the response.
    pub(super) waits_for: [u64; TASKS_PER_SESSION.div_ceil(64)],
    pub(super) with_shard: bool,
    pub(super) response: Option<TmResponse>,
    /// The answer to a query: there are tasks.
    pub(super) found: bool,
    pub(super) info: [u8; 3],
    /// Its connection is gone: nobody is to be answered.
    pub(super) orphan: bool,
    /// An ABORT TASK whose task is not let go of until then is answered with "Function rejected".
    pub(super) deadline_ms: u64,
}

impl Management {
    pub(super) fn wait_for(&mut self, slot: usize) {
        if let Some(word) = self.waits_for.get_mut(slot / 64) {
            *word |= 1 << (slot % 64);
        }
    }

    pub(super) fn gone(&mut self, slot: usize) {
        if let Some(word) = self.waits_for.get_mut(slot / 64) {
            *word &= !(1 << (slot % 64));
        }
    }

    /// It acts on all logical units.
    pub(super) fn is_of_all_units(&self) -> bool {
        matches!(
            self.function,
            TmFunction::TARGET_WARM_RESET | TmFunction::TARGET_COLD_RESET | TmFunction::I_T_NEXUS_RESET
        )
    }

    /// It acts on more than one task.
    pub(super) fn is_many(&self) -> bool {
        self.is_of_all_units()
            || matches!(
                self.function,
                TmFunction::ABORT_TASK_SET | TmFunction::CLEAR_TASK_SET | TmFunction::LOGICAL_UNIT_RESET
            )
    }
}
