//! Containers' logs, from the node's files to the collector.
//!
//! `crilog` follows the files; here a `pipeline` for each log has its lines sanitized (`ephemon_sanitize`: masks,
//! commands, colours), `steps` tells whose they are, `runner_log` listens to the runner's own,
//! `ration` holds back what the operator wants held back, a `in_flight` takes the records, and the
//! `pump`, a thread of its own, drives it all: it reads only what can be handed over, and calls a log
//! delivered as far as the collector, or the spool, has it. The `ledger` shows others what became of
//! each log.
//!
//! Masks are a pod's and live as long as it: `pod_masks` keeps them within bounds, `volume_masks`
//! reads what init and hook tell, and `told` says how many there were. After a start of the agent the
//! `learner` reads anew what was told before: values to mask, and by runners the messages of their jobs
//! (`job_message`). The `tail` keeps the last lines for the job page.

mod closing;
mod in_flight;
mod job_message;
mod learner;
mod ledger;
mod pace;
mod pipeline;
mod pod_masks;
mod pump;
mod ration;
mod runner_log;
mod selection;
mod settings;
mod steps;
mod tail;
mod told;
mod volume_masks;
mod wake;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use tokio::sync::oneshot;

pub use ledger::Ledger;
pub use runner_log::WAITING_BYTES as WAITING_RUNNER_LINES_BYTES;
pub use runner_log::{ContainerReader, RunnerLine, RunnerLog, RunnerNews};
pub use selection::Containers;
pub use settings::Settings;
pub use tail::{MAX_BYTES as MAX_TAIL_BYTES, NewLine, Tail, TailLine};

use ephemon_crilog::{Checkpoints, Follower, LinkDirectories, Options};
use ephemon_discovery::inventory::Inventory;
use ephemon_export::Outbox;
use ephemon_journal::Reader;
use ephemon_mask::job::{Mode, ToldValues};
use ephemon_model::node::NodeRoot;
use ephemon_self_metrics::SelfMetrics;
pub use job_message::JOB_MESSAGES_BYTES;
pub use learner::MAX_HELD_BYTES as MAX_LEARNED_LINES_BYTES;
pub use ledger::{LOG_BYTES as LEDGER_LOG_BYTES, MAX_LOGS as MAX_LEDGER_LOGS};
pub use pod_masks::MAX_BYTES as MAX_MASK_BYTES;
pub use steps::{MAX_STEPS_IN_ALL, STEP_BYTES};

use in_flight::{BatchBuilder, InFlight};
use job_message::JobMessages;
use learner::{Learner, is_runner};
use pipeline::{Common, LogPipelines};
use pump::{Pump, Said};
use steps::Steps;
use told::Told;
use volume_masks::VolumeMasks;
use wake::Wake;

/// The running thread.
#[derive(Debug)]
pub struct Logs {
    wake: Arc<Wake>,
    /// Resolves when the thread is over.
    over: oneshot::Receiver<()>,
}

/// What the thread works with.
#[derive(Debug)]
pub struct Parts {
    /// Who is on the node.
    pub inventory: Inventory,
    /// Where records go.
    pub outbox: Outbox,
    /// What became of each log.
    pub ledger: Ledger,
    /// Who wants to hear what runners say.
    pub runner: RunnerLog,
    /// What says which steps ran when.
    pub journals: Reader,
    /// Where drops are counted.
    pub self_metrics: SelfMetrics,
    /// Where the last exported lines are kept, if they are shown. Ignored unless they are masked.
    pub tail: Option<Tail>,
}

/// Starts to follow the logs of this node's wanted pods.
///
/// # Errors
/// Where the kernel gives no descriptor or no thread.
pub fn start(node: &NodeRoot, settings: Settings, parts: Parts) -> io::Result<Logs> {
    let Parts { inventory, outbox, ledger, runner, journals, self_metrics, tail } = parts;
    let tail = tail.filter(|_| settings.mode == Mode::Masked);
    let wake = Arc::new(Wake::new()?);
    let answered = Arc::clone(&wake);
    outbox.on_answer(move || answered.wake());
    let directory = node.join(&settings.state_dir);
    let steps = Steps::new(journals);
    let shared = VolumeMasks::new(node.clone(), &settings.kubelet_root);
    let common = Common {
        inventory: inventory.clone(),
        containers: settings.containers,
        mode: settings.mode,
        sanitize: ephemon_sanitize::Options {
            original: settings.original,
            unproven: settings.unproven,
            ..ephemon_sanitize::Options::default()
        },
        ration: settings.ration(),
        node: settings.node,
        service_name: settings.service_name,
        attributes: settings.attributes,
    };
    let pods = node.pod_logs();
    let links = LinkDirectories::new(node, &settings.link_dirs);
    let reading = Options { links, ..Options::new(&pods) };
    let (over_tx, over) = oneshot::channel();
    let woken = Arc::clone(&wake);
    thread::Builder::new().name("ephemon-logs".into()).spawn(move || {
        let checkpoints = load(&directory);
        let told = Told::load(&directory, checkpoints.pods());
        let pump = Pump {
            learner: learner(reading.clone(), &checkpoints, &told, settings.mode),
            follower: Follower::new(reading, checkpoints),
            pipelines: LogPipelines::new(common, told),
            inventory,
            containers: settings.containers,
            steps,
            shared,
            runner,
            job_messages: JobMessages::default(),
            outbox,
            ledger,
            retain: settings.retain,
            checkpoints: directory,
            pods,
            told: None,
            self_metrics,
            tail,
            builder: BatchBuilder::default(),
            in_flight: InFlight::default(),
            waiting: None,
            said: Said::default(),
        };
        pump.run(&woken);
        // Nobody may be waiting any more.
        over_tx.send(()).ok();
    })?;
    Ok(Logs { wake, over })
}

fn load(directory: &Path) -> Checkpoints {
    // Where nothing can be kept the agent runs all the same, as it does without its lock.
    if let Err(error) = std::fs::create_dir_all(directory) {
        tracing::debug!(directory = %directory.display(), %error, "no directory for checkpoints");
    }
    Checkpoints::load(directory)
}

/// What reads the logs that are there already. Of a pod that had told nothing, only what was not
/// delivered, and the runner's: the rest of it is known to tell nothing.
fn learner(reading: Options, checkpoints: &Checkpoints, told: &Told, mode: Mode) -> Learner {
    let mut from = checkpoints.clone();
    from.retain(|log| !is_runner(log) && told.of(&log.pod.uid).is_some_and(ToldValues::is_empty));
    Learner::new(reading, from, mode == Mode::Masked, Instant::now())
}

// === impl Logs ===

impl Logs {
    /// Ends the thread: what is read is handed over and waited for, for some seconds.
    pub fn stop(&self) {
        self.wake.stop();
    }

    /// Resolves when the thread is over, for whatever reason.
    pub async fn over(&mut self) {
        // An error is the end, too: the thread panicked.
        drop((&mut self.over).await);
    }
}
