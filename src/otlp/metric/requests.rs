//! Points of many resources, cut into requests of a size that collectors take.

use ephemon_catalogue::{InstrumentRows, container_instruments, job_instruments, pod_instruments};
use ephemon_export::Payload;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};

use super::points::{DataPoints, Subject};
use super::{Container, Jobs, Owner, Pod};
use crate::names::SCHEMA_URL;

/// A request with so many points is closed: some 400 KB. Collectors take 4 MiB unless told
/// otherwise.
const REQUEST_POINTS: usize = 2000;
/// Names of jobs under one resource: some hundreds of points.
const JOBS_AT_ONCE: usize = 16;

/// Requests under way.
#[derive(Debug, Default)]
pub struct Requests {
    resource_metrics: Vec<ResourceMetrics>,
    points: usize,
    done: Vec<Payload>,
}

// === impl Requests ===

impl Requests {
    /// A container's points.
    pub fn container(&mut self, container: &Container) {
        self.add(&container.owner, container_instruments(), std::slice::from_ref(container));
    }

    /// A pod's.
    pub fn pod(&mut self, pod: &Pod) {
        self.add(&pod.owner, pod_instruments(), std::slice::from_ref(pod));
    }

    /// Those of jobs, as the agent has counted them.
    pub fn jobs(&mut self, agent: &Owner, jobs: &Jobs<'_>) {
        for some in jobs.series().chunks(JOBS_AT_ONCE) {
            self.add(agent, job_instruments(), some);
        }
    }

    /// The requests; none without points.
    pub fn into_payloads(mut self) -> Vec<Payload> {
        self.cut();
        self.done
    }

    fn add<S: Subject>(
        &mut self,
        owner: &Owner,
        instruments: &[InstrumentRows<S::Read>],
        all: &[S],
    ) {
        let mut points = DataPoints::default();
        for rows in instruments {
            points.add(rows, all);
        }
        let (metrics, count) = points.into_metrics();
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
            resource: Some(owner.0.clone()),
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
        if points > 0 {
            let items = u64::try_from(points).unwrap_or(u64::MAX);
            let request = ExportMetricsServiceRequest { resource_metrics };
            self.done.push(Payload::of(&request, items));
        }
    }
}
