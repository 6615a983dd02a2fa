//! The demo's report, which is also its self-check: compares the agent's values with the embedded
//! node's own records. Pure.

pub(super) mod jobs;
pub(super) mod logs;

use std::fmt;

use serde::Serialize;

use self::jobs::Jobs;
use self::logs::Logs;
use super::kubelet::{Kind, Truth};
use super::shown::{Series, Shown};
use super::watcher::Cost;
use super::workflow::Played;

/// Largest accepted error of a container's CPU time.
const CPU_ERROR_MAX: f64 = 0.01;
/// Below this CPU time an error is relative to this value instead of the container's own: one
/// percent of it is a millisecond.
const CPU_FLOOR_SECONDS: f64 = 0.1;

/// The content of the report.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    containers: Containers,
    /// `None` if logs were exported to a collector that the demo cannot read.
    logs: Option<Logs>,
    /// `None` if spans were exported to a collector that the demo cannot read.
    jobs: Option<Jobs>,
    /// `None` if the workflow did not run.
    hook: Option<Played>,
    agent: Agent,
}

#[derive(Debug, Clone, Serialize)]
struct Containers {
    /// Ephemeral containers of the selected pods whose command ran, according to the embedded node.
    launched: usize,
    /// Those of them that the agent reported with an end.
    captured: usize,
    /// Final readings with the quality `exact`, as counted by the agent, for all containers,
    /// including the runners and those whose command could not be run.
    final_exact: u64,
    final_residual: u64,
    final_residual_shared: u64,
    final_last_sample: u64,
    /// The largest |reported − true| ÷ max(true, 0.1 s) of all launched containers: at most 0.01 is
    /// "within 1 % or 1 ms".
    cpu_error_ratio_max: f64,
    /// Containers of pods outside the selection that the agent reported all the same.
    unselected_shown: usize,
    details: Vec<Detail>,
}

#[derive(Debug, Clone, Serialize)]
struct Detail {
    pod: String,
    container: String,
    exit_code: i32,
    reason: &'static str,
    duration_seconds: f64,
    /// From the cgroup's own counter just before it was removed.
    cpu_seconds_true: f64,
    /// From `getrusage` of the reaped processes; slightly more, because it includes time before the
    /// cgroup was entered.
    cpu_seconds_reaped: f64,
    cpu_seconds_shown: Option<f64>,
    cpu_error_ratio: f64,
    memory_peak_bytes_true: Option<u64>,
    memory_peak_bytes_shown: Option<f64>,
    ended_shown: bool,
}

#[derive(Debug, Clone, Serialize)]
struct Agent {
    rss_bytes: u64,
    cpu_seconds: f64,
    wall_seconds: f64,
}

// === impl Report ===

impl Report {
    /// Compares what was reported with what was true. `pods` are the selected ones.
    pub(super) fn new(
        truths: &[Truth],
        pods: &[&str],
        shown: &Shown,
        cost: Cost,
        wall_seconds: f64,
    ) -> Self {
        let launched = |truth: &&Truth| {
            truth.kind == Kind::Ephemeral
                && truth.started_at.is_some()
                && pods.contains(&truth.pod.as_str())
        };
        let details: Vec<_> = truths
            .iter()
            .filter(launched)
            .map(|truth| {
                let who = (truth.namespace.clone(), truth.pod.clone(), truth.container.clone());
                Detail::new(truth, shown.containers.get(&who))
            })
            .collect();
        let errors = details.iter().map(|detail| detail.cpu_error_ratio);
        let strangers = shown.containers.keys().filter(|(_, pod, _)| !pods.contains(&pod.as_str()));
        Self {
            containers: Containers {
                launched: details.len(),
                captured: details.iter().filter(|detail| detail.ended_shown).count(),
                final_exact: shown.finals("exact"),
                final_residual: shown.finals("residual"),
                final_residual_shared: shown.finals("residual_shared"),
                final_last_sample: shown.finals("last_sample"),
                cpu_error_ratio_max: errors.fold(0.0, f64::max),
                unselected_shown: strangers.count(),
                details,
            },
            logs: None,
            jobs: None,
            hook: None,
            agent: Agent { rss_bytes: cost.rss_bytes, cpu_seconds: cost.cpu_seconds, wall_seconds },
        }
    }

    /// The same, with the result of the workflow.
    pub(super) fn with(self, hook: Option<Played>) -> Self {
        Self { hook, ..self }
    }

    /// The same, with the result for the containers' logs.
    pub(super) fn with_logs(self, logs: Option<Logs>) -> Self {
        Self { logs, ..self }
    }

    /// The same, with the result for the jobs' traces.
    pub(super) fn with_jobs(self, jobs: Option<Jobs>) -> Self {
        Self { jobs, ..self }
    }

    /// One JSON object and a newline.
    pub(super) fn to_json(&self) -> String {
        // It contains only numbers and text, so it can always be serialized.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The faults, one sentence each; empty if there are none.
    pub(super) fn faults(&self) -> Vec<String> {
        let c = &self.containers;
        let mut faults = Vec::new();
        if c.launched == 0 {
            faults.push("no container was launched: there is nothing to check".to_owned());
        }
        for missed in c.details.iter().filter(|detail| !detail.ended_shown) {
            faults.push(format!(
                "the agent did not report the end of {} in {}",
                missed.container, missed.pod
            ));
        }
        let estimates = c.final_residual_shared.saturating_add(c.final_last_sample);
        if estimates > 0 {
            faults.push(format!(
                "{estimates} final readings have a quality worse than residual ({} residual_shared, {} last_sample)",
                c.final_residual_shared, c.final_last_sample
            ));
        }
        for wrong in c.details.iter().filter(|detail| detail.cpu_error_ratio > CPU_ERROR_MAX) {
            faults.push(format!(
                "{} in {} used {:.6} s of CPU time, the agent reports {}",
                wrong.container,
                wrong.pod,
                wrong.cpu_seconds_true,
                wrong.cpu_seconds_shown.map_or("none".to_owned(), |shown| format!("{shown:.6} s"))
            ));
        }
        if c.unselected_shown > 0 {
            faults.push(format!(
                "the agent reports {} containers that its selector does not match",
                c.unselected_shown
            ));
        }
        faults.extend(self.logs.iter().flat_map(Logs::faults));
        faults.extend(self.jobs.iter().flat_map(|jobs| jobs.faults().iter().cloned()));
        faults.extend(self.hook.iter().flat_map(|hook| hook.faults.iter().cloned()));
        faults
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.containers;
        writeln!(
            f,
            "{:<14} {:>9} {:>13} {:>13} {:>9}  END",
            "CONTAINER", "LIFE", "CPU TRUE", "CPU SHOWN", "ERROR"
        )?;
        for detail in &c.details {
            let shown = detail.cpu_seconds_shown.map_or("-".to_owned(), |s| format!("{s:.6} s"));
            writeln!(
                f,
                "{:<14} {:>7.2} s {:>11.6} s {shown:>13} {:>7.3} %  {} ({})",
                detail.container,
                detail.duration_seconds,
                detail.cpu_seconds_true,
                detail.cpu_error_ratio * 100.0,
                detail.exit_code,
                detail.reason
            )?;
        }
        writeln!(f)?;
        if let Some(jobs) = &self.jobs {
            write!(f, "{jobs}")?;
        }
        writeln!(f, "launched {}, captured {}", c.launched, c.captured)?;
        writeln!(
            f,
            "final    {} exact, {} residual, {} residual shared, {} last sample",
            c.final_exact, c.final_residual, c.final_residual_shared, c.final_last_sample
        )?;
        writeln!(f, "error    {:.3} % of CPU time at most", c.cpu_error_ratio_max * 100.0)?;
        if let Some(logs) = &self.logs {
            writeln!(f, "logs     {logs}")?;
        }
        if let Some(hook) = &self.hook {
            writeln!(
                f,
                "hook     prepare_job {:.0} ms ({:.0} ms of it the kubelet's), a script step {:.1} ms over its own process, a container step {:.0} ms, cleanup_job {:.0} ms",
                hook.prepare_job_ms,
                hook.prepare_job_kubelet_ms,
                hook.script_step_ms,
                hook.container_step_ms,
                hook.cleanup_job_ms
            )?;
        }
        write!(
            f,
            "agent    {:.1} MB RSS, {:.2} s of CPU time in {:.1} s",
            self.agent.rss_bytes as f64 / 1e6,
            self.agent.cpu_seconds,
            self.agent.wall_seconds
        )
    }
}

// === impl Detail ===

impl Detail {
    fn new(truth: &Truth, series: Option<&Series>) -> Self {
        let series = series.copied().unwrap_or_default();
        let figures = &truth.account.figures;
        let cpu_true = figures.cpu_ns.unwrap_or(0) as f64 / 1e9;
        // For a container that was not reported, the error is everything that it used.
        let error = (series.cpu_seconds.unwrap_or(0.0) - cpu_true).abs();
        let life = truth.started_at.and_then(|start| truth.ended_at.duration_since(start).ok());
        Self {
            pod: truth.pod.clone(),
            container: truth.container.clone(),
            exit_code: truth.exit_code,
            reason: truth.reason,
            duration_seconds: life.unwrap_or_default().as_secs_f64(),
            cpu_seconds_true: cpu_true,
            cpu_seconds_reaped: truth.account.reaped.as_secs_f64(),
            cpu_seconds_shown: series.cpu_seconds,
            cpu_error_ratio: error / cpu_true.max(CPU_FLOOR_SECONDS),
            memory_peak_bytes_true: figures.memory_peak_bytes,
            memory_peak_bytes_shown: series.memory_peak_bytes,
            ended_shown: series.end_time.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::cgroups::Figures;
    use super::super::kubelet::Account;
    use super::*;

    fn truth(container: &str, cpu_ms: u64) -> Truth {
        let figures = Figures { cpu_ns: Some(cpu_ms * 1_000_000), ..Figures::default() };
        Truth {
            namespace: "default".to_owned(),
            pod: "p".to_owned(),
            pod_uid: String::new(),
            container: container.to_owned(),
            kind: Kind::Ephemeral,
            id: String::new(),
            started_at: Some(UNIX_EPOCH),
            ended_at: UNIX_EPOCH + Duration::from_secs(1),
            exit_code: 0,
            reason: "Completed",
            account: Account { figures, ..Account::default() },
        }
    }

    fn report(truths: &[Truth], page: &str) -> Report {
        let mut shown = Shown::default();
        shown.enter(page);
        Report::new(truths, &["p"], &shown, Cost::default(), 1.0)
    }

    fn page(pod: &str, container: &str, cpu: f64, quality: &str) -> String {
        let labels = format!("{{namespace=\"default\",pod=\"{pod}\",container=\"{container}\"}}");
        format!(
            "ephemon_container_cpu_usage_seconds_total{labels} {cpu}\n\
             ephemon_container_end_time_seconds{labels} 1\n\
             ephemon_agent_final_readings_total{{quality=\"{quality}\"}} 1\n"
        )
    }

    #[test]
    fn a_container_shown_within_a_percent_or_a_millisecond_is_well() {
        assert!(report(&[truth("c", 1000)], &page("p", "c", 1.009, "exact")).faults().is_empty());
        assert!(report(&[truth("c", 30)], &page("p", "c", 0.0309, "residual")).faults().is_empty());
    }

    #[test]
    fn everything_that_can_go_wrong_is_said() {
        let says = |truths: &[Truth], page: &str, what: &str| {
            let faults = report(truths, page).faults();
            assert!(faults.iter().any(|fault| fault.contains(what)), "{faults:?}");
        };
        says(&[], "", "nothing to check");
        says(&[truth("c", 1000)], "", "did not report the end of c");
        says(&[truth("c", 1000)], &page("p", "c", 1.02, "exact"), "used 1.000000 s");
        says(&[truth("c", 30)], &page("p", "c", 0.032, "exact"), "used 0.030000 s");
        says(&[truth("c", 1)], &page("p", "c", 0.001, "last_sample"), "worse than residual");
        says(&[truth("c", 1)], &page("other", "x", 0.001, "exact"), "its selector does not match");
    }

    #[test]
    fn containers_that_never_ran_are_not_counted() {
        let unborn = Truth { started_at: None, ..truth("c", 0) };
        let report = report(&[unborn, truth("d", 1)], &page("p", "d", 0.001, "exact"));
        assert_eq!((report.containers.launched, report.containers.captured), (1, 1));
    }
}
