//! Status and sense data (SPC-4 clause 4.5): the codes in use, the outcomes that carry them, and the encoding.
//!
//! A failed command is an [`Outcome`]; nobody else writes sense bytes by hand. [`encode`] is the only writer of the two
//! formats: fixed (response code 70h) and descriptor (72h). Deferred errors (71h, 73h) are not used.

/// Status and sense of a finished command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// SAM status code: 0x00 GOOD, 0x02 CHECK CONDITION, ...
    pub status: u8,
    /// What REQUEST SENSE or autosense says; `None` with GOOD.
    pub sense: Option<Sense>,
}

/// Sense: key, additional code and qualifier, information. Encoded to fixed or descriptor format by [`encode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sense {
    /// Sense key.
    pub key: u8,
    /// ADDITIONAL SENSE CODE and QUALIFIER, as 0xAACC.
    pub asc_ascq: u16,
    /// INFORMATION field: an LBA, the offset of a miscompare, ...
    pub information: Option<u64>,
    /// COMMAND-SPECIFIC INFORMATION: of a copy that was aborted, the segment.
    pub command_specific: Option<u32>,
    /// SENSE KEY SPECIFIC: field pointer of ILLEGAL REQUEST (C/D, bit pointer, field), segment pointer or progress indication.
    pub specific: Option<[u8; 3]>,
    /// Descriptor format (D_SENSE of the control mode page, or REQUEST SENSE with DESC).
    pub descriptor_format: bool,
}

/// Sense keys (SPC-4 table 43).
pub mod key {
    /// Nothing to report.
    pub const NO_SENSE: u8 = 0x0;
    /// The logical unit cannot be accessed.
    pub const NOT_READY: u8 = 0x2;
    /// A flaw of the medium.
    pub const MEDIUM_ERROR: u8 = 0x3;
    /// A failure of the device itself.
    pub const HARDWARE_ERROR: u8 = 0x4;
    /// Something in the CDB or the parameter list.
    pub const ILLEGAL_REQUEST: u8 = 0x5;
    /// A unit attention condition.
    pub const UNIT_ATTENTION: u8 = 0x6;
    /// The block is protected from the access.
    pub const DATA_PROTECT: u8 = 0x7;
    /// A third-party copy was given up.
    pub const COPY_ABORTED: u8 = 0xa;
    /// The device server aborted the command.
    pub const ABORTED_COMMAND: u8 = 0xb;
    /// The source data did not match the data read from the medium.
    pub const MISCOMPARE: u8 = 0xe;
}

/// Declares the additional sense codes in use, and the table of their names.
macro_rules! additional_sense_codes {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        $(#[doc = $text] pub const $name: u16 = $code;)*
        /// Every additional sense code in use with the name that SPC gives it.
        pub const NAMES: &[(u16, &str)] = &[$(($code, $text)),*];
    };
}

/// ADDITIONAL SENSE CODE and QUALIFIER (SPC-4 annex F), as 0xAACC.
pub mod asc {
    additional_sense_codes! {
        NO_ADDITIONAL_SENSE_INFORMATION = 0x0000, "NO ADDITIONAL SENSE INFORMATION";
        OPERATION_IN_PROGRESS = 0x0016, "OPERATION IN PROGRESS";
        LOGICAL_UNIT_NOT_READY_CAUSE_NOT_REPORTABLE = 0x0400, "LOGICAL UNIT NOT READY, CAUSE NOT REPORTABLE";
        LOGICAL_UNIT_NOT_READY_FORMAT_IN_PROGRESS = 0x0404, "LOGICAL UNIT NOT READY, FORMAT IN PROGRESS";
        TARGET_PORT_IN_STANDBY_STATE = 0x040b, "LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN STANDBY STATE";
        TARGET_PORT_IN_UNAVAILABLE_STATE = 0x040c, "LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN UNAVAILABLE STATE";
        LOGICAL_UNIT_NOT_READY_SANITIZE_IN_PROGRESS = 0x041b, "LOGICAL UNIT NOT READY, SANITIZE IN PROGRESS";
        LOGICAL_UNIT_NOT_READY_MANUAL_INTERVENTION_REQUIRED = 0x0403, "LOGICAL UNIT NOT READY, MANUAL INTERVENTION REQUIRED";
        LOGICAL_UNIT_COMMUNICATION_TIME_OUT = 0x0801, "LOGICAL UNIT COMMUNICATION TIME-OUT";
        UNREACHABLE_COPY_TARGET = 0x0804, "UNREACHABLE COPY TARGET";
        WRITE_ERROR = 0x0c00, "WRITE ERROR";
        THIRD_PARTY_DEVICE_FAILURE = 0x0d01, "THIRD PARTY DEVICE FAILURE";
        COPY_TARGET_DEVICE_NOT_REACHABLE = 0x0d02, "COPY TARGET DEVICE NOT REACHABLE";
        INCORRECT_COPY_TARGET_DEVICE_TYPE = 0x0d03, "INCORRECT COPY TARGET DEVICE TYPE";
        INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT = 0x0e03, "INVALID FIELD IN COMMAND INFORMATION UNIT";
        UNRECOVERED_READ_ERROR = 0x1100, "UNRECOVERED READ ERROR";
        OVERLAPPING_ATOMIC_COMMAND_IN_PROGRESS = 0x0024, "OVERLAPPING ATOMIC COMMAND IN PROGRESS";
        PARAMETER_LIST_LENGTH_ERROR = 0x1a00, "PARAMETER LIST LENGTH ERROR";
        MISCOMPARE_DURING_VERIFY_OPERATION = 0x1d00, "MISCOMPARE DURING VERIFY OPERATION";
        INVALID_COMMAND_OPERATION_CODE = 0x2000, "INVALID COMMAND OPERATION CODE";
        LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE = 0x2100, "LOGICAL BLOCK ADDRESS OUT OF RANGE";
        INVALID_TOKEN_OPERATION_CAUSE_NOT_REPORTABLE = 0x2300, "INVALID TOKEN OPERATION, CAUSE NOT REPORTABLE";
        INVALID_TOKEN_OPERATION_UNSUPPORTED_TOKEN_TYPE = 0x2301, "INVALID TOKEN OPERATION, UNSUPPORTED TOKEN TYPE";
        INVALID_TOKEN_OPERATION_TOKEN_UNKNOWN = 0x2304, "INVALID TOKEN OPERATION, TOKEN UNKNOWN";
        INVALID_TOKEN_OPERATION_TOKEN_REVOKED = 0x2306, "INVALID TOKEN OPERATION, TOKEN REVOKED";
        INVALID_TOKEN_OPERATION_TOKEN_EXPIRED = 0x2307, "INVALID TOKEN OPERATION, TOKEN EXPIRED";
        INVALID_TOKEN_OPERATION_TOKEN_DELETED = 0x2309, "INVALID TOKEN OPERATION, TOKEN DELETED";
        INVALID_TOKEN_OPERATION_INVALID_TOKEN_LENGTH = 0x230a, "INVALID TOKEN OPERATION, INVALID TOKEN LENGTH";
        INVALID_FIELD_IN_CDB = 0x2400, "INVALID FIELD IN CDB";
        LOGICAL_UNIT_NOT_SUPPORTED = 0x2500, "LOGICAL UNIT NOT SUPPORTED";
        INVALID_FIELD_IN_PARAMETER_LIST = 0x2600, "INVALID FIELD IN PARAMETER LIST";
        INVALID_RELEASE_OF_PERSISTENT_RESERVATION = 0x2604, "INVALID RELEASE OF PERSISTENT RESERVATION";
        TOO_MANY_TARGET_DESCRIPTORS = 0x2606, "TOO MANY TARGET DESCRIPTORS";
        UNSUPPORTED_TARGET_DESCRIPTOR_TYPE_CODE = 0x2607, "UNSUPPORTED TARGET DESCRIPTOR TYPE CODE";
        TOO_MANY_SEGMENT_DESCRIPTORS = 0x2608, "TOO MANY SEGMENT DESCRIPTORS";
        UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE = 0x2609, "UNSUPPORTED SEGMENT DESCRIPTOR TYPE CODE";
        UNEXPECTED_INEXACT_SEGMENT = 0x260a, "UNEXPECTED INEXACT SEGMENT";
        INLINE_DATA_LENGTH_EXCEEDED = 0x260b, "INLINE DATA LENGTH EXCEEDED";
        WRITE_PROTECTED = 0x2700, "WRITE PROTECTED";
        LOGICAL_UNIT_SOFTWARE_WRITE_PROTECTED = 0x2702, "LOGICAL UNIT SOFTWARE WRITE PROTECTED";
        SPACE_ALLOCATION_FAILED_WRITE_PROTECT = 0x2707, "SPACE ALLOCATION FAILED WRITE PROTECT";
        NOT_READY_TO_READY_CHANGE = 0x2800, "NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED";
        POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED = 0x2900, "POWER ON, RESET, OR BUS DEVICE RESET OCCURRED";
        BUS_DEVICE_RESET_FUNCTION_OCCURRED = 0x2903, "BUS DEVICE RESET FUNCTION OCCURRED";
        I_T_NEXUS_LOSS_OCCURRED = 0x2907, "I_T NEXUS LOSS OCCURRED";
        MODE_PARAMETERS_CHANGED = 0x2a01, "MODE PARAMETERS CHANGED";
        LOG_PARAMETERS_CHANGED = 0x2a02, "LOG PARAMETERS CHANGED";
        RESERVATIONS_PREEMPTED = 0x2a03, "RESERVATIONS PREEMPTED";
        RESERVATIONS_RELEASED = 0x2a04, "RESERVATIONS RELEASED";
        REGISTRATIONS_PREEMPTED = 0x2a05, "REGISTRATIONS PREEMPTED";
        ASYMMETRIC_ACCESS_STATE_CHANGED = 0x2a06, "ASYMMETRIC ACCESS STATE CHANGED";
        CAPACITY_DATA_HAS_CHANGED = 0x2a09, "CAPACITY DATA HAS CHANGED";
        TIMESTAMP_CHANGED = 0x2a10, "TIMESTAMP CHANGED";
        COMMAND_SEQUENCE_ERROR = 0x2c00, "COMMAND SEQUENCE ERROR";
        ORWRITE_GENERATION_DOES_NOT_MATCH = 0x2c0c, "ORWRITE GENERATION DOES NOT MATCH";
        COMMANDS_CLEARED_BY_ANOTHER_INITIATOR = 0x2f00, "COMMANDS CLEARED BY ANOTHER INITIATOR";
        CANNOT_READ_MEDIUM_INCOMPATIBLE_FORMAT = 0x3002, "CANNOT READ MEDIUM - INCOMPATIBLE FORMAT";
        FORMAT_COMMAND_FAILED = 0x3101, "FORMAT COMMAND FAILED";
        SANITIZE_COMMAND_FAILED = 0x3103, "SANITIZE COMMAND FAILED";
        THIN_PROVISIONING_SOFT_THRESHOLD_REACHED = 0x3807, "THIN PROVISIONING SOFT THRESHOLD REACHED";
        SAVING_PARAMETERS_NOT_SUPPORTED = 0x3900, "SAVING PARAMETERS NOT SUPPORTED";
        MEDIUM_NOT_PRESENT = 0x3a00, "MEDIUM NOT PRESENT";
        MEDIUM_NOT_PRESENT_TRAY_OPEN = 0x3a02, "MEDIUM NOT PRESENT - TRAY OPEN";
        INQUIRY_DATA_HAS_CHANGED = 0x3f03, "INQUIRY DATA HAS CHANGED";
        DEVICE_IDENTIFIER_CHANGED = 0x3f05, "DEVICE IDENTIFIER CHANGED";
        REPORTED_LUNS_DATA_HAS_CHANGED = 0x3f0e, "REPORTED LUNS DATA HAS CHANGED";
        ECHO_BUFFER_OVERWRITTEN = 0x3f0f, "ECHO BUFFER OVERWRITTEN";
        INTERNAL_TARGET_FAILURE = 0x4400, "INTERNAL TARGET FAILURE";
        SOME_COMMANDS_CLEARED_BY_ISCSI_PROTOCOL_EVENT = 0x477f, "SOME COMMANDS CLEARED BY ISCSI PROTOCOL EVENT";
        MEDIUM_REMOVAL_PREVENTED = 0x5302, "MEDIUM REMOVAL PREVENTED";
        INSUFFICIENT_REGISTRATION_RESOURCES = 0x5504, "INSUFFICIENT REGISTRATION RESOURCES";
        INSUFFICIENT_RESOURCES_TO_CREATE_ROD_TOKEN = 0x550d, "INSUFFICIENT RESOURCES TO CREATE ROD TOKEN";
        ILLEGAL_MODE_FOR_THIS_TRACK = 0x6400, "ILLEGAL MODE FOR THIS TRACK";
    }
}

/// SPC's name for an additional sense code in use.
pub fn name(asc_ascq: u16) -> Option<&'static str> {
    asc::NAMES.iter().find(|(code, _)| *code == asc_ascq).map(|(_, name)| *name)
}

/// SAM status codes (SAM-5 table 34).
pub mod status {
    /// Done.
    pub const GOOD: u8 = 0x00;
    /// Sense data says what is wrong.
    pub const CHECK_CONDITION: u8 = 0x02;
    /// Not now: to be tried again.
    pub const BUSY: u8 = 0x08;
    /// A reservation of another I_T nexus forbids the command.
    pub const RESERVATION_CONFLICT: u8 = 0x18;
    /// There is no room for the command.
    pub const TASK_SET_FULL: u8 = 0x28;
}

/// Sense that says nothing.
pub(super) const NO_SENSE: Sense = Sense::new(key::NO_SENSE, asc::NO_ADDITIONAL_SENSE_INFORMATION);

impl Sense {
    /// A sense key and its additional sense code, nothing else.
    pub const fn new(key: u8, asc_ascq: u16) -> Sense {
        Sense { key, asc_ascq, information: None, command_specific: None, specific: None, descriptor_format: false }
    }
}

impl Outcome {
    /// GOOD, no sense.
    pub const GOOD: Outcome = Outcome { status: 0, sense: None };

    /// Whether what was compared was not the same.
    pub fn is_miscompare(&self) -> bool {
        self.sense.is_some_and(|sense| sense.key == key::MISCOMPARE)
    }

    /// RESERVATION CONFLICT: a status without sense data (SAM-5 clause 5.3.1).
    pub const RESERVATION_CONFLICT: Outcome = Outcome { status: status::RESERVATION_CONFLICT, sense: None };

    /// CHECK CONDITION with this sense.
    pub const fn check(sense: Sense) -> Outcome {
        Outcome { status: status::CHECK_CONDITION, sense: Some(sense) }
    }

    /// ILLEGAL REQUEST with an additional sense code.
    pub const fn illegal(asc_ascq: u16) -> Outcome {
        Outcome::check(Sense::new(key::ILLEGAL_REQUEST, asc_ascq))
    }

    /// INVALID FIELD IN CDB, with a field pointer to a bit of a byte (SPC-4 clause 4.5.2.4.2).
    pub const fn invalid_cdb_field(byte: u16, bit: u8) -> Outcome {
        pointing(asc::INVALID_FIELD_IN_CDB, 0x40, byte, bit)
    }

    /// INVALID FIELD IN PARAMETER LIST, with a field pointer to a bit of a byte.
    pub const fn invalid_list_field(byte: u16, bit: u8) -> Outcome {
        pointing(asc::INVALID_FIELD_IN_PARAMETER_LIST, 0, byte, bit)
    }

    /// BUSY: a status without sense data (SAM-5 clause 5.3.1).
    pub const BUSY: Outcome = Outcome { status: status::BUSY, sense: None };

    /// ILLEGAL REQUEST with another additional sense code about the parameter list, and a field pointer to a bit of a byte.
    pub const fn illegal_list(asc_ascq: u16, byte: u16, bit: u8) -> Outcome {
        pointing(asc_ascq, 0, byte, bit)
    }

    /// MISCOMPARE DURING VERIFY OPERATION; `offset` of the first byte that differs, in bytes from the first one compared
    /// (SBC-3 clauses 5.2 and 5.32).
    pub const fn miscompare(offset: u64) -> Outcome {
        let mut sense = Sense::new(key::MISCOMPARE, asc::MISCOMPARE_DURING_VERIFY_OPERATION);
        sense.information = Some(offset);
        Outcome::check(sense)
    }
}

/// ILLEGAL REQUEST with SKSV, `command_data` (C/D, 40h for the CDB), BPV and the pointers.
const fn pointing(asc_ascq: u16, command_data: u8, byte: u16, bit: u8) -> Outcome {
    let mut sense = Sense::new(key::ILLEGAL_REQUEST, asc_ascq);
    let [high, low] = byte.to_be_bytes();
    sense.specific = Some([0x80 | command_data | 0x08 | (bit & 7), high, low]);
    Outcome::check(sense)
}

/// Bytes that sense data may have (SPC-4 clause 4.5.1).
pub const MAX_SENSE_BYTES: usize = 252;
/// Bytes of fixed format sense data without vendor specific ones.
const FIXED_BYTES: usize = 18;
/// Bytes of the header of descriptor format sense data.
const DESCRIPTOR_HEADER_BYTES: usize = 8;

/// Writes sense data in the format it asks for and answers its length in bytes.
///
/// INFORMATION that does not fit the 32 bits of the fixed format is left out and VALID is zero (SPC-4 clause 4.5.3).
pub fn encode(sense: &Sense, out: &mut [u8; MAX_SENSE_BYTES]) -> usize {
    let [asc, ascq] = sense.asc_ascq.to_be_bytes();
    if !sense.descriptor_format {
        out[..FIXED_BYTES].fill(0);
        out[0] = 0x70;
        out[2] = sense.key;
        if let Some(information) = sense.information.and_then(|value| u32::try_from(value).ok()) {
            out[0] |= 0x80;
            out[3..7].copy_from_slice(&information.to_be_bytes());
        }
        out[7] = (FIXED_BYTES - 8) as u8;
        out[8..12].copy_from_slice(&sense.command_specific.unwrap_or(0).to_be_bytes());
        out[12] = asc;
        out[13] = ascq;
        if let Some(specific) = sense.specific {
            out[15..18].copy_from_slice(&specific);
        }
        return FIXED_BYTES;
    }
    let mut len = DESCRIPTOR_HEADER_BYTES;
    out[..len].copy_from_slice(&[0x72, sense.key, asc, ascq, 0, 0, 0, 0]);
    if let Some(information) = sense.information {
        out[len..len + 4].copy_from_slice(&[0x00, 0x0a, 0x80, 0]);
        out[len + 4..len + 12].copy_from_slice(&information.to_be_bytes());
        len += 12;
    }
    if let Some(command_specific) = sense.command_specific {
        out[len..len + 8].copy_from_slice(&[0x01, 0x0a, 0, 0, 0, 0, 0, 0]);
        out[len + 8..len + 12].copy_from_slice(&command_specific.to_be_bytes());
        len += 12;
    }
    if let Some([first, second, third]) = sense.specific {
        out[len..len + 8].copy_from_slice(&[0x02, 0x06, 0, 0, first, second, third, 0]);
        len += 8;
    }
    out[7] = (len - DESCRIPTOR_HEADER_BYTES) as u8;
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(sense: &Sense) -> Vec<u8> {
        let mut out = [0xaa; MAX_SENSE_BYTES];
        let len = encode(sense, &mut out);
        out[..len].to_vec()
    }

    #[test]
    fn fixed_format() {
        let Some(sense) = Outcome::invalid_cdb_field(2, 7).sense else { panic!("no sense") };
        assert_eq!(bytes(&sense), [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0xcf, 0, 2]);
        let Some(sense) = Outcome::miscompare(0x1234).sense else { panic!("no sense") };
        assert_eq!(bytes(&sense), [0xf0, 0, 0xe, 0, 0, 0x12, 0x34, 10, 0, 0, 0, 0, 0x1d, 0, 0, 0, 0, 0]);
        let wide = Sense { information: Some(1 << 32), ..sense };
        assert_eq!(bytes(&wide)[..8], [0x70, 0, 0xe, 0, 0, 0, 0, 10], "does not fit, so VALID is zero");
    }

    #[test]
    fn descriptor_format() {
        let mut sense = Sense::new(key::MISCOMPARE, asc::MISCOMPARE_DURING_VERIFY_OPERATION);
        sense.command_specific = Some(0x0102);
        assert_eq!(bytes(&sense)[8..12], [0, 0, 1, 2]);
        sense.descriptor_format = true;
        assert_eq!(bytes(&sense)[7..20], [12, 1, 0xa, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        sense.command_specific = None;
        assert_eq!(bytes(&sense), [0x72, 0xe, 0x1d, 0, 0, 0, 0, 0]);
        sense.information = Some(1 << 40);
        sense.specific = Some([0xc8, 0, 4]);
        assert_eq!(
            bytes(&sense),
            [0x72, 0xe, 0x1d, 0, 0, 0, 0, 20, 0, 0xa, 0x80, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 6, 0, 0, 0xc8, 0, 4, 0]
        );
    }

    #[test]
    fn additional_sense_codes_are_unique() {
        for (position, (code, text)) in asc::NAMES.iter().enumerate() {
            assert!(asc::NAMES[..position].iter().all(|(other, name)| other != code && name != text), "{text}");
            assert_eq!(name(*code), Some(*text));
        }
    }
}
