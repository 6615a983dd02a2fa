//! ephemon beside what is in use today, on one machine and in one run: the OpenTelemetry Collector's
//! filelog receiver for logs, the kubelet's cAdvisor for metrics.
//!
//! `cargo bench --bench peers`, or `-- logs` and `-- kubelet` for one of them. Needs what `.ci/run`
//! installs; what is missing is named, and that part left out. Takes ten minutes.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    dead_code,
    reason = "a program that prints figures, on the test rig, of which it uses a part"
)]

#[path = "../it"]
mod it {
    pub(crate) mod support;
    pub(crate) mod hook_in_pods {
        pub(super) mod agent_pods;
        pub(super) mod installed;
        #[path = "../../bench/peers/kubelet.rs"]
        pub(crate) mod kubelet;
        pub(super) mod runner;
        pub(super) mod site;
    }
}

#[path = "peers"]
mod peers {
    pub(crate) mod logs;
}

#[path = "rig"]
mod rig {
    pub(crate) mod parts;
    pub(crate) mod plain_node;
    pub(crate) mod sink;
    pub(crate) mod used;
}

// What the rig's files name each other by.
use it::support;

fn main() {
    rig::parts::measure(&[
        ("logs", peers::logs::measure),
        ("kubelet", it::hook_in_pods::kubelet::measure),
    ]);
}
