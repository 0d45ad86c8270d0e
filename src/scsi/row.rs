//! A row of the command table: which bits of a CDB a command evaluates, what blocks it, and who plans it.

use super::call::{Call, Planned};
use super::class;
use super::sense::Outcome;
use super::unit::LogicalUnit;

/// One command.
pub struct Row {
    /// The standard's name.
    pub name: &'static str,
    /// CDB usage data, as long as the CDB.
    pub usage: &'static [u8],
    /// The service action, for operation codes that have them.
    pub action: Option<u16>,
    pub(super) class: u16,
    pub(super) plan: fn(&mut Call) -> Planned,
    /// The handler of the parameter list, if there is one: it goes on when the list has come.
    pub(super) list: Option<fn(&mut Call, &[u8]) -> Planned>,
    /// Bits of the CDB's first 16 bytes that must be zero, the first byte as the most significant.
    forbidden: u128,
    /// Bits of the 16 bytes after those that must be zero.
    forbidden_rest: u128,
}

pub(super) const fn row(name: &'static str, usage: &'static [u8], class: u16, plan: fn(&mut Call) -> Planned) -> Row {
    let row = Row { name, usage, action: None, class, plan, list: None, forbidden: 0, forbidden_rest: 0 };
    Row { forbidden: forbidden(usage, 0, 0), ..row }
}

impl Row {
    /// The row of a service action: byte 1 of the usage data names it.
    pub(super) const fn action(self) -> Row {
        const IN_BYTE_1: u128 = 0x1f << 112;
        Row { action: Some(self.usage[1] as u16 & 0x1f), forbidden: forbidden(self.usage, 0, IN_BYTE_1), ..self }
    }

    /// The row of a variable-length CDB: bytes 8 and 9 of the usage data name the service action.
    pub(super) const fn variable(self) -> Row {
        const IN_BYTES_8_AND_9: u128 = 0xffff << 48;
        let usage = self.usage;
        Row {
            action: Some(u16::from_be_bytes([usage[8], usage[9]])),
            forbidden: forbidden(usage, 0, IN_BYTES_8_AND_9),
            forbidden_rest: forbidden(usage, 16, 0),
            ..self
        }
    }

    /// The row of a command with a parameter list.
    pub(super) const fn list(self, parse: fn(&mut Call, &[u8]) -> Planned) -> Row {
        Row { list: Some(parse), ..self }
    }

    /// The row of a command of disks only.
    pub(super) const fn on_disks(self) -> Row {
        Row { class: self.class | class::DISK, ..self }
    }

    /// The row of a command that goes through by a target port in standby.
    pub(super) const fn in_standby(self) -> Row {
        Row { class: self.class & !class::STANDBY, ..self }
    }

    /// The row of a command that goes through by any target port.
    pub(super) const fn in_any_state(self) -> Row {
        Row { class: self.class & !(class::STANDBY | class::UNAVAILABLE), ..self }
    }

    /// The operation code.
    pub const fn opcode(&self) -> u8 {
        self.usage[0]
    }

    /// Refuses a CDB with a bit set that is not evaluated, pointing at it (SPC-4 clauses 4.3.1 and 4.5.2.4.2).
    #[inline]
    pub(super) fn check(&self, cdb: &[u8; 16]) -> Result<(), Outcome> {
        match u128::from_be_bytes(*cdb) & self.forbidden {
            0 => Ok(()),
            wrong => Err(wrong_bit(wrong, 0)),
        }
    }

    /// As [`Row::check`], for what is beyond the first 16 bytes of a CDB; `cdb` is all of it.
    #[inline]
    pub(super) fn check_rest(&self, cdb: &[u8]) -> Result<(), Outcome> {
        if self.forbidden_rest == 0 { Ok(()) } else { self.check_variable(cdb) }
    }

    #[cold]
    fn check_variable(&self, cdb: &[u8]) -> Result<(), Outcome> {
        let rest = cdb.get(16..).and_then(<[u8]>::first_chunk).copied().map_or(0, u128::from_be_bytes);
        match rest & self.forbidden_rest {
            0 => Ok(()),
            wrong => Err(wrong_bit(wrong, 16)),
        }
    }
}

impl LogicalUnit {
    /// Whether the row is a command of this logical unit.
    pub(super) fn has(&self, row: &Row) -> bool {
        (row.class & class::THIN == 0 || self.params().thin)
            && (row.class & class::ATOMIC == 0 || self.params().atomic_blocks > 0)
            && row.class & self.absent() == 0
    }
}

/// INVALID FIELD IN CDB, pointing at the first of the bits that are set in `wrong`. `from`: where in the CDB these
/// begin.
#[cold]
fn wrong_bit(wrong: u128, from: u16) -> Outcome {
    let first = wrong.leading_zeros();
    Outcome::invalid_cdb_field(from + (first / 8) as u16, 7 - (first % 8) as u8)
}

/// The bits that must be zero of the 16 bytes from `from` on; not among them are the operation code and the bits of
/// `action`.
const fn forbidden(usage: &[u8], from: usize, action: u128) -> u128 {
    let mut bytes = [0; 16];
    let mut at = if from == 0 { 1 } else { 0 };
    while at < 16 && from + at < usage.len() {
        bytes[at] = !usage[from + at];
        at += 1;
    }
    u128::from_be_bytes(bytes) & !action
}
