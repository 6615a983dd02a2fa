//! The configuration of the hook from environment variables of the operator and the runner.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ephemon_contract::{Volume, env, mount};
use ephemon_otel::Signal;
use ephemon_otel::config::{self, Exporter, Ignored};

/// Default of `ACTIONS_RUNNER_PREPARE_JOB_TIMEOUT_SECONDS`, as in the reference hook.
const PREPARE_TIMEOUT: Duration = Duration::from_mins(10);

/// Default of `EPHEMON_STANDBY`, and the most of it: each takes memory of the job's, and stays in
/// the pod's object for good.
const STANDBY: usize = 2;
const STANDBY_MAX: usize = 32;

/// How long a call waits at its end for the collector, in milliseconds.
pub(super) const COLLECTOR_WAIT: &str = "EPHEMON_COLLECTOR_WAIT_MILLISECONDS";
/// What that is by default, and what it may be: the runner waits for each call.
const COLLECTOR_WAIT_DEFAULT: Duration = Duration::from_millis(250);
const COLLECTOR_WAIT_MILLISECONDS: RangeInclusive<u64> = 1..=5000;

/// Variables of the job's identity that may be in the pod's spec: GitHub's names and ours.
const IDENTITY: [(&str, &str); 11] = [
    ("GITHUB_REPOSITORY", env::JOB_REPOSITORY),
    ("GITHUB_RUN_ID", env::JOB_RUN_ID),
    ("GITHUB_RUN_ATTEMPT", env::JOB_RUN_ATTEMPT),
    ("GITHUB_JOB", env::JOB_NAME),
    ("GITHUB_WORKFLOW", env::JOB_WORKFLOW),
    ("GITHUB_WORKFLOW_REF", env::JOB_WORKFLOW_REF),
    ("GITHUB_SHA", env::JOB_SHA),
    ("GITHUB_REF", env::JOB_REF),
    ("GITHUB_EVENT_NAME", env::JOB_EVENT),
    ("RUNNER_NAME", env::JOB_RUNNER),
    ("GITHUB_SERVER_URL", env::JOB_SERVER_URL),
];

/// All settings of one call.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// `ACTIONS_RUNNER_POD_NAME`, else `HOSTNAME`.
    pub(super) pod: Option<String>,
    /// `ACTIONS_RUNNER_KUBERNETES_NAMESPACE`, else the namespace of the service account.
    pub(super) namespace: Option<String>,
    /// `EPHEMON_VOLUME`: the shared volume in the runner's container.
    pub(super) volume: Volume,
    /// `ACTIONS_RUNNER_PREPARE_JOB_TIMEOUT_SECONDS`.
    pub(super) timeout: Duration,
    /// `EPHEMON_HOOK_TEMPLATE`, else `ACTIONS_RUNNER_CONTAINER_HOOK_TEMPLATE`.
    pub(super) template: Option<PathBuf>,
    /// `EPHEMON_STANDBY`: how many containers may wait for container actions; 0 for none.
    pub(super) standby: usize,
    /// Its text, if that says nothing of the kind.
    pub(super) standby_ignored: Option<String>,
    /// `EPHEMON_NRI`: whether the node's agent is asked to put init in front of images' own entrypoints.
    pub(super) nri: bool,
    /// `EPHEMON_ALLOW_PRIVILEGED`: whether workflows may request privileges.
    pub(super) allow_privileged: bool,
    /// `GITHUB_STEP_SUMMARY`: the summary file of the step, or of the runner's job completed hook.
    pub(super) summary: Option<PathBuf>,
    /// `EPHEMON_STEP_SUMMARY`: whether each step's usage is written there.
    pub(super) step_tables: bool,
    /// The job's identity with our names.
    pub(super) identity: Vec<(&'static str, String)>,
    /// `TRACESTATE` and `BAGGAGE` of the hook itself, which are passed on.
    pub(super) trace_state: Option<String>,
    pub(super) baggage: Option<String>,
    /// The standard `OTEL_*` variables.
    pub(super) telemetry: TelemetrySettings,
    /// `GITHUB_SERVER_URL`.
    pub(super) server_url: Option<String>,
    /// `GITHUB_ACTION`: the step's id.
    pub(super) step_id: Option<String>,
    /// The runner's `_work`, as a path of the runner.
    pub(super) work: Option<PathBuf>,
    /// `GITHUB_WORKSPACE`, as a path of the runner.
    pub(super) workspace: Option<PathBuf>,
    /// Root directory of the runner's own files.
    pub(super) root: PathBuf,
}

/// The configuration of the hook's spans by the standard `OTEL_*` variables.
#[derive(Debug, Clone)]
pub(super) struct TelemetrySettings {
    /// The destination.
    pub(super) traces: Exporter,
    /// `EPHEMON_COLLECTOR_WAIT_MILLISECONDS`: the wait for the collector at the end of a call.
    pub(super) wait: Duration,
    /// Its text, if that is no number of its range.
    pub(super) wait_ignored: Option<String>,
    /// Resource attributes.
    pub(super) resource: Vec<(String, String)>,
    /// What is not used of the variables.
    pub(super) ignored: Vec<Ignored>,
}

// === impl TelemetrySettings ===

impl TelemetrySettings {
    fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let (traces, mut ignored) = config::exporter(Signal::Traces, &lookup);
        let (resource, ignored_too) = config::resource_from_env(&lookup);
        ignored.extend(ignored_too);
        let text = lookup(COLLECTOR_WAIT).filter(|text| !text.is_empty());
        let wait = text.as_deref().and_then(|text| text.trim().parse().ok());
        let wait = wait.filter(|milliseconds| COLLECTOR_WAIT_MILLISECONDS.contains(milliseconds));
        Self {
            traces,
            wait: wait.map_or(COLLECTOR_WAIT_DEFAULT, Duration::from_millis),
            wait_ignored: text.filter(|_| wait.is_none()),
            resource,
            ignored,
        }
    }
}

// === impl Settings ===

impl Settings {
    /// From the environment of this process.
    pub(super) fn from_process() -> Self {
        Self::from_env(|name| std::env::var(name).ok())
    }

    /// From any environment; an empty variable counts as unset.
    pub(super) fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let yes = |name: &str| {
            get(name).is_some_and(|value| matches!(value.as_str(), "1" | "true" | "True" | "TRUE"))
        };
        let work = get("RUNNER_TEMP")
            .and_then(|temp| Path::new(&temp).parent().map(Path::to_owned))
            .or_else(|| {
                get("RUNNER_WORKSPACE")
                    .and_then(|workspace| Path::new(&workspace).parent().map(Path::to_owned))
            });
        let identity = IDENTITY
            .iter()
            .filter_map(|(theirs, ours)| get(theirs).map(|value| (*ours, value)))
            .collect();
        let standby = get("EPHEMON_STANDBY").map_or(Some(STANDBY), |text| standby(&text));
        Self {
            pod: get("ACTIONS_RUNNER_POD_NAME").or_else(|| get("HOSTNAME")),
            namespace: get("ACTIONS_RUNNER_KUBERNETES_NAMESPACE"),
            volume: Volume::new(get(env::VOLUME).unwrap_or_else(|| mount::EPHEMON.to_owned())),
            timeout: get("ACTIONS_RUNNER_PREPARE_JOB_TIMEOUT_SECONDS")
                .and_then(|seconds| seconds.trim().parse().ok())
                .filter(|seconds| *seconds > 0)
                .map_or(PREPARE_TIMEOUT, Duration::from_secs),
            template: get("EPHEMON_HOOK_TEMPLATE")
                .or_else(|| get("ACTIONS_RUNNER_CONTAINER_HOOK_TEMPLATE"))
                .map(PathBuf::from),
            standby: standby.unwrap_or(STANDBY),
            standby_ignored: get("EPHEMON_STANDBY").filter(|_| standby.is_none()),
            nri: yes("EPHEMON_NRI"),
            allow_privileged: yes("EPHEMON_ALLOW_PRIVILEGED"),
            summary: get("GITHUB_STEP_SUMMARY").map(PathBuf::from),
            step_tables: yes("EPHEMON_STEP_SUMMARY"),
            identity,
            trace_state: get(env::TRACESTATE),
            baggage: get(env::BAGGAGE),
            telemetry: TelemetrySettings::from_env(&lookup),
            server_url: get("GITHUB_SERVER_URL"),
            step_id: get("GITHUB_ACTION"),
            work,
            workspace: get("GITHUB_WORKSPACE").map(PathBuf::from),
            root: PathBuf::from("/"),
        }
    }

    /// The value of the job's identity with one of our names.
    pub(super) fn identity_of(&self, name: &str) -> Option<&str> {
        let mut known = self.identity.iter().filter(|(known, _)| *known == name);
        known.next().map(|(_, value)| value.as_str())
    }

    /// Whether the runner has a file at an absolute path. A file that the runner cannot access
    /// cannot be given to a job either.
    pub(super) fn has(&self, path: &str) -> bool {
        self.root.join(path.trim_start_matches('/')).symlink_metadata().is_ok()
    }

    /// A path of the runner's `_work` as the job's containers see it.
    pub(super) fn in_container(&self, path: &Path) -> Option<String> {
        let below = path.strip_prefix(self.work.as_ref()?).ok()?;
        let escapes = below.components().any(|part| part == std::path::Component::ParentDir);
        let below = below.to_str().filter(|_| !escapes)?;
        Some(if below.is_empty() {
            mount::WORK.to_owned()
        } else {
            format!("{}/{below}", mount::WORK)
        })
    }
}

/// A number, or a word for one.
fn standby(text: &str) -> Option<usize> {
    match text.trim().to_ascii_lowercase().as_str() {
        "false" | "off" | "no" | "none" => Some(0),
        "true" | "on" | "yes" => Some(STANDBY),
        count => count.parse().ok().map(|count: usize| count.min(STANDBY_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Settings::from_env(|name| {
            pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn only_names_of_the_list_become_identity() {
        let settings = settings(&[
            ("GITHUB_REPOSITORY", "o/r"),
            ("GITHUB_TOKEN", "secret"),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret"),
            ("RUNNER_NAME", "r-1"),
        ]);
        let wanted = [(env::JOB_REPOSITORY, "o/r".to_owned()), (env::JOB_RUNNER, "r-1".to_owned())];
        assert_eq!(settings.identity, wanted);
        assert!(settings.identity.iter().all(|(name, _)| env::JOB.contains(name)));
    }

    #[test]
    fn nothing_said_gives_the_defaults_and_empty_is_nothing() {
        let settings = settings(&[("EPHEMON_VOLUME", ""), ("GITHUB_STEP_SUMMARY", "/s")]);
        assert_eq!(settings.volume.root(), Path::new("/ephemon"));
        assert_eq!(settings.timeout, Duration::from_mins(10));
        assert!(!settings.step_tables);
        assert!(!settings.allow_privileged);
        assert_eq!(settings.standby, 2);
    }

    #[test]
    fn containers_that_stand_by_are_bounded() {
        for (text, count) in [("0", 0), (" 7 ", 7), ("1000", 32), ("many", 2), ("-1", 2)] {
            assert_eq!(settings(&[("EPHEMON_STANDBY", text)]).standby, count, "{text}");
        }
        for (text, count) in [("false", 0), ("Off", 0), ("no", 0), ("true", 2)] {
            let settings = settings(&[("EPHEMON_STANDBY", text)]);
            assert_eq!((settings.standby, settings.standby_ignored), (count, None), "{text}");
        }
        let settings = settings(&[("EPHEMON_STANDBY", "many")]);
        assert_eq!(settings.standby_ignored.as_deref(), Some("many"));
    }

    #[test]
    fn the_wait_for_a_collector_is_bounded() {
        for (text, milliseconds) in [("", 250), (" 1500 ", 1500), ("1", 1), ("5000", 5000)] {
            let settings = settings(&[(COLLECTOR_WAIT, text)]).telemetry;
            let wait = Duration::from_millis(milliseconds);
            assert_eq!((settings.wait, settings.wait_ignored), (wait, None), "{text}");
        }
        for text in ["-1", "0", "1s", "0.5", "5001"] {
            let settings = settings(&[(COLLECTOR_WAIT, text)]).telemetry;
            let wait = (COLLECTOR_WAIT_DEFAULT, Some(text.to_owned()));
            assert_eq!((settings.wait, settings.wait_ignored), wait);
        }
    }

    #[test]
    fn spans_are_exported_only_where_asked_for() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        let exports = |pairs: &[(&str, &str)]| settings(pairs).telemetry.traces != Exporter::Off;
        assert!(!exports(&[]));
        assert!(exports(&[endpoint]));
        assert!(exports(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/v1/traces")]));
        assert!(!exports(&[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://c/v1/logs")]));
        assert!(!exports(&[endpoint, ("OTEL_SDK_DISABLED", "true")]));
        assert!(!exports(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]));
    }

    #[test]
    fn paths_of_the_work_directory_are_translated_and_no_others() {
        let settings = settings(&[("RUNNER_TEMP", "/home/runner/_work/_temp")]);
        let seen = |path: &str| settings.in_container(Path::new(path));
        assert_eq!(seen("/home/runner/_work/r/r").as_deref(), Some("/__w/r/r"));
        assert_eq!(seen("/home/runner/_work").as_deref(), Some("/__w"));
        assert_eq!(seen("/etc"), None);
        assert_eq!(seen("/home/runner/_work/../x"), None);
    }
}
