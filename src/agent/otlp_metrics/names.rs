//! Who a container or a pod is, for its points: what the inventory knows, as a resource.

use std::sync::Arc;
use std::time::Duration;

use ephemon_capture::books::{PodRecord, Record};
use ephemon_discovery::inventory::{Inventory, Verdict};
use ephemon_model::{ContainerType, Exit, PodRef, PodUid};
use ephemon_otlp::metric::Owner;
use ephemon_otlp::{Job, Source};

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
pub(crate) struct Names {
    pub(crate) inventory: Inventory,
    /// The node's name.
    pub(crate) node: Arc<str>,
    /// Whether there is somebody who tells containers' types.
    pub(crate) typed: bool,
    /// Attributes of every resource, by the operator's word.
    pub(crate) attributes: Arc<[(String, String)]>,
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
            Verdict::Open | Verdict::Nameless => return Who::NotYet,
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
            Verdict::Open | Verdict::Nameless => return Who::NotYet,
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use ephemon_discovery::inventory::{Evidence, SpecEntry, Witness, Word};
    use ephemon_model::{ContainerId, JobEnv, Usage};
    use ephemon_vitals::Vitals;

    use super::*;

    fn uid() -> PodUid {
        PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap()
    }

    fn record() -> Record {
        Record {
            id: ContainerId::parse(&"a".repeat(64)).unwrap(),
            pod: uid(),
            born: SystemTime::UNIX_EPOCH,
            read_at: SystemTime::UNIX_EPOCH,
            usage: Usage::default(),
            ended: None,
        }
    }

    fn names(inventory: &Inventory, typed: bool) -> Names {
        let attributes = Arc::new([("team".to_owned(), "ci".to_owned())]);
        Names { inventory: inventory.clone(), node: "it".into(), typed, attributes }
    }

    /// The resource as text; nothing while it is not to be had.
    fn known(who: &Who) -> Option<String> {
        match who {
            Who::Known(owner, _) => Some(format!("{owner:?}")),
            Who::NotYet | Who::Nobody => None,
        }
    }

    fn name_pod(inventory: &Inventory) {
        let pod = PodRef { namespace: "ci".into(), name: "runner-1".into(), uid: uid() };
        inventory.learn(Evidence::Pod { pod, by: Witness::Api });
    }

    fn name_container(inventory: &Inventory) {
        let word = Word { pod: Some(uid()), name: "job".into(), ..Word::default() };
        inventory.learn(Evidence::Container { id: record().id, word, by: Witness::Link });
    }

    #[test]
    fn a_resource_is_made_when_all_of_it_is_known_or_nobody_tells_for_too_long() {
        let inventory = Inventory::default();
        inventory.born(&uid(), &record().id, SystemTime::UNIX_EPOCH);
        let (typed, untyped) = (names(&inventory, true), names(&inventory, false));
        let now = Duration::ZERO;
        assert!(known(&untyped.container(&record(), now)).is_none());
        let late = known(&untyped.container(&record(), GRACE)).unwrap();
        assert!(late.contains("\"aaaaaaaaaaaa\"") && late.contains(uid().as_str()), "{late}");

        name_pod(&inventory);
        name_container(&inventory);
        assert!(known(&untyped.container(&record(), now)).unwrap().contains("\"job\""));
        assert!(known(&typed.container(&record(), now)).is_none(), "the spec is still to come");
        let job = JobEnv { workflow: Some("CI".into()), ..JobEnv::default() };
        let entry = SpecEntry {
            name: "job".into(),
            container_type: ContainerType::Ephemeral,
            image: Some("node:22".into()),
            limits: None,
            job: Some(Arc::new(job)),
        };
        inventory.learn(Evidence::Spec { pod: uid(), entries: vec![entry] });
        let whole = known(&typed.container(&record(), now)).unwrap();
        for word in ["\"ephemeral\"", "\"CI\"", "\"22\"", "\"team\"", "\"ci.runner-1.job\""] {
            assert!(whole.contains(word), "{word}: {whole}");
        }
    }

    #[test]
    fn sandboxes_and_pods_that_may_be_nobodys_have_no_points() {
        let inventory = Inventory::default();
        name_pod(&inventory);
        inventory.born(&uid(), &record().id, SystemTime::UNIX_EPOCH);
        inventory.is_sandbox(&record().id);
        let who = names(&inventory, false).container(&record(), GRACE);
        assert!(matches!(who, Who::Nobody), "{who:?}");
        let pod = PodRecord { pod: uid(), net: Vec::new(), accounting_error: None, gone: true };
        let owner = known(&names(&inventory, false).pod(&pod, Duration::ZERO)).unwrap();
        assert!(owner.contains("\"ci.runner-1\"") && !owner.contains("container"), "{owner}");

        let silent = Inventory::with_api(Vitals::new().unwrap());
        silent.born(&uid(), &record().id, SystemTime::UNIX_EPOCH);
        let who = names(&silent, true).container(&record(), GRACE);
        assert!(matches!(who, Who::NotYet), "the API has not said whose it is: {who:?}");
    }
}
