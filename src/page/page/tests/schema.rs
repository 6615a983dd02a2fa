//! `openapi.json` as far as it is used: types, properties, enumerations, references.

use std::collections::BTreeSet;

use serde_json::Value;

/// The description.
pub(super) struct Description(Value);

impl Description {
    pub(super) fn read() -> Self {
        Self(serde_json::from_slice(include_bytes!("../../openapi.json")).unwrap())
    }

    /// All paths.
    pub(super) fn paths(&self) -> BTreeSet<String> {
        self.0["paths"].as_object().unwrap().keys().cloned().collect()
    }

    /// Holds an answer against what a path says of this status.
    pub(super) fn check(&self, path: &str, status: u16, answer: &Value) {
        let responses = &self.0["paths"][path]["get"]["responses"][status.to_string()];
        let schema = &responses["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{path} does not describe {status}");
        self.hold(schema, answer, path);
    }

    /// Holds a value against a schema by its name.
    pub(super) fn check_as(&self, name: &str, value: &Value) {
        self.hold(&self.0["components"]["schemas"][name], value, name);
    }

    /// The values that a field may have.
    pub(super) fn values(&self, schema: &str, field: &str) -> BTreeSet<String> {
        let values = &self.0["components"]["schemas"][schema]["properties"][field]["enum"];
        let values = values.as_array().unwrap().iter();
        values.map(|value| value.as_str().unwrap().to_owned()).collect()
    }

    /// Schemas that nothing refers to.
    pub(super) fn unreferenced(&self) -> BTreeSet<String> {
        let text = self.0.to_string();
        let names = self.0["components"]["schemas"].as_object().unwrap().keys();
        let is_used = |name: &&String| text.contains(&format!("\"#/components/schemas/{name}\""));
        names.filter(|name| !is_used(name)).cloned().collect()
    }

    fn hold(&self, schema: &Value, value: &Value, place: &str) {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap();
            let target = &self.0["components"]["schemas"][name];
            assert!(target.is_object(), "{reference} is not there");
            return self.hold(target, value, place);
        }
        if let Some(choices) = schema["anyOf"].as_array() {
            let null = choices.iter().any(|choice| choice["type"] == "null");
            if null && value.is_null() {
                return;
            }
            let others: Vec<_> = choices.iter().filter(|one| one["type"] != "null").collect();
            assert_eq!(others.len(), 1, "{place}: which of them?");
            return self.hold(others[0], value, place);
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(name) => vec![name],
            Value::Array(names) => names.iter().map(|name| name.as_str().unwrap()).collect(),
            other => panic!("{place}: {other} is no type"),
        };
        let is = |name: &&str| match *name {
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            "null" => value.is_null(),
            _ => false,
        };
        assert!(types.iter().any(is), "{place}: {value} is not {types:?}");
        if let Some(allowed) = schema["enum"].as_array() {
            assert!(allowed.contains(value), "{place}: {value} is not one of {allowed:?}");
        }
        let says = |what: &str| schema.get(what).is_some();
        assert!(!value.is_array() || says("items"), "{place}: nothing is said of its items");
        let is_free = schema["additionalProperties"] == true;
        assert!(
            !value.is_object() || says("properties") || is_free,
            "{place}: nothing is said of its fields"
        );
        if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
            for (at, value) in values.iter().enumerate() {
                self.hold(items, value, &format!("{place}[{at}]"));
            }
        }
        if let (Some(properties), Some(fields)) = (schema.get("properties"), value.as_object()) {
            let described: BTreeSet<_> = properties.as_object().unwrap().keys().collect();
            let answered: BTreeSet<_> = fields.keys().collect();
            assert_eq!(described, answered, "{place}");
            for (name, field) in fields {
                self.hold(&properties[name], field, &format!("{place}.{name}"));
            }
        }
    }
}
