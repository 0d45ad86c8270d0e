//! What the interface shows, as JSON: the names here are its names, and stay as they are within `/v1`.

mod plan;
mod said;

pub use plan::{Account, Affected, Applied, Element, NewLun, Null, Plan, Setting, Settings, Step};
pub use said::{LogFilter, Lost, Said};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Which program this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// Its version.
    pub version: String,
    /// The version of the interface: the first part of its paths.
    pub api: String,
}

/// How the server is, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// When it began to serve, seconds since 1970.
    pub since: u64,
    /// How long it has served, seconds.
    pub uptime_s: u64,
    /// The number of the configuration that is served: each has a higher one than the one before.
    pub generation: u64,
    /// Nothing is wrong that is known of.
    pub healthy: bool,
    /// What is wrong, a sentence each.
    pub problems: Vec<String>,
    /// The cores.
    pub cores: Vec<Core>,
    /// Where initiators connect to.
    pub portals: Vec<Portal>,
    /// The targets, with their logical units.
    pub targets: Vec<Target>,
}

/// A portal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Portal {
    /// The address listened on.
    pub listen: String,
    /// What discovery tells instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    /// The portal group tag.
    pub group: u16,
    /// Why it cannot be listened on; it is tried again until it can be.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub degraded: Option<String>,
}

/// A core.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Core {
    /// Its number among those that the server runs on.
    pub core: usize,
    /// It has answered in time. If not, what follows is 0.
    pub answers: bool,
    /// How busy it is, thousandths; none: it has not said so lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy: Option<u32>,
    /// Sessions on it.
    pub sessions: usize,
    /// Connections on it, those that log in among them.
    pub connections: usize,
    /// Bytes of its I/O buffers that nobody holds.
    pub free_buffer_bytes: usize,
    /// Bytes of its I/O buffers that somebody holds.
    #[serde(default)]
    pub used_buffer_bytes: usize,
    /// Operations on media that it waits for.
    #[serde(default)]
    pub operations: usize,
    /// What it has counted since the server began.
    pub counters: Counters,
    /// How long commands took since the server began, by kind.
    #[serde(default)]
    pub latency: Vec<Latency>,
}

/// How long commands of one kind took, from the turn of the core that they were executed in to the one that they were answered in;
/// times to one part in a hundred, and those of more than a minute as a minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Latency {
    /// `read`, `write`, `flush` or `other`.
    pub kind: String,
    /// Commands.
    pub commands: u64,
    /// The mean, microseconds.
    pub mean_us: u64,
    /// What half of them took at most, microseconds.
    pub p50_us: u64,
    /// What 99 of 100 took at most, microseconds.
    pub p99_us: u64,
    /// What 999 of 1,000 took at most, microseconds.
    pub p999_us: u64,
    /// The longest, microseconds.
    pub max_us: u64,
}

/// Commands of one kind that a logical unit has answered since the server began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Commands {
    /// `read`, `write`, `flush` or `other`.
    pub kind: String,
    /// How many.
    pub commands: u64,
    /// Bytes that they have read or written.
    pub bytes: u64,
    /// What they took in all, microseconds.
    pub took_us: u64,
    /// What of that those that took more than a turn of their core have spent in each stage: `queue`, waiting in the target for a
    /// limit, a buffer or a range; `medium`; and `network`, waiting for data of the initiator, or for room for what it gets, and
    /// the rest of the turn that they were answered in; microseconds. Others have waited for nothing. Of a session it is not told.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub spent_us: BTreeMap<String, u64>,
}

/// What a core counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections turned away because a limit was reached.
    pub refused: u64,
    /// Logins completed.
    pub logins: u64,
    /// Logins refused or given up.
    pub failed_logins: u64,
    /// Commands executed.
    pub commands: u64,
    /// Bytes asked for by reads.
    pub read_bytes: u64,
    /// Bytes announced by writes.
    pub written_bytes: u64,
    /// PDUs with a header or data digest that did not match.
    pub digest_errors: u64,
    /// Reads and writes that ended because a medium failed.
    pub medium_faults: u64,
    /// Sessions that moved here from another core.
    pub moved_in: u64,
    /// Commands that ended because their data did not come while others waited for buffers.
    pub overdue: u64,
    /// Receives that found no free buffer.
    pub out_of_receive_buffers: u64,
    /// How often there was no I/O buffer for a command that asked for one: it waits, or is answered with TASK SET FULL.
    #[serde(default)]
    pub buffer_failures: u64,
}

/// A target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Target {
    /// Its iSCSI name.
    pub name: String,
    /// Its alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Tags of the portal groups that it is found at; empty: all.
    pub portal_groups: Vec<u16>,
    /// Initiators that are in none of its groups have no access.
    pub groups_only: bool,
    /// Users that prove themselves to it (CHAP) when they are in no group; empty: nobody has to.
    pub users: Vec<String>,
    /// Its logical units, by LUN.
    pub luns: Vec<Lun>,
    /// Logical units that it is to have and that cannot be served; they are tried again until they can be.
    #[serde(default)]
    pub degraded: Vec<Degraded>,
    /// Its initiator groups; the first that an initiator is in decides.
    pub groups: Vec<Group>,
}

/// A logical unit that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Degraded {
    /// The LUN.
    pub lun: u16,
    /// The path of its file; empty: it has none.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub path: String,
    /// Why it cannot be served, and what mends that.
    pub reason: String,
    /// Since when, seconds since 1970.
    pub since: u64,
}

/// A logical unit of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lun {
    /// The LUN.
    pub lun: u16,
    /// What stores its blocks: `file`, `ram`, `null`, or another kind of medium.
    pub kind: String,
    /// Which one that is: the path of a file.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub path: String,
    /// Its capacity, bytes.
    pub size_bytes: u64,
    /// Its logical block length, bytes.
    pub block_bytes: u32,
    /// Writes are refused.
    pub readonly: bool,
    /// It is thin provisioned.
    pub thin: bool,
    /// Its unit serial number (VPD page 80h).
    pub serial: String,
    /// Its designator (VPD page 83h), NAA type 6, in hexadecimal digits.
    pub naa: String,
    /// Operations of it that its medium has not answered for long.
    pub hung: u64,
    /// Commands that it has now: that are at its medium, or wait for that, or for data.
    #[serde(default)]
    pub queued: u64,
    /// The commands that it has answered, by kind.
    #[serde(default)]
    pub commands: Vec<Commands>,
    /// How many commands it has ended with an error, of what there was: by sense key, or by status where there is no sense data.
    #[serde(default)]
    pub errors: BTreeMap<String, u64>,
    /// At most so many commands a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iops: Option<u64>,
    /// At most so many bytes a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<u64>,
}

/// An initiator group of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Patterns of the initiator names in it; empty: any.
    pub initiators: Vec<String>,
    /// Networks that they come from; empty: any.
    pub networks: Vec<String>,
    /// Users that prove themselves (CHAP); empty: nobody has to.
    pub users: Vec<String>,
    /// The LUNs that it finds, each with the LUN of the target that it is; none: all, as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub luns: Option<BTreeMap<u16, u16>>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its Target Session Identifying Handle.
    pub tsih: u16,
    /// `normal` or `discovery`.
    pub kind: String,
    /// The name of its initiator.
    pub initiator: String,
    /// The ISID, in hexadecimal digits.
    pub isid: String,
    /// The name of its target; none: a discovery session that named none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The portal group tag.
    pub portal_group: u16,
    /// The user that its initiator has proved to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its initiator group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The core that it is on.
    pub core: usize,
    /// It has lost its connections, and waits for new ones.
    pub lost: bool,
    /// LUNs that it finds.
    pub luns: usize,
    /// Commands that are not over.
    pub open_tasks: usize,
    /// What was negotiated for the session, by the keys of RFC 7143.
    pub keys: BTreeMap<String, String>,
    /// Its connections.
    pub connections: Vec<Connection>,
    /// What its commands have come to, by LUN; only where one session is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub used: Vec<Used>,
}

/// What the commands of a session at one LUN have come to since it logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Used {
    /// The LUN; none: all LUNs beyond the first 64 that it has used, and those that it does not find any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lun: Option<u16>,
    /// Commands that were answered, by kind, of those kinds that there were.
    pub commands: Vec<Commands>,
    /// Commands that were answered with another status than GOOD.
    pub errors: u64,
}

/// A connection of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Connection {
    /// Its CID.
    pub cid: u16,
    /// The initiator's address.
    pub peer: String,
    /// The address that it connected to.
    pub portal: String,
    /// What was negotiated for the connection, by the keys of RFC 7143.
    pub keys: BTreeMap<String, String>,
}

/// Some of the sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sessions {
    /// They.
    pub sessions: Vec<Session>,
    /// Cores that have not answered in time: their sessions are missing here.
    pub silent_cores: Vec<usize>,
}

/// What is wrong with a request (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What kind of problem it is: `about:blank`, for the status says it.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong here, and what mends it.
    pub detail: String,
    /// All that is wrong, if that is several things.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub faults: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands may be of a later version than the server that they ask.
    #[test]
    fn what_an_older_server_does_not_tell_is_not_missed() {
        let core = Core {
            core: 0,
            answers: true,
            busy: None,
            sessions: 1,
            connections: 1,
            free_buffer_bytes: 0,
            used_buffer_bytes: 0,
            operations: 0,
            counters: Counters::default(),
            latency: Vec::new(),
        };
        let mut said = serde_json::to_value(&core).unwrap();
        assert!(said.as_object_mut().unwrap().remove("latency").is_some());
        assert_eq!(serde_json::from_value::<Core>(said).unwrap(), core);
        let lun = serde_json::json!({
            "lun": 0, "kind": "ram", "size_bytes": 512, "block_bytes": 512, "readonly": false, "thin": false,
            "serial": "", "naa": "", "hung": 0
        });
        let lun = serde_json::from_value::<Lun>(lun).unwrap();
        assert!(lun.commands.is_empty() && lun.errors.is_empty());
    }
}
