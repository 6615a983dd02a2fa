//! The directory names of the kubelet and the runtimes, for both cgroup drivers.
//!
//! cgroupfs: `kubepods[/burstable|/besteffort]/podUID/ID` (CRI-O: `crio-ID`).
//! systemd: `kubepods.slice[/kubepods-burstable.slice]/kubepods-burstable-podUID.slice/
//! cri-containerd-ID.scope` with `_` for `-` in the UID; below another slice (kind:
//! `kubelet.slice`) every name carries that slice's name in front.
//! Source: kubernetes v1.36.2, `pkg/kubelet/cm/{pod_container_manager,cgroup_manager}_linux.go`.

use ephemon_model::{ContainerId, PodUid};

/// Paths of the kubepods root relative to the hierarchy's root that are in use: a plain kubelet
/// with either driver, and the nested ones of kind and k3d.
pub const KUBEPODS_ROOTS: [&str; 5] = [
    "kubepods",
    "kubepods.slice",
    "kubelet/kubepods",
    "kubelet.slice/kubelet-kubepods.slice",
    "k3s/kubepods",
];

/// The kind of a directory below the kubepods root or a `QoS` directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Below {
    /// The directory of a `QoS` class, with pods in it.
    Qos,
    /// A pod's directory, with containers in it.
    Pod(PodUid),
}

/// Parses a directory name below the kubepods root or a `QoS` directory.
pub fn below_kubepods(name: &str) -> Option<Below> {
    if let Some(slice) = name.strip_suffix(".slice") {
        // The slice's name is its path with dashes: only the last part counts.
        let last = slice.rsplit('-').next()?;
        return match last {
            "burstable" | "besteffort" => Some(Below::Qos),
            pod => pod_uid(&pod.strip_prefix("pod")?.replace('_', "-")),
        };
    }
    match name {
        "burstable" | "besteffort" => Some(Below::Qos),
        pod => pod_uid(pod.strip_prefix("pod")?),
    }
}

fn pod_uid(text: &str) -> Option<Below> {
    PodUid::parse(text).ok().map(Below::Pod)
}

/// Parses a directory name below a pod's directory: `ID`, `PREFIX-ID.scope`, `crio-ID`, `kata_ID`.
///
/// `crio-conmon-ID` is CRI-O's monitor of that container, not the container. Kata Containers puts its
/// prefix before a sandbox's id with cgroupfs only (`src/runtime/virtcontainers/sandbox.go`,
/// `createResourceController`).
pub fn container(name: &str) -> Option<ContainerId> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let name = name.strip_prefix("kata_").unwrap_or(name);
    match name.rsplit_once('-') {
        None => ContainerId::parse(name).ok(),
        Some((prefix, _)) if prefix.ends_with("conmon") => None,
        Some((_, id)) => ContainerId::parse(id).ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UID: &str = "0e269fa4-f505-4963-9096-958063077203";
    const ID: &str = "a0f57c0c702b40378c6460d0b3ecf29596c72d77d1bf18ee8169303b06f060a7";

    fn pod() -> Option<Below> {
        PodUid::parse(UID).ok().map(Below::Pod)
    }

    #[test]
    fn pods_are_read_under_both_drivers() {
        let escaped = UID.replace('-', "_");
        assert_eq!(below_kubepods(&format!("pod{UID}")), pod());
        assert_eq!(below_kubepods(&format!("kubepods-pod{escaped}.slice")), pod());
        assert_eq!(below_kubepods(&format!("kubepods-burstable-pod{escaped}.slice")), pod());
        assert_eq!(
            below_kubepods(&format!("kubelet-kubepods-besteffort-pod{escaped}.slice")),
            pod()
        );
        assert_eq!(below_kubepods("burstable"), Some(Below::Qos));
        assert_eq!(below_kubepods("kubepods-besteffort.slice"), Some(Below::Qos));
        assert_eq!(below_kubepods("podcast"), None);
        assert_eq!(below_kubepods("system.slice"), None);
    }

    #[test]
    fn containers_are_read_under_every_runtime() {
        let id = ContainerId::parse(ID).ok();
        for name in [
            ID.to_owned(),
            format!("crio-{ID}"),
            format!("crio-{ID}.scope"),
            format!("cri-containerd-{ID}.scope"),
            format!("docker-{ID}.scope"),
            format!("kata_{ID}"),
        ] {
            assert_eq!(container(&name), id, "{name}");
        }
        for name in
            ["container", "cgroup.procs", &format!("crio-conmon-{ID}.scope"), "a0f57c0c702b"]
        {
            assert_eq!(container(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_name_makes_them_panic(name in any::<String>()) {
            let _ = (below_kubepods(&name), container(&name));
        }
    }
}
