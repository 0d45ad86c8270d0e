//! Login Response (RFC 7143 section 11.13).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|.| 0x23      |T|C|.|.|CSG|NSG| Version-max   |Version-active |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8| ISID                                                          |
//!    12|                               | TSIH                          |
//!    16| Initiator Task Tag                                            |
//!    20| Reserved                                                      |
//!    24| StatSN                                                        |
//!    28| ExpCmdSN                                                      |
//!    32| MaxCmdSN                                                      |
//!    36| Status-Class  | Status-Detail | Reserved                      |
//!    40/ Reserved                                                      /
//! ```

use std::fmt;

use super::login_request::{CONTINUE, TRANSIT, flags, stages};
use crate::wire::WireError;
use crate::wire::bhs::{self, Bhs, Opcode};
use crate::wire::ids::{Isid, Itt, Tsih};
use crate::wire::serial::{CmdSn, StatSn};

/// Outcome of a Login Request (RFC 7143 section 11.13.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoginStatus {
    /// Status-Class: 0 success, 1 redirection, 2 initiator error, 3 target error.
    pub class: u8,
    /// Status-Detail, within the class.
    pub detail: u8,
}

macro_rules! login_statuses {
    ($($(#[$meta:meta])* $name:ident = ($class:literal, $detail:literal), $text:literal;)*) => {
        impl LoginStatus {
            $($(#[$meta])* pub const $name: Self = Self { class: $class, detail: $detail };)*

            /// Those that the RFC assigns.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The RFC's name, or `None` for a code that it does not assign.
            pub const fn name(self) -> Option<&'static str> {
                match (self.class, self.detail) {
                    $(($class, $detail) => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

login_statuses! {
    /// Login is proceeding OK.
    SUCCESS = (0, 0x00), "Success";
    /// The target has temporarily moved to the address provided.
    TARGET_MOVED_TEMPORARILY = (1, 0x01), "Target moved temporarily";
    /// The target has permanently moved to the address provided.
    TARGET_MOVED_PERMANENTLY = (1, 0x02), "Target moved permanently";
    /// Miscellaneous iSCSI initiator errors.
    INITIATOR_ERROR = (2, 0x00), "Initiator error";
    /// The initiator could not be authenticated, or target authentication is not supported.
    AUTHENTICATION_FAILURE = (2, 0x01), "Authentication failure";
    /// The initiator is not allowed access to the given target.
    AUTHORIZATION_FAILURE = (2, 0x02), "Authorization failure";
    /// The requested target does not exist at this address.
    NOT_FOUND = (2, 0x03), "Not found";
    /// The requested target has been removed, and no forwarding address is provided.
    TARGET_REMOVED = (2, 0x04), "Target removed";
    /// The requested version range is not supported.
    UNSUPPORTED_VERSION = (2, 0x05), "Unsupported version";
    /// Too many connections on this session.
    TOO_MANY_CONNECTIONS = (2, 0x06), "Too many connections";
    /// A parameter is missing (InitiatorName, TargetName).
    MISSING_PARAMETER = (2, 0x07), "Missing parameter";
    /// The target does not support a session spanning to this connection.
    CANT_INCLUDE_IN_SESSION = (2, 0x08), "Can't include in session";
    /// The target does not support this type of session, or not from this initiator.
    SESSION_TYPE_NOT_SUPPORTED = (2, 0x09), "Session type not supported";
    /// Attempt to add a connection to a session that does not exist.
    SESSION_DOES_NOT_EXIST = (2, 0x0a), "Session does not exist";
    /// Invalid request type during login.
    INVALID_DURING_LOGIN = (2, 0x0b), "Invalid during login";
    /// Target hardware or software error.
    TARGET_ERROR = (3, 0x00), "Target error";
    /// The iSCSI service or target is not currently operational.
    SERVICE_UNAVAILABLE = (3, 0x01), "Service unavailable";
    /// The target has insufficient session, connection or other resources.
    OUT_OF_RESOURCES = (3, 0x02), "Out of resources";
}

impl LoginStatus {
    /// Whether the class is 0.
    pub const fn is_success(self) -> bool {
        self.class == 0
    }
}

impl fmt::Display for LoginStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:02x}{:02x}", self.class, self.detail),
        }
    }
}

/// Login Response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginResponse {
    /// The T bit: the end of the stage.
    pub transit: bool,
    /// The C bit: the text goes on in the next response.
    pub cont: bool,
    /// Current stage, see [`stage`](super::stage).
    pub csg: u8,
    /// Next stage, valid with `transit`; see [`stage`](super::stage).
    pub nsg: u8,
    /// Highest version that the target speaks.
    pub version_max: u8,
    /// Highest version that both sides speak.
    pub version_active: u8,
    /// Length of the text in bytes.
    pub data_segment_len: u32,
    /// Copy of the request's ISID.
    pub isid: Isid,
    /// Copy of the request's TSIH; in the final response of a new session, the one that the target chose.
    pub tsih: Tsih,
    /// Initiator Task Tag.
    pub itt: Itt,
    /// StatSN.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
    /// Status-Class and Status-Detail.
    pub status: LoginStatus,
}

impl LoginResponse {
    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::LOGIN_RESPONSE)?;
        let (csg, nsg) = stages(bhs[1]);
        Ok(Self {
            transit: bhs[1] & TRANSIT != 0,
            cont: bhs[1] & CONTINUE != 0,
            csg,
            nsg,
            version_max: bhs[2],
            version_active: bhs[3],
            data_segment_len: bhs::data_segment_len(bhs) as u32,
            isid: Isid(bhs::field::<8, 6>(bhs)),
            tsih: Tsih(bhs::u16_at::<14>(bhs)),
            itt: bhs::itt(bhs),
            stat_sn: StatSn(bhs::u32_at::<24>(bhs)),
            exp_cmd_sn: CmdSn(bhs::u32_at::<28>(bhs)),
            max_cmd_sn: CmdSn(bhs::u32_at::<32>(bhs)),
            status: LoginStatus { class: bhs[36], detail: bhs[37] },
        })
    }

    /// Writes all 48 bytes of the header.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        *bhs = bhs::start(Opcode::LOGIN_RESPONSE, flags(self.transit, self.cont, self.csg, self.nsg));
        bhs[2] = self.version_max;
        bhs[3] = self.version_active;
        bhs::set_data_segment_len(bhs, self.data_segment_len as usize);
        bhs::put::<8, 6>(bhs, self.isid.0);
        bhs::put_u16::<14>(bhs, self.tsih.0);
        bhs::put_u32::<16>(bhs, self.itt.0);
        bhs::stamp(bhs, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn);
        bhs[36] = self.status.class;
        bhs[37] = self.status.detail;
    }
}
