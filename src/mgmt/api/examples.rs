//! Examples in the description of the interface: of each path that names something, and of each body. They are one story, in which all
//! can be run; `tests/external/openapi.py` does.

use serde_json::{Value, json};
use utoipa::openapi::path::{Operation, ParameterBuilder, PathItem};
use utoipa::openapi::{OpenApi, RefOr};

/// What stands in paths.
const NAMES: [(&str, &str); 5] = [
    ("name", "iqn.2026-12.com.example:vm"),
    ("group", "web"),
    ("listen", "127.0.0.1:3270"),
    ("user", "backup"),
    ("lun", "7"),
];

/// The body of a request, by what it does (`operationId`).
fn body(operation: &str) -> Option<Value> {
    Some(match operation {
        "account_put" => json!({"secret": "correct horse battery"}),
        "account_set" => json!({"secret": "another horse battery"}),
        "target_put" => json!({"alias": "virtual machines"}),
        "target_set" => json!({"accounts": ["backup"], "others": "deny"}),
        "lun_add" => json!({"settings": {"kind": "ram", "size": "64MiB"}}),
        "lun_put" => json!({"kind": "ram", "size": "16MiB", "iops": 5000}),
        "lun_set" => json!({"iops": 10000, "bandwidth": "100MiB"}),
        "group_put" => json!({"initiators": ["iqn.2026-12.com.example:web*"], "luns": ["7 as 0"]}),
        "group_set" => json!({"networks": ["192.0.2.0/24"]}),
        "portal_put" => json!({"group": 2}),
        "portal_set" => json!({"access-state": "active/non-optimized"}),
        "log_filter_set" => json!({"filter": "info,ringsan::session=debug"}),
        "config_put" => Value::from(
            "[[portal]]\nlisten = \"127.0.0.1:3260\"\n\n[[target]]\nname = \"iqn.2026-12.com.example:vm\"\n\n\
             [[target.lun]]\nnumber = 0\nkind = \"ram\"\nsize = \"64MiB\"\n",
        ),
        _ => return None,
    })
}

/// Adds them.
pub(super) fn with_examples(mut document: OpenApi) -> OpenApi {
    document.paths.paths.values_mut().flat_map(operations).for_each(add);
    document
}

fn add(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        let Some((_, example)) = NAMES.iter().find(|(name, _)| *name == parameter.name) else { continue };
        // A LUN is a number.
        let example = example.parse::<u16>().map_or_else(|_| Value::from(*example), Value::from);
        *parameter = ParameterBuilder::from(parameter.clone()).example(Some(example)).build();
    }
    let example = operation.operation_id.as_deref().and_then(body);
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        for content in body.content.values_mut() {
            let RefOr::T(content) = content else { continue };
            content.example.clone_from(&example);
        }
    }
}

/// What can be done at a path.
pub(super) fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = path;
    [get, put, post, delete, options, head, patch, trace].into_iter().filter_map(Option::as_mut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_body_has_an_example_and_each_name_in_a_path() {
        let document: Value = serde_json::from_str(&super::super::document()).unwrap();
        let mut bodies = 0;
        for (path, of) in document["paths"].as_object().unwrap() {
            for (method, operation) in of.as_object().unwrap() {
                for content in operation["requestBody"]["content"].as_object().into_iter().flat_map(|of| of.values()) {
                    assert!(!content["example"].is_null(), "{method} {path}");
                    bodies += 1;
                }
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    // Which session there is, nobody knows before.
                    let is_known = parameter["in"] != "path" || parameter["name"] == "tsih";
                    assert!(is_known || !parameter["example"].is_null(), "{method} {path} {parameter}");
                }
            }
        }
        assert_eq!(bodies, 13);
    }
}
