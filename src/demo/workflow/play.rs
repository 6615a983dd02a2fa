//! Runs the workflow on the node, call after call.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use ephemon_contract::Record;
use tokio::net::TcpSocket;
use tokio::sync::broadcast::Receiver;
use tokio::time::sleep;

use super::checks::{asked_at, median, own_time, records};
use super::{
    CANCEL_AFTER, DISPLAY_NAME, Job, JobTruth, NOT_ENFORCED, Planned, Played, SECRET, Step, What,
};
use crate::kubelet::NodeEvent;
use crate::progress::Progress;
use crate::runner::{Called, Calling, Conclusion, Runner};
use crate::{MountMode, Node};

/// Longest wait for the start of a step that is to be cancelled, and the pause between two looks.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const START_POLL: Duration = Duration::from_millis(10);
/// Ports that programs are known by lie below it.
const LOWEST_PORT: u16 = 20_000;
/// Fewer ports than this are no choice.
const PORTS_MIN: u16 = 1000;
/// The first `NodePort` of a cluster (`--service-node-port-range` of kube-apiserver).
const FIRST_NODE_PORT: u16 = 30_000;
/// How many ports are tried.
const PORT_TRIES: usize = 1000;

/// Runs the job on a runner whose pod is running. An error is the demo's own; faults of the hook
/// are in the result.
pub(crate) async fn play(
    node: &Node,
    pod: &str,
    tool: &Path,
    progress: &Progress,
) -> io::Result<Played> {
    let mut runner = Runner::new(node, pod)?;
    let ports = free_ports()?;
    let has_files = node.mount_mode() != MountMode::Textual;
    let service = if has_files { "cache" } else { "127.0.0.1" };
    let limited = has_files && node.cgroups().is_real();
    let job = Job::new(&tool.to_string_lossy(), ports, service, limited);
    let (repository, run_id, run_attempt) = runner.run();
    let truth =
        JobTruth { pod: pod.to_owned(), repository, run_id, run_attempt, ..JobTruth::default() };
    let mut played = Played { job: truth, ..Played::default() };
    let mut conclusion = Conclusion::Succeeded;
    let mut node_events = node.node_events();
    runner.say_running(DISPLAY_NAME).await?;
    let prepared = runner.prepare(&job.container, &job.services).await?;
    played.enter("prepare_job", &prepared, progress);
    let started = last_start(&mut node_events, runner.name());
    played.prepare_job_ms = millis(prepared.took);
    let kubelet = asked_at(&records(runner.volume())).zip(started);
    let kubelet = kubelet.and_then(|(asked, started)| started.duration_since(asked).ok());
    played.prepare_job_kubelet_ms = millis(kubelet.unwrap_or_default());
    let unlimited = String::from_utf8_lossy(&prepared.stdout).contains(NOT_ENFORCED);
    if unlimited {
        played.faults.push("the agent did not set the job container's limits in time".to_owned());
    }
    if prepared.code == 0 {
        let mut over = Vec::new();
        for step in &job.steps {
            let called = run(&runner, step).await?;
            played.enter(step.name, &called, progress);
            played.judge(step, &called);
            if called.code != 0 && !step.tolerated {
                conclusion = Conclusion::Failed;
            }
            played.job.steps.push((step.id(), step.result()));
            match step.what {
                What::Script(_) if step.name == "echo" => {
                    let own = own_time(&records(runner.volume()), called.began_at);
                    over.extend(own.map(|own| millis(called.took.saturating_sub(own))));
                }
                What::Action(_) if step.name == "action" => {
                    played.container_step_ms = millis(called.took);
                }
                _ => {}
            }
        }
        played.script_step_ms = median(over);
    } else {
        let said = super::excerpt(&prepared.stdout);
        played.faults.push(format!("prepare_job ended with exit code {}: {said}", prepared.code));
        conclusion = Conclusion::Failed;
    }
    let cleaned = runner.cleanup().await?;
    played.enter("cleanup_job", &cleaned, progress);
    played.cleanup_job_ms = millis(cleaned.took);
    played.finish(node, &runner, &cleaned);
    runner.say_completed(DISPLAY_NAME, conclusion).await?;
    (played.job.name, played.job.result) = (DISPLAY_NAME, conclusion.result());
    Ok(played)
}

async fn run(runner: &Runner<'_>, step: &Planned) -> io::Result<Called> {
    match &step.what {
        What::Script(script) => runner.script(&step.id(), script).await?.finish().await,
        What::Cancelled(script) => {
            let mut calling = runner.script(&step.id(), script).await?;
            until_started(runner.volume(), &step.id(), &mut calling).await;
            sleep(CANCEL_AFTER).await;
            calling.interrupt();
            calling.finish().await
        }
        What::Action(action) => runner.action(&step.id(), action).await,
    }
}

/// Waits until init has started a step: one that is cancelled earlier has not run. If the step cannot start,
/// its call says so.
async fn until_started(volume: &Path, step: &str, calling: &mut Calling) {
    let is_there = || {
        records(volume)
            .iter()
            .any(|record| matches!(record, Record::StepStarted { id: Some(id), .. } if id == step))
    };
    let start = Instant::now();
    while !is_there() && !calling.is_over() && start.elapsed() < START_TIMEOUT {
        sleep(START_POLL).await;
    }
}

/// When the kubelet last reported the start of a container of the pod.
fn last_start(node_events: &mut Receiver<NodeEvent>, pod: &str) -> Option<SystemTime> {
    let mut last = None;
    while let Ok(node_event) = node_events.try_recv() {
        if let NodeEvent::Started { pod: of, at, .. } = node_event
            && of == pod
        {
            last = Some(at);
        }
    }
    last
}

// === impl Played ===

impl Played {
    fn enter(&mut self, name: &str, called: &Called, progress: &Progress) {
        let duration_ms = millis(called.took);
        let step = Step { name: name.to_owned(), exit_code: called.code, duration_ms };
        progress.say(&format!(
            "         the runner    {name:<20}  exit {}, {duration_ms:.0} ms",
            called.code
        ));
        self.steps.push(step);
    }

    fn judge(&mut self, step: &Planned, called: &Called) {
        if called.code != step.code {
            let (code, stderr) = (called.code, super::excerpt(&called.stderr));
            let said = super::excerpt(&called.stdout);
            self.faults.push(format!(
                "step {:?} ended with exit code {code}, not {}; it said {said} and {stderr}",
                step.name, step.code
            ));
        } else if let Some(fault) = step.check.fault(called) {
            self.faults.push(format!("step {:?} {fault}", step.name));
        }
    }

    /// Checks at the end.
    fn finish(&mut self, node: &Node, runner: &Runner<'_>, cleaned: &Called) {
        if cleaned.code != 0 {
            self.faults.push(format!("cleanup_job ended with exit code {}", cleaned.code));
        }
        let log = String::from_utf8_lossy(&cleaned.stdout);
        if !log.contains("listening on port") {
            self.faults.push("cleanup_job did not show the service's log".to_owned());
        }
        let spec = node.pod("default", runner.name()).map(|pod| pod.to_string());
        if spec.is_ok_and(|spec| spec.contains(SECRET)) {
            self.faults.push("the pod's spec contains a secret of the workflow".to_owned());
        }
        let left = node.store().secrets().names();
        if !left.is_empty() {
            self.faults.push(format!("Secrets are left behind: {}", left.join(", ")));
        }
    }
}

/// Two ports on which nobody listens now. They are listened on seconds later: until then the kernel may give
/// one of its own range (`ip_local_port_range`, ip(7)) to any connection, so they are from below that, unless
/// too few are left there. A node's own rules may take connections to a `NodePort`, on which nobody listens.
fn free_ports() -> io::Result<(u16, u16)> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let kernels = range.split_whitespace().next().and_then(|first| first.parse::<u16>().ok());
    let end = kernels.filter(|first| *first >= LOWEST_PORT + PORTS_MIN).unwrap_or(u16::MAX);
    let end = end.min(FIRST_NODE_PORT);
    let drawn = (0..PORT_TRIES).map(|_| fastrand::u16(LOWEST_PORT..end));
    let mut free = drawn.filter(|port| is_free(*port));
    let one = free.next();
    let other = free.find(|port| Some(*port) != one);
    one.zip(other).ok_or_else(|| io::Error::other("no two ports are free"))
}

/// Without listening there, which a process that is being started would go on with for a moment.
fn is_free(port: u16) -> bool {
    let bound = TcpSocket::new_v4().and_then(|socket| {
        // As listeners do: what is left of connections is in nobody's way.
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::UNSPECIFIED, port).into())
    });
    bound.is_ok()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
