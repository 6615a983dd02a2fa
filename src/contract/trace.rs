//! Ids of traces and spans, derived from the identity of a job, so that hook and agent use the same
//! ids without communicating, and their spans join the trace that the OpenTelemetry Collector's
//! GitHub receiver creates for the run. Pure.
//!
//! An id is a part of the SHA-256 of a text. The receiver has its own texts (collector-contrib,
//! `receiver/githubreceiver/trace_event_handling.go`); ours have four to seven lines, which no text
//! of the receiver has.

use std::fmt;

use sha2::{Digest, Sha256};

/// One attempt of a workflow run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunKey<'a> {
    /// `github.run_id`.
    pub run_id: &'a str,
    /// `github.run_attempt`.
    pub run_attempt: &'a str,
}

/// One job of an attempt. The job's key alone is not sufficient, because all jobs of a matrix have
/// the same; the runner's name is added, because a runner with ephemeral containers runs only one
/// job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobKey<'a> {
    /// Its run.
    pub run: RunKey<'a>,
    /// `github.job`, its key in the workflow.
    pub job: &'a str,
    /// `RUNNER_NAME`.
    pub runner: &'a str,
}

/// W3C id of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

/// W3C id of a span.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub [u8; 8]);

/// W3C trace context of a span, as `TRACEPARENT` has it; always sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
}

// === impl RunKey ===

impl RunKey<'_> {
    /// The trace id of the run, as the receiver derives it.
    pub fn trace_id(self) -> TraceId {
        TraceId(part(&format!("{}{}t", self.run_id, self.run_attempt), 0))
    }

    /// The span id of the run, as the receiver derives it.
    pub fn span_id(self) -> SpanId {
        span_id(&format!("{}{}s", self.run_id, self.run_attempt))
    }
}

// === impl JobKey ===

impl<'a> JobKey<'a> {
    /// The job of a pod that no hook works in. `run_key` is what no other run has; without it the pod is
    /// a run of its own.
    pub fn of_pod(run_key: Option<&'a str>, pod_uid: &'a str) -> Self {
        let runner = if run_key.is_some() { pod_uid } else { "" };
        let run = RunKey { run_id: run_key.unwrap_or(pod_uid), run_attempt: "" };
        Self { run, job: "", runner }
    }

    /// The job's span. Its id is our own, because the receiver's is derived from values that only
    /// GitHub's API returns.
    pub fn span(self) -> Traceparent {
        self.derived(&["job"])
    }

    /// A step's span. `began_ns`, the start of the hook's call, distinguishes steps with the same
    /// id (`GITHUB_ACTION`), such as the main and the post step of an action.
    pub fn step_span(self, step_id: &str, began_ns: u64) -> Traceparent {
        self.derived(&["step", step_id, &began_ns.to_string()])
    }

    /// A container's span, by its name in the pod.
    pub fn container_span(self, container: &str) -> Traceparent {
        self.derived(&["container", container])
    }

    /// The span of a call of the hook that runs no step: `prepare`, `cleanup`.
    pub fn phase_span(self, phase: &str) -> Traceparent {
        self.derived(&["phase", phase])
    }

    /// The span of a phase of a container: `wait`, `create`, `run`.
    pub fn stage_span(self, container: &str, stage: &str) -> Traceparent {
        self.derived(&["stage", container, stage])
    }

    fn derived(self, of: &[&str]) -> Traceparent {
        let RunKey { run_id, run_attempt } = self.run;
        let text = [&[run_id, run_attempt, self.job, self.runner], of].concat().join("\n");
        Traceparent { trace_id: self.run.trace_id(), span_id: span_id(&text) }
    }
}

// === impl Traceparent ===

impl Traceparent {
    /// Parses the output of [`fmt::Display`]; version 00 only.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != "00" || flags.len() != 2 || parts.next().is_some() {
            return None;
        }
        let (trace_id, span_id) = (TraceId(unhex(trace)?), SpanId(unhex(span)?));
        (trace_id.0 != [0; 16] && span_id.0 != [0; 8]).then_some(Self { trace_id, span_id })
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-01", self.trace_id, self.span_id)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes 8 to 15 of the hash, as in the receiver.
fn span_id(text: &str) -> SpanId {
    SpanId(part(text, 8))
}

/// `N` bytes of the hash, beginning at `start`.
fn part<const N: usize>(text: &str, start: usize) -> [u8; N] {
    let hash = Sha256::digest(text.as_bytes());
    let mut part = [0; N];
    for (to, from) in part.iter_mut().zip(hash.iter().skip(start)) {
        *to = *from;
    }
    part
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if text.len() != N * 2 || !text.as_bytes().iter().all(lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (to, from) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *to = u8::from_str_radix(std::str::from_utf8(from).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RUN: RunKey<'_> = RunKey { run_id: "14460881260", run_attempt: "13" };

    /// The golden file `testdata/workflow-job-expected.yaml` of the receiver.
    #[test]
    fn ids_of_the_run_are_the_receivers() {
        assert_eq!(RUN.trace_id().to_string(), "731ec8a47fd7450f753a812a4a8aa5a0");
        assert_eq!(RUN.span_id().to_string(), "aba151af7cfbcf0f");
    }

    #[test]
    fn our_own_ids_stay_as_they_are_and_differ() {
        let job = JobKey { run: RUN, job: "test", runner: "runner-1" };
        let wanted = "00-731ec8a47fd7450f753a812a4a8aa5a0-b4dd6259e7c0ff8d-01";
        assert_eq!(job.span().to_string(), wanted);
        let other = JobKey { runner: "runner-2", ..job };
        let all = [
            job.span(),
            other.span(),
            job.step_span("__run", 1),
            job.step_span("__run", 2),
            job.step_span("__run_2", 1),
            job.container_span("job"),
            job.container_span("step"),
            job.phase_span("prepare"),
            job.stage_span("job", "wait"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert_eq!(one.trace_id, RUN.trace_id());
            assert!(!all[..at].iter().any(|before| before.span_id == one.span_id), "{one}");
        }
    }

    #[test]
    fn what_is_no_trace_context_is_none() {
        let good = JobKey { run: RUN, job: "", runner: "" }.span().to_string();
        for bad in [
            "",
            "00",
            &good.replacen("00", "ff", 1),
            &good.to_uppercase(),
            &format!("{good}-00"),
            "00-00000000000000000000000000000000-0000000000000001-01",
            "00-731ec8a47fd7450f753a812a4a8aa5a0-0000000000000000-01",
        ] {
            assert_eq!(Traceparent::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_trace_context_comes_back_as_it_was(trace: [u8; 16], span: [u8; 8]) {
            prop_assume!(trace != [0; 16] && span != [0; 8]);
            let whole = Traceparent { trace_id: TraceId(trace), span_id: SpanId(span) };
            prop_assert_eq!(Traceparent::parse(&whole.to_string()), Some(whole));
        }
    }
}
