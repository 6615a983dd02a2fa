//! Parses the kubelet's file names below `/var/log`. Pure.
//!
//! Kubernetes names contain lower-case letters, digits, `-` and (a pod's) `.`, but never `_`, so
//! that `_` is an unambiguous separator. Names of another form are not the kubelet's, and are
//! ignored.
//!
//! Source: kubernetes v1.36.2, `pkg/kubelet/kuberuntime/{helpers,legacy}.go`.

use ephemon_model::{ContainerId, PodRef, PodUid};

/// Length of the longest DNS subdomain, which limits a pod's name.
const MAX_POD_NAME: usize = 253;

/// Length of the longest DNS label, which limits the names of namespaces and containers.
const MAX_LABEL: usize = 63;

/// A link's name in `/var/log/containers`, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkName<'a> {
    /// The pod's name.
    pub pod: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// The container's name.
    pub container: &'a str,
    /// The container.
    pub id: ContainerId,
}

/// A rotated log's name, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotatedLog<'a> {
    /// The number of the attempt.
    pub attempt: u32,
    /// When it was rotated, by the node's clock: `20261123-121910`. Sorts by time.
    pub time: &'a str,
    /// Whether it is compressed.
    pub packed: bool,
}

/// Parses `NAMESPACE_POD_UID`, a directory's name in `/var/log/pods`.
pub fn pod_directory(name: &str) -> Option<PodRef> {
    let mut parts = name.split('_');
    let (namespace, pod, uid) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !is_label(namespace) || !is_pod_name(pod) {
        return None;
    }
    Some(PodRef { namespace: namespace.into(), name: pod.into(), uid: PodUid::parse(uid).ok()? })
}

/// Parses `POD_NAMESPACE_CONTAINER-ID.log`, a link's name in `/var/log/containers`.
pub fn link(name: &str) -> Option<LinkName<'_>> {
    let mut parts = name.strip_suffix(".log")?.split('_');
    let (pod, namespace, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let (container, id) = rest.rsplit_once('-')?;
    if parts.next().is_some() || !is_pod_name(pod) || !is_label(namespace) || !is_label(container) {
        return None;
    }
    Some(LinkName { pod, namespace, container, id: ContainerId::parse(id).ok()? })
}

/// Parses the number of the attempt from `N.log`; `None` for a rotated file
/// (`N.log.20261123-121910`).
pub fn log_file(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".log")?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| number.parse().ok()).flatten()
}

/// Parses `N.log.20261123-121910` and `N.log.20261123-121910.gz`.
///
/// Source: kubernetes v1.36.2, `pkg/kubelet/logs/container_log_manager.go`, `rotateLatestLog`.
pub fn rotated_log(name: &str) -> Option<RotatedLog<'_>> {
    let (number, rest) = name.split_once(".log.")?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let attempt = digits.then(|| number.parse().ok()).flatten()?;
    let (time, packed) = match rest.strip_suffix(".gz") {
        Some(time) => (time, true),
        None => (rest, false),
    };
    let fits = time.len() == 15
        && time.bytes().enumerate().all(
            |(at, byte)| {
                if at == 8 { byte == b'-' } else { byte.is_ascii_digit() }
            },
        );
    fits.then_some(RotatedLog { attempt, time, packed })
}

/// Whether this is a valid name of a namespace or a container.
pub fn is_label(name: &str) -> bool {
    name.len() <= MAX_LABEL && is_subdomain(name) && !name.contains('.')
}

/// Whether this is a valid name of a pod.
pub fn is_pod_name(name: &str) -> bool {
    name.len() <= MAX_POD_NAME && is_subdomain(name)
}

/// A pod, if its names and its UID are valid.
pub fn pod_ref(namespace: &str, name: &str, uid: &str) -> Option<PodRef> {
    if !is_label(namespace) || !is_pod_name(name) {
        return None;
    }
    let uid = PodUid::parse(uid).ok()?;
    Some(PodRef { namespace: namespace.into(), name: name.into(), uid })
}

fn is_subdomain(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let parts_are_good = name.split('.').all(|part| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(|byte| inner(*byte))
            && bytes.last().is_some_and(|byte| inner(*byte))
            && bytes.iter().all(|byte| inner(*byte) || *byte == b'-')
    });
    !name.is_empty() && parts_are_good
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UID: &str = "0e269fa4-f505-4963-9096-958063077203";
    const ID: &str = "a0f57c0c702b40378c6460d0b3ecf29596c72d77d1bf18ee8169303b06f060a7";

    #[test]
    fn a_recorded_directory_is_taken_apart() {
        let name = format!("default_arc-runner-set-x7k2p-runner-9qz4m_{UID}");
        let pod = pod_directory(&name).unwrap();
        assert_eq!(&*pod.namespace, "default");
        assert_eq!(&*pod.name, "arc-runner-set-x7k2p-runner-9qz4m");
        assert_eq!(pod.uid.as_str(), UID);
    }

    #[test]
    fn a_link_is_taken_apart_though_names_hold_dashes_and_dots() {
        let name = format!("node1.example_kube-system_step-1-{ID}.log");
        assert_eq!(
            link(&name).unwrap(),
            LinkName {
                pod: "node1.example",
                namespace: "kube-system",
                container: "step-1",
                id: ContainerId::parse(ID).unwrap(),
            }
        );
    }

    #[test]
    fn only_the_log_being_written_has_a_number() {
        assert_eq!(log_file("0.log"), Some(0));
        assert_eq!(log_file("17.log"), Some(17));
        for other in [
            "0.log.20261123-121910",
            "0.log.20261123-121910.gz",
            "+1.log",
            ".log",
            "99999999999.log",
            "x.log",
        ] {
            assert_eq!(log_file(other), None, "{other}");
        }
    }

    #[test]
    fn rotated_logs_have_a_number_and_a_time() {
        let rotated = |attempt, packed| RotatedLog { attempt, time: "20261123-121910", packed };
        assert_eq!(rotated_log("0.log.20261123-121910"), Some(rotated(0, false)));
        assert_eq!(rotated_log("12.log.20261123-121910.gz"), Some(rotated(12, true)));
        for other in [
            "0.log",
            "0.log.20261123-121910.tmp",
            "0.log.20261123-121910.gz.tmp",
            "0.log.20261123_121910",
            "x.log.20261123-121910",
            ".log.20261123-121910",
            "0.log.",
        ] {
            assert_eq!(rotated_log(other), None, "{other}");
        }
    }

    #[test]
    fn names_that_are_not_the_kubelets_are_passed_over() {
        for other in [
            String::new(),
            format!("default_pod_{UID}_more"),
            format!("default_Pod_{UID}"),
            format!("default_po\nd_{UID}"),
            format!("default__{UID}"),
            format!("-default_pod_{UID}"),
            format!("default_pod_{UID}x"),
            format!("{}_pod_{UID}", "n".repeat(64)),
        ] {
            assert_eq!(pod_directory(&other), None, "{other:?}");
        }
        for other in [
            format!("pod_default_c-{ID}"),
            format!("pod_default_{ID}.log"),
            format!("pod_default_c.d-{ID}.log"),
            format!("pod_default_c-{}.log", ID.to_uppercase()),
        ] {
            assert_eq!(link(&other), None, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_without_panic(text in any::<String>()) {
            let _ = (pod_directory(&text), link(&text), log_file(&text), rotated_log(&text));
        }

        #[test]
        fn what_a_kubelet_writes_is_read_back(
            namespace in "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?",
            pod in "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\\.[a-z0-9]{1,8}){0,3}",
            container in "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?",
            id in "[0-9a-f]{64}",
        ) {
            let parsed = pod_directory(&format!("{namespace}_{pod}_{UID}")).unwrap();
            prop_assert_eq!((&*parsed.namespace, &*parsed.name), (&*namespace, &*pod));
            let name = format!("{pod}_{namespace}_{container}-{id}.log");
            let parsed = link(&name).unwrap();
            prop_assert_eq!(
                (parsed.pod, parsed.namespace, parsed.container, parsed.id.as_str()),
                (&*pod, &*namespace, &*container, &*id)
            );
        }
    }
}
