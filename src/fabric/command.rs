//! A command of a session, as the device server and the executor are told of it.

use crate::scsi::{Command, Now};
use crate::session::{SessionInit, TaskCommand};
use crate::tasks::sink::Expected;
use crate::world::targets::LunMap;

/// What the initiator says of a command's data, and what has come of it.
#[inline]
pub fn expected_of(command: &TaskCommand) -> Expected {
    Expected {
        read_bytes: command.read_edtl_bytes(),
        write_bytes: command.write_edtl_bytes(),
        received_bytes: command.received_bytes,
    }
}

/// A command as the device server sees it.
#[inline]
pub fn command_of<'a>(command: &'a TaskCommand, init: &'a SessionInit, map: &'a LunMap, now: Now) -> Command<'a> {
    Command {
        cdb: command.cdb.for_device_server(),
        lun: command.lun,
        initiator: &init.initiator,
        protocol_level: init.params.protocol_level,
        luns: &map.numbers,
        now,
    }
}
