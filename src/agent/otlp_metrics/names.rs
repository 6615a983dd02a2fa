//! Who a container or a pod is, for its points: what the inventory knows, as a resource.

use std::sync::Arc;
use std::time::Duration;

use crate::capture::books::{PodRecord, Record};
use crate::discovery::inventory::{Inventory, Verdict};
use crate::model::{ContainerType, Exit, PodRef, PodUid};
use crate::otlp::metric::Owner;
use crate::otlp::{Job, Source};

/// How long a name is waited for; then it goes by its id. The API's word takes up to a second, the
/// log directory's milliseconds.
const GRACE: Duration = Duration::from_secs(5);

/// Whose points they are, and how it ended where that is known.
pub(super) type Known = (Arc<Owner>, Option<Exit>);

/// What is known.
#[derive(Debug, Clone)]
pub(super) enum Who {
    /// Whose points they are, and how it ended where that is known.
    Known(Arc<Owner>, Option<Exit>),
    /// Nobody has said it yet.
    NotYet,
    /// None of the pods that are shown, or a sandbox.
    Nobody,
}

/// Asks the inventory.
#[derive(Debug, Clone)]
pub(in crate::agent) struct Names {
    pub(in crate::agent) inventory: Inventory,
    /// The node's name.
    pub(in crate::agent) node: Arc<str>,
    /// Whether there is somebody who tells containers' types.
    pub(in crate::agent) typed: bool,
    /// Attributes of every resource, by the operator's word.
    pub(in crate::agent) attributes: Arc<[(String, String)]>,
}

// === impl Names ===

impl Names {
    /// The agent itself.
    pub(super) fn agent(&self) -> Owner {
        Owner::agent(&self.node, &self.attributes)
    }

    /// A container for whose name was waited so long. What is known of it is to be all that will
    /// be: a resource that changes begins its points anew.
    pub(super) fn container(&self, record: &Record, waited: Duration) -> Who {
        match self.inventory.verdict(&record.pod) {
            Verdict::Unwanted => return Who::Nobody,
            Verdict::Open => return Who::NotYet,
            Verdict::Wanted => {}
        }
        let pod = self.inventory.pod(&record.pod);
        let facts = self.inventory.container(&record.pod, &record.id);
        let kind = facts.as_ref().map(|facts| facts.container_type);
        if kind == Some(ContainerType::Sandbox) {
            return Who::Nobody;
        }
        let typed = kind.is_some_and(|kind| !self.typed || kind != ContainerType::Unknown);
        if (pod.is_none() || !typed) && waited < GRACE {
            return Who::NotYet;
        }
        let name = facts.as_ref().map(|facts| facts.name.clone());
        let source = Source {
            container: name.unwrap_or_else(|| record.id.short().into()),
            container_id: Some(record.id.clone()),
            container_type: kind.or(Some(ContainerType::Unknown)),
            image: facts.as_ref().and_then(|facts| facts.image.clone()),
            job: facts.as_ref().and_then(|facts| self.job(&record.pod, &facts.name)),
            ..self.source(&record.pod, pod.as_deref())
        };
        let exit = facts.and_then(|facts| facts.exit.clone());
        Who::Known(Arc::new(Owner::of(&source)), exit)
    }

    /// A pod, likewise.
    pub(super) fn pod(&self, record: &PodRecord, waited: Duration) -> Who {
        match self.inventory.verdict(&record.pod) {
            Verdict::Unwanted => return Who::Nobody,
            Verdict::Open => return Who::NotYet,
            Verdict::Wanted => {}
        }
        let pod = self.inventory.pod(&record.pod);
        if pod.is_none() && waited < GRACE {
            return Who::NotYet;
        }
        Who::Known(Arc::new(Owner::of(&self.source(&record.pod, pod.as_deref()))), None)
    }

    fn source(&self, uid: &PodUid, pod: Option<&PodRef>) -> Source {
        let pod = pod.cloned().unwrap_or_else(|| PodRef {
            namespace: "".into(),
            name: uid.as_str().into(),
            uid: uid.clone(),
        });
        let said = self.attributes.iter().find(|(key, _)| key == "service.name");
        Source {
            pod,
            container: "".into(),
            log_file_path: "".into(),
            container_id: None,
            container_type: None,
            image: None,
            node: Some(Arc::clone(&self.node)),
            service_name: said.map(|(_, name)| name.as_str().into()),
            attributes: Arc::clone(&self.attributes),
            job: None,
        }
    }

    fn job(&self, pod: &PodUid, name: &str) -> Option<Job> {
        let job = self.inventory.named(pod, name)?.job?;
        Some(Job::of(&job))
    }
}
