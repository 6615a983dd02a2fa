//! The handles that the agent's parts share, and how each part is constructed.

use std::io;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use ephemon_base::Heartbeat;
use ephemon_capture as capture;
use ephemon_capture::readings::Readings;
use ephemon_discovery::api::RunnerObjects;
use ephemon_discovery::awaited_images::AwaitedImages;
use ephemon_discovery::debug_containers::DebugContainers;
use ephemon_discovery::inventory::Inventory;
use ephemon_export::Outbox;
use ephemon_jobs::JobsView;
use ephemon_journal as journal;
use ephemon_logs as logs;
use ephemon_logs::{Containers, Ledger, Logs, RunnerLog, RunnerNews};
use ephemon_mask::job::Mode;
use ephemon_metrics as metrics;
use ephemon_metrics::Metrics;
use ephemon_model::node::NodeRoot;
use ephemon_model::{PodUid, PrePull};
use ephemon_otel::{Signal, SpanBuffer};
use ephemon_otlp::metric::Owner;
use ephemon_otlp::own::Delivery;
use ephemon_otlp::span;
use ephemon_page::Page;
use ephemon_self_metrics::SelfMetrics;
use tokio::sync::Semaphore;

use super::args::{Args, NestedContainers};
use super::debug_audit::DebugAudit;
use super::export::Export;
use super::log_level::LogLevel;
use super::otlp_metrics::{self, Names, Wheel};
use super::page::PageStore;
use super::readiness::Readiness;
use super::state::StateReader;
use super::{jobs, kubelet_root, limits, metric_settings};

/// How much longer a container's log counts are kept than its metrics.
const LEDGER_RETENTION: Duration = Duration::from_mins(1);

/// Handles for any part; all clones share the same data.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) node: NodeRoot,
    pub(super) self_metrics: SelfMetrics,
    pub(super) readings: Readings,
    pub(super) inventory: Inventory,
    pub(super) ledger: Ledger,
    pub(super) jobs_view: JobsView,
    pub(super) debug: DebugContainers,
    /// What containers wait for, with `--pre-pull`.
    pub(super) images: AwaitedImages,
    pub(super) readiness: Readiness,
    /// What asks ARC for jobs; empty without an API server.
    pub(super) runner_objects: Arc<OnceLock<RunnerObjects>>,
    /// Of the capture thread.
    pub(super) heartbeat: Heartbeat,
    /// What is kept for the job page, if there is one.
    pub(super) page: Option<PageStore>,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(args: &Args) -> Result<Self, prometheus::Error> {
        let self_metrics = SelfMetrics::new()?;
        let inventory = if args.no_api {
            Inventory::without_api(self_metrics.clone())
        } else {
            Inventory::with_api(self_metrics.clone())
        };
        let page = PageStore::new(&args.page);
        let feed = inventory.feed().clone();
        let readings = match &page {
            Some(page) => Readings::recorded_in(feed, page.history.clone()),
            None => Readings::publishing_to(feed),
        };
        Ok(Self {
            node: NodeRoot::new(&args.node_root),
            self_metrics,
            readings,
            inventory,
            ledger: Ledger::default(),
            jobs_view: JobsView::default(),
            debug: DebugContainers::default(),
            images: AwaitedImages::default(),
            readiness: Readiness::default(),
            runner_objects: Arc::default(),
            heartbeat: Heartbeat::default(),
            page,
        })
    }

    /// The job page, if there is one. Must be called before the exporter of logs is handed over.
    pub(super) fn job_page(&self, args: &Args, export: &Export) -> Option<Page> {
        let logs = export.logs.is_some().then_some(args.export.logs);
        self.page.as_ref().map(|page| page.page(&args.page, node_name(args), logs))
    }

    pub(super) fn metrics(&self, args: &Args) -> Metrics {
        let options = metrics::Options {
            retain_ended: args.retain_ended,
            max_ended: usize::try_from(args.max_ended).unwrap_or(usize::MAX),
            node: self.node.clone(),
            logs: self.ledger.clone(),
            jobs: self.jobs_view.clone(),
            debug: self.debug.clone(),
            settings: metric_settings::of(args),
            filter: metric_settings::filter(args),
            ..metrics::Options::default()
        };
        Metrics::new(
            self.readings.clone(),
            self.inventory.clone(),
            self.self_metrics.clone(),
            options,
        )
    }

    pub(super) fn state_reader(&self, args: &Args, log_level: &LogLevel) -> StateReader {
        StateReader {
            settings: args.settings.clone(),
            started: SystemTime::now(),
            heartbeat: self.heartbeat.clone(),
            readiness: self.readiness.clone(),
            inventory: self.inventory.clone(),
            runner_objects: Arc::clone(&self.runner_objects),
            jobs_view: self.jobs_view.clone(),
            log_level: log_level.clone(),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// A reader of the journals of all pods, for jobs and logs.
    pub(super) fn journals(&self, args: &Args) -> journal::Reader {
        let kubelet_root = kubelet_root::of(args);
        journal::Reader::new(self.node.clone(), kubelet_root, self.self_metrics.clone())
    }

    /// Starts to follow logs if they have a destination. If only spans have one, the runner's own
    /// log is followed, because it reports the result of the job.
    pub(super) fn logs(
        &self,
        args: &Args,
        export: &mut Export,
        runner: RunnerLog,
        journals: journal::Reader,
    ) -> io::Result<Option<Logs>> {
        let mut settings = log_settings(args, export);
        let Self { node, inventory, ledger, self_metrics, .. } = self.clone();
        let outbox = match export.logs.take() {
            Some(outbox) => outbox,
            None if export.traces.is_some() && args.export.logs != Mode::Off => {
                settings.containers = Containers::None;
                Outbox::nowhere(Signal::Logs, self_metrics.clone())
            }
            None => return Ok(None),
        };
        let tail = self.page.as_ref().and_then(|page| page.tail.clone());
        let parts = logs::Parts { inventory, outbox, ledger, runner, journals, self_metrics, tail };
        logs::start(&node, settings, parts).map(Some)
    }

    pub(super) fn jobs(
        &self,
        args: &Args,
        export: &mut Export,
        runner: RunnerNews,
        pre_pulled: Receiver<(PodUid, PrePull)>,
        journals: journal::Reader,
    ) -> jobs::Parts {
        let Self { node, inventory, readings, ledger, jobs_view, self_metrics, readiness, .. } =
            self.clone();
        let traces = export.traces.take().map(|outbox| {
            let looks = jobs::looks(args, node_name(args));
            let looks = span::Options { resource: export.attributes.clone(), ..looks };
            (jobs::span_sender(outbox), looks)
        });
        jobs::Parts {
            inventory,
            readings,
            ledger,
            runner,
            pre_pulled,
            journals,
            jobs_view,
            self_metrics,
            readiness,
            state_dir: node.join(&args.state_dir),
            options: jobs::options(args),
            traces,
            board: self.page.as_ref().map(|page| page.board.clone()),
        }
    }

    /// Starts to export metrics over OTLP if it is enabled. Must be called before capture starts,
    /// so that no container's end is missed.
    pub(super) fn otlp_metrics(&self, args: &Args, export: &mut Export) -> Option<Wheel> {
        let outbox = export.metrics.take()?;
        let Self { inventory, readings, jobs_view, self_metrics, .. } = self.clone();
        let names = Names {
            inventory,
            node: node_name(args).into(),
            attributes: export.attributes.clone().into(),
        };
        let parts = otlp_metrics::Parts {
            readings,
            jobs_view,
            self_metrics,
            outbox,
            names,
            interval: export.interval,
            temporality: export.temporality,
        };
        Some(Wheel::start(parts, &self.node.join(&args.state_dir)))
    }

    /// Starts to export the agent's own spans if they are collected and have a destination. Must be
    /// called before jobs take the outbox.
    pub(super) fn own_spans(
        &self,
        args: &Args,
        export: &Export,
        span_buffer: Option<SpanBuffer>,
    ) -> Option<Delivery> {
        let (span_buffer, outbox) = (span_buffer?, export.traces.clone()?);
        let agent = Owner::agent(&node_name(args), &export.attributes);
        Some(Delivery::start(span_buffer, outbox, agent, self.self_metrics.clone()))
    }

    /// The reporter of containers that were attached by hand. Must be called before logs take the
    /// outbox.
    pub(super) fn debug_audit(&self, args: &Args, export: &Export) -> DebugAudit {
        DebugAudit {
            list: self.debug.clone(),
            outbox: export.logs.clone(),
            node: node_name(args).into(),
            attributes: export.attributes.clone().into(),
            self_metrics: self.self_metrics.clone(),
        }
    }

    pub(super) fn capture(&self, args: &Args) -> capture::Options {
        let containers = limits::raise_open_files();
        // Nested containers keep files open, too, and take no place of the pods' own.
        let for_nested = (containers / 8).min(capture::MAX_NESTED);
        let max_nested = match args.nested_containers {
            NestedContainers::On => for_nested,
            NestedContainers::Off => 0,
        };
        capture::Options {
            node: self.node.clone(),
            kubepods: args.kubepods.clone(),
            sample_interval: args.sample_interval,
            sample_budget: f64::from(args.sample_budget) / 100.0,
            max_containers: containers - max_nested,
            max_nested,
            heartbeat: self.heartbeat.clone(),
        }
    }
}

/// This node's name in the API.
pub(super) fn node_name(args: &Args) -> String {
    args.node_name.clone().unwrap_or_else(host_name)
}

/// The host name, which is the kubelet's default for the node's name.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_lowercase()
}

fn log_settings(args: &Args, export: &Export) -> logs::Settings {
    let of = |key: &str| export.attributes.iter().find(|(name, _)| name == key);
    let flags = &args.export;
    logs::Settings {
        containers: flags.log_containers,
        mode: flags.logs,
        unproven: flags.log_unproven,
        original: flags.log_original,
        rate: flags.log_rate_limit,
        one_of: flags.log_sample,
        node: node_name(args).into(),
        service_name: of("service.name").map(|(_, name)| name.as_str().into()),
        attributes: export.attributes.clone().into(),
        kubelet_root: kubelet_root::of(args),
        link_dirs: flags.log_link_dirs.clone(),
        state_dir: args.state_dir.clone(),
        // As long as the container's metrics may be shown, plus a margin.
        retain: args.retain_ended.saturating_add(LEDGER_RETENTION),
    }
}
