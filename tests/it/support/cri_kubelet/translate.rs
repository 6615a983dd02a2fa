//! A container of a pod's spec in the runtime's words. Pure.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::super::cri_wire::{
    Capabilities, ContainerConfig, ContainerMetadata, ContainerSecurityContext, ImageSpec,
    Int64Value, KeyValue, LinuxContainerConfig, LinuxContainerResources, Mount,
    NAMESPACE_CONTAINER, NAMESPACE_POD, NamespaceOption,
};
use super::super::kubelet::labels;
use super::super::node::PodPlace;

/// Of a container without requests in a pod that has some, and of one that has few: the kernel
/// takes the first first. `pkg/kubelet/qos/policy.go`.
const OOM_SCORE: [i64; 2] = [999, 997];

/// What of the pod a container's translation needs.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) place: &'a PodPlace,
    pub(super) pod: &'a Value,
    pub(super) env: BTreeMap<String, String>,
    pub(super) mounts: Vec<Mount>,
    pub(super) ephemeral: bool,
    /// Files of cgroup v2; none on v1.
    pub(super) unified: HashMap<String, String>,
}

/// The network, process and IPC namespaces of pods that share what pods share by default.
pub(super) fn namespaces() -> NamespaceOption {
    NamespaceOption { network: NAMESPACE_POD, pid: NAMESPACE_CONTAINER, ipc: NAMESPACE_POD }
}

/// The container.
pub(super) fn container(spec: &Value, around: Surroundings<'_>) -> ContainerConfig {
    let name = text(spec, "/name");
    let words = |field: &str| -> Vec<String> {
        items(spec, field).map(|word| expand(word.as_str().unwrap(), &around.env)).collect()
    };
    let limit = [spec.pointer("/resources"), around.pod.pointer("/spec/resources")]
        .into_iter()
        .flatten()
        .find_map(|resources| bytes(resources.pointer("/limits/memory")?.as_str()?))
        .unwrap_or_default();
    ContainerConfig {
        metadata: Some(ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: Some(ImageSpec { image: text(spec, "/image").to_owned() }),
        command: words("/command"),
        args: words("/args"),
        working_dir: text(spec, "/workingDir").to_owned(),
        envs: around.env.into_iter().map(|(key, value)| KeyValue { key, value }).collect(),
        mounts: around.mounts,
        labels: labels(around.place, Some(name)),
        annotations: HashMap::from([
            ("io.kubernetes.container.restartCount".to_owned(), "0".to_owned()),
            ("io.kubernetes.container.terminationMessagePath".to_owned(), String::new()),
        ]),
        log_path: format!("{name}/0.log"),
        linux: Some(LinuxContainerConfig {
            resources: Some(LinuxContainerResources {
                cpu_shares: 2,
                memory_limit_in_bytes: limit,
                memory_swap_limit_in_bytes: limit,
                oom_score_adj: OOM_SCORE[usize::from(!around.ephemeral)],
                unified: around.unified,
            }),
            security_context: Some(security(spec, around.pod)),
        }),
    }
}

/// Whether the runtime has to be told that the pod may have such a container.
pub(super) fn is_privileged(spec: &Value) -> bool {
    spec.pointer("/securityContext/privileged") == Some(&Value::Bool(true))
}

/// The container's word before the pod's.
fn security(spec: &Value, pod: &Value) -> ContainerSecurityContext {
    let number = |field: &str| {
        let own = spec.pointer(&format!("/securityContext/{field}"));
        let value = own.or_else(|| pod.pointer(&format!("/spec/securityContext/{field}")))?;
        Some(Int64Value { value: value.as_i64()? })
    };
    let names = |field: &str| -> Vec<String> {
        let pointer = format!("/securityContext/capabilities/{field}");
        let list = items(spec, &pointer);
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    ContainerSecurityContext {
        capabilities: Some(Capabilities { add: names("add"), drop: names("drop") }),
        privileged: is_privileged(spec),
        namespace_options: Some(namespaces()),
        run_as_user: number("runAsUser"),
        readonly_rootfs: spec.pointer("/securityContext/readOnlyRootFilesystem")
            == Some(&Value::Bool(true)),
        run_as_group: number("runAsGroup"),
    }
}

/// The container's environment over that of its Secrets. Names `(namespace, secret)` that are not
/// there are the error.
pub(super) fn environment(
    spec: &Value,
    secret: impl Fn(&str) -> Option<BTreeMap<String, Vec<u8>>>,
) -> Result<BTreeMap<String, String>, String> {
    let mut env = BTreeMap::new();
    for from in items(spec, "/envFrom") {
        let Some(name) = from.pointer("/secretRef/name").and_then(Value::as_str) else { continue };
        let data = secret(name).ok_or_else(|| format!("secret \"{name}\" not found"))?;
        for (key, value) in data {
            env.insert(key, String::from_utf8(value).unwrap());
        }
    }
    for variable in items(spec, "/env") {
        let value = expand(text(variable, "/value"), &env);
        env.insert(text(variable, "/name").to_owned(), value);
    }
    Ok(env)
}

/// `$(NAME)` is a variable's value, `$$` a dollar sign; what is not known stays as it is.
///
/// Source: `third_party/forked/golang/expansion/expand.go`.
fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let reference = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        rest = match (after.strip_prefix('$'), reference) {
            (Some(after), _) => {
                expanded.push('$');
                after
            }
            (None, Some((name, after))) => {
                match env.get(name) {
                    Some(value) => expanded.push_str(value),
                    None => expanded.extend(["$(", name, ")"]),
                }
                after
            }
            (None, None) => {
                expanded.push('$');
                after
            }
        };
    }
    expanded + rest
}

/// `64Mi` and its like.
pub(super) fn bytes(text: &str) -> Option<i64> {
    let units = [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("", 1)];
    units.into_iter().find_map(|(unit, factor)| {
        text.strip_suffix(unit)?.parse::<i64>().ok()?.checked_mul(factor)
    })
}

/// A text at a pointer; empty where there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The items of a list at a pointer.
pub(super) fn items<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

#[test]
fn references_are_expanded_as_the_kubelet_does() {
    let env = BTreeMap::from([("A".to_owned(), "x".to_owned())]);
    for (text, expanded) in [
        ("$(A)b", "xb"),
        ("$$(A)", "$(A)"),
        ("$(B) $A $", "$(B) $A $"),
        ("$$$(A)", "$x"),
        ("$(A", "$(A"),
    ] {
        assert_eq!(expand(text, &env), expanded, "{text}");
    }
}
