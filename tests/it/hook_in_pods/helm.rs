//! `helm`, as `deploy/tools.py` builds it, and the chart as a release has it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::parts;
use crate::support::process::output;
use crate::support::real_node::Kubectl;

/// `helm` against a cluster.
pub(super) struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
}

// === impl Helm ===

impl Helm {
    /// None where it is not there and cannot be built; says so.
    pub(super) fn of(kubectl: &Kubectl) -> Option<Self> {
        let done = deploy("import tools; print(tools.tool('helm'))", &[]).output().ok();
        let Some(done) = done.filter(|done| done.status.success()) else {
            assert!(std::env::var_os("CI").is_none(), "CI must have helm, as deploy/check does");
            eprintln!("skipped: deploy/tools.py cannot build helm here");
            return None;
        };
        let program = last_line(&String::from_utf8(done.stdout).unwrap());
        Some(Self { program, kubeconfig: kubectl.kubeconfig().to_owned() })
    }

    /// A command in a namespace.
    pub(super) fn command(&self, words: &[&str], namespace: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).args(["--namespace", namespace, "--kubeconfig"]).arg(&self.kubeconfig);
        command
    }
}

/// The archive of the chart that `deploy/release package` writes for an image with a digest. What that
/// command verifies in addition, its own tests do.
pub(super) fn packaged(image: &str, folder: &Path) -> PathBuf {
    let script = "import sys; from releasing import pinned; \
        print(pinned.package(pinned.Image(sys.argv[1]), 'ephemon.test/charts', sys.argv[2])[0])";
    last_line(&output(&mut deploy(script, &[image, folder.to_str().unwrap()])))
}

/// Python with the modules of `deploy`.
fn deploy(script: &str, words: &[&str]) -> Command {
    let mut python = Command::new("python3");
    python.args(["-B", "-c", script]).args(words).current_dir(parts::repository().join("deploy"));
    python
}

/// Before it, what was fetched.
fn last_line(text: &str) -> PathBuf {
    text.lines().last().unwrap_or_default().into()
}
