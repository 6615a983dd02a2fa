//! A runner without the hook that waits for its job while the agent is replaced.

use ephemon_contract::trace::RunKey;

use super::PATIENCE;
use super::sink::{Sink, attributes};
use crate::support::agent::Agent;
use crate::support::job_pod::JobPod;
use crate::support::process::until;
use crate::support::site::Site;

/// The message of a job, as the worker writes it to its log, a header before each line.
const MESSAGE: &str = r#"Job message:
 {
  "contextData": {
    "github": {
      "t": 2,
      "d": [
        {
          "k": "repository",
          "v": "octo-org/widgets"
        },
        {
          "k": "run_id",
          "v": "71"
        },
        {
          "k": "run_attempt",
          "v": "3"
        }
      ]
    }
  }
}"#;

fn header(class: &str, text: &str) -> String {
    format!("[{class} 2026-11-23 12:19:10Z INFO {text}")
}

/// Waits until an agent that is killed now would go on behind the runner's first `lines`.
fn until_kept(pod: &JobPod, lines: u64, agent: &Agent) {
    let kept = || {
        let rows = pod.delivered("runner")?;
        (rows >= lines).then_some(())
    };
    until(PATIENCE, kept)
        .unwrap_or_else(|| panic!("{:?}\n{}", pod.delivered("runner"), agent.log()));
}

fn played(exports_logs: bool) {
    let (site, sink) = (Site::new(), Sink::start());
    let variables = if exports_logs { sink.for_all().to_vec() } else { sink.for_traces().to_vec() };
    let mut pod = JobPod::new(&site);
    pod.runner.say_now(&header("RUNNER", "Listener] Listening for Jobs"));
    let agent = pod.agent(&variables);
    until_kept(&pod, 1, &agent);
    agent.stop();

    // It is sent its job under the second agent.
    let agent = pod.agent(&variables);
    pod.runner_says("Running job: Build");
    for line in MESSAGE.lines() {
        pod.runner.say_now(&header("WORKER", &format!("Worker] {line}")));
    }
    until_kept(&pod, 2 + MESSAGE.lines().count() as u64, &agent);
    agent.stop();

    // The third one knows it still.
    let agent = pod.agent(&variables);
    pod.runner_says("Job Build completed with result: Succeeded");
    let root = || sink.spans().into_iter().find(|span| span.name == "Build");
    let root = until(PATIENCE, root).unwrap_or_else(|| panic!("{}", agent.log()));
    let github = RunKey { run_id: "71", run_attempt: "3" }.trace_id();
    assert_eq!(root.trace_id, github.0, "{:?}\n{}", attributes(&root), agent.log());
    agent.stop();
}

#[test]
fn a_runner_that_waits_while_agents_are_replaced_has_the_attempt_of_its_job() {
    played(false);
}

#[test]
fn so_it_has_where_its_log_is_exported() {
    played(true);
}
