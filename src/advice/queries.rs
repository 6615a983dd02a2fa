//! What Prometheus is asked. Pure.
//!
//! One set of questions covers one window of time, as an instant query at its end: a window bounds
//! what Prometheus loads at once. All answers have one series for each pod, and a runner's pod is one
//! job.

use std::time::Duration;

use super::labels::Labels;
use super::matcher::Matcher;

/// Containers in containers are in the values of those that they are in.
const COUNTED: &str = "container_type!=\"nested\"";
/// Of `containers` these make the pod's limit.
const OF_POD: &str = "container_type=~\"container|sidecar\"";
/// Most points of a window at which working sets are added up.
const MOST_POINTS: u64 = 5760;
/// What a query's answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// Which jobs there are: labels.
    Jobs,
    /// Which of them are over.
    Results,
    /// When containers began, by type.
    Starts,
    /// When they ended, by type.
    Ends,
    /// CPU time.
    Cpu,
    /// The highest working set of all containers at once.
    WorkingSet,
    /// The highest memory use of one container.
    Peak,
    /// How often a scrape found the container running that was found most often, by type.
    Samples,
    /// Pods that a runner has its steps run in, by their names.
    Elsewhere,
    /// Processes killed.
    OomKills,
    /// Share of periods throttled.
    Throttled,
    /// Limit of memory.
    MemoryLimit,
    /// Limit of CPU.
    CpuLimit,
    /// Requests by kube-state-metrics, by resource.
    KubeRequests,
    /// Limits by kube-state-metrics, by resource.
    KubeLimits,
}

/// The questions about jobs with these labels.
#[derive(Debug, Clone)]
pub struct Queries {
    labels: Labels,
    matchers: Vec<Matcher>,
}

// === impl Question ===

impl Question {
    /// All, in the order in which they are asked.
    pub const ALL: [Self; 15] = [
        Self::Jobs,
        Self::Results,
        Self::Starts,
        Self::Ends,
        Self::Cpu,
        Self::WorkingSet,
        Self::Peak,
        Self::Samples,
        Self::Elsewhere,
        Self::OomKills,
        Self::Throttled,
        Self::MemoryLimit,
        Self::CpuLimit,
        Self::KubeRequests,
        Self::KubeLimits,
    ];
}

// === impl Queries ===

impl Queries {
    /// About jobs with all of these labels.
    pub fn new(labels: Labels, matchers: Vec<Matcher>) -> Self {
        Self { labels, matchers }
    }

    /// The names of labels that answers have.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The query about a window of this length.
    pub fn query(&self, question: Question, window: Duration) -> String {
        let seconds = window.as_secs().max(1);
        let range = format!("[{seconds}s]");
        let step = seconds.div_ceil(MOST_POINTS).max(1);
        let (pod, container) = (self.labels.pod(), self.labels.container());
        let of = |family: &str| self.series(family, COUNTED);
        let highest = |family: &str, matchers: &str| {
            let series = self.series(family, matchers);
            format!("max by ({container}) (max_over_time({series}{range}))")
        };
        let sum = |family: &str, matchers: &str| {
            format!("sum by ({pod}) ({})", highest(family, matchers))
        };
        let asked = match question {
            Question::Jobs => {
                let by = format!("{pod}, organization, repository, workflow, job_id");
                return format!("max by ({by}) (last_over_time({}{range}))", self.jobs("info"));
            }
            Question::Results => {
                return format!(
                    "max by ({pod}) (last_over_time({}{range}))",
                    self.jobs("result_info")
                );
            }
            Question::Starts => format!(
                "min by ({pod}, container_type) (min_over_time({}{range}))",
                of("start_time_seconds")
            ),
            Question::Ends => format!(
                "max by ({pod}, container_type) (max_over_time({}{range}))",
                of("end_time_seconds")
            ),
            Question::Cpu => sum("cpu_usage_seconds_total", COUNTED),
            Question::WorkingSet => {
                // One that ended is shown with its last value for some minutes.
                let now = |family| format!("max by ({container}) ({})", of(family));
                let (working_set, ended) =
                    (now("memory_working_set_bytes"), now("end_time_seconds"));
                let at_once =
                    format!("sum by ({pod}) ({working_set} unless on ({container}) {ended})");
                format!("max_over_time(({at_once})[{seconds}s:{step}s])")
            }
            Question::Peak => {
                format!("max by ({pod}) ({})", highest("memory_peak_bytes", COUNTED))
            }
            Question::Samples => self.samples(&range),
            Question::Elsewhere => {
                let names = format!("{COUNTED}, {}=~\".+-workflow|.+-step-.+\"", self.labels.pod);
                let series = self.series("start_time_seconds", &names);
                return format!("max by ({pod}) (max_over_time({series}{range}))");
            }
            Question::OomKills => {
                sum("memory_events_total", &format!("{COUNTED}, event=\"oom_kill\""))
            }
            Question::Throttled => format!(
                "{} / ({} > 0)",
                sum("cpu_cfs_throttled_periods_total", COUNTED),
                sum("cpu_cfs_periods_total", COUNTED)
            ),
            Question::MemoryLimit | Question::CpuLimit => {
                let is_memory = question == Question::MemoryLimit;
                let family = if is_memory { "memory_limit_bytes" } else { "cpu_limit_cores" };
                // A pod with a container that has no limit has none.
                let (all, limited) =
                    (highest("start_time_seconds", OF_POD), highest(family, OF_POD));
                format!("sum by ({pod}) ({limited}) unless on ({pod}) ({all} unless {limited})")
            }
            Question::KubeRequests => return self.of_kube("requests", &range),
            Question::KubeLimits => {
                // The same: as many limits as there are containers.
                let (limits, pod) = (self.of_kube("limits", &range), "namespace, pod");
                let has_all = format!(
                    "count by ({pod}, resource) ({}) == on ({pod}) group_left () count by ({pod}) ({})",
                    kube_highest("limits", &range),
                    self.plain("namespace, pod, container", &highest("start_time_seconds", OF_POD)),
                );
                return format!("({limits}) and on ({pod}, resource) ({has_all})");
            }
        };
        let jobs = format!("max by ({pod}) (last_over_time({}{range}))", self.jobs("info"));
        format!("({asked}) and on ({pod}) {jobs}")
    }

    /// How often a scrape found each type's most seen container. What is shown of one that ended is not
    /// one that runs.
    fn samples(&self, range: &str) -> String {
        let (pod, all) =
            (self.labels.pod(), format!("{}, container_type", self.labels.container()));
        let count = |family| {
            let series = self.series(family, COUNTED);
            format!("max by ({all}) (count_over_time({series}{range}))")
        };
        let (seen, ended) = (count("memory_working_set_bytes"), count("end_time_seconds"));
        format!("max by ({pod}, container_type) ({seen} - on ({all}) {ended} or on ({all}) {seen})")
    }

    /// Of kube-state-metrics, which calls pods by the plain names. Its series need not have the
    /// agents' `cluster`.
    fn of_kube(&self, what: &str, range: &str) -> String {
        let jobs = format!("last_over_time({}{range})", self.jobs("info"));
        let jobs = format!("max by ({}) ({jobs})", self.labels.pod());
        format!(
            "sum by (namespace, pod, resource) ({}) and on (namespace, pod) {}",
            kube_highest(what, range),
            self.plain("namespace, pod", &jobs)
        )
    }

    /// The same series by labels of the plain names. They are by the pod or the container already, so no
    /// two become one before they are told apart.
    fn plain(&self, by: &str, series: &str) -> String {
        let Labels { namespace, pod, container, .. } = self.labels;
        let mut series = series.to_owned();
        for (plain, name) in [("namespace", namespace), ("pod", pod), ("container", container)] {
            if plain != name && by.contains(plain) {
                series =
                    format!("label_replace({series}, \"{plain}\", \"$1\", \"{name}\", \"(.*)\")");
            }
        }
        format!("max by ({by}) ({series})")
    }

    /// A family of single containers.
    fn series(&self, family: &str, matchers: &str) -> String {
        let comma = if self.labels.apart.is_empty() { "" } else { ", " };
        format!("ephemon_container_{family}{{{matchers}{comma}{}}}", self.labels.apart)
    }

    /// The jobs that are wanted, in a family of single jobs.
    fn jobs(&self, family: &str) -> String {
        let apart = Some(self.labels.apart).filter(|it| !it.is_empty());
        let mut matchers: Vec<String> = apart.map(str::to_owned).into_iter().collect();
        for matcher in &self.matchers {
            matcher.write(&self.labels, &mut matchers);
        }
        format!("ephemon_job_{family}{{{}}}", matchers.join(", "))
    }
}

/// The highest of each container, by kube-state-metrics.
fn kube_highest(what: &str, range: &str) -> String {
    let family = format!("kube_pod_container_resource_{what}{{resource=~\"cpu|memory\"}}");
    format!("max by (namespace, pod, container, resource) (max_over_time({family}{range}))")
}

#[cfg(test)]
mod tests;
