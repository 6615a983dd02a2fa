//! The two nodes, as far as the scenario needs to tell them apart.

use std::path::PathBuf;
use std::sync::Arc;

use ephemon_demo::{Node as DemoNode, NodeOptions};

use crate::support::image::WORK;
use crate::support::programs;
use crate::support::real_node::{NODE, RealNode};

/// A node whose API a client reaches and whose files this process reads.
pub(super) trait Node {
    /// The configuration of a client with every right.
    fn kubeconfig(&self) -> PathBuf;
    /// The node's name in the API.
    fn name(&self) -> &str;
    /// A file of the node, as this machine sees it.
    fn path(&self, absolute: &str) -> PathBuf;
    /// What stands before the node's own paths where it writes them down.
    fn root(&self) -> String;
    /// The cgroup of all pods, relative to a hierarchy's root.
    fn kubepods(&self) -> String;
    /// An image with a shell that is on the node.
    fn image(&self) -> &'static str;
}

/// The embedded node.
pub(super) struct Embedded(DemoNode);

/// The real one.
pub(super) struct Real(pub(super) Arc<RealNode>);

// === impl Embedded ===

impl Embedded {
    pub(super) async fn start() -> Self {
        let options = NodeOptions::new(programs::demo());
        Self(DemoNode::start(options).await.unwrap())
    }

    pub(super) async fn shutdown(self) {
        self.0.shutdown().await;
    }
}

impl Node for Embedded {
    fn kubeconfig(&self) -> PathBuf {
        self.0.kubeconfig()
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn path(&self, absolute: &str) -> PathBuf {
        self.0.root().join(absolute.trim_start_matches('/'))
    }

    fn root(&self) -> String {
        self.0.root().to_string_lossy().into_owned()
    }

    fn kubepods(&self) -> String {
        self.0.kubepods()
    }

    fn image(&self) -> &'static str {
        "localhost/work:1"
    }
}

// === impl Real ===

impl Node for Real {
    fn kubeconfig(&self) -> PathBuf {
        self.0.kubectl().kubeconfig().to_owned()
    }

    fn name(&self) -> &str {
        NODE
    }

    fn path(&self, absolute: &str) -> PathBuf {
        self.0.path(absolute)
    }

    fn root(&self) -> String {
        String::new()
    }

    fn kubepods(&self) -> String {
        "kubepods".to_owned()
    }

    fn image(&self) -> &'static str {
        WORK
    }
}
