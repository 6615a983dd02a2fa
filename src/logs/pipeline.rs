//! One pipeline for each log that is followed: who its container is, what its lines become, what of
//! them is let through.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ephemon_base::warning::Outage;
use ephemon_contract::trace::{JobKey, RunKey, Traceparent};
use ephemon_crilog::LogRef;
use ephemon_discovery::feed;
use ephemon_discovery::inventory::{Inventory, Named};
use ephemon_mask::job::{JobMasks, Mode};
use ephemon_model::{JobEnv, PodRef, PodUid};
use ephemon_otlp::{Job, Resource, Source};

use super::pod_masks::PodMasks;
use super::ration::{Meter, Ration};
use super::runner_log::STEP_RATION;
use super::selection::{Containers, Purpose};
use super::told::Told;
use ephemon_sanitize::{self as sanitize, Sanitizer, Withheld};

/// Where the kubelet keeps logs, by the node's own word.
const PODS: &str = "/var/log/pods";
/// The end of a container is not believed of a log that was made just now: a container that is started
/// again has its name a moment after its log.
const END_GRACE: Duration = Duration::from_millis(250);

/// What all pipelines have in common.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) inventory: Inventory,
    pub(super) containers: Containers,
    pub(super) mode: Mode,
    pub(super) sanitize: sanitize::Options,
    pub(super) ration: Ration,
    /// The node's name.
    pub(super) node: Arc<str>,
    /// `service.name`, where the operator gives one.
    pub(super) service_name: Option<Arc<str>>,
    /// Further attributes of every resource (`OTEL_RESOURCE_ATTRIBUTES`).
    pub(super) attributes: Arc<[(String, String)]>,
}

/// All pipelines, and the masks that containers of one pod share.
#[derive(Debug)]
pub(super) struct LogPipelines {
    common: Common,
    /// All but the current one.
    others: HashMap<Arc<LogRef>, LogPipeline>,
    /// The last line's: the next line is nearly always of the same log.
    current: Option<(Arc<LogRef>, LogPipeline)>,
    masks: PodMasks,
    /// Pods whose containers are to be looked up again: a container's image and its job may be told
    /// after its first line.
    changes: feed::Follower,
}

/// One container's.
#[derive(Debug)]
pub(super) struct LogPipeline {
    pub(super) sanitizer: Sanitizer,
    pub(super) meter: Meter,
    /// What is let through of what a runner says of steps.
    pub(super) step_meter: Meter,
    pub(super) resource: Arc<Resource>,
    /// The container's own span.
    pub(super) span: Option<Traceparent>,
    /// The job whose steps run in the container, each with a span of its own.
    pub(super) steps_of: Option<Arc<JobEnv>>,
    /// What its lines are for.
    pub(super) purpose: Purpose,
    named: Option<Named>,
    made: Instant,
    end_told: bool,
    /// It was said that its text is withheld.
    withheld: Outage,
}

// === impl LogPipelines ===

impl LogPipelines {
    /// `before`: what pods had told before the agent was started anew.
    pub(super) fn new(common: Common, before: Told) -> Self {
        let masks = PodMasks::new(common.mode, before);
        let changes = common.inventory.feed().follow();
        Self { common, others: HashMap::new(), current: None, masks, changes }
    }

    /// What takes masks for the pod from a log that is not at a pipeline.
    pub(super) fn learner(&mut self, pod: &PodRef) -> Sanitizer {
        Sanitizer::new(self.masks.of(pod), self.common.sanitize)
    }

    /// Which values each pod told.
    pub(super) fn told(&self) -> Told {
        self.masks.told()
    }

    /// The log's pipeline, made where there is none yet.
    pub(super) fn of(&mut self, log: &Arc<LogRef>, now: Instant) -> &mut LogPipeline {
        let Self { common, others, current, masks, .. } = self;
        if let Some((last, _)) = &*current
            && !Arc::ptr_eq(last, log)
            && let Some((last, pipeline)) = current.take()
        {
            others.insert(last, pipeline);
        }
        let (_, pipeline) = current.get_or_insert_with(|| {
            let known = others.remove_entry(log);
            known.unwrap_or_else(|| {
                let pipeline = LogPipeline::new(common, log, masks.of(&log.pod), now);
                (Arc::clone(log), pipeline)
            })
        });
        pipeline
    }

    /// Looks up again the containers of pods that have changed. Returns logs whose container is over,
    /// each once.
    pub(super) fn refresh(&mut self, now: Instant) -> Vec<Arc<LogRef>> {
        let changed = self.changes.take();
        let mut over = Vec::new();
        let Self { common, others, current, .. } = self;
        let current = current.iter_mut().map(|(log, pipeline)| (&*log, pipeline));
        for (log, pipeline) in others.iter_mut().chain(current) {
            if changed.has(&log.pod.uid) {
                pipeline.look_up(common, log);
            }
            let is_over = pipeline.named.as_ref().is_some_and(|named| named.ended);
            let is_new = now.saturating_duration_since(pipeline.made) < END_GRACE;
            if is_over && !is_new && !pipeline.end_told {
                pipeline.end_told = true;
                over.push(Arc::clone(log));
            }
        }
        over
    }

    /// Whether the log is only listened to.
    pub(super) fn listens(&self, log: &LogRef) -> bool {
        self.purpose(log) == Some(Purpose::Heard)
    }

    /// What the log's lines are for, where it has a pipeline.
    pub(super) fn purpose(&self, log: &LogRef) -> Option<Purpose> {
        let current = self.current.as_ref().filter(|(current, _)| **current == *log);
        let pipeline = current.map(|(_, pipeline)| pipeline).or_else(|| self.others.get(log));
        pipeline.map(|pipeline| pipeline.purpose)
    }

    /// Whether the operator wants lines held back.
    pub(super) fn hold_back(&self) -> bool {
        self.common.ration != Ration::default()
    }

    /// Whether any log of the pod is at a pipeline.
    pub(super) fn knows(&self, pod: &PodUid) -> bool {
        self.logs().any(|log| log.pod.uid == *pod)
    }

    /// The log is done with. The pod's masks stay: another container of it may begin.
    pub(super) fn close(&mut self, log: &LogRef) -> Option<LogPipeline> {
        match self.current.take_if(|(current, _)| **current == *log) {
            Some((_, pipeline)) => Some(pipeline),
            None => self.others.remove(log),
        }
    }

    fn logs(&self) -> impl Iterator<Item = &LogRef> {
        let current = self.current.iter().map(|(log, _)| log);
        self.others.keys().chain(current).map(|log| &**log)
    }

    /// Lets go of the masks of pods whose logs are gone from `logs`.
    pub(super) fn forget_gone(&mut self, logs: &Path, now: Instant) {
        let Self { others, current, .. } = self;
        let open = others.keys().chain(current.iter().map(|(log, _)| log));
        let open: HashSet<&PodUid> = open.map(|log| &log.pod.uid).collect();
        self.masks.forget_gone(logs, |pod| open.contains(pod), now);
    }

    /// Holds the bound for the masks of all pods.
    pub(super) fn hold_bound(&mut self) {
        for PodRef { namespace, name, .. } in self.masks.hold_bound() {
            tracing::warn!(
                %namespace, pod = %name,
                "the values to mask of all pods take too much memory, and most are this pod's: its \
                 logs are withheld from here on"
            );
        }
    }
}

// === impl LogPipeline ===

impl LogPipeline {
    /// Says once that the container's text is withheld.
    pub(super) fn say_withheld(&mut self, log: &LogRef, why: Withheld) {
        if why == Withheld::TooMuchWork || !self.withheld.begins() {
            return;
        }
        let LogRef { pod, container, .. } = log;
        let (namespace, pod) = (&pod.namespace, &pod.name);
        if why == Withheld::Unproven {
            tracing::warn!(
                %namespace, %pod, %container,
                "the log is withheld: the job told values to mask before the agent was started, and \
                 the lines that told them are gone. --log-unproven mark sends such logs"
            );
        } else {
            tracing::warn!(
                %namespace, %pod, %container,
                "the log is withheld: the job told more values to mask than are kept"
            );
        }
    }

    fn new(common: &Common, log: &LogRef, masks: JobMasks, now: Instant) -> Self {
        let named = common.inventory.named(&log.pod.uid, &log.container);
        let container_type = named.as_ref().map(|it| it.container_type);
        let teller = common.inventory.teller(&log.pod.uid);
        Self {
            sanitizer: Sanitizer::new(masks, common.sanitize),
            meter: Meter::new(common.ration, now),
            step_meter: Meter::new(STEP_RATION, now),
            resource: Arc::new(Resource::new(&source(common, log, named.as_ref()))),
            span: span(named.as_ref()),
            steps_of: steps_of(named.as_ref()),
            purpose: common.containers.purpose(&log.container, container_type, teller),
            named,
            made: now,
            end_told: false,
            withheld: Outage::default(),
        }
    }

    /// Asks again who the container is. What is forgotten meanwhile is not unsaid.
    fn look_up(&mut self, common: &Common, log: &LogRef) {
        let Some(named) = common.inventory.named(&log.pod.uid, &log.container) else {
            return;
        };
        let living = |named: &Named| Named { ended: false, ..named.clone() };
        if self.named.as_ref().map(living) != Some(living(&named)) {
            self.resource = Arc::new(Resource::new(&source(common, log, Some(&named))));
            self.span = span(Some(&named));
            self.steps_of = steps_of(Some(&named));
        }
        self.named = Some(named);
    }
}

fn source(common: &Common, log: &LogRef, named: Option<&Named>) -> Source {
    let job = named.and_then(|named| named.job.as_deref());
    Source {
        pod: log.pod.clone(),
        container: Arc::clone(&log.container),
        container_id: named.and_then(|named| named.id.clone()),
        container_type: named.map(|named| named.container_type),
        image: named.and_then(|named| named.image.clone()),
        node: Some(Arc::clone(&common.node)),
        log_file_path: log.path(Path::new(PODS)).to_string_lossy().into(),
        service_name: common.service_name.clone(),
        attributes: Arc::clone(&common.attributes),
        job: job.map(Job::of),
    }
}

/// The container's own span.
fn span(named: Option<&Named>) -> Option<Traceparent> {
    let job = named?.job.as_deref()?;
    Traceparent::parse(job.traceparent.as_deref()?)
}

fn steps_of(named: Option<&Named>) -> Option<Arc<JobEnv>> {
    let job = named?.job.as_ref()?;
    (job.role.as_deref() == Some("job") && job.ci.is_none()).then(|| Arc::clone(job))
}

/// What the ids of the job's spans are derived from, by the container's spec.
pub(super) fn job_key(job: &JobEnv) -> Option<JobKey<'_>> {
    let (run_id, run_attempt) = (job.run_id.as_deref()?, job.run_attempt.as_deref()?);
    Some(JobKey {
        run: RunKey { run_id, run_attempt },
        job: job.name.as_deref().unwrap_or_default(),
        runner: job.runner.as_deref().unwrap_or_default(),
    })
}
