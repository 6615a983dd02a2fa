//! Helpers for reading API objects, and the fields that the server adds to a new pod. Pure except
//! for the random UID.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ephemon_base::clock::unix_time;
use serde_json::{Map, Value, json};

use super::containers::{Kind, of_kind};

/// Namespace and name.
pub type Key = (String, String);

/// A text at a JSON pointer.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

/// The items of a list at a JSON pointer; none if it is missing.
pub(crate) fn items<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The object at a key, created if missing; `None` if there is a value of another type.
pub(crate) fn section<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    let map = object.as_object_mut()?;
    map.entry(key.to_owned()).or_insert_with(|| json!({})).as_object_mut()
}

/// A random UID of the form the API server gives (version 4).
pub(crate) fn new_uid() -> String {
    let hex: String = (0..32).map(|_| fastrand::digit(16).to_ascii_lowercase()).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-4{}-{}{}-{}",
        part(0, 8),
        part(8, 12),
        part(13, 16),
        fastrand::choice(['8', '9', 'a', 'b']).unwrap_or('8'),
        part(17, 20),
        part(20, 32)
    )
}

/// A time as the API writes it: whole seconds, UTC.
pub(crate) fn time(at: SystemTime) -> String {
    let seconds = unix_time(at).map_or(0, |since| since.as_secs());
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map(|stamp| stamp.to_string())
        .unwrap_or_default()
}

/// Sets the fields that the server sets when a pod is created; `node` is the decision of the
/// scheduler.
pub(super) fn complete_pod(pod: &mut Value, namespace: &str, node: &str) {
    let qos = qos_class(pod);
    default(pod, "kind", json!("Pod"));
    default(pod, "apiVersion", json!("v1"));
    if let Some(metadata) = section(pod, "metadata") {
        metadata.insert("namespace".to_owned(), json!(namespace));
        metadata.insert("uid".to_owned(), json!(new_uid()));
        metadata.insert("generation".to_owned(), json!(1));
        let now = time(SystemTime::now());
        metadata.insert("creationTimestamp".to_owned(), json!(now));
    }
    section(pod, "spec");
    if let Some(spec) = pod.get_mut("spec") {
        default(spec, "restartPolicy", json!("Always"));
        default(spec, "terminationGracePeriodSeconds", json!(30));
        default(spec, "dnsPolicy", json!("ClusterFirst"));
        default(spec, "nodeName", json!(node));
        default(spec, "securityContext", json!({}));
        default(spec, "schedulerName", json!("default-scheduler"));
        default(spec, "priority", json!(0));
        default(spec, "enableServiceLinks", json!(true));
        default(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
    }
    complete_containers(pod);
    if let Some(status) = section(pod, "status") {
        status.insert("phase".to_owned(), json!("Pending"));
        status.insert("qosClass".to_owned(), json!(qos));
    }
}

/// Sets the defaults of every container in the spec.
pub(super) fn complete_containers(pod: &mut Value) {
    for list in Kind::LISTED.map(Kind::spec) {
        let containers =
            pod.get_mut("spec").and_then(|spec| spec.get_mut(list)).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let image = text(container, "/image").unwrap_or_default();
            let latest = image.ends_with(":latest") || !image.contains(':');
            let policy = if latest { "Always" } else { "IfNotPresent" };
            default(container, "resources", json!({}));
            default(container, "terminationMessagePath", json!("/dev/termination-log"));
            default(container, "terminationMessagePolicy", json!("File"));
            default(container, "imagePullPolicy", json!(policy));
        }
    }
}

/// The pod's quality of service, from the requests and limits of its containers.
///
/// Source: kubernetes v1.36.2, `pkg/apis/core/v1/helper/qos/qos.go`, `ComputePodQOS`.
pub(crate) fn qos_class(pod: &Value) -> &'static str {
    let has = |container: &Value, kind: &str, resource: &str| {
        text(container, &format!("/resources/{kind}/{resource}")).is_some()
    };
    let mut any = pod.pointer("/spec/resources").is_some();
    let mut all = !any;
    for container in of_kind(pod, Kind::Regular).chain(of_kind(pod, Kind::Init)) {
        for resource in ["cpu", "memory"] {
            let request = text(container, &format!("/resources/requests/{resource}"));
            let limit = text(container, &format!("/resources/limits/{resource}"));
            any |= has(container, "limits", resource) || has(container, "requests", resource);
            all &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn default(object: &mut Value, key: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.entry(key.to_owned()).or_insert(value);
    }
}

/// Increments the generation of the spec.
pub(super) fn raise_generation(pod: &mut Value) {
    if let Some(metadata) = section(pod, "metadata") {
        let generation = metadata.get("generation").and_then(Value::as_u64);
        let next = generation.unwrap_or(0).saturating_add(1);
        metadata.insert("generation".to_owned(), json!(next));
    }
}

/// The pod, marked for deletion with this grace period.
pub(super) fn deleted(pod: &Value, grace: u64) -> Value {
    let mut pod = pod.clone();
    let end = SystemTime::now().checked_add(Duration::from_secs(grace));
    if let (Some(metadata), Some(end)) = (section(&mut pod, "metadata"), end) {
        metadata.insert("deletionTimestamp".to_owned(), json!(time(end)));
        metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
    }
    pod
}

/// The pod with this resource version.
pub(super) fn stamped(mut pod: Value, version: u64) -> Arc<Value> {
    if let Some(metadata) = section(&mut pod, "metadata") {
        metadata.insert("resourceVersion".to_owned(), json!(version.to_string()));
    }
    Arc::new(pod)
}

#[cfg(test)]
mod tests {
    use ephemon_model::PodUid;

    use super::*;

    #[test]
    fn a_new_uid_is_one_by_the_apis_form() {
        for _ in 0..100 {
            assert!(PodUid::parse(&new_uid()).is_ok());
        }
    }

    #[test]
    fn quality_of_service_follows_requests_and_limits() {
        let class = |resources: Value| {
            qos_class(&json!({"spec": {"containers": [{"resources": resources}]}}))
        };
        assert_eq!(class(json!({})), "BestEffort");
        assert_eq!(class(json!({"requests": {"cpu": "1"}})), "Burstable");
        assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1Gi"}})), "Guaranteed");
        let less = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Mi"}});
        assert_eq!(class(less), "Burstable");
    }
}
