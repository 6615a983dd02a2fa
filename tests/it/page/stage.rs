//! The agent's server with a page whose jobs, samples and lines are made up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use ephemon_agent::admin::Admin;
use ephemon_agent::readiness::Readiness;
use ephemon_base::clock;
use ephemon_capture::readings::Readings;
use ephemon_discovery::inventory::Inventory;
use ephemon_history::{History, Sample};
use ephemon_jobs::Job;
use ephemon_jobs::story::{self, Story};
use ephemon_logs::{NewLine, Tail};
use ephemon_metrics::{Metrics, Options};
use ephemon_model::{Limit, LogStream, PodRef, PodUid, Usage};
use ephemon_page::{Board, LogSource, Page, Parts};
use ephemon_sanitize::Severity;
use ephemon_self_metrics::SelfMetrics;
use tokio::sync::oneshot;

/// The server; it ends when dropped.
pub(super) struct Stage {
    address: SocketAddr,
    board: Board,
    history: History,
    tail: Tail,
    stop_tx: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Stage {
    pub(super) fn new() -> Self {
        let (board, history, tail) = (Board::default(), History::default(), Tail::default());
        let page = Page::new(Parts {
            node: "node-1".into(),
            board: board.clone(),
            history: history.clone(),
            log: LogSource::Tail(tail.clone()),
            run_url: |_| Some("javascript:window.pwned=1//https://x".into()),
            trace_url: Some("https://jaeger.example/trace/{trace_id}?{job}".parse().unwrap()),
            logs_url: None,
        });
        let (address_tx, address_rx) = std::sync::mpsc::channel();
        let (stop_tx, stop_rx) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let self_metrics = SelfMetrics::new().unwrap();
                let (readings, inventory) = (Readings::default(), Inventory::default());
                let metrics =
                    Metrics::new(readings, inventory, self_metrics.clone(), Options::default());
                let listen = SocketAddr::from(([127, 0, 0, 1], 0));
                let admin = Admin::bind(listen, metrics, Readiness::default(), self_metrics);
                let admin = admin.await.unwrap().with_page(page);
                address_tx.send(admin.local_addr()).unwrap();
                admin.serve(async { drop(stop_rx.await) }).await;
            });
        });
        let address = address_rx.recv().unwrap();
        let (stop_tx, thread) = (Some(stop_tx), Some(thread));
        Self { address, board, history, tail, stop_tx, thread }
    }

    /// An address of the page.
    pub(super) fn url(&self, fragment: &str) -> String {
        format!("http://{}/{fragment}", self.address)
    }

    pub(super) fn show(&self, job: &Job) {
        self.board.put(Arc::new(job.clone()), clock::now_ns());
    }

    /// The job is over.
    pub(super) fn end(&self, job: &Job) {
        let mut job = job.clone();
        job.window.end = Some(ephemon_jobs::Stamp { ns: clock::now_ns(), ..job.window.start });
        job.outcome = ephemon_jobs::Outcome::of_code(1);
        self.show(&job);
        self.board.over(&job.pod.uid, clock::now_ns());
    }

    /// A minute of samples of the job's containers, with an out-of-memory kill and throttling.
    pub(super) fn sample(&self, job: &Job) {
        let began_ms = job.window.start.ns / 1_000_000;
        for container in job.containers.iter().filter(|one| one.id.is_some()) {
            for second in 1..60_u64 {
                let mut usage = Usage::default();
                usage.cpu.usage_ns = Some(second * 300_000_000);
                usage.cpu.throttled_ns = Some(second / 20 * 200_000_000);
                usage.cpu.limit_millis = Some(Limit::At(500));
                usage.memory.working_set_bytes = Some(second << 20);
                usage.memory.limit_bytes = Some(Limit::At(100 << 20));
                usage.memory.events.oom_kill = Some(second / 40);
                self.history.add(&Sample {
                    pod: &job.pod.uid,
                    id: container.id.as_ref().unwrap(),
                    created_ms: began_ms,
                    at_ms: began_ms + second * 1000,
                    usage: &usage,
                    complete: true,
                    last: false,
                });
            }
        }
    }

    pub(super) fn log(&self, job: &Job, text: &str) {
        self.tail.push(NewLine {
            pod: &job.pod.uid,
            container: &job.containers[0].name,
            at_ns: clock::now_ns(),
            stream: LogStream::Stderr,
            severity: Severity::Error,
            body: text.as_bytes(),
        });
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.stop_tx.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// A job that began a minute ago, known by its number.
pub(super) fn running_job(number: u64) -> Job {
    let uid = PodUid::parse(&format!("0e269fa4-f505-4963-9096-{number:012}")).unwrap();
    let mut job = Story::whole().job_evidence().job(None).unwrap();
    job.pod = Arc::new(PodRef { uid, ..(*story::pod()).clone() });
    job.identity.display_name = Some(format!("number {number}").into());
    // The story is of 1970.
    let began_ns = clock::now_ns() - 60_000_000_000;
    let later = began_ns - job.window.start.ns;
    job.window.start.ns += later;
    job.window.end = None;
    for step in &mut job.steps {
        step.window.start.ns += later;
        step.window.end = step.window.end.map(|mut end| {
            end.ns += later;
            end
        });
    }
    for container in &mut job.containers {
        container.window.start.ns += later;
        container.window.end = None;
        container.born_ns = container.born_ns.map(|ns| ns + later);
    }
    job
}
