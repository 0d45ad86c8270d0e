//! Which PDUs belong to one logical unit: a response names none, only the task, so the tasks of that unit are known.

use crate::fabric::look::Note;
use crate::limits::TRACE_TASKS;
use crate::wire::{Opcode, Tsih, bhs};
use std::collections::BTreeSet;

/// The tasks of a logical unit that are under way.
pub(super) struct Tasks {
    lun: u16,
    /// By session, and Initiator Task Tag.
    known: BTreeSet<(Tsih, u32)>,
}

impl Tasks {
    /// Those at this LUN that begin from now on.
    pub(super) fn at(lun: u16) -> Tasks {
        Tasks { lun, known: BTreeSet::new() }
    }

    /// Whether a PDU belongs to one of them, or to a login.
    pub(super) fn own(&mut self, note: &Note<'_>) -> bool {
        let header = note.seen.bhs;
        let task = (note.who.tsih, bhs::itt(header).0);
        match bhs::opcode(header) {
            Opcode::SCSI_COMMAND | Opcode::TASK_MANAGEMENT_REQUEST => {
                if bhs::lun(header).number() != Some(self.lun) {
                    self.known.remove(&task);
                    return false;
                }
                // Sessions that have ended leave some behind.
                if self.known.len() >= TRACE_TASKS {
                    self.known.clear();
                }
                self.known.insert(task);
                true
            }
            Opcode::SCSI_RESPONSE | Opcode::TASK_MANAGEMENT_RESPONSE => self.known.remove(&task),
            // With its status, the last one.
            Opcode::SCSI_DATA_IN if header[1] & 1 != 0 => self.known.remove(&task),
            Opcode::SCSI_DATA_IN | Opcode::SCSI_DATA_OUT | Opcode::R2T => self.known.contains(&task),
            Opcode::LOGIN_REQUEST | Opcode::LOGIN_RESPONSE => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::look::{Seen, Who};
    use crate::wire::Cid;

    #[test]
    fn what_belongs_to_a_logical_unit_is_found_by_its_tasks() {
        let mut tasks = Tasks::at(5);
        let mut own = |tsih, opcode: Opcode, flags, lun, itt| {
            let mut bhs = [0; 48];
            (bhs[0], bhs[1], bhs[9], bhs[19]) = (opcode.0, flags, lun, itt);
            let address = "10.0.0.1:1".parse().unwrap();
            let who = Who { tsih: Tsih(tsih), cid: Cid(0), peer: address, local: address };
            let is_sent = opcode.is_targets();
            let (bhs, ahs, data) = (&bhs, &[][..], &[][..]);
            let seen = Seen { is_sent, header_digest: false, data_digest: false, is_damaged: false, bhs, ahs, data };
            tasks.own(&Note { at_ns: 0, who, seen })
        };
        assert!(own(1, Opcode::SCSI_COMMAND, 0x81, 5, 1));
        assert!(!own(1, Opcode::SCSI_COMMAND, 0x81, 6, 2));
        assert!(!own(2, Opcode::SCSI_COMMAND, 0x81, 6, 1));
        assert!(own(1, Opcode::SCSI_DATA_IN, 0, 0, 1));
        assert!(!own(1, Opcode::SCSI_DATA_IN, 0, 0, 2));
        assert!(!own(2, Opcode::SCSI_DATA_IN, 0, 0, 1));
        assert!(own(1, Opcode::SCSI_DATA_IN, 0x81, 0, 1));
        assert!(!own(1, Opcode::SCSI_RESPONSE, 0x80, 0, 1), "it is over");
        assert!(own(1, Opcode::TASK_MANAGEMENT_REQUEST, 0x81, 5, 3));
        assert!(own(1, Opcode::TASK_MANAGEMENT_RESPONSE, 0x80, 0, 3));
        assert!(own(0, Opcode::LOGIN_REQUEST, 0x87, 0, 0));
        assert!(!own(1, Opcode::NOP_OUT, 0x80, 0, 9));
    }

    #[test]
    fn only_so_many_are_known() {
        let mut tasks = Tasks::at(0);
        tasks.known = (0..TRACE_TASKS as u32).map(|itt| (Tsih(1), itt)).collect();
        let mut bhs = [0; 48];
        bhs[0] = Opcode::SCSI_COMMAND.0;
        bhs[16] = 0xff;
        let address = "10.0.0.1:1".parse().unwrap();
        let who = Who { tsih: Tsih(1), cid: Cid(0), peer: address, local: address };
        let (bhs, ahs, data) = (&bhs, &[][..], &[][..]);
        let seen = Seen { is_sent: false, header_digest: false, data_digest: false, is_damaged: false, bhs, ahs, data };
        assert!(tasks.own(&Note { at_ns: 0, who, seen }));
        assert_eq!(tasks.known.len(), 1);
    }
}
