//! A GitHub Actions runner as its container hook sees it: the pod that actions-runner-controller
//! creates, the runner's files, and its calls of the hook.
//!
//! Source: actions/runner v2.336.0, `ContainerHookManager.cs`, `ScriptHandler.cs`,
//! `ProcessInvoker.cs`.

mod call;
mod pod;
mod request;
mod words;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Node;
use super::api::object::text;
use super::kubelet::volumes::Volumes;
use super::view::MountMode;
pub(super) use call::{Called, Calling};
pub(super) use pod::pod;
pub(super) use request::{Action, Container, Script};
pub(super) use words::Conclusion;

/// The runner's work directory, in its own container.
const WORK: &str = "/home/runner/_work";
/// The same directory in jobs.
const JOB_WORK: &str = ephemon_contract::mount::WORK;
/// The runner's own directory, which no job sees, and its volume.
const DIAG: &str = "diag";
const DIAG_PATH: &str = "/home/runner/_diag";
/// A pipe in it, whose content becomes the runner's standard output.
const PIPE: &str = "says";
/// The pod's init container.
pub(super) const INIT: &str = "ephemon";
/// The container of the pod that it runs in.
const CONTAINER: &str = "runner";
/// The repository's name: owner, name.
const REPOSITORY: (&str, &str) = ("octo-org", "widgets");
/// The attempt of the run.
const ATTEMPT: u64 = 1;

/// A runner with a job.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    node: &'a Node,
    name: String,
    /// `_work` as a path of this process.
    work: PathBuf,
    /// `_work` as a path of the runner's container.
    own_work: String,
    /// `_work` as a path of the job's containers.
    job_work: String,
    /// The volume with the hook, as a path of the runner's container.
    volume: String,
    /// The same as a path of this process.
    volume_here: PathBuf,
    /// Text that is written into this pipe becomes the runner's output.
    pipe: PathBuf,
    run_id: u64,
    /// The hook's state.
    state: Value,
}

// === impl Runner ===

impl<'a> Runner<'a> {
    /// Starts to work in a running pod; creates the files that a runner creates.
    pub(super) fn new(node: &'a Node, name: &str) -> io::Result<Self> {
        let pod = node.pod("default", name).map_err(io::Error::other)?;
        let uid = text(&pod, "/metadata/uid").unwrap_or_default();
        let volumes = Volumes::new(node.root(), uid, node.mount_mode());
        let (work, volume_here, pipe) =
            (volumes.source("work"), volumes.source("ephemon"), volumes.source(DIAG).join(PIPE));
        let here = |path: &Path| path.to_string_lossy().into_owned();
        let (own_work, job_work, in_pod) = match node.mount_mode() {
            MountMode::Textual => (here(&work), here(&work), here(&volume_here)),
            _ => (WORK.to_owned(), JOB_WORK.to_owned(), "/ephemon".to_owned()),
        };
        let runner = Self {
            node,
            name: name.to_owned(),
            own_work,
            job_work,
            volume: in_pod,
            volume_here,
            pipe,
            run_id: fastrand::u64(7_000_000_000..8_000_000_000),
            state: Value::Null,
            work,
        };
        runner.lay_out()?;
        Ok(runner)
    }

    /// Creates the files of a new job.
    fn lay_out(&self) -> io::Result<()> {
        let temp =
            ["_github_home", "_github_workflow", "_runner_file_commands", "_runner_hook_responses"];
        for name in temp {
            fs::create_dir_all(self.work.join("_temp").join(name))?;
        }
        for name in ["_actions", "_tool"] {
            fs::create_dir_all(self.work.join(name))?;
        }
        fs::create_dir_all(self.workspace())?;
        fs::write(self.work.join("_temp/_github_workflow/event.json"), "{}")
    }

    /// The repository's checkout, as a path of this process.
    pub(super) fn workspace(&self) -> PathBuf {
        self.work.join(REPOSITORY.1).join(REPOSITORY.1)
    }

    /// The checkout, as a path of the job's containers.
    fn job_workspace(&self) -> String {
        format!("{}/{}/{}", self.job_work, REPOSITORY.1, REPOSITORY.1)
    }

    /// The pod's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The repository, the run's id and its attempt.
    pub(super) fn run(&self) -> (String, u64, u64) {
        (format!("{}/{}", REPOSITORY.0, REPOSITORY.1), self.run_id, ATTEMPT)
    }

    /// The shared volume, as a path of this process.
    pub(super) fn volume(&self) -> &Path {
        &self.volume_here
    }

    /// Creates an empty file for a workflow command, with the runner's permissions; returns its
    /// path for this process, for the runner's container, and for the job's.
    fn command_file(&self, kind: &str) -> io::Result<[String; 3]> {
        let name = format!("_temp/_runner_file_commands/{kind}_{:016x}", fastrand::u64(..));
        let path = self.work.join(&name);
        fs::write(&path, "")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        Ok([
            path.to_string_lossy().into_owned(),
            format!("{}/{name}", self.own_work),
            format!("{}/{name}", self.job_work),
        ])
    }
}
