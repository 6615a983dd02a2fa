//! What the runtime's events (NRI) add to what other sources know of short containers: when each source
//! knows a start and an end, and what the events cost the runtime and the agent.
//!
//! `cargo bench --bench births` (needs root, and the containerd of a real node), or `-- containerd` and
//! `-- kubelet` for one of the parts; the second needs all parts of a real node, with API server and kubelet.
//! Takes three minutes, most of them for the build.

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

#[path = "births"]
mod births {
    pub(crate) mod containerd;
    pub(crate) mod kubelet;
    pub(crate) mod sources;
    pub(crate) mod table;
}

use it::support;

fn main() {
    let parts: [(&str, fn()); 2] =
        [("containerd", births::containerd::measure), ("kubelet", births::kubelet::measure)];
    let asked: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for (name, measure) in parts {
        if asked.is_empty() || asked.iter().any(|word| word == name) {
            measure();
        }
    }
}
