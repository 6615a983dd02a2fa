//! The last lines of each container's log, as they are exported, for the job page. They come out of
//! the same pipeline as exported records: masked, without colours, or withheld.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use ephemon_base::{clock, lock};
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
/// What a line takes beside its text: two places in a queue that may have twice the room it needs,
/// and what the text's own allocation takes.
const LINE_BYTES: usize = 2 * size_of::<TailLine>() + 32;
/// What a container takes beside its lines: its name, and its place in a map.
const LOG_BYTES: usize = 300;
/// What a pod takes beside its containers.
const POD_BYTES: usize = 700;
/// What is left when there is no more room: making it takes a look at all pods.
const LEFT_BYTES: usize = MAX_BYTES / 8 * 7;
/// Lines of a pod that has written nothing for so long are dropped, nanoseconds: a job is shown for
/// an hour after its end.
const SILENT_NS: u64 = 2 * 3_600_000_000_000;
/// How often that is looked at, nanoseconds.
const LOOK_NS: u64 = 60_000_000_000;

/// The last lines; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tail(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    pods: HashMap<PodUid, Pod>,
    bytes: usize,
    turn: u64,
    /// When silent pods were last looked for, nanoseconds since 1970.
    looked_ns: u64,
}

#[derive(Debug, Default)]
struct Pod {
    logs: HashMap<Arc<str>, Log>,
    /// With [`LOG_BYTES`] for each log.
    bytes: usize,
    /// Number of its last line.
    sequence: u64,
    /// Of all lines of all pods, which its last one was.
    turn: u64,
    /// When that was added, nanoseconds since 1970.
    added_ns: u64,
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
    /// The text, cut after 2048 bytes.
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
        self.pods().push(line, clock::now_ns());
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

// === impl Kept ===

impl Kept {
    fn push(&mut self, line: NewLine<'_>, now_ns: u64) {
        if now_ns.abs_diff(self.looked_ns) > LOOK_NS {
            self.looked_ns = now_ns;
            self.pods.retain(|_, pod| now_ns.saturating_sub(pod.added_ns) <= SILENT_NS);
            self.bytes = self.pods.values().map(Pod::bytes).sum();
        }
        self.turn += 1;
        let known = self.pods.get(line.pod).map_or(0, Pod::bytes);
        let pod = self.pods.entry(line.pod.clone()).or_default();
        (pod.turn, pod.added_ns) = (self.turn, now_ns);
        pod.push(line);
        self.bytes = self.bytes.saturating_sub(known).saturating_add(pod.bytes());
        if self.bytes > MAX_BYTES {
            self.make_room();
        }
    }

    /// Drops the pods that have been silent for longest.
    fn make_room(&mut self) {
        let mut order: Vec<_> =
            self.pods.iter().map(|(uid, pod)| (pod.turn, uid.clone())).collect();
        order.sort_unstable();
        for (_, uid) in order {
            if self.bytes <= LEFT_BYTES {
                break;
            }
            let freed = self.pods.remove(&uid).map_or(0, |pod| pod.bytes());
            self.bytes = self.bytes.saturating_sub(freed);
        }
        self.pods.shrink_to_fit();
    }
}

// === impl Pod ===

impl Pod {
    /// Memory of it in all.
    fn bytes(&self) -> usize {
        self.bytes.saturating_add(POD_BYTES)
    }

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
        let logs = self.logs.len();
        let log = self.logs.entry(Arc::clone(container)).or_default();
        let bytes = line.bytes();
        log.lines.push_back(line);
        log.bytes = log.bytes.saturating_add(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        while log.bytes > MAX_CONTAINER_BYTES {
            self.bytes = self.bytes.saturating_sub(log.drop_first());
        }
        if self.logs.len() > logs {
            self.bytes = self.bytes.saturating_add(LOG_BYTES);
        }
        // A pod may have any number of containers.
        while self.bytes > MAX_POD_BYTES {
            let freed = self.drop_of_largest();
            self.bytes = self.bytes.saturating_sub(freed);
            if freed == 0 {
                return;
            }
        }
    }

    /// Drops the oldest line of the container with most of them, and the container with its last line;
    /// how many bytes they had.
    fn drop_of_largest(&mut self) -> usize {
        let Some((name, log)) = self.logs.iter_mut().max_by_key(|(_, log)| log.bytes) else {
            return 0;
        };
        let freed = log.drop_first();
        if !log.lines.is_empty() {
            return freed;
        }
        let name = Arc::clone(name);
        self.logs.remove(&name);
        freed.saturating_add(LOG_BYTES)
    }
}

// === impl Log, TailLine ===

impl Log {
    /// Drops the oldest line; how many bytes it had.
    fn drop_first(&mut self) -> usize {
        let bytes = self.lines.pop_front().map_or(0, |line| line.bytes());
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.lines.capacity() > 2 * self.lines.len() + 8 {
            self.lines.shrink_to(self.lines.len());
        }
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
            let all: usize = pods.pods.values().map(Pod::bytes).sum();
            assert_eq!(all, pods.bytes);
            assert!(all <= MAX_BYTES);
            assert!(pods.pods.values().all(|pod| pod.bytes <= MAX_POD_BYTES));
        }
        assert_eq!(tail.sequence(&pod(0)), None, "the one that was silent for longest made room");
        assert!(tail.sequence(&pod(299)).is_some());
    }

    #[test]
    fn pods_and_containers_count_beside_their_lines_and_are_forgotten_when_silent() {
        let tail = Tail::default();
        for number in 0..20_000 {
            push(&tail, number, "a", b"");
        }
        let most = MAX_BYTES / (POD_BYTES + LOG_BYTES + LINE_BYTES);
        let pods = tail.pods().pods.len();
        assert!(pods <= most, "{pods}");
        assert!(tail.sequence(&pod(19_999)).is_some());
        for number in 0..5000 {
            push(&tail, 1, &format!("c{number}"), b"");
        }
        let logs = tail.pods().pods[&pod(1)].logs.len();
        assert!(logs <= MAX_POD_BYTES / (LOG_BYTES + LINE_BYTES), "{logs}");
        let (uid, container) = (pod(2), Arc::from("a"));
        let (stream, severity) = (LogStream::Stdout, Severity::Unspecified);
        let line =
            NewLine { pod: &uid, container: &container, at_ns: 1, stream, severity, body: b"" };
        tail.pods().push(line, clock::now_ns() + SILENT_NS + LOOK_NS);
        let kept = tail.pods();
        assert_eq!(kept.pods.len(), 1);
        assert_eq!(kept.bytes, kept.pods[&pod(2)].bytes());
    }

    #[test]
    fn a_queue_that_has_become_short_gives_its_room_back() {
        let tail = Tail::default();
        for _ in 0..200 {
            push(&tail, 1, "a", b"");
        }
        for _ in 0..20 {
            push(&tail, 1, "a", &[b'x'; 2000]);
        }
        let pods = tail.pods();
        let lines = &pods.pods[&pod(1)].logs["a"].lines;
        assert!(lines.capacity() <= 2 * lines.len() + 8, "{} {}", lines.capacity(), lines.len());
    }
}
