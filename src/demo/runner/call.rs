//! One call of the hook: the process that the runner starts, its input, and its result.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::{ATTEMPT, Action, CONTAINER, Container, REPOSITORY, Runner, Script};

/// Most bytes of output that are kept; more is counted.
const KEPT: usize = 32 * 1024 * 1024;

/// A running call.
#[derive(Debug)]
pub(crate) struct Calling {
    child: Child,
    response: PathBuf,
    output: PathBuf,
    began: Instant,
    began_at: SystemTime,
}

/// The result of a call.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) response: Value,
    /// `name=value` lines that the step wrote to its output file.
    pub(crate) outputs: String,
    pub(crate) took: Duration,
    pub(crate) began_at: SystemTime,
}

/// What a step's two processes get.
#[derive(Debug, Default)]
struct Surroundings {
    /// The step's own variables, with paths of the job.
    step: BTreeMap<String, String>,
    /// The hook's variables, with paths of the runner.
    hook: Vec<(&'static str, String)>,
    /// The step's output file as a path of this process.
    output: PathBuf,
}

// === impl Runner ===

impl Runner<'_> {
    /// `prepare_job`; keeps the state that the hook returns.
    pub(crate) async fn prepare(
        &mut self,
        job: &Container,
        services: &[Container],
    ) -> io::Result<Called> {
        let services: Vec<_> =
            services.iter().map(|service| service.to_json(None, &self.own_work)).collect();
        let args = json!({
            "container": job.to_json(Some(&self.job_workspace()), &self.own_work),
            "services": services,
        });
        let called =
            self.begin("prepare_job", "", &args, &Surroundings::default()).await?.finish().await?;
        if let Some(state) = called.response.get("state").filter(|state| !state.is_null()) {
            self.state = state.clone();
        }
        Ok(called)
    }

    /// Starts a `run:` step.
    pub(crate) async fn script(&self, id: &str, script: &Script) -> io::Result<Calling> {
        let name = format!("_temp/{:016x}.sh", fastrand::u64(..));
        fs::write(self.work.join(&name), &script.text)?;
        let around = self.surroundings(&script.env, &self.job_workspace())?;
        let args = json!({
            "entryPoint": "sh",
            "entryPointArgs": ["-e", format!("{}/{name}", self.job_work)],
            "environmentVariables": around.step,
            "prependPath": [],
            "workingDirectory": self.job_workspace(),
        });
        self.begin("run_script_step", id, &args, &around).await
    }

    /// Runs a container action from start to end.
    pub(crate) async fn action(&self, id: &str, action: &Action) -> io::Result<Called> {
        let workspace = if self.own_work == self.job_work {
            self.job_workspace()
        } else {
            "/github/workspace".to_owned()
        };
        let around = self.surroundings(&action.env, &workspace)?;
        let env = around.step.clone().into_iter().collect();
        let action = Action { env, ..action.clone() };
        let args = action.to_json(&workspace, &self.own_work);
        self.begin("run_container_step", id, &args, &around).await?.finish().await
    }

    /// `cleanup_job`.
    pub(crate) async fn cleanup(&self) -> io::Result<Called> {
        self.begin("cleanup_job", "", &json!({}), &Surroundings::default()).await?.finish().await
    }

    /// A step's variables with paths of the job, and the hook's own with paths of the runner.
    fn surroundings(&self, own: &[(String, String)], workspace: &str) -> io::Result<Surroundings> {
        let [here, outside, inside] = self.command_file("set_output")?;
        let [_, summary, summary_inside] = self.command_file("step_summary")?;
        let mut step: BTreeMap<_, _> = own.iter().cloned().collect();
        for (name, value) in [
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_OUTPUT", &inside),
            ("GITHUB_STEP_SUMMARY", &summary_inside),
            ("GITHUB_WORKSPACE", workspace),
        ] {
            step.insert(name.to_owned(), value.to_owned());
        }
        let hook = [("GITHUB_OUTPUT", outside), ("GITHUB_STEP_SUMMARY", summary)];
        Ok(Surroundings { step, hook: hook.into(), output: PathBuf::from(here) })
    }

    async fn begin(
        &self,
        command: &str,
        id: &str,
        args: &Value,
        around: &Surroundings,
    ) -> io::Result<Calling> {
        let name = format!("_temp/_runner_hook_responses/{:016x}.json", fastrand::u64(..));
        let response = self.work.join(&name);
        // The runner creates it, empty, before it starts the hook.
        fs::write(&response, "")?;
        let request = json!({
            "command": command,
            "responseFile": format!("{}/{name}", self.own_work),
            "args": args,
            "state": self.state,
        });
        let hook = format!("{}/bin/hook.sh", self.volume);
        let shell = ["sh", "-e", &hook].map(str::to_owned);
        let mut process = Command::from(self.node.exec("default", &self.name, CONTAINER, &shell)?);
        process.envs(self.hook_env(id)).envs(around.hook.iter().map(|(name, value)| (name, value)));
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (began, began_at) = (Instant::now(), SystemTime::now());
        let mut child = process.kill_on_drop(true).process_group(0).spawn()?;
        let mut stdin = child.stdin.take().ok_or_else(|| io::Error::other("no pipe"))?;
        let line = format!("{request}\n");
        // A hook that ended early reports why with its exit code.
        drop(stdin.write_all(line.as_bytes()).await);
        drop(stdin);
        let output = around.output.clone();
        Ok(Calling { child, response, output, began, began_at })
    }

    fn hook_env(&self, id: &str) -> Vec<(String, String)> {
        let repository = format!("{}/{}", REPOSITORY.0, REPOSITORY.1);
        let workspace = format!("{}/{}/{}", self.own_work, REPOSITORY.1, REPOSITORY.1);
        let kubeconfig = self.node.kubeconfig().to_string_lossy().into_owned();
        [
            ("KUBECONFIG", kubeconfig),
            ("EPHEMON_VOLUME", self.volume.clone()),
            ("EPHEMON_STEP_SUMMARY", "true".to_owned()),
            ("RUNNER_NAME", self.name.clone()),
            ("RUNNER_OS", "Linux".to_owned()),
            ("RUNNER_TEMP", format!("{}/_temp", self.own_work)),
            ("RUNNER_WORKSPACE", format!("{}/{}", self.own_work, REPOSITORY.1)),
            ("GITHUB_ACTION", id.to_owned()),
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("GITHUB_ACTOR", "octocat".to_owned()),
            ("GITHUB_EVENT_NAME", "push".to_owned()),
            ("GITHUB_JOB", "build".to_owned()),
            ("GITHUB_REF", "refs/heads/main".to_owned()),
            ("GITHUB_REPOSITORY", repository.clone()),
            ("GITHUB_RUN_ATTEMPT", ATTEMPT.to_string()),
            ("GITHUB_RUN_ID", self.run_id.to_string()),
            ("GITHUB_SHA", "8b1a9953c4611296a827abf8c47804d7b1a9953c".to_owned()),
            ("GITHUB_WORKFLOW", "ci".to_owned()),
            (
                "GITHUB_WORKFLOW_REF",
                format!("{repository}/.github/workflows/ci.yml@refs/heads/main"),
            ),
            ("GITHUB_WORKSPACE", workspace),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

// === impl Calling ===

impl Calling {
    /// As the runner cancels: SIGINT, to the hook only.
    pub(crate) fn interrupt(&self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended already.
            kill_process(pid, Signal::INT).ok();
        }
    }

    /// Whether it has ended already.
    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Waits for its end.
    pub(crate) async fn finish(mut self) -> io::Result<Called> {
        let (out, err) = (self.child.stdout.take(), self.child.stderr.take());
        let (stdout, stderr, status) = tokio::join!(collect(out), collect(err), self.child.wait());
        let status = status?;
        let took = self.began.elapsed();
        let signal = || status.signal().map(|signal| signal.saturating_add(128));
        let response = fs::read_to_string(&self.response).unwrap_or_default();
        Ok(Called {
            code: status.code().or_else(signal).unwrap_or(255),
            stdout,
            stderr,
            response: serde_json::from_str(&response).unwrap_or_default(),
            outputs: fs::read_to_string(&self.output).unwrap_or_default(),
            took,
            began_at: self.began_at,
        })
    }
}

async fn collect(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut all = Vec::new();
    let Some(mut pipe) = pipe else { return all };
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        if all.len() < KEPT {
            all.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
    }
    all
}
