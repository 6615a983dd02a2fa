//! What the agent exports and where to: the flags, and the exporters that they configure.

use std::num::NonZeroU32;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use ephemon_export::spool;
use ephemon_export::spool::Spool;
use ephemon_export::{Destination, Outbox, Sender};
use ephemon_logs::Containers;
use ephemon_mask::job::Mode;
use ephemon_otel::Signal;
use ephemon_otel::config::{self, Config, Exporter, Temporality};
use ephemon_sanitize::Unproven;
use ephemon_self_metrics::SelfMetrics;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::duration::parse_positive;

/// Directory of the spools, below the agent's state directory.
const SPOOL: &str = "spool";

/// Flags for logs and their export.
#[derive(Debug, Clone, clap::Args)]
pub struct ExportArgs {
    /// How secrets in logs are treated. `masked`: values that jobs register with `::add-mask::` and
    /// well-known kinds of tokens become ***. `raw`: not masked. `off`: no logs are read
    #[arg(long, env = "EPHEMON_LOGS", value_name = "MODE", default_value = "masked")]
    pub logs: Mode,

    /// Where logs go: `otlp`, the collector of the `OTEL_EXPORTER_OTLP_…` variables, or `stdout`, a
    /// line of OTLP/JSON for each batch
    #[arg(long, env = "EPHEMON_LOGS_TO", value_name = "PLACE", value_enum, default_value = "otlp")]
    pub logs_to: Place,

    /// Whose logs are exported
    #[arg(
        long,
        env = "EPHEMON_LOG_CONTAINERS",
        value_name = "WHICH",
        value_enum,
        default_value = "ephemeral"
    )]
    pub log_containers: Containers,

    /// Directories of the node that a container's log may be a link into, with commas between: with
    /// cri-dockerd `/var/lib/docker/containers`. Of them only `ID/ID-json.log` of Docker's json-file
    /// driver and its rotated files are read. Other links are never followed; they are counted
    #[arg(
        long,
        env = "EPHEMON_LOG_LINK_DIRS",
        value_name = "DIRS",
        value_delimiter = ',',
        value_parser = absolute
    )]
    pub log_link_dirs: Vec<PathBuf>,

    /// How to treat a job's log if the job registered values to mask and the agent, after a
    /// restart, does not find the lines that registered them. `withhold`: its text is not sent.
    /// `mark`: it is sent, with the attribute ephemon.log.unproven
    #[arg(
        long,
        env = "EPHEMON_LOG_UNPROVEN",
        value_name = "WHAT",
        value_enum,
        default_value = "withhold"
    )]
    pub log_unproven: Unproven,

    /// Add each line as written, with colours and commands, as log.record.original; also masked
    #[arg(long, env = "EPHEMON_LOG_ORIGINAL")]
    pub log_original: bool,

    /// Export at most this many lines per second of each container, with bursts of five seconds'
    /// worth [default: all]
    #[arg(long, env = "EPHEMON_LOG_RATE_LIMIT", value_name = "LINES")]
    pub log_rate_limit: Option<NonZeroU32>,

    /// Export one of this many lines of each container [default: all]
    #[arg(long, env = "EPHEMON_LOG_SAMPLE", value_name = "COUNT")]
    pub log_sample: Option<NonZeroU32>,

    /// Also export the usage of containers and the counts of jobs as metrics over OTLP: running
    /// containers every `OTEL_METRIC_EXPORT_INTERVAL` milliseconds [default: 60000], final values
    /// at a container's end
    #[arg(long, env = "EPHEMON_OTLP_METRICS")]
    pub otlp_metrics: bool,

    /// Also export spans of the agent's own work: scrapes, lists and watches of pods, export of
    /// jobs' spans. For troubleshooting of the agent itself
    #[arg(long, env = "EPHEMON_OWN_TRACES")]
    pub own_traces: bool,

    /// Disk space for data that the collector does not accept in time, in MiB for each signal,
    /// below --state-dir; 0 disables it
    #[arg(long, env = "EPHEMON_SPOOL_MIB", value_name = "MIB", default_value_t = 256)]
    pub spool_mib: u32,

    /// How long it is kept there
    #[arg(
        long,
        env = "EPHEMON_SPOOL_AGE",
        value_name = "DURATION",
        default_value = "24h",
        value_parser = parse_positive
    )]
    pub spool_age: Duration,
}

/// Destination of logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Place {
    /// To the collector that the standard variables name.
    Otlp,
    /// To standard output.
    Stdout,
}

/// The agent's exporters, and the queues that feed them.
#[derive(Debug, Default)]
pub(super) struct Export {
    pub(super) logs: Option<Outbox>,
    pub(super) traces: Option<Outbox>,
    pub(super) metrics: Option<Outbox>,
    /// Interval between exports of the metrics of running containers.
    pub(super) interval: Duration,
    /// Since when its counters count.
    pub(super) temporality: Temporality,
    /// `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`.
    pub(super) attributes: Vec<(String, String)>,
    senders: JoinSet<()>,
}

/// A directory of the node by its absolute path, without `..`.
fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let is_plain = path.components().all(|part| part != Component::ParentDir);
    let fits = path.is_absolute() && is_plain && path.parent().is_some();
    fits.then_some(path).ok_or_else(|| {
        "not the absolute path of a directory, such as /var/lib/docker/containers".to_owned()
    })
}

// === impl Export ===

impl Export {
    /// Starts an exporter for each signal that has a destination. `state`: the agent's state
    /// directory.
    pub(super) fn start(
        args: &ExportArgs,
        state: &Path,
        stop: &watch::Receiver<bool>,
        self_metrics: &SelfMetrics,
    ) -> Self {
        let lookup = |name: &str| std::env::var(name).ok();
        let (config, ignored) = Config::from_env(lookup);
        let (attributes, ignored_too) = config::resource_from_env(lookup);
        let mut ignored = [ignored, ignored_too].concat();
        let (mut interval, mut temporality) = (Duration::ZERO, Temporality::default());
        if args.otlp_metrics {
            let (said, ignored_of_it) = config::metric_interval(lookup);
            ignored.extend(ignored_of_it);
            interval = said;
            let (said, ignored_of_it) = config::temporality(lookup);
            ignored.extend(ignored_of_it);
            temporality = said;
        }
        for ignored in ignored {
            tracing::warn!("{ignored}");
        }
        let mut export = Self { interval, temporality, attributes, ..Self::default() };
        let logs = match (args.logs, args.logs_to) {
            (Mode::Off, _) => Exporter::Off,
            (_, Place::Stdout) => Exporter::Console,
            (_, Place::Otlp) => config.logs,
        };
        export.logs = export.sender(Signal::Logs, &logs, args, state, stop, self_metrics);
        if args.own_traces && config.traces == Exporter::Off {
            say_why_off(Signal::Traces, "spans", "--own-traces", lookup);
        }
        export.traces =
            export.sender(Signal::Traces, &config.traces, args, state, stop, self_metrics);
        if args.otlp_metrics {
            say_of_metrics(&config.metrics, lookup);
            export.metrics =
                export.sender(Signal::Metrics, &config.metrics, args, state, stop, self_metrics);
        }
        export
    }

    fn sender(
        &mut self,
        signal: Signal,
        exporter: &Exporter,
        args: &ExportArgs,
        state: &Path,
        stop: &watch::Receiver<bool>,
        self_metrics: &SelfMetrics,
    ) -> Option<Outbox> {
        let (destination, spool) = match exporter {
            Exporter::Off => return None,
            Exporter::Console => (Destination::stdout(signal), None),
            Exporter::Otlp(target) => {
                let destination = Destination::collector(signal, target);
                tracing::info!("{} go to {}", signal.as_str(), target.shown());
                if let Some(trouble) = destination.trouble() {
                    tracing::warn!(
                        "{} cannot be sent with the present configuration, and wait: {trouble}; \
                         each request tries again",
                        signal.as_str()
                    );
                }
                (destination, spool(signal, args, state))
            }
        };
        let options = ephemon_export::Options::default();
        let (outbox, sender) = Sender::new(destination, spool, options, self_metrics.clone());
        let mut stop = stop.clone();
        self.senders.spawn(sender.run(async move {
            // An error means that the sending half was dropped, as it is when the agent stops.
            drop(stop.wait_for(|stop| *stop).await);
        }));
        Some(outbox)
    }

    /// Waits until one of the exporters ends, which none does before it is asked to.
    pub(super) async fn ended(&mut self) {
        if self.senders.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until all exporters have ended.
    pub(super) async fn done(mut self) {
        while self.senders.join_next().await.is_some() {}
    }
}

/// Logs where metrics go, and which settings for them are ignored.
fn say_of_metrics(said: &Exporter, lookup: impl Fn(&str) -> Option<String> + Copy) {
    if *said == Exporter::Off {
        say_why_off(Signal::Metrics, "metrics", "--otlp-metrics", lookup);
    }
}

/// A flag whose export has no destination does not stop the agent: metrics on /metrics and limits
/// do not depend on it.
fn say_why_off(
    signal: Signal,
    what: &str,
    flag: &str,
    lookup: impl Fn(&str) -> Option<String> + Copy,
) {
    let name = signal.as_str().to_uppercase();
    if config::is_turned_off(signal, lookup) {
        tracing::warn!(
            "{flag} is set, but no {what} are exported: OTEL_SDK_DISABLED or \
             OTEL_{name}_EXPORTER disables them"
        );
    } else {
        tracing::error!(
            "{flag} is set, but no {what} are exported, because no endpoint is set: set \
             OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_{name}_ENDPOINT, or \
             OTEL_{name}_EXPORTER=otlp for a collector on localhost"
        );
    }
}

/// The signal's spool. Without one the agent logs why and exports all the same.
fn spool(signal: Signal, args: &ExportArgs, state: &Path) -> Option<Spool> {
    if args.spool_mib == 0 {
        return None;
    }
    let directory: PathBuf = state.join(SPOOL).join(signal.as_str());
    let bytes = u64::from(args.spool_mib).saturating_mul(1024 * 1024);
    let limits = spool::Limits { bytes, age: args.spool_age };
    match Spool::open(&directory, limits) {
        Ok(spool) => Some(spool),
        Err(error) => {
            tracing::warn!(
                "{} cannot be stored on disk while the collector is unavailable: {error}; make \
                 --state-dir writable, or set --spool-mib 0 to disable the spool",
                signal.as_str()
            );
            None
        }
    }
}
