//! Identifies containers and pods: the one decision that metrics, the OTLP metrics and logs use.
//!
//! Sources answer late, and some never. A name is awaited for [`NAME_GRACE`]; after that a
//! container is identified by the first digits of its id, and a pod by its UID. Pure, except for
//! [`Known::of`] and [`KnownLog::of`], which query the inventory.

use std::sync::Arc;
use std::time::Duration;

use ephemon_model::{ContainerId, ContainerType, PodRef, PodUid};

use super::inventory::{ContainerFacts, Inventory, Teller, Verdict};

/// How long a name is awaited: after the creation of a container that keeps running, or after the
/// end of one that does not. The API server takes up to a second, the log directory milliseconds.
pub const NAME_GRACE: Duration = Duration::from_secs(5);

/// The result of a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// Identified; missing attributes are not awaited any longer.
    Known(T),
    /// Look it up again later: a source may still answer.
    NotYet,
    /// It does not belong to a reported pod, or is a sandbox.
    Nobody,
}

/// What must be known before an answer is useful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The container's type in the pod's spec, if there is an API server that reports it.
    pub typed: bool,
    /// [`Verdict::Nameless`] is an answer: the pod is identified by its UID and its containers by
    /// their ids, whatever else is known of them.
    pub nameless: bool,
}

/// What the sources know of a pod and of one of its containers.
#[derive(Debug, Clone)]
pub struct Known {
    /// Whether the pod is selected.
    pub verdict: Verdict,
    /// Whether there is an API server, which reports the types of containers.
    pub has_api: bool,
    /// The pod, if a source has reported its name.
    pub pod: Option<Arc<PodRef>>,
    /// The container, if one was requested and a source has reported its name.
    pub container: Option<Arc<ContainerFacts>>,
}

/// What the sources know of the container of a log directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownLog {
    /// Whether the pod is selected.
    pub verdict: Verdict,
    /// Whether there is an API server, which reports the types of containers.
    pub has_api: bool,
    /// The container's type in the pod's spec.
    pub container_type: Option<ContainerType>,
    /// Which of the pod's containers tell of its job in their logs.
    pub teller: Teller,
}

/// A container with its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerIdentity {
    /// Its pod; without a namespace, and named by its UID, if no source reported its name.
    pub pod: Arc<PodRef>,
    /// The container; named by the first digits of its id if no source reported its name.
    pub facts: Arc<ContainerFacts>,
}

// === impl Answer ===

impl<T> Answer<T> {
    /// Converts the identity.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Known(who) => Answer::Known(make(who)),
            Self::NotYet => Answer::NotYet,
            Self::Nobody => Answer::Nobody,
        }
    }
}

// === impl Known ===

impl Known {
    /// Queries the inventory.
    pub fn of(inventory: &Inventory, pod: &PodUid, container: Option<&ContainerId>) -> Self {
        let verdict = inventory.verdict(pod);
        let has_api = inventory.has_api();
        match verdict {
            Verdict::Unwanted | Verdict::Open => {
                Self { verdict, has_api, pod: None, container: None }
            }
            Verdict::Wanted | Verdict::Nameless => Self {
                verdict,
                has_api,
                pod: inventory.pod(pod),
                container: container.and_then(|id| inventory.container(pod, id)),
            },
        }
    }

    /// Whether a nested container can be identified: its id is the agent's own and no runtime's, so
    /// that it is not shown by that.
    pub fn names_nested(&self) -> bool {
        self.verdict == Verdict::Wanted && self.container.is_some()
    }

    /// Whether its name was awaited for so long that there will be none.
    pub fn is_nameless_for(&self, waited: Duration) -> bool {
        self.verdict == Verdict::Wanted && self.container.is_none() && waited >= NAME_GRACE
    }

    /// Identifies the container. `waited`: how long its name has been awaited; only called if
    /// something is missing.
    pub fn container(
        self,
        pod: &PodUid,
        id: &ContainerId,
        terms: Terms,
        waited: impl FnOnce() -> Duration,
    ) -> Answer<ContainerIdentity> {
        let named = match naming(self.verdict, terms) {
            Answer::Known(named) => named,
            Answer::NotYet => return Answer::NotYet,
            Answer::Nobody => return Answer::Nobody,
        };
        let container_type = self.container.as_ref().map(|facts| facts.container_type);
        // Never shown, whatever is known of its pod.
        if container_type == Some(ContainerType::Sandbox) {
            return Answer::Nobody;
        }
        let typed =
            !(terms.typed && self.has_api) || container_type != Some(ContainerType::Unknown);
        let reference = self.pod.filter(|_| named);
        let facts = self.container.filter(|_| named);
        let whole = reference.is_some() && facts.is_some() && typed;
        if !whole && waited() < NAME_GRACE {
            return Answer::NotYet;
        }
        Answer::Known(ContainerIdentity {
            pod: reference.unwrap_or_else(|| unnamed_pod(pod)),
            facts: facts.unwrap_or_else(|| unnamed_container(id)),
        })
    }

    /// Who the pod is. `waited` as of a container.
    pub fn pod(
        self,
        pod: &PodUid,
        terms: Terms,
        waited: impl FnOnce() -> Duration,
    ) -> Answer<Arc<PodRef>> {
        let named = match naming(self.verdict, terms) {
            Answer::Known(named) => named,
            Answer::NotYet => return Answer::NotYet,
            Answer::Nobody => return Answer::Nobody,
        };
        match self.pod.filter(|_| named) {
            Some(reference) => Answer::Known(reference),
            None if waited() < NAME_GRACE => Answer::NotYet,
            None => Answer::Known(unnamed_pod(pod)),
        }
    }
}

// === impl KnownLog ===

impl KnownLog {
    /// Asks the inventory.
    pub fn of(inventory: &Inventory, pod: &PodUid, container: &str) -> Self {
        Self {
            verdict: inventory.verdict(pod),
            has_api: inventory.has_api(),
            container_type: inventory.type_of(pod, container),
            teller: inventory.teller(pod),
        }
    }

    /// The container's place in the pod's spec. The log's directory has told all names, and its lines
    /// lie on the disk meanwhile: there is no end to the wait for a type that is needed.
    pub fn container_type(self, terms: Terms) -> Answer<ContainerType> {
        let container_type = self.container_type.unwrap_or(ContainerType::Unknown);
        match naming(self.verdict, terms) {
            Answer::NotYet => Answer::NotYet,
            Answer::Nobody => Answer::Nobody,
            Answer::Known(_) if container_type == ContainerType::Sandbox => Answer::Nobody,
            Answer::Known(_)
                if terms.typed && self.has_api && container_type == ContainerType::Unknown =>
            {
                Answer::NotYet
            }
            Answer::Known(_) => Answer::Known(container_type),
        }
    }
}

/// Whether the names of a pod with this verdict may be used.
fn naming(verdict: Verdict, terms: Terms) -> Answer<bool> {
    match verdict {
        Verdict::Wanted => Answer::Known(true),
        Verdict::Nameless if terms.nameless => Answer::Known(false),
        Verdict::Open | Verdict::Nameless => Answer::NotYet,
        Verdict::Unwanted => Answer::Nobody,
    }
}

fn unnamed_pod(uid: &PodUid) -> Arc<PodRef> {
    Arc::new(PodRef { namespace: "".into(), name: uid.as_str().into(), uid: uid.clone() })
}

fn unnamed_container(id: &ContainerId) -> Arc<ContainerFacts> {
    Arc::new(ContainerFacts {
        name: id.short().into(),
        container_type: ContainerType::Unknown,
        image: None,
        engine_id: None,
        exit: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: Terms = Terms { typed: false, nameless: true };
    const SENT: Terms = Terms { typed: true, nameless: false };

    fn uid() -> PodUid {
        PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap()
    }

    fn id() -> ContainerId {
        ContainerId::parse(&"a".repeat(64)).unwrap()
    }

    fn known(verdict: Verdict, named: bool, container: Option<ContainerType>) -> Known {
        let pod = PodRef { namespace: "ci".into(), name: "runner-1".into(), uid: uid() };
        let facts = |container_type| ContainerFacts {
            name: "job".into(),
            container_type,
            image: None,
            engine_id: None,
            exit: None,
        };
        Known {
            verdict,
            has_api: true,
            pod: named.then(|| Arc::new(pod)),
            container: container.map(|container_type| Arc::new(facts(container_type))),
        }
    }

    /// `POD/CONTAINER`, or the answer without an identity.
    fn container(known: &Known, terms: Terms, waited: Duration) -> String {
        match known.clone().container(&uid(), &id(), terms, || waited) {
            Answer::Known(who) => format!("{}/{}", who.pod.name, who.facts.name),
            Answer::NotYet => "not yet".to_owned(),
            Answer::Nobody => "nobody".to_owned(),
        }
    }

    #[test]
    fn a_container_is_known_by_its_name_or_after_the_grace_by_its_id() {
        let ephemeral = Some(ContainerType::Ephemeral);
        let unknown = Some(ContainerType::Unknown);
        let by_id = format!("{}/aaaaaaaaaaaa", uid().as_str());
        let before = NAME_GRACE.checked_sub(Duration::from_millis(1)).unwrap();
        for (named, facts, terms, early, late) in [
            (true, ephemeral, SHOWN, "runner-1/job", "runner-1/job"),
            (true, ephemeral, SENT, "runner-1/job", "runner-1/job"),
            (true, unknown, SHOWN, "runner-1/job", "runner-1/job"),
            (true, unknown, SENT, "not yet", "runner-1/job"),
            (true, None, SHOWN, "not yet", "runner-1/aaaaaaaaaaaa"),
            (false, None, SENT, "not yet", &*by_id),
        ] {
            let known = known(Verdict::Wanted, named, facts);
            assert_eq!(container(&known, terms, before), early, "{known:?} {terms:?}");
            assert_eq!(container(&known, terms, NAME_GRACE), late, "{known:?} {terms:?}");
        }
        let without_api = Known { has_api: false, ..known(Verdict::Wanted, true, unknown) };
        assert_eq!(container(&without_api, SENT, Duration::ZERO), "runner-1/job");
    }

    #[test]
    fn nobody_is_named_of_whom_the_api_server_has_not_said_that_it_may() {
        let ephemeral = Some(ContainerType::Ephemeral);
        let sandbox = Some(ContainerType::Sandbox);
        let by_id = format!("{}/aaaaaaaaaaaa", uid().as_str());
        for (verdict, facts, terms, expected) in [
            (Verdict::Open, ephemeral, SHOWN, "not yet"),
            (Verdict::Unwanted, ephemeral, SHOWN, "nobody"),
            (Verdict::Nameless, ephemeral, SENT, "not yet"),
            (Verdict::Nameless, ephemeral, SHOWN, &*by_id),
            (Verdict::Nameless, sandbox, SHOWN, "nobody"),
            (Verdict::Wanted, sandbox, SENT, "nobody"),
        ] {
            let known = known(verdict, true, facts);
            assert_eq!(container(&known, terms, Duration::MAX), expected, "{known:?} {terms:?}");
        }
        let pod = |verdict, terms| {
            let answer = known(verdict, true, None).pod(&uid(), terms, || NAME_GRACE);
            matches!(answer, Answer::Known(pod) if *pod.namespace == *"ci")
        };
        assert!(pod(Verdict::Wanted, SENT) && !pod(Verdict::Nameless, SHOWN));
        let unnamed = known(Verdict::Wanted, false, None);
        assert_eq!(unnamed.pod(&uid(), SENT, || Duration::ZERO), Answer::NotYet);
    }

    #[test]
    fn how_long_was_waited_is_asked_only_where_something_is_missing() {
        let whole = known(Verdict::Wanted, true, Some(ContainerType::Ephemeral));
        let never = || -> Duration { unreachable!("nothing is missing") };
        assert!(matches!(whole.clone().container(&uid(), &id(), SENT, never), Answer::Known(_)));
        assert!(matches!(whole.pod(&uid(), SENT, never), Answer::Known(_)));
    }

    #[test]
    fn a_logs_type_is_waited_for_while_somebody_may_tell_it() {
        let log = |container_type, has_api| KnownLog {
            verdict: Verdict::Wanted,
            has_api,
            container_type,
            teller: Teller::Runner,
        };
        let any = Terms { typed: false, ..SENT };
        assert_eq!(log(None, true).container_type(SENT), Answer::NotYet);
        assert_eq!(log(None, true).container_type(any), Answer::Known(ContainerType::Unknown));
        assert_eq!(log(None, false).container_type(SENT), Answer::Known(ContainerType::Unknown));
        let ephemeral = log(Some(ContainerType::Ephemeral), true);
        assert_eq!(ephemeral.container_type(SENT), Answer::Known(ContainerType::Ephemeral));
        let open = KnownLog { verdict: Verdict::Open, ..ephemeral };
        assert_eq!(open.container_type(any), Answer::NotYet);
    }
}
