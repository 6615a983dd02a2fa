//! What Prometheus is asked. Pure.
//!
//! One set of questions covers one window of time, as an instant query at its end: a window bounds
//! what Prometheus loads at once. All answers have one series for each pod, and a runner's pod is one
//! job.

use std::fmt::Write as _;
use std::time::Duration;

/// Containers in containers are in the values of those that they are in.
const COUNTED: &str = "container_type!=\"nested\"";
/// Of `containers` these make the pod's limit.
const OF_POD: &str = "container_type=~\"container|sidecar\"";
/// Most points of a window at which working sets are added up.
const MOST_POINTS: u64 = 5760;
/// Most bytes of a matcher's value.
const MOST_VALUE_BYTES: usize = 1024;

/// The names that labels have there: `exported_pod` where the scrape renames `pod`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    namespace: &'static str,
    pod: &'static str,
    container: &'static str,
}

/// One label and its value: only such jobs count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    pub(crate) label: Matched,
    pub(crate) value: String,
}

/// What a matcher is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matched {
    Cluster,
    Namespace,
    Organization,
    Repository,
    Workflow,
    Job,
}

/// Why a matcher cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    /// There is no `=`.
    #[error("expected LABEL=VALUE, such as repository=octo/hello")]
    NoValue,
    /// No label of jobs.
    #[error(
        "jobs have no label {0:?}; there are cluster, namespace, organization, repository, workflow \
         and job"
    )]
    NoLabel(String),
    /// Too long.
    #[error("a value has at most {MOST_VALUE_BYTES} bytes")]
    TooLong,
}

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

// === impl Labels ===

impl Labels {
    /// The family whose labels' names tell.
    pub const FAMILY: &str = "ephemon_container_start_time_seconds";

    /// By the names of labels that the family's series have; `None` without any series.
    pub fn of(names: &[String]) -> Option<Self> {
        let choose = |plain, exported: &'static str| {
            let has = |name: &str| names.iter().any(|known| known == name);
            if has(exported) { Some(exported) } else { has(plain).then_some(plain) }
        };
        Some(Self {
            namespace: choose("namespace", "exported_namespace")?,
            pod: choose("pod", "exported_pod")?,
            container: choose("container", "exported_container")?,
        })
    }

    /// A pod.
    fn pod(&self) -> String {
        format!("cluster, {}, {}", self.namespace, self.pod)
    }

    /// A container.
    fn container(&self) -> String {
        format!("{}, {}", self.pod(), self.container)
    }

    /// The name of the label that has the pod's namespace, and of the one that has its name.
    pub(crate) fn names(&self) -> (&'static str, &'static str) {
        (self.namespace, self.pod)
    }
}

// === impl Matcher ===

impl Matcher {
    /// Reads `LABEL=VALUE`.
    pub fn parse(text: &str) -> Result<Self, MatcherError> {
        let (label, value) = text.split_once('=').ok_or(MatcherError::NoValue)?;
        let label = match label.trim() {
            "cluster" => Matched::Cluster,
            "namespace" => Matched::Namespace,
            "organization" => Matched::Organization,
            "repository" => Matched::Repository,
            "workflow" => Matched::Workflow,
            "job" | "job_id" => Matched::Job,
            other => return Err(MatcherError::NoLabel(other.chars().take(64).collect())),
        };
        if value.len() > MOST_VALUE_BYTES {
            return Err(MatcherError::TooLong);
        }
        Ok(Self { label, value: value.to_owned() })
    }

    fn write(&self, labels: &Labels, to: &mut Vec<String>) {
        let mut equal = |name: &str, value: &str| to.push(format!("{name}={}", quoted(value)));
        match (self.label, self.value.split_once('/')) {
            (Matched::Repository, Some((organization, repository))) => {
                equal("organization", organization);
                equal("repository", repository);
            }
            (Matched::Repository, None) => equal("repository", &self.value),
            (Matched::Cluster, _) => equal("cluster", &self.value),
            (Matched::Namespace, _) => equal(labels.namespace, &self.value),
            (Matched::Organization, _) => equal("organization", &self.value),
            (Matched::Workflow, _) => equal("workflow", &self.value),
            (Matched::Job, _) => equal("job_id", &self.value),
        }
    }
}

// === impl Question ===

impl Question {
    /// All, in the order in which they are asked.
    pub const ALL: [Self; 13] = [
        Self::Jobs,
        Self::Results,
        Self::Starts,
        Self::Ends,
        Self::Cpu,
        Self::WorkingSet,
        Self::Peak,
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
        let of = |family: &str| format!("ephemon_container_{family}{{{COUNTED}}}");
        let highest = |family: &str, matchers: &str| {
            let series = format!("ephemon_container_{family}{{{matchers}}}");
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
            Question::OomKills => {
                sum("memory_events_total", &format!("{COUNTED}, event=\"oom_kill\""))
            }
            Question::Throttled => format!(
                "{} / ({} > 0)",
                sum("cpu_cfs_throttled_periods_total", COUNTED),
                sum("cpu_cfs_periods_total", COUNTED)
            ),
            Question::MemoryLimit => sum("memory_limit_bytes", OF_POD),
            Question::CpuLimit => sum("cpu_limit_cores", OF_POD),
            Question::KubeRequests => return self.of_kube("requests", &range),
            Question::KubeLimits => return self.of_kube("limits", &range),
        };
        let jobs = format!("max by ({pod}) (last_over_time({}{range}))", self.jobs("info"));
        format!("({asked}) and on ({pod}) {jobs}")
    }

    /// Of kube-state-metrics, which calls pods by the plain names. Its series need not have the
    /// agents' `cluster`.
    fn of_kube(&self, what: &str, range: &str) -> String {
        let (namespace, pod) = self.labels.names();
        let mut jobs = format!("last_over_time({}{range})", self.jobs("info"));
        for (plain, name) in [("namespace", namespace), ("pod", pod)] {
            if plain != name {
                jobs = format!("label_replace({jobs}, \"{plain}\", \"$1\", \"{name}\", \"(.*)\")");
            }
        }
        let family = format!("kube_pod_container_resource_{what}{{resource=~\"cpu|memory\"}}");
        format!(
            "sum by (namespace, pod, resource) (max by (namespace, pod, container, resource) \
             (max_over_time({family}{range}))) and on (namespace, pod) max by (namespace, pod) ({jobs})"
        )
    }

    /// The jobs that are wanted, in a family of single jobs.
    fn jobs(&self, family: &str) -> String {
        let mut matchers = Vec::new();
        for matcher in &self.matchers {
            matcher.write(&self.labels, &mut matchers);
        }
        format!("ephemon_job_{family}{{{}}}", matchers.join(", "))
    }
}

/// As a string of `PromQL`, which escapes as Go does.
fn quoted(value: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in value.chars() {
        match letter {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(letter);
            }
            letter if letter.is_control() => {
                write!(quoted, "\\U{:08x}", u32::from(letter)).ok();
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn queries(names: &[&str], matchers: &[&str]) -> Queries {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let matchers = matchers.iter().map(|text| Matcher::parse(text).unwrap()).collect();
        Queries::new(Labels::of(&names).unwrap(), matchers)
    }

    #[test]
    fn labels_that_the_scrape_renames_are_asked_for_by_their_new_names() {
        let plain = queries(&["namespace", "pod", "container"], &[]);
        let asked = plain.query(Question::Cpu, DAY);
        assert_eq!(
            asked,
            "(sum by (cluster, namespace, pod) (max by (cluster, namespace, pod, container) \
             (max_over_time(ephemon_container_cpu_usage_seconds_total{container_type!=\"nested\"}\
             [86400s])))) and on (cluster, namespace, pod) max by (cluster, namespace, pod) \
             (last_over_time(ephemon_job_info{}[86400s]))"
        );
        let all = ["namespace", "exported_namespace", "pod", "exported_pod", "exported_container"];
        let renamed = queries(&all, &[]);
        for question in Question::ALL {
            let asked = renamed.query(question, DAY);
            assert!(asked.contains("exported_namespace, exported_pod") || asked.contains("kube_"));
        }
        let kube = renamed.query(Question::KubeLimits, DAY);
        assert!(kube.contains("\"pod\", \"$1\", \"exported_pod\", \"(.*)\")"), "{kube}");
        assert_eq!(Labels::of(&["pod".to_owned()]), None);
    }

    #[test]
    fn a_value_cannot_leave_its_string() {
        let hostile = "repository=o\"} or vector(1) #/a\\\"\n";
        let asked = queries(&["namespace", "pod", "container"], &[hostile, "job=x"]);
        assert!(asked.query(Question::Jobs, DAY).contains(
            "ephemon_job_info{organization=\"o\\\"} or vector(1) #\", \
             repository=\"a\\\\\\\"\\U0000000a\", job_id=\"x\"}"
        ));
        assert_eq!(Matcher::parse("repository"), Err(MatcherError::NoValue));
        assert!(matches!(Matcher::parse("x=1"), Err(MatcherError::NoLabel(_))));
        assert_eq!(
            Matcher::parse(&format!("job={}", "x".repeat(1025))),
            Err(MatcherError::TooLong)
        );
    }

    #[test]
    fn the_points_of_a_window_are_bounded() {
        let queries = queries(&["namespace", "pod", "container"], &[]);
        for (seconds, step) in [(60, "[60s:1s]"), (86_400, "[86400s:15s]")] {
            let asked = queries.query(Question::WorkingSet, Duration::from_secs(seconds));
            assert!(asked.contains(step), "{asked}");
        }
    }
}
