//! Where capture would read, without starting it.

use std::path::{Path, PathBuf};

use ephemon_cgroup::{Detected, Hierarchy, NoHierarchy};
use ephemon_discovery::cgroups::CgroupTree;
use ephemon_model::node::NodeRoot;

/// What is on the node to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The hierarchy in words.
    pub hierarchy: String,
    /// The directory of the hierarchy that is watched.
    pub root: PathBuf,
    /// The kubelet's tree relative to it, where it is there.
    pub kubepods: Option<PathBuf>,
}

/// Looks for the node's cgroup hierarchy and the kubelet's tree in it; `kubepods` as `--kubepods` says.
pub fn look(node: &NodeRoot, kubepods: Option<&Path>) -> Result<Found, NoHierarchy> {
    let hierarchy = Hierarchy::detect(&node.cgroup())?;
    let root = hierarchy.watched_root().map(ToOwned::to_owned).unwrap_or_default();
    let tree = CgroupTree::new(root.clone(), kubepods.map(ToOwned::to_owned), false);
    let kubepods = tree.kubepods().filter(|at| root.join(at).is_dir()).map(ToOwned::to_owned);
    Ok(Found { hierarchy: Detected(&hierarchy).to_string(), root, kubepods })
}
