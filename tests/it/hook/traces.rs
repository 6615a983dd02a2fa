//! Spans of the hook's calls at a collector, and trace context in what the hook starts.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ephemon_contract::trace::{JobKey, RunKey, SpanId, TraceId, Traceparent};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::rig::{Called, Rig};
use super::{again_if, wait_for};
use crate::support::collector::pki::Pki;
use crate::support::collector::{Collector, Wire};
use crate::support::ports;
use crate::support::proxy::{COLLECTOR, Manner, Proxy};

/// What a collector was sent.
type Received = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// Longer than the hook waits by default.
const SLOW: Duration = Duration::from_millis(500);
const WAIT: &str = "EPHEMON_COLLECTOR_WAIT_MILLISECONDS";

/// The hook waits for a collector that is on a busy machine, as this process is.
fn wait_for_the_collector(rig: &mut Rig) {
    rig.set(WAIT, "5000");
}

/// A collector that takes protobuf over HTTP, slowly.
async fn http_collector() -> (SocketAddr, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, received) = (listener.local_addr().unwrap(), Received::default());
    let all = Arc::clone(&received);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let all = Arc::clone(&all);
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let all = Arc::clone(&all);
                    async move {
                        assert_eq!(request.uri().path(), "/v1/traces");
                        let body = request.into_body().collect().await?.to_bytes();
                        let decoded = ExportTraceServiceRequest::decode(body).unwrap();
                        sleep(SLOW).await;
                        all.lock().unwrap().push(decoded);
                        Ok::<_, hyper::Error>(Response::new(Full::<Bytes>::default()))
                    }
                });
                drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    (address, received)
}

/// A collector that speaks gRPC.
#[derive(Debug, Clone)]
struct Grpc(Received);

#[tonic::async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

fn spans(received: &Received) -> Vec<Span> {
    let requests = received.lock().unwrap();
    let scopes = requests.iter().flat_map(|request| &request.resource_spans);
    scopes.flat_map(|spans| &spans.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text.clone()),
        Any::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

fn hex(id: &[u8]) -> String {
    match id.len() {
        8 => SpanId(id.try_into().unwrap()).to_string(),
        _ => TraceId(id.try_into().unwrap()).to_string(),
    }
}

fn job() -> JobKey<'static> {
    let run = RunKey { run_id: "14460881260", run_attempt: "13" };
    JobKey { run, job: "test", runner: "runner-1" }
}

fn know_the_run(rig: &mut Rig) {
    rig.set("GITHUB_RUN_ID", "14460881260");
    rig.set("GITHUB_RUN_ATTEMPT", "13");
    rig.set("GITHUB_JOB", "test");
    rig.set("RUNNER_NAME", "runner-1");
}

/// A job of one step: what both calls came to.
async fn play(rig: &Rig) -> [Called; 2] {
    let prepared = rig.prepare().await;
    let state = prepared.json()["state"].clone();
    let script = rig.script("echo $TRACEPARENT; exit 42");
    let step = rig.call("run_script_step", &script, &state).await;
    assert_eq!(step.code, 42, "{step:?}");
    [prepared, step]
}

/// Whether a call has given up the collector, as it may on a busy machine: its spans are not there, and the
/// next calls of the same pod wait for next to nothing.
fn gave_up(called: &Called) -> bool {
    called.stdout.contains("the collector did not answer within")
}

/// The same of one of a job's calls.
fn is_late<T>((calls, _): &([Called; 2], T)) -> bool {
    calls.iter().any(gave_up)
}

#[tokio::test]
async fn every_call_is_a_tree_of_spans_in_githubs_own_trace() {
    let played = again_if(is_late, async || {
        let mut rig = Rig::start().await?;
        let (address, received) = http_collector().await;
        know_the_run(&mut rig);
        wait_for_the_collector(&mut rig);
        rig.set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}"));
        Some((play(&rig).await, received))
    });
    let Some(([_, step], received)) = played.await else { return };

    let all = spans(&received);
    assert!(all.iter().all(|span| hex(&span.trace_id) == "731ec8a47fd7450f753a812a4a8aa5a0"));
    let find = |name: &str| {
        all.iter().find(|span| span.name == name).unwrap_or_else(|| {
            panic!("no {name} in {:?}", all.iter().map(|span| &span.name).collect::<Vec<_>>())
        })
    };
    let prepare = find("prepare_job");
    assert_eq!(hex(&prepare.parent_span_id), job().span().span_id.to_string());
    assert_eq!(attribute(prepare, "cicd.pipeline.task.run.result").as_deref(), Some("success"));
    let patch = find("patch pods/ephemeralcontainers");
    assert_eq!(patch.parent_span_id, prepare.span_id);
    assert_eq!(attribute(patch, "http.response.status_code").as_deref(), Some("200"));
    let wait = find("wait for init");
    assert_eq!(attribute(wait, "k8s.container.name").as_deref(), Some("job"));
    assert_eq!(attribute(wait, "container.image.name").as_deref(), Some("init"));
    let call = find("run_script_step");
    assert_eq!(attribute(call, "process.exit.code").as_deref(), Some("42"));
    assert_eq!(attribute(call, "cicd.pipeline.task.run.result").as_deref(), Some("failure"));
    assert_eq!(attribute(call, "error.type").as_deref(), Some("exit_code"));
    assert_eq!(call.status.as_ref().unwrap().code, 2);
    for name in ["connect", "run"] {
        let child = find(name);
        assert_eq!(child.parent_span_id, call.span_id, "{name}");
        assert!(child.start_time_unix_nano >= call.start_time_unix_nano);
        assert!(child.end_time_unix_nano <= call.end_time_unix_nano);
    }
    // The step's own spans hang under the step, as the hook's call does.
    let parent = Traceparent::parse(step.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(parent.span_id.to_string(), hex(&call.parent_span_id));

    let requests = received.lock().unwrap();
    let resource = requests[0].resource_spans[0].resource.as_ref().unwrap();
    let value = |name: &str| {
        let found = resource.attributes.iter().find(|attribute| attribute.key == name)?;
        match found.value.as_ref()?.value.as_ref()? {
            Any::StringValue(text) => Some(text.clone()),
            _ => None,
        }
    };
    assert_eq!(value("service.name").as_deref(), Some("ephemon-hook"));
    assert_eq!(value("cicd.pipeline.run.id").as_deref(), Some("14460881260"));
    assert_eq!(value("vcs.repository.name").as_deref(), Some("r"));
    let text = format!("{requests:?}");
    for secret in ["hunter2", "ghs_", "from the step", "exit 42"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn spans_go_by_grpc_too() {
    let played = again_if(is_late, async || {
        let mut rig = Rig::start().await?;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, received) = (listener.local_addr().unwrap(), Received::default());
        let service = TraceServiceServer::new(Grpc(Arc::clone(&received)));
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        tokio::spawn(
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming),
        );
        rig.set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("http://{address}"));
        rig.set("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        wait_for_the_collector(&mut rig);
        Some((play(&rig).await, received))
    });
    let Some((_, received)) = played.await else { return };
    let all = spans(&received);
    assert!(all.iter().any(|span| span.name == "run_script_step"), "{all:?}");
}

#[tokio::test]
async fn spans_go_through_a_proxy_and_with_the_headers_that_were_set() {
    for wire in [Wire::Http, Wire::Grpc] {
        let played = again_if(is_late, async || {
            let mut rig = Rig::start().await?;
            let collector = Collector::start(wire, None).await;
            let proxy = Proxy::start(Manner { wants: Some("ci:hunter2"), ..Manner::default() });
            wait_for_the_collector(&mut rig);
            let endpoint = collector.endpoint().replace("localhost", COLLECTOR);
            rig.set("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
            rig.set("OTEL_EXPORTER_OTLP_PROTOCOL", collector.protocol());
            rig.set("OTEL_EXPORTER_OTLP_COMPRESSION", "GZIP");
            rig.set("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x,content-type=odd");
            // The API server has no proxy by these.
            rig.set("HTTP_PROXY", &proxy.url("ci:hunter2@"));
            rig.set("HTTPS_PROXY", &proxy.url("ci:hunter2@"));
            Some((play(&rig).await, (collector, proxy)))
        });
        let Some(([_, step], (collector, proxy))) = played.await else { return };
        assert!(!proxy.asked().is_empty());
        let headers = collector.headers();
        assert!(!headers.is_empty(), "{step:?}");
        for headers in headers {
            assert_eq!(headers["authorization"], "Bearer x");
            assert_eq!(headers.get_all("authorization").iter().count(), 1);
            assert!(!headers.contains_key("proxy-authorization"));
        }
        let traces = collector.traces();
        let resource = traces.iter().flat_map(|request| &request.resource_spans).next().unwrap();
        assert!(resource.schema_url.starts_with("https://opentelemetry.io/schemas/"));
    }
}

#[tokio::test]
async fn spans_go_over_tls_with_the_certificates_that_the_variables_name() {
    let (pki, home) = (Pki::new(), tempfile::tempdir().unwrap());
    let files = pki.write(home.path());
    for wire in [Wire::Http, Wire::Grpc] {
        let played = again_if(is_late, async || {
            let mut rig = Rig::start().await?;
            let collector = Collector::start(wire, Some(&pki)).await;
            wait_for_the_collector(&mut rig);
            rig.set("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint());
            rig.set("OTEL_EXPORTER_OTLP_PROTOCOL", collector.protocol());
            rig.set("OTEL_EXPORTER_OTLP_CERTIFICATE", files.authority.to_str().unwrap());
            rig.set("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", files.certificate.to_str().unwrap());
            rig.set("OTEL_EXPORTER_OTLP_CLIENT_KEY", files.key.to_str().unwrap());
            Some((play(&rig).await, collector))
        });
        let Some(([_, step], collector)) = played.await else { return };
        assert!(!collector.traces().is_empty(), "{wire:?}: {step:?}");
    }
}

#[tokio::test]
async fn what_the_way_to_the_collector_lacks_is_told_where_the_workflow_is_debugged() {
    let proxy = Proxy::start(Manner { wants: Some("ci:hunter2"), ..Manner::default() });
    for (protocol, said) in [
        ("grpc", format!("the proxy {} of ALL_PROXY requires valid credentials", proxy.url(""))),
        ("http/protobuf", "status code: 407".to_owned()),
    ] {
        let step = again_if(gave_up, async || {
            let mut rig = Rig::start().await?;
            let state = rig.prepared().await;
            wait_for_the_collector(&mut rig);
            rig.set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{COLLECTOR}:4318"));
            rig.set("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
            rig.set("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd");
            rig.set("ALL_PROXY", &proxy.url("ci:hunter3@"));
            Some(rig.call("run_script_step", &rig.script("echo on"), &state).await)
        });
        let Some(step) = step.await else { return };
        assert_eq!(step.code, 0, "{step:?}");
        let debug = step.stdout.lines().filter(|line| line.starts_with("::debug::"));
        let debug: Vec<&str> = debug.collect();
        let has = |said: &str| debug.iter().any(|line| line.contains(said));
        assert!(has(&said) && has("OTEL_EXPORTER_OTLP_COMPRESSION is ignored"), "{debug:?}");
        assert!(!has("hunter"), "{debug:?}");
    }
}

#[tokio::test]
async fn a_dead_or_silent_collector_costs_next_to_nothing() {
    let Some(mut rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = SocketAddr::from(([127, 0, 0, 1], ports::free()));
    for (address, word) in [(silent.local_addr().unwrap(), "did not answer"), (gone, "exported")] {
        rig.env.clear();
        rig.set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}"));
        rig.set(WAIT, "1s");
        for protocol in ["grpc", "http/protobuf"] {
            rig.set("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
            let step = rig.call("run_script_step", &rig.script("echo on"), &state).await;
            assert_eq!(step.code, 0, "{step:?}");
            let debug =
                step.stdout.lines().find(|line| line.starts_with("::debug::spans")).unwrap();
            // Its own patience ended, of a quarter of a second; not the exporter's, of ten.
            assert!(debug.contains(word), "{debug}");
            let ignored = format!("::debug::{WAIT} is ignored: 1s is not a number of milliseconds");
            assert!(step.stdout.contains(&ignored), "{step:?}");
        }
    }
}

/// The runner would kill it before its exit code is out.
#[tokio::test]
async fn the_call_of_a_cancelled_step_does_not_wait_for_a_collector_as_long_as_it_may() {
    let Some(mut rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rig.set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", silent.local_addr().unwrap()));
    rig.set(WAIT, "5000");
    let script = "trap 'exit 5' INT; echo ready > /__w/ready; while :; do sleep 0.05; done";
    let step = rig.begin("run_script_step", &rig.script(script), &state).await;
    wait_for(&rig.path("_work/ready")).await;
    step.signal(Signal::INT);
    let step = step.finish().await;
    assert_eq!(step.code, 5, "{step:?}");
    assert!(step.stdout.contains("the collector did not answer within 500 ms"), "{step:?}");
    // That says nothing of a collector that may take five seconds: the next calls wait as before.
    assert!(!rig.path("ephemon/run/_collector_silent").exists());
}

#[tokio::test]
async fn steps_and_containers_are_told_their_trace_context() {
    let Some(mut rig) = Rig::start().await else { return };
    know_the_run(&mut rig);
    rig.set("TRACESTATE", "vendor=1");
    rig.set("BAGGAGE", "team=ci");
    let state = rig.prepared().await;
    let script = "echo $TRACEPARENT $TRACESTATE $BAGGAGE; cat /proc/1/environ >/dev/null || :";
    let step = rig.call("run_script_step", &rig.script(script), &state).await;
    let line = step.stdout.lines().next().unwrap();
    let (context, rest) = line.split_once(' ').unwrap();
    assert_eq!(rest, "vendor=1 team=ci");
    let context = Traceparent::parse(context).unwrap();
    assert_eq!(context.trace_id, job().run.trace_id());
    let spec: Value = serde_json::from_str(&rig.spec()).unwrap();
    let env = spec["ephemeralContainers"][0]["env"].as_array().unwrap();
    let wanted = json!({"name": "TRACEPARENT", "value": job().container_span("job").to_string()});
    assert!(env.contains(&wanted), "{env:?}");

    let journal = fs::read_to_string(rig.path("ephemon/journal/job.jsonl")).unwrap();
    let started = journal.lines().find(|line| line.contains("step_started")).unwrap();
    let started: Value = serde_json::from_str(started).unwrap();
    let hook = fs::read_to_string(rig.path("ephemon/journal/_hook.jsonl")).unwrap();
    let phase: Value = serde_json::from_str(hook.lines().last().unwrap()).unwrap();
    assert_eq!(phase["traceparent"], context.to_string());
    // Whoever reads the journals comes to the same id, by init's as by the hook's.
    for (id, called_ns) in
        [(&phase["name"], &phase["at_ns"]), (&started["id"], &started["called_ns"])]
    {
        let derived = job().step_span(id.as_str().unwrap(), called_ns.as_u64().unwrap());
        assert_eq!(derived, context);
    }

    let mut own = rig.script("echo $TRACEPARENT");
    own["environmentVariables"]["TRACEPARENT"] = json!("of the workflow");
    let step = rig.call("run_script_step", &own, &state).await;
    assert!(step.stdout.starts_with("of the workflow\n"), "{step:?}");
}

#[tokio::test]
async fn without_a_run_nothing_is_told() {
    let Some(rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    let step = rig.call("run_script_step", &rig.script("echo \"<$TRACEPARENT>\""), &state).await;
    assert!(step.stdout.starts_with("<>\n"), "{step:?}");
    assert!(!rig.spec().contains("TRACEPARENT"));
}
