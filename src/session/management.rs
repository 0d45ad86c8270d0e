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
    /// It has not begun: commands before its CmdSN are missing, and it waits for them.
    pub(super) waits_for_commands: bool,
    /// The task slots that the shard must let go of before the response, one bit each.
    pub(super) waits_for: [u64; TASKS_PER_SESSION.div_ceil(64)],
    pub(super) with_shard: bool,
    pub(super) response: Option<TmResponse>,
    /// For QUERY TASK SET: the session has tasks at the logical unit.
    pub(super) found: bool,
    pub(super) info: [u8; 3],
    /// Its connection is gone: nobody is to be answered.
    pub(super) orphan: bool,
    /// When waiting ends, milliseconds; `u64::MAX`: never. ABORT TASK is then answered with "Function rejected"; a
    /// function on many tasks waits no longer for the data of their R2Ts.
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
