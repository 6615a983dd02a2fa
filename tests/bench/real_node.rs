//! What is measured on a real node (etcd, API server, kubelet, containerd), each part in a file of its own.
//!
//! `cargo bench --bench real_node` (needs root and the parts of a real node), or `-- actions`, `-- pulls`
//! and `-- births` for some of it: the birth of containers has two parts, `births-containerd`, which needs
//! the node's containerd only, and `births-kubelet`. Takes six minutes, most of them for the build; with
//! `--profile dev` it builds in a fraction of that, and agent, init and hook are slower.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    dead_code,
    reason = "a program that prints figures, on the test rig, of which it uses a part"
)]

#[path = "../it"]
mod it {
    pub(crate) mod support;
}
#[path = "../it/hook_in_pods/runner.rs"]
mod runner;
#[path = "../it/hook_in_pods/site.rs"]
mod site;

#[path = "real_node"]
mod real_node {
    pub(crate) mod actions;
    pub(crate) mod births;
    pub(crate) mod pulls;
}

#[path = "rig"]
mod rig {
    pub(crate) mod parts;
}

// What the rig's files name each other by.
use it::support;

use real_node::{actions, births, pulls};

fn main() {
    rig::parts::measure(&[
        ("actions", actions::measure),
        ("pulls", pulls::measure),
        ("births-containerd", births::containerd::measure),
        ("births-kubelet", births::kubelet::measure),
    ]);
}
