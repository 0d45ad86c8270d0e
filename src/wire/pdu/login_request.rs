//! Login Request (RFC 7143 section 11.12).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|1| 0x03      |T|C|.|.|CSG|NSG| Version-max   | Version-min   |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8| ISID                                                          |
//!    12|                               | TSIH                          |
//!    16| Initiator Task Tag                                            |
//!    20| CID                           | Reserved                      |
//!    24| CmdSN                                                         |
//!    28| ExpStatSN or Reserved                                         |
//!    32/ Reserved                                                      /
//! ```

use crate::wire::WireError;
use crate::wire::bhs::{self, Bhs, IMMEDIATE, Opcode, flag};
use crate::wire::ids::{Cid, Isid, Itt, Tsih};
use crate::wire::serial::{CmdSn, StatSn};

/// Stages of a login, as the CSG and NSG fields code them (RFC 7143 section 11.12.3). 2 is reserved.
pub mod stage {
    /// SecurityNegotiation.
    pub const SECURITY_NEGOTIATION: u8 = 0;
    /// LoginOperationalNegotiation.
    pub const LOGIN_OPERATIONAL_NEGOTIATION: u8 = 1;
    /// FullFeaturePhase.
    pub const FULL_FEATURE_PHASE: u8 = 3;
}

/// The T bit; Login Responses have it at the same place.
pub(super) const TRANSIT: u8 = 0x80;
/// The C bit; Text PDUs and Login Responses have it at the same place.
pub(super) use crate::wire::bhs::CONTINUE;

/// CSG and NSG of byte 1.
#[inline]
pub(super) const fn stages(flags: u8) -> (u8, u8) {
    (flags >> 2 & 3, flags & 3)
}

/// Byte 1 of Login PDUs.
#[inline]
pub(super) const fn flags(transit: bool, cont: bool, csg: u8, nsg: u8) -> u8 {
    flag(transit, TRANSIT) | flag(cont, CONTINUE) | (csg & 3) << 2 | (nsg & 3)
}

/// Login Request: always immediate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginRequest {
    /// The T bit: ready to go on to stage `nsg`.
    pub transit: bool,
    /// The C bit: the text goes on in the next request.
    pub cont: bool,
    /// Current stage, see [`stage`].
    pub csg: u8,
    /// Next stage, valid with `transit`; see [`stage`].
    pub nsg: u8,
    /// Highest version that the initiator speaks.
    pub version_max: u8,
    /// Lowest version that the initiator speaks.
    pub version_min: u8,
    /// Length of the text in bytes.
    pub data_segment_len: u32,
    /// The initiator's part of the session identifier.
    pub isid: Isid,
    /// The session to join, or 0 for a new one.
    pub tsih: Tsih,
    /// Initiator Task Tag.
    pub itt: Itt,
    /// Connection ID.
    pub cid: Cid,
    /// CmdSN.
    pub cmd_sn: CmdSn,
    /// ExpStatSN.
    pub exp_stat_sn: StatSn,
}

impl LoginRequest {
    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::LOGIN_REQUEST)?;
        let (csg, nsg) = stages(bhs[1]);
        Ok(Self {
            transit: bhs[1] & TRANSIT != 0,
            cont: bhs[1] & CONTINUE != 0,
            csg,
            nsg,
            version_max: bhs[2],
            version_min: bhs[3],
            data_segment_len: bhs::data_segment_len(bhs) as u32,
            isid: Isid(bhs::field::<8, 6>(bhs)),
            tsih: Tsih(bhs::u16_at::<14>(bhs)),
            itt: bhs::itt(bhs),
            cid: Cid(bhs::u16_at::<20>(bhs)),
            cmd_sn: CmdSn(bhs::u32_at::<24>(bhs)),
            exp_stat_sn: StatSn(bhs::u32_at::<28>(bhs)),
        })
    }

    /// Writes all 48 bytes of the header.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        *bhs = bhs::start(Opcode::LOGIN_REQUEST, flags(self.transit, self.cont, self.csg, self.nsg));
        //= RFC 7143 section 11.12
        //# Login Requests are always considered as immediate.
        bhs[0] |= IMMEDIATE;
        bhs[2] = self.version_max;
        bhs[3] = self.version_min;
        bhs::set_data_segment_len(bhs, self.data_segment_len as usize);
        bhs::put::<8, 6>(bhs, self.isid.0);
        bhs::put_u16::<14>(bhs, self.tsih.0);
        bhs::put_u32::<16>(bhs, self.itt.0);
        bhs::put_u16::<20>(bhs, self.cid.0);
        bhs::put_u32::<24>(bhs, self.cmd_sn.0);
        bhs::put_u32::<28>(bhs, self.exp_stat_sn.0);
    }
}
