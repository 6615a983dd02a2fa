//! The last lines of each container's log, as they are exported, for the job page. They come out of
//! the same pipeline as exported records: masked, without colours, or withheld.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use ephemon_base::lock;
use ephemon_crilog::Line;
use ephemon_model::{LogStream, PodUid};
use ephemon_sanitize::{Record, Severity};

/// Most memory of one container's lines, bytes.
const MAX_CONTAINER_BYTES: usize = 32 * 1024;
/// Most memory of the lines of all containers of one pod.
const MAX_POD_BYTES: usize = 192 * 1024;
/// Most memory of all lines.
pub const MAX_BYTES: usize = 3 * 1024 * 1024;
/// Longest text of a line; the rest is cut.
const MAX_TEXT_BYTES: usize = 2048;
/// What a line takes beside its text, and a container beside its lines.
const LINE_BYTES: usize = 96;

/// The last lines; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tail(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    pods: HashMap<PodUid, Pod>,
    bytes: usize,
    turn: u64,
}

#[derive(Debug, Default)]
struct Pod {
    logs: HashMap<Arc<str>, Log>,
    bytes: usize,
    /// Number of its last line.
    sequence: u64,
    /// Of all lines of all pods, which its last one was.
    turn: u64,
}

#[derive(Debug, Default)]
struct Log {
    lines: VecDeque<TailLine>,
    bytes: usize,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailLine {
    /// Its number among the pod's lines, from 1.
    pub sequence: u64,
    /// Its container.
    pub container: Arc<str>,
    /// When it was written, milliseconds since 1970.
    pub at_ms: u64,
    /// Standard output or standard error.
    pub stream: LogStream,
    /// Its severity.
    pub severity: Severity,
    /// The text, cut after [`MAX_TEXT_BYTES`].
    pub text: Arc<str>,
    /// Bytes that were cut here.
    pub cut_bytes: usize,
}

/// What a new line consists of.
#[derive(Debug, Clone, Copy)]
pub struct NewLine<'a> {
    /// Its pod.
    pub pod: &'a PodUid,
    /// Its container.
    pub container: &'a Arc<str>,
    /// When it was written, nanoseconds since 1970.
    pub at_ns: u64,
    /// Its output.
    pub stream: LogStream,
    /// Its severity.
    pub severity: Severity,
    /// Its text as it is exported, masked; not always UTF-8.
    pub body: &'a [u8],
}

// === impl Tail ===

impl Tail {
    /// Adds a line that is exported as this record.
    pub(super) fn exported(&self, line: &Line<'_>, at_ns: u64, record: &Record<'_>) {
        self.push(NewLine {
            pod: &line.log.pod.uid,
            container: &line.log.container,
            at_ns,
            stream: line.stream,
            severity: record.severity,
            body: &record.body,
        });
    }

    /// Adds a line.
    pub fn push(&self, line: NewLine<'_>) {
        let mut pods = self.pods();
        let pods = &mut *pods;
        pods.turn += 1;
        let pod = pods.pods.entry(line.pod.clone()).or_default();
        pod.turn = pods.turn;
        let before = pod.bytes;
        pod.push(line);
        pods.bytes = pods.bytes.saturating_sub(before).saturating_add(pod.bytes);
        while pods.bytes > MAX_BYTES {
            let Some(oldest) = pods.pods.iter().min_by_key(|(_, pod)| pod.turn) else { return };
            let uid = oldest.0.clone();
            let freed = pods.pods.remove(&uid).map_or(0, |pod| pod.bytes);
            pods.bytes = pods.bytes.saturating_sub(freed);
        }
    }

    /// Number of the pod's last line; `None` if it has none.
    pub fn sequence(&self, pod: &PodUid) -> Option<u64> {
        self.pods().pods.get(pod).map(|pod| pod.sequence)
    }

    /// The pod's lines after this number, in order; those of one container if it is given.
    pub fn lines(&self, pod: &PodUid, after: u64, container: Option<&str>) -> Vec<TailLine> {
        let pods = self.pods();
        let logs = pods.pods.get(pod).into_iter().flat_map(|pod| &pod.logs);
        let logs = logs.filter(|(name, _)| container.is_none_or(|wanted| ***name == *wanted));
        let lines = logs.flat_map(|(_, log)| &log.lines).filter(|line| line.sequence > after);
        let mut lines: Vec<TailLine> = lines.cloned().collect();
        lines.sort_unstable_by_key(|line| line.sequence);
        lines
    }

    /// Lines are always complete, so a poisoned lock can be used.
    fn pods(&self) -> MutexGuard<'_, Kept> {
        lock(&self.0)
    }
}

// === impl Pod ===

impl Pod {
    fn push(&mut self, line: NewLine<'_>) {
        let NewLine { container, at_ns, stream, severity, body, .. } = line;
        let kept = body.get(..MAX_TEXT_BYTES).unwrap_or(body);
        let text = String::from_utf8_lossy(kept);
        self.sequence += 1;
        let line = TailLine {
            sequence: self.sequence,
            container: Arc::clone(container),
            at_ms: at_ns / 1_000_000,
            stream,
            severity,
            text: text.into(),
            cut_bytes: body.len().saturating_sub(kept.len()),
        };
        let log = self.logs.entry(Arc::clone(container)).or_default();
        let bytes = line.bytes();
        log.lines.push_back(line);
        log.bytes = log.bytes.saturating_add(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        while log.bytes > MAX_CONTAINER_BYTES {
            self.bytes = self.bytes.saturating_sub(log.drop_first());
        }
        while self.bytes > MAX_POD_BYTES {
            let largest = self.logs.values_mut().max_by_key(|log| log.bytes);
            let freed = largest.map_or(0, Log::drop_first);
            self.bytes = self.bytes.saturating_sub(freed);
            if freed == 0 {
                return;
            }
        }
        // A pod may have any number of containers.
        if self.logs.len() > MAX_POD_BYTES / MAX_CONTAINER_BYTES * 4 {
            self.logs.retain(|_, log| !log.lines.is_empty());
        }
    }
}

// === impl Log, TailLine ===

impl Log {
    /// Drops the oldest line; how many bytes it had.
    fn drop_first(&mut self) -> usize {
        let bytes = self.lines.pop_front().map_or(0, |line| line.bytes());
        self.bytes = self.bytes.saturating_sub(bytes);
        bytes
    }
}

impl TailLine {
    fn bytes(&self) -> usize {
        self.text.len() + LINE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(number: usize) -> PodUid {
        PodUid::parse(&format!("0e269fa4-f505-4963-9096-{number:012}")).unwrap()
    }

    fn push(tail: &Tail, number: usize, container: &str, body: &[u8]) {
        let (pod, container) = (pod(number), Arc::from(container));
        let (stream, severity) = (LogStream::Stdout, Severity::Unspecified);
        let at_ns = 7_000_000;
        tail.push(NewLine { pod: &pod, container: &container, at_ns, stream, severity, body });
    }

    fn texts(tail: &Tail, number: usize, after: u64, container: Option<&str>) -> Vec<String> {
        let lines = tail.lines(&pod(number), after, container).into_iter();
        lines.map(|line| line.text.to_string()).collect()
    }

    #[test]
    fn lines_come_in_order_after_a_number_and_of_one_container() {
        let tail = Tail::default();
        for (container, text) in [("a", "1"), ("b", "2"), ("a", "3")] {
            push(&tail, 1, container, text.as_bytes());
        }
        push(&tail, 1, "b", b"4\xff");
        assert_eq!(texts(&tail, 1, 0, None).concat(), "1234\u{fffd}");
        assert_eq!(texts(&tail, 1, 2, None).len(), 2);
        assert_eq!(texts(&tail, 1, 0, Some("b")), ["2", "4\u{fffd}"]);
        assert_eq!((tail.sequence(&pod(1)), tail.sequence(&pod(2))), (Some(4), None));
    }

    #[test]
    fn a_long_line_is_cut_and_a_long_log_keeps_its_end() {
        let tail = Tail::default();
        push(&tail, 1, "a", &[b'x'; 3000]);
        let first = &tail.lines(&pod(1), 0, None)[0];
        assert_eq!((first.text.len(), first.cut_bytes), (2048, 952));
        for number in 0..1000 {
            push(&tail, 1, "a", format!("line {number}").as_bytes());
        }
        let texts = texts(&tail, 1, 0, None);
        assert_eq!(texts.last().unwrap(), "line 999");
        assert!(texts.len() < 1000 && texts.len() > 100, "{}", texts.len());
    }

    #[test]
    fn neither_a_pod_nor_all_pods_take_more_than_their_bound() {
        let tail = Tail::default();
        for number in 0..300 {
            for container in 0..12 {
                for _ in 0..20 {
                    push(&tail, number, &format!("c{container}"), &[b'y'; 2000]);
                }
            }
            let pods = tail.pods();
            let all: usize = pods.pods.values().map(|pod| pod.bytes).sum();
            assert_eq!(all, pods.bytes);
            assert!(all <= MAX_BYTES);
            assert!(pods.pods.values().all(|pod| pod.bytes <= MAX_POD_BYTES));
        }
        assert_eq!(tail.sequence(&pod(0)), None, "the one that was silent for longest made room");
        assert!(tail.sequence(&pod(299)).is_some());
    }
}
