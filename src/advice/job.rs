//! What one job used, and what kinds of jobs there are. Plain values.

use serde::Serialize;

use super::amount::Resources;

/// What ARC puts between a scale set's own name and a runner's.
const RUNNER: &str = "-runner-";

/// What jobs are called that count as the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kind {
    /// By the label `cluster`; empty where Prometheus has none.
    pub cluster: String,
    /// The pods' namespace.
    pub namespace: String,
    /// `owner/name`; empty where nobody said.
    pub repository: String,
    /// The workflow's name.
    pub workflow: String,
    /// The job's key in the workflow.
    pub job: String,
}

/// What one job used: of all containers of its pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobUse {
    /// Its kind.
    pub kind: Kind,
    /// The scale set whose runner it ran in, by the pod's name.
    pub scale_set: Option<String>,
    /// When it began, seconds since 1970.
    pub start: f64,
    /// How long it ran, seconds; `None` where that cannot be told from its runner's wait for it.
    pub seconds: Option<f64>,
    /// CPU time, seconds.
    pub cpu_seconds: Option<f64>,
    /// The highest working set of all its containers at once, as scraped, bytes; of a job that few
    /// scrapes found running at least the highest memory use of one of its containers.
    pub memory_bytes: Option<f64>,
    /// The highest memory use of one of its containers, by the kernel, with page cache, bytes.
    pub memory_peak_bytes: Option<f64>,
    /// Processes that the OOM killer ended.
    pub oom_kills: Option<f64>,
    /// The share of periods of a CPU quota in which it was used up.
    pub throttled: Option<f64>,
    /// What its pod requests.
    pub request: Resources,
    /// What limits its pod.
    pub limit: Resources,
}

// === impl JobUse ===

impl JobUse {
    /// CPUs in use on average; `None` of a job whose duration is not known.
    pub fn cpu_cores(&self) -> Option<f64> {
        let seconds = self.seconds.filter(|seconds| *seconds > 0.0)?;
        let cores = self.cpu_seconds? / seconds;
        (cores.is_finite() && cores >= 0.0).then_some(cores)
    }
}

/// `owner/name`, of what is known of it.
pub(crate) fn full_name(owner: &str, name: &str) -> String {
    if owner.is_empty() || name.is_empty() {
        return name.to_owned();
    }
    format!("{owner}/{name}")
}

/// The scale set of a runner's pod, by the names that ARC gives: `SCALE-SET-xxxxx-runner-yyyyy`.
pub(crate) fn scale_set(pod: &str) -> Option<&str> {
    let (set, runner) = pod.rsplit_once(RUNNER)?;
    let (name, suffix) = set.rsplit_once('-')?;
    let is_made_up =
        |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_made_up(runner) && is_made_up(suffix) && !name.is_empty()).then_some(name)
}

/// The runner by whose job the reference hook made this pod: `RUNNER-workflow`, `RUNNER-step-xxxxxxxx`, or
/// the pod of such a `Job`. The hook may have cut the runner's name.
pub(crate) fn runner_of(pod: &str) -> Option<&str> {
    let of_step = || {
        let (runner, rest) = pod.rsplit_once("-step-")?;
        let (digits, random) = rest.split_once('-').unwrap_or((rest, ""));
        let is_random = digits.len() == 8 && digits.bytes().all(|it| it.is_ascii_hexdigit());
        (is_random && !random.contains('-')).then_some(runner)
    };
    pod.strip_suffix("-workflow").or_else(of_step).filter(|runner| !runner.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_set_is_known_by_its_runners_names() {
        for (pod, expected) in [
            ("arc-runner-set-x7k2p-runner-9b8cd", Some("arc-runner-set")),
            ("big-runner-ab123-runner-9b8cd", Some("big-runner")),
            ("a-b-runner-9b8cd", None),
            ("runner-1", None),
            ("-x7k2p-runner-9b8cd", None),
            ("", None),
        ] {
            assert_eq!(scale_set(pod), expected, "{pod}");
        }
    }

    #[test]
    fn pods_of_the_reference_hook_are_known_by_their_names() {
        for (pod, expected) in [
            ("set-x7k2p-runner-9b8cd-workflow", Some("set-x7k2p-runner-9b8cd")),
            ("set-x7k2p-runner-9b8cd-step-0a1b2c3d", Some("set-x7k2p-runner-9b8cd")),
            ("set-x7k2p-runner-9b8cd-step-0a1b2c3d-x7k2p", Some("set-x7k2p-runner-9b8cd")),
            ("my-step-set-x7k2p-runner-9b8cd", None),
            ("set-x7k2p-runner-9b8cd", None),
            ("-workflow", None),
        ] {
            assert_eq!(runner_of(pod), expected, "{pod}");
        }
    }

    #[test]
    fn a_job_without_a_duration_has_no_average() {
        let job = |seconds, cpu_seconds| JobUse {
            seconds: Some(seconds),
            cpu_seconds: Some(cpu_seconds),
            ..JobUse::default()
        };
        assert_eq!(JobUse { seconds: None, ..job(10.0, 5.0) }.cpu_cores(), None);
        assert_eq!(job(10.0, 5.0).cpu_cores(), Some(0.5));
        assert_eq!(job(0.0, 5.0).cpu_cores(), None);
        assert_eq!(job(-1.0, 5.0).cpu_cores(), None);
        assert_eq!(job(1.0, f64::NAN).cpu_cores(), None);
    }
}
