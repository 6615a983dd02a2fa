//! The server of these tests: it answers by a script, and anything else asked of it fails the test.

use ephemon_discovery::api::{Options, Patience, Watch};
use ephemon_discovery::debug_containers::DebugContainers;
use ephemon_discovery::inventory::{Inventory, Verdict};
use ephemon_model::PodUid;
use ephemon_self_metrics::SelfMetrics;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{TOKEN, WHOLE_WATCH};

/// A busy machine lets nobody wait for so long: only a test that wants the client to give up a silent
/// server has less.
pub(super) const PATIENCE: Patience = Patience {
    answer: Duration::from_mins(1),
    event: Duration::from_mins(1),
    whole_watch: WHOLE_WATCH,
    first_pause: Duration::from_millis(10),
    longest_pause: Duration::from_millis(50),
};

/// What the client must ask next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    List,
    Page(&'static str),
    Watch(&'static str),
}

/// What it gets.
#[derive(Debug)]
pub(super) enum Reply {
    /// A whole answer.
    Whole(u16, Value),
    /// Lines of a watch, then the end.
    Lines(Vec<Value>, End),
    /// Nothing, with the connection open.
    Hang,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Orderly,
    Cut,
    Hold,
}

pub(super) struct Rig {
    pub(super) inventory: Inventory,
    pub(super) debug: DebugContainers,
    pub(super) listed: oneshot::Receiver<()>,
    pub(super) asked: Arc<Mutex<Asked>>,
    watch: JoinHandle<()>,
    pub(super) log: Log,
    _kubeconfig: tempfile::NamedTempFile,
    _quiet: tracing::subscriber::DefaultGuard,
}

#[derive(Debug, Default)]
pub(super) struct Asked {
    left: VecDeque<(Ask, Reply)>,
    wrong: Vec<String>,
    queries: Vec<String>,
}

#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

// === impl Log ===

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

// === impl Rig ===

impl Rig {
    /// Runs the watch against a server that follows the script.
    pub(super) async fn start(script: impl IntoIterator<Item = (Ask, Reply)>) -> Self {
        Self::start_with(PATIENCE, script).await
    }

    /// The same with a client that gives up a silent server sooner or later.
    pub(super) async fn start_with(
        patience: Patience,
        script: impl IntoIterator<Item = (Ask, Reply)>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let rig = Self::connect_with(patience, &format!("http://{address}"), script).await;
        tokio::spawn(serve(listener, rig.asked.clone()));
        rig
    }

    pub(super) async fn connect(url: &str, script: impl IntoIterator<Item = (Ask, Reply)>) -> Self {
        Self::connect_with(PATIENCE, url, script).await
    }

    async fn connect_with(
        patience: Patience,
        url: &str,
        script: impl IntoIterator<Item = (Ask, Reply)>,
    ) -> Self {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let quiet = tracing::subscriber::set_default(subscriber);
        let kubeconfig = kubeconfig(url);
        let options = Options { patience, ..options(kubeconfig.path()) };
        let watch = Watch::connect(options).await.unwrap();
        assert!(watch.url().starts_with("http"));
        let inventory = Inventory::with_api(SelfMetrics::new().unwrap());
        let (listed_tx, listed) = oneshot::channel();
        let asked = Asked { left: script.into_iter().collect(), ..Asked::default() };
        let told = inventory.clone();
        let debug = DebugContainers::default();
        let listed_debug = Some(debug.clone());
        Self {
            inventory,
            debug,
            listed,
            asked: Arc::new(Mutex::new(asked)),
            watch: tokio::spawn(async move {
                watch.run(told, listed_debug, None, listed_tx).await;
            }),
            log,
            _kubeconfig: kubeconfig,
            _quiet: quiet,
        }
    }

    /// Waits for `condition`; a test that waits in vain fails with what was asked and logged.
    pub(super) async fn until(&self, what: &str, condition: impl Fn(&Inventory) -> bool) {
        for _ in 0..12_000 {
            if condition(&self.inventory) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not seen: {what}\n{:?}\n{}", self.asked.lock().unwrap(), self.log.text());
    }

    pub(super) async fn until_logged(&self, text: &str) {
        self.until(text, |_| self.log.text().contains(text)).await;
    }

    /// Waits until the script's last request has come.
    pub(super) async fn until_done(&self) {
        self.until("the last request", |_| self.asked.lock().unwrap().left.is_empty()).await;
    }

    pub(super) fn verdict(&self, n: u32) -> Verdict {
        self.inventory.verdict(&uid(n))
    }

    /// The script was followed to its end and the token was never shown.
    pub(super) fn finish(self) -> Vec<String> {
        self.watch.abort();
        let asked = self.asked.lock().unwrap();
        assert_eq!(asked.wrong, Vec::<String>::new(), "{}", self.log.text());
        assert!(asked.left.is_empty(), "never asked for: {:?}", asked.left);
        assert!(!self.log.text().contains(TOKEN), "{}", self.log.text());
        asked.queries.clone()
    }
}

pub(super) fn options(kubeconfig: &Path) -> Options {
    Options {
        kubeconfig: Some(kubeconfig.to_owned()),
        node_name: "node1".into(),
        pod_selectors: vec!["actions-ephemeral-runner=True".into()],
        ci_systems: ephemon_discovery::api::CiSystems::default(),
        patience: PATIENCE,
    }
}

pub(super) fn kubeconfig(url: &str) -> tempfile::NamedTempFile {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(config.to_string().as_bytes()).unwrap();
    file
}

pub(super) async fn serve(listener: TcpListener, asked: Arc<Mutex<Asked>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let asked = asked.clone();
        tokio::spawn(async move { answer(stream, &asked).await });
    }
}

/// One request on one connection. The peer may hang up on us at any time.
pub(super) async fn answer(mut stream: TcpStream, asked: &Mutex<Asked>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.to_lowercase().contains(&format!("authorization: bearer {TOKEN}")));
    let query = head.split(' ').nth(1).unwrap().to_owned();
    match next(asked, query) {
        Reply::Whole(status, body) => {
            let body = body.to_string();
            let length = body.len();
            let text = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            stream.write_all(text.as_bytes()).await.ok()?;
        }
        Reply::Lines(lines, end) => {
            // Kept, the connection would be taken for the next request before its end was seen.
            let mut text = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                            connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
                .to_owned();
            for line in lines {
                let line = line.to_string();
                write!(text, "{:x}\r\n{line}\n\r\n", line.len() + 1).unwrap();
            }
            stream.write_all(text.as_bytes()).await.ok()?;
            if matches!(end, End::Orderly) {
                tokio::time::sleep(WHOLE_WATCH).await;
                stream.write_all(b"0\r\n\r\n").await.ok()?;
            }
            if matches!(end, End::Hold) {
                hold(stream).await;
            }
        }
        Reply::Hang => hold(stream).await,
    }
    Some(())
}

/// Keeps the connection until the peer hangs up.
pub(super) async fn hold(mut stream: TcpStream) {
    while matches!(stream.read(&mut [0; 64]).await, Ok(read) if read > 0) {}
}

pub(super) fn next(asked: &Mutex<Asked>, query: String) -> Reply {
    let mut asked = asked.lock().unwrap();
    let fits = |ask: &Ask| match ask {
        Ask::List => !query.contains("watch=") && !query.contains("continue="),
        Ask::Page(token) => query.contains(&format!("continue={token}")),
        Ask::Watch(version) => {
            query.contains("watch=true") && query.ends_with(&format!("resourceVersion={version}"))
        }
    };
    let reply = match asked.left.pop_front() {
        Some((ask, reply)) if fits(&ask) => reply,
        other => {
            asked.wrong.push(format!("{query} instead of {other:?}"));
            Reply::Hang
        }
    };
    asked.queries.push(query);
    reply
}

pub(super) fn uid(n: u32) -> PodUid {
    PodUid::parse(&format!("{n:08x}-f505-4963-9096-958063077203")).unwrap()
}

pub(super) fn pod(n: u32, version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("pod-{n}"), "namespace": "default", "uid": uid(n).as_str(),
            "resourceVersion": version,
        },
        "spec": {"containers": [{"name": "runner"}]},
    })
}

pub(super) fn list(version: &str, pods: &[u32]) -> Reply {
    Reply::Whole(200, pod_list(json!({"resourceVersion": version}), pods))
}

pub(super) fn pod_list(metadata: Value, pods: &[u32]) -> Value {
    let items: Vec<_> = pods.iter().map(|n| pod(*n, "1")).collect();
    let mut list = json!({"kind": "PodList", "apiVersion": "v1", "items": items});
    list["metadata"] = metadata;
    list
}

pub(super) fn event(kind: &str, object: Value) -> Value {
    let mut event = json!({"type": kind});
    event["object"] = object;
    event
}

pub(super) fn failure(code: u16) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("refused with {code}"), "reason": "Because", "code": code,
    })
}

pub(super) fn open_watch(version: &'static str) -> (Ask, Reply) {
    (Ask::Watch(version), Reply::Lines(vec![], End::Hold))
}
