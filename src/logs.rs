//! Containers' logs, from the node's files to the collector.
//!
//! `crilog` follows the files; here a `desk` for each log refines its lines (`refine`: masks,
//! commands, colours), `steps` tells whose they are, `runner_log` listens to the runner's own, `ration` holds back what the operator wants held back, a `parcel` takes the
//! records, and the `pump`, a thread of its own, drives it all: it reads only what can be handed
//! over, and calls a log delivered as far as the collector, or the spool, has it. The `ledger` shows
//! others what became of each log.

mod ansi;
mod cleaner;
mod describe;
mod desk;
mod draft;
mod groups;
mod ledger;
mod parcel;
mod pump;
mod ration;
pub mod refine;
mod refined;
mod runner_log;
mod selection;
mod settings;
mod steps;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::oneshot;

pub use self::refined::{Place, Record, Refined, Severity, Stream, Suppressed, Tally, Withheld};
pub use ledger::{Account, Ledger};
pub use runner_log::{RunnerLine, RunnerLog};
pub use selection::Containers;
pub use settings::Settings;

use crate::crilog::{Checkpoints, Follower, Options};
use crate::discovery::inventory::Inventory;
use crate::journal::Reader;
use crate::node::NodeRoot;
use crate::otlp::Outbox;
use crate::vitals::Vitals;
use desk::{Common, Desks};
use parcel::{Flights, Packing};
use pump::{Pump, Said};
use steps::Steps;

/// The running thread.
#[derive(Debug)]
pub struct Logs {
    stop: Arc<OwnedFd>,
    /// Resolves when the thread is over.
    over: oneshot::Receiver<()>,
}

/// Starts to follow the logs of this node's wanted pods.
///
/// # Errors
/// Where the kernel gives no descriptor or no thread.
pub fn start(
    node: &NodeRoot,
    settings: Settings,
    inventory: Inventory,
    outbox: Outbox,
    ledger: Ledger,
    runner: RunnerLog,
    vitals: Vitals,
) -> io::Result<Logs> {
    let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let directory = node.join(&settings.state_dir);
    let steps = Steps::new(Reader::new(node.clone(), &settings.kubelet_root, vitals.clone()));
    let common = Common {
        inventory: inventory.clone(),
        containers: settings.containers,
        mode: settings.mode,
        refine: refine::Options { original: settings.original, ..refine::Options::default() },
        ration: settings.ration(),
        node: settings.node,
        service_name: settings.service_name,
        attributes: settings.attributes,
    };
    let pods = node.pod_logs();
    let (over_tx, over) = oneshot::channel();
    let stopped = Arc::clone(&stop);
    thread::Builder::new().name("ephemon-logs".into()).spawn(move || {
        let pump = Pump {
            follower: Follower::new(Options::new(pods), load(&directory)),
            desks: Desks::new(common),
            inventory,
            containers: settings.containers,
            typed: settings.typed,
            steps,
            runner,
            outbox,
            ledger,
            retain: settings.retain,
            checkpoints: directory,
            vitals,
            packing: Packing::default(),
            flights: Flights::default(),
            waiting: None,
            said: Said::default(),
        };
        pump.run(&stopped);
        // Nobody may be waiting any more.
        over_tx.send(()).ok();
    })?;
    Ok(Logs { stop, over })
}

fn load(directory: &Path) -> Checkpoints {
    // Where nothing can be kept the agent runs all the same, as it does without its lock.
    if let Err(error) = std::fs::create_dir_all(directory) {
        tracing::debug!(directory = %directory.display(), %error, "no directory for checkpoints");
    }
    Checkpoints::load(directory)
}

// === impl Logs ===

impl Logs {
    /// Ends the thread: what is read is handed over and waited for, for some seconds.
    pub fn stop(&self) {
        // The counter cannot be full: this is its only writer.
        rustix::io::write(self.stop.as_fd(), &1_u64.to_ne_bytes()).ok();
    }

    /// Resolves when the thread is over, for whatever reason.
    pub async fn over(&mut self) {
        // An error is the end, too: the thread panicked.
        drop((&mut self.over).await);
    }
}
