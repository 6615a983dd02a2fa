//! Queue, spool and sender together, with a writer for a collector.

use std::io::Write;
use std::sync::Mutex;

use ephemon_base::lock;
use ephemon_self_metrics as self_metrics;
use ephemon_self_metrics::Reason;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::*;
use crate::spool::Limits;
use crate::{Fate, KeepError, PAYLOAD_BYTES_MAX, Payload, Signal};

/// What was written, line by line; each write needs leave.
#[derive(Clone)]
struct Page {
    text: Arc<Mutex<Vec<u8>>>,
    leave: Arc<Semaphore>,
    runtime: Handle,
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let leave = self.runtime.block_on(self.leave.acquire());
        leave.map_err(std::io::Error::other)?.forget();
        lock(&self.text).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Page {
    fn new(leaves: usize) -> Self {
        let leave = Arc::new(Semaphore::new(leaves));
        Self { text: Arc::default(), leave, runtime: Handle::current() }
    }

    /// The numbers of the payloads in the order in which they came.
    fn numbers(&self) -> Vec<u64> {
        let text = String::from_utf8(self.text.lock().unwrap().clone()).unwrap();
        let number = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["resourceLogs"][0]["schemaUrl"].as_str().unwrap().parse().unwrap()
        };
        text.lines().map(number).collect()
    }
}

fn payload(number: u64) -> Payload {
    let resource = ResourceLogs { schema_url: number.to_string(), ..ResourceLogs::default() };
    Payload::of(&ExportLogsServiceRequest { resource_logs: vec![resource] }, 1)
}

fn options(queue_bytes: usize) -> Options {
    Options { queue_bytes, drain: Duration::from_millis(50) }
}

fn spool(home: &std::path::Path) -> Spool {
    Spool::open(home, Limits { bytes: 1 << 20, age: Duration::from_hours(1) }).unwrap()
}

fn sender(page: &Page, spool: Option<Spool>, bound: usize) -> (Outbox, Sender, SelfMetrics) {
    let self_metrics = SelfMetrics::new().unwrap();
    let destination = Destination::writer(Signal::Logs, Box::new(page.clone()));
    let (outbox, sender) = Sender::new(destination, spool, options(bound), self_metrics.clone());
    (outbox, sender, self_metrics)
}

#[tokio::test]
async fn offered_and_kept_payloads_go_out_in_the_order_of_their_arrival() {
    let home = tempfile::tempdir().unwrap();
    let page = Page::new(Semaphore::MAX_PERMITS);
    let (outbox, sender, _) = sender(&page, Some(spool(home.path())), 1 << 20);
    outbox.keep(&payload(0)).unwrap();
    let first = outbox.offer(payload(1)).unwrap();
    outbox.keep(&payload(2)).unwrap();
    outbox.keep(&payload(3)).unwrap();
    let last = outbox.offer(payload(4)).unwrap();
    let (stop_tx, stop_rx) = tokio::sync::oneshot::channel::<()>();
    let run = tokio::spawn(sender.run(async { drop(stop_rx.await) }));
    assert_eq!((first.await, last.await), (Fate::Acknowledged, Fate::Acknowledged));
    assert_eq!(page.numbers(), [0, 1, 2, 3, 4]);
    drop(stop_tx);
    run.await.unwrap();
    assert_eq!(spool(home.path()).head(), None);
}

#[tokio::test]
async fn the_queue_has_a_bound_and_what_has_no_room_comes_back() {
    let page = Page::new(0);
    let size = payload(0).body.len();
    let (outbox, sender, self_metrics) = sender(&page, None, size * 2);
    let mut first = outbox.offer(payload(0)).unwrap();
    drop(outbox.offer(payload(1)).unwrap());
    assert!((outbox.pressure() - 1.0).abs() < 1e-9);
    assert_eq!(outbox.offer(payload(2)).unwrap_err(), payload(2));
    assert_eq!(first.try_fate(), None);
    let huge = Payload { body: vec![0; PAYLOAD_BYTES_MAX + 1].into(), items: 7 };
    let fate = outbox.offer(huge).unwrap().try_fate();
    assert_eq!(fate, Some(Fate::Dropped(Reason::TooLarge)));
    assert_eq!(self_metrics.dropped_so_far(self_metrics::Signal::Logs, Reason::TooLarge), 7);
    assert!(matches!(outbox.keep(&payload(0)), Err(KeepError::NoSpool)));
    drop(sender);
    assert_eq!(first.try_fate(), Some(Fate::Dropped(Reason::Shutdown)));
    assert_eq!(self_metrics.dropped_so_far(self_metrics::Signal::Logs, Reason::Shutdown), 2);
    assert!(outbox.offer(payload(3)).is_err());
}

#[tokio::test]
async fn what_is_not_delivered_at_the_end_is_in_the_spool_in_order() {
    let home = tempfile::tempdir().unwrap();
    let page = Page::new(0);
    let (outbox, sender, _) = sender(&page, Some(spool(home.path())), 1 << 20);
    let receipts: Vec<_> = (0..3).map(|number| outbox.offer(payload(number)).unwrap()).collect();
    let run = tokio::spawn(sender.run(std::future::ready(())));
    for receipt in receipts {
        assert_eq!(receipt.await, Fate::Spooled);
    }
    // A writer that waits for ever holds the run no longer than the drain.
    run.await.unwrap();
    outbox.keep(&payload(3)).unwrap();
    page.leave.close();
    drop(outbox);
    let page = Page::new(Semaphore::MAX_PERMITS);
    let (outbox, sender, _) = self::sender(&page, Some(spool(home.path())), 1 << 20);
    let last = outbox.offer(payload(4)).unwrap();
    let run = tokio::spawn(sender.run(std::future::pending()));
    assert_eq!(last.await, Fate::Acknowledged);
    assert_eq!(page.numbers(), [0, 1, 2, 3, 4]);
    run.abort();
}

#[tokio::test]
async fn a_plain_thread_gives_and_learns_without_a_runtime() {
    let page = Page::new(Semaphore::MAX_PERMITS);
    let (outbox, sender, _) = sender(&page, None, 1 << 20);
    let (answered_tx, answered_rx) = std::sync::mpsc::channel();
    outbox.on_answer(move || answered_tx.send(()).unwrap());
    let run = tokio::spawn(sender.run(std::future::pending()));
    let giver = tokio::task::spawn_blocking(move || {
        std::thread::spawn(move || {
            let mut receipt = outbox.offer(payload(0)).unwrap();
            answered_rx.recv().unwrap();
            (receipt.try_fate(), receipt.try_fate())
        })
        .join()
    });
    let fates = giver.await.unwrap().unwrap();
    assert_eq!(fates, (Some(Fate::Acknowledged), Some(Fate::Acknowledged)));
    run.abort();
}

#[tokio::test]
async fn what_the_spool_cannot_take_at_the_end_is_dropped_alone() {
    let home = tempfile::tempdir().unwrap();
    let page = Page::new(0);
    let small = Spool::open(home.path(), Limits { bytes: 4096, age: Duration::from_hours(1) });
    let (outbox, sender, self_metrics) = sender(&page, Some(small.unwrap()), 1 << 20);
    let huge = Payload { body: vec![0; 5000].into(), items: 3 };
    let receipts = [payload(0), huge, payload(1)].map(|payload| outbox.offer(payload).unwrap());
    let run = tokio::spawn(sender.run(std::future::ready(())));
    let mut fates = Vec::new();
    for receipt in receipts {
        fates.push(receipt.await);
    }
    assert_eq!(fates, [Fate::Spooled, Fate::Dropped(Reason::Shutdown), Fate::Spooled]);
    assert_eq!(self_metrics.dropped_so_far(self_metrics::Signal::Logs, Reason::Shutdown), 3);
    run.await.unwrap();
    page.leave.close();
}

#[tokio::test]
async fn what_is_put_away_is_in_the_spool_and_no_longer_in_the_queue() {
    let home = tempfile::tempdir().unwrap();
    let page = Page::new(0);
    let (outbox, sender, _) = sender(&page, Some(spool(home.path())), 1 << 20);
    let shared = Arc::clone(&sender.shared);
    let mut first = outbox.offer(payload(0)).unwrap();
    let (stop_tx, stop_rx) = tokio::sync::oneshot::channel::<()>();
    let run = tokio::spawn(sender.run(async { drop(stop_rx.await) }));
    // The first is being sent: it waits for leave.
    while !shared.is_sending() {
        tokio::task::yield_now().await;
    }
    let mut others: Vec<_> = (1..4).map(|number| outbox.offer(payload(number)).unwrap()).collect();
    assert!(outbox.put_away().unwrap());
    assert!(!outbox.put_away().unwrap(), "what is being sent stays");
    assert_eq!(first.try_fate(), None);
    for other in &mut others {
        assert_eq!(other.try_fate(), Some(Fate::Spooled));
    }
    assert!((outbox.pressure() - payload(0).body.len() as f64 / f64::from(1 << 20)).abs() < 1e-9);
    let last = outbox.offer(payload(4)).unwrap();
    page.leave.add_permits(1000);
    assert_eq!((first.await, last.await), (Fate::Acknowledged, Fate::Acknowledged));
    assert_eq!(page.numbers(), [0, 1, 2, 3, 4], "each once, in order");
    drop(stop_tx);
    run.await.unwrap();
    assert_eq!(spool(home.path()).head(), None);
}
