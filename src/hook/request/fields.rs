//! Fields of a request: null, empty and absent mean the same; errors name the field that has a
//! wrong type.

use std::fmt;

use serde::de::{DeserializeOwned, Error as _, Unexpected};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::console::quote;

/// The request itself; its fields are named without a prefix.
pub(super) const WHOLE: &str = "the request";

/// A field with a wrong type. Contains names and types, never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The path from the request's root, such as `args.services[0].image`.
    path: String,
    found: &'static str,
    expected: String,
}

/// Fields that contain an object, and lists of objects.
const OBJECTS: [&str; 3] = ["container", "registry", "job"];
const LISTS: [&str; 4] = ["services", "systemMountVolumes", "userMountVolumes", "hosts"];

/// Deserializes an object at the path `root` of the request.
pub(super) fn read<T: DeserializeOwned>(value: &Value, root: &str) -> Result<T, Wrong> {
    if let Some(path) = array_for_object(value, root) {
        return Err(Wrong { path, found: "an array", expected: "an object".to_owned() });
    }
    serde_path_to_error::deserialize(value).map_err(|error| Wrong {
        path: shown(root, error.path()),
        found: kind(found(value, error.path())),
        expected: expected(&error.inner().to_string()),
    })
}

// === impl Wrong ===

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, found, expected } = self;
        write!(f, "{path} is {found}, but must be {expected}")
    }
}

/// Finds an array in place of an object. serde would use its elements as the fields in their order.
fn array_for_object(value: &Value, at: &str) -> Option<String> {
    let Value::Object(fields) = value else { return value.is_array().then(|| at.to_owned()) };
    fields.iter().find_map(|(name, value)| {
        let at = if at == WHOLE { name.clone() } else { format!("{at}.{name}") };
        if OBJECTS.contains(&name.as_str()) {
            return array_for_object(value, &at);
        }
        let list = value.as_array().filter(|_| LISTS.contains(&name.as_str()))?;
        let mut elements = list.iter().enumerate();
        elements.find_map(|(index, value)| array_for_object(value, &format!("{at}[{index}]")))
    })
}

fn shown(root: &str, path: &Path) -> String {
    let mut shown = if root == WHOLE { String::new() } else { root.to_owned() };
    for segment in path {
        match segment {
            Segment::Seq { index } => shown.extend(["[", &index.to_string(), "]"]),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                if !shown.is_empty() {
                    shown.push('.');
                }
                shown.push_str(&quote(key));
            }
            Segment::Unknown => {}
        }
    }
    if shown.is_empty() { root.to_owned() } else { shown }
}

/// The value at which deserializing failed; `None` if a field is missing.
fn found<'a>(root: &'a Value, path: &Path) -> Option<&'a Value> {
    path.iter().try_fold(root, |value, segment| match segment {
        Segment::Seq { index } => value.get(*index),
        Segment::Map { key } => value.get(key),
        Segment::Enum { .. } | Segment::Unknown => Some(value),
    })
}

fn kind(value: Option<&Value>) -> &'static str {
    match value {
        None => "absent",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(_)) => "a string",
        Some(Value::Array(_)) => "an array",
        Some(Value::Object(_)) => "an object",
    }
}

/// The type that serde expected. Its message begins with the value, which must not be shown.
fn expected(message: &str) -> String {
    let tail = message.rsplit_once(", expected ").map(|(_, tail)| tail);
    match tail {
        Some("a sequence") => "an array".to_owned(),
        Some("a map") => "an object".to_owned(),
        Some(tail) if tail.starts_with("struct ") => "an object".to_owned(),
        Some(tail) => tail.to_owned(),
        None => "what this version of the hook writes there".to_owned(),
    }
}

/// Null and absent become the default.
pub(super) fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Null, absent and blank become `None`.
pub(super) fn empty_is_none<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.trim().is_empty()))
}

/// Runners before 2.294 sent one string.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    let wrong = || {
        let expected = &"a string or an array of strings";
        D::Error::invalid_type(Unexpected::Other("another type"), expected)
    };
    let paths = match Value::deserialize(deserializer)? {
        Value::Null => Vec::new(),
        Value::String(path) => vec![path],
        Value::Array(paths) => {
            let texts = paths.into_iter().map(|path| match path {
                Value::String(path) => Ok(path),
                _ => Err(wrong()),
            });
            texts.collect::<Result<_, _>>()?
        }
        _ => return Err(wrong()),
    };
    Ok(paths.into_iter().filter(|path| !path.is_empty()).collect())
}
