//! What the server says.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Something that has happened: the data of an event, whose number and kind are beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Said {
    /// When, as RFC 3339 says it.
    pub time: String,
    /// What kind of event it is: a word that stays as it is.
    pub kind: String,
    /// `error`, `warn` or `info`.
    pub level: String,
    /// What it is, in words.
    pub message: String,
    /// What it is about: names, numbers and texts.
    #[schema(value_type = Object)]
    pub fields: Map<String, Value>,
}

/// A reader was too slow, or came too late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lost {
    /// So many events have gone that it has not had.
    pub lost: u64,
}

/// What the log leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogFilter {
    /// A level, or a filter like `info,ringsan::session=debug`.
    pub filter: String,
}
