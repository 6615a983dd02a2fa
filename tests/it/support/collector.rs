//! A collector in the process: takes OTLP over gRPC or HTTP, keeps what it took, and is in the mood
//! that a scenario puts it in.

mod grpc;
mod http;
pub(crate) mod pki;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use ephemon_base::lock;
use hyper::HeaderMap;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tonic::Code;

use super::ports;

use pki::Pki;

/// What is waited for longer than this will not come.
const PATIENCE: Duration = Duration::from_mins(1);

/// By which protocol it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Grpc,
    Http,
}

/// How it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mood {
    Accept,
    /// Answers with a status, and perhaps a wish when to come again.
    Refuse {
        grpc: Code,
        http: u16,
        after: Option<Duration>,
    },
    /// Never answers.
    Stall,
    /// Takes all but so many items.
    Partial(i64),
    /// Takes requests of at most so many bytes.
    AtMost(usize),
}

/// A running collector; ends when dropped.
#[derive(Debug)]
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    wire: Wire,
    pki: Option<Pki>,
    state: Arc<State>,
    serving: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// What the servers share.
#[derive(Debug, Default)]
struct State {
    seen: Mutex<Seen>,
    /// Something came in.
    news: Notify,
}

/// All that came in, and how the next requests are answered.
#[derive(Debug, Default)]
struct Seen {
    logs: Vec<ExportLogsServiceRequest>,
    traces: Vec<ExportTraceServiceRequest>,
    metrics: Vec<ExportMetricsServiceRequest>,
    /// Of each request, taken or not.
    headers: Vec<HeaderMap>,
    mood: Option<Mood>,
    next: VecDeque<Mood>,
}

/// A request of any signal.
#[derive(Debug)]
enum Export {
    Logs(ExportLogsServiceRequest),
    Traces(ExportTraceServiceRequest),
    Metrics(ExportMetricsServiceRequest),
}

/// What is wrong with a request.
struct Refusal {
    grpc: Code,
    http: u16,
    message: String,
    after: Option<Duration>,
}

// === impl Collector ===

impl Collector {
    /// Listens on a port of its own; over TLS, with client certificates, where there is a `pki`.
    pub(crate) async fn start(wire: Wire, pki: Option<&Pki>) -> Self {
        Self::begin(Ipv4Addr::LOCALHOST.into(), wire, pki).await
    }

    /// Listens on another address of this machine, without TLS.
    pub(crate) async fn start_on(address: IpAddr, wire: Wire) -> Self {
        Self::begin(address, wire, None).await
    }

    async fn begin(address: IpAddr, wire: Wire, pki: Option<&Pki>) -> Self {
        let address = SocketAddr::new(address, ports::free_on(address));
        let state = Arc::default();
        let mut collector = Self { address, wire, pki: pki.cloned(), state, serving: None };
        collector.revive().await;
        collector
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn endpoint(&self) -> String {
        let scheme = if self.pki.is_some() { "https" } else { "http" };
        if self.address.ip().is_loopback() {
            return format!("{scheme}://localhost:{}", self.address.port());
        }
        format!("{scheme}://{}", self.address)
    }

    /// For `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub(crate) fn protocol(&self) -> &'static str {
        match self.wire {
            Wire::Grpc => "grpc",
            Wire::Http => "http/protobuf",
        }
    }

    /// Answers so from now on.
    pub(crate) fn be(&self, mood: Mood) {
        self.seen().mood = Some(mood);
    }

    /// Answers so to the next requests, one each.
    pub(crate) fn be_next(&self, moods: impl IntoIterator<Item = Mood>) {
        self.seen().next.extend(moods);
    }

    /// The requests of logs that were taken.
    pub(crate) fn logs(&self) -> Vec<ExportLogsServiceRequest> {
        self.seen().logs.clone()
    }

    /// The requests of traces that were taken.
    pub(crate) fn traces(&self) -> Vec<ExportTraceServiceRequest> {
        self.seen().traces.clone()
    }

    /// The requests of metrics that were taken.
    pub(crate) fn metrics(&self) -> Vec<ExportMetricsServiceRequest> {
        self.seen().metrics.clone()
    }

    /// The headers of each request, taken or not.
    pub(crate) fn headers(&self) -> Vec<HeaderMap> {
        self.seen().headers.clone()
    }

    /// How often something was sent.
    pub(crate) fn attempts(&self) -> usize {
        self.seen().headers.len()
    }

    /// Waits until this is so.
    ///
    /// # Panics
    /// If it is not so after a minute.
    pub(crate) async fn until(&self, so: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let news = self.state.news.notified();
                if so(self) {
                    return;
                }
                news.await;
            }
        });
        assert!(waited.await.is_ok(), "the collector waited in vain: {:?}", self.seen());
    }

    /// Ends with all its connections. What was taken stays.
    pub(crate) async fn die(&mut self) {
        if let Some((stop_tx, thread)) = self.serving.take() {
            drop(stop_tx);
            tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
        }
    }

    /// Serves, again on the same port.
    pub(crate) async fn revive(&mut self) {
        let listener = ports::listen(self.address);
        listener.set_nonblocking(true).unwrap();
        let (wire, pki, state) = (self.wire, self.pki.clone(), Arc::clone(&self.state));
        let (stop_tx, stop_rx) = oneshot::channel();
        // With a runtime of its own: its end is the end of every connection.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                let serve = async {
                    match wire {
                        Wire::Grpc => grpc::serve(listener, pki, state).await,
                        Wire::Http => http::serve(listener, pki, state).await,
                    }
                };
                tokio::select! {
                    () = serve => {}
                    _ = stop_rx => {}
                }
            });
        });
        self.serving = Some((stop_tx, thread));
        tokio::task::yield_now().await;
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.state.seen()
    }
}

// === impl State ===

impl State {
    /// Takes a request or does not. Answers with how many items were not taken.
    async fn answer(
        &self,
        headers: HeaderMap,
        bytes: usize,
        export: Export,
    ) -> Result<i64, Refusal> {
        let mood = {
            let mut seen = self.seen();
            seen.headers.push(headers);
            let mood = seen.next.pop_front().or_else(|| seen.mood.clone());
            let mood = mood.unwrap_or(Mood::Accept);
            let fits = !matches!(mood, Mood::AtMost(most) if bytes > most);
            if fits && !matches!(mood, Mood::Refuse { .. } | Mood::Stall) {
                match export {
                    Export::Logs(request) => seen.logs.push(request),
                    Export::Traces(request) => seen.traces.push(request),
                    Export::Metrics(request) => seen.metrics.push(request),
                }
            }
            mood
        };
        self.news.notify_waiters();
        match mood {
            Mood::Partial(rejected) => Ok(rejected),
            Mood::Stall => std::future::pending().await,
            Mood::AtMost(most) if bytes > most => Err(Refusal {
                grpc: Code::ResourceExhausted,
                http: 413,
                message: format!("grpc: received message larger than max ({bytes} vs. {most})"),
                after: None,
            }),
            Mood::Accept | Mood::AtMost(_) => Ok(0),
            Mood::Refuse { grpc, http, after } => {
                Err(Refusal { grpc, http, message: "not in the mood".into(), after })
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}
