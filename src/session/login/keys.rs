//! The keys of RFC 7143 chapters 12 and 13 as one table: who may send each, when, and how its value is settled.
//!
//! Login and full feature phase read the same rows. Only a key that is not in the table is answered with NotUnderstood
//! (RFC 7143 section 6.2).

use crate::wire::text::{ValueError, answer};

/// When a key may be used ("Use" in RFC 7143 chapter 13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// LO: in the login of the leading connection.
    LeadingOnly,
    /// IO: in the login of any connection.
    InitializeOnly,
    /// ALL: in login and full feature phase.
    All,
    /// FFPO: in full feature phase.
    FullFeatureOnly,
    /// In the security stage of a login (chapter 12).
    Security,
}

/// Who may send a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Senders {
    /// The initiator.
    Initiator,
    /// The target.
    Target,
    /// Either.
    Both,
}

/// What a key holds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// SW: the session.
    Session,
    /// CO: the connection.
    Connection,
}

/// How the value of a key is settled: its type and result function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Declared: text, not answered.
    Text,
    /// Declared: a number from the first to the second, not answered.
    Number(u32, u32),
    /// The first value of a list that the responder supports.
    List,
    /// Boolean, result function AND.
    And,
    /// Boolean, result function OR.
    Or,
    /// A number from the first to the second, result function Minimum.
    Minimum(u32, u32),
    /// A number from the first to the second, result function Maximum.
    Maximum(u32, u32),
    /// Obsoleted by RFC 7143 section 13.25.
    Obsolete,
    /// Has rules of its own (authentication, SendTargets).
    Own,
}

/// One row of the table.
#[derive(Debug)]
pub struct KeySpec {
    /// Which key.
    pub key: Key,
    /// As it stands on the wire.
    pub name: &'static str,
    /// When it may be used.
    pub usage: Usage,
    /// Any-Stage: in the security stage too.
    pub any_stage: bool,
    /// Who may send it.
    pub senders: Senders,
    /// What it holds for.
    pub scope: Scope,
    /// How its value is settled.
    pub rule: Rule,
    /// Irrelevant when SessionType=Discovery.
    pub irrelevant_in_discovery: bool,
}

impl KeySpec {
    /// Its value is declared, not negotiated.
    pub fn is_declared(&self) -> bool {
        matches!(self.rule, Rule::Text | Rule::Number(..))
    }
}

const LO: Usage = Usage::LeadingOnly;
const IO: Usage = Usage::InitializeOnly;
const ALL: Usage = Usage::All;
const FFPO: Usage = Usage::FullFeatureOnly;
const SECURITY: Usage = Usage::Security;
const I: Senders = Senders::Initiator;
const T: Senders = Senders::Target;
const IT: Senders = Senders::Both;
const SW: Scope = Scope::Session;
const CO: Scope = Scope::Connection;
/// Any-Stage.
const ANY: bool = true;
/// Not Any-Stage.
const OWN: bool = false;
/// Irrelevant when SessionType=Discovery.
const NORMAL: bool = true;
/// Relevant in every session.
const EVERY: bool = false;
/// The largest value of the keys whose value is a length in bytes.
const MAX_LENGTH: u32 = (1 << 24) - 1;

macro_rules! keys {
    ($($key:ident $name:literal $usage:ident $stage:ident $senders:ident $scope:ident $session:ident $rule:expr;)*) => {
        /// A key of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "each is named as the standard names it")]
        pub enum Key { $($key,)* }

        /// The keys, in the order of chapters 13 and 12.
        pub static TABLE: &[KeySpec] = &[$(KeySpec {
            key: Key::$key,
            name: $name,
            usage: $usage,
            any_stage: $stage,
            senders: $senders,
            scope: $scope,
            rule: $rule,
            irrelevant_in_discovery: $session,
        },)*];
    };
}

//= RFC 7143 section 6.2
//# An iSCSI implementation MUST comprehend all text keys defined in this
//# document.
//
//= RFC 7143 section 6.2
//# All keys in this document MUST be supported by iSCSI initiators and
//# targets when used as specified here.
keys! {
    //= RFC 7143 section 11.12.10
    //# All keys listed in Section 13, except for the X extension formats, MUST
    //# be supported by iSCSI initiators and targets.
    //= RFC 7143 section 11.13.8
    //# All keys listed in Section 13, except for the X extension formats, MUST
    //# be supported by iSCSI initiators and targets.
    HeaderDigest             "HeaderDigest"             IO       OWN IT CO EVERY  Rule::List;
    DataDigest               "DataDigest"               IO       OWN IT CO EVERY  Rule::List;
    MaxConnections           "MaxConnections"           LO       OWN IT SW NORMAL Rule::Minimum(1, 65_535);
    SendTargets              "SendTargets"              FFPO     OWN I  SW EVERY  Rule::Own;
    TargetName               "TargetName"               IO       ANY IT SW EVERY  Rule::Text;
    InitiatorName            "InitiatorName"            IO       ANY I  SW EVERY  Rule::Text;
    TargetAlias              "TargetAlias"              ALL      ANY T  SW EVERY  Rule::Text;
    InitiatorAlias           "InitiatorAlias"           ALL      ANY I  SW EVERY  Rule::Text;
    TargetAddress            "TargetAddress"            ALL      ANY T  SW EVERY  Rule::Text;
    TargetPortalGroupTag     "TargetPortalGroupTag"     IO       ANY T  SW EVERY  Rule::Text;
    InitialR2T               "InitialR2T"               LO       OWN IT SW NORMAL Rule::Or;
    ImmediateData            "ImmediateData"            LO       OWN IT SW NORMAL Rule::And;
    MaxRecvDataSegmentLength "MaxRecvDataSegmentLength" ALL      OWN IT CO EVERY  Rule::Number(512, MAX_LENGTH);
    MaxBurstLength           "MaxBurstLength"           LO       OWN IT SW NORMAL Rule::Minimum(512, MAX_LENGTH);
    FirstBurstLength         "FirstBurstLength"         LO       OWN IT SW NORMAL Rule::Minimum(512, MAX_LENGTH);
    DefaultTime2Wait         "DefaultTime2Wait"         LO       OWN IT SW EVERY  Rule::Maximum(0, 3600);
    DefaultTime2Retain       "DefaultTime2Retain"       LO       OWN IT SW EVERY  Rule::Minimum(0, 3600);
    MaxOutstandingR2T        "MaxOutstandingR2T"        LO       OWN IT SW NORMAL Rule::Minimum(1, 65_535);
    DataPduInOrder           "DataPDUInOrder"           LO       OWN IT SW NORMAL Rule::Or;
    DataSequenceInOrder      "DataSequenceInOrder"      LO       OWN IT SW NORMAL Rule::Or;
    ErrorRecoveryLevel       "ErrorRecoveryLevel"       LO       OWN IT SW EVERY  Rule::Minimum(0, 2);
    SessionType              "SessionType"              LO       ANY I  SW EVERY  Rule::Text;
    TaskReporting            "TaskReporting"            LO       OWN IT SW NORMAL Rule::List;
    IscsiProtocolLevel       "iSCSIProtocolLevel"       LO       OWN IT SW NORMAL Rule::Minimum(0, 31);
    IfMarker                 "IFMarker"                 IO       OWN IT CO EVERY  Rule::Obsolete;
    OfMarker                 "OFMarker"                 IO       OWN IT CO EVERY  Rule::Obsolete;
    IfMarkInt                "IFMarkInt"                IO       OWN IT CO EVERY  Rule::Obsolete;
    OfMarkInt                "OFMarkInt"                IO       OWN IT CO EVERY  Rule::Obsolete;
    NodeArchitecture         "X#NodeArchitecture"       LO       OWN IT SW EVERY  Rule::Text;
    AuthMethod               "AuthMethod"               SECURITY ANY IT CO EVERY  Rule::List;
    KrbApReq                 "KRB_AP_REQ"               SECURITY ANY I  CO EVERY  Rule::Own;
    KrbApRep                 "KRB_AP_REP"               SECURITY ANY T  CO EVERY  Rule::Own;
    SrpU                     "SRP_U"                    SECURITY ANY I  CO EVERY  Rule::Own;
    TargetAuth               "TargetAuth"               SECURITY ANY I  CO EVERY  Rule::Own;
    SrpGroup                 "SRP_GROUP"                SECURITY ANY IT CO EVERY  Rule::Own;
    SrpS                     "SRP_s"                    SECURITY ANY T  CO EVERY  Rule::Own;
    SrpA                     "SRP_A"                    SECURITY ANY I  CO EVERY  Rule::Own;
    SrpB                     "SRP_B"                    SECURITY ANY T  CO EVERY  Rule::Own;
    SrpM                     "SRP_M"                    SECURITY ANY I  CO EVERY  Rule::Own;
    SrpHm                    "SRP_HM"                   SECURITY ANY T  CO EVERY  Rule::Own;
    ChapA                    "CHAP_A"                   SECURITY ANY IT CO EVERY  Rule::Own;
    ChapI                    "CHAP_I"                   SECURITY ANY IT CO EVERY  Rule::Own;
    ChapC                    "CHAP_C"                   SECURITY ANY IT CO EVERY  Rule::Own;
    ChapN                    "CHAP_N"                   SECURITY ANY IT CO EVERY  Rule::Own;
    ChapR                    "CHAP_R"                   SECURITY ANY IT CO EVERY  Rule::Own;
}

/// The row of the key with this name.
pub fn find(name: &str) -> Option<&'static KeySpec> {
    //= RFC 7143 section 6.1
    //# All the text keys and text values specified in this
    //# document are case sensitive; they are to be presented and interpreted
    //# as they appear in this document without change of case.
    TABLE.iter().find(|spec| spec.name == name)
}

/// A set of keys, to notice one that comes twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeySet(u64);

const _: () = assert!(Key::ChapR as u32 == 44, "KeySet has a bit for each key");

impl KeySet {
    /// Adds a key. Returns whether it was new.
    pub fn insert(&mut self, key: Key) -> bool {
        let new = !self.contains(key);
        self.0 |= 1 << key as u32;
        new
    }

    /// Whether the key is in it.
    pub fn contains(self, key: Key) -> bool {
        self.0 & 1 << key as u32 != 0
    }
}

/// What is wrong with a key=value pair that is well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Declared or negotiated before.
    #[error("sent twice")]
    Twice,
    /// Not allowed in this stage or phase.
    #[error("not allowed in this stage")]
    Stage,
    /// Only targets send it.
    #[error("only a target may send it")]
    Sender,
    /// Reject, Irrelevant or NotUnderstood, which only an answer may have, as the value of a proposal or declaration.
    #[error("proposes a reserved word")]
    ReservedWord,
    /// Not of the key's type.
    #[error("is not a value of the type that the key has")]
    Malformed,
    /// Outside the bounds of the key.
    #[error("is out of range")]
    Range,
    /// Longer than a simple value may be.
    #[error("is too long")]
    TooLong,
    /// No value of the list is acceptable.
    #[error("offers nothing that is supported")]
    NoChoice,
    /// Answers what we proposed with something that was not among it.
    #[error("chooses what was not proposed")]
    NotProposed,
    /// Does not fit to the values of other keys.
    #[error("contradicts another key")]
    Integrity,
}

impl From<ValueError> for KeyFault {
    fn from(error: ValueError) -> Self {
        match error {
            ValueError::OutOfRange => KeyFault::Range,
            ValueError::TooLong(_) => KeyFault::TooLong,
            ValueError::NotBoolean | ValueError::NotNumber | ValueError::NotRange | ValueError::NotBinary => {
                KeyFault::Malformed
            }
        }
    }
}

/// Whether a value is one of the constants that only answers may have.
pub fn is_answer_word(value: &str) -> bool {
    matches!(value, answer::REJECT | answer::IRRELEVANT | answer::NOT_UNDERSTOOD)
}

/// Whether an initiator may answer one of our declarations with this value. It need not at all, but some do.
pub fn may_answer_declaration(value: &str) -> bool {
    //= RFC 7143 section 6.2
    //# Returning a NotUnderstood response on any of these text keys therefore
    //# MUST be considered a protocol error and handled accordingly.
    //= RFC 7143 section 6.2
    //# A proposer of an iSCSI key, negotiated or declarative, in a text key
    //# exchange MUST thus be able to properly handle a NotUnderstood response.
    is_answer_word(value) && value != answer::NOT_UNDERSTOOD
}
