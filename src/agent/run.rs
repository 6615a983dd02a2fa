//! Wiring and supervision: creates the parts, connects them, and stops the agent when one of them
//! ends.

use std::convert::Infallible;
use std::future::Future;
use std::path::Path;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use ephemon_capture as capture;
use ephemon_capture::CaptureHandle;
use ephemon_ci_systems::{CiSystem, CiSystems};
use ephemon_discovery::{api, cri, logs as log_directories, runner_jobs};
use ephemon_enforcement as enforcement;
use ephemon_logs::RunnerLog;
use ephemon_metrics::Metrics;
use ephemon_model::node::NodeRoot;
use ephemon_model::{PodUid, PrePull};
use ephemon_otel::SpanBuffer;
use ephemon_pre_pull as pre_pull;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::admin::Admin;
use super::args::Args;
use super::control::{self, Answers, Control};
use super::debug_audit::DebugScope;
use super::error::Error;
use super::export::Export;
use super::feeders::Feeders;
use super::jobs;
use super::lock::{LockError, NodeLock};
use super::log_level::LogLevel;
use super::readiness::Condition;
use super::shared::{Shared, node_name};
use super::state::StateReader;
use super::step_readings;

/// How often a node without a cgroup mount is checked again.
const CAPTURE_RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Runs the agent until a signal stops it or a part of it fails.
pub async fn run(args: Args) -> Result<(), Error> {
    let span_buffer = args.export.own_traces.then(SpanBuffer::default);
    let log_level = args.log.start(span_buffer.as_ref())?;
    // Its files contain names of repositories and data of jobs, so only this user may read them.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let node = NodeRoot::new(&args.node_root);
    let lock = lock(&args, &node)?;
    let shared = Shared::new(&args)?;
    let state_reader = shared.state_reader(&args, &log_level);
    let metrics = shared.metrics(&args);
    let admin = admin(&args, &shared, metrics.clone(), state_reader.clone()).await?;
    let mut signals = Signals::new().map_err(Error::Signals)?;
    let (scheme, address) = (admin.scheme(), admin.local_addr());

    let (stop_tx, mut stop_rx) = watch::channel(false);
    let state = shared.node.join(&args.state_dir);
    let mut export = Export::start(&args.export, &state, &stop_rx, &shared.self_metrics);
    let admin = match shared.job_page(&args, &export) {
        Some(page) => admin.with_page(page),
        None => admin,
    };
    let own_spans = shared.own_spans(&args, &export, span_buffer);
    let mut parts = Parts::default();
    if lock.is_some() {
        let answers =
            Answers { state: state_reader.apart(), metrics, log_level: log_level.clone() };
        listen_for_control(&state, answers, &mut parts);
    }
    parts.spawn("the log's filter", restore_filter(log_level));
    watch_names(&args, &shared, &mut parts).await?;
    if args.debug_containers != DebugScope::Off && !args.no_api {
        parts.spawn("the reporter of debug containers", shared.debug_audit(&args, &export).run());
    }
    let feed = shared.inventory.feed().clone();
    let (runner_log, runner_news) = RunnerLog::new(feed, step_readings::reader(&shared));
    let journals = shared.journals(&args);
    let logs = shared.logs(&args, &mut export, runner_log, journals.another());
    let logs = logs.map_err(Error::Logs)?;
    set_limits(&args, &shared, &mut parts);
    let pre_pulled = start_pre_pull(&args, &shared, &mut parts);
    let jobs = shared.jobs(&args, &mut export, runner_news, pre_pulled, journals);
    parts.spawn("the job tracker", jobs::keep(jobs));
    let metrics = shared.otlp_metrics(&args, &mut export);
    let walked = shared.readiness.condition("the first walk of the cgroup tree");
    parts.spawn("capture", supervise_capture(shared.capture(&args), shared, walked));

    let server = tokio::spawn(admin.serve(async move {
        // An error means that the sending half, and with it the agent, is gone.
        drop(stop_rx.wait_for(|stop| *stop).await);
    }));
    tracing::info!("listening on {scheme}://{address}");

    let mut feeders = Feeders { logs, metrics, own_spans };
    let ended = tokio::select! {
        () = signals.next() => None,
        error = parts.ended() => Some(error),
        () = export.ended() => Some(Error::ended("an exporter")),
        error = feeders.ended() => Some(error),
    };
    if ended.is_none() {
        tracing::info!("shutting down: draining requests; signal again to exit now");
    }
    let farewell = async {
        // First the tasks that feed the exporters, then the exporters.
        if ended.is_none() {
            feeders.stop().await;
        }
        stop_tx.send_replace(true);
        if let Err(error) = server.await {
            tracing::error!(%error, "the HTTP server failed during shutdown");
        }
        export.done().await;
    };
    tokio::select! {
        () = farewell => {}
        () = signals.next() => {}
    }
    ended.map_or(Ok(()), Err)
}

/// Binds the server's address.
async fn admin(
    args: &Args,
    shared: &Shared,
    metrics: Metrics,
    state: StateReader,
) -> Result<Admin, Error> {
    let readiness = shared.readiness.clone();
    let admin = Admin::bind(args.listen, metrics, readiness, shared.self_metrics.clone()).await?;
    let admin = admin.with_state(state);
    Ok(match &args.web_config_file {
        Some(file) => admin.with_web_config(file)?,
        None => admin,
    })
}

/// Starts to answer `ephemon debug`. Where the socket cannot be made the agent runs all the same.
fn listen_for_control(state_dir: &Path, answers: Answers, parts: &mut Parts) {
    match Control::bind(state_dir, answers) {
        Ok(control) => parts.spawn("the control socket", control.serve()),
        Err(error) => {
            let path = control::socket(state_dir);
            tracing::warn!(
                "cannot listen on {}: {error}; `ephemon debug` does not work",
                path.display()
            );
        }
    }
}

/// Starts what sets limits: after the start of containers, and at their creation.
fn set_limits(args: &Args, shared: &Shared, parts: &mut Parts) {
    if args.enforce_limits {
        let Shared { node, inventory, self_metrics, .. } = shared.clone();
        let enforce = enforcement::run(node, args.kubepods.clone(), inventory, self_metrics);
        parts.spawn("the limit enforcer", enforce);
    }
    if let Some(socket) = &args.nri_socket {
        let Shared { node, inventory, self_metrics, .. } = shared.clone();
        let socket = node.join(socket);
        let plugin = enforcement::run_at_creation(socket, node, inventory, self_metrics);
        parts.spawn("the runtime's plugin", plugin);
    }
}

/// Starts to have images pulled before the kubelet asks for them; returns what is told of them.
fn start_pre_pull(args: &Args, shared: &Shared, parts: &mut Parts) -> Receiver<(PodUid, PrePull)> {
    let (told, pre_pulled) = mpsc::sync_channel(pre_pull::MAX_TOLD);
    if let (Some(most), Some(socket)) = (args.pre_pull, &args.cri_socket) {
        let Shared { node, inventory, images, self_metrics, .. } = shared.clone();
        let pre_pull = pre_pull::run(pre_pull::Parts {
            socket: node.join(socket),
            most: usize::from(most),
            awaited: images,
            told,
            feed: inventory.feed().clone(),
            self_metrics,
        });
        parts.spawn("pre-pull", pre_pull);
    }
    pre_pulled
}

/// Restores the configured filter of the log when the time of another is over.
async fn restore_filter(log_level: LogLevel) -> Infallible {
    loop {
        log_level.until_due().await;
        log_level.look(Instant::now());
    }
}

/// Takes the node's lock. If the state directory cannot be written, the agent runs without it.
fn lock(args: &Args, node: &NodeRoot) -> Result<Option<NodeLock>, Error> {
    match NodeLock::take(&node.join(&args.state_dir)) {
        Ok(lock) => Ok(Some(lock)),
        Err(held @ LockError::Held { .. }) => Err(held.into()),
        Err(error @ LockError::Unwritable { .. }) => {
            tracing::warn!("{error}: a second agent on this node will not be detected");
            Ok(None)
        }
    }
}

/// Starts the sources of container names.
async fn watch_names(args: &Args, shared: &Shared, parts: &mut Parts) -> Result<(), Error> {
    let Shared { node, inventory, readiness, .. } = shared;
    parts.spawn("the log directory watch", log_directories::watch(node.clone(), inventory.clone()));
    if let Some(socket) = &args.cri_socket {
        let socket = node.join(socket);
        parts.spawn("the runtime watch", cri::watch(socket, inventory.clone()));
    }
    if args.no_api {
        tracing::info!(
            "without an API server: every pod of the node is reported, with names from the log \
             directories; container types, images and exit codes are missing"
        );
        return Ok(());
    }
    let watch = api::Watch::connect(api_options(args)).await?;
    tracing::info!("watching this node's pods at {}", watch.url());
    let condition = readiness.condition("the API server's first list of pods");
    let (listed_tx, listed_rx) = oneshot::channel();
    tokio::spawn(async move {
        // If the watch ended without sending, supervision reports it.
        drop(listed_rx.await);
        condition.met();
    });
    let objects = watch.runner_objects();
    // Empty until here: there is one call of this.
    drop(shared.runner_objects.set(objects.clone()));
    let asked = runner_jobs::ask(objects, inventory.clone(), shared.self_metrics.clone());
    parts.spawn("the questions to ARC", asked);
    let debug = shared.debug.clone();
    let of_selected = (args.debug_containers == DebugScope::Selected).then(|| debug.clone());
    let images = args.pre_pull.map(|_| shared.images.clone());
    let run = watch.run(inventory.clone(), of_selected, images, listed_tx);
    parts.spawn("the pod watch", run);
    if args.debug_containers == DebugScope::Node {
        let options = api::Options { pod_selectors: vec![String::new()], ..api_options(args) };
        let watch = api::Watch::connect(options).await?;
        parts.spawn("the watch of debug containers", watch.run_for_debug(debug));
    }
    Ok(())
}

/// How the API server is reached, and for which pods.
pub(super) fn api_options(args: &Args) -> api::Options {
    api::Options {
        kubeconfig: args.kubeconfig.clone(),
        node_name: node_name(args),
        pod_selectors: selectors(&args.pod_selector, &args.ci_system),
        ci_systems: CiSystems::new(args.job_identity.clone()),
        patience: api::Patience::default(),
    }
}

/// Each selector once, those of CI systems' pods among them.
fn selectors(given: &[String], ci_systems: &[CiSystem]) -> Vec<String> {
    let mut selectors: Vec<String> = Vec::new();
    let known = ci_systems.iter().map(|system| system.selector());
    for selector in given.iter().map(|selector| selector.trim()).chain(known) {
        if !selectors.iter().any(|known| known == selector) {
            selectors.push(selector.to_owned());
        }
    }
    selectors
}

/// Starts capture, retrying until the node has a cgroup mount, and waits for its end.
async fn supervise_capture(
    options: capture::Options,
    shared: Shared,
    walked: Condition,
) -> Infallible {
    let walk = async {
        let capture: CaptureHandle = loop {
            let Shared { readings, inventory, self_metrics, .. } = shared.clone();
            match capture::start(options.clone(), readings, inventory, self_metrics) {
                Ok(capture) => break capture,
                Err(error) => {
                    let seconds = CAPTURE_RETRY_INTERVAL.as_secs();
                    tracing::error!(
                        "cannot read the cgroup tree, so no container is reported: {error}; retrying in {seconds} s"
                    );
                    tokio::time::sleep(CAPTURE_RETRY_INTERVAL).await;
                }
            }
        };
        let mut first_walk = capture.walked();
        if first_walk.wait_for(|walked| *walked).await.is_ok() {
            walked.met();
        }
        (capture, first_walk)
    };
    let (capture, mut first_walk) = walk.instrument(tracing::info_span!("first walk")).await;
    // An error means that the thread has ended, which happens only by a panic.
    while first_walk.changed().await.is_ok() {}
    panic_of(capture)
}

/// Ends this task with the panic of the thread, so that supervision reports it.
#[expect(clippy::panic, reason = "passes the capture thread's panic to the supervisor")]
fn panic_of(capture: CaptureHandle) -> Infallible {
    drop(capture);
    panic!("the capture thread has ended")
}

/// The parts that run for the life of the agent.
#[derive(Default)]
struct Parts {
    tasks: JoinSet<Infallible>,
    names: Vec<(tokio::task::Id, &'static str)>,
}

impl Parts {
    fn spawn(
        &mut self,
        name: &'static str,
        part: impl Future<Output = Infallible> + Send + 'static,
    ) {
        let handle = self.tasks.spawn(part);
        self.names.push((handle.id(), name));
    }

    /// Waits until one of them ends, which is always an error.
    async fn ended(&mut self) -> Error {
        let Some(joined) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let error = match joined {
            Ok((_, never)) => match never {},
            Err(error) => error,
        };
        let part = self.names.iter().find(|(id, _)| *id == error.id());
        Error::PartEnded {
            part: part.map_or("a part of the agent", |(_, name)| *name),
            why: if error.is_panic() { ": it panicked".into() } else { String::new() },
        }
    }
}

/// The signals that stop the agent.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
