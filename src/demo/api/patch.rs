//! The three kinds of patch for a pod: strategic merge, JSON merge, JSON patch. Pure.

use serde_json::{Map, Value};

use super::status::Refusal;

/// The real server's message for a JSON patch that cannot be applied.
const REJECTED: &str = "the server rejected our request due to an error in our request";
/// Its message for one that is not a list.
const NO_LIST: &str = "json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp";

/// The format of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// `application/strategic-merge-patch+json`.
    Strategic,
    /// `application/merge-patch+json`.
    Merge,
    /// `application/json-patch+json`.
    Json,
}

// === impl PatchKind ===

impl PatchKind {
    /// From the request's content type.
    pub fn of(content_type: &str) -> Option<Self> {
        match content_type.split(';').next()?.trim() {
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/json-patch+json" => Some(Self::Json),
            _ => None,
        }
    }

    pub(super) fn apply(self, old: &Value, body: &Value) -> Result<Value, Refusal> {
        match self {
            Self::Strategic => Ok(strategic(old, body)),
            Self::Merge => Ok(merge(old, body)),
            Self::Json => json(old, body).map_err(|e| match e {
                Error::Malformed(_) => Refusal::bad_request(e.to_string()),
                // The real server does not return the cause.
                Error::Missing(_) | Error::Test(_) => Refusal::new(422, "Invalid", REJECTED),
            }),
        }
    }
}

/// A JSON patch that cannot be applied, with the server's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// Not a list of operations, or an incomplete operation.
    #[error("error decoding patch: {0}")]
    Malformed(&'static str),
    /// The path does not exist.
    #[error("no value at {0:?}")]
    Missing(String),
    /// A `test` operation found another value.
    #[error("testing value {0:?} failed: test failed")]
    Test(String),
}

/// Lists that strategic merge joins by a key instead of replacing, by field name.
///
/// Source: `patchMergeKey` tags in k8s.io/api/core/v1/types.go, v1.36.
const MERGE_KEYS: [(&str, &str); 12] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("ephemeralContainers", "name"),
    ("env", "name"),
    ("volumes", "name"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("ports", "containerPort"),
    ("imagePullSecrets", "name"),
    ("hostAliases", "ip"),
    ("conditions", "type"),
    ("ownerReferences", "uid"),
];

/// Strategic merge patch of a pod. `null` deletes, maps are merged, keyed lists are merged by key
/// with the patch's items first, as recorded from a real server; other lists are replaced.
pub(super) fn strategic(original: &Value, patch: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (original, patch) else {
        return without_nulls(patch);
    };
    if new.get("$patch").and_then(Value::as_str) == Some("replace") {
        return Value::Object(without_directives(new));
    }
    let mut merged = old.clone();
    for (key, value) in new.iter().filter(|(key, _)| !key.starts_with('$')) {
        let before = merged.get(key);
        let after = match (before, value, merge_key(key)) {
            (_, Value::Null, _) => {
                merged.remove(key);
                continue;
            }
            (before, Value::Array(items), Some(by)) => {
                let none = Vec::new();
                let before = before.and_then(Value::as_array).unwrap_or(&none);
                Value::Array(merge_list(before, items, by))
            }
            (Some(before), value, _) => strategic(before, value),
            (None, value, _) => without_nulls(value),
        };
        merged.insert(key.clone(), after);
    }
    Value::Object(merged)
}

/// JSON merge patch (RFC 7386): lists are replaced completely.
pub(super) fn merge(original: &Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else {
        return patch.clone();
    };
    let mut merged = match original {
        Value::Object(old) => old.clone(),
        _ => Map::new(),
    };
    for (key, value) in changes {
        if value.is_null() {
            merged.remove(key);
        } else {
            let before = merged.get(key).unwrap_or(&Value::Null);
            let after = merge(before, value);
            merged.insert(key.clone(), after);
        }
    }
    Value::Object(merged)
}

/// JSON patch (RFC 6902): `add`, `remove`, `replace` and `test`.
pub(super) fn json(original: &Value, patch: &Value) -> Result<Value, Error> {
    let operations = patch.as_array().ok_or(Error::Malformed(NO_LIST))?;
    let mut document = original.clone();
    for operation in operations {
        let text = |key| operation.get(key).and_then(Value::as_str);
        let kind = text("op").ok_or(Error::Malformed("an operation has no op"))?;
        let at = text("path").ok_or(Error::Malformed("an operation has no path"))?;
        let missing = || Error::Missing(at.to_owned());
        if kind == "test" {
            if document.pointer(at) != operation.get("value") {
                return Err(Error::Test(at.to_owned()));
            }
            continue;
        }
        let (parent, key) = at.rsplit_once('/').ok_or_else(missing)?;
        let key = key.replace("~1", "/").replace("~0", "~");
        let parent = document.pointer_mut(parent).ok_or_else(missing)?;
        let value = || operation.get("value").cloned().ok_or(Error::Malformed("no value"));
        match (kind, parent) {
            ("add", Value::Object(map)) => {
                map.insert(key, value()?);
            }
            ("replace", Value::Object(map)) => {
                *map.get_mut(&key).ok_or_else(missing)? = value()?;
            }
            ("remove", Value::Object(map)) => {
                map.remove(&key).ok_or_else(missing)?;
            }
            ("add", Value::Array(list)) if key == "-" => list.push(value()?),
            (kind, Value::Array(list)) => {
                let nth: usize = key.parse().map_err(|_| missing())?;
                match kind {
                    "add" if nth <= list.len() => list.insert(nth, value()?),
                    "replace" => *list.get_mut(nth).ok_or_else(missing)? = value()?,
                    "remove" if nth < list.len() => {
                        list.remove(nth);
                    }
                    _ => return Err(missing()),
                }
            }
            _ => return Err(missing()),
        }
    }
    Ok(document)
}

fn merge_key(field: &str) -> Option<&'static str> {
    MERGE_KEYS.iter().find(|(name, _)| *name == field).map(|(_, key)| *key)
}

fn merge_list(old: &[Value], patch: &[Value], by: &str) -> Vec<Value> {
    let directive = |item: &Value| item.get("$patch").and_then(Value::as_str).map(str::to_owned);
    if patch.iter().any(|item| directive(item).as_deref() == Some("replace")) {
        return patch.iter().filter(|item| directive(item).is_none()).map(without_nulls).collect();
    }
    let in_patch = |item: &Value| patch.iter().any(|new| new.get(by) == item.get(by));
    let mut merged: Vec<_> = patch
        .iter()
        .filter(|item| directive(item).as_deref() != Some("delete"))
        .map(|item| match old.iter().find(|known| known.get(by) == item.get(by)) {
            Some(known) => strategic(known, item),
            None => without_nulls(item),
        })
        .collect();
    merged.extend(old.iter().filter(|item| !in_patch(item)).cloned());
    merged
}

fn without_directives(map: &Map<String, Value>) -> Map<String, Value> {
    map.iter()
        .filter(|(key, value)| !key.starts_with('$') && !value.is_null())
        .map(|(key, value)| (key.clone(), without_nulls(value)))
        .collect()
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(without_directives(map)),
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn new_ephemeral_containers_stand_in_front() {
        let old = json!({"spec": {"ephemeralContainers": [{"name": "job", "image": "a"}], "nodeName": "n"}});
        let patch = json!({"spec": {"ephemeralContainers": [{"name": "s1"}, {"name": "s2"}]}});
        assert_eq!(
            strategic(&old, &patch),
            json!({"spec": {
                "ephemeralContainers": [{"name": "s1"}, {"name": "s2"}, {"name": "job", "image": "a"}],
                "nodeName": "n",
            }})
        );
    }

    #[test]
    fn a_known_key_merges_into_its_item_and_null_deletes() {
        let old = json!({"ephemeralContainers": [{"name": "job", "image": "a", "tty": true}]});
        let patch = json!({"ephemeralContainers": [{"name": "job", "image": "b", "tty": null}]});
        assert_eq!(
            strategic(&old, &patch),
            json!({"ephemeralContainers": [{"name": "job", "image": "b"}]})
        );
    }

    #[test]
    fn directives_replace_and_delete() {
        let old = json!({"env": [{"name": "A"}, {"name": "B"}], "m": {"x": 1}});
        let patch =
            json!({"env": [{"name": "A", "$patch": "delete"}], "m": {"$patch": "replace", "y": 2}});
        assert_eq!(strategic(&old, &patch), json!({"env": [{"name": "B"}], "m": {"y": 2}}));
    }

    #[test]
    fn a_merge_patch_replaces_lists() {
        let old = json!({"env": [{"name": "A"}], "k": {"x": 1, "y": 2}});
        let patch = json!({"env": [{"name": "B"}], "k": {"x": null}});
        assert_eq!(merge(&old, &patch), json!({"env": [{"name": "B"}], "k": {"y": 2}}));
    }

    #[test]
    fn a_json_patch_edits_by_path_and_refuses_what_is_not_there() {
        let old = json!({"l": [1, 2], "m": {"a/b": 1}});
        let edit = |patch| json(&old, &patch);
        assert_eq!(
            edit(
                json!([{"op": "remove", "path": "/l/0"}, {"op": "add", "path": "/l/-", "value": 3}])
            ),
            Ok(json!({"l": [2, 3], "m": {"a/b": 1}}))
        );
        assert_eq!(
            edit(json!([{"op": "replace", "path": "/m/a~1b", "value": 2}])),
            Ok(json!({"l": [1, 2], "m": {"a/b": 2}}))
        );
        assert!(edit(json!([{"op": "remove", "path": "/l/7"}])).is_err());
        assert!(edit(json!([{"op": "test", "path": "/l/0", "value": 9}])).is_err());
        assert!(edit(json!({})).is_err());
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            "[a-z$]{0,4}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                any_object(inner),
            ]
        })
    }

    fn any_object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
        prop::collection::hash_map("(name|env|\\$patch|[a-c])", value, 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn no_patch_breaks_the_server(old in any_value(), patch in any_value()) {
            strategic(&old, &patch);
            merge(&old, &patch);
            drop(json(&old, &patch));
        }

        #[test]
        fn an_empty_patch_changes_nothing(old in any_object(any_value())) {
            prop_assert_eq!(strategic(&old, &json!({})), old.clone());
            prop_assert_eq!(merge(&old, &json!({})), old);
        }
    }
}
