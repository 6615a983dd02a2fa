//! Part `jobs` of the report: compares the traces that the demo's collector received with the
//! workflow that ran. Pure.
//!
//! It interprets the spans itself on purpose: the check must not share code with what it checks.

mod tree;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::kubelet::{Kind, Truth};
use crate::sink::{Node, Seen, Who, hex};
use crate::workflow::JobTruth;

/// `cicd.pipeline.task.run.result`.
const RESULT: &str = "cicd.pipeline.task.run.result";
/// CPU time, seconds.
const CPU: &str = "ephemon.cpu.seconds";
/// Highest memory use, bytes.
const MEMORY: &str = "ephemon.memory.peak.bytes";
/// A step's kind; only spans of steps have it.
const STEP: &str = "ephemon.step.kind";
/// The pod, on the resource of a trace.
const POD: &str = "k8s.pod.name";

/// The result for the jobs; in JSON, only for the workflow.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Jobs {
    of_workflow: Vec<Job>,
    /// Jobs of pods without a workflow: each pod with ephemeral containers is one.
    #[serde(skip)]
    others: usize,
    #[serde(skip)]
    faults: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Job {
    repository: String,
    run_id: String,
    run_attempt: String,
    trace_id: String,
    name: String,
    result: String,
    /// All of the trace.
    spans: usize,
    /// Number of image pulls among them: one image is not on the node before its first use.
    pulls: usize,
    steps: Vec<Step>,
    #[serde(skip)]
    tree: Node,
}

#[derive(Debug, Clone, Serialize)]
struct Step {
    name: String,
    result: String,
    duration_s: f64,
    cpu_s: Option<f64>,
    memory_peak_bytes: Option<f64>,
}

// === impl Jobs ===

impl Jobs {
    /// Compares what was received with what ran. `pods` are the selected ones; `played`: the
    /// workflow, if it ran.
    pub(crate) fn new(
        truths: &[Truth],
        pods: &[&str],
        played: Option<&JobTruth>,
        seen: &Seen,
    ) -> Self {
        let is_played = |tree: &Node| played.is_some_and(|job| pod(tree) == job.pod);
        let (mine, others): (Vec<_>, Vec<_>) = seen.trees().into_iter().partition(is_played);
        let jobs: Vec<_> = mine.into_iter().map(Job::new).collect();
        let mut faults = Vec::new();
        if let Some(job) = played {
            match jobs.as_slice() {
                [one] => faults.extend(one.faults(job)),
                all => faults.push(format!("the workflow has {} traces, not one", all.len())),
            }
            faults.extend(lines_with_wrong_trace(truths, job, seen));
        }
        if seen.spans_repeated > 0 {
            faults.push(format!("{} spans arrived more than once", seen.spans_repeated));
        }
        let played = played.map(|job| job.pod.as_str());
        faults.extend(pods_with_wrong_trace_count(truths, pods, played, &others));
        Self { of_workflow: jobs, others: others.len(), faults }
    }

    /// The faults, one sentence each.
    pub(super) fn faults(&self) -> &[String] {
        &self.faults
    }
}

impl fmt::Display for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for job in &self.of_workflow {
            writeln!(f, "{job}")?;
        }
        writeln!(
            f,
            "jobs     {} of a workflow, {} of other pods",
            self.of_workflow.len(),
            self.others
        )
    }
}

// === impl Job ===

impl Job {
    fn new(tree: Node) -> Self {
        let of = |key: &str| tree.resource.get(key).cloned().unwrap_or_default();
        Self {
            repository: format!("{}/{}", of("vcs.owner.name"), of("vcs.repository.name")),
            run_id: of("cicd.pipeline.run.id"),
            run_attempt: of("github.run.attempt"),
            trace_id: tree.trace_id.clone(),
            name: tree.name.clone(),
            result: result(&tree).to_owned(),
            spans: count(&tree, &|_| true),
            pulls: count(&tree, &|node| node.name == "pull"),
            steps: tree.children.iter().filter_map(Step::of).collect(),
            tree,
        }
    }

    fn faults(&self, truth: &JobTruth) -> Vec<String> {
        let mut faults = Vec::new();
        let (run_id, attempt) = (truth.run_id.to_string(), truth.run_attempt.to_string());
        let trace_id = trace_id(&run_id, &attempt);
        for (what, is, must) in [
            ("repository", &*self.repository, &*truth.repository),
            ("run id", &self.run_id, &run_id),
            ("run attempt", &self.run_attempt, &attempt),
            ("id", &self.trace_id, &trace_id),
            ("job's name", &self.name, truth.name),
            ("job's result", &self.result, truth.result),
        ] {
            if is != must {
                faults.push(format!("the {what} of the workflow's trace is {is:?}, not {must:?}"));
            }
        }
        let (steps, played) = (self.steps.len(), truth.steps.len());
        if steps != played {
            faults.push(format!("{played} steps ran, but the trace has {steps}"));
        }
        for (step, (name, result)) in self.steps.iter().zip(&truth.steps) {
            if (&step.name, step.result.as_str()) != (name, *result) {
                faults.push(format!(
                    "step {name:?} of result {result} is {:?} of result {} in the trace",
                    step.name, step.result
                ));
            }
        }
        outside_parent(&self.tree, &mut faults);
        faults
    }
}

// === impl Step ===

impl Step {
    /// `None` for a span that is not a step.
    fn of(node: &Node) -> Option<Self> {
        let kind = node.attributes.get(STEP)?;
        matches!(kind.as_str(), "script" | "container").then(|| Self {
            name: node.name.clone(),
            result: result(node).to_owned(),
            duration_s: node.seconds(),
            cpu_s: node.figure(CPU),
            memory_peak_bytes: node.figure(MEMORY),
        })
    }
}

/// The id of the trace to which GitHub's receiver in the OpenTelemetry Collector assigns a run's
/// spans.
fn trace_id(run_id: &str, attempt: &str) -> String {
    let digest = Sha256::digest(format!("{run_id}{attempt}t"));
    hex(digest.get(..16).unwrap_or_default())
}

/// Reports spans that are not within their parent's time.
fn outside_parent(node: &Node, faults: &mut Vec<String>) {
    for child in &node.children {
        let inside = node.start_ns <= child.start_ns && child.end_ns <= node.end_ns;
        if !inside || child.end_ns < child.start_ns || child.trace_id != node.trace_id {
            faults.push(format!("span {:?} is not within {:?}", child.name, node.name));
        }
        outside_parent(child, faults);
    }
}

/// Containers of the workflow with lines that have another trace id, or none.
fn lines_with_wrong_trace(truths: &[Truth], job: &JobTruth, seen: &Seen) -> Vec<String> {
    let trace = trace_id(&job.run_id.to_string(), &job.run_attempt.to_string());
    let mine = truths.iter().filter(|it| it.kind == Kind::Ephemeral && it.pod == job.pod);
    let lines_with_wrong_trace = mine.filter_map(|truth| {
        let container = &truth.container;
        let who: Who = (truth.namespace.clone(), truth.pod.clone(), container.clone());
        let (traced, all) = seen.records_of(&who, &trace);
        let missing = all.checked_sub(traced).filter(|missing| *missing > 0)?;
        Some(format!("{missing} of {all} lines of {container} do not have the workflow's trace id"))
    });
    lines_with_wrong_trace.collect()
}

/// Pods with another number of traces than one, although ephemeral containers ran in them, or with
/// one although none did. `played` is counted elsewhere.
fn pods_with_wrong_trace_count(
    truths: &[Truth],
    pods: &[&str],
    played: Option<&str>,
    trees: &[Node],
) -> Vec<String> {
    let ran = truths.iter().filter(|truth| {
        let pod = truth.pod.as_str();
        let launched = truth.kind == Kind::Ephemeral && truth.started_at.is_some();
        launched && pods.contains(&pod) && played != Some(pod)
    });
    let mut counts: BTreeMap<&str, (usize, usize)> =
        ran.map(|truth| (truth.pod.as_str(), (1, 0))).collect();
    for tree in trees {
        let (_, came) = counts.entry(pod(tree)).or_default();
        *came = came.saturating_add(1);
    }
    let pods_with_wrong_trace_count = counts.into_iter().filter(|(_, (must, came))| must != came);
    pods_with_wrong_trace_count
        .map(|(pod, (must, came))| format!("{pod} has {came} traces, not {must}"))
        .collect()
}

fn pod(tree: &Node) -> &str {
    tree.resource.get(POD).map(String::as_str).unwrap_or_default()
}

fn result(node: &Node) -> &str {
    node.attributes.get(RESULT).map(String::as_str).unwrap_or_default()
}

/// Number of spans in a tree that meet a condition.
fn count(node: &Node, meant: &dyn Fn(&Node) -> bool) -> usize {
    let below = node.children.iter().map(|child| count(child, meant));
    below.fold(usize::from(meant(node)), usize::saturating_add)
}

#[cfg(test)]
mod tests;
