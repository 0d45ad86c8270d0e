//! A tool on this machine that has commands carried out: the smallest sink there is. It answers at once, keeps what it is
//! told, and takes data when it likes.

use crate::backend::testing::Tokens;
use crate::backend::{Queue, Token};
use crate::buffers::Buf;
use crate::model::{Due, ItNexus, SeatIx, TaskKey, UnitIx};
use crate::scsi::copy::CopyRequest;
use crate::scsi::{Heard, Outcome, Plan};
use crate::tasks::sink::{
    Body, CopyBegun, DeviceServer, Expected, InPlaceIf, Moved, Part, Sent, SetOff, Sink, Terms, ToMedia, Way,
};
use crate::unit::memory_hold::Lying;
use std::collections::BTreeMap;

/// One command, as its initiator sees it.
pub struct Command {
    /// What it says of its data, and how much of that has come.
    pub expected: Expected,
    /// What it has to send.
    pub out: Vec<u8>,
    /// So much of that is asked for, bytes.
    pub wanted: u32,
    /// What it has got.
    pub got: Vec<u8>,
    /// How it ended.
    pub end: Option<Outcome>,
    /// It was aborted.
    pub is_aborted: bool,
    /// Nothing of it is left.
    pub is_released: bool,
}

impl Command {
    /// It was answered, or let go of.
    pub fn is_over(&self) -> bool {
        self.end.is_some() || self.is_released
    }
}

/// The sink.
#[derive(Default)]
pub struct Local {
    /// The commands that are not over, or were not looked at since.
    pub commands: BTreeMap<TaskKey, Command>,
    /// Operations that are with the medium, in the order in which they came.
    pub pending: Vec<Token>,
    /// Tasks that wait until data is taken again.
    pub waiting: Vec<(SeatIx, usize)>,
    /// No data is taken now.
    pub is_full: bool,
}

impl Local {
    fn command(&mut self, who: TaskKey) -> &mut Command {
        let command = self.commands.get_mut(&who).expect("a command that is there");
        assert!(!command.is_over(), "{who:?} is over, and something comes of it");
        command
    }
}

impl Sink for Local {
    fn terms(&self, who: TaskKey) -> Terms {
        Terms { expected: self.commands.get(&who).expect("a command that is there").expected, owes_since_ms: None }
    }

    fn way(&self, _: TaskKey) -> Way {
        Way { piece_bytes: 8192, most_bytes: u32::MAX, in_place: false }
    }

    fn data_in(&mut self, who: TaskKey, part: Part, body: Body, buf: Buf) -> Result<(), Buf> {
        let Body::Medium { copied_from, must } = body else {
            self.command(who).end = Some(Outcome::GOOD);
            return Ok(());
        };
        assert!(copied_from.is_none(), "the medium is asked");
        if self.is_full && !must {
            self.waiting.push((who.seat, who.slot()));
            return Err(buf);
        }
        let command = self.command(who);
        assert!(!command.is_aborted, "data of an aborted command");
        assert_eq!(command.got.len(), part.offset as usize, "data comes in its order");
        command.got.extend_from_slice(buf.bytes(0, part.len as usize).expect("as long as its buffer"));
        if part.end.is_some() {
            command.end = Some(Outcome::GOOD);
        }
        Ok(())
    }

    fn data_in_place(&mut self, _: TaskKey, _: Part, _: Lying<'_>, _: InPlaceIf) -> Sent {
        Sent::No
    }

    fn want_data_out(&mut self, who: TaskKey, up_to: u32) {
        let command = self.command(who);
        assert!(up_to > command.wanted && up_to <= command.expected.write_bytes, "{up_to}");
        command.wanted = up_to;
    }

    fn complete(&mut self, due: Due, outcome: Outcome, _: Moved) {
        let command = self.command(due.end());
        assert!(!command.is_aborted, "an aborted command is not answered");
        command.end = Some(outcome);
    }

    fn released(&mut self, due: Due) {
        let command = self.command(due.end());
        assert!(command.is_aborted, "nobody wanted that");
        command.is_released = true;
    }

    fn set_off(&mut self, _: SetOff) {
        panic!("nobody preempts, nothing is read again, and nothing is lent");
    }
}

impl DeviceServer for Local {
    fn parameters(&mut self, _: TaskKey, _: UnitIx, _: &[u8]) -> Option<(Plan, Vec<ItNexus>)> {
        None
    }

    fn begin_copy(&mut self, _: TaskKey, _: UnitIx, _: &CopyRequest) -> Option<CopyBegun> {
        None
    }

    fn hear(&mut self, _: TaskKey, _: UnitIx, _: u64) -> Heard {
        Heard::Before
    }
}

impl ToMedia for Local {
    fn queue(&mut self) -> impl Queue {
        Tokens(&mut self.pending)
    }
}
