//! The parts of a pod's spec for the runtime: limits, command, environment. Pure except for this
//! process's `PATH`.

use std::path::Path;

use serde_json::Value;

use super::{Kind, images, quantity};
use crate::api::containers::of_kind;
use crate::api::object::{items, text};
use crate::cgroups::Limits;
use crate::{helper, workload};

/// The pod's own limits: `spec.resources`, or the sum of its containers' if each has one.
///
/// Source: kubernetes v1.36.2, `pkg/kubelet/cm/helpers_linux.go`, `ResourceConfigForPod`.
pub(super) fn pod_limits(pod: &Value) -> Limits {
    let own = quantity::limits(pod.pointer("/spec/resources"));
    let all: Vec<_> = of_kind(pod, Kind::Regular)
        .map(|container| quantity::limits(container.get("resources")))
        .collect();
    let sum = |of: fn(&Limits) -> Option<u64>| {
        all.iter().map(of).try_fold(0_u64, |sum, limit| sum.checked_add(limit?))
    };
    Limits {
        memory_bytes: own.memory_bytes.or_else(|| sum(|limits| limits.memory_bytes)),
        cpu_millis: own.cpu_millis.or_else(|| sum(|limits| limits.cpu_millis)),
    }
}

/// A container's limits; a container without one gets the pod's, if the pod has its own.
///
/// Source: kubernetes v1.36.2, `kuberuntime_container_linux.go`, `getMemoryLimit`, `getCPULimit`.
pub(super) fn container_limits(pod: &Value, spec: &Value) -> Limits {
    let own = quantity::limits(spec.get("resources"));
    let pod = quantity::limits(pod.pointer("/spec/resources"));
    Limits {
        memory_bytes: own.memory_bytes.or(pod.memory_bytes),
        cpu_millis: own.cpu_millis.or(pod.cpu_millis),
    }
}

/// The command: the spec's, or the image's own entrypoint with the spec's arguments. The demo's
/// programs are this program, `ephemon` is in the same directory, and a container without a command
/// waits for a signal.
pub(super) fn command(binary: &Path, spec: &Value) -> Vec<String> {
    let list = |pointer: &str| -> Vec<String> {
        items(spec, pointer).filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut words = list("/command");
    if words.is_empty() {
        words.extend(entrypoint(text(spec, "/image").unwrap_or_default()));
    }
    words.extend(list("/args"));
    let this = || binary.to_string_lossy().into_owned();
    let helper = |kind: &str| vec![this(), helper::NAME.to_owned(), kind.to_owned()];
    match words.split_first() {
        None => helper("pause"),
        Some((first, rest)) if first == workload::NAME => {
            let mut command = helper("workload");
            command.extend_from_slice(rest);
            command
        }
        Some((first, rest)) if first == "ephemon" => {
            let agent = binary.with_file_name(first);
            let mut command = vec![agent.to_string_lossy().into_owned()];
            command.extend_from_slice(rest);
            command
        }
        Some(_) => words,
    }
}

/// The entrypoints of the demo's images.
fn entrypoint(image: &str) -> impl Iterator<Item = String> {
    let words: &[&str] = match images::name(image) {
        Some("cache") => &[workload::NAME, "listen"],
        Some("greeter") => &[workload::NAME, "say", "1"],
        _ => &[],
    };
    words.iter().map(|word| (*word).to_owned())
}

/// The container's variables, and the few that every container has.
pub(super) fn environment(pod: &str, spec: &Value) -> Vec<(String, String)> {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
    let mut all = vec![("PATH".to_owned(), path), ("HOSTNAME".to_owned(), pod.to_owned())];
    for variable in items(spec, "/env") {
        let value = text(variable, "/value").unwrap_or_default();
        if let Some(name) = text(variable, "/name") {
            all.push((name.to_owned(), value.to_owned()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_image_starts_what_it_has_and_a_command_takes_its_place() {
        let words = |spec: Value| command(Path::new("/b"), &spec).join(" ");
        let greeter = |more: Value| {
            let mut spec = json!({"image": "localhost/greeter:1"});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            words(spec)
        };
        assert_eq!(greeter(json!({"args": ["hi"]})), "/b demo-part workload say 1 hi");
        assert_eq!(greeter(json!({"command": ["sh"], "args": ["-c"]})), "sh -c");
        assert_eq!(words(json!({"image": "localhost/x:1"})), "/b demo-part pause");
        assert_eq!(words(json!({"command": ["ephemon", "install", "/e"]})), "/ephemon install /e");
    }

    #[test]
    fn a_pod_is_limited_only_where_every_container_is() {
        let limited = json!({"resources": {"limits": {"memory": "64Mi", "cpu": "500m"}}});
        let pod = |containers: Value| pod_limits(&json!({"spec": {"containers": containers}}));
        let both = pod(json!([limited, limited]));
        assert_eq!((both.memory_bytes, both.cpu_millis), (Some(128 << 20), Some(1000)));
        assert_eq!(pod(json!([limited, {}])), Limits::default());
    }

    #[test]
    fn an_ephemeral_container_takes_the_limit_of_the_pod_itself_only() {
        let with = json!({"spec": {"resources": {"limits": {"memory": "1Gi"}}}});
        assert_eq!(container_limits(&with, &json!({})).memory_bytes, Some(1 << 30));
        let without =
            json!({"spec": {"containers": [{"resources": {"limits": {"memory": "1Gi"}}}]}});
        assert_eq!(container_limits(&without, &json!({})), Limits::default());
    }
}
