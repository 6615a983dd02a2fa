//! Names containers and pods for their data points: the answer of `ephemon_discovery::identity` as
//! a resource.

use std::sync::Arc;
use std::time::Duration;

use ephemon_capture::readings::{PodRecord, Record};
use ephemon_discovery::identity::{self, ContainerIdentity, Terms};
use ephemon_discovery::inventory::{ContainerFacts, Inventory};
use ephemon_model::{ContainerId, PodRef, PodUid};
use ephemon_otlp::metric::Owner;
use ephemon_otlp::{Job, Source};

/// Waits until all attributes are known, because a changed resource starts new series.
const TERMS: Terms = Terms { typed: true, nameless: false };

/// The resource of the data points, and what is known of the container.
pub(super) type Known = (Arc<Owner>, Option<Arc<ContainerFacts>>);

/// The result of a lookup.
pub(super) type Answer = identity::Answer<Known>;

/// Looks names up in the inventory.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) inventory: Inventory,
    pub(crate) node: Arc<str>,
    /// Attributes of every resource, as configured.
    pub(crate) attributes: Arc<[(String, String)]>,
}

// === impl Names ===

impl Names {
    /// The agent's own resource.
    pub(super) fn agent(&self) -> Owner {
        Owner::agent(&self.node, &self.attributes)
    }

    /// Looks up a container whose name has been awaited for `waited`.
    pub(super) fn container(&self, record: &Record, waited: Duration) -> Answer {
        let known = identity::Known::of(&self.inventory, &record.pod, Some(&record.id));
        if record.nested && known.is_nameless_for(waited) {
            return Answer::Nobody;
        }
        let answer = known.container(&record.pod, &record.id, TERMS, || waited);
        answer.map(|ContainerIdentity { pod, facts }| {
            let source = Source {
                container: facts.name.clone(),
                container_id: match &facts.engine_id {
                    Some(engine_id) => ContainerId::parse(engine_id).ok(),
                    None => Some(record.id.clone()),
                },
                container_type: Some(facts.container_type),
                image: facts.image.clone(),
                job: self.job(&record.pod, &facts.name),
                ..self.source(&pod)
            };
            (Arc::new(Owner::of(&source)), Some(facts))
        })
    }

    /// Likewise for a pod.
    pub(super) fn pod(&self, record: &PodRecord, waited: Duration) -> Answer {
        let known = identity::Known::of(&self.inventory, &record.pod, None);
        let answer = known.pod(&record.pod, TERMS, || waited);
        answer.map(|pod| (Arc::new(Owner::of(&self.source(&pod))), None))
    }

    fn source(&self, pod: &PodRef) -> Source {
        let said = self.attributes.iter().find(|(key, _)| key == "service.name");
        Source {
            pod: pod.clone(),
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

    use ephemon_discovery::identity::NAME_GRACE;
    use ephemon_discovery::inventory::{Evidence, EvidenceSource, Observation, SpecEntry};
    use ephemon_model::{ContainerType, JobEnv, Usage};
    use ephemon_self_metrics::SelfMetrics;

    use super::*;

    fn uid() -> PodUid {
        PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap()
    }

    fn record() -> Record {
        Record {
            id: ContainerId::parse(&"a".repeat(64)).unwrap(),
            pod: uid(),
            created: SystemTime::UNIX_EPOCH,
            is_birth_seen: true,
            read_at: SystemTime::UNIX_EPOCH,
            nested: false,
            usage: Usage::default(),
            ended: None,
        }
    }

    fn names(inventory: &Inventory) -> Names {
        let attributes = Arc::new([("team".to_owned(), "ci".to_owned())]);
        Names { inventory: inventory.clone(), node: "it".into(), attributes }
    }

    /// An inventory with an API server that lists the pod and will report its containers.
    fn with_api() -> Inventory {
        let inventory = Inventory::with_api(SelfMetrics::new().unwrap());
        inventory.listed(&uid());
        inventory
    }

    /// The resource as text; `None` while it is not known.
    fn known(answer: &Answer) -> Option<String> {
        match answer {
            Answer::Known((owner, _)) => Some(format!("{owner:?}")),
            Answer::NotYet | Answer::Nobody => None,
        }
    }

    fn name_pod(inventory: &Inventory) {
        let pod = PodRef { namespace: "ci".into(), name: "runner-1".into(), uid: uid() };
        inventory.learn(Evidence::Pod { pod, by: EvidenceSource::Api });
    }

    fn name_container(inventory: &Inventory) {
        let word = Observation { pod: Some(uid()), name: "job".into(), ..Observation::default() };
        inventory.learn(Evidence::Container { id: record().id, word, by: EvidenceSource::Link });
    }

    #[test]
    fn a_resource_is_made_when_all_of_it_is_known_or_nobody_tells_for_too_long() {
        let (without_api, with_api) = (Inventory::default(), with_api());
        let (untyped, typed) = (names(&without_api), names(&with_api));
        let now = Duration::ZERO;
        without_api.created(&uid(), &record().id, SystemTime::UNIX_EPOCH);
        assert!(known(&untyped.container(&record(), now)).is_none());
        let late = known(&untyped.container(&record(), NAME_GRACE)).unwrap();
        assert!(late.contains("\"aaaaaaaaaaaa\"") && late.contains(uid().as_str()), "{late}");

        with_api.created(&uid(), &record().id, SystemTime::UNIX_EPOCH);
        for inventory in [&without_api, &with_api] {
            name_pod(inventory);
            name_container(inventory);
        }
        assert!(known(&untyped.container(&record(), now)).unwrap().contains("\"job\""));
        assert!(known(&typed.container(&record(), now)).is_none(), "the spec is still to come");
        let job = JobEnv { workflow: Some("CI".into()), ..JobEnv::default() };
        let entry = SpecEntry {
            name: "job".into(),
            container_type: ContainerType::Ephemeral,
            image: Some("node:22".into()),
            limits: None,
            wants_init: false,
            job: Some(Arc::new(job)),
        };
        with_api.learn(Evidence::Spec { pod: uid(), entries: vec![entry] });
        let whole = known(&typed.container(&record(), now)).unwrap();
        for word in ["\"ephemeral\"", "\"CI\"", "\"22\"", "\"team\"", "\"ci.runner-1.job\""] {
            assert!(whole.contains(word), "{word}: {whole}");
        }
    }

    #[test]
    fn sandboxes_and_pods_that_may_be_nobodys_have_no_points() {
        let inventory = Inventory::default();
        name_pod(&inventory);
        inventory.created(&uid(), &record().id, SystemTime::UNIX_EPOCH);
        inventory.is_sandbox(&record().id);
        let answer = names(&inventory).container(&record(), NAME_GRACE);
        assert!(matches!(answer, Answer::Nobody), "{answer:?}");
        let pod = PodRecord {
            pod: uid(),
            net: Vec::new(),
            accounting_error: None,
            beside_cpu_ns: None,
            nested_left_out: 0,
            gone: true,
        };
        let owner = known(&names(&inventory).pod(&pod, Duration::ZERO)).unwrap();
        assert!(owner.contains("\"ci.runner-1\"") && !owner.contains("container"), "{owner}");

        let silent = Inventory::with_api(SelfMetrics::new().unwrap());
        silent.created(&uid(), &record().id, SystemTime::UNIX_EPOCH);
        let answer = names(&silent).container(&record(), NAME_GRACE);
        assert!(matches!(answer, Answer::NotYet), "the API has not said whose it is: {answer:?}");
    }
}
