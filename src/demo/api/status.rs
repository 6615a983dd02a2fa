//! The API's `Status` object, with which the server refuses requests.

use serde_json::{Value, json};

/// A refusal.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// `reason`: `NotFound`, `Invalid`, `Expired`, …; empty if the real server sets none.
    pub reason: &'static str,
    /// The message for people.
    pub message: String,
    /// `details`, if the real server sets them.
    pub details: Option<Value>,
    /// Whether the response is only the message.
    pub plain: bool,
}

/// An invalid field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field: `spec.ephemeralContainers[0].name`.
    pub field: String,
    /// `FieldValueForbidden` or similar.
    pub reason: &'static str,
    /// What is wrong, without the path.
    pub message: String,
}

// === impl Refusal ===

impl Refusal {
    /// The server's general form.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, plain: false }
    }

    /// A message without a `Status`, as a kubelet sends it.
    pub fn plain(code: u16, message: impl Into<String>) -> Self {
        Self { plain: true, ..Self::new(code, "", message) }
    }

    /// No such pod.
    pub fn not_found(name: &str) -> Self {
        Self {
            details: Some(json!({"name": name, "kind": "pods"})),
            ..Self::new(404, "NotFound", format!("pods \"{name}\" not found"))
        }
    }

    /// A pod with this name exists.
    pub fn already_exists(name: &str) -> Self {
        Self {
            details: Some(json!({"name": name, "kind": "pods"})),
            ..Self::new(409, "AlreadyExists", format!("pods \"{name}\" already exists"))
        }
    }

    /// The pod has changed since the version on which the write is based.
    pub fn conflict(name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version \
            and try again";
        Self {
            details: Some(json!({"name": name, "kind": "pods"})),
            ..Self::new(
                409,
                "Conflict",
                format!("Operation cannot be fulfilled on pods \"{name}\": {why}"),
            )
        }
    }

    /// The request itself is not valid.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// The requested version is older than the kept history.
    pub fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// The requested version does not exist yet.
    pub fn too_large(asked: u64, newest: u64) -> Self {
        let cause = json!({
            "reason": "ResourceVersionTooLarge", "message": "Too large resource version",
        });
        let message = format!("Timeout: Too large resource version: {asked}, current: {newest}");
        Self {
            details: Some(json!({"causes": [cause], "retryAfterSeconds": 1})),
            ..Self::new(504, "Timeout", message)
        }
    }

    /// Fields of a pod are not valid. A single error is not in brackets, several are.
    pub fn invalid(name: &str, errors: &[FieldError]) -> Self {
        Self::invalid_kind("Pod", name, errors)
    }

    /// Parameters of a request are not valid; the response has a group but no name.
    pub fn invalid_options(kind: &str, errors: &[FieldError]) -> Self {
        let mut refusal = Self::invalid_kind(kind, "", errors);
        if let Some(details) = refusal.details.as_mut().and_then(Value::as_object_mut) {
            details.remove("name");
            details.insert("group".to_owned(), json!("meta.k8s.io"));
        }
        let message =
            refusal.message.replacen(&format!("{kind} "), &format!("{kind}.meta.k8s.io "), 1);
        Self { message, ..refusal }
    }

    /// The same for an object or options of this kind.
    pub fn invalid_kind(kind: &str, name: &str, errors: &[FieldError]) -> Self {
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
            details: Some(json!({"name": name, "kind": kind, "causes": causes})),
            ..Self::new(422, "Invalid", format!("{kind} \"{name}\" is invalid: {list}"))
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
            "code": self.code,
        });
        if let Some(object) = status.as_object_mut().filter(|_| !self.reason.is_empty()) {
            object.insert("reason".to_owned(), json!(self.reason));
        }
        if let (Some(details), Some(object)) = (&self.details, status.as_object_mut()) {
            object.insert("details".to_owned(), details.clone());
        }
        status
    }
}

// === impl FieldError ===

impl FieldError {
    /// The field must not have this value.
    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self {
            field: field.into(),
            reason: "FieldValueForbidden",
            message: format!("Forbidden: {why}"),
        }
    }

    /// The field names something that does not exist.
    pub fn not_found(field: impl Into<String>, value: &str) -> Self {
        Self {
            field: field.into(),
            reason: "FieldValueNotFound",
            message: format!("Not found: {value:?}"),
        }
    }

    /// The field's value is already used.
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

    /// The field's value is not one of the supported ones.
    pub fn not_supported(field: impl Into<String>, value: &str, all: &[&str]) -> Self {
        let all: Vec<_> = all.iter().map(|known| format!("{known:?}")).collect();
        Self {
            field: field.into(),
            reason: "FieldValueNotSupported",
            message: format!("Unsupported value: {value:?}: supported values: {}", all.join(", ")),
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
