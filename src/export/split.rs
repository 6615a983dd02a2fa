//! A request that is too large for a collector, in two halves.

use std::ops::Range;

use ephemon_otel::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;

use super::payload::Payload;

/// Goes through a request's items.
trait Items: Message + Default {
    /// Keeps the items for which `keep` says so, in their order, with the resources and scopes that
    /// still have any.
    fn retain(&mut self, keep: &mut dyn FnMut() -> bool);
}

/// The first and the second half of a request, each under its resources and scopes; `None` where
/// there are not two items.
pub(super) fn halves(signal: Signal, payload: &Payload) -> Option<(Payload, Payload)> {
    match signal {
        Signal::Logs => of::<ExportLogsServiceRequest>(payload),
        Signal::Traces => of::<ExportTraceServiceRequest>(payload),
        Signal::Metrics => of::<ExportMetricsServiceRequest>(payload),
    }
}

fn of<Request: Items>(payload: &Payload) -> Option<(Payload, Payload)> {
    let mut counted = Request::decode(payload.body.clone()).ok()?;
    let mut items: u64 = 0;
    counted.retain(&mut || {
        items = items.saturating_add(1);
        true
    });
    let middle = items / 2;
    if middle == 0 {
        return None;
    }
    let second = part(counted, middle..items);
    // Decoded anew, not copied: only one half is held beside its encoding.
    let first = part(Request::decode(payload.body.clone()).ok()?, 0..middle);
    Some((first, second))
}

fn part<Request: Items>(mut request: Request, range: Range<u64>) -> Payload {
    let mut index: u64 = 0;
    request.retain(&mut || {
        let within = range.contains(&index);
        index = index.saturating_add(1);
        within
    });
    Payload::of(&request, range.end.saturating_sub(range.start))
}

// === impl Items ===

impl Items for ExportLogsServiceRequest {
    fn retain(&mut self, keep: &mut dyn FnMut() -> bool) {
        self.resource_logs.retain_mut(|resource| {
            resource.scope_logs.retain_mut(|scope| {
                scope.log_records.retain(|_| keep());
                !scope.log_records.is_empty()
            });
            !resource.scope_logs.is_empty()
        });
    }
}

impl Items for ExportTraceServiceRequest {
    fn retain(&mut self, keep: &mut dyn FnMut() -> bool) {
        self.resource_spans.retain_mut(|resource| {
            resource.scope_spans.retain_mut(|scope| {
                scope.spans.retain(|_| keep());
                !scope.spans.is_empty()
            });
            !resource.scope_spans.is_empty()
        });
    }
}

impl Items for ExportMetricsServiceRequest {
    fn retain(&mut self, keep: &mut dyn FnMut() -> bool) {
        self.resource_metrics.retain_mut(|resource| {
            resource.scope_metrics.retain_mut(|scope| {
                scope.metrics.retain_mut(|metric| retain_points(metric, keep));
                !scope.metrics.is_empty()
            });
            !resource.scope_metrics.is_empty()
        });
    }
}

/// Whether any point is left.
fn retain_points(metric: &mut Metric, keep: &mut dyn FnMut() -> bool) -> bool {
    fn points<Point>(all: &mut Vec<Point>, keep: &mut dyn FnMut() -> bool) -> bool {
        all.retain(|_| keep());
        !all.is_empty()
    }
    match &mut metric.data {
        None => false,
        Some(Data::Gauge(data)) => points(&mut data.data_points, keep),
        Some(Data::Sum(data)) => points(&mut data.data_points, keep),
        Some(Data::Histogram(data)) => points(&mut data.data_points, keep),
        Some(Data::ExponentialHistogram(data)) => points(&mut data.data_points, keep),
        Some(Data::Summary(data)) => points(&mut data.data_points, keep),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::metrics::v1::{
        Gauge, NumberDataPoint, ResourceMetrics, ScopeMetrics,
    };
    use proptest::prelude::*;

    use super::*;

    /// A request with these numbers of records a scope and scopes a resource, in order.
    fn logs(shape: &[Vec<u8>]) -> ExportLogsServiceRequest {
        let mut number = 0;
        let scope = |records: u8, number: &mut u64| {
            let records = (0..records).map(|_| {
                *number += 1;
                LogRecord { time_unix_nano: *number, ..LogRecord::default() }
            });
            ScopeLogs { log_records: records.collect(), ..ScopeLogs::default() }
        };
        let mut resource_logs = Vec::new();
        for (index, scopes) in shape.iter().enumerate() {
            let scope_logs = scopes.iter().map(|records| scope(*records, &mut number)).collect();
            let schema_url = index.to_string();
            resource_logs.push(ResourceLogs { resource: None, scope_logs, schema_url });
        }
        ExportLogsServiceRequest { resource_logs }
    }

    /// Each record's number and its resource.
    fn records(payload: &Payload) -> Vec<(u64, String)> {
        let request = ExportLogsServiceRequest::decode(payload.body.clone()).unwrap();
        let mut all = Vec::new();
        for resource in request.resource_logs {
            for record in resource.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
                all.push((record.time_unix_nano, resource.schema_url.clone()));
            }
        }
        all
    }

    proptest! {
        #[test]
        fn halves_hold_every_record_once_in_order_under_its_resource(
            shape in proptest::collection::vec(proptest::collection::vec(0_u8..4, 0..4), 0..4),
        ) {
            let items = shape.iter().flatten().map(|records| u64::from(*records)).sum();
            let whole = Payload::of(&logs(&shape), items);
            match halves(Signal::Logs, &whole) {
                None => prop_assert!(items < 2),
                Some((first, second)) => {
                    prop_assert_eq!(first.items + second.items, items);
                    prop_assert!(first.items.abs_diff(second.items) <= 1);
                    let mut both = records(&first);
                    prop_assert_eq!(both.len() as u64, first.items);
                    both.extend(records(&second));
                    prop_assert_eq!(both, records(&whole));
                }
            }
        }

        #[test]
        fn what_is_no_request_has_no_halves_and_breaks_nothing(body: Vec<u8>) {
            for signal in Signal::ALL {
                drop(halves(signal, &Payload { body: body.clone().into(), items: 2 }));
            }
        }
    }

    #[test]
    fn points_of_one_metric_are_split_too() {
        let point = |number| NumberDataPoint { time_unix_nano: number, ..Default::default() };
        let gauge = Gauge { data_points: vec![point(1), point(2), point(3)] };
        let metric = Metric { data: Some(Data::Gauge(gauge)), ..Metric::default() };
        let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
        let resource = ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() };
        let request = ExportMetricsServiceRequest { resource_metrics: vec![resource] };
        let (first, second) = halves(Signal::Metrics, &Payload::of(&request, 3)).unwrap();
        assert_eq!((first.items, second.items), (1, 2));
        assert!(halves(Signal::Metrics, &first).is_none());
    }
}
