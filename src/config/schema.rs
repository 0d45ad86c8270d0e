//! The shape of a configuration file as JSON Schema, for editors that complete and check it. It is looser than the file is read: what
//! belongs together, and what names something else, is for `ringsan check`.

use super::access::{ACCOUNT_KEYS, DISCOVERY_KEYS, GROUP_KEYS, LIMITS_KEYS};
use super::control::CONTROL_KEYS;
use super::draft::{PORTAL_KEYS, TARGET_KEYS, TOP_KEYS};
use crate::backend::KINDS;
use crate::limits;
use crate::model::lun::{LUN_KEYS, OPTIONS, Value as Takes};
use crate::model::{AccessState, ChapAlgorithm};
use crate::wire::Lun;
use serde_json::{Map, Value, json};

/// JSON Schema, as it is told to be.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema, as JSON.
pub fn schema() -> String {
    let mut top = table(TOP_KEYS, top_key);
    top.insert("$schema".to_owned(), DIALECT.into());
    top.insert("title".to_owned(), "ringsan's configuration".into());
    serde_json::to_string_pretty(&top).unwrap_or_default() + "\n"
}

/// A table of these keys and no others.
fn table(keys: &[&str], of: fn(&str) -> Value) -> Map<String, Value> {
    let properties: Map<String, Value> = keys.iter().map(|key| ((*key).to_owned(), of(key))).collect();
    let mut table = Map::new();
    table.insert("type".to_owned(), "object".into());
    table.insert("properties".to_owned(), properties.into());
    table.insert("additionalProperties".to_owned(), false.into());
    table
}

fn tables(keys: &[&str], of: fn(&str) -> Value, required: &[&str]) -> Value {
    let mut items = table(keys, of);
    items.insert("required".to_owned(), json!(required));
    json!({ "type": "array", "items": items })
}

fn text(meaning: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "description": meaning })
}

fn number(meaning: &str, least: u64, most: u64) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most, "description": meaning })
}

fn flag(meaning: &str) -> Value {
    json!({ "type": "boolean", "description": meaning })
}

/// Bytes, or a text with a unit (`size.rs`).
fn size(meaning: &str) -> Value {
    json!({ "type": ["integer", "string"], "pattern": "^[0-9]+ *[A-Za-z]*$", "minimum": 0, "description": meaning })
}

fn texts(meaning: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string", "minLength": 1 }, "description": meaning })
}

/// Numbers: a list, or a text with ranges.
fn numbers(meaning: &str) -> Value {
    json!({ "type": ["array", "string"], "items": { "type": "integer", "minimum": 0 }, "description": meaning })
}

fn one_of<S: AsRef<str>>(meaning: &str, words: &[S]) -> Value {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    json!({ "type": "string", "enum": words, "description": meaning })
}

/// What a key means that this file has no words for: nothing is said of it, so the test finds it.
fn unknown() -> Value {
    Value::Bool(true)
}

fn top_key(key: &str) -> Value {
    match key {
        "cores" => numbers("Cores to run on, like [0, 1] or \"0,2-5\"; all that are allowed when not given"),
        "spin-us" => number("Microseconds that an active core polls before it sleeps", 0, limits::MAX_SPIN_US.into()),
        "congestion" => text("TCP congestion control of connections, or \"system\""),
        "strict" => flag("Hold initiators to the letter of RFC 7143"),
        "all-or-nothing" => flag("Serve only if all logical units can be"),
        "log" => text("What to log: off, error, warn, info, debug, trace, or filters"),
        "log-format" => one_of("How to log", &["text", "json", "journald"]),
        "state" => text("The directory for what outlives the process"),
        "control-socket" => text("Where the control plane is found: the path of a socket, or \"off\""),
        "chap-algorithms" => {
            let names = ChapAlgorithm::ALL.map(ChapAlgorithm::name);
            json!({ "type": "array", "items": one_of("A hash", &names), "description": "Hashes that CHAP may use" })
        }
        "portal" => tables(PORTAL_KEYS, portal_key, &["listen"]),
        "account" => tables(ACCOUNT_KEYS, account_key, &["user"]),
        "discovery" => table(DISCOVERY_KEYS, chap_key).into(),
        "limits" => table(LIMITS_KEYS, limits_key).into(),
        "control" => table(CONTROL_KEYS, control_key).into(),
        "target" => tables(TARGET_KEYS, target_key, &["name"]),
        _ => unknown(),
    }
}

fn portal_key(key: &str) -> Value {
    let states = AccessState::ALL.map(AccessState::name);
    match key {
        "listen" => text("The address and port to listen on"),
        "advertise" => text("The address that discovery tells instead"),
        "group" => number("The portal group tag", 0, u16::MAX.into()),
        "access-state" => one_of("The asymmetric access state (ALUA) of its group", &states),
        _ => unknown(),
    }
}

fn account_key(key: &str) -> Value {
    match key {
        "user" => text("The user name (CHAP_N)"),
        "secret" => text("The secret itself: the file must be readable for its owner only"),
        "secret-file" => text("The file with the secret"),
        "secret-env" => text("The variable of the environment with the secret"),
        _ => unknown(),
    }
}

fn chap_key(key: &str) -> Value {
    match key {
        "accounts" => texts("Users one of which an initiator must prove to be"),
        "mutual" => text("The user that ringsan proves to be"),
        _ => unknown(),
    }
}

fn control_key(key: &str) -> Value {
    match key {
        "group" => text("Its members may use the control socket"),
        "listen" => texts("Addresses and ports of the control plane over TLS"),
        "certificate" => text("The file with its certificate and those above it (PEM)"),
        "key" => text("The file with the key of the certificate (PEM)"),
        "tokens" => text("The file with the tokens of who may use it"),
        _ => unknown(),
    }
}

fn limits_key(key: &str) -> Value {
    match key {
        "connections" => number("Connections of the process", 1, limits::MAX_CONNECTIONS as u64),
        "connections-per-address" => number("Connections from one address", 1, limits::MAX_CONNECTIONS as u64),
        "half-open-per-address" => number("Connections from one address to one core that have not logged in", 1, 256),
        "login-timeout" => number("Seconds from connecting to the end of the login", 1, 600),
        _ => unknown(),
    }
}

fn target_key(key: &str) -> Value {
    match key {
        "name" => text("The iSCSI name"),
        "alias" => text("A name for people"),
        "portal-groups" => numbers("Tags of the portal groups that it is found at; all when not given"),
        "access-states" => texts("Access states of portal groups, like \"2 active/non-optimized\""),
        "others" => one_of("What initiators get that are in no group", &["allow", "deny"]),
        "group" => tables(GROUP_KEYS, group_key, &[]),
        "lun" => tables(LUN_KEYS, lun_key, &["number"]),
        _ => chap_key(key),
    }
}

fn group_key(key: &str) -> Value {
    match key {
        "name" => text("What it is called"),
        "initiators" => texts("Names of initiators; * stands for any text"),
        "networks" => texts("Networks that they come from"),
        "luns" => json!({
            "type": "array", "items": { "type": ["integer", "string"] },
            "description": "The logical units that they find: LUNs of the target, or \"1 as 0\""
        }),
        "iops" => number("Commands each second, of all of them together", 1, u32::MAX.into()),
        "bandwidth" => size("Bytes each second, of all of them together"),
        _ => chap_key(key),
    }
}

fn lun_key(key: &str) -> Value {
    let Some(option) = OPTIONS.iter().find(|option| option.key == key) else { return unknown() };
    let meaning = option.meaning;
    let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.word).collect();
    match (key, &option.value) {
        ("number", _) => number(meaning, 0, Lun::MAX_NUMBER.into()),
        ("path", _) => text(meaning),
        ("kind", _) => one_of(meaning, &kinds),
        ("size" | "block" | "physical-block", _) => size(meaning),
        ("cdrom" | "create", _) => flag(meaning),
        (_, Takes::Apart) => unknown(),
        (_, Takes::Flag(_)) => flag(meaning),
        (_, Takes::Number(least, most, _)) => number(meaning, *least, *most),
        (_, Takes::Size(_)) => size(meaning),
        (_, Takes::Text(_)) => text(meaning),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(schema: &Value, at: &str, found: &mut usize) {
        for (key, of) in schema["properties"].as_object().into_iter().flatten() {
            assert!(of.is_object(), "{at}{key}: nothing is said of it");
            *found += 1;
            let inner = if of["type"] == "array" { &of["items"] } else { of };
            walk(inner, &format!("{at}{key}."), found);
        }
    }

    #[test]
    fn every_key_is_said() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        let mut found = 0;
        walk(&schema, "", &mut found);
        let keys = [
            TOP_KEYS,
            PORTAL_KEYS,
            ACCOUNT_KEYS,
            DISCOVERY_KEYS,
            LIMITS_KEYS,
            CONTROL_KEYS,
            TARGET_KEYS,
            GROUP_KEYS,
            LUN_KEYS,
        ];
        assert_eq!(found, keys.iter().map(|keys| keys.len()).sum::<usize>());
    }
}
