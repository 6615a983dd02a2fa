//! The kubelet's directory on this node: as configured, or the first of the usual places that has pods.

use std::fs;
use std::path::{Path, PathBuf};

use ephemon_model::node::NodeRoot;

use super::args::Args;

/// Where kubelets have their directory: the kubelet's own default, which k3s, RKE2 and Talos keep; k0s;
/// `MicroK8s`.
///
/// Source: kubernetes `cmd/kubelet/app/options` (`--root-dir`), k0s
/// `pkg/component/worker/kubelet.go` (`kubelet` below the data directory), `MicroK8s`
/// `microk8s-resources/default-args/kubelet` (`--root-dir=${SNAP_COMMON}/var/lib/kubelet`).
const PLACES: [&str; 3] =
    ["/var/lib/kubelet", "/var/lib/k0s/kubelet", "/var/snap/microk8s/common/var/lib/kubelet"];

/// The directory, absolute on the node.
pub(super) fn of(args: &Args) -> PathBuf {
    args.kubelet_root.clone().unwrap_or_else(|| find(&NodeRoot::new(&args.node_root)).to_owned())
}

/// The first place that holds pods, else the first that could, else the kubelet's default.
fn find(node: &NodeRoot) -> &'static Path {
    let pods = |place: &&str| fs::read_dir(node.join(place).join("pods")).ok();
    let has_pods = |place: &&str| pods(place).is_some_and(|mut entries| entries.next().is_some());
    let all = || PLACES.iter();
    let found =
        all().find(|place| has_pods(place)).or_else(|| all().find(|place| pods(place).is_some()));
    Path::new(found.unwrap_or(&PLACES[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_that_has_pods_is_taken() {
        let root = tempfile::tempdir().unwrap();
        let node = NodeRoot::new(root.path());
        let make = |path: &str| fs::create_dir_all(node.join(path)).unwrap();
        assert_eq!(find(&node), Path::new("/var/lib/kubelet"), "nothing is there yet");
        make("/var/lib/k0s/kubelet/pods");
        assert_eq!(find(&node), Path::new("/var/lib/k0s/kubelet"));
        // A manifest that creates the directory it mounts.
        make("/var/lib/kubelet/pods");
        assert_eq!(find(&node), Path::new("/var/lib/kubelet"), "none has pods");
        make("/var/snap/microk8s/common/var/lib/kubelet/pods/0e269fa4-f505-4963-9096-958063077203");
        assert_eq!(find(&node), Path::new("/var/snap/microk8s/common/var/lib/kubelet"));
    }
}
