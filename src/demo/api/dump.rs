//! The API server's internal representation of a pod spec as indented JSON, and the difference of
//! two of them, which an error quotes. Pure.

use serde_json::Value;

/// How one Go field is printed if it is not set, and its content if it is.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Text,
    Flag,
    /// A pointer, map or list of plain values: `null` when not set.
    Plain,
    /// A list of structs.
    List(&'static [Field]),
    /// A struct by value.
    Struct(&'static [Field]),
    /// A pointer to a struct.
    Pointer(&'static [Field]),
}

/// Name in Go, name in the API, shape.
type Field = (&'static str, &'static str, Shape);

use Shape::{Flag, List, Plain, Pointer, Struct, Text};

// Source: kubernetes v1.36.2, pkg/apis/core/types.go, in its order.
const RESOURCES: &[Field] =
    &[("Limits", "limits", Plain), ("Requests", "requests", Plain), ("Claims", "claims", Plain)];
const MOUNT: &[Field] = &[
    ("Name", "name", Text),
    ("ReadOnly", "readOnly", Flag),
    ("RecursiveReadOnly", "recursiveReadOnly", Plain),
    ("MountPath", "mountPath", Text),
    ("SubPath", "subPath", Text),
    ("MountPropagation", "mountPropagation", Plain),
    ("SubPathExpr", "subPathExpr", Text),
];
const ENV: &[Field] =
    &[("Name", "name", Text), ("Value", "value", Text), ("ValueFrom", "valueFrom", Plain)];
macro_rules! container_fields {
    ($($extra:expr),*) => {
        &[
            ("Name", "name", Text),
            ("Image", "image", Text),
            ("Command", "command", Plain),
            ("Args", "args", Plain),
            ("WorkingDir", "workingDir", Text),
            ("Ports", "ports", Plain),
            ("EnvFrom", "envFrom", Plain),
            ("Env", "env", List(ENV)),
            ("Resources", "resources", Struct(RESOURCES)),
            ("ResizePolicy", "resizePolicy", Plain),
            ("RestartPolicy", "restartPolicy", Plain),
            ("RestartPolicyRules", "restartPolicyRules", Plain),
            ("VolumeMounts", "volumeMounts", List(MOUNT)),
            ("VolumeDevices", "volumeDevices", Plain),
            ("LivenessProbe", "livenessProbe", Plain),
            ("ReadinessProbe", "readinessProbe", Plain),
            ("StartupProbe", "startupProbe", Plain),
            ("Lifecycle", "lifecycle", Plain),
            ("TerminationMessagePath", "terminationMessagePath", Text),
            ("TerminationMessagePolicy", "terminationMessagePolicy", Text),
            ("ImagePullPolicy", "imagePullPolicy", Text),
            ("SecurityContext", "securityContext", Plain),
            ("Stdin", "stdin", Flag),
            ("StdinOnce", "stdinOnce", Flag),
            ("TTY", "tty", Flag)
            $(, $extra)*
        ]
    };
}
const CONTAINER: &[Field] = container_fields!();
const EPHEMERAL: &[Field] = container_fields!(("TargetContainerName", "targetContainerName", Text));
const EMPTY_DIR: &[Field] = &[("Medium", "medium", Text), ("SizeLimit", "sizeLimit", Plain)];
const VOLUME: &[Field] = &[
    ("Name", "name", Text),
    ("HostPath", "hostPath", Plain),
    ("EmptyDir", "emptyDir", Pointer(EMPTY_DIR)),
    ("GCEPersistentDisk", "gcePersistentDisk", Plain),
    ("AWSElasticBlockStore", "awsElasticBlockStore", Plain),
    ("GitRepo", "gitRepo", Plain),
    ("Secret", "secret", Plain),
    ("NFS", "nfs", Plain),
    ("ISCSI", "iscsi", Plain),
    ("Glusterfs", "glusterfs", Plain),
    ("PersistentVolumeClaim", "persistentVolumeClaim", Plain),
    ("RBD", "rbd", Plain),
    ("Quobyte", "quobyte", Plain),
    ("FlexVolume", "flexVolume", Plain),
    ("Cinder", "cinder", Plain),
    ("CephFS", "cephfs", Plain),
    ("Flocker", "flocker", Plain),
    ("DownwardAPI", "downwardAPI", Plain),
    ("FC", "fc", Plain),
    ("AzureFile", "azureFile", Plain),
    ("ConfigMap", "configMap", Plain),
    ("VsphereVolume", "vsphereVolume", Plain),
    ("AzureDisk", "azureDisk", Plain),
    ("PhotonPersistentDisk", "photonPersistentDisk", Plain),
    ("Projected", "projected", Plain),
    ("PortworxVolume", "portworxVolume", Plain),
    ("ScaleIO", "scaleIO", Plain),
    ("StorageOS", "storageos", Plain),
    ("CSI", "csi", Plain),
    ("Ephemeral", "ephemeral", Plain),
    ("Image", "image", Plain),
];
/// The spec's first fields, and the few after the containers that a quote can reach.
const POD_SPEC: &[Field] = &[
    ("Volumes", "volumes", List(VOLUME)),
    ("InitContainers", "initContainers", List(CONTAINER)),
    ("Containers", "containers", List(CONTAINER)),
    ("EphemeralContainers", "ephemeralContainers", List(EPHEMERAL)),
    ("RestartPolicy", "restartPolicy", Text),
    ("TerminationGracePeriodSeconds", "terminationGracePeriodSeconds", Plain),
    ("ActiveDeadlineSeconds", "activeDeadlineSeconds", Plain),
    ("DNSPolicy", "dnsPolicy", Text),
    ("NodeSelector", "nodeSelector", Plain),
    ("ServiceAccountName", "serviceAccountName", Text),
    ("AutomountServiceAccountToken", "automountServiceAccountToken", Plain),
    ("NodeName", "nodeName", Text),
];

/// Unchanged lines shown on both sides of a change.
const CONTEXT: usize = 3;

/// Whether ephemeral containers have such a field.
pub(super) fn is_known(field: &str) -> bool {
    EPHEMERAL.iter().any(|(_, api, _)| *api == field)
}

/// An ephemeral container in the server's representation.
pub(super) fn ephemeral_container(container: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    print_struct(&mut lines, 0, "", container, EPHEMERAL, "");
    lines
}

/// A pod's spec in the server's representation.
pub(super) fn pod_spec(spec: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    print_struct(&mut lines, 0, "", spec, POD_SPEC, "");
    lines
}

/// The difference as the server quotes it: one hunk from the first changed line to the last, with
/// three lines of context.
pub(super) fn difference(old: &[String], new: &[String]) -> String {
    let shorter = old.len().min(new.len());
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    // Lines that could belong to either side are assigned to the longer one, as in difflib.
    let (head, tail) = if head > tail {
        (head, tail.min(shorter.saturating_sub(head)))
    } else {
        (head.min(shorter.saturating_sub(tail)), tail)
    };
    let start = head.saturating_sub(CONTEXT);
    let end = |all: &[String]| all.len().saturating_sub(tail.saturating_sub(CONTEXT));
    let (old_end, new_end) = (end(old), end(new));
    let mut text = format!(
        "@@ -{},{} +{},{} @@\n",
        start.saturating_add(1),
        old_end.saturating_sub(start),
        start.saturating_add(1),
        new_end.saturating_sub(start)
    );
    let mut print = |sign: char, lines: &[String], from: usize, to: usize| {
        for line in lines.get(from..to).unwrap_or_default() {
            text.push(sign);
            text.push_str(line);
            text.push('\n');
        }
    };
    print(' ', old, start, head);
    print('-', old, head, old.len().saturating_sub(tail));
    print('+', new, head, new.len().saturating_sub(tail));
    print(' ', old, old.len().saturating_sub(tail), old_end);
    text
}

fn print_struct(
    lines: &mut Vec<String>,
    depth: usize,
    label: &str,
    value: &Value,
    fields: &[Field],
    comma: &str,
) {
    let indent = " ".repeat(depth);
    lines.push(format!("{indent}{label}{{"));
    for (at, (go, api, shape)) in fields.iter().enumerate() {
        let comma = if at.saturating_add(1) == fields.len() { "" } else { "," };
        let label = format!("\"{go}\": ");
        let inner = depth.saturating_add(1);
        print_field(lines, inner, &label, value.get(api), *shape, comma);
    }
    lines.push(format!("{indent}}}{comma}"));
}

fn print_field(
    lines: &mut Vec<String>,
    depth: usize,
    label: &str,
    value: Option<&Value>,
    shape: Shape,
    comma: &str,
) {
    let indent = " ".repeat(depth);
    let value = value.filter(|value| !value.is_null());
    match (shape, value) {
        (Text, None) => lines.push(format!("{indent}{label}\"\"{comma}")),
        (Flag, None) => lines.push(format!("{indent}{label}false{comma}")),
        (Struct(fields), value) => {
            let value = value.unwrap_or(&Value::Null);
            print_struct(lines, depth, label, value, fields, comma);
        }
        (Plain | List(_) | Pointer(_), None) => lines.push(format!("{indent}{label}null{comma}")),
        (Pointer(fields), Some(value)) => print_struct(lines, depth, label, value, fields, comma),
        (List(fields), Some(Value::Array(items))) => {
            lines.push(format!("{indent}{label}["));
            for (at, item) in items.iter().enumerate() {
                let comma = if at.saturating_add(1) == items.len() { "" } else { "," };
                print_struct(lines, depth.saturating_add(1), "", item, fields, comma);
            }
            lines.push(format!("{indent}]{comma}"));
        }
        (Text | Flag | Plain | List(_), Some(value)) => {
            print_plain(lines, depth, label, value, comma);
        }
    }
}

fn print_plain(lines: &mut Vec<String>, depth: usize, label: &str, value: &Value, comma: &str) {
    let indent = " ".repeat(depth);
    let inner = depth.saturating_add(1);
    let comma_at = |at: usize, len: usize| if at.saturating_add(1) == len { "" } else { "," };
    match value {
        Value::Array(items) if !items.is_empty() => {
            lines.push(format!("{indent}{label}["));
            for (at, item) in items.iter().enumerate() {
                print_plain(lines, inner, "", item, comma_at(at, items.len()));
            }
            lines.push(format!("{indent}]{comma}"));
        }
        Value::Object(map) if !map.is_empty() => {
            lines.push(format!("{indent}{label}{{"));
            for (at, (key, item)) in map.iter().enumerate() {
                let label = format!("\"{key}\": ");
                print_plain(lines, inner, &label, item, comma_at(at, map.len()));
            }
            lines.push(format!("{indent}}}{comma}"));
        }
        Value::String(text) => lines.push(format!("{indent}{label}{}{comma}", quote(text))),
        other => lines.push(format!("{indent}{label}{other}{comma}")),
    }
}

/// Go's JSON writes `<`, `>` and `&` as escapes.
fn quote(text: &str) -> String {
    Value::from(text)
        .to_string()
        .replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.chars().map(String::from).collect()
    }

    #[test]
    fn a_change_is_quoted_with_three_lines_around_it() {
        assert_eq!(
            difference(&lines("abcdefghij"), &lines("abcdeXYghij")),
            "@@ -3,7 +3,8 @@\n c\n d\n e\n-f\n+X\n+Y\n g\n h\n i\n"
        );
    }

    #[test]
    fn a_change_at_an_end_has_context_on_one_side_only() {
        assert_eq!(difference(&lines("ab"), &lines("Xab")), "@@ -1,2 +1,3 @@\n+X\n a\n b\n");
        assert_eq!(difference(&lines("aa"), &lines("a")), "@@ -1,2 +1,1 @@\n-a\n a\n");
    }
}
