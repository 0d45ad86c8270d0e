//! iSCSI names (RFC 7143 section 4.2.7) and the SCSI ports made from them.
//!
//! [`IscsiName::new`] prepares the text with the iSCSI profile of stringprep (RFC 3722: case folding, normalisation form KC,
//! prohibited characters) and checks the structure of the three types. [`IscsiName::lenient`] also takes what initiators in
//! the field call themselves. Two names are the same node exactly when their bytes are equal.
//!
//! It does not look a domain up, and takes any month of any year: whether somebody owned the domain then is theirs.

use crate::wire::Isid;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// The longest iSCSI name, in bytes of UTF-8 (RFC 7143 section 4.2.7.2).
pub const MAX_NAME_BYTES: usize = 223;
/// The longest text that is prepared at all: preparing can shorten it (full-width letters are three bytes each).
const MAX_UNPREPARED_BYTES: usize = 4 * MAX_NAME_BYTES;

/// An iSCSI name, normalised to lower case: `iqn.`, `eui.` or `naa.`, unless it was taken leniently. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IscsiName(Arc<str>);

/// Why a string is no iSCSI name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Longer than 223 bytes, or empty.
    #[error("an iSCSI name has 1 to 223 bytes")]
    Length,
    /// Neither iqn. nor eui. nor naa.
    #[error("an iSCSI name begins with iqn., eui. or naa.")]
    Type,
    /// `iqn.yyyy-mm.reversed.domain[:unique]` is not kept.
    #[error("an iqn name is iqn.YYYY-MM.reversed.domain.name[:anything]")]
    Iqn,
    /// `eui.` and 16 hexadecimal digits, `naa.` and 16 or 32.
    #[error("an eui name has 16 hexadecimal digits, a naa name 16 or 32")]
    Digits,
    /// A character that RFC 3722 does not allow.
    #[error("an iSCSI name has letters, digits, '-', '.' and ':' only")]
    Character,
}

impl IscsiName {
    /// Normalises and checks a name.
    ///
    /// # Errors
    /// What is wrong with it: length, a character, the type designator, or the structure that its type asks for.
    pub fn new(text: &str) -> Result<Self, NameError> {
        //= RFC 7143 section 4.2.7.1
        //# Initiators and targets MUST support the receipt of iSCSI names of up to
        //# the maximum length of 223 bytes.
        if text.is_empty() || text.len() > MAX_UNPREPARED_BYTES {
            return Err(NameError::Length);
        }
        let name = prepare(text)?;
        //= RFC 7143 section 4.2.7.2
        //# The UTF-8 encoding of the name is not larger than 223 bytes.
        if name.len() > MAX_NAME_BYTES {
            return Err(NameError::Length);
        }
        //= RFC 7143 section 4.2.7.2
        //# An iSCSI name MUST be a UTF-8 (see [RFC3629]) encoding of a string of
        //# Unicode characters with the following properties:
        match name.split_once('.') {
            Some(("iqn", rest)) => check_iqn(rest)?,
            Some(("eui", digits)) => check_digits(digits, &[16])?,
            Some(("naa", digits)) => check_digits(digits, &[16, 32])?,
            _ => return Err(NameError::Type),
        }
        Ok(Self(Arc::from(name)))
    }

    /// The same, or a name of one of the three types that is not made as RFC 7143 section 4.2.7 wants it: with an underscore,
    /// or without a date.
    /// Other targets let in who calls itself so, and a name is only compared. What is never in one: space and control
    /// characters, `,` (it ends a name in a TransportID, SPC-4 clause 7.6.4.6) and `*` (it stands for any in a pattern), and
    /// beyond ASCII what RFC 3722 does not allow: a log that shows the name must show all of it, and nothing else. Nor is what
    /// would be another name when it is said again, by a TransportID for one: a character that is unknown may be one in lower
    /// case that is not.
    ///
    /// # Errors
    /// As of [`IscsiName::new`]: empty, too long, or a character that is in no name.
    pub fn lenient(text: &str) -> Result<Self, NameError> {
        let is_excused = |fault| matches!(fault, NameError::Character | NameError::Iqn | NameError::Digits);
        match Self::new(text) {
            Err(fault) if is_excused(fault) => {}
            other => return other,
        }
        let name = Self::recorded(&text.to_lowercase())?;
        let is_fixed = Self::new(&name.0).map_or_else(is_excused, |again| again == name);
        if !is_fixed || name.0.chars().any(is_deceptive) { Err(NameError::Character) } else { Ok(name) }
    }

    /// A name in a record, as it stands: whoever logged in by it was taken then, perhaps by a version that knew fewer
    /// characters, or took those which hide or change how others show. Nobody may log in by it any more, but who was registered
    /// by it has not gone, and is nobody else.
    ///
    /// # Errors
    /// No name was ever such: empty, too long, of no type, or with a character that ends a name.
    pub(crate) fn recorded(name: &str) -> Result<Self, NameError> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(NameError::Length);
        }
        if name.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, ',' | '*')) {
            return Err(NameError::Character);
        }
        if !["iqn.", "eui.", "naa."].iter().any(|kind| name.starts_with(kind) && name.len() > kind.len()) {
            return Err(NameError::Type);
        }
        Ok(Self(Arc::from(name)))
    }

    /// Whether it is made as RFC 7143 section 4.2.7 wants it.
    pub fn is_standard(&self) -> bool {
        Self::new(&self.0).is_ok_and(|name| name == *self)
    }

    /// The normalised name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The iSCSI profile of stringprep (RFC 3722). ASCII, which nearly every name is, needs no tables.
fn prepare(text: &str) -> Result<Cow<'_, str>, NameError> {
    if text.is_ascii() {
        if !text.bytes().all(|b| ascii_allowed(b.to_ascii_lowercase())) {
            return Err(NameError::Character);
        }
        //= RFC 7143 section 4.2.7.1
        //# The iSCSI stringprep profile [RFC3722] maps uppercase characters to
        //# lowercase and SHOULD be used to prepare iSCSI names from input
        //# that may include uppercase characters.
        return Ok(if text.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        });
    }
    // A code point that Unicode 3.2 did not know is refused before newer tables can map it to one that it did.
    if text.chars().any(stringprep::tables::unassigned_code_point) {
        return Err(NameError::Character);
    }
    // Nameprep is this profile without the additions of RFC 3722 section 6.1 and 6.2: same mappings, same form KC, the
    // same tables of prohibited characters, the same rule for bidirectional text.
    let name = stringprep::nameprep(text).map_err(|_| NameError::Character)?;
    let allowed = |c: char| u8::try_from(c).map_or(c != '\u{3002}', |b| !b.is_ascii() || ascii_allowed(b));
    if name.is_empty() || !name.chars().all(allowed) {
        return Err(NameError::Character);
    }
    Ok(name)
}

/// Whether a character beyond ASCII is prohibited by RFC 3722, is none that Unicode 3.2 knew (a newer one may be anything),
/// or shows nothing.
fn is_deceptive(c: char) -> bool {
    use stringprep::tables::*;
    !c.is_ascii()
        && (unassigned_code_point(c)
            || commonly_mapped_to_nothing(c)
            || change_display_properties_or_deprecated(c)
            || tagging_character(c)
            || non_ascii_space_character(c)
            || non_ascii_control_character(c)
            || private_use(c)
            || non_character_code_point(c)
            || inappropriate_for_plain_text(c)
            || inappropriate_for_canonical_representation(c))
}

/// The ASCII characters that RFC 3722 section 6.2 leaves over.
fn ascii_allowed(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b':')
}

/// Checks what follows `iqn.`.
fn check_iqn(rest: &str) -> Result<(), NameError> {
    //= RFC 7143 section 4.2.7.4
    //# All four digits in the year must be present.  Both digits of the
    //# month must be present, with January == "01" and December ==
    //# "12".  The dash must be included.
    let (date, owner) = rest.split_once('.').ok_or(NameError::Iqn)?;
    let (year, month) = date.split_once('-').ok_or(NameError::Iqn)?;
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(year, 4) || !digits(month, 2) || !("01"..="12").contains(&month) {
        return Err(NameError::Iqn);
    }
    // After the first colon the owner of the domain may put what it likes, colons and dots included.
    let domain = owner.split_once(':').map_or(owner, |(domain, _)| domain);
    if domain.split('.').any(str::is_empty) {
        return Err(NameError::Iqn);
    }
    Ok(())
}

/// Checks what follows `eui.` and `naa.`: hexadecimal digits (already in lower case), one of `lengths` of them.
fn check_digits(digits: &str, lengths: &[usize]) -> Result<(), NameError> {
    if lengths.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(())
    } else {
        Err(NameError::Digits)
    }
}

impl FromStr for IscsiName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl fmt::Display for IscsiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IscsiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A SCSI initiator port: initiator name and ISID (RFC 7143 section 4.4.1), and whose it is. A name is only said: with the
/// same one, somebody who has proved to be somebody else is another initiator port, with sessions and registrations of its
/// own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InitiatorPort {
    /// The initiator node.
    pub name: IscsiName,
    /// Its session identifier.
    pub isid: Isid,
    /// What it has proved: its user, else what its initiator group shows, or being in none of them. `None`: nothing was asked
    /// for, or, of a port that is only spoken of (a TransportID), it is not known.
    pub proof: Option<Arc<str>>,
}

impl InitiatorPort {
    /// One that has proved nothing.
    pub fn new(name: IscsiName, isid: Isid) -> Self {
        Self { name, isid, proof: None }
    }

    /// Whether what was said of this port holds for `other`: it is the same, or proof was not spoken of.
    pub fn covers(&self, other: &InitiatorPort) -> bool {
        (&self.name, self.isid) == (&other.name, other.isid) && (self.proof.is_none() || self.proof == other.proof)
    }
}

/// The two ends of an I_T nexus, as reservations know it: sessions come and go, it stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItNexus {
    /// The initiator port.
    pub initiator: InitiatorPort,
    /// Relative target port identifier.
    pub target_port: u16,
}

impl ItNexus {
    /// As [`InitiatorPort::covers`], at the same target port.
    pub fn covers(&self, other: &ItNexus) -> bool {
        self.target_port == other.target_port && self.initiator.covers(&other.initiator)
    }
}
