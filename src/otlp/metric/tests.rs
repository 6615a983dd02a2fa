//! The requests of a container, a pod and a job, held against a recording. `EPHEMON_GOLDEN=write`
//! writes it anew.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ephemon_capture::readings::{PodRecord, Record};
use ephemon_catalogue as catalogue;
use ephemon_discovery::inventory::ContainerFacts;
use ephemon_export::Payload;
use ephemon_jobs::story::{Story, s};
use ephemon_jobs::tally::Tally;
use ephemon_model::{
    ContainerId, ContainerType, Ended, Exit, IoUsage, Limit, NetUsage, PodRef, PodUid, Pressure,
    Quality, Usage,
};
use ephemon_otel::config::Temporality;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, ResourceMetrics};
use prost::Message as _;

use super::*;
use crate::{Job, Source};

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

fn pod_ref() -> PodRef {
    let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
    PodRef { namespace: "ci".into(), name: "runner-1".into(), uid }
}

fn source(container: &str) -> Source {
    Source {
        pod: pod_ref(),
        container: container.into(),
        log_file_path: "".into(),
        container_id: None,
        container_type: None,
        image: None,
        node: Some("worker-1".into()),
        service_name: None,
        attributes: Arc::new([("service.instance.id".to_owned(), "all the same".to_owned())]),
        job: None,
    }
}

fn usage() -> Usage {
    let mut usage = Usage::default();
    usage.cpu.usage_ns = Some(1_500_000_000);
    usage.cpu.user_ns = Some(1_000_000_000);
    usage.cpu.system_ns = Some(400_000_000);
    usage.cpu.throttled_ns = Some(20_000_000);
    usage.cpu.limit_millis = Some(Limit::At(1500));
    usage.memory.usage_bytes = Some(1 << 20);
    usage.memory.peak_bytes = Some(1 << 22);
    usage.memory.limit_bytes = Some(Limit::Unlimited);
    usage.memory.events.oom_kill = Some(1);
    usage.memory.faults.minor = Some(7);
    usage.pressure.cpu = Pressure { waiting_us: Some(1_500), stalled_us: None };
    let io = |minor, read| IoUsage { major: 8, minor, read_bytes: read, ..IoUsage::default() };
    usage.io = vec![io(0, Some(10)), io(16, Some(20)), io(32, None)];
    usage
}

fn container(ended: bool) -> Container {
    let id = ContainerId::parse(&"a".repeat(64)).unwrap();
    let job = Job { repository: Some("o/r".into()), run_id: Some("7".into()), ..Job::default() };
    let source = Source {
        container_id: Some(id.clone()),
        container_type: Some(ContainerType::Ephemeral),
        image: Some("node:22".into()),
        job: Some(job),
        ..source("job")
    };
    let record = Record {
        id,
        pod: pod_ref().uid,
        created: at(10),
        is_birth_seen: true,
        read_at: at(12),
        nested: false,
        usage: usage(),
        ended: ended.then(|| Ended { at: at(13), quality: Quality::Residual }),
    };
    let facts = ContainerFacts {
        name: "job".into(),
        container_type: ContainerType::Ephemeral,
        image: None,
        engine_id: None,
        exit: ended.then(|| Exit { code: 137, reason: "OOMKilled".into() }),
    };
    Container {
        owner: Arc::new(Owner::of(&source)),
        container: catalogue::Container {
            record: Arc::new(record),
            facts: Some(Arc::new(facts)),
            log: None,
        },
    }
}

fn pod() -> Pod {
    let net = NetUsage {
        interface: "eth0".into(),
        receive_bytes: 100,
        transmit_bytes: 200,
        ..NetUsage::default()
    };
    let record = PodRecord {
        pod: pod_ref().uid,
        net: vec![net],
        accounting_error: None,
        beside_cpu_ns: None,
        nested_left_out: 0,
        gone: false,
    };
    let owner = Arc::new(Owner::of(&source("")));
    Pod { owner, record: Arc::new(record), since: at(5), at: at(20) }
}

fn tally() -> Tally {
    let job = Story::whole().job_evidence().job(Some(s(100))).unwrap();
    let mut tally = Tally::default();
    tally.started(&job);
    tally.finished(&job);
    tally
}

fn jobs(tally: &Tally) -> Jobs<'_> {
    Jobs { tally, before: None, only_new: false, since_ns: s(1), at_ns: s(200) }
}

fn agent() -> Owner {
    Owner::agent("worker-1", &[("deployment.environment.name".to_owned(), "staging".to_owned())])
}

/// A resource, and below it a line for each point.
fn shown(resource: &ResourceMetrics) -> String {
    let mut out = format!("{}\n", pairs(&resource.resource.as_ref().unwrap().attributes));
    for metric in resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
        let (name, unit) = (&metric.name, &metric.unit);
        let (kind, numbers, histograms) = match metric.data.as_ref().unwrap() {
            Data::Sum(sum) if sum.is_monotonic => ("counter", sum.data_points.as_slice(), &[][..]),
            Data::Sum(sum) => ("updowncounter", sum.data_points.as_slice(), &[][..]),
            Data::Gauge(gauge) => ("gauge", gauge.data_points.as_slice(), &[][..]),
            Data::Histogram(all) => ("histogram", &[][..], all.data_points.as_slice()),
            other => panic!("{other:?}"),
        };
        for point in numbers {
            let (from, to) = (point.start_time_unix_nano, point.time_unix_nano);
            let value = match point.value.unwrap() {
                Number::AsInt(value) => value.to_string(),
                Number::AsDouble(value) => format!("{value:?}"),
            };
            let attributes = pairs(&point.attributes);
            writeln!(out, "  {name} {kind} {unit} {from}..{to} {attributes} = {value}").unwrap();
        }
        for point in histograms {
            let (from, to) = (point.start_time_unix_nano, point.time_unix_nano);
            let attributes = pairs(&point.attributes);
            let (count, sum, buckets) = (point.count, point.sum.unwrap(), &point.bucket_counts);
            writeln!(
                out,
                "  {name} {kind} {unit} {from}..{to} {attributes} = {count}, {sum:?}, {buckets:?} \
                 below {:?}",
                point.explicit_bounds
            )
            .unwrap();
            for one in &point.exemplars {
                let hex = |bytes: &[u8]| {
                    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
                };
                let (trace, span, at) = (hex(&one.trace_id), hex(&one.span_id), one.time_unix_nano);
                writeln!(out, "    exemplar {trace} {span} {at} {:?}", one.value.unwrap()).unwrap();
            }
        }
    }
    out
}

fn pairs(attributes: &[KeyValue]) -> String {
    let pair = |pair: &KeyValue| {
        let value = match pair.value.clone().and_then(|any| any.value).unwrap() {
            Value::StringValue(text) => text,
            other => format!("{other:?}"),
        };
        format!("{}={value}", pair.key)
    };
    let all: Vec<_> = attributes.iter().map(pair).collect();
    format!("{{{}}}", all.join(", "))
}

fn decoded(payloads: Vec<Payload>) -> Vec<ExportMetricsServiceRequest> {
    let decode = |payload: Payload| ExportMetricsServiceRequest::decode(payload.body).unwrap();
    payloads.into_iter().map(decode).collect()
}

#[test]
fn points_are_those_of_the_recording() {
    let mut requests = Requests::default();
    requests.container(&container(false));
    requests.container(&container(true));
    requests.pod(&pod());
    requests.jobs(&agent(), &jobs(&tally()));
    let all = decoded(requests.into_payloads());
    assert_eq!(all.len(), 1);
    let shown: String = all[0].resource_metrics.iter().map(shown).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/it/golden/otlp-metrics.txt");
    if std::env::var_os("EPHEMON_GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(path, &shown).unwrap();
    }
    assert_eq!(shown, std::fs::read_to_string(path).unwrap());
}

#[test]
fn a_containers_points_before_and_at_its_end_are_of_the_same_streams() {
    let metrics = |ended| {
        let mut requests = Requests::default();
        requests.container(&container(ended));
        let request = decoded(requests.into_payloads()).remove(0).resource_metrics.remove(0);
        let metrics = request.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
        let of = |data| match data {
            Some(Data::Sum(sum)) => sum.data_points,
            Some(Data::Gauge(gauge)) => gauge.data_points,
            other => panic!("{other:?}"),
        };
        let streams: Vec<_> = metrics
            .flat_map(|metric| {
                let points = of(metric.data).into_iter();
                let start = |point: &NumberDataPoint| {
                    (point.start_time_unix_nano, point.attributes.clone())
                };
                points.map(|point| (metric.name.clone(), start(&point))).collect::<Vec<_>>()
            })
            .collect();
        (request.resource, streams)
    };
    let (before, mut streams) = metrics(false);
    let (at_end, mut finals) = metrics(true);
    assert_eq!(before, at_end);
    let ended = finals.pop().unwrap();
    assert_eq!(ended.0, "ephemon.container.ended");
    streams.sort_by(|a, b| a.0.cmp(&b.0));
    finals.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(streams, finals);
}

#[test]
fn only_new_counts_and_exemplars_are_sent_when_a_job_ends() {
    let before = tally();
    let mut now = before.clone();
    let mut requests = Requests::default();
    requests.jobs(&agent(), &Jobs { before: Some(&before), only_new: true, ..jobs(&now) });
    assert!(requests.into_payloads().is_empty(), "nothing is new");

    let mut job = Story::whole().job_evidence().job(Some(s(100))).unwrap();
    job.identity.job = Some("another".into());
    now.started(&job);
    let mut requests = Requests::default();
    requests.jobs(&agent(), &Jobs { before: Some(&before), only_new: true, ..jobs(&now) });
    let text = format!("{:?}", decoded(requests.into_payloads()));
    assert!(text.contains("another") && !text.contains("\"test\""), "{text}");

    let exemplars = |before| {
        let mut requests = Requests::default();
        requests.jobs(&agent(), &Jobs { before, ..jobs(&now) });
        format!("{:?}", decoded(requests.into_payloads())).matches("Exemplar {").count()
    };
    assert!(exemplars(None) > 0);
    assert_eq!(exemplars(Some(&before)), 0);
}

#[test]
fn many_containers_are_cut_into_several_requests_and_no_point_is_lost() {
    let mut one = Requests::default();
    one.container(&container(true));
    let each = one.into_payloads()[0].items;
    let mut requests = Requests::default();
    (0..500).for_each(|_| requests.container(&container(true)));
    let payloads = requests.into_payloads();
    assert!(payloads.len() > 1);
    assert_eq!(payloads.iter().map(|payload| payload.items).sum::<u64>(), 500 * each);
    assert!(payloads.iter().all(|payload| payload.body.len() < 2 << 20));
}

#[test]
fn low_memory_makes_deltas_of_what_is_counted_when_it_happens_and_of_nothing_else() {
    for (temporality, containers, of_jobs) in [
        (Temporality::Cumulative, 2, 2),
        (Temporality::Delta, 1, 1),
        (Temporality::LowMemory, 2, 1),
    ] {
        let windows = Windows::default();
        let mut requests = Requests::new(temporality, &windows);
        requests.container(&container(false));
        requests.jobs(&agent(), &jobs(&tally()));
        let all = decoded(requests.into_payloads()).into_iter().flat_map(|it| it.resource_metrics);
        let scopes = all.flat_map(|resource| resource.scope_metrics);
        let mut seen = 0;
        for metric in scopes.flat_map(|scope| scope.metrics) {
            let wanted = if metric.name.starts_with("ephemon.job.") { of_jobs } else { containers };
            let said = match metric.data {
                Some(Data::Sum(sum)) if sum.is_monotonic => sum.aggregation_temporality,
                Some(Data::Histogram(histogram)) => histogram.aggregation_temporality,
                Some(Data::Sum(sum)) => {
                    assert_eq!(sum.aggregation_temporality, 2, "{}", metric.name);
                    continue;
                }
                _ => continue,
            };
            assert_eq!(said, wanted, "{temporality:?}: {}", metric.name);
            seen += 1;
        }
        assert!(seen > 10, "{seen}");
    }
}
