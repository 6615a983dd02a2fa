//! What a runner's own log, or those of a GitLab job's containers, say of the job and its steps, for
//! whoever keeps the jobs.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Instant;

use ephemon_discovery::feed::Feed;
use ephemon_discovery::inventory::RUNNER_CONTAINER;
use ephemon_jobs::{MAX_STEP_LINE_BYTES, StepEvent, StepLine, StepReading};
use ephemon_model::PodUid;
use ephemon_sanitize::Sanitizer;
use ephemon_self_metrics::{Reason, SelfMetrics, Signal};
use memchr::memmem;

use super::ration::{Meter, Ration};

/// Most lines about jobs that wait to be heard; a runner writes two a job.
const MAX_WAITING: usize = 1024;
/// Most lines about steps that wait, in a queue of their own: a flood of them costs no job its name.
const MAX_STEPS_WAITING: usize = 2048;
/// A longer line is none of the runner's about a job.
const MAX_LINE: usize = 1024;
/// Memory of the lines that wait, bytes.
pub const WAITING_BYTES: usize = MAX_WAITING * (size_of::<RunnerLine>() + MAX_LINE + 32)
    + MAX_STEPS_WAITING * (size_of::<(PodUid, StepLine)>() + MAX_STEP_LINE_BYTES + 96);
/// What lines about jobs have in them.
const MARKS: [&[u8]; 2] = [b"Running job: ", b" completed with result: "];
/// Lines about steps that are taken of one log, a second, with bursts of five seconds' worth.
pub(super) const STEP_RATION: Ration = ration(100);
/// Readings for the lines of all logs, likewise. A line beyond that has none.
const READING_RATION: Ration = ration(200);
/// A reading that is taken longer after its line is of another moment, nanoseconds: while the
/// collector takes nothing no log is read, nor while no agent runs.
const LATEST_READING_NS: u64 = 1_000_000_000;

/// A line of a runner's log that may be about a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerLine {
    /// The runner's pod.
    pub pod: PodUid,
    /// When, in nanoseconds since 1970.
    pub at_ns: u64,
    /// The line, without its newline.
    pub text: String,
}

/// What comes out of runners' logs.
#[derive(Debug)]
pub struct RunnerNews {
    /// Lines that may be about jobs.
    pub lines: Receiver<RunnerLine>,
    /// Lines about steps, by pods.
    pub steps: Receiver<(PodUid, StepLine)>,
}

/// Reads what the runner's container of a pod has used so far.
pub type ContainerReader = Box<dyn FnMut(&PodUid, &str) -> Option<StepReading> + Send>;

/// Where such lines go. That one has come is published as a change of its pod.
pub struct RunnerLog {
    lines_tx: SyncSender<RunnerLine>,
    steps_tx: SyncSender<(PodUid, StepLine)>,
    feed: Feed,
    read: ContainerReader,
    readings: Meter,
}

/// One line as it stands in the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogLine<'a> {
    pub(super) pod: &'a PodUid,
    pub(super) container: &'a str,
    pub(super) at_ns: u64,
    pub(super) number: u64,
    pub(super) text: &'a [u8],
    /// It does not begin here: another one went on for too long.
    pub(super) is_rest: bool,
}

/// When a line is heard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    /// Nanoseconds since 1970.
    pub(super) now_ns: u64,
}

// === impl RunnerLog ===

impl RunnerLog {
    /// A log, and the end that hears it. `read` is asked when a step begins or ends.
    pub fn new(feed: Feed, read: ContainerReader) -> (Self, RunnerNews) {
        let (lines_tx, lines) = mpsc::sync_channel(MAX_WAITING);
        let (steps_tx, steps) = mpsc::sync_channel(MAX_STEPS_WAITING);
        let readings = Meter::new(READING_RATION, Instant::now());
        (Self { lines_tx, steps_tx, feed, read, readings }, RunnerNews { lines, steps })
    }

    /// Passes a line on if it may be about a job, or is about a step.
    pub(super) fn hear(
        &mut self,
        line: LogLine<'_>,
        sanitizer: &mut Sanitizer,
        meter: &mut Meter,
        moment: Moment,
        self_metrics: &SelfMetrics,
    ) {
        if line.is_rest {
            return;
        }
        let is_runner = line.container == RUNNER_CONTAINER;
        let event = if is_runner {
            StepEvent::parse(line.text)
        } else {
            StepEvent::of_stage(line.container, line.text)
        };
        if let Some(event) = event {
            return self.hear_step(line, event, sanitizer, meter, moment, self_metrics);
        }
        let LogLine { pod, at_ns, text, .. } = line;
        if !is_runner
            || text.len() > MAX_LINE
            || MARKS.iter().all(|mark| memmem::find(text, mark).is_none())
        {
            return;
        }
        let text = String::from_utf8_lossy(text).into_owned();
        match self.lines_tx.try_send(RunnerLine { pod: pod.clone(), at_ns, text }) {
            Ok(()) => self.feed.publish(pod),
            Err(_) => self_metrics.dropped(Signal::Events, Reason::Cap),
        }
    }

    fn hear_step(
        &mut self,
        line: LogLine<'_>,
        event: StepEvent,
        sanitizer: &mut Sanitizer,
        meter: &mut Meter,
        moment: Moment,
        self_metrics: &SelfMetrics,
    ) {
        if let Some(reason) = meter.held_back(moment.now) {
            return self_metrics.dropped(Signal::Events, reason);
        }
        let LogLine { pod, container, at_ns, number, .. } = line;
        // The readings first: each moment counts.
        let is_late = |now_ns: u64| now_ns.saturating_sub(at_ns) > LATEST_READING_NS;
        let may_read = !is_late(moment.now_ns) && self.readings.held_back(moment.now).is_none();
        let reading = may_read.then(|| (self.read)(pod, container)).flatten();
        let reading = reading.filter(|reading| !is_late(reading.at_ns));
        let event = event.with_text(|text| sanitizer.aside(text).map(Into::into));
        let line = StepLine { at_ns, number, event, reading };
        match self.steps_tx.try_send((pod.clone(), line)) {
            Ok(()) => self.feed.publish(pod),
            Err(_) => self_metrics.dropped(Signal::Events, Reason::Cap),
        }
    }
}

impl fmt::Debug for RunnerLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RunnerLog").finish_non_exhaustive()
    }
}

const fn ration(lines: u32) -> Ration {
    Ration { rate: NonZeroU32::new(lines), one_of: None }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use ephemon_jobs::Figures;
    use ephemon_mask::job::{JobMasks, Mode};

    use super::*;

    /// A log that is listened to, of one pod, whose container uses 1 ns more with each reading.
    struct Listener {
        log: RunnerLog,
        news: RunnerNews,
        feed: Feed,
        sanitizer: Sanitizer,
        meter: Meter,
        self_metrics: SelfMetrics,
        reads: Arc<AtomicU64>,
        start: Instant,
    }

    fn pod() -> PodUid {
        PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap()
    }

    impl Listener {
        fn new() -> Self {
            let reads = Arc::new(AtomicU64::new(0));
            let counted = Arc::clone(&reads);
            let read: ContainerReader = Box::new(move |_, name| {
                assert_eq!(name, "runner");
                let cpu_ns = Some(counted.fetch_add(1, Ordering::Relaxed));
                Some(StepReading { at_ns: 5, figures: Figures { cpu_ns, ..Figures::default() } })
            });
            let feed = Feed::default();
            let (log, news) = RunnerLog::new(feed.clone(), read);
            let sanitizer =
                Sanitizer::new(JobMasks::new(Mode::Masked), ephemon_sanitize::Options::default());
            let start = Instant::now();
            let meter = Meter::new(STEP_RATION, start);
            let self_metrics = SelfMetrics::new().unwrap();
            Self { log, news, feed, sanitizer, meter, self_metrics, reads, start }
        }

        fn hear(&mut self, at_ns: u64, text: &[u8], after: Duration) {
            self.hear_line(at_ns, text, after, false);
        }

        fn hear_line(&mut self, at_ns: u64, text: &[u8], after: Duration, is_rest: bool) {
            let pod = pod();
            let line =
                LogLine { pod: &pod, container: "runner", at_ns, number: at_ns, text, is_rest };
            let moment = Moment { now: self.start + after, now_ns: 5 };
            let Self { log, sanitizer, meter, self_metrics, .. } = self;
            log.hear(line, sanitizer, meter, moment, self_metrics);
        }

        fn dropped(&self, reason: Reason) -> u64 {
            self.self_metrics.dropped_so_far(Signal::Events, reason)
        }
    }

    fn step(name: &str) -> Vec<u8> {
        let text = format!("Processing step: DisplayName='{name}'");
        format!("[WORKER 2026-11-23 12:19:10Z INFO StepsRunner] {text}").into_bytes()
    }

    #[test]
    fn lines_about_jobs_are_passed_on_and_a_full_queue_is_counted() {
        let mut listener = Listener::new();
        let mut changes = listener.feed.follow();
        changes.take();
        listener.hear(1, b"Listening for Jobs", Duration::ZERO);
        assert!(changes.take().is_empty());
        let said = b"2026-11-23 12:19:10Z: Running job: build";
        for at in 0..=MAX_WAITING {
            listener.hear(at as u64, said, Duration::ZERO);
        }
        assert!(changes.take().has(&pod()));
        assert_eq!(listener.news.lines.try_iter().count(), MAX_WAITING);
        assert_eq!(listener.dropped(Reason::Cap), 1);
        assert_eq!(listener.reads.load(Ordering::Relaxed), 0, "a job's line needs no reading");
    }

    #[test]
    fn a_steps_line_comes_with_a_reading_and_without_secrets() {
        let mut listener = Listener::new();
        let mut changes = listener.feed.follow();
        changes.take();
        let token = format!("ghp_{}", "a".repeat(36));
        listener.hear(3, &step(&format!("Deploy with {token}")), Duration::ZERO);
        assert!(changes.take().has(&pod()));
        let (of, line) = listener.news.steps.try_recv().unwrap();
        assert_eq!((of, line.at_ns, line.number), (pod(), 3, 3));
        assert_eq!(line.reading.unwrap().figures.cpu_ns, Some(0));
        assert_eq!(line.event, StepEvent::Began { name: "Deploy with ***".into() });
    }

    #[test]
    fn a_value_that_the_job_registered_is_masked_in_a_steps_name() {
        let mut listener = Listener::new();
        listener.sanitizer.masks().add([&b"s3cr3t-v4lue"[..]]).unwrap();
        listener.hear(3, &step("Use s3cr3t-v4lue"), Duration::ZERO);
        let (_, line) = listener.news.steps.try_recv().unwrap();
        assert_eq!(line.event, StepEvent::Began { name: "Use ***".into() });
    }

    #[test]
    fn a_line_that_is_heard_late_has_no_reading() {
        let mut listener = Listener::new();
        let moment = Moment { now: listener.start, now_ns: 4 + LATEST_READING_NS };
        let pod = pod();
        let text = step("late");
        let line = LogLine {
            pod: &pod,
            container: "runner",
            at_ns: 3,
            number: 1,
            text: &text,
            is_rest: false,
        };
        let Listener { log, sanitizer, meter, self_metrics, .. } = &mut listener;
        log.hear(line, sanitizer, meter, moment, self_metrics);
        assert_eq!(listener.news.steps.try_recv().unwrap().1.reading, None);
        assert_eq!(listener.reads.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_rest_of_an_overlong_line_is_no_line() {
        let mut listener = Listener::new();
        listener.hear_line(3, &step("forged"), Duration::ZERO, true);
        listener.hear_line(3, b"2026-11-23 12:19:10Z: Running job: x", Duration::ZERO, true);
        assert!(listener.news.steps.try_recv().is_err());
        assert!(listener.news.lines.try_recv().is_err());
    }

    #[test]
    fn a_flood_of_steps_is_rationed_and_costs_no_line_about_a_job() {
        let mut listener = Listener::new();
        for at in 0..5000 {
            listener.hear(at, &step("flood"), Duration::from_millis(at / 50));
        }
        let taken = listener.news.steps.try_iter().count();
        assert!((500..=512).contains(&taken), "a burst of five seconds' worth: {taken}");
        assert_eq!(listener.dropped(Reason::RateLimited), 5000 - taken as u64);
        assert!(listener.reads.load(Ordering::Relaxed) <= taken as u64);
        listener.hear(9, b"2026-11-23 12:19:10Z: Running job: build", Duration::ZERO);
        assert_eq!(listener.news.lines.try_iter().count(), 1);
        listener.hear(9, &step("later"), Duration::from_secs(9));
        assert_eq!(listener.news.steps.try_iter().count(), 1);
    }
}
