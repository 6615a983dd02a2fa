//! What the API server rejects in an update of `spec.ephemeralContainers`, with its messages. Pure.
//!
//! Source: kubernetes v1.36.2, `pkg/apis/core/validation/validation.go`
//! (`validateEphemeralContainers`, `ValidatePodEphemeralContainersUpdate`, `ValidatePodUpdate`).

use k8s_openapi::api::core::v1::EphemeralContainer;
use serde_json::{Value, json};

use super::containers::{Kind, of_kind};
use super::dump;
use super::object::{items, text};
use super::status::{FieldError, Refusal};

/// The fields that an ephemeral container must not have; unknown ones were removed before.
const FORBIDDEN: [&str; 9] = [
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];
const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];

const NOT_FOR_EPHEMERAL: &str = "cannot be set for an Ephemeral Container";
const LABEL_FORM: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
    characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or \
    '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_LENGTH: &str = "must be no more than 63 characters";
const ONLY_THESE_CHANGE: &str = "pod updates may not change fields other than \
    `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n";

/// Rejects ephemeral containers with values of a wrong type.
pub(super) fn typed(pod: &Value) -> Result<(), Refusal> {
    let list = pod.pointer("/spec/ephemeralContainers").unwrap_or(&Value::Null);
    serde_json::from_value::<Option<Vec<EphemeralContainer>>>(list.clone()).map(drop).map_err(|e| {
        let message = format!(" \"\" is invalid: patch: Invalid value: {e}");
        let cause = json!({"reason": "FieldValueInvalid", "field": "patch"});
        let details = Some(json!({"causes": [cause]}));
        Refusal { details, ..Refusal::new(422, "Invalid", message) }
    })
}

/// Removes unknown fields of ephemeral containers, like a server that only warns.
pub(super) fn forget_unknown(pod: &mut Value) {
    let list = pod.pointer_mut("/spec/ephemeralContainers").and_then(Value::as_array_mut);
    for container in list.into_iter().flatten().filter_map(Value::as_object_mut) {
        container.retain(|field, _| dump::is_known(field));
    }
}

/// Errors of the resulting pod.
pub(super) fn ephemeral_containers(pod: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let fixed: Vec<_> = of_kind(pod, Kind::Regular)
        .chain(of_kind(pod, Kind::Init))
        .filter_map(|container| text(container, "/name"))
        .collect();
    let mut names = fixed.clone();
    for (at, container) in of_kind(pod, Kind::Ephemeral).enumerate() {
        let path = format!("spec.ephemeralContainers[{at}]");
        let name = text(container, "/name").unwrap_or_default();
        name_errors(&mut errors, &path, name);
        if text(container, "/image").is_none_or(str::is_empty) {
            errors.push(FieldError::required(format!("{path}.image")));
        }
        for (nth, variable) in items(container, "/env").enumerate() {
            if text(variable, "/name").is_none_or(str::is_empty) {
                errors.push(FieldError::required(format!("{path}.env[{nth}].name")));
            }
        }
        if let Some(policy) = text(container, "/imagePullPolicy")
            && !PULL_POLICIES.contains(&policy)
        {
            let field = format!("{path}.imagePullPolicy");
            errors.push(FieldError::not_supported(field, policy, &PULL_POLICIES));
        }
        mount_errors(&mut errors, &path, pod, container);
        if names.contains(&name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), name));
        }
        names.push(name);
        if let Some(target) = text(container, "/targetContainerName").filter(|t| !t.is_empty())
            && !fixed.contains(&target)
        {
            let field = format!("{path}.targetContainerName");
            errors.push(FieldError::not_found(field, target));
        }
        for (field, value) in container.as_object().into_iter().flatten() {
            if FORBIDDEN.contains(&field.as_str()) && !is_zero(value) {
                let field = format!("{path}.{field}");
                errors.push(FieldError::forbidden(field, NOT_FOR_EPHEMERAL));
            }
        }
        for (nth, mount) in items(container, "/volumeMounts").enumerate() {
            for field in ["subPath", "subPathExpr"] {
                if mount.get(field).is_some_and(|value| !is_zero(value)) {
                    let field = format!("{path}.volumeMounts[{nth}].{field}");
                    errors.push(FieldError::forbidden(field, NOT_FOR_EPHEMERAL));
                }
            }
        }
    }
    errors
}

/// Errors of the change from the old list to the new: existing containers must not be changed or
/// removed.
pub(super) fn ephemeral_update(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for before in of_kind(old, Kind::Ephemeral) {
        let name = text(before, "/name").unwrap_or_default();
        let after = of_kind(new, Kind::Ephemeral).find(|c| text(c, "/name") == Some(name));
        let why = match after {
            None => format!("existing ephemeral containers {name:?} may not be removed\n"),
            Some(after) if after != before => {
                let (before, after) =
                    (dump::ephemeral_container(before), dump::ephemeral_container(after));
                let quote = dump::difference(&before, &after);
                format!("existing ephemeral containers {name:?} may not be changed\n{quote}")
            }
            Some(_) => continue,
        };
        errors.push(FieldError::forbidden("spec.ephemeralContainers", &why));
    }
    errors
}

/// Errors of an update of the pod itself, of whose spec almost nothing may change.
pub(super) fn pod_update(old: &Value, new: &Value) -> Vec<FieldError> {
    let nothing = Value::Null;
    let spec = |pod: &Value| {
        let mut spec = pod.get("spec").unwrap_or(&nothing).clone();
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
            {
                if let Some(container) = container.as_object_mut() {
                    container.remove("image");
                }
            }
        }
        for free in ["activeDeadlineSeconds", "tolerations"] {
            if let Some(spec) = spec.as_object_mut() {
                spec.remove(free);
            }
        }
        spec
    };
    if spec(old) == spec(new) {
        return Vec::new();
    }
    let dump = |pod: &Value| dump::pod_spec(pod.get("spec").unwrap_or(&nothing));
    let quote = dump::difference(&dump(old), &dump(new));
    let why = format!("{ONLY_THESE_CHANGE}{quote}");
    vec![FieldError::forbidden("spec", &why)]
}

fn name_errors(errors: &mut Vec<FieldError>, path: &str, name: &str) {
    let field = format!("{path}.name");
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if name.is_empty() {
        errors.push(FieldError::required(field));
    } else if !name.bytes().all(|b| inner(b) || b == b'-')
        || name.starts_with('-')
        || name.ends_with('-')
    {
        errors.push(FieldError::invalid(field, name, LABEL_FORM));
    } else if name.len() > 63 {
        errors.push(FieldError::invalid(field, name, LABEL_LENGTH));
    }
}

fn mount_errors(errors: &mut Vec<FieldError>, path: &str, pod: &Value, container: &Value) {
    let mut paths = Vec::new();
    for (nth, mount) in items(container, "/volumeMounts").enumerate() {
        let path = format!("{path}.volumeMounts[{nth}]");
        let name = text(mount, "/name").unwrap_or_default();
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name")));
        } else if !items(pod, "/spec/volumes").any(|volume| text(volume, "/name") == Some(name)) {
            errors.push(FieldError::not_found(format!("{path}.name"), name));
        }
        let mount_path = text(mount, "/mountPath").unwrap_or_default();
        if mount_path.is_empty() {
            errors.push(FieldError::required(format!("{path}.mountPath")));
        } else if paths.contains(&mount_path) {
            let field = format!("{path}.mountPath");
            errors.push(FieldError {
                message: format!("Invalid value: {mount_path:?}: must be unique"),
                ..FieldError::invalid(field, mount_path, "")
            });
        }
        paths.push(mount_path);
    }
}

/// Go omits zero values, so `resources: {}` counts as not set.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}
