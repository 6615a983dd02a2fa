//! One desk for each log that is followed: who its container is, what its lines become, what of
//! them is let through.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ration::{Meter, Ration};
use super::refine::{self, Refiner};
use super::selection::{Containers, Purpose};
use crate::contract::trace::Traceparent;
use crate::crilog::LogRef;
use crate::discovery::inventory::{Inventory, Named};
use crate::mask::job::{JobMasks, Mode};
use crate::model::PodUid;
use crate::otlp::{Job, Resource, Source};

/// Where the kubelet keeps logs, by the node's own word.
const PODS: &str = "/var/log/pods";
/// How often a container is looked up again: its image and its job may be told after its first
/// line.
const LOOK_UP: Duration = Duration::from_millis(250);

/// What all desks have in common.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) inventory: Inventory,
    pub(super) containers: Containers,
    pub(super) mode: Mode,
    pub(super) refine: refine::Options,
    pub(super) ration: Ration,
    /// The node's name.
    pub(super) node: Arc<str>,
    /// `service.name`, where the operator gives one.
    pub(super) service_name: Option<Arc<str>>,
    /// Further attributes of every resource (`OTEL_RESOURCE_ATTRIBUTES`).
    pub(super) attributes: Arc<[(String, String)]>,
}

/// All desks, and the masks that containers of one pod share.
#[derive(Debug)]
pub(super) struct Desks {
    common: Common,
    all: HashMap<Arc<LogRef>, Desk>,
    masks: HashMap<PodUid, JobMasks>,
}

/// One container's.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) refiner: Refiner,
    pub(super) meter: Meter,
    pub(super) resource: Arc<Resource>,
    /// The container's own span.
    pub(super) span: Option<Traceparent>,
    /// Whether steps run in the container, each with a span of its own.
    pub(super) has_steps: bool,
    /// What its lines are for.
    pub(super) purpose: Purpose,
    named: Option<Named>,
    looked_up: Instant,
    end_told: bool,
}

// === impl Desks ===

impl Desks {
    pub(super) fn new(common: Common) -> Self {
        Self { common, all: HashMap::new(), masks: HashMap::new() }
    }

    /// The log's desk, made where there is none yet.
    pub(super) fn of(&mut self, log: &Arc<LogRef>, now: Instant) -> &mut Desk {
        let Self { common, all, masks, .. } = self;
        let desk = all.entry(Arc::clone(log)).or_insert_with(|| {
            let masks = masks.entry(log.pod.uid.clone());
            let masks = masks.or_insert_with(|| JobMasks::new(common.mode)).clone();
            Desk::new(common, log, masks, now)
        });
        if now.saturating_duration_since(desk.looked_up) >= LOOK_UP {
            desk.look_up(common, log, now);
        }
        desk
    }

    /// Logs whose container is over, each told once.
    pub(super) fn ends(&mut self, now: Instant) -> Vec<Arc<LogRef>> {
        let mut over = Vec::new();
        for (log, desk) in &mut self.all {
            if desk.end_told || now.saturating_duration_since(desk.looked_up) < LOOK_UP {
                continue;
            }
            desk.look_up(&self.common, log, now);
            if desk.named.as_ref().is_some_and(|named| named.ended) {
                desk.end_told = true;
                over.push(Arc::clone(log));
            }
        }
        over
    }

    /// Whether the log is only listened to.
    pub(super) fn listens(&self, log: &LogRef) -> bool {
        self.all.get(log).is_some_and(|desk| desk.purpose == Purpose::Heard)
    }

    /// Whether any log of the pod is at a desk.
    pub(super) fn knows(&self, pod: &PodUid) -> bool {
        self.masks.contains_key(pod)
    }

    /// The log is done with; the last of its pod takes the pod's masks with it.
    pub(super) fn close(&mut self, log: &LogRef) -> Option<Desk> {
        let closed = self.all.remove(log);
        let uid = &log.pod.uid;
        if !self.all.keys().any(|other| other.pod.uid == *uid) {
            self.masks.remove(uid);
        }
        closed
    }
}

// === impl Desk ===

impl Desk {
    fn new(common: &Common, log: &LogRef, masks: JobMasks, now: Instant) -> Self {
        let named = common.inventory.named(&log.pod.uid, &log.container);
        let container_type = named.as_ref().map(|it| it.container_type);
        Self {
            refiner: Refiner::new(masks, common.refine),
            meter: Meter::new(common.ration, now),
            resource: Arc::new(Resource::new(&source(common, log, named.as_ref()))),
            span: span(named.as_ref()),
            has_steps: has_steps(named.as_ref()),
            purpose: common.containers.purpose(&log.container, container_type),
            named,
            looked_up: now,
            end_told: false,
        }
    }

    /// Asks again who the container is. What is forgotten meanwhile is not unsaid.
    fn look_up(&mut self, common: &Common, log: &LogRef, now: Instant) {
        self.looked_up = now;
        let Some(named) = common.inventory.named(&log.pod.uid, &log.container) else {
            return;
        };
        let living = |named: &Named| Named { ended: false, ..named.clone() };
        if self.named.as_ref().map(living) != Some(living(&named)) {
            self.resource = Arc::new(Resource::new(&source(common, log, Some(&named))));
            self.span = span(Some(&named));
            self.has_steps = has_steps(Some(&named));
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

fn has_steps(named: Option<&Named>) -> bool {
    let role = named.and_then(|named| named.job.as_deref()?.role.as_deref());
    role == Some("job")
}
