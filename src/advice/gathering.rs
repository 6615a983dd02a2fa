//! Adds Prometheus' answers up to what each job used. Pure.

use std::collections::BTreeMap;

use super::amount::{Resources, larger};
use super::answer::Sample;
use super::job::{JobUse, Kind, full_name, runner_of, scale_set};
use super::labels::Labels;
use super::left_out::LeftOut;
use super::queries::Question;

/// Most pods; of more the rest is counted only.
const MOST_PODS: usize = 500_000;
/// The type of the job's own containers where the hook runs jobs.
const EPHEMERAL: &str = "ephemeral";

/// Of a job with as many scrapes, one of them saw what it needs.
const ENOUGH_SAMPLES: f64 = 3.0;
/// The reference hook cuts a runner's name that is at least as long.
const SHORTEST_CUT: usize = 40;

/// What is known so far.
#[derive(Debug, Default)]
pub struct Gathering {
    pods: BTreeMap<Key, Pod>,
    left_out: u64,
}

/// The namespace, the pod, and the cluster.
type Key = (String, String, String);

/// One pod, so one job.
#[derive(Debug, Default)]
struct Pod {
    kind: Option<Kind>,
    is_over: bool,
    /// Whether its steps ran in other pods.
    is_elsewhere: bool,
    /// Of the job's own containers, and of all.
    own: Life,
    all: Life,
    cpu_seconds: Option<f64>,
    working_set: Option<f64>,
    peak: Option<f64>,
    /// Of the job's own containers.
    samples: Option<f64>,
    oom_kills: Option<f64>,
    throttled: Option<f64>,
    request: Resources,
    limit: Resources,
    kube_limit: Resources,
}

/// From the first beginning to the last end, seconds since 1970.
#[derive(Debug, Clone, Copy, Default)]
struct Life {
    start: Option<f64>,
    end: Option<f64>,
}

// === impl Gathering ===

impl Gathering {
    /// Adds an answer with labels of these names. A window's jobs come first; what is of no known job is left out. A job that
    /// lived in two windows has the higher of two figures: they only grow.
    pub fn add(&mut self, labels: &Labels, question: Question, samples: Vec<Sample>) {
        let (namespace, pod) = labels.names();
        for mut sample in samples {
            if matches!(question, Question::KubeRequests | Question::KubeLimits) {
                self.add_kube(question, &mut sample);
                continue;
            }
            let mut take = |name: &str| sample.labels.remove(name).unwrap_or_default();
            let key = (take(namespace), take(pod), take("cluster"));
            // What has no pod would be one job, whatever it is of.
            if key.1.is_empty() {
                self.left_out += u64::from(question == Question::Jobs);
            } else if question == Question::Elsewhere {
                self.add_elsewhere(&key);
            } else if question == Question::Jobs {
                let (organization, repository) = (take("organization"), take("repository"));
                let repository = full_name(&organization, &repository);
                let kind = Kind {
                    cluster: key.2.clone(),
                    namespace: key.0.clone(),
                    repository,
                    workflow: take("workflow"),
                    job: take("job_id"),
                };
                self.add_job(key, kind);
            } else if let Some(pod) = self.pods.get_mut(&key) {
                pod.add(question, &take("container_type"), sample.value);
            }
        }
    }

    /// Jobs that are over, with what they used; others are counted by [`Self::left_out`].
    pub fn jobs(&self) -> Vec<JobUse> {
        self.pods.iter().filter_map(|(key, pod)| pod.job(&key.1)).collect()
    }

    /// Jobs that are not among [`Self::jobs`].
    pub fn left_out(&self) -> LeftOut {
        let mut left_out = LeftOut { unknown: self.left_out, elsewhere: 0 };
        for (key, pod) in &self.pods {
            if pod.is_elsewhere {
                left_out.elsewhere += 1;
            } else if pod.job(&key.1).is_none() {
                left_out.unknown += 1;
            }
        }
        left_out
    }

    /// A runner whose job this pod is of has nothing of what the job used.
    fn add_elsewhere(&mut self, (namespace, name, cluster): &Key) {
        let Some(runner) = runner_of(name) else { return };
        let from = (namespace.clone(), runner.to_owned(), String::new());
        let is_cut = runner.len() >= SHORTEST_CUT;
        for (key, pod) in self.pods.range_mut(from..) {
            let is_of = key.1 == runner || (is_cut && key.1.starts_with(runner));
            if key.0 != *namespace || !is_of {
                return;
            }
            pod.is_elsewhere |= key.2 == *cluster;
        }
    }

    fn add_job(&mut self, key: Key, kind: Kind) {
        if self.pods.len() >= MOST_PODS && !self.pods.contains_key(&key) {
            self.left_out += 1;
            return;
        }
        // On another node than the runner's the agent tells of the job under that pod's name.
        let is_elsewhere = runner_of(&key.1).is_some();
        let pod = self.pods.entry(key).or_default();
        pod.is_elsewhere |= is_elsewhere;
        let known = &mut pod.kind;
        // What a job is called becomes known little by little.
        let said = |kind: &Kind| {
            [&kind.repository, &kind.workflow, &kind.job].iter().filter(|it| !it.is_empty()).count()
        };
        if known.as_ref().is_none_or(|known| said(known) < said(&kind)) {
            *known = Some(kind);
        }
    }

    /// These series need not have the agents' label `cluster`.
    fn add_kube(&mut self, question: Question, sample: &mut Sample) {
        let mut take = |name: &str| sample.labels.remove(name).unwrap_or_default();
        let (namespace, name, resource) = (take("namespace"), take("pod"), take("resource"));
        let of_pod = self.pods.range_mut((namespace.clone(), name.clone(), String::new())..);
        for (_, pod) in of_pod.take_while(|(key, _)| key.0 == namespace && key.1 == name) {
            let to = match question {
                Question::KubeRequests => &mut pod.request,
                _ => &mut pod.kube_limit,
            };
            match resource.as_str() {
                "cpu" => to.cpu_cores = Some(sample.value),
                "memory" => to.memory_bytes = Some(sample.value),
                _ => {}
            }
        }
    }
}

// === impl Pod ===

impl Pod {
    fn add(&mut self, question: Question, container_type: &str, value: f64) {
        let is_own = container_type == EPHEMERAL;
        let higher =
            |known: &mut Option<f64>| *known = Some(known.map_or(value, |it| it.max(value)));
        match question {
            Question::Samples if is_own => higher(&mut self.samples),
            Question::Jobs
            | Question::Samples
            | Question::Elsewhere
            | Question::KubeRequests
            | Question::KubeLimits => {}
            Question::Results => self.is_over = true,
            Question::Starts => {
                let start = |life: &mut Life| {
                    life.start = Some(life.start.map_or(value, |known| known.min(value)));
                };
                start(&mut self.all);
                if is_own {
                    start(&mut self.own);
                }
            }
            Question::Ends => {
                higher(&mut self.all.end);
                if is_own {
                    higher(&mut self.own.end);
                }
            }
            Question::Cpu => higher(&mut self.cpu_seconds),
            Question::WorkingSet => higher(&mut self.working_set),
            Question::Peak => higher(&mut self.peak),
            Question::OomKills => higher(&mut self.oom_kills),
            Question::Throttled => higher(&mut self.throttled),
            Question::MemoryLimit => higher(&mut self.limit.memory_bytes),
            Question::CpuLimit => higher(&mut self.limit.cpu_cores),
        }
    }

    fn job(&self, name: &str) -> Option<JobUse> {
        let is_known = self.is_over && !self.is_elsewhere;
        // A runner's own containers wait for a job, nobody knows how long.
        let is_own = self.own.start.is_some();
        let is_sampled = is_own && self.samples.is_some_and(|count| count >= ENOUGH_SAMPLES);
        let memory =
            if is_sampled { self.working_set } else { larger(self.working_set, self.peak) };
        Some(JobUse {
            kind: self.kind.clone().filter(|_| is_known)?,
            scale_set: scale_set(name).map(str::to_owned),
            start: self.own.start.or(self.all.start)?,
            seconds: self.own.seconds(),
            cpu_seconds: self.cpu_seconds,
            memory_bytes: memory,
            memory_peak_bytes: self.peak,
            oom_kills: self.oom_kills,
            // Ephemeral containers have no quota of their own, and that of the pod has no series.
            throttled: self.throttled.filter(|_| !is_own),
            request: self.request,
            // What the kernel enforces, else what the spec says.
            limit: Resources {
                cpu_cores: self.limit.cpu_cores.or(self.kube_limit.cpu_cores),
                memory_bytes: self.limit.memory_bytes.or(self.kube_limit.memory_bytes),
            },
        })
    }
}

// === impl Life ===

impl Life {
    fn seconds(self) -> Option<f64> {
        Some(self.end? - self.start?).filter(|seconds| *seconds > 0.0)
    }
}

#[cfg(test)]
mod tests;
