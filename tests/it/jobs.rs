//! Jobs through the real agent, on a node of plain files: counted once, sent once, restarts or not.

mod points;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ephemon::contract::{CgroupDelta, End, Phase, ProcessUsage, Record, StepKind};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tempfile::TempDir;

use crate::support::agent::{Agent, OPEN_METRICS, TEXT};
use crate::support::process::until;

const PATIENCE: Duration = Duration::from_mins(1);
const UID: &str = "0e269fa4-f505-4963-9096-958063077203";

/// One pod of one container, in files: its cgroup, its log's directory, its journals.
struct Node(TempDir);

impl Node {
    fn new() -> Self {
        let node = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(node.at(&format!("var/log/pods/ci_runner-1_{UID}/job"))).unwrap();
        fs::create_dir_all(node.container()).unwrap();
        fs::write(node.at("sys/fs/cgroup/cgroup.controllers"), "cpu memory\n").unwrap();
        fs::write(node.container().join("cpu.stat"), "usage_usec 1500000\n").unwrap();
        fs::write(node.container().join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        fs::create_dir_all(node.journal()).unwrap();
        node
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn pod(&self) -> PathBuf {
        self.at(&format!("sys/fs/cgroup/kubepods/burstable/pod{UID}"))
    }

    fn container(&self) -> PathBuf {
        self.pod().join("a".repeat(64))
    }

    fn journal(&self) -> PathBuf {
        let volumes = format!("var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~empty-dir");
        self.at(&volumes).join("ephemon/journal")
    }

    fn write(&self, file: &str, record: &Record) {
        let path = self.journal().join(format!("{file}.jsonl"));
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(&record.to_line().unwrap()).unwrap();
    }

    fn agent(&self, collector: SocketAddr) -> Agent {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ephemon"));
        command
            .args(["agent", "--no-api", "--node-name", "it"])
            .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("http://{collector}/v1/traces"))
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        Agent::launch(&mut command, self.0.path(), "kubepods")
    }
}

/// A step that fails, by init's and the hook's word.
fn play(node: &Node) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_nanos()).unwrap();
    node.write(
        "job",
        &Record::StepStarted {
            at_ns: now,
            step: 1,
            name: "__run".to_owned(),
            kind: StepKind::Script,
            id: Some("__run".to_owned()),
            traceparent: None,
            pid: 7,
        },
    );
    node.write(
        "job",
        &Record::StepEnded {
            at_ns: now,
            step: 1,
            duration_ns: 0,
            end: End::Code(42),
            cancelled: false,
            process: ProcessUsage::default(),
            cgroup: CgroupDelta { cpu_ns: Some(1_000_000_000), ..CgroupDelta::default() },
        },
    );
    let call = |phase, name: Option<&str>, exit_code| Record::HookPhase {
        at_ns: now,
        phase,
        duration_ns: 0,
        success: exit_code == 0,
        container: None,
        name: name.map(str::to_owned),
        traceparent: None,
        exit_code: Some(exit_code),
    };
    node.write("_hook", &call(Phase::RunScriptStep, Some("__run"), 42));
    node.write("_hook", &call(Phase::CleanupJob, None, 0));
}

/// A collector that takes everything.
fn collector() -> (SocketAddr, Arc<Mutex<Vec<ExportTraceServiceRequest>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let received = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&received);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let all = Arc::clone(&all);
            std::thread::spawn(move || {
                while let Some(body) = request(&mut stream) {
                    all.lock().unwrap().push(ExportTraceServiceRequest::decode(&*body).unwrap());
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n\
                                   content-length: 0\r\n\r\n";
                    stream.write_all(answer).unwrap();
                }
            });
        }
    });
    (address, received)
}

/// The body of one request; none at the connection's end.
fn request(stream: &mut std::net::TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let (_, length) = head.split_once("content-length: ").expect("a length");
    let mut body = vec![0; length.lines().next()?.trim().parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

/// Looks as a scraper does, whose interval is longer than the agent's looks at jobs: a container that
/// was fetched twice is forgotten.
fn shows(agent: &Agent, accept: &str, text: &str) -> bool {
    std::thread::sleep(Duration::from_millis(600));
    agent.get("/metrics", accept).body.contains(text)
}

fn remove(path: &Path) {
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_job_is_counted_and_sent_once_though_the_agent_is_killed_in_the_middle_and_after() {
    let node = Node::new();
    let (address, received) = collector();
    let started =
        "ephemon_job_started_total{namespace=\"ci\",repository=\"\",workflow=\"\",job=\"\"} 1";
    let completed = "result=\"failure\"} 1";

    let agent = node.agent(address);
    node.write(
        "job",
        &Record::ContainerStarted { at_ns: 1, container: "job".into(), pid: 1, uid: 0 },
    );
    let begun = until(PATIENCE, || shows(&agent, TEXT, started).then_some(()));
    assert!(begun.is_some(), "{}", agent.get("/metrics", TEXT).body);
    // Killed, not stopped.
    drop(agent);

    let agent = node.agent(address);
    play(&node);
    remove(&node.container());
    let done = until(PATIENCE, || shows(&agent, TEXT, completed).then_some(()));
    assert!(done.is_some(), "{}\n{}", agent.get("/metrics", TEXT).body, agent.log());
    assert!(shows(&agent, TEXT, started), "counted once");
    let sent = until(PATIENCE, || (!received.lock().unwrap().is_empty()).then_some(()));
    assert!(sent.is_some(), "{}", agent.log());
    let open = agent.get("/metrics", OPEN_METRICS).body;
    let trace = open.split("# {trace_id=\"").nth(1).expect("an exemplar").split('"').next();
    drop(agent);

    // The pod is still there: nothing of it is counted or sent again.
    let agent = node.agent(address);
    assert!(shows(&agent, TEXT, completed) && shows(&agent, TEXT, started));
    agent.stop();
    let all = received.lock().unwrap();
    let spans: Vec<_> = all
        .iter()
        .flat_map(|request| &request.resource_spans)
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| &scope.spans)
        .collect();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names.iter().filter(|name| **name == "__run").count(), 1, "{names:?}");
    assert!(names.contains(&"runner-1") && names.contains(&"cleanup"), "{names:?}");
    let hex =
        spans[0].trace_id.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    assert_eq!(trace, Some(hex.as_str()));
}
