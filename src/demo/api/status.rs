//! The API's `Status` object: how the server says no.

use serde_json::{Value, json};

/// A refusal, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// `reason`: `NotFound`, `Invalid`, `Expired`, …
    pub reason: &'static str,
    /// The sentence people see.
    pub message: String,
    /// `details`, where the real server gives them.
    pub details: Option<Value>,
}

/// One field that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field: `spec.ephemeralContainers[0].name`.
    pub field: String,
    /// `FieldValueForbidden` and its kin.
    pub reason: &'static str,
    /// What is wrong, without the path.
    pub message: String,
}

// === impl Refusal ===

impl Refusal {
    /// The server's general form.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    /// No such pod.
    pub fn not_found(name: &str) -> Self {
        Self {
            details: Some(json!({"name": name, "kind": "pods"})),
            ..Self::new(404, "NotFound", format!("pods \"{name}\" not found"))
        }
    }

    /// A pod of that name is there already.
    pub fn already_exists(name: &str) -> Self {
        Self {
            details: Some(json!({"name": name, "kind": "pods"})),
            ..Self::new(409, "AlreadyExists", format!("pods \"{name}\" already exists"))
        }
    }

    /// The request itself makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// The version asked for is older than what the server still knows.
    pub fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// Fields of a pod are not as they must be. One error stands alone, several in brackets.
    pub fn invalid(name: &str, errors: &[FieldError]) -> Self {
        let sentences: Vec<_> =
            errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
        let list = match sentences.as_slice() {
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let causes: Vec<_> = errors
            .iter()
            .map(|error| {
                json!({"reason": error.reason, "message": error.message, "field": error.field})
            })
            .collect();
        Self {
            details: Some(json!({"name": name, "kind": "Pod", "causes": causes})),
            ..Self::new(422, "Invalid", format!("Pod \"{name}\" is invalid: {list}"))
        }
    }

    /// The `Status` object.
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        if let (Some(details), Some(object)) = (&self.details, status.as_object_mut()) {
            object.insert("details".to_owned(), details.clone());
        }
        status
    }
}

// === impl FieldError ===

impl FieldError {
    /// The field may not be set so.
    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self {
            field: field.into(),
            reason: "FieldValueForbidden",
            message: format!("Forbidden: {why}"),
        }
    }

    /// The field names something that is not there.
    pub fn not_found(field: impl Into<String>, value: &str) -> Self {
        Self {
            field: field.into(),
            reason: "FieldValueNotFound",
            message: format!("Not found: {value:?}"),
        }
    }

    /// The field's value is taken.
    pub fn duplicate(field: impl Into<String>, value: &str) -> Self {
        Self {
            field: field.into(),
            reason: "FieldValueDuplicate",
            message: format!("Duplicate value: {value:?}"),
        }
    }

    /// The field's value has the wrong form.
    pub fn invalid(field: impl Into<String>, value: &str, why: &str) -> Self {
        Self {
            field: field.into(),
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {value:?}: {why}"),
        }
    }

    /// The field must be set.
    pub fn required(field: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: "FieldValueRequired",
            message: "Required value".to_owned(),
        }
    }
}
