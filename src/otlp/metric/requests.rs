//! Points of many resources, cut into requests of a size that collectors take.

use ephemon_catalogue::{InstrumentRows, container_instruments, job_instruments, pod_instruments};
use ephemon_export::Payload;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};

use super::delta::{Staged, Windows};
use super::points::{DataPoints, Subject};
use super::{Container, Jobs, Owner, Pod};
use crate::names::SCHEMA_URL;
use ephemon_otel::config::Temporality;

/// A request with so many points is closed: some 400 KB. Collectors take 4 MiB unless told
/// otherwise.
const REQUEST_POINTS: usize = 2000;
/// Names of jobs under one resource: some hundreds of points.
const JOBS_AT_ONCE: usize = 16;

/// The jobs' name among owners of series.
pub const JOBS: &str = "jobs";

/// Requests under way.
#[derive(Debug, Default)]
pub struct Requests<'a> {
    temporality: Temporality,
    windows: Option<&'a Windows>,
    resource_metrics: Vec<ResourceMetrics>,
    points: usize,
    staged: Vec<Staged>,
    done: Vec<Batch>,
}

/// A request, and the ends of windows that it brings about.
#[derive(Debug)]
pub struct Batch {
    /// The request; none where windows begin and nothing is to be sent.
    pub payload: Option<Payload>,
    /// To be committed before it is sent; nothing of cumulative points.
    pub staged: Vec<Staged>,
}

/// Whose series they are, and of which kind.
struct Series<'a> {
    owner: &'a Owner,
    name: &'a str,
    /// Whether something is counted when it happens, as an instrument of the SDK's that is
    /// synchronous: not read of a counter of the kernel's.
    is_synchronous: bool,
}

// === impl Requests ===

impl<'a> Requests<'a> {
    /// Of this temporality. `windows`: what was sent so far.
    pub fn new(temporality: Temporality, windows: &'a Windows) -> Self {
        Self { temporality, windows: Some(windows), ..Self::default() }
    }

    /// A container's points.
    pub fn container(&mut self, container: &Container) {
        let (owner, name) = (&*container.owner, container.container.record.id.as_str());
        let series = Series { owner, name, is_synchronous: false };
        self.add(&series, container_instruments(), std::slice::from_ref(container));
    }

    /// A pod's.
    pub fn pod(&mut self, pod: &Pod) {
        let (owner, name) = (&*pod.owner, pod.record.pod.as_str());
        let series = Series { owner, name, is_synchronous: false };
        self.add(&series, pod_instruments(), std::slice::from_ref(pod));
    }

    /// Those of jobs, as the agent has counted them.
    pub fn jobs(&mut self, agent: &Owner, jobs: &Jobs<'_>) {
        let series = Series { owner: agent, name: JOBS, is_synchronous: true };
        for some in jobs.series().chunks(JOBS_AT_ONCE) {
            self.add(&series, job_instruments(), some);
        }
    }

    /// The requests; none without points.
    pub fn into_payloads(self) -> Vec<Payload> {
        self.into_batches().into_iter().filter_map(|batch| batch.payload).collect()
    }

    /// The requests with what they bring about.
    pub fn into_batches(mut self) -> Vec<Batch> {
        self.cut();
        self.done
    }

    fn add<S: Subject>(
        &mut self,
        series: &Series<'_>,
        instruments: &[InstrumentRows<S::Read>],
        all: &[S],
    ) {
        let mut points = DataPoints::default();
        for rows in instruments {
            points.add(rows, all);
        }
        let (mut metrics, mut count) = points.into_metrics();
        let is_delta = match self.temporality {
            Temporality::Cumulative => false,
            Temporality::Delta => true,
            Temporality::LowMemory => series.is_synchronous,
        };
        if let Some(windows) = self.windows.filter(|_| is_delta) {
            let (left, staged) = windows.deltas(series.name, metrics);
            metrics = left;
            count = points_of(&metrics);
            self.staged.extend(Some(staged).filter(|staged| !staged.is_empty()));
        }
        if count == 0 {
            return;
        }
        let scope = InstrumentationScope {
            name: "ephemon".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let schema_url = SCHEMA_URL.to_owned();
        self.resource_metrics.push(ResourceMetrics {
            resource: Some(series.owner.0.clone()),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope),
                metrics,
                schema_url: schema_url.clone(),
            }],
            schema_url,
        });
        self.points += count;
        if self.points >= REQUEST_POINTS {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let resource_metrics = std::mem::take(&mut self.resource_metrics);
        let points = std::mem::take(&mut self.points);
        let staged = std::mem::take(&mut self.staged);
        let payload = (points > 0).then(|| {
            let items = u64::try_from(points).unwrap_or(u64::MAX);
            Payload::of(&ExportMetricsServiceRequest { resource_metrics }, items)
        });
        if payload.is_some() || !staged.is_empty() {
            self.done.push(Batch { payload, staged });
        }
    }
}

fn points_of(metrics: &[Metric]) -> usize {
    let points = metrics.iter().map(|metric| match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        _ => 0,
    });
    points.sum()
}
