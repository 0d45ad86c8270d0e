//! What a login proposes ([`Offer`]) and what it comes to ([`Params`]): the keys of RFC 7143 chapter 13, as numbers.

use super::outbox::Digests;
use crate::wire::text::{LoginValue, TextWriter};

/// What is agreed upon, for one session and (digests, segment lengths) one of its connections. Lengths are bytes, and named
/// by their receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// HeaderDigest and DataDigest (RFC 7143 section 13.1).
    pub digests: Digests,
    /// MaxConnections (13.2).
    pub max_connections: u16,
    /// InitialR2T=Yes (13.10).
    pub initial_r2t: bool,
    /// ImmediateData=Yes (13.11).
    pub immediate_data: bool,
    /// MaxRecvDataSegmentLength that the target declared (13.12).
    pub target_max_recv_bytes: u32,
    /// MaxBurstLength (13.13).
    pub max_burst_bytes: u32,
    /// FirstBurstLength (13.14).
    pub first_burst_bytes: u32,
    /// DefaultTime2Wait, seconds (13.15).
    pub time2wait_s: u16,
    /// DefaultTime2Retain, seconds (13.16).
    pub time2retain_s: u16,
    /// MaxOutstandingR2T (13.17).
    pub max_outstanding_r2t: u16,
    /// DataPDUInOrder=Yes (13.18).
    pub data_pdu_in_order: bool,
    /// DataSequenceInOrder=Yes (13.19).
    pub data_sequence_in_order: bool,
    /// ErrorRecoveryLevel (13.20).
    pub error_recovery_level: u8,
    /// iSCSIProtocolLevel (RFC 7144 section 7.1.1).
    pub protocol_level: u8,
}

impl Default for Params {
    /// The values of RFC 7143 chapter 13 that hold before any negotiation.
    fn default() -> Self {
        Params {
            digests: Digests::default(),
            max_connections: 1,
            initial_r2t: true,
            immediate_data: true,
            target_max_recv_bytes: 8192,
            max_burst_bytes: 262_144,
            first_burst_bytes: 65_536,
            time2wait_s: 2,
            time2retain_s: 20,
            max_outstanding_r2t: 1,
            data_pdu_in_order: true,
            data_sequence_in_order: true,
            error_recovery_level: 0,
            protocol_level: 1,
        }
    }
}

impl Params {
    /// Takes what the target says of one key. Returns whether the key is one of these: any other is for the caller. Where
    /// the target answers that it does not negotiate a key, what holds is what held before.
    ///
    /// # Errors
    /// The value is not of the key's type, or outside of its bounds.
    pub fn settle(&mut self, key: &str, value: &str) -> Result<bool, KeyError> {
        if matches!(value, "Irrelevant" | "NotUnderstood" | "Reject") {
            return Ok(true);
        }
        let value = LoginValue(value);
        let number = |bounds| value.number_in(bounds).map_err(|_| KeyError::Value);
        let short = |bounds| number(bounds).map(|n| n as u16);
        let length = || number(512..=0xff_ffff).map(|n| n as u32);
        let boolean = || value.boolean().map_err(|_| KeyError::Value);
        match key {
            "HeaderDigest" => self.digests.header = digest(value)?,
            "DataDigest" => self.digests.data = digest(value)?,
            "MaxConnections" => self.max_connections = short(1..=65_535)?,
            "InitialR2T" => self.initial_r2t = boolean()?,
            "ImmediateData" => self.immediate_data = boolean()?,
            "MaxRecvDataSegmentLength" => self.target_max_recv_bytes = length()?,
            "MaxBurstLength" => self.max_burst_bytes = length()?,
            "FirstBurstLength" => self.first_burst_bytes = length()?,
            "DefaultTime2Wait" => self.time2wait_s = short(0..=3600)?,
            "DefaultTime2Retain" => self.time2retain_s = short(0..=3600)?,
            "MaxOutstandingR2T" => self.max_outstanding_r2t = short(1..=65_535)?,
            "DataPDUInOrder" => self.data_pdu_in_order = boolean()?,
            "DataSequenceInOrder" => self.data_sequence_in_order = boolean()?,
            "ErrorRecoveryLevel" => self.error_recovery_level = short(0..=2)? as u8,
            "iSCSIProtocolLevel" => self.protocol_level = short(0..=31)? as u8,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Bytes of a write of `total` bytes that go with the command, and bytes that go without being asked for, those
    /// included.
    #[inline]
    pub fn unsolicited(&self, total: u32) -> (u32, u32) {
        //= RFC 7143 section 13.11
        //# If ImmediateData is set to No and InitialR2T is set to Yes, then the
        //# initiator MUST NOT send unsolicited data and the target MUST reject
        //# unsolicited data with the corresponding response code.
        let first_burst = total.min(self.first_burst_bytes);
        let immediate = if self.immediate_data { first_burst.min(self.target_max_recv_bytes) } else { 0 };
        (immediate, if self.initial_r2t { immediate } else { first_burst })
    }
}

fn digest(value: LoginValue<'_>) -> Result<bool, KeyError> {
    match value.0 {
        "CRC32C" => Ok(true),
        "None" => Ok(false),
        _ => Err(KeyError::Value),
    }
}

/// Why what a target says of a key is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not of the key's type, or outside of its bounds.
    #[error("a value that its key cannot have")]
    Value,
}

/// What an initiator proposes for the operational keys. A key that is `None` is not sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    /// HeaderDigest: CRC32C, or None.
    pub header_digest: Option<bool>,
    /// DataDigest: CRC32C, or None.
    pub data_digest: Option<bool>,
    /// MaxConnections.
    pub max_connections: Option<u16>,
    /// InitialR2T.
    pub initial_r2t: Option<bool>,
    /// ImmediateData.
    pub immediate_data: Option<bool>,
    /// MaxRecvDataSegmentLength, of this initiator, bytes.
    pub max_recv_bytes: Option<u32>,
    /// MaxBurstLength, bytes.
    pub max_burst_bytes: Option<u32>,
    /// FirstBurstLength, bytes.
    pub first_burst_bytes: Option<u32>,
    /// DefaultTime2Wait, seconds.
    pub time2wait_s: Option<u16>,
    /// DefaultTime2Retain, seconds.
    pub time2retain_s: Option<u16>,
    /// MaxOutstandingR2T.
    pub max_outstanding_r2t: Option<u16>,
    /// ErrorRecoveryLevel.
    pub error_recovery_level: Option<u8>,
    /// iSCSIProtocolLevel.
    pub protocol_level: Option<u8>,
    /// TaskReporting, as a list.
    pub task_reporting: Option<&'static str>,
    /// `key=value` pairs as they are, behind the others.
    pub others: Vec<String>,
}

impl Offer {
    /// What Linux proposes: the longest bursts, data without being asked for, no digests, no recovery within a session.
    pub fn usual() -> Offer {
        Offer {
            header_digest: Some(false),
            data_digest: Some(false),
            max_connections: Some(1),
            initial_r2t: Some(false),
            immediate_data: Some(true),
            max_recv_bytes: Some(262_144),
            max_burst_bytes: Some(16_776_192),
            first_burst_bytes: Some(262_144),
            time2wait_s: Some(2),
            time2retain_s: Some(0),
            max_outstanding_r2t: Some(1),
            error_recovery_level: Some(0),
            ..Offer::default()
        }
    }

    /// The longest data segment that a target may send under this offer, in bytes.
    pub fn own_max_recv_bytes(&self) -> u32 {
        self.max_recv_bytes.unwrap_or(8192)
    }

    /// Appends the pairs, in the order of RFC 7143 chapter 13.
    pub fn write(&self, text: &mut Vec<u8>) {
        let mut writer = TextWriter::new(text);
        let digest = |on: bool| if on { "CRC32C" } else { "None" };
        let yes = |on: bool| if on { "Yes" } else { "No" };
        pair(&mut writer, "HeaderDigest", self.header_digest.map(digest));
        pair(&mut writer, "DataDigest", self.data_digest.map(digest));
        pair(&mut writer, "MaxConnections", self.max_connections);
        pair(&mut writer, "InitialR2T", self.initial_r2t.map(yes));
        pair(&mut writer, "ImmediateData", self.immediate_data.map(yes));
        pair(&mut writer, "MaxRecvDataSegmentLength", self.max_recv_bytes);
        pair(&mut writer, "MaxBurstLength", self.max_burst_bytes);
        pair(&mut writer, "FirstBurstLength", self.first_burst_bytes);
        pair(&mut writer, "DefaultTime2Wait", self.time2wait_s);
        pair(&mut writer, "DefaultTime2Retain", self.time2retain_s);
        pair(&mut writer, "MaxOutstandingR2T", self.max_outstanding_r2t);
        pair(&mut writer, "ErrorRecoveryLevel", self.error_recovery_level);
        pair(&mut writer, "TaskReporting", self.task_reporting);
        pair(&mut writer, "iSCSIProtocolLevel", self.protocol_level);
        for other in &self.others {
            text.extend_from_slice(other.as_bytes());
            text.push(0);
        }
    }
}

fn pair(writer: &mut TextWriter<'_>, key: &str, value: Option<impl std::fmt::Display>) {
    if let Some(value) = value {
        writer.pair(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::text::Pairs;

    #[test]
    fn what_is_offered_can_be_settled() {
        let offer = Offer {
            header_digest: Some(true),
            error_recovery_level: Some(2),
            protocol_level: Some(2),
            ..Offer::usual()
        };
        let mut text = Vec::new();
        offer.write(&mut text);
        let mut params = Params::default();
        for pair in Pairs::new(&text) {
            let (key, value) = pair.unwrap();
            assert_eq!(params.settle(key, value), Ok(true), "{key}");
        }
        let digests = Digests { header: true, data: false };
        let sizes = (params.max_burst_bytes, params.first_burst_bytes, params.error_recovery_level);
        assert_eq!((params.digests, params.initial_r2t, sizes), (digests, false, (16_776_192, 262_144, 2)));
    }

    #[test]
    fn what_a_target_may_not_say() {
        let mut params = Params::default();
        for (key, value) in [
            ("FirstBurstLength", "x"),
            ("FirstBurstLength", "511"),
            ("InitialR2T", "yes"),
            ("HeaderDigest", "CRC32C,None"),
            ("ErrorRecoveryLevel", "3"),
        ] {
            assert_eq!(params.settle(key, value), Err(KeyError::Value), "{key}={value}");
        }
        assert_eq!(params.settle("X-com.example", "1"), Ok(false));
        assert_eq!(params.settle("InitialR2T", "Irrelevant"), Ok(true));
        assert_eq!(params, Params::default());
        assert_eq!(params.settle("MaxRecvDataSegmentLength", "0x10000"), Ok(true));
        assert_eq!(params.target_max_recv_bytes, 65_536);
    }

    #[test]
    fn four_ways_to_send_data_unasked() {
        //= RFC 7143 section 13.11
        //# If ImmediateData is set to No and InitialR2T is set to Yes, then the
        //# initiator MUST NOT send unsolicited data and the target MUST reject
        //# unsolicited data with the corresponding response code.
        let params = |initial_r2t, immediate_data| Params {
            initial_r2t,
            immediate_data,
            target_max_recv_bytes: 1024,
            first_burst_bytes: 3072,
            ..Params::default()
        };
        assert_eq!(params(true, false).unsolicited(8192), (0, 0));
        assert_eq!(params(true, true).unsolicited(8192), (1024, 1024));
        assert_eq!(params(false, false).unsolicited(8192), (0, 3072));
        assert_eq!(params(false, true).unsolicited(8192), (1024, 3072));
        assert_eq!(params(false, true).unsolicited(512), (512, 512));
    }
}
