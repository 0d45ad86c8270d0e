//! What a change is, or would be, and to whom.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// What came of a change, or of reading the configuration again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// The LUN that was asked for, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lun: Option<u16>,
    /// What is different from before, a sentence each; empty: nothing.
    pub done: Vec<String>,
    /// What the file says and has to wait for the next start, a sentence each.
    pub kept: Vec<String>,
    /// Logical units that wait for a file that is still open otherwise.
    pub waiting: Vec<String>,
    /// Logical units that are not served, and why, a sentence each; they are tried again until they can be.
    #[serde(default)]
    pub degraded: Vec<String>,
    /// What is allowed, but should not stay as it is, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What would be done, if that was asked for: then nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
}

/// What a change would do. What a machine says when a file is opened or grows is not known before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// What would be different.
    pub steps: Vec<Step>,
    /// The sessions that it would make a difference to.
    pub sessions: Vec<Affected>,
    /// Cores that have not answered in time: their sessions are not known.
    pub silent_cores: Vec<usize>,
    /// It takes something away from a session, or may: it is done with `force=true` only.
    pub needs_force: bool,
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// `+`: it comes; `-`: it goes; `~`: it becomes another.
    pub sign: String,
    /// What, in words.
    pub what: String,
}

/// A session that a change makes a difference to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Affected {
    /// Its TSIH.
    pub tsih: u16,
    /// The name of its initiator.
    pub initiator: String,
    /// What it loses: LUNs, as it finds them.
    pub loses: Vec<u16>,
    /// It is dropped, for it may not log in any more.
    pub dropped: bool,
}

/// Settings of a table, by the keys of the configuration file (`size`, `thin`, `iops`, ...).
pub type Settings = BTreeMap<String, Setting>;

/// What a setting is: null takes it away.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Setting {
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A text; sizes have a unit, like `1GiB`.
    Text(String),
    /// Several.
    List(Vec<Element>),
    /// The default.
    Default(#[schema(inline)] Null),
}

/// JSON's null.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Null(());

// That of `()` takes anything.
impl PartialSchema for Null {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Null).build().into()
    }
}

impl ToSchema for Null {}

/// An element of a list.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Element {
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}

/// A logical unit that is to come.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLun {
    /// Its LUN; none: the lowest that is free.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lun: Option<u16>,
    /// Its settings.
    pub settings: Settings,
}

/// An account of the configuration file, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// The user name (CHAP_N).
    pub user: String,
    /// Where its secret is: `secret-file`, `secret-env`, or `secret` for the configuration file.
    pub secret_in: String,
    /// The file or the variable; none: it is in the configuration file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}
