//! One container's values over time, from the counters of its readings. Pure.

use ephemon_model::{ContainerId, IoUsage, Limit, Usage};

use super::Sample;
use super::ring::{ABSENT, Merge};
use super::track::Track;
use super::view::{ActivityPoint, SeriesView, UsagePoint};

/// Fine slots of CPU and memory: at least five minutes.
const FINE_USAGE: usize = 360;
/// Fine slots of what only complete readings have: five minutes, too, as an old container is read
/// completely every five seconds.
const FINE_ACTIVITY: usize = 96;
/// Coarse slots: half an hour of ten seconds each, and then twice as long each time.
const COARSE: usize = 180;
/// Out-of-memory kills whose times are kept.
const MAX_OOM_KILLS: usize = 16;

/// A container is young for so long, and its fine slots are short.
const YOUNG_MS: u64 = 10_000;
/// Length of a young container's fine slots.
const YOUNG_STEP_MS: u64 = 190;
/// Length of all others: a second, less what a reading may be early.
const STEP_MS: u64 = 900;
/// A container whose first reading comes later than this after its creation was found running: what
/// it used before is not spread over that time.
const SEEN_FROM_BIRTH_MS: u64 = 2_000;

/// Most memory of one series, bytes: full rings, the times of kills, and its place in two maps.
pub(crate) const MAX_SERIES_BYTES: usize =
    (FINE_USAGE + COARSE) * 16 + (FINE_ACTIVITY + COARSE) * 32 + MAX_OOM_KILLS * 8 + 768;

/// Most memory of what is shown of one series, bytes.
pub(crate) const MAX_POINTS_BYTES: usize = (FINE_USAGE + COARSE) * size_of::<UsagePoint>()
    + (FINE_ACTIVITY + COARSE) * size_of::<ActivityPoint>();

/// One container's values.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    created_ms: u64,
    usage: Track<2>,
    activity: Track<6>,
    /// The counters at the last reading; `None` where one has not been read.
    cpu_us: Option<u64>,
    counters: [Option<u64>; 6],
    oom_kills: Option<u64>,
    oom_kills_ms: Vec<u64>,
    cpu_limit_millis: Option<Limit<u64>>,
    memory_limit_bytes: Option<Limit<u64>>,
    memory_peak_bytes: Option<u64>,
    ended_ms: Option<u64>,
}

// === impl Series ===

impl Series {
    /// A container with its first reading.
    pub(crate) fn new(sample: &Sample<'_>) -> Self {
        let age_ms = sample.at_ms.saturating_sub(sample.created_ms);
        let from_birth = age_ms <= SEEN_FROM_BIRTH_MS;
        let origin_ms = if from_birth { sample.created_ms } else { sample.at_ms };
        // The kernel's counters begin with the cgroup.
        let before = from_birth.then_some(0);
        let levels = [Merge::Add, Merge::Max];
        let mut series = Self {
            created_ms: sample.created_ms,
            usage: Track::new(origin_ms, (FINE_USAGE, COARSE), levels, [1000, 1]),
            activity: Track::new(
                origin_ms,
                (FINE_ACTIVITY, COARSE),
                [Merge::Add; 6],
                [1000, 1, 1, 1000, 1000, 1000],
            ),
            cpu_us: before,
            counters: [before; 6],
            oom_kills: before,
            oom_kills_ms: Vec::new(),
            cpu_limit_millis: None,
            memory_limit_bytes: None,
            memory_peak_bytes: None,
            ended_ms: None,
        };
        series.add(sample);
        series
    }

    /// Adds a reading.
    pub(crate) fn add(&mut self, sample: &Sample<'_>) {
        let Sample { at_ms, usage, complete, last, .. } = *sample;
        let young = at_ms.saturating_sub(self.created_ms) <= YOUNG_MS;
        let step_ms = if young { YOUNG_STEP_MS } else { STEP_MS };
        let cpu = risen(&mut self.cpu_us, usage.cpu.usage_ns.map(|ns| ns / 1000));
        let memory = usage.memory.working_set_bytes.or(usage.memory.usage_bytes);
        let memory = memory.map_or(ABSENT, |bytes| narrow(bytes / 1024));
        // A reading of nothing would make the next one's slot unknown.
        if usage.cpu.usage_ns.is_some() || memory != ABSENT {
            self.usage.push(at_ms, step_ms, [cpu, memory]);
        }
        if complete || last {
            self.add_activity(at_ms, usage);
        }
        self.ended_ms = last.then_some(at_ms);
    }

    fn add_activity(&mut self, at_ms: u64, usage: &Usage) {
        let kib = |of: fn(&IoUsage) -> Option<u64>| {
            let known = usage.io.iter().filter_map(of);
            known.reduce(u64::saturating_add).map(|bytes| bytes / 1024)
        };
        let now = [
            usage.cpu.throttled_ns.map(|ns| ns / 1000),
            kib(|io| io.read_bytes),
            kib(|io| io.write_bytes),
            usage.pressure.cpu.waiting_us,
            usage.pressure.memory.waiting_us,
            usage.pressure.io.waiting_us,
        ];
        let mut values = [ABSENT; 6];
        for ((value, counter), now) in values.iter_mut().zip(&mut self.counters).zip(now) {
            *value = risen(counter, now);
        }
        if now.iter().any(Option::is_some) {
            self.activity.push(at_ms, STEP_MS, values);
        }
        let kills = usage.memory.events.oom_kill;
        let new = self.oom_kills.zip(kills).is_some_and(|(before, now)| now > before);
        if new && self.oom_kills_ms.len() < MAX_OOM_KILLS {
            self.oom_kills_ms.push(at_ms);
        }
        self.oom_kills = kills.or(self.oom_kills);
        self.cpu_limit_millis = usage.cpu.limit_millis.or(self.cpu_limit_millis);
        self.memory_limit_bytes = usage.memory.limit_bytes.or(self.memory_limit_bytes);
        self.memory_peak_bytes = usage.memory.peak_bytes.or(self.memory_peak_bytes);
    }

    /// When its final reading came, milliseconds since 1970; `None` while it runs.
    pub(crate) fn ended_ms(&self) -> Option<u64> {
        self.ended_ms
    }

    /// Memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let tracks = self.usage.bytes().saturating_add(self.activity.bytes());
        tracks.saturating_add(self.oom_kills_ms.capacity() * 8).saturating_add(768)
    }

    /// What ends after `since_ms`.
    pub(crate) fn view(&self, id: &ContainerId, since_ms: u64) -> SeriesView {
        SeriesView {
            id: id.clone(),
            cpu_limit_millis: self.cpu_limit_millis,
            memory_limit_bytes: self.memory_limit_bytes,
            memory_peak_bytes: self.memory_peak_bytes,
            usage: self.usage.stretches(since_ms).map(UsagePoint::new).collect(),
            activity: self.activity.stretches(since_ms).map(ActivityPoint::new).collect(),
            oom_kills_ms: self.oom_kills_ms.clone(),
            ended: self.ended_ms.is_some(),
        }
    }
}

/// By how much a counter has risen since it was last read. A counter that was not read before, is not
/// read now, or has fallen gives no value.
fn risen(before: &mut Option<u64>, now: Option<u64>) -> u32 {
    let risen = before.zip(now).and_then(|(before, now)| now.checked_sub(before));
    *before = now.or(*before);
    match (risen, now) {
        (Some(risen), Some(_)) => narrow(risen),
        _ => ABSENT,
    }
}

/// A value that does not fit is [`ABSENT`].
fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(ABSENT)
}

#[cfg(test)]
mod tests {
    use ephemon_model::PodUid;

    use super::*;

    fn id() -> ContainerId {
        ContainerId::parse(&"a".repeat(64)).unwrap()
    }

    fn pod() -> PodUid {
        PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap()
    }

    fn usage(cpu_ms: u64, memory_kib: u64) -> Usage {
        let mut usage = Usage::default();
        usage.cpu.usage_ns = Some(cpu_ms * 1_000_000);
        usage.memory.working_set_bytes = Some(memory_kib * 1024);
        usage
    }

    struct Rig {
        pod: PodUid,
        id: ContainerId,
    }

    impl Rig {
        fn sample<'a>(&'a self, at_ms: u64, usage: &'a Usage, complete: bool) -> Sample<'a> {
            let Self { pod, id } = self;
            Sample { pod, id, created_ms: 10_000, at_ms, usage, complete, last: false }
        }
    }

    fn rig() -> Rig {
        Rig { pod: pod(), id: id() }
    }

    #[test]
    fn counters_become_rates_from_the_cgroups_creation_on() {
        let rig = rig();
        let mut first = usage(50, 4);
        first.io = vec![IoUsage { read_bytes: Some(2048 * 1024), ..IoUsage::default() }];
        first.memory.limit_bytes = Some(Limit::At(9));
        let mut series = Series::new(&rig.sample(10_100, &first, true));
        first.cpu.usage_ns = Some(250_000_000);
        series.add(&rig.sample(10_500, &first, true));
        let view = series.view(&rig.id, 0);
        let usage: Vec<_> = view
            .usage
            .iter()
            .map(|point| (point.from_ms, point.to_ms, point.cpu_millicores, point.memory_kib))
            .collect();
        assert_eq!(
            usage,
            [(10_000, 10_100, Some(500), Some(4)), (10_100, 10_500, Some(500), Some(4))]
        );
        let activity = view.activity[0];
        assert_eq!((activity.from_ms, activity.to_ms), (10_000, 10_500));
        assert_eq!(activity.read_kib_s, Some(4096));
        assert_eq!(activity.write_kib_s, None, "not read is not 0");
        assert_eq!(activity.throttled_permille, None);
        assert_eq!(view.memory_limit_bytes, Some(Limit::At(9)));
    }

    #[test]
    fn what_a_container_used_before_it_was_found_is_not_spread_over_that_time() {
        let rig = rig();
        let old = usage(1_000_000, 4);
        let mut series = Series::new(&rig.sample(90_000, &old, true));
        series.add(&rig.sample(91_000, &usage(1_000_500, 4), false));
        let view = series.view(&rig.id, 0);
        let cpu: Vec<_> = view.usage.iter().map(|point| point.cpu_millicores).collect();
        assert_eq!(cpu, [None, Some(500)]);
        assert_eq!(view.usage[0].from_ms, 90_000);
    }

    #[test]
    fn older_figures_of_an_incomplete_reading_are_no_new_ones() {
        let rig = rig();
        let mut now = usage(10, 4);
        now.cpu.throttled_ns = Some(5_000_000);
        let mut series = Series::new(&rig.sample(10_100, &now, true));
        for second in 1..10 {
            series.add(&rig.sample(10_100 + second * 1000, &now, false));
        }
        assert_eq!(series.view(&rig.id, 0).activity.len(), 1);
        now.cpu.throttled_ns = Some(6_000_000);
        series.add(&rig.sample(20_100, &now, true));
        let activity = series.view(&rig.id, 0).activity;
        assert_eq!(activity.last().unwrap().from_ms, 10_100, "since it was last read");
    }

    #[test]
    fn each_kill_has_its_time_and_a_counter_that_falls_is_a_gap() {
        let rig = rig();
        let mut now = usage(100, 4);
        now.memory.events.oom_kill = Some(0);
        let mut series = Series::new(&rig.sample(10_100, &now, true));
        now.memory.events.oom_kill = Some(2);
        series.add(&rig.sample(11_500, &now, true));
        now.cpu.usage_ns = Some(1);
        series.add(&rig.sample(12_900, &now, true));
        let view = series.view(&rig.id, 0);
        assert_eq!(view.oom_kills_ms, [11_500]);
        assert_eq!(view.usage.last().unwrap().cpu_millicores, None);
    }

    #[test]
    fn a_series_never_takes_more_than_its_bound() {
        let rig = rig();
        let mut now = usage(0, 4);
        let mut series = Series::new(&rig.sample(10_100, &now, true));
        for second in 1..20_000_u64 {
            now.memory.events.oom_kill = Some(second);
            series.add(&rig.sample(10_100 + second * 1000, &now, second % 5 == 0));
        }
        assert!(series.bytes() <= MAX_SERIES_BYTES, "{} {MAX_SERIES_BYTES}", series.bytes());
        let view = series.view(&rig.id, 0);
        assert!(view.usage.first().unwrap().from_ms <= 10_100, "its whole life is there");
        assert!(view.usage.len() <= FINE_USAGE + COARSE);
    }
}
