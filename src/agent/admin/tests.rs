//! The server over real sockets.

mod crowd;
mod web;

use std::time::SystemTime;

use ephemon_capture::readings::{Readings, Record};
use ephemon_discovery::inventory::Inventory;
use ephemon_metrics::Options;
use ephemon_model::{ContainerId, Ended, IoUsage, PodUid, Quality, Usage};
use ephemon_self_metrics::SelfMetrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::conversation::MAX_HEAD;
use super::*;

struct Server {
    address: SocketAddr,
    readings: Readings,
    metrics: Metrics,
    readiness: Readiness,
    self_metrics: SelfMetrics,
    stop_tx: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// After this time an event is assumed not to happen.
const PATIENCE: Duration = Duration::from_mins(2);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it never comes")
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Metrics of an agent that has run for longer than any retention time.
fn metrics(readings: &Readings, self_metrics: &SelfMetrics) -> Metrics {
    let options = Options::default();
    let options =
        Options { began: options.began.checked_sub(options.retain_ended).unwrap(), ..options };
    Metrics::new(readings.clone(), Inventory::default(), self_metrics.clone(), options)
}

async fn server() -> Server {
    server_with(|admin| admin).await
}

async fn server_with(settings: impl FnOnce(Admin) -> Admin) -> Server {
    let (readings, readiness) = (Readings::default(), Readiness::default());
    let self_metrics = SelfMetrics::new().unwrap();
    let metrics = metrics(&readings, &self_metrics);
    let admin = Admin::bind(any_port(), metrics.clone(), readiness.clone(), self_metrics.clone());
    let admin = settings(admin.await.unwrap());
    let address = admin.local_addr();
    let (stop_tx, stop_rx) = oneshot::channel();
    let task = tokio::spawn(admin.serve(async { drop(stop_rx.await) }));
    Server { address, readings, metrics, readiness, self_metrics, stop_tx, task }
}

/// Sends a request on a connection and reads the complete response, which must have a length.
async fn ask_on<S>(stream: &mut S, request: &str) -> io::Result<String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer);
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.len());
        if body.is_some() && body == length.and_then(|length| length.parse().ok()) {
            return Ok(text.into_owned());
        }
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

impl Server {
    async fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(&self, path: &str, headers: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"))
            .await
    }

    fn enter_ended(&self, usage: Usage) {
        let at = SystemTime::now() - Duration::from_mins(1);
        self.readings.enter(Record {
            id: ContainerId::parse(&"a0".repeat(32)).unwrap(),
            pod: PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap(),
            created: at,
            is_birth_seen: true,
            read_at: at,
            nested: false,
            usage,
            ended: Some(Ended { at, quality: Quality::Exact }),
        });
    }
}

#[tokio::test]
async fn each_format_comes_with_its_content_type() {
    let server = server().await;
    let plain = server.get("/metrics", "Accept: */*\r\n").await;
    assert!(plain.starts_with("HTTP/1.1 200 OK\r\n"), "{plain}");
    assert!(plain.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(plain.contains("# TYPE ephemon_agent_build_info gauge\n"));
    let accept = "Accept: text/plain;q=0.5\r\nAccept: application/openmetrics-text\r\n";
    let open = server.get("/metrics", accept).await;
    assert!(
        open.contains(
            "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"
        )
    );
    assert!(open.ends_with("# EOF\n"));
}

#[tokio::test]
async fn readiness_lists_what_is_missing() {
    let server = server().await;
    let condition = server.readiness.condition("the first list of pods");
    let answer = server.get("/readyz", "").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("- the first list of pods\n"), "{answer}");
    assert!(server.get("/healthz", "").await.starts_with("HTTP/1.1 200 "));
    condition.met();
    assert!(server.get("/readyz", "").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn what_is_not_served_is_said_helpfully() {
    let server = server().await;
    assert!(server.get("/", "").await.contains("/metrics"));
    let missing = server.get("/metrics/", "").await;
    assert!(missing.starts_with("HTTP/1.1 404 ") && missing.contains("/metrics"), "{missing}");
    let post =
        "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let refused = server.ask(post).await;
    assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
    assert!(refused.contains("allow: GET, HEAD\r\n"), "{refused}");
    let head = "HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let head = server.ask(head).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    let big = format!("X: {}\r\n", "y".repeat(2 * MAX_HEAD));
    assert!(server.get("/", &big).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_container_that_was_read_to_the_end_twice_is_forgotten() {
    let server = server().await;
    server.enter_ended(Usage::default());
    for _ in 0..3 {
        let head = "HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        server.ask(head).await;
    }
    for _ in 0..2 {
        assert_eq!(server.readings.snapshot().containers.len(), 1);
        let answer = server.get("/metrics", "").await;
        assert!(answer.contains("container=\"a0a0a0a0a0a0\""), "{answer}");
    }
    server.metrics.sweep();
    assert_eq!(server.readings.snapshot().containers.len(), 0);
}

/// More text than the kernel buffers for a client that does not read, so it is never written
/// completely.
fn large() -> Usage {
    let io = |minor| IoUsage { minor, read_bytes: Some(1), ..IoUsage::default() };
    Usage { io: (0..45_000).map(io).collect(), ..Usage::default() }
}

#[tokio::test]
async fn a_client_that_hangs_up_early_has_fetched_nothing() {
    let server = server().await;
    server.enter_ended(large());
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut some = [0; 1024];
        stream.read_exact(&mut some).await.unwrap();
        drop(stream);
    }
    // The server sees each hang-up before it ends.
    drop(server.stop_tx);
    server.task.await.unwrap();
    server.metrics.sweep();
    assert_eq!(server.readings.snapshot().containers.len(), 1);
}

#[tokio::test]
async fn shutdown_lets_an_open_connection_end_and_refuses_new_ones() {
    let server = server().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut some = [0; 12];
    idle.read_exact(&mut some).await.unwrap();
    assert_eq!(&some, b"HTTP/1.1 200");
    server.stop_tx.send(()).unwrap();
    server.task.await.unwrap();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn an_address_in_use_is_told_with_what_to_do() {
    let server = server().await;
    let metrics = metrics(&Readings::default(), &server.self_metrics);
    let self_metrics = server.self_metrics.clone();
    let again = Admin::bind(server.address, metrics, Readiness::default(), self_metrics).await;
    let error = again.unwrap_err();
    assert!(matches!(error, BindError::InUse(address) if address == server.address));
    assert!(error.to_string().contains("--listen"), "{error}");
}

#[tokio::test]
async fn a_foreign_address_is_told_with_what_to_do() {
    let foreign = SocketAddr::from(([192, 0, 2, 1], 0));
    let self_metrics = SelfMetrics::new().unwrap();
    let metrics = metrics(&Readings::default(), &self_metrics);
    let error =
        Admin::bind(foreign, metrics, Readiness::default(), self_metrics).await.unwrap_err();
    assert!(matches!(error, BindError::NotOurs(_)), "{error}");
}
