//! `ephemon demo`: the node, the real agent on it, the script, the report.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ephemon_base::clock::unix_ns;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{interval, sleep, timeout};

use super::args::{Args, Format, Play};
use super::kubelet::{Kind, NodeEvent};
use super::progress::Progress;
use super::report::Report;
use super::report::jobs::Jobs;
use super::report::logs::Logs;
use super::script::PodNames;
use super::shown::Shown;
use super::sink::Sink;
use super::watcher::{AgentError, AgentProcess};
use super::workflow::{self, Played};
use super::{MountMode, Node, NodeOptions, node, runner};

/// The variables with the destination of logs and traces; if none is set, the demo receives both
/// itself.
const ENDPOINTS: [&str; 3] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
];
/// The agent's program, which is in the same directory, as those of the hook are.
const AGENT: &str = "ephemon";
/// The port of the agent while the demo keeps running.
const PORT: u16 = 9911;
/// When several containers end at once, after the start of the pods.
const SIMULTANEOUS_END_AFTER: Duration = Duration::from_secs(8);
/// Longest time without any event while waiting for one: three times the duration of the script's
/// longest container.
const TIMEOUT: Duration = Duration::from_mins(1);
/// As often as a frequently scraping Prometheus.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for one more series, line or span after the last container: the agent itself waits
/// ten seconds for the runtime's last report on a job.
const SETTLE: Duration = Duration::from_secs(15);
/// Longest wait for all of them.
const SETTLE_AT_MOST: Duration = Duration::from_mins(5);
/// Pause between rounds.
const ROUND_PAUSE: Duration = Duration::from_secs(3);

/// What the report is created from.
struct Session<'a> {
    node: &'a Node,
    pod_names: &'a PodNames,
    watcher: &'a AgentProcess,
    /// `None` if logs and traces go elsewhere.
    sink: Option<&'a Sink>,
    begin: Instant,
}

/// Why the demo cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node.
    #[error(transparent)]
    Node(#[from] node::Error),
    /// The agent.
    #[error(transparent)]
    AgentProcess(#[from] AgentError),
    /// This program's own path is not known.
    #[error("cannot find this program's own file: {0}")]
    Binary(std::io::Error),
    /// The agent's program is missing.
    #[error("{} is not there: the demo needs it, ephemon-hook and ephemon-init beside itself; `cargo build` builds all of them", .0.display())]
    NoAgent(PathBuf),
    /// Signal handlers cannot be installed.
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
    /// The demo's own collector.
    #[error("cannot listen for logs and traces: {0}")]
    Sink(#[source] std::io::Error),
    /// The workflow's files or processes.
    #[error("cannot play the workflow: {0}")]
    Workflow(#[from] std::io::Error),
    /// An expected event did not occur.
    #[error("{0}: nothing has happened for {TIMEOUT:?}; is this machine very busy?")]
    Late(&'static str),
}

/// Runs the demo until it is complete or a signal stops it. Exit code 1: the check failed.
pub async fn run(args: Args) -> Result<ExitCode, Error> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let own = std::env::current_exe().map_err(Error::Binary)?;
    let agent = own.with_file_name(AGENT);
    if !agent.is_file() {
        return Err(Error::NoAgent(agent));
    }
    let mut options = NodeOptions::new(&own);
    options.cgroups = args.cgroups;
    options.mount_mode = args.mounts;
    let node = Node::start(options).await?;
    let outcome = tokio::select! {
        outcome = play(&args, &node, &own) => outcome,
        // As in a shell: 128 plus the signal number.
        _ = interrupt.recv() => Ok(ExitCode::from(130)),
        _ = terminate.recv() => Ok(ExitCode::from(143)),
    };
    node.shutdown().await;
    outcome
}

async fn play(args: &Args, node: &Node, own: &Path) -> Result<ExitCode, Error> {
    let progress = Progress::start(node);
    if !node.cgroups().enforces_memory() {
        progress
            .say("the script runs without its out-of-memory kill: nothing here enforces limits");
    }
    if node.mount_mode() == MountMode::Textual {
        progress.say(
            "containers have no file system of their own, because mount namespaces cannot be created here: paths in their arguments are mapped",
        );
    }
    let port = if args.once { 0 } else { PORT };
    let listen = args.listen.unwrap_or((Ipv4Addr::LOCALHOST, port).into());
    let theirs = ENDPOINTS.iter().filter_map(std::env::var_os).find(|said| !said.is_empty());
    let sink = match theirs {
        Some(theirs) => {
            progress.say(&format!(
                "logs and traces go to {}; the report does not cover them",
                theirs.display()
            ));
            None
        }
        None => Some(Sink::start(workflow::SECRET).await.map_err(Error::Sink)?),
    };
    let endpoint = sink.as_ref().map(Sink::endpoint);
    let mut watcher =
        AgentProcess::start(&own.with_file_name(AGENT), node, listen, endpoint.as_deref()).await?;
    progress.say(&format!("agent, with a page of its jobs: http://{}/", watcher.address()));
    if !args.once {
        progress.say(&where_to_look(watcher.address()));
        loop {
            let pod_names = PodNames::new();
            tokio::select! {
                played = round(node, &pod_names, args.play, own, &progress) => drop(played?),
                () = watcher.ended() => return Err(watcher.silent("ended").into()),
            }
            sleep(ROUND_PAUSE).await;
        }
    }
    let begin = Instant::now();
    let mut shown = Shown::default();
    let pod_names = PodNames::new();
    let played = tokio::select! {
        played = round(node, &pod_names, args.play, own, &progress) => played?,
        failed = scrape(&watcher, &mut shown) => return Err(failed.into()),
    };
    let stage =
        Session { node, pod_names: &pod_names, watcher: &watcher, sink: sink.as_ref(), begin };
    let report = stage.settle(&mut shown, played.as_ref()).await?.with(played);
    watcher.stop().await;
    let faults = report.faults();
    let text = match args.report {
        Format::Text => format!("\n{report}\n"),
        Format::Json => report.to_json(),
    };
    // Standard output may be closed.
    drop(std::io::stdout().lock().write_all(text.as_bytes()));
    for fault in &faults {
        progress.say(&format!("FAILED: {fault}"));
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Creates the pods, runs the workflow and then the script, deletes the pods.
async fn round(
    node: &Node,
    pod_names: &PodNames,
    play: Play,
    own: &Path,
    progress: &Progress,
) -> Result<Option<Played>, Error> {
    let mut events = node.node_events();
    let pods = pod_names.pods();
    let count = pods.len();
    for pod in pods {
        node.create_pod(pod)?;
    }
    let started = |node_event: &NodeEvent| match node_event {
        NodeEvent::Started { container, .. } => container != runner::INIT,
        _ => false,
    };
    hear(&mut events, count, started, "waiting for the pods to start").await?;
    let played = match play {
        Play::Script => None,
        Play::All | Play::Workflow => {
            Some(workflow::play(node, &pod_names.hook, own, progress).await?)
        }
    };
    if play != Play::Workflow {
        script_patches(node, pod_names).await?;
    }
    for pod in pod_names.names() {
        node.delete_pod("default", pod, None)?;
    }
    let gone = |node_event: &NodeEvent| matches!(node_event, NodeEvent::Gone { .. });
    hear(&mut events, count, gone, "waiting for the pods to be deleted").await?;
    Ok(played)
}

/// Runs the script.
async fn script_patches(node: &Node, pod_names: &PodNames) -> Result<(), Error> {
    let mut events = node.node_events();
    let begin = Instant::now();
    let together = SystemTime::now().checked_add(SIMULTANEOUS_END_AFTER).unwrap_or(UNIX_EPOCH);
    let together = unix_ns(together) / 1_000_000;
    let script_patches = pod_names.script_patches(together, node.cgroups().enforces_memory());
    let ends = script_patches.iter().map(|script_patch| script_patch.ends).sum();
    for script_patch in script_patches {
        sleep(script_patch.at.saturating_sub(begin.elapsed())).await;
        node.add_ephemeral("default", &script_patch.pod, &script_patch.containers)?;
    }
    let ended = |node_event: &NodeEvent| match node_event {
        NodeEvent::Ended(truth) => truth.kind == Kind::Ephemeral,
        _ => false,
    };
    hear(&mut events, ends, ended, "waiting for the last container").await?;
    Ok(())
}

/// Waits for a number of events of a kind, as long as any events occur.
async fn hear(
    events: &mut Receiver<NodeEvent>,
    count: usize,
    wanted: impl Fn(&NodeEvent) -> bool,
    what: &'static str,
) -> Result<(), Error> {
    let mut heard = 0_usize;
    while heard < count {
        match timeout(TIMEOUT, events.recv()).await {
            Ok(Ok(node_event)) if wanted(&node_event) => heard = heard.saturating_add(1),
            Ok(Ok(_) | Err(RecvError::Lagged(_))) => {}
            Ok(Err(RecvError::Closed)) | Err(_) => return Err(Error::Late(what)),
        }
    }
    Ok(())
}

/// Scrapes like Prometheus; returns only if the agent does not answer.
async fn scrape(watcher: &AgentProcess, shown: &mut Shown) -> AgentError {
    let mut due = interval(SCRAPE_INTERVAL);
    loop {
        due.tick().await;
        match watcher.scrape().await {
            Ok(page) => shown.enter(&page),
            Err(failed) => return failed,
        }
    }
}

// === impl Session ===

impl Session<'_> {
    /// Waits for the last series, lines and spans, as long as some arrive or the agent reports that
    /// it has more to deliver, then creates the report.
    async fn settle(&self, shown: &mut Shown, played: Option<&Played>) -> Result<Report, Error> {
        let begin = Instant::now();
        let (mut since, mut before) = (begin, (Vec::new(), 0));
        let (truths, runners) = (self.node.truth(), self.pod_names.runners());
        loop {
            shown.enter(&self.watcher.scrape().await?);
            let spent = self.watcher.cost().unwrap_or_default();
            let wall = self.begin.elapsed().as_secs_f64();
            let arrived = self.sink.map(|sink| {
                sink.seen(|seen| {
                    let job = played.map(|played| &played.job);
                    (Logs::new(&truths, &runners, seen), Jobs::new(&truths, &runners, job, seen))
                })
            });
            let (logs, jobs) = arrived.unzip();
            let report = Report::new(&truths, &runners, shown, spent, wall);
            let report = report.with_logs(logs).with_jobs(jobs);
            let faults = report.faults();
            let limit = if shown.lag_bytes > 0 { TIMEOUT } else { SETTLE };
            let state = (faults, shown.lag_bytes);
            if state != before {
                (since, before) = (Instant::now(), state);
            }
            let is_over = since.elapsed() >= limit || begin.elapsed() >= SETTLE_AT_MOST;
            if before.0.is_empty() || is_over {
                return Ok(report);
            }
            sleep(SCRAPE_INTERVAL).await;
        }
    }
}

fn where_to_look(address: SocketAddr) -> String {
    format!(
        "
See the jobs live, with their steps, what they use and what they write, in a browser at

    http://{address}/

or in another terminal with

    ephemon jobs --agent http://{address}
    ephemon job POD --watch --agent http://{address}

The agent also serves its metrics. Fetch them with

    curl -s http://{address}/metrics | grep '^ephemon_container_cpu_usage'

or with Prometheus and this in its prometheus.yml:

    scrape_configs:
      - job_name: ephemon
        scrape_interval: 5s
        static_configs:
          - targets: [\"{address}\"]

Ctrl-C ends the demo and leaves nothing behind.
"
    )
}
