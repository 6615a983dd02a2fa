//! Trace context for what the hook starts: the parent span of each container and step. Known as
//! soon as the run is known, whether or not anything is exported.

use ephemon_contract::env;
use ephemon_contract::trace::{JobKey, RunKey, Traceparent};

use super::settings::Settings;

/// Longest `TRACESTATE` or `BAGGAGE` that is passed on, in bytes: the W3C requires that at least
/// this length is accepted.
const VALUE_BYTES_MAX: usize = 8192;

/// The job's trace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    settings: &'a Settings,
    job: Option<JobKey<'a>>,
}

// === impl Context ===

impl<'a> Context<'a> {
    /// The context of the job that the settings describe; empty if they describe no run.
    pub(super) fn of(settings: &'a Settings) -> Self {
        let get = |name| settings.identity_of(name);
        let job = || {
            let run =
                RunKey { run_id: get(env::JOB_RUN_ID)?, run_attempt: get(env::JOB_RUN_ATTEMPT)? };
            let (job, runner) = (get(env::JOB_NAME), get(env::JOB_RUNNER));
            let (job, runner) = (job.unwrap_or_default(), runner.unwrap_or_default());
            Some(JobKey { run, job, runner })
        };
        Self { settings, job: job() }
    }

    /// The job's span.
    pub(super) fn job(&self) -> Option<Traceparent> {
        self.job.map(JobKey::span)
    }

    /// The span of the step that a call at this time runs.
    pub(super) fn step(&self, began_ns: u64) -> Option<Traceparent> {
        let id = self.settings.step_id.as_deref().unwrap_or_default();
        self.job.map(|job| job.step_span(id, began_ns))
    }

    /// The environment of a container.
    pub(super) fn container_env(&self, name: &str) -> Vec<(&'static str, String)> {
        self.env(self.job.map(|job| job.container_span(name)))
    }

    /// The environment for children of a span.
    pub(super) fn env(&self, span: Option<Traceparent>) -> Vec<(&'static str, String)> {
        let Some(span) = span else { return Vec::new() };
        let passed_on =
            [(env::TRACESTATE, &self.settings.trace_state), (env::BAGGAGE, &self.settings.baggage)];
        let passed_on = passed_on.into_iter().filter_map(|(name, value)| {
            let value = value.as_ref().filter(|value| is_passable(value))?;
            Some((name, value.clone()))
        });
        std::iter::once((env::TRACEPARENT, span.to_string())).chain(passed_on).collect()
    }
}

fn is_passable(value: &str) -> bool {
    value.len() <= VALUE_BYTES_MAX && value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
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
    fn a_known_run_gives_each_its_own_span_in_one_trace() {
        let settings = settings(&[
            ("GITHUB_RUN_ID", "14460881260"),
            ("GITHUB_RUN_ATTEMPT", "13"),
            ("GITHUB_ACTION", "__run"),
            ("TRACESTATE", "vendor=1"),
            ("BAGGAGE", "no\nline"),
        ]);
        let context = Context::of(&settings);
        let env = context.container_env("job");
        assert!(env[0].1.starts_with("00-731ec8a47fd7450f753a812a4a8aa5a0-"), "{env:?}");
        assert_eq!(env[1..], [("TRACESTATE", "vendor=1".to_owned())]);
        assert_ne!(context.step(1), context.job());
        assert_ne!(context.step(1), context.step(2));
    }

    #[test]
    fn without_a_run_there_is_no_context() {
        let settings = settings(&[("GITHUB_RUN_ID", "1"), ("TRACESTATE", "vendor=1")]);
        let context = Context::of(&settings);
        assert_eq!((context.job(), context.step(1)), (None, None));
        assert_eq!(context.container_env("job"), []);
    }
}
